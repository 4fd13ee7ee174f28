//! Names people give: checked once at the edge, a type from there on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MAX_NAME_BYTES: usize = 128;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a {what} name is empty")]
    Empty {
        /// `table`, `workspace` or `column`.
        what: &'static str,
    },
    /// Over the limit of 128 bytes.
    #[error("the {what} name is {bytes} bytes long, at most {MAX_NAME_BYTES} are allowed")]
    TooLong {
        /// `table`, `workspace` or `column`.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A character that is not allowed there.
    #[error("the {what} name has {found:?} at byte {at}; allowed are {allowed}")]
    BadCharacter {
        /// `table`, `workspace` or `column`.
        what: &'static str,
        /// The offending character.
        found: char,
        /// Where it stands.
        at: usize,
        /// What would have been allowed.
        allowed: &'static str,
    },
}

fn check_length(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong { what, bytes: text.len() });
    }
    Ok(())
}

fn check_chars(what: &'static str, text: &str, allowed: &'static str, ok: impl Fn(usize, char) -> bool) -> Result<(), NameError> {
    check_length(what, text)?;
    match text.char_indices().find(|&(at, c)| !ok(at, c)) {
        Some((at, found)) => Err(NameError::BadCharacter { what, found, at, allowed }),
        None => Ok(()),
    }
}

/// Checks a column name: 1 to 128 bytes, no control characters. Case counts.
///
/// # Errors
/// [`NameError`] naming the first thing wrong.
pub fn check_column_name(text: &str) -> Result<(), NameError> {
    check_chars("column", text, "anything but control characters", |_, c| !c.is_control())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $allowed:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check_chars($what, text, $allowed, $ok)?;
                Ok(Self(text.to_owned()))
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A table's name: a letter or `_`, then letters, digits and `_`. Case counts.
    TableName, "table", "ASCII letters, digits and _, not starting with a digit",
    |at: usize, c: char| c == '_' || c.is_ascii_alphabetic() || (at > 0 && c.is_ascii_digit())
}
name! {
    /// A workspace's name: a letter or digit, then letters, digits, `-`, `_` and `.`. Compared without case.
    WorkspaceName, "workspace", "ASCII letters, digits, '-', '_' and '.', starting with a letter or digit",
    |at: usize, c: char| c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_says_what_is_wrong_and_where() {
        let error = "9lives".parse::<TableName>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the table name has '9' at byte 0; allowed are ASCII letters, digits and _, not starting with a digit"
        );
        assert!("".parse::<WorkspaceName>().is_err());
        assert!("a".repeat(129).parse::<TableName>().is_err());
        assert!("../etc".parse::<WorkspaceName>().is_err());
        assert!("AppLogs_CL".parse::<TableName>().is_ok());
        assert!(check_column_name("has space").is_ok());
        assert!(check_column_name("a\nb").is_err());
    }
}
