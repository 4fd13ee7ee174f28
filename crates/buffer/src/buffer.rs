//! The log and the memtables behind one door.

mod expire;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use arrow_schema::SchemaRef;
use parking_lot::Mutex;
use strongroom_envelope::KeyGuard;
use strongroom_model::{Epoch, Position, TableId, TimeRange};
use strongroom_world::World;
use tokio::sync::{Notify, oneshot};

pub use self::expire::Purged;
use crate::memtable::{Durable, Memtables};
use crate::wal::payload::{SchemaMessage, encode_rows};
use crate::wal::replay::{Ground, Listed, inventory, replay};
use crate::wal::stream::{Pending, Shared, Stream};
use crate::wal::trail::Trail;
use crate::{BufferConfig, BufferError, Frozen, MemSnapshot, Pressure, Record, Recovery, TablePressure};

mod ending;

/// The log and the memtables of one node.
#[derive(Debug)]
pub struct Buffer {
    shared: Arc<Shared>,
    streams: Mutex<Streams>,
    /// Each table's latest schema as its message, so that it is encoded once and not per record.
    schemas: Mutex<HashMap<TableId, (SchemaRef, SchemaMessage)>>,
    /// Held while an epoch is dropped or read back: never both at once.
    changing: Mutex<()>,
    driver: Driver,
}

/// Who writes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A thread per epoch.
    Threads,
    /// A test or the fuzz target, by `Buffer::turn`: groups are then the same for the same seed.
    ByHand,
}

/// A record that waits for the disk. Dropped, it is written all the same.
#[derive(Debug)]
#[must_use = "it is not durable yet"]
pub struct Begun(oneshot::Receiver<Result<Position, BufferError>>);

impl Begun {
    /// Done when the record is durable and its rows are visible.
    ///
    /// # Errors
    /// As [`Buffer::append`].
    pub async fn durable(self) -> Result<Position, BufferError> {
        self.0.await.unwrap_or(Err(BufferError::Closed))
    }
}

#[derive(Debug, Default)]
struct Streams {
    live: BTreeMap<Epoch, (Arc<Stream>, Option<JoinHandle<()>>)>,
    /// Where each epoch's log goes on: the highest position read, which is durable, and the highest known.
    starts: HashMap<Epoch, Start>,
    /// Epochs with rows on disk that are not in memory; of which tables and event times, unless they were never read.
    away: HashMap<Epoch, Option<Vec<(TableId, TimeRange)>>>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Start {
    read: Position,
    known: Position,
}

impl Buffer {
    /// Reads the log in `dir` back into memtables (made if it is not there) and starts taking records. Blocking.
    ///
    /// `flushed` says what is in blocks already: those rows are skipped. Running it twice gives the same.
    ///
    /// # Errors
    /// [`BufferError::Corrupt`] naming segment and offset if acked records cannot be read, unless
    /// [`BufferConfig::salvage`] is set; [`BufferError::Io`], [`BufferError::Open`], [`BufferError::Config`].
    pub fn recover(
        world: World,
        dir: &Path,
        config: BufferConfig,
        guards: &HashMap<Epoch, KeyGuard>,
        flushed: &HashMap<(TableId, Epoch), Position>,
    ) -> Result<(Arc<Self>, Recovery), BufferError> {
        Self::recover_driven(world, dir, config, guards, flushed, Driver::Threads)
    }

    pub(crate) fn recover_driven(
        world: World,
        dir: &Path,
        config: BufferConfig,
        guards: &HashMap<Epoch, KeyGuard>,
        flushed: &HashMap<(TableId, Epoch), Position>,
        driver: Driver,
    ) -> Result<(Arc<Self>, Recovery), BufferError> {
        config.check()?;
        world.fs.create_dir_all(dir).map_err(BufferError::io("make its directory"))?;
        if let Some(parent) = dir.parent() {
            world.fs.sync_dir(parent).map_err(BufferError::io("make its directory durable"))?;
        }
        let shared = Arc::new(Shared {
            world,
            dir: dir.to_owned(),
            config,
            memtables: Memtables::default(),
            trail: Trail::default(),
            grown: Notify::new(),
            refusing: AtomicBool::new(false),
        });
        let buffer = Self { shared, streams: Mutex::default(), schemas: Mutex::default(), changing: Mutex::default(), driver };
        let mut recovery = Recovery::default();
        for ((table, epoch), through) in flushed {
            buffer.shared.trail.set_flushed(*table, *epoch, *through);
        }
        for (epoch, listed) in inventory(&buffer.ground(), true, &mut recovery)? {
            if let Some(guard) = guards.get(&epoch) {
                buffer.read_back(guard, listed, &mut recovery)?;
            } else {
                tracing::warn!(account = %epoch.account, aek = %epoch.aek, "log segments wait for their key");
                buffer.streams.lock().away.insert(epoch, None);
                recovery.unopened.push(epoch);
            }
        }
        tracing::info!(
            records = recovery.records,
            rows = recovery.rows,
            segments = recovery.segments,
            cut = recovery.cut.len(),
            "log read back"
        );
        Ok((Arc::new(buffer), recovery))
    }

    fn ground(&self) -> Ground<'_> {
        Ground { world: &self.shared.world, dir: &self.shared.dir, config: &self.shared.config }
    }

    /// Reads one epoch's segments into memtables.
    fn read_back(&self, guard: &KeyGuard, listed: Vec<Listed>, recovery: &mut Recovery) -> Result<(), BufferError> {
        let epoch = guard.epoch();
        let shared = &self.shared;
        let now = shared.world.clock.boot();
        let mut sink = |rows: Durable| {
            // Over the limit or not: it was acked.
            shared.memtables.reserve(rows.bytes, u64::MAX);
            shared.memtables.insert(epoch, rows, now, &shared.config);
        };
        let flushed = |table| shared.trail.flushed(table, epoch);
        let replayed = replay(&self.ground(), guard, listed, &flushed, &mut sink, recovery)?;
        for segment in replayed.segments {
            shared.trail.push(epoch, segment);
        }
        let start = Start { read: replayed.last, known: replayed.last };
        self.streams.lock().starts.insert(epoch, start);
        shared.trail.trim(&shared.world, &shared.dir, epoch);
        Ok(())
    }

    /// Makes a record durable under `guard`'s epoch and its rows visible. Done when both are.
    ///
    /// # Errors
    /// [`BufferError::Overloaded`], [`BufferError::Full`] and [`BufferError::TooLarge`] before anything was written;
    /// [`BufferError::SegmentFailed`] if the disk failed; [`BufferError::Guard`] if the key went away.
    pub async fn append(&self, guard: &KeyGuard, record: Record) -> Result<Position, BufferError> {
        self.begin(guard, record)?.durable().await
    }

    /// The part of [`Buffer::append`] that takes CPU time, a copy of the rows: where that matters it is done off the runtime.
    ///
    /// # Errors
    /// As there, but for what happens to the record on its way to the disk.
    pub fn begin(&self, guard: &KeyGuard, record: Record) -> Result<Begun, BufferError> {
        let refused = |error: &BufferError| metrics::counter!("buffer_refused_total", "code" => error.code()).increment(1);
        self.enqueue(guard, record).map(Begun).inspect_err(refused)
    }

    pub(crate) fn enqueue(
        &self,
        guard: &KeyGuard,
        record: Record,
    ) -> Result<oneshot::Receiver<Result<Position, BufferError>>, BufferError> {
        let config = &self.shared.config;
        guard.check(self.shared.world.clock.boot())?;
        self.admit(guard.epoch())?;
        let schema = self.schema_message(record.table, record.batch.schema_ref())?;
        let frame = encode_rows(&record, &schema).map_err(BufferError::Encode)?;
        let bytes = frame.len() as u64;
        if bytes > config.record_bytes_max {
            return Err(BufferError::TooLarge { bytes, limit: config.record_bytes_max });
        }
        // The rows, and until they are on disk the record too.
        if !self.shared.memtables.reserve(bytes * 2, config.memtable_bytes_max) {
            self.shared.grown.notify_one();
            return Err(BufferError::Overloaded { what: "memory for unflushed rows", limit: config.memtable_bytes_max });
        }
        let Record { workspace, table, batch, arrival, retention_days, mark } = record;
        let (done, waiting) = oneshot::channel();
        let pending = Pending { guard: guard.clone(), frame, schema, workspace, table, arrival, retention_days, batch, mark, bytes, done };
        match self.stream(guard.epoch()) {
            Ok(stream) => stream.push(pending),
            Err(error) => {
                self.shared.memtables.release(bytes * 2);
                return Err(error);
            }
        }
        Ok(waiting)
    }

    /// What can be refused before any work is done.
    fn admit(&self, epoch: Epoch) -> Result<(), BufferError> {
        let (shared, config) = (&self.shared, &self.shared.config);
        if shared.refusing.load(Ordering::Acquire) {
            return Err(BufferError::Refusing);
        }
        if self.streams.lock().away.contains_key(&epoch) {
            return Err(BufferError::NotReplayed { epoch });
        }
        if shared.trail.bytes() >= config.wal_bytes_max {
            shared.grown.notify_one();
            return Err(BufferError::Overloaded { what: "the log on disk", limit: config.wal_bytes_max });
        }
        if shared.memtables.total() >= config.memtable_bytes_max {
            shared.grown.notify_one();
            return Err(BufferError::Overloaded { what: "memory for unflushed rows", limit: config.memtable_bytes_max });
        }
        Ok(())
    }

    fn schema_message(&self, table: TableId, schema: &SchemaRef) -> Result<SchemaMessage, BufferError> {
        if let Some((known, message)) = self.schemas.lock().get(&table)
            && (Arc::ptr_eq(known, schema) || known == schema)
        {
            return Ok(message.clone());
        }
        let message = SchemaMessage::of(schema).map_err(BufferError::Encode)?;
        let mut schemas = self.schemas.lock();
        if schemas.len() >= self.shared.config.schemas_max {
            schemas.clear();
        }
        schemas.insert(table, (Arc::clone(schema), message.clone()));
        Ok(message)
    }

    fn stream(&self, epoch: Epoch) -> Result<Arc<Stream>, BufferError> {
        let mut streams = self.streams.lock();
        if streams.closed {
            return Err(BufferError::Closed);
        }
        if streams.away.contains_key(&epoch) {
            return Err(BufferError::NotReplayed { epoch });
        }
        if let Some((stream, _)) = streams.live.get(&epoch) {
            return Ok(Arc::clone(stream));
        }
        let start = streams.starts.get(&epoch).copied().unwrap_or_default();
        let known = start.known.max(self.shared.trail.flushed_in(epoch));
        let stream = Stream::new(Arc::clone(&self.shared), epoch, Position(known.0 + 1), start.read);
        let thread = match self.driver {
            Driver::ByHand => None,
            Driver::Threads => {
                let writer = Arc::clone(&stream);
                let spawned = thread::Builder::new().name("strongroom-wal".to_owned()).spawn(move || writer.run());
                Some(spawned.map_err(BufferError::io("start its writer"))?)
            }
        };
        streams.live.insert(epoch, (Arc::clone(&stream), thread));
        Ok(stream)
    }

    /// Writes one group of each epoch.
    pub(crate) fn turn(&self) {
        let streams: Vec<_> = self.streams.lock().live.values().map(|(stream, _)| Arc::clone(stream)).collect();
        for stream in streams {
            stream.turn();
        }
    }

    /// The rows of a table that are in memory, one entry per epoch, oldest first. Cheap: no row is copied.
    #[must_use]
    pub fn snapshot(&self, table: TableId) -> Vec<MemSnapshot> {
        self.shared.memtables.snapshot(table)
    }

    /// Takes a memtable's oldest rows for flushing, all of them unless they are more than
    /// [`BufferConfig::freeze_bytes`]; `None` if it holds none. Until [`Buffer::settle`] a second call gives the same
    /// rows again.
    #[must_use]
    pub fn freeze(&self, table: TableId, epoch: Epoch) -> Option<Frozen> {
        self.shared.memtables.freeze(table, epoch)
    }

    /// The rows up to `through` are in blocks and the catalog says so: they leave memory, and segments that nothing
    /// needs any more are unlinked. Blocking.
    pub fn settle(&self, table: TableId, epoch: Epoch, through: Position) {
        let shared = &self.shared;
        shared.memtables.settle(table, epoch, through);
        shared.trail.set_flushed(table, epoch, through);
        shared.trail.trim(&shared.world, &shared.dir, epoch);
    }

    /// How full memory and log are.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let shared = &self.shared;
        let mut tables: Vec<TablePressure> = (shared.memtables.loads().into_iter())
            .filter_map(|load| {
                let oldest = load.oldest.or(load.frozen.then(|| shared.world.clock.boot()))?;
                let (table, epoch) = (load.table, load.epoch);
                let pins_wal = shared.trail.pinned_by(table, epoch);
                Some(TablePressure { table, epoch, bytes: load.bytes, oldest, pins_wal, frozen: load.frozen, freezes: load.freezes })
            })
            .collect();
        tables.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.table.cmp(&b.table)));
        let pressure = Pressure {
            total_bytes: shared.memtables.total(),
            total_bytes_max: shared.config.memtable_bytes_max,
            wal_bytes: shared.trail.bytes(),
            wal_bytes_max: shared.config.wal_bytes_max,
            tables,
        };
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        {
            metrics::gauge!("buffer_memtable_bytes").set(pressure.total_bytes as f64);
            metrics::gauge!("buffer_wal_bytes").set(pressure.wal_bytes as f64);
        }
        pressure
    }

    /// Bytes of rows in memory, frozen and queued ones included: [`Pressure::total_bytes`] without the rest.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.shared.memtables.total()
    }

    /// The hard limit of that.
    #[must_use]
    pub fn held_bytes_max(&self) -> u64 {
        self.shared.config.memtable_bytes_max
    }

    /// Whether the log on disk takes no more before something is flushed.
    #[must_use]
    pub fn is_log_full(&self) -> bool {
        self.shared.trail.bytes() >= self.shared.config.wal_bytes_max
    }

    /// Woken when a flush is due by size (not by age).
    #[must_use]
    pub fn grown(&self) -> &Notify {
        &self.shared.grown
    }

    /// Whether the disk failed twice in a row and nothing more is taken: the process should end.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.shared.refusing.load(Ordering::Acquire)
    }

    /// Drops an epoch's memtables and stops writing in it: its rows are in the log, under its key. Blocking.
    /// Appends to it are refused until [`Buffer::restore`].
    pub fn forget(&self, epoch: Epoch) {
        let _alone = self.changing.lock();
        // Which tables are of the epoch is not known here; they are encoded again when they are next written to.
        self.schemas.lock().clear();
        let (live, was_read) = {
            let mut streams = self.streams.lock();
            let was_read = !streams.away.contains_key(&epoch);
            // Until its memtables are looked at: rows of any table, of any time.
            streams.away.entry(epoch).or_insert(None);
            streams.starts.remove(&epoch);
            (streams.live.remove(&epoch), was_read)
        };
        if let Some((stream, thread)) = live {
            stream.abandon(|| BufferError::NotReplayed { epoch });
            join(thread);
        }
        let dropped = self.shared.memtables.forget(epoch);
        self.shared.trail.forget(epoch);
        if was_read {
            self.streams.lock().away.insert(epoch, Some(dropped));
        }
    }

    /// Epochs that hold rows of this table, of event times within `range`, which are on disk and not in memory: a query
    /// without their keys would miss them. `true` with those of which it is not known which tables they hold.
    #[must_use]
    pub fn away(&self, table: TableId, range: TimeRange) -> Vec<(Epoch, bool)> {
        let holds = |(of, times): &(TableId, TimeRange)| *of == table && times.intersect(&range).is_some();
        let streams = self.streams.lock();
        let away = streams.away.iter().filter(|(_, tables)| tables.as_ref().is_none_or(|tables| tables.iter().any(holds)));
        away.map(|(epoch, tables)| (*epoch, tables.is_none())).collect()
    }

    /// Reads an epoch's log back after its key returned. Blocking. An epoch that is in memory is left as it is.
    ///
    /// # Errors
    /// As [`Buffer::recover`]; nothing of the epoch is in memory then.
    pub fn restore(&self, guard: &KeyGuard, flushed: &HashMap<(TableId, Epoch), Position>) -> Result<Recovery, BufferError> {
        let _alone = self.changing.lock();
        let epoch = guard.epoch();
        let mut recovery = Recovery::default();
        if !self.streams.lock().away.contains_key(&epoch) {
            return Ok(recovery);
        }
        for ((table, of), through) in flushed {
            if *of == epoch {
                self.shared.trail.set_flushed(*table, epoch, *through);
            }
        }
        let listed = inventory(&self.ground(), false, &mut recovery)?.remove(&epoch).unwrap_or_default();
        if let Err(error) = self.read_back(guard, listed, &mut recovery) {
            drop(self.shared.memtables.forget(epoch));
            return Err(error);
        }
        let mut streams = self.streams.lock();
        if let Err(error) = guard.check(self.shared.world.clock.boot()) {
            // Gone again since the last record was opened: whoever took it away comes next and finds nothing to drop.
            drop(streams);
            drop(self.shared.memtables.forget(epoch));
            return Err(error.into());
        }
        streams.away.remove(&epoch);
        Ok(recovery)
    }

    /// Ends the log of an epoch that takes no more rows, once nothing in it is needed. Whether nothing of it is left, in memory or on
    /// disk. Blocking.
    ///
    /// # Errors
    /// [`BufferError::Io`] if the directory could not be read; a segment that could not be ended.
    pub fn retire(&self, epoch: Epoch) -> Result<bool, BufferError> {
        let _alone = self.changing.lock();
        let shared = &self.shared;
        let in_memory = shared.memtables.loads().iter().any(|load| load.epoch == epoch && (load.oldest.is_some() || load.frozen));
        if in_memory || self.streams.lock().away.contains_key(&epoch) {
            return Ok(false);
        }
        let live = {
            let mut streams = self.streams.lock();
            streams.starts.remove(&epoch);
            streams.live.remove(&epoch)
        };
        if let Some((stream, thread)) = live {
            stream.close();
            join(thread);
            while stream.turn() {}
            stream.finish()?;
        }
        shared.trail.trim(&shared.world, &shared.dir, epoch);
        let left = inventory(&self.ground(), false, &mut Recovery::default())?;
        Ok(!left.contains_key(&epoch))
    }

    /// Writes what waits, marks the open segments as complete and stops. Blocking.
    ///
    /// # Errors
    /// [`BufferError::SegmentFailed`] if that could not be made durable; acked rows are safe all the same.
    pub fn close(&self) -> Result<(), BufferError> {
        let live = {
            let mut streams = self.streams.lock();
            streams.closed = true;
            std::mem::take(&mut streams.live)
        };
        let mut result = Ok(());
        for (stream, thread) in live.into_values() {
            stream.close();
            join(thread);
            while stream.turn() {}
            result = result.and(stream.finish());
        }
        result
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread
        && thread.join().is_err()
    {
        tracing::error!("a log writer had panicked");
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        for (_, (stream, thread)) in std::mem::take(&mut self.streams.get_mut().live) {
            stream.abandon(|| BufferError::Closed);
            join(thread);
        }
    }
}
