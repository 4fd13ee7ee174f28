//! Blocks: put once, read in ranges, deleted, listed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use strongroom_envelope::KeyGuard;
use strongroom_model::Epoch;
use strongroom_world::World;

use crate::{HotCache, ObjectKey, Reloaded, StoreError};

/// What must be known of a block to read its bytes; all of it stands in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// Where it lies.
    pub key: ObjectKey,
    /// The epoch that sealed it.
    pub epoch: Epoch,
    /// Its sealed length in bytes.
    pub len: u64,
    /// When its oldest row arrived, milliseconds since 1970: the hot cache counts its 14 days from here.
    pub arrived_ms: i64,
}

/// On whose behalf a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A question: what it reads may be kept in the hot cache.
    Query,
    /// Compaction, verification: takes what the cache has and puts nothing in.
    Maintain,
}

/// Blocks in an object store, behind a hot cache.
#[derive(Debug)]
pub struct BlockStore {
    world: World,
    objects: Arc<dyn ObjectStore>,
    cache: Arc<HotCache>,
}

impl BlockStore {
    /// Puts the two together.
    #[must_use]
    pub fn new(world: World, objects: Arc<dyn ObjectStore>, cache: Arc<HotCache>) -> Arc<Self> {
        Arc::new(Self { world, objects, cache })
    }

    /// Stores a sealed block for good, then keeps a copy in the hot cache if it arrived lately enough. A block that is
    /// there already with the same bytes counts as put, so an attempt whose outcome is unknown may be repeated.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if other bytes lie there, [`StoreError::Objects`] if the store failed (the object may be
    /// there or not), [`StoreError::Guard`] if the key was taken away before the put. Never on account of the cache.
    pub async fn put(&self, block: &StoredBlock, sealed: Bytes, guard: &KeyGuard) -> Result<(), StoreError> {
        guard.check(self.world.clock.boot())?;
        fail::fail_point!("flush.put", |_| Err(StoreError::Stopped { doing: "storing a block" }));
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(&block.key.path(), sealed.clone().into(), create).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) => self.check_same(block, &sealed).await?,
            Err(error) => return Err(StoreError::objects(&block.key)(error)),
        }
        fail::fail_point!("flush.put_unknown", |_| Err(StoreError::Stopped { doing: "storing a block" }));
        self.cache.admit(block, &sealed, guard).await;
        Ok(())
    }

    async fn check_same(&self, block: &StoredBlock, sealed: &Bytes) -> Result<(), StoreError> {
        let there = self.objects.get(&block.key.path()).await.map_err(StoreError::objects(&block.key))?;
        let same = there.meta.size == sealed.len() as u64 && there.bytes().await.map_err(StoreError::objects(&block.key))? == *sealed;
        if same { Ok(()) } else { Err(StoreError::Exists { key: block.key.to_string() }) }
    }

    /// The sealed bytes of `ranges`, one answer each: from the hot cache where it has them, else from the object store.
    ///
    /// # Errors
    /// [`StoreError::Guard`] if the key may not be used now, [`StoreError::OutOfRange`] for bytes past the block's
    /// known length, [`StoreError::Missing`] if the object is gone, [`StoreError::Objects`] if the store failed.
    pub async fn read(&self, block: &StoredBlock, guard: &KeyGuard, ranges: &[Range<u64>], by: Reader) -> Result<Vec<Bytes>, StoreError> {
        guard.check(self.world.clock.boot())?;
        if let Some(range) = ranges.iter().find(|range| range.start > range.end || range.end > block.len) {
            return Err(StoreError::OutOfRange { key: block.key.to_string(), start: range.start, end: range.end });
        }
        self.cache.read(&self.objects, block, guard, ranges, by).await
    }

    /// Puts what is missing of these blocks into the hot cache, newest arrival first, at the pace of
    /// [`CacheConfig::reload_bytes_per_second`](crate::CacheConfig): after a key came back.
    ///
    /// # Errors
    /// [`StoreError::Guard`] as soon as a block's key may not be used any more, [`StoreError::Objects`] if the store failed.
    pub async fn reload(&self, blocks: Vec<(StoredBlock, KeyGuard)>) -> Result<Reloaded, StoreError> {
        self.cache.reload(&self.objects, blocks).await
    }

    /// Removes a block and its copies in the hot cache. One that is not there is removed already.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the store failed.
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.cache.drop_object(key).await;
        match self.objects.delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StoreError::objects(key)(error)),
        }
    }

    /// Every block in the object store with its length in bytes. Objects of other kinds are left out.
    ///
    /// # Errors
    /// [`StoreError::Objects`] if the listing breaks.
    pub async fn list(&self) -> Result<Vec<(ObjectKey, u64)>, StoreError> {
        self.objects
            .list(None)
            .try_filter_map(|meta| std::future::ready(Ok(meta.location.as_ref().parse().ok().map(|key| (key, meta.size)))))
            .try_collect()
            .await
            .map_err(StoreError::objects(&"(listing)"))
    }

    /// The object store itself: key records lie there too.
    #[must_use]
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The hot cache.
    #[must_use]
    pub fn cache(&self) -> &HotCache {
        &self.cache
    }
}
