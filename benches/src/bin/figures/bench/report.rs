//! What a run found: as Markdown, as a line of JSON, and in `docs/performance.md`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use strongroom_benches::data::timestamp;

use super::ask::{Asked, Times, Took};
use super::corpus::Corpus;
use super::load::Load;
use super::marks;
use super::reference::Floors;

const BEGIN: &str = "<!-- bench: written by `cargo xtask bench` -->";
const END: &str = "<!-- /bench -->";

/// A line of the table of loads: what, and its figure of a load.
type Line = (&'static str, fn(&Load) -> String);

/// The machine at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    at: String,
    cores: usize,
    model: String,
    memory_gb: f64,
    load: String,
}

impl Machine {
    pub(crate) fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let kilobytes = field(&read("/proc/meminfo"), "MemTotal").trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0);
        Self {
            at: timestamp(i64::try_from(now).expect("before 2262"))[..16].to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            model: field(&read("/proc/cpuinfo"), "model name"),
            memory_gb: (kilobytes / 1_048_576.0).round(),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) commit: String,
    pub(crate) started: Machine,
    pub(crate) ended: Option<Machine>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) floors: Option<Floors>,
    pub(crate) loads: Vec<Load>,
    pub(crate) asked: Vec<Asked>,
    /// Questions that failed, or were answered differently, and how.
    pub(crate) wrong: Vec<String>,
}

impl Report {
    pub(crate) fn new(corpus: &Corpus, commit: String, started: Machine) -> Self {
        Self {
            commit,
            started,
            ended: None,
            rows: corpus.rows,
            bytes: corpus.bytes,
            floors: None,
            loads: Vec::new(),
            asked: Vec::new(),
            wrong: Vec::new(),
        }
    }

    /// The figures of a question, if it was asked.
    pub(crate) fn question(&self, name: &str) -> Option<&Asked> {
        self.asked.iter().find(|asked| asked.name == name)
    }

    pub(crate) fn show(&self) {
        println!("{}", self.markdown());
    }

    /// Writes where it was asked to.
    pub(crate) fn keep(&self, json: Option<&Path>, history: Option<&Path>, docs: Option<&Path>) {
        if let Some(path) = json {
            fs::write(path, serde_json::to_vec_pretty(self).expect("plain data")).expect("a file");
        }
        if let Some(path) = history {
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("a file");
            writeln!(file, "{}", serde_json::to_string(self).expect("plain data")).expect("room on disk");
        }
        if let Some(path) = docs {
            let page = fs::read_to_string(path).expect("a page");
            fs::write(path, replaced(&page, &self.markdown())).expect("a file");
        }
    }

    fn markdown(&self) -> String {
        let mut out = String::new();
        let Machine { cores, model, memory_gb, at, load } = &self.started;
        let ended = self.ended.as_ref().map_or_else(String::new, |ended| format!("; at the end {} with load {}", ended.at, ended.load));
        let commit = if self.commit.is_empty() { String::new() } else { format!("Commit {}. ", self.commit) };
        put(&mut out, format_args!("{commit}{cores} cores ({model}), {memory_gb:.0} GiB; began {at} UTC with load {load}{ended}."));
        put(
            &mut out,
            format_args!("{} rows, {} MB of NDJSON in batches of 2 MB, rows that end about now.\n", self.rows, self.bytes / 1_000_000),
        );
        marks::table(self, &mut out);
        for wrong in &self.wrong {
            put(&mut out, format_args!("\n**Wrong:** {wrong}"));
        }
        self.ingest(&mut out);
        self.queries(&mut out);
        out
    }

    fn ingest(&self, out: &mut String) {
        if self.loads.is_empty() {
            return;
        }
        put(
            out,
            format_args!("\n| ingest | {} |", columns(&self.loads, |load| format!("{} client{}", load.clients, plural(load.clients)))),
        );
        put(out, format_args!("|---|{}", "---|".repeat(self.loads.len())));
        let rows: [Line; 11] = [
            ("CPU-s/GB at the last ack / flushed / settled", |l| format!("{:.1} / {:.1} / {:.1}", l.acked, l.flushed, l.settled)),
            ("wall, MB/s", |l| format!("{:.0}", l.mb_per_s)),
            ("durable ack of 2 MB, p50 / p99, ms", |l| format!("{:.0} / {:.0}", l.ack_p50_ms, l.ack_p99_ms)),
            ("peak memory, GB", |l| format!("{:.2}", l.peak_gb)),
            ("requests told to come back", |l| l.refused.to_string()),
            ("rows found", |l| l.rows_found.to_string()),
            ("live objects, MB", |l| megabytes(l.disk.live)),
            ("catalog, MB", |l| megabytes(l.disk.catalog)),
            ("replaced objects not yet swept, MB", |l| megabytes(l.disk.replaced)),
            ("hot cache, MB", |l| megabytes(l.disk.cache)),
            ("log and the rest, MB", |l| megabytes(l.disk.log + l.disk.rest)),
        ];
        for (name, value) in rows {
            put(out, format_args!("| {name} | {} |", columns(&self.loads, value)));
        }
        let ratio = |l: &Load| format!("{:.2}", crate::mega(self.bytes) / crate::mega(l.disk.kept()));
        put(out, format_args!("| raw : live objects and catalog | {} |", columns(&self.loads, ratio)));
        if let Some(floors) = &self.floors {
            put(out, format_args!("\n| reference, same bytes | CPU-s/GB | raw : size |\n|---|---|---|"));
            let rows = [
                ("arrow-json, decoding alone", floors.arrow_json, None),
                ("DataFusion, NDJSON to Parquet zstd-1", floors.to_parquet, Some(floors.to_parquet_ratio)),
                ("zstd-1 of the text, 1 MiB blocks", floors.zstd_1, Some(floors.zstd_1_ratio)),
                ("zstd-3 of the text", floors.zstd_3, Some(floors.zstd_3_ratio)),
            ];
            for (name, cpu, ratio) in rows {
                put(out, format_args!("| {name} | {cpu:.1} | {} |", ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))));
            }
            put(out, format_args!("| Parquet zstd-3 in order of time, 122,880 rows a group | | {:.2} |", floors.parquet_ratio));
        }
    }

    fn queries(&self, out: &mut String) {
        if self.asked.is_empty() {
            return;
        }
        put(out, format_args!("\nCPU / wall in ms; hot is the median, cold the first after a restart without a page in memory.\n"));
        put(
            out,
            format_args!("| question | rows | KQL | SQL | DataFusion | DuckDB | KQL cold | SQL cold | DataFusion cold | DuckDB cold |"),
        );
        put(out, format_args!("|---|---|---|---|---|---|---|---|---|---|"));
        for asked in &self.asked {
            let all = [Some(asked.kql), Some(asked.sql), asked.datafusion, asked.duckdb];
            let cells = |of: fn(&Times) -> Option<Took>| {
                let cell = |times: &Option<Times>| times.as_ref().and_then(of).map_or_else(String::new, |took| pair(&took));
                all.iter().map(cell).collect::<Vec<_>>().join(" | ")
            };
            let (hot, cold) = (cells(|times| Some(times.hot)), cells(|times| times.cold));
            put(out, format_args!("| {} | {} | {hot} | {cold} |", asked.name, asked.rows));
        }
    }
}

fn pair(took: &Took) -> String {
    let digits = |ms: f64| if ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") };
    format!("{} / {}", digits(took.cpu_ms), digits(took.wall_ms))
}

fn columns(loads: &[Load], value: impl Fn(&Load) -> String) -> String {
    loads.iter().map(value).collect::<Vec<_>>().join(" | ")
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", crate::mega(bytes))
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("a string takes everything");
}

/// The page with this text between its markers; at its end if it has none yet.
fn replaced(page: &str, text: &str) -> String {
    let part = format!("{BEGIN}\n{text}{END}\n");
    match (page.find(BEGIN), page.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            let after = page[end + END.len()..].strip_prefix('\n').unwrap_or_default();
            format!("{}{part}{after}", &page[..begin])
        }
        _ => format!("{page}\n{part}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_keeps_what_is_written_by_hand() {
        let page = format!("# Page\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\n## After\n");
        let new = replaced(&page, "new\n");
        assert_eq!(new, format!("# Page\n\nBefore.\n\n{BEGIN}\nnew\n{END}\n\n## After\n"));
        assert_eq!(replaced(&new, "new\n"), new, "again changes nothing");
    }
}
