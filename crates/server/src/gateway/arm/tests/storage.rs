//! Storage accounts and links to them: who may, which fit, and what the two documents say differently.

use super::*;

const CLOSED: &str = "workspaces/default/linkedStorageAccounts";

impl Door {
    async fn account(&self, name: &str, body: &Value) -> String {
        let made = self.call(Method::PUT, &format!("Microsoft.Storage/storageAccounts/{name}"), body).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.body);
        made.body["id"].as_str().unwrap().to_owned()
    }

    async fn link(&self, source: &str, ids: &[&str]) -> Answer {
        let body = json!({"properties": {"storageAccountIds": ids}});
        self.insights(Method::PUT, &format!("{CLOSED}/{source}"), &body).await
    }

    /// Somebody with these actions on everything of the group.
    async fn with_actions(&self, name: &str, actions: &[&str]) -> String {
        let id = uuid::Uuid::now_v7();
        let body = json!({"properties": {
            "roleName": name, "permissions": [{"actions": actions, "notActions": []}], "assignableScopes": ["/"],
        }});
        let path = format!("/providers/Microsoft.Authorization/roleDefinitions/{id}?{VERSION}");
        let made = self.send(Method::PUT, &path, &[("authorization", &format!("Bearer {ADMIN}"))], &body.to_string()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        let at = ScopePath::read("/").unwrap();
        self.app.site.principals.create_at(name.to_owned(), name, &at, None).await.unwrap().token
    }
}

fn here() -> Value {
    json!({"location": "local", "kind": "StorageV2", "sku": {"name": "Standard_GRS"}, "tags": {"team": "shop"}, "properties": {"accessTier": "Hot"}})
}

#[tokio::test]
async fn an_account_is_registered_shown_changed_and_forgotten_as_azure_has_it() {
    let door = Door::open().await;
    let id = door.account("shopqueries", &here()).await;
    assert_eq!(id, format!("{}/Microsoft.Storage/storageAccounts/shopqueries", door.base));
    let shown = door.call(Method::GET, "microsoft.storage/STORAGEACCOUNTS/shopqueries", &Value::Null).await.body;
    assert_eq!(
        (&shown["type"], &shown["kind"], &shown["location"]),
        (&json!("Microsoft.Storage/storageAccounts"), &json!("StorageV2"), &json!("local"))
    );
    assert_eq!((&shown["sku"], &shown["tags"]), (&json!({"name": "Standard_GRS", "tier": "Standard"}), &json!({"team": "shop"})));
    assert_eq!(shown["properties"]["encryption"], json!({"keySource": "Microsoft.Storage", "content": {"entries": 0, "left": 0}}));
    // As a client sends it back, and with one member changed.
    door.account("shopqueries", &shown).await;
    let changed = json!({"tags": {}});
    let changed = door.call(Method::PATCH, "Microsoft.Storage/storageAccounts/shopqueries", &changed).await;
    assert_eq!((&changed.body["tags"], &changed.body["sku"]["name"]), (&json!({}), &json!("Standard_GRS")), "{}", changed.body);
    let list = door.call(Method::GET, "Microsoft.Storage/storageAccounts", &Value::Null).await.body;
    assert_eq!(list["value"].as_array().unwrap().len(), 1, "{list}");
    for (name, body, code) in [
        ("Shop", here(), "InvalidParameter"),
        ("shop-1", here(), "InvalidParameter"),
        ("other", json!({"kind": "StorageV2"}), "InvalidParameter"),
        ("other", json!({"location": "local", "kind": "Tape"}), "InvalidParameter"),
        ("other", json!({"location": "local", "properties": {"backingUrl": "file:///etc"}}), "InvalidParameter"),
        ("other", json!({"location": "local", "properties": {"backingUrl": "s3://bucket"}}), "InvalidParameter"),
        ("other", json!({"location": "local", "properties": {"encryption": {"keySource": "Mine"}}}), "InvalidParameter"),
        ("other", json!({"location": "local", "properties": {"encryption": {"keySource": "Microsoft.Keyvault"}}}), "InvalidParameter"),
        ("shopqueries", json!({"location": "elsewhere"}), "InvalidParameter"),
    ] {
        let refused = door.call(Method::PUT, &format!("Microsoft.Storage/storageAccounts/{name}"), &body).await;
        assert_eq!((refused.status, refused.error().1), (StatusCode::BAD_REQUEST, code), "{name} {body}");
    }
    let own = json!({"location": "local", "properties": {"encryption": {
        "keySource": "Microsoft.Keyvault", "keyvaultproperties": {"keyvaulturi": "https://unknown.example", "keyname": "k"},
        "identity": {"userAssignedIdentity": format!("{}/Microsoft.ManagedIdentity/userAssignedIdentities/none", door.base)},
    }}});
    let refused = door.call(Method::PUT, "Microsoft.Storage/storageAccounts/other", &own).await;
    assert_eq!(refused.status, StatusCode::NOT_FOUND, "{}", refused.body);
    let gone = door.call(Method::DELETE, "Microsoft.Storage/storageAccounts/shopqueries", &Value::Null).await;
    let again = door.call(Method::DELETE, "Microsoft.Storage/storageAccounts/shopqueries", &Value::Null).await;
    assert_eq!((gone.status, again.status), (StatusCode::OK, StatusCode::NO_CONTENT));
    let absent = door.call(Method::GET, "Microsoft.Storage/storageAccounts/shopqueries", &Value::Null).await;
    assert_eq!(absent.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn exactly_one_account_of_the_right_kind_and_region_is_linked_in_whatever_case() {
    let door = Door::open().await;
    let (one, two) = (door.account("one", &here()).await, door.account("two", &here()).await);
    let old = door.account("old", &json!({"location": "local", "kind": "BlobStorage"})).await;
    let far = door.account("far", &json!({"location": "faraway"})).await;
    let absent = one.replace("/one", "/absent");
    for (ids, code) in [
        (&[][..], "TooManyStorageAccounts"),
        (&[&*one, &two][..], "TooManyStorageAccounts"),
        (&[&*old][..], "InvalidStorageAccount"),
        (&[&*far][..], "InvalidStorageAccount"),
        (&[&*absent][..], "InvalidStorageAccount"),
        (&["one"][..], "InvalidStorageAccount"),
    ] {
        let refused = door.link("Query", ids).await;
        assert_eq!((refused.status, refused.error().1), (StatusCode::BAD_REQUEST, code), "{ids:?}: {}", refused.body);
    }
    let unknown = door.link("Everything", &[&one]).await;
    assert_eq!(unknown.error().1, "InvalidParameter");
    assert_eq!(door.insights(Method::GET, CLOSED, &Value::Null).await.body, json!({"value": []}));

    let linked = door.link("query", &[&one.to_uppercase()]).await;
    assert_eq!(linked.status, StatusCode::OK, "{}", linked.body);
    assert_eq!(
        (&linked.body["name"], &linked.body["type"]),
        (&json!("Query"), &json!("Microsoft.OperationalInsights/workspaces/linkedStorageAccounts"))
    );
    assert_eq!(linked.body["properties"]["dataSourceType"], "Query");
    assert_eq!(linked.body["properties"]["storageAccountIds"], json!([one]));
    // The seeds' own line says the source in the body, too; another than the path's is refused.
    let body = |source: &str| json!({"properties": {"dataSourceType": source, "storageAccountIds": [two]}});
    let contrary = door.insights(Method::PUT, &format!("{CLOSED}/Alerts"), &body("Query")).await;
    assert_eq!((contrary.status, contrary.error().1), (StatusCode::BAD_REQUEST, "InvalidParameter"));
    let alerts = door.insights(Method::PUT, &format!("{CLOSED}/ALerts"), &body("alerts")).await;
    assert_eq!((alerts.status, &alerts.body["name"]), (StatusCode::OK, &json!("Alerts")), "{}", alerts.body);
    let all = door.insights(Method::GET, "workspaces/default/linkedstorageaccounts", &Value::Null).await.body;
    assert_eq!(all["value"].as_array().unwrap().len(), 2, "{all}");
    assert_eq!(door.insights(Method::GET, &format!("{CLOSED}/alERTS"), &Value::Null).await.body, alerts.body);

    let held = door.call(Method::DELETE, "Microsoft.Storage/storageAccounts/one", &Value::Null).await;
    assert_eq!(held.status, StatusCode::CONFLICT, "{}", held.body);
    for _ in 0..2 {
        assert_eq!(door.insights(Method::DELETE, &format!("{CLOSED}/QUERY"), &Value::Null).await.status, StatusCode::OK);
    }
    assert_eq!(door.insights(Method::GET, &format!("{CLOSED}/Query"), &Value::Null).await.status, StatusCode::NOT_FOUND);
    assert_eq!(door.call(Method::DELETE, "Microsoft.Storage/storageAccounts/one", &Value::Null).await.status, StatusCode::OK);
}

/// S9: the bodies that 2025 prints for both kinds, no-break spaces and all; and with plain ones.
#[tokio::test]
async fn the_printed_body_of_a_link_names_its_no_break_space_and_is_taken_with_plain_ones() {
    let door = Door::open().await;
    let one = door.account("one", &here()).await;
    for source in ["Query", "Alerts"] {
        let printed = format!(
            "{{\n  \"properties\": {{\n\u{a0}\u{a0}\u{a0} \"dataSourceType\": \"{source}\", \n\u{a0}\u{a0}\u{a0} \"storageAccountIds\": \n\u{a0}\u{a0}\u{a0} [\n\u{a0}\u{a0}\u{a0}\u{a0}\u{a0} \"{one}\"\n\u{a0}\u{a0}\u{a0} ]\n  }}\n}}"
        );
        let path = format!("{}/Microsoft.OperationalInsights/{CLOSED}/{source}?api-version=2020-08-01", door.base);
        let admin = format!("Bearer {ADMIN}");
        let send = async |body: &str| door.send(Method::PUT, &path, &[("authorization", &admin)], body).await;
        let refused = send(&printed).await;
        let text = "The body of the request is null or in bad format.";
        assert_eq!(refused.error(), (StatusCode::BAD_REQUEST, "InvalidRequestBody", text));
        assert_eq!(refused.body["error"]["innererror"], json!({"line": 3, "column": 1, "byte": 20, "found": "U+00A0"}));
        let detail = refused.body["error"]["details"][0]["message"].as_str().unwrap();
        assert!(detail.starts_with("line 3, column 1, byte 20") && detail.contains("U+00A0, a no-break space"), "{detail}");
        let taken = send(&printed.replace('\u{a0}', " ")).await;
        assert_eq!((taken.status, &taken.body["properties"]["storageAccountIds"]), (StatusCode::OK, &json!([one])), "{}", taken.body);
    }
}

#[tokio::test]
async fn linking_takes_the_right_to_write_on_both_and_says_which_is_missing() {
    let door = Door::open().await;
    let one = door.account("one", &here()).await;
    let (workspace, storage) = ("Microsoft.OperationalInsights/workspaces/write", "Microsoft.Storage/storageAccounts/write");
    let body = json!({"properties": {"storageAccountIds": [one]}}).to_string();
    for (name, actions, missing) in [
        ("without workspace", vec!["*/read", storage], Some(workspace)),
        ("without account", vec!["*/read", workspace], Some(storage)),
        ("both", vec!["*/read", workspace, storage], None),
    ] {
        let token = door.with_actions(name, &actions).await;
        let path = format!("{}/Microsoft.OperationalInsights/{CLOSED}/Query?{VERSION}", door.base);
        let answer = door.send(Method::PUT, &path, &[("authorization", &format!("Bearer {token}"))], &body).await;
        let Some(missing) = missing else {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            continue;
        };
        let (status, code, told) = answer.error();
        assert_eq!((status, code), (StatusCode::FORBIDDEN, "AuthorizationFailed"), "{name}");
        assert!(told.contains(missing), "{name}: {told}");
    }
}

#[tokio::test]
async fn a_key_is_used_by_whoever_has_a_right_on_it() {
    let door = Door::open().await;
    let cluster = door.cluster("contoso").await["id"].clone();
    let token = door.with_actions("stores", &["*/read", "Microsoft.Storage/storageAccounts/write"]).await;
    let under =
        json!({"location": "local", "properties": {"encryption": {"keySource": "Microsoft.OperationalInsights", "cluster": cluster}}});
    let path = format!("{}/Microsoft.Storage/storageAccounts/one?{VERSION}", door.base);
    let refused = door.send(Method::PUT, &path, &[("authorization", &format!("Bearer {token}"))], &under.to_string()).await;
    assert!(refused.status == StatusCode::FORBIDDEN && refused.error().2.contains("clusters/write"), "{}", refused.body);
    door.account("one", &under).await;
    let held = door.insights(Method::DELETE, "clusters/contoso?force=true", &Value::Null).await;
    assert!(held.status == StatusCode::CONFLICT && held.error().2.contains("storage accounts"), "{}", held.body);
}

#[tokio::test]
async fn in_2021_any_kind_goes_and_both_sources_have_one_account() {
    let door = Door::open_with(|config| config.azure.compat = strongroom_control::Compat::Y2021).await;
    let old = door.account("old", &json!({"location": "local", "kind": "BlobStorage"})).await;
    let other = door.account("other", &here()).await;
    assert_eq!(door.link("Query", &[&old]).await.status, StatusCode::OK);
    let refused = door.link("Alerts", &[&other]).await;
    assert_eq!((refused.status, refused.error().1), (StatusCode::BAD_REQUEST, "TooManyStorageAccounts"), "{}", refused.body);
    assert_eq!(door.link("Alerts", &[&old]).await.status, StatusCode::OK);
    assert_eq!(door.link("CustomLogs", &[&other]).await.status, StatusCode::OK, "nothing of that is kept there");
}
