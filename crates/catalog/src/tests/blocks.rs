use strongroom_model::{ErrorKind, Position, TableName, TimeRange};

use super::*;
use crate::{BlockState, Candidate, CatalogError, CompactionCommit, RewriteCommit, SMALL_BLOCK_BYTES, WalkFrom};

#[tokio::test]
async fn a_flush_makes_blocks_positions_and_batch_ids_visible_together() {
    let site = Site::new().await;
    let first = site.pend(hour(MIDNIGHT), 9).await;
    let second = site.pend(day(MIDNIGHT - 86_400 * 3), 9).await;
    assert_eq!(site.live(TimeRange::ALL).await, []);
    let mut commit = site.commit(9, vec![first.clone(), second.clone()]);
    commit.batches = vec![batch(site.workspace, 1, 500)];
    site.catalog.flush_commit(site.writer, &commit).await.unwrap();

    let snapshot = site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap();
    assert_eq!(snapshot.flushed, [(site.epoch, Position(9))]);
    assert_eq!(snapshot.seq, 1);
    let row = &snapshot.blocks[0];
    assert_eq!((row.object, row.state, row.stats.as_slice()), (first.object, BlockState::Live, &b"sealed statistics"[..]));
    assert_eq!((row.rows, row.sealed_len, row.plain_len, row.sha256), (10, 1_000, 900, first.sha256));
    assert_eq!((row.time, row.window, row.epoch, row.workspace), (first.time, first.window, site.epoch, site.workspace));
    assert_eq!((row.arrived_ms, row.added_seq, row.removed_seq), (77, Some(1), None));
    assert_eq!(snapshot.blocks[1].object, second.object);
    assert_eq!(site.catalog.batches(0).await.unwrap(), commit.batches);
    assert_eq!(site.catalog.flushed_all().await.unwrap(), [(site.table, site.epoch, Position(9))]);
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_flush_that_fails_at_its_last_block_changes_nothing() {
    let site = Site::new().await;
    let good = site.pend(hour(MIDNIGHT), 9).await;
    let never_announced = live(object(), hour(MIDNIGHT), 3);
    let mut commit = site.commit(9, vec![good.clone(), never_announced]);
    commit.batches = vec![batch(site.workspace, 1, 500)];
    let error = site.catalog.flush_commit(site.writer, &commit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);

    let snapshot = site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap();
    assert_eq!((snapshot.blocks.len(), snapshot.flushed.len(), snapshot.seq), (0, 0, 0));
    assert!(site.catalog.batches(0).await.unwrap().is_empty());
    assert_eq!(site.catalog.pending(i64::MAX, 9).await.unwrap()[0].object, good.object);
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn the_same_flush_again_is_done_and_another_of_the_same_positions_is_refused() {
    let site = Site::new().await;
    let block = site.pend(hour(MIDNIGHT), 9).await;
    let commit = site.commit(9, vec![block]);
    site.catalog.flush_commit(site.writer, &commit).await.unwrap();
    site.catalog.flush_commit(site.writer, &commit).await.unwrap();
    assert_eq!(site.live(TimeRange::ALL).await.len(), 1);

    let twin = site.pend(hour(MIDNIGHT), 9).await;
    let error = site.catalog.flush_commit(site.writer, &site.commit(9, vec![twin])).await.unwrap_err();
    assert!(matches!(error, CatalogError::Conflict { .. }), "{error}");
    assert_eq!(site.live(TimeRange::ALL).await.len(), 1);
}

#[tokio::test]
async fn flushed_through_moves_only_forward_and_apart_for_each_epoch() {
    let mut site = Site::new().await;
    site.flush(hour(MIDNIGHT), 9).await;
    let behind = site.pend(hour(MIDNIGHT), 8).await;
    assert!(site.catalog.flush_commit(site.writer, &site.commit(8, vec![behind])).await.is_err());
    site.catalog.flush_commit(site.writer, &site.commit(12, vec![])).await.unwrap();
    let old = site.epoch;
    let next = aek(site.epoch.account, 2, true);
    site.catalog.aek_insert(&next).await.unwrap();
    site.epoch.aek = next.aek;
    site.flush(hour(MIDNIGHT), 3).await;
    let mut flushed = site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap().flushed;
    flushed.sort();
    assert_eq!(flushed, [(old, Position(12)), (site.epoch, Position(3))]);

    let mut writer = site.catalog.writer().await.unwrap();
    assert!(sqlx::query("UPDATE flushed SET through = 1").execute(writer.conn()).await.is_err());
}

#[tokio::test]
async fn an_older_writer_can_announce_flush_and_compact_nothing() {
    let site = Site::new().await;
    let kept = site.flush(hour(MIDNIGHT), 1).await;
    let block = site.pend(hour(MIDNIGHT), 9).await;
    let newer = site.catalog.acquire_writer().await.unwrap();
    assert!(newer > site.writer);

    let fenced = |error: CatalogError| matches!(error, CatalogError::Fenced { held, reigning } if held == site.writer && reigning == newer);
    let zombie = [site.pending(hour(MIDNIGHT), 9)];
    assert!(fenced(site.catalog.blocks_pend(site.writer, &zombie).await.unwrap_err()));
    assert!(fenced(site.catalog.flush_commit(site.writer, &site.commit(9, vec![block.clone()])).await.unwrap_err()));
    let merge = CompactionCommit {
        table: site.table,
        workspace: site.workspace,
        epoch: site.epoch,
        inputs: vec![kept],
        outputs: vec![block.clone()],
    };
    assert!(fenced(site.catalog.compaction_commit(site.writer, &merge).await.unwrap_err()));
    assert_eq!(site.live(TimeRange::ALL).await, [kept]);
    assert_eq!(site.catalog.pending(i64::MAX, 9).await.unwrap().len(), 1);
    site.catalog.flush_commit(newer, &site.commit(9, vec![block])).await.unwrap();
}

#[tokio::test]
async fn a_block_stays_in_the_place_it_was_announced_for() {
    let site = Site::new().await;
    let error = |result: Result<(), CatalogError>| result.unwrap_err().kind();
    let moved = site.pend(hour(MIDNIGHT), 9).await;
    let elsewhere = live(moved.object, hour(MIDNIGHT + 3_600), 10);
    assert_eq!(error(site.catalog.flush_commit(site.writer, &site.commit(9, vec![elsewhere])).await), ErrorKind::Conflict);
    let longer = LiveBlock { window: day(MIDNIGHT), ..moved.clone() };
    assert_eq!(error(site.catalog.flush_commit(site.writer, &site.commit(9, vec![longer])).await), ErrorKind::Conflict);
    let mut stray = moved.clone();
    stray.time.end = (MIDNIGHT + 3_600) * NS;
    assert_eq!(error(site.catalog.flush_commit(site.writer, &site.commit(9, vec![stray])).await), ErrorKind::Invalid);
    let empty = LiveBlock { rows: 0, ..moved.clone() };
    assert_eq!(error(site.catalog.flush_commit(site.writer, &site.commit(9, vec![empty])).await), ErrorKind::Invalid);
    let mut other_epoch = site.commit(9, vec![moved.clone()]);
    other_epoch.epoch.aek = aek(site.epoch.account, 9, false).aek;
    assert_eq!(error(site.catalog.flush_commit(site.writer, &other_epoch).await), ErrorKind::Conflict);
    site.catalog.flush_commit(site.writer, &site.commit(9, vec![moved])).await.unwrap();

    let skewed = site.pending(hour(MIDNIGHT + 1), 10);
    assert_eq!(error(site.catalog.blocks_pend(site.writer, &[skewed]).await), ErrorKind::Invalid);
    let mut homeless = site.pending(hour(MIDNIGHT), 10);
    homeless.table = TableId::NIL;
    assert_eq!(error(site.catalog.blocks_pend(site.writer, &[homeless]).await), ErrorKind::NotFound);
    let twice = site.pending(hour(MIDNIGHT), 10);
    assert_eq!(error(site.catalog.blocks_pend(site.writer, &[twice.clone(), twice]).await), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_time_range_finds_the_hours_and_the_days_it_touches_and_no_others() {
    let site = Site::new().await;
    let mut through = 0;
    let mut put = async |window: Window, from: i64, to: i64| {
        through += 1;
        let mut block = site.pend(window, through).await;
        block.time = seconds(from, to);
        let object = block.object;
        site.catalog.flush_commit(site.writer, &site.commit(through, vec![block])).await.unwrap();
        object
    };
    let noon = MIDNIGHT + 12 * 3_600;
    let whole_day = put(day(MIDNIGHT), MIDNIGHT, MIDNIGHT + 86_399).await;
    let morning_of_day = put(day(MIDNIGHT), MIDNIGHT, MIDNIGHT + 3_600).await;
    let yesterday = put(day(MIDNIGHT - 86_400), MIDNIGHT - 86_400, MIDNIGHT - 1).await;
    let eleven = put(hour(noon - 3_600), noon - 3_600, noon - 1).await;
    let twelve = put(hour(noon), noon, noon + 3_599).await;
    let one = put(hour(noon + 3_600), noon + 3_600, noon + 7_199).await;

    // A range that starts in mid-day meets the day's block that began at midnight, not the one whose rows are all earlier.
    assert_eq!(site.live(seconds(noon, noon + 3_599)).await, [twelve, whole_day]);
    assert_eq!(site.live(seconds(noon - 1, noon - 1)).await, [eleven, whole_day]);
    assert_eq!(site.live(seconds(MIDNIGHT - 1, MIDNIGHT)).await, [morning_of_day, whole_day, yesterday]);
    assert_eq!(site.live(seconds(noon + 86_400, noon + 90_000)).await, []);
    assert_eq!(site.live(TimeRange::ALL).await, [one, twelve, eleven, morning_of_day, whole_day, yesterday]);
    let last_instant = TimeRange { start: (noon + 3_600) * NS - 1, end: (noon + 3_600) * NS - 1 };
    assert_eq!(site.live(last_instant).await, [whole_day]);
}

#[tokio::test]
async fn windows_at_both_ends_of_time_are_found() {
    let site = Site::new().await;
    let mut ends = Vec::new();
    for (through, at) in [(1, i64::MIN), (2, i64::MAX)] {
        let window = Window::of(at, if at < 0 { 0 } else { at });
        let mut block = site.pend(window, through).await;
        block.time = TimeRange { start: at, end: at };
        ends.push(block.object);
        site.catalog.flush_commit(site.writer, &site.commit(through, vec![block])).await.unwrap();
        assert_eq!(site.live(TimeRange { start: at, end: at }).await, ends[ends.len() - 1..]);
    }
    assert_eq!(site.live(TimeRange::ALL).await.len(), 2);
}

#[tokio::test]
async fn one_table_never_sees_anothers_blocks() {
    let site = Site::new().await;
    site.flush(hour(MIDNIGHT), 1).await;
    let other = site.catalog.table_ensure(site.workspace, &"Other".parse::<TableName>().unwrap()).await.unwrap();
    let snapshot = site.catalog.snapshot(other.id, TimeRange::ALL).await.unwrap();
    assert!(snapshot.blocks.is_empty() && snapshot.flushed.is_empty());
}

fn merge(site: &Site, inputs: &[ObjectId], outputs: Vec<LiveBlock>) -> CompactionCommit {
    CompactionCommit { table: site.table, workspace: site.workspace, epoch: site.epoch, inputs: inputs.to_vec(), outputs }
}

#[tokio::test]
async fn a_compaction_swaps_its_inputs_for_its_output_in_one_step() {
    let site = Site::new().await;
    let inputs = [site.flush(hour(MIDNIGHT), 1).await, site.flush(hour(MIDNIGHT), 2).await];
    let candidates = site.catalog.compaction_candidates(2, 9).await.unwrap();
    assert_eq!(candidates.len(), 1);
    assert_eq!((candidates[0].table, candidates[0].epoch, candidates[0].window), (site.table, site.epoch, hour(MIDNIGHT)));
    assert_eq!((candidates[0].count, candidates[0].bytes, candidates[0].workspace), (2, 2_000, site.workspace));
    let in_window = site.catalog.blocks_in(site.table, site.epoch, hour(MIDNIGHT)).await.unwrap();
    assert_eq!(in_window.iter().map(|row| row.object).collect::<Vec<_>>(), inputs);

    let mut output = site.pend(hour(MIDNIGHT), 0).await;
    output.rows = 20;
    output.level = 1;
    let commit = merge(&site, &inputs, vec![output.clone()]);
    site.catalog.compaction_commit(site.writer, &commit).await.unwrap();
    let snapshot = site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap();
    assert_eq!(snapshot.blocks.iter().map(|row| (row.object, row.level)).collect::<Vec<_>>(), [(output.object, 1)]);
    assert_eq!((snapshot.seq, snapshot.flushed[0].1), (3, Position(2)));
    let tombstones = site.catalog.tombstones(i64::MAX, 9).await.unwrap();
    assert_eq!(tombstones.len(), 2);
    assert!(tombstones.iter().all(|row| row.state == BlockState::Tombstone && row.removed_seq == Some(3) && row.stats.is_empty()));
    assert!(site.catalog.compaction_candidates(2, 9).await.unwrap().is_empty());
    // The same again is done; the catalog is as sound as before.
    site.catalog.compaction_commit(site.writer, &commit).await.unwrap();
    assert_eq!(site.live(TimeRange::ALL).await, [output.object]);
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_compaction_whose_input_is_gone_conflicts_and_keeps_the_rest() {
    let site = Site::new().await;
    let inputs = [site.flush(hour(MIDNIGHT), 1).await, site.flush(hour(MIDNIGHT), 2).await];
    let mut first = site.pend(hour(MIDNIGHT), 0).await;
    first.rows = 20;
    let mut second = site.pend(hour(MIDNIGHT), 0).await;
    second.rows = 20;
    site.catalog.compaction_commit(site.writer, &merge(&site, &inputs, vec![first.clone()])).await.unwrap();
    let error = site.catalog.compaction_commit(site.writer, &merge(&site, &inputs, vec![second])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(site.live(TimeRange::ALL).await, [first.object]);
}

#[tokio::test]
async fn a_compaction_keeps_every_row_and_stays_in_its_window() {
    let site = Site::new().await;
    let here = site.flush(hour(MIDNIGHT), 1).await;
    let there = site.flush(hour(MIDNIGHT + 3_600), 2).await;
    let mut output = site.pend(hour(MIDNIGHT), 0).await;
    let refused = async |inputs: &[ObjectId], output: LiveBlock| {
        site.catalog.compaction_commit(site.writer, &merge(&site, inputs, vec![output])).await.unwrap_err().kind()
    };
    output.rows = 9;
    assert_eq!(refused(&[here], output.clone()).await, ErrorKind::Invalid);
    output.rows = 20;
    assert_eq!(refused(&[here, there], output.clone()).await, ErrorKind::Invalid);
    assert_eq!(refused(&[here, here], output.clone()).await, ErrorKind::Invalid);
    assert_eq!(refused(&[], output.clone()).await, ErrorKind::Invalid);
    assert_eq!(site.live(TimeRange::ALL).await.len(), 2);
}

#[tokio::test]
async fn large_blocks_are_no_candidates() {
    let site = Site::new().await;
    for through in 1..=3 {
        let mut block = site.pend(hour(MIDNIGHT), through).await;
        block.sealed_len = SMALL_BLOCK_BYTES - 2 + through;
        site.catalog.flush_commit(site.writer, &site.commit(through, vec![block])).await.unwrap();
    }
    // One byte below the bound counts, the bound itself does not.
    assert!(site.catalog.compaction_candidates(2, 9).await.unwrap().is_empty());
    site.flush(hour(MIDNIGHT), 9).await;
    assert_eq!(site.catalog.compaction_candidates(2, 9).await.unwrap()[0].count, 2);
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_window_with_more_small_blocks_comes_first() {
    let site = Site::new().await;
    for (through, start) in [(1, 0), (2, 0), (3, 3_600), (4, 3_600), (5, 3_600), (6, 7_200)] {
        site.flush(hour(MIDNIGHT + start), through).await;
    }
    let windows: Vec<_> =
        site.catalog.compaction_candidates(2, 9).await.unwrap().iter().map(|one| (one.window.start - MIDNIGHT, one.count)).collect();
    assert_eq!(windows, [(3_600, 3), (0, 2)]);
    assert_eq!(site.catalog.compaction_candidates(2, 1).await.unwrap().len(), 1);
    assert_eq!(site.catalog.compaction_candidates(3, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_walk_comes_round_to_each_window_whatever_the_others_hold() {
    let site = Site::new().await;
    let mut tables = vec![site.table];
    for n in 0..99 {
        tables.push(site.catalog.table_ensure(site.workspace, &format!("Busy{n}").parse::<TableName>().unwrap()).await.unwrap().id);
    }
    // A hundred busy tables; one of them has a past hour with two blocks, too.
    let mut past = None;
    for (n, table) in tables.into_iter().enumerate() {
        let site = Site { catalog: site.catalog.clone(), table, ..site };
        for through in 1..=if n == 50 { 5 } else { 3 } {
            site.flush(hour(if through > 3 { MIDNIGHT - 3_600 } else { MIDNIGHT }), through).await;
        }
        past = past.or((n == 50).then_some(table));
    }
    let of_past = |found: &[Candidate]| found.iter().any(|one| Some(one.table) == past && one.window == hour(MIDNIGHT - 3_600));
    assert!(!of_past(&site.catalog.compaction_candidates(2, 64).await.unwrap()), "by number alone it would not be seen");
    let (mut from, mut seen) = (WalkFrom::Start, Vec::new());
    loop {
        let found = site.catalog.compaction_walk(from, 16).await.unwrap();
        assert!(found.len() <= 16);
        seen.extend_from_slice(&found);
        let Some(last) = found.last() else { break };
        from = WalkFrom::after(last);
    }
    assert!(of_past(&seen));
    assert_eq!(seen.len(), 101);
    let key = |one: &Candidate| (one.table, one.window.start, one.window.length, one.epoch.aek);
    assert!(seen.is_sorted_by(|a, b| key(a) < key(b)), "by table, each once, the oldest window first");
    assert!(seen.iter().all(|one| one.last_ms > 1_700_000_000_000), "they know when they last got a block");
    // Behind a table comes the next.
    let at = seen.iter().position(|one| Some(one.table) == past).unwrap();
    let behind = site.catalog.compaction_walk(WalkFrom::AfterTable(past.unwrap()), 1).await.unwrap();
    assert_eq!(behind, seen[at + 2..=at + 2]);
}

#[tokio::test]
async fn expiry_takes_the_windows_that_ended_and_only_those() {
    let site = Site::new().await;
    let old_hour = site.flush(hour(MIDNIGHT), 1).await;
    let old_day = site.flush(day(MIDNIGHT - 86_400), 2).await;
    let running_day = site.flush(day(MIDNIGHT), 3).await;
    let young = site.flush(hour(MIDNIGHT + 3_600), 4).await;
    let unfinished = site.pend(hour(MIDNIGHT), 5).await;

    let cut = MIDNIGHT + 3_600;
    let expired = site.catalog.expire(site.table, cut).await.unwrap();
    assert_eq!(expired.iter().map(|row| row.object).collect::<Vec<_>>(), [old_day, old_hour]);
    assert!(expired.iter().all(|row| row.state == BlockState::Tombstone));
    assert_eq!(site.live(TimeRange::ALL).await, [young, running_day]);
    assert_eq!(site.catalog.pending(i64::MAX, 9).await.unwrap()[0].object, unfinished.object);
    assert_eq!(site.catalog.tombstones(i64::MAX, 9).await.unwrap(), {
        let mut by_age = expired.clone();
        by_age.sort_by_key(|row| (row.since_ms, row.window.start));
        by_age
    });
    assert!(site.catalog.expire(site.table, cut).await.unwrap().is_empty());
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_tombstone_is_forgotten_and_a_live_block_never() {
    let site = Site::new().await;
    let gone = site.flush(hour(MIDNIGHT), 1).await;
    let stays = site.flush(hour(MIDNIGHT + 86_400), 2).await;
    site.catalog.expire(site.table, MIDNIGHT + 3_600).await.unwrap();
    let now_ms = site.catalog.now_ms();
    assert!(site.catalog.tombstones(now_ms - 60_000, 9).await.unwrap().is_empty());
    assert_eq!(site.catalog.tombstones(now_ms + 60_000, 9).await.unwrap().len(), 1);

    assert_eq!(site.catalog.block_forget(&[gone, stays]).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(site.catalog.tombstones(i64::MAX, 9).await.unwrap().len(), 1);
    site.catalog.block_forget(&[gone, object()]).await.unwrap();
    assert!(site.catalog.tombstones(i64::MAX, 9).await.unwrap().is_empty());
    assert_eq!(site.live(TimeRange::ALL).await, [stays]);
}

#[tokio::test]
async fn an_abandoned_block_can_no_longer_go_live() {
    let site = Site::new().await;
    let slow = site.pend(hour(MIDNIGHT), 9).await;
    let now_ms = site.catalog.now_ms();
    assert!(site.catalog.pending_abandon(now_ms - 60_000, 9).await.unwrap().is_empty());
    let abandoned = site.catalog.pending_abandon(now_ms + 60_000, 9).await.unwrap();
    assert_eq!(abandoned.iter().map(|row| row.object).collect::<Vec<_>>(), [slow.object]);
    let error = site.catalog.flush_commit(site.writer, &site.commit(9, vec![slow.clone()])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(site.catalog.tombstones(i64::MAX, 9).await.unwrap()[0].object, slow.object);
    assert!(site.catalog.pending(i64::MAX, 9).await.unwrap().is_empty());
    site.catalog.block_forget(&[slow.object]).await.unwrap();
    site.catalog.verify().await.unwrap();
}

#[tokio::test]
async fn a_live_block_without_statistics_is_an_error_and_not_a_missing_row() {
    let site = Site::new().await;
    site.flush(hour(MIDNIGHT), 1).await;
    site.sql("DELETE FROM block_stats").await;
    let error = site.catalog.snapshot(site.table, TimeRange::ALL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(matches!(site.catalog.verify().await.unwrap_err(), CatalogError::Broken { rule: "a live block has statistics", count: 1 }));
    assert_eq!(site.catalog.live_objects().await.unwrap().len(), 1);
}

#[tokio::test]
async fn batch_ids_are_kept_for_their_time_and_then_forgotten() {
    let site = Site::new().await;
    let mut commit = site.commit(1, vec![]);
    commit.batches = vec![batch(site.workspace, 1, 100), batch(site.workspace, 2, 200)];
    site.catalog.flush_commit(site.writer, &commit).await.unwrap();
    // An id used anew after its day gets the new answer.
    let mut again = site.commit(2, vec![]);
    again.batches = vec![BatchRow { reply: vec![9], at_ms: 300, ..batch(site.workspace, 1, 0) }];
    site.catalog.flush_commit(site.writer, &again).await.unwrap();
    let kept = site.catalog.batches(200).await.unwrap();
    assert_eq!(kept.iter().map(|row| (row.id_sha256[0], row.reply.clone())).collect::<Vec<_>>(), [(2, vec![2]), (1, vec![9])]);
    assert_eq!(site.catalog.batches_trim(300).await.unwrap(), 1);
    assert_eq!(site.catalog.batches(0).await.unwrap(), again.batches);
}

#[tokio::test]
async fn a_block_moves_to_another_epoch_whole_and_an_epoch_ends_when_nothing_names_it() {
    let site = Site::new().await;
    let account = site.epoch.account;
    let next = aek(account, 2, true);
    site.catalog.aek_insert(&next).await.unwrap();
    let to = Epoch { account, aek: next.aek };
    let input = site.flush(hour(MIDNIGHT), 9).await;
    let before = site.catalog.blocks_under(site.epoch, None, 10).await.unwrap();
    assert_eq!((before.len(), before[0].object, before[0].stats.is_empty()), (1, input, false));
    assert!(site.catalog.blocks_under(site.epoch, Some(WorkspaceId::NIL), 10).await.unwrap().is_empty());
    let row = PendingBlock { epoch: to, ..site.pending(hour(MIDNIGHT), 0) };
    site.catalog.blocks_pend(site.writer, std::slice::from_ref(&row)).await.unwrap();
    let output = LiveBlock { time: before[0].time, ..live(row.object, hour(MIDNIGHT), before[0].rows) };
    let rewrite = RewriteCommit { table: site.table, workspace: site.workspace, to, input, output };
    let fewer = RewriteCommit { output: LiveBlock { rows: before[0].rows - 1, ..rewrite.output.clone() }, ..rewrite.clone() };
    assert_eq!(site.catalog.rewrite_commit(site.writer, &fewer).await.unwrap_err().kind(), ErrorKind::Invalid);
    let same = RewriteCommit { to: site.epoch, ..rewrite.clone() };
    assert_eq!(site.catalog.rewrite_commit(site.writer, &same).await.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(site.catalog.aek_end(site.epoch).await.unwrap_err().kind(), ErrorKind::Conflict, "a block names it");
    for _ in 0..2 {
        site.catalog.rewrite_commit(site.writer, &rewrite).await.unwrap();
    }
    let gone = RewriteCommit { output: live(object(), hour(MIDNIGHT), 10), ..rewrite.clone() };
    assert_eq!(site.catalog.rewrite_commit(site.writer, &gone).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(site.live(TimeRange::ALL).await, [row.object]);
    let held = site.catalog.holdings(account).await.unwrap();
    assert_eq!(held.iter().map(|held| (held.aek, held.blocks)).collect::<Vec<_>>(), [(to.aek, 1)]);
    let left = site.catalog.leftovers(site.epoch.aek).await.unwrap();
    assert_eq!((left.live, left.others), (0, 1));
    assert_eq!(site.catalog.aek_end(site.epoch).await.unwrap_err().kind(), ErrorKind::Conflict, "its object waits for a reader");
    site.catalog.block_forget(&[input]).await.unwrap();
    assert_eq!(site.catalog.aek_end(to).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(site.catalog.aek_end(site.epoch).await.unwrap());
    assert!(!site.catalog.aek_end(site.epoch).await.unwrap());
    assert_eq!(site.catalog.aek(site.epoch.aek).await.unwrap(), None);
    assert!(site.catalog.flushed_all().await.unwrap().is_empty());
    site.catalog.verify().await.unwrap();
}
