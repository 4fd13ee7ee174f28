//! The keys of one epoch behind a deadline.

use std::fmt;
use std::sync::Arc;

use strongroom_model::{Epoch, KeyClass, WorkspaceId};
use strongroom_world::BootTime;

use crate::{Aek, GuardError, InfrastructureKey, WorkspaceSecret};

/// The keys of one AEK while its lease holds. Clones share them; killing one wipes the keys of all.
#[derive(Clone)]
pub struct KeyGuard {
    inner: Arc<(Epoch, KeyClass)>,
}

impl KeyGuard {
    /// A guard that gives its keys until `deadline`.
    #[must_use]
    pub fn new(epoch: Epoch, class: KeyClass, _aek: Aek, _infrastructure: Option<InfrastructureKey>, _deadline: BootTime) -> Self {
        Self { inner: Arc::new((epoch, class)) }
    }
    /// The epoch whose keys these are.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.inner.0
    }
    /// Who can take them away.
    #[must_use]
    pub fn class(&self) -> KeyClass {
        self.inner.1
    }
    /// Whether the keys may be used at `now`.
    ///
    /// # Errors
    /// [`GuardError::Killed`], [`GuardError::Expired`].
    pub fn check(&self, _now: BootTime) -> Result<(), GuardError> {
        todo!()
    }
    /// Moves the deadline. A killed guard stays dead.
    pub fn renew(&self, _deadline: BootTime) {
        todo!()
    }
    /// Wipes the keys for every holder.
    pub fn kill(&self) {
        todo!()
    }
    /// Whether this workspace's keys are in.
    #[must_use]
    pub fn has_workspace(&self, _workspace: WorkspaceId) -> bool {
        todo!()
    }
    /// Derives and keeps a workspace's keys. Nothing happens on a killed guard.
    pub fn install_workspace(&self, _workspace: WorkspaceId, _secret: WorkspaceSecret) {
        todo!()
    }
    /// Wipes a workspace's keys.
    pub fn forget_workspace(&self, _workspace: WorkspaceId) {
        todo!()
    }
}

impl fmt::Debug for KeyGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyGuard").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}
