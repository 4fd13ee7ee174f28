//! The key vault and Azure's own clients, unmodified.

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::lock::VaultSite;
use strongroom_tests::{Site, azure};

use crate::lock::brisk;

const OPS: &str = "0b1c2d3e-0000-4000-8000-000000000001";
const NOBODY: &str = "0b1c2d3e-0000-4000-8000-000000000002";

/// Somebody who logs in with a client secret; that.
fn application(vault: &VaultSite, id: &str, name: &str) -> String {
    let made = vault.call(Method::PUT, &format!("/vault/identities/{id}"), Some(json!({"name": name, "clientSecret": true})));
    made["clientSecret"].as_str().unwrap().to_owned()
}

/// The Python SDK, with `DefaultAzureCredential()` and nothing but environment variables.
#[test]
fn the_key_vault_sdk_works_as_it_comes() {
    let vault = VaultSite::start();
    let secret = application(&vault, OPS, "ops");
    let nobodys = application(&vault, NOBODY, "nobody");
    vault.call(Method::PUT, "/vault/grants", Some(json!({"principal": "ops", "role": "Key Vault Crypto Officer"})));
    let ca = vault.dir().join("ca.pem");
    let environment = [
        ("AZURE_AUTHORITY_HOST", vault.base()),
        ("AZURE_TENANT_ID", "adfs"),
        ("AZURE_CLIENT_ID", OPS),
        ("AZURE_CLIENT_SECRET", &secret),
        ("REQUESTS_CA_BUNDLE", ca.to_str().unwrap()),
    ];
    let told = azure::script("keyvault.py", &[vault.base(), NOBODY, &nobodys], &environment);
    assert!(told.contains("every call was answered"), "{told}");
    // It was the vault that did it, and it knows for whom.
    let log = vault.call(Method::GET, "/vault/log", None);
    let did = |operation: &str, code: &Value| {
        let lines = log["value"].as_array().unwrap().iter();
        lines.filter(|line| line["principal"] == "ops" && line["operation"] == operation && line["code"] == *code).count()
    };
    assert!(did("KeyUnwrap", &Value::Null) >= 5 && did("KeySign", &Value::Null) >= 9);
    assert_eq!((did("KeyUnwrap", &json!("KeyDisabled")), did("KeyPurge", &json!("ForbiddenByPolicy"))), (1, 1));

    // A cluster takes the key that the SDK made, then the one it brought in; one that only signs wraps nothing.
    let site = Site::start_with(brisk());
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("shop-cluster", &vault, "sdk-kek");
    site.set_key(&cluster, &vault, "sdk-brought", "").unwrap();
    let refused = site.set_key(&cluster, &vault, "sdk-curve", "").unwrap_err();
    assert_eq!(refused["error"]["code"], "KeyValidationFailed", "{refused}");
    assert_eq!(site.key_status(&cluster)["state"], "Active");
}
