//! What all clients of vaults do alike: bound a call and count its answer, keep a token, check a record before it is sent and a
//! key after it came.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::GeneralPurpose;
use parking_lot::Mutex;
use strongroom_envelope::{Aek, RecordIds, WrappedAek};
use strongroom_model::AekId;
use strongroom_world::BootTime;
use zeroize::Zeroizing;

use super::kek::is_segment;
use super::{Answer, KekRef, Provider, VaultError};
use crate::outbound::OutboundError;

/// Bytes of a wrapped key at most: RSA-8192.
pub(super) const WRAPPED_MAX: usize = 1024;
/// A token is not used in its last minute.
const MARGIN: Duration = Duration::from_mins(1);
/// However long it says it lives.
const LIFE_MAX: Duration = Duration::from_hours(24);
/// Bytes of a token at most.
const TOKEN_MAX: usize = 16 << 10;

pub(super) const MALFORMED: VaultError = VaultError::Unreachable { code: "Malformed", retry_after: None };

pub(super) fn unreachable(error: OutboundError) -> VaultError {
    VaultError::Unreachable { code: error.code(), retry_after: None }
}

/// The error that an answer is; `None` for a good one.
pub(super) fn failure(answer: Answer, retry_after: Option<Duration>, aek: AekId) -> Option<VaultError> {
    match answer {
        Answer::Good => None,
        Answer::Transient(code) => Some(VaultError::Unreachable { code, retry_after }),
        Answer::Denied(code) => Some(VaultError::Denied { code }),
        Answer::Ambiguous(code) => Some(VaultError::Refused { code }),
        Answer::Expired(code) => Some(VaultError::Expired { code }),
        Answer::Integrity => Some(VaultError::NotAuthentic { aek, code: "BadParameter", source: None }),
    }
}

/// Bounds a call in time, counts what came of it and logs what did not: the word for the answer and nothing of its text.
pub(super) async fn in_time<T>(
    provider: Provider,
    kek: &KekRef,
    timeout: Duration,
    work: impl Future<Output = Result<T, VaultError>>,
) -> Result<T, VaultError> {
    let timed_out = |_| VaultError::Unreachable { code: "Timeout", retry_after: None };
    let done = tokio::time::timeout(timeout, work).await.map_err(timed_out).flatten();
    let answer = done.as_ref().map_or_else(VaultError::answer, |_| Answer::Good);
    metrics::counter!("keys_vault_answers_total", "provider" => provider.as_str(), "class" => answer.class(), "code" => answer.code())
        .increment(1);
    if answer != Answer::Good {
        tracing::warn!(%kek, %provider, class = answer.class(), code = answer.code(), "a vault call came to nothing");
    }
    done
}

/// Whether a record is one that this key may be asked about: nothing in it may lead a call elsewhere.
pub(super) fn belongs(wrapped: &WrappedAek, provider: Provider, kek: &KekRef, algorithm: &str) -> Result<(), VaultError> {
    let aek = wrapped.ids.aek;
    if wrapped.provider != provider.as_str() {
        return Err(VaultError::UnknownProvider { aek, provider: wrapped.provider.clone() });
    }
    if wrapped.key_uri != kek.key_uri() {
        return Err(VaultError::OtherKey { aek });
    }
    let wrong = |code| Err(VaultError::NotAuthentic { aek, code, source: None });
    if wrapped.algorithm != algorithm {
        return wrong("WrongAlgorithm");
    }
    if !is_segment(&wrapped.key_version) {
        return wrong("WrongVersion");
    }
    if wrapped.bytes.is_empty() || wrapped.bytes.len() > WRAPPED_MAX {
        return wrong("WrongLength");
    }
    Ok(())
}

/// A record of what a vault wrapped.
pub(super) fn record(
    aek: &Aek,
    ids: &RecordIds,
    provider: Provider,
    kek: &KekRef,
    version: String,
    algorithm: &str,
    bytes: Vec<u8>,
) -> Result<WrappedAek, VaultError> {
    if !is_segment(&version) || bytes.is_empty() || bytes.len() > WRAPPED_MAX {
        return Err(MALFORMED);
    }
    Ok(WrappedAek {
        ids: *ids,
        provider: provider.as_str().to_owned(),
        key_uri: kek.key_uri(),
        key_version: version,
        algorithm: algorithm.to_owned(),
        bytes,
        kcv: aek.key_check_value(ids),
    })
}

/// The key that a vault gave back, if it is the one that was wrapped.
pub(super) fn key_of(wrapped: &WrappedAek, bytes: &[u8]) -> Result<Aek, VaultError> {
    let aek = wrapped.ids.aek;
    let wrong = |code| VaultError::NotAuthentic { aek, code, source: None };
    let bytes = bytes.first_chunk::<32>().filter(|_| bytes.len() == 32).ok_or_else(|| wrong("WrongLength"))?;
    let key = Aek::from_bytes(aek, *bytes);
    if key.has_check_value(&wrapped.ids, &wrapped.kcv) { Ok(key) } else { Err(wrong("WrongCheckValue")) }
}

/// Likewise, from an answer's text.
pub(super) fn key_from_text(wrapped: &WrappedAek, text: &str, engine: &GeneralPurpose) -> Result<Aek, VaultError> {
    // A few bytes more than a key: decoding wants the room before it knows the length.
    let mut bytes = Zeroizing::new([0; 48]);
    match engine.decode_slice(text, bytes.as_mut_slice()) {
        Ok(len) => key_of(wrapped, bytes.get(..len).unwrap_or_default()),
        Err(base64::DecodeSliceError::DecodeError(_)) => Err(MALFORMED),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => {
            Err(VaultError::NotAuthentic { aek: wrapped.ids.aek, code: "WrongLength", source: None })
        }
    }
}

/// The ids of a record as bytes that a vault authenticates along with a key.
pub(super) fn bound_to(ids: &RecordIds) -> Vec<u8> {
    let mut bytes = b"strongroom/aek/v1".to_vec();
    for id in [ids.cluster.as_bytes(), ids.account.as_bytes(), ids.aek.as_bytes()] {
        bytes.extend_from_slice(&id[..]);
    }
    bytes.extend_from_slice(&ids.generation.to_le_bytes());
    bytes
}

/// A bearer token. Wiped on drop.
pub(super) struct Token {
    text: Zeroizing<String>,
    until: BootTime,
}

impl Token {
    /// A token that was granted at `boot` for so many seconds; 0 for one without an end.
    pub(super) fn granted(text: Zeroizing<String>, boot: BootTime, seconds: u64) -> Result<Self, VaultError> {
        if text.is_empty() || text.len() > TOKEN_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(MALFORMED);
        }
        let life = if seconds == 0 { LIFE_MAX } else { Duration::from_secs(seconds).min(LIFE_MAX) };
        Ok(Self { text, until: boot.after(life.saturating_sub(MARGIN)) })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// The token in hand.
#[derive(Default)]
pub(super) struct Tokens {
    kept: Mutex<Option<Arc<Token>>>,
}

impl Tokens {
    /// The token in hand, while it lives.
    pub(super) fn in_hand(&self, boot: BootTime) -> Option<Arc<Token>> {
        self.kept.lock().clone().filter(|token| boot < token.until)
    }

    pub(super) fn keep(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        *self.kept.lock() = Some(Arc::clone(&token));
        token
    }

    /// Drops a token that was not taken, unless a newer one has come meanwhile.
    pub(super) fn forget(&self, token: &Arc<Token>) {
        let mut kept = self.kept.lock();
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, token)) {
            *kept = None;
        }
    }

    pub(super) fn clear(&self) {
        *self.kept.lock() = None;
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
