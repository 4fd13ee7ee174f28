//! One epoch's log: a bounded queue, and a writer that takes what waits as one group to the disk.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use parking_lot::{Condvar, Mutex};
use strongroom_envelope::{KeyGuard, SealError};
use strongroom_model::{Epoch, ErrorKind, ObjectId, Position, TableId, WorkspaceId};
use strongroom_world::{BootTime, World};
use tokio::sync::{Notify, oneshot};

use super::frame::EXTRA_LEN;
use super::payload::SchemaMessage;
use super::segment::{OpenFailed, Place, Segment};
use super::trail::{Trail, Trailed};
use crate::memtable::{Durable, Memtables};
use crate::{BatchMark, BufferConfig, BufferError};

/// Two segments in a row that fail, and nothing more is taken.
const FAILURES_MAX: u32 = 2;

/// What all streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) dir: PathBuf,
    pub(crate) config: BufferConfig,
    pub(crate) memtables: Memtables,
    pub(crate) trail: Trail,
    pub(crate) grown: Notify,
    /// Set for good when the disk has failed twice in a row.
    pub(crate) refusing: AtomicBool,
}

/// A record that waits for the disk.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) guard: KeyGuard,
    pub(crate) frame: Vec<u8>,
    pub(crate) schema: SchemaMessage,
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    pub(crate) arrival: i64,
    pub(crate) retention_days: u32,
    pub(crate) batch: RecordBatch,
    pub(crate) mark: Option<BatchMark>,
    /// Counted twice in the memtables' total since it was queued: for the rows and for the frame.
    pub(crate) bytes: u64,
    pub(crate) done: oneshot::Sender<Result<Position, BufferError>>,
}

impl Pending {
    /// Bytes it takes in a segment at most.
    fn room(&self) -> u64 {
        (self.frame.len() + self.schema.0.len() + EXTRA_LEN + 16) as u64
    }

    fn fail(self, shared: &Shared, error: BufferError) {
        shared.memtables.release(self.bytes * 2);
        metrics::counter!("buffer_refused_total", "code" => error.code()).increment(1);
        // Nobody waiting any more is no error: the caller was dropped.
        drop(self.done.send(Err(error)));
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    bytes: u64,
    closed: bool,
}

/// One epoch's queue and writer.
#[derive(Debug)]
pub(crate) struct Stream {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    wake: Condvar,
    writer: Mutex<Writer>,
}

impl Stream {
    /// A stream whose next record gets position `next`; all positions up to `synced` are durable or void.
    pub(crate) fn new(shared: Arc<Shared>, epoch: Epoch, next: Position, synced: Position) -> Arc<Self> {
        let writer = Writer { shared: Arc::clone(&shared), epoch, next: next.0, synced: synced.0, segment: None, failures: 0, key: None };
        Arc::new(Self { shared, queue: Mutex::default(), wake: Condvar::new(), writer: Mutex::new(writer) })
    }

    /// Queues a record whose bytes are already counted in.
    pub(crate) fn push(&self, pending: Pending) {
        let config = &self.shared.config;
        let mut queue = self.queue.lock();
        let bytes = pending.frame.len() as u64;
        let refused = if queue.closed {
            Some(BufferError::Closed)
        } else if queue.waiting.len() >= config.queue_records_max {
            Some(BufferError::Overloaded { what: "the log's queue (records)", limit: config.queue_records_max as u64 })
        } else if !queue.waiting.is_empty() && queue.bytes.saturating_add(bytes) > config.queue_bytes_max {
            Some(BufferError::Overloaded { what: "the log's queue (bytes)", limit: config.queue_bytes_max })
        } else {
            None
        };
        if let Some(error) = refused {
            drop(queue);
            return pending.fail(&self.shared, error);
        }
        queue.bytes += bytes;
        queue.waiting.push_back(pending);
        drop(queue);
        self.wake.notify_one();
    }

    /// Writes groups until the stream is closed: the writer thread's whole life.
    pub(crate) fn run(&self) {
        let _last = OnExit(self);
        loop {
            let mut queue = self.queue.lock();
            while queue.waiting.is_empty() {
                if queue.closed {
                    return;
                }
                self.wake.wait(&mut queue);
            }
            drop(queue);
            self.turn();
        }
    }

    /// Writes one group; says whether anything waited.
    pub(crate) fn turn(&self) -> bool {
        // The lock is taken before the group leaves the queue: whoever gets it next knows that nothing is on its way.
        let mut writer = self.writer.lock();
        let group = self.take();
        let some = !group.is_empty();
        if some {
            writer.commit(group);
        }
        some
    }

    fn take(&self) -> Vec<Pending> {
        let config = &self.shared.config;
        let mut queue = self.queue.lock();
        let mut bytes = 0;
        let mut count = 0;
        for pending in queue.waiting.iter().take(config.group_records_max) {
            let more = pending.frame.len() as u64;
            if count > 0 && bytes + more > config.group_bytes_max {
                break;
            }
            bytes += more;
            count += 1;
        }
        queue.bytes -= bytes;
        queue.waiting.drain(..count).collect()
    }

    /// Takes nothing more; what waits is still written.
    pub(crate) fn close(&self) {
        self.queue.lock().closed = true;
        self.wake.notify_all();
    }

    /// Takes nothing more and drops what waits.
    pub(crate) fn abandon(&self, why: impl Fn() -> BufferError) {
        let waiting = {
            let mut queue = self.queue.lock();
            queue.closed = true;
            queue.bytes = 0;
            std::mem::take(&mut queue.waiting)
        };
        self.wake.notify_all();
        for pending in waiting {
            pending.fail(&self.shared, why());
        }
        // Waits for the group on its way: it is acked, and in the memtables before they are dropped.
        self.writer.lock().drop_segment();
    }

    /// Marks the open segment as complete.
    pub(crate) fn finish(&self) -> Result<(), BufferError> {
        self.writer.lock().finish()
    }
}

/// However the writer thread ends, nobody waits for it any more.
struct OnExit<'a>(&'a Stream);

impl Drop for OnExit<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut queue = self.0.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        for pending in waiting {
            pending.fail(&self.0.shared, BufferError::Closed);
        }
    }
}

/// The one who writes an epoch's segments.
#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    epoch: Epoch,
    next: u64,
    /// Every position up to here is durable, or void for good.
    synced: u64,
    segment: Option<Segment>,
    failures: u32,
    /// The guard last used, to mark a segment as complete with.
    key: Option<KeyGuard>,
}

impl Writer {
    fn commit(&mut self, group: Vec<Pending>) {
        if self.shared.refusing.load(Ordering::Acquire) {
            return self.fail(group, || BufferError::Refusing);
        }
        if let Err((free, reserve)) = self.space() {
            return self.fail(group, || BufferError::Full { free, reserve });
        }
        let Some(group) = self.ready(group) else { return };
        let started = self.shared.world.clock.boot();
        let (sealed, frames) = self.seal(group);
        if sealed.is_empty() {
            return;
        }
        let segment = self.segment.as_mut().expect("ready() opened it");
        let id = segment.id;
        if let Err(error) = segment.write(&frames) {
            tracing::error!(segment = %id, kind = ?error.kind(), "a log segment failed and is given up");
            self.give_up();
            let failed = self.failed(&error);
            return self.fail(sealed.into_iter().map(|(_, pending)| pending).collect(), || failed.error(id));
        }
        self.failures = 0;
        self.synced = self.next - 1;
        let bytes = segment.offset;
        drop(frames);
        self.shared.memtables.release(sealed.iter().map(|(_, pending)| pending.bytes).sum());
        self.shared.trail.grew(self.epoch, bytes, sealed.iter().map(|(position, pending)| (pending.table, *position)));
        let now = self.shared.world.clock.boot();
        metrics::histogram!("buffer_wal_group_seconds").record(now.since(started).as_secs_f64());
        metrics::counter!("buffer_wal_groups_total").increment(1);
        metrics::counter!("buffer_wal_records_total").increment(sealed.len() as u64);
        self.deliver(sealed, now);
    }

    /// Rows become visible in the order of the log, then their senders are told.
    fn deliver(&self, sealed: Vec<(Position, Pending)>, now: BootTime) {
        let (shared, config) = (&self.shared, &self.shared.config);
        let mut largest = 0;
        let mut acks = Vec::with_capacity(sealed.len());
        for (position, pending) in sealed {
            let Pending { workspace, table, arrival, batch, mark, bytes, done, .. } = pending;
            let rows = Durable { position, workspace, table, arrival, batch, mark, bytes };
            largest = shared.memtables.insert(self.epoch, rows, now, config).max(largest);
            acks.push((done, position));
        }
        for (done, position) in acks {
            // Nobody waiting any more is no error: the rows are there.
            drop(done.send(Ok(position)));
        }
        let share = |part: u64, whole: u64| part >= whole / 100 * config.grown_percent;
        let (memory, log) = (shared.memtables.total(), shared.trail.bytes());
        if largest >= config.grown_table_bytes || share(memory, config.memtable_bytes_max) || share(log, config.wal_bytes_max) {
            shared.grown.notify_one();
        }
    }

    /// Whether the disk has room beyond the reserve; else what is free and what is reserved.
    fn space(&self) -> Result<(), (u64, u64)> {
        let config = &self.shared.config;
        // Not knowing is no reason to refuse: the write itself will tell.
        let Ok(space) = self.shared.world.fs.space(&self.shared.dir) else { return Ok(()) };
        let reserve = config.reserve_bytes.max(space.total / 100 * config.reserve_percent);
        if space.free < reserve { Err((space.free, reserve)) } else { Ok(()) }
    }

    /// Sees to it that there is an open segment with room for the group; fails the group if there cannot be one.
    fn ready(&mut self, group: Vec<Pending>) -> Option<Vec<Pending>> {
        // Killing a guard wipes the segment's key with it, though the epoch's key may be back in another guard.
        if self.key.as_ref().is_some_and(|key| key.check(self.shared.world.clock.boot()).is_err()) {
            self.drop_segment();
        }
        let retention = group.iter().map(|pending| pending.retention_days).max().unwrap_or_default();
        let (world, config) = (&self.shared.world, &self.shared.config);
        let full = |segment: &Segment| {
            segment.offset >= config.segment_bytes || retention > segment.retention_days || segment.is_old(world, config)
        };
        if self.segment.as_ref().is_some_and(full)
            && let Err(error) = self.finish()
        {
            tracing::warn!(code = error.code(), "a full log segment could not be marked as complete");
        }
        let mut group = group;
        while self.segment.is_none() {
            let first = group.first()?.guard.clone();
            match self.begin(&first, retention) {
                Ok(()) => {}
                // The key of the first is gone; another's may not be.
                Err(Begin::Seal(error)) => group.remove(0).fail(&self.shared, seal_error(error)),
                Err(Begin::Failed(id, failed)) => {
                    self.fail(group, || failed.error(id));
                    return None;
                }
            }
        }
        let more = group.iter().map(Pending::room).sum();
        let config = &self.shared.config;
        let segment = self.segment.as_mut().expect("opened above");
        let id = segment.id;
        if let Err(error) = segment.reserve(config, more) {
            let failed = if is_full(&error) { Failed::Full } else { self.failed(&error) };
            if !matches!(failed, Failed::Full) {
                self.give_up();
            }
            self.fail(group, || failed.error(id));
            return None;
        }
        Some(group)
    }

    fn begin(&mut self, guard: &KeyGuard, retention_days: u32) -> Result<(), Begin> {
        let shared = Arc::clone(&self.shared);
        let seq = self.next;
        match Segment::begin(&shared.world, &shared.dir, &shared.config, guard, retention_days, Place { seq, synced: self.synced }) {
            Ok(segment) => {
                self.next += 1;
                self.synced = seq;
                self.key = Some(guard.clone());
                let trailed = Trailed { id: segment.id, bytes: segment.offset, open: true, damaged: false, tables: HashMap::new() };
                shared.trail.push(self.epoch, trailed);
                tracing::debug!(segment = %segment.id, position = seq, "log segment opened");
                self.segment = Some(segment);
                Ok(())
            }
            Err(OpenFailed::Seal(error)) => Err(Begin::Seal(error)),
            Err(OpenFailed::Io(id, error)) => {
                // Its first record may be on disk: that position is spent.
                self.next += 1;
                tracing::error!(segment = %id, kind = ?error.kind(), "a log segment could not be opened");
                Err(Begin::Failed(id, self.failed(&error)))
            }
        }
    }

    /// Seals a group in order; a record whose key went away meanwhile is refused and leaves no gap.
    fn seal(&mut self, group: Vec<Pending>) -> (Vec<(Position, Pending)>, Vec<Vec<u8>>) {
        let mut sealed = Vec::with_capacity(group.len());
        let mut frames = Vec::with_capacity(group.len());
        let segment = self.segment.as_mut().expect("ready() opened it");
        for mut pending in group {
            let mut frame = std::mem::take(&mut pending.frame);
            let (guard, schema) = (&pending.guard, &pending.schema);
            let place = Place { seq: self.next, synced: self.synced };
            match segment.seal_rows(&self.shared.world, guard, place, pending.table, schema, &mut frame) {
                Ok(()) => {
                    frames.push(frame);
                    sealed.push((Position(self.next), pending));
                    self.next += 1;
                }
                Err(error) => pending.fail(&self.shared, seal_error(error)),
            }
        }
        (sealed, frames)
    }

    fn fail(&self, group: Vec<Pending>, why: impl Fn() -> BufferError) {
        for pending in group {
            pending.fail(&self.shared, why());
        }
    }

    /// Counts a failure of the disk (no room is none): the second in a row ends all writing.
    fn failed(&mut self, error: &io::Error) -> Failed {
        if is_full(error) {
            return Failed::Full;
        }
        self.failures += 1;
        metrics::counter!("buffer_wal_failures_total").increment(1);
        if self.failures >= FAILURES_MAX {
            tracing::error!("the log's disk failed twice in a row, nothing more is taken");
            self.shared.refusing.store(true, Ordering::Release);
        }
        Failed::Disk(error.kind())
    }

    /// Nothing more is written to a segment that failed.
    fn give_up(&mut self) {
        if let Some(segment) = self.segment.take() {
            self.shared.trail.closed(self.epoch);
            segment.give_up();
        }
    }

    fn drop_segment(&mut self) {
        if self.segment.take().is_some() {
            self.shared.trail.closed(self.epoch);
        }
    }

    fn finish(&mut self) -> Result<(), BufferError> {
        let Some(segment) = self.segment.take() else { return Ok(()) };
        self.shared.trail.closed(self.epoch);
        let id = segment.id;
        let guard = self.key.as_ref().expect("a segment was opened with it");
        let seq = self.next;
        self.next += 1;
        match segment.finish(&self.shared.world, guard, Place { seq, synced: self.synced }) {
            Ok(end) => {
                self.synced = seq;
                self.shared.trail.grew(self.epoch, end, std::iter::empty());
                Ok(())
            }
            Err(OpenFailed::Seal(error)) => Err(seal_error(error)),
            Err(OpenFailed::Io(_, error)) => Err(BufferError::SegmentFailed { segment: id, cause: error.kind() }),
        }
    }
}

enum Begin {
    Seal(SealError),
    Failed(ObjectId, Failed),
}

/// Why a group was not written.
enum Failed {
    Full,
    Disk(io::ErrorKind),
}

impl Failed {
    fn error(&self, segment: ObjectId) -> BufferError {
        match self {
            Self::Full => BufferError::Full { free: 0, reserve: 0 },
            Self::Disk(cause) => BufferError::SegmentFailed { segment, cause: *cause },
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn seal_error(error: SealError) -> BufferError {
    match error {
        SealError::Guard(error) => BufferError::Guard(error),
        other => {
            debug_assert!(other.kind() != ErrorKind::Invalid, "the log seals what it made itself");
            BufferError::Seal(other)
        }
    }
}
