//! Which windows hold several small blocks: those with the most of them, and all of them in turn.
//!
//! The most alone would not do: the current hour of each busy table has more small blocks than any past one, and what cannot be
//! merged now (a key that is away) would stand before what can. So a walk goes over all of them, a bounded part at a time.

use strongroom_model::{AekId, TableId, Window, WorkspaceId};

use crate::columns::{Columns, signed};
use crate::db::refused;
use crate::snapshot::epoch;
use crate::{Candidate, Catalog, CatalogError};

const WHAT: &str = "a window";

macro_rules! windows {
    ($rest:literal) => {
        concat!("SELECT table_id, workspace, account, aek, window_start, window_len, small, bytes, last_ms FROM windows ", $rest)
    };
}

pub(crate) const MOST: &str = windows!("INDEXED BY windows_small WHERE small > 1 AND small >= ?1 ORDER BY small DESC LIMIT ?2");
pub(crate) const NEXT: &str = windows!(
    "INDEXED BY windows_mergeable WHERE small > 1 AND (table_id, window_start, window_len, aek) > (?1, ?2, ?3, ?4)
     ORDER BY table_id, window_start, window_len, aek LIMIT ?5"
);

/// Where a walk over the windows goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WalkFrom {
    /// With the first.
    #[default]
    Start,
    /// With the first of the next table.
    AfterTable(TableId),
    /// With the one behind this.
    AfterWindow(TableId, Window, AekId),
}

impl WalkFrom {
    /// Behind this one.
    #[must_use]
    pub fn after(candidate: &Candidate) -> Self {
        Self::AfterWindow(candidate.table, candidate.window, candidate.epoch.aek)
    }
}

impl Catalog {
    /// Windows with at least so many small blocks (and two), those with most first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn compaction_candidates(&self, at_least: u64, limit: u32) -> Result<Vec<Candidate>, CatalogError> {
        let rows = sqlx::query(MOST).bind(signed(at_least, "a number of blocks")?).bind(i64::from(limit));
        let rows = rows.fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(WHAT, &e))?;
        rows.iter().map(candidate).collect()
    }

    /// The next windows with several small blocks, by table and then by time, the oldest first; at most `limit`. Fewer than that: it
    /// came to the end.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn compaction_walk(&self, from: WalkFrom, limit: u32) -> Result<Vec<Candidate>, CatalogError> {
        // Sorts before and behind every id.
        let (none, all) = (&[][..], &[0xff; 17][..]);
        let (table, start, length, aek) = match &from {
            WalkFrom::Start => (none, i64::MIN, 0, none),
            WalkFrom::AfterTable(table) => (&table.as_bytes()[..], i64::MAX, i64::MAX, all),
            WalkFrom::AfterWindow(table, window, aek) => {
                (&table.as_bytes()[..], window.start, window.length.seconds(), &aek.as_bytes()[..])
            }
        };
        let rows = sqlx::query(NEXT).bind(table).bind(start).bind(length).bind(aek).bind(i64::from(limit));
        let rows = rows.fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(WHAT, &e))?;
        rows.iter().map(candidate).collect()
    }
}

fn candidate(row: &sqlx::sqlite::SqliteRow) -> Result<Candidate, CatalogError> {
    let mut columns = Columns::of(row, WHAT);
    Ok(Candidate {
        table: TableId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        epoch: epoch(&mut columns)?,
        window: columns.window()?,
        count: columns.number()?,
        bytes: columns.number()?,
        last_ms: columns.int()?,
    })
}
