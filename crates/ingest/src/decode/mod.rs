//! From a body's bytes to Arrow columns in one pass.
//!
//! Pure: bytes, the table's columns and an arrival time in, a batch out. Typing is total: every valid JSON object
//! becomes a row.
//! ```text
//! body ─split─▶ record ─simd-json tape─▶ keys matched to columns ─▶ own builders (columns in first-seen order) ─▶ batch
//! ```
//!
//! # Typing
//! | JSON | column |
//! |---|---|
//! | integer within i64 | `long`; a real column takes it as real |
//! | any other number | `real`; a long column that meets one becomes real; beyond ±1.797e308 it saturates there |
//! | string | `string`; nothing is guessed from its text |
//! | true, false | `bool` |
//! | object, array | `dynamic`: compact JSON text |
//! | null | nothing: no column, no value |
//!
//! In a body whose names end in what their values are ([`Format::Suffixed`]) the ending decides for a new column, if the value can lie
//! there: `_t` datetime, `_g` guid, `_d` real.
//!
//! A value that its column cannot hold goes to a typed sibling (`name_s`, `name_d`, `name_b`, `name_dyn`), so a row is
//! never lost. A `dynamic` column takes everything. After 500 columns (`columns_max`), what has no column, and what finds
//! its sibling's cell taken, goes under its own name into the one `dynamic` column [`OVERFLOW_COLUMN`]. Of a key that
//! comes twice in a record the last value counts. Control characters in names become `_`, an empty name becomes `_`, and
//! `\u` escapes that name half a surrogate pair become U+FFFD.
//!
//! # Time
//! `TimeGenerated` is the field named by `time_field`, else the field `TimeGenerated`, else the arrival; see [`time`]
//! for the forms it takes. A time more than two days ahead, or one that cannot be read, gives way to the arrival; what
//! the field `TimeGenerated` said is then kept as text in `TimeGenerated_s` (another time field keeps its own column
//! anyway). Times outside 1677–2262 saturate.

mod column;
mod json;
mod repair;
mod rows;
mod split;
#[cfg(test)]
mod tests;
pub mod time;

use std::borrow::Cow;

use arrow::array::RecordBatch;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, Tape};
use strongroom_buffer::windows_of;
use strongroom_model::{Column, TableSchema};

pub use rows::OVERFLOW_COLUMN;

use crate::{BadReason, BadRecord, Format, IngestError, OnError, RequestLimits};
use rows::Rows;
use split::{Piece, Split};

/// The column that plain lines become.
pub const RAW_COLUMN: &str = "RawData";

/// How a body is to be read.
#[derive(Clone, Copy, Debug)]
pub struct DecodeOptions<'a> {
    /// What it is made of.
    pub format: Format,
    /// The field that holds a row's time, if it is not `TimeGenerated`.
    pub time_field: Option<&'a str>,
    /// When the request came, nanoseconds since 1970.
    pub arrival: i64,
    /// What to do about bad records.
    pub on_error: OnError,
    /// How much of everything.
    pub limits: &'a RequestLimits,
}

/// A record that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Where it stands and why.
    pub bad: BadRecord,
    /// Its text, cut to `rejected_bytes_max`; bytes that are not UTF-8 read U+FFFD.
    pub raw: String,
}

/// A body as columns.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The rows, in the order of the body: `TimeGenerated` first, then the columns that have a value.
    pub batch: RecordBatch,
    /// The table's columns with these rows in it.
    pub schema: TableSchema,
    /// Columns the table did not have before.
    pub added: Vec<Column>,
    /// Whether `schema` is another than before: columns were added or widened.
    pub changed: bool,
    /// Records that were not taken ([`OnError::Skip`] only).
    pub rejects: Vec<Reject>,
}

/// Reads a body into columns, given the columns its table has.
///
/// # Errors
/// [`IngestError::BadRecord`] for the first bad record ([`OnError::Refuse`]), [`IngestError::TooManyBadRecords`]
/// ([`OnError::Skip`]), [`IngestError::BadBody`] if a JSON array has no end, [`IngestError::TooSparse`],
/// [`IngestError::TooManyWindows`].
pub fn decode(body: &[u8], schema: &TableSchema, options: &DecodeOptions<'_>) -> Result<Decoded, IngestError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut rows = Rows::new(schema, options, memchr::memchr_iter(b'\n', body).count() + 1);
    let mut reader = Reader::new(options);
    let mut rejects: Vec<Reject> = Vec::new();
    let mut pieces = Split::new(body, options.format);
    let mut first = true;
    while let Some(piece) = pieces.next() {
        let piece = piece?;
        let outcome = match options.format {
            Format::Json | Format::Suffixed => reader.record(piece.bytes, &mut rows),
            Format::Lines => line(piece.bytes, options.limits, &mut rows),
        };
        if rows.is_too_sparse() {
            return Err(IngestError::TooSparse { limit: options.limits.cells_max });
        }
        let Err(fault) = outcome else {
            first = false;
            continue;
        };
        // One object printed over many lines is one record all the same.
        if std::mem::take(&mut first)
            && options.format != Format::Lines
            && let Some(whole) = pieces.whole_if_longer(&piece)
            && reader.record(whole, &mut rows).is_ok()
        {
            break;
        }
        let bad = BadRecord { line: piece.line, offset: piece.offset as u64 + fault.at as u64, reason: fault.reason };
        if options.on_error == OnError::Refuse {
            return Err(bad.into());
        }
        if rejects.len() >= options.limits.rejected_records_max {
            return Err(IngestError::TooManyBadRecords { limit: options.limits.rejected_records_max, first: rejects[0].bad });
        }
        rejects.push(Reject { bad, raw: excerpt(&piece, options.limits.rejected_bytes_max) });
    }
    let decoded = rows.finish(rejects)?;
    if windows_of(&decoded.batch, options.arrival).len() > options.limits.windows_max {
        return Err(IngestError::TooManyWindows { limit: options.limits.windows_max });
    }
    Ok(decoded)
}

/// Decodes arbitrary bytes in every way there is and checks what must always hold: what fuzzers call.
///
/// # Panics
/// If a rule is broken.
pub fn fuzz_decode(data: &[u8]) {
    let limits = RequestLimits { columns_max: 8, ..RequestLimits::default() };
    for format in [Format::Json, Format::Lines, Format::Suffixed] {
        for on_error in [OnError::Refuse, OnError::Skip] {
            let options = DecodeOptions { format, time_field: Some("t"), arrival: 1_700_000_000_000_000_000, on_error, limits: &limits };
            let Ok(first) = decode(data, &TableSchema::new(), &options) else { continue };
            assert!(first.schema.columns.len() <= limits.columns_max + 1, "more columns than allowed");
            assert_eq!(first.batch.column(0).null_count(), 0, "a row without a time");
            for field in first.batch.schema().fields() {
                assert!(first.schema.column(field.name()).is_some(), "a column the schema does not know");
            }
            let again = decode(data, &first.schema, &options).expect("the same body onto its own schema");
            assert_eq!(again.schema, first.schema, "the same body changes its own schema");
            assert_eq!(again.batch.num_rows(), first.batch.num_rows());
            assert_eq!(again.rejects, first.rejects);
        }
    }
}

/// What is wrong with a record, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    at: usize,
    reason: BadReason,
}

fn excerpt(piece: &Piece<'_>, limit: usize) -> String {
    String::from_utf8_lossy(&piece.bytes[..piece.bytes.len().min(limit)]).into_owned()
}

fn line(bytes: &[u8], limits: &RequestLimits, rows: &mut Rows<'_>) -> Result<(), Fault> {
    if bytes.len() > limits.record_bytes_max {
        return Err(Fault { at: 0, reason: BadReason::TooLarge { limit: limits.record_bytes_max } });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Fault { at: error.valid_up_to(), reason: BadReason::InvalidUtf8 })?;
    rows.push_line(text);
    Ok(())
}

/// Parses one record after the other with the same buffers.
struct Reader {
    scratch: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
    depth_max: usize,
    record_bytes_max: usize,
}

impl Reader {
    fn new(options: &DecodeOptions<'_>) -> Self {
        Self {
            scratch: Vec::with_capacity(4_096),
            buffers: Buffers::with_max_depth(4_096, options.limits.depth_max),
            tape: Some(Tape::null()),
            depth_max: options.limits.depth_max,
            record_bytes_max: options.limits.record_bytes_max,
        }
    }

    fn record(&mut self, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), Fault> {
        if bytes.len() > self.record_bytes_max {
            return Err(Fault { at: 0, reason: BadReason::TooLarge { limit: self.record_bytes_max } });
        }
        match self.parse(bytes, rows) {
            Err(fault) if fault.reason == BadReason::NotJson => match repair::repair(bytes) {
                Some(repaired) => self.parse(&repaired, rows).map_err(|_| fault),
                None => Err(fault),
            },
            other => other,
        }
    }

    fn parse(&mut self, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), Fault> {
        // The parser unescapes in place: it works on a copy, so that a refused record can still be shown as it came.
        self.scratch.clear();
        self.scratch.extend_from_slice(bytes);
        self.scratch.resize(bytes.len() + INPUT_PADDING, 0);
        let mut tape: Tape<'_> = self.tape.take().unwrap_or_else(Tape::null);
        let parsed = simd_json::fill_tape_padded(&mut self.scratch, bytes.len(), &mut self.buffers, &mut tape);
        let depth_max = self.depth_max;
        let outcome = match parsed {
            Ok(()) => push(&tape.0, rows),
            Err(error) => Err(Fault { at: error.index().min(bytes.len()), reason: reason(error.error(), bytes, depth_max) }),
        };
        self.tape = Some(tape.reset());
        outcome
    }
}

fn reason(error: &ErrorType, bytes: &[u8], depth_max: usize) -> BadReason {
    match error {
        ErrorType::DepthLimitExceeded => BadReason::TooDeep { limit: depth_max },
        // The parser looks for quotes first and may never come to the bytes that are not UTF-8.
        _ if std::str::from_utf8(bytes).is_err() => BadReason::InvalidUtf8,
        _ => BadReason::NotJson,
    }
}

fn push(nodes: &[Node<'_>], rows: &mut Rows<'_>) -> Result<(), Fault> {
    match nodes.first() {
        Some(Node::Object { .. }) => rows.push(nodes),
        _ => Err(Fault { at: 0, reason: BadReason::NotAnObject }),
    }
}

/// A name that a column can have: what [`strongroom_model::check_column_name`] takes, but for its length.
fn clean(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed("_");
    }
    if name.chars().any(char::is_control) {
        return Cow::Owned(name.chars().map(|c| if c.is_control() { '_' } else { c }).collect());
    }
    Cow::Borrowed(name)
}
