//! Schema lineages: sealed cells, one per (table, epoch, version).

use strongroom_model::{AekId, ObjectId, TableId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, SchemaRow};

const SCHEMA: &str = "a schema version";

impl Catalog {
    /// The newest schema of each epoch of a table.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn schema_cells(&self, table: TableId) -> Result<Vec<SchemaRow>, CatalogError> {
        // SQLite takes the other columns from the row that holds the maximum.
        let rows = sqlx::query("SELECT aek, max(version), id, cell FROM schemas WHERE table_id = ? GROUP BY aek")
            .bind(&table.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(SCHEMA, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, SCHEMA);
                Ok(SchemaRow {
                    table,
                    aek: AekId::from_bytes(columns.fixed()?),
                    version: columns.number()?,
                    row: ObjectId::from_bytes(columns.fixed()?),
                    cell: columns.bytes()?,
                })
            })
            .collect()
    }

    /// Adds a version: compare-and-swap, for it must be above all that (table, AEK) has.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if it is not: read again and try the next; [`CatalogError::Orphan`] if the table is not there.
    pub async fn schema_put(&self, row: &SchemaRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SCHEMA).await?;
        let newest: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM schemas WHERE table_id = ? AND aek = ?")
            .bind(&row.table.as_bytes()[..])
            .bind(&row.aek.as_bytes()[..])
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(SCHEMA, &e))?;
        if newest.is_some_and(|newest| i64::from(row.version) <= newest) {
            return Err(CatalogError::Conflict { what: SCHEMA, why: "somebody else wrote that version or a later one" });
        }
        sqlx::query("INSERT INTO schemas (table_id, aek, version, id, cell) VALUES (?, ?, ?, ?, ?)")
            .bind(&row.table.as_bytes()[..])
            .bind(&row.aek.as_bytes()[..])
            .bind(i64::from(row.version))
            .bind(&row.row.as_bytes()[..])
            .bind(&row.cell[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SCHEMA, &e))?;
        commit(tx, SCHEMA).await
    }
}
