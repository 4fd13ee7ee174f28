//! Alert rules, action groups, history and pins at their doors.

use super::*;

const CANARY: &str = "canary-of-a-rules-text";

fn group() -> Value {
    let hook = json!({"name": "pager", "serviceUri": "https://pager.example/hook?token=1", "useCommonAlertSchema": false});
    json!({"location": "Global", "properties": {"groupShortName": "ops", "enabled": true, "webhookReceivers": [hook], "emailReceivers": []}})
}

impl Door {
    fn rule(&self, query: &str) -> Value {
        json!({"location": "local", "properties": {
            "description": CANARY, "severity": 2, "evaluationFrequency": "P1D", "windowSize": "P1D",
            "scopes": [format!("{}/Microsoft.OperationalInsights/workspaces/default", self.base)],
            "criteria": {"allOf": [{"query": query, "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 5}]},
            "actions": {"actionGroups": [format!("{}/Microsoft.Insights/actionGroups/ops", self.base)]},
        }})
    }

    async fn monitor(&self, method: Method, rest: &str, body: &Value) -> Answer {
        self.call(method, &format!("Microsoft.Insights/{rest}"), body).await
    }

    async fn native(&self, token: &str, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("authorization", &*format!("Bearer {token}")), ("content-type", "application/json")];
        self.send(method, &format!("/v1/workspaces/default/{path}"), &headers, &body).await
    }
}

#[tokio::test]
async fn a_rule_is_bound_kept_shown_changed_and_deleted() {
    let door = Door::open().await;
    let made = door.monitor(Method::PUT, "actionGroups/ops", &group()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.body["properties"]["webhookReceivers"][0]["useCommonAlertSchema"], true, "there is one schema");
    let mail =
        json!({"location": "Global", "properties": {"groupShortName": "x", "emailReceivers": [{"name": "a", "emailAddress": "a@b.c"}]}});
    let refused = door.monitor(Method::PUT, "actionGroups/mail", &mail).await;
    assert_eq!((refused.status, refused.body["error"]["target"].as_str()), (StatusCode::BAD_REQUEST, Some("properties.emailReceivers")));

    let made = door.monitor(Method::PUT, "scheduledQueryRules/r", &door.rule("print n = 1")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let shown = door.monitor(Method::GET, "scheduledQueryRules/r", &Value::Null).await;
    assert_eq!(shown.body, made.body);
    let properties = &shown.body["properties"];
    assert_eq!((&properties["strongroom"]["state"], &properties["isWorkspaceAlertsStorageConfigured"]), (&json!("new"), &json!(false)));
    // What came back is taken again: clients read, change and write.
    let again = door.monitor(Method::PUT, "scheduledQueryRules/r", &shown.body).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    let patched =
        door.monitor(Method::PATCH, "scheduledQueryRules/r", &json!({"tags": {"a": "b"}, "properties": {"enabled": false}})).await;
    assert_eq!((&patched.body["tags"]["a"], &patched.body["properties"]["strongroom"]["state"]), (&json!("b"), &json!("disabled")));
    assert_eq!(patched.body["properties"]["criteria"], properties["criteria"]);

    // Mistakes, each with its place.
    for (change, code, target) in [
        (json!({"query": "print n = 1\n| wehre n > 0"}), "SyntaxError", "properties.criteria.allOf[0].query"),
        (json!({"query": "NoSuchTable | count"}), "SemanticError", "properties.criteria.allOf[0].query"),
        (json!({"dimensions": [{"name": "m", "operator": "Include", "values": ["*"]}]}), "SemanticError", "properties.criteria.allOf[0]"),
        (json!({"query": "workspace('other').T | count"}), "", "properties.criteria.allOf[0].query"),
    ] {
        let mut rule = door.rule("print n = 1");
        rule["properties"]["criteria"]["allOf"][0].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let refused = door.monitor(Method::PUT, "scheduledQueryRules/other", &rule).await;
        assert_eq!((refused.status, refused.body["error"]["target"].as_str()), (StatusCode::BAD_REQUEST, Some(target)), "{}", refused.body);
        assert!(code.is_empty() || refused.body["error"]["code"] == code, "{}", refused.body);
    }
    // A table that is still to come, if that is said.
    let mut rule = door.rule("NoSuchTable | where a > 1");
    rule["properties"]["skipQueryValidation"] = true.into();
    let made = door.monitor(Method::PUT, "scheduledQueryRules/early", &rule).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let mut rule = door.rule("print n = 1");
    rule["properties"]["actions"]["actionGroups"] = json!([format!("{}/Microsoft.Insights/actionGroups/nobody", door.base)]);
    assert_eq!(door.monitor(Method::PUT, "scheduledQueryRules/x", &rule).await.error().1, "ActionGroupNotFound");

    // Whoever may write rules but not query the workspace writes none.
    let actions = json!({"properties": {"roleName": "Rules", "assignableScopes": ["/"], "permissions": [{
        "actions": ["Microsoft.Insights/*", "Microsoft.OperationalInsights/workspaces/read"], "notActions": [],
    }]}});
    let id = uuid::Uuid::now_v7();
    let path = format!("/providers/Microsoft.Authorization/roleDefinitions/{id}?{VERSION}");
    let admin = format!("Bearer {ADMIN}");
    door.send(Method::PUT, &path, &[("authorization", &admin)], &actions.to_string()).await;
    let token = door.app.site.principals.create("w".to_owned(), "Rules", Scope::All, None).await.unwrap().token;
    let path = format!("{}/Microsoft.Insights/scheduledQueryRules/r?{VERSION}", door.base);
    let bearer = format!("Bearer {token}");
    let refused = door.send(Method::PUT, &path, &[("authorization", &bearer)], &door.rule("print n = 2").to_string()).await;
    assert_eq!((refused.status, refused.error().1), (StatusCode::FORBIDDEN, "AuthorizationFailed"));
    assert!(refused.error().2.contains(action::QUERY), "{}", refused.body);

    let names = |answer: &Answer| answer.body["value"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(&door.monitor(Method::GET, "scheduledQueryRules", &Value::Null).await), ["early", "r"]);
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        assert_eq!(door.monitor(Method::DELETE, "scheduledQueryRules/r", &Value::Null).await.status, status);
    }
    assert_eq!(door.monitor(Method::GET, "scheduledQueryRules/r", &Value::Null).await.status, StatusCode::NOT_FOUND);
}

pub(super) fn files(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

pub(super) fn holds(files: &[Vec<u8>], text: &str) -> bool {
    files.iter().any(|file| file.windows(text.len()).any(|part| part == text.as_bytes()))
}

#[tokio::test]
async fn texts_of_rules_lie_in_the_linked_account_and_history_is_refused_meanwhile_a1_a4_q15() {
    let outside = TempDir::new().unwrap();
    let door = Door::open_with(|config| config.storage.roots = vec![outside.path().to_owned()]).await;
    door.monitor(Method::PUT, "actionGroups/ops", &group()).await;
    door.monitor(Method::PUT, "scheduledQueryRules/before", &door.rule("print n = 1")).await;
    let region = door.insights(Method::GET, "workspaces/default", &Value::Null).await.body["location"].clone();
    let url = url::Url::from_directory_path(outside.path().join("texts")).unwrap();
    let account = json!({"location": region, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {"backingUrl": url.as_str().trim_end_matches('/')}});
    let made = door.call(Method::PUT, "Microsoft.Storage/storageAccounts/texts", &account).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let mut strict = door.rule("print n = 1");
    strict["properties"]["checkWorkspaceAlertsStorageConfigured"] = true.into();
    assert_eq!(door.monitor(Method::PUT, "scheduledQueryRules/strict", &strict).await.error().1, "AlertsStorageNotLinked");

    // History and pins are each caller's own, and sealed.
    let reader = door.token("Reader").await;
    let asked = json!({"query": format!("T | where a == '{CANARY}'"), "timespan": "P1D"});
    assert_eq!(door.native(ADMIN, Method::POST, "history", &asked).await.status, StatusCode::CREATED);
    let pinned = door.native(ADMIN, Method::POST, "pins", &json!({"title": CANARY, "query": "T | count"})).await;
    assert_eq!(pinned.status, StatusCode::CREATED, "{}", pinned.body);
    assert_eq!(door.native(ADMIN, Method::GET, "history", &Value::Null).await.body["value"][0]["query"], asked["query"]);
    assert_eq!(door.native(&reader, Method::GET, "history", &Value::Null).await.body["value"], json!([]), "nobody reads another's");
    assert_eq!(door.native(&reader, Method::GET, "pins", &Value::Null).await.body["value"], json!([]));
    let of_another = format!("pins/{}", pinned.body["id"].as_str().unwrap());
    assert_eq!(door.native(&reader, Method::DELETE, &of_another, &Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(door.native(ADMIN, Method::GET, "pins", &Value::Null).await.body["value"].as_array().unwrap().len(), 1);
    assert!(!holds(&files(&door.app.site.config.data_dir), CANARY));

    let links = |source: &str| format!("workspaces/default/linkedStorageAccounts/{source}");
    let body = json!({"properties": {"storageAccountIds": [made.body["id"]]}});
    let linked = door.insights(Method::PUT, &links("Alerts"), &body).await;
    assert_eq!(linked.status, StatusCode::OK, "{}", linked.body);
    assert_eq!(files(outside.path()).len(), 1, "the rule that there was, one object");
    let made = door.monitor(Method::PUT, "scheduledQueryRules/strict", &strict).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.body["properties"]["isWorkspaceAlertsStorageConfigured"], true);
    let there = files(outside.path());
    assert_eq!(there.len(), 2, "one object a rule");
    assert!(!holds(&there, CANARY) && !holds(&there, "print n") && !holds(&files(&door.app.site.config.data_dir), CANARY));
    assert_eq!(door.monitor(Method::GET, "scheduledQueryRules/before", &Value::Null).await.body["properties"]["description"], CANARY);
    // The rule's own row says nothing without it.
    let hidden = outside.path().join("hidden");
    std::fs::rename(outside.path().join("texts"), &hidden).unwrap();
    assert!(!door.monitor(Method::GET, "scheduledQueryRules/strict", &Value::Null).await.status.is_success());
    std::fs::rename(&hidden, outside.path().join("texts")).unwrap();

    // Alerts alone do not concern history; Query does.
    assert_eq!(door.native(ADMIN, Method::GET, "history", &Value::Null).await.status, StatusCode::OK);
    assert_eq!(door.insights(Method::PUT, &links("Query"), &body).await.status, StatusCode::OK);
    for (method, path, body) in [
        (Method::GET, "history", Value::Null),
        (Method::POST, "history", asked),
        (Method::GET, "pins", Value::Null),
        (Method::POST, "pins", json!({"title": "a", "query": "T"})),
    ] {
        let refused = door.native(ADMIN, method.clone(), path, &body).await;
        assert_eq!((refused.status, refused.error().1), (StatusCode::BAD_REQUEST, "NotSupportedWithLinkedStorage"), "{method} {path}");
    }
    for name in ["before", "strict"] {
        assert_eq!(door.monitor(Method::DELETE, &format!("scheduledQueryRules/{name}"), &Value::Null).await.status, StatusCode::OK);
    }
    assert_eq!(files(outside.path()).len(), 0);
}

#[tokio::test]
async fn one_alert_is_shown_whole_to_whoever_may_see_it_and_to_others_as_if_it_were_not_there() {
    let door = Door::open().await;
    door.monitor(Method::PUT, "actionGroups/ops", &group()).await;
    let made = door.monitor(Method::PUT, "scheduledQueryRules/r", &door.rule("print n = 1")).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let rule = door.app.site.catalog.alert_rules().await.unwrap().remove(0);
    let id = strongroom_model::ObjectId::from_bytes([8; 16]);
    let mut row = strongroom_catalog::AlertRow {
        id,
        rule: rule.id,
        severity: 3,
        fired_ms: 1_767_225_600_000,
        resolved_ms: None,
        delivery: strongroom_catalog::Delivery::Delivered,
        tries: 2,
    };
    door.app.site.catalog.alert_put(&row).await.unwrap();
    let subscription = door.base.split("/resourceGroups").next().unwrap();
    let get = async |token: &str, path: &str| {
        door.send(Method::GET, &format!("{path}?{VERSION}"), &[("authorization", &format!("Bearer {token}"))], "").await
    };
    let alerts = format!("{subscription}/providers/Microsoft.AlertsManagement/alerts");
    let path = format!("{alerts}/{id}");
    let mut whole = json!({
        "id": path,
        "name": "r",
        "type": "Microsoft.AlertsManagement/alerts",
        "properties": {
            "essentials": {
                "severity": "Sev3",
                "signalType": "Log",
                "alertState": "New",
                "monitorCondition": "Fired",
                "monitorService": "Log Alerts V2",
                "targetResource": format!("{}/Microsoft.OperationalInsights/workspaces/default", door.base),
                "targetResourceType": "microsoft.operationalinsights/workspaces",
                "sourceCreatedId": id.to_string(),
                "alertRule": format!("{}/Microsoft.Insights/scheduledQueryRules/r", door.base),
                "startDateTime": "2026-01-01T00:00:00.000Z",
                "lastModifiedDateTime": "2026-01-01T00:00:00.000Z",
                "actionStatus": {"isSuppressed": false},
            },
            "strongroom": {"delivery": "delivered", "calls": 2},
        },
    });
    let group = door.base.trim_end_matches("/providers");
    let token = async |role: &str, path: &str| {
        let at = ScopePath::read(path).unwrap();
        door.app.site.principals.create_at(role.to_owned(), role, &at, None).await.unwrap().token
    };
    for token in [ADMIN, &token("Reader", "/").await, &token("Reader", group).await] {
        let shown = get(token, &path).await;
        assert_eq!((shown.status, &shown.body), (StatusCode::OK, &whole));
    }
    assert_eq!(get(ADMIN, &alerts).await.body["value"], json!([whole]), "as in the list");
    assert_eq!(get(ADMIN, &path.replace("alerts/", "ALERTS/").replace("subscriptions", "Subscriptions")).await.body, whole);
    (row.resolved_ms, row.delivery) = (Some(row.fired_ms + 60_000), strongroom_catalog::Delivery::Muted);
    door.app.site.catalog.alert_put(&row).await.unwrap();
    let essentials = &mut whole["properties"]["essentials"];
    essentials["monitorCondition"] = "Resolved".into();
    (essentials["lastModifiedDateTime"], essentials["monitorConditionResolvedDateTime"]) =
        ("2026-01-01T00:01:00.000Z".into(), "2026-01-01T00:01:00.000Z".into());
    essentials["actionStatus"]["isSuppressed"] = true.into();
    whole["properties"]["strongroom"]["delivery"] = "muted".into();
    assert_eq!(get(ADMIN, &path).await.body, whole);

    // In another subscription, under another id, under none: absent alike, whoever asks.
    let other = subscription.rsplit_once('/').unwrap().0.to_owned() + "/99999999-9999-4999-8999-999999999999";
    let absent = format!("{alerts}/{}", strongroom_model::ObjectId::from_bytes([9; 16]));
    for path in [path.replace(subscription, &other), absent.clone(), format!("{alerts}/nonsense")] {
        let refused = get(ADMIN, &path).await;
        assert_eq!((refused.error().0, refused.error().1), (StatusCode::NOT_FOUND, "ResourceNotFound"), "{path}: {}", refused.body);
    }
    let workspace = token("Reader", &format!("{group}/providers/Microsoft.OperationalInsights/workspaces/default")).await;
    let rules = token("Reader", &format!("{group}/providers/Microsoft.Insights/scheduledQueryRules/r")).await;
    let elsewhere = token("Owner", &other).await;
    let sends = token("Monitoring Metrics Publisher", "/").await;
    for (who, token, status) in [
        ("may read the workspace alone", &workspace, StatusCode::NOT_FOUND),
        ("may read the rule alone", &rules, StatusCode::NOT_FOUND),
        ("rules another subscription", &elsewhere, StatusCode::NOT_FOUND),
        ("may not read alerts", &sends, StatusCode::FORBIDDEN),
    ] {
        let (shown, absent) = (get(token, &path).await, get(token, &absent).await);
        assert_eq!(shown.status, status, "{who}: {}", shown.body);
        let same = |answer: &Answer, id: strongroom_model::ObjectId| answer.body.to_string().replace(&id.to_string(), "ID");
        assert_eq!(same(&shown, id), same(&absent, strongroom_model::ObjectId::from_bytes([9; 16])), "{who}");
    }
}
