//! Data under another epoch: a re-key of a cluster, and old blocks of a linked workspace brought under the customer's key.
//!
//! One step at a time, for whoever sets the pace; what a step finds in the catalog is all it goes by, so a stop between two loses
//! nothing. Nothing is done while the key is away: a step then fails and is asked for again.

use std::sync::Arc;

use strongroom_catalog::{AekRow, ClusterRow};
use strongroom_keys::Shut;
use strongroom_keys::state::KeyState;
use strongroom_model::{AekId, Epoch, KeyClass, WorkspaceId};

use super::desk::key_refused;
use super::{Gone, Watch};
use crate::ControlError;
use crate::audit::{Event, name};
use crate::desk::RewriteStep;

impl Watch {
    /// Starts an epoch under the key in use, unless one has started since the cluster's AEKs were `old`.
    pub(super) async fn begin_epoch(self: &Arc<Self>, cluster: &ClusterRow, old: &[AekId]) -> Result<(), ControlError> {
        let account = cluster.account.ok_or(ControlError::Damaged { what: "a cluster without an account" })?;
        let watched = self.of(cluster.id).ok_or(ControlError::Conflict { why: "the cluster has no key of its own" })?;
        {
            let _alone = watched.busy.lock().await;
            if watched.machine.lock().state() != KeyState::Active {
                return Err(ControlError::Conflict { why: "the cluster's key is not in state Active" });
            }
            let reigning = self.deps.keys.write_epoch(account).await?;
            if old.contains(&reigning.aek) {
                let (_, vault) = watched.vault.read().clone();
                fail::fail_point!("rekey.epoch");
                self.deps.keys.begin_customer_epoch(account, cluster.id, vault.as_ref(), self.config.lease).await.map_err(key_refused)?;
                // A pinned key's newer version is to wait for this AEK, too.
                *watched.learned.lock() = None;
            }
            self.recount(&watched).await?;
        }
        fail::fail_point!("rekey.barrier");
        self.cross(cluster).await?;
        // Every column of before, once no row can bring a new one there.
        let to = self.deps.keys.write_epoch(account).await?;
        for row in self.deps.catalog.aeks(account).await?.into_iter().filter(|row| old.contains(&row.aek)) {
            self.deps.rewrite.carry(Epoch { account, aek: row.aek }, to, None).await.map_err(not_yet)?;
        }
        Ok(())
    }

    /// One step towards an end of the epochs of `old`: a block sealed anew, or, once there is none, the destruction of one.
    pub(super) async fn rekey_step(&self, cluster: &ClusterRow, old: &[AekId]) -> Result<RewriteStep, ControlError> {
        let account = cluster.account.ok_or(ControlError::Damaged { what: "a cluster without an account" })?;
        let to = self.served(cluster).await?;
        let rows: Vec<AekRow> = self.deps.catalog.aeks(account).await?.into_iter().filter(|row| old.contains(&row.aek)).collect();
        if rows.is_empty() {
            return Ok(RewriteStep::Done);
        }
        let epochs: Vec<Epoch> = rows.iter().map(|row| Epoch { account, aek: row.aek }).collect();
        if epochs.contains(&to) {
            return Err(ControlError::Conflict { why: "the epoch that is to end still reigns" });
        }
        for &from in &epochs {
            if let Some(bytes) = self.deps.rewrite.next(from, to, None).await.map_err(not_yet)? {
                return Ok(RewriteStep::Wrote(bytes));
            }
        }
        self.deps.still.flush_account(account).await.map_err(not_yet)?;
        let mut waits = None;
        for &epoch in &epochs {
            let left = self.deps.catalog.leftovers(epoch.aek).await?;
            if left.live > 0 {
                // Just flushed.
                return Ok(RewriteStep::Wrote(0));
            }
            if !self.deps.rewrite.retire(epoch).await.map_err(not_yet)? {
                waits = Some("rows in the log");
            } else if left.others > 0 {
                waits = Some("objects that readers may still hold");
            } else {
                // An entry that was stored while the epoch was on its way out.
                self.deps.rewrite.carry(epoch, to, None).await.map_err(not_yet)?;
                self.end(cluster, epoch).await?;
            }
        }
        Ok(waits.map_or(RewriteStep::Done, RewriteStep::Waits))
    }

    /// The record of an epoch that holds nothing is destroyed, and what was cached under it.
    async fn end(&self, cluster: &ClusterRow, epoch: Epoch) -> Result<(), ControlError> {
        let watched = self.of(cluster.id).ok_or(ControlError::Damaged { what: "a watched cluster" })?;
        let _alone = watched.busy.lock().await;
        self.deps.keys.end_epoch(epoch).await?;
        let event = Event::new(name::KEY_DESTROYED).cluster(cluster.id).account(epoch.account).destroyed(epoch.aek);
        self.deps.audit.note(event.with("why", "re-key"));
        let gone = Gone { account: epoch.account, epochs: vec![epoch], why: Shut::Revoked, lost: Arc::default() };
        for step in &self.deps.forget {
            if let Err(error) = step.forget(&gone).await {
                tracing::warn!(cluster = %cluster.id, step = step.name(), error, "something of an epoch that ended is still cached");
            }
        }
        self.recount(&watched).await
    }

    /// One step towards all of a linked workspace's blocks being under the customer's key.
    pub(super) async fn reencrypt_step(&self, cluster: &ClusterRow, workspace: WorkspaceId) -> Result<RewriteStep, ControlError> {
        let to = self.served(cluster).await?;
        let held = |holdings: Vec<strongroom_catalog::HoldingRow>, classes: &[AekRow]| {
            let provider = |aek: AekId| classes.iter().any(|row| row.aek == aek && row.class == KeyClass::Mmk);
            holdings.into_iter().find(|row| provider(row.aek)).map(|row| Epoch { account: row.account, aek: row.aek })
        };
        let mut classes = Vec::new();
        for account in self.deps.catalog.accounts().await? {
            classes.extend(self.deps.catalog.aeks(account.id).await?);
        }
        for flushed in [false, true] {
            if flushed {
                self.deps.rewrite.flush(workspace).await.map_err(not_yet)?;
            }
            if let Some(from) = held(self.deps.catalog.holdings_of(workspace).await?, &classes) {
                self.deps.rewrite.carry(from, to, Some(workspace)).await.map_err(not_yet)?;
                let bytes = self.deps.rewrite.next(from, to, Some(workspace)).await.map_err(not_yet)?;
                return Ok(bytes.map_or(RewriteStep::Waits("a block that somebody else is at"), RewriteStep::Wrote));
            }
        }
        // Saved content of a workspace without a row under the provider's key; what lies in a storage account is under that one's.
        for row in self.deps.catalog.contents(workspace).await?.into_iter().filter(|row| row.storage.is_none()) {
            if let Some(old) = classes.iter().find(|old| old.aek == row.aek && old.class == KeyClass::Mmk) {
                let from = Epoch { account: old.account, aek: old.aek };
                self.deps.rewrite.carry(from, to, Some(workspace)).await.map_err(not_yet)?;
            }
        }
        Ok(RewriteStep::Done)
    }

    /// The epoch that reigns, if the cluster is served now.
    async fn served(&self, cluster: &ClusterRow) -> Result<Epoch, ControlError> {
        let account = cluster.account.ok_or(ControlError::Damaged { what: "a cluster without an account" })?;
        self.deps.keys.pass(account).await?;
        let to = self.deps.keys.write_epoch(account).await?;
        let row = self.deps.catalog.aek(to.aek).await?;
        if row.is_none_or(|row| row.class != KeyClass::Cmk) {
            return Err(ControlError::Conflict { why: "the cluster has no key of its own" });
        }
        Ok(to)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "stands where an error is mapped")]
fn not_yet(code: String) -> ControlError {
    tracing::debug!(code, "a step of rewriting is to be tried again");
    ControlError::Conflict { why: "a block could not be rewritten yet" }
}
