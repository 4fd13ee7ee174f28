//! What is remembered of links: when they were asked for, and those that a deletion took away.

use strongroom_model::{ObjectId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const MARK: &str = "the mark of a link";
const KEPT: &str = "a link that is kept";

impl Catalog {
    /// Counts a link of a workspace, once for each operation.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn link_mark(&self, operation: ObjectId, workspace: WorkspaceId, at_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(MARK).await?;
        sqlx::query("INSERT INTO link_marks (operation, workspace, at_ms) VALUES (?, ?, ?) ON CONFLICT (operation) DO NOTHING")
            .bind(&operation.as_bytes()[..])
            .bind(&workspace.as_bytes()[..])
            .bind(at_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(MARK, &e))?;
        commit(tx, MARK).await
    }

    /// Does not count it after all.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn link_unmark(&self, operation: ObjectId) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(MARK).await?;
        sqlx::query("DELETE FROM link_marks WHERE operation = ?")
            .bind(&operation.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(MARK, &e))?;
        commit(tx, MARK).await
    }

    /// When a workspace was linked after `since_ms`, oldest first. Older marks are forgotten.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn link_times(&self, workspace: WorkspaceId, since_ms: i64) -> Result<Vec<i64>, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(MARK).await?;
        sqlx::query("DELETE FROM link_marks WHERE workspace = ? AND at_ms <= ?")
            .bind(&workspace.as_bytes()[..])
            .bind(since_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(MARK, &e))?;
        let times = sqlx::query_scalar("SELECT at_ms FROM link_marks WHERE workspace = ? ORDER BY at_ms")
            .bind(&workspace.as_bytes()[..])
            .fetch_all(&mut *tx)
            .await
            .map_err(|e| refused(MARK, &e))?;
        commit(tx, MARK).await?;
        Ok(times)
    }

    /// Remembers what a workspace is linked to, if it is: it, or the cluster, is about to be deleted.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn link_keep(&self, workspace: WorkspaceId) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(KEPT).await?;
        sqlx::query(
            "INSERT INTO links_kept (workspace, cluster) SELECT id, cluster FROM workspaces WHERE id = ? AND cluster IS NOT NULL
             ON CONFLICT (workspace) DO UPDATE SET cluster = excluded.cluster",
        )
        .bind(&workspace.as_bytes()[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(KEPT, &e))?;
        commit(tx, KEPT).await
    }

    /// Forgets that.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn link_unkeep(&self, workspace: WorkspaceId) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(KEPT).await?;
        sqlx::query("DELETE FROM links_kept WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(KEPT, &e))?;
        commit(tx, KEPT).await
    }

    /// The links that are remembered: of which workspace, to which cluster.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn links_kept(&self) -> Result<Vec<(WorkspaceId, ObjectId)>, CatalogError> {
        let rows = sqlx::query("SELECT workspace, cluster FROM links_kept ORDER BY workspace")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(KEPT, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, KEPT);
                Ok((WorkspaceId::from_bytes(columns.fixed()?), ObjectId::from_bytes(columns.fixed()?)))
            })
            .collect()
    }

    /// Takes a cluster's deletion back, unless its keys are destroyed.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it is not deleted, or its keys are gone; [`CatalogError::Conflict`] if another cluster has its name.
    pub async fn cluster_recover(&self, id: ObjectId, now_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(KEPT).await?;
        let done = sqlx::query(
            "UPDATE clusters SET state = 'Succeeded', deleted_ms = NULL, modified_ms = ?
             WHERE id = ? AND deleted_ms IS NOT NULL AND shredded_ms IS NULL AND account IS NOT NULL",
        )
        .bind(now_ms)
        .bind(&id.as_bytes()[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(KEPT, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: "a deleted cluster" });
        }
        commit(tx, KEPT).await
    }
}
