//! How blocks come to be: announced, made live by a flush or a compaction. Every commit here is fenced.

use crate::{Catalog, CatalogError, CompactionCommit, FlushCommit, PendingBlock, WriterEpoch};

impl Catalog {
    /// Announces blocks about to be put (transaction A).
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if an object was announced before;
    /// [`CatalogError::NotFound`] if the table is not there.
    pub async fn blocks_pend(&self, writer: WriterEpoch, blocks: &[PendingBlock]) -> Result<(), CatalogError> {
        todo!("{writer:?} {blocks:?}")
    }

    /// Makes one freeze durable (transaction B): its blocks go live, flushed-through moves on, its batch ids are kept; all
    /// or nothing. The same commit again is answered as done.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if a block is not pending or these positions were flushed
    /// otherwise; [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn flush_commit(&self, writer: WriterEpoch, commit: &FlushCommit) -> Result<(), CatalogError> {
        todo!("{writer:?} {commit:?}")
    }

    /// Replaces blocks by their merge, all or nothing. The same commit again is answered as done.
    ///
    /// # Errors
    /// [`CatalogError::Fenced`]; [`CatalogError::Conflict`] if an input is no longer live or an output not pending;
    /// [`CatalogError::Invalid`] if rows would go missing or a block would leave its (table, window, epoch);
    /// [`CatalogError::CommitUnknown`] if it cannot be known: ask again.
    pub async fn compaction_commit(&self, writer: WriterEpoch, commit: &CompactionCommit) -> Result<(), CatalogError> {
        todo!("{writer:?} {commit:?}")
    }
}
