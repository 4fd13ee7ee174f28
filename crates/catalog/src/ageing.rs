//! How blocks end: expired, abandoned, forgotten.

use strongroom_model::{ObjectId, TableId};

use crate::{BlockRow, Catalog, CatalogError};

impl Catalog {
    /// Blocks that became tombstones before `older_than_ms` (milliseconds since 1970), oldest first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn tombstones(&self, older_than_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        todo!("{older_than_ms} {limit}")
    }

    /// Blocks announced before `older_than_ms` (milliseconds since 1970) that never went live, oldest first; at most `limit`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn pending(&self, older_than_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        todo!("{older_than_ms} {limit}")
    }

    /// Turns those of [`pending`](Self::pending) into tombstones, so that they can no longer go live while their objects are
    /// being deleted; answers them. Only an object of a tombstone may be deleted.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn pending_abandon(&self, older_than_ms: i64, limit: u32) -> Result<Vec<BlockRow>, CatalogError> {
        todo!("{older_than_ms} {limit}")
    }

    /// Forgets tombstones whose objects are gone. Unknown ones are no trouble.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if one of them is pending or live; then none is forgotten.
    pub async fn block_forget(&self, objects: &[ObjectId]) -> Result<(), CatalogError> {
        todo!("{objects:?}")
    }

    /// Turns every live block of a table whose whole window ended at or before `window_end_before_secs` (seconds since 1970)
    /// into a tombstone; answers them.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn expire(&self, table: TableId, window_end_before_secs: i64) -> Result<Vec<BlockRow>, CatalogError> {
        todo!("{table} {window_end_before_secs}")
    }
}
