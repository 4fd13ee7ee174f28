//! Keys as types: wiped on drop, never `Clone`, `Serialize` or `==`; `Debug` prints an id at most.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use strongroom_model::{AekId, WorkspaceId};
use strongroom_world::Rng;

use crate::RecordIds;
use crate::key::Key32;

/// What keys of an epoch are for. The names are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Block,
    Wal,
    Cell,
    CacheShare,
    SealSeed,
}

impl Purpose {
    pub(crate) const ALL: [Self; 5] = [Self::Block, Self::Wal, Self::Cell, Self::CacheShare, Self::SealSeed];

    const fn name(self) -> &'static [u8] {
        match self {
            Self::Block => b"block",
            Self::Wal => b"wal",
            Self::Cell => b"cell",
            Self::CacheShare => b"cache-share",
            Self::SealSeed => b"seal-seed",
        }
    }
}

/// One storage account's root key of one epoch: 32 random bytes. At rest only wrapped.
pub struct Aek {
    id: AekId,
    key: Key32,
}

impl Aek {
    /// A new one.
    #[must_use]
    pub fn generate(id: AekId, rng: &dyn Rng) -> Self {
        Self { id, key: Key32::random(rng) }
    }

    /// One that a vault gave back; the argument's copy is wiped.
    #[must_use]
    pub fn from_bytes(id: AekId, bytes: [u8; 32]) -> Self {
        Self { id, key: Key32::from_bytes(bytes) }
    }

    pub(crate) const fn from_key(id: AekId, key: Key32) -> Self {
        Self { id, key }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> AekId {
        self.id
    }

    /// HMAC-SHA256 under the AEK over `kcv` and all ids: proves later that what a vault unwrapped is what was wrapped, for
    /// this account, cluster and generation.
    #[must_use]
    pub fn key_check_value(&self, ids: &RecordIds) -> [u8; 32] {
        self.check_value(ids).finalize().into_bytes().into()
    }

    /// Whether `found` is the check value; takes the same time whatever differs.
    #[must_use]
    pub fn has_check_value(&self, ids: &RecordIds, found: &[u8; 32]) -> bool {
        self.check_value(ids).verify_slice(found).is_ok()
    }

    fn check_value(&self, ids: &RecordIds) -> Hmac<Sha256> {
        let generation = ids.generation.to_le_bytes();
        self.key.mac(&[b"kcv", ids.cluster.as_bytes(), ids.account.as_bytes(), ids.aek.as_bytes(), &generation])
    }

    /// Lends the bytes to `wrap`, which sends them to the customer's vault: the one place outside this crate they go.
    pub fn expose<T>(&self, wrap: impl FnOnce(&[u8; 32]) -> T) -> T {
        wrap(self.key.expose())
    }

    /// The bytes, for the MMK to wrap.
    pub(crate) const fn key(&self) -> &Key32 {
        &self.key
    }

    /// HKDF-Expand-SHA256, `info` = `aek/v1/` and the purpose's name.
    pub(crate) fn purpose_key(&self, purpose: Purpose) -> Key32 {
        self.key.expand(&[b"aek/v1/", purpose.name()])
    }
}

impl fmt::Debug for Aek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aek").field("id", &self.id).finish_non_exhaustive()
    }
}

macro_rules! opaque {
    ($($name:ident),*) => { $(
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )* };
}
pub(crate) use opaque;

/// What a workspace's keys of one epoch hang on: 32 random bytes. Destroying it shreds the workspace.
pub struct WorkspaceSecret(pub(crate) Key32);

impl WorkspaceSecret {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(Key32::random(rng))
    }

    /// HKDF-Expand-SHA256 of a purpose key, `info` = `ws/v1/` ‖ workspace id ‖ secret.
    pub(crate) fn workspace_key(&self, purpose_key: &Key32, workspace: WorkspaceId) -> Key32 {
        purpose_key.expand(&[b"ws/v1/", workspace.as_bytes(), self.0.expose()])
    }
}

/// The provider's key of the outer layer: 32 random bytes, one per account.
pub struct InfrastructureKey(pub(crate) Key32);

impl InfrastructureKey {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(Key32::random(rng))
    }
}

opaque!(WorkspaceSecret, InfrastructureKey);
