//! What exists: workspaces, tables, blocks, wrapped keys, principals.
//!
//! One SQLite file. Ids, names, sizes and times are in clear; everything made of rows (schemas, statistics) comes and goes
//! as sealed cells that nothing here can open. It keeps the rules that a crash or a second process could break: a block is
//! announced before it is put, a freeze commits whole or not at all, an older writer's commit is refused. Start at
//! [`Catalog`]; [`Catalog::memory`] is its double: the same SQL, in memory.
//!
//! ```text
//! blocks_pend ─▶ pending ─flush_commit, compaction_commit─▶ live ─compaction_commit, expire─▶ tombstone ─block_forget─▶ gone
//!                   └──────────────── pending_abandon (older than 24 h) ───────────────────────▲
//! ```

mod accounts;
mod ageing;
mod batches;
mod blocks;
mod error;
mod principals;
mod resources;
mod rows;
mod schemas;
mod segments;
mod snapshot;

use std::path::Path;
use std::sync::Arc;

use strongroom_model::NodeId;
use strongroom_world::World;

pub use error::CatalogError;
pub use rows::{
    AccountRow, AekRow, BatchRow, BlockRow, BlockState, Candidate, CompactionCommit, FlushCommit, LiveBlock, PendingBlock, PrincipalRow,
    SMALL_BLOCK_BYTES, SchemaRow, Scope, SecretRow, SegmentRow, TableRow, TableSnapshot, WorkspaceRow, WriterEpoch,
};

/// What exists. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    world: World,
}

impl Catalog {
    /// Opens the catalog file at `path`, making or upgrading it, and checks its rules.
    ///
    /// # Errors
    /// [`CatalogError::NewerFormat`], [`CatalogError::NotACatalog`], [`CatalogError::Broken`], or what SQLite says.
    pub async fn open(path: &Path, world: World) -> Result<Self, CatalogError> {
        todo!("{path:?} {world:?}")
    }

    /// The double: the same SQL in memory, gone with the last clone.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn memory(world: World) -> Result<Self, CatalogError> {
        todo!("{world:?}")
    }

    /// The id of this data directory, minted when the catalog was made.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Begins a turn as the writer: from now on commits of every older turn fail with [`CatalogError::Fenced`].
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn acquire_writer(&self) -> Result<WriterEpoch, CatalogError> {
        todo!("{:?}", self.inner.world)
    }

    /// Closes the connections, folding the journal into the file. Calls after it fail.
    pub async fn close(&self) {
        todo!()
    }
}
