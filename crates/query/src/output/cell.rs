//! One value as text, the way KQL's answers spell it.

use std::fmt::Write as _;
use std::io::Write as _;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, Timelike};
use strongroom_model::{MAX_TIME_NS, MIN_TIME_NS};

/// KQL's earliest and latest instants: what the ends of our range stand for, since times beyond them were cut there.
const KQL_MIN: &str = "0001-01-01T00:00:00Z";
const KQL_MAX: &str = "9999-12-31T23:59:59.9999999Z";

/// A value ready to be written in some notation.
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    /// Digits that are a JSON number as they stand.
    Number(String),
    /// A real that JSON has no number for.
    Odd(&'static str),
    Text(&'a str),
    Owned(String),
    /// JSON text.
    Json(&'a str),
}

/// ISO 8601 in UTC with up to seven digits of a second, as Azure writes it; the ends of the range as KQL's own ends.
#[must_use]
pub fn format_datetime(ns: i64) -> String {
    match ns {
        MIN_TIME_NS => KQL_MIN.to_owned(),
        MAX_TIME_NS => KQL_MAX.to_owned(),
        _ => {
            let t = DateTime::from_timestamp_nanos(ns);
            let mut text = format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", t.year(), t.month(), t.day(), t.hour(), t.minute(), t.second());
            fraction(&mut text, t.nanosecond() / 100);
            text.push('Z');
            text
        }
    }
}

/// `[-][d.]hh:mm:ss[.fffffff]`.
#[must_use]
pub fn format_timespan(ns: i64) -> String {
    let ticks = ns.unsigned_abs() / 100;
    let (seconds, rest) = (ticks / 10_000_000, u32::try_from(ticks % 10_000_000).unwrap_or_default());
    let mut text = String::with_capacity(24);
    if ns < 0 && ticks > 0 {
        text.push('-');
    }
    let days = seconds / 86_400;
    if days > 0 {
        text.push_str(&days.to_string());
        text.push('.');
    }
    write!(text, "{:02}:{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60).ok();
    fraction(&mut text, rest);
    text
}

/// Seven digits, or none if all are zero.
fn fraction(text: &mut String, ticks: u32) {
    if ticks > 0 {
        write!(text, ".{ticks:07}").ok();
    }
}

fn real(x: f64) -> Cell<'static> {
    if x.is_nan() {
        Cell::Odd("NaN")
    } else if x == f64::INFINITY {
        Cell::Odd("Infinity")
    } else if x == f64::NEG_INFINITY {
        Cell::Odd("-Infinity")
    } else {
        // `{:?}` is the shortest text that reads back the same, with `.0` for whole numbers and exponents JSON knows.
        Cell::Number(format!("{x:?}"))
    }
}

/// The value at `row`; `dynamic` says whether text is JSON.
pub(super) fn cell(array: &dyn Array, row: usize, dynamic: bool) -> Cell<'_> {
    if array.is_null(row) {
        return Cell::Null;
    }
    macro_rules! number {
        ($kind:ty) => {
            Cell::Number(array.as_primitive::<$kind>().value(row).to_string())
        };
    }
    macro_rules! time {
        ($kind:ty, $scale:literal) => {
            Cell::Owned(format_datetime(array.as_primitive::<$kind>().value(row).saturating_mul($scale)))
        };
    }
    macro_rules! span {
        ($kind:ty, $scale:literal) => {
            Cell::Owned(format_timespan(array.as_primitive::<$kind>().value(row).saturating_mul($scale)))
        };
    }
    let text = |text| if dynamic { Cell::Json(text) } else { Cell::Text(text) };
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => real(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => real(array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => text(array.as_string_view().value(row)),
        DataType::Decimal128(..) => Cell::Owned(decimal(array.as_primitive::<Decimal128Type>().value_as_string(row))),
        DataType::Timestamp(TimeUnit::Second, _) => time!(TimestampSecondType, 1_000_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => time!(TimestampMillisecondType, 1_000_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => time!(TimestampMicrosecondType, 1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => time!(TimestampNanosecondType, 1),
        DataType::Date32 => {
            Cell::Owned(format_datetime(i64::from(array.as_primitive::<Date32Type>().value(row)).saturating_mul(86_400_000_000_000)))
        }
        DataType::Duration(TimeUnit::Second) => span!(DurationSecondType, 1_000_000_000),
        DataType::Duration(TimeUnit::Millisecond) => span!(DurationMillisecondType, 1_000_000),
        DataType::Duration(TimeUnit::Microsecond) => span!(DurationMicrosecondType, 1_000),
        DataType::Duration(TimeUnit::Nanosecond) => span!(DurationNanosecondType, 1),
        DataType::Dictionary(..) => dictionary(array, row, dynamic),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) | DataType::Struct(_) | DataType::Map(..) => {
            let mut out = Vec::new();
            nested(array, row, &mut out);
            Cell::Owned(String::from_utf8(out).expect("JSON is UTF-8"))
        }
        _ => match ArrayFormatter::try_new(array, &FormatOptions::default()) {
            Ok(formatter) => Cell::Owned(formatter.value(row).to_string()),
            Err(_) => Cell::Null,
        },
    }
}

/// Without the zeros of its scale.
fn decimal(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn dictionary(array: &dyn Array, row: usize, dynamic: bool) -> Cell<'_> {
    let dictionary = array.as_any_dictionary();
    let key = dictionary.normalized_keys()[row];
    cell(dictionary.values().as_ref(), key, dynamic)
}

/// Lists, structs and maps as JSON text.
fn nested(array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    let list = |values: &dyn Array, out: &mut Vec<u8>| {
        out.push(b'[');
        for i in 0..values.len() {
            if i > 0 {
                out.push(b',');
            }
            nested(values, i, out);
        }
        out.push(b']');
    };
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return;
    }
    match array.data_type() {
        DataType::List(_) => list(&array.as_list::<i32>().value(row), out),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row), out),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row), out),
        DataType::Struct(fields) => {
            out.push(b'{');
            for (i, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                quote(field.name(), out);
                out.push(b':');
                nested(column, row, out);
            }
            out.push(b'}');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.push(b'{');
            for i in 0..entries.len() {
                if i > 0 {
                    out.push(b',');
                }
                match cell(entries.column(0), i, false) {
                    Cell::Text(key) => quote(key, out),
                    Cell::Number(key) | Cell::Owned(key) => quote(&key, out),
                    _ => quote("", out),
                }
                out.push(b':');
                nested(entries.column(1), i, out);
            }
            out.push(b'}');
        }
        _ => write_json(&cell(array, row, false), false, out),
    }
}

/// As a JSON value; `embed` puts JSON text in as it is, else as a string (Azure's convention for `dynamic`).
pub(super) fn write_json(cell: &Cell<'_>, embed: bool, out: &mut Vec<u8>) {
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Bool(true) => out.extend_from_slice(b"true"),
        Cell::Bool(false) => out.extend_from_slice(b"false"),
        Cell::Number(digits) => out.extend_from_slice(digits.as_bytes()),
        Cell::Odd(name) => quote(name, out),
        Cell::Owned(text) => quote(text, out),
        Cell::Json(text) if embed && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => out.extend_from_slice(text.as_bytes()),
        Cell::Text(text) | Cell::Json(text) => quote(text, out),
    }
}

/// A JSON string.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}").expect("a vector takes all");
        } else {
            out.extend_from_slice(escape);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_and_spans_are_spelled_as_kql_spells_them() {
        assert_eq!(format_datetime(1_772_359_200_000_000_000), "2026-03-01T10:00:00Z");
        assert_eq!(format_datetime(1_772_359_200_123_456_789), "2026-03-01T10:00:00.1234567Z");
        assert_eq!(format_datetime(-1), "1969-12-31T23:59:59.9999999Z");
        assert_eq!(format_datetime(i64::MIN), KQL_MIN);
        assert_eq!(format_datetime(i64::MAX), KQL_MAX);
        assert_eq!(format_timespan(90_061_000_000_000), "1.01:01:01");
        assert_eq!(format_timespan(-1_500_000_000), "-00:00:01.5000000");
        assert_eq!(format_timespan(0), "00:00:00");
        assert_eq!(format_timespan(i64::MIN), "-106751.23:47:16.8547758");
    }

    #[test]
    fn any_text_becomes_a_json_string_that_reads_back_the_same() {
        for text in ["", "a\"b\\c", "\u{0}\u{1f}\u{7f}\n\r\t", "✓ \u{2028}", "</script>"] {
            let mut out = Vec::new();
            quote(text, &mut out);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn reals_are_json_numbers_or_the_three_odd_names() {
        let spell = |x| {
            let mut out = Vec::new();
            write_json(&real(x), false, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(spell(1.0), "1.0");
        assert_eq!(spell(1e300), "1e300");
        assert_eq!(spell(f64::NAN), "\"NaN\"");
        assert_eq!(spell(f64::NEG_INFINITY), "\"-Infinity\"");
        assert_eq!(serde_json::from_str::<f64>(&spell(0.1)).unwrap().to_bits(), 0.1_f64.to_bits());
    }
}
