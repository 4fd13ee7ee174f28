//! What a block's object is called: ids only, so a listing tells no names.

use std::fmt;
use std::str::FromStr;

use object_store::path::Path;
use strongroom_model::{AccountId, ObjectId, TableId, WorkspaceId};

/// Where a block lies in the object store: `{account}/{workspace}/{table}/{window}/{object}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The storage account whose AEK sealed it.
    pub account: AccountId,
    /// The workspace whose rows it holds.
    pub workspace: WorkspaceId,
    /// The table whose rows it holds.
    pub table: TableId,
    /// Start of its window, seconds since 1970 UTC.
    pub window_start: i64,
    /// The block itself.
    pub object: ObjectId,
}

/// A text that names no block: another kind of object, or not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the key of a block")]
pub struct KeyError;

impl ObjectKey {
    /// The key as the object store takes it.
    #[must_use]
    pub fn path(&self) -> Path {
        Path::from(self.to_string())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}/{}", self.account, self.workspace, self.table, self.window_start, self.object)
    }
}

impl FromStr for ObjectKey {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [account, workspace, table, window, object] = parts[..] else { return Err(KeyError) };
        let key = Self {
            account: account.parse().map_err(|_| KeyError)?,
            workspace: workspace.parse().map_err(|_| KeyError)?,
            table: table.parse().map_err(|_| KeyError)?,
            window_start: window.parse().map_err(|_| KeyError)?,
            object: object.parse().map_err(|_| KeyError)?,
        };
        // One object, one name: other spellings of the same ids (upper case, `+0`) are not ours.
        if key.to_string() == text { Ok(key) } else { Err(KeyError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written_and_in_no_other_spelling() {
        let key = ObjectKey {
            account: AccountId::mint(1, [0xab; 10]),
            workspace: WorkspaceId::mint(2, [2; 10]),
            table: TableId::mint(3, [3; 10]),
            window_start: -86_400,
            object: ObjectId::mint(4, [4; 10]),
        };
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(key.path().as_ref(), text);
        assert_eq!(text.to_uppercase().parse::<ObjectKey>(), Err(KeyError));
        assert_eq!(format!("{text}/more").parse::<ObjectKey>(), Err(KeyError));
        assert_eq!(text.replace("-86400", "+86400").parse::<ObjectKey>(), Err(KeyError));
        assert_eq!("keys/a/b".parse::<ObjectKey>(), Err(KeyError));
    }
}
