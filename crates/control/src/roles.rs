//! Roles are data: lists of actions in Azure's words, with `*` for any run of characters. What Azure has no word for is `Strongroom/…`.

use std::sync::Arc;

use strongroom_catalog::{Catalog, CatalogError, RoleRow};
use strongroom_model::ObjectId;
use uuid::{Uuid, uuid};

use crate::ScopePath;

/// The actions that are asked for.
pub mod action {
    /// Send rows.
    pub const INGEST: &str = "Microsoft.OperationalInsights/workspaces/ingest/action";
    /// Ask questions.
    pub const QUERY: &str = "Microsoft.OperationalInsights/workspaces/query/read";
    /// Make blocks of what is in memory.
    pub const FLUSH: &str = "Microsoft.OperationalInsights/workspaces/flush/action";
    /// See a workspace.
    pub const WORKSPACES_READ: &str = "Microsoft.OperationalInsights/workspaces/read";
    /// Make or change a workspace.
    pub const WORKSPACES_WRITE: &str = "Microsoft.OperationalInsights/workspaces/write";
    /// Delete a workspace: for a while it can be brought back.
    pub const WORKSPACES_DELETE: &str = "Microsoft.OperationalInsights/workspaces/delete";
    /// End data for good: a workspace at once, rows of a table.
    pub const SHRED: &str = "Strongroom/workspaces/shred/action";
    /// See tables and their columns.
    pub const TABLES_READ: &str = "Microsoft.OperationalInsights/workspaces/tables/read";
    /// Change a table.
    pub const TABLES_WRITE: &str = "Microsoft.OperationalInsights/workspaces/tables/write";
    /// See a workspace's stored functions.
    pub const FUNCTIONS_READ: &str = "Microsoft.OperationalInsights/workspaces/savedSearches/read";
    /// Store a function.
    pub const FUNCTIONS_WRITE: &str = "Microsoft.OperationalInsights/workspaces/savedSearches/write";
    /// Delete a stored function.
    pub const FUNCTIONS_DELETE: &str = "Microsoft.OperationalInsights/workspaces/savedSearches/delete";
    /// See who has a token.
    pub const PRINCIPALS_READ: &str = "Strongroom/principals/read";
    /// Give a token.
    pub const PRINCIPALS_WRITE: &str = "Strongroom/principals/write";
    /// Take a token away.
    pub const PRINCIPALS_DELETE: &str = "Strongroom/principals/delete";
    /// See clusters and how their changes stand.
    pub const CLUSTERS_READ: &str = "Microsoft.OperationalInsights/clusters/read";
    /// Make or change a cluster.
    pub const CLUSTERS_WRITE: &str = "Microsoft.OperationalInsights/clusters/write";
    /// Delete a cluster.
    pub const CLUSTERS_DELETE: &str = "Microsoft.OperationalInsights/clusters/delete";
    /// Let a cluster's key out of quarantine.
    pub const KEY_RELEASE: &str = "Strongroom/clusters/key/release/action";
    /// Link a workspace to a cluster.
    pub const LINKS_WRITE: &str = "Microsoft.OperationalInsights/workspaces/linkedServices/write";
    /// Unlink a workspace.
    pub const LINKS_DELETE: &str = "Microsoft.OperationalInsights/workspaces/linkedServices/delete";
    /// See which key vaults are registered.
    pub const VAULTS_READ: &str = "Microsoft.KeyVault/vaults/read";
    /// Register a key vault.
    pub const VAULTS_WRITE: &str = "Microsoft.KeyVault/vaults/write";
    /// Forget a key vault.
    pub const VAULTS_DELETE: &str = "Microsoft.KeyVault/vaults/delete";
    /// See which storage accounts are registered.
    pub const STORAGE_READ: &str = "Microsoft.Storage/storageAccounts/read";
    /// Register a storage account, change its key, or link a workspace to it.
    pub const STORAGE_WRITE: &str = "Microsoft.Storage/storageAccounts/write";
    /// Forget a storage account.
    pub const STORAGE_DELETE: &str = "Microsoft.Storage/storageAccounts/delete";
    /// Read the audit chain.
    pub const AUDIT_READ: &str = "Strongroom/audit/read";
    /// See Lockbox requests.
    pub const LOCKBOX_READ: &str = "Strongroom/lockbox/read";
    /// Ask a customer for leave to see a workspace's rows.
    pub const LOCKBOX_REQUEST: &str = "Strongroom/lockbox/request/action";
    /// Approve, reject and end such requests.
    pub const LOCKBOX_APPROVE: &str = "Strongroom/lockbox/approve/action";
    /// Ask questions as far as the customer approved.
    pub const QUERY_APPROVED: &str = "Strongroom/workspaces/query/lockbox/action";
    /// Make or delete an identity that clusters may show.
    pub const IDENTITIES_WRITE: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/write";
    /// See the identities that clusters may show.
    pub const IDENTITIES_READ: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/read";
    /// Bring a deleted cluster back: the operator's, not a customer's.
    pub const CLUSTER_RECOVER: &str = "Strongroom/operator/clusters/recover/action";
    /// Have a cluster show an identity.
    pub const IDENTITIES_ASSIGN: &str = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";
    /// Give a cluster back the identity that was taken off it: the operator's, not a customer's.
    pub const IDENTITY_RESTORE: &str = "Strongroom/operator/clusters/restoreIdentity/action";
    /// See data collection endpoints and rules.
    pub const COLLECTION_READ: &str = "Microsoft.Insights/dataCollectionRules/read";
    /// Make or change them.
    pub const COLLECTION_WRITE: &str = "Microsoft.Insights/dataCollectionRules/write";
    /// Delete them.
    pub const COLLECTION_DELETE: &str = "Microsoft.Insights/dataCollectionRules/delete";
    /// See scheduled-query rules and what fired.
    pub const ALERT_RULES_READ: &str = "Microsoft.Insights/scheduledQueryRules/read";
    /// Make or change such a rule: at its own place, and at the workspace that it asks.
    pub const ALERT_RULES_WRITE: &str = "Microsoft.Insights/scheduledQueryRules/write";
    /// Delete such a rule.
    pub const ALERT_RULES_DELETE: &str = "Microsoft.Insights/scheduledQueryRules/delete";
    /// See action groups.
    pub const ACTION_GROUPS_READ: &str = "Microsoft.Insights/actionGroups/read";
    /// Make or change an action group.
    pub const ACTION_GROUPS_WRITE: &str = "Microsoft.Insights/actionGroups/write";
    /// Delete an action group.
    pub const ACTION_GROUPS_DELETE: &str = "Microsoft.Insights/actionGroups/delete";
    /// See workbooks.
    pub const WORKBOOKS_READ: &str = "Microsoft.Insights/workbooks/read";
    /// Make or change a workbook.
    pub const WORKBOOKS_WRITE: &str = "Microsoft.Insights/workbooks/write";
    /// Delete a workbook.
    pub const WORKBOOKS_DELETE: &str = "Microsoft.Insights/workbooks/delete";
    /// See query packs and their queries.
    pub const PACKS_READ: &str = "Microsoft.OperationalInsights/querypacks/read";
    /// Make or change a query pack.
    pub const PACKS_WRITE: &str = "Microsoft.OperationalInsights/querypacks/write";
    /// Delete a query pack.
    pub const PACKS_DELETE: &str = "Microsoft.OperationalInsights/querypacks/delete";
    /// See the queries of a pack.
    pub const PACK_QUERIES_READ: &str = "Microsoft.OperationalInsights/querypacks/queries/read";
    /// Put a query into a pack.
    pub const PACK_QUERIES_WRITE: &str = "Microsoft.OperationalInsights/querypacks/queries/write";
    /// Take a query out of a pack.
    pub const PACK_QUERIES_DELETE: &str = "Microsoft.OperationalInsights/querypacks/queries/delete";
    /// See alerts that fired.
    pub const ALERTS_READ: &str = "Microsoft.AlertsManagement/alerts/read";
    /// See what the hot cache holds.
    pub const CACHE_READ: &str = "Strongroom/cache/read";
    /// Delete a table.
    pub const TABLES_DELETE: &str = "Microsoft.OperationalInsights/workspaces/tables/delete";
    /// See the keys that data may be sent with, or make new ones.
    pub const SHARED_KEYS: &str = "Microsoft.OperationalInsights/workspaces/sharedKeys/action";
    /// Send data through a data collection rule.
    pub const TELEMETRY_WRITE: &str = "Microsoft.Insights/telemetry/write";
    /// Make something new in a resource group; changing what is there needs only its own action.
    pub const DEPLOYMENTS_WRITE: &str = "Microsoft.Resources/deployments/write";
    /// See subscriptions.
    pub const SUBSCRIPTIONS_READ: &str = "Microsoft.Resources/subscriptions/read";
    /// Make or rename a subscription.
    pub const SUBSCRIPTIONS_WRITE: &str = "Strongroom/subscriptions/write";
    /// See resource groups.
    pub const GROUPS_READ: &str = "Microsoft.Resources/subscriptions/resourceGroups/read";
    /// Make or change a resource group.
    pub const GROUPS_WRITE: &str = "Microsoft.Resources/subscriptions/resourceGroups/write";
    /// Delete an empty resource group.
    pub const GROUPS_DELETE: &str = "Microsoft.Resources/subscriptions/resourceGroups/delete";
    /// See who has which role where.
    pub const ROLES_READ: &str = "Microsoft.Authorization/roleAssignments/read";
    /// Give somebody a role.
    pub const ROLES_WRITE: &str = "Microsoft.Authorization/roleAssignments/write";
    /// Take a role from somebody.
    pub const ROLES_DELETE: &str = "Microsoft.Authorization/roleAssignments/delete";
    /// See what roles there are.
    pub const ROLE_DEFINITIONS_READ: &str = "Microsoft.Authorization/roleDefinitions/read";
    /// Make or change a role.
    pub const ROLE_DEFINITIONS_WRITE: &str = "Microsoft.Authorization/roleDefinitions/write";
    /// Delete a role that nobody has.
    pub const ROLE_DEFINITIONS_DELETE: &str = "Microsoft.Authorization/roleDefinitions/delete";
}

/// What a role allows: every action that some of `actions` matches and none of `not_actions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its id: as in Azure for the roles that Azure has.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// One sentence for people.
    pub description: String,
    /// Patterns of what is allowed.
    pub actions: Vec<String>,
    /// Patterns of what is not.
    pub not_actions: Vec<String>,
    /// Where it may be given, if somebody made it; a built-in one may be given anywhere.
    pub scopes: Option<Vec<String>>,
}

impl Role {
    /// Whether it allows `action`.
    #[must_use]
    pub fn allows(&self, action: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, action));
        any(&self.actions) && !any(&self.not_actions)
    }

    /// Whether it may be given there. One that is held elsewhere gives nothing there: else whoever may define roles in one place could
    /// have what a role says grow in another, where it was given before its places were changed.
    #[must_use]
    pub fn may_lie(&self, at: &ScopePath) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| ScopePath::of(scope).covers(at)))
    }

    fn made(row: RoleRow) -> Self {
        let list = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap_or_default();
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            actions: list(&row.actions),
            // What cannot be read takes away, it does not give.
            not_actions: serde_json::from_str(&row.not_actions).unwrap_or_else(|_| vec!["*".to_owned()]),
            scopes: Some(list(&row.scopes)),
        }
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

const INSIGHTS: &str = "Microsoft.OperationalInsights/*";

/// A built-in role: id, name, sentence, actions, not-actions.
type BuiltIn = (Uuid, &'static str, &'static str, &'static [&'static str], &'static [&'static str]);

/// The built-in roles. Those that Azure has bear its ids, and allow what it documents.
const BUILT_IN: &[BuiltIn] = &[
    (uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635"), "Owner", "everything, rights of others included", &["*"], &[]),
    (
        uuid!("b24988ac-6180-42a0-ab88-20f7382dd24c"),
        "Contributor",
        "everything but giving and taking rights, ending a key's quarantine, letting the provider's staff in, shredding, and what is the operator's",
        &["*"],
        &[
            "Microsoft.Authorization/*/delete",
            "Microsoft.Authorization/*/write",
            "Microsoft.Authorization/elevateAccess/action",
            action::PRINCIPALS_WRITE,
            action::PRINCIPALS_DELETE,
            action::KEY_RELEASE,
            action::LOCKBOX_APPROVE,
            action::SHRED,
            "Strongroom/operator/*",
        ],
    ),
    (uuid!("acdd72a7-3385-48ef-bd42-f606fba81ae7"), "Reader", "see and query, change nothing", &["*/read"], &[]),
    (
        uuid!("92aaf0da-9dab-42b6-94a3-d43ce8d16293"),
        "Log Analytics Contributor",
        "everything of clusters and workspaces, rights and keys of others excepted; see everything else",
        &[
            "*/read",
            INSIGHTS,
            "Microsoft.Insights/alertRules/*",
            "Microsoft.Insights/diagnosticSettings/*",
            "Microsoft.OperationsManagement/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourcegroups/deployments/*",
            "Microsoft.Storage/storageAccounts/listKeys/action",
            "Microsoft.Support/*",
        ],
        &[],
    ),
    (
        uuid!("73c42c96-874c-492b-b04d-ab87d138a893"),
        "Log Analytics Reader",
        "see and query everything, but no shared key",
        &[
            "*/read",
            "Microsoft.OperationalInsights/workspaces/analytics/query/action",
            "Microsoft.OperationalInsights/workspaces/search/action",
            "Microsoft.Support/*",
        ],
        &["Microsoft.OperationalInsights/workspaces/sharedKeys/read"],
    ),
    (
        uuid!("18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"),
        "User Access Administrator",
        "say who may do what; see everything",
        &["*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"],
        &[],
    ),
    (
        uuid!("3913510d-42f4-4e42-8a64-420c390055eb"),
        "Monitoring Metrics Publisher",
        "send data through a data collection rule",
        &[action::TELEMETRY_WRITE],
        &[],
    ),
    (
        uuid!("5f0c3b1e-6d2a-4b7f-9c5e-1a2d4e6f8091"),
        "Ingest",
        "send rows and nothing else",
        &[action::INGEST, action::TELEMETRY_WRITE],
        &[],
    ),
    (
        uuid!("7b1d9e52-c3f8-4a06-b8d4-e0f1a2c3d495"),
        "Operator",
        "run the service without seeing customers' data: no rows, no columns, no rights to give",
        &[
            action::WORKSPACES_READ,
            action::WORKSPACES_WRITE,
            action::FLUSH,
            action::CACHE_READ,
            action::AUDIT_READ,
            action::PRINCIPALS_READ,
            "Microsoft.OperationalInsights/clusters/*",
            "Strongroom/clusters/*",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*",
            "Strongroom/operator/*",
            "Microsoft.OperationalInsights/workspaces/linkedServices/*",
            "Microsoft.KeyVault/vaults/*",
            "Microsoft.Resources/*",
            action::SUBSCRIPTIONS_WRITE,
            action::ROLES_READ,
            action::ROLE_DEFINITIONS_READ,
            action::LOCKBOX_READ,
            action::LOCKBOX_REQUEST,
            action::QUERY_APPROVED,
        ],
        &[action::QUERY, action::TABLES_READ, action::LOCKBOX_APPROVE],
    ),
    (
        uuid!("a9c4e7f1-02b3-4d58-867f-3e5d1c0b9a72"),
        "LockboxApprover",
        "decide whether the provider's staff may see rows, for a time",
        &[action::LOCKBOX_READ, action::LOCKBOX_APPROVE, action::WORKSPACES_READ, action::SUBSCRIPTIONS_READ],
        &[],
    ),
];

/// The id of the role that may do everything.
pub(crate) const OWNER: ObjectId = ObjectId::from_bytes(uuid!("8e3af657-a8ff-443c-a75c-2fe8c4bcb635").into_bytes());

/// The roles that are built in, and the way to those that somebody made.
#[derive(Debug)]
pub struct Roles {
    roles: Vec<Arc<Role>>,
}

impl Roles {
    /// Owner, Contributor, Reader, Log Analytics Contributor and Reader, User Access Administrator, Monitoring Metrics Publisher,
    /// Ingest, Operator, LockboxApprover.
    #[must_use]
    pub fn built_in() -> Self {
        let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let role = |&(id, name, description, actions, not_actions): &BuiltIn| {
            Arc::new(Role {
                id: ObjectId::from_bytes(id.into_bytes()),
                name: name.to_owned(),
                description: description.to_owned(),
                actions: texts(actions),
                not_actions: texts(not_actions),
                scopes: None,
            })
        };
        Self { roles: BUILT_IN.iter().map(role).collect() }
    }

    /// The built-in role of that name; case does not count.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.iter().find(|role| role.name.eq_ignore_ascii_case(name))
    }

    /// The built-in ones.
    pub fn iter(&self) -> impl Iterator<Item = &Role> {
        self.roles.iter().map(Arc::as_ref)
    }

    /// The role of that id, built in or not.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn by_id(&self, catalog: &Catalog, id: ObjectId) -> Result<Option<Arc<Role>>, CatalogError> {
        if let Some(known) = self.roles.iter().find(|role| role.id == id) {
            return Ok(Some(Arc::clone(known)));
        }
        Ok(catalog.role(id).await?.map(|row| Arc::new(Role::made(row))))
    }

    /// The role that somebody means: an id, or a name whatever its case.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn named(&self, catalog: &Catalog, text: &str) -> Result<Option<Arc<Role>>, CatalogError> {
        if let Some(known) = self.get(text) {
            return Ok(Some(Arc::clone(known)));
        }
        if let Ok(id) = text.parse() {
            return self.by_id(catalog, id).await;
        }
        let made = catalog.roles().await?.into_iter().find(|row| row.name.eq_ignore_ascii_case(text));
        Ok(made.map(|row| Arc::new(Role::made(row))))
    }

    /// All of them, the built-in ones first.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn all(&self, catalog: &Catalog) -> Result<Vec<Arc<Role>>, CatalogError> {
        let made = catalog.roles().await?.into_iter().map(|row| Arc::new(Role::made(row)));
        Ok(self.roles.iter().map(Arc::clone).chain(made).collect())
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::built_in()
    }
}
