use strongroom_envelope::{
    CHUNK_LEN, GuardError, Header, ObjectKind, ObjectOpener, OpenError, PREFIX_LEN, SealError, TAG_LEN, open, seal, sealed_len,
};
use strongroom_model::{AccountId, AekId, ErrorKind, ObjectId, TableId, WorkspaceId};

use crate::kit::{Making, NOW, OTHER_WORKSPACE, Seeded, guard, header, plain};

const BORDERS: [usize; 8] = [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN - 56, 2 * CHUNK_LEN, 3 * CHUNK_LEN + 100];

/// Opens by both ways and gives the whole-object answer; they must agree on whether it opens.
fn open_both(making: &Making, expected: &Header, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let guard = making.guard();
    let whole = open(&guard, NOW, expected, sealed);
    let ranged = ObjectOpener::new(&guard, NOW, expected, sealed, sealed.len() as u64).and_then(|opener| {
        let cut = |range: std::ops::Range<u64>| &sealed[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        opener.prove_end(&guard, NOW, cut(opener.final_range()))?;
        let all = 0..opener.plain_len();
        opener.open_range(&guard, NOW, all.clone(), cut(opener.sealed_range(all)))
    });
    assert_eq!(whole.is_ok(), ranged.is_ok(), "{whole:?} {ranged:?}");
    if let (Ok(whole), Ok(ranged)) = (&whole, &ranged) {
        assert!(whole == ranged);
    }
    whole
}

#[test]
fn every_length_opens_to_what_was_sealed_and_is_as_long_as_promised() {
    for double in [false, true] {
        for len in BORDERS {
            let sealed = seal(&guard(double), NOW, &Seeded::new(1), &header(double), &plain(len)).unwrap();
            assert_eq!(sealed.len() as u64, sealed_len(len as u64, double));
            assert_eq!(Header::parse(&sealed).unwrap(), header(double));
            assert!(open_both(&Making::new(double), &header(double), &sealed).unwrap() == plain(len), "{len} {double}");
        }
    }
}

#[test]
fn the_same_plaintext_seals_to_other_bytes_each_time() {
    let rng = Seeded::new(1);
    let sealed = || seal(&guard(false), NOW, &rng, &header(false), b"twice").unwrap();
    assert_ne!(sealed()[96..], sealed()[96..]);
}

#[test]
fn a_flip_of_any_header_salt_commitment_or_tag_byte_or_of_the_body_is_detected() {
    for double in [false, true] {
        let making = Making::new(double);
        let sealed = seal(&making.guard(), NOW, &Seeded::new(2), &header(double), &plain(CHUNK_LEN + 700)).unwrap();
        let first_tag = PREFIX_LEN + CHUNK_LEN;
        let exact = (0..PREFIX_LEN + 64).chain(first_tag..first_tag + TAG_LEN).chain(sealed.len() - TAG_LEN..sealed.len());
        for at in exact.chain((PREFIX_LEN..sealed.len()).step_by(64)) {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1 << (at % 8);
            let error = open_both(&making, &header(double), &flipped).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Corrupt, "IntegrityError"), "byte {at}");
        }
    }
}

#[test]
fn an_object_opens_only_in_its_own_place() {
    let mine = header(false);
    let places = [
        Header { aek: AekId::from_bytes([9; 16]), ..mine },
        Header { account: AccountId::from_bytes([9; 16]), ..mine },
        Header { workspace: OTHER_WORKSPACE, ..mine },
        Header { table: TableId::from_bytes([9; 16]), ..mine },
        Header { window_start: mine.window_start + 3_600, ..mine },
        Header { object: ObjectId::from_bytes([9; 16]), ..mine },
        Header { kind: ObjectKind::Cell, ..mine },
        Header { double: true, ..mine },
    ];
    for double in [false, true] {
        let mine = Header { double, ..mine };
        let sealed = seal(&guard(double), NOW, &Seeded::new(3), &mine, &plain(100)).unwrap();
        for elsewhere in places.map(|place| Header { double: place.double != double, ..place }) {
            // A guard that knows the epoch asked for, so that the header decides.
            let making = Making { epoch: elsewhere.epoch(), ..Making::new(true) };
            let refused = open_both(&making, &elsewhere, &sealed).unwrap_err();
            assert_eq!(refused, OpenError::WrongPlace { object: elsewhere.object });
            // Nor with its header rewritten: the commitment is over the header, too.
            let moved = [&elsewhere.to_bytes(), &sealed[Header::LEN..]].concat();
            let refused = open_both(&making, &elsewhere, &moved).unwrap_err();
            assert!(matches!(refused, OpenError::NotCommitted { .. }), "{refused} {elsewhere:?}");
        }
    }
}

#[test]
fn cutting_or_growing_an_object_anywhere_near_a_chunks_end_is_detected() {
    for double in [false, true] {
        let making = Making::new(double);
        let sealed = seal(&making.guard(), NOW, &Seeded::new(4), &header(double), &plain(3 * CHUNK_LEN)).unwrap();
        let chunk = CHUNK_LEN + TAG_LEN;
        let near = |border: usize| [border.saturating_sub(TAG_LEN), border - 1, border, border + 1, border + TAG_LEN, border + TAG_LEN + 1];
        let borders =
            [Header::LEN, Header::LEN + 24, PREFIX_LEN, PREFIX_LEN + 56].into_iter().chain((1..=3).map(|k| PREFIX_LEN + k * chunk));
        for len in borders.flat_map(near).chain([0]).filter(|len| *len < sealed.len()) {
            assert!(open_both(&making, &header(double), &sealed[..len]).is_err(), "cut to {len}");
        }
        for more in [1, TAG_LEN, TAG_LEN + 1, CHUNK_LEN, chunk - TAG_LEN, chunk] {
            let grown = [sealed.as_slice(), &sealed[sealed.len() - more..]].concat();
            assert!(open_both(&making, &header(double), &grown).is_err(), "grown by {more}");
            let padded = [sealed.as_slice(), &vec![0; more]].concat();
            assert!(open_both(&making, &header(double), &padded).is_err(), "padded by {more}");
        }
    }
}

#[test]
fn chunks_swapped_repeated_or_from_another_object_are_detected() {
    let making = Making::new(false);
    let rng = Seeded::new(5);
    let sealed = seal(&making.guard(), NOW, &rng, &header(false), &plain(2 * CHUNK_LEN + 9)).unwrap();
    let other = seal(&making.guard(), NOW, &rng, &header(false), &plain(2 * CHUNK_LEN + 9)).unwrap();
    let chunk = |of: &[u8], k: usize| of[PREFIX_LEN + k * (CHUNK_LEN + TAG_LEN)..][..CHUNK_LEN + TAG_LEN].to_vec();
    let rest = &sealed[PREFIX_LEN + 2 * (CHUNK_LEN + TAG_LEN)..];
    let made_of = |first: Vec<u8>, second: Vec<u8>| [&sealed[..PREFIX_LEN], &first, &second, rest].concat();
    assert!(open_both(&making, &header(false), &made_of(chunk(&sealed, 0), chunk(&sealed, 1))).is_ok());
    for forged in [
        made_of(chunk(&sealed, 1), chunk(&sealed, 0)),
        made_of(chunk(&sealed, 0), chunk(&sealed, 0)),
        made_of(chunk(&other, 0), chunk(&sealed, 1)),
        [&sealed[..PREFIX_LEN], &other[PREFIX_LEN..]].concat(),
    ] {
        assert!(matches!(open_both(&making, &header(false), &forged), Err(OpenError::NotAuthentic { .. })));
    }
}

#[test]
fn another_key_is_refused_by_the_commitment_before_any_chunk_is_tried() {
    for double in [false, true] {
        let making = Making::new(double);
        let sealed = seal(&making.guard(), NOW, &Seeded::new(6), &header(double), b"mine").unwrap();
        for other in [Making { aek: [7; 32], ..Making::new(double) }, Making { secret: [7; 32], ..Making::new(double) }] {
            let refused = open_both(&other, &header(double), &sealed).unwrap_err();
            assert_eq!(refused, OpenError::NotCommitted { object: header(double).object });
        }
    }
}

#[test]
fn either_key_alone_opens_nothing_of_a_doubly_sealed_object() {
    let sealed = seal(&guard(true), NOW, &Seeded::new(7), &header(true), &plain(100)).unwrap();
    // The account's keys without the provider's.
    let refused = open_both(&Making::new(false), &header(true), &sealed).unwrap_err();
    assert!(matches!(refused, OpenError::Guard(GuardError::NoInfrastructureKey { .. })));
    let wrong = Making { infrastructure: Some([8; 32]), ..Making::new(true) };
    assert!(matches!(open_both(&wrong, &header(true), &sealed), Err(OpenError::NotCommitted { .. })));
    // The provider's without the account's, or the workspace's.
    for wrong in [Making { aek: [8; 32], ..Making::new(true) }, Making { secret: [8; 32], ..Making::new(true) }] {
        assert!(matches!(open_both(&wrong, &header(true), &sealed), Err(OpenError::NotCommitted { .. })));
    }
    // The outer bytes taken for an inner layer.
    let stripped = [&header(false).to_bytes(), &sealed[Header::LEN..]].concat();
    assert!(matches!(open_both(&Making::new(true), &header(false), &stripped), Err(OpenError::NotCommitted { .. })));
}

#[test]
fn a_header_of_another_epoch_or_kind_is_not_sealed() {
    for wrong in [
        Header { aek: AekId::NIL, ..header(false) },
        Header { account: AccountId::NIL, ..header(false) },
        Header { kind: ObjectKind::Wal, ..header(false) },
        Header { kind: ObjectKind::Key, ..header(false) },
    ] {
        let refused = seal(&guard(false), NOW, &Seeded::new(8), &wrong, b"").unwrap_err();
        assert_eq!(refused, SealError::WrongHeader { object: wrong.object });
    }
    let stranger = Header { workspace: WorkspaceId::from_bytes([1; 16]), ..header(false) };
    let refused = seal(&guard(false), NOW, &Seeded::new(8), &stranger, b"").unwrap_err();
    assert!(matches!(refused, SealError::Guard(GuardError::NoWorkspace { .. })));
    let refused = seal(&guard(false), NOW, &Seeded::new(8), &header(true), b"").unwrap_err();
    assert!(matches!(refused, SealError::Guard(GuardError::NoInfrastructureKey { .. })));
}

#[test]
fn a_header_of_a_newer_build_is_named_as_such() {
    let good = header(false).to_bytes();
    for (at, what) in [(0, "sealed object"), (4, "format version"), (5, "cipher suite"), (6, "kind of object"), (7, "header flags")] {
        let mut bytes = good;
        bytes[at] = 0xfe;
        let Err(OpenError::UnknownFormat { what: found, .. }) = Header::parse(&bytes) else { panic!("byte {at}") };
        assert_eq!(found, what);
    }
    assert!(matches!(Header::parse(&good[..95]), Err(OpenError::Truncated { len: 95, .. })));
}
