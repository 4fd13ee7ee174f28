use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use strongroom_model::{AccountId, ObjectId};
use strongroom_world::Rng;
use strongroom_world::sim::SimWorld;

use super::*;
use crate::outbound::OutboundConfig;
use crate::provider::Answer;
use crate::testing::{Action, Handshake, Seen, TestServer};

const VERSION: &str = "0123456789abcdef0123456789abcdef";
const NEWER: &str = "fedcba9876543210fedcba9876543210";

/// A vault of cardboard: it logs everybody in, its wrapping changes nothing, and it has one key.
fn obliging(seen: &Seen) -> Action {
    let host = seen.header("host").unwrap();
    let path = seen.path.split('?').next().unwrap();
    if path.ends_with("/token") {
        return token("t0ken", 600);
    }
    let version = path.split('/').nth(3).filter(|version| !version.is_empty()).unwrap_or(NEWER);
    let kid = format!("https://{host}/keys/payroll/{version}");
    match path.rsplit('/').next().unwrap() {
        "wrapkey" | "unwrapkey" => {
            let body: Value = serde_json::from_str(&seen.body).unwrap();
            assert_eq!(body["alg"], "RSA-OAEP-256");
            Action::json(200, &json!({ "kid": kid, "value": body["value"] }).to_string())
        }
        "versions" => {
            let item = |version: &str, enabled: bool, created: i64| json!({ "kid": format!("https://{host}/keys/payroll/{version}"), "attributes": { "enabled": enabled, "created": created } });
            let items =
                [item(NEWER, true, 30), item("0ff0", false, 25), item("0ddd", true, 20), item(VERSION, true, 10), item("0aaa", true, 5)];
            Action::json(200, &json!({ "value": items, "nextLink": null }).to_string())
        }
        _ => Action::json(200, &bundle(&kid).to_string()),
    }
}

fn bundle(kid: &str) -> Value {
    let n = URL_SAFE_NO_PAD.encode([0x80; 256]);
    let key = json!({ "kid": kid, "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"], "n": n, "e": "AQAB" });
    let created = if kid.ends_with(VERSION) { 10 } else { 30 };
    json!({ "key": key, "attributes": { "enabled": true, "created": created, "recoveryLevel": "Recoverable", "recoverableDays": 90 } })
}

fn token(text: &str, seconds: u64) -> Action {
    Action::json(200, &json!({ "token_type": "Bearer", "expires_in": seconds, "access_token": text }).to_string())
}

fn error(status: u16, code: &str, inner: Option<&str>) -> Action {
    let mut error = json!({ "code": code, "message": "the vault's own words" });
    if let Some(inner) = inner {
        error["innererror"] = json!({ "code": inner });
    }
    Action::json(status, &json!({ "error": error }).to_string())
}

/// A vault with our client before it.
struct Site {
    sim: SimWorld,
    server: TestServer,
    vault: AzureKeyVault,
    identity: Arc<ClusterIdentity>,
}

impl Site {
    async fn new(script: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        Self::of(TestServer::start(script).await, None)
    }

    fn of(server: TestServer, version: Option<&str>) -> Self {
        let sim = SimWorld::new(5);
        let config = OutboundConfig { allow: vec![server.address.to_string()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&sim.world(), &config, &[&server.ca_pem]).unwrap();
        let identity = Arc::new(ClusterIdentity::generate(sim.world().rng.as_ref()).unwrap());
        let kek = KekRef::new(server.url("/").as_str(), "payroll", version).unwrap();
        let vault = AzureKeyVault::new(outbound, Arc::clone(&identity), kek, sim.world()).unwrap();
        Self { sim, server, vault, identity }
    }

    fn aek(&self) -> (Aek, RecordIds) {
        fresh_aek(self.sim.world().rng.as_ref())
    }

    /// A record as this vault would have made it.
    fn record(&self) -> WrappedAek {
        let (aek, ids) = self.aek();
        WrappedAek {
            ids,
            provider: PROVIDER.as_str().to_owned(),
            key_uri: self.vault.kek().key_uri(),
            key_version: VERSION.to_owned(),
            algorithm: ALGORITHM.to_owned(),
            bytes: aek.expose(|key| key.to_vec()),
            kcv: aek.key_check_value(&ids),
        }
    }

    fn paths(&self) -> Vec<String> {
        self.server.seen().into_iter().map(|seen| seen.path).collect()
    }

    fn logins(&self) -> usize {
        self.paths().iter().filter(|path| path.ends_with("/token")).count()
    }
}

fn fresh_aek(rng: &dyn Rng) -> (Aek, RecordIds) {
    let aek = Aek::generate(AekId::from_bytes([3; 16]), rng);
    let ids = RecordIds { cluster: ObjectId::from_bytes([1; 16]), account: AccountId::from_bytes([2; 16]), aek: aek.id(), generation: 7 };
    (aek, ids)
}

#[tokio::test]
async fn a_wrapped_key_comes_back_and_its_record_names_the_version_that_wrapped_it() {
    let site = Site::new(obliging).await;
    let (aek, ids) = site.aek();
    let record = site.vault.wrap_key(&aek, &ids).await.unwrap();
    assert_eq!((record.provider.as_str(), record.algorithm.as_str()), ("azure", "RSA-OAEP-256"));
    assert_eq!((record.key_uri, record.key_version.as_str()), (site.server.url("/keys/payroll").to_string(), NEWER));
    let record = WrappedAek { key_uri: site.vault.kek().key_uri(), key_version: VERSION.to_owned(), ..site.record() };
    let back = site.vault.unwrap_key(&record).await.unwrap();
    assert!(back.has_check_value(&record.ids, &record.kcv));
    let tenant = site.identity.tenant();
    let expected = [
        format!("/{tenant}/oauth2/v2.0/token"),
        "/keys/payroll/?api-version=7.4".to_owned(),
        format!("/keys/payroll/{NEWER}/wrapkey?api-version=7.4"),
        format!("/keys/payroll/{VERSION}/unwrapkey?api-version=7.4"),
    ];
    assert_eq!(site.paths(), expected, "one login serves all, and a record is unwrapped by its own version");
    assert!(site.server.seen()[1..].iter().all(|seen| seen.header("authorization") == Some("Bearer t0ken")));
}

#[tokio::test]
async fn a_pinned_version_wraps_without_asking_for_the_newest() {
    let site = Site::of(TestServer::start(obliging).await, Some(VERSION));
    let (aek, ids) = site.aek();
    assert_eq!(site.vault.wrap_key(&aek, &ids).await.unwrap().key_version, VERSION);
    assert_eq!(site.paths()[1..], [format!("/keys/payroll/{VERSION}/wrapkey?api-version=7.4")]);
}

#[tokio::test]
async fn the_login_is_an_assertion_for_the_endpoint_that_gets_it() {
    let site = Site::new(obliging).await;
    site.vault.unwrap_key(&site.record()).await.unwrap();
    let login = &site.server.seen()[0];
    assert_eq!(login.header("authorization"), None);
    let form: std::collections::HashMap<String, String> = url::form_urlencoded::parse(login.body.as_bytes()).into_owned().collect();
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["client_id"], site.identity.principal().to_string());
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let claims = URL_SAFE_NO_PAD.decode(form["client_assertion"].split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], site.server.url(&format!("/{}/oauth2/v2.0/token", site.identity.tenant())).as_str());
}

#[tokio::test]
async fn a_token_is_kept_until_its_last_minute() {
    let site = Site::new(obliging).await;
    let record = site.record();
    site.vault.unwrap_key(&record).await.unwrap();
    site.sim.clock().advance(Duration::from_secs(539));
    site.vault.unwrap_key(&record).await.unwrap();
    assert_eq!(site.logins(), 1);
    site.sim.clock().advance(Duration::from_secs(1));
    site.vault.unwrap_key(&record).await.unwrap();
    assert_eq!(site.logins(), 2);
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_renewed_once() {
    let tokens = AtomicUsize::new(0);
    let site = Site::new(move |seen: &Seen| {
        if seen.path.ends_with("/token") {
            return token(["old", "new"][tokens.fetch_add(1, Ordering::SeqCst).min(1)], 600);
        }
        if seen.header("authorization") == Some("Bearer new") { obliging(seen) } else { error(401, "Unauthorized", None) }
    })
    .await;
    site.vault.unwrap_key(&site.record()).await.unwrap();
    assert_eq!((site.logins(), site.paths().len()), (2, 4));

    let site = Site::new(|seen: &Seen| if seen.path.ends_with("/token") { obliging(seen) } else { error(401, "Unauthorized", None) }).await;
    let refused = site.vault.unwrap_key(&site.record()).await.unwrap_err();
    assert!(matches!(refused, VaultError::Refused { code: "Unauthorized" }), "{refused:?}");
    assert_eq!((site.logins(), site.paths().len()), (2, 4), "and not a third time");
}

/// A challenge may name any place it likes: the login stays where it was configured.
#[tokio::test]
async fn a_challenge_leads_nowhere() {
    let thief = TestServer::start(|_: &Seen| token("stolen", 600)).await;
    let challenge: &'static str =
        Box::leak(format!("www-authenticate: Bearer authorization=\"{}\", resource=\"https://x\"", thief.url("/tenant")).into_boxed_str());
    let headers: &'static [&'static str] = Box::leak(Box::new([challenge]));
    let site =
        Site::new(move |seen: &Seen| if seen.path.ends_with("/token") { obliging(seen) } else { Action::Reply(401, headers, Vec::new()) })
            .await;
    let refused = site.vault.unwrap_key(&site.record()).await.unwrap_err();
    assert!(matches!(refused, VaultError::Refused { code: "Unauthorized" }), "{refused:?}");
    assert_eq!(thief.accepted(), 0);
}

#[tokio::test]
async fn fresh_means_a_new_login_and_a_new_connection() {
    let site = Site::new(obliging).await;
    let record = site.record();
    site.vault.unwrap_key(&record).await.unwrap();
    site.vault.unwrap_key(&record).await.unwrap();
    assert_eq!((site.logins(), site.server.accepted()), (1, 1));
    site.vault.fresh().await;
    site.vault.unwrap_key(&record).await.unwrap();
    assert_eq!((site.logins(), site.server.accepted()), (2, 2));
}

#[tokio::test]
async fn what_is_not_the_wrapped_key_is_not_taken_for_it() {
    let answer = |value: Vec<u8>| {
        move |seen: &Seen| {
            if seen.path.ends_with("/token") {
                return obliging(seen);
            }
            Action::json(200, &json!({ "kid": "https://v/keys/payroll/1", "value": URL_SAFE_NO_PAD.encode(&value) }).to_string())
        }
    };
    for (value, code) in [
        (vec![7; 32], "WrongCheckValue"),
        (vec![0; 32], "WrongCheckValue"),
        (vec![], "WrongLength"),
        (vec![7; 31], "WrongLength"),
        (vec![7; 33], "WrongLength"),
        (vec![7; 64], "WrongLength"),
        (vec![7; 4096], "WrongLength"),
    ] {
        let site = Site::new(answer(value)).await;
        let refused = site.vault.unwrap_key(&site.record()).await.unwrap_err();
        assert_eq!((refused.answer(), refused.vault_code()), (Answer::Integrity, code));
    }
    let site = Site::new(|seen: &Seen| if seen.path.ends_with("/token") { obliging(seen) } else { error(400, "BadParameter", None) }).await;
    let refused = site.vault.unwrap_key(&site.record()).await.unwrap_err();
    assert_eq!((refused.answer(), refused.vault_code()), (Answer::Integrity, "BadParameter"));
}

/// A record is a row that somebody may have changed: it cannot send us elsewhere, or to a weaker way of wrapping.
#[tokio::test]
async fn a_record_cannot_lead_a_call_astray() {
    let site = Site::new(obliging).await;
    let good = site.record();
    let uri = |uri: &str| WrappedAek { key_uri: uri.to_owned(), ..good.clone() };
    for record in [uri("https://thief.example/keys/payroll"), uri(""), uri(&format!("{}x", good.key_uri))] {
        assert!(matches!(site.vault.unwrap_key(&record).await, Err(VaultError::OtherKey { .. })));
    }
    let record = WrappedAek { provider: "mmk".to_owned(), ..good.clone() };
    assert!(matches!(site.vault.unwrap_key(&record).await, Err(VaultError::UnknownProvider { .. })));
    for algorithm in ["RSA-OAEP", "RSA1_5", "A256KW", ""] {
        let record = WrappedAek { algorithm: algorithm.to_owned(), ..good.clone() };
        assert_eq!(site.vault.unwrap_key(&record).await.unwrap_err().vault_code(), "WrongAlgorithm");
    }
    for version in ["", "..", "a/b", "../../secrets/x", "a?b", "a#b"] {
        let record = WrappedAek { key_version: version.to_owned(), ..good.clone() };
        assert_eq!(site.vault.unwrap_key(&record).await.unwrap_err().vault_code(), "WrongVersion", "{version}");
    }
    assert_eq!(site.server.accepted(), 0);
    site.vault.unwrap_key(&good).await.unwrap();
}

#[tokio::test]
async fn denials_and_refusals_are_told_apart() {
    let table = [
        (error(403, "Forbidden", Some("KeyDisabled")), Answer::Denied("KeyDisabled")),
        (error(403, "Forbidden", Some("AccessDenied")), Answer::Denied("AccessDenied")),
        (error(403, "Forbidden", Some("ForbiddenByRbac")), Answer::Denied("ForbiddenByRbac")),
        (error(403, "Forbidden", Some("KeyOperationForbidden")), Answer::Denied("KeyOperationForbidden")),
        (error(404, "KeyNotFound", None), Answer::Denied("KeyNotFound")),
        (error(403, "Forbidden", Some("ForbiddenByFirewall")), Answer::Ambiguous("ForbiddenByFirewall")),
    ];
    for (action, answer) in table {
        let site = Site::new(move |seen: &Seen| if seen.path.ends_with("/token") { obliging(seen) } else { action.clone() }).await;
        let refused = site.vault.unwrap_key(&site.record()).await.unwrap_err();
        assert_eq!(refused.answer(), answer);
        assert!(!format!("{refused} {refused:?}").contains("own words"));
    }
    let oauth = |status, code: &str| Action::json(status, &json!({ "error": code, "error_description": "own words" }).to_string());
    for (action, answer) in [
        (oauth(401, "invalid_client"), Answer::Ambiguous("InvalidClient")),
        (oauth(400, "unauthorized_client"), Answer::Ambiguous("UnauthorizedClient")),
        (oauth(503, "temporarily_unavailable"), Answer::Transient("Status503")),
        (oauth(400, "invalid_request"), Answer::Transient("Status400")),
        (error(403, "Forbidden", Some("KeyDisabled")), Answer::Transient("Status403")),
    ] {
        let site = Site::new(move |seen: &Seen| if seen.path.ends_with("/token") { action.clone() } else { obliging(seen) }).await;
        assert_eq!(site.vault.unwrap_key(&site.record()).await.unwrap_err().answer(), answer);
    }
}

/// What goes wrong, where it can: in place of the token, or of the key.
#[tokio::test]
async fn whatever_breaks_is_an_outage_and_never_a_denial() {
    let json = |text: &str| Action::json(200, text);
    let actions = [
        (Action::json(429, "{}"), "Throttled"),
        (Action::json(500, "{}"), "Status500"),
        (Action::json(502, "<html>bad gateway</html>"), "Status502"),
        (error(503, "ServiceUnavailable", None), "Status503"),
        (Action::json(504, ""), "Status504"),
        (Action::json(408, ""), "Status408"),
        (Action::json(409, r#"{"error":{"code":"Conflict"}}"#), "Status409"),
        (Action::json(412, "{}"), "Status412"),
        (Action::json(407, "<html>proxy</html>"), "Status407"),
        (Action::json(403, "<html>KeyDisabled</html>"), "Status403"),
        (Action::json(404, "<html>KeyNotFound</html>"), "Status404"),
        (Action::Reply(302, &["location: https://127.0.0.1:1/"], Vec::new()), "Redirect"),
        (json(""), "Malformed"),
        (json("{}"), "Malformed"),
        (json("null"), "Malformed"),
        (json(r#"{"kid":1,"value":2,"access_token":3}"#), "Malformed"),
        (json(r#"{"kid":"https://v/keys/payroll/1","value":"!!!","access_token":"a b","expires_in":1}"#), "Malformed"),
        (json(r#"{"kid":"https://v/keys/payroll/1"}"#), "Malformed"),
        (Action::Reply(200, &[], vec![b' '; 70_000]), "AnswerTooLarge"),
        (Action::Reply(403, &[], vec![b' '; 70_000]), "AnswerTooLarge"),
        (Action::Reply(200, &[], vec![0xff; 1_000]), "Malformed"),
        (Action::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()), "Malformed"),
        (Action::Raw(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 500\r\n\r\n{\"error\"".to_vec()), "ConnectionReset"),
    ];
    for (action, code) in actions {
        for broken in ["/token", "/unwrapkey"] {
            let shown = action.clone();
            let site = Site::new(move |seen: &Seen| {
                let hit = seen.path.split('?').next().unwrap().ends_with(broken);
                if hit { shown.clone() } else { obliging(seen) }
            })
            .await;
            let failed = site.vault.unwrap_key(&site.record()).await.unwrap_err();
            assert_eq!(failed.answer(), Answer::Transient(code), "{broken} {action:?}");
        }
    }
    for (handshake, code) in [(Handshake::Plain, "Tls"), (Handshake::Close, "ConnectionReset")] {
        let site = Site::of(TestServer::start_with(handshake).await, None);
        assert_eq!(site.vault.unwrap_key(&site.record()).await.unwrap_err().answer(), Answer::Transient(code));
    }
    let mut site = Site::new(obliging).await;
    site.vault.outbound = Outbound::open(&site.sim.world(), &OutboundConfig::default(), &[&site.server.ca_pem]).unwrap();
    assert_eq!(site.vault.unwrap_key(&site.record()).await.unwrap_err().answer(), Answer::Transient("AddressBlocked"));
    assert_eq!(site.server.accepted(), 0);
}

#[tokio::test]
async fn a_vault_that_hangs_costs_the_call_timeout_wherever_it_hangs() {
    for hung in ["/token", "/unwrapkey"] {
        let mut site =
            Site::new(move |seen: &Seen| if seen.path.split('?').next().unwrap().ends_with(hung) { Action::Hang } else { obliging(seen) })
                .await;
        // The client below has a patience of its own, which is not what is meant.
        let patient = OutboundConfig { allow: vec![site.server.address.to_string()], timeout_ms: 300_000, ..OutboundConfig::default() };
        site.vault.outbound = Outbound::open(&site.sim.world(), &patient, &[&site.server.ca_pem]).unwrap();
        let record = site.record();
        let vault = site.vault.with_call_timeout(Duration::from_millis(200));
        let answered = tokio::time::timeout(Duration::from_mins(1), vault.unwrap_key(&record)).await.expect("an answer in its time");
        assert_eq!(answered.unwrap_err().answer(), Answer::Transient("Timeout"));
    }
}

#[tokio::test]
async fn how_long_a_vault_wants_to_rest_is_told() {
    let script =
        |seen: &Seen| if seen.path.ends_with("/token") { obliging(seen) } else { Action::Reply(429, &["retry-after: 23"], Vec::new()) };
    let site = Site::new(script).await;
    let failed = site.vault.unwrap_key(&site.record()).await.unwrap_err();
    assert_eq!((failed.vault_code(), failed.retry_after()), ("Throttled", Some(Duration::from_secs(23))));
}

#[tokio::test]
async fn facts_tell_the_version_in_use_from_the_newest() {
    let site = Site::new(obliging).await;
    let facts = site.vault.facts().await.unwrap();
    assert_eq!((facts.newest.as_str(), facts.used.as_str(), facts.rsa_bits), (NEWER, NEWER, 2048));
    assert_eq!((facts.other_enabled.join(" "), facts.versions_listed), (format!("0aaa {VERSION} 0ddd"), true));
    assert!(facts.newer_enabled.is_empty());
    let site = Site::of(TestServer::start(obliging).await, Some(VERSION));
    let facts = site.vault.facts().await.unwrap();
    assert_eq!((facts.newest.as_str(), facts.used.as_str()), (NEWER, VERSION));
    assert_eq!(facts.other_enabled, ["0aaa", "0ddd", NEWER]);
    assert_eq!(facts.newer_enabled, ["0ddd", NEWER], "oldest first, enabled ones alone");
}

#[tokio::test]
async fn versions_that_may_not_be_listed_are_told_as_such() {
    let denied =
        |seen: &Seen| if seen.path.contains("/versions") { error(403, "Forbidden", Some("ForbiddenByPolicy")) } else { obliging(seen) };
    let facts = Site::new(denied).await.vault.facts().await.unwrap();
    assert!(!facts.versions_listed && facts.other_enabled.is_empty());
}

#[tokio::test]
async fn a_further_page_is_fetched_from_the_same_list_only() {
    let thief = TestServer::start(|_: &Seen| Action::json(200, r#"{"value":[]}"#)).await;
    for link in [thief.url("/keys/payroll/versions").to_string(), "https://HOST/keys/other/versions".to_owned(), "no url".to_owned()] {
        let site = Site::new(move |seen: &Seen| {
            let link = link.replace("HOST", seen.header("host").unwrap());
            if seen.path.contains("/versions") {
                Action::json(200, &json!({ "value": [], "nextLink": link }).to_string())
            } else {
                obliging(seen)
            }
        })
        .await;
        assert_eq!(site.vault.facts().await.unwrap_err().vault_code(), "Malformed");
        assert!(site.paths().iter().all(|path| !path.contains("other")));
    }
    assert_eq!(thief.accepted(), 0);
    // Pages of the list itself are read, and not for ever.
    let site = Site::new(|seen: &Seen| {
        if !seen.path.contains("/versions") {
            return obliging(seen);
        }
        let link = format!("https://{}/keys/payroll/versions?$skiptoken=again", seen.header("host").unwrap());
        let kid = format!("https://v/keys/payroll/{VERSION}");
        Action::json(200, &json!({ "value": [{ "kid": kid, "attributes": {} }], "nextLink": link }).to_string())
    })
    .await;
    assert_eq!(site.vault.facts().await.unwrap().other_enabled.len(), PAGES_MAX);
}

#[tokio::test]
async fn a_key_that_will_do_passes_and_one_that_will_not_says_why() {
    let site = Site::new(obliging).await;
    assert_eq!(validate(&site.vault, &site.sim.world()).await.unwrap().used, NEWER);
    // A throw-away key, not one of ours: another each time.
    validate(&site.vault, &site.sim.world()).await.unwrap();
    let wrapped: HashSet<String> =
        site.server.seen().into_iter().filter(|seen| seen.path.contains("/wrapkey")).map(|seen| seen.body).collect();
    assert_eq!(wrapped.len(), 2);

    let broken = |at: &'static str, action: Action| {
        move |seen: &Seen| if seen.path.split('?').next().unwrap().ends_with(at) { action.clone() } else { obliging(seen) }
    };
    let wrong_value =
        Action::json(200, &json!({ "kid": "https://v/keys/payroll/1", "value": URL_SAFE_NO_PAD.encode([1; 32]) }).to_string());
    let purgeable = json!({ "key": bundle("https://v/keys/payroll/1")["key"], "attributes": { "recoveryLevel": "Recoverable+Purgeable" } });
    let forbidden = |inner| error(403, "Forbidden", Some(inner));
    let table = [
        ("/keys/payroll/", error(404, "KeyNotFound", None), "KeyNotFound"),
        ("/keys/payroll/", forbidden("AccessDenied"), "PermissionMissing(get)"),
        ("/wrapkey", forbidden("ForbiddenByRbac"), "PermissionMissing(wrapKey)"),
        ("/unwrapkey", forbidden("ForbiddenByRbac"), "PermissionMissing(unwrapKey)"),
        ("/unwrapkey", forbidden("KeyOperationForbidden"), "PermissionMissing(unwrapKey)"),
        ("/unwrapkey", forbidden("KeyDisabled"), "KeyDisabled"),
        ("/wrapkey", forbidden("KeyExpired"), "KeyExpired"),
        ("/wrapkey", forbidden("KeyNotYetValid"), "KeyNotYetValid"),
        ("/unwrapkey", wrong_value, "RoundTripFailed"),
        ("/keys/payroll/", Action::json(200, &purgeable.to_string()), "NotRecoverable"),
        ("/keys/payroll/", Action::json(503, ""), "VaultUnreachable"),
        ("/token", Action::json(401, r#"{"error":"invalid_client"}"#), "VaultRefused"),
    ];
    for (at, action, detail) in table {
        let site = Site::new(broken(at, action)).await;
        assert_eq!(validate(&site.vault, &site.sim.world()).await.unwrap_err().detail(), detail, "{at}");
    }
}

#[tokio::test]
async fn nothing_printed_holds_a_token_or_a_key() {
    let site = Site::new(obliging).await;
    let record = site.record();
    let aek = site.vault.unwrap_key(&record).await.unwrap();
    let secret = URL_SAFE_NO_PAD.encode(&record.bytes);
    let printed = format!("{:?} {:?} {aek:?} {:?}", site.vault, site.vault.outbound, operation(&aek).len());
    assert!(!printed.contains("t0ken") && !printed.contains(&secret), "{printed}");
}
