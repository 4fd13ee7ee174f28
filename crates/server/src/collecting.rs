//! What the write path needs of data collection rules: looked up here, opened under their key, run by the query engine.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use strongroom_control::ControlError;
use strongroom_control::collection::Collection;
use strongroom_ingest::stream::{Flow, Lines, NotShaped, Through, Transform};
use strongroom_model::{ErrorKind, TableName, WorkspaceId};
use strongroom_query::{Engine, Shaped};

/// Rules and the engine that runs their texts.
#[derive(Debug)]
pub(crate) struct Collecting {
    pub(crate) rules: Arc<Collection>,
    pub(crate) engine: Arc<Engine>,
}

fn refused(error: &ControlError) -> NotShaped {
    NotShaped { kind: error.kind(), code: error.code(), message: error.to_string() }
}

fn gone() -> NotShaped {
    NotShaped { kind: ErrorKind::NotFound, code: "NotFound", message: "the data collection rule has no such stream any more".to_owned() }
}

#[async_trait]
impl Transform for Collecting {
    async fn flow(&self, workspace: WorkspaceId, through: &Through, table: &TableName) -> Result<Flow, NotShaped> {
        let row = self.rules.rule_by_id(through.rule).await.map_err(|error| refused(&error))?;
        // A rule that was turned to another workspace since is not this one's to be told.
        let row = row.filter(|row| row.workspace == workspace).ok_or_else(gone)?;
        let body = self.rules.open(&row).await.map_err(|error| refused(&error))?;
        let (columns, text) = body.way(&through.stream, table).ok_or_else(gone)?;
        Ok(Flow { columns: columns.map(<[_]>::to_vec), text: text.map(str::to_owned) })
    }

    async fn shape(&self, workspace: WorkspaceId, rows: RecordBatch, text: Option<&str>, arrival: i64) -> Result<Lines, NotShaped> {
        let shaped = self.engine.shape(workspace, rows, text, arrival).await;
        let Shaped { lines, columns } = shaped.map_err(|error| NotShaped {
            kind: error.kind(),
            code: error.code(),
            message: format!("the rule's transformation failed: {}", error.message()),
        })?;
        Ok(Lines { body: lines, columns })
    }
}
