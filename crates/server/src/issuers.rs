//! Issuers of other directories whose tokens are believed: by configuration alone, with their keys fetched through the one hardened
//! client. What a token says becomes rights by the rules of its issuer; nothing is written down.
//!
//! The key vault reads issuers' keys, too (`strongroom_keyvault`), and shares nothing with this: it is the customer's side, in a domain
//! of its own. It also differs on purpose. A vault that turns away those whom it knows takes their data away, so there a known key
//! counts for a day if the issuer does not answer; here, where a token gives rights by what it says, until the keys are old. There
//! RSA and P-256 alone are taken, which is what the gateway and Azure sign with; here whatever an issuer of the customer's choice may use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::RwLock;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use strongroom_catalog::Catalog;
use strongroom_control::{Bearer, Caller, ControlError, Grant, IssuerConfig, Roles, ScopePath, TokenReader};
use strongroom_keys::outbound::{Body, Call, Outbound};
use strongroom_model::PrincipalId;
use strongroom_world::{BootTime, World};
use tokio::sync::Mutex;
use url::Url;

use crate::Config;

/// Keys are fetched anew after this, and if a token names one that is not known, no sooner than after that.
const KEEP: Duration = Duration::from_mins(10);
const AGAIN: Duration = Duration::from_secs(30);
/// How far two clocks may differ. Seconds.
const LEEWAY_S: i64 = 60;
/// Characters of a guest's name.
const NAME_MAX: usize = 128;

/// Keys of one issuer, as they were fetched.
#[derive(Debug)]
struct Fetched {
    keys: HashMap<String, (DecodingKey, Vec<Algorithm>)>,
    at: BootTime,
}

#[derive(Debug)]
struct Issuer {
    config: IssuerConfig,
    fetched: RwLock<Option<Arc<Fetched>>>,
    /// One at a time asks; when it was last asked, whatever came.
    asking: Mutex<Option<BootTime>>,
}

impl Issuer {
    fn new(config: IssuerConfig) -> Self {
        Self { config, fetched: RwLock::new(None), asking: Mutex::new(None) }
    }

    /// The key of that name, if it was fetched within so long.
    fn known(&self, kid: &str, now: BootTime, life: Duration) -> Option<(DecodingKey, Vec<Algorithm>)> {
        let fetched = self.fetched.read().clone().filter(|fetched| now < fetched.at.after(life))?;
        fetched.keys.get(kid).cloned()
    }
}

/// The issuers of a configuration.
#[derive(Debug)]
pub(crate) struct Issuers {
    world: World,
    catalog: Catalog,
    roles: Arc<Roles>,
    outbound: Arc<Outbound>,
    known: Vec<Issuer>,
}

impl Issuers {
    pub(crate) fn open(config: &Config, world: &World, catalog: &Catalog, roles: &Arc<Roles>) -> Result<Self, ControlError> {
        let outbound = Outbound::open(world, &config.outbound, &[])
            .map_err(|_| ControlError::Invalid { what: "[outbound]", why: "the client for issuers cannot be made from it" })?;
        Ok(Self {
            world: world.clone(),
            catalog: catalog.clone(),
            roles: Arc::clone(roles),
            outbound: Arc::new(outbound),
            known: config.directory.issuers.iter().cloned().map(Issuer::new).collect(),
        })
    }

    async fn get(&self, url: &str) -> Option<Value> {
        let url = Url::parse(url).ok()?;
        let reply = self.outbound.send(Call::new(&url, Body::None)).await.ok()?;
        (reply.status == 200).then(|| serde_json::from_slice(&reply.body).ok())?
    }

    async fn fetch(&self, config: &IssuerConfig) -> Option<JwkSet> {
        let url = if config.jwks_url.is_empty() {
            let at = format!("{}/.well-known/openid-configuration", config.issuer.trim_end_matches('/'));
            let told = self.get(&at).await?;
            // OpenID Connect Discovery §4.3: what speaks for another issuer is not believed.
            (told["issuer"] == config.issuer.as_str()).then(|| told["jwks_uri"].as_str().map(str::to_owned))??
        } else {
            config.jwks_url.clone()
        };
        serde_json::from_value(self.get(&url).await?).ok()
    }

    /// The key of that name, asked for if it is not known or known for long. Who knows it waits for nobody who asks.
    async fn key(&self, issuer: &Issuer, kid: &str) -> Option<(DecodingKey, Vec<Algorithm>)> {
        let now = self.world.clock.boot();
        if let Some(key) = issuer.known(kid, now, KEEP) {
            return Some(key);
        }
        let mut asked = match (issuer.asking.try_lock(), issuer.known(kid, now, KEEP + AGAIN)) {
            (Ok(asked), _) => asked,
            (Err(_), Some(key)) => return Some(key),
            (Err(_), None) => issuer.asking.lock().await,
        };
        // Somebody may have asked while this one waited.
        if let Some(key) = issuer.known(kid, now, KEEP) {
            return Some(key);
        }
        if asked.is_none_or(|at| at.after(AGAIN) <= now) {
            *asked = Some(now);
            if let Some(set) = self.fetch(&issuer.config).await {
                let keys = set.keys.iter().filter_map(usable).collect();
                *issuer.fetched.write() = Some(Arc::new(Fetched { keys, at: now }));
            } else {
                // What was known is believed until it is old; then an issuer that does not answer vouches for nobody.
                tracing::warn!(issuer = issuer.config.issuer, "the keys of an issuer could not be fetched");
            }
        }
        issuer.known(kid, now, KEEP + AGAIN)
    }

    async fn guest(&self, issuer: &IssuerConfig, claims: &Map<String, Value>) -> Result<Caller, ControlError> {
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(ControlError::Unauthenticated)?;
        let name = claims.get(&issuer.name_claim).and_then(Value::as_str).unwrap_or(subject);
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
        let mut grants = Vec::new();
        for rule in &issuer.rules {
            let held = match claims.get(&rule.claim) {
                Some(Value::String(text)) => *text == rule.value,
                Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(&rule.value)),
                _ => false,
            };
            if !held {
                continue;
            }
            // A role that somebody made counts where it may be given: its name alone is no reason to believe it everywhere.
            let named = self.roles.named(&self.catalog, &rule.role).await?.zip(ScopePath::read(&rule.scope));
            if let Some((role, scope)) = named.filter(|(role, scope)| role.may_lie(scope)) {
                grants.push(Grant { role, scope });
            } else {
                tracing::warn!(role = rule.role, "a rule of an issuer names no role that is there, or not one for that scope");
            }
        }
        let mut hash = Sha256::new();
        hash.update(issuer.issuer.as_bytes());
        hash.update([0]);
        hash.update(subject.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        Ok(Caller::new(PrincipalId::from_bytes(id), name, grants))
    }
}

/// A key and what it may have signed with: that is the key's to say, never the token's.
fn usable(jwk: &jsonwebtoken::jwk::Jwk) -> Option<(String, (DecodingKey, Vec<Algorithm>))> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![ES384],
        AlgorithmParameters::OctetKeyPair(_) => vec![EdDSA],
        _ => return None,
    };
    let encrypts = jwk.common.public_key_use.as_ref().is_some_and(|used| *used != jsonwebtoken::jwk::PublicKeyUse::Signature);
    // RFC 7517 §4.4: it may name the one that it is for.
    if let Some(own) = jwk.common.key_algorithm {
        algorithms.retain(|known| KeyAlgorithm::from(*known) == own);
    }
    if encrypts || algorithms.is_empty() {
        return None;
    }
    Some((jwk.common.key_id.clone()?, (DecodingKey::from_jwk(jwk).ok()?, algorithms)))
}

#[async_trait]
impl TokenReader for Issuers {
    async fn read(&self, token: &str) -> Result<Option<(Bearer, i64)>, ControlError> {
        let Ok(header) = jsonwebtoken::decode_header(token) else { return Ok(None) };
        let Ok(unread) = jsonwebtoken::dangerous::insecure_decode::<Map<String, Value>>(token) else { return Ok(None) };
        let named = unread.claims.get("iss").and_then(Value::as_str);
        let Some(issuer) = self.known.iter().find(|issuer| named == Some(issuer.config.issuer.as_str())) else { return Ok(None) };
        let wrong = || ControlError::Unauthenticated;
        let (key, algorithms) = self.key(issuer, header.kid.as_deref().ok_or_else(wrong)?).await.ok_or_else(wrong)?;
        if !algorithms.contains(&header.alg) {
            return Err(wrong());
        }
        let mut validation = Validation::new(header.alg);
        // Times are compared below, by the server's own clock.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.set_audience(&[&issuer.config.audience]);
        validation.set_issuer(&[&issuer.config.issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let claims = jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation).map_err(|_| wrong())?.claims;
        let now = self.world.clock.wall().unix_secs();
        let exp = claims.get("exp").and_then(Value::as_i64).ok_or_else(wrong)?;
        let nbf = claims.get("nbf").and_then(Value::as_i64).unwrap_or(now);
        if exp <= now || nbf > now + LEEWAY_S {
            return Err(wrong());
        }
        let guest = self.guest(&issuer.config, &claims).await?;
        Ok(Some((Bearer::Guest(guest), exp.saturating_mul(1_000))))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::{EncodingKey, Header};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use serde_json::json;
    use strongroom_control::IssuerRule;
    use strongroom_world::sim::SimWorld;

    use super::*;

    /// An issuer on loopback: each call gets the next of these documents, then nobody is there.
    fn serve(documents: impl FnOnce(SocketAddr) -> Vec<Value>) -> (SocketAddr, String) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let documents = documents(address);
        std::thread::spawn(move || {
            for document in documents {
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&tls)).unwrap(), socket);
                let (mut text, mut buffer) = (Vec::new(), [0; 4_096]);
                while !text.windows(4).any(|four| four == b"\r\n\r\n") {
                    let n = stream.read(&mut buffer).unwrap();
                    text.extend_from_slice(&buffer[..n]);
                }
                let body = document.to_string();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).unwrap();
                stream.flush().unwrap();
            }
        });
        (address, made.cert.pem())
    }

    struct Key {
        pair: rcgen::KeyPair,
        kid: &'static str,
    }

    impl Key {
        fn new(kid: &'static str) -> Self {
            Self { pair: rcgen::KeyPair::generate().unwrap(), kid }
        }

        fn jwk(&self) -> Value {
            let point = self.pair.public_key_raw();
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.kid, "x": text(&point[1..33]), "y": text(&point[33..])})
        }

        fn sign(&self, claims: &Value) -> String {
            let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::ES256) };
            let key = EncodingKey::from_ec_pem(self.pair.serialize_pem().as_bytes()).unwrap();
            jsonwebtoken::encode(&header, claims, &key).unwrap()
        }
    }

    async fn issuers(world: World, address: SocketAddr, pem: &str) -> (Issuers, String) {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let issuer = format!("https://{address}");
        let rule = |value: &str, role: &str, scope: &str| IssuerRule {
            claim: "groups".to_owned(),
            value: value.to_owned(),
            role: role.to_owned(),
            scope: scope.to_owned(),
        };
        let config = IssuerConfig {
            issuer: issuer.clone(),
            audience: "api://strongroom".to_owned(),
            jwks_url: String::new(),
            name_claim: "email".to_owned(),
            rules: vec![rule("sre", "Reader", "/"), rule("billing", "Owner", "/subscriptions/b")],
        };
        let outbound = strongroom_keys::outbound::OutboundConfig { allow: vec!["127.0.0.1/32".to_owned()], ..Default::default() };
        let outbound = Outbound::open(&World::real(), &outbound, &[pem]).unwrap();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let known = vec![Issuer::new(config)];
        (Issuers { world, catalog, roles: Arc::new(Roles::built_in()), outbound: Arc::new(outbound), known }, issuer)
    }

    #[tokio::test]
    async fn a_token_of_a_trusted_issuer_gives_the_roles_its_rules_say_and_nothing_else_is_believed() {
        let (first, second, stranger) = (Key::new("one"), Key::new("two"), Key::new("one"));
        let sets = [json!({"keys": [first.jwk()]}), json!({"keys": [first.jwk(), second.jwk()]})];
        let (address, pem) = serve(|address| {
            let issuer = format!("https://{address}");
            let told = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
            vec![told.clone(), sets[0].clone(), told, sets[1].clone()]
        });
        let sim = SimWorld::new(3);
        let (issuers, issuer) = issuers(sim.world(), address, &pem).await;
        let now = sim.world().clock.wall().unix_secs();
        let claims = json!({
            "iss": issuer, "aud": "api://strongroom", "sub": "ann", "email": "ann@example", "groups": ["dev", "sre"], "exp": now + 600,
        });
        let with = |member: &str, value: Value| {
            let mut changed = claims.clone();
            changed[member] = value;
            changed
        };
        let Some((Bearer::Guest(ann), until)) = issuers.read(&first.sign(&claims)).await.unwrap() else { panic!("a guest") };
        assert_eq!((ann.name.as_str(), until), ("ann@example", (now + 600) * 1_000));
        assert_eq!(ann.grants.iter().map(|grant| grant.role.name.as_str()).collect::<Vec<_>>(), ["Reader"]);
        let Some((Bearer::Guest(again), _)) = issuers.read(&first.sign(&claims)).await.unwrap() else { panic!("a guest") };
        assert_eq!(again.principal, ann.principal, "the same person has the same id");
        for (why, token) in [
            ("another audience", first.sign(&with("aud", json!("api://other")))),
            ("over", first.sign(&with("exp", json!(now)))),
            ("not yet", first.sign(&with("nbf", json!(now + 61)))),
            ("nobody", first.sign(&with("sub", Value::Null))),
            ("another's key of the same name", stranger.sign(&claims)),
            ("a key nobody knows, asked for a moment ago", second.sign(&claims)),
        ] {
            assert!(matches!(issuers.read(&token).await, Err(ControlError::Unauthenticated)), "{why}");
        }
        assert!(issuers.read(&first.sign(&with("iss", json!("https://elsewhere")))).await.unwrap().is_none());
        // While somebody else asks, who shows a key that is known waits for nobody.
        let asking = issuers.known[0].asking.lock().await;
        let read = tokio::time::timeout(Duration::from_secs(10), issuers.read(&first.sign(&claims))).await;
        assert!(read.expect("it waits for nobody").unwrap().is_some());
        drop(asking);
        // The issuer has a new key, and later does not answer.
        sim.clock().advance(AGAIN);
        assert!(issuers.read(&second.sign(&claims)).await.unwrap().is_some());
        let later = with("exp", json!(now + 7_200));
        sim.clock().advance(KEEP + AGAIN);
        assert!(issuers.read(&second.sign(&later)).await.is_err(), "who does not answer vouches for nobody");
    }

    #[tokio::test]
    async fn who_speaks_for_another_issuer_is_not_believed() {
        let key = Key::new("one");
        let set = json!({"keys": [key.jwk()]});
        let (address, pem) =
            serve(|address| vec![json!({"issuer": "https://elsewhere", "jwks_uri": format!("https://{address}/keys")}), set]);
        let sim = SimWorld::new(4);
        let (issuers, issuer) = issuers(sim.world(), address, &pem).await;
        let now = sim.world().clock.wall().unix_secs();
        let claims = json!({"iss": issuer, "aud": "api://strongroom", "sub": "ann", "groups": "sre", "exp": now + 600});
        assert!(matches!(issuers.read(&key.sign(&claims)).await, Err(ControlError::Unauthenticated)));
    }

    /// A role that somebody made has the places it may be given at, for guests as for everybody.
    #[tokio::test]
    async fn a_guest_has_a_role_that_somebody_made_where_that_may_be_given_and_nowhere_else() {
        let key = Key::new("one");
        let set = json!({"keys": [key.jwk()]});
        let (address, pem) = serve(|address| {
            let issuer = format!("https://{address}");
            vec![json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}), set]
        });
        let sim = SimWorld::new(5);
        let (mut issuers, issuer) = issuers(sim.world(), address, &pem).await;
        let made = |scopes: &str| strongroom_catalog::RoleRow {
            id: strongroom_model::ObjectId::from_bytes([4; 16]),
            name: "Watcher".to_owned(),
            description: String::new(),
            actions: r#"["*"]"#.to_owned(),
            not_actions: "[]".to_owned(),
            scopes: scopes.to_owned(),
            changed_ms: 0,
        };
        let rule = |role: &str, scope: &str| IssuerRule {
            claim: "groups".to_owned(),
            value: "sre".to_owned(),
            role: role.to_owned(),
            scope: scope.to_owned(),
        };
        let rules = &mut issuers.known[0].config.rules;
        *rules = vec![rule("Watcher", "/subscriptions/a"), rule("Watcher", "/subscriptions/b"), rule("Nobody's", "/")];
        let now = sim.world().clock.wall().unix_secs();
        let claims = json!({"iss": issuer, "aud": "api://strongroom", "sub": "ann", "groups": "sre", "exp": now + 600});
        let held = async || {
            let Some((Bearer::Guest(ann), _)) = issuers.read(&key.sign(&claims)).await.unwrap() else { panic!("a guest") };
            ann.grants.iter().map(|grant| grant.scope.to_string()).collect::<Vec<_>>()
        };
        assert!(held().await.is_empty(), "there is no such role yet");
        for (scopes, expected) in [
            (r#"["/"]"#, &["/subscriptions/a", "/subscriptions/b"][..]),
            (r#"["/subscriptions/b"]"#, &["/subscriptions/b"]),
            (r#"["/subscriptions/b/resourceGroups/g"]"#, &[]),
        ] {
            issuers.catalog.role_put(&made(scopes)).await.unwrap();
            assert_eq!(held().await, expected, "{scopes}");
        }
        issuers.catalog.role_delete(made("").id).await.unwrap();
        assert!(held().await.is_empty(), "deleted, it gives nothing");
    }

    /// RFC 8725 §3.1: what a token says of how it was signed is not to be believed.
    #[tokio::test]
    async fn a_key_that_names_its_algorithm_signs_with_no_other() {
        use jsonwebtoken::jwk::Jwk;
        let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
        let key = EncodingKey::from_rsa_pem(pair.serialize_pem().as_bytes()).unwrap();
        let named = |kid: &str, own: Option<KeyAlgorithm>| {
            let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
            (jwk.common.key_id, jwk.common.key_algorithm) = (Some(kid.to_owned()), own);
            jwk
        };
        let keys = [("one", Some(KeyAlgorithm::RS256)), ("any", None), ("none", Some(KeyAlgorithm::RSA_OAEP))];
        let set = json!({"keys": keys.map(|(kid, own)| named(kid, own))});
        let (address, pem) = serve(|address| {
            let issuer = format!("https://{address}");
            vec![json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}), set]
        });
        let sim = SimWorld::new(7);
        let (issuers, issuer) = issuers(sim.world(), address, &pem).await;
        let now = sim.world().clock.wall().unix_secs();
        let claims = json!({"iss": issuer, "aud": "api://strongroom", "sub": "ann", "groups": "sre", "exp": now + 600});
        for (kid, algorithm, taken) in [
            ("one", Algorithm::RS256, true),
            ("one", Algorithm::PS256, false),
            ("any", Algorithm::PS256, true),
            ("none", Algorithm::RS256, false),
        ] {
            let header = Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) };
            let read = issuers.read(&jsonwebtoken::encode(&header, &claims, &key).unwrap()).await;
            assert_eq!(read.is_ok_and(|read| read.is_some()), taken, "{kid} {algorithm:?}");
        }
    }

    #[tokio::test]
    async fn a_key_that_encrypts_signs_nothing() {
        let (key, other) = (Key::new("one"), Key::new("two"));
        let mut encrypts = key.jwk();
        encrypts["use"] = json!("enc");
        let set = json!({"keys": [encrypts, other.jwk()]});
        let (address, pem) = serve(|address| {
            let issuer = format!("https://{address}");
            vec![json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")}), set]
        });
        let sim = SimWorld::new(6);
        let (issuers, issuer) = issuers(sim.world(), address, &pem).await;
        let now = sim.world().clock.wall().unix_secs();
        let claims = json!({"iss": issuer, "aud": "api://strongroom", "sub": "ann", "groups": "sre", "exp": now + 600});
        assert!(issuers.read(&other.sign(&claims)).await.unwrap().is_some());
        assert!(matches!(issuers.read(&key.sign(&claims)).await, Err(ControlError::Unauthenticated)));
    }
}
