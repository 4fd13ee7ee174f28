//! Principals: who holds a token. Of the token only its SHA-256 is here.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{PrincipalId, WorkspaceId};
use subtle::ConstantTimeEq as _;

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, PrincipalRow, Scope};

const PRINCIPAL: &str = "a principal";

macro_rules! principals {
    ($rest:literal) => {
        concat!("SELECT id, name, token_sha256, role, workspace, created_ms, expires_ms FROM principals ", $rest)
    };
}

fn principal(row: &SqliteRow) -> Result<PrincipalRow, CatalogError> {
    let mut columns = Columns::of(row, PRINCIPAL);
    Ok(PrincipalRow {
        id: PrincipalId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        token_sha256: columns.fixed()?,
        role: columns.text()?,
        scope: columns.fixed_opt()?.map_or(Scope::All, |id| Scope::Workspace(WorkspaceId::from_bytes(id))),
        created_ms: columns.int()?,
        expires_ms: columns.int_opt()?,
    })
}

impl Catalog {
    /// Adds a principal.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id or the token is taken.
    pub async fn principal_insert(&self, row: &PrincipalRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(PRINCIPAL).await?;
        let workspace = match &row.scope {
            Scope::All => None,
            Scope::Workspace(id) => Some(&id.as_bytes()[..]),
        };
        sqlx::query(
            "INSERT INTO principals (id, name, token_sha256, role, workspace, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(&row.token_sha256[..])
        .bind(row.role.as_str())
        .bind(workspace)
        .bind(row.created_ms)
        .bind(row.expires_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(PRINCIPAL, &e))?;
        commit(tx, PRINCIPAL).await
    }

    /// The principal whose token has this SHA-256, expired or not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal_by_token(&self, token_sha256: &[u8; 32]) -> Result<Option<PrincipalRow>, CatalogError> {
        // The index finds the hash of a secret of 256 bits: its timing tells nothing of use. Compared once more in
        // constant time all the same.
        let row = sqlx::query(principals!("WHERE token_sha256 = ?"))
            .bind(&token_sha256[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(PRINCIPAL, &e))?;
        let found = row.as_ref().map(principal).transpose()?;
        Ok(found.filter(|row| bool::from(row.token_sha256.ct_eq(token_sha256))))
    }

    /// One principal, expired or not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal(&self, id: PrincipalId) -> Result<Option<PrincipalRow>, CatalogError> {
        let row = sqlx::query(principals!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(PRINCIPAL, &e))?;
        row.as_ref().map(principal).transpose()
    }

    /// All principals, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principals(&self) -> Result<Vec<PrincipalRow>, CatalogError> {
        let rows =
            sqlx::query(principals!("ORDER BY id")).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(PRINCIPAL, &e))?;
        rows.iter().map(principal).collect()
    }

    /// Removes a principal; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal_delete(&self, id: PrincipalId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(PRINCIPAL).await?;
        let done = sqlx::query("DELETE FROM principals WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(PRINCIPAL, &e))?;
        commit(tx, PRINCIPAL).await?;
        Ok(done.rows_affected() > 0)
    }
}
