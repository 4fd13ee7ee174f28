//! Conversions: `tostring`, `tolong` and so on. What makes no sense gives null, never an error.

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Expr, cast};
use strongroom_kql::{parse_datetime, parse_timespan};
use strongroom_model::ColumnType;

use super::args::{Call, Values, decimals};
use super::json;
use super::spec::{Gives, Make, ScalarSpec, Want};
use super::text_of::{DECIMAL_ONE, DECIMAL_SCALE, ns_of_ticks, ticks_of_ns};
use crate::functions::Typed;

const fn conversion(name: &'static str, aliases: &'static [&'static str], kind: ColumnType, kernel: super::spec::Kernel) -> ScalarSpec {
    ScalarSpec { name, aliases, takes: &[Want::Any], least: 1, more: None, gives: Gives::Kind(kind), make: Make::Kernel(kernel) }
}

pub(super) static SPECS: [ScalarSpec; 11] = [
    conversion("tostring", &["to_string"], ColumnType::String, to_string),
    conversion("tobool", &["toboolean"], ColumnType::Bool, to_bool),
    conversion("toint", &[], ColumnType::Int, to_int),
    conversion("tolong", &[], ColumnType::Long, to_long),
    conversion("toreal", &["todouble"], ColumnType::Real, to_real),
    conversion("todecimal", &[], ColumnType::Decimal, to_decimal),
    conversion("todatetime", &[], ColumnType::DateTime, to_datetime),
    conversion("totimespan", &["totime"], ColumnType::TimeSpan, to_timespan),
    conversion("toguid", &[], ColumnType::Guid, to_guid),
    conversion("parse_json", &["todynamic", "parsejson", "toobject"], ColumnType::Dynamic, to_dynamic),
    // A value as a dynamic of its own type: what bags and arrays hold. Not KQL's `todynamic`, which reads JSON out of strings.
    conversion("as_dynamic", &[], ColumnType::Dynamic, as_dynamic),
];

/// What converts to a type.
pub(super) fn spec_to(kind: ColumnType) -> &'static ScalarSpec {
    &SPECS[match kind {
        ColumnType::String => 0,
        ColumnType::Bool => 1,
        ColumnType::Int => 2,
        ColumnType::Long => 3,
        ColumnType::Real => 4,
        ColumnType::Decimal => 5,
        ColumnType::DateTime => 6,
        ColumnType::TimeSpan => 7,
        ColumnType::Guid => 8,
        ColumnType::Dynamic => 10,
    }]
}

/// A conversion: the value itself if it is of that type. To `dynamic`: a dynamic of the value, strings are not parsed.
pub(in crate::functions) fn convert(value: Typed, kind: ColumnType) -> Typed {
    if value.kind == kind {
        return value;
    }
    if let Expr::Literal(constant, _) = &value.expr
        && constant.is_null()
        && kind != ColumnType::String
    {
        let null = ScalarValue::try_from(&kind.query_type()).expect("every engine type has a null");
        return Typed::new(Expr::Literal(null, None), kind);
    }
    // What cannot fail is DataFusion's own cast: its optimizer sees through it.
    let plain = matches!(
        (value.kind, kind),
        (ColumnType::Int, ColumnType::Long | ColumnType::Real | ColumnType::Decimal) | (ColumnType::Long, ColumnType::Real)
    );
    if plain {
        if let Expr::Literal(constant, _) = &value.expr
            && let Ok(converted) = constant.cast_to(&kind.query_type())
        {
            return Typed::new(Expr::Literal(converted, None), kind);
        }
        return Typed::new(cast(value.expr, kind.query_type()), kind);
    }
    spec_to(kind).call(vec![value])
}

fn to_string(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(match &values {
        Values::String(text) | Values::Guid(text) => call.slices(|row| text.get(row)),
        values => call.texts(|row, out| values.write_text(row, out)),
    })
}

/// What a `dynamic` holds, for conversions to other types.
enum Plain<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(std::borrow::Cow<'a, str>),
}

fn plain(raw: &str) -> Plain<'_> {
    match json::type_name(raw) {
        "bool" => Plain::Bool(raw == "true"),
        "long" | "double" => Plain::Number(raw),
        "string" => json::string(raw).map_or(Plain::Null, Plain::Text),
        _ => Plain::Null,
    }
}

fn to_bool(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.maybe_bools(|row| match &values {
        Values::Bool(v) => v.get(row),
        Values::Int(v) => v.get(row).map(|v| v != 0),
        Values::Long(v) => v.get(row).map(|v| v != 0),
        Values::Real(v) => v.get(row).map(|v| v != 0.0),
        Values::Decimal(v) => v.get(row).map(|v| v != 0),
        Values::String(v) => bool_of(v.get(row)),
        Values::Dynamic(v) => match plain(v.json(row)?) {
            Plain::Bool(value) => Some(value),
            Plain::Number(text) => text.parse::<f64>().ok().map(|v| v != 0.0),
            // Hexadecimal too, which a text of its own may not be.
            Plain::Text(text) => bool_of(&text).or_else(|| long_of(&text).filter(|_| text.starts_with("0x")).map(|v| v != 0)),
            Plain::Null => None,
        },
        _ => None,
    }))
}

/// `true`, `false` in any case, or a whole number; blanks around it do not do.
fn bool_of(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        return Some(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Some(false);
    }
    text.parse::<i64>().ok().map(|v| v != 0)
}

/// Whole numbers: decimal or `0x..`, blanks around it allowed.
fn long_of(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok().map(u64::cast_signed);
    }
    text.parse().ok()
}

/// Reals beyond the longs give the last long.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
pub(super) fn long_of_real(value: f64) -> Option<i64> {
    (!value.is_nan()).then_some(value as i64)
}

fn long_value(values: &Values, row: usize) -> Option<i64> {
    match values {
        Values::Bool(v) => v.get(row).map(i64::from),
        Values::Int(v) => v.get(row).map(i64::from),
        Values::Long(v) => v.get(row),
        Values::Real(v) => v.get(row).and_then(long_of_real),
        Values::Decimal(v) => v.get(row).and_then(|v| i64::try_from(v / DECIMAL_ONE).ok()),
        Values::String(v) => long_of(v.get(row)),
        Values::DateTime(v) => v.get(row).map(ticks_of_ns),
        Values::TimeSpan(v) => v.get(row).map(|ns| ns / 100),
        Values::Guid(_) => None,
        Values::Dynamic(v) => match plain(v.json(row)?) {
            Plain::Bool(value) => Some(i64::from(value)),
            Plain::Number(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(long_of_real)),
            Plain::Text(text) => long_of(&text),
            Plain::Null => None,
        },
    }
}

fn to_long(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.longs(|row| long_value(&values, row)))
}

/// Reals saturate, longs wrap, texts beyond the ints are null.
#[expect(clippy::cast_possible_truncation, reason = "longs wrap, reals saturate: that is what `as` does")]
fn to_int(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.ints(|row| match &values {
        Values::Real(v) => v.get(row).filter(|v| !v.is_nan()).map(|v| v as i32),
        Values::String(v) => long_of(v.get(row)).and_then(|v| i32::try_from(v).ok()),
        other => long_value(other, row).map(|v| v as i32),
    }))
}

fn real_of(text: &str) -> Option<f64> {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return text.parse().ok();
    }
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "+inf" | "infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a real is asked for")]
fn to_real(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.reals(|row| match &values {
        Values::Real(v) => v.get(row),
        Values::Decimal(v) => v.get(row).map(|v| v as f64 / DECIMAL_ONE as f64),
        Values::String(v) => real_of(v.get(row)),
        Values::Dynamic(v) => match plain(v.json(row)?) {
            Plain::Bool(value) => Some(if value { 1.0 } else { 0.0 }),
            Plain::Number(text) => text.parse().ok(),
            Plain::Text(text) => real_of(&text),
            Plain::Null => None,
        },
        other => long_value(other, row).map(|v| v as f64),
    }))
}

/// A decimal from its digits; digits beyond the scale are cut off.
pub(super) fn decimal_of(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() || !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) {
        let value: f64 = real_of(text)?;
        return decimal_of_real(value);
    }
    let scale = DECIMAL_SCALE.unsigned_abs() as usize;
    let part = &part[..part.len().min(scale)];
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: i128 = format!("{part:0<scale$}").parse().ok()?;
    let value = whole.checked_mul(DECIMAL_ONE)?.checked_add(fraction)?;
    Some(if negative { -value } else { value })
}

fn decimal_of_real(value: f64) -> Option<i128> {
    if !value.is_finite() || value.abs() >= 1e17 {
        return None;
    }
    decimal_of(&format!("{value:.17}"))
}

fn to_decimal(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    let value = |row| match &values {
        Values::Decimal(v) => v.get(row),
        Values::Real(v) => v.get(row).and_then(|v| decimal_of(&format!("{v:?}"))),
        Values::String(v) => decimal_of(v.get(row)),
        Values::Dynamic(v) => match plain(v.json(row)?) {
            Plain::Number(text) => decimal_of(text),
            Plain::Text(text) => decimal_of(&text),
            _ => None,
        },
        other => long_value(other, row).map(|v| i128::from(v) * DECIMAL_ONE),
    };
    decimals((0..call.rows).map(value).collect())
}

pub(super) fn datetime_of(text: &str) -> Option<i64> {
    parse_datetime(text).map(ns_of_ticks)
}

fn to_datetime(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.datetimes(|row| match &values {
        Values::DateTime(v) => v.get(row),
        Values::String(v) => datetime_of(v.get(row)),
        Values::Dynamic(v) => match plain(v.json(row)?) {
            Plain::Text(text) => datetime_of(&text),
            Plain::Number(text) => text.parse().ok().map(ns_of_ticks),
            _ => None,
        },
        Values::Long(v) => v.get(row).map(ns_of_ticks),
        Values::Int(v) => v.get(row).map(|v| ns_of_ticks(i64::from(v))),
        Values::Real(v) => v.get(row).and_then(long_of_real).map(ns_of_ticks),
        _ => None,
    }))
}

pub(super) fn timespan_of(text: &str) -> Option<i64> {
    parse_timespan(text).map(|ticks| ticks.saturating_mul(100))
}

fn to_timespan(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.timespans(|row| match &values {
        Values::TimeSpan(v) => v.get(row),
        Values::String(v) => timespan_of(v.get(row)),
        Values::Dynamic(v) => match plain(v.json(row)?) {
            Plain::Text(text) => timespan_of(&text),
            Plain::Number(text) => text.parse::<i64>().ok().map(|ticks| ticks.saturating_mul(100)),
            _ => None,
        },
        Values::Long(v) => v.get(row).map(|ticks| ticks.saturating_mul(100)),
        Values::Int(v) => v.get(row).map(|ticks| i64::from(ticks) * 100),
        _ => None,
    }))
}

/// A guid's 36 characters in lower case; false: it is none. Dashes may stand anywhere.
pub(super) fn guid_of(text: &str, out: &mut String) -> bool {
    let text = text.trim();
    let inside = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    if inside.len() > 64 {
        return false;
    }
    for byte in inside.bytes().filter(|b| *b != b'-') {
        if !byte.is_ascii_hexdigit() {
            return false;
        }
        if matches!(out.len(), 8 | 13 | 18 | 23) {
            out.push('-');
        }
        out.push(byte.to_ascii_lowercase() as char);
    }
    out.len() == 36
}

fn to_guid(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(call.dynamics(|row, out| match &values {
        Values::Guid(v) => {
            out.push_str(v.get(row));
            v.value(row).is_some()
        }
        Values::String(v) => guid_of(v.get(row), out),
        Values::Dynamic(v) => v.json(row).and_then(json::string).is_some_and(|text| guid_of(&text, out)),
        _ => false,
    }))
}

/// `parse_json`: JSON out of a string; a value of another type stays what it is.
fn to_dynamic(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    Ok(match &values {
        Values::String(v) => call.dynamics(|row, out| json::parse(v.get(row), out)),
        // A dynamic that is a string is parsed, too: `parse_json(d.payload)`.
        Values::Dynamic(v) => call.dynamics(|row, out| {
            let Some(raw) = v.json(row) else { return false };
            if let Some(text) = json::string(raw) {
                return json::parse(&text, out);
            }
            out.push_str(raw);
            true
        }),
        values => as_dynamic_values(call, values),
    })
}

fn as_dynamic(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(as_dynamic_values(call, &call.values(0)?))
}

fn as_dynamic_values(call: &Call<'_>, values: &Values) -> ArrayRef {
    call.dynamics(|row, out| {
        if values.is_null(row) {
            return false;
        }
        values.write_json(row, out);
        true
    })
}
