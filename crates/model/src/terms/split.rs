//! Texts into terms.
//!
//! What counts as a letter is fixed, for a filter must mean the same to every later build: ASCII letters and digits, and the
//! letters of some scripts whose forms are settled. Everything else ends a term. Each of them is a letter for `has`, too, so where
//! `has` finds a whole term, every run of these letters in it stands between the same ends in the text.

use super::{TERM_BYTES_MIN, hash};

/// Letters beside ASCII's, first and last of each range.
const LETTERS: [(char, char); 17] = [
    ('\u{c0}', '\u{d6}'),
    ('\u{d8}', '\u{f6}'),
    ('\u{f8}', '\u{17f}'),
    ('\u{388}', '\u{38a}'),
    ('\u{38e}', '\u{3a1}'),
    ('\u{3a3}', '\u{3ce}'),
    ('\u{400}', '\u{45f}'),
    ('\u{531}', '\u{556}'),
    ('\u{561}', '\u{586}'),
    ('\u{5d0}', '\u{5ea}'),
    ('\u{620}', '\u{64a}'),
    ('\u{e01}', '\u{e30}'),
    ('\u{3041}', '\u{3096}'),
    ('\u{30a1}', '\u{30fa}'),
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fa5}'),
    ('\u{ac00}', '\u{d7a3}'),
];

/// Whether a folded character is part of a term.
#[must_use]
pub fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { LETTERS.iter().any(|(first, last)| (*first..=*last).contains(&c)) }
}

/// Case taken away, character by character, so that what is a part of a text stays one.
pub fn fold(text: &str, out: &mut String) {
    out.clear();
    if text.is_ascii() {
        out.push_str(text);
        out.make_ascii_lowercase();
    } else {
        out.extend(text.chars().flat_map(char::to_lowercase));
    }
}

/// Splits texts; keeps the room it works in.
#[derive(Debug, Default)]
pub struct Splitter {
    folded: String,
    plain: String,
}

impl Splitter {
    /// Hands over the hash of each term of a value in a column: those of the text as it lies there, and, where it is JSON with
    /// escapes, those of what the strings in it mean.
    pub fn each(&mut self, text: &str, mut met: impl FnMut(u64)) {
        fold(text, &mut self.folded);
        each_run(&self.folded, |run| met(hash(run)));
        if is_escaped_json(text) {
            self.plain.clear();
            unescape(text, &mut self.plain);
            fold(&self.plain, &mut self.folded);
            each_run(&self.folded, |run| met(hash(run)));
        }
    }
}

/// The hashes of the terms of a text; `starts` and `ends` tell whether its first and its last character are at the edge of a term
/// wherever the text is found. Only of terms that are `usable`.
#[must_use]
pub fn terms_of(text: &str, starts: bool, ends: bool, usable: impl Fn(&[u8]) -> bool) -> Vec<u64> {
    let mut folded = String::new();
    fold(text, &mut folded);
    let mut found = Vec::new();
    each_run(&folded, |run| {
        let at = run.as_ptr() as usize - folded.as_ptr() as usize;
        let whole = (starts || at > 0) && (ends || at + run.len() < folded.len());
        if whole && usable(run) {
            found.push(hash(run));
        }
    });
    found.sort_unstable();
    found.dedup();
    found
}

fn is_escaped_json(text: &str) -> bool {
    let first = text.trim_ascii_start().as_bytes().first();
    matches!(first, Some(b'"' | b'{' | b'[')) && text.as_bytes().contains(&b'\\')
}

/// Runs of letters, long enough ones.
fn each_run(folded: &str, mut met: impl FnMut(&[u8])) {
    let bytes = folded.as_bytes();
    let mut run = |from: usize, to: usize| {
        if to - from >= TERM_BYTES_MIN {
            met(&bytes[from..to]);
        }
    };
    let mut open = None;
    if folded.is_ascii() {
        for (at, chunk) in bytes.chunks(64).enumerate() {
            let base = at * 64;
            let (mut starts, mut ends) = ends_of_runs(letters(chunk), open.is_some());
            if let (Some(from), true) = (open, ends != 0) {
                run(from, base + ends.trailing_zeros() as usize);
                (open, ends) = (None, ends & (ends - 1));
            }
            while ends != 0 {
                run(base + starts.trailing_zeros() as usize, base + ends.trailing_zeros() as usize);
                (starts, ends) = (starts & (starts - 1), ends & (ends - 1));
            }
            if starts != 0 {
                open = Some(base + starts.trailing_zeros() as usize);
            }
        }
    } else {
        for (at, c) in folded.char_indices() {
            match (open, is_letter(c)) {
                (None, true) => open = Some(at),
                (Some(from), false) => {
                    run(from, at);
                    open = None;
                }
                _ => {}
            }
        }
    }
    if let Some(from) = open {
        run(from, bytes.len());
    }
}

/// Where runs of set bits start, and the bit after each; runs of one or two are left out where both ends are seen. A run that
/// reaches the top has no end yet, one that goes on from below (`open`) has no start.
const fn ends_of_runs(mask: u64, open: bool) -> (u64, u64) {
    let threes = mask & (mask >> 1) & (mask >> 2);
    let top = !(u64::MAX.unbounded_shr(mask.leading_ones()));
    let low = if open { !(u64::MAX.unbounded_shl(mask.trailing_ones())) } else { 0 };
    let kept = threes | (threes << 1) | (threes << 2) | top | low;
    let before = (kept << 1) | open as u64;
    (kept & !before, !kept & before)
}

/// Bit n: whether character n is a letter or digit. At most 64 of them.
fn letters(chunk: &[u8]) -> u64 {
    let mut bytes = [0_u8; 64];
    bytes[..chunk.len()].copy_from_slice(chunk);
    let flags = bytes.map(|byte| u8::from(byte.is_ascii_alphanumeric()));
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().enumerate().fold(0, |mask, (at, eight)| {
        // Eight bytes of 0 or 1 become eight bits at the top.
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask | (bits << (8 * at))
    })
}

/// JSON's escapes replaced by what they stand for, wherever they are; what is none stays.
fn unescape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(mark) = rest.chars().next() else { break };
        let after = &rest[mark.len_utf8()..];
        let (c, after) = match mark {
            'n' => ('\n', after),
            'r' => ('\r', after),
            't' => ('\t', after),
            'b' => ('\u{8}', after),
            'f' => ('\u{c}', after),
            'u' => code(after),
            other => (other, after),
        };
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
}

/// What follows `\u`: four digits, or a pair of them for what lies beyond; something that ends a term if it is neither.
fn code(text: &str) -> (char, &str) {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(text) else { return ('\u{fffd}', text) };
    let rest = &text[4..];
    if let Some(c) = char::from_u32(first) {
        return (c, rest);
    }
    let second = rest.strip_prefix("\\u").and_then(unit).filter(|second| (0xdc00..0xe000).contains(second));
    match second {
        Some(second) if first < 0xdc00 => {
            let c = char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            (c.unwrap_or('\u{fffd}'), &rest[6..])
        }
        _ => ('\u{fffd}', rest),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<String> {
        let mut folded = String::new();
        fold(text, &mut folded);
        let mut runs = Vec::new();
        each_run(&folded, |run| runs.push(String::from_utf8(run.to_vec()).unwrap()));
        runs
    }

    #[test]
    fn terms_are_runs_of_letters_and_digits_without_case_of_three_bytes_or_more() {
        assert_eq!(split("GET /api/v2/Users_42?id=7f3A9"), ["get", "api", "users", "7f3a9"]);
        assert_eq!(split("a_foo_b no"), ["foo"]);
        assert_eq!(split("Ошибка: сервер—упал"), ["ошибка", "сервер", "упал"]);
        assert_eq!(split("naïve CAFÉ 错误了"), ["naïve", "café", "错误了"]);
        // A kelvin sign folds to a letter, İ to an i and an accent, which ends it.
        assert_eq!(split("\u{212a}ilo xİstanbul"), ["kilo", "stanbul"]);
        assert!(split("").is_empty() && split("--").is_empty());
        let long = "x".repeat(300);
        assert_eq!(split(&format!("{long} {long}")), [long.clone(), long]);
    }

    #[test]
    fn only_terms_that_cannot_go_on_beyond_the_text_are_told_of() {
        let of = |words: &[&str]| {
            let mut hashes: Vec<u64> = words.iter().map(|word| hash(word.as_bytes())).collect();
            hashes.sort_unstable();
            hashes
        };
        assert_eq!(terms_of("foo bar baz", false, false, |_| true), of(&["bar"]));
        assert_eq!(terms_of("foo bar baz", true, false, |_| true), of(&["foo", "bar"]));
        assert_eq!(terms_of("foo bar baz", false, true, |_| true), of(&["bar", "baz"]));
        assert_eq!(terms_of("foo bar foo", true, true, |_| true), of(&["foo", "bar"]));
        assert_eq!(terms_of("ошибка foo", true, true, <[u8]>::is_ascii), of(&["foo"]));
        assert!(terms_of("foo", false, false, |_| true).is_empty());
    }

    #[test]
    fn what_a_json_string_means_is_met_beside_how_it_is_written() {
        let met = |text: &str| {
            let mut met = Vec::new();
            Splitter::default().each(text, |hash| met.push(hash));
            met
        };
        let json = met(r#"{"a":"one\ntwo \u0074hree \ud83d\ude00four \u12"}"#);
        for word in ["one", "ntwo", "two", "three", "four"] {
            assert!(json.contains(&hash(word.as_bytes())), "{word}");
        }
        // A text that is no JSON is what it is.
        let path = met(r"C:\nabc");
        assert!(path == [hash(b"nabc")]);
    }

    #[test]
    fn every_letter_is_one_for_has_and_what_is_none_for_has_folds_to_none() {
        for c in '\0'..=char::MAX {
            if is_letter(c) {
                assert!(c.is_alphanumeric(), "{c:?}");
            }
            if !c.is_alphanumeric() {
                assert!(!c.to_lowercase().any(is_letter), "{c:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_masks_find_what_a_plain_walk_finds(text in "[a-zA-Z0-9 _./-]{0,200}") {
            let plain: Vec<String> = text
                .to_ascii_lowercase()
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|run| run.len() >= TERM_BYTES_MIN)
                .map(str::to_owned)
                .collect();
            prop_assert_eq!(split(&text), plain);
        }

        #[test]
        fn a_part_of_a_text_has_no_inner_term_that_the_text_lacks(before in ".{0,6}", part in ".{0,20}", after in ".{0,6}") {
            let mut met = Vec::new();
            Splitter::default().each(&format!("{before}{part}{after}"), |hash| met.push(hash));
            for term in terms_of(&part, false, false, |_| true) {
                prop_assert!(met.contains(&term));
            }
        }

        #[test]
        fn no_text_panics(text in "[\\\\u0-9a-fD\"{}é ]{0,40}") {
            Splitter::default().each(&text, |_| {});
        }
    }
}
