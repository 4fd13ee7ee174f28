//! How blocks end: expired, abandoned, forgotten.

use strongroom_model::{AekId, ObjectId, TableId};

use crate::blocks::{bury, next_seq};
use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::snapshot::{block, block_row, blocks};
use crate::{BlockRow, BlockState, Catalog, CatalogError, groups};

/// Blocks turned in one transaction: keeps the writer free for flushes (some 30 ms).
const CHUNK: usize = 1_000;

const EXPIRE: &str = "expiring blocks";
const PENDING: &str = "a pending block";
const TOMBSTONE: &str = "a tombstone";

pub(crate) const EXPIRED: &str = blocks!(
    "x''",
    "WHERE table_id = ?1 AND window_start >= ?2 AND window_start < ?3 AND window_start + window_len <= ?3 AND state = 1
     AND arrived_ms < ?3 * 1000
     ORDER BY window_start, id LIMIT ?4"
);
/// A table without days of its own follows its workspace's, and their change.
const CHANGES: &str = "SELECT changed, days FROM
     (SELECT max(t.retention_set_ms, CASE WHEN t.retention_days IS NULL THEN w.retention_set_ms ELSE 0 END) AS changed,
             coalesce(t.retention_days, w.retention_days) AS days
      FROM workspace_secrets s JOIN workspaces w ON w.id = s.workspace JOIN tables t ON t.workspace = w.id WHERE s.aek = ?1)
     WHERE changed > 0";
pub(crate) const PENDINGS: &str = blocks!("x''", "INDEXED BY blocks_pending WHERE state = 0 AND since_ms < ?1 ORDER BY since_ms LIMIT ?2");
pub(crate) const TOMBSTONES: &str =
    blocks!("x''", "INDEXED BY blocks_tombstones WHERE state = 2 AND since_ms < ?1 ORDER BY since_ms LIMIT ?2");

impl Catalog {
    /// Blocks that became tombstones before `older_than_ms` (milliseconds since 1970), oldest first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn tombstones(&self, older_than_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        let rows = sqlx::query(TOMBSTONES)
            .bind(older_than_ms)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(TOMBSTONE, &e))?;
        rows.iter().map(block_row).collect()
    }

    /// Blocks announced before `older_than_ms` (milliseconds since 1970) that never went live, oldest first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn pending(&self, older_than_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        let rows = sqlx::query(PENDINGS)
            .bind(older_than_ms)
            .bind(i64::from(limit))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(PENDING, &e))?;
        rows.iter().map(block_row).collect()
    }

    /// Turns those of [`pending`](Self::pending) into tombstones, so that they can no longer go live while their objects are
    /// being deleted; answers them. Only an object of a tombstone may be deleted.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn pending_abandon(&self, older_than_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        let now_ms = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(PENDING).await?;
        let rows =
            sqlx::query(PENDINGS).bind(older_than_ms).bind(i64::from(limit)).fetch_all(&mut *tx).await.map_err(|e| refused(PENDING, &e))?;
        let mut old = rows.iter().map(block_row).collect::<Result<Vec<_>, _>>()?;
        if old.is_empty() {
            return Ok(old);
        }
        // They were never part of a table, so readers' sequence stands still.
        let seq: i64 = sqlx::query_scalar("SELECT seq FROM state").fetch_one(&mut *tx).await.map_err(|e| refused(PENDING, &e))?;
        for row in &mut old {
            bury(&mut tx, row, now_ms, seq).await?;
            turned(row, now_ms, seq);
        }
        commit(tx, PENDING).await?;
        Ok(old)
    }

    /// Forgets tombstones whose objects are gone. Unknown ones are no trouble.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if one of them is pending or live; then none is forgotten.
    pub async fn block_forget(&self, objects: &[ObjectId]) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(TOMBSTONE).await?;
        for &object in objects {
            let Some(row) = block(&mut tx, object).await? else { continue };
            if row.state != BlockState::Tombstone {
                return Err(CatalogError::Conflict { what: TOMBSTONE, why: "the block is still pending or live" });
            }
            sqlx::query("DELETE FROM blocks WHERE table_id = ? AND window_start = ? AND id = ?")
                .bind(&row.table.as_bytes()[..])
                .bind(row.window.start)
                .bind(&row.object.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(TOMBSTONE, &e))?;
        }
        commit(tx, TOMBSTONE).await
    }

    /// Turns every live block of a table whose whole window ended at or before `window_end_before_secs` (seconds since 1970),
    /// and whose oldest row arrived before it too, into a tombstone, with the group of filters that names it; answers the blocks. (Old logs sent today are kept as long
    /// as today's.) In steps: an error may leave some turned.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn expire(&self, table: TableId, window_end_before_secs: i64) -> Result<Vec<BlockRow>, CatalogError> {
        let mut expired: Vec<BlockRow> = Vec::new();
        loop {
            let from = expired.last().map_or(i64::MIN, |row| row.window.start);
            let mut step = self.expire_step(table, from, window_end_before_secs).await?;
            let last = step.len() < CHUNK;
            expired.append(&mut step);
            if last {
                return Ok(expired);
            }
        }
    }

    /// For each table of a workspace that ever wrote under an AEK and whose retention was changed: when, milliseconds since
    /// 1970, and to how many days.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn retention_changes(&self, aek: AekId) -> Result<Vec<(i64, u32)>, CatalogError> {
        let rows = sqlx::query(CHANGES).bind(&aek.as_bytes()[..]).fetch_all(&mut *self.reader().await?).await;
        rows.map_err(|e| refused(EXPIRE, &e))?
            .iter()
            .map(|row| {
                let mut columns = Columns::of(row, EXPIRE);
                Ok((columns.int()?, columns.number()?))
            })
            .collect()
    }

    async fn expire_step(&self, table: TableId, from: i64, before: i64) -> Result<Vec<BlockRow>, CatalogError> {
        let now_ms = self.now_ms();
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(EXPIRE).await?;
        let rows = sqlx::query(EXPIRED)
            .bind(&table.as_bytes()[..])
            .bind(from)
            .bind(before)
            .bind(i64::try_from(CHUNK).expect("a small number"))
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| refused(EXPIRE, &e))?;
        let mut old = rows.iter().map(block_row).collect::<Result<Vec<_>, _>>()?;
        if old.is_empty() {
            return Ok(old);
        }
        let seq = next_seq(&mut tx, EXPIRE).await?;
        for row in &mut old {
            groups::end_of(&mut tx, row, now_ms, EXPIRE).await?;
            bury(&mut tx, row, now_ms, seq).await?;
            turned(row, now_ms, seq);
        }
        commit(tx, EXPIRE).await?;
        Ok(old)
    }
}

/// What [`bury`] did, in the row at hand.
fn turned(row: &mut BlockRow, now_ms: i64, seq: i64) {
    row.state = BlockState::Tombstone;
    row.since_ms = now_ms;
    row.removed_seq = u64::try_from(seq).ok();
}
