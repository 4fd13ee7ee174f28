//! What a gigabyte costs in requests and bytes, worked out from the settings' defaults: the table of `docs/scale.md`.
//!
//! A window of one table is played through by the rules of flush and compaction. No prices: they are the reader's.

#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for people")]

use std::fmt::Write as _;

use strongroom_buffer::BufferConfig;
use strongroom_catalog::SMALL_BLOCK_BYTES;
use strongroom_ingest::{CompactConfig, FlushConfig};
use strongroom_keys::state::StateConfig;
use strongroom_query::QueryConfig;
use strongroom_store::{CacheConfig, PART_LEN};

/// Raw JSON to stored bytes, as measured: of blocks as flushed, and once merged (`docs/performance.md`).
const FLUSHED: f64 = 4.6;
const MERGED: f64 = 7.2;
/// Raw JSON to bytes in memory.
const IN_MEMORY: f64 = 1.25;
const GB: f64 = 1e9;

/// What became of one hour of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hour {
    /// Blocks put by flushes.
    pub flushed: u64,
    /// Blocks put by compaction.
    pub merged: u64,
    /// Blocks read by compaction.
    pub inputs: u64,
    /// Bytes put in all.
    pub bytes_put: f64,
    /// Blocks that are left.
    pub left: u64,
    /// Their bytes.
    pub bytes_left: f64,
}

#[derive(Clone, Copy)]
struct Block {
    raw: f64,
    level: u32,
}

impl Block {
    fn bytes(self) -> f64 {
        self.raw / if self.level == 0 { FLUSHED } else { MERGED }
    }
}

/// Plays an hour of `raw` bytes through.
#[must_use]
pub fn hour(raw: f64, flush: &FlushConfig, compact: &CompactConfig) -> Hour {
    let (memtable, most, small) = (flush.memtable_bytes_max as f64, compact.block_bytes_max as f64, SMALL_BLOCK_BYTES as f64);
    let by_age = 3_600_000.0 / flush.age_max_ms as f64;
    let by_size = (raw / IN_MEMORY / memtable).ceil();
    let flushes = by_age.max(by_size);
    let (mut done, mut blocks) = (Hour::default(), Vec::<Block>::new());
    let merge = |blocks: &mut Vec<Block>, least: usize, done: &mut Hour| {
        loop {
            blocks.sort_by(|a, b| a.bytes().total_cmp(&b.bytes()));
            let candidates = blocks.iter().take_while(|block| block.bytes() < small).count();
            if candidates < least {
                return;
            }
            let mut bytes = 0.0;
            let fitting = blocks.iter().take(candidates.min(compact.inputs_max)).take_while(|block| {
                bytes += block.bytes();
                bytes <= most
            });
            let fitting = fitting.count();
            if fitting < 2 {
                return;
            }
            let inputs: Vec<Block> = blocks.drain(..fitting).collect();
            let output =
                Block { raw: inputs.iter().map(|block| block.raw).sum(), level: 1 + inputs.iter().map(|b| b.level).max().unwrap_or(0) };
            done.inputs += inputs.len() as u64;
            done.merged += 1;
            done.bytes_put += output.bytes();
            blocks.push(output);
        }
    };
    let mut at = 0.0;
    while at < flushes {
        let block = Block { raw: raw / flushes, level: 0 };
        done.flushed += 1;
        done.bytes_put += block.bytes();
        blocks.push(block);
        merge(&mut blocks, compact.blocks_min, &mut done);
        at += 1.0;
    }
    // The window is closed: two are enough.
    merge(&mut blocks, 2, &mut done);
    done.left = blocks.len() as u64;
    done.bytes_left = blocks.iter().map(|block| block.bytes()).sum();
    done
}

/// The generated part of `docs/scale.md`.
///
/// # Panics
/// Never: text is written into memory.
#[must_use]
pub fn page() -> String {
    let (flush, compact, cache, query) = (FlushConfig::default(), CompactConfig::default(), CacheConfig::default(), QueryConfig::default());
    let (buffer, state) = (BufferConfig::default(), StateConfig::default());
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("text");
    line(format!(
        "From the defaults: a memtable becomes a block at {} MiB or {} min; {} small blocks of an open window, or 2 of a closed one, are merged, {} at a time, up to \
         {} MiB; a block of {} MiB is merged no more. A GB of raw JSON takes {:.0} MB in memory, {:.0} MB in blocks as flushed ({FLUSHED} : 1) and {:.0} MB merged ({MERGED} : 1): \
         put your own ratios in.\n",
        flush.memtable_bytes_max >> 20,
        flush.age_max_ms / 60_000,
        compact.blocks_min,
        compact.inputs_max,
        compact.block_bytes_max >> 20,
        SMALL_BLOCK_BYTES >> 20,
        1e3 / IN_MEMORY,
        1e3 / FLUSHED,
        1e3 / MERGED,
    ));
    line("| one table takes in an hour | blocks flushed | blocks merged into | PUTs a GB | blocks read by merging, a GB | MB put a GB | blocks left | of MB each |".to_owned());
    line("|---|---|---|---|---|---|---|---|".to_owned());
    for (name, raw) in [("1 MB", 1e6), ("10 MB", 1e7), ("100 MB", 1e8), ("1 GB", 1e9), ("10 GB", 1e10), ("100 GB", 1e11)] {
        let done = hour(raw, &flush, &compact);
        let (puts, inputs) = ((done.flushed + done.merged) as f64 * GB / raw, done.inputs as f64 * GB / raw);
        line(format!(
            "| {name} | {} | {} | {} | {} | {:.0} | {} | {:.1} |",
            done.flushed,
            done.merged,
            short(puts),
            short(inputs),
            done.bytes_put / 1e6 * GB / raw,
            done.left,
            done.bytes_left / 1e6 / done.left as f64,
        ));
    }
    line(String::new());
    line("| what | how many |".to_owned());
    line("|---|---|".to_owned());
    let polls = 86_400 / state.poll_interval.as_secs();
    line(format!(
        "| vault calls | {polls} a day and cluster (one unwrap each {} s), whatever is sent or asked; none for an unlinked workspace |",
        state.poll_interval.as_secs()
    ));
    line(
        "| vault calls a GB | that, divided by the GB a cluster takes in a day: 8,640 at 1 GB, 86 at 100 GB |"
            .replace("8,640", &thousands(polls))
            .replace("86 at", &format!("{} at", polls / 100)),
    );
    line(format!(
        "| GETs of merging | none while the inputs are in the hot cache (blocks of the last {} days are, from the moment they are put); else one a block |",
        cache.hot_days
    ));
    line("| GETs of a question, block in the hot cache | none |".to_owned());
    line(format!(
        "| GETs of a question, block of the last {} days that is not in it | one for each part of {} MiB that is touched, kept from then on |",
        cache.hot_days,
        PART_LEN >> 20
    ));
    line(format!(
        "| GETs of a question, older block | 2 for its ends, 1 for its footer, then 1 for each run of columns of a row group; {} blocks' ends ahead at once |",
        query.readahead_blocks
    ));
    line(
        "| GETs of a question, block outside of its time range, or ruled out by its statistics | none: they are cells of the catalog |"
            .to_owned(),
    );
    line("| commits of the catalog (an fsync each) | 2 a flush, 2 a merge |".to_owned());
    line(format!(
        "| bytes stored a GB | merged blocks + what was merged or removed in the last half hour + the log, at most {} GiB |",
        buffer.wal_bytes_max >> 30
    ));
    out
}

fn short(n: f64) -> String {
    if n >= 100.0 { thousands(n.round() as u64) } else { format!("{n:.1}") }
}

fn thousands(n: u64) -> String {
    if n >= 1_000 { format!("{},{:03}", n / 1_000, n % 1_000) } else { n.to_string() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-benches` rewrites what stands between the marks.
    #[test]
    fn the_page_shows_what_the_settings_cost() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scale.md");
        let text = std::fs::read_to_string(&file).unwrap();
        let (head, rest) = text.split_once("<!-- bill -->\n").expect("the mark");
        let (found, tail) = rest.split_once("<!-- /bill -->").expect("the mark");
        let expected = page();
        if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
            std::fs::write(&file, format!("{head}<!-- bill -->\n{expected}<!-- /bill -->{tail}")).unwrap();
            return;
        }
        assert_eq!(found, expected, "run the command in this test's comment");
    }

    #[test]
    fn a_row_takes_in_memory_what_the_page_says() {
        let dir = tempfile::tempdir().unwrap();
        let house = crate::House::build(dir.path());
        let body = crate::Logs::new(7).body(4_000_000);
        let raw = body.len() as f64;
        house.ingest(body.into());
        let ratio = raw / house.buffer.pressure().total_bytes as f64;
        assert!((ratio / IN_MEMORY - 1.0).abs() < 0.2, "{ratio:.2} bytes of JSON become one in memory, the page says {IN_MEMORY}");
    }

    #[test]
    fn no_byte_is_lost_and_what_is_left_is_few_and_large() {
        let (flush, compact) = (FlushConfig::default(), CompactConfig::default());
        for raw in [1e6, 1e8, 1e10, 1e11] {
            let done = hour(raw, &flush, &compact);
            assert!((done.bytes_left - raw / MERGED).abs() < raw * 0.08, "{done:?}");
            assert_eq!(done.left, done.flushed + done.merged - done.inputs, "{done:?}");
        }
        assert_eq!(hour(1e6, &flush, &compact).left, 1);
    }
}
