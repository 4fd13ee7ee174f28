//! Whose identity a cluster shows to the vault, on the real binaries.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::Site;
use strongroom_tests::lock::{Cluster, VaultSite};

use crate::lock::{brisk, check, rows, take, until};

fn linked(name: &str) -> (Site, VaultSite, Cluster) {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster(name, &vault, "kek");
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 20);
    site.flush_of("default");
    take(&site, "default", 20, 20);
    (site, vault, cluster)
}

/// A user-assigned identity that the vault knows and has granted nothing: its path and principal.
fn user(site: &Site, vault: &VaultSite, name: &str) -> (String, String) {
    let path = format!("{}/Microsoft.ManagedIdentity/userAssignedIdentities/{name}", site.provider());
    let (status, made) = site.arm(Method::PUT, &path, Some(json!({"location": "local"})));
    assert_eq!(status, 201, "{made}");
    let principal = made["properties"]["principalId"].as_str().unwrap().to_owned();
    vault.register(name, &principal, made["properties"]["publicKey"].as_str().unwrap());
    (made["id"].as_str().unwrap().to_owned(), principal)
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[test]
fn the_identity_changes_under_load_without_a_failed_request_and_not_at_all_without_a_grant() {
    let (site, vault, cluster) = linked("switching");
    let (path, principal) = user(&site, &vault, "reader");
    let users = json!({"identity": {"type": "UserAssigned", "userAssignedIdentities": {path.clone(): {}}}});
    let own = json!({"identity": {"type": "SystemAssigned"}});
    let (stop, failed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut sent = 40;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut n = 40;
            while !stop.load(Ordering::Acquire) {
                let (status, body) = site.send("default", "App", rows(n, 1));
                if status == 200 {
                    n += 1;
                } else {
                    failed.lock().unwrap().push(body);
                }
                let (status, body) = site.ask("default", "App | count");
                if status != 200 {
                    failed.lock().unwrap().push(body);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            n
        });
        let refused = site.change(Method::PATCH, &cluster.path, Some(users.clone())).unwrap_err();
        assert_eq!(code(&refused), "KeyValidationFailed", "{refused}");
        assert_eq!(refused["error"]["details"][0]["code"], "PermissionMissing(unwrapKey)", "{refused}");
        let (_, shown) = site.arm(Method::GET, &cluster.path, None);
        assert_eq!(shown["identity"]["principalId"], cluster.principal.as_str(), "unchanged");
        vault.grant(&principal);
        site.change(Method::PATCH, &cluster.path, Some(users)).unwrap();
        let (_, shown) = site.arm(Method::GET, &cluster.path, None);
        assert_eq!(shown["identity"]["userAssignedIdentities"][&path]["principalId"], principal.as_str(), "{shown}");
        // The vault is asked with the new one from now on: the old one may go.
        vault.revoke(&cluster.principal);
        std::thread::sleep(Duration::from_secs(11));
        assert_eq!(site.key_status(&cluster)["state"], "Active");
        let refused = site.change(Method::PATCH, &cluster.path, Some(own.clone())).unwrap_err();
        assert_eq!(code(&refused), "KeyValidationFailed", "{refused}");
        vault.grant(&cluster.principal);
        site.change(Method::PATCH, &cluster.path, Some(own)).unwrap();
        vault.revoke(&principal);
        std::thread::sleep(Duration::from_secs(11));
        assert_eq!(site.key_status(&cluster)["state"], "Active");
        stop.store(true, Ordering::Release);
        sent = load.join().unwrap();
    });
    assert!(failed.lock().unwrap().is_empty(), "{:?}", failed.lock().unwrap());
    check(&site, "default", sent);
}

#[test]
fn a_new_cluster_comes_under_a_key_at_once_with_an_identity_that_was_granted_before() {
    let (mut site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let (identity, principal) = user(&site, &vault, "reader");
    let path = format!("{}/Microsoft.OperationalInsights/clusters/born-locked", site.provider());
    let body = |identity: Value| {
        let key = json!({"keyVaultUri": vault.base(), "keyName": "kek", "keyVersion": ""});
        json!({
            "location": "local",
            "identity": identity,
            "sku": {"name": "CapacityReservation", "capacity": 100},
            "properties": {"isDoubleEncryptionEnabled": true, "keyVaultProperties": key},
        })
    };
    let users = body(json!({"type": "UserAssigned", "userAssignedIdentities": {identity: {}}}));
    let refused = site.change(Method::PUT, &path, Some(body(json!({"type": "SystemAssigned"})))).unwrap_err();
    assert_eq!(code(&refused), "KeyVaultPropertiesOnCreate", "{refused}");
    let refused = site.change(Method::PUT, &path, Some(users.clone())).unwrap_err();
    assert_eq!(code(&refused), "KeyValidationFailed", "{refused}");
    assert_eq!(site.arm(Method::GET, &path, None).0, 404, "no cluster is left behind");

    // It dies with the key set and the cluster not told of it: the next start makes it whole.
    vault.grant(&principal);
    site.terminate();
    site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), "create.key_set".to_owned()));
    site.restart();
    let sent = site.request(Method::PUT, &format!("{path}?api-version=2023-09-01")).json(&users).send();
    assert!(sent.is_err() || sent.unwrap().status().is_success());
    assert!(!site.wait().success(), "it was to die");
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    until("it is whole", || site.arm(Method::GET, &path, None).1["properties"]["provisioningState"] == "Succeeded");
    let (_, shown) = site.arm(Method::GET, &path, None);
    assert_eq!(shown["properties"]["keyVaultProperties"]["keyName"], "kek", "{shown}");
    let cluster = Cluster { name: "born-locked".to_owned(), path, principal };
    site.until_key(&cluster, "Active");
    assert_eq!(site.key_status(&cluster)["aeks"].as_array().unwrap().iter().filter(|aek| aek["class"] == "CMK").count(), 1);
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 20);
    check(&site, "default", 20);
    vault.revoke(&cluster.principal);
    site.until_key(&cluster, "Revoked");
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "{body}");
}

#[test]
fn none_revokes_at_once_is_final_for_the_customer_and_survives_a_restart_without_a_call() {
    let (mut site, vault, cluster) = linked("nameless");
    let asked = |vault: &VaultSite| vault.log().iter().filter(|entry| entry["principal"] == cluster.principal.as_str()).count();
    let (status, answer) = site.arm(Method::PATCH, &cluster.path, Some(json!({"identity": {"type": "None"}})));
    assert_eq!(status, 200, "{answer}");
    assert!(answer["properties"]["notice"].as_str().unwrap().contains("disable the key"), "{answer}");
    assert_eq!(answer["identity"], json!({"type": "None"}));
    // At once: the answer comes after it.
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "{body}");
    let status = site.key_status(&cluster);
    assert_eq!((&status["state"], &status["code"]), (&json!("Revoked"), &json!("IdentityNone")));
    let (status, back) = site.arm(Method::PATCH, &cluster.path, Some(json!({"identity": {"type": "SystemAssigned"}})));
    assert_eq!((status, code(&back)), (403, "IdentityNoneIsFinal"), "{back}");
    // A call that was under way may have come through; none begins from now on, a restart included.
    std::thread::sleep(Duration::from_secs(6));
    let before = asked(&vault);
    site.terminate();
    site.restart();
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!((asked(&vault), &site.key_status(&cluster)["state"]), (before, &json!("Revoked")));
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "{body}");

    let restore = format!("/v1/clusters/{}/restore-identity", cluster.name);
    let contributor: Value =
        site.request(Method::POST, "/v1/principals").json(&json!({"role": "Contributor"})).send().unwrap().json().unwrap();
    let token = contributor["token"].as_str().unwrap();
    let client = reqwest::blocking::Client::new();
    let refused = client.post(format!("{}{restore}", site.base())).bearer_auth(token).send().unwrap();
    assert_eq!(refused.status(), 403, "{}", refused.text().unwrap());
    let operator: Value = site.request(Method::POST, "/v1/principals").json(&json!({"role": "Operator"})).send().unwrap().json().unwrap();
    let restored = client.post(format!("{}{restore}", site.base())).bearer_auth(operator["token"].as_str().unwrap()).send().unwrap();
    assert_eq!(restored.status(), 200, "{}", restored.text().unwrap());
    site.until_key(&cluster, "Active");
    until("every row is back", || site.ask("default", "App | count").0 == 200);
    check(&site, "default", 40);

    // Our own command asks first.
    let cli = site.cli(&["cluster", "set-identity", "nameless", "--none"]);
    assert_eq!(cli.status.code(), Some(2), "{}", String::from_utf8_lossy(&cli.stderr));
    assert_eq!(site.key_status(&cluster)["state"], "Active");
    let cli = site.cli(&["cluster", "set-identity", "nameless", "--none", "--yes"]);
    assert!(cli.status.success(), "{}", String::from_utf8_lossy(&cli.stderr));
    assert_eq!(site.key_status(&cluster)["state"], "Revoked");
    let cli = site.cli(&["cluster", "restore-identity", "nameless"]);
    assert!(cli.status.success(), "{}", String::from_utf8_lossy(&cli.stderr));
    site.until_key(&cluster, "Active");
    check(&site, "default", 40);
}

/// Starts the server anew, armed to die at `point`, and sends a change that gets it there; then it starts as if nothing had been.
fn dies_at(point: &str, body: impl FnOnce(&Site, &VaultSite) -> Value) -> (Site, VaultSite, Cluster) {
    let (mut site, vault, cluster) = linked("crashing");
    let body = body(&site, &vault);
    site.terminate();
    site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
    site.restart();
    site.until_key(&cluster, "Active");
    // The answer may or may not come.
    drop(site.request(Method::PATCH, &format!("{}?api-version=2023-09-01", cluster.path)).json(&body).send());
    assert!(!site.wait().success(), "it was to die");
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    (site, vault, cluster)
}

#[test]
fn dies_taking_the_identity_off() {
    let (site, _vault, cluster) = dies_at("identity.none", |_, _| json!({"identity": {"type": "None"}}));
    site.until_key(&cluster, "Revoked");
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, code(&body)), (403, "CustomerKeyRevoked"), "{body}");
    let (status, back) = site.arm(Method::PATCH, &cluster.path, Some(json!({"identity": {"type": "SystemAssigned"}})));
    assert_eq!((status, code(&back)), (403, "IdentityNoneIsFinal"), "{back}");
}

#[test]
fn dies_changing_the_identity() {
    let mut principal = String::new();
    let (site, vault, cluster) = dies_at("identity.shown", |site, vault| {
        let (path, made) = user(site, vault, "reader");
        vault.grant(&made);
        principal = made;
        json!({"identity": {"type": "UserAssigned", "userAssignedIdentities": {path: {}}}})
    });
    site.until_key(&cluster, "Active");
    until("the change is over", || site.arm(Method::GET, &cluster.path, None).1["properties"]["provisioningState"] == "Succeeded");
    let (_, shown) = site.arm(Method::GET, &cluster.path, None);
    assert!(shown["identity"]["userAssignedIdentities"].to_string().contains(&principal), "taken up again: {shown}");
    vault.revoke(&cluster.principal);
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(site.key_status(&cluster)["state"], "Active");
    check(&site, "default", 40);
}
