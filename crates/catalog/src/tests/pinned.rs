//! A table as of one commit: read later, read again, and at the same cost whatever else the table holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use strongroom_model::ErrorKind;

use super::plans::many_blocks;
use super::*;
use crate::{CompactionCommit, Shelf, WalkFrom};

const MANY: u64 = u64::MAX;

async fn at(site: &Site, seq: u64, range: TimeRange, shelf: &Shelf) -> (Vec<ObjectId>, u64) {
    let found = site.catalog.blocks_at(site.table, seq, range, shelf, MANY).await.unwrap();
    (found.blocks.iter().map(|block| block.object).collect(), found.rows_read)
}

async fn merge(site: &Site, window: Window, inputs: Vec<ObjectId>) -> ObjectId {
    let mut output = site.pend(window, 0).await;
    output.rows = 10 * inputs.len() as u64;
    let object = output.object;
    let merge = CompactionCommit { table: site.table, workspace: site.workspace, epoch: site.epoch, inputs, outputs: vec![output] };
    site.catalog.compaction_commit(site.writer, &merge).await.unwrap();
    object
}

#[tokio::test]
async fn what_a_reader_pinned_is_what_it_reads_however_late() {
    let site = Site::new().await;
    let shelf = Shelf::new(100);
    let (first, second) = (site.flush(hour(MIDNIGHT), 1).await, site.flush(hour(MIDNIGHT), 2).await);
    let before = site.catalog.pin(site.table).await.unwrap();
    assert_eq!((before.blocks, before.rows, before.bytes, before.flushed.len()), (2, 20, 2_000, 1));
    let merged = merge(&site, hour(MIDNIGHT), vec![first, second]).await;
    let newer = site.flush(hour(MIDNIGHT + 3_600), 3).await;
    let after = site.catalog.pin(site.table).await.unwrap();
    assert_eq!((after.blocks, after.rows), (2, 30));
    for _ in 0..2 {
        assert_eq!(at(&site, before.seq, TimeRange::ALL, &shelf).await.0, [second, first]);
        assert_eq!(at(&site, after.seq, TimeRange::ALL, &shelf).await.0, [newer, merged]);
    }
    // A block that is no longer live has lost its statistics: it is read without.
    let wanted: Vec<_> = [(MIDNIGHT, first), (MIDNIGHT, merged)].into();
    let cells = site.catalog.statistics(site.table, &wanted).await.unwrap();
    assert_eq!((cells.contains_key(&first), cells[&merged].as_slice()), (false, &b"sealed statistics"[..]));
    // Once they are forgotten, nobody reads fewer rows: it is an error, for the reader who came before alone.
    site.catalog.block_forget(&[first, second]).await.unwrap();
    let late = site.catalog.blocks_at(site.table, before.seq, TimeRange::ALL, &shelf, MANY).await.unwrap_err();
    assert_eq!((late.kind(), late.code()), (ErrorKind::Unavailable, "SnapshotGone"));
    assert_eq!(at(&site, after.seq, TimeRange::ALL, &shelf).await.0, [newer, merged]);
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_window_is_read_again_only_once_it_changed() {
    let site = Site::new().await;
    let shelf = Shelf::new(1_000);
    many_blocks(&site, 100).await;
    let range = seconds(MIDNIGHT, MIDNIGHT + 86_399);
    let now = || async { site.catalog.pin(site.table).await.unwrap().seq };
    let (blocks, read) = at(&site, now().await, range, &shelf).await;
    assert_eq!((blocks.len(), read), (24, 48), "24 windows, a block each");
    assert_eq!(at(&site, now().await, range, &shelf).await, (blocks, 24), "the numbers of the windows alone");
    site.flush(hour(MIDNIGHT + 7_200), 500).await;
    site.flush(hour(MIDNIGHT + 40 * 3_600), 501).await;
    let (blocks, read) = at(&site, now().await, range, &shelf).await;
    assert_eq!((blocks.len(), read), (25, 26), "the two blocks of the one window that changed");
    // A shelf that is too small serves all the same, and stays small.
    let small = Shelf::new(10);
    for _ in 0..2 {
        assert_eq!(at(&site, now().await, range, &small).await.0.len(), 25);
    }
    assert!(small.len() <= 10, "{}", small.len());
}

#[tokio::test]
async fn a_reader_who_would_look_at_too_many_blocks_is_told_so_before_one_is_read() {
    let site = Site::new().await;
    many_blocks(&site, 500).await;
    let shelf = Shelf::new(1_000);
    let error = site.catalog.blocks_at(site.table, 0, TimeRange::ALL, &shelf, 400).await.unwrap_err();
    assert_eq!((error.kind(), error.code(), error.to_string().contains("500")), (ErrorKind::TooLarge, "TooManyBlocks", true));
    assert!(shelf.is_empty());
    assert_eq!(site.catalog.blocks_at(site.table, 0, seconds(MIDNIGHT, MIDNIGHT + 9), &shelf, 400).await.unwrap().blocks.len(), 1);
}

#[tokio::test]
async fn live_blocks_without_statistics_are_an_error_here_too() {
    let site = Site::new().await;
    let block = site.flush(hour(MIDNIGHT), 1).await;
    site.sql("DELETE FROM block_stats").await;
    assert_eq!(site.catalog.statistics(site.table, &[(MIDNIGHT, block)]).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

/// Instructions of SQLite's machine, the measure that knows of every row it steps over.
async fn steps<T>(site: &Site, work: impl Future<Output = T>) -> (T, u64) {
    let count = Arc::new(AtomicU64::new(0));
    let handle = Arc::clone(&count);
    {
        let mut writer = site.catalog.writer().await.unwrap();
        let mut conn = writer.conn().lock_handle().await.unwrap();
        conn.set_progress_handler(1, move || {
            handle.fetch_add(1, Ordering::Relaxed);
            true
        });
    }
    let done = work.await;
    let mut writer = site.catalog.writer().await.unwrap();
    writer.conn().lock_handle().await.unwrap().remove_progress_handler();
    (done, count.load(Ordering::Relaxed))
}

#[tokio::test]
async fn what_a_reader_and_a_writer_cost_does_not_grow_with_blocks_elsewhere() {
    let mut costs = Vec::new();
    for blocks in [200, 20_000] {
        let site = Site::new().await;
        many_blocks(&site, blocks).await;
        let from = MIDNIGHT + 100 * 3_600;
        let range = seconds(from, from + 86_399);
        let cold = Shelf::new(0);
        let (pin, pinned) = steps(&site, site.catalog.pin(site.table)).await;
        let (found, read) = steps(&site, site.catalog.blocks_at(site.table, pin.unwrap().seq, range, &cold, MANY)).await;
        let found = found.unwrap().blocks;
        assert_eq!(found.len(), 24);
        let wanted: Vec<_> = found.iter().map(|block| (block.window.start, block.object)).collect();
        let (_, cells) = steps(&site, site.catalog.statistics(site.table, &wanted)).await;
        // Others of the catalog's work that is done again and again.
        let (_, flushed) = steps(&site, site.flush(hour(MIDNIGHT), 30_000)).await;
        let (_, candidates) = steps(&site, site.catalog.compaction_candidates(2, 64)).await;
        let (_, walk) = steps(&site, site.catalog.compaction_walk(WalkFrom::Start, 64)).await;
        let (_, inputs) = steps(&site, site.catalog.blocks_in(site.table, site.epoch, hour(MIDNIGHT))).await;
        let (gone, expired) = steps(&site, site.catalog.expire(site.table, MIDNIGHT + 5 * 3_600)).await;
        assert_eq!(gone.unwrap().len(), 6);
        let (_, tombstones) = steps(&site, site.catalog.tombstones(i64::MAX, 500)).await;
        costs.push([pinned, read, cells, flushed, candidates, walk, inputs, expired, tombstones]);
    }
    let (few, many) = (costs[0], costs[1]);
    for (few, many) in few.iter().zip(&many) {
        // A deeper tree takes a step or two more.
        assert!(*many <= few + few / 10 + 4, "{costs:?}");
        assert!(*few > 0, "{costs:?}");
    }
}
