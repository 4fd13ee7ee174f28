//! `dynamic` values as trees: one member by its path, the paths of all, the text with its keys in order.

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::args::{Call, Values};
use super::json;
use super::regexes;

/// `extract_json(path, text[, type])`: `$.a.b[0]['c']`.
pub(super) fn extract_json(call: &Call<'_>) -> Result<ArrayRef> {
    let (paths, texts) = (call.text(0)?, call.values(1)?);
    let mut whole = String::new();
    Ok(call.texts(|row, out| {
        whole.clear();
        match &texts {
            Values::Dynamic(text) => whole.push_str(text.json(row).unwrap_or("")),
            other => {
                let mut text = String::new();
                other.write_text(row, &mut text);
                json::parse(&text, &mut whole);
            }
        }
        if let Some(found) = follow(&whole, paths.get(row)) {
            json::write_plain(found, out);
        }
    }))
}

fn follow<'a>(value: &'a str, path: &str) -> Option<&'a str> {
    let mut here = value;
    let steps = regexes::compile(r#"\.?([A-Za-z_][A-Za-z0-9_\-]*)|\[\s*(-?\d+)\s*\]|\[\s*'([^']*)'\s*\]|\[\s*"([^"]*)"\s*\]"#)?;
    let rest = path.trim().strip_prefix('$').unwrap_or(path);
    let mut end = 0;
    for step in steps.captures_iter(rest) {
        let whole = step.get(0).expect("group 0 is the match");
        if whole.start() != end {
            return None;
        }
        end = whole.end();
        here = match step.get(2) {
            Some(index) => json::element(here, index.as_str().parse().ok()?)?,
            None => json::member(here, step.get(1).or(step.get(3)).or(step.get(4))?.as_str())?,
        };
    }
    (end == rest.len()).then_some(here)
}

/// `treepath(value)`: the paths of all members.
pub(super) fn treepath(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some(raw) = values.json(row) else { return false };
        let mut paths = Vec::new();
        collect_paths(raw, "", 0, &mut paths);
        out.push('[');
        for (index, path) in paths.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            json::write_string(path, out);
        }
        out.push(']');
        true
    }))
}

fn collect_paths(raw: &str, prefix: &str, depth: usize, paths: &mut Vec<String>) {
    if depth > 64 {
        return;
    }
    if let Some(entries) = json::entries(raw) {
        for (key, value) in entries {
            let path = format!("{prefix}['{}']", json::string(key).unwrap_or_default());
            paths.push(path.clone());
            collect_paths(value, &path, depth + 1, paths);
        }
    } else if let Some(mut items) = json::items(raw) {
        let path = format!("{prefix}[0]");
        paths.push(path.clone());
        if let Some(first) = items.next() {
            collect_paths(first, &path, depth + 1, paths);
        }
    }
}

/// `dynamic_to_json(value)`: the text with the keys of bags in order, so that equal values have equal texts.
pub(super) fn dynamic_to_json(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.text(0)?;
    Ok(call.texts(|row, out| {
        if let Some(raw) = values.json(row) {
            write_ordered(raw, 0, out);
        }
    }))
}

fn write_ordered(raw: &str, depth: usize, out: &mut String) {
    if depth > 64 {
        out.push_str(raw);
    } else if let Some(entries) = json::entries(raw) {
        let mut entries: Vec<(&str, &str)> = entries.collect();
        entries.sort_by_key(|(key, _)| *key);
        out.push('{');
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            out.push_str(key);
            out.push(':');
            write_ordered(value, depth + 1, out);
        }
        out.push('}');
    } else if let Some(items) = json::items(raw) {
        out.push('[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                out.push(',');
            }
            write_ordered(item, depth + 1, out);
        }
        out.push(']');
    } else {
        out.push_str(raw);
    }
}
