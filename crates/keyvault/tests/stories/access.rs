//! Who may do what: properties, grants under both permission models, the log of it all.

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_keyvault::VaultConfig;

use crate::site::{API, Said, Site, clock};

#[tokio::test(flavor = "multi_thread")]
async fn protection_is_switched_on_and_never_off() {
    let site = Site::start().await;
    let fresh = site.get("/vault").await.good();
    assert_eq!((&fresh["enableSoftDelete"], &fresh["enablePurgeProtection"]), (&json!(false), &json!(false)));
    assert_eq!((&fresh["permissionModel"], &fresh["softDeleteRetentionInDays"]), (&json!("rbac"), &json!(90)));
    assert_eq!(fresh["uri"], format!("https://{}/", site.host));
    let refused = |said: Said| assert_eq!(said.error(), (400, "BadParameter", None), "{}", said.body);

    refused(site.patch_vault(json!({"enablePurgeProtection": true})).await);
    refused(site.patch_vault(json!({"enableSoftDelete": true, "softDeleteRetentionInDays": 6})).await);
    refused(site.patch_vault(json!({"enableSoftDelete": true, "softDeleteRetentionInDays": 91})).await);
    refused(site.patch_vault(json!({"enableSoftDeletion": true})).await);
    let on = site.patch_vault(json!({"enableSoftDelete": true, "softDeleteRetentionInDays": 7})).await.good();
    assert_eq!(on["recoveryLevel"], "CustomizedRecoverable+Purgeable");
    refused(site.patch_vault(json!({"enableSoftDelete": false})).await);
    refused(site.patch_vault(json!({"softDeleteRetentionInDays": 30})).await);
    let both = site.patch_vault(json!({"enablePurgeProtection": true})).await.good();
    assert_eq!(both["recoveryLevel"], "CustomizedRecoverable");
    refused(site.patch_vault(json!({"enablePurgeProtection": false})).await);
    assert_eq!(site.get("/vault").await.good(), both);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_gives_what_a_cluster_needs_and_no_more() {
    let site = Site::start().await;
    site.create("k").await;
    let value = site.wrapped("k").await;
    let identity = site.register("cluster-1").await;
    let token = site.login(&identity).await;
    let get = async || site.call(Some(&token), Method::GET, &format!("/keys/k/?{API}"), None).await;
    assert_eq!(get().await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    assert_eq!(site.wrap(&token, "k", "", "unwrapkey", &value).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));

    // By name, then by id: the same principal.
    for principal in ["cluster-1", &identity.id.to_string()] {
        let granted = site.grant_role(principal).await.good();
        assert_eq!(granted["value"][0]["principalId"], json!(identity.id));
        assert_eq!(granted["value"][0]["effective"], true);
        get().await.good();
        let wrapped = site.wrap(&token, "k", "", "wrapkey", &json!("AAAA")).await.good();
        site.wrap(&token, "k", "", "unwrapkey", &wrapped["value"]).await.good();
        site.call(Some(&token), Method::GET, &format!("/keys/k/versions?{API}"), None).await.good();
        site.admin(Method::DELETE, &format!("/vault/grants/{principal}"), Value::Null).await.good();
        assert_eq!(site.wrap(&token, "k", "", "unwrapkey", &value).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    }
    site.grant_role("cluster-1").await.good();
    let none = [
        (Method::POST, "/keys/k/create", json!({"kty": "RSA"})),
        (Method::PATCH, "/keys/k/", json!({"attributes": {"enabled": false}})),
        (Method::DELETE, "/keys/k", Value::Null),
        (Method::POST, "/keys/k/rotate", Value::Null),
        (Method::POST, "/keys/k//decrypt", json!({"alg": "RSA-OAEP-256", "value": value})),
        (Method::POST, "/keys/k//encrypt", json!({"alg": "RSA-OAEP-256", "value": "AAAA"})),
        (Method::DELETE, "/deletedkeys/k", Value::Null),
    ];
    for (method, path, body) in none {
        let said = site.call(Some(&token), method, &format!("{path}?{API}"), Some(&body)).await;
        assert_eq!(said.error(), (403, "Forbidden", Some("ForbiddenByRbac")), "{path}");
    }
    // Another identity has nothing of it, and none is an admin.
    let other = site.login(&site.register("cluster-2").await).await;
    assert_eq!(site.wrap(&other, "k", "", "unwrapkey", &value).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    for path in ["/vault", "/vault/identities", "/vault/grants", "/vault/log"] {
        assert_eq!(site.call(Some(&token), Method::GET, path, None).await.error(), (403, "Forbidden", Some("AccessDenied")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_subset_of_permissions_allows_just_itself() {
    let site = Site::start().await;
    site.create("k").await;
    let value = site.wrapped("k").await;
    site.patch_vault(json!({"permissionModel": "accessPolicy"})).await.good();
    let identity = site.register("cluster-1").await;
    let token = site.login(&identity).await;
    let names = ["get", "wrapKey", "unwrapKey"];
    for subset in 0..8_u8 {
        let permissions: Vec<&str> = names.iter().enumerate().filter(|(bit, _)| subset & 1 << bit != 0).map(|(_, name)| *name).collect();
        if permissions.is_empty() {
            let empty = json!({"principal": "cluster-1", "permissions": []});
            assert_eq!(site.admin(Method::PUT, "/vault/grants", empty).await.error().0, 400);
        } else {
            let granted =
                site.admin(Method::PUT, "/vault/grants", json!({"principal": "cluster-1", "permissions": permissions})).await.good();
            assert_eq!(granted["value"][0]["permissions"], json!(permissions));
        }
        let said = [
            site.call(Some(&token), Method::GET, &format!("/keys/k/?{API}"), None).await,
            site.wrap(&token, "k", "", "wrapkey", &json!("AAAA")).await,
            site.wrap(&token, "k", "", "unwrapkey", &value).await,
        ];
        for (bit, said) in said.iter().enumerate() {
            if subset & 1 << bit == 0 {
                assert_eq!(said.error(), (403, "Forbidden", Some("AccessDenied")), "{permissions:?} {}", names[bit]);
            } else {
                assert_eq!(said.status, 200, "{permissions:?} {}", names[bit]);
            }
        }
        let list = site.call(Some(&token), Method::GET, &format!("/keys?{API}"), None).await;
        assert_eq!(list.error(), (403, "Forbidden", Some("AccessDenied")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_counts_under_its_own_permission_model() {
    let site = Site::start().await;
    site.create("k").await;
    let identity = site.register("cluster-1").await;
    let token = site.login(&identity).await;
    let get = async || site.call(Some(&token), Method::GET, &format!("/keys/k/?{API}"), None).await;
    let policy = json!({"principal": "cluster-1", "permissions": ["Get", "wrapkey"]});
    let granted = site.admin(Method::PUT, "/vault/grants", policy).await.good();
    assert_eq!((&granted["value"][0]["effective"], &granted["value"][0]["permissions"]), (&json!(false), &json!(["get", "wrapKey"])));
    assert_eq!(get().await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    site.patch_vault(json!({"permissionModel": "accessPolicy"})).await.good();
    get().await.good();
    site.patch_vault(json!({"permissionModel": "rbac"})).await.good();
    assert_eq!(get().await.status, 403);

    for wrong in [
        json!({"principal": "nobody", "role": "Key Vault Crypto Service Encryption User"}),
        json!({"principal": "cluster-1", "role": "Owner"}),
        json!({"principal": "cluster-1", "permissions": ["everything"]}),
        json!({"principal": "cluster-1"}),
        json!({"principal": "cluster-1", "role": "Key Vault Crypto Service Encryption User", "permissions": ["get"]}),
    ] {
        let status = site.admin(Method::PUT, "/vault/grants", wrong.clone()).await.status;
        assert!((400..500).contains(&status), "{wrong}: {status}");
    }
    assert_eq!(site.admin(Method::DELETE, "/vault/grants/nobody", Value::Null).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_in_the_log() {
    let site = Site::start().await;
    let made = site.create("k").await;
    let version = made["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap();
    let identity = site.register("cluster-1").await;
    site.grant_role("cluster-1").await.good();
    let token = site.login(&identity).await;
    let wrapped = site.wrap(&token, "k", "", "wrapkey", &json!("AAAA")).await.good();
    site.admin(Method::PATCH, &format!("/keys/k/?{API}"), json!({"attributes": {"enabled": false}})).await.good();
    assert_eq!(site.wrap(&token, "k", version, "unwrapkey", &wrapped["value"]).await.status, 403);
    assert_eq!(site.call(None, Method::GET, &format!("/keys/k/?{API}"), None).await.status, 401);

    let log = site.log().await;
    let line = |entry: &Value| {
        let text = |member: &str| entry[member].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {} {} {}", text("principal"), text("operation"), text("key"), text("version"), entry["status"], text("code"))
    };
    let lines: Vec<String> = log.iter().map(line).collect();
    let expected = [
        format!("admin KeyCreate k {version} 200 -"),
        "admin IdentityPut - - 200 -".to_owned(),
        "admin GrantPut - - 200 -".to_owned(),
        "cluster-1 Authentication - - 200 -".to_owned(),
        format!("cluster-1 KeyWrap k {version} 200 -"),
        format!("admin KeyUpdate k {version} 200 -"),
        format!("cluster-1 KeyUnwrap k {version} 403 KeyDisabled"),
        "- KeyGet k - 401 Unauthorized".to_owned(),
    ];
    assert_eq!(lines, expected);
    assert_eq!(log[4]["principalId"], json!(identity.id));
    assert!(log.iter().all(|entry| entry["time"].as_str().unwrap().ends_with('Z')));
    let last = log.last().unwrap()["seq"].as_u64().unwrap();
    let after = site.get(&format!("/vault/log?after={last}")).await.good();
    assert_eq!(after["value"].as_array().unwrap().len(), 1, "the question before this one");
    let on_disk = std::fs::read_to_string(site.dir.path().join("access.log")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(on_disk.lines().nth(4).unwrap()).unwrap(), log[4]);
    assert!(!on_disk.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_bodies_and_addresses_have_bounds() {
    let site = Site::start().await;
    let asked = site.http.get(format!("https://{}/vault", site.host)).header("host", "evil.test").bearer_auth(crate::site::TOKEN);
    assert_eq!(crate::site::said(asked).await.status, 421);
    let named = site
        .http
        .get(format!("https://{}/keys?{API}", site.host))
        .header("host", format!("shop.vault.test:{}", site.host.rsplit(':').next().unwrap()));
    let said = crate::site::said(named).await;
    assert_eq!(said.status, 401);
    assert!(said.challenge.unwrap().contains("resource=\"https://vault.test:"));
    let huge = json!({"kty": "RSA", "tags": {"a": "x".repeat(70 << 10)}});
    assert_eq!(site.admin(Method::POST, &format!("/keys/k/create?{API}"), huge).await.status, 413);
    assert_eq!(site.get("/nowhere").await.status, 404);
    assert_eq!(site.call(None, Method::GET, "/healthz", None).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_of_access_policies_alone_begins_so_and_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = VaultConfig { access_policies_only: true, ..VaultConfig::at(dir.path()) };
    let site = Site::with(dir, clock(), config).await;
    assert_eq!(site.get("/vault").await.good()["permissionModel"], "accessPolicy");
    let refused = site.patch_vault(json!({"permissionModel": "rbac"})).await;
    assert_eq!(refused.error(), (400, "BadParameter", None), "{}", refused.body);
    site.patch_vault(json!({"permissionModel": "accessPolicy", "enableSoftDelete": true})).await.good();
    assert_eq!(site.get("/vault").await.good()["permissionModel"], "accessPolicy");
}
