//! Ids: UUIDv7 newtypes, so that listings sort by age and no two kinds can be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// All zero: "none" in the fixed-width fields of a header.
            pub const NIL: Self = Self(Uuid::nil());

            /// Mints an id (UUIDv7, RFC 9562 §5.7) from milliseconds since 1970 and ten random bytes.
            #[must_use]
            pub fn mint(unix_ms: u64, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_ms, &random).into_uuid())
            }
            /// The id that these 16 bytes spell.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
            /// The 16 raw bytes, as headers and key derivations take them.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
            /// Birth in milliseconds since 1970, if this is a UUIDv7.
            #[must_use]
            pub fn unix_ms(&self) -> Option<u64> {
                if self.0.get_version_num() != 7 {
                    return None;
                }
                let b = self.0.as_bytes();
                Some(u64::from_be_bytes([0, 0, b[0], b[1], b[2], b[3], b[4], b[5]]))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

id! {
    /// Names one workspace for ever: a tenant's set of tables, the unit of access.
    WorkspaceId
}
id! {
    /// Names one table of one workspace.
    TableId
}
id! {
    /// Names one storage account: what an AEK belongs to.
    AccountId
}
id! {
    /// Names one account encryption key and so one epoch.
    AekId
}
id! {
    /// Names one sealed object (block, WAL segment, cache record) or one sealed cell's row.
    ObjectId
}
id! {
    /// Names one principal: who a token speaks for.
    PrincipalId
}
id! {
    /// Names one node: a data directory's owner.
    NodeId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_minted_later_sort_later_and_remember_their_birth() {
        let early = ObjectId::mint(1_700_000_000_000, [0xff; 10]);
        let late = ObjectId::mint(1_700_000_000_001, [0; 10]);
        assert!(early < late);
        assert_eq!(late.unix_ms(), Some(1_700_000_000_001));
        assert_eq!(late.to_string().parse::<ObjectId>().unwrap(), late);
        assert_eq!(ObjectId::NIL.unix_ms(), None);
    }
}
