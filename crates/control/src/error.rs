//! Why a request to the control plane was not done.

use strongroom_buffer::BufferError;
use strongroom_catalog::CatalogError;
use strongroom_keys::KeyError;
use strongroom_model::{ErrorKind, PrincipalId};
use strongroom_store::StoreError;

use crate::audit::AuditError;
use crate::{Refusal, Said};

/// Why a request to the control plane was not done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum ControlError {
    /// No such token: unknown, expired and malformed ones look alike.
    #[error("the token is not valid")]
    Unauthenticated,
    /// A known caller, none of whose roles allows it there.
    #[error("the client '{name}' with object id '{id}' does not have authorization to perform action '{action}' over scope '{scope}'")]
    Forbidden { name: String, id: PrincipalId, action: String, scope: String },
    /// Absent, or another's: the two are one and the same value.
    #[error("there is no {what} {name}, or you may not see it")]
    NotFound { what: &'static str, name: String },
    /// The name means several.
    #[error("several {what} are named {name}: use the id")]
    Ambiguous { what: &'static str, name: String },
    /// It clashes with what is there.
    #[error("{why}")]
    Conflict { why: &'static str },
    /// It cannot be right.
    #[error("{what}: {why}")]
    Invalid { what: &'static str, why: &'static str },
    /// A number is out of its bounds.
    #[error("{name} is {value}, allowed are {min} to {max}")]
    Setting { name: &'static str, value: u64, min: u64, max: u64 },
    /// There are as many as the settings allow.
    #[error("there are {max} {what} already, the most the settings allow")]
    TooMany { what: &'static str, max: usize },
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A rule of clusters, links and keys was broken.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The keys refused.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The object store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What must not happen unseen could not be written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The log refused.
    #[error(transparent)]
    Log(#[from] BufferError),
    /// Another room refused.
    #[error("{}", .0.message)]
    Elsewhere(Said),
    /// What lies in a storage account could not be reached.
    #[error("the store of storage account {account} does not answer")]
    LinkedStorage { account: String, source: object_store::Error },
    /// Something of ours that should be there and whole is not.
    #[error("{what} is missing or damaged; run `strongroom doctor`")]
    Damaged { what: &'static str },
}

impl ControlError {
    /// What kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unauthenticated => ErrorKind::Unauthenticated,
            Self::Forbidden { .. } => ErrorKind::Forbidden,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Ambiguous { .. } | Self::Conflict { .. } => ErrorKind::Conflict,
            Self::Invalid { .. } | Self::Setting { .. } => ErrorKind::Invalid,
            Self::TooMany { .. } => ErrorKind::Overloaded,
            Self::Refused(refusal) => refusal.kind(),
            Self::Keys(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Elsewhere(said) => said.kind,
            Self::Audit(error) => error.kind(),
            Self::Log(error) => error.kind(),
            Self::LinkedStorage { .. } => ErrorKind::Unavailable,
            Self::Damaged { .. } => ErrorKind::Corrupt,
        }
    }

    /// The stable code a client sees.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "AuthenticationFailed",
            Self::Forbidden { .. } => "AuthorizationFailed",
            Self::NotFound { .. } => "NotFound",
            Self::Ambiguous { .. } => "AmbiguousName",
            Self::Conflict { .. } => "Conflict",
            Self::Invalid { .. } | Self::Setting { .. } => "InvalidParameter",
            Self::TooMany { .. } => "QuotaExceeded",
            Self::Refused(refusal) => refusal.code(),
            Self::Keys(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Elsewhere(said) => said.code,
            Self::Audit(error) => error.code(),
            Self::Log(error) => error.code(),
            Self::LinkedStorage { .. } => "LinkedStorageUnavailable",
            Self::Damaged { .. } => "IntegrityError",
        }
    }

    /// What the text leaves open: a code and a sentence.
    #[must_use]
    pub fn detail(&self) -> Option<(&str, &str)> {
        match self {
            Self::Refused(refusal) => refusal.detail(),
            _ => None,
        }
    }
}
