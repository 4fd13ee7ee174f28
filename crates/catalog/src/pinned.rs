//! A table as of one commit, read piece by piece: a reader pins the commit, and takes the blocks of a time range once it knows which.
//!
//! Blocks that went since are there until they are forgotten, long after the last reader (`tombstone_grace_s`); a reader who is too late
//! is told so. What a window held is kept on a [`Shelf`], for as long as no commit changes that window: one number per window says so.
//!
//! ```text
//! pin ─▶ commit, flushed-through, sums      blocks_at ─▶ numbers of the windows in range ─▶ from the shelf, or read      statistics ─▶ cells
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::Connection as _;
use strongroom_model::{Epoch, ObjectId, Position, TableId, TimeRange, WindowLength};

use crate::columns::Columns;
use crate::db::{Tx, refused};
use crate::snapshot::{FLUSHED, block_row, blocks, flushed_row};
use crate::{BlockRow, Catalog, CatalogError};

const WHAT: &str = "a snapshot";
const NS_PER_SEC: i64 = 1_000_000_000;
/// Gaps of this many windows between two that are read are read along: cheaper than a statement.
const GAP: usize = 4;

pub(crate) const SUMS: &str = "SELECT seq, coalesce(blocks, 0), coalesce(rows, 0), coalesce(bytes, 0) FROM state
     LEFT JOIN table_sums ON table_id = ?1";
pub(crate) const FORGOTTEN: &str = "SELECT forgotten FROM table_sums WHERE table_id = ?1";
pub(crate) const WINDOWS: &str = "SELECT window_start, seq, blocks FROM window_changes
     WHERE table_id = ?1 AND window_start > ?2 AND window_start <= ?3 AND window_start + longest > ?4
     ORDER BY window_start DESC";
pub(crate) const OF_WINDOWS: &str = blocks!(
    "x''",
    "WHERE table_id = ?1 AND window_start >= ?2 AND window_start <= ?3 AND added_seq IS NOT NULL
     ORDER BY window_start DESC, id DESC"
);
pub(crate) const CELLS: &str = "SELECT id, cell FROM blocks LEFT JOIN block_stats ON n = stats
     WHERE table_id = ?1 AND window_start = ?2 AND id >= ?3 AND id <= ?4 AND state = 1";

/// A commit, and what is known of a table as of it without looking at blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TablePin {
    /// The commit.
    pub seq: u64,
    /// How far each epoch's rows of this table are in blocks.
    pub flushed: Vec<(Epoch, Position)>,
    /// How many blocks are live.
    pub blocks: u64,
    /// Rows in them.
    pub rows: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

/// The blocks of a time range.
#[derive(Debug, Default)]
pub struct BlocksAt {
    /// Those that may hold rows of the range, newest window first, without statistics.
    pub blocks: Vec<Arc<BlockRow>>,
    /// Rows of the catalog that were read for it: of windows, and of blocks that were not on the shelf.
    pub rows_read: u64,
}

/// What a window held as of a commit: every block that is live or was.
#[derive(Debug)]
struct Held {
    seq: u64,
    blocks: Arc<[Arc<BlockRow>]>,
    used: u64,
}

#[derive(Debug, Default)]
struct Holding {
    windows: HashMap<(TableId, i64), Held>,
    blocks: usize,
    tick: u64,
}

/// Windows that were read before, so many blocks of them at most (some 300 bytes each). Nothing of it is made of rows.
#[derive(Debug)]
pub struct Shelf {
    limit: usize,
    inner: Mutex<Holding>,
}

impl Shelf {
    /// A shelf for at most `blocks` blocks; 0: nothing is kept.
    #[must_use]
    pub fn new(blocks: usize) -> Self {
        Self { limit: blocks, inner: Mutex::default() }
    }

    /// How many blocks are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().blocks
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held of these windows as of their last changes, in their order.
    fn get(&self, table: TableId, windows: &[(i64, u64)]) -> Vec<Option<Arc<[Arc<BlockRow>]>>> {
        let mut inner = self.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let mut one = |(start, seq): &(i64, u64)| {
            let held = inner.windows.get_mut(&(table, *start)).filter(|held| held.seq == *seq)?;
            held.used = tick;
            Some(Arc::clone(&held.blocks))
        };
        windows.iter().map(&mut one).collect()
    }

    fn put(&self, table: TableId, start: i64, seq: u64, blocks: &Arc<[Arc<BlockRow>]>) {
        if blocks.len() > self.limit {
            return;
        }
        let mut inner = self.lock();
        inner.tick += 1;
        let used = inner.tick;
        inner.blocks += blocks.len();
        if let Some(old) = inner.windows.insert((table, start), Held { seq, blocks: Arc::clone(blocks), used }) {
            inner.blocks -= old.blocks.len();
        }
        if inner.blocks > self.limit {
            // A tenth more than needed goes at once, so that a full shelf does not sort itself at every window.
            let mut by_age: Vec<(u64, (TableId, i64))> = inner.windows.iter().map(|(key, held)| (held.used, *key)).collect();
            by_age.sort_unstable();
            for (_, key) in by_age {
                if inner.blocks <= self.limit - self.limit / 10 {
                    break;
                }
                if let Some(held) = inner.windows.remove(&key) {
                    inner.blocks -= held.blocks.len();
                }
            }
        }
    }
}

impl Catalog {
    /// A commit to read a table as of, and the table's flushed-through and sums as of it.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn pin(&self, table: TableId) -> Result<TablePin, CatalogError> {
        let mut reader = self.reader().await?;
        let mut tx = reader.begin().await.map_err(|e| refused(WHAT, &e))?;
        let sums = sqlx::query(SUMS).bind(&table.as_bytes()[..]).fetch_one(&mut *tx).await.map_err(|e| refused(WHAT, &e))?;
        let flushed = sqlx::query(FLUSHED).bind(&table.as_bytes()[..]).fetch_all(&mut *tx).await.map_err(|e| refused(WHAT, &e))?;
        tx.rollback().await.map_err(|e| refused(WHAT, &e))?;
        let mut columns = Columns::of(&sums, WHAT);
        Ok(TablePin {
            seq: columns.number()?,
            blocks: columns.number()?,
            rows: columns.number()?,
            bytes: columns.number()?,
            flushed: flushed.iter().map(flushed_row).collect::<Result<_, _>>()?,
        })
    }

    /// The blocks of a table that were live as of commit `seq` and may hold rows of `range`.
    ///
    /// # Errors
    /// [`CatalogError::TooMany`] if the windows in range hold more than `limit` blocks (those that went lately count);
    /// [`CatalogError::SnapshotGone`] if a block that was live then is forgotten; what SQLite says.
    pub async fn blocks_at(&self, table: TableId, seq: u64, range: TimeRange, known: &Shelf, limit: u64) -> Result<BlocksAt, CatalogError> {
        let (first, last) = (range.start.div_euclid(NS_PER_SEC), range.end.div_euclid(NS_PER_SEC));
        let mut reader = self.reader().await?;
        let mut tx = reader.begin().await.map_err(|e| refused(WHAT, &e))?;
        let forgotten: Option<i64> =
            sqlx::query_scalar(FORGOTTEN).bind(&table.as_bytes()[..]).fetch_optional(&mut *tx).await.map_err(|e| refused(WHAT, &e))?;
        if forgotten.is_some_and(|gone| u64::try_from(gone).is_ok_and(|gone| gone > seq)) {
            return Err(CatalogError::SnapshotGone);
        }
        let rows = sqlx::query(WINDOWS)
            .bind(&table.as_bytes()[..])
            // A day window that the range starts in may have begun most of a day before it.
            .bind(first - WindowLength::Day.seconds())
            .bind(last)
            .bind(first)
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| refused(WHAT, &e))?;
        let (mut windows, mut found) = (Vec::with_capacity(rows.len()), 0_u64);
        for row in &rows {
            let mut columns = Columns::of(row, "a window");
            windows.push((columns.int()?, columns.number()?));
            found += columns.number::<u64>()?;
        }
        if found > limit {
            return Err(CatalogError::TooMany { found, limit });
        }
        let mut held = known.get(table, &windows);
        let mut rows_read = rows.len() as u64;
        for run in missing(&held) {
            let read = read_windows(&mut tx, table, windows[run.end - 1].0, windows[run.start].0).await?;
            rows_read += read.len() as u64;
            let mut read = read.into_iter().peekable();
            for at in run {
                let (start, changed) = windows[at];
                let mut of_window = Vec::new();
                while let Some(block) = read.next_if(|block| block.window.start >= start) {
                    of_window.push(Arc::new(block));
                }
                let of_window: Arc<[Arc<BlockRow>]> = of_window.into();
                known.put(table, start, changed, &of_window);
                held[at] = Some(of_window);
            }
        }
        tx.rollback().await.map_err(|e| refused(WHAT, &e))?;
        drop(reader);
        let was_there = |block: &&Arc<BlockRow>| {
            block.added_seq.is_some_and(|added| added <= seq)
                && block.removed_seq.is_none_or(|removed| removed > seq)
                && block.window.start + block.window.length.seconds() > first
                && block.time.end >= range.start
                && block.time.start <= range.end
        };
        let blocks = held.iter().flatten().flat_map(|window| window.iter()).filter(was_there).cloned().collect();
        Ok(BlocksAt { blocks, rows_read })
    }

    /// The sealed statistics of blocks, each named by its window's start. One that is no longer live has none.
    ///
    /// # Errors
    /// [`CatalogError::BadValue`] if a live block has none; what SQLite says.
    pub async fn statistics(&self, table: TableId, wanted: &[(i64, ObjectId)]) -> Result<HashMap<ObjectId, Vec<u8>>, CatalogError> {
        let mut found = HashMap::with_capacity(wanted.len());
        if wanted.is_empty() {
            return Ok(found);
        }
        // By window, from the first wanted id to the last: what came lately lies at the end.
        let mut ranges: HashMap<i64, (ObjectId, ObjectId)> = HashMap::new();
        for (start, block) in wanted {
            let range = ranges.entry(*start).or_insert((*block, *block));
            *range = (range.0.min(*block), range.1.max(*block));
        }
        let mut reader = self.reader().await?;
        for (start, (least, most)) in ranges {
            let rows = sqlx::query(CELLS)
                .bind(&table.as_bytes()[..])
                .bind(start)
                .bind(&least.as_bytes()[..])
                .bind(&most.as_bytes()[..])
                .fetch_all(&mut *reader)
                .await
                .map_err(|e| refused(WHAT, &e))?;
            for row in &rows {
                let mut columns = Columns::of(row, "a block");
                let block = ObjectId::from_bytes(columns.fixed()?);
                let cell = columns.bytes_opt()?.ok_or(CatalogError::BadValue { what: "a block without statistics" })?;
                found.insert(block, cell);
            }
        }
        Ok(found)
    }
}

/// Runs of windows that are not held, small gaps included.
fn missing<T>(held: &[Option<T>]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..held.len()).filter(|at| held[*at].is_none()) {
        match runs.last_mut() {
            Some(run) if at - run.end <= GAP => run.end = at + 1,
            _ => runs.push(at..at + 1),
        }
    }
    runs
}

async fn read_windows(tx: &mut Tx<'_>, table: TableId, first: i64, last: i64) -> Result<Vec<BlockRow>, CatalogError> {
    let rows = sqlx::query(OF_WINDOWS)
        .bind(&table.as_bytes()[..])
        .bind(first)
        .bind(last)
        .fetch_all(&mut **tx)
        .await
        .map_err(|e| refused(WHAT, &e))?;
    rows.iter().map(block_row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_are_missing_are_read_in_runs() {
        let held = |text: &str| missing(&text.chars().map(|c| (c == 'x').then_some(())).collect::<Vec<_>>());
        assert_eq!(held("xxx"), Vec::<std::ops::Range<usize>>::new());
        assert_eq!(held("..x.x"), vec![0..4]);
        assert_eq!(held(".xxxxxx."), vec![0..1, 7..8]);
    }
}
