//! Rows in memory, by table and epoch: what arrived and is in no block yet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, max, min};
use arrow::datatypes::TimestampNanosecondType;
use arrow_schema::SchemaRef;
use parking_lot::{Mutex, RwLock};
use strongroom_model::{Epoch, Position, TIME_COLUMN, TableId, TimeRange, Window, WorkspaceId};
use strongroom_world::BootTime;

use crate::{BatchMark, BufferConfig, Frozen, MemSnapshot};

/// Batches of more bytes than this are never merged: copying one must not keep the next group waiting.
const MERGE_BYTES_MAX: u64 = 1 << 20;

/// A record's rows, durable and about to become visible.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) position: Position,
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    pub(crate) arrival: i64,
    pub(crate) batch: RecordBatch,
    pub(crate) mark: Option<BatchMark>,
    /// What it counts as, in bytes: already counted in [`Memtables::total`].
    pub(crate) bytes: u64,
}

/// One batch of a memtable: of one record, or of several merged.
#[derive(Clone, Debug)]
struct Slab {
    position: Position,
    arrival: i64,
    batch: RecordBatch,
    bytes: u64,
}

/// The slabs of one schema. Small ones wait in tiers until there are enough of a size to be merged, so each row is
/// copied a few times at most and the number of slabs grows with the logarithm of the number of records.
#[derive(Debug)]
struct Shelf {
    schema: SchemaRef,
    full: Vec<Slab>,
    tiers: Vec<Vec<Slab>>,
}

impl Shelf {
    fn push(&mut self, mut slab: Slab, rows_max: usize, fan_in: usize) {
        let small = |slab: &Slab| slab.batch.num_rows() < rows_max && slab.bytes < MERGE_BYTES_MAX;
        for tier in 0.. {
            if !small(&slab) {
                break;
            }
            if self.tiers.len() == tier {
                self.tiers.push(Vec::with_capacity(fan_in));
            }
            self.tiers[tier].push(slab);
            if self.tiers[tier].len() < fan_in {
                return;
            }
            let parts = std::mem::take(&mut self.tiers[tier]);
            match merge(&self.schema, &parts) {
                Some(merged) => slab = merged,
                None => return self.full.extend(parts),
            }
        }
        self.full.push(slab);
    }

    fn slabs(&self) -> impl Iterator<Item = &Slab> {
        self.full.iter().chain(self.tiers.iter().flatten())
    }
}

fn merge(schema: &SchemaRef, parts: &[Slab]) -> Option<Slab> {
    Some(Slab {
        position: parts.iter().map(|part| part.position).max()?,
        arrival: parts.iter().map(|part| part.arrival).min()?,
        batch: concat_batches(schema, parts.iter().map(|part| &part.batch)).ok()?,
        bytes: parts.iter().map(|part| part.bytes).sum(),
    })
}

#[derive(Debug)]
struct Memtable {
    workspace: WorkspaceId,
    epoch: Epoch,
    /// Parts that are large enough, oldest first: one freeze takes one of them.
    full: VecDeque<Active>,
    active: Active,
    frozen: Option<Ice>,
}

impl Memtable {
    /// What is not frozen, oldest first.
    fn parts(&self) -> impl Iterator<Item = &Active> {
        self.full.iter().chain(std::iter::once(&self.active)).filter(|part| part.span.is_some())
    }

    fn bytes(&self) -> u64 {
        self.parts().map(|part| part.bytes).sum()
    }

    /// Between which event times its rows lie; all times if that cannot be told.
    fn times(&self) -> TimeRange {
        let frozen = self.frozen.iter().flat_map(|ice| ice.slabs.iter());
        let of = |slab: &Slab| times(&slab.batch).unwrap_or(TimeRange::ALL);
        let shelves = self.parts().flat_map(|part| &part.shelves);
        let all = frozen.chain(shelves.flat_map(Shelf::slabs)).map(of);
        all.reduce(|a, b| TimeRange { start: a.start.min(b.start), end: a.end.max(b.end) }).unwrap_or(TimeRange::ALL)
    }
}

fn times(batch: &RecordBatch) -> Option<TimeRange> {
    let column = batch.column_by_name(TIME_COLUMN)?.as_primitive_opt::<TimestampNanosecondType>()?;
    Some(TimeRange { start: min(column)?, end: max(column)? })
}

/// What was frozen and is not settled.
#[derive(Debug)]
struct Ice {
    through: Position,
    slabs: Vec<Slab>,
    marks: Vec<(BatchMark, i64)>,
    bytes: u64,
}

/// What a freeze takes.
#[derive(Debug, Default)]
struct Active {
    shelves: Vec<Shelf>,
    marks: Vec<(BatchMark, i64)>,
    bytes: u64,
    /// Its last position and when its first record came, if it has any.
    span: Option<(Position, BootTime)>,
    /// The windows its rows lie in: each becomes a block.
    windows: HashSet<Window>,
}

/// The windows that rows lie in which arrived then. Rows without times lie in none.
#[must_use]
pub fn windows_of(batch: &RecordBatch, arrival: i64) -> HashSet<Window> {
    let times = batch.column_by_name(TIME_COLUMN).and_then(|times| times.as_primitive_opt::<TimestampNanosecondType>());
    let Some(times) = times else { return HashSet::new() };
    let (Some(least), Some(greatest)) = (min(times), max(times)) else { return HashSet::new() };
    let oldest = Window::of(least, arrival);
    if oldest == Window::of(greatest, arrival) {
        return HashSet::from([oldest]);
    }
    times.iter().flatten().map(|time| Window::of(time, arrival)).collect()
}

impl Active {
    fn push(&mut self, rows: Durable, now: BootTime, config: &BufferConfig) {
        self.bytes += rows.bytes;
        self.span = Some((rows.position, self.span.map_or(now, |(_, first)| first)));
        self.marks.extend(rows.mark.map(|mark| (mark, rows.arrival)));
        if rows.batch.num_rows() == 0 {
            return;
        }
        self.windows.extend(windows_of(&rows.batch, rows.arrival));
        let schema = rows.batch.schema();
        let same = |shelf: &Shelf| Arc::ptr_eq(&shelf.schema, &schema) || shelf.schema == schema;
        let at = self.shelves.iter().rposition(same).unwrap_or_else(|| {
            self.shelves.push(Shelf { schema: Arc::clone(&schema), full: Vec::new(), tiers: Vec::new() });
            self.shelves.len() - 1
        });
        let slab = Slab { position: rows.position, arrival: rows.arrival, batch: rows.batch, bytes: rows.bytes };
        self.shelves[at].push(slab, config.merge_rows, config.merge_fan_in);
    }

    fn slabs(&self) -> Vec<Slab> {
        let mut slabs: Vec<Slab> = self.shelves.iter().flat_map(Shelf::slabs).cloned().collect();
        slabs.sort_by_key(|slab| slab.position);
        slabs
    }
}

/// A memtable's size, for [`crate::Pressure`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) table: TableId,
    pub(crate) epoch: Epoch,
    pub(crate) bytes: u64,
    pub(crate) oldest: Option<BootTime>,
    pub(crate) frozen: bool,
    pub(crate) freezes: usize,
}

/// All memtables of a node. One lock per table: queries of one do not wait for another's rows.
#[derive(Debug, Default)]
pub(crate) struct Memtables {
    tables: RwLock<HashMap<TableId, Arc<Mutex<Vec<Memtable>>>>>,
    total: AtomicU64,
}

impl Memtables {
    /// Bytes of all rows in memory, those that wait for the disk included.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Acquire)
    }

    /// Counts `bytes` in, unless that passes `limit`. Something always fits nothing: one record may be over the limit.
    pub(crate) fn reserve(&self, bytes: u64, limit: u64) -> bool {
        let add = |now: u64| (now == 0 || now.saturating_add(bytes) <= limit).then(|| now + bytes);
        self.total.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok()
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.total.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn table(&self, table: TableId) -> Option<Arc<Mutex<Vec<Memtable>>>> {
        self.tables.read().get(&table).cloned()
    }

    /// Makes a record's rows visible; gives what the memtable then holds, in bytes.
    pub(crate) fn insert(&self, epoch: Epoch, rows: Durable, now: BootTime, config: &BufferConfig) -> u64 {
        let table = self.table(rows.table).unwrap_or_else(|| Arc::clone(self.tables.write().entry(rows.table).or_default()));
        let mut epochs = table.lock();
        let at = epochs.iter().position(|memtable| memtable.epoch == epoch).unwrap_or_else(|| {
            let (full, active) = (VecDeque::new(), Active::default());
            epochs.push(Memtable { workspace: rows.workspace, epoch, full, active, frozen: None });
            epochs.len() - 1
        });
        let memtable = &mut epochs[at];
        memtable.active.push(rows, now, config);
        if memtable.active.bytes >= config.freeze_bytes || memtable.active.windows.len() >= config.freeze_windows {
            memtable.full.push_back(std::mem::take(&mut memtable.active));
        }
        memtable.bytes()
    }

    pub(crate) fn snapshot(&self, table: TableId) -> Vec<MemSnapshot> {
        let Some(table) = self.table(table) else { return Vec::new() };
        let epochs = table.lock();
        let rows = |memtable: &Memtable| {
            let frozen = memtable.frozen.iter().flat_map(|ice| ice.slabs.iter().cloned());
            let rows: Vec<_> = frozen.chain(memtable.parts().flat_map(Active::slabs)).map(|slab| (slab.position, slab.batch)).collect();
            MemSnapshot { epoch: memtable.epoch, workspace: memtable.workspace, rows }
        };
        epochs.iter().map(rows).filter(|snapshot| !snapshot.rows.is_empty()).collect()
    }

    pub(crate) fn freeze(&self, table: TableId, epoch: Epoch) -> Option<Frozen> {
        let epochs = self.table(table)?;
        let mut epochs = epochs.lock();
        let memtable = epochs.iter_mut().find(|memtable| memtable.epoch == epoch)?;
        if memtable.frozen.is_none() {
            let part = memtable.full.pop_front().unwrap_or_else(|| std::mem::take(&mut memtable.active));
            let (through, _) = part.span?;
            memtable.frozen = Some(Ice { through, slabs: part.slabs(), marks: part.marks, bytes: part.bytes });
        }
        let workspace = memtable.workspace;
        let Ice { through, slabs, marks, bytes } = memtable.frozen.as_ref()?;
        let rows = slabs.iter().map(|slab| (slab.position, slab.arrival, slab.batch.clone())).collect();
        Some(Frozen { table, workspace, epoch, through: *through, rows, marks: marks.clone(), bytes: *bytes })
    }

    /// Drops frozen rows up to `through`.
    pub(crate) fn settle(&self, table: TableId, epoch: Epoch, through: Position) {
        let Some(epochs) = self.table(table) else { return };
        let mut epochs = epochs.lock();
        if let Some(at) = epochs.iter().position(|memtable| memtable.epoch == epoch) {
            if let Some(ice) = epochs[at].frozen.take_if(|ice| ice.through <= through) {
                self.release(ice.bytes);
            }
            if epochs[at].frozen.is_none() && epochs[at].parts().next().is_none() {
                epochs.remove(at);
            }
        }
    }

    /// Drops an epoch's rows; which tables had some, and between which event times.
    pub(crate) fn forget(&self, epoch: Epoch) -> Vec<(TableId, TimeRange)> {
        let mut dropped = Vec::new();
        for (table, epochs) in &*self.tables.read() {
            let mut epochs = epochs.lock();
            dropped.extend(epochs.iter().filter(|memtable| memtable.epoch == epoch).map(|memtable| (*table, memtable.times())));
            let held = |memtable: &Memtable| memtable.bytes() + memtable.frozen.as_ref().map_or(0, |ice| ice.bytes);
            self.release(epochs.iter().filter(|memtable| memtable.epoch == epoch).map(held).sum());
            epochs.retain(|memtable| memtable.epoch != epoch);
        }
        dropped
    }

    pub(crate) fn loads(&self) -> Vec<Load> {
        let tables: Vec<_> = self.tables.read().iter().map(|(id, table)| (*id, Arc::clone(table))).collect();
        let mut loads = Vec::new();
        for (table, epochs) in tables {
            loads.extend(epochs.lock().iter().map(|memtable| Load {
                table,
                epoch: memtable.epoch,
                bytes: memtable.bytes(),
                oldest: memtable.parts().find_map(|part| part.span).map(|(_, first)| first),
                frozen: memtable.frozen.is_some(),
                freezes: usize::from(memtable.frozen.is_some()) + memtable.parts().count(),
            }));
        }
        loads
    }
}
