//! The shared keys of workspaces: one sealed cell each.

use strongroom_model::{ObjectId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const KEYS: &str = "a workspace's shared keys";

/// A workspace's shared keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedKeysRow {
    /// Whose.
    pub workspace: WorkspaceId,
    /// The row the cell is bound to.
    pub row: ObjectId,
    /// The sealed cell.
    pub cell: Vec<u8>,
    /// When they were made, milliseconds since 1970.
    pub changed_ms: i64,
}

impl Catalog {
    /// The shared keys of a workspace, once it has some.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn shared_keys(&self, workspace: WorkspaceId) -> Result<Option<SharedKeysRow>, CatalogError> {
        let row = sqlx::query("SELECT id, cell, changed_ms FROM shared_keys WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(KEYS, &e))?;
        row.map(|row| {
            let mut columns = Columns::of(&row, KEYS);
            let id = ObjectId::from_bytes(columns.fixed()?);
            Ok(SharedKeysRow { workspace, row: id, cell: columns.bytes()?, changed_ms: columns.int()? })
        })
        .transpose()
    }

    /// Gives a workspace its shared keys, in the place of those in the row `replaces` or of none. Whether it did: `false` if what was
    /// to be replaced is no longer what is there.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn shared_keys_put(&self, row: &SharedKeysRow, replaces: Option<ObjectId>) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(KEYS).await?;
        let sql = match replaces {
            None => {
                "INSERT INTO shared_keys (workspace, id, cell, changed_ms) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (workspace) DO NOTHING"
            }
            Some(_) => "UPDATE shared_keys SET id = ?2, cell = ?3, changed_ms = ?4 WHERE workspace = ?1 AND id = ?5",
        };
        let query =
            sqlx::query(sql).bind(&row.workspace.as_bytes()[..]).bind(&row.row.as_bytes()[..]).bind(&row.cell[..]).bind(row.changed_ms);
        let query = match &replaces {
            None => query,
            Some(old) => query.bind(&old.as_bytes()[..]),
        };
        let done = query.execute(&mut *tx).await.map_err(|e| refused(KEYS, &e))?;
        commit(tx, KEYS).await?;
        Ok(done.rows_affected() == 1)
    }
}
