//! Tables as their owner declares them: plan, how long rows are at hand and how long they are kept.
//!
//! Rows are kept, and can be asked, for as long as the longer of the two times says: there is no archive that they would have to be
//! brought back from. A table that was deleted is not shown until it is declared again, or rows come.

use std::collections::HashMap;
use std::sync::Arc;

use strongroom_buffer::Buffer;
use strongroom_catalog::{Catalog, CatalogError, TablePageRow, TablePlan, TableRow, WorkspaceRow};
use strongroom_model::{TableId, TableName, WorkspaceId};
use strongroom_world::World;

use crate::{Caller, ControlError, RETENTION_DAYS_MAX, ScopePath};

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

    /// Refuses unless a caller may do `action` on the table of that name, be it there or not.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], or [`ControlError::NotFound`] if the caller may not even know of it; what the catalog says.
    pub async fn check(&self, caller: &Caller, workspace: &WorkspaceRow, name: &str, action: &str) -> Result<(), ControlError> {
        check(&self.catalog, caller, workspace, name, action).await
    }

    /// The tables on which a caller may do `action`, by name.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] if no role of theirs could allow it on any; what the catalog says.
    pub async fn open_to(&self, caller: &Caller, workspace: &WorkspaceRow, action: &str) -> Result<Vec<TableRow>, ControlError> {
        let place = ScopePath::workspace(workspace);
        if !caller.may_within(action, &place) {
            return Err(caller.forbidden(action, &place));
        }
        let mut rows = self.catalog.tables(workspace.id).await?;
        if !caller.may(action, &place) {
            let mut spelled: HashMap<String, u32> = HashMap::new();
            for row in &rows {
                *spelled.entry(row.name.as_str().to_ascii_lowercase()).or_default() += 1;
            }
            rows.retain(|row| caller.may(action, &place.table(row.name.as_str())) && spelled[&row.name.as_str().to_ascii_lowercase()] == 1);
        }
        Ok(rows)
    }

    /// The table that a name means, whose letter case does not count.
    ///
    /// # Errors
    /// As [`called`].
    pub async fn called(&self, workspace: WorkspaceId, name: &TableName) -> Result<Option<TableRow>, ControlError> {
        called(&self.catalog, workspace, name).await
    }

    /// One table, as a name whose letter case does not count means it.
    ///
    /// # Errors
    /// [`ControlError::NotFound`]; what the catalog says.
    pub async fn get(&self, workspace: WorkspaceId, name: &TableName) -> Result<TableView, ControlError> {
        let absent = || ControlError::NotFound { what: "table", name: name.to_string() };
        let row = self.called(workspace, name).await?.ok_or_else(absent)?;
        self.view(row).await?.ok_or_else(absent)
    }

    /// Those of these tables that are shown.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn views(&self, rows: Vec<TableRow>) -> Result<Vec<TableView>, ControlError> {
        let mut views = Vec::with_capacity(rows.len());
        for row in rows {
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

/// The table that a name means: that of the name, else the one whose name differs in letter case alone.
///
/// # Errors
/// [`ControlError::Ambiguous`] if there are several of those, as older builds let be; what the catalog says.
pub(crate) async fn called(catalog: &Catalog, workspace: WorkspaceId, name: &TableName) -> Result<Option<TableRow>, ControlError> {
    let mut alike = catalog.tables_alike(workspace, name).await?;
    if let Some(at) = alike.iter().position(|row| row.name == *name) {
        return Ok(Some(alike.swap_remove(at)));
    }
    if alike.len() > 1 {
        return Err(ControlError::Ambiguous { what: "tables", name: name.to_string() });
    }
    Ok(alike.pop())
}

/// See [`Tables::check`]. Places are paths without letter case: where an older build let tables be whose names differ in it alone, a
/// right on such a name could mean either, so it opens neither; one on the workspace does.
pub(crate) async fn check(
    catalog: &Catalog,
    caller: &Caller,
    workspace: &WorkspaceRow,
    name: &str,
    action: &str,
) -> Result<(), ControlError> {
    let place = ScopePath::workspace(workspace);
    if caller.may(action, &place) {
        return Ok(());
    }
    caller.check(action, &place.table(name))?;
    match name.parse() {
        Ok(name) if !alone(catalog, workspace.id, &name).await? => Err(caller.forbidden(action, &place)),
        _ => Ok(()),
    }
}

/// Whether no two tables go by that name.
pub(crate) async fn alone(catalog: &Catalog, workspace: WorkspaceId, name: &TableName) -> Result<bool, CatalogError> {
    Ok(catalog.tables_alike(workspace, name).await?.len() < 2)
}
