use std::ops::Range;

use proptest::prelude::*;
use strongroom_envelope::{CHUNK_LEN, ObjectOpener, OpenError, PREFIX_LEN, seal};

use crate::kit::{Making, NOW, Seeded, guard, header, plain};

fn cut(bytes: &[u8], range: Range<u64>) -> &[u8] {
    &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

fn opener(double: bool, sealed: &[u8]) -> ObjectOpener {
    let len = sealed.len() as u64;
    let prefix = cut(sealed, 0..ObjectOpener::prefix_len(double).min(len));
    ObjectOpener::new(&guard(double), NOW, &header(double), prefix, len).unwrap()
}

fn check_range(double: bool, plain: &[u8], sealed: &[u8], range: Range<u64>) {
    let opener = opener(double, sealed);
    assert_eq!(opener.plain_len(), plain.len() as u64);
    let got = opener.open_range(&guard(double), NOW, range.clone(), cut(sealed, opener.sealed_range(range.clone()))).unwrap();
    let end = range.end.min(plain.len() as u64).max(range.start.min(plain.len() as u64));
    assert!(got == cut(plain, range.start.min(end)..end), "{range:?} of {} double {double}", plain.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_range_of_any_object_is_what_was_sealed_there(len in 0_usize..5 * CHUNK_LEN, start in 0_u64..90_000, more in 0_u64..90_000, double: bool) {
        let plain = plain(len);
        let sealed = seal(&guard(double), NOW, &Seeded::new(1), &header(double), &plain).unwrap();
        check_range(double, &plain, &sealed, start..start + more);
        let opener = opener(double, &sealed);
        opener.prove_end(&guard(double), NOW, cut(&sealed, opener.final_range())).unwrap();
    }
}

#[test]
fn ranges_at_the_borders_of_both_layers_open() {
    // Inner chunk k lies in two outer ones, in three where k mod 1024 = 1020: its 16,400 bytes begin at 56 + k * 16400.
    let plain = plain(1_022 * CHUNK_LEN + 5);
    let sealed = seal(&guard(true), NOW, &Seeded::new(1), &header(true), &plain).unwrap();
    let opener = opener(true, &sealed);
    let span = |k: u64| {
        let range = opener.sealed_range(k * CHUNK_LEN as u64..(k + 1) * CHUNK_LEN as u64);
        (range.end - range.start).div_ceil(16_400)
    };
    assert_eq!([span(0), span(1), span(1_019), span(1_020), span(1_021)], [2, 2, 2, 3, 2]);
    for k in [0, 1, 1_019, 1_020, 1_021, 1_022] {
        let start = k * CHUNK_LEN as u64;
        for range in [start..start + 1, start..start + CHUNK_LEN as u64, start.saturating_sub(1)..start + 1] {
            check_range(true, &plain, &sealed, range);
        }
    }
}

#[test]
fn what_is_fetched_for_a_range_is_no_more_than_its_chunks() {
    let sealed = seal(&guard(false), NOW, &Seeded::new(1), &header(false), &plain(4 * CHUNK_LEN)).unwrap();
    let opener = opener(false, &sealed);
    let prefix = PREFIX_LEN as u64;
    assert_eq!(opener.sealed_range(0..1), prefix..prefix + 16_400);
    assert_eq!(opener.sealed_range(16_383..16_385), prefix..prefix + 2 * 16_400);
    assert_eq!(opener.sealed_range(5..5), prefix..prefix);
    assert_eq!(opener.sealed_range(1 << 60..1 << 61), prefix..prefix);
    assert_eq!(opener.final_range(), prefix + 4 * 16_400..prefix + 4 * 16_400 + 16);
}

#[test]
fn bytes_of_another_range_do_not_open() {
    for double in [false, true] {
        let sealed = seal(&guard(double), NOW, &Seeded::new(1), &header(double), &plain(3 * CHUNK_LEN)).unwrap();
        let opener = opener(double, &sealed);
        let (guard, first, second) = (guard(double), 0..100, CHUNK_LEN as u64..CHUNK_LEN as u64 + 100);
        let foreign = opener.open_range(&guard, NOW, first.clone(), cut(&sealed, opener.sealed_range(second)));
        assert!(matches!(foreign, Err(OpenError::NotAuthentic { .. })), "{double}");
        let short = &cut(&sealed, opener.sealed_range(first.clone()))[1..];
        assert!(matches!(opener.open_range(&guard, NOW, first, short), Err(OpenError::Truncated { .. })));
        assert!(matches!(opener.prove_end(&guard, NOW, &[]), Err(OpenError::Truncated { .. })));
    }
}

#[test]
fn a_wrong_whole_length_is_found_out_by_the_final_chunk() {
    for double in [false, true] {
        let sealed = seal(&guard(double), NOW, &Seeded::new(1), &header(double), &plain(3 * CHUNK_LEN)).unwrap();
        for wrong in [sealed.len() - 16, sealed.len() - 1, sealed.len() - 5_000, sealed.len() - 16_400 - 3] {
            let claimed = &sealed[..wrong];
            let proved = ObjectOpener::new(&guard(double), NOW, &header(double), claimed, wrong as u64)
                .and_then(|opener| opener.prove_end(&guard(double), NOW, cut(claimed, opener.final_range())));
            assert!(matches!(proved, Err(OpenError::NotAuthentic { .. } | OpenError::Truncated { .. })), "{double} {wrong}");
        }
        // A length far beyond what there is, as a forged catalog row may claim.
        let huge = ObjectOpener::new(&guard(double), NOW, &header(double), &sealed, u64::MAX - 40);
        assert!(huge.is_err() || huge.is_ok_and(|opener| opener.prove_end(&guard(double), NOW, &sealed).is_err()));
    }
}

#[test]
fn a_prefix_that_is_too_short_is_refused() {
    for double in [false, true] {
        let sealed = seal(&guard(double), NOW, &Seeded::new(1), &header(double), &plain(3 * CHUNK_LEN)).unwrap();
        let needed = usize::try_from(ObjectOpener::prefix_len(double)).unwrap();
        let made = |len: usize| ObjectOpener::new(&guard(double), NOW, &header(double), &sealed[..len], sealed.len() as u64);
        assert!(made(needed).is_ok());
        assert!(matches!(made(needed - 1), Err(OpenError::Truncated { .. })));
    }
}

#[test]
fn an_opener_is_of_no_use_with_another_epochs_guard() {
    let sealed = seal(&guard(false), NOW, &Seeded::new(1), &header(false), b"mine").unwrap();
    let opener = opener(false, &sealed);
    let mut other = Making::new(false);
    other.epoch.aek = strongroom_model::AekId::from_bytes([9; 16]);
    assert!(opener.prove_end(&other.guard(), NOW, cut(&sealed, opener.final_range())).is_err());
}
