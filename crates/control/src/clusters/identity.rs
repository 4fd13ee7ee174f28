//! Whose identity a cluster shows to its vault: its own, one that the customer made, or none.
//!
//! Another identity is tried before anything changes, with a login and an unwrap of the key in use; if it is refused, the cluster
//! stays as it was. None acts at once and is final for the customer: only the operator's own action ends it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strongroom_catalog::{ClusterRow, ClusterState, IdentityType};
use strongroom_model::ObjectId;

use super::{Accepted, Busy, ClusterAsk, Clusters, Place, apply, whole};
use crate::operations::Change;
use crate::{ControlError, Refusal};

/// Which identity a cluster is to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum IdentityTarget {
    /// Its own.
    Own,
    /// The user-assigned one of that id.
    User(ObjectId),
}

/// What a request asks of a cluster's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Stay,
    /// To show none.
    Remove,
    /// To show another: the cluster's own, or the one at that path.
    Show(Option<String>),
}

/// What a request asks of the identity of a cluster, which shows the user-assigned one at `shown` if that is what it shows.
pub(super) fn turn(row: &ClusterRow, ask: &ClusterAsk, shown: Option<&str>) -> Result<Turn, Refusal> {
    let same = |path: &str| shown.is_some_and(|shown| shown.trim_matches('/').eq_ignore_ascii_case(path.trim_matches('/')));
    let users = ask.user_identities.as_deref();
    let user_assigned = row.identity_type == IdentityType::UserAssigned;
    match (row.identity_type, ask.identity, users) {
        (IdentityType::None, None | Some(IdentityType::None), _) => Ok(Turn::Stay),
        (IdentityType::None, ..) => Err(Refusal::IdentityNoneIsFinal { cluster: row.name.clone() }),
        // Or the map taken away, in so many words: no identity is left.
        (_, Some(IdentityType::None), _) | (IdentityType::UserAssigned, None | Some(IdentityType::UserAssigned), Some([])) => {
            Ok(Turn::Remove)
        }
        (_, Some(IdentityType::SystemAssigned), Some([_, ..])) => Err(Refusal::SingleIdentity),
        (_, Some(IdentityType::SystemAssigned), _) => Ok(if user_assigned { Turn::Show(None) } else { Turn::Stay }),
        (_, None, None | Some([])) | (IdentityType::UserAssigned, _, None) => Ok(Turn::Stay),
        (IdentityType::UserAssigned, _, Some([one])) if same(one) => Ok(Turn::Stay),
        (IdentityType::UserAssigned, _, Some([one])) | (_, Some(IdentityType::UserAssigned), Some([one])) => {
            Ok(Turn::Show(Some(one.clone())))
        }
        _ => Err(Refusal::SingleIdentity),
    }
}

impl Clusters {
    /// The path of the user-assigned identity that a cluster shows.
    pub(super) async fn identity_path_of(&self, row: &ClusterRow) -> Result<Option<String>, ControlError> {
        let Some(user) = row.user_identity else { return Ok(None) };
        Ok(self.catalog.user_identity(user).await?.map(|user| Place::of_identity(&user).identity_path()))
    }

    /// The user-assigned identity that a new cluster is to show; `None`: its own.
    pub(super) async fn identity_of_new(&self, ask: &ClusterAsk) -> Result<Option<ObjectId>, ControlError> {
        match (ask.identity, ask.user_identities.as_deref().unwrap_or_default()) {
            (None | Some(IdentityType::None), _) => Err(Refusal::MissingIdentity.into()),
            (Some(IdentityType::SystemAssigned), []) => Ok(None),
            (Some(IdentityType::UserAssigned), [path]) => self.user_identity_at(path).await.map(Some),
            _ => Err(Refusal::SingleIdentity.into()),
        }
    }

    async fn user_identity_at(&self, path: &str) -> Result<ObjectId, ControlError> {
        let unknown = || Refusal::IdentityUnknown { path: path.to_owned() };
        let place = Place::read_identity_path(path).ok_or_else(unknown)?;
        let row = self.catalog.user_identity_by_name(&place.subscription, &place.resource_group, &place.name).await?;
        Ok(row.ok_or_else(unknown)?.id)
    }

    /// The cluster as it would be, showing another identity.
    async fn showing(&self, row: &ClusterRow, to: &IdentityTarget) -> Result<ClusterRow, ControlError> {
        let mut row = row.clone();
        match to {
            IdentityTarget::Own => {
                let own = self.catalog.own_identity(row.id).await?;
                row.identity = Some(own.ok_or(ControlError::Damaged { what: "a cluster's own identity" })?);
                (row.identity_type, row.user_identity) = (IdentityType::SystemAssigned, None);
            }
            IdentityTarget::User(id) => {
                let user = self.catalog.user_identity(*id).await?.ok_or(ControlError::Damaged { what: "a user-assigned identity" })?;
                row.identity = Some(self.desk.lend_identity(row.id, &user).await?);
                (row.identity_type, row.user_identity) = (IdentityType::UserAssigned, Some(*id));
            }
        }
        Ok(row)
    }

    /// Tries the identity and takes the change on.
    pub(super) async fn begin_identity(
        self: &Arc<Self>,
        row: ClusterRow,
        path: Option<String>,
        ask: &ClusterAsk,
        busy: Busy,
    ) -> Result<Accepted, ControlError> {
        self.rules.check_capacity(&row, ask, self.now_ms())?;
        apply(&mut row.clone(), ask, self.now_ms())?;
        let to = match path {
            None => IdentityTarget::Own,
            Some(path) => IdentityTarget::User(self.user_identity_at(&path).await?),
        };
        let shown = self.showing(&row, &to).await?;
        if let Some(key) = &row.key
            && shown.identity_type == IdentityType::UserAssigned
            && let Some(vault) = self.catalog.vault_ref_by_uri(&key.vault_uri).await?
            && vault.private_link
        {
            return Err(Refusal::PrivateLinkNeedsSystem { vault: vault.name }.into());
        }
        // Now and not in the background: a client learns at once that the grant is missing.
        self.desk.probe_identity(&shown).await?;
        let change = Change::Identity { cluster: row.id, to };
        let operation = self.begin(&row, &change, busy.running).await?;
        match self.mark(row.id, ClusterState::Updating, ask).await {
            Ok(cluster) => {
                self.spawn(operation.clone(), change);
                Ok(Accepted { cluster, operation: Some(operation) })
            }
            Err(error) => {
                self.operations.finish(&operation, Some(&error)).await?;
                Err(error)
            }
        }
    }

    pub(super) async fn run_identity(&self, cluster: ObjectId, to: &IdentityTarget) -> Result<(), ControlError> {
        let _turn = self.turn(cluster).await;
        let row = self.fresh(cluster).await?;
        let shown = self.show(&row, to).await;
        // Either way the cluster is whole: with the new identity, or with the one it had.
        let (row, outcome) = match shown {
            Ok(shown) => {
                let fresh = self.fresh(cluster).await?;
                (
                    ClusterRow {
                        identity: shown.identity,
                        identity_type: shown.identity_type,
                        user_identity: shown.user_identity,
                        ..fresh
                    },
                    Ok(()),
                )
            }
            Err(error) => (self.fresh(cluster).await?, Err(error)),
        };
        self.save(row, ClusterState::Succeeded).await?;
        outcome
    }

    async fn show(&self, row: &ClusterRow, to: &IdentityTarget) -> Result<ClusterRow, ControlError> {
        if let (IdentityType::SystemAssigned, Some(own)) = (row.identity_type, &row.identity) {
            self.catalog.own_identity_keep(row.id, own).await?;
        }
        let shown = self.showing(row, to).await?;
        fail::fail_point!("identity.show");
        self.desk.show_identity(&shown).await?;
        fail::fail_point!("identity.shown");
        Ok(shown)
    }

    /// From now on the cluster shows no identity: written down first, then everything of it is shut, before this answers.
    pub(super) async fn remove_identity(&self, row: ClusterRow) -> Result<ClusterRow, ControlError> {
        if self.catalog.cluster_identity_remove(row.id, self.now_ms()).await? {
            tracing::warn!(cluster = %row.id, "the identity was taken off the cluster: access to its data is revoked");
        }
        fail::fail_point!("identity.none");
        let row = self.catalog.cluster_get(row.id).await?.ok_or_else(|| self.absent())?;
        self.desk.remove_identity(&row).await?;
        Ok(row)
    }

    /// Ends that: an operator's action. The cluster shows the identity it had, and its vault decides the rest. `false`: it shows one.
    ///
    /// # Errors
    /// What catalog and keys say.
    pub async fn restore_identity(self: &Arc<Self>, row: ClusterRow) -> Result<bool, ControlError> {
        let this = Arc::clone(self);
        whole(async move {
            if row.identity_type != IdentityType::None {
                return Ok(false);
            }
            let was = this.catalog.cluster_identity_restore(row.id, this.now_ms()).await?;
            let row = this.fresh(row.id).await?;
            this.desk.restore_identity(&row).await?;
            Ok(was)
        })
        .await
    }
}
