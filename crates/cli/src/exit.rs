//! How a command ended, as a number and as a sentence.

use std::fmt;

/// Why a command did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Something went wrong here or in the server. Exit code 1.
    Failed(String),
    /// The arguments do not fit together. Exit code 2.
    Usage(String),
    /// The server said no: a 4xx. Exit code 3.
    Refused(String),
    /// The server is not there, or has no room or time for now. Exit code 4.
    Unreachable(String),
    /// Some of it was done. Exit code 5.
    Partly(String),
    /// Whoever read our output has gone; nothing is wrong. Exit code 0.
    ClosedPipe,
}

impl Failure {
    /// The process's exit code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
            Self::Unreachable(_) => 4,
            Self::Partly(_) => 5,
        }
    }

    /// The same, of something of which a part was done before.
    #[must_use]
    pub fn after_some(self, done: &str) -> Self {
        match self {
            Self::ClosedPipe => Self::ClosedPipe,
            other => Self::Partly(format!("{other}\n{done}")),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Refused(text) | Self::Unreachable(text) | Self::Partly(text) => {
                f.write_str(text)
            }
            Self::ClosedPipe => f.write_str("the output was closed"),
        }
    }
}

impl std::error::Error for Failure {}
