//! Which key reigned when something was sealed.

use serde::{Deserialize, Serialize};

use crate::{AccountId, AekId};

/// One AEK's reign in one storage account. Everything sealed names its epoch, and compaction never crosses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch {
    /// The storage account.
    pub account: AccountId,
    /// The account encryption key that reigns.
    pub aek: AekId,
}

/// Who can take the key of an epoch away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyClass {
    /// Wrapped by the provider's root key: always there.
    #[serde(rename = "MMK")]
    Mmk,
    /// Wrapped by the customer's key: there while the customer allows it.
    #[serde(rename = "CMK")]
    Cmk,
}

impl KeyClass {
    /// `MMK` or `CMK`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mmk => "MMK",
            Self::Cmk => "CMK",
        }
    }
}
