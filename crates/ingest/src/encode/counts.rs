//! How often what occurs in a block, counted while it is written.
//!
//! A column is counted until it has had too many values, or one too long: most give up within a few hundred rows. What is left
//! has few values, so each row costs a look at two words of its text and one count. Minutes follow from the order of the
//! file; rows that do not keep it end the counting by minute, and nothing else.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use strongroom_model::{BlockCounts, COUNTED_VALUES_MAX, ColumnCounts, ColumnStats, ColumnType, StatValue, TIME_COLUMN};

/// Longest text that is counted, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// Most values of a column that are counted minute by minute, null not among them.
const BY_MINUTE_VALUES_MAX: usize = 16;
/// Most minutes of a block: a day has fewer.
const MINUTES_MAX: usize = 1_500;
/// Bytes of a block's counts: at most this many, fewer where there are few rows.
const BYTES_MAX: usize = 4 << 10;
const BYTES_MIN: usize = 256;
/// A quarter of a byte for each row, where a row takes some fifty.
const ROWS_PER_BYTE: usize = 4;

const MINUTE_NS: i64 = 60_000_000_000;
/// Numbers of values, and one for null.
const SLOTS: usize = COUNTED_VALUES_MAX + 1;
const NULL: u8 = 64;
const MINUTE_SLOTS: usize = BY_MINUTE_VALUES_MAX + 1;

/// Counts batch by batch.
#[derive(Debug)]
pub(super) struct CountsBuilder {
    rows: usize,
    time: Option<usize>,
    /// Rows of each minute, the newest first; `None` once they are not counted any more.
    minutes: Option<Vec<(i64, u32)>>,
    columns: Vec<Option<Counter>>,
    /// The value of each row of the batch, by number.
    numbers: Vec<u8>,
    /// Rows of the batch that lie in one minute, and its place among the minutes.
    runs: Vec<(usize, Range<usize>)>,
}

/// One column.
#[derive(Debug)]
struct Counter {
    kind: ColumnType,
    values: Values,
    rows: [u64; SLOTS],
    /// Minute after minute; `None` once there are too many values.
    by_minute: Option<Vec<u32>>,
}

/// The values met, numbered as they came.
#[derive(Debug)]
struct Values {
    /// Open addressing: number plus one, 0 is free. Never more than a quarter full.
    slots: [u8; 256],
    keys: Vec<Key>,
    /// Of texts.
    texts: Vec<Box<str>>,
}

/// A long, or a text's two ends and length: all of it up to 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    head: u64,
    tail: u64,
    len: usize,
}

impl Key {
    const fn of_long(value: i64) -> Self {
        Self { head: value.cast_unsigned(), tail: 0, len: 8 }
    }

    fn of_text(text: &[u8]) -> Self {
        let (head, tail) = match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
                (Some(head), Some(tail)) => (u32::from_le_bytes(*head).into(), u32::from_le_bytes(*tail).into()),
                _ => (text.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
            },
        };
        Self { head, tail, len: text.len() }
    }

    fn slot(self) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(29) ^ self.len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::from(mixed.to_be_bytes()[0])
    }
}

impl Values {
    fn new() -> Self {
        Self { slots: [0; 256], keys: Vec::new(), texts: Vec::new() }
    }

    fn text(&mut self, text: &str) -> Option<u8> {
        let key = Key::of_text(text.as_bytes());
        let mut slot = key.slot();
        loop {
            let Some(number) = self.slots[slot].checked_sub(1) else {
                if text.len() > TEXT_BYTES_MAX {
                    return None;
                }
                self.texts.push(text.into());
                return self.insert(slot, key);
            };
            let at = usize::from(number);
            if self.keys[at] == key && (key.len <= 16 || &*self.texts[at] == text) {
                return Some(number);
            }
            slot = (slot + 1) % 256;
        }
    }

    fn long(&mut self, value: i64) -> Option<u8> {
        let key = Key::of_long(value);
        let mut slot = key.slot();
        loop {
            let Some(number) = self.slots[slot].checked_sub(1) else { return self.insert(slot, key) };
            if self.keys[usize::from(number)] == key {
                return Some(number);
            }
            slot = (slot + 1) % 256;
        }
    }

    fn insert(&mut self, slot: usize, key: Key) -> Option<u8> {
        let number = u8::try_from(self.keys.len()).ok().filter(|number| *number < NULL)?;
        self.keys.push(key);
        self.slots[slot] = number + 1;
        Some(number)
    }
}

impl Counter {
    fn new(kind: ColumnType) -> Option<Self> {
        let counted = matches!(kind, ColumnType::String | ColumnType::Guid | ColumnType::Long | ColumnType::Int | ColumnType::Bool);
        counted.then(|| Self { kind, values: Values::new(), rows: [0; SLOTS], by_minute: Some(Vec::new()) })
    }

    /// The number of each value; `None`: too many, or one too long.
    fn numbered(&mut self, column: &ArrayRef, numbers: &mut Vec<u8>) -> Option<()> {
        numbers.clear();
        if column.null_count() == column.len() {
            numbers.resize(column.len(), NULL);
            return Some(());
        }
        let values = &mut self.values;
        match self.kind {
            ColumnType::String | ColumnType::Guid => match column.as_string_view_opt() {
                Some(texts) => number(texts.iter(), numbers, |text| values.text(text)),
                None => number(column.as_string_opt::<i32>()?.iter(), numbers, |text| values.text(text)),
            },
            ColumnType::Long => number(column.as_primitive_opt::<Int64Type>()?.iter(), numbers, |long| values.long(long)),
            ColumnType::Int => number(column.as_primitive_opt::<Int32Type>()?.iter(), numbers, |int| values.long(int.into())),
            ColumnType::Bool => number(column.as_boolean_opt()?.iter(), numbers, |bool| values.long(bool.into())),
            _ => None,
        }
    }

    fn count(&mut self, numbers: &[u8], runs: &[(usize, Range<usize>)]) {
        if self.values.keys.len() > BY_MINUTE_VALUES_MAX {
            self.by_minute = None;
        }
        let Some(by_minute) = &mut self.by_minute else {
            for number in numbers {
                self.rows[usize::from(*number)] += 1;
            }
            return;
        };
        for (minute, run) in runs {
            let mut rows = [0_u32; SLOTS];
            for number in &numbers[run.clone()] {
                rows[usize::from(*number)] += 1;
            }
            let at = minute * MINUTE_SLOTS;
            if by_minute.len() < at + MINUTE_SLOTS {
                by_minute.resize(at + MINUTE_SLOTS, 0);
            }
            let cells = &mut by_minute[at..at + MINUTE_SLOTS];
            for (cell, slot) in cells.iter_mut().zip((0..BY_MINUTE_VALUES_MAX).chain([usize::from(NULL)])) {
                *cell += rows[slot];
                self.rows[slot] += u64::from(rows[slot]);
            }
        }
    }

    /// Without and with its minutes, if it has several values.
    fn counts(&self, minutes: usize) -> (ColumnCounts, Option<ColumnCounts>) {
        let count = self.values.keys.len();
        let mut values: Vec<Option<StatValue>> = (0..count)
            .map(|at| {
                let long = self.values.keys[at].head.cast_signed();
                Some(match self.kind {
                    ColumnType::String | ColumnType::Guid => StatValue::Text(self.values.texts[at].to_string()),
                    ColumnType::Bool => StatValue::Bool(long != 0),
                    _ => StatValue::Long(long),
                })
            })
            .collect();
        let mut rows = self.rows[..count].to_vec();
        let nulls = self.rows[usize::from(NULL)];
        if nulls > 0 {
            values.push(None);
            rows.push(nulls);
        }
        let by_minute = self.by_minute.as_ref().filter(|_| values.len() > 1 && minutes > 0).map(|cells| {
            let used = (0..count).chain((nulls > 0).then_some(MINUTE_SLOTS - 1));
            cells.chunks_exact(MINUTE_SLOTS).flat_map(|minute| used.clone().map(|slot| u64::from(minute[slot]))).collect::<Vec<_>>()
        });
        let by_minute = by_minute.filter(|cells| cells.len() == minutes * values.len());
        let with = by_minute.map(|cells| ColumnCounts { values: values.clone(), rows: rows.clone(), by_minute: Some(cells) });
        (ColumnCounts { values, rows, by_minute: None }, with)
    }
}

fn number<T>(values: impl Iterator<Item = Option<T>>, numbers: &mut Vec<u8>, mut of: impl FnMut(T) -> Option<u8>) -> Option<()> {
    for value in values {
        numbers.push(match value {
            Some(value) => of(value)?,
            None => NULL,
        });
    }
    Some(())
}

impl CountsBuilder {
    pub(super) fn new(columns: &[ColumnStats]) -> Self {
        let time = columns.iter().position(|column| column.name == TIME_COLUMN);
        let columns = columns.iter().map(|column| Counter::new(column.kind)).collect();
        Self { rows: 0, time, minutes: time.map(|_| Vec::new()), columns, numbers: Vec::new(), runs: Vec::new() }
    }

    pub(super) fn update(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        self.runs.clear();
        let ordered = self.time.and_then(|at| self.split(batch.column(at)));
        if ordered.is_none() {
            self.minutes = None;
            self.columns.iter_mut().flatten().for_each(|counter| counter.by_minute = None);
        }
        for (counter, values) in self.columns.iter_mut().zip(batch.columns()) {
            let Some(counting) = counter else { continue };
            match counting.numbered(values, &mut self.numbers) {
                Some(()) => counting.count(&self.numbers, &self.runs),
                None => *counter = None,
            }
        }
    }

    /// Splits a batch by minute. `None`: a row is newer than the one before it by a minute, or there are too many minutes.
    fn split(&mut self, times: &ArrayRef) -> Option<()> {
        let minutes = self.minutes.as_mut()?;
        let times = times.as_primitive_opt::<TimestampNanosecondType>().filter(|times| times.null_count() == 0)?.values();
        let mut at = 0;
        while let Some(first) = times.get(at) {
            let minute = first.div_euclid(MINUTE_NS);
            let start = minute.saturating_mul(MINUTE_NS);
            let end = start.saturating_add(MINUTE_NS - 1);
            let len = times[at..].iter().take_while(|time| (start..=end).contains(*time)).count();
            let rows = u32::try_from(len).ok()?;
            match minutes.last_mut() {
                Some((last, sum)) if *last == minute => *sum = sum.checked_add(rows)?,
                Some((last, _)) if *last < minute => return None,
                _ => minutes.push((minute, rows)),
            }
            if minutes.len() > MINUTES_MAX {
                return None;
            }
            self.runs.push((minutes.len() - 1, at..at + len));
            at += len;
        }
        Some(())
    }

    /// What was counted, as much of it as there is room for: the smallest first.
    pub(super) fn finish(self) -> Option<BlockCounts> {
        let room = BYTES_MAX.min(BYTES_MIN + self.rows / ROWS_PER_BYTE);
        let minutes: Vec<_> = self.minutes.iter().flatten().map(|(minute, rows)| (*minute, u64::from(*rows))).collect();
        let mut used = BlockCounts::new(&minutes, &[]).len();
        let minutes = if used <= room { minutes } else { Vec::new() };
        if minutes.is_empty() {
            used = 0;
        }
        // By bytes: each column's counts, and what its minutes would add.
        let mut parts: Vec<(usize, usize, Vec<u8>)> = Vec::new();
        for (place, counter) in self.columns.iter().enumerate().filter_map(|(place, counter)| Some((place, counter.as_ref()?))) {
            let (without, with) = counter.counts(minutes.len());
            let section = without.section()?;
            let len = section.len();
            parts.push((len, place, section));
            if let Some(section) = with.and_then(|with| with.section()) {
                parts.push((section.len().saturating_sub(len).max(len + 1), place, section));
            }
        }
        parts.sort();
        let mut sections: Vec<(usize, Vec<u8>)> = Vec::new();
        for (_, place, section) in parts {
            let there = sections.iter_mut().find(|(at, _)| *at == place);
            // Four bytes for its place and length.
            let more = there.as_ref().map_or(section.len() + 4, |(_, there)| section.len().saturating_sub(there.len()));
            if used + more > room {
                continue;
            }
            used += more;
            match there {
                Some((_, there)) => *there = section,
                None => sections.push((place, section)),
            }
        }
        sections.sort();
        let counts = BlockCounts::new(&minutes, &sections);
        (!counts.is_empty()).then_some(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int64Array, StringArray, StringViewArray, TimestampNanosecondArray};
    use arrow_schema::Schema;
    use bytes::Bytes;
    use proptest::prelude::*;
    use strongroom_model::{BlockStats, TimeRange};

    use super::*;
    use crate::encode::{Profile, encode, merge, without};

    type Row = (i64, Option<String>, Option<i64>, Option<bool>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let fields = vec![
            ColumnType::DateTime.storage_field(TIME_COLUMN),
            ColumnType::String.storage_field("s"),
            ColumnType::Long.storage_field("n"),
            ColumnType::Bool.storage_field("b"),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|row| row.0)).with_timezone("UTC")),
            Arc::new(rows.iter().map(|row| row.1.as_deref()).collect::<StringArray>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.3).collect::<BooleanArray>()),
        ];
        RecordBatch::try_new(Schema::new(fields).into(), columns).unwrap()
    }

    fn newest_first(mut rows: Vec<Row>) -> Vec<Row> {
        rows.sort_by_key(|row| std::cmp::Reverse(row.0));
        rows
    }

    /// Rows of each value in each minute: how a column must read, minutes or not.
    fn expected(rows: &[Row], of: impl Fn(&Row) -> Option<StatValue>) -> BTreeMap<(i64, String), u64> {
        let mut cells = BTreeMap::new();
        for row in rows {
            *cells.entry((row.0.div_euclid(MINUTE_NS), format!("{:?}", of(row)))).or_insert(0) += 1;
        }
        cells
    }

    fn holds(stats: &BlockStats, rows: &[Row]) {
        let counts = stats.counts.as_ref().unwrap();
        assert!(counts.len() <= BYTES_MAX.min(BYTES_MIN + rows.len() / ROWS_PER_BYTE) + 16, "{}", counts.len());
        let minutes = counts.minutes();
        if let Some(minutes) = &minutes {
            assert!(minutes.is_sorted_by(|a, b| a.0 > b.0));
            let mut of_minutes = BTreeMap::new();
            for row in rows {
                *of_minutes.entry(row.0.div_euclid(MINUTE_NS)).or_insert(0) += 1;
            }
            assert_eq!(minutes.iter().copied().collect::<BTreeMap<_, u64>>(), of_minutes);
        }
        let text = |row: &Row| row.1.clone().map(StatValue::Text);
        let long = |row: &Row| row.2.map(StatValue::Long);
        let bool = |row: &Row| row.3.map(StatValue::Bool);
        for (place, cells) in [(1, expected(rows, text)), (2, expected(rows, long)), (3, expected(rows, bool))] {
            let Some(column) = counts.column(place) else { continue };
            for (at, value) in column.values.iter().enumerate() {
                let name = format!("{value:?}");
                let all: u64 = cells.iter().filter(|((_, of), _)| *of == name).map(|(_, rows)| rows).sum();
                assert_eq!(column.rows[at], all, "{place} {name}");
                let Some(by_minute) = &column.by_minute else { continue };
                for (m, (minute, _)) in minutes.as_ref().unwrap().iter().enumerate() {
                    let found = by_minute[m * column.values.len() + at];
                    assert_eq!(found, cells.get(&(*minute, name.clone())).copied().unwrap_or(0), "{place} {name} {minute}");
                }
            }
            assert_eq!(column.rows.iter().sum::<u64>(), rows.len() as u64);
        }
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        prop::option::weighted(
            0.8,
            prop_oneof![
                prop::sample::select(vec!["", "a", "A", "ab", "abc", "abcd", "abcde", "abcdefg", "abcdefgh", "abcdXfgh", "ERROR", "error"]),
                prop::sample::select(vec![
                    "a text of some length 1",
                    "a text of some lenGth 1",
                    "a text of some length 2",
                    "sixteen bytes of",
                    "größer"
                ]),
            ],
        )
        .prop_map(|text| text.map(str::to_owned))
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let row = (-400_000_000_000..4_000_000_000_000_i64, text(), prop::option::of(-3..60_i64), prop::option::of(any::<bool>()));
        prop::collection::vec(row, 1..400).prop_map(newest_first)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn counts_are_those_of_the_rows_however_a_block_came_to_be(one in rows(), two in rows(), cut in 0..4_000_000_000_000_i64) {
            let blocks = [&one, &two].map(|rows| encode(&batch(rows), Profile::Flush).unwrap());
            holds(&blocks[0].stats, &one);
            let both = newest_first(one.iter().chain(&two).cloned().collect());
            let merged = merge(blocks.map(|block| Bytes::from(block.parquet)).to_vec()).unwrap();
            holds(&merged.stats, &both);
            let left: Vec<Row> = both.iter().filter(|row| row.0 > cut).cloned().collect();
            let (block, gone) = without(merged.parquet.into(), TimeRange { start: i64::MIN, end: cut }).unwrap();
            prop_assert_eq!(gone, (both.len() - left.len()) as u64);
            match block {
                Some(block) => holds(&block.stats, &left),
                None => prop_assert!(left.is_empty()),
            }
        }
    }

    /// `count` rows a second apart, the newest first.
    fn many(count: i64, text: impl Fn(i64) -> Option<String>) -> Vec<Row> {
        (0..count).map(|n| ((count - n) * 1_000_000_000, text(n), Some(n), Some(true))).collect()
    }

    fn counts(rows: &[Row]) -> BlockCounts {
        encode(&batch(rows), Profile::Flush).unwrap().stats.counts.unwrap()
    }

    #[test]
    fn few_values_are_counted_by_minute_more_of_them_in_all_and_many_not() {
        let of = |values: i64| counts(&many(20_000, |n| Some(format!("value {}", n % values)))).column(1);
        let by_minute = |values| of(values).map(|column| (column.values.len(), column.by_minute.is_some()));
        assert_eq!([3, 17, 64].map(by_minute), [Some((3, true)), Some((17, false)), Some((64, false))]);
        assert_eq!(of(65), None);
        assert_eq!(counts(&many(9, |_| Some("x".repeat(65)))).column(1), None, "too long");
        assert_eq!(counts(&many(9, |_| None)).column(1).unwrap().values, [None]);
        let all = counts(&many(20_000, |_| None));
        assert_eq!((all.column(2), all.column(0)), (None, None), "a number that counts up, and time");
        assert_eq!(all.column(3).unwrap().by_minute, None, "one value needs no minutes");
    }

    #[test]
    fn a_block_of_few_rows_has_few_bytes_of_counts() {
        let few = many(60, |n| Some(format!("a value that is rather long {:02}", n % 50)));
        assert_eq!(counts(&few).column(1), None);
        assert_eq!(counts(&few).minutes().unwrap().len(), 2);
    }

    #[test]
    fn rows_out_of_order_are_counted_in_all() {
        let mut rows = many(300, |n| Some(format!("{}", n % 3)));
        rows.swap(0, 299);
        let counts = counts(&rows);
        assert_eq!((counts.minutes(), counts.column(1).unwrap().by_minute), (None, None));
        assert_eq!(counts.column(1).unwrap().rows, [100, 100, 100]);
    }

    #[test]
    fn views_are_counted_as_texts_are() {
        let schema = Arc::new(Schema::new(vec![ColumnType::String.query_field("s")]));
        let stats = |texts: ArrayRef| {
            let columns = [ColumnStats { name: "s".to_owned(), kind: ColumnType::String, min: None, max: None, nulls: 0 }];
            let mut builder = CountsBuilder::new(&columns);
            let schema = if texts.as_string_view_opt().is_some() {
                schema.clone()
            } else {
                Arc::new(Schema::new(vec![ColumnType::String.storage_field("s")]))
            };
            builder.update(&RecordBatch::try_new(schema, vec![texts]).unwrap());
            builder.finish()
        };
        let texts = [Some("a"), None, Some("a text longer than a view"), Some("a")];
        assert_eq!(stats(Arc::new(StringViewArray::from_iter(texts))), stats(Arc::new(StringArray::from_iter(texts))));
    }
}
