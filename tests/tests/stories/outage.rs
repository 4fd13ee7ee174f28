//! While a key is away: rows are kept, refused or dropped, and what was acked is there once when the key is back.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::lock::{Cluster, VaultSite, files};
use strongroom_tests::{ADMIN, Site, binary};

use crate::lock::{brisk, check, rows, take, until};

/// A linked workspace, and a vault that can be stopped.
struct House {
    site: Site,
    vault: VaultSite,
    cluster: Cluster,
}

impl House {
    fn new(first: u64) -> Self {
        let (site, vault) = (Site::start_with(brisk()), VaultSite::start());
        vault.create_key("kek");
        site.know_vault("customers", &vault);
        let cluster = site.locked_cluster("shop-cluster", &vault, "kek");
        site.link("default", &cluster).unwrap();
        if first > 0 {
            take(&site, "default", 0, first);
        }
        Self { site, vault, cluster }
    }

    /// Nobody answers, and this server has never unwrapped anything.
    fn restart_without_vault(&mut self) {
        self.vault.kill();
        self.site.kill();
        self.site.restart();
    }

    fn sealed(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        files(&self.site.data_dir().join("sealed"))
    }

    fn policy(&self, policy: &str) {
        let output = self.site.cli(&["workspace", "set-policy", "default", "--while-revoked", policy]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Sends rows; status, headers that matter, body.
    fn send(&self, id: Option<&str>, body: String) -> (u16, Option<String>, Option<String>, Value) {
        let mut request = self.site.request(Method::POST, "/v1/workspaces/default/ingest/App").body(body);
        if let Some(id) = id {
            request = request.header("x-batch-id", id);
        }
        let reply = request.send().unwrap();
        let header = |name: &str| reply.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (state, dropped) = (header("x-ingest-state"), header("x-ingest-dropped"));
        let retry = header("retry-after");
        let status = reply.status().as_u16();
        assert_eq!(status == 503, retry.is_some(), "who is to come again is told when");
        (status, state, dropped, reply.json().unwrap())
    }
}

#[test]
fn a_server_that_starts_in_an_outage_takes_rows_and_has_them_once_when_it_is_over() {
    let mut house = House::new(30);
    house.restart_without_vault();
    let (status, body) = house.site.ask("default", "App | count");
    assert_eq!((status, body["error"]["code"].as_str()), (503, Some("KeyVaultUnavailable")), "{body}");
    let (status, state, _, body) = house.send(Some("b1"), rows(30, 20));
    assert_eq!((status, state.as_deref()), (200, Some("buffered")), "{body}");
    assert_eq!(body, json!({"accepted": 20, "rejected": 0, "duplicate": false, "state": "buffered"}), "and nothing of columns");
    assert_eq!(house.send(Some("b1"), rows(30, 20)).3["duplicate"], true);
    // Killed in the outage, with requests under way: what was acked stays, the rest is sent again under its id.
    let mut acked = Vec::new();
    for n in 0..3_u64 {
        assert_eq!(house.send(Some(&format!("c{n}")), rows(50 + n * 10, 10)).0, 200);
        acked.push(n);
        house.site.kill();
        house.site.restart();
    }
    for n in acked {
        assert_eq!(house.send(Some(&format!("c{n}")), rows(50 + n * 10, 10)).0, 200, "sent again to a process that forgot");
    }
    assert!(!house.sealed().is_empty());
    for (path, bytes) in files(&house.site.data_dir()) {
        assert!(!bytes.windows(5).any(|part| part == b"\"odd\"" || part == b"even\""), "{} shows a row", path.display());
    }
    house.vault.restart();
    house.site.until_key(&house.cluster, "Active");
    until("everything is there", || house.site.ask("default", "App | count").1["tables"][0]["rows"] == json!([[80]]));
    check(&house.site, "default", 80);
    until("the buffer is empty", || house.sealed().is_empty());
    let (status, state, _, body) = house.send(Some("b1"), rows(30, 20));
    assert_eq!((status, state, body["duplicate"].as_bool()), (200, None, Some(true)), "remembered");
    check(&house.site, "default", 80);
}

fn dies_opening_at(point: &str) {
    let mut house = House::new(10);
    house.restart_without_vault();
    for n in 0..5_u64 {
        assert_eq!(house.send(None, rows(10 + n * 10, 10)).0, 200);
    }
    house.site.kill();
    house.site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
    house.vault.restart();
    house.site.restart();
    assert!(!house.site.wait().success(), "it was to die");
    house.site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    house.site.restart();
    house.site.until_key(&house.cluster, "Active");
    until("everything is there", || house.site.ask("default", "App | count").1["tables"][0]["rows"] == json!([[60]]));
    until("the buffer is empty", || house.sealed().is_empty());
    check(&house.site, "default", 60);
}

#[test]
fn dies_before_what_was_opened_is_committed() {
    dies_opening_at("restore.buffer");
}
#[test]
fn dies_before_what_was_opened_is_erased() {
    dies_opening_at("restore.buffer_erase");
}

#[test]
fn while_revoked_rows_are_refused_sealed_or_dropped_as_the_workspace_says() {
    let mut house = House::new(10);
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");

    let (status, state, dropped, body) = house.send(Some("one"), rows(10, 5));
    assert_eq!((status, state, dropped), (503, None, None), "{body}");
    assert_eq!(body["error"]["code"], "CustomerKeyRevoked");
    assert!(body["error"]["message"].as_str().unwrap().contains("not accepted"), "{body}");

    house.policy("seal");
    let (status, state, _, body) = house.send(Some("one"), rows(10, 5));
    assert_eq!((status, state.as_deref(), &body["accepted"]), (200, Some("sealed"), &json!(5)), "{body}");

    let status = house.site.key_status(&house.cluster);
    assert_eq!(status["sealedWaiting"]["segments"], 1, "{status}");
    assert!(status["sealedWaiting"]["bytes"].as_u64().unwrap() > 0 && status["sealedWaiting"]["sinceMs"].is_i64(), "{status}");
    let page = house.site.cli(&["key", "status", "--cluster", &house.cluster.name]);
    assert!(String::from_utf8_lossy(&page.stdout).contains("waiting sealed"), "{}", String::from_utf8_lossy(&page.stdout));

    house.policy("drop");
    let (status, state, dropped, body) = house.send(None, rows(1_000, 7));
    assert_eq!((status, state, dropped.as_deref()), (200, None, Some("7")), "{body}");
    assert!(body.get("accepted").is_none(), "nothing is said to be accepted that was not: {body}");

    let shown: Value = house.site.request(Method::GET, "/v1/workspaces/default").send().unwrap().json().unwrap();
    assert_eq!(shown["cmkIngestPolicy"], "drop");
    let of_app = shown["whileKeyAway"].as_array().unwrap().iter().find(|row| row["table"] == "App").unwrap();
    let counts = ["refusedRequests", "sealedRows", "droppedRows"].map(|name| of_app[name].as_u64().unwrap());
    assert_eq!(counts, [1, 5, 7], "{shown}");
    let path = format!("{}/Microsoft.OperationalInsights/workspaces/default", house.site.provider());
    assert_eq!(house.site.arm(Method::GET, &path, None).1["properties"]["cmkIngestPolicy"], "drop");
    let (status, body) = house.site.arm(Method::PATCH, &path, Some(json!({"properties": {"cmkIngestPolicy": "forget"}})));
    assert_eq!((status, &body["error"]["code"]), (400, &json!("InvalidParameter")), "{body}");
    let (status, _) = house.site.arm(Method::PATCH, &path, Some(json!({"properties": {"cmkIngestPolicy": "refuse"}})));
    assert_eq!(status, 200);

    house.vault.enable("kek", "", true);
    house.site.until_key(&house.cluster, "Active");
    until("what was sealed is there", || house.site.ask("default", "App | count").1["tables"][0]["rows"] == json!([[15]]));
    check(&house.site, "default", 15);
    until("nothing waits any more", || house.site.key_status(&house.cluster)["sealedWaiting"]["segments"] == 0);
    let told = |house: &House, event: &str| -> Value {
        let reply = house.site.request(Method::GET, &format!("/v1/audit?limit=1000&event={event}")).send().unwrap();
        reply.json::<Value>().unwrap()["value"][0].clone()
    };
    until("the chain knows of the opening", || told(&house, "buffer.opened").is_object());
    let opened = told(&house, "buffer.opened");
    assert_eq!((&opened["details"]["requests"], &opened["details"]["rows"]), (&json!(1), &json!(5)), "{opened}");
    assert!(opened["cluster"].is_string(), "{opened}");
    // Counts are told by the minute, or when the server ends.
    house.site.terminate();
    house.site.restart();
    let kept = told(&house, "buffer.sealed");
    assert_eq!(
        (&kept["details"]["requests"], &kept["details"]["rows"], &kept["details"]["table"]),
        (&json!(1), &json!(5), &json!("App")),
        "{kept}"
    );
}

/// Our own agent, and curl as it retries by itself, over a revocation; `STRONGROOM_TEST_REVOKED_S=600` for ten minutes of it.
#[test]
fn agents_that_retry_lose_nothing_over_a_revocation() {
    const BATCHES: u64 = 40;
    let revoked: u64 = std::env::var("STRONGROOM_TEST_REVOKED_S").map_or(5, |text| text.parse().unwrap());
    let house = House::new(0);
    house.vault.enable("kek", "", false);
    house.site.until_key(&house.cluster, "Revoked");

    let patience = format!("{}s", revoked + 120);
    let file = house.site.root().join("rows.ndjson");
    std::fs::write(&file, rows(0, 2_000)).unwrap();
    let agent = |arguments: &[&str]| -> Child {
        let mut command = Command::new(binary());
        command.args(arguments).env("STRONGROOM_SERVER", house.site.base()).env("STRONGROOM_TOKEN", ADMIN);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let path = file.display().to_string();
    let own = agent(&["ingest", &path, "--table", "App", "--workspace", "default", "--batch-bytes", "4096", "--retry-for", &patience]);
    let curls: Vec<Child> = (0..4)
        .map(|part| {
            // One after the other, as a shipper with a queue does; each retried by curl's own rules.
            let script: Vec<String> = (0..BATCHES / 4)
                .map(|n| {
                    let from = 2_000 + (part * (BATCHES / 4) + n) * 10;
                    let body = rows(from, 10).replace('\n', "\\n");
                    format!(
                        "printf '%b' '{}' | curl --silent --show-error --fail --retry 10000 --retry-delay 1 --retry-max-time {} \
                         -H 'Authorization: Bearer {ADMIN}' -H 'x-batch-id: curl-{from}' --data-binary @- \
                         {}/v1/workspaces/default/ingest/App > /dev/null || exit 1\n",
                        body,
                        revoked + 120,
                        house.site.base(),
                    )
                })
                .collect();
            Command::new("sh").args(["-c", &script.concat()]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_secs(revoked));
    house.vault.enable("kek", "", true);
    house.site.until_key(&house.cluster, "Active");
    for child in std::iter::once(own).chain(curls) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    check(&house.site, "default", 2_000 + BATCHES * 10);
    let shown: Value = house.site.request(Method::GET, "/v1/workspaces/default").send().unwrap().json().unwrap();
    let refused: u64 = shown["whileKeyAway"].as_array().unwrap().iter().map(|row| row["refusedRequests"].as_u64().unwrap()).sum();
    assert!(refused >= 5, "all five were told no: {shown}");
}
