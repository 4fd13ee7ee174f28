//! The lock with everything behind it real but disk, clock and vault, so that a month takes no time.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use strongroom_buffer::{BufferConfig, SealedConfig, SealedLog};
use strongroom_catalog::{Billing, ClusterRow, ClusterState, IdentityType, LinkRow, WorkspaceRow};
use strongroom_control::audit::{Event, Scribe};
use strongroom_control::watch::{Desk, Vaults};
use strongroom_control::{ControlConfig, ControlError, KeyDesk, Retention, Rules};
use strongroom_envelope::Mmk;
use strongroom_ingest::{Encoding, Format, IngestConfig, IngestDeps, IngestRequest, OnError};
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::provider::memory::{MemoryVault, Mood};
use strongroom_keys::provider::{KekRef, KeyFacts, KeyVault};
use strongroom_keys::state::StateConfig;
use strongroom_model::{ObjectId, PrincipalId};
use strongroom_query::output::{JsonOptions, json};
use strongroom_query::{Language, QueryConfig, QueryDeps, QueryRequest};
use strongroom_store::{CacheConfig, HotCache, LocalObjects};
use strongroom_world::sim::SimWorld;

use super::*;
use crate::linked_stores::LinkedStores;
use crate::shelf::Shelf;

const DAY: Duration = Duration::from_hours(24);
const KEK: &str = "https://vault.example/";

/// The audit chain has stories of its own.
#[derive(Debug)]
struct Unheard;

impl Scribe for Unheard {
    fn note(&self, _: Event) {}
}

#[derive(Debug)]
struct OneVault(MemoryVault);

#[async_trait]
impl Vaults for OneVault {
    async fn validate(&self, _: &KekRef, _: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        Ok(self.0.facts().await.map_err(KeyError::from)?)
    }
    async fn client(&self, _: &KekRef, _: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        Ok(Arc::new(self.0.clone()))
    }
}

/// A node with a workspace linked to a cluster under a customer's key; rows are kept for 60 days.
struct House {
    sim: SimWorld,
    catalog: Catalog,
    vault: MemoryVault,
    blocks: Arc<BlockStore>,
    intake: Arc<Intake>,
    engine: Arc<Engine>,
    watch: Arc<Watch>,
    retention: Retention,
    cluster: ClusterRow,
    workspace: WorkspaceId,
}

impl House {
    async fn new() -> Self {
        let sim = SimWorld::new(6);
        let world = sim.world();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let mmk = Arc::new(Mmk::generate(world.rng.as_ref()));
        let objects = LocalObjects::open(world.clone(), "/data/blocks").unwrap();
        let keys = KeyRing::open(world.clone(), catalog.clone(), objects.clone(), Arc::clone(&mmk)).await.unwrap();
        let cache = CacheConfig { free_min_bytes: Some(1), ..CacheConfig::default() };
        let cache = HotCache::open(world.clone(), "/data/cache".into(), Arc::clone(&mmk), catalog.node(), cache).await.unwrap();
        let blocks = BlockStore::new(world.clone(), objects, cache);
        let buffer = BufferConfig { reserve_bytes: 1 << 20, reserve_percent: 0, ..BufferConfig::default() };
        let (none, nowhere) = (HashMap::new(), HashMap::new());
        let (buffer, _) = Buffer::recover(world.clone(), Path::new("/data/wal"), buffer, &none, &nowhere).unwrap();
        let deps = IngestDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            buffer: Arc::clone(&buffer),
            blocks: Arc::clone(&blocks),
            sealed: SealedLog::open(world.clone(), Path::new("/data/sealed"), mmk, SealedConfig::default()).unwrap(),
            writer: catalog.acquire_writer().await.unwrap(),
        };
        let intake = Intake::open(deps, IngestConfig::default(), Vec::new()).await.unwrap();
        let stores = LinkedStores { world: world.clone(), own: "/data/storage".into(), roots: Vec::new() };
        let contents = Contents::new(world.clone(), catalog.clone(), Arc::clone(&keys), Arc::new(stores), Rules::default());
        let deps = QueryDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            buffer: Arc::clone(&buffer),
            blocks: Arc::clone(&blocks),
            texts: Arc::new(Shelf(Arc::clone(&contents))),
            spill_dir: "/data/spill".into(),
        };
        let engine = Engine::open(deps, QueryConfig::default()).await.unwrap();
        let retention = Retention::new(world.clone(), catalog.clone(), Arc::clone(&blocks), ControlConfig::default());
        let retention = retention.with_log(Arc::clone(&buffer), 2 * DAY);
        let kek = KekRef::new(KEK, "kek", None).unwrap();
        let vault = MemoryVault::new(world.clone(), kek.clone());
        let reload = Reload::new(&catalog, &blocks, &engine);
        let deps = WatchDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            vaults: Arc::new(OneVault(vault.clone())),
            cut: Arc::new(Queries(Arc::clone(&engine))),
            forget: vec![
                Arc::new(Caches(Arc::clone(&engine), Arc::clone(&intake))),
                Arc::clone(&contents) as _,
                Arc::new(Memtables(Arc::clone(&buffer))),
                Arc::new(Cached(Arc::clone(&blocks))),
            ],
            rewrite: Arc::new(Rewrites { intake: Arc::clone(&intake), buffer: Arc::clone(&buffer), contents }),
            recall: Arc::new(Log { buffer, catalog: catalog.clone(), intake: Arc::clone(&intake), reload }),
            still: Arc::new(Writes(Arc::clone(&intake))),
            audit: Arc::new(Unheard),
            standby_wrap: true,
            tenant: None,
        };
        let watch = Watch::new(deps, StateConfig::default());
        let (cluster, workspace) = linked(&catalog, &Desk(Arc::clone(&watch)), kek).await;
        Self { sim, catalog, vault, blocks, intake, engine, watch, retention, cluster, workspace }
    }

    /// Lets time pass in so many steps, everybody getting their turn after each.
    async fn pass(&self, time: Duration, steps: u32) {
        for _ in 0..steps {
            self.sim.clock().advance(time / steps);
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
        }
    }

    /// So many days in one step each, the vault asked after every one.
    async fn days(&self, days: u32) {
        for _ in 0..days {
            let asked = self.vault.calls().len();
            self.sim.clock().advance(DAY);
            for _ in 0..5_000 {
                if self.vault.calls().len() > asked {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            assert!(self.vault.calls().len() > asked, "it goes on asking");
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }

    async fn state(&self) -> String {
        Desk(Arc::clone(&self.watch)).status(&self.cluster).await.unwrap().state
    }

    async fn until(&self, state: &str) {
        for _ in 0..200 {
            if self.state().await == state {
                return;
            }
            self.pass(Duration::from_secs(1), 1).await;
        }
        panic!("still {}", self.state().await);
    }

    async fn take(&self, from: u32, count: u32) {
        let body: Vec<String> = (from..from + count).map(|n| format!("{{\"n\":{n}}}")).collect();
        let request = IngestRequest {
            workspace: self.workspace,
            principal: PrincipalId::NIL,
            table: "App".parse().unwrap(),
            body: body.join("\n").into(),
            encoding: Encoding::Identity,
            format: Format::Json,
            time_field: None,
            batch_id: None,
            on_error: OnError::Refuse,
            through: None,
        };
        self.intake.ingest(request).await.unwrap();
    }

    /// Count and sum of what is there, or the code of the refusal.
    async fn count(&self) -> Result<Value, &'static str> {
        let request = QueryRequest::new(self.workspace, PrincipalId::NIL, "App | summarize count(), sum(n)", Language::Kql);
        let answer = self.engine.run(request).await.map_err(|error| error.code())?;
        let bytes = json(answer, JsonOptions::default()).await.map_err(|error| error.code())?;
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        Ok(body["tables"][0]["rows"][0].clone())
    }

    fn segments(&self) -> usize {
        self.sim.fs().files().into_iter().filter(|(path, _)| path.extension().is_some_and(|end| end == "wal")).count()
    }
}

async fn linked(catalog: &Catalog, desk: &Desk, kek: KekRef) -> (ClusterRow, WorkspaceId) {
    let id = ObjectId::from_bytes([5; 16]);
    let mut cluster = ClusterRow {
        id,
        name: "shop".to_owned(),
        subscription: "subscription".to_owned(),
        resource_group: "default".to_owned(),
        region: "local".to_owned(),
        account: None,
        state: ClusterState::Succeeded,
        identity_type: IdentityType::SystemAssigned,
        identity: Some(desk.new_identity(id).await.unwrap()),
        sku_name: "CapacityReservation".to_owned(),
        sku_capacity: 100,
        billing: Billing::Cluster,
        double: true,
        tags: "{}".to_owned(),
        key: None,
        created_ms: 0,
        modified_ms: 0,
        deleted_ms: None,
        sku_ms: 0,
        user_identity: None,
    };
    let account = desk.open_account(id, "local", true).await.unwrap();
    cluster.account = Some(account);
    catalog.cluster_insert(&cluster).await.unwrap();
    desk.set_key(&cluster, kek).await.unwrap();
    let workspace = WorkspaceRow {
        id: WorkspaceId::from_bytes([4; 16]),
        name: "shop".parse().unwrap(),
        account,
        subscription: "subscription".to_owned(),
        resource_group: "default".to_owned(),
        region: "local".to_owned(),
        created_ms: 0,
        retention_days: 60,
        link: Some(LinkRow { cluster: id, linked_ms: 0 }),
    };
    catalog.workspace_insert(&workspace).await.unwrap();
    (cluster, workspace.id)
}

#[tokio::test]
async fn after_thirty_days_without_the_key_every_row_is_back_and_retention_needs_no_key() {
    let house = House::new().await;
    house.take(0, 10).await;
    house.intake.flush(house.workspace, None).await.unwrap();
    house.take(10, 5).await;
    let everything = serde_json::json!([15, 105]);
    assert_eq!(house.count().await, Ok(everything.clone()));

    house.vault.set(Mood::Denies("KeyDisabled"));
    house.until("Revoked").await;
    assert_eq!(house.count().await, Err("CustomerKeyRevoked"));
    house.pass(Duration::from_mins(10), 200).await;
    let calls = house.vault.calls();
    let apart = calls.windows(2).map(|pair| pair[1].0.since(pair[0].0)).filter(|apart| *apart > Duration::from_secs(3));
    assert!(apart.max().unwrap() <= Duration::from_mins(1));
    // The rest of the month, asked once a day: each poll of it is simulated in `strongroom-keys`.
    house.days(30).await;
    assert_eq!((house.state().await.as_str(), house.count().await), ("Revoked", Err("CustomerKeyRevoked")));
    assert_eq!(house.retention.expire().await.unwrap(), strongroom_control::Expired { tables: 1, ..Default::default() });
    house.vault.set(Mood::Well);
    house.until("Active").await;
    assert_eq!(house.count().await, Ok(everything), "blocks and log");

    // Ten days on, some more rows; then the key goes for good.
    house.days(10).await;
    house.take(100, 3).await;
    house.vault.set(Mood::Denies("KeyNotFound"));
    house.until("Revoked").await;
    let before = house.segments();
    assert!(before >= 2, "{before}");
    house.days(23).await;
    let expired = house.retention.expire().await.unwrap();
    assert_eq!((expired.blocks, expired.rows), (1, 10), "block and log of day 0: no key is needed");
    assert!(expired.segments >= 1 && house.segments() < before, "{expired:?}");
    house.days(1).await;
    house.retention.expire().await.unwrap();
    assert_eq!(house.retention.sweep().pass().await.unwrap().deleted, 1);
    assert!(house.blocks.list().await.unwrap().is_empty() && house.catalog.live_objects().await.unwrap().is_empty());
    assert_eq!((house.segments(), house.count().await), (1, Err("CustomerKeyRevoked")));
    house.vault.set(Mood::Well);
    house.until("Active").await;
    assert_eq!(house.count().await, Ok(serde_json::json!([3, 303])), "whose days are not over");

    house.vault.set(Mood::Denies("KeyNotFound"));
    house.until("Revoked").await;
    house.days(70).await;
    house.retention.expire().await.unwrap();
    assert_eq!(house.segments(), 0);
}
