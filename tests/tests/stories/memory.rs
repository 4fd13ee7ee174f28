//! What a core dump of the server would tell once a key was taken away: nothing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};
use strongroom_catalog::Catalog;
use strongroom_envelope::{RecordIds, WrappedAek};
use strongroom_model::WorkspaceId;
use strongroom_tests::lock::{VaultSite, files};
use strongroom_tests::memory::{Find, search};
use strongroom_tests::{Site, derive};
use strongroom_world::World;

use crate::lock::brisk;

const TEN_SECONDS: Duration = Duration::from_secs(10);

type Needles = Vec<(String, Vec<u8>)>;

/// The account's keys that a customer's vault unwraps, each with what is derived from it for every purpose, as bytes and as the
/// text they travel in; and the AEK.
fn keys(site: &Site, vault: &VaultSite) -> (Needles, RecordIds, Vec<u8>) {
    let mut needles = Vec::new();
    let mut found = None;
    for (_, bytes) in files(&site.data_dir().join("objects/keys")) {
        let Ok(record) = WrappedAek::from_bytes(&bytes) else { continue };
        if record.provider == "mmk" {
            continue;
        }
        let body = json!({"alg": record.algorithm, "value": URL_SAFE_NO_PAD.encode(&record.bytes)});
        let opened = vault.call(Method::POST, &format!("/keys/kek/{}/unwrapkey", record.key_version), Some(body));
        let text = opened["value"].as_str().unwrap().to_owned();
        let aek = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for purpose in ["block", "wal", "cell", "cache-share", "seal-seed"] {
            needles.push((format!("purpose key {purpose}"), derive::purpose_key(&aek, purpose).to_vec()));
        }
        needles.push(("AEK".to_owned(), aek.clone()));
        needles.push(("AEK in base64".to_owned(), text.into_bytes()));
        assert!(found.replace((record.ids, aek)).is_none(), "one key of the customer's");
    }
    let (ids, aek) = found.expect("a record of the customer's");
    (needles, ids, aek)
}

/// The key of every block and every segment of the log under the AEK, and the workspace's keys that they hang on.
fn deks(site: &Site, ids: &RecordIds, aek: &[u8]) -> Needles {
    let beside = site.data_dir().join("objects/keys").join(ids.account.to_string()).join("infrastructure");
    let root = std::fs::read(site.config_dir().join("mmk.root")).unwrap();
    let infrastructure = derive::infrastructure_key(&root, &std::fs::read(beside).unwrap());
    assert_eq!(infrastructure.len(), 32);
    let home: Value = site.request(Method::GET, "/v1/workspaces/default").send().unwrap().json().unwrap();
    let workspace: WorkspaceId = home["id"].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cell = runtime.block_on(async {
        let catalog = Catalog::open(&site.data_dir().join("catalog.sqlite"), World::real()).await.unwrap();
        catalog.workspace_secret(workspace, ids.aek).await.unwrap().expect("rows were sealed").cell
    });
    let secret = derive::workspace_secret(aek, &infrastructure, &cell);
    let mut needles = vec![("workspace secret".to_owned(), secret.clone())];
    let mut of = |what: &str, key: [u8; 32]| needles.push((what.to_owned(), key.to_vec()));
    for (path, bytes) in files(&site.data_dir().join("objects")).iter().chain(&files(&site.data_dir().join("wal"))) {
        if derive::aek_of(bytes) != Some(&ids.aek.as_bytes()[..]) {
            continue;
        }
        if path.extension().is_some_and(|extension| extension == "wal") {
            of("key of a log segment", derive::segment_key(aek, bytes));
        } else if !path.to_string_lossy().contains("/keys/") {
            for purpose in ["block", "cell"] {
                of(
                    &format!("workspace key {purpose}"),
                    derive::expand(&derive::purpose_key(aek, purpose), &[b"ws/v1/", workspace.as_bytes(), &secret]),
                );
            }
            of("DEK of a block", derive::block_dek(aek, &infrastructure, &secret, bytes));
        }
    }
    needles.sort();
    needles.dedup();
    needles
}

fn told(found: &[Find]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn ten_seconds_after_revocation_no_row_and_no_key_is_left_in_memory() {
    let mut start = brisk();
    start.environment.push(("STRONGROOM_TEST_DUMPABLE".to_owned(), "1".to_owned()));
    let (site, vault) = (Site::start_with(start), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.locked_cluster("forgetful", &vault, "kek");
    site.link("default", &cluster).unwrap();
    let marker = format!("cnrymem{}", hex::encode(rand::random::<[u8; 8]>()));
    let utf16: Vec<u8> = marker.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rows = [("row".to_owned(), marker.clone().into_bytes()), ("row in UTF-16".to_owned(), utf16)];
    let (mut keys, ids, aek) = keys(&site, &vault);

    // Rows through every room: memory, log, blocks, compaction, hot cache, both languages, every shape of answer.
    for part in 0..4_u64 {
        let body: String = (0..500)
            .map(|n| json!({"n": part * 500 + n, "Message": format!("{marker} {n}"), "o": {"k": marker}}).to_string() + "\n")
            .collect();
        let (status, answer) = site.send("default", "App", body);
        assert_eq!(status, 200, "{answer}");
        if part < 3 {
            site.flush_of("default");
        }
    }
    assert!(site.request(Method::POST, "/v1/workspaces/default/compact").send().unwrap().status().is_success());
    for text in [
        format!("App | where Message has '{marker}' | count"),
        "App | order by n asc | take 300".to_owned(),
        "App | summarize count() by Message | top 50 by count_".to_owned(),
        format!("App | extend x = strcat(Message, '{marker}') | distinct x | take 100"),
    ] {
        let (status, body) = site.ask("default", &text);
        assert_eq!(status, 200, "{body}");
    }
    for accept in ["text/csv", "application/x-ndjson", "application/vnd.apache.arrow.stream"] {
        let request = site.request(Method::POST, "/v1/workspaces/default/query").header("accept", accept);
        let reply = request.json(&json!({"query": "SELECT * FROM \"App\" ORDER BY n", "language": "sql"})).send().unwrap();
        assert!(reply.status().is_success() && reply.bytes().unwrap().len() > 1_000, "{accept}");
    }
    // The search finds what is there: rows that wait to be flushed, keys that are in use.
    assert!(!search(site.pid(), &rows, 10).is_empty(), "rows in memory");
    keys.extend(deks(&site, &ids, &aek));
    assert!(keys.iter().filter(|(what, _)| what == "DEK of a block").count() >= 3, "blocks of the account");
    let held = search(site.pid(), &keys, 100);
    for kind in ["purpose key", "workspace key", "key of a log segment"] {
        assert!(held.iter().any(|find| find.what.starts_with(kind)), "{kind} in memory{}", told(&held));
    }

    vault.enable("kek", "", false);
    site.until_key(&cluster, "Revoked");
    std::thread::sleep(TEN_SECONDS);
    let left = search(site.pid(), &keys, 40);
    assert!(left.is_empty(), "keys are left: {}", told(&left));
    let left = search(site.pid(), &rows, 40);
    assert!(left.is_empty(), "rows are left: {}", told(&left));
}
