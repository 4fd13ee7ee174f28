//! Whose identity clusters show: identities that customers make, clusters' own ones while they show another's, and the end of either.

use sqlx::sqlite::SqliteRow;
use strongroom_model::ObjectId;

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError, IdentityRow, IdentityType, UserIdentityRow};

const IDENTITY: &str = "an identity";

macro_rules! identities {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subscription, resource_group, region, tags, principal, tenant, public_key, cell, created_ms
             FROM user_identities ",
            $rest
        )
    };
}

fn user(row: &SqliteRow) -> Result<UserIdentityRow, CatalogError> {
    let mut columns = Columns::of(row, IDENTITY);
    Ok(UserIdentityRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        tags: columns.text()?,
        identity: parts(&mut columns)?,
        created_ms: columns.int()?,
    })
}

fn parts(columns: &mut Columns<'_>) -> Result<IdentityRow, CatalogError> {
    Ok(IdentityRow { principal: columns.text()?, tenant: columns.text()?, public_key_pem: columns.text()?, cell: columns.bytes()? })
}

impl Catalog {
    /// Adds an identity.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if the name is taken in its resource group.
    pub async fn user_identity_insert(&self, row: &UserIdentityRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(IDENTITY).await?;
        sqlx::query(
            "INSERT INTO user_identities (id, name, subscription, resource_group, region, tags, principal, tenant, public_key, cell, created_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(row.tags.as_str())
        .bind(row.identity.principal.as_str())
        .bind(row.identity.tenant.as_str())
        .bind(row.identity.public_key_pem.as_str())
        .bind(&row.identity.cell[..])
        .bind(row.created_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(IDENTITY, &e))?;
        commit(tx, IDENTITY).await
    }

    /// One identity.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn user_identity(&self, id: ObjectId) -> Result<Option<UserIdentityRow>, CatalogError> {
        let row = sqlx::query(identities!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(IDENTITY, &e))?;
        row.as_ref().map(user).transpose()
    }

    /// The identity of that name; case does not count.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn user_identity_by_name(
        &self,
        subscription: &str,
        group: &str,
        name: &str,
    ) -> Result<Option<UserIdentityRow>, CatalogError> {
        let row = sqlx::query(identities!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(IDENTITY, &e))?;
        row.as_ref().map(user).transpose()
    }

    /// All identities, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn user_identities(&self) -> Result<Vec<UserIdentityRow>, CatalogError> {
        let rows = sqlx::query(identities!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(IDENTITY, &e))?;
        rows.iter().map(user).collect()
    }

    /// Removes an identity; whether it was there.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if a cluster, deleted ones included, shows it.
    pub async fn user_identity_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(IDENTITY).await?;
        let done = sqlx::query("DELETE FROM user_identities WHERE id = ?")
            .bind(&id.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(IDENTITY, &e))?;
        commit(tx, IDENTITY).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Puts a cluster's own identity by while it shows another's. The first one kept stays.
    ///
    /// # Errors
    /// [`CatalogError::Orphan`] if the cluster is not there.
    pub async fn own_identity_keep(&self, cluster: ObjectId, row: &IdentityRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(IDENTITY).await?;
        sqlx::query(
            "INSERT INTO own_identities (cluster, principal, tenant, public_key, cell) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (cluster) DO NOTHING",
        )
        .bind(&cluster.as_bytes()[..])
        .bind(row.principal.as_str())
        .bind(row.tenant.as_str())
        .bind(row.public_key_pem.as_str())
        .bind(&row.cell[..])
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(IDENTITY, &e))?;
        commit(tx, IDENTITY).await
    }

    /// The identity of its own that a cluster put by.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn own_identity(&self, cluster: ObjectId) -> Result<Option<IdentityRow>, CatalogError> {
        let row = sqlx::query("SELECT principal, tenant, public_key, cell FROM own_identities WHERE cluster = ?")
            .bind(&cluster.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(IDENTITY, &e))?;
        row.as_ref().map(|row| parts(&mut Columns::of(row, IDENTITY))).transpose()
    }

    /// From now on a cluster shows no identity. [`cluster_update`](Self::cluster_update) does not end that, only
    /// [`cluster_identity_restore`](Self::cluster_identity_restore) does. Whether it showed one before.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such cluster.
    pub async fn cluster_identity_remove(&self, cluster: ObjectId, now_ms: i64) -> Result<bool, CatalogError> {
        let before = self.turn_identity(cluster, now_ms, |_| IdentityType::None).await?;
        Ok(before != IdentityType::None)
    }

    /// A cluster shows again what it showed before it showed none. Whether it showed none.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`] if there is no such cluster.
    pub async fn cluster_identity_restore(&self, cluster: ObjectId, now_ms: i64) -> Result<bool, CatalogError> {
        let before = self
            .turn_identity(cluster, now_ms, |others| if others { IdentityType::UserAssigned } else { IdentityType::SystemAssigned })
            .await?;
        Ok(before == IdentityType::None)
    }

    async fn turn_identity(&self, cluster: ObjectId, now_ms: i64, to: fn(bool) -> IdentityType) -> Result<IdentityType, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(IDENTITY).await?;
        let row = sqlx::query("SELECT identity_type, user_identity IS NOT NULL FROM clusters WHERE id = ?")
            .bind(&cluster.as_bytes()[..])
            .fetch_optional(&mut *tx)
            .await
            .map_err(|e| refused(IDENTITY, &e))?
            .ok_or(CatalogError::NotFound { what: "a cluster" })?;
        let mut columns = Columns::of(&row, IDENTITY);
        let (before, others): (IdentityType, bool) = (columns.parsed()?, columns.int()? == 1);
        sqlx::query("UPDATE clusters SET identity_type = ?, modified_ms = ? WHERE id = ?")
            .bind(to(others).as_str())
            .bind(now_ms)
            .bind(&cluster.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(IDENTITY, &e))?;
        commit(tx, IDENTITY).await?;
        Ok(before)
    }
}
