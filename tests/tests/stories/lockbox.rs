//! Lockbox with three tokens: the provider's operator, the owner of the subscription, a contributor of one workspace.

use std::io::Read;

use reqwest::Method;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use strongroom_tests::{Site, Start};

use super::lock::rows;

struct Caller {
    base: String,
    token: String,
}

impl Caller {
    fn new(site: &Site, role: &str, workspace: Option<&str>) -> Self {
        let new = json!({"role": role, "workspace": workspace, "name": role.to_lowercase()});
        let reply: Value = site.request(Method::POST, "/v1/principals").json(&new).send().unwrap().json().unwrap();
        Self { base: site.base().to_owned(), token: reply["token"].as_str().unwrap().to_owned() }
    }

    fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        Client::new().request(method, format!("{}{path}", self.base)).bearer_auth(&self.token).json(body).send().unwrap()
    }

    /// Status, and the code if it is an error.
    fn post(&self, path: &str, body: &Value) -> (u16, String, Value) {
        let reply = self.send(Method::POST, path, body);
        let (status, body) = (reply.status().as_u16(), reply.json::<Value>().unwrap_or_default());
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned(), body)
    }

    fn ask(&self, workspace: &str, text: &str) -> (u16, String, Value) {
        self.post(&format!("/v1/workspaces/{workspace}/query"), &json!({"query": text}))
    }

    fn request(&self, workspace: &str) -> (u16, String, Value) {
        self.post("/v1/lockbox", &json!({"workspace": workspace, "reason": "ticket 4711", "hours": 2}))
    }
}

/// Two workspaces linked to clusters under the provider's key, and one that is not.
fn site(options: Start) -> Site {
    let site = Site::start_with(options);
    for name in ["shop", "bank", "alone"] {
        site.create_workspace(name);
    }
    for name in ["shop", "bank"] {
        let cluster = site.create_cluster(&format!("{name}-cluster"), true);
        site.link(name, &cluster).unwrap();
    }
    for name in ["shop", "bank", "alone"] {
        let (status, body) = site.send(name, "App", rows(0, 100));
        assert_eq!(status, 200, "{body}");
    }
    site
}

#[test]
fn the_operator_sees_what_the_customer_approved_where_and_while_it_did() {
    let site = site(Start::default());
    let (operator, owner) = (Caller::new(&site, "Operator", None), Caller::new(&site, "Owner", None));
    let contributor = Caller::new(&site, "Contributor", Some("shop"));
    // Nothing without an approval: neither what is in memory nor what lies in blocks, nor columns, nor a plan.
    for flushed in [false, true] {
        if flushed {
            site.flush_of("shop");
        }
        for text in ["App | count", "App | getschema", "union *"] {
            let (status, code, body) = operator.ask("shop", text);
            assert_eq!((status, code.as_str()), (403, "LockboxApprovalRequired"), "{text}: {body}");
        }
        let explain = json!({"query": "App | count", "explain": true});
        assert_eq!(operator.post("/v1/workspaces/shop/query", &explain).0, 403);
        let (status, code, _) = operator.ask("alone", "App | count");
        assert_eq!((status, code.as_str()), (403, "AuthorizationFailed"), "not linked: by role");
        assert_eq!(operator.send(Method::GET, "/v1/workspaces/shop/tables", &Value::Null).status(), 403);
        assert_eq!(contributor.ask("shop", "App | count").0, 200, "the customer's own people are not asked");
    }
    let (status, code, body) = operator.request("alone");
    assert_eq!((status, code.as_str()), (400, "LockboxNotApplicable"), "{body}");

    // Asked, answered by a role on the subscription and by no other.
    let (status, _, asked) = operator.request("shop");
    assert_eq!((status, asked["state"].as_str()), (201, Some("Pending")), "{asked}");
    let path = format!("/v1/lockbox/{}", asked["id"].as_str().unwrap());
    assert_eq!(operator.ask("shop", "App | count").0, 403, "asking is not enough");
    let local = Caller::new(&site, "Owner", Some("shop"));
    for (caller, what) in [(&contributor, "contributor"), (&local, "owner of the workspace"), (&operator, "who asked")] {
        let (status, code, body) = caller.post(&format!("{path}/approve"), &Value::Null);
        assert_eq!((status, code.as_str()), (403, "AuthorizationFailed"), "{what}: {body}");
    }
    let (status, _, approved) = owner.post(&format!("{path}/approve"), &Value::Null);
    assert_eq!((status, approved["state"].as_str()), (200, Some("Approved")), "{approved}");
    assert_eq!(approved["untilMs"].as_i64().unwrap() - approved["decidedMs"].as_i64().unwrap(), 2 * 3_600_000);
    let (status, _, body) = operator.ask("shop", "App | count");
    assert_eq!((status, &body["tables"][0]["rows"]), (200, &json!([[100]])));
    // In scope only, and for who asked only.
    assert_eq!(operator.ask("bank", "App | count").1, "LockboxApprovalRequired");
    assert_eq!(Caller::new(&site, "Operator", None).ask("shop", "App | count").1, "LockboxApprovalRequired");

    // Ended early: an answer on its way breaks off.
    let wide = json!({"query": "SELECT a.n, repeat(b.word, 200) AS w FROM \"App\" a CROSS JOIN \"App\" b CROSS JOIN \"App\" c", "language": "sql"});
    let mut stream = Client::new()
        .post(format!("{}/v1/workspaces/shop/query", operator.base))
        .bearer_auth(&operator.token)
        .header("accept", "text/csv")
        .json(&wide)
        .send()
        .unwrap();
    assert_eq!(stream.status(), 200);
    let mut some = vec![0; 1 << 16];
    stream.read_exact(&mut some).unwrap();
    let (status, _, ended) = owner.post(&format!("{path}/end"), &Value::Null);
    assert_eq!((status, ended["state"].as_str()), (200, Some("Ended")), "{ended}");
    let rest = std::io::copy(&mut stream, &mut std::io::sink());
    assert!(rest.is_err(), "the answer came to its end: {rest:?}");
    assert_eq!(operator.ask("shop", "App | count").1, "LockboxApprovalRequired");

    // Rejected.
    let (_, _, asked) = operator.request("bank");
    let path = format!("/v1/lockbox/{}", asked["id"].as_str().unwrap());
    assert_eq!(owner.post(&format!("{path}/reject"), &Value::Null).2["state"], "Rejected");
    assert_eq!(operator.ask("bank", "App | count").1, "LockboxApprovalRequired");
    assert_eq!(owner.post(&format!("{path}/approve"), &Value::Null).1, "LockboxRequestSettled");
}

#[test]
fn auxiliary_tables_are_not_covered_and_regions_without_lockbox_are_named() {
    let environment = vec![("STRONGROOM_LOCKBOX__UNAVAILABLE_REGIONS".to_owned(), r#"["chinaeast","local"]"#.to_owned())];
    let site = site(Start { environment, ..Start::default() });
    let operator = Caller::new(&site, "Operator", None);
    let (status, body) = site.send("shop", "Archive", rows(0, 10));
    assert_eq!(status, 200, "{body}");
    let patch = |plan: &str| {
        site.request(Method::PATCH, "/v1/workspaces/shop/tables/Archive").json(&json!({"plan": plan})).send().unwrap().status()
    };
    assert_eq!(patch("Auxiliary"), 200);
    assert_eq!(operator.ask("shop", "Archive | count").2["tables"][0]["rows"], json!([[10]]));
    assert_eq!(operator.ask("shop", "App | count").1, "LockboxApprovalRequired");
    // One question over both is one over a table that is covered.
    assert_eq!(operator.ask("shop", "union Archive, App | count").1, "LockboxApprovalRequired");
    // The operator cannot make a table one that is not covered.
    let by_operator = operator.send(Method::PATCH, "/v1/workspaces/shop/tables/App", &json!({"plan": "Auxiliary"}));
    assert_eq!(by_operator.status(), 403);
    assert_eq!(patch("Analytics"), 200);
    assert_eq!(operator.ask("shop", "Archive | count").1, "LockboxApprovalRequired");

    let (status, code, body) = operator.request("shop");
    assert_eq!((status, code.as_str()), (400, "LockboxNotAvailable"), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("local"), "{body}");

    // The objects of a linked workspace lie under its cluster's own account, apart from the others'.
    for name in ["shop", "bank", "alone"] {
        site.flush_of(name);
    }
    let accounts: std::collections::BTreeSet<String> = strongroom_tests::lock::files(&site.data_dir().join("objects"))
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(site.data_dir().join("objects")).ok()?.iter().next()?.to_str().map(str::to_owned))
        .filter(|first| first != "keys" && !first.starts_with('.'))
        .collect();
    assert_eq!(accounts.len(), 3, "{accounts:?}");
}
