//! Rules with several tables, calls that come again, and who may do what with a rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use strongroom_control::ScopePath;

use super::*;

const WORKSPACES: &str = "Microsoft.OperationalInsights/workspaces";

impl Door {
    /// A rule whose one stream goes into two tables, the second one's rows a thousandfold where `code` is 7.
    async fn rule_of_two(&self) -> String {
        let change = |rule: &mut Value| {
            rule["properties"]["dataFlows"] = json!([
                {"streams": ["Custom-In"], "destinations": ["la"], "outputStream": "Custom-One_CL"},
                {"streams": ["Custom-In"], "destinations": ["la"], "outputStream": "Custom-Two_CL",
                 "transformKql": "source | extend n = iff(code == 7, range(1, 5000), range(1, 1)) | mv-expand n to typeof(long)"},
            ]);
        };
        self.rule("both", change).await
    }

    async fn pour_as(&self, token: &str, rule: &str, call: &str, body: &str) -> Answer {
        let path = format!("/dataCollectionRules/{rule}/streams/Custom-In?api-version=2023-01-01");
        let headers = [("authorization", &*format!("Bearer {token}")), ("x-ms-client-request-id", call)];
        self.send(Method::POST, &path, &headers, body.to_owned()).await
    }

    async fn token(&self, role: &str, at: &str) -> String {
        let at = ScopePath::read(at).unwrap();
        self.app.site.principals.create_at(role.to_owned(), role, &at, None).await.unwrap().token
    }

    async fn as_(&self, token: &str, method: Method, rest: &str, body: &str) -> Answer {
        let path = format!("{}/Microsoft.Insights/{rest}?api-version=2023-03-11", self.group);
        self.send(method, &path, &[("authorization", &format!("Bearer {token}"))], body.to_owned()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_for_two_tables_are_taken_by_both_or_by_none_and_once() {
    const CALL: &str = "6f1f1a1e-0d3c-11f0-9cd2-0242ac120002";
    let door = Door::open(|_| {}).await;
    let id = door.rule_of_two().await;
    let counts = async || (door.ask("One_CL | count").await[0][0].clone(), door.ask("Two_CL | count").await[0][0].clone());
    assert_eq!(door.pour(&id, "Custom-In", r#"[{"code":1}]"#).await.status, 204);
    assert_eq!(counts().await, (json!(1), json!(1)));
    let refused = door.pour(&id, "Custom-In", r#"[{"code":7}]"#).await;
    assert_eq!(refused.error(), (413, "TooManyRows"), "{}", refused.body);
    assert_eq!(counts().await, (json!(1), json!(1)), "who was told no finds nothing of it");
    // Azure's clients say the same id when they try again, and may say it for each chunk of an upload.
    for body in [r#"[{"code":2}]"#, r#"[{"code":2}]"#, r#"[{"code":3}]"#] {
        assert_eq!(door.pour_as(ADMIN, &id, CALL, body).await.status, 204);
    }
    assert_eq!(counts().await, (json!(3), json!(3)), "the one that came twice is there once");
    // What is no name of one call names none.
    for _ in 0..2 {
        assert_eq!(door.pour_as(ADMIN, &id, "fluent-bit", r#"[{"code":4}]"#).await.status, 204);
    }
    assert_eq!(counts().await.0, json!(5));
    // Rows are no change of anything that is audited.
    let asked = door.call(Method::GET, "/v1/audit?limit=1000", &Value::Null).await;
    let records = asked.body["value"].to_string();
    assert!(records.contains("dataCollectionRules/{name}") && !records.contains("streams"), "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_written_by_whoever_may_where_it_lies_and_where_its_rows_go() {
    let door = Door::open(|_| {}).await;
    let group = door.group.trim_end_matches("/providers").to_owned();
    let workspace = format!("{}/{WORKSPACES}/default", door.group);
    let whole = rule(&door.group).to_string();
    let writer = door.token("Contributor", &group).await;
    assert_eq!(door.as_(&writer, Method::PUT, "dataCollectionRules/fine", &whole).await.status, 201);
    let of_rows = door.token("Contributor", &workspace).await;
    let refused = door.as_(&of_rows, Method::PUT, "dataCollectionRules/mine", &whole).await;
    assert!(matches!(refused.status.as_u16(), 403 | 404), "{}", refused.body);
    // Who may not is told so whatever it sends.
    let reader = door.token("Reader", &group).await;
    for (method, name) in [(Method::PUT, "fine"), (Method::PUT, "other"), (Method::PATCH, "fine")] {
        let refused = door.as_(&reader, method, &format!("dataCollectionRules/{name}"), "no object").await;
        assert_eq!(refused.status, 403, "{}", refused.body);
    }
    let path = format!("/v1{workspace}/query");
    let blind = door.token("Monitoring Metrics Publisher", &workspace).await;
    for path in [&*path, "/v1/workspaces/default/query"] {
        let headers = [("authorization", &*format!("Bearer {blind}"))];
        let refused = door.send(Method::POST, path, &headers, "no object").await;
        assert!(matches!(refused.status.as_u16(), 403 | 404), "{path}: {}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_rules_leaves_out_what_is_not_its_readers_and_tells_of_what_is_damaged() {
    let door = Door::open(|_| {}).await;
    door.call(Method::POST, "/v1/workspaces", &json!({"name": "annex"})).await;
    door.rule("here", |_| {}).await;
    let there = format!("{}/{WORKSPACES}/annex", door.group);
    door.rule("there", |rule| rule["properties"]["destinations"]["logAnalytics"][0]["workspaceResourceId"] = json!(there)).await;
    let names = |answer: &Answer| {
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["value"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // May see both workspaces, and the rules of one.
    let role = json!({"properties": {
        "roleName": "Looks", "permissions": [{"actions": ["Microsoft.OperationalInsights/workspaces/read"], "notActions": []}], "assignableScopes": ["/"],
    }});
    let path = "/providers/Microsoft.Authorization/roleDefinitions/0198c0de-0000-7000-8000-000000000001?api-version=2022-04-01";
    assert_eq!(door.call(Method::PUT, path, &role).await.status, 201);
    let at = |path: &str| ScopePath::read(path).unwrap();
    let looks = door.app.site.principals.create_at("one".to_owned(), "Looks", &at(&there), None).await.unwrap();
    let assigned = json!({"properties": {
        "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7",
        "principalId": looks.id.to_string(),
    }});
    // A rule is seen by whoever may see it where it lies, and where its rows go.
    for (n, (place, shown)) in
        [(format!("{WORKSPACES}/default"), vec![]), ("Microsoft.Insights/dataCollectionRules/here".to_owned(), vec!["here"])]
            .into_iter()
            .enumerate()
    {
        let path = format!(
            "{}/{place}/providers/Microsoft.Authorization/roleAssignments/0198c0de-0000-7000-8000-00000000000{}?api-version=2022-04-01",
            door.group,
            n + 2
        );
        let put = door.call(Method::PUT, &path, &assigned).await;
        assert_eq!(put.status, 201, "{}", put.body);
        assert_eq!(names(&door.as_(&looks.token, Method::GET, "dataCollectionRules", "").await), shown);
    }

    // A cell that is sealed anew changes nothing else: what was written meanwhile stays.
    let row = door.app.site.catalog.collection_rules().await.unwrap().into_iter().find(|row| row.name == "here").unwrap();
    assert_eq!(door.insights(Method::PATCH, "dataCollectionRules/here", &json!({"tags": {"late": "yes"}})).await.status, 200);
    assert!(door.app.site.catalog.collection_rule_reseal(row.id, row.cell_id, row.aek, row.cell_id, &row.cell).await.unwrap());
    assert_eq!(door.insights(Method::GET, "dataCollectionRules/here", &Value::Null).await.body["tags"], json!({"late": "yes"}));

    // A cell that does not open hides nobody else's rule.
    let row = door.app.site.catalog.collection_rules().await.unwrap().into_iter().find(|row| row.name == "there").unwrap();
    assert!(door.app.site.catalog.collection_rule_reseal(row.id, row.cell_id, row.aek, row.cell_id, b"damaged").await.unwrap());
    let all = door.insights(Method::GET, "dataCollectionRules", &Value::Null).await;
    assert_eq!(names(&all), ["here", "there"]);
    assert!(all.body["value"][1]["properties"]["dataFlows"].is_null() && all.body["value"][0]["properties"]["dataFlows"].is_array());
    assert_eq!(door.insights(Method::GET, "dataCollectionRules/there", &Value::Null).await.status, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_rules_minute_has_no_room_for_is_not_read() {
    let door = Door::open(|config| config.doors.logs_ingestion_requests_per_minute = 1).await;
    let id = door.rule("one", |_| {}).await;
    assert_eq!(door.pour(&id, "Custom-In", "[]").await.status, 204);
    let read = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&read);
    let body = futures::stream::once(async move {
        seen.store(true, Ordering::Relaxed);
        Ok::<_, std::io::Error>("[]")
    });
    assert_eq!(door.pour(&id, "Custom-In", Body::from_stream(body)).await.error(), (429, "TooManyRequests"));
    assert!(!read.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_router_refuses_is_told_in_the_envelope_of_all() {
    let door = Door::open(|_| {}).await;
    let json_type = [("authorization", &*format!("Bearer {ADMIN}")), ("content-type", "application/json")];
    let arm = format!("{}/{WORKSPACES}/default?api-version=2023-09-01", door.group);
    let large = " ".repeat(2 << 20);
    for (method, path, body, expected) in [
        (Method::GET, "/v1/workspaces/%ff/tables", "", (400, "BadRequest")),
        (Method::GET, "/v1/audit/verify/nothing", "", (404, "PathNotFoundError")),
        (Method::GET, "/nowhere", "", (404, "PathNotFoundError")),
        (Method::PUT, "/v1/roles", "", (405, "MethodNotAllowed")),
        (Method::POST, "/v1/workspaces/default/flush?table=a%20b", "", (400, "BadRequest")),
        (Method::POST, "/v1/clusters/x/check", &*large, (413, "RequestTooLarge")),
        (Method::PATCH, &*arm, &*large, (413, "RequestTooLarge")),
        (Method::PATCH, &*arm, "5", (400, "InvalidRequestBody")),
    ] {
        let refused = door.send(method.clone(), path, &json_type, body.to_owned()).await;
        assert_eq!(refused.error(), expected, "{method} {path}: {}", refused.body);
        assert!(refused.body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
        assert_eq!(refused.headers["content-type"], "application/json", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_a_batch_share_the_room_of_one() {
    let door = Door::open(|config| config.doors.batch_bytes_max = 60_000).await;
    let item = |id: usize| json!({"id": id.to_string(), "body": {"query": "range x from 1 to 20000 step 1"}, "workspace": "default", "path": "/query", "method": "POST"});
    let items: Vec<Value> = (0..12).map(item).collect();
    let batch = door.call(Method::POST, "/v1/$batch", &json!({"requests": items})).await;
    assert_eq!(batch.status, 200, "{}", batch.body);
    let answers = batch.body["responses"].as_array().unwrap();
    assert_eq!(answers.len(), 12);
    let code = |answer: &Value| answer["body"]["error"]["code"].as_str().unwrap_or_default().to_owned();
    let (cut, none) = (|answer: &&Value| code(answer) == "PartialError", |answer: &&Value| code(answer) == "ResponseTooLarge");
    assert!(answers.iter().filter(cut).count() >= 4 && answers.iter().filter(none).count() >= 1, "{answers:?}");
    assert!(answers.iter().filter(none).all(|answer| answer["status"] == 413));
    let bytes: usize = answers.iter().map(|answer| answer["body"].to_string().len()).sum();
    assert!(bytes < 60_000 + 12 * 1_000, "{bytes}");
    // What fits is whole.
    let small = door.call(Method::POST, "/v1/$batch", &json!({"requests": [item(0)]})).await;
    assert_eq!(code(&small.body["responses"][0]), "PartialError");
    let one = json!({"id": "a", "body": {"query": "print 1"}, "workspace": "default", "path": "/query", "method": "POST"});
    let small = door.call(Method::POST, "/v1/$batch", &json!({"requests": [one]})).await;
    assert_eq!(code(&small.body["responses"][0]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_table_is_there_again_once_a_row_is_in_memory() {
    let door = Door::open(|_| {}).await;
    let path = format!("{}/{WORKSPACES}/default/tables/Gone_CL?api-version=2023-09-01", door.group);
    assert_eq!(door.call(Method::PUT, &path, &json!({"properties": {"retentionInDays": 30}})).await.status, 200);
    let gone = door.call(Method::DELETE, &path, &Value::Null).await;
    assert!(gone.status.is_success(), "{}", gone.body);
    let url = gone.headers["azure-asyncoperation"].to_str().unwrap().strip_prefix("http://logs.example:7700").unwrap().to_owned();
    while door.call(Method::GET, &url, &Value::Null).await.body["status"] == "InProgress" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(door.call(Method::GET, &path, &Value::Null).await.status, 404);
    assert_eq!(door.call(Method::DELETE, &path, &Value::Null).await.status, 204);
    let headers = [("authorization", &*format!("Bearer {ADMIN}"))];
    assert_eq!(door.send(Method::POST, "/v1/workspaces/default/ingest/Gone_CL", &headers, "{\"n\":1}").await.status, 200);
    assert_eq!(door.call(Method::GET, &path, &Value::Null).await.status, 200, "in no block yet");
}
