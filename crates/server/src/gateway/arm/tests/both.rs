//! What lies in one place and is about another takes rights at both: workbooks, alert rules and accounts of somebody who rules a group of
//! their own and may only look at the workspace's.

use super::*;

struct Guest {
    /// The group that is theirs.
    base: String,
    token: String,
}

impl Door {
    /// Somebody who rules the group `mine` and has a role of these actions on the group of the workspace; none: no role there.
    async fn guest(&self, name: &str, actions: &[&str]) -> Guest {
        let base = self.base.replace("/default/", "/mine/");
        let group = base.trim_end_matches("/providers").to_owned();
        let made = self.root(Method::PUT, &group, &json!({"location": "local"})).await;
        assert!(made.status.is_success(), "{}", made.body);
        let at = ScopePath::read(&group).unwrap();
        let owner = self.app.site.principals.create_at(name.to_owned(), "Owner", &at, None).await.unwrap();
        if !actions.is_empty() {
            let role = uuid::Uuid::now_v7().to_string();
            let permissions = json!([{"actions": actions, "notActions": []}]);
            let body = json!({"properties": {"roleName": name, "permissions": permissions, "assignableScopes": ["/"]}});
            let path = format!("/providers/Microsoft.Authorization/roleDefinitions/{role}");
            assert_eq!(self.root(Method::PUT, &path, &body).await.status, StatusCode::CREATED);
            let there = self.base.trim_end_matches("/providers");
            let path = format!("{there}/providers/Microsoft.Authorization/roleAssignments/{}", uuid::Uuid::now_v7());
            let body = json!({"properties": {"roleDefinitionId": role, "principalId": owner.id.to_string()}});
            let given = self.root(Method::PUT, &path, &body).await;
            assert_eq!(given.status, StatusCode::CREATED, "{}", given.body);
        }
        Guest { base, token: owner.token }
    }

    async fn root(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.as_(ADMIN, method, path, body).await
    }

    async fn as_(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let glue = if path.contains('?') { '&' } else { '?' };
        self.send(method, &format!("{path}{glue}{VERSION}"), &[("authorization", &format!("Bearer {token}"))], &body).await
    }

    fn workspace(&self) -> String {
        format!("{}/Microsoft.OperationalInsights/workspaces/default", self.base)
    }

    fn alert(&self, groups: &[String]) -> Value {
        json!({"location": "local", "properties": {
            "severity": 2, "evaluationFrequency": "P1D", "windowSize": "P1D", "scopes": [self.workspace()],
            "criteria": {"allOf": [{"query": "print n = 1", "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 5}]},
            "actions": {"actionGroups": groups},
        }})
    }
}

fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    answer.body["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_workbook_in_a_workspaces_storage_takes_rights_on_workspace_and_account() {
    let door = Door::open().await;
    let account = json!({"location": "local", "kind": "StorageV2"});
    let account = door.call(Method::PUT, "Microsoft.Storage/storageAccounts/books", &account).await.body["id"].clone();
    let link = json!({"properties": {"storageAccountIds": [account]}});
    let linked = door.insights(Method::PUT, "workspaces/default/linkedStorageAccounts/Query", &link).await;
    assert_eq!(linked.status, StatusCode::OK, "{}", linked.body);
    let book = |extra: Value| {
        let mut properties = json!({"displayName": "b", "category": "workbook", "serializedData": "{}"});
        properties.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"location": "local", "properties": properties})
    };
    let stored = book(json!({"storageUri": account, "sourceId": door.workspace()}));
    let (read, write, storage) = ("*/read", "Microsoft.Insights/workbooks/write", "Microsoft.Storage/storageAccounts/write");
    let mut owner = None;
    for (name, actions, status) in [
        ("nobody", vec![], StatusCode::BAD_REQUEST),
        ("looks", vec![read], StatusCode::FORBIDDEN),
        ("without account", vec![read, write], StatusCode::FORBIDDEN),
        ("without workspace", vec![read, storage], StatusCode::FORBIDDEN),
        ("both", vec![read, write, storage], StatusCode::CREATED),
    ] {
        let guest = door.guest(name, &actions).await;
        let answer = door.as_(&guest.token, Method::PUT, &format!("{}/Microsoft.Insights/workbooks/own", guest.base), &stored).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
        owner = Some(guest);
    }
    // Whoever rules the group it lies in sees, changes and deletes nothing of it without the workspace.
    let (owner, stranger) = (owner.unwrap(), door.guest("stranger", &[]).await);
    let path = format!("{}/Microsoft.Insights/workbooks/own", owner.base);
    for (method, body) in [(Method::GET, Value::Null), (Method::PUT, book(json!({}))), (Method::PATCH, json!({"tags": {}}))] {
        let refused = door.as_(&stranger.token, method.clone(), &path, &body).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{method}: {}", refused.body);
    }
    let list = format!("{}/Microsoft.Insights/workbooks?category=workbook", owner.base);
    assert_eq!(names(&door.as_(&stranger.token, Method::GET, &list, &Value::Null).await), [""; 0]);
    assert_eq!(
        door.as_(&stranger.token, Method::DELETE, &path, &Value::Null).await.status,
        StatusCode::NO_CONTENT,
        "as if it were not there"
    );
    assert_eq!(names(&door.as_(&owner.token, Method::GET, &list, &Value::Null).await), ["own"], "and it is still there");
    // A list of the subscription leaves out what lies where the caller has no right.
    let elsewhere = format!("{}/Microsoft.Insights/workbooks/plain", door.base);
    assert_eq!(door.root(Method::PUT, &elsewhere, &book(json!({}))).await.status, StatusCode::CREATED);
    let subscription = door.base.split("/resourceGroups").next().unwrap().to_owned();
    let all = format!("{subscription}/providers/Microsoft.Insights/workbooks?category=workbook");
    assert_eq!(names(&door.as_(&stranger.token, Method::GET, &all, &Value::Null).await), [""; 0]);
}

#[tokio::test]
async fn an_alert_rule_is_written_and_seen_by_whoever_may_at_its_place_and_at_its_workspace() {
    let door = Door::open().await;
    let group = json!({"location": "Global", "properties": {"groupShortName": "ops"}});
    assert_eq!(door.call(Method::PUT, "Microsoft.Insights/actionGroups/ops", &group).await.status, StatusCode::CREATED);
    let ops = format!("{}/Microsoft.Insights/actionGroups/ops", door.base);
    let (query, write) = ("Microsoft.OperationalInsights/workspaces/query/read", "Microsoft.Insights/scheduledQueryRules/write");
    let (see, groups) = ("Microsoft.OperationalInsights/workspaces/read", "Microsoft.Insights/actionGroups/read");
    let mut writer = None;
    for (name, actions, code) in [
        ("nobody", vec![], "BadRequest"),
        ("asks", vec![see, query], "AuthorizationFailed"),
        ("writes", vec![see, write], "AuthorizationFailed"),
        ("both, but for the group", vec![see, query, write], "ActionGroupNotFound"),
        ("all", vec![see, query, write, groups, "Microsoft.Insights/scheduledQueryRules/read"], ""),
    ] {
        let guest = door.guest(name, &actions).await;
        let path = format!("{}/Microsoft.Insights/scheduledQueryRules/r", guest.base);
        let answer = door.as_(&guest.token, Method::PUT, &path, &door.alert(std::slice::from_ref(&ops))).await;
        assert_eq!(answer.body["error"]["code"].as_str().unwrap_or_default(), code, "{name}: {}", answer.body);
        writer = Some(guest);
    }
    let (writer, stranger) = (writer.unwrap(), door.guest("stranger", &[]).await);
    let path = format!("{}/Microsoft.Insights/scheduledQueryRules/r", writer.base);
    let list = path.trim_end_matches("/r").to_owned();
    // Who rules the group alone: there is no such rule, and nothing that it fired.
    for (method, body) in [(Method::GET, Value::Null), (Method::PUT, door.alert(&[])), (Method::PATCH, json!({"tags": {}}))] {
        let refused = door.as_(&stranger.token, method.clone(), &path, &body).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{method}: {}", refused.body);
    }
    assert_eq!(door.as_(&stranger.token, Method::DELETE, &path, &Value::Null).await.status, StatusCode::NO_CONTENT);
    assert_eq!(names(&door.as_(&stranger.token, Method::GET, &list, &Value::Null).await), [""; 0]);
    assert_eq!(names(&door.as_(&writer.token, Method::GET, &list, &Value::Null).await), ["r"]);
    let rule = door.app.site.catalog.alert_rules().await.unwrap().remove(0);
    let alert = strongroom_catalog::AlertRow {
        id: strongroom_model::ObjectId::from_bytes([8; 16]),
        rule: rule.id,
        severity: 2,
        fired_ms: 1,
        resolved_ms: None,
        delivery: strongroom_catalog::Delivery::None,
        tries: 0,
    };
    door.app.site.catalog.alert_put(&alert).await.unwrap();
    let subscription = door.base.split("/resourceGroups").next().unwrap().to_owned();
    let alerts = format!("{subscription}/providers/Microsoft.AlertsManagement/alerts");
    // May see alerts where the workspace lies, and not where the rule does.
    let workspace = ScopePath::read(&door.workspace()).unwrap();
    let below = door.app.site.principals.create_at("below".to_owned(), "Reader", &workspace, None).await.unwrap().token;
    for (token, shown) in [(ADMIN, 1), (&*stranger.token, 0), (&*below, 0)] {
        let answer = door.as_(token, Method::GET, &alerts, &Value::Null).await;
        assert_eq!(names(&answer).len(), shown, "{}", answer.body);
        let one = door.as_(token, Method::GET, &format!("{alerts}/{}", alert.id), &Value::Null).await;
        assert_eq!(one.status.is_success(), shown == 1, "{}", one.body);
    }
    // Nor are rules and groups of other places in a list of the subscription.
    let all = format!("{subscription}/providers/Microsoft.Insights");
    assert_eq!(names(&door.as_(&below, Method::GET, &format!("{all}/scheduledQueryRules"), &Value::Null).await), [""; 0]);
    assert_eq!(names(&door.as_(&stranger.token, Method::GET, &format!("{all}/actionGroups"), &Value::Null).await), [""; 0]);
    assert_eq!(names(&door.root(Method::GET, &format!("{all}/actionGroups"), &Value::Null).await), ["ops"]);
}

#[tokio::test]
async fn an_accounts_own_key_is_used_with_an_identity_that_one_may_assign() {
    let door = Door::open().await;
    let identity = door.call(Method::PUT, "Microsoft.ManagedIdentity/userAssignedIdentities/id1", &json!({"location": "local"})).await;
    assert_eq!(identity.status, StatusCode::CREATED, "{}", identity.body);
    let body = json!({"location": "local", "properties": {"encryption": {
        "keySource": "Microsoft.Keyvault", "keyvaultproperties": {"keyvaulturi": "https://unknown.example", "keyname": "k"},
        "identity": {"userAssignedIdentity": identity.body["id"]},
    }}});
    let assign = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action";
    for (name, actions, missing) in [("reads", vec!["*/read"], true), ("assigns", vec!["*/read", assign], false)] {
        let guest = door.guest(name, &actions).await;
        let refused = door.as_(&guest.token, Method::PUT, &format!("{}/Microsoft.Storage/storageAccounts/one", guest.base), &body).await;
        assert!(!refused.status.is_success(), "nobody told of that vault");
        assert_eq!(refused.error().2.contains(assign), missing, "{name}: {}", refused.body);
    }
    // A cluster likewise.
    let body = json!({"location": "local", "sku": {"name": "CapacityReservation", "capacity": 100}, "identity": {
        "type": "UserAssigned", "userAssignedIdentities": {(identity.body["id"].as_str().unwrap()): {}},
    }});
    for (name, actions, status) in
        [("reads2", vec!["*/read"], StatusCode::FORBIDDEN), ("assigns2", vec!["*/read", assign], StatusCode::ACCEPTED)]
    {
        let guest = door.guest(name, &actions).await;
        let path = format!("{}/Microsoft.OperationalInsights/clusters/contoso", guest.base);
        let answer = door.as_(&guest.token, Method::PUT, &path, &body).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.body);
    }
    door.app.site.clusters.idle().await;
}

#[tokio::test]
async fn lists_of_a_subscription_show_what_one_may_read_of_it() {
    let door = Door::open().await;
    door.cluster("contoso").await;
    let here = json!({"location": "local"});
    let vault = json!({"location": "local", "properties": {"tenantId": "t", "vaultUri": "https://one.example"}});
    for (path, body) in [
        ("Microsoft.Storage/storageAccounts/one", &here),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/one", &here),
        ("Microsoft.KeyVault/vaults/one", &vault),
    ] {
        let made = door.call(Method::PUT, path, body).await;
        assert!(made.status.is_success(), "{path}: {}", made.body);
    }
    let guest = door.guest("guest", &[]).await;
    let subscription = door.base.split("/resourceGroups").next().unwrap().to_owned();
    for kind in [
        "Microsoft.OperationalInsights/clusters",
        "Microsoft.OperationalInsights/workspaces",
        "Microsoft.Storage/storageAccounts",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
        "Microsoft.KeyVault/vaults",
    ] {
        let path = format!("{subscription}/providers/{kind}");
        assert!(!names(&door.root(Method::GET, &path, &Value::Null).await).is_empty(), "{kind}");
        assert_eq!(names(&door.as_(&guest.token, Method::GET, &path, &Value::Null).await), [""; 0], "{kind}");
    }
}

#[tokio::test]
async fn a_purge_is_told_of_in_its_own_workspace() {
    let door = Door::open().await;
    let other = door.insights(Method::PUT, "workspaces/annex", &json!({"location": "local"})).await;
    assert_eq!(other.status, StatusCode::CREATED, "{}", other.body);
    let table = json!({"properties": {"schema": {"name": "My_CL", "columns": [{"name": "TimeGenerated", "type": "datetime"}]}}});
    assert_eq!(door.insights(Method::PUT, "workspaces/default/tables/My_CL", &table).await.status, StatusCode::OK);
    let filter = json!({"table": "My_CL", "filters": [{"column": "TimeGenerated", "operator": "<", "value": "2026-01-01T00:00:00Z"}]});
    let begun = door.insights(Method::POST, "workspaces/default/purge", &filter).await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{}", begun.body);
    let id = begun.body["operationId"].as_str().unwrap();
    let own = door.insights(Method::GET, &format!("workspaces/default/operations/{id}"), &Value::Null).await;
    assert_eq!(own.status, StatusCode::OK, "{}", own.body);
    let foreign = door.insights(Method::GET, &format!("workspaces/annex/operations/{id}"), &Value::Null).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{}", foreign.body);
}
