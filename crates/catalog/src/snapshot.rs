//! What a reader sees: live blocks by time range, and how far the WAL is flushed.

use strongroom_model::{Epoch, Position, TableId, TimeRange, Window};

use crate::{BlockRow, Candidate, Catalog, CatalogError, TableSnapshot};

impl Catalog {
    /// The live blocks of a table that may hold rows of `range`, and its flushed-through, as of one commit.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn snapshot(&self, table: TableId, range: TimeRange) -> Result<TableSnapshot, CatalogError> {
        todo!("{table} {range:?}")
    }

    /// How far each (table, epoch) is flushed: what replay of the WAL skips.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn flushed_all(&self) -> Result<Vec<(TableId, Epoch, Position)>, CatalogError> {
        todo!()
    }

    /// Windows with at least two small blocks, those with most first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn compaction_candidates(&self, limit: u32) -> Result<Vec<Candidate>, CatalogError> {
        todo!("{limit}")
    }

    /// The live blocks of one (table, epoch, window), oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn blocks_in(&self, table: TableId, epoch: Epoch, window: Window) -> Result<Vec<BlockRow>, CatalogError> {
        todo!("{table} {epoch:?} {window:?}")
    }

    /// Every live block, without statistics: for the check at start and for `verify`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn live_objects(&self) -> Result<Vec<BlockRow>, CatalogError> {
        todo!()
    }
}
