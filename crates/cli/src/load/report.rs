//! What came of the load: while it runs on stderr, at the end on stdout.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Run;
use super::histogram::Histogram;
use crate::Failure;
use crate::client::CallError;
use crate::output::{self, Format};

/// What has happened so far.
#[derive(Debug)]
struct Sums {
    rows: u64,
    bytes: u64,
    acks: Histogram,
    answers: Histogram,
    busy: u64,
    not_asked: u64,
    /// How often what went wrong.
    errors: BTreeMap<String, u64>,
    query_errors: BTreeMap<String, u64>,
    last_ack: Instant,
}

/// Counts what happens; shared by all senders.
#[derive(Debug)]
pub(super) struct Figures {
    start: Instant,
    sums: Mutex<Sums>,
}

impl Figures {
    pub(super) fn new(start: Instant) -> Self {
        let sums = Sums {
            rows: 0,
            bytes: 0,
            acks: Histogram::new(),
            answers: Histogram::new(),
            busy: 0,
            not_asked: 0,
            errors: BTreeMap::new(),
            query_errors: BTreeMap::new(),
            last_ack: start,
        };
        Self { start, sums: Mutex::new(sums) }
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().expect("no one panics while counting")
    }

    pub(super) fn acked(&self, took: Duration, rows: u64, bytes: u64) {
        let mut sums = self.sums();
        sums.rows += rows;
        sums.bytes += bytes;
        sums.acks.add(took);
        sums.last_ack = Instant::now();
    }
    pub(super) fn turned_away(&self) {
        self.sums().busy += 1;
    }
    pub(super) fn failed(&self, error: &CallError) {
        *self.sums().errors.entry(name(error)).or_default() += 1;
    }
    pub(super) fn answered(&self, took: Duration) {
        self.sums().answers.add(took);
    }
    pub(super) fn not_answered(&self, error: &CallError) {
        *self.sums().query_errors.entry(name(error)).or_default() += 1;
    }
    /// Whether there is anything to ask about.
    pub(super) fn has_rows(&self) -> bool {
        self.sums().rows > 0
    }
    pub(super) fn not_asked(&self) {
        self.sums().not_asked += 1;
    }

    /// Forgets the answers so far: they warmed things up.
    pub(super) fn forget_answers(&self) {
        self.sums().answers = Histogram::new();
    }

    pub(super) fn as_json(&self) -> Value {
        let sums = self.sums();
        // Until the last ack: what comes after it is not the server's doing.
        let seconds = sums.last_ack.duration_since(self.start).as_secs_f64().max(1e-3);
        let per_second = |figure| output::per_second(figure, seconds);
        json!({
            "rows": sums.rows,
            "bytes": sums.bytes,
            "seconds": (seconds * 1e3).round() / 1e3,
            "rowsPerSecond": per_second(sums.rows),
            "bytesPerSecond": per_second(sums.bytes),
            "batches": sums.acks.count(),
            "ackP50Ms": ms(&sums.acks, 0.5),
            "ackP99Ms": ms(&sums.acks, 0.99),
            "busy": sums.busy,
            "errors": sums.errors,
            "queries": sums.answers.count(),
            "queryP50Ms": ms(&sums.answers, 0.5),
            "queryP99Ms": ms(&sums.answers, 0.99),
            "queriesNotAsked": sums.not_asked,
            "queryErrors": sums.query_errors,
        })
    }

    fn line(&self) -> String {
        let now = self.as_json();
        let errors = sum(&now["errors"]) + sum(&now["queryErrors"]);
        let mut line = format!(
            "{} rows, {} rows/s, {}/s, ack p50 {} p99 {} ms",
            now["rows"],
            now["rowsPerSecond"],
            output::size(now["bytesPerSecond"].as_u64().unwrap_or(0)),
            figure(&now["ackP50Ms"]),
            figure(&now["ackP99Ms"]),
        );
        if now["queries"] != 0 {
            let (p50, p99) = (figure(&now["queryP50Ms"]), figure(&now["queryP99Ms"]));
            write!(line, ", {} queries p50 {p50} p99 {p99} ms", now["queries"]).expect("a string takes everything");
        }
        write!(line, ", {} busy, {errors} errors", now["busy"]).expect("a string takes everything");
        line
    }

    /// Prints the result.
    pub(super) fn show(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => output::print_json(&self.as_json()),
            Format::Table => {
                let all = self.as_json();
                output::print(&format!("{} in {} s: {}", output::size(all["bytes"].as_u64().unwrap_or(0)), all["seconds"], self.line()))?;
                for (what, errors) in [("ingest", &all["errors"]), ("query", &all["queryErrors"])] {
                    for (name, count) in errors.as_object().into_iter().flatten() {
                        output::print(&format!("  {what}: {count} × {name}"))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// How the run ends: well, or with what went wrong.
    pub(super) fn verdict(&self, outcome: Result<(), Failure>) -> Result<(), Failure> {
        let (rows, ingest_errors, query_errors) = {
            let sums = self.sums();
            (sums.rows, sums.errors.values().sum::<u64>(), sums.query_errors.values().sum::<u64>())
        };
        match outcome {
            Err(failure) if rows == 0 => Err(failure),
            Err(failure) => Err(failure.after_some(&format!("{ingest_errors} batches were not taken, {rows} rows were"))),
            Ok(()) if ingest_errors + query_errors > 0 => {
                Err(Failure::Partly(format!("{ingest_errors} batches were not taken, {query_errors} queries were not answered")))
            }
            Ok(()) => Ok(()),
        }
    }
}

/// What an error is counted under: its status and code, never more, so that there are few.
fn name(error: &CallError) -> String {
    let text = error.failure.to_string();
    let code = text.split(':').next().unwrap_or_default();
    match error.status {
        Some(status) if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => format!("{} {code}", status.as_u16()),
        Some(status) => status.as_u16().to_string(),
        None => "no answer".to_owned(),
    }
}

fn ms(histogram: &Histogram, share: f64) -> Value {
    histogram.quantile(share).map_or(Value::Null, |time| json!((time.as_secs_f64() * 1e4).round() / 10.0))
}

fn figure(value: &Value) -> String {
    if value.is_null() { "-".to_owned() } else { value.to_string() }
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

/// Shows the figures on stderr while it runs: in place on a terminal, else a line every ten seconds.
pub(super) async fn live(run: Arc<Run>) {
    let terminal = stderr().is_terminal();
    let bar = if terminal { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_style(ProgressStyle::with_template("{elapsed} {wide_msg}").expect("a fixed template"));
    let mut due = tokio::time::interval(if terminal { Duration::from_millis(500) } else { Duration::from_secs(10) });
    due.tick().await;
    loop {
        due.tick().await;
        let line = run.figures.line();
        if terminal {
            bar.set_message(line);
        } else {
            eprintln!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn figures_add_up_and_errors_decide_how_it_ends() {
        let figures = Figures::new(Instant::now());
        assert_eq!(figures.verdict(Err(Failure::Refused("no".into()))).unwrap_err().code(), 3);
        for n in 1..=100 {
            figures.acked(Duration::from_millis(n), 10, 4_000);
        }
        figures.answered(Duration::from_millis(5));
        let all = figures.as_json();
        assert_eq!((&all["rows"], &all["batches"], &all["queries"]), (&json!(1_000), &json!(100), &json!(1)));
        assert!((49.0..=51.0).contains(&all["ackP50Ms"].as_f64().unwrap()), "{all}");
        assert_eq!(figures.verdict(Ok(())), Ok(()));
        let error = |text: &str, status| CallError {
            failure: Failure::Refused(text.into()),
            transient: false,
            retry_after: None,
            status,
            wrong: Vec::new(),
        };
        figures.failed(&error("BadRow: x", Some(StatusCode::BAD_REQUEST)));
        figures.not_answered(&error("http://x does not answer: refused", None));
        assert_eq!(figures.as_json()["errors"], json!({"400 BadRow": 1}));
        assert_eq!(figures.as_json()["queryErrors"], json!({"no answer": 1}));
        assert_eq!(figures.verdict(Ok(())).unwrap_err().code(), 5);
        assert_eq!(figures.verdict(Err(Failure::Refused("no".into()))).unwrap_err().code(), 5);
        assert!(figures.line().ends_with("0 busy, 2 errors"), "{}", figures.line());
    }
}
