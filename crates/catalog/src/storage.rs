//! Storage accounts, and which workspaces keep their content in which.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{ObjectId, WorkspaceId};

use crate::clusters::insert_cluster;
use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, ClusterRow, ContentKind};

const ACCOUNT: &str = "a storage account";
const LINK: &str = "a link to a storage account";

/// What is known of a storage account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageAccountRow {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// Its subscription.
    pub subscription: String,
    /// Its resource group.
    pub resource_group: String,
    /// Its region.
    pub region: String,
    /// `StorageV2`, or what it is else.
    pub kind: String,
    /// How it is kept, in Azure's words.
    pub sku: String,
    /// A JSON object.
    pub tags: String,
    /// Where its objects lie; `None`: in a directory of this server's own.
    pub url: Option<String>,
    /// Whose key its content is under; `None`: the provider's.
    pub holder: Option<ObjectId>,
    /// Whether that holder is its own, and no cluster.
    pub own: bool,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// Last change, milliseconds since 1970.
    pub changed_ms: i64,
}

/// Where a workspace's content of one kind of source goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageLinkRow {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Which content, in Azure's words.
    pub source: String,
    /// The storage account.
    pub storage: ObjectId,
    /// Since when, milliseconds since 1970.
    pub at_ms: i64,
}

macro_rules! accounts {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subscription, resource_group, region, kind, sku, tags, url, holder, own, created_ms, changed_ms
             FROM storage_accounts ",
            $rest
        )
    };
}

fn account(row: &SqliteRow) -> Result<StorageAccountRow, CatalogError> {
    let mut columns = Columns::of(row, ACCOUNT);
    Ok(StorageAccountRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        kind: columns.text()?,
        sku: columns.text()?,
        tags: columns.text()?,
        url: columns.text_opt()?,
        holder: columns.fixed_opt()?.map(ObjectId::from_bytes),
        own: columns.int()? == 1,
        created_ms: columns.int()?,
        changed_ms: columns.int()?,
    })
}

fn link(row: &SqliteRow) -> Result<StorageLinkRow, CatalogError> {
    let mut columns = Columns::of(row, LINK);
    Ok(StorageLinkRow {
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        source: columns.text()?,
        storage: ObjectId::from_bytes(columns.fixed()?),
        at_ms: columns.int()?,
    })
}

impl Catalog {
    /// Makes a storage account, or writes anew what may change of it: all but id, names, region, URL and birth.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if its name or its URL is another's, or its holder is deleted; [`CatalogError::Orphan`].
    pub async fn storage_account_put(&self, row: &StorageAccountRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ACCOUNT).await?;
        if let Some(holder) = &row.holder {
            let deleted: i64 = sqlx::query_scalar("SELECT count(*) FROM clusters WHERE id = ? AND deleted_ms IS NOT NULL")
                .bind(&holder.as_bytes()[..])
                .fetch_one(&mut *tx)
                .await
                .map_err(|e| refused(ACCOUNT, &e))?;
            if deleted > 0 {
                return Err(CatalogError::Conflict { what: ACCOUNT, why: "the cluster is deleted" });
            }
        }
        sqlx::query(
            "INSERT INTO storage_accounts (id, name, subscription, resource_group, region, kind, sku, tags, url, holder, own, created_ms, changed_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, sku = excluded.sku, tags = excluded.tags, holder = excluded.holder,
               own = excluded.own, changed_ms = excluded.changed_ms",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(row.kind.as_str())
        .bind(row.sku.as_str())
        .bind(row.tags.as_str())
        .bind(row.url.as_deref())
        .bind(row.holder.as_ref().map(|holder| &holder.as_bytes()[..]))
        .bind(i64::from(row.own))
        .bind(row.created_ms)
        .bind(row.changed_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ACCOUNT, &e))?;
        commit(tx, ACCOUNT).await
    }

    /// One storage account.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_account(&self, id: ObjectId) -> Result<Option<StorageAccountRow>, CatalogError> {
        let row = sqlx::query(accounts!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ACCOUNT, &e))?;
        row.as_ref().map(account).transpose()
    }

    /// The storage account of that name; case does not count.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_account_by_name(
        &self,
        subscription: &str,
        group: &str,
        name: &str,
    ) -> Result<Option<StorageAccountRow>, CatalogError> {
        let row = sqlx::query(accounts!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ACCOUNT, &e))?;
        row.as_ref().map(account).transpose()
    }

    /// All storage accounts, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_accounts(&self) -> Result<Vec<StorageAccountRow>, CatalogError> {
        let rows = sqlx::query(accounts!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ACCOUNT, &e))?;
        rows.iter().map(account).collect()
    }

    /// The storage accounts whose content is under a cluster's key.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_accounts_of(&self, holder: ObjectId) -> Result<Vec<StorageAccountRow>, CatalogError> {
        let rows = sqlx::query(accounts!("WHERE holder = ? ORDER BY id"))
            .bind(&holder.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ACCOUNT, &e))?;
        rows.iter().map(account).collect()
    }

    /// Forgets a storage account; whether it was known. A key holder of its own is deleted with it, as a cluster would be.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] while a workspace is linked to it, or anything of one lies in it.
    pub async fn storage_account_delete(&self, id: ObjectId, now_ms: i64) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ACCOUNT).await?;
        for (sql, why) in [
            ("SELECT count(*) FROM storage_links WHERE storage = ?", "a workspace is linked to it"),
            ("SELECT count(*) FROM contents WHERE storage = ?", "saved content lies in it"),
            ("SELECT count(*) FROM content_objects WHERE storage = ?", "objects in it are still to be deleted"),
        ] {
            let there: i64 =
                sqlx::query_scalar(sql).bind(&id.as_bytes()[..]).fetch_one(&mut *tx).await.map_err(|e| refused(ACCOUNT, &e))?;
            if there > 0 {
                return Err(CatalogError::Conflict { what: ACCOUNT, why });
            }
        }
        sqlx::query(
            "UPDATE clusters SET state = 'Deleting', deleted_ms = ?1, modified_ms = ?1
             WHERE deleted_ms IS NULL AND storage = 1 AND id = (SELECT holder FROM storage_accounts WHERE id = ?2 AND own = 1)",
        )
        .bind(now_ms)
        .bind(&id.as_bytes()[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ACCOUNT, &e))?;
        let done = sqlx::query("DELETE FROM storage_accounts WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(ACCOUNT, &e))?;
        commit(tx, ACCOUNT).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Adds what holds a key of a storage account's own: a row of clusters that is in no list of them.
    ///
    /// # Errors
    /// As [`cluster_insert`](Self::cluster_insert).
    pub async fn key_holder_insert(&self, row: &ClusterRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ACCOUNT).await?;
        insert_cluster(&mut tx, row, true).await?;
        commit(tx, ACCOUNT).await
    }

    /// Links a workspace's content of a source to a storage account, in the place of another if it is linked. Entries of `dropped` kinds
    /// that lie in the workspace go with it, for good.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if workspace or account is not there.
    pub async fn storage_link_put(&self, row: &StorageLinkRow, dropped: &[ContentKind]) -> Result<u64, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(LINK).await?;
        sqlx::query(
            "INSERT INTO storage_links (workspace, source, storage, at_ms) VALUES (?, ?, ?, ?)
             ON CONFLICT (workspace, source) DO UPDATE SET storage = excluded.storage, at_ms = excluded.at_ms",
        )
        .bind(&row.workspace.as_bytes()[..])
        .bind(row.source.as_str())
        .bind(&row.storage.as_bytes()[..])
        .bind(row.at_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(LINK, &e))?;
        let mut gone = 0;
        for kind in dropped {
            let done = sqlx::query("DELETE FROM contents WHERE workspace = ? AND kind = ? AND storage IS NULL")
                .bind(&row.workspace.as_bytes()[..])
                .bind(kind.as_str())
                .execute(&mut *tx)
                .await
                .map_err(|e| refused(LINK, &e))?;
            gone += done.rows_affected();
        }
        commit(tx, LINK).await?;
        Ok(gone)
    }

    /// A workspace's links, by source.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_links(&self, workspace: WorkspaceId) -> Result<Vec<StorageLinkRow>, CatalogError> {
        let rows = sqlx::query("SELECT workspace, source, storage, at_ms FROM storage_links WHERE workspace = ? ORDER BY source")
            .bind(&workspace.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(LINK, &e))?;
        rows.iter().map(link).collect()
    }

    /// The links of all workspaces.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_links_all(&self) -> Result<Vec<StorageLinkRow>, CatalogError> {
        let rows = sqlx::query("SELECT workspace, source, storage, at_ms FROM storage_links ORDER BY workspace, source")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(LINK, &e))?;
        rows.iter().map(link).collect()
    }

    /// Ends a link; whether there was one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn storage_link_delete(&self, workspace: WorkspaceId, source: &str) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(LINK).await?;
        let done = sqlx::query("DELETE FROM storage_links WHERE workspace = ? AND source = ?")
            .bind(&workspace.as_bytes()[..])
            .bind(source)
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(LINK, &e))?;
        commit(tx, LINK).await?;
        Ok(done.rows_affected() == 1)
    }
}
