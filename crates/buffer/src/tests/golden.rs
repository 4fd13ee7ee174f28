//! A segment written by the first build; every later one reads it.

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use arrow_schema::Schema;
use strongroom_model::{ColumnType, Position, TIME_COLUMN};

use super::{DIR, Site, append, held, marked, record, table, workspace};
use crate::{BatchMark, Record};

const NAME: &str = "segment-v1.wal";
const SEGMENT: &str = "019b76da-a800-7000-8000-000000000000";

/// One row with a value and one of nulls, of every type that rows arrive in.
fn every_type() -> RecordBatch {
    let kinds = [ColumnType::DateTime, ColumnType::Bool, ColumnType::Long, ColumnType::Real, ColumnType::String, ColumnType::Dynamic];
    let names = [TIME_COLUMN, "ok", "n", "x", "msg", "data"];
    let schema = Schema::new(kinds.iter().zip(names).map(|(kind, name)| kind.storage_field(name)).collect::<Vec<_>>());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampNanosecondArray::from(vec![Some(1_767_225_600_000_000_001), None]).with_timezone("UTC")),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(Int64Array::from(vec![Some(i64::MIN), None])),
        Arc::new(Float64Array::from(vec![Some(-0.5), None])),
        Arc::new(StringArray::from(vec![Some("žluť \u{1f511}"), None])),
        Arc::new(StringArray::from(vec![Some(r#"{"a":[1,null]}"#), None])),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[test]
fn the_first_segment_format_is_still_read() {
    let site = Site::new(1);
    let fs = site.sim.world().fs;
    let path = Path::new(DIR).join(format!("{SEGMENT}.wal"));
    fs.create_dir_all(Path::new(DIR)).unwrap();
    let file = fs.create_new(&path).unwrap();
    file.write_all_at(&[IoSlice::new(include_bytes!("../../testdata/segment-v1.wal"))], 0).unwrap();
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!((recovery.records, recovery.rows, recovery.cut.len()), (4, 7, 0));
    assert_eq!(held(&buffer, 0), [1, 2, 3, 4, 5]);
    let mark = BatchMark { id_sha256: [21; 32], key_sha256: [20; 32], reply: vec![21; 21] };
    assert_eq!(recovery.marks, [(workspace(), mark, 1_000)]);
    let (position, batch) = buffer.snapshot(table(1)).remove(0).rows.remove(0);
    assert_eq!((position, batch.clone()), (Position(4), every_type()));
    assert_eq!(batch.column(0).as_primitive::<TimestampNanosecondType>().value(0), 1_767_225_600_000_000_001);
    assert_eq!(batch.column(2).as_primitive::<Int64Type>().value(0), i64::MIN);
    assert!((batch.column(3).as_primitive::<Float64Type>().value(0) + 0.5).abs() < f64::EPSILON && batch.column(3).is_null(1));
    assert_eq!(batch.column(4).as_string::<i32>().value(0), "žluť \u{1f511}");
    assert_eq!(ColumnType::of_field(batch.schema().field(5)), Some(ColumnType::Dynamic));
}

/// Run by hand when the format gets a new version: `cargo test -p strongroom-buffer golden -- --ignored`.
#[test]
#[ignore = "writes the golden segment"]
fn write_the_golden_segment() {
    let mut site = Site::new(1);
    site.config.segment_bytes = 1 << 20;
    site.guards.clear();
    let world = site.sim.world();
    let named = strongroom_world::World { rng: Arc::new(super::FixedRng(0)), ..world };
    let guards = std::collections::HashMap::from([(super::epoch(1), super::guard(1))]);
    let (buffer, _) =
        crate::Buffer::recover_driven(named, Path::new(DIR), site.config.clone(), &guards, &site.flushed, crate::buffer::Driver::ByHand)
            .unwrap();
    append(&buffer, record(0, &[1, 2])).unwrap();
    append(&buffer, marked(0, &[3], 21)).unwrap();
    append(&buffer, Record { table: table(1), batch: every_type(), ..record(1, &[]) }).unwrap();
    append(&buffer, record(0, &[4, 5])).unwrap();
    buffer.close().unwrap();
    let (path, bytes) = site.segments().remove(0);
    assert_eq!(path.file_stem().unwrap().to_str(), Some(SEGMENT), "set SEGMENT to this");
    std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(NAME), bytes).unwrap();
}
