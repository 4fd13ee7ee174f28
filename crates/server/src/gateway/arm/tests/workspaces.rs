//! Workspaces and their tables as each version of the protocol has them, and what no call does to them.

use super::*;

impl Door {
    async fn workspace_of(&self, name: &str, version: &str) -> Value {
        let path = format!("{}/Microsoft.OperationalInsights/workspaces/{name}?api-version={version}", self.base);
        let answer = self.send(Method::GET, &path, &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{version}: {}", answer.body);
        answer.body
    }

    async fn deleted(&self) -> Vec<String> {
        let listed = self.insights(Method::GET, "deletedWorkspaces", &Value::Null).await;
        assert_eq!(listed.status, StatusCode::OK, "{}", listed.body);
        listed.body["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn a_workspace_is_shown_as_each_version_of_the_protocol_has_it() {
    let door = Door::open().await;
    let kept = door.insights(Method::PATCH, "workspaces/default", &json!({"properties": {"forceCmkForQuery": true}})).await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.body);
    for (version, etag, whole) in [
        ("2020-03-01-preview", "eTag", false),
        ("2020-08-01", "eTag", false),
        ("2020-10-01", "eTag", true),
        ("2021-06-01", "eTag", true),
        ("2021-12-01-preview", "etag", true),
        ("2025-07-01", "etag", true),
    ] {
        let page = door.workspace_of("default", version).await;
        let etags: Vec<&String> = page.as_object().unwrap().keys().filter(|name| name.eq_ignore_ascii_case("etag")).collect();
        assert_eq!(etags, [etag], "{version}");
        for name in ["createdDate", "modifiedDate", "forceCmkForQuery"] {
            assert_eq!(!page["properties"][name].is_null(), whole, "{version} {name}");
        }
        assert!(page["properties"]["customerId"].is_string() && page["properties"]["sku"]["name"].is_string(), "{version}: {page}");
    }
}

#[tokio::test]
async fn a_workspace_stays_in_its_region() {
    let door = Door::open().await;
    for method in [Method::PUT, Method::PATCH] {
        let before = door.workspace_of("default", "2025-07-01").await;
        let body = json!({"location": "elsewhere", "tags": {"a": "b"}, "properties": {"retentionInDays": 77}});
        let refused = door.insights(method.clone(), "workspaces/default", &body).await;
        assert_eq!((refused.error().0, refused.error().1), (StatusCode::CONFLICT, "InvalidResourceLocation"), "{method}");
        assert_eq!(door.workspace_of("default", "2025-07-01").await, before, "{method}: nothing of it");
        // However its region is spelt.
        let taken = door.insights(method, "workspaces/default", &json!({"location": "Lo Cal"})).await;
        assert_eq!((taken.status, &taken.body["location"]), (StatusCode::OK, &json!("local")), "{}", taken.body);
    }
    // Nor does what is refused bring a deleted one back.
    let before = door.workspace_of("default", "2025-07-01").await;
    assert_eq!(door.insights(Method::DELETE, "workspaces/default", &Value::Null).await.status, StatusCode::OK);
    let refused = door.insights(Method::PUT, "workspaces/default", &json!({"location": "elsewhere"})).await;
    assert_eq!((refused.error().0, refused.error().1), (StatusCode::CONFLICT, "InvalidResourceLocation"));
    assert_eq!(door.deleted().await, ["default"]);
    assert_eq!(door.insights(Method::PUT, "workspaces/Default", &json!({"location": "LOCAL"})).await.status, StatusCode::OK);
    assert_eq!(door.workspace_of("default", "2025-07-01").await["properties"]["customerId"], before["properties"]["customerId"]);
}

#[tokio::test]
async fn a_list_of_deleted_workspaces_is_of_those_that_can_be_brought_back() {
    let door = Door::open().await;
    for name in ["back", "over"] {
        let made = door.insights(Method::PUT, &format!("workspaces/{name}"), &json!({"location": "local"})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    assert_eq!(door.insights(Method::DELETE, "workspaces/back", &Value::Null).await.status, StatusCode::OK);
    // Its time is over; the pass that shreds it is still to come.
    let rows = door.app.site.catalog.workspaces().await.unwrap();
    let over = rows.iter().find(|row| row.name.as_str() == "over").unwrap();
    door.app.site.catalog.workspace_delete(over.id, 1_000, 2_000).await.unwrap();
    assert_eq!(door.deleted().await, ["back"]);
    for (name, status) in [("over", StatusCode::CONFLICT), ("back", StatusCode::OK)] {
        let again = door.insights(Method::PUT, &format!("workspaces/{name}"), &json!({"location": "local"})).await;
        assert_eq!(again.status, status, "{name}: {}", again.body);
    }
    assert_eq!(door.deleted().await, [""; 0]);
}

#[tokio::test]
async fn a_table_that_somebody_declares_or_deletes_is_one_of_their_own() {
    let door = Door::open().await;
    let headers = [("authorization", &*format!("Bearer {ADMIN}")), ("content-type", "application/json")];
    let sent = door.send(Method::POST, "/v1/workspaces/default/ingest/App", &headers, "{\"n\":1}").await;
    assert_eq!(sent.status, StatusCode::OK, "{}", sent.body);
    let days = json!({"properties": {"retentionInDays": 30}});
    // One that is there by its rows may be changed, whatever its name.
    assert_eq!(door.insights(Method::PUT, "workspaces/default/tables/App", &days).await.status, StatusCode::OK);
    for name in ["Ap", "App_cl", "App_CLX"] {
        let refused = door.insights(Method::PUT, &format!("workspaces/default/tables/{name}"), &days).await;
        assert_eq!((refused.error().0, refused.error().1), (StatusCode::BAD_REQUEST, "InvalidTableName"), "{name}");
        assert!(refused.error().2.contains(name) && refused.error().2.contains("_CL"), "{}", refused.body);
        let shown = door.insights(Method::GET, &format!("workspaces/default/tables/{name}"), &Value::Null).await;
        assert_eq!(shown.status, StatusCode::NOT_FOUND, "{name}: a slip of the pen makes no table");
    }
    let refused = door.insights(Method::DELETE, "workspaces/default/tables/App", &Value::Null).await;
    assert_eq!((refused.error().0, refused.error().1), (StatusCode::BAD_REQUEST, "TableNotDeletable"));
    let asked = door.send(Method::POST, "/v1/workspaces/default/query", &headers, r#"{"query": "App | count"}"#).await;
    assert_eq!(asked.body["tables"][0]["rows"], json!([[1]]), "{}", asked.body);
    let shown = door.insights(Method::GET, "workspaces/default/tables/App", &Value::Null).await;
    assert_eq!((shown.status, &shown.body["properties"]["provisioningState"]), (StatusCode::OK, &json!("Succeeded")));
}
