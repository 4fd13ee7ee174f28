//! Where rules hand over to keys: what a cluster's changes need of whoever holds guards, watches keys and raises barriers.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
pub use strongroom_catalog::IdentityRow as IdentityParts;
use strongroom_catalog::{ClusterRow, UserIdentityRow};
use strongroom_keys::provider::{KekRef, KeyFacts};
use strongroom_model::{AccountId, AekId, KeyClass, ObjectId, WorkspaceId};

use crate::ControlError;
use crate::watch::Unflushed;

/// Keys, as clusters need them. Every call may be repeated after a crash: it finds what an earlier one left and goes on.
#[async_trait]
pub trait KeyDesk: Send + Sync + Debug {
    /// Opens the storage account of a cluster: its row, its infrastructure key if it is sealed twice, its first AEK (under
    /// the provider's key). Found again if it is there.
    async fn open_account(&self, cluster: ObjectId, region: &str, double: bool) -> Result<AccountId, ControlError>;

    /// Makes a cluster's own identity. Nothing is kept: the caller writes it down.
    async fn new_identity(&self, cluster: ObjectId) -> Result<IdentityParts, ControlError>;

    /// Seals a user-assigned identity anew, for a cluster that is to show it.
    async fn lend_identity(&self, cluster: ObjectId, user: &UserIdentityRow) -> Result<IdentityParts, ControlError>;

    /// Whether the identity that `cluster`, as it would be, shows gets at the key in use; changes nothing. Without a key it does.
    async fn probe_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// As [`probe_identity`](Self::probe_identity), and from then on the vault is asked with that identity. Guards stay.
    async fn show_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// Takes the identity away: everything of the cluster is shut at once, and its vault is not asked any more.
    async fn remove_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// Gives it back: the vault is asked again, and decides.
    async fn restore_identity(&self, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// Looks at a key with the cluster's identity and changes nothing: everything that [`set_key`](Self::set_key) would
    /// insist on, a round trip of wrap and unwrap included.
    async fn probe(&self, cluster: &ClusterRow, kek: &KekRef) -> Result<KeyFacts, ControlError>;

    /// Puts a cluster under a key: validates it, wraps a new AEK (and every live one), verifies, starts a new epoch and
    /// raises the barrier for all linked workspaces. When it fails, the cluster is under the key it had before.
    async fn set_key(&self, cluster: &ClusterRow, kek: KekRef) -> Result<KeyFacts, ControlError>;

    /// Sends a workspace's new rows to the cluster's account. Done once no append can take the old epoch.
    async fn link(&self, workspace: WorkspaceId, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// Likewise for a workspace that was linked there before and comes back: whether the key is there or not.
    async fn relink(&self, workspace: WorkspaceId, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// Sends a workspace's new rows back to its region's shared account. Needs no key.
    async fn unlink(&self, workspace: WorkspaceId) -> Result<(), ControlError>;

    /// What an account's keys hold besides blocks.
    fn unflushed(&self, account: AccountId) -> Unflushed;

    /// Ends what runs for a cluster that has no linked workspace any more. Its account and records stay.
    async fn close_cluster(&self, cluster: &ClusterRow) -> Result<(), ControlError>;

    /// Starts an epoch under the key in use and raises the barrier for all linked workspaces. Not another one if the AEK that reigns
    /// is none of `old`.
    async fn begin_epoch(&self, cluster: &ClusterRow, old: &[AekId]) -> Result<(), ControlError>;

    /// One step of a re-key: a block of the epochs `old` sealed anew under the one that reigns; in the end, their records destroyed.
    /// Fails while the key is away.
    async fn rekey_step(&self, cluster: &ClusterRow, old: &[AekId]) -> Result<RewriteStep, ControlError>;

    /// One step of bringing a linked workspace's blocks of the provider's epochs under the customer's key. Fails while that is away.
    async fn reencrypt_step(&self, cluster: &ClusterRow, workspace: WorkspaceId) -> Result<RewriteStep, ControlError>;

    /// How a cluster's key stands, from memory and catalog: asks no vault.
    async fn status(&self, cluster: &ClusterRow) -> Result<KeyStatus, ControlError>;

    /// Lets a cluster's key out of quarantine, if every record of it unwraps and verifies now.
    async fn release(&self, cluster: &ClusterRow) -> Result<(), ControlError>;
}

/// What a step of rewriting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewriteStep {
    /// A block of so many bytes; another step is due.
    Wrote(u64),
    /// Nothing: it has to wait for this.
    Waits(&'static str),
    /// Nothing is left to do.
    Done,
}

/// How a cluster's key stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// The state: `Active`, `Degraded`, `Suspect`, `Unavailable`, `Held`, `Revoked`, `Restoring`, `Quarantined`,
    /// `Provisioning`, or `None` where the cluster has no key of its own.
    pub state: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// What the vault said that led there.
    pub code: Option<String>,
    /// When the vault last unwrapped, milliseconds since 1970.
    pub last_good_ms: Option<i64>,
    /// How long the keys in memory still work if nobody answers, seconds.
    pub lease_left_s: Option<u64>,
    /// The customer's key.
    pub kek: Option<KekStatus>,
    /// The account's AEKs, oldest first.
    pub aeks: Vec<AekStatus>,
    /// Whether an infrastructure key seals everything a second time.
    pub infrastructure_key: bool,
    /// What the last taking away did, in order, and how long each step took, microseconds.
    #[serde(default)]
    pub evidence: Vec<(String, u64)>,
}

/// The customer's key in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KekStatus {
    /// The vault.
    pub vault_uri: String,
    /// The key.
    pub key_name: String,
    /// The version it is pinned to; `None`: it follows the newest.
    pub pinned_version: Option<String>,
    /// What the vault last said of it; `None` if nothing yet.
    pub facts: Option<KeyFacts>,
    /// Whether its time is over. Data comes and goes as before; the cluster's key cannot be updated to it.
    #[serde(default)]
    pub expired: bool,
}

/// One AEK.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AekStatus {
    /// Its id.
    pub id: AekId,
    /// Who can take it away.
    pub class: KeyClass,
    /// Counts up with every wrapping in the account.
    pub generation: u64,
    /// Whether new rows are sealed under it.
    pub current: bool,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// The key that wraps it; empty for the provider's.
    pub wrapped_by: String,
    /// That key's version, as the vault answered.
    pub wrapped_version: String,
    /// The newer versions under which a record waits: the key may be moved to them even after the one in use is disabled.
    #[serde(default)]
    pub standby: Vec<String>,
}
