//! A key in quarantine on the real binaries: a start keeps it there, its role and the vault's proof end it.

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use strongroom_catalog::{Catalog, KeyStateRow};
use strongroom_tests::Site;
use strongroom_tests::lock::VaultSite;
use strongroom_world::World;

use crate::lock::{brisk, check, rows, take};

const RELEASE: &str = "/v1/clusters/suspected/key/release";

/// Asks for the release with a new token of a role; status and code.
fn release_as(site: &Site, role: &str) -> (u16, String) {
    let reply = site.request(Method::POST, "/v1/principals").json(&json!({"role": role, "workspace": null})).send().unwrap();
    let made: Value = reply.json().unwrap();
    let reply = Client::new().post(format!("{}{RELEASE}", site.base())).bearer_auth(made["token"].as_str().unwrap()).send().unwrap();
    let status = reply.status().as_u16();
    let body: Value = reply.json().unwrap();
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
    assert_eq!(release_as(&site, "Operator"), (409, told("Conflict")), "there is nothing to release");

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
        assert_eq!(release_as(&site, role).0, 403, "{role}");
    }
    vault.enable("kek", "", false);
    assert_eq!(release_as(&site, "Operator"), (400, told("KeyValidationFailed")), "the vault does not prove it");
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
