//! The cipher of a WAL segment: one key per segment, records chained by their tags.

use strongroom_model::Epoch;
use strongroom_world::{BootTime, Rng};

use crate::{Header, KeyGuard, OpenError, PREFIX_LEN, SealError};

/// Seals and opens the records of one segment.
#[derive(Debug)]
pub struct SegmentCipher {}

impl SegmentCipher {
    /// Starts a segment: the cipher and the bytes that the file begins with.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn create(_guard: &KeyGuard, _now: BootTime, _rng: &dyn Rng, _header: &Header) -> Result<(Self, [u8; PREFIX_LEN]), SealError> {
        todo!()
    }
    /// Reads a segment's first bytes. The caller compares the header's object id with the segment it meant.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn reopen(guard: &KeyGuard, now: BootTime, expected: Epoch, prefix: &[u8; PREFIX_LEN]) -> Result<(Self, Header), OpenError> {
        let _ = (guard, now, expected, prefix);
        todo!()
    }
    /// Seals `buffer[start..]` in place and gives its tag. A `seq` must never be used twice in a segment.
    ///
    /// # Errors
    /// [`SealError::Guard`].
    #[expect(clippy::too_many_arguments, reason = "each is authenticated")]
    pub fn seal_record(
        &self,
        _guard: &KeyGuard,
        _now: BootTime,
        _seq: u64,
        _synced_through: u64,
        _previous: &[u8; 16],
        _buffer: &mut Vec<u8>,
        _start: usize,
    ) -> Result<[u8; 16], SealError> {
        todo!()
    }
    /// Opens a record in place.
    ///
    /// # Errors
    /// [`OpenError::NotAuthentic`] with the position as chunk, [`OpenError::Guard`].
    #[expect(clippy::too_many_arguments, reason = "each is authenticated")]
    pub fn open_record(
        &self,
        _guard: &KeyGuard,
        _now: BootTime,
        _seq: u64,
        _synced_through: u64,
        _previous: &[u8; 16],
        _ciphertext: &mut Vec<u8>,
        _tag: &[u8; 16],
    ) -> Result<(), OpenError> {
        todo!()
    }
}
