//! Small languages inside strings: XML, command lines, version numbers; and how many bytes values take.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::{Call, Values, decimals};
use super::json;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;
use super::xml;

pub(super) static SPECS: &[ScalarSpec] = &[
    f("parse_xml", &[W::String], C::Dynamic, parse_xml),
    f("parse_command_line", &[W::String, W::String], C::Dynamic, parse_command_line),
    f("parse_version", &[W::String], C::Decimal, parse_version),
    f("estimate_data_size", &[W::Any], C::Long, estimate_data_size).more(W::Any),
];

/// Null for what is no XML and for texts over 1 MiB.
fn parse_xml(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    Ok(call.dynamics(|row, out| xml::to_json(texts.get(row), out).is_some()))
}

/// `parse_command_line(text, "windows")`: the arguments as a Windows program gets them. Other kinds give null.
fn parse_command_line(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, kinds) = (call.text(0)?, call.text(1)?);
    Ok(call.dynamics(|row, out| {
        if !kinds.get(row).eq_ignore_ascii_case("windows") || texts.get(row).is_empty() {
            return false;
        }
        out.push('[');
        for (at, argument) in windows_arguments(texts.get(row)).iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::write_string(argument, out);
        }
        out.push(']');
        true
    }))
}

/// As `CommandLineToArgvW` has it: blanks part arguments unless quoted; a quote behind an odd number of backslashes is itself.
fn windows_arguments(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut argument: Option<String> = None;
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' if !quoted => all.extend(argument.take()),
            '\\' => {
                let mut slashes = 1;
                while chars.next_if_eq(&'\\').is_some() {
                    slashes += 1;
                }
                let argument = argument.get_or_insert_default();
                if chars.peek() == Some(&'"') {
                    argument.extend(std::iter::repeat_n('\\', slashes / 2));
                    if slashes % 2 == 1 {
                        argument.extend(chars.next());
                    }
                } else {
                    argument.extend(std::iter::repeat_n('\\', slashes));
                }
            }
            '"' => {
                let argument = argument.get_or_insert_default();
                // Two quotes inside quotes are one.
                if quoted && chars.next_if_eq(&'"').is_some() {
                    argument.push('"');
                } else {
                    quoted = !quoted;
                }
            }
            c => argument.get_or_insert_default().push(c),
        }
    }
    all.extend(argument);
    all
}

/// Up to four numbers of up to eight digits. Ours is Kusto's number by 10^15, which has more digits than a decimal here: versions
/// compare and sort as there.
fn parse_version(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.text(0)?;
    decimals((0..call.rows).map(|row| version(texts.get(row))).collect())
}

fn version(text: &str) -> Option<i128> {
    let mut parts = [0_i128; 4];
    for (at, part) in text.trim().split('.').enumerate() {
        if part.is_empty() || part.len() > 8 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *parts.get_mut(at)? = part.parse().ok()?;
    }
    // 17 digits of a decimal stand behind the point, 15 of them are ours.
    Some(parts.iter().fold(0, |sum, part| sum * 100_000_000 + part) * 100)
}

/// About as many bytes as the values take.
fn estimate_data_size(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    let size = |values: &Values, row: usize| match values {
        Values::Bool(_) => 1,
        Values::Int(_) => 4,
        Values::Long(_) | Values::Real(_) | Values::DateTime(_) | Values::TimeSpan(_) => 8,
        Values::Decimal(_) | Values::Guid(_) => 16,
        Values::String(text) | Values::Dynamic(text) => text.get(row).len(),
    };
    Ok(call.longs(|row| i64::try_from(values.iter().map(|values| size(values, row)).sum::<usize>()).ok()))
}

#[cfg(test)]
mod tests {
    use super::windows_arguments;

    #[test]
    fn backslashes_before_quotes_are_halved() {
        assert_eq!(windows_arguments(r#"echo "hello world!""#), ["echo", "hello world!"]);
        assert_eq!(windows_arguments(r#"a\\b d"e f"g h"#), [r"a\\b", "de fg", "h"]); // Microsoft's examples
        assert_eq!(windows_arguments(r#"a\\\"b c d"#), [r#"a\"b"#, "c", "d"]);
        assert_eq!(windows_arguments(r#"a\\\\"b c" d e"#), [r"a\\b c", "d", "e"]);
        assert_eq!(windows_arguments(r#""" x"#), ["", "x"]);
    }
}
