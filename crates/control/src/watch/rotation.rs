//! Following the customer's key to newer versions, and to other keys.

use std::sync::Arc;

use strongroom_keys::provider::{KekRef, KeyVault};

use super::{Watch, Watched};

impl Watch {
    /// After a good poll: asks for the key's newest version. A key that is not pinned is followed to its newest one, by wrapping the
    /// AEKs once more; data and guards are not touched.
    pub(super) async fn follow(&self, watched: &Arc<Watched>, kek: &KekRef, vault: &dyn KeyVault) {
        if kek.key_version.is_some() {
            return;
        }
        let newest = match vault.newest().await {
            Ok(newest) => newest,
            Err(error) => {
                tracing::debug!(cluster = %watched.cluster, code = error.vault_code(), "the vault did not tell the key's newest version");
                return;
            }
        };
        let known = watched.facts.lock().as_ref().is_some_and(|facts| facts.newest == newest);
        if !known && let Ok(facts) = vault.facts().await {
            *watched.facts.lock() = Some(facts);
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
}
