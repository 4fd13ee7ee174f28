//! What commands print on stdout: tables for people, JSON for programs.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::Failure;

/// How small documents are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    #[default]
    Table,
    /// The server's answer as it is
    Json,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(format!("the output cannot be written: {error}")),
        }
    }
}

pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).expect("a JSON value can be written"))
}

/// One column of a table made from JSON objects: its heading and where its values are.
pub(crate) struct Field(pub(crate) &'static str, pub(crate) fn(&Value) -> Value);

/// Prints one object or a list of them.
pub(crate) fn show(format: Format, answer: &Value, fields: &[Field]) -> Result<(), Failure> {
    match format {
        Format::Json => print_json(answer),
        Format::Table if answer["value"].is_array() => print(&objects(answer, fields)),
        Format::Table => print(&objects(&json!({"value": [answer]}), fields)),
    }
}

/// A table of the objects in `value[]`.
pub(crate) fn objects(answer: &Value, fields: &[Field]) -> String {
    let rows = answer["value"].as_array().map(Vec::as_slice).unwrap_or_default();
    grid(fields.iter().map(|field| field.0.to_owned()), rows.iter().map(|row| fields.iter().map(|field| (field.1)(row)).collect()))
}

/// A table of cells; a column all of whose values are numbers is aligned to the right.
pub(crate) fn grid(headings: impl Iterator<Item = String>, rows: impl Iterator<Item = Vec<Value>>) -> String {
    let headings: Vec<String> = headings.map(|heading| printable(&heading)).collect();
    let rows: Vec<Vec<Value>> = rows.collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(headings.clone());
    for row in &rows {
        table.add_row(row.iter().map(cell));
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        let mut values = rows.iter().filter_map(|row| row.get(number)).filter(|value| !value.is_null()).peekable();
        if values.peek().is_some() && values.all(Value::is_number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    if !headings.is_empty() {
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

/// Control characters in log lines are not for terminals: they are shown, not obeyed.
fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// `1234567` as `1.2 MB`.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "kB", "MB", "GB", "TB"].into_iter();
    let mut unit = units.next().expect("five of them");
    while value >= 1_000.0 {
        let Some(larger) = units.next() else { break };
        (value, unit) = (value / 1_000.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// `1 row`, `2 rows`; `batch` becomes `batches`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let end = match (number, noun.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{number} {noun}{end}")
}

/// So many a second.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a figure for people, not below zero"
)]
pub(crate) fn per_second(figure: u64, seconds: f64) -> u64 {
    (figure as f64 / seconds).round() as u64
}

/// A JSON number of milliseconds since 1970 as a date.
pub(crate) fn date(ms: &Value) -> Value {
    let at = ms.as_i64().and_then(chrono::DateTime::from_timestamp_millis);
    at.map_or(Value::Null, |at| at.format("%Y-%m-%d %H:%M:%S").to_string().into())
}

/// A JSON number of bytes as a size.
pub(crate) fn sized(bytes: &Value) -> Value {
    bytes.as_u64().map_or(Value::Null, |bytes| size(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_aligns_numbers_right_and_shows_control_characters() {
        let rows = vec![vec![json!("a\u{1b}[31m"), json!(7)], vec![json!("b"), json!(12_345)], vec![json!(null), json!(null)]];
        let text = grid(["Name".to_owned(), "n".to_owned()].into_iter(), rows.into_iter());
        assert_eq!(text, "Name             n\na\\u{1b}[31m      7\nb            12345\n\n");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!((count(1, "row"), count(0, "row"), count(2, "batch")), ("1 row".into(), "0 rows".into(), "2 batches".into()));
        assert_eq!((size(999), size(1_234_567), size(5_000_000_000_000_000)), ("999 B".into(), "1.2 MB".into(), "5000.0 TB".into()));
    }
}
