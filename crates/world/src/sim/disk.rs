//! What the disk holds, what the page cache holds, and what becomes of the difference when the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Writes are torn at multiples of this, the smallest unit a disk writes whole.
const SECTOR: u64 = 512;

pub(super) const ROOT: u64 = 0;

/// A write or a change of length that the disk has not confirmed.
#[derive(Debug)]
enum Dirty {
    Write { offset: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Debug, Default)]
pub(super) struct FileNode {
    /// What reads see.
    pub(super) cached: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    dirty: Vec<Dirty>,
}

#[derive(Debug, Default)]
pub(super) struct DirNode {
    pub(super) entries: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
}

#[derive(Debug)]
pub(super) enum Content {
    File(FileNode),
    Dir(DirNode),
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) modified: i64,
    open: u32,
}

/// Changes of names in one directory that come to the disk together, after the change they `need`.
#[derive(Debug)]
struct Renaming {
    id: u64,
    dir: u64,
    changes: Vec<(String, Option<u64>)>,
    needs: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<u64, Node>,
    namings: Vec<Renaming>,
    next: u64,
    rng: ChaCha8Rng,
}

fn not_found() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let (start, end) = (index(offset), index(offset) + data.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(data);
}

pub(super) fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files fit in memory")
}

impl FileNode {
    pub(super) fn write(&mut self, offset: u64, bytes: Vec<u8>) {
        put(&mut self.cached, offset, &bytes);
        self.dirty.push(Dirty::Write { offset, bytes });
    }

    pub(super) fn set_len(&mut self, len: u64) {
        self.cached.resize(index(len), 0);
        self.dirty.push(Dirty::Length(len));
    }

    /// A sync that worked.
    pub(super) fn settle(&mut self) {
        for dirty in std::mem::take(&mut self.dirty) {
            match dirty {
                Dirty::Write { offset, bytes } => put(&mut self.durable, offset, &bytes),
                Dirty::Length(len) => self.durable.resize(index(len), 0),
            }
        }
    }

    /// Some of what was not synced reaches the disk, sector by sector, in any order; the rest never will.
    pub(super) fn tear(&mut self, rng: &mut ChaCha8Rng) {
        let mood = rng.random_range(0..6);
        let dirty = std::mem::take(&mut self.dirty);
        let count = dirty.len();
        let prefix = rng.random_range(0..=count);
        // The new length may be lost though bytes behind it were written: they are then out of reach.
        let length_lost = rng.random_range(0..4) == 0;
        let old_len = self.durable.len();
        for (at, dirty) in dirty.into_iter().enumerate() {
            let whole = match mood {
                0 => break,
                1 => true,
                2 | 3 => at < prefix,
                _ => false,
            };
            if matches!(mood, 2) && !whole {
                break;
            }
            match dirty {
                Dirty::Length(len) => {
                    if whole || rng.random_bool(0.5) {
                        self.durable.resize(index(len), 0);
                    }
                }
                Dirty::Write { offset, bytes } => {
                    let mut from = 0_u64;
                    while from < bytes.len() as u64 {
                        let to = ((offset + from) / SECTOR * SECTOR + SECTOR - offset).min(bytes.len() as u64);
                        if whole || rng.random_bool(0.5) {
                            put(&mut self.durable, offset + from, &bytes[index(from)..index(to)]);
                        }
                        from = to;
                    }
                }
            }
        }
        if length_lost && mood >= 3 {
            self.durable.truncate(old_len);
        }
    }
}

impl Disk {
    pub(super) fn new(rng: ChaCha8Rng, now: i64) -> Self {
        let root = Node { content: Content::Dir(DirNode::default()), modified: now, open: 0 };
        Self { nodes: BTreeMap::from([(ROOT, root)]), namings: Vec::new(), next: 1, rng }
    }

    pub(super) fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    pub(super) fn node(&self, id: u64) -> io::Result<&Node> {
        self.nodes.get(&id).ok_or_else(not_found)
    }

    pub(super) fn file(&mut self, id: u64) -> io::Result<&mut FileNode> {
        match self.nodes.get_mut(&id) {
            Some(Node { content: Content::File(file), .. }) => Ok(file),
            Some(_) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None => Err(not_found()),
        }
    }

    pub(super) fn touch(&mut self, id: u64, now: i64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.modified = now;
        }
    }

    pub(super) fn dir(&self, id: u64) -> io::Result<&DirNode> {
        match self.node(id)?.content {
            Content::Dir(ref dir) => Ok(dir),
            Content::File(_) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        }
    }

    fn dir_mut(&mut self, id: u64) -> &mut DirNode {
        match self.nodes.get_mut(&id) {
            Some(Node { content: Content::Dir(dir), .. }) => dir,
            _ => unreachable!("names are changed in directories that were looked up"),
        }
    }

    pub(super) fn names(path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => names.push(name.to_string_lossy().into_owned()),
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the simulated disk knows plain paths only")),
            }
        }
        Ok(names)
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        Self::names(path)?.iter().try_fold(ROOT, |at, name| self.dir(at)?.entries.get(name).copied().ok_or_else(not_found))
    }

    /// The directory and last name of a path.
    pub(super) fn place(&self, path: &Path) -> io::Result<(u64, String)> {
        let mut names = Self::names(path)?;
        let name = names.pop().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let dir = names.iter().try_fold(ROOT, |at, name| self.dir(at)?.entries.get(name).copied().ok_or_else(not_found))?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    pub(super) fn add(&mut self, content: Content, now: i64) -> u64 {
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node { content, modified: now, open: 0 });
        id
    }

    /// Changes names in one directory, all or none of them surviving a power cut.
    pub(super) fn rename(&mut self, dir: u64, changes: Vec<(String, Option<u64>)>, needs: Option<u64>) -> u64 {
        for (name, node) in &changes {
            let entries = &mut self.dir_mut(dir).entries;
            match node {
                Some(node) => entries.insert(name.clone(), *node),
                None => entries.remove(name),
            };
        }
        let id = self.next;
        self.next += 1;
        self.namings.push(Renaming { id, dir, changes, needs });
        id
    }

    fn harden(&mut self, naming: Renaming) {
        let durable = &mut self.dir_mut(naming.dir).durable;
        for (name, node) in naming.changes {
            match node {
                Some(node) => durable.insert(name, node),
                None => durable.remove(&name),
            };
        }
    }

    pub(super) fn sync_dir(&mut self, dir: u64) {
        let mut now: Vec<u64> = self.namings.iter().filter(|naming| naming.dir == dir).map(|naming| naming.id).collect();
        now.extend(self.namings.iter().filter(|naming| naming.dir == dir).filter_map(|naming| naming.needs).collect::<Vec<_>>());
        // What a change needs may stand behind earlier changes of the same directory: a journal keeps their order.
        let reach: BTreeMap<u64, u64> =
            self.namings.iter().filter(|naming| now.contains(&naming.id)).fold(BTreeMap::new(), |mut reach, naming| {
                let last = reach.entry(naming.dir).or_insert(naming.id);
                *last = (*last).max(naming.id);
                reach
            });
        let (hard, soft) = std::mem::take(&mut self.namings)
            .into_iter()
            .partition::<Vec<_>, _>(|naming| reach.get(&naming.dir).is_some_and(|last| naming.id <= *last));
        self.namings = soft;
        for naming in hard {
            self.harden(naming);
        }
        self.collect();
    }

    /// Turns bits over, on the disk and in the cache.
    pub(super) fn flip(&mut self, id: u64, offset: u64, mask: u8) -> io::Result<()> {
        let file = self.file(id)?;
        for bytes in [&mut file.cached, &mut file.durable] {
            if let Some(byte) = bytes.get_mut(index(offset)) {
                *byte ^= mask;
            }
        }
        Ok(())
    }

    /// The power goes and comes back.
    pub(super) fn power_cut(&mut self) {
        let namings = std::mem::take(&mut self.namings);
        let mut lost: BTreeSet<u64> = namings.iter().map(|naming| naming.id).collect();
        let mood = self.rng.random_range(0..4);
        for naming in namings {
            let keep = match mood {
                0 => false,
                1 => true,
                _ => self.rng.random_bool(0.5),
            };
            if keep && naming.needs.is_none_or(|needed| !lost.contains(&needed)) {
                lost.remove(&naming.id);
                self.harden(naming);
            }
        }
        let mut rng = self.rng.clone();
        for node in self.nodes.values_mut() {
            match &mut node.content {
                Content::File(file) => {
                    file.tear(&mut rng);
                    file.cached.clone_from(&file.durable);
                }
                Content::Dir(dir) => dir.entries.clone_from(&dir.durable),
            }
        }
        self.rng = rng;
        self.close_all();
    }

    /// Forgets what no name leads to and nobody has open.
    pub(super) fn collect(&mut self) {
        let mut live = BTreeSet::from([ROOT]);
        let mut ways = vec![ROOT];
        ways.extend(self.namings.iter().flat_map(|naming| naming.changes.iter().filter_map(|(_, node)| *node)));
        while let Some(at) = ways.pop() {
            live.insert(at);
            if let Ok(dir) = self.dir(at) {
                ways.extend(dir.entries.values().chain(dir.durable.values()).filter(|id| !live.contains(id)));
            }
        }
        self.nodes.retain(|id, node| node.open > 0 || live.contains(id));
    }

    /// Bytes of all files that have a name or are open.
    pub(super) fn used(&self) -> u64 {
        let bytes = |node: &Node| if let Content::File(file) = &node.content { file.cached.len() as u64 } else { 0 };
        self.nodes.values().map(bytes).sum()
    }

    pub(super) fn closed(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.open -= 1;
        }
    }

    pub(super) fn close_all(&mut self) {
        for node in self.nodes.values_mut() {
            node.open = 0;
        }
        self.collect();
    }

    pub(super) fn opened(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.open += 1;
        }
    }

    /// Every file with its path, as reads see them.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let mut ways = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, at)) = ways.pop() {
            match self.nodes.get(&at).map(|node| &node.content) {
                Some(Content::Dir(dir)) => ways.extend(dir.entries.iter().map(|(name, id)| (path.join(name), *id))),
                Some(Content::File(file)) => found.push((path, file.cached.clone())),
                None => {}
            }
        }
        found.sort();
        found
    }
}
