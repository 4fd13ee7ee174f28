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
mod action_groups;
mod ageing;
mod alerts;
mod audit;
mod batches;
mod blocks;
mod buffered;
mod checks;
mod clusters;
mod collection;
mod columns;
mod contents;
mod db;
mod directory;
mod documents;
mod error;
mod groups;
mod identities;
mod links;
mod lockbox;
mod mergeable;
mod migrate;
mod operations;
mod pages;
mod pinned;
mod principals;
mod resources;
mod rewriting;
mod rows;
mod schemas;
mod segments;
mod shared_keys;
mod shred;
mod snapshot;
mod standby;
mod storage;
mod vaults;

use std::path::Path;
use std::sync::Arc;

use strongroom_model::NodeId;
use strongroom_world::World;

pub use action_groups::ActionGroupRow;
pub use alerts::{AlertRow, AlertRuleRow, Delivery};
pub use audit::{AuditCarryRow, AuditErrand, AuditHeadRow, AuditSink};
pub use collection::{CollectionEndpointRow, CollectionRuleRow};
use columns::Columns;
pub use contents::{ContentKind, ContentObjectRow, ContentRow};
use db::{Db, commit, refused};
pub use documents::{DocumentKind, DocumentRow};
pub use error::CatalogError;
pub use groups::{GROUP_BLOCKS_MIN, GroupCommit, GroupRow, LonelyDay};
pub use mergeable::WalkFrom;
pub use pages::{TablePageRow, WorkspacePageRow};
pub use pinned::{BlocksAt, Shelf, TablePin};
pub use rewriting::{Leftovers, RewriteCommit};
pub use rows::clusters::{
    Billing, ClusterKeyRow, ClusterRow, ClusterState, HoldingRow, IdentityRow, IdentityType, InfrastructureRow, KeyStateRow, LinkRow,
    OperationErrorRow, OperationRow, OperationStatus, UserIdentityRow, VaultAccessRow, VaultRefRow,
};
pub use rows::directory::{AssignmentRow, CredentialRow, PrincipalRow, ResourceGroupRow, RoleRow, Scope, SigningKeyRow, SubscriptionRow};
pub use rows::lockbox::{LockboxRow, LockboxState, TablePlan};
pub use rows::{
    AccountRow, AekRow, AwayRow, BatchRow, BlockRow, BlockState, BufferedCommit, Candidate, CompactionCommit, DeletedRow, FlushCommit,
    LiveBlock, PendingBlock, SMALL_BLOCK_BYTES, SchemaRow, SecretRow, SegmentRow, StandbyRow, TableRow, TableSnapshot, WorkspaceRow,
    WriterEpoch,
};
pub use shared_keys::SharedKeysRow;
pub use shred::ShredCommit;
pub use storage::{StorageAccountRow, StorageLinkRow};

/// What exists. Clones share the connections.
#[derive(Clone, Debug)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    world: World,
    db: Db,
}

impl Catalog {
    /// Opens the catalog file at `path`, making or upgrading it, and checks its rules. That no other server uses the
    /// directory is the caller's to know.
    ///
    /// # Errors
    /// [`CatalogError::NewerFormat`], [`CatalogError::NotACatalog`], [`CatalogError::Broken`], or what SQLite says.
    pub async fn open(path: &Path, world: World) -> Result<Self, CatalogError> {
        // Made here so that it has mode 0600, which the journal inherits. If it is there, or cannot be made, SQLite says so.
        if let (Ok(_), Some(dir)) = (world.fs.create_new(path), path.parent())
            && let Err(error) = world.fs.sync_dir(dir)
        {
            tracing::warn!(%error, "catalog directory was not synced");
        }
        Self::start(Db::file(path).await?, path, world).await
    }

    /// The double: the same SQL in memory, gone with the last clone.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn memory(world: World) -> Result<Self, CatalogError> {
        Self::start(Db::memory().await?, Path::new(":memory:"), world).await
    }

    async fn start(db: Db, path: &Path, world: World) -> Result<Self, CatalogError> {
        let node = {
            let mut writer = db.writer().await?;
            migrate::migrate(writer.conn(), path, &world).await?;
            checks::at_start(writer.conn()).await?;
            let row =
                sqlx::query("SELECT node FROM state").fetch_one(writer.conn()).await.map_err(|e| refused("reading the node id", &e))?;
            NodeId::from_bytes(Columns::of(&row, "node id").fixed()?)
        };
        Ok(Self { inner: Arc::new(Inner { node, world, db }) })
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
        let what = "taking over as writer";
        let mut writer = self.inner.db.writer().await?;
        let mut tx = writer.begin(what).await?;
        let row = sqlx::query("UPDATE state SET writer = writer + 1 RETURNING writer")
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(what, &e))?;
        let epoch = Columns::of(&row, "writer epoch").number()?;
        commit(tx, what).await?;
        Ok(WriterEpoch(epoch))
    }

    /// Checks every rule and every page: one pass over the file.
    ///
    /// # Errors
    /// [`CatalogError::Broken`], naming the rule.
    pub async fn verify(&self) -> Result<(), CatalogError> {
        checks::deep(&mut *self.reader().await?).await
    }

    /// Closes the connections, folding the journal into the file. Calls after it fail.
    pub async fn close(&self) {
        self.inner.db.close().await;
    }

    async fn writer(&self) -> Result<db::Writer<'_>, CatalogError> {
        self.inner.db.writer().await
    }

    async fn reader(&self) -> Result<db::Reader<'_>, CatalogError> {
        self.inner.db.reader().await
    }

    /// The wall clock, milliseconds since 1970.
    fn now_ms(&self) -> i64 {
        self.inner.world.clock.wall().unix_ms()
    }
}

#[cfg(test)]
mod tests;
