//! Filters of several blocks side by side, cut by the term's hash: whoever looks for a term in all of them reads one cut.
//!
//! Nothing is counted anew: the bytes are those of the blocks' own filters, the one over all slices where a block has it. A group
//! *names* its blocks. Of a block that it does not name it says nothing, so blocks may come and go beside it.
//!
//! ```text
//! cuts of the blocks with as many parts │ cuts of those with another number │ … │ directory │ its length (4 bytes)
//! cut n:  length of each block's part n (4 bytes each) │ those parts
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::layout::{Directory, Part, part_of};
use crate::ObjectId;

/// The one version there is.
const VERSION: u32 = 1;
/// Bytes that end a group: the length of its directory.
const TRAILER: usize = 4;
/// Blocks of a group, at most.
const BLOCKS_MAX: usize = 4_096;

/// What a group says of a block before a term is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The block.
    pub block: ObjectId,
    /// Its rows.
    pub rows: u64,
    /// Rows of a slice; all of them, if it is told of as one.
    pub slice_rows: u64,
    /// Whether its slices are told of as one, so that the block's own filters know more.
    pub whole: bool,
    /// Which of the lists of columns is told of. `None`: the block has no filters, and is to be asked itself.
    columns: Option<usize>,
    /// Which class it is in, and its place there.
    class: usize,
    at: usize,
}

impl Named {
    /// How many slices are told of.
    #[must_use]
    pub fn slices(&self) -> usize {
        usize::try_from(self.rows.div_ceil(self.slice_rows.max(1))).unwrap_or(usize::MAX)
    }
}

/// Blocks with the same number of parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Class {
    /// How many blocks.
    blocks: usize,
    /// Length of each cut; there are as many as a block has parts.
    cuts: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Text {
    version: u32,
    columns: Vec<Vec<String>>,
    blocks: Vec<Named>,
    classes: Vec<Class>,
}

/// A group's directory: which blocks it names and where its cuts lie.
#[derive(Debug)]
pub struct Group {
    columns: Vec<Vec<String>>,
    /// In the order of their ids.
    blocks: Vec<Named>,
    classes: Vec<Class>,
    /// Where each class's cuts begin, and the end of the last cut.
    starts: Vec<u64>,
}

impl Group {
    /// How many bytes from the end on the directory takes, by a group's last bytes. `None`: those are not the end of one.
    #[must_use]
    pub fn directory_len(end: &[u8]) -> Option<u64> {
        let length = u32::from_le_bytes(*end.last_chunk::<TRAILER>()?);
        Some(u64::from(length) + TRAILER as u64)
    }

    /// Reads the directory; `bytes` are those at the group's end, as many as [`Self::directory_len`] says, of `len` bytes in all.
    /// `None` for what this build does not know: that rules nothing out.
    #[must_use]
    pub fn parse(bytes: &[u8], len: u64) -> Option<Self> {
        let text = bytes.get(..bytes.len().checked_sub(TRAILER)?)?;
        let version = serde_json::from_slice::<serde_json::Value>(text).ok()?.get("version")?.as_u64()?;
        let Text { columns, blocks, classes, .. } =
            (version == u64::from(VERSION)).then(|| serde_json::from_slice::<Text>(text).ok()).flatten()?;
        let mut starts = Vec::with_capacity(classes.len());
        let mut at = 0_u64;
        for class in &classes {
            starts.push(at);
            at = at.checked_add(class.cuts.iter().map(|cut| u64::from(*cut)).sum())?;
        }
        let fits = at.checked_add(bytes.len() as u64)? == len && blocks.len() <= BLOCKS_MAX;
        let known = |named: &Named| {
            let listed = named.columns.is_none_or(|list| list < columns.len());
            let placed = named.columns.is_none() || classes.get(named.class).is_some_and(|class| named.at < class.blocks);
            listed && placed && named.slice_rows > 0
        };
        let sorted = blocks.is_sorted_by(|a, b| a.block < b.block);
        let whole = classes.iter().all(|class| !class.cuts.is_empty() && class.blocks <= blocks.len());
        (fits && sorted && whole && blocks.iter().all(known)).then_some(Self { columns, blocks, classes, starts })
    }

    /// What it says of a block, if it names it and the block has filters.
    #[must_use]
    pub fn find(&self, block: ObjectId) -> Option<&Named> {
        let at = self.blocks.binary_search_by_key(&block, |named| named.block).ok()?;
        Some(&self.blocks[at]).filter(|named| named.columns.is_some())
    }

    /// The blocks that it names, those without filters, too.
    pub fn named(&self) -> impl Iterator<Item = ObjectId> {
        self.blocks.iter().map(|named| named.block)
    }

    /// The columns that are told of in a block.
    #[must_use]
    pub fn columns(&self, named: &Named) -> &[String] {
        named.columns.and_then(|list| self.columns.get(list)).map_or(&[], Vec::as_slice)
    }

    /// The number of the cut that tells of a term in a block.
    #[must_use]
    pub fn cut_of(&self, named: &Named, term: u64) -> usize {
        let before: usize = self.classes[..named.class].iter().map(|class| class.cuts.len()).sum();
        before + part_of(term, self.classes[named.class].cuts.len())
    }

    /// Where a cut lies. Empty for one that there is not.
    #[must_use]
    pub fn range(&self, cut: usize) -> Range<u64> {
        let Some((class, cut)) = self.place(cut) else { return 0..0 };
        let cuts = &self.classes[class].cuts;
        let before: u64 = cuts[..cut].iter().map(|len| u64::from(*len)).sum();
        let start = self.starts[class] + before;
        start..start + u64::from(cuts[cut])
    }

    fn place(&self, mut cut: usize) -> Option<(usize, usize)> {
        for (at, class) in self.classes.iter().enumerate() {
            if cut < class.cuts.len() {
                return Some((at, cut));
            }
            cut -= class.cuts.len();
        }
        None
    }

    /// Reads a cut. `None` if the bytes are none of this group.
    #[must_use]
    pub fn cut(&self, cut: usize, bytes: &[u8]) -> Option<Cut> {
        let (class, _) = self.place(cut)?;
        let count = self.classes[class].blocks;
        let (lengths, mut rest) = bytes.split_at_checked(count.checked_mul(4)?)?;
        let mut slices = vec![0; count];
        for named in self.blocks.iter().filter(|named| named.columns.is_some() && named.class == class) {
            slices[named.at] = named.slices();
        }
        let mut parts = Vec::with_capacity(count);
        for (length, slices) in lengths.as_chunks::<4>().0.iter().zip(slices) {
            let (part, more) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            parts.push(Part::parse(part, slices)?);
            rest = more;
        }
        rest.is_empty().then_some(Cut { parts })
    }

    /// Bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        let columns: usize = self.columns.iter().flatten().map(|name| name.len() + size_of::<String>()).sum();
        let cuts: usize = self.classes.iter().map(|class| class.cuts.len() * 4 + size_of::<Class>()).sum();
        size_of::<Self>() + columns + cuts + self.blocks.len() * size_of::<Named>()
    }
}

/// One cut, ready to be asked.
#[derive(Debug)]
pub struct Cut {
    parts: Vec<Part>,
}

impl Cut {
    /// Whether a column of a block may hold a term in a slice.
    #[must_use]
    pub fn may_hold(&self, named: &Named, slice: usize, column: &str, term: u64) -> bool {
        self.parts.get(named.at).is_none_or(|part| part.may_hold(slice, column, term))
    }

    /// Bytes in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.parts.iter().map(Part::size).sum::<usize>()
    }
}

struct Added {
    block: ObjectId,
    directory: Option<(Directory, Vec<u8>)>,
}

/// Puts a group together.
#[derive(Default)]
pub struct GroupBuilder {
    added: Vec<Added>,
    bytes: usize,
}

impl std::fmt::Debug for GroupBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupBuilder").field("blocks", &self.added.len()).field("bytes", &self.bytes).finish()
    }
}

impl GroupBuilder {
    /// Names a block. `filters` are the bytes of its file that [`Directory::group_range`] tells; without, the group knows nothing of
    /// it, and says so.
    pub fn add(&mut self, block: ObjectId, filters: Option<(Directory, Vec<u8>)>) {
        let fits = |(directory, bytes): &(Directory, Vec<u8>)| {
            let range = directory.group_range();
            range.end - range.start == bytes.len() as u64
        };
        let directory = filters.filter(fits);
        self.bytes += directory.as_ref().map_or(0, |(_, bytes)| bytes.len());
        self.added.push(Added { block, directory });
    }

    /// Bytes of filters so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many blocks it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.added.len()
    }

    /// Whether it names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
    }

    /// The group's bytes. `None` for more blocks than a group has, or longer ones than its numbers tell of.
    #[must_use]
    pub fn finish(mut self) -> Option<Vec<u8>> {
        if self.added.len() > BLOCKS_MAX {
            return None;
        }
        self.added.sort_by_key(|added| added.block);
        let mut classes: BTreeMap<usize, Vec<&Added>> = BTreeMap::new();
        for added in &self.added {
            if let Some((directory, _)) = &added.directory {
                classes.entry(directory.told().parts.len()).or_default().push(added);
            }
        }
        let mut out = Vec::with_capacity(self.bytes + self.bytes / 64 + 1_024);
        let mut told = Vec::with_capacity(classes.len());
        for (parts, members) in &classes {
            let mut reached = vec![0_usize; members.len()];
            let mut cuts = Vec::with_capacity(*parts);
            for part in 0..*parts {
                let start = out.len();
                for added in members {
                    let (directory, _) = added.directory.as_ref()?;
                    out.extend(directory.told().parts[part].to_le_bytes());
                }
                for (added, reached) in members.iter().zip(&mut reached) {
                    let (directory, bytes) = added.directory.as_ref()?;
                    let end = *reached + usize::try_from(directory.told().parts[part]).ok()?;
                    out.extend(bytes.get(*reached..end)?);
                    *reached = end;
                }
                cuts.push(u32::try_from(out.len() - start).ok()?);
            }
            told.push(Class { blocks: members.len(), cuts });
        }
        let mut columns: Vec<Vec<String>> = Vec::new();
        let numbers: Vec<usize> = classes.keys().copied().collect();
        let mut filled = vec![0; numbers.len()];
        let blocks = self.added.iter().map(|added| {
            let Some((directory, _)) = &added.directory else {
                return Named { block: added.block, rows: 0, slice_rows: 1, whole: false, columns: None, class: 0, at: 0 };
            };
            let own = directory.told();
            let list = columns.iter().position(|list| *list == directory.columns).unwrap_or_else(|| {
                columns.push(directory.columns.clone());
                columns.len() - 1
            });
            let class = numbers.binary_search(&own.parts.len()).unwrap_or(0);
            let at = filled[class];
            filled[class] += 1;
            let slice_rows = if own.is_whole { directory.rows.max(1) } else { directory.slice_rows };
            Named { block: added.block, rows: directory.rows, slice_rows, whole: own.is_whole, columns: Some(list), class, at }
        });
        let blocks = blocks.collect();
        let text = serde_json::to_vec(&Text { version: VERSION, columns, blocks, classes: told }).ok()?;
        let length = u32::try_from(text.len()).ok()?;
        out.extend(text);
        out.extend(length.to_le_bytes());
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gathered, build, build_with_whole, hash};
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_bytes([n; 16])
    }

    fn word(block: u8, slice: usize, n: usize) -> u64 {
        hash(format!("b{block}s{slice}n{n}").as_bytes())
    }

    /// A block of so many slices, each with so many words of its own, as its file has its filters; `whole` as it says.
    fn block(n: u8, slices: usize, words: usize, whole: bool) -> (Directory, Vec<u8>) {
        let of = |slice| (0..words).map(|at| word(n, slice, at)).collect();
        let columns = vec![Gathered { column: format!("m{}", n % 2), slices: (0..slices).map(of).collect() }];
        let make = if whole { build_with_whole } else { build };
        let (bytes, text) = make(columns, slices as u64 * 100, 100, 50, 1 << 30).unwrap();
        let directory = Directory::parse(&text).unwrap();
        let range = directory.group_range();
        let at = |at: u64| usize::try_from(at - 50).unwrap();
        (directory, bytes[at(range.start)..at(range.end)].to_vec())
    }

    fn open(bytes: &[u8]) -> Option<Group> {
        let len = usize::try_from(Group::directory_len(bytes)?).unwrap();
        Group::parse(&bytes[bytes.len().checked_sub(len)?..], bytes.len() as u64)
    }

    fn told(bytes: &[u8], group: &Group, block: u8, term: u64) -> Vec<bool> {
        let named = group.find(id(block)).unwrap();
        let cut = group.cut_of(named, term);
        let range = group.range(cut);
        let cut = group.cut(cut, &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]).unwrap();
        (0..named.slices()).map(|slice| cut.may_hold(named, slice, &group.columns(named)[0], term)).collect()
    }

    #[test]
    fn a_group_tells_of_each_block_what_the_block_tells_of_itself() {
        let mut builder = GroupBuilder::default();
        // One part and one slice, several of both, and a filter over all slices; out of order.
        let shapes = [(3, 1, 40, false), (1, 3, 5_000, false), (2, 6, 3_000, true), (4, 1, 60, false)];
        for (n, slices, words, whole) in shapes {
            builder.add(id(n), Some(block(n, slices, words, whole)));
        }
        builder.add(id(9), None);
        let bytes = builder.finish().unwrap();
        let group = open(&bytes).unwrap();
        assert_eq!(group.named().collect::<Vec<_>>(), [1, 2, 3, 4, 9].map(id));
        for (n, slices, words, whole) in shapes {
            let named = group.find(id(n)).unwrap();
            assert_eq!((named.slices(), named.whole, named.rows), (if whole { 1 } else { slices }, whole, slices as u64 * 100));
            for (slice, at) in (0..slices).flat_map(|slice| (0..words).step_by(7).map(move |at| (slice, at))) {
                assert!(told(&bytes, &group, n, word(n, slice, at))[if whole { 0 } else { slice }], "{n} {slice} {at}");
            }
            let wrong = (0..2_000).filter(|at| told(&bytes, &group, n, word(77, 0, *at)).contains(&true)).count();
            assert!(wrong < 80, "{wrong} of 2,000 in {n}");
        }
        assert!(group.find(id(9)).is_none() && group.find(id(8)).is_none());
    }

    #[test]
    fn what_is_no_group_or_of_another_version_is_not_read() {
        let mut builder = GroupBuilder::default();
        builder.add(id(1), Some(block(1, 2, 50, false)));
        builder.add(id(2), Some(block(2, 5, 700, true)));
        let bytes = builder.finish().unwrap();
        let group = open(&bytes).unwrap();
        let range = group.range(0);
        let cut = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(group.cut(0, cut).is_some());
        assert!(group.cut(0, &cut[1..]).is_none() && group.cut(0, &[]).is_none() && group.cut(999, cut).is_none());
        assert!(Group::directory_len(&[1, 2]).is_none());
        let text = bytes.len() - usize::try_from(Group::directory_len(&bytes).unwrap()).unwrap();
        let parse = |bytes: &[u8], len| Group::parse(bytes, len).is_some();
        assert!(parse(&bytes[text..], bytes.len() as u64));
        assert!(!parse(&bytes[text..], bytes.len() as u64 + 1) && !parse(&bytes[text + 1..], bytes.len() as u64) && !parse(&[], 0));
        let newer = String::from_utf8(bytes[text..bytes.len() - 4].to_vec()).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(!parse(&[newer.as_bytes(), &[0; 4]].concat(), bytes.len() as u64));
        // Whatever single byte of the directory is changed, nothing panics.
        for at in text..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            if let Some(group) = open(&bytes) {
                for n in [1, 2] {
                    if let Some(named) = group.find(id(n)) {
                        let cut = group.cut_of(named, word(n, 0, 0));
                        drop(group.cut(cut, &bytes[..8]));
                        assert!(group.range(cut).start <= group.range(cut).end);
                    }
                }
            }
        }
    }

    #[test]
    fn a_block_of_few_slices_has_no_filter_over_all_of_them() {
        assert!(!block(1, 3, 10, true).0.told().is_whole && block(1, 4, 10, true).0.told().is_whole);
    }

    const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/term-groups-v1.bin");
    /// Block, slices, words of a slice, and whether it has a filter over all slices: two of one part, one of several, one told of as one.
    const SHAPES: [(u8, usize, usize, bool); 4] = [(3, 1, 40, false), (1, 2, 2_500, false), (2, 4, 600, true), (4, 2, 60, false)];
    /// A block without filters.
    const UNTOLD: u8 = 9;

    fn golden() -> Vec<u8> {
        let mut builder = GroupBuilder::default();
        for (n, slices, words, whole) in SHAPES {
            builder.add(id(n), Some(block(n, slices, words, whole)));
        }
        builder.add(id(UNTOLD), None);
        builder.finish().unwrap()
    }

    /// Run once for a new format, by hand: `cargo test -p strongroom-model -- --ignored write_the_golden_group`. Never overwrites.
    #[test]
    #[ignore = "writes testdata"]
    fn write_the_golden_group() {
        if !std::path::Path::new(GOLDEN).exists() {
            std::fs::write(GOLDEN, golden()).unwrap();
        }
    }

    #[test]
    fn a_group_of_the_first_version_is_read() {
        let bytes = std::fs::read(GOLDEN).unwrap();
        // The end, as the page says it, without the reader.
        let (rest, length) = bytes.split_last_chunk::<4>().unwrap();
        let (cuts, text) = rest.split_at(rest.len() - usize::try_from(u32::from_le_bytes(*length)).unwrap());
        let text: serde_json::Value = serde_json::from_slice(text).unwrap();
        let mut members: Vec<&str> = text.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!((members, text["version"].as_u64()), (vec!["blocks", "classes", "columns", "version"], Some(1)));

        let group = open(&bytes).unwrap();
        assert_eq!(group.columns, [["m1"], ["m0"]]);
        let named =
            |n: u8, rows, slice_rows, whole, columns, class, at| Named { block: id(n), rows, slice_rows, whole, columns, class, at };
        let expected = [
            named(1, 200, 100, false, Some(0), 1, 0),
            named(2, 400, 400, true, Some(1), 2, 0),
            named(3, 100, 100, false, Some(0), 0, 0),
            named(4, 200, 100, false, Some(1), 0, 1),
            named(UNTOLD, 0, 1, false, None, 0, 0),
        ];
        assert_eq!(group.blocks, expected);
        let classes: Vec<(usize, usize)> = group.classes.iter().map(|class| (class.blocks, class.cuts.len())).collect();
        assert_eq!(classes, [(2, 1), (1, 2), (1, 4)]);
        // Cut after cut, without gaps, up to the directory; each begins with the lengths of its parts.
        let mut at = 0;
        for (cut, blocks) in [2, 1, 1, 1, 1, 1, 1].into_iter().enumerate() {
            let range = group.range(cut);
            assert_eq!(range.start, at, "cut {cut}");
            let bytes = &cuts[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            let lengths = bytes[..4 * blocks].as_chunks::<4>().0.iter().map(|length| u64::from(u32::from_le_bytes(*length)));
            assert_eq!(lengths.sum::<u64>() + 4 * blocks as u64, range.end - range.start, "cut {cut}");
            at = range.end;
        }
        assert_eq!((at, group.range(7)), (cuts.len() as u64, 0..0));

        assert!(group.find(id(UNTOLD)).is_none() && group.named().any(|block| block == id(UNTOLD)));
        for (n, slices, words, whole) in SHAPES {
            assert_eq!(group.columns(group.find(id(n)).unwrap()), [format!("m{}", n % 2)]);
            for (slice, at) in (0..slices).flat_map(|slice| (0..words).map(move |at| (slice, at))) {
                assert!(told(&bytes, &group, n, word(n, slice, at))[if whole { 0 } else { slice }], "{n} {slice} {at}");
            }
            let wrong = (0..2_000).filter(|at| told(&bytes, &group, n, word(77, 0, *at)).contains(&true)).count();
            assert!(wrong < 50, "{wrong} of 2,000 in {n}");
        }
    }

    #[test]
    fn what_is_left_of_the_golden_group_is_none_and_a_changed_byte_asks_for_no_other_bytes() {
        let bytes = std::fs::read(GOLDEN).unwrap();
        for len in 0..bytes.len() {
            assert!(open(&bytes[..len]).is_none(), "the first {len} bytes");
            assert!(open(&bytes[bytes.len() - len..]).is_none(), "the last {len} bytes");
        }
        let text = bytes.len() - usize::try_from(Group::directory_len(&bytes).unwrap()).unwrap();
        let newer = String::from_utf8(bytes[text..bytes.len() - 4].to_vec()).unwrap().replace("\"version\":1", "\"version\":2");
        assert!(open(&[&bytes[..text], newer.as_bytes(), &bytes[bytes.len() - 4..]].concat()).is_none(), "a newer version");
        // The seal finds every changed byte first. Past it nothing panics, and no cut lies outside of its group.
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            let Some(group) = open(&changed) else { continue };
            for (n, ..) in SHAPES {
                let Some(named) = group.find(id(n)) else { continue };
                let cut = group.cut_of(named, word(n, 0, 0));
                let range = group.range(cut);
                let found = changed.get(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
                let cut = group.cut(cut, found.expect("within the group"));
                std::hint::black_box(cut.map(|cut| cut.may_hold(named, 0, "m0", word(n, 0, 0))));
            }
        }
    }
}
