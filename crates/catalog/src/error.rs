//! What can go wrong in the catalog.

use std::path::PathBuf;

use strongroom_model::ErrorKind;

use crate::WriterEpoch;

/// Why the catalog did not do as asked. SQLite's own messages may quote values, so only their result code is kept.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages name the fields")]
#[non_exhaustive]
pub enum CatalogError {
    /// A newer process writes here: stop flushing and compacting, this one's rows are the newer one's to replay.
    #[error("writer {held:?} was fenced off by writer {reigning:?}")]
    Fenced { held: WriterEpoch, reigning: WriterEpoch },
    /// It clashes with what is there.
    #[error("{what} conflicts with what the catalog holds: {why}")]
    Conflict { what: &'static str, why: &'static str },
    /// A table would differ from one that is there in letter case alone.
    #[error("table {name} can't be made: {there} is there, and names of tables may not differ in letter case alone")]
    TableTwin { name: String, there: String },
    /// Something it names is not there.
    #[error("{what} is not in the catalog")]
    NotFound { what: &'static str },
    /// It belongs to something that is not there.
    #[error("{what}: what it belongs to is not in the catalog")]
    Orphan { what: &'static str },
    /// The caller asked for something that cannot be right.
    #[error("{what} is out of bounds")]
    Invalid { what: &'static str },
    /// More than the caller is willing to look at.
    #[error("{found} blocks, at most {limit} are looked at")]
    TooMany { found: u64, limit: u64 },
    /// A block that was live as of the commit that is read was forgotten meanwhile: ask anew.
    #[error("the table as of that commit is gone")]
    SnapshotGone,
    /// The commit was sent and nobody can say whether it was done. Ask again, with the same content.
    #[error("whether {what} was committed is not known")]
    CommitUnknown { what: &'static str },
    /// SQLite refused; its extended result code, if it gave one.
    #[error("{what}: sqlite answered {code}")]
    Sqlite { what: &'static str, code: i32 },
    /// The connection to SQLite broke.
    #[error("{what}: {cause}")]
    Connection { what: &'static str, cause: &'static str },
    /// A stored value is not what this build writes.
    #[error("the catalog holds a bad {what}")]
    BadValue { what: &'static str },
    /// A newer build wrote this file.
    #[error("the catalog {path} has format {found}, this build reads up to {newest}", path = path.display())]
    NewerFormat { path: PathBuf, found: i64, newest: i64 },
    /// The file belongs to another program.
    #[error("{path} is not a strongroom catalog", path = path.display())]
    NotACatalog { path: PathBuf },
    /// A rule that must always hold does not.
    #[error("the catalog breaks a rule: {rule} ({count} times)")]
    Broken { rule: &'static str, count: i64 },
    /// A failpoint fired (tests only).
    #[error("failpoint {point}")]
    Failpoint { point: &'static str },
}

impl CatalogError {
    /// What kind of trouble this is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Fenced { .. } | Self::CommitUnknown { .. } | Self::Connection { .. } | Self::Failpoint { .. } | Self::SnapshotGone => {
                ErrorKind::Unavailable
            }
            Self::TooMany { .. } => ErrorKind::TooLarge,
            Self::Conflict { .. } | Self::TableTwin { .. } => ErrorKind::Conflict,
            Self::NotFound { .. } | Self::Orphan { .. } => ErrorKind::NotFound,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Sqlite { code, .. } => match code & 0xff {
                sqlite::BUSY | sqlite::LOCKED | sqlite::IOERR => ErrorKind::Unavailable,
                sqlite::FULL => ErrorKind::Full,
                sqlite::CORRUPT | sqlite::NOTADB => ErrorKind::Corrupt,
                _ => ErrorKind::Internal,
            },
            Self::BadValue { .. } | Self::NotACatalog { .. } | Self::Broken { .. } => ErrorKind::Corrupt,
            Self::NewerFormat { .. } => ErrorKind::Unsupported,
        }
    }

    /// The stable code a client or an operator sees.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fenced { .. } => "WriterFenced",
            Self::Conflict { .. } => "Conflict",
            Self::TableTwin { .. } => "TableNameConflict",
            Self::NotFound { .. } | Self::Orphan { .. } => "NotFound",
            Self::Invalid { .. } => "InvalidArgument",
            Self::CommitUnknown { .. } => "CommitUnknown",
            Self::TooMany { .. } => "TooManyBlocks",
            Self::SnapshotGone => "SnapshotGone",
            Self::Sqlite { .. } if self.kind() == ErrorKind::Full => "InsufficientStorage",
            Self::Sqlite { .. } | Self::Connection { .. } | Self::Failpoint { .. } => "CatalogUnavailable",
            Self::BadValue { .. } | Self::NotACatalog { .. } | Self::Broken { .. } => "CatalogCorrupt",
            Self::NewerFormat { .. } => "UnsupportedFormat",
        }
    }
}

/// The result codes we tell apart (sqlite.org/rescode.html).
pub(crate) mod sqlite {
    pub(crate) const BUSY: i32 = 5;
    pub(crate) const LOCKED: i32 = 6;
    pub(crate) const IOERR: i32 = 10;
    pub(crate) const CORRUPT: i32 = 11;
    pub(crate) const FULL: i32 = 13;
    pub(crate) const CONSTRAINT_FOREIGNKEY: i32 = 787;
    pub(crate) const CONSTRAINT_PRIMARYKEY: i32 = 1555;
    pub(crate) const CONSTRAINT_UNIQUE: i32 = 2067;
    pub(crate) const NOTADB: i32 = 26;
}
