//! Shared by the tests: a site with two keys, records that name their rows, and what a table holds.

mod disk;
mod expire;
mod golden;
mod memory;
mod power;
mod replay;
mod sealed;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use arrow_schema::{Schema, SchemaRef};
use strongroom_envelope::{Aek, KeyGuard};
use strongroom_model::{AccountId, AekId, ColumnType, Epoch, KeyClass, Position, TableId, WorkspaceId};
use strongroom_world::sim::SimWorld;
use strongroom_world::{BootTime, Rng};
use tokio::sync::oneshot;

use crate::buffer::Driver;
use crate::{BatchMark, Buffer, BufferConfig, BufferError, Record, Recovery};

pub(crate) const DIR: &str = "/data/wal";

/// Bytes that are the same in every run.
#[derive(Debug)]
pub(crate) struct FixedRng(pub(crate) u8);

impl Rng for FixedRng {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

pub(crate) fn epoch(n: u8) -> Epoch {
    Epoch { account: AccountId::from_bytes([1; 16]), aek: AekId::from_bytes([n; 16]) }
}

pub(crate) fn guard(n: u8) -> KeyGuard {
    KeyGuard::new(epoch(n), KeyClass::Mmk, Aek::generate(epoch(n).aek, &FixedRng(n)), None, BootTime::NEVER)
}

pub(crate) fn table(n: u8) -> TableId {
    TableId::from_bytes([n; 16])
}

pub(crate) fn workspace() -> WorkspaceId {
    WorkspaceId::from_bytes([9; 16])
}

/// Segments so small that every few records start a new one.
pub(crate) fn small() -> BufferConfig {
    BufferConfig {
        segment_bytes: 4_096,
        segment_first_bytes: 1_024,
        reserve_bytes: 1 << 20,
        merge_rows: 64,
        merge_fan_in: 4,
        ..BufferConfig::default()
    }
}

pub(crate) fn batch(ids: &[i64]) -> RecordBatch {
    let schema: SchemaRef = Arc::new(Schema::new(vec![ColumnType::Long.storage_field("id"), ColumnType::String.storage_field("text")]));
    let text = StringArray::from_iter_values(ids.iter().map(|id| format!("row {id} canary")));
    let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(text)];
    RecordBatch::try_new(schema, columns).unwrap()
}

pub(crate) fn record(to: u8, ids: &[i64]) -> Record {
    let workspace = workspace();
    Record { workspace, table: table(to), batch: batch(ids), arrival: 1_000, retention_days: 30, mark: None }
}

pub(crate) fn marked(to: u8, ids: &[i64], mark: u8) -> Record {
    let mark = BatchMark { id_sha256: [mark; 32], key_sha256: [mark ^ 1; 32], reply: vec![mark; usize::from(mark % 40)] };
    Record { mark: Some(mark), ..record(to, ids) }
}

pub(crate) fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// A machine, the keys of two epochs, and what the catalog would know.
pub(crate) struct Site {
    pub(crate) sim: SimWorld,
    pub(crate) guards: HashMap<Epoch, KeyGuard>,
    pub(crate) flushed: HashMap<(TableId, Epoch), Position>,
    pub(crate) config: BufferConfig,
}

impl Site {
    pub(crate) fn new(seed: u64) -> Self {
        let sim = SimWorld::new(seed);
        sim.world().fs.create_dir_all(Path::new("/data")).unwrap();
        sim.world().fs.sync_dir(Path::new("/")).unwrap();
        Self { sim, guards: HashMap::from([(epoch(1), guard(1)), (epoch(2), guard(2))]), flushed: HashMap::new(), config: small() }
    }

    pub(crate) fn start(&self) -> Result<(Arc<Buffer>, Recovery), BufferError> {
        let world = self.sim.world();
        Buffer::recover_driven(world, Path::new(DIR), self.config.clone(), &self.guards, &self.flushed, Driver::ByHand)
    }

    pub(crate) fn up(&self) -> Arc<Buffer> {
        self.start().unwrap().0
    }

    /// The segment files, oldest first, with their bytes.
    pub(crate) fn segments(&self) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        self.sim.fs().files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "wal")).collect()
    }
}

type Answer = oneshot::Receiver<Result<Position, BufferError>>;

/// What became of an append after a turn.
pub(crate) fn answer(mut waiting: Answer) -> Result<Position, BufferError> {
    waiting.try_recv().expect("the group was written or refused")
}

/// Appends one record as a group of its own.
pub(crate) fn append(buffer: &Buffer, to: Record) -> Result<Position, BufferError> {
    append_in(buffer, 1, to)
}

pub(crate) fn append_in(buffer: &Buffer, in_epoch: u8, to: Record) -> Result<Position, BufferError> {
    let waiting = buffer.enqueue(&guard(in_epoch), to)?;
    buffer.turn();
    answer(waiting)
}

/// The ids of a table's rows in memory, sorted, with every double.
pub(crate) fn held(buffer: &Buffer, of: u8) -> Vec<i64> {
    let mut held: Vec<i64> =
        buffer.snapshot(table(of)).iter().flat_map(|snapshot| snapshot.rows.iter().flat_map(|(_, batch)| ids(batch))).collect();
    held.sort_unstable();
    held
}

/// How often each id is in memory, all tables together.
pub(crate) fn census(buffer: &Buffer, tables: u8) -> BTreeMap<i64, usize> {
    let mut census = BTreeMap::new();
    for id in (0..tables).flat_map(|of| held(buffer, of)) {
        *census.entry(id).or_default() += 1;
    }
    census
}
