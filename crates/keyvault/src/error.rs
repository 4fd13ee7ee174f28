//! Why a vault did not open.

use std::io;
use std::path::{Path, PathBuf};

use strongroom_model::ErrorKind;

/// Why there is no vault. Printed once, by whoever wanted one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultServerError {
    /// A setting is out of its bounds.
    #[error("vault configuration: {0}")]
    Config(&'static str),
    /// A file or directory could not be used.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another vault has the directory.
    #[error("another vault (process {holder}) runs on {}; stop it, or give this one a directory of its own", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The other's process id.
        holder: String,
    },
    /// The root key cannot be used.
    #[error("vault root key {}: {problem}", path.display())]
    RootKey {
        /// Where it lies or should lie.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// Something in the directory is not what this vault wrote.
    #[error("{}: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The admin token given cannot be one.
    #[error("a vault's admin token has 16 to 256 visible ASCII characters")]
    AdminToken,
    /// No certificate could be made.
    #[error("tls: {0}")]
    Tls(String),
}

impl VaultServerError {
    pub(crate) fn directory(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Directory { path: path.to_owned(), source }
    }

    /// What kind of error it is.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(_) | Self::AdminToken | Self::RootKey { .. } => ErrorKind::Invalid,
            Self::Locked { .. } => ErrorKind::Conflict,
            Self::Corrupt { .. } => ErrorKind::Corrupt,
            Self::Directory { .. } | Self::Tls(_) => ErrorKind::Internal,
        }
    }
}
