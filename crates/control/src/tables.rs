//! Tables as their owner declares them: plan, how long rows are at hand and how long they are kept.
//!
//! Rows are kept, and can be asked, for as long as the longer of the two times says: there is no archive that they would have to be
//! brought back from. A table that was deleted is not shown until it is declared again, or rows come.

use std::sync::Arc;

use strongroom_buffer::Buffer;
use strongroom_catalog::{Catalog, TablePageRow, TablePlan, TableRow, WorkspaceRow};
use strongroom_model::{TableId, TableName, WorkspaceId};
use strongroom_world::World;

use crate::{ControlError, RETENTION_DAYS_MAX};

/// A table and its page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableView {
    /// The table.
    pub row: TableRow,
    /// Its page.
    pub page: TablePageRow,
    /// Days that rows are said to be at hand; `None`: as the workspace says.
    pub interactive_days: Option<u32>,
    /// Days that rows are kept; `None`: as the workspace says.
    pub total_days: Option<u32>,
}

/// What is asked of a table; absent members stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableAsk {
    /// Days at hand; `Some(None)`: as the workspace says.
    pub interactive_days: Option<Option<u32>>,
    /// Days kept; `Some(None)`: as long as they are at hand.
    pub total_days: Option<Option<u32>>,
    /// What it is kept for.
    pub plan: Option<TablePlan>,
}

/// The tables of a catalog's workspaces.
#[derive(Debug)]
pub struct Tables {
    world: World,
    catalog: Catalog,
    memory: Option<Arc<Buffer>>,
}

impl Tables {
    /// Those of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog) -> Self {
        Self { world, catalog, memory: None }
    }

    /// Likewise, whose rows may also be in memory.
    #[must_use]
    pub fn in_memory(self, buffer: Arc<Buffer>) -> Self {
        Self { memory: Some(buffer), ..self }
    }

    /// One table.
    ///
    /// # Errors
    /// [`ControlError::NotFound`]; what the catalog says.
    pub async fn get(&self, workspace: WorkspaceId, name: &TableName) -> Result<TableView, ControlError> {
        let absent = || ControlError::NotFound { what: "table", name: name.to_string() };
        let row = self.catalog.table_get(workspace, name).await?.ok_or_else(absent)?;
        self.view(row).await?.ok_or_else(absent)
    }

    /// The tables of a workspace, by name.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, workspace: WorkspaceId) -> Result<Vec<TableView>, ControlError> {
        let mut views = Vec::new();
        for row in self.catalog.tables(workspace).await? {
            views.extend(self.view(row).await?);
        }
        Ok(views)
    }

    async fn view(&self, row: TableRow) -> Result<Option<TableView>, ControlError> {
        let page = self.catalog.table_page(row.id).await?;
        if page.deleted_ms.is_some() && !self.has_rows(row.id).await? {
            return Ok(None);
        }
        let total_days = row.retention_days;
        Ok(Some(TableView { page, interactive_days: page.interactive_days.or(total_days), total_days, row }))
    }

    async fn has_rows(&self, table: TableId) -> Result<bool, ControlError> {
        let unflushed = self.memory.as_ref().is_some_and(|memory| memory.snapshot(table).iter().any(|part| !part.rows.is_empty()));
        Ok(unflushed || self.catalog.table_blocks(table).await? > 0)
    }

    /// Declares a table that is there, or changes what was said of it.
    ///
    /// # Errors
    /// [`ControlError::Setting`] for a number of days out of bounds, [`ControlError::Invalid`] if rows were to be kept for less long than
    /// they are at hand; [`ControlError::NotFound`].
    pub async fn set(&self, workspace: &WorkspaceRow, table: TableId, ask: TableAsk) -> Result<TableView, ControlError> {
        let row = self.catalog.table(table).await?.ok_or(ControlError::NotFound { what: "table", name: table.to_string() })?;
        let mut page = self.catalog.table_page(table).await?;
        for (name, days) in [("retentionInDays", ask.interactive_days), ("totalRetentionInDays", ask.total_days)] {
            if let Some(Some(days)) = days
                && !(1..=RETENTION_DAYS_MAX).contains(&days)
            {
                return Err(ControlError::Setting { name, value: u64::from(days), min: 1, max: u64::from(RETENTION_DAYS_MAX) });
            }
        }
        let interactive = ask.interactive_days.unwrap_or_else(|| page.interactive_days.or(row.retention_days));
        let total = ask.total_days.unwrap_or_else(|| page.interactive_days.and(row.retention_days));
        let (kept, at_hand) = match total {
            None => (interactive, None),
            Some(total) => {
                let shown = interactive.unwrap_or(workspace.retention_days);
                if total < shown {
                    return Err(ControlError::Invalid {
                        what: "totalRetentionInDays",
                        why: "rows are kept for as long as they are at hand at least",
                    });
                }
                (Some(total), (total != shown).then_some(shown))
            }
        };
        let plan = ask.plan.unwrap_or(row.plan);
        if plan != row.plan {
            page.plan_ms = Some(self.world.clock.wall().unix_ms());
        }
        page = TablePageRow { interactive_days: at_hand, declared: true, deleted_ms: None, ..page };
        self.catalog.table_page_put(table, &page, kept, plan).await?;
        tracing::info!(workspace = %workspace.id, %table, days = kept, %plan, "table declared");
        let row = TableRow { retention_days: kept, plan, ..row };
        Ok(TableView { page, interactive_days: at_hand.or(kept), total_days: kept, row })
    }

    /// Has a table not shown any more. Its rows are for [`Shredder`](crate::Shredder) to take away.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn hide(&self, view: &TableView) -> Result<(), ControlError> {
        let page =
            TablePageRow { deleted_ms: Some(self.world.clock.wall().unix_ms()), declared: false, interactive_days: None, plan_ms: None };
        self.catalog.table_page_put(view.row.id, &page, None, TablePlan::Analytics).await?;
        Ok(())
    }
}
