//! Spill files: what does not fit in memory goes to disk sealed under a key that lives as long as its query.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use parking_lot::Mutex;
use strongroom_envelope::{SpillKey, StreamId, StreamOpener, StreamSealer};
use strongroom_world::{FsFile, World};

/// Read back in pieces of this size.
const READ_BYTES: usize = 256 << 10;

/// How much spill all queries together have on disk, and may have.
#[derive(Debug)]
pub(crate) struct SpillQuota {
    used: AtomicU64,
    limit: u64,
}

impl SpillQuota {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit })
    }

    fn take(&self, bytes: u64) -> io::Result<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, format!("queries may spill {} bytes together", self.limit)));
        }
        Ok(())
    }
}

/// Makes the spill files of one query.
pub(crate) struct SpillFiles {
    world: World,
    dir: PathBuf,
    key: Arc<SpillKey>,
    quota: Arc<SpillQuota>,
}

impl fmt::Debug for SpillFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpillFiles")
    }
}

impl SpillFiles {
    pub(crate) fn new(world: World, dir: PathBuf, quota: Arc<SpillQuota>) -> Arc<Self> {
        let key = Arc::new(SpillKey::generate(&*world.rng));
        Arc::new(Self { world, dir, key, quota })
    }
}

/// Empties the spill directory: nobody can read what an earlier process left there.
pub(crate) fn wipe(world: &World, dir: &Path) -> io::Result<()> {
    world.fs.create_dir_all(dir)?;
    for entry in world.fs.read_dir(dir)? {
        if !entry.is_dir {
            world.fs.remove_file(&dir.join(entry.name))?;
        }
    }
    Ok(())
}

impl TempFileFactory for SpillFiles {
    fn create_temp_file(&self, _description: &str) -> Result<Arc<dyn SpillFile>> {
        let (ms, random) = self.world.id_seed();
        let path = self.dir.join(format!("{}.spill", strongroom_model::ObjectId::mint(ms, random)));
        let file = self.world.fs.create_new(&path)?;
        Ok(Arc::new(SealedFile(Arc::new(Shared {
            world: self.world.clone(),
            path,
            file,
            key: Arc::clone(&self.key),
            quota: Arc::clone(&self.quota),
            plain: AtomicU64::new(0),
            state: Mutex::new(State { sealed: 0, stream: None }),
        }))))
    }
}

struct State {
    /// Sealed bytes on disk.
    sealed: u64,
    /// Set once the writer finished: only whole streams are read.
    stream: Option<StreamId>,
}

struct Shared {
    world: World,
    path: PathBuf,
    file: Box<dyn FsFile>,
    key: Arc<SpillKey>,
    quota: Arc<SpillQuota>,
    plain: AtomicU64,
    state: Mutex<State>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.state.get_mut().sealed, Ordering::Relaxed);
        if self.world.fs.remove_file(&self.path).is_err() {
            tracing::warn!("a spill file could not be removed; the next start does it");
        }
    }
}

struct SealedFile(Arc<Shared>);

impl SpillFile for SealedFile {
    fn size(&self) -> Option<u64> {
        Some(self.0.plain.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        let shared = Arc::clone(&self.0);
        let (len, stream) = {
            let state = shared.state.lock();
            let stream = state.stream.ok_or_else(|| DataFusionError::Internal("a spill file is read before it is finished".to_owned()))?;
            (state.sealed, stream)
        };
        let opener = shared.key.opener(stream);
        let start = Reading { shared, opener: Some(opener), at: 0, len };
        Ok(Box::pin(futures::stream::try_unfold(start, |mut reading| async move {
            // Blocking file reads, off the threads that compute.
            tokio::task::spawn_blocking(move || Ok(reading.next()?.map(|bytes| (bytes, reading))))
                .await
                .map_err(|_| DataFusionError::Internal("reading a spill file was stopped".to_owned()))?
        })))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        if self.0.state.lock().stream.is_some() || self.0.plain.load(Ordering::Relaxed) > 0 {
            return Err(DataFusionError::Internal("a spill file is written once".to_owned()));
        }
        Ok(Box::new(Writer { shared: Arc::clone(&self.0), sealer: Some(self.0.key.sealer(&*self.0.world.rng)), out: Vec::new() }))
    }
}

struct Reading {
    shared: Arc<Shared>,
    opener: Option<StreamOpener>,
    at: u64,
    len: u64,
}

impl Reading {
    /// The next opened bytes; `None` once the end was proved.
    fn next(&mut self) -> Result<Option<Bytes>> {
        let broken = |_| DataFusionError::Internal("a spill file failed authentication".to_owned());
        let mut out = Vec::new();
        while out.is_empty() {
            let Some(opener) = self.opener.as_mut() else { return Ok(None) };
            if self.at == self.len {
                let opener = self.opener.take().expect("seen above");
                opener.finish(&mut out).map_err(broken)?;
                return Ok((!out.is_empty()).then(|| Bytes::from(out)));
            }
            let want = usize::try_from(self.len - self.at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let mut sealed = vec![0; want];
            let mut filled = 0;
            while filled < want {
                match self.shared.file.read_at(&mut sealed[filled..], self.at + filled as u64)? {
                    0 => return Err(DataFusionError::Internal("a spill file is shorter than what was written".to_owned())),
                    n => filled += n,
                }
            }
            self.at += want as u64;
            opener.push(&sealed, &mut out).map_err(broken)?;
        }
        Ok(Some(Bytes::from(out)))
    }
}

struct Writer {
    shared: Arc<Shared>,
    sealer: Option<StreamSealer>,
    out: Vec<u8>,
}

impl Writer {
    fn drain(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let bytes = self.out.len() as u64;
        self.shared.quota.take(bytes)?;
        let at = {
            let mut state = self.shared.state.lock();
            let at = state.sealed;
            state.sealed += bytes;
            at
        };
        self.shared.file.write_all_at(&[IoSlice::new(&self.out)], at)?;
        self.out.clear();
        Ok(())
    }
}

impl Write for Writer {
    fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let Some(sealer) = self.sealer.as_mut() else { return Err(io::Error::other("a spill file is finished once")) };
        sealer.push(plain, &mut self.out);
        self.shared.plain.fetch_add(plain.len() as u64, Ordering::Relaxed);
        if self.out.len() >= READ_BYTES {
            self.drain()?;
        }
        Ok(plain.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        if let Some(sealer) = self.sealer.take() {
            let stream = sealer.id();
            sealer.finish(&mut self.out);
            self.drain()?;
            self.shared.state.lock().stream = Some(stream);
        }
        Ok(())
    }
}
