//! Authorization, door by door: routes × roles × {own, other, absent}, generated from what the roles say.
//!
//! What is expected is not written down here per cell: a cell is open if a role that holds there allows the route's actions, shut with
//! 403 if the caller may know of the place, and else the answer is that of what is absent, to the byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod every;
mod login;
mod tables;
mod trust;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use strongroom_control::{Place, ScopePath, action};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{App, router};
use crate::config::Config;
use crate::wiring::Site;

const ADMIN: &str = "srt_a-token-for-the-matrix-of-all-doors";
const OWN: &str = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/own";
const OTHER: &str = "/subscriptions/22222222-2222-4222-8222-222222222222/resourceGroups/other";
const ABSENT: &str = "/subscriptions/33333333-3333-4333-8333-333333333333/resourceGroups/absent";
const INSIGHTS: &str = "Microsoft.OperationalInsights";

/// A way in: method, path (`{G}` is the group's path, `{n}` a resource's name), body, and the actions it takes with the place of each
/// (below the group). A list shows what the caller may read: a right on anything in the group opens it.
struct Route {
    method: Method,
    path: &'static str,
    body: Value,
    takes: &'static [(&'static str, &'static str)],
    list: bool,
}

const CLUSTER: &str = "/providers/Microsoft.OperationalInsights/clusters/things";
const WORKSPACE: &str = "/providers/Microsoft.OperationalInsights/workspaces/things";
const VAULT: &str = "/providers/Microsoft.KeyVault/vaults/things";
const ACCOUNT: &str = "/providers/Microsoft.Storage/storageAccounts/things";
const RULE: &str = "/providers/Microsoft.Insights/scheduledQueryRules/things";
const BOOK: &str = "/providers/Microsoft.Insights/workbooks/things";
const QUERY: &str = "/providers/Microsoft.OperationalInsights/queryPacks/things/queries/q";
const PACK: &str = "/providers/Microsoft.OperationalInsights/queryPacks/things";
const ACTIONS: &str = "/providers/Microsoft.Insights/actionGroups/things";
const IDENTITY: &str = "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/things";

/// Those that change nothing, or nothing that later cells need.
fn routes() -> Vec<Route> {
    let get = |path, takes| Route { method: Method::GET, path, body: Value::Null, takes, list: false };
    let list = |path, takes| Route { list: true, ..get(path, takes) };
    let bad = |method, path, takes| Route { method, path, body: json!("no object"), takes, list: false };
    vec![
        list("{G}/providers/Microsoft.OperationalInsights/clusters", &[(action::CLUSTERS_READ, "")]),
        list("{G}/providers/Microsoft.OperationalInsights/workspaces", &[(action::WORKSPACES_READ, "")]),
        list("{G}/providers/Microsoft.KeyVault/vaults", &[(action::VAULTS_READ, "")]),
        list("{G}/providers/Microsoft.ManagedIdentity/userAssignedIdentities", &[(action::IDENTITIES_READ, "")]),
        list("{G}/providers/Microsoft.Storage/storageAccounts", &[(action::STORAGE_READ, "")]),
        get("{G}/providers/Microsoft.Storage/storageAccounts/things", &[(action::STORAGE_READ, ACCOUNT)]),
        get("{G}/providers/Microsoft.OperationalInsights/workspaces/things/linkedStorageAccounts", &[(action::WORKSPACES_READ, WORKSPACE)]),
        list("{G}/providers/Microsoft.Insights/scheduledQueryRules", &[(action::ALERT_RULES_READ, "")]),
        list("{G}/providers/Microsoft.Insights/actionGroups", &[(action::ACTION_GROUPS_READ, "")]),
        list("{G}/providers/Microsoft.Insights/workbooks", &[(action::WORKBOOKS_READ, "")]),
        list("{G}/providers/Microsoft.OperationalInsights/queryPacks", &[(action::PACKS_READ, "")]),
        get("{G}/providers/Microsoft.Insights/workbooks/things", &[(action::WORKBOOKS_READ, BOOK)]),
        get("{G}/providers/Microsoft.OperationalInsights/queryPacks/things", &[(action::PACKS_READ, PACK)]),
        get("{G}/providers/Microsoft.OperationalInsights/queryPacks/things/queries", &[(action::PACK_QUERIES_READ, PACK)]),
        get("{G}/providers/Microsoft.Insights/scheduledQueryRules/things", &[(action::ALERT_RULES_READ, RULE)]),
        get("{G}/providers/Microsoft.Insights/actionGroups/things", &[(action::ACTION_GROUPS_READ, ACTIONS)]),
        get("{G}/providers/Microsoft.OperationalInsights/clusters/things", &[(action::CLUSTERS_READ, CLUSTER)]),
        get("{G}/providers/Microsoft.OperationalInsights/workspaces/things", &[(action::WORKSPACES_READ, WORKSPACE)]),
        get("{G}/providers/Microsoft.OperationalInsights/workspaces/things/linkedServices", &[(action::WORKSPACES_READ, WORKSPACE)]),
        get("{G}/providers/Microsoft.KeyVault/vaults/things", &[(action::VAULTS_READ, VAULT)]),
        get("{G}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/things", &[(action::IDENTITIES_READ, IDENTITY)]),
        get("{G}/providers/Microsoft.Authorization/roleDefinitions", &[(action::ROLE_DEFINITIONS_READ, "")]),
        // Refused for what they say, if they are not refused for who says it: authorization comes first.
        bad(Method::PUT, "{G}/providers/Microsoft.OperationalInsights/clusters/things", &[(action::CLUSTERS_WRITE, CLUSTER)]),
        bad(Method::PATCH, "{G}/providers/Microsoft.OperationalInsights/clusters/things", &[(action::CLUSTERS_WRITE, CLUSTER)]),
        bad(Method::PATCH, "{G}/providers/Microsoft.OperationalInsights/workspaces/things", &[(action::WORKSPACES_WRITE, WORKSPACE)]),
        bad(Method::PUT, "{G}/providers/Microsoft.Storage/storageAccounts/things", &[(action::STORAGE_WRITE, ACCOUNT)]),
        bad(Method::PATCH, "{G}/providers/Microsoft.Storage/storageAccounts/things", &[(action::STORAGE_WRITE, ACCOUNT)]),
        bad(Method::PUT, "{G}/providers/Microsoft.Insights/scheduledQueryRules/things", &[(action::ALERT_RULES_WRITE, RULE)]),
        bad(Method::PATCH, "{G}/providers/Microsoft.Insights/scheduledQueryRules/things", &[(action::ALERT_RULES_WRITE, RULE)]),
        bad(Method::PUT, "{G}/providers/Microsoft.Insights/workbooks/things", &[(action::WORKBOOKS_WRITE, BOOK)]),
        bad(Method::PUT, "{G}/providers/Microsoft.OperationalInsights/queryPacks/things", &[(action::PACKS_WRITE, PACK)]),
        bad(Method::PUT, "{G}/providers/Microsoft.OperationalInsights/queryPacks/things/queries/q", &[(action::PACK_QUERIES_WRITE, QUERY)]),
        bad(Method::PUT, "{G}/providers/Microsoft.Insights/actionGroups/things", &[(action::ACTION_GROUPS_WRITE, ACTIONS)]),
        bad(Method::PATCH, "{G}/providers/Microsoft.Insights/actionGroups/things", &[(action::ACTION_GROUPS_WRITE, ACTIONS)]),
        bad(Method::PUT, "{G}/providers/Microsoft.KeyVault/vaults/things", &[(action::VAULTS_WRITE, VAULT)]),
        bad(Method::PUT, "{G}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/things", &[(action::IDENTITIES_WRITE, IDENTITY)]),
        bad(
            Method::PUT,
            "{G}/providers/Microsoft.Authorization/roleAssignments/44444444-4444-4444-8444-444444444444",
            &[(action::ROLES_WRITE, "")],
        ),
        bad(
            Method::PUT,
            "{G}/providers/Microsoft.Authorization/roleDefinitions/44444444-4444-4444-8444-444444444444",
            &[(action::ROLE_DEFINITIONS_WRITE, "")],
        ),
        bad(Method::PUT, "{G}", &[(action::GROUPS_WRITE, "")]),
    ]
}

/// A cluster that either document allows.
fn new_cluster() -> Value {
    json!({"identity": {"type": "SystemAssigned"}, "location": "local", "sku": {"name": "CapacityReservation", "capacity": 1_000}})
}

/// A rule that asks the group's own workspace.
fn alert_rule(group: &str) -> Value {
    let condition = json!({"query": "print n = 1", "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 5});
    json!({"location": "local", "properties": {
        "scopes": [format!("{group}{WORKSPACE}")], "evaluationFrequency": "P1D", "windowSize": "P1D",
        "criteria": {"allOf": [condition]}, "actions": {"actionGroups": [format!("{group}{ACTIONS}")]},
    }})
}

struct Doors {
    app: App,
    router: Router,
    _dirs: TempDir,
}

impl Doors {
    async fn open() -> Self {
        Self::open_with(|_| {}).await
    }

    async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dirs = TempDir::new().unwrap();
        let mut config = Config::under(dirs.path());
        change(&mut config);
        let claimed = Site::claim(&config).unwrap();
        let (site, _) = Site::open(config, claimed, Some(ADMIN.to_owned()), Vec::new()).await.unwrap();
        site.clusters.settle().await.unwrap();
        site.watch.start().await.unwrap();
        site.clusters.resume().await.unwrap();
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let app = App { site, metrics };
        let doors = Self { router: router(app.clone()), app, _dirs: dirs };
        for group in [OWN, OTHER] {
            let subscription = group.split('/').nth(2).unwrap();
            let named = doors.call(ADMIN, &Method::PUT, &format!("/v1/subscriptions/{subscription}"), &json!({"name": "one"})).await;
            assert_eq!(named.0, StatusCode::OK, "{}", named.1);
            let region = json!({"location": "local"});
            for (path, body) in [
                (group.to_owned(), region.clone()),
                (format!("{group}{CLUSTER}"), new_cluster()),
                (format!("{group}{WORKSPACE}"), region.clone()),
                (format!("{group}{IDENTITY}"), region.clone()),
                (format!("{group}{ACTIONS}"), json!({"location": "local", "properties": {"groupShortName": "ops"}})),
                (format!("{group}{RULE}"), alert_rule(group)),
                (
                    format!("{group}{BOOK}"),
                    json!({"location": "local", "properties": {"displayName": "b", "category": "workbook", "serializedData": "{}"}}),
                ),
                (format!("{group}{PACK}"), region.clone()),
                (format!("{group}{ACCOUNT}"), region.clone()),
            ] {
                let made = doors.call(ADMIN, &Method::PUT, &path, &body).await;
                assert!(made.0.is_success(), "{path}: {}", made.1);
            }
            let uri = format!("https://{}.example", if group == OWN { "one" } else { "two" });
            let body = json!({"location": "local", "properties": {"tenantId": "55555555-5555-4555-8555-555555555555", "vaultUri": uri}});
            let made = doors.call(ADMIN, &Method::PUT, &format!("{group}{VAULT}"), &body).await;
            assert!(made.0.is_success(), "{}", made.1);
        }
        doors.app.site.clusters.idle().await;
        doors
    }

    async fn call(&self, token: &str, method: &Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let glue = if path.contains('?') { '&' } else { '?' };
        let mut request = Request::builder().method(method).uri(format!("{path}{glue}api-version=2025-07-01")).header("host", "here");
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request = request.header("content-type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let response = self.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    async fn token(&self, role: &str, at: &str) -> String {
        let at = ScopePath::read(at).unwrap();
        self.app.site.principals.create_at(role.to_owned(), role, &at, None).await.unwrap().token
    }

    async fn role(&self, name: &str, actions: &[&str]) {
        let id = uuid::Uuid::now_v7().to_string();
        let body = json!({"properties": {
            "roleName": name, "permissions": [{"actions": actions, "notActions": []}], "assignableScopes": ["/"],
        }});
        let made = self.call(ADMIN, &Method::PUT, &format!("/providers/Microsoft.Authorization/roleDefinitions/{id}"), &body).await;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    }
}

/// An answer without the names by which the two groups differ.
fn blind(answer: &Value) -> String {
    let mut text = answer.to_string().to_ascii_lowercase();
    for group in [OTHER, ABSENT] {
        for part in group.to_ascii_lowercase().split('/').skip(2).step_by(2) {
            text = text.replace(part, "X");
        }
    }
    text
}

#[tokio::test]
async fn every_role_meets_at_every_route_what_it_says_and_what_is_anothers_looks_absent() {
    let doors = Doors::open().await;
    let names: Vec<String> = doors.app.site.roles.iter().map(|role| role.name.clone()).collect();
    let mut cells = 0;
    for name in &names {
        let role = doors.app.site.roles.get(name).unwrap().clone();
        // Where the right lies: the group, above it, and one resource in it.
        for (at, covers) in
            [("/subscriptions/11111111-1111-4111-8111-111111111111", true), (OWN, true), (&*format!("{OWN}{CLUSTER}"), false)]
        {
            let token = doors.token(name, at).await;
            let right = ScopePath::of(at);
            for route in routes() {
                let cell = format!("{name} at {at}: {} {}", route.method, route.path);
                let own = doors.call(&token, &route.method, &route.path.replace("{G}", OWN), &route.body).await;
                let place = |below: &str| ScopePath::of(&format!("{OWN}{below}"));
                let reaches = |at: &ScopePath| if route.list { right.touches(at) } else { right.covers(at) };
                let open = route.takes.iter().all(|(action, below)| role.allows(action) && reaches(&place(below)));
                if open {
                    assert!(
                        !matches!(own.0, StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED),
                        "{cell}: {}",
                        own.1
                    );
                    assert_ne!(own.0, StatusCode::INTERNAL_SERVER_ERROR, "{cell}: {}", own.1);
                } else {
                    let (action, below) = route.takes[0];
                    if covers || right.touches(&place(below)) {
                        assert_eq!(own.0, StatusCode::FORBIDDEN, "{cell}: {}", own.1);
                        let text = own.1["error"]["message"].as_str().unwrap();
                        assert_eq!(own.1["error"]["code"], "AuthorizationFailed", "{cell}");
                        assert!(text.contains(action) && text.contains(place(below).as_str()), "{cell}: {text}");
                    } else {
                        assert_eq!(own.0, StatusCode::NOT_FOUND, "{cell}: {}", own.1);
                    }
                }
                let other = doors.call(&token, &route.method, &route.path.replace("{G}", OTHER), &route.body).await;
                let absent = doors.call(&token, &route.method, &route.path.replace("{G}", ABSENT), &route.body).await;
                assert_eq!((other.0, blind(&other.1)), (absent.0, blind(&absent.1)), "{cell}");
                assert_eq!(other.0, StatusCode::NOT_FOUND, "{cell}: {}", other.1);
                if route.list && own.0 == StatusCode::OK {
                    let shown = own.1["value"].as_array().unwrap().iter().map(|row| ScopePath::of(row["id"].as_str().unwrap()));
                    assert!(shown.clone().all(|row| right.covers(&row)), "{cell}: {}", own.1);
                    assert_eq!(shown.count(), usize::from(covers || route.path.ends_with("/clusters")), "{cell}: {}", own.1);
                }
                cells += 3;
            }
        }
    }
    assert_eq!(cells, names.len() * 3 * routes().len() * 3);
}

#[tokio::test]
async fn what_is_native_looks_absent_to_those_whose_right_lies_elsewhere() {
    let doors = Doors::open().await;
    let shop = doors.app.site.catalog.workspaces().await.unwrap().into_iter().find(|row| row.name.as_str() == "default").unwrap();
    let at = Place::of_workspace(&shop).workspace_path();
    for name in ["Owner", "Reader", "Operator", "Log Analytics Contributor"] {
        let token = doors.token(name, &at).await;
        for (method, path, body) in [
            (Method::GET, "/v1/clusters/{n}", Value::Null),
            (Method::GET, "/v1/clusters/{n}/key", Value::Null),
            (Method::GET, "/v1/clusters/{n}/evidence", Value::Null),
            (Method::POST, "/v1/clusters/{n}/key/release", Value::Null),
            (Method::POST, "/v1/clusters/{n}/check", Value::Null),
            (Method::POST, "/v1/clusters/{n}/rekey", Value::Null),
            (Method::GET, "/v1/workspaces/{n}", Value::Null),
            (Method::PATCH, "/v1/workspaces/{n}", json!({"retentionInDays": 4})),
            (Method::DELETE, "/v1/workspaces/{n}", Value::Null),
            (Method::GET, "/v1/workspaces/{n}/tables", Value::Null),
            (Method::GET, "/v1/workspaces/{n}/metadata", Value::Null),
            (Method::GET, "/v1/workspaces/{n}/functions", Value::Null),
            (Method::GET, "/v1/workspaces/{n}/history", Value::Null),
            (Method::POST, "/v1/workspaces/{n}/history", json!({"query": "print 1"})),
            (Method::DELETE, "/v1/workspaces/{n}/history", Value::Null),
            (Method::GET, "/v1/workspaces/{n}/pins", Value::Null),
            (Method::POST, "/v1/workspaces/{n}/pins", json!({"title": "one", "query": "print 1"})),
            (Method::DELETE, "/v1/workspaces/{n}/pins/1", Value::Null),
            (Method::POST, "/v1/workspaces/{n}/query", json!({"query": "print 1"})),
            (Method::POST, "/v1/workspaces/{n}/ingest/T", json!({"a": 1})),
            (Method::POST, "/v1/workspaces/{n}/flush", Value::Null),
            (Method::POST, "/v1/workspaces/{n}/tables/T/shred", json!({"confirm": "T"})),
        ] {
            let foreign = doors.call(&token, &method, &path.replace("{n}", "things"), &body).await;
            let absent = doors.call(&token, &method, &path.replace("{n}", "nothing"), &body).await;
            assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{name} {method} {path}: {}", foreign.1);
            assert_eq!(foreign.1.to_string().replace("things", "nothing"), absent.1.to_string(), "{name} {method} {path}");
        }
        for path in ["/v1/principals", "/v1/services", "/v1/audit", "/v1/cache", "/v1/signing-keys"] {
            assert_eq!(doors.call(&token, &Method::GET, path, &Value::Null).await.0, StatusCode::FORBIDDEN, "{name} {path}");
        }
        let listed = doors.call(&token, &Method::GET, "/v1/clusters", &Value::Null).await;
        assert_eq!(listed.1["value"], json!([]), "{name}");
        let held =
            doors.call(&token, &Method::GET, &format!("{OTHER}/providers/Microsoft.Authorization/roleAssignments"), &Value::Null).await;
        assert_eq!(held.1["value"], json!([]), "{name}");
    }
}

#[tokio::test]
async fn without_a_valid_token_every_route_challenges() {
    let doors = Doors::open().await;
    let mut paths: Vec<(Method, String)> = routes().into_iter().map(|route| (route.method, route.path.replace("{G}", OWN))).collect();
    for path in ["/subscriptions", "/tenants", "/providers", "/v1/clusters", "/v1/workspaces", "/v1/principals", "/v1/roles", "/v1/audit"] {
        paths.push((Method::GET, path.to_owned()));
    }
    for (method, path) in paths {
        for token in ["", "srt_nobody-has-this-token-0123456789", "eyJhbGciOiJub25lIn0.e30."] {
            let mut request = Request::builder().method(&method).uri(format!("{path}?api-version=2025-07-01")).header("host", "here");
            if !token.is_empty() {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let response = doors.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path} {token}");
            let told = response.headers()["www-authenticate"].to_str().unwrap();
            let tenant = doors.app.site.identity.directory.tenant();
            assert!(told.starts_with(&format!("Bearer authorization_uri=\"http://here/{tenant}\"")), "{told}");
            assert_eq!(told.contains("error=\"invalid_token\""), !token.is_empty(), "{told}");
        }
    }
}

/// Z1–Z5, Z7, Z8: each row with each of its actions missing, and with all of them.
#[tokio::test]
async fn each_row_of_the_permission_table_needs_each_of_its_actions() {
    let doors = Doors::open().await;
    let cluster = new_cluster();
    let link = json!({"properties": {"writeAccessResourceId": format!("{OWN}{CLUSTER}")}});
    let linked = "/linkedServices/cluster";
    let absent_link = StatusCode::NO_CONTENT;
    // What is asked, the actions it takes, and how it is answered with all of them.
    let rows: [PermissionRow<'_>; 8] = [
        (
            "Z1",
            Method::PUT,
            format!("{OWN}/providers/{INSIGHTS}/clusters/fresh"),
            cluster.clone(),
            &["Microsoft.Resources/deployments/*", action::CLUSTERS_WRITE],
            StatusCode::OK,
        ),
        ("Z2", Method::PATCH, format!("{OWN}{CLUSTER}"), json!({"tags": {"a": "b"}}), &[action::CLUSTERS_WRITE], StatusCode::OK),
        ("Z4", Method::GET, format!("{OWN}{WORKSPACE}"), Value::Null, &[action::WORKSPACES_READ], StatusCode::OK),
        ("Z5", Method::GET, format!("{OWN}{CLUSTER}"), Value::Null, &[action::CLUSTERS_READ], StatusCode::OK),
        ("Z7", Method::DELETE, format!("{OWN}{WORKSPACE}{linked}"), Value::Null, &[action::LINKS_DELETE], absent_link),
        (
            "Z3",
            Method::PUT,
            format!("{OWN}{WORKSPACE}{linked}"),
            link,
            &[action::CLUSTERS_WRITE, action::WORKSPACES_WRITE, action::LINKS_WRITE],
            StatusCode::OK,
        ),
        ("Z2 again", Method::PUT, format!("{OWN}{CLUSTER}"), cluster.clone(), &[action::CLUSTERS_WRITE], StatusCode::OK),
        ("Z8", Method::DELETE, format!("{OTHER}{CLUSTER}"), Value::Null, &[action::CLUSTERS_DELETE], StatusCode::OK),
    ];
    for (id, method, path, body, takes, expected) in rows {
        for missing in 0..takes.len() {
            // All others, and one that has nothing to do with it.
            let mut actions = vec!["Microsoft.Support/*"];
            actions.extend(takes.iter().enumerate().filter(|(n, _)| *n != missing).map(|(_, action)| *action));
            if id == "Z8" {
                actions.push(action::CLUSTERS_WRITE);
            }
            let name = format!("{id} without {missing}");
            doors.role(&name, &actions).await;
            let refused = doors.call(&doors.token(&name, "/").await, &method, &path, &body).await;
            assert_eq!(
                (refused.0, &refused.1["error"]["code"]),
                (StatusCode::FORBIDDEN, &json!("AuthorizationFailed")),
                "{name}: {}",
                refused.1
            );
            let wanted = takes[missing].trim_end_matches('*');
            assert!(refused.1["error"]["message"].as_str().unwrap().contains(wanted), "{name}: {}", refused.1);
        }
        let name = format!("{id} whole");
        doors.role(&name, takes).await;
        let done = doors.call(&doors.token(&name, "/").await, &method, &path, &body).await;
        // How it is said that a change takes its time goes by the version that a client speaks.
        let expected = if done.0 == StatusCode::ACCEPTED { StatusCode::ACCEPTED } else { expected };
        assert_eq!(done.0, expected, "{name}: {}", done.1);
        doors.app.site.clusters.idle().await;
    }
}

/// D4: by the older document two of the three rights are enough to link.
#[tokio::test]
async fn linking_took_two_rights_in_2021() {
    let link = json!({"properties": {"writeAccessResourceId": format!("{OWN}{CLUSTER}")}});
    for (compat, expected) in
        [(strongroom_control::Compat::Y2025, StatusCode::FORBIDDEN), (strongroom_control::Compat::Y2021, StatusCode::ACCEPTED)]
    {
        let doors = Doors::open_with(|config| config.azure.compat = compat).await;
        doors.role("Linker", &[action::CLUSTERS_WRITE, action::WORKSPACES_WRITE]).await;
        let token = doors.token("Linker", "/").await;
        let done = doors.call(&token, &Method::PUT, &format!("{OWN}{WORKSPACE}/linkedServices/cluster"), &link).await;
        assert_eq!(done.0, expected, "{}", done.1);
        doors.app.site.clusters.idle().await;
    }
}

/// Z6, Z9: the documented action sets, and assignments at subscription, group, resource.
#[tokio::test]
async fn built_in_roles_hold_what_azure_documents_at_every_scope() {
    let doors = Doors::open().await;
    let table = format!("{OWN}{WORKSPACE}/tables/T");
    let writes = [action::CLUSTERS_WRITE, action::CLUSTERS_DELETE, action::WORKSPACES_WRITE, action::LINKS_WRITE, action::LINKS_DELETE];
    let reads = [action::CLUSTERS_READ, action::WORKSPACES_READ, action::TABLES_READ, action::QUERY];
    // Changes of clusters and workspaces, looks at them, rights of others.
    for (name, changes, looks, assigns) in [
        ("Owner", true, true, true),
        ("Contributor", true, true, false),
        ("Log Analytics Contributor", true, true, false),
        ("Reader", false, true, false),
        ("Log Analytics Reader", false, true, false),
        ("User Access Administrator", false, true, true),
    ] {
        let role = doors.app.site.roles.get(name).unwrap();
        assert!(writes.iter().all(|action| role.allows(action) == changes), "{name}");
        assert!(reads.iter().all(|action| role.allows(action) == looks), "{name}");
        assert_eq!(role.allows(action::ROLES_WRITE) && role.allows(action::ROLES_DELETE), assigns, "{name}");
        assert_eq!(role.allows(action::DEPLOYMENTS_WRITE), changes, "{name}");
        for at in ["/subscriptions/11111111-1111-4111-8111-111111111111", OWN, &format!("{OWN}{WORKSPACE}"), &table] {
            let token = doors.token(name, at).await;
            let caller = doors.app.site.principals.authenticate(&token).await.unwrap();
            let right = ScopePath::of(at);
            for place in [OWN, &format!("{OWN}{WORKSPACE}"), &table, OTHER] {
                let there = ScopePath::of(place);
                assert_eq!(caller.may(action::TABLES_READ, &there), looks && right.covers(&there), "{name} at {at}: {place}");
            }
        }
    }
    let listed = doors.call(ADMIN, &Method::GET, "/providers/Microsoft.Authorization/roleDefinitions", &Value::Null).await;
    let named = |name: &str| {
        let all = listed.1["value"].as_array().unwrap();
        all.iter().find(|role| role["properties"]["roleName"] == name).unwrap_or_else(|| panic!("{name}"))["name"].clone()
    };
    assert_eq!(named("Log Analytics Contributor"), "92aaf0da-9dab-42b6-94a3-d43ce8d16293");
    assert_eq!(named("Log Analytics Reader"), "73c42c96-874c-492b-b04d-ab87d138a893");
}

/// A right on one table opens that table and no other.
#[tokio::test]
async fn a_right_on_a_table_is_one_on_that_table_alone() {
    let doors = Doors::open().await;
    for table in ["Mine", "Theirs"] {
        let sent = doors.call(ADMIN, &Method::POST, &format!("/v1/workspaces/default/ingest/{table}?"), &json!({"a": 1})).await;
        assert_eq!(sent.0, StatusCode::BAD_REQUEST, "a parameter nobody knows");
        let request = Request::builder().method(Method::POST).uri(format!("/v1/workspaces/default/ingest/{table}"));
        let request = request.header("authorization", format!("Bearer {ADMIN}")).body(Body::from(r#"{"a":1}"#)).unwrap();
        assert_eq!(doors.router.clone().oneshot(request).await.unwrap().status(), StatusCode::OK);
    }
    let home = doors.app.site.catalog.workspaces().await.unwrap().into_iter().find(|row| row.name.as_str() == "default").unwrap();
    let at = format!("{}/tables/Mine", Place::of_workspace(&home).workspace_path());
    let token = doors.token("Log Analytics Reader", &at).await;
    let ask = async |text: &str| {
        let request =
            Request::builder().method(Method::POST).uri("/v1/workspaces/default/query").header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}")).body(Body::from(json!({"query": text}).to_string()));
        let response = doors.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    };
    let own = ask("Mine | count").await;
    assert_eq!(own.0, StatusCode::OK, "{}", own.1);
    for text in ["Theirs | count", "union Mine, Theirs | count", "Theirs | getschema"] {
        let refused = ask(text).await;
        assert_eq!(refused.0, StatusCode::FORBIDDEN, "{text}: {}", refused.1);
    }
    let agent = doors.token("Ingest", &at).await;
    // A table it has no right on looks absent, as every resource does.
    for (table, status) in [("Mine", StatusCode::OK), ("Theirs", StatusCode::NOT_FOUND)] {
        let request = Request::builder().method(Method::POST).uri(format!("/v1/workspaces/default/ingest/{table}"));
        let request = request.header("authorization", format!("Bearer {agent}")).body(Body::from(r#"{"a":1}"#)).unwrap();
        assert_eq!(doors.router.clone().oneshot(request).await.unwrap().status(), status, "{table}");
    }
}

/// A row's id; what is asked with which body; the actions it takes; how it is answered with all of them.
/// Z6: each of the three roles does by its own action set what the table asks for, and with one of the actions taken out of the set
/// that one thing no longer.
#[tokio::test]
async fn each_role_that_grants_needs_each_action_of_its_set() {
    // Each role links once.
    let doors = Doors::open_with(|config| config.azure.link_operations_max = 9).await;
    let linked = format!("{OWN}{WORKSPACE}/linkedServices/cluster");
    let link = json!({"properties": {"writeAccessResourceId": format!("{OWN}{CLUSTER}")}});
    let asked = [
        (Method::PATCH, format!("{OWN}{CLUSTER}"), json!({"tags": {"a": "b"}}), action::CLUSTERS_WRITE),
        (Method::GET, format!("{OWN}{CLUSTER}"), Value::Null, action::CLUSTERS_READ),
        (Method::PATCH, format!("{OWN}{WORKSPACE}"), json!({"tags": {"a": "b"}}), action::WORKSPACES_WRITE),
        (Method::GET, format!("{OWN}{WORKSPACE}"), Value::Null, action::WORKSPACES_READ),
        (Method::PUT, linked.clone(), link, action::LINKS_WRITE),
        (Method::DELETE, linked, Value::Null, action::LINKS_DELETE),
    ];
    for name in ["Owner", "Contributor", "Log Analytics Contributor"] {
        let role = doors.app.site.roles.get(name).unwrap().clone();
        let whole = doors.token(name, "/").await;
        for (method, path, body, missing) in &asked {
            let short = format!("{name} without {missing}");
            let id = uuid::Uuid::now_v7().to_string();
            let not_actions: Vec<&str> = role.not_actions.iter().map(String::as_str).chain([*missing]).collect();
            let body_of_role = json!({"properties": {
                "roleName": short, "permissions": [{"actions": role.actions, "notActions": not_actions}], "assignableScopes": ["/"],
            }});
            let path_of_role = format!("/providers/Microsoft.Authorization/roleDefinitions/{id}");
            let made = doors.call(ADMIN, &Method::PUT, &path_of_role, &body_of_role).await;
            assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
            let refused = doors.call(&doors.token(&short, "/").await, method, path, body).await;
            assert_eq!(
                (refused.0, &refused.1["error"]["code"]),
                (StatusCode::FORBIDDEN, &json!("AuthorizationFailed")),
                "{short}: {}",
                refused.1
            );
            assert!(refused.1["error"]["message"].as_str().unwrap().contains(missing), "{short}: {}", refused.1);
            let done = doors.call(&whole, method, path, body).await;
            assert!(done.0.is_success(), "{name}: {method} {path}: {}", done.1);
            doors.app.site.clusters.idle().await;
        }
    }
}

type PermissionRow<'a> = (&'a str, Method, String, Value, &'a [&'a str], StatusCode);
