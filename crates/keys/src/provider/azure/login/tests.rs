use std::collections::HashMap;

use parking_lot::Mutex;
use serde_json::json;
use strongroom_world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::identity::ClusterIdentity;
use crate::outbound::{Outbound, OutboundConfig};
use crate::provider::access::Access;
use crate::provider::{Answer, KekRef, KeyVault};
use crate::testing::{Action, Seen, TestServer};

/// A vault that knows one token, and a directory beside it.
async fn directory(refuse: Option<&'static str>) -> TestServer {
    TestServer::start(move |seen: &Seen| {
        let path = seen.path.split('?').next().unwrap_or_default();
        if path.ends_with("/token") {
            return match refuse {
                Some(error) => Action::json(401, &json!({"error": error, "error_description": "AADSTS7000222"}).to_string()),
                None => Action::json(200, r#"{"token_type":"Bearer","expires_in":"3599","access_token":"granted"}"#),
            };
        }
        assert_eq!(seen.header("authorization"), Some("Bearer granted"));
        let host = seen.header("host").unwrap_or_default();
        let key = json!({"kid": format!("https://{host}/keys/payroll/1"), "kty": "EC"});
        Action::json(200, &json!({"key": key, "attributes": {}}).to_string())
    })
    .await
}

fn vault(server: &TestServer, access: &str, config: &ProvidersConfig) -> Result<AzureKeyVault, &'static str> {
    let outbound = OutboundConfig { allow: vec![server.address.to_string()], ..OutboundConfig::default() };
    let outbound = Outbound::open(&World::real(), &outbound, &[&server.ca_pem]).unwrap();
    let identity = Arc::new(ClusterIdentity::generate(World::real().rng.as_ref()).unwrap());
    let kek = KekRef::new(server.url("/").as_str(), "payroll", Some("1")).unwrap();
    let Access::Azure(access) = Access::read(Provider::Azure, Some(access)).unwrap() else { panic!() };
    let vault = AzureKeyVault::new(outbound, identity, kek, World::real()).unwrap();
    AzureLogin::of(access, config).map(|login| vault.with_login(login))
}

fn config(server: &TestServer) -> ProvidersConfig {
    ProvidersConfig { azure_authority: server.url("/").to_string(), ..ProvidersConfig::default() }
}

fn form(seen: &Seen) -> HashMap<String, String> {
    url::form_urlencoded::parse(seen.body.as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn a_client_secret_goes_to_the_operators_directory_and_nowhere_else() {
    let server = directory(None).await;
    let access = r#"{"login":"client-secret","tenant":"contoso","client":"app-1","secret":"hush hush"}"#;
    let vault = vault(&server, access, &config(&server)).unwrap();
    vault.newest().await.unwrap();
    vault.newest().await.unwrap();
    let seen = server.seen();
    assert_eq!((seen[0].path.as_str(), seen.len()), ("/contoso/oauth2/v2.0/token", 3));
    let form = form(&seen[0]);
    assert_eq!((form["grant_type"].as_str(), form["client_id"].as_str()), ("client_credentials", "app-1"));
    assert_eq!((form["client_secret"].as_str(), form["scope"].as_str()), ("hush hush", "https://vault.azure.net/.default"));
    assert!(seen[1..].iter().all(|seen| !seen.body.contains("hush") && !seen.path.contains("hush")));
}

#[tokio::test]
async fn a_refused_login_is_ours_and_not_the_keys() {
    for (error, code) in [("invalid_client", "InvalidClient"), ("unauthorized_client", "UnauthorizedClient")] {
        let server = directory(Some(error)).await;
        let access = r#"{"login":"client-secret","tenant":"contoso","client":"app-1","secret":"over"}"#;
        let vault = vault(&server, access, &config(&server)).unwrap();
        assert_eq!(vault.newest().await.unwrap_err().answer(), Answer::Ambiguous(code));
    }
}

#[tokio::test]
async fn a_workload_identity_shows_what_the_platform_signed_last() {
    let server = directory(None).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let access = r#"{"login":"workload-identity","tenant":"contoso","client":"app-1","hsm":true}"#;
    let config = ProvidersConfig { azure_federated_token_file: file.clone(), ..config(&server) };
    let vault = vault(&server, access, &config).unwrap();
    assert_eq!(vault.newest().await.unwrap_err().answer(), Answer::Transient("FederatedTokenUnread"));
    for signed in ["first.signed.token", "second.signed.token"] {
        std::fs::write(&file, format!("{signed}\n")).unwrap();
        vault.fresh().await;
        vault.newest().await.unwrap();
        let logins: Vec<_> = server.seen().iter().filter(|seen| seen.path.ends_with("/token")).map(form).collect();
        let form = logins.last().unwrap();
        assert_eq!((form["client_assertion"].as_str(), form["client_assertion_type"].as_str()), (signed, ASSERTION_TYPE));
        assert_eq!((form["client_id"].as_str(), form["scope"].as_str()), ("app-1", "https://managedhsm.azure.net/.default"));
    }
}

/// A metadata service: plain http on an address of this machine.
async fn metadata(status: u16, body: &'static str) -> (String, Arc<Mutex<Vec<String>>>, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let serving = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            log.lock().push(String::from_utf8_lossy(&head).into_owned());
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _sent = stream.write_all(answer.as_bytes()).await;
        }
    });
    (base, seen, serving)
}

#[tokio::test]
async fn a_managed_identity_is_asked_of_the_operators_metadata_service() {
    let server = directory(None).await;
    let (base, seen, serving) = metadata(200, r#"{"access_token":"granted","expires_in":"86399","token_type":"Bearer"}"#).await;
    let config = ProvidersConfig { azure_metadata: base, ..config(&server) };
    let vault = vault(&server, r#"{"login":"managed-identity","client":"id-2"}"#, &config).unwrap();
    vault.newest().await.unwrap();
    serving.abort();
    let seen = seen.lock();
    let wanted =
        "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net&client_id=id-2 HTTP/1.1";
    assert!(seen[0].starts_with(wanted), "{}", seen[0]);
    assert!(seen[0].to_ascii_lowercase().contains("\r\nmetadata: true\r\n"));
}

#[tokio::test]
async fn a_metadata_service_that_does_not_help_denies_nothing() {
    let server = directory(None).await;
    for (status, body, code) in [
        (400, r#"{"error":"invalid_request","error_description":"Identity not found"}"#, "Status400"),
        (404, "", "Status404"),
        (200, "<html>", "Malformed"),
        (500, "", "Status500"),
    ] {
        let (base, _, serving) = metadata(status, body).await;
        let vault =
            vault(&server, r#"{"login":"managed-identity"}"#, &ProvidersConfig { azure_metadata: base, ..config(&server) }).unwrap();
        assert_eq!(vault.newest().await.unwrap_err().answer(), Answer::Transient(code), "{status} {body}");
        serving.abort();
    }
}

/// A vault's own address never leads to the metadata service, and a reference object cannot ask for what the operator does not lend.
#[tokio::test]
async fn what_the_operator_does_not_lend_cannot_be_had() {
    let server = directory(None).await;
    for login in [r#"{"login":"managed-identity"}"#, r#"{"login":"workload-identity","tenant":"t","client":"c"}"#] {
        assert!(vault(&server, login, &config(&server)).unwrap_err().contains("operator"), "{login}");
    }
    let outside = ProvidersConfig { azure_metadata: "http://10.0.0.1".to_owned(), ..config(&server) };
    assert!(vault(&server, r#"{"login":"managed-identity"}"#, &outside).is_err());
    assert!(KekRef::new("http://169.254.169.254", "payroll", None).is_err());
    let outbound = OutboundConfig { allow: vec!["169.254.169.254:443".to_owned()], ..OutboundConfig::default() };
    let outbound = Outbound::open(&World::real(), &outbound, &[&server.ca_pem]).unwrap();
    let url = Url::parse("https://169.254.169.254/metadata/identity/oauth2/token").unwrap();
    assert_eq!(outbound.send(Call::new(&url, Body::None)).await.unwrap_err().code(), "AddressBlocked");
}
