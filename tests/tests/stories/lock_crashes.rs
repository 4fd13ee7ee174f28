//! `kill -9` at each step of linking, revoking, restoring and wrapping again: the state after it is one of the two legal ones.

use strongroom_tests::Site;
use strongroom_tests::lock::{Cluster, VaultSite};

use crate::lock::{brisk, check, rows, take, until};

struct House {
    site: Site,
    vault: VaultSite,
    cluster: Cluster,
}

impl House {
    /// A linked workspace with rows before and after the link, in blocks and in the log.
    fn new(linked: bool) -> Self {
        let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
        vault.create_key("kek");
        site.know_vault("customers", &vault);
        let cluster = site.locked_cluster("crashing", &vault, "kek");
        take(&site, "default", 0, 30);
        site.flush_of("default");
        if linked {
            site.link("default", &cluster).unwrap();
            take(&site, "default", 30, 30);
            site.flush_of("default");
            take(&site, "default", 60, 30);
        }
        Self { site, vault, cluster }
    }

    /// Starts the server anew, armed to die at `point`.
    fn arm(&mut self, point: &str) {
        self.site.terminate();
        self.site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
        self.site.restart();
    }

    /// It died; it starts as if nothing had been.
    fn died(&mut self) {
        assert!(!self.site.wait().success(), "it was to die");
        self.site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
        self.site.restart();
    }
}

fn dies_revoking_at(point: &str) {
    let mut house = House::new(true);
    house.arm(point);
    check(&house.site, "default", 90);
    house.vault.enable("kek", "", false);
    house.died();
    // It does not believe what it knew: the vault says no.
    house.site.until_key(&house.cluster, "Revoked");
    let (status, body) = house.site.ask("default", "App | count");
    assert_eq!(status, 403, "{body}");
    house.vault.enable("kek", "", true);
    house.site.until_key(&house.cluster, "Active");
    check(&house.site, "default", 90);
}

#[test]
fn dies_before_the_gate_is_shut() {
    dies_revoking_at("key.epoch");
}
#[test]
fn dies_before_queries_are_cut() {
    dies_revoking_at("key.gate");
}
#[test]
fn dies_before_keys_are_wiped() {
    dies_revoking_at("key.zeroize");
}
#[test]
fn dies_before_caches_are_dropped() {
    dies_revoking_at("key.drop_caches");
}
#[test]
fn dies_before_memtables_are_dropped() {
    dies_revoking_at("key.memtables");
}
#[test]
fn dies_before_the_cache_key_is_erased() {
    dies_revoking_at("key.cache_key");
}
#[test]
fn dies_before_the_state_is_written_down() {
    dies_revoking_at("key.persist");
}

#[test]
fn dies_at_the_first_denial() {
    dies_revoking_at("key.deny1");
}
#[test]
fn dies_at_the_second_denial() {
    dies_revoking_at("key.deny2");
}
#[test]
fn dies_before_cached_files_are_unlinked() {
    dies_revoking_at("key.cache_files");
}

fn dies_restoring_at(point: &str) {
    let mut house = House::new(true);
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");
    house.arm(point);
    house.vault.enable("kek", "", true);
    house.died();
    house.site.until_key(&house.cluster, "Active");
    check(&house.site, "default", 90);
}

#[test]
fn dies_before_the_log_is_read_back() {
    dies_restoring_at("restore.replay");
}
#[test]
fn dies_as_soon_as_the_key_is_back() {
    dies_restoring_at("restore.unwrap");
}
#[test]
fn dies_before_the_gate_is_opened() {
    dies_restoring_at("restore.gate");
}

fn dies_wrapping_at(point: &str) {
    let mut house = House::new(true);
    house.arm(point);
    let newest = house.vault.rotate("kek");
    house.died();
    let status = || house.site.key_status(&house.cluster);
    until("the newest version is used", || {
        let status = status();
        let aeks = status["aeks"].as_array().cloned().unwrap_or_default();
        aeks.iter().any(|aek| aek["wrappedVersion"] == newest.as_str())
    });
    assert_eq!(status()["state"], "Active");
    check(&house.site, "default", 90);
}

#[test]
fn dies_before_anything_is_wrapped() {
    dies_wrapping_at("rotate.wrap");
}
#[test]
fn dies_before_the_new_record_is_kept() {
    dies_wrapping_at("rotate.verify");
}
#[test]
fn dies_before_its_copy_is() {
    dies_wrapping_at("rotate.swap");
}

fn dies_linking_at(point: &str) {
    let mut house = House::new(false);
    house.arm(point);
    let (site, cluster) = (&house.site, &house.cluster);
    let path =
        format!("{}/Microsoft.OperationalInsights/workspaces/default/linkedServices/cluster?api-version=2023-09-01", site.provider());
    let body = serde_json::json!({"properties": {"writeAccessResourceId": cluster.path}});
    // The answer may or may not come.
    drop(site.request(reqwest::Method::PUT, &path).json(&body).send());
    house.died();
    // Linked or not linked: either way every row is there, new ones are taken, and asking again links.
    check(&house.site, "default", 30);
    let (status, answer) = house.site.send("default", "App", rows(30, 10));
    assert_eq!(status, 200, "{answer}");
    until("it can be linked", || house.site.link("default", &house.cluster).is_ok());
    take(&house.site, "default", 40, 10);
    check(&house.site, "default", 50);
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");
    let (status, body) = house.site.ask("default", "App | count");
    assert_eq!(status, 403, "{body}");
}

#[test]
fn dies_at_the_barrier() {
    dies_linking_at("link.barrier");
}
#[test]
fn dies_after_the_move() {
    dies_linking_at("link.moved");
}

#[test]
fn dies_setting_the_key() {
    let (mut site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.create_cluster("crashing", true);
    site.admit(&cluster, &vault);
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 30);
    site.terminate();
    site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), "link.key_set".to_owned()));
    site.restart();
    let key = serde_json::json!({"keyVaultUri": vault.base(), "keyName": "kek", "keyVersion": ""});
    let body = serde_json::json!({"properties": {"keyVaultProperties": key}});
    drop(site.request(reqwest::Method::PATCH, &format!("{}?api-version=2023-09-01", cluster.path)).json(&body).send());
    assert!(!site.wait().success());
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    until("the key can be set", || site.set_key(&cluster, &vault, "kek", "").is_ok());
    site.until_key(&cluster, "Active");
    take(&site, "default", 30, 30);
    check(&site, "default", 60);
    let (_, shown) = site.arm(reqwest::Method::GET, &cluster.path, None);
    assert_eq!(shown["properties"]["provisioningState"], "Succeeded", "{shown}");
}
