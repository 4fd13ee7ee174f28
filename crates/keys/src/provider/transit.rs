//! The Transit engine of OpenBao or Vault.
//!
//! The key is an AEAD key of 256 bits that stays there. We send 32 bytes to be encrypted with the ids of their record as
//! associated data, so a record that was moved opens nowhere. The version is the one in `vault:vN:`. A 403 is looked into with
//! the token's own `lookup-self`: a policy that was withdrawn is the customer's hand, a token that ended is ours. Transit makes
//! a key that is not there when it is asked to encrypt; so it is asked for the key first, and the policy we ask for has no
//! `create`. Start at [`TransitVault`].
//!
//! ```text
//! identity ─JWT─▶ auth/{mount}/login ─token─▶ {mount}/keys/{name} · encrypt · decrypt   403 ─▶ auth/token/lookup-self
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_model::{AekId, KeyClass};
use strongroom_world::World;
use url::Url;
use zeroize::Zeroizing;

use super::access::{TransitAccess, TransitLogin};
use super::call::{MALFORMED, Token, Tokens, belongs, bound_to, failure, in_time, key_from_text, record, unreachable};
use super::classify::{Asked, Said, TokenIs, classify};
use super::{KekRef, KeyFacts, KeyVault, Provider, VaultError};
use crate::identity::ClusterIdentity;
use crate::outbound::{Body, Call, Outbound, Reply};

const PROVIDER: Provider = Provider::Transit;
/// Whichever AEAD the key is of, its ciphertext says.
const ALGORITHM: &str = "TRANSIT-AEAD";
/// Types that authenticate associated data.
const TYPES: [&str; 3] = ["aes256-gcm96", "chacha20-poly1305", "xchacha20-poly1305"];

/// A client of one Transit key, logged in as one cluster.
pub struct TransitVault {
    outbound: Outbound,
    identity: Arc<ClusterIdentity>,
    kek: KekRef,
    world: World,
    access: TransitAccess,
    call_timeout: Duration,
    tokens: Tokens,
}

/// What the server says of a key.
#[derive(Deserialize)]
struct Answered<T> {
    data: T,
}

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the server's own flags")]
struct Key {
    #[serde(rename = "type")]
    kind: String,
    /// The versions that decrypt.
    keys: BTreeMap<String, Value>,
    latest_version: u64,
    #[serde(default)]
    derived: bool,
    #[serde(default)]
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
    #[serde(default)]
    deletion_allowed: bool,
    #[serde(default)]
    soft_deleted: bool,
    #[serde(default = "yes")]
    supports_encryption: bool,
    #[serde(default = "yes")]
    supports_decryption: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
}

/// Base64 needs no escapes in JSON, so it can be borrowed and no copy of a key is left behind.
#[derive(Deserialize)]
struct Decrypted<'a> {
    plaintext: &'a str,
}

#[derive(Deserialize)]
struct LoggedIn {
    auth: Granted,
}

#[derive(Deserialize)]
struct Granted {
    client_token: String,
    lease_duration: u64,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl TransitVault {
    /// A client with 5 seconds for a call.
    ///
    /// # Errors
    /// [`KekRefError`](super::KekRefError) for an address that is no key's.
    pub fn new(
        outbound: Outbound,
        identity: Arc<ClusterIdentity>,
        kek: KekRef,
        access: TransitAccess,
        world: World,
    ) -> Result<Self, super::KekRefError> {
        kek.check()?;
        let call_timeout = Duration::from_secs(5);
        Ok(Self { outbound, identity, kek, world, access, call_timeout, tokens: Tokens::default() })
    }

    /// With other time for a call, its login included.
    #[must_use]
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    async fn wrap(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        // Also for a pinned version: an encryption under a key that is not there would make one.
        let key = self.key(aek.id()).await?;
        let version = self.kek.key_version.as_ref().map_or(Ok(key.latest_version), |version| version.parse());
        let version = version.map_err(|_| VaultError::Denied { code: "KeyNotFound" })?;
        let text = aek.expose(|bytes| encryption(bytes, ids, version));
        let reply = self.call(Asked::Wrap, "encrypt", Some(&text), aek.id()).await?;
        let answer: Answered<Encrypted> = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        let ciphertext = answer.data.ciphertext;
        let answered = version_of(&ciphertext).ok_or(MALFORMED)?.to_owned();
        record(aek, ids, PROVIDER, &self.kek, answered, ALGORITHM, ciphertext.into_bytes())
    }

    async fn unwrap(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        belongs(wrapped, PROVIDER, &self.kek, ALGORITHM)?;
        let wrong = |code| VaultError::NotAuthentic { aek: wrapped.ids.aek, code, source: None };
        let ciphertext = std::str::from_utf8(&wrapped.bytes).map_err(|_| wrong("WrongCiphertext"))?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'+' | b'/' | b'=');
        if !ciphertext.bytes().all(plain) {
            return Err(wrong("WrongCiphertext"));
        }
        // The record is what says which version is polled; its bytes must not say another.
        if version_of(ciphertext) != Some(&*wrapped.key_version) {
            return Err(wrong("WrongVersion"));
        }
        let bound = STANDARD.encode(bound_to(&wrapped.ids));
        let text = Zeroizing::new(format!(r#"{{"ciphertext":"{ciphertext}","associated_data":"{bound}"}}"#));
        let reply = self.call(Asked::Unwrap, "decrypt", Some(&text), wrapped.ids.aek).await?;
        let answer: Answered<Decrypted<'_>> = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        key_from_text(wrapped, answer.data.plaintext, &STANDARD)
    }

    async fn key(&self, aek: AekId) -> Result<Key, VaultError> {
        let reply = self.call(Asked::Get, "keys", None, aek).await?;
        let answer: Answered<Key> = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        Ok(answer.data)
    }

    async fn read_facts(&self) -> Result<KeyFacts, VaultError> {
        let key = self.key(AekId::NIL).await?;
        let newest = key.latest_version.to_string();
        let used = self.kek.key_version.clone().unwrap_or_else(|| newest.clone());
        if used.parse().is_ok_and(|used: u64| used == 0 || used > key.latest_version) || used.parse::<u64>().is_err() {
            return Err(VaultError::Denied { code: "KeyNotFound" });
        }
        let unfit = if !TYPES.contains(&&*key.kind) {
            Some("its type is not aes256-gcm96 or chacha20-poly1305")
        } else if key.derived {
            Some("it is a derived key")
        } else if key.exportable || key.allow_plaintext_backup {
            Some("it can be exported or backed up in plain text")
        } else {
            None
        };
        let number = |version: &String| version.parse().unwrap_or(0_u64);
        let mut newer_enabled: Vec<String> = key.keys.keys().filter(|version| number(version) > number(&used)).cloned().collect();
        newer_enabled.sort_by_key(number);
        Ok(KeyFacts {
            newer_enabled,
            enabled: !key.soft_deleted && key.keys.contains_key(&used) && key.supports_encryption && key.supports_decryption,
            other_enabled: key.keys.into_keys().filter(|version| *version != used).collect(),
            newest,
            used,
            key_type: key.kind,
            rsa_bits: 0,
            unfit: unfit.map(str::to_owned),
            not_before_ms: None,
            expires_ms: None,
            recovery_level: if key.deletion_allowed { "Purgeable" } else { "Recoverable" }.to_owned(),
            versions_listed: true,
        })
    }

    /// Makes one call, with a fresh token once if it was the token that was not taken.
    async fn call(&self, asked: Asked, operation: &str, body: Option<&Zeroizing<String>>, aek: AekId) -> Result<Reply, VaultError> {
        let url = self.url(&format!("{}/{operation}/{}", self.access.mount, self.kek.key_name));
        let mut token = self.token().await?;
        let mut reply = self.send(&url, &token, body).await?;
        let mut is = None;
        if reply.status == 403 {
            is = Some(self.token_is(&token).await?);
            if is == Some(TokenIs::Refused) && matches!(self.access.login, TransitLogin::Jwt { .. }) {
                self.tokens.forget(&token);
                token = self.token().await?;
                reply = self.send(&url, &token, body).await?;
                is = if reply.status == 403 { Some(self.token_is(&token).await?) } else { None };
            }
        }
        let text = first_error(&reply.body);
        let said = Said { status: reply.status, code: text.as_deref(), inner: is.map(TokenIs::word) };
        match failure(classify(PROVIDER, asked, said), reply.retry_after, aek) {
            None => Ok(reply),
            Some(error) => Err(error),
        }
    }

    /// What the server makes of the token itself.
    async fn token_is(&self, token: &Token) -> Result<TokenIs, VaultError> {
        let reply = self.send(&self.url("auth/token/lookup-self"), token, None).await?;
        match (reply.status, first_error(&reply.body)) {
            (200, _) => Ok(TokenIs::Good),
            (403, Some(_)) => Ok(TokenIs::Refused),
            (status, text) => {
                let said = Said { status, code: text.as_deref(), inner: None };
                Err(failure(classify(PROVIDER, Asked::Token, said), reply.retry_after, AekId::NIL).unwrap_or(MALFORMED))
            }
        }
    }

    async fn send(&self, url: &Url, token: &Token, body: Option<&Zeroizing<String>>) -> Result<Reply, VaultError> {
        let headers = [("x-vault-token", token.text()), ("x-vault-request", "true")];
        let body = body.map_or(Body::None, Body::Json);
        self.outbound.send(Call { headers: &headers, ..Call::new(url, body) }).await.map_err(unreachable)
    }

    /// The token in hand, or a new one.
    async fn token(&self) -> Result<Arc<Token>, VaultError> {
        let boot = self.world.clock.boot();
        if let Some(token) = self.tokens.in_hand(boot) {
            return Ok(token);
        }
        let token = match &self.access.login {
            TransitLogin::Token(secret) => Token::granted(Zeroizing::new(secret.text().to_owned()), boot, 0)?,
            TransitLogin::Jwt { mount, role, audience } => {
                let own = self.kek.vault_uri.as_str().trim_end_matches('/');
                let unsigned = |_| VaultError::Unreachable { code: "LoginNotSigned", retry_after: None };
                let (wall, rng) = (self.world.clock.wall(), self.world.rng.as_ref());
                let jwt = self.identity.assertion(audience.as_deref().unwrap_or(own), wall, rng).map_err(unsigned)?;
                // A role is letters, digits, hyphens; a JWT base64url and dots: neither needs an escape.
                let text = Zeroizing::new(format!(r#"{{"role":"{role}","jwt":"{}"}}"#, *jwt));
                let url = self.url(&format!("auth/{mount}/login"));
                let reply = self.outbound.send(Call::new(&url, Body::Json(&text))).await.map_err(unreachable)?;
                let text = first_error(&reply.body);
                let said = Said { status: reply.status, code: text.as_deref(), inner: None };
                if let Some(error) = failure(classify(PROVIDER, Asked::Token, said), reply.retry_after, AekId::NIL) {
                    return Err(error);
                }
                let LoggedIn { auth } = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
                Token::granted(Zeroizing::new(auth.client_token), boot, auth.lease_duration)?
            }
        };
        Ok(self.tokens.keep(token))
    }

    fn url(&self, rest: &str) -> Url {
        let mut url = self.kek.vault_uri.clone();
        url.set_path(&format!("v1/{rest}"));
        url
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, VaultError>>) -> Result<T, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, work).await
    }
}

impl fmt::Debug for TransitVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitVault").field("kek", &self.kek).field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyVault for TransitVault {
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
        self.in_time(async { Ok(self.key(AekId::NIL).await?.latest_version.to_string()) }).await
    }
    async fn fresh(&self) {
        self.tokens.clear();
        self.outbound.forget_connections();
    }
}

/// The body of an encryption. Made by hand, in one wiped buffer that never grows.
fn encryption(plain: &[u8], ids: &RecordIds, version: u64) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str("{\"plaintext\":\"");
    STANDARD.encode_string(plain, &mut text);
    text.push_str("\",\"associated_data\":\"");
    STANDARD.encode_string(bound_to(ids), &mut text);
    text.push_str("\",\"key_version\":");
    text.push_str(&version.to_string());
    text.push('}');
    text
}

/// The version in `vault:vN:…`.
fn version_of(ciphertext: &str) -> Option<&str> {
    let (version, _) = ciphertext.strip_prefix("vault:v")?.split_once(':')?;
    (!version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())).then_some(version)
}

/// The first of `errors`, empty if there is none; `None` from a body that is no error body.
fn first_error(body: &[u8]) -> Option<String> {
    let Errors { errors } = serde_json::from_slice(body).ok()?;
    Some(errors.into_iter().next().unwrap_or_default())
}
