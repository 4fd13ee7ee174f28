//! A key with all its versions as one sealed text, to be kept elsewhere and brought back to a vault under the same root key.
//!
//! ```text
//! cell under the root key { length of what follows ‖ what is known of the key, JSON ‖ for each version: length ‖ PKCS#8 }
//! ```
//! Lengths are 32 bits, little-endian.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::key::{Key, VersionId};
use crate::refusal::Refusal;
use crate::store::Store;

const FORMAT: u16 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: u16,
    key: Key,
}

/// A key on its way back into the vault.
pub(crate) struct Backup {
    pub(crate) key: Key,
    pub(crate) private: Vec<(VersionId, Zeroizing<Vec<u8>>)>,
}

/// Packs a key up. Blocking: it reads every version's cell.
pub(crate) fn seal(store: &Store, key: &Key) -> Result<Vec<u8>, Refusal> {
    let head = serde_json::to_vec(&Head { format: FORMAT, key: key.clone() }).expect("a key can be written as JSON");
    let private = key.versions.iter().map(|version| store.key(version.id)).collect::<Result<Vec<_>, Refusal>>()?;
    // Of its full length from the start: a buffer that grows leaves copies behind.
    let length = private.iter().map(|pkcs8| 4 + pkcs8.len()).sum::<usize>() + 4 + head.len();
    let mut plain = Zeroizing::new(Vec::with_capacity(length));
    for part in std::iter::once(head.as_slice()).chain(private.iter().map(|pkcs8| pkcs8.as_slice())) {
        plain.extend_from_slice(&u32::try_from(part.len()).expect("a few kilobytes").to_le_bytes());
        plain.extend_from_slice(part);
    }
    Ok(store.seal_backup(&plain))
}

/// Unpacks what [`seal`] packed.
pub(crate) fn open(store: &Store, sealed: &[u8]) -> Result<Backup, Refusal> {
    let wrong = || Refusal::bad("The backup blob is not one of this vault, or was changed.");
    let plain = store.open_backup(sealed).ok_or_else(wrong)?;
    let mut rest = plain.as_slice();
    let head: Head = serde_json::from_slice(part(&mut rest).ok_or_else(wrong)?).map_err(|_| wrong())?;
    if head.format != FORMAT {
        return Err(wrong());
    }
    let mut private = Vec::with_capacity(head.key.versions.len());
    for version in &head.key.versions {
        private.push((version.id, Zeroizing::new(part(&mut rest).ok_or_else(wrong)?.to_vec())));
    }
    rest.is_empty().then_some(Backup { key: head.key, private }).ok_or_else(wrong)
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    *rest = after;
    Some(part)
}
