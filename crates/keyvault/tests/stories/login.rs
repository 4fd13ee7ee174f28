//! Logging in: what is an assertion, and how long a token works.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::site::{API, Identity, Site, said};

fn edited(claims: &Value, member: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[member] = value;
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_assertion_gives_a_token_once() {
    let site = Site::start().await;
    let identity = site.register("cluster-1").await;
    let assertion = identity.assertion(&site.audience(), site.now());
    let answer = site.post_assertion(&assertion).await.good();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(600)));
    let again = site.post_assertion(&assertion).await;
    assert_eq!((again.status, &again.body["error"]), (401, &json!("invalid_client")));
    assert!(again.body["error_description"].as_str().unwrap().contains("used before"));
    assert!(!again.body.to_string().contains(&assertion));
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_that_are_not_quite_right_are_refused() {
    let site = Site::start().await;
    let identity = site.register("cluster-1").await;
    let now = site.now();
    let claims = || identity.claims(&site.audience(), now);
    let other_endpoint = site.audience().replace("/oauth2/", "/oauth3/");
    let wrong = [
        ("another audience", edited(&claims(), "aud", json!(other_endpoint))),
        ("another vault", edited(&claims(), "aud", json!("https://other.vault.test/t/oauth2/v2.0/token"))),
        ("no audience", edited(&claims(), "aud", Value::Null)),
        ("another issuer", edited(&claims(), "iss", json!("somebody"))),
        ("expired", edited(&edited(&claims(), "iat", json!(now - 700)), "exp", json!(now - 100))),
        ("too long a life", edited(&claims(), "exp", json!(now + 601))),
        ("from the future", edited(&edited(&claims(), "iat", json!(now + 120)), "exp", json!(now + 300))),
        ("not yet valid", edited(&claims(), "nbf", json!(now + 120))),
        ("no end", edited(&claims(), "exp", Value::Null)),
        ("without an id", edited(&claims(), "jti", json!(""))),
        ("of nobody", edited(&edited(&claims(), "sub", json!(uuid::Uuid::nil())), "iss", json!(uuid::Uuid::nil()))),
    ];
    for (what, claims) in wrong {
        let said = site.post_assertion(&identity.signed(&claims)).await;
        assert_eq!((said.status, &said.body["error"]), (401, &json!("invalid_client")), "{what}: {}", said.body);
    }
    // Signed by somebody else; not signed at all; signed with a secret everybody knows: the public key.
    let stranger = Identity::new();
    let said = site.post_assertion(&stranger.signed(&claims())).await;
    assert_eq!((said.status, &said.body["error"]), (401, &json!("invalid_client")));
    let assertion = identity.signed(&claims());
    let unsigned = format!("{}.", assertion.rsplit_once('.').unwrap().0);
    assert_eq!(site.post_assertion(&unsigned).await.status, 401);
    let key = jsonwebtoken::EncodingKey::from_secret(identity.public_key_pem().as_bytes());
    let confused = jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256), &claims(), &key).unwrap();
    assert_eq!(site.post_assertion(&confused).await.status, 401);
    assert_eq!(site.post_assertion("").await.status, 401);
    let secret = [("grant_type", "client_credentials"), ("client_secret", "x")];
    assert_eq!(said_of(&site, &secret).await, 401);
    assert_eq!(said_of(&site, &[("grant_type", "client_credentials")]).await, 400);
    assert_eq!(said_of(&site, &[("grant_type", "password")]).await, 400);
    // None of that spent the assertion.
    site.post_assertion(&assertion).await.good();
}

async fn said_of(site: &Site, form: &[(&str, &str)]) -> u16 {
    said(site.http.post(site.audience()).form(form)).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_time_and_with_its_identity() {
    let site = Site::start().await;
    site.create("k").await;
    let identity = site.register("cluster-1").await;
    site.grant_role("cluster-1").await.good();
    let get = async |token: &str| site.call(Some(token), Method::GET, &format!("/keys/k/?{API}"), None).await;
    let token = site.login(&identity).await;
    get(&token).await.good();
    site.sim.clock().advance(Duration::from_mins(10));
    let late = get(&token).await;
    assert_eq!(late.error(), (401, "Unauthorized", None));
    assert!(late.challenge.unwrap().contains("Bearer authorization="));

    let token = site.login(&identity).await;
    get(&token).await.good();
    // A new name ends nothing, a new key does.
    site.put_identity(&identity, "cluster-one").await.good();
    get(&token).await.good();
    let next = Identity { id: identity.id, ..Identity::new() };
    site.put_identity(&next, "cluster-one").await.good();
    assert_eq!(get(&token).await.status, 401);
    assert_eq!(site.post_assertion(&identity.assertion(&site.audience(), site.now())).await.status, 401);
    let token = site.login(&next).await;
    get(&token).await.good();
    site.admin(Method::DELETE, &format!("/vault/identities/{}", next.id), Value::Null).await.good();
    assert_eq!(get(&token).await.status, 401);
    // It comes back without its grants, and its old tokens stay dead.
    site.put_identity(&next, "cluster-one").await.good();
    assert_eq!(get(&token).await.status, 401);
    assert_eq!(get(&site.login(&next).await).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_need_a_p_256_key_and_a_name_of_their_own() {
    let site = Site::start().await;
    let identity = site.register("cluster-1").await;
    let other = Identity::new();
    assert_eq!(site.put_identity(&other, "cluster-1").await.error().0, 409);
    for name in ["", "admin", "0190b6c8-1111-7000-8000-000000000000", "a\nb"] {
        assert_eq!(site.put_identity(&other, name).await.error(), (400, "BadParameter", None), "{name:?}");
    }
    let p384 = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE\n-----END PUBLIC KEY-----\n";
    for pem in ["", "not a key", p384, &other.public_key_pem().replace("PUBLIC", "PRIVATE")] {
        let body = json!({"name": "x", "publicKeyPem": pem});
        let said = site.admin(Method::PUT, &format!("/vault/identities/{}", other.id), body).await;
        assert_eq!(said.error(), (400, "BadParameter", None), "{pem}");
    }
    assert_eq!(site.admin(Method::PUT, "/vault/identities/not-a-guid", json!({"name": "x", "publicKeyPem": "y"})).await.status, 400);
    let listed = site.get("/vault/identities").await.good();
    let expected = json!({"principalId": identity.id, "name": "cluster-1", "publicKeyPem": identity.public_key_pem()});
    assert_eq!(listed["value"], json!([expected]));
    assert_eq!(site.get("/vault/identities/cluster-1").await.good(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_where_to_log_in() {
    let site = Site::start().await;
    let tenant = site.get("/vault").await.good()["tenantId"].as_str().unwrap().to_owned();
    for token in [None, Some("wrong"), Some("svt_wrong")] {
        let said = site.call(token, Method::GET, &format!("/keys/k/?{API}"), None).await;
        assert_eq!(said.error(), (401, "Unauthorized", None));
        let rest = site.host.split_once('.').unwrap().1;
        let expected = format!("Bearer authorization=\"https://{}/{tenant}\", resource=\"https://{rest}\"", site.host);
        assert_eq!(said.challenge.as_deref(), Some(expected.as_str()));
    }
    let known = site.call(None, Method::GET, &format!("/{tenant}/v2.0/.well-known/openid-configuration"), None).await.good();
    assert_eq!(known["token_endpoint"], format!("https://{}/{tenant}/oauth2/v2.0/token", site.host));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assertion_from_before_a_restart_is_turned_away_for_now() {
    let site = Site::start().await;
    let identity = site.register("cluster-1").await;
    let old = identity.claims("", site.now());
    site.sim.clock().advance(Duration::from_secs(5));
    let site = site.restart().await;
    let said = site.post_assertion(&identity.signed(&edited(&old, "aud", json!(site.audience())))).await;
    assert_eq!((said.status, &said.body["error"]), (503, &json!("temporarily_unavailable")));
    site.login(&identity).await;
}
