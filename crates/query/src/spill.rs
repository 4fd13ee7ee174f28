//! Spill files: what does not fit in memory goes to disk sealed under a key that lives as long as its query.
//!
//! Some are read while they are written: a repartition's queue, batch by batch. So a file is a row of sealed streams, each ended by a
//! flush, and what was flushed can be read. Which streams there are is known in memory alone, so none can be left out or cut short.

use std::fmt;
use std::io::{self, IoSlice, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::{Stream, TryStreamExt};
use parking_lot::Mutex;
use strongroom_envelope::{SpillKey, StreamId, StreamOpener, StreamSealer};
use strongroom_world::{FsFile, World};
use tokio::sync::Notify;

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
            state: Mutex::new(State { sealed: 0, parts: Vec::new(), end: End::Open }),
            more: Notify::new(),
        }))))
    }
}

struct State {
    /// Sealed bytes on disk.
    sealed: u64,
    /// Whole streams, in order; only such are read.
    parts: Vec<Part>,
    end: End,
}

#[derive(Clone, Copy)]
struct Part {
    stream: StreamId,
    start: u64,
    end: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It may be written to.
    Open,
    Finished,
    /// Its writer went away before it had finished.
    Broken,
}

struct Shared {
    world: World,
    path: PathBuf,
    file: Box<dyn FsFile>,
    key: Arc<SpillKey>,
    quota: Arc<SpillQuota>,
    plain: AtomicU64,
    state: Mutex<State>,
    /// Told whenever there is another part, and at the end.
    more: Notify,
}

impl Shared {
    fn end(&self, how: End) {
        self.state.lock().end = how;
        self.more.notify_waiters();
    }
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
        let start = Reading { shared: Arc::clone(&self.0), part: 0, open: None };
        let pieces = futures::stream::try_unfold(start, |mut reading| async move {
            if !reading.ready().await? {
                return Ok(None);
            }
            // Blocking file reads, off the threads that compute.
            tokio::task::spawn_blocking(move || Ok(Some((reading.next()?, reading))))
                .await
                .map_err(|_| DataFusionError::Internal("reading a spill file was stopped".to_owned()))?
        });
        Ok(Box::pin(pieces.try_filter(|piece| std::future::ready(!piece.is_empty()))))
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        if self.0.state.lock().end != End::Open || self.0.plain.load(Ordering::Relaxed) > 0 {
            return Err(DataFusionError::Internal("a spill file is written once".to_owned()));
        }
        Ok(Box::new(Writer { shared: Arc::clone(&self.0), sealer: None, start: 0, out: Vec::new(), finished: false }))
    }
}

struct Reading {
    shared: Arc<Shared>,
    /// Which part is read, or comes next.
    part: usize,
    open: Option<Opened>,
}

struct Opened {
    opener: StreamOpener,
    at: u64,
    end: u64,
}

impl Reading {
    /// Whether there is more to read, which the writer may have yet to say.
    async fn ready(&mut self) -> Result<bool> {
        loop {
            let shared = Arc::clone(&self.shared);
            let told = shared.more.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.open.is_some() {
                return Ok(true);
            }
            {
                let state = shared.state.lock();
                if let Some(part) = state.parts.get(self.part) {
                    self.open = Some(Opened { opener: shared.key.opener(part.stream), at: part.start, end: part.end });
                    return Ok(true);
                }
                match state.end {
                    End::Open => {}
                    End::Finished => return Ok(false),
                    End::Broken => return Err(DataFusionError::Internal("a spill file was not written to its end".to_owned())),
                }
            }
            told.await;
        }
    }

    /// The next opened bytes of the part that is open; the last of them once its end was proved.
    fn next(&mut self) -> Result<Bytes> {
        let broken = |_| DataFusionError::Internal("a spill file failed authentication".to_owned());
        let mut out = Vec::new();
        while out.is_empty() {
            let Some(mut opened) = self.open.take() else { break };
            if opened.at == opened.end {
                self.part += 1;
                opened.opener.finish(&mut out).map_err(broken)?;
                break;
            }
            let want = usize::try_from(opened.end - opened.at).unwrap_or(READ_BYTES).min(READ_BYTES);
            let mut sealed = vec![0; want];
            let mut filled = 0;
            while filled < want {
                match self.shared.file.read_at(&mut sealed[filled..], opened.at + filled as u64)? {
                    0 => return Err(DataFusionError::Internal("a spill file is shorter than what was written".to_owned())),
                    n => filled += n,
                }
            }
            opened.at += want as u64;
            opened.opener.push(&sealed, &mut out).map_err(broken)?;
            self.open = Some(opened);
        }
        Ok(Bytes::from(out))
    }
}

struct Writer {
    shared: Arc<Shared>,
    /// Of the part that is being written, if there is one.
    sealer: Option<StreamSealer>,
    /// Where that part begins.
    start: u64,
    out: Vec<u8>,
    finished: bool,
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
        if self.finished {
            return Err(io::Error::other("a spill file is finished once"));
        }
        let shared = &self.shared;
        self.sealer.get_or_insert_with(|| shared.key.sealer(&*shared.world.rng)).push(plain, &mut self.out);
        self.shared.plain.fetch_add(plain.len() as u64, Ordering::Relaxed);
        if self.out.len() >= READ_BYTES {
            self.drain()?;
        }
        Ok(plain.len())
    }
    /// Ends a part: what was written can be read.
    fn flush(&mut self) -> io::Result<()> {
        let Some(sealer) = self.sealer.take() else { return Ok(()) };
        let stream = sealer.id();
        sealer.finish(&mut self.out);
        self.drain()?;
        let mut state = self.shared.state.lock();
        let end = state.sealed;
        state.parts.push(Part { stream, start: self.start, end });
        self.start = end;
        drop(state);
        self.shared.more.notify_waiters();
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.finished = true;
        self.shared.end(End::Finished);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.end(End::Broken);
        }
    }
}

#[cfg(test)]
mod tests;
