//! Keys as types: wiped on drop, never `Clone`, `Debug` of an id at most, never serialized.

use std::fmt;

use strongroom_model::AekId;
use strongroom_world::Rng;

use crate::RecordIds;

/// One storage account's root key of one epoch: 32 random bytes.
pub struct Aek {
    id: AekId,
}

impl Aek {
    /// A new one.
    #[must_use]
    pub fn generate(id: AekId, _rng: &dyn Rng) -> Self {
        let _ = id;
        todo!()
    }
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> AekId {
        self.id
    }
    /// Proves later that an unwrapped key is the one that was wrapped, for these ids.
    #[must_use]
    pub fn key_check_value(&self, _ids: &RecordIds) -> [u8; 32] {
        todo!()
    }
}

impl fmt::Debug for Aek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aek").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a workspace's keys of one epoch hang on; destroying it shreds the workspace.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct WorkspaceSecret {}

impl WorkspaceSecret {
    /// A new one.
    #[must_use]
    pub fn generate(_rng: &dyn Rng) -> Self {
        todo!()
    }
}

/// The provider's key of the outer layer: one per account.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct InfrastructureKey {}

impl InfrastructureKey {
    /// A new one.
    #[must_use]
    pub fn generate(_rng: &dyn Rng) -> Self {
        todo!()
    }
}
