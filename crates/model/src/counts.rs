//! How often what occurs in a block: rows per minute, and per value of the columns that have few.
//!
//! Kept with the block's statistics, so it is small: bytes, read only as far as they are asked for
//! (`docs/formats/block-counts.md`). In JSON they are base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::StatValue;

/// Most values of a column that are counted, null not among them.
pub const COUNTED_VALUES_MAX: usize = 64;

const VERSION: u8 = 1;
const KINDS: u8 = 0x0f;
const TEXT: u8 = 0;
const LONG: u8 = 1;
const BOOL: u8 = 2;
const HAS_NULLS: u8 = 0x10;
const BY_MINUTE: u8 = 0x20;

/// What was counted in a block, in the form it is kept in.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockCounts(Box<[u8]>);

impl std::fmt::Debug for BlockCounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlockCounts({} bytes)", self.0.len())
    }
}

/// How often each value of a column occurs.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnCounts {
    /// The values, each once: texts, longs or bools. Null, if it occurs, is the last.
    pub values: Vec<Option<StatValue>>,
    /// Rows of each.
    pub rows: Vec<u64>,
    /// Rows of each value in each minute, minute after minute as [`BlockCounts::minutes`] has them; absent if not counted.
    pub by_minute: Option<Vec<u64>>,
}

impl ColumnCounts {
    /// The bytes of these; `None` if they are in no form that is kept.
    #[must_use]
    pub fn section(&self) -> Option<Vec<u8>> {
        let has_nulls = self.values.last().is_some_and(Option::is_none);
        let values = &self.values[..self.values.len() - usize::from(has_nulls)];
        let kind = match values.first() {
            None | Some(Some(StatValue::Text(_))) => TEXT,
            Some(Some(StatValue::Long(_))) => LONG,
            Some(Some(StatValue::Bool(_))) => BOOL,
            Some(_) => return None,
        };
        let flags = if has_nulls { HAS_NULLS } else { 0 } | if self.by_minute.is_some() { BY_MINUTE } else { 0 };
        let mut bytes = vec![kind | flags];
        put(&mut bytes, values.len() as u64);
        for value in values {
            match (kind, value) {
                (TEXT, Some(StatValue::Text(text))) => {
                    put(&mut bytes, text.len() as u64);
                    bytes.extend_from_slice(text.as_bytes());
                }
                (LONG, Some(StatValue::Long(long))) => put(&mut bytes, zigzag(*long)),
                (BOOL, Some(StatValue::Bool(bool))) => bytes.push(u8::from(*bool)),
                _ => return None,
            }
        }
        self.by_minute.as_ref().unwrap_or(&self.rows).iter().for_each(|rows| put(&mut bytes, *rows));
        Some(bytes)
    }
}

impl BlockCounts {
    /// Puts together what was counted: rows per minute since 1970, the newest first (none: not counted), and
    /// [sections](ColumnCounts::section), each with its column's place in the block's statistics.
    #[must_use]
    pub fn new(minutes: &[(i64, u64)], sections: &[(usize, Vec<u8>)]) -> Self {
        let mut bytes = vec![VERSION];
        put(&mut bytes, minutes.len() as u64);
        let mut last = None;
        for (minute, rows) in minutes {
            match last {
                None => put(&mut bytes, zigzag(*minute)),
                Some(last) => put(&mut bytes, i64::wrapping_sub(last, *minute).cast_unsigned()),
            }
            put(&mut bytes, *rows);
            last = Some(*minute);
        }
        put(&mut bytes, sections.len() as u64);
        for (place, section) in sections {
            put(&mut bytes, *place as u64);
            put(&mut bytes, section.len() as u64);
            bytes.extend_from_slice(section);
        }
        Self(bytes.into())
    }

    /// How many bytes these are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.len() <= 3
    }

    /// Rows in each minute since 1970 that has some, the newest first. `None`: not counted, or in a form this build does not know.
    #[must_use]
    pub fn minutes(&self) -> Option<Vec<(i64, u64)>> {
        self.begin().map(|(minutes, _)| minutes).filter(|minutes| !minutes.is_empty())
    }

    /// How often the values of the column at this place occur. `None`: not counted, or in a form this build does not know.
    #[must_use]
    pub fn column(&self, place: usize) -> Option<ColumnCounts> {
        let (minutes, mut bytes) = self.begin()?;
        for _ in 0..bytes.number()? {
            let (at, len) = (bytes.number()?, bytes.size()?);
            let section = bytes.take(len)?;
            if at == place as u64 {
                return Bytes(section).column(minutes.len());
            }
        }
        None
    }

    fn begin(&self) -> Option<(Vec<(i64, u64)>, Bytes<'_>)> {
        let (version, rest) = self.0.split_first()?;
        let mut bytes = Bytes(rest);
        let count = (*version == VERSION).then(|| bytes.size())??;
        let mut minutes: Vec<(i64, u64)> = Vec::with_capacity(count);
        for _ in 0..count {
            let minute = match minutes.last() {
                None => unzigzag(bytes.number()?),
                Some((last, _)) => last.checked_sub(i64::try_from(bytes.number()?).ok().filter(|step| *step > 0)?)?,
            };
            minutes.push((minute, bytes.number()?));
        }
        Some((minutes, bytes))
    }
}

impl Serialize for BlockCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD_NO_PAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for BlockCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| serde::de::Error::custom("counts are base64"))?;
        Ok(Self(bytes.into()))
    }
}

/// Bytes read from the front; `None` where they end too soon.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// LEB128.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return (shift < 63 || byte <= 1).then_some(number);
            }
        }
        None
    }

    /// A number of things, each at least a byte: never more than there are bytes left.
    fn size(&mut self) -> Option<usize> {
        let size = usize::try_from(self.number()?).ok()?;
        (size <= self.0.len()).then_some(size)
    }

    fn column(mut self, minutes: usize) -> Option<ColumnCounts> {
        let head = *self.take(1)?.first()?;
        if head & !(KINDS | HAS_NULLS | BY_MINUTE) != 0 {
            return None;
        }
        let count = self.size().filter(|count| *count <= COUNTED_VALUES_MAX)?;
        let mut values = Vec::with_capacity(count + 1);
        for _ in 0..count {
            values.push(Some(match head & KINDS {
                TEXT => {
                    let len = self.size()?;
                    StatValue::Text(std::str::from_utf8(self.take(len)?).ok()?.to_owned())
                }
                LONG => StatValue::Long(unzigzag(self.number()?)),
                BOOL => StatValue::Bool(match self.take(1)? {
                    [0] => false,
                    [1] => true,
                    _ => return None,
                }),
                _ => return None,
            }));
        }
        if head & HAS_NULLS != 0 {
            values.push(None);
        }
        let width = values.len();
        if head & BY_MINUTE == 0 {
            let rows = (0..width).map(|_| self.number()).collect::<Option<Vec<u64>>>()?;
            return self.0.is_empty().then_some(ColumnCounts { values, rows, by_minute: None });
        }
        let cells = width.checked_mul(minutes).filter(|cells| *cells <= self.0.len())?;
        let by_minute = (0..cells).map(|_| self.number()).collect::<Option<Vec<u64>>>()?;
        let mut rows = vec![0_u64; width];
        for (cell, of) in by_minute.iter().enumerate() {
            let sum = &mut rows[cell % width];
            *sum = sum.checked_add(*of)?;
        }
        self.0.is_empty().then_some(ColumnCounts { values, rows, by_minute: Some(by_minute) })
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -((number & 1).cast_signed())
}

/// The door for fuzzers: whatever the bytes are, they are read or refused.
#[doc(hidden)]
pub fn fuzz_block_counts(bytes: &[u8]) {
    let counts = BlockCounts(bytes.into());
    let minutes = counts.minutes().map_or(0, |minutes| minutes.len());
    for place in 0..8 {
        if let Some(column) = counts.column(place) {
            assert_eq!(column.values.len(), column.rows.len());
            assert!(column.by_minute.is_none_or(|cells| cells.len() == minutes * column.rows.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> StatValue {
        StatValue::Text(text.to_owned())
    }

    /// What `testdata/counts-v1.json` holds.
    fn sample() -> (BlockCounts, Vec<(i64, u64)>, Vec<ColumnCounts>) {
        let minutes = vec![(29_539_440, 700), (29_539_439, 20), (29_539_400, 1)];
        let columns = vec![
            ColumnCounts {
                values: vec![Some(text("INFO")), Some(text("")), Some(text("fehlgeschlagen: größer")), None],
                rows: vec![600, 1, 100, 20],
                by_minute: None,
            },
            ColumnCounts {
                values: vec![Some(StatValue::Long(200)), Some(StatValue::Long(-7))],
                rows: vec![701, 20],
                by_minute: Some(vec![699, 1, 1, 19, 1, 0]),
            },
            ColumnCounts { values: vec![Some(StatValue::Bool(true)), None], rows: vec![721, 0], by_minute: None },
            ColumnCounts { values: vec![None], rows: vec![721], by_minute: None },
        ];
        let sections: Vec<_> = columns.iter().enumerate().map(|(at, column)| (2 * at + 1, column.section().unwrap())).collect();
        (BlockCounts::new(&minutes, &sections), minutes, columns)
    }

    #[test]
    fn what_was_counted_is_read_back() {
        let (counts, minutes, columns) = sample();
        assert_eq!(counts.minutes(), Some(minutes));
        for (at, column) in columns.iter().enumerate() {
            assert_eq!((counts.column(2 * at), counts.column(2 * at + 1).as_ref()), (None, Some(column)));
        }
        let empty = BlockCounts::new(&[], &[]);
        assert_eq!((empty.minutes(), empty.column(0), empty.is_empty(), counts.is_empty()), (None, None, true, false));
    }

    #[test]
    fn version_1_is_read_by_every_later_build() {
        let golden = include_str!("../testdata/counts-v1.json");
        let (counts, ..) = sample();
        assert_eq!(serde_json::from_str::<BlockCounts>(golden).unwrap(), counts);
        assert_eq!(serde_json::to_string(&counts).unwrap(), golden.trim_end());
    }

    #[test]
    fn every_instant_has_its_minute() {
        for minutes in [vec![(i64::MAX, 1), (i64::MIN + 1, 2)], vec![(i64::MIN, u64::MAX)], vec![(0, 1), (-1, 1)]] {
            // Steps of more than half of all time are no block's.
            let read = BlockCounts::new(&minutes, &[]).minutes();
            assert_eq!(read, (minutes.len() == 1 || minutes[0].0 == 0).then_some(minutes));
        }
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_counts_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..64), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            fuzz_block_counts(&bytes);
            let mut near = sample().0.0.into_vec();
            let at = at.index(near.len());
            near[at] ^= 1 << bit;
            fuzz_block_counts(&near);
            near.truncate(at);
            fuzz_block_counts(&near);
        }
    }
}
