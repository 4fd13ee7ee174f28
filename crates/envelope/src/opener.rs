//! Random access to a sealed object: only the chunks a reader needs are fetched and opened.
//!
//! The order is the reader's duty: [`ObjectOpener::new`] checks header and commitment, [`ObjectOpener::prove_end`] that nothing
//! was cut off, then [`ObjectOpener::open_range`] gives bytes, none of which comes from a chunk that is not authentic.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use strongroom_model::ObjectId;
use strongroom_world::BootTime;

use crate::chunked::{ChunkCipher, Geometry, PREAMBLE_LEN, SEALED_CHUNK};
use crate::guard::Shelter;
use crate::object::{InputKey, reopen, with_capacity};
use crate::{CHUNK_LEN, Header, KeyGuard, OpenError, PREFIX_LEN, aead};

const PREFIX: u64 = PREFIX_LEN as u64;
const PREAMBLE: u64 = PREAMBLE_LEN as u64;

/// Opens ranges of one object: made from its first bytes and its whole length. Clones share the derived keys, which the guard
/// wipes when it is killed.
#[derive(Clone)]
pub struct ObjectOpener {
    object: ObjectId,
    inner: Geometry,
    outer: Option<Geometry>,
    ciphers: Arc<Shelter<Ciphers>>,
}

struct Ciphers {
    inner: ChunkCipher<aead::Inner>,
    outer: Option<ChunkCipher<aead::Outer>>,
}

impl ObjectOpener {
    /// Checks header and commitment. `prefix` is the first `min(prefix_len(double), sealed_len)` bytes of the object (more do
    /// no harm), `sealed_len` its whole length as the catalog has it.
    ///
    /// # Errors
    /// [`OpenError::WrongPlace`], [`OpenError::UnknownFormat`], [`OpenError::Truncated`] for a length that no object has,
    /// [`OpenError::NotCommitted`], [`OpenError::NotAuthentic`] (two layers only), [`OpenError::Guard`].
    pub fn new(guard: &KeyGuard, now: BootTime, expected: &Header, prefix: &[u8], sealed_len: u64) -> Result<Self, OpenError> {
        let object = expected.object;
        let truncated = |len| OpenError::Truncated { object, len };
        guard.check(now)?;
        let input = InputKey::of(expected.kind).ok_or(OpenError::WrongPlace { object })?;
        if expected.epoch() != guard.epoch() {
            return Err(OpenError::WrongPlace { object });
        }
        let needed = usize::try_from(Self::prefix_len(expected.double).min(sealed_len)).expect("shorter than two chunks");
        let prefix = prefix.get(..needed).ok_or_else(|| truncated(prefix.len() as u64))?;
        expected.expect_in(prefix)?;
        let (prefix, first_chunk) = prefix.split_first_chunk::<PREFIX_LEN>().ok_or_else(|| truncated(sealed_len))?;
        let (context, preamble) = prefix.split_last_chunk::<PREAMBLE_LEN>().expect("152 bytes");

        let whole = Geometry::of_chunks(sealed_len - PREFIX).ok_or_else(|| truncated(sealed_len))?;
        if !expected.double {
            let inner = guard.with(now, |keys| reopen(input.select(keys, expected)?, preamble, context, expected))?;
            let ciphers = guard.shelter(expected.workspace, Ciphers { inner, outer: None });
            return Ok(Self { object, inner: whole, outer: None, ciphers });
        }
        let within = whole.plain_len.checked_sub(PREAMBLE).and_then(Geometry::of_chunks).ok_or_else(|| truncated(sealed_len))?;
        let outer: ChunkCipher<aead::Outer> = guard.with(now, |keys| reopen(keys.infrastructure()?, preamble, context, expected))?;
        let mut start = Vec::with_capacity(first_chunk.len());
        outer.open_chunks(object, 0, first_chunk, &mut start, &|| guard.still_alive())?;
        let preamble = start.first_chunk::<PREAMBLE_LEN>().ok_or_else(|| truncated(sealed_len))?;
        let inner = guard.with(now, |keys| reopen(input.select(keys, expected)?, preamble, context, expected))?;
        let ciphers = guard.shelter(expected.workspace, Ciphers { inner, outer: Some(outer) });
        Ok(Self { object, inner: within, outer: Some(whole), ciphers })
    }

    /// How many bytes of an object [`ObjectOpener::new`] needs (all of it if it is shorter). With two layers the inner salt and
    /// commitment lie in the first outer chunk.
    #[must_use]
    pub fn prefix_len(double: bool) -> u64 {
        if double { PREFIX + SEALED_CHUNK } else { PREFIX }
    }

    /// Length of the plaintext in bytes: authentic once [`ObjectOpener::prove_end`] succeeded.
    #[must_use]
    pub fn plain_len(&self) -> u64 {
        self.inner.plain_len
    }

    /// Where the final chunk lies in the sealed object; with two layers, the final chunks of both.
    #[must_use]
    pub fn final_range(&self) -> Range<u64> {
        match &self.outer {
            None => shift(&self.inner.bytes_of(&self.final_chunks()), PREFIX),
            Some(outer) => shift(&outer.bytes_of(&self.final_outer_chunks(outer)), PREFIX),
        }
    }

    /// Opens the final chunk and so proves that nothing was cut off. `sealed_final` are the bytes of
    /// [`ObjectOpener::final_range`].
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`], [`OpenError::Truncated`] if the bytes are not as many as the range, [`OpenError::Guard`].
    pub fn prove_end(&self, guard: &KeyGuard, now: BootTime, sealed_final: &[u8]) -> Result<(), OpenError> {
        let outer_chunks = self.outer.as_ref().map(|outer| self.final_outer_chunks(outer));
        self.open_chunks(guard, now, &self.final_chunks(), outer_chunks, 0, sealed_final).map(drop)
    }

    /// The chunk-aligned sealed bytes that hold `plain`, which is cut at the object's end.
    #[must_use]
    pub fn sealed_range(&self, plain: Range<u64>) -> Range<u64> {
        let chunks = self.inner.chunks_of(&plain);
        match &self.outer {
            None => shift(&self.inner.bytes_of(&chunks), PREFIX),
            Some(outer) => shift(&outer.bytes_of(&self.outer_chunks(outer, &chunks)), PREFIX),
        }
    }

    /// Opens `plain` (cut at the object's end) from `sealed`, the bytes of [`ObjectOpener::sealed_range`] of it.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`], [`OpenError::Truncated`] if the bytes are not as many as the range, [`OpenError::Guard`].
    pub fn open_range(&self, guard: &KeyGuard, now: BootTime, plain: Range<u64>, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let chunks = self.inner.chunks_of(&plain);
        let outer_chunks = self.outer.as_ref().map(|outer| self.outer_chunks(outer, &chunks));
        let skip = usize::try_from(plain.start % CHUNK_LEN as u64).expect("less than a chunk");
        let mut out = self.open_chunks(guard, now, &chunks, outer_chunks, skip, sealed)?;
        let wanted = plain.end.min(self.inner.plain_len).saturating_sub(plain.start);
        out.truncate(usize::try_from(wanted).expect("a part of what is in memory"));
        Ok(out)
    }

    /// Opens inner chunks without the first `skip` bytes of the first.
    fn open_chunks(
        &self,
        guard: &KeyGuard,
        now: BootTime,
        chunks: &Range<u64>,
        outer_chunks: Option<Range<u64>>,
        skip: usize,
        sealed: &[u8],
    ) -> Result<Vec<u8>, OpenError> {
        let object = self.object;
        let exactly = |range: &Range<u64>| {
            let fits = range.end - range.start == sealed.len() as u64;
            if fits { Ok(()) } else { Err(OpenError::Truncated { object, len: sealed.len() as u64 }) }
        };
        let allowed = || guard.still_alive();
        let inner_bytes = self.inner.bytes_of(chunks);
        self.ciphers.with(guard, now, |ciphers| {
            let middle;
            let inner_sealed = if let (Some(geometry), Some(outer), Some(outer_chunks)) = (&self.outer, &ciphers.outer, outer_chunks) {
                exactly(&geometry.bytes_of(&outer_chunks))?;
                let mut opened = Vec::with_capacity(sealed.len());
                outer.open_chunks(object, outer_chunks.start, sealed, &mut opened, &allowed)?;
                middle = opened;
                let first = outer_chunks.start * CHUNK_LEN as u64;
                within(&middle, &shift(&inner_bytes, PREAMBLE), first)
            } else {
                exactly(&inner_bytes)?;
                sealed
            };
            let first_len = inner_sealed.len().min(usize::try_from(SEALED_CHUNK).expect("a chunk's length"));
            let (first, rest) = inner_sealed.split_at(first_len);
            let mut out = with_capacity(inner_bytes.end - inner_bytes.start);
            ciphers.inner.open_chunks(object, chunks.start, first, &mut out, &allowed)?;
            out.drain(..skip.min(out.len()));
            ciphers.inner.open_chunks(object, chunks.start + 1, rest, &mut out, &allowed)?;
            Ok(out)
        })
    }

    fn final_chunks(&self) -> Range<u64> {
        self.inner.final_chunk()..self.inner.final_chunk() + 1
    }

    /// The outer chunks that hold these inner ones.
    fn outer_chunks(&self, outer: &Geometry, chunks: &Range<u64>) -> Range<u64> {
        outer.chunks_of(&shift(&self.inner.bytes_of(chunks), if chunks.is_empty() { 0 } else { PREAMBLE }))
    }

    /// From the outer chunk where the final inner one starts to the last, which may be empty.
    fn final_outer_chunks(&self, outer: &Geometry) -> Range<u64> {
        self.outer_chunks(outer, &self.final_chunks()).start..outer.final_chunk() + 1
    }
}

impl fmt::Debug for ObjectOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOpener").field("object", &self.object).field("plain_len", &self.inner.plain_len).finish_non_exhaustive()
    }
}

const fn shift(range: &Range<u64>, by: u64) -> Range<u64> {
    range.start + by..range.end + by
}

/// The bytes of `range` in `opened`, whose first byte is number `first`; nothing for an empty range.
fn within<'a>(opened: &'a [u8], range: &Range<u64>, first: u64) -> &'a [u8] {
    if range.is_empty() {
        return &[];
    }
    let at = |byte: u64| usize::try_from(byte - first).expect("within what was opened");
    &opened[at(range.start)..at(range.end)]
}
