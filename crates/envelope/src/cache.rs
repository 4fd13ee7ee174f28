//! Hot-cache keys and parts.

use strongroom_model::ObjectId;
use strongroom_world::{BootTime, Rng};

use crate::{GuardError, KeyGuard, OpenError, SealError};

/// The hot-cache key of one (node, workspace, AEK): random, kept wrapped by the MMK. Erasing its record is the revocation.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct CacheKey {}

impl CacheKey {
    /// A new one.
    #[must_use]
    pub fn generate(_rng: &dyn Rng) -> Self {
        todo!()
    }
    /// The key that parts are sealed under: of a CMK epoch it takes the AEK's cache-share too. `None` only where no guard
    /// exists (tests, MMK epochs).
    ///
    /// # Errors
    /// [`GuardError`].
    pub fn effective(&self, _guard: Option<&KeyGuard>, _now: BootTime) -> Result<PartKey, GuardError> {
        todo!()
    }
    /// The name of a part's file: hex of HMAC-SHA-256 over object id and part number.
    #[must_use]
    pub fn file_name(&self, _object: ObjectId, _part: u32) -> String {
        todo!()
    }
}

/// Seals and opens parts of cached objects; dead once its guard is.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct PartKey {}

impl PartKey {
    /// Seals one part.
    ///
    /// # Errors
    /// [`SealError::Guard`].
    pub fn seal_part(&self, _now: BootTime, _rng: &dyn Rng, _object: ObjectId, _part: u32, _bytes: &[u8]) -> Result<Vec<u8>, SealError> {
        todo!()
    }
    /// Opens one part. Any error but a guard's: delete the file, fetch again.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_part(&self, _now: BootTime, _object: ObjectId, _part: u32, _sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        todo!()
    }
}
