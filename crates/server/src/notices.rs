//! Where the audit chain's records go: into the server's own tables, and notices to a webhook.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;
use strongroom_catalog::Catalog;
use strongroom_control::audit::{Audit, Caller, Carrier, Emit, NotTaken};
use strongroom_ingest::Intake;
use strongroom_keys::outbound::{Body, Call, Outbound};
use strongroom_keys::{KeyRing, Standing};
use strongroom_model::{ErrorKind, WorkspaceId};
use strongroom_world::World;
use url::Url;
use zeroize::Zeroizing;

use crate::{Config, ServeError};

/// The header that proves who sent a notice: `t=MILLISECONDS,v1=HEX`, HMAC-SHA-256 of `MILLISECONDS.BODY` under the secret.
const SIGNATURE: &str = "x-strongroom-signature";
/// Bytes of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=1_024;

/// Who is called when there is something that a customer should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoticesConfig {
    /// Where notices are posted, like `https://pager.example/strongroom`; empty: nowhere. Private addresses as `[outbound]` says.
    pub webhook: String,
    /// The file with the secret that signs them, 16 bytes at least; needed with a webhook.
    pub webhook_secret_file: PathBuf,
}

/// Puts rows into the server's own tables.
pub(crate) struct Rows {
    pub(crate) intake: Arc<Intake>,
    pub(crate) catalog: Catalog,
    pub(crate) keys: Arc<KeyRing>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

#[async_trait]
impl Emit for Rows {
    async fn emit(&self, workspace: WorkspaceId, table: &'static str, id: &str, row: &Value) -> Result<(), NotTaken> {
        let home = self.catalog.workspace(workspace).await.map_err(|_| NotTaken::Later)?.ok_or(NotTaken::Never)?;
        // Rows of ours are not kept for a key that is away: the chain has them.
        if self.keys.standing(home.account).is_some_and(|standing| standing != Standing::Open) {
            return Err(NotTaken::Later);
        }
        let table = table.parse().map_err(|_| NotTaken::Never)?;
        let taken = self.intake.ingest_own(workspace, table, id, Bytes::from(row.to_string())).await;
        taken.map(drop).map_err(|error| match error.kind() {
            ErrorKind::NotFound => NotTaken::Never,
            kind => {
                if !kind.is_transient() && kind != ErrorKind::KeyRevoked {
                    tracing::warn!(%workspace, code = error.code(), "a row of the server's own was not taken");
                }
                NotTaken::Later
            }
        })
    }
}

/// Posts notices.
pub(crate) struct Webhook {
    world: World,
    outbound: Outbound,
    url: Url,
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    /// The webhook of a configuration; `None` if it names none.
    pub(crate) fn open(world: &World, config: &NoticesConfig, outbound: Outbound) -> Result<Option<Arc<dyn Caller>>, ServeError> {
        if config.webhook.is_empty() {
            return Ok(None);
        }
        let bad = |why: &str| ServeError::Start { part: "webhook for notices", source: why.into() };
        let url = Url::parse(&config.webhook).map_err(|_| bad("its address is not a URL"))?;
        if url.scheme() != "https" {
            return Err(bad("its address does not begin with https://"));
        }
        let secret = world.fs.read(&config.webhook_secret_file, *SECRET_BYTES.end() as u64);
        let secret = secret.map_err(|error| ServeError::directory(&config.webhook_secret_file, error))?;
        let mut secret = Zeroizing::new(secret);
        while secret.last().is_some_and(u8::is_ascii_whitespace) {
            secret.pop();
        }
        if !SECRET_BYTES.contains(&secret.len()) {
            return Err(bad("its secret has fewer than 16 bytes"));
        }
        Ok(Some(Arc::new(Self { world: world.clone(), outbound, url, secret })))
    }

    fn signature(&self, at_ms: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(format!("{at_ms}.{body}").as_bytes());
        let mut text = format!("t={at_ms},v1=");
        for byte in mac.finalize().into_bytes() {
            write!(text, "{byte:02x}").expect("text takes everything");
        }
        text
    }
}

#[async_trait]
impl Caller for Webhook {
    async fn call(&self, notice: &Value) -> Result<(), String> {
        let body = Zeroizing::new(notice.to_string());
        let signature = self.signature(self.world.clock.wall().unix_ms(), &body);
        let call = Call { headers: &[(SIGNATURE, &signature)], ..Call::new(&self.url, Body::Json(&body)) };
        match self.outbound.send(call).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
            Ok(reply) => Err(format!("HTTP {}", reply.status)),
            Err(error) => Err(error.code().to_owned()),
        }
    }
}

/// Carries the chain's records on.
pub(crate) fn carrier(
    config: &Config,
    world: &World,
    audit: &Arc<Audit>,
    keys: &Arc<KeyRing>,
    catalog: &Catalog,
    intake: &Arc<Intake>,
) -> Result<Arc<Carrier>, ServeError> {
    let outbound = Outbound::open(world, &config.outbound, &[]).map_err(ServeError::start("outbound client"))?;
    let caller = Webhook::open(world, &config.notices, outbound)?;
    let rows = Rows { intake: Arc::clone(intake), catalog: catalog.clone(), keys: Arc::clone(keys) };
    Ok(Carrier::new(Arc::clone(audit), Arc::clone(keys), Arc::new(rows), caller))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;

    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    use serde_json::json;
    use strongroom_keys::outbound::OutboundConfig;

    use super::*;

    const SECRET: &str = "a secret of the customer";

    /// A receiver on loopback that answers each call with the next of these statuses, and hands over what came.
    fn receiver(statuses: &'static [u16]) -> (SocketAddr, String, std::thread::JoinHandle<Vec<String>>) {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for status in statuses {
                let (socket, _) = listener.accept().unwrap();
                socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
                let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&tls)).unwrap(), socket);
                let (mut text, mut buffer) = (String::new(), [0; 4_096]);
                loop {
                    let n = stream.read(&mut buffer).unwrap();
                    text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                    let Some((top, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length =
                        top.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
                    if body.len() >= length.unwrap_or(0) {
                        break;
                    }
                }
                write!(stream, "HTTP/1.1 {status} So\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
                stream.flush().unwrap();
                heard.push(text);
            }
            heard
        });
        (address, made.cert.pem(), heard)
    }

    fn webhook(dir: &Path, url: &str, pem: Option<&str>, secret: &str) -> Result<Option<Arc<dyn Caller>>, ServeError> {
        let world = World::real();
        let file = dir.join("webhook.secret");
        std::fs::write(&file, secret).unwrap();
        let outbound = OutboundConfig { allow: vec!["127.0.0.1/32".to_owned()], ..OutboundConfig::default() };
        let outbound = Outbound::open(&world, &outbound, &pem.into_iter().collect::<Vec<_>>()).unwrap();
        Webhook::open(&world, &NoticesConfig { webhook: url.to_owned(), webhook_secret_file: file }, outbound)
    }

    #[tokio::test]
    async fn a_notice_is_posted_with_a_signature_and_only_a_2xx_counts() {
        let (address, pem, heard) = receiver(&[204, 500]);
        let dir = tempfile::tempdir().unwrap();
        let hook = webhook(dir.path(), &format!("https://{address}/hook"), Some(&pem), &format!("{SECRET}\n")).unwrap().unwrap();
        let notice = json!({"Event": "key.expiring", "Details": {"days": 7}});
        hook.call(&notice).await.unwrap();
        assert_eq!(hook.call(&notice).await.unwrap_err(), "HTTP 500");
        let heard = tokio::task::spawn_blocking(|| heard.join().unwrap()).await.unwrap();
        let (top, body) = heard[0].split_once("\r\n\r\n").unwrap();
        let sent = notice.to_string();
        assert!(top.starts_with("POST /hook ") && body == sent, "{top}");
        let line = top.lines().find_map(|line| line.strip_prefix("x-strongroom-signature: ")).unwrap();
        let (at, signature) = line.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        // As a receiver checks it.
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{at}.{body}").as_bytes());
        mac.verify_slice(&hex::decode(signature).unwrap()).unwrap();
        // Nobody listens any more, and nobody is trusted who is not known.
        assert_eq!(hook.call(&notice).await.unwrap_err(), "ConnectionRefused");
    }

    #[test]
    fn a_webhook_without_tls_or_with_a_short_secret_is_refused_at_start() {
        let dir = tempfile::tempdir().unwrap();
        assert!(webhook(dir.path(), "", None, "").unwrap().is_none());
        for (url, secret) in [("http://hook.example/", SECRET), ("nonsense", SECRET), ("https://hook.example/", "short")] {
            assert!(webhook(dir.path(), url, None, secret).is_err(), "{url}");
        }
    }
}
