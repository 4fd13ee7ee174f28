//! Values written in the text.

use std::fmt::{self, Write as _};

use crate::datetime;

/// A scalar type by its KQL name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are KQL's own names")]
pub enum ScalarType {
    Bool,
    Int,
    Long,
    Real,
    Decimal,
    String,
    DateTime,
    TimeSpan,
    Guid,
    Dynamic,
}

impl ScalarType {
    /// The type of that name, aliases (`double`, `date`, `time`, `boolean`, `uniqueid`, ..) included.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "bool" | "boolean" => Self::Bool,
            "int" | "int32" | "uint" | "int16" | "uint16" | "int8" | "uint8" => Self::Int,
            "long" | "int64" | "ulong" | "uint32" | "uint64" => Self::Long,
            "real" | "double" | "float" => Self::Real,
            "decimal" => Self::Decimal,
            "string" => Self::String,
            "datetime" | "date" => Self::DateTime,
            "timespan" | "time" => Self::TimeSpan,
            "guid" | "uuid" | "uniqueid" => Self::Guid,
            "dynamic" | "object" => Self::Dynamic,
            _ => return None,
        })
    }

    /// The KQL name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Long => "long",
            Self::Real => "real",
            Self::Decimal => "decimal",
            Self::String => "string",
            Self::DateTime => "datetime",
            Self::TimeSpan => "timespan",
            Self::Guid => "guid",
            Self::Dynamic => "dynamic",
        }
    }
}

/// A value written in the text.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `true`
    Bool(bool),
    /// `int(5)`
    Int(i32),
    /// `5`, `0x1F`, `long(5)`
    Long(i64),
    /// `1.5`, `1e3`, `real(nan)`
    Real(f64),
    /// `decimal(1.5)`: its text, checked to be a number.
    Decimal(String),
    /// A string; adjacent literals are joined.
    String {
        /// The value, escapes resolved.
        value: String,
        /// Written with `h`: keep it out of logs and messages.
        obfuscated: bool,
    },
    /// `datetime(2024-01-31)`: ticks of 100 ns since 0001-01-01, see [`crate::ticks_to_unix_ns`].
    DateTime(i64),
    /// `1d`, `timespan(1.02:03:04.5)`: ticks of 100 ns.
    TimeSpan(i64),
    /// `guid(..)`: 36 characters, lower case.
    Guid(String),
    /// `dynamic(..)`
    Dynamic(DynamicValue),
    /// `long(null)`; never of type string.
    Null(ScalarType),
}

impl Literal {
    /// Its type.
    #[must_use]
    pub const fn scalar_type(&self) -> ScalarType {
        match self {
            Self::Bool(_) => ScalarType::Bool,
            Self::Int(_) => ScalarType::Int,
            Self::Long(_) => ScalarType::Long,
            Self::Real(_) => ScalarType::Real,
            Self::Decimal(_) => ScalarType::Decimal,
            Self::String { .. } => ScalarType::String,
            Self::DateTime(_) => ScalarType::DateTime,
            Self::TimeSpan(_) => ScalarType::TimeSpan,
            Self::Guid(_) => ScalarType::Guid,
            Self::Dynamic(_) => ScalarType::Dynamic,
            Self::Null(kind) => *kind,
        }
    }
}

/// What `dynamic(..)` holds: JSON, and KQL's own literals inside it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "they are JSON's own names")]
pub enum DynamicValue {
    Null,
    Bool(bool),
    Long(i64),
    Real(f64),
    String(String),
    /// Ticks since 0001-01-01.
    DateTime(i64),
    /// Ticks.
    TimeSpan(i64),
    Array(Vec<DynamicValue>),
    /// In the order written; a key twice is kept twice (the last one counts).
    Bag(Vec<(String, DynamicValue)>),
}

impl DynamicValue {
    /// As compact JSON: what a `dynamic` column holds. Times become strings in KQL's form; NaN and infinities, too.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Long(value) => push(out, format_args!("{value}")),
            Self::Real(value) if value.is_finite() => push(out, format_args!("{value:?}")),
            Self::Real(value) => write_string(
                out,
                if value.is_nan() {
                    "NaN"
                } else if *value > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                },
            ),
            Self::String(value) => write_string(out, value),
            Self::DateTime(ticks) => write_string(out, &datetime::format_datetime(*ticks)),
            Self::TimeSpan(ticks) => write_string(out, &datetime::format_timespan(*ticks)),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Bag(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(out, key);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

fn push(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes everything");
}

/// A JSON string: quotes, backslashes and control characters escaped, the rest as it is.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 => push(out, format_args!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}
