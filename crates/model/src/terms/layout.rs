//! How a block's filters lie in its file.
//!
//! ```text
//! part 0 │ part 1 │ …          a part holds the terms whose hash begins alike, of all slices and columns
//! part:  slice 0's shape, slice 1's, … (8 bytes each) │ slice 0's bytes │ slice 1's │ …
//! ```
//! So whoever looks for one term reads one part, a few dozen KiB, however large the block. Behind the parts may lie those of one
//! filter over all slices, for [groups](super::GroupBuilder) of blocks.

use serde::{Deserialize, Serialize};

use super::fuse::{Builder, Shape};
use super::hash;

/// The one version there is.
const VERSION: u32 = 1;
/// Keys of one slice in one part.
const PART_KEYS: usize = 2_048;
const PARTS_MAX: usize = 4_096;
/// Keys of one part of the filter over all slices, at most; it is worth its bytes for blocks of so many slices. The number of parts is
/// a power of two, so that blocks of like size have as many.
const WHOLE_PART_KEYS: usize = 1_024;
const WHOLE_SLICES_MIN: usize = 4;
/// Slices told of as one at most: a hit has as many rows read.
const SLICES_AS_ONE_MAX: u64 = 8;
const SHAPE_BYTES: usize = 8;
/// In place of a filter: the slice holds nothing, or may hold anything.
const NOTHING: u8 = 0;
const ANYTHING: u8 = 0xff;

/// Where the filters of a block lie and what they tell of; as JSON in the file's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    version: u32,
    /// Where the first part begins in the file.
    offset: u64,
    /// Rows of the file.
    pub rows: u64,
    /// Rows of a slice; the last may have fewer.
    pub slice_rows: u64,
    /// The columns that are told of.
    pub columns: Vec<String>,
    /// Length of each part.
    parts: Vec<u32>,
    /// Length of each part of the filter over all slices, behind the others; empty: there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    whole: Vec<u32>,
}

impl Directory {
    /// `None` for what this build does not know: that prunes nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let version = serde_json::from_str::<serde_json::Value>(text).ok()?.get("version")?.as_u64()?;
        let known = version == u64::from(VERSION);
        let found: Self = known.then(|| serde_json::from_str(text).ok())??;
        let some = found.slice_rows > 0 && !found.parts.is_empty();
        (some && found.parts.len() <= PARTS_MAX && found.whole.len() <= PARTS_MAX).then_some(found)
    }

    fn text(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// How many slices there are.
    #[must_use]
    pub fn slices(&self) -> usize {
        usize::try_from(self.rows.div_ceil(self.slice_rows)).unwrap_or(usize::MAX)
    }

    /// How many parts there are.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The part in which a term is told of.
    #[must_use]
    pub fn part_of(&self, term: u64) -> usize {
        part_of(term, self.parts.len())
    }

    /// Bytes of all parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|len| u64::from(*len)).sum()
    }

    /// Bytes in memory of the directory itself.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + self.columns.iter().map(|name| name.len() + size_of::<String>()).sum::<usize>()
            + (self.parts.len() + self.whole.len()) * 4
    }

    /// Where a part lies in the file.
    #[must_use]
    pub fn range(&self, part: usize) -> std::ops::Range<u64> {
        let before: u64 = self.parts[..part].iter().map(|len| u64::from(*len)).sum();
        let start = self.offset.saturating_add(before);
        start..start.saturating_add(u64::from(self.parts[part]))
    }
}

/// What a block tells of itself to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told<'d> {
    /// Where its parts lie in the file.
    pub(super) range: std::ops::Range<u64>,
    /// Their lengths.
    pub(super) parts: &'d [u32],
    /// Whether it is one filter over all slices.
    pub(super) is_whole: bool,
}

impl Directory {
    pub(super) fn told(&self) -> Told<'_> {
        let of = |parts: &[u32]| parts.iter().map(|len| u64::from(*len)).sum::<u64>();
        let middle = self.offset.saturating_add(of(&self.parts));
        if self.whole.is_empty() {
            Told { range: self.offset..middle, parts: &self.parts, is_whole: false }
        } else {
            Told { range: middle..middle.saturating_add(of(&self.whole)), parts: &self.whole, is_whole: true }
        }
    }

    /// Where in the file lies what a group takes of it.
    #[must_use]
    pub fn group_range(&self) -> std::ops::Range<u64> {
        self.told().range
    }
}

pub(super) fn part_of(term: u64, parts: usize) -> usize {
    let high = term >> 32;
    usize::try_from((high * parts as u64) >> 32).unwrap_or(0)
}

/// What makes a column's terms its own.
fn salt(column: &str) -> u64 {
    hash(column.as_bytes())
}

/// The terms of one column: for each slice the hashes, each once.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The column.
    pub column: String,
    /// By slice.
    pub slices: Vec<Vec<u64>>,
}

impl Gathered {
    fn terms(&self) -> usize {
        self.slices.iter().map(Vec::len).sum()
    }

    /// All slices as one.
    fn whole(self) -> Self {
        let mut terms = self.slices.concat();
        terms.sort_unstable();
        terms.dedup();
        Self { column: self.column, slices: vec![terms] }
    }

    /// Two slices as one: what both hold is held once.
    fn paired(&self) -> Self {
        let union = |pair: &[Vec<u64>]| {
            let mut terms = pair.concat();
            terms.sort_unstable();
            terms.dedup();
            terms
        };
        Self { column: self.column.clone(), slices: self.slices.chunks(2).map(union).collect() }
    }
}

/// The filters of `rows` rows as they lie at `offset` of a file, and the directory's text. At most `bytes_max`: until that is kept,
/// slices are told of by two, by four and by eight as one, which costs a hit more rows; what repeats little gains nothing by it, so
/// then the column with the most terms is left out. `None` if nothing is left.
#[must_use]
pub fn build(columns: Vec<Gathered>, rows: u64, slice_rows: u64, offset: u64, bytes_max: u64) -> Option<(Vec<u8>, String)> {
    build_slices(columns, rows, slice_rows, offset, bytes_max).and_then(|(bytes, directory, _)| Some((bytes, directory.text()?)))
}

/// As [`build`], and one filter over all slices beside them, of as many bytes at most again.
#[must_use]
pub fn build_with_whole(columns: Vec<Gathered>, rows: u64, slice_rows: u64, offset: u64, bytes_max: u64) -> Option<(Vec<u8>, String)> {
    let (mut bytes, mut directory, columns) = build_slices(columns, rows, slice_rows, offset, bytes_max)?;
    if directory.slices() >= WHOLE_SLICES_MIN {
        let columns: Vec<Gathered> = columns.into_iter().map(Gathered::whole).collect();
        let keys: usize = columns.iter().map(Gathered::terms).sum();
        let (whole, parts) = write(&columns, keys.div_ceil(WHOLE_PART_KEYS).next_power_of_two().min(PARTS_MAX));
        if whole.len() as u64 <= bytes_max {
            bytes.extend(whole);
            directory.whole = parts;
        }
    }
    Some((bytes, directory.text()?))
}

fn build_slices(
    mut columns: Vec<Gathered>,
    rows: u64,
    slice_rows: u64,
    offset: u64,
    bytes_max: u64,
) -> Option<(Vec<u8>, Directory, Vec<Gathered>)> {
    columns.sort_by_key(Gathered::terms);
    while !columns.is_empty() {
        let (mut coarser, mut as_one) = (None, 1);
        loop {
            let told: &[Gathered] = coarser.as_deref().unwrap_or(&columns);
            if let Some((bytes, parts)) = within(told, bytes_max) {
                let mut names: Vec<String> = columns.iter().map(|column| column.column.clone()).collect();
                names.sort_unstable();
                let slice_rows = slice_rows * as_one;
                let directory = Directory { version: VERSION, offset, rows, slice_rows, columns: names, parts, whole: Vec::new() };
                return Some((bytes, directory, columns));
            }
            if as_one == SLICES_AS_ONE_MAX || told.iter().all(|column| column.slices.len() < 2) {
                break;
            }
            coarser = Some(told.iter().map(Gathered::paired).collect::<Vec<_>>());
            as_one *= 2;
        }
        columns.pop();
    }
    None
}

/// The filters' bytes and the length of each part, unless they are too many.
fn within(columns: &[Gathered], bytes_max: u64) -> Option<(Vec<u8>, Vec<u32>)> {
    // Ten bits a key and a little for each filter: near enough, and looked at once more when it is done.
    let total: usize = columns.iter().map(Gathered::terms).sum();
    let likely = (total as u64 * 10 / 8) <= bytes_max;
    let slices = columns.iter().map(|column| column.slices.len()).max().unwrap_or(0);
    let keys = |slice: usize| columns.iter().filter_map(|column| column.slices.get(slice)).map(Vec::len).sum::<usize>();
    let most = (0..slices).map(keys).max().unwrap_or(0);
    let parts = most.div_ceil(PART_KEYS).clamp(1, PARTS_MAX);
    likely.then(|| write(columns, parts)).filter(|(bytes, _)| bytes.len() as u64 <= bytes_max)
}

fn write(columns: &[Gathered], parts: usize) -> (Vec<u8>, Vec<u32>) {
    let slices = columns.iter().map(|column| column.slices.len()).max().unwrap_or(0);
    // The shapes and bytes of each part, slice by slice.
    let mut shapes = vec![Vec::with_capacity(slices * SHAPE_BYTES); parts];
    let mut bodies = vec![Vec::new(); parts];
    let mut keys: Vec<Vec<u64>> = vec![Vec::new(); parts];
    let mut builder = Builder::default();
    for slice in 0..slices {
        keys.iter_mut().for_each(Vec::clear);
        for column in columns {
            let salt = salt(&column.column);
            for term in column.slices.get(slice).into_iter().flatten() {
                keys[part_of(*term, parts)].push(term ^ salt);
            }
        }
        for part in 0..parts {
            shapes[part].extend(filter(&mut builder, &mut keys[part], &mut bodies[part]));
        }
    }
    let lengths = shapes.iter().zip(&bodies).map(|(shapes, body)| u32::try_from(shapes.len() + body.len()).unwrap_or(u32::MAX)).collect();
    (shapes.into_iter().zip(bodies).flat_map(|(shapes, body)| [shapes, body]).flatten().collect(), lengths)
}

/// One slice's filter in one part.
fn filter(builder: &mut Builder, keys: &mut Vec<u64>, body: &mut Vec<u8>) -> [u8; SHAPE_BYTES] {
    if keys.is_empty() {
        return [NOTHING; SHAPE_BYTES];
    }
    let Some(Shape { attempt, segment_bits, segments }) = builder.build(keys, body) else { return [ANYTHING; SHAPE_BYTES] };
    let [a, b, c, d] = segments.to_le_bytes();
    [segment_bits, attempt, 0, 0, a, b, c, d]
}

/// What a slice holds of a part.
#[derive(Clone, Copy, Debug)]
enum Held {
    Nothing,
    Anything,
    Filter(Shape, usize),
}

/// One part, ready to be asked.
#[derive(Debug)]
pub struct Part {
    held: Vec<Held>,
    bytes: Box<[u8]>,
}

impl Part {
    /// `None` if the bytes are no part of a file of that many slices.
    #[must_use]
    pub fn parse(bytes: &[u8], slices: usize) -> Option<Self> {
        let (shapes, body) = bytes.split_at_checked(slices.checked_mul(SHAPE_BYTES)?)?;
        let mut at = 0_usize;
        let mut held = Vec::with_capacity(slices);
        for shape in shapes.as_chunks::<SHAPE_BYTES>().0 {
            let [segment_bits, attempt, _, _, a, b, c, d] = *shape;
            held.push(match segment_bits {
                NOTHING => Held::Nothing,
                ANYTHING => Held::Anything,
                1..=31 => {
                    let shape = Shape { attempt, segment_bits, segments: u32::from_le_bytes([a, b, c, d]) };
                    let start = at;
                    at = at.checked_add(shape.len())?;
                    Held::Filter(shape, start)
                }
                _ => return None,
            });
        }
        (at == body.len()).then(|| Self { held, bytes: body.into() })
    }

    /// Whether a column may hold a term in a slice.
    #[must_use]
    pub fn may_hold(&self, slice: usize, column: &str, term: u64) -> bool {
        match self.held.get(slice) {
            Some(Held::Nothing) => false,
            Some(Held::Filter(shape, start)) => shape.may_hold(&self.bytes[*start..*start + shape.len()], term ^ salt(column)),
            Some(Held::Anything) | None => true,
        }
    }

    /// Bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len() + self.held.len() * size_of::<Held>() + size_of::<Self>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(column: &str, slices: &[&[&str]]) -> Gathered {
        let slices = slices.iter().map(|words| words.iter().map(|word| hash(word.as_bytes())).collect()).collect();
        Gathered { column: column.to_owned(), slices }
    }

    fn asked(bytes: &[u8], directory: &Directory, column: &str, word: &str) -> Vec<bool> {
        let term = hash(word.as_bytes());
        let range = directory.range(directory.part_of(term));
        let at = |at: u64| usize::try_from(at - directory.offset).unwrap();
        let part = Part::parse(&bytes[at(range.start)..at(range.end)], directory.slices()).unwrap();
        (0..directory.slices()).map(|slice| part.may_hold(slice, column, term)).collect()
    }

    #[test]
    fn each_slice_of_each_column_tells_its_own_terms() {
        let columns = vec![gathered("level", &[&["info"], &["info", "error"]]), gathered("message", &[&["paid", "order"], &[]])];
        let (bytes, text) = build(columns, 150, 100, 1_000, 1 << 20).unwrap();
        let directory = Directory::parse(&text).unwrap();
        assert_eq!((directory.slices(), directory.columns.join(" ")), (2, "level message".to_owned()));
        assert_eq!(asked(&bytes, &directory, "level", "info"), [true, true]);
        assert_eq!(asked(&bytes, &directory, "level", "error"), [false, true]);
        assert_eq!(asked(&bytes, &directory, "message", "paid"), [true, false]);
        assert_eq!(asked(&bytes, &directory, "message", "info"), [false, false]);
    }

    #[test]
    fn many_terms_are_dealt_out_to_parts_and_all_found() {
        let words: Vec<String> = (0..40_000).map(|n| format!("w{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (bytes, text) = build(vec![gathered("m", &[&words, &words[..9]])], 2, 1, 8, 1 << 20).unwrap();
        let directory = Directory::parse(&text).unwrap();
        assert_eq!(directory.parts.len(), 20);
        assert!(words.iter().all(|word| asked(&bytes, &directory, "m", word)[0]));
        assert!(bytes.len() < 40_009 * 115 / 80, "{}", bytes.len());
    }

    #[test]
    fn what_is_too_large_is_left_out_the_greatest_first() {
        let words: Vec<String> = (0..1_000).map(|n| format!("w{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let columns = || vec![gathered("m", &[&words]), gathered("level", &[&["info"]])];
        let (_, text) = build(columns(), 1, 1, 0, 500).unwrap();
        assert_eq!(Directory::parse(&text).unwrap().columns, ["level"]);
        assert!(build(columns(), 1, 1, 0, 10).is_none());
    }

    /// A column of so many slices: words that all of them share, and some of each slice's own.
    fn sharing(column: &str, slices: usize, shared: usize, own: usize) -> (Gathered, Vec<Vec<String>>) {
        let common = (0..shared).map(|n| format!("{column}{n}"));
        let words: Vec<Vec<String>> =
            (0..slices).map(|slice| common.clone().chain((0..own).map(|n| format!("{column}of{slice}n{n}"))).collect()).collect();
        let slices: Vec<Vec<&str>> = words.iter().map(|words| words.iter().map(String::as_str).collect()).collect();
        (gathered(column, &slices.iter().map(Vec::as_slice).collect::<Vec<_>>()), words)
    }

    #[test]
    fn where_all_does_not_fit_slices_are_told_of_together_before_a_column_is_left_out() {
        let slices = 5;
        let parts = || [sharing("message", slices, 1_000, 10), sharing("level", slices, 3, 0)];
        let columns = || parts().map(|(column, _)| column).to_vec();
        let words = parts().map(|(_, words)| words);
        // Small filters take eleven bits a key and more: some 7,300 bytes for five slices, 4,400 for three, 2,900 for two, 1,500 for one.
        for (room, as_one) in [(10_000, 1), (5_500, 2), (3_600, 4), (2_000, 8)] {
            let (bytes, text) = build(columns(), 500, 100, 0, room).unwrap();
            let directory = Directory::parse(&text).unwrap();
            assert_eq!((directory.columns.join(" "), directory.slice_rows), ("level message".to_owned(), 100 * as_one), "{room}");
            assert!(bytes.len() as u64 <= room);
            for (slice, column) in (0..slices).flat_map(|slice| [(slice, "message"), (slice, "level")]) {
                let row = slice as u64 * 100 + 99;
                for word in &words[usize::from(column == "level")][slice] {
                    let told = asked(&bytes, &directory, column, word);
                    assert!(told[usize::try_from(row / directory.slice_rows).unwrap()], "{word} of row {row}");
                }
            }
        }
        // When the largest goes, the others have their slices back.
        let directory = |columns, room| Directory::parse(&build(columns, 500, 100, 0, room).unwrap().1).unwrap();
        let left = directory(columns(), 800);
        assert_eq!((left.columns.join(" "), left.slice_rows, left.slices()), ("level".to_owned(), 100, 5));
        // Words that no two slices share gain nothing by it.
        let unique = directory(vec![sharing("message", slices, 0, 1_000).0, sharing("level", slices, 3, 0).0], 5_000);
        assert_eq!((unique.columns.join(" "), unique.slice_rows), ("level".to_owned(), 100));
    }

    #[test]
    fn another_version_or_form_is_not_read() {
        let (bytes, text) = build(vec![gathered("level", &[&["info"]])], 1, 1, 0, 500).unwrap();
        assert!(Directory::parse(&text).is_some() && Part::parse(&bytes, 1).is_some());
        assert!(Directory::parse(&text.replace("\"version\":1", "\"version\":2")).is_none());
        assert!(Directory::parse(&text.replace("\"slice_rows\":1", "\"slice_rows\":0")).is_none());
        assert!(Directory::parse("{}").is_none() && Directory::parse("").is_none());
        assert!(Part::parse(&bytes, 2).is_none() && Part::parse(&bytes[..4], 1).is_none() && Part::parse(&bytes[..9], 1).is_none());
    }

    const GOLDEN: [&str; 2] =
        [concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/terms-v1.bin"), concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/terms-v1.json")];

    fn golden() -> (Vec<u8>, String) {
        let many: Vec<String> = (0..9_000).map(|n| format!("trace{n:05}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let columns = vec![gathered("message", &[&["paid", "сервер", "錯誤"], &["refused"]]), gathered("trace_id", &[&many, &many[..2]])];
        build(columns, 150, 100, 4_096, 1 << 20).unwrap()
    }

    /// Run once for a new format, by hand: `cargo test -p strongroom-model -- --ignored write_the_golden_filters`. Never overwrites.
    #[test]
    #[ignore = "writes testdata"]
    fn write_the_golden_filters() {
        let (bytes, directory) = golden();
        for (path, content) in GOLDEN.into_iter().zip([bytes, directory.into_bytes()]) {
            if !std::path::Path::new(path).exists() {
                std::fs::write(path, content).unwrap();
            }
        }
    }

    #[test]
    fn filters_of_the_first_version_are_read() {
        let bytes = std::fs::read(GOLDEN[0]).unwrap();
        let directory = Directory::parse(&std::fs::read_to_string(GOLDEN[1]).unwrap()).unwrap();
        assert_eq!((directory.rows, directory.slices(), directory.bytes()), (150, 2, bytes.len() as u64));
        assert_eq!((directory.range(0).start, directory.columns.join(" ")), (4_096, "message trace_id".to_owned()));
        let told = |column: &str, word: &str| asked(&bytes, &directory, column, word);
        assert_eq!((told("message", "paid"), told("message", "refused")), (vec![true, false], vec![false, true]));
        assert_eq!((told("message", "сервер"), told("message", "錯誤")), (vec![true, false], vec![true, false]));
        assert!((0..9_000).all(|n| told("trace_id", &format!("trace{n:05}"))[0]));
        assert_eq!((told("trace_id", "trace00001"), told("trace_id", "paid")), (vec![true, true], vec![false, false]));
    }
}
