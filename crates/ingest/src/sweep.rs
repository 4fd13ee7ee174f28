//! Objects that nothing points at any more.

use strongroom_catalog::{BlockRow, Catalog};
use strongroom_model::ObjectId;
use strongroom_store::{BlockStore, ObjectKey};
use strongroom_world::World;

use crate::{IngestError, SweepConfig};

/// What a sweep deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Blocks that never went live and were given up.
    pub abandoned: u64,
    /// Objects deleted.
    pub deleted: u64,
}

/// Deletes the objects of tombstones, blocks announced long ago that never went live among them.
/// Objects the catalog never heard of are left alone.
///
/// # Errors
/// [`IngestError::Catalog`], [`IngestError::Store`]; what was done stays done.
pub async fn sweep(world: &World, catalog: &Catalog, blocks: &BlockStore, config: &SweepConfig) -> Result<SweepReport, IngestError> {
    let now_ms = world.clock.wall().unix_ms();
    let abandoned = catalog.pending_abandon(now_ms.saturating_sub(config.pending_age_ms), config.objects_max).await?;
    let old = catalog.tombstones(now_ms.saturating_sub(config.tombstone_age_ms), config.objects_max).await?;
    let mut gone: Vec<ObjectId> = Vec::with_capacity(old.len());
    let mut failure = None;
    for row in &old {
        fail::fail_point!("compact.delete", |_| Err(IngestError::Failpoint { point: "compact.delete" }));
        // Deleting what is not there is no error: a block that was never put, or one deleted before a crash.
        match blocks.delete(&object_key(row)).await {
            Ok(()) => gone.push(row.object),
            Err(error) => failure = Some(error),
        }
    }
    if !gone.is_empty() {
        catalog.block_forget(&gone).await?;
    }
    metrics::counter!("ingest_swept_objects_total").increment(gone.len() as u64);
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(SweepReport { abandoned: abandoned.len() as u64, deleted: gone.len() as u64 }),
    }
}

fn object_key(row: &BlockRow) -> ObjectKey {
    ObjectKey { account: row.epoch.account, workspace: row.workspace, table: row.table, window_start: row.window.start, object: row.object }
}
