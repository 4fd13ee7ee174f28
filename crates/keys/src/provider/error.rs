//! Why a vault did not do what it was asked.

use std::time::Duration;

use strongroom_envelope::OpenError;
use strongroom_model::{AekId, ErrorKind};

use super::Answer;

/// Why a vault did not wrap, unwrap or tell. `code` is a short stable word ([`VaultError::vault_code`]), never a vault's own text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The customer took the key away: final until they give it back.
    #[error("the vault denies the key: {code}")]
    Denied {
        /// Why: `KeyDisabled`, `KeyNotFound`, `AccessDenied`, …
        code: &'static str,
    },
    /// A denial that may be ours and not the key's: a firewall, our own login.
    #[error("the vault refuses this cluster's identity or network: {code}")]
    Refused {
        /// Why: `ForbiddenByFirewall`, `Unauthorized`, `InvalidClient`, …
        code: &'static str,
    },
    /// Nobody answered, or with nothing of use: worth a retry.
    #[error("the vault gave no usable answer: {code}")]
    Unreachable {
        /// Why: `Dns`, `Timeout`, `Tls`, `Status503`, `Malformed`, …
        code: &'static str,
        /// How long the vault asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// The key's dates forbid wrapping under it. Unwrapping goes on.
    #[error("the key is outside its dates: {code}")]
    Expired {
        /// `KeyExpired` or `KeyNotYetValid`.
        code: &'static str,
    },
    /// The record names a provider that this server has no client for.
    #[error("key {aek} was wrapped by {provider}, which this server does not speak to")]
    UnknownProvider {
        /// The AEK asked for.
        aek: AekId,
        /// The provider its record names.
        provider: String,
    },
    /// The record was wrapped by another key than this client's.
    #[error("key {aek} was wrapped by another key than the one in use")]
    OtherKey {
        /// The AEK asked for.
        aek: AekId,
    },
    /// What came back is not the key that was wrapped.
    #[error("the vault's answer for key {aek} failed its check: {code}")]
    NotAuthentic {
        /// The AEK asked for.
        aek: AekId,
        /// `WrongCheckValue`, `WrongLength` or `BadParameter`.
        code: &'static str,
        /// What was wrong, where an opened record told.
        #[source]
        source: Option<OpenError>,
    },
    /// This kind of vault cannot do that.
    #[error("{provider} does not keep {what}")]
    Unsupported {
        /// The provider.
        provider: &'static str,
        /// What was asked of it.
        what: &'static str,
    },
}

impl VaultError {
    /// What retries and the gateway look at.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied { .. } | Self::Refused { .. } => ErrorKind::KeyRevoked,
            Self::Unreachable { .. } | Self::UnknownProvider { .. } | Self::OtherKey { .. } => ErrorKind::Unavailable,
            Self::Expired { .. } | Self::Unsupported { .. } => ErrorKind::Invalid,
            Self::NotAuthentic { .. } => ErrorKind::Corrupt,
        }
    }

    /// The stable code clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "CustomerKeyRevoked",
            Self::Refused { .. } => "KeyAccessLost",
            Self::Unreachable { .. } | Self::UnknownProvider { .. } | Self::OtherKey { .. } => "KeyVaultUnavailable",
            Self::Expired { .. } => "KeyExpired",
            Self::Unsupported { .. } => "NotSupported",
            Self::NotAuthentic { .. } => "IntegrityError",
        }
    }

    /// The stable word for what the vault said, or for why it did not: for logs, metrics and `key status`.
    #[must_use]
    pub const fn vault_code(&self) -> &'static str {
        match self {
            Self::Denied { code }
            | Self::Refused { code }
            | Self::Unreachable { code, .. }
            | Self::Expired { code }
            | Self::NotAuthentic { code, .. } => code,
            Self::UnknownProvider { .. } => "UnknownProvider",
            Self::OtherKey { .. } => "OtherKey",
            Self::Unsupported { .. } => "Unsupported",
        }
    }

    /// What the key state machine makes of it.
    #[must_use]
    pub const fn answer(&self) -> Answer {
        match self {
            Self::Denied { code } => Answer::Denied(code),
            Self::Refused { code } => Answer::Ambiguous(code),
            Self::NotAuthentic { .. } => Answer::Integrity,
            Self::Expired { code } => Answer::Expired(code),
            Self::Unreachable { .. } | Self::UnknownProvider { .. } | Self::OtherKey { .. } | Self::Unsupported { .. } => {
                Answer::Transient(self.vault_code())
            }
        }
    }

    /// How long the vault asked to be left alone (429 and 503 may say).
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
