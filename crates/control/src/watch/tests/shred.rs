//! The end of data, with real keys: what was shredded does not open, whatever copies are put back.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use object_store::{ObjectStore, ObjectStoreExt as _};
use strongroom_catalog::{AccountRow, FlushCommit, LiveBlock, PendingBlock, WorkspaceRow};
use strongroom_envelope::{CellPlace, Header, ObjectKind, open, seal, seal_cell};
use strongroom_keys::Purpose;
use strongroom_model::{Position, PrincipalId, TableId, TimeRange, Window};
use strongroom_store::{BlockStore, CacheConfig, HotCache, ObjectKey, StoredBlock};

use super::*;
use crate::audit::{Audit, AuditConfig, AuditFilter};
use crate::{Caller, Clusters, ControlConfig, Dispose, Grant, Place, Roles, RowsGone, ScopePath, ShredDeps, Shredder, Workspaces};

const DAY: Duration = Duration::from_hours(24);

/// A write path that says whether its log is clear, and remembers what it was asked.
#[derive(Clone, Debug, Default)]
struct Paths {
    rooms: Rooms,
    busy: Arc<AtomicBool>,
}

#[async_trait]
impl Dispose for Paths {
    async fn discard(&self, _: WorkspaceId) -> Result<bool, ControlError> {
        Ok(!self.busy.load(Ordering::Relaxed))
    }
    async fn discard_epochs(&self, _: &[Epoch]) -> Result<bool, ControlError> {
        Ok(!self.busy.load(Ordering::Relaxed))
    }
    async fn take_rows(&self, _: WorkspaceId, _: TableId, _: TimeRange) -> Result<RowsGone, ControlError> {
        self.rooms.note("take rows");
        Ok(RowsGone { deleted: 2, rewritten: 1, rows: 30, bytes: 3_000, ..RowsGone::default() })
    }
    fn forget(&self, epochs: &[Epoch]) {
        self.rooms.note(format!("forget {}", epochs.len()));
    }
}

struct Shop {
    house: House,
    blocks: Arc<BlockStore>,
    paths: Paths,
    audit: Arc<Audit>,
    shredder: Arc<Shredder>,
    workspaces: Arc<Workspaces>,
    owner: Caller,
    /// Under the customer's key, linked.
    linked: WorkspaceRow,
    header: Header,
    stored: StoredBlock,
}

fn everywhere(role: &str) -> Vec<Grant> {
    vec![Grant { role: Arc::clone(Roles::built_in().get(role).unwrap()), scope: ScopePath::root() }]
}

impl Shop {
    async fn new(seed: u64) -> Self {
        let house = House::new(seed).await;
        let (world, catalog, keys) = (house.sim.world(), house.catalog.clone(), Arc::clone(&house.keys));
        let mmk = Arc::new(Mmk::from_bytes(house.root));
        let cache = HotCache::open(world.clone(), "/cache".into(), Arc::clone(&mmk), catalog.node(), CacheConfig::default()).await.unwrap();
        let blocks = BlockStore::new(world.clone(), Arc::clone(&house.objects) as _, cache);
        let audit = Audit::open(world.clone(), catalog.clone(), mmk, PathBuf::from("/audit"), AuditConfig::default()).await.unwrap();
        let config = ControlConfig::default();
        let workspaces = Arc::new(Workspaces::new(world.clone(), catalog.clone(), keys.shared_account(), config.clone()));
        let desk = Arc::new(Desk(Arc::clone(&house.watch)));
        let clusters =
            Clusters::new(world.clone(), catalog.clone(), desk.clone(), Arc::clone(&workspaces), config.clone(), crate::Rules::default());
        let paths = Paths::default();
        let deps = ShredDeps {
            world: world.clone(),
            catalog: catalog.clone(),
            keys: Arc::clone(&keys),
            blocks: Arc::clone(&blocks),
            watch: Arc::clone(&house.watch),
            workspaces: Arc::clone(&workspaces),
            clusters,
            dispose: Arc::new(paths.clone()),
            audit: Arc::clone(&audit),
        };
        let shredder = Shredder::new(deps, &config);
        let shop = workspaces.create("shop".parse().unwrap(), None).await.unwrap();
        desk.link(shop.id, &house.cluster).await.unwrap();
        let shop = catalog.workspace(shop.id).await.unwrap().unwrap();

        // One sealed block, live, its object in the store.
        let epoch = keys.write_epoch(shop.account).await.unwrap();
        let guard = keys.guard(epoch, shop.id, PrincipalId::NIL, Purpose::Ingest).await.unwrap();
        let table = catalog.table_ensure(shop.id, &"Orders".parse().unwrap()).await.unwrap().id;
        let at = world.clock.wall().0;
        let window = Window::of(at, at);
        let (ms, random) = world.id_seed();
        let object = ObjectId::mint(ms, random);
        let header = Header {
            kind: ObjectKind::Block,
            double: guard.is_double(),
            aek: epoch.aek,
            account: epoch.account,
            workspace: shop.id,
            table,
            window_start: window.start,
            object,
        };
        let now = world.clock.boot();
        let sealed = seal(&guard, now, world.rng.as_ref(), &header, b"what the customer ordered").unwrap();
        let key = ObjectKey { account: epoch.account, workspace: shop.id, table, window_start: window.start, object };
        let stored = StoredBlock { key, epoch, len: sealed.len() as u64, arrived_ms: world.clock.wall().unix_ms() };
        let writer = catalog.acquire_writer().await.unwrap();
        let pending = PendingBlock { object, workspace: shop.id, table, epoch, window, through: Position(1) };
        catalog.blocks_pend(writer, &[pending]).await.unwrap();
        blocks.put(&stored, sealed.clone().into(), &guard).await.unwrap();
        let place = CellPlace { epoch, workspace: shop.id, table, row: object };
        let stats = seal_cell(&guard, now, world.rng.as_ref(), &place, b"{}").unwrap();
        let live = LiveBlock {
            object,
            window,
            time: TimeRange { start: at, end: at },
            rows: 1,
            sealed_len: stored.len,
            plain_len: 25,
            sha256: [1; 32],
            level: 0,
            arrived_ms: stored.arrived_ms,
            stats,
        };
        let commit = FlushCommit { table, workspace: shop.id, epoch, through: Position(1), blocks: vec![live], batches: Vec::new() };
        catalog.flush_commit(writer, &commit).await.unwrap();
        let owner = Caller::new(PrincipalId::from_bytes([1; 16]), "owner".to_owned(), everywhere("Owner"));
        let shop = Self { house, blocks, paths, audit, shredder, workspaces, owner, linked: shop, header, stored };
        assert_eq!(shop.open_block().await.unwrap(), b"what the customer ordered");
        shop
    }

    /// What whoever holds the server's keys makes of the stored object.
    async fn open_block(&self) -> Result<Vec<u8>, String> {
        let guard = self.house.keys.guard(self.stored.epoch, self.linked.id, PrincipalId::NIL, Purpose::Maintain).await;
        let guard = guard.map_err(|error| error.code().to_owned())?;
        let bytes = self.house.objects.get(&self.stored.key.path()).await.map_err(|_| "no object".to_owned())?.bytes().await.unwrap();
        open(&guard, self.house.sim.world().clock.boot(), &self.header, &bytes).map_err(|error| error.to_string())
    }

    /// Every object as it lies there now.
    async fn copies(&self) -> Vec<(object_store::path::Path, Vec<u8>)> {
        let mut copies = Vec::new();
        let mut places = vec![None];
        while let Some(place) = places.pop() {
            let here = self.house.objects.list_with_delimiter(place.as_ref()).await.unwrap();
            for object in here.objects {
                let bytes = self.house.objects.get(&object.location).await.unwrap().bytes().await.unwrap().to_vec();
                copies.push((object.location, bytes));
            }
            places.extend(here.common_prefixes.into_iter().map(Some));
        }
        copies
    }

    async fn put_back(&self, copies: Vec<(object_store::path::Path, Vec<u8>)>) {
        for (path, bytes) in copies {
            self.house.objects.put(&path, bytes.into()).await.unwrap();
        }
    }

    async fn events(&self, prefix: &str) -> Vec<String> {
        let filter = AuditFilter { event: Some(prefix.to_owned()), limit: 100, ..AuditFilter::default() };
        self.audit.reader().read(filter).await.unwrap().into_iter().map(|record| record.event.event.into_owned()).collect()
    }
}

#[tokio::test]
async fn a_deleted_workspace_can_be_brought_back_for_fourteen_days_and_then_nothing_opens_its_objects() {
    let it = Shop::new(71).await;
    it.shredder.delete(&it.owner, it.linked.clone(), false).await.unwrap();
    assert!(it.house.catalog.workspace(it.linked.id).await.unwrap().is_none());
    assert_eq!(it.shredder.deleted(&it.owner).await.unwrap().len(), 1);
    let taken = it.workspaces.create("shop".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict, "its name stays its own");

    it.house.sim.clock().advance((14 * DAY).saturating_sub(Duration::from_secs(1)));
    assert_eq!(it.shredder.pass().await.unwrap(), 0);
    let back = it.shredder.recover(&it.owner, "Shop").await.unwrap();
    let links = (back.link.map(|link| link.cluster), it.linked.link.map(|link| link.cluster));
    assert_eq!((back.id, links.0, links.0.is_some()), (it.linked.id, links.1, true), "linked as before, with all its rows");
    assert!(it.house.catalog.link_times(back.id, 0).await.unwrap().is_empty(), "which counts for no link");
    assert_eq!(it.house.catalog.holdings_of(back.id).await.unwrap().len(), 1);

    it.shredder.delete(&it.owner, back, false).await.unwrap();
    it.house.sim.clock().advance(14 * DAY);
    it.paths.busy.store(true, Ordering::Relaxed);
    assert_eq!(it.shredder.pass().await.unwrap(), 0, "segments of the log hold rows of it");
    assert_eq!(it.shredder.recover(&it.owner, "shop").await.unwrap_err().kind(), ErrorKind::Conflict, "its time is over");
    it.paths.busy.store(false, Ordering::Relaxed);
    let copies = it.copies().await;
    assert_eq!(it.shredder.pass().await.unwrap(), 1);
    assert!(it.shredder.deleted(&it.owner).await.unwrap().is_empty());
    assert!(it.house.catalog.holdings_of(it.linked.id).await.unwrap().is_empty());
    assert!(!it.blocks.cache().stats().iter().any(|stats| stats.bytes > 0), "the hot cache is erased");

    // With the copies back, the root key and the vault: nothing.
    it.put_back(copies).await;
    assert_eq!(it.open_block().await, Err("WorkspaceKeyNotFound".to_owned()));
    let (keys, _) = super::open(&it.house.sim, &it.house.catalog, &it.house.objects, it.house.root, &it.house.vault, &it.house.rooms).await;
    let refused = keys.guard(it.stored.epoch, it.linked.id, PrincipalId::NIL, Purpose::Maintain).await.unwrap_err();
    assert!(["WorkspaceKeyNotFound", "KeyVaultUnavailable"].contains(&refused.code()), "{refused}");
    assert_eq!(it.shredder.pass().await.unwrap(), 0, "done is done");
    it.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    assert_eq!(
        it.events("workspace.").await,
        ["workspace.deleted", "workspace.recovered", "workspace.deleted", "workspace.recovered", "workspace.shredded"]
    );
    it.house.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_deleted_workspace_is_brought_back_by_who_may_write_it_and_is_none_to_who_does_not_see_it() {
    let it = Shop::new(76).await;
    let place = Place::of_workspace(&it.linked);
    let (ms, random) = it.house.sim.world().id_seed();
    let id = WorkspaceId::mint(ms, random);
    let twin =
        WorkspaceRow { id, resource_group: "other".to_owned(), link: None, account: it.house.keys.shared_account(), ..it.linked.clone() };
    it.house.catalog.workspace_insert(&twin).await.unwrap();
    for row in [&it.linked, &twin] {
        it.shredder.delete(&it.owner, row.clone(), false).await.unwrap();
    }
    let somebody = |role: &str, scope| {
        let grants = vec![Grant { role: Arc::clone(Roles::built_in().get(role).unwrap()), scope }];
        Caller::new(PrincipalId::from_bytes([2; 16]), role.to_owned(), grants)
    };
    let reader = somebody("Reader", ScopePath::workspace(&it.linked));
    let id = it.linked.id.to_string();
    for name in [id.as_str(), "shop"] {
        assert_eq!(it.shredder.recover(&reader, name).await.unwrap_err().kind(), ErrorKind::Forbidden, "{name}");
    }
    assert_eq!(it.shredder.recover_at(&reader, &place).await.unwrap_err().kind(), ErrorKind::Forbidden);
    assert_eq!(it.shredder.deleted(&reader).await.unwrap().len(), 1);
    assert!(it.house.catalog.workspace(it.linked.id).await.unwrap().is_none(), "it stays deleted");
    assert!(it.events("workspace.recovered").await.is_empty(), "and nobody is told that it was brought back");

    // Of somebody else's of the same name there is nothing to be told: it makes no name ambiguous either.
    let stranger = somebody("Contributor", ScopePath::group(&twin.subscription, &twin.resource_group));
    assert_eq!(it.shredder.deleted(&stranger).await.unwrap().iter().map(|row| row.workspace.id).collect::<Vec<_>>(), [twin.id]);
    let (foreign, absent) =
        (it.shredder.recover(&stranger, &id).await.unwrap_err(), it.shredder.recover(&stranger, "nobodys").await.unwrap_err());
    assert_eq!(foreign.to_string().replace(&id, "IT"), absent.to_string().replace("nobodys", "IT"));
    assert!(it.shredder.recover_at(&stranger, &place).await.unwrap().is_none());
    assert!(matches!(it.shredder.recover(&it.owner, "shop").await, Err(ControlError::Ambiguous { .. })));
    assert_eq!(it.shredder.recover(&stranger, "shop").await.unwrap().id, twin.id);
    assert_eq!(it.shredder.recover(&it.owner, "shop").await.unwrap().id, it.linked.id);
}

#[tokio::test]
async fn a_workspace_can_be_shredded_at_once_by_who_may() {
    let it = Shop::new(72).await;
    let contributor = Caller { grants: everywhere("Contributor").into(), ..it.owner.clone() };
    let refused = it.shredder.delete(&contributor, it.linked.clone(), true).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Forbidden);
    it.shredder.delete(&it.owner, it.linked.clone(), true).await.unwrap();
    assert_eq!(it.open_block().await, Err("WorkspaceKeyNotFound".to_owned()));
    assert_eq!(it.shredder.recover(&it.owner, "shop").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_deleted_clusters_keys_are_destroyed_after_fourteen_days_and_no_record_of_them_is_taken_again() {
    let it = Shop::new(73).await;
    let (house, account) = (&it.house, it.house.cluster.account.unwrap());
    // Unlinked, it keeps what it has under the key; the cluster goes.
    Desk(Arc::clone(&house.watch)).unlink(it.linked.id).await.unwrap();
    let deleted_ms = house.sim.world().clock.wall().unix_ms();
    house.catalog.cluster_delete(house.cluster.id, deleted_ms).await.unwrap();
    house.pass(Duration::from_secs(30)).await;
    assert_eq!(it.shredder.pass().await.unwrap(), 0);
    assert!(it.open_block().await.is_ok(), "readable while the name is reserved");

    let copies = it.copies().await;
    assert!(copies.iter().any(|(path, _)| path.as_ref().starts_with("keys/")));
    house.sim.clock().advance(14 * DAY);
    it.paths.busy.store(true, Ordering::Relaxed);
    assert_eq!(it.shredder.pass().await.unwrap(), 0, "rows in the log are in no block yet");
    it.paths.busy.store(false, Ordering::Relaxed);
    assert_eq!(it.shredder.pass().await.unwrap(), 1);
    assert!(house.watch.of(house.cluster.id).is_none(), "nobody asks its vault any more");
    assert!(house.catalog.aeks(account).await.unwrap().is_empty());
    assert!(house.catalog.infrastructure_get(account).await.unwrap().is_none());
    assert!(house.catalog.cluster_get(house.cluster.id).await.unwrap().unwrap().identity.is_none());
    assert!(house.catalog.holdings_of(it.linked.id).await.unwrap().is_empty());
    let gone = format!("keys/{account}");
    assert!(!it.copies().await.iter().any(|(path, _)| path.as_ref().starts_with(&gone)));

    // The copies back beside the data, the vault well, the root key there: the records are nobody's.
    it.put_back(copies).await;
    assert!(it.open_block().await.is_err());
    let (keys, _) = super::open(&house.sim, &house.catalog, &house.objects, house.root, &house.vault, &house.rooms).await;
    let refused = keys.guard(it.stored.epoch, it.linked.id, PrincipalId::NIL, Purpose::Maintain).await.unwrap_err();
    assert_eq!(refused.code(), "IntegrityError", "no record: {refused}");
    assert!(it.audit.generations().values().any(|generation| *generation == u64::MAX), "the chain refuses any record of them");
    assert_eq!(it.events("cluster.shredded").await.len(), 1);
    assert!(!it.events("key.destroyed").await.is_empty());
    assert_eq!(it.shredder.pass().await.unwrap(), 0, "done is done");
    house.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn rows_of_a_table_are_taken_away_by_who_may_and_told() {
    let it = Shop::new(74).await;
    let range = TimeRange { start: 5, end: 9 };
    let name = "Orders".parse().unwrap();
    let contributor = Caller { grants: everywhere("Contributor").into(), ..it.owner.clone() };
    assert_eq!(it.shredder.table(&contributor, &it.linked, &name, range).await.unwrap_err().kind(), ErrorKind::Forbidden);
    let absent = it.shredder.table(&it.owner, &it.linked, &"Nothing".parse().unwrap(), range).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    let gone = it.shredder.table(&it.owner, &it.linked, &name, range).await.unwrap();
    assert_eq!((gone.rows, gone.deleted, gone.rewritten), (30, 2, 1));
    assert_eq!(it.paths.rooms.take(), ["take rows", "forget 1"]);
    let filter = AuditFilter { event: Some("table.shredded".to_owned()), limit: 9, ..AuditFilter::default() };
    let told = it.audit.reader().read(filter).await.unwrap();
    let told: Vec<_> =
        told.into_iter().map(|record| (record.event.code.unwrap().into_owned(), record.event.details.get("rows").cloned())).collect();
    assert_eq!(told, [("Begun".to_owned(), None), ("Done".to_owned(), Some(30.into()))]);

    // A stop in mid-way is taken up by the next start.
    let operations = crate::operations::Operations::new(it.house.sim.world(), it.house.catalog.clone());
    let table = it.house.catalog.table_get(it.linked.id, &name).await.unwrap().unwrap().id;
    let change = crate::operations::Change::Shred { workspace: it.linked.id, table, start: 5, end: 9 };
    operations.begin("/a/table", "local", &change).await.unwrap().unwrap();
    it.shredder.resume().await.unwrap();
    for _ in 0..2_000 {
        if operations.running().await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(operations.running().await.unwrap().is_empty());
    assert_eq!(it.paths.rooms.take(), ["take rows", "forget 1"]);
}

#[tokio::test]
async fn an_account_that_workspaces_send_rows_to_keeps_its_keys() {
    let house = House::new(75).await;
    let account = house.cluster.account.unwrap();
    let shared = house.catalog.accounts().await.unwrap().into_iter().find(|row: &AccountRow| row.cluster.is_none()).unwrap();
    assert_ne!(shared.id, account);
    let refused = house.catalog.account_shred(house.cluster.id, account).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "the cluster is not deleted");
    let refused = house.catalog.account_shred(house.cluster.id, shared.id).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound, "the account is not the cluster's");
}
