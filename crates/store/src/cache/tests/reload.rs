use super::*;

/// A cache of blocks of two parts that arrived so many days ago, erased as a revocation does; one part a second comes back.
async fn erased(seed: u64, days: &[i64], change: impl FnOnce(&mut CacheConfig)) -> (Rig, Running, Vec<StoredBlock>) {
    let mut rig = Rig::new(seed);
    rig.config.reload_bytes_per_second = PART_LEN;
    change(&mut rig.config);
    let node = rig.start().await;
    let mut blocks = Vec::new();
    for days in days {
        let (block, bytes) = rig.block(2 * MIB, *days);
        node.store.put(&block, bytes, &rig.guard).await.unwrap();
        blocks.push(block);
    }
    node.cache().forget(rig.guard.epoch()).await.unwrap();
    assert!(blocks.iter().all(|block| node.cache().contains(block) == Hotness::Cold));
    (rig, node, blocks)
}

fn begin(rig: &Rig, node: &Running, blocks: &[StoredBlock]) -> tokio::task::JoinHandle<Result<Reloaded, StoreError>> {
    let (store, wanted) = (Arc::clone(&node.store), blocks.iter().map(|block| (*block, rig.guard.clone())).collect());
    tokio::spawn(async move { store.reload(wanted).await })
}

#[tokio::test]
async fn what_a_revocation_erased_comes_back_newest_first_at_the_pace_that_is_set() {
    let (rig, node, blocks) = erased(70, &[3, 20, 0], |_| {}).await;
    let [older, cold, newest] = blocks[..] else { unreachable!("three") };
    let reload = begin(&rig, &node, &blocks);
    let held = || node.cache().stats().first().map_or(0, |stats| stats.entries);
    for parts in 1..=4 {
        eventually(|| held() == parts && rig.sim.clock().sleeping() == 1).await;
        // A while in which nothing may happen: the pace is the clock's, not the machine's.
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(held(), parts);
        let expected = match parts {
            1 => (Hotness::Partly, Hotness::Cold),
            2 => (Hotness::Hot, Hotness::Cold),
            3 => (Hotness::Hot, Hotness::Partly),
            _ => (Hotness::Hot, Hotness::Hot),
        };
        assert_eq!((node.cache().contains(&newest), node.cache().contains(&older)), expected);
        if parts == 1 {
            // Whoever asks meanwhile waits for nothing: the clock stands.
            node.read(&rig, &cold, 0..10).await;
        }
        rig.sim.clock().advance(Duration::from_secs(1));
    }
    let done = reload.await.unwrap().unwrap();
    assert_eq!(done, Reloaded { parts: 4, bytes: 4 * PART_LEN, full: false });
    assert_eq!(node.cache().contains(&cold), Hotness::Cold, "what is not hot is not brought back");
    let before = node.fetched();
    node.read(&rig, &newest, 0..newest.len).await;
    node.read(&rig, &older, 0..older.len).await;
    assert_eq!(node.fetched(), before, "every hit is back without a restart");
    assert_eq!(begin(&rig, &node, &blocks).await.unwrap().unwrap(), Reloaded::default(), "nothing is fetched twice");
}

#[tokio::test]
async fn a_reload_ends_at_once_when_the_key_goes_again() {
    let (rig, node, blocks) = erased(71, &[1, 0], |_| {}).await;
    let reload = begin(&rig, &node, &blocks);
    eventually(|| rig.part_files().len() == 1 && rig.sim.clock().sleeping() == 1).await;
    rig.guard.kill();
    node.cache().forget(rig.guard.epoch()).await.unwrap();
    eventually(|| rig.cache_files().is_empty()).await;
    let fetched = node.fetched();
    rig.sim.clock().advance(Duration::from_secs(1));
    assert!(matches!(reload.await.unwrap(), Err(StoreError::Guard(_))));
    assert_eq!((node.fetched(), rig.cache_files().len()), (fetched, 0));
}

#[tokio::test]
async fn a_full_cache_ends_a_reload_and_no_pace_means_none() {
    // Room for one block and no more: the newest is what it holds.
    let room = 2 * PART_LEN + PART_LEN / 2;
    let (rig, node, blocks) = erased(72, &[2, 1, 0], |config| config.size_bytes = Some(room)).await;
    let reload = begin(&rig, &node, &blocks);
    for parts in 1..=2 {
        eventually(|| rig.part_files().len() == parts && rig.sim.clock().sleeping() == 1).await;
        rig.sim.clock().advance(Duration::from_secs(1));
    }
    assert_eq!(reload.await.unwrap().unwrap(), Reloaded { parts: 2, bytes: 2 * PART_LEN, full: true });
    assert_eq!(node.cache().contains(&blocks[2]), Hotness::Hot);

    let (rig, node, blocks) = erased(73, &[0], |config| config.reload_bytes_per_second = 0).await;
    assert_eq!(begin(&rig, &node, &blocks).await.unwrap().unwrap(), Reloaded::default());
    assert_eq!(node.fetched(), 0);
}
