//! What a vault does by itself, and what leaves it to come back: rotation policies, backups, random bytes.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use strongroom_world::WallTime;

use crate::site::{API, Site, TOKEN, clock, files, outside_key};

const DAY: i64 = 86_400;

async fn set(site: &Site, name: &str, policy: Value) -> Value {
    site.admin(Method::PUT, &format!("/keys/{name}/rotationpolicy?{API}"), policy).await.good()
}

async fn versions(site: &Site, name: &str) -> Vec<Value> {
    site.get(&format!("/keys/{name}/versions?{API}")).await.good()["value"].as_array().unwrap().clone()
}

/// The log's lines of what policies did.
async fn done(site: &Site) -> Vec<String> {
    let line = |entry: &Value| format!("{} {}", entry["operation"].as_str().unwrap(), entry["key"].as_str().unwrap());
    site.log().await.iter().filter(|entry| entry["principal"] == "rotation policy").map(line).collect()
}

/// A vault whose clock is behind the machine's, so that it can be moved, and the vault started again, without a certificate
/// that the client's clock calls one of the future.
async fn behind() -> Site {
    let sim = clock();
    let now = sim.world().clock.wall();
    sim.clock().set_wall(WallTime(now.0 - 25 * DAY * 1_000_000_000));
    Site::at(tempfile::tempdir().unwrap(), sim).await
}

/// Moves the vault's clock by `time` and a little, so that it looks again; until `there` says so.
async fn until(site: &Site, time: Duration, mut there: impl AsyncFnMut() -> bool) {
    site.sim.clock().advance(time);
    for _ in 0..20_000 {
        if there().await {
            return;
        }
        site.sim.clock().advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    panic!("the vault never did it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_rotates_its_key_on_time() {
    let site = behind().await;
    let ec = json!({"kty": "EC", "crv": "P-256", "tags": {"team": "shop"}});
    for name in ["rotated", "disabled", "plain"] {
        site.admin(Method::POST, &format!("/keys/{name}/create?{API}"), ec.clone()).await.good();
    }
    let usual = site.get(&format!("/keys/plain/rotationpolicy?{API}")).await.good();
    let notify = json!([{"trigger": {"timeBeforeExpiry": "P30D"}, "action": {"type": "Notify"}}]);
    assert_eq!((&usual["lifetimeActions"], &usual["attributes"]["expiryTime"]), (&notify, &Value::Null));
    assert_eq!(usual["id"], format!("https://{}/keys/plain/rotationpolicy", site.host));

    let policy = json!({
        "lifetimeActions": [{"trigger": {"timeAfterCreate": "P7D", "timeBeforeExpiry": null}, "action": {"type": "rotate"}}],
        "attributes": {"expiryTime": "P28D"},
    });
    for name in ["rotated", "disabled"] {
        let told = set(&site, name, policy.clone()).await;
        let rotate = json!([{"trigger": {"timeAfterCreate": "P7D"}, "action": {"type": "Rotate"}}]);
        assert_eq!((&told["lifetimeActions"], &told["attributes"]["expiryTime"]), (&rotate, &json!("P28D")));
        assert_eq!(site.get(&format!("/keys/{name}/rotationpolicy?{API}")).await.good(), told);
    }
    site.admin(Method::PATCH, &format!("/keys/disabled/?{API}"), json!({"attributes": {"enabled": false}})).await.good();
    let wrong = json!({"lifetimeActions": [{"trigger": {"timeAfterCreate": "P6D"}, "action": {"type": "Rotate"}}]});
    assert_eq!(site.admin(Method::PUT, &format!("/keys/plain/rotationpolicy?{API}"), wrong).await.error().0, 400);

    let first = versions(&site, "rotated").await;
    let made = first[0]["attributes"]["created"].as_i64().unwrap();
    // Its line is in the log a moment after the version is there.
    until(&site, Duration::from_hours(24 * 7), async || !done(&site).await.is_empty()).await;
    let both = versions(&site, "rotated").await;
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[0], first[0]);
    let second = &both[1];
    let created = second["attributes"]["created"].as_i64().unwrap();
    assert!((7 * DAY..8 * DAY).contains(&(created - made)), "{}", created - made);
    assert_eq!((&second["attributes"]["exp"], &second["tags"]["team"]), (&json!(created + 28 * DAY), &json!("shop")));
    assert_eq!(done(&site).await, ["KeyRotate rotated"]);
    // What was taken away is not given back by a new version, however long it takes.
    until(&site, Duration::from_hours(24 * 7), async || versions(&site, "rotated").await.len() == 3).await;
    assert_eq!((versions(&site, "disabled").await.len(), versions(&site, "plain").await.len()), (1, 1));

    // By hand it gets its life from the policy, too; and the policy outlives a restart.
    let by_hand = site.admin(Method::POST, &format!("/keys/rotated/rotate?{API}"), Value::Null).await.good();
    assert_eq!(by_hand["attributes"]["exp"].as_i64().unwrap() - by_hand["attributes"]["created"].as_i64().unwrap(), 28 * DAY);
    let before = site.get(&format!("/keys/rotated/rotationpolicy?{API}")).await.good()["lifetimeActions"].clone();
    let site = site.restart().await;
    assert_eq!(site.get(&format!("/keys/rotated/rotationpolicy?{API}")).await.good()["lifetimeActions"], before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_on_a_full_key_is_tried_less_and_less_often() {
    let sim = clock();
    let now = sim.world().clock.wall();
    sim.clock().set_wall(WallTime(now.0 - 25 * DAY * 1_000_000_000));
    let dir = tempfile::tempdir().unwrap();
    let config = strongroom_keyvault::VaultConfig { versions_max: 1, ..strongroom_keyvault::VaultConfig::at(dir.path()) };
    let site = Site::with(dir, sim, config).await;
    site.admin(Method::POST, &format!("/keys/k/create?{API}"), json!({"kty": "EC"})).await.good();
    let policy = json!({"lifetimeActions": [{"trigger": {"timeAfterCreate": "P7D"}, "action": {"type": "Rotate"}}]});
    set(&site, "k", policy).await;
    until(&site, Duration::from_hours(24 * 7), async || !done(&site).await.is_empty()).await;
    let mut left = 4 * 3_600;
    until(&site, Duration::from_secs(1), async || {
        left -= 1;
        if left % 60 == 0 {
            // The vault has its turn.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        left <= 0
    })
    .await;
    let tries = done(&site).await;
    assert!(tries.iter().all(|line| line == "KeyRotate k"), "{tries:?}");
    assert!((2..=9).contains(&tries.len()), "{}", tries.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_tags_are_as_long_as_may_be_comes_back_from_its_backup() {
    let site = Site::start().await;
    let tags: serde_json::Map<String, Value> =
        (0..15).map(|n| (format!("{n:02}{}", "\u{1}".repeat(254)), "\u{1}".repeat(256).into())).collect();
    let (jwk, _) = outside_key(aws_lc_rs::rsa::KeySize::Rsa4096);
    for _ in 0..25 {
        site.admin(Method::PUT, &format!("/keys/k?{API}"), json!({"key": jwk, "tags": tags})).await.good();
    }
    let blob = site.admin(Method::POST, &format!("/keys/k/backup?{API}"), Value::Null).await.good();
    assert!(blob["value"].as_str().unwrap().len() > 1 << 20);
    site.admin(Method::DELETE, &format!("/keys/k?{API}"), Value::Null).await.good();
    site.admin(Method::POST, &format!("/keys/restore?{API}"), blob).await.good();
    assert_eq!(versions(&site, "k").await.len(), 25);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_expires_soon_is_told_of_once() {
    let site = behind().await;
    let body = json!({"kty": "EC", "attributes": {"exp": site.now() + 37 * DAY}});
    site.admin(Method::POST, &format!("/keys/k/create?{API}"), body).await.good();
    until(&site, Duration::from_hours(24 * 7), async || !done(&site).await.is_empty()).await;
    let mut looked = 0;
    until(&site, Duration::from_hours(24), async || {
        looked += 1;
        looked > 200
    })
    .await;
    assert_eq!(done(&site).await, ["KeyNearExpiry k"]);
    let site = site.restart().await;
    assert_eq!(done(&site).await, ["KeyNearExpiry k"]);
    // Another expiry is another notice.
    site.admin(Method::PATCH, &format!("/keys/k/?{API}"), json!({"attributes": {"exp": site.now() + 37 * DAY}})).await.good();
    until(&site, Duration::from_hours(24 * 7), async || done(&site).await.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_brings_a_key_back_to_its_own_vault() {
    let site = Site::start().await;
    let (jwk, private) = outside_key(aws_lc_rs::rsa::KeySize::Rsa2048);
    site.admin(Method::PUT, &format!("/keys/Kek-1?{API}"), json!({"key": jwk, "tags": {"a": "b"}})).await.good();
    let value = site.wrapped("Kek-1").await;
    site.admin(Method::POST, &format!("/keys/Kek-1/rotate?{API}"), Value::Null).await.good();
    let policy = json!({"lifetimeActions": [{"trigger": {"timeAfterCreate": "P90D"}, "action": {"type": "Rotate"}}]});
    set(&site, "kek-1", policy).await;
    let before = (versions(&site, "kek-1").await, site.get(&format!("/keys/kek-1/?{API}")).await.good());
    let blob = site.admin(Method::POST, &format!("/keys/kek-1/backup?{API}"), Value::Null).await.good();
    let bytes = URL_SAFE_NO_PAD.decode(blob["value"].as_str().unwrap()).unwrap();
    for number in &private {
        assert!(!bytes.windows(number.len()).any(|window| window == number), "sealed");
    }
    let restore = async |site: &Site, blob: &Value| site.admin(Method::POST, &format!("/keys/restore?{API}"), blob.clone()).await;
    assert_eq!(restore(&site, &blob).await.error(), (409, "Conflict", None), "it is still there");

    // Without soft delete it is gone for good, but for the backup.
    site.admin(Method::DELETE, &format!("/keys/kek-1?{API}"), Value::Null).await.good();
    assert!(files(&site.dir.path().join("keys")).is_empty());
    let restored = restore(&site, &blob).await.good();
    assert_eq!((versions(&site, "kek-1").await, &restored), (before.0, &before.1));
    let first = versions(&site, "kek-1").await[0]["kid"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let opened = site.wrap(TOKEN, "kek-1", &first, "unwrapkey", &value).await.good();
    assert_eq!(opened["value"], URL_SAFE_NO_PAD.encode([7; 32]));
    let policy = site.get(&format!("/keys/kek-1/rotationpolicy?{API}")).await.good();
    assert_eq!(policy["lifetimeActions"][0]["action"]["type"], "Rotate");

    // A changed one, none, another vault's.
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_eq!(restore(&site, &json!({"value": URL_SAFE_NO_PAD.encode(changed)})).await.error(), (400, "BadParameter", None));
    }
    assert_eq!(restore(&site, &json!({"value": ""})).await.error().0, 400);
    let sealed_state = std::fs::read(site.dir.path().join("state.sealed")).unwrap();
    assert_eq!(restore(&site, &json!({"value": URL_SAFE_NO_PAD.encode(sealed_state)})).await.error().0, 400);
    let other = Site::at(tempfile::tempdir().unwrap(), clock()).await;
    assert_eq!(restore(&other, &blob).await.error(), (400, "BadParameter", None));

    // Deleted and recoverable: the name is taken.
    site.patch_vault(json!({"enableSoftDelete": true})).await.good();
    site.admin(Method::DELETE, &format!("/keys/kek-1?{API}"), Value::Null).await.good();
    assert_eq!(restore(&site, &blob).await.error(), (409, "Conflict", Some("ObjectIsDeletedButRecoverable")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_does_not_come_back_over_a_new_key_of_its_name() {
    let site = Site::start().await;
    let first = site.create("kek").await;
    let blob = site.admin(Method::POST, &format!("/keys/kek/backup?{API}"), Value::Null).await.good();
    site.admin(Method::DELETE, &format!("/keys/kek?{API}"), Value::Null).await.good();
    let second = site.create("KEK").await;
    let refused = site.admin(Method::POST, &format!("/keys/restore?{API}"), blob.clone()).await;
    assert_eq!(refused.error(), (409, "Conflict", None), "a yes would be believed, and the backup thrown away");
    let there = versions(&site, "kek").await;
    assert_eq!((there.len(), &there[0]["kid"]), (1, &second["key"]["kid"]));
    let version_of = |bundle: &Value| bundle["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let private: Vec<String> = files(&site.dir.path().join("keys")).into_iter().map(|(name, _)| name).collect();
    assert!(!private.iter().any(|name| name.contains(&version_of(&first))), "no private key that no key names: {private:?}");
    // It is good for when the name is free.
    site.admin(Method::DELETE, &format!("/keys/kek?{API}"), Value::Null).await.good();
    site.admin(Method::POST, &format!("/keys/restore?{API}"), blob).await.good();
    assert_eq!(versions(&site, "kek").await[0]["kid"], first["key"]["kid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_is_for_the_uses_of_the_one_before() {
    let site = Site::start().await;
    let ops = json!(["unwrapKey"]);
    site.admin(Method::POST, &format!("/keys/old/create?{API}"), json!({"kty": "RSA", "key_ops": ops})).await.good();
    let rotated = site.admin(Method::POST, &format!("/keys/old/rotate?{API}"), Value::Null).await.good();
    assert_eq!(rotated["key"]["key_ops"], ops, "what may only unwrap is given no other use by a rotation");
    let version = rotated["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let refused = site.wrap(TOKEN, "old", &version, "wrapkey", &json!("AAAA")).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_are_as_many_as_asked() {
    let site = Site::start().await;
    let random = async |count: Value| site.admin(Method::POST, &format!("/rng?{API}"), json!({"count": count})).await;
    let (one, two) = (random(json!(128)).await.good(), random(json!(128)).await.good());
    assert_eq!(URL_SAFE_NO_PAD.decode(one["value"].as_str().unwrap()).unwrap().len(), 128);
    assert_ne!(one["value"], two["value"]);
    for wrong in [json!(0), json!(129), json!(-1), json!("8")] {
        assert_eq!(random(wrong).await.error(), (400, "BadParameter", None));
    }
    assert_eq!(site.call(None, Method::POST, &format!("/rng?{API}"), None).await.status, 401);
}
