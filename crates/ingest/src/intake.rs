//! From a request to its ack.

use std::fmt;
use std::sync::Arc;

use strongroom_buffer::{BatchMark, Buffer};
use strongroom_catalog::{Catalog, WriterEpoch};
use strongroom_keys::KeyRing;
use strongroom_model::{TableName, TableSchema, WorkspaceId};
use strongroom_store::BlockStore;
use strongroom_world::World;
use tokio::sync::watch;

use crate::{CompactReport, FlushReport, IngestConfig, IngestError, IngestReply, IngestRequest};

/// What the write path stands on.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its type")]
pub struct IngestDeps {
    pub world: World,
    pub catalog: Catalog,
    pub keys: Arc<KeyRing>,
    pub buffer: Arc<Buffer>,
    pub blocks: Arc<BlockStore>,
    /// This process's turn as the one writer.
    pub writer: WriterEpoch,
}

impl fmt::Debug for IngestDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestDeps").field("writer", &self.writer).finish_non_exhaustive()
    }
}

/// The write path of one node.
#[derive(Debug)]
pub struct Intake {
    pub(crate) deps: IngestDeps,
    pub(crate) config: IngestConfig,
}

impl Intake {
    /// Opens the write path. `marks` are the batch ids that the log's recovery found.
    ///
    /// # Errors
    /// [`IngestError::Catalog`].
    pub async fn open(deps: IngestDeps, config: IngestConfig, marks: Vec<(WorkspaceId, BatchMark, i64)>) -> Result<Arc<Self>, IngestError> {
        let _ = marks;
        Ok(Arc::new(Self { deps, config }))
    }

    /// Takes a request: when this returns, its rows are durable and visible to queries that start afterwards.
    ///
    /// # Errors
    /// [`IngestError`]; then nothing of the request is in its table.
    pub async fn ingest(&self, request: IngestRequest) -> Result<IngestReply, IngestError> {
        todo!("{request:?}")
    }

    /// Writes what is in memory of a table, or of all tables of a workspace, as blocks.
    ///
    /// # Errors
    /// [`IngestError`]; rows that could not be written stay in memory and in the log.
    pub async fn flush(&self, workspace: WorkspaceId, table: Option<TableName>) -> Result<FlushReport, IngestError> {
        todo!("{workspace} {table:?}")
    }

    /// Merges the blocks of a table, or of all tables of a workspace, as far as it goes.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn compact(&self, workspace: WorkspaceId, table: Option<TableName>) -> Result<CompactReport, IngestError> {
        todo!("{workspace} {table:?}")
    }

    /// The columns that new rows of a table meet; `None` if there is no such table.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn schema(&self, workspace: WorkspaceId, table: &TableName) -> Result<Option<TableSchema>, IngestError> {
        todo!("{workspace} {table}")
    }

    /// Flushes, compacts and sweeps until `stop` turns true; then flushes nothing more (the log holds it).
    pub async fn maintain(self: Arc<Self>, stop: watch::Receiver<bool>) {
        todo!("{stop:?}")
    }
}
