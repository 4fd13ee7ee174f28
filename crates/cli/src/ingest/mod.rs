//! `strongroom ingest`: files to rows, exactly once, in bounded memory.
//!
//! A file is cut into batches of whole lines; each has an id, so one whose answer got lost can be sent again without
//! doubling a row. At any time there are at most `--clients` batches under way and two waiting.

mod batches;
mod input;

use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rand::Rng;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::mpsc;

use self::batches::{Batch, Batches};
use crate::Failure;
use crate::client::{Client, InWorkspace, Target, backoff};
use crate::output;
use crate::token::duration;

const BATCH_BYTES: usize = 2 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);

/// How bodies are compressed on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compress {
    /// gzip, fast
    Gzip,
    /// zstd, level 1
    Zstd,
}

/// What becomes of records that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// The batch is refused whole
    Refuse,
    /// They go to the table Rejected, with the reason
    Skip,
}

/// Sends files to a table: JSON objects one a line, a JSON array, or plain lines; gzip and zstd files are inflated.
///
/// Every batch has an id, so nothing is doubled by sending it again. If it stops half-way, the same command with the
/// --run-id it prints goes on where it stopped (within 24 h).
#[derive(Debug, Args)]
pub(crate) struct Ingest {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    within: InWorkspace,
    /// The files; `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The table; it is made if need be
    #[arg(long, short, value_name = "TABLE")]
    table: String,
    /// Lines are plain text: each becomes {"RawData": line}
    #[arg(long)]
    lines: bool,
    /// The field with the row's time [default: TimeGenerated, else the arrival]
    #[arg(long, value_name = "FIELD", conflicts_with = "lines")]
    time_field: Option<String>,
    /// What becomes of records that cannot be taken
    #[arg(long, value_enum, default_value = "refuse")]
    on_error: OnError,
    /// Compresses on the wire
    #[arg(long, value_enum, value_name = "HOW")]
    compress: Option<Compress>,
    /// Batches under way at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    clients: u16,
    /// Bytes of a batch before compression, at most
    #[arg(long, default_value_t = BATCH_BYTES as u32, value_parser = clap::value_parser!(u32).range(1_024..=8_388_608))]
    batch_bytes: u32,
    /// Names the batches; the same name, files and batch size send the same batches
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
    /// How long a batch is tried again while the server is away or busy, like 30s or 5m
    #[arg(long, default_value = "2m", value_parser = duration)]
    retry_for: Duration,
}

/// What is sent and where, shared by all senders.
struct Job {
    client: Client,
    workspace: String,
    table: String,
    parameters: Vec<(&'static str, String)>,
    compress: Option<Compress>,
    run_id: String,
    retry_for: Duration,
    bar: ProgressBar,
    done: Done,
}

/// What has been acknowledged.
#[derive(Debug, Default)]
struct Done {
    accepted: AtomicU64,
    rejected: AtomicU64,
    repeated: AtomicU64,
    /// Rows that wait sealed for a key.
    sealed: AtomicU64,
    /// Rows that the workspace wants thrown away while its key is revoked.
    dropped: AtomicU64,
    bytes: AtomicU64,
}

/// A batch and where it comes from.
struct Work {
    file: usize,
    name: Arc<str>,
    batch: Batch,
}

impl Ingest {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let run_id = self.run_id.clone().unwrap_or_else(|| hex::encode(rand::rng().random::<[u8; 8]>()));
        if run_id.is_empty() || run_id.len() > 80 || !run_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Usage("--run-id takes 1 to 80 visible ASCII characters".into()));
        }
        let stdin_twice = self.files.iter().filter(|file| file.as_os_str() == "-").count() > 1;
        if stdin_twice {
            return Err(Failure::Usage("stdin can be read only once".into()));
        }
        let read = Arc::new(AtomicU64::new(0));
        let job = Arc::new(Job {
            client: self.target.client()?,
            workspace: self.within.workspace.clone(),
            table: self.table.clone(),
            parameters: self.parameters(),
            compress: self.compress,
            run_id,
            retry_for: self.retry_for,
            bar: bar(&self.files),
            done: Done::default(),
        });
        let start = Instant::now();
        let outcome = self.send_all(&job, &read).await;
        job.bar.finish_and_clear();
        job.report(outcome, start.elapsed())
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = vec![("format", if self.lines { "lines" } else { "json" }.to_owned())];
        if self.on_error == OnError::Skip {
            parameters.push(("on_error", "skip".to_owned()));
        }
        parameters.extend(self.time_field.iter().map(|field| ("time_field", field.clone())));
        parameters
    }

    async fn send_all(&self, job: &Arc<Job>, read: &Arc<AtomicU64>) -> Result<(), Failure> {
        let (give, take) = mpsc::channel::<Work>(1);
        let take = Arc::new(tokio::sync::Mutex::new(take));
        let reading = tokio::task::spawn_blocking({
            let (files, plain, size) = (self.files.clone(), self.lines, self.batch_bytes as usize);
            let (bar, read) = (job.bar.clone(), Arc::clone(read));
            move || read_all(&files, plain, size, &read, &bar, &give)
        });
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..self.clients {
            let (job, take, mut stopped) = (Arc::clone(job), Arc::clone(&take), stopped.clone());
            senders.spawn(async move {
                let next = async || take.lock().await.recv().await;
                loop {
                    let work = tokio::select! {
                        // After a failure nobody takes another batch; those under way are finished.
                        _ = stopped.wait_for(|stop| *stop) => return Ok(()),
                        work = next() => work,
                    };
                    let Some(work) = work else { return Ok(()) };
                    job.send(work).await?;
                }
            });
        }
        let mut outcome = Ok(());
        while let Some(ended) = senders.join_next().await {
            let ended = ended.map_err(|error| Failure::Failed(format!("a sender stopped: {error}")));
            outcome = outcome.and(ended.and_then(|ended| ended));
            if outcome.is_err() {
                stop.send_replace(true);
            }
        }
        // The reader may wait for a terminal that says nothing more.
        outcome?;
        reading.await.map_err(|error| Failure::Failed(format!("the reader stopped: {error}")))?
    }
}

fn bar(files: &[PathBuf]) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let sizes = files.iter().map(|file| std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len()));
    let (bar, template) = match sizes.sum::<Option<u64>>() {
        Some(total) => (ProgressBar::new(total), "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left, {msg}"),
        None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}, {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("a fixed template"));
    bar
}

/// Reads every file to its end, or until nobody wants more. Blocking.
fn read_all(
    files: &[PathBuf],
    plain: bool,
    size: usize,
    read: &Arc<AtomicU64>,
    bar: &ProgressBar,
    give: &mpsc::Sender<Work>,
) -> Result<(), Failure> {
    for (file, path) in files.iter().enumerate() {
        let name: Arc<str> = name_of(path).into();
        let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}", name_of(path)));
        let mut batches = Batches::new(input::open(path, plain, Arc::clone(read)).map_err(failed)?, size);
        while let Some(batch) = batches.next().map_err(failed)? {
            if batch.bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if give.blocking_send(Work { file, name: Arc::clone(&name), batch }).is_err() {
                return Ok(());
            }
            bar.set_position(read.load(Ordering::Relaxed));
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    if path.as_os_str() == "-" { "stdin".to_owned() } else { path.display().to_string() }
}

fn compressed(bytes: Vec<u8>, how: Option<Compress>) -> std::io::Result<Vec<u8>> {
    match how {
        None => Ok(bytes),
        Some(Compress::Zstd) => zstd::encode_all(&bytes[..], 1),
        Some(Compress::Gzip) => {
            let mut encoder = flate2::read::GzEncoder::new(&bytes[..], flate2::Compression::fast());
            let mut out = Vec::new();
            std::io::Read::read_to_end(&mut encoder, &mut out)?;
            Ok(out)
        }
    }
}

impl Job {
    /// Sends one batch until it is acknowledged, refused, or time is up.
    async fn send(&self, work: Work) -> Result<(), Failure> {
        let Work { file, name, batch } = work;
        let (first, last, raw) = (batch.first_line, batch.first_line + batch.lines - 1, batch.bytes.len() as u64);
        let how = self.compress;
        let body = tokio::task::spawn_blocking(move || compressed(batch.bytes, how)).await;
        let body = match body {
            Ok(Ok(body)) => Bytes::from(body),
            _ => return Err(Failure::Failed(format!("lines {first} to {last} of {name} cannot be compressed"))),
        };
        let id = format!("{}/{file}/{}", self.run_id, batch.number);
        let start = Instant::now();
        let mut tries = 0;
        let answer = loop {
            let error = match self.client.json(self.request(&id, body.clone())).await {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            let wait = backoff(tries, error.retry_after);
            if !error.transient || start.elapsed() + wait > self.retry_for {
                let place = format!("lines {first} to {last} of {name} were not taken");
                return Err(match error.failure {
                    Failure::Refused(text) => Failure::Refused(format!("{place}: {text}")),
                    Failure::Unreachable(text) => Failure::Unreachable(format!("{place}: {text}")),
                    other => Failure::Failed(format!("{place}: {other}")),
                });
            }
            self.bar.set_message(format!("waiting: {}", error.failure));
            tokio::time::sleep(wait).await;
            tries += 1;
        };
        self.count(&answer, raw);
        Ok(())
    }

    fn request(&self, id: &str, body: Bytes) -> reqwest::RequestBuilder {
        let mut request = self
            .client
            .request(Method::POST, &["v1", "workspaces", &self.workspace, "ingest", &self.table])
            .query(&self.parameters)
            .header("x-batch-id", id)
            .timeout(REQUEST_TIMEOUT)
            .body(body);
        if let Some(how) = self.compress {
            request = request.header("content-encoding", if how == Compress::Zstd { "zstd" } else { "gzip" });
        }
        request
    }

    fn count(&self, answer: &Value, raw: u64) {
        let figure = |name: &str| answer[name].as_u64().unwrap_or(0);
        let accepted = figure("accepted") + self.done.accepted.fetch_add(figure("accepted"), Ordering::Relaxed);
        self.done.rejected.fetch_add(figure("rejected"), Ordering::Relaxed);
        self.done.dropped.fetch_add(figure("dropped"), Ordering::Relaxed);
        if answer["state"].is_string() {
            self.done.sealed.fetch_add(figure("accepted"), Ordering::Relaxed);
        }
        self.done.bytes.fetch_add(raw, Ordering::Relaxed);
        self.done.repeated.fetch_add(u64::from(answer["duplicate"] == true), Ordering::Relaxed);
        self.bar.set_message(format!("{accepted} rows"));
    }

    fn report(&self, outcome: Result<(), Failure>, took: Duration) -> Result<(), Failure> {
        let figure = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (accepted, rejected) = (figure(&self.done.accepted), figure(&self.done.rejected));
        let seconds = took.as_secs_f64().max(1e-3);
        let mut summary = format!(
            "{} into {}, {} in {seconds:.1} s ({} rows/s, {}/s)",
            output::count(accepted, "row"),
            self.table,
            output::size(figure(&self.done.bytes)),
            output::per_second(accepted, seconds),
            output::size(output::per_second(figure(&self.done.bytes), seconds)),
        );
        if figure(&self.done.repeated) > 0 {
            summary = format!("{summary}; of them {} sent again and not doubled", output::count(figure(&self.done.repeated), "batch"));
        }
        if figure(&self.done.sealed) > 0 {
            let rows = output::count(figure(&self.done.sealed), "row");
            summary = format!("{summary}; {rows} kept sealed, to be seen when the cluster's key is back");
        }
        if figure(&self.done.dropped) > 0 {
            let rows = output::count(figure(&self.done.dropped), "row");
            summary = format!("{summary}; {rows} dropped, as the workspace has it while its key is revoked");
        }
        match outcome {
            Err(failure) if accepted + rejected == 0 => Err(failure),
            Err(failure) => {
                Err(failure.after_some(&format!("before that: {summary}\nto go on: the same command with --run-id {}", self.run_id)))
            }
            Ok(()) => {
                output::print(&summary)?;
                match rejected {
                    0 => Ok(()),
                    _ => Err(Failure::Partly(format!("{} not taken; see the table Rejected", output::count(rejected, "record")))),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
