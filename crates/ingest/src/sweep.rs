//! Objects that nothing points at any more.

use strongroom_catalog::Catalog;
use strongroom_store::BlockStore;
use strongroom_world::World;

use crate::{IngestError, SweepConfig};

/// What a sweep deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Objects of blocks that were merged or expired.
    pub tombstones: u64,
    /// Objects of blocks that never went live.
    pub abandoned: u64,
}

/// Deletes the objects of tombstones and of blocks announced long ago that never went live.
/// Objects the catalog never heard of are left alone.
///
/// # Errors
/// [`IngestError::Catalog`], [`IngestError::Store`]; what was done stays done.
pub async fn sweep(world: &World, catalog: &Catalog, blocks: &BlockStore, config: &SweepConfig) -> Result<SweepReport, IngestError> {
    todo!("{world:?} {catalog:?} {config:?} {:?}", blocks.objects())
}
