//! Parsed Parquet footers, kept in memory: they hold min/max of rows, so they go when their epoch's key goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::TableReference;
use datafusion::execution::cache::cache_manager::CachedFileMetadataEntry;
use datafusion::execution::cache::{Cache, CacheEntryInfo, CacheValue};
use object_store::path::Path;
use parking_lot::Mutex;
use strongroom_envelope::KeyGuard;
use strongroom_model::Epoch;
use strongroom_world::Clock;

use crate::aged::Aged;
use crate::blk::path_epoch;

struct Entry {
    value: CachedFileMetadataEntry,
    epoch: Epoch,
}

struct Inner {
    entries: Aged<Path, Entry>,
    /// The guards under which footers are read: a footer that comes in after its key went is not kept.
    guards: HashMap<Epoch, KeyGuard>,
}

/// A cache of footers by block, tagged by epoch.
pub(crate) struct Footers {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

impl Footers {
    pub(crate) fn new(clock: Arc<dyn Clock>, limit: usize) -> Self {
        Self { clock, inner: Mutex::new(Inner { entries: Aged::new(limit), guards: HashMap::new() }) }
    }

    /// Footers of this guard's epoch may be kept for as long as it holds.
    pub(crate) fn admit(&self, guard: &KeyGuard) {
        self.inner.lock().guards.insert(guard.epoch(), guard.clone());
    }

    /// Whether half of what may be kept is.
    pub(crate) fn is_half_full(&self) -> bool {
        let inner = self.inner.lock();
        inner.entries.weight() >= inner.entries.limit() / 2
    }

    /// Drops every footer of an epoch.
    pub(crate) fn forget(&self, epoch: Epoch) {
        let mut inner = self.inner.lock();
        inner.guards.remove(&epoch);
        inner.entries.retain(|entry| entry.epoch != epoch);
    }
}

impl Cache<Path, CachedFileMetadataEntry> for Footers {
    fn get(&self, key: &Path) -> Option<CachedFileMetadataEntry> {
        self.inner.lock().entries.get(key).map(|entry| entry.value.clone())
    }
    fn put(&self, key: &Path, value: CachedFileMetadataEntry) -> Option<CachedFileMetadataEntry> {
        let epoch = path_epoch(key)?;
        let bytes = value.size() + 2 * key.as_ref().len();
        let now = self.clock.boot();
        let mut inner = self.inner.lock();
        let held = inner.guards.get(&epoch).is_some_and(|guard| guard.check(now).is_ok());
        let old = if held { inner.entries.put(key.clone(), Entry { value, epoch }, bytes) } else { None };
        old.map(|entry| entry.value)
    }
    fn remove(&self, key: &Path) -> Option<CachedFileMetadataEntry> {
        self.inner.lock().entries.remove(key).map(|entry| entry.value)
    }
    fn contains_key(&self, key: &Path) -> bool {
        self.inner.lock().entries.contains(key)
    }
    fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }
    fn clear(&self) {
        let mut inner = self.inner.lock();
        inner.entries.clear();
        inner.guards.clear();
    }
    fn name(&self) -> String {
        "Footers".to_owned()
    }
    fn cache_limit(&self) -> usize {
        self.inner.lock().entries.limit()
    }
    fn update_cache_limit(&self, limit: usize) {
        self.inner.lock().entries.set_limit(limit);
    }
    fn cache_ttl(&self) -> Option<Duration> {
        None
    }
    fn update_cache_ttl(&self, _ttl: Option<Duration>) {}
    fn drop_table_entries(&self, _: &TableReference) -> datafusion::error::Result<()> {
        Ok(())
    }
    fn list_entries(&self) -> datafusion::common::HashMap<Path, CacheEntryInfo<CachedFileMetadataEntry>> {
        // Diagnostics would hand footers around; there are none.
        datafusion::common::HashMap::default()
    }
}
