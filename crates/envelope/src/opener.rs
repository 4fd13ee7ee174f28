//! Random access to a sealed object.

use std::ops::Range;

use strongroom_world::BootTime;

use crate::{Header, KeyGuard, OpenError};

/// Opens ranges of one object: made from its first bytes and its whole length. Clones share the derived key.
#[derive(Clone, Debug)]
pub struct ObjectOpener {}

impl ObjectOpener {
    /// Checks header and commitment. `prefix` is the first `min(prefix_len(double), sealed_len)` bytes of the object.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(_guard: &KeyGuard, _now: BootTime, _expected: &Header, _prefix: &[u8], _sealed_len: u64) -> Result<Self, OpenError> {
        todo!()
    }
    /// How many bytes of an object [`ObjectOpener::new`] needs (all of it if it is shorter).
    #[must_use]
    pub fn prefix_len(_double: bool) -> u64 {
        todo!()
    }
    /// Length of the plaintext in bytes: authentic once [`ObjectOpener::prove_end`] succeeded.
    #[must_use]
    pub fn plain_len(&self) -> u64 {
        todo!()
    }
    /// Where the final chunk lies in the sealed object.
    #[must_use]
    pub fn final_range(&self) -> Range<u64> {
        todo!()
    }
    /// Opens the final chunk and so proves that nothing was cut off.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn prove_end(&self, _guard: &KeyGuard, _now: BootTime, _sealed_final: &[u8]) -> Result<(), OpenError> {
        todo!()
    }
    /// The chunk-aligned sealed bytes that hold `plain`; both are cut at the object's end.
    #[must_use]
    pub fn sealed_range(&self, _plain: Range<u64>) -> Range<u64> {
        todo!()
    }
    /// Opens `plain` (cut at the object's end) from the bytes of [`ObjectOpener::sealed_range`] of it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_range(&self, _guard: &KeyGuard, _now: BootTime, _plain: Range<u64>, _sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        todo!()
    }
}
