//! Columns and their types, and what Arrow type each is in storage and in the engine.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};

/// The column every table has: when the row's event happened.
pub const TIME_COLUMN: &str = "TimeGenerated";

/// Arrow extension name of `dynamic` columns (JSON text).
pub const DYNAMIC_EXTENSION: &str = "strongroom.dynamic";

const EXTENSION_KEY: &str = "ARROW:extension:name";

/// A KQL scalar type. Ingest makes only bool, long, real, string, datetime and dynamic; queries know all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// true or false
    Bool,
    /// 32-bit signed
    Int,
    /// 64-bit signed
    Long,
    /// 64-bit IEEE 754
    Real,
    /// UTF-8 text; never null in KQL
    String,
    /// nanoseconds since 1970, UTC
    DateTime,
    /// nanoseconds
    TimeSpan,
    /// fixed point
    Decimal,
    /// UUID, kept as its text
    Guid,
    /// any JSON value, as compact JSON text
    Dynamic,
}

impl ColumnType {
    /// The KQL name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Long => "long",
            Self::Real => "real",
            Self::String => "string",
            Self::DateTime => "datetime",
            Self::TimeSpan => "timespan",
            Self::Decimal => "decimal",
            Self::Guid => "guid",
            Self::Dynamic => "dynamic",
        }
    }

    /// Arrow type in the WAL, in memtables and while building: text as `Utf8` (builders in views cost 40 % more).
    #[must_use]
    pub fn storage_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Real => DataType::Float64,
            Self::String | Self::Guid | Self::Dynamic => DataType::Utf8,
            Self::DateTime => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::TimeSpan => DataType::Duration(TimeUnit::Nanosecond),
            Self::Decimal => DataType::Decimal128(34, 17),
        }
    }

    /// Arrow type in the query engine: text as `Utf8View`.
    #[must_use]
    pub fn query_type(self) -> DataType {
        match self.storage_type() {
            DataType::Utf8 => DataType::Utf8View,
            other => other,
        }
    }

    /// A nullable Arrow field of this type in storage form; `dynamic` carries its extension name.
    #[must_use]
    pub fn storage_field(self, name: &str) -> Field {
        self.mark(Field::new(name, self.storage_type(), true))
    }

    /// A nullable Arrow field of this type in engine form; `dynamic` carries its extension name.
    #[must_use]
    pub fn query_field(self, name: &str) -> Field {
        self.mark(Field::new(name, self.query_type(), true))
    }

    fn mark(self, field: Field) -> Field {
        let mark = match self {
            Self::Dynamic => DYNAMIC_EXTENSION,
            Self::Guid => "strongroom.guid",
            _ => return field,
        };
        field.with_metadata(HashMap::from([(EXTENSION_KEY.to_owned(), mark.to_owned())]))
    }

    /// The type an Arrow field stands for, if it is one of ours.
    #[must_use]
    pub fn of_field(field: &Field) -> Option<Self> {
        Some(match field.data_type() {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Self::Int,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Long,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::Real,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => match field.metadata().get(EXTENSION_KEY).map(String::as_str) {
                Some(DYNAMIC_EXTENSION) => Self::Dynamic,
                Some("strongroom.guid") => Self::Guid,
                _ => Self::String,
            },
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::DateTime,
            DataType::Duration(_) => Self::TimeSpan,
            DataType::Decimal128(..) | DataType::Decimal256(..) => Self::Decimal,
            _ => return None,
        })
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    /// Its name; case counts.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
}

/// The columns of a table in the order they were first seen; `TimeGenerated` is the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The columns.
    pub columns: Vec<Column>,
}

impl TableSchema {
    /// A table nobody has sent a row to: `TimeGenerated` alone.
    #[must_use]
    pub fn new() -> Self {
        Self { columns: vec![Column { name: TIME_COLUMN.to_owned(), kind: ColumnType::DateTime }] }
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// As an Arrow schema in storage form.
    #[must_use]
    pub fn storage_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| c.kind.storage_field(&c.name)).collect::<Vec<_>>()))
    }

    /// As an Arrow schema in engine form.
    #[must_use]
    pub fn query_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|c| c.kind.query_field(&c.name)).collect::<Vec<_>>()))
    }
}

impl Default for TableSchema {
    fn default() -> Self {
        Self::new()
    }
}
