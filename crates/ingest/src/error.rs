//! Why rows were not taken.

use std::fmt;

use strongroom_model::{ErrorKind, NameError};

/// What is wrong with a record. The text never quotes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadReason {
    /// It does not follow RFC 8259.
    NotJson,
    /// A JSON value, but not an object.
    NotAnObject,
    /// Its bytes are not UTF-8.
    InvalidUtf8,
    /// Objects and arrays nest deeper than allowed.
    TooDeep {
        /// Levels allowed; the record is the first.
        limit: usize,
    },
    /// A field's name is longer than 128 bytes.
    NameTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The record has more bytes than allowed.
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
}

impl BadReason {
    /// A stable short name, for metrics and tests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "NotJson",
            Self::NotAnObject => "NotAnObject",
            Self::InvalidUtf8 => "InvalidUtf8",
            Self::TooDeep { .. } => "TooDeep",
            Self::NameTooLong { .. } => "NameTooLong",
            Self::TooLarge { .. } => "TooLarge",
        }
    }
}

impl fmt::Display for BadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotJson => f.write_str("it is not JSON"),
            Self::NotAnObject => f.write_str("it is JSON but not an object"),
            Self::InvalidUtf8 => f.write_str("it is not UTF-8"),
            Self::TooDeep { limit } => write!(f, "it nests deeper than {limit} levels"),
            Self::NameTooLong { bytes } => write!(f, "a field's name is {bytes} bytes long, at most 128 are allowed"),
            Self::TooLarge { limit } => write!(f, "it has more than {limit} bytes"),
        }
    }
}

/// A record that cannot be taken, and where it stands in the inflated body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("record {line} at byte {offset} was not accepted: {reason}")]
pub struct BadRecord {
    /// Line of an NDJSON or plain body, element of a JSON array; from 1.
    pub line: u64,
    /// Byte of the record's start, or where in it the trouble was found, from 0.
    pub offset: u64,
    /// What is wrong.
    pub reason: BadReason,
}

/// Why a request was refused. Nothing of it was taken.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum IngestError {
    /// One record is bad, so the request is.
    #[error("{0}")]
    BadRecord(#[from] BadRecord),
    /// The body as a whole cannot be split into records.
    #[error("the body is not a JSON array or lines of JSON objects: {what} at byte {offset}")]
    BadBody { what: &'static str, offset: u64 },
    /// Bad records were to be skipped, but there are too many.
    #[error("more than {limit} records were bad, the first: {first}")]
    TooManyBadRecords { limit: usize, first: BadRecord },
    /// Too many bytes on the wire, or once inflated.
    #[error("the body has more than {limit} bytes {when}")]
    BodyTooLarge { limit: u64, when: &'static str },
    /// Many rows with few values each, in many columns.
    #[error("the body's rows times its columns are more than {limit}: send fewer rows at a time")]
    TooSparse { limit: usize },
    /// Rows of too many different times.
    #[error("the rows lie in more than {limit} different hours and days: sort them by time, or send fewer at a time")]
    TooManyWindows { limit: usize },
    /// A column is declared that is there with another type.
    #[error("column {column} of table {table} is there as {is}: a column's type can't be changed")]
    ColumnClash { table: String, column: String, is: &'static str },
    /// The workspace has all the tables it may have.
    #[error("there is no table {table} and the workspace has {limit} already, the most it may have")]
    TooManyTables { table: String, limit: usize },
    /// It grew too much: a bomb, or padding.
    #[error("the body grows more than {limit} times when inflated")]
    RatioTooLarge { limit: u64 },
    /// The compressed stream is damaged, cut short, or asks for too large a window.
    #[error("the {encoding} body cannot be inflated: {what}")]
    BadEncoding { encoding: &'static str, what: &'static str },
    /// A content encoding we do not speak.
    #[error("the body's content encoding is none of identity, gzip, zstd")]
    UnsupportedEncoding,
    /// A name that cannot be one.
    #[error("{0}")]
    Name(#[from] NameError),
    /// A batch id of no or too many bytes.
    #[error("the batch id has {bytes} bytes, 1 to 128 are allowed")]
    BadBatchId { bytes: usize },
    /// The same batch id came before with another table or body.
    #[error("this batch id was used before for another table or body")]
    BatchConflict,
    /// Too many bytes or requests are on their way.
    #[error("too much is on its way in: {what}; try again in {retry_after_s} s")]
    Overloaded { what: &'static str, retry_after_s: u32 },
    /// The table's columns changed faster than this request could follow.
    #[error("the table's columns are changing too fast; try again")]
    SchemaContended,
    /// No such workspace.
    #[error("there is no such workspace")]
    NoWorkspace,
    /// No such table.
    #[error("there is no table {0} in this workspace")]
    NoTable(String),
    /// A table that only the server writes to.
    #[error("the table {table} is written by the server alone")]
    OwnTable { table: &'static str },
    /// The server is going down.
    #[error("the server is stopping")]
    Stopping,
    /// Something of ours gave way. The cause may quote rows: it is for the caller, never for a log.
    #[error("{what} failed")]
    Internal {
        what: &'static str,
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Stored rows are not what the catalog says.
    #[error("{what} do not match the catalog")]
    Corrupt { what: &'static str },
    /// A failpoint fired (tests only).
    #[error("failpoint {point}")]
    Failpoint { point: &'static str },
    /// The rule that rows go through was not followed.
    #[error("{0}")]
    NotShaped(crate::stream::NotShaped),
    #[error(transparent)]
    Key(#[from] strongroom_keys::KeyError),
    #[error(transparent)]
    Catalog(#[from] strongroom_catalog::CatalogError),
    #[error(transparent)]
    Buffer(#[from] strongroom_buffer::BufferError),
    #[error(transparent)]
    Store(#[from] strongroom_store::StoreError),
    #[error(transparent)]
    Seal(#[from] strongroom_envelope::SealError),
    #[error(transparent)]
    Open(#[from] strongroom_envelope::OpenError),
}

impl IngestError {
    /// What retries and the gateway look at.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::BadRecord(_)
            | Self::BadBody { .. }
            | Self::TooManyBadRecords { .. }
            | Self::BadEncoding { .. }
            | Self::Name(_)
            | Self::OwnTable { .. }
            | Self::TooManyWindows { .. }
            | Self::BadBatchId { .. } => ErrorKind::Invalid,
            Self::BodyTooLarge { .. } | Self::RatioTooLarge { .. } | Self::TooSparse { .. } => ErrorKind::TooLarge,
            Self::UnsupportedEncoding => ErrorKind::Unsupported,
            Self::BatchConflict | Self::TooManyTables { .. } | Self::ColumnClash { .. } => ErrorKind::Conflict,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::SchemaContended | Self::Stopping | Self::Failpoint { .. } => ErrorKind::Unavailable,
            Self::NoWorkspace | Self::NoTable(_) => ErrorKind::NotFound,
            Self::Internal { .. } => ErrorKind::Internal,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::NotShaped(error) => error.kind(),
            Self::Key(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
            Self::Buffer(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Seal(error) => error.kind(),
            Self::Open(error) => error.kind(),
        }
    }

    /// The stable code a client sees.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRecord(_) | Self::TooManyBadRecords { .. } => "InvalidRecord",
            Self::BadBody { .. } => "InvalidBody",
            Self::BodyTooLarge { .. } => "BodyTooLarge",
            Self::TooSparse { .. } => "BodyTooSparse",
            Self::TooManyWindows { .. } => "TooManyWindows",
            Self::TooManyTables { .. } => "TooManyTables",
            Self::ColumnClash { .. } => "ColumnTypeConflict",
            Self::RatioTooLarge { .. } => "CompressionRatioTooLarge",
            Self::BadEncoding { .. } => "InvalidContentEncoding",
            Self::UnsupportedEncoding => "UnsupportedContentEncoding",
            Self::Name(_) => "InvalidName",
            Self::BadBatchId { .. } => "InvalidBatchId",
            Self::BatchConflict => "BatchIdConflict",
            Self::Overloaded { .. } => "TooManyRequests",
            Self::SchemaContended => "SchemaContended",
            Self::NoWorkspace => "WorkspaceNotFound",
            Self::NoTable(_) => "TableNotFound",
            Self::OwnTable { .. } => "ReservedTable",
            Self::Stopping => "Stopping",
            Self::Failpoint { .. } => "Failpoint",
            Self::Internal { .. } => "InternalError",
            Self::Corrupt { .. } => "IntegrityError",
            Self::NotShaped(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Buffer(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Seal(error) => error.code(),
            Self::Open(error) => error.code(),
        }
    }

    /// How long to wait before trying again, if this error says so.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u32> {
        match self {
            Self::Overloaded { retry_after_s, .. } => Some(*retry_after_s),
            _ if self.kind().is_transient() => Some(1),
            _ => None,
        }
    }

    pub(crate) fn internal(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal { what, source: Some(Box::new(source)) }
    }
}
