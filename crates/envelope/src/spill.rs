//! Spill files: a key per query that exists in memory only, sealed as a stream (`salt 24 ‖ commitment 32 ‖ chunks`).

use strongroom_model::ObjectId;
use strongroom_world::Rng;
use subtle::ConstantTimeEq;

use crate::aead::NotAuthentic;
use crate::chunked::{COMMITMENT_LEN, ChunkCipher, PREAMBLE_LEN, SALT_LEN};
use crate::key::Key32;
use crate::secret::opaque;
use crate::{CHUNK_LEN, Header, ObjectKind, OpenError, TAG_LEN, aead};

/// Names one stream (its salt): kept in memory beside the file, so that files cannot be swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId([u8; SALT_LEN]);

/// The key of one query's spill files.
pub struct SpillKey(Key32);

impl SpillKey {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> Self {
        Self(Key32::random(rng))
    }

    /// Starts a file.
    #[must_use]
    pub fn sealer(&self, rng: &dyn Rng) -> StreamSealer {
        let (cipher, preamble) = ChunkCipher::create(&self.0, rng, &context());
        StreamSealer { cipher, preamble, started: false, number: 0, pending: Vec::new() }
    }

    /// Reads the file of that name back.
    #[must_use]
    pub fn opener(&self, stream: StreamId) -> StreamOpener {
        let (cipher, commitment) = ChunkCipher::derive(&self.0, &stream.0, &context());
        StreamOpener { cipher, stream, commitment, started: false, number: 0, pending: Vec::new() }
    }
}

fn context() -> [u8; Header::LEN] {
    Header::blank(ObjectKind::Spill).to_bytes()
}

/// Seals a stream chunk by chunk.
pub struct StreamSealer {
    cipher: ChunkCipher<aead::Inner>,
    preamble: [u8; PREAMBLE_LEN],
    started: bool,
    number: u64,
    /// Less than a chunk.
    pending: Vec<u8>,
}

opaque!(SpillKey, StreamSealer, StreamOpener);

impl StreamSealer {
    /// The stream's name.
    #[must_use]
    pub fn id(&self) -> StreamId {
        StreamId(*self.preamble.first_chunk().expect("56 bytes"))
    }

    /// Takes plaintext; appends what became ready to `out`. Less than 16 KiB stay behind.
    pub fn push(&mut self, mut plain: &[u8], out: &mut Vec<u8>) {
        self.start(out);
        if !self.pending.is_empty() {
            let (more, rest) = plain.split_at(plain.len().min(CHUNK_LEN - self.pending.len()));
            self.pending.extend_from_slice(more);
            plain = rest;
            if self.pending.len() < CHUNK_LEN {
                return;
            }
            self.cipher.seal_chunk(self.number, &self.pending, out);
            self.number += 1;
            self.pending.clear();
        }
        let mut chunks = plain.chunks_exact(CHUNK_LEN);
        for chunk in &mut chunks {
            self.cipher.seal_chunk(self.number, chunk, out);
            self.number += 1;
        }
        self.pending.extend_from_slice(chunks.remainder());
    }

    /// Appends the final chunk.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.start(out);
        self.cipher.seal_chunk(self.number, &self.pending, out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !self.started {
            self.started = true;
            out.extend_from_slice(&self.preamble);
        }
    }
}

/// Opens a stream chunk by chunk.
pub struct StreamOpener {
    cipher: ChunkCipher<aead::Inner>,
    stream: StreamId,
    commitment: [u8; COMMITMENT_LEN],
    started: bool,
    number: u64,
    /// Less than a sealed chunk after each successful push; untouched by a failed one, which fails again.
    pending: Vec<u8>,
}

impl StreamOpener {
    /// Takes sealed bytes; appends what was proved to `out`.
    ///
    /// # Errors
    /// [`OpenError::WrongPlace`] for another stream's file, [`OpenError::NotCommitted`], [`OpenError::NotAuthentic`].
    pub fn push(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        self.pending.extend_from_slice(sealed);
        let mut from = 0;
        if !self.started {
            let Some(preamble) = self.pending.first_chunk::<PREAMBLE_LEN>() else { return Ok(()) };
            self.check(preamble)?;
            self.started = true;
            from = PREAMBLE_LEN;
        }
        let mut opened = Ok(());
        // A full chunk is never the final one.
        while let Some(chunk) = self.pending[from..].first_chunk::<{ CHUNK_LEN + TAG_LEN }>() {
            opened = self.cipher.open_chunk(self.number, chunk, out);
            if opened.is_err() {
                break;
            }
            self.number += 1;
            from += CHUNK_LEN + TAG_LEN;
        }
        self.pending.drain(..from);
        opened.map_err(|NotAuthentic| self.not_authentic())
    }

    /// Opens the final chunk: without this success the stream may have been cut.
    ///
    /// # Errors
    /// [`OpenError::Truncated`], [`OpenError::NotAuthentic`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), OpenError> {
        if !self.started || !(TAG_LEN..CHUNK_LEN + TAG_LEN).contains(&self.pending.len()) {
            return Err(OpenError::Truncated { object: ObjectId::NIL, len: self.pending.len() as u64 });
        }
        self.cipher.open_chunk(self.number, &self.pending, out).map_err(|NotAuthentic| self.not_authentic())
    }

    fn check(&self, preamble: &[u8; PREAMBLE_LEN]) -> Result<(), OpenError> {
        let (salt, commitment) = preamble.split_first_chunk::<SALT_LEN>().expect("56 bytes");
        if *salt != self.stream.0 {
            return Err(OpenError::WrongPlace { object: ObjectId::NIL });
        }
        if bool::from(self.commitment.as_slice().ct_eq(commitment)) {
            Ok(())
        } else {
            Err(OpenError::NotCommitted { object: ObjectId::NIL })
        }
    }

    const fn not_authentic(&self) -> OpenError {
        OpenError::NotAuthentic { object: ObjectId::NIL, chunk: self.number }
    }
}
