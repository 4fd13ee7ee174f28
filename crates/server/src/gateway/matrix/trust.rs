//! Ways around a right that must not be there: through tokens, credentials, hosts and places.

use axum::http::Version;

use super::*;

/// A right to make tokens is not one to give roles, nor to become whoever has some.
#[tokio::test]
async fn who_makes_tokens_gives_no_role_that_it_may_not_give() {
    let doors = Doors::open().await;
    doors.role("Clerk", &["Strongroom/*"]).await;
    let clerk = doors.token("Clerk", "/").await;
    let service = json!({"name": "ruler", "role": "Owner", "scope": "/"});
    let (status, ruler) = doors.call(ADMIN, &Method::POST, "/v1/services", &service).await;
    assert_eq!(status, StatusCode::CREATED, "{ruler}");
    let credentials = format!("/v1/services/{}/credentials", ruler["id"].as_str().unwrap());
    let home = doors.app.site.workspaces.ensure_defaults().await.unwrap();
    for (path, body) in [
        ("/v1/principals", json!({"role": "Owner"})),
        ("/v1/principals", json!({"role": "Reader", "scope": OWN})),
        ("/v1/principals", json!({"role": "Owner", "workspace": home.id.to_string()})),
        ("/v1/services", service),
        (&*credentials, json!({"name": "mine"})),
    ] {
        let refused = doors.call(&clerk, &Method::POST, path, &body).await;
        assert_eq!(refused.0, StatusCode::FORBIDDEN, "{path} {body}: {}", refused.1);
        assert!(refused.1["error"]["message"].as_str().unwrap().contains(action::ROLES_WRITE), "{}", refused.1);
    }
    // Nor is there a service without the right that it was to have: the name would be taken, and somebody gone to find out why.
    let services = doors.call(ADMIN, &Method::GET, "/v1/services", &Value::Null).await.1;
    assert_eq!(services["value"].as_array().unwrap().len(), 1, "{services}");
    // What holds no right may be given a credential, and whoever gives roles may do both.
    let (status, made) = doors.call(&clerk, &Method::POST, "/v1/services", &json!({"name": "bare"})).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let bare = format!("/v1/services/{}/credentials", made["id"].as_str().unwrap());
    assert_eq!(doors.call(&clerk, &Method::POST, &bare, &json!({"name": "first"})).await.0, StatusCode::CREATED);
    assert_eq!(doors.call(ADMIN, &Method::POST, &credentials, &json!({"name": "first"})).await.0, StatusCode::CREATED);
}

/// An assertion is signed for one address. Which that is, is not the sender's to say.
#[tokio::test]
async fn an_assertion_for_another_host_is_not_taken_by_calling_this_one_so() {
    let doors = Doors::open().await;
    let form = "grant_type=client_credentials&client_id=44444444-4444-4444-8444-444444444444&scope=https%3A%2F%2Fx%2F.default\
                &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c";
    for (host, number) in [
        ("login.example", 700_023),
        ("login.example:7700", 700_023),
        ("127.0.0.1:7700", 700_016),
        ("localhost", 700_016),
        ("[::1]:1", 700_016),
    ] {
        let request = Request::builder().method(Method::POST).uri("/common/oauth2/v2.0/token").header("host", host);
        let response = doors.router.clone().oneshot(request.body(Body::from(form)).unwrap()).await.unwrap();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let told: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(told["error_codes"][0], number, "{host}: {told}");
    }
}

#[tokio::test]
async fn a_request_of_http_2_is_answered_with_the_host_that_it_names() {
    let doors = Doors::open().await;
    let request = Request::builder().version(Version::HTTP_2).uri("http://logs.example:7700/common/.well-known/openid-configuration");
    let response = doors.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let told: Value = serde_json::from_slice(&bytes).unwrap();
    assert!(told["token_endpoint"].as_str().unwrap().starts_with("http://logs.example:7700/"), "{told}");
}

/// Where a rule lies counts, not only where its rows go; and a right to send through it is enough to send.
#[tokio::test]
async fn a_rule_is_made_where_one_may_and_sent_through_by_those_who_may() {
    let doors = Doors::open().await;
    let rule = |group: &str| {
        json!({"location": "local", "properties": {
            "streamDeclarations": {"Custom-In": {"columns": [{"name": "line", "type": "string"}]}},
            "destinations": {"logAnalytics": [{"name": "la", "workspaceResourceId": format!("{group}{WORKSPACE}")}]},
            "dataFlows": [{"streams": ["Custom-In"], "destinations": ["la"], "outputStream": "Custom-In_CL"}],
        }})
    };
    let at = |group: &str| format!("{group}/providers/Microsoft.Insights/dataCollectionRules/r");
    let own = doors.token("Owner", OWN).await;
    // In somebody else's group, though its rows would come to oneself; as if there were no such group.
    let foreign = doors.call(&own, &Method::PUT, &at(OTHER), &rule(OWN)).await;
    let absent = doors.call(&own, &Method::PUT, &at(ABSENT), &rule(OWN)).await;
    assert_eq!((foreign.0, blind(&foreign.1)), (absent.0, blind(&absent.1)));
    assert_eq!(foreign.0, StatusCode::NOT_FOUND, "{}", foreign.1);
    assert!(doors.app.site.catalog.collection_rules().await.unwrap().is_empty());
    // Into somebody else's workspace, from one's own group.
    assert_eq!(doors.call(&own, &Method::PUT, &at(OWN), &rule(OTHER)).await.0, StatusCode::BAD_REQUEST);
    let (status, made) = doors.call(&own, &Method::PUT, &at(OWN), &rule(OWN)).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let id = made["properties"]["immutableId"].as_str().unwrap().to_owned();
    let path = format!("/dataCollectionRules/{id}/streams/Custom-In");
    let send = async |token: &str| doors.call(token, &Method::POST, &path, &json!([{"line": "a"}])).await;
    let publisher = doors.token("Monitoring Metrics Publisher", &at(OWN)).await;
    assert_eq!(send(&publisher).await.0, StatusCode::NO_CONTENT);
    assert_eq!(send(&doors.token("Monitoring Metrics Publisher", OTHER).await).await.0, StatusCode::NOT_FOUND);
    let reader = send(&doors.token("Reader", &at(OWN)).await).await;
    assert_eq!((reader.0, &reader.1["error"]["code"]), (StatusCode::FORBIDDEN, &json!("OperationFailed")));
    // Nor while its workspace is deleted, whoever sends.
    let workspace = format!("{OWN}{WORKSPACE}");
    assert_eq!(doors.call(&own, &Method::DELETE, &workspace, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(send(&publisher).await.0, StatusCode::NOT_FOUND);
    assert_eq!(doors.call(&own, &Method::PUT, &workspace, &json!({"location": "local"})).await.0, StatusCode::OK);
    assert_eq!(send(&publisher).await.0, StatusCode::NO_CONTENT);
    // What is gone takes the rights on it along: the next rule of that name is another's.
    assert_eq!(doors.call(&own, &Method::DELETE, &at(OWN), &Value::Null).await.0, StatusCode::OK);
    let rights = doors.app.site.catalog.assignments().await.unwrap();
    assert!(!rights.iter().any(|right| right.scope == at(OWN).to_ascii_lowercase()), "{rights:?}");
}

/// A group in which rules lie is not empty: without it they would be there, and the rights on them gone.
#[tokio::test]
async fn a_group_is_not_deleted_while_an_endpoint_lies_in_it() {
    let doors = Doors::open().await;
    let group = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/rules";
    let endpoint = format!("{group}/providers/Microsoft.Insights/dataCollectionEndpoints/e");
    for path in [group, &endpoint] {
        let made = doors.call(ADMIN, &Method::PUT, path, &json!({"location": "local"})).await;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    }
    let refused = doors.call(ADMIN, &Method::DELETE, group, &Value::Null).await;
    assert_eq!(refused.0, StatusCode::CONFLICT, "{}", refused.1);
    assert_eq!(doors.call(ADMIN, &Method::DELETE, &endpoint, &Value::Null).await.0, StatusCode::OK);
    assert_eq!(doors.call(ADMIN, &Method::DELETE, group, &Value::Null).await.0, StatusCode::OK);
}

/// B4, C14, C16: what a region does not have is refused there, wherever it was said, and shown.
#[tokio::test]
async fn a_region_without_double_encryption_or_lockbox_says_so_whichever_list_it_stands_in() {
    let doors = Doors::open_with(|config| {
        let region = |name: &str, whole: bool| strongroom_control::RegionConfig {
            name: name.to_owned(),
            display_name: String::new(),
            double_encryption: whole,
            lockbox: whole,
        };
        config.directory.regions = vec![region("local", true), region("bare", false), region("China East", true)];
        config.azure.single_encryption_regions = vec!["chinaeast".to_owned()];
    })
    .await;
    let cluster = |region: &str, double: Option<bool>| {
        let mut body = new_cluster();
        body["location"] = region.into();
        if let Some(double) = double {
            body["properties"] = json!({"isDoubleEncryptionEnabled": double});
        }
        body
    };
    let at = |name: &str| format!("{OWN}/providers/{INSIGHTS}/clusters/{name}");
    for (name, region, double, status) in [
        ("one1", "bare", None, StatusCode::BAD_REQUEST),
        ("two2", "Bare", Some(true), StatusCode::BAD_REQUEST),
        ("tre3", "chinaeast", None, StatusCode::BAD_REQUEST),
        ("four", "bare", Some(false), StatusCode::ACCEPTED),
        ("five", "local", None, StatusCode::ACCEPTED),
    ] {
        let done = doors.call(ADMIN, &Method::PUT, &at(name), &cluster(region, double)).await;
        assert_eq!(done.0, status, "{name}: {}", done.1);
        if status == StatusCode::BAD_REQUEST {
            assert_eq!(done.1["error"]["code"], "DoubleEncryptionNotSupported", "{}", done.1);
        }
        doors.app.site.clusters.idle().await;
    }
    let subscription = OWN.split("/resourceGroups").next().unwrap();
    let (_, shown) = doors.call(ADMIN, &Method::GET, &format!("{subscription}/locations"), &Value::Null).await;
    let flags = |name: &str| {
        let all = shown["value"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{shown}"));
        (one["metadata"]["doubleEncryption"] == true, one["metadata"]["lockbox"] == true)
    };
    assert_eq!([flags("local"), flags("bare"), flags("China East")], [(true, true), (false, false), (false, true)]);
    // A workspace of that region has no Lockbox.
    let shop = format!("{OWN}/providers/{INSIGHTS}/workspaces/bareshop");
    assert!(doors.call(ADMIN, &Method::PUT, &shop, &json!({"location": "bare"})).await.0.is_success());
    let link = json!({"properties": {"writeAccessResourceId": at("four")}});
    assert!(doors.call(ADMIN, &Method::PUT, &format!("{shop}/linkedServices/cluster"), &link).await.0.is_success());
    doors.app.site.clusters.idle().await;
    let operator = doors.token("Operator", "/").await;
    let asked = json!({"workspace": "bareshop", "reason": "a look", "hours": 1});
    let refused = doors.call(&operator, &Method::POST, "/v1/lockbox", &asked).await;
    assert_eq!((refused.0, &refused.1["error"]["code"]), (StatusCode::BAD_REQUEST, &json!("LockboxNotAvailable")), "{}", refused.1);
}

/// What is deleted takes the rights on it along, of whatever kind it is; a neighbour with a longer name keeps its own.
#[tokio::test]
async fn a_name_that_is_free_again_gives_nobody_what_somebody_had_there() {
    let doors = Doors::open().await;
    let query = format!("{PACK}/queries/aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa");
    let body = json!({"properties": {"displayName": "q", "body": "print 1"}});
    let made = doors.call(ADMIN, &Method::PUT, &format!("{OWN}{query}"), &body).await;
    assert!(made.0.is_success(), "{}", made.1);
    for (kind, path) in [("rule", RULE), ("group", ACTIONS), ("book", BOOK), ("query", &*query), ("pack", PACK), ("account", ACCOUNT)] {
        let (at, neighbour) = (format!("{OWN}{path}"), format!("{OWN}{path}2"));
        doors.token("Owner", &at).await;
        doors.token("Owner", &neighbour).await;
        let gone = doors.call(ADMIN, &Method::DELETE, &at, &Value::Null).await;
        assert!(gone.0.is_success(), "{kind}: {}", gone.1);
        let rights = doors.app.site.catalog.assignments().await.unwrap();
        let there = |scope: &str| rights.iter().any(|right| right.scope == scope.to_ascii_lowercase());
        assert!(!there(&at) && there(&neighbour), "{kind}: {rights:?}");
    }
}

/// Whatever lies in a group keeps it from being deleted.
#[tokio::test]
async fn a_group_is_not_deleted_while_an_alert_rule_a_workbook_or_a_pack_lies_in_it() {
    let doors = Doors::open().await;
    let group = "/subscriptions/11111111-1111-4111-8111-111111111111/resourceGroups/watch";
    let book = json!({"location": "local", "properties": {"displayName": "b", "category": "workbook", "serializedData": "{}"}});
    let mut rule = alert_rule(OWN);
    rule["properties"]["actions"] = json!({});
    for (path, body) in [
        (ACTIONS, json!({"location": "Global", "properties": {"groupShortName": "ops"}})),
        (RULE, rule),
        (BOOK, book),
        (PACK, json!({"location": "local"})),
    ] {
        let named = doors.call(ADMIN, &Method::PUT, group, &json!({"location": "local"})).await;
        assert!(named.0.is_success(), "{}", named.1);
        let at = format!("{group}{path}");
        let made = doors.call(ADMIN, &Method::PUT, &at, &body).await;
        assert!(made.0.is_success(), "{path}: {}", made.1);
        let refused = doors.call(ADMIN, &Method::DELETE, group, &Value::Null).await;
        assert_eq!(refused.0, StatusCode::CONFLICT, "{path}: {}", refused.1);
        assert!(doors.call(ADMIN, &Method::DELETE, &at, &Value::Null).await.0.is_success(), "{path}");
        assert_eq!(doors.call(ADMIN, &Method::DELETE, group, &Value::Null).await.0, StatusCode::OK, "{path}");
    }
}

/// A role definition is found by its id from wherever one asks: what is said of another's names no place of theirs.
#[tokio::test]
async fn a_role_definition_of_another_group_is_neither_named_nor_changed() {
    let doors = Doors::open().await;
    let id = "66666666-6666-4666-8666-666666666666";
    let path = |group: &str| format!("{group}/providers/Microsoft.Authorization/roleDefinitions/{id}");
    let body = |name: &str, group: &str| {
        json!({"properties": {
            "roleName": name, "permissions": [{"actions": ["*/read"], "notActions": []}], "assignableScopes": [group],
        }})
    };
    let made = doors.call(ADMIN, &Method::PUT, &path(OTHER), &body("theirs", OTHER)).await;
    assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    let owner = doors.token("Owner", OWN).await;
    let taken = doors.call(&owner, &Method::PUT, &path(OWN), &body("mine", OWN)).await;
    assert_eq!(taken.0, StatusCode::CONFLICT, "{}", taken.1);
    assert!(!taken.1.to_string().contains("other'") && !taken.1.to_string().contains("resourceGroups"), "{}", taken.1);
    assert_eq!(doors.call(&owner, &Method::DELETE, &path(OWN), &Value::Null).await.0, StatusCode::NO_CONTENT);
    assert_eq!(doors.call(ADMIN, &Method::GET, &path(OTHER), &Value::Null).await.0, StatusCode::OK, "it is there still");
}
