//! Why an object could not be stored, read or forgotten.

use std::io;

use strongroom_envelope::{GuardError, OpenError, SealError};
use strongroom_model::ErrorKind;

/// Why an object could not be stored, read or forgotten.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum StoreError {
    /// The object store answered with an error.
    #[error("object {key}: the object store failed")]
    Objects { key: String, #[source] source: object_store::Error },
    /// No such object, though somebody knows its name.
    #[error("object {key} is not in the object store")]
    Missing { key: String },
    /// Another object lies under this name.
    #[error("object {key} exists with other bytes")]
    Exists { key: String },
    /// The object is shorter than what is known of it.
    #[error("object {key}: bytes {start} to {end} lie beyond its end")]
    OutOfRange { key: String, start: u64, end: u64 },
    /// The disk that holds the hot cache failed.
    #[error("the hot cache: {doing} failed")]
    Cache { doing: &'static str, #[source] source: io::Error },
    /// The key that guards the object may not be used any more.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A cache key could not be wrapped.
    #[error("the hot cache: a key record could not be sealed")]
    Seal(#[from] SealError),
    /// A cache key record does not open.
    #[error("the hot cache: a key record does not open")]
    Open(#[from] OpenError),
    /// A task of ours panicked or was stopped.
    #[error("the store was stopped while {doing}")]
    Stopped { doing: &'static str },
}
