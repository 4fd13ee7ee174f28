//! What an earlier run left in the cache directory: taken over if its key record opens, wiped if not.

use std::io;
use std::path::Path;
use std::sync::Arc;

use strongroom_envelope::{CacheKey, Mmk};
use strongroom_model::{AekId, NodeId, WorkspaceId};
use strongroom_world::{DirEntry, Fs};

use super::index::parse_file;
use super::slot::{RECORD, Slot, remove_tree};

/// A part of an earlier run.
#[derive(Debug)]
pub(super) struct FoundPart {
    pub(super) name: String,
    pub(super) file: String,
    pub(super) len: u64,
    pub(super) until_ms: i64,
    /// When it was filled, nanoseconds since 1970.
    pub(super) modified: i64,
}

/// A directory whose key record opens, and its parts.
pub(super) struct FoundSlot {
    pub(super) workspace: WorkspaceId,
    pub(super) aek: AekId,
    pub(super) key: CacheKey,
    pub(super) parts: Vec<FoundPart>,
}

/// Goes through `{root}/{workspace}/{aek}/`, removes whatever is not ours, unreadable, unfinished or over, and
/// returns the rest. Blocking.
pub(super) fn scan(fs: &dyn Fs, root: &Path, mmk: &Arc<Mmk>, node: NodeId, now_ms: i64) -> io::Result<Vec<FoundSlot>> {
    fs.create_dir_all(root)?;
    let mut found = Vec::new();
    for above in fs.read_dir(root)? {
        let Some(workspace) = id_of::<WorkspaceId>(&above) else {
            discard(fs, root, &above);
            continue;
        };
        let dir = root.join(&above.name);
        for entry in fs.read_dir(&dir)? {
            let Some(aek) = id_of::<AekId>(&entry) else {
                discard(fs, &dir, &entry);
                continue;
            };
            let Some(key) = Slot::load_key(fs, &dir.join(&entry.name), mmk, node, workspace, aek) else {
                tracing::warn!(%workspace, %aek, "a cache without a readable key record is wiped");
                metrics::counter!("store_cache_wiped_total").increment(1);
                discard(fs, &dir, &entry);
                continue;
            };
            let parts = parts(fs, &dir.join(&entry.name), now_ms)?;
            found.push(FoundSlot { workspace, aek, key, parts });
        }
    }
    fs.sync_dir(root)?;
    Ok(found)
}

fn parts(fs: &dyn Fs, dir: &Path, now_ms: i64) -> io::Result<Vec<FoundPart>> {
    let mut parts: Vec<FoundPart> = Vec::new();
    for entry in fs.read_dir(dir)? {
        if entry.name == RECORD && !entry.is_dir {
            continue;
        }
        let (Some((name, until_ms)), false) = (parse_file(&entry.name), entry.is_dir) else {
            discard(fs, dir, &entry);
            continue;
        };
        // Sorted by name, so two files of one part are neighbours: the later one to go stays.
        let twin = parts.last().filter(|last| last.name == name).map(|last| last.file.clone());
        if until_ms <= now_ms {
            discard(fs, dir, &entry);
            continue;
        }
        let part = FoundPart { name: name.to_owned(), file: entry.name.clone(), len: entry.len, until_ms, modified: entry.modified };
        match twin {
            Some(file) => {
                discard(fs, dir, &DirEntry { name: file, ..entry });
                *parts.last_mut().expect("the twin is there") = part;
            }
            None => parts.push(part),
        }
    }
    Ok(parts)
}

/// The id a directory is named after, in its one spelling.
fn id_of<T: std::str::FromStr + ToString>(entry: &DirEntry) -> Option<T> {
    entry.name.parse::<T>().ok().filter(|id| entry.is_dir && id.to_string() == entry.name)
}

fn discard(fs: &dyn Fs, dir: &Path, entry: &DirEntry) {
    let path = dir.join(&entry.name);
    let outcome = if entry.is_dir { remove_tree(fs, &path) } else { fs.remove_file(&path) };
    if let Err(error) = outcome {
        tracing::warn!(kind = ?error.kind(), "something in the cache directory could not be removed");
    }
}
