//! The ring of guards: one per epoch, shared by all who ask.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use strongroom_catalog::{AccountRow, AekRow, Catalog, SecretRow};
use strongroom_envelope::{Aek, KeyGuard, Mmk, RecordIds, WorkspaceSecret, WrappedAek, open_workspace_secret, seal_workspace_secret};
use strongroom_model::{AccountId, AekId, Epoch, ObjectId, PrincipalId, WorkspaceId};
use strongroom_world::{BootTime, World};

use crate::KeyError;
use crate::provider::{KeyVault, MmkVault, VaultError};
use crate::records::{Generations, RecordCopies};

/// The region of the account that the first start creates.
const REGION: &str = "local";

/// What a guard is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To seal new rows: makes the workspace's secret if there is none yet.
    Ingest,
    /// To open rows for somebody who asks.
    Query,
    /// To flush, compact and verify.
    Maintain,
}

/// Makes and keeps guards.
pub struct KeyRing {
    world: World,
    catalog: Catalog,
    copies: RecordCopies,
    mmk: Arc<Mmk>,
    /// By the name that records carry.
    vaults: HashMap<&'static str, Arc<dyn KeyVault>>,
    shared: AccountId,
    generations: Generations,
    /// As many as there are epochs.
    guards: RwLock<HashMap<Epoch, KeyGuard>>,
    /// Which AEK reigns; this ring alone makes AEKs, so it need not ask the catalog each time.
    reigning: Mutex<HashMap<AccountId, Epoch>>,
    /// Held while a record is unwrapped or a secret made, so that many askers cause one call.
    loading: tokio::sync::Mutex<()>,
}

impl KeyRing {
    /// Opens the ring; at first start it creates the shared account and its first AEK. Every AEK's record has a copy beside the
    /// data (`keys/{account}/{aek}`) when this returns, and the shared account's reigning AEK has been unwrapped.
    ///
    /// # Errors
    /// [`KeyError::Stale`] if a copy beside the data is newer than the catalog's record; [`KeyError::Vault`] if the MMK is not
    /// the one that wrapped the records; [`KeyError::Catalog`], [`KeyError::Objects`].
    pub async fn open(world: World, catalog: Catalog, objects: Arc<dyn ObjectStore>, mmk: Arc<Mmk>) -> Result<Arc<Self>, KeyError> {
        let vault: Arc<dyn KeyVault> = Arc::new(MmkVault::new(Arc::clone(&mmk), world.clone()));
        let shared = shared_account(&world, &catalog).await?;
        let ring = Self {
            copies: RecordCopies::new(objects),
            vaults: HashMap::from([(vault.provider(), Arc::clone(&vault))]),
            generations: Generations::default(),
            guards: RwLock::default(),
            reigning: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            world,
            catalog,
            mmk,
            shared,
        };
        if ring.catalog.aek_current(shared).await?.is_none() {
            ring.create_aek(shared, vault.as_ref()).await?;
        }
        for account in ring.catalog.accounts().await? {
            for row in ring.catalog.aeks(account.id).await? {
                ring.copies.reconcile(&ring.admit(&row)?).await?;
            }
        }
        // A wrong root key is found out now, not by the first request.
        ring.epoch_guard(ring.write_epoch(shared).await?).await?;
        Ok(Arc::new(ring))
    }

    /// The account of workspaces that are linked to no cluster.
    #[must_use]
    pub fn shared_account(&self) -> AccountId {
        self.shared
    }

    /// The epoch that new rows of an account are sealed under.
    ///
    /// # Errors
    /// [`KeyError::NoAccount`], [`KeyError::Catalog`].
    pub async fn write_epoch(&self, account: AccountId) -> Result<Epoch, KeyError> {
        if let Some(epoch) = self.reigning.lock().get(&account) {
            return Ok(*epoch);
        }
        let row = self.catalog.aek_current(account).await?.ok_or(KeyError::NoAccount { account })?;
        let epoch = Epoch { account, aek: row.aek };
        self.reigning.lock().insert(account, epoch);
        Ok(epoch)
    }

    /// The guard of an epoch with a workspace's keys in it. `principal` is on whose behalf.
    ///
    /// # Errors
    /// [`KeyError::NoSecret`] if nothing of this workspace was ever sealed in this epoch (never for [`Purpose::Ingest`], which
    /// makes the secret), else as [`KeyRing::epoch_guard`].
    pub async fn guard(
        &self,
        epoch: Epoch,
        workspace: WorkspaceId,
        principal: PrincipalId,
        purpose: Purpose,
    ) -> Result<KeyGuard, KeyError> {
        let guard = self.epoch_guard(epoch).await?;
        if guard.has_workspace(workspace) {
            return Ok(guard);
        }
        let _alone = self.loading.lock().await;
        if guard.has_workspace(workspace) {
            return Ok(guard);
        }
        let row = match self.catalog.workspace_secret(workspace, epoch.aek).await? {
            Some(row) => row,
            None if purpose == Purpose::Ingest => self.create_secret(&guard, workspace).await?,
            None => return Err(KeyError::NoSecret { epoch, workspace }),
        };
        let secret = open_workspace_secret(&guard, self.now(), workspace, row.row, &row.cell)?;
        guard.install_workspace(workspace, secret);
        tracing::debug!(%workspace, aek = %epoch.aek, %principal, ?purpose, "workspace keys loaded");
        Ok(guard)
    }

    /// The guard of an epoch, with whatever workspaces are in it already: enough to replay a WAL.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], [`KeyError::WrongRecord`], [`KeyError::Stale`] for a record that is missing, of another key or put
    /// back; [`KeyError::Vault`] if it does not unwrap; [`KeyError::Guard`] once the guard's lease has ended or it was killed.
    pub async fn epoch_guard(&self, epoch: Epoch) -> Result<KeyGuard, KeyError> {
        if let Some(guard) = self.kept(epoch)? {
            return Ok(guard);
        }
        let _alone = self.loading.lock().await;
        if let Some(guard) = self.kept(epoch)? {
            return Ok(guard);
        }
        let guard = self.unwrap(epoch).await?;
        self.guards.write().insert(epoch, guard.clone());
        Ok(guard)
    }

    /// Every epoch there is, of all accounts, oldest first within each.
    ///
    /// # Errors
    /// [`KeyError::Catalog`].
    pub async fn epochs(&self) -> Result<Vec<Epoch>, KeyError> {
        let mut epochs = Vec::new();
        for account in self.catalog.accounts().await? {
            let aeks = self.catalog.aeks(account.id).await?;
            epochs.extend(aeks.iter().map(|row| Epoch { account: account.id, aek: row.aek }));
        }
        Ok(epochs)
    }

    /// The provider's root key.
    #[must_use]
    pub fn mmk(&self) -> &Arc<Mmk> {
        &self.mmk
    }

    fn now(&self) -> BootTime {
        self.world.clock.boot()
    }

    fn kept(&self, epoch: Epoch) -> Result<Option<KeyGuard>, KeyError> {
        let guard = self.guards.read().get(&epoch).cloned();
        if let Some(guard) = &guard {
            guard.check(self.now())?;
        }
        Ok(guard)
    }

    async fn unwrap(&self, epoch: Epoch) -> Result<KeyGuard, KeyError> {
        let row = self.catalog.aek(epoch.aek).await?.ok_or(KeyError::NoKey { epoch })?;
        if row.account != epoch.account {
            return Err(KeyError::WrongRecord { aek: epoch.aek });
        }
        let record = self.admit(&row)?;
        let vault = self.vaults.get(record.provider.as_str()).filter(|vault| vault.class() == row.class);
        let vault = vault.ok_or_else(|| VaultError::UnknownProvider { aek: epoch.aek, provider: record.provider.clone() })?;
        // The lease counts from before the call: an answer that took its time gives none of it back.
        let asked = self.now();
        let aek = vault.unwrap_key(&record).await?;
        metrics::counter!("keys_unwraps_total", "provider" => vault.provider()).increment(1);
        let deadline = vault.lease().map_or(BootTime::NEVER, |lease| asked.after(lease));
        tracing::info!(aek = %epoch.aek, account = %epoch.account, class = vault.class().as_str(), "key unwrapped");
        // The shared account has one layer: no infrastructure key.
        Ok(KeyGuard::new(epoch, vault.class(), aek, None, deadline))
    }

    /// The record of a row, if it is that row's and no older one put back.
    fn admit(&self, row: &AekRow) -> Result<WrappedAek, KeyError> {
        let record = WrappedAek::from_bytes(&row.record)?;
        if record.ids.aek != row.aek || record.ids.account != row.account || record.ids.generation != row.generation {
            return Err(KeyError::WrongRecord { aek: row.aek });
        }
        self.generations.admit(&record.ids)?;
        Ok(record)
    }

    async fn create_aek(&self, account: AccountId, vault: &dyn KeyVault) -> Result<(), KeyError> {
        let generation = self.catalog.aeks(account).await?.last().map_or(1, |row| row.generation + 1);
        let (ms, random) = self.world.id_seed();
        let aek = Aek::generate(AekId::mint(ms, random), self.world.rng.as_ref());
        let ids = RecordIds { cluster: ObjectId::NIL, account, aek: aek.id(), generation };
        let record = vault.wrap_key(&aek, &ids).await?;
        self.catalog
            .aek_insert(&AekRow {
                aek: aek.id(),
                account,
                class: vault.class(),
                generation,
                record: record.to_bytes(),
                current: true,
                created_ms: self.world.clock.wall().unix_ms(),
            })
            .await?;
        tracing::info!(aek = %aek.id(), %account, generation, "key created");
        Ok(())
    }

    /// Makes a workspace's secret; of two made at once the catalog keeps the first, and both makers use that one.
    async fn create_secret(&self, guard: &KeyGuard, workspace: WorkspaceId) -> Result<SecretRow, KeyError> {
        let rng = self.world.rng.as_ref();
        let (ms, random) = self.world.id_seed();
        let row = ObjectId::mint(ms, random);
        let cell = seal_workspace_secret(guard, self.now(), rng, workspace, row, &WorkspaceSecret::generate(rng))?;
        Ok(self.catalog.workspace_secret_insert(workspace, guard.epoch().aek, &SecretRow { row, cell }).await?)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("shared", &self.shared).finish_non_exhaustive()
    }
}

async fn shared_account(world: &World, catalog: &Catalog) -> Result<AccountId, KeyError> {
    if let Some(account) = catalog.accounts().await?.iter().find(|account| account.cluster.is_none()) {
        return Ok(account.id);
    }
    let (ms, random) = world.id_seed();
    let id = AccountId::mint(ms, random);
    catalog.account_insert(&AccountRow { id, region: REGION.to_owned(), cluster: None }).await?;
    tracing::info!(account = %id, "shared account created");
    Ok(id)
}

#[cfg(test)]
mod tests;
