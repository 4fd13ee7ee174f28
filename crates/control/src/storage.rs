//! `Microsoft.Storage/storageAccounts`: reference objects. They tell of a store that lies elsewhere and is a customer's: where it is, which
//! region and kind it is of, and under whose key saved content is that goes there: the provider's, a cluster's, or a key of its own. An own
//! key is watched as a cluster's is, by the same machine: behind it stands a row of clusters that is in no list of them.

mod links;

use std::sync::Arc;

use strongroom_catalog::{
    Billing, Catalog, CatalogError, ClusterKeyRow, ClusterRow, ClusterState, IdentityType, StorageAccountRow, UserIdentityRow,
};
use strongroom_keys::provider::KekRef;
use strongroom_model::ObjectId;
use strongroom_world::World;
use tokio::sync::watch;

use crate::contents::{Contents, Progress, Stores};
use crate::desk::{KeyDesk, KeyStatus};
use crate::{ControlConfig, ControlError, KeyProperties, Place, Refusal, Rules};
pub use links::{LinkedStorage, StorageLink};

/// The provider of Azure's that storage accounts are of.
const PROVIDER: &str = "Microsoft.Storage";
/// Storage accounts that may be registered.
const ACCOUNTS_MAX: usize = 1_000;
const TAGS_MAX: usize = 16 << 10;
/// What may be linked; other kinds are known, and refused there.
pub(crate) const STORAGE_V2: &str = "StorageV2";
const KINDS: [&str; 5] = [STORAGE_V2, "Storage", "BlobStorage", "BlockBlobStorage", "FileStorage"];
const SKU: &str = "Standard_LRS";

/// Under whose key an account's content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageKey {
    /// The provider's.
    Provider,
    /// The key of the cluster at this path.
    Cluster(String),
    /// A key of its own, which the user-assigned identity at this path may use.
    Own(KeyProperties, String),
}

/// What is told of a storage account. Absent members stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorageAsk {
    /// The region.
    pub region: Option<String>,
    /// `StorageV2`, unless it is another kind.
    pub kind: Option<String>,
    /// How it is kept, in Azure's words.
    pub sku: Option<String>,
    /// The tags, as a whole.
    pub tags: Option<serde_json::Map<String, serde_json::Value>>,
    /// Where its objects lie; without one, in a directory of this server's own.
    pub url: Option<String>,
    /// Whose key.
    pub key: Option<StorageKey>,
}

/// What a storage account's page shows.
#[derive(Clone, Debug)]
pub struct StorageView {
    /// The account.
    pub row: StorageAccountRow,
    /// Whose key it is under; `None`: the provider's.
    pub holder: Option<ClusterRow>,
    /// The identity that an own key is used with.
    pub identity: Option<Place>,
    /// How that key stands.
    pub key: KeyStatus,
    /// How far its content is under that key.
    pub progress: Progress,
}

/// The storage accounts of a catalog, and the links to them.
#[derive(Debug)]
pub struct Storages {
    world: World,
    catalog: Catalog,
    desk: Arc<dyn KeyDesk>,
    contents: Arc<Contents>,
    stores: Arc<dyn Stores>,
    config: ControlConfig,
    rules: Rules,
    /// One account changes at a time: each change asks a vault at most.
    turn: tokio::sync::Mutex<()>,
}

impl Place {
    /// Where a storage account lies.
    #[must_use]
    pub fn of_storage(row: &StorageAccountRow) -> Self {
        Self { subscription: row.subscription.clone(), resource_group: row.resource_group.clone(), name: row.name.clone() }
    }

    /// The path of a storage account there.
    #[must_use]
    pub fn storage_path(&self) -> String {
        let Self { subscription, resource_group, name } = self;
        format!("/subscriptions/{subscription}/resourceGroups/{resource_group}/providers/{PROVIDER}/storageAccounts/{name}")
    }

    /// Reads the path of a storage account; case of the fixed parts does not count.
    #[must_use]
    pub fn read_storage_path(path: &str) -> Option<Self> {
        Self::read(path, PROVIDER, "storageAccounts")
    }
}

impl Storages {
    /// The storage accounts of a catalog.
    #[must_use]
    pub fn new(
        world: World,
        catalog: Catalog,
        desk: Arc<dyn KeyDesk>,
        contents: Arc<Contents>,
        stores: Arc<dyn Stores>,
        config: ControlConfig,
        rules: Rules,
    ) -> Arc<Self> {
        Arc::new(Self { world, catalog, desk, contents, stores, config, rules, turn: tokio::sync::Mutex::default() })
    }

    /// Registers a storage account, or changes the one that is there. Another key seals anew, in the background, what lies in it.
    ///
    /// # Errors
    /// [`ControlError::Invalid`], [`ControlError::Conflict`], [`ControlError::TooMany`]; a [`Refusal`] of the key, and then nothing has
    /// changed.
    pub async fn put(self: &Arc<Self>, place: &Place, ask: StorageAsk) -> Result<StorageAccountRow, ControlError> {
        let (this, place) = (Arc::clone(self), place.clone());
        // A task of its own: nobody who stops waiting leaves it half done.
        crate::clusters::whole(async move { this.put_whole(&place, ask).await }).await
    }

    async fn put_whole(&self, place: &Place, ask: StorageAsk) -> Result<StorageAccountRow, ControlError> {
        let _turn = self.turn.lock().await;
        self.retire_holders().await?;
        let now_ms = self.world.clock.wall().unix_ms();
        let there = self.find(place).await?;
        let new = there.is_none();
        let mut row = match there {
            Some(row) => row,
            None => self.fresh(place, &ask, now_ms).await?,
        };
        if let Some(region) = ask.region.as_deref().map(region_of)
            && region != row.region
        {
            return Err(ControlError::Invalid { what: "location", why: "a storage account can't be moved to another region" });
        }
        if let Some(url) = &ask.url
            && Some(self.stores.check(url).await?) != row.url
        {
            return Err(ControlError::Invalid { what: "properties.backingUrl", why: "where an account's objects lie can't be changed" });
        }
        if let Some(kind) = &ask.kind {
            let known = KINDS.iter().find(|known| known.eq_ignore_ascii_case(kind));
            row.kind = (*known.ok_or(ControlError::Invalid { what: "kind", why: "StorageV2, or another kind that Azure has" })?).to_owned();
        }
        if let Some(sku) = ask.sku {
            short("sku.name", &sku)?;
            row.sku = sku;
        }
        if let Some(tags) = ask.tags {
            row.tags = serde_json::Value::from(tags).to_string();
            if row.tags.len() > TAGS_MAX {
                return Err(ControlError::Invalid { what: "tags", why: "16 KiB in all are allowed" });
            }
        }
        row.changed_ms = now_ms;
        if new && let Some(url) = &row.url {
            // Found out now, and not when the first entry is to go there.
            drop(self.stores.open(row.id, Some(url)).await?);
        }
        let before = (row.holder, row.own);
        if let Some(key) = &ask.key {
            self.take_key(&mut row, key).await?;
        }
        self.catalog.storage_account_put(&row).await.map_err(|error| match error {
            CatalogError::Conflict { why: "the cluster is deleted", .. } => ControlError::Conflict { why: "the cluster is deleted" },
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "this store is registered under another name" },
            other => other.into(),
        })?;
        if (row.holder, row.own) != before {
            self.contents.key_changed();
        }
        tracing::info!(storage = %row.id, new, "storage account registered");
        Ok(row)
    }

    async fn fresh(&self, place: &Place, ask: &StorageAsk, now_ms: i64) -> Result<StorageAccountRow, ControlError> {
        place.check()?;
        let name = &place.name;
        if !(3..=24).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
            return Err(ControlError::Invalid { what: "name", why: "3 to 24 lower-case letters and digits are allowed" });
        }
        let region = ask.region.as_deref().ok_or(ControlError::Invalid { what: "location", why: "a region is needed" })?;
        short("location", region)?;
        if self.catalog.storage_accounts().await?.len() >= ACCOUNTS_MAX {
            return Err(ControlError::TooMany { what: "storage accounts", max: ACCOUNTS_MAX });
        }
        let url = match &ask.url {
            Some(url) => Some(self.stores.check(url).await?),
            None => None,
        };
        if let Some(url) = &url {
            let within =
                |a: &str, b: &str| a.strip_prefix(b.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let others = self.catalog.storage_accounts().await?;
            if others.iter().filter_map(|row| row.url.as_deref()).any(|other| within(url, other) || within(other, url)) {
                return Err(ControlError::Conflict { why: "another storage account has its objects there" });
            }
        }
        Ok(StorageAccountRow {
            id: self.mint(),
            name: name.clone(),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            region: region_of(region),
            kind: STORAGE_V2.to_owned(),
            sku: SKU.to_owned(),
            tags: "{}".to_owned(),
            url,
            holder: None,
            own: false,
            created_ms: now_ms,
            changed_ms: now_ms,
        })
    }

    /// Brings an account under a key: afterwards its row names who holds it. Refused, it is under the key it had.
    async fn take_key(&self, row: &mut StorageAccountRow, key: &StorageKey) -> Result<(), ControlError> {
        match key {
            StorageKey::Provider => (row.holder, row.own) = (None, false),
            StorageKey::Cluster(path) => {
                let place = Place::read_cluster_path(path).ok_or(ControlError::Invalid {
                    what: "properties.encryption.cluster",
                    why: "the resource id of a cluster is expected",
                })?;
                let cluster = self.catalog.cluster_by_name(&place.subscription, &place.resource_group, &place.name).await?;
                let cluster = cluster.ok_or(Refusal::ClusterAbsent { soft: self.rules.cluster_recover })?;
                if cluster.state != ClusterState::Succeeded || cluster.account.is_none() {
                    return Err(Refusal::ClusterNotReady { name: cluster.name, state: cluster.state.to_string() }.into());
                }
                if cluster.region != row.region {
                    return Err(ControlError::Invalid { what: "location", why: "a storage account lies in the region of its cluster" });
                }
                (row.holder, row.own) = (Some(cluster.id), false);
            }
            StorageKey::Own(key, identity) => self.take_own_key(row, key, identity).await?,
        }
        Ok(())
    }

    async fn take_own_key(&self, row: &mut StorageAccountRow, key: &KeyProperties, identity: &str) -> Result<(), ControlError> {
        let kek = key.kek()?;
        let user = self.identity(identity).await?;
        self.check_vault(row, &kek).await?;
        let there = if row.own { row.holder } else { None };
        let (mut holder, new) = match there {
            Some(id) => (self.catalog.cluster_get(id).await?.ok_or(ControlError::Damaged { what: "the key of a storage account" })?, false),
            None => (self.holder(row), true),
        };
        let same = holder.key.as_ref().is_some_and(|known| *known == key_row(&kek, known.rsa_bits));
        if same && holder.user_identity == Some(user.id) {
            return Ok(());
        }
        if !new && holder.user_identity != Some(user.id) {
            if !same {
                return Err(Refusal::IdentityWithKey.into());
            }
            let shown = ClusterRow { identity: Some(self.desk.lend_identity(holder.id, &user).await?), ..holder.clone() };
            self.desk.show_identity(&shown).await?;
            holder = ClusterRow { user_identity: Some(user.id), ..shown };
            self.catalog.cluster_update(&holder).await?;
            return Ok(());
        }
        holder.identity = Some(self.desk.lend_identity(holder.id, &user).await?);
        holder.user_identity = Some(user.id);
        // Before anything is written: a client learns at once what is wrong with the key.
        let facts = self.desk.probe(&holder, &kek).await?;
        if new {
            self.catalog.key_holder_insert(&holder).await?;
        }
        let set = async {
            if new {
                holder.account = Some(self.desk.open_account(holder.id, &row.region, true).await?);
                self.catalog.cluster_update(&holder).await?;
            }
            fail::fail_point!("storage.key", |_| Err(ControlError::Conflict { why: "a failpoint" }));
            self.desk.set_key(&holder, kek.clone()).await?;
            holder.key = Some(key_row(&kek, Some(facts.rsa_bits).filter(|bits| *bits > 0)));
            holder.modified_ms = self.world.clock.wall().unix_ms();
            self.catalog.cluster_update(&holder).await?;
            Ok::<_, ControlError>(())
        };
        if let Err(error) = set.await {
            if new {
                // Nothing was ever under it.
                self.catalog.cluster_delete(holder.id, self.world.clock.wall().unix_ms()).await?;
            }
            return Err(error);
        }
        (row.holder, row.own) = (Some(holder.id), true);
        Ok(())
    }

    /// What is to hold an account's own key. Its name is no cluster's, which have no spaces.
    fn holder(&self, row: &StorageAccountRow) -> ClusterRow {
        let now_ms = self.world.clock.wall().unix_ms();
        let id = self.mint();
        ClusterRow {
            id,
            name: format!("of storage account {}", row.name),
            subscription: row.subscription.clone(),
            resource_group: row.resource_group.clone(),
            region: row.region.clone(),
            account: None,
            state: ClusterState::Succeeded,
            identity_type: IdentityType::UserAssigned,
            identity: None,
            user_identity: None,
            sku_name: String::new(),
            sku_capacity: 0,
            billing: Billing::Cluster,
            double: true,
            tags: "{}".to_owned(),
            key: None,
            created_ms: now_ms,
            modified_ms: now_ms,
            deleted_ms: None,
            sku_ms: now_ms,
        }
    }

    async fn identity(&self, path: &str) -> Result<UserIdentityRow, ControlError> {
        let place = Place::read(path, "Microsoft.ManagedIdentity", "userAssignedIdentities").ok_or(ControlError::Invalid {
            what: "properties.encryption.identity.userAssignedIdentity",
            why: "the resource id of a user-assigned identity is needed: with it the key is used",
        })?;
        let found = self.catalog.user_identity_by_name(&place.subscription, &place.resource_group, &place.name).await?;
        found.ok_or_else(|| ControlError::NotFound { what: "user-assigned identity", name: place.name })
    }

    /// A vault that the control plane was told of, in the region and tenant of the account.
    async fn check_vault(&self, row: &StorageAccountRow, kek: &KekRef) -> Result<(), ControlError> {
        let uri = crate::vault_uri(kek);
        let vault = self.catalog.vault_ref_by_uri(&uri).await?.ok_or(Refusal::VaultUnknown { uri })?;
        if !vault.region.eq_ignore_ascii_case(&row.region) {
            return Err(ControlError::Invalid { what: "location", why: "a storage account lies in the region of its key's vault" });
        }
        if let Some(own) = self.config.tenant()?
            && vault.tenant.parse() != Ok(own)
        {
            return Err(Refusal::TenantMismatch { vault: vault.name, tenant: vault.tenant, own: own.to_string() }.into());
        }
        if vault.private_link {
            return Err(Refusal::PrivateLinkNeedsSystem { vault: vault.name }.into());
        }
        Ok(())
    }

    async fn find(&self, place: &Place) -> Result<Option<StorageAccountRow>, ControlError> {
        Ok(self.catalog.storage_account_by_name(&place.subscription, &place.resource_group, &place.name).await?)
    }

    /// One storage account.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn get(&self, place: &Place) -> Result<StorageAccountRow, ControlError> {
        self.find(place).await?.ok_or_else(|| ControlError::NotFound { what: "storage account", name: place.name.clone() })
    }

    /// The storage accounts of a subscription, or of one of its resource groups, by name.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, subscription: &str, group: Option<&str>) -> Result<Vec<StorageAccountRow>, ControlError> {
        let mut all = self.catalog.storage_accounts().await?;
        all.retain(|row| {
            row.subscription.eq_ignore_ascii_case(subscription) && group.is_none_or(|name| row.resource_group.eq_ignore_ascii_case(name))
        });
        Ok(all)
    }

    /// A storage account with its key and how far its content is under that.
    ///
    /// # Errors
    /// What catalog and keys say.
    pub async fn view(&self, row: StorageAccountRow) -> Result<StorageView, ControlError> {
        let holder = match row.holder {
            Some(holder) => self.catalog.cluster_get(holder).await?,
            None => None,
        };
        let (mut key, mut identity) = (KeyStatus::default(), None);
        if let Some(holder) = &holder {
            key = self.desk.status(holder).await?;
            if let Some(user) = holder.user_identity.filter(|_| row.own) {
                identity = self.catalog.user_identity(user).await?.as_ref().map(Place::of_identity);
            }
        }
        let account = self.contents.account_of(&row).await?;
        let progress = self.contents.progress_in(row.id, account).await?;
        Ok(StorageView { row, holder, identity, key, progress })
    }

    /// Forgets a storage account; whether it was known. Its store is not touched, nor may anything of ours lie there.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] while a workspace is linked to it, or saved content lies in it.
    pub async fn delete(&self, place: &Place) -> Result<bool, ControlError> {
        let _turn = self.turn.lock().await;
        let Some(row) = self.find(place).await? else { return Ok(false) };
        self.catalog.storage_account_delete(row.id, self.world.clock.wall().unix_ms()).await.map_err(|error| match error {
            CatalogError::Conflict { why, .. } => ControlError::Conflict { why },
            other => other.into(),
        })
    }

    /// Lets go of own keys that no account is under any more, once nothing is sealed under them: they end as a deleted cluster's do.
    async fn retire_holders(&self) -> Result<(), ControlError> {
        for holder in self.catalog.key_holders().await? {
            if holder.deleted_ms.is_some() || !self.catalog.storage_accounts_of(holder.id).await?.is_empty() {
                continue;
            }
            let mut held = false;
            if let Some(account) = holder.account {
                for aek in self.catalog.aeks(account).await? {
                    held |= !self.catalog.contents_under(aek.aek).await?.is_empty();
                }
            }
            if !held {
                self.catalog.cluster_delete(holder.id, self.world.clock.wall().unix_ms()).await?;
                tracing::info!(holder = %holder.id, "a key that no storage account is under is let go of");
            }
        }
        Ok(())
    }

    /// Keeps at what could not be done at once: after a start, while a key or a store is away.
    pub async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        loop {
            if self.contents.settle_rest().await {
                let _turn = self.turn.lock().await;
                if let Err(error) = self.retire_holders().await {
                    tracing::warn!(code = error.code(), "keys that no storage account is under were not let go of yet");
                }
            }
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = self.contents.due() => {}
            }
        }
    }

    fn mint(&self) -> ObjectId {
        let (ms, random) = self.world.id_seed();
        ObjectId::mint(ms, random)
    }
}

fn key_row(kek: &KekRef, rsa_bits: Option<u32>) -> ClusterKeyRow {
    ClusterKeyRow { vault_uri: crate::vault_uri(kek), name: kek.key_name.clone(), version: kek.key_version.clone(), rsa_bits }
}

fn region_of(text: &str) -> String {
    text.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase()
}

fn short(what: &'static str, text: &str) -> Result<(), ControlError> {
    if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
        return Err(ControlError::Invalid { what, why: "1 to 128 bytes without control characters are allowed" });
    }
    Ok(())
}
