//! The rules of the control plane, told as stories on a simulated machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod ageing;
mod alerts;
mod azure;
mod clusters;
mod desk;
mod identities;
mod identity;
mod links;
mod lockbox;
mod rewriting;
mod shared_keys;
mod storage;
mod tables;
mod vaults;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strongroom_catalog::{AccountRow, Catalog, FlushCommit, LiveBlock, PendingBlock, Scope, WorkspaceRow, WriterEpoch};
use strongroom_envelope::Mmk;
use strongroom_model::{AccountId, AekId, Epoch, ObjectId, Position, TableId, TableName, TimeRange, Window};
use strongroom_store::{BlockStore, CacheConfig, HotCache, LocalObjects, ObjectKey};
use strongroom_world::World;
use strongroom_world::sim::SimWorld;

use crate::{Caller, ControlConfig, ControlError, Principals, Retention, Roles, Workspaces};

const DAY: Duration = Duration::from_hours(24);

struct Site {
    sim: SimWorld,
    world: World,
    catalog: Catalog,
    account: AccountId,
    epoch: Epoch,
    writer: WriterEpoch,
    blocks: Arc<BlockStore>,
    workspaces: Workspaces,
    principals: Principals,
    roles: Arc<Roles>,
    retention: Arc<Retention>,
}

impl Site {
    async fn new() -> Self {
        Self::with(ControlConfig::default()).await
    }

    async fn with(config: ControlConfig) -> Self {
        let sim = SimWorld::new(7);
        let world = sim.world();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let (ms, random) = world.id_seed();
        let account = AccountId::mint(ms, random);
        catalog.account_insert(&AccountRow { id: account, region: "here".to_owned(), cluster: None }).await.unwrap();
        let writer = catalog.acquire_writer().await.unwrap();
        let objects = Arc::new(LocalObjects::open(world.clone(), PathBuf::from("/objects")).unwrap());
        let mmk = Arc::new(Mmk::generate(world.rng.as_ref()));
        let off = CacheConfig { enabled: false, ..CacheConfig::default() };
        let cache = HotCache::open(world.clone(), PathBuf::from("/cache"), mmk, catalog.node(), off).await.unwrap();
        let blocks = BlockStore::new(world.clone(), objects, cache);
        let roles = Arc::new(Roles::built_in());
        Self {
            workspaces: Workspaces::new(world.clone(), catalog.clone(), account, config.clone()),
            principals: Principals::new(world.clone(), catalog.clone(), Arc::clone(&roles), config.clone()),
            retention: Arc::new(Retention::new(world.clone(), catalog.clone(), Arc::clone(&blocks), config)),
            epoch: Epoch { account, aek: AekId::mint(ms, random) },
            sim,
            world,
            catalog,
            account,
            writer,
            blocks,
            roles,
        }
    }

    /// Somebody with that role and scope.
    async fn caller(&self, role: &str, scope: Scope) -> Caller {
        let created = self.principals.create(format!("a {role}"), role, scope, None).await.unwrap();
        self.principals.authenticate(&created.token).await.unwrap()
    }

    async fn table(&self, workspace: &WorkspaceRow, name: &str) -> TableId {
        self.catalog.table_ensure(workspace.id, &name.parse::<TableName>().unwrap()).await.unwrap().id
    }

    fn object(&self) -> ObjectId {
        let (ms, random) = self.world.id_seed();
        ObjectId::mint(ms, random)
    }

    fn key(&self, workspace: &WorkspaceRow, table: TableId, window: Window, object: ObjectId) -> ObjectKey {
        ObjectKey { account: self.epoch.account, workspace: workspace.id, table, window_start: window.start, object }
    }

    /// Announces a block of an event `age` ago and puts an object for it.
    async fn pend(&self, workspace: &WorkspaceRow, table: TableId, age: Duration) -> LiveBlock {
        let at = self.world.clock.wall().0 - i64::try_from(age.as_nanos()).unwrap();
        let window = Window::of(at, at);
        let object = self.object();
        let row = PendingBlock { object, workspace: workspace.id, table, epoch: self.epoch, window, through: Position(1) };
        self.catalog.blocks_pend(self.writer, &[row]).await.unwrap();
        self.put(&self.key(workspace, table, window, object), 100).await;
        LiveBlock {
            object,
            window,
            time: TimeRange { start: at, end: at },
            rows: 5,
            sealed_len: 100,
            plain_len: 50,
            sha256: [1; 32],
            level: 0,
            arrived_ms: 0,
            stats: vec![1],
        }
    }

    async fn put(&self, key: &ObjectKey, len: usize) {
        use object_store::ObjectStoreExt as _;
        self.blocks.objects().put(&key.path(), vec![7; len].into()).await.unwrap();
    }

    /// A live block of an event `age` ago.
    async fn block(&self, workspace: &WorkspaceRow, table: TableId, age: Duration) -> ObjectId {
        let block = self.pend(workspace, table, age).await;
        let reached = self.catalog.snapshot(table, TimeRange::ALL).await.unwrap().flushed.first().map_or(0, |flushed| flushed.1.0);
        let object = block.object;
        let commit = FlushCommit {
            table,
            workspace: workspace.id,
            epoch: self.epoch,
            through: Position(reached + 1),
            blocks: vec![block],
            batches: Vec::new(),
        };
        self.catalog.flush_commit(self.writer, &commit).await.unwrap();
        object
    }

    async fn live(&self, table: TableId) -> Vec<ObjectId> {
        self.catalog.snapshot(table, TimeRange::ALL).await.unwrap().blocks.into_iter().map(|block| block.object).collect()
    }

    async fn stored(&self) -> usize {
        self.blocks.list().await.unwrap().len()
    }
}
