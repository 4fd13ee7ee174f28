//! What the end of data asks of the write path and the read path.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use strongroom_control::{ControlError, Dispose, RowsGone, Said};
use strongroom_ingest::{IngestError, Intake};
use strongroom_model::{Epoch, TableId, TimeRange, WorkspaceId};
use strongroom_query::Engine;

/// Both paths.
pub(crate) struct Disposal {
    pub(crate) intake: Arc<Intake>,
    pub(crate) engine: Arc<Engine>,
}

impl fmt::Debug for Disposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disposal")
    }
}

fn said(error: IngestError) -> ControlError {
    match error {
        IngestError::Catalog(error) => error.into(),
        IngestError::Key(error) => error.into(),
        other => ControlError::Elsewhere(Said { kind: other.kind(), code: other.code(), message: other.to_string() }),
    }
}

#[async_trait]
impl Dispose for Disposal {
    async fn discard(&self, workspace: WorkspaceId) -> Result<bool, ControlError> {
        self.intake.discard(workspace).await.map_err(said)
    }

    async fn discard_epochs(&self, epochs: &[Epoch]) -> Result<bool, ControlError> {
        self.intake.discard_epochs(epochs).await.map_err(said)
    }

    async fn take_rows(&self, workspace: WorkspaceId, table: TableId, range: TimeRange) -> Result<RowsGone, ControlError> {
        let report = self.intake.shred(workspace, table, range).await.map_err(said)?;
        Ok(RowsGone {
            deleted: report.deleted,
            rewritten: report.rewritten,
            rows: report.rows,
            bytes: report.bytes,
            objects_left: report.objects_left,
            segments_left: report.segments_left,
        })
    }

    fn forget(&self, epochs: &[Epoch]) {
        for epoch in epochs {
            self.engine.drop_caches(*epoch);
            self.intake.forget(*epoch);
        }
    }
}
