//! Columns that are declared before a row needs them.

use strongroom_keys::Purpose;
use strongroom_model::{Column, PrincipalId, TableId, TableName, WorkspaceId};

use crate::IngestError;
use crate::intake::Intake;

impl Intake {
    /// Sees to it that a table is there and has these columns: rows are typed by them from now on. A column that is there stays as it
    /// is; if one has another type, no column is added.
    ///
    /// # Errors
    /// [`IngestError::ColumnClash`], [`IngestError::TooManyTables`]; as the keys' and the catalog's.
    pub async fn declare(&self, workspace: WorkspaceId, table: &TableName, columns: &[Column]) -> Result<TableId, IngestError> {
        let _within = self.barrier_of(workspace).read_owned().await;
        let place = self.made_place(workspace, table).await?;
        self.deps.keys.pass(place.account).await?;
        let epoch = self.deps.keys.write_epoch(place.account).await?;
        let guard = self.deps.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Ingest).await?;
        match self.schemas.declare(workspace, place.table, &guard, columns).await? {
            Ok(()) => Ok(place.table),
            Err(known) => Err(IngestError::ColumnClash { table: table.to_string(), column: known.name, is: known.kind.as_str() }),
        }
    }
}
