//! Links between workspaces and clusters.

use std::sync::Arc;

use strongroom_catalog::{ClusterRow, ClusterState, OperationRow, WorkspaceRow};

use super::{Clusters, Place, check_region, whole};
use crate::operations::Change;
use crate::{ControlError, Refusal};

/// A link that was taken on, or found done.
#[derive(Clone, Debug)]
pub struct LinkAccepted {
    /// The workspace as it stands now.
    pub workspace: WorkspaceRow,
    /// The operation; `None`: there was nothing to change.
    pub operation: Option<OperationRow>,
}

/// A workspace's link as it stands.
#[derive(Clone, Debug)]
pub struct LinkView {
    /// The cluster.
    pub cluster: ClusterRow,
    /// Whether a link or unlink runs.
    pub busy: bool,
}

impl Clusters {
    /// Links a workspace to the cluster whose path is `target`. To the one it is linked to already: nothing happens.
    ///
    /// # Errors
    /// ER23, ER24, and the rules of links.
    pub async fn link(self: &Arc<Self>, workspace: WorkspaceRow, target: &str) -> Result<LinkAccepted, ControlError> {
        let (this, target) = (Arc::clone(self), target.to_owned());
        whole(async move { this.begin_link(workspace, &target).await }).await
    }

    async fn begin_link(self: &Arc<Self>, workspace: WorkspaceRow, target: &str) -> Result<LinkAccepted, ControlError> {
        let absent = || Refusal::LinkTargetAbsent { soft: self.rules.cluster_recover };
        let place = Place::read_cluster_path(target).ok_or_else(absent)?;
        let cluster = self.find(&place).await?.ok_or_else(absent)?;
        let path = link_path(&workspace);
        if self.operations.running_on(&path).await?.is_some() {
            return Err(Refusal::LinkBusy.into());
        }
        if let Some(link) = workspace.link {
            if link.cluster == cluster.id {
                return Ok(LinkAccepted { workspace, operation: None });
            }
            let other = self.catalog.cluster_get(link.cluster).await?.map_or_else(|| link.cluster.to_string(), |row| row.name);
            return Err(Refusal::LinkedElsewhere { cluster: other }.into());
        }
        if cluster.state != ClusterState::Succeeded {
            return Err(Refusal::ClusterNotReady { name: cluster.name, state: cluster.state.to_string() }.into());
        }
        self.check_link_count(workspace.id).await?;
        self.check_linked(&cluster).await?;
        check_region(&format!("Workspace {}", workspace.name), &workspace.region, &cluster)?;
        let change = Change::Link { workspace: workspace.id, cluster: cluster.id };
        self.start(workspace, change).await
    }

    async fn start(self: &Arc<Self>, workspace: WorkspaceRow, change: Change) -> Result<LinkAccepted, ControlError> {
        let begun = self.operations.begin(&link_path(&workspace), &workspace.region, &change).await?;
        let operation = begun.ok_or(Refusal::LinkBusy)?;
        self.spawn(operation.clone(), change);
        Ok(LinkAccepted { workspace, operation: Some(operation) })
    }

    /// Unlinks a workspace from its cluster. Needs no key, in whatever state that is. From none: nothing happens.
    ///
    /// # Errors
    /// ER26.
    pub async fn unlink(self: &Arc<Self>, workspace: WorkspaceRow) -> Result<LinkAccepted, ControlError> {
        let this = Arc::clone(self);
        whole(async move { this.begin_unlink(workspace).await }).await
    }

    async fn begin_unlink(self: &Arc<Self>, workspace: WorkspaceRow) -> Result<LinkAccepted, ControlError> {
        if self.operations.running_on(&link_path(&workspace)).await?.is_some() {
            return Err(Refusal::LinkBusy.into());
        }
        if workspace.link.is_none() {
            return Ok(LinkAccepted { workspace, operation: None });
        }
        let change = Change::Unlink { workspace: workspace.id };
        self.start(workspace, change).await
    }

    /// Unlinks a workspace that is to be deleted, and waits until it is done. The link is remembered if the workspace may come back.
    ///
    /// # Errors
    /// ER26; what catalog and keys say.
    pub(crate) async fn detach(&self, workspace: &WorkspaceRow, for_good: bool) -> Result<(), ControlError> {
        if self.operations.running_on(&link_path(workspace)).await?.is_some() {
            return Err(Refusal::LinkBusy.into());
        }
        if !for_good {
            self.catalog.link_keep(workspace.id).await?;
        }
        self.run_unlink(workspace.id).await
    }

    /// The link of a workspace; `None`: there is none.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn link_of(&self, workspace: &WorkspaceRow) -> Result<Option<LinkView>, ControlError> {
        let busy = self.operations.running_on(&link_path(workspace)).await?.is_some();
        let Some(link) = workspace.link else {
            return Ok(None);
        };
        Ok(self.catalog.cluster_get(link.cluster).await?.map(|cluster| LinkView { cluster, busy }))
    }
}

/// The path of a workspace's link.
#[must_use]
pub fn link_path(workspace: &WorkspaceRow) -> String {
    format!("{}/linkedServices/cluster", Place::of_workspace(workspace).workspace_path())
}
