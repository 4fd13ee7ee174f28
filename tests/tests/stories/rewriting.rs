//! Data sealed anew: a re-key of a cluster, and old blocks of a workspace brought under the customer's key.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::lock::{Cluster, VaultSite, files};
use strongroom_tests::{Site, Start};

use crate::lock::{brisk, check, classes, take, until};

/// Readers may hold objects for a minute, the least that can be set, and the sweep comes every second.
fn quick() -> Start {
    let mut start = brisk();
    for (name, value) in [("TOMBSTONE_GRACE_S", "60"), ("HOUSEKEEPING_EVERY_S", "1")] {
        start.environment.push((format!("STRONGROOM_CONTROL__{name}"), value.to_owned()));
    }
    start
}

struct House {
    site: Site,
    vault: VaultSite,
    cluster: Cluster,
}

impl House {
    /// A linked workspace with rows in three blocks and in the log; `before` rows of it from before the link.
    fn new(start: Start, before: u64) -> Self {
        let (site, vault) = (Site::start_with(start), VaultSite::start());
        vault.create_key("kek");
        site.know_vault("customers", &vault);
        let cluster = site.locked_cluster("rewriting", &vault, "kek");
        if before > 0 {
            take(&site, "default", 0, before);
            site.flush_of("default");
        }
        site.link("default", &cluster).unwrap();
        for at in 0..3 {
            take(&site, "default", before + at * 20, 20);
            site.flush_of("default");
        }
        take(&site, "default", before + 60, 20);
        Self { site, vault, cluster }
    }

    fn aeks(&self) -> Vec<Value> {
        let status = self.site.key_status(&self.cluster);
        status["aeks"].as_array().unwrap().iter().filter(|aek| aek["class"] == "CMK").cloned().collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "a story reads better with json!(…) at the call")]
    fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let mut request = self.site.request(method, path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let reply = request.send().unwrap();
        assert!(reply.status().is_success(), "{path}: {} {}", reply.status(), reply.text().unwrap());
        reply.json().unwrap()
    }

    fn rekey(&self) -> Value {
        self.call(Method::POST, "/v1/clusters/rewriting/rekey", json!({}))
    }

    fn rekey_status(&self) -> Value {
        self.call(Method::GET, "/v1/clusters/rewriting/rekey", Value::Null)
    }

    /// What is left to be sealed anew.
    fn left(&self) -> u64 {
        self.rekey_status()["remainingBytes"].as_u64().unwrap()
    }

    fn arm(&mut self, point: &str) {
        self.site.terminate();
        self.site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
        self.site.restart();
    }

    fn died(&mut self) {
        assert!(!self.site.wait().success(), "it was to die");
        self.site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
        self.site.restart();
        self.site.until_key(&self.cluster, "Active");
    }
}

#[test]
fn a_rekey_leaves_every_row_and_nothing_of_the_old_key() {
    let mut house = House::new(quick(), 0);
    let before = house.aeks();
    assert_eq!(before.len(), 1);
    let old = before[0]["id"].as_str().unwrap().to_owned();
    let copies = |house: &House| files(&house.site.data_dir().join("objects/keys")).into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert!(copies(&house).iter().any(|path| path.ends_with(&old)));
    let begun = house.rekey();
    assert_eq!(begun["status"], "InProgress", "{begun}");
    let reply = house.site.request(Method::POST, "/v1/clusters/rewriting/rekey").send().unwrap();
    assert_eq!(reply.status(), 409, "one at a time");
    until("a new key reigns", || house.aeks().len() == 2);
    take(&house.site, "default", 80, 20);
    check(&house.site, "default", 100);
    // Through a revocation in the middle, and a stop.
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");
    let left = house.left();
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(house.left(), left, "nothing is done without the key");
    house.vault.enable("kek", "", true);
    house.site.until_key(&house.cluster, "Active");
    // Through a death at the very end: the record is gone beside the data, and not yet in the catalog.
    house.arm("rekey.end");
    house.site.until_key(&house.cluster, "Active");
    until("every block is sealed anew", || house.left() == 0);
    check(&house.site, "default", 100);
    let start = Instant::now();
    while house.site.is_running() {
        assert!(start.elapsed() < Duration::from_mins(3), "it was to die");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(!house.site.wait().success());
    assert!(copies(&house).iter().all(|path| !path.ends_with(&old)), "the record goes beside the data first");
    house.site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    house.site.restart();
    house.site.until_key(&house.cluster, "Active");
    check(&house.site, "default", 100);
    let start = Instant::now();
    while house.rekey_status()["status"] == "InProgress" {
        assert!(start.elapsed() < Duration::from_mins(3), "{}", house.rekey_status());
        std::thread::sleep(Duration::from_millis(500));
    }
    let done = house.rekey_status();
    assert_eq!((&done["status"], &done["percentComplete"]), (&json!("Succeeded"), &json!(100)), "{done}");
    let after = house.aeks();
    assert_eq!((after.len(), &after[0]["current"]), (1, &json!(true)), "{after:?}");
    assert!(copies(&house).iter().all(|path| !path.ends_with(&old)), "the old record is gone beside the data, too");
    check(&house.site, "default", 100);
    house.site.kill();
    house.site.restart();
    house.site.until_key(&house.cluster, "Active");
    check(&house.site, "default", 100);
}

#[test]
fn old_blocks_of_a_linked_workspace_come_under_the_customers_key_at_a_pace_and_with_a_pause() {
    let house = House::new(quick(), 40);
    take(&house.site, "default", 120, 1);
    assert_eq!(classes(&house.site, "default"), ["CMK", "CMK", "CMK", "MMK"]);
    let path = "/v1/workspaces/default/reencrypt";
    let begun = house.call(Method::POST, path, json!({"rateMbS": 1}));
    assert_eq!((&begun["status"], &begun["rateMbS"]), (&json!("InProgress"), &json!(1)), "{begun}");
    until("it is done", || house.call(Method::GET, path, Value::Null)["status"] == "Succeeded");
    let all = classes(&house.site, "default");
    assert!(all.len() >= 4 && all.iter().all(|class| class == "CMK"), "{all:?}");
    check(&house.site, "default", 121);
    // From now on the key takes that, too, also once the workspace is unlinked.
    house.site.unlink("default").unwrap();
    take(&house.site, "default", 121, 9);
    check(&house.site, "default", 130);
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");
    let (status, body) = house.site.ask("default", "App | count");
    assert_eq!(status, 403, "{body}");
    house.vault.enable("kek", "", true);
    house.site.until_key(&house.cluster, "Active");

    // Linked again: paused before it does anything, over a restart; then it goes on.
    house.site.flush_of("default");
    house.site.link("default", &house.cluster).unwrap();
    until("what arrived meanwhile is the provider's", || classes(&house.site, "default").contains(&"MMK".to_owned()));
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");
    let reply = house.site.request(Method::POST, path).json(&json!({})).send().unwrap();
    assert_eq!(reply.status(), 409, "not without the key");
    house.vault.enable("kek", "", true);
    house.site.until_key(&house.cluster, "Active");
    let cli = house.site.cli(&["workspace", "reencrypt", "default", "--pause"]);
    assert!(!cli.status.success(), "nothing runs");
    let cli = house.site.cli(&["workspace", "reencrypt", "default"]);
    assert!(cli.status.success(), "{}", String::from_utf8_lossy(&cli.stderr));
    assert!(classes(&house.site, "default").iter().all(|class| class == "CMK"));
    check(&house.site, "default", 130);
}

fn dies_rekeying_at(point: &str) {
    let mut house = House::new(brisk(), 0);
    house.arm(point);
    house.site.until_key(&house.cluster, "Active");
    // The answer may or may not come.
    drop(house.site.request(Method::POST, "/v1/clusters/rewriting/rekey").send());
    house.died();
    check(&house.site, "default", 80);
    until("every block is sealed anew", || house.left() == 0 && house.aeks().len() == 2);
    take(&house.site, "default", 80, 10);
    check(&house.site, "default", 90);
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");
    let (status, body) = house.site.ask("default", "App | count");
    assert_eq!(status, 403, "{body}");
}

#[test]
fn dies_before_the_new_epoch() {
    dies_rekeying_at("rekey.epoch");
}
#[test]
fn dies_at_its_barrier() {
    dies_rekeying_at("rekey.barrier");
}
#[test]
fn dies_with_a_block_sealed_and_not_put() {
    dies_rekeying_at("rewrite.put");
}
#[test]
fn dies_with_a_block_put_and_not_live() {
    dies_rekeying_at("rewrite.txn");
}
