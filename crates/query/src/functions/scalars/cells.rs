//! What a `dynamic` consists of, one element after the other, and columns of such elements: what `mv-expand` is made of.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, DurationNanosecondBuilder, Float64Builder, Int32Builder, Int64Builder, StringViewBuilder,
    TimestampNanosecondBuilder,
};
use datafusion::common::Result;
use strongroom_model::ColumnType;

use super::args::decimals;
use super::convert::{datetime_of, decimal_of, guid_of, long_of_real, timespan_of};
use super::json::{self, Entries, Items, Raw};

/// Where the walk through one value's elements stands; the value itself is handed in at each step.
///
/// An array has its items, a bag its entries, null one null and anything else itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cells {
    Null,
    Whole,
    Items(usize),
    Entries(usize),
    Over,
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell<'t> {
    /// A value in JSON form; null is `null`.
    Value(Raw<'t>),
    /// Key and value of an entry of a bag.
    Entry(Raw<'t>, Raw<'t>),
}

impl Cells {
    /// Before the first element.
    pub(crate) fn of(value: Option<&str>) -> Self {
        let Some(text) = value.filter(|text| !text.is_empty() && *text != "null") else { return Self::Null };
        if let Some(items) = json::items(text) {
            return Self::Items(items.at());
        }
        match json::entries(text) {
            Some(entries) => Self::Entries(entries.at()),
            None => Self::Whole,
        }
    }

    /// The next element of the value.
    pub(crate) fn next<'t>(&mut self, text: &'t str) -> Option<Cell<'t>> {
        let (cell, next) = match *self {
            Self::Null => (Some(Cell::Value("null")), Self::Over),
            Self::Whole => (Some(Cell::Value(text)), Self::Over),
            Self::Items(at) => {
                let mut items = Items::resume(text, at);
                let cell = items.next().map(Cell::Value);
                (cell, Self::Items(items.at()))
            }
            Self::Entries(at) => {
                let mut entries = Entries::resume(text, at);
                let cell = entries.next().map(|(key, value)| Cell::Entry(key, value));
                (cell, Self::Entries(entries.at()))
            }
            Self::Over => (None, Self::Over),
        };
        *self = if cell.is_some() { next } else { Self::Over };
        cell
    }
}

/// A column of elements under way. They are cast, not parsed: the number 5 is a long, the text `"5"` is none and becomes null.
#[derive(Debug)]
pub(crate) struct CellColumn {
    values: Values,
    /// Entries of bags as `[key, value]`; else each a bag of its own.
    pairs: bool,
    scratch: String,
}

#[derive(Debug)]
enum Values {
    Bool(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Real(Float64Builder),
    Decimal(Vec<Option<i128>>),
    DateTime(TimestampNanosecondBuilder),
    TimeSpan(DurationNanosecondBuilder),
    String(StringViewBuilder),
    Guid(StringViewBuilder),
    Dynamic(StringViewBuilder),
}

impl CellColumn {
    pub(crate) fn new(kind: ColumnType, pairs: bool) -> Self {
        let values = match kind {
            ColumnType::Bool => Values::Bool(BooleanBuilder::new()),
            ColumnType::Int => Values::Int(Int32Builder::new()),
            ColumnType::Long => Values::Long(Int64Builder::new()),
            ColumnType::Real => Values::Real(Float64Builder::new()),
            ColumnType::Decimal => Values::Decimal(Vec::new()),
            ColumnType::DateTime => Values::DateTime(TimestampNanosecondBuilder::new()),
            ColumnType::TimeSpan => Values::TimeSpan(DurationNanosecondBuilder::new()),
            ColumnType::String => Values::String(StringViewBuilder::new()),
            ColumnType::Guid => Values::Guid(StringViewBuilder::new()),
            ColumnType::Dynamic => Values::Dynamic(StringViewBuilder::new()),
        };
        Self { values, pairs, scratch: String::new() }
    }

    /// One more row; none: there is no such element.
    pub(crate) fn push(&mut self, cell: Option<Cell<'_>>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let raw = match cell {
            None => "null",
            Some(Cell::Value(raw)) => raw,
            Some(Cell::Entry(key, value)) => {
                let marks = if self.pairs { ['[', ',', ']'] } else { ['{', ':', '}'] };
                scratch.push(marks[0]);
                scratch.push_str(key);
                scratch.push(marks[1]);
                scratch.push_str(value);
                scratch.push(marks[2]);
                &scratch
            }
        };
        self.values.push(raw);
        self.scratch = scratch;
    }

    /// What was pushed, and a new start.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match &mut self.values {
            Values::Bool(values) => Arc::new(values.finish()),
            Values::Int(values) => Arc::new(values.finish()),
            Values::Long(values) => Arc::new(values.finish()),
            Values::Real(values) => Arc::new(values.finish()),
            Values::Decimal(values) => return decimals(std::mem::take(values)),
            Values::DateTime(values) => Arc::new(values.finish().with_timezone("UTC")),
            Values::TimeSpan(values) => Arc::new(values.finish()),
            Values::String(values) | Values::Guid(values) | Values::Dynamic(values) => Arc::new(values.finish()),
        })
    }
}

impl Values {
    fn push(&mut self, raw: Raw<'_>) {
        let is_number = matches!(raw.as_bytes().first(), Some(b'-' | b'0'..=b'9'));
        let number = || is_number.then_some(raw);
        match self {
            Self::Bool(values) => values.append_option(match raw {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            }),
            Self::Int(values) => values.append_option(number().and_then(long).and_then(|value| i32::try_from(value).ok())),
            Self::Long(values) => values.append_option(number().and_then(long)),
            Self::Real(values) => values.append_option(match raw {
                // How JSON says what it has no number for.
                "\"NaN\"" => Some(f64::NAN),
                "\"Infinity\"" => Some(f64::INFINITY),
                "\"-Infinity\"" => Some(f64::NEG_INFINITY),
                _ => number().and_then(|digits| digits.parse().ok()),
            }),
            // Decimals, times and guids are strings in JSON.
            Self::Decimal(values) => values.push(match json::string(raw) {
                Some(text) => decimal_of(&text),
                None => number().and_then(decimal_of),
            }),
            Self::DateTime(values) => values.append_option(json::string(raw).and_then(|text| datetime_of(&text))),
            Self::TimeSpan(values) => values.append_option(json::string(raw).and_then(|text| timespan_of(&text))),
            Self::String(values) => match json::string(raw) {
                Some(text) => values.append_value(text),
                None => values.append_value(if raw == "null" { "" } else { raw }),
            },
            Self::Guid(values) => {
                let mut guid = String::new();
                let is_guid = json::string(raw).is_some_and(|text| guid_of(&text, &mut guid));
                values.append_option(is_guid.then_some(guid));
            }
            Self::Dynamic(values) => values.append_option((raw != "null").then_some(raw)),
        }
    }
}

fn long(digits: &str) -> Option<i64> {
    digits.parse().ok().or_else(|| digits.parse().ok().and_then(long_of_real))
}

/// The keys of a bag and the types of their values; null has none.
pub(crate) fn slots(value: &str) -> impl Iterator<Item = (std::borrow::Cow<'_, str>, Option<ColumnType>)> {
    json::entries(value).into_iter().flatten().map(|(key, value)| {
        let kind = match json::type_name(value) {
            "string" => Some(ColumnType::String),
            "bool" => Some(ColumnType::Bool),
            "long" => Some(ColumnType::Long),
            "double" => Some(ColumnType::Real),
            "null" => None,
            _ => Some(ColumnType::Dynamic),
        };
        (json::string(key).unwrap_or_default(), kind)
    })
}
