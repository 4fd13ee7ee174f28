#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStoreExt as _, PutMultipartOptions, PutOptions,
    PutPayload, PutResult, Result as Stored,
};
use strongroom_catalog::{Billing, ClusterRow, ClusterState, IdentityType, StorageLinkRow, WorkspaceRow};
use strongroom_envelope::Mmk;
use strongroom_keys::provider::KekRef;
use strongroom_keys::provider::memory::MemoryVault;
use strongroom_keys::{Shut, Standing};
use strongroom_model::{ErrorKind, TableId};
use strongroom_world::sim::SimWorld;

use super::*;
use crate::LinkedContent;
use crate::watch::{Forget as _, Gone};

mod documents;
mod leaving;
mod personal;

const CANARY: &[u8] = b"canary-7f3a // and a remark";
/// Where a store stops answering, once.
const NOWHERE: u8 = 0;
const BEFORE_PUT: u8 = 1;
const AFTER_PUT: u8 = 2;
const BEFORE_DELETE: u8 = 3;
const BROKEN: u8 = 4;
/// It answers once it is told to stop nowhere.
const HELD: u8 = 5;

/// A store that may stop, as a process does that is killed while it waits.
#[derive(Debug, Default)]
struct Halting {
    inner: InMemory,
    at: AtomicU8,
}

impl Halting {
    async fn halt(&self, at: u8) {
        if self.at.compare_exchange(at, NOWHERE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Display for Halting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Halting")
    }
}

#[async_trait]
impl ObjectStore for Halting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Stored<PutResult> {
        if self.at.load(Ordering::Acquire) == BROKEN {
            return Err(object_store::Error::Generic { store: "Halting", source: "broken".into() });
        }
        self.halt(BEFORE_PUT).await;
        let put = self.inner.put_opts(location, payload, opts).await;
        self.halt(AFTER_PUT).await;
        while self.at.load(Ordering::Acquire) == HELD {
            tokio::task::yield_now().await;
        }
        put
    }
    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Stored<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Stored<GetResult> {
        self.inner.get_opts(location, options).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Stored<Path>>) -> BoxStream<'static, Stored<Path>> {
        if self.at.compare_exchange(BEFORE_DELETE, NOWHERE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return futures::stream::pending().boxed();
        }
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Stored<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Stored<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Stored<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug, Default)]
struct Shops(Mutex<HashMap<ObjectId, Arc<Halting>>>);

#[async_trait]
impl Stores for Shops {
    async fn check(&self, url: &str) -> Result<String, ControlError> {
        Ok(url.to_owned())
    }
    async fn open(&self, account: ObjectId, _: Option<&str>) -> Result<Arc<dyn ObjectStore>, ControlError> {
        Ok(self.of(account))
    }
}

impl Shops {
    fn of(&self, account: ObjectId) -> Arc<Halting> {
        Arc::clone(self.0.lock().entry(account).or_default())
    }
}

struct Rig {
    sim: SimWorld,
    catalog: Catalog,
    keys: Arc<KeyRing>,
    stores: Arc<Shops>,
    rules: Rules,
    contents: Arc<Contents>,
    workspace: WorkspaceId,
}

impl Rig {
    async fn new() -> Self {
        Self::with(Rules::default()).await
    }

    async fn with(rules: Rules) -> Self {
        let sim = SimWorld::new(9);
        let world = sim.world();
        let catalog = Catalog::memory(world.clone()).await.unwrap();
        let mmk = Arc::new(Mmk::generate(world.rng.as_ref()));
        let keys = KeyRing::open(world.clone(), catalog.clone(), Arc::new(InMemory::new()), mmk).await.unwrap();
        let (ms, random) = world.id_seed();
        let workspace = WorkspaceId::mint(ms, random);
        let row = WorkspaceRow {
            id: workspace,
            name: "shop".parse().unwrap(),
            account: keys.shared_account(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: "here".to_owned(),
            created_ms: 0,
            retention_days: 30,
            link: None,
        };
        catalog.workspace_insert(&row).await.unwrap();
        let stores = Arc::new(Shops::default());
        let contents = Contents::new(world, catalog.clone(), Arc::clone(&keys), Arc::clone(&stores) as _, rules.clone());
        Self { sim, catalog, keys, stores, rules, contents, workspace }
    }

    /// As after a restart: nothing in memory is known any more.
    fn restart(&mut self) {
        let (world, stores) = (self.sim.world(), Arc::clone(&self.stores));
        self.contents = Contents::new(world, self.catalog.clone(), Arc::clone(&self.keys), stores, self.rules.clone());
    }

    /// A key of a customer's: its account, behind a gate. `shut` it by the gate and the guards, as the watch does.
    async fn customer(&self, name: &str) -> (ObjectId, AccountId) {
        let id = self.contents.mint();
        let account = self.keys.open_account("here", id, true).await.unwrap();
        let kek = KekRef::new(&format!("https://{name}.example/"), "kek", None).unwrap();
        let vault = MemoryVault::new(self.sim.world(), kek);
        self.keys.begin_customer_epoch(account, id, &vault, Duration::from_hours(1)).await.unwrap();
        self.keys.gate(account, id, name, Standing::Open);
        let row = ClusterRow {
            id,
            name: name.to_owned(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: "here".to_owned(),
            account: Some(account),
            state: ClusterState::Succeeded,
            identity_type: IdentityType::UserAssigned,
            identity: None,
            user_identity: None,
            sku_name: String::new(),
            sku_capacity: 0,
            billing: Billing::Cluster,
            double: true,
            tags: "{}".to_owned(),
            key: None,
            created_ms: 0,
            modified_ms: 0,
            deleted_ms: None,
            sku_ms: 0,
        };
        self.catalog.cluster_insert(&row).await.unwrap();
        (id, account)
    }

    fn shut(&self, cluster: ObjectId, account: AccountId) {
        self.keys.gate(account, cluster, "", Standing::Open).set(Standing::Shut(Shut::Revoked, 1));
        self.keys.kill(account);
    }

    async fn storage(&self, name: &str, holder: Option<ObjectId>) -> StorageAccountRow {
        let row = StorageAccountRow {
            id: self.contents.mint(),
            name: name.to_owned(),
            subscription: "s".to_owned(),
            resource_group: "g".to_owned(),
            region: "here".to_owned(),
            kind: "StorageV2".to_owned(),
            sku: "Standard_LRS".to_owned(),
            tags: "{}".to_owned(),
            url: None,
            holder,
            own: false,
            created_ms: 0,
            changed_ms: 0,
        };
        self.catalog.storage_account_put(&row).await.unwrap();
        row
    }

    fn link(&self, storage: &StorageAccountRow, source: DataSource) -> StorageLinkRow {
        StorageLinkRow { workspace: self.workspace, source: source.as_str().to_owned(), storage: storage.id, at_ms: 0 }
    }

    async fn linked(&self, storage: &StorageAccountRow) {
        self.contents.link_to(&self.link(storage, DataSource::Query), DataSource::Query, false).await.unwrap();
    }

    async fn put(&self, kind: ContentKind, value: &[u8]) -> (ObjectId, Stamp) {
        let id = self.contents.mint();
        let new = NewEntry { workspace: self.workspace, kind, id, replaces: None, value, by: PrincipalId::NIL };
        (id, self.contents.put(new).await.unwrap())
    }

    /// Values and etags of what is there, in the values' order.
    async fn told(&self) -> Result<Vec<(Vec<u8>, ObjectId, i64)>, ControlError> {
        let warrant = self.keys.warrant(PrincipalId::NIL, self.workspace, TableId::NIL).await?;
        let opened = self.contents.open(self.workspace, &ContentKind::ALL, Reader::For(&warrant)).await?;
        opened.check(&self.sim.world())?;
        let mut told: Vec<_> = opened.entries.iter().map(|entry| (entry.value.to_vec(), entry.etag, entry.changed_ms)).collect();
        told.sort();
        Ok(told)
    }

    /// The bytes of all objects in an account.
    async fn objects(&self, storage: &StorageAccountRow) -> Vec<Vec<u8>> {
        let store = self.stores.of(storage.id);
        let names: Vec<Path> = store.list(None).map(|meta| meta.unwrap().location).collect().await;
        let mut bytes = Vec::new();
        for name in names {
            bytes.push(store.get(&name).await.unwrap().bytes().await.unwrap().to_vec());
        }
        bytes
    }

    /// Where the cells lie: in the catalog, in accounts.
    async fn places(&self) -> (usize, usize) {
        let rows = self.catalog.contents(self.workspace).await.unwrap();
        (rows.iter().filter(|row| row.cell.is_some()).count(), rows.iter().filter(|row| row.storage.is_some()).count())
    }
}

#[tokio::test]
async fn an_entry_is_kept_changed_by_whoever_read_it_last_and_deleted() {
    let rig = Rig::new().await;
    let (id, first) = rig.put(ContentKind::Alerts, CANARY).await;
    let change =
        |replaces| NewEntry { workspace: rig.workspace, kind: ContentKind::Alerts, id, replaces, value: b"new", by: PrincipalId::NIL };
    let second = rig.contents.put(change(Some(first.rev))).await.unwrap();
    assert_ne!((first.etag, first.rev), (second.etag, second.rev));
    for stale in [Some(first.rev), None] {
        assert_eq!(rig.contents.put(change(stale)).await.unwrap_err().kind(), ErrorKind::Conflict, "{stale:?}");
    }
    let entry = rig.contents.get(rig.workspace, ContentKind::Alerts, id, Reader::Server).await.unwrap().unwrap();
    assert_eq!((&entry.value[..], entry.etag, entry.rev), (&b"new"[..], second.etag, second.rev));
    assert!(rig.contents.get(rig.workspace, ContentKind::Query, id, Reader::Server).await.unwrap().is_none(), "of another kind");
    assert_eq!(rig.contents.count(rig.workspace, &[ContentKind::Alerts]).await.unwrap(), 1);
    assert!(rig.contents.delete(rig.workspace, id).await.unwrap() && !rig.contents.delete(rig.workspace, id).await.unwrap());
    assert_eq!(rig.contents.count(rig.workspace, &ContentKind::ALL).await.unwrap(), 0);
}

#[tokio::test]
async fn linking_takes_entries_out_of_the_workspace_and_unlinking_brings_the_same_back() {
    let rig = Rig::new().await;
    rig.put(ContentKind::Query, CANARY).await;
    rig.put(ContentKind::Functions, b"f").await;
    rig.put(ContentKind::Alerts, b"a").await;
    let before = rig.told().await.unwrap();
    let account = rig.storage("one", None).await;
    assert!(!rig.contents.linked(rig.workspace, ContentKind::Query).await.unwrap());
    rig.linked(&account).await;
    assert!(rig.contents.linked(rig.workspace, ContentKind::Functions).await.unwrap());
    assert!(!rig.contents.linked(rig.workspace, ContentKind::Alerts).await.unwrap());
    assert_eq!(rig.places().await, (1, 2), "but for the alert, whose source is not linked");
    assert_eq!(rig.told().await.unwrap(), before, "etags and dates stay");
    let (_, stamp) = rig.put(ContentKind::Query, b"later").await;
    assert_eq!(rig.places().await, (1, 3), "new ones go there");
    let objects = rig.objects(&account).await;
    assert_eq!(objects.len(), 3);
    assert!(objects.iter().all(|bytes| !bytes.windows(6).any(|part| part == b"canary")));
    // Under its own rows' ids, an object is one entry's and nobody else's.
    assert!(rig.contents.unlink(rig.workspace, DataSource::Query).await.unwrap());
    assert!(!rig.contents.unlink(rig.workspace, DataSource::Query).await.unwrap(), "gone is gone");
    assert_eq!(rig.places().await, (4, 0));
    let mut expected = before;
    expected.push((b"later".to_vec(), stamp.etag, stamp.changed_ms));
    expected.sort();
    assert_eq!(rig.told().await.unwrap(), expected);
    assert!(rig.objects(&account).await.is_empty(), "none left in the account");
    assert!(rig.catalog.content_objects().await.unwrap().is_empty());
}

#[tokio::test]
async fn another_account_takes_over_and_each_source_has_its_own() {
    let rig = Rig::new().await;
    rig.put(ContentKind::Query, b"q").await;
    rig.put(ContentKind::Alerts, b"a").await;
    let (one, two) = (rig.storage("one", None).await, rig.storage("two", None).await);
    rig.linked(&one).await;
    rig.contents.link_to(&rig.link(&two, DataSource::Alerts), DataSource::Alerts, false).await.unwrap();
    assert_eq!((rig.objects(&one).await.len(), rig.objects(&two).await.len()), (1, 1));
    rig.linked(&two).await;
    assert_eq!((rig.objects(&one).await.len(), rig.objects(&two).await.len()), (0, 2));
    assert_eq!(rig.told().await.unwrap().len(), 2);
    let refused = rig.catalog.storage_account_delete(two.id, 0).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(rig.catalog.storage_account_delete(one.id, 0).await.unwrap());
}

#[tokio::test]
async fn in_2021_linking_removes_what_there_is_and_functions_stay_in_the_workspace() {
    let config = crate::AzureConfig { compat: crate::Compat::Y2021, ..crate::AzureConfig::default() };
    let rig = Rig::with(config.rules()).await;
    assert_eq!(rig.rules.linked_storage.existing, LinkedContent::Remove);
    rig.put(ContentKind::Query, CANARY).await;
    rig.put(ContentKind::Functions, b"f").await;
    let account = rig.storage("one", None).await;
    rig.contents.link_to(&rig.link(&account, DataSource::Query), DataSource::Query, true).await.unwrap();
    let left: Vec<_> = rig.told().await.unwrap().into_iter().map(|(value, ..)| value).collect();
    assert_eq!(left, [b"f".to_vec()]);
    rig.put(ContentKind::Query, b"new").await;
    rig.put(ContentKind::Functions, b"g").await;
    assert_eq!(rig.places().await, (2, 1));
    assert_eq!(rig.objects(&account).await.len(), 1);
}

#[tokio::test]
async fn each_key_shuts_what_is_under_it_and_nothing_else() {
    let rig = Rig::new().await;
    let (cluster, rows) = rig.customer("cluster").await;
    let (holder, own) = rig.customer("holder").await;
    rig.catalog.workspace_move(rig.workspace, rows, Some((cluster, 1))).await.unwrap();
    let account = rig.storage("one", Some(holder)).await;
    rig.linked(&account).await;
    rig.put(ContentKind::Query, CANARY).await;
    rig.put(ContentKind::Alerts, b"in the workspace").await;
    let query = [ContentKind::Query];
    let asks =
        async |kinds: &[ContentKind]| rig.contents.open(rig.workspace, kinds, Reader::Server).await.map(|opened| opened.entries.len());
    assert_eq!((asks(&query).await.unwrap(), asks(&[ContentKind::Alerts]).await.unwrap()), (1, 1));

    // The cluster's key: the workspace's rows are shut, and its searches still open.
    rig.shut(cluster, rows);
    assert_eq!(asks(&query).await.unwrap(), 1);
    assert_eq!(asks(&[ContentKind::Alerts]).await.unwrap_err().code(), "CustomerKeyRevoked");
    rig.put(ContentKind::Query, b"another").await;

    // The account's: they do not, nor is one taken, moved or listed.
    let opened = rig.contents.open(rig.workspace, &query, Reader::Server).await.unwrap();
    opened.check(&rig.sim.world()).unwrap();
    rig.shut(holder, own);
    assert!(opened.check(&rig.sim.world()).is_err(), "what was opened before is not shown any more");
    assert_eq!(asks(&query).await.unwrap_err().code(), "CustomerKeyRevoked");
    let id = rig.contents.mint();
    let new = NewEntry { workspace: rig.workspace, kind: ContentKind::Query, id, replaces: None, value: b"x", by: PrincipalId::NIL };
    assert_eq!(rig.contents.put(new).await.unwrap_err().code(), "CustomerKeyRevoked");
    assert_eq!(rig.contents.unlink(rig.workspace, DataSource::Query).await.unwrap_err().code(), "CustomerKeyRevoked");
    assert!(rig.contents.linked(rig.workspace, ContentKind::Query).await.unwrap(), "and nothing has changed");
    assert_eq!(rig.objects(&account).await.len(), 2);
}

#[tokio::test]
async fn what_was_fetched_is_forgotten_with_its_key() {
    let rig = Rig::new().await;
    let (holder, own) = rig.customer("holder").await;
    let account = rig.storage("one", Some(holder)).await;
    rig.linked(&account).await;
    rig.put(ContentKind::Query, b"q").await;
    rig.told().await.unwrap();
    assert_eq!(rig.contents.fetched.lock().len(), 1);
    let gone = |epochs| Gone { account: own, epochs, why: Shut::Revoked, lost: Arc::default() };
    rig.contents.forget(&gone(rig.keys.customer_epochs(rig.keys.shared_account()).await.unwrap())).await.unwrap();
    assert_eq!(rig.contents.fetched.lock().len(), 1, "another key's");
    rig.contents.forget(&gone(rig.keys.customer_epochs(own).await.unwrap())).await.unwrap();
    assert_eq!(rig.contents.fetched.lock().len(), 0);
}

#[tokio::test]
async fn a_key_that_is_set_later_seals_anew_what_there_is() {
    let rig = Rig::new().await;
    let account = rig.storage("one", None).await;
    rig.linked(&account).await;
    for value in [&b"1"[..], b"2", b"3"] {
        rig.put(ContentKind::Query, value).await;
    }
    let before = (rig.told().await.unwrap(), rig.objects(&account).await);
    let (holder, own) = rig.customer("holder").await;
    rig.catalog.storage_account_put(&StorageAccountRow { holder: Some(holder), ..account.clone() }).await.unwrap();
    let progress = async || rig.contents.progress_in(account.id, own).await.unwrap();
    assert_eq!(progress().await, Progress { entries: 3, left: 3 });
    assert_eq!(rig.contents.progress(rig.workspace, DataSource::Query).await.unwrap(), Progress { entries: 3, left: 3 });
    rig.contents.settle_all().await.unwrap();
    assert_eq!(progress().await, Progress { entries: 3, left: 0 });
    assert_eq!(rig.told().await.unwrap(), before.0);
    let after = rig.objects(&account).await;
    assert!(after.len() == 3 && after.iter().all(|object| !before.1.contains(object)), "none of the old ones is left");
    rig.shut(holder, own);
    assert_eq!(rig.told().await.unwrap_err().code(), "CustomerKeyRevoked");
}

#[tokio::test]
async fn a_rekey_takes_along_what_lies_under_it_and_a_reencryption_of_rows_does_not() {
    let rig = Rig::new().await;
    let account = rig.storage("one", None).await;
    rig.linked(&account).await;
    rig.put(ContentKind::Query, b"q").await;
    rig.put(ContentKind::Alerts, b"a").await;
    let shared = rig.keys.write_epoch(rig.keys.shared_account()).await.unwrap();
    let (cluster, rows) = rig.customer("cluster").await;
    let to = rig.keys.write_epoch(rows).await.unwrap();
    rig.contents.carry(shared, to, Some(rig.workspace)).await.unwrap();
    let under = async || {
        let rows = rig.catalog.contents(rig.workspace).await.unwrap();
        let mut under: Vec<_> = rows.into_iter().map(|row| (row.kind, row.aek)).collect();
        under.sort();
        under
    };
    assert_eq!(under().await, [(ContentKind::Query, shared.aek), (ContentKind::Alerts, to.aek)]);
    // A second epoch of the cluster's key.
    rig.catalog.storage_account_put(&StorageAccountRow { holder: Some(cluster), ..account }).await.unwrap();
    rig.contents.settle_all().await.unwrap();
    let vault = MemoryVault::new(rig.sim.world(), KekRef::new("https://cluster.example/", "kek", None).unwrap());
    let next = rig.keys.begin_customer_epoch(rows, cluster, &vault, Duration::from_hours(1)).await.unwrap();
    rig.contents.carry(to, next, None).await.unwrap();
    assert_eq!(under().await, [(ContentKind::Query, next.aek), (ContentKind::Alerts, next.aek)]);
    assert_eq!(rig.told().await.unwrap().len(), 2);
}

/// A process that is killed at any step of a move leaves every entry readable in one place, and no object that nobody knows of.
#[tokio::test]
async fn a_stop_at_any_step_of_a_move_is_taken_up_again() {
    for (back, at) in [(false, BEFORE_PUT), (false, AFTER_PUT), (true, BEFORE_DELETE), (false, BROKEN)] {
        let mut rig = Rig::new().await;
        for value in [&b"1"[..], b"2", b"3"] {
            rig.put(ContentKind::Query, value).await;
        }
        let before = rig.told().await.unwrap();
        let account = rig.storage("one", None).await;
        if back {
            rig.linked(&account).await;
        }
        rig.stores.of(account.id).at.store(at, Ordering::Release);
        let (row, contents, workspace) = (rig.link(&account, DataSource::Query), Arc::clone(&rig.contents), rig.workspace);
        let moving = async move {
            if back {
                contents.unlink(workspace, DataSource::Query).await.map(drop)
            } else {
                contents.link_to(&row, DataSource::Query, false).await
            }
        };
        match tokio::time::timeout(Duration::from_millis(200), moving).await {
            Err(_) => {}
            Ok(ended) => assert_eq!(ended.unwrap_err().code(), "LinkedStorageUnavailable", "only a store that is broken says so"),
        }
        rig.stores.of(account.id).at.store(NOWHERE, Ordering::Release);
        assert_eq!(rig.told().await.unwrap(), before, "step {at}: in between everything is there");
        rig.restart();
        assert_eq!(rig.told().await.unwrap(), before, "step {at}");
        assert!(rig.contents.settle_rest().await, "a start looks");
        assert_eq!(rig.told().await.unwrap(), before, "step {at}");
        let expected = if back { ((3, 0), 0) } else { ((0, 3), 3) };
        assert_eq!((rig.places().await, rig.objects(&account).await.len()), expected, "step {at}");
        assert!(rig.catalog.content_objects().await.unwrap().is_empty(), "step {at}");
        assert!(!rig.contents.settle_rest().await || !rig.contents.settle_rest().await, "nothing is left to do");
    }
}

#[tokio::test]
async fn an_object_that_was_changed_swapped_or_put_back_does_not_open() {
    let rig = Rig::new().await;
    let account = rig.storage("one", None).await;
    rig.linked(&account).await;
    let (id, first) = rig.put(ContentKind::Query, b"first").await;
    let store = rig.stores.of(account.id);
    let names = async || store.list(None).map(|meta| meta.unwrap().location).collect::<Vec<Path>>().await;
    let old_name = names().await.remove(0);
    let old = store.get(&old_name).await.unwrap().bytes().await.unwrap();
    let change = NewEntry {
        workspace: rig.workspace,
        kind: ContentKind::Query,
        id,
        replaces: Some(first.rev),
        value: b"second",
        by: PrincipalId::NIL,
    };
    rig.contents.put(change).await.unwrap();
    let name = names().await.remove(0);
    let whole = store.get(&name).await.unwrap().bytes().await.unwrap();
    assert_ne!(name, old_name);
    let mut flipped = whole.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    for (what, bytes) in [("the sealing before", old.to_vec()), ("a changed byte", flipped), ("nothing", Vec::new())] {
        store.put(&name, bytes.into()).await.unwrap();
        rig.contents.fetched.lock().forget_all();
        assert_eq!(rig.told().await.unwrap_err().kind(), ErrorKind::Corrupt, "{what}");
    }
    store.delete(&name).await.unwrap();
    rig.contents.fetched.lock().forget_all();
    assert_eq!(rig.told().await.unwrap_err().kind(), ErrorKind::Corrupt, "an object that is gone is no fewer entries");
    store.put(&name, whole.into()).await.unwrap();
    assert_eq!(rig.told().await.unwrap()[0].0, b"second");
}

#[tokio::test]
async fn what_is_being_written_is_not_tidied_away_and_what_was_given_up_is() {
    let rig = Rig::new().await;
    let account = rig.storage("one", None).await;
    rig.linked(&account).await;
    rig.stores.of(account.id).at.store(AFTER_PUT, Ordering::Release);
    let (contents, workspace, id) = (Arc::clone(&rig.contents), rig.workspace, rig.contents.mint());
    let writing = tokio::spawn(async move {
        let new = NewEntry { workspace, kind: ContentKind::Query, id, replaces: None, value: b"x", by: PrincipalId::NIL };
        contents.put(new).await
    });
    while rig.objects(&account).await.is_empty() {
        tokio::task::yield_now().await;
    }
    rig.contents.tidy().await;
    assert_eq!(rig.objects(&account).await.len(), 1);
    writing.abort();
    assert!(writing.await.unwrap_err().is_cancelled());
    rig.contents.tidy().await;
    assert!(rig.objects(&account).await.is_empty() && rig.catalog.content_objects().await.unwrap().is_empty());
    assert!(rig.told().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_that_is_away_refuses_where_there_is_nothing_yet() {
    let rig = Rig::new().await;
    let (holder, own) = rig.customer("holder").await;
    rig.linked(&rig.storage("one", Some(holder)).await).await;
    rig.shut(holder, own);
    assert_eq!(rig.told().await.unwrap_err().code(), "CustomerKeyRevoked");
    assert!(rig.contents.open(rig.workspace, &[ContentKind::Alerts], Reader::Server).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn a_document_whose_text_is_gone_is_not_found_and_is_written_again_in_one_place() {
    let rig = Rig::new().await;
    let account = rig.storage("one", None).await;
    rig.linked(&account).await;
    let mmk = Arc::new(Mmk::generate(rig.sim.world().rng.as_ref()));
    let documents = crate::documents::Documents::new(rig.sim.world(), rig.catalog.clone(), mmk, Arc::clone(&rig.contents));
    let place = crate::Place { subscription: "s".to_owned(), resource_group: "g".to_owned(), name: "book".to_owned() };
    let ask = |workspace| crate::documents::DocumentAsk {
        kind: strongroom_catalog::DocumentKind::Workbook,
        parent: ObjectId::NIL,
        region: "here".to_owned(),
        tags: serde_json::Map::new(),
        properties: serde_json::Map::new(),
        workspace,
    };
    let (row, _) = documents.put(&place, ask(Some(rig.workspace))).await.unwrap();
    documents.open(&row).await.unwrap();
    assert!(rig.contents.delete(rig.workspace, row.id).await.unwrap());
    assert_eq!(documents.open(&row).await.unwrap_err().kind(), ErrorKind::NotFound);
    documents.put(&place, ask(Some(rig.workspace))).await.unwrap();
    // A row that was read before it was written elsewhere takes the text along that is there now.
    let (within, _) = documents.put(&place, ask(None)).await.unwrap();
    documents.put(&place, ask(Some(rig.workspace))).await.unwrap();
    assert!(documents.delete(&within).await.unwrap());
    assert_eq!(rig.contents.count(rig.workspace, &ContentKind::ALL).await.unwrap(), 0, "no text without its row");
}
