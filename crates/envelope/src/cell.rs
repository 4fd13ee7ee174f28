//! Sealed cells: small values in the catalog, one per row.

use strongroom_model::{Epoch, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, Rng};

use crate::{KeyGuard, OpenError, SealError, WorkspaceSecret};

/// Where a cell belongs: it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CellPlace {
    /// The epoch it is sealed under.
    pub epoch: Epoch,
    /// The workspace, or NIL for a cell that belongs to none.
    pub workspace: WorkspaceId,
    /// The table, or NIL.
    pub table: TableId,
    /// The row that holds it.
    pub row: ObjectId,
}

/// Seals a value for one row.
///
/// # Errors
/// [`SealError`].
pub fn seal_cell(_guard: &KeyGuard, _now: BootTime, _rng: &dyn Rng, _place: &CellPlace, _plain: &[u8]) -> Result<Vec<u8>, SealError> {
    todo!()
}

/// Opens a row's value.
///
/// # Errors
/// [`OpenError`].
pub fn open_cell(_guard: &KeyGuard, _now: BootTime, _place: &CellPlace, _sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    todo!()
}

/// Seals a workspace's secret under the AEK itself (the workspace's own keys hang on it).
///
/// # Errors
/// [`SealError`].
pub fn seal_workspace_secret(
    _guard: &KeyGuard,
    _now: BootTime,
    _rng: &dyn Rng,
    _workspace: WorkspaceId,
    _row: ObjectId,
    _secret: &WorkspaceSecret,
) -> Result<Vec<u8>, SealError> {
    todo!()
}

/// Opens a workspace's secret.
///
/// # Errors
/// [`OpenError`].
pub fn open_workspace_secret(
    _guard: &KeyGuard,
    _now: BootTime,
    _workspace: WorkspaceId,
    _row: ObjectId,
    _sealed: &[u8],
) -> Result<WorkspaceSecret, OpenError> {
    todo!()
}
