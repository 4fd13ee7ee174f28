//! String operators: `has`, `contains`, `startswith`, `matches regex` and their kin.
//!
//! Case-insensitive ones fold both sides. Most text is ASCII: that is compared byte by byte in place; only other text is folded
//! into a scratch string.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use arrow::array::ArrayRef;
use datafusion::common::Result;
use memchr::memmem;

use super::args::{Call, Text, Values};
use super::json;
use super::regexes;

/// Where a match must lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    Start,
    End,
    Equal,
    /// A whole term, or the start or end of one.
    Term {
        starts: bool,
        ends: bool,
    },
}

/// One text to look for, ready to be looked for often.
struct Needle {
    /// Folded if case does not count.
    text: String,
    finder: memmem::Finder<'static>,
    place: Place,
    fold: bool,
    /// Folding it is lowering ASCII letters.
    ascii: bool,
}

/// Simple folding, so that lengths of words do not change what is a prefix.
pub(super) fn fold(text: &str, out: &mut String) {
    out.clear();
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase));
    }
}

impl Needle {
    fn new(text: &str, place: Place, fold_case: bool) -> Self {
        let mut folded = String::new();
        if fold_case {
            fold(text, &mut folded);
        } else {
            folded.push_str(text);
        }
        Self { finder: memmem::Finder::new(folded.as_bytes()).into_owned(), ascii: folded.is_ascii(), text: folded, place, fold: fold_case }
    }

    fn is_in(&self, hay: &str, scratch: &mut String) -> bool {
        if !self.fold {
            return self.matches(hay);
        }
        if hay.len() < self.text.len() && hay.is_ascii() {
            return false;
        }
        // Both ends ASCII: no folding of the whole text for a look at its edge.
        if self.ascii && matches!(self.place, Place::Start | Place::End | Place::Equal) {
            let bytes = hay.as_bytes();
            let needle = self.text.as_bytes();
            let edge = match self.place {
                Place::Start => bytes.get(..needle.len()),
                Place::End => bytes.len().checked_sub(needle.len()).map(|from| &bytes[from..]),
                _ => Some(bytes),
            };
            match edge {
                Some(edge) if edge.is_ascii() => return edge.eq_ignore_ascii_case(needle),
                None if hay.is_ascii() => return false,
                _ => {}
            }
        }
        fold(hay, scratch);
        self.matches(scratch)
    }

    /// `hay` folded if case does not count.
    fn matches(&self, hay: &str) -> bool {
        match self.place {
            Place::Anywhere => self.finder.find(hay.as_bytes()).is_some(),
            Place::Start => hay.starts_with(&self.text),
            Place::End => hay.ends_with(&self.text),
            Place::Equal => hay == self.text,
            Place::Term { starts, ends } => self.term(hay, starts, ends),
        }
    }

    fn term(&self, hay: &str, starts: bool, ends: bool) -> bool {
        if self.text.is_empty() {
            return true;
        }
        let mut from = 0;
        while let Some(found) = self.finder.find(&hay.as_bytes()[from..]) {
            let at = from + found;
            let end = at + self.text.len();
            if (!starts || at_boundary(hay, at)) && (!ends || at_boundary(hay, end)) {
                return true;
            }
            // The next place a match may begin: one character on.
            from = at + hay[at..].chars().next().map_or(1, char::len_utf8);
        }
        false
    }
}

/// Whether no term goes on across `at`: the characters on both sides are not both letters or digits.
fn at_boundary(hay: &str, at: usize) -> bool {
    let bytes = hay.as_bytes();
    let before = match at.checked_sub(1).map(|i| bytes[i]) {
        None => return true,
        Some(byte) if byte < 0x80 => byte.is_ascii_alphanumeric(),
        Some(_) => hay[..at].chars().next_back().is_some_and(char::is_alphanumeric),
    };
    let after = match bytes.get(at) {
        None => return true,
        Some(byte) if *byte < 0x80 => byte.is_ascii_alphanumeric(),
        Some(_) => hay[at..].chars().next().is_some_and(char::is_alphanumeric),
    };
    !(before && after)
}

fn search(call: &Call<'_>, place: Place, fold_case: bool) -> Result<ArrayRef> {
    let hay = call.text(0)?;
    let needles = call.text(1)?;
    let mut scratch = String::new();
    if let Some(needle) = needles.constant() {
        let needle = Needle::new(needle, place, fold_case);
        return Ok(call.bools(|row| needle.is_in(hay.get(row), &mut scratch)));
    }
    Ok(call.bools(|row| Needle::new(needles.get(row), place, fold_case).is_in(hay.get(row), &mut scratch)))
}

macro_rules! operators {
    ($($name:ident: $place:expr, $fold:literal;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> Result<ArrayRef> {
            search(call, $place, $fold)
        })*
    };
}

operators! {
    has: Place::Term { starts: true, ends: true }, true;
    has_cs: Place::Term { starts: true, ends: true }, false;
    hasprefix: Place::Term { starts: true, ends: false }, true;
    hasprefix_cs: Place::Term { starts: true, ends: false }, false;
    hassuffix: Place::Term { starts: false, ends: true }, true;
    hassuffix_cs: Place::Term { starts: false, ends: true }, false;
    contains: Place::Anywhere, true;
    contains_cs: Place::Anywhere, false;
    startswith: Place::Start, true;
    startswith_cs: Place::Start, false;
    endswith: Place::End, true;
    endswith_cs: Place::End, false;
    equals_ignore_case: Place::Equal, true;
}

/// `like`: `*` stands for any text.
pub(super) fn like(call: &Call<'_>) -> Result<ArrayRef> {
    like_with(call, true)
}

pub(super) fn like_cs(call: &Call<'_>) -> Result<ArrayRef> {
    like_with(call, false)
}

fn like_with(call: &Call<'_>, fold_case: bool) -> Result<ArrayRef> {
    let hay = call.text(0)?;
    let patterns = call.text(1)?;
    let mut cache = regexes::Patterns::default();
    Ok(call.bools(|row| {
        let pattern = regex::escape(patterns.get(row)).replace("\\*", ".*").replace('%', ".*");
        let flags = if fold_case { "(?is)" } else { "(?s)" };
        cache.get(&format!("{flags}^{pattern}$")).is_some_and(|regex| regex.is_match(hay.get(row)))
    }))
}

pub(super) fn matches_regex(call: &Call<'_>) -> Result<ArrayRef> {
    let hay = call.text(0)?;
    let patterns = call.text(1)?;
    let mut cache = regexes::Patterns::default();
    Ok(call.bools(|row| cache.get(patterns.get(row)).is_some_and(|regex| regex.is_match(hay.get(row)))))
}

/// The texts of a list of arguments in one row: strings as they are, elements of dynamic arrays one by one.
fn list_row(list: &[Values], row: usize, mut each: impl FnMut(&str)) {
    let mut scratch = String::new();
    for values in list {
        if let Values::Dynamic(text) = values {
            let Some(raw) = text.json(row) else { continue };
            if let Some(items) = json::items(raw) {
                for item in items {
                    scratch.clear();
                    json::write_plain(item, &mut scratch);
                    each(&scratch);
                }
                continue;
            }
        }
        scratch.clear();
        values.write_text(row, &mut scratch);
        each(&scratch);
    }
}

fn is_constant(call: &Call<'_>, first: usize) -> bool {
    call.args[first..].iter().all(|arg| matches!(arg, datafusion::logical_expr::ColumnarValue::Scalar(_)))
}

/// Many terms at once: one pass over the text finds the candidates of all.
struct Terms {
    needles: Vec<Needle>,
    automaton: Option<AhoCorasick>,
}

impl Terms {
    fn new(texts: &[String]) -> Self {
        let needles: Vec<Needle> = texts.iter().map(|text| Needle::new(text, Place::Term { starts: true, ends: true }, true)).collect();
        // Under a handful single searches are faster.
        let automaton = (needles.len() > 4)
            .then(|| AhoCorasickBuilder::new().match_kind(MatchKind::Standard).build(needles.iter().map(|n| n.text.as_bytes())).ok())
            .flatten();
        Self { needles, automaton }
    }

    /// Over folded text.
    fn any(&self, hay: &str) -> bool {
        match &self.automaton {
            None => self.needles.iter().any(|needle| needle.matches(hay)),
            Some(automaton) => {
                automaton.find_overlapping_iter(hay).any(|found| at_boundary(hay, found.start()) && at_boundary(hay, found.end()))
            }
        }
    }

    fn all(&self, hay: &str) -> bool {
        self.needles.iter().all(|needle| needle.matches(hay))
    }
}

pub(super) fn has_any(call: &Call<'_>) -> Result<ArrayRef> {
    has_list(call, Terms::any)
}

pub(super) fn has_all(call: &Call<'_>) -> Result<ArrayRef> {
    has_list(call, Terms::all)
}

fn has_list(call: &Call<'_>, test: fn(&Terms, &str) -> bool) -> Result<ArrayRef> {
    let hay: Text = call.text(0)?;
    let list = call.values_from(1)?;
    let mut folded = String::new();
    let collect = |row| {
        let mut texts = Vec::new();
        list_row(&list, row, |text| texts.push(text.to_owned()));
        Terms::new(&texts)
    };
    if is_constant(call, 1) {
        let terms = collect(0);
        return Ok(call.bools(|row| {
            fold(hay.get(row), &mut folded);
            test(&terms, &folded)
        }));
    }
    Ok(call.bools(|row| {
        fold(hay.get(row), &mut folded);
        test(&collect(row), &folded)
    }))
}

/// `has_any_index(text, list)`: the place in the list of the first term found, -1 if none is.
pub(super) fn has_any_index(call: &Call<'_>) -> Result<ArrayRef> {
    let hay = call.text(0)?;
    let list = call.values_from(1)?;
    let mut folded = String::new();
    Ok(call.longs(|row| {
        fold(hay.get(row), &mut folded);
        let (mut index, mut found) = (0, None);
        list_row(&list, row, |text| {
            if found.is_none() && Needle::new(text, Place::Term { starts: true, ends: true }, true).matches(&folded) {
                found = Some(index);
            }
            index += 1;
        });
        Some(found.unwrap_or(-1))
    }))
}
