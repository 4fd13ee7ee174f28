//! From a frozen memtable to live blocks.
//!
//! ```text
//! freeze ─▶ windows, sorted ─▶ announce (txn A) ─▶ per window: Parquet, seal, put ─▶ commit all with the position (txn B) ─▶ settle
//! ```
//! Whatever fails before the commit leaves the frozen rows where they are, in memory and in the log; the next try mints
//! new objects, and those of the failed one stay announced until the sweep takes them. A commit that may or may not
//! have happened is asked for again with the same content, which the catalog answers as done.

use strongroom_buffer::Frozen;
use strongroom_catalog::{BatchRow, FlushCommit};
use strongroom_envelope::seal_cell;
use strongroom_keys::Purpose;
use strongroom_model::{Epoch, PrincipalId, TableId, TableName, WorkspaceId};

use crate::decoding::blocking;
use crate::encode::arrange;
use crate::intake::{Intake, reply_place};
use crate::publish::{BlockPlace, Points, commit, encoding, failpoint, publish};
use crate::{FlushReport, IngestError};

static POINTS: Points = Points { encode: "flush.encode", encrypt: "flush.encrypt", put: "flush.put", put_unknown: "flush.put_unknown" };

impl Intake {
    /// Writes what is in memory of a table, or of all tables of a workspace, as blocks.
    ///
    /// # Errors
    /// [`IngestError`]; rows that could not be written stay in memory and in the log.
    pub async fn flush(&self, workspace: WorkspaceId, table: Option<TableName>) -> Result<FlushReport, IngestError> {
        let tables = match table {
            None => self.deps.catalog.tables(workspace).await?,
            Some(name) => {
                let row = self.deps.catalog.table_get(workspace, &name).await?;
                vec![row.ok_or_else(|| IngestError::NoTable(name.to_string()))?]
            }
        };
        let mut report = FlushReport::default();
        let pressure = self.deps.buffer.pressure().tables;
        for memtable in pressure.iter().filter(|memtable| tables.iter().any(|row| row.id == memtable.table)) {
            // The oldest rows go first, what an earlier flush left frozen before them.
            for _ in 0..memtable.freezes {
                report.add(self.flush_memtable(memtable.table, memtable.epoch).await?);
            }
        }
        Ok(report)
    }

    /// Flushes one memtable, or what is frozen of it.
    pub(crate) async fn flush_memtable(&self, table: TableId, epoch: Epoch) -> Result<FlushReport, IngestError> {
        let _turn = self.flushing.lock().await;
        failpoint("flush.freeze")?;
        let Some(frozen) = self.deps.buffer.freeze(table, epoch) else { return Ok(FlushReport::default()) };
        let started = self.deps.world.clock.boot();
        let through = frozen.through;
        let report = self.write(frozen).await?;
        failpoint("flush.unlink")?;
        let buffer = self.deps.buffer.clone();
        blocking(move || buffer.settle(table, epoch, through)).await?;
        self.gate.freed.notify_one();
        let took = self.deps.world.clock.boot().since(started);
        metrics::counter!("ingest_flushed_rows_total").increment(report.rows);
        metrics::counter!("ingest_flushed_blocks_total").increment(report.blocks);
        metrics::counter!("ingest_flushed_bytes_total").increment(report.bytes);
        metrics::histogram!("ingest_flush_seconds").record(took.as_secs_f64());
        tracing::debug!(%table, blocks = report.blocks, rows = report.rows, bytes = report.bytes, "memtable flushed");
        Ok(report)
    }

    async fn write(&self, frozen: Frozen) -> Result<FlushReport, IngestError> {
        let (table, workspace, epoch, through) = (frozen.table, frozen.workspace, frozen.epoch, frozen.through);
        if self.is_flushed(table, epoch, through).await? {
            // The commit went through, the settling after it did not.
            return Ok(FlushReport::default());
        }
        let guard = self.deps.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await?;
        let rows: Vec<_> = frozen.rows.into_iter().map(|(_, arrival, batch)| (arrival, batch)).collect();
        let arranged = blocking(move || arrange(&rows)).await??;
        let places: Vec<_> =
            arranged.iter().map(|block| BlockPlace::mint(&self.deps.world, epoch, workspace, table, block.window)).collect();
        let pending: Vec<_> = places.iter().map(|place| place.pending(through)).collect();
        self.deps.catalog.blocks_pend(self.deps.writer, &pending).await?;
        let mut blocks = Vec::with_capacity(places.len());
        for (place, block) in places.into_iter().zip(arranged) {
            let arrived_ms = block.arrival.div_euclid(1_000_000);
            blocks.push(publish(&self.deps, &guard, place, encoding(block), 0, arrived_ms, &POINTS).await?);
        }
        let report = FlushReport {
            blocks: blocks.len() as u64,
            rows: blocks.iter().map(|block| block.rows).sum(),
            bytes: blocks.iter().map(|block| block.sealed_len).sum(),
        };
        let now = self.deps.world.clock.boot();
        let batches = frozen
            .marks
            .into_iter()
            .map(|(mark, arrival)| {
                // An answer names new columns: in the catalog it is a cell, like everything else that comes from rows.
                let place = reply_place(epoch, workspace, table, &mark.id_sha256);
                Ok(BatchRow {
                    workspace,
                    id_sha256: mark.id_sha256,
                    key_sha256: mark.key_sha256,
                    reply: seal_cell(&guard, now, self.deps.world.rng.as_ref(), &place, &mark.reply)?,
                    at_ms: arrival.div_euclid(1_000_000),
                })
            })
            .collect::<Result<_, IngestError>>()?;
        let done = FlushCommit { table, workspace, epoch, through, blocks, batches };
        commit(&self.deps, || self.deps.catalog.flush_commit(self.deps.writer, &done)).await?;
        Ok(report)
    }

    async fn is_flushed(&self, table: TableId, epoch: Epoch, through: strongroom_model::Position) -> Result<bool, IngestError> {
        let flushed = self.deps.catalog.pin(table).await?.flushed;
        Ok(flushed.iter().any(|(of, position)| *of == epoch && *position >= through))
    }
}
