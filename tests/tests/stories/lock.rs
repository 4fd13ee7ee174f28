//! The lock, told on the real binaries: a server and a vault, two processes.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::lock::{Cluster, VaultSite, files};
use strongroom_tests::scan::{Marker, scan};
use strongroom_tests::{Site, Start};

/// The shortest pace that may be set, so that stories do not take longer than they must.
pub(crate) fn brisk() -> Start {
    let environment = vec![
        ("STRONGROOM_KEYS__POLL_INTERVAL_MS".to_owned(), "8000".to_owned()),
        ("STRONGROOM_KEYS__CONFIRM_AFTER_MS".to_owned(), "1000".to_owned()),
        // The vault of a test listens on loopback; whose does not is not called there.
        ("STRONGROOM_OUTBOUND__ALLOW".to_owned(), r#"["127.0.0.1/32"]"#.to_owned()),
    ];
    Start { environment, ..Start::default() }
}

/// `count` rows from number `from` on, `n` counting up.
pub(crate) fn rows(from: u64, count: u64) -> String {
    (from..from + count).map(|n| json!({"n": n, "word": if n % 2 == 0 { "even" } else { "odd" }}).to_string() + "\n").collect()
}

pub(crate) fn take(site: &Site, workspace: &str, from: u64, count: u64) {
    let (status, body) = site.send(workspace, "App", rows(from, count));
    assert_eq!(status, 200, "{body}");
}

/// Count, sum and the highest number, in KQL and in SQL.
pub(crate) fn check(site: &Site, workspace: &str, through: u64) {
    let expected = json!([[through, through * (through.saturating_sub(1)) / 2, through - 1]]);
    let (status, body) = site.ask(workspace, "App | summarize count(), sum(n), max(n)");
    assert_eq!((status, &body["tables"][0]["rows"]), (200, &expected), "{body}");
    let sql = json!({"query": "SELECT count(*), sum(n), max(n) FROM \"App\"", "language": "sql"});
    let reply = site.request(Method::POST, &format!("/v1/workspaces/{workspace}/query")).json(&sql).send().unwrap();
    let body: Value = reply.json().unwrap();
    assert_eq!(body["tables"][0]["rows"], expected, "{body}");
}

/// What EXPLAIN says in `column` of each block of `App`, sorted.
fn of_blocks(site: &Site, workspace: &str, column: &str) -> Vec<String> {
    let body = site.explain(workspace, "App | count");
    let table = &body["tables"][0];
    let columns: Vec<&str> = table["columns"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    let at = |name| columns.iter().position(|column| *column == name).unwrap();
    let blocks = table["rows"].as_array().unwrap().iter().filter(|row| row[at("Item")] == "block");
    let mut said: Vec<String> = blocks.map(|row| row[at(column)].as_str().unwrap().to_owned()).collect();
    said.sort();
    said
}

pub(crate) fn classes(site: &Site, workspace: &str) -> Vec<String> {
    of_blocks(site, workspace, "KeyClass")
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

/// Waits until something holds, up to a minute.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    start.elapsed()
}

fn version_in_use(site: &Site, cluster: &Cluster) -> String {
    let status = site.key_status(cluster);
    let aeks = status["aeks"].as_array().unwrap().iter();
    aeks.filter(|aek| aek["wrappedBy"] != "").map(|aek| aek["wrappedVersion"].as_str().unwrap().to_owned()).next_back().unwrap()
}

#[test]
fn a_customer_locks_and_unlocks_as_the_seeds_tell() {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
    take(&site, "default", 0, 100);
    site.flush_of("default");
    vault.create_key("kek");

    // Out of order, each step says what is missing.
    let cluster = site.create_cluster("shop-cluster", true);
    let refused = site.set_key(&cluster, &vault, "kek", "").unwrap_err();
    assert_eq!(code(&refused), "KeyVaultNotRegistered", "{refused}");
    site.know_vault("customers", &vault);
    let refused = site.set_key(&cluster, &vault, "kek", "").unwrap_err();
    assert_eq!(code(&refused), "KeyValidationFailed", "no grant yet: {refused}");
    site.admit(&cluster, &vault);
    let refused = site.set_key(&cluster, &vault, "no-such-key", "").unwrap_err();
    assert_eq!(code(&refused), "KeyValidationFailed", "{refused}");
    let (_, before) = vault.asked_by(&cluster.principal, 0);
    site.set_key(&cluster, &vault, "kek", "").unwrap();
    assert_eq!(site.key_status(&cluster)["state"], "Active");
    // The one time that versions are listed: for `key status`, which names others that are still enabled.
    let (asked, _) = vault.asked_by(&cluster.principal, before);
    assert_eq!(without_login(asked), ["KeyGet", "KeyListVersions", "KeyUnwrap", "KeyWrap"]);

    // Linked: new data is the customer's, old data stays the provider's, one question reads both.
    site.link("default", &cluster).unwrap();
    take(&site, "default", 100, 50);
    check(&site, "default", 150);
    site.flush_of("default");
    check(&site, "default", 150);
    assert_eq!(classes(&site, "default"), ["CMK", "MMK"]);

    // Rotation, followed: the new version wraps within two polls, and the old one may then be disabled.
    let first = version_in_use(&site, &cluster);
    let second = vault.rotate("kek");
    until("the newest version is used", || version_in_use(&site, &cluster) == second);
    assert_ne!(first, second);
    vault.enable("kek", &first, false);
    // In steady state: an unwrap at each poll and a look at the newest version, nothing else.
    let (_, before) = vault.asked_by(&cluster.principal, 0);
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(without_login(vault.asked_by(&cluster.principal, before).0), ["KeyGet", "KeyUnwrap"]);
    assert_eq!(site.key_status(&cluster)["state"], "Active");
    check(&site, "default", 150);

    // Rotation, pinned: nothing happens until the cluster is told.
    site.set_key(&cluster, &vault, "kek", &second).unwrap();
    let third = vault.rotate("kek");
    let (_, before) = vault.asked_by(&cluster.principal, 0);
    std::thread::sleep(Duration::from_secs(21));
    // Beside the polls only the record that waits under the newer version: made once, looked for once a minute.
    let asked = without_login(vault.asked_by(&cluster.principal, before).0);
    assert!(asked.iter().any(|call| call == "KeyUnwrap"), "{asked:?}");
    assert!(asked.iter().all(|call| ["KeyGet", "KeyListVersions", "KeyUnwrap", "KeyWrap"].contains(&call.as_str())), "{asked:?}");
    assert_eq!(version_in_use(&site, &cluster), second);
    site.set_key(&cluster, &vault, "kek", &third).unwrap();
    assert_eq!(version_in_use(&site, &cluster), third);
    check(&site, "default", 150);

    // Revoked by disabling, by removing the grant; each time everything comes back by itself.
    for way in ["disabled", "grant removed"] {
        match way {
            "disabled" => vault.enable("kek", &third, false),
            _ => vault.revoke(&cluster.principal),
        }
        site.until_key(&cluster, "Revoked");
        let (status, body) = site.ask("default", "App | count");
        assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "{way}: {body}");
        // Names of tables and columns are the customer's, too.
        let (status, named) = site.metadata("default");
        assert_eq!((status, code(&named)), (403, "CustomerKeyRevoked"), "{way}: {named}");
        assert_eq!(named["error"]["message"], body["error"]["message"], "{way}: what a query says");
        let text = body["error"]["message"].as_str().unwrap();
        assert!(text.contains("cluster shop-cluster is disabled, deleted or access to it was removed"), "{text}");
        let (status, body) = site.send("default", "App", rows(9_000, 1));
        assert_eq!((status, code(&body)), (503, "CustomerKeyRevoked"), "{way}: {body}");
        match way {
            "disabled" => vault.enable("kek", &third, true),
            _ => vault.grant(&cluster.principal),
        }
        site.until_key(&cluster, "Active");
        // The hot cache fills again before anybody asks; the question after that fetches nothing.
        until("the hot cache is back", || of_blocks(&site, "default", "Cache") == ["hot", "hot"]);
        let fetched = || site.request(Method::GET, "/v1/cache").send().unwrap().json::<Value>().unwrap()["fetchedBytes"].clone();
        let before = fetched();
        check(&site, "default", 150);
        assert_eq!(fetched(), before, "{way}: every part was there");
    }

    let (status, named) = site.metadata("default");
    assert_eq!((status, &named["tables"][0]["name"]), (200, &json!("App")), "{named}");

    // Unlinked: the provider's again, and all three periods in one answer.
    site.unlink("default").unwrap();
    take(&site, "default", 150, 25);
    site.flush_of("default");
    assert_eq!(classes(&site, "default"), ["CMK", "MMK", "MMK"]);
    check(&site, "default", 175);

    // Only the blocks under the key go when it goes now.
    vault.enable("kek", &third, false);
    site.until_key(&cluster, "Revoked");
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("rows of table App from"), "names the range: {body}");
    let (status, body) = site.send("default", "App", rows(175, 5));
    assert_eq!(status, 200, "new data is nobody's but ours: {body}");
    vault.enable("kek", &third, true);
    site.until_key(&cluster, "Active");
    check(&site, "default", 180);

    // The vault saw this cluster's identity, wraps when a key was set, unwraps, and readings of the key; nothing else.
    let (asked, _) = vault.asked_by(&cluster.principal, 0);
    assert_eq!(asked, ["Authentication", "KeyGet", "KeyListVersions", "KeyUnwrap", "KeyWrap"]);
}

/// What is left of the calls to a vault beside logging in, which happens when a token runs out.
fn without_login(mut asked: Vec<String>) -> Vec<String> {
    asked.retain(|operation| operation != "Authentication");
    asked
}

/// Setting the key anew before the next poll has brought anything back must not open the gate to half of the data.
#[test]
fn a_key_set_again_while_it_was_away_brings_every_row_back_or_answers_none() {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("again", &vault, "kek");
    site.link("default", &cluster).unwrap();
    let batch = || {
        let request = site.request(Method::POST, "/v1/workspaces/default/ingest/App").header("x-batch-id", "first");
        request.body(rows(0, 20)).send().unwrap()
    };
    assert_eq!(batch().status(), 200);
    site.flush_of("default");
    // These lie in the log alone while the key is away.
    take(&site, "default", 20, 20);
    vault.enable("kek", "", false);
    site.until_key(&cluster, "Revoked");
    // An answer that was given before is data, too.
    let reply = batch();
    assert_eq!(reply.status(), 503, "{}", reply.text().unwrap());
    vault.enable("kek", "", true);
    site.set_key(&cluster, &vault, "kek", &vault.newest("kek")).unwrap();
    until("every row is back", || {
        let (status, body) = site.ask("default", "App | count");
        assert!(status != 200 || body["tables"][0]["rows"] == json!([[40]]), "fewer rows: {body}");
        status == 200
    });
    take(&site, "default", 40, 5);
    check(&site, "default", 45);
}

/// Unlinking takes no key: it works while the key is revoked and while nobody answers, and what comes from then on is the provider's.
#[test]
fn a_workspace_is_unlinked_whatever_its_key_is_doing() {
    let (site, mut vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("leaving", &vault, "kek");
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 20);
    vault.enable("kek", "", false);
    site.until_key(&cluster, "Revoked");
    site.unlink("default").unwrap();
    take(&site, "default", 20, 5);
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "rows from before are the customer's still: {body}");
    vault.enable("kek", "", true);
    site.until_key(&cluster, "Active");
    check(&site, "default", 25);

    site.link("default", &cluster).unwrap();
    take(&site, "default", 25, 5);
    vault.kill();
    site.until_key(&cluster, "Degraded");
    site.unlink("default").unwrap();
    take(&site, "default", 30, 5);
    check(&site, "default", 35);
}

/// A deleted cluster's key goes on being watched while the name is reserved: nothing acked is lost, nothing is served without it.
#[test]
fn a_deleted_cluster_loses_no_row_and_keeps_its_lock() {
    let (mut site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("leaving", &vault, "kek");
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 20);
    let deleted = site.request(Method::DELETE, &format!("{}?api-version=2023-09-01&force=true", cluster.path)).send().unwrap();
    assert!(deleted.status().is_success(), "{}", deleted.text().unwrap());
    until("the workspace is unlinked", || {
        let (status, _) = site.send("default", "Fresh", rows(0, 1));
        status == 200 && site.arm(Method::GET, &cluster.path, None).0 == 404
    });
    check(&site, "default", 20);
    site.kill();
    site.restart();
    check(&site, "default", 20);
    vault.enable("kek", "", false);
    let refused = || site.ask("default", "App | count");
    until("the blocks under the key are gone", || refused().0 == 403);
    assert_eq!(code(&refused().1), "CustomerKeyRevoked");
    let (status, body) = site.ask("default", "Fresh | count");
    assert_eq!(status, 200, "what never was under the key: {body}");
}

#[test]
fn a_key_that_could_be_lost_is_refused_and_so_is_one_without_all_three_rights() {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::bare());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.create_cluster("picky", true);
    site.admit(&cluster, &vault);
    let refused = site.set_key(&cluster, &vault, "kek", "").unwrap_err();
    assert_eq!(code(&refused), "KeyNotRecoverable", "{refused}");
    let text = "Key isn't recoverable. Key Vault must be set to Soft-delete and Purge-protection. See Key Vault documentation";
    assert_eq!(refused["error"]["message"], text);
    vault.call(Method::PATCH, "/vault", Some(json!({"enableSoftDelete": true})));
    let refused = site.set_key(&cluster, &vault, "kek", "").unwrap_err();
    assert_eq!(code(&refused), "KeyNotRecoverable", "soft delete alone: {refused}");
    vault.call(Method::PATCH, "/vault", Some(json!({"enablePurgeProtection": true})));
    let (status, body) = vault.try_call(Method::PATCH, "/vault", Some(json!({"enablePurgeProtection": false})));
    assert_eq!(status, 400, "never off again: {body}");

    // Access policies: each of the eight subsets; only all three will do.
    vault.call(Method::PATCH, "/vault", Some(json!({"permissionModel": "accessPolicy"})));
    let rights = ["get", "wrapKey", "unwrapKey"];
    for subset in 0..8_u8 {
        let given: Vec<&str> = (0..3).filter(|bit| subset & (1 << bit) != 0).map(|bit| rights[bit]).collect();
        if given.is_empty() {
            // A grant of nothing is no grant.
            drop(vault.try_call(Method::DELETE, &format!("/vault/grants/{}", cluster.principal), None));
        } else {
            vault.call(Method::PUT, "/vault/grants", Some(json!({"principal": cluster.principal, "permissions": given})));
        }
        let set = site.set_key(&cluster, &vault, "kek", "");
        if given.len() == 3 {
            set.unwrap();
        } else {
            let refused = set.unwrap_err();
            assert_eq!(code(&refused), "KeyValidationFailed", "{given:?}: {refused}");
        }
    }
    // A stranger's cluster has no way to this key.
    let other = site.create_cluster("stranger", true);
    let (_, shown) = site.arm(Method::GET, &other.path, None);
    vault.register("stranger", &other.principal, shown["properties"]["identityPublicKey"].as_str().unwrap());
    let refused = site.set_key(&other, &vault, "kek", "").unwrap_err();
    assert_eq!(code(&refused), "KeyValidationFailed", "{refused}");
}

#[test]
fn an_outage_shows_nothing_and_a_start_in_one_serves_the_others() {
    let (mut site, mut vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("outage", &vault, "kek");
    site.create_workspace("linked");
    site.link("linked", &cluster).unwrap();
    take(&site, "linked", 0, 40);
    take(&site, "default", 0, 10);
    vault.kill();
    site.until_key(&cluster, "Degraded");
    for _ in 0..20 {
        check(&site, "linked", 40);
        std::thread::sleep(Duration::from_millis(200));
    }
    take(&site, "linked", 40, 5);
    // Restarted without a vault: the others are served, who asks the linked one is told to come again, and what it is sent is kept.
    site.kill();
    site.restart();
    check(&site, "default", 10);
    let (status, body) = site.ask("linked", "App | count");
    assert_eq!((status, code(&body)), (503, "KeyVaultUnavailable"), "{body}");
    let (status, body) = site.send("linked", "App", rows(45, 1));
    assert_eq!((status, &body["state"]), (200, &json!("buffered")), "{body}");
    vault.restart();
    site.until_key(&cluster, "Active");
    until("what was kept is there", || site.ask("linked", "App | count").1["tables"][0]["rows"] == json!([[46]]));
    check(&site, "linked", 46);
    // And a start with the vault there is no outage at all.
    site.kill();
    site.restart();
    check(&site, "linked", 46);
}

#[test]
fn after_revocation_nothing_on_disk_tells_anything_and_a_stolen_copy_opens_nothing() {
    let canary = Marker::new(&format!("cnrylock{}", hex::encode(rand::random::<[u8; 8]>())));
    let (mut site, mut vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("secret", &vault, "kek");
    site.link("default", &cluster).unwrap();
    for part in 0..4 {
        let body: String =
            (0..500).map(|n| json!({"n": part * 500 + n, "Message": canary.text(), canary.text(): n}).to_string() + "\n").collect();
        let (status, answer) = site.send("default", "App", body);
        assert_eq!(status, 200, "{answer}");
        if part < 3 {
            site.flush_of("default");
        }
    }
    let text = format!("App | where Message has '{}' | count", canary.text());
    let (status, body) = site.ask("default", &text);
    assert_eq!((status, &body["tables"][0]["rows"]), (200, &json!([[2000]])), "{body}");
    let parts =
        || files(&site.data_dir().join("cache")).into_iter().filter(|(path, _)| path.file_name().unwrap() != "CACHEDIR.TAG").count();
    assert!(parts() > 0, "the hot cache holds something to erase");
    // A thief was here before: the node as it lay, switched off.
    let stolen = tempfile::TempDir::new().unwrap();
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for (path, bytes) in files(from) {
            let target = to.join(path.strip_prefix(from).unwrap());
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::write(&target, bytes).unwrap();
            std::fs::set_permissions(&target, std::fs::metadata(&path).unwrap().permissions()).unwrap();
        }
    };
    copy(&site.data_dir(), &stolen.path().join("data"));
    copy(&site.config_dir(), &stolen.path().join("config"));

    vault.enable("kek", "", false);
    site.until_key(&cluster, "Revoked");
    until("cache files are gone", || parts() == 0);
    let evidence = site.key_status(&cluster)["evidence"].clone();
    let steps: Vec<&str> = evidence.as_array().unwrap().iter().map(|step| step[0].as_str().unwrap()).collect();
    assert_eq!(steps, ["gate", "queries", "keys", "caches", "saved content", "memtables", "hot cache"]);
    let hits = scan(site.root(), std::slice::from_ref(&canary));
    assert!(hits.is_empty(), "{hits:#?}");
    let hits = scan(stolen.path(), std::slice::from_ref(&canary));
    assert!(hits.is_empty(), "{hits:#?}");

    // The root key of the stolen copy opens no record of the customer's, and so no block and no part of the cache.
    let mmk = strongroom_envelope::Mmk::from_bytes(std::fs::read(stolen.path().join("config/mmk.root")).unwrap().try_into().unwrap());
    let records: Vec<_> = files(&stolen.path().join("data/objects/keys"))
        .into_iter()
        .filter_map(|(_, bytes)| strongroom_envelope::WrappedAek::from_bytes(&bytes).ok())
        .collect();
    let (customers, own): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| record.provider != "mmk");
    assert!(!customers.is_empty() && !own.is_empty());
    assert!(own.iter().all(|record| mmk.unwrap_aek(record).is_ok()), "it is the right root key");
    assert!(customers.iter().all(|record| mmk.unwrap_aek(record).is_err()));
    // A whole server on the copy, root key and all: without the vault it answers nothing.
    site.kill();
    vault.kill();
    for name in ["data", "config"] {
        let own = site.root().join(name);
        std::fs::remove_dir_all(&own).unwrap();
        copy(&stolen.path().join(name), &own);
    }
    site.restart();
    let (status, body) = site.ask("default", &text);
    assert_eq!((status, code(&body)), (503, "KeyVaultUnavailable"), "{body}");
}
