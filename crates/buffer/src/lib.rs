//! What has arrived but is not flushed: a sealed write-ahead log and the memtables it fills.
//!
//! A record is sealed, written and synced before its rows become visible, and visible before it is acked. Nothing of
//! a row reaches the disk but as ciphertext. Who may write, what a table is and when to flush are not known here.
//! Start at [`Buffer`]; the bytes are in `docs/formats/wal.md`. What comes while a key is away goes to the [`SealedLog`], which
//! has no memtables.
//!
//! ```text
//! append ─encode─▶ queue ─┐ one writer per epoch: seal, write, fdatasync          ┌▶ snapshot (queries)
//! append ─encode─▶ queue ─┴▶ segment file ─▶ memtable of (table, epoch) ─▶ ack    └▶ freeze ─▶ block ─▶ settle
//! ```

mod buffer;
mod config;
mod conform;
mod error;
mod fuzz;
mod memtable;
mod sealed;
mod wal;

use arrow::array::RecordBatch;
use strongroom_model::{Epoch, ObjectId, Position, TableId, WorkspaceId};
use strongroom_world::BootTime;

pub use buffer::{Begun, Buffer, Purged};
pub use config::BufferConfig;
pub use conform::conform;
pub use error::BufferError;
pub use fuzz::fuzz_replay;
pub use memtable::windows_of;
pub use sealed::{Reason, SealedConfig, SealedLog, SealedReader, SealedSegment};

/// What makes a batch id be answered once: kept with the rows it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchMark {
    /// SHA-256 of the id the client gave.
    pub id_sha256: [u8; 32],
    /// SHA-256 of workspace, table, id and body.
    pub key_sha256: [u8; 32],
    /// The answer the client got, to be given again.
    pub reply: Vec<u8>,
}

/// One request's rows on their way into the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose rows.
    pub workspace: WorkspaceId,
    /// The table they belong to.
    pub table: TableId,
    /// The rows, in storage types. No dictionaries.
    pub batch: RecordBatch,
    /// When they arrived, nanoseconds since 1970.
    pub arrival: i64,
    /// How long the table keeps rows. A segment's header holds the longest of its rows: that is what [`Buffer::expire`] goes by.
    pub retention_days: u32,
    /// The request's batch id, if it had one.
    pub mark: Option<BatchMark>,
}

/// Rows of one epoch's memtable, as they were when asked for.
#[derive(Clone, Debug)]
pub struct MemSnapshot {
    /// The epoch whose flushed-through these positions are compared with.
    pub epoch: Epoch,
    /// Whose rows.
    pub workspace: WorkspaceId,
    /// Batches with the highest position in each, rising. Flushes never cut through one.
    pub rows: Vec<(Position, RecordBatch)>,
}

/// A memtable's oldest rows up to a position, about [`BufferConfig::freeze_bytes`] and
/// [`BufferConfig::freeze_windows`] at most, to be made into blocks. Still visible to snapshots until settled.
#[derive(Clone, Debug)]
pub struct Frozen {
    /// The table.
    pub table: TableId,
    /// Whose rows.
    pub workspace: WorkspaceId,
    /// The epoch they were sealed in and their blocks must be.
    pub epoch: Epoch,
    /// Every row of this table and epoch up to here is in `rows` or was flushed before.
    pub through: Position,
    /// Batches with their highest position and their oldest arrival (nanoseconds since 1970).
    pub rows: Vec<(Position, i64, RecordBatch)>,
    /// Batch marks of these rows, with their arrival (nanoseconds since 1970).
    pub marks: Vec<(BatchMark, i64)>,
    /// How much memory the rows take, in bytes as encoded.
    pub bytes: u64,
}

/// One memtable's size and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TablePressure {
    /// The table.
    pub table: TableId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Bytes that freezes would take (frozen ones not counted).
    pub bytes: u64,
    /// When the oldest of those entered the memtable.
    pub oldest: BootTime,
    /// Whether rows of it keep the oldest log segment of its epoch on disk.
    pub pins_wal: bool,
    /// Whether frozen rows of it wait to be settled.
    pub frozen: bool,
    /// How many freezes it takes until every row that is in memory now is settled; what is frozen counts as one.
    pub freezes: usize,
}

/// How full everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pressure {
    /// Rows in memory, frozen and queued ones included.
    pub total_bytes: u64,
    /// The hard limit of that.
    pub total_bytes_max: u64,
    /// The log on disk.
    pub wal_bytes: u64,
    /// The hard limit of that.
    pub wal_bytes_max: u64,
    /// Each memtable that holds rows, the largest first.
    pub tables: Vec<TablePressure>,
}

/// A torn tail that was cut off at recovery: nothing in it was ever acked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment.
    pub segment: ObjectId,
    /// Where it ends now.
    pub offset: u64,
    /// The position that would have come next.
    pub position: Position,
}

/// What recovery found.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Records whose rows are in memtables again.
    pub records: u64,
    /// Their rows.
    pub rows: u64,
    /// Segments read.
    pub segments: u64,
    /// Batch marks of all records read, flushed ones included, with their arrival (nanoseconds since 1970).
    pub marks: Vec<(WorkspaceId, BatchMark, i64)>,
    /// Torn tails cut off.
    pub cut: Vec<Cut>,
    /// Epochs whose segments were left alone because no guard was given.
    pub unopened: Vec<Epoch>,
    /// Damage passed over because salvage was asked for: the errors that would have been.
    pub salvaged: Vec<String>,
}

#[cfg(test)]
mod tests;
