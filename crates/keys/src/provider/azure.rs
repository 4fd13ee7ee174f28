//! Azure Key Vault over REST: the embedded vault, or a real one.
//!
//! The wrapping key is RSA and stays there; we send 32 bytes to be wrapped and get them back, by RSA-OAEP-256 and nothing
//! else. Nothing the vault says leads us anywhere: where to log in comes from configuration and never from a 401's challenge,
//! there are no redirects, and a further page is fetched from the same place only. Every answer is sorted by
//! [`classify`](super::classify) and its text dropped. A Managed HSM speaks the same; its keys are of type RSA-HSM. Start at
//! [`AzureKeyVault`].
//!
//! ```text
//! identity ─assertion─▶ token endpoint ─token─▶ /keys/{name}/{version}/wrapkey, unwrapkey
//! ```

mod login;
mod wire;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_model::{AekId, KeyClass};
use strongroom_world::World;
use url::Url;
use zeroize::Zeroizing;

use super::call::{MALFORMED, Token, Tokens, belongs, failure, in_time, key_from_text, record, unreachable};
use super::classify::{Asked, Said, classify};
use super::{KekRef, KeyFacts, KeyVault, Provider, VaultError};
use crate::identity::ClusterIdentity;
use crate::outbound::{Body, Call, Outbound, Reply};

pub use super::validate::{KeyPermission, KeyProblem, validate};
pub use login::AzureLogin;
use wire::{Bundle, Listing, Operation, error_codes};

const PROVIDER: Provider = Provider::Azure;
/// The one way of wrapping. OAEP with SHA-1 is refused, in records too.
const ALGORITHM: &str = "RSA-OAEP-256";
const API_VERSION: &str = "api-version=7.4";
/// Pages of a listing of versions.
const PAGES_MAX: usize = 8;

/// A client of one wrapping key, logged in as one cluster.
pub struct AzureKeyVault {
    outbound: Outbound,
    identity: Arc<ClusterIdentity>,
    kek: KekRef,
    world: World,
    call_timeout: Duration,
    token_endpoint: Url,
    login: AzureLogin,
    tokens: Tokens,
}

impl AzureKeyVault {
    /// A client with 5 seconds for a call; it logs in at the vault itself.
    ///
    /// # Errors
    /// [`KekRefError`](super::KekRefError) for an address that is no key's.
    pub fn new(outbound: Outbound, identity: Arc<ClusterIdentity>, kek: KekRef, world: World) -> Result<Self, super::KekRefError> {
        kek.check()?;
        let mut token_endpoint = kek.vault_uri.clone();
        token_endpoint.set_path(&format!("{}/oauth2/v2.0/token", identity.tenant()));
        Ok(Self {
            outbound,
            identity,
            kek,
            world,
            call_timeout: Duration::from_secs(5),
            token_endpoint,
            login: AzureLogin::Cluster,
            tokens: Tokens::default(),
        })
    }

    /// With other time for a call, its login included.
    #[must_use]
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// Logs in elsewhere: a vault whose identities live at an identity provider.
    #[must_use]
    pub fn with_token_endpoint(self, token_endpoint: Url) -> Self {
        Self { token_endpoint, ..self }
    }

    /// Logs in otherwise than as the cluster itself.
    #[must_use]
    pub fn with_login(self, login: AzureLogin) -> Self {
        Self { login, ..self }
    }

    /// Which key.
    #[must_use]
    pub const fn kek(&self) -> &KekRef {
        &self.kek
    }

    /// Wraps under the pinned version, or the newest.
    async fn wrap(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        let version = match &self.kek.key_version {
            Some(version) => version.clone(),
            None => self.bundle(None).await?.version,
        };
        let reply = self.call(Asked::Wrap, &self.key_url(&format!("{version}/wrapkey")), Some(&operation(aek)), aek.id()).await?;
        let answer = Operation::read(&reply.body).ok_or(MALFORMED)?;
        let answered = self.version_of(&answer.kid).ok_or(MALFORMED)?;
        let bytes = URL_SAFE_NO_PAD.decode(answer.value).map_err(|_| MALFORMED)?;
        record(aek, ids, PROVIDER, &self.kek, answered, ALGORITHM, bytes)
    }

    async fn unwrap(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        belongs(wrapped, PROVIDER, &self.kek, ALGORITHM)?;
        let url = self.key_url(&format!("{}/unwrapkey", wrapped.key_version));
        let reply = self.call(Asked::Unwrap, &url, Some(&operation_text(&wrapped.bytes)), wrapped.ids.aek).await?;
        let answer = Operation::read(&reply.body).ok_or(MALFORMED)?;
        key_from_text(wrapped, answer.value, &URL_SAFE_NO_PAD)
    }

    async fn read_facts(&self) -> Result<KeyFacts, VaultError> {
        let newest = self.bundle(None).await?;
        let used = match &self.kek.key_version {
            Some(version) if *version != newest.version => self.bundle(Some(version)).await?,
            _ => newest.clone(),
        };
        let listed = match self.enabled_versions().await {
            Ok(versions) => Some(versions),
            Err(VaultError::Denied { .. }) => None,
            Err(error) => return Err(error),
        };
        let versions_listed = listed.is_some();
        let mut others: Vec<(String, i64)> = listed.unwrap_or_default();
        others.retain(|(version, _)| *version != used.version);
        others.sort_by_key(|(_, created)| *created);
        // In the order of their making, which a vault tells by the second: two of one second may each be the newer.
        let follows = |version: &str, created| version == newest.version || created >= used.created_s;
        let newer = others.iter().filter(|(version, created)| used.version != newest.version && follows(version, *created));
        let newer_enabled = newer.map(|(version, _)| version.clone()).collect();
        let other_enabled = others.into_iter().map(|(version, _)| version).collect();
        Ok(KeyFacts {
            newest: newest.version,
            used: used.version,
            key_type: used.key_type,
            rsa_bits: used.rsa_bits,
            unfit: None,
            enabled: used.enabled,
            not_before_ms: used.not_before_ms,
            expires_ms: used.expires_ms,
            recovery_level: used.recovery_level,
            other_enabled,
            newer_enabled,
            versions_listed,
        })
    }

    /// The newest version has an empty name.
    async fn bundle(&self, version: Option<&str>) -> Result<Bundle, VaultError> {
        let reply = self.call(Asked::Get, &self.key_url(version.unwrap_or_default()), None, AekId::NIL).await?;
        Bundle::read(&reply.body, |kid| self.version_of(kid)).ok_or(MALFORMED)
    }

    /// Each with the second it was made in.
    async fn enabled_versions(&self) -> Result<Vec<(String, i64)>, VaultError> {
        let first = self.key_url("versions");
        let mut next = Some(first.clone());
        let mut versions = Vec::new();
        for _ in 0..PAGES_MAX {
            let Some(url) = next.take() else { break };
            let reply = self.call(Asked::Get, &url, None, AekId::NIL).await?;
            let page = Listing::read(&reply.body).ok_or(MALFORMED)?;
            versions.extend(page.enabled.iter().filter_map(|(kid, created)| Some((self.version_of(kid)?, *created))));
            if let Some(link) = page.next {
                let link = Url::parse(&link).map_err(|_| MALFORMED)?;
                // It gets our token: only the same vault's same list may have it.
                if link.origin() != first.origin() || link.path() != first.path() {
                    return Err(MALFORMED);
                }
                next = Some(link);
            }
        }
        Ok(versions)
    }

    /// Makes one call, with a fresh token once if the first is not taken.
    async fn call(&self, asked: Asked, url: &Url, body: Option<&Zeroizing<String>>, aek: AekId) -> Result<Reply, VaultError> {
        let token = self.token().await?;
        let mut reply = self.send(url, &token, body).await?;
        if reply.status == 401 {
            self.tokens.forget(&token);
            reply = self.send(url, &*self.token().await?, body).await?;
        }
        let (code, inner) = error_codes(&reply.body);
        let said = Said { status: reply.status, code: code.as_deref(), inner: inner.as_deref() };
        match failure(classify(Provider::Azure, asked, said), reply.retry_after, aek) {
            None => Ok(reply),
            Some(error) => Err(error),
        }
    }

    async fn send(&self, url: &Url, token: &Token, body: Option<&Zeroizing<String>>) -> Result<Reply, VaultError> {
        let body = body.map_or(Body::None, Body::Json);
        self.outbound.send(Call { bearer: Some(token.text()), ..Call::new(url, body) }).await.map_err(unreachable)
    }

    fn key_url(&self, rest: &str) -> Url {
        let mut url = self.kek.vault_uri.clone();
        url.set_path(&format!("keys/{}/{rest}", self.kek.key_name));
        url.set_query(Some(API_VERSION));
        url
    }

    /// The version in a key identifier of this key; a vault may answer under another of its names.
    fn version_of(&self, kid: &str) -> Option<String> {
        let kid = KekRef::from_key_id(kid).ok()?;
        kid.key_version.filter(|_| kid.key_name.eq_ignore_ascii_case(&self.kek.key_name))
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, VaultError>>) -> Result<T, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, work).await
    }
}

impl fmt::Debug for AzureKeyVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureKeyVault").field("kek", &self.kek).field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyVault for AzureKeyVault {
    fn class(&self) -> KeyClass {
        KeyClass::Cmk
    }
    fn provider(&self) -> &'static str {
        PROVIDER.as_str()
    }
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        self.in_time(self.wrap(aek, ids)).await
    }
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        self.in_time(self.unwrap(wrapped)).await
    }
    async fn facts(&self) -> Result<KeyFacts, VaultError> {
        self.in_time(self.read_facts()).await
    }
    async fn newest(&self) -> Result<String, VaultError> {
        self.in_time(async { Ok(self.bundle(None).await?.version) }).await
    }
    async fn fresh(&self) {
        self.tokens.clear();
        self.outbound.forget_connections();
    }
}

fn operation(aek: &Aek) -> Zeroizing<String> {
    aek.expose(|key| operation_text(key))
}

/// The body of wrapkey and unwrapkey. Made by hand, in one wiped buffer that never grows.
fn operation_text(value: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64 + value.len().div_ceil(3) * 4));
    text.push_str(r#"{"alg":""#);
    text.push_str(ALGORITHM);
    text.push_str(r#"","value":""#);
    URL_SAFE_NO_PAD.encode_string(value, &mut text);
    text.push_str(r#""}"#);
    text
}

#[cfg(test)]
mod tests;
