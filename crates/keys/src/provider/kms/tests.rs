use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use strongroom_model::{AccountId, ObjectId};
use strongroom_world::sim::SimWorld;

use super::*;
use crate::outbound::OutboundConfig;
use crate::provider::access::Access;
use crate::provider::{KeyProblem, validate};
use crate::testing::{Action, Seen, TestServer};

const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";
const ACCESS: &str = r#"{"region":"eu-central-1","accessKeyId":"AKIDEXAMPLE","secretAccessKey":"hush","sessionToken":"t0ken"}"#;

/// A KMS of cardboard: its encryption changes nothing, and it has one key.
fn obliging(seen: &Seen) -> Action {
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let arn = format!("arn:aws:kms:eu-central-1:123456789012:key/{KEY}");
    Action::json(
        200,
        &match seen.header("x-amz-target").unwrap() {
            "TrentService.Encrypt" => {
                json!({"CiphertextBlob": body["Plaintext"], "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
            }
            "TrentService.Decrypt" => {
                json!({"Plaintext": body["CiphertextBlob"], "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})
            }
            _ => json!({"KeyMetadata": metadata("Enabled")}),
        }
        .to_string(),
    )
}

fn metadata(state: &str) -> Value {
    json!({"KeyId": KEY, "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": state, "KeyManager": "CUSTOMER", "Origin": "AWS_KMS"})
}

/// An answer as KMS gives it.
fn failed(status: u16, kind: &str, message: &str) -> Action {
    let body = json!({"__type": kind, "message": message}).to_string().into_bytes();
    Action::Reply(status, &["content-type: application/x-amz-json-1.1", "x-amzn-requestid: 0d3b7c0e-0000-0000-0000-000000000000"], body)
}

struct Site {
    sim: SimWorld,
    server: TestServer,
    vault: AwsKms,
}

impl Site {
    async fn new(script: impl Fn(&Seen) -> Action + Send + Sync + 'static) -> Self {
        let (sim, server) = (SimWorld::new(5), TestServer::start(script).await);
        let vault = client(&sim, &server, None);
        Self { sim, server, vault }
    }

    fn aek(&self) -> (Aek, RecordIds) {
        let aek = Aek::generate(AekId::from_bytes([3; 16]), self.sim.world().rng.as_ref());
        let ids =
            RecordIds { cluster: ObjectId::from_bytes([1; 16]), account: AccountId::from_bytes([2; 16]), aek: aek.id(), generation: 7 };
        (aek, ids)
    }

    fn record(&self) -> WrappedAek {
        let (aek, ids) = self.aek();
        let bytes = aek.expose(|key| key.to_vec());
        record(&aek, &ids, PROVIDER, &self.vault.kek, VERSION.to_owned(), ALGORITHM, bytes).unwrap()
    }
}

fn client(sim: &SimWorld, server: &TestServer, version: Option<&str>) -> AwsKms {
    let config = OutboundConfig { allow: vec![server.address.to_string()], ..OutboundConfig::default() };
    let outbound = Outbound::open(&sim.world(), &config, &[&server.ca_pem]).unwrap();
    let kek = KekRef::new(server.url("/").as_str(), KEY, version).unwrap();
    let Access::AwsKms(access) = Access::read(Provider::AwsKms, Some(ACCESS)).unwrap() else { panic!() };
    AwsKms::new(outbound, kek, access, sim.world()).unwrap()
}

#[tokio::test]
async fn a_call_names_its_key_and_binds_the_ids() {
    let site = Site::new(obliging).await;
    let (aek, ids) = site.aek();
    let record = site.vault.wrap_key(&aek, &ids).await.unwrap();
    assert_eq!((record.provider.as_str(), record.algorithm.as_str(), record.key_version.as_str()), ("aws-kms", ALGORITHM, "managed"));
    site.vault.unwrap_key(&record).await.unwrap();
    for seen in site.server.seen() {
        let body: Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!((seen.method.as_str(), seen.path.as_str(), body["KeyId"].as_str()), ("POST", "/", Some(KEY)));
        let context = &body["EncryptionContext"];
        assert_eq!(context["strongroom:cluster"], ids.cluster.to_string());
        assert_eq!((&context["strongroom:account"], &context["strongroom:generation"]), (&json!(ids.account.to_string()), &json!("7")));
        assert_eq!(context["strongroom:aek"], ids.aek.to_string());
        assert_eq!(seen.header("content-type"), Some(MEDIA_TYPE));
        assert_eq!(seen.header("x-amz-security-token"), Some("t0ken"));
        assert!(seen.header("authorization").unwrap().starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"));
    }
    assert!(!format!("{:?}", site.vault).contains("hush"));
}

/// What a real KMS answers to a key that was disabled, deleted or withdrawn: moto does not say it.
#[tokio::test]
async fn every_denial_is_told_from_every_outage() {
    let arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let denied = format!("User: arn:aws:iam::123456789012:user/shop is not authorized to perform: kms:Decrypt on resource: {arn}");
    let table = [
        (400, "DisabledException", format!("{arn} is disabled."), Answer::Denied("KeyDisabled")),
        (400, "KMSInvalidStateException", format!("{arn} is pending deletion."), Answer::Denied("KeyPendingDeletion")),
        (400, "KMSInvalidStateException", format!("{arn} is unavailable."), Answer::Ambiguous("KeyStoreUnavailable")),
        (400, "NotFoundException", format!("Key '{arn}' does not exist"), Answer::Denied("KeyNotFound")),
        (400, "AccessDeniedException", denied, Answer::Denied("AccessDenied")),
        (
            400,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.".to_owned(),
            Answer::Ambiguous("CredentialsUnknown"),
        ),
        (
            400,
            "ExpiredTokenException",
            "The security token included in the request is expired".to_owned(),
            Answer::Ambiguous("CredentialsExpired"),
        ),
        (400, "ThrottlingException", "You have exceeded the rate at which you may call KMS.".to_owned(), Answer::Transient("Throttled")),
        (500, "KMSInternalException", String::new(), Answer::Transient("Status500")),
        (400, "InvalidCiphertextException", String::new(), Answer::Integrity),
    ];
    let next = Arc::new(AtomicUsize::new(0));
    let (turn, rows) = (Arc::clone(&next), table.clone());
    let site = Site::new(move |_| {
        let (status, kind, message, _) = &rows[turn.load(Ordering::SeqCst)];
        failed(*status, kind, message)
    })
    .await;
    let record = site.record();
    for (at, (_, kind, message, meaning)) in table.iter().enumerate() {
        next.store(at, Ordering::SeqCst);
        let error = site.vault.unwrap_key(&record).await.unwrap_err();
        assert_eq!(error.answer(), *meaning, "{kind} {message}");
        assert!(!format!("{error:?}{error}").contains("arn:"), "a vault's text goes no further");
    }
}

#[tokio::test]
async fn a_new_permission_has_time_to_come_about() {
    let site = Site::new(|_| failed(400, "AccessDeniedException", "not yet")).await;
    let record = site.record();
    let settling = client(&site.sim, &site.server, None).with_settling(Duration::from_mins(5));
    assert_eq!(settling.unwrap_key(&record).await.unwrap_err().answer(), Answer::Transient("Settling"));
    site.sim.clock().advance(Duration::from_mins(5));
    assert_eq!(settling.unwrap_key(&record).await.unwrap_err().answer(), Answer::Denied("AccessDenied"));
}

#[tokio::test]
async fn a_key_that_will_not_do_says_why() {
    let described = Arc::new(Mutex::new(metadata("Enabled")));
    let told = Arc::clone(&described);
    let site = Site::new(move |seen| match seen.header("x-amz-target") {
        Some("TrentService.DescribeKey") => Action::json(200, &json!({"KeyMetadata": *told.lock()}).to_string()),
        _ => obliging(seen),
    })
    .await;
    let world = site.sim.world();
    assert_eq!(validate(&site.vault, &world).await.unwrap().key_type, "SYMMETRIC_DEFAULT");
    for (field, value, detail) in [
        ("KeyState", "Disabled", "KeyDisabled"),
        ("KeyState", "PendingDeletion", "KeyDisabled"),
        ("KeySpec", "RSA_2048", "KeyNotSuitable"),
        ("KeyUsage", "SIGN_VERIFY", "KeyNotSuitable"),
        ("KeyManager", "AWS", "KeyNotSuitable"),
    ] {
        *described.lock() = metadata("Enabled");
        described.lock()[field] = json!(value);
        assert_eq!(validate(&site.vault, &world).await.map_err(|problem| problem.detail()), Err(detail.to_owned()), "{field} {value}");
    }
    *described.lock() = metadata("Enabled");
    let pinned = client(&site.sim, &site.server, Some("1"));
    assert!(matches!(validate(&pinned, &world).await, Err(KeyProblem::NotSuitable { .. })));
}

/// An answer about another key than the one asked of is none.
#[tokio::test]
async fn another_keys_answer_is_not_taken() {
    let site = Site::new(|seen| {
        let Action::Reply(status, headers, body) = obliging(seen) else { panic!() };
        Action::Reply(status, headers, String::from_utf8(body).unwrap().replace(KEY, "another").into_bytes())
    })
    .await;
    let (aek, ids) = site.aek();
    assert_eq!(site.vault.wrap_key(&aek, &ids).await.unwrap_err().answer(), Answer::Transient("Malformed"));
    assert_eq!(site.vault.unwrap_key(&site.record()).await.unwrap_err().answer(), Answer::Transient("Malformed"));
}
