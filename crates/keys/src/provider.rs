//! Vaults: who wraps AEKs for us. The provider's own root key is the simplest of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_envelope::{Aek, Mmk, OpenError, RecordIds, WrappedAek};
use strongroom_model::{AekId, ErrorKind, KeyClass};
use strongroom_world::World;

/// Why a vault did not wrap or unwrap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The customer took the key away: final until they give it back.
    #[error("the vault refuses key {aek}")]
    Denied {
        /// The AEK asked for.
        aek: AekId,
    },
    /// Nobody answered: worth a retry.
    #[error("the vault of key {aek} did not answer")]
    Unreachable {
        /// The AEK asked for.
        aek: AekId,
    },
    /// The record names a provider that this server has no client for.
    #[error("key {aek} was wrapped by {provider}, which this server does not speak to")]
    UnknownProvider {
        /// The AEK asked for.
        aek: AekId,
        /// The provider its record names.
        provider: String,
    },
    /// What came back is not the key that was wrapped.
    #[error("the vault's answer for key {aek} failed its check")]
    NotAuthentic {
        /// The AEK asked for.
        aek: AekId,
        /// What was wrong.
        #[source]
        source: OpenError,
    },
}

impl VaultError {
    /// What retries and the gateway look at.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied { .. } => ErrorKind::KeyRevoked,
            Self::Unreachable { .. } | Self::UnknownProvider { .. } => ErrorKind::Unavailable,
            Self::NotAuthentic { .. } => ErrorKind::Corrupt,
        }
    }
    /// The stable code clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "CustomerKeyRevoked",
            Self::Unreachable { .. } | Self::UnknownProvider { .. } => "KeyVaultUnavailable",
            Self::NotAuthentic { .. } => "IntegrityError",
        }
    }
}

/// Uses a wrapping key on our behalf; the wrapping key itself never comes here. Start reading at [`MmkVault`].
#[async_trait]
pub trait KeyVault: fmt::Debug + Send + Sync {
    /// Who can take the wrapping key away.
    fn class(&self) -> KeyClass;
    /// The name that [`WrappedAek::provider`] carries.
    fn provider(&self) -> &'static str;
    /// How long an unwrapped AEK may be used before the vault is asked again; `None` for ever.
    fn lease(&self) -> Option<Duration>;
    /// Wraps `aek` under the newest version of the wrapping key; `ids` are authenticated along with it.
    ///
    /// # Errors
    /// [`VaultError::Denied`] once the customer took the key away, [`VaultError::Unreachable`] if nobody answered.
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError>;
    /// Reverses [`wrap_key`](Self::wrap_key) under the key version that the record names, and checks the check value.
    ///
    /// # Errors
    /// As [`wrap_key`](Self::wrap_key); [`VaultError::NotAuthentic`] if the answer is not the key that was wrapped.
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError>;
}

/// The provider's root key as a vault: always there, never asked over a network.
pub struct MmkVault {
    mmk: Arc<Mmk>,
    world: World,
}

impl MmkVault {
    /// A vault around the root key.
    #[must_use]
    pub fn new(mmk: Arc<Mmk>, world: World) -> Self {
        Self { mmk, world }
    }
}

impl fmt::Debug for MmkVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MmkVault").finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyVault for MmkVault {
    fn class(&self) -> KeyClass {
        KeyClass::Mmk
    }
    fn provider(&self) -> &'static str {
        "mmk"
    }
    fn lease(&self) -> Option<Duration> {
        None
    }
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        Ok(self.mmk.wrap_aek(self.world.rng.as_ref(), aek, ids))
    }
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        self.mmk.unwrap_aek(wrapped).map_err(|source| VaultError::NotAuthentic { aek: wrapped.ids.aek, source })
    }
}
