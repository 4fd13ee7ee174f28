//! The refusals that users of Azure Monitor know, word for word: code, status and text of each rule in one table.
//!
//! Texts that Azure's documents print stand here as printed; a number in a text is the setting in force. Where nothing is
//! printed, the text names the rule and what is needed.

use strongroom_model::ErrorKind;

/// A rule of clusters, links and their keys that a request broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum Refusal {
    /// ER1.
    #[error("Cluster name is not valid. Cluster name can contain characters a-z, A-Z, 0-9 and length of {min}-63.")]
    ClusterName { min: usize },
    /// ER2.
    #[error("The body of the request is null or in bad format.")]
    Body,
    /// ER3.
    #[error("SKU name is invalid. Set SKU name to capacityReservation.")]
    SkuName,
    /// ER4.
    #[error("Capacity was provided but SKU is not capacityReservation. Set SKU name to capacityReservation.")]
    CapacityWithoutSku,
    /// ER5.
    #[error("Missing capacity in SKU. Set Capacity value to {min} or higher in steps of 100 (GB).")]
    MissingCapacity { min: i64 },
    /// ER6.
    #[error(
        "Capacity in SKU is not in range. Should be minimum {min} and up to the max allowed capacity which is available under 'Usage and estimated cost' in your workspace."
    )]
    CapacityRange { min: i64 },
    /// ER7.
    #[error("Capacity is locked for {days} days. Decreasing capacity is permitted {days} days after update.")]
    CapacityLocked { days: u32 },
    /// ER8.
    #[error("No SKU was set. Set the SKU name to capacityReservation and Capacity value to {min} or higher in steps of 100 (GB).")]
    MissingSku { min: i64 },
    /// ER9.
    #[error("Identity is null or empty. Set Identity with systemAssigned type.")]
    MissingIdentity,
    /// ER10.
    #[error("KeyVaultProperties are set on creation. Update KeyVaultProperties after cluster creation.")]
    KeyOnCreate,
    /// ER11: a PUT.
    #[error(
        "Operation cannot be executed now. Async operation is in a state other than succeeded. Cluster must complete its operation before any update operation is performed."
    )]
    ReplaceWhileBusy,
    /// ER12: a PATCH.
    #[error(
        "Cluster is in deleting state. Async operation is in progress. Cluster must complete its operation before any update operation is performed."
    )]
    UpdateWhileDeleting,
    /// ER13.
    #[error("KeyVaultProperties isn't empty but has a bad format. See key identifier update.")]
    KeyFormat { why: &'static str },
    /// ER14.
    #[error(
        "Failed to validate key in Key Vault. Could be due to lack of permissions or when key doesn't exist. Verify that you set key and Access Policy in Key Vault."
    )]
    KeyNotValid { problem: String, why: String },
    /// ER15.
    #[error("Key isn't recoverable. Key Vault must be set to Soft-delete and Purge-protection. See Key Vault documentation")]
    KeyNotRecoverable,
    /// ER16: a PATCH.
    #[error("Operation can't be executed now. Wait for the Async operation to complete and try again.")]
    UpdateWhileBusy,
    /// ER17: a PUT.
    #[error("Cluster is in deleting state. Wait for the Async operation to complete and try again.")]
    ReplaceWhileDeleting,
    /// ER18; `soft`: in the words of the time when support could bring it back.
    #[error("{}", cluster_absent(*soft))]
    ClusterAbsent { soft: bool },
    /// ER19.
    #[error(
        "A cluster named {name} was deleted in the last {days} days. Its name is reserved until {until}; use another name, or wait until then."
    )]
    NameReserved { name: String, days: u32, until: String },
    /// ER21.
    #[error("Can't delete a cluster while in provisioning state. Wait for the Async operation to complete and try again.")]
    DeleteWhileBusy,
    /// ER22, ER25.
    #[error("Workspace not found. The workspace you specified doesn't exist or was deleted.")]
    WorkspaceAbsent,
    /// ER23, ER26.
    #[error("Workspace link or unlink operation in process.")]
    LinkBusy,
    /// ER20.
    #[error("{region} doesn't support Double Encryption for clusters")]
    DoubleNotSupported { region: String },
    /// ER24; `soft` as there.
    #[error("{}", link_target_absent(*soft))]
    LinkTargetAbsent { soft: bool },
    /// L2.
    #[error(
        "Cluster {name} is in state {state}. A workspace can be linked once the cluster's state is Succeeded; what it sends until then stays under the provider's key."
    )]
    ClusterNotReady { name: String, state: String },
    /// L5.
    #[error("The workspace is linked to cluster {cluster}. Unlink it from there first.")]
    LinkedElsewhere { cluster: String },
    /// Nothing to show or to take away.
    #[error("The workspace is not linked to a cluster.")]
    NotLinked,
    /// I8.
    #[error("Identity and key can't be changed in one update. Change the identity first, grant it in Key Vault, then update the key.")]
    IdentityWithKey,
    /// I3.
    #[error("A cluster has exactly one identity: its own (SystemAssigned), or one of userAssignedIdentities (UserAssigned).")]
    SingleIdentity,
    /// Q16: `there` ids were given.
    #[error("A workspace has exactly one storage account for {source_type}; storageAccountIds names {there}.")]
    StorageAccountCount { source_type: &'static str, there: usize },
    /// Q16, of 2021.
    #[error("Query and Alerts of a workspace are linked to one and the same storage account here; the workspace is linked to another.")]
    StorageAccountsDiffer,
    /// Q7.
    #[error("Storage account {name} can't be linked: {why}.")]
    StorageAccountUnfit { name: String, why: String },
    /// I11.
    #[error(
        "The identity of cluster {cluster} was set to None, which revoked access to its data for good on your side. Ask the operator of this service to restore it (strongroom cluster restore-identity {cluster})."
    )]
    IdentityNoneIsFinal { cluster: String },
    /// A user-assigned identity that is not there.
    #[error("There is no user-assigned identity {path}. Make it first: PUT Microsoft.ManagedIdentity/userAssignedIdentities/NAME.")]
    IdentityUnknown { path: String },
    /// One that clusters still show.
    #[error("A cluster shows the identity {name}, or did when it was deleted. Change the cluster's identity first.")]
    IdentityInUse { name: String },
    /// N1.
    #[error(
        "{what} is in region {region}, cluster {cluster} in {cluster_region}. Key vault, cluster and linked workspaces have to be in one region."
    )]
    RegionMismatch { what: String, region: String, cluster: String, cluster_region: String },
    /// N3.
    #[error(
        "Key vault {vault} belongs to tenant {tenant}, this service to {own}. Key vault, cluster and workspaces have to be in one tenant."
    )]
    TenantMismatch { vault: String, tenant: String, own: String },
    /// N4.
    #[error(
        "Key vault {vault} is reached over a private link. A user-assigned identity can't be used with it; use the cluster's own (SystemAssigned)."
    )]
    PrivateLinkNeedsSystem { vault: String },
    /// C18.
    #[error("Double encryption is set when a cluster is created and can't be changed afterwards. This cluster was created with {is}.")]
    DoubleIsFixed { is: bool },
    /// X5.
    #[error(
        "Key vault {uri} is not known here. Register it first: PUT Microsoft.KeyVault/vaults/NAME with its location, tenantId and vaultUri."
    )]
    VaultUnknown { uri: String },
    /// DESIGN §7.
    #[error(
        "Cluster {name} holds {what}. Without the cluster it stays readable only while its keys are kept ({days} days). Send the request with force=true to delete all the same."
    )]
    ClusterHoldsData { name: String, what: String, days: u32 },
    /// M1.
    #[error("There can be {max} active clusters of a subscription in region {region}; there are {there}. Delete one first.")]
    ActiveLimit { max: usize, region: String, there: usize },
    /// M2.
    #[error(
        "There can be {max} reserved clusters of a subscription in region {region}, active or recently deleted; there are {there}, {deleted} of them deleted. The next reservation ends at {until}."
    )]
    ReservedLimit { max: usize, region: String, there: usize, deleted: usize, until: String },
    /// M4.
    #[error(
        "A workspace can be linked {max} times in {days} days; this one was linked {there} times. It can be linked again from {until}."
    )]
    LinkLimit { max: usize, days: u32, there: usize, until: String },
    /// C19.
    #[error(
        "Clusters can't be moved to another resource group or subscription, and nothing else here can. Create one there and delete the old one."
    )]
    MoveNotSupported,
    /// M1, as one bound for all.
    #[error("There can be {max} clusters; there are {there}. Delete one first.")]
    ClusterLimit { max: usize, there: usize },
    /// M3.
    #[error("{max} workspaces can be linked to a cluster; {there} are linked to {name}. Unlink one first.")]
    LinkedLimit { name: String, max: usize, there: usize },
    /// B2.
    #[error(
        "Lockbox does not cover workspace {workspace}: it is not linked to a dedicated cluster. Access to it goes by roles alone; ask for one."
    )]
    LockboxNotCovered { workspace: String },
    /// B4.
    #[error("Lockbox is not available in region {region}.")]
    LockboxNotAvailable { region: String },
    /// B3.
    #[error("A Lockbox request is decided by a role on the subscription. Yours, {role}, holds for one workspace.")]
    LockboxNeedsSubscription { role: String },
    /// Who asks does not answer.
    #[error("A Lockbox request can't be decided by who made it.")]
    LockboxOwnRequest,
    /// It is not to be answered, or to be ended, any more.
    #[error("Lockbox request {id} is {state}: it can't be {wanted}.")]
    LockboxSettled { id: String, state: &'static str, wanted: &'static str },
    /// One at a time.
    #[error("You have asked for workspace {workspace} already: request {id} is {state}.")]
    LockboxAsked { workspace: String, id: String, state: &'static str },
    /// The server stopped while the key was being changed.
    #[error("The server stopped while the key was being changed. The cluster uses the key it had before; send the update again.")]
    Interrupted,
}

fn cluster_absent(soft: bool) -> &'static str {
    if soft {
        "Cluster not found, the cluster was probably deleted. If you try to create a cluster with that name and get a conflict, the cluster is in soft delete for 14 days. To create a new cluster contact support, or use another name."
    } else {
        "Cluster not found, the cluster might have been deleted. If you try to create a cluster with that name and get a conflict, the cluster is in the deletion process."
    }
}

fn link_target_absent(soft: bool) -> &'static str {
    if soft {
        "Cluster not found, the cluster you specified doesn't exist or was deleted. If you try to create a cluster with that name and get a conflict, the cluster is in soft delete for 14 days. You can contact support to recover it."
    } else {
        "Cluster not found, the cluster you specified doesn't exist or was deleted."
    }
}

impl Refusal {
    /// What kind of trouble this is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::ClusterAbsent { .. } | Self::WorkspaceAbsent | Self::NotLinked => ErrorKind::NotFound,
            Self::NameReserved { .. }
            | Self::IdentityInUse { .. }
            | Self::DeleteWhileBusy
            | Self::LinkBusy
            | Self::ClusterNotReady { .. }
            | Self::LinkedElsewhere { .. }
            | Self::ClusterHoldsData { .. }
            | Self::LockboxSettled { .. }
            | Self::LockboxAsked { .. }
            | Self::Interrupted => ErrorKind::Conflict,
            Self::IdentityNoneIsFinal { .. } | Self::LockboxNeedsSubscription { .. } | Self::LockboxOwnRequest => ErrorKind::Forbidden,
            _ => ErrorKind::Invalid,
        }
    }

    /// The stable code a client sees.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ClusterName { .. } => "InvalidClusterName",
            Self::Body => "InvalidRequestBody",
            Self::SkuName => "InvalidSkuName",
            Self::CapacityWithoutSku => "CapacityWithoutReservation",
            Self::MissingCapacity { .. } => "MissingCapacity",
            Self::CapacityRange { .. } => "CapacityOutOfRange",
            Self::CapacityLocked { .. } => "CapacityLocked",
            Self::MissingSku { .. } => "MissingSku",
            Self::MissingIdentity => "MissingIdentity",
            Self::KeyOnCreate => "KeyVaultPropertiesOnCreate",
            Self::ReplaceWhileBusy | Self::UpdateWhileBusy => "OperationInProgress",
            Self::UpdateWhileDeleting | Self::ReplaceWhileDeleting => "ClusterDeleting",
            Self::KeyFormat { .. } => "InvalidKeyVaultProperties",
            Self::KeyNotValid { .. } => "KeyValidationFailed",
            Self::KeyNotRecoverable => "KeyNotRecoverable",
            Self::ClusterAbsent { .. } | Self::NotLinked => "ResourceNotFound",
            Self::NameReserved { .. } => "ClusterNameReserved",
            Self::DeleteWhileBusy => "ClusterProvisioning",
            Self::WorkspaceAbsent => "WorkspaceNotFound",
            Self::LinkBusy => "LinkOperationInProgress",
            Self::DoubleNotSupported { .. } => "DoubleEncryptionNotSupported",
            Self::LinkTargetAbsent { .. } => "ClusterNotFound",
            Self::ClusterNotReady { .. } => "ClusterNotReady",
            Self::LinkedElsewhere { .. } => "WorkspaceLinkedElsewhere",
            Self::IdentityWithKey => "IdentityAndKeyInOneUpdate",
            Self::DoubleIsFixed { .. } => "DoubleEncryptionImmutable",
            Self::SingleIdentity => "SingleIdentityRequired",
            Self::IdentityNoneIsFinal { .. } => "IdentityNoneIsFinal",
            Self::IdentityUnknown { .. } => "IdentityNotFound",
            Self::IdentityInUse { .. } => "IdentityInUse",
            Self::StorageAccountCount { .. } | Self::StorageAccountsDiffer => "TooManyStorageAccounts",
            Self::StorageAccountUnfit { .. } => "InvalidStorageAccount",
            Self::RegionMismatch { .. } => "RegionMismatch",
            Self::TenantMismatch { .. } => "TenantMismatch",
            Self::PrivateLinkNeedsSystem { .. } => "PrivateLinkNeedsSystemAssigned",
            Self::VaultUnknown { .. } => "KeyVaultNotRegistered",
            Self::ClusterHoldsData { .. } => "ClusterHoldsData",
            Self::ClusterLimit { .. } | Self::ActiveLimit { .. } => "ClusterLimitReached",
            Self::ReservedLimit { .. } => "ReservedClusterLimitReached",
            Self::LinkLimit { .. } => "LinkOperationLimitReached",
            Self::MoveNotSupported => "ResourceMoveNotSupported",
            Self::LinkedLimit { .. } => "LinkedWorkspaceLimitReached",
            Self::Interrupted => "OperationInterrupted",
            Self::LockboxNotCovered { .. } => "LockboxNotApplicable",
            Self::LockboxNotAvailable { .. } => "LockboxNotAvailable",
            Self::LockboxNeedsSubscription { .. } | Self::LockboxOwnRequest => "AuthorizationFailed",
            Self::LockboxSettled { .. } => "LockboxRequestSettled",
            Self::LockboxAsked { .. } => "LockboxRequestExists",
        }
    }

    /// What the text leaves open: a code and a sentence.
    #[must_use]
    pub fn detail(&self) -> Option<(&str, &str)> {
        match self {
            Self::KeyNotValid { problem, why } => Some((problem, why)),
            Self::KeyFormat { why } => Some(("BadFormat", why)),
            _ => None,
        }
    }
}
