//! What there is of every kind, in one list; providers.

use serde_json::Map;
use strongroom_control::ScopePath;

use super::*;

const KINDS: [&str; 11] = [
    "Microsoft.OperationalInsights/clusters",
    "Microsoft.OperationalInsights/workspaces",
    "Microsoft.OperationalInsights/queryPacks",
    "Microsoft.KeyVault/vaults",
    "Microsoft.Storage/storageAccounts",
    "Microsoft.ManagedIdentity/userAssignedIdentities",
    "Microsoft.Insights/dataCollectionEndpoints",
    "Microsoft.Insights/dataCollectionRules",
    "Microsoft.Insights/scheduledQueryRules",
    "Microsoft.Insights/actionGroups",
    "Microsoft.Insights/workbooks",
];

impl Door {
    /// One of each kind, all of them called `one`.
    async fn furnish(&self) {
        let workspace = format!("{}/Microsoft.OperationalInsights/workspaces/one", self.base);
        let condition = json!({"query": "print n = 1", "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 5});
        for (kind, properties) in [
            ("Microsoft.OperationalInsights/workspaces", json!({})),
            ("Microsoft.OperationalInsights/queryPacks", json!({})),
            ("Microsoft.KeyVault/vaults", json!({"tenantId": "t", "vaultUri": "https://one.example", "enableSoftDelete": true})),
            ("Microsoft.Storage/storageAccounts", json!({})),
            ("Microsoft.ManagedIdentity/userAssignedIdentities", json!({})),
            ("Microsoft.Insights/dataCollectionEndpoints", json!({})),
            (
                "Microsoft.Insights/dataCollectionRules",
                json!({
                    "streamDeclarations": {"Custom-In": {"columns": [{"name": "line", "type": "string"}]}},
                    "destinations": {"logAnalytics": [{"name": "la", "workspaceResourceId": workspace}]},
                    "dataFlows": [{"streams": ["Custom-In"], "destinations": ["la"], "outputStream": "Custom-In_CL"}],
                }),
            ),
            ("Microsoft.Insights/actionGroups", json!({"groupShortName": "ops"})),
            (
                "Microsoft.Insights/scheduledQueryRules",
                json!({"scopes": [workspace], "evaluationFrequency": "P1D", "windowSize": "P1D", "criteria": {"allOf": [condition]}}),
            ),
            ("Microsoft.Insights/workbooks", json!({"displayName": "b", "category": "workbook", "serializedData": "{}"})),
        ] {
            let made = self.call(Method::PUT, &format!("{kind}/one"), &json!({"location": "local", "properties": properties})).await;
            assert!(made.status.is_success(), "{kind}: {}", made.body);
        }
        self.cluster("ones").await;
    }

    /// A list as somebody is shown it: `TYPE NAME`.
    async fn names(&self, token: &str, path: &str) -> Vec<String> {
        let answer = self.send(Method::GET, path, &[("authorization", &format!("Bearer {token}"))], "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        answer.body["value"].as_array().unwrap().iter().map(|one| format!("{} {}", text(&one["type"]), text(&one["name"]))).collect()
    }
}

/// X5: what `az keyvault list`, `az keyvault show` and `az resource list` ask.
#[tokio::test]
async fn one_list_has_every_kind_and_of_each_what_the_caller_may_read() {
    let door = Door::open().await;
    door.furnish().await;
    let group = door.base.trim_end_matches("/providers").to_owned();
    let subscription = group.trim_end_matches("/resourceGroups/default").to_owned();
    let mut all = door.names(ADMIN, &format!("{subscription}/resources?{VERSION}")).await;
    // The server's own first workspace lies there, too.
    all.retain(|one| one != "Microsoft.OperationalInsights/workspaces default");
    let mut expected: Vec<String> =
        KINDS.iter().map(|kind| format!("{kind} {}", if kind.ends_with("clusters") { "ones" } else { "one" })).collect();
    expected.sort_by_key(|one| one.to_ascii_lowercase());
    assert_eq!(all, expected);

    // In the words of az keyvault list, az keyvault show -n and az resource list -g.
    for (filter, found) in [
        ("resourceType%20eq%20%27Microsoft.KeyVault%2Fvaults%27", &["Microsoft.KeyVault/vaults one"][..]),
        ("resourceType+eq+'microsoft.keyvault/VAULTS'+and+name+eq+'ONE'", &["Microsoft.KeyVault/vaults one"]),
        ("resourceType+eq+'Microsoft.KeyVault/vaults'+and+name+eq+'other'", &[]),
        ("resourceGroup+eq+'Default'+and+name+eq+'ones'", &["Microsoft.OperationalInsights/clusters ones"]),
        ("resourceGroup+eq+'elsewhere'", &[]),
        ("resourceType+eq+'Microsoft.Compute/virtualMachines'", &[]),
    ] {
        assert_eq!(door.names(ADMIN, &format!("{subscription}/resources?$filter={filter}&{VERSION}")).await, found, "{filter}");
        // As the paths of a group are written, too.
        let lower = format!("{}/RESOURCES?%24filter={filter}&{VERSION}", group.to_lowercase());
        assert_eq!(door.names(ADMIN, &lower).await, found, "{filter}");
    }
    let admin = format!("Bearer {ADMIN}");
    let wrong =
        door.send(Method::GET, &format!("{subscription}/resources?$filter=size+gt+1&{VERSION}"), &[("authorization", &admin)], "").await;
    assert_eq!((wrong.error().0, wrong.error().1), (StatusCode::BAD_REQUEST, "InvalidFilterInQueryString"));

    // What a resource says of itself is asked of itself.
    let expand = "$expand=createdTime,changedTime,provisioningState";
    let path = format!("{subscription}/resources?$filter=resourceType+eq+'Microsoft.KeyVault/vaults'&{expand}&{VERSION}");
    let vault = door.send(Method::GET, &path, &[("authorization", &admin)], "").await.body["value"][0].take();
    let id = format!("{}/Microsoft.KeyVault/vaults/one", door.base);
    assert_eq!(
        vault,
        json!({"id": id, "name": "one", "type": "Microsoft.KeyVault/vaults", "location": "local", "provisioningState": "Succeeded"})
    );
    let own = door.call(Method::GET, "Microsoft.KeyVault/vaults/one", &Value::Null).await.body["properties"].take();
    assert_eq!(
        (&own["enableSoftDelete"], &own["enablePurgeProtection"], &own["enableRbacAuthorization"]),
        (&json!(true), &Value::Null, &Value::Null)
    );

    // Who may read one thing is shown that, and who may not know of the place is told what is said of an absent one.
    for (at, role, found) in [
        (format!("{}/Microsoft.KeyVault/vaults/one", door.base), "Reader", &["Microsoft.KeyVault/vaults one"][..]),
        (format!("{}/Microsoft.KeyVault/vaults/one", door.base), "Ingest", &[]),
    ] {
        let at = ScopePath::read(&at).unwrap();
        let token = door.app.site.principals.create_at("x".to_owned(), role, &at, None).await.unwrap().token;
        for place in [&subscription, &group] {
            assert_eq!(door.names(&token, &format!("{place}/resources?{VERSION}")).await, found, "{role}");
        }
        for absent in ["/subscriptions/33333333-3333-4333-8333-333333333333".to_owned(), format!("{subscription}/resourceGroups/none")] {
            let path = format!("{absent}/resources?{VERSION}");
            let answer = door.send(Method::GET, &path, &[("authorization", &format!("Bearer {token}"))], "").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.body);
        }
    }
}

#[tokio::test]
async fn the_list_of_everything_is_followed_page_by_page() {
    let door = Door::open_with(|config| config.gateway.page_size = 4).await;
    door.furnish().await;
    let path = format!("{}/resources", door.base.trim_end_matches("/providers"));
    for (top, size) in [("", 4), ("&$top=3", 3), ("&$top=900", 4)] {
        let mut next = Some(format!("{path}?$filter=location+eq+'local'{top}&{VERSION}"));
        let (mut names, mut pages) = (Vec::new(), 0);
        while let Some(at) = next {
            let answer = door.send(Method::GET, &at, &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
            assert_eq!(answer.status, StatusCode::OK, "{at}: {}", answer.body);
            let value = answer.body["value"].as_array().unwrap().clone();
            assert!(!value.is_empty() && value.len() <= size, "{at}: {}", value.len());
            names.extend(value.iter().map(|one| one["id"].as_str().unwrap().to_ascii_lowercase()));
            pages += 1;
            next = answer.body["nextLink"].as_str().map(|link| link.strip_prefix("http://logs.example:7700").unwrap().to_owned());
        }
        // Eleven, and the server's own workspace.
        assert_eq!((names.len(), pages), (12, 12_usize.div_ceil(size)));
        assert!(names.is_sorted() && names.windows(2).all(|two| two[0] != two[1]), "{names:?}");
    }
    for wrong in ["$top=0", "$top=x", "$top=1001", "$skiptoken=x", "$skiptoken=eHl6"] {
        let answer =
            door.send(Method::GET, &format!("{path}?{wrong}&{VERSION}"), &[("authorization", &format!("Bearer {ADMIN}"))], "").await;
        assert_eq!((answer.error().0, answer.error().1), (StatusCode::BAD_REQUEST, "InvalidParameter"), "{wrong}");
    }
}

#[tokio::test]
async fn a_provider_is_registered_whoever_registers_it() {
    let door = Door::open().await;
    let subscription = door.base.trim_end_matches("/resourceGroups/default/providers").to_owned();
    let register = async |token: &str, provider: &str| {
        let path = format!("{subscription}/providers/{provider}/REGISTER?{VERSION}");
        door.send(Method::POST, &path, &[("authorization", &format!("Bearer {token}"))], "").await
    };
    let done = register(ADMIN, "microsoft.operationalinsights").await;
    assert_eq!((done.status, &done.body["registrationState"]), (StatusCode::OK, &json!("Registered")), "{}", done.body);
    let shown = door
        .send(
            Method::GET,
            &format!("{subscription}/providers/Microsoft.OperationalInsights?{VERSION}"),
            &[("authorization", &format!("Bearer {ADMIN}"))],
            "",
        )
        .await;
    assert_eq!(done.body, shown.body);
    let unknown = register(ADMIN, "Microsoft.Compute").await;
    assert_eq!((unknown.error().0, unknown.error().1), (StatusCode::NOT_FOUND, "InvalidResourceNamespace"));
    let reader = door.token("Reader").await;
    assert_eq!(register(&reader, "Microsoft.KeyVault").await.status, StatusCode::FORBIDDEN);
}

/// P4, at the door: a change is begun, and how it stands is asked while it is under way and once it is over. The running ones are rows of
/// the changes' own kinds, held open: a change of this small a site is over before anybody could look.
#[tokio::test]
async fn an_operation_under_way_says_what_it_does_and_a_failed_one_why() {
    let door = Door::open().await;
    let made = door.insights(Method::PUT, "clusters/contoso", &new_cluster()).await;
    door.done(&made).await;
    let update =
        door.insights(Method::PATCH, "clusters/contoso", &json!({"tags": {"a": "b"}, "properties": {"billingType": "Workspaces"}})).await;
    door.done(&update).await;
    assert!(door.insights(Method::PUT, "workspaces/shop", &json!({"location": "local"})).await.status.is_success());
    let cluster = format!("{}/Microsoft.OperationalInsights/clusters/contoso", door.base);
    let link = "workspaces/shop/linkedServices/cluster";
    let linked = door.insights(Method::PUT, link, &json!({"properties": {"writeAccessResourceId": cluster}})).await;
    door.done(&linked).await;
    let unlinked = door.insights(Method::DELETE, link, &Value::Null).await;
    door.done(&unlinked).await;
    let gone = door.insights(Method::DELETE, "clusters/contoso", &Value::Null).await;
    door.done(&gone).await;
    let admin = format!("Bearer {ADMIN}");
    for (begun, word) in [(&made, "InProgress"), (&update, "Updating"), (&linked, "Updating"), (&unlinked, "Deleting"), (&gone, "Deleting")]
    {
        let url = begun.headers["azure-asyncoperation"].to_str().unwrap();
        let (before, rest) = url.strip_prefix("http://logs.example:7700").unwrap().rsplit_once('/').unwrap();
        let id: ObjectId = rest.split('?').next().unwrap().parse().unwrap();
        let catalog = &door.app.site.catalog;
        let done = catalog.operation_get(id).await.unwrap().unwrap();
        for error in [
            None,
            Some(strongroom_catalog::OperationErrorRow {
                code: "KeyDenied".to_owned(),
                message: "no".to_owned(),
                details: "[]".to_owned(),
            }),
        ] {
            let (ms, random) = door.app.site.world.id_seed();
            let row = OperationRow {
                id: ObjectId::mint(ms, random),
                status: OperationStatus::InProgress,
                end_ms: None,
                error: None,
                ..done.clone()
            };
            catalog.operation_insert(&row).await.unwrap();
            let path = format!("{before}/{}?{VERSION}", row.id);
            let ask = async || door.send(Method::GET, &path, &[("authorization", &admin)], "").await;
            let running = ask().await;
            assert_eq!((running.status, &running.body["status"]), (StatusCode::OK, &json!(word)), "{}", done.kind);
            assert_eq!((&running.headers["retry-after"], running.body.get("endTime")), (&HeaderValue::from(1), None));
            catalog.operation_finish(row.id, 9_000, error.as_ref()).await.unwrap();
            let over = ask().await;
            assert!(over.status == StatusCode::OK && over.headers.get("retry-after").is_none() && over.body["endTime"].is_string());
            let told = (&over.body["status"], &over.body["error"]);
            match error {
                None => assert_eq!(told, (&json!("Succeeded"), &Value::Null)),
                Some(_) => assert_eq!(told, (&json!("Failed"), &json!({"code": "KeyDenied", "message": "no"}))),
            }
        }
    }
}

#[tokio::test]
async fn what_is_small_is_as_in_azure_too() {
    let door = Door::open().await;
    let bearer = format!("Bearer {ADMIN}");
    let admin = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    // A path that is not there is named as every request is.
    let nowhere = door.send(Method::GET, &format!("{}/Microsoft.Nothing/things?{VERSION}", door.base), &admin, "").await;
    assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    assert!(nowhere.headers.contains_key("x-ms-request-id") && nowhere.headers.contains_key("x-ms-correlation-request-id"));
    // Which version is meant is not guessed.
    let twice = format!("{}/Microsoft.KeyVault/vaults?{VERSION}&api-version=2020-08-01", door.base);
    let twice = door.send(Method::GET, &twice, &admin, "").await;
    assert_eq!((twice.error().0, twice.error().1), (StatusCode::BAD_REQUEST, "InvalidApiVersionParameter"));
    // Tags have bounds.
    let tags = |count: usize| (0..count).map(|n| (format!("t{n}"), json!("x"))).collect::<Map<String, Value>>();
    for (count, expected) in [(51, false), (50, true)] {
        let mut body = new_cluster();
        body["tags"] = tags(count).into();
        let made = door.insights(Method::PUT, "clusters/contoso", &body).await;
        assert_eq!(made.status.is_success(), expected, "{count}: {}", made.body);
    }
    // What an item of a batch does not say is that it is a POST; and the path comes as some clients write it.
    let batch = json!({"requests": [
        {"id": "1", "workspace": "default", "body": {"query": "print 1"}},
        {"id": "2", "workspace": "default", "method": "GET", "body": {"query": "print 1"}},
    ]});
    let answered = door.send(Method::POST, "/V1/%24batch", &admin, &batch.to_string()).await;
    assert_eq!(answered.status, StatusCode::OK, "{}", answered.body);
    let of = |id: &str| answered.body["responses"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap()["status"].clone();
    assert_eq!((of("1"), of("2")), (json!(200), json!(400)), "{}", answered.body);
}
