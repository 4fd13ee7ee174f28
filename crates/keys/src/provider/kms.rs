//! AWS KMS.
//!
//! The key is symmetric and stays there. We send 32 bytes to be encrypted with the ids of their record as encryption context:
//! authenticated, and shown in the customer's CloudTrail. Every decryption names the key, so no other key of the account will
//! do. KMS rotates inside a key and shows no versions: a record's version is always `managed`, there is nothing to follow and
//! nothing to pin (a pinned version is refused when the key is set); old material goes on decrypting until the key goes. A key
//! is named by its id, never by an alias, which somebody could point elsewhere. Start at [`AwsKms`].

mod sign;

use std::fmt::{self, Write as _};
use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_model::{AekId, KeyClass};
use strongroom_world::{BootTime, World};
use zeroize::Zeroizing;

use super::access::AwsAccess;
use super::call::{MALFORMED, belongs, failure, in_time, key_from_text, record, unreachable};
use super::classify::{Answer, Asked, Said, classify};
use super::{KekRef, KeyFacts, KeyVault, Provider, VaultError};
use crate::outbound::{Body, Call, Outbound, Reply};

const PROVIDER: Provider = Provider::AwsKms;
const ALGORITHM: &str = "SYMMETRIC_DEFAULT";
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
/// The one version there is, as far as anybody is told.
const VERSION: &str = "managed";

/// A client of one KMS key.
pub struct AwsKms {
    outbound: Outbound,
    kek: KekRef,
    world: World,
    access: AwsAccess,
    call_timeout: Duration,
    settled: BootTime,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encrypted {
    ciphertext_blob: String,
    key_id: String,
}

/// Base64 needs no escapes in JSON, so it can be borrowed and no copy of a key is left behind.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Decrypted<'a> {
    plaintext: &'a str,
    key_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    key_spec: String,
    key_usage: String,
    key_state: String,
    key_manager: String,
    /// Seconds since 1970, of imported material that ends.
    #[serde(default)]
    valid_to: Option<f64>,
}

/// A message is looked at where a name alone does not tell; it goes no further.
#[derive(Deserialize)]
struct Failed {
    #[serde(rename = "__type")]
    kind: String,
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl AwsKms {
    /// A client with 5 seconds for a call.
    ///
    /// # Errors
    /// [`KekRefError`](super::KekRefError) for an address that is no key's.
    pub fn new(outbound: Outbound, kek: KekRef, access: AwsAccess, world: World) -> Result<Self, super::KekRefError> {
        kek.check()?;
        let settled = world.clock.boot();
        let call_timeout = Duration::from_secs(5);
        Ok(Self { outbound, kek, world, access, call_timeout, settled })
    }

    /// With other time for a call.
    #[must_use]
    pub fn with_call_timeout(self, call_timeout: Duration) -> Self {
        Self { call_timeout, ..self }
    }

    /// For so long from now a missing key or permission is taken for one that has not come about everywhere yet: KMS is
    /// eventually consistent.
    #[must_use]
    pub fn with_settling(self, settling: Duration) -> Self {
        Self { settled: self.world.clock.boot().after(settling), ..self }
    }

    async fn wrap(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        let text = aek.expose(|bytes| self.operation("Plaintext", bytes, ids));
        let reply = self.call(Asked::Wrap, "Encrypt", &text, aek.id()).await?;
        let answer: Encrypted = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        let bytes = STANDARD.decode(answer.ciphertext_blob).map_err(|_| MALFORMED)?;
        if !self.is_this_key(&answer.key_id) {
            return Err(MALFORMED);
        }
        record(aek, ids, PROVIDER, &self.kek, VERSION.to_owned(), ALGORITHM, bytes)
    }

    async fn unwrap(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        belongs(wrapped, PROVIDER, &self.kek, ALGORITHM)?;
        let text = self.operation("CiphertextBlob", &wrapped.bytes, &wrapped.ids);
        let reply = self.call(Asked::Unwrap, "Decrypt", &text, wrapped.ids.aek).await?;
        let answer: Decrypted<'_> = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        if !self.is_this_key(&answer.key_id) {
            return Err(MALFORMED);
        }
        key_from_text(wrapped, answer.plaintext, &STANDARD)
    }

    async fn read_facts(&self) -> Result<KeyFacts, VaultError> {
        let text = Zeroizing::new(format!(r#"{{"KeyId":"{}"}}"#, self.kek.key_name));
        let reply = self.call(Asked::Get, "DescribeKey", &text, AekId::NIL).await?;
        let Described { key_metadata: key } = serde_json::from_slice(&reply.body).map_err(|_| MALFORMED)?;
        let unfit = if self.kek.key_version.is_some() {
            Some("AWS KMS has no key versions: give none")
        } else if key.key_spec != ALGORITHM || key.key_usage != "ENCRYPT_DECRYPT" {
            Some("it is not a symmetric key for encryption")
        } else if key.key_manager != "CUSTOMER" {
            Some("AWS manages it: a customer could not take it away")
        } else {
            None
        };
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a date")]
        let ms = |seconds: f64| (seconds * 1_000.0) as i64;
        Ok(KeyFacts {
            newest: VERSION.to_owned(),
            used: VERSION.to_owned(),
            key_type: key.key_spec,
            rsa_bits: 0,
            unfit: unfit.map(str::to_owned),
            enabled: key.key_state == "Enabled",
            not_before_ms: None,
            expires_ms: key.valid_to.map(ms),
            // No key goes without a week's waiting, in which the deletion can be cancelled.
            recovery_level: "Recoverable".to_owned(),
            other_enabled: Vec::new(),
            newer_enabled: Vec::new(),
            versions_listed: true,
        })
    }

    async fn call(&self, asked: Asked, action: &str, body: &Zeroizing<String>, aek: AekId) -> Result<Reply, VaultError> {
        let reply = self.send(action, body).await?;
        let failed: Option<Failed> = serde_json::from_slice(&reply.body).ok();
        let said = Said {
            status: reply.status,
            code: failed.as_ref().map(|failed| failed.kind.as_str()),
            inner: failed.as_ref().and_then(|failed| failed.message.as_deref()),
        };
        let mut answer = classify(PROVIDER, asked, said);
        if matches!(answer, Answer::Denied("AccessDenied" | "KeyNotFound")) && self.world.clock.boot() < self.settled {
            answer = Answer::Transient("Settling");
        }
        match failure(answer, reply.retry_after, aek) {
            None => Ok(reply),
            Some(error) => Err(error),
        }
    }

    async fn send(&self, action: &str, body: &Zeroizing<String>) -> Result<Reply, VaultError> {
        let url = &self.kek.vault_uri;
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (host, _) => host.unwrap_or_default().to_owned(),
        };
        let target = format!("TrentService.{action}");
        let signed = sign::sign(&self.access, "kms", &host, MEDIA_TYPE, &target, body.as_bytes(), self.world.clock.wall());
        let mut headers = vec![("x-amz-target", &*target), ("x-amz-date", &*signed.date), ("authorization", &*signed.authorization)];
        headers.extend(self.access.session_token.as_ref().map(|token| ("x-amz-security-token", token.text())));
        self.outbound.send(Call { headers: &headers, ..Call::new(url, Body::Typed(MEDIA_TYPE, body)) }).await.map_err(unreachable)
    }

    /// The body of an encryption or decryption. Made by hand, in one wiped buffer that never grows.
    fn operation(&self, field: &str, value: &[u8], ids: &RecordIds) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(1_024 + value.len().div_ceil(3) * 4));
        text.push_str("{\"KeyId\":\"");
        text.push_str(&self.kek.key_name);
        text.push_str("\",\"");
        text.push_str(field);
        text.push_str("\":\"");
        STANDARD.encode_string(value, &mut text);
        text.push_str("\",\"EncryptionContext\":{");
        let RecordIds { cluster, account, aek, generation } = ids;
        for (name, id) in [("cluster", cluster.to_string()), ("account", account.to_string()), ("aek", aek.to_string())] {
            write!(text, r#""strongroom:{name}":"{id}","#).expect("a string takes text");
        }
        write!(text, r#""strongroom:generation":"{generation}"}}}}"#).expect("a string takes text");
        text
    }

    /// Whether an answer's key, an ARN, is this client's.
    fn is_this_key(&self, arn: &str) -> bool {
        arn.rsplit('/').next().is_some_and(|id| id == self.kek.key_name)
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, VaultError>>) -> Result<T, VaultError> {
        in_time(PROVIDER, &self.kek, self.call_timeout, work).await
    }
}

impl fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKms").field("kek", &self.kek).finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyVault for AwsKms {
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
        Ok(VERSION.to_owned())
    }
    async fn fresh(&self) {
        self.outbound.forget_connections();
    }
}

#[cfg(test)]
mod tests;
