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
