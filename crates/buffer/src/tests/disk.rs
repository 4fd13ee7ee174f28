//! Failing syncs, full disks, limits, and the writer's thread.

use std::io::ErrorKind as Io;
use std::path::Path;
use std::sync::Arc;

use strongroom_model::{ErrorKind, Position};
use strongroom_world::sim::SimOp;

use super::{DIR, Site, answer, append, epoch, guard, held, record, table};
use crate::{Buffer, BufferConfig, BufferError, Record};

#[test]
fn what_waits_together_is_synced_once_and_kept_in_order() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[0])).unwrap();
    let before = site.sim.fs().syncs();
    let waiting: Vec<_> = (1..20).map(|id| buffer.enqueue(&guard(1), record(0, &[id])).unwrap()).collect();
    buffer.turn();
    assert_eq!(site.sim.fs().syncs(), before + 1);
    let positions: Vec<Position> = waiting.into_iter().map(|waiting| answer(waiting).unwrap()).collect();
    assert!(positions.is_sorted() && positions[18].0 - positions[0].0 == 18);
}

#[test]
fn a_group_is_bounded_in_bytes_and_in_records() {
    let mut site = Site::new(1);
    site.config.group_records_max = 3;
    site.config.group_bytes_max = 1_500;
    let buffer = site.up();
    let small: Vec<_> = (0..4).map(|id| buffer.enqueue(&guard(1), record(0, &[id])).unwrap()).collect();
    buffer.turn();
    let done = small.into_iter().map(|mut waiting| usize::from(waiting.try_recv().is_ok())).sum::<usize>();
    assert_eq!(done, 3);
    buffer.turn();
    let ids: Vec<i64> = (10..100).collect();
    let mut large: Vec<_> = (0..2).map(|_| buffer.enqueue(&guard(1), record(0, &ids)).unwrap()).collect();
    buffer.turn();
    assert!(large[0].try_recv().is_ok() && large[1].try_recv().is_err(), "one is over the bound alone and goes alone");
}

#[test]
fn a_failed_sync_gives_up_the_segment_and_never_acks_what_was_in_it() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    site.sim.fs().fail_next(SimOp::Sync, Io::Other);
    let syncs = site.sim.fs().syncs();
    let error = append(&buffer, record(0, &[2])).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Unavailable, "StorageFailed"));
    assert_eq!(site.sim.fs().syncs(), syncs, "never tried again");
    assert_eq!(held(&buffer, 0), [1]);
    append(&buffer, record(0, &[3])).unwrap();
    assert_eq!(site.segments().len(), 2);
    assert!(!buffer.is_refusing());
    drop(buffer);
    site.sim.fs().kill();
    assert_eq!(held(&site.up(), 0), [1, 3], "what was refused does not come back, though the cache still shows it");
}

#[test]
fn the_second_failure_in_a_row_ends_all_writing() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    site.sim.fs().fail_next(SimOp::Sync, Io::Other);
    assert!(append(&buffer, record(0, &[2])).is_err());
    site.sim.fs().fail_next(SimOp::SyncDir, Io::Other);
    assert!(append(&buffer, record(0, &[3])).is_err());
    assert!(buffer.is_refusing());
    assert!(matches!(append(&buffer, record(0, &[4])).unwrap_err(), BufferError::Refusing));
    assert_eq!(held(&buffer, 0), [1], "what is there can still be read");
    drop(buffer);
    assert_eq!(held(&site.up(), 0), [1]);
}

#[test]
fn a_segment_whose_making_failed_and_whose_file_stayed_does_no_harm() {
    for seed in 0..50 {
        let site = Site::new(seed);
        let buffer = site.up();
        for id in 0..3 {
            append(&buffer, record(0, &[id])).unwrap();
        }
        site.sim.fs().fail_nth(SimOp::Write, 1, Io::Other); // of the group, after the next segment's beginning
        site.sim.fs().fail_nth(SimOp::Sync, 1, Io::Other); // of the beginning, after the closing record
        site.sim.fs().fail_next(SimOp::Remove, Io::Other);
        let long = Record { retention_days: 90, ..record(0, &[50]) };
        assert!(append(&buffer, long).is_err());
        drop(buffer);
        site.sim.fs().kill();
        let buffer = site.up();
        append(&buffer, record(0, &[4])).unwrap();
        drop(buffer);
        site.sim.fs().power_cut();
        assert_eq!(held(&site.up(), 0), [0, 1, 2, 4], "seed {seed}");
    }
}

#[test]
fn a_success_between_two_failures_starts_the_count_again() {
    let site = Site::new(1);
    let buffer = site.up();
    for id in 0..5 {
        append(&buffer, record(0, &[id])).unwrap();
        site.sim.fs().fail_next(SimOp::Write, Io::Other);
        assert!(append(&buffer, record(0, &[100 + id])).is_err());
    }
    assert!(!buffer.is_refusing());
    assert_eq!(held(&buffer, 0), [0, 1, 2, 3, 4]);
}

#[test]
fn a_full_disk_refuses_before_the_ack_and_ends_without_a_restart() {
    let mut site = Site::new(1);
    site.config.reserve_bytes = 1 << 30;
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    site.sim.fs().fill_disk((1 << 30) - 1);
    let error = append(&buffer, record(0, &[2])).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Full, "StorageFull"));
    site.sim.fs().fill_disk(30 << 30);
    append(&buffer, record(0, &[3])).unwrap();
    // No room at all, whatever the reserve says: also no failure of the disk.
    for _ in 0..3 {
        site.sim.fs().fail_next(SimOp::Write, Io::StorageFull);
        assert_eq!(append(&buffer, record(0, &[4])).unwrap_err().kind(), ErrorKind::Full);
        site.sim.fs().fail_next(SimOp::Create, Io::StorageFull);
        assert_eq!(append(&buffer, record(0, &[5])).unwrap_err().kind(), ErrorKind::Full);
    }
    append(&buffer, record(0, &[6])).unwrap();
    assert_eq!(held(&buffer, 0), [1, 3, 6]);
    drop(buffer);
    assert_eq!(held(&site.up(), 0), [1, 3, 6]);
}

#[test]
fn the_reserve_is_a_share_of_the_disk_too() {
    let site = Site::new(1);
    let buffer = site.up();
    site.sim.fs().set_capacity(100 << 30);
    site.sim.fs().fill_disk((2 << 30) - 1);
    assert_eq!(append(&buffer, record(0, &[2])).unwrap_err().kind(), ErrorKind::Full);
    site.sim.fs().fill_disk(2 << 30);
    assert!(append(&buffer, record(0, &[2])).is_ok());
}

#[test]
fn memory_log_queue_and_record_have_hard_limits() {
    let mut site = Site::new(1);
    site.config.memtable_bytes_max = 2_000;
    site.config.record_bytes_max = 10_000;
    let buffer = site.up();
    while append(&buffer, record(0, &[1])).is_ok() {}
    let error = append(&buffer, record(0, &[1])).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Overloaded, "TooManyRequests"));
    assert!(buffer.pressure().total_bytes <= 2_000);
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    buffer.settle(table(0), epoch(1), frozen.through);
    assert_eq!(buffer.pressure().total_bytes, 0);
    let ids: Vec<i64> = (0..1_000).collect();
    assert_eq!(append(&buffer, record(0, &ids)).unwrap_err().kind(), ErrorKind::TooLarge);
    append(&buffer, record(0, &ids[..90])).expect("one record over the budget fits an empty buffer");

    let mut site = Site::new(1);
    site.config.wal_bytes_max = 8_192;
    let buffer = site.up();
    let refused = (0..100).find_map(|id| append(&buffer, record(0, &[id])).err()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    let pressure = buffer.pressure();
    assert!(pressure.wal_bytes >= 8_192 && pressure.tables[0].pins_wal);
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    buffer.settle(table(0), epoch(1), frozen.through);
    append(&buffer, record(0, &[1])).unwrap();

    let mut site = Site::new(1);
    site.config.queue_records_max = 2;
    let buffer = site.up();
    let _waiting: Vec<_> = (0..2).map(|id| buffer.enqueue(&guard(1), record(0, &[id])).unwrap()).collect();
    assert_eq!(answer(buffer.enqueue(&guard(1), record(0, &[2])).unwrap()).unwrap_err().kind(), ErrorKind::Overloaded);
    buffer.turn();
    assert!(append(&buffer, record(0, &[3])).is_ok());
}

#[test]
fn a_segment_goes_when_every_table_in_it_has_passed_and_the_older_ones_are_gone() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(1, &[1_000])).unwrap();
    for id in 0..60 {
        append(&buffer, record(0, &[id])).unwrap();
    }
    let count = site.segments().len();
    assert!(count > 3);
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    buffer.settle(table(0), epoch(1), frozen.through);
    assert_eq!(site.segments().len(), count, "the oldest holds a row of another table");
    assert!(buffer.pressure().tables[0].pins_wal);
    let frozen = buffer.freeze(table(1), epoch(1)).unwrap();
    buffer.settle(table(1), epoch(1), frozen.through);
    assert_eq!(site.segments().len(), 1, "all but the open one");
}

#[test]
fn a_segment_that_could_not_be_removed_is_removed_later() {
    let site = Site::new(1);
    let buffer = site.up();
    for id in 0..30 {
        append(&buffer, record(0, &[id])).unwrap();
    }
    for op in [SimOp::Remove, SimOp::SyncDir] {
        site.sim.fs().fail_next(op, Io::Other);
        let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
        buffer.settle(table(0), epoch(1), frozen.through);
        assert!(site.segments().len() > 1);
        append(&buffer, record(0, &[50])).unwrap();
    }
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    buffer.settle(table(0), epoch(1), frozen.through);
    assert_eq!(site.segments().len(), 1);
}

#[test]
fn a_longer_retention_starts_a_new_segment_and_its_header_says_so() {
    let site = Site::new(1);
    let buffer = site.up();
    for days in [30, 10, 90, 30] {
        append(&buffer, Record { retention_days: days, ..record(0, &[days.into()]) }).unwrap();
    }
    let days: Vec<i64> = site.segments().iter().map(|(_, bytes)| i64::from_le_bytes(bytes[72..80].try_into().unwrap())).collect();
    assert_eq!(days, [30, 90]);
}

#[test]
fn a_closed_buffer_takes_nothing_and_its_segments_are_complete_to_the_byte() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    let mut waiting = buffer.enqueue(&guard(1), record(0, &[2])).unwrap();
    buffer.close().unwrap();
    assert!(waiting.try_recv().unwrap().is_ok(), "what waited is written");
    assert!(matches!(buffer.enqueue(&guard(1), record(0, &[3])).unwrap_err(), BufferError::Closed));
    assert_eq!(site.segments()[0].1.len() % 8, 0);
    assert_ne!(site.segments()[0].1.last_chunk::<16>(), Some(&[0; 16]), "nothing allocated is left");
    drop(buffer);
    site.sim.fs().power_cut();
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!((held(&buffer, 0), recovery.cut.len()), (vec![1, 2], 0));
}

#[test]
fn a_killed_key_refuses_what_waits_and_leaves_no_gap() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    let (lost, held_key) = (guard(1), guard(1));
    let first = buffer.enqueue(&lost, record(0, &[2])).unwrap();
    let second = buffer.enqueue(&held_key, record(0, &[3])).unwrap();
    lost.kill();
    buffer.turn();
    assert_eq!(answer(first).unwrap_err().kind(), ErrorKind::KeyRevoked);
    assert!(answer(second).is_ok());
    assert_eq!(buffer.enqueue(&lost, record(0, &[4])).unwrap_err().kind(), ErrorKind::KeyRevoked);
    drop(buffer);
    assert_eq!(held(&site.up(), 0), [1, 3]);
}

#[test]
fn a_key_that_came_back_in_another_guard_writes_on_in_a_new_segment() {
    let site = Site::new(1);
    let buffer = site.up();
    let first = guard(1);
    let waiting = buffer.enqueue(&first, record(0, &[1])).unwrap();
    buffer.turn();
    answer(waiting).unwrap();
    first.kill();
    append(&buffer, record(0, &[2])).unwrap();
    assert_eq!(site.segments().len(), 2);
    drop(buffer);
    assert_eq!(held(&site.up(), 0), [1, 2]);
}

#[test]
fn settings_that_cannot_work_are_named() {
    let mut site = Site::new(1);
    site.config.wal_bytes_max = site.config.segment_bytes;
    let error = site.start().unwrap_err();
    assert!(error.to_string().contains("wal_bytes_max"), "{error}");
    assert!(BufferConfig::default().check().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_at_once_are_all_acked_in_one_order() {
    let site = Site::new(1);
    let (buffer, _) = Buffer::recover(site.sim.world(), Path::new(DIR), site.config.clone(), &site.guards, &site.flushed).unwrap();
    let senders: Vec<_> = (0..32_i64)
        .map(|sender| {
            let buffer = Arc::clone(&buffer);
            tokio::spawn(async move {
                let mut last = Position(0);
                for n in 0..10 {
                    let position = buffer.append(&guard(1), record(0, &[sender * 100 + n])).await.unwrap();
                    assert!(position > last, "a sender's records keep their order");
                    last = position;
                    assert!(held(&buffer, 0).contains(&(sender * 100 + n)), "an acked row is seen at once");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(held(&buffer, 0).len(), 320);
    buffer.close().unwrap();
    assert_eq!(held(&site.up(), 0).len(), 320);
}

#[tokio::test]
async fn a_dropped_buffer_ends_its_thread_and_tells_who_waits() {
    let site = Site::new(1);
    let (buffer, _) = Buffer::recover(site.sim.world(), Path::new(DIR), site.config.clone(), &site.guards, &site.flushed).unwrap();
    buffer.append(&guard(1), record(0, &[1])).await.unwrap();
    drop(buffer);
    assert_eq!(held(&site.up(), 0), [1]);
}

#[test]
fn the_real_disk_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::new(1);
    let start = || {
        let config = BufferConfig { reserve_bytes: 0, reserve_percent: 0, ..site.config.clone() };
        Buffer::recover(strongroom_world::World::real(), &dir.path().join("wal"), config, &site.guards, &site.flushed).unwrap().0
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for round in 0..3 {
        let buffer = start();
        for id in 0..30 {
            runtime.block_on(buffer.append(&guard(1), record(0, &[round * 100 + id]))).unwrap();
        }
        if round == 1 {
            buffer.close().unwrap();
        }
    }
    assert_eq!(held(&start(), 0).len(), 90);
}
