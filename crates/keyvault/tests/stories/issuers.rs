//! Client secrets of the vault's own, and tokens of issuers that its configuration trusts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Method;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use strongroom_keyvault::{IssuerConfig, Vault, VaultConfig};
use strongroom_world::World;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::site::{API, Said, Site, TOKEN, clock, said};

const ISSUER: &str = "https://login.test/72f988bf";
const CALLER: Uuid = Uuid::from_u128(0x1b73_05cc);

/// A key that an issuer signs with.
struct Signer {
    pair: KeyPair,
    kid: &'static str,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self { pair: KeyPair::generate(KeySize::Rsa2048).unwrap(), kid }
    }

    fn jwk(&self) -> Value {
        let public = PublicKeyComponents::<Vec<u8>>::from(self.pair.public_key());
        let text = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": text(public.n), "e": text(public.e)})
    }

    fn public_pem(&self) -> String {
        let public = PublicKeyComponents::<Vec<u8>>::from(self.pair.public_key());
        let der: PublicKeyX509Der<'_> = public.as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::RS256) };
        let der: Pkcs8V1Der<'_> = self.pair.as_der().unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()).unwrap()
    }
}

fn set(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()}).to_string()
}

fn claims(site: &Site) -> Value {
    // As the challenge has it: the host without its first label.
    let resource = format!("https://{}", site.host.split_once('.').unwrap().1);
    json!({"iss": ISSUER, "aud": resource, "oid": CALLER, "appid": CALLER, "sub": "somebody", "exp": site.now() + 600, "nbf": site.now()})
}

fn with(claims: &Value, member: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[member] = value;
    claims
}

async fn trusting(issuer: IssuerConfig) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let config = VaultConfig { issuers: vec![issuer], ..VaultConfig::at(dir.path()) };
    Site::with(dir, clock(), config).await
}

fn by_file(dir: &TempDir, text: &str) -> IssuerConfig {
    let path = dir.path().join("keys.json");
    std::fs::write(&path, text).unwrap();
    IssuerConfig { issuer: ISSUER.to_owned(), keys: path.display().to_string(), ..IssuerConfig::default() }
}

async fn get(site: &Site, token: &str) -> Said {
    site.call(Some(token), Method::GET, &format!("/keys/k/?{API}"), None).await
}

async fn register(site: &Site, name: &str) -> Said {
    site.admin(Method::PUT, &format!("/vault/identities/{CALLER}"), json!({"name": name, "issuer": ISSUER})).await
}

async fn grant(site: &Site, name: &str, role: &str) {
    site.admin(Method::PUT, "/vault/grants", json!({"principal": name, "role": role})).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_says_who_calls_and_the_vault_what_they_may() {
    let (own, files) = (Signer::new("one"), tempfile::tempdir().unwrap());
    let authority = "https://login.test:8443/72f988bf/".to_owned();
    let site = trusting(IssuerConfig { authority, ..by_file(&files, &set(&[&own])) }).await;
    site.create("k").await;
    let token = own.sign(&claims(&site));

    // A client without a token is sent to the issuer; nobody registered whom it comes back as.
    let challenge = site.call(None, Method::GET, &format!("/keys/k/?{API}"), None).await.challenge.unwrap();
    assert!(challenge.starts_with("Bearer authorization=\"https://login.test:8443/72f988bf\", resource="), "{challenge}");
    assert_eq!(get(&site, &token).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    let nobody = json!({"name": "ops", "issuer": "https://evil.test"});
    assert_eq!(site.admin(Method::PUT, &format!("/vault/identities/{CALLER}"), nobody).await.error().0, 400);
    let registered = register(&site, "ops").await.good();
    assert_eq!(registered, json!({"principalId": CALLER, "name": "ops", "issuer": ISSUER}));
    assert_eq!(get(&site, &token).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));

    // Role by role.
    grant(&site, "ops", "Key Vault Reader").await;
    get(&site, &token).await.good();
    let call = async |method, path: &str, body: Value| site.call(Some(&token), method, &format!("{path}?{API}"), Some(&body)).await;
    let wrap = json!({"alg": "RSA-OAEP-256", "value": "AAAA"});
    assert_eq!(call(Method::POST, "/keys/k//wrapkey", wrap.clone()).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    grant(&site, "ops", "Key Vault Crypto Service Encryption User").await;
    call(Method::POST, "/keys/k//wrapkey", wrap).await.good();
    assert_eq!(call(Method::POST, "/keys/l/create", json!({"kty": "EC"})).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    grant(&site, "ops", "Key Vault Crypto Officer").await;
    call(Method::POST, "/keys/l/create", json!({"kty": "EC"})).await.good();
    call(Method::DELETE, "/keys/l", Value::Null).await.good();
    let roles = site.get("/vault/grants").await.good();
    assert_eq!(roles["value"].as_array().unwrap().len(), 3);
    // Not even that makes an admin; and what is granted no more is gone at once.
    assert_eq!(call(Method::GET, "/vault", Value::Null).await.error(), (403, "Forbidden", Some("AccessDenied")));
    let log = site.log().await;
    assert!(log.iter().any(|entry| entry["principal"] == "ops" && entry["operation"] == "KeyWrap"), "{log:?}");
    site.admin(Method::DELETE, "/vault/grants/ops", Value::Null).await;
    assert_eq!(get(&site, &token).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    // Under access policies the same person is asked for permissions.
    site.patch_vault(json!({"permissionModel": "accessPolicy"})).await.good();
    site.admin(Method::PUT, "/vault/grants", json!({"principal": "ops", "permissions": ["get"]})).await.good();
    get(&site, &token).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_quite_right_are_refused() {
    let (own, files) = (Signer::new("one"), tempfile::tempdir().unwrap());
    let audiences = vec!["https://vault.azure.net".to_owned()];
    let aliases = vec!["https://login.test/adfs".to_owned()];
    let site = trusting(IssuerConfig { audiences, aliases, ..by_file(&files, &set(&[&own])) }).await;
    site.create("k").await;
    register(&site, "ops").await.good();
    grant(&site, "ops", "Key Vault Administrator").await;
    let good = claims(&site);
    get(&site, &own.sign(&good)).await.good();
    for audience in [json!("https://VAULT.azure.net/"), json!([format!("https://{}", site.host), "other"])] {
        get(&site, &own.sign(&with(&good, "aud", audience))).await.good();
    }
    get(&site, &own.sign(&with(&good, "iss", json!("https://login.test/adfs")))).await.good();
    get(&site, &own.sign(&with(&with(&good, "oid", Value::Null), "sub", json!(CALLER)))).await.good();
    let wrong = [
        ("another audience", with(&good, "aud", json!("https://management.azure.com"))),
        ("no audience", with(&good, "aud", Value::Null)),
        ("another issuer", with(&good, "iss", json!("https://login.test/other"))),
        ("expired", with(&good, "exp", json!(site.now() - 61))),
        ("without an end", with(&good, "exp", Value::Null)),
        ("not yet valid", with(&good, "nbf", json!(site.now() + 61))),
        ("of nobody", with(&good, "oid", Value::Null)),
        ("of a name", with(&good, "oid", json!("ops"))),
    ];
    for (what, claims) in wrong {
        assert_eq!(get(&site, &own.sign(&claims)).await.error(), (401, "Unauthorized", None), "{what}");
    }
    // Signed by somebody else under the same name; not signed; signed with the public key as a secret.
    assert_eq!(get(&site, &Signer::new("one").sign(&good)).await.status, 401);
    let token = own.sign(&good);
    assert_eq!(get(&site, &format!("{}.", token.rsplit_once('.').unwrap().0)).await.status, 401);
    let secret = EncodingKey::from_secret(own.public_pem().as_bytes());
    let header = Header { kid: Some("one".into()), ..Header::new(Algorithm::HS256) };
    assert_eq!(get(&site, &jsonwebtoken::encode(&header, &good, &secret).unwrap()).await.status, 401);
    // Another principal's id, which is registered here with a login of its own: an issuer cannot speak for it.
    let cluster = site.register("cluster-1").await;
    site.grant_role("cluster-1").await.good();
    let posing = own.sign(&with(&good, "oid", json!(cluster.id)));
    assert_eq!(get(&site, &posing).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    get(&site, &site.login(&cluster).await).await.good();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_public_key_in_a_file_is_a_set_of_one() {
    let (own, files) = (Signer::new("any name"), tempfile::tempdir().unwrap());
    let site = trusting(by_file(&files, &own.public_pem())).await;
    site.create("k").await;
    register(&site, "ops").await.good();
    grant(&site, "ops", "Key Vault Reader").await;
    get(&site, &own.sign(&claims(&site))).await.good();
    assert_eq!(get(&site, &Signer::new("any name").sign(&claims(&site))).await.status, 401);
}

/// Serves what a file holds to whoever trusts `ca`, and counts.
async fn serve_keys(dir: &Path) -> (String, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(dir.join("ca.pem"), made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}/keys", listener.local_addr().unwrap());
    let (asked, path) = (Arc::new(AtomicUsize::new(0)), dir.join("keys.json"));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).await.unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            count.fetch_add(1, Ordering::SeqCst);
            let answer = std::fs::read_to_string(&path).map_or_else(
                |_| "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
                |body| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()),
            );
            drop(stream.write_all(answer.as_bytes()).await);
            drop(stream.shutdown().await);
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_keys_are_fetched_when_they_change_and_no_oftener() {
    let (one, two, files) = (Signer::new("one"), Signer::new("two"), tempfile::tempdir().unwrap());
    let (keys, asked) = serve_keys(files.path()).await;
    std::fs::write(files.path().join("keys.json"), set(&[&one])).unwrap();
    let issuer = IssuerConfig { issuer: ISSUER.to_owned(), keys, ca: files.path().join("ca.pem"), ..IssuerConfig::default() };
    let site = trusting(issuer).await;
    site.create("k").await;
    register(&site, "ops").await.good();
    grant(&site, "ops", "Key Vault Reader").await;
    for _ in 0..5 {
        get(&site, &one.sign(&claims(&site))).await.good();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // A key that is not known is looked for, at most every ten seconds: strangers' tokens are no storm.
    for _ in 0..5 {
        assert_eq!(get(&site, &two.sign(&claims(&site))).await.status, 401);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    std::fs::write(files.path().join("keys.json"), set(&[&two])).unwrap();
    site.sim.clock().advance(Duration::from_secs(10));
    get(&site, &two.sign(&claims(&site))).await.good();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(get(&site, &one.sign(&claims(&site))).await.status, 401, "a key that was withdrawn");

    // An issuer that does not answer stops nothing for a day.
    std::fs::remove_file(files.path().join("keys.json")).unwrap();
    site.sim.clock().advance(Duration::from_hours(23));
    get(&site, &two.sign(&claims(&site))).await.good();
    site.sim.clock().advance(Duration::from_hours(2));
    assert_eq!(get(&site, &two.sign(&claims(&site))).await.status, 401);
}

/// A key on P-256 that an issuer signs with.
struct CurveSigner(EcdsaKeyPair);

impl CurveSigner {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn set(&self, kid: &str) -> String {
        let point = self.0.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = json!({"kty": "EC", "use": "sig", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..])});
        json!({"keys": [jwk]}).to_string()
    }

    fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        let der = self.0.to_pkcs8v1().unwrap();
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()));
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_pem(pem.as_bytes()).unwrap()).unwrap()
    }
}

/// Two directories may give the same id to two people, and the same name to two keys: neither speaks for the other.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_issuers_each_vouches_for_its_own() {
    const SECOND: &str = "https://second.test/tenant";
    let (first, second, files) = (Signer::new("one"), CurveSigner::new(), tempfile::tempdir().unwrap());
    let path = files.path().join("second.json");
    std::fs::write(&path, second.set("one")).unwrap();
    let of_second = IssuerConfig { issuer: SECOND.to_owned(), keys: path.display().to_string(), ..IssuerConfig::default() };
    let dir = tempfile::tempdir().unwrap();
    let config = VaultConfig { issuers: vec![by_file(&files, &set(&[&first])), of_second], ..VaultConfig::at(dir.path()) };
    let site = Site::with(dir, clock(), config).await;
    site.create("k").await;
    register(&site, "ops").await.good();
    grant(&site, "ops", "Key Vault Reader").await;
    let good = claims(&site);
    get(&site, &first.sign(&good)).await.good();
    // The same id from the other issuer is somebody else, whom nobody registered.
    let theirs = with(&good, "iss", json!(SECOND));
    assert_eq!(get(&site, &second.sign("one", &theirs)).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
    // Neither signs for the other, and no token may choose its own algorithm.
    for token in [second.sign("one", &good), first.sign(&theirs)] {
        assert_eq!(get(&site, &token).await.status, 401);
    }
    // Registered for the second one, it is that one's, and no longer the first one's.
    let body = json!({"name": "ops", "issuer": SECOND});
    site.admin(Method::PUT, &format!("/vault/identities/{CALLER}"), body).await.good();
    get(&site, &second.sign("one", &theirs)).await.good();
    assert_eq!(get(&site, &first.sign(&good)).await.error(), (403, "Forbidden", Some("ForbiddenByRbac")));
}

#[test]
fn an_issuer_that_cannot_be_trusted_is_no_configuration() {
    let issuer = |issuer: &str, keys: &str, authority: &str| IssuerConfig {
        issuer: issuer.to_owned(),
        keys: keys.to_owned(),
        authority: authority.to_owned(),
        ..IssuerConfig::default()
    };
    for wrong in [
        issuer("", "keys.json", ""),
        issuer(ISSUER, "", ""),
        issuer(ISSUER, "https://login.test/keys", ""),
        issuer(ISSUER, "http://login.test/keys", ""),
        issuer(ISSUER, "keys.json", "login.test"),
        issuer(ISSUER, "keys.json", "https://login.test/\", resource=\"https://evil.test"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let config = VaultConfig { issuers: vec![wrong.clone()], ..VaultConfig::at(dir.path()) };
        assert!(Vault::open(World::real(), config, Some(TOKEN.to_owned())).is_err(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_logs_in_at_the_vault_itself() {
    let site = Site::start().await;
    site.create("k").await;
    let path = format!("/vault/identities/{CALLER}");
    let made = site.admin(Method::PUT, &path, json!({"name": "ops", "clientSecret": true})).await.good();
    let secret = made["clientSecret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("svc_") && secret.len() > 40);
    assert_eq!(site.get(&path).await.good(), json!({"principalId": CALLER, "name": "ops", "login": "clientSecret"}), "told once");
    grant(&site, "ops", "Key Vault Reader").await;

    // As MSAL finds its way, ADFS-style and by tenant.
    for (document, tenant) in [("/adfs/.well-known/openid-configuration", "adfs"), ("/t/v2.0/.well-known/openid-configuration", "t")] {
        let told = site.call(None, Method::GET, document, None).await.good();
        let endpoint = told["token_endpoint"].as_str().unwrap().to_owned();
        assert!(endpoint.contains(tenant), "{endpoint}");
        let id = CALLER.to_string();
        let form = |secret: &str| {
            let form = [
                ("grant_type", "client_credentials"),
                ("client_id", &id),
                ("client_secret", secret),
                ("scope", "https://0.0.1/.default"),
                ("client_info", "1"),
                ("claims", "{}"),
            ];
            said(site.http.post(&endpoint).form(&form))
        };
        let token = form(&secret).await.good();
        assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("Bearer"), &json!(600)));
        get(&site, token["access_token"].as_str().unwrap()).await.good();
        let wrong = form("svc_wrong").await;
        assert_eq!((wrong.status, &wrong.body["error"], &wrong.body["error_codes"][0]), (401, &json!("invalid_client"), &json!(7_000_215)));
        let basic = site.http.post(&endpoint).basic_auth(&id, Some(&secret)).form(&[("grant_type", "client_credentials")]);
        said(basic).await.good();
        let basic = site.http.post(&endpoint).basic_auth(Uuid::nil(), Some(&secret)).form(&[("grant_type", "client_credentials")]);
        assert_eq!(said(basic).await.status, 401);
    }
    // A cluster has no secret, whatever is sent.
    let cluster = site.register("cluster-1").await;
    let form = [("grant_type", "client_credentials"), ("client_id", &cluster.id.to_string()), ("client_secret", &secret)];
    assert_eq!(said(site.http.post(site.audience()).form(&form)).await.status, 401);

    // A new secret ends the old one, and the tokens it gave.
    let form = [("grant_type", "client_credentials"), ("client_id", &CALLER.to_string()), ("client_secret", &secret)];
    let token = said(site.http.post(site.audience()).form(&form)).await.good()["access_token"].as_str().unwrap().to_owned();
    let again = site.admin(Method::PUT, &path, json!({"name": "ops", "clientSecret": true})).await.good();
    assert_ne!(again["clientSecret"], secret);
    assert_eq!(get(&site, &token).await.status, 401);
    assert_eq!(said(site.http.post(site.audience()).form(&form)).await.status, 401);

    // Without an id of its owner's choice it gets one.
    let other = site.admin(Method::POST, "/vault/identities", json!({"name": "other", "clientSecret": true})).await.good();
    let id = Uuid::try_parse(other["principalId"].as_str().unwrap()).unwrap().to_string();
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", other["clientSecret"].as_str().unwrap())];
    said(site.http.post(site.audience()).form(&form)).await.good();

    for wrong in [
        json!({"name": "ops"}),
        json!({"name": "ops", "clientSecret": false}),
        json!({"name": "ops", "clientSecret": true, "issuer": ISSUER}),
        json!({"name": "ops", "clientSecret": true, "publicKeyPem": "x"}),
    ] {
        assert_eq!(site.admin(Method::PUT, &path, wrong).await.error().0, 400);
    }
    let on_disk = crate::site::files(site.dir.path());
    let secret = again["clientSecret"].as_str().unwrap();
    assert!(on_disk.iter().all(|(_, bytes)| !bytes.windows(secret.len()).any(|window| window == secret.as_bytes())));
}
