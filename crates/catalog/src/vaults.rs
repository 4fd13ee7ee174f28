//! What is known of customers' vaults and keys: reference objects, key states, infrastructure keys.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AccountId, ObjectId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, InfrastructureRow, KeyStateRow, VaultAccessRow, VaultRefRow};

const VAULT: &str = "a vault reference";
const STATE: &str = "a key state";
const INFRASTRUCTURE: &str = "an infrastructure key";

macro_rules! vaults {
    ($rest:literal) => {
        concat!("SELECT name, subscription, resource_group, uri, region, tenant, private_link, ca_pem, created_ms, provider, access_id, access, soft_delete, purge_protection, rbac FROM vault_refs ", $rest)
    };
}

pub(crate) const BY_URI: &str = vaults!("WHERE uri = ?");

fn vault(row: &SqliteRow) -> Result<VaultRefRow, CatalogError> {
    let mut columns = Columns::of(row, VAULT);
    Ok(VaultRefRow {
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        uri: columns.text()?,
        region: columns.text()?,
        tenant: columns.text()?,
        private_link: columns.int()? == 1,
        ca_pem: columns.text_opt()?,
        created_ms: columns.int()?,
        provider: columns.text()?,
        access: match (columns.bytes_opt()?, columns.bytes_opt()?) {
            (Some(id), Some(cell)) => {
                let id = id.try_into().map_err(|_| CatalogError::BadValue { what: VAULT })?;
                Some(VaultAccessRow { id: ObjectId::from_bytes(id), cell })
            }
            _ => None,
        },
        soft_delete: columns.int_opt()?.map(|set| set == 1),
        purge_protection: columns.int_opt()?.map(|set| set == 1),
        rbac: columns.int_opt()?.map(|set| set == 1),
    })
}

impl Catalog {
    /// Makes a vault reference, or writes one anew; its birth stays.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if another one names the same vault.
    pub async fn vault_ref_put(&self, row: &VaultRefRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(VAULT).await?;
        sqlx::query(
            "INSERT INTO vault_refs (name, subscription, resource_group, uri, region, tenant, private_link, ca_pem, created_ms,
                                     provider, access_id, access, soft_delete, purge_protection, rbac)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (name, subscription, resource_group) DO UPDATE
               SET uri = excluded.uri, region = excluded.region, tenant = excluded.tenant, private_link = excluded.private_link,
                   ca_pem = excluded.ca_pem, provider = excluded.provider, access_id = excluded.access_id, access = excluded.access,
                   soft_delete = excluded.soft_delete, purge_protection = excluded.purge_protection, rbac = excluded.rbac",
        )
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.uri.as_str())
        .bind(row.region.as_str())
        .bind(row.tenant.as_str())
        .bind(i64::from(row.private_link))
        .bind(row.ca_pem.as_deref())
        .bind(row.created_ms)
        .bind(row.provider.as_str())
        .bind(row.access.as_ref().map(|access| &access.id.as_bytes()[..]))
        .bind(row.access.as_ref().map(|access| &access.cell[..]))
        .bind(row.soft_delete.map(i64::from))
        .bind(row.purge_protection.map(i64::from))
        .bind(row.rbac.map(i64::from))
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(VAULT, &e))?;
        commit(tx, VAULT).await
    }

    /// One vault reference.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn vault_ref_get(&self, subscription: &str, group: &str, name: &str) -> Result<Option<VaultRefRow>, CatalogError> {
        let row = sqlx::query(vaults!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(VAULT, &e))?;
        row.as_ref().map(vault).transpose()
    }

    /// The reference of the vault that answers at `uri`, as it was written down; case does not count.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn vault_ref_by_uri(&self, uri: &str) -> Result<Option<VaultRefRow>, CatalogError> {
        let row = sqlx::query(BY_URI).bind(uri).fetch_optional(&mut *self.reader().await?).await.map_err(|e| refused(VAULT, &e))?;
        row.as_ref().map(vault).transpose()
    }

    /// All vault references, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn vault_ref_list(&self) -> Result<Vec<VaultRefRow>, CatalogError> {
        let rows = sqlx::query(vaults!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(VAULT, &e))?;
        rows.iter().map(vault).collect()
    }

    /// Removes a vault reference; whether there was one.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if a cluster's key lies in that vault.
    pub async fn vault_ref_delete(&self, subscription: &str, group: &str, name: &str) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(VAULT).await?;
        let used: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM clusters c JOIN vault_refs v ON v.uri = c.vault_uri
             WHERE c.deleted_ms IS NULL AND v.name = ? AND v.subscription = ? AND v.resource_group = ?",
        )
        .bind(name)
        .bind(subscription)
        .bind(group)
        .fetch_one(&mut *tx)
        .await
        .map_err(|e| refused(VAULT, &e))?;
        if used > 0 {
            return Err(CatalogError::Conflict { what: VAULT, why: "a cluster's key lies in this vault" });
        }
        let done = sqlx::query("DELETE FROM vault_refs WHERE name = ? AND subscription = ? AND resource_group = ?")
            .bind(name)
            .bind(subscription)
            .bind(group)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(VAULT, &e))?;
        commit(tx, VAULT).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Writes down the state of a cluster's key.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the cluster is not there.
    pub async fn key_state_put(&self, row: &KeyStateRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(STATE).await?;
        sqlx::query(
            "INSERT INTO key_states (cluster, state, since_ms, code, last_good_ms) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (cluster) DO UPDATE
               SET state = excluded.state, since_ms = excluded.since_ms, code = excluded.code, last_good_ms = excluded.last_good_ms",
        )
        .bind(&row.cluster.as_bytes()[..])
        .bind(row.state.as_str())
        .bind(row.since_ms)
        .bind(row.code.as_deref())
        .bind(row.last_good_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(STATE, &e))?;
        commit(tx, STATE).await
    }

    /// The state of a cluster's key, as last written down.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn key_state_get(&self, cluster: ObjectId) -> Result<Option<KeyStateRow>, CatalogError> {
        let row = sqlx::query("SELECT state, since_ms, code, last_good_ms FROM key_states WHERE cluster = ?")
            .bind(&cluster.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(STATE, &e))?;
        row.map(|row| {
            let mut columns = Columns::of(&row, STATE);
            Ok(KeyStateRow {
                cluster,
                state: columns.text()?,
                since_ms: columns.int()?,
                code: columns.text_opt()?,
                last_good_ms: columns.int_opt()?,
            })
        })
        .transpose()
    }

    /// Keeps an account's infrastructure key unless there is one, and answers the one kept: the first wins, for blocks may
    /// already be sealed under it.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the account is not there.
    pub async fn infrastructure_put(&self, row: &InfrastructureRow) -> Result<InfrastructureRow, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(INFRASTRUCTURE).await?;
        sqlx::query("INSERT INTO infrastructure (account, cell) VALUES (?, ?) ON CONFLICT (account) DO NOTHING")
            .bind(&row.account.as_bytes()[..])
            .bind(&row.cell[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(INFRASTRUCTURE, &e))?;
        let kept = infrastructure(&mut tx, row.account).await?.ok_or(CatalogError::BadValue { what: INFRASTRUCTURE })?;
        commit(tx, INFRASTRUCTURE).await?;
        Ok(kept)
    }

    /// An account's infrastructure key.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn infrastructure_get(&self, account: AccountId) -> Result<Option<InfrastructureRow>, CatalogError> {
        let mut reader = self.reader().await?;
        infrastructure(&mut reader, account).await
    }
}

async fn infrastructure(conn: &mut sqlx::SqliteConnection, account: AccountId) -> Result<Option<InfrastructureRow>, CatalogError> {
    let row = sqlx::query("SELECT cell FROM infrastructure WHERE account = ?")
        .bind(&account.as_bytes()[..])
        .fetch_optional(conn)
        .await
        .map_err(|e| refused(INFRASTRUCTURE, &e))?;
    row.map(|row| Ok(InfrastructureRow { account, cell: Columns::of(&row, INFRASTRUCTURE).bytes()? })).transpose()
}
