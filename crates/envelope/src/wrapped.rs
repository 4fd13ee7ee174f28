//! The wrapped-AEK record: all that is ever stored of an AEK.

use serde::{Deserialize, Serialize};
use strongroom_model::{AccountId, AekId, ObjectId};

use crate::OpenError;

/// What an AEK's check value is computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RecordIds {
    /// The cluster, or NIL for the shared account.
    pub cluster: ObjectId,
    /// The storage account.
    pub account: AccountId,
    /// The AEK.
    pub aek: AekId,
    /// Counts up with every re-wrap.
    pub generation: u64,
}

/// An AEK as a vault (or the MMK) wrapped it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrappedAek {
    /// Whose key it is, and which wrapping of it.
    pub ids: RecordIds,
    /// Who wrapped it: `mmk`, or a vault provider's name.
    pub provider: String,
    /// The wrapping key's address; empty for the MMK.
    pub key_uri: String,
    /// The wrapping key's version as the vault answered.
    pub key_version: String,
    /// How it was wrapped: `MMK-C2SP`, `RSA-OAEP-256`, …
    pub algorithm: String,
    /// The wrapped key.
    pub bytes: Vec<u8>,
    /// Key check value: HMAC-SHA-256 under the AEK over all ids.
    pub kcv: [u8; 32],
}

impl WrappedAek {
    /// The record's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
    /// Reads a record.
    ///
    /// # Errors
    /// [`OpenError::UnknownFormat`], [`OpenError::Truncated`].
    pub fn from_bytes(_bytes: &[u8]) -> Result<Self, OpenError> {
        todo!()
    }
}
