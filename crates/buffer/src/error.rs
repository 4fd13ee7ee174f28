//! What can go wrong between a record and its ack, and while reading the log back.

use std::io;

use arrow_schema::ArrowError;
use strongroom_envelope::{GuardError, OpenError, SealError};
use strongroom_model::{Epoch, ErrorKind, ObjectId, Position};

/// Why a record was not taken, or why the log could not be read back.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum BufferError {
    /// Less room on disk than the configured reserve. Nothing was written.
    #[error("the log's disk has {free} bytes free, {reserve} are kept in reserve")]
    Full { free: u64, reserve: u64 },
    /// A bounded thing is at its bound. Nothing was written.
    #[error("{what} is at its limit of {limit}")]
    Overloaded { what: &'static str, limit: u64 },
    /// The sealed buffer takes as much of the disk as it may. Nothing was written.
    #[error("what waits sealed for customers' keys has reached its limit of {limit} bytes")]
    SealedFull { limit: u64 },
    /// The outage has lasted longer than requests are buffered. Nothing was written.
    #[error("the key vault has been away for longer than the {} minutes for which requests are kept", limit.as_secs() / 60)]
    OutageOver { limit: std::time::Duration },
    /// One record is larger than the log takes.
    #[error("a record of {bytes} bytes is over the limit of {limit}")]
    TooLarge { bytes: u64, limit: u64 },
    /// The segment could not be written or synced; whether the record is there is not known, it was not acked.
    #[error("log segment {segment} could not be made durable: {cause}")]
    SegmentFailed { segment: ObjectId, cause: io::ErrorKind },
    /// Two segments in a row could not be made durable: nothing more is taken until the process is started again.
    #[error("the log's disk failed twice in a row; nothing more is taken until a restart")]
    Refusing,
    /// The buffer was closed.
    #[error("the buffer is closed")]
    Closed,
    /// The epoch's log has rows that are not in memory (its key was away): see `Buffer::restore`.
    #[error("the log of account {} epoch {} has not been read back yet", epoch.account, epoch.aek)]
    NotReplayed { epoch: Epoch },
    /// Stored bytes are not what was sealed, and later records prove that they once were.
    #[error("log segment {segment} is damaged at byte {offset} (position {}): {why}", position.0)]
    Corrupt { segment: ObjectId, offset: u64, position: Position, why: &'static str },
    /// The key is gone or its lease is over.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The record could not be sealed.
    #[error("a record could not be sealed")]
    Seal(#[source] SealError),
    /// A segment's prefix did not open under its key.
    #[error("log segment {segment} did not open")]
    Open { segment: ObjectId, source: OpenError },
    /// The rows do not fit the log's encoding. The cause may quote column names: it is for the caller alone.
    #[error("the rows could not be encoded")]
    Encode(#[source] ArrowError),
    /// The filesystem failed.
    #[error("the log could not {doing}")]
    Io { doing: &'static str, source: io::Error },
    /// A setting that cannot be right.
    #[error("the buffer's setting {name} {must}")]
    Config { name: &'static str, must: &'static str },
}

impl BufferError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// What retries and the gateway look at.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Full { .. } => ErrorKind::Full,
            Self::Overloaded { .. } => ErrorKind::Overloaded,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::SealedFull { .. }
            | Self::OutageOver { .. }
            | Self::SegmentFailed { .. }
            | Self::Refusing
            | Self::Closed
            | Self::NotReplayed { .. }
            | Self::Io { .. } => ErrorKind::Unavailable,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Guard(error) => error.kind(),
            Self::Seal(error) => error.kind(),
            Self::Open { source, .. } => source.kind(),
            Self::Encode(_) => ErrorKind::Internal,
            Self::Config { .. } => ErrorKind::Invalid,
        }
    }

    /// The stable code a client sees.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full { .. } => "StorageFull",
            Self::Overloaded { .. } => "TooManyRequests",
            Self::TooLarge { .. } => "RequestTooLarge",
            Self::SegmentFailed { .. } | Self::Refusing | Self::Io { .. } => "StorageFailed",
            Self::SealedFull { .. } | Self::OutageOver { .. } => "KeyVaultUnavailable",
            Self::Closed | Self::NotReplayed { .. } => "ServiceUnavailable",
            Self::Corrupt { .. } => "IntegrityError",
            Self::Guard(error) => error.code(),
            Self::Seal(error) => error.code(),
            Self::Open { source, .. } => source.code(),
            Self::Encode(_) => "InternalError",
            Self::Config { .. } => "InvalidConfiguration",
        }
    }
}
