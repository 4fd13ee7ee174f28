//! Roles are data: lists of actions, with `*` for any run of characters.

use std::sync::Arc;

use strongroom_catalog::Scope;
use strongroom_model::WorkspaceId;

use crate::{Caller, ControlError};

/// The actions that are asked for.
pub mod action {
    /// Send rows.
    pub const INGEST: &str = "workspaces/ingest/action";
    /// Ask questions.
    pub const QUERY: &str = "workspaces/query/action";
    /// Make blocks of what is in memory.
    pub const FLUSH: &str = "workspaces/flush/action";
    /// See a workspace.
    pub const WORKSPACES_READ: &str = "workspaces/read";
    /// Make or change a workspace.
    pub const WORKSPACES_WRITE: &str = "workspaces/write";
    /// Delete a workspace: for a while it can be brought back.
    pub const WORKSPACES_DELETE: &str = "workspaces/delete";
    /// End data for good: a workspace at once, rows of a table.
    pub const SHRED: &str = "workspaces/shred/action";
    /// See tables and their columns.
    pub const TABLES_READ: &str = "workspaces/tables/read";
    /// Change a table.
    pub const TABLES_WRITE: &str = "workspaces/tables/write";
    /// See a workspace's stored functions.
    pub const FUNCTIONS_READ: &str = "workspaces/functions/read";
    /// Store a function.
    pub const FUNCTIONS_WRITE: &str = "workspaces/functions/write";
    /// Delete a stored function.
    pub const FUNCTIONS_DELETE: &str = "workspaces/functions/delete";
    /// See who has a token.
    pub const PRINCIPALS_READ: &str = "principals/read";
    /// Give a token.
    pub const PRINCIPALS_WRITE: &str = "principals/write";
    /// Take a token away.
    pub const PRINCIPALS_DELETE: &str = "principals/delete";
    /// See clusters and how their changes stand.
    pub const CLUSTERS_READ: &str = "clusters/read";
    /// Make or change a cluster.
    pub const CLUSTERS_WRITE: &str = "clusters/write";
    /// Delete a cluster.
    pub const CLUSTERS_DELETE: &str = "clusters/delete";
    /// Let a cluster's key out of quarantine.
    pub const KEY_RELEASE: &str = "clusters/key/release/action";
    /// Link a workspace to a cluster.
    pub const LINKS_WRITE: &str = "workspaces/linkedServices/write";
    /// Unlink a workspace.
    pub const LINKS_DELETE: &str = "workspaces/linkedServices/delete";
    /// See which key vaults are registered.
    pub const VAULTS_READ: &str = "vaults/read";
    /// Register a key vault.
    pub const VAULTS_WRITE: &str = "vaults/write";
    /// Forget a key vault.
    pub const VAULTS_DELETE: &str = "vaults/delete";
    /// Read the audit chain.
    pub const AUDIT_READ: &str = "audit/read";
    /// See Lockbox requests.
    pub const LOCKBOX_READ: &str = "lockbox/read";
    /// Ask a customer for leave to see a workspace's rows.
    pub const LOCKBOX_REQUEST: &str = "lockbox/request/action";
    /// Approve, reject and end such requests.
    pub const LOCKBOX_APPROVE: &str = "lockbox/approve/action";
    /// Ask questions as far as the customer approved.
    pub const QUERY_APPROVED: &str = "workspaces/query/lockbox/action";
    /// Make or delete an identity that clusters may show.
    pub const IDENTITIES_WRITE: &str = "identities/write";
    /// See the identities that clusters may show.
    pub const IDENTITIES_READ: &str = "identities/read";
    /// Give a cluster back the identity that was taken off it: the operator's, not a customer's.
    pub const IDENTITY_RESTORE: &str = "operator/clusters/restoreIdentity/action";
    /// Bring a deleted cluster back: the operator's, not a customer's.
    pub const CLUSTER_RECOVER: &str = "operator/clusters/recover/action";
    /// See the keys that a workspace's senders sign with, or replace them.
    pub const SHARED_KEYS: &str = "workspaces/sharedKeys/action";
    /// See data collection endpoints and rules.
    pub const COLLECTION_READ: &str = "dataCollection/read";
    /// Make or change them.
    pub const COLLECTION_WRITE: &str = "dataCollection/write";
    /// Delete them.
    pub const COLLECTION_DELETE: &str = "dataCollection/delete";
    /// See what the hot cache holds.
    pub const CACHE_READ: &str = "cache/read";
}

/// What a role allows: every action that some of `actions` matches and none of `not_actions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Patterns of what is allowed.
    pub actions: Vec<String>,
    /// Patterns of what is not.
    pub not_actions: Vec<String>,
}

impl Role {
    /// Whether it allows `action`.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        any(&self.actions) && !any(&self.not_actions)
    }

    /// What a principal has whose role is no longer known: nothing.
    pub(crate) fn nothing(name: &str) -> Self {
        Self { name: name.to_owned(), description: String::new(), actions: Vec::new(), not_actions: Vec::new() }
    }
}

/// Whether a pattern with `*` matches; case does not count, as in Azure.
fn matches(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == action;
    };
    let Some(mut left) = action.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(last)
}

/// The built-in roles: name, sentence, actions, not-actions.
const BUILT_IN: &[(&str, &str, &[&str], &[&str])] = &[
    ("Owner", "everything, tokens included", &["*"], &[]),
    (
        "Contributor",
        "everything but giving and taking tokens, ending a key's quarantine, letting the provider's staff in, shredding, and what is the operator's",
        &["*"],
        &["principals/write", "principals/delete", action::KEY_RELEASE, action::LOCKBOX_APPROVE, action::SHRED, "operator/*"],
    ),
    ("Reader", "see and query, change nothing", &["*/read", action::QUERY], &[]),
    ("Ingest", "send rows and nothing else", &[action::INGEST], &[]),
    (
        "Operator",
        "run the service without seeing customers' data: no rows, no columns, no tokens to give",
        &[
            action::WORKSPACES_READ,
            action::WORKSPACES_WRITE,
            action::FLUSH,
            action::CACHE_READ,
            action::AUDIT_READ,
            action::PRINCIPALS_READ,
            "clusters/*",
            "identities/*",
            "operator/*",
            "workspaces/linkedServices/*",
            "vaults/*",
            action::LOCKBOX_READ,
            action::LOCKBOX_REQUEST,
            action::QUERY_APPROVED,
        ],
        &[action::QUERY, action::TABLES_READ, action::LOCKBOX_APPROVE],
    ),
    (
        "LockboxApprover",
        "decide whether the provider's staff may see rows, for a time",
        &[action::LOCKBOX_READ, action::LOCKBOX_APPROVE, action::WORKSPACES_READ],
        &[],
    ),
];

/// The roles there are.
#[derive(Debug)]
pub struct Roles {
    roles: Vec<Arc<Role>>,
}

impl Roles {
    /// Owner, Contributor, Reader, Ingest, Operator, LockboxApprover.
    #[must_use]
    pub fn built_in() -> Self {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let role = |&(name, description, actions, not_actions): &(&str, &str, &[&str], &[&str])| {
            Arc::new(Role {
                name: name.to_owned(),
                description: description.to_owned(),
                actions: texts(actions),
                not_actions: texts(not_actions),
            })
        };
        Self { roles: BUILT_IN.iter().map(role).collect() }
    }

    /// The role of that name; case does not count.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.iter().find(|role| role.name.eq_ignore_ascii_case(name))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter().map(Arc::as_ref)
    }

    /// Whether `caller` may do `action` in `workspace`, or on everything if that is `None`.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] for a workspace outside the caller's scope, as if it were not there;
    /// [`ControlError::Forbidden`] if the role does not allow it, or if a caller for one workspace asks for everything.
    pub fn authorize(&self, caller: &Caller, action: &str, workspace: Option<WorkspaceId>) -> Result<(), ControlError> {
        match (caller.scope, workspace) {
            (Scope::Workspace(own), Some(asked)) if own != asked => {
                Err(ControlError::NotFound { what: "workspace", name: asked.to_string() })
            }
            (Scope::Workspace(_), None) => Err(caller.forbidden(action)),
            _ => caller.check(action),
        }
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::built_in()
    }
}
