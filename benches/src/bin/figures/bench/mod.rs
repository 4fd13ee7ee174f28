//! `figures bench`: a day of logs over HTTP into a server of its own, questions about it, and references beside both.
//!
//! The server is the release binary with its default settings on an empty directory: durable acks, everything sealed. CPU is
//! the server's, from `/proc`; a client's is not counted, though it runs on the same machine. `--only`, `--rows` and
//! `--binary` make it a tool to compare two builds with; `cargo xtask bench` runs all of it and writes `docs/performance.md`.

mod answer;
mod ask;
mod corpus;
mod load;
mod marks;
mod questions;
mod reference;
mod report;

use std::path::{Path, PathBuf};

use strongroom_benches::data::DAY_ROWS;

use self::ask::References;
use self::corpus::Corpus;
use self::reference::{Duck, Files};
use self::report::{Machine, Report};

/// Clients that load the data set when it is only loaded to be asked about.
const CLIENTS_FOR_QUESTIONS: usize = 4;

/// Loads a day of logs and asks about it, with references in the same minutes.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {
    /// The server to measure.
    #[arg(long, default_value = "target/release/strongroom")]
    binary: PathBuf,
    /// Rows of the data set; fewer are fewer hours of the same logs.
    #[arg(long, default_value_t = DAY_ROWS)]
    rows: u64,
    /// Clients that load at once; each number is a run of its own, on an empty directory.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16")]
    clients: Vec<usize>,
    /// One half alone.
    #[arg(long, value_enum)]
    only: Option<Half>,
    /// How often each question is asked, of each side in turn; the median counts.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Questions to ask, by name; all if none is named.
    #[arg(long, value_delimiter = ',')]
    questions: Vec<String>,
    /// Without asking again after a restart with no page in memory.
    #[arg(long)]
    no_cold: bool,
    /// Without DataFusion, DuckDB, arrow-json and zstd.
    #[arg(long)]
    no_references: bool,
    /// A Python with `duckdb`; without it DuckDB is left out.
    #[arg(long)]
    python: Option<PathBuf>,
    /// Seed of the logs.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Keeps the data set here for the next run (2.6 GB); else it goes with the run.
    #[arg(long)]
    corpus: Option<PathBuf>,
    /// Where servers live meanwhile; the system's temporary directory if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// What is measured, for the record: a commit.
    #[arg(long, default_value = "")]
    commit: String,
    /// Writes all figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Adds all figures to this file as a line of JSON.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Writes the table into this page, between its markers.
    #[arg(long)]
    docs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Half {
    /// Loading, by each number of clients.
    Ingest,
    /// Questions, after one load.
    Queries,
}

/// Whether every question was answered, and by all alike.
pub(crate) fn run(arguments: &BenchArguments) -> bool {
    let below = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let started = Machine::now();
    let temporary;
    let place: &Path = if let Some(place) = &arguments.corpus {
        place
    } else {
        temporary = tempfile::tempdir_in(&below).expect("a directory");
        temporary.path()
    };
    let corpus = Corpus::open(place, arguments.seed, arguments.rows);
    note(&format!("{} rows, {} MB of JSON", corpus.rows, corpus.bytes / 1_000_000));
    let mut report = Report::new(&corpus, arguments.commit.clone(), started);
    if !arguments.no_references && arguments.only != Some(Half::Queries) {
        note("references of ingest");
        report.floors = Some(reference::floors(&corpus));
    }
    let asks = arguments.only != Some(Half::Ingest);
    let clients = if arguments.only == Some(Half::Queries) { vec![CLIENTS_FOR_QUESTIONS] } else { arguments.clients.clone() };
    // The last load is the one that is asked about.
    let mut loaded = None;
    for clients in clients {
        drop(loaded.take());
        note(&format!("ingest, {clients} client(s)"));
        let (server, load) = load::load(&corpus, &arguments.binary, &below, clients);
        report.loads.push(load);
        // A run is long: what is known is kept, whatever comes.
        report.keep(arguments.json.as_deref(), None, None);
        loaded = Some(server);
    }
    if let Some(before) = report.floors.take() {
        note("references of ingest once more");
        report.floors = Some(before.least(&reference::floors(&corpus)));
    }
    if let Some(mut server) = loaded.filter(|_| asks) {
        note("questions");
        let mut references = (!arguments.no_references).then(|| References {
            files: Files::open(&corpus),
            duck: arguments.python.as_deref().map(|python| Duck::open(python, &corpus)),
        });
        let mut questions = questions::about(&corpus);
        questions.retain(|question| arguments.questions.is_empty() || arguments.questions.iter().any(|name| name == question.name));
        (report.asked, report.wrong) =
            ask::ask_all(&questions, &mut server, &arguments.binary, &mut references, arguments.repeats, !arguments.no_cold);
    }
    report.ended = Some(Machine::now());
    report.show();
    let docs = arguments.docs.as_deref().filter(|_| arguments.is_whole());
    if docs.is_none() && arguments.docs.is_some() {
        eprintln!("bench: the page is left as it is: only a whole run is written there");
    }
    report.keep(arguments.json.as_deref(), arguments.history.as_deref(), docs);
    report.wrong.is_empty()
}

impl BenchArguments {
    /// Whether nothing is left out.
    fn is_whole(&self) -> bool {
        let less = self.no_cold || self.no_references || self.python.is_none() || self.only.is_some() || !self.questions.is_empty();
        !less && self.rows == DAY_ROWS && self.repeats >= 5 && [1, 4, 16].iter().all(|clients| self.clients.contains(clients))
    }
}

/// What is under way, beside the table that is printed at the end.
fn note(what: &str) {
    eprintln!("bench: {what} …");
}
