//! What was acked is there, once, however the process ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use strongroom_tests::{ADMIN, Site, Start};

/// Rounds of `kill -9` in CI; more by hand with `STRONGROOM_TEST_KILLS`.
const KILLS: u64 = 20;
const ROWS_PER_BATCH: u64 = 40;
const WRITERS: u64 = 3;

/// What the checker knows of each batch it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Acked,
    Unknown,
}

type Ledger = Arc<Mutex<HashMap<String, Fate>>>;

fn batch(name: &str) -> String {
    (0..ROWS_PER_BATCH)
        .map(|row| json!({"Batch": name, "Row": row, "Text": format!("row {row} of {name}"), "Late": {"n": row}}).to_string() + "\n")
        .collect()
}

struct Writer {
    client: Client,
    base: String,
    ledger: Ledger,
}

impl Writer {
    /// Sends one batch under its name as batch id. The ledger holds it as unknown from before the first byte.
    fn send(&self, name: &str) -> bool {
        self.ledger.lock().unwrap().entry(name.to_owned()).or_insert(Fate::Unknown);
        let reply = self
            .client
            .post(format!("{}/v1/workspaces/default/ingest/Kill", self.base))
            .bearer_auth(ADMIN)
            .header("x-batch-id", name)
            .body(batch(name))
            .send();
        let acked = reply.is_ok_and(|reply| reply.status().is_success());
        if acked {
            self.ledger.lock().unwrap().insert(name.to_owned(), Fate::Acked);
        }
        acked
    }
}

fn check(site: &Site, ledger: &Ledger) -> usize {
    let mut found: HashMap<String, (u64, u64, u64)> = HashMap::new();
    for row in site.kql("Kill | summarize n = count(), s = sum(Row), d = count_distinct(Row), l = sum(tolong(Late.n)) by Batch") {
        let name = row[0].as_str().expect("a name").to_owned();
        let number = |at: usize| row[at].as_u64().expect("a number");
        assert_eq!(number(2), number(4), "{name}: the columns of a row belong together");
        assert!(found.insert(name, (number(1), number(2), number(3))).is_none());
    }
    let whole = (ROWS_PER_BATCH, ROWS_PER_BATCH * (ROWS_PER_BATCH - 1) / 2, ROWS_PER_BATCH);
    let ledger = ledger.lock().unwrap();
    for (name, fate) in ledger.iter() {
        match (found.remove(name), fate) {
            (Some(rows), _) => assert_eq!(rows, whole, "{name} ({fate:?}) is there, but not whole and once"),
            (None, Fate::Acked) => panic!("{name} was acked and is lost"),
            (None, Fate::Unknown) => {}
        }
    }
    assert!(found.is_empty(), "phantoms: {found:?}");
    ledger.values().filter(|fate| **fate == Fate::Acked).count()
}

fn small_buffers() -> Vec<(String, String)> {
    // Small segments and memtables, so that rotation, flush and trim happen all the time.
    [
        ("STRONGROOM_BUFFER__SEGMENT_BYTES", "262144"),
        ("STRONGROOM_BUFFER__SEGMENT_FIRST_BYTES", "65536"),
        ("STRONGROOM_INGEST__FLUSH__MEMTABLE_BYTES_MAX", "131072"),
        ("STRONGROOM_INGEST__FLUSH__TICK_MS", "50"),
        ("STRONGROOM_INGEST__COMPACT__BLOCKS_MIN", "3"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

#[test]
fn kill_dash_nine_under_load_loses_nothing_and_doubles_nothing() {
    let rounds = std::env::var("STRONGROOM_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::var("STRONGROOM_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_301);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut site = Site::start_with(Start { environment: small_buffers(), ..Start::default() });
    let ledger: Ledger = Arc::default();
    for round in 0..rounds {
        let running = Arc::new(AtomicBool::new(true));
        let sent = Arc::new(AtomicU64::new(0));
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let (running, sent) = (Arc::clone(&running), Arc::clone(&sent));
            let one = Writer {
                client: Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
                base: site.base().to_owned(),
                ledger: Arc::clone(&ledger),
            };
            threads.push(std::thread::spawn(move || {
                let mut n = 0;
                while running.load(Ordering::Relaxed) {
                    if one.send(&format!("r{round}w{writer}n{n}")) {
                        sent.fetch_add(1, Ordering::Relaxed);
                    } else if !running.load(Ordering::Relaxed) {
                        break;
                    }
                    n += 1;
                }
            }));
        }
        for path in ["flush", "compact", "query"] {
            let running = Arc::clone(&running);
            let url = format!("{}/v1/workspaces/default/{path}", site.base());
            let client = Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
            threads.push(std::thread::spawn(move || {
                while running.load(Ordering::Relaxed) {
                    drop(client.post(&url).bearer_auth(ADMIN).json(&json!({"query": "Kill | summarize count() by Batch | count"})).send());
                    std::thread::sleep(Duration::from_millis(30));
                }
            }));
        }
        // The load has begun once something was acked; then the axe falls at a random moment.
        while sent.load(Ordering::Relaxed) < 3 {
            assert!(site.is_running(), "round {round}: the server ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(random.random_range(0..600)));
        site.kill();
        running.store(false, Ordering::Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        site.restart();
        check(&site, &ledger);
        // What was under way is sent again under its id, as an agent would: now it must be there, once.
        let unknown: Vec<String> =
            ledger.lock().unwrap().iter().filter(|(_, fate)| **fate == Fate::Unknown).map(|(name, _)| name.clone()).collect();
        let again = Writer { client: Client::new(), base: site.base().to_owned(), ledger: Arc::clone(&ledger) };
        for name in unknown {
            assert!(again.send(&name), "round {round}: {name} was refused when sent again");
        }
    }
    let acked = check(&site, &ledger);
    println!("{rounds} kills, {acked} batches of {ROWS_PER_BATCH} rows acked, seed {seed}");
    assert!(acked as u64 >= rounds * 3);
    site.flush();
    site.compact();
    assert_eq!(check(&site, &ledger), acked);
}

/// Every step of log, flush and compaction at which the process may die.
const CRASH_POINTS: &[&str] = &[
    "wal.pre_write",
    "wal.post_write",
    "wal.pre_fsync",
    "wal.post_fsync",
    "wal.rotate",
    "wal.dirsync",
    "flush.freeze",
    "flush.txn_a",
    "flush.encode",
    "flush.encrypt",
    "flush.put",
    "flush.local_fsync",
    "flush.put_unknown",
    "flush.txn_b",
    "flush.unlink",
    "compact.read",
    "compact.put",
    "compact.txn",
    "compact.encode",
    "compact.encrypt",
    "compact.put_unknown",
    "catalog.commit_unknown",
];

#[test]
fn a_crash_at_each_step_of_log_flush_and_compaction_loses_nothing() {
    for (at, point) in CRASH_POINTS.iter().enumerate() {
        let mut site = Site::start_with(Start { environment: small_buffers(), ..Start::default() });
        let ledger: Ledger = Arc::default();
        let send = |site: &Site, name: &str| {
            Writer {
                client: Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
                base: site.base().to_owned(),
                ledger: Arc::clone(&ledger),
            }
            .send(name)
        };
        for n in 0..3 {
            assert!(send(&site, &format!("before{n}")), "{point}");
            site.flush();
        }
        site.kill();
        // Armed for the second pass through the point, so that there is something on both sides of it.
        site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), format!("{point}:{}", 1 + at % 2)));
        // Compaction may come to the point before anybody was served.
        if site.try_restart().is_ok() {
            for n in 0..200 {
                if !send(&site, &format!("during{n}")) && !site.is_running() {
                    break;
                }
                drop(site.request(reqwest::Method::POST, "/v1/workspaces/default/flush").send());
                drop(site.request(reqwest::Method::POST, "/v1/workspaces/default/compact").send());
                if !site.is_running() {
                    break;
                }
            }
            assert!(!site.is_running(), "{point} was never reached");
            assert!(!site.wait().success());
        }
        site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
        site.restart();
        check(&site, &ledger);
        let names: Vec<String> = ledger.lock().unwrap().keys().cloned().collect();
        for name in names {
            assert!(send(&site, &name), "{point}: {name}");
        }
        site.flush();
        site.compact();
        check(&site, &ledger);
        site.kill();
        site.restart();
        check(&site, &ledger);
    }
}

/// Every step of putting a day's filters side by side at which the process may die.
const GROUP_CRASH_POINTS: &[&str] = &["group.read", "group.pend", "group.put", "group.put_unknown", "group.txn"];

/// Rows of an hour, as many as a block needs to have filters.
const GROUP_ROWS: i64 = 520;
/// Hours of a day, so blocks: enough for a group, and all less than 48 h ago.
const GROUP_HOURS: std::ops::Range<i64> = 10..22;

/// Rows of a dozen hours of yesterday, each with a word of its own.
fn yesterday() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let midnight = i64::try_from(now / 86_400 * 86_400).unwrap() - 86_400;
    let rows = GROUP_HOURS.flat_map(|hour| (0..GROUP_ROWS).map(move |row| (hour, row)));
    rows.map(|(hour, row)| {
        let at = chrono::DateTime::from_timestamp(midnight + hour * 3_600 + row, 0).unwrap().to_rfc3339();
        json!({"TimeGenerated": at, "n": row, "m": format!("took word{hour} of {}", row % 9)}).to_string() + "\n"
    })
    .collect()
}

#[test]
fn a_crash_at_each_step_of_a_group_leaves_no_wrong_answer_and_the_group_is_made_at_the_next_turn() {
    let environment = [("GROUP_FILTERS_FROM_BLOCKS", "8"), ("GRACE_MS", "0")];
    let environment = environment.map(|(name, value)| (format!("STRONGROOM_INGEST__COMPACT__{name}"), value.to_owned())).to_vec();
    let mut site = Site::start_with(Start { environment, ..Start::default() });
    for (at, point) in GROUP_CRASH_POINTS.iter().enumerate() {
        let table = format!("Grouped{at}");
        site.ingest(&table, yesterday());
        site.flush();
        let check = |site: &Site| {
            let hours = GROUP_HOURS.end - GROUP_HOURS.start;
            for (asked, expected) in [("word12", GROUP_ROWS), ("word21", GROUP_ROWS), ("nowhere", 0), ("took", GROUP_ROWS * hours)] {
                let found = site.kql(&format!("{table} | where m has '{asked}' | count"));
                assert_eq!(found, [[json!(expected)]], "{point}: {asked}");
            }
        };
        let told = |site: &Site| {
            let question = json!({"query": format!("{table} | where m has 'nowhere'"), "language": "kql", "explain": true});
            let reply = site.request(reqwest::Method::POST, "/v1/workspaces/default/query").json(&question).send().unwrap();
            reply.text().unwrap().contains("told of 12 of 12 blocks")
        };
        assert!(!told(&site), "{point}: nobody made a group yet");
        site.kill();
        site.options().environment.push(("STRONGROOM_CRASH_AT".to_owned(), (*point).to_owned()));
        // Background work may come to the point before anybody was served.
        if site.try_restart().is_ok() {
            drop(site.request(reqwest::Method::POST, "/v1/workspaces/default/compact").send());
            assert!(!site.wait().success(), "{point} was never reached");
        }
        site.options().environment.retain(|(name, _)| name != "STRONGROOM_CRASH_AT");
        site.restart();
        check(&site);
        site.compact();
        assert!(told(&site), "{point}: no group was made");
        check(&site);
    }
}

/// Errors where the process lives on: the request may fail, what was acked stays, and the next one works.
#[test]
fn a_failed_call_at_each_step_is_told_and_overcome() {
    for point in [
        "flush.txn_a",
        "flush.put",
        "flush.put_unknown",
        "flush.txn_b",
        "compact.read",
        "compact.put",
        "compact.txn",
        "wal.pre_write",
        "wal.pre_fsync",
    ] {
        let mut environment = small_buffers();
        environment.push(("FAILPOINTS".to_owned(), format!("{point}=2*off->1*return->off")));
        let mut site = Site::start_with(Start { environment, ..Start::default() });
        let ledger: Ledger = Arc::default();
        let writer = Writer {
            client: Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
            base: site.base().to_owned(),
            ledger: Arc::clone(&ledger),
        };
        for n in 0..8 {
            writer.send(&format!("n{n}"));
            for path in ["flush", "compact"] {
                drop(site.request(reqwest::Method::POST, &format!("/v1/workspaces/default/{path}")).send());
            }
        }
        check(&site, &ledger);
        assert!(writer.send("after"), "{point}: the server does not take rows any more");
        check(&site, &ledger);
        site.kill();
        site.restart();
        check(&site, &ledger);
    }
}

#[test]
fn the_same_batch_is_answered_again_and_another_body_under_its_id_is_refused() {
    let mut site = Site::start();
    let send = |site: &Site, id: &str, body: &str| -> (u16, Value) {
        let reply = site
            .request(reqwest::Method::POST, "/v1/workspaces/default/ingest/Once")
            .header("x-batch-id", id)
            .body(body.to_owned())
            .send()
            .unwrap();
        (reply.status().as_u16(), reply.json().unwrap())
    };
    let (status, first) = send(&site, "one", r#"{"a":1}"#);
    assert_eq!((status, &first["duplicate"]), (200, &json!(false)));
    let again = |site: &Site| {
        let (status, second) = send(site, "one", r#"{"a":1}"#);
        assert_eq!((status, &second["duplicate"], &second["accepted"]), (200, &json!(true), &json!(1)));
        let (status, other) = send(site, "one", r#"{"a":2}"#);
        assert_eq!(status, 409, "{other}");
        assert_eq!(site.kql("Once | count"), [[json!(1)]]);
    };
    again(&site);
    site.kill();
    site.restart();
    again(&site);
    site.flush();
    site.kill();
    site.restart();
    again(&site);
    let (status, _) = send(&site, &"x".repeat(129), "{}");
    assert_eq!(status, 400);
}
