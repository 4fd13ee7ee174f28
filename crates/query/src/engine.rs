//! The engine: one per node.

use std::fmt;
use std::sync::Arc;

use strongroom_buffer::Buffer;
use strongroom_catalog::Catalog;
use strongroom_keys::KeyRing;
use strongroom_model::{Epoch, WorkspaceId};
use strongroom_store::BlockStore;
use strongroom_world::World;

use crate::{Answer, QueryConfig, QueryError, QueryRequest, TableInfo};

/// What the engine reads from.
#[derive(Clone)]
pub struct QueryDeps {
    /// Clock, files (spill), randomness.
    pub world: World,
    /// Which blocks exist.
    pub catalog: Catalog,
    /// Guards.
    pub keys: Arc<KeyRing>,
    /// Memtables.
    pub buffer: Arc<Buffer>,
    /// Sealed blocks.
    pub blocks: Arc<BlockStore>,
    /// Where encrypted spill goes; emptied at [`Engine::open`].
    pub spill_dir: std::path::PathBuf,
}

impl fmt::Debug for QueryDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryDeps").finish_non_exhaustive()
    }
}

/// Answers questions.
pub struct Engine {
    _config: QueryConfig,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    /// Starts the query runtime and empties the spill directory.
    ///
    /// # Errors
    /// [`QueryError`] of kind `Internal` if the runtime or the spill directory cannot be made.
    pub async fn open(_deps: QueryDeps, config: QueryConfig) -> Result<Arc<Self>, QueryError> {
        Ok(Arc::new(Self { _config: config }))
    }

    /// Answers one question. Errors of planning come from here, errors of running from the stream.
    ///
    /// # Errors
    /// [`QueryError`]; see [`QueryError::kind`].
    pub async fn run(&self, _request: QueryRequest) -> Result<Answer, QueryError> {
        todo!()
    }

    /// The tables of a workspace with columns and sizes.
    ///
    /// # Errors
    /// As the catalog's and the keys'.
    pub async fn tables(&self, _workspace: WorkspaceId) -> Result<Vec<TableInfo>, QueryError> {
        todo!()
    }

    /// Drops everything derived from rows of this epoch, and ends queries that touched it.
    pub fn forget(&self, _epoch: Epoch) {
        todo!()
    }
}
