//! C2SP chunked encryption (c2sp.org/chunked-encryption, v1): `salt 24 ‖ commitment 32 ‖ chunk 0 ‖ chunk 1 ‖ …`.
//!
//! Chunks hold 16,384 bytes of plaintext, the last one always fewer (perhaps none), so one length has one chunking and a cut
//! is seen. The nonce is the derived base XOR the chunk's number; all that is bound goes into the derivation's context.

use std::ops::Range;

use strongroom_model::ObjectId;
use strongroom_world::Rng;
use subtle::ConstantTimeEq;

use crate::aead::{ChunkAead, NotAuthentic};
use crate::key::Key32;
use crate::{CHUNK_LEN, GuardError, OpenError, TAG_LEN};

const LABEL: &[u8] = b"c2sp.org/chunked-encryption@v1+";
const CHUNK: u64 = CHUNK_LEN as u64;
const TAG: u64 = TAG_LEN as u64;
/// A full chunk with its tag.
pub(crate) const SEALED_CHUNK: u64 = CHUNK + TAG;
pub(crate) const SALT_LEN: usize = 24;
pub(crate) const COMMITMENT_LEN: usize = 32;
/// Salt and commitment: what stands before the first chunk.
pub(crate) const PREAMBLE_LEN: usize = SALT_LEN + COMMITMENT_LEN;

/// Whether work may go on: asked before each chunk, so that a key taken away stops a long one.
pub(crate) type StillAllowed<'a> = &'a dyn Fn() -> Result<(), GuardError>;

/// Nobody can take the key away.
#[expect(clippy::unnecessary_wraps, reason = "stands where others may refuse")]
pub(crate) fn always() -> Result<(), GuardError> {
    Ok(())
}

/// How long the chunks of a layer are for so much plaintext, in bytes. Saturates.
pub(crate) const fn chunks_len(plain: u64) -> u64 {
    plain.saturating_add((plain / CHUNK + 1).saturating_mul(TAG))
}

/// Chunk numbers and byte ranges of one layer, from its length alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of all chunks with their tags.
    pub(crate) chunks_len: u64,
    /// Bytes of plaintext.
    pub(crate) plain_len: u64,
}

impl Geometry {
    /// `None` if no plaintext gives chunks of this length: the end was cut off.
    pub(crate) const fn of_chunks(chunks_len: u64) -> Option<Self> {
        let (full, last) = (chunks_len / SEALED_CHUNK, chunks_len % SEALED_CHUNK);
        if last < TAG { None } else { Some(Self { chunks_len, plain_len: full * CHUNK + last - TAG }) }
    }

    pub(crate) const fn final_chunk(&self) -> u64 {
        self.plain_len / CHUNK
    }

    /// The chunks that hold these bytes of plaintext, cut at the end; an empty range has no chunks.
    pub(crate) fn chunks_of(&self, plain: &Range<u64>) -> Range<u64> {
        let end = plain.end.min(self.plain_len);
        if plain.start >= end {
            return 0..0;
        }
        plain.start / CHUNK..(end - 1) / CHUNK + 1
    }

    /// Where chunks lie, counted from the first one.
    pub(crate) fn bytes_of(&self, chunks: &Range<u64>) -> Range<u64> {
        (chunks.start * SEALED_CHUNK).min(self.chunks_len)..(chunks.end * SEALED_CHUNK).min(self.chunks_len)
    }
}

/// The derived key of one layer of one object.
pub(crate) struct ChunkCipher<A> {
    aead: A,
    base_nonce: [u8; 12],
}

impl<A: ChunkAead> ChunkCipher<A> {
    /// Derives key, base nonce and commitment from the input key, this salt and this context.
    pub(crate) fn derive(input: &Key32, salt: &[u8; SALT_LEN], context: &[u8]) -> (Self, [u8; COMMITMENT_LEN]) {
        let derived = input.expand_sha512(&[LABEL, A::NAME, &[0], salt, context]);
        let (key, rest) = derived.split_first_chunk::<32>().expect("76 bytes");
        let (base_nonce, commitment) = rest.split_first_chunk::<12>().expect("44 bytes");
        let commitment = commitment.try_into().expect("32 bytes");
        (Self { aead: A::with_key(key), base_nonce: *base_nonce }, commitment)
    }

    /// A fresh salt: the cipher, and the salt and commitment to write before its chunks.
    pub(crate) fn create(input: &Key32, rng: &dyn Rng, context: &[u8]) -> (Self, [u8; PREAMBLE_LEN]) {
        let mut preamble = [0; PREAMBLE_LEN];
        let (salt, rest) = preamble.split_first_chunk_mut::<SALT_LEN>().expect("56 bytes");
        rng.fill(salt);
        let (cipher, commitment) = Self::derive(input, salt, context);
        rest.copy_from_slice(&commitment);
        (cipher, preamble)
    }

    /// The cipher that a preamble was made with; refuses it if the commitment does not fit.
    pub(crate) fn reopen(input: &Key32, preamble: &[u8; PREAMBLE_LEN], context: &[u8]) -> Result<Self, NotAuthentic> {
        let (salt, found) = preamble.split_first_chunk::<SALT_LEN>().expect("56 bytes");
        let (cipher, commitment) = Self::derive(input, salt, context);
        if bool::from(commitment.as_slice().ct_eq(found)) { Ok(cipher) } else { Err(NotAuthentic) }
    }

    fn nonce(&self, number: u64) -> [u8; 12] {
        let mut nonce = self.base_nonce;
        for (byte, x) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= x;
        }
        nonce
    }

    /// Seals `data` in place under its number. A number must be used once per cipher.
    pub(crate) fn seal_in_place(&self, number: u64, associated: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        self.aead.seal(&self.nonce(number), associated, data)
    }

    pub(crate) fn open_in_place(&self, number: u64, associated: &[u8], data: &mut [u8], tag: &[u8; TAG_LEN]) -> Result<(), NotAuthentic> {
        self.aead.open(&self.nonce(number), associated, data, tag)
    }

    /// Appends chunk `number`, sealed, to `out`.
    pub(crate) fn seal_chunk(&self, number: u64, plain: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(plain);
        let tag = self.seal_in_place(number, &[], &mut out[from..]);
        out.extend_from_slice(&tag);
    }

    /// Appends the plaintext of chunk `number` to `out`; nothing if it is not authentic.
    pub(crate) fn open_chunk(&self, number: u64, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), NotAuthentic> {
        let (data, tag) = sealed.split_last_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
        let from = out.len();
        out.resize(from + data.len(), 0);
        let opened = self.aead.open_into(&self.nonce(number), &[], data, tag, &mut out[from..]);
        if opened.is_err() {
            out.truncate(from);
        }
        opened
    }

    /// Appends all chunks of `plain` to `out`.
    pub(crate) fn seal_all(&self, plain: &[u8], out: &mut Vec<u8>, allowed: StillAllowed<'_>) -> Result<(), GuardError> {
        let mut number = 0;
        let mut chunks = plain.chunks_exact(CHUNK_LEN);
        for chunk in &mut chunks {
            allowed()?;
            self.seal_chunk(number, chunk, out);
            number += 1;
        }
        allowed()?;
        self.seal_chunk(number, chunks.remainder(), out);
        Ok(())
    }

    /// Appends the plaintext of consecutive chunks, the first of which is `first`, to `out`.
    pub(crate) fn open_chunks(
        &self,
        object: ObjectId,
        first: u64,
        sealed: &[u8],
        out: &mut Vec<u8>,
        allowed: StillAllowed<'_>,
    ) -> Result<(), OpenError> {
        for (number, chunk) in (first..).zip(sealed.chunks(CHUNK_LEN + TAG_LEN)) {
            allowed()?;
            self.open_chunk(number, chunk, out).map_err(|NotAuthentic| OpenError::NotAuthentic { object, chunk: number })?;
        }
        Ok(())
    }
}

/// Appends a whole layer: preamble and chunks.
pub(crate) fn seal_layer<A: ChunkAead>(
    (cipher, preamble): &(ChunkCipher<A>, [u8; PREAMBLE_LEN]),
    plain: &[u8],
    out: &mut Vec<u8>,
    allowed: StillAllowed<'_>,
) -> Result<(), GuardError> {
    out.extend_from_slice(preamble);
    cipher.seal_all(plain, out, allowed)
}

/// Opens a whole layer that `start` gives the cipher of.
pub(crate) fn open_layer<A: ChunkAead>(
    object: ObjectId,
    layer: &[u8],
    start: impl FnOnce(&[u8; PREAMBLE_LEN]) -> Result<ChunkCipher<A>, OpenError>,
    allowed: StillAllowed<'_>,
) -> Result<Vec<u8>, OpenError> {
    let truncated = || OpenError::Truncated { object, len: layer.len() as u64 };
    let (preamble, chunks) = layer.split_first_chunk::<PREAMBLE_LEN>().ok_or_else(truncated)?;
    let geometry = Geometry::of_chunks(chunks.len() as u64).ok_or_else(truncated)?;
    let cipher = start(preamble)?;
    let mut plain = Vec::with_capacity(usize::try_from(geometry.plain_len).expect("shorter than a slice in memory"));
    cipher.open_chunks(object, 0, chunks, &mut plain, allowed)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_one_chunking_and_cut_ones_have_none() {
        for plain in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 5 * CHUNK + 77] {
            let geometry = Geometry::of_chunks(chunks_len(plain)).unwrap();
            assert_eq!(geometry.plain_len, plain);
            assert_eq!(geometry.bytes_of(&(0..geometry.final_chunk() + 1)), 0..chunks_len(plain));
        }
        for short in [0, 15, SEALED_CHUNK, SEALED_CHUNK + 15, 3 * SEALED_CHUNK] {
            assert_eq!(Geometry::of_chunks(short), None, "{short}");
        }
    }

    #[test]
    fn a_range_of_plaintext_maps_to_its_chunks_and_is_cut_at_the_end() {
        let geometry = Geometry::of_chunks(chunks_len(2 * CHUNK + 5)).unwrap();
        assert_eq!(geometry.chunks_of(&(0..1)), 0..1);
        assert_eq!(geometry.chunks_of(&(CHUNK - 1..CHUNK + 1)), 0..2);
        assert_eq!(geometry.chunks_of(&(CHUNK..u64::MAX)), 1..3);
        assert_eq!(geometry.chunks_of(&(7..7)), 0..0);
        assert_eq!(geometry.bytes_of(&(1..3)), SEALED_CHUNK..chunks_len(2 * CHUNK + 5));
    }
}
