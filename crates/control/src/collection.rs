//! Data collection endpoints and rules: how rows that senders post to one address find their tables, typed and shaped.
//!
//! A rule belongs to one workspace, the one that its rows go to, and what it says of columns is a cell under that workspace's key:
//! while the key is away nobody is told it, and no row goes through it. What its texts mean is not known here; who puts a rule checks
//! them first ([`RuleBody`]).

mod rule;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use strongroom_catalog::{Catalog, CatalogError, CollectionEndpointRow, CollectionRuleRow};
use strongroom_envelope::{CellPlace, open_cell, seal_cell};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{AccountId, Epoch, ErrorKind, ObjectId, PrincipalId, TableId, TableName, WorkspaceId};
use strongroom_world::World;

use rule::misread;
pub use rule::{Misread, RESERVED_COLUMNS, RuleBody, RuleFlow, column_type, is_column_name};

use crate::{ControlError, Place};

/// Endpoints that there may be.
const COUNT_MAX: usize = 10_000;
/// Rules of a subscription.
const RULES_MAX: usize = 1_000;
/// Characters of a name.
const NAME_MAX: usize = 64;

/// What is told of an endpoint or a rule beside its properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionAsk {
    /// The region.
    pub region: String,
    /// Its kind, if it has one.
    pub kind: Option<String>,
    /// The tags, as a whole.
    pub tags: Map<String, Value>,
}

/// Why a rule or an endpoint was not written.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// It says something that cannot be.
    #[error(transparent)]
    Misread(#[from] Misread),
    /// The control plane refused.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<CatalogError> for CollectionError {
    fn from(error: CatalogError) -> Self {
        Self::Control(error.into())
    }
}

/// The data collection endpoints and rules of a catalog.
#[derive(Debug)]
pub struct Collection {
    world: World,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    /// Held while one is counted and made, so that no two are the last one.
    making: tokio::sync::Mutex<()>,
}

impl Collection {
    /// Those of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, keys: Arc<KeyRing>) -> Self {
        Self { world, catalog, keys, making: tokio::sync::Mutex::default() }
    }

    /// Makes an endpoint, or writes one anew. Whether it is new.
    ///
    /// # Errors
    /// [`CollectionError::Misread`] for a bad name or region; [`ControlError::TooMany`].
    pub async fn put_endpoint(
        &self,
        place: &Place,
        ask: CollectionAsk,
        properties: &Map<String, Value>,
    ) -> Result<(CollectionEndpointRow, bool), CollectionError> {
        place.check()?;
        check(place, &ask)?;
        let _making = self.making.lock().await;
        let there = self.catalog.collection_endpoint(&place.subscription, &place.resource_group, &place.name).await?;
        if there.is_none() && self.catalog.collection_endpoints().await?.len() >= COUNT_MAX {
            return Err(ControlError::TooMany { what: "data collection endpoints", max: COUNT_MAX }.into());
        }
        let now_ms = self.world.clock.wall().unix_ms();
        let row = CollectionEndpointRow {
            id: there.as_ref().map_or_else(|| self.mint(), |row| row.id),
            name: there.as_ref().map_or_else(|| place.name.clone(), |row| row.name.clone()),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: there.as_ref().map_or_else(|| region(&ask.region), |row| row.region.clone()),
            kind: ask.kind,
            tags: Value::Object(ask.tags).to_string(),
            properties: serde_json::to_string(properties).unwrap_or_default(),
            created_ms: there.as_ref().map_or(now_ms, |row| row.created_ms),
            changed_ms: now_ms,
        };
        self.catalog.collection_endpoint_put(&row).await?;
        Ok((row, there.is_none()))
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn endpoint(&self, place: &Place) -> Result<CollectionEndpointRow, ControlError> {
        let row = self.catalog.collection_endpoint(&place.subscription, &place.resource_group, &place.name).await?;
        row.ok_or_else(|| ControlError::NotFound { what: "data collection endpoint", name: place.name.clone() })
    }

    /// The endpoints of a subscription, or of one of its resource groups.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn endpoints(&self, subscription: &str, group: Option<&str>) -> Result<Vec<CollectionEndpointRow>, ControlError> {
        let mut rows = self.catalog.collection_endpoints().await?;
        rows.retain(|row| is_in(&row.subscription, &row.resource_group, subscription, group));
        Ok(rows)
    }

    /// Takes an endpoint away; whether it was there.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn delete_endpoint(&self, place: &Place) -> Result<bool, ControlError> {
        let row = self.catalog.collection_endpoint(&place.subscription, &place.resource_group, &place.name).await?;
        let Some(row) = row else { return Ok(false) };
        Ok(self.catalog.collection_endpoint_delete(row.id).await?)
    }

    /// Makes a rule whose rows go to `workspace`, or writes one anew. Whether it is new. Its texts were checked before.
    ///
    /// # Errors
    /// [`CollectionError::Misread`] for a bad name or region; [`ControlError::TooMany`]; [`ControlError::Conflict`] if it was changed
    /// meanwhile; [`ControlError::Keys`] while the workspace's key is away.
    pub async fn put_rule(
        &self,
        place: &Place,
        ask: CollectionAsk,
        body: &RuleBody,
        workspace: WorkspaceId,
    ) -> Result<(CollectionRuleRow, bool), CollectionError> {
        place.check()?;
        check(place, &ask)?;
        let plain = serde_json::to_vec(&body.properties).unwrap_or_default();
        // Before the turn: whoever waits for a key holds up nobody else's rule.
        let (epoch, cell_id, cell) = self.seal(workspace, &plain).await?;
        let _making = self.making.lock().await;
        let there = self.catalog.collection_rule(&place.subscription, &place.resource_group, &place.name).await?;
        if there.is_none() && self.rules(&place.subscription, None).await?.len() >= RULES_MAX {
            return Err(ControlError::TooMany { what: "data collection rules of a subscription", max: RULES_MAX }.into());
        }
        let now_ms = self.world.clock.wall().unix_ms();
        let row = CollectionRuleRow {
            id: there.as_ref().map_or_else(|| self.mint(), |row| row.id),
            name: there.as_ref().map_or_else(|| place.name.clone(), |row| row.name.clone()),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: there.as_ref().map_or_else(|| region(&ask.region), |row| row.region.clone()),
            kind: ask.kind,
            tags: Value::Object(ask.tags).to_string(),
            workspace,
            streams: serde_json::to_string(&body.streams()).unwrap_or_default(),
            aek: epoch.aek,
            cell_id,
            cell,
            created_ms: there.as_ref().map_or(now_ms, |row| row.created_ms),
            changed_ms: now_ms,
        };
        let put = self.catalog.collection_rule_put(&row, there.as_ref().map(|row| row.cell_id)).await;
        put.map_err(|error| match error.kind() {
            ErrorKind::Conflict => ControlError::Conflict { why: "the data collection rule was changed meanwhile" },
            _ => error.into(),
        })?;
        tracing::info!(rule = %row.id, %workspace, "data collection rule written");
        Ok((row, there.is_none()))
    }

    /// Writes a rule's tags anew.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if it was changed meanwhile.
    pub async fn tag_rule(&self, row: CollectionRuleRow, tags: Map<String, Value>) -> Result<CollectionRuleRow, ControlError> {
        let row = CollectionRuleRow { tags: Value::Object(tags).to_string(), changed_ms: self.world.clock.wall().unix_ms(), ..row };
        self.catalog.collection_rule_put(&row, Some(row.cell_id)).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => ControlError::Conflict { why: "the data collection rule was changed meanwhile" },
            _ => error.into(),
        })?;
        Ok(row)
    }

    /// One rule, sealed.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn rule(&self, place: &Place) -> Result<CollectionRuleRow, ControlError> {
        let row = self.catalog.collection_rule(&place.subscription, &place.resource_group, &place.name).await?;
        row.ok_or_else(|| ControlError::NotFound { what: "data collection rule", name: place.name.clone() })
    }

    /// The rule of that id, sealed.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn rule_by_id(&self, id: ObjectId) -> Result<Option<CollectionRuleRow>, ControlError> {
        Ok(self.catalog.collection_rule_by_id(id).await?)
    }

    /// The rules of a subscription, or of one of its resource groups, sealed.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn rules(&self, subscription: &str, group: Option<&str>) -> Result<Vec<CollectionRuleRow>, ControlError> {
        let mut rows = self.catalog.collection_rules().await?;
        rows.retain(|row| is_in(&row.subscription, &row.resource_group, subscription, group));
        Ok(rows)
    }

    /// Takes a rule away; whether it was there.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn delete_rule(&self, row: &CollectionRuleRow) -> Result<bool, ControlError> {
        Ok(self.catalog.collection_rule_delete(row.id).await?)
    }

    /// What a rule says, to be told.
    ///
    /// # Errors
    /// [`ControlError::Keys`] while the key that it is under is away, or that of its workspace: one that was written before its workspace
    /// was linked says no more than its tables; [`ControlError::Damaged`].
    pub async fn open(&self, row: &CollectionRuleRow) -> Result<RuleBody, ControlError> {
        let home = self.catalog.workspace(row.workspace).await?.ok_or_else(|| absent(row.workspace))?;
        let pass = self.keys.pass(home.account).await?;
        let body = self.follow(row).await?;
        pass.check()?;
        Ok(body)
    }

    /// What a rule says, for rows that were let in. One that its workspace brought along to another account is sealed there from now on.
    ///
    /// # Errors
    /// [`ControlError::Keys`] while the key that it is under is away; [`ControlError::Damaged`].
    pub async fn follow(&self, row: &CollectionRuleRow) -> Result<RuleBody, ControlError> {
        let damaged = || ControlError::Damaged { what: "the data collection rule" };
        let aek = self.catalog.aek(row.aek).await?.ok_or_else(damaged)?;
        let epoch = Epoch { account: aek.account, aek: row.aek };
        let guard = self.keys.guard(epoch, row.workspace, PrincipalId::NIL, Purpose::Ingest).await?;
        let place = CellPlace { epoch, workspace: row.workspace, table: TableId::NIL, row: row.cell_id };
        let plain = open_cell(&guard, self.world.clock.boot(), &place, &row.cell).map_err(|error| match error {
            strongroom_envelope::OpenError::Guard(guard) => ControlError::Keys(guard.into()),
            _ => damaged(),
        })?;
        if let Err(error) = self.bring_along(row, aek.account, &plain).await {
            tracing::debug!(rule = %row.id, code = error.code(), "a data collection rule stays under the key of its workspace's last account");
        }
        RuleBody::read(serde_json::from_slice(&plain).map_err(|_| damaged())?).map_err(|_| damaged())
    }

    async fn bring_along(&self, row: &CollectionRuleRow, account: AccountId, plain: &[u8]) -> Result<(), ControlError> {
        let home = self.catalog.workspace(row.workspace).await?;
        if home.is_none_or(|home| home.account == account) {
            return Ok(());
        }
        let (epoch, cell_id, cell) = self.seal(row.workspace, plain).await?;
        self.catalog.collection_rule_reseal(row.id, row.cell_id, epoch.aek, cell_id, &cell).await?;
        tracing::info!(rule = %row.id, workspace = %row.workspace, "data collection rule sealed in its workspace's new account");
        Ok(())
    }

    async fn seal(&self, workspace: WorkspaceId, plain: &[u8]) -> Result<(Epoch, ObjectId, Vec<u8>), ControlError> {
        let home = self.catalog.workspace(workspace).await?.ok_or_else(|| absent(workspace))?;
        self.keys.pass(home.account).await?;
        let epoch = self.keys.write_epoch(home.account).await?;
        let guard = self.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Ingest).await?;
        let row = self.mint();
        let place = CellPlace { epoch, workspace, table: TableId::NIL, row };
        let cell = seal_cell(&guard, self.world.clock.boot(), self.world.rng.as_ref(), &place, plain).map_err(|error| match error {
            strongroom_envelope::SealError::Guard(guard) => ControlError::Keys(guard.into()),
            _ => ControlError::Damaged { what: "the workspace's keys" },
        })?;
        Ok((epoch, row, cell))
    }

    fn mint(&self) -> ObjectId {
        let (ms, random) = self.world.id_seed();
        ObjectId::mint(ms, random)
    }
}

fn absent(workspace: WorkspaceId) -> ControlError {
    ControlError::NotFound { what: "workspace", name: workspace.to_string() }
}

/// The tables of a rule's stream, as they stand in clear; `None` if it has no such stream. Case does not count.
#[must_use]
pub fn tables_of(row: &CollectionRuleRow, stream: &str) -> Option<(String, Vec<TableName>)> {
    let streams: BTreeMap<String, Vec<TableName>> = serde_json::from_str(&row.streams).ok()?;
    streams.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(stream))
}

fn is_in(own: &str, own_group: &str, subscription: &str, group: Option<&str>) -> bool {
    own.eq_ignore_ascii_case(subscription) && group.is_none_or(|group| own_group.eq_ignore_ascii_case(group))
}

fn region(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase()
}

fn check(place: &Place, ask: &CollectionAsk) -> Result<(), Misread> {
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if place.name.is_empty() || place.name.len() > NAME_MAX || !place.name.chars().all(named) {
        return Err(misread("name", format!("1 to {NAME_MAX} letters, digits, hyphens, underscores and full stops are allowed")));
    }
    if ask.region.is_empty() || ask.region.len() > 128 || ask.region.chars().any(char::is_control) {
        return Err(misread("location", "a region is expected"));
    }
    if ask.kind.as_ref().is_some_and(|kind| kind.len() > 64) || serde_json::to_vec(&ask.tags).map_or(0, |tags| tags.len()) > 16 << 10 {
        return Err(misread("tags", "kind or tags are too long"));
    }
    Ok(())
}
