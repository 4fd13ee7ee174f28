//! Another identity towards a cluster's vault, none, and the return of one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_catalog::{ClusterRow, IdentityRow, IdentityType};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::provider::{KekRef, KeyVault, VaultError};
use strongroom_keys::state::Moment;
use strongroom_model::ObjectId;

use super::desk::{key_refused, not_valid};
use super::{Watch, Watched, identity};
use crate::ControlError;
use crate::audit::{Event, name};
use crate::desk::IdentityParts;

impl Watch {
    /// An identity as it is written down for a cluster, or for a row of identities.
    pub(super) fn sealed(&self, sealed_for: ObjectId, identity: &ClusterIdentity) -> Result<IdentityParts, ControlError> {
        let cell = self.deps.keys.mmk().seal_cell(self.deps.world.rng.as_ref(), sealed_for, &identity.to_secret_bytes());
        Ok(IdentityRow {
            principal: identity.principal().to_string(),
            tenant: identity.tenant().to_string(),
            public_key_pem: identity.public_key_pem().map_err(|_| ControlError::Damaged { what: "the generator of identities" })?,
            cell,
        })
    }

    /// A client of the vault in use, logged in as the identity that the row names, once that has read the key and unwrapped the
    /// reigning record. `None`: the cluster has no key.
    pub(super) async fn try_identity(&self, cluster: &ClusterRow) -> Result<Option<(KekRef, Arc<dyn KeyVault>)>, ControlError> {
        let Some(watched) = self.of(cluster.id) else { return Ok(None) };
        let (kek, _) = watched.vault.read().clone();
        let client = self.deps.vaults.client(&kek, identity(&self.deps.keys, cluster)?).await?;
        self.deps.keys.prove(watched.account, client.as_ref()).await.map_err(|error| not_granted(error, "unwrapKey"))?;
        match client.newest().await {
            Ok(_) | Err(VaultError::Unsupported { .. }) => Ok(Some((kek, client))),
            Err(error) => Err(not_granted(error.into(), "get")),
        }
    }

    /// From now on the vault is asked with that identity. Guards stay: nobody notices.
    pub(super) async fn show_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError> {
        let Some((kek, client)) = self.try_identity(cluster).await? else { return Ok(()) };
        let Some(watched) = self.of(cluster.id) else { return Ok(()) };
        let _alone = watched.busy.lock().await;
        if watched.vault.read().0 != kek {
            return Err(ControlError::Conflict { why: "the key was changed meanwhile: change the identity again" });
        }
        *watched.vault.write() = (kek, client);
        tracing::info!(cluster = %cluster.id, "the vault is asked with another identity");
        Ok(())
    }

    /// Nobody is asked and nobody is waited for: everything of the cluster is shut when this returns.
    pub(super) async fn remove_identity(self: &Arc<Self>, cluster: &ClusterRow) {
        self.deps.audit.note(Event::new(name::CLUSTER_CHANGED).cluster(cluster.id).with("identity", "None"));
        let Some(watched) = self.of(cluster.id) else { return };
        watched.removals.fetch_add(1, Ordering::AcqRel);
        watched.nameless.store(true, Ordering::Release);
        self.revoke(&watched).await;
        watched.wake.notify_one();
    }

    /// Shuts everything of a cluster that shows no identity. Whoever comes second waits until it is done.
    pub(super) async fn revoke(self: &Arc<Self>, watched: &Arc<Watched>) {
        let _alone = watched.revoking.lock().await;
        let step = watched.machine.lock().on_identity_removed(Moment::now(&self.deps.world));
        self.act(watched, step).await;
    }

    /// Looks at whose identity the cluster's row names now: another node may have taken the command. None shuts everything at once;
    /// one that is back, or another, is what the vault is asked with from this call on. Under `busy`.
    pub(super) async fn heed_row(self: &Arc<Self>, watched: &Arc<Watched>) {
        // Both before the row: whoever takes the identity away writes that down first, and a row read before says nothing of it.
        let (removals, nameless) = (watched.removals.load(Ordering::Acquire), watched.nameless.load(Ordering::Acquire));
        let row = match self.deps.catalog.cluster_get(watched.cluster).await {
            Ok(Some(row)) => row,
            // Its keys are being destroyed: whoever does that ends the watch.
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(cluster = %watched.cluster, code = error.code(), "whose identity the cluster shows could not be looked up");
                return;
            }
        };
        if row.identity_type == IdentityType::None {
            watched.nameless.store(true, Ordering::Release);
            self.revoke(watched).await;
            return;
        }
        if !nameless && *watched.principal.lock() == principal(&row) {
            return;
        }
        if let Err(error) = self.ask_as(watched, &row).await {
            tracing::warn!(cluster = %watched.cluster, code = error.code(), "the vault cannot be asked with the cluster's identity yet");
            return;
        }
        tracing::info!(cluster = %watched.cluster, "the vault is asked with the identity that the cluster shows now");
        if nameless {
            watched.nameless.store(false, Ordering::Release);
            if watched.removals.load(Ordering::Acquire) != removals {
                watched.nameless.store(true, Ordering::Release);
            }
        }
    }

    /// From the next call on the vault is asked with the identity that the row names. Under `busy`.
    async fn ask_as(&self, watched: &Watched, row: &ClusterRow) -> Result<(), ControlError> {
        let (kek, _) = watched.vault.read().clone();
        let client = self.deps.vaults.client(&kek, identity(&self.deps.keys, row)?).await?;
        *watched.vault.write() = (kek, client);
        *watched.principal.lock() = principal(row);
        Ok(())
    }

    /// The vault is asked again with the identity that the row names; what it says counts.
    pub(super) async fn restore_identity(self: &Arc<Self>, cluster: &ClusterRow) -> Result<(), ControlError> {
        let event = Event::new(name::CLUSTER_CHANGED).cluster(cluster.id).with("identity", cluster.identity_type.as_str());
        self.deps.audit.note(event.with("restored", true));
        let Some(watched) = self.of(cluster.id) else { return Ok(()) };
        {
            let _alone = watched.busy.lock().await;
            self.ask_as(&watched, cluster).await?;
            watched.nameless.store(false, Ordering::Release);
        }
        watched.wake.notify_one();
        Ok(())
    }
}

/// Whose identity a row names; nobody's, if none.
pub(super) fn principal(cluster: &ClusterRow) -> String {
    cluster.identity.as_ref().map(|identity| identity.principal.clone()).unwrap_or_default()
}

/// What a denied try of an identity means to whoever asked for it.
fn not_granted(error: strongroom_keys::KeyError, permission: &str) -> ControlError {
    match &error {
        strongroom_keys::KeyError::Vault(VaultError::Denied { code }) if !matches!(*code, "KeyDisabled" | "KeyNotFound") => not_valid(
            &format!("PermissionMissing({permission})"),
            &format!("the identity lacks the permission {permission} ({code}): grant it in the vault first, then change the cluster"),
        ),
        _ => key_refused(error),
    }
}
