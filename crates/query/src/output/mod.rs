//! Answers as bytes: the Log Analytics JSON shape, CSV, NDJSON and Arrow IPC.
//!
//! [`json`] is complete before it is returned, so its failures are whole error answers. The other three are streams: an error in
//! one must break the connection, since what was sent is not the whole answer.

mod cell;
mod csv;
mod ipc;
mod json;
mod ndjson;
mod shaped;

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use strongroom_model::{ColumnType, ErrorKind};

use crate::{Answer, QueryError};

pub use cell::{format_datetime, format_timespan};
pub use json::{JsonOptions, Rows, json, rows};
pub(crate) use shaped::shaped_lines;

/// An encoded answer as it comes. An error in it must break the connection: what was sent is not the whole answer.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, QueryError>> + Send>>;

/// The .NET type by which Kusto's clients know a column.
#[must_use]
pub const fn net_name(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bool => "System.SByte",
        ColumnType::Int => "System.Int32",
        ColumnType::Long => "System.Int64",
        ColumnType::Real => "System.Double",
        ColumnType::String => "System.String",
        ColumnType::DateTime => "System.DateTime",
        ColumnType::TimeSpan => "System.TimeSpan",
        ColumnType::Decimal => "System.Data.SqlTypes.SqlDecimal",
        ColumnType::Guid => "System.Guid",
        ColumnType::Dynamic => "System.Object",
    }
}

/// Turns batches into bytes, one by one.
trait Encode: Send + 'static {
    /// Appends one batch.
    fn batch(&mut self, batch: &arrow::array::RecordBatch, out: &mut Vec<u8>) -> Result<(), QueryError>;
    /// Appends what comes before the first batch.
    fn start(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError>;
    /// Appends what comes after the last.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), QueryError>;
}

enum Step {
    Start,
    Rows,
    Done,
}

fn encode(answer: Answer, encoder: impl Encode) -> ByteStream {
    Box::pin(futures::stream::unfold((answer, encoder, Step::Start), |(mut answer, mut encoder, step)| async move {
        let mut out = Vec::new();
        let (done, next) = match step {
            Step::Done => return None,
            Step::Start => (encoder.start(&mut out), Step::Rows),
            Step::Rows => match answer.batches.next().await {
                Some(Ok(batch)) => (encoder.batch(&batch, &mut out), Step::Rows),
                Some(Err(error)) => (Err(error), Step::Done),
                None => match answer.stats.partial() {
                    // A stream has no place to say that it was cut: only a broken one tells.
                    Some(why) => (Err(QueryError::new(ErrorKind::TooLarge, "ResultTooLarge", why.message)), Step::Done),
                    None => (encoder.end(&mut out), Step::Done),
                },
            },
        };
        match done {
            Ok(()) => Some((Ok(Bytes::from(out)), (answer, encoder, next))),
            Err(error) => Some((Err(error), (answer, encoder, Step::Done))),
        }
    }))
}

/// RFC 4180 with a header line. Null is an empty field, an empty string a quoted one.
#[must_use]
pub fn csv(answer: Answer) -> ByteStream {
    let encoder = csv::Csv::new(&answer.columns);
    encode(answer, encoder)
}

/// One JSON object a line; nulls left out, `dynamic` as nested JSON.
#[must_use]
pub fn ndjson(answer: Answer) -> ByteStream {
    let encoder = ndjson::Lines::new(&answer.columns);
    encode(answer, encoder)
}

/// An Arrow IPC stream with zstd-compressed buffers.
#[must_use]
pub fn arrow_ipc(answer: Answer) -> ByteStream {
    let encoder = ipc::Ipc::new(&answer.schema);
    encode(answer, encoder)
}
