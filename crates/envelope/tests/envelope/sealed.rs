//! The sealed buffer: rows go in without a key, and come out only with both.

use strongroom_envelope::{Aek, BufferCipher, BufferKey, Header, Mmk, ObjectKind, OpenError};
use strongroom_model::{AccountId, AekId, Epoch, TableId, WorkspaceId};
use strongroom_world::BootTime;

use crate::kit::{AEK_BYTES, EPOCH, Exactly, Making, NOW, OBJECT, ROOT_BYTES, Seeded, aek, guard, header};

const TEXT: &[u8] = b"rows that came while nobody could read them";
const FIRST: [u8; 16] = [0; 16];

fn mmk() -> Mmk {
    Mmk::from_bytes(ROOT_BYTES)
}

fn of_a_segment() -> Header {
    Header {
        kind: ObjectKind::Buffered,
        workspace: WorkspaceId::NIL,
        table: TableId::NIL,
        window_start: 30,
        object: OBJECT,
        ..header(true)
    }
}

/// A segment's prefix, and its first record with its tag.
fn sealed() -> (Vec<u8>, Vec<u8>, [u8; 16]) {
    let rng = Seeded::new(7);
    let (cipher, prefix) = BufferCipher::create(&mmk(), &rng, &of_a_segment(), b"note");
    let mut record = TEXT.to_vec();
    let tag = cipher.seal_record(&rng, &aek().buffer_key(), 1, 0, &FIRST, &mut record, 0).unwrap();
    (prefix, record, tag)
}

fn open(making: &Making, prefix: &[u8], record: &[u8], tag: [u8; 16], seq: u64, previous: [u8; 16]) -> Result<Vec<u8>, OpenError> {
    let (cipher, _) = BufferCipher::reopen(&mmk(), prefix)?;
    let mut record = record.to_vec();
    cipher.prove_record(seq, 0, &previous, &mut record, &tag)?;
    cipher.open_proved(&making.guard(), NOW, seq, 0, &previous, &mut record)?;
    Ok(record)
}

#[test]
fn rows_sealed_without_a_key_open_with_it_and_only_in_their_place() {
    let (prefix, record, tag) = sealed();
    let making = Making::new(false);
    assert_eq!(open(&making, &prefix, &record, tag, 1, FIRST).unwrap(), TEXT);
    assert!(open(&making, &prefix, &record, tag, 2, FIRST).is_err(), "another position");
    assert!(open(&making, &prefix, &record, tag, 1, [1; 16]).is_err(), "after another record");
    let stranger = Making { aek: [9; 32], ..Making::new(false) };
    assert!(matches!(open(&stranger, &prefix, &record, tag, 1, FIRST), Err(OpenError::NotAuthentic { chunk: 1, .. })), "another key");
    let elsewhere = Making { epoch: Epoch { account: AccountId::from_bytes([0x23; 16]), ..EPOCH }, ..Making::new(false) };
    assert!(matches!(open(&elsewhere, &prefix, &record, tag, 1, FIRST), Err(OpenError::WrongPlace { .. })), "another account");
    let gone = guard(false);
    gone.kill();
    let (cipher, _) = BufferCipher::reopen(&mmk(), &prefix).unwrap();
    let mut proved = record.clone();
    cipher.prove_record(1, 0, &FIRST, &mut proved, &tag).unwrap();
    assert!(matches!(cipher.open_proved(&gone, NOW, 1, 0, &FIRST, &mut proved), Err(OpenError::Guard(_))), "a killed guard");
    let late = Making { deadline: BootTime(5), ..Making::new(false) };
    assert!(matches!(open(&late, &prefix, &record, tag, 1, FIRST), Err(OpenError::Guard(_))), "a lease that is over");
}

#[test]
fn neither_key_alone_opens_a_record() {
    let (prefix, record, tag) = sealed();
    // The provider's: proves, and sees ciphertext only.
    let (cipher, _) = BufferCipher::reopen(&mmk(), &prefix).unwrap();
    let mut proved = record.clone();
    cipher.prove_record(1, 0, &FIRST, &mut proved, &tag).unwrap();
    let clear = |bytes: &[u8]| bytes.windows(8).any(|part| TEXT.windows(8).any(|known| known == part));
    assert!(!clear(&proved) && !clear(&record) && clear(TEXT));
    // The customer's, without the provider's root.
    let stranger = Mmk::from_bytes([1; 32]);
    assert!(matches!(BufferCipher::reopen(&stranger, &prefix), Err(OpenError::NotCommitted { .. })));
}

#[test]
fn who_has_the_public_key_alone_cannot_make_a_record_up() {
    let rng = Seeded::new(9);
    let (prefix, ..) = sealed();
    // Everything but the root is known: sealed to the right public key, for the right place.
    let (forger, _) = BufferCipher::create(&Mmk::from_bytes([1; 32]), &rng, &of_a_segment(), b"note");
    let mut record = TEXT.to_vec();
    let tag = forger.seal_record(&rng, &aek().buffer_key(), 1, 0, &FIRST, &mut record, 0).unwrap();
    assert!(matches!(open(&Making::new(false), &prefix, &record, tag, 1, FIRST), Err(OpenError::NotAuthentic { .. })));
}

#[test]
fn every_changed_byte_is_found() {
    let (prefix, record, tag) = sealed();
    let making = Making::new(false);
    for at in 0..prefix.len() {
        let mut changed = prefix.clone();
        changed[at] ^= 1;
        assert!(open(&making, &changed, &record, tag, 1, FIRST).is_err(), "byte {at} of the prefix");
    }
    for at in 0..record.len() {
        let mut changed = record.clone();
        changed[at] ^= 1;
        assert!(open(&making, &prefix, &changed, tag, 1, FIRST).is_err(), "byte {at} of the record");
    }
    for len in 0..record.len() {
        assert!(open(&making, &prefix, &record[..len], tag, 1, FIRST).is_err(), "cut at {len}");
    }
    for len in 0..prefix.len() {
        assert!(BufferCipher::reopen(&mmk(), &prefix[..len]).is_err(), "a prefix of {len}");
    }
}

#[test]
fn the_same_rows_never_look_the_same_twice() {
    let rng = Seeded::new(7);
    let (cipher, _) = BufferCipher::create(&mmk(), &rng, &of_a_segment(), b"");
    let record = |seq| {
        let mut record = TEXT.to_vec();
        cipher.seal_record(&rng, &aek().buffer_key(), seq, 0, &FIRST, &mut record, 0).unwrap();
        record
    };
    let (one, two) = (record(1), record(2));
    assert!(one.iter().zip(&two).filter(|(a, b)| a == b).count() < TEXT.len() / 2);
}

#[test]
fn a_public_key_is_vouched_for_in_its_epoch_only() {
    let cell = mmk().seal_buffer_key(&Seeded::new(1), EPOCH, &aek().buffer_key());
    assert_eq!(mmk().open_buffer_key(EPOCH, &cell).unwrap(), aek().buffer_key());
    assert!(Mmk::from_bytes([1; 32]).open_buffer_key(EPOCH, &cell).is_err());
    assert!(mmk().open_buffer_key(Epoch { aek: AekId::from_bytes([9; 16]), ..EPOCH }, &cell).is_err());
    assert!(mmk().open_buffer_key(Epoch { account: AccountId::NIL, ..EPOCH }, &cell).is_err());
    let another = Aek::generate(EPOCH.aek, &Exactly([8; 32])).buffer_key();
    assert_ne!(another, aek().buffer_key());
    assert_eq!(BufferKey::from_bytes(*another.as_bytes()), another);
    assert_ne!(AEK_BYTES, *aek().buffer_key().as_bytes());
}
