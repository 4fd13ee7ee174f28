//! The real filesystem and the simulated one, given the same calls, answer the same.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::sim::SimWorld;
use crate::{Fs, World};

#[derive(Clone, Debug)]
enum Call {
    Create(u8, Vec<u8>),
    Write(u8, u16, Vec<u8>),
    SetLen(u8, u16),
    Allocate(u8, u16),
    Rename(u8, u8, bool),
    Remove(u8),
    MakeDir(u8),
    RemoveDir(u8),
    Atomic(u8, Vec<u8>),
}

/// Six files, two of them in each of two directories that may not be there.
fn path(root: &Path, name: u8) -> PathBuf {
    match name % 6 {
        n @ 0..=1 => root.join(format!("f{n}")),
        n => root.join(format!("d{}", n % 2)).join(format!("f{n}")),
    }
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let call = prop_oneof![
        (0..6_u8, bytes()).prop_map(|(name, bytes)| Call::Create(name, bytes)),
        (0..6_u8, 0..200_u16, bytes()).prop_map(|(name, at, bytes)| Call::Write(name, at, bytes)),
        (0..6_u8, 0..300_u16).prop_map(|(name, len)| Call::SetLen(name, len)),
        (0..6_u8, 1..300_u16).prop_map(|(name, len)| Call::Allocate(name, len)),
        (0..6_u8, 0..6_u8, any::<bool>()).prop_map(|(from, to, replace)| Call::Rename(from, to, replace)),
        (0..6_u8).prop_map(Call::Remove),
        (0..2_u8).prop_map(Call::MakeDir),
        (0..2_u8).prop_map(Call::RemoveDir),
        (0..6_u8, bytes()).prop_map(|(name, bytes)| Call::Atomic(name, bytes)),
    ];
    prop::collection::vec(call, 1..40)
}

fn apply(fs: &dyn Fs, root: &Path, call: &Call) -> io::Result<()> {
    match call {
        Call::Create(name, bytes) => fs.create_new(&path(root, *name))?.write_all_at(&[IoSlice::new(bytes), IoSlice::new(b"end")], 0),
        Call::Write(name, at, bytes) => {
            fs.open(&path(root, *name))?.write_all_at(&[IoSlice::new(bytes), IoSlice::new(b"!")], u64::from(*at))
        }
        Call::SetLen(name, len) => fs.open(&path(root, *name))?.set_len(u64::from(*len)),
        Call::Allocate(name, len) => fs.open(&path(root, *name))?.allocate(u64::from(*len)),
        Call::Rename(from, to, true) => fs.rename(&path(root, *from), &path(root, *to)),
        Call::Rename(from, to, false) => fs.rename_no_replace(&path(root, *from), &path(root, *to)),
        Call::Remove(name) => fs.remove_file(&path(root, *name)),
        Call::MakeDir(name) => fs.create_dir_all(&root.join(format!("d{name}"))),
        Call::RemoveDir(name) => fs.remove_dir(&root.join(format!("d{name}"))),
        Call::Atomic(name, bytes) => fs.write_atomic(&path(root, *name), bytes),
    }
}

/// Every file below `root` with its bytes, and every directory.
fn contents(fs: &dyn Fs, root: &Path) -> Vec<(String, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs.read_dir(root).unwrap() {
        let at = root.join(&entry.name);
        if entry.is_dir {
            found.push((entry.name.clone(), None));
            found.extend(contents(fs, &at).into_iter().map(|(name, bytes)| (format!("{}/{name}", entry.name), bytes)));
        } else {
            let bytes = fs.read(&at, 10_000).unwrap();
            assert_eq!((fs.metadata(&at).unwrap().len, entry.len), (bytes.len() as u64, bytes.len() as u64));
            found.push((entry.name, Some(bytes)));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn both_filesystems_answer_alike(calls in calls()) {
        let dir = tempfile::tempdir().unwrap();
        let (real, sim) = (World::real().fs, SimWorld::new(1).world().fs);
        for call in &calls {
            let (left, right) = (apply(&*real, dir.path(), call), apply(&*sim, Path::new("/"), call));
            prop_assert_eq!(left.as_ref().map_err(io::Error::kind), right.as_ref().map_err(io::Error::kind), "{:?}", call);
            prop_assert_eq!(contents(&*real, dir.path()), contents(&*sim, Path::new("/")), "{:?}", call);
        }
    }
}

/// What the hint names is read back all the same, durable or not, and what is written after it lies where it should.
#[test]
fn bytes_that_are_not_needed_in_memory_are_still_there() {
    let dir = tempfile::tempdir().unwrap();
    let fs = World::real().fs;
    let file = fs.create_new(&dir.path().join("log")).unwrap();
    let bytes: Vec<u8> = (0..3_u32 << 18).flat_map(u32::to_le_bytes).collect();
    file.write_all_at(&[IoSlice::new(&bytes[..2_000_000])], 0).unwrap();
    file.sync_data().unwrap();
    file.unneeded(0..1_998_848);
    file.write_all_at(&[IoSlice::new(&bytes[2_000_000..])], 2_000_000).unwrap();
    file.unneeded(1_998_848..bytes.len() as u64);
    let mut back = vec![0; bytes.len()];
    assert_eq!((file.read_at(&mut back, 0).unwrap(), back == bytes), (bytes.len(), true));
}
