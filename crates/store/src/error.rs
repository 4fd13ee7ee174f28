//! Why an object could not be stored, read or forgotten.

use std::error::Error;
use std::io;

use strongroom_envelope::{GuardError, OpenError};
use strongroom_model::ErrorKind;

/// Why an object could not be stored, read or forgotten.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum StoreError {
    /// The object store answered with an error; whether a put took place is unknown.
    #[error("object {key}: the object store failed")]
    Objects {
        key: String,
        #[source]
        source: object_store::Error,
    },
    /// No such object, though somebody knows its name.
    #[error("object {key} is not in the object store")]
    Missing { key: String },
    /// Another object lies under this name.
    #[error("object {key} exists with other bytes")]
    Exists { key: String },
    /// More was asked for than the object has.
    #[error("object {key}: bytes {start} to {end} are not all there")]
    OutOfRange { key: String, start: u64, end: u64 },
    /// A disk of ours failed.
    #[error("{doing} failed")]
    Disk {
        doing: &'static str,
        #[source]
        source: io::Error,
    },
    /// The key that guards the object may not be used any more.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// A part came back sealed under no key we have.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A task of ours was stopped or panicked.
    #[error("stopped while {doing}")]
    Stopped { doing: &'static str },
}

impl StoreError {
    /// What kind of trouble it is. A full disk is [`ErrorKind::Full`] wherever it shows.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Objects { source, .. } if is_full(source) => ErrorKind::Full,
            Self::Disk { source, .. } if is_full(source) => ErrorKind::Full,
            Self::Objects { .. } | Self::Disk { .. } | Self::Stopped { .. } => ErrorKind::Unavailable,
            Self::Missing { .. } | Self::OutOfRange { .. } => ErrorKind::Corrupt,
            Self::Exists { .. } => ErrorKind::Conflict,
            Self::Guard(error) => error.kind(),
            Self::Open(error) => error.kind(),
        }
    }

    /// The stable code clients see.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Guard(error) => error.code(),
            Self::Open(error) => error.code(),
            Self::Exists { .. } => "ObjectExists",
            Self::Missing { .. } | Self::OutOfRange { .. } => "IntegrityError",
            Self::Objects { .. } | Self::Disk { .. } | Self::Stopped { .. } if self.kind() == ErrorKind::Full => "StorageFull",
            Self::Objects { .. } | Self::Disk { .. } | Self::Stopped { .. } => "StorageUnavailable",
        }
    }

    pub(crate) fn disk(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { doing, source }
    }

    pub(crate) fn objects(key: &impl ToString) -> impl FnOnce(object_store::Error) -> Self {
        let key = key.to_string();
        move |source| match source {
            object_store::Error::NotFound { .. } => Self::Missing { key },
            source => Self::Objects { key, source },
        }
    }
}

/// Whether "no room" stands anywhere in the chain of causes.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && matches!(io.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_one_through_the_object_store() {
        let of = |kind: io::ErrorKind| StoreError::Objects {
            key: "k".into(),
            source: object_store::Error::Generic { store: "local", source: io::Error::from(kind).into() },
        };
        assert_eq!(of(io::ErrorKind::StorageFull).kind(), ErrorKind::Full);
        assert_eq!(of(io::ErrorKind::StorageFull).code(), "StorageFull");
        assert_eq!(of(io::ErrorKind::BrokenPipe).kind(), ErrorKind::Unavailable);
    }
}
