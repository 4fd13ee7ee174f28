//! Groups of filters as they are (`docs/adr/0012`): what a term that is nowhere costs over many blocks, with them and without.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::Path;
use std::time::Instant;

use parquet::file::reader::{FileReader, SerializedFileReader};
use strongroom_benches::fleet::Cost;
use strongroom_benches::{House, Logs, TABLE};
use strongroom_buffer::BufferConfig;
use strongroom_ingest::encode::{Encoded, merge_for_groups};
use strongroom_model::terms::{DIRECTORY_KEY, Directory, Part, hash};
use strongroom_store::CacheConfig;

use crate::Arguments;

/// Different files; blocks are made of them in turn.
const FILES: usize = 40;

struct Fleet {
    blocks: usize,
    rows: usize,
}

/// Files of so many rows, as compaction writes them for tables of which groups are made.
fn files(house: &House, seed: u64, rows: usize, count: usize) -> Vec<Encoded> {
    let mut logs = Logs::new(seed);
    let mut left = count;
    while left > 0 {
        house.ingest(logs.body_of_rows(rows).into());
        house.flush();
        left -= 1;
    }
    let parquet = house.parquet().into_iter().take(count);
    parquet.map(|file| merge_for_groups(vec![file.into()]).expect("a file")).collect()
}

/// Whether a file's filters rule out that a message has the word; `None` if they do not tell of messages: a block of few rows keeps filters
/// within a tenth of its bytes by leaving columns out.
fn rules_out(file: &Encoded, word: &str) -> Option<bool> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(file.parquet.clone())).expect("a file");
    let pairs = reader.metadata().file_metadata().key_value_metadata()?;
    let directory = Directory::parse(pairs.iter().find(|pair| pair.key == DIRECTORY_KEY)?.value.as_ref()?)?;
    directory.columns.iter().any(|column| column == "message").then_some(())?;
    let term = hash(word.as_bytes());
    let range = directory.range(directory.part_of(term));
    let at = |at: u64| usize::try_from(at).expect("a file in memory");
    let part = Part::parse(&file.parquet[at(range.start)..at(range.end)], directory.slices())?;
    Some(!(0..directory.slices()).any(|slice| part.may_hold(slice, "message", term)))
}

fn show(of: &str, when: &str, [cold, warm]: [Cost; 2]) {
    for (memory, cost) in [("cold", cold), ("again", warm)] {
        let Cost { blocks: (seen, kept), reads, bytes, cpu_ms, rows } = cost;
        println!("| {of} | {when} | {memory} | {seen} | {kept} | {reads} | {:.1} | {cpu_ms:.1} | {rows} |", bytes as f64 / 1e6);
    }
}

pub(crate) fn take(arguments: &Arguments, below: &Path) {
    println!(
        "### Groups of filters\n\n| blocks | groups | memory | in range | read | reads | MB | CPU-ms | rows |\n|---|---|---|---|---|---|---|---|---|"
    );
    for fleet in [Fleet { blocks: 10_000, rows: 600 }, Fleet { blocks: 10_000, rows: 2_000 }, Fleet { blocks: 3_000, rows: 20_000 }] {
        let dir = tempfile::tempdir_in(below).expect("a directory");
        let cache = CacheConfig { enabled: false, ..CacheConfig::default() };
        let house = House::build_with(&dir.path().join("house"), BufferConfig::default(), cache);
        let files = files(&house, arguments.seed, fleet.rows, FILES.min(fleet.blocks));
        if let Some(file) = files.iter().find(|file| rules_out(file, "nowhere").is_none()) {
            println!("\n{} rows in {} KB tell of no message: groups are of no use there\n", fleet.rows, file.parquet.len() / 1_000);
            continue;
        }
        // Not the hours that are still open.
        let end = house.world.clock.wall().unix_ms() / 1_000 / 86_400 * 86_400 - 86_400;
        let began = Instant::now();
        house.fleet(TABLE, &files, fleet.blocks, end);
        let of = format!("{} of {} rows, {} KB", fleet.blocks, fleet.rows, files[0].parquet.len() / 1_000);
        eprintln!("{of}: made in {:.0} s", began.elapsed().as_secs_f64());
        // One that no filter of these files takes for one of its own: the files come again and again.
        let out = |word: &String| files.iter().all(|file| rules_out(file, word).expect("filters that tell of messages"));
        let word = (0..200).map(|n| format!("nowhere{n}")).find(out).expect("a word that is nowhere");
        let absent = format!("{TABLE} | where message has \"{word}\" | project trace_id");
        let least = |text: &str| {
            let mut runs: Vec<[Cost; 2]> = (0..arguments.repeats.clamp(1, 5)).map(|_| house.ask_twice(text)).collect();
            runs.sort_by(|a, b| a[0].cpu_ms.total_cmp(&b[0].cpu_ms));
            runs[0]
        };
        show(&of, "none", least(&absent));
        let (cpu, made) = (strongroom_benches::clock::process_cpu(), house.group_filters());
        let cpu = strongroom_benches::clock::process_cpu().saturating_sub(cpu).as_secs_f64();
        let bytes: u64 = house.live_blocks().iter().map(|block| block.sealed_len).sum();
        show(&of, &format!("{} of {} blocks", made.groups, made.blocks), least(&absent));
        println!(
            "\n{of}: groups of {:.1} MB beside {:.1} MB of blocks ({:.1} %), made in {:.2} CPU-s, {:.2} ms a block\n",
            made.bytes as f64 / 1e6,
            bytes as f64 / 1e6,
            made.bytes as f64 * 100.0 / bytes as f64,
            cpu,
            cpu * 1e3 / made.blocks.max(1) as f64
        );
    }
}
