//! Workspaces and tables.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AccountId, ObjectId, TableId, TableName, WorkspaceId, WorkspaceName};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, LinkRow, TablePlan, TableRow, WorkspaceRow};

const WORKSPACE: &str = "a workspace";
const TABLE: &str = "a table";

macro_rules! workspaces {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, account, subscription, resource_group, region, created_ms, retention_days, cluster, linked_ms, deleted_ms,
                    shred_ms FROM workspaces ",
            $rest
        )
    };
}
macro_rules! tables {
    ($rest:literal) => {
        concat!("SELECT id, workspace, name, retention_days, created_ms, plan FROM tables ", $rest)
    };
}

pub(crate) const LINKED: &str = workspaces!("WHERE cluster = ? ORDER BY id");
pub(crate) const DELETED: &str = workspaces!("WHERE deleted_ms IS NOT NULL AND shredded_ms IS NULL ORDER BY id");

/// A workspace, and the columns about its end.
pub(crate) fn workspace(row: &SqliteRow) -> Result<(WorkspaceRow, Columns<'_>), CatalogError> {
    let mut columns = Columns::of(row, WORKSPACE);
    let found = WorkspaceRow {
        id: WorkspaceId::from_bytes(columns.fixed()?),
        name: columns.parsed()?,
        account: AccountId::from_bytes(columns.fixed()?),
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        created_ms: columns.int()?,
        retention_days: columns.number()?,
        link: match (columns.fixed_opt()?, columns.int_opt()?) {
            (Some(cluster), Some(linked_ms)) => Some(LinkRow { cluster: ObjectId::from_bytes(cluster), linked_ms }),
            (None, None) => None,
            _ => return Err(CatalogError::BadValue { what: WORKSPACE }),
        },
    };
    Ok((found, columns))
}

fn there(row: &SqliteRow) -> Result<WorkspaceRow, CatalogError> {
    workspace(row).map(|(row, _)| row)
}

fn table(row: &SqliteRow) -> Result<TableRow, CatalogError> {
    let mut columns = Columns::of(row, TABLE);
    Ok(TableRow {
        id: TableId::from_bytes(columns.fixed()?),
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        name: columns.parsed()?,
        retention_days: columns.number_opt()?,
        created_ms: columns.int()?,
        plan: columns.parsed()?,
    })
}

impl Catalog {
    /// Adds a workspace.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id, or the name in its resource group, is taken; [`CatalogError::Orphan`] if the
    /// account is not there; [`CatalogError::Invalid`] if it keeps rows for no day at all.
    pub async fn workspace_insert(&self, row: &WorkspaceRow) -> Result<(), CatalogError> {
        check_days(row.retention_days)?;
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(WORKSPACE).await?;
        sqlx::query(
            "INSERT INTO workspaces (id, name, account, subscription, resource_group, region, created_ms, retention_days, cluster, linked_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(&row.account.as_bytes()[..])
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(row.created_ms)
        .bind(i64::from(row.retention_days))
        .bind(row.link.as_ref().map(|link| &link.cluster.as_bytes()[..]))
        .bind(row.link.as_ref().map(|link| link.linked_ms))
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(WORKSPACE, &e))?;
        commit(tx, WORKSPACE).await
    }

    /// One workspace that is not deleted.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Option<WorkspaceRow>, CatalogError> {
        let row = sqlx::query(workspaces!("WHERE id = ? AND deleted_ms IS NULL"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        row.as_ref().map(there).transpose()
    }

    /// The workspaces of that name, in any resource group, oldest first; case does not count.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces_named(&self, name: &WorkspaceName) -> Result<Vec<WorkspaceRow>, CatalogError> {
        let rows = sqlx::query(workspaces!("WHERE name = ? AND deleted_ms IS NULL AND shredded_ms IS NULL ORDER BY id"))
            .bind(name.as_str())
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        rows.iter().map(there).collect()
    }

    /// All workspaces that are not deleted, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceRow>, CatalogError> {
        let rows = sqlx::query(workspaces!("WHERE deleted_ms IS NULL ORDER BY id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        rows.iter().map(there).collect()
    }

    /// All workspaces whose rows are still there, deleted ones included, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces_kept(&self) -> Result<Vec<WorkspaceRow>, CatalogError> {
        let rows = sqlx::query(workspaces!("WHERE shredded_ms IS NULL ORDER BY id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        rows.iter().map(there).collect()
    }

    /// The workspaces linked to a cluster, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces_linked(&self, cluster: ObjectId) -> Result<Vec<WorkspaceRow>, CatalogError> {
        let rows = sqlx::query(LINKED)
            .bind(&cluster.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        rows.iter().map(there).collect()
    }

    /// Sets how many days a workspace's rows are kept where a table says nothing else.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the workspace is not there; [`CatalogError::Invalid`] for no day at all.
    pub async fn workspace_set_retention(&self, id: WorkspaceId, days: u32) -> Result<(), CatalogError> {
        check_days(days)?;
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(WORKSPACE).await?;
        let done = sqlx::query("UPDATE workspaces SET retention_days = ?, retention_set_ms = ? WHERE id = ? AND deleted_ms IS NULL")
            .bind(i64::from(days))
            .bind(self.now_ms())
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(WORKSPACE, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: WORKSPACE });
        }
        commit(tx, WORKSPACE).await
    }

    /// The table of exactly that name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn table_get(&self, workspace: WorkspaceId, name: &TableName) -> Result<Option<TableRow>, CatalogError> {
        let mut reader = self.reader().await?;
        table_named(&mut reader, workspace, name).await
    }

    /// The tables that go by a name if letter case does not count, by name: one at most, but in catalogs of builds that let a second be.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn tables_alike(&self, workspace: WorkspaceId, name: &TableName) -> Result<Vec<TableRow>, CatalogError> {
        let mut reader = self.reader().await?;
        tables_alike(&mut reader, workspace, name).await
    }

    /// The table of exactly that name, made if it is not there.
    ///
    /// # Errors
    /// [`CatalogError::TableTwin`] if it is not there and another is whose name differs in letter case alone: rights and the control
    /// plane name tables without case. [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn table_ensure(&self, workspace: WorkspaceId, name: &TableName) -> Result<TableRow, CatalogError> {
        self.table_made(workspace, name, false).await
    }

    /// Likewise for a table of the server's own, which has to be: an older build may have let somebody take a name like it.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the workspace is not there.
    pub async fn table_ensure_own(&self, workspace: WorkspaceId, name: &TableName) -> Result<TableRow, CatalogError> {
        self.table_made(workspace, name, true).await
    }

    async fn table_made(&self, workspace: WorkspaceId, name: &TableName, own: bool) -> Result<TableRow, CatalogError> {
        if let Some(there) = self.table_get(workspace, name).await? {
            return Ok(there);
        }
        let (ms, random) = self.inner.world.id_seed();
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(TABLE).await?;
        // Somebody else may have made it since, or one that is called alike.
        let alike = tables_alike(&mut tx, workspace, name).await?;
        if let Some(there) = alike.iter().find(|row| row.name == *name) {
            return Ok(there.clone());
        }
        if let Some(there) = alike.first().filter(|_| !own) {
            return Err(CatalogError::TableTwin { name: name.to_string(), there: there.name.to_string() });
        }
        sqlx::query("INSERT INTO tables (id, workspace, name, created_ms) VALUES (?, ?, ?, ?)")
            .bind(&TableId::mint(ms, random).as_bytes()[..])
            .bind(&workspace.as_bytes()[..])
            .bind(name.as_str())
            .bind(self.now_ms())
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        let row = table_named(&mut tx, workspace, name).await?.ok_or(CatalogError::BadValue { what: TABLE })?;
        commit(tx, TABLE).await?;
        Ok(row)
    }

    /// One table.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn table(&self, id: TableId) -> Result<Option<TableRow>, CatalogError> {
        let row = sqlx::query(tables!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        row.as_ref().map(table).transpose()
    }

    /// The tables of a workspace, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn tables(&self, workspace: WorkspaceId) -> Result<Vec<TableRow>, CatalogError> {
        let rows = sqlx::query(tables!("WHERE workspace = ? ORDER BY name"))
            .bind(&workspace.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        rows.iter().map(table).collect()
    }

    /// Sets how many days a table's rows are kept; `None`: as the workspace says.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the table is not there; [`CatalogError::Invalid`] for no day at all.
    pub async fn table_set_retention(&self, id: TableId, days: Option<u32>) -> Result<(), CatalogError> {
        days.map_or(Ok(()), check_days)?;
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(TABLE).await?;
        let done = sqlx::query("UPDATE tables SET retention_days = ?, retention_set_ms = ? WHERE id = ?")
            .bind(days.map(i64::from))
            .bind(self.now_ms())
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: TABLE });
        }
        commit(tx, TABLE).await
    }

    /// Sets what a table is kept for.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the table is not there.
    pub async fn table_set_plan(&self, id: TableId, plan: TablePlan) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(TABLE).await?;
        let done = sqlx::query("UPDATE tables SET plan = ? WHERE id = ?")
            .bind(plan.as_str())
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(TABLE, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: TABLE });
        }
        commit(tx, TABLE).await
    }
}

fn check_days(days: u32) -> Result<(), CatalogError> {
    if days == 0 { Err(CatalogError::Invalid { what: "a retention of no days" }) } else { Ok(()) }
}

async fn table_named(
    conn: &mut sqlx::SqliteConnection,
    workspace: WorkspaceId,
    name: &TableName,
) -> Result<Option<TableRow>, CatalogError> {
    let row = sqlx::query(tables!("WHERE workspace = ? AND name = ?"))
        .bind(&workspace.as_bytes()[..])
        .bind(name.as_str())
        .fetch_optional(conn)
        .await
        .map_err(|e| refused(TABLE, &e))?;
    row.as_ref().map(table).transpose()
}

async fn tables_alike(conn: &mut sqlx::SqliteConnection, workspace: WorkspaceId, name: &TableName) -> Result<Vec<TableRow>, CatalogError> {
    let rows = sqlx::query(tables!("WHERE workspace = ? AND name = ? COLLATE NOCASE ORDER BY name"))
        .bind(&workspace.as_bytes()[..])
        .bind(name.as_str())
        .fetch_all(conn)
        .await
        .map_err(|e| refused(TABLE, &e))?;
    rows.iter().map(table).collect()
}
