//! Whole objects: one call seals, one call opens.

use strongroom_world::{BootTime, Rng};

use crate::{Header, KeyGuard, OpenError, SealError};

/// Seals `plain` as the object that `header` names (kind block, or cell): header, salt, commitment, chunks.
///
/// # Errors
/// [`SealError::Guard`] if the keys may not be used, [`SealError::WrongHeader`] if the header is of another epoch.
pub fn seal(_guard: &KeyGuard, _now: BootTime, _rng: &dyn Rng, _header: &Header, _plain: &[u8]) -> Result<Vec<u8>, SealError> {
    todo!()
}

/// Opens a whole object.
///
/// # Errors
/// [`OpenError`]: nothing of an object is given out unless all of it is authentic and in its place.
pub fn open(_guard: &KeyGuard, _now: BootTime, _expected: &Header, _sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    todo!()
}

/// How long an object with `plain_len` bytes of plaintext is once sealed, in bytes.
#[must_use]
pub fn sealed_len(_plain_len: u64, _double: bool) -> u64 {
    todo!()
}
