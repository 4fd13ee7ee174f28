//! Rows of dedicated clusters: the cluster, its links, operations, vault references, key states.

use std::fmt;
use std::str::FromStr;

use strongroom_model::{AccountId, AekId, ObjectId, WorkspaceId};

use super::words;

words! {
    /// How far a cluster's last change has come.
    ClusterState {
        /// It is being made.
        Creating,
        /// Its storage account is being opened.
        ProvisioningAccount,
        /// A change of it runs.
        Updating,
        /// It is being deleted, or was.
        Deleting,
        /// The last change is done.
        Succeeded,
        /// The last change failed.
        Failed,
        /// The last change was given up.
        Canceled,
    }
}

words! {
    /// Whose identity a cluster shows to the vault.
    IdentityType {
        /// None: the cluster has no way to its key.
        None,
        /// Its own, made with it.
        SystemAssigned,
        /// One that the customer made.
        UserAssigned,
    }
}

words! {
    /// To whom a cluster's data is billed.
    Billing {
        /// To the cluster.
        Cluster,
        /// To each linked workspace.
        Workspaces,
    }
}

words! {
    /// How an operation stands.
    OperationStatus {
        /// It runs, or will when the server is back.
        InProgress,
        /// It was done.
        Succeeded,
        /// It was not; the error says why.
        Failed,
    }
}

/// A dedicated cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRow {
    /// Its id.
    pub id: ObjectId,
    /// Its name: unique in its resource group, without regard to case, among those not deleted.
    pub name: String,
    /// The subscription it is billed to.
    pub subscription: String,
    /// The resource group it lies in.
    pub resource_group: String,
    /// The region.
    pub region: String,
    /// Its storage account; `None` until that is opened.
    pub account: Option<AccountId>,
    /// How far its last change has come.
    pub state: ClusterState,
    /// Whose identity it shows to the vault.
    pub identity_type: IdentityType,
    /// That identity, sealed for the cluster; `None` until it is made. While it shows none: the last one.
    pub identity: Option<IdentityRow>,
    /// Which user-assigned identity that is; `None`: the cluster's own.
    pub user_identity: Option<ObjectId>,
    /// The commitment tier's name.
    pub sku_name: String,
    /// The commitment tier, GB a day.
    pub sku_capacity: i64,
    /// To whom its data is billed.
    pub billing: Billing,
    /// Whether its data is encrypted twice; never changes.
    pub double: bool,
    /// Its tags: a JSON object.
    pub tags: String,
    /// The customer's key; `None`: none was set.
    pub key: Option<ClusterKeyRow>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// Last change, milliseconds since 1970.
    pub modified_ms: i64,
    /// When it was deleted, milliseconds since 1970.
    pub deleted_ms: Option<i64>,
    /// When its capacity was last set, milliseconds since 1970.
    pub sku_ms: i64,
}

/// The identity that a cluster shows to the vault.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityRow {
    /// Its principal id.
    pub principal: String,
    /// Its tenant id.
    pub tenant: String,
    /// Its public key, PEM.
    pub public_key_pem: String,
    /// Its private key: a sealed cell.
    pub cell: Vec<u8>,
}

impl fmt::Debug for IdentityRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityRow").field("principal", &self.principal).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// An identity that a customer made and clusters may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserIdentityRow {
    /// Its id.
    pub id: ObjectId,
    /// Its name: unique in its resource group, without regard to case.
    pub name: String,
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The region.
    pub region: String,
    /// Its tags: a JSON object.
    pub tags: String,
    /// Its parts; the private key is sealed for this row.
    pub identity: IdentityRow,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
}

/// The customer's key of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterKeyRow {
    /// The vault.
    pub vault_uri: String,
    /// The key's name.
    pub name: String,
    /// The version it is pinned to; `None`: always the newest.
    pub version: Option<String>,
    /// Its modulus, if known.
    pub rsa_bits: Option<u32>,
}

/// That a workspace is linked to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRow {
    /// The cluster.
    pub cluster: ObjectId,
    /// Since when, milliseconds since 1970.
    pub linked_ms: i64,
}

/// A change of a resource that takes its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationRow {
    /// Its id.
    pub id: ObjectId,
    /// The path of what it changes.
    pub resource: String,
    /// The region of that.
    pub region: String,
    /// Which change.
    pub kind: String,
    /// What it needs to go on after a restart: a JSON document.
    pub input: String,
    /// How it stands.
    pub status: OperationStatus,
    /// Its begin, milliseconds since 1970.
    pub start_ms: i64,
    /// Its end, milliseconds since 1970.
    pub end_ms: Option<i64>,
    /// Why it failed.
    pub error: Option<OperationErrorRow>,
}

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationErrorRow {
    /// The stable code.
    pub code: String,
    /// A sentence for the caller.
    pub message: String,
    /// A JSON list of further codes and sentences.
    pub details: String,
}

/// A reference object: a customer's key vault as the control plane knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultRefRow {
    /// Its name: unique in its resource group, without regard to case.
    pub name: String,
    /// The subscription.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// Where the vault answers: scheme, host and port, without a path. Unique.
    pub uri: String,
    /// The region it lies in.
    pub region: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// Whether it is reached over a private link.
    pub private_link: bool,
    /// The authorities that its certificate may come from, besides those of the system; PEM.
    pub ca_pem: Option<String>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// What kind of vault it is.
    pub provider: String,
    /// How to log in there; `None` where a cluster's own identity is all it takes.
    pub access: Option<VaultAccessRow>,
    /// Whether deleted keys can be recovered there; `None`: nobody said.
    pub soft_delete: Option<bool>,
    /// Whether deleted keys cannot be destroyed before their time; `None`: nobody said.
    pub purge_protection: Option<bool>,
    /// Whether rights are given by roles (else by access policies); `None`: nobody said.
    pub rbac: Option<bool>,
}

/// How to log in at a vault, as ciphertext.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultAccessRow {
    /// The row that the cell is sealed for.
    pub id: ObjectId,
    /// The cell, under the root key.
    pub cell: Vec<u8>,
}

/// The state of a cluster's key, as last written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStateRow {
    /// The cluster.
    pub cluster: ObjectId,
    /// The state's name.
    pub state: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
    /// What the vault said that led there.
    pub code: Option<String>,
    /// When the vault last unwrapped, milliseconds since 1970.
    pub last_good_ms: Option<i64>,
}

/// An account's infrastructure key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InfrastructureRow {
    /// The account.
    pub account: AccountId,
    /// The key: a sealed cell.
    pub cell: Vec<u8>,
}

/// What one workspace has in blocks of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldingRow {
    /// The account.
    pub account: AccountId,
    /// The epoch's AEK.
    pub aek: AekId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Live blocks.
    pub blocks: u64,
    /// Their rows.
    pub rows: u64,
    /// Their stored bytes.
    pub bytes: u64,
}
