//! Accounts, wrapped AEKs, workspace secrets.

use strongroom_model::{AccountId, AekId, WorkspaceId};

use crate::{AccountRow, AekRow, Catalog, CatalogError, SecretRow};

impl Catalog {
    /// Adds an account.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken.
    pub async fn account_insert(&self, row: &AccountRow) -> Result<(), CatalogError> {
        todo!("{row:?}")
    }

    /// All accounts, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, CatalogError> {
        todo!()
    }

    /// Adds a wrapped AEK. If it is `current`, the one that reigned before no longer does, in the same transaction.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken or the generation is not above all of the account's;
    /// [`CatalogError::NotFound`] if the account is not there.
    pub async fn aek_insert(&self, row: &AekRow) -> Result<(), CatalogError> {
        todo!("{row:?}")
    }

    /// One AEK.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn aek(&self, aek: AekId) -> Result<Option<AekRow>, CatalogError> {
        todo!("{aek}")
    }

    /// The AEKs of an account, lowest generation first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn aeks(&self, account: AccountId) -> Result<Vec<AekRow>, CatalogError> {
        todo!("{account}")
    }

    /// The AEK that reigns in an account.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn aek_current(&self, account: AccountId) -> Result<Option<AekRow>, CatalogError> {
        todo!("{account}")
    }

    /// The sealed secret of (workspace, AEK).
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspace_secret(&self, workspace: WorkspaceId, aek: AekId) -> Result<Option<SecretRow>, CatalogError> {
        todo!("{workspace} {aek}")
    }

    /// Keeps a sealed secret of (workspace, AEK) unless there is one, and answers the one kept: the first wins, for
    /// blocks may already be sealed under it.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the workspace or the AEK is not there.
    pub async fn workspace_secret_insert(&self, workspace: WorkspaceId, aek: AekId, row: &SecretRow) -> Result<SecretRow, CatalogError> {
        todo!("{workspace} {aek} {row:?}")
    }
}
