//! The key watch: asks each cluster's vault for its key every few seconds, and acts on what it says.
//!
//! What follows from an answer is decided by [`strongroom_keys::state`], which is pure; here it is carried out. Taking away has one
//! order, in [`Watch::shut`]: gate, queries, guards, caches, memtables, hot cache, record. Nothing before the last two waits for
//! a disk. Bringing back is the reverse: unwrap, guards, log, gate. Each cluster has a task of its own and its own identity
//! towards the vault; the server has none.
//!
//! ```text
//! sleep ─▶ unwrapKey ─▶ Machine::on_answer ─┬─ Stay
//!                                           ├─ Suspect: gate held, confirm in 2 s
//!                                           ├─ Revoked, Held, Unavailable, Quarantined: shut
//!                                           └─ Restoring: read the log back ─▶ gate open
//! ```

mod desk;
mod identity;
mod ledger;
mod meters;
mod ports;
mod release;
mod retire;
mod rewrite;
mod rotation;
mod turn;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use strongroom_catalog::{Catalog, ClusterRow, IdentityRow, IdentityType};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::provider::{KekRef, KeyFacts, KeyVault};
use strongroom_keys::state::{KeyState, Machine, Moment, StateConfig};
use strongroom_keys::{Gate, KeyError, KeyRing, Shut, Standing};
use strongroom_model::{AccountId, Epoch, ErrorKind, ObjectId};
use strongroom_world::{BootTime, World};
use tokio::sync::{Notify, watch};

use crate::audit::Scribe;
use crate::{ControlError, RESERVED_DAYS};
pub use desk::Desk;
pub use ledger::Lost;
pub use ports::{Cut, Forget, Gone, Recall, Rewrite, Still, Unflushed, Vaults};

/// How long a start waits for logs that are being read back.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What the watch stands on.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its type")]
pub struct WatchDeps {
    pub world: World,
    pub catalog: Catalog,
    pub keys: Arc<KeyRing>,
    pub vaults: Arc<dyn Vaults>,
    pub cut: Arc<dyn Cut>,
    /// In this order, once the gate is shut and the guards are dead: query caches, memtables, hot cache.
    pub forget: Vec<Arc<dyn Forget>>,
    pub recall: Arc<dyn Recall>,
    pub still: Arc<dyn Still>,
    /// Whom what happens to keys is told.
    pub audit: Arc<dyn Scribe>,
    pub rewrite: Arc<dyn Rewrite>,
    /// Whether records under newer versions of a pinned key are put beside the live ones.
    pub standby_wrap: bool,
    /// The tenant that new identities log in to; `None`: each has one of its own.
    pub tenant: Option<uuid::Uuid>,
}

impl fmt::Debug for WatchDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchDeps").field("forget", &self.forget).finish_non_exhaustive()
    }
}

/// One cluster's key under watch.
struct Watched {
    cluster: ObjectId,
    account: AccountId,
    gate: Arc<Gate>,
    /// The vault in use and the key in it; replaced when another is set.
    vault: RwLock<(KekRef, Arc<dyn KeyVault>)>,
    machine: Mutex<Machine>,
    /// The account's epochs under the customer's key, as far as known.
    epochs: Mutex<Vec<Epoch>>,
    /// Held by whoever talks to the vault or changes the key: polls and commands do not mix.
    busy: tokio::sync::Mutex<()>,
    /// Which AEK speaks for all next.
    turn: AtomicUsize,
    wake: Notify,
    recalling: AtomicBool,
    /// Guards came back whose log is not in memory.
    recall_due: AtomicBool,
    /// Whether it has a task of its own yet.
    spawned: AtomicBool,
    /// The cluster shows no identity: its vault is not asked, and everything of it is shut.
    nameless: AtomicBool,
    /// How often a command of this node took the identity away.
    removals: AtomicUsize,
    /// Whose identity the cluster's row named when last looked at: what the vault is asked with.
    principal: Mutex<String>,
    /// Held while everything is shut for want of an identity.
    revoking: tokio::sync::Mutex<()>,
    /// A step of forgetting failed: again at the next turn.
    unfinished: AtomicBool,
    /// The version that the last good unwrap used, and what else the vault said of the key when last asked.
    version: Mutex<String>,
    facts: Mutex<Option<KeyFacts>>,
    /// When that was.
    learned: Mutex<Option<BootTime>>,
    /// What the last taking away did, step by step.
    evidence: Mutex<Vec<(&'static str, Duration)>>,
    /// Its state is not in the catalog yet.
    unwritten: AtomicBool,
    meters: meters::Meters,
    ledger: ledger::Ledger,
    stop: watch::Sender<bool>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("cluster", &self.cluster).field("state", &self.machine.lock().state()).finish_non_exhaustive()
    }
}

/// All clusters' keys under watch.
pub struct Watch {
    deps: WatchDeps,
    config: StateConfig,
    watched: RwLock<HashMap<ObjectId, Arc<Watched>>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("clusters", &self.watched.read().len()).finish_non_exhaustive()
    }
}

impl Watch {
    /// A watch over nothing yet.
    #[must_use]
    pub fn new(deps: WatchDeps, config: StateConfig) -> Arc<Self> {
        Arc::new(Self { deps, config, watched: RwLock::default() })
    }

    /// Takes every cluster with a customer's key under watch. Each vault has been asked once when this returns, or did not
    /// answer in time; whatever the catalog says of a key's state is not believed.
    ///
    /// # Errors
    /// What the catalog says; a record or identity that does not open.
    pub async fn start(self: &Arc<Self>) -> Result<(), ControlError> {
        let mut clusters = self.deps.catalog.cluster_list().await?;
        // What a deleted cluster's key holds stays readable while its name is reserved.
        let reserved_ms = self.deps.world.clock.wall().unix_ms() - i64::from(RESERVED_DAYS) * 86_400_000;
        let deleted = self.deps.catalog.cluster_list_deleted().await?;
        clusters.extend(deleted.into_iter().filter(|cluster| cluster.deleted_ms.is_some_and(|at| at > reserved_ms)));
        // Keys of storage accounts' own are watched as clusters' are.
        let holders = self.deps.catalog.key_holders().await?;
        clusters.extend(holders.into_iter().filter(|holder| holder.deleted_ms.is_none_or(|at| at > reserved_ms)));
        for cluster in clusters {
            let Some(account) = cluster.account else { continue };
            let kek = match kek_of(&self.deps.keys, &cluster, account).await {
                Ok(kek) => kek,
                // A record that was put back, or is another's: that cluster stays shut, the others are served.
                Err(error) if error.kind() == ErrorKind::Corrupt => kek_named(&cluster),
                Err(error) => return Err(error),
            };
            if let Some(kek) = kek {
                let client = self.deps.vaults.client(&kek, identity(&self.deps.keys, &cluster)?).await;
                let client = match client {
                    Ok(client) => client,
                    Err(error) => {
                        // Its data stays shut; the others are served.
                        tracing::error!(cluster = %cluster.id, code = error.code(), "no client of this cluster's vault could be made");
                        let now_ms = self.deps.world.clock.wall().unix_ms();
                        self.deps.keys.gate(account, cluster.id, &cluster.name, Standing::Shut(Shut::Unavailable, now_ms));
                        continue;
                    }
                };
                self.take_up(&cluster, account, kek, client, false).await?;
            }
        }
        let all: Vec<_> = self.watched.read().values().cloned().collect();
        let first = all.iter().map(|watched| {
            let (this, watched) = (Arc::clone(self), Arc::clone(watched));
            tokio::spawn(async move {
                this.turn(&watched, false).await;
                this.settle(&watched).await;
            })
        });
        let first: Vec<_> = first.collect();
        for task in first {
            // A panic there is that cluster's trouble: its gate stays shut.
            if task.await.is_err() {
                tracing::error!("the first poll of a vault panicked");
            }
        }
        // A log being read back is waited for, so that a restart is not seen as an outage.
        let patience = self.deps.world.clock.boot().after(START_PATIENCE);
        let restoring = |watched: &Arc<Watched>| watched.machine.lock().state() == KeyState::Restoring;
        while all.iter().any(restoring) && self.deps.world.clock.boot() < patience {
            self.deps.world.clock.sleep(Duration::from_millis(10)).await;
        }
        for watched in all {
            watched.spawned.store(true, Ordering::Release);
            self.spawn(watched);
        }
        Ok(())
    }

    /// Ends all polling. Guards run out by themselves.
    pub fn stop(&self) {
        for watched in self.watched.read().values() {
            watched.stop.send_replace(true);
        }
    }

    /// Puts a cluster under watch without asking its vault yet.
    async fn take_up(
        &self,
        cluster: &ClusterRow,
        account: AccountId,
        kek: KekRef,
        client: Arc<dyn KeyVault>,
        provisioning: bool,
    ) -> Result<Arc<Watched>, ControlError> {
        let now = Moment::now(&self.deps.world);
        // The one thing believed: it only ever forbids.
        let before = self.deps.catalog.key_state_get(cluster.id).await?;
        let written = before.is_some_and(|row| row.state == KeyState::Quarantined.as_str());
        let quarantined = written || self.deps.keys.is_distrusted(account);
        let (machine, standing) = if quarantined {
            (Machine::quarantined(self.config, now), Standing::Shut(Shut::Quarantined, now.wall.unix_ms()))
        } else if provisioning {
            (Machine::provisioning(self.config, now), Standing::Open)
        } else {
            (Machine::new(self.config, now), Standing::Shut(Shut::Unavailable, now.wall.unix_ms()))
        };
        let epochs = self.deps.keys.customer_epochs(account).await?;
        let gate = self.deps.keys.gate(account, cluster.id, &cluster.name, standing);
        if quarantined {
            // It may have been there already.
            gate.set(standing);
        }
        let watched = Arc::new(Watched {
            cluster: cluster.id,
            account,
            gate,
            vault: RwLock::new((kek, client)),
            machine: Mutex::new(machine),
            epochs: Mutex::new(epochs),
            busy: tokio::sync::Mutex::default(),
            turn: AtomicUsize::new(0),
            wake: Notify::new(),
            recalling: AtomicBool::new(false),
            recall_due: AtomicBool::new(false),
            spawned: AtomicBool::new(false),
            nameless: AtomicBool::new(cluster.identity_type == IdentityType::None),
            removals: AtomicUsize::new(0),
            principal: Mutex::new(identity::principal(cluster)),
            revoking: tokio::sync::Mutex::default(),
            unfinished: AtomicBool::new(false),
            version: Mutex::default(),
            facts: Mutex::default(),
            learned: Mutex::default(),
            evidence: Mutex::default(),
            unwritten: AtomicBool::new(quarantined && !written),
            meters: meters::Meters::default(),
            ledger: ledger::Ledger::default(),
            stop: watch::Sender::new(false),
        });
        self.watched.write().insert(cluster.id, Arc::clone(&watched));
        Ok(watched)
    }

    fn of(&self, cluster: ObjectId) -> Option<Arc<Watched>> {
        self.watched.read().get(&cluster).cloned()
    }
}

/// The key of a cluster: as its row says, unless the records beside the data say it is another (a crash came between).
async fn kek_of(keys: &KeyRing, cluster: &ClusterRow, account: AccountId) -> Result<Option<KekRef>, ControlError> {
    let records = keys.customer_records(account).await?;
    let Some(newest) = records.iter().max_by_key(|record| record.ids.generation) else { return Ok(None) };
    if let Some(kek) = kek_named(cluster).filter(|kek| kek.key_uri() == newest.key_uri) {
        return Ok(Some(kek));
    }
    KekRef::from_key_id(&newest.key_uri).map(Some).map_err(|_| ControlError::Damaged { what: "a key record's address" })
}

/// The key that a cluster's row names.
fn kek_named(cluster: &ClusterRow) -> Option<KekRef> {
    let key = cluster.key.as_ref()?;
    KekRef::new(&key.vault_uri, &key.name, key.version.as_deref()).ok()
}

fn identity(keys: &KeyRing, cluster: &ClusterRow) -> Result<Arc<ClusterIdentity>, ControlError> {
    let row = cluster.identity.as_ref().ok_or(ControlError::Damaged { what: "a cluster's identity" })?;
    opened(keys, cluster.id, row).map(Arc::new)
}

/// The identity that was sealed for a cluster, or for a row of identities.
fn opened(keys: &KeyRing, sealed_for: ObjectId, row: &IdentityRow) -> Result<ClusterIdentity, ControlError> {
    let damaged = ControlError::Damaged { what: "a cluster's identity" };
    let Ok(plain) = keys.mmk().open_cell(sealed_for, &row.cell) else { return Err(damaged) };
    let plain = zeroize::Zeroizing::new(plain);
    ClusterIdentity::from_secret_bytes(&plain).map_err(|_| damaged)
}

/// Asks every cluster's vault once, for a command that reads a stopped server's blocks and ends: no gate, no watch. Clusters whose
/// key did not come, by name, and why.
///
/// # Errors
/// What the catalog says.
pub async fn fetch_keys(
    catalog: &Catalog,
    keys: &KeyRing,
    vaults: &dyn Vaults,
    lease: Duration,
) -> Result<Vec<(String, ControlError)>, ControlError> {
    let mut missing = Vec::new();
    for cluster in catalog.cluster_list().await? {
        let Some(account) = cluster.account else { continue };
        let kek = match kek_of(keys, &cluster, account).await {
            Ok(Some(kek)) => kek,
            Ok(None) => continue,
            Err(error) => {
                missing.push((cluster.name, error));
                continue;
            }
        };
        let asked = async {
            if cluster.identity_type == IdentityType::None {
                let since_ms = cluster.modified_ms;
                return Err(KeyError::Shut { cluster: cluster.name.clone(), why: Shut::Revoked, since_ms }.into());
            }
            let before = catalog.key_state_get(cluster.id).await?;
            if let Some(row) = before.filter(|row| row.state == KeyState::Quarantined.as_str()) {
                let why = Shut::Quarantined;
                return Err(KeyError::Shut { cluster: cluster.name.clone(), why, since_ms: row.since_ms }.into());
            }
            let client = vaults.client(&kek, identity(keys, &cluster)?).await?;
            Ok::<_, ControlError>(keys.poll(account, client.as_ref(), 0, lease).await.map(drop)?)
        };
        if let Err(error) = asked.await {
            missing.push((cluster.name, error));
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests;
