//! A key in quarantine on the real binaries: a start keeps it there, its role and the vault's proof end it.

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use strongroom_catalog::{Catalog, KeyStateRow};
use strongroom_tests::Site;
use strongroom_tests::lock::VaultSite;
use strongroom_world::World;

use crate::lock::{brisk, check, rows, take, until};

/// Asks for the release with a new token of a role; status and code.
fn release_as(site: &Site, role: &str, cluster: &str) -> (u16, String) {
    let reply = site.request(Method::POST, "/v1/principals").json(&json!({"role": role, "workspace": null})).send().unwrap();
    let made: Value = reply.json().unwrap();
    let reply = Client::new()
        .post(format!("{}/v1/clusters/{cluster}/key/release", site.base()))
        .bearer_auth(made["token"].as_str().unwrap())
        .send()
        .unwrap();
    let status = reply.status().as_u16();
    let body: Value = reply.json().unwrap_or_default();
    (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
}

fn told(code: &str) -> String {
    code.to_owned()
}

#[test]
fn a_quarantine_outlives_a_restart_and_is_ended_by_an_operator_and_the_vault_together() {
    let (mut site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("suspected", &vault, "kek");
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 30);
    site.flush_of("default");
    take(&site, "default", 30, 30);
    assert_eq!(release_as(&site, "Operator", "suspected"), (409, told("Conflict")), "there is nothing to release");

    // What the watch wrote down when its vault lied: the vault itself cannot be made to.
    site.terminate();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let catalog = Catalog::open(&site.data_dir().join("catalog.sqlite"), World::real()).await.unwrap();
        let id = catalog.cluster_list().await.unwrap()[0].id;
        let row = catalog.key_state_get(id).await.unwrap().unwrap();
        catalog.key_state_put(&KeyStateRow { state: "Quarantined".to_owned(), ..row }).await.unwrap();
    });
    site.restart();
    let status = site.key_status(&cluster);
    assert_eq!((status["state"].as_str(), status["code"].as_str()), (Some("Quarantined"), Some("Integrity")), "{status}");
    assert!(status["advice"].to_string().contains("strongroom key release --cluster suspected"), "{status}");
    let (code, body) = site.ask("default", "App | count");
    assert_eq!((code, body["error"]["code"].as_str()), (503, Some("KeyQuarantined")), "{body}");
    let (code, body) = site.send("default", "App", rows(60, 1));
    assert_eq!((code, body["error"]["code"].as_str()), (503, Some("KeyQuarantined")), "{body}");
    let metrics = site.request(Method::GET, "/metrics").send().unwrap().text().unwrap();
    let gauge = metrics.lines().find(|line| line.starts_with("control_key_state{") && line.contains("\"Quarantined\""));
    assert!(gauge.is_some_and(|line| line.ends_with(" 1")), "{gauge:?}");

    for role in ["Contributor", "Reader", "Ingest"] {
        assert_eq!(release_as(&site, role, "suspected").0, 403, "{role}");
    }
    vault.enable("kek", "", false);
    assert_eq!(release_as(&site, "Operator", "suspected"), (400, told("KeyValidationFailed")), "the vault does not prove it");
    assert_eq!(site.key_status(&cluster)["state"], "Quarantined");
    vault.enable("kek", "", true);
    let printed = site.cli(&["key", "release", "--cluster", "suspected"]);
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    site.until_key(&cluster, "Active");
    check(&site, "default", 60);
    site.terminate();
    site.restart();
    site.until_key(&cluster, "Active");
    check(&site, "default", 60);
}

#[test]
fn a_key_record_that_was_put_back_quarantines_its_cluster_and_all_others_are_served() {
    let (mut site, vault) = (Site::start_with(brisk()), VaultSite::start());
    site.know_vault("customers", &vault);
    let clusters = ["robbed", "other"].map(|name| {
        vault.create_key(name);
        let cluster = site.locked_cluster(name, &vault, name);
        site.create_workspace(name);
        site.link(name, &cluster).unwrap();
        cluster
    });
    let [robbed, other] = &clusters;
    for workspace in ["robbed", "other", "default"] {
        take(&site, workspace, 0, 30);
        site.flush_of(workspace);
        take(&site, workspace, 30, 30);
    }
    // Somebody keeps a copy of the catalog, and puts it back when the key's newer version is in use and the older one is thought gone.
    site.terminate();
    let database = |site: &Site| ["", "-wal", "-shm"].map(|end| site.data_dir().join(format!("catalog.sqlite{end}")));
    let copies = database(&site).map(|path| std::fs::read(path).ok());
    site.restart();
    for cluster in &clusters {
        site.until_key(cluster, "Active");
    }
    let newest = vault.rotate("robbed");
    let in_use =
        |site: &Site| site.key_status(robbed)["aeks"].as_array().unwrap().iter().any(|aek| aek["wrappedVersion"] == newest.as_str());
    until("the newest version is used", || in_use(&site));
    site.kill();
    for (path, bytes) in database(&site).iter().zip(&copies) {
        drop(std::fs::remove_file(path));
        if let Some(bytes) = bytes {
            std::fs::write(path, bytes).unwrap();
        }
    }
    for _ in 0..2 {
        site.restart();
        site.until_key(other, "Active");
        check(&site, "other", 60);
        check(&site, "default", 60);
        let status = site.key_status(robbed);
        assert_eq!((status["state"].as_str(), status["code"].as_str()), (Some("Quarantined"), Some("Integrity")), "{status}");
        let (code, body) = site.ask("robbed", "App | count");
        assert_eq!((code, body["error"]["code"].as_str()), (503, Some("KeyQuarantined")), "{body}");
        let (code, body) = site.send("robbed", "App", rows(60, 1));
        assert_eq!((code, body["error"]["code"].as_str()), (503, Some("KeyQuarantined")), "{body}");
        site.terminate();
    }
    site.restart();
    let events = site.request(Method::GET, "/v1/audit?limit=1000&event=integrity.").send().unwrap().text().unwrap();
    assert!(events.contains("integrity.failed"), "{events}");
    // The newest record still lies beside the data: with it, and with what the vault proves, an operator ends this.
    assert_eq!(release_as(&site, "Contributor", "robbed").0, 403);
    let (status, code) = release_as(&site, "Operator", "robbed");
    assert!((200..300).contains(&status), "{status} {code}");
    site.until_key(robbed, "Active");
    assert!(in_use(&site), "{}", site.key_status(robbed));
    check(&site, "robbed", 60);
    site.terminate();
    site.restart();
    site.until_key(robbed, "Active");
    check(&site, "robbed", 60);
    check(&site, "other", 60);
}
