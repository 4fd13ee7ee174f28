//! Logging in with a certificate, and whom a token is for: each thing that an assertion must say, taken wrong once.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use sha2::{Digest as _, Sha256};
use strongroom_catalog::CredentialRow;
use strongroom_model::ObjectId;

use super::*;

const ENDPOINT: &str = "http://127.0.0.1:7700/common/oauth2/v2.0/token";

struct Certificate {
    pair: KeyPair,
    pem: String,
    der: Vec<u8>,
}

impl Certificate {
    fn new() -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let made = CertificateParams::new(vec!["pipeline".to_owned()]).unwrap().self_signed(&pair).unwrap();
        Self { pem: made.pem(), der: made.der().to_vec(), pair }
    }

    fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        let key = EncodingKey::from_rsa_pem(self.pair.serialize_pem().as_bytes()).unwrap();
        encode(&Header::new(algorithm), claims, &key).unwrap()
    }
}

impl Doors {
    /// A service without any right: its path and its client id.
    async fn service(&self, name: &str) -> (String, String) {
        let (status, made) = self.call(ADMIN, &Method::POST, "/v1/services", &json!({"name": name})).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        (format!("/v1/services/{}", made["id"].as_str().unwrap()), made["clientId"].as_str().unwrap().to_owned())
    }

    async fn log_in(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder().method(Method::POST).uri("/common/oauth2/v2.0/token").header("host", "127.0.0.1:7700");
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    async fn assert(&self, client: &str, jwt: &str) -> Result<String, u64> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", "https://management.azure.com/.default"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", jwt),
        ];
        let (status, told) = self.log_in(&form).await;
        match status {
            StatusCode::OK => Ok(told["access_token"].as_str().unwrap().to_owned()),
            _ => Err(told["error_codes"][0].as_u64().unwrap_or_else(|| panic!("{told}"))),
        }
    }
}

#[tokio::test]
async fn an_assertion_is_good_for_its_service_its_address_and_its_time() {
    let doors = Doors::open().await;
    let (path, client) = doors.service("pipeline").await;
    let (own, strange) = (Certificate::new(), Certificate::new());
    let added = doors.call(ADMIN, &Method::POST, &format!("{path}/credentials"), &json!({"name": "c", "certificatePem": own.pem})).await;
    assert_eq!(added.0, StatusCode::CREATED, "{}", added.1);
    let now = doors.app.site.world.clock.wall().unix_secs();
    let claims = json!({"iss": client, "sub": client, "aud": ENDPOINT, "jti": "1", "nbf": now, "exp": now + 600});
    let with = |member: &str, value: Value| {
        let mut changed = claims.clone();
        changed[member] = value;
        changed
    };
    for algorithm in [Algorithm::RS256, Algorithm::PS256] {
        doors.assert(&client, &own.sign(algorithm, &claims)).await.unwrap();
    }
    doors.assert(&client, &own.sign(Algorithm::RS256, &with("aud", json!(["https://elsewhere", format!("{ENDPOINT}/")])))).await.unwrap();
    for (changed, number) in [
        (with("aud", json!("https://login.microsoftonline.com/common/oauth2/v2.0/token")), 700_023),
        (with("aud", json!([])), 700_023),
        (with("iss", json!("44444444-4444-4444-8444-444444444444")), 700_030),
        (with("sub", json!("44444444-4444-4444-8444-444444444444")), 700_030),
        (with("exp", json!(now - 301)), 700_024),
        (with("exp", json!(now + 25 * 3_600)), 700_024),
        (with("nbf", json!(now + 400)), 700_024),
    ] {
        assert_eq!(doors.assert(&client, &own.sign(Algorithm::RS256, &changed)).await, Err(number), "{changed}");
    }
    assert_eq!(doors.assert(&client, &strange.sign(Algorithm::RS256, &claims)).await, Err(700_027), "nobody registered that one");
    assert_eq!(doors.assert(&client, &own.sign(Algorithm::RS512, &claims)).await, Err(50_027), "none of the two algorithms");
    // One whose time here is over, though the certificate is good for longer.
    let (ms, random) = doors.app.site.world.id_seed();
    let other = doors.service("other").await;
    let row = doors.app.site.catalog.principal_by_client(other.1.parse().unwrap()).await.unwrap().unwrap();
    let ended = CredentialRow {
        id: ObjectId::mint(ms, random),
        principal: row.id,
        name: "ended".to_owned(),
        sha256: Sha256::digest(&strange.der).into(),
        certificate: Some(strange.der.clone()),
        created_ms: 0,
        expires_ms: Some(now * 1_000 - 1),
    };
    doors.app.site.catalog.credential_insert(&ended).await.unwrap();
    let jwt = strange.sign(Algorithm::RS256, &json!({"iss": other.1, "sub": other.1, "aud": ENDPOINT, "exp": now + 600}));
    assert_eq!(doors.assert(&other.1, &jwt).await, Err(7_000_222));
}

#[tokio::test]
async fn a_token_for_somebody_else_opens_nothing_here() {
    let doors = Doors::open().await;
    let (path, client) = doors.service("pipeline").await;
    let (status, made) = doors.call(ADMIN, &Method::POST, &format!("{path}/credentials"), &json!({"name": "s"})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let secret = made["secret"].as_str().unwrap();
    for (scope, taken) in [
        ("https://management.azure.com/.default", true),
        ("http://127.0.0.1:7700/.default", true),
        ("https://vault.azure.net/.default", false),
        ("http://127.0.0.1:7701/.default", false),
    ] {
        let form = [("grant_type", "client_credentials"), ("client_id", &*client), ("client_secret", secret), ("scope", scope)];
        let (status, told) = doors.log_in(&form).await;
        assert_eq!(status, StatusCode::OK, "{scope}: {told}");
        let token = told["access_token"].as_str().unwrap();
        let asked = doors.call(token, &Method::GET, "/subscriptions", &Value::Null).await;
        assert_eq!(asked.0 != StatusCode::UNAUTHORIZED, taken, "{scope}: {}", asked.1);
    }
}

/// Which of two headers counts would be for others on the way to say.
#[tokio::test]
async fn a_request_says_once_who_it_is() {
    let doors = Doors::open().await;
    for (tokens, expected) in [(&[ADMIN][..], StatusCode::OK), (&[ADMIN, "srt_other"][..], StatusCode::UNAUTHORIZED)] {
        let mut request = Request::builder().uri("/subscriptions?api-version=2022-12-01").header("host", "here");
        for token in tokens {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = doors.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), expected, "{}", tokens.len());
    }
}
