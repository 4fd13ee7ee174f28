//! The cipher of a WAL segment: one key per segment, records chained by their tags.
//!
//! The segment's key, base nonce and commitment are derived as for any object; the nonce of a record is the base XOR its
//! position, its associated data `segment id 16 ‖ position 8 ‖ synced_through 8 ‖ previous tag 16` (little-endian). In an
//! account with two layers the prefix carries a second salt and commitment, and each record, inner tag and all, is sealed
//! once more under the infrastructure key; the tag that chains is then the outer one.

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
    ciphers: Arc<Shelter<Layers>>,
}

struct Layers {
    inner: ChunkCipher<aead::Inner>,
    outer: Option<ChunkCipher<aead::Outer>>,
}

impl SegmentCipher {
    /// How many bytes a segment begins with: header, salt and commitment, the latter twice with two layers.
    #[must_use]
    pub const fn prefix_len(double: bool) -> usize {
        if double { PREFIX_LEN + PREAMBLE_LEN } else { PREFIX_LEN }
    }

    /// Starts a segment: the cipher and the bytes that the file begins with. A segment is never taken up again after a
    /// restart: a torn record may already show ciphertext at the next nonce.
    ///
    /// # Errors
    /// [`SealError::Guard`]; [`SealError::WrongHeader`] unless the header is of kind WAL, of the guard's epoch and number of
    /// layers, and of no workspace or table.
    pub fn create(guard: &KeyGuard, now: BootTime, rng: &dyn Rng, header: &Header) -> Result<(Self, Vec<u8>), SealError> {
        if !fits(header, guard, guard.epoch()) {
            return Err(SealError::WrongHeader { object: header.object });
        }
        let context = header.to_bytes();
        let mut prefix = Vec::with_capacity(Self::prefix_len(header.double));
        prefix.extend_from_slice(&context);
        let layers = guard.with(now, |keys| -> Result<_, GuardError> {
            let (inner, preamble) = ChunkCipher::create(InputKey::Wal.select(keys, header)?, rng, &context);
            prefix.extend_from_slice(&preamble);
            let mut outer = None;
            if header.double {
                let (cipher, preamble) = ChunkCipher::create(keys.infrastructure()?, rng, &context);
                prefix.extend_from_slice(&preamble);
                outer = Some(cipher);
            }
            Ok(Layers { inner, outer })
        })?;
        Ok((Self { segment: header.object, ciphers: guard.shelter(WorkspaceId::NIL, layers) }, prefix))
    }

    /// Reads a segment's first [`prefix_len`](Self::prefix_len) bytes, for replay. The caller compares the header's object id
    /// with the segment it meant.
    ///
    /// # Errors
    /// [`OpenError::WrongPlace`] for a segment of another epoch or number of layers, [`OpenError::Truncated`],
    /// [`OpenError::NotCommitted`], [`OpenError::UnknownFormat`], [`OpenError::Guard`].
    pub fn reopen(guard: &KeyGuard, now: BootTime, expected: Epoch, prefix: &[u8]) -> Result<(Self, Header), OpenError> {
        guard.check(now)?;
        let truncated = || OpenError::Truncated { object: ObjectId::NIL, len: prefix.len() as u64 };
        let (context, preambles) = prefix.split_first_chunk::<{ Header::LEN }>().ok_or_else(truncated)?;
        let header = Header::parse(prefix)?;
        if expected != guard.epoch() || !fits(&header, guard, expected) {
            return Err(OpenError::WrongPlace { object: header.object });
        }
        let (first, rest) = preambles.split_first_chunk::<PREAMBLE_LEN>().ok_or_else(truncated)?;
        let second = if header.double { Some(rest.first_chunk::<PREAMBLE_LEN>().ok_or_else(truncated)?) } else { None };
        let layers = guard.with(now, |keys| -> Result<_, OpenError> {
            let inner = reopen(InputKey::Wal.select(keys, &header)?, first, context, &header)?;
            let outer = second.map(|preamble| reopen(keys.infrastructure()?, preamble, context, &header)).transpose()?;
            Ok(Layers { inner, outer })
        })?;
        Ok((Self { segment: header.object, ciphers: guard.shelter(WorkspaceId::NIL, layers) }, header))
    }

    /// Seals `buffer[start..]` in place and gives its tag; with two layers the buffer grows by the inner tag. A `seq` must
    /// never be used twice in a segment. `previous` is the tag of the record before, zeros for the first.
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
        buffer: &mut Vec<u8>,
        start: usize,
    ) -> Result<[u8; TAG_LEN], SealError> {
        let associated = self.associated(seq, synced_through, previous);
        self.ciphers.with(guard, now, |layers| {
            let tag = layers.inner.seal_in_place(seq, &associated, &mut buffer[start..]);
            let Some(outer) = &layers.outer else { return Ok(tag) };
            buffer.extend_from_slice(&tag);
            Ok(outer.seal_in_place(seq, &associated, &mut buffer[start..]))
        })
    }

    /// Opens a record in place; with two layers the inner tag is cut off. Nothing in `ciphertext` means anything after a
    /// failure.
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
        ciphertext: &mut Vec<u8>,
        tag: &[u8; TAG_LEN],
    ) -> Result<(), OpenError> {
        let associated = self.associated(seq, synced_through, previous);
        let mut open = |layers: &Layers| {
            let Some(outer) = &layers.outer else { return layers.inner.open_in_place(seq, &associated, ciphertext, tag) };
            outer.open_in_place(seq, &associated, ciphertext, tag)?;
            let inner_tag = *ciphertext.last_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
            ciphertext.truncate(ciphertext.len() - TAG_LEN);
            layers.inner.open_in_place(seq, &associated, ciphertext, &inner_tag)
        };
        self.ciphers
            .with(guard, now, |layers| open(layers).map_err(|NotAuthentic| OpenError::NotAuthentic { object: self.segment, chunk: seq }))
    }

    fn associated(&self, seq: u64, synced_through: u64, previous: &[u8; TAG_LEN]) -> [u8; 48] {
        associated(self.segment, seq, synced_through, previous)
    }
}

impl fmt::Debug for SegmentCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentCipher").field("segment", &self.segment).finish_non_exhaustive()
    }
}

/// What is authenticated beside a record: its segment, its place in it, and through the tag before it all that went before.
pub(crate) fn associated(segment: ObjectId, seq: u64, synced_through: u64, previous: &[u8; TAG_LEN]) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[..16].copy_from_slice(segment.as_bytes());
    bytes[16..24].copy_from_slice(&seq.to_le_bytes());
    bytes[24..32].copy_from_slice(&synced_through.to_le_bytes());
    bytes[32..].copy_from_slice(previous);
    bytes
}

fn fits(header: &Header, guard: &KeyGuard, epoch: Epoch) -> bool {
    header.kind == ObjectKind::Wal
        && header.epoch() == epoch
        && header.double == guard.is_double()
        && header.workspace == WorkspaceId::NIL
        && header.table == TableId::NIL
}
