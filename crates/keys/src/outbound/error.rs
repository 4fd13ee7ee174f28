//! Why a call came to nothing, as codes.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::AddressClass;

/// Why no answer came. Never carries what the other side said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundError {
    /// The address is none that may be called: its scheme, user, fragment, host or port.
    #[error("the address may not be called: {0}")]
    BadUri(&'static str),
    /// It leads where we do not go.
    #[error("the address is {0} and not on the allow list")]
    Blocked(AddressClass),
    /// The name has no address.
    #[error("the name did not resolve")]
    Dns,
    /// Nobody listens.
    #[error("the connection was refused")]
    Refused,
    /// The connection broke.
    #[error("the connection broke")]
    Reset,
    /// It took too long.
    #[error("the call took too long")]
    Timeout,
    /// The other side is not who it should be, or does not speak TLS.
    #[error("the TLS connection could not be made")]
    Tls,
    /// The answer is larger than any that is of use.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer is no HTTP.
    #[error("the answer is malformed")]
    Malformed,
}

impl OutboundError {
    /// The stable word for it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadUri(_) => "BadUri",
            Self::Blocked(_) => "AddressBlocked",
            Self::Dns => "Dns",
            Self::Refused => "ConnectionRefused",
            Self::Reset => "ConnectionReset",
            Self::Timeout => "Timeout",
            Self::Tls => "Tls",
            Self::TooLarge => "AnswerTooLarge",
            Self::Malformed => "Malformed",
        }
    }

    /// Sorts the client's error by what lies at its root.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        let mut broke = error.is_connect() || error.is_body();
        let mut cause = error.source();
        while let Some(found) = cause {
            if found.is::<rustls::Error>() {
                return Self::Tls;
            }
            let io = found.downcast_ref::<io::Error>();
            match io.map(io::Error::kind) {
                Some(io::ErrorKind::ConnectionRefused) => return Self::Refused,
                Some(io::ErrorKind::TimedOut) => return Self::Timeout,
                Some(_) => broke = true,
                None => {}
            }
            // The source of an I/O error is what lies behind its inner error, not that error itself.
            cause = match io.and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => found.source(),
            };
        }
        // A parser's complaint comes without a broken connection.
        if broke { Self::Reset } else { Self::Malformed }
    }
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundConfigError {
    /// Neither a network, an address nor `host:port`.
    #[error("`{entry}` in the allow list is neither a network, an address nor host:port")]
    Allow {
        /// The entry.
        entry: String,
    },
    /// A certificate file could not be read.
    #[error("the certificate file {} could not be read", file.display())]
    CaFile {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate, or none that can be trusted as an authority.
    #[error("no usable certificate in the PEM")]
    Certificate,
    /// Not `http://ADDRESS` of this machine or its host.
    #[error("a metadata service is http://ADDRESS[:PORT] with a link-local or loopback address")]
    Metadata,
    /// The TLS library refused its own defaults.
    #[error("TLS could not be set up")]
    Tls,
}
