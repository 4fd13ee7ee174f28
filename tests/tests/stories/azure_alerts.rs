//! Alerts on a real server: made by Azure's command line, fired by rows, told to a real webhook; and what the customer's key has to do
//! with it.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use strongroom_tests::azure::Az;
use strongroom_tests::lock::VaultSite;
use strongroom_tests::scan::{Marker, scan};
use strongroom_tests::{Site, Start, choose_ciphers};

use crate::lock::{brisk, until};

/// A webhook on loopback that takes what comes.
struct Pager {
    address: SocketAddr,
    pem: String,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Pager {
    fn listen() -> Self {
        choose_ciphers();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let (tls, listener) = (Arc::new(tls), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, heard) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let notes = Arc::clone(&heard);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (tls, notes) = (Arc::clone(&tls), Arc::clone(&notes));
                std::thread::spawn(move || {
                    socket.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
                    let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(tls).unwrap(), socket);
                    // Call after call on one connection.
                    while let Some(body) = request(&mut stream) {
                        notes.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                        if write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").and_then(|()| stream.flush()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, pem: made.cert.pem(), heard }
    }

    /// Each call: the host it is about, and whether it began or ended.
    fn told(&self) -> Vec<(String, String)> {
        let heard = self.heard.lock().unwrap();
        let of = |body: &Value, path: &str| body.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let dimension = "/data/alertContext/condition/allOf/0/dimensions/0/value";
        heard.iter().map(|body| (of(body, dimension), of(body, "/data/essentials/monitorCondition"))).collect()
    }

    fn count(&self, host: &str, monitor: &str) -> usize {
        self.told().iter().filter(|(about, how)| about == host && how == monitor).count()
    }
}

fn request(stream: &mut impl std::io::Read) -> Option<Vec<u8>> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        text.extend_from_slice(&buffer[..n]);
        let Some(at) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let top = String::from_utf8_lossy(&text[..at]).to_ascii_lowercase();
        let length: usize = top.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
        if text.len() >= at + 4 + length {
            return Some(text[at + 4..at + 4 + length].to_vec());
        }
    }
}

/// Azure's command line, logged in.
fn login(site: &Site) -> Az {
    let made = site.cli(&["principal", "create", "watch", "--role", "Owner", "--output", "json"]);
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let part = |value: &Value| value.as_str().unwrap().to_owned();
    let (client, tenant, secret) = (part(&made["clientId"]), part(&made["tenantId"]), part(&made["credential"]["secret"]));
    let az = Az { config: site.root().join("az"), ca: site.ca() };
    az.told(&format!("cloud register -n Self --endpoint-resource-manager {}", site.base()));
    az.told("cloud set -n Self");
    az.told(&format!("login --service-principal -u {client} -p {secret} --tenant {tenant}"));
    az
}

fn written(at: &Path, body: &Value) -> String {
    std::fs::write(at, body.to_string()).unwrap();
    format!("@{}", at.display())
}

fn events(site: &Site, name: &str) -> usize {
    let reply = site.request(Method::GET, &format!("/v1/audit?limit=1000&event={name}")).send().unwrap();
    reply.json::<Value>().unwrap()["value"].as_array().unwrap().len()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn rows_fire_a_rule_once_for_each_pair_of_dimensions_and_nothing_of_them_leaves_while_or_after_the_key_is_away() {
    let pager = Pager::listen();
    let vault = VaultSite::start();
    vault.create_key("kek");
    let outside = tempfile::tempdir().unwrap();
    let ca = outside.path().join("pager.pem");
    std::fs::write(&ca, &pager.pem).unwrap();
    let mut environment = brisk().environment;
    environment.extend([
        ("STRONGROOM_TLS__ENABLED".to_owned(), "true".to_owned()),
        ("STRONGROOM_ALERTS__FREQUENCY_MIN_S".to_owned(), "1".to_owned()),
        ("STRONGROOM_OUTBOUND__CA_FILES".to_owned(), json!([ca]).to_string()),
    ]);
    let site = Site::start_with(Start { environment, ..Start::default() });
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("shop-cluster", &vault, "kek");
    site.link("default", &cluster).unwrap();
    let (row_canary, query_canary) = (Marker::new("alert-row"), Marker::new("alert-query"));
    let (host_canary, hook_canary) = (Marker::new("alert-host"), Marker::new("alert-hook"));
    let (busy, calm) = (format!("a-{}", host_canary.text()), "b".to_owned());
    let send = |host: &str, path: &str, count: usize| {
        let row = json!({"host": host, "path": path, "note": row_canary.text()}).to_string() + "\n";
        let (status, body) = site.send("default", "Web", row.repeat(count));
        assert_eq!(status, 200, "{body}");
    };
    send("warm", "/up", 1);

    // Who is called, and when: by Azure's own command line.
    let az = login(&site);
    let group = site.provider().replace("/providers", "");
    let name = group.rsplit('/').next().unwrap();
    let hook = format!("https://{}/hook?token={}", pager.address, hook_canary.text());
    let create = format!("monitor action-group create -g {name} -n ops --short-name ops -l local --action webhook pager {hook}");
    let made = az.told(&create);
    assert_eq!(made["webhookReceivers"][0]["serviceUri"], json!(hook), "{made}");
    let rules = format!("{}/Microsoft.Insights/scheduledQueryRules", site.provider());
    let rule = |query: &str| {
        json!({"location": "local", "properties": {
            "displayName": "too many pages", "severity": 1, "enabled": true, "evaluationFrequency": "PT1S", "windowSize": "PT5S",
            "scopes": [format!("{}/Microsoft.OperationalInsights/workspaces/default", site.provider())],
            "criteria": {"allOf": [{
                "query": query, "timeAggregation": "Count", "operator": "GreaterThan", "threshold": 2,
                "dimensions": [
                    {"name": "host", "operator": "Include", "values": ["*"]}, {"name": "path", "operator": "Exclude", "values": ["/up"]},
                ],
            }]},
            "muteActionsDuration": "PT1H",
            "actions": {"actionGroups": [made["id"]], "customProperties": {"runbook": "pages"}},
        }})
    };
    // A mistake is told with its place, and nothing is kept.
    let (status, wrong) = site.arm(Method::PUT, &format!("{rules}/pages"), Some(rule("Web\n| wehre note == 'x'")));
    assert_eq!((status, &wrong["error"]["code"]), (400, &json!("SyntaxError")), "{wrong}");
    assert_eq!(wrong["error"]["innererror"]["innererror"]["line"], 2, "{wrong}");
    let (status, _) = site.arm(Method::GET, &format!("{rules}/pages"), None);
    assert_eq!(status, 404);
    let query = format!("Web | where note != '{}'", query_canary.text());
    let body = written(&outside.path().join("rule.json"), &rule(&query));
    let url = format!("{}{rules}/pages?api-version=2022-06-15", site.base());
    let made = az.told(&format!("rest --method put --url {url} --body {body}"));
    assert_eq!(made["properties"]["criteria"]["allOf"][0]["query"], json!(query), "{made}");

    // Three rows of one pair and two of another: one fires, once.
    send(&busy, "/page", 3);
    send(&busy, "/up", 9);
    send(&calm, "/page", 2);
    until("the rule fires", || pager.count(&busy, "Fired") == 1);
    let heard = pager.heard.lock().unwrap()[0].clone();
    let essentials = &heard["data"]["essentials"];
    assert_eq!((&essentials["alertRule"], &essentials["severity"]), (&json!("pages"), &json!("Sev1")), "{heard}");
    let of = &heard["data"]["alertContext"]["condition"]["allOf"][0];
    assert_eq!(of["dimensions"], json!([{"name": "host", "value": busy}, {"name": "path", "value": "/page"}]));
    assert_eq!((&of["threshold"], of.get("metricValue")), (&json!(2.0), None), "under a customer's key no number leaves");
    assert_eq!(heard["data"]["customProperties"]["runbook"], "pages");
    send(&busy, "/page", 1);
    until("the rule resolves", || pager.count(&busy, "Resolved") == 1);
    // Again within the hour: it fires and nobody is called.
    let alerts = format!("{}/providers/Microsoft.AlertsManagement/alerts", group.split("/resourceGroups").next().unwrap());
    let listed = || site.arm(Method::GET, &alerts, None).1;
    send(&busy, "/page", 3);
    until("it fires again", || listed()["value"].as_array().unwrap().len() == 2);
    let muted = &listed()["value"][0];
    assert_eq!(muted["properties"]["essentials"]["actionStatus"]["isSuppressed"], true, "{muted}");
    assert_eq!(pager.told(), [(busy.clone(), "Fired".to_owned()), (busy.clone(), "Resolved".to_owned())]);
    // A restart tells nothing a second time.
    let mut site = site;
    site.kill();
    site.restart();
    until("the muted one is over", || {
        let listed = site.arm(Method::GET, &alerts, None).1;
        listed["value"][0]["properties"]["essentials"]["monitorCondition"] == "Resolved"
    });
    assert_eq!(pager.told().len(), 2);
    let rows = site.kql("StrongroomAlerts | summarize count() by MonitorCondition | sort by MonitorCondition asc");
    assert_eq!(rows, [[json!("Fired"), json!(2)], [json!("Resolved"), json!(2)]]);

    // The key is taken away: suspended, one notice, nothing is asked and nothing is told.
    let version = vault.newest("kek");
    vault.enable("kek", &version, false);
    site.until_key(&cluster, "Revoked");
    until("the rule is suspended", || events(&site, "alerts.suspended") == 1);
    let (status, hidden) = site.arm(Method::GET, &format!("{rules}/pages"), None);
    assert_eq!((status, &hidden["error"]["code"]), (403, &json!("CustomerKeyRevoked")), "{hidden}");
    let (_, shown) = site.arm(Method::GET, &rules, None);
    assert_eq!(shown["value"][0]["properties"]["strongroom"]["state"], "suspended", "{shown}");
    assert!(shown["value"][0]["properties"].get("criteria").is_none());
    // And given back: it goes on with what comes from now on.
    vault.enable("kek", &version, true);
    site.until_key(&cluster, "Active");
    until("the rule goes on", || events(&site, "alerts.resumed") == 1);
    assert_eq!(pager.told().len(), 2, "nobody was called for what was not looked at");
    let send = |host: &str, count: usize| {
        let row = json!({"host": host, "path": "/page", "note": row_canary.text()}).to_string() + "\n";
        assert_eq!(site.send("default", "Web", row.repeat(count)).0, 200);
    };
    send("c", 3);
    until("it fires for what is new", || pager.count("c", "Fired") == 1);
    assert_eq!((events(&site, "alerts.suspended"), events(&site, "alerts.resumed"), events(&site, "alerts.failed")), (1, 1, 0));

    // Neither the webhook nor the record nor the log holds a row or the query; nor does anything on disk what is sealed.
    let told = Value::from(pager.heard.lock().unwrap().clone()).to_string();
    let (_, record) = site.arm(Method::GET, &alerts, None);
    for text in [told, record.to_string(), site.output()] {
        assert!(!text.contains(row_canary.text()) && !text.contains(query_canary.text()), "{text}");
    }
    site.terminate();
    drop(std::fs::remove_dir_all(site.root().join("az")));
    assert_eq!(scan(site.root(), &[row_canary, query_canary, host_canary, hook_canary]), Vec::<String>::new());
}
