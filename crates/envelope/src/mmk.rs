//! The provider's root key and what it wraps: AEK records, infrastructure keys, cache keys, the provider's own secrets.
//!
//! "Wraps" is sealing: kind key, input key HKDF-Expand(root, `mmk/v1/wrap`), one layer. Which ids the header carries tells the
//! three apart: an AEK record its AEK and account, an infrastructure key its account alone, a cache key its AEK, workspace and
//! node.

use strongroom_model::{AccountId, AekId, NodeId, ObjectId, WorkspaceId};
use strongroom_world::Rng;
use zeroize::Zeroizing;

use crate::key::Key32;
use crate::object::{open_unguarded, seal_unguarded};
use crate::secret::opaque;
use crate::{Aek, CacheKey, Header, InfrastructureKey, ObjectKind, OpenError, RecordIds, WrappedAek};

/// What a record wrapped by the MMK calls its provider.
const PROVIDER: &str = "mmk";
/// What a record wrapped by the MMK calls its algorithm.
const ALGORITHM: &str = "MMK-C2SP";

/// The provider's root key: 32 random bytes in the config directory, read once at start.
pub struct Mmk {
    root: Key32,
    wrap: Key32,
    cell: Key32,
    buffer: Key32,
}

opaque!(Mmk);

impl Mmk {
    fn new(root: Key32) -> Self {
        let [wrap, cell, buffer] = [&b"mmk/v1/wrap"[..], b"mmk/v1/cell", b"mmk/v1/buffer"].map(|name| root.expand(&[name]));
        Self { root, wrap, cell, buffer }
    }

    /// From the bytes of the root file; the argument's copy is wiped.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self::new(Key32::from_bytes(bytes))
    }

    /// A new root.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self::new(Key32::random(rng))
    }

    /// Gives the root's bytes to `store`, which writes the root file: the one place they go.
    pub fn expose<T>(&self, store: impl FnOnce(&[u8; 32]) -> T) -> T {
        store(self.root.expose())
    }

    /// Wraps an AEK.
    #[must_use]
    pub fn wrap_aek(&self, rng: &dyn Rng, aek: &Aek, ids: &RecordIds) -> WrappedAek {
        WrappedAek {
            ids: *ids,
            provider: PROVIDER.to_owned(),
            key_uri: String::new(),
            key_version: String::new(),
            algorithm: ALGORITHM.to_owned(),
            bytes: seal_unguarded(&self.wrap, rng, &aek_header(ids), aek.key().expose()),
            kcv: aek.key_check_value(ids),
        }
    }

    /// Unwraps an AEK and compares its check value, in constant time.
    ///
    /// # Errors
    /// [`OpenError::UnknownFormat`] for a record that the MMK did not wrap, [`OpenError::NotAuthentic`] (chunk 0) if the check
    /// value differs, else as sealed objects.
    pub fn unwrap_aek(&self, wrapped: &WrappedAek) -> Result<Aek, OpenError> {
        if wrapped.provider != PROVIDER || wrapped.algorithm != ALGORITHM {
            return Err(OpenError::UnknownFormat { what: "key wrapping", found: 0 });
        }
        let header = aek_header(&wrapped.ids);
        let aek = Aek::from_key(wrapped.ids.aek, self.unwrap(&header, &wrapped.bytes)?);
        if !aek.has_check_value(&wrapped.ids, &wrapped.kcv) {
            return Err(OpenError::NotAuthentic { object: header.object, chunk: 0 });
        }
        Ok(aek)
    }

    /// Wraps an account's infrastructure key.
    #[must_use]
    pub fn wrap_infrastructure_key(&self, rng: &dyn Rng, account: AccountId, key: &InfrastructureKey) -> Vec<u8> {
        seal_unguarded(&self.wrap, rng, &infrastructure_header(account), key.0.expose())
    }

    /// Unwraps an account's infrastructure key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn unwrap_infrastructure_key(&self, account: AccountId, wrapped: &[u8]) -> Result<InfrastructureKey, OpenError> {
        self.unwrap(&infrastructure_header(account), wrapped).map(InfrastructureKey)
    }

    /// Wraps the hot-cache key of one (node, workspace, AEK).
    #[must_use]
    pub fn wrap_cache_key(&self, rng: &dyn Rng, node: NodeId, workspace: WorkspaceId, aek: AekId, key: &CacheKey) -> Vec<u8> {
        seal_unguarded(&self.wrap, rng, &cache_header(node, workspace, aek), key.0.expose())
    }

    /// Unwraps a hot-cache key.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn unwrap_cache_key(&self, node: NodeId, workspace: WorkspaceId, aek: AekId, wrapped: &[u8]) -> Result<CacheKey, OpenError> {
        self.unwrap(&cache_header(node, workspace, aek), wrapped).map(CacheKey)
    }

    /// Seals one of the provider's own secrets (a TLS key, a shared key) for one row.
    #[must_use]
    pub fn seal_cell(&self, rng: &dyn Rng, row: ObjectId, plain: &[u8]) -> Vec<u8> {
        seal_unguarded(&self.cell, rng, &Header { object: row, ..Header::blank(ObjectKind::Cell) }, plain)
    }

    /// Opens one of the provider's own secrets.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_cell(&self, row: ObjectId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        open_unguarded(&self.cell, &Header { object: row, ..Header::blank(ObjectKind::Cell) }, sealed)
    }

    /// The input key of the sealed buffer's outer layer.
    pub(crate) const fn buffer(&self) -> &Key32 {
        &self.buffer
    }

    /// Seals a cell of the provider's for a header of the caller's making.
    pub(crate) fn seal_for(&self, rng: &dyn Rng, header: &Header, plain: &[u8]) -> Vec<u8> {
        seal_unguarded(&self.cell, rng, header, plain)
    }

    /// Opens it.
    pub(crate) fn open_for(&self, header: &Header, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        open_unguarded(&self.cell, header, sealed)
    }

    fn unwrap(&self, header: &Header, wrapped: &[u8]) -> Result<Key32, OpenError> {
        let plain = Zeroizing::new(open_unguarded(&self.wrap, header, wrapped)?);
        Key32::from_slice(&plain).ok_or(OpenError::Truncated { object: header.object, len: plain.len() as u64 })
    }
}

/// The generation stands where a block has its window, the cluster where it has its object id.
fn aek_header(ids: &RecordIds) -> Header {
    Header {
        aek: ids.aek,
        account: ids.account,
        window_start: ids.generation.cast_signed(),
        object: ids.cluster,
        ..Header::blank(ObjectKind::Key)
    }
}

fn infrastructure_header(account: AccountId) -> Header {
    Header { account, ..Header::blank(ObjectKind::Key) }
}

fn cache_header(node: NodeId, workspace: WorkspaceId, aek: AekId) -> Header {
    Header { aek, workspace, object: ObjectId::from_bytes(*node.as_bytes()), ..Header::blank(ObjectKind::Key) }
}
