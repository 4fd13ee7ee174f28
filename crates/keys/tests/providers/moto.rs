//! AWS KMS on moto, over TLS and signed. moto checks the encryption context; it goes on decrypting with a key that is disabled, so
//! the denials are in `kms`'s own tests, from recorded answers. The other side of the signature is AWS's own client library.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use strongroom_keys::outbound::{Outbound, OutboundConfig};
use strongroom_keys::provider::access::Access;
use strongroom_keys::provider::kms::AwsKms;
use strongroom_keys::provider::{KekRef, KeyVault, Provider};
use strongroom_world::World;
use tempfile::TempDir;

use super::bao::{certificate, tool};
use super::conformance::{Rig, conforms};

const ACCESS: &str = r#"{"region":"eu-central-1","accessKeyId":"AKIDEXAMPLE","secretAccessKey":"wJalrXUtnFEMI/K7MDENG"}"#;
const PATIENCE: Duration = Duration::from_mins(1);

struct Moto {
    _dir: TempDir,
    child: Child,
    address: SocketAddr,
    ca_pem: String,
    keys: Vec<String>,
    /// Nobody listens there.
    stopped: bool,
}

impl Moto {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (cert, key, ca_pem) = certificate();
        std::fs::write(dir.path().join("cert.pem"), cert + &ca_pem).unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(tool("bin/moto_server", "moto[server]"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string(), "-s", "-c"])
            .arg(dir.path().join("cert.pem"))
            .arg("-k")
            .arg(dir.path().join("key.pem"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut moto = Self { _dir: dir, child, address, ca_pem, keys: Vec::new(), stopped: false };
        let since = Instant::now();
        while moto.keys.len() < 2 {
            let made = moto.admin("CreateKey", json!({"KeyUsage": "ENCRYPT_DECRYPT"})).await;
            moto.keys.extend(made["KeyMetadata"]["KeyId"].as_str().map(str::to_owned));
            assert!(since.elapsed() < PATIENCE, "moto does not come up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        moto
    }

    /// What the key's owner does; null while nobody answers.
    async fn admin(&self, action: &str, body: Value) -> Value {
        let _chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificate = reqwest::Certificate::from_pem(self.ca_pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().add_root_certificate(certificate).build().unwrap();
        let scope = "Credential=AKIDEXAMPLE/20260101/eu-central-1/kms/aws4_request, SignedHeaders=host, Signature=0";
        let request = http
            .post(format!("https://{}/", self.address))
            .header("x-amz-target", format!("TrentService.{action}"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("authorization", format!("AWS4-HMAC-SHA256 {scope}"))
            .body(body.to_string());
        let Ok(answer) = request.send().await else { return Value::Null };
        serde_json::from_slice(&answer.bytes().await.unwrap_or_default()).unwrap_or_default()
    }

    fn of(&self, key: &str) -> AwsKms {
        let address = if self.stopped { SocketAddr::from(([127, 0, 0, 1], 1)) } else { self.address };
        let config = OutboundConfig { allow: vec![address.to_string()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&World::real(), &config, &[&self.ca_pem]).unwrap();
        let Access::AwsKms(access) = Access::read(Provider::AwsKms, Some(ACCESS)).unwrap() else { panic!() };
        AwsKms::new(outbound, KekRef::new(&format!("https://{address}"), key, None).unwrap(), access, World::real()).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[async_trait]
impl Rig for Moto {
    fn world(&self) -> World {
        World::real()
    }
    fn client(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.of(&self.keys[0]))
    }
    fn other(&self) -> Arc<dyn KeyVault> {
        Arc::new(self.of(&self.keys[1]))
    }
    /// KMS rotates inside a key and shows no versions.
    async fn rotate(&self) -> bool {
        false
    }
    /// moto does not refuse.
    async fn take_away(&self) -> bool {
        false
    }
    async fn give_back(&self) {}
    /// moto keeps its keys in memory: it is halted, not ended.
    async fn stop(&mut self) {
        signal(&self.child, "STOP");
    }
    async fn start(&mut self) {
        signal(&self.child, "CONT");
    }
    /// moto writes the key's id in front of its ciphertext and looks it up first.
    fn damaged_at(&self, len: usize) -> Vec<usize> {
        vec![len / 2, len - 1]
    }
    /// For the same reason it says `AccessDenied` where KMS says `IncorrectKey`.
    fn knows_its_own(&self) -> bool {
        false
    }
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn kms_as_moto_has_it_conforms() {
    conforms(&mut Moto::start().await).await;
}

/// botocore signs the same request with the same credentials at the same second.
#[tokio::test]
async fn the_signature_is_the_one_that_awss_own_library_makes() {
    const SCRIPT: &str = r#"
import sys, json, datetime
import botocore.auth, botocore.awsrequest, botocore.credentials
seen = json.load(sys.stdin)
class Fixed(botocore.auth.SigV4Auth):
    def _modify_request_before_signing(self, request):
        super()._modify_request_before_signing(request)
        del request.headers["X-Amz-Date"]
        request.headers["X-Amz-Date"] = seen["x-amz-date"]
request = botocore.awsrequest.AWSRequest(method="POST", url=seen["url"], data=seen["body"].encode(), headers={
    "content-type": seen["content-type"], "x-amz-target": seen["x-amz-target"], "host": seen["host"]})
request.context["timestamp"] = seen["x-amz-date"]
moment = datetime.datetime.strptime(seen["x-amz-date"], "%Y%m%dT%H%M%SZ")
for name in ("get_current_datetime",):
    if hasattr(botocore.auth, name):
        setattr(botocore.auth, name, lambda *a, **k: moment)
Fixed(botocore.credentials.Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", seen["token"]), "kms", "eu-central-1").add_auth(request)
print(request.headers["Authorization"])
"#;
    use super::testing::{Action, TestServer};
    for token in [None, Some("t0ken/with+signs=")] {
        let server = TestServer::start(|_| Action::json(200, "{}")).await;
        let config = OutboundConfig { allow: vec![server.address.to_string()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&World::real(), &config, &[&server.ca_pem]).unwrap();
        let mut access: Value = serde_json::from_str(ACCESS).unwrap();
        if let Some(token) = token {
            access["sessionToken"] = json!(token);
        }
        let Access::AwsKms(access) = Access::read(Provider::AwsKms, Some(&access.to_string())).unwrap() else { panic!() };
        let kek = KekRef::new(server.url("/").as_str(), "1234abcd-12ab-34cd-56ef-1234567890ab", None).unwrap();
        let vault = AwsKms::new(outbound, kek, access, World::real()).unwrap();
        assert_eq!(vault.facts().await.unwrap_err().vault_code(), "Malformed");
        let seen = &server.seen()[0];
        let header = |name| seen.header(name).unwrap_or_default();
        let shown = json!({
            "url": server.url("/").as_str(), "body": seen.body, "host": header("host"), "content-type": header("content-type"),
            "x-amz-target": header("x-amz-target"), "x-amz-date": header("x-amz-date"), "token": token,
        });
        let mut child = Command::new(tool("bin/python", "moto[server]"))
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), shown.to_string().as_bytes()).unwrap();
        let said = child.wait_with_output().unwrap();
        assert!(said.status.success());
        assert_eq!(String::from_utf8(said.stdout).unwrap().trim(), header("authorization"), "{token:?}");
    }
}
