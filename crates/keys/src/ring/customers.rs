//! Epochs of a customer's key: made, polled, killed and brought back by the key watch.

use std::sync::Arc;
use std::time::Duration;

use strongroom_catalog::{AccountRow, AekRow, InfrastructureRow};
use strongroom_envelope::{Aek, InfrastructureKey, KeyGuard, RecordIds, WrappedAek};
use strongroom_model::{AccountId, AekId, Epoch, KeyClass, ObjectId};
use strongroom_world::BootTime;

use super::KeyRing;
use crate::KeyError;
use crate::gate::{Gate, Standing};
use crate::provider::KeyVault;

/// What a poll that the vault answered well found.
#[derive(Debug)]
pub struct Polled {
    /// Epochs whose guard came back with this poll: their log is to be read again.
    pub returned: Vec<KeyGuard>,
    /// The version that the record which was unwrapped was wrapped under.
    pub version: String,
}

impl KeyRing {
    /// Makes a cluster's account: infrastructure key if it is to have two layers, and a first AEK under the provider's root key.
    ///
    /// # Errors
    /// [`KeyError::Catalog`], [`KeyError::Objects`].
    pub async fn open_account(&self, region: &str, cluster: ObjectId, double: bool) -> Result<AccountId, KeyError> {
        // A half-made one of the same cluster is taken up again.
        let name = cluster.to_string();
        let found = self.catalog.accounts().await?.into_iter().find(|row| row.cluster.as_deref() == Some(&name));
        let account = if let Some(row) = found {
            row.id
        } else {
            let (ms, random) = self.world.id_seed();
            let id = AccountId::mint(ms, random);
            self.catalog.account_insert(&AccountRow { id, region: region.to_owned(), cluster: Some(name) }).await?;
            id
        };
        if self.catalog.aek_current(account).await?.is_none() {
            if double && self.catalog.infrastructure_get(account).await?.is_none() {
                let key = InfrastructureKey::generate(self.world.rng.as_ref());
                let cell = self.mmk.wrap_infrastructure_key(self.world.rng.as_ref(), account, &key);
                // Of two made at once the first is kept; the copy follows it.
                let kept = self.catalog.infrastructure_put(&InfrastructureRow { account, cell }).await?;
                self.copies.keep_infrastructure(account, &kept.cell).await?;
            }
            self.create_provider_aek(account, cluster).await?;
        }
        Ok(account)
    }

    /// The gate of an account, made if there is none.
    pub fn gate(&self, account: AccountId, cluster: ObjectId, name: &str, standing: Standing) -> Arc<Gate> {
        Arc::clone(self.gates.write().entry(account).or_insert_with(|| Gate::new(account, cluster, name, standing)))
    }

    /// What an account's gate says; `None` if it has none.
    #[must_use]
    pub fn standing(&self, account: AccountId) -> Option<Standing> {
        self.gates.read().get(&account).map(|gate| gate.standing())
    }

    /// The cluster whose key an account hangs on; `None` if it has no gate.
    #[must_use]
    pub fn cluster_of(&self, account: AccountId) -> Option<ObjectId> {
        self.gates.read().get(&account).map(|gate| gate.cluster())
    }

    /// The records of an account's AEKs that a customer's key wraps, oldest first.
    ///
    /// # Errors
    /// [`KeyError::Catalog`], [`KeyError::WrongRecord`], [`KeyError::Stale`].
    pub async fn customer_records(&self, account: AccountId) -> Result<Vec<WrappedAek>, KeyError> {
        let rows = self.catalog.aeks(account).await?;
        rows.iter().filter(|row| row.class == KeyClass::Cmk).map(|row| self.admit(row)).collect()
    }

    /// Starts an epoch under the customer's key: a new AEK, wrapped, unwrapped again to be sure, then reigning.
    ///
    /// # Errors
    /// [`KeyError::Vault`] if the vault does not wrap, or does not unwrap what it wrapped; [`KeyError::Catalog`],
    /// [`KeyError::Objects`].
    pub async fn begin_customer_epoch(
        &self,
        account: AccountId,
        cluster: ObjectId,
        vault: &dyn KeyVault,
        lease: Duration,
    ) -> Result<Epoch, KeyError> {
        let (aek, ids) = self.mint_aek(account, cluster).await?;
        let asked = self.now();
        let record = wrapped(&aek, ids, vault).await?;
        let epoch = Epoch { account, aek: ids.aek };
        self.prove_buffer_key(epoch, &aek).await?;
        let guard = KeyGuard::new(epoch, KeyClass::Cmk, aek, self.infrastructure(account).await?, asked.after(lease));
        // Before anybody can learn of the epoch.
        self.guards.write().insert(epoch, guard);
        if let Err(error) = self.keep_aek(&record, KeyClass::Cmk).await {
            if let Some(guard) = self.guards.write().remove(&epoch) {
                guard.kill();
            }
            return Err(error);
        }
        Ok(epoch)
    }

    /// One real unwrap, its check value verified, for each version of the key that AEKs of the account are wrapped under (one,
    /// but for a rotation that came half-way), of the AEK whose `turn` it is; then every guard of the account holds until the lease
    /// counted from before the calls. AEKs without a guard are unwrapped too. One AEK denied is the account denied.
    ///
    /// # Errors
    /// [`KeyError::Vault`] as the vault answered, and then no guard was made or renewed; [`KeyError::NoKey`] if the account has
    /// no AEK of this class.
    pub async fn poll(&self, account: AccountId, vault: &dyn KeyVault, turn: usize, lease: Duration) -> Result<Polled, KeyError> {
        let mut records = self.customer_records(account).await?;
        if records.is_empty() {
            return Err(KeyError::NoKey { epoch: Epoch { account, aek: AekId::NIL } });
        }
        let first = turn % records.len();
        records.rotate_left(first);
        let asked = self.now();
        let mut versions: Vec<(&str, &str)> = Vec::new();
        let mut unwrapped = Vec::new();
        for record in &records {
            let epoch = Epoch { account, aek: record.ids.aek };
            let version = (record.key_uri.as_str(), record.key_version.as_str());
            let guarded = self.guards.read().contains_key(&epoch);
            if guarded && versions.contains(&version) {
                continue;
            }
            versions.push(version);
            let aek = vault.unwrap_key(record).await?;
            metrics::counter!("keys_unwraps_total", "provider" => vault.provider()).increment(1);
            self.prove_buffer_key(epoch, &aek).await?;
            if !guarded {
                unwrapped.push((epoch, aek));
            }
        }
        let deadline = asked.after(lease);
        let mut returned = Vec::with_capacity(unwrapped.len());
        for (epoch, aek) in unwrapped {
            returned.push(KeyGuard::new(epoch, KeyClass::Cmk, aek, self.infrastructure(account).await?, deadline));
        }
        // All or none: a guard that is there and was not told of would have no log behind it.
        for guard in &returned {
            self.guards.write().insert(guard.epoch(), guard.clone());
            tracing::info!(aek = %guard.epoch().aek, %account, class = "CMK", "key unwrapped");
        }
        self.renew(account, deadline);
        Ok(Polled { returned, version: records[0].key_version.clone() })
    }

    /// Kills the guards of an account's customer epochs, wiping their keys for all holders. Which they were.
    pub fn kill(&self, account: AccountId) -> Vec<Epoch> {
        let mut killed = Vec::new();
        self.guards.write().retain(|epoch, guard| {
            let keep = epoch.account != account || guard.class() != KeyClass::Cmk;
            if !keep {
                guard.kill();
                killed.push(*epoch);
            }
            keep
        });
        killed
    }

    /// Moves the deadline of every guard of an account's customer epochs.
    pub fn renew(&self, account: AccountId, deadline: BootTime) {
        for guard in self.customer_guards(account) {
            guard.renew(deadline);
        }
    }

    /// The guards of an account's customer epochs that are there.
    #[must_use]
    pub fn customer_guards(&self, account: AccountId) -> Vec<KeyGuard> {
        let guards = self.guards.read();
        guards
            .iter()
            .filter(|(epoch, guard)| epoch.account == account && guard.class() == KeyClass::Cmk)
            .map(|(_, guard)| guard.clone())
            .collect()
    }

    /// Wraps every customer AEK of an account that is not under `version` of the key at `uri` once more with `to`, which keeps
    /// that key; each is proved by an unwrap before its old record goes. An AEK comes from its live record by `from`, or, if one
    /// waits for this version, from that by `to`: then `from` need not work any more. No data is touched, no guard changes. How many.
    ///
    /// # Errors
    /// [`KeyError::Vault`] as either vault answered: if an AEK could not be had, nothing changed; if one could not be wrapped, AEKs
    /// done so far stay done and the others keep their record.
    pub async fn rewrap(
        &self,
        account: AccountId,
        from: &dyn KeyVault,
        to: &dyn KeyVault,
        uri: &str,
        version: &str,
    ) -> Result<usize, KeyError> {
        let mut had = Vec::new();
        for row in self.customer_rows(account).await? {
            let old = self.admit(&row)?;
            if old.key_uri == uri && old.key_version == version {
                continue;
            }
            let aek = match self.waiting_for(&old, to, version).await {
                Ok(Some(aek)) => aek,
                Ok(None) => from.unwrap_key(&old).await?,
                Err(error) => {
                    tracing::warn!(aek = %row.aek, code = error.code(), "a waiting key record did not open, the live one is used");
                    from.unwrap_key(&old).await?
                }
            };
            had.push((row, aek));
        }
        let done = had.len();
        for (row, aek) in had {
            let generation = self.next_generation(account).await?;
            let ids = RecordIds { generation, ..self.admit(&row)?.ids };
            fail::fail_point!("rotate.wrap");
            let record = wrapped(&aek, ids, to).await?;
            fail::fail_point!("rotate.verify");
            self.catalog.aek_rewrap(&AekRow { generation, record: record.to_bytes(), ..row }).await?;
            fail::fail_point!("rotate.swap");
            self.kept_record(&record).await;
        }
        if done > 0 {
            self.erased(account).await;
        }
        Ok(done)
    }

    /// Puts an account under another key: every live AEK is wrapped by `to` and proved, a new one is made, and all of it is
    /// kept in one step. From then on `from` opens nothing.
    ///
    /// # Errors
    /// [`KeyError::Vault`] as either vault answered; then nothing changed.
    pub async fn supersede(
        &self,
        account: AccountId,
        cluster: ObjectId,
        from: &dyn KeyVault,
        to: &dyn KeyVault,
        lease: Duration,
    ) -> Result<Epoch, KeyError> {
        let mut generation = self.next_generation(account).await?;
        let (mut rows, mut records) = (Vec::new(), Vec::new());
        for row in self.customer_rows(account).await? {
            let old = self.admit(&row)?;
            let aek = from.unwrap_key(&old).await?;
            let record = wrapped(&aek, RecordIds { generation, ..old.ids }, to).await?;
            rows.push(AekRow { generation, record: record.to_bytes(), ..row });
            records.push(record);
            generation += 1;
        }
        let (ms, random) = self.world.id_seed();
        let aek = Aek::generate(AekId::mint(ms, random), self.world.rng.as_ref());
        let asked = self.now();
        let next = wrapped(&aek, RecordIds { cluster, account, aek: aek.id(), generation }, to).await?;
        fail::fail_point!("rotate.verify");
        let epoch = Epoch { account, aek: next.ids.aek };
        self.prove_buffer_key(epoch, &aek).await?;
        let guard = KeyGuard::new(epoch, KeyClass::Cmk, aek, self.infrastructure(account).await?, asked.after(lease));
        self.guards.write().insert(epoch, guard.clone());
        let created_ms = self.world.clock.wall().unix_ms();
        let row = AekRow { aek: epoch.aek, account, class: KeyClass::Cmk, generation, record: next.to_bytes(), current: true, created_ms };
        if let Err(error) = self.catalog.aek_supersede(&rows, &row).await
            && !self.reigns(epoch).await
        {
            self.guards.write().remove(&epoch);
            guard.kill();
            return Err(error.into());
        }
        fail::fail_point!("rotate.swap");
        self.reigning.lock().insert(account, epoch);
        for record in records.iter().chain([&next]) {
            self.kept_record(record).await;
        }
        self.erased(account).await;
        Ok(epoch)
    }

    /// Ends an epoch of a customer's key that nothing names any more: its record goes for good, beside the data first, so that a stop
    /// in between is taken up again, and with it everything that was ever sealed under it.
    ///
    /// # Errors
    /// [`KeyError::Catalog`] if it reigns or a block names it; [`KeyError::Objects`].
    pub async fn end_epoch(&self, epoch: Epoch) -> Result<(), KeyError> {
        let left = self.catalog.leftovers(epoch.aek).await?;
        if left != strongroom_catalog::Leftovers::default() || self.reigns(epoch).await {
            return Err(strongroom_catalog::CatalogError::Conflict { what: "the end of an epoch", why: "it is in use" }.into());
        }
        self.copies.erase(epoch.account, epoch.aek).await?;
        fail::fail_point!("rekey.end");
        self.catalog.aek_end(epoch).await?;
        if let Some(guard) = self.guards.write().remove(&epoch) {
            guard.kill();
        }
        self.erased(epoch.account).await;
        tracing::info!(aek = %epoch.aek, account = %epoch.account, "key destroyed");
        Ok(())
    }

    /// After records were replaced: nothing of the old ones is left, beside the data or in the catalog's files.
    pub(super) async fn erased(&self, account: AccountId) {
        fail::fail_point!("rotate.erase");
        self.settle_standbys(account).await;
        match self.catalog.scrub().await {
            Ok(true) => {}
            Ok(false) => tracing::warn!(%account, "replaced key records stay in the catalog's journal until nobody reads an old state"),
            Err(error) => tracing::warn!(%account, code = error.code(), "replaced key records stay in the catalog's journal for now"),
        }
    }

    /// Whether an epoch is what the catalog says reigns: for a commit of which only the answer was lost.
    pub(super) async fn reigns(&self, epoch: Epoch) -> bool {
        self.catalog.aek_current(epoch.account).await.is_ok_and(|row| row.is_some_and(|row| row.aek == epoch.aek))
    }

    pub(super) async fn next_generation(&self, account: AccountId) -> Result<u64, KeyError> {
        Ok(self.catalog.aeks(account).await?.iter().map(|row| row.generation).max().unwrap_or(0) + 1)
    }

    /// After the catalog has it: the copy beside the data, and no older one from now on. What is committed is not taken back for
    /// a copy: the next start makes it.
    pub(super) async fn kept_record(&self, record: &WrappedAek) {
        let RecordIds { account, aek, generation, .. } = record.ids;
        self.ledger.kept(record);
        let copied = match self.generations.admit(&record.ids) {
            Ok(()) => self.copies.reconcile(record).await,
            stale => stale,
        };
        match copied {
            Ok(()) => tracing::info!(%aek, %account, generation, version = record.key_version, "key record kept"),
            Err(error) => tracing::error!(%aek, %account, generation, code = error.code(), "a key record has no copy beside the data yet"),
        }
    }
}

/// Wraps an AEK and proves that the vault gives it back.
pub(super) async fn wrapped(aek: &Aek, ids: RecordIds, vault: &dyn KeyVault) -> Result<WrappedAek, KeyError> {
    let record = vault.wrap_key(aek, &ids).await?;
    drop(vault.unwrap_key(&record).await?);
    Ok(record)
}
