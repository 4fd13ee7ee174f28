//! A thousand workspaces of three tables each, of which every one is sent a little: memory, open files, log, acks, flushes.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use strongroom_benches::clock::{bytes_below, process_cpu};
use strongroom_benches::{House, Logs, median, quantile};
use strongroom_model::WorkspaceId;

use crate::{Arguments, Figure, mega};

const WORKSPACES: usize = 1_000;
const TABLES: [&str; 3] = ["requests", "traces", "audit"];
/// About two kilobytes.
const ROWS: usize = 5;

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1_024
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn files_below(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.filter_map(Result::ok).map(|entry| if entry.path().is_dir() { files_below(&entry.path()) } else { 1 }).sum()
}

struct State {
    rss: u64,
    open: usize,
}

fn state() -> State {
    State { rss: resident(), open: open_files() }
}

impl State {
    fn text(&self, before: &Self) -> String {
        format!("{:.0} MB (+ {:.0}), {} open files", mega(self.rss), mega(self.rss.saturating_sub(before.rss)), self.open)
    }
}

pub(crate) fn take(arguments: &Arguments, below: &Path) -> Vec<Figure> {
    let dir = tempfile::tempdir_in(below).expect("a directory");
    let house = House::build(&dir.path().join("house"));
    let start = state();
    let now = house.world.clock.wall().unix_ms() * 1_000_000;
    let mut logs = Logs::from(arguments.seed, now - 1_000_000_000_000);
    let workspaces: Vec<WorkspaceId> = (0..WORKSPACES).map(|n| house.add_workspace(&format!("w{n}"))).collect();
    let mut round = || {
        let (mut acks, mut bytes) = (Vec::new(), 0);
        let before = process_cpu();
        for workspace in &workspaces {
            for table in TABLES {
                let body = logs.body_of_rows(ROWS);
                bytes += body.len();
                let started = Instant::now();
                house.send(*workspace, table, body.into());
                acks.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
        let cpu = process_cpu().saturating_sub(before).as_secs_f64() * 1e3;
        let posts = acks.len() as f64;
        (format!("p50 {:.2} ms, p99 {:.2} ms, {:.2} CPU-ms each", median(acks.clone()), quantile(acks, 0.99), cpu / posts), bytes)
    };
    let (first, bytes) = round();
    let filled = state();
    let pressure = house.buffer.pressure();
    let log = house.dir().join("wal");
    let (second, _) = round();
    let again = state();
    let (cpu, mut blocks) = (process_cpu(), 0);
    let started = Instant::now();
    for workspace in &workspaces {
        blocks += house.flush_of(*workspace);
    }
    let (wall, cpu) = (started.elapsed().as_secs_f64() * 1e3, process_cpu().saturating_sub(cpu).as_secs_f64() * 1e3);
    let flushed = state();
    let stored = bytes_below(&house.dir().join("objects"));
    let one = house.cost_of(workspaces[7], "requests | where TimeGenerated > ago(1d) | count");
    let tables = WORKSPACES * TABLES.len();
    vec![
        Figure::new("an empty house", start.text(&start), ""),
        Figure::new(format!("acks, one post of {} bytes to each of {tables} new tables", bytes / tables), first, ""),
        Figure::new("then", filled.text(&start), ""),
        Figure::new(
            "memtables",
            format!(
                "{} of {:.1} KB each, {:.0} of {:.0} MB in all",
                pressure.tables.len(),
                mega(pressure.total_bytes) * 1e3 / tables as f64,
                mega(pressure.total_bytes),
                mega(pressure.total_bytes_max)
            ),
            "≤ 256 MiB",
        ),
        Figure::new("log", format!("{} segments, {:.1} MB", files_below(&log), mega(bytes_below(&log))), "≤ 4 GiB"),
        Figure::new("acks, a second post to each", second, ""),
        Figure::new("then", again.text(&start), ""),
        Figure::new(
            "a flush of each",
            format!(
                "{blocks} blocks of {:.1} KB, {:.1} CPU-ms and {:.1} ms each",
                mega(stored) * 1e3 / blocks as f64,
                cpu / blocks as f64,
                wall / blocks as f64
            ),
            "",
        ),
        Figure::new("then", flushed.text(&start), ""),
        Figure::new("log", format!("{} segments", files_below(&log)), ""),
        Figure::new(
            "catalog",
            format!("{:.1} MB", mega(fs::metadata(house.dir().join("catalog.sqlite")).map_or(0, |meta| meta.len()))),
            "",
        ),
        Figure::new("a question of one of them", format!("{} blocks seen, {} rows of the catalog", one.seen, one.catalog_rows), ""),
    ]
}
