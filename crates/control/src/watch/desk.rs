//! The desk: what clusters ask of keys. Every call may be repeated after a crash.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_catalog::{ClusterRow, UserIdentityRow};
use strongroom_envelope::WrappedAek;
use strongroom_keys::Standing;
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::provider::{KekRef, KeyFacts, KeyVault};
use strongroom_keys::state::{KeyState, Moment};
use strongroom_model::{AccountId, AekId, ObjectId, WorkspaceId};

use super::{Unflushed, Watch, Watched, identity, opened};
use crate::ControlError;
use crate::Refusal;
use crate::audit::{Event, acting, actor, name};
use crate::desk::{AekStatus, IdentityParts, KekStatus, KeyDesk, KeyStatus, RewriteStep};

/// The desk over a watch.
#[derive(Clone, Debug)]
pub struct Desk(pub Arc<Watch>);

#[async_trait]
impl KeyDesk for Desk {
    async fn open_account(&self, cluster: ObjectId, region: &str, double: bool) -> Result<AccountId, ControlError> {
        Ok(self.0.deps.keys.open_account(region, cluster, double).await?)
    }

    async fn new_identity(&self, cluster: ObjectId) -> Result<IdentityParts, ControlError> {
        let deps = &self.0.deps;
        let rng = deps.world.rng.as_ref();
        let identity = ClusterIdentity::generate(rng).map_err(|_| ControlError::Damaged { what: "the generator of identities" })?;
        let identity = match deps.tenant {
            Some(tenant) => identity.in_tenant(tenant),
            None => identity,
        };
        self.0.sealed(cluster, &identity)
    }

    async fn lend_identity(&self, cluster: ObjectId, user: &UserIdentityRow) -> Result<IdentityParts, ControlError> {
        self.0.sealed(cluster, &opened(&self.0.deps.keys, user.id, &user.identity)?)
    }

    async fn probe_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.0.try_identity(cluster).await.map(drop)
    }

    async fn show_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.0.show_identity(cluster).await
    }

    async fn remove_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.0.remove_identity(cluster).await;
        Ok(())
    }

    async fn restore_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        self.0.restore_identity(cluster).await
    }

    async fn probe(&self, cluster: &ClusterRow, kek: &KekRef) -> Result<KeyFacts, ControlError> {
        let facts = self.0.deps.vaults.validate(kek, identity(&self.0.deps.keys, cluster)?).await?;
        if let Some(watched) = self.0.of(cluster.id)
            && watched.vault.read().0 == *kek
        {
            *watched.facts.lock() = Some(facts.clone());
        }
        Ok(facts)
    }

    async fn set_key(&self, cluster: &ClusterRow, kek: KekRef) -> Result<KeyFacts, ControlError> {
        // A task of its own: nobody who stops waiting leaves it half done. Each call of the vault has a bound.
        let (watch, cluster) = (Arc::clone(&self.0), cluster.clone());
        let set = tokio::spawn(acting(actor(), async move { watch.set_key_told(&cluster, kek).await }));
        set.await.unwrap_or(Err(ControlError::Damaged { what: "the task that sets a key" }))
    }

    async fn link(&self, workspace: WorkspaceId, cluster: &ClusterRow) -> Result<(), ControlError> {
        let deps = &self.0.deps;
        let account = cluster.account.ok_or(ControlError::Damaged { what: "a cluster without an account" })?;
        if let Some(Standing::Shut(why, since_ms)) = deps.keys.standing(account) {
            return Err(strongroom_keys::KeyError::Shut { cluster: cluster.name.clone(), why, since_ms }.into());
        }
        self.0.relocate(workspace, account, Some(cluster.id)).await
    }

    async fn relink(&self, workspace: WorkspaceId, cluster: &ClusterRow) -> Result<(), ControlError> {
        let account = cluster.account.ok_or(ControlError::Damaged { what: "a cluster without an account" })?;
        self.0.relocate(workspace, account, Some(cluster.id)).await
    }

    async fn unlink(&self, workspace: WorkspaceId) -> Result<(), ControlError> {
        self.0.relocate(workspace, self.0.deps.keys.shared_account(), None).await
    }

    fn unflushed(&self, account: AccountId) -> Unflushed {
        self.0.deps.still.unflushed(account)
    }

    async fn close_cluster(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        let Some(account) = cluster.account else { return Ok(()) };
        // The watch goes on: what is under the key stays readable for who may read it, while the name is reserved.
        self.0.deps.still.flush_account(account).await.map_err(|code| {
            tracing::warn!(cluster = %cluster.id, code, "rows of a cluster that is to be deleted could not be written as blocks");
            ControlError::Conflict {
                why: "the cluster has rows that could not be written as blocks yet; give its key back, then delete it",
            }
        })
    }

    async fn status(&self, cluster: &ClusterRow) -> Result<KeyStatus, ControlError> {
        self.0.status(cluster).await
    }

    async fn release(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        // A task of its own, as for setting a key.
        let (watch, cluster) = (Arc::clone(&self.0), cluster.clone());
        let released = tokio::spawn(acting(actor(), async move { watch.release(&cluster).await }));
        released.await.unwrap_or(Err(ControlError::Damaged { what: "the task that releases a key" }))
    }

    async fn begin_epoch(&self, cluster: &ClusterRow, old: &[AekId]) -> Result<(), ControlError> {
        // A task of its own: nobody who stops waiting leaves it half done.
        let (watch, cluster, old) = (Arc::clone(&self.0), cluster.clone(), old.to_vec());
        let begun = tokio::spawn(acting(actor(), async move { watch.begin_epoch(&cluster, &old).await }));
        begun.await.unwrap_or(Err(ControlError::Damaged { what: "the task that begins an epoch" }))
    }

    async fn rekey_step(&self, cluster: &ClusterRow, old: &[AekId]) -> Result<RewriteStep, ControlError> {
        self.0.rekey_step(cluster, old).await
    }

    async fn reencrypt_step(&self, cluster: &ClusterRow, workspace: WorkspaceId) -> Result<RewriteStep, ControlError> {
        self.0.reencrypt_step(cluster, workspace).await
    }
}

impl Watch {
    async fn set_key_told(self: &Arc<Self>, cluster: &ClusterRow, kek: KekRef) -> Result<KeyFacts, ControlError> {
        let (uri, pinned) = (kek.key_uri(), kek.key_version.clone());
        let set = self.set_key(cluster, kek).await;
        let event = Event::new(if set.is_ok() { name::KEY_SET } else { name::KEY_REFUSED }).cluster(cluster.id).with("keyUri", uri);
        let event = match &set {
            Ok(facts) => event.with("keyVersion", facts.used.as_str()).with("pinned", pinned.is_some()).with("rsaBits", facts.rsa_bits),
            Err(error) => event.code(error.code()).with("pinned", pinned),
        };
        self.deps.audit.note(if let Some(account) = cluster.account { event.account(account) } else { event });
        set
    }

    async fn set_key(self: &Arc<Self>, cluster: &ClusterRow, kek: KekRef) -> Result<KeyFacts, ControlError> {
        let account = cluster.account.ok_or(ControlError::Damaged { what: "a cluster without an account" })?;
        let identity = identity(&self.deps.keys, cluster)?;
        let facts = self.deps.vaults.validate(&kek, Arc::clone(&identity)).await?;
        let client = self.deps.vaults.client(&kek, identity).await?;
        let first = self.deps.keys.customer_records(account).await?.is_empty();
        let watched = if let Some(watched) = self.of(cluster.id) {
            if watched.machine.lock().state() == KeyState::Quarantined {
                return Err(ControlError::Conflict { why: "the cluster's key is in quarantine: release it first" });
            }
            watched
        } else {
            self.take_up(cluster, account, kek.clone(), Arc::clone(&client), first).await?
        };
        let begun = {
            let _alone = watched.busy.lock().await;
            let wrapped = self.wrap_under(&watched, &kek, &client, &facts).await;
            if wrapped.is_ok() {
                fail::fail_point!("link.key_set");
                *watched.vault.write() = (kek, client);
                watched.version.lock().clone_from(&facts.used);
                watched.ledger.set(&facts.used);
                *watched.facts.lock() = Some(facts.clone());
                // A version that is newer than the one set now is looked for at the next poll.
                *watched.learned.lock() = None;
            } else if first && self.deps.keys.customer_records(account).await?.is_empty() {
                // Nothing is under the key: the cluster is as it was before.
                self.watched.write().remove(&cluster.id);
            }
            self.recount(&watched).await?;
            wrapped?
        };
        // What follows from the key being there is for a real unwrap to say, as at any other time.
        self.turn(&watched, true).await;
        self.settle(&watched).await;
        if !watched.spawned.swap(true, Ordering::AcqRel) {
            self.spawn(Arc::clone(&watched));
        }
        watched.wake.notify_one();
        if begun {
            self.cross(cluster).await?;
        }
        Ok(facts)
    }

    /// A new epoch reigns: done once no request can still take the old one.
    pub(super) async fn cross(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        for workspace in self.deps.catalog.workspaces_linked(cluster.id).await? {
            drop(self.deps.still.still(workspace.id).await);
            self.deps.still.flush(workspace.id);
        }
        Ok(())
    }

    /// Wraps what the account has under a key, and starts an epoch if it is another key than before. Whether it did.
    async fn wrap_under(
        &self,
        watched: &Watched,
        kek: &KekRef,
        client: &Arc<dyn KeyVault>,
        facts: &KeyFacts,
    ) -> Result<bool, ControlError> {
        let (keys, account, lease) = (&self.deps.keys, watched.account, self.config.lease);
        let records = keys.customer_records(account).await?;
        let uri = kek.key_uri();
        if records.is_empty() {
            keys.begin_customer_epoch(account, watched.cluster, client.as_ref(), lease).await.map_err(key_refused)?;
            return Ok(true);
        }
        let (_, from) = watched.vault.read().clone();
        if records.iter().any(|record| record.key_uri == uri) {
            let rewrapped = keys.rewrap(account, from.as_ref(), client.as_ref(), &uri, &facts.used).await;
            rewrapped.map_err(|error| version_refused(error, &records, &facts.used))?;
            return Ok(false);
        }
        keys.supersede(account, watched.cluster, from.as_ref(), client.as_ref(), lease).await.map_err(key_refused)?;
        Ok(true)
    }

    /// Reads anew which epochs the account has under the customer's key.
    pub(super) async fn recount(&self, watched: &Watched) -> Result<(), ControlError> {
        *watched.epochs.lock() = self.deps.keys.customer_epochs(watched.account).await?;
        Ok(())
    }

    async fn relocate(&self, workspace: WorkspaceId, account: AccountId, cluster: Option<ObjectId>) -> Result<(), ControlError> {
        let still = self.deps.still.still(workspace).await;
        fail::fail_point!("link.barrier");
        let link = cluster.map(|cluster| (cluster, self.deps.world.clock.wall().unix_ms()));
        self.deps.catalog.workspace_move(workspace, account, link).await?;
        fail::fail_point!("link.moved");
        drop(still);
        tracing::info!(%workspace, %account, linked = cluster.is_some(), "workspace moved");
        self.deps.still.flush(workspace);
        Ok(())
    }

    async fn status(&self, cluster: &ClusterRow) -> Result<KeyStatus, ControlError> {
        let Some(account) = cluster.account else { return Ok(KeyStatus::default()) };
        let rows = self.deps.catalog.aeks(account).await?;
        let waiting = self.deps.keys.standbys(account).await?;
        let standby = |aek| waiting.iter().filter(|(of, _)| *of == aek).map(|(_, version)| version.clone()).collect();
        let mut aeks: Vec<AekStatus> = rows
            .iter()
            .map(|row| {
                let record = WrappedAek::from_bytes(&row.record).map_err(|_| ControlError::Damaged { what: "a key record" })?;
                Ok(AekStatus {
                    id: row.aek,
                    class: row.class,
                    generation: row.generation,
                    current: row.current,
                    created_ms: row.created_ms,
                    wrapped_by: record.key_uri,
                    wrapped_version: record.key_version,
                    standby: standby(row.aek),
                })
            })
            .collect::<Result<_, ControlError>>()?;
        aeks.sort_by_key(|aek| aek.created_ms);
        let infrastructure_key = self.deps.catalog.infrastructure_get(account).await?.is_some();
        let Some(watched) = self.of(cluster.id) else {
            return Ok(KeyStatus { aeks, infrastructure_key, ..KeyStatus::default() });
        };
        let now = Moment::now(&self.deps.world);
        let (kek, _) = watched.vault.read().clone();
        let facts = watched.facts.lock().clone();
        let machine = watched.machine.lock();
        let lease_left =
            machine.lease_until().filter(|_| machine.state() != KeyState::Revoked).map(|until| until.since(now.boot).as_secs());
        Ok(KeyStatus {
            state: machine.state().as_str().to_owned(),
            since_ms: Some(machine.since().wall.unix_ms()),
            code: Some(machine.code().to_owned()),
            last_good_ms: machine.last_good().map(|good| good.wall.unix_ms()),
            lease_left_s: lease_left,
            kek: Some(KekStatus {
                vault_uri: kek.vault_uri.to_string(),
                key_name: kek.key_name.clone(),
                pinned_version: kek.key_version.clone(),
                expired: facts.as_ref().is_some_and(|facts| facts.expires_ms.is_some_and(|at| at <= now.wall.unix_ms())),
                facts,
            }),
            aeks,
            infrastructure_key,
            evidence: evidence(&watched),
        })
    }
}

/// What the last taking away did: step and microseconds.
fn evidence(watched: &Watched) -> Vec<(String, u64)> {
    let micros = |took: &Duration| u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    watched.evidence.lock().iter().map(|(step, took)| ((*step).to_owned(), micros(took))).collect()
}

pub(super) fn not_valid(problem: &str, why: &str) -> ControlError {
    Refusal::KeyNotValid { problem: problem.to_owned(), why: why.to_owned() }.into()
}

/// The new version is in order, and what the old one wrapped did not open: what would help is told.
fn version_refused(error: strongroom_keys::KeyError, records: &[WrappedAek], next: &str) -> ControlError {
    let strongroom_keys::KeyError::Vault(strongroom_keys::provider::VaultError::Denied { code }) = &error else {
        return key_refused(error);
    };
    let mut old: Vec<&str> = records.iter().map(|record| record.key_version.as_str()).filter(|version| *version != next).collect();
    old.sort_unstable();
    old.dedup();
    let old = old.join(", ");
    let why = format!(
        "the cluster's keys are wrapped by version {old}, which the vault refuses ({code}), and none waits under version {next}: enable \
         version {old} again, update the cluster to version {next}, and disable the old one then"
    );
    not_valid("PreviousVersionUnusable", &why)
}

/// A vault that validated and then did not do what was asked.
pub(super) fn key_refused(error: strongroom_keys::KeyError) -> ControlError {
    match error {
        strongroom_keys::KeyError::Vault(error) => not_valid(error.vault_code(), &error.to_string()),
        other => other.into(),
    }
}
