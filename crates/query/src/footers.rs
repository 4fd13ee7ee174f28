//! Parsed Parquet footers, kept in memory: they hold min/max of rows, so they go when their epoch's key goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::common::TableReference;
use datafusion::execution::cache::cache_manager::CachedFileMetadataEntry;
use datafusion::execution::cache::{Cache, CacheEntryInfo, CacheValue};
use object_store::path::Path;
use parking_lot::Mutex;
use strongroom_envelope::KeyGuard;
use strongroom_model::Epoch;
use strongroom_world::Clock;

use crate::blk::path_epoch;

struct Entry {
    value: CachedFileMetadataEntry,
    epoch: Epoch,
    bytes: usize,
    used: u64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<Path, Entry>,
    /// The guards under which footers are read: a footer that comes in after its key went is not kept.
    guards: HashMap<Epoch, KeyGuard>,
    bytes: usize,
    tick: u64,
}

/// A cache of footers by block, tagged by epoch.
pub(crate) struct Footers {
    clock: Arc<dyn Clock>,
    limit: AtomicUsize,
    inner: Mutex<Inner>,
}

impl Footers {
    pub(crate) fn new(clock: Arc<dyn Clock>, limit: usize) -> Self {
        Self { clock, limit: AtomicUsize::new(limit), inner: Mutex::new(Inner::default()) }
    }

    /// Footers of this guard's epoch may be kept for as long as it holds.
    pub(crate) fn admit(&self, guard: &KeyGuard) {
        self.inner.lock().guards.insert(guard.epoch(), guard.clone());
    }

    /// Drops every footer of an epoch.
    pub(crate) fn forget(&self, epoch: Epoch) {
        let mut inner = self.inner.lock();
        inner.guards.remove(&epoch);
        let mut freed = 0;
        inner.entries.retain(|_, entry| {
            let keep = entry.epoch != epoch;
            if !keep {
                freed += entry.bytes;
            }
            keep
        });
        inner.bytes -= freed;
    }

    fn shrink(inner: &mut Inner, limit: usize) {
        if inner.bytes <= limit {
            return;
        }
        // A tenth more than needed goes at once, so that a full cache does not sort itself at every insert.
        let goal = limit - limit / 10;
        let mut by_age: Vec<(u64, Path)> = inner.entries.iter().map(|(path, entry)| (entry.used, path.clone())).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, path) in by_age {
            if inner.bytes <= goal {
                break;
            }
            if let Some(entry) = inner.entries.remove(&path) {
                inner.bytes -= entry.bytes;
            }
        }
    }
}

impl Cache<Path, CachedFileMetadataEntry> for Footers {
    fn get(&self, key: &Path) -> Option<CachedFileMetadataEntry> {
        let mut inner = self.inner.lock();
        inner.tick += 1;
        let tick = inner.tick;
        let entry = inner.entries.get_mut(key)?;
        entry.used = tick;
        Some(entry.value.clone())
    }
    fn put(&self, key: &Path, value: CachedFileMetadataEntry) -> Option<CachedFileMetadataEntry> {
        let epoch = path_epoch(key)?;
        let bytes = value.size() + 2 * key.as_ref().len();
        let limit = self.cache_limit();
        let now = self.clock.boot();
        let mut inner = self.inner.lock();
        let held = inner.guards.get(&epoch).is_some_and(|guard| guard.check(now).is_ok());
        if bytes > limit || !held {
            return None;
        }
        inner.tick += 1;
        let used = inner.tick;
        let old = inner.entries.insert(key.clone(), Entry { value, epoch, bytes, used });
        inner.bytes += bytes;
        if let Some(old) = &old {
            inner.bytes -= old.bytes;
        }
        Self::shrink(&mut inner, limit);
        old.map(|entry| entry.value)
    }
    fn remove(&self, key: &Path) -> Option<CachedFileMetadataEntry> {
        let mut inner = self.inner.lock();
        let entry = inner.entries.remove(key)?;
        inner.bytes -= entry.bytes;
        Some(entry.value)
    }
    fn contains_key(&self, key: &Path) -> bool {
        self.inner.lock().entries.contains_key(key)
    }
    fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }
    fn clear(&self) {
        *self.inner.lock() = Inner::default();
    }
    fn name(&self) -> String {
        "Footers".to_owned()
    }
    fn cache_limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }
    fn update_cache_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
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
