//! Memtables: freezing, settling, merging.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow_schema::Schema;
use proptest::prelude::*;
use strongroom_model::{ColumnType, Position};

use super::{Site, append, append_in, epoch, held, ids, marked, record, table};
use crate::Record;

#[test]
fn frozen_rows_stay_visible_until_they_are_settled_and_are_offered_again() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, marked(0, &[1, 2], 3)).unwrap();
    let through = append(&buffer, record(0, &[3])).unwrap();
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    assert_eq!((frozen.through, frozen.workspace, frozen.marks.len()), (through, super::workspace(), 1));
    append(&buffer, record(0, &[4])).unwrap();
    assert_eq!(held(&buffer, 0), [1, 2, 3, 4]);
    let again = buffer.freeze(table(0), epoch(1)).unwrap();
    assert_eq!((again.through, again.rows.len()), (through, frozen.rows.len()), "the same rows until settled");
    buffer.settle(table(0), epoch(1), through);
    assert_eq!(held(&buffer, 0), [4]);
    let next = buffer.freeze(table(0), epoch(1)).unwrap();
    assert!(next.through > through);
    assert!(buffer.freeze(table(0), epoch(2)).is_none() && buffer.freeze(table(7), epoch(1)).is_none());
}

#[test]
fn a_freeze_takes_the_oldest_rows_up_to_its_size_and_as_many_freezes_as_said_take_all() {
    let mut site = Site::new(1);
    site.config.freeze_bytes = 4_000;
    let buffer = site.up();
    let load = |buffer: &crate::Buffer| buffer.pressure().tables.first().map_or((0, 0, false), |t| (t.bytes, t.freezes, t.frozen));
    for id in 0..50 {
        append(&buffer, marked(0, &[id * 2, id * 2 + 1], u8::try_from(id).unwrap())).unwrap();
    }
    let (bytes, freezes, _) = load(&buffer);
    assert!(freezes > 3 && bytes == buffer.pressure().total_bytes, "{freezes} freezes of {bytes} bytes");
    let (mut rows, mut marks, mut last) = (Vec::new(), 0, Position(0));
    for at in 0..freezes {
        assert_eq!(held(&buffer, 0).len() + rows.len(), 100, "nothing is lost or doubled meanwhile");
        let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
        assert!(frozen.bytes < 5_000 && frozen.through > last, "{} bytes", frozen.bytes);
        assert_eq!((load(&buffer).1, load(&buffer).2), (freezes - at, true));
        rows.extend(frozen.rows.iter().flat_map(|(_, _, batch)| ids(batch)));
        (marks, last) = (marks + frozen.marks.len(), frozen.through);
        buffer.settle(table(0), epoch(1), frozen.through);
    }
    assert_eq!((rows, marks), ((0..100).collect::<Vec<_>>(), 50), "in the order they came");
    assert!(buffer.freeze(table(0), epoch(1)).is_none());
    assert_eq!((buffer.pressure().total_bytes, buffer.pressure().tables.len()), (0, 0));
}

#[test]
fn a_freeze_takes_no_more_windows_than_it_may() {
    use arrow::array::TimestampNanosecondArray;

    let mut site = Site::new(1);
    site.config.freeze_windows = 10;
    let buffer = site.up();
    let schema = Arc::new(Schema::new(vec![ColumnType::DateTime.storage_field(strongroom_model::TIME_COLUMN)]));
    for day in 0..35_i64 {
        let times = TimestampNanosecondArray::from(vec![day * 86_400_000_000_000; 2]).with_timezone("UTC");
        let columns: Vec<ArrayRef> = vec![Arc::new(times)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        append(&buffer, Record { batch, arrival: 1_800_000_000_000_000_000, ..record(0, &[]) }).unwrap();
    }
    assert_eq!(buffer.pressure().tables[0].freezes, 4);
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    assert_eq!(frozen.rows.iter().map(|(_, _, batch)| batch.num_rows()).sum::<usize>(), 20);
}

#[test]
fn epochs_of_one_table_are_kept_apart() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    append_in(&buffer, 2, record(0, &[2])).unwrap();
    let snapshot = buffer.snapshot(table(0));
    assert_eq!(snapshot.iter().map(|part| part.epoch).collect::<Vec<_>>(), [epoch(1), epoch(2)], "oldest first");
    let frozen = buffer.freeze(table(0), epoch(2)).unwrap();
    assert_eq!(frozen.rows.iter().flat_map(|(_, _, batch)| ids(batch)).collect::<Vec<_>>(), [2]);
    buffer.settle(table(0), epoch(2), frozen.through);
    assert_eq!(held(&buffer, 0), [1]);
}

#[test]
fn many_small_records_become_few_batches() {
    let mut site = Site::new(1);
    site.config.merge_rows = 100;
    let buffer = site.up();
    for id in 0..500 {
        append(&buffer, Record { arrival: 10_000 - id, ..record(0, &[id]) }).unwrap();
    }
    let snapshot = buffer.snapshot(table(0)).remove(0);
    assert!(snapshot.rows.len() < 16, "{} batches", snapshot.rows.len());
    assert!(snapshot.rows.is_sorted_by_key(|(position, _)| *position));
    assert_eq!(held(&buffer, 0), (0..500).collect::<Vec<_>>());
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    let oldest = frozen.rows.iter().map(|(_, arrival, _)| *arrival).min();
    assert_eq!(oldest, Some(10_000 - 499), "the oldest arrival of what was merged");
    assert_eq!(frozen.bytes, buffer.pressure().total_bytes);
}

#[test]
fn records_of_changing_schemas_merge_with_their_like() {
    let mut site = Site::new(1);
    site.config.merge_rows = 100;
    let buffer = site.up();
    let schema = Arc::new(Schema::new(vec![ColumnType::Real.storage_field("id")]));
    for id in 0..100_i32 {
        let columns: Vec<ArrayRef> = vec![Arc::new(Float64Array::from(vec![f64::from(id)]))];
        let other = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        append(&buffer, Record { batch: other, ..record(0, &[]) }).unwrap();
        append(&buffer, record(0, &[i64::from(id)])).unwrap();
    }
    let parts = buffer.snapshot(table(0)).remove(0).rows;
    assert!(parts.len() < 20, "{} batches", parts.len());
    assert_eq!(parts.iter().map(|(_, batch)| batch.num_rows()).sum::<usize>(), 200);
    drop(buffer);
    assert_eq!(site.start().unwrap().1.rows, 200, "each record found its schema again");
}

#[test]
fn a_record_without_rows_keeps_its_mark() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, marked(0, &[], 5)).unwrap();
    assert!(buffer.snapshot(table(0)).is_empty());
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    assert_eq!((frozen.rows.len(), frozen.marks[0].0.id_sha256[0]), (0, 5));
    buffer.settle(table(0), epoch(1), frozen.through);
    assert!(buffer.freeze(table(0), epoch(1)).is_none());
}

#[test]
fn pressure_counts_bytes_and_names_the_largest_first() {
    let site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    append(&buffer, record(1, &(0..100).collect::<Vec<_>>())).unwrap();
    site.sim.clock().advance(std::time::Duration::from_mins(1));
    append(&buffer, record(0, &[2])).unwrap();
    let pressure = buffer.pressure();
    assert_eq!(pressure.tables.iter().map(|load| load.table).collect::<Vec<_>>(), [table(1), table(0)]);
    assert_eq!(pressure.tables.iter().map(|load| load.bytes).sum::<u64>(), pressure.total_bytes);
    assert_eq!(pressure.tables[0].oldest, pressure.tables[1].oldest, "the first row counts");
    let frozen = buffer.freeze(table(1), epoch(1)).unwrap();
    assert!(buffer.pressure().tables.iter().any(|load| load.table == table(1) && load.frozen && load.bytes == 0));
    buffer.settle(table(1), epoch(1), frozen.through);
    assert_eq!(buffer.pressure().tables.len(), 1);
}

#[test]
fn grown_wakes_when_a_memtable_is_large() {
    let mut site = Site::new(1);
    site.config.grown_table_bytes = 2_000;
    let buffer = site.up();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let woken = |buffer: &crate::Buffer| {
        runtime.block_on(async {
            tokio::select! { biased; () = buffer.grown().notified() => true, () = std::future::ready(()) => false }
        })
    };
    append(&buffer, record(0, &[1])).unwrap();
    assert!(!woken(&buffer));
    append(&buffer, record(0, &(0..100).collect::<Vec<_>>())).unwrap();
    assert!(woken(&buffer));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_mix_of_appends_freezes_and_settles_keeps_each_row_once(steps in prop::collection::vec((0_u8..10, 1_usize..40), 1..60)) {
        let site = Site::new(1);
        let buffer = site.up();
        let (mut next, mut flushed, mut open) = (0_i64, Vec::new(), None);
        for (what, n) in steps {
            match what {
                0 => open = buffer.freeze(table(0), epoch(1)),
                1 => if let Some(frozen) = open.take() {
                    flushed.extend(frozen.rows.iter().flat_map(|(_, _, batch)| ids(batch)));
                    buffer.settle(table(0), epoch(1), frozen.through);
                },
                2 => buffer.settle(table(0), epoch(1), Position(0)),
                _ => {
                    let rows: Vec<i64> = (0..i64::try_from(n).unwrap()).map(|at| next + at).collect();
                    next += i64::try_from(n).unwrap();
                    append(&buffer, record(0, &rows)).unwrap();
                }
            }
            let mut all = held(&buffer, 0);
            all.extend(&flushed);
            all.sort_unstable();
            prop_assert_eq!(all, (0..next).collect::<Vec<_>>());
        }
    }
}
