//! Logging in: a signed assertion for a token (RFC 7523), kept until shortly before it ends.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use strongroom_model::AekId;
use strongroom_world::{BootTime, WallTime};
use zeroize::Zeroizing;

use super::{AzureKeyVault, MALFORMED, failure, unreachable};
use crate::outbound::{Body, Call};
use crate::provider::classify::{Asked, Said, classify};
use crate::provider::{Provider, VaultError};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A token is not used in its last minute.
const MARGIN: Duration = Duration::from_mins(1);
/// However long it says it lives.
const LIFE_MAX: Duration = Duration::from_hours(24);
/// Bytes of a token at most.
const TOKEN_MAX: usize = 16 << 10;

/// A bearer token. Wiped on drop.
pub(super) struct Token {
    text: Zeroizing<String>,
    until: BootTime,
}

impl Token {
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// RFC 6749 §5.1. Some endpoints write the number as text.
#[derive(Deserialize)]
struct Granted<'a> {
    access_token: String,
    #[serde(borrow)]
    expires_in: Seconds<'a>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds<'a> {
    Number(u64),
    Text(&'a str),
}

/// RFC 6749 §5.2.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

impl AzureKeyVault {
    /// The token in hand, or a new one.
    pub(super) async fn token(&self) -> Result<Arc<Token>, VaultError> {
        let (boot, wall) = (self.world.clock.boot(), self.world.clock.wall());
        let kept = self.token.lock().clone();
        if let Some(token) = kept.filter(|token| boot < token.until) {
            return Ok(token);
        }
        let token = Arc::new(self.log_in(boot, wall).await?);
        *self.token.lock() = Some(Arc::clone(&token));
        Ok(token)
    }

    /// Drops a token that was not taken, unless a newer one has come meanwhile.
    pub(super) fn forget(&self, token: &Arc<Token>) {
        let mut kept = self.token.lock();
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, token)) {
            *kept = None;
        }
    }

    async fn log_in(&self, boot: BootTime, wall: WallTime) -> Result<Token, VaultError> {
        let unsigned = |_| VaultError::Unreachable { code: "LoginNotSigned", retry_after: None };
        let assertion = self.identity.assertion(self.token_endpoint.as_str(), wall, self.world.rng.as_ref()).map_err(unsigned)?;
        let client_id = self.identity.principal().to_string();
        let scope = format!("{}.default", self.kek.vault_uri);
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id.as_str()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.as_str()),
            ("scope", scope.as_str()),
        ];
        let call = Call { url: &self.token_endpoint, bearer: None, headers: &[], body: Body::Form(&fields) };
        let reply = self.outbound.send(call).await.map_err(unreachable)?;
        let refused: Option<Refused> = serde_json::from_slice(&reply.body).ok();
        let said = Said { status: reply.status, code: refused.as_ref().map(|refused| refused.error.as_str()), inner: None };
        if let Some(error) = failure(classify(Provider::Azure, Asked::Token, said), reply.retry_after, AekId::NIL) {
            return Err(error);
        }
        let granted: Granted<'_> = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        let text = Zeroizing::new(granted.access_token);
        if text.is_empty() || text.len() > TOKEN_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MALFORMED);
        }
        let seconds = match granted.expires_in {
            Seconds::Number(seconds) => seconds,
            Seconds::Text(text) => text.parse().map_err(|_| MALFORMED)?,
        };
        let life = Duration::from_secs(seconds).min(LIFE_MAX);
        Ok(Token { text, until: boot.after(life.saturating_sub(MARGIN)) })
    }
}
