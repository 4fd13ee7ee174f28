//! Who may do what, and what the others see.

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use strongroom_tests::Site;

struct Caller<'a> {
    site: &'a Site,
    token: String,
}

impl Caller<'_> {
    fn call(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        let reply = Client::new()
            .request(method, format!("{}{path}", self.site.base()))
            .bearer_auth(&self.token)
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
            .unwrap();
        let status = reply.status().as_u16();
        (status, reply.json().unwrap_or(Value::Null))
    }
}

fn token<'a>(site: &'a Site, role: &str, workspace: Option<&str>) -> Caller<'a> {
    let reply = site.request(Method::POST, "/v1/principals").json(&json!({"role": role, "workspace": workspace})).send().unwrap();
    let status = reply.status();
    let body: Value = reply.json().unwrap();
    assert_eq!(status, 201, "{body}");
    Caller { site, token: body["token"].as_str().unwrap().to_owned() }
}

fn workspace(site: &Site, name: &str) -> String {
    let reply = site.request(Method::POST, "/v1/workspaces").json(&json!({"name": name})).send().unwrap();
    let status = reply.status();
    let body: Value = reply.json().unwrap();
    assert_eq!(status, 201, "{body}");
    body["id"].as_str().unwrap().to_owned()
}

const QUERY: &str = r#"{"query":"T | count"}"#;

#[test]
fn a_token_does_what_its_role_says_where_its_scope_says() {
    let site = Site::start();
    let (mine, other) = (workspace(&site, "mine"), workspace(&site, "other"));
    let agent = token(&site, "Ingest", Some("mine"));
    let reader = token(&site, "Reader", Some("mine"));
    let ingest = |who: &Caller<'_>, at: &str| who.call(Method::POST, &format!("/v1/workspaces/{at}/ingest/T"), r#"{"a":1}"#).0;
    let query = |who: &Caller<'_>, at: &str| who.call(Method::POST, &format!("/v1/workspaces/{at}/query"), QUERY).0;
    assert_eq!(ingest(&agent, &mine), 200);
    assert_eq!(ingest(&agent, "mine"), 200);
    assert_eq!(query(&reader, &mine), 200);
    assert_eq!(query(&agent, &mine), 403, "an agent reads nothing");
    assert_eq!(ingest(&reader, &mine), 403, "a reader writes nothing");
    let metadata = format!("/v1/workspaces/{mine}/metadata");
    assert_eq!(agent.call(Method::GET, &metadata, "").0, 403, "nor what the columns are called");
    let (status, told) = reader.call(Method::GET, &metadata, "");
    assert_eq!(status, 200, "{told}");
    let columns = json!([{"name": "TimeGenerated", "type": "datetime"}, {"name": "a", "type": "long"}]);
    let named = |list: &str, name: &str| told[list].as_array().unwrap().iter().find(|entry| entry["name"] == name).cloned();
    assert_eq!(named("tables", "T"), Some(json!({"name": "T", "columns": columns})));
    let strlen = named("functions", "strlen").unwrap();
    assert_eq!((&strlen["signature"], &strlen["kind"]), (&json!("strlen(text)"), &json!("function")), "{strlen}");
    assert!(!strlen["meaning"].as_str().unwrap().is_empty() && named("functions", "percentile").is_some(), "{strlen}");
    assert!(named("operators", "where").is_some() && named("operators", "macro-expand").is_none(), "only what is here");
    for path in ["/v1/principals", "/v1/cache"] {
        assert_eq!(reader.call(Method::GET, path, "").0, 403, "{path}");
    }
    assert_eq!(reader.call(Method::POST, "/v1/workspaces", r#"{"name":"x"}"#).0, 403);
    assert_eq!(reader.call(Method::POST, &format!("/v1/workspaces/{mine}/flush"), "").0, 403);
    // What is another's looks like what is not there, to the byte.
    for who in [&agent, &reader] {
        for (method, path, body) in [
            (Method::POST, "ingest/T", r#"{"a":1}"#),
            (Method::POST, "query", QUERY),
            (Method::GET, "tables", ""),
            (Method::GET, "metadata", ""),
            (Method::POST, "flush", ""),
        ] {
            let foreign = who.call(method.clone(), &format!("/v1/workspaces/{other}/{path}"), body);
            let absent = who.call(method.clone(), &format!("/v1/workspaces/01890000-0000-7000-8000-000000000000/{path}"), body);
            let by_name = who.call(method, &format!("/v1/workspaces/other/{path}"), body);
            assert_eq!(foreign.0, 404, "{path}: {}", foreign.1);
            let blind = |answer: &(u16, Value), name: &str| answer.1.to_string().replace(name, "X");
            assert_eq!(blind(&foreign, &other), blind(&absent, "01890000-0000-7000-8000-000000000000"), "{path}");
            assert_eq!(by_name.0, 404);
        }
    }
    let (_, listed) = reader.call(Method::GET, "/v1/workspaces", "");
    assert_eq!(listed["value"].as_array().unwrap().len(), 1, "{listed}");
    // Rows of one are not rows of the other.
    assert_eq!(site.request(Method::POST, &format!("/v1/workspaces/{other}/ingest/T")).body(r#"{"b":1}"#).send().unwrap().status(), 200);
    let (_, answer) = reader.call(Method::POST, &format!("/v1/workspaces/{mine}/query"), QUERY);
    assert_eq!(answer["tables"][0]["rows"], json!([[2]]), "{answer}");
}

#[test]
fn no_token_a_wrong_one_and_a_deleted_one_open_nothing() {
    let site = Site::start();
    let bare = Client::new().get(format!("{}/v1/workspaces", site.base())).send().unwrap();
    assert_eq!(bare.status(), 401);
    let told = bare.headers()["www-authenticate"].to_str().unwrap();
    assert!(told.starts_with("Bearer authorization_uri=\"http://127.0.0.1:"), "{told}");
    let code = bare.json::<Value>().unwrap()["error"]["code"].clone();
    assert_eq!(code, "AuthenticationFailed");
    for wrong in ["", "nonsense", "srt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let caller = Caller { site: &site, token: wrong.to_owned() };
        assert_eq!(caller.call(Method::GET, "/v1/workspaces", "").0, 401, "{wrong:?}");
    }
    let basic = Client::new().get(format!("{}/v1/workspaces", site.base())).basic_auth("admin", Some("admin")).send().unwrap();
    assert_eq!(basic.status(), 401);
    let gone = token(&site, "Reader", None);
    assert_eq!(gone.call(Method::GET, "/v1/workspaces", "").0, 200);
    let listed: Value = site.request(Method::GET, "/v1/principals").send().unwrap().json().unwrap();
    assert!(!listed.to_string().contains("srt_"), "tokens are shown once: {listed}");
    let reader = listed["value"].as_array().unwrap().iter().find(|row| row["role"] == "Reader").unwrap();
    let id = reader["id"].as_str().unwrap();
    assert_eq!(site.request(Method::DELETE, &format!("/v1/principals/{id}")).send().unwrap().status(), 204);
    // The catalog is asked at least once a second.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while gone.call(Method::GET, "/v1/workspaces", "").0 != 401 {
        assert!(std::time::Instant::now() < deadline, "a deleted token still works");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(site.request(Method::POST, "/v1/principals").json(&json!({"role": "Emperor"})).send().unwrap().status(), 400);
}

#[test]
fn names_are_checked_and_taken_once() {
    let site = Site::start();
    workspace(&site, "shop");
    for (name, status) in [("shop", 409), ("SHOP", 409), ("../x", 400), ("", 400), ("has space", 400)] {
        let reply = site.request(Method::POST, "/v1/workspaces").json(&json!({"name": name})).send().unwrap();
        let got = reply.status().as_u16();
        let body: Value = reply.json().unwrap();
        assert_eq!(got, status, "{name:?}: {body}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| !text.is_empty()));
    }
    for table in ["9x", "a-b", "a%20b", "a%2Fb"] {
        let reply = site.request(Method::POST, &format!("/v1/workspaces/shop/ingest/{table}")).body("{}").send().unwrap();
        assert_eq!(reply.status(), 400, "{table}");
    }
}
