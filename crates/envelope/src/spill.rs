//! Spill files: a key per query that exists in memory only, sealed as a stream.

use strongroom_world::Rng;

use crate::OpenError;

/// Names one stream (its salt): keep it in memory beside the file, so that files cannot be swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamId(pub(crate) [u8; 24]);

/// The key of one query's spill files.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct SpillKey {}

impl SpillKey {
    /// A new one.
    #[must_use]
    pub fn generate(_rng: &dyn Rng) -> Self {
        todo!()
    }
    /// Starts a file.
    #[must_use]
    pub fn sealer(&self, _rng: &dyn Rng) -> StreamSealer {
        todo!()
    }
    /// Reads a file back.
    #[must_use]
    pub fn opener(&self, _stream: StreamId) -> StreamOpener {
        todo!()
    }
}

/// Seals a stream chunk by chunk.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct StreamSealer {}

impl StreamSealer {
    /// The stream's name.
    #[must_use]
    pub fn id(&self) -> StreamId {
        todo!()
    }
    /// Takes plaintext; appends what became ready to `out`. At most 16 KiB stay behind.
    pub fn push(&mut self, _plain: &[u8], _out: &mut Vec<u8>) {
        todo!()
    }
    /// Appends the final chunk.
    pub fn finish(self, _out: &mut Vec<u8>) {
        todo!()
    }
}

/// Opens a stream chunk by chunk.
#[expect(missing_debug_implementations, reason = "a secret")]
pub struct StreamOpener {}

impl StreamOpener {
    /// Takes sealed bytes; appends what was proved to `out`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn push(&mut self, _sealed: &[u8], _out: &mut Vec<u8>) -> Result<(), OpenError> {
        todo!()
    }
    /// Opens the final chunk: without this success the stream may have been cut.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn finish(self, _out: &mut Vec<u8>) -> Result<(), OpenError> {
        todo!()
    }
}
