//! What benches and figures stand on: seeded logs, CPU clocks, a whole house in this process, and plain DataFusion beside it.
//!
//! CPU time is the measure wherever waiting is not the point: it does not care who else uses the machine. Start at
//! [`House`]; the micro-benches are in `benches/micro.rs`, the figures of `docs/performance.md` in `src/bin/figures`.
//!
//! ```text
//! Logs (seed) ─▶ NDJSON ─┬▶ House: ingest ─▶ blocks ─▶ Engine ─┐
//!                        └▶ arrow-json                         ├▶ ratios, in one run
//!                 blocks ─open─▶ Parquet ─▶ plain DataFusion ──┘
//! ```

pub mod bill;
pub mod clock;
pub mod data;
pub mod estate;
pub mod fleet;
pub mod house;
pub mod plain;
pub mod tax;

pub use clock::CpuTime;
pub use data::Logs;
pub use house::{House, TABLE};

/// The same five questions for the engine and for plain DataFusion, with the name of their bench.
pub const SCANS: [(&str, &str); 5] = [
    ("scan_count", r#"SELECT count(*) FROM logs WHERE "status" >= 500"#),
    ("scan_group", r#"SELECT "service", "level", count(*), avg("duration_ms") FROM logs GROUP BY "service", "level""#),
    ("scan_like", r#"SELECT count(*) FROM logs WHERE "message" LIKE '%splitbrain%'"#),
    ("scan_newest", r#"SELECT * FROM logs ORDER BY "TimeGenerated" DESC LIMIT 100"#),
    ("scan_needle", r#"SELECT * FROM logs WHERE "trace_id" = '{trace}'"#),
];

/// The middle one of these, or the mean of the middle two.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    assert!(!values.is_empty(), "no values");
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

/// The value below which this share (0 to 1) of all lies.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    assert!(!values.is_empty(), "no values");
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index into a short list")]
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    values[at]
}
