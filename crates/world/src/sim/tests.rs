use std::collections::BTreeSet;
use std::io::{ErrorKind, IoSlice};
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::{Fs, WallTime};

fn path(text: &str) -> &Path {
    Path::new(text)
}

fn write(fs: &dyn Fs, name: &str, bytes: &[u8]) {
    let file = fs.create_new(path(name)).unwrap();
    file.write_all_at(&[IoSlice::new(bytes)], 0).unwrap();
}

#[test]
fn the_same_seed_loses_the_same_bytes() {
    let run = |seed| {
        let sim = SimWorld::new(seed);
        let fs = sim.world().fs;
        for n in 0..20 {
            write(&*fs, &format!("/f{n}"), &[n; 3_000]);
        }
        fs.sync_dir(path("/")).unwrap();
        sim.fs().power_cut();
        let mut random = [0; 32];
        sim.world().rng.fill(&mut random);
        (sim.fs().files(), random)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn unsynced_bytes_come_back_whole_torn_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let sim = SimWorld::new(seed);
        let fs = sim.world().fs;
        let file = fs.create_new(path("/f")).unwrap();
        file.write_all_at(&[IoSlice::new(&[1; 1_024])], 0).unwrap();
        file.sync_all().unwrap();
        fs.sync_dir(path("/")).unwrap();
        file.write_all_at(&[IoSlice::new(&[2; 1_024])], 512).unwrap();
        sim.fs().power_cut();
        let bytes = sim.world().fs.read(path("/f"), 4_096).unwrap();
        assert_eq!(bytes[..512], [1; 512], "what was synced and not written again stays");
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside a sector");
        }
        seen.insert(bytes.chunks(512).map(|sector| sector[0]).collect::<Vec<_>>());
    }
    assert!(seen.contains(&vec![1, 1]) && seen.contains(&vec![1, 2, 2]) && seen.contains(&vec![1, 1, 2]), "{seen:?}");
}

#[test]
fn a_name_is_durable_only_after_its_directory_was_synced() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..100 {
        let sim = SimWorld::new(seed);
        let fs = sim.world().fs;
        write(&*fs, "/old", b"old");
        fs.sync_dir(path("/")).unwrap();
        let file = fs.create_new(path("/new")).unwrap();
        file.sync_all().unwrap();
        fs.remove_file(path("/old")).unwrap();
        sim.fs().power_cut();
        let names: Vec<String> = sim.world().fs.read_dir(path("/")).unwrap().into_iter().map(|entry| entry.name).collect();
        *(if names.contains(&"new".to_owned()) { &mut kept } else { &mut lost }) += 1;
    }
    assert!(kept > 10 && lost > 10, "{kept} kept, {lost} lost");
}

#[test]
fn an_atomic_write_leaves_the_old_bytes_or_the_new() {
    for seed in 0..200 {
        let sim = SimWorld::new(seed);
        sim.world().fs.create_dir_all(path("/d")).unwrap();
        sim.world().fs.sync_dir(path("/")).unwrap();
        sim.world().fs.write_atomic(path("/d/key"), b"old").unwrap();
        sim.fs().power_cut_after(seed % 7);
        let done = sim.world().fs.write_atomic(path("/d/key"), b"new").is_ok();
        sim.fs().power_cut();
        let bytes = sim.world().fs.read(path("/d/key"), 9).unwrap();
        assert!(bytes == b"new" || (bytes == b"old" && !done), "seed {seed}: {bytes:?} after {done}");
    }
}

#[test]
fn a_rename_across_directories_never_loses_both_names() {
    for seed in 0..200 {
        let sim = SimWorld::new(seed);
        let fs = sim.world().fs;
        fs.create_dir_all(path("/a")).unwrap();
        fs.create_dir_all(path("/b")).unwrap();
        fs.sync_dir(path("/")).unwrap();
        let file = fs.create_new(path("/a/f")).unwrap();
        file.sync_all().unwrap();
        fs.sync_dir(path("/a")).unwrap();
        fs.rename_no_replace(path("/a/f"), path("/b/f")).unwrap();
        if seed % 2 == 0 {
            fs.sync_dir(path("/a")).unwrap();
        }
        sim.fs().power_cut();
        let fs = sim.world().fs;
        assert!(fs.metadata(path("/a/f")).is_ok() || fs.metadata(path("/b/f")).is_ok(), "seed {seed}");
    }
}

#[test]
fn a_failed_fsync_loses_the_pages_and_the_next_one_hides_it() {
    let mut lost = 0;
    for seed in 0..50 {
        let sim = SimWorld::new(seed);
        let fs = sim.world().fs;
        let file = fs.create_new(path("/f")).unwrap();
        fs.sync_dir(path("/")).unwrap();
        file.write_all_at(&[IoSlice::new(&[7; 2_048])], 0).unwrap();
        sim.fs().fail_next(SimOp::Sync, ErrorKind::Other);
        assert!(file.sync_data().is_err());
        assert!(file.sync_data().is_ok(), "the kernel has forgotten");
        let mut bytes = [0; 2_048];
        file.read_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [7; 2_048], "the cache still shows them");
        sim.fs().power_cut();
        lost += u32::from(sim.world().fs.read(path("/f"), 4_096).unwrap() != [7; 2_048]);
    }
    assert!(lost > 10);
}

#[test]
fn a_full_disk_refuses_to_allocate_and_to_grow() {
    let sim = SimWorld::new(1);
    let fs = sim.world().fs;
    let file = fs.create_new(path("/f")).unwrap();
    file.allocate(1_000).unwrap();
    sim.fs().fill_disk(100);
    assert_eq!(fs.space(path("/")).unwrap().free, 100);
    assert_eq!(file.allocate(1_101).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_all_at(&[IoSlice::new(&[1; 500])], 900).unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(file.write_all_at(&[IoSlice::new(&[1; 500])], 500).is_ok(), "inside what was allocated there is room");
    sim.fs().empty_disk();
    assert!(file.allocate(1 << 16).is_ok());
}

#[test]
fn the_nth_call_of_a_kind_fails_once() {
    let sim = SimWorld::new(1);
    let fs = sim.world().fs;
    sim.fs().fail_nth(SimOp::Create, 1, ErrorKind::PermissionDenied);
    assert!(fs.create_new(path("/a")).is_ok());
    assert_eq!(fs.create_new(path("/b")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert!(fs.create_new(path("/b")).is_ok());
    assert_eq!(fs.create_new(path("/b")).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_killed_process_loses_its_files_but_no_bytes() {
    let sim = SimWorld::new(1);
    let old = sim.world();
    write(&*old.fs, "/f", b"cached");
    sim.fs().kill();
    assert!(old.fs.open(path("/f")).is_err());
    assert_eq!(sim.world().fs.read(path("/f"), 10).unwrap(), b"cached");
}

#[tokio::test]
async fn a_sleep_ends_when_the_clock_was_moved_past_it() {
    let sim = SimWorld::new(1);
    let clock = sim.world().clock;
    let (boot, wall) = (clock.boot(), clock.wall());
    let sleep = tokio::spawn(clock.sleep(Duration::from_mins(1)));
    while sim.clock().sleeping() == 0 {
        tokio::task::yield_now().await;
    }
    sim.clock().advance(Duration::from_secs(59));
    tokio::task::yield_now().await;
    assert!(!sleep.is_finished());
    sim.clock().set_wall(WallTime(0));
    sim.clock().advance(Duration::from_secs(1));
    sleep.await.unwrap();
    assert_eq!(clock.boot().since(boot), Duration::from_mins(1));
    assert!(clock.wall() < wall, "the wall clock was set back and the sleep did not care");
}
