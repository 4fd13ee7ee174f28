//! Why something did not seal or open.

use strongroom_model::{Epoch, ErrorKind, ObjectId, WorkspaceId};

/// Why a guard does not give its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// The lease ran out: nobody has proved lately that the key may be used.
    #[error("the lease on key {} has ended", epoch.aek)]
    Expired {
        /// The epoch whose key it is.
        epoch: Epoch,
    },
    /// The key was taken away; its bytes are wiped.
    #[error("key {} was taken away", epoch.aek)]
    Killed {
        /// The epoch whose key it is.
        epoch: Epoch,
    },
    /// No secret of this workspace was installed in the guard.
    #[error("no secret of workspace {workspace} is loaded under key {}", epoch.aek)]
    NoWorkspace {
        /// The guard's epoch.
        epoch: Epoch,
        /// The workspace asked for.
        workspace: WorkspaceId,
    },
    /// Two layers were asked for, and the account has no infrastructure key.
    #[error("no infrastructure key is loaded beside key {}", epoch.aek)]
    NoInfrastructureKey {
        /// The guard's epoch.
        epoch: Epoch,
    },
}

impl GuardError {
    /// [`ErrorKind::KeyRevoked`] once killed, [`ErrorKind::Unavailable`] once expired, else our own mistake.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Expired { .. } => ErrorKind::Unavailable,
            Self::Killed { .. } => ErrorKind::KeyRevoked,
            Self::NoWorkspace { .. } | Self::NoInfrastructureKey { .. } => ErrorKind::Internal,
        }
    }
    /// The stable code clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Expired { .. } => "KeyVaultUnavailable",
            Self::Killed { .. } => "CustomerKeyRevoked",
            Self::NoWorkspace { .. } | Self::NoInfrastructureKey { .. } => "InternalError",
        }
    }
}

/// Why something was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The guard does not give its keys.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The header names another account or AEK than the guard holds, or a kind or layer this call does not seal.
    #[error("the header of object {object} does not fit the key it is to be sealed under")]
    WrongHeader {
        /// The object.
        object: ObjectId,
    },
}

impl SealError {
    /// The guard's kind, or our own mistake.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Guard(error) => error.kind(),
            Self::WrongHeader { .. } => ErrorKind::Internal,
        }
    }
    /// The stable code clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Guard(error) => error.code(),
            Self::WrongHeader { .. } => "InternalError",
        }
    }
}

/// Why something did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The guard does not give its keys.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// Its header says it belongs elsewhere: another object, table, window, workspace, account or epoch.
    #[error("object {object} is not what lies in its place")]
    WrongPlace {
        /// The object that was expected.
        object: ObjectId,
    },
    /// It was not sealed under this key for this place, or its first bytes were changed.
    #[error("object {object} was not sealed under this key for this place")]
    NotCommitted {
        /// The object.
        object: ObjectId,
    },
    /// Changed, moved or foreign bytes; they look alike on purpose.
    #[error("object {object} chunk {chunk} failed authentication")]
    NotAuthentic {
        /// The object.
        object: ObjectId,
        /// Which chunk, counted from 0; for a WAL record its position.
        chunk: u64,
    },
    /// Not a length that sealing can give, or fewer bytes than asked for.
    #[error("object {object} has {len} bytes, which is no whole sealed object or not the range asked for")]
    Truncated {
        /// The object.
        object: ObjectId,
        /// How many bytes there were.
        len: u64,
    },
    /// A newer build wrote it, or it is nothing of ours.
    #[error("no {what} this build can read (found {found})")]
    UnknownFormat {
        /// What was looked for.
        what: &'static str,
        /// The value found.
        found: u32,
    },
}

impl OpenError {
    /// [`ErrorKind::Corrupt`], or the guard's kind.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Guard(error) => error.kind(),
            _ => ErrorKind::Corrupt,
        }
    }
    /// The stable code clients see: `IntegrityError`, or the guard's.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Guard(error) => error.code(),
            _ => "IntegrityError",
        }
    }
}
