//! Streams of records whose columns a rule declares: typed by the declaration, shaped by the rule's text, then stored like any others.
//!
//! Who knows rules and who runs texts is elsewhere ([`Transform`]): here is how a body becomes a batch of the declared columns. Typing is
//! total once the body is an array of objects: what a column cannot hold becomes null there, what no column is declared for is left
//! out.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, RecordBatchOptions, StringViewBuilder,
    TimestampNanosecondBuilder,
};
use arrow_schema::Schema;
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};
use strongroom_model::{Column, ColumnType, ErrorKind, ObjectId, TableName, WorkspaceId};

use crate::decode::time;
use crate::intake::Intake;
use crate::{BadReason, BadRecord, IngestError};

/// The rule that rows go through on their way into a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// Which rule.
    pub rule: ObjectId,
    /// Which of its streams.
    pub stream: String,
}

/// What a rule says of a stream on its way to one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The declared columns; `None`: rows are typed as they come, and no text shapes them.
    pub columns: Option<Vec<Column>>,
    /// KQL over `source`.
    pub text: Option<String>,
}

/// Rows as they are to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// One JSON object a line.
    pub body: Bytes,
    /// The columns they need, whether a row has a value there or not.
    pub columns: Vec<Column>,
}

impl Lines {
    /// Lines that need no columns but those their values make.
    pub(crate) fn of(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), columns: Vec::new() }
    }
}

/// Why a rule was not followed. The sentence is for the sender.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct NotShaped {
    /// What kind of trouble it is.
    pub kind: ErrorKind,
    /// A stable code.
    pub code: &'static str,
    /// A sentence.
    pub message: String,
}

/// Who knows rules and runs their texts.
#[async_trait]
pub trait Transform: fmt::Debug + Send + Sync {
    /// What the rule says of a stream's way into a table.
    ///
    /// # Errors
    /// [`NotShaped`], of kind `NotFound` if there is no such rule, stream or way any more.
    async fn flow(&self, workspace: WorkspaceId, through: &Through, table: &TableName) -> Result<Flow, NotShaped>;

    /// Rows of the declared columns, shaped. `arrival` is when they came, nanoseconds since 1970.
    ///
    /// # Errors
    /// [`NotShaped`].
    async fn shape(&self, workspace: WorkspaceId, rows: RecordBatch, text: Option<&str>, arrival: i64) -> Result<Lines, NotShaped>;
}

impl Intake {
    /// Has rules looked up and followed; the first who offers it stays.
    pub fn shaped_by(&self, transform: Arc<dyn Transform>) {
        self.transform.get_or_init(|| transform);
    }

    /// A stream's body as the lines that its table gets.
    pub(crate) async fn shaped(
        &self,
        workspace: WorkspaceId,
        table: &TableName,
        through: &Through,
        body: &Bytes,
        arrival: i64,
    ) -> Result<Lines, IngestError> {
        let transform = self.transform.get().ok_or(IngestError::Internal { what: "following a rule", source: None })?;
        let Flow { columns, text } = transform.flow(workspace, through, table).await?;
        let Some(columns) = columns else { return Ok(Lines { body: body.clone(), columns: Vec::new() }) };
        let whole = body.clone();
        let depth_max = self.config.limits.depth_max;
        let rows = self.on_decoder(false, move || typed(&whole, &columns, depth_max)).await??;
        Ok(transform.shape(workspace, rows, text.as_deref(), arrival).await?)
    }
}

/// The records of a JSON array of objects, or of one object, as a batch of the columns, in the engine's form.
///
/// # Errors
/// [`IngestError::BadBody`] if the body is no JSON or something else, [`IngestError::BadRecord`] for the first element that is no
/// object or nests too deep.
pub fn typed(body: &[u8], columns: &[Column], depth_max: usize) -> Result<RecordBatch, IngestError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let records = match serde_json::from_slice(body) {
        Ok(Value::Array(records)) => records,
        Ok(one @ Value::Object(_)) => vec![one],
        Ok(_) => return Err(IngestError::BadBody { what: "it is neither", offset: 0 }),
        Err(error) => return Err(IngestError::BadBody { what: "it is not JSON", offset: offset(body, &error) }),
    };
    let mut builders: Vec<Cells> = columns.iter().map(|column| Cells::new(column.kind, records.len())).collect();
    for (at, record) in records.iter().enumerate() {
        let bad = |reason| BadRecord { line: at as u64 + 1, offset: 0, reason };
        let Value::Object(members) = record else { return Err(bad(BadReason::NotAnObject).into()) };
        if depth(record) > depth_max {
            return Err(bad(BadReason::TooDeep { limit: depth_max }).into());
        }
        for (column, builder) in columns.iter().zip(&mut builders) {
            builder.push(member(members, &column.name));
        }
    }
    let fields: Vec<_> = columns.iter().map(|column| column.kind.query_field(&column.name)).collect();
    let arrays = builders.into_iter().map(Cells::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
    RecordBatch::try_new_with_options(Schema::new(fields).into(), arrays, &options)
        .map_err(|error| IngestError::internal("putting a stream's columns together", error))
}

/// A member by name: as it is spelt, else without regard to case, as Azure finds them.
fn member<'r>(members: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    members.get(name).or_else(|| members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn offset(body: &[u8], error: &serde_json::Error) -> u64 {
    let before: usize = body.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    (before + error.column()) as u64
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// The cells of a column.
enum Cells {
    Bool(BooleanBuilder),
    Int(Int32Builder),
    Long(Int64Builder),
    Real(Float64Builder),
    Text(StringViewBuilder),
    Time(TimestampNanosecondBuilder),
    Guid(StringViewBuilder),
    Dynamic(StringViewBuilder),
}

impl Cells {
    fn new(kind: ColumnType, rows: usize) -> Self {
        let texts = || StringViewBuilder::with_capacity(rows);
        match kind {
            ColumnType::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
            ColumnType::Int => Self::Int(Int32Builder::with_capacity(rows)),
            ColumnType::Long => Self::Long(Int64Builder::with_capacity(rows)),
            ColumnType::Real => Self::Real(Float64Builder::with_capacity(rows)),
            ColumnType::DateTime => Self::Time(TimestampNanosecondBuilder::with_capacity(rows).with_timezone("UTC")),
            ColumnType::Guid => Self::Guid(texts()),
            ColumnType::Dynamic => Self::Dynamic(texts()),
            ColumnType::String | ColumnType::TimeSpan | ColumnType::Decimal => Self::Text(texts()),
        }
    }

    fn push(&mut self, value: Option<&Value>) {
        let value = value.unwrap_or(&Value::Null);
        match self {
            Self::Bool(cells) => cells.append_option(bool_of(value)),
            Self::Int(cells) => cells.append_option(long_of(value).and_then(|n| i32::try_from(n).ok())),
            Self::Long(cells) => cells.append_option(long_of(value)),
            Self::Real(cells) => cells.append_option(real_of(value)),
            Self::Text(cells) => cells.append_option(text_of(value)),
            Self::Time(cells) => cells.append_option(time_of(value)),
            Self::Guid(cells) => cells.append_option(value.as_str().and_then(guid_of)),
            Self::Dynamic(cells) => cells.append_option(dynamic_of(value)),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Bool(mut cells) => Arc::new(cells.finish()),
            Self::Int(mut cells) => Arc::new(cells.finish()),
            Self::Long(mut cells) => Arc::new(cells.finish()),
            Self::Real(mut cells) => Arc::new(cells.finish()),
            Self::Time(mut cells) => Arc::new(cells.finish()),
            Self::Text(mut cells) | Self::Guid(mut cells) | Self::Dynamic(mut cells) => Arc::new(cells.finish()),
        }
    }
}

fn bool_of(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => number.as_f64().map(|x| x != 0.0),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whole numbers within i64 only")]
fn long_of(value: &Value) -> Option<i64> {
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 9.3e18).then_some(x as i64);
    match value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok().or_else(|| whole(text.trim().parse().ok()?)),
        _ => None,
    }
}

fn real_of(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|x: &f64| x.is_finite()),
        _ => None,
    }
}

fn text_of(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

fn time_of(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => time::parse_iso8601(text),
        Value::Number(number) => match number.as_i64() {
            Some(n) => Some(time::from_integer(n)),
            None => number.as_f64().map(time::from_real),
        },
        _ => None,
    }
}

/// 8-4-4-4-12 hexadecimal digits in lower case, of a text with or without the dashes, or in braces.
#[must_use]
pub fn guid_of(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let dashed = bare.len() == 36 && [8, 13, 18, 23].iter().all(|at| bare.as_bytes()[*at] == b'-');
    let digits: String = if dashed { bare.chars().filter(|c| *c != '-').collect() } else { bare.to_owned() };
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let part = |from: usize, to: usize| &digits[from..to];
    Some([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

/// A text that is itself an object or array of JSON is taken as that.
fn dynamic_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) if text.trim_start().starts_with(['{', '[']) => {
            let parsed = serde_json::from_str::<Value>(text);
            Some(parsed.as_ref().unwrap_or(value).to_string())
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_batches;

    use super::*;

    fn columns(columns: &[(&str, ColumnType)]) -> Vec<Column> {
        columns.iter().map(|&(name, kind)| Column { name: name.to_owned(), kind }).collect()
    }

    fn read(body: &str, of: &[(&str, ColumnType)]) -> Result<Vec<String>, IngestError> {
        let batch = typed(body.as_bytes(), &columns(of), 8)?;
        let table = pretty_format_batches(&[batch]).unwrap().to_string();
        let row = |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(",");
        Ok(table.lines().filter(|line| line.starts_with('|')).skip(1).map(row).collect())
    }

    #[test]
    fn values_take_the_declared_type_or_none() {
        use ColumnType::{Bool, DateTime, Dynamic, Guid, Int, Long, Real, String};
        let all = [("s", String), ("i", Int), ("l", Long), ("r", Real), ("b", Bool), ("t", DateTime), ("g", Guid), ("d", Dynamic)];
        let body = r#"[
            {"s":"a","i":1,"l":9007199254740993,"r":1.5,"b":true,"t":"2026-03-01T10:00:00Z","g":"74738FF5536759589AEE98FFFDCD1876","d":{"k":[1]}},
            {"s":5,"i":"7","l":"8","r":"2.5","b":"TRUE","t":1772359200,"g":"x","d":"{\"k\":1}","more":1},
            {"S":{"k":1},"i":3000000000,"l":1.5,"r":"NaN","b":[],"t":"no","d":"text"},
            {"s":null}
        ]"#;
        assert_eq!(
            read(body, &all).unwrap(),
            [
                "a,1,9007199254740993,1.5,true,2026-03-01T10:00:00Z,74738ff5-5367-5958-9aee-98fffdcd1876,{\"k\":[1]}",
                "5,7,8,2.5,true,2026-03-01T10:00:00Z,,{\"k\":1}",
                "{\"k\":1},,,,,,,\"text\"",
                ",,,,,,,",
            ]
        );
        assert_eq!(read(r#"{"s":"one"}"#, &[("s", String)]).unwrap(), ["one"]);
        assert!(read("[]", &[("s", String)]).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_array_of_objects_is_refused_with_its_place() {
        let of = [("s", ColumnType::String)];
        for (body, expected) in [
            ("5", "it is neither at byte 0"),
            ("[{\"s\":1},\n{\"s\":}]", "it is not JSON at byte 16"),
            ("[{},5]", "record 2 at byte 0 was not accepted: it is JSON but not an object"),
            ("[{\"s\":[[[[[[[[1]]]]]]]]}]", "nests deeper than 8 levels"),
        ] {
            let told = read(body, &of).unwrap_err().to_string();
            assert!(told.contains(expected), "{body}: {told}");
        }
    }
}
