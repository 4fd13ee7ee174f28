//! The provider's root key and what it wraps.

use strongroom_model::{AccountId, AekId, NodeId, ObjectId, WorkspaceId};
use strongroom_world::Rng;

use crate::{Aek, CacheKey, InfrastructureKey, OpenError, RecordIds, WrappedAek};

/// The provider's root key: 32 random bytes in the config directory.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct Mmk {}

impl Mmk {
    /// From the bytes of the root file; the argument's copy is wiped.
    #[must_use]
    pub fn from_bytes(_bytes: [u8; 32]) -> Self {
        todo!()
    }
    /// A new root.
    #[must_use]
    pub fn generate(_rng: &dyn Rng) -> Self {
        todo!()
    }
    /// Gives the root's bytes to `store`, which writes the root file: the one place they go.
    pub fn expose<T>(&self, _store: impl FnOnce(&[u8; 32]) -> T) -> T {
        todo!()
    }
    /// Wraps an AEK.
    #[must_use]
    pub fn wrap_aek(&self, _rng: &dyn Rng, _aek: &Aek, _ids: &RecordIds) -> WrappedAek {
        todo!()
    }
    /// Unwraps an AEK and checks its check value.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn unwrap_aek(&self, _wrapped: &WrappedAek) -> Result<Aek, OpenError> {
        todo!()
    }
    /// Wraps an account's infrastructure key.
    #[must_use]
    pub fn wrap_infrastructure_key(&self, _rng: &dyn Rng, _account: AccountId, _key: &InfrastructureKey) -> Vec<u8> {
        todo!()
    }
    /// Unwraps it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn unwrap_infrastructure_key(&self, _account: AccountId, _wrapped: &[u8]) -> Result<InfrastructureKey, OpenError> {
        todo!()
    }
    /// Wraps the hot-cache key of one (node, workspace, AEK).
    #[must_use]
    pub fn wrap_cache_key(&self, _rng: &dyn Rng, _node: NodeId, _workspace: WorkspaceId, _aek: AekId, _key: &CacheKey) -> Vec<u8> {
        todo!()
    }
    /// Unwraps it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn unwrap_cache_key(&self, _node: NodeId, _workspace: WorkspaceId, _aek: AekId, _wrapped: &[u8]) -> Result<CacheKey, OpenError> {
        todo!()
    }
    /// Seals a provider's own secret (a TLS key, a shared key) for one row.
    #[must_use]
    pub fn seal_cell(&self, _rng: &dyn Rng, _row: ObjectId, _plain: &[u8]) -> Vec<u8> {
        todo!()
    }
    /// Opens one.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_cell(&self, _row: ObjectId, _sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        todo!()
    }
}
