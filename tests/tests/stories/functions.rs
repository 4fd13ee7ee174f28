//! Stored functions and other workspaces, over the whole server: rights, and nothing in clear.

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use strongroom_tests::Site;
use strongroom_tests::scan::{Marker, scan};

fn call(site: &Site, token: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let request = Client::new().request(method, format!("{}{path}", site.base())).bearer_auth(token);
    let reply = if body.is_null() { request } else { request.json(body) }.send().unwrap();
    (reply.status().as_u16(), reply.json().unwrap_or(Value::Null))
}

fn token(site: &Site, role: &str, workspace: Option<&str>) -> String {
    let reply = site.request(Method::POST, "/v1/principals").json(&json!({"role": role, "workspace": workspace})).send().unwrap();
    reply.json::<Value>().unwrap()["token"].as_str().unwrap().to_owned()
}

fn workspace(site: &Site, name: &str) {
    let made = site.request(Method::POST, "/v1/workspaces").json(&json!({"name": name})).send().unwrap();
    assert_eq!(made.status(), 201);
    let row = format!("{{\"Of\":\"{name}\"}}");
    let sent = site.request(Method::POST, &format!("/v1/workspaces/{name}/ingest/T")).body(row).send().unwrap();
    assert_eq!(sent.status(), 200);
}

#[test]
fn functions_and_other_workspaces_are_for_those_who_may() {
    let mut site = Site::start();
    workspace(&site, "mine");
    workspace(&site, "other");
    let (owner, reader, agent) =
        (token(&site, "Owner", Some("mine")), token(&site, "Reader", Some("mine")), token(&site, "Ingest", Some("mine")));
    let (everywhere, operator) = (token(&site, "Reader", None), token(&site, "Operator", None));
    let canary = Marker::new(&format!("cnryfn{}", hex::encode(rand::random::<[u8; 8]>())));
    let name = format!("f_{}", canary.text());
    let path = format!("/v1/workspaces/mine/functions/{name}");
    let text =
        json!({"parameters": "x:long = 1", "body": format!("T | extend x = x, note = '{}'", canary.text()), "description": canary.text()});
    assert_eq!(call(&site, &owner, Method::PUT, &path, &text).0, 201);
    assert_eq!(call(&site, &owner, Method::PUT, &path, &text).0, 200);
    for who in [&reader, &agent, &operator, &everywhere] {
        assert_eq!(call(&site, who, Method::PUT, &path, &text).0, 403);
        assert_eq!(call(&site, who, Method::DELETE, &path, &Value::Null).0, 403);
    }
    assert_eq!(call(&site, &agent, Method::GET, &path, &Value::Null).0, 403);
    assert_eq!(call(&site, &operator, Method::GET, "/v1/workspaces/mine/functions", &Value::Null).0, 403);
    let (status, shown) = call(&site, &reader, Method::GET, &path, &Value::Null);
    assert_eq!((status, &shown["body"], &shown["parameters"]), (200, &text["body"], &text["parameters"]));
    assert_eq!(call(&site, &owner, Method::GET, "/v1/workspaces/other/functions", &Value::Null).0, 404);
    let (status, wrong) = call(&site, &owner, Method::PUT, &path, &json!({"body": "T\n| wehre x\n| tke 5"}));
    assert_eq!((status, wrong["error"]["details"].as_array().map(Vec::len)), (400, Some(2)), "{wrong}");
    let ask = |who: &str, text: &str| call(&site, who, Method::POST, "/v1/workspaces/mine/query", &json!({"query": text}));
    for who in [&reader, &everywhere, &owner] {
        let (status, answer) = ask(who, &format!("{name}(2) | project Of, x"));
        assert_eq!((status, &answer["tables"][0]["rows"]), (200, &json!([["mine", 2]])), "{answer}");
    }

    let (status, told) = call(&site, &reader, Method::GET, "/v1/workspaces/mine/metadata", &Value::Null);
    let stored = json!([{"name": name, "parameters": text["parameters"], "description": text["description"]}]);
    assert_eq!((status, &told["storedFunctions"]), (200, &stored), "editors know them too");

    let both = "union T, workspace(\"other\").T | project Of | sort by Of asc";
    let (status, answer) = ask(&everywhere, both);
    assert_eq!((status, &answer["tables"][0]["rows"]), (200, &json!([["mine"], ["other"]])), "{answer}");
    let foreign = ask(&reader, "workspace(\"other\").T | count");
    let absent = ask(&reader, "workspace(\"otter\").T | count");
    assert_eq!(foreign.0, 400, "{}", foreign.1);
    assert_eq!(foreign.1.to_string(), absent.1.to_string().replace("otter", "other"), "what is another's looks like what is not there");
    let (status, answer) = ask(&reader, "workspace(\"mine\").T | count");
    assert_eq!((status, &answer["tables"][0]["rows"]), (200, &json!([[1]])));

    site.flush();
    let hits = scan(site.root(), std::slice::from_ref(&canary));
    assert!(hits.is_empty(), "{hits:#?}");
    site.kill();
    site.restart();
    let (status, answer) = call(&site, &reader, Method::POST, "/v1/workspaces/mine/query", &json!({"query": format!("{name} | count")}));
    assert_eq!((status, &answer["tables"][0]["rows"]), (200, &json!([[1]])), "{answer}");
    assert_eq!(call(&site, &owner, Method::DELETE, &path, &Value::Null).0, 204);
    assert_eq!(call(&site, &owner, Method::DELETE, &path, &Value::Null).0, 404);
    assert!(!site.output().contains(canary.text()));
}
