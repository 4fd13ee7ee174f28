//! Streams of records whose columns a rule declares: typed by the declaration, shaped by the rule's text, then stored like any others.
//!
//! Who knows rules and who runs texts is elsewhere ([`Transform`]): here is how a body becomes a batch of the declared columns. Typing is
//! total once the body is an array of objects: what a column cannot hold becomes null there, what no column is declared for is left
//! out. A small body can name many records, and a rule many columns: what comes of the two is bounded as it is made.

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
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use strongroom_keys::KeyError;
use strongroom_model::{Column, ColumnType, ErrorKind, ObjectId, TableName, WorkspaceId};

use crate::away::is_away;
use crate::decode::time;
use crate::decoding::Decoding;
use crate::intake::Intake;
use crate::own::own_table;
use crate::{BadReason, BadRecord, Format, IngestError, OnError, RequestLimits, Share};

/// Bytes that room is asked for at a time.
const ROOM_STEP: u64 = 256 << 10;
/// Bytes of a text that lie in its view.
const INLINE_VIEW: usize = 12;

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
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "what kind of trouble it is, a stable code, a sentence")]
pub enum NotShaped {
    /// The rule is not there or not whole, or its text fails on these rows: another try fares no better.
    #[error("{message}")]
    Rule { kind: ErrorKind, code: &'static str, message: String },
    /// What it needs is not there now.
    #[error("{message}")]
    Passing { kind: ErrorKind, code: &'static str, message: String },
    /// The key that it is under is away.
    #[error(transparent)]
    Key(KeyError),
}

impl NotShaped {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Rule { kind, .. } | Self::Passing { kind, .. } => *kind,
            Self::Key(error) => error.kind(),
        }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Rule { code, .. } | Self::Passing { code, .. } => code,
            Self::Key(error) => error.code(),
        }
    }
}

impl From<NotShaped> for IngestError {
    /// A key that is away is told as any other door tells it.
    fn from(error: NotShaped) -> Self {
        match error {
            NotShaped::Key(error) => Self::Key(error),
            other => Self::NotShaped(other),
        }
    }
}

/// Who knows rules and runs their texts.
#[async_trait]
pub trait Transform: fmt::Debug + Send + Sync {
    /// What the rule says of a stream's way into a table.
    ///
    /// # Errors
    /// [`NotShaped`]; [`NotShaped::Rule`] of kind `NotFound` if there is no such rule, stream or way any more.
    async fn flow(&self, workspace: WorkspaceId, through: &Through, table: &TableName) -> Result<Flow, NotShaped>;

    /// Rows of the declared columns, shaped, as no more than so many bytes. `arrival` is when they came, nanoseconds since 1970.
    ///
    /// # Errors
    /// [`NotShaped`].
    async fn shape(
        &self,
        workspace: WorkspaceId,
        rows: RecordBatch,
        text: Option<&str>,
        arrival: i64,
        bytes_max: u64,
    ) -> Result<Lines, NotShaped>;
}

impl Intake {
    /// Has rules looked up and followed; the first who offers it stays.
    pub fn shaped_by(&self, transform: Arc<dyn Transform>) {
        self.transform.get_or_init(|| transform);
    }

    /// Says whether a stream's rows would be taken: nothing is stored. Of rows whose key is away that is not known, and not an error.
    ///
    /// # Errors
    /// As [`Intake::ingest`]'s, of a body as it is there.
    pub async fn rehearse(&self, workspace: WorkspaceId, table: &TableName, through: &Through, body: &Bytes) -> Result<(), IngestError> {
        if let Some(table) = own_table(table) {
            return Err(IngestError::OwnTable { table });
        }
        if self.deps.catalog.table_get(workspace, table).await?.is_none() {
            self.check_tables(workspace, table).await?;
        }
        let arrival = self.deps.world.clock.wall().0;
        match self.shaped(workspace, table, through, body, arrival).await {
            Err(error) if is_away(&error) => Ok(()),
            Err(error) => Err(error),
            Ok((lines, _room)) => {
                let format = Decoding { format: Format::Json, time_field: None, arrival, on_error: OnError::Refuse, checked: false };
                self.decode(&lines.body, &Arc::default(), &format).await.map(drop)
            }
        }
    }

    /// A stream's body as the lines that its table gets, and the room that they take beside the body.
    pub(crate) async fn shaped(
        &self,
        workspace: WorkspaceId,
        table: &TableName,
        through: &Through,
        body: &Bytes,
        arrival: i64,
    ) -> Result<(Lines, Share), IngestError> {
        let transform = self.transform.get().ok_or_else(|| NotShaped::Passing {
            kind: ErrorKind::Unavailable,
            code: "Starting",
            message: "rules are not followed yet".to_owned(),
        })?;
        let mut room = self.budget.aside();
        let Flow { columns, text } = transform.flow(workspace, through, table).await?;
        let Some(columns) = columns else { return Ok((Lines::of(body.clone()), room)) };
        let (whole, limits, mut batch_room) = (body.clone(), self.config.limits.clone(), self.budget.aside());
        let typing = move || typed(&whole, &columns, &limits, &mut |more| batch_room.grow(more)).map(|rows| (rows, batch_room));
        let (rows, _batch_room) = self.on_decoder(false, typing).await??;
        let lines = transform.shape(workspace, rows, text.as_deref(), arrival, self.config.limits.shaped_bytes_max).await?;
        room.grow(lines.body.len() as u64)?;
        Ok((lines, room))
    }
}

/// Who says whether there is room for so many bytes more.
pub type Room<'a> = dyn FnMut(u64) -> Result<(), IngestError> + 'a;

/// The records of a JSON array of objects, or of one object, as a batch of the columns, in the engine's form: one record after the other,
/// and no more bytes of columns than [`RequestLimits::shaped_bytes_max`] and `room` allow. A column takes room for each record,
/// whether it has a value there or not.
///
/// # Errors
/// [`IngestError::BadBody`] if the body is no JSON or something else, [`IngestError::BadRecord`] for the first element that is no
/// object or nests too deep, [`IngestError::BodyTooLarge`], what `room` says.
pub fn typed(body: &[u8], columns: &[Column], limits: &RequestLimits, room: &mut Room<'_>) -> Result<RecordBatch, IngestError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let width = columns.iter().map(|column| Cells::width(column.kind)).sum();
    let cells = columns.iter().map(|column| Cells::new(column.kind)).collect();
    let mut rows = Rows { columns, cells, width, count: 0, bytes: 0, granted: 0, limits, room, failed: None };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = (&mut rows).deserialize(&mut json).and_then(|()| json.end());
    let Rows { cells, count, failed, .. } = rows;
    match (failed, read) {
        (Some(error), _) => return Err(error),
        (None, Ok(())) => {}
        (None, Err(error)) if error.is_data() => return Err(IngestError::BadBody { what: "it is neither", offset: 0 }),
        (None, Err(error)) => return Err(IngestError::BadBody { what: "it is not JSON", offset: offset(body, &error) }),
    }
    let fields: Vec<_> = columns.iter().map(|column| column.kind.query_field(&column.name)).collect();
    let arrays = cells.into_iter().map(Cells::finish).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    RecordBatch::try_new_with_options(Schema::new(fields).into(), arrays, &options)
        .map_err(|error| IngestError::internal("putting a stream's columns together", error))
}

/// What was read of a body so far.
struct Rows<'r, 'a> {
    columns: &'r [Column],
    cells: Vec<Cells>,
    /// Bytes of a record in which every value is null.
    width: u64,
    count: usize,
    bytes: u64,
    /// Bytes there is room for.
    granted: u64,
    limits: &'r RequestLimits,
    room: &'r mut Room<'a>,
    failed: Option<IngestError>,
}

impl Rows<'_, '_> {
    fn push(&mut self, record: &Value) -> Result<(), IngestError> {
        let bad = |reason| BadRecord { line: self.count as u64 + 1, offset: 0, reason };
        let Value::Object(members) = record else { return Err(bad(BadReason::NotAnObject).into()) };
        if depth(record) > self.limits.depth_max {
            return Err(bad(BadReason::TooDeep { limit: self.limits.depth_max }).into());
        }
        self.bytes += self.width;
        for (column, cells) in self.columns.iter().zip(&mut self.cells) {
            self.bytes += cells.push(member(members, &column.name)) as u64;
        }
        self.count += 1;
        if self.bytes > self.limits.shaped_bytes_max {
            return Err(IngestError::BodyTooLarge { limit: self.limits.shaped_bytes_max, when: "in its stream's columns" });
        }
        if self.bytes > self.granted {
            let more = (self.bytes - self.granted).max(ROOM_STEP);
            (self.room)(more)?;
            self.granted += more;
        }
        Ok(())
    }

    fn take<E: serde::de::Error>(&mut self, record: &Value) -> Result<(), E> {
        self.push(record).map_err(|error| {
            self.failed = Some(error);
            E::custom("")
        })
    }
}

impl<'de> DeserializeSeed<'de> for &mut Rows<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Rows<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<Value>()? {
            self.take(&record)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut record = Map::new();
        while let Some((name, value)) = members.next_entry()? {
            record.insert(name, value);
        }
        self.take(&Value::Object(record))
    }
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
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Int => Self::Int(Int32Builder::new()),
            ColumnType::Long => Self::Long(Int64Builder::new()),
            ColumnType::Real => Self::Real(Float64Builder::new()),
            ColumnType::DateTime => Self::Time(TimestampNanosecondBuilder::new().with_timezone("UTC")),
            ColumnType::Guid => Self::Guid(StringViewBuilder::new()),
            ColumnType::Dynamic => Self::Dynamic(StringViewBuilder::new()),
            ColumnType::String | ColumnType::TimeSpan | ColumnType::Decimal => Self::Text(StringViewBuilder::new()),
        }
    }

    /// Bytes of a cell without a value: a text's are the view of it.
    const fn width(kind: ColumnType) -> u64 {
        match kind {
            ColumnType::Bool => 1,
            ColumnType::Int => 4,
            ColumnType::Long | ColumnType::Real | ColumnType::DateTime => 8,
            _ => 16,
        }
    }

    /// Puts a value in its place. Bytes that it takes beyond the cell.
    fn push(&mut self, value: Option<&Value>) -> usize {
        let value = value.unwrap_or(&Value::Null);
        match self {
            Self::Bool(cells) => cells.append_option(bool_of(value)),
            Self::Int(cells) => cells.append_option(long_of(value).and_then(|n| i32::try_from(n).ok())),
            Self::Long(cells) => cells.append_option(long_of(value)),
            Self::Real(cells) => cells.append_option(real_of(value)),
            Self::Time(cells) => cells.append_option(time_of(value)),
            Self::Text(cells) => return text(cells, text_of(value)),
            Self::Guid(cells) => return text(cells, value.as_str().and_then(guid_of).map(Cow::Owned)),
            Self::Dynamic(cells) => return text(cells, dynamic_of(value).map(Cow::Owned)),
        }
        0
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

fn text(cells: &mut StringViewBuilder, text: Option<Cow<'_, str>>) -> usize {
    let beyond = text.as_ref().map_or(0, |text| if text.len() > INLINE_VIEW { text.len() } else { 0 });
    cells.append_option(text);
    beyond
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
        let limits = RequestLimits { depth_max: 8, ..RequestLimits::default() };
        let batch = typed(body.as_bytes(), &columns(of), &limits, &mut |_| Ok(()))?;
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

    #[test]
    fn many_records_times_many_columns_are_bounded_as_they_are_made() {
        let names: Vec<String> = (0..500).map(|n| format!("c{n}")).collect();
        let wide: Vec<(&str, ColumnType)> = names.iter().map(|name| (&**name, ColumnType::String)).collect();
        let limits = RequestLimits { shaped_bytes_max: 4 << 20, ..RequestLimits::default() };
        let mut asked = 0;
        let body = format!("[{}]", vec!["{}"; 100_000].join(","));
        let refused = typed(body.as_bytes(), &columns(&wide), &limits, &mut |more| {
            asked += more;
            Ok(())
        });
        assert!(matches!(refused, Err(IngestError::BodyTooLarge { .. })));
        assert!(asked <= limits.shaped_bytes_max + ROOM_STEP, "{asked}");
        let full = || IngestError::Overloaded { what: "bytes", retry_after_s: 1 };
        let refused = typed(body.as_bytes(), &columns(&wide[..2]), &limits, &mut |_| Err(full()));
        assert!(matches!(refused, Err(IngestError::Overloaded { .. })));
        // What a value takes beside its cell counts, too.
        let long = format!("[{}]", vec![format!("{{\"c0\":\"{}\"}}", "x".repeat(1_000)); 5_000].join(","));
        let refused = typed(long.as_bytes(), &columns(&wide[..1]), &limits, &mut |_| Ok(()));
        assert!(matches!(refused, Err(IngestError::BodyTooLarge { .. })));
    }
}
