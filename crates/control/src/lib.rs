//! Who may do what to which workspace, and how long rows stay.
//!
//! The token says who, the catalog says what: a caller is looked up at each request (for at most a second from memory),
//! and a workspace that is absent looks like one that is somebody else's. Retention works on catalog rows and object
//! names alone, so it runs in every key state. Nothing here opens a block. Start at [`Principals::authenticate`],
//! [`Caller::check`] and [`Workspaces::resolve`]; rows end in [`Retention`]; dedicated clusters, their keys and links are [`Clusters`].
//!
//! ```text
//! token ─SHA-256 or signature─▶ principal ─role assignments─▶ {role, place}… ─check(action, path)─▶ yes, 403, or the same "not found"
//! live block ─window ended before the cut─▶ tombstone ─longest query over─▶ object deleted ─▶ row forgotten
//! ```

pub mod alerts;
pub mod audit;
pub mod azure;
mod caller;
mod clusters;
pub mod collection;
mod config;
pub mod contents;
pub mod desk;
mod directory;
pub mod documents;
mod error;
mod identities;
mod lockbox;
mod operations;
mod pages;
pub mod personal;
mod principals;
mod recent;
mod refusal;
mod retention;
mod rights;
mod roles;
pub mod saved;
mod scope;
mod services;
mod shared_keys;
mod shred;
mod storage;
mod sweep;
mod tables;
mod tokens;
mod vaults;
pub mod watch;
mod workspaces;

pub use azure::{AsyncStatus, AzureConfig, Compat, LinkedContent, LinkedRules, PermissionModels, Rules};
pub use caller::{Caller, Grant};
pub use clusters::links::{LinkAccepted, LinkView, link_path};
pub use clusters::{Accepted, Check, ClusterAsk, ClusterView, Clusters, Held, KeyProperties, KeyReport, Place, RESERVED_DAYS, RewriteView};
pub use config::{ControlConfig, RETENTION_DAYS_MAX};
pub use desk::{KeyDesk, KeyStatus, RewriteStep};
pub use directory::{Directory, DirectoryConfig, IssuerConfig, IssuerRule, RegionConfig, SubscriptionConfig};
pub use error::ControlError;
pub use identities::{UserIdentities, UserIdentityAsk};
pub use lockbox::{Lockbox, LockboxConfig};
pub use operations::operation_status;
pub use pages::{WorkspacePage, WorkspacePages};
pub use principals::{ADMIN, Bearer, CreatedPrincipal, Principals, TokenReader};
pub use refusal::Refusal;
pub use retention::{Expired, Retention};
pub use rights::{Rights, RoleAsk};
pub use roles::{Role, Roles, action};
pub use scope::ScopePath;
pub use services::{CreatedSecret, LoginError, Proof, Services};
pub use shared_keys::{SharedKeyPair, SharedKeys};
pub use shred::{Dispose, RowsGone, Said, ShredDeps, Shredder};
pub use storage::{LinkedStorage, StorageAsk, StorageKey, StorageLink, StorageView, Storages};
pub use sweep::{Inventory, Sweep, Swept};
pub use tables::{TableAsk, TableView, Tables};
pub use tokens::{Subject, Tokens, audience_name};
pub use vaults::{Protection, VaultAsk, Vaults, vault_uri};
pub use workspaces::{DEFAULT_NAME, Workspaces, check_retention};

#[cfg(test)]
mod tests;
