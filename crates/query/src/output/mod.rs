//! Answers as bytes: the Log Analytics JSON shape, CSV, NDJSON and Arrow IPC.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;

use crate::{Answer, QueryError};

/// An encoded answer as it comes. An error in it must break the connection: what was sent is not the whole answer.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, QueryError>> + Send>>;

/// What to put beside the rows of a JSON answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonOptions {
    /// `statistics`.
    pub statistics: bool,
    /// `render`.
    pub render: bool,
}

/// The whole answer in the Log Analytics shape, complete before it is returned.
///
/// # Errors
/// Whatever ended the query.
pub async fn json(_answer: Answer, _options: JsonOptions) -> Result<Bytes, QueryError> {
    todo!()
}

/// RFC 4180 with a header line.
#[must_use]
pub fn csv(_answer: Answer) -> ByteStream {
    todo!()
}

/// One JSON object a line; `dynamic` as nested JSON.
#[must_use]
pub fn ndjson(_answer: Answer) -> ByteStream {
    todo!()
}

/// An Arrow IPC stream.
#[must_use]
pub fn arrow_ipc(_answer: Answer) -> ByteStream {
    todo!()
}
