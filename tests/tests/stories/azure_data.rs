//! Azure's data planes by the official clients, and what their senders are told while the customer's key is away.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};
use sha2::Sha256;
use strongroom_tests::lock::VaultSite;
use strongroom_tests::{ADMIN, Site, Start, azure};

use crate::lock::{brisk, until};

fn workspace_id(site: &Site, name: &str) -> String {
    let reply: Value = site.request(Method::GET, &format!("/v1/workspaces/{name}")).send().unwrap().json().unwrap();
    reply["id"].as_str().unwrap().to_owned()
}

fn shared_keys(site: &Site, name: &str) -> (String, String) {
    let (status, keys) =
        site.arm(Method::POST, &format!("{}/Microsoft.OperationalInsights/workspaces/{name}/sharedKeys", site.provider()), None);
    assert_eq!(status, 200, "{keys}");
    let key = |name: &str| keys[name].as_str().unwrap().to_owned();
    (key("primarySharedKey"), key("secondarySharedKey"))
}

#[test]
fn the_official_clients_send_rows_and_ask_questions() {
    let site = Site::start_with(Start::default());
    site.create_workspace("annex");
    let row = json!({"n": 1, "verb": "GET"}).to_string();
    assert_eq!(site.send("annex", "Web_CL", row).0, 200);
    let told = azure::script("data_doors.py", &[site.base(), ADMIN, &site.provider()], &[]);
    assert!(told.contains("all data doors answer"), "{told}");

    // A sender of the retired API: an access log as a web server writes it, in pieces, with either key.
    let mut log = String::new();
    let now = chrono::Utc::now();
    for n in 0..500_u32 {
        let at = (now - chrono::Duration::seconds(i64::from(n))).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        writeln!(log, "10.0.0.{} - - [{at}] \"GET /page/{} HTTP/1.1\" {} {}", n % 9, n % 7, if n % 50 == 0 { 500 } else { 200 }, n * 10)
            .unwrap();
    }
    let file = site.root().join("access.log");
    std::fs::write(&file, &log).unwrap();
    let (id, (primary, secondary)) = (workspace_id(&site, "default"), shared_keys(&site, "default"));
    let file = file.to_str().unwrap();
    for key in [&primary, &secondary] {
        assert_eq!(azure::script("collector.py", &[site.base(), &id, key, "Access", file], &[]).trim(), "200");
    }
    let forged =
        azure::script("collector.py", &[site.base(), &id, &secondary.replace(['A', 'B', 'C', 'D', 'E'], "F"), "Access", file], &[]);
    assert_eq!(forged.trim(), "403 InvalidAuthorization");
    let answer = site.kql("Access_CL | summarize count(), sum(bytes_d), countif(status_d == 500), dcount(host_s)");
    assert_eq!(answer, [[json!(1_000), json!(2_495_000.0), json!(20), json!(9)]]);
    assert_eq!(site.kql("Access_CL | where TimeGenerated == at_t | count"), [[json!(1_000)]]);

    // Kept through a stop without warning: a 204 and a 200 are promises.
    let mut site = site;
    site.kill();
    site.restart();
    assert_eq!(site.kql("Access_CL | count"), [[json!(1_000)]]);
    assert_eq!(site.kql("Web_CL | where isnotnull(n) | count"), [[json!(5_000)]]);
}

/// A post as senders of the Data Collector API sign it.
fn collect(site: &Site, id: &str, key: &str, body: &str) -> Response {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let text = format!("POST\n{}\napplication/json\nx-ms-date:{date}\n/api/logs", body.len());
    let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(key).unwrap()).unwrap();
    mac.update(text.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    Client::new()
        .post(format!("{}/api/logs?api-version=2016-04-01", site.base()))
        .header("Authorization", format!("SharedKey {id}:{signature}"))
        .header("x-ms-date", date)
        .header("Log-Type", "Signed")
        .header("Content-Type", "application/json")
        .body(body.to_owned())
        .send()
        .unwrap()
}

#[test]
fn senders_are_told_what_becomes_of_their_rows_while_the_key_is_away() {
    let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("shop-cluster", &vault, "kek");
    let (id, (key, _)) = (workspace_id(&site, "default"), shared_keys(&site, "default"));
    let rules = format!("{}/Microsoft.Insights/dataCollectionRules", site.provider());
    let rule = json!({"location": "local", "properties": {
        "streamDeclarations": {"Custom-In": {"columns": [{"name": "n", "type": "long"}, {"name": "secretcolumn", "type": "string"}]}},
        "destinations": {"logAnalytics": [{"name": "la", "workspaceResourceId": format!("{}/Microsoft.OperationalInsights/workspaces/default", site.provider())}]},
        "dataFlows": [{"streams": ["Custom-In"], "destinations": ["la"], "transformKql": "source | extend n = n * 10", "outputStream": "Custom-Shaped_CL"}],
    }});
    // One from before the link is behind the key all the same.
    assert_eq!(site.arm(Method::PUT, &format!("{rules}/early"), Some(rule.clone())).0, 201);
    site.link("default", &cluster).unwrap();
    let (status, made) = site.arm(Method::PUT, &format!("{rules}/r"), Some(rule));
    assert_eq!(status, 201, "{made}");
    let rule = made["properties"]["immutableId"].as_str().unwrap().to_owned();
    let pour = |n: u64| {
        let path = format!("/dataCollectionRules/{rule}/streams/Custom-In?api-version=2023-01-01");
        site.request(Method::POST, &path).json(&json!([{"n": n, "secretcolumn": "x"}])).send().unwrap()
    };
    let sign = |n: u64| collect(&site, &id, &key, &json!([{"n": n}]).to_string());
    assert_eq!((pour(1).status().as_u16(), sign(1).status().as_u16()), (204, 200));

    vault.enable("kek", &vault.newest("kek"), false);
    site.until_key(&cluster, "Revoked");
    // refuse, which is how a workspace is made: nothing is taken, and the text says so.
    for (answer, code) in [(pour(2), "/error/code"), (sign(2), "/Error")] {
        assert_eq!(answer.status(), 403);
        assert!(answer.headers().get("retry-after").is_none(), "it would be tried again for ever");
        let body: Value = answer.json().unwrap();
        assert_eq!(body.pointer(code), Some(&json!("CustomerKeyRevoked")), "{body}");
        let text = body.to_string();
        assert!(text.contains("not accepted") && !text.contains("dropped"), "{text}");
    }
    // What a rule says is the customer's too.
    for name in ["r", "early"] {
        let (status, hidden) = site.arm(Method::GET, &format!("{rules}/{name}"), None);
        assert_eq!((status, &hidden["error"]["code"]), (403, &json!("CustomerKeyRevoked")), "{hidden}");
    }
    let (status, listed) = site.arm(Method::GET, &rules, None);
    assert_eq!((status, &listed["value"][1]["properties"]["immutableId"]), (200, &json!(rule)));
    assert!(!listed.to_string().contains("secretcolumn"), "{listed}");
    let (status, asked) = site.ask("default", "Shaped_CL");
    assert_eq!((status, &asked["error"]["code"]), (403, &json!("CustomerKeyRevoked")));
    let kusto = site.request(Method::POST, "/v2/rest/query").json(&json!({"db": "default", "csl": "Shaped_CL"})).send().unwrap();
    assert_eq!(kusto.status(), 403);
    assert_eq!(kusto.json::<Value>().unwrap()["error"]["code"], "CustomerKeyRevoked");

    // drop: the door's own success, and how many rows are gone.
    let policy = |policy: &str| {
        let reply = site.request(Method::PATCH, "/v1/workspaces/default").json(&json!({"cmkIngestPolicy": policy})).send().unwrap();
        assert_eq!(reply.status(), 200);
    };
    policy("drop");
    let (poured, signed) = (pour(3), sign(3));
    assert_eq!((poured.status().as_u16(), signed.status().as_u16()), (204, 200));
    for answer in [poured, signed] {
        assert_eq!(answer.headers()["x-ingest-dropped"], "1");
    }
    // seal: success, and the rows are there when the key is, shaped by their rule.
    policy("seal");
    let (poured, signed) = (pour(4), sign(4));
    assert_eq!((poured.status().as_u16(), signed.status().as_u16()), (204, 200));
    for answer in [poured, signed] {
        assert_eq!(answer.headers()["x-ingest-state"], "sealed");
    }

    vault.enable("kek", &vault.newest("kek"), true);
    site.until_key(&cluster, "Active");
    until("what was sealed is opened", || site.kql("Shaped_CL | where n == 40 | count") == [[json!(1)]]);
    assert_eq!(site.kql("Shaped_CL | summarize make_set(n)").len(), 1);
    assert_eq!(site.kql("Shaped_CL | project n | sort by n asc"), [[json!(10)], [json!(40)]], "refused and dropped rows are not there");
    until("signed rows, too", || site.kql("Signed_CL | where n_d == 4 | count") == [[json!(1)]]);
    assert_eq!(site.kql("Signed_CL | where n_d in (2, 3) | count"), [[json!(0)]]);

    // A rule goes with its workspace: once it was followed there, the key of the cluster is nothing to it any more.
    site.unlink("default").unwrap();
    assert_eq!(pour(5).status(), 204);
    vault.enable("kek", &vault.newest("kek"), false);
    site.until_key(&cluster, "Revoked");
    assert_eq!(pour(6).status(), 204);
    let (status, shown) = site.arm(Method::GET, &format!("{rules}/r"), None);
    assert_eq!(status, 200, "{shown}");
    // What nobody used since is where it was.
    assert_eq!(site.arm(Method::GET, &format!("{rules}/early"), None).0, 200);
}
