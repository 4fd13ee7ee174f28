//! The hot cache: copies of sealed objects on SSD, in parts of 1 MiB, each sealed once more.
//!
//! A cache never fails its caller: a part that is gone, torn or changed is fetched again, a disk that is full keeps
//! nothing new. Only the guard's own errors pass. The bytes and the rules are told in `docs/formats/hot-cache.md`.
//!
//! ```text
//! cache/{workspace}/{aek}/key                      the cache key, wrapped by the MMK: erase it and the rest is noise
//! cache/{workspace}/{aek}/{hmac}.{until}.{fill}    a part, sealed under the cache key (and a CMK epoch's cache-share)
//! ```

mod config;
mod index;
mod read;
mod reload;
mod scan;
mod slot;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use parking_lot::{Mutex, RwLock};
use strongroom_envelope::{KeyGuard, Mmk};
use strongroom_model::{AekId, Epoch, NodeId, ObjectId, WorkspaceId};
use strongroom_world::{BootTime, World};

pub use self::config::{CacheConfig, CacheStats, Hotness};
use self::index::{Entry, Index, PartId};
pub use self::reload::Reloaded;
use self::scan::FoundSlot;
use self::slot::{Counters, Slot, Slots};
use crate::{ObjectKey, StoreError, StoredBlock};

/// Length of a part in bytes: the last one of an object is shorter.
pub const PART_LEN: u64 = 1 << 20;
/// Objects are at most 128 MiB; so many parts are looked for when one is deleted.
const PARTS_MAX: u32 = 512;
const DAY_MS: i64 = 86_400_000;

/// Copies of sealed objects on SSD, in parts.
pub struct HotCache {
    world: World,
    dir: PathBuf,
    mmk: Arc<Mmk>,
    node: NodeId,
    config: CacheConfig,
    size_bytes: u64,
    index: Index,
    slots: RwLock<Slots>,
    /// Slots whose key record could not be erased: the next `forget` tries again.
    doomed: Mutex<Vec<Arc<Slot>>>,
    /// Held while a slot is made or erased, so that neither meets the other half-way.
    changing: tokio::sync::Mutex<()>,
    /// Held by the one reload that is fetching, until its part has had its time.
    reloading: tokio::sync::Mutex<()>,
    counters: RwLock<HashMap<WorkspaceId, Arc<Counters>>>,
    /// Old parts that were read once, and when.
    touched: moka::sync::Cache<(ObjectId, u32), BootTime>,
}

impl fmt::Debug for HotCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HotCache").field("dir", &self.dir).field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

impl HotCache {
    /// Opens the cache below `dir` and takes over what an earlier run left there. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if the directory cannot be made or listed.
    pub async fn open(world: World, dir: PathBuf, mmk: Arc<Mmk>, node: NodeId, config: CacheConfig) -> Result<Arc<Self>, StoreError> {
        let now_ms = world.clock.wall().unix_ms();
        let (found, free) = {
            let (world, dir, mmk) = (world.clone(), dir.clone(), Arc::clone(&mmk));
            tokio::task::spawn_blocking(move || {
                let found = scan::scan(world.fs.as_ref(), &dir, &mmk, node, now_ms)?;
                Ok((found, world.fs.space(&dir)?.free))
            })
            .await
            .map_err(|_| StoreError::Stopped { doing: "opening the hot cache" })?
            .map_err(StoreError::disk("opening the hot cache"))?
        };
        let held: u64 = found.iter().flat_map(|slot| &slot.parts).map(|part| part.len).sum();
        let size_bytes = config.size_for(free.saturating_add(held));
        let cache = Self::empty(world, dir, mmk, node, config, size_bytes);
        cache.take_over(found).await;
        Ok(cache)
    }

    /// No cache at all: serves nothing, takes nothing in and touches no directory. For commands that look at the data
    /// of a server that may be running. Must be called on a tokio runtime.
    #[must_use]
    pub fn absent(world: World, mmk: Arc<Mmk>, node: NodeId) -> Arc<Self> {
        let config = CacheConfig { enabled: false, ..CacheConfig::default() };
        Self::empty(world, PathBuf::new(), mmk, node, config, 0)
    }

    fn empty(world: World, dir: PathBuf, mmk: Arc<Mmk>, node: NodeId, config: CacheConfig, size_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            index: index::build(&world, size_bytes, i64::from(config.queried_hours) * 3_600_000),
            touched: moka::sync::Cache::builder().max_capacity(config.touched_parts).eviction_policy(EvictionPolicy::lru()).build(),
            slots: RwLock::default(),
            doomed: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            counters: RwLock::default(),
            world,
            dir,
            mmk,
            node,
            config,
            size_bytes,
        })
    }

    /// Puts an earlier run's parts into the index, the oldest fill first.
    async fn take_over(&self, found: Vec<FoundSlot>) {
        let mut parts = Vec::new();
        for FoundSlot { workspace, aek, key, parts: of_slot } in found {
            let dir = self.dir.join(workspace.to_string()).join(aek.to_string());
            let slot = Slot::new(workspace, aek, dir, key, self.counters_of(workspace));
            self.slots.write().insert((workspace, aek), Arc::clone(&slot));
            parts.extend(of_slot.into_iter().map(|part| (Arc::clone(&slot), part)));
        }
        parts.sort_by_key(|(_, part)| part.modified);
        let number = parts.len();
        for (slot, part) in parts {
            let id = PartId::new(&slot, &part.name);
            let len = u32::try_from(part.len).unwrap_or(u32::MAX);
            self.insert(id, Arc::new(Entry { slot, file: part.file, len, until_ms: AtomicI64::new(part.until_ms) })).await;
        }
        self.index.run_pending_tasks().await;
        tracing::info!(parts = number, size_bytes = self.size_bytes, "hot cache open");
    }

    async fn insert(&self, id: PartId, entry: Arc<Entry>) {
        count_in(&entry);
        self.index.insert(id, entry).await;
    }

    fn counters_of(&self, workspace: WorkspaceId) -> Arc<Counters> {
        if let Some(counters) = self.counters.read().get(&workspace) {
            return Arc::clone(counters);
        }
        Arc::clone(self.counters.write().entry(workspace).or_default())
    }

    fn slot(&self, workspace: WorkspaceId, aek: AekId) -> Option<Arc<Slot>> {
        self.slots.read().get(&(workspace, aek)).cloned()
    }

    /// The slot of a block, made if need be. `None` if it cannot be: then nothing is kept.
    async fn slot_for(&self, block: &StoredBlock, guard: &KeyGuard) -> Option<Arc<Slot>> {
        let (workspace, aek) = (block.key.workspace, block.epoch.aek);
        if let Some(slot) = self.slot(workspace, aek) {
            return Some(slot);
        }
        let _changing = self.changing.lock().await;
        // Asked under the lock: a guard that is good now is killed before `forget` is called, never after.
        guard.check(self.world.clock.boot()).ok()?;
        if let Some(slot) = self.slot(workspace, aek) {
            return Some(slot);
        }
        let (world, dir, mmk, node) = (self.world.clone(), self.dir.clone(), Arc::clone(&self.mmk), self.node);
        let counters = self.counters_of(workspace);
        let made = tokio::task::spawn_blocking(move || Slot::create(&world, &dir, &mmk, node, (workspace, aek), counters)).await;
        match made {
            Ok(Ok(slot)) => {
                self.slots.write().insert((workspace, aek), Arc::clone(&slot));
                Some(slot)
            }
            Ok(Err(error)) => {
                tracing::warn!(%workspace, %aek, kind = ?error.kind(), "no cache key could be stored");
                None
            }
            Err(_) => None,
        }
    }

    /// What was done for each workspace since start, in id order.
    #[must_use]
    pub fn stats(&self) -> Vec<CacheStats> {
        let counters: BTreeMap<_, _> = self.counters.read().iter().map(|(id, counters)| (*id, Arc::clone(counters))).collect();
        let of = |(workspace, counters): (WorkspaceId, Arc<Counters>)| CacheStats {
            workspace,
            entries: counters.entries.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            hits: counters.hits.load(Ordering::Relaxed),
            misses: counters.misses.load(Ordering::Relaxed),
            fetched_bytes: counters.fetched_bytes.load(Ordering::Relaxed),
        };
        counters.into_iter().map(of).collect()
    }

    /// Whether it keeps anything.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.config.enabled
    }

    /// The most bytes it keeps on disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// How much of a block is here, for EXPLAIN. Touches nothing.
    #[must_use]
    pub fn contains(&self, block: &StoredBlock) -> Hotness {
        let Some(slot) = self.slot(block.key.workspace, block.epoch.aek) else { return Hotness::Cold };
        let parts = u32::try_from(block.len.div_ceil(PART_LEN)).unwrap_or(u32::MAX).min(PARTS_MAX);
        let names = slot.part_names(block.key.object, parts);
        let here = names.iter().filter(|name| self.index.contains_key(&PartId::new(&slot, name))).count();
        match here {
            0 => Hotness::Cold,
            n if n == names.len() => Hotness::Hot,
            _ => Hotness::Partly,
        }
    }

    /// Drops every part of a deleted object.
    pub(crate) async fn drop_object(&self, key: &ObjectKey) {
        let slots: Vec<Arc<Slot>> = self.slots.read().values().filter(|slot| slot.workspace == key.workspace).cloned().collect();
        for slot in slots {
            for name in slot.part_names(key.object, PARTS_MAX) {
                let id = PartId::new(&slot, &name);
                if self.index.contains_key(&id) {
                    self.index.invalidate(&id).await;
                }
            }
        }
    }

    /// Erases what is cached under an epoch's AEK: its keys are wiped from memory and their records erased on disk when
    /// this returns; the part files, unreadable from then on, go in the background. The epoch's guard is to be killed
    /// before, so that nothing is filled anew.
    ///
    /// # Errors
    /// [`StoreError::Disk`] if a record could not be erased (in memory it is); call again.
    pub async fn forget(&self, epoch: Epoch) -> Result<(), StoreError> {
        self.erase(|slot| slot.aek == epoch.aek).await
    }

    /// Erases what is cached of one workspace, as [`forget`](Self::forget) does of an epoch.
    ///
    /// # Errors
    /// As [`forget`](Self::forget).
    pub async fn forget_workspace(&self, workspace: WorkspaceId) -> Result<(), StoreError> {
        self.erase(|slot| slot.workspace == workspace).await
    }

    async fn erase(&self, which: impl Fn(&Slot) -> bool) -> Result<(), StoreError> {
        // Memory first, without waiting for anything.
        for slot in self.slots.read().values().filter(|slot| which(slot)) {
            slot.kill();
        }
        let _changing = self.changing.lock().await;
        let mut erased = std::mem::take(&mut *self.doomed.lock());
        let kept: Vec<Arc<Slot>> = erased.extract_if(.., |slot| !which(slot)).collect();
        self.doomed.lock().extend(kept);
        erased.extend(self.slots.write().extract_if(|_, slot| which(slot)).map(|(_, slot)| slot));
        let mut outcome = Ok(());
        for slot in &erased {
            slot.kill();
            let (world, erasing) = (self.world.clone(), Arc::clone(slot));
            let done = tokio::task::spawn_blocking(move || {
                erasing.erase_record(world.fs.as_ref())?;
                // Out of the way of a new slot of the same name; a directory with another name is wiped at start.
                let mut random = [0; 8];
                world.rng.fill(&mut random);
                let aside = erasing.dir.with_extension(format!("erased-{}", hex::encode(random)));
                if world.fs.rename(&erasing.dir, &aside).is_ok() {
                    drop(tokio::task::spawn_blocking(move || remove_erased(&world, &aside)));
                }
                Ok(())
            })
            .await
            .map_err(|_| StoreError::Stopped { doing: "erasing a cache key" })
            .and_then(|done: std::io::Result<()>| done.map_err(StoreError::disk("erasing a cache key")));
            if let Err(error) = done {
                self.doomed.lock().push(Arc::clone(slot));
                outcome = outcome.and(Err(error));
            }
        }
        self.drop_entries(|entry| entry.slot.is_dead()).await;
        outcome
    }

    async fn drop_entries(&self, which: impl Fn(&Entry) -> bool) {
        let ids: Vec<Arc<PartId>> = self.index.iter().filter(|(_, entry)| which(entry)).map(|(id, _)| id).collect();
        for id in ids {
            self.index.invalidate(id.as_ref()).await;
        }
        self.index.run_pending_tasks().await;
    }

    /// Drops what has had its days, and gives room back if the disk has none. To be called from a timer, every 30 to
    /// 60 s: moka on its own does nothing while nobody calls it.
    pub async fn sweep(&self) {
        let now_ms = self.world.clock.wall().unix_ms();
        self.drop_entries(|entry| entry.is_over(now_ms)).await;
        let (world, dir) = (self.world.clone(), self.dir.clone());
        if let Ok(Ok(space)) = tokio::task::spawn_blocking(move || world.fs.space(&dir)).await {
            let mut missing = self.config.free_min(space.total).saturating_sub(space.free);
            if missing > 0 {
                let mut entries: Vec<_> =
                    self.index.iter().map(|(id, entry)| (entry.until_ms.load(Ordering::Relaxed), entry.len, id)).collect();
                entries.sort_unstable_by_key(|(until, _, _)| *until);
                for (_, len, id) in entries {
                    if missing == 0 {
                        break;
                    }
                    missing = missing.saturating_sub(u64::from(len));
                    self.index.invalidate(id.as_ref()).await;
                }
                self.index.run_pending_tasks().await;
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("store_cache_size_bytes").set(self.index.weighted_size() as f64);
    }

    /// Milliseconds that a block stays from its arrival.
    fn hot_ms(&self) -> i64 {
        i64::from(self.config.hot_days) * DAY_MS
    }

    fn is_young(&self, block: &StoredBlock, now_ms: i64) -> bool {
        now_ms.saturating_sub(block.arrived_ms) < self.hot_ms()
    }

    fn repeat_after(&self) -> Duration {
        Duration::from_secs(u64::from(self.config.repeat_after_secs))
    }
}

fn count_in(entry: &Entry) {
    entry.slot.counters.entries.fetch_add(1, Ordering::Relaxed);
    entry.slot.counters.bytes.fetch_add(u64::from(entry.len), Ordering::Relaxed);
}

fn remove_erased(world: &World, dir: &Path) {
    fail::fail_point!("key.cache_files", |_| ());
    if let Err(error) = slot::remove_tree(world.fs.as_ref(), dir) {
        tracing::warn!(kind = ?error.kind(), "an erased cache directory is left for the next start");
    }
}

#[cfg(test)]
mod tests;
