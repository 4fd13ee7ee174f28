//! Sealed cells: small values in the catalog, one per row.

use strongroom_model::{Epoch, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, Rng};
use zeroize::Zeroizing;

use crate::key::Key32;
use crate::object::{InputKey, open_guarded, seal_guarded};
use crate::{Header, KeyGuard, ObjectKind, OpenError, SealError, WorkspaceSecret};

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

impl CellPlace {
    fn header(&self, double: bool) -> Header {
        Header {
            double,
            aek: self.epoch.aek,
            account: self.epoch.account,
            workspace: self.workspace,
            table: self.table,
            object: self.row,
            ..Header::blank(ObjectKind::Cell)
        }
    }
}

/// Seals a value for one row, in two layers if the guard holds an infrastructure key.
///
/// # Errors
/// [`SealError::Guard`]; [`SealError::WrongHeader`] if the place is in another epoch than the guard.
pub fn seal_cell(guard: &KeyGuard, now: BootTime, rng: &dyn Rng, place: &CellPlace, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    seal_guarded(guard, now, rng, &place.header(guard.is_double()), InputKey::Cell, plain)
}

/// Opens a row's value.
///
/// # Errors
/// [`OpenError`].
pub fn open_cell(guard: &KeyGuard, now: BootTime, place: &CellPlace, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    open_guarded(guard, now, &place.header(guard.is_double()), InputKey::Cell, sealed)
}

/// Seals a workspace's secret under the AEK's cell key itself, since the workspace's own keys hang on the secret.
///
/// # Errors
/// [`SealError::Guard`].
pub fn seal_workspace_secret(
    guard: &KeyGuard,
    now: BootTime,
    rng: &dyn Rng,
    workspace: WorkspaceId,
    row: ObjectId,
    secret: &WorkspaceSecret,
) -> Result<Vec<u8>, SealError> {
    let place = CellPlace { epoch: guard.epoch(), workspace, table: TableId::NIL, row };
    seal_guarded(guard, now, rng, &place.header(guard.is_double()), InputKey::WorkspaceSecret, secret.0.expose())
}

/// Opens a workspace's secret.
///
/// # Errors
/// [`OpenError`].
pub fn open_workspace_secret(
    guard: &KeyGuard,
    now: BootTime,
    workspace: WorkspaceId,
    row: ObjectId,
    sealed: &[u8],
) -> Result<WorkspaceSecret, OpenError> {
    let place = CellPlace { epoch: guard.epoch(), workspace, table: TableId::NIL, row };
    let plain = Zeroizing::new(open_guarded(guard, now, &place.header(guard.is_double()), InputKey::WorkspaceSecret, sealed)?);
    Key32::from_slice(&plain).map(WorkspaceSecret).ok_or(OpenError::Truncated { object: row, len: plain.len() as u64 })
}
