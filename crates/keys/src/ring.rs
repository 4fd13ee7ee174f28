//! The ring of guards: one per epoch, shared by all who ask.
//!
//! Guards of the customer's epochs are made, renewed and killed by the key watch alone (`customers.rs`): nobody else's request
//! ever causes a call to a vault, so its pace is the watch's.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use object_store::ObjectStore;
use parking_lot::{Mutex, RwLock};
use strongroom_catalog::{AccountRow, AekRow, Catalog, SecretRow};
use strongroom_envelope::{
    Aek, BufferKey, InfrastructureKey, KeyGuard, Mmk, RecordIds, WorkspaceSecret, WrappedAek, open_workspace_secret, seal_workspace_secret,
};
use strongroom_model::{AccountId, AekId, Epoch, KeyClass, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_world::{BootTime, World};

use crate::KeyError;
use crate::gate::{Gate, Pass, Standing};
use crate::provider::{KeyVault, MmkVault, VaultError};
use crate::records::{Generations, Ledger, NoLedger, RecordCopies};
use crate::warrant::{Judge, Verdict, Warrant};

mod buffers;
mod customers;
mod proof;
mod shred;
mod standby;
mod stock;

pub use customers::Polled;

/// The region of the account that the first start creates.
const REGION: &str = "local";

/// What the server asks a guard for on its own. To read for somebody takes a [`Warrant`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To seal new rows: makes the workspace's secret if there is none yet.
    Ingest,
    /// To flush, compact and verify.
    Maintain,
}

/// Makes and keeps guards.
pub struct KeyRing {
    world: World,
    catalog: Catalog,
    copies: RecordCopies,
    mmk: Arc<Mmk>,
    /// The vault of MMK epochs.
    provider: MmkVault,
    shared: AccountId,
    generations: Generations,
    ledger: Arc<dyn Ledger>,
    /// Accounts of clusters with a record that is not the right one.
    distrusted: Mutex<HashSet<AccountId>>,
    /// One per account with a customer's key.
    gates: RwLock<HashMap<AccountId, Arc<Gate>>>,
    /// As many as there are epochs.
    guards: RwLock<HashMap<Epoch, KeyGuard>>,
    /// Which AEK reigns; this ring alone makes AEKs, so it need not ask the catalog each time.
    reigning: Mutex<HashMap<AccountId, Epoch>>,
    /// What rows are sealed to while a customer's key is away. As many as there are epochs.
    buffer_keys: Mutex<HashMap<Epoch, BufferKey>>,
    /// Held while a record is unwrapped or a secret made, so that many askers cause one call.
    loading: tokio::sync::Mutex<()>,
    /// Who says what may be read. Without one there are no callers to tell apart: tests, offline commands.
    judge: OnceLock<Arc<dyn Judge>>,
}

impl KeyRing {
    /// Opens the ring; at first start it creates the shared account and its first AEK. Every AEK's record has a copy beside the
    /// data (`keys/{account}/{aek}`) when this returns, and the shared account's reigning AEK has been unwrapped. A cluster's
    /// record that is not the right one shuts that cluster's gate ([`Shut::Quarantined`](crate::Shut)) and nobody else's.
    ///
    /// # Errors
    /// [`KeyError::Stale`] if a copy beside the data is newer than the catalog's record, for the shared account; [`KeyError::Vault`]
    /// if the MMK is not the one that wrapped the records; [`KeyError::Catalog`], [`KeyError::Objects`].
    pub async fn open(world: World, catalog: Catalog, objects: Arc<dyn ObjectStore>, mmk: Arc<Mmk>) -> Result<Arc<Self>, KeyError> {
        Self::open_with(world, catalog, objects, mmk, Arc::new(NoLedger)).await
    }

    /// As [`open`](Self::open), going by a ledger: a record older than what that remembers is refused.
    ///
    /// # Errors
    /// As there.
    pub async fn open_with(
        world: World,
        catalog: Catalog,
        objects: Arc<dyn ObjectStore>,
        mmk: Arc<Mmk>,
        ledger: Arc<dyn Ledger>,
    ) -> Result<Arc<Self>, KeyError> {
        let shared = shared_account(&world, &catalog).await?;
        let known = ledger.highest();
        let ring = Self {
            copies: RecordCopies::new(objects),
            provider: MmkVault::new(Arc::clone(&mmk), world.clone()),
            generations: Generations::above(known.clone()),
            ledger,
            distrusted: Mutex::default(),
            gates: RwLock::default(),
            guards: RwLock::default(),
            reigning: Mutex::default(),
            buffer_keys: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            judge: OnceLock::new(),
            world,
            catalog,
            mmk,
            shared,
        };
        if ring.catalog.aek_current(shared).await?.is_none() {
            ring.create_provider_aek(shared, ObjectId::NIL).await?;
        }
        for account in ring.catalog.accounts().await? {
            ring.take_stock(&account, &known).await?;
        }
        // What was replaced just before a stop is erased now.
        ring.catalog.scrub().await?;
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

    /// Leave to use an account's data: at once, or when a denial that is being looked into turned out to be none.
    ///
    /// # Errors
    /// [`KeyError::Shut`].
    pub async fn pass(&self, account: AccountId) -> Result<Pass, KeyError> {
        let gate = self.gates.read().get(&account).cloned();
        match gate {
            None => Ok(Pass::free(account)),
            Some(gate) => Pass::through(gate, &self.world).await,
        }
    }

    /// Whom to ask before anybody reads. The first one stays.
    pub fn obey(&self, judge: Arc<dyn Judge>) {
        if self.judge.set(judge).is_err() {
            tracing::warn!("a second judge was not taken");
        }
    }

    /// Leave for a principal to read a table's rows.
    ///
    /// # Errors
    /// [`KeyError::NotAllowed`]; [`KeyError::Catalog`].
    pub async fn warrant(&self, principal: PrincipalId, workspace: WorkspaceId, table: TableId) -> Result<Warrant, KeyError> {
        let approval = match self.judge.get() {
            None => None,
            Some(judge) => match judge.judge(principal, workspace, table).await? {
                Verdict::Own => None,
                Verdict::Until(approval) => Some(approval),
            },
        };
        Ok(Warrant { principal, workspace, table, approval })
    }

    /// The guard of an epoch for reading what the warrant allows.
    ///
    /// # Errors
    /// [`KeyError::ApprovalOver`], else as [`KeyRing::guard`].
    pub async fn guard_for(&self, epoch: Epoch, warrant: &Warrant) -> Result<KeyGuard, KeyError> {
        warrant.check(self.now())?;
        let guard = self.with_workspace(epoch, warrant.workspace, false).await?;
        tracing::trace!(workspace = %warrant.workspace, principal = %warrant.principal, aek = %epoch.aek, "keys given to read");
        Ok(guard)
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
        // Work in the background does not wait while a denial is looked into: others wait for it.
        if purpose == Purpose::Maintain && self.standing(epoch.account) == Some(Standing::Held) {
            return Err(KeyError::NotLoaded { epoch });
        }
        let guard = self.with_workspace(epoch, workspace, purpose == Purpose::Ingest).await?;
        tracing::trace!(%workspace, %principal, ?purpose, aek = %epoch.aek, "keys given");
        Ok(guard)
    }

    async fn with_workspace(&self, epoch: Epoch, workspace: WorkspaceId, make: bool) -> Result<KeyGuard, KeyError> {
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
            None if make => self.create_secret(&guard, workspace).await?,
            None => return Err(KeyError::NoSecret { epoch, workspace }),
        };
        let secret = open_workspace_secret(&guard, self.now(), workspace, row.row, &row.cell)?;
        guard.install_workspace(workspace, secret);
        tracing::debug!(%workspace, aek = %epoch.aek, "workspace keys loaded");
        Ok(guard)
    }

    /// The guard of an epoch, with whatever workspaces are in it already: enough to replay a WAL.
    ///
    /// # Errors
    /// [`KeyError::NoKey`], [`KeyError::WrongRecord`], [`KeyError::Stale`] for a record that is missing, of another key or put
    /// back; [`KeyError::Vault`] if it does not unwrap; [`KeyError::Guard`] once the guard's lease has ended or it was killed;
    /// [`KeyError::Shut`] and [`KeyError::NotLoaded`] for an epoch of a customer's key.
    pub async fn epoch_guard(&self, epoch: Epoch) -> Result<KeyGuard, KeyError> {
        if let Some(guard) = self.kept(epoch)? {
            if guard.class() == KeyClass::Cmk {
                self.pass(epoch.account).await?;
            }
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
        if row.class == KeyClass::Cmk {
            // Not waited for: this is asked under the lock that all loading takes.
            let gate = self.gates.read().get(&epoch.account).cloned();
            return Err(match gate.as_ref().map(|gate| (gate, gate.standing())) {
                Some((gate, Standing::Shut(why, since_ms))) => gate.error(why, since_ms),
                _ => KeyError::NotLoaded { epoch },
            });
        }
        let record = self.admit(&row)?;
        let known = self.provider.provider() == record.provider;
        let aek = if known { self.provider.unwrap_key(&record).await? } else { return Err(unknown_provider(&record).into()) };
        metrics::counter!("keys_unwraps_total", "provider" => self.provider.provider()).increment(1);
        tracing::info!(aek = %epoch.aek, account = %epoch.account, class = row.class.as_str(), "key unwrapped");
        Ok(KeyGuard::new(epoch, row.class, aek, self.infrastructure(epoch.account).await?, BootTime::NEVER))
    }

    /// The key of an account's outer layer; `None` if it has one layer, as the shared account has.
    async fn infrastructure(&self, account: AccountId) -> Result<Option<InfrastructureKey>, KeyError> {
        let row = self.catalog.infrastructure_get(account).await?;
        Ok(row.map(|row| self.mmk.unwrap_infrastructure_key(account, &row.cell)).transpose()?)
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

    /// A new reigning AEK under the provider's root key.
    async fn create_provider_aek(&self, account: AccountId, cluster: ObjectId) -> Result<Epoch, KeyError> {
        let (aek, ids) = self.mint_aek(account, cluster).await?;
        let record = self.provider.wrap_key(&aek, &ids).await?;
        self.keep_aek(&record, KeyClass::Mmk).await?;
        Ok(Epoch { account, aek: ids.aek })
    }

    /// A new AEK, of the next generation of its account.
    async fn mint_aek(&self, account: AccountId, cluster: ObjectId) -> Result<(Aek, RecordIds), KeyError> {
        let generation = self.next_generation(account).await?;
        let (ms, random) = self.world.id_seed();
        let aek = Aek::generate(AekId::mint(ms, random), self.world.rng.as_ref());
        let ids = RecordIds { cluster, account, aek: aek.id(), generation };
        Ok((aek, ids))
    }

    /// Keeps a new AEK's record; the AEK reigns from then on.
    async fn keep_aek(&self, record: &WrappedAek, class: KeyClass) -> Result<(), KeyError> {
        let RecordIds { account, aek, generation, .. } = record.ids;
        let created_ms = self.world.clock.wall().unix_ms();
        let epoch = Epoch { account, aek };
        let row = AekRow { aek, account, class, generation, record: record.to_bytes(), current: true, created_ms };
        if let Err(error) = self.catalog.aek_insert(&row).await
            && !self.reigns(epoch).await
        {
            return Err(error.into());
        }
        self.reigning.lock().insert(account, epoch);
        self.kept_record(record).await;
        tracing::info!(%aek, %account, generation, class = class.as_str(), "key created");
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

fn unknown_provider(record: &WrappedAek) -> VaultError {
    VaultError::UnknownProvider { aek: record.ids.aek, provider: record.provider.clone() }
}

#[cfg(test)]
mod tests;
