//! Action groups: what one says is a sealed cell.

use sqlx::sqlite::SqliteRow;
use strongroom_model::ObjectId;

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const GROUP: &str = "an action group";

/// Who is called when an alert fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionGroupRow {
    /// Its id, which stays.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub region: String,
    /// Its tags, a JSON object.
    pub tags: String,
    /// The row its cell is bound to.
    pub cell_id: ObjectId,
    /// The sealed cell.
    pub cell: Vec<u8>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written.
    pub changed_ms: i64,
}

macro_rules! groups {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subscription, resource_group, region, tags, cell_id, cell, created_ms, changed_ms FROM action_groups ",
            $rest
        )
    };
}

fn group(row: &SqliteRow) -> Result<ActionGroupRow, CatalogError> {
    let mut columns = Columns::of(row, GROUP);
    Ok(ActionGroupRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        tags: columns.text()?,
        cell_id: ObjectId::from_bytes(columns.fixed()?),
        cell: columns.bytes()?,
        created_ms: columns.int()?,
        changed_ms: columns.int()?,
    })
}

impl Catalog {
    /// Makes an action group, or writes one anew: its id, its birth and the spelling of its name stay.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn action_group_put(&self, row: &ActionGroupRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(GROUP).await?;
        sqlx::query(
            "INSERT INTO action_groups (id, name, subscription, resource_group, region, tags, cell_id, cell, created_ms, changed_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (name, subscription, resource_group) DO UPDATE
               SET tags = excluded.tags, cell_id = excluded.cell_id, cell = excluded.cell, changed_ms = excluded.changed_ms",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(row.tags.as_str())
        .bind(&row.cell_id.as_bytes()[..])
        .bind(&row.cell[..])
        .bind(row.created_ms)
        .bind(row.changed_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(GROUP, &e))?;
        commit(tx, GROUP).await
    }

    /// One action group.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn action_group(&self, subscription: &str, resource_group: &str, name: &str) -> Result<Option<ActionGroupRow>, CatalogError> {
        let row = sqlx::query(groups!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(resource_group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        row.as_ref().map(group).transpose()
    }

    /// All action groups, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn action_groups(&self) -> Result<Vec<ActionGroupRow>, CatalogError> {
        let rows = sqlx::query(groups!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(GROUP, &e))?;
        rows.iter().map(group).collect()
    }

    /// Takes an action group away. Whether it was there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn action_group_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        self.alerting_delete("DELETE FROM action_groups WHERE id = ?", id, GROUP).await
    }
}
