//! Every route there is, whichever it is: what it takes, stands here, and a route that does not is found out by asking the router.
//!
//! Each is asked by every built-in role, held everywhere and held at one group, for what is one's own, another's, absent and deleted.

use std::collections::{BTreeMap, BTreeSet};

use strongroom_control::{Role, ScopePath, action};

use super::*;

mod things;

use things::furnish;

/// Where a right has to hold for a route to open.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Everywhere.
    Root,
    /// The server's own first group, which is nobody's in this test.
    Home,
    /// The subscription of the path.
    Subscription,
    /// The group of the path.
    Group,
    /// What the group has at this place.
    In(&'static str),
    /// What the subscription has at this place.
    Under(&'static str),
}

/// What a route takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    /// Nobody has to be known: it is public, or proves who it is by other means.
    Nothing,
    /// A token, whatever its rights: what is shown is what its holder may see.
    Token,
    /// Some right on the place or on a part of it, whichever.
    Sight(At),
    /// This action there.
    One(&'static str, At),
    /// Any of these.
    Any(&'static [(&'static str, At)]),
    /// This action on something of that place at least: a list.
    Some(&'static str, At),
    /// This action there, of which its path says nothing: known to whoever may know of the second place.
    Beside(&'static str, At, At),
}

/// What becomes of it if it is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Answered, or refused for what it says; nothing changes.
    Still,
    /// Likewise; but there may be nothing of that kind yet, which is a 404 for those who may look.
    Hollow,
    /// It would change what later cells need: only those are sent who are to be refused.
    Changes,
}

struct Door {
    methods: &'static str,
    path: &'static str,
    takes: Takes,
    how: How,
    body: Value,
}

const W: At = At::In("Microsoft.OperationalInsights/workspaces/{n}");
const C: At = At::In("Microsoft.OperationalInsights/clusters/{n}");
const V: At = At::In("Microsoft.KeyVault/vaults/{n}");
const I: At = At::In("Microsoft.ManagedIdentity/userAssignedIdentities/{n}");
const E: At = At::In("Microsoft.Insights/dataCollectionEndpoints/{n}");
const R: At = At::In("Microsoft.Insights/dataCollectionRules/{n}");
const T: At = At::In("Microsoft.OperationalInsights/workspaces/{n}/tables/T_CL");
const A: At = At::In("Microsoft.Storage/storageAccounts/{n}");
const RULE_AT: At = At::In("Microsoft.Insights/scheduledQueryRules/{n}");
const GROUP_AT: At = At::In("Microsoft.Insights/actionGroups/{n}");
const BOOK_AT: At = At::In("Microsoft.Insights/workbooks/{n}");
const PACK_AT: At = At::In("Microsoft.OperationalInsights/queryPacks/{n}");
const ALERT: At = At::Under("Microsoft.AlertsManagement/alerts/44444444-4444-4444-8444-444444444444");
const PACK_QUERY: At = At::In("Microsoft.OperationalInsights/queryPacks/{n}/queries/44444444-4444-4444-8444-444444444444");
const STORED: At = At::In("Microsoft.OperationalInsights/workspaces/{n}/linkedStorageAccounts/Query");
const LINK: At = At::In("Microsoft.OperationalInsights/workspaces/{n}/linkedServices/cluster");

/// `{W}` in a path: a workspace of the control plane, and so on; `{n}` is its name.
fn spelled(path: &str) -> String {
    let group = "/subscriptions/{subscription}/resourceGroups/{group}";
    path.replace("{W}", "{G}/providers/Microsoft.OperationalInsights/workspaces/{name}")
        .replace("{G}", group)
        .replace("{S}", "/subscriptions/{subscription}")
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn doors() -> Vec<Door> {
    use How::{Changes, Hollow, Still};
    use Takes::{Any, Beside, Nothing, One, Sight, Some, Token};
    let mut all = Vec::new();
    let mut add = |methods, path, takes, how, body: Value| all.push(Door { methods, path, takes, how, body });
    let (none, wrong, question) = (Value::Null, json!("no object"), json!({"query": "print 1"}));

    // Nobody has to be known.
    for path in
        ["/healthz", "/openapi.json", "/readyz", "/metrics", "/metadata/endpoints", "/common/discovery/instance", "/v1/rest/auth/metadata"]
    {
        add("GET", path, Nothing, Still, none.clone());
    }
    for path in [
        "/{tenant}/v2.0/.well-known/openid-configuration",
        "/{tenant}/.well-known/openid-configuration",
        "/{tenant}/discovery/v2.0/keys",
        "/{tenant}/discovery/keys",
    ] {
        add("GET", path, Nothing, Still, none.clone());
    }
    // These have their own proof: a secret, a certificate, a signature.
    for path in ["/{tenant}/oauth2/v2.0/token", "/{tenant}/oauth2/token", "/api/logs"] {
        add("POST", path, Nothing, Still, none.clone());
    }

    // What is shown is what the caller may see.
    for path in ["/v1/deleted-workspaces", "/v1/lockbox", "/v1/subscriptions", "/subscriptions", "/tenants", "/providers"] {
        add("GET", path, Token, Still, none.clone());
    }
    for path in
        ["{S}/providers/Microsoft.OperationalInsights/deletedWorkspaces", "{G}/providers/Microsoft.OperationalInsights/deletedWorkspaces"]
    {
        add("GET", path, Token, Still, none.clone());
    }
    add("GET", "/providers/Microsoft.OperationalInsights/operations", Token, Still, none.clone());
    add(
        "GET",
        "{S}/providers/Microsoft.OperationalInsights/linkTargets",
        One(action::WORKSPACES_READ, At::Subscription),
        Still,
        none.clone(),
    );
    add("GET", "/v1/workspaces", Some(action::WORKSPACES_READ, At::Root), Still, none.clone());
    add(
        "POST",
        "/v1/$batch",
        Token,
        Still,
        json!({"requests": [{"id": "1", "method": "POST", "workspace": "{n}", "body": {"query": "print 1"}}]}),
    );
    add("GET", "/v1/lockbox/{request}", One(action::LOCKBOX_READ, W), Still, none.clone());
    for path in ["/v1/lockbox/{request}/approve", "/v1/lockbox/{request}/reject", "/v1/lockbox/{request}/end"] {
        add("POST", path, One(action::LOCKBOX_APPROVE, At::Subscription), Changes, none.clone());
    }
    let statuses = "{S}/providers/Microsoft.OperationalInsights/locations/{region}/operationStatuses/{operation}";
    add("GET", statuses, One(action::CLUSTERS_READ, C), Still, none.clone());

    // What is the operator's, or everybody's.
    for (method, path, act) in [
        ("GET", "/v1/cache", action::CACHE_READ),
        ("GET", "/v1/audit", action::AUDIT_READ),
        ("GET", "/v1/audit/verify", action::AUDIT_READ),
        ("GET", "/v1/principals", action::PRINCIPALS_READ),
        ("GET", "/v1/services", action::PRINCIPALS_READ),
        ("GET", "/v1/signing-keys", action::PRINCIPALS_READ),
        ("GET", "/v1/roles", action::ROLE_DEFINITIONS_READ),
    ] {
        add(method, path, One(act, At::Root), Still, none.clone());
    }
    for (method, path, act, body) in [
        ("POST", "/v1/principals", action::PRINCIPALS_WRITE, &wrong),
        ("POST", "/v1/services", action::PRINCIPALS_WRITE, &wrong),
        ("PUT", "/v1/subscriptions/{subscription}", action::SUBSCRIPTIONS_WRITE, &wrong),
    ] {
        add(method, path, One(act, At::Root), Still, body.clone());
    }
    for (method, path, act) in [
        ("DELETE", "/v1/principals/{principal}", action::PRINCIPALS_DELETE),
        ("GET", "/v1/services/{service}", action::PRINCIPALS_READ),
        ("DELETE", "/v1/services/{service}", action::PRINCIPALS_DELETE),
        ("POST", "/v1/services/{service}/credentials", action::PRINCIPALS_WRITE),
        ("DELETE", "/v1/services/{service}/credentials/{credential}", action::PRINCIPALS_WRITE),
        ("POST", "/v1/clusters/{cluster}/recover", action::CLUSTER_RECOVER),
    ] {
        add(method, path, One(act, At::Root), Hollow, json!({}));
    }
    add("POST", "/v1/signing-keys", One(action::PRINCIPALS_WRITE, At::Root), Changes, none.clone());
    add("DELETE", "/v1/subscriptions/{subscription}", One(action::SUBSCRIPTIONS_WRITE, At::Root), Changes, none.clone());
    add("POST", "/v1/clusters/{cluster}/restore-identity", One(action::IDENTITY_RESTORE, At::Root), Changes, none.clone());
    add("POST", "/v1/workspaces", One(action::WORKSPACES_WRITE, At::Home), Still, wrong.clone());

    // A workspace by its name.
    for (method, path, act, how, body) in [
        ("GET", "", action::WORKSPACES_READ, Still, &none),
        ("PATCH", "", action::WORKSPACES_WRITE, Still, &wrong),
        ("DELETE", "", action::WORKSPACES_DELETE, Changes, &none),
        ("GET", "/functions", action::FUNCTIONS_READ, Still, &none),
        ("GET", "/functions/{function}", action::FUNCTIONS_READ, Still, &none),
        ("PUT", "/functions/{function}", action::FUNCTIONS_WRITE, Still, &wrong),
        ("DELETE", "/functions/{function}", action::FUNCTIONS_DELETE, Changes, &none),
        ("POST", "/flush", action::FLUSH, Still, &none),
        ("POST", "/compact", action::FLUSH, Still, &none),
        ("GET", "/reencrypt", action::WORKSPACES_READ, Hollow, &none),
        ("POST", "/reencrypt", action::LINKS_WRITE, Still, &wrong),
    ] {
        let path: &'static str = Box::leak(format!("/v1/workspaces/{{workspace}}{path}").into_boxed_str());
        add(method, path, One(act, W), how, body.clone());
    }
    // Of what is deleted alone; whoever may know of that and may not bring it back is refused.
    add("POST", "/v1/workspaces/{workspace}/recover", Token, Hollow, none.clone());
    add("GET", "/v1/workspaces/{workspace}/tables", Some(action::TABLES_READ, W), Still, none.clone());
    add("PATCH", "/v1/workspaces/{workspace}/tables/{table}", One(action::TABLES_WRITE, T), Still, wrong.clone());
    add("POST", "/v1/workspaces/{workspace}/tables/{table}/shred", One(action::SHRED, T), Still, wrong.clone());
    add("POST", "/v1/workspaces/{workspace}/ingest/{table}", One(action::INGEST, T), Still, json!("no row"));
    let asks = Any(&[(action::QUERY, W), (action::QUERY_APPROVED, W)]);
    // Names of columns are not among what a customer lets the operator see.
    add("GET POST", "/v1/workspaces/{workspace}/metadata", One(action::QUERY, W), Still, none.clone());
    add("POST", "/v1/rest/mgmt", One(action::QUERY, W), Still, json!({"db": "{n}", "csl": ".show tables"}));
    add("GET POST", "/v1/workspaces/{workspace}/query", asks, Still, question.clone());
    add("GET POST", "/v1/subscriptions/{subscription}/{*resource}", asks, Still, question);
    for path in ["/v1/rest/query", "/v2/rest/query"] {
        add("POST", path, asks, Still, json!({"db": "{n}", "csl": "print 1"}));
    }
    let sends = Any(&[(action::TELEMETRY_WRITE, R), (action::INGEST, W)]);
    add("POST", "/dataCollectionRules/{rule}/streams/{stream}", sends, Still, json!([{"line": "a"}]));
    add("POST", "/v1/lockbox", One(action::LOCKBOX_REQUEST, W), Still, json!({"workspace": "{n}", "reason": "", "hours": 1}));

    // A cluster by its name.
    add("GET", "/v1/clusters", Some(action::CLUSTERS_READ, At::Root), Still, none.clone());
    for (method, path, act, how, body) in [
        ("GET", "", action::CLUSTERS_READ, Still, &none),
        ("GET", "/key", action::CLUSTERS_READ, Still, &none),
        ("POST", "/key/release", action::KEY_RELEASE, Still, &none),
        ("POST", "/check", action::CLUSTERS_WRITE, Still, &wrong),
        ("GET", "/evidence", action::CLUSTERS_READ, Still, &none),
        ("GET", "/rekey", action::CLUSTERS_READ, Hollow, &none),
        ("POST", "/rekey", action::CLUSTERS_WRITE, Still, &wrong),
    ] {
        let path: &'static str = Box::leak(format!("/v1/clusters/{{cluster}}{path}").into_boxed_str());
        add(method, path, One(act, C), how, body.clone());
    }

    // The control plane: groups and what lies in them.
    add("GET", "{S}", Sight(At::Subscription), Still, none.clone());
    for path in ["{S}/locations", "{S}/resourceGroups", "{S}/providers", "{S}/providers/{provider}"] {
        add("GET", path, Sight(At::Subscription), Still, none.clone());
    }
    add("GET", "{S}/resources", Sight(At::Subscription), Still, none.clone());
    add("GET", "{G}/resources", Sight(At::Group), Still, none.clone());
    let registers = One("Microsoft.OperationalInsights/register/action", At::Subscription);
    add("POST", "{S}/providers/{provider}/register", registers, Still, none.clone());
    add("GET", "{G}", Sight(At::Group), Still, none.clone());
    add("PUT", "{G}", One(action::GROUPS_WRITE, At::Group), Still, wrong.clone());
    add("DELETE", "{G}", One(action::GROUPS_DELETE, At::Group), Still, none.clone());
    for path in ["{G}/moveResources", "{G}/validateMoveResources"] {
        add("POST", path, One(action::CLUSTERS_WRITE, At::Group), Still, wrong.clone());
    }
    for (kind, place, read, write, remove) in [
        ("Microsoft.OperationalInsights/clusters", C, action::CLUSTERS_READ, action::CLUSTERS_WRITE, action::CLUSTERS_DELETE),
        ("Microsoft.OperationalInsights/workspaces", W, action::WORKSPACES_READ, action::WORKSPACES_WRITE, action::WORKSPACES_DELETE),
        ("Microsoft.KeyVault/vaults", V, action::VAULTS_READ, action::VAULTS_WRITE, action::VAULTS_DELETE),
        (
            "Microsoft.ManagedIdentity/userAssignedIdentities",
            I,
            action::IDENTITIES_READ,
            action::IDENTITIES_WRITE,
            action::IDENTITIES_WRITE,
        ),
        ("Microsoft.Insights/dataCollectionEndpoints", E, action::COLLECTION_READ, action::COLLECTION_WRITE, action::COLLECTION_DELETE),
        ("Microsoft.Insights/dataCollectionRules", R, action::COLLECTION_READ, action::COLLECTION_WRITE, action::COLLECTION_DELETE),
        ("Microsoft.Storage/storageAccounts", A, action::STORAGE_READ, action::STORAGE_WRITE, action::STORAGE_DELETE),
        (
            "Microsoft.Insights/scheduledQueryRules",
            RULE_AT,
            action::ALERT_RULES_READ,
            action::ALERT_RULES_WRITE,
            action::ALERT_RULES_DELETE,
        ),
        (
            "Microsoft.Insights/actionGroups",
            GROUP_AT,
            action::ACTION_GROUPS_READ,
            action::ACTION_GROUPS_WRITE,
            action::ACTION_GROUPS_DELETE,
        ),
        ("Microsoft.Insights/workbooks", BOOK_AT, action::WORKBOOKS_READ, action::WORKBOOKS_WRITE, action::WORKBOOKS_DELETE),
        ("Microsoft.OperationalInsights/queryPacks", PACK_AT, action::PACKS_READ, action::PACKS_WRITE, action::PACKS_DELETE),
    ] {
        let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
        add("GET", leak(format!("{{S}}/providers/{kind}")), Some(read, At::Subscription), Still, none.clone());
        add("GET", leak(format!("{{G}}/providers/{kind}")), Some(read, At::Group), Still, none.clone());
        let one = leak(format!("{{G}}/providers/{kind}/{{name}}"));
        let patched = !kind.ends_with("vaults") && !kind.ends_with("Identities");
        add("GET", one, One(read, place), Still, none.clone());
        add(if patched { "PUT PATCH" } else { "PUT" }, one, One(write, place), Still, wrong.clone());
        add("DELETE", one, One(remove, place), Changes, none.clone());
    }
    for (methods, path, act, how, body) in [
        ("GET", "/linkedServices", action::WORKSPACES_READ, Still, &none),
        ("GET", "/linkedServices/{service}", action::WORKSPACES_READ, Hollow, &none),
        ("GET", "/savedSearches", action::FUNCTIONS_READ, Still, &none),
        ("GET", "/savedSearches/{search}", action::FUNCTIONS_READ, Still, &none),
        ("PUT", "/savedSearches/{search}", action::FUNCTIONS_WRITE, Still, &wrong),
        ("DELETE", "/savedSearches/{search}", action::FUNCTIONS_DELETE, Changes, &none),
        ("POST", "/purge", action::SHRED, Still, &wrong),
        ("GET", "/operations/{purge}", action::WORKSPACES_READ, Still, &none),
        ("GET", "/usages", action::WORKSPACES_READ, Still, &none),
        ("GET", "/availableServiceTiers", action::WORKSPACES_READ, Still, &none),
        ("GET", "/managementGroups", action::WORKSPACES_READ, Still, &none),
        ("GET", "/intelligencePacks", action::WORKSPACES_READ, Still, &none),
        ("POST", "/intelligencePacks/{pack}/{turn}", action::WORKSPACES_WRITE, Hollow, &none),
        ("POST", "/sharedKeys", action::SHARED_KEYS, Still, &none),
        ("POST", "/regenerateSharedKey", action::SHARED_KEYS, Still, &none),
    ] {
        let path: &'static str = Box::leak(format!("{{W}}{path}").into_boxed_str());
        add(methods, path, One(act, W), how, body.clone());
    }
    for (method, path) in [("GET", "{W}/tables"), ("POST", "{W}/schema")] {
        add(method, path, Some(action::TABLES_READ, W), Still, none.clone());
    }
    for (methods, path, act, how, body) in [
        ("GET", "{W}/tables/{table}", action::TABLES_READ, Still, &none),
        ("PUT PATCH", "{W}/tables/{table}", action::TABLES_WRITE, Still, &wrong),
        ("DELETE", "{W}/tables/{table}", action::TABLES_DELETE, Changes, &none),
        ("POST", "{W}/tables/{table}/migrate", action::TABLES_WRITE, Still, &none),
        ("POST", "{W}/tables/{table}/cancelSearch", action::TABLES_WRITE, Still, &none),
    ] {
        add(methods, path, One(act, T), how, body.clone());
    }
    add("PUT", "{W}/linkedServices/{service}", One(action::WORKSPACES_WRITE, LINK), Still, wrong.clone());
    add("DELETE", "{W}/linkedServices/{service}", One(action::LINKS_DELETE, LINK), Still, none.clone());

    let pack = "{G}/providers/Microsoft.OperationalInsights/queryPacks";
    for (methods, path, act, place, how, body) in [
        ("PUT", "", action::PACKS_WRITE, At::Group, Still, &wrong),
        ("GET", "/{name}/queries", action::PACK_QUERIES_READ, PACK_AT, Still, &none),
        ("POST", "/{name}/queries/search", action::PACK_QUERIES_READ, PACK_QUERY, Still, &wrong),
        ("GET", "/{name}/queries/{query}", action::PACK_QUERIES_READ, PACK_QUERY, Still, &none),
        ("PUT PATCH", "/{name}/queries/{query}", action::PACK_QUERIES_WRITE, PACK_QUERY, Still, &wrong),
        ("DELETE", "/{name}/queries/{query}", action::PACK_QUERIES_DELETE, PACK_QUERY, Changes, &none),
    ] {
        let path: &'static str = Box::leak(format!("{pack}{path}").into_boxed_str());
        add(methods, path, One(act, place), how, body.clone());
    }
    add("GET", "{S}/providers/Microsoft.AlertsManagement/alerts", Some(action::ALERTS_READ, At::Subscription), Still, none.clone());
    add("GET", "{S}/providers/Microsoft.AlertsManagement/alerts/{alert}", Beside(action::ALERTS_READ, RULE_AT, ALERT), Still, none.clone());
    add("GET", "{W}/linkedStorageAccounts", One(action::WORKSPACES_READ, W), Still, none.clone());
    add("GET", "{W}/linkedStorageAccounts/{source}", One(action::WORKSPACES_READ, W), Hollow, none.clone());
    add("PUT", "{W}/linkedStorageAccounts/{source}", One(action::WORKSPACES_WRITE, STORED), Still, wrong.clone());
    add("DELETE", "{W}/linkedStorageAccounts/{source}", One(action::WORKSPACES_WRITE, STORED), Still, none.clone());
    for (methods, path, how, body) in [
        ("GET DELETE", "history", Still, &none),
        ("POST", "history", Still, &wrong),
        ("GET", "pins", Still, &none),
        ("POST", "pins", Still, &wrong),
        ("DELETE", "pins/{pin}", Hollow, &none),
    ] {
        let path: &'static str = Box::leak(format!("/v1/workspaces/{{workspace}}/{path}").into_boxed_str());
        add(methods, path, One(action::QUERY, W), how, body.clone());
    }

    // Who may do what: at the group, which stands before them in the path.
    let at = "/providers/Microsoft.Authorization";
    for (methods, path, takes, how, body) in [
        // A list shows what may be seen of it, which for most is nothing.
        ("GET", "roleAssignments", Token, Still, &none),
        ("GET", "roleAssignments/{name}", One(action::ROLES_READ, At::Group), Still, &none),
        ("PUT", "roleAssignments/{name}", One(action::ROLES_WRITE, At::Group), Still, &wrong),
        ("DELETE", "roleAssignments/{name}", One(action::ROLES_DELETE, At::Group), Changes, &none),
        ("GET", "roleDefinitions", One(action::ROLE_DEFINITIONS_READ, At::Group), Still, &none),
        ("GET", "roleDefinitions/{name}", One(action::ROLE_DEFINITIONS_READ, At::Group), Still, &none),
        ("PUT", "roleDefinitions/{name}", One(action::ROLE_DEFINITIONS_WRITE, At::Group), Still, &wrong),
        ("DELETE", "roleDefinitions/{name}", One(action::ROLE_DEFINITIONS_DELETE, At::Group), Changes, &none),
    ] {
        let path: &'static str = Box::leak(format!("{at}/{path}").into_boxed_str());
        add(methods, path, takes, how, body.clone());
    }
    all
}

/// Every route of the router, by asking it: axum shows its table to whoever debugs it. GET answers HEAD by itself.
fn table() -> BTreeSet<(String, String)> {
    let text = format!("{:?}", crate::gateway::doors());
    let text = text.split_once("fallback_router").expect("the router has two tables").0;
    let (routes, paths) = text.split_once("paths: {").expect("the paths come after the routes");
    let number = |part: &str| part.split(')').next().and_then(|digits| digits.parse::<u32>().ok());
    let mut methods = BTreeMap::new();
    for part in routes.split("RouteId(").skip(1) {
        if let (Some(id), Some((_, allowed))) = (number(part), part.split_once("allow_header: Bytes(b\"")) {
            methods.insert(id, allowed.split('"').next().unwrap().to_owned());
        }
    }
    let mut table = BTreeSet::new();
    for part in paths.split("RouteId(").skip(1) {
        let (Some(id), Some(path)) = (number(part), part.split('"').nth(1)) else { continue };
        for method in methods[&id].split(',').filter(|method| *method != "HEAD") {
            table.insert((method.to_owned(), path.to_owned()));
        }
    }
    table
}

#[test]
fn every_route_stands_in_the_matrix() {
    let table = table();
    assert!(table.len() > 100, "the router shows its routes: {}", table.len());
    let known: BTreeSet<(String, String)> = doors()
        .into_iter()
        .flat_map(|door| door.methods.split(' ').map(|method| (method.to_owned(), spelled(door.path))).collect::<Vec<_>>())
        .collect();
    let new: Vec<_> = table.difference(&known).collect();
    assert!(new.is_empty(), "say in gateway/matrix/every.rs what these routes take: {new:#?}");
    let gone: Vec<_> = known.difference(&table).collect();
    assert!(gone.is_empty(), "these are not there: {gone:#?}");
}

/// Whose things are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Foreign,
    Absent,
    /// A resource that was deleted, and what lay in it.
    Deleted,
    Never,
    /// In one's own place, by an id that is another's.
    Crossed,
    /// In one's own place, by the id of what was deleted there.
    Spent,
    /// In one's own place, by an id that is nobody's.
    Unknown,
}

/// Own ids where they are given; those of nobody.
const OWN_ID: &str = "44444444-4444-4444-8444-444444444444";
const FOREIGN_ID: &str = "66666666-6666-4666-8666-666666666666";
const GONE_ID: &str = "77777777-7777-4777-8777-777777777777";
const NO_ID: &str = "99999999-9999-4999-8999-999999999999";

/// What paths name by an id, by its placeholder: one's own, another's, deleted.
#[derive(Default)]
struct Names {
    own: BTreeMap<&'static str, String>,
    foreign: BTreeMap<&'static str, String>,
    gone: BTreeMap<&'static str, String>,
}

/// All that are told apart by an id.
const BY_ID: [&str; 12] = [
    "{rule}",
    "{table}",
    "{request}",
    "{operation}",
    "{alert}",
    "{query}",
    "{pin}",
    "{function}",
    "{search}",
    "{purge}",
    "{assignment}",
    "{definition}",
];

impl Names {
    fn id(&self, part: &str, whose: Whose) -> String {
        let found = match whose {
            Whose::Own => self.own.get(part),
            Whose::Foreign | Whose::Crossed => self.foreign.get(part),
            Whose::Deleted | Whose::Spent => self.gone.get(part),
            Whose::Absent | Whose::Never | Whose::Unknown => None,
        };
        found.cloned().unwrap_or_else(|| match part {
            "{rule}" => format!("dcr-{}", "a".repeat(32)),
            "{table}" => "None_CL".to_owned(),
            "{purge}" => format!("purge-{NO_ID}"),
            _ => NO_ID.to_owned(),
        })
    }
}

impl Whose {
    fn group(self) -> &'static str {
        match self {
            Self::Foreign => OTHER,
            Self::Absent => ABSENT,
            Self::Own | Self::Deleted | Self::Never | Self::Crossed | Self::Spent | Self::Unknown => OWN,
        }
    }

    fn name(self) -> &'static str {
        match self {
            // What others have is called otherwise: a name that means several is a conflict.
            Self::Own | Self::Crossed | Self::Spent | Self::Unknown => "mine",
            Self::Foreign => "theirs",
            Self::Absent => "absent",
            Self::Deleted => "gone",
            Self::Never => "never",
        }
    }
}

impl Door {
    /// Whether it makes a difference which of the two is asked for.
    fn tells_apart(&self, one: Whose, other: Whose, names: &Names) -> bool {
        self.path(one, names) != self.path(other, names) || self.body(one) != self.body(other)
    }

    fn path(&self, whose: Whose, names: &Names) -> String {
        let group = whose.group();
        let mut steps = group.split('/').skip(2).step_by(2);
        let (subscription, name) = (steps.next().unwrap(), steps.next().unwrap());
        let path = spelled(self.path);
        let path = if path.starts_with("/providers/Microsoft.Authorization") { format!("{group}{path}") } else { path };
        let resource = format!("resourceGroups/{name}/providers/Microsoft.OperationalInsights/workspaces/{}/query", whose.name());
        let path = path
            .replace("roleAssignments/{name}", "roleAssignments/{assignment}")
            .replace("roleDefinitions/{name}", "roleDefinitions/{definition}")
            .replace("{*resource}", &resource)
            .replace("{subscription}", subscription)
            .replace("{group}", name)
            .replace("{provider}", INSIGHTS)
            .replace("{stream}", "Custom-In")
            .replace("{service}", "cluster")
            .replace("{source}", "Query")
            .replace("{region}", "local")
            .replace("{tenant}", "common");
        let path = BY_ID.iter().fold(path, |path, part| path.replace(part, &names.id(part, whose)));
        let path = ["{name}", "{workspace}", "{cluster}"].iter().fold(path, |path, part| path.replace(part, whose.name()));
        ["{principal}", "{credential}", "{pack}", "{turn}"].iter().fold(path, |path, part| path.replace(part, NO_ID))
    }

    fn body(&self, whose: Whose) -> Value {
        serde_json::from_str(&self.body.to_string().replace("{n}", whose.name())).unwrap()
    }

    /// Whether a role that holds at `right` opens it, for one's own; and whether its holder may know of what is asked for.
    fn opens(&self, role: &Role, right: &ScopePath, home: &ScopePath) -> (bool, bool) {
        let place = |at: At| match at {
            At::Root => ScopePath::root(),
            At::Home => home.clone(),
            At::Subscription => ScopePath::of(OWN).of_subscription(),
            At::Group => ScopePath::of(OWN),
            At::Under(rest) => ScopePath::of(&format!("{}/providers/{rest}", ScopePath::of(OWN).of_subscription())),
            At::In(rest) => ScopePath::of(&format!("{OWN}/providers/{}", rest.replace("{n}", Whose::Own.name()))),
        };
        let may = |action: &str, at: At| right.covers(&place(at)) && role.allows(action);
        match self.takes {
            Takes::Nothing | Takes::Token => (true, true),
            Takes::Sight(at) => (right.touches(&place(at)), right.touches(&place(at))),
            Takes::One(action, at) => (may(action, at), matches!(at, At::Root) || right.touches(&place(at))),
            Takes::Any(list) => (list.iter().any(|(action, at)| may(action, *at)), list.iter().any(|(_, at)| right.touches(&place(*at)))),
            Takes::Some(action, at) => (right.touches(&place(at)) && role.allows(action), right.touches(&place(at))),
            Takes::Beside(action, at, known) => (may(action, at), right.touches(&place(known))),
        }
    }
}

/// An answer without the names by which two requests for the same differ, and without what is the request's own.
fn told(answer: &(StatusCode, Value), whose: Whose, names: &Names) -> (StatusCode, String) {
    let mut text = answer.1.to_string().to_ascii_lowercase();
    let path = whose.group().to_ascii_lowercase();
    let mut parts: Vec<String> = path.split('/').skip(2).step_by(2).map(str::to_owned).collect();
    parts.push(whose.name().to_owned());
    parts.extend(BY_ID.iter().map(|part| names.id(part, whose).to_ascii_lowercase()));
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    for part in parts {
        text = text.replace(&part, "X");
    }
    (answer.0, text)
}

#[tokio::test]
async fn every_role_meets_at_every_route_what_it_says_for_its_own_anothers_absent_and_deleted() {
    let site = Doors::open().await;
    let names = furnish(&site).await;
    let home = site.app.site.workspaces.ensure_defaults().await.unwrap();
    let home = ScopePath::group(&home.subscription, &home.resource_group);
    let (all, mut cells, mut surprises) = (doors(), 0, Vec::new());
    let roles: Vec<Role> = site.app.site.roles.iter().cloned().collect();
    for role in &roles {
        for at in ["/", OWN] {
            let (token, right) = (site.token(&role.name, at).await, ScopePath::of(at));
            for (door, method) in all.iter().flat_map(|door| door.methods.split(' ').map(move |method| (door, method))) {
                let cell = format!("{} at {at}: {method} {}", role.name, door.path);
                let method: Method = method.parse().unwrap();
                let ask = async |whose: Whose| {
                    let (mut path, mut body) = (door.path(whose, &names), door.body(whose));
                    if method == Method::GET && !body.is_null() {
                        (path, body) = (format!("{path}?query=print%201"), Value::Null);
                    }
                    let answer = site.call(&token, &method, &path, &body).await;
                    let alike = told(&answer, whose, &names);
                    (answer, alike)
                };
                let (open, seen) = door.opens(role, &right, &home);
                if !(open && door.how == How::Changes) {
                    let (own, _) = ask(Whose::Own).await;
                    surprises.extend(unexpected(&own, door, open, seen).map(|why| format!("{cell}: {why}: {} {}", own.0, own.1)));
                    cells += 1;
                }
                // Nobody changes anything here: what is absent or another's cannot be.
                if at == OWN && door.tells_apart(Whose::Foreign, Whose::Absent, &names) {
                    let ((foreign, one), (_, other)) = (ask(Whose::Foreign).await, ask(Whose::Absent).await);
                    if one != other {
                        surprises.push(format!("{cell}: another's is not as if it were absent: {one:?} {other:?}"));
                    }
                    let shut = !matches!(door.takes, Takes::Nothing | Takes::Token);
                    if shut && foreign.0.is_success() && method != Method::DELETE {
                        surprises.push(format!("{cell}: another's is open: {foreign:?}"));
                    }
                    cells += 2;
                }
                // To bring back what was deleted is the one thing that it is good for.
                let brings_back = door.path.ends_with("/recover") || (open && method == Method::PUT);
                let pairs = [
                    (Whose::Deleted, Whose::Never, "what was deleted is not as if it had never been"),
                    (Whose::Spent, Whose::Unknown, "the id of what was deleted is not as if it were nobody's"),
                    (Whose::Crossed, Whose::Unknown, "another's id in one's own place is not as if it were nobody's"),
                ];
                for (one, other, why) in pairs {
                    if at == OWN && !brings_back && door.tells_apart(one, other, &names) {
                        let ((_, found), (_, none)) = (ask(one).await, ask(other).await);
                        if found != none {
                            surprises.push(format!("{cell}: {why}: {found:?} {none:?}"));
                        }
                        cells += 2;
                    }
                }
            }
        }
    }
    assert!(surprises.is_empty(), "{} of {cells}:\n{}", surprises.len(), surprises.join("\n"));
    assert!(cells > roles.len() * all.len() * 4, "{cells}");
}

/// What is wrong with an answer about one's own.
fn unexpected(own: &(StatusCode, Value), door: &Door, open: bool, seen: bool) -> Option<&'static str> {
    let public = matches!(door.takes, Takes::Nothing);
    if own.0 == StatusCode::INTERNAL_SERVER_ERROR || (own.0 == StatusCode::UNAUTHORIZED && !public) {
        return Some("broken");
    }
    // Kusto has no 404 for a database.
    let absent = if door.path.contains("/rest/") { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
    match (open, seen) {
        (true, _) if own.0 == StatusCode::FORBIDDEN && !public => Some("shut, and the role allows it"),
        (true, _) if own.0 == StatusCode::NOT_FOUND && door.how != How::Hollow && !public => Some("absent, and it is there"),
        (false, true) if own.0 != StatusCode::FORBIDDEN => Some("not refused"),
        (false, false) if own.0 != absent => Some("not absent"),
        _ => None,
    }
}
