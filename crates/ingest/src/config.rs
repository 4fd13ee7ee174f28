//! Every bound of the write path in one place.

use serde::{Deserialize, Serialize};

const MIB: u64 = 1 << 20;

/// Bounds of the write path. Numbers come from the durability contract and were measured on two cores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// What one request takes.
    pub limits: RequestLimits,
    /// Inflated bytes of all requests on their way to the log together; beyond it a request is told to come back (429).
    pub in_flight_bytes_max: u64,
    /// Requests on their way or waiting at once, however small; beyond it a request is told to come back (429).
    pub in_flight_requests_max: usize,
    /// Share of the buffer's memory limit (256 MiB) above which requests wait at the door until rows were flushed, their bodies
    /// unread; in percent.
    pub wait_above_percent: u64,
    /// Inflated bytes of requests on their way to the log above which others wait at the door.
    pub wait_above_bytes: u64,
    /// How long a request waits at the door before it is told to come back (429), in milliseconds.
    pub wait_max_ms: u64,
    /// Requests decoded at once; 0 means one per core.
    pub decode_threads_max: usize,
    /// How long a batch id is remembered, in milliseconds.
    pub batch_id_age_max_ms: i64,
    /// How many batch ids are remembered per workspace; the oldest goes first.
    pub batch_ids_per_workspace_max: usize,
    /// Tables of a workspace; a request that would make another one is refused.
    pub tables_per_workspace_max: usize,
    /// How often a request is decoded again because its table's columns changed meanwhile.
    pub schema_retries_max: u32,
    /// How long an account's, workspace's or table's row is trusted before the catalog is asked again, in milliseconds.
    pub row_cache_age_max_ms: u64,
    /// How many such rows are held.
    pub row_cache_entries_max: usize,
    /// When memtables become blocks.
    pub flush: FlushConfig,
    /// When blocks become fewer blocks.
    pub compact: CompactConfig,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            limits: RequestLimits::default(),
            in_flight_bytes_max: 192 * MIB,
            in_flight_requests_max: 4_096,
            wait_above_percent: 50,
            wait_above_bytes: 24 * MIB,
            wait_max_ms: 10_000,
            decode_threads_max: 0,
            batch_id_age_max_ms: 24 * 3_600 * 1_000,
            batch_ids_per_workspace_max: 100_000,
            tables_per_workspace_max: 10_000,
            schema_retries_max: 8,
            row_cache_age_max_ms: 1_000,
            row_cache_entries_max: 10_000,
            flush: FlushConfig::default(),
            compact: CompactConfig::default(),
        }
    }
}

/// What one request may bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestLimits {
    /// Bytes as sent.
    pub wire_bytes_max: u64,
    /// Bytes once inflated.
    pub inflated_bytes_max: u64,
    /// Bytes of what a data collection rule makes of one request: its records in the declared columns, and again the rows that come of
    /// them.
    pub shaped_bytes_max: u64,
    /// How many times larger than its wire form a body may become, once [`ratio_after_bytes`](Self::ratio_after_bytes) are out.
    pub ratio_max: u64,
    /// How many inflated bytes are let through before the ratio counts.
    pub ratio_after_bytes: u64,
    /// Logarithm (base 2) of the largest zstd window: 23 is 8 MiB.
    pub zstd_window_log_max: u32,
    /// Bytes of one record.
    pub record_bytes_max: usize,
    /// How deep objects and arrays nest; the record itself is the first level.
    pub depth_max: usize,
    /// Columns of a table; what comes after goes into one overflow column.
    pub columns_max: usize,
    /// Rows of one request times the columns they use: each cell takes memory, also one without a value.
    pub cells_max: usize,
    /// Windows that the rows of one request lie in: hours, and days for rows more than 48 h old. Each becomes a block.
    pub windows_max: usize,
    /// How far ahead of its arrival a row's time may lie, in nanoseconds.
    pub future_max_ns: i64,
    /// Bytes of a rejected record that are kept in the table `Rejected`.
    pub rejected_bytes_max: usize,
    /// Bad records of one request that are kept; more refuse the request even when they are to be skipped.
    pub rejected_records_max: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            wire_bytes_max: 32 * MIB,
            inflated_bytes_max: 64 * MIB,
            shaped_bytes_max: 128 * MIB,
            ratio_max: 100,
            ratio_after_bytes: MIB,
            zstd_window_log_max: 23,
            record_bytes_max: 1 << 20,
            depth_max: 64,
            columns_max: 500,
            cells_max: 1 << 24,
            windows_max: 1_000,
            future_max_ns: 2 * 86_400 * 1_000_000_000,
            rejected_bytes_max: 4_096,
            rejected_records_max: 10_000,
        }
    }
}

impl RequestLimits {
    /// Lifts every bound that would refuse a body; those that shape a table's columns stay.
    pub(crate) fn lift(&mut self) {
        self.record_bytes_max = usize::MAX;
        self.cells_max = usize::MAX;
        self.windows_max = usize::MAX;
        self.rejected_records_max = usize::MAX;
    }
}

/// When memtables become blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlushConfig {
    /// Share of the buffer's memory limit (256 MiB) at which the largest memtable is flushed, and of its limit on the log
    /// (4 GiB) at which the memtables that keep the oldest segment are; in percent.
    pub pressure_percent: u64,
    /// Bytes of one memtable at which it is flushed.
    pub memtable_bytes_max: u64,
    /// Age of a memtable's oldest row at which it is flushed, in milliseconds.
    pub age_max_ms: u64,
    /// First wait after a failed flush, in milliseconds; it doubles with each failure.
    pub retry_first_ms: u64,
    /// Longest wait between two tries, in milliseconds.
    pub retry_max_ms: u64,
    /// How often the pressure is looked at when nothing arrives, in milliseconds.
    pub tick_ms: u64,
}

impl Default for FlushConfig {
    fn default() -> Self {
        Self {
            pressure_percent: 80,
            memtable_bytes_max: 32 * MIB,
            age_max_ms: 15 * 60 * 1_000,
            retry_first_ms: 1_000,
            retry_max_ms: 60_000,
            tick_ms: 1_000,
        }
    }
}

/// When blocks of one window become one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompactConfig {
    /// Blocks of a window at which an open window is compacted.
    pub blocks_min: usize,
    /// Blocks of a window at which it is compacted even while ingest is busy.
    pub blocks_force: usize,
    /// Bytes (Parquet) of the inputs of one compaction together, so of its output.
    pub block_bytes_max: u64,
    /// Inputs of one compaction.
    pub inputs_max: usize,
    /// How long past its end a window counts as open, in milliseconds: late rows still come.
    pub grace_ms: i64,
    /// How long a closed window must have got no block before the few it has are merged, in milliseconds: while old rows are still
    /// being sent each merge would only be done again.
    pub quiet_ms: u64,
    /// Windows looked at per round; the next round goes on behind them, so that each has its turn.
    pub candidates_max: u32,
    /// Wait after a failed compaction, in milliseconds.
    pub retry_ms: u64,
    /// Live blocks of a table from which on the token filters of a day's blocks are put side by side in one object, so that a term that
    /// is nowhere opens no block; 0: never. It costs as many bytes again as the filters have, twice for blocks of many slices.
    pub group_filters_from_blocks: u64,
}

impl Default for CompactConfig {
    fn default() -> Self {
        Self {
            blocks_min: 8,
            blocks_force: 64,
            block_bytes_max: 128 * MIB,
            inputs_max: 32,
            grace_ms: 3_600 * 1_000,
            quiet_ms: 60_000,
            candidates_max: 256,
            retry_ms: 60_000,
            group_filters_from_blocks: 3_000,
        }
    }
}
