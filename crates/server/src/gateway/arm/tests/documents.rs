//! Workbooks and query packs at their doors.

use super::alerts::{files, holds};
use super::*;

const CANARY: &str = "canary-of-a-workbook";

#[tokio::test]
async fn a_workbook_lies_under_the_providers_key_or_in_the_linked_account_w1_d7() {
    let outside = TempDir::new().unwrap();
    let door = Door::open_with(|config| config.storage.roots = vec![outside.path().to_owned()]).await;
    let books = "Microsoft.Insights/workbooks";
    let data = json!({"version": "Notebook/1.0", "items": [{"query": format!("T | where a == '{CANARY}'")}]}).to_string();
    let body = |extra: Value| {
        let mut properties = json!({"displayName": "pages", "category": "workbook", "serializedData": data});
        properties.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"location": "local", "kind": "shared", "properties": properties})
    };
    let made = door.call(Method::PUT, &format!("{books}/one"), &body(json!({}))).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert!(made.body["properties"]["strongroom"]["sealedUnder"].as_str().unwrap().contains("MMK"));
    let shown = door.call(Method::GET, &format!("{books}/one?canFetchContent=true"), &Value::Null).await;
    assert_eq!(shown.body["properties"]["serializedData"], json!(data));
    let listed = door.call(Method::GET, &format!("{books}?category=workbook"), &Value::Null).await;
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 1);
    assert!(listed.body["value"][0]["properties"].get("serializedData").is_none(), "unless it is asked for");
    assert_eq!(door.call(Method::GET, &format!("{books}?category=other"), &Value::Null).await.body["value"], json!([]));
    let patched = door.call(Method::PATCH, &format!("{books}/one"), &json!({"properties": {"displayName": "two"}})).await;
    assert_eq!((&patched.body["properties"]["displayName"], &patched.body["properties"]["serializedData"]), (&json!("two"), &json!(data)));
    let empty = door.call(Method::PUT, &format!("{books}/x"), &json!({"location": "local", "properties": {"displayName": "x"}})).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);

    // Into the customer's account: only one that the workspace has linked.
    let region = door.insights(Method::GET, "workspaces/default", &Value::Null).await.body["location"].clone();
    let url = url::Url::from_directory_path(outside.path().join("books")).unwrap();
    let account = json!({"location": region, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": {"backingUrl": url.as_str().trim_end_matches('/')}});
    let account = door.call(Method::PUT, "Microsoft.Storage/storageAccounts/books", &account).await.body["id"].clone();
    let workspace = format!("{}/Microsoft.OperationalInsights/workspaces/default", door.base);
    let stored = body(json!({"storageUri": account, "sourceId": workspace}));
    let early = door.call(Method::PUT, &format!("{books}/own"), &stored).await;
    assert_eq!((early.status, early.body["error"]["target"].as_str()), (StatusCode::BAD_REQUEST, Some("properties.storageUri")));
    let link = json!({"properties": {"storageAccountIds": [account]}});
    assert_eq!(door.insights(Method::PUT, "workspaces/default/linkedStorageAccounts/Query", &link).await.status, StatusCode::OK);
    assert_eq!(files(outside.path()).len(), 0, "what did not ask for it stays");
    let made = door.call(Method::PUT, &format!("{books}/own"), &stored).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let there = files(outside.path());
    assert_eq!(there.len(), 1);
    assert!(!holds(&there, CANARY) && !holds(&files(&door.app.site.config.data_dir), CANARY));
    let shown = door.call(Method::GET, &format!("{books}/own"), &Value::Null).await;
    assert_eq!(shown.body["properties"]["serializedData"], json!(data));
    // Changed to be the provider's again, it lies in one place.
    assert_eq!(door.call(Method::PUT, &format!("{books}/own"), &body(json!({}))).await.status, StatusCode::OK);
    assert_eq!(files(outside.path()).len(), 0);
    for name in ["one", "own"] {
        assert_eq!(door.call(Method::DELETE, &format!("{books}/{name}"), &Value::Null).await.status, StatusCode::NO_CONTENT);
        assert_eq!(door.call(Method::GET, &format!("{books}/{name}"), &Value::Null).await.status, StatusCode::NOT_FOUND);
    }

    // D7: in 2021 workbooks are the provider's.
    let door = Door::open_with(|config| config.azure.compat = strongroom_control::Compat::Y2021).await;
    let account = json!({"location": region, "kind": "StorageV2"});
    let account = door.call(Method::PUT, "Microsoft.Storage/storageAccounts/books", &account).await.body["id"].clone();
    let link = json!({"properties": {"storageAccountIds": [account]}});
    assert_eq!(door.insights(Method::PUT, "workspaces/default/linkedStorageAccounts/Query", &link).await.status, StatusCode::OK);
    let workspace = format!("{}/Microsoft.OperationalInsights/workspaces/default", door.base);
    let refused = door.call(Method::PUT, &format!("{books}/own"), &body(json!({"storageUri": account, "sourceId": workspace}))).await;
    assert_eq!((refused.status, refused.error().1), (StatusCode::BAD_REQUEST, "StorageNotLinked"));
}

#[tokio::test]
async fn query_packs_stay_with_the_provider_and_say_so_q12_q13() {
    let outside = TempDir::new().unwrap();
    let door = Door::open_with(|config| config.storage.roots = vec![outside.path().to_owned()]).await;
    let region = door.insights(Method::GET, "workspaces/default", &Value::Null).await.body["location"].clone();
    let url = url::Url::from_directory_path(outside.path().join("packs")).unwrap();
    let account = json!({"location": region, "kind": "StorageV2", "properties": {"backingUrl": url.as_str().trim_end_matches('/')}});
    let account = door.call(Method::PUT, "Microsoft.Storage/storageAccounts/packs", &account).await.body["id"].clone();
    let link = json!({"properties": {"storageAccountIds": [account]}});
    assert_eq!(door.insights(Method::PUT, "workspaces/default/linkedStorageAccounts/Query", &link).await.status, StatusCode::OK);

    let made = door.insights(Method::PUT, "queryPacks/ops", &json!({"location": "local"})).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let nameless = door.insights(Method::PUT, "queryPacks", &json!({"location": "local"})).await;
    assert_eq!(nameless.status, StatusCode::CREATED, "{}", nameless.body);
    let query = |name: &str, category: &str| {
        json!({"properties": {
            "displayName": name, "body": format!("T | where a == '{CANARY}'"), "related": {"categories": [category], "resourceTypes": []},
            "tags": {"team": ["red", "blue"]},
        }})
    };
    for (id, name, category) in [("q1", "first", "security"), ("q2", "second", "network")] {
        let put = door.insights(Method::PUT, &format!("queryPacks/ops/queries/{id}"), &query(name, category)).await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.body);
        let advice = put.body["properties"]["strongroom"]["advice"].as_str().unwrap();
        assert!(advice.contains("savedSearches") && advice.contains("MMK"), "{advice}");
    }
    let names = |answer: &Answer| {
        let mut names: Vec<String> =
            answer.body["value"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&door.insights(Method::GET, "queryPacks/ops/queries?includeBody=true", &Value::Null).await), ["q1", "q2"]);
    assert_eq!(names(&door.insights(Method::GET, "queryPacks/ops/queries?$top=1", &Value::Null).await).len(), 1);
    for (asked, expected) in [
        (json!({}), vec!["q1", "q2"]),
        (json!({"related": {"categories": ["Security"]}}), vec!["q1"]),
        (json!({"tags": {"team": ["green", "blue"]}}), vec!["q1", "q2"]),
        (json!({"tags": {"team": ["green"]}}), vec![]),
    ] {
        let found = door.insights(Method::POST, "queryPacks/ops/queries/search", &asked).await;
        assert_eq!(names(&found), expected, "{asked}: {}", found.body);
    }
    let patched = door.insights(Method::PATCH, "queryPacks/ops/queries/q1", &json!({"properties": {"displayName": "third"}})).await;
    assert!(patched.body["properties"]["body"].as_str().unwrap().contains(CANARY), "{}", patched.body);
    assert_eq!(files(outside.path()).len(), 0, "nothing of it in linked storage");
    assert!(!holds(&files(&door.app.site.config.data_dir), CANARY), "and nothing in clear");
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        assert_eq!(door.insights(Method::DELETE, "queryPacks/ops/queries/q2", &Value::Null).await.status, status);
    }
    assert_eq!(door.insights(Method::DELETE, "queryPacks/ops", &Value::Null).await.status, StatusCode::OK);
    assert_eq!(door.insights(Method::GET, "queryPacks/ops/queries/q1", &Value::Null).await.status, StatusCode::NOT_FOUND);
}
