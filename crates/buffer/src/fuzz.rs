//! The door for fuzzers.

use std::collections::HashMap;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::Schema;
use strongroom_envelope::{Aek, KeyGuard};
use strongroom_model::{AccountId, AekId, ColumnType, Epoch, KeyClass, TableId, WorkspaceId};
use strongroom_world::sim::SimWorld;
use strongroom_world::{BootTime, Rng};

use crate::buffer::{Buffer, Driver};
use crate::wal::payload;
use crate::{BatchMark, BufferConfig, Record};

const DIR: &str = "/wal";
const RECORDS: i64 = 5;

#[derive(Debug)]
struct FixedRng;

impl Rng for FixedRng {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0x5a);
    }
}

fn guard() -> KeyGuard {
    let epoch = Epoch { account: AccountId::from_bytes([1; 16]), aek: AekId::from_bytes([2; 16]) };
    KeyGuard::new(epoch, KeyClass::Mmk, Aek::generate(epoch.aek, &FixedRng), None, BootTime::NEVER)
}

fn start(sim: &SimWorld, salvage: bool) -> Option<Arc<Buffer>> {
    let guard = guard();
    let config = BufferConfig { segment_first_bytes: 1_024, salvage, ..BufferConfig::default() };
    let guards = HashMap::from([(guard.epoch(), guard)]);
    let recovered = Buffer::recover_driven(sim.world(), Path::new(DIR), config, &guards, &HashMap::new(), Driver::ByHand);
    recovered.ok().map(|(buffer, _)| buffer)
}

fn rows(buffer: &Buffer) -> Vec<i64> {
    let snapshot = buffer.snapshot(TableId::NIL);
    let parts = snapshot.iter().flat_map(|part| part.rows.iter());
    parts
        .filter_map(|(_, batch)| batch.column(0).as_any().downcast_ref::<Int64Array>().map(|ids| ids.values().to_vec()))
        .flatten()
        .collect()
}

fn written() -> (SimWorld, std::path::PathBuf) {
    let sim = SimWorld::new(1);
    let buffer = start(&sim, false).expect("an empty log is read back");
    let schema = Arc::new(Schema::new(vec![ColumnType::Long.storage_field("id")]));
    for id in 0..RECORDS {
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![id]))];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("one column of one row");
        let mark = (id == 2).then(|| BatchMark { id_sha256: [1; 32], key_sha256: [2; 32], reply: vec![3; 9] });
        let record = Record { workspace: WorkspaceId::NIL, table: TableId::NIL, batch, arrival: id, retention_days: 30, mark };
        drop(buffer.enqueue(&guard(), record));
        buffer.turn();
    }
    assert_eq!(rows(&buffer).len(), 5, "all rows were taken");
    drop(buffer);
    let path = sim.fs().files().pop().expect("one segment").0;
    (sim, path)
}

/// Replays hostile bytes, three ways: as a record's plaintext, as a whole segment, and as patches (offset 2 bytes,
/// value 1 byte) of a good one.
///
/// # Panics
/// If anything but a beginning of the good segment's rows is read: that is what it looks for.
pub fn fuzz_replay(data: &[u8]) {
    let Some((way, data)) = data.split_first() else { return };
    match way % 3 {
        0 => drop(payload::decode(data.to_vec())),
        1 => {
            let sim = SimWorld::new(1);
            let fs = sim.world().fs;
            let path = format!("{DIR}/01890a5d-ac96-774b-bcce-b302099a8057.wal");
            let made = fs.create_dir_all(Path::new(DIR)).and_then(|()| fs.create_new(Path::new(&path)));
            made.and_then(|file| file.write_all_at(&[IoSlice::new(data)], 0)).expect("the simulated disk has room");
            let read = start(&sim, way & 0x80 != 0).map_or_else(Vec::new, |buffer| rows(&buffer));
            assert!(read.is_empty(), "rows were read that nobody sealed");
        }
        _ => {
            let (sim, path) = written();
            for patch in data.chunks_exact(3) {
                let offset = u64::from(u16::from_le_bytes([patch[0], patch[1]])) % 2_048;
                sim.fs().flip(&path, offset, patch[2]).expect("the segment is there");
            }
            if let Some(buffer) = start(&sim, false) {
                let read = rows(&buffer);
                assert_eq!(read, (0..RECORDS).take(read.len()).collect::<Vec<_>>(), "not a beginning of the rows");
            }
            if let Some(buffer) = start(&sim, true) {
                let read = rows(&buffer);
                assert!(read.is_sorted() && read.iter().all(|id| (0..RECORDS).contains(id)), "rows nobody sealed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn hostile_bytes_are_refused_without_a_panic(data in prop::collection::vec(any::<u8>(), 0..700)) {
            fuzz_replay(&data);
        }

        #[test]
        fn patched_segments_never_give_foreign_rows(data in prop::collection::vec(any::<u8>(), 3..13)) {
            fuzz_replay(&[&[2], &data[..]].concat());
        }

        #[test]
        fn a_rows_record_of_any_lengths_is_read_within_its_bounds(lengths in prop::array::uniform6(any::<u32>()), rest in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut plain = vec![1, 1, 0, 0];
            plain.resize(52, 0);
            for length in lengths {
                plain.extend_from_slice(&(length % 300).to_le_bytes());
            }
            plain.resize(80, 0);
            plain.extend(rest);
            drop(payload::decode(plain));
        }
    }
}
