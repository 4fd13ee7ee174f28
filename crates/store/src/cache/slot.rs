//! One cache key and the directory of parts sealed under it.
//!
//! The key's record is the only thing that makes the parts readable: whoever erases these few hundred bytes has
//! erased the cache, whatever copies of the part files remain.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use strongroom_envelope::{CacheKey, GuardError, KeyGuard, Mmk, PartKey};
use strongroom_model::{AekId, NodeId, ObjectId, WorkspaceId};
use strongroom_world::{Fs, World};

/// Name of the key record in its directory.
pub(super) const RECORD: &str = "key";
/// A record is a few hundred bytes; anything longer is not one.
const RECORD_LEN_MAX: u64 = 4_096;

/// What was done for one workspace since start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) fetched_bytes: AtomicU64,
}

/// The parts of one (workspace, AEK) on this node.
pub(super) struct Slot {
    pub(super) workspace: WorkspaceId,
    pub(super) aek: AekId,
    pub(super) dir: PathBuf,
    pub(super) counters: Arc<Counters>,
    /// `None` once erased: wiped from memory before anything is done on disk.
    key: RwLock<Option<CacheKey>>,
    dead: AtomicBool,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("workspace", &self.workspace).field("aek", &self.aek).finish_non_exhaustive()
    }
}

impl Slot {
    pub(super) fn new(workspace: WorkspaceId, aek: AekId, dir: PathBuf, key: CacheKey, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self { workspace, aek, dir, counters, key: RwLock::new(Some(key)), dead: AtomicBool::new(false) })
    }

    /// A fresh key, its record durable under `dir`. Blocking.
    pub(super) fn create(
        world: &World,
        root: &Path,
        mmk: &Mmk,
        node: NodeId,
        (workspace, aek): (WorkspaceId, AekId),
        counters: Arc<Counters>,
    ) -> io::Result<Arc<Self>> {
        let above = root.join(workspace.to_string());
        let dir = above.join(aek.to_string());
        world.fs.create_dir_all(&dir)?;
        let key = CacheKey::generate(world.rng.as_ref());
        world.fs.write_atomic(&dir.join(RECORD), &mmk.wrap_cache_key(world.rng.as_ref(), node, workspace, aek, &key))?;
        world.fs.sync_dir(&above)?;
        world.fs.sync_dir(root)?;
        Ok(Self::new(workspace, aek, dir, key, counters))
    }

    /// Reads the record of an earlier run. `None` if it is missing or does not open here. Blocking.
    pub(super) fn load_key(fs: &dyn Fs, dir: &Path, mmk: &Mmk, node: NodeId, workspace: WorkspaceId, aek: AekId) -> Option<CacheKey> {
        let record = fs.read(&dir.join(RECORD), RECORD_LEN_MAX).ok()?;
        mmk.unwrap_cache_key(node, workspace, aek, &record).ok()
    }

    /// The key its parts are sealed under for `guard`; `None` once erased.
    pub(super) fn part_key(&self, guard: &KeyGuard, world: &World) -> Result<Option<PartKey>, GuardError> {
        match &*self.key.read() {
            Some(key) => key.effective(Some(guard), world.clock.boot()).map(Some),
            None => Ok(None),
        }
    }

    /// The name of a part; `None` once erased.
    pub(super) fn part_name(&self, object: ObjectId, part: u32) -> Option<String> {
        self.key.read().as_ref().map(|key| key.file_name(object, part))
    }

    /// Names of the first `parts` parts of an object.
    pub(super) fn part_names(&self, object: ObjectId, parts: u32) -> Vec<String> {
        let key = self.key.read();
        key.as_ref().map(|key| (0..parts).map(|part| key.file_name(object, part)).collect()).unwrap_or_default()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Wipes the key from memory. From here on nothing of this slot opens in this process.
    pub(super) fn kill(&self) {
        self.dead.store(true, Ordering::Release);
        *self.key.write() = None;
    }

    /// Erases the record on disk. From here on nothing of this slot opens in any process. Blocking.
    pub(super) fn erase_record(&self, fs: &dyn Fs) -> io::Result<()> {
        erase_record(fs, &self.dir)
    }
}

/// Overwrites the key record in `dir`, syncs that, unlinks it, syncs that. A record that is gone is erased.
pub(super) fn erase_record(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    let path = dir.join(RECORD);
    let file = match fs.open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    // The unlink is tried even if the overwriting failed; the first failure is what the caller hears of.
    let overwritten = file.len().and_then(|len| {
        let zeros = vec![0; usize::try_from(len.min(RECORD_LEN_MAX)).expect("a few KiB")];
        file.write_all_at(&[IoSlice::new(&zeros)], 0)?;
        file.sync_all()
    });
    drop(file);
    let unlinked = fs.remove_file(&path).and_then(|()| fs.sync_dir(dir));
    overwritten.and(unlinked)
}

/// Removes a directory and all below it, key records first. What cannot be removed is left for the next start.
pub(super) fn remove_tree(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    erase_record(fs, dir)?;
    for entry in fs.read_dir(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir { remove_tree(fs, &path)? } else { fs.remove_file(&path)? }
    }
    fs.remove_dir(dir)
}

/// The slots there are. Bounded by the workspaces and epochs of the catalog.
pub(super) type Slots = HashMap<(WorkspaceId, AekId), Arc<Slot>>;
