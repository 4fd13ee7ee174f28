//! The key vault and Azure's own clients, unmodified.

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::azure::Az;
use strongroom_tests::lock::VaultSite;
use strongroom_tests::{Site, Start, azure};

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

/// The command line, logged in at the log server's gateway, which the vault trusts by configuration.
#[test]
fn the_command_line_manages_keys_as_whom_the_gateway_says() {
    let site = Site::start_with(Start { environment: vec![("STRONGROOM_TLS__ENABLED".to_owned(), "true".to_owned())], ..Start::default() });
    let made = site.cli(&["principal", "create", "ops", "--role", "Reader", "--output", "json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (client, tenant, secret) = (text(&made["clientId"]), text(&made["tenantId"]), text(&made["credential"]["secret"]));
    let (gateway, ca) = (site.base(), site.ca());
    let issuer = format!("{gateway}/{tenant}/v2.0");
    let arguments = [
        ("--issuer", issuer.as_str()),
        ("--issuer-alias", &format!("{gateway}/adfs")),
        ("--issuer-keys", &format!("{gateway}/{tenant}/discovery/v2.0/keys")),
        ("--issuer-ca", ca.to_str().unwrap()),
        ("--issuer-authority", &format!("{gateway}/{tenant}")),
    ];
    let vault = VaultSite::serving(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect());
    vault.call(Method::PATCH, "/vault", Some(json!({"enableSoftDelete": true, "enablePurgeProtection": true})));

    let both = site.root().join("both.pem");
    let pems = [std::fs::read(&ca).unwrap(), std::fs::read(vault.dir().join("ca.pem")).unwrap()];
    std::fs::write(&both, pems.concat()).unwrap();
    let az = Az { config: site.root().join("az"), ca: both };
    let port = vault.base().rsplit(':').next().unwrap();
    az.told(&format!("cloud register -n Self --endpoint-resource-manager {gateway} --suffix-keyvault-dns .0.0.1:{port}"));
    az.told("cloud set -n Self");
    az.told(&format!("login --service-principal -u {client} -p {secret} --tenant {tenant}"));

    // Logged in is not let in: the vault says what somebody may do, and it has not been told of anybody.
    let create = "keyvault key create --vault-name 127 --name az-kek --kty RSA --size 2048";
    az.refused(create, "ForbiddenByRbac");
    let body = json!({"name": "ops", "issuer": issuer});
    vault.call(Method::PUT, &format!("/vault/identities/{}", made["id"].as_str().unwrap()), Some(body));
    vault.call(Method::PUT, "/vault/grants", Some(json!({"principal": "ops", "role": "Key Vault Crypto Officer"})));

    let first = az.told(create);
    let kid = text(&first["key"]["kid"]);
    assert!(kid.starts_with(&format!("{}/keys/az-kek/", vault.base())), "{first}");
    assert_eq!(first["attributes"]["recoveryLevel"], "Recoverable");
    let second = az.told("keyvault key rotate --vault-name 127 --name az-kek");
    assert_ne!(second["key"]["kid"], kid.as_str());
    let off = az.told(&format!("keyvault key set-attributes --id {kid} --enabled false --expires 2035-01-01T00:00:00Z --tags team=shop"));
    assert_eq!((&off["attributes"]["enabled"], &off["tags"]["team"]), (&json!(false), &json!("shop")), "{off}");
    assert_eq!(off["attributes"]["expires"], "2035-01-01T00:00:00+00:00", "{off}");
    let shown = az.told(&format!("keyvault key show --id {}/keys/az-kek", vault.base()));
    assert_eq!((&shown["key"]["kid"], &shown["attributes"]["enabled"]), (&second["key"]["kid"], &json!(true)));
    let listed = az.told("keyvault key list-versions --vault-name 127 --name az-kek");
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    let policy = site.root().join("policy.json");
    let rules = json!({"lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}], "attributes": {"expiryTime": "P180D"}});
    std::fs::write(&policy, rules.to_string()).unwrap();
    let set = az.told(&format!("keyvault key rotation-policy update --vault-name 127 --name az-kek --value {}", policy.display()));
    assert_eq!(set["expiresIn"], "P180D", "{set}");
    let closed =
        az.told("keyvault key encrypt --vault-name 127 --name az-kek --algorithm RSA-OAEP-256 --value secret --data-type plaintext");
    let value = text(&closed["result"]);
    let version = text(&second["key"]["kid"]).rsplit('/').next().unwrap().to_owned();
    let decrypt =
        format!("keyvault key decrypt --vault-name 127 --name az-kek --version {version} --algorithm RSA-OAEP-256 --value {value}");
    assert_eq!(az.told(&format!("{decrypt} --data-type plaintext"))["result"], "secret");

    az.told("keyvault key delete --vault-name 127 --name az-kek");
    az.refused("keyvault key show --vault-name 127 --name az-kek", "KeyNotFound");
    az.refused("keyvault key purge --vault-name 127 --name az-kek", "ForbiddenByPolicy");
    az.told("keyvault key recover --vault-name 127 --name az-kek");
    let listed = az.told("keyvault key list --vault-name 127");
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["name"]), (1, &json!("az-kek")), "{listed}");

    // What is granted no more is gone with the next call, whatever token there is.
    vault.revoke("ops");
    az.refused("keyvault key list --vault-name 127", "ForbiddenByRbac");
}
