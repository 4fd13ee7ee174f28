//! What a customer changes about a key, on the real binaries: versions that are pinned, other keys, dates.

use std::time::Duration;

use serde_json::{Value, json};
use strongroom_envelope::WrappedAek;
use strongroom_tests::Site;
use strongroom_tests::lock::{Cluster, VaultSite, files};

use crate::lock::{brisk, check, take, until};

/// A server, a vault with a key, and a cluster under it with the default workspace linked and rows in blocks and log.
fn linked(name: &str, version: impl Fn(&VaultSite) -> String) -> (Site, VaultSite, Cluster) {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.create_cluster(name, true);
    site.admit(&cluster, &vault);
    site.set_key(&cluster, &vault, "kek", &version(&vault)).unwrap();
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 20);
    site.flush_of("default");
    take(&site, "default", 20, 20);
    (site, vault, cluster)
}

/// The AEKs under the customer's key.
fn aeks(site: &Site, cluster: &Cluster) -> Vec<Value> {
    let status = site.key_status(cluster);
    status["aeks"].as_array().unwrap().iter().filter(|aek| aek["wrappedBy"] != "").cloned().collect()
}

/// The wrapped bytes of every key record beside the data, those that wait included.
fn wrapped_bytes(site: &Site) -> Vec<Vec<u8>> {
    let records = files(&site.data_dir().join("objects/keys"));
    let records = records.into_iter().filter_map(|(_, bytes)| WrappedAek::from_bytes(&bytes).ok());
    records.filter(|record| record.provider != "mmk").map(|record| record.bytes).collect()
}

#[test]
fn the_way_out_of_a_pinned_version_that_was_disabled_and_the_end_of_every_old_record() {
    let mut oldest = String::new();
    let (mut site, vault, cluster) = linked("pinned", |vault| {
        let first = vault.newest("kek");
        drop(vault.rotate("kek"));
        first
    });
    oldest.push_str(aeks(&site, &cluster)[0]["wrappedVersion"].as_str().unwrap());
    let second = vault.newest("kek");
    assert_ne!(oldest, second, "pinned to the one before");
    until("a record waits under the newer version", || aeks(&site, &cluster)[0]["standby"] == json!([second]));
    // It lets nobody in by itself, after a start neither.
    vault.enable("kek", &oldest, false);
    site.until_key(&cluster, "Revoked");
    site.terminate();
    site.restart();
    site.until_key(&cluster, "Revoked");
    let advice = site.key_status(&cluster)["advice"].to_string();
    assert!(advice.contains(&format!("enable version {oldest} again")) && advice.contains(&second), "{advice}");
    // The documented way out, the old version staying disabled.
    site.set_key(&cluster, &vault, "kek", &second).unwrap();
    site.until_key(&cluster, "Active");
    check(&site, "default", 40);
    let now = aeks(&site, &cluster);
    assert!(now.iter().all(|aek| aek["wrappedVersion"] == second.as_str() && aek["standby"] == json!([])), "{now:?}");

    // Another key: every AEK under it, and of the old records nothing anywhere.
    vault.create_key("other");
    drop(vault.rotate("kek"));
    let before = wrapped_bytes(&site);
    assert!(!before.is_empty());
    site.set_key(&cluster, &vault, "other", "").unwrap();
    take(&site, "default", 40, 10);
    check(&site, "default", 50);
    let everything = files(&site.data_dir());
    for old in before {
        let (middle, _) = old[64..].split_first_chunk::<64>().unwrap();
        for (path, bytes) in &everything {
            assert!(memchr::memmem::find(bytes, middle).is_none(), "an old record in {}", path.display());
        }
    }
    assert_eq!(aeks(&site, &cluster).len(), 2);
    vault.enable("kek", "", false);
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(site.key_status(&cluster)["state"], "Active", "the old key has no say");
    check(&site, "default", 50);
}

#[test]
fn an_expired_key_changes_nothing_for_data_and_blocks_key_updates_until_it_is_extended() {
    let (site, vault, cluster) = linked("dated", |_| String::new());
    let version = vault.newest("kek");
    let past = chrono::Utc::now().timestamp() - 60;
    let date = |exp: i64| {
        let path = format!("/keys/kek/{version}");
        vault.call(reqwest::Method::PATCH, &path, Some(json!({"attributes": {"exp": exp}})));
    };
    date(past);
    // The same key, another form of it, another expired key: no update comes through, and the reason is told.
    vault.create_key("other");
    let other = vault.newest("other");
    vault.call(reqwest::Method::PATCH, &format!("/keys/other/{other}"), Some(json!({"attributes": {"exp": past}})));
    for (key, version) in [("kek", ""), ("kek", version.as_str()), ("other", "")] {
        let refused = site.set_key(&cluster, &vault, key, version).unwrap_err();
        assert_eq!(refused["error"]["code"], "KeyValidationFailed", "{refused}");
        let text = "Failed to validate key in Key Vault. Could be due to lack of permissions or when key doesn't exist. Verify that you set key and Access Policy in Key Vault.";
        assert_eq!(
            (&refused["error"]["message"], &refused["error"]["details"][0]["code"]),
            (&json!(text), &json!("KeyExpired")),
            "{refused}"
        );
    }
    // Two polls and more: nothing else changes.
    std::thread::sleep(Duration::from_secs(21));
    take(&site, "default", 40, 10);
    site.flush_of("default");
    check(&site, "default", 50);
    let status = site.key_status(&cluster);
    assert_eq!(status["state"], "Active");
    // The way out: which key it is, its date moved, the cluster updated with it.
    assert_eq!(status["kek"]["keyName"], "kek");
    assert_eq!(aeks(&site, &cluster)[0]["wrappedVersion"], version.as_str());
    date(past + 86_400 * 400);
    site.set_key(&cluster, &vault, "kek", "").unwrap();
    site.set_key(&cluster, &vault, "kek", &version).unwrap();
    assert_eq!(site.key_status(&cluster)["kek"]["expired"], false);
    check(&site, "default", 50);
}

#[test]
fn dies_with_a_waiting_record_made_and_not_kept_and_erasing_what_another_key_replaced() {
    let (mut site, vault, cluster) = linked("crashing", |vault| vault.newest("kek"));
    let arm = |site: &mut Site, point: &str| {
        site.terminate();
        site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
        if !point.is_empty() {
            site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
        }
        site.restart();
    };
    let newer = vault.rotate("kek");
    arm(&mut site, "standby.keep");
    assert!(!site.wait().success(), "it was to die");
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    until("a record waits", || aeks(&site, &cluster)[0]["standby"] == json!([newer]));
    let before = wrapped_bytes(&site);
    assert_eq!(before.len(), 2, "the live one and the one that waits");
    vault.create_key("other");
    arm(&mut site, "rotate.erase");
    site.until_key(&cluster, "Active");
    let key = json!({"keyVaultUri": vault.base(), "keyName": "other", "keyVersion": ""});
    let body = json!({"properties": {"keyVaultProperties": key}});
    drop(site.request(reqwest::Method::PATCH, &format!("{}?api-version=2023-09-01", cluster.path)).json(&body).send());
    assert!(!site.wait().success(), "it was to die");
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    // The records say whose it is: the new key's. Of the old ones nothing is left.
    site.until_key(&cluster, "Active");
    vault.enable("kek", "", false);
    for old in before {
        let (middle, _) = old[64..].split_first_chunk::<64>().unwrap();
        for (path, bytes) in files(&site.data_dir()) {
            assert!(memchr::memmem::find(&bytes, middle).is_none(), "an old record in {}", path.display());
        }
    }
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(site.key_status(&cluster)["state"], "Active");
    check(&site, "default", 40);
}
