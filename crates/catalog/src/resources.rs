//! Workspaces and tables.

use strongroom_model::{TableId, TableName, WorkspaceId, WorkspaceName};

use crate::{Catalog, CatalogError, TableRow, WorkspaceRow};

impl Catalog {
    /// Adds a workspace.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id, or the name in its resource group, is taken; [`CatalogError::NotFound`] if the
    /// account is not there.
    pub async fn workspace_insert(&self, row: &WorkspaceRow) -> Result<(), CatalogError> {
        todo!("{row:?}")
    }

    /// One workspace.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspace(&self, id: WorkspaceId) -> Result<Option<WorkspaceRow>, CatalogError> {
        todo!("{id}")
    }

    /// The workspaces of that name, in any resource group; case does not count.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces_named(&self, name: &WorkspaceName) -> Result<Vec<WorkspaceRow>, CatalogError> {
        todo!("{name}")
    }

    /// All workspaces, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceRow>, CatalogError> {
        todo!()
    }

    /// The table of exactly that name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn table_get(&self, workspace: WorkspaceId, name: &TableName) -> Result<Option<TableRow>, CatalogError> {
        todo!("{workspace} {name}")
    }

    /// The table of exactly that name, made if it is not there.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the workspace is not there.
    pub async fn table_ensure(&self, workspace: WorkspaceId, name: &TableName) -> Result<TableRow, CatalogError> {
        todo!("{workspace} {name}")
    }

    /// One table.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn table(&self, id: TableId) -> Result<Option<TableRow>, CatalogError> {
        todo!("{id}")
    }

    /// The tables of a workspace, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn tables(&self, workspace: WorkspaceId) -> Result<Vec<TableRow>, CatalogError> {
        todo!("{workspace}")
    }

    /// Sets how many days a table's rows are kept; `None`: as the workspace says.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the table is not there.
    pub async fn table_set_retention(&self, id: TableId, days: Option<u32>) -> Result<(), CatalogError> {
        todo!("{id} {days:?}")
    }

    /// Sets how many days a workspace's rows are kept where a table says nothing else.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the workspace is not there.
    pub async fn workspace_set_retention(&self, id: WorkspaceId, days: u32) -> Result<(), CatalogError> {
        todo!("{id} {days}")
    }
}
