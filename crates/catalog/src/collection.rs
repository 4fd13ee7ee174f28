//! Data collection endpoints and rules. A rule's content is a sealed cell.

use sqlx::sqlite::SqliteRow;
use strongroom_model::{AekId, ObjectId, WorkspaceId};

use crate::columns::Columns;
use crate::db::{commit, refused};
use crate::{Catalog, CatalogError};

const ENDPOINT: &str = "a data collection endpoint";
const RULE: &str = "a data collection rule";

/// Where rows may be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionEndpointRow {
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
    /// Its kind, if it has one.
    pub kind: Option<String>,
    /// Its tags, a JSON object.
    pub tags: String,
    /// What else was said of it, a JSON object.
    pub properties: String,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written.
    pub changed_ms: i64,
}

/// How rows find their table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectionRuleRow {
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
    /// Its kind, if it has one.
    pub kind: Option<String>,
    /// Its tags, a JSON object.
    pub tags: String,
    /// Where its rows go.
    pub workspace: WorkspaceId,
    /// Its streams and the tables of each, JSON.
    pub streams: String,
    /// The epoch's AEK that its cell is sealed under.
    pub aek: AekId,
    /// The row the cell is bound to.
    pub cell_id: ObjectId,
    /// The sealed cell.
    pub cell: Vec<u8>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written.
    pub changed_ms: i64,
}

macro_rules! endpoints {
    ($rest:literal) => {
        concat!("SELECT id, name, subscription, resource_group, region, kind, tags, properties, created_ms, changed_ms FROM collection_endpoints ", $rest)
    };
}

macro_rules! rules {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subscription, resource_group, region, kind, tags, workspace, streams, aek, cell_id, cell, created_ms, changed_ms FROM collection_rules ",
            $rest
        )
    };
}

fn endpoint(row: &SqliteRow) -> Result<CollectionEndpointRow, CatalogError> {
    let mut columns = Columns::of(row, ENDPOINT);
    Ok(CollectionEndpointRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        kind: columns.text_opt()?,
        tags: columns.text()?,
        properties: columns.text()?,
        created_ms: columns.int()?,
        changed_ms: columns.int()?,
    })
}

fn rule(row: &SqliteRow) -> Result<CollectionRuleRow, CatalogError> {
    let mut columns = Columns::of(row, RULE);
    Ok(CollectionRuleRow {
        id: ObjectId::from_bytes(columns.fixed()?),
        name: columns.text()?,
        subscription: columns.text()?,
        resource_group: columns.text()?,
        region: columns.text()?,
        kind: columns.text_opt()?,
        tags: columns.text()?,
        workspace: WorkspaceId::from_bytes(columns.fixed()?),
        streams: columns.text()?,
        aek: AekId::from_bytes(columns.fixed()?),
        cell_id: ObjectId::from_bytes(columns.fixed()?),
        cell: columns.bytes()?,
        created_ms: columns.int()?,
        changed_ms: columns.int()?,
    })
}

impl Catalog {
    /// Makes an endpoint, or writes one anew: its id, its birth and the spelling of its name stay.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_endpoint_put(&self, row: &CollectionEndpointRow) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(ENDPOINT).await?;
        sqlx::query(
            "INSERT INTO collection_endpoints (id, name, subscription, resource_group, region, kind, tags, properties, created_ms, changed_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (name, subscription, resource_group) DO UPDATE
               SET kind = excluded.kind, tags = excluded.tags, properties = excluded.properties, changed_ms = excluded.changed_ms",
        )
        .bind(&row.id.as_bytes()[..])
        .bind(row.name.as_str())
        .bind(row.subscription.as_str())
        .bind(row.resource_group.as_str())
        .bind(row.region.as_str())
        .bind(row.kind.as_deref())
        .bind(row.tags.as_str())
        .bind(row.properties.as_str())
        .bind(row.created_ms)
        .bind(row.changed_ms)
        .execute(&mut *tx)
        .await
        .map_err(|e| refused(ENDPOINT, &e))?;
        commit(tx, ENDPOINT).await
    }

    /// One endpoint.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_endpoint(
        &self,
        subscription: &str,
        group: &str,
        name: &str,
    ) -> Result<Option<CollectionEndpointRow>, CatalogError> {
        let row = sqlx::query(endpoints!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENDPOINT, &e))?;
        row.as_ref().map(endpoint).transpose()
    }

    /// All endpoints, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_endpoints(&self) -> Result<Vec<CollectionEndpointRow>, CatalogError> {
        let rows = sqlx::query(endpoints!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(ENDPOINT, &e))?;
        rows.iter().map(endpoint).collect()
    }

    /// Takes an endpoint away. Whether it was there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_endpoint_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        self.collection_delete("DELETE FROM collection_endpoints WHERE id = ?", id, ENDPOINT).await
    }

    /// Makes a rule, or writes one anew whose cell is still `replaces`: its id, its birth and the spelling of its name stay.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if there is one of that name, or if it was changed meanwhile; [`CatalogError::Orphan`] if the
    /// workspace is not there.
    pub async fn collection_rule_put(&self, row: &CollectionRuleRow, replaces: Option<ObjectId>) -> Result<(), CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let sql = match replaces {
            None => {
                "INSERT INTO collection_rules (id, name, subscription, resource_group, region, kind, tags, workspace, streams, aek, cell_id,
                                               cell, created_ms, changed_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
            }
            Some(_) => {
                "UPDATE collection_rules SET kind = ?6, tags = ?7, workspace = ?8, streams = ?9, aek = ?10, cell_id = ?11, cell = ?12,
                                             changed_ms = ?14
                 WHERE id = ?1 AND cell_id = ?15 AND ?2 <> '' AND ?3 <> '' AND ?4 <> '' AND ?5 <> '' AND ?13 IS NOT NULL"
            }
        };
        let query = sqlx::query(sql)
            .bind(&row.id.as_bytes()[..])
            .bind(row.name.as_str())
            .bind(row.subscription.as_str())
            .bind(row.resource_group.as_str())
            .bind(row.region.as_str())
            .bind(row.kind.as_deref())
            .bind(row.tags.as_str())
            .bind(&row.workspace.as_bytes()[..])
            .bind(row.streams.as_str())
            .bind(&row.aek.as_bytes()[..])
            .bind(&row.cell_id.as_bytes()[..])
            .bind(&row.cell[..])
            .bind(row.created_ms)
            .bind(row.changed_ms);
        let query = match &replaces {
            None => query,
            Some(old) => query.bind(&old.as_bytes()[..]),
        };
        let done = query.execute(&mut *tx).await.map_err(|e| refused(RULE, &e))?;
        if done.rows_affected() == 0 {
            return Err(CatalogError::Conflict { what: RULE, why: "it was changed meanwhile" });
        }
        commit(tx, RULE).await
    }

    /// Puts a rule's content, sealed anew, in the place of `replaces`; what else is known of the rule stays as it is by then. Whether that
    /// was still there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_rule_reseal(
        &self,
        id: ObjectId,
        replaces: ObjectId,
        aek: AekId,
        cell_id: ObjectId,
        cell: &[u8],
    ) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(RULE).await?;
        let done = sqlx::query("UPDATE collection_rules SET aek = ?1, cell_id = ?2, cell = ?3 WHERE id = ?4 AND cell_id = ?5")
            .bind(&aek.as_bytes()[..])
            .bind(&cell_id.as_bytes()[..])
            .bind(cell)
            .bind(&id.as_bytes()[..])
            .bind(&replaces.as_bytes()[..])
            .execute(&mut *tx)
            .await
            .map_err(|e| refused(RULE, &e))?;
        commit(tx, RULE).await?;
        Ok(done.rows_affected() == 1)
    }

    /// One rule.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_rule(&self, subscription: &str, group: &str, name: &str) -> Result<Option<CollectionRuleRow>, CatalogError> {
        let row = sqlx::query(rules!("WHERE name = ? AND subscription = ? AND resource_group = ?"))
            .bind(name)
            .bind(subscription)
            .bind(group)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        row.as_ref().map(rule).transpose()
    }

    /// The rule of that id.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_rule_by_id(&self, id: ObjectId) -> Result<Option<CollectionRuleRow>, CatalogError> {
        let row = sqlx::query(rules!("WHERE id = ?"))
            .bind(&id.as_bytes()[..])
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        row.as_ref().map(rule).transpose()
    }

    /// All rules, by name.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_rules(&self) -> Result<Vec<CollectionRuleRow>, CatalogError> {
        let rows = sqlx::query(rules!("ORDER BY name, subscription, resource_group"))
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        rows.iter().map(rule).collect()
    }

    /// The rules that are sealed in an epoch.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_rules_under(&self, aek: AekId) -> Result<Vec<CollectionRuleRow>, CatalogError> {
        let rows = sqlx::query(rules!("WHERE aek = ? ORDER BY id"))
            .bind(&aek.as_bytes()[..])
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|e| refused(RULE, &e))?;
        rows.iter().map(rule).collect()
    }

    /// Takes a rule away. Whether it was there.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn collection_rule_delete(&self, id: ObjectId) -> Result<bool, CatalogError> {
        self.collection_delete("DELETE FROM collection_rules WHERE id = ?", id, RULE).await
    }

    async fn collection_delete(&self, sql: &'static str, id: ObjectId, what: &'static str) -> Result<bool, CatalogError> {
        let mut writer = self.writer().await?;
        let mut tx = writer.begin(what).await?;
        let done = sqlx::query(sql).bind(&id.as_bytes()[..]).execute(&mut *tx).await.map_err(|e| refused(what, &e))?;
        commit(tx, what).await?;
        Ok(done.rows_affected() == 1)
    }
}
