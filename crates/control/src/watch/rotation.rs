//! Following the customer's key to newer versions; for a pinned one, being ready for them.

use std::sync::Arc;
use std::time::Duration;

use strongroom_keys::provider::{KekRef, KeyFacts, KeyVault};
use strongroom_keys::state::{KeyState, Moment};

use super::{Watch, Watched, identity};
use crate::ControlError;

/// How often a vault is asked what there is to know of a pinned key, its versions among it.
const PINNED_EVERY: Duration = Duration::from_mins(1);
/// And of one that is followed, whose newest version is asked for at every poll: its dates may have changed.
const FOLLOWED_EVERY: Duration = Duration::from_mins(10);
/// Newer versions of a pinned key that records wait under: the newest of them.
const STANDBYS_MAX: usize = 8;

impl Watch {
    /// After a good poll: a key that is not pinned is followed to its newest version, by wrapping the AEKs once more; for one
    /// that is pinned, records under a newer version are put beside the live ones. Data and guards are not touched.
    pub(super) async fn follow(&self, watched: &Arc<Watched>, kek: &KekRef, vault: &dyn KeyVault) {
        match &kek.key_version {
            None => self.follow_newest(watched, kek, vault).await,
            Some(pinned) => self.be_ready(watched, kek, pinned, vault).await,
        }
    }

    async fn follow_newest(&self, watched: &Arc<Watched>, kek: &KekRef, vault: &dyn KeyVault) {
        let newest = match vault.newest().await {
            Ok(newest) => newest,
            Err(error) => {
                tracing::debug!(cluster = %watched.cluster, code = error.vault_code(), "the vault did not tell the key's newest version");
                return;
            }
        };
        let known = watched.facts.lock().as_ref().is_some_and(|facts| facts.newest == newest);
        if !known || self.is_due(watched, FOLLOWED_EVERY) {
            self.learn(watched, vault).await;
        }
        match self.deps.keys.rewrap(watched.account, vault, vault, &kek.key_uri(), &newest).await {
            Ok(0) => {}
            Ok(keys) => tracing::info!(cluster = %watched.cluster, version = newest, keys, "the key's newer version is in use"),
            Err(error) => tracing::warn!(
                cluster = %watched.cluster, version = newest, code = error.code(),
                "the key's newer version is not in use yet, the one before still is"
            ),
        }
    }

    /// A pinned key stays with its version until the cluster is updated. A record of each AEK under every newer one that is enabled
    /// waits for that: once the pinned version is disabled nobody could make it any more.
    async fn be_ready(&self, watched: &Arc<Watched>, kek: &KekRef, pinned: &str, vault: &dyn KeyVault) {
        if watched.machine.lock().state() != KeyState::Active || !self.is_due(watched, PINNED_EVERY) {
            return;
        }
        let Some(facts) = self.learn(watched, vault).await else { return };
        if !self.deps.standby_wrap {
            return;
        }
        let mut newer = facts.newer_enabled;
        if !facts.versions_listed && facts.newest != pinned {
            // Nobody told of those between.
            newer.push(facts.newest);
        }
        for version in newer.iter().rev().take(STANDBYS_MAX) {
            match self.make_ready(watched, kek, vault, version).await {
                Ok(0) => {}
                Ok(keys) => {
                    tracing::info!(cluster = %watched.cluster, version, keys, "the key's newer version may be moved to at any time");
                }
                // Disabled by now, say, or not yet valid: it cannot be moved to either.
                Err(error) => {
                    tracing::debug!(cluster = %watched.cluster, version, code = error.code(), "the key's newer version cannot be used");
                }
            }
        }
    }

    async fn make_ready(&self, watched: &Watched, kek: &KekRef, vault: &dyn KeyVault, version: &str) -> Result<usize, ControlError> {
        let row = self.deps.catalog.cluster_get(watched.cluster).await?;
        let row = row.ok_or(ControlError::Damaged { what: "a watched cluster" })?;
        let next = KekRef { key_version: Some(version.to_owned()), ..kek.clone() };
        let to = self.deps.vaults.client(&next, identity(&self.deps.keys, &row)?).await?;
        Ok(self.deps.keys.stand_by(watched.account, vault, to.as_ref(), version).await?)
    }

    /// Asks the vault what there is to know of the key.
    async fn learn(&self, watched: &Watched, vault: &dyn KeyVault) -> Option<KeyFacts> {
        *watched.learned.lock() = Some(Moment::now(&self.deps.world).boot);
        match vault.facts().await {
            Ok(facts) => {
                *watched.facts.lock() = Some(facts.clone());
                Some(facts)
            }
            Err(error) => {
                tracing::debug!(cluster = %watched.cluster, code = error.vault_code(), "the vault did not tell about the key");
                None
            }
        }
    }

    fn is_due(&self, watched: &Watched, every: Duration) -> bool {
        let now = self.deps.world.clock.boot();
        watched.learned.lock().is_none_or(|at| now.since(at) >= every)
    }
}
