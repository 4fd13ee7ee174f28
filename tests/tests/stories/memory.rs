//! What a core dump of the server would tell once a key was taken away: nothing.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hkdf::Hkdf;
use reqwest::Method;
use serde_json::json;
use sha2::Sha256;
use strongroom_envelope::WrappedAek;
use strongroom_tests::Site;
use strongroom_tests::lock::{VaultSite, files};
use strongroom_tests::memory::{Find, search};

use crate::lock::brisk;

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// The account keys that a customer's vault unwraps, each with what is derived from it for every purpose, as bytes and as the
/// text they travel in.
fn keys(site: &Site, vault: &VaultSite) -> Vec<(String, Vec<u8>)> {
    let mut needles = Vec::new();
    for (_, bytes) in files(&site.data_dir().join("objects/keys")) {
        let Ok(record) = WrappedAek::from_bytes(&bytes) else { continue };
        if record.provider == "mmk" {
            continue;
        }
        let body = json!({"alg": record.algorithm, "value": URL_SAFE_NO_PAD.encode(&record.bytes)});
        let opened = vault.call(Method::POST, &format!("/keys/kek/{}/unwrapkey", record.key_version), Some(body));
        let text = opened["value"].as_str().unwrap().to_owned();
        let aek = URL_SAFE_NO_PAD.decode(&text).unwrap();
        let root = Hkdf::<Sha256>::from_prk(&aek).unwrap();
        for purpose in ["block", "wal", "cell", "cache-share", "seal-seed"] {
            let mut key = vec![0; 32];
            root.expand_multi_info(&[b"aek/v1/", purpose.as_bytes()], &mut key).unwrap();
            needles.push((format!("purpose key {purpose}"), key));
        }
        needles.push(("AEK".to_owned(), aek));
        needles.push(("AEK in base64".to_owned(), text.into_bytes()));
    }
    assert!(!needles.is_empty(), "a record of the customer's");
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
    let keys = keys(&site, &vault);

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
    let held = search(site.pid(), &keys, 100);
    assert!(held.iter().any(|find| find.what.starts_with("purpose key")), "keys in memory{}", told(&held));

    vault.enable("kek", "", false);
    site.until_key(&cluster, "Revoked");
    std::thread::sleep(TEN_SECONDS);
    let left = search(site.pid(), &keys, 40);
    assert!(left.is_empty(), "keys are left: {}", told(&left));
    let left = search(site.pid(), &rows, 40);
    assert!(left.is_empty(), "rows are left: {}", told(&left));
}
