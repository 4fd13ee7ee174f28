//! `strongroom load`: generated service logs at a given rate, questions beside them, and what came of it.
//!
//! Open loop if a rate is given: a batch is due at its time whether or not the server keeps up, so waiting shows. The
//! latency of an ack is that of the request that was acknowledged; requests turned away are counted as busy.

mod classes;
mod generate;
mod histogram;
mod questions;
mod report;
mod words;

use std::fs::File;
use std::io::{BufWriter, Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use clap::Args;
use rand::Rng;
use reqwest::Method;

pub use self::generate::Generator;
use self::report::Figures;
use crate::Failure;
use crate::client::{Client, InWorkspace, Target, backoff};
use crate::output::Format;
use crate::token::duration;
use crate::vault::VaultTarget;

/// About what a row takes, to cut batches by rows.
const ROW_BYTES: u64 = 420;
/// A run that is given neither rows nor a duration.
const DURATION: Duration = Duration::from_secs(10);
/// Rows of a file that is given no number.
const FILE_ROWS: u64 = 100_000;
/// Files begin at 2026-03-01 UTC, whenever they are written, and span a day.
const FILE_START_NS: i64 = 1_772_323_200_000_000_000;
const FILE_SPAN_NS: i64 = 86_400_000_000_000;
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// So many refusals in a row end the run.
const REFUSALS_MAX: u64 = 10;
/// So long a batch is tried again while the server is busy or away.
const RETRY_FOR: Duration = Duration::from_mins(1);

/// Puts a server under load with generated service logs (17 fields, seeded), and measures.
#[derive(Debug, Args)]
pub(crate) struct Load {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    within: InWorkspace,
    /// The table to fill
    #[arg(long, default_value = "ServiceLogs", value_name = "TABLE")]
    table: String,
    /// Rows in all
    #[arg(long, conflicts_with = "duration")]
    rows: Option<u64>,
    /// How long, like 30s or 10m [default: 10s, unless --rows is given]
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Rows a second over all clients [default: as fast as it goes]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Senders at the same time, one batch each
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// Bytes of a batch, about
    #[arg(long, default_value_t = 2 << 20, value_parser = clap::value_parser!(u64).range(500..=16_777_216))]
    batch_bytes: u64,
    /// The same seed generates the same rows
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Does it once for each of these kinds of keys, in workspaces of its own (load-mmk, load-cmk, load-cmk-double), with
    /// questions afterwards, and compares. Makes what it needs: clusters, a key `load-key` in the vault, their grants; switches
    /// on the vault's soft delete and purge protection
    #[arg(long, value_delimiter = ',', value_name = "LIST", conflicts_with_all = ["workspace", "write", "queries_per_second"])]
    keys: Vec<classes::Keys>,
    #[command(flatten)]
    vault: VaultTarget,
    /// Questions a second beside it: counts, filters, newest rows, needles
    #[arg(long, default_value_t = 0.0)]
    queries_per_second: f64,
    /// The field of a row that carries its time
    #[arg(long, default_value = "TimeGenerated", value_name = "FIELD")]
    time_field: String,
    /// Writes the rows as NDJSON to a file (`-` is stdout) instead of sending them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["duration", "rate", "queries_per_second"])]
    write: Option<PathBuf>,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

/// What all senders share.
struct Run {
    client: Client,
    workspace: String,
    table: String,
    time_field: String,
    id: String,
    rows: u64,
    rate: Option<u64>,
    start: Instant,
    end: Option<Instant>,
    claimed: AtomicU64,
    refused_in_a_row: AtomicU64,
    figures: Figures,
}

impl Load {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(path) = &self.write {
            return self.write_file(path);
        }
        if !(0.0..=1_000.0).contains(&self.queries_per_second) {
            return Err(Failure::Usage("--queries-per-second takes 0 to 1000".into()));
        }
        let client = self.target.client()?;
        client.send(client.request(Method::GET, &["readyz"])).await?;
        if !self.keys.is_empty() {
            return classes::compare(&self, &client).await;
        }
        let (run, outcome) = self.load(client, self.within.workspace.clone()).await;
        run.figures.show(self.output)?;
        run.figures.verdict(outcome)
    }

    /// Sends rows to one workspace: what happened, and how it ended.
    async fn load(&self, client: Client, workspace: String) -> (Arc<Run>, Result<(), Failure>) {
        let start = Instant::now();
        let duration = if self.rows.is_some() { None } else { Some(self.duration.unwrap_or(DURATION)) };
        let run = Arc::new(Run {
            client,
            workspace,
            table: self.table.clone(),
            time_field: self.time_field.clone(),
            id: hex::encode(rand::rng().random::<[u8; 8]>()),
            rows: self.rows.unwrap_or(u64::MAX),
            rate: self.rate,
            start,
            end: duration.map(|duration| start + duration),
            claimed: AtomicU64::new(0),
            refused_in_a_row: AtomicU64::new(0),
            figures: Figures::new(start),
        });
        let batch_rows = (self.batch_bytes / ROW_BYTES).max(1);
        let mut senders = tokio::task::JoinSet::new();
        for number in 0..u64::from(self.clients) {
            let generator = Generator::new(self.seed.wrapping_add(number), &self.time_field);
            senders.spawn(Arc::clone(&run).sender(generator, batch_rows, number));
        }
        let asking = (self.queries_per_second > 0.0)
            .then(|| tokio::spawn(questions::ask(Arc::clone(&run), self.queries_per_second, Generator::new(self.seed, &self.time_field))));
        let showing = tokio::spawn(report::live(Arc::clone(&run)));
        let mut outcome = Ok(());
        while let Some(ended) = senders.join_next().await {
            let ended = ended.map_err(|error| Failure::Failed(format!("a sender stopped: {error}")));
            outcome = outcome.and(ended.and_then(|ended| ended));
        }
        if let Some(asking) = asking {
            asking.abort();
        }
        showing.abort();
        (run, outcome)
    }

    fn write_file(&self, path: &PathBuf) -> Result<(), Failure> {
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
            _ => Failure::Failed(format!("{}: {error}", path.display())),
        };
        let mut out: Box<dyn Write> =
            if path.as_os_str() == "-" { Box::new(stdout().lock()) } else { Box::new(BufWriter::new(File::create(path).map_err(failed)?)) };
        let rows = self.rows.unwrap_or(FILE_ROWS);
        let mut generator = Generator::new(self.seed, &self.time_field);
        let mut lines = Vec::new();
        for row in 0..rows {
            let into = i128::from(FILE_SPAN_NS) * i128::from(row) / i128::from(rows);
            generator.row(FILE_START_NS + i64::try_from(into).expect("within a day"), &mut lines);
            if lines.len() > 1 << 18 {
                out.write_all(&lines).map_err(failed)?;
                lines.clear();
            }
        }
        out.write_all(&lines).and_then(|()| out.flush()).map_err(failed)
    }
}

impl Run {
    fn is_over(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end) || self.refused_in_a_row.load(Ordering::Relaxed) >= REFUSALS_MAX
    }

    /// The next rows to send: the first one's number and how many. `None` when all are taken or time is up.
    fn claim(&self, batch_rows: u64) -> Option<(u64, u64)> {
        if self.is_over() {
            return None;
        }
        let first = self.claimed.fetch_add(batch_rows, Ordering::Relaxed);
        let count = batch_rows.min(self.rows.saturating_sub(first));
        (count > 0).then_some((first, count))
    }

    async fn sender(self: Arc<Self>, mut generator: Generator, batch_rows: u64, number: u64) -> Result<(), Failure> {
        let mut sent = 0_u64;
        let mut last = Ok(());
        while let Some((first, count)) = self.claim(batch_rows) {
            if let Some(rate) = self.rate {
                #[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
                let due = self.start + Duration::from_secs_f64(first as f64 / rate as f64);
                if self.end.is_some_and(|end| due >= end) {
                    break;
                }
                tokio::time::sleep_until(due.into()).await;
            }
            let made = tokio::task::spawn_blocking(move || {
                let mut body = Vec::with_capacity(usize::try_from(count * (ROW_BYTES + 80)).unwrap_or(0));
                let now =
                    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX));
                for row in 0..count {
                    generator.row(now.saturating_add(row.cast_signed() * 1_000), &mut body);
                }
                (generator, body)
            });
            let body;
            (generator, body) = made.await.map_err(|error| Failure::Failed(format!("the generator stopped: {error}")))?;
            let id = format!("load/{}/{number}/{sent}", self.id);
            sent += 1;
            match self.send(&id, body.into()).await {
                Ok(()) => self.refused_in_a_row.store(0, Ordering::Relaxed),
                Err(failure) => {
                    self.refused_in_a_row.fetch_add(1, Ordering::Relaxed);
                    last = Err(failure);
                }
            }
        }
        last
    }

    async fn send(&self, id: &str, body: Bytes) -> Result<(), Failure> {
        let first = Instant::now();
        let mut tries = 0;
        loop {
            let request = self
                .client
                .request(Method::POST, &["v1", "workspaces", &self.workspace, "ingest", &self.table])
                .query(&[("time_field", &self.time_field)])
                .header("x-batch-id", id)
                .timeout(REQUEST_TIMEOUT)
                .body(body.clone());
            let start = Instant::now();
            let error = match self.client.json(request).await {
                Ok(answer) => {
                    self.figures.acked(start.elapsed(), answer["accepted"].as_u64().unwrap_or(0), body.len() as u64);
                    return Ok(());
                }
                Err(error) => error,
            };
            let wait = backoff(tries, error.retry_after);
            if !error.transient || first.elapsed() + wait > RETRY_FOR || self.is_over() {
                self.figures.failed(&error);
                return Err(error.failure);
            }
            self.figures.turned_away();
            tokio::time::sleep(wait).await;
            tries += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        load: Load,
    }

    #[tokio::test]
    async fn a_written_file_is_the_same_for_the_same_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let write = async |name: &str, seed: &str| {
            let path = dir.path().join(name);
            let arguments = ["load", "--rows", "2000", "--seed", seed, "--time-field", "timestamp", "--write", path.to_str().unwrap()];
            Line::try_parse_from(arguments).unwrap().load.run().await.unwrap();
            std::fs::read_to_string(path).unwrap()
        };
        let one = write("one", "7").await;
        assert_eq!(one.lines().count(), 2_000);
        assert!(one.starts_with(r#"{"timestamp":"2026-0"#), "{}", &one[..60]);
        assert!(one.lines().last().unwrap().contains("2026-03-01T23:59:"));
        assert_eq!(one, write("two", "7").await);
        assert_ne!(one, write("three", "8").await);
    }

    #[test]
    fn senders_share_out_exactly_the_rows_asked_for() {
        let target = Line::try_parse_from(["load", "--token", "t"]).unwrap().load.target;
        let start = Instant::now();
        let run = Run {
            client: target.client().unwrap(),
            workspace: String::new(),
            table: String::new(),
            time_field: String::new(),
            id: String::new(),
            rows: 1_000,
            rate: None,
            start,
            end: None,
            claimed: AtomicU64::new(0),
            refused_in_a_row: AtomicU64::new(0),
            figures: Figures::new(start),
        };
        let claims: Vec<(u64, u64)> = std::iter::from_fn(|| run.claim(300)).collect();
        assert_eq!(claims, [(0, 300), (300, 300), (600, 300), (900, 100)]);
    }
}
