//! Schema lineages: sealed cells, one per (table, epoch, version).

use strongroom_model::TableId;

use crate::{Catalog, CatalogError, SchemaRow};

impl Catalog {
    /// The newest schema of each epoch of a table.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn schema_cells(&self, table: TableId) -> Result<Vec<SchemaRow>, CatalogError> {
        todo!("{table}")
    }

    /// Adds a version: compare-and-swap, for it must be above all that (table, AEK) has.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if it is not: read again and try the next; [`CatalogError::NotFound`] if the table is not there.
    pub async fn schema_put(&self, row: &SchemaRow) -> Result<(), CatalogError> {
        todo!("{row:?}")
    }
}
