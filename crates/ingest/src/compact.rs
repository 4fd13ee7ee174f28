//! Several blocks of one (table, window, epoch) made into one.
//!
//! The inputs are read whole (together at most 128 MiB of Parquet), opened under their own epoch's guard and merged row by
//! row in their common order; the output is a fresh object of the same epoch. Nothing is removed but by the one commit that
//! makes the output live, and that checks that every input still is and that no row went missing.

use std::collections::BinaryHeap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::TimestampNanosecondType;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use strongroom_buffer::conform;
use strongroom_catalog::{BlockRow, Candidate, CompactionCommit, SMALL_BLOCK_BYTES};
use strongroom_envelope::{KeyGuard, open};
use strongroom_keys::Purpose;
use strongroom_model::{Position, PrincipalId, TIME_COLUMN, TableName, WorkspaceId};
use strongroom_store::{Reader, StoredBlock};

use crate::encode::{BlockWriter, Encoded, Profile, union_schema};
use crate::intake::{Intake, blocking};
use crate::publish::{BlockPlace, Points, commit, publish};
use crate::{CompactConfig, CompactReport, IngestError};

/// Rows of an input in memory, and of the output written, at a time.
const BATCH_ROWS: usize = 8_192;

static POINTS: Points =
    Points { encode: "compact.encode", encrypt: "compact.encrypt", put: "compact.put", put_unknown: "compact.put_unknown" };

impl Intake {
    /// Merges the blocks of a table, or of all tables of a workspace, as far as it goes.
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
            let candidates = self.deps.catalog.compaction_candidates(u32::MAX).await?;
            let before = report.inputs;
            for candidate in candidates.iter().filter(|c| c.workspace == workspace && only.is_none_or(|table| c.table == table)) {
                report.add(self.compact_window(candidate).await?);
            }
            if report.inputs == before {
                return Ok(report);
            }
        }
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
    async fn read_block(&self, row: &BlockRow, guard: &KeyGuard) -> Result<Bytes, IngestError> {
        fail::fail_point!("compact.read", |_| Err(IngestError::Failpoint { point: "compact.read" }));
        let place = BlockPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, window: row.window, object: row.object };
        let stored = StoredBlock { key: place.key(), epoch: row.epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
        let mut parts = self.deps.blocks.read(&stored, guard, &[0..row.sealed_len], Reader::Maintain).await?;
        let sealed = parts.pop().ok_or(IngestError::Internal { what: "reading a block", source: None })?;
        let (guard, world) = (guard.clone(), self.deps.world.clone());
        let plain = blocking(move || open(&guard, world.clock.boot(), &place.header(guard.is_double()), &sealed)).await??;
        Ok(plain.into())
    }
}

/// Whether a window is worth compacting now.
pub(crate) fn is_due(candidate: &Candidate, now_ms: i64, idle: bool, config: &CompactConfig) -> bool {
    let count = usize::try_from(candidate.count).unwrap_or(usize::MAX);
    if count >= config.blocks_force {
        return true;
    }
    let end_ms = candidate.window.range().end.div_euclid(1_000_000);
    let closed = end_ms.saturating_add(config.grace_ms) < now_ms;
    idle && count >= if closed { 2 } else { config.blocks_min }
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

/// Merges Parquet files that are each sorted by `TimeGenerated`, newest first; of equal times, the later file's rows come first.
///
/// # Errors
/// [`IngestError::Internal`] if one is no such file.
pub fn merge(files: Vec<Bytes>) -> Result<Encoded, IngestError> {
    let wrong = |error| IngestError::internal("merging blocks", error);
    let readers = files
        .into_iter()
        .map(|file| ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| IngestError::internal("reading Parquet", error)))
        .collect::<Result<Vec<_>, _>>()?;
    let schema = union_schema(readers.iter().map(ParquetRecordBatchReaderBuilder::schema))?;
    let mut inputs = readers
        .into_iter()
        .map(|reader| {
            let reader = reader.with_batch_size(BATCH_ROWS).build().map_err(|error| IngestError::internal("reading Parquet", error))?;
            Ok(Input { reader, held: 0, times: Vec::new(), at: 0 })
        })
        .collect::<Result<Vec<_>, IngestError>>()?;
    let mut held: Vec<RecordBatch> = Vec::new();
    let mut heap = BinaryHeap::with_capacity(inputs.len());
    for (n, input) in inputs.iter_mut().enumerate() {
        if input.advance(&schema, &mut held)? {
            heap.push((input.times[0], n));
        }
    }
    let mut writer: Option<BlockWriter> = None;
    let mut places: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
    let mut emit = |held: &mut Vec<RecordBatch>, inputs: &mut [Input], places: &mut Vec<(usize, usize)>| {
        let batch = interleave_record_batch(&held.iter().collect::<Vec<_>>(), places).map_err(wrong)?;
        places.clear();
        if writer.is_none() {
            writer = Some(BlockWriter::new(schema.clone(), Profile::Compact, &batch)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch)?;
        }
        // Only what the inputs stand in is needed further.
        let kept: Vec<RecordBatch> = inputs
            .iter_mut()
            .filter(|input| !input.times.is_empty())
            .enumerate()
            .map(|(n, input)| {
                let batch = held[input.held].clone();
                input.held = n;
                batch
            })
            .collect();
        *held = kept;
        Ok::<(), IngestError>(())
    };
    while let Some((_, n)) = heap.pop() {
        let input = &mut inputs[n];
        places.push((input.held, input.at));
        input.at += 1;
        if input.at < input.times.len() || input.advance(&schema, &mut held)? {
            let next = input.times[input.at];
            heap.push((next, n));
        }
        if places.len() >= BATCH_ROWS {
            emit(&mut held, &mut inputs, &mut places)?;
        }
    }
    if !places.is_empty() {
        emit(&mut held, &mut inputs, &mut places)?;
    }
    drop(emit);
    writer.ok_or(IngestError::Internal { what: "merging blocks without rows", source: None })?.finish()
}

/// Where the merge stands in one file.
struct Input {
    reader: ParquetRecordBatchReader,
    /// The current batch's place among those held.
    held: usize,
    /// Its times; empty at the end of the file.
    times: Vec<i64>,
    at: usize,
}

impl Input {
    /// Reads the next batch; false at the end.
    fn advance(&mut self, schema: &SchemaRef, held: &mut Vec<RecordBatch>) -> Result<bool, IngestError> {
        (self.times, self.at) = (Vec::new(), 0);
        while let Some(batch) = self.reader.next() {
            let batch = batch.and_then(|batch| conform(&batch, schema)).map_err(|error| IngestError::internal("reading Parquet", error))?;
            if batch.num_rows() == 0 {
                continue;
            }
            let times = batch
                .column_by_name(TIME_COLUMN)
                .and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>())
                .ok_or(IngestError::Corrupt { what: "the times of a block" })?;
            self.times = times.values().to_vec();
            self.held = held.len();
            held.push(batch);
            return Ok(true);
        }
        Ok(false)
    }
}
