//! Seeded service logs as NDJSON: the same seed gives the same bytes on every machine.
//!
//! 17 fields, about 420 bytes a row: 48 services by Zipf weights, a trace on 60 % of rows, an HTTP request on 33 %, 200
//! message templates whose tokens are drawn from skewed pools, one row in eight up to 0.4 s late. The statistics are
//! those of the peers' comparison this project was measured against; the text is made up.

use std::io::Write as _;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SERVICES: u64 = 48;
const NAMESPACES: [&str; 12] = ["shop", "pay", "search", "mail", "geo", "risk", "media", "auth", "ship", "data", "web", "ops"];
const ROLES: [&str; 8] = ["gateway", "worker", "api", "indexer", "router", "store", "proxy", "sync"];
/// With the share of rows up to and with each, in per mille.
const LEVELS: [(&str, u32); 5] = [("INFO", 800), ("DEBUG", 900), ("WARN", 970), ("ERROR", 999), ("FATAL", 1_000)];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
/// Likewise, in percent of requests.
const STATUSES: [(u32, u32); 7] = [(200, 78), (204, 84), (301, 86), (404, 92), (429, 94), (500, 98), (503, 100)];
const WORDS: [&str; 32] = [
    "request",
    "connection",
    "session",
    "queue",
    "worker",
    "shard",
    "timeout",
    "retry",
    "cache",
    "snapshot",
    "leader",
    "replica",
    "transaction",
    "lock",
    "batch",
    "partition",
    "handshake",
    "token",
    "index",
    "segment",
    "upstream",
    "payload",
    "checkpoint",
    "lease",
    "scheduler",
    "socket",
    "quota",
    "heartbeat",
    "migration",
    "cursor",
    "buffer",
    "stream",
];
const VERBS: [&str; 12] = [
    "accepted",
    "completed",
    "rejected",
    "restarted",
    "expired",
    "flushed",
    "acquired",
    "dropped",
    "resumed",
    "rebalanced",
    "validated",
    "closed",
];
/// Message templates.
const TEMPLATES: usize = 200;
/// Traces under way at once: rows of one are neighbours.
const TRACES: usize = 256;
/// 2026-03-01T00:00:00Z: rows of a fixed day make runs repeatable.
pub const EPOCH_NS: i64 = 1_772_323_200_000_000_000;
/// 2.3 GB a day at 420 bytes a row.
const NS_PER_ROW: i64 = 15_709_090;

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Number,
    Address,
    Hex,
    Micros,
}

/// Writes rows, one after the other.
#[derive(Debug)]
pub struct Logs {
    rng: ChaCha8Rng,
    templates: Vec<Vec<Piece>>,
    traces: Vec<u128>,
    row: i64,
    start: i64,
}

impl Logs {
    /// Rows from [`EPOCH_NS`] on.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from(seed, EPOCH_NS)
    }

    /// Rows from `start` (nanoseconds since 1970) on.
    #[must_use]
    pub fn from(seed: u64, start: i64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let templates = (0..TEMPLATES).map(|_| template(&mut rng)).collect();
        let traces = (0..TRACES).map(|_| rng.random()).collect();
        Self { rng, templates, traces, row: 0, start }
    }

    /// How many rows were written.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.row.unsigned_abs()
    }

    /// A body of whole rows, at least `bytes` long.
    #[must_use]
    pub fn body(&mut self, bytes: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes + 1_024);
        while out.len() < bytes {
            self.row(&mut out);
        }
        out
    }

    /// A body of so many rows.
    #[must_use]
    pub fn body_of_rows(&mut self, rows: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(rows * 440);
        for _ in 0..rows {
            self.row(&mut out);
        }
        out
    }

    /// The trace that some recent rows carry.
    #[must_use]
    pub fn recent_trace(&self) -> String {
        format!("{:032x}", self.traces[7])
    }

    fn row(&mut self, out: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let late = if rng.random_ratio(1, 8) { rng.random_range(0..400_000_000) } else { 0 };
        let at = self.start + self.row * NS_PER_ROW - late;
        self.row += 1;
        let service = skewed(rng, SERVICES);
        let namespace = NAMESPACES[index(service % 12)];
        let role = ROLES[index(service % 8)];
        out.extend_from_slice(br#"{"TimeGenerated":""#);
        time(at, out);
        let dice = rng.random_range(0..1_000);
        let level = LEVELS.iter().find(|(_, below)| dice < *below).map_or("INFO", |level| level.0);
        put(out, format_args!(r#"","level":"{level}","service":"{namespace}-{role}-{service}","namespace":"{namespace}""#));
        let (pod, node) = (service * 7 + rng.random_range(0..6), rng.random_range(0..40_u32));
        put(out, format_args!(r#","pod":"{namespace}-{role}-{service}-{:08x}-{pod}""#, pod.wrapping_mul(2_654_435_761) & 0xffff_ffff));
        put(out, format_args!(r#","node":"node-{node:02}","version":"2.{}.{}""#, service % 14, service % 5));
        if rng.random_ratio(6, 10) {
            let trace = rng.random_range(0..TRACES);
            if rng.random_ratio(1, 9) {
                self.traces[trace] = rng.random();
            }
            put(out, format_args!(r#","trace_id":"{:032x}","span_id":"{:016x}""#, self.traces[trace], rng.random::<u64>()));
        }
        if rng.random_ratio(33, 100) {
            request(rng, out);
        }
        let micros = skewed(rng, 2_000_000);
        put(out, format_args!(r#","duration_ms":{}.{:03},"message":""#, micros / 1_000, micros % 1_000));
        for piece in &self.templates[index(skewed(rng, TEMPLATES as u64))] {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Number => put(out, format_args!("{}", skewed(rng, 1_000_000))),
                Piece::Address => address(rng, out),
                Piece::Hex => put(out, format_args!("{:012x}", skewed(rng, 1 << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16)),
                Piece::Micros => put(out, format_args!("{}us", skewed(rng, 5_000_000))),
            }
        }
        // A rare word, to be looked for.
        if rng.random_ratio(1, 5_000) {
            out.extend_from_slice(b" after a deadlock");
        }
        out.extend_from_slice(b"\"}\n");
    }
}

fn template(rng: &mut ChaCha8Rng) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    for at in 0..rng.random_range(5..13) {
        if at > 0 {
            text.push(' ');
        }
        let piece = match rng.random_range(0..10) {
            0 => Piece::Number,
            1 => Piece::Address,
            2 => Piece::Hex,
            3 => Piece::Micros,
            4 => {
                text.push_str(VERBS[rng.random_range(0..VERBS.len())]);
                continue;
            }
            _ => {
                text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
                continue;
            }
        };
        text.push_str(WORDS[rng.random_range(0..WORDS.len())]);
        text.push('=');
        pieces.push(Piece::Text(std::mem::take(&mut text)));
        pieces.push(piece);
    }
    pieces.push(Piece::Text(text));
    pieces
}

fn request(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    let dice = rng.random_range(0..100);
    let status = STATUSES.iter().find(|(_, below)| dice < *below).map_or(200, |status| status.0);
    let method = METHODS[index(skewed(rng, 4))];
    let (item, route) = (skewed(rng, 50_000), WORDS[rng.random_range(0..16)]);
    put(out, format_args!(r#","method":"{method}","path":"/api/v2/{route}/{item}","status":{status},"bytes":{}"#, skewed(rng, 200_000)));
    out.extend_from_slice(br#","client_ip":""#);
    address(rng, out);
    put(out, format_args!(r#"","user_id":"u{:06}""#, skewed(rng, 50_000)));
}

fn address(rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    let n = skewed(rng, 20_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    put(out, format_args!("10.{}.{}.{}", n >> 56, n >> 48 & 255, n >> 40 & 255));
}

/// From 0 below `end`, small ones more often: about as Zipf's law with exponent 0.9 has it.
fn skewed(rng: &mut ChaCha8Rng, end: u64) -> u64 {
    let u: f64 = rng.random();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a draw, not a sum")]
    let drawn = ((end as f64 + 1.0).powf(u * u.sqrt()) - 1.0) as u64;
    drawn.min(end - 1)
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("a small number")
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// RFC 3339 with microseconds.
fn time(at: i64, out: &mut Vec<u8>) {
    let seconds = at.div_euclid(1_000_000_000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, date) = civil(day);
    put(
        out,
        format_args!(
            "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}.{:06}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60,
            at.rem_euclid(1_000_000_000) / 1_000
        ),
    );
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let (era, of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
        assert_eq!(Logs::new(7).body(20_000), Logs::new(7).body(20_000));
        assert_ne!(Logs::new(7).body(20_000), Logs::new(8).body(20_000));
    }

    #[test]
    fn rows_are_json_of_the_shape_that_is_promised() {
        let mut logs = Logs::new(7);
        let body = String::from_utf8(logs.body_of_rows(20_000)).unwrap();
        let rows: Vec<serde_json::Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let share = |name: &str| rows.iter().filter(|row| row.get(name).is_some()).count() * 100 / rows.len();
        assert_eq!(rows.len(), 20_000);
        assert_eq!(share("message"), 100);
        assert!((57..63).contains(&share("trace_id")), "{}", share("trace_id"));
        assert!((30..36).contains(&share("status")), "{}", share("status"));
        let names: std::collections::BTreeSet<_> = rows.iter().flat_map(|row| row.as_object().unwrap().keys()).collect();
        assert_eq!(names.len(), 17);
        assert!((380..460).contains(&(body.len() / rows.len())), "{} bytes a row", body.len() / rows.len());
        assert!(rows[0]["TimeGenerated"].as_str().unwrap().starts_with("2026-0"));
    }
}
