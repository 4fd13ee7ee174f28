//! One thing of every kind: one's own, another's and, where that means something, a deleted one.

use strongroom_catalog::{AlertRow, Delivery, LockboxRow, LockboxState, OperationRow};
use strongroom_model::ObjectId;

use super::*;

/// Something of every kind: one's own, another's, and deleted again.
pub(super) async fn furnish(doors: &Doors) -> Names {
    let mut names = Names::default();
    for (whose, group) in [(Whose::Own, OWN), (Whose::Foreign, OTHER)] {
        let made = resources(doors, group, whose.name(), whose.name()).await;
        let ids = inner(doors, group, whose.name(), if whose == Whose::Own { OWN_ID } else { FOREIGN_ID }).await;
        let names = if whose == Whose::Own { &mut names.own } else { &mut names.foreign };
        names.extend(ids);
        names.insert("{rule}", made);
    }
    doors.app.site.clusters.idle().await;
    let gone = resources(doors, OWN, "gone", "mine").await;
    names.gone.insert("{rule}", gone);
    doors.app.site.clusters.idle().await;
    for kind in KINDS.iter().rev() {
        let gone = doors.call(ADMIN, &Method::DELETE, &format!("{OWN}/providers/{kind}/gone"), &Value::Null).await;
        assert!(gone.0.is_success(), "{kind}: {}", gone.1);
        doors.app.site.clusters.idle().await;
    }
    let workspace = format!("{OWN}/providers/{INSIGHTS}/workspaces/mine");
    let roles = format!("{OWN}/providers/Microsoft.Authorization");
    for (part, id, path) in [
        ("{table}", "Gone_CL", format!("{workspace}/tables")),
        ("{search}", GONE_ID, format!("{workspace}/savedSearches")),
        ("{function}", "f_gone", "/v1/workspaces/mine/functions".to_owned()),
        ("{query}", GONE_ID, format!("{OWN}/providers/{INSIGHTS}/queryPacks/mine/queries")),
        ("{assignment}", GONE_ID, format!("{roles}/roleAssignments")),
        ("{definition}", GONE_ID, format!("{roles}/roleDefinitions")),
    ] {
        let body = body_of(doors, part, OWN, id).await;
        for (method, body) in [(Method::PUT, body), (Method::DELETE, Value::Null)] {
            let done = doors.call(ADMIN, &method, &format!("{path}/{id}"), &body).await;
            assert!(done.0.is_success(), "{method} {path}/{id}: {}", done.1);
        }
        names.gone.insert(part, id.to_owned());
    }
    names
}

/// All kinds of resources of a group, what others need first.
const KINDS: [&str; 11] = [
    "Microsoft.OperationalInsights/clusters",
    "Microsoft.OperationalInsights/workspaces",
    "Microsoft.KeyVault/vaults",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.Insights/actionGroups",
    "Microsoft.Insights/scheduledQueryRules",
    "Microsoft.Insights/workbooks",
    "Microsoft.OperationalInsights/queryPacks",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.Insights/dataCollectionEndpoints",
    "Microsoft.Insights/dataCollectionRules",
];

/// One of each kind, made about what is called `about`; the id of its collection rule.
async fn resources(doors: &Doors, group: &str, name: &str, about: &str) -> String {
    let here = json!({"location": "local"});
    let mut rule = String::new();
    for kind in KINDS {
        let body = match kind.rsplit('/').next().unwrap() {
            "clusters" => new_cluster(),
            "vaults" => json!({"location": "local", "properties": {
                "tenantId": "55555555-5555-4555-8555-555555555555", "vaultUri": format!("https://{name}.example"),
            }}),
            "actionGroups" => json!({"location": "local", "properties": {"groupShortName": "ops"}}),
            "scheduledQueryRules" => serde_json::from_str(&alert_rule(group).to_string().replace("things", about)).unwrap(),
            "workbooks" => {
                json!({"location": "local", "properties": {"displayName": "b", "category": "workbook", "serializedData": "{}"}})
            }
            "dataCollectionRules" => json!({"location": "local", "properties": {
                "streamDeclarations": {"Custom-In": {"columns": [{"name": "line", "type": "string"}]}},
                "destinations": {"logAnalytics": [
                    {"name": "la", "workspaceResourceId": format!("{group}/providers/{INSIGHTS}/workspaces/{about}")},
                ]},
                "dataFlows": [{"streams": ["Custom-In"], "destinations": ["la"], "outputStream": "Custom-In_CL"}],
            }}),
            _ => here.clone(),
        };
        let path = format!("{group}/providers/{kind}/{name}");
        let made = doors.call(ADMIN, &Method::PUT, &path, &body).await;
        assert!(made.0.is_success(), "{path}: {}", made.1);
        if let Some(id) = made.1["properties"]["immutableId"].as_str().filter(|id| id.starts_with("dcr-")) {
            id.clone_into(&mut rule);
        }
    }
    rule
}

/// What makes one of those that are named by an id.
async fn body_of(doors: &Doors, part: &str, group: &str, id: &str) -> Value {
    match part {
        "{search}" => json!({"properties": {"category": "c", "displayName": id, "query": "print 1"}}),
        "{function}" => json!({"body": "print 1"}),
        "{query}" => json!({"properties": {"displayName": "q", "body": "print 1"}}),
        "{assignment}" => {
            let (site, at) = (&doors.app.site, ScopePath::read(ABSENT).unwrap());
            let made = site.principals.create_at(format!("somebody {id}"), "Reader", &at, None).await.unwrap();
            let role = site.roles.get("Reader").unwrap().id;
            json!({"properties": {"roleDefinitionId": role.to_string(), "principalId": made.id.to_string()}})
        }
        "{definition}" => json!({"properties": {
            "roleName": format!("role {id}"), "permissions": [{"actions": ["*/read"], "notActions": []}], "assignableScopes": [group],
        }}),
        _ => json!({}),
    }
}

/// What lies in the workspace and the pack of that name, and what is known by an id.
async fn inner(doors: &Doors, group: &str, name: &str, id: &'static str) -> BTreeMap<&'static str, String> {
    let (catalog, insights) = (&doors.app.site.catalog, format!("{group}/providers/{INSIGHTS}"));
    doors.app.site.clusters.idle().await;
    let mut ids = BTreeMap::new();
    let (workspace, roles) = (format!("{insights}/workspaces/{name}"), format!("{group}/providers/Microsoft.Authorization"));
    for (part, id, path) in [
        ("{table}", if group == OWN { "T_CL" } else { "U_CL" }, format!("{workspace}/tables")),
        ("{search}", id, format!("{workspace}/savedSearches")),
        ("{function}", if group == OWN { "f_own" } else { "f_other" }, format!("/v1/workspaces/{name}/functions")),
        ("{query}", id, format!("{insights}/queryPacks/{name}/queries")),
        ("{assignment}", id, format!("{roles}/roleAssignments")),
        ("{definition}", id, format!("{roles}/roleDefinitions")),
    ] {
        let body = body_of(doors, part, group, id).await;
        let made = doors.call(ADMIN, &Method::PUT, &format!("{path}/{id}"), &body).await;
        assert!(made.0.is_success(), "{path}/{id}: {}", made.1);
        ids.insert(part, id.to_owned());
    }
    let pin = doors.call(ADMIN, &Method::POST, &format!("/v1/workspaces/{name}/pins"), &json!({"title": "one", "query": "print 1"})).await;
    assert!(pin.0.is_success(), "{}", pin.1);
    ids.insert("{pin}", pin.1["id"].as_str().map_or_else(|| pin.1["id"].to_string(), str::to_owned));

    let mut steps = group.split('/').skip(2).step_by(2).map(str::to_owned);
    let place = Place { subscription: steps.next().unwrap(), resource_group: steps.next().unwrap(), name: name.to_owned() };
    let operation = catalog.operation_last_on(&place.cluster_path()).await.unwrap().unwrap();
    let cluster = doors.app.site.clusters.get(&place).await.unwrap();
    let home = catalog.workspaces_named(&name.parse().unwrap()).await.unwrap().remove(0);
    let purge: ObjectId = id.parse().unwrap();
    catalog
        .operation_insert(&OperationRow {
            id: purge,
            resource: format!("{workspace}/tables/{}", ids["{table}"]),
            kind: "Shred".to_owned(),
            ..operation.clone()
        })
        .await
        .unwrap();
    ids.insert("{operation}", operation.id.to_string());
    ids.insert("{purge}", format!("purge-{purge}"));

    let rule = catalog.alert_rule(&place.subscription, &place.resource_group, name).await.unwrap().unwrap();
    let alert = AlertRow { id: purge, rule: rule.id, severity: 3, fired_ms: 1, resolved_ms: Some(2), delivery: Delivery::Muted, tries: 0 };
    catalog.alert_put(&alert).await.unwrap();
    ids.insert("{alert}", id.to_owned());

    let asker = doors.app.site.principals.authenticate(ADMIN).await.unwrap();
    let request = LockboxRow {
        id: purge,
        workspace: home.id,
        cluster: cluster.id,
        requester: asker.principal,
        requester_name: asker.name,
        reason: "ticket 7".to_owned(),
        hours: 1,
        state: LockboxState::Pending,
        asked_ms: home.created_ms,
        answer_by_ms: i64::MAX,
        decided: None,
        until_ms: None,
        ended_ms: None,
    };
    catalog.lockbox_insert(&request).await.unwrap();
    ids.insert("{request}", id.to_owned());
    ids
}
