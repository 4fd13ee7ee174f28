//! What comes back.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use arrow_schema::SchemaRef;
use futures::Stream;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Value, json};
use strongroom_model::Column;

use crate::QueryError;
use crate::context::QueryContext;

/// The rows of an answer as they come. Dropping it cancels the query.
pub type BatchStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, QueryError>> + Send>>;

/// An answer: columns at once, rows as they come.
pub struct Answer {
    /// Names and KQL types.
    pub columns: Vec<Column>,
    /// The same as Arrow.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: BatchStream,
    /// Counted while the rows flow; complete once the stream has ended.
    pub stats: Arc<QueryStats>,
    /// How the text asked to be shown.
    pub render: Option<Render>,
    /// Asked again before encoded bytes leave: an answer may wait in memory for a slow reader.
    pub egress: Egress,
}

/// Whether bytes of an answer may still leave. Clones ask for the same answer.
#[derive(Clone)]
pub struct Egress(pub(crate) Arc<QueryContext>);

impl Egress {
    /// Waits while a denial of the key is being confirmed; then, whether every key behind the answer still holds.
    ///
    /// # Errors
    /// The key's error. What was sent so far is then not the whole answer: break the connection.
    pub async fn pass(&self) -> Result<(), QueryError> {
        self.0.hold().await
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Egress")
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("columns", &self.columns.len()).finish_non_exhaustive()
    }
}

/// KQL's `render`: the kind of chart and its properties, as Azure spells them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Render {
    /// `table`, `timechart`, `barchart`, …
    pub visualization: String,
    /// `title`, `kind`, `xcolumn`, … as given.
    #[serde(flatten)]
    pub properties: serde_json::Map<String, Value>,
}

/// Why an answer was cut short. Limits only: keys and integrity are errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Kusto's number for it, such as `-2133196797`.
    pub code: &'static str,
    /// The sentence for the caller.
    pub message: String,
}

/// What a query cost.
#[derive(Debug, Default)]
pub struct QueryStats {
    pub(crate) blocks_seen: AtomicU64,
    pub(crate) blocks_kept: AtomicU64,
    pub(crate) catalog_rows: AtomicU64,
    pub(crate) cells_opened: AtomicU64,
    pub(crate) blocks_counted: AtomicU64,
    pub(crate) memtable_rows: AtomicU64,
    pub(crate) reads: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) table_rows: AtomicU64,
    pub(crate) table_bytes: AtomicU64,
    pub(crate) memory_peak: AtomicU64,
    pub(crate) elapsed_ns: AtomicU64,
    pub(crate) partial: Mutex<Option<Partial>>,
}

impl QueryStats {
    /// Blocks of the tables named, as far as they lie in the time range.
    #[must_use]
    pub fn blocks_seen(&self) -> u64 {
        self.blocks_seen.load(Ordering::Relaxed)
    }
    /// Blocks left after pruning.
    #[must_use]
    pub fn blocks_kept(&self) -> u64 {
        self.blocks_kept.load(Ordering::Relaxed)
    }
    /// Rows of the catalog that were read to find blocks: of windows in the time range, and of blocks that were not in memory.
    #[must_use]
    pub fn catalog_rows(&self) -> u64 {
        self.catalog_rows.load(Ordering::Relaxed)
    }
    /// Sealed statistics that were opened, those that were in memory not counted.
    #[must_use]
    pub fn cells_opened(&self) -> u64 {
        self.cells_opened.load(Ordering::Relaxed)
    }
    /// Of the blocks left, those that were not read because their counts said enough.
    #[must_use]
    pub fn blocks_counted(&self) -> u64 {
        self.blocks_counted.load(Ordering::Relaxed)
    }
    /// Rows taken from memtables, before filters.
    #[must_use]
    pub fn memtable_rows(&self) -> u64 {
        self.memtable_rows.load(Ordering::Relaxed)
    }
    /// Reads of sealed bytes, each of one object; several ranges of it may be one.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
    /// Sealed bytes read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }
    /// Rows given out.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
    /// Time from the first look at the text to now, or to the end once it is reached.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.elapsed_ns.load(Ordering::Relaxed))
    }
    /// Why the answer was cut, if it was. Known once the stream has ended.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        self.partial.lock().clone()
    }

    /// The `statistics` object of the Log Analytics answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let seconds = self.elapsed().as_secs_f64();
        json!({"query": {
            "executionTime": seconds,
            "resourceUsage": {
                "cache": {"memory": {"hits": 0, "misses": 0, "total": 0}},
                "cpu": {"user": "00:00:00", "kernel": "00:00:00", "total cpu": "00:00:00"},
                "memory": {"peak_per_node": self.memory_peak.load(Ordering::Relaxed)},
            },
            "datasetStatistics": [{
                "tableRowCount": self.table_rows.load(Ordering::Relaxed),
                "tableSize": self.table_bytes.load(Ordering::Relaxed),
            }],
            "blocks": {
                "seen": self.blocks_seen(),
                "counted": self.blocks_counted(),
                "read": self.blocks_kept().saturating_sub(self.blocks_counted()),
                "bytesRead": self.bytes_read(),
            },
            "memtableRows": self.memtable_rows(),
        }})
    }
}

/// A table as the metadata doors show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// Rows in live blocks and memtables.
    pub rows_live: u64,
    /// Sealed bytes of live blocks.
    pub bytes: u64,
    /// How many live blocks.
    pub blocks: u64,
    /// Its columns over all epochs.
    pub columns: Vec<Column>,
    /// Days rows are kept, if the table has its own setting.
    pub retention_days: Option<u32>,
}
