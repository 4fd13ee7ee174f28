//! The machine we run on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Advice, CWD, FallocateFlags, RenameFlags};
use rustix::time::{ClockId, clock_gettime};

use crate::{BootTime, Clock, DirEntry, Fs, FsFile, Rng, SleepFuture, Space, WallTime};

#[derive(Debug)]
pub(crate) struct RealClock(());

impl RealClock {
    pub(crate) fn new() -> Self {
        Self(())
    }
}

impl Clock for RealClock {
    fn wall(&self) -> WallTime {
        let now = clock_gettime(ClockId::Realtime);
        WallTime(now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec))
    }
    fn boot(&self) -> BootTime {
        let now = clock_gettime(ClockId::Boottime);
        BootTime(
            u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0)),
        )
    }
    fn sleep(&self, time: Duration) -> SleepFuture {
        Box::pin(tokio::time::sleep(time))
    }
}

#[derive(Debug)]
pub(crate) struct RealRng;

impl Rng for RealRng {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}

#[derive(Debug)]
pub(crate) struct RealFs;

#[derive(Debug)]
struct RealFile(File);

impl FsFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.0.read_at(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_all_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let total: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        let written = loop {
            match rustix::io::pwritev(&self.0, bufs, offset) {
                Ok(n) => break n as u64,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        if written == total {
            return Ok(());
        }
        // A short write (rare on files): the rest buffer by buffer.
        let (mut skip, mut at) = (written, offset + written);
        for buf in bufs {
            let len = buf.len() as u64;
            if skip >= len {
                skip -= len;
                continue;
            }
            let rest = &buf[usize::try_from(skip).expect("within a buffer")..];
            self.0.write_all_at(rest, at)?;
            at += rest.len() as u64;
            skip = 0;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Not every filesystem can; the room is then found out when writing.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.set_len(len),
            other => other.map_err(Into::into),
        }
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn unneeded(&self, range: Range<u64>) {
        if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            // Whoever cannot take the hint keeps the pages: nothing is wrong then.
            rustix::fs::fadvise(&self.0, range.start, Some(len), Advice::DontNeed).unwrap_or_default();
        }
    }
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

fn entry(name: String, meta: &fs::Metadata) -> DirEntry {
    DirEntry {
        name,
        is_dir: meta.is_dir(),
        len: if meta.is_dir() { 0 } else { meta.len() },
        modified: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
    }
}

impl Fs for RealFs {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>> {
        Ok(Box::new(RealFile(File::open(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(Into::into)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for found in fs::read_dir(path)? {
            let found = found?;
            match found.metadata() {
                Ok(meta) => entries.push(entry(found.file_name().to_string_lossy().into_owned(), &meta)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        entries.sort();
        Ok(entries)
    }
    fn metadata(&self, path: &Path) -> io::Result<DirEntry> {
        let meta = fs::metadata(path)?;
        Ok(entry(path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(), &meta))
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize), total: stat.f_blocks.saturating_mul(stat.f_frsize) })
    }
}
