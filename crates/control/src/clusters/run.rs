//! Carrying changes out: in the background, one at a time per resource, and again after a restart.

use std::sync::Arc;

use strongroom_catalog::{CatalogError, ClusterRow, ClusterState, OperationRow};
use strongroom_envelope::WrappedAek;
use strongroom_keys::provider::KekRef;
use strongroom_model::{KeyClass, ObjectId, WorkspaceId};
use tokio::sync::OwnedMutexGuard;

use super::Clusters;
use crate::audit::{acting, actor};
use crate::operations::Change;
use crate::{ControlError, KeyProperties, Refusal};

/// Rounds of a deletion: a link that was accepted a moment before may still come in.
const DELETE_ROUNDS: usize = 8;

impl Clusters {
    /// Settles changes of keys that a stop left unfinished, without any vault: the records say which key the cluster is
    /// under. Before keys are watched, for the watch goes by the cluster's row.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn settle(&self) -> Result<(), ControlError> {
        for (operation, change) in self.operations.running().await? {
            if let Change::Update { cluster, key } = change {
                let outcome = self.settle_update(cluster, key.as_ref()).await;
                self.operations.finish(&operation, outcome.as_ref().err()).await?;
            }
        }
        Ok(())
    }

    /// Goes on, in the background, with what a stop left unfinished. After [`settle`](Self::settle), once keys are watched.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn resume(self: &Arc<Self>) -> Result<(), ControlError> {
        self.settle().await?;
        if let Err(error) = self.relink_all().await {
            tracing::error!(code = error.code(), "a link of a workspace that was brought back is not there again yet");
        }
        for (operation, change) in self.operations.running().await? {
            // Rows of tables are the shredder's.
            if !matches!(change, Change::Shred { .. }) {
                self.spawn(operation, change);
            }
        }
        Ok(())
    }

    /// Waits until no change runs any more.
    pub async fn idle(&self) {
        loop {
            let tasks = std::mem::take(&mut *self.tasks.lock());
            if tasks.is_empty() {
                return;
            }
            tasks.join_all().await;
        }
    }

    /// Breaks off what runs; the next start goes on with it.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    pub(super) fn spawn(self: &Arc<Self>, operation: OperationRow, change: Change) {
        let this = Arc::clone(self);
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(acting(actor(), async move {
            let outcome = this.run(&operation, &change).await;
            if let Err(error) = this.operations.finish(&operation, outcome.as_ref().err()).await {
                tracing::error!(operation = %operation.id, code = error.code(), "the end of an operation was not written down; a restart will");
            }
        }));
    }

    async fn run(&self, operation: &OperationRow, change: &Change) -> Result<(), ControlError> {
        match change {
            Change::Create { cluster, key } => self.run_create(*cluster, key.as_ref()).await,
            Change::Update { cluster, key } => self.run_update(*cluster, key.as_ref()).await,
            Change::Identity { cluster, to } => self.run_identity(*cluster, to).await,
            Change::Rekey { .. } | Change::Reencrypt { .. } => self.run_rewrite(operation.id).await,
            Change::Delete { cluster } => self.run_delete(*cluster).await,
            Change::Link { workspace, cluster } => self.run_link(operation.id, *workspace, *cluster).await,
            Change::Unlink { workspace } => self.run_unlink(*workspace).await,
            Change::Shred { .. } => Ok(()),
        }
    }

    /// One change of a cluster's key or links at a time.
    pub(super) async fn turn(&self, cluster: ObjectId) -> OwnedMutexGuard<()> {
        let turn = Arc::clone(self.turns.lock().entry(cluster).or_default());
        turn.lock_owned().await
    }

    pub(super) async fn fresh(&self, cluster: ObjectId) -> Result<ClusterRow, ControlError> {
        let row = self.catalog.cluster_get(cluster).await?.filter(|row| row.deleted_ms.is_none());
        row.ok_or_else(|| self.absent().into())
    }

    pub(super) async fn save(&self, mut row: ClusterRow, state: ClusterState) -> Result<ClusterRow, ControlError> {
        row.state = state;
        row.modified_ms = self.now_ms();
        self.catalog.cluster_update(&row).await?;
        Ok(row)
    }

    async fn run_create(&self, cluster: ObjectId, key: Option<&KeyProperties>) -> Result<(), ControlError> {
        let _turn = self.turn(cluster).await;
        let row = self.fresh(cluster).await?;
        let made = self.provision(row, key).await;
        if made.is_err() {
            let row = self.fresh(cluster).await?;
            self.save(row, ClusterState::Failed).await?;
        }
        made
    }

    /// Each step is kept before the next, so that none is done twice.
    async fn provision(&self, mut row: ClusterRow, key: Option<&KeyProperties>) -> Result<(), ControlError> {
        if row.identity.is_none() {
            let own = self.desk.new_identity(row.id).await?;
            row.identity = match row.user_identity {
                None => Some(own),
                Some(user) => {
                    self.catalog.own_identity_keep(row.id, &own).await?;
                    let user = self.catalog.user_identity(user).await?.ok_or(ControlError::Damaged { what: "a user-assigned identity" })?;
                    Some(self.desk.lend_identity(row.id, &user).await?)
                }
            };
            row = self.save(row, ClusterState::ProvisioningAccount).await?;
        }
        if row.account.is_none() {
            row.account = Some(self.desk.open_account(row.id, &row.region, row.double).await?);
            row = self.save(row, ClusterState::ProvisioningAccount).await?;
        }
        if let Some(kek) = key.map(KeyProperties::kek).transpose()? {
            fail::fail_point!("create.key");
            let facts = self.desk.set_key(&row, kek.clone()).await?;
            fail::fail_point!("create.key_set");
            row.key = Some(KeyProperties::row(&kek, Some(facts.rsa_bits).filter(|bits| *bits > 0)));
        }
        self.save(row, ClusterState::Succeeded).await?;
        Ok(())
    }

    async fn run_update(&self, cluster: ObjectId, key: Option<&KeyProperties>) -> Result<(), ControlError> {
        let _turn = self.turn(cluster).await;
        let row = self.fresh(cluster).await?;
        let facts = match key.map(KeyProperties::kek).transpose()? {
            None => Ok(None),
            Some(kek) => self.desk.set_key(&row, kek.clone()).await.map(|facts| Some((kek, facts))),
        };
        // Either way the cluster is whole: under the new key, or under the one it had.
        let mut row = self.fresh(cluster).await?;
        let outcome = match facts {
            Ok(Some((kek, facts))) => {
                row.key = Some(KeyProperties::row(&kek, Some(facts.rsa_bits).filter(|bits| *bits > 0)));
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.save(row, ClusterState::Succeeded).await?;
        outcome
    }

    /// After a stop in mid-change: whichever key the reigning AEK is wrapped by is the cluster's.
    async fn settle_update(&self, cluster: ObjectId, key: Option<&KeyProperties>) -> Result<(), ControlError> {
        let mut row = self.fresh(cluster).await?;
        let outcome = match key {
            // All of it was written along with the state.
            None if row.state == ClusterState::Updating => Ok(()),
            None => Err(ControlError::Conflict { why: "the server stopped before the change began: send it again" }),
            Some(key) => {
                let kek = key.kek()?;
                if self.is_under(&row, &kek).await? {
                    let rsa_bits = row.key.as_ref().and_then(|key| key.rsa_bits);
                    row.key = Some(KeyProperties::row(&kek, rsa_bits));
                    Ok(())
                } else {
                    Err(Refusal::Interrupted.into())
                }
            }
        };
        self.save(row, ClusterState::Succeeded).await?;
        outcome
    }

    async fn is_under(&self, row: &ClusterRow, kek: &KekRef) -> Result<bool, ControlError> {
        let Some(account) = row.account else {
            return Ok(false);
        };
        let Some(aek) = self.catalog.aek_current(account).await?.filter(|aek| aek.class == KeyClass::Cmk) else {
            return Ok(false);
        };
        // One that does not read is for the keys to refuse; it names no key.
        let Ok(record) = WrappedAek::from_bytes(&aek.record) else {
            return Ok(false);
        };
        let pinned = kek.key_version.as_ref().is_none_or(|version| *version == record.key_version);
        Ok(record.key_uri == kek.key_uri() && pinned)
    }

    async fn run_delete(&self, cluster: ObjectId) -> Result<(), ControlError> {
        let Some(row) = self.catalog.cluster_get(cluster).await?.filter(|row| row.deleted_ms.is_none()) else {
            return Ok(());
        };
        let deleted = self.take_down(&row).await;
        if deleted.is_err() {
            let row = self.fresh(cluster).await?;
            // What was unlinked stays so. The rest works on, and the deletion can be asked for again.
            let state = if row.account.is_some() { ClusterState::Succeeded } else { ClusterState::Failed };
            self.save(row, state).await?;
            for (workspace, _) in self.catalog.links_kept().await?.into_iter().filter(|(_, of)| *of == cluster) {
                if self.catalog.workspace(workspace).await?.is_some() {
                    self.catalog.link_unkeep(workspace).await?;
                }
            }
        }
        deleted
    }

    async fn take_down(&self, row: &ClusterRow) -> Result<(), ControlError> {
        for _ in 0..DELETE_ROUNDS {
            {
                let _turn = self.turn(row.id).await;
                for workspace in self.catalog.workspaces_linked(row.id).await? {
                    self.catalog.link_keep(workspace.id).await?;
                    self.desk.unlink(workspace.id).await?;
                    self.workspaces.forget();
                }
            }
            if row.account.is_some() {
                self.desk.close_cluster(row).await?;
            }
            match self.catalog.cluster_delete(row.id, self.now_ms()).await {
                Ok(()) => {
                    self.turns.lock().remove(&row.id);
                    tracing::info!(cluster = %row.id, "cluster deleted");
                    return Ok(());
                }
                Err(CatalogError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ControlError::Conflict { why: "workspaces keep being linked to the cluster" })
    }

    /// Counted before it is done, so that a stop between the two loses no count; what comes to nothing is not counted.
    async fn run_link(&self, operation: ObjectId, workspace: WorkspaceId, cluster: ObjectId) -> Result<(), ControlError> {
        self.catalog.link_mark(operation, workspace, self.now_ms()).await?;
        let linked = self.link_now(workspace, cluster).await;
        if linked.is_err() {
            self.catalog.link_unmark(operation).await?;
        }
        linked
    }

    async fn link_now(&self, workspace: WorkspaceId, cluster: ObjectId) -> Result<(), ControlError> {
        let _turn = self.turn(cluster).await;
        let there = self.catalog.workspace(workspace).await?.ok_or(Refusal::WorkspaceAbsent)?;
        if there.link.is_some_and(|link| link.cluster == cluster) {
            return Ok(());
        }
        let row = self.fresh(cluster).await.map_err(|_| Refusal::LinkTargetAbsent { soft: self.rules.cluster_recover })?;
        if row.state != ClusterState::Succeeded {
            return Err(Refusal::ClusterNotReady { name: row.name, state: row.state.to_string() }.into());
        }
        // Again: others that were taken on before may be linked by now.
        self.check_linked(&row).await?;
        let linked = self.desk.link(workspace, &row).await;
        self.workspaces.forget();
        linked
    }

    pub(super) async fn run_unlink(&self, workspace: WorkspaceId) -> Result<(), ControlError> {
        let there = self.catalog.workspace(workspace).await?.ok_or(Refusal::WorkspaceAbsent)?;
        let Some(link) = there.link else {
            return Ok(());
        };
        let _turn = self.turn(link.cluster).await;
        let unlinked = self.desk.unlink(workspace).await;
        self.workspaces.forget();
        unlinked
    }
}
