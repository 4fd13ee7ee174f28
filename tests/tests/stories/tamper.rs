//! Sealed objects that were changed, moved, cut or stretched: always noticed, named, and never fewer rows.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use strongroom_tests::scan::files;
use strongroom_tests::{Site, Start};

const HEADER: usize = 96;

/// No cache, so that every query meets the stored bytes; and no block is merged in the background, so that they stay what they are:
/// the rows' day is long over, and a day that is over is merged as soon as nothing else is to do.
fn site() -> Site {
    const HUNDRED_YEARS_MS: u64 = 100 * 365 * 86_400_000;
    let environment = [("CACHE__ENABLED", "false".to_owned()), ("INGEST__COMPACT__GRACE_MS", HUNDRED_YEARS_MS.to_string())];
    let environment = environment.map(|(name, value)| (format!("STRONGROOM_{name}"), value)).into();
    Site::start_with(Start { environment, ..Start::default() })
}

/// The block objects of a stopped or running site: their paths end in five ids, the last one the object's.
fn blocks(site: &Site) -> Vec<PathBuf> {
    let root = site.data_dir().join("objects");
    let mut found: Vec<PathBuf> =
        files(&root).into_iter().filter(|path| path.strip_prefix(&root).unwrap().components().count() == 5).collect();
    found.sort();
    found
}

fn object(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

const ALL: &str = "Walk | summarize count(), sum(Number), countif(Text has 'never')";

fn expect_error(site: &Site, what: &str, object: &str) {
    for (language, text) in [
        ("kql", ALL),
        ("sql", "SELECT count(\"Text\") AS a, sum(\"Number\") AS b, max(\"TimeGenerated\") AS c FROM \"Walk\" WHERE \"Text\" <> ''"),
    ] {
        let (status, body) = site.try_query(language, text);
        assert_eq!(status, 500, "{what} ({language}): {body}");
        assert_eq!(body["error"]["code"], "IntegrityError", "{what}: {body}");
        assert!(body.to_string().contains(object), "{what}: the answer does not name {object}: {body}");
        assert!(body.get("tables").is_none());
    }
}

fn rows(from: u64, hour: u64) -> String {
    (from..from + 3000)
        .map(|n| {
            json!({"TimeGenerated": format!("2026-03-01T{hour:02}:00:00Z"), "Number": n, "Text": format!("text {} {n}", n * 7919 % 10_007)})
                .to_string()
                + "\n"
        })
        .collect()
}

#[test]
fn a_changed_byte_anywhere_is_an_error_that_names_the_object() {
    let site = site();
    site.ingest("Walk", rows(0, 10));
    site.flush();
    let good = site.kql(ALL);
    let path = blocks(&site).into_iter().next().expect("one block");
    let bytes = std::fs::read(&path).unwrap();
    let len = bytes.len();
    let body = (0..24).map(|n| HEADER + (len - HEADER) * n / 24);
    let places = (0..HEADER).step_by(5).chain([HEADER - 1]).chain(HEADER..HEADER + 56).chain(body).chain([len - 17, len - 1]);
    for at in places.step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, &changed).unwrap();
        expect_error(&site, &format!("byte {at} of {len}"), &object(&path));
    }
    for cut in [0, 1, HEADER, 152, 152 + 16_400, len - 16, len - 1] {
        std::fs::write(&path, &bytes[..cut.min(len - 1)]).unwrap();
        expect_error(&site, &format!("cut to {cut} of {len}"), &object(&path));
    }
    let mut longer = bytes.clone();
    longer.extend_from_slice(&[0; 16]);
    std::fs::write(&path, &longer).unwrap();
    expect_error(&site, "16 bytes longer", &object(&path));
    std::fs::remove_file(&path).unwrap();
    let (status, body) = site.try_query("kql", ALL);
    assert_eq!(status, 500, "a missing object: {body}");
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(site.kql(ALL), good);
}

#[test]
fn an_object_opens_only_in_its_own_place() {
    let site = site();
    for (table, hour) in [("Walk", 10), ("Walk", 12), ("Other", 10)] {
        site.ingest(table, rows(0, hour));
        site.flush();
    }
    let reply = site.request(reqwest::Method::POST, "/v1/workspaces").json(&json!({"name": "elsewhere"})).send().unwrap();
    assert_eq!(reply.status(), 201);
    let reply = site.request(reqwest::Method::POST, "/v1/workspaces/elsewhere/ingest/Walk").body(rows(0, 10)).send().unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(site.request(reqwest::Method::POST, "/v1/workspaces/elsewhere/flush").send().unwrap().status(), 200);
    let good: Value = json!(site.kql(ALL));
    let all = blocks(&site);
    assert_eq!(all.len(), 4);
    // Mine are those whose change shows in the answers of the workspace's own table.
    let mine: Vec<&PathBuf> = all
        .iter()
        .filter(|path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::write(path, &bytes[..10]).unwrap();
            let hit = site.try_query("kql", ALL).0 == 500;
            std::fs::write(path, bytes).unwrap();
            hit
        })
        .collect();
    assert_eq!(mine.len(), 2);
    for victim in &mine {
        let bytes = std::fs::read(victim).unwrap();
        for donor in all.iter().filter(|path| path != victim) {
            std::fs::copy(donor, victim).unwrap();
            expect_error(&site, &format!("{} in the place of {}", donor.display(), victim.display()), &object(victim));
        }
        std::fs::write(victim, bytes).unwrap();
    }
    assert_eq!(json!(site.kql(ALL)), good);
}

#[test]
fn verify_finds_what_a_query_would_and_names_it() {
    let mut site = site();
    site.ingest("Walk", rows(0, 10));
    site.flush();
    let path = blocks(&site).into_iter().next().unwrap();
    site.terminate();
    let verify = |site: &Site| {
        std::process::Command::new(strongroom_tests::binary())
            .arg("verify")
            .arg("--data-dir")
            .arg(site.data_dir())
            .arg("--config-dir")
            .arg(site.config_dir())
            .output()
            .unwrap()
    };
    let good = verify(&site);
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    let bad = verify(&site);
    assert!(!bad.status.success());
    let said = [bad.stdout, bad.stderr].concat();
    assert!(String::from_utf8_lossy(&said).contains(&object(&path)), "{}", String::from_utf8_lossy(&said));
}
