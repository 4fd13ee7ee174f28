use strongroom_envelope::{Header, ObjectKind, OpenError, SealError, SegmentCipher};
use strongroom_model::{AekId, Epoch, ObjectId, TableId, WorkspaceId};

use crate::kit::{EPOCH, Making, NOW, Seeded, WORKSPACE, guard};

type Tag = [u8; 16];

fn header_of(segment: u8, double: bool) -> Header {
    Header { double, ..header(segment) }
}

fn header(segment: u8) -> Header {
    Header {
        kind: ObjectKind::Wal,
        double: false,
        aek: EPOCH.aek,
        account: EPOCH.account,
        workspace: WorkspaceId::NIL,
        table: TableId::NIL,
        window_start: 30,
        object: ObjectId::from_bytes([segment; 16]),
    }
}

struct Sealed {
    double: bool,
    seq: u64,
    synced_through: u64,
    previous: Tag,
    bytes: Vec<u8>,
    tag: Tag,
}

impl Sealed {
    fn open(&self, cipher: &SegmentCipher) -> Result<Vec<u8>, OpenError> {
        let mut bytes = self.bytes.clone();
        cipher.open_record(&guard(self.double), NOW, self.seq, self.synced_through, &self.previous, &mut bytes, &self.tag).map(|()| bytes)
    }
}

fn segment(double: bool, id: u8, first: u64, texts: &[&str]) -> (SegmentCipher, Vec<u8>, Vec<Sealed>) {
    let header = header_of(id, double);
    let (cipher, prefix) = SegmentCipher::create(&guard(double), NOW, &Seeded::new(u64::from(id)), &header).unwrap();
    assert_eq!(prefix.len(), SegmentCipher::prefix_len(double));
    let mut previous = [0; 16];
    let records = (first..).zip(texts).map(|(seq, text)| {
        let mut buffer = b"frame".to_vec();
        buffer.extend_from_slice(text.as_bytes());
        let tag = cipher.seal_record(&guard(double), NOW, seq, seq - 1, &previous, &mut buffer, 5).unwrap();
        assert_eq!(&buffer[..5], b"frame", "what stands before the record stays");
        let sealed = Sealed { double, seq, synced_through: seq - 1, previous, bytes: buffer.split_off(5), tag };
        previous = tag;
        sealed
    });
    let records = records.collect();
    (cipher, prefix, records)
}

#[test]
fn a_segment_replays_as_it_was_written() {
    for double in [false, true] {
        let (_, prefix, records) = segment(double, 1, 41, &["one", "", "three"]);
        let (cipher, found) = SegmentCipher::reopen(&guard(double), NOW, EPOCH, &prefix).unwrap();
        assert_eq!(found, header_of(1, double));
        let texts: Vec<_> = records.iter().map(|record| record.open(&cipher).unwrap()).collect();
        assert_eq!(texts, [&b"one"[..], b"", b"three"]);
    }
}

#[test]
fn a_record_opens_only_at_its_position_behind_its_predecessor_in_its_segment() {
    for double in [false, true] {
        let (cipher, _, records) = segment(double, 1, 1, &["one", "two", "three"]);
        let (other, _, _) = segment(double, 2, 1, &["one"]);
        let record = || Sealed { bytes: records[1].bytes.clone(), ..records[1] };
        let forgeries = [
            Sealed { seq: 3, ..record() },
            Sealed { synced_through: 2, ..record() },
            Sealed { previous: records[2].tag, ..record() },
            Sealed { tag: records[0].tag, ..record() },
            Sealed { bytes: b"owt".to_vec(), ..record() },
            Sealed { bytes: records[1].bytes[..2].to_vec(), ..record() },
        ];
        assert!(record().open(&cipher).is_ok());
        for forged in forgeries {
            let refused = forged.open(&cipher).unwrap_err();
            assert_eq!(refused, OpenError::NotAuthentic { object: header(1).object, chunk: forged.seq });
        }
        assert!(record().open(&other).is_err());
    }
}

#[test]
fn a_flip_of_any_byte_of_a_segments_start_is_detected() {
    for double in [false, true] {
        let (_, prefix, _) = segment(double, 1, 1, &[]);
        for at in 0..prefix.len() {
            let mut flipped = prefix.clone();
            flipped[at] ^= 0x10;
            assert!(SegmentCipher::reopen(&guard(double), NOW, EPOCH, &flipped).is_err(), "byte {at}");
            assert!(SegmentCipher::reopen(&guard(double), NOW, EPOCH, &prefix[..at]).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn a_segment_of_another_epoch_or_key_is_refused() {
    let (_, prefix, _) = segment(false, 1, 1, &[]);
    let other = Epoch { aek: AekId::from_bytes([9; 16]), ..EPOCH };
    let refused = SegmentCipher::reopen(&guard(false), NOW, other, &prefix).unwrap_err();
    assert_eq!(refused, OpenError::WrongPlace { object: header(1).object });
    let wrong = Making { aek: [9; 32], ..Making::new(false) }.guard();
    let refused = SegmentCipher::reopen(&wrong, NOW, EPOCH, &prefix).unwrap_err();
    assert_eq!(refused, OpenError::NotCommitted { object: header(1).object });
}

#[test]
fn only_a_segments_own_kind_of_header_starts_one() {
    for wrong in [
        Header { kind: ObjectKind::Block, ..header(1) },
        Header { double: true, ..header(1) },
        Header { workspace: WORKSPACE, ..header(1) },
        Header { table: TableId::from_bytes([1; 16]), ..header(1) },
        Header { aek: AekId::NIL, ..header(1) },
    ] {
        let refused = SegmentCipher::create(&guard(false), NOW, &Seeded::new(1), &wrong).unwrap_err();
        assert_eq!(refused, SealError::WrongHeader { object: wrong.object });
    }
}

#[test]
fn with_two_layers_either_key_alone_opens_no_record() {
    let (_, prefix, records) = segment(true, 1, 1, &["one"]);
    for wrong in [Making { aek: [9; 32], ..Making::new(true) }, Making { infrastructure: Some([9; 32]), ..Making::new(true) }] {
        let refused = SegmentCipher::reopen(&wrong.guard(), NOW, EPOCH, &prefix).unwrap_err();
        assert_eq!(refused, OpenError::NotCommitted { object: header(1).object });
    }
    // The AEK's cipher alone, as if the outer preamble were not there: the record is not its ciphertext.
    let mut single = prefix[..SegmentCipher::prefix_len(false)].to_vec();
    single[7] = 0;
    let opened = SegmentCipher::reopen(&guard(false), NOW, EPOCH, &single).map(|(cipher, _)| records[0].open(&cipher));
    assert!(!matches!(opened, Ok(Ok(_))));
    let one_layer = SegmentCipher::reopen(&guard(false), NOW, EPOCH, &prefix).unwrap_err();
    assert_eq!(one_layer, OpenError::WrongPlace { object: header(1).object });
}
