//! Dedicated clusters: what a request may change of one, in the words that users of Azure Monitor know.
//!
//! Rules are checked here, before anything is written; the change itself is an operation that [`crate::operations`] writes
//! down and [`run`] carries out in the background, again after a restart if need be. Which numbers hold is [`crate::azure`].
//!
//! ```text
//! request ─rules─▶ operation InProgress, cluster Creating│Updating│Deleting ─▶ KeyDesk ─▶ Succeeded│Failed, cluster Succeeded
//! ```

mod capacity;
mod check;
mod create;
mod identity;
mod limits;
pub(crate) mod links;
mod place;
mod recover;
mod report;
mod rewrite;
mod run;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use strongroom_catalog::{
    Billing, Catalog, ClusterKeyRow, ClusterRow, ClusterState, IdentityRow, IdentityType, OperationRow, WorkspaceRow,
};
use strongroom_keys::provider::KekRef;
use strongroom_model::ObjectId;
use strongroom_world::World;
use tokio::task::JoinSet;

use crate::audit::{Scribe, acting, actor};
use crate::azure::Rules;
use crate::desk::{KeyDesk, KeyStatus};
use crate::operations::{Change, Operations};
use crate::vaults::vault_uri;
use crate::{ControlConfig, ControlError, Refusal, Workspaces};
pub use check::Check;
pub(crate) use identity::IdentityTarget;
pub use place::Place;
pub(crate) use place::check_part;
pub use report::{Held, KeyReport};
pub use rewrite::RewriteView;

/// Days that the name of a deleted cluster stays reserved, and its keys known.
pub const RESERVED_DAYS: u32 = 14;
/// Characters of a cluster's name: 63 at most, as printed.
const NAME_MAX: usize = 63;
const SKU: &str = "CapacityReservation";
/// Bytes of all tags together.
const TAGS_MAX: usize = 16 << 10;
const DAY_MS: i64 = 86_400_000;

/// Which key a cluster is to use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyProperties {
    /// The vault.
    #[serde(rename = "keyVaultUri")]
    pub vault_uri: String,
    /// The key's name.
    #[serde(rename = "keyName")]
    pub name: String,
    /// The version to stay with; `None` or empty: always the newest.
    #[serde(rename = "keyVersion", default)]
    pub version: Option<String>,
}

impl KeyProperties {
    /// The key meant.
    ///
    /// # Errors
    /// ER13.
    pub fn kek(&self) -> Result<KekRef, ControlError> {
        KekRef::new(&self.vault_uri, &self.name, self.version.as_deref().filter(|version| !version.is_empty())).map_err(|_| {
            Refusal::KeyFormat {
                why: "keyVaultUri is https://HOST without a path, keyName is the name alone, keyVersion a version or empty for the newest",
            }
            .into()
        })
    }

    fn row(kek: &KekRef, rsa_bits: Option<u32>) -> ClusterKeyRow {
        ClusterKeyRow { vault_uri: vault_uri(kek), name: kek.key_name.clone(), version: kek.key_version.clone(), rsa_bits }
    }
}

/// What a request asks of a cluster. Absent members stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAsk {
    /// The region.
    pub region: Option<String>,
    /// Whose identity.
    pub identity: Option<IdentityType>,
    /// The paths of the user-assigned identities; `Some` and empty: said to be none.
    pub user_identities: Option<Vec<String>>,
    /// The commitment tier's name.
    pub sku_name: Option<String>,
    /// The commitment tier.
    pub sku_capacity: Option<i64>,
    /// To whom data is billed.
    pub billing: Option<Billing>,
    /// Whether everything is sealed twice.
    pub double: Option<bool>,
    /// The tags, as a whole.
    pub tags: Option<serde_json::Map<String, serde_json::Value>>,
    /// The key.
    pub key: Option<KeyProperties>,
}

/// A change that was taken on, or found done.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The cluster as it stands now.
    pub cluster: ClusterRow,
    /// The operation; `None`: there was nothing to change.
    pub operation: Option<OperationRow>,
}

/// What a cluster's page shows.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// The cluster.
    pub row: ClusterRow,
    /// The workspaces linked to it.
    pub linked: Vec<WorkspaceRow>,
    /// How its key stands.
    pub key: KeyStatus,
    /// Where the user-assigned identity that it shows lies.
    pub user_identity: Option<Place>,
    /// Its own identity, while it shows that one.
    pub own_identity: Option<IdentityRow>,
}

/// The clusters of a catalog.
#[derive(Debug)]
pub struct Clusters {
    world: World,
    catalog: Catalog,
    desk: Arc<dyn KeyDesk>,
    workspaces: Arc<Workspaces>,
    operations: Operations,
    config: ControlConfig,
    rules: Rules,
    /// One at a time changes a cluster's key or links.
    turns: Mutex<HashMap<ObjectId, Arc<tokio::sync::Mutex<()>>>>,
    /// Held from when there is room for a new cluster until it is there.
    making: tokio::sync::Mutex<()>,
    tasks: Mutex<JoinSet<()>>,
}

impl Clusters {
    /// The clusters of a catalog. At a start, [`settle`](Self::settle) comes before keys are watched and
    /// [`resume`](Self::resume) after.
    #[must_use]
    pub fn new(
        world: World,
        catalog: Catalog,
        desk: Arc<dyn KeyDesk>,
        workspaces: Arc<Workspaces>,
        config: ControlConfig,
        rules: Rules,
    ) -> Arc<Self> {
        let operations = Operations::new(world.clone(), catalog.clone());
        let (turns, making, tasks) = (Mutex::default(), tokio::sync::Mutex::default(), Mutex::default());
        Arc::new(Self { world, catalog, desk, workspaces, operations, config, rules, turns, making, tasks })
    }

    /// The rules that hold.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Has the end of every change told to a scribe.
    pub fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.operations.audited_by(scribe);
    }

    /// One cluster.
    ///
    /// # Errors
    /// ER18.
    pub async fn get(&self, place: &Place) -> Result<ClusterRow, ControlError> {
        self.find(place).await?.ok_or_else(|| self.absent().into())
    }

    async fn find(&self, place: &Place) -> Result<Option<ClusterRow>, ControlError> {
        Ok(self.catalog.cluster_by_name(&place.subscription, &place.resource_group, &place.name).await?)
    }

    /// The one cluster that `name`, an id or a name, means in whatever resource group.
    ///
    /// # Errors
    /// ER18; [`ControlError::Ambiguous`].
    pub async fn named(&self, name: &str) -> Result<ClusterRow, ControlError> {
        let id: Option<ObjectId> = name.parse().ok();
        let mut found = self.catalog.cluster_list().await?;
        found.retain(|row| row.name.eq_ignore_ascii_case(name) || Some(row.id) == id);
        if found.len() > 1 {
            return Err(ControlError::Ambiguous { what: "clusters", name: name.to_owned() });
        }
        found.pop().ok_or_else(|| self.absent().into())
    }

    /// What is said of a cluster that is not there.
    fn absent(&self) -> Refusal {
        Refusal::ClusterAbsent { soft: self.rules.cluster_recover }
    }

    /// The cluster of that id, deleted or not.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn by_id(&self, id: ObjectId) -> Result<Option<ClusterRow>, ControlError> {
        Ok(self.catalog.cluster_get(id).await?)
    }

    /// The clusters of a subscription, or of one of its resource groups, in the order of their ids: oldest first.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, subscription: Option<&str>, group: Option<&str>) -> Result<Vec<ClusterRow>, ControlError> {
        let mut all = self.catalog.cluster_list().await?;
        all.retain(|row| {
            subscription.is_none_or(|name| row.subscription.eq_ignore_ascii_case(name))
                && group.is_none_or(|name| row.resource_group.eq_ignore_ascii_case(name))
        });
        Ok(all)
    }

    /// A cluster with its links and its key's state.
    ///
    /// # Errors
    /// What catalog and keys say.
    pub async fn view(&self, row: ClusterRow) -> Result<ClusterView, ControlError> {
        let linked = self.catalog.workspaces_linked(row.id).await?;
        let key = self.desk.status(&row).await?;
        let (user_identity, own_identity) = match row.user_identity {
            None => (None, None),
            Some(user) => {
                let user = self.catalog.user_identity(user).await?;
                (user.as_ref().map(Place::of_identity), self.catalog.own_identity(row.id).await?)
            }
        };
        Ok(ClusterView { row, linked, key, user_identity, own_identity })
    }

    /// An operation, for as long as it is kept.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn operation(&self, id: ObjectId) -> Result<Option<OperationRow>, ControlError> {
        self.operations.get(id).await
    }

    /// Makes a cluster, or changes the one that is there.
    ///
    /// # Errors
    /// [`Refusal`], or what catalog and keys say.
    pub async fn put(self: &Arc<Self>, place: &Place, ask: ClusterAsk) -> Result<Accepted, ControlError> {
        let (this, place) = (Arc::clone(self), place.clone());
        whole(async move {
            match this.find(&place).await? {
                Some(row) => this.change(row, ask, Busy::REPLACE).await,
                None => this.create(&place, ask).await,
            }
        })
        .await
    }

    /// Changes a cluster.
    ///
    /// # Errors
    /// [`Refusal`], or what catalog and keys say.
    pub async fn patch(self: &Arc<Self>, place: &Place, ask: ClusterAsk) -> Result<Accepted, ControlError> {
        let (this, place) = (Arc::clone(self), place.clone());
        whole(async move {
            let row = this.get(&place).await?;
            this.change(row, ask, Busy::UPDATE).await
        })
        .await
    }

    async fn change(self: &Arc<Self>, row: ClusterRow, ask: ClusterAsk, busy: Busy) -> Result<Accepted, ControlError> {
        let kek = self.kek_of(&ask)?;
        let (kek, same) = match kek {
            Some(kek) if row.key.as_ref().is_some_and(|key| same_key(key, &kek)) => (None, Some(kek)),
            kek => (kek, None),
        };
        let other = |kind: IdentityType| kind != row.identity_type;
        if kek.is_some() && row.identity_type != IdentityType::None && ask.identity.is_some_and(other) {
            return Err(Refusal::IdentityWithKey.into());
        }
        let turn = identity::turn(&row, &ask, self.identity_path_of(&row).await?.as_deref())?;
        if turn == identity::Turn::Remove {
            // Final for the customer: of a request that is refused not even this is done.
            if kek.is_some() {
                return Err(Refusal::IdentityWithKey.into());
            }
            self.check_rest(&row, &ask)?;
            let mut changed = row.clone();
            apply(&mut changed, &ask, self.now_ms())?;
            if changed == row {
                // At once, whatever else runs.
                return Ok(Accepted { cluster: self.remove_identity(row).await?, operation: None });
            }
        }
        if row.state == ClusterState::Deleting {
            return Err((busy.deleting)().into());
        }
        let path = Place::of_cluster(&row).cluster_path();
        if row.state != ClusterState::Succeeded || self.operations.running_on(&path).await?.is_some() {
            return Err((busy.running)().into());
        }
        self.check_rest(&row, &ask)?;
        if let identity::Turn::Show(to) = turn {
            if kek.is_some() {
                return Err(Refusal::IdentityWithKey.into());
            }
            return self.begin_identity(row, to, &ask, busy).await;
        }
        if kek.is_some() && row.identity_type == IdentityType::None {
            return Err(Refusal::IdentityNoneIsFinal { cluster: row.name }.into());
        }
        let mut changed = row.clone();
        apply(&mut changed, &ask, self.now_ms())?;
        if kek.is_none() && changed == row {
            if let Some(same) = same.filter(|_| busy.looks_again && row.identity_type != IdentityType::None) {
                // Nothing to change, but whoever sends a key wants to know that it may be used: it may have expired since.
                self.desk.probe(&row, &same).await?;
            }
            return Ok(Accepted { cluster: row, operation: None });
        }
        if let Some(kek) = &kek {
            self.check_vault(&row, kek).await?;
            // Now and not in the background: a client learns at once what is wrong with the key.
            self.desk.probe(&row, kek).await?;
        }
        let change = Change::Update { cluster: row.id, key: ask.key.clone().filter(|_| kek.is_some()) };
        let operation = self.begin(&row, &change, busy.running).await?;
        let marked = async {
            if turn == identity::Turn::Remove {
                self.remove_identity(row.clone()).await?;
            }
            self.mark(row.id, ClusterState::Updating, &ask).await
        };
        match marked.await {
            Ok(cluster) => {
                self.spawn(operation.clone(), change);
                Ok(Accepted { cluster, operation: Some(operation) })
            }
            Err(error) => {
                self.operations.finish(&operation, Some(&error)).await?;
                Err(error)
            }
        }
    }

    /// What of a cluster cannot be changed, or not so.
    fn check_rest(&self, row: &ClusterRow, ask: &ClusterAsk) -> Result<(), ControlError> {
        self.rules.check_capacity(row, ask, self.now_ms())?;
        if ask.double.is_some_and(|double| double != row.double) {
            return Err(Refusal::DoubleIsFixed { is: row.double }.into());
        }
        if ask.region.as_deref().map(region_name).is_some_and(|region| !region.eq_ignore_ascii_case(&row.region)) {
            return Err(ControlError::Invalid { what: "location", why: "a cluster can't be moved to another region" });
        }
        Ok(())
    }

    /// The key that is asked for; without a version only where that is a rule of this service.
    fn kek_of(&self, ask: &ClusterAsk) -> Result<Option<KekRef>, ControlError> {
        let kek = ask.key.as_ref().map(KeyProperties::kek).transpose()?;
        if !self.rules.autorotation && kek.as_ref().is_some_and(|kek| kek.key_version.is_none()) {
            return Err(Refusal::KeyFormat { why: "keyVersion is needed: keys are not followed to their newest version here" }.into());
        }
        Ok(kek)
    }

    /// The cluster as it is by now, with what needs no vault and the state of a change that begins.
    async fn mark(&self, cluster: ObjectId, state: ClusterState, ask: &ClusterAsk) -> Result<ClusterRow, ControlError> {
        let row = self.catalog.cluster_get(cluster).await?.filter(|row| row.deleted_ms.is_none());
        let mut row = row.ok_or_else(|| self.absent())?;
        apply(&mut row, ask, self.now_ms())?;
        row.state = state;
        row.modified_ms = self.now_ms();
        self.catalog.cluster_update(&row).await?;
        Ok(row)
    }

    /// A vault that the control plane was told of, in the region and tenant of the cluster.
    async fn check_vault(&self, row: &ClusterRow, kek: &KekRef) -> Result<(), ControlError> {
        let uri = vault_uri(kek);
        let vault = self.catalog.vault_ref_by_uri(&uri).await?.ok_or(Refusal::VaultUnknown { uri })?;
        check_region(&format!("Key vault {}", vault.name), &vault.region, row)?;
        if let Some(own) = self.config.tenant()?
            && vault.tenant.parse() != Ok(own)
        {
            return Err(Refusal::TenantMismatch { vault: vault.name, tenant: vault.tenant, own: own.to_string() }.into());
        }
        if vault.private_link && row.identity_type == IdentityType::UserAssigned {
            return Err(Refusal::PrivateLinkNeedsSystem { vault: vault.name }.into());
        }
        Ok(())
    }

    /// Deletes a cluster: linked workspaces are unlinked first, the account and its keys stay. Unless `force`, not one that
    /// holds workspaces' data. Asked again while it runs, answers with the operation that does it.
    ///
    /// # Errors
    /// [`Refusal`], or what catalog and keys say.
    pub async fn delete(self: &Arc<Self>, place: &Place, force: bool) -> Result<Accepted, ControlError> {
        let (this, place) = (Arc::clone(self), place.clone());
        whole(async move { this.begin_deletion(&place, force).await }).await
    }

    async fn begin_deletion(self: &Arc<Self>, place: &Place, force: bool) -> Result<Accepted, ControlError> {
        let row = self.get(place).await?;
        let running = self.operations.running_on(&Place::of_cluster(&row).cluster_path()).await?;
        match (row.state, running) {
            (ClusterState::Deleting, Some(operation)) => return Ok(Accepted { cluster: row, operation: Some(operation) }),
            (_, Some(_)) => return Err(Refusal::DeleteWhileBusy.into()),
            _ => {}
        }
        if !self.catalog.storage_accounts_of(row.id).await?.is_empty() {
            return Err(ControlError::Conflict { why: "storage accounts are under the cluster's key: put them under another first" });
        }
        if !force {
            self.check_holds_nothing(&row).await?;
        }
        let change = Change::Delete { cluster: row.id };
        let operation = self.begin(&row, &change, || Refusal::DeleteWhileBusy).await?;
        match self.mark(row.id, ClusterState::Deleting, &ClusterAsk::default()).await {
            Ok(cluster) => {
                tracing::info!(cluster = %row.id, force, "cluster is being deleted");
                self.spawn(operation.clone(), change);
                Ok(Accepted { cluster, operation: Some(operation) })
            }
            Err(error) => {
                self.operations.finish(&operation, Some(&error)).await?;
                Err(error)
            }
        }
    }

    async fn check_holds_nothing(&self, row: &ClusterRow) -> Result<(), ControlError> {
        let Some(account) = row.account else {
            return Ok(());
        };
        let held = self.catalog.holdings(account).await?;
        let unflushed = self.desk.unflushed(account);
        let mut fresh = Vec::new();
        for table in unflushed.tables {
            fresh.extend(self.catalog.table(table).await?.map(|row| row.workspace));
        }
        let mut ids: Vec<_> = held.iter().map(|holding| holding.workspace).chain(fresh.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut names = Vec::with_capacity(ids.len());
        for &id in &ids {
            let bytes: u64 = held.iter().filter(|holding| holding.workspace == id).map(|holding| holding.bytes).sum();
            let row = self.catalog.workspace(id).await?;
            let (name, linked) =
                row.map_or_else(|| (id.to_string(), ""), |row| (row.name.to_string(), if row.link.is_some() { "linked, " } else { "" }));
            let more = if fresh.contains(&id) { " and rows that are in no block yet" } else { "" };
            names.push(format!("{name} ({linked}{bytes} bytes{more})"));
        }
        let mut what = Vec::new();
        if !names.is_empty() {
            what.push(format!("data of {} workspaces: {}", names.len(), names.join(", ")));
        }
        if unflushed.unread {
            what.push("rows that came in and that only its key can tell whose they are".to_owned());
        }
        if what.is_empty() {
            return Ok(());
        }
        let what = what.join("; and ");
        Err(Refusal::ClusterHoldsData { name: row.name.clone(), what, days: RESERVED_DAYS }.into())
    }

    async fn begin(&self, row: &ClusterRow, change: &Change, busy: fn() -> Refusal) -> Result<OperationRow, ControlError> {
        let path = Place::of_cluster(row).cluster_path();
        self.operations.begin(&path, &row.region, change).await?.ok_or_else(|| busy().into())
    }

    fn now_ms(&self) -> i64 {
        self.world.clock.wall().unix_ms()
    }
}

/// Does all of it, even if whoever asked has gone: a change that was written down and then let go of would block its
/// resource until the next start.
pub(crate) async fn whole<T: Send + 'static>(
    work: impl Future<Output = Result<T, ControlError>> + Send + 'static,
) -> Result<T, ControlError> {
    match tokio::spawn(acting(actor(), work)).await {
        Ok(outcome) => outcome,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(ControlError::Conflict { why: "the server is stopping" }),
        },
    }
}

/// What a PUT and a PATCH say when they come at the wrong time.
#[derive(Clone, Copy)]
struct Busy {
    deleting: fn() -> Refusal,
    running: fn() -> Refusal,
    /// Whether a key that is sent again is looked at again: clients send a whole cluster back with PUT, key included.
    looks_again: bool,
}

impl Busy {
    const REPLACE: Self = Self { deleting: || Refusal::ReplaceWhileDeleting, running: || Refusal::ReplaceWhileBusy, looks_again: false };
    const UPDATE: Self = Self { deleting: || Refusal::UpdateWhileDeleting, running: || Refusal::UpdateWhileBusy, looks_again: true };
}

/// What belongs to a cluster lies in its region.
fn check_region(what: &str, region: &str, row: &ClusterRow) -> Result<(), Refusal> {
    if region.eq_ignore_ascii_case(&row.region) {
        return Ok(());
    }
    Err(Refusal::RegionMismatch {
        what: what.to_owned(),
        region: region.to_owned(),
        cluster: row.name.clone(),
        cluster_region: row.region.clone(),
    })
}

/// Puts what needs no vault into the row. The capacity was looked at before.
fn apply(row: &mut ClusterRow, ask: &ClusterAsk, now_ms: i64) -> Result<(), ControlError> {
    if let Some(capacity) = ask.sku_capacity.filter(|capacity| *capacity != row.sku_capacity) {
        (row.sku_capacity, row.sku_ms) = (capacity, now_ms);
    }
    if let Some(billing) = ask.billing {
        row.billing = billing;
    }
    if let Some(tags) = &ask.tags {
        let text = serde_json::to_string(tags).unwrap_or_default();
        if text.len() > TAGS_MAX || tags.values().any(|value| !value.is_string()) {
            return Err(ControlError::Invalid { what: "tags", why: "names and texts, 16 KiB in all, are allowed" });
        }
        row.tags = text;
    }
    Ok(())
}

fn same_key(key: &ClusterKeyRow, kek: &KekRef) -> bool {
    key.vault_uri.eq_ignore_ascii_case(&vault_uri(kek)) && key.name.eq_ignore_ascii_case(&kek.key_name) && key.version == kek.key_version
}

/// Letters, digits, inner hyphens.
fn is_name(name: &str, min: usize) -> bool {
    (min..=NAME_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Azure's clients write regions as `West Europe` and `westeurope`.
pub(crate) fn region_name(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase()
}

pub(crate) fn is_region(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

pub(crate) fn rfc3339(unix_ms: i64) -> String {
    DateTime::from_timestamp_millis(unix_ms).map_or_else(|| unix_ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}
