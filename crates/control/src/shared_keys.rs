//! The shared keys of workspaces: two of 64 random bytes, with which senders that know no tokens sign what they send.
//!
//! Minted when they are first asked for, kept as one cell under the provider's root key, and opened for as long as a signature is
//! compared or they are shown. Both count; a signature is compared in constant time.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use strongroom_catalog::{Catalog, SharedKeysRow};
use strongroom_envelope::Mmk;
use strongroom_model::{ObjectId, WorkspaceId};
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::ControlError;

/// Bytes of one key, as Azure has it.
const KEY_BYTES: usize = 64;

/// Two keys, side by side.
type Pair = Zeroizing<[u8; 2 * KEY_BYTES]>;

/// What a workspace's senders sign with, in base64.
pub struct SharedKeyPair {
    /// The first.
    pub primary: Zeroizing<String>,
    /// The other: so that one can be in use while the first is replaced.
    pub secondary: Zeroizing<String>,
}

impl fmt::Debug for SharedKeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKeyPair")
    }
}

/// The shared keys of a catalog's workspaces.
#[derive(Debug)]
pub struct SharedKeys {
    world: World,
    catalog: Catalog,
    mmk: Arc<Mmk>,
}

impl SharedKeys {
    /// Those of a catalog, sealed under `mmk`.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, mmk: Arc<Mmk>) -> Self {
        Self { world, catalog, mmk }
    }

    /// The keys of a workspace; made if it has none.
    ///
    /// # Errors
    /// [`ControlError::Damaged`] if they do not open; what the catalog says.
    pub async fn get(&self, workspace: WorkspaceId) -> Result<SharedKeyPair, ControlError> {
        if let Some(row) = self.catalog.shared_keys(workspace).await? {
            return Ok(shown(&self.open(&row)?));
        }
        let (row, pair) = self.mint(workspace);
        if self.catalog.shared_keys_put(&row, None).await? {
            tracing::info!(%workspace, "shared keys made");
            return Ok(shown(&pair));
        }
        // Somebody else was first.
        let row = self.catalog.shared_keys(workspace).await?.ok_or(ControlError::Damaged { what: "the workspace's shared keys" })?;
        Ok(shown(&self.open(&row)?))
    }

    /// New keys in the place of both; what is signed with the old ones is refused from now on.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if they were replaced meanwhile; what the catalog says.
    pub async fn regenerate(&self, workspace: WorkspaceId) -> Result<SharedKeyPair, ControlError> {
        let old = self.catalog.shared_keys(workspace).await?.map(|row| row.row);
        let (row, pair) = self.mint(workspace);
        if !self.catalog.shared_keys_put(&row, old).await? {
            return Err(ControlError::Conflict { why: "the workspace's shared keys were changed meanwhile" });
        }
        tracing::warn!(%workspace, "shared keys replaced");
        Ok(shown(&pair))
    }

    /// Whether `signature` is the HMAC-SHA256 of `text` under one of the workspace's keys. A workspace that never asked for keys has
    /// none, so nothing is signed with them.
    ///
    /// # Errors
    /// [`ControlError::Damaged`] if they do not open; what the catalog says.
    pub async fn verify(&self, workspace: WorkspaceId, text: &[u8], signature: &[u8]) -> Result<bool, ControlError> {
        let Some(row) = self.catalog.shared_keys(workspace).await? else { return Ok(false) };
        let pair = self.open(&row)?;
        let (primary, secondary) = pair.split_at(KEY_BYTES);
        // Both, always: how long it takes does not say which.
        let (by_primary, by_secondary) = (signed(primary, text, signature), signed(secondary, text, signature));
        Ok(by_primary | by_secondary)
    }

    fn mint(&self, workspace: WorkspaceId) -> (SharedKeysRow, Pair) {
        let mut pair = Pair::new([0; 2 * KEY_BYTES]);
        self.world.rng.fill(&mut pair[..]);
        let (ms, random) = self.world.id_seed();
        let row = ObjectId::mint(ms, random);
        let cell = self.mmk.seal_cell(self.world.rng.as_ref(), row, &pair[..]);
        (SharedKeysRow { workspace, row, cell, changed_ms: self.world.clock.wall().unix_ms() }, pair)
    }

    fn open(&self, row: &SharedKeysRow) -> Result<Pair, ControlError> {
        let damaged = || ControlError::Damaged { what: "the workspace's shared keys" };
        let plain = Zeroizing::new(self.mmk.open_cell(row.row, &row.cell).map_err(|_| damaged())?);
        let mut pair = Pair::new([0; 2 * KEY_BYTES]);
        if plain.len() != pair.len() {
            return Err(damaged());
        }
        pair.copy_from_slice(&plain);
        Ok(pair)
    }
}

fn shown(pair: &Pair) -> SharedKeyPair {
    let (primary, secondary) = pair.split_at(KEY_BYTES);
    SharedKeyPair { primary: Zeroizing::new(STANDARD.encode(primary)), secondary: Zeroizing::new(STANDARD.encode(secondary)) }
}

fn signed(key: &[u8], text: &[u8], signature: &[u8]) -> bool {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a real client signs it: 64 bytes `k`, a body of 1,024 bytes.
    #[test]
    fn the_published_way_of_signing_is_ours() {
        let text = b"POST\n1024\napplication/json\nx-ms-date:Mon, 04 Apr 2016 08:00:00 GMT\n/api/logs";
        let signature = STANDARD.decode("XUx0a4ei0K8cM4D2ldkULOwMzTDpwpE+MFEjRT2yDbY=").unwrap();
        assert!(signed(&[b'k'; 64], text, &signature));
        assert!(!signed(&[b'l'; 64], text, &signature));
        assert!(!signed(&[b'k'; 64], &text[1..], &signature));
        assert!(!signed(&[b'k'; 64], text, &signature[..31]), "no part of a signature is one");
        assert!(!signed(&[b'k'; 64], text, b""));
    }
}
