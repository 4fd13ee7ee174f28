//! Where things may be made, and what a refused request leaves as it was.

use super::*;

#[tokio::test]
async fn nothing_is_made_in_a_group_that_no_path_can_name() {
    let door = Door::open().await;
    let vault = json!({"location": "local", "properties": {"tenantId": uuid::Uuid::nil(), "vaultUri": "https://elsewhere.example"}});
    let book = json!({"location": "local", "properties": {"displayName": "b", "category": "workbook", "serializedData": "{}"}});
    let kinds = [
        ("Microsoft.OperationalInsights/clusters/contoso", new_cluster()),
        ("Microsoft.OperationalInsights/workspaces/shop", json!({"location": "local"})),
        ("Microsoft.OperationalInsights/queryPacks/pack", json!({"location": "local", "properties": {}})),
        ("Microsoft.ManagedIdentity/userAssignedIdentities/who", json!({"location": "local"})),
        ("Microsoft.KeyVault/vaults/elsewhere", vault),
        ("Microsoft.Storage/storageAccounts/books", json!({"location": "local", "kind": "StorageV2"})),
        ("Microsoft.Insights/dataCollectionEndpoints/dce", json!({"location": "local"})),
        ("Microsoft.Insights/actionGroups/ops", json!({"location": "Global", "properties": {"groupShortName": "ops"}})),
        ("Microsoft.Insights/workbooks/book", book),
    ];
    let admin = format!("Bearer {ADMIN}");
    let subscription = door.base.split("/resourceGroups").next().unwrap();
    let put = async |group: &str, kind: &str, body: &Value| {
        let path = format!("{subscription}/resourceGroups/{group}/providers/{kind}?{VERSION}");
        door.send(Method::PUT, &path, &[("authorization", &admin)], &body.to_string()).await
    };
    for (kind, body) in &kinds {
        for group in ["a%2Fb", "%2e%2e", "a%0D%0Ab", "a%20%3Fb"] {
            let refused = put(group, kind, body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{kind} in {group}: {}", refused.body);
            assert!(refused.body["error"]["message"].as_str().unwrap().contains("-_.()"), "{kind} in {group}: {}", refused.body);
        }
        let made = put("fine", kind, body).await;
        assert!(made.status.is_success(), "{kind}: {}", made.body);
    }
    door.app.site.clusters.idle().await;
}

#[tokio::test]
async fn a_refused_request_brings_no_deleted_workspace_back() {
    let door = Door::open().await;
    let at = "workspaces/shop";
    let made = door.insights(Method::PUT, at, &json!({"location": "local"})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(door.insights(Method::DELETE, at, &Value::Null).await.status, StatusCode::OK);
    let elsewhere = door.insights(Method::PUT, at, &json!({"location": "elsewhere"})).await;
    assert_eq!(elsewhere.status, StatusCode::CONFLICT, "{}", elsewhere.body);
    let forever = json!({"location": "local", "properties": {"retentionInDays": 99_999}});
    assert_eq!(door.insights(Method::PUT, at, &forever).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(door.insights(Method::GET, at, &Value::Null).await.status, StatusCode::NOT_FOUND);
    // What is in order does, as Azure has it.
    let back = door.insights(Method::PUT, at, &json!({"location": "local"})).await;
    assert_eq!((back.status, &back.body["properties"]["customerId"]), (StatusCode::OK, &made.body["properties"]["customerId"]));
    // Nor is a part of one done that is refused.
    let part = json!({"location": "local", "tags": {"a": "b"}, "properties": {"retentionInDays": 99_999}});
    assert_eq!(door.insights(Method::PUT, at, &part).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(door.insights(Method::GET, at, &Value::Null).await.body["tags"].get("a"), None);
}
