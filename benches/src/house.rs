//! The rooms of a server without its doors, in this process: what is measured here is not HTTP.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::TryStreamExt;
use strongroom_buffer::{Buffer, BufferConfig, SealedConfig, SealedLog};
use strongroom_catalog::{BlockRow, Catalog, TableRow, WorkspaceRow, WriterEpoch};
use strongroom_envelope::{Header, KeyGuard, Mmk, ObjectKind, open};
use strongroom_ingest::{IngestConfig, IngestDeps, Intake};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{ObjectId, PrincipalId, TimeRange, WorkspaceId};
use strongroom_query::output::{self, JsonOptions};
use strongroom_query::{Engine, Language, QueryConfig, QueryDeps, QueryRequest};
use strongroom_store::{BlockStore, CacheConfig, HotCache, LocalObjects, ObjectKey, Reader, StoredBlock};
use strongroom_world::World;
use tokio::runtime::Runtime;

/// The table that all benches write to and read from.
pub const TABLE: &str = "logs";

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Rows {
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Sealed bytes read for it.
    pub bytes_read: u64,
}

impl Rows {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Catalog, keys, store, log, intake and engine over one directory.
pub struct House {
    /// The real one.
    pub world: World,
    /// Which blocks exist.
    pub catalog: Catalog,
    /// Guards, of the provider's key.
    pub keys: Arc<KeyRing>,
    /// Log and memtables.
    pub buffer: Arc<Buffer>,
    /// Sealed blocks.
    pub blocks: Arc<BlockStore>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) deps: QueryDeps,
    pub(crate) writer: WriterEpoch,
    workspace: WorkspaceId,
    mmk: Arc<Mmk>,
    dir: PathBuf,
    runtime: Arc<Runtime>,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("House").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl House {
    /// A house on an empty directory, with the settings a server has by default but for the disk it leaves free.
    ///
    /// # Panics
    /// If anything fails: a bench has nobody to tell.
    #[must_use]
    pub fn build(dir: &Path) -> Self {
        let buffer = BufferConfig { reserve_bytes: 1 << 20, reserve_percent: 0, ..BufferConfig::default() };
        Self::build_with(dir, buffer, CacheConfig::default())
    }

    /// Likewise, with bounds of one's own for log and hot cache.
    ///
    /// # Panics
    /// If anything fails.
    #[must_use]
    pub fn build_with(dir: &Path, buffer: BufferConfig, cache: CacheConfig) -> Self {
        Self::enter(dir, buffer, cache, false)
    }

    /// Likewise, its workspace in an account whose objects have two layers.
    ///
    /// # Panics
    /// If anything fails.
    #[must_use]
    pub fn build_double(dir: &Path, buffer: BufferConfig, cache: CacheConfig) -> Self {
        Self::enter(dir, buffer, cache, true)
    }

    fn enter(dir: &Path, buffer: BufferConfig, cache: CacheConfig, double: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
        let runtime = Arc::new(runtime);
        let entered = Arc::clone(&runtime);
        entered.block_on(Self::assemble(dir, buffer, cache, double, runtime))
    }

    async fn assemble(dir: &Path, buffer: BufferConfig, cache: CacheConfig, double: bool, runtime: Arc<Runtime>) -> Self {
        let world = World::real();
        let mmk = Arc::new(Mmk::generate(world.rng.as_ref()));
        fs::create_dir_all(dir).expect("a directory");
        let catalog = Catalog::open(&dir.join("catalog.sqlite"), world.clone()).await.expect("a catalog");
        let objects = LocalObjects::open(world.clone(), dir.join("objects")).expect("an object store");
        let keys = KeyRing::open(world.clone(), catalog.clone(), objects.clone(), Arc::clone(&mmk)).await.expect("keys");
        let cache = HotCache::open(world.clone(), dir.join("cache"), Arc::clone(&mmk), catalog.node(), cache).await.expect("a cache");
        let blocks = BlockStore::new(world.clone(), objects, cache);
        let writer = catalog.acquire_writer().await.expect("the only writer");
        let workspace = insert_workspace(&world, &catalog, &keys, "bench", double).await;
        let epochs = keys.epochs().await.expect("epochs");
        let mut guards = HashMap::new();
        for epoch in epochs {
            guards.insert(epoch, keys.epoch_guard(epoch).await.expect("a guard"));
        }
        let (buffer, _) = Buffer::recover(world.clone(), &dir.join("wal"), buffer, &guards, &HashMap::new()).expect("a log");
        let deps = IngestDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            buffer: Arc::clone(&buffer),
            sealed: SealedLog::open(world.clone(), &dir.join("sealed"), Arc::clone(&mmk), SealedConfig::default())
                .expect("a sealed buffer"),
            blocks: Arc::clone(&blocks),
            writer,
        };
        let intake = Intake::open(deps, IngestConfig::default(), Vec::new()).await.expect("an intake");
        let deps = QueryDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            buffer: Arc::clone(&buffer),
            blocks: Arc::clone(&blocks),
            texts: Arc::new(strongroom_query::texts::NoTexts),
            spill_dir: dir.join("spill"),
        };
        let engine = Engine::open(deps.clone(), QueryConfig::default()).await.expect("an engine");
        Self { world, catalog, keys, buffer, blocks, intake, engine, deps, writer, workspace, mmk, dir: dir.to_owned(), runtime }
    }

    /// The runtime that everything here runs on.
    #[must_use]
    pub fn runtime(&self) -> Arc<Runtime> {
        Arc::clone(&self.runtime)
    }

    /// The directory it lives in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The provider's root key of this house.
    #[must_use]
    pub fn mmk(&self) -> &Arc<Mmk> {
        &self.mmk
    }

    /// The one workspace.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Sends a body; flushes by itself when memory is nearly full, as the server's upkeep would.
    ///
    /// # Panics
    /// If it is refused.
    pub fn ingest(&self, body: Bytes) {
        let pressure = self.buffer.pressure();
        if pressure.tables.iter().any(|table| table.bytes >= 32 << 20) {
            self.flush();
        }
        self.send(self.workspace, TABLE, body);
    }

    /// Makes blocks of what is in memory.
    ///
    /// # Panics
    /// If that fails.
    pub fn flush(&self) {
        self.runtime.block_on(self.intake.flush(self.workspace, None)).expect("a flush");
    }

    /// Makes fewer blocks of many.
    ///
    /// # Panics
    /// If that fails.
    pub fn compact(&self) {
        self.runtime.block_on(self.intake.compact(self.workspace, None)).expect("a compaction");
    }

    /// Shapes a batch by the text of a rule; how many bytes come of it.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn shape(&self, batch: RecordBatch, text: Option<&str>) -> usize {
        let shaped = self.runtime.block_on(self.engine.shape(self.workspace, batch, text, 0, u64::MAX));
        shaped.expect("rows of that shape").lines.len()
    }

    /// Asks in SQL and reads the answer to its end.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn sql(&self, text: &str) -> Rows {
        self.ask(text, Language::Sql)
    }

    /// Asks in either language and reads the answer to its end.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn ask(&self, text: &str, language: Language) -> Rows {
        self.runtime.block_on(async {
            let answer = self.engine.run(self.question(text, language)).await.expect("a plan");
            let batches: Vec<RecordBatch> = answer.batches.try_collect().await.expect("an answer");
            assert!(answer.stats.partial().is_none(), "an answer cut short is no measure");
            Rows { batches, bytes_read: answer.stats.bytes_read() }
        })
    }

    /// Asks in SQL and gives the reply that a client would get.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn json(&self, text: &str) -> Bytes {
        self.runtime.block_on(async {
            let answer = self.engine.run(self.question(text, Language::Sql)).await.expect("a plan");
            output::json(answer, JsonOptions::default()).await.expect("an answer")
        })
    }

    fn question(&self, text: &str, language: Language) -> QueryRequest {
        QueryRequest::new(self.workspace, PrincipalId::NIL, text, language)
    }

    /// Asks in KQL what is refused; the error's code.
    ///
    /// # Panics
    /// If it is not refused.
    #[must_use]
    pub fn refused(&self, text: &str) -> String {
        let refused = self.runtime.block_on(self.engine.run(self.question(text, Language::Kql)));
        refused.err().unwrap_or_else(|| panic!("nobody refused {}", &text[..text.len().min(60)])).code().to_owned()
    }

    /// The table's row in the catalog.
    ///
    /// # Panics
    /// If nothing was sent yet.
    #[must_use]
    pub fn table(&self) -> TableRow {
        let name = TABLE.parse().expect("a table name");
        let found = self.runtime.block_on(self.catalog.table_get(self.workspace, &name)).expect("the catalog");
        found.expect("rows were sent")
    }

    /// The live blocks.
    ///
    /// # Panics
    /// If the catalog fails.
    #[must_use]
    pub fn live_blocks(&self) -> Vec<BlockRow> {
        let table = self.table().id;
        self.runtime.block_on(self.catalog.snapshot(table, TimeRange::ALL)).expect("the catalog").blocks
    }

    /// The guard of a block's epoch.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn guard(&self, block: &BlockRow) -> KeyGuard {
        let guard = self.keys.guard(block.epoch, self.workspace, PrincipalId::NIL, Purpose::Maintain);
        self.runtime.block_on(guard).expect("a guard")
    }

    /// A block as it is stored.
    ///
    /// # Panics
    /// If it cannot be read.
    #[must_use]
    pub fn sealed(&self, block: &BlockRow) -> Bytes {
        let (stored, guard) = (Self::stored(block), self.guard(block));
        let whole = std::iter::once(0..block.sealed_len).collect::<Vec<_>>();
        let mut parts = self.runtime.block_on(self.blocks.read(&stored, &guard, &whole, Reader::Maintain)).expect("a block");
        parts.pop().expect("one range, one part")
    }

    /// Where a block lies.
    #[must_use]
    pub fn stored(block: &BlockRow) -> StoredBlock {
        let key = ObjectKey {
            account: block.epoch.account,
            workspace: block.workspace,
            table: block.table,
            window_start: block.window.start,
            object: block.object,
        };
        StoredBlock { key, epoch: block.epoch, len: block.sealed_len, arrived_ms: block.arrived_ms }
    }

    /// What a block's header must say.
    #[must_use]
    pub fn header(block: &BlockRow, double: bool) -> Header {
        Header {
            kind: ObjectKind::Block,
            double,
            aek: block.epoch.aek,
            account: block.epoch.account,
            workspace: block.workspace,
            table: block.table,
            window_start: block.window.start,
            object: block.object,
        }
    }

    /// The Parquet files of all live blocks, newest first.
    ///
    /// # Panics
    /// If a block does not open.
    #[must_use]
    pub fn parquet(&self) -> Vec<Vec<u8>> {
        let mut blocks = self.live_blocks();
        blocks.sort_by_key(|block| std::cmp::Reverse((block.time.end, block.object)));
        let open_one = |block: &BlockRow| {
            let guard = self.guard(block);
            open(&guard, self.world.clock.boot(), &Self::header(block, guard.is_double()), &self.sealed(block)).expect("a block opens")
        };
        blocks.iter().map(open_one).collect()
    }
}

pub(crate) async fn insert_workspace(world: &World, catalog: &Catalog, keys: &KeyRing, name: &str, double: bool) -> WorkspaceId {
    let (ms, random) = world.id_seed();
    let id = WorkspaceId::mint(ms, random);
    let account = if double {
        keys.open_account("local", ObjectId::mint(ms, random), true).await.expect("an account")
    } else {
        keys.shared_account()
    };
    let row = WorkspaceRow {
        id,
        name: name.parse().expect("a workspace name"),
        account,
        subscription: "bench".to_owned(),
        resource_group: "default".to_owned(),
        region: "local".to_owned(),
        created_ms: 0,
        retention_days: 30,
        link: None,
    };
    catalog.workspace_insert(&row).await.expect("a new workspace");
    id
}
