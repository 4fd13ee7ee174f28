//! A sorted batch on its way to being a block: sealed, put, described; not yet committed.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use strongroom_catalog::{LiveBlock, PendingBlock};
use strongroom_envelope::{CellPlace, Header, KeyGuard, ObjectKind, seal, seal_cell};
use strongroom_model::{Epoch, ObjectId, Position, TableId, Window, WorkspaceId};
use strongroom_store::{ObjectKey, StoredBlock};
use strongroom_world::World;

use crate::decoding::blocking;
use crate::encode::{Arranged, Encoded, Profile};
use crate::{IngestDeps, IngestError};

/// Where a block belongs: what its header says and its object key spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    pub(crate) epoch: Epoch,
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    pub(crate) window: Window,
    pub(crate) object: ObjectId,
}

impl BlockPlace {
    /// A place for an object nobody has sealed yet. Every try gets a new one: one id names one ciphertext for ever.
    pub(crate) fn mint(world: &World, epoch: Epoch, workspace: WorkspaceId, table: TableId, window: Window) -> Self {
        let (ms, random) = world.id_seed();
        Self { epoch, workspace, table, window, object: ObjectId::mint(ms, random) }
    }

    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey {
            account: self.epoch.account,
            workspace: self.workspace,
            table: self.table,
            window_start: self.window.start,
            object: self.object,
        }
    }

    pub(crate) fn header(&self, double: bool) -> Header {
        Header {
            kind: ObjectKind::Block,
            double,
            aek: self.epoch.aek,
            account: self.epoch.account,
            workspace: self.workspace,
            table: self.table,
            window_start: self.window.start,
            object: self.object,
        }
    }

    pub(crate) fn cell(&self) -> CellPlace {
        CellPlace { epoch: self.epoch, workspace: self.workspace, table: self.table, row: self.object }
    }

    pub(crate) fn pending(&self, through: Position) -> PendingBlock {
        PendingBlock { object: self.object, workspace: self.workspace, table: self.table, epoch: self.epoch, window: self.window, through }
    }
}

/// A sealed block and its catalog row.
pub(crate) struct SealedBlock {
    pub(crate) stored: StoredBlock,
    pub(crate) bytes: Bytes,
    pub(crate) live: LiveBlock,
}

/// Seals a Parquet file and its statistics. Blocking: 3.6 GB/s a core, plus SHA-256.
pub(crate) fn seal_block(
    world: &World,
    guard: &KeyGuard,
    place: &BlockPlace,
    encoded: &Encoded,
    level: u8,
    arrived_ms: i64,
) -> Result<SealedBlock, IngestError> {
    let now = world.clock.boot();
    let bytes = seal(guard, now, &*world.rng, &place.header(guard.is_double()), &encoded.parquet)?;
    let stats = serde_json::to_vec(&encoded.stats).map_err(|error| IngestError::internal("writing statistics", error))?;
    let stats = seal_cell(guard, now, &*world.rng, &place.cell(), &stats)?;
    let len = bytes.len() as u64;
    Ok(SealedBlock {
        stored: StoredBlock { key: place.key(), epoch: place.epoch, len, arrived_ms },
        live: LiveBlock {
            object: place.object,
            window: place.window,
            time: encoded.time,
            rows: encoded.rows,
            sealed_len: len,
            plain_len: encoded.parquet.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
            level,
            arrived_ms,
            stats,
        },
        bytes: bytes.into(),
    })
}

/// How a block of these bytes is made: off the runtime, so a closure.
pub(crate) type Make = Box<dyn FnOnce() -> Result<Encoded, IngestError> + Send>;

/// The points of failure that tests arm, by who publishes.
pub(crate) struct Points {
    pub(crate) encode: &'static str,
    pub(crate) encrypt: &'static str,
    pub(crate) put: &'static str,
    pub(crate) put_unknown: &'static str,
}

/// Encodes, seals and puts one announced block.
pub(crate) async fn publish(
    deps: &IngestDeps,
    guard: &KeyGuard,
    place: BlockPlace,
    make: Make,
    level: u8,
    arrived_ms: i64,
    points: &'static Points,
) -> Result<LiveBlock, IngestError> {
    let (world, key) = (deps.world.clone(), guard.clone());
    let sealed = blocking(move || {
        failpoint(points.encode)?;
        let encoded = make()?;
        failpoint(points.encrypt)?;
        seal_block(&world, &key, &place, &encoded, level, arrived_ms)
    })
    .await??;
    failpoint(points.put)?;
    deps.blocks.put(&sealed.stored, sealed.bytes, guard).await?;
    failpoint(points.put_unknown)?;
    Ok(sealed.live)
}

/// A place where tests make the write path fail; nothing without the feature `failpoints` of `fail`.
#[allow(clippy::unnecessary_wraps, reason = "with that feature it fails")]
pub(crate) fn failpoint(point: &'static str) -> Result<(), IngestError> {
    let named = point;
    fail::fail_point!(named, |_| Err(IngestError::Failpoint { point }));
    let _ = named;
    Ok(())
}

/// Asks for a commit until its outcome is known, a few times.
pub(crate) async fn commit<F, Fut>(deps: &IngestDeps, mut ask: F) -> Result<(), IngestError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), strongroom_catalog::CatalogError>>,
{
    const TRIES: u32 = 5;
    let mut tries = 0;
    loop {
        match ask().await {
            Err(strongroom_catalog::CatalogError::CommitUnknown { .. }) if tries < TRIES => {
                tries += 1;
                deps.world.clock.sleep(std::time::Duration::from_millis(50 << tries)).await;
            }
            other => return Ok(other?),
        }
    }
}

/// Fresh rows become a file.
pub(crate) fn encoding(rows: Arranged) -> Make {
    Box::new(move || rows.encode(Profile::Flush))
}
