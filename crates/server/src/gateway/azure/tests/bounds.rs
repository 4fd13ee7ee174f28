//! What each door takes at most, and what it does not take at all.

use std::task::Poll;

use bytes::Bytes;
use strongroom_keys::{Shut, Standing};

use super::*;
use crate::gateway::auth::Who;
use crate::gateway::azure::batch;

const INSIGHTS: &str = "Microsoft.OperationalInsights/workspaces";

impl Door {
    async fn shared_key(&self) -> String {
        let path = format!("{}/{INSIGHTS}/default/sharedKeys?api-version=2020-08-01", self.group);
        self.call(Method::POST, &path, &Value::Null).await.body["primarySharedKey"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_has_so_many_questions_each_a_post_to_query() {
    let door = Door::open(|config| config.doors.batch_questions_max = 2).await;
    let item = |id: usize, path: &str, method: &str| json!({"id": id.to_string(), "body": {"query": "print 1"}, "workspace": "default", "path": path, "method": method});
    let batch = async |items: Vec<Value>| door.call(Method::POST, "/v1/$batch", &json!({"requests": items})).await;
    let three = (0..3).map(|id| item(id, "/query", "POST")).collect();
    assert_eq!(batch(three).await.error(), (400, "BadArgumentError"));
    for (path, method, status) in [("query/", "post", 200), ("/query", "GET", 400), ("/metadata", "POST", 404)] {
        let answer = batch(vec![item(0, path, method)]).await;
        assert_eq!((answer.status.as_u16(), &answer.body["responses"][0]["status"]), (200, &json!(status)), "{path} {method}");
    }
    let nameless = batch(vec![item(0, "/query", "POST"), json!({"id": "", "body": {"query": "print 1"}, "method": "POST"})]).await;
    assert_eq!(nameless.error(), (400, "BadArgumentError"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_batch_did_not_need_is_for_its_next_question() {
    let door = Door::open(|config| {
        config.doors.batch_bytes_max = 20_000;
        config.doors.batch_concurrent_max = 1;
    })
    .await;
    let item =
        |id: usize| json!({"id": id.to_string(), "body": {"query": "print 1"}, "workspace": "default", "path": "/query", "method": "POST"});
    let batch = door.call(Method::POST, "/v1/$batch", &json!({"requests": (0..20).map(item).collect::<Vec<_>>()})).await;
    let answers = batch.body["responses"].as_array().unwrap();
    assert!(answers.len() == 20 && answers.iter().all(|answer| answer["status"] == 200), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_what_a_key_was_taken_from_does_not_leave_and_the_rest_does() {
    let door = Door::open(|_| {}).await;
    let site = &door.app.site;
    site.clusters.settle().await.unwrap();
    let at = |kind: &str| format!("{}/{INSIGHTS}/{kind}?api-version=2025-07-01", door.group).replace("/workspaces/clusters", "/clusters");
    let cluster =
        json!({"location": "local", "identity": {"type": "SystemAssigned"}, "sku": {"name": "CapacityReservation", "capacity": 100}});
    let link = json!({"properties": {"writeAccessResourceId": at("clusters/contoso").split('?').next().unwrap()}});
    for (path, body) in [("clusters/contoso", &cluster), ("annex", &json!({"location": "local"})), ("annex/linkedServices/cluster", &link)]
    {
        let made = door.call(Method::PUT, &at(path), body).await;
        assert!(made.status.is_success(), "{path}: {}", made.body);
        site.clusters.idle().await;
    }
    let annex = site.catalog.workspaces().await.unwrap().into_iter().find(|row| row.name.as_str() == "annex").unwrap();
    let cluster = site.catalog.cluster_list().await.unwrap().remove(0);
    assert_eq!(Some(annex.account), cluster.account);
    let gate = site.keys.gate(annex.account, cluster.id, "contoso", Standing::Open);
    let item = |workspace: &str| json!({"id": workspace, "body": {"query": "print 1"}, "workspace": workspace, "path": "/query", "method": "POST"});
    let items = json!([item("annex"), item("default")]);

    // While it waits for others: it says so, and they are told.
    let who = Who(site.principals.authenticate(ADMIN).await.unwrap(), strongroom_control::ScopePath::root());
    let answers = batch::answers(&door.app, &who, serde_json::from_str(&items.to_string()).unwrap(), None).await;
    gate.set(Standing::Shut(Shut::Revoked, 1));
    let left = to_bytes(batch::leaving(&door.app, answers).await.into_body(), 1 << 20).await.unwrap();
    let left: Value = serde_json::from_slice(&left).unwrap();
    let of = |id: &str| left["responses"].as_array().unwrap().iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!((&of("annex")["status"], &of("annex")["body"]["error"]["code"]), (&json!(403), &json!("CustomerKeyRevoked")), "{left}");
    assert_eq!((&of("default")["status"], &of("default")["body"]["tables"][0]["rows"]), (&json!(200), &json!([[1]])), "{left}");

    // Once it is on its way: nothing more of it.
    gate.set(Standing::Open);
    let request = Request::builder().method(Method::POST).uri("/v1/$batch").header("authorization", format!("Bearer {ADMIN}"));
    let request = request.body(Body::from(json!({"requests": items}).to_string())).unwrap();
    let response = door.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    gate.set(Standing::Shut(Shut::Revoked, 2));
    assert!(to_bytes(response.into_body(), 1 << 20).await.is_err(), "it breaks off");
}

#[tokio::test(flavor = "multi_thread")]
async fn kusto_tells_commands_from_questions_and_shows_the_databases_of_the_caller() {
    let door = Door::open(|_| {}).await;
    for path in ["/v1/rest/query", "/v2/rest/query"] {
        let refused = door.call(Method::POST, path, &json!({"db": "default", "csl": "  .show databases"})).await;
        assert_eq!(refused.error(), (400, "BadRequest_CommandInQuery"), "{}", refused.body);
    }
    door.call(Method::POST, "/v1/workspaces", &json!({"name": "annex"})).await;
    let made = door.call(Method::POST, "/v1/principals", &json!({"role": "Log Analytics Reader", "workspace": "annex"})).await;
    let headers = [("authorization", &*format!("Bearer {}", made.body["token"].as_str().unwrap()))];
    let shown = door.send(Method::POST, "/v1/rest/mgmt", &headers, json!({"csl": ".show databases"}).to_string()).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    let rows = shown.body["Tables"][0]["Rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row[0]).collect::<Vec<_>>(), ["annex"]);
    let call = json!({"db": "default", "csl": "print 1"}).to_string();
    let foreign = door.send(Method::POST, "/v1/rest/query", &headers, call.clone()).await;
    let absent = door.send(Method::POST, "/v1/rest/query", &headers, call.replace("default", "nowhere")).await;
    assert_eq!(foreign.body.to_string().replace("default", "X"), absent.body.to_string().replace("nowhere", "X"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_posts_are_json_for_a_workspace_that_is_there_at_its_own_host() {
    let door = Door::open(|_| {}).await;
    let key = door.shared_key().await;
    let body = r#"[{"a":1}]"#;
    assert_eq!(door.collect(&key, &now(), "Here", body, &[]).await.status, 200);
    // The signature covers the type, so a post of another type is one that its sender signed so.
    let signed = |content_type: &str, date: &str| {
        let text = format!("POST\n{}\n{content_type}\nx-ms-date:{date}\n/api/logs", body.len());
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(&key).unwrap()).unwrap();
        mac.update(text.as_bytes());
        format!("SharedKey {}:{}", door.workspace, STANDARD.encode(mac.finalize().into_bytes()))
    };
    for (content_type, expected) in [("text/csv", "UnsupportedContentType"), ("", "MissingContentType")] {
        let (date, length) = (now(), body.len().to_string());
        let authorization = signed(content_type, &date);
        let mut headers =
            vec![("authorization", &*authorization), ("x-ms-date", &*date), ("content-length", &*length), ("log-type", "Here")];
        if !content_type.is_empty() {
            headers.push(("content-type", content_type));
        }
        let refused = door.send(Method::POST, "/api/logs?api-version=2016-04-01", &headers, body).await;
        assert_eq!(refused.error(), (400, expected), "{content_type}: {}", refused.body);
    }
    // Its keys outlive it until it is shredded, and open nothing meanwhile.
    let page = format!("{}/{INSIGHTS}/default?api-version=2023-09-01", door.group);
    assert_eq!(door.call(Method::DELETE, &page, &Value::Null).await.status, 200);
    let refused = door.collect(&key, &now(), "Here", body, &[]).await;
    assert_eq!(refused.error(), (403, "InvalidAuthorization"), "{}", refused.body);
    assert_eq!(refused.body, door.collect(&STANDARD.encode([7; 64]), &now(), "Here", body, &[]).await.body);
    assert_eq!(door.call(Method::PUT, &page, &json!({"location": "local"})).await.status, 200);
    assert_eq!(door.collect(&key, &now(), "Here", body, &[]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rules_minute_counts_bytes_that_nobody_announced_and_a_call_names_its_version() {
    let door = Door::open(|config| config.doors.logs_ingestion_bytes_per_minute = 1_000).await;
    let id = door.rule("one", |_| {}).await;
    let path = format!("/dataCollectionRules/{id}/streams/Custom-In");
    let headers = [("authorization", &*format!("Bearer {ADMIN}"))];
    for query in ["", "?api-version="] {
        assert_eq!(door.send(Method::POST, &format!("{path}{query}"), &headers, "[]").await.error(), (400, "MissingApiVersion"));
    }
    let unannounced = |bytes: usize| {
        let text = format!("[{}]", " ".repeat(bytes));
        Body::from_stream(futures::stream::once(async move { Ok::<_, std::io::Error>(text) }))
    };
    assert_eq!(door.pour(&id, "Custom-In", unannounced(900)).await.status, 204);
    assert_eq!(door.pour(&id, "Custom-In", unannounced(900)).await.error(), (429, "TooManyRequests"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_a_workspace_sends_no_rows_there_by_a_rule_of_their_own() {
    let door = Door::open(|_| {}).await;
    door.call(Method::POST, "/v1/workspaces", &json!({"name": "annex"})).await;
    let at = |path: &str| strongroom_control::ScopePath::read(path).unwrap();
    let home = door.group.replace("/default/", "/mine/");
    let group = home.trim_end_matches("/providers");
    assert!(door.call(Method::PUT, &format!("{group}?api-version=2021-04-01"), &json!({"location": "local"})).await.status.is_success());
    let own_place = format!("{home}/{INSIGHTS}/own");
    let made = door.call(Method::PUT, &format!("{own_place}?api-version=2023-09-01"), &json!({"location": "local"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let principals = &door.app.site.principals;
    let owner = principals.create_at("o".to_owned(), "Owner", &at(group), None).await.unwrap();
    let annex = format!("{}/{INSIGHTS}/annex", door.group);
    let assigned = json!({"properties": {
        "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7",
        "principalId": owner.id.to_string(),
    }});
    let path =
        format!("{annex}/providers/Microsoft.Authorization/roleAssignments/0198c0de-0000-7000-8000-0000000000aa?api-version=2022-04-01");
    assert_eq!(door.call(Method::PUT, &path, &assigned).await.status, 201);
    let mut rule = rule(&door.group);
    rule["properties"]["destinations"]["logAnalytics"][0]["workspaceResourceId"] = json!(annex);
    let path = format!("{home}/Microsoft.Insights/dataCollectionRules/into?api-version=2023-03-11");
    let headers = [("authorization", &*format!("Bearer {}", owner.token))];
    let refused = door.send(Method::PUT, &path, &headers, rule.to_string()).await;
    assert_eq!(refused.error(), (403, "AuthorizationFailed"), "{}", refused.body);
    // Nor do they change one that somebody else made in their group.
    assert_eq!(door.call(Method::PUT, &path, &rule).await.status, 201);
    let before = door.call(Method::GET, &path, &Value::Null).await.body;
    let mut own = rule.clone();
    own["properties"]["destinations"]["logAnalytics"][0]["workspaceResourceId"] = json!(own_place);
    let refused = door.send(Method::PUT, &path, &headers, own.to_string()).await;
    assert_eq!(refused.error(), (403, "AuthorizationFailed"), "{}", refused.body);
    assert_eq!(door.send(Method::DELETE, &path, &headers, "").await.status, 403);
    assert_eq!(door.call(Method::GET, &path, &Value::Null).await.body, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_rules_leaves_out_those_of_workspaces_that_one_may_not_look_into() {
    let door = Door::open(|_| {}).await;
    let home = door.group.replace("/default/", "/mine/");
    let group = home.trim_end_matches("/providers");
    assert!(door.call(Method::PUT, &format!("{group}?api-version=2021-04-01"), &json!({"location": "local"})).await.status.is_success());
    let own = format!("{home}/{INSIGHTS}/own");
    let made = door.call(Method::PUT, &format!("{own}?api-version=2023-09-01"), &json!({"location": "local"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let rules = format!("{home}/Microsoft.Insights/dataCollectionRules");
    for (name, workspace) in [("a-foreign", None), ("b-own", Some(&own))] {
        let mut rule = rule(&door.group);
        if let Some(workspace) = workspace {
            rule["properties"]["destinations"]["logAnalytics"][0]["workspaceResourceId"] = json!(workspace);
        }
        let made = door.call(Method::PUT, &format!("{rules}/{name}?api-version=2023-03-11"), &rule).await;
        assert_eq!(made.status, 201, "{}", made.body);
    }
    let at = strongroom_control::ScopePath::read(group).unwrap();
    let owner = door.app.site.principals.create_at("o".to_owned(), "Owner", &at, None).await.unwrap();
    let names = async |token: &str| {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        let listed = door.send(Method::GET, &format!("{rules}?api-version=2023-03-11"), &headers, "").await;
        assert_eq!(listed.status, 200, "{}", listed.body);
        listed.body["value"].as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(ADMIN).await, ["a-foreign", "b-own"]);
    assert_eq!(names(&owner.token).await, ["b-own"], "and the one that is left out hides no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_post_that_announces_too_much_is_not_read() {
    let door = Door::open(|config| config.doors.data_collector_bytes_max = 4_096).await;
    let (key, date) = (STANDARD.decode(door.shared_key().await).unwrap(), now());
    for length in ["4097", "18446744073709551615"] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("POST\n{length}\napplication/json\nx-ms-date:{date}\n/api/logs").as_bytes());
        let authorization = format!("SharedKey {}:{}", door.workspace, STANDARD.encode(mac.finalize().into_bytes()));
        let headers = [
            ("authorization", &*authorization),
            ("x-ms-date", &*date),
            ("content-type", "application/json"),
            ("content-length", length),
            ("log-type", "Large"),
        ];
        let body = futures::stream::poll_fn(|_| -> Poll<Option<std::io::Result<Bytes>>> { panic!("nobody asks for it") });
        let refused = door.send(Method::POST, "/api/logs?api-version=2016-04-01", &headers, Body::from_stream(body)).await;
        assert_eq!(refused.error(), (404, "RequestTooLarge"), "{length}: {}", refused.body);
    }
}
