//! The figures of `docs/performance.md`: taken by hand, as ratios, everything compared in one run.
//!
//! It starts the release binary on a directory of its own, sends seeded logs to it, and does the same work in this
//! process where the server's inside must be seen. What it prints is Markdown, ready for the page.

mod allocator;
mod bench;
mod filters;
mod groups;
mod house;
mod http;
mod ingest;
mod kql;
mod memory;
mod scale;
mod server;
mod tables;
mod terms;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Takes the figures of docs/performance.md.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    whole: Option<Whole>,
    /// Raw JSON to send, in MB (10^6 bytes).
    #[arg(long, default_value_t = 512)]
    megabytes: usize,
    /// Which to take; all if none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// The release binary.
    #[arg(long, default_value = "target/release/strongroom")]
    binary: PathBuf,
    /// The same with the system's allocator.
    #[arg(long, default_value = "target/release/strongroom-system-alloc")]
    unzeroed: PathBuf,
    /// Where servers and plain files live meanwhile; the system's temporary directory if not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Seed of the logs.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Blocks in the catalog of each shape of `scale`.
    #[arg(long, default_value_t = 1_000_000)]
    blocks: usize,
    /// How often a scan is asked by each side, and how many pairs of servers the allocator's cost is taken from.
    #[arg(long, default_value_t = 7)]
    repeats: usize,
}

#[derive(Debug, clap::Subcommand)]
enum Whole {
    Bench(bench::BenchArguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Durable ingest over HTTP: CPU, acks, bytes on disk, memory.
    Ingest,
    /// Memory while the command line sends 2 GiB.
    Memory,
    /// Scans against plain DataFusion, and the encryption tax.
    House,
    /// Zeroing memory on free.
    Allocator,
    /// KQL against SQL, and the parser.
    Kql,
    /// Token filters: bytes and CPU by rows of a slice.
    Terms,
    /// A catalog of a million blocks.
    Scale,
    /// Three thousand tables.
    Tables,
    /// A simulation: filters of several blocks together.
    Filters,
    /// Groups of filters over 10,000 blocks, as they are.
    Groups,
}

/// One line of a table: what, how much, the mark.
#[derive(Debug)]
struct Figure {
    what: String,
    value: String,
    mark: &'static str,
}

impl Figure {
    fn new(what: impl Into<String>, value: impl Into<String>, mark: &'static str) -> Self {
        Self { what: what.into(), value: value.into(), mark }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Whole::Bench(arguments)) = &arguments.whole {
        return if bench::run(arguments) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let wanted = |part| arguments.parts.is_empty() || arguments.parts.contains(&part);
    let dir = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{cores} cores, load {}, seed {}\n", load.split(' ').take(3).collect::<Vec<_>>().join(" "), arguments.seed);
    if wanted(Part::Ingest) {
        for clients in [1, 4] {
            show(&format!("Ingest, {} MB, {clients} client(s)", arguments.megabytes), &ingest::take(&arguments, &dir, clients));
        }
    }
    if wanted(Part::House) {
        show(&format!("In process, {} MB", arguments.megabytes), &house::take(&arguments, &dir));
    }
    if wanted(Part::Terms) {
        show(&format!("Token filters, {} MB", arguments.megabytes), &terms::take(&arguments));
    }
    if wanted(Part::Kql) {
        show(&format!("KQL, {} MB", arguments.megabytes), &kql::take(&arguments, &dir));
    }
    if wanted(Part::Allocator) {
        show("Zeroing on free", &allocator::take(&arguments, &dir));
    }
    if wanted(Part::Memory) {
        show("`strongroom ingest` of 2 GiB", &memory::take(&arguments, &dir));
    }
    if wanted(Part::Scale) {
        scale::take(&arguments, &dir);
    }
    if wanted(Part::Tables) {
        show("1,000 workspaces of 3 tables", &tables::take(&arguments, &dir));
    }
    if wanted(Part::Filters) {
        filters::take(&arguments, &dir);
    }
    if wanted(Part::Groups) {
        groups::take(&arguments, &dir);
    }
    ExitCode::SUCCESS
}

fn show(title: &str, figures: &[Figure]) {
    println!("### {title}\n\n| figure | measured | mark |\n|---|---|---|");
    for Figure { what, value, mark } in figures {
        println!("| {what} | {value} | {mark} |");
    }
    println!();
}

/// So many units in a million.
fn mega(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let bytes = bytes as f64;
    bytes / 1e6
}
