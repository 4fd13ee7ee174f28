//! Would filters over several blocks pay? A simulation for `docs/adr/0012`: terms counted in the seeded logs, the cost of one read
//! measured, the rest arithmetic with a seeded draw for what filters say by mistake.
//!
//! Measured against the filters that blocks carry: of slices of 8,192 rows, a lookup reads one part of all slices of a block.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strongroom_benches::clock::process_cpu;
use strongroom_benches::{House, Logs};
use strongroom_envelope::ObjectOpener;
use strongroom_store::Reader;

use crate::Arguments;

/// Of a slice, as blocks have them.
const SLICE_ROWS: usize = 4_096;
/// Rows of an hour of the benchmark's day.
const HOUR_ROWS: usize = 229_167;
/// Hours that are counted: how many terms come again.
const HOURS: usize = 4;
/// Bytes of a key in a fuse filter of 8 bits, shape and slack included.
const KEY_BYTES: f64 = 9.9 / 8.0;
/// Once in so many a filter says yes by mistake.
const ERROR: f64 = 256.0;
/// A part holds at most so many keys of one filter.
const PART_KEYS: f64 = 2_048.0;
/// Blocks of a group.
const GROUP: f64 = 64.0;
/// One trip to a distant store, and trips under way at once.
const TRIP_MS: f64 = 30.0;
const TRIPS: f64 = 16.0;

/// Distinct terms: of all slices together, of blocks, and of all hours as one.
struct Terms {
    per_slice: f64,
    per_hour: f64,
    of_all: f64,
}

type Seen = HashSet<u64, BuildHasherDefault<DefaultHasher>>;

fn terms(text: &str, salt: u64, into: &mut Seen) {
    let hasher = BuildHasherDefault::<DefaultHasher>::default();
    for run in text.split(|c: char| !c.is_alphanumeric()).filter(|run| run.len() >= 3) {
        into.insert(hasher.hash_one((salt, run)));
    }
}

fn count(seed: u64) -> Terms {
    let (mut logs, mut all) = (Logs::new(seed), Seen::default());
    let (mut slices, mut slice_terms, mut hour_terms) = (0, 0, 0);
    for _ in 0..HOURS {
        let mut hour = Seen::default();
        let mut left = HOUR_ROWS;
        while left > 0 {
            let rows = left.min(SLICE_ROWS);
            left -= rows;
            let body = logs.body_of_rows(rows);
            let mut slice = Seen::default();
            for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let row: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(line).expect("JSON");
                for (at, (name, value)) in row.iter().enumerate() {
                    if let (Some(text), false) = (value.as_str(), name == "TimeGenerated") {
                        terms(text, at as u64, &mut slice);
                    }
                }
            }
            slices += 1;
            slice_terms += slice.len();
            hour.extend(slice);
        }
        hour_terms += hour.len();
        all.extend(hour);
    }
    Terms { per_slice: slice_terms as f64 / f64::from(slices), per_hour: hour_terms as f64 / HOURS as f64, of_all: all.len() as f64 }
}

/// CPU of one read of a part that lies on SSD, opened: microseconds for a read, and for each KiB of it.
fn read_cost(below: &Path, seed: u64) -> (f64, f64) {
    let dir = tempfile::tempdir_in(below).expect("a directory");
    let house = House::build(&dir.path().join("house"));
    house.ingest(Logs::new(seed).body(24_000_000).into());
    house.flush();
    let block = house.live_blocks().into_iter().max_by_key(|block| block.sealed_len).expect("a block");
    let (guard, sealed) = (house.guard(&block), house.sealed(&block));
    let header = House::header(&block, guard.is_double());
    let opener = ObjectOpener::new(&guard, house.world.clock.boot(), &header, &sealed, block.sealed_len).expect("a block");
    let stored = House::stored(&block);
    let one = |kib: u64| {
        let mut least = Duration::MAX;
        for _ in 0..7 {
            let before = process_cpu();
            for n in 0..200_u64 {
                let start = ((n * 37) << 10) % (block.plain_len - (kib << 10));
                let plain = start..start + (kib << 10);
                let ranges = [opener.sealed_range(plain.clone())];
                let read = house.blocks.read(&stored, &guard, &ranges, Reader::Query);
                let bytes = house.runtime().block_on(read).expect("bytes").remove(0);
                drop(opener.open_range(&guard, house.world.clock.boot(), plain, &bytes).expect("opens"));
            }
            least = least.min(process_cpu().saturating_sub(before));
        }
        least.as_secs_f64() * 1e6 / 200.0
    };
    let (small, large) = (one(16), one(272));
    let each = ((large - small) / 256.0).max(0.0);
    ((small - 16.0 * each).max(0.0), each)
}

/// One way to look a term up.
struct Way {
    name: &'static str,
    /// Extra bytes of all blocks, beside the filters that blocks carry.
    extra: f64,
    /// What an absent term, and one that is in 1 and in 10 blocks, costs.
    costs: Vec<Cost>,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    reads: f64,
    bytes: f64,
    /// Blocks of which rows are read for nothing.
    false_blocks: f64,
}

struct Fleet {
    name: &'static str,
    blocks: f64,
    hours: f64,
}

/// How many of so many filters say yes by mistake.
fn mistakes(rng: &mut ChaCha8Rng, filters: f64) -> f64 {
    let mut wrong = 0.0;
    let mut left = filters;
    while left >= 1.0 {
        if rng.random_bool(1.0 / ERROR) {
            wrong += 1.0;
        }
        left -= 1.0;
    }
    wrong
}

fn ways(fleet: &Fleet, terms: &Terms, rng: &mut ChaCha8Rng) -> Vec<Way> {
    let slices = (HOUR_ROWS as f64 * fleet.hours / SLICE_ROWS as f64).ceil();
    // Terms that come again do so in the next hour as in the next block.
    let growth = (terms.of_all / terms.per_hour).ln() / (HOURS as f64).ln();
    let block_keys = terms.per_hour * fleet.hours.powf(growth);
    let group_keys = block_keys * GROUP.powf(growth);
    let part = |keys: f64| (keys / (keys / PART_KEYS).ceil()) * KEY_BYTES;
    let slice_part = part(terms.per_slice) * slices;
    let groups = (fleet.blocks / GROUP).ceil();
    let in_slices = |blocks: f64, hits: f64, rng: &mut ChaCha8Rng| {
        let wrong: f64 = (0..blocks as u64).map(|_| f64::from(u8::from(mistakes(rng, slices) > 0.0))).sum();
        Cost { reads: blocks, bytes: blocks * slice_part, false_blocks: (wrong - hits).max(0.0) }
    };
    let cases = [0.0, 1.0, 10.0];
    let then = |first: Cost, candidates: f64, hits: f64, rng: &mut ChaCha8Rng| {
        let second = in_slices(candidates, hits, rng);
        Cost { reads: first.reads + second.reads, bytes: first.bytes + second.bytes, false_blocks: second.false_blocks }
    };
    let mut of_slices = Vec::new();
    let (mut of_blocks, mut of_unions, mut of_groups) = (Vec::new(), Vec::new(), Vec::new());
    for hits in cases {
        of_slices.push(in_slices(fleet.blocks, hits, rng));
        let block = Cost { reads: fleet.blocks, bytes: fleet.blocks * part(block_keys), false_blocks: 0.0 };
        let candidates = hits + mistakes(rng, fleet.blocks - hits);
        of_blocks.push(then(block, candidates, hits, rng));
        let union = Cost { reads: groups, bytes: groups * part(group_keys), false_blocks: 0.0 };
        let candidates = (hits.min(groups) + mistakes(rng, groups - hits.min(groups))) * GROUP;
        of_unions.push(then(union, candidates.min(fleet.blocks), hits, rng));
        // The same filters of blocks, those of a group side by side, cut so that 64 of them are one read of 32 KiB.
        let side = Cost { reads: groups, bytes: groups * f64::from(32 << 10), false_blocks: 0.0 };
        let candidates = hits + mistakes(rng, fleet.blocks - hits);
        of_groups.push(then(side, candidates, hits, rng));
    }
    let of_block = fleet.blocks * block_keys * KEY_BYTES;
    vec![
        Way { name: "(a) slices in the block", extra: 0.0, costs: of_slices },
        Way { name: "(b) and one filter of each block", extra: of_block, costs: of_blocks },
        Way { name: "(c) and one filter of 64 blocks", extra: groups * group_keys * KEY_BYTES, costs: of_unions },
        Way { name: "(d) filters of 64 blocks side by side", extra: of_block, costs: of_groups },
    ]
}

pub(crate) fn take(arguments: &Arguments, below: &Path) {
    let terms = count(arguments.seed);
    let (each, per_kib) = read_cost(below, arguments.seed);
    let mut out = String::from("### Filters over several blocks\n\n");
    let again = |n: f64, of: f64| 100.0 * (1.0 - n / of);
    let slices = (HOUR_ROWS as f64 / SLICE_ROWS as f64).ceil();
    writeln!(
        out,
        "Distinct terms: {:.0} in a slice of 8,192 rows, {:.0} in an hour ({:.0} % of its slices' come again), {:.0} in {HOURS} hours ({:.0} % of the hours' come again). \
         One read from SSD, opened: {each:.0} µs and {per_kib:.2} µs a KiB. Distant: {TRIP_MS} ms a trip, {TRIPS} at once.\n",
        terms.per_slice,
        terms.per_hour,
        again(terms.per_hour, terms.per_slice * slices),
        terms.of_all,
        again(terms.of_all, terms.per_hour * HOURS as f64),
    )
    .expect("text");
    out.push_str("| blocks | way | extra MB | term in | reads | MB | blocks read for nothing | CPU-ms on SSD | s distant |\n|---|---|---|---|---|---|---|---|---|\n");
    let fleets = [
        Fleet { name: "14 days × 24 h × 2 = 672 of half an hour", blocks: 672.0, hours: 0.5 },
        Fleet { name: "10,000 of an hour (229,167 rows)", blocks: 10_000.0, hours: 1.0 },
        Fleet { name: "10,000 of 2.4 M rows", blocks: 10_000.0, hours: 10.5 },
    ];
    for fleet in fleets {
        let mut rng = ChaCha8Rng::seed_from_u64(arguments.seed);
        for way in ways(&fleet, &terms, &mut rng) {
            for (cost, hits) in way.costs.iter().zip(["none", "1", "10"]) {
                let cpu = (cost.reads * each + cost.bytes / 1_024.0 * per_kib) / 1e3;
                let distant = (cost.reads / TRIPS).ceil() * TRIP_MS / 1e3;
                let Cost { reads, bytes, false_blocks } = cost;
                writeln!(
                    out,
                    "| {} | {} | {:.0} | {hits} | {reads:.0} | {:.1} | {false_blocks:.0} | {cpu:.0} | {distant:.1} |",
                    fleet.name,
                    way.name,
                    way.extra / 1e6,
                    bytes / 1e6
                )
                .expect("text");
            }
        }
    }
    println!("{out}");
}
