//! Scans against plain DataFusion, and the encryption tax: in this process, where the inside can be seen.

use std::path::Path;
use std::time::Duration;

use strongroom_benches::clock::process_cpu;
use strongroom_benches::plain::Plain;
use strongroom_benches::{House, SCANS, median, tax};
use strongroom_buffer::BufferConfig;
use strongroom_store::CacheConfig;

use crate::ingest::{BATCH, bodies};
use crate::{Arguments, Figure, mega};

pub(crate) fn take(arguments: &Arguments, below: &Path) -> Vec<Figure> {
    let dir = tempfile::tempdir_in(below).expect("a directory");
    let house = House::build(&dir.path().join("house"));
    let bodies = bodies(arguments.seed, arguments.megabytes);
    let requests = bodies.len();
    let mut figures = Vec::new();

    let (before, mut log_bytes) = (process_cpu(), 0);
    for (at, body) in bodies.into_iter().enumerate() {
        house.ingest(body.into());
        if at == 7 {
            // Before the first flush the log holds exactly these records.
            log_bytes = house.buffer.pressure().wal_bytes / 8;
        }
    }
    house.flush();
    let writing = process_cpu().saturating_sub(before);
    let live = house.live_blocks();
    let sealing = tax::blocks(&house, &live);
    let log = tax::log_records(&house, requests, usize::try_from(log_bytes).expect("a record fits memory"));
    let written = tax::Tax { log, ..sealing }.of_writing();
    let share = |part: Duration, whole: Duration| format!("{:.1} %", part.as_secs_f64() / whole.as_secs_f64() * 100.0);
    let giga = mega((requests * BATCH) as u64) / 1e3;
    figures.push(Figure::new("write path without HTTP", format!("{:.1} CPU-s/GB", writing.as_secs_f64() / giga), ""));
    figures.push(Figure::new(
        "encryption tax of ingest and flush",
        format!(
            "{} (log {:.0}, blocks {:.0}, hot cache {:.0} of {:.0} ms)",
            share(written, writing),
            millis(log),
            millis(sealing.seal),
            millis(sealing.cache),
            millis(writing)
        ),
        "≤ 5 %",
    ));

    let plain = Plain::over(&house, &dir.path().join("plain"));
    let trace = needle(&house);
    for cold in [false, true] {
        let asked;
        let (house, of) = if cold {
            asked = without_cache(&dir.path().join("cold"), arguments, false);
            (&asked, "hot cache off")
        } else {
            (&house, "hot")
        };
        let plain_too;
        let plain = if cold {
            plain_too = Plain::over(house, &dir.path().join("plain-cold"));
            &plain_too
        } else {
            &plain
        };
        for (name, text) in SCANS {
            let text = text.replace("{trace}", &trace);
            figures.push(scan(house, plain, name, of, &text, arguments.repeats));
        }
        if cold {
            let blocks = house.live_blocks();
            let text = r#"SELECT count(*) FROM logs WHERE "message" LIKE '%splitbrain%'"#;
            let before = process_cpu();
            let read = house.sql(text).bytes_read;
            let whole = process_cpu().saturating_sub(before);
            let opened = tax::opening(house, &blocks, read);
            figures.push(Figure::new("encryption tax of a cold scan (scan_like)", share(opened, whole), "≤ 5 %"));
        }
    }
    for double in [false, true] {
        let layers = if double { "two layers" } else { "one layer" };
        let house = without_cache(&dir.path().join(layers), arguments, double);
        let (opened, whole) = full_scan(&house, arguments.repeats);
        let what = format!("{layers} of encryption, share of a cold full scan");
        let value = format!("{} ({:.0} of {:.0} ms)", share(opened, whole), millis(opened), millis(whole));
        figures.push(Figure::new(what, value, if double { "≤ 20 %" } else { "≤ 5 %" }));
    }
    figures
}

/// The same rows in a house that keeps no hot copies: every read goes to the objects.
fn without_cache(dir: &Path, arguments: &Arguments, double: bool) -> House {
    let build = if double { House::build_double } else { House::build_with };
    let house = build(dir, BufferConfig::default(), CacheConfig { enabled: false, ..CacheConfig::default() });
    for body in bodies(arguments.seed, arguments.megabytes) {
        house.ingest(body.into());
    }
    house.flush();
    house
}

/// Opening all that a scan of every column reads, and that scan: the least CPU of some repeats each.
fn full_scan(house: &House, repeats: usize) -> (Duration, Duration) {
    let blocks = house.live_blocks();
    let newest = house.sql("SELECT * FROM logs ORDER BY \"TimeGenerated\" DESC LIMIT 1");
    let fields = newest.batches.iter().find(|batch| batch.num_rows() > 0).expect("rows").schema();
    let counts: Vec<String> = fields.fields().iter().map(|field| format!("count(\"{}\")", field.name())).collect();
    let text = format!("SELECT {} FROM logs", counts.join(", "));
    let measure = |_| {
        let before = process_cpu();
        let read = house.sql(&text).bytes_read;
        let whole = process_cpu().saturating_sub(before);
        (tax::opening(house, &blocks, read), whole)
    };
    let taken: Vec<_> = (0..repeats.max(1)).map(measure).collect();
    let least = |of: fn(&(Duration, Duration)) -> Duration| taken.iter().map(of).min().expect("one repeat at least");
    (least(|taken| taken.0), least(|taken| taken.1))
}

/// A trace that a few rows carry.
fn needle(house: &House) -> String {
    let rows = house.sql(r#"SELECT "trace_id" FROM logs WHERE "trace_id" IS NOT NULL ORDER BY "TimeGenerated" LIMIT 1"#);
    let batch = rows.batches.iter().find(|batch| batch.num_rows() > 0).expect("rows with a trace");
    arrow::util::display::array_value_to_string(batch.column(0), 0).expect("text")
}

fn scan(house: &House, plain: &Plain, name: &str, of: &str, text: &str, repeats: usize) -> Figure {
    let ours = || house.sql(text).count();
    let theirs = || plain.sql(text).iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>();
    assert_eq!(ours(), theirs(), "both find the same rows");
    let (mut sealed, mut clear) = (Vec::new(), Vec::new());
    for _ in 0..repeats {
        let before = process_cpu();
        ours();
        let between = process_cpu();
        theirs();
        let after = process_cpu();
        sealed.push(millis(between.saturating_sub(before)));
        clear.push(millis(after.saturating_sub(between)));
    }
    let (sealed, clear) = (median(sealed), median(clear));
    Figure::new(
        format!("{name}, {of}: engine / plain DataFusion"),
        format!("{sealed:.0} / {clear:.0} CPU-ms = {:.2}×", sealed / clear),
        "≤ 1.15×",
    )
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
