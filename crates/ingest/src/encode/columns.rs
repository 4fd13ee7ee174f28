//! How each column of a block is written, told from a sample of its rows.
//!
//! | column | pages | zstd |
//! |---|---|---|
//! | times | DELTA_BINARY_PACKED | the profile's level |
//! | values that repeat: half of a sample or fewer are different ones | dictionary, up to [`DICTIONARY_BYTES`] | 1: what is left are indices, which level 3 makes no smaller |
//! | texts of one length that differ: hexadecimal ids | DELTA_LENGTH_BYTE_ARRAY: the lengths cost nothing | what a trial says |
//! | other texts that differ: messages | PLAIN | what a trial says |
//! | numbers that differ | the smallest of PLAIN, BYTE_STREAM_SPLIT and, if whole, DELTA_BINARY_PACKED, as a trial says | the profile's level |
//!
//! Level 3 finds short matches in random digits and spends more on naming them than they save: 16 digits that nobody repeats take
//! 8.7 bytes at level 1 and 11.0 at level 3, at three times the CPU. So level 3 has to show on a sample that it helps.
//!
//! Bounds per page and row group are kept only where they can prune: of a text column whose rows come in no order every page spans
//! what the others do, and looking for its least and greatest value costs as much as a third of the compression. What the catalog
//! keeps of the whole block ([`super::StatsBuilder`]) covers all columns.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use arrow_schema::{DataType, Field, Schema};
use hashbrown::{DefaultHashBuilder, HashSet};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use strongroom_model::TIME_COLUMN;

use super::{Profile, SLICE_ROWS, stats};

/// Rows of a sample: enough to see what repeats, and few beside those of a block.
pub(super) const SAMPLE_ROWS: usize = 8_192;
/// Fewer values than these say nothing.
const VALUES_MIN: usize = 16;
/// Text that a trial compresses.
const TRIAL_BYTES: usize = 128 << 10;
/// A higher level must take off this share of the bytes (one in so many).
const GAIN: usize = 128;
/// A dictionary of this many bytes is full, and values after it are written as they are.
const DICTIONARY_BYTES: usize = 2 << 20;
/// Rows of a row group. Whoever wants one row unpacks the dictionaries of its group; whoever wants all begins anew at each group.
const GROUP_ROWS: usize = 128 << 10;

/// The properties of a file, of whose rows `sample` are some neighbours.
pub(super) fn properties(schema: &Schema, profile: Profile, sample: &RecordBatch) -> WriterProperties {
    let time = schema.index_of(TIME_COLUMN).ok().and_then(|at| i32::try_from(at).ok());
    let mut builder = WriterProperties::builder()
        .set_created_by("strongroom".to_owned())
        .set_compression(at_level(profile.zstd_level()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        // As many rows as token filters tell of: where one slice is wanted, no other is unpacked.
        .set_data_page_row_count_limit(SLICE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(stats::TEXT_BYTES_MAX))
        .set_column_index_truncate_length(Some(stats::TEXT_BYTES_MAX))
        .set_sorting_columns(time.map(|column_idx| vec![SortingColumn { column_idx, descending: true, nulls_first: false }]));
    let start = sample.num_rows().saturating_sub(SAMPLE_ROWS) / 2;
    let sample = sample.slice(start, sample.num_rows().min(SAMPLE_ROWS));
    for field in schema.fields() {
        let path = ColumnPath::new(vec![field.name().clone()]);
        if matches!(field.data_type(), DataType::Timestamp(..)) {
            builder = builder.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
            continue;
        }
        let Some(values) = sample.column_by_name(field.name()) else { continue };
        let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::Utf8View);
        if is_text && is_shuffled(values) {
            builder = builder.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        let (looked, distinct) = variety(values);
        if looked < VALUES_MIN || distinct * 4 <= looked * 3 {
            builder = if is_text { builder.set_column_compression(path, at_level(1)) } else { builder };
            continue;
        }
        builder = builder.set_column_dictionary_enabled(path.clone(), false);
        builder = match smallest(field, values, profile) {
            Some(encoding) => builder.set_column_encoding(path, encoding),
            None if is_text => written_out(builder, &path, values, profile),
            None => builder,
        };
    }
    builder.build()
}

fn at_level(level: i32) -> Compression {
    Compression::ZSTD(ZstdLevel::try_new(level).expect("zstd has levels 1 and 3"))
}

/// Texts without a dictionary.
fn written_out(builder: WriterPropertiesBuilder, path: &ColumnPath, values: &ArrayRef, profile: Profile) -> WriterPropertiesBuilder {
    let (mut text, mut lengths) = (Vec::with_capacity(TRIAL_BYTES), HashSet::new());
    each_text(values, |value| {
        text.extend_from_slice(value.as_bytes());
        lengths.insert(value.len());
        text.len() < TRIAL_BYTES
    });
    let builder = match lengths.len() {
        1 => builder.set_column_encoding(path.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY),
        _ => builder,
    };
    let len = |level| zstd::bulk::compress(&text, level).map_or(usize::MAX, |packed| packed.len());
    if profile.zstd_level() > 1 && len(profile.zstd_level()) >= len(1) - len(1) / GAIN {
        return builder.set_column_compression(path.clone(), at_level(1));
    }
    builder
}

/// The encoding that makes a sample of numbers smallest; `None`: the one there is anyway.
fn smallest(field: &Field, values: &ArrayRef, profile: Profile) -> Option<Encoding> {
    let candidates: &[Encoding] = match field.data_type() {
        DataType::Int32 | DataType::Int64 => &[Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT, Encoding::DELTA_BINARY_PACKED],
        DataType::Float64 => &[Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT],
        _ => return None,
    };
    let schema = Arc::new(Schema::new(vec![field.clone()]));
    let batch = RecordBatch::try_new(schema.clone(), vec![values.clone()]).ok()?;
    let len = |encoding| {
        let properties = WriterProperties::builder()
            .set_compression(at_level(profile.zstd_level()))
            .set_statistics_enabled(EnabledStatistics::None)
            .set_dictionary_enabled(false)
            .set_encoding(encoding)
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).ok()?;
        writer.write(&batch).ok()?;
        Some(writer.into_inner().ok()?.len())
    };
    candidates.iter().copied().filter_map(|encoding| Some((len(encoding)?, encoding))).min_by_key(|(len, _)| *len).map(|(_, best)| best)
}

/// How many values a sample holds, and how many different ones.
fn variety(values: &ArrayRef) -> (usize, usize) {
    let mut seen = Distinct::default();
    match values.data_type() {
        DataType::Utf8 | DataType::Utf8View => each_text(values, |value| {
            seen.add(value);
            true
        }),
        DataType::Int32 => values.as_primitive::<Int32Type>().iter().flatten().for_each(|value| seen.add(&value)),
        DataType::Int64 => values.as_primitive::<Int64Type>().iter().flatten().for_each(|value| seen.add(&value)),
        DataType::Float64 => values.as_primitive::<Float64Type>().iter().flatten().for_each(|value| seen.add(&value.to_bits())),
        _ => {}
    }
    (seen.looked, seen.hashes.len())
}

#[derive(Default)]
struct Distinct {
    hasher: DefaultHashBuilder,
    hashes: HashSet<u64>,
    looked: usize,
}

impl Distinct {
    fn add<T: Hash + ?Sized>(&mut self, value: &T) {
        self.hashes.insert(self.hasher.hash_one(value));
        self.looked += 1;
    }
}

/// Whether texts come in no order: the middle value of the sample lies within every quarter of it.
fn is_shuffled(values: &ArrayRef) -> bool {
    let mut all: Vec<&str> = Vec::with_capacity(values.len());
    each_text(values, |value| {
        all.push(value);
        true
    });
    if all.len() < 4 * VALUES_MIN {
        return false;
    }
    let mut sorted = all.clone();
    let (_, middle, _) = sorted.select_nth_unstable(all.len() / 2);
    all.chunks(all.len().div_ceil(4)).all(|part| {
        let (least, greatest) = (part.iter().min(), part.iter().max());
        least < greatest && least <= Some(middle) && Some(&*middle) <= greatest
    })
}

/// Hands the values that are there to `take` until it has enough.
fn each_text<'a>(values: &'a ArrayRef, mut take: impl FnMut(&'a str) -> bool) {
    if let Some(views) = values.as_string_view_opt() {
        views.iter().flatten().all(&mut take);
    } else if let Some(texts) = values.as_string_opt::<i32>() {
        texts.iter().flatten().all(&mut take);
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray, StringViewArray, TimestampNanosecondArray};
    use bytes::Bytes;
    use parquet::file::metadata::ColumnChunkMetaData;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use strongroom_model::ColumnType;

    use super::super::encode;
    use super::*;

    const ROWS: i64 = 20_000;

    /// Digits that repeat nowhere and come in no order.
    fn hex(n: i64) -> String {
        format!("{:016x}", n.wrapping_mul(0x1e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0x3f58_476d_1ce4_e5b9))
    }

    /// How a column of these values is written.
    fn written(name: &str, kind: ColumnType, values: ArrayRef, profile: Profile) -> ColumnChunkMetaData {
        let times = TimestampNanosecondArray::from_iter_values((0..ROWS).rev().map(|n| n * 1_000)).with_timezone("UTC");
        let field = kind.storage_field(name).with_data_type(values.data_type().clone());
        let schema = Schema::new(vec![ColumnType::DateTime.storage_field(TIME_COLUMN), field]);
        let batch = RecordBatch::try_new(schema.into(), vec![Arc::new(times), values]).unwrap();
        let file = Bytes::from(encode(&batch, profile).unwrap().parquet);
        SerializedFileReader::new(file).unwrap().metadata().row_group(0).column(1).clone()
    }

    fn texts(name: &str, profile: Profile, value: impl Fn(i64) -> String) -> ColumnChunkMetaData {
        written(name, ColumnType::String, Arc::new(StringViewArray::from_iter_values((0..ROWS).map(value))), profile)
    }

    fn has(column: &ColumnChunkMetaData, encoding: Encoding) -> bool {
        column.encodings().any(|one| one == encoding)
    }

    /// One of 2,000 lines of words, and what is told of this time.
    fn message(n: i64) -> String {
        const WORDS: [&str; 16] = [
            "shard",
            "leader",
            "flushed",
            "segment",
            "quorum",
            "retry",
            "session",
            "closed",
            "upstream",
            "accepted",
            "token",
            "expired",
            "snapshot",
            "lagging",
            "replica",
            "compaction",
        ];
        let digits = hex(n.wrapping_mul(7_919).rem_euclid(2_000));
        let words = digits.bytes().map(|digit| WORDS[usize::from(if digit < b'a' { digit - b'0' } else { digit - b'a' + 10 })]);
        format!("{} took {} us", words.collect::<Vec<_>>().join(" "), n * 37 % 99_991)
    }

    #[test]
    fn values_that_repeat_have_a_dictionary_and_those_that_do_not_are_written_as_is_smallest() {
        let traces = texts("trace_id", Profile::Compact, |n| hex(n / 6));
        assert!(has(&traces, Encoding::RLE_DICTIONARY));
        let spans = texts("span_id", Profile::Compact, hex);
        assert!(has(&spans, Encoding::DELTA_LENGTH_BYTE_ARRAY) && !has(&spans, Encoding::RLE_DICTIONARY));
        let messages = texts("message", Profile::Compact, message);
        assert!(has(&messages, Encoding::PLAIN) && !has(&messages, Encoding::RLE_DICTIONARY));
    }

    #[test]
    fn compaction_packs_text_tighter_than_a_flush_and_random_digits_no_worse() {
        let size = |name, profile, value: fn(i64) -> String| texts(name, profile, value).compressed_size();
        assert!(size("message", Profile::Compact, message) < size("message", Profile::Flush, message));
        assert!(size("span_id", Profile::Compact, hex) <= size("span_id", Profile::Flush, hex));
        // Half a byte of each digit is all there is to save.
        assert!(size("span_id", Profile::Compact, hex) < ROWS * 9);
    }

    #[test]
    fn numbers_that_differ_are_written_as_a_trial_says() {
        let long = |value: fn(i64) -> i64| {
            let values = Int64Array::from_iter_values((0..ROWS).map(value));
            written("n", ColumnType::Long, Arc::new(values), Profile::Compact)
        };
        assert!(has(&long(|n| 1_700_000_000_000 + n * 40 + n % 3), Encoding::DELTA_BINARY_PACKED));
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let waves = Float64Array::from_iter_values((0..ROWS).map(|n| (n as f64 * 0.01).sin() + 2.0));
        assert!(has(&written("x", ColumnType::Real, Arc::new(waves), Profile::Compact), Encoding::BYTE_STREAM_SPLIT));
    }

    #[test]
    fn pages_have_bounds_where_rows_of_a_text_lie_together_and_none_where_they_are_shuffled() {
        let bounded = |column: ColumnChunkMetaData| (column.statistics().is_some(), column.column_index_offset().is_some());
        assert_eq!(bounded(texts("a", Profile::Flush, hex)), (false, false));
        assert_eq!(
            bounded(texts("a", Profile::Flush, |n| ["info", "warn", "error"][usize::try_from(n % 3).unwrap()].to_owned())),
            (false, false)
        );
        assert_eq!(bounded(texts("a", Profile::Flush, |n| format!("{n:08}"))), (true, true));
        assert_eq!(bounded(texts("a", Profile::Flush, |n| format!("host-{}", n / 5_000))), (true, true));
        assert_eq!(bounded(texts("a", Profile::Flush, |_| "only".to_owned())), (true, true));
    }

    #[test]
    fn texts_are_read_whatever_their_form() {
        let plain: ArrayRef = Arc::new(StringArray::from_iter_values((0..ROWS).map(hex)));
        let views = texts("span_id", Profile::Flush, hex);
        let same = written("span_id", ColumnType::String, plain, Profile::Flush);
        assert_eq!(
            (views.compressed_size(), views.encodings().collect::<Vec<_>>()),
            (same.compressed_size(), same.encodings().collect::<Vec<_>>())
        );
    }
}
