//! The ring of guards.

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use strongroom_catalog::Catalog;
use strongroom_envelope::{KeyGuard, Mmk};
use strongroom_model::{AccountId, Epoch, PrincipalId, WorkspaceId};
use strongroom_world::World;

use crate::KeyError;

/// What a guard is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To seal new rows: makes the workspace's secret if there is none yet.
    Ingest,
    /// To open rows for somebody who asks.
    Query,
    /// To flush, compact and verify.
    Maintain,
}

/// Makes and keeps guards: one per epoch, shared by all who ask.
pub struct KeyRing {
    mmk: Arc<Mmk>,
    shared: AccountId,
}

impl KeyRing {
    /// Opens the ring; at first start it creates the shared account and its first AEK.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn open(_world: World, _catalog: Catalog, _objects: Arc<dyn ObjectStore>, _mmk: Arc<Mmk>) -> Result<Arc<Self>, KeyError> {
        todo!()
    }
    /// The account of workspaces that are linked to no cluster.
    #[must_use]
    pub fn shared_account(&self) -> AccountId {
        self.shared
    }
    /// The epoch that new rows of an account are sealed under.
    ///
    /// # Errors
    /// [`KeyError::NoAccount`], [`KeyError::Catalog`].
    pub async fn write_epoch(&self, _account: AccountId) -> Result<Epoch, KeyError> {
        todo!()
    }
    /// The guard of an epoch with a workspace's keys in it. The principal is for the audit trail.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::NoSecret`] if nothing of this workspace was ever sealed in this epoch (never for
    /// [`Purpose::Ingest`], which makes the secret).
    pub async fn guard(
        &self,
        _epoch: Epoch,
        _workspace: WorkspaceId,
        _principal: PrincipalId,
        _purpose: Purpose,
    ) -> Result<KeyGuard, KeyError> {
        todo!()
    }
    /// The guard of an epoch, with whatever workspaces are in it already: enough to replay a WAL.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn epoch_guard(&self, _epoch: Epoch) -> Result<KeyGuard, KeyError> {
        todo!()
    }
    /// Every epoch there is, of all accounts.
    ///
    /// # Errors
    /// [`KeyError::Catalog`].
    pub async fn epochs(&self) -> Result<Vec<Epoch>, KeyError> {
        todo!()
    }
    /// The provider's root key.
    #[must_use]
    pub fn mmk(&self) -> &Arc<Mmk> {
        &self.mmk
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("shared", &self.shared).finish_non_exhaustive()
    }
}
