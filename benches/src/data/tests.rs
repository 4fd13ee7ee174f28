use std::collections::{BTreeSet, HashSet};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::*;

#[test]
fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
    assert_eq!(Logs::new(7).body(20_000), Logs::new(7).body(20_000));
    assert_ne!(Logs::new(7).body(20_000), Logs::new(8).body(20_000));
}

#[test]
fn the_bytes_of_a_seed_are_for_ever() {
    use std::hash::Hasher;
    #[expect(deprecated, reason = "its algorithm may not change, unlike DefaultHasher's")]
    let mut hash = std::hash::SipHasher::new();
    hash.write(&Logs::new(7).body_of_rows(2_000));
    assert_eq!(hash.finish(), 18_219_819_236_696_239_705, "another generator: figures of before and after do not compare");
}

#[test]
fn rows_are_json_of_the_shape_that_is_promised() {
    let mut logs = Logs::new(7);
    let body = String::from_utf8(logs.body_of_rows(20_000)).unwrap();
    let rows: Vec<serde_json::Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let share = |name: &str| rows.iter().filter(|row| row.get(name).is_some()).count() * 100 / rows.len();
    assert_eq!(rows.len(), 20_000);
    assert_eq!(share("message"), 100);
    assert!((58..62).contains(&share("trace_id")), "{}", share("trace_id"));
    assert!((31..35).contains(&share("status")), "{}", share("status"));
    let names: BTreeSet<_> = rows.iter().flat_map(|row| row.as_object().unwrap().keys()).collect();
    assert_eq!(names.len(), 17);
    let distinct = |name: &str| rows.iter().filter_map(|row| row[name].as_str()).collect::<HashSet<_>>().len();
    assert_eq!((distinct("service"), distinct("namespace"), distinct("level")), (48, 12, 5));
    let busiest = rows.iter().filter(|row| row["service"] == logs.service(0)).count();
    assert!((3_500..4_100).contains(&busiest), "Zipf's first has 19 %: {busiest}");
    let traced = rows.iter().filter(|row| row.get("trace_id").is_some()).count();
    assert!((5..7).contains(&(traced / distinct("trace_id"))), "rows a trace");
    assert!(rows[0]["TimeGenerated"].as_str().unwrap().starts_with("2026-0"));
}

#[test]
fn one_row_in_257_matches_the_regex_and_late_rows_are_late_by_less_than_half_a_second() {
    let body = String::from_utf8(Logs::new(7).body_of_rows(60_000)).unwrap();
    let matching = body.lines().filter(|line| line.contains("connection re") && line.contains(" after ")).count();
    assert!((180..290).contains(&matching), "60,000 / 257 = 233, found {matching}");
    let times: Vec<&str> = body.lines().map(|line| &line[18..45]).collect();
    let late = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((6_000..8_000).contains(&late), "an eighth, but those by less than a step: {late}");
}

/// Sizes by column of one group of rows in order of time, as the peers' Parquet has it, and the whole.
fn columns_of(body: &[u8]) -> (Vec<(String, f64)>, f64) {
    let schema = schema();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(3).unwrap());
    let properties = WriterProperties::builder().set_compression(zstd).set_max_row_group_row_count(Some(122_880)).build();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, Arc::clone(&schema), Some(properties)).unwrap();
    for batch in arrow::json::ReaderBuilder::new(schema).with_batch_size(8_192).build(body).unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    let metadata = writer.close().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let sizes = metadata.row_group(0).columns().iter().map(|c| (c.column_path().string(), c.compressed_size() as f64)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let whole = file.len() as f64;
    (sizes, whole)
}

#[test]
fn text_and_columns_compress_as_the_peers_did() {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut logs = Logs::new(7);
    for _ in 0..60_000 {
        let mut line = Vec::new();
        logs.row(&mut line);
        lines.push(line);
    }
    let body = lines.concat();
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let raw = body.len() as f64;
    #[expect(clippy::cast_precision_loss, reason = "a size")]
    let ratio = |level: i32| raw / body.chunks(1 << 20).map(|part| zstd::bulk::compress(part, level).unwrap().len()).sum::<usize>() as f64;
    lines.sort_by(|one, other| one[18..45].cmp(&other[18..45]));
    let (columns, parquet) = columns_of(&lines.concat());
    let share = |name: &str| columns.iter().find(|(column, _)| column == name).unwrap().1 / parquet * 100.0;
    let anchors = [
        ("bytes a row", raw / 60_000.0, 417.7),
        ("text by zstd-1", ratio(1), 5.24),
        ("text by zstd-3", ratio(3), 5.72),
        ("Parquet", raw / parquet, 8.77),
        ("share of message", share("message"), 51.0),
        ("share of span_id", share("span_id"), 13.0),
        ("share of trace_id", share("trace_id"), 6.6),
    ];
    let off: Vec<_> = anchors.iter().filter(|(_, found, anchor)| (found / anchor - 1.0).abs() > 0.10).collect();
    assert!(off.is_empty(), "{off:?} of {anchors:?}");
}
