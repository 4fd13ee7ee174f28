//! Who asked for what: every call, kept in memory for the admin's questions and on disk for later ones.
//!
//! One JSON object a line, names and codes only. Lines reach the disk at once and are synced every second and at the end; a
//! power cut may take the last second of them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strongroom_world::{BootTime, FsFile, World};

use crate::files;

/// One call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    /// RFC 3339, milliseconds.
    pub(crate) time: String,
    /// The identity's name, or `admin`; none if nobody known asked.
    pub(crate) principal: Option<String>,
    pub(crate) principal_id: Option<String>,
    /// Azure's operation names.
    pub(crate) operation: String,
    pub(crate) key: Option<String>,
    /// The version used, or asked for.
    pub(crate) version: Option<String>,
    pub(crate) status: u16,
    /// The error's finest code.
    pub(crate) code: Option<String>,
    /// Calls of strangers that were left out just before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) left_out: Option<u64>,
}

/// Calls of strangers a second that are kept, and how many may come at once: nobody who is not registered can flush the log.
const STRANGERS_A_SECOND: u64 = 20;
const STRANGERS_AT_ONCE: u64 = 200;

#[derive(Debug)]
pub(crate) struct AccessLog {
    world: World,
    path: PathBuf,
    before: PathBuf,
    ring: VecDeque<Entry>,
    entries_max: usize,
    bytes_max: u64,
    next: u64,
    file: Box<dyn FsFile>,
    len: u64,
    unsynced: bool,
    /// So that a full disk is told once.
    failing: bool,
    /// How many calls of strangers may be kept now, as of when, and how many were not.
    room: u64,
    room_since: BootTime,
    left_out: u64,
}

impl AccessLog {
    /// Goes on where the files end; a torn last line is cut off.
    pub(crate) fn open(world: World, dir: &Path, entries_max: usize, bytes_max: u64) -> io::Result<Self> {
        let (path, before) = (files::log(dir), files::log_before(dir));
        let mut ring = VecDeque::new();
        let mut whole = 0;
        for (path, is_last) in [(&before, false), (&path, true)] {
            let bytes = match world.fs.read(path, bytes_max.saturating_mul(2).max(64 << 20)) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            for line in bytes[..end].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
                let Ok(entry) = serde_json::from_slice::<Entry>(line) else { continue };
                if ring.len() == entries_max {
                    ring.pop_front();
                }
                ring.push_back(entry);
            }
            if is_last {
                whole = end as u64;
            }
        }
        let file = match world.fs.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::new_file(&world, &path)?,
            Err(error) => return Err(error),
        };
        file.set_len(whole)?;
        let next = ring.back().map_or(1, |entry: &Entry| entry.seq + 1);
        let room_since = world.clock.boot();
        Ok(Self {
            world,
            path,
            before,
            ring,
            entries_max,
            bytes_max,
            next,
            file,
            len: whole,
            unsynced: true,
            failing: false,
            room: STRANGERS_AT_ONCE,
            room_since,
            left_out: 0,
        })
    }

    fn new_file(world: &World, path: &Path) -> io::Result<Box<dyn FsFile>> {
        let file = world.fs.create_new(path)?;
        world.fs.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        Ok(file)
    }

    /// Keeps one call. A disk that takes no more is told of, and stops no call: memory still has it.
    pub(crate) fn append(&mut self, entry: Entry) {
        self.keep(entry);
    }

    /// Likewise, down to the disk before it returns. Whether it is there.
    pub(crate) fn append_synced(&mut self, entry: Entry) -> bool {
        self.keep(entry) && self.sync()
    }

    /// Whether the file has it.
    fn keep(&mut self, mut entry: Entry) -> bool {
        // An id alone is no name: an issuer vouches for more people than are registered here.
        if entry.principal.is_none() && !self.has_room() {
            self.left_out += 1;
            return false;
        }
        entry.left_out = Some(std::mem::take(&mut self.left_out)).filter(|left_out| *left_out > 0);
        entry.seq = self.next;
        self.next += 1;
        let at = chrono::DateTime::from_timestamp_millis(self.world.clock.wall().unix_ms()).unwrap_or_default();
        entry.time = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut line = serde_json::to_vec(&entry).expect("an entry can be written as JSON");
        line.push(b'\n');
        if self.ring.len() == self.entries_max {
            self.ring.pop_front();
        }
        self.ring.push_back(entry);
        let written = self.write(&line);
        if let Err(error) = &written
            && !self.failing
        {
            tracing::error!(kind = %error.kind(), "the access log cannot be written; calls are kept in memory only");
        }
        self.failing = written.is_err();
        written.is_ok()
    }

    /// Whether one more stranger fits.
    fn has_room(&mut self) -> bool {
        let now = self.world.clock.boot();
        let seconds = now.since(self.room_since).as_secs();
        if seconds > 0 {
            self.room = self.room.saturating_add(seconds.saturating_mul(STRANGERS_A_SECOND)).min(STRANGERS_AT_ONCE);
            self.room_since = now;
        }
        let has_room = self.room > 0;
        self.room = self.room.saturating_sub(1);
        has_room
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.len > 0 && self.len + line.len() as u64 > self.bytes_max {
            self.file.sync_data()?;
            self.world.fs.rename(&self.path, &self.before)?;
            self.file = Self::new_file(&self.world, &self.path)?;
            self.len = 0;
        }
        self.file.write_all_at(&[IoSlice::new(line)], self.len)?;
        self.len += line.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    /// Whether all that was written is on the disk.
    pub(crate) fn sync(&mut self) -> bool {
        if std::mem::take(&mut self.unsynced)
            && let Err(error) = self.file.sync_data()
        {
            tracing::error!(kind = %error.kind(), "the access log could not be synced");
            return false;
        }
        true
    }

    /// The calls after `seq`, oldest first, at most `limit`.
    pub(crate) fn after(&self, seq: u64, limit: usize) -> Vec<Entry> {
        self.ring.iter().filter(|entry| entry.seq > seq).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use strongroom_world::sim::SimWorld;

    use super::*;

    fn entry(operation: &str) -> Entry {
        Entry { operation: operation.to_owned(), principal: Some("admin".to_owned()), status: 200, ..Entry::default() }
    }

    #[test]
    fn the_log_goes_on_after_a_restart_and_without_a_torn_line() {
        let sim = SimWorld::new(1);
        let dir = Path::new("/vault");
        sim.world().fs.create_dir_all(dir).unwrap();
        let mut log = AccessLog::open(sim.world(), dir, 3, 1 << 20).unwrap();
        for operation in ["a", "b", "c", "d"] {
            log.append(entry(operation));
        }
        log.sync();
        let path = files::log(dir);
        let len = sim.world().fs.metadata(&path).unwrap().len;
        sim.world().fs.open(&path).unwrap().write_all_at(&[IoSlice::new(b"{\"seq\":9")], len).unwrap();
        drop(log);

        let mut log = AccessLog::open(sim.world(), dir, 3, 1 << 20).unwrap();
        log.append(entry("e"));
        let seen: Vec<(u64, String)> = log.after(0, 10).into_iter().map(|entry| (entry.seq, entry.operation)).collect();
        assert_eq!(seen, [(3, "c".into()), (4, "d".into()), (5, "e".into())]);
        assert_eq!(log.after(4, 10).len(), 1);
        let text = String::from_utf8(sim.world().fs.read(&path, 1 << 20).unwrap()).unwrap();
        assert_eq!(text.lines().count(), 5, "{text}");
    }

    #[test]
    fn strangers_cannot_flush_the_log() {
        let sim = SimWorld::new(3);
        let dir = Path::new("/vault");
        sim.world().fs.create_dir_all(dir).unwrap();
        let mut log = AccessLog::open(sim.world(), dir, 1_000, 1 << 20).unwrap();
        log.append(entry("first"));
        for n in 0..5_000 {
            // Nobody, or one of the many whom an issuer vouches for and nobody registered.
            let id = (n % 2 == 0).then(|| format!("stranger-{n}"));
            log.append(Entry { principal: None, principal_id: id, ..entry("KeyGet") });
        }
        log.append(entry("last"));
        let kept = log.after(0, 1_000);
        assert_eq!((kept.len(), kept[0].operation.as_str()), (202, "first"));
        assert_eq!(kept.last().unwrap().left_out, Some(4_800));
        sim.clock().advance(std::time::Duration::from_secs(1));
        log.append(Entry { principal: None, ..entry("KeyGet") });
        assert_eq!(log.after(0, 1_000).len(), 203);
    }

    #[test]
    fn the_files_stay_within_their_bound() {
        let sim = SimWorld::new(2);
        let dir = Path::new("/vault");
        sim.world().fs.create_dir_all(dir).unwrap();
        let mut log = AccessLog::open(sim.world(), dir, 100, 1_000).unwrap();
        for _ in 0..50 {
            log.append(entry("KeyGet"));
        }
        let len = |path: &Path| sim.world().fs.metadata(path).unwrap().len;
        assert!(len(&files::log(dir)) <= 1_000 && len(&files::log_before(dir)) <= 1_000);
        assert_eq!(log.after(0, 100).len(), 50);
    }
}
