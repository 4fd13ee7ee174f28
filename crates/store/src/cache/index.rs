//! Which parts lie on disk: a moka cache of file names, least recently used out first.
//!
//! moka decides what goes; files are unlinked by one task, never by the thread that happened to insert. Every file
//! name is used once, so an unlink that comes late cannot take a newer file of the same part with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use moka::notification::RemovalCause;
use moka::policy::EvictionPolicy;
use strongroom_model::{AekId, WorkspaceId};
use strongroom_world::{Clock, World};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::slot::Slot;

/// So many files are unlinked in one turn on the blocking pool.
const UNLINKS_AT_ONCE: usize = 256;

/// Names one part of one object under one cache key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PartId {
    pub(super) workspace: WorkspaceId,
    pub(super) aek: AekId,
    /// Hex of the HMAC over object and part number: what the directory shows, too.
    pub(super) name: Arc<str>,
}

impl PartId {
    pub(super) fn new(slot: &Slot, name: &str) -> Self {
        Self { workspace: slot.workspace, aek: slot.aek, name: name.into() }
    }
}

/// One part on disk.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) slot: Arc<Slot>,
    /// Its file in the slot's directory.
    pub(super) file: String,
    /// Bytes on disk.
    pub(super) len: u32,
    /// When it goes, milliseconds since 1970.
    pub(super) until_ms: AtomicI64,
}

impl Entry {
    pub(super) fn path(&self) -> PathBuf {
        self.slot.dir.join(&self.file)
    }
    pub(super) fn is_over(&self, now_ms: i64) -> bool {
        self.until_ms.load(Ordering::Relaxed) <= now_ms
    }
}

/// A part's file name: `{name}.{until}.{fill}`, the last two in hexadecimal. `until` (seconds since 1970) lets the
/// next start go on counting; `fill` is random, so no two files ever share a name.
pub(super) fn file_of(name: &str, until_ms: i64, world: &World) -> String {
    let mut fill = [0; 8];
    world.rng.fill(&mut fill);
    format!("{name}.{:x}.{}", until_ms.max(0) / 1_000, hex::encode(fill))
}

/// Takes a file name apart into name and `until` in milliseconds; `None` if it is not one of ours.
pub(super) fn parse_file(file: &str) -> Option<(&str, i64)> {
    let mut parts = file.split('.');
    let (name, until, stamp) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if parts.next().is_some() || !hex(name) || stamp.len() != 16 || !hex(stamp) {
        return None;
    }
    Some((name, i64::from_str_radix(until, 16).ok()?.checked_mul(1_000)?))
}

pub(super) type Index = Cache<PartId, Arc<Entry>>;

/// Ages entries by the wall clock of arrival, not by when they were put into the index: a restart changes nothing.
struct Ages {
    clock: Arc<dyn Clock>,
    queried_ms: i64,
}

impl Ages {
    fn left(&self, entry: &Entry) -> Duration {
        let left = entry.until_ms.load(Ordering::Relaxed).saturating_sub(self.clock.wall().unix_ms());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

impl Expiry<PartId, Arc<Entry>> for Ages {
    fn expire_after_create(&self, _: &PartId, entry: &Arc<Entry>, _: Instant) -> Option<Duration> {
        Some(self.left(entry))
    }
    fn expire_after_update(&self, _: &PartId, entry: &Arc<Entry>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(self.left(entry))
    }
    /// A read keeps the part for a while more.
    fn expire_after_read(&self, _: &PartId, entry: &Arc<Entry>, _: Instant, _: Option<Duration>, _: Instant) -> Option<Duration> {
        let now_ms = self.clock.wall().unix_ms();
        // What is over stays over: the reader drops it.
        if !entry.is_over(now_ms) {
            entry.until_ms.fetch_max(now_ms.saturating_add(self.queried_ms), Ordering::Relaxed);
        }
        Some(self.left(entry))
    }
}

/// Makes the index and starts the task that unlinks what falls out of it. The task ends when the index is dropped.
pub(super) fn build(world: &World, size_bytes: u64, queried_ms: i64) -> Index {
    // Unbounded, as an eviction cannot wait; what queues up is bounded by the entries there are.
    let (send, gone) = unbounded_channel();
    tokio::spawn(unlink(world.clone(), gone));
    Cache::builder()
        .name("hot cache")
        .max_capacity(size_bytes)
        // The default policy (TinyLFU) turns new parts away from a full, warm cache.
        .eviction_policy(EvictionPolicy::lru())
        .weigher(|id: &PartId, entry: &Arc<Entry>| {
            let names = u32::try_from(id.name.len() + entry.file.len()).unwrap_or(u32::MAX);
            entry.len.saturating_add(names)
        })
        .expire_after(Ages { clock: Arc::clone(&world.clock), queried_ms })
        .eviction_listener(move |_, entry: Arc<Entry>, cause| {
            // moka never calls a listener again that has panicked once.
            if catch_unwind(AssertUnwindSafe(|| fell_out(&entry, cause, &send))).is_err() {
                tracing::error!("the hot cache's eviction listener panicked");
            }
        })
        .build()
}

fn fell_out(entry: &Entry, cause: RemovalCause, send: &UnboundedSender<PathBuf>) {
    let counters = &entry.slot.counters;
    counters.entries.fetch_sub(1, Ordering::Relaxed);
    counters.bytes.fetch_sub(u64::from(entry.len), Ordering::Relaxed);
    let cause = match cause {
        RemovalCause::Size => "size",
        RemovalCause::Expired => "age",
        RemovalCause::Explicit => "dropped",
        RemovalCause::Replaced => "replaced",
    };
    metrics::counter!("store_cache_evictions_total", "cause" => cause).increment(1);
    // The directory of an erased slot goes as a whole.
    if !entry.slot.is_dead() {
        // The task is gone only when the runtime is: the next start finds the file.
        drop(send.send(entry.path()));
    }
}

async fn unlink(world: World, mut gone: UnboundedReceiver<PathBuf>) {
    let mut paths = Vec::with_capacity(UNLINKS_AT_ONCE);
    while gone.recv_many(&mut paths, UNLINKS_AT_ONCE).await > 0 {
        let (world, batch) = (world.clone(), std::mem::take(&mut paths));
        let unlinked = tokio::task::spawn_blocking(move || {
            fail::fail_point!("cache.evict", |_| ());
            for path in batch {
                match world.fs.remove_file(&path) {
                    Ok(()) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => tracing::warn!(kind = ?error.kind(), "a cache file could not be unlinked"),
                }
            }
        });
        if unlinked.await.is_err() {
            tracing::error!("unlinking cache files panicked");
        }
    }
}
