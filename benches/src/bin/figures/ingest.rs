//! Durable ingest over HTTP, with arrow-json decoding of the same bytes before and after it.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use strongroom_benches::clock::{bytes_below, on_thread};
use strongroom_benches::{Logs, plain, quantile};
use strongroom_model::TableSchema;

use crate::server::Server;
use crate::{Arguments, Figure, mega};

/// Bytes of one request.
pub(crate) const BATCH: usize = 2_000_000;

/// Bodies of 2 MB whose rows end about now.
pub(crate) fn bodies(seed: u64, megabytes: usize) -> Vec<Vec<u8>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    // Rows come at 26 KB/s of event time, so a gigabyte is half a day.
    let span = u128::from(megabytes as u64) * 1_000_000 * 38_000;
    let mut logs = Logs::from(seed, i64::try_from(now - span).expect("before 2262"));
    (0..(megabytes * 1_000_000).div_ceil(BATCH)).map(|_| logs.body(BATCH)).collect()
}

fn arrow_json(bodies: &[Vec<u8>]) -> Duration {
    let schema = plain::decode_ours(&bodies[0], &TableSchema::new()).batch.schema();
    let ((), took) = on_thread(|| bodies.iter().for_each(|body| assert!(plain::decode_arrow_json(body, &schema) > 0)));
    took
}

/// What sending took.
pub(crate) struct Sent {
    pub(crate) raw: u64,
    pub(crate) wall: Duration,
    acks_ms: Vec<f64>,
    refused: u64,
}

pub(crate) fn send(server: &Server, bodies: &[Vec<u8>], clients: usize) -> Sent {
    let next = Mutex::new(bodies.iter());
    let started = Instant::now();
    let parts: Vec<(Vec<f64>, u64)> = std::thread::scope(|scope| {
        let one = || {
            let mut client = server.client();
            let (mut acks, mut refusals) = (Vec::new(), 0);
            loop {
                let Some(body) = next.lock().expect("no sender panics").next() else { return (acks, refusals) };
                let (_, took, refused) = client.insist("POST", "/v1/workspaces/default/ingest/logs", body);
                acks.push(took.as_secs_f64() * 1e3);
                refusals += refused;
            }
        };
        let senders: Vec<_> = (0..clients).map(|_| scope.spawn(one)).collect();
        senders.into_iter().map(|sender| sender.join().expect("a sender that ends")).collect()
    });
    let wall = started.elapsed();
    let raw = bodies.iter().map(|body| body.len() as u64).sum();
    let refused = parts.iter().map(|part| part.1).sum();
    Sent { raw, wall, acks_ms: parts.into_iter().flat_map(|part| part.0).collect(), refused }
}

pub(crate) fn take(arguments: &Arguments, dir: &Path, clients: usize) -> Vec<Figure> {
    let bodies = bodies(arguments.seed, arguments.megabytes);
    let arrow_before = arrow_json(&bodies);
    let server = Server::start(&arguments.binary, dir);
    server.settle();
    let start = server.cpu();
    let sent = send(&server, &bodies, clients);
    let acked = server.cpu().saturating_sub(start);
    let mut client = server.client();
    client.insist("POST", "/v1/workspaces/default/flush", b"");
    server.settle();
    let flushed = server.cpu().saturating_sub(start);
    let fresh = bytes_below(&server.data_dir().join("objects"));
    client.insist("POST", "/v1/workspaces/default/compact", b"");
    server.settle();
    let compacted = server.cpu().saturating_sub(start);
    let (peak, disk) = (server.peak_memory(), bytes_below(&server.data_dir().join("objects")));
    let sent_rows: usize = bodies.iter().map(|body| body.split(|byte| *byte == b'\n').count() - 1).sum();
    let found = count(&mut client);
    drop(server);
    let arrow = (arrow_before + arrow_json(&bodies)) / 2;

    let giga = mega(sent.raw) / 1e3;
    let per_gb = |cpu: Duration| format!("{:.1} CPU-s/GB", cpu.as_secs_f64() / giga);
    let against = flushed.as_secs_f64() / arrow.as_secs_f64();
    vec![
        Figure::new("rows sent / found afterwards", format!("{sent_rows} / {found}"), "equal"),
        Figure::new("server, at the last ack", per_gb(acked), ""),
        Figure::new("server, everything flushed", per_gb(flushed), "≤ 20"),
        Figure::new("server, everything compacted too", per_gb(compacted), ""),
        Figure::new("arrow-json, decoding only, one thread", per_gb(arrow), ""),
        Figure::new("server (flushed) : arrow-json", format!("{against:.1} : 1"), ""),
        Figure::new("wall", format!("{:.0} MB/s", mega(sent.raw) / sent.wall.as_secs_f64()), ""),
        Figure::new(
            "durable ack of 2 MB, p50 / p99",
            format!("{:.0} / {:.0} ms", quantile(sent.acks_ms.clone(), 0.5), quantile(sent.acks_ms, 0.99)),
            "",
        ),
        Figure::new("requests told to come back (429, 503)", sent.refused.to_string(), ""),
        Figure::new(
            "raw : objects after flush (inputs of compactions included until swept)",
            format!("{:.1} : 1", mega(sent.raw) / mega(fresh)),
            "",
        ),
        Figure::new("objects on disk after compaction, tombstones included", format!("{:.0} MB", mega(disk)), ""),
        Figure::new("server's peak memory", format!("{:.0} MB", mega(peak)), "≤ 1,074"),
    ]
}

fn count(client: &mut crate::http::Client) -> String {
    let (_, text, _) = client.send("POST", "/v1/workspaces/default/query", br#"{"query":"logs | count"}"#);
    let reply: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    reply["tables"][0]["rows"][0][0].to_string()
}
