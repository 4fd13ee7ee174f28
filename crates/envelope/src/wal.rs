//! The cipher of a WAL segment: one key per segment, records chained by their tags.
//!
//! The segment's key, base nonce and commitment are derived as for any object; the nonce of a record is the base XOR its
//! position, its associated data `segment id 16 ‖ position 8 ‖ synced_through 8 ‖ previous tag 16` (little-endian).

use std::fmt;
use std::sync::Arc;

use strongroom_model::{Epoch, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, Rng};

use crate::aead::NotAuthentic;
use crate::chunked::{ChunkCipher, PREAMBLE_LEN};
use crate::guard::Shelter;
use crate::object::{InputKey, reopen};
use crate::{GuardError, Header, KeyGuard, ObjectKind, OpenError, PREFIX_LEN, SealError, TAG_LEN, aead};

/// Seals and opens the records of one segment. The guard wipes its key when it is killed.
pub struct SegmentCipher {
    segment: ObjectId,
    cipher: Arc<Shelter<ChunkCipher<aead::Inner>>>,
}

impl SegmentCipher {
    /// Starts a segment: the cipher and the bytes that the file begins with. A segment is never taken up again after a
    /// restart: a torn record may already show ciphertext at the next nonce.
    ///
    /// # Errors
    /// [`SealError::Guard`]; [`SealError::WrongHeader`] unless the header is of kind WAL, of the guard's epoch, of one layer and
    /// of no workspace or table.
    pub fn create(guard: &KeyGuard, now: BootTime, rng: &dyn Rng, header: &Header) -> Result<(Self, [u8; PREFIX_LEN]), SealError> {
        if !fits(header, guard.epoch()) {
            return Err(SealError::WrongHeader { object: header.object });
        }
        let context = header.to_bytes();
        let (cipher, preamble) = guard
            .with(now, |keys| -> Result<_, GuardError> { Ok(ChunkCipher::create(InputKey::Wal.select(keys, header)?, rng, &context)) })?;
        let mut prefix = [0; PREFIX_LEN];
        prefix[..Header::LEN].copy_from_slice(&context);
        prefix[Header::LEN..].copy_from_slice(&preamble);
        Ok((Self { segment: header.object, cipher: guard.shelter(WorkspaceId::NIL, cipher) }, prefix))
    }

    /// Reads a segment's first bytes, for replay. The caller compares the header's object id with the segment it meant.
    ///
    /// # Errors
    /// [`OpenError::WrongPlace`] for a segment of another epoch, [`OpenError::NotCommitted`], [`OpenError::UnknownFormat`],
    /// [`OpenError::Guard`].
    pub fn reopen(guard: &KeyGuard, now: BootTime, expected: Epoch, prefix: &[u8; PREFIX_LEN]) -> Result<(Self, Header), OpenError> {
        guard.check(now)?;
        let header = Header::parse(prefix)?;
        if expected != guard.epoch() || !fits(&header, expected) {
            return Err(OpenError::WrongPlace { object: header.object });
        }
        let (context, preamble) = prefix.split_last_chunk::<PREAMBLE_LEN>().expect("152 bytes");
        let cipher = guard.with(now, |keys| reopen(InputKey::Wal.select(keys, &header)?, preamble, context, &header))?;
        Ok((Self { segment: header.object, cipher: guard.shelter(WorkspaceId::NIL, cipher) }, header))
    }

    /// Seals `buffer[start..]` in place and gives its tag. A `seq` must never be used twice in a segment. `previous` is the tag
    /// of the record before, zeros for the first.
    ///
    /// # Errors
    /// [`SealError::Guard`].
    ///
    /// # Panics
    /// If `start` is past the end of the buffer.
    #[expect(clippy::too_many_arguments, reason = "each is authenticated")]
    pub fn seal_record(
        &self,
        guard: &KeyGuard,
        now: BootTime,
        seq: u64,
        synced_through: u64,
        previous: &[u8; TAG_LEN],
        buffer: &mut [u8],
        start: usize,
    ) -> Result<[u8; TAG_LEN], SealError> {
        let associated = self.associated(seq, synced_through, previous);
        self.cipher.with(guard, now, |cipher| Ok(cipher.seal_in_place(seq, &associated, &mut buffer[start..])))
    }

    /// Opens a record in place; on failure the ciphertext is left as it was.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] with the position as chunk, [`OpenError::Guard`].
    #[expect(clippy::too_many_arguments, reason = "each is authenticated")]
    pub fn open_record(
        &self,
        guard: &KeyGuard,
        now: BootTime,
        seq: u64,
        synced_through: u64,
        previous: &[u8; TAG_LEN],
        ciphertext: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        let associated = self.associated(seq, synced_through, previous);
        self.cipher.with(guard, now, |cipher| {
            cipher
                .open_in_place(seq, &associated, ciphertext, tag)
                .map_err(|NotAuthentic| OpenError::NotAuthentic { object: self.segment, chunk: seq })
        })
    }

    fn associated(&self, seq: u64, synced_through: u64, previous: &[u8; TAG_LEN]) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(self.segment.as_bytes());
        bytes[16..24].copy_from_slice(&seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&synced_through.to_le_bytes());
        bytes[32..].copy_from_slice(previous);
        bytes
    }
}

impl fmt::Debug for SegmentCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentCipher").field("segment", &self.segment).finish_non_exhaustive()
    }
}

fn fits(header: &Header, epoch: Epoch) -> bool {
    header.kind == ObjectKind::Wal
        && header.epoch() == epoch
        && !header.double
        && header.workspace == WorkspaceId::NIL
        && header.table == TableId::NIL
}
