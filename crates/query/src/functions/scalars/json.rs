//! JSON text without a tree: finding members, walking arrays, writing values.
//!
//! A `dynamic` is compact JSON text. Most accesses want one member of a large value, so they skim the text and cut out a piece
//! of it; nothing is allocated. On text that is not JSON everything here gives nothing rather than panicking, and loops end.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One value cut out of a text, in its own JSON form.
pub(in crate::functions) type Raw<'a> = &'a str;

/// The value that begins at `at` (blanks skipped): where it starts and ends.
fn value_at(text: &str, at: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let start = skip_blanks(bytes, at);
    let end = match bytes.get(start)? {
        b'"' => string_end(bytes, start)?,
        b'{' | b'[' => {
            let mut depth = 0_usize;
            let mut here = start;
            loop {
                match bytes.get(here)? {
                    b'"' => {
                        here = string_end(bytes, here)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            break here + 1;
                        }
                    }
                    _ => {}
                }
                here += 1;
            }
        }
        b',' | b']' | b'}' | b':' => return None,
        _ => start + bytes[start..].iter().take_while(|b| !matches!(b, b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t')).count(),
    };
    Some((start, end))
}

fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// One past the closing quote of the string that opens at `at`.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut here = at + 1;
    loop {
        here += memchr::memchr2(b'"', b'\\', bytes.get(here..)?)?;
        if bytes[here] == b'"' {
            return Some(here + 1);
        }
        here += 2;
    }
}

/// The elements of an array.
#[derive(Clone, Debug)]
pub(in crate::functions) struct Items<'a> {
    text: &'a str,
    at: usize,
}

/// The elements of an array; none if it is no array.
pub(in crate::functions) fn items(text: &str) -> Option<Items<'_>> {
    let start = skip_blanks(text.as_bytes(), 0);
    (text.as_bytes().get(start) == Some(&b'[')).then_some(Items { text, at: start + 1 })
}

impl<'a> Items<'a> {
    /// Where it stands, for [`Items::resume`].
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes on in the same text.
    pub(super) fn resume(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        let (start, end) = value_at(self.text, self.at)?;
        let after = skip_blanks(self.text.as_bytes(), end);
        self.at = if self.text.as_bytes().get(after) == Some(&b',') { after + 1 } else { self.text.len() };
        Some(&self.text[start..end])
    }
}

/// The entries of a bag: keys still in JSON form.
#[derive(Clone, Debug)]
pub(in crate::functions) struct Entries<'a> {
    text: &'a str,
    at: usize,
}

/// The entries of a bag; none if it is no bag.
pub(in crate::functions) fn entries(text: &str) -> Option<Entries<'_>> {
    let start = skip_blanks(text.as_bytes(), 0);
    (text.as_bytes().get(start) == Some(&b'{')).then_some(Entries { text, at: start + 1 })
}

impl<'a> Entries<'a> {
    /// Where it stands, for [`Entries::resume`].
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes on in the same text.
    pub(super) fn resume(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Raw<'a>, Raw<'a>);

    fn next(&mut self) -> Option<(Raw<'a>, Raw<'a>)> {
        let bytes = self.text.as_bytes();
        let key_start = skip_blanks(bytes, self.at);
        if bytes.get(key_start) != Some(&b'"') {
            return None;
        }
        let key_end = string_end(bytes, key_start)?;
        let colon = skip_blanks(bytes, key_end);
        if bytes.get(colon) != Some(&b':') {
            return None;
        }
        let (start, end) = value_at(self.text, colon + 1)?;
        let after = skip_blanks(bytes, end);
        self.at = if bytes.get(after) == Some(&b',') { after + 1 } else { self.text.len() };
        Some((&self.text[key_start..key_end], &self.text[start..end]))
    }
}

/// The member of a bag by that name; the last one if there are several.
pub(super) fn member<'a>(text: &'a str, name: &str) -> Option<Raw<'a>> {
    let mut found = None;
    for (key, value) in entries(text)? {
        if is_string(key, name) {
            found = Some(value);
        }
    }
    found.filter(|value| *value != "null")
}

/// The element of an array; negative: from the end.
pub(super) fn element(text: &str, index: i64) -> Option<Raw<'_>> {
    let all = items(text)?;
    let value = if index >= 0 {
        all.clone().nth(usize::try_from(index).ok()?)
    } else {
        let back = usize::try_from(index.unsigned_abs()).ok()?;
        let count = all.clone().count();
        all.clone().nth(count.checked_sub(back)?)
    };
    value.filter(|value| *value != "null")
}

/// Whether a JSON string says `plain`.
pub(super) fn is_string(raw: Raw<'_>, plain: &str) -> bool {
    let Some(inside) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    if inside.contains('\\') { unescape(inside) == plain } else { inside == plain }
}

/// The text of a JSON string; none if it is something else.
pub(in crate::functions) fn string(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    if raw.len() < 2 {
        return None;
    }
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    Some(if inside.contains('\\') { Cow::Owned(unescape(inside)) } else { Cow::Borrowed(inside) })
}

fn unescape(inside: &str) -> String {
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = rest[at + 1..].chars().next().unwrap_or('\\');
        rest = rest.get(at + 1 + escape.len_utf8()..).unwrap_or("");
        match escape {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'u' => {
                let unit = |text: &str| text.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
                let Some(first) = unit(rest) else { continue };
                rest = &rest[4..];
                let pair = rest
                    .strip_prefix("\\u")
                    .and_then(unit)
                    .filter(|low| (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(low));
                let code = pair.map_or(first, |low| 0x10000 + ((first - 0xd800) << 10) + (low - 0xdc00));
                if pair.is_some() {
                    rest = &rest[6..];
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// As `tostring` has it: a string without quotes, anything else as it is.
pub(in crate::functions) fn write_plain(raw: Raw<'_>, out: &mut String) {
    match string(raw) {
        Some(text) => out.push_str(&text),
        // Booleans are lower case inside JSON and also here.
        None if raw != "null" => out.push_str(raw),
        None => {}
    }
}

/// A JSON string.
pub(in crate::functions) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut clean = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[clean..at]);
        clean = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            _ => write!(out, "\\u{byte:04x}").expect("a String takes everything"),
        }
    }
    out.push_str(&text[clean..]);
    out.push('"');
}

/// A JSON number that stays a real: `1.0`. NaN and infinities become strings.
pub(in crate::functions) fn write_real(value: f64, out: &mut String) {
    if value.is_finite() {
        write!(out, "{value:?}").expect("a String takes everything");
    } else {
        out.push_str(if value.is_nan() {
            "\"NaN\""
        } else if value > 0.0 {
            "\"Infinity\""
        } else {
            "\"-Infinity\""
        });
    }
}

/// What kind of value it is, as `gettype` says.
pub(in crate::functions) fn type_name(raw: Raw<'_>) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "string",
        Some(b'{') => "dictionary",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        Some(b'-' | b'0'..=b'9') if raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') => "long",
        Some(b'-' | b'0'..=b'9') => "double",
        _ => "null",
    }
}

/// Any text as a `dynamic`, as `parse_json` makes it: JSON made compact, other text as a JSON string. False: null.
pub(super) fn parse(text: &str, out: &mut String) -> bool {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return false;
    }
    // The everyday case: an object or array. Everything is checked, since what skims later trusts it.
    match serde_json::from_str::<serde_json::Value>(trimmed) {
        Ok(serde_json::Value::Null) => false,
        Ok(value) => {
            write!(out, "{value}").expect("a String takes everything");
            true
        }
        Err(_) => {
            write_string(text, out);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_cut_out() {
        let text = r#"{"a":{"b":[1,"x,]}",{"c":null}]},"a\"q":2,"d":1.5}"#;
        assert_eq!(member(text, "a").and_then(|a| member(a, "b")).and_then(|b| element(b, 1)), Some(r#""x,]}""#));
        assert_eq!(member(text, "a").and_then(|a| member(a, "b")).and_then(|b| element(b, -1)), Some(r#"{"c":null}"#));
        assert_eq!(member(text, "a\"q"), Some("2"));
        assert_eq!(member(text, "zz"), None);
        assert_eq!(member("[1]", "a"), None);
        assert_eq!(element("[1,2]", 2), None);
        assert_eq!(element("[1,2]", -3), None);
        assert_eq!(items("[ 1 , [2, 3] , \"a\" ]").unwrap().collect::<Vec<_>>(), ["1", "[2, 3]", "\"a\""]);
    }

    #[test]
    fn text_that_is_not_json_gives_nothing() {
        for text in ["", "{", "[", "{\"a", "{\"a\"", "{\"a\":", "[\"", "[1", "x", "]", "{\"a\":}", "[,]", "\"\\"] {
            let _ = (member(text, "a"), element(text, 0), element(text, -1), string(text));
            let mut out = String::new();
            write_plain(text, &mut out);
        }
    }

    #[test]
    fn strings_survive_the_way_there_and_back() {
        for text in ["", "a\"b\\c", "\n\t\r\u{1}é😀", "\\u0041"] {
            let mut out = String::new();
            write_string(text, &mut out);
            assert_eq!(string(&out).unwrap(), text);
            assert!(is_string(&out, text));
        }
        assert_eq!(string(r#""\ud83d\ude00\u0041""#).unwrap(), "😀A");
    }
}
