//! Keys: their shapes, what they do, what becomes of them.

use aws_lc_rs::rsa::KeySize;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{API, Site, TOKEN, outside_key};

fn version(bundle: &Value) -> String {
    bundle["key"]["kid"].as_str().unwrap().rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_created_key_wraps_and_unwraps() {
    let site = Site::start().await;
    let body = json!({"kty": "RSA", "key_size": 3072, "tags": {"team": "shop"}, "attributes": {"exp": site.now() + 900}});
    let made = site.admin(Method::POST, &format!("/keys/Kek-1/create?{API}"), body).await.good();
    let id = version(&made);
    assert_eq!(made["key"]["kid"], format!("https://{}/keys/Kek-1/{id}", site.host));
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let members: Vec<&String> = made["key"].as_object().unwrap().keys().collect();
    assert_eq!(members, ["kid", "kty", "n", "e", "key_ops"], "nothing private is told");
    assert_eq!((&made["key"]["kty"], &made["key"]["e"], &made["tags"]["team"]), (&json!("RSA"), &json!("AQAB"), &json!("shop")));
    assert_eq!(URL_SAFE_NO_PAD.decode(made["key"]["n"].as_str().unwrap()).unwrap().len(), 384);
    let attributes = &made["attributes"];
    assert_eq!((&attributes["enabled"], &attributes["exp"]), (&json!(true), &json!(site.now() + 900)));
    assert_eq!((&attributes["recoveryLevel"], &attributes["recoverableDays"]), (&json!("Purgeable"), &json!(0)));
    assert_eq!(attributes["exportable"], false);

    // The newest, by an empty version; names do not differ by case.
    assert_eq!(site.get(&format!("/keys/kek-1/?{API}")).await.good(), made);
    assert_eq!(site.get(&format!("/keys/kek-1/{id}?{API}")).await.good(), made);

    let secret = json!(URL_SAFE_NO_PAD.encode([9; 32]));
    for (there, back) in [("wrapkey", "unwrapkey"), ("encrypt", "decrypt")] {
        let wrapped = site.wrap(TOKEN, "Kek-1", "", there, &secret).await.good();
        assert_eq!(wrapped["kid"], made["key"]["kid"]);
        assert_ne!(wrapped["value"], secret);
        let opened = site.wrap(TOKEN, "Kek-1", &id, back, &wrapped["value"]).await.good();
        assert_eq!((&opened["value"], &opened["kid"]), (&secret, &made["key"]["kid"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_key_is_the_key_it_was() {
    let site = Site::start().await;
    let (jwk, private) = outside_key(KeySize::Rsa2048);
    let body = json!({"key": jwk, "attributes": {"enabled": true}, "tags": {"from": "outside"}});
    let made = site.admin(Method::PUT, &format!("/keys/brought?{API}"), body).await.good();
    assert_eq!((&made["key"]["n"], &made["key"]["e"]), (&jwk["n"], &jwk["e"]));
    assert_eq!(made["key"]["key_ops"], json!(["wrapKey", "unwrapKey"]));
    let secret = json!(URL_SAFE_NO_PAD.encode([3; 32]));
    let wrapped = site.wrap(TOKEN, "brought", "", "wrapkey", &secret).await.good();
    assert_eq!(site.wrap(TOKEN, "brought", "", "unwrapkey", &wrapped["value"]).await.good()["value"], secret);
    assert_eq!(
        site.wrap(TOKEN, "brought", "", "decrypt", &wrapped["value"]).await.error(),
        (403, "Forbidden", Some("KeyOperationForbidden"))
    );

    // Its private numbers are in no file and in no answer.
    let answers = [
        site.get(&format!("/keys/brought/?{API}")).await.body.to_string(),
        site.get(&format!("/keys?{API}")).await.body.to_string(),
        site.get("/vault/log").await.body.to_string(),
    ];
    let files = crate::site::files(site.dir.path());
    assert!(files.iter().any(|(name, _)| name.ends_with("state.sealed")) && files.iter().any(|(name, _)| name.contains("/keys/")));
    for number in private {
        let text = URL_SAFE_NO_PAD.encode(&number);
        assert!(answers.iter().all(|answer| !answer.contains(&text)));
        for (name, bytes) in &files {
            let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!holds(&number) && !holds(text.as_bytes()) && !holds(hex::encode(&number).as_bytes()), "{name}");
        }
    }

    let mut broken = jwk.clone();
    broken["dp"] = jwk["dq"].clone();
    let refused = site.admin(Method::PUT, &format!("/keys/broken?{API}"), json!({"key": broken})).await;
    assert_eq!(refused.error(), (400, "BadParameter", None));
    let mut half = jwk.clone();
    half.as_object_mut().unwrap().remove("qi");
    assert_eq!(site.admin(Method::PUT, &format!("/keys/half?{API}"), json!({"key": half})).await.error().0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_key_here_can_be_is_refused_by_name() {
    let site = Site::start().await;
    for (kty, why) in [("RSA-HSM", "no HSM"), ("EC-HSM", "no HSM"), ("oct-HSM", "no HSM"), ("oct", "managed HSM"), ("OKP", "RSA or EC")] {
        let said = site.admin(Method::POST, &format!("/keys/k/create?{API}"), json!({"kty": kty})).await;
        assert_eq!(said.error(), (400, "BadParameter", None), "{kty}");
        assert!(said.body["error"]["message"].as_str().unwrap().contains(why), "{}", said.body);
    }
    for body in [
        json!({"kty": "EC", "crv": "P-224"}),
        json!({"kty": "EC", "key_size": 512}),
        json!({"kty": "EC", "key_ops": ["wrapKey"]}),
        json!({"kty": "RSA", "key_size": 1024}),
        json!({"kty": "RSA", "key_size": 8192}),
        json!({"kty": "RSA", "public_exponent": 3}),
        json!({"kty": "RSA", "attributes": {"exportable": true}}),
        json!({"kty": "RSA", "key_ops": ["dance"]}),
        json!({"kty": "RSA", "attributes": {"nbf": 20, "exp": 10}}),
        json!({"key_size": 2048}),
    ] {
        let said = site.admin(Method::POST, &format!("/keys/k/create?{API}"), body.clone()).await;
        assert_eq!(said.error(), (400, "BadParameter", None), "{body}");
    }
    assert_eq!(site.admin(Method::POST, &format!("/keys/a%20b/create?{API}"), json!({"kty": "RSA"})).await.error().0, 400);
    assert_eq!(site.admin(Method::POST, "/keys/k/create", json!({"kty": "RSA"})).await.error(), (400, "BadParameter", None));
    assert_eq!(site.admin(Method::POST, "/keys/k/create?api-version=soon", json!({"kty": "RSA"})).await.error().0, 400);
    assert_eq!(site.get(&format!("/keys/k/?{API}")).await.error(), (404, "KeyNotFound", None));
    assert_eq!(site.get(&format!("/keys?{API}")).await.good()["value"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_oaep_wraps() {
    let site = Site::start().await;
    site.create("k").await;
    let value = site.wrapped("k").await;
    for alg in ["RSA1_5", "A256KW", "RS256", ""] {
        for verb in ["wrapkey", "unwrapkey", "encrypt", "decrypt"] {
            let said = site.admin(Method::POST, &format!("/keys/k//{verb}?{API}"), json!({"alg": alg, "value": value})).await;
            assert_eq!(said.error(), (400, "BadParameter", None), "{alg} {verb}");
        }
    }
    let long = json!(URL_SAFE_NO_PAD.encode([1; 191]));
    assert_eq!(site.wrap(TOKEN, "k", "", "wrapkey", &long).await.error(), (400, "BadParameter", None));
    let other = json!(URL_SAFE_NO_PAD.encode([1; 256]));
    assert_eq!(site.wrap(TOKEN, "k", "", "unwrapkey", &other).await.error(), (400, "BadParameter", None));
    assert_eq!(site.wrap(TOKEN, "k", "", "unwrapkey", &json!("AA")).await.error(), (400, "BadParameter", None));
    // The other padding opens nothing of this one's, and does its own work.
    let opened = site.admin(Method::POST, &format!("/keys/k//unwrapkey?{API}"), json!({"alg": "RSA-OAEP", "value": value})).await;
    assert_eq!(opened.error(), (400, "BadParameter", None));
    let secret = json!(URL_SAFE_NO_PAD.encode([5; 32]));
    for (there, back) in [("wrapkey", "unwrapkey"), ("encrypt", "decrypt")] {
        let call = async |verb: &str, value: &Value| {
            let body = json!({"alg": "RSA-OAEP", "value": value});
            site.admin(Method::POST, &format!("/keys/k//{verb}?{API}"), body).await.good()["value"].clone()
        };
        assert_eq!(call(back, &call(there, &secret).await).await, secret);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_sign_digests_and_verify_signatures() {
    let site = Site::start().await;
    let call = async |name: &str, verb: &str, body: Value| site.admin(Method::POST, &format!("/keys/{name}//{verb}?{API}"), body).await;
    for (name, body, alg, len) in [
        ("rsa", json!({"kty": "RSA"}), "PS384", 48),
        ("p521", json!({"kty": "EC", "crv": "P-521"}), "ES512", 64),
        ("p256k", json!({"kty": "EC", "crv": "P-256K"}), "ES256K", 32),
    ] {
        let made = site.admin(Method::POST, &format!("/keys/{name}/create?{API}"), body.clone()).await.good();
        assert_eq!(made["key"]["kty"], body["kty"]);
        let (digest, other) = (URL_SAFE_NO_PAD.encode(vec![1; len]), URL_SAFE_NO_PAD.encode(vec![2; len]));
        let signed = call(name, "sign", json!({"alg": alg, "value": digest})).await.good();
        assert_eq!(signed["kid"], made["key"]["kid"]);
        let verify = async |digest: &str| {
            call(name, "verify", json!({"alg": alg, "digest": digest, "value": signed["value"]})).await.good()["value"].clone()
        };
        assert_eq!((verify(&digest).await, verify(&other).await), (json!(true), json!(false)));
        assert_eq!(call(name, "verify", json!({"alg": alg, "value": signed["value"]})).await.error().0, 400);
        assert_eq!(call(name, "sign", json!({"alg": "HS256", "value": digest})).await.error(), (400, "BadParameter", None));

        // Rotation keeps the kind; what an older version signed it goes on verifying.
        let rotated = site.admin(Method::POST, &format!("/keys/{name}/rotate?{API}"), Value::Null).await.good();
        assert_eq!((&rotated["key"]["kty"], &rotated["key"]["crv"]), (&made["key"]["kty"], &made["key"]["crv"]));
        assert_ne!(rotated["key"]["kid"], made["key"]["kid"]);
        assert_eq!(verify(&digest).await, json!(false), "the newest is another key");
        let old = json!({"alg": alg, "digest": digest, "value": signed["value"]});
        let path = format!("/keys/{name}/{}/verify?{API}", version(&made));
        assert_eq!(site.admin(Method::POST, &path, old).await.good()["value"], true);

        site.admin(Method::PATCH, &format!("/keys/{name}/?{API}"), json!({"attributes": {"enabled": false}})).await.good();
        let refused = call(name, "sign", json!({"alg": alg, "value": digest})).await;
        assert_eq!(refused.error(), (403, "Forbidden", Some("KeyDisabled")));
        let body = json!({"alg": "RSA-OAEP-256", "value": "AAAA"});
        let wrapped = call(name, "wrapkey", body).await;
        assert_eq!(wrapped.status, if name == "rsa" { 200 } else { 403 }, "{}", wrapped.body);
    }
    // One made elsewhere (RFC 7515 A.3), and one whose private number is another's.
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"});
    let made = site.admin(Method::PUT, &format!("/keys/rfc?{API}"), json!({"key": ec})).await.good();
    assert_eq!((&made["key"]["x"], &made["key"]["y"], made["key"].get("d")), (&ec["x"], &ec["y"], None));
    let mut wrong = ec.clone();
    wrong["d"] = json!("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LE");
    assert_eq!(site.admin(Method::PUT, &format!("/keys/no?{API}"), json!({"key": wrong})).await.error().0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_key_unwraps_nothing_until_it_is_enabled() {
    let site = Site::start().await;
    let id = version(&site.create("k").await);
    let value = site.wrapped("k").await;
    let set = async |enabled: bool| {
        let body = json!({"attributes": {"enabled": enabled}});
        site.admin(Method::PATCH, &format!("/keys/k/{id}?{API}"), body).await.good()
    };
    assert_eq!(set(false).await["attributes"]["enabled"], false);
    assert_eq!(site.wrap(TOKEN, "k", &id, "unwrapkey", &value).await.error(), (403, "Forbidden", Some("KeyDisabled")));
    assert_eq!(site.wrap(TOKEN, "k", "", "decrypt", &value).await.error(), (403, "Forbidden", Some("KeyDisabled")));
    // As in Azure: the public key's operations go on, and so does all management.
    let secret = json!(URL_SAFE_NO_PAD.encode([1; 32]));
    site.wrap(TOKEN, "k", "", "wrapkey", &secret).await.good();
    site.wrap(TOKEN, "k", "", "encrypt", &secret).await.good();
    assert_eq!(site.get(&format!("/keys/k/?{API}")).await.good()["attributes"]["enabled"], false);
    assert_eq!(site.get(&format!("/keys/k/versions?{API}")).await.good()["value"].as_array().unwrap().len(), 1);
    set(true).await;
    site.wrap(TOKEN, "k", &id, "unwrapkey", &value).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_unwraps_but_does_not_wrap() {
    let site = Site::start().await;
    let body = json!({"kty": "RSA", "attributes": {"exp": site.now() + 60}});
    site.admin(Method::POST, &format!("/keys/k/create?{API}"), body).await.good();
    let value = site.wrapped("k").await;
    site.sim.clock().advance(std::time::Duration::from_mins(1));
    let secret = json!(URL_SAFE_NO_PAD.encode([1; 32]));
    assert_eq!(site.wrap(TOKEN, "k", "", "wrapkey", &secret).await.error(), (403, "Forbidden", Some("KeyExpired")));
    assert_eq!(site.wrap(TOKEN, "k", "", "encrypt", &secret).await.error(), (403, "Forbidden", Some("KeyExpired")));
    assert_eq!(site.wrap(TOKEN, "k", "", "unwrapkey", &value).await.good()["value"], json!(URL_SAFE_NO_PAD.encode([7; 32])));
    let later = json!({"attributes": {"exp": site.now() + 60}});
    site.admin(Method::PATCH, &format!("/keys/k/?{API}"), later).await.good();
    site.wrap(TOKEN, "k", "", "wrapkey", &secret).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_follow_each_other_and_old_ones_still_unwrap() {
    let site = Site::start().await;
    let first = version(&site.create("k").await);
    let value = site.wrapped("k").await;
    let rotated = site.admin(Method::POST, &format!("/keys/k/rotate?{API}"), Value::Null).await.good();
    let second = version(&rotated);
    assert_ne!(first, second);
    let newest = site.get(&format!("/keys/k/?{API}")).await.good();
    assert_eq!(version(&newest), second);
    assert_eq!(version(&site.create("k").await).len(), 32, "create adds a version too");
    site.wrap(TOKEN, "k", &first, "unwrapkey", &value).await.good();
    assert_eq!(site.wrap(TOKEN, "k", &second, "unwrapkey", &value).await.error(), (400, "BadParameter", None));
    assert_eq!(site.wrap(TOKEN, "k", &"0".repeat(32), "unwrapkey", &value).await.error(), (404, "KeyNotFound", None));

    let listed = site.get(&format!("/keys/k/versions?{API}&maxresults=2")).await.good();
    let page = listed["value"].as_array().unwrap();
    assert_eq!((page.len(), page[0]["kid"].as_str().unwrap().ends_with(&first)), (2, true));
    let next = listed["nextLink"].as_str().unwrap().strip_prefix(&format!("https://{}", site.host)).unwrap().to_owned();
    let rest = site.get(&next).await.good();
    assert_eq!((rest["value"].as_array().unwrap().len(), &rest["nextLink"]), (1, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_without_versions() {
    let site = Site::start().await;
    let (jwk, _) = outside_key(KeySize::Rsa2048);
    for name in ["a", "b", "c", "d", "e"] {
        site.admin(Method::PUT, &format!("/keys/{name}?{API}"), json!({"key": jwk})).await.good();
    }
    let mut path = format!("/keys?{API}&maxresults=2");
    let mut seen = Vec::new();
    loop {
        let page = site.get(&path).await.good();
        seen.extend(page["value"].as_array().unwrap().iter().map(|item| item["kid"].as_str().unwrap().to_owned()));
        let Some(next) = page["nextLink"].as_str() else { break };
        path = next.strip_prefix(&format!("https://{}", site.host)).unwrap().to_owned();
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"].map(|name| format!("https://{}/keys/{name}", site.host)));
    assert_eq!(site.get(&format!("/keys?{API}&maxresults=26")).await.error().0, 400);
}

/// What becomes of a key under each combination of the two properties.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_as_recoverable_as_its_vault() {
    for (soft, purge, level, days) in
        [(false, false, "Purgeable", 0), (true, false, "Recoverable+Purgeable", 90), (true, true, "Recoverable", 90)]
    {
        let site = Site::start().await;
        if soft {
            site.patch_vault(json!({"enableSoftDelete": soft, "enablePurgeProtection": purge})).await.good();
        }
        let made = site.create("k").await;
        let value = site.wrapped("k").await;
        assert_eq!((&made["attributes"]["recoveryLevel"], &made["attributes"]["recoverableDays"]), (&json!(level), &json!(days)));
        let deleted = site.admin(Method::DELETE, &format!("/keys/k?{API}"), Value::Null).await.good();
        assert_eq!(deleted["key"], made["key"]);
        assert_eq!(site.get(&format!("/keys/k/?{API}")).await.error(), (404, "KeyNotFound", None));
        assert_eq!(site.wrap(TOKEN, "k", "", "unwrapkey", &value).await.error(), (404, "KeyNotFound", None));
        if !soft {
            assert_eq!(deleted["recoveryId"], Value::Null);
            assert_eq!(site.get(&format!("/deletedkeys/k?{API}")).await.error(), (404, "KeyNotFound", None));
            assert!(site.dir.path().join("keys").read_dir().unwrap().next().is_none(), "the private key is gone");
            continue;
        }
        assert_eq!(deleted["recoveryId"], format!("https://{}/deletedkeys/k", site.host));
        assert_eq!(deleted["scheduledPurgeDate"].as_i64().unwrap() - deleted["deletedDate"].as_i64().unwrap(), 90 * 86_400);
        assert_eq!(site.get(&format!("/deletedkeys/k?{API}")).await.good(), deleted);
        let listed = site.get(&format!("/deletedkeys?{API}")).await.good();
        assert_eq!(listed["value"][0]["recoveryId"], deleted["recoveryId"]);
        let again = site.admin(Method::POST, &format!("/keys/k/create?{API}"), json!({"kty": "RSA"})).await;
        assert_eq!(again.error(), (409, "Conflict", Some("ObjectIsDeletedButRecoverable")));

        let recovered = site.admin(Method::POST, &format!("/deletedkeys/k/recover?{API}"), Value::Null).await.good();
        assert_eq!(recovered["key"], made["key"]);
        site.wrap(TOKEN, "k", "", "unwrapkey", &value).await.good();

        site.admin(Method::DELETE, &format!("/keys/k?{API}"), Value::Null).await.good();
        let purged = site.admin(Method::DELETE, &format!("/deletedkeys/k?{API}"), Value::Null).await;
        if purge {
            assert_eq!(purged.error(), (403, "Forbidden", Some("ForbiddenByPolicy")));
            site.admin(Method::POST, &format!("/deletedkeys/k/recover?{API}"), Value::Null).await.good();
        } else {
            assert_eq!((purged.status, &purged.body), (204, &Value::Null));
            assert_eq!(site.get(&format!("/deletedkeys/k?{API}")).await.error().0, 404);
            assert!(site.dir.path().join("keys").read_dir().unwrap().next().is_none(), "the private key is gone");
        }
    }
}
