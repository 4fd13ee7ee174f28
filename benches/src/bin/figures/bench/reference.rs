//! What the server is held against, over the same rows and in the same minutes.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{JsonReadOptions, ParquetReadOptions, SessionConfig, SessionContext};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strongroom_benches::clock::{forget_pages, on_thread, process_cpu};
use strongroom_benches::data::schema;
use strongroom_benches::{TABLE, plain};
use tokio::runtime::Runtime;

use super::answer::Answer;
use super::ask::Took;
use super::corpus::Corpus;

/// CPU seconds per GB of raw JSON, and what became of the bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Floors {
    /// Decoding all fields by arrow-json, one thread.
    pub(crate) arrow_json: f64,
    /// Decoding, and writing Parquet by DataFusion with zstd-1, one partition.
    pub(crate) to_parquet: f64,
    pub(crate) to_parquet_ratio: f64,
    pub(crate) zstd_1: f64,
    pub(crate) zstd_1_ratio: f64,
    pub(crate) zstd_3: f64,
    pub(crate) zstd_3_ratio: f64,
    /// The Parquet that questions are asked of: zstd-3, in order of time.
    pub(crate) parquet_ratio: f64,
}

impl Floors {
    /// The lesser cost of two runs, one before and one after the server's: what else ran on the machine only adds.
    pub(crate) fn least(self, other: &Self) -> Self {
        Self {
            arrow_json: self.arrow_json.min(other.arrow_json),
            to_parquet: self.to_parquet.min(other.to_parquet),
            zstd_1: self.zstd_1.min(other.zstd_1),
            zstd_3: self.zstd_3.min(other.zstd_3),
            ..self
        }
    }
}

/// Bytes that the floors are taken over, at most.
const FLOOR_BYTES: u64 = 600_000_000;

/// Takes all of them.
pub(crate) fn floors(corpus: &Corpus) -> Floors {
    let file = File::open(corpus.ndjson()).expect("the data set");
    let schema = schema();
    let (mut body, mut bytes) = (Vec::new(), 0_u64);
    let (mut decode, mut packed) = (0.0, [(0.0, 0_u64); 2]);
    for number in 0..corpus.batches.len() {
        if bytes >= FLOOR_BYTES {
            break;
        }
        corpus.batch(&file, number, &mut body);
        bytes += body.len() as u64;
        decode += on_thread(|| plain::decode_arrow_json(&body, &schema)).1.as_secs_f64();
        for (level, (cpu, len)) in [1, 3].into_iter().zip(&mut packed) {
            let (packed, took) = on_thread(|| body.chunks(1 << 20).map(|part| zstd_len(part, level)).sum::<u64>());
            *cpu += took.as_secs_f64();
            *len += packed;
        }
    }
    let part = corpus.dir().join("part.ndjson");
    write_prefix(&corpus.ndjson(), &part, bytes);
    let (cpu, written) = to_parquet(&part, &corpus.dir().join("part.parquet"));
    std::fs::remove_file(&part).expect("a file of ours");
    let giga = crate::mega(bytes) / 1e3;
    let ratio = |len: u64| crate::mega(bytes) / crate::mega(len);
    let parquet = std::fs::metadata(corpus.parquet()).expect("a file").len();
    Floors {
        arrow_json: decode / giga,
        to_parquet: cpu / giga,
        to_parquet_ratio: ratio(written),
        zstd_1: packed[0].0 / giga,
        zstd_1_ratio: ratio(packed[0].1),
        zstd_3: packed[1].0 / giga,
        zstd_3_ratio: ratio(packed[1].1),
        parquet_ratio: crate::mega(corpus.bytes) / crate::mega(parquet),
    }
}

fn zstd_len(part: &[u8], level: i32) -> u64 {
    zstd::bulk::compress(part, level).expect("memory").len() as u64
}

fn write_prefix(from: &Path, to: &Path, bytes: u64) {
    use std::io::Read as _;
    let mut from = File::open(from).expect("the data set").take(bytes);
    std::io::copy(&mut from, &mut File::create(to).expect("a file")).expect("room on disk");
}

/// CPU seconds and bytes written.
fn to_parquet(from: &Path, to: &Path) -> (f64, u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread");
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.parquet.compression = Some("zstd(1)".to_owned());
    let context = SessionContext::new_with_config(config);
    let (from, out) = (from.to_str().expect("UTF-8"), to.to_str().expect("UTF-8"));
    let schema = schema();
    let before = process_cpu();
    runtime.block_on(async {
        let options = JsonReadOptions::default().schema(&schema).file_extension(".ndjson");
        let rows = context.read_json(from, options).await.expect("a table");
        rows.write_parquet(out, DataFrameWriteOptions::new().with_single_file_output(true), None).await.expect("a file");
    });
    let took = process_cpu().saturating_sub(before).as_secs_f64();
    let written = std::fs::metadata(to).expect("a file").len();
    std::fs::remove_file(to).expect("a file of ours");
    (took, written)
}

/// Plain DataFusion over the one Parquet file.
pub(crate) struct Files {
    context: SessionContext,
    runtime: Runtime,
    parquet: PathBuf,
}

impl Files {
    pub(crate) fn open(corpus: &Corpus) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let parquet = corpus.parquet();
        Self { context: Self::context(&runtime, &parquet), runtime, parquet }
    }

    fn context(runtime: &Runtime, parquet: &Path) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(2);
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        options.sql_parser.enable_ident_normalization = false;
        let context = SessionContext::new_with_config(config);
        let path = parquet.to_str().expect("UTF-8");
        runtime.block_on(context.register_parquet(TABLE, path, ParquetReadOptions::default())).expect("a table");
        context
    }

    pub(crate) fn ask(&self, text: &str) -> (Answer, Took) {
        let (cpu, begun) = (process_cpu(), Instant::now());
        let batches = self.runtime.block_on(async { self.context.sql(text).await.expect("a plan").collect().await.expect("an answer") });
        let took = Took::of(process_cpu().saturating_sub(cpu), begun.elapsed());
        (Answer::of_batches(&batches), took)
    }

    /// With nothing remembered of the file.
    pub(crate) fn cold(&mut self, text: &str) -> Took {
        self.context = Self::context(&self.runtime, &self.parquet);
        forget_pages(&self.parquet);
        self.ask(text).1
    }
}

/// DuckDB in a process of its own, over the same file: `benches/reference/duck.py`.
pub(crate) struct Duck {
    child: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    python: PathBuf,
    parquet: PathBuf,
}

const SCRIPT: &str = include_str!("../../../../reference/duck.py");

impl Duck {
    /// With a Python that has `duckdb`.
    pub(crate) fn open(python: &Path, corpus: &Corpus) -> Self {
        let parquet = corpus.parquet();
        let (child, ask, answers) = Self::spawn(python, &parquet);
        Self { child, ask, answers, python: python.to_owned(), parquet }
    }

    fn spawn(python: &Path, parquet: &Path) -> (Child, ChildStdin, BufReader<ChildStdout>) {
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .arg(parquet)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let (ask, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        (child, ask, BufReader::new(answers))
    }

    pub(crate) fn parquet(&self) -> &Path {
        &self.parquet
    }

    /// A process that has read nothing.
    pub(crate) fn restart(&mut self) {
        self.end();
        (self.child, self.ask, self.answers) = Self::spawn(&self.python, &self.parquet);
    }

    pub(crate) fn ask(&mut self, text: &str) -> (Answer, Took) {
        writeln!(self.ask, "{}", Value::from(text)).expect("DuckDB runs");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("DuckDB runs");
        let reply: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("DuckDB gave no answer to: {text}"));
        let names: Vec<String> =
            reply["names"].as_array().expect("names").iter().map(|name| name.as_str().expect("a name").to_owned()).collect();
        let number = |name: &str| reply[name].as_f64().expect("a number");
        (Answer::of_lists(&names, &reply["rows"]), Took { cpu_ms: number("cpu_ms"), wall_ms: number("wall_ms") })
    }

    fn end(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Duck {
    fn drop(&mut self) {
        self.end();
    }
}
