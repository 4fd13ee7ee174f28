//! The marks that this project set itself, beside what was measured.

use std::fmt::Write as _;

use super::ask::{Asked, Times};
use super::report::Report;

/// One mark; what it was measured at, and whether that is within.
struct Mark {
    work: String,
    measured: String,
    bound: &'static str,
    met: bool,
    stretch: Option<(&'static str, bool)>,
}

/// Writes the table. Marks whose figures were not taken are named below it.
pub(crate) fn table(report: &Report, out: &mut String) {
    let (mut marks, mut open) = (Vec::new(), Vec::new());
    let mut take = |name: &'static str, found: Option<Mark>| match found {
        Some(mark) => marks.push(mark),
        None => open.push(name),
    };
    take("ingest", ingest(report));
    take("clients", clients(report));
    take("memory", memory(report));
    take("ack", ack(report));
    take("disk", disk(report));
    for (name, limit, bound, stretch, wider) in HOT {
        take(name, report.question(name).map(|asked| hot(asked, limit, bound, stretch, wider)));
    }
    for name in ["top_err", "p95", "distinct_trace"] {
        take(name, report.question(name).and_then(against_both));
    }
    take("regex", report.question("regex").and_then(regex));
    for (name, cold) in COLD_NEEDLES {
        take(cold, report.question(name).and_then(cold_needle));
    }
    for (name, cold) in COLD_SCANS {
        take(cold, report.question(name).and_then(cold_scan));
    }
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(out, "{text}").expect("a string takes everything");
    line(format_args!("| work | measured | mark | | stretch | |\n|---|---|---|---|---|---|"));
    for Mark { work, measured, bound, met, stretch } in &marks {
        let verdict = |met: bool| if met { "met" } else { "**missed**" };
        let (stretch, reached) = stretch.map_or(("", ""), |(stretch, met)| (stretch, if met { "met" } else { "–" }));
        line(format_args!("| {work} | {measured} | {bound} | {} | {stretch} | {reached} |", verdict(*met)));
    }
    if !open.is_empty() {
        line(format_args!("\nNot measured in this run: {}.", open.join(", ")));
    }
}

/// CPU milliseconds of a hot question: name, bound, its text, the stretch, its text.
const HOT: [(&str, f64, &str, f64, &str); 7] = [
    ("count", 5.0, "≤ 5 ms", 5.0, "≤ 5 ms"),
    ("by_level", 30.0, "≤ 30 ms", 5.0, "≤ 5 ms"),
    ("hist_1m", 60.0, "≤ 60 ms", 5.0, "≤ 5 ms"),
    ("needle_trace", 20.0, "≤ 20 ms", 10.0, "≤ 10 ms"),
    ("word", 20.0, "≤ 20 ms", 10.0, "≤ 10 ms"),
    ("last100", 50.0, "≤ 50 ms", 10.0, "≤ 10 ms"),
    ("last100_all", 20.0, "≤ 20 ms", 10.0, "≤ 10 ms"),
];

/// Questions that read little, and as they are called when asked cold.
const COLD_NEEDLES: [(&str, &str); 4] =
    [("needle_trace", "needle_trace, cold"), ("word", "word, cold"), ("last100", "last100, cold"), ("last100_all", "last100_all, cold")];
/// Those that read much.
const COLD_SCANS: [(&str, &str); 6] = [
    ("by_level", "by_level, cold"),
    ("hist_1m", "hist_1m, cold"),
    ("top_err", "top_err, cold"),
    ("p95", "p95, cold"),
    ("regex", "regex, cold"),
    ("distinct_trace", "distinct_trace, cold"),
];

fn ingest(report: &Report) -> Option<Mark> {
    let worst = report.loads.iter().map(|load| load.settled).reduce(f64::max)?;
    let reference = report.floors.as_ref().map(|floors| floors.to_parquet)?;
    let ratio = worst / reference;
    Some(Mark {
        work: "ingest, settled".to_owned(),
        measured: format!("{worst:.1} CPU-s/GB = {ratio:.2}× DataFusion to Parquet ({reference:.1})"),
        bound: "≤ 15 and ≤ 2.0×",
        met: worst <= 15.0 && ratio <= 2.0,
        stretch: Some(("≤ 10", worst <= 10.0)),
    })
}

fn clients(report: &Report) -> Option<Mark> {
    if report.loads.len() < 2 {
        return None;
    }
    let settled = || report.loads.iter().map(|load| load.settled);
    let (least, most) = (settled().reduce(f64::min)?, settled().reduce(f64::max)?);
    Some(Mark {
        work: "the same from the fewest to the most clients".to_owned(),
        measured: format!("{least:.1} to {most:.1} CPU-s/GB: {:.0} % apart", (most / least - 1.0) * 100.0),
        bound: "within 15 %",
        met: most <= least * 1.15,
        stretch: None,
    })
}

fn memory(report: &Report) -> Option<Mark> {
    let load = report.loads.iter().max_by_key(|load| load.clients)?;
    Some(Mark {
        work: format!("peak memory at {} clients", load.clients),
        measured: format!("{:.2} GB", load.peak_gb),
        bound: "≤ 0.75 GB",
        met: load.peak_gb <= 0.75,
        stretch: Some(("≤ 0.5 GB", load.peak_gb <= 0.5)),
    })
}

fn ack(report: &Report) -> Option<Mark> {
    let load = report.loads.iter().find(|load| load.clients == 1)?;
    Some(Mark {
        work: "ack of a 2 MB batch, one client, p50".to_owned(),
        measured: format!("{:.0} ms", load.ack_p50_ms),
        bound: "≤ 60 ms",
        met: load.ack_p50_ms <= 60.0,
        stretch: Some(("≤ 30 ms", load.ack_p50_ms <= 30.0)),
    })
}

fn disk(report: &Report) -> Option<Mark> {
    let kept = report.loads.iter().map(|load| load.disk.kept()).max()?;
    let ratio = crate::mega(report.bytes) / crate::mega(kept);
    Some(Mark {
        work: "raw : live objects and catalog".to_owned(),
        measured: format!("{ratio:.2}"),
        bound: "≥ 7.2",
        met: ratio >= 7.2,
        stretch: Some(("≥ 8.5", ratio >= 8.5)),
    })
}

fn hot(asked: &Asked, limit: f64, bound: &'static str, stretch: f64, wider: &'static str) -> Mark {
    let (kql, sql) = (asked.kql.hot.cpu_ms, asked.sql.hot.cpu_ms);
    let worse = kql.max(sql);
    Mark {
        work: asked.name.clone(),
        measured: format!("{kql:.1} ms in KQL, {sql:.1} in SQL"),
        bound,
        met: worse <= limit,
        stretch: Some((wider, worse <= stretch)),
    }
}

fn against_both(asked: &Asked) -> Option<Mark> {
    let (datafusion, duckdb) = (asked.datafusion?.hot.cpu_ms, asked.duckdb?.hot.cpu_ms);
    let worse = asked.kql.hot.cpu_ms.max(asked.sql.hot.cpu_ms);
    let (by_datafusion, by_duckdb) = (worse / datafusion, worse / duckdb);
    Some(Mark {
        work: asked.name.clone(),
        measured: format!("{worse:.0} ms = {by_datafusion:.2}× DataFusion, {by_duckdb:.2}× DuckDB"),
        bound: "≤ 1.2× and ≤ 1.5×",
        met: by_datafusion <= 1.2 && by_duckdb <= 1.5,
        stretch: Some(("< 1× DuckDB", by_duckdb < 1.0)),
    })
}

fn regex(asked: &Asked) -> Option<Mark> {
    let worse = asked.kql.hot.cpu_ms.max(asked.sql.hot.cpu_ms);
    let ratio = worse / asked.datafusion?.hot.cpu_ms;
    Some(Mark {
        work: asked.name.clone(),
        measured: format!("{worse:.0} ms = {ratio:.2}× DataFusion"),
        bound: "≤ 1.0×",
        met: ratio <= 1.0,
        stretch: Some(("≤ 0.6×", ratio <= 0.6)),
    })
}

/// What waiting for the disk costs is wall time.
fn cold_needle(asked: &Asked) -> Option<Mark> {
    let (ratio, cold) = worst(asked, |times| Some((times.cold?.wall_ms / times.hot.wall_ms, times.cold?.wall_ms)))?;
    Some(Mark {
        work: format!("{}, cold", asked.name),
        measured: format!("{cold:.0} ms wall = {ratio:.1}× hot"),
        bound: "≤ 3× hot",
        met: ratio <= 3.0,
        stretch: None,
    })
}

fn cold_scan(asked: &Asked) -> Option<Mark> {
    let plain = asked.datafusion?.cold?.wall_ms;
    let (ratio, cold) = worst(asked, |times| Some((times.cold?.wall_ms / plain, times.cold?.wall_ms)))?;
    Some(Mark {
        work: format!("{}, cold", asked.name),
        measured: format!("{cold:.0} ms wall = {ratio:.2}× DataFusion cold"),
        bound: "≤ 1.5×",
        met: ratio <= 1.5,
        stretch: None,
    })
}

/// The larger ratio of the two languages.
fn worst(asked: &Asked, of: impl Fn(&Times) -> Option<(f64, f64)>) -> Option<(f64, f64)> {
    let (kql, sql) = (of(&asked.kql)?, of(&asked.sql)?);
    Some(if kql.0 >= sql.0 { kql } else { sql })
}
