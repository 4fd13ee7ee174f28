//! Loading the data set over HTTP, by some clients at once, and what that cost the server.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use strongroom_benches::clock::bytes_below;
use strongroom_benches::quantile;

use super::answer::Answer;
use super::corpus::Corpus;
use crate::server::Server;

/// What one load cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) clients: usize,
    pub(crate) mb_per_s: f64,
    pub(crate) ack_p50_ms: f64,
    pub(crate) ack_p99_ms: f64,
    /// Requests told to come back.
    pub(crate) refused: u64,
    /// CPU seconds of the server per GB of raw JSON: at the last ack, once all is flushed, once that is compacted.
    pub(crate) acked: f64,
    pub(crate) flushed: f64,
    pub(crate) settled: f64,
    /// Most memory ever resident, in GB.
    pub(crate) peak_gb: f64,
    pub(crate) rows_found: u64,
    pub(crate) disk: Disk,
}

/// Bytes in the server's directory once all is compacted.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Disk {
    /// All objects but those that a compaction replaced and that wait to be swept.
    pub(crate) live: u64,
    /// These.
    pub(crate) replaced: u64,
    pub(crate) catalog: u64,
    pub(crate) cache: u64,
    pub(crate) log: u64,
    pub(crate) rest: u64,
}

impl Disk {
    /// What must be kept: live objects and the catalog.
    pub(crate) fn kept(&self) -> u64 {
        self.live + self.catalog
    }
}

/// Loads into a server on an empty directory; the server is given back as it runs, its rows in compacted blocks.
pub(crate) fn load(corpus: &Corpus, binary: &Path, below: &Path, clients: usize) -> (Server, Load) {
    let server = Server::start(binary, below);
    server.settle();
    let start = server.cpu();
    let per_gb = |now: Duration| now.saturating_sub(start).as_secs_f64() / corpus.giga();
    let (wall, acks, refused) = send(corpus, &server, clients);
    let acked = per_gb(server.cpu());
    // A new connection each time: one that idles while the server settles may be closed by then.
    server.client().insist("POST", "/v1/workspaces/default/flush", b"");
    server.settle();
    let flushed = per_gb(server.cpu());
    server.client().insist("POST", "/v1/workspaces/default/compact", b"");
    server.settle();
    let settled = per_gb(server.cpu());
    let (reply, ..) = server.client().insist("POST", "/v1/workspaces/default/query", br#"{"query":"logs | count"}"#);
    let rows_found = Answer::of_reply(&reply).number().expect("a count");
    assert_eq!(rows_found, corpus.rows, "rows found are rows sent");
    let loaded = Load {
        clients,
        mb_per_s: crate::mega(corpus.bytes) / wall.as_secs_f64(),
        ack_p50_ms: quantile(acks.clone(), 0.5),
        ack_p99_ms: quantile(acks, 0.99),
        refused,
        acked,
        flushed,
        settled,
        peak_gb: crate::mega(server.peak_memory()) / 1e3,
        rows_found,
        disk: disk(&server.data_dir()),
    };
    (server, loaded)
}

/// Sends all batches; gives wall time, each ack in ms, and how many requests were told to come back.
fn send(corpus: &Corpus, server: &Server, clients: usize) -> (Duration, Vec<f64>, u64) {
    let next = AtomicUsize::new(0);
    let file = File::open(corpus.ndjson()).expect("the data set");
    let started = Instant::now();
    let parts: Vec<(Vec<f64>, u64)> = std::thread::scope(|scope| {
        let one = || {
            let mut client = server.client();
            let (mut body, mut acks, mut refusals) = (Vec::new(), Vec::new(), 0);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= corpus.batches.len() {
                    return (acks, refusals);
                }
                corpus.batch(&file, number, &mut body);
                let (_, took, refused) = client.insist("POST", "/v1/workspaces/default/ingest/logs", &body);
                acks.push(took.as_secs_f64() * 1e3);
                refusals += refused;
            }
        };
        let senders: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender that ends")).collect()
    });
    let wall = started.elapsed();
    let refused = parts.iter().map(|part| part.1).sum();
    (wall, parts.into_iter().flat_map(|part| part.0).collect(), refused)
}

fn disk(data: &Path) -> Disk {
    let mut disk = Disk::default();
    for entry in std::fs::read_dir(data).expect("a directory").filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = if entry.path().is_dir() { bytes_below(&entry.path()) } else { entry.metadata().map_or(0, |meta| meta.len()) };
        match name.as_str() {
            "objects" => disk.live = bytes,
            "cache" => disk.cache = bytes,
            "wal" => disk.log = bytes,
            _ if name.starts_with("catalog") => disk.catalog += bytes,
            _ => disk.rest += bytes,
        }
    }
    disk.replaced = replaced(&data.join("catalog.sqlite")).min(disk.live);
    disk.live -= disk.replaced;
    disk
}

/// Bytes of objects that are no longer live, as the catalog has them; the file is read as any tool might.
fn replaced(catalog: &Path) -> u64 {
    use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
    use sqlx::{Connection, Executor, Row};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a thread");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(catalog).read_only(true);
        let mut catalog = SqliteConnection::connect_with(&options).await.expect("a catalog");
        let row = catalog.fetch_one("SELECT coalesce(sum(sealed_len), 0) FROM blocks WHERE state = 2").await.expect("blocks");
        row.get::<i64, _>(0).unsigned_abs()
    })
}
