//! The end of data on the real binary.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_catalog::Catalog;
use strongroom_tests::lock::files;
use strongroom_tests::{Site, Start};
use strongroom_world::World;

use super::lock::{rows, until};

/// The stored objects of a workspace: its id is in their path.
fn objects(site: &Site, workspace: &str) -> Vec<PathBuf> {
    let all = files(&site.data_dir().join("objects")).into_iter().map(|(path, _)| path);
    all.filter(|path| path.to_string_lossy().contains(workspace)).collect()
}

fn id_of(site: &Site, workspace: &str) -> String {
    let row: Value = site.request(Method::GET, &format!("/v1/workspaces/{workspace}")).send().unwrap().json().unwrap();
    row["id"].as_str().unwrap().to_owned()
}

fn post(site: &Site, path: &str, body: &Value) -> (u16, Value) {
    let reply = site.request(Method::POST, path).json(body).send().unwrap();
    (reply.status().as_u16(), reply.json().unwrap_or_default())
}

/// A pass of sweep and shredding each second.
fn busy() -> Start {
    let environment = vec![("STRONGROOM_CONTROL__HOUSEKEEPING_EVERY_S".to_owned(), "1".to_owned())];
    Start { environment, ..Start::default() }
}

/// The sealed secrets that a workspace's keys hang on, as they lie in the catalog.
fn secrets(site: &Site, workspace: &str) -> Vec<Vec<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let catalog = Catalog::open(&site.data_dir().join("catalog.sqlite"), World::real()).await.unwrap();
        let mut found = Vec::new();
        for account in catalog.accounts().await.unwrap() {
            for aek in catalog.aeks(account.id).await.unwrap() {
                found.extend(catalog.workspace_secret(workspace.parse().unwrap(), aek.aek).await.unwrap().map(|row| row.cell));
            }
        }
        catalog.close().await;
        found
    })
}

#[test]
fn a_workspace_comes_back_until_it_is_shredded_and_then_copies_of_its_objects_are_noise() {
    let mut site = Site::start_with(busy());
    for name in ["shop", "bank"] {
        site.create_workspace(name);
        assert_eq!(site.send(name, "App", rows(0, 100)).0, 200);
        site.flush_of(name);
        assert_eq!(site.send(name, "App", rows(100, 10)).0, 200);
    }
    let delete = |site: &Site, query: &str| site.request(Method::DELETE, &format!("/v1/workspaces/shop{query}")).send().unwrap();
    assert_eq!(delete(&site, "").status(), 200);
    assert_eq!(site.ask("shop", "App | count").0, 404);
    assert_eq!(site.send("shop", "App", rows(0, 1)).0, 404);
    let (status, body) = post(&site, "/v1/workspaces", &json!({"name": "shop"}));
    assert_eq!(status, 409, "its name is its own: {body}");
    assert_eq!(post(&site, "/v1/workspaces/shop/recover", &Value::Null).0, 200);
    assert_eq!(site.ask("shop", "App | count").1["tables"][0]["rows"], json!([[110]]));

    let copies: Vec<_> = files(&site.data_dir());
    let shop = id_of(&site, "shop");
    assert!(!objects(&site, &shop).is_empty());
    let secrets = secrets(&site, &shop);
    let kept = |site: &Site| -> Vec<PathBuf> {
        let holds = |bytes: &[u8]| secrets.iter().any(|secret| memchr::memmem::find(bytes, secret).is_some());
        files(&site.data_dir()).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
    };
    assert!(!secrets.is_empty() && !kept(&site).is_empty(), "the search finds what is there");
    let gone: Value = delete(&site, "?force=true").json().unwrap();
    assert_eq!(gone["shredded"], true, "{gone}");
    assert_eq!(kept(&site), Vec::<PathBuf>::new(), "its secrets are in no file: neither in the catalog nor in its journal");
    assert_eq!(post(&site, "/v1/workspaces/shop/recover", &Value::Null).0, 404);
    until("the sweep takes its objects", || objects(&site, &shop).is_empty());
    assert_eq!(site.ask("bank", "App | count").1["tables"][0]["rows"], json!([[110]]), "the other one has lost nothing");

    // Everything that lay beside the catalog is put back as it was, and the server started on it.
    site.terminate();
    for (path, bytes) in
        copies.iter().filter(|(path, _)| !path.to_string_lossy().contains("catalog") && !path.to_string_lossy().contains("/audit/"))
    {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if !path.exists() {
            std::fs::write(path, bytes).unwrap();
        }
    }
    site.restart();
    assert_eq!(site.ask("shop", "App | count").0, 404);
    assert_eq!(site.ask("bank", "App | count").1["tables"][0]["rows"], json!([[110]]));
    site.create_workspace("shop");
    let (status, body) = site.ask("shop", "App | count");
    assert_eq!(status, 400, "a new one of that name has none of its tables: {body}");
}

#[test]
fn a_range_of_a_table_goes_and_says_what_it_did() {
    let mut site = Site::start_with(busy());
    let day = |day: u32, from: u32| -> String {
        (0..24)
            .map(|hour| json!({"TimeGenerated": format!("2026-03-{day:02}T{hour:02}:00:00Z"), "n": from + hour}).to_string() + "\n")
            .collect()
    };
    for (at, from) in [(1, 0), (2, 100), (3, 200)] {
        assert_eq!(site.send("default", "Visits", day(at, from)).0, 200);
    }
    site.flush_of("default");
    assert_eq!(site.send("default", "Visits", json!({"TimeGenerated": "2026-03-02T05:30:00Z", "n": 7}).to_string()).0, 200);
    let path = "/v1/workspaces/default/tables/Visits/shred";
    let (status, body) = post(&site, path, &json!({"from": "2026-03-02T06:00:00Z"}));
    assert_eq!(status, 400, "{body}");
    let (status, body) = post(&site, path, &json!({"from": "2026-03-02T06:00:00Z", "confirm": "visits"}));
    assert_eq!((status, body["error"]["code"].as_str()), (400, Some("ConfirmationRequired")), "{body}");
    let asked = site.cli(&["shred", "--workspace", "default", "--table", "Visits", "--from", "2026-03-02"]);
    assert_eq!(asked.status.code(), Some(2), "not without --yes");

    let ask = json!({"from": "2026-03-01T12:00:00Z", "to": "2026-03-02T06:00:00Z", "confirm": "Visits"});
    let (status, body) = post(&site, path, &ask);
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        (body["rows"].as_u64(), body["segmentsLeft"].as_u64(), body["objectsLeft"].as_u64()),
        (Some(12 + 6 + 1), Some(0), Some(0)),
        "{body}"
    );
    assert_eq!(body["deleted"].as_u64().unwrap() + body["rewritten"].as_u64().unwrap(), 3, "{body}");
    assert!(body["notice"].as_str().unwrap().contains("no key of its own"), "{body}");
    let expected = json!([[72 - 18, 0, 223]]);
    assert_eq!(site.ask("default", "Visits | summarize count(), min(n), max(n)").1["tables"][0]["rows"], expected);
    site.kill();
    site.restart();
    assert_eq!(site.ask("default", "Visits | summarize count(), min(n), max(n)").1["tables"][0]["rows"], expected);
}

fn dies_shredding_rows_at(point: &str) {
    let mut site = Site::start_with(busy());
    assert_eq!(site.send("default", "App", rows(0, 100)).0, 200);
    site.flush_of("default");
    assert_eq!(site.send("default", "App", rows(100, 10)).0, 200);
    let old = objects(&site, &id_of(&site, "default"));
    assert!(!old.is_empty());
    site.terminate();
    site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
    site.restart();
    // It dies under the request.
    drop(site.request(Method::POST, "/v1/workspaces/default/tables/App/shred").json(&json!({"confirm": "App"})).send());
    assert!(!site.wait().success(), "it was to die");
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    until("the start takes it up", || site.ask("default", "App | count").1["tables"][0]["rows"] == json!([[0]]));
    until("its objects go", || old.iter().all(|path| !path.exists()));
    assert_eq!(site.send("default", "App", rows(0, 5)).0, 200);
    assert_eq!(site.ask("default", "App | count").1["tables"][0]["rows"], json!([[5]]));
}

#[test]
fn dies_before_rows_are_taken_away() {
    dies_shredding_rows_at("shred.txn");
}
#[test]
fn dies_after_rows_were_taken_away() {
    dies_shredding_rows_at("shred.committed");
}

fn dies_shredding_a_workspace_at(point: &str) {
    let mut site = Site::start_with(busy());
    site.create_workspace("shop");
    assert_eq!(site.send("shop", "App", rows(0, 100)).0, 200);
    site.flush_of("shop");
    let shop = id_of(&site, "shop");
    site.terminate();
    site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), point.to_owned()));
    site.restart();
    drop(site.request(Method::DELETE, "/v1/workspaces/shop?force=true").send());
    assert!(!site.wait().success(), "it was to die");
    site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
    site.restart();
    until("it is shredded", || {
        let deleted: Value = site.request(Method::GET, "/v1/deleted-workspaces").send().unwrap().json().unwrap();
        deleted["value"] == json!([])
    });
    until("its objects go", || objects(&site, &shop).is_empty());
    site.create_workspace("shop");
}

#[test]
fn dies_before_secrets_are_destroyed() {
    dies_shredding_a_workspace_at("shred.secrets");
}
#[test]
fn dies_after_secrets_were_destroyed() {
    dies_shredding_a_workspace_at("shred.memory");
}
