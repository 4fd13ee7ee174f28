//! The chain's files: which there are, reading them whole, and bringing them up to what the catalog's head says. Blocking.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use strongroom_catalog::AuditErrand;
use strongroom_envelope::Mmk;
use strongroom_world::{FsFile, World};

use super::chain::{Broken, Hash, Head, Record, raise, walk};
use super::{AuditError, Event};

const ENDING: &str = ".audit";
/// Bytes of a file at most that is read at all.
const FILE_MAX: u64 = 256 << 20;

/// Where a file that begins with that record lies.
pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}{ENDING}"))
}

/// The first records of the files there are, oldest first.
pub(super) fn list(world: &World, dir: &Path) -> Result<Vec<u64>, AuditError> {
    let entries = match world.fs.read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AuditError::disk("listing its directory")(error)),
    };
    let mut firsts: Vec<u64> = entries.iter().filter_map(|entry| entry.name.strip_suffix(ENDING)?.parse().ok()).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

pub(super) fn read(world: &World, dir: &Path, first: u64) -> Result<Vec<u8>, AuditError> {
    world.fs.read(&path(dir, first), FILE_MAX).map_err(AuditError::disk("reading it"))
}

/// The file that is written to.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) first: u64,
    pub(super) file: Arc<dyn FsFile>,
    pub(super) len: u64,
}

/// Begins a file with these bytes, or goes on with one; durable when it returns.
pub(super) fn append(world: &World, dir: &Path, open: Option<&Open>, first: u64, bytes: &[u8]) -> io::Result<Open> {
    if let Some(open) = open {
        let written = open.file.write_all_at(&[IoSlice::new(bytes)], open.len);
        if let Err(error) = written.and_then(|()| open.file.sync_data()) {
            // What may lie behind the last good record is cut off; where that fails, the next start does it.
            open.file.set_len(open.len).and_then(|()| open.file.sync_all()).ok();
            return Err(error);
        }
        return Ok(Open { len: open.len + bytes.len() as u64, ..open.clone() });
    }
    let path = path(dir, first);
    let made = world.fs.create_new(&path).or_else(|error| {
        // Left by an attempt that failed: nothing in it was ever answered.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        world.fs.remove_file(&path)?;
        world.fs.create_new(&path)
    });
    let file: Arc<dyn FsFile> = Arc::from(made?);
    let written = file.write_all_at(&[IoSlice::new(bytes)], 0).and_then(|()| file.sync_all()).and_then(|()| world.fs.sync_dir(dir));
    if let Err(error) = written {
        drop(file);
        world.fs.remove_file(&path).ok();
        return Err(error);
    }
    Ok(Open { first, file, len: bytes.len() as u64 })
}

/// What a start found.
#[derive(Debug)]
pub(super) struct Recovered {
    /// The head as the files say.
    pub(super) head: Head,
    pub(super) files: Vec<u64>,
    pub(super) open: Option<Open>,
    /// What the catalog has not heard of yet.
    pub(super) errands: Vec<AuditErrand>,
    /// Records behind the head of the catalog.
    pub(super) ahead: u64,
    /// Bytes cut off behind the last good record.
    pub(super) cut: u64,
}

/// Reads the last file and brings it and the head together. A tail that a crash tore off is cut; anything else that is not as
/// the head says is refused.
pub(super) fn recover(world: &World, mmk: &Mmk, dir: &Path, head: Option<Head>) -> Result<Recovered, AuditError> {
    let made = world.fs.create_dir_all(dir).and_then(|()| dir.parent().map_or(Ok(()), |parent| world.fs.sync_dir(parent)));
    made.map_err(AuditError::disk("making its directory"))?;
    let mut files = list(world, dir)?;
    let Some(head) = head else {
        if files.is_empty() {
            return Ok(Recovered { head: Head::default(), files, open: None, errands: Vec::new(), ahead: 0, cut: 0 });
        }
        return Err(AuditError::damaged("its files are there, but the catalog knows of none: the catalog was taken away or is another's"));
    };
    let mut cut = 0;
    let (first, bytes, walked, records) = loop {
        let Some(&first) = files.last() else {
            if head.seq == 0 {
                return Ok(Recovered { head, files, open: None, errands: Vec::new(), ahead: 0, cut });
            }
            return Err(AuditError::damaged(format!("none of its files is there; it had {} records", head.seq)));
        };
        let bytes = read(world, dir, first)?;
        let mut records: Vec<Record> = Vec::new();
        let previous = (first == head.seq + 1).then_some(head.hash);
        let walked = walk(mmk, &bytes, first, previous, |record| records.push(record));
        if records.is_empty() && first > head.seq && walked.broken != Some(Broken::Unchained) {
            // A crash came between making the file and its first record.
            cut += bytes.len() as u64;
            world.fs.remove_file(&path(dir, first)).map_err(AuditError::disk("removing an empty file"))?;
            files.pop();
            continue;
        }
        break (first, bytes, walked, records);
    };
    if walked.seq < head.seq {
        return Err(AuditError::damaged(missing(walked.broken, walked.seq, head.seq)));
    }
    if let Some(record) = records.iter().find(|record| record.seq == head.seq)
        && record.hash != head.hash
    {
        return Err(AuditError::damaged(format!("record {} is not the one that was written", head.seq)));
    }
    if walked.broken == Some(Broken::Unchained) {
        return Err(AuditError::damaged(format!("record {} {}", walked.seq + 1, Broken::Unchained.text())));
    }
    let file: Arc<dyn FsFile> = Arc::from(world.fs.open(&path(dir, first)).map_err(AuditError::disk("opening it"))?);
    if walked.end < bytes.len() as u64 {
        cut += bytes.len() as u64 - walked.end;
        file.set_len(walked.end).and_then(|()| file.sync_all()).map_err(AuditError::disk("cutting off a torn end"))?;
    }
    let mut generations = head.generations.clone();
    for record in &records {
        raise(&mut generations, &record.event);
    }
    let errands = records.iter().filter(|record| record.seq > head.seq).map(|record| errand(first, record)).collect();
    let hash: Hash = walked.hash.unwrap_or(head.hash);
    Ok(Recovered {
        ahead: walked.seq - head.seq,
        head: Head { seq: walked.seq, hash, oldest: files[0], generations },
        open: Some(Open { first, file, len: walked.end }),
        files,
        errands,
        cut,
    })
}

pub(super) fn missing(broken: Option<Broken>, last: u64, head: u64) -> String {
    match broken {
        Some(broken) => format!("record {} {}; there were {head}", last + 1, broken.text()),
        None => format!("records {} to {head} are missing at its end", last + 1),
    }
}

pub(super) fn errand(file: u64, record: &Record) -> AuditErrand {
    errand_of(file, record.seq, record.start, &record.event)
}

pub(super) fn errand_of(file: u64, seq: u64, start: u64, event: &Event) -> AuditErrand {
    let carried = event.is_carried();
    AuditErrand {
        seq,
        file,
        start,
        workspace: event.workspace.filter(|_| carried),
        cluster: event.cluster.filter(|_| carried),
        notice: event.is_notice(),
        call: event.is_notice(),
        told: event.once.clone(),
    }
}
