//! Principals: who holds a token, and services with what they log in with. Of tokens and secrets only the SHA-256 is here.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{ObjectId, PrincipalId};
use subtle::ConstantTimeEq as _;

use crate::columns::Columns;
use crate::db::{Tx, commit, refused};
use crate::directory::insert_assignment;
use crate::{AssignmentRow, Catalog, CatalogError, CredentialRow, PrincipalRow};

const PRINCIPAL: &str = "a principal";
const CREDENTIAL: &str = "a credential";

macro_rules! principals {
    ($rest:literal) => {
        concat!("SELECT id, name, token_sha256, client_id, created_ms, expires_ms FROM principals ", $rest)
    };
}

fn principal(row: &SqliteRow) -> Result<PrincipalRow, CatalogError> {
    let mut columns = Columns::of(row, PRINCIPAL);
    Ok(PrincipalRow {
        id: PrincipalId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        token_sha256: columns.fixed_opt()?,
        client_id: columns.fixed_opt()?.map(ObjectId::from_bytes),
        created_ms: columns.int()?,
        expires_ms: columns.int_opt()?,
    })
}

fn credential(row: &SqliteRow) -> Result<CredentialRow, CatalogError> {
    let mut columns = Columns::of(row, CREDENTIAL);
    Ok(CredentialRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        principal: PrincipalId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        sha256: columns.fixed()?,
        certificate: columns.bytes_opt()?,
        created_ms: columns.int()?,
        expires_ms: columns.int_opt()?,
    })
}

impl Catalog {
    /// Adds a principal, with a right if it is to have one at once.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id, the token or the client id is taken.
    pub async fn principal_insert(&self, row: &PrincipalRow, right: Option<&AssignmentRow>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(PRINCIPAL).await?;
        sqlx::query("INSERT INTO principals (id, name, token_sha256, client_id, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)")
            .bind(&row.id.as_bytes()[..])
            .bind(row.name.as_str())
            .bind(row.token_sha256.as_ref().map(|hash| &hash[..]))
            .bind(row.client_id.as_ref().map(|id| &id.as_bytes()[..]))
            .bind(row.created_ms)
            .bind(row.expires_ms)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(PRINCIPAL, &e))?;
        if let Some(right) = right {
            insert_assignment(&mut tx, right).await?;
        }
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
        Ok(found.filter(|row| row.token_sha256.is_some_and(|hash| bool::from(hash.ct_eq(token_sha256)))))
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

    /// The service of that client id, expired or not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal_by_client(&self, client: ObjectId) -> Result<Option<PrincipalRow>, CatalogError> {
        let row = sqlx::query(principals!("WHERE client_id = ?"))
            .bind(&client.as_bytes()[..])
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

    /// Removes a principal with its credentials and rights; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn principal_delete(&self, id: PrincipalId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(PRINCIPAL).await?;
        let mut gone = 0;
        for sql in [
            "DELETE FROM credentials WHERE principal = ?",
            "DELETE FROM role_assignments WHERE principal = ?",
            "DELETE FROM principals WHERE id = ?",
        ] {
            gone = delete(&mut tx, sql, &id.as_bytes()[..], PRINCIPAL).await?;
        }
        commit(tx, PRINCIPAL).await?;
        Ok(gone > 0)
    }

    /// Adds a credential.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the service has it already; [`CatalogError::Orphan`] if there is no such principal.
    pub async fn credential_insert(&self, row: &CredentialRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CREDENTIAL).await?;
        sqlx::query(
            "INSERT INTO credentials (id, principal, name, sha256, certificate, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(&row.principal.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(&row.sha256[..])
        .bind(row.certificate.as_deref())
        .bind(row.created_ms)
        .bind(row.expires_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(CREDENTIAL, &e))?;
        commit(tx, CREDENTIAL).await
    }

    /// What a service logs in with, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn credentials(&self, principal: PrincipalId) -> Result<Vec<CredentialRow>, CatalogError> {
        let rows = sqlx::query(
            "SELECT id, principal, name, sha256, certificate, created_ms, expires_ms FROM credentials WHERE principal = ? ORDER BY id",
        )
        .bind(&principal.as_bytes()[..])
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|e| refused(CREDENTIAL, &e))?;
        rows.iter().map(credential).collect()
    }

    /// Removes a credential; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn credential_delete(&self, principal: PrincipalId, id: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CREDENTIAL).await?;
        let done = sqlx::query("DELETE FROM credentials WHERE principal = ? AND id = ?")
            .bind(&principal.as_bytes()[..])
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(CREDENTIAL, &e))?;
        commit(tx, CREDENTIAL).await?;
        Ok(done.rows_affected() > 0)
    }
}

pub(crate) async fn delete(tx: &mut Tx<'_>, sql: &'static str, key: &[u8], what: &'static str) -> Result<u64, CatalogError> {
    let done = sqlx::query(sql).bind(key).execute(&mut **tx).await.map_err(|e| refused(what, &e))?;
    Ok(done.rows_affected())
}
