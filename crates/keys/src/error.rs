//! Why a key could not be had.

use strongroom_catalog::CatalogError;
use strongroom_envelope::{GuardError, OpenError, SealError};
use strongroom_model::{AccountId, AekId, Epoch, ErrorKind, ObjectId, WorkspaceId};

use crate::provider::VaultError;
use crate::{Refused, Shut};

/// Why the key ring gave no guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The catalog failed.
    #[error("the catalog did not answer for a key record")]
    Catalog(#[from] CatalogError),
    /// The object store failed.
    #[error("the copy of a key record could not be kept beside the data")]
    Objects(#[from] object_store::Error),
    /// The vault failed or refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A guard no longer gives its keys.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A key record, or a secret, did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The gate of a cluster's account is shut (`reliability.md` §B8 has the texts).
    #[error("{}", shut(cluster, *why))]
    Shut {
        /// The cluster's name.
        cluster: String,
        /// Why.
        why: Shut,
        /// Since when, milliseconds since 1970.
        since_ms: i64,
    },
    /// The epoch's key has not been unwrapped yet.
    #[error("key {} has not been fetched from its vault yet", epoch.aek)]
    NotLoaded {
        /// The epoch.
        epoch: Epoch,
    },
    /// Nobody knows this account.
    #[error("no account {account}")]
    NoAccount {
        /// The account.
        account: AccountId,
    },
    /// No record of this key.
    #[error("no record of key {}", epoch.aek)]
    NoKey {
        /// The epoch.
        epoch: Epoch,
    },
    /// The workspace has no secret in this epoch: nothing was ever sealed there, or it was shredded.
    #[error("workspace {workspace} has no secret under key {}", epoch.aek)]
    NoSecret {
        /// The epoch.
        epoch: Epoch,
        /// The workspace.
        workspace: WorkspaceId,
    },
    /// Whoever asks may not read this.
    #[error("{}", .0.why)]
    NotAllowed(Refused),
    /// The approval that somebody read under is over.
    #[error("the approval of Lockbox request {request} is over")]
    ApprovalOver {
        /// The request.
        request: ObjectId,
    },
    /// A record older than one already seen: somebody put back an old copy.
    #[error("the record of key {aek} has generation {found}, but {highest} was already seen")]
    Stale {
        /// The key.
        aek: AekId,
        /// The record's generation.
        found: u64,
        /// The highest seen.
        highest: u64,
    },
    /// The public key that rows are sealed to while this key is away is not its own.
    #[error("rows for key {aek} would be sealed to another key")]
    WrongBufferKey {
        /// The key.
        aek: AekId,
    },
    /// A record that names other ids than its row.
    #[error("the record of key {aek} belongs to another key or account")]
    WrongRecord {
        /// The key whose row it is.
        aek: AekId,
    },
}

impl KeyError {
    /// What retries and the gateway look at.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Catalog(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::Guard(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Seal(error) => error.kind(),
            Self::Shut { why: Shut::Revoked | Shut::AccessLost, .. } => ErrorKind::KeyRevoked,
            Self::Objects(_) | Self::Shut { .. } | Self::NotLoaded { .. } => ErrorKind::Unavailable,
            Self::NoAccount { .. } | Self::NoSecret { .. } => ErrorKind::NotFound,
            Self::NotAllowed(_) | Self::ApprovalOver { .. } => Refused::KIND,
            Self::NoKey { .. } | Self::Stale { .. } | Self::WrongRecord { .. } | Self::WrongBufferKey { .. } => ErrorKind::Corrupt,
        }
    }
    /// The stable code clients see.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Catalog(error) => error.code(),
            Self::Objects(_) => "StorageUnavailable",
            Self::Vault(error) => error.code(),
            Self::Guard(error) => error.code(),
            Self::Open(error) => error.code(),
            Self::Seal(error) => error.code(),
            Self::Shut { why, .. } => match why {
                Shut::Revoked => "CustomerKeyRevoked",
                Shut::AccessLost => "KeyAccessLost",
                Shut::Unavailable => "KeyVaultUnavailable",
                Shut::Quarantined => "KeyQuarantined",
            },
            Self::NotLoaded { .. } => "KeyVaultUnavailable",
            Self::NoAccount { .. } => "AccountNotFound",
            Self::NoSecret { .. } => "WorkspaceKeyNotFound",
            Self::NotAllowed(refused) => refused.code,
            Self::ApprovalOver { .. } => "LockboxApprovalOver",
            Self::NoKey { .. } | Self::Stale { .. } | Self::WrongRecord { .. } | Self::WrongBufferKey { .. } => "IntegrityError",
        }
    }
}

fn shut(cluster: &str, why: Shut) -> String {
    match why {
        Shut::Revoked => format!(
            "The customer-managed key of cluster {cluster} is disabled, deleted or access to it was removed. Data sent now is not \
             accepted, unless its workspace keeps or drops it while the key is revoked. Re-enable the key to resume."
        ),
        Shut::AccessLost => format!("The key vault refuses the identity or network of cluster {cluster}. Data sent now is kept sealed."),
        Shut::Unavailable => {
            format!("The key vault of cluster {cluster} has not answered for longer than its key may be kept. Try again later.")
        }
        Shut::Quarantined => format!(
            "The key vault of cluster {cluster} gives another key than the one that was wrapped. An operator has to look at it; no data \
             is lost."
        ),
    }
}
