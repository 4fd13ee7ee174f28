//! What is shown of workspaces and tables besides what they are worked with: their pages.

use strongroom_model::{TableId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const PAGE: &str = "a workspace's page";
const TABLE: &str = "a table's page";

/// What a workspace's owner said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspacePageRow {
    /// A JSON object.
    pub page: String,
    /// Last change, milliseconds since 1970.
    pub modified_ms: i64,
}

/// What is shown of a table besides its columns and sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TablePageRow {
    /// Days that its rows are said to be at hand; `None`: as long as they are kept.
    pub interactive_days: Option<u32>,
    /// When its plan was last set, milliseconds since 1970.
    pub plan_ms: Option<i64>,
    /// Whether its owner declared it.
    pub declared: bool,
    /// When it was deleted, milliseconds since 1970.
    pub deleted_ms: Option<i64>,
}

impl Catalog {
    /// A workspace's page; an empty one if nothing was said.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspace_page(&self, workspace: WorkspaceId) -> Result<Option<WorkspacePageRow>, CatalogError> {
        let row = sqlx::query("SELECT page, modified_ms FROM workspace_pages WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(PAGE, &e))?;
        row.as_ref()
            .map(|row| {
                let mut columns = Columns::of(row, PAGE);
                Ok(WorkspacePageRow { page: columns.text()?, modified_ms: columns.int()? })
            })
            .transpose()
    }

    /// Writes it, if it is still as it was when it was read (`before`: its last change).
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if it was changed meanwhile; [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn workspace_page_put(
        &self,
        workspace: WorkspaceId,
        row: &WorkspacePageRow,
        before: Option<&WorkspacePageRow>,
    ) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(PAGE).await?;
        let there: Option<String> = sqlx::query_scalar("SELECT page FROM workspace_pages WHERE workspace = ?")
            .bind(&workspace.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(PAGE, &e))?;
        if there.as_deref() != before.map(|row| row.page.as_str()) {
            return Err(CatalogError::Conflict { what: PAGE, why: "it was changed meanwhile" });
        }
        sqlx::query(
            "INSERT INTO workspace_pages (workspace, page, modified_ms) VALUES (?, ?, ?)
             ON CONFLICT (workspace) DO UPDATE SET page = excluded.page, modified_ms = excluded.modified_ms",
        )
        .bind(&workspace.as_bytes()[..])
        .bind(row.page.as_str())
        .bind(row.modified_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(PAGE, &e))?;
        commit(tx, PAGE).await
    }

    /// A table's page.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn table_page(&self, table: TableId) -> Result<TablePageRow, CatalogError> {
        let row = sqlx::query("SELECT interactive_days, plan_ms, declared, deleted_ms FROM table_pages WHERE table_id = ?")
            .bind(&table.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        let Some(row) = row else { return Ok(TablePageRow::default()) };
        let mut columns = Columns::of(&row, TABLE);
        Ok(TablePageRow {
            interactive_days: columns.number_opt()?,
            plan_ms: columns.int_opt()?,
            declared: columns.int()? == 1,
            deleted_ms: columns.int_opt()?,
        })
    }

    /// Writes a table's page, and with it how long its rows are kept (`None`: as the workspace says) and what it is kept for.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the table is not there; [`CatalogError::Invalid`] for no day at all.
    pub async fn table_page_put(
        &self,
        table: TableId,
        page: &TablePageRow,
        kept_days: Option<u32>,
        plan: crate::TablePlan,
    ) -> Result<(), CatalogError> {
        if kept_days == Some(0) || page.interactive_days == Some(0) {
            return Err(CatalogError::Invalid { what: "a retention of no days" });
        }
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(TABLE).await?;
        let done = sqlx::query(
            "UPDATE tables SET plan = ?, retention_set_ms = iif(retention_days IS ?, retention_set_ms, ?), retention_days = ? WHERE id = ?",
        )
        .bind(plan.as_str())
        .bind(kept_days.map(i64::from))
        .bind(self.now_ms())
        .bind(kept_days.map(i64::from))
        .bind(&table.as_bytes()[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(TABLE, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: "a table" });
        }
        sqlx::query(
            "INSERT INTO table_pages (table_id, interactive_days, plan_ms, declared, deleted_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (table_id) DO UPDATE SET interactive_days = excluded.interactive_days, plan_ms = excluded.plan_ms,
                                                  declared = excluded.declared, deleted_ms = excluded.deleted_ms",
        )
        .bind(&table.as_bytes()[..])
        .bind(page.interactive_days.map(i64::from))
        .bind(page.plan_ms)
        .bind(i64::from(page.declared))
        .bind(page.deleted_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(TABLE, &e))?;
        commit(tx, TABLE).await
    }

    /// Live blocks of a table.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn table_blocks(&self, table: TableId) -> Result<u64, CatalogError> {
        let blocks: Option<i64> = sqlx::query_scalar("SELECT blocks FROM table_sums WHERE table_id = ?")
            .bind(&table.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        Ok(u64::try_from(blocks.unwrap_or(0)).unwrap_or(0))
    }
}
