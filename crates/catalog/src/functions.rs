//! Stored functions: sealed cells, one each. What a function is called is in its cell: names are looked up by whoever opens them.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AekId, ObjectId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const FUNCTION: &str = "a stored function";

/// One stored function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRow {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The epoch's AEK.
    pub aek: AekId,
    /// The row the cell is bound to.
    pub row: ObjectId,
    /// The sealed cell.
    pub cell: Vec<u8>,
    /// When it was stored, milliseconds since 1970.
    pub changed_ms: i64,
}

fn function(row: &SqliteRow) -> Result<FunctionRow, CatalogError> {
    let mut columns = Columns::of(row, FUNCTION);
    Ok(FunctionRow {
        row: ObjectId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        aek: AekId::from_bytes(columns.fixed()?),
        cell: columns.bytes()?,
        changed_ms: columns.int()?,
    })
}

impl Catalog {
    /// The functions of a workspace.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn functions(&self, workspace: WorkspaceId) -> Result<Vec<FunctionRow>, CatalogError> {
        let rows = sqlx::query("SELECT id, workspace, aek, cell, changed_ms FROM functions WHERE workspace = ? ORDER BY id")
            .bind(&workspace.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(FUNCTION, &e))?;
        rows.iter().map(function).collect()
    }

    /// The functions that are sealed in an epoch, of all workspaces.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn functions_under(&self, aek: AekId) -> Result<Vec<FunctionRow>, CatalogError> {
        let rows = sqlx::query("SELECT id, workspace, aek, cell, changed_ms FROM functions WHERE aek = ? ORDER BY id")
            .bind(&aek.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(FUNCTION, &e))?;
        rows.iter().map(function).collect()
    }

    /// Stores a function, in the place of another row if one is named.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if that row is gone or another workspace's; [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn function_put(&self, row: &FunctionRow, replaces: Option<ObjectId>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(FUNCTION).await?;
        if let Some(old) = replaces {
            let done = sqlx::query("DELETE FROM functions WHERE id = ? AND workspace = ?")
                .bind(&old.as_bytes()[..])
                .bind(&row.workspace.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(FUNCTION, &e))?;
            if done.rows_affected() == 0 {
                return Err(CatalogError::Conflict { what: FUNCTION, why: "it was changed meanwhile" });
            }
        }
        sqlx::query("INSERT INTO functions (id, workspace, aek, cell, changed_ms) VALUES (?, ?, ?, ?, ?)")
            .bind(&row.row.as_bytes()[..])
            .bind(&row.workspace.as_bytes()[..])
            .bind(&row.aek.as_bytes()[..])
            .bind(&row.cell[..])
            .bind(row.changed_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(FUNCTION, &e))?;
        commit(tx, FUNCTION).await
    }

    /// Takes a function away. Whether it was there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn function_delete(&self, workspace: WorkspaceId, row: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(FUNCTION).await?;
        let done = sqlx::query("DELETE FROM functions WHERE id = ? AND workspace = ?")
            .bind(&row.as_bytes()[..])
            .bind(&workspace.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(FUNCTION, &e))?;
        commit(tx, FUNCTION).await?;
        Ok(done.rows_affected() == 1)
    }
}
