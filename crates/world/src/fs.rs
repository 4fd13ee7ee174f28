//! Files, with the calls that durability is made of. All blocking: callers on a runtime use `spawn_blocking`.

use std::fmt;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name without the directory.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes (0 for a directory).
    pub len: u64,
    /// Last modification, nanoseconds since 1970.
    pub modified: i64,
}

/// Room on a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Free for us.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// An open file. Positions are given with each call, so one handle serves many threads.
pub trait FsFile: fmt::Debug + Send + Sync {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// As `pread(2)`.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bufs`, one after the other, at `offset`.
    ///
    /// # Errors
    /// As `pwritev(2)`; some of it may have been written.
    fn write_all_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes the bytes durable (`fdatasync`). After an error nothing is known of the file's bytes: do not try again.
    ///
    /// # Errors
    /// As `fdatasync(2)`.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes bytes and metadata durable (`fsync`).
    ///
    /// # Errors
    /// As `fsync(2)`.
    fn sync_all(&self) -> io::Result<()>;
    /// Reserves `len` bytes from the start without changing what is read below the old end; the rest reads as zeros.
    ///
    /// # Errors
    /// As `fallocate(2)`: `StorageFull` before anything was written.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes.
    ///
    /// # Errors
    /// As `ftruncate(2)`.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Says that durable bytes in `range` are not read again soon, so that they need not take memory: a hint, whole pages only
    /// (`posix_fadvise(2)`, `DONTNEED`).
    fn unneeded(&self, range: Range<u64>) {
        let _ = range;
    }
    /// Its length in bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    ///
    /// # Errors
    /// As `fstat(2)`.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A filesystem. New names and removals are durable only after [`Fs::sync_dir`] of their directory.
pub trait Fs: fmt::Debug + Send + Sync {
    /// Makes a new file for reading and writing; fails if the name is taken. Mode 0600.
    ///
    /// # Errors
    /// As `open(2)` with `O_CREAT | O_EXCL`.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// As `open(2)`.
    fn open(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As `open(2)`.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn FsFile>>;
    /// Renames, replacing what is there.
    ///
    /// # Errors
    /// As `rename(2)`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames, failing with `AlreadyExists` if `to` is taken.
    ///
    /// # Errors
    /// As `renameat2(2)` with `RENAME_NOREPLACE`.
    fn rename_no_replace(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As `unlink(2)`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// As `rmdir(2)`.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory and its missing parents (mode 0700). Not yet durable: see [`Fs::sync_dir`].
    ///
    /// # Errors
    /// As `mkdir(2)`.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As `fsync(2)`.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory, sorted by name.
    ///
    /// # Errors
    /// As `readdir(3)`.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// One entry's facts.
    ///
    /// # Errors
    /// As `stat(2)`.
    fn metadata(&self, path: &Path) -> io::Result<DirEntry>;
    /// Room on the filesystem that holds `path`.
    ///
    /// # Errors
    /// As `statvfs(3)`.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// Reads a whole small file (a key record, a configuration), at most `limit` bytes.
    ///
    /// # Errors
    /// As the calls it makes; `FileTooLarge` past the limit.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open_read(path)?;
        let len = file.len()?;
        if len > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{} is {len} bytes long, at most {limit} are read", path.display()),
            ));
        }
        let mut bytes = vec![0; usize::try_from(len).expect("below a usize limit")];
        let mut filled = 0;
        while filled < bytes.len() {
            let n = file.read_at(&mut bytes[filled..], filled as u64)?;
            if n == 0 {
                break;
            }
            filled += n;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Writes a small file so that a crash leaves the old bytes or the new ones: temporary name, fsync, rename, fsync of the directory.
    ///
    /// # Errors
    /// As the calls it makes.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let dir = path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a directory"))?;
        let mut name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"))?.to_owned();
        name.push(".tmp");
        let temporary = dir.join(name);
        match self.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.create_new(&temporary)?;
        file.write_all_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_all()?;
        self.rename(&temporary, path)?;
        self.sync_dir(dir)
    }
}
