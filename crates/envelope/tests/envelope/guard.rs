use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use strongroom_envelope::{
    CacheKey, CellPlace, GuardError, ObjectOpener, OpenError, SealError, SegmentCipher, WorkspaceSecret, open, open_cell, seal, seal_cell,
};
use strongroom_model::{ErrorKind, KeyClass, TableId};
use strongroom_world::BootTime;

use crate::kit::{EPOCH, Exactly, Making, NOW, OBJECT, OTHER_WORKSPACE, SECRET_BYTES, Seeded, WORKSPACE, guard, header, plain};

const PLACE: CellPlace = CellPlace { epoch: EPOCH, workspace: WORKSPACE, table: TableId::NIL, row: OBJECT };

#[test]
fn keys_work_until_the_deadline_and_not_at_it() {
    let guard = Making { deadline: BootTime(5_000), ..Making::new(false) }.guard();
    let rng = Seeded::new(1);
    let cell = seal_cell(&guard, BootTime(4_999), &rng, &PLACE, b"x").unwrap();
    let expired = GuardError::Expired { epoch: EPOCH };
    assert_eq!(guard.check(BootTime(5_000)), Err(expired));
    assert_eq!(seal_cell(&guard, BootTime(5_000), &rng, &PLACE, b"x"), Err(SealError::Guard(expired)));
    assert_eq!(open_cell(&guard, BootTime(5_001), &PLACE, &cell), Err(OpenError::Guard(expired)));
    assert_eq!((expired.kind(), expired.code()), (ErrorKind::Unavailable, "KeyVaultUnavailable"));
    guard.renew(BootTime(6_000));
    assert_eq!(open_cell(&guard, BootTime(5_999), &PLACE, &cell).unwrap(), b"x");
    guard.renew(BootTime(0));
    assert_eq!(guard.check(BootTime(0)), Ok(()), "a guard renewed to the past is expired, not killed");
    assert_eq!(guard.check(BootTime(1)), Err(expired));
}

#[test]
fn an_mmk_guard_has_no_end() {
    assert_eq!(guard(false).check(BootTime::NEVER), Ok(()));
}

#[test]
fn a_killed_guard_gives_nothing_to_anybody_and_no_renewal_wakes_it() {
    let guard = guard(false);
    let rng = Seeded::new(1);
    let clone = guard.clone();
    let sealed = seal(&guard, NOW, &rng, &header(false), &plain(100)).unwrap();
    let opener = ObjectOpener::new(&guard, NOW, &header(false), &sealed, sealed.len() as u64).unwrap();
    let wal = strongroom_envelope::Header {
        kind: strongroom_envelope::ObjectKind::Wal,
        workspace: strongroom_model::WorkspaceId::NIL,
        table: TableId::NIL,
        ..header(false)
    };
    let (segment, prefix) = SegmentCipher::create(&guard, NOW, &rng, &wal).unwrap();
    let cache = CacheKey::generate(&rng);
    let part = cache.effective(Some(&guard), NOW).unwrap();

    clone.kill();
    guard.renew(BootTime::NEVER);
    guard.install_workspace(WORKSPACE, WorkspaceSecret::generate(&rng));
    let killed = GuardError::Killed { epoch: EPOCH };
    assert_eq!(guard.check(NOW), Err(killed));
    assert_eq!((killed.kind(), killed.code()), (ErrorKind::KeyRevoked, "CustomerKeyRevoked"));
    assert!(!guard.has_workspace(WORKSPACE));
    assert_eq!(seal(&guard, NOW, &rng, &header(false), b""), Err(SealError::Guard(killed)));
    assert_eq!(open(&guard, NOW, &header(false), &sealed), Err(OpenError::Guard(killed)));
    let range = usize::try_from(opener.sealed_range(0..1).start).unwrap();
    assert_eq!(opener.open_range(&guard, NOW, 0..1, &sealed[range..]), Err(OpenError::Guard(killed)));
    assert_eq!(segment.seal_record(&guard, NOW, 1, 0, &[0; 16], &mut vec![1], 0), Err(SealError::Guard(killed)));
    assert_eq!(SegmentCipher::reopen(&guard, NOW, EPOCH, &prefix).unwrap_err(), OpenError::Guard(killed));
    assert_eq!(part.seal_part(NOW, &rng, OBJECT, 0, b"x"), Err(SealError::Guard(killed)));
    assert_eq!(cache.effective(Some(&guard), NOW).unwrap_err(), killed);
}

#[test]
fn a_killed_guards_openers_are_wiped_and_not_just_refused() {
    let guard = guard(true);
    let sealed = seal(&guard, NOW, &Seeded::new(1), &header(true), &plain(100)).unwrap();
    let opener = ObjectOpener::new(&guard, NOW, &header(true), &sealed, sealed.len() as u64).unwrap();
    guard.kill();
    // A fresh guard over the same keys allows it, but the opener has none left.
    let fresh = Making::new(true).guard();
    let range = opener.final_range();
    let bytes = &sealed[usize::try_from(range.start).unwrap()..];
    assert_eq!(opener.prove_end(&fresh, NOW, bytes), Err(OpenError::Guard(GuardError::Killed { epoch: EPOCH })));
}

#[test]
fn forgetting_a_workspace_wipes_its_keys_and_openers_and_no_others() {
    let guard = guard(false);
    let rng = Seeded::new(1);
    let other = strongroom_envelope::Header { workspace: OTHER_WORKSPACE, ..header(false) };
    let make = |header| {
        let sealed = seal(&guard, NOW, &rng, header, &plain(10)).unwrap();
        (ObjectOpener::new(&guard, NOW, header, &sealed, sealed.len() as u64).unwrap(), sealed)
    };
    let (mine, theirs) = (make(&header(false)), make(&other));
    let prove = |(opener, sealed): &(ObjectOpener, Vec<u8>)| {
        let range = opener.final_range();
        opener.prove_end(&guard, NOW, &sealed[usize::try_from(range.start).unwrap()..])
    };
    guard.forget_workspace(WORKSPACE);
    assert!(!guard.has_workspace(WORKSPACE));
    assert_eq!(prove(&mine), Err(OpenError::Guard(GuardError::NoWorkspace { epoch: EPOCH, workspace: WORKSPACE })));
    assert_eq!(prove(&theirs), Ok(()));
    guard.install_workspace(WORKSPACE, WorkspaceSecret::generate(&Exactly(SECRET_BYTES)));
    assert!(open(&guard, NOW, &header(false), &mine.1).is_ok());
}

#[test]
fn workspaces_with_one_secret_still_have_keys_of_their_own() {
    let sealed = seal(&guard(false), NOW, &Seeded::new(1), &header(false), b"mine").unwrap();
    let other = strongroom_envelope::Header { workspace: OTHER_WORKSPACE, ..header(false) };
    let moved = [&other.to_bytes(), &sealed[96..]].concat();
    assert!(open(&guard(false), NOW, &other, &moved).is_err());
}

#[test]
fn nothing_is_sealed_or_opened_once_kill_has_returned() {
    for round in 0..20 {
        let guard = Making { class: KeyClass::Cmk, ..Making::new(false) }.guard();
        let sealed = seal(&guard, NOW, &Seeded::new(1), &header(false), &plain(50_000)).unwrap();
        let killed = AtomicBool::new(false);
        thread::scope(|scope| {
            for worker in 0..3 {
                let (guard, sealed, killed) = (guard.clone(), &sealed, &killed);
                scope.spawn(move || {
                    let rng = Seeded::new(worker);
                    loop {
                        let was_killed = killed.load(Ordering::SeqCst);
                        let opened = ObjectOpener::new(&guard, NOW, &header(false), sealed, sealed.len() as u64);
                        let wrote = seal_cell(&guard, NOW, &rng, &PLACE, b"x");
                        if was_killed {
                            assert!(opened.is_err() && wrote.is_err());
                            break;
                        }
                        guard.renew(BootTime::NEVER);
                    }
                });
            }
            for _ in 0..round * 500 {
                std::hint::spin_loop();
            }
            guard.kill();
            killed.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn nothing_of_a_key_is_printed() {
    let guard = guard(true);
    let printed = format!("{guard:?} {:?} {:?}", crate::kit::aek(), WorkspaceSecret::generate(&Exactly(SECRET_BYTES)));
    assert!(!printed.contains("known") && !printed.contains(&hex::encode(SECRET_BYTES)) && !printed.contains("116, 104, 101"));
    assert!(printed.contains(&EPOCH.aek.to_string()));
}
