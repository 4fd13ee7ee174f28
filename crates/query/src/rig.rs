//! A whole read path in a test: simulated machine, real keys, log, catalog, store and write path.

mod shelf;
pub(crate) mod watched;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;
use strongroom_buffer::{Buffer, BufferConfig, SealedConfig, SealedLog};
use strongroom_catalog::{BlockRow, Catalog, WorkspaceRow};
use strongroom_control::contents::Contents;
use strongroom_envelope::Mmk;
use strongroom_ingest::{Encoding, Format, IngestConfig, IngestDeps, IngestRequest, Intake, OnError};
use strongroom_keys::KeyRing;
use strongroom_model::{PrincipalId, TimeRange, WorkspaceId};
use strongroom_store::{BlockStore, CacheConfig, HotCache};
use strongroom_world::WallTime;
use strongroom_world::sim::SimWorld;

use crate::output::{JsonOptions, json};
use crate::{Answer, Engine, Language, QueryConfig, QueryDeps, QueryError, QueryRequest};

/// 2026-03-01T12:00:00Z: when every test begins.
pub(crate) const NOW: i64 = 1_772_366_400_000_000_000;

pub(crate) struct Rig {
    pub(crate) sim: SimWorld,
    pub(crate) objects: Arc<InMemory>,
    pub(crate) watched: Arc<watched::Watched>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) contents: Arc<Contents>,
    pub(crate) deps: QueryDeps,
    pub(crate) engine: Arc<Engine>,
    pub(crate) workspace: WorkspaceId,
}

/// A finished answer, for looking into.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) whole: Value,
}

impl Told {
    pub(crate) fn rows(&self) -> Vec<Value> {
        self.whole["tables"][0]["rows"].as_array().unwrap().clone()
    }
    pub(crate) fn columns(&self) -> Vec<(String, String)> {
        let columns = self.whole["tables"][0]["columns"].as_array().unwrap();
        columns.iter().map(|c| (c["name"].as_str().unwrap().to_owned(), c["type"].as_str().unwrap().to_owned())).collect()
    }
    /// One row an item, as a map by column name.
    pub(crate) fn items(&self) -> Vec<HashMap<String, Value>> {
        let names: Vec<String> = self.columns().into_iter().map(|(name, _)| name).collect();
        self.rows().iter().map(|row| names.iter().cloned().zip(row.as_array().unwrap().clone()).collect()).collect()
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(QueryConfig::default(), false).await
    }

    pub(crate) async fn with(config: QueryConfig, hot: bool) -> Self {
        Self::built(config, hot, IngestConfig::default()).await
    }

    /// One whose tables' filters are put side by side from so many blocks on.
    pub(crate) async fn grouping(from_blocks: u64) -> Self {
        let mut ingest = IngestConfig::default();
        ingest.compact.group_filters_from_blocks = from_blocks;
        Self::built(QueryConfig::default(), false, ingest).await
    }

    async fn built(config: QueryConfig, hot: bool, ingest_config: IngestConfig) -> Self {
        let sim = SimWorld::new(7);
        sim.clock().set_wall(WallTime(NOW));
        let world = sim.world();
        world.fs.create_dir_all(Path::new("/data")).unwrap();
        world.fs.sync_dir(Path::new("/")).unwrap();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let objects = Arc::new(InMemory::new());
        let mmk = Arc::new(Mmk::generate(&*world.rng));
        let keys = KeyRing::open(world.clone(), catalog.clone(), objects.clone(), mmk.clone()).await.unwrap();
        let cache = if hot {
            HotCache::open(world.clone(), "/data/cache".into(), mmk.clone(), catalog.node(), CacheConfig::default()).await.unwrap()
        } else {
            HotCache::absent(world.clone(), mmk.clone(), catalog.node())
        };
        let (ms, random) = world.id_seed();
        let workspace = WorkspaceId::mint(ms, random);
        let row = WorkspaceRow {
            id: workspace,
            name: "shop".parse().unwrap(),
            account: keys.shared_account(),
            subscription: "subscription".to_owned(),
            resource_group: "default".to_owned(),
            region: "local".to_owned(),
            created_ms: 0,
            retention_days: 30,
            link: None,
        };
        catalog.workspace_insert(&row).await.unwrap();
        let mut guards = HashMap::new();
        for epoch in keys.epochs().await.unwrap() {
            guards.insert(epoch, keys.epoch_guard(epoch).await.unwrap());
        }
        let buffers = BufferConfig { reserve_bytes: 1 << 20, reserve_percent: 0, ..BufferConfig::default() };
        let (buffer, _) = Buffer::recover(world.clone(), Path::new("/data/wal"), buffers, &guards, &HashMap::new()).unwrap();
        let watched = watched::Watched::over(objects.clone());
        let blocks = BlockStore::new(world.clone(), watched.clone(), cache);
        let ingest = IngestDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: keys.clone(),
            buffer: buffer.clone(),
            sealed: SealedLog::open(world.clone(), Path::new("/data/sealed"), mmk, SealedConfig::default()).unwrap(),
            blocks: blocks.clone(),
            writer: catalog.acquire_writer().await.unwrap(),
        };
        let intake = Intake::open(ingest, ingest_config, Vec::new()).await.unwrap();
        let rules = strongroom_control::Rules::default();
        let contents = Contents::new(world.clone(), catalog.clone(), keys.clone(), Arc::new(shelf::Nowhere), rules);
        let texts = Arc::new(shelf::Shelf(contents.clone()));
        let deps = QueryDeps { world, catalog, keys, buffer, blocks, texts, spill_dir: "/data/spill".into() };
        let engine = Engine::open(deps.clone(), config).await.unwrap();
        Self { sim, objects, watched, intake, contents, deps, engine, workspace }
    }

    /// Sends rows as JSON: an array, or objects line by line.
    pub(crate) async fn send(&self, table: &str, body: impl Into<bytes::Bytes>) {
        let request = IngestRequest {
            workspace: self.workspace,
            principal: PrincipalId::NIL,
            table: table.parse().unwrap(),
            body: body.into(),
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            batch_id: None,
            on_error: OnError::Refuse,
            through: None,
        };
        self.intake.ingest(request).await.unwrap();
    }

    /// `count` rows, one a second back from `minutes_ago`: n counts up, `word` is `even` or `odd`.
    pub(crate) async fn send_many(&self, table: &str, count: i64, minutes_ago: i64, from: i64) {
        let lines: Vec<String> = (0..count)
            .map(|i| {
                let at = crate::output::format_datetime(NOW - minutes_ago * 60_000_000_000 - i * 1_000_000_000);
                let word = if (from + i) % 2 == 0 { "even" } else { "odd" };
                format!(r#"{{"TimeGenerated":"{at}","n":{},"word":"{word}","text":"line number {} of many"}}"#, from + i, from + i)
            })
            .collect();
        self.send(table, lines.join("\n")).await;
    }

    pub(crate) async fn flush(&self) {
        self.intake.flush(self.workspace, None).await.unwrap();
    }

    pub(crate) async fn blocks(&self, table: &str) -> Vec<BlockRow> {
        let row = self.deps.catalog.table_get(self.workspace, &table.parse().unwrap()).await.unwrap().unwrap();
        self.deps.catalog.snapshot(row.id, TimeRange::ALL).await.unwrap().blocks
    }

    pub(crate) fn request(&self, text: &str, language: Language) -> QueryRequest {
        QueryRequest::new(self.workspace, PrincipalId::NIL, text, language)
    }

    pub(crate) async fn run(&self, text: &str) -> Result<Answer, QueryError> {
        self.engine.run(self.request(text, Language::Sql)).await
    }

    pub(crate) async fn told(&self, request: QueryRequest) -> Result<Told, QueryError> {
        let bytes = json(self.engine.run(request).await?, JsonOptions::default()).await?;
        Ok(Told { whole: serde_json::from_slice(&bytes).unwrap() })
    }

    pub(crate) async fn try_sql(&self, text: &str) -> Result<Told, QueryError> {
        self.told(self.request(text, Language::Sql)).await
    }

    pub(crate) async fn sql(&self, text: &str) -> Told {
        match self.try_sql(text).await {
            Ok(told) => told,
            Err(error) => panic!("{text}: {error}"),
        }
    }

    pub(crate) async fn kql(&self, text: &str) -> Told {
        match self.told(self.request(text, Language::Kql)).await {
            Ok(told) => told,
            Err(error) => panic!("{text}: {error}"),
        }
    }

    pub(crate) async fn explain(&self, text: &str) -> Vec<HashMap<String, Value>> {
        self.told(QueryRequest { explain: true, ..self.request(text, Language::Sql) }).await.unwrap().items()
    }

    /// Changes one byte of a stored object.
    pub(crate) async fn flip(&self, block: &BlockRow, offset: usize) {
        let path = crate::blk::stored(block).key.path();
        let mut bytes = self.objects.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[offset] ^= 1;
        self.objects.put(&path, bytes.into()).await.unwrap();
    }

    /// Names of all objects.
    pub(crate) async fn names(&self) -> Vec<String> {
        self.objects.list(None).map(|meta| meta.unwrap().location.to_string()).collect().await
    }

    /// Waits, on the real clock, until something on other threads has come about.
    pub(crate) async fn until(&self, mut done: impl FnMut() -> bool) {
        for _ in 0..2_000 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!("it never came about");
    }
}
