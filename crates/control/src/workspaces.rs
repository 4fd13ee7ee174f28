//! Workspaces: made, shown, and found by what a caller calls them.

use std::time::Duration;

use strongroom_catalog::{AwayRow, Catalog, CatalogError, TablePlan, TableRow, WorkspaceRow};
use strongroom_model::{AccountId, ErrorKind, ObjectId, TableName, WhileRevoked, WorkspaceId, WorkspaceName};
use strongroom_world::World;

use crate::clusters::{is_region, region_name};
use crate::recent::Recent;
use crate::{Caller, ControlConfig, ControlError, Place, RETENTION_DAYS_MAX, ScopePath};

/// The name of the resource group and the workspace that a first start makes.
pub const DEFAULT_NAME: &str = "default";

/// The workspaces of a catalog.
#[derive(Debug)]
pub struct Workspaces {
    world: World,
    catalog: Catalog,
    /// Where unlinked workspaces keep their rows.
    account: AccountId,
    config: ControlConfig,
    /// Held from when there is room for a new one until it is there.
    making: tokio::sync::Mutex<()>,
    /// By what they were asked for with; every workspace of that name, whoever may see them.
    recent: Recent<String, Vec<WorkspaceRow>>,
}

impl Workspaces {
    /// The workspaces of a catalog; new ones keep their rows in `account`.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, account: AccountId, config: ControlConfig) -> Self {
        let recent = Recent::new(Duration::from_millis(config.cache_ms.min(1_000)), config.cache_entries_max);
        Self { world, catalog, account, config, making: tokio::sync::Mutex::default(), recent }
    }

    /// At a first start: a subscription, its resource group `default`, and in that the workspace `default`. Answers the
    /// oldest workspace there is.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn ensure_defaults(&self) -> Result<WorkspaceRow, ControlError> {
        if let Some(oldest) = self.catalog.workspaces_kept().await?.into_iter().next() {
            return Ok(oldest);
        }
        // A subscription is no more than its id for now.
        let (ms, random) = self.world.id_seed();
        let subscription = ObjectId::mint(ms, random).to_string();
        let place = (subscription, DEFAULT_NAME.to_owned(), self.region().await?);
        self.insert(default_name(), place, self.config.retention_days_default).await
    }

    /// The region of workspaces that are linked to no cluster.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn region(&self) -> Result<String, ControlError> {
        let own = self.catalog.accounts().await?.into_iter().find(|row| row.id == self.account);
        Ok(own.map(|row| row.region).unwrap_or_default())
    }

    /// Forgets what was remembered of workspaces: one of them has changed.
    pub fn forget(&self) {
        self.recent.clear();
    }

    /// The workspace there, if this caller may do `action` on it.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], the same for one that is absent and one the caller may not see;
    /// [`ControlError::Forbidden`].
    pub async fn at(&self, caller: &Caller, place: &Place, action: &str) -> Result<WorkspaceRow, ControlError> {
        let row = self.known_at(caller, place).await?;
        caller.check(action, &ScopePath::workspace(&row))?;
        Ok(row)
    }

    /// The workspace there, if this caller may know of it; what they may do there is still to be asked.
    ///
    /// # Errors
    /// As [`at`](Self::at), but for [`ControlError::Forbidden`].
    pub async fn known_at(&self, caller: &Caller, place: &Place) -> Result<WorkspaceRow, ControlError> {
        let absent = || ControlError::NotFound { what: "workspace", name: place.name.clone() };
        let name: WorkspaceName = place.name.parse().map_err(|_| absent())?;
        let mut found = self.catalog.workspaces_named(&name).await?;
        found.retain(|row| {
            row.subscription.eq_ignore_ascii_case(&place.subscription)
                && row.resource_group.eq_ignore_ascii_case(&place.resource_group)
                && caller.sees(&ScopePath::workspace(row))
        });
        found.pop().ok_or_else(absent)
    }

    /// Makes a workspace where `place` says.
    ///
    /// # Errors
    /// As [`create`](Self::create), and [`ControlError::Invalid`] for names of subscription, group or region that are none.
    pub async fn create_at(&self, place: &Place, retention_days: Option<u32>, region: Option<&str>) -> Result<WorkspaceRow, ControlError> {
        place.check()?;
        let name = place.name.parse().map_err(|_| ControlError::Invalid { what: "name", why: "not a name for a workspace" })?;
        let days = retention_days.unwrap_or(self.config.retention_days_default);
        let _making = self.making.lock().await;
        self.check_new(&name, days).await?;
        let region = match region.map(region_name) {
            Some(region) if is_region(&region) => region,
            Some(_) => return Err(ControlError::Invalid { what: "location", why: "1 to 64 letters and digits are allowed" }),
            None => self.region().await?,
        };
        self.insert(name, (place.subscription.clone(), place.resource_group.clone(), region), days).await
    }

    /// Makes a workspace in the resource group `default`, keeping rows for `retention_days` (else as the settings say).
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if the name is taken; [`ControlError::Invalid`] if it looks like an id;
    /// [`ControlError::Setting`] for a bad number of days; [`ControlError::TooMany`].
    pub async fn create(&self, name: WorkspaceName, retention_days: Option<u32>) -> Result<WorkspaceRow, ControlError> {
        let days = retention_days.unwrap_or(self.config.retention_days_default);
        let _making = self.making.lock().await;
        self.check_new(&name, days).await?;
        let subscription = self.ensure_defaults().await?.subscription;
        self.insert(name, (subscription, DEFAULT_NAME.to_owned(), self.region().await?), days).await
    }

    async fn check_new(&self, name: &WorkspaceName, days: u32) -> Result<(), ControlError> {
        check_retention(days)?;
        if name.as_str().parse::<WorkspaceId>().is_ok() {
            return Err(ControlError::Invalid { what: "name", why: "a workspace name may not look like an id" });
        }
        let max = self.config.workspaces_max;
        if self.catalog.workspaces_kept().await?.len() >= max {
            return Err(ControlError::TooMany { what: "workspaces", max });
        }
        Ok(())
    }

    /// In a subscription, a resource group and a region.
    async fn insert(
        &self,
        name: WorkspaceName,
        (subscription, resource_group, region): (String, String, String),
        retention_days: u32,
    ) -> Result<WorkspaceRow, ControlError> {
        let (ms, random) = self.world.id_seed();
        let row = WorkspaceRow {
            id: WorkspaceId::mint(ms, random),
            name,
            account: self.account,
            subscription,
            resource_group,
            region,
            created_ms: self.world.clock.wall().unix_ms(),
            retention_days,
            link: None,
        };
        self.catalog.workspace_insert(&row).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "a workspace of that name exists in the resource group" },
            other => other.into(),
        })?;
        self.recent.clear();
        tracing::info!(workspace = %row.id, "workspace created");
        Ok(row)
    }

    /// The workspaces that a caller may see, oldest first.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] if no role may see any; what the catalog says.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<WorkspaceRow>, ControlError> {
        let everything = ScopePath::root();
        if !caller.may_within(crate::action::WORKSPACES_READ, &everything) {
            return Err(caller.forbidden(crate::action::WORKSPACES_READ, &everything));
        }
        let mut all = self.catalog.workspaces().await?;
        all.retain(|row| caller.may(crate::action::WORKSPACES_READ, &ScopePath::workspace(row)));
        Ok(all)
    }

    /// The workspace that `name`, an id or a name, means to this caller, who wants to do `action` there.
    ///
    /// # Errors
    /// [`ControlError::NotFound`], the same value for one that is absent and one the caller may not see;
    /// [`ControlError::Ambiguous`] if the caller sees several of that name; [`ControlError::Forbidden`] if it is the
    /// caller's but the role does not allow the action.
    pub async fn resolve(&self, caller: &Caller, name: &str, action: &str) -> Result<WorkspaceRow, ControlError> {
        let row = self.find(caller, name).await?;
        caller.check(action, &ScopePath::workspace(&row))?;
        Ok(row)
    }

    /// The workspace that `name`, an id or a name, means to this caller, who may know of it; what they may do there is still to be asked.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), but for [`ControlError::Forbidden`].
    pub async fn find(&self, caller: &Caller, name: &str) -> Result<WorkspaceRow, ControlError> {
        let mut found = self.named(name).await?;
        found.retain(|row| caller.sees(&ScopePath::workspace(row)));
        if found.len() > 1 {
            return Err(ControlError::Ambiguous { what: "workspaces", name: name.to_owned() });
        }
        found.pop().ok_or_else(|| ControlError::NotFound { what: "workspace", name: name.to_owned() })
    }

    async fn named(&self, name: &str) -> Result<Vec<WorkspaceRow>, ControlError> {
        let now = self.world.clock.boot();
        if let Some(known) = self.recent.get(name, now) {
            return Ok(known);
        }
        let found: Vec<WorkspaceRow> = if let Ok(id) = name.parse::<WorkspaceId>() {
            self.catalog.workspace(id).await?.into_iter().collect()
        } else if let Ok(text) = name.parse::<WorkspaceName>() {
            self.catalog.workspaces_named(&text).await?
        } else {
            Vec::new()
        };
        if !found.is_empty() {
            self.recent.put(name.to_owned(), found.clone(), now);
        }
        Ok(found)
    }

    /// Sets how many days a table keeps its rows; `None`: as its workspace says.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if there is no such table; [`ControlError::Setting`] for a bad number of days.
    pub async fn set_table_retention(
        &self,
        workspace: WorkspaceId,
        table: &TableName,
        days: Option<u32>,
    ) -> Result<TableRow, ControlError> {
        days.map_or(Ok(()), check_retention)?;
        let absent = || ControlError::NotFound { what: "table", name: table.to_string() };
        let row = self.catalog.table_get(workspace, table).await?.ok_or_else(absent)?;
        self.catalog.table_set_retention(row.id, days).await?;
        tracing::info!(%workspace, table = %row.id, days, "table retention set");
        Ok(TableRow { retention_days: days, ..row })
    }

    /// Sets what a table is kept for.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if there is no such table.
    pub async fn set_table_plan(&self, workspace: WorkspaceId, table: &TableName, plan: TablePlan) -> Result<TableRow, ControlError> {
        let absent = || ControlError::NotFound { what: "table", name: table.to_string() };
        let row = self.catalog.table_get(workspace, table).await?.ok_or_else(absent)?;
        self.catalog.table_set_plan(row.id, plan).await?;
        tracing::info!(%workspace, table = %row.id, %plan, "table plan set");
        Ok(TableRow { plan, ..row })
    }

    /// Sets how many days a workspace keeps rows where a table says nothing else.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] if there is no such workspace; [`ControlError::Setting`] for a bad number of days.
    pub async fn set_retention(&self, workspace: WorkspaceId, days: u32) -> Result<(), ControlError> {
        check_retention(days)?;
        self.catalog.workspace_set_retention(workspace, days).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ControlError::NotFound { what: "workspace", name: workspace.to_string() },
            _ => error.into(),
        })?;
        self.recent.clear();
        tracing::info!(%workspace, days, "workspace retention set");
        Ok(())
    }

    /// What is done with a workspace's new rows while its cluster's key is revoked.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn ingest_policy(&self, workspace: WorkspaceId) -> Result<WhileRevoked, ControlError> {
        Ok(self.catalog.ingest_policy(workspace).await?)
    }

    /// Sets it; the next request heeds it.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn set_ingest_policy(&self, workspace: WorkspaceId, policy: WhileRevoked) -> Result<(), ControlError> {
        self.catalog.ingest_policy_set(workspace, policy).await?;
        tracing::warn!(%workspace, %policy, "what is done with rows while the key is revoked was set");
        Ok(())
    }

    /// What became of rows that came while the workspace's key was away, by the table's name; the last for tables that are not there.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn away_counts(&self, workspace: WorkspaceId) -> Result<Vec<(Option<TableName>, AwayRow)>, ControlError> {
        let counts = self.catalog.away_counts(workspace).await?;
        let tables = if counts.is_empty() { Vec::new() } else { self.catalog.tables(workspace).await? };
        let name = |row: &AwayRow| tables.iter().find(|table| table.id == row.table).map(|table| table.name.clone());
        Ok(counts.into_iter().map(|row| (name(&row), row)).collect())
    }
}

fn default_name() -> WorkspaceName {
    DEFAULT_NAME.parse().expect("`default` is a name")
}

/// Whether rows may be kept for so many days.
///
/// # Errors
/// [`ControlError::Setting`].
pub fn check_retention(days: u32) -> Result<(), ControlError> {
    if (1..=RETENTION_DAYS_MAX).contains(&days) {
        return Ok(());
    }
    Err(ControlError::Setting { name: "retentionInDays", value: u64::from(days), min: 1, max: u64::from(RETENTION_DAYS_MAX) })
}
