use std::io;
use std::path::Path;

use object_store::ObjectStoreExt as _;
use parking_lot::Mutex;
use strongroom_buffer::{Reason, SealedConfig, SealedLog};
use strongroom_catalog::{GroupCommit, LonelyDay};
use strongroom_envelope::Aek;
use strongroom_world::WallTime;
use strongroom_world::sim::SimOp;

use super::*;
use crate::audit::{Event, Scribe, name};
use crate::{Expired, Inventory, Swept};

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn a_block_goes_when_its_whole_window_is_older_than_its_days() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(2)).await.unwrap();
    let (short, long) = (site.table(&shop, "Short").await, site.table(&shop, "Long").await);
    site.workspaces.set_table_retention(shop.id, &"Long".parse().unwrap(), Some(9)).await.unwrap();
    let old = site.block(&shop, short, 2 * DAY + 2 * HOUR).await;
    let at_the_edge = site.block(&shop, short, 2 * DAY).await;
    let young = site.block(&shop, short, HOUR).await;
    let kept_longer = site.block(&shop, long, 8 * DAY).await;

    let expired = site.retention.expire().await.unwrap();
    assert_eq!(expired, Expired { tables: 2, blocks: 1, rows: 5, bytes: 100, segments: 0 });
    assert!(!site.live(short).await.contains(&old));
    assert_eq!(site.live(short).await, [young, at_the_edge]);
    assert_eq!(site.live(long).await, [kept_longer]);
    site.sim.clock().advance(HOUR);
    assert_eq!(site.retention.expire().await.unwrap().blocks, 1);
    assert_eq!(site.live(short).await, [young]);
}

/// What a scribe was told.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<Event>>);

impl Scribe for Told {
    fn note(&self, event: Event) {
        self.0.lock().push(event);
    }
}

#[tokio::test]
async fn what_is_erased_for_its_age_is_told_and_by_whose_rules() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(2)).await.unwrap();
    let (table, own) = (site.table(&shop, "App").await, site.table(&shop, "StrongroomAudit").await);
    for table in [table, own] {
        site.block(&shop, table, 3 * DAY).await;
        site.block(&shop, table, HOUR).await;
    }
    // Requests that wait for a cluster's key, and are kept for a day.
    let (ms, random) = site.world.id_seed();
    let (cluster, account) = (ObjectId::mint(ms, random), AccountId::from_bytes([3; 16]));
    let owner = AccountRow { id: account, region: "here".to_owned(), cluster: Some(cluster.to_string()) };
    site.catalog.account_insert(&owner).await.unwrap();
    let rng = site.world.rng.as_ref();
    let aek = Aek::generate(AekId::mint(ms, random), rng);
    let epoch = Epoch { account, aek: aek.id() };
    let mmk = Arc::new(Mmk::generate(rng));
    let sealed = SealedLog::open(site.world.clone(), Path::new("/sealed"), mmk, SealedConfig::default()).unwrap();
    sealed.append(epoch, &aek.buffer_key(), Reason::Policy, 1, b"a request").await.unwrap();

    let retention = Retention::new(site.world.clone(), site.catalog.clone(), Arc::clone(&site.blocks), ControlConfig::default());
    let retention = retention.with_sealed(Arc::clone(&sealed), HOUR);
    let told = Arc::new(Told::default());
    retention.audited_by(Arc::clone(&told) as _);
    let events = || std::mem::take(&mut *told.0.lock());
    assert_eq!(retention.expire().await.unwrap().blocks, 2);
    let found = events();
    assert_eq!(found.iter().map(|event| &*event.event).collect::<Vec<_>>(), [name::ROWS_EXPIRED; 2]);
    let of = |table: &str| found.iter().find(|event| event.details["table"] == table).unwrap();
    let (rows, own) = (of("App"), of("StrongroomAudit"));
    assert_eq!(
        (rows.workspace, &rows.details["days"], &rows.details["blocks"], &rows.details["rows"]),
        (Some(shop.id), &2.into(), &1.into(), &5.into())
    );
    assert_eq!(own.workspace, None, "it would be a row of the table that just lost one");
    assert_eq!(own.details["workspace"], shop.id.to_string());
    retention.expire().await.unwrap();
    assert!(events().is_empty(), "once");

    for _ in 0..3 {
        site.sim.clock().advance(DAY);
        retention.expire().await.unwrap();
    }
    assert!(sealed.segments().is_empty());
    let found = events();
    let expired = found.iter().find(|event| event.event == name::BUFFER_EXPIRED).unwrap();
    assert_eq!((expired.cluster, expired.account), (Some(cluster), Some(account)));
    assert!(expired.details["bytes"].as_u64().unwrap() > 0 && expired.details["segment"].is_string(), "{expired:?}");
}

#[tokio::test]
async fn an_object_outlives_its_block_by_the_longest_query() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(1)).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    site.block(&shop, table, 3 * DAY).await;
    let stays = site.block(&shop, table, HOUR).await;
    site.retention.expire().await.unwrap();
    let grace = Duration::from_secs(ControlConfig::default().tombstone_grace_s);
    site.sim.clock().advance(grace);
    assert_eq!(site.retention.sweep().pass().await.unwrap(), Swept::default());
    assert_eq!(site.stored().await, 2);
    site.sim.clock().advance(Duration::from_millis(1));
    assert_eq!(site.retention.sweep().pass().await.unwrap(), Swept { deleted: 1, bytes: 100, ..Swept::default() });
    assert_eq!(site.stored().await, 1);
    assert_eq!(site.live(table).await, [stays]);
    assert!(site.catalog.tombstones(i64::MAX, 9).await.unwrap().is_empty());
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn only_blocks_announced_a_day_ago_are_given_up_and_none_that_go_live_later() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    let stuck = site.pend(&shop, table, HOUR).await;
    site.sim.clock().advance(DAY);
    let slow = site.pend(&shop, table, HOUR).await;
    assert_eq!(site.retention.sweep().pass().await.unwrap(), Swept::default());
    site.sim.clock().advance(Duration::from_millis(1));
    assert_eq!(site.retention.sweep().pass().await.unwrap().abandoned, 1);

    let commit = |block: &LiveBlock| FlushCommit {
        table,
        workspace: shop.id,
        epoch: site.epoch,
        through: Position(9),
        blocks: vec![block.clone()],
        batches: Vec::new(),
    };
    site.catalog.flush_commit(site.writer, &commit(&stuck)).await.unwrap_err();
    site.catalog.flush_commit(site.writer, &commit(&slow)).await.unwrap();
    site.sim.clock().advance(HOUR);
    assert_eq!(site.retention.sweep().pass().await.unwrap().deleted, 1);
    assert_eq!(site.live(table).await, [slow.object]);
    assert_eq!(site.stored().await, 1);
}

#[tokio::test]
async fn filters_put_and_never_committed_are_swept_and_those_that_ended_go_after_the_longest_query() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), None).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    let block = site.block(&shop, table, HOUR).await;
    let row = site.catalog.live_objects().await.unwrap().into_iter().find(|row| row.object == block).unwrap();
    let day = row.window.start - row.window.start.rem_euclid(86_400);
    let lonely = LonelyDay { table, workspace: shop.id, epoch: site.epoch, day, blocks: 1 };
    let put = async || {
        let (ms, random) = site.world.id_seed();
        let object = ObjectId::mint(ms, random);
        site.catalog.group_pend(site.writer, object, &lonely).await.unwrap();
        let key = ObjectKey { account: site.epoch.account, workspace: shop.id, table, window_start: day, object };
        site.blocks.objects().put(&key.path(), vec![7; 50].into()).await.unwrap();
        object
    };
    // Whoever made the first died before the commit.
    put().await;
    let group = put().await;
    let done = GroupCommit { object: group, sealed_len: 50, plain_len: 40, arrived_ms: 0, blocks: vec![block] };
    site.catalog.group_commit(site.writer, &done).await.unwrap();
    let inventory = site.retention.sweep().inventory().await.unwrap();
    assert_eq!((inventory.sound, inventory.unknown.len(), inventory.resized.len()), (1, 0, 0), "both are known");
    site.sim.clock().advance(DAY + Duration::from_millis(1));
    assert_eq!(site.retention.sweep().pass().await.unwrap().abandoned, 1);
    site.sim.clock().advance(HOUR);
    let swept = site.retention.sweep().pass().await.unwrap();
    assert_eq!((swept.deleted, site.stored().await), (1, 2), "the block and the group that names it");
    // Its block expires, and it with it.
    site.workspaces.set_table_retention(shop.id, &"Logs".parse().unwrap(), Some(1)).await.unwrap();
    site.sim.clock().advance(DAY);
    assert_eq!(site.retention.expire().await.unwrap().blocks, 1);
    assert_eq!(site.retention.sweep().pass().await.unwrap(), Swept::default());
    site.sim.clock().advance(HOUR);
    let swept = site.retention.sweep().pass().await.unwrap();
    assert_eq!((swept.deleted, swept.bytes, site.stored().await), (2, 150, 0));
    assert!(site.catalog.groups().await.unwrap().is_empty());
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn an_object_that_cannot_be_deleted_keeps_its_row_for_the_next_sweep() {
    let site = Site::with(ControlConfig { sweep_batch: 2, ..ControlConfig::default() }).await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(1)).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    for _ in 0..5 {
        site.block(&shop, table, 3 * DAY).await;
    }
    site.retention.expire().await.unwrap();
    site.sim.clock().advance(DAY);
    site.sim.fs().fail_next(SimOp::Remove, io::ErrorKind::PermissionDenied);
    let first = site.retention.sweep().pass().await.unwrap();
    assert_eq!((first.deleted, first.failed), (1, 1));
    assert_eq!(site.catalog.tombstones(i64::MAX, 9).await.unwrap().len(), 4);
    let second = site.retention.sweep().pass().await.unwrap();
    assert_eq!((second.deleted, second.failed), (4, 0));
    assert_eq!(site.stored().await, 0);
}

#[tokio::test]
async fn a_sweep_that_died_between_object_and_row_is_finished_by_the_next() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(1)).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    site.block(&shop, table, 3 * DAY).await;
    site.retention.expire().await.unwrap();
    site.sim.clock().advance(DAY);
    let (gone, _) = site.blocks.list().await.unwrap()[0];
    site.blocks.delete(&gone).await.unwrap();
    assert_eq!(site.retention.sweep().pass().await.unwrap().deleted, 1);
    assert!(site.catalog.tombstones(i64::MAX, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_the_catalog_never_heard_of_is_reported_and_left() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(1)).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    site.block(&shop, table, HOUR).await;
    let lost = site.block(&shop, table, HOUR).await;
    let cut = site.block(&shop, table, HOUR).await;
    site.pend(&shop, table, HOUR).await;
    site.block(&shop, table, 3 * DAY).await;
    site.retention.expire().await.unwrap();
    let snapshot = site.catalog.snapshot(table, TimeRange::ALL).await.unwrap();
    let window = snapshot.blocks[0].window;
    site.blocks.delete(&site.key(&shop, table, window, lost)).await.unwrap();
    let short = site.key(&shop, table, window, cut);
    site.blocks.delete(&short).await.unwrap();
    site.put(&short, 99).await;
    let stranger = site.key(&shop, table, window, site.object());
    site.put(&stranger, 42).await;

    site.sim.clock().advance(2 * DAY);
    let inventory = site.retention.sweep().inventory().await.unwrap();
    let expected = Inventory { sound: 1, missing: vec![lost], resized: vec![cut], unknown: vec![stranger], unknown_bytes: 42 };
    assert_eq!(inventory, expected);
    site.retention.sweep().pass().await.unwrap();
    assert!(site.blocks.list().await.unwrap().contains(&(stranger, 42)));
}

#[tokio::test]
async fn a_wall_clock_set_forward_expires_nothing() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(2)).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    site.block(&shop, table, DAY).await;
    site.retention.expire().await.unwrap();
    let right = site.world.clock.wall();
    site.sim.clock().set_wall(WallTime(right.0 + i64::try_from((400 * DAY).as_nanos()).unwrap()));
    assert_eq!(site.retention.expire().await.unwrap(), Expired::default());
    assert_eq!(site.live(table).await.len(), 1);
    // Set right again: business as usual, and time that really passed counts.
    site.sim.clock().set_wall(right);
    assert_eq!(site.retention.expire().await.unwrap().blocks, 0);
    site.sim.clock().advance(2 * DAY);
    assert_eq!(site.retention.expire().await.unwrap().blocks, 1);
}

#[tokio::test]
async fn the_timer_runs_until_told_to_stop() {
    let site = Site::new().await;
    let shop = site.workspaces.create("shop".parse().unwrap(), Some(1)).await.unwrap();
    let table = site.table(&shop, "Logs").await;
    site.block(&shop, table, 3 * DAY).await;
    let (sender, stopping) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(Arc::clone(&site.retention).run(stopping));
    while site.sim.clock().sleeping() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(site.live(table).await.is_empty());
    site.sim.clock().advance(HOUR);
    while site.stored().await > 0 {
        tokio::task::yield_now().await;
    }
    sender.send(true).unwrap();
    running.await.unwrap();
}
