use strongroom_envelope::{CHUNK_LEN, OpenError, SpillKey, StreamId};

use crate::kit::{Exactly, Seeded, plain};

fn key() -> SpillKey {
    SpillKey::generate(&Exactly([0x88; 32]))
}

fn seal(seed: u64, plain: &[u8], step: usize) -> (StreamId, Vec<u8>) {
    let mut sealer = key().sealer(&Seeded::new(seed));
    let id = sealer.id();
    let mut out = Vec::new();
    plain.chunks(step).for_each(|piece| sealer.push(piece, &mut out));
    sealer.finish(&mut out);
    (id, out)
}

fn open(id: StreamId, sealed: &[u8], step: usize) -> Result<Vec<u8>, OpenError> {
    let mut opener = key().opener(id);
    let mut out = Vec::new();
    for piece in sealed.chunks(step) {
        opener.push(piece, &mut out)?;
    }
    opener.finish(&mut out)?;
    Ok(out)
}

#[test]
fn a_stream_comes_back_however_it_was_cut_into_pieces() {
    for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN + 5] {
        let (id, whole) = seal(1, &plain(len), 1 << 20);
        for step in [1_000, CHUNK_LEN, CHUNK_LEN + 1, 1 << 20] {
            let (_, sealed) = seal(1, &plain(len), step);
            assert!(sealed == whole, "pieces do not show");
            assert!(open(id, &sealed, step).unwrap() == plain(len), "{len} {step}");
        }
    }
}

#[test]
fn a_stream_that_was_cut_flipped_or_swapped_is_refused() {
    let (id, sealed) = seal(1, &plain(2 * CHUNK_LEN + 7), 1 << 20);
    let (other, others) = seal(2, &plain(2 * CHUNK_LEN + 7), 1 << 20);
    assert!(matches!(open(id, &others, 5_000), Err(OpenError::WrongPlace { .. })));
    assert!(open(other, &others, 5_000).is_ok());
    for len in [0, 30, 56, 60, 72, 56 + 16_400, 56 + 16_400 + 16, 56 + 2 * 16_400, sealed.len() - 1] {
        assert!(open(id, &sealed[..len], 5_000).is_err(), "cut to {len}");
    }
    for at in (0..80).chain((0..sealed.len()).step_by(61)) {
        let mut flipped = sealed.clone();
        flipped[at] ^= 2;
        assert!(open(id, &flipped, 1 << 20).is_err(), "byte {at}");
    }
    assert!(open(id, &[&sealed[..], &[0; 40]].concat(), 1 << 20).is_err());
}

#[test]
fn another_querys_key_opens_nothing() {
    let (id, sealed) = seal(1, b"rows", 10);
    let mut opener = SpillKey::generate(&Exactly([0x89; 32])).opener(id);
    assert!(matches!(opener.push(&sealed, &mut Vec::new()), Err(OpenError::NotCommitted { .. })));
}
