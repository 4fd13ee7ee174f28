//! How blocks come to be: announced, made live by a flush or a compaction. Every commit here is fenced.

use std::collections::HashSet;

use strongroom_model::{AekId, ObjectId, Position, TableId};

use crate::columns::{Columns, signed};
use crate::db::{Tx, commit, refused};
use crate::{
    BlockRow, BlockState, Catalog, CatalogError, CompactionCommit, FlushCommit, LiveBlock, PendingBlock, WriterEpoch, batches, snapshot,
};

const PEND: &str = "announcing blocks";
const FLUSH: &str = "a flush";
const COMPACTION: &str = "a compaction";

impl Catalog {
    /// Announces blocks about to be put (transaction A).
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if an object was announced before; [`CatalogError::Orphan`] if
    /// the table is not there; [`CatalogError::Invalid`] if a window does not start at a multiple of its length.
    pub async fn blocks_pend(&self, writer: WriterEpoch, blocks: &[PendingBlock]) -> Result<(), CatalogError> {
        fail::fail_point!("flush.txn_a", |_| Err(CatalogError::Failpoint { point: "flush.txn_a" }));
        let now_ms = self.now_ms();
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, PEND).await?;
        for block in blocks {
            if block.window.start.rem_euclid(block.window.length.seconds()) != 0 {
                return Err(CatalogError::Invalid { what: "the start of a window" });
            }
            sqlx::query(
                "INSERT INTO blocks (table_id, window_start, id, window_len, workspace, account, aek, state, since_ms, writer, through)
                 VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?)",
            )
            .bind(&block.table.as_bytes()[..])
            .bind(block.window.start)
            .bind(&block.object.as_bytes()[..])
            .bind(block.window.length.seconds())
            .bind(&block.workspace.as_bytes()[..])
            .bind(&block.epoch.account.as_bytes()[..])
            .bind(&block.epoch.aek.as_bytes()[..])
            .bind(now_ms)
            .bind(signed(writer.0, "a writer epoch")?)
            .bind(signed(block.through.0, "a position")?)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(PEND, &e))?;
        }
        commit(tx, PEND).await
    }

    /// Makes one freeze durable (transaction B): its blocks go live, flushed-through moves on, its batch ids are kept; all
    /// or nothing. The same commit again is answered as done, so an unknown outcome is asked for once more here.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if a block is not pending as announced or these positions were
    /// flushed otherwise; [`CatalogError::Invalid`] if a block's rows lie outside its window;
    /// [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn flush_commit(&self, writer: WriterEpoch, commit: &FlushCommit) -> Result<(), CatalogError> {
        fail::fail_point!("flush.txn_b", |_| Err(CatalogError::Failpoint { point: "flush.txn_b" }));
        match self.flush_once(writer, commit).await {
            Err(CatalogError::CommitUnknown { .. }) => self.flush_once(writer, commit).await,
            known => known,
        }
    }

    async fn flush_once(&self, writer: WriterEpoch, flush: &FlushCommit) -> Result<(), CatalogError> {
        let now_ms = self.now_ms();
        let through = signed(flush.through.0, "a position")?;
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, FLUSH).await?;
        if flushed_through(&mut tx, flush.table, flush.epoch.aek).await?.is_some_and(|reached| flush.through <= reached) {
            // Taken by an earlier commit: by this very one, or its rows would be in the table twice.
            for block in &flush.blocks {
                if !went_live(&mut tx, block).await? {
                    return Err(CatalogError::Conflict { what: FLUSH, why: "its positions were flushed before" });
                }
            }
            return Ok(());
        }
        let seq = next_seq(&mut tx, FLUSH).await?;
        for block in &flush.blocks {
            go_live(&mut tx, flush.table, flush.epoch.aek, block, now_ms, seq, FLUSH).await?;
        }
        sqlx::query(
            "INSERT INTO flushed (table_id, account, aek, through) VALUES (?, ?, ?, ?)
             ON CONFLICT (table_id, aek) DO UPDATE SET through = excluded.through",
        )
        .bind(&flush.table.as_bytes()[..])
        .bind(&flush.epoch.account.as_bytes()[..])
        .bind(&flush.epoch.aek.as_bytes()[..])
        .bind(through)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(FLUSH, &e))?;
        for batch in &flush.batches {
            batches::keep(&mut tx, batch).await?;
        }
        commit(tx, FLUSH).await
    }

    /// Replaces blocks by their merge, all or nothing. The same commit again is answered as done, so an unknown outcome is
    /// asked for once more here.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if an input is no longer live or an output not pending as
    /// announced; [`CatalogError::Invalid`] if the rows of inputs and outputs differ in number, or a block lies in another
    /// (table, window, epoch); [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn compaction_commit(&self, writer: WriterEpoch, commit: &CompactionCommit) -> Result<(), CatalogError> {
        fail::fail_point!("compact.txn", |_| Err(CatalogError::Failpoint { point: "compact.txn" }));
        match self.compact_once(writer, commit).await {
            Err(CatalogError::CommitUnknown { .. }) => self.compact_once(writer, commit).await,
            known => known,
        }
    }

    async fn compact_once(&self, writer: WriterEpoch, compaction: &CompactionCommit) -> Result<(), CatalogError> {
        let now_ms = self.now_ms();
        let mut conn = self.writer().await?;
        let mut tx = conn.begin_as(writer, COMPACTION).await?;
        let mut done = !compaction.outputs.is_empty();
        for output in &compaction.outputs {
            done &= went_live(&mut tx, output).await?;
        }
        if done {
            return Ok(());
        }
        let mut inputs = Vec::with_capacity(compaction.inputs.len());
        for &object in &compaction.inputs {
            let Some(row) = snapshot::block(&mut tx, object).await?.filter(|row| row.state == BlockState::Live) else {
                return Err(CatalogError::Conflict { what: COMPACTION, why: "an input is no longer live" });
            };
            inputs.push(row);
        }
        check_merge(&inputs, compaction)?;
        let seq = next_seq(&mut tx, COMPACTION).await?;
        for input in &inputs {
            bury(&mut tx, input, now_ms, seq).await?;
        }
        for output in &compaction.outputs {
            go_live(&mut tx, compaction.table, compaction.epoch.aek, output, now_ms, seq, COMPACTION).await?;
        }
        commit(tx, COMPACTION).await
    }
}

/// A merge stays inside one (table, window, epoch) and neither loses nor doubles a row.
fn check_merge(inputs: &[BlockRow], compaction: &CompactionCommit) -> Result<(), CatalogError> {
    let Some(window) = inputs.first().map(|input| input.window) else {
        return Err(CatalogError::Invalid { what: "a compaction of nothing" });
    };
    let distinct: HashSet<ObjectId> = inputs.iter().map(|input| input.object).collect();
    if distinct.len() != inputs.len() {
        return Err(CatalogError::Invalid { what: "a compaction that names an input twice" });
    }
    let at_home = inputs
        .iter()
        .all(|input| input.table == compaction.table && input.epoch == compaction.epoch && input.workspace == compaction.workspace);
    let one_window = inputs.iter().all(|input| input.window == window) && compaction.outputs.iter().all(|output| output.window == window);
    if !at_home || !one_window {
        return Err(CatalogError::Invalid { what: "a compaction across tables, epochs or windows" });
    }
    let before: u64 = inputs.iter().map(|input| input.rows).sum();
    let after: u64 = compaction.outputs.iter().map(|output| output.rows).sum();
    if before != after {
        return Err(CatalogError::Invalid { what: "a compaction that changes the number of rows" });
    }
    Ok(())
}

/// The number of this commit: one more than the last that changed what readers see.
pub(crate) async fn next_seq(tx: &mut Tx<'_>, what: &'static str) -> Result<i64, CatalogError> {
    sqlx::query_scalar("UPDATE state SET seq = seq + 1 RETURNING seq").fetch_one(&mut **tx).await.map_err(|e| refused(what, &e))
}

async fn flushed_through(tx: &mut Tx<'_>, table: TableId, aek: AekId) -> Result<Option<Position>, CatalogError> {
    let row = sqlx::query("SELECT through FROM flushed WHERE table_id = ? AND aek = ?")
        .bind(&table.as_bytes()[..])
        .bind(&aek.as_bytes()[..])
        .fetch_optional(&mut **tx)
        .await
        .map_err(|e| refused(FLUSH, &e))?;
    row.map(|row| Columns::of(&row, "a flushed position").number().map(Position)).transpose()
}

/// Whether exactly this block went live at some time (it may be a tombstone by now).
pub(crate) async fn went_live(tx: &mut Tx<'_>, block: &LiveBlock) -> Result<bool, CatalogError> {
    let known = snapshot::block(tx, block.object).await?;
    Ok(known.is_some_and(|row| row.added_seq.is_some() && row.sha256 == block.sha256))
}

pub(crate) async fn go_live(
    tx: &mut Tx<'_>,
    table: TableId,
    aek: AekId,
    block: &LiveBlock,
    now_ms: i64,
    seq: i64,
    what: &'static str,
) -> Result<(), CatalogError> {
    check_block(block)?;
    let stats = sqlx::query("INSERT INTO block_stats (cell) VALUES (?)")
        .bind(&block.stats[..])
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(what, &e))?
        .last_insert_rowid();
    let done = sqlx::query(
        "UPDATE blocks
         SET state = 1, since_ms = ?, time_min = ?, time_max = ?, rows = ?, sealed_len = ?, plain_len = ?, sha256 = ?, level = ?,
             arrived_ms = ?, added_seq = ?, stats = ?
         WHERE table_id = ? AND window_start = ? AND id = ? AND window_len = ? AND aek = ? AND state = 0",
    )
    .bind(now_ms)
    .bind(block.time.start)
    .bind(block.time.end)
    .bind(signed(block.rows, "a number of rows")?)
    .bind(signed(block.sealed_len, "a length")?)
    .bind(signed(block.plain_len, "a length")?)
    .bind(&block.sha256[..])
    .bind(i64::from(block.level))
    .bind(block.arrived_ms)
    .bind(seq)
    .bind(stats)
    .bind(&table.as_bytes()[..])
    .bind(block.window.start)
    .bind(&block.object.as_bytes()[..])
    .bind(block.window.length.seconds())
    .bind(&aek.as_bytes()[..])
    .execute(&mut **tx)
    .await
    .map_err(|e| refused(what, &e))?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(CatalogError::Conflict { what, why: "a block is not pending as announced" }) }
}

fn check_block(block: &LiveBlock) -> Result<(), CatalogError> {
    if block.rows == 0 || block.sealed_len == 0 {
        return Err(CatalogError::Invalid { what: "a block of nothing" });
    }
    // In seconds, for the nanoseconds of the last window end beyond what an i64 holds.
    let inside = |at: i64| (0..block.window.length.seconds()).contains(&(at.div_euclid(1_000_000_000) - block.window.start));
    if block.time.start > block.time.end || !inside(block.time.start) || !inside(block.time.end) {
        return Err(CatalogError::Invalid { what: "the event time of a block" });
    }
    Ok(())
}

/// Turns a live or pending block into a tombstone; its statistics go at once (a trigger's work).
pub(crate) async fn bury(tx: &mut Tx<'_>, block: &BlockRow, now_ms: i64, seq: i64) -> Result<(), CatalogError> {
    let what = "a tombstone";
    let done = sqlx::query(
        "UPDATE blocks SET state = 2, since_ms = ?, removed_seq = ?, stats = NULL
         WHERE table_id = ? AND window_start = ? AND id = ? AND state <> 2",
    )
    .bind(now_ms)
    .bind(seq)
    .bind(&block.table.as_bytes()[..])
    .bind(block.window.start)
    .bind(&block.object.as_bytes()[..])
    .execute(&mut **tx)
    .await
    .map_err(|e| refused(what, &e))?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(CatalogError::Conflict { what, why: "the block is one already" }) }
}
