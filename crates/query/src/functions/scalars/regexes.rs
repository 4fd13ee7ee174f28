//! Functions over regular expressions (the `regex` crate's syntax is KQL's).

use std::sync::LazyLock;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use hashbrown::HashMap;
use parking_lot::Mutex;
use regex::{Captures, Regex, RegexBuilder};

use super::args::{Call, Values};
use super::json;

/// Most patterns kept compiled by the process.
const KEPT_MAX: usize = 256;
/// Most bytes one compiled pattern may take.
const SIZE_MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of a pattern: each level is a call deep while it is compiled, and a stack ends (`b+++…` nests with each plus).
const NEST_MAX: u32 = 32;

static KEPT: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);

/// A pattern compiled, or none if it is no pattern. Compiling costs more than a batch of matching, so patterns are kept.
pub(super) fn compile(pattern: &str) -> Option<Regex> {
    if let Some(kept) = KEPT.lock().get(pattern) {
        return kept.clone();
    }
    let compiled = RegexBuilder::new(pattern).size_limit(SIZE_MAX_BYTES).nest_limit(NEST_MAX).build().ok();
    let mut kept = KEPT.lock();
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
    kept.insert(pattern.to_owned(), compiled.clone());
    compiled
}

/// Which argument of a function, by its name in KQL or in SQL, is a pattern; `constant` gives the text of constant arguments.
pub(in crate::functions) fn pattern_at<'a>(function: &str, constant: impl Fn(usize) -> Option<&'a str>) -> Option<usize> {
    match function.strip_prefix("kql_").unwrap_or(function) {
        "extract" | "extract_text" | "extract_all" | "replace" | "trim" | "trim_start" | "trim_end" => Some(0),
        "matches_regex" | "replace_regex" | "indexof_regex" | "regexp_like" | "regexp_match" | "regexp_replace" | "regexp_count"
        | "regexp_instr" => Some(1),
        "countof" if constant(2) == Some("regex") => Some(1),
        _ => None,
    }
}

/// Why a text is no pattern; `None` if it is one.
pub(in crate::functions) fn fault(pattern: &str) -> Option<String> {
    let error = RegexBuilder::new(pattern).size_limit(SIZE_MAX_BYTES).nest_limit(NEST_MAX).build().err()?;
    let told = match error {
        regex::Error::CompiledTooBig(_) => "it compiles to too much".to_owned(),
        // The last line says what, those before it draw where.
        error => error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Some(format!("this is no regular expression: {told}"))
}

/// The pattern of one kernel call: mostly the same for all rows.
#[derive(Default)]
pub(super) struct Patterns {
    last: Option<(String, Option<Regex>)>,
}

impl Patterns {
    pub(super) fn get(&mut self, pattern: &str) -> Option<&Regex> {
        if self.last.as_ref().is_none_or(|(last, _)| last != pattern) {
            self.last = Some((pattern.to_owned(), compile(pattern)));
        }
        self.last.as_ref().and_then(|(_, regex)| regex.as_ref())
    }
}

/// `extract(regex, group, text)`: a group of the first match, `""` if there is none.
pub(super) fn extract(call: &Call<'_>) -> Result<ArrayRef> {
    let (patterns, groups, texts) = (call.text(0)?, call.long(1)?, call.text(2)?);
    let mut cache = Patterns::default();
    Ok(call.slices(|row| {
        let group = groups.get(row).and_then(|g| usize::try_from(g).ok());
        let (Some(regex), Some(group)) = (cache.get(patterns.get(row)), group) else { return "" };
        let text = texts.get(row);
        if group == 0 {
            return regex.find(text).map_or("", |found| found.as_str());
        }
        regex.captures(text).and_then(|found| found.get(group)).map_or("", |found| found.as_str())
    }))
}

/// `extract_all(regex[, groups], text)`: all matches; one group flat, several as arrays; null if there is no match.
pub(super) fn extract_all(call: &Call<'_>) -> Result<ArrayRef> {
    let patterns = call.text(0)?;
    let (groups, texts) = if call.has(2) { (Some(call.values(1)?), call.text(2)?) } else { (None, call.text(1)?) };
    let mut cache = Patterns::default();
    Ok(call.dynamics(|row, out| {
        let Some(regex) = cache.get(patterns.get(row)) else { return false };
        let wanted = wanted_groups(groups.as_ref(), row, regex);
        out.push('[');
        for found in regex.captures_iter(texts.get(row)) {
            if out.len() > 1 {
                out.push(',');
            }
            write_groups(&found, &wanted, out);
        }
        out.push(']');
        out.len() > 2
    }))
}

fn wanted_groups(groups: Option<&Values>, row: usize, regex: &Regex) -> Vec<usize> {
    if let Some(Values::Dynamic(text)) = groups {
        let names = text.json(row).and_then(json::items).into_iter().flatten();
        let number = |raw| match json::string(raw) {
            Some(name) => regex.capture_names().position(|known| known == Some(name.as_ref())),
            None => raw.parse().ok(),
        };
        return names.filter_map(number).collect();
    }
    let count = regex.captures_len();
    if count == 1 { vec![0] } else { (1..count).collect() }
}

fn write_groups(found: &Captures<'_>, wanted: &[usize], out: &mut String) {
    let text = |group: usize| found.get(group).map_or("", |part| part.as_str());
    if let [one] = wanted {
        json::write_string(text(*one), out);
        return;
    }
    out.push('[');
    for (index, group) in wanted.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        json::write_string(text(*group), out);
    }
    out.push(']');
}

/// `replace_regex(text, regex, rewrite)`
pub(super) fn replace_regex(call: &Call<'_>) -> Result<ArrayRef> {
    replace(call, [0, 1, 2])
}

/// The old order of arguments: `replace(regex, rewrite, text)`.
pub(super) fn replace_old(call: &Call<'_>) -> Result<ArrayRef> {
    replace(call, [2, 0, 1])
}

fn replace(call: &Call<'_>, [text, pattern, rewrite]: [usize; 3]) -> Result<ArrayRef> {
    let (texts, patterns, rewrites) = (call.text(text)?, call.text(pattern)?, call.text(rewrite)?);
    let mut cache = Patterns::default();
    Ok(call.texts(|row, out| {
        let text = texts.get(row);
        let Some(regex) = cache.get(patterns.get(row)) else { return out.push_str(text) };
        let mut end = 0;
        for found in regex.captures_iter(text) {
            if !call.may_make(out.len()) {
                return;
            }
            let whole = found.get(0).expect("group 0 is the match");
            out.push_str(&text[end..whole.start()]);
            write_rewrite(&found, rewrites.get(row), out);
            end = whole.end();
        }
        out.push_str(&text[end..]);
    }))
}

/// The rewrite with `\1` and `$1`-free text: a backslash and a digit is a group.
fn write_rewrite(found: &Captures<'_>, rewrite: &str, out: &mut String) {
    let mut chars = rewrite.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.peek().copied() {
            Some(digit) if digit.is_ascii_digit() => {
                chars.next();
                let group = digit as usize - '0' as usize;
                out.push_str(found.get(group).map_or("", |part| part.as_str()));
            }
            Some('\\') => {
                chars.next();
                out.push('\\');
            }
            _ => out.push('\\'),
        }
    }
}

/// `trim(regex, text)` and its kin: one match off each end asked for.
fn trim_with(call: &Call<'_>, off_start: bool, off_end: bool) -> Result<ArrayRef> {
    let (patterns, texts) = (call.text(0)?, call.text(1)?);
    let anchored = |pattern: &str| {
        let start = if off_start { compile(&format!("^(?:{pattern})")) } else { None };
        let end = if off_end { compile(&format!("(?:{pattern})$")) } else { None };
        [start, end]
    };
    let constant = patterns.constant().map(anchored);
    Ok(call.slices(|row| {
        let computed;
        let [start, end] = if let Some(constant) = &constant {
            constant
        } else {
            computed = anchored(patterns.get(row));
            &computed
        };
        let mut rest = texts.get(row);
        if let Some(found) = start.as_ref().and_then(|regex| regex.find(rest)) {
            rest = &rest[found.end()..];
        }
        if let Some(found) = end.as_ref().and_then(|regex| regex.find(rest)) {
            rest = &rest[..found.start()];
        }
        rest
    }))
}

pub(super) fn trim(call: &Call<'_>) -> Result<ArrayRef> {
    trim_with(call, true, true)
}

pub(super) fn trim_start(call: &Call<'_>) -> Result<ArrayRef> {
    trim_with(call, true, false)
}

pub(super) fn trim_end(call: &Call<'_>) -> Result<ArrayRef> {
    trim_with(call, false, true)
}

/// `countof(text, search[, "regex"])`: plain matches may overlap, those of a regex do not.
pub(super) fn countof(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, needles) = (call.text(0)?, call.text(1)?);
    let kinds = if call.has(2) { Some(call.text(2)?) } else { None };
    let mut cache = Patterns::default();
    Ok(call.longs(|row| {
        let (text, needle) = (texts.get(row), needles.get(row));
        let count = if kinds.as_ref().is_some_and(|kind| kind.get(row) == "regex") {
            cache.get(needle)?.find_iter(text).count()
        } else if needle.is_empty() {
            0
        } else {
            overlapping(text, needle)
        };
        i64::try_from(count).ok()
    }))
}

fn overlapping(text: &str, needle: &str) -> usize {
    let (mut count, mut from) = (0, 0);
    while let Some(found) = text[from..].find(needle) {
        count += 1;
        let at = from + found;
        from = at + text[at..].chars().next().map_or(1, char::len_utf8);
    }
    count
}

/// `indexof_regex(text, regex[, start[, length[, occurrence]]])`: in code points, -1 if it does not occur.
pub(super) fn indexof_regex(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (call.text(0)?, call.text(1)?);
    let options = (2..call.args.len().min(5)).map(|index| call.long(index)).collect::<Result<Vec<_>>>()?;
    let mut cache = Patterns::default();
    Ok(call.longs(|row| {
        let option = |index: usize, usual: i64| options.get(index).map_or(Some(usual), |numbers| numbers.get(row));
        let (start, length, occurrence) = (option(0, 0)?, option(1, -1)?, option(2, 1)?);
        let text = texts.get(row);
        let total = i64::try_from(text.chars().count()).ok()?;
        let start = if start < 0 { (total + start).max(0) } else { start };
        if length < -1 || occurrence < 1 {
            return None;
        }
        let regex = cache.get(patterns.get(row))?;
        let byte = |place: i64| text.char_indices().nth(usize::try_from(place).unwrap_or(usize::MAX)).map_or(text.len(), |(at, _)| at);
        let (from, to) = (byte(start), if length < 0 { text.len() } else { byte(start.saturating_add(length)) });
        let found = regex.find_iter(&text[from..to]).nth(usize::try_from(occurrence - 1).ok()?);
        Some(found.map_or(-1, |found| i64::try_from(text[..from + found.start()].chars().count()).unwrap_or(-1)))
    }))
}

/// `regex_quote(text)`
pub(super) fn regex_quote(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.texts(|row, out| out.push_str(&regex::escape(texts.get(row)))))
}
