//! Vaults: who wraps AEKs for us. The provider's own root key is the simplest of them.
//!
//! A vault client asks and says what came of it; what follows from an answer is [`state`](crate::state)'s to decide, and how
//! answers sort is in [`classify`].
//!
//! ```text
//! KeyVault ─ MmkVault                 the root key in the config directory
//!          ├ azure::AzureKeyVault     Azure Key Vault REST: the embedded vault, a real one, a Managed HSM
//!          ├ transit::TransitVault    OpenBao, Vault
//!          ├ kms::AwsKms              AWS KMS
//!          └ pkcs11::Pkcs11Vault      a token behind a PKCS#11 module
//! ```

pub mod access;
pub mod azure;
mod call;
pub mod classify;
mod error;
mod kek;
pub mod kms;
pub mod memory;
pub mod pkcs11;
pub mod transit;
mod validate;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use strongroom_envelope::{Aek, Mmk, RecordIds, WrappedAek};
use strongroom_model::KeyClass;
use strongroom_world::World;

pub use classify::Answer;
pub use error::VaultError;
pub use kek::{KekRef, KekRefError, KeyFacts};
pub use validate::{KeyPermission, KeyProblem, validate};

/// The kinds of vaults that a customer's key may lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Azure Key Vault or Managed HSM; the embedded vault speaks the same.
    Azure,
    /// The Transit engine of OpenBao or Vault.
    Transit,
    /// AWS KMS.
    AwsKms,
    /// A token behind a PKCS#11 module.
    Pkcs11,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Azure, Self::Transit, Self::AwsKms, Self::Pkcs11];

    /// As configurations, reference objects and key records name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Transit => "transit",
            Self::AwsKms => "aws-kms",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.as_str() == name)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Uses a wrapping key on our behalf; the wrapping key itself never comes here. Start reading at [`MmkVault`].
#[async_trait]
pub trait KeyVault: fmt::Debug + Send + Sync {
    /// Who can take the wrapping key away.
    fn class(&self) -> KeyClass;
    /// The name that [`WrappedAek::provider`] carries.
    fn provider(&self) -> &'static str;
    /// Wraps `aek` under the newest version of the wrapping key, or the pinned one; `ids` are authenticated along with it. The
    /// record carries the version that the vault answered.
    ///
    /// # Errors
    /// [`VaultError::Denied`] once the customer took the key away, [`VaultError::Refused`] if the vault refuses us and not the
    /// key, [`VaultError::Unreachable`] if nobody answered, [`VaultError::Expired`] outside the key's dates.
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError>;
    /// Reverses [`wrap_key`](Self::wrap_key) under the key version that the record names, and checks the check value.
    ///
    /// # Errors
    /// As [`wrap_key`](Self::wrap_key); [`VaultError::NotAuthentic`] if the answer is not the key that was wrapped,
    /// [`VaultError::OtherKey`] if another wrapping key made the record.
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError>;
    /// What the vault says of the wrapping key. Proves nothing about being able to unwrap.
    ///
    /// # Errors
    /// As [`wrap_key`](Self::wrap_key); [`VaultError::Unsupported`] from a vault that keeps no such facts.
    async fn facts(&self) -> Result<KeyFacts, VaultError>;
    /// The newest version of the wrapping key.
    ///
    /// # Errors
    /// As [`facts`](Self::facts).
    async fn newest(&self) -> Result<String, VaultError>;
    /// Forgets the login and every open connection, so that the next call makes both anew: before a confirming call.
    async fn fresh(&self);
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
    async fn wrap_key(&self, aek: &Aek, ids: &RecordIds) -> Result<WrappedAek, VaultError> {
        Ok(self.mmk.wrap_aek(self.world.rng.as_ref(), aek, ids))
    }
    async fn unwrap_key(&self, wrapped: &WrappedAek) -> Result<Aek, VaultError> {
        let damaged = |source| VaultError::NotAuthentic { aek: wrapped.ids.aek, code: "WrongCheckValue", source: Some(source) };
        self.mmk.unwrap_aek(wrapped).map_err(damaged)
    }
    async fn facts(&self) -> Result<KeyFacts, VaultError> {
        Err(VaultError::Unsupported { provider: self.provider(), what: "facts about its key" })
    }
    async fn newest(&self) -> Result<String, VaultError> {
        Err(VaultError::Unsupported { provider: self.provider(), what: "versions of its key" })
    }
    async fn fresh(&self) {}
}
