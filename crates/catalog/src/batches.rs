//! Batch ids that were answered. They come in with [`Catalog::flush_commit`].

use crate::{BatchRow, Catalog, CatalogError};

impl Catalog {
    /// The batch ids answered at or after `since_ms` (milliseconds since 1970), oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn batches(&self, since_ms: i64) -> Result<Vec<BatchRow>, CatalogError> {
        todo!("{since_ms}")
    }

    /// Forgets those answered before `before_ms` (milliseconds since 1970); how many.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn batches_trim(&self, before_ms: i64) -> Result<u64, CatalogError> {
        todo!("{before_ms}")
    }
}
