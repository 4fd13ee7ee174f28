//! Why something could not be written down, or read again.

use strongroom_catalog::CatalogError;
use strongroom_model::ErrorKind;

/// Why something could not be written down, or read again.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum AuditError {
    /// The disk refused.
    #[error("the audit file: {doing} failed")]
    Disk {
        doing: &'static str,
        #[source]
        source: std::io::Error,
    },
    /// The chain is not what was written: somebody changed, cut or took away a part of it, or the disk did.
    #[error("the audit chain is damaged: {why}; see strongroom audit verify")]
    Damaged { why: String },
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Nothing is wrong with it.
    #[error("nothing is wrong with the audit chain: it stays as it is")]
    Whole,
    /// The audit is closed, or its task ended.
    #[error("nothing can be written into the audit chain any more: the server is stopping")]
    Closed,
    /// A setting is out of its bounds.
    #[error("{name} is {value}, allowed are {min} to {max}")]
    Setting { name: &'static str, value: u64, min: u64, max: u64 },
}

impl AuditError {
    pub(super) fn disk(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::Disk { doing, source }
    }

    pub(super) fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged { why: why.into() }
    }

    /// What kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Disk { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => ErrorKind::Full,
            Self::Disk { .. } | Self::Closed => ErrorKind::Unavailable,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Catalog(error) => error.kind(),
            Self::Whole => ErrorKind::Conflict,
            Self::Setting { .. } => ErrorKind::Invalid,
        }
    }

    /// The stable code a client sees.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Disk { .. } | Self::Closed => "AuditUnavailable",
            Self::Damaged { .. } => "AuditDamaged",
            Self::Catalog(error) => error.code(),
            Self::Whole => "Conflict",
            Self::Setting { .. } => "InvalidParameter",
        }
    }
}
