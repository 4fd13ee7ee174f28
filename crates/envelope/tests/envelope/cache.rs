use strongroom_envelope::{CacheKey, KeyGuard, OpenError, PartKey};
use strongroom_model::{KeyClass, ObjectId};

use crate::kit::{Exactly, Making, NOW, OBJECT, Seeded, guard, plain};

fn key() -> CacheKey {
    CacheKey::generate(&Exactly([0x77; 32]))
}

#[test]
fn a_part_comes_back_and_only_as_itself() {
    let part_key = key().effective(Some(&guard(false)), NOW).unwrap();
    for len in [0, 1, 16_384, 40_000] {
        let file = part_key.seal_part(NOW, &Seeded::new(1), OBJECT, 3, &plain(len)).unwrap();
        assert_eq!(file.len() as u64, PartKey::file_len(len as u64));
        assert!(part_key.open_part(NOW, OBJECT, 3, &file).unwrap() == plain(len));
        assert!(matches!(part_key.open_part(NOW, OBJECT, 4, &file), Err(OpenError::NotCommitted { .. })));
        assert!(matches!(part_key.open_part(NOW, ObjectId::NIL, 3, &file), Err(OpenError::NotCommitted { .. })));
        for at in (0..file.len()).step_by(97).chain(0..56) {
            let mut flipped = file.clone();
            flipped[at] ^= 4;
            assert!(part_key.open_part(NOW, OBJECT, 3, &flipped).is_err(), "byte {at}");
        }
        assert!(part_key.open_part(NOW, OBJECT, 3, &file[..file.len() - 1]).is_err());
    }
}

#[test]
fn a_range_of_a_part_opens_from_its_own_chunks_alone() {
    let part_key = key().effective(Some(&guard(false)), NOW).unwrap();
    let len = 40_000_u64;
    let file = part_key.seal_part(NOW, &Seeded::new(1), OBJECT, 3, &plain(40_000)).unwrap();
    let prefix: &[u8; PartKey::PREFIX_LEN] = file[..PartKey::PREFIX_LEN].try_into().unwrap();
    let open = |part, range: &std::ops::Range<u64>, sealed: &[u8]| part_key.open_part_range(NOW, OBJECT, part, len, range, prefix, sealed);
    let cut = |bytes: &[u8], range: &std::ops::Range<u64>| {
        bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
    };
    for range in [0..1, 0..len, 16_383..16_385, 32_768..39_999, 39_999..50_000, 7..7, 50_000..60_000] {
        let lies = PartKey::sealed_range(len, &range);
        assert!(lies.end <= PartKey::file_len(len));
        let mut sealed = cut(&file, &lies);
        let wanted = cut(&plain(40_000), &(range.start.min(len)..range.end.min(len)));
        assert_eq!(open(3, &range, &sealed).unwrap(), wanted);
        assert!(open(4, &range, &sealed).is_err());
        if let Some(last) = sealed.last_mut() {
            *last ^= 1;
            assert!(matches!(open(3, &range, &sealed), Err(OpenError::NotAuthentic { .. })));
            assert!(matches!(open(3, &range, &sealed[1..]), Err(OpenError::Truncated { .. })));
        }
    }
}

#[test]
fn a_customers_cache_needs_the_customers_key_too() {
    let cmk = || Making { class: KeyClass::Cmk, ..Making::new(false) };
    let seal = |guard: Option<KeyGuard>| {
        key().effective(guard.as_ref(), NOW).unwrap().seal_part(NOW, &Seeded::new(1), OBJECT, 0, b"part").unwrap()
    };
    let opens =
        |guard: Option<KeyGuard>, file: &[u8]| key().effective(guard.as_ref(), NOW).unwrap().open_part(NOW, OBJECT, 0, file).is_ok();

    let theirs = seal(Some(cmk().guard()));
    assert!(opens(Some(cmk().guard()), &theirs));
    assert!(!opens(None, &theirs), "the node's own key alone");
    assert!(!opens(Some(Making { aek: [9; 32], ..cmk() }.guard()), &theirs), "another AEK's share");

    let ours = seal(Some(guard(false)));
    assert!(opens(None, &ours), "an MMK epoch adds no share");
}

#[test]
fn a_file_name_tells_nothing_and_is_always_the_same() {
    let name = key().file_name(OBJECT, 1);
    assert_eq!(name, key().file_name(OBJECT, 1));
    assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()));
    assert_ne!(name, key().file_name(OBJECT, 2));
    assert_ne!(name, key().file_name(ObjectId::NIL, 1));
    assert_ne!(name, CacheKey::generate(&Exactly([0x78; 32])).file_name(OBJECT, 1));
}
