//! Token filters of several blocks: which objects there are, which blocks they name, and where one is to be made.
//!
//! A group goes when the last block that it names does, and at once when rows of its day are shredded or expire: hashes of their terms
//! may be in it. Merged blocks and such as are sealed anew are others, which it does not name; what it says of those it names stays
//! true meanwhile.
//!
//! ```text
//! lonely_days ─▶ blocks_alone ─▶ group_pend ─▶ (put) ─▶ group_commit ─▶ live ─▶ tombstone ─group_forget─▶ gone
//! ```

use sqlx::sqlite::SqliteRow;
use strongroom_model::{Epoch, ObjectId, TableId, WorkspaceId};

use crate::columns::{Columns, signed};
use crate::db::{Tx, commit, refused};
use crate::snapshot::{block_row, blocks, epoch};
use crate::{BlockRow, BlockState, Catalog, CatalogError, WriterEpoch};

const GROUP: &str = "a group of filters";
const DAY_SECS: i64 = 86_400;

/// So many blocks of a day are not worth a group; the catalog's index is of days with as many (`migrations`).
pub const GROUP_BLOCKS_MIN: u64 = 8;

macro_rules! groups {
    ($rest:literal) => {
        concat!(
            "SELECT id, workspace, table_id, account, aek, day, state, since_ms, sealed_len, plain_len, arrived_ms FROM filter_groups ",
            $rest
        )
    };
}

pub(crate) const AT: &str = groups!("WHERE table_id = ?1 AND day >= ?2 AND day <= ?3 AND state = 1");
pub(crate) const PENDINGS: &str = groups!("INDEXED BY filter_groups_pending WHERE state = 0 AND since_ms < ?1 ORDER BY since_ms LIMIT ?2");
pub(crate) const TOMBSTONES: &str =
    groups!("INDEXED BY filter_groups_tombstones WHERE state = 2 AND since_ms < ?1 ORDER BY since_ms LIMIT ?2");
pub(crate) const LONELY: &str = "SELECT d.table_id, d.workspace, d.account, d.aek, d.day, d.alone
     FROM table_sums s INDEXED BY table_sums_blocks CROSS JOIN table_days d INDEXED BY table_days_alone ON d.table_id = s.table_id
     CROSS JOIN tables t ON t.id = d.table_id CROSS JOIN workspaces w ON w.id = t.workspace
     WHERE s.blocks >= ?1 AND d.alone >= 8 AND d.day < ?2 AND d.day > ?4 - 86400 * coalesce(t.retention_days, w.retention_days)
       AND NOT EXISTS (SELECT 1 FROM windows o WHERE o.table_id = d.table_id AND o.window_start >= d.day AND o.window_start < d.day + 86400
                         AND o.aek = d.aek AND o.small > 1)
     LIMIT ?3";
pub(crate) const ALONE: &str = blocks!(
    "x''",
    "WHERE table_id = ?1 AND window_start >= ?2 AND window_start < ?3 AND aek = ?4 AND account = ?5 AND state = 1
     AND NOT EXISTS (SELECT 1 FROM filter_group_blocks f WHERE f.block = blocks.id)
     ORDER BY window_start, id LIMIT ?6"
);

pub(crate) const END: &str =
    "UPDATE filter_groups SET state = 2, since_ms = ?1 WHERE table_id = ?2 AND day = ?3 AND (state <> 2 OR since_ms > ?1)";

/// Blocks of a day that no group names, as many as make one worth while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LonelyDay {
    /// The table.
    pub table: TableId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The epoch of these blocks.
    pub epoch: Epoch,
    /// Start of the day, seconds since 1970.
    pub day: i64,
    /// How many.
    pub blocks: u64,
}

/// An object with the filters of several blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// The object.
    pub object: ObjectId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its table.
    pub table: TableId,
    /// The epoch that sealed it, and its blocks.
    pub epoch: Epoch,
    /// Start of the day of its blocks' windows, seconds since 1970.
    pub day: i64,
    /// Where it is in its life.
    pub state: BlockState,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// Length of the object.
    pub sealed_len: u64,
    /// Length of what it opens to.
    pub plain_len: u64,
    /// When the latest of its blocks' oldest rows arrived, milliseconds since 1970.
    pub arrived_ms: i64,
}

/// A group whose object is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupCommit {
    /// The object, pended before.
    pub object: ObjectId,
    /// Length of the object.
    pub sealed_len: u64,
    /// Length of what it opens to.
    pub plain_len: u64,
    /// As in [`GroupRow`].
    pub arrived_ms: i64,
    /// The blocks that it names: all must be live, and no other group name them.
    pub blocks: Vec<ObjectId>,
}

fn group_row(row: &SqliteRow) -> Result<GroupRow, CatalogError> {
    let mut columns = Columns::of(row, GROUP);
    Ok(GroupRow {
        object: ObjectId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        table: TableId::from_bytes(columns.fixed()?),
        epoch: epoch(&mut columns)?,
        day: columns.int()?,
        state: match columns.int()? {
            0 => BlockState::Pending,
            1 => BlockState::Live,
            2 => BlockState::Tombstone,
            _ => return Err(CatalogError::BadValue { what: GROUP }),
        },
        since_ms: columns.int()?,
        sealed_len: columns.number()?,
        plain_len: columns.number()?,
        arrived_ms: columns.int()?,
    })
}

impl Catalog {
    /// Days before `before_secs` (the start of the first that is too young, seconds since 1970) with so many blocks of one epoch that no
    /// group names, all merged as far as they go, of tables with at least `from_blocks` live ones; at most `limit`. None whose first rows
    /// are old enough to expire `now_secs`: their group would go again with the next of them.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn lonely_days(&self, from_blocks: u64, before_secs: i64, now_secs: i64, limit: u32) -> Result<Vec<LonelyDay>, CatalogError> {
        let rows = sqlx::query(LONELY)
            .bind(signed(from_blocks, "a number of blocks")?)
            .bind(before_secs)
            .bind(i64::from(limit))
            .bind(now_secs)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, GROUP);
                Ok(LonelyDay {
                    table: TableId::from_bytes(columns.fixed()?),
                    workspace: WorkspaceId::from_bytes(columns.fixed()?),
                    epoch: epoch(&mut columns)?,
                    day: columns.int()?,
                    blocks: columns.number()?,
                })
            })
            .collect()
    }

    /// Live blocks of a table's day and epoch that no group names, by window, without statistics; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn blocks_alone(&self, table: TableId, epoch: Epoch, day: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        let rows = sqlx::query(ALONE)
            .bind(&table.as_bytes()[..])
            .bind(day)
            .bind(day.saturating_add(DAY_SECS))
            .bind(&epoch.aek.as_bytes()[..])
            .bind(&epoch.account.as_bytes()[..])
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        rows.iter().map(block_row).collect()
    }

    /// Announces a group about to be put, for the blocks of a day.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if the object was announced before; what SQLite says.
    pub async fn group_pend(&self, writer: WriterEpoch, object: ObjectId, day: &LonelyDay) -> Result<(), CatalogError> {
        fail::fail_point!("group.pend", |_| Err(CatalogError::Failpoint { point: "group.pend" }));
        let now_ms = self.now_ms();
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, GROUP).await?;
        sqlx::query(
            "INSERT INTO filter_groups (id, table_id, day, workspace, account, aek, state, since_ms) VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
        )
        .bind(&object.as_bytes()[..])
        .bind(&day.table.as_bytes()[..])
        .bind(day.day)
        .bind(&day.workspace.as_bytes()[..])
        .bind(&day.epoch.account.as_bytes()[..])
        .bind(&day.epoch.aek.as_bytes()[..])
        .bind(now_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(GROUP, &e))?;
        commit(tx, GROUP).await
    }

    /// Makes a group live. The same commit again is answered as done, so an unknown outcome is asked for once more here.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if it is not pending, or if a block that it names is not live any more: it
    /// may be one whose rows have gone for good; [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn group_commit(&self, writer: WriterEpoch, commit: &GroupCommit) -> Result<(), CatalogError> {
        fail::fail_point!("group.txn", |_| Err(CatalogError::Failpoint { point: "group.txn" }));
        match self.group_once(writer, commit).await {
            Err(CatalogError::CommitUnknown { .. }) => self.group_once(writer, commit).await,
            known => known,
        }
    }

    async fn group_once(&self, writer: WriterEpoch, group: &GroupCommit) -> Result<(), CatalogError> {
        if group.blocks.is_empty() {
            return Err(CatalogError::Invalid { what: "a group of no blocks" });
        }
        let now_ms = self.now_ms();
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, GROUP).await?;
        let state: Option<i64> = sqlx::query_scalar("SELECT state FROM filter_groups WHERE id = ?")
            .bind(&group.object.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        match state {
            Some(0) => {}
            Some(1) => return Ok(()),
            _ => return Err(CatalogError::Conflict { what: GROUP, why: "it is not pending" }),
        }
        sqlx::query("UPDATE filter_groups SET state = 1, since_ms = ?, sealed_len = ?, plain_len = ?, arrived_ms = ? WHERE id = ?")
            .bind(now_ms)
            .bind(signed(group.sealed_len, "a length")?)
            .bind(signed(group.plain_len, "a length")?)
            .bind(group.arrived_ms)
            .bind(&group.object.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        for block in &group.blocks {
            let named = sqlx::query(
                "INSERT INTO filter_group_blocks (block, group_id)
                 SELECT b.id, g.id FROM blocks b JOIN filter_groups g
                   ON g.table_id = b.table_id AND g.aek = b.aek AND b.window_start >= g.day AND b.window_start < g.day + 86400
                 WHERE b.id = ?1 AND b.state = 1 AND g.id = ?2",
            )
            .bind(&block.as_bytes()[..])
            .bind(&group.object.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(GROUP, &e))?;
            if named.rows_affected() != 1 {
                return Err(CatalogError::Conflict { what: GROUP, why: "a block that it names is not live" });
            }
        }
        commit(tx, GROUP).await
    }

    /// The live groups of a table whose day begins from `first` to `last`, seconds since 1970.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn groups_at(&self, table: TableId, first: i64, last: i64) -> Result<Vec<GroupRow>, CatalogError> {
        let rows = sqlx::query(AT)
            .bind(&table.as_bytes()[..])
            .bind(first)
            .bind(last)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        rows.iter().map(group_row).collect()
    }

    /// Every group there is, in whatever state.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn groups(&self) -> Result<Vec<GroupRow>, CatalogError> {
        let rows = sqlx::query(groups!("")).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(GROUP, &e))?;
        rows.iter().map(group_row).collect()
    }

    /// Turns groups announced before `older_than_ms` (milliseconds since 1970) that never went live into tombstones. How many; at most
    /// `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn groups_abandon(&self, older_than_ms: i64, limit: u32) -> Result<u64, CatalogError> {
        let now_ms = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(GROUP).await?;
        let rows =
            sqlx::query(PENDINGS).bind(older_than_ms).bind(i64::from(limit)).fetch_all(&mut *tx).await.map_err(|e| refused(GROUP, &e))?;
        for row in &rows {
            let row = group_row(row)?;
            sqlx::query("UPDATE filter_groups SET state = 2, since_ms = ? WHERE id = ? AND state = 0")
                .bind(now_ms)
                .bind(&row.object.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(GROUP, &e))?;
        }
        commit(tx, GROUP).await?;
        Ok(rows.len() as u64)
    }

    /// Groups that became tombstones before `older_than_ms` (milliseconds since 1970), oldest first; at most `limit`. Those of shredded
    /// rows are as old as can be.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn group_tombstones(&self, older_than_ms: i64, limit: u32) -> Result<Vec<GroupRow>, CatalogError> {
        let rows = sqlx::query(TOMBSTONES)
            .bind(older_than_ms)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        rows.iter().map(group_row).collect()
    }

    /// Forgets tombstones whose objects are gone. Others, and unknown ones, are left alone.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn group_forget(&self, objects: &[ObjectId]) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(GROUP).await?;
        for object in objects {
            sqlx::query("DELETE FROM filter_groups WHERE id = ? AND state = 2")
                .bind(&object.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(GROUP, &e))?;
        }
        commit(tx, GROUP).await
    }
}

/// Ends the groups of a day in which rows go for good: one that named a block which was merged since, or is sealed in another epoch now,
/// has hashes of its terms, too.
pub(crate) async fn end_of(tx: &mut Tx<'_>, block: &BlockRow, since_ms: i64, what: &'static str) -> Result<(), CatalogError> {
    sqlx::query(END)
        .bind(since_ms)
        .bind(&block.table.as_bytes()[..])
        .bind(block.window.start - block.window.start.rem_euclid(DAY_SECS))
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(what, &e))?;
    Ok(())
}
