//! The lock with a key in a real OpenBao: a server of ours and one of theirs, two processes, and the customer's hand on the second.

use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use strongroom_tests::bao::OpenBao;
use strongroom_tests::{ADMIN, Site, binary};

use super::lock::{brisk, check, take, until};

#[test]
fn a_key_in_openbao_locks_and_unlocks() {
    let (site, mut bao) = (Site::start_with(brisk()), OpenBao::start());
    bao.admin("POST", "transit/keys/payroll", json!({"type": "aes256-gcm96"}));
    let cluster = site.create_cluster("shop-cluster", true);
    let (_, shown) = site.arm(Method::GET, &cluster.path, None);
    let public_key = shown["properties"]["identityPublicKey"].as_str().unwrap().to_owned();
    bao.let_in("shop", &cluster.principal, &[public_key], &bao.uri());

    // Made known with the command line.
    let ca = bao.path().join("ca.pem");
    std::fs::write(&ca, bao.ca_pem()).unwrap();
    let made = Command::new(binary())
        .args(["cluster", "register-vault", "bao", "--provider", "transit", "--role", "shop", "--vault-uri", &bao.uri(), "--ca"])
        .arg(&ca)
        .env("STRONGROOM_SERVER", site.base())
        .env("STRONGROOM_TOKEN", ADMIN)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let path = format!("{}/Microsoft.KeyVault/vaults/bao", site.provider());
    let (_, vault) = site.arm(Method::GET, &path, None);
    assert_eq!((&vault["properties"]["provider"], &vault["properties"]["hasAccess"]), (&json!("transit"), &json!(true)), "{vault}");
    assert!(!vault.to_string().contains("role"), "how to log in is not shown: {vault}");

    // No policy yet: the key is not taken, and the reason is told.
    let key = json!({"properties": {"keyVaultProperties": {"keyVaultUri": bao.uri(), "keyName": "payroll", "keyVersion": ""}}});
    let refused = site.change(Method::PATCH, &cluster.path, Some(key.clone())).unwrap_err();
    assert!(refused.to_string().contains("PermissionMissing(get)"), "{refused}");
    bao.grant("shop", &["payroll"]);
    site.change(Method::PATCH, &cluster.path, Some(key)).unwrap();
    site.link("default", &cluster).unwrap();
    take(&site, "default", 0, 100);
    site.flush_of("default");
    take(&site, "default", 100, 50);
    check(&site, "default", 150);
    let kek = &site.key_status(&cluster)["kek"]["facts"];
    assert_eq!((&kek["key_type"], &kek["used"]), (&json!("aes256-gcm96"), &json!("1")), "{kek}");

    // Rotated there, followed here.
    bao.admin("POST", "transit/keys/payroll/rotate", json!({}));
    until("the newest version is used", || site.key_status(&cluster)["aeks"].to_string().contains(r#""wrappedVersion":"2""#));

    // Taken away, and given back.
    bao.withdraw("shop");
    site.until_key(&cluster, "Revoked");
    let (status, body) = site.ask("default", "App | count");
    assert_eq!((status, &body["error"]["code"]), (403, &json!("CustomerKeyRevoked")), "{body}");
    assert_eq!(site.key_status(&cluster)["code"], "PermissionDenied");
    bao.grant("shop", &["payroll"]);
    site.until_key(&cluster, "Active");
    until("served again", || site.ask("default", "App | count").0 == 200);
    check(&site, "default", 150);

    // Sealed is an outage: answered on, and never taken for a denial.
    bao.seal();
    site.until_key(&cluster, "Degraded");
    check(&site, "default", 150);
    // Longer than the server waits on an idle connection: what is closed meanwhile is not asked on.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(site.key_status(&cluster)["state"], "Degraded");
    bao.unseal();
    site.until_key(&cluster, "Active");
    check(&site, "default", 150);
}
