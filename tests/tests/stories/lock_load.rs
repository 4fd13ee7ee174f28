//! Revocation and return under running ingest and queries: many clusters in one server, taken away at staggered times.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use strongroom_tests::Site;
use strongroom_tests::lock::{BOUND, Cluster, VaultSite};

use crate::lock::{brisk, until};

/// Clusters taken away; `STRONGROOM_TEST_REVOCATIONS` by hand.
const SAMPLES: usize = 10;

/// One request of a client: when it was sent, when its answer was complete, what it said.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: SystemTime,
    done: SystemTime,
    took: Duration,
    status: u16,
}

#[derive(Debug, Default)]
struct Client {
    asked: Vec<Seen>,
    sent: Vec<Seen>,
    acked: BTreeSet<u64>,
}

/// Sends and asks in one workspace until told to stop; nothing it sends is sent twice.
fn drive(site: &Site, workspace: &str, stop: &AtomicBool, client: &Mutex<Client>) {
    let mut n = 0;
    while !stop.load(Ordering::Acquire) {
        n += 1;
        let body = json!({"n": n}).to_string();
        let (seen, status) = timed(|| site.send(workspace, "App", body).0);
        {
            let mut client = client.lock().unwrap();
            client.sent.push(seen);
            if status == 200 {
                client.acked.insert(n);
            }
        }
        let (seen, _) = timed(|| site.ask(workspace, "App | summarize count(), dcount(n)").0);
        client.lock().unwrap().asked.push(seen);
        std::thread::sleep(Duration::from_millis(300));
    }
}

fn timed(call: impl FnOnce() -> u16) -> (Seen, u16) {
    let (sent, start) = (SystemTime::now(), Instant::now());
    let status = call();
    (Seen { sent, done: SystemTime::now(), took: start.elapsed(), status }, status)
}

/// When the vault first denied an unwrap of a key.
fn first_denial(vault: &VaultSite, key: &str) -> Option<SystemTime> {
    let denied = |entry: &&Value| {
        let operation = entry["operation"].as_str().unwrap_or_default().to_ascii_lowercase();
        entry["key"] == key && operation.contains("unwrap") && entry["status"] == 403
    };
    let log = vault.log();
    let time = log.iter().find(denied)?["time"].clone();
    let ms = time.as_i64().or_else(|| time.as_str().and_then(millis)).expect("a time");
    Some(SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap()))
}

/// RFC 3339 to milliseconds.
fn millis(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis())
}

fn quantile(sorted: &[Duration], per_cent: usize) -> Duration {
    sorted[(sorted.len() * per_cent / 100).min(sorted.len() - 1)]
}

#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
fn revoked_under_load_within_a_minute_and_back_with_every_acked_row() {
    let samples = std::env::var("STRONGROOM_TEST_REVOCATIONS").map_or(SAMPLES, |n| n.parse().expect("a number"));
    let mut start = brisk();
    // One of each kind, and some: more than a subscription has unless the operator says so.
    for limit in ["STRONGROOM_AZURE__CLUSTERS_ACTIVE_MAX", "STRONGROOM_AZURE__CLUSTERS_RESERVED_MAX"] {
        start.environment.push((limit.to_owned(), "1000".to_owned()));
    }
    let (site, vault) = (Site::start_with(start), VaultSite::start());
    site.know_vault("customers", &vault);
    let clusters: Vec<(Cluster, String, String)> = (0..samples)
        .map(|n| {
            let (name, key, workspace) = (format!("load-{n}"), format!("kek-{n}"), format!("shop-{n}"));
            vault.create_key(&key);
            let cluster = site.locked_cluster(&name, &vault, &key);
            site.create_workspace(&workspace);
            site.link(&workspace, &cluster).unwrap();
            (cluster, key, workspace)
        })
        .collect();
    // Two that nobody takes anything from: one under a key of its own, one under the provider's.
    vault.create_key("kek-other");
    let other = site.locked_cluster("other", &vault, "kek-other");
    site.create_workspace("other");
    site.link("other", &other).unwrap();

    let stop = AtomicBool::new(false);
    let clients: Vec<Mutex<Client>> = (0..samples).map(|_| Mutex::default()).collect();
    let bystanders = [Mutex::new(Client::default()), Mutex::new(Client::default())];
    let (mut denied_to_last, mut disabled_to_last) = (Vec::new(), Vec::new());
    let mut disabled_at = Vec::new();
    let mut back = Vec::new();
    let mut taken_away = SystemTime::now();
    std::thread::scope(|scope| {
        for ((_, _, workspace), client) in clusters.iter().zip(&clients) {
            let (site, stop) = (&site, &stop);
            scope.spawn(move || drive(site, workspace, stop, client));
        }
        for (workspace, client) in ["other", "default"].into_iter().zip(&bystanders) {
            let (site, stop) = (&site, &stop);
            scope.spawn(move || drive(site, workspace, stop, client));
        }
        std::thread::sleep(Duration::from_secs(10));
        taken_away = SystemTime::now();
        for (at, (cluster, key, _)) in clusters.iter().enumerate() {
            std::thread::sleep(Duration::from_millis(700));
            disabled_at.push(SystemTime::now());
            if at % 2 == 0 { vault.enable(key, "", false) } else { vault.revoke(&cluster.principal) }
        }
        for (cluster, ..) in &clusters {
            site.until_key(cluster, "Revoked");
        }
        std::thread::sleep(Duration::from_secs(3));
        for (at, ((cluster, key, _), client)) in clusters.iter().zip(&clients).enumerate() {
            let status = site.key_status(cluster);
            assert_eq!(status["state"], "Revoked", "{status}");
            let since = status["sinceMs"].as_u64().unwrap();
            let gate = SystemTime::UNIX_EPOCH + Duration::from_millis(since);
            let denial = first_denial(&vault, key).expect("the vault denied it");
            let client = client.lock().unwrap();
            let last = client.asked.iter().filter(|seen| matches!(seen.status, 0 | 200)).map(|seen| seen.done).max().unwrap();
            let late = last.duration_since(denial).unwrap_or_default();
            assert!(late <= BOUND, "cluster {at}: data {late:?} after the vault's first denial");
            denied_to_last.push(late);
            disabled_to_last.push(last.duration_since(disabled_at[at]).unwrap_or_default());
            // Not one request that was sent after the gate was shut was taken; held ones are answered, not taken.
            let taken = client.sent.iter().find(|seen| seen.status == 200 && seen.sent > gate + Duration::from_millis(1));
            assert!(taken.is_none(), "cluster {at}: taken after the gate was shut: {taken:?}");
            let odd = client.asked.iter().chain(&client.sent).find(|seen| !matches!(seen.status, 0 | 200 | 403 | 503));
            assert!(odd.is_none(), "cluster {at}: {odd:?}");
        }
        for (at, (cluster, key, _)) in clusters.iter().enumerate() {
            if at % 2 == 0 {
                vault.enable(key, "", true);
            } else {
                vault.grant(&cluster.principal);
            }
        }
        let enabled = Instant::now();
        for (_, _, workspace) in &clusters {
            until("served again", || site.ask(workspace, "App | count").0 == 200);
            back.push(enabled.elapsed());
        }
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Release);
    });
    // Every acked row is there, once; what was refused is not.
    for ((_, _, workspace), client) in
        clusters.iter().zip(&clients).chain([(&(other.clone(), String::new(), "other".to_owned()), &bystanders[0])])
    {
        let client = client.lock().unwrap();
        let (status, body) = site.ask(workspace, "App | project n | order by n asc");
        assert_eq!(status, 200, "{body}");
        let rows = body["tables"][0]["rows"].as_array().unwrap();
        let found: Vec<u64> = rows.iter().map(|row| row[0].as_u64().unwrap()).collect();
        let expected: Vec<u64> = client.acked.iter().copied().collect();
        assert_eq!(found, expected, "workspace {workspace}: acked rows, once each");
    }
    for (name, client) in ["other cluster", "unlinked"].into_iter().zip(&bystanders) {
        let client = client.lock().unwrap();
        let all: Vec<&Seen> = client.asked.iter().chain(&client.sent).collect();
        assert!(all.iter().all(|seen| seen.status == 200), "{name} was touched");
        let p99 = |before: bool| {
            let mut took: Vec<Duration> =
                client.asked.iter().filter(|seen| (seen.sent < taken_away) == before).map(|seen| seen.took).collect();
            took.sort();
            quantile(&took, 99)
        };
        println!(
            "{name}: 0 errors in {} requests; query p99 {:?} before, {:?} while others were revoked",
            all.len(),
            p99(true),
            p99(false)
        );
    }
    denied_to_last.sort();
    disabled_to_last.sort();
    back.sort();
    println!(
        "{samples} revocations: taken away to last data p50 {:?} p100 {:?}; vault's first denial to last data p50 {:?} p100 {:?}; given back to served p50 {:?} p100 {:?}",
        quantile(&disabled_to_last, 50),
        disabled_to_last.last().unwrap(),
        quantile(&denied_to_last, 50),
        denied_to_last.last().unwrap(),
        quantile(&back, 50),
        back.last().unwrap()
    );
}

#[test]
fn setting_the_key_linking_and_unlinking_under_load_fail_no_request() {
    let mut start = brisk();
    // More links in a month than a workspace has unless the operator says so.
    start.environment.push(("STRONGROOM_AZURE__LINK_OPERATIONS_MAX".to_owned(), "20".to_owned()));
    let (site, vault) = (Site::start_with(start), VaultSite::start());
    vault.create_key("kek");
    site.know_vault("customers", &vault);
    let cluster = site.create_cluster("busy", true);
    site.admit(&cluster, &vault);
    site.create_workspace("early");
    site.create_workspace("late");
    site.link("early", &cluster).unwrap();
    let stop = AtomicBool::new(false);
    let clients: Vec<Mutex<Client>> = (0..4).map(|_| Mutex::default()).collect();
    let workspaces = ["early", "late", "late", "default"];
    let mut changing = SystemTime::now();
    std::thread::scope(|scope| {
        // Two clients in one workspace share its numbers: only the first two workspaces are counted below.
        for (workspace, client) in workspaces.into_iter().zip(&clients) {
            let (site, stop) = (&site, &stop);
            scope.spawn(move || drive(site, workspace, stop, client));
        }
        std::thread::sleep(Duration::from_secs(4));
        changing = SystemTime::now();
        site.set_key(&cluster, &vault, "kek", "").unwrap();
        for _ in 0..3 {
            site.link("late", &cluster).unwrap();
            std::thread::sleep(Duration::from_millis(700));
            site.unlink("late").unwrap();
            std::thread::sleep(Duration::from_millis(700));
        }
        stop.store(true, Ordering::Release);
    });
    for (workspace, client) in workspaces.into_iter().zip(&clients) {
        let client = client.lock().unwrap();
        let failed: Vec<&Seen> = client.asked.iter().chain(&client.sent).filter(|seen| seen.status != 200).collect();
        assert!(failed.is_empty(), "{workspace}: {failed:?}");
    }
    for (what, of) in [("queries", (|client| &client.asked) as fn(&Client) -> &Vec<Seen>), ("requests with rows", |client| &client.sent)] {
        let p99 = |before: bool| {
            let seen = clients.iter().flat_map(|client| of(&client.lock().unwrap()).clone());
            let mut took: Vec<Duration> = seen.filter(|seen| (seen.sent < changing) == before).map(|seen| seen.took).collect();
            took.sort();
            (took.len(), quantile(&took, 50), quantile(&took, 99))
        };
        println!("{what} (number, p50, p99): {:?} before, {:?} while the key was set and a workspace linked", p99(true), p99(false));
    }
    let (_, body) = site.ask("early", "App | count");
    assert_eq!(body["tables"][0]["rows"], json!([[clients[0].lock().unwrap().acked.len()]]));
    let (_, body) = site.ask("late", "App | count");
    let late = clients[1].lock().unwrap().acked.len() + clients[2].lock().unwrap().acked.len();
    assert_eq!(body["tables"][0]["rows"], json!([[late]]));
}
