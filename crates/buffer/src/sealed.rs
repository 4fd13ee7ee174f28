//! The sealed buffer: requests that came while the key that opens them is away, as they were received.
//!
//! A request is sealed to a public key, written and synced before it is acked, and nobody can read it until the key is back. It
//! is not typed, not visible, and has no memtable; whoever has the key again reads it in order and makes blocks of it
//! ([`SealedLog::read`]), then erases it. What a payload means is not known here. Requests of one epoch and one reason go to
//! segments of their own; the bytes are in `docs/formats/sealed-buffer.md`.
//!
//! ```text
//! append ─▶ queue of (epoch, reason) ─group─▶ seal, write, fdatasync ─▶ ack       key back: finish ─▶ read ─▶ … ─▶ erase
//! ```

mod read;
mod segment;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_envelope::{BufferKey, KeyGuard, Mmk};
use strongroom_model::{Epoch, ObjectId};
use strongroom_world::World;
use tokio::sync::oneshot;

use self::read::Found;
pub use self::read::SealedReader;
use self::segment::Open;
use crate::BufferError;

/// Why requests are sealed and not taken as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The vault does not answer, or it refuses and nobody knows whether that was meant.
    Outage,
    /// The customer took the key away and wants what comes meanwhile kept.
    Policy,
}

/// The bounds of the sealed buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedConfig {
    /// A segment closes once it holds this much: what is opened and erased at a time.
    pub segment_bytes: u64,
    /// The most of the disk that all segments take, in percent.
    pub disk_percent: u64,
    /// How long after its beginning an outage's requests are still taken.
    pub outage_max: Duration,
    /// Room kept free on disk, in bytes and in percent, as for the log.
    pub reserve_bytes: u64,
    /// See `reserve_bytes`.
    pub reserve_percent: u64,
    /// Most requests written and synced in one go.
    pub group_records_max: usize,
    /// Most bytes written and synced in one go.
    pub group_bytes_max: u64,
}

impl Default for SealedConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            disk_percent: 20,
            outage_max: Duration::from_hours(6),
            reserve_bytes: 2 << 30,
            reserve_percent: 2,
            group_records_max: 512,
            group_bytes_max: 4 << 20,
        }
    }
}

/// One segment that lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its id; it holds its birth.
    pub id: ObjectId,
    /// Whose key opens it.
    pub epoch: Epoch,
    /// Why it is there.
    pub reason: Reason,
    /// Grows from segment to segment: what was taken earlier is read earlier.
    pub number: u64,
    /// The longest that its rows may be kept, in days.
    pub retention_days: u32,
    /// Its bytes.
    pub bytes: u64,
    /// How many of its records count, if a later segment says so.
    pub through: Option<u64>,
    /// Whether requests still go to it.
    pub open: bool,
}

impl SealedSegment {
    /// Birth in milliseconds since 1970.
    #[must_use]
    pub fn born_ms(&self) -> i64 {
        self.id.unix_ms().and_then(|ms| i64::try_from(ms).ok()).unwrap_or_default()
    }

    /// Whether everything in it is older than it may be kept, which is `days` or what its header says, whichever is longer.
    fn is_over(&self, now_ms: i64, ahead: Duration, days: u32) -> bool {
        let kept_ms = i64::from(days.max(self.retention_days)).saturating_mul(86_400_000);
        let ahead_ms = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX).saturating_add(SEGMENT_AGE_MAX_MS);
        self.born_ms().saturating_add(kept_ms).saturating_add(ahead_ms) < now_ms
    }
}

/// How long a segment takes requests: so long at most its rows are younger than its name says.
const SEGMENT_AGE_MAX_MS: i64 = 3_600_000;

/// Comes when a request is durable, or will never be.
type Answer = oneshot::Receiver<Result<(), BufferError>>;

/// A request that waits for the disk.
#[derive(Debug)]
struct Pending {
    key: BufferKey,
    retention_days: u32,
    /// A record whose payload is in place and which is to be sealed.
    frame: Vec<u8>,
    done: oneshot::Sender<Result<(), BufferError>>,
}

/// One (epoch, reason): a queue, and whoever empties it.
#[derive(Debug)]
pub(crate) struct Stream {
    epoch: Epoch,
    reason: Reason,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    /// Whether somebody is on it.
    running: bool,
}

/// Where a stream's next record goes.
#[derive(Debug, Default)]
struct Writer {
    open: Option<Open>,
    /// The segment before, and how many of its records count.
    before: Option<(ObjectId, u64)>,
}

/// The sealed buffer of one node.
#[derive(Debug)]
pub struct SealedLog {
    world: World,
    dir: PathBuf,
    mmk: Arc<Mmk>,
    config: SealedConfig,
    /// As many as there are epochs of customers' keys, twice.
    streams: Mutex<HashMap<(Epoch, Reason), Arc<Stream>>>,
    segments: Mutex<HashMap<ObjectId, SealedSegment>>,
    /// What the next segment is numbered.
    numbers: AtomicU64,
}

impl SealedLog {
    /// Finds what lies in `dir` (made if it is not there). Needs no customer's key. Blocking.
    ///
    /// A segment whose beginning is damaged is put aside under the ending `.damaged` and told of loudly: that one customer's
    /// buffer was harmed is no reason to serve nobody.
    ///
    /// # Errors
    /// [`BufferError::Io`].
    pub fn open(world: World, dir: &Path, mmk: Arc<Mmk>, config: SealedConfig) -> Result<Arc<Self>, BufferError> {
        world.fs.create_dir_all(dir).map_err(BufferError::io("make the sealed buffer's directory"))?;
        if let Some(parent) = dir.parent() {
            world.fs.sync_dir(parent).map_err(BufferError::io("make the sealed buffer's directory durable"))?;
        }
        let log = Self {
            world,
            dir: dir.to_owned(),
            mmk,
            config,
            streams: Mutex::default(),
            segments: Mutex::default(),
            numbers: AtomicU64::new(1),
        };
        let entries = log.world.fs.read_dir(dir).map_err(BufferError::io("list the sealed buffer"))?;
        let mut said = Vec::new();
        for entry in entries {
            let Some(id) = entry.name.strip_suffix(segment::ENDING).and_then(|name| name.parse::<ObjectId>().ok()) else { continue };
            match read::beginning(&log, id).map_err(BufferError::io("read a segment of the sealed buffer"))? {
                Found::Whole(found, before) => {
                    said.extend(before);
                    log.numbers.fetch_max(found.number + 1, Ordering::Relaxed);
                    log.segments.lock().insert(id, found);
                }
                Found::NeverFinished => log.unlink(id, false).map_err(BufferError::io("remove an unfinished segment"))?,
                Found::Damaged => log.set_aside(id)?,
            }
        }
        for (id, through) in said {
            if let Some(segment) = log.segments.lock().get_mut(&id) {
                segment.through = Some(through);
            }
        }
        let (segments, bytes) = (log.segments().len(), log.bytes());
        if segments > 0 {
            tracing::warn!(segments, bytes, "requests wait sealed for their customers' keys");
        }
        Ok(Arc::new(log))
    }

    /// Makes a request durable, sealed to `key`. Done when it is; who stops waiting does not stop it.
    ///
    /// # Errors
    /// [`BufferError::SealedFull`] and [`BufferError::Full`] before anything was written; [`BufferError::SegmentFailed`] if the
    /// disk failed.
    pub async fn append(
        self: &Arc<Self>,
        epoch: Epoch,
        key: &BufferKey,
        reason: Reason,
        retention_days: u32,
        payload: &[u8],
    ) -> Result<(), BufferError> {
        let (stream, waiting, idle) = self.enqueue(epoch, key, reason, retention_days, payload)?;
        if idle {
            let log = Arc::clone(self);
            tokio::task::spawn_blocking(move || while log.turn_of(&stream) {});
        }
        waiting.await.unwrap_or(Err(BufferError::Closed))
    }

    /// Queues a request; says whether nobody is on the queue, which is then the caller's to empty.
    pub(crate) fn enqueue(
        &self,
        epoch: Epoch,
        key: &BufferKey,
        reason: Reason,
        retention_days: u32,
        payload: &[u8],
    ) -> Result<(Arc<Stream>, Answer, bool), BufferError> {
        self.check_room(payload.len() as u64)?;
        let stream = {
            let mut streams = self.streams.lock();
            let new = || Arc::new(Stream { epoch, reason, queue: Mutex::default(), writer: Mutex::default() });
            Arc::clone(streams.entry((epoch, reason)).or_insert_with(new))
        };
        let (done, waiting) = oneshot::channel();
        let mut queue = stream.queue.lock();
        queue.waiting.push_back(Pending { key: *key, retention_days, frame: segment::frame_of(payload), done });
        let idle = !std::mem::replace(&mut queue.running, true);
        drop(queue);
        Ok((stream, waiting, idle))
    }

    /// Whether that many bytes more fit.
    ///
    /// # Errors
    /// [`BufferError::SealedFull`], [`BufferError::Full`].
    pub fn check_room(&self, more: u64) -> Result<(), BufferError> {
        // Not knowing is no reason to refuse: the write itself will tell.
        let Ok(space) = self.world.fs.space(&self.dir) else { return Ok(()) };
        let limit = space.total / 100 * self.config.disk_percent;
        if self.bytes().saturating_add(more) > limit {
            return Err(BufferError::SealedFull { limit });
        }
        let reserve = self.config.reserve_bytes.max(space.total / 100 * self.config.reserve_percent);
        if space.free < reserve { Err(BufferError::Full { free: space.free, reserve }) } else { Ok(()) }
    }

    /// Whether requests for `epoch` are still taken in an outage that began at `since_ms` or, if this process is younger than the
    /// outage, with the first request that still waits. Milliseconds since 1970.
    ///
    /// # Errors
    /// [`BufferError::OutageOver`].
    pub fn check_outage(&self, epoch: Epoch, since_ms: i64, now_ms: i64) -> Result<(), BufferError> {
        let since_ms = self.oldest_ms(Some((epoch, Reason::Outage))).map_or(since_ms, |oldest| oldest.min(since_ms));
        let gone = Duration::from_millis(u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0));
        if gone < self.config.outage_max { Ok(()) } else { Err(BufferError::OutageOver { limit: self.config.outage_max }) }
    }

    /// Writes one group; whether there may be more. Blocking.
    pub(crate) fn turn_of(&self, stream: &Stream) -> bool {
        // The lock is taken before the group leaves the queue: whoever gets it next knows that nothing is on its way.
        let mut writer = stream.writer.lock();
        let group = {
            let mut queue = stream.queue.lock();
            let (mut bytes, mut count) = (0, 0);
            for pending in queue.waiting.iter().take(self.config.group_records_max) {
                bytes += pending.frame.len() as u64;
                if count > 0 && bytes > self.config.group_bytes_max {
                    break;
                }
                count += 1;
            }
            queue.running = count > 0;
            queue.waiting.drain(..count).collect::<Vec<_>>()
        };
        if group.is_empty() {
            return false;
        }
        self.write(stream, &mut writer, group);
        true
    }

    fn write(&self, stream: &Stream, writer: &mut Writer, group: Vec<Pending>) {
        let fail = |group: Vec<Pending>, why: &dyn Fn() -> BufferError| {
            metrics::counter!("buffer_refused_total", "code" => why().code()).increment(group.len() as u64);
            // Nobody waiting any more is no error: the caller was dropped.
            for pending in group {
                drop(pending.done.send(Err(why())));
            }
        };
        let more: u64 = group.iter().map(|pending| pending.frame.len() as u64).sum();
        match self.check_room(more) {
            Ok(()) => {}
            Err(BufferError::SealedFull { limit }) => return fail(group, &|| BufferError::SealedFull { limit }),
            Err(_) => return fail(group, &|| BufferError::Full { free: 0, reserve: self.config.reserve_bytes }),
        }
        let retention_days = group.iter().map(|pending| pending.retention_days).max().unwrap_or_default();
        let now_ms = self.world.clock.wall().unix_ms();
        let full = |open: &Open| {
            let old = now_ms.saturating_sub(open.listed().born_ms()) >= SEGMENT_AGE_MAX_MS;
            old || open.offset() >= self.config.segment_bytes || retention_days > open.retention_days()
        };
        if writer.open.as_ref().is_some_and(full) {
            self.close(writer);
        }
        if writer.open.is_none() {
            match Open::begin(self, stream, retention_days, writer.before) {
                Ok(open) => {
                    self.segments.lock().insert(open.id(), open.listed());
                    writer.open = Some(open);
                }
                Err((segment, error)) => {
                    tracing::error!(%segment, kind = ?error.kind(), "a segment of the sealed buffer could not be opened");
                    return fail(group, &|| BufferError::SegmentFailed { segment, cause: error.kind() });
                }
            }
        }
        let open = writer.open.as_mut().expect("opened above");
        let segment = open.id();
        let mut group = group;
        let frames: Vec<_> = group.iter_mut().map(|pending| (pending.key, std::mem::take(&mut pending.frame))).collect();
        match open.write(self.world.rng.as_ref(), frames) {
            Ok(bytes) => {
                if let Some(listed) = self.segments.lock().get_mut(&segment) {
                    listed.bytes = bytes;
                }
                metrics::counter!("buffer_sealed_requests_total").increment(group.len() as u64);
                for pending in group {
                    drop(pending.done.send(Ok(())));
                }
            }
            Err(error) => {
                tracing::error!(%segment, kind = ?error.kind(), "a segment of the sealed buffer failed and is given up");
                metrics::counter!("buffer_sealed_failures_total").increment(1);
                open.give_up();
                self.close(writer);
                fail(group, &|| BufferError::SegmentFailed { segment, cause: error.kind() });
            }
        }
    }

    /// Nothing more goes to the open segment; the next one says how far this one counts.
    fn close(&self, writer: &mut Writer) {
        if let Some(open) = writer.open.take() {
            writer.before = Some((open.id(), open.synced()));
            if let Some(listed) = self.segments.lock().get_mut(&open.id()) {
                (listed.open, listed.bytes, listed.through) = (false, open.offset(), Some(open.synced()));
            }
        }
    }

    /// Closes an epoch's open segments, so that they can be read: what comes later goes to others. Blocking.
    pub fn finish(&self, epoch: Epoch) {
        let streams: Vec<_> = self.streams.lock().values().filter(|stream| stream.epoch == epoch).cloned().collect();
        for stream in streams {
            self.close(&mut stream.writer.lock());
        }
    }

    /// Every segment on disk, oldest first.
    #[must_use]
    pub fn segments(&self) -> Vec<SealedSegment> {
        let mut segments: Vec<_> = self.segments.lock().values().copied().collect();
        segments.sort_by_key(|segment| segment.number);
        segments
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.lock().values().map(|segment| segment.bytes).sum()
    }

    /// When the oldest segment was begun, milliseconds since 1970; of all of them, or of one account's for one reason.
    #[must_use]
    pub fn oldest_ms(&self, of: Option<(Epoch, Reason)>) -> Option<i64> {
        let segments = self.segments.lock();
        let wanted =
            |segment: &&SealedSegment| of.is_none_or(|(epoch, why)| (segment.epoch.account, segment.reason) == (epoch.account, why));
        segments.values().filter(wanted).map(SealedSegment::born_ms).min()
    }

    /// Reads a closed segment from its first record on. Blocking, as reading it is.
    ///
    /// # Errors
    /// [`BufferError::Io`], [`BufferError::Open`].
    pub fn read(&self, segment: &SealedSegment, guard: &KeyGuard) -> Result<SealedReader, BufferError> {
        SealedReader::begin(&self.world, &self.mmk, &self.path(segment.id), segment, guard)
    }

    /// Removes a segment whose rows are elsewhere, or are no longer to be kept. Twice is no harm. Blocking.
    ///
    /// # Errors
    /// [`BufferError::Io`].
    pub fn erase(&self, segment: ObjectId) -> Result<(), BufferError> {
        self.unlink(segment, false).map_err(BufferError::io("remove a segment of the sealed buffer"))?;
        self.segments.lock().remove(&segment);
        Ok(())
    }

    /// Takes a damaged segment out of use and keeps its bytes beside the others, under the ending `.damaged`. Blocking.
    ///
    /// # Errors
    /// [`BufferError::Io`].
    pub fn set_aside(&self, segment: ObjectId) -> Result<(), BufferError> {
        tracing::error!(%segment, "a segment of the sealed buffer is damaged: rows in it may be lost; it is kept with the ending .damaged");
        metrics::counter!("buffer_sealed_damaged_total").increment(1);
        self.unlink(segment, true).map_err(BufferError::io("put a damaged segment aside"))?;
        self.segments.lock().remove(&segment);
        Ok(())
    }

    /// Removes segments in which everything is older than it may be kept: needs no key. Which they were. Blocking.
    ///
    /// Rows may lie `ahead` of their arrival; `longer` says the most days that were set for rows of a segment's epoch since it
    /// was begun, 0 if none were.
    ///
    /// # Errors
    /// [`BufferError::Io`]; the others are tried again next time.
    pub fn expire(&self, now_ms: i64, ahead: Duration, longer: &dyn Fn(&SealedSegment) -> u32) -> Result<Vec<SealedSegment>, BufferError> {
        let over: Vec<_> = self.segments().into_iter().filter(|segment| segment.is_over(now_ms, ahead, longer(segment))).collect();
        for segment in &over {
            if segment.open {
                // Nothing came to it for so long; what comes now goes to another.
                self.finish(segment.epoch);
            }
            self.erase(segment.id)?;
            tracing::warn!(segment = %segment.id, account = %segment.epoch.account, bytes = segment.bytes, "sealed requests expired unread");
        }
        Ok(over)
    }

    fn path(&self, segment: ObjectId) -> PathBuf {
        self.dir.join(segment::file_name(segment))
    }

    fn unlink(&self, segment: ObjectId, keep: bool) -> io::Result<()> {
        let path = self.path(segment);
        let done =
            if keep { self.world.fs.rename(&path, &self.dir.join(format!("{segment}.damaged"))) } else { self.world.fs.remove_file(&path) };
        match done {
            // A try before this one got as far as the name.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.world.fs.sync_dir(&self.dir)
    }
}
