//! Principals: who holds a token. Of the token only its SHA-256 is here.

use strongroom_model::PrincipalId;

use crate::{Catalog, CatalogError, PrincipalRow};

impl Catalog {
    /// Adds a principal.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id or the token is taken.
    pub async fn principal_insert(&self, row: &PrincipalRow) -> Result<(), CatalogError> {
        todo!("{row:?}")
    }

    /// The principal whose token has this SHA-256, expired or not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal_by_token(&self, token_sha256: &[u8; 32]) -> Result<Option<PrincipalRow>, CatalogError> {
        todo!("{token_sha256:?}")
    }

    /// All principals, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principals(&self) -> Result<Vec<PrincipalRow>, CatalogError> {
        todo!()
    }

    /// Removes a principal; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal_delete(&self, id: PrincipalId) -> Result<bool, CatalogError> {
        todo!("{id}")
    }
}
