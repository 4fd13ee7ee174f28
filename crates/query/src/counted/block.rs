//! A block as its counts tell of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_schema::DataType;
use strongroom_model::{
    BlockStats, ColumnCounts, ColumnType, ErrorKind, MAX_TIME_NS, ObjectId, StatValue, TIME_COLUMN, TableName, TimeRange,
};

use crate::QueryError;
use crate::context::QueryContext;

pub(super) const MINUTE_NS: i64 = 60_000_000_000;
/// Instants later than this are read: values computed of them may saturate in the middle of a minute.
const LATEST_NS: i64 = MAX_TIME_NS - 400 * 86_400_000_000_000;

/// How many blocks one scan reads, and may read.
pub(crate) struct Reads {
    table: String,
    blocks: AtomicUsize,
    max: usize,
}

impl Reads {
    pub(crate) fn new(table: &TableName, blocks: usize, max: usize) -> Arc<Self> {
        Arc::new(Self { table: table.to_string(), blocks: AtomicUsize::new(blocks), max })
    }

    /// Whether there are not too many; known once planning is done.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        let blocks = self.blocks.load(Ordering::Relaxed);
        if blocks <= self.max { Ok(()) } else { Err(self.too_many(blocks)) }
    }

    pub(crate) fn too_many(&self, blocks: usize) -> QueryError {
        let (table, max) = (&self.table, self.max);
        let message = format!("the query would read {blocks} blocks of table {table}, at most {max} are allowed; narrow the time range");
        QueryError::new(ErrorKind::TooLarge, "TooManyBlocks", message)
    }
}

/// What the blocks of one scan share.
pub(crate) struct Scan {
    context: Arc<QueryContext>,
    reads: Arc<Reads>,
}

impl Scan {
    pub(crate) fn new(context: &Arc<QueryContext>, reads: Arc<Reads>) -> Arc<Self> {
        context.expect(Arc::clone(&reads));
        Arc::new(Self { context: Arc::clone(context), reads })
    }

    /// These are answered by their counts.
    pub(super) fn counted(&self, blocks: impl ExactSizeIterator<Item = ObjectId>) {
        self.reads.blocks.fetch_sub(blocks.len(), Ordering::Relaxed);
        self.context.stats.blocks_counted.fetch_add(blocks.len() as u64, Ordering::Relaxed);
        self.context.counted(blocks);
    }
}

/// What is known of a block in a scan; on the file that stands for it.
pub(crate) struct CountedBlock {
    pub(crate) object: ObjectId,
    pub(crate) time: TimeRange,
    pub(crate) stats: Option<Arc<BlockStats>>,
    pub(crate) scan: Arc<Scan>,
}

/// A column of the scan that values are needed of.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its place in the scan's columns.
    pub(super) at: usize,
    pub(super) name: String,
    pub(super) kind: DataType,
}

/// The rows of a block, like with like.
#[derive(Debug)]
pub(super) struct Cells {
    /// Of each column wanted: its one value, or those that are told apart.
    pub(super) values: Vec<Vec<Option<StatValue>>>,
    pub(super) cells: Vec<Cell>,
}

/// Rows of one value in one minute.
#[derive(Debug)]
pub(super) struct Cell {
    /// An instant in that minute.
    pub(super) time: i64,
    /// The value's number, where there are several.
    pub(super) value: usize,
    pub(super) rows: i64,
}

enum Known {
    One(Option<StatValue>),
    Several(ColumnCounts),
}

impl CountedBlock {
    /// The block's rows by these columns, and by minute if wanted; `None` if that was not counted.
    pub(super) fn cells(&self, wanted: &[Wanted], by_minute: bool) -> Option<Cells> {
        let stats = self.stats.as_deref()?;
        let mut several: Option<ColumnCounts> = None;
        let mut values = Vec::with_capacity(wanted.len());
        for column in wanted {
            values.push(match known(stats, column)? {
                Known::One(value) => vec![value],
                Known::Several(_) if several.is_some() => return None,
                Known::Several(counts) => {
                    let values = counts.values.clone();
                    several = Some(counts);
                    values
                }
            });
        }
        let cell = |time, value, rows: u64| Some(Cell { time, value, rows: i64::try_from(rows).ok()? });
        if !by_minute {
            let start = self.time.start;
            let cells = match several {
                None => vec![cell(start, 0, stats.rows)?],
                Some(column) => column.rows.iter().enumerate().map(|(at, rows)| cell(start, at, *rows)).collect::<Option<_>>()?,
            };
            return Some(Cells { values, cells }.used());
        }
        // Before 1970 not all functions of SQL round down.
        if self.time.start < 0 || self.time.end > LATEST_NS {
            return None;
        }
        let minutes = stats.counts.as_ref()?.minutes()?;
        if sum(minutes.iter().map(|(_, rows)| *rows))? != stats.rows {
            return None;
        }
        let times = minutes.iter().map(|(minute, _)| {
            let start = minute.checked_mul(MINUTE_NS)?.max(self.time.start);
            (start <= self.time.end).then_some(start)
        });
        let times = times.collect::<Option<Vec<i64>>>()?;
        let cells = match several {
            None => times.iter().zip(&minutes).map(|(time, (_, rows))| cell(*time, 0, *rows)).collect::<Option<_>>()?,
            Some(column) => {
                let (by_minute, width) = (column.by_minute?, column.values.len());
                let all = by_minute.iter().enumerate().map(|(at, rows)| cell(*times.get(at / width)?, at % width, *rows));
                all.collect::<Option<_>>()?
            }
        };
        Some(Cells { values, cells }.used())
    }
}

impl Cells {
    /// A group comes of rows only.
    fn used(mut self) -> Self {
        self.cells.retain(|cell| cell.rows > 0);
        self
    }
}

fn known(stats: &BlockStats, wanted: &Wanted) -> Option<Known> {
    // A column that is not in the block is null in every row of it.
    let Some(place) = stats.columns.iter().position(|column| column.name == wanted.name) else { return Some(Known::One(None)) };
    let column = &stats.columns[place];
    if column.nulls == stats.rows {
        return Some(Known::One(None));
    }
    if !fits(column.kind, &wanted.kind) {
        return None;
    }
    let mut counts = stats.counts.as_ref()?.column(place)?;
    if sum(counts.rows.iter().copied())? != stats.rows {
        return None;
    }
    Some(if counts.values.len() == 1 { Known::One(counts.values.pop()?) } else { Known::Several(counts) })
}

/// Whether each of these columns is time, or was counted.
pub(crate) fn are_counted(stats: Option<&BlockStats>, columns: &[&str]) -> bool {
    let Some(stats) = stats else { return false };
    columns.iter().all(|name| {
        let Some(place) = stats.columns.iter().position(|column| column.name == *name) else { return true };
        *name == TIME_COLUMN
            || stats.columns[place].nulls == stats.rows
            || stats.counts.as_ref().is_some_and(|counts| counts.column(place).is_some())
    })
}

fn sum(rows: impl Iterator<Item = u64>) -> Option<u64> {
    rows.into_iter().try_fold(0_u64, u64::checked_add)
}

/// Whether a value of a block's column is one of the scan's as it stands, or as a long becomes a real.
fn fits(kind: ColumnType, wanted: &DataType) -> bool {
    match kind {
        ColumnType::String | ColumnType::Guid => *wanted == DataType::Utf8View,
        ColumnType::Int => matches!(wanted, DataType::Int32 | DataType::Int64 | DataType::Float64),
        ColumnType::Long => matches!(wanted, DataType::Int64 | DataType::Float64),
        ColumnType::Bool => *wanted == DataType::Boolean,
        _ => false,
    }
}
