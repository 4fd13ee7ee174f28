//! The hot cache's keys, and its files: parts of stored objects, sealed once more.
//!
//! A file is `salt 24 ‖ commitment 32 ‖ chunks`. Its header (kind cache, the object's id, the part's number as window) is bound
//! as context but not stored: a stolen disk does not say which objects were hot, and any mismatch just means to fetch again.

use std::ops::Range;
use std::sync::Arc;

use hmac::Mac;
use strongroom_model::{KeyClass, ObjectId, WorkspaceId};
use strongroom_world::{BootTime, Rng};

use crate::chunked::{ChunkCipher, Geometry, PREAMBLE_LEN, always, chunks_len, open_layer, seal_layer};
use crate::guard::Shelter;
use crate::key::Key32;
use crate::object::{reopen, with_capacity};
use crate::secret::{Purpose, opaque};
use crate::{CHUNK_LEN, GuardError, Header, KeyGuard, ObjectKind, OpenError, SealError, aead};

/// The hot-cache key of one (node, workspace, AEK): random, kept wrapped by the MMK. Erasing its record is the revocation.
pub struct CacheKey(pub(crate) Key32);

impl CacheKey {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(Key32::random(rng))
    }

    /// The key that parts are sealed under: HKDF-Expand-SHA256 of this key, `info` = `cache/v1/`, followed in a CMK epoch by the
    /// AEK's cache-share, so that a node which was off during the revocation cannot read its cache either. With a guard the
    /// result works only as long as the guard does; none is for MMK epochs only.
    ///
    /// # Errors
    /// [`GuardError`] if the guard may not be used at `now`.
    pub fn effective(&self, guard: Option<&KeyGuard>, now: BootTime) -> Result<PartKey, GuardError> {
        let Some(guard) = guard else {
            return Ok(PartKey(Held::Free(self.0.expand(&[b"cache/v1/"]))));
        };
        let key = guard.with(now, |keys| -> Result<_, GuardError> {
            Ok(match guard.class() {
                KeyClass::Mmk => self.0.expand(&[b"cache/v1/"]),
                KeyClass::Cmk => self.0.expand(&[b"cache/v1/", keys.purpose(Purpose::CacheShare).expose()]),
            })
        })?;
        Ok(PartKey(Held::Guarded(guard.clone(), guard.shelter(WorkspaceId::NIL, key))))
    }

    /// The name of a part's file: hex of HMAC-SHA256 under this key over object id and part number.
    #[must_use]
    pub fn file_name(&self, object: ObjectId, part: u32) -> String {
        let digest = self.0.mac(&[object.as_bytes(), &part.to_le_bytes()]).finalize().into_bytes();
        digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(b"0123456789abcdef"[usize::from(nibble)])).collect()
    }
}

/// Seals and opens parts of cached objects; dead once its guard is.
pub struct PartKey(Held);

enum Held {
    Free(Key32),
    Guarded(KeyGuard, Arc<Shelter<Key32>>),
}

opaque!(CacheKey, PartKey);

impl PartKey {
    /// What a part's file begins with, before its chunks: salt and commitment. Bytes.
    pub const PREFIX_LEN: usize = PREAMBLE_LEN;

    /// How long the file of a part of `len` bytes is.
    #[must_use]
    pub fn file_len(len: u64) -> u64 {
        (PREAMBLE_LEN as u64).saturating_add(chunks_len(len))
    }

    /// Seals one part.
    ///
    /// # Errors
    /// [`SealError::Guard`].
    pub fn seal_part(&self, now: BootTime, rng: &dyn Rng, object: ObjectId, part: u32, bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        let context = part_header(object, part).to_bytes();
        self.with(now, |key| {
            let mut out = with_capacity(Self::file_len(bytes.len() as u64));
            seal_layer(&ChunkCipher::<aead::Inner>::create(key, rng, &context), bytes, &mut out, &always)?;
            Ok(out)
        })
    }

    /// Opens one part. Any error but a guard's means: delete the file, fetch again.
    ///
    /// # Errors
    /// [`OpenError::NotCommitted`], [`OpenError::NotAuthentic`], [`OpenError::Truncated`], [`OpenError::Guard`].
    pub fn open_part(&self, now: BootTime, object: ObjectId, part: u32, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let header = part_header(object, part);
        let context = header.to_bytes();
        self.with(now, |key| open_layer::<aead::Inner>(object, sealed, |preamble| reopen(key, preamble, &context, &header), &always))
    }

    /// Where in the file of a part of `len` bytes the chunks lie that hold `plain`.
    #[must_use]
    pub fn sealed_range(len: u64, plain: &Range<u64>) -> Range<u64> {
        let chunks = geometry(len).bytes_of(&chunks_of(len, plain));
        chunks.start + PREAMBLE_LEN as u64..chunks.end + PREAMBLE_LEN as u64
    }

    /// Opens `plain` of a part of `len` bytes: `prefix` is the first [`PartKey::PREFIX_LEN`] bytes of its file, `sealed` those of
    /// [`PartKey::sealed_range`]. That the file ends where it should is proved only if `plain` goes to the end: the caller knows
    /// how long the part is.
    ///
    /// # Errors
    /// As [`PartKey::open_part`].
    #[expect(clippy::too_many_arguments, reason = "what is opened, where it lies, and its bytes")]
    pub fn open_part_range(
        &self,
        now: BootTime,
        object: ObjectId,
        part: u32,
        len: u64,
        plain: &Range<u64>,
        prefix: &[u8; Self::PREFIX_LEN],
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let header = part_header(object, part);
        let context = header.to_bytes();
        let chunks = chunks_of(len, plain);
        let lies = geometry(len).bytes_of(&chunks);
        if lies.end - lies.start != sealed.len() as u64 {
            return Err(OpenError::Truncated { object, len: sealed.len() as u64 });
        }
        self.with(now, |key| {
            let cipher: ChunkCipher<aead::Inner> = reopen(key, prefix, &context, &header)?;
            let mut out = with_capacity(lies.end - lies.start);
            cipher.open_chunks(object, chunks.start, sealed, &mut out, &always)?;
            let wanted = plain.end.min(len).saturating_sub(plain.start);
            let skip = usize::try_from(plain.start % CHUNK_LEN as u64).expect("less than a chunk");
            out.drain(..skip.min(out.len()));
            out.truncate(usize::try_from(wanted).expect("a part of what is in memory"));
            Ok(out)
        })
    }

    fn with<T, E: From<GuardError>>(&self, now: BootTime, work: impl FnOnce(&Key32) -> Result<T, E>) -> Result<T, E> {
        match &self.0 {
            Held::Free(key) => work(key),
            Held::Guarded(guard, shelter) => shelter.with(guard, now, work),
        }
    }
}

const fn geometry(len: u64) -> Geometry {
    Geometry { chunks_len: chunks_len(len), plain_len: len }
}

/// The chunks that hold `plain`; with a part's last byte comes its final chunk, though that may be empty.
fn chunks_of(len: u64, plain: &Range<u64>) -> Range<u64> {
    let chunks = geometry(len).chunks_of(plain);
    if plain.end >= len && !chunks.is_empty() { chunks.start..geometry(len).final_chunk() + 1 } else { chunks }
}

fn part_header(object: ObjectId, part: u32) -> Header {
    Header { object, window_start: i64::from(part), ..Header::blank(ObjectKind::Cache) }
}
