use std::ops::Range;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path as Location;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult,
};
use strongroom_envelope::Aek;
use strongroom_model::{AccountId, ErrorKind, KeyClass, TableId};
use strongroom_world::sim::{SimOp, SimWorld};

use super::*;
use crate::{BlockStore, LocalObjects, Reader};

mod reload;

const MIB: usize = 1 << 20;

/// Counts what is asked of the store behind it.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn ObjectStore>,
    gets: AtomicU64,
    bytes: AtomicU64,
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counted")
    }
}

#[async_trait]
impl ObjectStore for Counted {
    async fn put_opts(&self, location: &Location, payload: PutPayload, opts: PutOptions) -> object_store::Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }
    async fn put_multipart_opts(&self, location: &Location, opts: PutMultipartOptions) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }
    async fn get_opts(&self, location: &Location, options: GetOptions) -> object_store::Result<GetResult> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let got = self.inner.get_opts(location, options).await?;
        self.bytes.fetch_add(got.range.end - got.range.start, Ordering::Relaxed);
        Ok(got)
    }
    async fn get_ranges(&self, location: &Location, ranges: &[Range<u64>]) -> object_store::Result<Vec<Bytes>> {
        self.gets.fetch_add(ranges.len() as u64, Ordering::Relaxed);
        self.bytes.fetch_add(ranges.iter().map(|range| range.end - range.start).sum(), Ordering::Relaxed);
        self.inner.get_ranges(location, ranges).await
    }
    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Location>>,
    ) -> BoxStream<'static, object_store::Result<Location>> {
        self.inner.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> object_store::Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> object_store::Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// One node with a local object store and a hot cache on a simulated machine.
struct Rig {
    sim: SimWorld,
    mmk: Arc<Mmk>,
    node: NodeId,
    guard: KeyGuard,
    workspace: WorkspaceId,
    config: CacheConfig,
    minted: u8,
}

struct Running {
    store: Arc<BlockStore>,
    counted: Arc<Counted>,
}

impl Rig {
    fn new(seed: u64) -> Self {
        let sim = SimWorld::new(seed);
        let world = sim.world();
        let mmk = Arc::new(Mmk::generate(world.rng.as_ref()));
        let epoch = Epoch { account: AccountId::mint(1, [1; 10]), aek: AekId::mint(2, [2; 10]) };
        let guard = KeyGuard::new(epoch, KeyClass::Cmk, Aek::generate(epoch.aek, world.rng.as_ref()), None, BootTime::NEVER);
        let config = CacheConfig { free_min_bytes: Some(64 << 20), ..CacheConfig::default() };
        Self { sim, mmk, node: NodeId::mint(3, [3; 10]), guard, workspace: WorkspaceId::mint(4, [4; 10]), config, minted: 0 }
    }

    async fn start(&self) -> Running {
        let world = self.sim.world();
        let local = LocalObjects::open(world.clone(), "/data/blocks").unwrap();
        let counted = Arc::new(Counted { inner: local, gets: AtomicU64::new(0), bytes: AtomicU64::new(0) });
        let (mmk, config) = (Arc::clone(&self.mmk), self.config.clone());
        let cache = HotCache::open(world.clone(), "/data/cache".into(), mmk, self.node, config).await.unwrap();
        Running { store: BlockStore::new(world, Arc::clone(&counted) as _, cache), counted }
    }

    /// A block of `len` bytes that arrived `days` ago. Its bytes look random, as sealed ones do.
    fn block(&mut self, len: usize, days: i64) -> (StoredBlock, Bytes) {
        self.minted += 1;
        let key = ObjectKey {
            account: self.guard.epoch().account,
            workspace: self.workspace,
            table: TableId::mint(5, [5; 10]),
            window_start: 0,
            object: ObjectId::mint(6, [self.minted; 10]),
        };
        let mut bytes = vec![0; len];
        self.sim.world().rng.fill(&mut bytes);
        let arrived_ms = self.sim.world().clock.wall().unix_ms() - days * DAY_MS;
        (StoredBlock { key, epoch: self.guard.epoch(), len: len as u64, arrived_ms }, bytes.into())
    }

    fn cache_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.sim.fs().files().into_iter().filter(|(path, _)| path.starts_with("/data/cache")).collect()
    }

    fn part_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        self.cache_files().into_iter().filter(|(path, _)| !path.ends_with(slot::RECORD)).collect()
    }
}

impl Running {
    async fn read(&self, rig: &Rig, block: &StoredBlock, range: Range<u64>) -> Bytes {
        self.store.read(block, &rig.guard, &one(range), Reader::Query).await.unwrap().pop().unwrap()
    }
    fn cache(&self) -> &HotCache {
        self.store.cache()
    }
    fn stats(&self) -> CacheStats {
        self.cache().stats().pop().unwrap()
    }
    fn fetched(&self) -> u64 {
        self.counted.bytes.load(Ordering::Relaxed)
    }
}

fn one(range: Range<u64>) -> [Range<u64>; 1] {
    [range]
}

async fn eventually(mut holds: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it never came true");
}

#[tokio::test]
async fn a_block_just_put_is_read_from_the_cache_alone() {
    let mut rig = Rig::new(1);
    let node = rig.start().await;
    let (block, bytes) = rig.block(2 * MIB + 500, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    assert_eq!(node.cache().contains(&block), Hotness::Hot);
    let mib = MIB as u64;
    let ranges = [0..10, mib - 5..mib + 5, 0..block.len, 7..7, block.len - 1..block.len];
    let read = node.store.read(&block, &rig.guard, &ranges, Reader::Query).await.unwrap();
    for (range, part) in ranges.iter().zip(&read) {
        assert_eq!(part[..], bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()], "{range:?}");
    }
    assert_eq!((node.fetched(), node.stats().fetched_bytes, node.stats().hits, node.stats().entries), (0, 0, 3, 3));
    let error = node.store.read(&block, &rig.guard, &one(0..block.len + 1), Reader::Query).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_cold_read_fetches_only_what_it_needs_and_a_later_query_keeps_the_part() {
    let mut rig = Rig::new(2);
    let node = rig.start().await;
    let (block, bytes) = rig.block(3 * MIB, 30);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    assert_eq!(node.cache().contains(&block), Hotness::Cold, "too old to be kept at once");
    // One query: a prefix, a footer, a column that crosses a part.
    for range in [0..152, block.len - 1_000..block.len, MIB as u64 - 100..MIB as u64 + 100, 0..152] {
        let part = node.read(&rig, &block, range.clone()).await;
        assert_eq!(part[..], bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]);
    }
    assert_eq!((node.fetched(), node.stats().fetched_bytes), (152 + 1_000 + 200 + 152, 1_504));
    assert_eq!(rig.part_files().len(), 0);
    // Another query, later: the part is worth keeping now, and the third time it is here.
    rig.sim.clock().advance(Duration::from_mins(1));
    node.read(&rig, &block, 0..152).await;
    assert_eq!(node.fetched(), 1_504 + MIB as u64);
    assert_eq!(node.cache().contains(&block), Hotness::Partly);
    node.read(&rig, &block, 500..600).await;
    assert_eq!(node.fetched(), 1_504 + MIB as u64);
    // Parts that are here and parts that are not, in one answer.
    let all = node.read(&rig, &block, 10..2 * MIB as u64).await;
    assert_eq!(all[..], bytes[10..2 * MIB]);
}

#[tokio::test]
async fn maintenance_takes_what_is_here_and_puts_nothing_in() {
    let mut rig = Rig::new(3);
    let node = rig.start().await;
    let (block, bytes) = rig.block(2 * MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    rig.sim.clock().advance(Duration::from_hours(15 * 24));
    node.cache().sweep().await;
    assert_eq!(node.cache().contains(&block), Hotness::Cold);
    let young = StoredBlock { arrived_ms: rig.sim.world().clock.wall().unix_ms(), ..block };
    let read = node.store.read(&young, &rig.guard, &one(5..6), Reader::Maintain).await.unwrap();
    assert_eq!(read[0][..], bytes[5..6]);
    assert_eq!((node.cache().contains(&block), node.fetched()), (Hotness::Cold, 1));
    node.read(&rig, &young, 5..6).await;
    assert_eq!(node.cache().contains(&block), Hotness::Partly);
}

#[tokio::test]
async fn a_full_cache_takes_new_blocks_and_lets_the_least_used_go() {
    let mut rig = Rig::new(4);
    rig.config.size_bytes = Some(4 * MIB as u64 + 200_000);
    let node = rig.start().await;
    let blocks: Vec<_> = (0..4).map(|_| rig.block(MIB, 0)).collect();
    for (block, bytes) in &blocks {
        node.store.put(block, bytes.clone(), &rig.guard).await.unwrap();
    }
    node.cache().index.run_pending_tasks().await;
    node.read(&rig, &blocks[0].0, 0..1).await;
    let (last, bytes) = rig.block(MIB, 0);
    node.store.put(&last, bytes, &rig.guard).await.unwrap();
    node.cache().index.run_pending_tasks().await;
    let hot = |block: &StoredBlock| node.cache().contains(block) == Hotness::Hot;
    assert!(hot(&last), "what comes into a full cache stays");
    assert!(hot(&blocks[0].0), "what was just read stays");
    assert!(!hot(&blocks[1].0), "the least recently used one goes");
    eventually(|| rig.part_files().len() == 4).await;
    assert!(node.stats().bytes <= rig.config.size_bytes.unwrap());
    assert_eq!(node.stats().entries, 4);
}

#[tokio::test]
async fn a_restart_keeps_the_cache_and_its_age() {
    let mut rig = Rig::new(5);
    let (old, young);
    {
        let node = rig.start().await;
        let (block, bytes) = rig.block(MIB + 1, 13);
        node.store.put(&block, bytes, &rig.guard).await.unwrap();
        old = block;
        let (block, bytes) = rig.block(MIB + 1, 1);
        node.store.put(&block, bytes, &rig.guard).await.unwrap();
        young = block;
    }
    rig.sim.fs().kill();
    let slot_dir = PathBuf::from(format!("/data/cache/{}/{}", rig.workspace, rig.guard.epoch().aek));
    let fs = rig.sim.world().fs;
    for left in ["half.tmp", "unknown", "ab.cd"] {
        fs.create_new(&slot_dir.join(left)).unwrap();
    }
    {
        let node = rig.start().await;
        assert_eq!(rig.part_files().len(), 4, "the leftovers are gone");
        assert_eq!((node.cache().contains(&old), node.cache().contains(&young)), (Hotness::Hot, Hotness::Hot));
        node.read(&rig, &young, 0..MIB as u64 + 1).await;
        assert_eq!((node.fetched(), node.stats().entries), (0, 4));
    }
    rig.sim.fs().kill();
    // Fourteen days from arrival, not from the restart.
    rig.sim.clock().advance(Duration::from_mins(24 * 60 + 1));
    let node = rig.start().await;
    assert_eq!((node.cache().contains(&old), node.cache().contains(&young)), (Hotness::Cold, Hotness::Hot));
    assert_eq!(rig.part_files().len(), 2);
}

#[tokio::test]
async fn fourteen_days_count_from_arrival_and_a_query_adds_two() {
    let mut rig = Rig::new(6);
    let node = rig.start().await;
    let (asked, bytes) = rig.block(MIB, 13);
    node.store.put(&asked, bytes, &rig.guard).await.unwrap();
    let (unasked, bytes) = rig.block(MIB, 13);
    node.store.put(&unasked, bytes, &rig.guard).await.unwrap();
    node.read(&rig, &asked, 0..1).await;
    rig.sim.clock().advance(Duration::from_hours(25));
    node.cache().sweep().await;
    assert_eq!((node.cache().contains(&asked), node.cache().contains(&unasked)), (Hotness::Hot, Hotness::Cold));
    eventually(|| rig.part_files().len() == 1).await;
    rig.sim.clock().advance(Duration::from_hours(24));
    node.cache().sweep().await;
    assert_eq!(node.cache().contains(&asked), Hotness::Cold);
}

/// D9: with no hours for it, as in 2021, a query keeps nothing beyond its days.
#[tokio::test]
async fn with_no_hours_for_it_a_query_adds_nothing_to_the_fourteen_days() {
    let mut rig = Rig::new(61);
    rig.config.queried_hours = 0;
    let node = rig.start().await;
    let (asked, bytes) = rig.block(MIB, 13);
    node.store.put(&asked, bytes, &rig.guard).await.unwrap();
    node.read(&rig, &asked, 0..1).await;
    rig.sim.clock().advance(Duration::from_hours(23));
    node.cache().sweep().await;
    assert_eq!(node.cache().contains(&asked), Hotness::Hot, "its days are not over");
    node.read(&rig, &asked, 0..1).await;
    rig.sim.clock().advance(Duration::from_hours(2));
    node.cache().sweep().await;
    assert_eq!(node.cache().contains(&asked), Hotness::Cold);
}

#[tokio::test]
async fn erasing_the_key_record_makes_even_kept_copies_unreadable() {
    let mut rig = Rig::new(7);
    let node = rig.start().await;
    let (block, bytes) = rig.block(2 * MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    let copies = rig.part_files();
    assert_eq!(copies.len(), 2);
    let record = rig.cache_files().into_iter().find(|(path, _)| path.ends_with(slot::RECORD)).unwrap();
    for (_, file) in &copies {
        assert!(!file.windows(64).step_by(64).any(|window| bytes.windows(64).step_by(4_096).any(|other| other == window)));
    }

    rig.guard.kill();
    node.cache().forget(rig.guard.epoch()).await.unwrap();
    assert_eq!(node.cache().contains(&block), Hotness::Cold);
    let error = node.store.read(&block, &rig.guard, &one(0..1), Reader::Query).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::KeyRevoked, "CustomerKeyRevoked"));
    // Not under any name, whole or zeroed.
    assert!(rig.sim.fs().files().iter().all(|(_, file)| *file != record.1));
    assert!(!rig.cache_files().iter().any(|(path, _)| path.ends_with(slot::RECORD)));
    eventually(|| rig.cache_files().is_empty()).await;
    drop(node);
    rig.sim.fs().kill();

    // A thief's copies of the parts, put back: without the record they are wiped, and nothing is served from them.
    let fs = rig.sim.world().fs;
    for (path, file) in &copies {
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.create_new(path).unwrap().write_all_at(&[std::io::IoSlice::new(file)], 0).unwrap();
    }
    let node = rig.start().await;
    assert!(rig.cache_files().is_empty());
    assert_eq!(node.cache().contains(&block), Hotness::Cold);
}

/// The check: after the key was given back, copies that a thief took of the parts open in no cache.
async fn kept_copies_stay_dead(seed: u64, planted: bool) -> Result<(), String> {
    let mut rig = Rig::new(seed);
    let node = rig.start().await;
    let (block, bytes) = rig.block(MIB, 0);
    node.store.put(&block, bytes, &rig.guard).await.unwrap();
    let before = rig.cache_files();
    node.cache().forget(rig.guard.epoch()).await.unwrap();
    eventually(|| rig.cache_files().is_empty()).await;
    drop(node);
    rig.sim.fs().kill();
    let fs = rig.sim.world().fs;
    // The bug: files went, and the record that opens them was left.
    for (path, file) in before.iter().filter(|(path, _)| planted || !path.ends_with(slot::RECORD)) {
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.create_new(path).unwrap().write_all_at(&[std::io::IoSlice::new(file)], 0).unwrap();
    }
    let node = rig.start().await;
    if node.cache().contains(&block) == Hotness::Cold { Ok(()) } else { Err("a kept copy is served".to_owned()) }
}

/// One of the planted bugs; `strongroom-control` has the list.
#[tokio::test]
async fn leaving_the_cache_key_is_found_out() {
    kept_copies_stay_dead(41, false).await.unwrap();
    assert_eq!(kept_copies_stay_dead(42, true).await.unwrap_err(), "a kept copy is served");
}

#[tokio::test]
async fn a_record_that_cannot_be_erased_is_tried_again_and_memory_is_wiped_meanwhile() {
    let mut rig = Rig::new(8);
    let node = rig.start().await;
    let (block, bytes) = rig.block(MIB, 0);
    node.store.put(&block, bytes, &rig.guard).await.unwrap();
    rig.sim.fs().fail_next(SimOp::Open, std::io::ErrorKind::PermissionDenied);
    let error = node.cache().forget(rig.guard.epoch()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(node.cache().contains(&block), Hotness::Cold);
    assert_eq!(rig.cache_files().len(), 2, "the disk said no");
    node.cache().forget(rig.guard.epoch()).await.unwrap();
    eventually(|| rig.cache_files().is_empty()).await;
}

#[tokio::test]
async fn a_workspace_is_forgotten_alone_and_fills_anew() {
    let mut rig = Rig::new(9);
    let node = rig.start().await;
    let (mine, bytes) = rig.block(MIB, 0);
    node.store.put(&mine, bytes, &rig.guard).await.unwrap();
    let own = std::mem::replace(&mut rig.workspace, WorkspaceId::mint(9, [9; 10]));
    let (other, bytes) = rig.block(MIB, 0);
    node.store.put(&other, bytes, &rig.guard).await.unwrap();
    node.cache().forget_workspace(own).await.unwrap();
    assert_eq!((node.cache().contains(&mine), node.cache().contains(&other)), (Hotness::Cold, Hotness::Hot));
    // The key is still there: the next read fills the cache again, under a new cache key.
    node.read(&rig, &mine, 0..1).await;
    assert_eq!(node.cache().contains(&mine), Hotness::Hot);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_of_one_missing_part_cause_one_fetch() {
    let mut rig = Rig::new(10);
    let node = rig.start().await;
    let (block, bytes) = rig.block(MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    node.cache().drop_entries(|_| true).await;
    let reads = (0..24_u64).map(|at| {
        let (store, guard) = (Arc::clone(&node.store), rig.guard.clone());
        tokio::spawn(async move { store.read(&block, &guard, &one(at..at + 9), Reader::Query).await })
    });
    for (at, read) in futures::future::join_all(reads).await.into_iter().enumerate() {
        assert_eq!(read.unwrap().unwrap()[0][..], bytes[at..at + 9]);
    }
    assert_eq!(node.counted.gets.load(Ordering::Relaxed), 1);
    assert_eq!(node.stats().entries, 1);
}

#[tokio::test]
async fn a_part_that_was_changed_on_disk_is_fetched_again_and_nobody_notices() {
    let mut rig = Rig::new(11);
    let node = rig.start().await;
    let (block, bytes) = rig.block(MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    let changed = rig.part_files().pop().unwrap();
    for offset in [0, 40, 500_000, changed.1.len() as u64 - 1] {
        let path = rig.part_files().pop().unwrap().0;
        rig.sim.fs().flip(&path, offset, 1).unwrap();
        assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
        eventually(|| rig.part_files().len() == 1 && rig.part_files()[0].0 != path).await;
    }
    assert_eq!(node.counted.gets.load(Ordering::Relaxed), 4);
    // Cut off, and gone altogether.
    let path = rig.part_files().pop().unwrap().0;
    rig.sim.world().fs.open(&path).unwrap().set_len(100).unwrap();
    assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
    eventually(|| rig.part_files().len() == 1 && rig.part_files()[0].0 != path).await;
    rig.sim.world().fs.remove_file(&rig.part_files()[0].0).unwrap();
    assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
    assert_eq!(node.counted.gets.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn a_cache_whose_key_record_is_damaged_is_wiped_at_start() {
    let mut rig = Rig::new(12);
    let (block, bytes) = rig.block(MIB, 0);
    rig.start().await.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    rig.sim.fs().kill();
    let record = rig.cache_files().into_iter().find(|(path, _)| path.ends_with(slot::RECORD)).unwrap();
    rig.sim.fs().flip(&record.0, record.1.len() as u64 / 2, 4).unwrap();
    let node = rig.start().await;
    assert!(rig.cache_files().is_empty());
    assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
    assert_eq!(node.cache().contains(&block), Hotness::Hot);
}

#[tokio::test]
async fn a_disk_without_room_keeps_nothing_new_and_fails_nobody() {
    let mut rig = Rig::new(13);
    let node = rig.start().await;
    let (block, bytes) = rig.block(MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    node.cache().drop_entries(|_| true).await;
    rig.sim.fs().fill_disk(10 << 20);
    assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
    assert_eq!(node.cache().contains(&block), Hotness::Cold);
    rig.sim.fs().empty_disk();
    for op in [SimOp::Create, SimOp::Write, SimOp::Rename] {
        rig.sim.fs().fail_next(op, std::io::ErrorKind::StorageFull);
        assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
        assert_eq!(node.cache().contains(&block), Hotness::Cold, "{op:?}");
    }
    node.read(&rig, &block, 0..1).await;
    assert_eq!(node.cache().contains(&block), Hotness::Hot);
    // When the disk runs full later on, the cache gives way.
    rig.sim.fs().fill_disk(10 << 20);
    node.cache().sweep().await;
    assert_eq!(node.cache().contains(&block), Hotness::Cold);
    eventually(|| rig.part_files().is_empty()).await;
}

#[tokio::test]
async fn a_deleted_block_leaves_no_parts_behind() {
    let mut rig = Rig::new(14);
    let node = rig.start().await;
    let (block, bytes) = rig.block(3 * MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    assert_eq!(node.store.list().await.unwrap(), [(block.key, block.len)]);
    node.store.delete(&block.key).await.unwrap();
    node.store.delete(&block.key).await.unwrap();
    eventually(|| rig.part_files().is_empty()).await;
    assert!(node.store.list().await.unwrap().is_empty());
    let error = node.store.read(&block, &rig.guard, &one(0..1), Reader::Query).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn a_put_may_be_repeated_with_the_same_bytes_only() {
    let mut rig = Rig::new(15);
    let node = rig.start().await;
    let (block, bytes) = rig.block(MIB, 0);
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    node.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    node.cache().index.run_pending_tasks().await;
    eventually(|| rig.part_files().len() == 1).await;
    assert_eq!((node.cache().contains(&block), node.stats().entries), (Hotness::Hot, 1));
    let other = rig.block(MIB, 0).1;
    let error = node.store.put(&block, other, &rig.guard).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(node.read(&rig, &block, 0..block.len).await, bytes);
}

#[tokio::test]
async fn a_cache_turned_off_serves_nothing_keeps_what_it_has_and_is_erased_all_the_same() {
    let mut rig = Rig::new(16);
    let (block, bytes) = rig.block(MIB, 0);
    rig.start().await.store.put(&block, bytes.clone(), &rig.guard).await.unwrap();
    rig.sim.fs().kill();
    rig.config.enabled = false;
    let node = rig.start().await;
    assert_eq!(node.read(&rig, &block, 3..8).await, bytes.slice(3..8));
    let (other, more) = rig.block(MIB, 0);
    node.store.put(&other, more, &rig.guard).await.unwrap();
    assert_eq!((node.fetched(), rig.part_files().len()), (5, 1));
    node.cache().forget(rig.guard.epoch()).await.unwrap();
    eventually(|| rig.cache_files().is_empty()).await;
}

/// Puts two blocks, cuts the power at some call of the second put, and says what is wrong afterwards.
async fn cut_during_put(seed: u64, lying: bool) -> Option<&'static str> {
    let mut rig = Rig::new(1_000 + seed);
    let (first, first_bytes) = rig.block(5_000, 0);
    let (second, second_bytes) = rig.block(70_000, 0);
    let acked;
    {
        let node = rig.start().await;
        rig.sim.fs().lie_about_syncs(lying);
        node.store.put(&first, first_bytes.clone(), &rig.guard).await.unwrap();
        rig.sim.fs().power_cut_after(rig.sim.below(20));
        acked = node.store.put(&second, second_bytes.clone(), &rig.guard).await.is_ok();
    }
    rig.sim.fs().power_cut();
    let node = rig.start().await;
    let whole = async |block: &StoredBlock, bytes: &Bytes| {
        node.store.read(block, &rig.guard, &one(0..block.len), Reader::Query).await.is_ok_and(|read| read[0] == *bytes)
    };
    let listed = node.store.list().await.unwrap();
    match listed.iter().find(|(key, _)| *key == second.key) {
        _ if !whole(&first, &first_bytes).await => Some("an acked block is gone or changed"),
        None if acked => Some("an acked block is not listed"),
        Some((_, len)) if *len != second.len || !whole(&second, &second_bytes).await => Some("half a block"),
        _ => None,
    }
}

#[tokio::test]
async fn a_power_cut_at_any_call_leaves_a_block_whole_or_absent() {
    for seed in 0..60 {
        assert_eq!(cut_during_put(seed, false).await, None, "seed {seed}");
    }
    let mut caught = 0;
    for seed in 0..10 {
        caught += u32::from(cut_during_put(seed, true).await.is_some());
    }
    assert!(caught > 0, "this test would not notice a store that does not sync");
}
