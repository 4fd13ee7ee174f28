//! The blocking half: names to paths, and the order of writes that makes an object whole or absent.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use bytes::Bytes;
use chrono::DateTime;
use object_store::path::Path;
use object_store::{Error, ListResult, ObjectMeta, Result};
use parking_lot::{Mutex, RwLock};
use strongroom_world::{DirEntry, FsFile, World};

pub(super) const STORE: &str = "local";
/// Unfinished objects lie here, in the same tree so that a rename moves them; never a part of an object's name.
const STAGING: &str = ".staging";
/// So many directories are remembered as synced; past that the memory is emptied and they are synced again.
const REMEMBERED_DIRS: usize = 65_536;
/// A directory may vanish under a `put` (its last object deleted) so often before that is an error.
const TRIES: u32 = 3;

#[derive(Debug)]
pub(super) struct Disk {
    world: World,
    root: PathBuf,
    staging: PathBuf,
    /// Directories whose own name is durable. One that merely exists may still be lost: another `put` may have made
    /// it a moment ago and not synced it yet.
    durable: Mutex<HashSet<PathBuf>>,
    /// Shared while an object moves to its place, alone while an emptied directory goes.
    tree: RwLock<()>,
}

impl Disk {
    pub(super) fn open(world: World, root: PathBuf) -> io::Result<Self> {
        let staging = root.join(STAGING);
        let new: Vec<&FilePath> = staging.ancestors().take_while(|dir| world.fs.metadata(dir).is_err()).collect();
        world.fs.create_dir_all(&staging)?;
        for left in world.fs.read_dir(&staging)? {
            world.fs.remove_file(&staging.join(&left.name))?;
        }
        for dir in new.iter().filter_map(|dir| dir.parent()).filter(|dir| !dir.as_os_str().is_empty()) {
            world.fs.sync_dir(dir)?;
        }
        world.fs.sync_dir(&root)?;
        // Made by a run that was killed before it could sync it, perhaps.
        if let Some(parent) = root.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            world.fs.sync_dir(parent)?;
        }
        Ok(Self::peek(world, root))
    }

    pub(super) fn peek(world: World, root: PathBuf) -> Self {
        Self { world, staging: root.join(STAGING), root, durable: Mutex::default(), tree: RwLock::default() }
    }

    /// The file of an object. Refuses the empty name, the staging directory and whatever could leave the root.
    fn place(&self, location: &Path) -> Result<PathBuf> {
        let mut path = self.root.clone();
        let mut depth = 0;
        for part in location.parts() {
            let part = part.as_ref();
            if matches!(part, "" | "." | ".." | STAGING) || part.contains(['/', '\0']) {
                return Err(unnameable(location));
            }
            path.push(part);
            depth += 1;
        }
        if depth == 0 { Err(unnameable(location)) } else { Ok(path) }
    }

    pub(super) fn put(&self, location: &Path, replace: bool, write: impl FnOnce(&dyn FsFile) -> io::Result<()>) -> Result<ObjectMeta> {
        let target = self.place(location)?;
        let mut random = [0; 16];
        self.world.rng.fill(&mut random);
        let staged = self.staging.join(format!("{}.tmp", hex::encode(random)));
        let outcome = self.stage(&staged, write).and_then(|()| self.settle(&staged, &target, replace));
        match outcome {
            Ok(()) => Ok(meta_of(location.clone(), &self.world.fs.metadata(&target).map_err(|error| failed(location, error))?)),
            Err(error) => {
                // Without effect if the rename took place; else the next start would do it.
                drop(self.world.fs.remove_file(&staged));
                Err(failed(location, error))
            }
        }
    }

    fn stage(&self, staged: &FilePath, write: impl FnOnce(&dyn FsFile) -> io::Result<()>) -> io::Result<()> {
        let file = self.world.fs.create_new(staged)?;
        write(file.as_ref())?;
        fail::fail_point!("flush.local_fsync", |_| Err(io::Error::other("failpoint flush.local_fsync")));
        file.sync_all()
    }

    /// Moves a synced file to its place and makes its name durable.
    fn settle(&self, staged: &FilePath, target: &FilePath, replace: bool) -> io::Result<()> {
        let dir = target.parent().expect("a place lies below the root");
        let mut tries = 0;
        loop {
            let _tree = self.tree.read();
            self.make_dirs(dir)?;
            let renamed = if replace { self.world.fs.rename(staged, target) } else { self.world.fs.rename_no_replace(staged, target) };
            tries += 1;
            match renamed {
                Ok(()) => return self.world.fs.sync_dir(dir),
                // Whoever is told "exists" may rely on it: an earlier `put` may have ended between rename and sync.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.world.fs.sync_dir(dir)?;
                    return Err(error);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < TRIES => self.durable.lock().clear(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes `dir` and makes its name durable, and that of every directory above it up to the root.
    fn make_dirs(&self, dir: &FilePath) -> io::Result<()> {
        let unsure: Vec<&FilePath> = {
            let durable = self.durable.lock();
            dir.ancestors().take_while(|dir| *dir != self.root && !durable.contains(*dir)).collect()
        };
        if unsure.is_empty() {
            return Ok(());
        }
        self.world.fs.create_dir_all(dir)?;
        for dir in &unsure {
            self.world.fs.sync_dir(dir.parent().expect("below the root"))?;
        }
        let mut durable = self.durable.lock();
        if durable.len() + unsure.len() > REMEMBERED_DIRS {
            durable.clear();
        }
        durable.extend(unsure.into_iter().map(FilePath::to_owned));
        Ok(())
    }

    pub(super) fn open_object(&self, location: &Path) -> Result<(Box<dyn FsFile>, ObjectMeta)> {
        let path = self.place(location)?;
        let entry = self.world.fs.metadata(&path).map_err(|error| failed(location, error))?;
        if entry.is_dir {
            return Err(failed(location, io::ErrorKind::NotFound.into()));
        }
        let file = self.world.fs.open_read(&path).map_err(|error| failed(location, error))?;
        Ok((file, meta_of(location.clone(), &entry)))
    }

    /// Removes an object for good, and the directories it leaves empty.
    pub(super) fn delete(&self, location: &Path) -> Result<()> {
        let path = self.place(location)?;
        self.world.fs.remove_file(&path).map_err(|error| failed(location, error))?;
        let mut dir = path.parent().expect("a place lies below the root");
        self.world.fs.sync_dir(dir).map_err(|error| failed(location, error))?;
        let _tree = self.tree.write();
        while dir != self.root {
            // Not empty is the usual answer, and the end of it.
            if self.world.fs.remove_dir(dir).is_err() {
                break;
            }
            self.durable.lock().remove(dir);
            dir = dir.parent().expect("below the root");
        }
        Ok(())
    }

    /// Every object below `prefix`, directories in name order, until `take` says no.
    pub(super) fn walk(&self, prefix: Option<&Path>, take: &mut dyn FnMut(ObjectMeta) -> bool) -> Result<()> {
        let mut dirs = vec![prefix.cloned().unwrap_or_default()];
        while let Some(dir) = dirs.pop() {
            let mut below = Vec::new();
            for entry in self.entries(&dir)? {
                let Some(location) = child(&dir, &entry) else { continue };
                if entry.is_dir {
                    below.push(location);
                } else if !take(meta_of(location, &entry)) {
                    return Ok(());
                }
            }
            dirs.extend(below.into_iter().rev());
        }
        Ok(())
    }

    pub(super) fn list_one(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let dir = prefix.cloned().unwrap_or_default();
        let mut listed = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        for entry in self.entries(&dir)? {
            match child(&dir, &entry) {
                Some(location) if entry.is_dir => listed.common_prefixes.push(location),
                Some(location) => listed.objects.push(meta_of(location, &entry)),
                None => {}
            }
        }
        Ok(listed)
    }

    /// A directory's entries; none if there is no such directory.
    fn entries(&self, dir: &Path) -> Result<Vec<DirEntry>> {
        let path = if dir.as_ref().is_empty() { self.root.clone() } else { self.place(dir)? };
        match self.world.fs.read_dir(&path) {
            Ok(entries) => Ok(entries),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
            Err(error) => Err(failed(dir, error)),
        }
    }
}

/// The name of an entry below `dir`; `None` for what no `put` made.
fn child(dir: &Path, entry: &DirEntry) -> Option<Path> {
    if entry.name == STAGING {
        return None;
    }
    let text = if dir.as_ref().is_empty() { entry.name.clone() } else { format!("{dir}/{}", entry.name) };
    Path::parse(text).ok()
}

pub(super) fn read_exact(file: &dyn FsFile, location: &Path, range: &Range<u64>) -> Result<Bytes> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).map_err(|error| failed(location, io::Error::other(error)))?;
    let mut bytes = vec![0; len];
    match file.read_at(&mut bytes, range.start) {
        Ok(n) if n == len => Ok(bytes.into()),
        Ok(_) => Err(failed(location, io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(failed(location, error)),
    }
}

fn meta_of(location: Path, entry: &DirEntry) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: DateTime::from_timestamp_nanos(entry.modified),
        size: entry.len,
        // Objects are never changed in place: when it was renamed into place and how long it is tell two puts apart.
        e_tag: Some(format!("{:x}-{:x}", entry.modified, entry.len)),
        version: None,
    }
}

fn unnameable(location: &Path) -> Error {
    failed(location, io::Error::new(io::ErrorKind::InvalidInput, "not a name an object can have"))
}

fn failed(location: &Path, source: io::Error) -> Error {
    let path = location.to_string();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound { path, source: source.into() },
        io::ErrorKind::AlreadyExists => Error::AlreadyExists { path, source: source.into() },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: source.into() },
        _ => Error::Generic { store: STORE, source: source.into() },
    }
}
