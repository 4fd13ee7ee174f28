//! A Managed HSM of cardboard: its answers are Azure's, its key of type RSA-HSM, its RSA real. Logged in to with a client secret.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::outbound::{Outbound, OutboundConfig};
use strongroom_keys::provider::access::{Access, ProvidersConfig};
use strongroom_keys::provider::azure::{AzureKeyVault, AzureLogin};
use strongroom_keys::provider::{KekRef, KeyVault, Provider};
use strongroom_world::World;

use super::conformance::{Rig, conforms, fresh_aek};
use super::testing::{Action, Seen, TestServer};

const ACCESS: &str = r#"{"login":"client-secret","tenant":"contoso","client":"strongroom","secret":"hush","hsm":true}"#;

struct State {
    /// Name and versions.
    keys: Mutex<Vec<(&'static str, Vec<PrivateDecryptingKey>)>>,
    enabled: Mutex<bool>,
    answering: Mutex<bool>,
    logins: AtomicUsize,
}

struct Hsm {
    state: Arc<State>,
    server: TestServer,
    identity: Arc<ClusterIdentity>,
}

fn error(status: u16, code: &str, inner: &str) -> Action {
    Action::json(status, &json!({"error": {"code": code, "message": "x", "innererror": {"code": inner}}}).to_string())
}

fn serve(state: &State, seen: &Seen) -> Action {
    let path = seen.path.split('?').next().unwrap_or_default();
    if !*state.answering.lock() {
        return Action::json(503, r#"{"error":{"code":"ServiceUnavailable","message":"x"}}"#);
    }
    if path == "/contoso/oauth2/v2.0/token" {
        state.logins.fetch_add(1, Ordering::SeqCst);
        let asked = seen.body.contains("client_secret=hush") && seen.body.contains("scope=https%3A%2F%2Fmanagedhsm.azure.net%2F.default");
        return if asked {
            Action::json(200, r#"{"token_type":"Bearer","expires_in":3599,"access_token":"hsm-token"}"#)
        } else {
            Action::json(401, r#"{"error":"invalid_client"}"#)
        };
    }
    if seen.header("authorization") != Some("Bearer hsm-token") {
        return error(401, "Unauthorized", "AKV10000");
    }
    let mut parts = path.trim_start_matches("/keys/").split('/');
    let (name, version, operation) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let keys = state.keys.lock();
    let Some((_, versions)) = keys.iter().find(|(found, _)| *found == name) else {
        return Action::json(404, r#"{"error":{"code":"KeyNotFound","message":"x"}}"#);
    };
    let host = seen.header("host").unwrap_or_default();
    let kid = |number: usize| format!("https://{host}/keys/{name}/{number}");
    if version == "versions" {
        let items: Vec<Value> = (1..=versions.len()).map(|number| json!({"kid": kid(number), "attributes": {"enabled": true}})).collect();
        return Action::json(200, &json!({"value": items}).to_string());
    }
    let number = if version.is_empty() { versions.len() } else { version.parse().unwrap_or(0) };
    let Some(key) = number.checked_sub(1).and_then(|at| versions.get(at)) else {
        return Action::json(404, r#"{"error":{"code":"KeyNotFound","message":"x"}}"#);
    };
    let enabled = *state.enabled.lock();
    let Some(operation) = operation else {
        let n = URL_SAFE_NO_PAD.encode([0x80; 256]);
        let key = json!({"kid": kid(number), "kty": "RSA-HSM", "key_ops": ["wrapKey", "unwrapKey"], "n": n, "e": "AQAB"});
        let attributes = json!({"enabled": enabled, "recoveryLevel": "CustomizedRecoverable", "exportable": false});
        return Action::json(200, &json!({"key": key, "attributes": attributes}).to_string());
    };
    let body: Value = serde_json::from_str(&seen.body).unwrap_or_default();
    let value = URL_SAFE_NO_PAD.decode(body["value"].as_str().unwrap_or_default()).unwrap_or_default();
    if operation == "wrapkey" {
        let public = OaepPublicEncryptingKey::new(key.public_key()).unwrap();
        let mut out = vec![0; public.ciphertext_size()];
        let wrapped = public.encrypt(&OAEP_SHA256_MGF1SHA256, &value, &mut out, None).unwrap();
        return Action::json(200, &json!({"kid": kid(number), "value": URL_SAFE_NO_PAD.encode(wrapped)}).to_string());
    }
    // As Azure has it: a disabled key wraps, and does not unwrap.
    if !enabled {
        return error(403, "Forbidden", "KeyDisabled");
    }
    let private = OaepPrivateDecryptingKey::new(key.clone()).unwrap();
    let mut out = vec![0; private.min_output_size()];
    match private.decrypt(&OAEP_SHA256_MGF1SHA256, &value, &mut out, None) {
        Ok(plain) => Action::json(200, &json!({"kid": kid(number), "value": URL_SAFE_NO_PAD.encode(plain)}).to_string()),
        Err(_) => Action::json(400, r#"{"error":{"code":"BadParameter","message":"x"}}"#),
    }
}

impl Hsm {
    async fn start() -> Self {
        let key = || PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let state = Arc::new(State {
            keys: Mutex::new(vec![("payroll", vec![key()]), ("other", vec![key()])]),
            enabled: Mutex::new(true),
            answering: Mutex::new(true),
            logins: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let server = TestServer::start(move |seen| serve(&shared, seen)).await;
        Self { state, server, identity: Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap()) }
    }

    fn of(&self, name: &str) -> AzureKeyVault {
        let config = OutboundConfig { allow: vec![self.server.address.to_string()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&World::real(), &config, &[&self.server.ca_pem]).unwrap();
        let authority = self.server.url("/").to_string();
        let providers = ProvidersConfig { azure_authority: authority, ..ProvidersConfig::default() };
        let Access::Azure(access) = Access::read(Provider::Azure, Some(ACCESS)).unwrap() else { panic!() };
        let kek = KekRef::new(self.server.url("/").as_str(), name, None).unwrap();
        let vault = AzureKeyVault::new(outbound, Arc::clone(&self.identity), kek, World::real()).unwrap();
        vault.with_login(AzureLogin::of(access, &providers).unwrap())
    }
}

#[async_trait]
impl Rig for Hsm {
    fn world(&self) -> World {
        World::real()
    }
    fn client(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.of("payroll"))
    }
    fn other(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.of("other"))
    }
    async fn rotate(&self) -> bool {
        self.state.keys.lock()[0].1.push(PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap());
        true
    }
    async fn take_away(&self) -> bool {
        *self.state.enabled.lock() = false;
        true
    }
    async fn give_back(&self) {
        *self.state.enabled.lock() = true;
    }
    async fn stop(&mut self) {
        *self.state.answering.lock() = false;
    }
    async fn start(&mut self) {
        *self.state.answering.lock() = true;
    }
}

#[tokio::test]
async fn a_managed_hsm_conforms_and_its_key_is_rsa_hsm() {
    let mut hsm = Hsm::start().await;
    assert_eq!(hsm.of("payroll").facts().await.unwrap().key_type, "RSA-HSM");
    conforms(&mut hsm).await;
    assert!(hsm.state.logins.load(Ordering::SeqCst) > 1, "a fresh call logs in anew");
    let (aek, ids) = fresh_aek(&World::real());
    assert_eq!(hsm.of("payroll").wrap_key(&aek, &ids).await.unwrap().algorithm, "RSA-OAEP-256");
}
