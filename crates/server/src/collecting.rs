//! What the write path needs of data collection rules: looked up here, opened under their key, run by the query engine.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use strongroom_control::ControlError;
use strongroom_control::collection::Collection;
use strongroom_ingest::stream::{Flow, Lines, NotShaped, Through, Transform};
use strongroom_model::{ErrorKind, TableName, WorkspaceId};
use strongroom_query::{Engine, QueryError, Shaped, TRANSFORM_TIMEOUT};

/// Rules and the engine that runs their texts.
#[derive(Debug)]
pub(crate) struct Collecting {
    pub(crate) rules: Arc<Collection>,
    pub(crate) engine: Arc<Engine>,
}

fn refused(error: ControlError) -> NotShaped {
    let (kind, code, message) = (error.kind(), error.code(), error.to_string());
    match error {
        ControlError::Keys(error) => NotShaped::Key(error),
        ControlError::NotFound { .. } | ControlError::Damaged { .. } => NotShaped::Rule { kind, code, message },
        _ => NotShaped::Passing { kind, code, message },
    }
}

fn gone() -> NotShaped {
    let message = "the data collection rule has no such stream any more".to_owned();
    NotShaped::Rule { kind: ErrorKind::NotFound, code: "NotFound", message }
}

/// What a text did; a key that is away, an engine that stops and a disk that fails are not its doing.
fn failed(error: &QueryError) -> NotShaped {
    let (kind, code, message) = (error.kind(), error.code(), format!("the rule's transformation failed: {}", error.message()));
    match kind {
        ErrorKind::KeyRevoked => NotShaped::Passing { kind, code, message },
        ErrorKind::Unavailable | ErrorKind::Overloaded if code != TRANSFORM_TIMEOUT => NotShaped::Passing { kind, code, message },
        _ => NotShaped::Rule { kind, code, message },
    }
}

#[async_trait]
impl Transform for Collecting {
    async fn flow(&self, workspace: WorkspaceId, through: &Through, table: &TableName) -> Result<Flow, NotShaped> {
        let row = self.rules.rule_by_id(through.rule).await.map_err(refused)?;
        // A rule that was turned to another workspace since is not this one's to be told.
        let row = row.filter(|row| row.workspace == workspace).ok_or_else(gone)?;
        let body = self.rules.follow(&row).await.map_err(refused)?;
        let (columns, text) = body.way(&through.stream, table).ok_or_else(gone)?;
        Ok(Flow { columns: columns.map(<[_]>::to_vec), text: text.map(str::to_owned) })
    }

    async fn shape(
        &self,
        workspace: WorkspaceId,
        rows: RecordBatch,
        text: Option<&str>,
        arrival: i64,
        bytes_max: u64,
    ) -> Result<Lines, NotShaped> {
        let shaped = self.engine.shape(workspace, rows, text, arrival, bytes_max).await;
        let Shaped { lines, columns } = shaped.map_err(|error| failed(&error))?;
        Ok(Lines { body: lines, columns })
    }
}
