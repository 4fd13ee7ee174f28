//! WAL segments that were begun.

use strongroom_model::ObjectId;

use crate::{Catalog, CatalogError, SegmentRow};

impl Catalog {
    /// Adds a segment.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken; [`CatalogError::Fenced`] if its writer no longer writes.
    pub async fn segment_insert(&self, row: &SegmentRow) -> Result<(), CatalogError> {
        todo!("{row:?}")
    }

    /// All segments, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn segments(&self) -> Result<Vec<SegmentRow>, CatalogError> {
        todo!()
    }

    /// Removes a segment's row once its file is gone; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn segment_delete(&self, segment: ObjectId) -> Result<bool, CatalogError> {
        todo!("{segment}")
    }
}
