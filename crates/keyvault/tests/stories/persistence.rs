//! What a vault's directory is worth: restarts, roots, crashes.

use std::os::unix::fs::PermissionsExt;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_keyvault::{Vault, VaultConfig, admin_token_path, ca_path};
use strongroom_world::World;

use crate::site::{API, Site, TOKEN, clock};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_everything() {
    let site = Site::start().await;
    site.patch_vault(json!({"enableSoftDelete": true, "enablePurgeProtection": true, "permissionModel": "accessPolicy"})).await.good();
    site.create("k").await;
    site.create("gone").await;
    site.admin(Method::DELETE, &format!("/keys/gone?{API}"), Value::Null).await.good();
    let value = site.wrapped("k").await;
    let identity = site.register("cluster-1").await;
    site.admin(Method::PUT, "/vault/grants", json!({"principal": "cluster-1", "permissions": ["get", "unwrapKey"]})).await.good();
    let ask = async |site: &Site| {
        let mut said = Vec::new();
        for path in ["/vault", "/vault/identities", "/vault/grants", &format!("/keys?{API}"), &format!("/deletedkeys?{API}")] {
            said.push(site.get(path).await.good().to_string().replace(&site.host, "host"));
        }
        said
    };
    let before = ask(&site).await;
    let (ca, calls) = (std::fs::read(ca_path(site.dir.path())).unwrap(), site.log().await.len());

    let site = site.restart().await;
    assert_eq!(ask(&site).await, before);
    assert_eq!(std::fs::read(ca_path(site.dir.path())).unwrap(), ca, "clients go on trusting it");
    assert!(site.log().await.len() > calls, "the log goes on");
    let token = site.login(&identity).await;
    site.wrap(&token, "k", "", "unwrapkey", &value).await.good();
}

#[test]
fn a_root_key_that_is_open_missing_or_anothers_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Vault::open(World::real(), VaultConfig::at(dir.path()), None).map(|(_, minted)| minted);
    let minted = open().unwrap().expect("the first start mints a token");
    assert_eq!(std::fs::read_to_string(admin_token_path(dir.path())).unwrap(), minted);
    assert_eq!(open().unwrap(), None, "once");
    let root = dir.path().join("root.key");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for name in ["root.key", "admin-token", "state.sealed", "ca.key", "access.log"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
    assert_eq!(std::fs::read(&root).unwrap().len(), 32);

    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = open().unwrap_err().to_string();
    assert!(refused.contains("root.key") && refused.contains("0600"), "{refused}");
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o600)).unwrap();

    let own = std::fs::read(&root).unwrap();
    std::fs::write(&root, [7; 32]).unwrap();
    let refused = open().unwrap_err().to_string();
    assert!(refused.contains("does not open this vault"), "{refused}");
    std::fs::write(&root, [7; 31]).unwrap();
    assert!(open().unwrap_err().to_string().contains("exactly 32 bytes"));
    std::fs::remove_file(&root).unwrap();
    assert!(open().unwrap_err().to_string().contains("missing"));
    std::fs::write(&root, own).unwrap();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o600)).unwrap();
    open().unwrap();
    assert!(Vault::open(World::real(), VaultConfig::at(dir.path()), Some("short".into())).is_err());
}

#[test]
fn two_vaults_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = Vault::open(World::real(), VaultConfig::at(dir.path()), None).unwrap();
    let refused = Vault::open(World::real(), VaultConfig::at(dir.path()), None).unwrap_err().to_string();
    assert!(refused.contains(&std::process::id().to_string()), "{refused}");
    drop(first);
    Vault::open(World::real(), VaultConfig::at(dir.path()), None).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_harmless() {
    let site = Site::start().await;
    site.create("k").await;
    let value = site.wrapped("k").await;
    let (dir, sim) = site.stop().await;
    // A key written whose state was not (it might be all that is left of a key after an old state was put back: it stays); a
    // state and a key half written.
    let orphan = dir.path().join("keys").join(format!("{}.key", "ab".repeat(16)));
    std::fs::write(&orphan, b"sealed").unwrap();
    std::fs::write(dir.path().join("keys").join(format!("{}.key.tmp", "cd".repeat(16))), b"se").unwrap();
    std::fs::write(dir.path().join("state.sealed.tmp"), b"half").unwrap();
    let site = Site::at(dir, sim).await;
    assert!(orphan.exists());
    assert_eq!(site.dir.path().join("keys").read_dir().unwrap().count(), 2);
    site.wrap(TOKEN, "k", "", "unwrapkey", &value).await.good();
    site.create("l").await;
    assert!(!site.dir.path().join("state.sealed.tmp").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_moved_to_another_versions_place_opens_nothing() {
    let site = Site::start().await;
    site.create("k").await;
    let value = site.wrapped("k").await;
    let other = site.create("l").await;
    let keys = site.dir.path().join("keys");
    let other = format!("{}.key", other["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap());
    for entry in keys.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(&other) {
            std::fs::copy(keys.join(&other), path).unwrap();
        }
    }
    assert_eq!(site.wrap(TOKEN, "k", "", "unwrapkey", &value).await.error(), (500, "InternalServerError", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_destroyed_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::at(dir, clock()).await;
    site.patch_vault(json!({"enableSoftDelete": true, "enablePurgeProtection": true, "softDeleteRetentionInDays": 7})).await.good();
    site.create("k").await;
    site.create("later").await;
    site.admin(Method::DELETE, &format!("/keys/k?{API}"), Value::Null).await.good();
    site.sim.clock().advance(std::time::Duration::from_hours(7 * 24 - 1));
    assert_eq!(site.get(&format!("/deletedkeys/k?{API}")).await.status, 200);
    site.admin(Method::DELETE, &format!("/keys/later?{API}"), Value::Null).await.good();
    // The vault looks once a minute of its own clock; this one stands still but when it is moved.
    let destroyed = || site.dir.path().join("keys").read_dir().unwrap().count() == 1;
    for _ in 0..20_000 {
        if site.get(&format!("/deletedkeys/k?{API}")).await.status == 404 && destroyed() {
            break;
        }
        site.sim.clock().advance(std::time::Duration::from_mins(1));
        tokio::task::yield_now().await;
    }
    assert_eq!(site.get(&format!("/deletedkeys/k?{API}")).await.error(), (404, "KeyNotFound", None));
    assert!(destroyed());
    site.create("k").await;
    // The other one still has most of its week.
    site.admin(Method::POST, &format!("/deletedkeys/later/recover?{API}"), Value::Null).await.good();
    site.wrapped("later").await;
}
