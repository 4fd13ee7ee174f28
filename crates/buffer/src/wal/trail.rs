//! Which segments exist and whose rows are in them: what may be unlinked.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use strongroom_model::{Epoch, ObjectId, Position, TableId};
use strongroom_world::World;

use super::segment::file_name;

/// One segment on disk.
#[derive(Debug)]
pub(crate) struct Trailed {
    pub(crate) id: ObjectId,
    pub(crate) bytes: u64,
    /// Whether records still go to it.
    pub(crate) open: bool,
    /// Whether it is kept as evidence when it is not needed any more.
    pub(crate) damaged: bool,
    /// The highest position of each table in it.
    pub(crate) tables: HashMap<TableId, Position>,
}

/// The segments of all epochs, each epoch's in the order they were written.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    state: Mutex<State>,
    bytes: AtomicU64,
    /// One at a time unlinks: a segment may go only after the older ones of its epoch, whose rows it may declare void.
    unlinking: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<Epoch, VecDeque<Trailed>>,
    flushed: HashMap<(TableId, Epoch), Position>,
}

impl State {
    fn needed(&self, epoch: Epoch, segment: &Trailed) -> bool {
        segment.open || segment.tables.iter().any(|(table, last)| self.flushed.get(&(*table, epoch)).is_none_or(|through| through < last))
    }
}

impl Trail {
    /// Bytes of records in all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, epoch: Epoch, segment: Trailed) {
        self.bytes.fetch_add(segment.bytes, Ordering::Relaxed);
        self.state.lock().segments.entry(epoch).or_default().push_back(segment);
    }

    /// Rows of these tables are durable in the epoch's open segment, which now is `bytes` long.
    pub(crate) fn grew(&self, epoch: Epoch, bytes: u64, rows: impl Iterator<Item = (TableId, Position)>) {
        let mut state = self.state.lock();
        if let Some(segment) = state.segments.get_mut(&epoch).and_then(VecDeque::back_mut) {
            self.bytes.fetch_add(bytes.saturating_sub(segment.bytes), Ordering::Relaxed);
            segment.bytes = bytes;
            for (table, position) in rows {
                segment.tables.insert(table, position);
            }
        }
    }

    /// Nothing more goes to the epoch's open segment.
    pub(crate) fn closed(&self, epoch: Epoch) {
        if let Some(segment) = self.state.lock().segments.get_mut(&epoch).and_then(VecDeque::back_mut) {
            segment.open = false;
        }
    }

    pub(crate) fn flushed(&self, table: TableId, epoch: Epoch) -> Position {
        self.state.lock().flushed.get(&(table, epoch)).copied().unwrap_or_default()
    }

    pub(crate) fn set_flushed(&self, table: TableId, epoch: Epoch, through: Position) {
        let mut state = self.state.lock();
        let known = state.flushed.entry((table, epoch)).or_default();
        *known = (*known).max(through);
    }

    /// The highest flushed position of an epoch.
    pub(crate) fn flushed_in(&self, epoch: Epoch) -> Position {
        self.state.lock().flushed.iter().filter(|((_, of), _)| *of == epoch).map(|(_, through)| *through).max().unwrap_or_default()
    }

    /// Whether rows of this memtable keep a closed segment, the oldest of its epoch, on disk.
    pub(crate) fn pinned_by(&self, table: TableId, epoch: Epoch) -> bool {
        let state = self.state.lock();
        let through = state.flushed.get(&(table, epoch)).copied().unwrap_or_default();
        let oldest = state.segments.get(&epoch).and_then(VecDeque::front);
        oldest.is_some_and(|segment| !segment.open && segment.tables.get(&table).is_some_and(|last| *last > through))
    }

    /// Segments that hold rows of these tables, flushed or not.
    pub(crate) fn holding(&self, tables: &[TableId]) -> Vec<(Epoch, ObjectId)> {
        let state = self.state.lock();
        let held = |segment: &&Trailed| tables.iter().any(|table| segment.tables.contains_key(table));
        state.segments.iter().flat_map(|(epoch, segments)| segments.iter().filter(held).map(|one| (*epoch, one.id))).collect()
    }

    /// Forgets an epoch's segments (the files stay).
    pub(crate) fn forget(&self, epoch: Epoch) {
        let gone = self.state.lock().segments.remove(&epoch).unwrap_or_default();
        self.bytes.fetch_sub(gone.iter().map(|segment| segment.bytes).sum(), Ordering::Relaxed);
    }

    /// Unlinks the epoch's segments that nothing needs, oldest first, each for good before the next one goes.
    pub(crate) fn trim(&self, world: &World, dir: &Path, epoch: Epoch) {
        let _one_at_a_time = self.unlinking.lock();
        loop {
            let id = {
                let state = self.state.lock();
                match state.segments.get(&epoch).and_then(VecDeque::front) {
                    Some(oldest) if !state.needed(epoch, oldest) => (oldest.id, oldest.damaged),
                    _ => return,
                }
            };
            if let Err(error) = unlink(world, dir, id.0, id.1) {
                tracing::warn!(segment = %id.0, kind = ?error.kind(), "a log segment could not be removed, it is tried again later");
                return;
            }
            let mut state = self.state.lock();
            if let Some(segments) = state.segments.get_mut(&epoch)
                && segments.front().is_some_and(|oldest| oldest.id == id.0)
                && let Some(gone) = segments.pop_front()
            {
                self.bytes.fetch_sub(gone.bytes, Ordering::Relaxed);
                tracing::debug!(segment = %gone.id, "log segment removed");
            }
        }
    }
}

/// Takes a segment out of the log; a damaged one stays beside it under another name.
pub(crate) fn unlink(world: &World, dir: &Path, id: ObjectId, keep: bool) -> std::io::Result<()> {
    let path = dir.join(file_name(id));
    let done = if keep { world.fs.rename(&path, &dir.join(format!("{id}.damaged"))) } else { world.fs.remove_file(&path) };
    match done {
        // A try before this one got as far as the name.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    world.fs.sync_dir(dir)
}
