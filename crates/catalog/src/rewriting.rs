//! Blocks that move from one epoch to another, and the end of an epoch that holds nothing any more.

use strongroom_model::{AekId, Epoch, ObjectId, TableId, WorkspaceId};

use crate::blocks::{bury, go_live, next_seq, went_live};
use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::snapshot::{self, block_row, blocks};
use crate::{BlockRow, BlockState, Catalog, CatalogError, LiveBlock, WriterEpoch, standby};

const REWRITE: &str = "a rewritten block";
const LEFT: &str = "what an epoch holds";
const END: &str = "the end of an epoch";

pub(crate) const UNDER: &str = blocks!(
    "cell",
    "LEFT JOIN block_stats ON n = stats WHERE aek = ?1 AND account = ?2 AND (?3 IS NULL OR workspace = ?3) AND state = 1 LIMIT ?4"
);

/// A block of one epoch in the place of one of another: the same rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteCommit {
    /// The table.
    pub table: TableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The epoch of the new block.
    pub to: Epoch,
    /// The block that goes: it must still be live.
    pub input: ObjectId,
    /// The one that comes, pended before: as many rows, in the same window.
    pub output: LiveBlock,
}

/// What an epoch still holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Blocks that are part of a table.
    pub live: u64,
    /// Blocks announced, objects that wait for their last reader, and filters of several blocks.
    pub others: u64,
}

impl Catalog {
    /// Some live blocks of an epoch, of one workspace or of all.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn blocks_under(&self, epoch: Epoch, workspace: Option<WorkspaceId>, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        let rows = sqlx::query(UNDER)
            .bind(&epoch.aek.as_bytes()[..])
            .bind(&epoch.account.as_bytes()[..])
            .bind(workspace.as_ref().map(|workspace| &workspace.as_bytes()[..]))
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(LEFT, &e))?;
        rows.iter().map(block_row).collect()
    }

    /// How many blocks of an epoch there are, and filters of several of them, in whatever state.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn leftovers(&self, aek: AekId) -> Result<Leftovers, CatalogError> {
        let row = sqlx::query(
            "SELECT coalesce(sum(state = 1), 0), coalesce(sum(state <> 1), 0) + (SELECT count(*) FROM filter_groups WHERE aek = ?1)
             FROM blocks WHERE aek = ?1",
        )
        .bind(&aek.as_bytes()[..])
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|e| refused(LEFT, &e))?;
        let mut columns = Columns::of(&row, LEFT);
        Ok(Leftovers { live: columns.number()?, others: columns.number()? })
    }

    /// The tables, and their workspaces, that have a lineage of columns in an epoch.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lineages(&self, aek: AekId) -> Result<Vec<(TableId, WorkspaceId)>, CatalogError> {
        let rows = sqlx::query("SELECT DISTINCT table_id, workspace FROM schemas JOIN tables ON tables.id = table_id WHERE aek = ?")
            .bind(&aek.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(LEFT, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, LEFT);
                Ok((TableId::from_bytes(columns.fixed()?), WorkspaceId::from_bytes(columns.fixed()?)))
            })
            .collect()
    }

    /// Puts a block in the place of one of another epoch, all or nothing. The same commit again is answered as done, so an unknown
    /// outcome is asked for once more here.
    ///
    /// # Errors
    /// As [`compaction_commit`](Self::compaction_commit).
    pub async fn rewrite_commit(&self, writer: WriterEpoch, rewrite: &RewriteCommit) -> Result<(), CatalogError> {
        fail::fail_point!("rewrite.txn", |_| Err(CatalogError::Failpoint { point: "rewrite.txn" }));
        match self.rewrite_once(writer, rewrite).await {
            Err(CatalogError::CommitUnknown { .. }) => self.rewrite_once(writer, rewrite).await,
            known => known,
        }
    }

    async fn rewrite_once(&self, writer: WriterEpoch, rewrite: &RewriteCommit) -> Result<(), CatalogError> {
        let now_ms = self.now_ms();
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, REWRITE).await?;
        if went_live(&mut tx, &rewrite.output).await? {
            return Ok(());
        }
        let Some(input) = snapshot::block(&mut tx, rewrite.input).await?.filter(|row| row.state == BlockState::Live) else {
            return Err(CatalogError::Conflict { what: REWRITE, why: "its input is no longer live" });
        };
        let at_home = input.table == rewrite.table && input.workspace == rewrite.workspace && input.epoch != rewrite.to;
        let same = input.window == rewrite.output.window && input.rows == rewrite.output.rows && input.time == rewrite.output.time;
        if !at_home || !same {
            return Err(CatalogError::Invalid { what: "a rewritten block that is not the one it replaces" });
        }
        let seq = next_seq(&mut tx, REWRITE).await?;
        bury(&mut tx, &input, now_ms, seq).await?;
        go_live(&mut tx, rewrite.table, rewrite.to.aek, &rewrite.output, now_ms, seq, REWRITE).await?;
        commit(tx, REWRITE).await
    }

    /// Ends an epoch that no block, no saved content and no data collection rule names: its record, what waits beside it, and everything that is sealed
    /// under it. Whether it was there.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if it reigns, or if a block, an entry or a rule names it.
    pub async fn aek_end(&self, epoch: Epoch) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(END).await?;
        let id = &epoch.aek.as_bytes()[..];
        let held: i64 =
            sqlx::query_scalar("SELECT (SELECT count(*) FROM blocks WHERE aek = ?1) + (SELECT count(*) FROM filter_groups WHERE aek = ?1)")
                .bind(id)
                .fetch_one(&mut *tx)
                .await
                .map_err(|e| refused(END, &e))?;
        if held > 0 {
            return Err(CatalogError::Conflict { what: END, why: "blocks name it" });
        }
        let entries: i64 = sqlx::query_scalar("SELECT count(*) FROM contents WHERE aek = ?")
            .bind(id)
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(END, &e))?;
        if entries > 0 {
            return Err(CatalogError::Conflict { what: END, why: "saved content names it" });
        }
        let rules: i64 = sqlx::query_scalar("SELECT count(*) FROM collection_rules WHERE aek = ?")
            .bind(id)
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(END, &e))?;
        if rules > 0 {
            return Err(CatalogError::Conflict { what: END, why: "data collection rules name it" });
        }
        let reigns: i64 = sqlx::query_scalar("SELECT count(*) FROM aeks WHERE id = ? AND current = 1")
            .bind(id)
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(END, &e))?;
        if reigns > 0 {
            return Err(CatalogError::Conflict { what: END, why: "it reigns" });
        }
        standby::dismiss(&mut tx, epoch.aek).await?;
        for sql in [
            "DELETE FROM workspace_secrets WHERE aek = ?",
            "DELETE FROM schemas WHERE aek = ?",
            "DELETE FROM flushed WHERE aek = ?",
            "DELETE FROM segments WHERE aek = ?",
            "DELETE FROM buffer_keys WHERE aek = ?",
        ] {
            sqlx::query(sql).bind(id).execute(&mut *tx).await.map_err(|e| refused(END, &e))?;
        }
        let done = sqlx::query("DELETE FROM aeks WHERE id = ? AND account = ?")
            .bind(id)
            .bind(&epoch.account.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(END, &e))?;
        commit(tx, END).await?;
        Ok(done.rows_affected() == 1)
    }
}
