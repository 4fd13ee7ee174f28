//! One entry per reader of foreign bytes, for property tests on stable and fuzzers elsewhere: whatever comes in, no panic, no
//! endless loop, and nothing opens that was not sealed.

use strongroom_model::{AccountId, AekId, Epoch, KeyClass, ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, Rng};

use crate::{
    Aek, BufferCipher, CacheKey, CellPlace, Header, InfrastructureKey, KeyGuard, Mmk, ObjectKind, ObjectOpener, SegmentCipher, SpillKey,
    WorkspaceSecret, WrappedAek, open, open_cell,
};

const NOW: BootTime = BootTime(1);
const EPOCH: Epoch = Epoch { account: AccountId::from_bytes([2; 16]), aek: AekId::from_bytes([1; 16]) };
const WORKSPACE: WorkspaceId = WorkspaceId::from_bytes([3; 16]);

/// Not random: what a fuzzer finds has to be found again.
#[derive(Debug)]
struct Fixed;

impl Rng for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn guard() -> KeyGuard {
    let guard =
        KeyGuard::new(EPOCH, KeyClass::Mmk, Aek::generate(EPOCH.aek, &Fixed), Some(InfrastructureKey::generate(&Fixed)), BootTime::NEVER);
    guard.install_workspace(WORKSPACE, WorkspaceSecret::generate(&Fixed));
    guard
}

/// A header that parses is written back as it was read.
///
/// # Panics
/// If it is not.
pub fn fuzz_header(bytes: &[u8]) {
    if let Ok(header) = Header::parse(bytes) {
        assert_eq!(header.to_bytes().as_slice(), &bytes[..Header::LEN]);
    }
}

/// A whole object, and the same bytes under an opener, of one layer and of two.
///
/// # Panics
/// If anything opens.
pub fn fuzz_object(bytes: &[u8]) {
    let guard = guard();
    for double in [false, true] {
        let header = Header {
            kind: ObjectKind::Block,
            double,
            aek: EPOCH.aek,
            account: EPOCH.account,
            workspace: WORKSPACE,
            table: TableId::from_bytes([4; 16]),
            window_start: 3_600,
            object: ObjectId::from_bytes([5; 16]),
        };
        // With and without a good header in front, so that both the header and what follows it are reached.
        for sealed in [bytes.to_vec(), [&header.to_bytes(), bytes].concat()] {
            assert!(open(&guard, NOW, &header, &sealed).is_err());
            assert!(ObjectOpener::new(&guard, NOW, &header, &sealed, sealed.len() as u64).is_err());
        }
    }
}

/// A cell and a part of the hot cache.
///
/// # Panics
/// If anything opens.
pub fn fuzz_cell(bytes: &[u8]) {
    let place = CellPlace { epoch: EPOCH, workspace: WORKSPACE, table: TableId::NIL, row: ObjectId::from_bytes([5; 16]) };
    assert!(open_cell(&guard(), NOW, &place, bytes).is_err());
    let key = CacheKey::generate(&Fixed).effective(None, NOW).expect("there is no guard to refuse");
    assert!(key.open_part(NOW, place.row, 0, bytes).is_err());
}

/// The start of a WAL segment and a record in a good one.
///
/// # Panics
/// If a record opens.
pub fn fuzz_wal(bytes: &[u8]) {
    let guard = guard();
    assert!(SegmentCipher::reopen(&guard, NOW, EPOCH, bytes).is_err());
    let header = Header { double: guard.is_double(), aek: EPOCH.aek, account: EPOCH.account, ..Header::blank(ObjectKind::Wal) };
    let (cipher, _) = SegmentCipher::create(&guard, NOW, &Fixed, &header).expect("the header fits");
    if let Some((record, tag)) = bytes.split_last_chunk::<16>() {
        assert!(cipher.open_record(&guard, NOW, 1, 0, &[0; 16], &mut record.to_vec(), tag).is_err());
    }
}

/// A wrapped-AEK record: one that parses is written back as it was read, and does not unwrap.
///
/// # Panics
/// If either fails.
pub fn fuzz_wrapped_aek(bytes: &[u8]) {
    if let Ok(record) = WrappedAek::from_bytes(bytes) {
        assert_eq!(record.to_bytes(), bytes);
        assert!(Mmk::generate(&Fixed).unwrap_aek(&record).is_err());
    }
}

/// A spill file, given in two pieces.
///
/// # Panics
/// If its end is proved.
pub fn fuzz_stream(bytes: &[u8]) {
    let key = SpillKey::generate(&Fixed);
    let mut out = Vec::new();
    let mut sealer = key.sealer(&Fixed);
    let mut opener = key.opener(sealer.id());
    // A good preamble in front, so that chunks are reached.
    sealer.push(&[], &mut out);
    let file = [out.as_slice(), bytes].concat();
    let (first, second) = file.split_at(file.len() / 2);
    let mut plain = Vec::new();
    let pushed = opener.push(first, &mut plain).and_then(|()| opener.push(second, &mut plain));
    assert!(pushed.and_then(|()| opener.finish(&mut plain)).is_err());
    assert!(plain.is_empty());
}

/// A segment's prefix of the sealed buffer, and a record behind a good one.
///
/// # Panics
/// If anything opens.
pub fn fuzz_buffered(bytes: &[u8]) {
    let (mmk, guard) = (Mmk::generate(&Fixed), guard());
    assert!(BufferCipher::reopen(&mmk, bytes).is_err(), "a prefix nobody made opened");
    let header =
        Header { kind: ObjectKind::Buffered, double: true, aek: EPOCH.aek, account: EPOCH.account, ..Header::blank(ObjectKind::Buffered) };
    let (cipher, _) = BufferCipher::create(&mmk, &Fixed, &header, &[]);
    let mut record = bytes.to_vec();
    assert!(cipher.prove_record(1, 0, &[0; 16], &mut record, &[7; 16]).is_err(), "a record nobody sealed was proved");
    assert!(cipher.open_proved(&guard, NOW, 1, 0, &[0; 16], &mut record).is_err(), "a record nobody sealed opened");
}
