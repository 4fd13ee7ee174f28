//! Long work in the background: a cluster's data under a new AEK, a workspace's old blocks under the customer's key.
//!
//! Each is an operation of a resource of its own, so that nothing else waits for it: the key can be changed, the cluster deleted, the
//! workspace unlinked. It goes block by block at the pace it was given, waits while the key is away, and after a restart goes on
//! with what the catalog says is left.

use std::time::Duration;

use serde::Serialize;
use strongroom_catalog::{ClusterRow, IdentityType, OperationRow, OperationStatus, WorkspaceRow};
use strongroom_model::{AekId, KeyClass, ObjectId};

use std::sync::Arc;

use super::{Clusters, Place, whole};
use crate::desk::RewriteStep;
use crate::operations::Change;
use crate::{ControlError, Refusal};

/// Between two looks while nothing can be done.
const WAIT: Duration = Duration::from_secs(5);
/// Between two looks while it is paused.
const PAUSE: Duration = Duration::from_secs(1);
/// MB a second that may be asked for.
const RATE_MAX: u32 = 100_000;

/// How a rewriting stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RewriteView {
    /// The operation.
    pub operation: ObjectId,
    /// `InProgress`, `Succeeded` or `Failed`.
    pub status: String,
    /// How much of the data is done, in percent; 100 only once it is over.
    pub percent_complete: u64,
    /// Bytes in blocks that are still to be rewritten.
    pub remaining_bytes: u64,
    /// MB a second at most; `None`: as fast as it goes.
    pub rate_mb_s: Option<u32>,
    /// Whether it was told to pause.
    pub paused: bool,
    /// Why it failed.
    pub error: Option<String>,
}

fn rekey_path(row: &ClusterRow) -> String {
    format!("{}/rekey", Place::of_cluster(row).cluster_path())
}

fn reencrypt_path(row: &WorkspaceRow) -> String {
    format!("{}/reencrypt", Place::of_workspace(row).workspace_path())
}

fn check_rate(rate_mb_s: Option<u32>) -> Result<(), ControlError> {
    if rate_mb_s.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
        return Err(ControlError::Invalid { what: "rateMbS", why: "1 to 100,000 MB a second, or nothing for no limit" });
    }
    Ok(())
}

impl Clusters {
    /// Begins a re-key: new rows are sealed under a new AEK at once, the rest in the background, and in the end the old AEKs are
    /// destroyed.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if one runs, or the cluster's key is not Active; [`Refusal`].
    pub async fn rekey(self: &Arc<Self>, row: ClusterRow, rate_mb_s: Option<u32>) -> Result<RewriteView, ControlError> {
        check_rate(rate_mb_s)?;
        let this = Arc::clone(self);
        whole(async move {
            if row.identity_type == IdentityType::None {
                return Err(Refusal::IdentityNoneIsFinal { cluster: row.name }.into());
            }
            let account = row.account.ok_or(ControlError::Conflict { why: "the cluster has no key of its own" })?;
            let rows = this.catalog.aeks(account).await?;
            let old: Vec<AekId> = rows.iter().filter(|aek| aek.class == KeyClass::Cmk).map(|aek| aek.aek).collect();
            if old.is_empty() {
                return Err(ControlError::Conflict { why: "the cluster has no key of its own" });
            }
            if this.desk.status(&row).await?.state != "Active" {
                return Err(ControlError::Conflict { why: "the cluster's key is not in state Active" });
            }
            let bytes = this.bytes_under(&row, &old).await?;
            let change = Change::Rekey { cluster: row.id, old, bytes, rate_mb_s };
            let begun = this.operations.begin(&rekey_path(&row), &row.region, &change).await?;
            let operation = begun.ok_or(ControlError::Conflict { why: "a re-key of this cluster runs already" })?;
            this.spawn(operation.clone(), change.clone());
            this.seen(&operation, &change).await
        })
        .await
    }

    /// The re-key of a cluster that began last.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn rekey_of(&self, row: &ClusterRow) -> Result<Option<RewriteView>, ControlError> {
        match self.operations.last_on(&rekey_path(row)).await? {
            Some((operation, change)) => self.seen(&operation, &change).await.map(Some),
            None => Ok(None),
        }
    }

    /// Begins to bring a linked workspace's old blocks under the customer's key, or changes the pace of that, pauses it, or goes on.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if there is nothing to pause; [`Refusal::NotLinked`].
    pub async fn reencrypt(
        self: &Arc<Self>,
        row: WorkspaceRow,
        rate_mb_s: Option<u32>,
        paused: Option<bool>,
    ) -> Result<RewriteView, ControlError> {
        check_rate(rate_mb_s)?;
        let this = Arc::clone(self);
        whole(async move {
            let path = reencrypt_path(&row);
            if let Some(operation) = this.operations.running_on(&path).await? {
                let Some(Change::Reencrypt { workspace, cluster, bytes, rate_mb_s: before, paused: was }) =
                    this.operations.change(operation.id).await?
                else {
                    return Err(ControlError::Damaged { what: "an operation" });
                };
                let rate_mb_s = rate_mb_s.or(before);
                let change = Change::Reencrypt { workspace, cluster, bytes, rate_mb_s, paused: paused.unwrap_or(was) };
                this.operations.rewrite(operation.id, &change).await?;
                return this.seen(&operation, &change).await;
            }
            if paused.is_some() {
                return Err(ControlError::Conflict { why: "no re-encryption of this workspace runs" });
            }
            let link = row.link.ok_or(Refusal::NotLinked)?;
            let cluster = this.fresh(link.cluster).await?;
            if this.desk.status(&cluster).await?.state != "Active" {
                return Err(ControlError::Conflict { why: "the cluster's key is not in state Active" });
            }
            let bytes = this.provider_bytes(&row).await?;
            let change = Change::Reencrypt { workspace: row.id, cluster: cluster.id, bytes, rate_mb_s, paused: false };
            let begun = this.operations.begin(&path, &row.region, &change).await?;
            let operation = begun.ok_or(ControlError::Conflict { why: "a re-encryption of this workspace runs already" })?;
            this.spawn(operation.clone(), change.clone());
            this.seen(&operation, &change).await
        })
        .await
    }

    /// The re-encryption of a workspace that began last.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn reencrypt_of(&self, row: &WorkspaceRow) -> Result<Option<RewriteView>, ControlError> {
        match self.operations.last_on(&reencrypt_path(row)).await? {
            Some((operation, change)) => self.seen(&operation, &change).await.map(Some),
            None => Ok(None),
        }
    }

    /// How far an operation is that rewrites data; `None` for any other.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn progress(&self, operation: &OperationRow) -> Result<Option<u64>, ControlError> {
        match self.operations.change(operation.id).await? {
            Some(change @ (Change::Rekey { .. } | Change::Reencrypt { .. })) => {
                Ok(Some(self.seen(operation, &change).await?.percent_complete))
            }
            _ => Ok(None),
        }
    }

    async fn bytes_under(&self, row: &ClusterRow, aeks: &[AekId]) -> Result<u64, ControlError> {
        let Some(account) = row.account else { return Ok(0) };
        let held = self.catalog.holdings(account).await?;
        Ok(held.iter().filter(|holding| aeks.contains(&holding.aek)).map(|holding| holding.bytes).sum())
    }

    /// What a workspace has in blocks of the provider's epochs.
    async fn provider_bytes(&self, row: &WorkspaceRow) -> Result<u64, ControlError> {
        let mut bytes = 0;
        for holding in self.catalog.holdings_of(row.id).await? {
            if self.catalog.aek(holding.aek).await?.is_some_and(|aek| aek.class == KeyClass::Mmk) {
                bytes += holding.bytes;
            }
        }
        Ok(bytes)
    }

    async fn seen(&self, operation: &OperationRow, change: &Change) -> Result<RewriteView, ControlError> {
        let (total, remaining, rate_mb_s, paused) = match change {
            Change::Rekey { cluster, old, bytes, rate_mb_s } => {
                let row = self.catalog.cluster_get(*cluster).await?;
                let left = match &row {
                    Some(row) => self.bytes_under(row, old).await?,
                    None => 0,
                };
                (*bytes, left, *rate_mb_s, false)
            }
            Change::Reencrypt { workspace, bytes, rate_mb_s, paused, .. } => {
                let row = self.catalog.workspace(*workspace).await?;
                let left = match &row {
                    Some(row) => self.provider_bytes(row).await?,
                    None => 0,
                };
                (*bytes, left, *rate_mb_s, *paused)
            }
            _ => (0, 0, None, false),
        };
        let percent_complete = match operation.status {
            OperationStatus::Succeeded => 100,
            // The last percent is what is not counted in bytes: the log, objects that readers hold, the record itself.
            _ => (total.max(remaining) - remaining).saturating_mul(100).checked_div(total.max(remaining)).unwrap_or(99).min(99),
        };
        Ok(RewriteView {
            operation: operation.id,
            status: operation.status.as_str().to_owned(),
            percent_complete,
            remaining_bytes: remaining,
            rate_mb_s,
            paused,
            error: operation.error.as_ref().map(|error| error.message.clone()),
        })
    }

    pub(super) async fn run_rewrite(&self, operation: ObjectId) -> Result<(), ControlError> {
        let mut begun = false;
        loop {
            // Read each time: the pace may have been changed, or a pause asked for.
            let change = self.operations.change(operation).await?.ok_or(ControlError::Damaged { what: "an operation" })?;
            let (step, rate_mb_s) = match &change {
                Change::Rekey { cluster, old, rate_mb_s, .. } => {
                    let row = self.fresh(*cluster).await?;
                    if !begun {
                        let _turn = self.turn(*cluster).await;
                        match self.desk.begin_epoch(&row, old).await {
                            Ok(()) => begun = true,
                            Err(error) => {
                                self.wait_after(&error).await;
                                continue;
                            }
                        }
                    }
                    (self.desk.rekey_step(&row, old).await, *rate_mb_s)
                }
                Change::Reencrypt { paused: true, .. } => {
                    self.world.clock.sleep(PAUSE).await;
                    continue;
                }
                Change::Reencrypt { workspace, cluster, rate_mb_s, .. } => {
                    let there = self.catalog.workspace(*workspace).await?.ok_or(Refusal::WorkspaceAbsent)?;
                    if there.link.is_none_or(|link| link.cluster != *cluster) {
                        return Err(Refusal::NotLinked.into());
                    }
                    let row = self.fresh(*cluster).await?;
                    (self.desk.reencrypt_step(&row, *workspace).await, *rate_mb_s)
                }
                _ => return Err(ControlError::Damaged { what: "an operation" }),
            };
            match step {
                Ok(RewriteStep::Done) => return Ok(()),
                Ok(RewriteStep::Wrote(bytes)) => {
                    if let Some(rate) = rate_mb_s {
                        self.world.clock.sleep(Duration::from_micros(bytes / u64::from(rate))).await;
                    }
                }
                Ok(RewriteStep::Waits(what)) => {
                    tracing::debug!(%operation, what, "a rewriting waits");
                    self.world.clock.sleep(WAIT).await;
                }
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    async fn wait_after(&self, error: &ControlError) {
        tracing::info!(code = error.code(), "a rewriting cannot go on now and is tried again");
        self.world.clock.sleep(WAIT).await;
    }
}
