//! Functions over strings. Places and lengths count code points.

use std::borrow::Cow;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use memchr::memmem;

use super::args::Call;
use super::json;

/// The byte where code point number `index` begins; the length if there are fewer.
fn byte_of(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

fn count(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

fn long(value: usize) -> Option<i64> {
    i64::try_from(value).ok()
}

fn size(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

pub(super) fn strlen(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    Ok(call.longs(|row| long(count(text.get(row)))))
}

pub(super) fn string_size(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    Ok(call.longs(|row| long(text.get(row).len())))
}

pub(super) fn tolower(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    Ok(call.texts(|row, out| {
        let text = text.get(row);
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_lowercase();
        } else {
            out.push_str(&text.to_lowercase());
        }
    }))
}

pub(super) fn toupper(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    Ok(call.texts(|row, out| {
        let text = text.get(row);
        if text.is_ascii() {
            out.push_str(text);
            out.make_ascii_uppercase();
        } else {
            out.push_str(&text.to_uppercase());
        }
    }))
}

pub(super) fn reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    Ok(call.texts(|row, out| out.extend(text.get(row).chars().rev())))
}

/// `substring(text, start[, length])`: a negative start counts from the end.
pub(super) fn substring(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, starts) = (call.text(0)?, call.long(1)?);
    let lengths = if call.has(2) { Some(call.long(2)?) } else { None };
    Ok(call.slices(|row| {
        let text = texts.get(row);
        let Some(start) = starts.get(row) else { return "" };
        let start = if start < 0 { long(count(text)).unwrap_or(0) + start } else { start };
        let Ok(start) = usize::try_from(start) else { return "" };
        let rest = &text[byte_of(text, start)..];
        match &lengths {
            None => rest,
            Some(lengths) => match lengths.get(row).map(usize::try_from) {
                Some(Ok(length)) => &rest[..byte_of(rest, length)],
                _ => "",
            },
        }
    }))
}

/// `strcat(a, ..)`: everything as text, null as nothing.
pub(super) fn strcat(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    Ok(call.texts(|row, out| values.iter().for_each(|value| value.write_text(row, out))))
}

pub(super) fn strcat_delim(call: &Call<'_>) -> Result<ArrayRef> {
    let delimiter = call.text(0)?;
    let values = call.values_from(1)?;
    Ok(call.texts(|row, out| {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                out.push_str(delimiter.get(row));
            }
            value.write_text(row, out);
        }
    }))
}

/// `strrep(value, times[, delimiter])`, at most 1024 times.
pub(super) fn strrep(call: &Call<'_>) -> Result<ArrayRef> {
    let (values, times) = (call.values(0)?, call.long(1)?);
    let delimiter = if call.has(2) { Some(call.text(2)?) } else { None };
    Ok(call.texts(|row, out| {
        for index in 0..times.get(row).unwrap_or(0).min(1024) {
            if !call.may_make(out.len()) {
                return;
            }
            if index > 0 {
                out.push_str(delimiter.as_ref().map_or("", |d| d.get(row)));
            }
            values.write_text(row, out);
        }
    }))
}

/// `split(text, delimiter[, index])`
pub(super) fn split(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, delimiters) = (call.text(0)?, call.text(1)?);
    let indexes = if call.has(2) { Some(call.long(2)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let (text, delimiter) = (texts.get(row), delimiters.get(row));
        let wanted = match &indexes {
            None => None,
            Some(indexes) => match indexes.get(row).map(usize::try_from) {
                Some(Ok(index)) => Some(index),
                _ => return false,
            },
        };
        let mut hit = false;
        let mut push = |part: &str, index: usize| {
            if wanted.is_none_or(|wanted| wanted == index) {
                out.push(if hit { ',' } else { '[' });
                json::write_string(part, out);
                hit = true;
            }
        };
        if delimiter.is_empty() {
            let mut utf8 = [0; 4];
            text.chars().enumerate().for_each(|(index, c)| push(c.encode_utf8(&mut utf8), index));
            if text.is_empty() {
                push("", 0);
            }
        } else {
            text.split(delimiter).enumerate().for_each(|(index, part)| push(part, index));
        }
        out.push(']');
        hit
    }))
}

/// `replace_string(text, lookup, rewrite)`
pub(super) fn replace_string(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lookups, rewrites) = (call.text(0)?, call.text(1)?, call.text(2)?);
    let finder = lookups.constant().map(|lookup| memmem::Finder::new(lookup).into_owned());
    Ok(call.texts(|row, out| {
        let (text, lookup) = (texts.get(row), lookups.get(row));
        if lookup.is_empty() {
            return out.push_str(text);
        }
        if let Some(finder) = &finder {
            let mut end = 0;
            for at in finder.find_iter(text.as_bytes()) {
                if !call.may_make(out.len()) {
                    return;
                }
                out.push_str(&text[end..at]);
                out.push_str(rewrites.get(row));
                end = at + lookup.len();
            }
            out.push_str(&text[end..]);
            return;
        }
        let most = text.len().saturating_add((text.len() / lookup.len()).saturating_mul(rewrites.get(row).len()));
        // Counted only where the worst could be too much.
        if most < 1 << 20 || call.may_make(text.matches(lookup).count().saturating_mul(rewrites.get(row).len())) {
            out.push_str(&text.replace(lookup, rewrites.get(row)));
        }
    }))
}

/// `replace_strings(text, lookups, rewrites)`: one lookup after the other; what has been found once is not looked at again.
/// A rewrite that is no string leaves its lookup as it is.
pub(super) fn replace_strings(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lookups, rewrites) = (call.text(0)?, call.text(1)?, call.text(2)?);
    Ok(call.texts(|row, out| {
        let strings = |raw: Option<&'_ str>| -> Vec<Option<String>> {
            raw.and_then(json::items).into_iter().flatten().map(|item| json::string(item).map(Cow::into_owned)).collect()
        };
        let rewrites = strings(rewrites.json(row));
        // Pieces of the text, and whether they are settled.
        let mut pieces = vec![(texts.get(row).to_owned(), false)];
        let mut made = 0;
        for (index, lookup) in strings(lookups.json(row)).into_iter().enumerate() {
            let Some(lookup) = lookup.filter(|lookup| !lookup.is_empty()) else { continue };
            let rewrite = rewrites.get(index).cloned().flatten().unwrap_or_else(|| lookup.clone());
            let mut next = Vec::with_capacity(pieces.len());
            for (piece, settled) in pieces {
                if settled {
                    next.push((piece, true));
                    continue;
                }
                for (part, rest) in piece.split(&lookup).enumerate() {
                    if part > 0 {
                        made += rewrite.len();
                        if !call.may_make(made) {
                            return;
                        }
                        next.push((rewrite.clone(), true));
                    }
                    next.push((rest.to_owned(), false));
                }
            }
            pieces = next;
        }
        out.extend(pieces.into_iter().map(|(piece, _)| piece));
    }))
}

/// `translate(from, to, text)`: letters of `from` become those of `to` at the same place (its last one if it is shorter); none if `to` is empty.
pub(super) fn translate(call: &Call<'_>) -> Result<ArrayRef> {
    let (froms, tos, texts) = (call.text(0)?, call.text(1)?, call.text(2)?);
    Ok(call.texts(|row, out| {
        let to: Vec<char> = tos.get(row).chars().collect();
        let from = froms.get(row);
        for c in texts.get(row).chars() {
            match from.chars().position(|known| known == c) {
                None => out.push(c),
                Some(at) => out.extend(to.get(at).or(to.last())),
            }
        }
    }))
}

/// `indexof(text, lookup[, start[, length[, occurrence]]])`: -1 if it does not occur.
pub(super) fn indexof(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, lookups) = (call.text(0)?, call.text(1)?);
    let option = |index| if call.has(index) { call.long(index).map(Some) } else { Ok(None) };
    let (starts, lengths, occurrences) = (option(2)?, option(3)?, option(4)?);
    let pick = |numbers: &Option<super::args::Numbers<_>>, row, default| numbers.as_ref().map_or(Some(default), |n| n.get(row));
    Ok(call.longs(|row| {
        let (text, lookup) = (texts.get(row), lookups.get(row));
        let total = long(count(text))?;
        let start = pick(&starts, row, 0)?;
        let start = if start < 0 { (total + start).max(0) } else { start };
        let length = pick(&lengths, row, -1)?;
        let occurrence = pick(&occurrences, row, 1)?;
        if lookup.is_empty() || length < -1 || occurrence < 1 {
            return None;
        }
        if start > total {
            return Some(-1);
        }
        // The length bounds where a match may begin, not where it ends.
        let rest = &text[byte_of(text, size(start))..];
        let found = rest.match_indices(lookup).nth(size(occurrence - 1)).and_then(|(at, _)| long(count(&rest[..at])));
        Some(found.filter(|at| length < 0 || *at < length).map_or(-1, |at| start + at))
    }))
}

pub(super) fn strcmp(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    Ok(call.longs(|row| Some(left.get(row).cmp(right.get(row)) as i64)))
}

pub(super) fn isascii(call: &Call<'_>) -> Result<ArrayRef> {
    let text = call.text(0)?;
    Ok(call.bools(|row| text.get(row).is_ascii()))
}

/// Every string is UTF-8 here.
#[expect(clippy::unnecessary_wraps, reason = "kernels have one shape")]
pub(super) fn isutf8(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(call.bools(|_| true))
}

/// Null is empty, and so is `""`; a `dynamic` is by its text.
pub(super) fn isempty(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.values(0)?;
    let mut scratch = String::new();
    Ok(call.bools(|row| is_empty(&value, row, &mut scratch)))
}

pub(super) fn isnotempty(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.values(0)?;
    let mut scratch = String::new();
    Ok(call.bools(|row| !is_empty(&value, row, &mut scratch)))
}

pub(super) fn is_empty(value: &super::args::Values, row: usize, scratch: &mut String) -> bool {
    use super::args::Values;
    match value {
        Values::String(text) => text.get(row).is_empty(),
        Values::Dynamic(text) => {
            scratch.clear();
            text.json(row).into_iter().for_each(|raw| json::write_plain(raw, scratch));
            scratch.is_empty()
        }
        other => other.is_null(row),
    }
}

pub(super) fn isnull(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.values(0)?;
    Ok(call.bools(|row| value.is_null(row)))
}

pub(super) fn isnotnull(call: &Call<'_>) -> Result<ArrayRef> {
    let value = call.values(0)?;
    Ok(call.bools(|row| !value.is_null(row)))
}

/// `format_bytes(size[, precision[, unit]])`
#[expect(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "precision and powers are small")]
pub(super) fn format_bytes(call: &Call<'_>) -> Result<ArrayRef> {
    const UNITS: [&str; 7] = ["Bytes", "KB", "MB", "GB", "TB", "PB", "EB"];
    let sizes = call.real(0)?;
    let precisions = if call.has(1) { Some(call.long(1)?) } else { None };
    let units = if call.has(2) { Some(call.text(2)?) } else { None };
    Ok(call.texts(|row, out| {
        let Some(mut size) = sizes.get(row) else { return };
        let wanted = units.as_ref().and_then(|units| UNITS.iter().position(|unit| *unit == units.get(row)));
        let power = wanted.unwrap_or_else(|| (1..UNITS.len()).take_while(|power| size.abs() >= 1024_f64.powf(*power as f64)).count());
        size /= 1024_f64.powf(power as f64);
        let precision = precisions.as_ref().and_then(|p| p.get(row)).unwrap_or(0).clamp(0, 15) as usize;
        let text = format!("{size:.precision$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        out.push_str(text);
        out.push(' ');
        out.push_str(UNITS[power]);
    }))
}
