//! Filters over the terms of a block's text columns, gathered while it is written.
//!
//! Of each column and slice only the hashes of its terms are kept, each once; the filters are made of them at the end, when it is
//! known how large the block has become. Values that repeat are not taken apart again.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow_schema::{DataType, Schema};
use strongroom_model::terms::{Gathered, Splitter, build, build_with_whole};
use xxhash_rust::xxh3::xxh3_64;

/// Rows of a slice.
pub const SLICE_ROWS: usize = 4 << 10;
/// Blocks of fewer rows are read as soon as their filters would be.
const ROWS_MIN: u64 = 512;
/// Filters take at most this share of a block.
const BYTES_SHARE: u64 = 10;
/// Values remembered per column, those of at most so many bytes; and after how many it is asked whether that pays.
const RECENT: usize = 512;
const RECENT_BYTES_MAX: usize = 128;
const TRIAL: u32 = 2_048;

/// Gathers the terms of batches.
#[derive(Debug)]
pub struct TermsBuilder {
    slice_rows: usize,
    columns: Vec<Column>,
    splitter: Splitter,
    rows: u64,
    /// Rows of the slice under way.
    filled: usize,
    /// Whether all slices are told of as one, too.
    whole: bool,
}

#[derive(Debug)]
struct Column {
    at: usize,
    name: String,
    recent: Recent,
    set: TermSet,
    slices: Vec<Vec<u64>>,
}

impl TermsBuilder {
    /// For batches of this schema, in slices of so many rows.
    #[must_use]
    pub fn new(schema: &Schema, slice_rows: usize) -> Self {
        let is_text = |kind: &DataType| matches!(kind, DataType::Utf8 | DataType::Utf8View);
        let column =
            |at, name: &String| Column { at, name: name.clone(), recent: Recent::default(), set: TermSet::default(), slices: Vec::new() };
        let fields = schema.fields().iter().enumerate();
        let columns = fields.filter(|(_, field)| is_text(field.data_type())).map(|(at, field)| column(at, field.name())).collect();
        Self { slice_rows, columns, splitter: Splitter::default(), rows: 0, filled: 0, whole: false }
    }

    /// Tells of all slices as one, too.
    #[must_use]
    pub fn with_whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// Takes the rows of one batch into account.
    pub fn update(&mut self, batch: &RecordBatch) {
        let mut start = 0;
        while start < batch.num_rows() {
            let len = (self.slice_rows - self.filled).min(batch.num_rows() - start);
            for column in &mut self.columns {
                column.update(&batch.columns()[column.at].slice(start, len), &mut self.splitter);
            }
            (start, self.filled, self.rows) = (start + len, self.filled + len, self.rows + len as u64);
            if self.filled == self.slice_rows {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        self.filled = 0;
        for column in &mut self.columns {
            column.slices.push(column.set.take());
            column.recent.clear();
        }
    }

    /// The filters as they are to lie at `offset`, behind that many bytes of data, and their directory. `None` if the block does
    /// without.
    #[must_use]
    pub fn finish(mut self, offset: u64) -> Option<(Vec<u8>, String)> {
        if self.rows < ROWS_MIN {
            return None;
        }
        if self.filled > 0 {
            self.close();
        }
        let columns = self.columns.into_iter().map(|column| Gathered { column: column.name, slices: column.slices }).collect();
        let make = if self.whole { build_with_whole } else { build };
        make(columns, self.rows, self.slice_rows as u64, offset, offset / BYTES_SHARE)
    }
}

impl Column {
    fn update(&mut self, values: &Arc<dyn Array>, splitter: &mut Splitter) {
        if let Some(values) = values.as_string_view_opt() {
            values.iter().flatten().for_each(|value| self.add(value, splitter));
        } else if let Some(values) = values.as_string_opt::<i32>() {
            values.iter().flatten().for_each(|value| self.add(value, splitter));
        }
    }

    fn add(&mut self, value: &str, splitter: &mut Splitter) {
        if !self.recent.met(value) {
            splitter.each(value, |term| self.set.insert(term));
        }
    }
}

/// The last values of a column, by their hash; given up for a slice in which few repeat.
#[derive(Debug, Default)]
struct Recent {
    /// Hash and place of each.
    slots: Vec<(u64, usize, usize)>,
    texts: Vec<u8>,
    looked: u32,
    found: u32,
}

impl Recent {
    fn clear(&mut self) {
        self.slots.fill((0, 0, 0));
        self.texts.clear();
        (self.looked, self.found) = (0, 0);
    }

    /// Whether this value was met in this slice already, as far as is remembered. The texts are compared: whoever knew two of one
    /// hash could hide a row behind another.
    fn met(&mut self, value: &str) -> bool {
        let given_up = self.looked >= TRIAL && self.found < self.looked / 4;
        if given_up || value.len() > RECENT_BYTES_MAX {
            return false;
        }
        self.slots.resize(RECENT, (0, 0, 0));
        let hash = xxh3_64(value.as_bytes());
        let slot = &mut self.slots[usize::try_from(hash % RECENT as u64).unwrap_or(0)];
        self.looked += 1;
        if slot.0 == hash && self.texts[slot.1..slot.2] == *value.as_bytes() {
            self.found += 1;
            return true;
        }
        if self.texts.len() > RECENT * RECENT_BYTES_MAX {
            return false;
        }
        let start = self.texts.len();
        self.texts.extend_from_slice(value.as_bytes());
        *slot = (hash, start, self.texts.len());
        false
    }
}

/// A set of hashes, none of which is 0: open addressing, at most half full.
#[derive(Debug, Default)]
struct TermSet {
    slots: Vec<u64>,
    count: usize,
}

impl TermSet {
    fn insert(&mut self, term: u64) {
        if self.count * 2 >= self.slots.len() {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(term & mask as u64).unwrap_or(0);
        loop {
            match self.slots[at] {
                0 => break,
                there if there == term => return,
                _ => at = (at + 1) & mask,
            }
        }
        self.slots[at] = term;
        self.count += 1;
    }

    fn grow(&mut self) {
        let room = (self.slots.len() * 2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![0; room]);
        self.count = 0;
        for term in old.into_iter().filter(|term| *term != 0) {
            self.insert(term);
        }
    }

    /// What it holds; it is empty afterwards.
    fn take(&mut self) -> Vec<u64> {
        let mut terms = Vec::with_capacity(self.count);
        terms.extend(self.slots.iter().copied().filter(|term| *term != 0));
        self.slots.fill(0);
        self.count = 0;
        terms
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch, StringArray, StringViewArray, TimestampNanosecondArray};
    use arrow_schema::Field;
    use bytes::Bytes;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use proptest::prelude::*;
    use strongroom_model::terms::{DIRECTORY_KEY, Directory, Part, hash};
    use strongroom_model::{ColumnType, TIME_COLUMN, TimeRange};

    use super::*;
    use crate::encode::{Profile, encode, merge, without};

    /// Looks like chance, and is the same in every run.
    fn id(n: i64) -> String {
        format!("{:016x}{:016x}", xxh3_64(&n.to_le_bytes()), xxh3_64(&(-n).to_be_bytes()))
    }

    /// Rows `from..from + rows`, newest first: an id, a message, a level for some, a number.
    fn batch(from: i64, rows: i64) -> RecordBatch {
        let fields = vec![
            ColumnType::DateTime.storage_field(TIME_COLUMN),
            ColumnType::String.storage_field("id"),
            ColumnType::Dynamic.storage_field("message"),
            ColumnType::String.storage_field("level"),
            ColumnType::Long.storage_field("n"),
        ];
        let at = || (from..from + rows).rev();
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(at().map(|n| n * 1_000)).with_timezone("UTC")),
            Arc::new(StringArray::from_iter_values(at().map(id))),
            Arc::new(StringArray::from_iter_values(
                at().map(|n| format!(r#"{{"a":"Took{}\nmsec","b":"{}"}}"#, n / 10, "padding ".repeat(4))),
            )),
            Arc::new(at().map(|n| (n % 7 != 0).then_some("Info")).collect::<StringArray>()),
            Arc::new(Int64Array::from_iter_values(at())),
        ];
        RecordBatch::try_new(Schema::new(fields).into(), columns).unwrap()
    }

    fn directories(parquet: &[u8]) -> Vec<Directory> {
        let reader = SerializedFileReader::new(Bytes::copy_from_slice(parquet)).unwrap();
        let pairs = reader.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        pairs.iter().filter(|pair| pair.key == DIRECTORY_KEY).map(|pair| Directory::parse(pair.value.as_ref().unwrap()).unwrap()).collect()
    }

    /// In how many slices a file's filters have a term of a column.
    fn found(parquet: &[u8], column: &str, word: &str) -> usize {
        let directory = directories(parquet).pop().unwrap();
        let term = hash(word.as_bytes());
        let range = directory.range(directory.part_of(term));
        let bytes = &parquet[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        let part = Part::parse(bytes, directory.slices()).unwrap();
        (0..directory.slices()).filter(|slice| part.may_hold(*slice, column, term)).count()
    }

    #[test]
    fn a_file_tells_of_the_terms_of_its_text_columns_slice_by_slice() {
        let encoded = encode(&batch(0, 40_000), Profile::Flush).unwrap().parquet;
        let directory = &directories(&encoded)[0];
        assert_eq!((directory.rows, directory.slices()), (40_000, 10));
        assert_eq!(directory.columns, ["id", "level", "message"]);
        assert_eq!(found(&encoded, "id", &id(5)), 1);
        assert_eq!((found(&encoded, "level", "info"), found(&encoded, "message", "padding")), (10, 10));
        // The JSON's escape as it is written, and as what it means.
        assert_eq!((found(&encoded, "message", "nmsec"), found(&encoded, "message", "msec")), (10, 10));
        // Each of these is in one slice of ten. One filter in 256 says yes to what is not there: some 4 of 900.
        let taken: Vec<usize> = (0..100).map(|n| found(&encoded, "message", &format!("took{n}"))).collect();
        assert!(taken.iter().all(|slices| *slices >= 1) && taken.iter().sum::<usize>() <= 112, "{taken:?}");
        assert!(found(&encoded, "level", "padding") <= 1 && found(&encoded, "id", "absent") <= 1);
        assert!(directory.bytes() * 10 <= encoded.len() as u64, "{} of {}", directory.bytes(), encoded.len());
    }

    #[test]
    fn merged_and_cut_files_have_filters_of_their_own_rows_and_no_others() {
        let file = |from| Bytes::from(encode(&batch(from, 1_000), Profile::Flush).unwrap().parquet);
        let merged = merge(vec![file(0), file(1_000)]).unwrap().parquet;
        assert_eq!((directories(&merged).len(), directories(&merged)[0].rows), (1, 2_000));
        assert_eq!((found(&merged, "message", "took7"), found(&merged, "message", "took150")), (1, 1));
        let (cut, gone) = without(merged.into(), TimeRange { start: 0, end: 999_000 }).unwrap();
        let cut = cut.unwrap().parquet;
        assert_eq!((gone, directories(&cut).len(), directories(&cut)[0].rows), (1_000, 1, 1_000));
        assert_eq!((found(&cut, "message", "took7"), found(&cut, "message", "took150")), (0, 1));
        // Nor does what they replace lie about elsewhere in the file.
        let (again, _) = without(cut.into(), TimeRange { start: 0, end: 0 }).unwrap();
        let again = again.unwrap().parquet;
        assert_eq!(again.windows(DIRECTORY_KEY.len()).filter(|window| *window == DIRECTORY_KEY.as_bytes()).count(), 1);
    }

    #[test]
    fn few_rows_and_columns_of_other_kinds_do_without() {
        assert!(directories(&encode(&batch(0, 100), Profile::Flush).unwrap().parquet).is_empty());
        let numbers = batch(0, 1_000).project(&[0, 4]).unwrap();
        assert!(directories(&encode(&numbers, Profile::Flush).unwrap().parquet).is_empty());
    }

    #[test]
    fn what_repeats_is_counted_once_and_nothing_is_lost_by_it() {
        let words: Vec<String> =
            (0..30_000).map(|n| if n % 3 == 0 { "same value".to_owned() } else { format!("value{}", n % 9_000) }).collect();
        let texts: Arc<dyn Array> = Arc::new(StringViewArray::from_iter_values(&words));
        let schema = Schema::new(vec![Field::new("m", DataType::Utf8View, true)]);
        let mut builder = TermsBuilder::new(&schema, 10_000);
        builder.update(&RecordBatch::try_new(Arc::new(schema), vec![texts]).unwrap());
        let (bytes, directory) = builder.finish(1 << 20).unwrap();
        let directory = Directory::parse(&directory).unwrap();
        let start = usize::try_from(directory.range(0).start).unwrap();
        for (row, text) in words.iter().enumerate() {
            for word in text.split(' ') {
                let term = hash(word.as_bytes());
                let range = directory.range(directory.part_of(term));
                let at = |at: u64| usize::try_from(at).unwrap() - start;
                let part = Part::parse(&bytes[at(range.start)..at(range.end)], 3).unwrap();
                assert!(part.may_hold(row / 10_000, "m", term), "{word} of row {row}");
            }
        }
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        let word = prop_oneof![
            3 => prop::sample::select(vec!["request", "Took", "ms", "user", "a term of more than sixteen bytes: internationalization", "größer"]).prop_map(str::to_owned),
            2 => any::<u32>().prop_map(|n| format!("n{n}")),
            1 => any::<u64>().prop_map(|n| format!("{n:016x}{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))),
            1 => any::<u16>().prop_map(|n| format!(r#"{{"a":"x{n}\ny{n}"}}"#)),
        ];
        prop::option::weighted(0.9, prop::collection::vec(word, 0..5).prop_map(|words| words.join(" ")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn each_term_of_each_row_is_told_of_in_the_rows_slice(
            texts in prop::collection::vec(text(), 512..1_200),
            slice_rows in prop_oneof![3 => 50..700_usize, 1 => Just(0)],
            step in 1..800_usize,
            room in prop_oneof![Just(1 << 30), 20_000..200_000_u64],
        ) {
            // Now and then a last slice of one row.
            let slice_rows = if slice_rows == 0 { texts.len() - 1 } else { slice_rows };
            let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Utf8View, true), Field::new("t", DataType::Utf8, true)]));
            let mut builder = TermsBuilder::new(&schema, slice_rows);
            for rows in texts.chunks(step) {
                let columns: Vec<Arc<dyn Array>> = vec![Arc::new(rows.iter().map(Option::as_deref).collect::<StringViewArray>()), Arc::new(rows.iter().map(Option::as_deref).collect::<StringArray>())];
                builder.update(&RecordBatch::try_new(schema.clone(), columns).unwrap());
            }
            let Some((bytes, directory)) = builder.finish(room) else { return Ok(()) };
            let directory = Directory::parse(&directory).unwrap();
            let parts: Vec<Part> = (0..directory.parts())
                .map(|part| {
                    let range = directory.range(part);
                    let at = |at: u64| usize::try_from(at - room).unwrap();
                    Part::parse(&bytes[at(range.start)..at(range.end)], directory.slices()).unwrap()
                })
                .collect();
            let mut splitter = Splitter::default();
            for (row, text) in texts.iter().enumerate() {
                let slice = row / usize::try_from(directory.slice_rows).unwrap();
                let mut missing = None;
                splitter.each(text.as_deref().unwrap_or_default(), |term| {
                    let told = |column: &String| parts[directory.part_of(term)].may_hold(slice, column, term);
                    if !directory.columns.iter().all(told) {
                        missing = Some(term);
                    }
                });
                prop_assert_eq!(missing, None, "row {} of {:?}", row, text);
            }
        }
    }
}
