//! The server's own tables: rows that say what the server did. Nobody else may write them.

use std::sync::Arc;

use bytes::Bytes;
use strongroom_catalog::{CatalogError, TableRow};
use strongroom_model::{PrincipalId, TableName, WorkspaceId};

use crate::intake::REJECTED_TABLE;
use crate::{Encoding, Format, IngestError, IngestReply, IngestRequest, Intake, OnError};

/// The tables that only the server writes: bad records, what happened to keys and roles, what a customer is told of,
/// which alerts fired.
pub const OWN_TABLES: [&str; 4] = [REJECTED_TABLE, "StrongroomAudit", "StrongroomNotices", "StrongroomAlerts"];

/// The name under which a table is the server's own, if it is.
pub(crate) fn own_table(table: &TableName) -> Option<&'static str> {
    OWN_TABLES.into_iter().find(|own| *own == table.as_str())
}

/// The server's own table whose name differs from this one in letter case alone: nobody may make one that looks like it.
fn own_alike(table: &TableName) -> Option<&'static str> {
    OWN_TABLES.into_iter().find(|own| own.eq_ignore_ascii_case(table.as_str()) && *own != table.as_str())
}

impl Intake {
    /// The table of that name, made if it is not there.
    pub(crate) async fn table_made(&self, workspace: WorkspaceId, table: &TableName) -> Result<TableRow, IngestError> {
        if own_table(table).is_some() {
            return Ok(self.deps.catalog.table_ensure_own(workspace, table).await?);
        }
        if let Some(own) = own_alike(table) {
            return Err(CatalogError::TableTwin { name: table.to_string(), there: own.to_owned() }.into());
        }
        Ok(self.deps.catalog.table_ensure(workspace, table).await?)
    }

    /// Takes rows of the server's own, one JSON object a line, into one of its own tables. `id` names them among all that the
    /// server writes there: the same again is not taken twice.
    ///
    /// # Errors
    /// As [`Intake::ingest`]; [`IngestError::Key`] while the workspace's key is away, whatever it wants done with rows of others.
    pub async fn ingest_own(
        self: &Arc<Self>,
        workspace: WorkspaceId,
        table: TableName,
        id: &str,
        rows: Bytes,
    ) -> Result<IngestReply, IngestError> {
        let request = IngestRequest {
            workspace,
            principal: PrincipalId::NIL,
            table,
            body: rows,
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            // No header can hold the first character, so no sender can take the name away.
            batch_id: Some(format!("\u{1}{id}")),
            on_error: OnError::Refuse,
            through: None,
        };
        self.refuse_if_away(workspace).await?;
        let share = self.enter()?;
        self.take_detached(request, share).await
    }
}
