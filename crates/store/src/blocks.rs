//! Blocks: put once, read in ranges, deleted, listed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use strongroom_envelope::KeyGuard;
use strongroom_model::Epoch;
use strongroom_world::World;

use crate::{HotCache, ObjectKey, StoreError};

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
    /// put
    pub async fn put(&self, block: &StoredBlock, sealed: Bytes, guard: &KeyGuard) -> Result<(), StoreError> {
        todo!()
    }
    /// read
    pub async fn read(&self, block: &StoredBlock, guard: &KeyGuard, ranges: &[Range<u64>], by: Reader) -> Result<Vec<Bytes>, StoreError> {
        todo!()
    }
    /// delete
    pub async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        todo!()
    }
    /// list
    pub async fn list(&self) -> Result<Vec<(ObjectKey, u64)>, StoreError> {
        todo!()
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
