//! What becomes of rows that come while their key is taken away.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a workspace wants done with new rows while its cluster's key is revoked. (While a vault does not answer, or nobody knows
/// what it means, rows are kept sealed whatever is said here: dropping cannot be taken back.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhileRevoked {
    /// Nothing is taken, and who sends is told so: agents keep what they have and try again.
    #[default]
    Refuse,
    /// Taken and sealed to a key that nobody here has: readable when the customer gives theirs back.
    Seal,
    /// Taken and thrown away, counted.
    Drop,
}

impl WhileRevoked {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Refuse, Self::Seal, Self::Drop];

    /// `refuse`, `seal` or `drop`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Seal => "seal",
            Self::Drop => "drop",
        }
    }
}

impl fmt::Display for WhileRevoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// None of the three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is refuse, seal or drop")]
pub struct NoSuchPolicy;

impl FromStr for WhileRevoked {
    type Err = NoSuchPolicy;

    fn from_str(text: &str) -> Result<Self, NoSuchPolicy> {
        Self::ALL.into_iter().find(|policy| policy.as_str() == text).ok_or(NoSuchPolicy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_one_of_three_words_and_refuses_unless_told_otherwise() {
        for policy in WhileRevoked::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!("Drop".parse::<WhileRevoked>(), Err(NoSuchPolicy));
        assert_eq!(WhileRevoked::default(), WhileRevoked::Refuse);
    }
}
