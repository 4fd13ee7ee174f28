//! The bounds of the log and the memtables.

use serde::{Deserialize, Serialize};

use crate::BufferError;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every bound of this crate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BufferConfig {
    /// A segment closes once it holds this much. 64 MiB.
    pub segment_bytes: u64,
    /// A segment takes no more records so many milliseconds after it was begun: retention of what lies in the log counts
    /// from there. 1 hour.
    pub segment_age_max_ms: u64,
    /// How much of a new segment is allocated at once; it then grows fourfold up to `segment_bytes`. 1 MiB.
    pub segment_first_bytes: u64,
    /// Most bytes written and synced in one go. 4 MiB: a larger group makes the first of it wait for the last.
    pub group_bytes_max: u64,
    /// Most records in one go. 512, below the system's 1,024 buffers per write.
    pub group_records_max: usize,
    /// Most records waiting for the disk, per epoch; beyond it 429. 4,096.
    pub queue_records_max: usize,
    /// Most bytes waiting for the disk, per epoch; beyond it 429. 128 MiB. One record always fits an empty queue.
    pub queue_bytes_max: u64,
    /// Largest record as encoded. 128 MiB: twice the largest request.
    pub record_bytes_max: u64,
    /// Hard limit of rows in memory, waiting ones included; beyond it 429. 256 MiB.
    pub memtable_bytes_max: u64,
    /// Hard limit of the log on disk; beyond it 429. 4 GiB.
    pub wal_bytes_max: u64,
    /// A freeze takes no more than this and one record: a flush holds its rows twice. 48 MiB.
    pub freeze_bytes: u64,
    /// A freeze takes rows of no more windows than this and those of one record: each becomes a block. 1,000.
    pub freeze_windows: usize,
    /// [`crate::Buffer::grown`] wakes once one memtable holds this much. 32 MiB.
    pub grown_table_bytes: u64,
    /// [`crate::Buffer::grown`] wakes once memory or log are this full, in percent. 80.
    pub grown_percent: u64,
    /// Room kept free on disk: at least this much… 2 GiB.
    pub reserve_bytes: u64,
    /// …and at least this share of the whole, in percent. 2.
    pub reserve_percent: u64,
    /// Batches of fewer rows than this are merged with their neighbours. 8,192, a query engine's batch.
    pub merge_rows: usize,
    /// How many neighbours of one size are merged at a time. 16: a row is copied at most log16(8,192), four times.
    pub merge_fan_in: usize,
    /// Tables whose schema is kept in encoded form. 4,096.
    pub schemas_max: usize,
    /// Start although the log is damaged, with the records that can still be read. Damaged segments are kept beside
    /// the log with the ending `.damaged`. `--wal-salvage`. Off.
    pub salvage: bool,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * MIB,
            segment_age_max_ms: 3_600_000,
            segment_first_bytes: MIB,
            group_bytes_max: 4 * MIB,
            group_records_max: 512,
            queue_records_max: 4_096,
            queue_bytes_max: 128 * MIB,
            record_bytes_max: 128 * MIB,
            memtable_bytes_max: 256 * MIB,
            wal_bytes_max: 4 * GIB,
            freeze_bytes: 48 * MIB,
            freeze_windows: 1_000,
            grown_table_bytes: 32 * MIB,
            grown_percent: 80,
            reserve_bytes: 2 * GIB,
            reserve_percent: 2,
            merge_rows: 8_192,
            merge_fan_in: 16,
            schemas_max: 4_096,
            salvage: false,
        }
    }
}

impl BufferConfig {
    /// Refuses what could never work.
    ///
    /// # Errors
    /// [`BufferError::Config`] naming the setting.
    pub fn check(&self) -> Result<(), BufferError> {
        let wrong = |name, must| Err(BufferError::Config { name, must });
        if self.segment_bytes < 1_024 {
            return wrong("segment_bytes", "must be at least 1024");
        }
        if self.segment_first_bytes == 0 || self.segment_first_bytes > self.segment_bytes {
            return wrong("segment_first_bytes", "must be from 1 to segment_bytes");
        }
        if self.wal_bytes_max < self.segment_bytes.saturating_mul(2) {
            return wrong("wal_bytes_max", "must be at least twice segment_bytes, or a flush could free nothing");
        }
        if self.group_records_max == 0 || self.group_records_max > 1_024 {
            return wrong("group_records_max", "must be from 1 to 1024");
        }
        if self.queue_records_max == 0 {
            return wrong("queue_records_max", "must be at least 1");
        }
        if self.record_bytes_max > u64::from(u32::MAX) / 2 {
            return wrong("record_bytes_max", "must be below 2 GiB");
        }
        if self.merge_fan_in < 2 {
            return wrong("merge_fan_in", "must be at least 2");
        }
        if self.grown_percent > 100 || self.reserve_percent > 100 {
            return wrong("grown_percent and reserve_percent", "must be at most 100");
        }
        Ok(())
    }
}
