//! What kind of trouble an error is: all that retries and the gateway look at.

/// The kind of an error. The gateway maps it to a status in one table; retries read nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller sent something that cannot be right. 400.
    Invalid,
    /// No token, or one nobody knows. 401.
    Unauthenticated,
    /// A known caller without the right. 403.
    Forbidden,
    /// The customer took the key away. 403.
    KeyRevoked,
    /// Nothing there, or nothing this caller may know of. 404.
    NotFound,
    /// It clashes with what is there. 409.
    Conflict,
    /// More bytes, rows or columns than allowed. 413.
    TooLarge,
    /// A content type or encoding we do not speak. 415.
    Unsupported,
    /// A quota or queue is full; try again later. 429.
    Overloaded,
    /// Our own mistake. 500.
    Internal,
    /// Stored bytes are not what was sealed. 500.
    Corrupt,
    /// Something needed is away for now. 503.
    Unavailable,
    /// It took longer than allowed. 504.
    TimedOut,
    /// No room on disk. 507.
    Full,
}

impl ErrorKind {
    /// Whether the same call may succeed later without anybody changing it.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Overloaded | Self::Unavailable | Self::TimedOut | Self::Full)
    }
}
