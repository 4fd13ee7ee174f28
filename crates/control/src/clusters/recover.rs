//! What was deleted comes back: a workspace is linked as it was, a cluster with all that were linked to it.

use std::sync::Arc;

use strongroom_catalog::{CatalogError, ClusterRow};
use strongroom_model::{ObjectId, WorkspaceId};

use super::{Clusters, DAY_MS, RESERVED_DAYS, whole};
use crate::{ControlError, Refusal};

impl Clusters {
    /// Links a workspace that came back to the cluster it was linked to, if that is still there. It does not count as a link: nothing
    /// new was asked for. Needs no key: with the key away the workspace is linked to a cluster whose key is away, as before.
    ///
    /// # Errors
    /// What catalog and keys say; then the next start tries again.
    pub(crate) async fn relink(&self, workspace: WorkspaceId) -> Result<(), ControlError> {
        let kept = self.catalog.links_kept().await?.into_iter().find(|(of, _)| *of == workspace);
        let Some((_, cluster)) = kept else { return Ok(()) };
        let _turn = self.turn(cluster).await;
        let Some(row) = self.catalog.cluster_get(cluster).await?.filter(|row| row.deleted_ms.is_none()) else {
            return Ok(());
        };
        let there = self.catalog.workspace(workspace).await?.ok_or(Refusal::WorkspaceAbsent)?;
        if there.link.is_none() {
            let linked = self.desk.relink(workspace, &row).await;
            self.workspaces.forget();
            linked?;
        }
        Ok(self.catalog.link_unkeep(workspace).await?)
    }

    /// At a start: links that a stop kept from coming back.
    pub(super) async fn relink_all(&self) -> Result<(), ControlError> {
        for (workspace, _) in self.catalog.links_kept().await? {
            if self.catalog.workspace(workspace).await?.is_some() {
                self.relink(workspace).await?;
            }
        }
        Ok(())
    }

    /// Brings a deleted cluster back, named by name or id, with the workspaces that its deletion unlinked: an operator's action.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if it is not to be had by the settings, its time is over, or its name is taken; ER18; [`ControlError::Ambiguous`].
    pub async fn recover(self: &Arc<Self>, name: &str) -> Result<ClusterRow, ControlError> {
        if !self.rules.cluster_recover {
            return Err(ControlError::Conflict { why: "deleted clusters are not brought back here: azure.cluster_recover is off" });
        }
        let id: Option<ObjectId> = name.parse().ok();
        let mut found = self.catalog.cluster_list_deleted().await?;
        found.retain(|row| (row.name.eq_ignore_ascii_case(name) || Some(row.id) == id) && row.account.is_some());
        found.retain(|row| row.deleted_ms.is_some_and(|ms| self.now_ms() < ms + i64::from(RESERVED_DAYS) * DAY_MS));
        if found.len() > 1 {
            return Err(ControlError::Ambiguous { what: "deleted clusters", name: name.to_owned() });
        }
        let row = found.pop().ok_or_else(|| self.absent())?;
        let this = Arc::clone(self);
        whole(async move {
            this.catalog.cluster_recover(row.id, this.now_ms()).await.map_err(|error| match error {
                CatalogError::Conflict { .. } => ControlError::Conflict { why: "another cluster has that name by now" },
                CatalogError::NotFound { .. } => this.absent().into(),
                other => other.into(),
            })?;
            tracing::warn!(cluster = %row.id, "a deleted cluster was brought back");
            for (workspace, cluster) in this.catalog.links_kept().await? {
                if cluster == row.id && this.catalog.workspace(workspace).await?.is_some() {
                    this.relink(workspace).await?;
                }
            }
            this.fresh(row.id).await
        })
        .await
    }
}
