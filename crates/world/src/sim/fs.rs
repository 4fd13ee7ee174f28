//! The simulated filesystem as the code under test sees it, and the ways a test breaks it.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::SimClock;
use super::disk::{Content, DirNode, Disk, FileNode, ROOT, index};
use crate::{Clock, DirEntry, Fs, FsFile, Space};

/// A call that can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SimOp {
    /// Any call that changes or syncs something.
    Any,
    /// [`Fs::create_new`].
    Create,
    /// [`Fs::open`] and [`Fs::open_read`].
    Open,
    /// [`FsFile::read_at`].
    Read,
    /// [`FsFile::write_all_at`]: part of the bytes may have been written.
    Write,
    /// [`FsFile::sync_data`] and [`FsFile::sync_all`]: what was not yet synced counts as clean afterwards and never
    /// reaches the disk, as Linux does it.
    Sync,
    /// [`FsFile::allocate`].
    Allocate,
    /// [`FsFile::set_len`].
    SetLen,
    /// [`Fs::rename`] and [`Fs::rename_no_replace`].
    Rename,
    /// [`Fs::remove_file`] and [`Fs::remove_dir`].
    Remove,
    /// [`Fs::create_dir_all`].
    CreateDir,
    /// [`Fs::sync_dir`].
    SyncDir,
}

#[derive(Debug)]
struct Machine {
    disk: Disk,
    clock: Arc<SimClock>,
    /// Counts power cuts; what was opened under an older number is dead.
    boots: u64,
    /// Changing calls that still work before the power goes.
    fuse: Option<u64>,
    dark: bool,
    /// Calls still to let through, which call, and how it then fails.
    faults: Vec<(u64, SimOp, io::ErrorKind)>,
    capacity: u64,
    ballast: u64,
    ops: u64,
    syncs: u64,
    lying: bool,
}

/// The disk of a simulated machine. As an [`Fs`] it is always the machine as it is now, whatever the power did.
#[derive(Clone, Debug)]
pub struct SimFs(Arc<Mutex<Machine>>);

impl SimFs {
    pub(super) fn new(clock: Arc<SimClock>, rng: ChaCha8Rng) -> Self {
        let disk = Disk::new(rng, clock.wall().0);
        Self(Arc::new(Mutex::new(Machine {
            disk,
            clock,
            boots: 0,
            fuse: None,
            dark: false,
            faults: Vec::new(),
            capacity: 1 << 40,
            ballast: 0,
            ops: 0,
            syncs: 0,
            lying: false,
        })))
    }

    pub(super) fn mount(&self) -> Arc<dyn Fs> {
        let boot = self.0.lock().boots;
        Arc::new(Mounted { machine: Arc::clone(&self.0), boot })
    }

    fn now(&self) -> Mounted {
        Mounted { machine: Arc::clone(&self.0), boot: self.0.lock().boots }
    }

    /// The power goes and comes back: of what was not synced any part may be lost, torn at sector borders, in any
    /// order; names, renames and removals likewise. Everything opened before is dead.
    pub fn power_cut(&self) {
        let mut machine = self.0.lock();
        machine.boots += 1;
        machine.fuse = None;
        machine.dark = false;
        machine.faults.clear();
        machine.disk.power_cut();
    }

    /// The process dies and the machine runs on: everything opened is dead, nothing written is lost.
    pub fn kill(&self) {
        let mut machine = self.0.lock();
        machine.boots += 1;
        machine.fuse = None;
        machine.dark = false;
        machine.faults.clear();
        machine.disk.close_all();
    }

    /// Lets `calls` changing calls through and then the power goes: that call and all after it fail, until
    /// [`SimFs::power_cut`] says what is left.
    pub fn power_cut_after(&self, calls: u64) {
        self.0.lock().fuse = Some(calls);
    }

    /// Whether the fuse of [`SimFs::power_cut_after`] has blown.
    #[must_use]
    pub fn is_dark(&self) -> bool {
        self.0.lock().dark
    }

    /// Makes the next such call fail.
    pub fn fail_next(&self, op: SimOp, kind: io::ErrorKind) {
        self.fail_nth(op, 0, kind);
    }

    /// Lets `after` such calls through and makes the next one fail.
    pub fn fail_nth(&self, op: SimOp, after: u64, kind: io::ErrorKind) {
        self.0.lock().faults.push((after, op, kind));
    }

    /// Takes back what [`SimFs::fail_next`] and [`SimFs::fail_nth`] have not used.
    pub fn heal(&self) {
        self.0.lock().faults.clear();
    }

    /// Somebody else fills the disk until `free` bytes are left.
    pub fn fill_disk(&self, free: u64) {
        let mut machine = self.0.lock();
        machine.ballast = machine.capacity.saturating_sub(machine.disk.used()).saturating_sub(free);
    }

    /// Somebody else's files are gone again.
    pub fn empty_disk(&self) {
        self.0.lock().ballast = 0;
    }

    /// How large the disk is, in bytes.
    pub fn set_capacity(&self, bytes: u64) {
        self.0.lock().capacity = bytes;
    }

    /// From now on syncs say that they worked and do nothing: a bug (or a disk) that checkers must catch.
    pub fn lie_about_syncs(&self, lying: bool) {
        self.0.lock().lying = lying;
    }

    /// How many calls have changed or synced something.
    #[must_use]
    pub fn ops(&self) -> u64 {
        self.0.lock().ops
    }

    /// How many file syncs there were.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// Turns the bits of `mask` over in one byte, on the disk itself.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut machine = self.0.lock();
        let id = machine.disk.find(path)?;
        machine.disk.flip(id, offset, mask)
    }

    /// Every file with its path and bytes: what a thief would get.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.0.lock().disk.files()
    }
}

impl Machine {
    fn alive(&self, boot: u64) -> io::Result<()> {
        if self.dark || boot != self.boots {
            return Err(io::Error::other("the simulated machine lost power"));
        }
        Ok(())
    }

    /// Whether a call goes wrong.
    fn fault(&mut self, op: SimOp, changes: bool) -> io::Result<()> {
        if changes {
            self.ops += 1;
            if self.fuse == Some(0) {
                self.dark = true;
                return Err(io::Error::other("the simulated machine lost power"));
            }
            self.fuse = self.fuse.map(|left| left - 1);
        }
        let mut failed = None;
        for (at, (after, which, kind)) in self.faults.iter_mut().enumerate() {
            if *which != op && !(*which == SimOp::Any && changes) {
                continue;
            }
            if *after == 0 {
                failed = Some((at, *kind));
                break;
            }
            *after -= 1;
        }
        if let Some((at, kind)) = failed {
            self.faults.remove(at);
            return Err(io::Error::from(kind));
        }
        Ok(())
    }

    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.ballast).saturating_sub(self.disk.used())
    }

    fn room(&mut self, file: u64, len: u64) -> io::Result<()> {
        let now = self.disk.file(file)?.cached.len() as u64;
        if len > now && len - now > self.free() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn entry(&self, name: String, id: u64) -> io::Result<DirEntry> {
        let node = self.disk.node(id)?;
        Ok(match &node.content {
            Content::File(file) => DirEntry { name, is_dir: false, len: file.cached.len() as u64, modified: node.modified },
            Content::Dir(_) => DirEntry { name, is_dir: true, len: 0, modified: node.modified },
        })
    }
}

#[derive(Debug)]
struct Mounted {
    machine: Arc<Mutex<Machine>>,
    boot: u64,
}

#[derive(Debug)]
struct SimFile {
    machine: Arc<Mutex<Machine>>,
    boot: u64,
    node: u64,
    writable: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut machine = self.machine.lock();
        if machine.boots == self.boot {
            machine.disk.closed(self.node);
        }
    }
}

impl SimFile {
    fn change(&self, op: SimOp) -> io::Result<MutexGuard<'_, Machine>> {
        let mut machine = self.machine.lock();
        machine.alive(self.boot)?;
        if !self.writable && op != SimOp::Sync {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        machine.fault(op, true)?;
        let now = machine.clock.wall().0;
        if op != SimOp::Sync {
            machine.disk.touch(self.node, now);
        }
        Ok(machine)
    }

    fn sync(&self) -> io::Result<()> {
        let failed = match self.change(SimOp::Sync) {
            Ok(mut machine) => {
                machine.syncs += 1;
                if !machine.lying {
                    machine.disk.file(self.node)?.settle();
                }
                return Ok(());
            }
            Err(failed) => failed,
        };
        let mut machine = self.machine.lock();
        if machine.alive(self.boot).is_ok() {
            let mut rng = machine.disk.rng().clone();
            machine.disk.file(self.node)?.tear(&mut rng);
            *machine.disk.rng() = rng;
        }
        Err(failed)
    }
}

impl FsFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut machine = self.machine.lock();
        machine.alive(self.boot)?;
        machine.fault(SimOp::Read, false)?;
        let bytes = &machine.disk.file(self.node)?.cached;
        let rest = bytes.get(index(offset)..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        match self.change(SimOp::Write) {
            Ok(mut machine) => {
                if let Err(full) = machine.room(self.node, offset + bytes.len() as u64) {
                    let fits = machine.disk.file(self.node)?.cached.len() as u64 + machine.free();
                    bytes.truncate(index(fits.saturating_sub(offset)));
                    machine.disk.file(self.node)?.write(offset, bytes);
                    return Err(full);
                }
                machine.disk.file(self.node)?.write(offset, bytes);
                Ok(())
            }
            Err(failed) => {
                // The call that failed may have written some of it, also when it was the power that failed.
                let mut machine = self.machine.lock();
                if machine.boots == self.boot && self.writable {
                    let written = machine.disk.rng().random_range(0..=bytes.len());
                    bytes.truncate(written);
                    if machine.room(self.node, offset + bytes.len() as u64).is_ok() {
                        machine.disk.file(self.node)?.write(offset, bytes);
                    }
                }
                Err(failed)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let mut machine = self.change(SimOp::Allocate)?;
        machine.room(self.node, len)?;
        let file = machine.disk.file(self.node)?;
        if len > file.cached.len() as u64 {
            file.set_len(len);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut machine = self.change(SimOp::SetLen)?;
        machine.disk.file(self.node)?.set_len(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut machine = self.machine.lock();
        machine.alive(self.boot)?;
        Ok(machine.disk.file(self.node)?.cached.len() as u64)
    }
}

impl Mounted {
    fn look(&self) -> io::Result<MutexGuard<'_, Machine>> {
        let machine = self.machine.lock();
        machine.alive(self.boot)?;
        Ok(machine)
    }

    fn change(&self, op: SimOp) -> io::Result<MutexGuard<'_, Machine>> {
        let mut machine = self.look()?;
        machine.fault(op, true)?;
        Ok(machine)
    }

    fn handle(&self, machine: &mut Machine, node: u64, writable: bool) -> Box<dyn FsFile> {
        machine.disk.opened(node);
        Box::new(SimFile { machine: Arc::clone(&self.machine), boot: self.boot, node, writable })
    }

    fn open_as(&self, path: &Path, writable: bool) -> io::Result<Box<dyn FsFile>> {
        let mut machine = self.look()?;
        machine.fault(SimOp::Open, false)?;
        let node = machine.disk.find(path)?;
        machine.disk.file(node)?;
        Ok(self.handle(&mut machine, node, writable))
    }

    fn rename_as(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let mut machine = self.change(SimOp::Rename)?;
        let (from_dir, from_name) = machine.disk.place(from)?;
        let (to_dir, to_name) = machine.disk.place(to)?;
        let node = machine.disk.find(from)?;
        if let Some(there) = machine.disk.dir(to_dir)?.entries.get(&to_name).copied() {
            if !replace {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            if there == node {
                return Ok(());
            }
            if machine.disk.dir(there).is_ok_and(|dir| !dir.entries.is_empty()) {
                return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
            }
        }
        if from_dir == to_dir {
            machine.disk.rename(from_dir, vec![(from_name, None), (to_name, Some(node))], None);
        } else {
            let linked = machine.disk.rename(to_dir, vec![(to_name, Some(node))], None);
            machine.disk.rename(from_dir, vec![(from_name, None)], Some(linked));
        }
        Ok(())
    }
}

impl Fs for Mounted {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let mut machine = self.change(SimOp::Create)?;
        let (dir, name) = machine.disk.place(path)?;
        if machine.disk.dir(dir)?.entries.contains_key(&name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let now = machine.clock.wall().0;
        let node = machine.disk.add(Content::File(FileNode::default()), now);
        machine.disk.rename(dir, vec![(name, Some(node))], None);
        Ok(self.handle(&mut machine, node, true))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.open_as(path, true)
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.open_as(path, false)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_as(from, to, true)
    }
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_as(from, to, false)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.change(SimOp::Remove)?;
        let (dir, name) = machine.disk.place(path)?;
        let node = machine.disk.find(path)?;
        machine.disk.file(node)?;
        machine.disk.rename(dir, vec![(name, None)], None);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.change(SimOp::Remove)?;
        let (dir, name) = machine.disk.place(path)?;
        let node = machine.disk.find(path)?;
        if !machine.disk.dir(node)?.entries.is_empty() {
            return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
        }
        machine.disk.rename(dir, vec![(name, None)], None);
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.change(SimOp::CreateDir)?;
        let now = machine.clock.wall().0;
        let mut at = ROOT;
        for name in Disk::names(path)? {
            let there = machine.disk.dir(at)?.entries.get(&name).copied();
            at = there.unwrap_or_else(|| {
                let made = machine.disk.add(Content::Dir(DirNode::default()), now);
                machine.disk.rename(at, vec![(name, Some(made))], None);
                made
            });
        }
        machine.disk.dir(at).map(|_| ())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut machine = self.change(SimOp::SyncDir)?;
        let dir = machine.disk.find(path)?;
        machine.disk.dir(dir)?;
        if !machine.lying {
            machine.disk.sync_dir(dir);
        }
        Ok(())
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let machine = self.look()?;
        let dir = machine.disk.find(path)?;
        machine.disk.dir(dir)?.entries.iter().map(|(name, id)| machine.entry(name.clone(), *id)).collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<DirEntry> {
        let machine = self.look()?;
        let id = machine.disk.find(path)?;
        machine.entry(Disk::names(path)?.pop().unwrap_or_default(), id)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let machine = self.look()?;
        machine.disk.find(path)?;
        Ok(Space { free: machine.free(), total: machine.capacity })
    }
}

impl Fs for SimFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.now().create_new(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.now().open(path)
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        self.now().open_read(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.now().rename(from, to)
    }
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.now().rename_no_replace(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.now().remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.now().remove_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.now().create_dir_all(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.now().sync_dir(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.now().read_dir(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<DirEntry> {
        self.now().metadata(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.now().space(path)
    }
}
