//! Accounts, wrapped AEKs, workspace secrets.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AccountId, AekId, KeyClass, ObjectId, WorkspaceId};

use crate::columns::{Columns, signed};
use crate::db::{Tx, commit, refused};
use crate::{AccountRow, AekRow, Catalog, CatalogError, SecretRow, standby};

const AEK: &str = "an AEK";

fn aek(row: &SqliteRow) -> Result<AekRow, CatalogError> {
    let mut columns = Columns::of(row, AEK);
    Ok(AekRow {
        aek: AekId::from_bytes(columns.fixed()?),
        account: AccountId::from_bytes(columns.fixed()?),
        class: match columns.text()?.as_str() {
            "MMK" => KeyClass::Mmk,
            "CMK" => KeyClass::Cmk,
            _ => return Err(CatalogError::BadValue { what: AEK }),
        },
        generation: columns.number()?,
        record: columns.bytes()?,
        current: columns.int()? == 1,
        created_ms: columns.int()?,
    })
}

impl Catalog {
    /// Adds an account.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken.
    pub async fn account_insert(&self, row: &AccountRow) -> Result<(), CatalogError> {
        let what = "an account";
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(what).await?;
        sqlx::query("INSERT INTO accounts (id, region, cluster) VALUES (?, ?, ?)")
            .bind(&row.id.as_bytes()[..])
            .bind(row.region.as_str())
            .bind(row.cluster.as_deref())
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(what, &e))?;
        commit(tx, what).await
    }

    /// All accounts, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn accounts(&self) -> Result<Vec<AccountRow>, CatalogError> {
        let what = "an account";
        let rows = sqlx::query("SELECT id, region, cluster FROM accounts ORDER BY id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(what, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, what);
                Ok(AccountRow { id: AccountId::from_bytes(columns.fixed()?), region: columns.text()?, cluster: columns.text_opt()? })
            })
            .collect()
    }

    /// Adds a wrapped AEK. If it is `current`, the one that reigned before no longer does, in the same transaction.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id is taken or the generation is not above all of the account's;
    /// [`CatalogError::Orphan`] if the account is not there.
    pub async fn aek_insert(&self, row: &AekRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(AEK).await?;
        insert(&mut tx, row).await?;
        commit(tx, AEK).await
    }

    /// Replaces the record of an AEK: the same key, wrapped anew. Who reigns stays as it is; what waited beside the old record goes.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the account has no such AEK of that class; [`CatalogError::Conflict`] if the generation
    /// is not above all of the account's.
    pub async fn aek_rewrap(&self, row: &AekRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(AEK).await?;
        rewrap(&mut tx, row).await?;
        commit(tx, AEK).await
    }

    /// Puts the right record of an AEK in the place of a wrong one, whatever generation that claims. What waits beside it goes.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the account has no such AEK of that class.
    pub async fn aek_mend(&self, row: &AekRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(AEK).await?;
        let generation = i64::try_from(row.generation).map_err(|_| CatalogError::Invalid { what: "a generation" })?;
        let done = sqlx::query("UPDATE aeks SET generation = ?1, record = ?2 WHERE id = ?3 AND account = ?4 AND class = ?5")
            .bind(generation)
            .bind(&row.record[..])
            .bind(&row.aek.as_bytes()[..])
            .bind(&row.account.as_bytes()[..])
            .bind(row.class.as_str())
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(AEK, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: AEK });
        }
        standby::dismiss(&mut tx, row.aek).await?;
        commit(tx, AEK).await
    }

    /// Replaces the records of AEKs and adds one that reigns from now on, all or nothing: another key of the customer took
    /// over.
    ///
    /// # Errors
    /// As [`aek_rewrap`](Self::aek_rewrap) and [`aek_insert`](Self::aek_insert); [`CatalogError::Invalid`] if the new one is
    /// not to reign.
    pub async fn aek_supersede(&self, rewrapped: &[AekRow], next: &AekRow) -> Result<(), CatalogError> {
        if !next.current {
            return Err(CatalogError::Invalid { what: "a new AEK that does not reign" });
        }
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(AEK).await?;
        for row in rewrapped {
            rewrap(&mut tx, row).await?;
        }
        insert(&mut tx, next).await?;
        commit(tx, AEK).await
    }

    /// One AEK.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn aek(&self, id: AekId) -> Result<Option<AekRow>, CatalogError> {
        let row = sqlx::query("SELECT id, account, class, generation, record, current, created_ms FROM aeks WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(AEK, &e))?;
        row.as_ref().map(aek).transpose()
    }

    /// The AEKs of an account, lowest generation first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn aeks(&self, account: AccountId) -> Result<Vec<AekRow>, CatalogError> {
        let sql = "SELECT id, account, class, generation, record, current, created_ms FROM aeks WHERE account = ? ORDER BY generation";
        let rows =
            sqlx::query(sql).bind(&account.as_bytes()[..]).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(AEK, &e))?;
        rows.iter().map(aek).collect()
    }

    /// The AEK that reigns in an account.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn aek_current(&self, account: AccountId) -> Result<Option<AekRow>, CatalogError> {
        let sql = "SELECT id, account, class, generation, record, current, created_ms FROM aeks WHERE account = ? AND current = 1";
        let row = sqlx::query(sql)
            .bind(&account.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(AEK, &e))?;
        row.as_ref().map(aek).transpose()
    }

    /// The sealed secret of (workspace, AEK).
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn workspace_secret(&self, workspace: WorkspaceId, aek: AekId) -> Result<Option<SecretRow>, CatalogError> {
        let mut reader = self.reader().await?;
        secret(&mut reader, workspace, aek).await
    }

    /// Keeps a sealed secret of (workspace, AEK) unless there is one, and answers the one kept: the first wins, for
    /// blocks may already be sealed under it.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the workspace or the AEK is not there.
    pub async fn workspace_secret_insert(&self, workspace: WorkspaceId, aek: AekId, row: &SecretRow) -> Result<SecretRow, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(SECRET).await?;
        sqlx::query("INSERT INTO workspace_secrets (workspace, aek, id, cell) VALUES (?, ?, ?, ?) ON CONFLICT (workspace, aek) DO NOTHING")
            .bind(&workspace.as_bytes()[..])
            .bind(&aek.as_bytes()[..])
            .bind(&row.row.as_bytes()[..])
            .bind(&row.cell[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(SECRET, &e))?;
        let kept = secret(&mut tx, workspace, aek).await?.ok_or(CatalogError::BadValue { what: SECRET })?;
        commit(tx, SECRET).await?;
        Ok(kept)
    }
}

/// The row's generation, if it is above all of the account's: no record that was replaced can come back.
async fn newer(tx: &mut Tx<'_>, row: &AekRow) -> Result<i64, CatalogError> {
    let newest: Option<i64> = sqlx::query_scalar("SELECT max(generation) FROM aeks WHERE account = ?")
        .bind(&row.account.as_bytes()[..])
        .fetch_one(&mut **tx)
        .await
        .map_err(|e| refused(AEK, &e))?;
    let generation = signed(row.generation, "a generation")?;
    if newest.is_some_and(|newest| generation <= newest) {
        return Err(CatalogError::Conflict { what: AEK, why: "its generation is not above those before" });
    }
    Ok(generation)
}

async fn insert(tx: &mut Tx<'_>, row: &AekRow) -> Result<(), CatalogError> {
    let generation = newer(tx, row).await?;
    if row.current {
        sqlx::query("UPDATE aeks SET current = 0 WHERE account = ? AND current = 1")
            .bind(&row.account.as_bytes()[..])
            .execute(&mut **tx)
            .await
            .map_err(|e| refused(AEK, &e))?;
    }
    sqlx::query("INSERT INTO aeks (id, account, class, generation, record, current, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)")
        .bind(&row.aek.as_bytes()[..])
        .bind(&row.account.as_bytes()[..])
        .bind(row.class.as_str())
        .bind(generation)
        .bind(&row.record[..])
        .bind(i64::from(row.current))
        .bind(row.created_ms)
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(AEK, &e))?;
    Ok(())
}

async fn rewrap(tx: &mut Tx<'_>, row: &AekRow) -> Result<(), CatalogError> {
    let generation = newer(tx, row).await?;
    let done = sqlx::query("UPDATE aeks SET generation = ?, record = ? WHERE id = ? AND account = ? AND class = ?")
        .bind(generation)
        .bind(&row.record[..])
        .bind(&row.aek.as_bytes()[..])
        .bind(&row.account.as_bytes()[..])
        .bind(row.class.as_str())
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(AEK, &e))?;
    if done.rows_affected() == 0 {
        return Err(CatalogError::NotFound { what: AEK });
    }
    standby::dismiss(tx, row.aek).await
}

const SECRET: &str = "a workspace secret";

async fn secret(conn: &mut sqlx::SqliteConnection, workspace: WorkspaceId, aek: AekId) -> Result<Option<SecretRow>, CatalogError> {
    let row = sqlx::query("SELECT id, cell FROM workspace_secrets WHERE workspace = ? AND aek = ?")
        .bind(&workspace.as_bytes()[..])
        .bind(&aek.as_bytes()[..])
        .fetch_optional(conn)
        .await
        .map_err(|e| refused(SECRET, &e))?;
    row.map(|row| {
        let mut columns = Columns::of(&row, SECRET);
        Ok(SecretRow { row: ObjectId::from_bytes(columns.fixed()?), cell: columns.bytes()? })
    })
    .transpose()
}
