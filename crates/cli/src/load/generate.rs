//! Seeded service logs: the same seed and times give the same bytes.
//!
//! 17 fields, about 420 bytes a row: 48 services in 12 namespaces with Zipf weights, traces over several rows on 60 % of
//! rows, an HTTP request on 33 %, one row in eight up to 0.4 s late. The shape is that of the peers' comparison in
//! `docs/performance.md`. Everything is written straight into a byte buffer: the generator must not be what is measured.

use std::fmt::Write as _;
use std::io::Write as _;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::words::{MESSAGES, NAMESPACES, PATHS, SERVICES};

const NS_PER_S: i64 = 1_000_000_000;
/// Traces under way at the same time.
const TRACES: usize = 64;
const PODS_PER_SERVICE: u64 = 6;
const NODES: u64 = 40;
const USERS: u64 = 50_000;
const ADDRESSES: u64 = 20_000;
/// One row in so many is late.
const LATE_ONE_IN: u64 = 8;
const LATE_MAX_NS: u64 = 400_000_000;

/// A piece of a message.
#[derive(Clone, Copy, Debug)]
enum Piece {
    Text(&'static str),
    Token(&'static str),
}

/// Choices with Zipf weights (exponent 0.9), drawn by a table look-up.
#[derive(Debug)]
struct Zipf(Vec<u16>);

impl Zipf {
    const SLOTS: usize = 4_096;

    fn new(choices: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a few dozen choices")]
        let weights: Vec<f64> = (1..=choices).map(|rank| (rank as f64).powf(-0.9)).collect();
        let whole: f64 = weights.iter().sum();
        let mut slots = Vec::with_capacity(Self::SLOTS);
        let (mut choice, mut reached) = (0, weights[0]);
        #[expect(clippy::cast_precision_loss, reason = "4,096 slots")]
        for slot in 0..Self::SLOTS {
            while choice + 1 < choices && reached / whole * (Self::SLOTS as f64) < (slot + 1) as f64 - 0.5 {
                choice += 1;
                reached += weights[choice];
            }
            slots.push(u16::try_from(choice).expect("a few dozen choices"));
        }
        Self(slots)
    }

    fn pick(&self, bits: u64) -> usize {
        usize::from(self.0[usize::try_from(bits % Self::SLOTS as u64).expect("below 4,096")])
    }
}

/// Writes generated rows.
#[derive(Debug)]
pub struct Generator {
    rng: ChaCha8Rng,
    services: Zipf,
    messages: Zipf,
    templates: Vec<Vec<Piece>>,
    paths: Vec<Vec<Piece>>,
    time_field: String,
    traces: Vec<[u8; 16]>,
    /// The second whose text is in `clock`.
    second: i64,
    clock: String,
}

impl Generator {
    /// A generator whose rows carry their time in `time_field`.
    #[must_use]
    pub fn new(seed: u64, time_field: &str) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let traces = (0..TRACES).map(|_| random16(&mut rng)).collect();
        Self {
            rng,
            services: Zipf::new(SERVICES.len()),
            messages: Zipf::new(MESSAGES.len()),
            templates: MESSAGES.iter().map(|text| pieces(text)).collect(),
            paths: PATHS.iter().map(|text| pieces(text)).collect(),
            time_field: serde_json::Value::from(time_field).to_string(),
            traces,
            second: i64::MIN,
            clock: String::new(),
        }
    }

    /// Appends one row as a line of JSON, of an event at `at` (nanoseconds since 1970) or, one time in eight, a little before.
    pub fn row(&mut self, at: i64, out: &mut Vec<u8>) {
        let dice = self.rng.next_u64();
        let late = if dice.is_multiple_of(LATE_ONE_IN) { self.rng.next_u64() % LATE_MAX_NS } else { 0 };
        out.push(b'{');
        out.extend_from_slice(self.time_field.as_bytes());
        self.time(at.saturating_sub(late.cast_signed()), out);

        let service = self.services.pick(dice >> 8);
        let http = (dice >> 20) % 100 < 33;
        let message = self.messages.pick(dice >> 28);
        let level = match message {
            0..=12 | 18..=21 => "INFO",
            13..=17 => "DEBUG",
            22..=37 => ["INFO", "DEBUG"][usize::from((dice >> 40).is_multiple_of(4))],
            38..=43 => "WARN",
            _ => ["ERROR", "WARN"][usize::from((dice >> 40).is_multiple_of(5))],
        };
        let (pod, node) = ((dice >> 44) % PODS_PER_SERVICE, (service as u64 * 7 + (dice >> 44) % PODS_PER_SERVICE) % NODES);
        let name = SERVICES[service];
        let namespace = NAMESPACES[service % NAMESPACES.len()];
        let replica = (service as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 28 & 0xff_ffff_ffff;
        put(out, format_args!(r#","level":"{level}","service":"{name}","namespace":"{namespace}","pod":"{name}-{replica:010x}-{pod}""#));
        put(out, format_args!(r#","node":"node-{node:02}","version":"1.{}.{}""#, service % 14, (service * 3) % 10));
        if (dice >> 48) % 10 < 6 {
            self.trace(dice, out);
        }
        if http {
            self.http(out);
        }
        let micros = self.skewed(2_000_000);
        put(out, format_args!(r#","duration_ms":{}.{:03},"message":""#, micros / 1_000, micros % 1_000));
        let template = std::mem::take(&mut self.templates[message]);
        self.write(&template, out);
        self.templates[message] = template;
        out.extend_from_slice(b"\"}\n");
    }

    /// The trace that a recent row belongs to, as its 32 hexadecimal digits.
    pub fn some_trace(&mut self) -> String {
        let at = usize::from(self.rng.next_u32().to_le_bytes()[0]) % TRACES;
        hex::encode(self.traces[at])
    }

    fn time(&mut self, at: i64, out: &mut Vec<u8>) {
        let (second, nanos) = (at.div_euclid(NS_PER_S), at.rem_euclid(NS_PER_S));
        if second != self.second {
            self.second = second;
            let date = chrono::DateTime::from_timestamp(second, 0).unwrap_or_default();
            self.clock.clear();
            write!(self.clock, "{}", date.format("%Y-%m-%dT%H:%M:%S")).expect("a string takes everything");
        }
        put(out, format_args!(r#":"{}.{:06}Z""#, self.clock, nanos / 1_000));
    }

    fn trace(&mut self, dice: u64, out: &mut Vec<u8>) {
        let slot = usize::try_from(dice >> 52).expect("12 bits") % TRACES;
        // A trace has four rows on average.
        if (dice >> 6).is_multiple_of(4) {
            self.traces[slot] = random16(&mut self.rng);
        }
        out.extend_from_slice(br#","trace_id":""#);
        hex_into(&self.traces[slot], out);
        out.extend_from_slice(br#"","span_id":""#);
        hex_into(&self.rng.next_u64().to_be_bytes(), out);
        out.push(b'"');
    }

    fn http(&mut self, out: &mut Vec<u8>) {
        let dice = self.rng.next_u64();
        let method = ["GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT"][usize::try_from(dice % 8).expect("three bits")];
        let status = match (dice >> 3) % 100 {
            0..=87 => 200,
            88..=91 => 201,
            92..=93 => 304,
            94..=96 => 404,
            97 => 400,
            98 => 429,
            _ => 500,
        };
        let path = usize::try_from((dice >> 12) % PATHS.len() as u64).expect("16 of them");
        put(out, format_args!(r#","method":"{method}","path":""#));
        let template = std::mem::take(&mut self.paths[path]);
        self.write(&template, out);
        self.paths[path] = template;
        let bytes = self.skewed(200_000);
        put(out, format_args!(r#"","status":{status},"bytes":{bytes},"client_ip":""#));
        self.token("ip", out);
        let user = self.skewed(USERS);
        put(out, format_args!(r#"","user_id":"u-{user:05}""#));
    }

    fn write(&mut self, pieces: &[Piece], out: &mut Vec<u8>) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Token(name) => self.token(name, out),
            }
        }
    }

    /// One changing token. Small numbers and few addresses are more frequent than large and rare ones.
    fn token(&mut self, name: &str, out: &mut Vec<u8>) {
        match name {
            "ip" => {
                let n = self.skewed(ADDRESSES).wrapping_mul(0x9e37_79b9) & 0xff_ffff;
                put(out, format_args!("10.{}.{}.{}", n >> 16, n >> 8 & 0xff, n & 0xff));
            }
            "uuid" => {
                let mut text = [0; 32];
                hex::encode_to_slice(random16(&mut self.rng), &mut text).expect("twice as long");
                for (at, end) in [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)] {
                    if at > 0 {
                        out.push(b'-');
                    }
                    out.extend_from_slice(&text[at..end]);
                }
            }
            "hex" => hex_into(&self.rng.next_u64().to_be_bytes()[..6], out),
            "big" => put(out, format_args!("{}", self.rng.next_u64() >> 4)),
            "small" => put(out, format_args!("{}", self.rng.next_u64() % 64)),
            "port" => put(out, format_args!("{}", 1_024 + self.rng.next_u64() % 60_000)),
            "ms" => put(out, format_args!("{}", self.skewed(5_000))),
            "price" => {
                let cents = self.skewed(50_000);
                put(out, format_args!("{}.{:02}", cents / 100, cents % 100));
            }
            "user" => put(out, format_args!("u-{:05}", self.skewed(USERS))),
            "host" => put(out, format_args!("ip-10-0-{}-{}", self.rng.next_u64() % 8, self.rng.next_u64() % 32)),
            _ => put(out, format_args!("{}", self.skewed(1_000_000))),
        }
    }

    /// A number from 0 up to `bound`, excluded, evenly spread over its orders of magnitude (Zipf with exponent 1).
    fn skewed(&mut self, bound: u64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are plenty")]
        let evenly = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at least 1, at most the bound"
        )]
        let value = (bound as f64).powf(evenly) as u64;
        value.saturating_sub(1).min(bound - 1)
    }
}

fn pieces(text: &'static str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for part in text.split('{') {
        match part.split_once('}') {
            Some((token, rest)) => pieces.extend([Piece::Token(token), Piece::Text(rest)]),
            None => pieces.push(Piece::Text(part)),
        }
    }
    pieces
}

fn random16(rng: &mut ChaCha8Rng) -> [u8; 16] {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn hex_into(bytes: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + bytes.len() * 2, 0);
    hex::encode_to_slice(bytes, &mut out[at..]).expect("twice as long");
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::{Map, Value};

    use super::*;

    const START: i64 = 1_772_323_200 * NS_PER_S;

    fn text(seed: u64, rows: i64) -> Vec<u8> {
        let mut generator = Generator::new(seed, "TimeGenerated");
        let mut out = Vec::new();
        for row in 0..rows {
            generator.row(START + row * 1_000_000, &mut out);
        }
        out
    }

    fn rows(text: &[u8]) -> Vec<Map<String, Value>> {
        text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
        assert_eq!(text(7, 500), text(7, 500));
        assert_ne!(text(7, 500), text(8, 500));
    }

    #[test]
    fn rows_have_the_shape_that_is_promised() {
        let text = text(7, 20_000);
        let rows = rows(&text);
        let share = |field: &str| rows.iter().filter(|row| row.contains_key(field)).count() * 100 / rows.len();
        assert_eq!(rows.iter().flat_map(Map::keys).collect::<BTreeSet<_>>().len(), 17);
        assert!((58..=62).contains(&share("trace_id")), "{}", share("trace_id"));
        assert!((31..=35).contains(&share("status")), "{}", share("status"));
        assert!((350..=480).contains(&(text.len() / rows.len())), "{} bytes a row", text.len() / rows.len());
        let mut services = BTreeMap::new();
        for row in &rows {
            *services.entry(row["service"].as_str().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(services.len(), 48);
        assert!(services["checkout"] > 10 * services["loyalty"], "{services:?}");
        let levels: BTreeSet<&str> = rows.iter().map(|row| row["level"].as_str().unwrap()).collect();
        assert_eq!(levels, BTreeSet::from(["DEBUG", "ERROR", "INFO", "WARN"]));
        let times: Vec<&str> = rows.iter().map(|row| row["TimeGenerated"].as_str().unwrap()).collect();
        let late = times.windows(2).filter(|pair| pair[1] < pair[0]).count() * 100 / rows.len();
        assert!((9..=14).contains(&late), "{late} % out of order");
        let traces: BTreeSet<&str> = rows.iter().filter_map(|row| row.get("trace_id")?.as_str()).collect();
        assert!(traces.len() > 2_000 && traces.len() < 5_000, "{} traces", traces.len());
    }

    #[test]
    fn every_token_in_a_template_is_one_the_generator_knows() {
        let known = ["ip", "uuid", "hex", "big", "small", "port", "ms", "price", "user", "host", "n"];
        for template in MESSAGES.iter().chain(&PATHS) {
            for piece in pieces(template) {
                assert!(!matches!(piece, Piece::Token(name) if !known.contains(&name)), "{template}");
            }
        }
    }
}
