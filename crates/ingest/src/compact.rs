//! Several blocks of one (table, window, epoch) made into one.
//!
//! The inputs are read whole (together at most 128 MiB of Parquet), opened under their own epoch's guard and merged row by
//! row in their common order; the output is a fresh object of the same epoch. Nothing is removed but by the one commit that
//! makes the output live, and that checks that every input still is and that no row went missing.

use bytes::Bytes;
use strongroom_catalog::{BlockRow, Candidate, CompactionCommit, SMALL_BLOCK_BYTES};
use strongroom_envelope::{KeyGuard, open};
use strongroom_keys::Purpose;
use strongroom_model::{Position, PrincipalId, TableName, WorkspaceId};
use strongroom_store::{Reader, StoredBlock};

use crate::decoding::blocking;
use crate::encode::{merge, merge_for_groups};
use crate::intake::Intake;
use crate::publish::{BlockPlace, Points, commit, failpoint, publish};
use crate::{CompactConfig, CompactReport, IngestError};

static POINTS: Points =
    Points { encode: "compact.encode", encrypt: "compact.encrypt", put: "compact.put", put_unknown: "compact.put_unknown" };

impl Intake {
    /// Merges the blocks of a table, or of all tables of a workspace, as far as it goes, and puts filters side by side.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn compact(&self, workspace: WorkspaceId, table: Option<TableName>) -> Result<CompactReport, IngestError> {
        let only = match table {
            None => None,
            Some(name) => {
                let row = self.deps.catalog.table_get(workspace, &name).await?;
                Some(row.ok_or_else(|| IngestError::NoTable(name.to_string()))?.id)
            }
        };
        let mut report = CompactReport::default();
        loop {
            let candidates = self.deps.catalog.compaction_candidates(2, u32::MAX).await?;
            let before = report.inputs;
            for candidate in candidates.iter().filter(|c| c.workspace == workspace && only.is_none_or(|table| c.table == table)) {
                report.add(self.compact_window(candidate).await?);
            }
            if report.inputs == before {
                break;
            }
        }
        self.group_filters(workspace, only).await?;
        Ok(report)
    }

    /// Merges the small blocks of one window once; a report of nothing if there are not two that go together.
    pub(crate) async fn compact_window(&self, candidate: &Candidate) -> Result<CompactReport, IngestError> {
        let _turn = self.compacting.lock().await;
        let Candidate { table, workspace, epoch, window, .. } = *candidate;
        let inputs = pick(self.deps.catalog.blocks_in(table, epoch, window).await?, &self.config.compact);
        if inputs.len() < 2 {
            return Ok(CompactReport::default());
        }
        let guard = self.deps.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await?;
        let mut files = Vec::with_capacity(inputs.len());
        for input in &inputs {
            files.push(self.read_block(input, &guard).await?);
        }
        let expected: u64 = inputs.iter().map(|input| input.rows).sum();
        let level = inputs.iter().map(|input| input.level).max().unwrap_or(0).saturating_add(1);
        let arrived_ms = inputs.iter().map(|input| input.arrived_ms).min().unwrap_or(0);
        let place = BlockPlace::mint(&self.deps.world, epoch, workspace, table, window);
        self.deps.catalog.blocks_pend(self.deps.writer, &[place.pending(Position::default())]).await?;
        let merge = if self.is_grouped(table).await? { merge_for_groups } else { merge };
        let make = Box::new(move || {
            let merged = merge(files)?;
            if merged.rows != expected {
                return Err(IngestError::Corrupt { what: "the rows of merged blocks" });
            }
            Ok(merged)
        });
        let output = publish(&self.deps, &guard, place, make, level, arrived_ms, &POINTS).await?;
        let report = CompactReport { inputs: inputs.len() as u64, outputs: 1, rows: output.rows, bytes: output.sealed_len };
        let inputs = inputs.iter().map(|input| input.object).collect();
        let done = CompactionCommit { table, workspace, epoch, inputs, outputs: vec![output] };
        commit(&self.deps, || self.deps.catalog.compaction_commit(self.deps.writer, &done)).await?;
        metrics::counter!("ingest_compacted_blocks_total").increment(report.inputs);
        metrics::counter!("ingest_compacted_rows_total").increment(report.rows);
        tracing::debug!(%table, inputs = report.inputs, rows = report.rows, bytes = report.bytes, "blocks merged");
        Ok(report)
    }

    /// Fetches and opens one block. Its SHA-256 need not be checked: every byte is authenticated.
    pub(crate) async fn read_block(&self, row: &BlockRow, guard: &KeyGuard) -> Result<Bytes, IngestError> {
        failpoint("compact.read")?;
        let place = BlockPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, window: row.window, object: row.object };
        let stored = StoredBlock { key: place.key(), epoch: row.epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
        let mut parts = self.deps.blocks.read(&stored, guard, std::slice::from_ref(&(0..row.sealed_len)), Reader::Maintain).await?;
        let sealed = parts.pop().ok_or(IngestError::Internal { what: "reading a block", source: None })?;
        let (guard, world) = (guard.clone(), self.deps.world.clone());
        let plain = blocking(move || open(&guard, world.clock.boot(), &place.header(guard.is_double()), &sealed)).await??;
        Ok(plain.into())
    }
}

/// How much a window is worth merging now; the least is the most urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// It has so many blocks that it is merged in any case.
    Forced,
    /// It is over, and got no block for a while.
    Over,
    /// Some more blocks have come to it than are worth keeping apart.
    Many,
}

/// Whether a window is worth compacting now.
pub(crate) fn due(candidate: &Candidate, now_ms: i64, idle: bool, config: &CompactConfig) -> Option<Due> {
    let count = usize::try_from(candidate.count).unwrap_or(usize::MAX);
    if count >= config.blocks_force {
        return Some(Due::Forced);
    }
    let end_ms = candidate.window.range().end.div_euclid(1_000_000);
    let closed = end_ms.saturating_add(config.grace_ms) < now_ms;
    // A time to come is that of a clock that was put back since.
    let quiet_ms = u64::try_from(now_ms.saturating_sub(candidate.last_ms)).unwrap_or(u64::MAX);
    match () {
        () if !idle => None,
        () if closed && quiet_ms >= config.quiet_ms && count >= 2 => Some(Due::Over),
        () => (count >= config.blocks_min).then_some(Due::Many),
    }
}

/// The smallest blocks first, as many as go together.
fn pick(mut blocks: Vec<BlockRow>, config: &CompactConfig) -> Vec<BlockRow> {
    blocks.retain(|block| block.sealed_len < SMALL_BLOCK_BYTES);
    blocks.sort_by_key(|block| block.plain_len);
    blocks.truncate(config.inputs_max);
    let mut bytes = 0_u64;
    let fitting = blocks.iter().take_while(|block| {
        bytes = bytes.saturating_add(block.plain_len);
        bytes <= config.block_bytes_max
    });
    let fitting = fitting.count();
    blocks.truncate(fitting);
    // Of rows of the same time the one that came last is first: ids sort by age.
    blocks.sort_by_key(|block| block.object);
    blocks
}

#[cfg(test)]
mod tests {
    use strongroom_catalog::BlockState;
    use strongroom_model::{AccountId, AekId, Epoch, ObjectId, TableId, TimeRange, Window, WindowLength};

    use super::*;

    const MIB: u64 = 1 << 20;
    const EPOCH: Epoch = Epoch { account: AccountId::NIL, aek: AekId::NIL };
    const WINDOW: Window = Window { start: 0, length: WindowLength::Hour };

    fn block(n: u8, mib: u64) -> BlockRow {
        BlockRow {
            object: ObjectId::from_bytes([n; 16]),
            workspace: WorkspaceId::NIL,
            table: TableId::NIL,
            epoch: EPOCH,
            window: WINDOW,
            state: BlockState::Live,
            since_ms: 0,
            time: TimeRange { start: 0, end: 0 },
            rows: 1,
            sealed_len: mib * MIB,
            plain_len: mib * MIB,
            sha256: [0; 32],
            level: 0,
            arrived_ms: 0,
            added_seq: None,
            removed_seq: None,
            stats: Vec::new(),
        }
    }

    #[test]
    fn the_smallest_blocks_are_picked_up_to_the_size_of_one_and_put_in_order_of_age() {
        let picked =
            |blocks: Vec<BlockRow>| pick(blocks, &CompactConfig::default()).iter().map(|b| b.object.as_bytes()[0]).collect::<Vec<_>>();
        assert_eq!(picked(vec![block(1, 50), block(2, 64), block(3, 1), block(4, 60), block(5, 30)]), [1, 3, 5]);
        assert_eq!(picked((0..40).map(|n| block(n, 1)).collect()).len(), 32);
    }

    #[test]
    fn an_open_window_waits_for_many_blocks_a_closed_one_for_quiet_and_too_many_for_nothing() {
        let config = CompactConfig::default();
        let due_if = |count: u64, now_ms: i64, idle: bool, last_ms: i64| {
            let candidate =
                Candidate { table: TableId::NIL, workspace: WorkspaceId::NIL, epoch: EPOCH, window: WINDOW, count, bytes: 0, last_ms };
            due(&candidate, now_ms, idle, &config)
        };
        let due = |count, now_ms, idle| due_if(count, now_ms, idle, now_ms - 60_000);
        let (open, closed) = (7_199_000, 7_201_000);
        assert_eq!([due(7, open, true), due(8, open, true), due(8, open, false)], [None, Some(Due::Many), None]);
        assert_eq!(
            [due(1, closed, true), due(2, closed, true), due(2, closed, false), due(64, open, false)],
            [None, Some(Due::Over), None, Some(Due::Forced)]
        );
        // Blocks still come to it: as few as these are merged when that is over.
        let busy = |count| due_if(count, closed, true, closed - 59_999);
        assert_eq!([busy(7), busy(8)], [None, Some(Due::Many)]);
        assert_eq!(due_if(2, closed, true, closed + 1), Some(Due::Over), "the clock was put back");
        assert!(Due::Forced < Due::Over && Due::Over < Due::Many);
    }
}
