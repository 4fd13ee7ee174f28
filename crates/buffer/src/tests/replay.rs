//! Torn ends, damage in the middle, salvage, and which of the two a bad byte is.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use strongroom_model::{ErrorKind, Position};
use strongroom_world::{Fs, FsFile};

use super::{Site, append, append_in, epoch, guard, held, marked, record, table};
use crate::{BatchMark, BufferError};

/// A site whose log holds one segment with rows 0..n, one record each, and is not in use.
fn written(n: i64) -> (Site, PathBuf) {
    let mut site = Site::new(1);
    site.config.segment_bytes = 1 << 20;
    let buffer = site.up();
    for id in 0..n {
        append(&buffer, record(0, &[id])).unwrap();
    }
    drop(buffer);
    site.sim.fs().kill();
    let path = site.segments().pop().unwrap().0;
    (site, path)
}

/// Where each record of a segment starts, and where the last one ends.
fn offsets(bytes: &[u8]) -> Vec<u64> {
    let mut offsets = vec![152];
    loop {
        let at = usize::try_from(*offsets.last().unwrap()).unwrap();
        match bytes.get(at..at + 4).map(|len| u32::from_le_bytes(len.try_into().unwrap())) {
            None | Some(0) => return offsets,
            Some(len) => offsets.push((at + len as usize + 40) as u64),
        }
    }
}

fn file(site: &Site, path: &Path) -> Box<dyn FsFile> {
    site.sim.fs().open(path).unwrap()
}

#[test]
fn rows_and_marks_are_there_after_a_restart_and_after_the_next() {
    let site = Site::new(1);
    let buffer = site.up();
    assert_eq!(append(&buffer, record(0, &[1, 2])).unwrap(), Position(2), "the segment's first record has position 1");
    append(&buffer, marked(1, &[3], 7)).unwrap();
    append_in(&buffer, 2, record(0, &[4])).unwrap();
    drop(buffer);
    for _ in 0..3 {
        site.sim.fs().kill();
        let (buffer, recovery) = site.start().unwrap();
        assert_eq!((held(&buffer, 0), held(&buffer, 1)), (vec![1, 2, 4], vec![3]));
        assert_eq!((recovery.records, recovery.rows, recovery.segments), (3, 4, 2));
        let mark = BatchMark { id_sha256: [7; 32], key_sha256: [6; 32], reply: vec![7; 7] };
        assert_eq!(recovery.marks, vec![(super::workspace(), mark, 1_000)]);
        assert!(recovery.cut.is_empty(), "allocated zeros are no torn end");
    }
}

#[test]
fn positions_go_on_after_what_was_read_and_after_what_was_flushed() {
    let (mut site, _) = written(3);
    let buffer = site.up();
    assert_eq!(append(&buffer, record(0, &[3])).unwrap(), Position(6), "1 and 5 are the segments' first records");
    drop(buffer);
    site.flushed.insert((table(0), epoch(1)), Position(100));
    let buffer = site.up();
    assert!(held(&buffer, 0).is_empty() && site.segments().is_empty(), "all of it is in blocks");
    assert_eq!(append(&buffer, record(0, &[4])).unwrap(), Position(102));
}

#[test]
fn a_segment_that_was_read_is_never_appended_to() {
    let (site, path) = written(2);
    let buffer = site.up();
    let before = site.sim.fs().read(&path, 1 << 20).unwrap();
    append(&buffer, record(0, &[2])).unwrap();
    assert_eq!(site.sim.fs().read(&path, 1 << 20).unwrap(), before);
    assert_eq!(site.segments().len(), 2);
}

#[test]
fn a_torn_last_record_is_cut_off_on_disk() {
    let (site, path) = written(4);
    let offsets = offsets(&site.segments()[0].1);
    site.sim.fs().flip(&path, offsets[4] + 30, 1).unwrap();
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!(held(&buffer, 0), [0, 1, 2]);
    assert_eq!((recovery.cut[0].offset, recovery.cut[0].position), (offsets[4], Position(5)));
    assert_eq!(site.sim.fs().metadata(&path).unwrap().len, offsets[4]);
    drop(buffer);
    site.sim.fs().power_cut();
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!(held(&buffer, 0), [0, 1, 2]);
    assert!(recovery.cut.is_empty());
}

#[test]
fn damage_in_the_middle_is_refused_with_its_offset_and_salvaged_when_asked() {
    let (mut site, path) = written(6);
    let offsets = offsets(&site.segments()[0].1);
    site.sim.fs().flip(&path, offsets[3] + 30, 1).unwrap();
    let error = site.start().unwrap_err();
    assert!(matches!(error, BufferError::Corrupt { offset, position: Position(4), .. } if offset == offsets[3]), "{error}");
    assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, "IntegrityError"));
    assert!(error.to_string().contains(&format!("byte {}", offsets[3])), "{error}");

    site.config.salvage = true;
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!(held(&buffer, 0), [0, 1, 3, 4, 5], "all but the damaged one");
    assert_eq!(recovery.salvaged, [error.to_string()]);
    let frozen = buffer.freeze(table(0), epoch(1)).unwrap();
    buffer.settle(table(0), epoch(1), frozen.through);
    assert!(site.segments().is_empty());
    assert!(site.sim.fs().metadata(&path.with_extension("damaged")).is_ok(), "the evidence stays");
}

#[test]
fn a_lost_schema_loses_only_the_rows_that_need_it() {
    let mut site = Site::new(1);
    site.config.segment_bytes = 1 << 20;
    let buffer = site.up();
    for (to, id) in [(0, 0), (1, 1), (0, 2), (1, 3)] {
        append(&buffer, record(to, &[id])).unwrap();
    }
    drop(buffer);
    site.sim.fs().kill();
    let (path, bytes) = site.segments().remove(0);
    site.sim.fs().flip(&path, offsets(&bytes)[1] + 30, 1).unwrap();
    assert!(site.start().is_err());
    site.config.salvage = true;
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!((held(&buffer, 0), held(&buffer, 1)), (vec![], vec![1, 3]));
    assert_eq!(recovery.salvaged.len(), 2, "{:?}", recovery.salvaged);
}

#[test]
fn a_later_segment_proves_what_an_earlier_one_must_hold() {
    let mut site = Site::new(1);
    let buffer = site.up();
    for id in 0..40 {
        append(&buffer, record(0, &[id])).unwrap();
    }
    drop(buffer);
    site.sim.fs().kill();
    let segments = site.segments();
    assert!(segments.len() > 3);
    // The last record of the first segment before its closing one: nothing behind it in the file but that.
    let ends = offsets(&segments[0].1);
    file(&site, &segments[0].0).set_len(ends[ends.len() - 3]).unwrap();
    let error = site.start().unwrap_err();
    assert!(matches!(error, BufferError::Corrupt { offset, .. } if offset == ends[ends.len() - 3]), "{error}");
    site.config.salvage = true;
    assert_eq!(held(&site.start().unwrap().0, 0).len(), 39);
}

#[test]
fn a_segment_taken_out_of_the_middle_is_missed() {
    let site = Site::new(1);
    let buffer = site.up();
    for id in 0..40 {
        append(&buffer, record(0, &[id])).unwrap();
    }
    drop(buffer);
    site.sim.fs().kill();
    let segments = site.segments();
    site.sim.fs().remove_file(&segments[1].0).unwrap();
    assert!(matches!(site.start().unwrap_err(), BufferError::Corrupt { segment, .. } if segments[0].0.ends_with(format!("{segment}.wal"))));
}

#[test]
fn a_segment_under_another_name_or_in_another_epoch_is_refused() {
    let (site, path) = written(3);
    let bytes = site.segments().remove(0).1;
    let copy = path.with_file_name("01890a5d-ac96-774b-bcce-b302099a8057.wal");
    site.sim.fs().write_atomic(&copy, &bytes).unwrap();
    assert!(matches!(site.start().unwrap_err(), BufferError::Corrupt { offset: 0, .. }));
    site.sim.fs().remove_file(&copy).unwrap();
    assert!(site.start().is_ok());

    // With the header rewritten to the other epoch and all checksums right, the key commitment does not fit.
    let mut other = bytes;
    other[8..24].copy_from_slice(epoch(2).aek.as_bytes());
    let first = offsets(&other);
    let (start, end) = (152, usize::try_from(first[1]).unwrap());
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&other[..152]), &other[start..start + 4]), &other[start + 8..end]);
    other[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    site.sim.fs().write_atomic(&path, &other).unwrap();
    let error = site.start().unwrap_err();
    assert!(matches!(error, BufferError::Open { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_right_checksum_over_changed_bytes_is_tampering_even_at_the_end() {
    let (mut site, path) = written(4);
    let mut bytes = site.segments().remove(0).1;
    let offsets = offsets(&bytes);
    let (start, end) = (usize::try_from(offsets[4]).unwrap(), usize::try_from(offsets[5]).unwrap());
    bytes[start + 30] ^= 1;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[start..start + 4]), &bytes[start + 8..end]);
    bytes[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    site.sim.fs().write_atomic(&path, &bytes).unwrap();
    let error = site.start().unwrap_err();
    assert!(error.to_string().contains("somebody changed it"), "{error}");
    site.config.salvage = true;
    assert_eq!(held(&site.start().unwrap().0, 0), [0, 1, 2]);
}

#[test]
fn a_segment_that_was_never_finished_is_removed_and_a_damaged_beginning_is_not() {
    let (mut site, path) = written(2);
    site.sim.fs().flip(&path, 100, 4).unwrap();
    assert!(matches!(site.start().unwrap_err(), BufferError::Corrupt { offset: 0, .. }));
    site.config.salvage = true;
    let (buffer, recovery) = site.start().unwrap();
    assert!(held(&buffer, 0).is_empty());
    assert_eq!(recovery.salvaged.len(), 1);
    assert!(site.sim.fs().metadata(&path.with_extension("damaged")).is_ok());

    // The same beginning with no rows behind it: the power went while it was made.
    let (site, path) = written(1);
    let end = offsets(&site.segments()[0].1)[1];
    file(&site, &path).set_len(end).unwrap();
    site.sim.fs().flip(&path, 100, 4).unwrap();
    assert!(site.start().is_ok() && site.segments().is_empty());
}

#[test]
fn an_epoch_without_its_key_waits_and_takes_nothing_until_it_is_restored() {
    let mut site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    append_in(&buffer, 2, record(0, &[2])).unwrap();
    drop(buffer);
    site.guards.remove(&epoch(2));
    let (buffer, recovery) = site.start().unwrap();
    assert_eq!((held(&buffer, 0), recovery.unopened), (vec![1], vec![epoch(2)]));
    assert!(matches!(append_in(&buffer, 2, record(0, &[3])).unwrap_err(), BufferError::NotReplayed { .. }));
    assert_eq!(buffer.unflushed(epoch(2).account), (vec![table(0)], true), "whose rows are in it nobody knows yet");
    let restored = buffer.restore(&guard(2), &site.flushed).unwrap();
    assert_eq!((restored.rows, held(&buffer, 0)), (1, vec![1, 2]));
    append_in(&buffer, 2, record(0, &[3])).unwrap();
    assert_eq!(held(&buffer, 0), [1, 2, 3]);
    assert_eq!(buffer.unflushed(epoch(2).account), (vec![table(0)], false));
}

#[test]
fn a_forgotten_epoch_leaves_memory_and_comes_back_from_the_log() {
    let mut site = Site::new(1);
    let buffer = site.up();
    append(&buffer, record(0, &[1])).unwrap();
    append_in(&buffer, 2, record(0, &[2])).unwrap();
    append_in(&buffer, 2, record(1, &[3])).unwrap();
    let frozen = buffer.freeze(table(1), epoch(2)).unwrap();
    site.flushed.insert((table(1), epoch(2)), frozen.through);
    let before = buffer.pressure();
    buffer.forget(epoch(2));
    assert_eq!((held(&buffer, 0), held(&buffer, 1)), (vec![1], vec![]));
    assert!(buffer.pressure().total_bytes < before.total_bytes && buffer.pressure().wal_bytes < before.wal_bytes);
    assert!(append_in(&buffer, 2, record(0, &[4])).is_err());
    append(&buffer, record(0, &[5])).unwrap();
    buffer.restore(&guard(2), &site.flushed).unwrap();
    assert_eq!((held(&buffer, 0), held(&buffer, 1)), (vec![1, 2, 5], vec![]), "what was flushed meanwhile stays away");
    assert_eq!(buffer.restore(&guard(2), &site.flushed).unwrap().records, 0, "a second restore does nothing");
}

#[test]
fn a_killed_key_reads_nothing_back() {
    let (site, _) = written(2);
    site.guards[&epoch(1)].kill();
    assert_eq!(site.start().unwrap_err().kind(), ErrorKind::KeyRevoked);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn a_flipped_bit_is_never_read_as_rows(at in 0_u64..2_600, bit in 0_u8..8) {
        let (site, path) = written(6);
        let ends = offsets(&site.segments()[0].1);
        let end = *ends.last().unwrap();
        let at = at % end;
        site.sim.fs().flip(&path, at, 1 << bit).unwrap();
        match site.start() {
            // A bit of the last record may have been torn: then it alone is cut. All else is refused.
            Ok((buffer, recovery)) => {
                prop_assert!(at >= ends[ends.len() - 2], "byte {at} of {end} went unnoticed");
                prop_assert_eq!(held(&buffer, 0), (0..5).collect::<Vec<_>>());
                prop_assert_eq!(recovery.cut.len(), 1);
            }
            Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Corrupt),
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_a_beginning_of_the_rows(len in 0_u64..2_600) {
        let (site, path) = written(6);
        let ends = offsets(&site.segments()[0].1);
        let len = len % ends.last().unwrap();
        file(&site, &path).set_len(len).unwrap();
        let (buffer, _) = site.start().unwrap();
        let whole = ends.iter().skip(2).filter(|end| **end <= len).count();
        prop_assert_eq!(held(&buffer, 0), (0..i64::try_from(whole).unwrap()).collect::<Vec<_>>());
    }
}
