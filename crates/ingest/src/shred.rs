//! Rows that are taken away before their time: a table, or a range of its event times.
//!
//! A table or a day has no key of its own. Blocks that lie wholly in the range are deleted, those that reach across its edges are
//! written once more without its rows (a fresh object, so a fresh key), all in one commit; then the old objects are unlinked and
//! the log's segments go as soon as nothing else in them is needed. What was taken away is unlinked, not overwritten: copies of
//! the old objects still open for who has the account's keys, until the workspace is shredded.

use bytes::Bytes;
use strongroom_catalog::{BlockRow, FlushCommit, ShredCommit};
use strongroom_keys::Purpose;
use strongroom_model::{Epoch, Position, PrincipalId, TableId, TimeRange, WorkspaceId};

use crate::decoding::blocking;
use crate::encode::without;
use crate::intake::Intake;
use crate::publish::{BlockPlace, Points, commit, failpoint, publish};
use crate::{IngestError, ShredReport};

static POINTS: Points = Points { encode: "shred.encode", encrypt: "shred.encrypt", put: "shred.put", put_unknown: "shred.put_unknown" };

impl Intake {
    /// Takes the rows of a table away whose `TimeGenerated` lies in `range`, those in memory and log included. Rows that arrive
    /// while it runs may stay. Begun again after a stop, it goes on with what is left.
    ///
    /// # Errors
    /// [`IngestError`]; before the commit nothing is changed, after it only files are left, which the sweep takes.
    pub async fn shred(&self, workspace: WorkspaceId, table: TableId, range: TimeRange) -> Result<ShredReport, IngestError> {
        self.make_blocks(workspace, table, range).await?;
        let mut report = ShredReport::default();
        let old = {
            let _turn = self.compacting.lock().await;
            let shred = self.rewrite(workspace, table, range, &mut report).await?;
            if shred == ShredCommit::default() {
                Vec::new()
            } else {
                let old = self.deps.catalog.shred_commit(self.deps.writer, table, &shred).await?;
                failpoint("shred.committed")?;
                old
            }
        };
        report.bytes = old.iter().map(|row| row.sealed_len).sum();
        self.unlink(&old, &mut report).await?;
        self.unlink_groups(&mut report).await?;
        report.segments_left = self.trim(&[table]).await?;
        tracing::info!(%workspace, %table, deleted = report.deleted, rewritten = report.rewritten, rows = report.rows, "rows shredded");
        Ok(report)
    }

    /// Rows in memory become blocks. Rows in a log that cannot be read now are an error: they would come back with its key.
    async fn make_blocks(&self, workspace: WorkspaceId, table: TableId, range: TimeRange) -> Result<(), IngestError> {
        for memtable in self.deps.buffer.pressure().tables.iter().filter(|memtable| memtable.table == table) {
            for _ in 0..memtable.freezes {
                self.flush_memtable(memtable.table, memtable.epoch).await?;
            }
        }
        for (epoch, never_read) in self.deps.buffer.away(table, range) {
            if !never_read || self.deps.catalog.workspace_secret(workspace, epoch.aek).await?.is_some() {
                self.deps.keys.epoch_guard(epoch).await?;
                return Err(strongroom_keys::KeyError::NotLoaded { epoch }.into());
            }
        }
        Ok(())
    }

    /// What is to be committed: the new blocks are put, the old ones still there.
    async fn rewrite(
        &self,
        workspace: WorkspaceId,
        table: TableId,
        range: TimeRange,
        report: &mut ShredReport,
    ) -> Result<ShredCommit, IngestError> {
        let mut shred = ShredCommit::default();
        for block in self.deps.catalog.snapshot(table, range).await?.blocks {
            if range.start <= block.time.start && block.time.end <= range.end {
                report.deleted += 1;
                report.rows += block.rows;
                shred.gone.push(block.object);
                continue;
            }
            let guard = self.deps.keys.guard(block.epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await?;
            let file: Bytes = self.read_block(&block, &guard).await?;
            let (left, gone) = blocking(move || without(file, range)).await??;
            if gone == 0 {
                continue;
            }
            report.rows += gone;
            let Some(left) = left else {
                report.deleted += 1;
                shred.gone.push(block.object);
                continue;
            };
            if left.rows + gone != block.rows {
                return Err(IngestError::Corrupt { what: "the rows of a block" });
            }
            let place = BlockPlace::mint(&self.deps.world, block.epoch, workspace, table, block.window);
            self.deps.catalog.blocks_pend(self.deps.writer, &[place.pending(Position::default())]).await?;
            let next = publish(&self.deps, &guard, place, Box::new(move || Ok(left)), block.level, block.arrived_ms, &POINTS).await?;
            report.rewritten += 1;
            shred.replaced.push((block.object, next));
        }
        Ok(shred)
    }

    /// Old objects go now and not with the sweep: a query that still reads them breaks off.
    async fn unlink(&self, old: &[BlockRow], report: &mut ShredReport) -> Result<(), IngestError> {
        let mut gone = Vec::with_capacity(old.len());
        for row in old {
            let place = BlockPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, window: row.window, object: row.object };
            match self.deps.blocks.delete(&place.key()).await {
                Ok(()) => gone.push(row.object),
                Err(error) => {
                    tracing::warn!(block = %row.object, code = error.code(), "a shredded block's object is left to the sweep");
                    report.objects_left += 1;
                }
            }
        }
        self.deps.catalog.block_forget(&gone).await?;
        Ok(())
    }

    /// Segments with rows of these tables go once everything in them is in blocks. How many are left.
    async fn trim(&self, tables: &[TableId]) -> Result<u64, IngestError> {
        let held = self.deps.buffer.logged(tables);
        let mut epochs: Vec<Epoch> = held.iter().map(|(epoch, _)| *epoch).collect();
        epochs.dedup();
        for epoch in epochs {
            self.rotate(epoch).await?;
            // Others' rows in the same segments; one that fails keeps its segments.
            for memtable in self.deps.buffer.pressure().tables.iter().filter(|memtable| memtable.epoch == epoch) {
                for _ in 0..memtable.freezes {
                    if let Err(error) = self.flush_memtable(memtable.table, memtable.epoch).await {
                        tracing::warn!(table = %memtable.table, code = error.code(), "rows that share a log with shredded ones stay in it");
                        break;
                    }
                }
            }
        }
        let now = self.deps.buffer.logged(tables);
        Ok(held.iter().filter(|one| now.contains(one)).count() as u64)
    }

    async fn rotate(&self, epoch: Epoch) -> Result<(), IngestError> {
        let buffer = self.deps.buffer.clone();
        Ok(blocking(move || buffer.rotate(epoch)).await??)
    }

    /// Gives up what a deleted workspace has in memory, and lets its segments of the log go. Whether none is left.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn discard(&self, workspace: WorkspaceId) -> Result<bool, IngestError> {
        // Whoever still knew a place there is through, and nobody finds it again.
        drop(self.barrier(workspace).await);
        let tables: Vec<TableId> = self.deps.catalog.tables(workspace).await?.into_iter().map(|row| row.id).collect();
        for memtable in self.deps.buffer.pressure().tables.iter().filter(|memtable| tables.contains(&memtable.table)) {
            let (table, epoch) = (memtable.table, memtable.epoch);
            let _turn = self.flushing.lock().await;
            while let Some(frozen) = self.deps.buffer.freeze(table, epoch) {
                let through = frozen.through;
                let none = FlushCommit { table, workspace, epoch, through, blocks: Vec::new(), batches: Vec::new() };
                commit(&self.deps, || self.deps.catalog.flush_commit(self.deps.writer, &none)).await?;
                let buffer = self.deps.buffer.clone();
                blocking(move || buffer.settle(table, epoch, through)).await?;
            }
        }
        self.trim(&tables).await?;
        for epoch in self.deps.buffer.absent() {
            // Of a log that was not read it is known only who could have written to it.
            if self.deps.catalog.workspace_secret(workspace, epoch.aek).await?.is_some() {
                return Ok(false);
            }
        }
        Ok(self.deps.buffer.logged(&tables).is_empty())
    }

    /// Takes the log of epochs away whose keys are to be destroyed, if nothing in memory waits to become a block. Whether it did.
    /// Their cluster was deleted when all its rows were in blocks, so a log that was not read since holds none that are not.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn discard_epochs(&self, epochs: &[Epoch]) -> Result<bool, IngestError> {
        let waits = |epoch: &Epoch| self.deps.buffer.pressure().tables.iter().any(|memtable| memtable.epoch == *epoch);
        if epochs.iter().any(waits) {
            return Ok(false);
        }
        let (buffer, epochs) = (self.deps.buffer.clone(), epochs.to_vec());
        blocking(move || epochs.into_iter().try_for_each(|epoch| buffer.destroy(epoch).map(drop))).await??;
        Ok(true)
    }
}
