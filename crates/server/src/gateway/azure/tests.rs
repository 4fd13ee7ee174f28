//! Azure's doors for data: everything but the socket is real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bounds;
mod rules;

use std::io::Write as _;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use strongroom_model::WorkspaceId;
use tempfile::TempDir;
use tower::ServiceExt as _;

use crate::config::Config;
use crate::gateway::{App, router};
use crate::wiring::Site;

const ADMIN: &str = "srt_a-token-for-the-tests-of-these-doors";

struct Door {
    app: App,
    router: Router,
    /// The resource group's path.
    group: String,
    workspace: WorkspaceId,
    _dirs: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["error"]["code"].as_str().or(self.body["Error"].as_str()).unwrap_or_default())
    }

    fn rows(&self) -> &Value {
        &self.body["tables"][0]["rows"]
    }
}

impl Door {
    async fn open(change: impl FnOnce(&mut Config)) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dirs = TempDir::new().unwrap();
        let mut config = Config::under(dirs.path());
        change(&mut config);
        let claimed = Site::claim(&config).unwrap();
        let (site, _) = Site::open(config, claimed, Some(ADMIN.to_owned()), Vec::new()).await.unwrap();
        let row = site.catalog.workspaces().await.unwrap().remove(0);
        let group = format!("/subscriptions/{}/resourceGroups/default/providers", row.subscription);
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let app = App { site, metrics };
        Self { router: router(app.clone()), app, group, workspace: row.id, _dirs: dirs }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "logs.example:7700");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.router.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 8 << 20).await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, &[("authorization", &format!("Bearer {ADMIN}")), ("content-type", "application/json")], body).await
    }

    async fn insights(&self, method: Method, rest: &str, body: &Value) -> Answer {
        self.call(method, &format!("{}/Microsoft.Insights/{rest}?api-version=2023-03-11", self.group), body).await
    }

    async fn ask(&self, text: &str) -> Value {
        let answer = self.call(Method::POST, "/v1/workspaces/default/query", &json!({"query": text})).await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.body);
        answer.rows().clone()
    }

    /// Makes a rule; its immutable id.
    async fn rule(&self, name: &str, change: impl FnOnce(&mut Value)) -> String {
        let mut rule = rule(&self.group);
        change(&mut rule);
        let put = self.insights(Method::PUT, &format!("dataCollectionRules/{name}"), &rule).await;
        assert!(put.status.is_success(), "{}", put.body);
        put.body["properties"]["immutableId"].as_str().unwrap().to_owned()
    }

    async fn pour(&self, rule: &str, stream: &str, body: impl Into<Body>) -> Answer {
        let path = format!("/dataCollectionRules/{rule}/streams/{stream}?api-version=2023-01-01");
        let headers = [("authorization", &*format!("Bearer {ADMIN}")), ("content-type", "application/json"), ("content-encoding", "gzip")];
        self.send(Method::POST, &path, &headers, body).await
    }

    /// A post as the Data Collector's clients sign it.
    async fn collect(&self, key: &str, date: &str, log_type: &str, body: &str, more: &[(&str, &str)]) -> Answer {
        let content_type = "application/json; charset=utf-8";
        let text = format!("POST\n{}\n{content_type}\nx-ms-date:{date}\n/api/logs", body.len());
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
        mac.update(text.as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let (authorization, length) = (format!("SharedKey {}:{signature}", self.workspace), body.len().to_string());
        let mut headers = vec![
            ("authorization", &*authorization),
            ("x-ms-date", date),
            ("content-type", content_type),
            ("content-length", &*length),
            ("log-type", log_type),
        ];
        headers.extend_from_slice(more);
        self.send(Method::POST, "/api/logs?api-version=2016-04-01", &headers, body.to_owned()).await
    }
}

fn rule(group: &str) -> Value {
    json!({
        "location": "local",
        "kind": "Direct",
        "properties": {
            "description": "shapes",
            "streamDeclarations": {"Custom-In": {"columns": [
                {"name": "TimeGenerated", "type": "datetime"},
                {"name": "line", "type": "string"},
                {"name": "code", "type": "int"},
                {"name": "more", "type": "dynamic"},
                {"name": "who", "type": "guid"},
            ]}},
            "destinations": {"logAnalytics": [{"workspaceResourceId": format!("{group}/Microsoft.OperationalInsights/workspaces/default"), "name": "la"}]},
            "dataFlows": [{
                "streams": ["Custom-In"], "destinations": ["la"], "outputStream": "Custom-Out_CL",
                "transformKql": "source | where code > 0 | extend bad = code >= 500 | project-away line",
            }],
        },
    })
}

fn gzip(body: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(body.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn now() -> String {
    chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_through_a_rule_into_its_table() {
    let door = Door::open(|_| {}).await;
    let endpoint = door.insights(Method::PUT, "dataCollectionEndpoints/in", &json!({"location": "local", "properties": {}})).await;
    assert_eq!(endpoint.status, 201, "{}", endpoint.body);
    assert_eq!(endpoint.body["properties"]["logsIngestion"]["endpoint"], "http://logs.example:7700");
    let id = door.rule("shapes", |_| {}).await;
    assert!(id.starts_with("dcr-") && id.len() == 36, "{id}");

    let guid = "74738FF5536759589AEE98FFFDCD1876";
    let body = json!([
        {"TimeGenerated": "2026-03-01T10:00:00.1234567Z", "line": "x", "code": "500", "more": {"k": [1]}, "who": guid, "undeclared": 1},
        {"line": "y", "code": 200, "more": "{\"k\":2}"},
        {"line": "z", "code": 0},
    ]);
    let poured = door.pour(&id, "Custom-In", gzip(&body.to_string())).await;
    assert_eq!((poured.status.as_u16(), &poured.body), (204, &Value::Null), "{}", poured.body);
    // What says gzip and is none is taken as it is; the case of a stream does not count.
    assert_eq!(door.pour(&id.to_uppercase(), "custom-in", body.to_string()).await.status, 204);
    assert_eq!(
        door.ask("Out_CL | where code == 500 | project TimeGenerated, code, more = tostring(more.k[0]), who, bad, gettype(who)").await,
        json!([
            ["2026-03-01T10:00:00.1234567Z", 500, "1", "74738ff5-5367-5958-9aee-98fffdcd1876", true, "guid"],
            ["2026-03-01T10:00:00.1234567Z", 500, "1", "74738ff5-5367-5958-9aee-98fffdcd1876", true, "guid"],
        ])
    );
    assert_eq!(door.ask("Out_CL | summarize count(), sum(tolong(more.k == 2))").await, json!([[4, 2]]));
    let schema = door.ask("Out_CL | getschema | project ColumnName, ColumnType | sort by ColumnName asc").await;
    assert_eq!(schema, json!([["TimeGenerated", "datetime"], ["bad", "bool"], ["code", "long"], ["more", "dynamic"], ["who", "guid"]]));
    assert_eq!(door.pour(&id, "Custom-In", "[]").await.status, 204);
    // A long text is cut.
    let plain = door.rule("plain", |rule| {
        rule["properties"]["dataFlows"][0]["transformKql"] = Value::Null;
        rule["properties"]["dataFlows"][0]["outputStream"] = json!("Custom-Long_CL");
    });
    let plain = plain.await;
    let long = json!([{"line": "ä".repeat(40_000), "code": 1}]).to_string();
    assert_eq!(door.pour(&plain, "Custom-In", long).await.status, 204);
    assert_eq!(door.ask("Long_CL | project strlen(line)").await, json!([[32_768]]));

    // What is wrong is told as Azure's clients know it.
    for (rule, stream, body, expected) in [
        (&*id, "Custom-Other", "[]", (400, "InvalidStream")),
        ("dcr-00000000000000000000000000000000", "Custom-In", "[]", (404, "NotFound")),
        ("nonsense", "Custom-In", "[]", (404, "NotFound")),
        (&*id, "Custom-In", "{", (400, "InvalidPayload")),
        (&*id, "Custom-In", "[5]", (400, "InvalidPayload")),
        (&*id, "Custom-In", "text", (400, "InvalidPayload")),
    ] {
        assert_eq!(door.pour(rule, stream, body).await.error(), expected, "{body}");
    }
    let large = format!("[{}]", vec!["{\"a\":1}"; 600_000].join(","));
    assert_eq!(door.pour(&id, "Custom-In", large.clone()).await.error(), (413, "ContentLengthLimitExceeded"));
    assert_eq!(door.pour(&id, "Custom-In", gzip(&large)).await.error(), (413, "ContentLengthLimitExceeded"), "inflated");
    // Azure's own client counts records without what is between them: two megabytes are one of its chunks.
    let chunk = format!("[{}]", vec!["{}"; 1 << 19].join(","));
    assert_eq!(door.pour(&id, "Custom-In", gzip(&chunk)).await.status, 204);

    let one = door.call(Method::POST, "/v1/principals", &json!({"role": "Reader"})).await.body["token"].as_str().unwrap().to_owned();
    let path = format!("/dataCollectionRules/{id}/streams/Custom-In?api-version=2023-01-01");
    let refused = door.send(Method::POST, &path, &[("authorization", &format!("Bearer {one}"))], "[]").await;
    assert_eq!(refused.error(), (403, "OperationFailed"));
    assert_eq!(door.send(Method::POST, &path, &[], "[]").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_kept_checked_and_shown() {
    let door = Door::open(|config| config.doors.logs_ingestion_requests_per_minute = 1).await;
    let id = door.rule("shapes", |_| {}).await;
    let again = door.rule("SHAPES", |rule| rule["tags"] = json!({"a": "b"})).await;
    assert_eq!(id, again, "a rule keeps its id");
    let shown = door.insights(Method::GET, "datacollectionrules/Shapes", &Value::Null).await;
    assert_eq!((shown.status.as_u16(), &shown.body["name"], &shown.body["tags"]), (200, &json!("shapes"), &json!({"a": "b"})));
    assert_eq!(shown.body["properties"]["streamDeclarations"], rule(&door.group)["properties"]["streamDeclarations"]);
    assert_eq!(shown.body["properties"]["endpoints"]["logsIngestion"], "http://logs.example:7700");
    let tagged = door.insights(Method::PATCH, "dataCollectionRules/shapes", &json!({"tags": {"c": "d"}})).await;
    assert_eq!((&tagged.body["tags"], &tagged.body["properties"]["immutableId"]), (&json!({"c": "d"}), &json!(id)));
    let listed = door.insights(Method::GET, "dataCollectionRules", &Value::Null).await.body;
    assert_eq!(listed["value"].as_array().unwrap().len(), 1);
    // What the client read may come back as it is.
    let round = door.insights(Method::PUT, "dataCollectionRules/shapes", &tagged.body).await;
    assert_eq!(round.status, 200, "{}", round.body);

    // Nothing of what it says of columns is in the catalog in clear.
    let row = door.app.site.catalog.collection_rules().await.unwrap().remove(0);
    assert!(!row.cell.windows(4).any(|part| part == b"line") && !row.streams.contains("line"), "{}", row.streams);

    let cases: [(Change, &str, &str); 6] = [
        (|flow| flow["transformKql"] = json!("source\n| wher code > 0"), "InvalidTransformQuery", "wher"),
        (|flow| flow["transformKql"] = json!("source | extend x = nothing"), "InvalidTransformQuery", "nothing"),
        (|flow| flow["transformKql"] = json!("Secret | take 1"), "InvalidTransformQuery", "Secret"),
        (|flow| flow["transformKql"] = json!("source | extend TenantId = 'x'"), "InvalidTransformOutput", "TenantId"),
        (|flow| flow["transformKql"] = json!("source | extend ['a b'] = 1"), "InvalidTransformOutput", "a b"),
        (|flow| flow["streams"] = json!(["Custom-Nowhere"]), "InvalidPayload", "Custom-Nowhere"),
    ];
    for (change, code, text) in cases {
        let mut wrong = rule(&door.group);
        change(&mut wrong["properties"]["dataFlows"][0]);
        let refused = door.insights(Method::PUT, "dataCollectionRules/wrong", &wrong).await;
        assert_eq!(refused.error(), (400, code), "{}", refused.body);
        assert!(refused.body["error"]["message"].as_str().unwrap().contains(text), "{}", refused.body);
    }
    let mut wrong = rule(&door.group);
    wrong["properties"]["dataFlows"][0]["transformKql"] = json!("source\n| wher code > 0");
    let inner = door.insights(Method::PUT, "dataCollectionRules/wrong", &wrong).await.body["error"]["innererror"]["innererror"].clone();
    assert_eq!((&inner["line"], &inner["pos"]), (&json!(2), &json!(3)), "{inner}");
    assert_eq!(door.insights(Method::GET, "dataCollectionRules/wrong", &Value::Null).await.error(), (404, "ResourceNotFound"));

    assert_eq!(door.pour(&id, "Custom-In", "[]").await.status, 204);
    let busy = door.pour(&id, "Custom-In", "[]").await;
    assert_eq!(busy.error(), (429, "TooManyRequests"));
    let seconds: u64 = busy.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=61).contains(&seconds));

    assert_eq!(door.insights(Method::DELETE, "dataCollectionRules/shapes", &Value::Null).await.status, 200);
    assert_eq!(door.insights(Method::DELETE, "dataCollectionRules/shapes", &Value::Null).await.status, 204);
    assert_eq!(door.pour(&id, "Custom-In", "[]").await.error(), (404, "NotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signed_posts_become_rows_and_others_do_not() {
    let door = Door::open(|config| config.doors.data_collector_bytes_max = 4_096).await;
    let path = format!("{}/Microsoft.OperationalInsights/workspaces/default/sharedKeys?api-version=2020-08-01", door.group);
    let keys = door.call(Method::POST, &path, &Value::Null).await;
    assert_eq!(keys.headers["cache-control"], "no-store");
    let key = |name: &str| keys.body[name].as_str().unwrap().to_owned();
    let (primary, secondary) = (key("primarySharedKey"), key("secondarySharedKey"));
    let body = json!([
        {"Message": "started", "Level": 3, "Ok": true, "At": "2026-03-01T10:00:00Z", "Id": "909ED01C-A74D-4874-8ABF-D2678E3AE23D"},
        {"Message": 7, "Level": "4", "Nothing": null},
    ])
    .to_string();
    let taken = door.collect(&primary, &now(), "My_Log", &body, &[("x-ms-azureresourceid", "/r")]).await;
    assert_eq!((taken.status.as_u16(), &taken.body), (200, &Value::Null), "{}", taken.body);
    assert_eq!(door.collect(&secondary, &now(), "My_Log", &body, &[]).await.status, 200);
    assert_eq!(
        door.ask("My_Log_CL | summarize n = count() by Level_d, Message_s | sort by Level_d asc, Message_s asc").await,
        json!([[null, "", 2], [3.0, "started", 2]])
    );
    let schema = door.ask("My_Log_CL | getschema | project ColumnName, ColumnType | sort by ColumnName asc").await;
    for column in
        [["At_t", "datetime"], ["Id_g", "guid"], ["Level_d", "real"], ["Ok_b", "bool"], ["Message_s", "string"], ["_ResourceId", "string"]]
    {
        assert!(schema.as_array().unwrap().contains(&json!(column)), "{column:?} in {schema}");
    }
    let recent = chrono::Utc::now() - chrono::Duration::hours(1);
    let timed = json!([{"When": recent.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)}]).to_string();
    assert_eq!(door.collect(&primary, &now(), "Timed", &timed, &[("time-generated-field", "When")]).await.status, 200);
    assert_eq!(door.ask("Timed_CL | where TimeGenerated == When_t | count").await, json!([[1]]));

    // Every way of not being who one says one is looks the same.
    let forged = door.collect(&STANDARD.encode([7; 64]), &now(), "My_Log", &body, &[]).await;
    let old = (chrono::Utc::now() - chrono::Duration::minutes(16)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let stale = door.collect(&primary, &old, "My_Log", &body, &[]).await;
    let stranger = {
        let authorization = format!("SharedKey {}:{}", WorkspaceId::from_bytes([9; 16]), STANDARD.encode([0; 32]));
        let headers = [("authorization", &*authorization), ("x-ms-date", &*now()), ("content-length", "2"), ("log-type", "A")]
            .map(|(a, b)| (a, b.to_owned()));
        let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (*a, b.as_str())).collect();
        door.send(Method::POST, "/api/logs?api-version=2016-04-01", &headers, "[]").await
    };
    for answer in [&forged, &stale, &stranger] {
        assert_eq!(answer.error(), (403, "InvalidAuthorization"), "{}", answer.body);
        assert_eq!(answer.body, forged.body);
    }
    assert_eq!(door.ask("My_Log_CL | count").await, json!([[4]]));
    let refused = |log_type: &'static str, body: String| {
        let (door, primary) = (&door, &primary);
        async move { door.collect(primary, &now(), log_type, &body, &[]).await }
    };
    assert_eq!(refused("a-b", "[]".to_owned()).await.error(), (400, "InvalidLogType"));
    assert_eq!(refused("", "[]".to_owned()).await.error(), (400, "MissingLogType"));
    assert_eq!(refused("A", "[5]".to_owned()).await.error(), (400, "InvalidDataFormat"));
    assert_eq!(refused("A", format!("[{}]", " ".repeat(5_000))).await.status, 404, "too large is not found, as Azure has it");
    assert_eq!(door.send(Method::POST, "/api/logs", &[], "[]").await.error(), (400, "MissingApiVersion"));
    assert_eq!(door.send(Method::POST, "/api/logs?api-version=2020-01-01", &[], "[]").await.error(), (400, "InvalidApiVersion"));
    let about = door.collect(&primary, &now(), "My_Log", &body, &[("x-ms-azureresourceid", &"r".repeat(3_000))]).await;
    assert_eq!(about.error(), (400, "InvalidDataFormat"), "{}", about.body);
    // An owner who ends the use of shared keys ends it here.
    let page = format!("{}/Microsoft.OperationalInsights/workspaces/default?api-version=2023-09-01", door.group);
    for (ended, expected) in [(true, (403, "InvalidAuthorization")), (false, (200, ""))] {
        let patched = door.call(Method::PATCH, &page, &json!({"properties": {"features": {"disableLocalAuth": ended}}})).await;
        assert_eq!(patched.status, 200, "{}", patched.body);
        let answer = refused("My_Log", body.clone()).await;
        assert_eq!(answer.error(), expected, "{}", answer.body);
        assert!(!ended || answer.body == forged.body);
    }
    let path = path.replace("sharedKeys", "regenerateSharedKey");
    assert_ne!(door.call(Method::POST, &path, &Value::Null).await.body["primarySharedKey"], json!(primary));
    assert_eq!(refused("My_Log", body.clone()).await.error(), (403, "InvalidAuthorization"), "the old keys are over");
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_by_resource_in_batches_and_together() {
    let door = Door::open(|config| config.query.rows_max = 3).await;
    door.call(Method::POST, "/v1/workspaces", &json!({"name": "annex"})).await;
    for (workspace, rows) in [("default", "{\"n\":1}\n{\"n\":2}"), ("annex", "{\"n\":3}")] {
        let headers = [("authorization", &*format!("Bearer {ADMIN}"))];
        assert_eq!(door.send(Method::POST, &format!("/v1/workspaces/{workspace}/ingest/App"), &headers, rows).await.status, 200);
    }
    let resource = |name: &str| format!("{}/Microsoft.OperationalInsights/workspaces/{name}", door.group);
    let path = format!("/v1{}/query", resource("default"));
    for path in [path.clone(), path.replace("resourceGroups", "resourcegroups").replace("Microsoft.O", "microsoft.o")] {
        let asked = door.call(Method::POST, &path, &json!({"query": "App | summarize sum(n)", "timespan": null, "workspaces": null})).await;
        assert_eq!((asked.status.as_u16(), asked.rows()), (200, &json!([[3]])), "{}", asked.body);
    }
    // What dashboards send along is taken and nothing is done with it; what nobody sends is a mistake.
    let along = json!({"query": "App | summarize sum(n)", "options": {"truncationMaxSize": 1}, "workspaceFilters": {"regions": []},
        "maxRows": 1, "applications": []});
    assert_eq!(door.call(Method::POST, &path, &along).await.rows(), &json!([[3]]));
    let misspelt = door.call(Method::POST, &path, &json!({"query": "App", "timespam": "P1D"})).await;
    assert_eq!(misspelt.error(), (400, "BadArgumentError"));
    let by_url = door.call(Method::GET, &format!("{path}?query=App%20%7C%20count&timespan=P1D&api-version=2021-05-19"), &Value::Null).await;
    assert_eq!(by_url.rows(), &json!([[2]]), "{}", by_url.body);
    let absent = door.call(Method::POST, &path.replace("default/query", "nowhere/query"), &json!({"query": "App"})).await;
    assert_eq!(absent.error(), (404, "PathNotFoundError"));
    for method in [Method::GET, Method::POST] {
        for verb in ["query?query=App", "metadata"] {
            let absent = door.call(method.clone(), &format!("/v1/workspaces/nowhere/{verb}"), &json!({"query": "App"})).await;
            assert_eq!(absent.error(), (404, "PathNotFoundError"), "{method} {verb}: {}", absent.body);
        }
    }
    assert_eq!(
        door.call(Method::POST, &path.replace("/query", "/other"), &json!({"query": "App"})).await.error(),
        (404, "PathNotFoundError")
    );

    // Several workspaces as one: by name, by id, by resource id; each once.
    for workspaces in [json!(["annex"]), json!([resource("annex"), "annex", "default"])] {
        let asked = door.call(Method::POST, &path, &json!({"query": "App | summarize sum(n)", "workspaces": workspaces})).await;
        assert_eq!(asked.rows(), &json!([[6]]), "{}", asked.body);
    }
    let nowhere = door.call(Method::POST, &path, &json!({"query": "App", "workspaces": ["nowhere"]})).await;
    assert_eq!(nowhere.error(), (400, "FailedToResolveResource"));

    let headers = [
        ("authorization", &*format!("Bearer {ADMIN}")),
        ("prefer", "wait=30,include-statistics=true,include-render=true,include-dataSources=true"),
    ];
    let whole =
        door.send(Method::POST, &path, &headers, json!({"query": "App | render barchart", "workspaces": ["annex"]}).to_string()).await;
    assert!(whole.body["statistics"]["query"]["executionTime"].is_number(), "{}", whole.body);
    assert_eq!(whole.body["render"]["visualization"], "barchart");
    let sources: Vec<&str> =
        whole.body["dataSources"].as_array().unwrap().iter().map(|source| source["resourceId"].as_str().unwrap()).collect();
    assert_eq!(sources, [resource("default"), resource("annex")]);

    let wrong = door.call(Method::POST, &path, &json!({"query": "App\n| wher n > 1"})).await;
    let error = &wrong.body["error"];
    assert_eq!(wrong.error(), (400, "BadArgumentError"));
    assert_eq!((&error["innererror"]["code"], &error["innererror"]["innererror"]["line"]), (&json!("SyntaxError"), &json!(2)), "{error}");

    let item = |id: &str, text: &str| json!({"id": id, "body": {"query": text, "timespan": null, "workspaces": null}, "headers": {"Prefer": ""}, "workspace": "default", "path": "/query", "method": "POST"});
    let mut items = vec![item("a", "App | count"), item("b", "App | wher"), item("c", "range x from 1 to 9 step 1"), item("d", "App")];
    items[3]["workspace"] = json!("nowhere");
    let batch = door.call(Method::POST, "/v1/$batch", &json!({"requests": items})).await;
    assert_eq!(batch.status, 200, "{}", batch.body);
    let of = |id: &str| batch.body["responses"].as_array().unwrap().iter().find(|answer| answer["id"] == id).unwrap().clone();
    assert_eq!((&of("a")["status"], &of("a")["body"]["tables"][0]["rows"]), (&json!(200), &json!([[2]])));
    assert_eq!((&of("b")["status"], &of("b")["body"]["error"]["code"]), (&json!(400), &json!("BadArgumentError")));
    assert_eq!((&of("c")["status"], &of("c")["body"]["error"]["code"]), (&json!(200), &json!("PartialError")));
    assert_eq!(of("c")["body"]["tables"][0]["rows"], json!([[1], [2], [3]]));
    assert_eq!((&of("d")["status"], &of("d")["body"]["error"]["code"]), (&json!(404), &json!("PathNotFoundError")));
    for wrong in [json!({"requests": []}), json!({}), json!({"requests": [item("a", "App"), item("a", "App")]})] {
        let refused = door.call(Method::POST, "/v1/$batch", &wrong).await;
        assert_eq!(refused.error(), (400, "BadArgumentError"), "{wrong}");
    }
    let told = door.call(Method::POST, "/v1/workspaces/default/metadata", &Value::Null).await.body;
    assert_eq!((&told["tables"][0]["name"], &told["workspaces"][0]["name"]), (&json!("App"), &json!("default")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_took_too_long_is_not_run_again_for_the_same_request() {
    let door = Door::open(|config| config.query.time_max_ms = 100).await;
    let text = json!({"query": "range a from 1 to 100000 step 1 | extend k = 1 | join kind=inner (range b from 1 to 100000 step 1 | extend k = 1) on k | summarize count()"}).to_string();
    let ask = async |id: &str| {
        let headers = [("authorization", &*format!("Bearer {ADMIN}")), ("x-ms-client-request-id", id)];
        door.send(Method::POST, "/v1/workspaces/default/query", &headers, text.clone()).await
    };
    let first = ask("one").await;
    assert_eq!(first.error(), (504, "QueryTimeout"), "{}", first.body);
    assert!(first.headers.get("retry-after").is_none(), "nobody is asked to try again");
    let again = ask("one").await;
    assert!(again.body["error"]["message"].as_str().unwrap().contains("a moment ago"), "{}", again.body);
    assert!(!ask("two").await.body["error"]["message"].as_str().unwrap().contains("a moment ago"), "another request is run");
}

#[tokio::test(flavor = "multi_thread")]
async fn kusto_clients_are_answered_in_both_versions() {
    let door = Door::open(|config| config.query.rows_max = 3).await;
    let headers = [("authorization", &*format!("Bearer {ADMIN}"))];
    let rows = "{\"n\":1,\"d\":{\"k\":1},\"s\":\"a\"}";
    assert_eq!(door.send(Method::POST, "/v1/workspaces/default/ingest/App", &headers, rows).await.status, 200);
    let text = "declare query_parameters(x:long); App | project n = n + x, d, s, t = 1h, r = 0.5";
    let properties = json!({"Options": {"servertimeout": "0:04:00"}, "Parameters": {"x": "41"}}).to_string();
    let call = json!({"db": "default", "csl": text, "properties": properties});
    let one = door.call(Method::POST, "/v1/rest/query", &call).await.body;
    assert_eq!(one["Tables"][0]["Rows"], json!([[42, {"k": 1}, "a", "01:00:00", 0.5]]), "{one}");
    assert_eq!(one["Tables"][0]["Columns"][0], json!({"ColumnName": "n", "DataType": "Int64", "ColumnType": "long"}));
    let two = door.call(Method::POST, "/v2/rest/query", &call).await.body;
    let kinds: Vec<&str> =
        two.as_array().unwrap().iter().map(|frame| frame["TableKind"].as_str().or(frame["FrameType"].as_str()).unwrap()).collect();
    assert_eq!(kinds, ["DataSetHeader", "QueryProperties", "PrimaryResult", "QueryCompletionInformation", "DataSetCompletion"]);
    assert_eq!((&two[2]["Rows"], &two[4]["HasErrors"]), (&one["Tables"][0]["Rows"], &json!(false)));
    let cut = json!({"db": "default", "csl": "range x from 1 to 9 step 1"});
    assert_eq!(door.call(Method::POST, "/v2/rest/query", &cut).await.body[4]["HasErrors"], true);

    let manage = async |text: &str| {
        let answer = door.call(Method::POST, "/v1/rest/mgmt", &json!({"db": "default", "csl": text})).await;
        assert_eq!(answer.status, 200, "{text}: {}", answer.body);
        answer.body["Tables"][0]["Rows"].clone()
    };
    assert_eq!(manage(".show tables").await, json!([["App", "default", "", ""]]));
    assert_eq!(manage(".show table App cslschema").await[0][1], "TimeGenerated:datetime,n:long,d:dynamic,s:string");
    assert!(manage(".show table App schema as json").await[0][1].as_str().unwrap().contains("\"CslType\":\"datetime\""));
    assert_eq!(manage(".show database schema").await.as_array().unwrap().len(), 5);
    assert_eq!(manage(".show databases").await[0][0], "default");
    assert!(manage(".show version").await[0][3].as_str().unwrap().starts_with("Strongroom"));

    for (path, db, text, expected) in [
        ("/v2/rest/query", "default", "App | wher", (400, "BadRequest_SyntaxError")),
        ("/v2/rest/query", "default", "Nowhere", (400, "BadRequest_SemanticError")),
        ("/v1/rest/query", "nowhere", "App", (400, "BadRequest_EntityNotFound")),
        ("/v1/rest/mgmt", "default", ".show table Nowhere cslschema", (400, "BadRequest_EntityNotFound")),
        ("/v1/rest/mgmt", "default", ".drop table App", (400, "BadRequest_UnknownCommand")),
    ] {
        let refused = door.call(Method::POST, path, &json!({"db": db, "csl": text})).await;
        assert_eq!(refused.error(), expected, "{}", refused.body);
        assert_eq!(refused.body["error"]["@permanent"], true);
    }
    let metadata = door.send(Method::GET, "/v1/rest/auth/metadata", &[], "").await.body;
    assert_eq!(metadata["AzureAD"]["LoginEndpoint"], "http://logs.example:7700");
}

/// What is made wrong in a rule's flow.
type Change = fn(&mut Value);
