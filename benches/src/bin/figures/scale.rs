//! A catalog of a million blocks, thrice over in one file: what a question of 24 hours costs, and what a writer's work does.
//!
//! Statistics outside of the last two days are blank: a question that opened one of them would fail.

use std::path::Path;
use std::time::{Duration, Instant};

use strongroom_benches::clock::{bytes_below, process_cpu};
use strongroom_benches::estate::Spread;
use strongroom_benches::{House, Logs, median};
use strongroom_catalog::{Shelf, WalkFrom};
use strongroom_model::{TimeRange, WorkspaceId};

use crate::{Arguments, Figure, mega, show};

const HOURS: i64 = 90 * 24;
/// Rules out every block by its statistics: no level is called that.
const NOTHING: &str = r#"logs | where TimeGenerated > ago(24h) and level == "ZZZ" | count"#;

struct Shape {
    name: &'static str,
    /// Tables that share the blocks.
    tables: usize,
    /// Tables of one workspace.
    per_workspace: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "3,000 tables in 1,000 workspaces", tables: 3_000, per_workspace: 3 },
    Shape { name: "100 tables in one workspace", tables: 100, per_workspace: 100 },
    Shape { name: "one table", tables: 1, per_workspace: 1 },
];

/// CPU and wall of a piece of work, milliseconds.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64, f64) {
    let (cpu, wall) = (process_cpu(), Instant::now());
    let done = work();
    let wall = wall.elapsed();
    (done, ms(process_cpu().saturating_sub(cpu)), ms(wall))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The least and the middle of several runs, CPU and wall.
struct Runs {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

impl Runs {
    fn of(repeats: usize, mut work: impl FnMut()) -> Self {
        let (mut cpu, mut wall) = (Vec::new(), Vec::new());
        for _ in 0..repeats {
            let ((), one, other) = timed(&mut work);
            cpu.push(one);
            wall.push(other);
        }
        Self { cpu, wall }
    }

    fn least(&self) -> f64 {
        self.cpu.iter().copied().fold(f64::MAX, f64::min)
    }

    fn text(&self) -> String {
        let wall = self.wall.iter().copied().fold(f64::MAX, f64::min);
        format!("{:.2} CPU-ms (median {:.2}), wall {wall:.2} ms", self.least(), median(self.cpu.clone()))
    }
}

pub(crate) fn take(arguments: &Arguments, below: &Path) {
    let dir = tempfile::tempdir_in(below).expect("a directory");
    let house = House::build(&dir.path().join("house"));
    let mut file = house.catalog_file();
    let now = house.world.clock.wall().unix_ms() / 1_000;
    let body = || bytes::Bytes::from(Logs::from(arguments.seed, (now - 60) * 1_000_000_000).body_of_rows(50));
    let mut told = Vec::new();
    // A table of one block: what the question costs where there is nothing to prune.
    let quiet = house.add_workspace("quiet");
    house.send(quiet, "logs", body());
    assert!(house.flush_of(quiet) > 0);
    for (number, shape) in SHAPES.iter().enumerate() {
        let count = i64::try_from(arguments.blocks / shape.tables).expect("a number of blocks");
        let ((), _, wall) = timed(|| fill(&house, &mut file, number, shape, count, now, &body));
        eprintln!("{}: filled in {:.0} s", shape.name, wall / 1e3);
    }
    for (number, shape) in SHAPES.iter().enumerate() {
        let first = house.workspace_named(&format!("w{number}-0"));
        told.push((shape.name, measure(&house, first, quiet, arguments.repeats)));
    }
    let upkeep = upkeep(&house, &body);
    let size = mega(bytes_below(house.dir()));
    println!("{} blocks in each shape, all in one catalog of {size:.0} MB.\n", arguments.blocks);
    for (name, figures) in told {
        show(&format!("A catalog of a million blocks: {name}"), &figures);
    }
    show("… and what is done again and again, in the largest table", &upkeep);
}

fn fill(
    house: &House,
    file: &mut sqlx::SqliteConnection,
    number: usize,
    shape: &Shape,
    count: i64,
    now: i64,
    body: &dyn Fn() -> bytes::Bytes,
) {
    let mut workspace = WorkspaceId::NIL;
    for table in 0..shape.tables {
        if table % shape.per_workspace == 0 {
            workspace = house.add_workspace(&format!("w{number}-{}", table / shape.per_workspace));
        }
        let name = if table == 0 { "logs".to_owned() } else { format!("logs{table}") };
        house.send(workspace, &name, body());
        assert!(house.flush_of(workspace) > 0);
        let row = house.table_of(workspace, &name);
        let like = house.runtime().block_on(house.catalog.snapshot(row.id, TimeRange::ALL)).expect("the catalog").blocks.remove(0);
        let open_hours = if table == 0 { 48 } else { 0 };
        house.phantoms(file, &like, &Spread { count, hours: HOURS, end: now, large: true, open_hours });
    }
}

fn measure(house: &House, workspace: WorkspaceId, quiet: WorkspaceId, repeats: usize) -> Vec<Figure> {
    let table = house.table_of(workspace, "logs").id;
    let end = house.world.clock.wall().unix_ms() * 1_000_000;
    let day = TimeRange { start: end - 86_400_000_000_000, end };
    let at = |shelf: &Shelf| {
        house.runtime().block_on(async {
            let seq = house.catalog.pin(table).await.expect("the catalog").seq;
            house.catalog.blocks_at(table, seq, day, shelf, u64::MAX).await.expect("blocks")
        })
    };
    let nothing_kept = Runs::of(3, || drop(at(&Shelf::new(0))));
    let shelf = Shelf::new(200_000);
    let read = at(&shelf).rows_read;
    let kept = Runs::of(repeats.max(9), || drop(at(&shelf)));
    let (cold, cold_cpu, cold_wall) = timed(|| house.cost_of(workspace, NOTHING));
    assert_eq!((cold.refused, cold.kept), (None, 0), "every block is ruled out");
    let mut again = None;
    let hot = Runs::of(repeats.max(9), || again = Some(house.cost_of(workspace, NOTHING)));
    let base = Runs::of(repeats.max(9), || drop(house.cost_of(quiet, NOTHING)));
    let again = again.expect("it was asked");
    let (all, all_cpu, _) = timed(|| house.cost_of(workspace, "logs | where level == \"ZZZ\" | count"));
    vec![
        Figure::new("blocks of the table / in 24 hours", format!("{} / {}", total(house, table), cold.seen), ""),
        Figure::new("commit and blocks of 24 h, nothing kept", format!("{}; {read} rows of the catalog", nothing_kept.text()), ""),
        Figure::new("commit and blocks of 24 h, windows kept", kept.text(), ""),
        Figure::new(
            "the question, first time",
            format!("{cold_cpu:.1} CPU-ms, wall {cold_wall:.1} ms; {} rows, {} statistics opened", cold.catalog_rows, cold.cells_opened),
            "",
        ),
        Figure::new(
            "the question, again",
            format!("{}; {} rows, {} statistics opened", hot.text(), again.catalog_rows, again.cells_opened),
            "",
        ),
        Figure::new("the same in a table of one block", base.text(), ""),
        Figure::new("pruning: the difference", format!("{:.2} CPU-ms", (hot.least() - base.least()).max(0.0)), "≤ 5 ms"),
        Figure::new(
            "without a time range",
            format!(
                "{} after {all_cpu:.1} CPU-ms; {} blocks seen, {} statistics opened",
                all.refused.unwrap_or("answered"),
                all.seen,
                all.cells_opened
            ),
            "bounded",
        ),
    ]
}

fn total(house: &House, table: strongroom_model::TableId) -> u64 {
    house.runtime().block_on(house.catalog.pin(table)).expect("the catalog").blocks
}

/// What writers and upkeep do, with all of it in the catalog.
fn upkeep(house: &House, body: &dyn Fn() -> bytes::Bytes) -> Vec<Figure> {
    let workspace = house.workspace_named("w2-0");
    let table = house.table_of(workspace, "logs").id;
    house.send(workspace, "logs", body());
    let (_, flush_cpu, flush_wall) = timed(|| house.flush_of(workspace));
    let run = house.runtime();
    let mut figures =
        vec![Figure::new("one flush, Parquet and fsyncs included", format!("{flush_cpu:.1} CPU-ms, wall {flush_wall:.1} ms"), "")];
    let mut add = |what: &str, cpu: f64, count: usize| figures.push(Figure::new(what, format!("{cpu:.2} CPU-ms, {count} found"), ""));
    let worth = || run.block_on(house.catalog.compaction_walk(WalkFrom::Start, 256)).expect("the catalog");
    let (found, cpu, _) = timed(worth);
    add("windows worth merging", cpu, found.len());
    let oldest = house.world.clock.wall().unix_ms() / 1_000 - (HOURS - 2) * 3_600;
    let (found, cpu, _) = timed(|| run.block_on(house.catalog.expire(table, oldest)).expect("the catalog"));
    add("retention: the oldest hours", cpu, found.len());
    let (found, cpu, _) = timed(|| run.block_on(house.catalog.tombstones(i64::MAX, 500)).expect("the catalog"));
    add("sweep: a batch of tombstones", cpu, found.len());
    let (found, cpu, _) = timed(|| run.block_on(house.catalog.pending(i64::MAX, 500)).expect("the catalog"));
    add("sweep: announced and never put", cpu, found.len());
    figures
}
