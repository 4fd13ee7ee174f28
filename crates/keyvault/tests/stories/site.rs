//! One vault in a temporary directory, its admin, and identities that log in to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use strongroom_keyvault::{Vault, VaultConfig};
use strongroom_world::World;
use strongroom_world::sim::SimWorld;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(crate) const TOKEN: &str = "an-admins-token-of-a-test";
pub(crate) const API: &str = "api-version=7.6";

pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) host: String,
    pub(crate) sim: SimWorld,
    pub(crate) http: reqwest::Client,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// An answer: status, body, and the challenge if there was one.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) challenge: Option<String>,
}

impl Said {
    pub(crate) fn error(&self) -> (u16, &str, Option<&str>) {
        let error = &self.body["error"];
        (self.status, error["code"].as_str().unwrap_or_default(), error["innererror"]["code"].as_str())
    }

    pub(crate) fn good(self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.body);
        self.body
    }
}

/// The machine's files and randomness, a clock moved by hand that starts at the machine's time (certificates are checked
/// against that by the client).
pub(crate) fn world(sim: &SimWorld) -> World {
    World { clock: sim.world().clock, ..World::real() }
}

pub(crate) fn clock() -> SimWorld {
    let sim = SimWorld::new(1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    sim.clock().set_wall(strongroom_world::WallTime(i64::try_from(now.as_nanos()).unwrap()));
    sim
}

impl Site {
    pub(crate) async fn start() -> Self {
        Self::at(tempfile::tempdir().unwrap(), clock()).await
    }

    pub(crate) async fn at(dir: TempDir, sim: SimWorld) -> Self {
        let config = VaultConfig { names: vec!["shop.vault.test".into()], ..VaultConfig::at(dir.path()) };
        Self::with(dir, sim, config).await
    }

    pub(crate) async fn with(dir: TempDir, sim: SimWorld, config: VaultConfig) -> Self {
        let (vault, minted) = Vault::open(world(&sim), config, Some(TOKEN.to_owned())).unwrap();
        assert!(minted.is_none(), "a token that was given is not minted");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let http = client(vault.ca_pem());
        let (stop, stopping) = watch::channel(false);
        let serving = tokio::spawn(Arc::clone(&vault).serve(listener, stopping));
        Self { dir, host, sim, http, stop, serving }
    }

    /// Stops it and starts it again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let (dir, sim) = self.stop().await;
        Self::at(dir, sim).await
    }

    pub(crate) async fn stop(self) -> (TempDir, SimWorld) {
        self.stop.send_replace(true);
        // Pooled connections would be waited for.
        drop(self.http);
        self.serving.await.unwrap();
        (self.dir, self.sim)
    }

    pub(crate) fn now(&self) -> i64 {
        self.sim.world().clock.wall().unix_secs()
    }

    pub(crate) async fn call(&self, token: Option<&str>, method: Method, path: &str, body: Option<&Value>) -> Said {
        let mut request = self.http.request(method, format!("https://{}{path}", self.host));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        said(request).await
    }

    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Said {
        let body = Some(body).filter(|body| !body.is_null());
        self.call(Some(TOKEN), method, path, body.as_ref()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        self.admin(Method::GET, path, Value::Null).await
    }

    pub(crate) async fn create(&self, name: &str) -> Value {
        self.admin(Method::POST, &format!("/keys/{name}/create?{API}"), json!({"kty": "RSA"})).await.good()
    }

    pub(crate) async fn patch_vault(&self, changes: Value) -> Said {
        self.admin(Method::PATCH, "/vault", changes).await
    }

    /// Wraps 32 bytes as the admin; the answer's value.
    pub(crate) async fn wrapped(&self, name: &str) -> Value {
        let body = json!({"alg": "RSA-OAEP-256", "value": URL_SAFE_NO_PAD.encode([7; 32])});
        self.admin(Method::POST, &format!("/keys/{name}//wrapkey?{API}"), body).await.good()["value"].clone()
    }

    pub(crate) async fn wrap(&self, token: &str, name: &str, version: &str, verb: &str, value: &Value) -> Said {
        let body = json!({"alg": "RSA-OAEP-256", "value": value});
        self.call(Some(token), Method::POST, &format!("/keys/{name}/{version}/{verb}?{API}"), Some(&body)).await
    }

    /// Registers an identity under a name.
    pub(crate) async fn register(&self, name: &str) -> Identity {
        let identity = Identity::new();
        self.put_identity(&identity, name).await.good();
        identity
    }

    pub(crate) async fn put_identity(&self, identity: &Identity, name: &str) -> Said {
        let body = json!({"name": name, "publicKeyPem": identity.public_key_pem()});
        self.admin(Method::PUT, &format!("/vault/identities/{}", identity.id), body).await
    }

    pub(crate) async fn grant_role(&self, principal: &str) -> Said {
        let body = json!({"principal": principal, "role": "Key Vault Crypto Service Encryption User"});
        self.admin(Method::PUT, "/vault/grants", body).await
    }

    pub(crate) fn audience(&self) -> String {
        format!("https://{}/{}/oauth2/v2.0/token", self.host, Uuid::nil())
    }

    pub(crate) async fn post_assertion(&self, assertion: &str) -> Said {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
            ("scope", "https://vault.test/.default"),
        ];
        said(self.http.post(self.audience()).form(&form)).await
    }

    pub(crate) async fn login(&self, identity: &Identity) -> String {
        let answer = self.post_assertion(&identity.assertion(&self.audience(), self.now())).await.good();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// The access log from its beginning.
    pub(crate) async fn log(&self) -> Vec<Value> {
        self.get("/vault/log").await.good()["value"].as_array().unwrap().clone()
    }
}

pub(crate) async fn said(request: reqwest::RequestBuilder) -> Said {
    let response = request.send().await.unwrap();
    let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    Said { status, body: serde_json::from_slice(&bytes).unwrap_or_default(), challenge }
}

/// A client that trusts one CA alone.
pub(crate) fn client(ca_pem: &str) -> reqwest::Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .use_preconfigured_tls(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_mins(1))
        .build()
        .unwrap()
}

/// Who logs in with a key of their own.
pub(crate) struct Identity {
    pub(crate) id: Uuid,
    pub(crate) pkcs8: Vec<u8>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let mut random = [0; 16];
        World::real().rng.fill(&mut random);
        let document = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        Self { id: uuid::Builder::from_random_bytes(random).into_uuid(), pkcs8: document.as_ref().to_vec() }
    }

    pub(crate) fn public_key_pem(&self) -> String {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    pub(crate) fn claims(&self, audience: &str, now: i64) -> Value {
        let mut random = [0; 16];
        World::real().rng.fill(&mut random);
        json!({"iss": self.id, "sub": self.id, "aud": audience, "iat": now, "exp": now + 300, "jti": hex::encode(random)})
    }

    pub(crate) fn assertion(&self, audience: &str, now: i64) -> String {
        self.signed(&self.claims(audience, now))
    }

    pub(crate) fn signed(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::ES256), claims, &EncodingKey::from_ec_der(&self.pkcs8)).unwrap()
    }
}

/// An RSA key made outside the vault, as a JSON Web Key; and its private numbers, to look for them where they must not be.
pub(crate) fn outside_key(size: KeySize) -> (Value, Vec<Vec<u8>>) {
    let pair = RsaKeyPair::generate(size).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let numbers = rsa_numbers(der.as_ref());
    let text = |number: usize| URL_SAFE_NO_PAD.encode(&numbers[number]);
    let jwk = json!({
        "kty": "RSA", "key_ops": ["wrapKey", "unwrapKey"], "n": text(0), "e": text(1), "d": text(2), "p": text(3), "q": text(4),
        "dp": text(5), "dq": text(6), "qi": text(7),
    });
    (jwk, numbers[2..].to_vec())
}

/// The integers n, e, d, p, q, dp, dq, qi of a PKCS#8 document, without leading zeros.
fn rsa_numbers(pkcs8: &[u8]) -> Vec<Vec<u8>> {
    fn item(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
        let (len, head) = match bytes[1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let count = usize::from(long & 0x7f);
                (bytes[2..2 + count].iter().fold(0, |len, byte| len << 8 | usize::from(*byte)), 2 + count)
            }
        };
        (bytes[0], &bytes[head..head + len], &bytes[head + len..])
    }
    let (_, outer, _) = item(pkcs8);
    let (_, _, rest) = item(outer);
    let (_, _, rest) = item(rest);
    let (tag, octets, _) = item(rest);
    assert_eq!(tag, 4, "the private key is an octet string");
    let (_, mut rest, _) = item(octets);
    let mut numbers = Vec::new();
    while !rest.is_empty() {
        let (_, number, more) = item(rest);
        numbers.push(number.iter().copied().skip_while(|byte| *byte == 0).collect());
        rest = more;
    }
    numbers.split_off(1)
}

/// Every file below a directory, with its bytes.
pub(crate) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}
