//! Why a server did not start, or stopped.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;

/// Why there is no server. Printed once, by whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file or directory could not be used.
    #[error("cannot use {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process runs on the data directory.
    #[error("another strongroom (process {holder}) runs on {}; stop it, or give this one a directory of its own with --data-dir", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The other's process id.
        holder: String,
    },
    /// The provider's root key cannot be used.
    #[error("root key {}: {problem}", path.display())]
    RootKey {
        /// Where it lies or should lie.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; give another one with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The embedded vault's address cannot be listened on.
    #[error(
        "the embedded key vault cannot listen on {address}: {source}; give another one with --vault-listen, or start without it with --no-vault"
    )]
    VaultListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The vault's directory is not its own.
    #[error("the embedded key vault's directory {} lies in the {what} directory: who has one would have the other; give another one with --vault-dir", dir.display())]
    VaultInside {
        /// The vault's directory.
        dir: PathBuf,
        /// Which it lies in.
        what: &'static str,
    },
    /// TLS cannot be spoken as configured.
    #[error("TLS: {0}")]
    Tls(String),
    /// A part did not start.
    #[error("the {part} did not start: {source}")]
    Start {
        /// Which.
        part: &'static str,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A part ended by a panic.
    #[error("the {0} ended by a panic; its place is in the log")]
    Panicked(&'static str),
    /// A test's variables do not fit this build.
    #[error("{0}")]
    Failpoints(String),
    /// The log could not be brought to a clean end.
    #[error("the log was not closed cleanly: {0}; acked rows are safe and will be replayed")]
    Close(String),
}

impl ServeError {
    pub(crate) fn directory(path: &Path, source: io::Error) -> Self {
        Self::Directory { path: path.to_owned(), source }
    }

    /// For `map_err`: which part did not start.
    pub(crate) fn start<E: Error + Send + Sync + 'static>(part: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Start { part, source: Box::new(source) }
    }
}
