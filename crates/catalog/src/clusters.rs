//! Dedicated clusters and which workspaces are linked to them.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AccountId, AekId, ObjectId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{Tx, commit, refused};
use crate::{Catalog, CatalogError, ClusterKeyRow, ClusterRow, HoldingRow, IdentityRow};

const CLUSTER: &str = "a cluster";
const LINK: &str = "linking a workspace";
const HOLDINGS: &str = "what an epoch holds";

macro_rules! clusters {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subscription, resource_group, region, account, state, identity_type, principal, tenant, public_key,
                    identity_cell, user_identity, sku_name, sku_capacity, billing, double_sealed, tags, vault_uri, key_name, key_version, key_bits,
                    created_ms, modified_ms, deleted_ms, sku_ms
             FROM clusters ",
            $rest
        )
    };
}

pub(crate) const BY_NAME: &str =
    clusters!("WHERE name = ? AND subscription = ? AND resource_group = ? AND deleted_ms IS NULL AND storage = 0");
pub(crate) const HELD_BY_ACCOUNT: &str =
    "SELECT account, aek, workspace, blocks, rows, bytes FROM holdings WHERE account = ? ORDER BY aek, workspace";
pub(crate) const HELD_BY_WORKSPACE: &str = "SELECT account, aek, workspace, blocks, rows, bytes FROM holdings WHERE workspace = ?";

fn cluster(row: &SqliteRow) -> Result<ClusterRow, CatalogError> {
    let bad = || CatalogError::BadValue { what: CLUSTER };
    let mut columns = Columns::of(row, CLUSTER);
    Ok(ClusterRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        account: columns.fixed_opt()?.map(AccountId::from_bytes),
        state: columns.parsed()?,
        identity_type: columns.parsed()?,
        identity: match (columns.text_opt()?, columns.text_opt()?, columns.text_opt()?, columns.bytes_opt()?) {
            (Some(principal), Some(tenant), Some(public_key_pem), Some(cell)) => {
                Some(IdentityRow { principal, tenant, public_key_pem, cell })
            }
            (None, None, None, None) => None,
            _ => return Err(bad()),
        },
        user_identity: columns.fixed_opt()?.map(ObjectId::from_bytes),
        sku_name: columns.text()?,
        sku_capacity: columns.int()?,
        billing: columns.parsed()?,
        double: columns.int()? == 1,
        tags: columns.text()?,
        key: match (columns.text_opt()?, columns.text_opt()?, columns.text_opt()?, columns.number_opt()?) {
            (Some(vault_uri), Some(name), version, rsa_bits) => Some(ClusterKeyRow { vault_uri, name, version, rsa_bits }),
            (None, None, None, None) => None,
            _ => return Err(bad()),
        },
        created_ms: columns.int()?,
        modified_ms: columns.int()?,
        deleted_ms: columns.int_opt()?,
        sku_ms: columns.int()?,
    })
}

impl Catalog {
    /// Adds a cluster.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the id, the account, or the name in its resource group is taken;
    /// [`CatalogError::Orphan`] if the account is not there.
    pub async fn cluster_insert(&self, row: &ClusterRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CLUSTER).await?;
        insert_cluster(&mut tx, row, false).await?;
        commit(tx, CLUSTER).await
    }

    /// One cluster, deleted or not.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn cluster_get(&self, id: ObjectId) -> Result<Option<ClusterRow>, CatalogError> {
        let row = sqlx::query(clusters!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        row.as_ref().map(cluster).transpose()
    }

    /// The cluster of that name that is not deleted; case does not count.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn cluster_by_name(&self, subscription: &str, group: &str, name: &str) -> Result<Option<ClusterRow>, CatalogError> {
        let row = sqlx::query(BY_NAME)
            .bind(name)
            .bind(subscription)
            .bind(group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        row.as_ref().map(cluster).transpose()
    }

    /// The clusters that are not deleted, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn cluster_list(&self) -> Result<Vec<ClusterRow>, CatalogError> {
        let rows = sqlx::query(clusters!("WHERE deleted_ms IS NULL AND storage = 0 ORDER BY id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        rows.iter().map(cluster).collect()
    }

    /// The clusters that were deleted, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn cluster_list_deleted(&self) -> Result<Vec<ClusterRow>, CatalogError> {
        let rows = sqlx::query(clusters!("WHERE deleted_ms IS NOT NULL AND storage = 0 ORDER BY id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        rows.iter().map(cluster).collect()
    }

    /// What holds a key of a storage account's own, deleted or not, oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn key_holders(&self) -> Result<Vec<ClusterRow>, CatalogError> {
        let rows = sqlx::query(clusters!("WHERE storage = 1 ORDER BY id"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        rows.iter().map(cluster).collect()
    }

    /// Writes what may change of a cluster: all but its id, names, region, birth and double encryption. One that shows no identity
    /// goes on showing none, whatever the row says.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`CatalogError::Conflict`] if another has the account; [`CatalogError::Orphan`].
    pub async fn cluster_update(&self, row: &ClusterRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CLUSTER).await?;
        let sql = "UPDATE clusters SET account = ?, state = ?,
                          identity_type = iif(identity_type = 'None', identity_type, ?), principal = ?, tenant = ?, public_key = ?,
                          identity_cell = ?, user_identity = ?, sku_name = ?, sku_capacity = ?, billing = ?, tags = ?, vault_uri = ?, key_name = ?,
                          key_version = ?, key_bits = ?, modified_ms = ?, deleted_ms = ?, sku_ms = ?
                   WHERE id = ?";
        let done =
            bind_mutable(sqlx::query(sql), row).bind(&row.id.as_bytes()[..]).execute(&mut *tx).await.map_err(|e| refused(CLUSTER, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: CLUSTER });
        }
        commit(tx, CLUSTER).await
    }

    /// Marks a cluster as deleted. Its row, account and keys stay, and its name counts as free here.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if it is not there or deleted already; [`CatalogError::Conflict`] if a workspace is still
    /// linked to it, or a storage account under its key.
    pub async fn cluster_delete(&self, id: ObjectId, deleted_ms: i64) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(CLUSTER).await?;
        let linked: i64 = sqlx::query_scalar("SELECT count(*) FROM workspaces WHERE cluster = ?")
            .bind(&id.as_bytes()[..])
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        if linked > 0 {
            return Err(CatalogError::Conflict { what: CLUSTER, why: "workspaces are linked to it" });
        }
        let accounts: i64 = sqlx::query_scalar("SELECT count(*) FROM storage_accounts WHERE holder = ?")
            .bind(&id.as_bytes()[..])
            .fetch_one(&mut *tx)
            .await
            .map_err(|e| refused(CLUSTER, &e))?;
        if accounts > 0 {
            return Err(CatalogError::Conflict { what: CLUSTER, why: "storage accounts are under its key" });
        }
        let done =
            sqlx::query("UPDATE clusters SET state = 'Deleting', deleted_ms = ?, modified_ms = ? WHERE id = ? AND deleted_ms IS NULL")
                .bind(deleted_ms)
                .bind(deleted_ms)
                .bind(&id.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(CLUSTER, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: CLUSTER });
        }
        commit(tx, CLUSTER).await
    }

    /// Sends a workspace's new rows to an account, and links it to a cluster (since when, ms) or to none, in one step.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if the workspace is not there; [`CatalogError::Orphan`] if account or cluster is not;
    /// [`CatalogError::Conflict`] if the cluster is deleted.
    pub async fn workspace_move(
        &self,
        workspace: WorkspaceId,
        account: AccountId,
        link: Option<(ObjectId, i64)>,
    ) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(LINK).await?;
        if let Some((cluster, _)) = &link {
            let deleted: i64 = sqlx::query_scalar("SELECT count(*) FROM clusters WHERE id = ? AND deleted_ms IS NOT NULL")
                .bind(&cluster.as_bytes()[..])
                .fetch_one(&mut *tx)
                .await
                .map_err(|e| refused(LINK, &e))?;
            if deleted > 0 {
                return Err(CatalogError::Conflict { what: LINK, why: "the cluster is deleted" });
            }
        }
        let done = sqlx::query("UPDATE workspaces SET account = ?, cluster = ?, linked_ms = ? WHERE id = ? AND deleted_ms IS NULL")
            .bind(&account.as_bytes()[..])
            .bind(link.as_ref().map(|(cluster, _)| &cluster.as_bytes()[..]))
            .bind(link.map(|(_, linked_ms)| linked_ms))
            .bind(&workspace.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(LINK, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::NotFound { what: "a workspace" });
        }
        if link.is_some() {
            // Whatever it was linked to before: that is over.
            sqlx::query("DELETE FROM links_kept WHERE workspace = ?")
                .bind(&workspace.as_bytes()[..])
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(LINK, &e))?;
        }
        commit(tx, LINK).await
    }

    /// What workspaces have in live blocks of an account's epochs.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn holdings(&self, account: AccountId) -> Result<Vec<HoldingRow>, CatalogError> {
        self.held(HELD_BY_ACCOUNT, &account.as_bytes()[..]).await
    }

    /// What a workspace has in live blocks, by epoch: also of accounts that it was once linked to.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn holdings_of(&self, workspace: WorkspaceId) -> Result<Vec<HoldingRow>, CatalogError> {
        self.held(HELD_BY_WORKSPACE, &workspace.as_bytes()[..]).await
    }

    async fn held(&self, sql: &'static str, id: &[u8]) -> Result<Vec<HoldingRow>, CatalogError> {
        let rows = sqlx::query(sql).bind(id).fetch_all(&mut *self.reader().await?).await.map_err(|e| refused(HOLDINGS, &e))?;
        rows.iter()
            .map(|row| {
                let mut columns = Columns::of(row, HOLDINGS);
                Ok(HoldingRow {
                    account: AccountId::from_bytes(columns.fixed()?),
                    aek: AekId::from_bytes(columns.fixed()?),
                    workspace: WorkspaceId::from_bytes(columns.fixed()?),
                    blocks: columns.number()?,
                    rows: columns.number()?,
                    bytes: columns.number()?,
                })
            })
            .collect()
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

/// Adds a row of clusters: a cluster, or what holds a storage account's own key.
pub(crate) async fn insert_cluster(tx: &mut Tx<'_>, row: &ClusterRow, storage: bool) -> Result<(), CatalogError> {
    let sql =
        "INSERT INTO clusters (account, state, identity_type, principal, tenant, public_key, identity_cell, user_identity, sku_name, sku_capacity,
                                     billing, tags, vault_uri, key_name, key_version, key_bits, modified_ms, deleted_ms, sku_ms, id,
                                     name, subscription, resource_group, region, double_sealed, created_ms, storage)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    bind_mutable(sqlx::query(sql), row)
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(i64::from(row.double))
        .bind(row.created_ms)
        .bind(i64::from(storage))
        .execute(&mut **tx)
        .await
        .map_err(|e| refused(CLUSTER, &e))?;
    Ok(())
}

/// What may change, in the order that both statements name it.
fn bind_mutable<'q>(query: Query<'q>, row: &'q ClusterRow) -> Query<'q> {
    let identity = row.identity.as_ref();
    let key = row.key.as_ref();
    query
        .bind(row.account.as_ref().map(|account| &account.as_bytes()[..]))
        .bind(row.state.as_str())
        .bind(row.identity_type.as_str())
        .bind(identity.map(|identity| identity.principal.as_str()))
        .bind(identity.map(|identity| identity.tenant.as_str()))
        .bind(identity.map(|identity| identity.public_key_pem.as_str()))
        .bind(identity.map(|identity| &identity.cell[..]))
        .bind(row.user_identity.as_ref().map(|user| &user.as_bytes()[..]))
        .bind(row.sku_name.as_str())
        .bind(row.sku_capacity)
        .bind(row.billing.as_str())
        .bind(row.tags.as_str())
        .bind(key.map(|key| key.vault_uri.as_str()))
        .bind(key.map(|key| key.name.as_str()))
        .bind(key.and_then(|key| key.version.as_deref()))
        .bind(key.and_then(|key| key.rsa_bits).map(i64::from))
        .bind(row.modified_ms)
        .bind(row.deleted_ms)
        .bind(row.sku_ms)
}
