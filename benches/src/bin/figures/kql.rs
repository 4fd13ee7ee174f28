//! KQL beside SQL that means the same, and the parser over real queries.

use std::path::{Path, PathBuf};
use std::time::Instant;

use strongroom_benches::clock::process_cpu;
use strongroom_benches::{House, median, quantile};
use strongroom_query::Language;

use crate::ingest::bodies;
use crate::{Arguments, Figure};

/// Questions in both languages.
const PAIRS: [(&str, &str, &str); 10] = [
    ("count", "logs | count", r#"SELECT count(*) AS "Count" FROM logs"#),
    ("filter", "logs | where status >= 500 | count", r#"SELECT count(*) FROM logs WHERE "status" >= 500"#),
    (
        "equality",
        "logs | where level == \"ERROR\" | project TimeGenerated, message",
        r#"SELECT "TimeGenerated", "message" FROM logs WHERE "level" = 'ERROR'"#,
    ),
    (
        "group",
        "logs | summarize count(), avg(duration_ms) by service, level",
        r#"SELECT "service", "level", count(*), avg("duration_ms") FROM logs GROUP BY "service", "level""#,
    ),
    (
        "bins",
        "logs | summarize count() by bin(TimeGenerated, 1m)",
        r#"SELECT date_bin(interval '1 minute', "TimeGenerated"), count(*) FROM logs GROUP BY 1"#,
    ),
    ("newest", "logs | top 100 by TimeGenerated", r#"SELECT * FROM logs ORDER BY "TimeGenerated" DESC LIMIT 100"#),
    (
        "largest",
        "logs | where duration_ms > 1.0 | top 10 by duration_ms | project service, duration_ms",
        r#"SELECT "service", "duration_ms" FROM logs WHERE "duration_ms" > 1.0 ORDER BY "duration_ms" DESC NULLS LAST LIMIT 10"#,
    ),
    (
        "contains",
        "logs | where message contains_cs \"splitbrain\" | count",
        r#"SELECT count(*) FROM logs WHERE "message" LIKE '%splitbrain%'"#,
    ),
    ("list", "logs | where status in (500, 502, 503) | count", r#"SELECT count(*) FROM logs WHERE "status" IN (500, 502, 503)"#),
    (
        "extremes",
        "logs | summarize min(duration_ms), max(duration_ms) by service",
        r#"SELECT "service", min("duration_ms"), max("duration_ms") FROM logs GROUP BY "service""#,
    ),
];

pub(crate) fn take(arguments: &Arguments, below: &Path) -> Vec<Figure> {
    let dir = tempfile::tempdir_in(below).expect("a directory");
    let house = House::build(&dir.path().join("house"));
    for body in bodies(arguments.seed, arguments.megabytes) {
        house.ingest(body.into());
    }
    house.flush();
    let mut figures: Vec<Figure> = PAIRS.iter().map(|(name, kql, sql)| pair(&house, name, kql, sql, arguments.repeats)).collect();
    figures.extend(parsing());
    figures.push(hostile(&house));
    figures
}

/// CPU time of both, taken in turns.
fn pair(house: &House, name: &str, kql: &str, sql: &str, repeats: usize) -> Figure {
    let ask = |text: &str, language| house.ask(text, language).count();
    assert_eq!(ask(kql, Language::Kql), ask(sql, Language::Sql), "{name}: both find as many rows");
    let timed = |text: &str, language| {
        let before = process_cpu();
        ask(text, language);
        process_cpu().saturating_sub(before).as_secs_f64() * 1e3
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        ours.push(timed(kql, Language::Kql));
        theirs.push(timed(sql, Language::Sql));
    }
    // Of each two that were taken right after each other: what else runs here changes more slowly.
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
    let (ours, theirs) = (median(ours), median(theirs));
    Figure::new(format!("KQL against SQL: {name}"), format!("{ratio:.2}× ({ours:.2} and {theirs:.2} CPU-ms)"), "≤ 1.05×")
}

/// Texts as long as they may be that make parsers and planners slow: the slowest one's wall time until its error, and the error.
fn hostile(house: &House) -> Figure {
    const BYTES: usize = 64 << 10;
    let filled = |head: &str, piece: &str, tail: &str| {
        let room = BYTES.saturating_sub(head.len() + tail.len());
        format!("{head}{}{tail}", piece.repeat(room / piece.len()))
    };
    let doubled = (1..).map(|n| format!("let a{n} = a{0} + a{0}; ", n - 1)).scan(0, |bytes, line| {
        *bytes += line.len();
        (*bytes < BYTES - 100).then_some(line)
    });
    let doubled = format!("let a0 = 1; {}print nobody", doubled.collect::<String>());
    let texts = [
        ("brackets", filled("print ", "(", "")),
        ("lists", filled("print ", "[", "")),
        ("calls", filled("print ", "f(", "")),
        ("signs", filled("print ", "-", "1")),
        ("sums", filled("print ", "1+", "a")),
        ("filters", filled("logs", "| where a == 1 ", "")),
        ("bars", filled("logs", "|", "")),
        ("conditions", filled("logs | where nobody ", "and level == \"a\" ", "")),
        ("unions", filled("", "union (", "")),
        ("joins", filled("logs ", "| join (logs ", "")),
        ("paths", filled("print a", ".b", "")),
        ("subscripts", filled("print a", "[0", "")),
        ("names", filled("logs | project ", "nobody, ", "x")),
        ("a list", filled("logs | where nobody in (", "1, ", "2)")),
        ("text without an end", filled("print \"", "a", "")),
        ("signs that mean nothing", filled("", "` ", "")),
        ("lambdas", filled("", "let f = (x:long) { ", "")),
        ("doubling", doubled),
    ];
    let mut slowest = (0.0, "", String::new());
    for (name, text) in &texts {
        let begun = Instant::now();
        let error = house.refused(text);
        let took = begun.elapsed().as_secs_f64() * 1e3;
        if took > slowest.0 {
            slowest = (took, name, error);
        }
    }
    let (took, name, error) = slowest;
    Figure::new(format!("{} texts of 64 KiB that mean nothing", texts.len()), format!("slowest {took:.1} ms ({name}: {error})"), "≤ 50 ms")
}

/// Parsing of real queries, if they are there (see `xtask/src/kql.rs`).
fn parsing() -> Option<Figure> {
    let directory = std::env::var_os("STRONGROOM_KQL_CASES").map_or_else(|| PathBuf::from("../shared/kql"), PathBuf::from);
    let file = std::fs::read(directory.join("corpus-sample.json")).ok()?;
    let file: serde_json::Value = serde_json::from_slice(&file).ok()?;
    let texts: Vec<&str> = file["queries"].as_array()?.iter().filter_map(|query| query["query"].as_str()).collect();
    let mut micros = Vec::new();
    for _ in 0..20 {
        for text in &texts {
            let begun = Instant::now();
            std::hint::black_box(strongroom_kql::parse(text));
            micros.push(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    let (p50, p99) = (quantile(micros.clone(), 0.5), quantile(micros, 0.99));
    Some(Figure::new(format!("parsing {} real queries", texts.len()), format!("p50 {p50:.0} µs, p99 {p99:.0} µs"), "p50 ≤ 50 µs"))
}
