//! Power cuts, killed processes and failing disks, many of each per seed: what was acked is there, exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

use strongroom_world::sim::SimOp;

use super::{Site, census, epoch, guard, ids, marked, record, table};
use crate::{Buffer, BufferError};

/// Seeds of a push; each has several power cuts. Over night run more by the environment.
const SEEDS: u64 = 2_000;
const TABLES: u8 = 3;

/// A bug that the checker has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// The disk says synced and is not: acks come before the fsync.
    AckBeforeSync,
    /// A flush is committed, and the catalog forgets how far it went.
    ForgetFlushed,
    /// Rows leave memory and log before their blocks are committed.
    SettleBeforeCommit,
}

/// What a client and the catalog know. Ids are never used twice.
#[derive(Default)]
struct Ledger {
    next: i64,
    /// Records by their ids: all of them or none.
    acked: BTreeSet<Vec<i64>>,
    /// Neither acked nor refused before writing: whole or not at all, known after the next start.
    unknown: BTreeSet<Vec<i64>>,
    /// Never to be seen (again).
    gone: BTreeSet<i64>,
    /// In blocks.
    flushed: BTreeMap<i64, usize>,
    marks: BTreeMap<u8, Vec<i64>>,
    marks_kept: BTreeSet<u8>,
}

impl Ledger {
    fn check(&mut self, buffer: &Buffer, restarted: bool) -> Result<(), String> {
        let mut seen = census(buffer, TABLES);
        for (id, times) in &self.flushed {
            *seen.entry(*id).or_default() += times;
        }
        if let Some((id, times)) = seen.iter().find(|(_, times)| **times > 1) {
            return Err(format!("row {id} is there {times} times"));
        }
        if let Some(id) = self.gone.iter().find(|id| seen.contains_key(id)) {
            return Err(format!("row {id} came back from nowhere"));
        }
        for record in &self.acked {
            if let Some(id) = record.iter().find(|id| !seen.contains_key(id)) {
                return Err(format!("acked row {id} is lost"));
            }
        }
        if restarted {
            for record in std::mem::take(&mut self.unknown) {
                match record.iter().filter(|id| seen.contains_key(id)).count() {
                    0 => self.gone.extend(record),
                    n if n == record.len() => drop(self.acked.insert(record)),
                    _ => return Err(format!("record {record:?} is there in part")),
                }
            }
        }
        let known = self.acked.iter().chain(&self.unknown).map(Vec::len).sum::<usize>();
        if seen.len() > known { Err(format!("{} rows are there, at most {known} were sent", seen.len())) } else { Ok(()) }
    }

    fn check_marks(&mut self, recovered: &BTreeSet<u8>) -> Result<(), String> {
        for (mark, record) in &self.marks {
            if self.acked.contains(record) && !recovered.contains(mark) && !self.marks_kept.contains(mark) {
                return Err(format!("batch mark {mark} of acked rows {record:?} is lost"));
            }
        }
        Ok(())
    }
}

struct Story {
    site: Site,
    ledger: Ledger,
    bug: Bug,
}

impl Story {
    fn pick(&self, bound: u64) -> u64 {
        self.site.sim.below(bound)
    }

    /// Sends a few records at once; they go to disk as one group or several.
    fn send(&mut self, buffer: &Buffer) {
        let mut waiting = Vec::new();
        for _ in 0..=self.pick(3) {
            let rows: Vec<i64> = (0..=i64::try_from(self.pick(4)).unwrap()).map(|n| self.ledger.next + n).collect();
            self.ledger.next += i64::try_from(rows.len()).unwrap();
            let to = u8::try_from(self.pick(u64::from(TABLES))).unwrap();
            let mut sent = if self.pick(3) == 0 && self.ledger.marks.len() < 250 {
                let mark = u8::try_from(self.ledger.marks.len()).unwrap();
                self.ledger.marks.insert(mark, rows.clone());
                marked(to, &rows, mark)
            } else {
                record(to, &rows)
            };
            sent.retention_days = if self.pick(8) == 0 { 90 } else { 30 };
            let key = if self.pick(4) == 0 { 2 } else { 1 };
            match buffer.enqueue(&guard(key), sent) {
                Ok(answer) => waiting.push((rows, answer)),
                Err(_) => self.ledger.gone.extend(rows),
            }
        }
        buffer.turn();
        for (rows, mut answer) in waiting {
            match answer.try_recv() {
                Ok(Ok(_)) => drop(self.ledger.acked.insert(rows)),
                // Failed or found no room while writing: some of it may be there.
                Ok(Err(BufferError::SegmentFailed { .. } | BufferError::Full { free: 0, .. })) | Err(_) => {
                    self.ledger.unknown.insert(rows);
                }
                Ok(Err(_)) => self.ledger.gone.extend(rows),
            }
        }
    }

    /// Freezes a memtable, makes its rows blocks and settles it, or is stopped in between.
    fn flush(&mut self, buffer: &Buffer) {
        let (of, in_epoch) = (table(u8::try_from(self.pick(u64::from(TABLES))).unwrap()), epoch(1 + u8::from(self.pick(4) == 0)));
        let Some(frozen) = buffer.freeze(of, in_epoch) else { return };
        if self.bug == Bug::SettleBeforeCommit {
            buffer.settle(of, in_epoch, frozen.through);
        }
        if self.pick(4) == 0 {
            return; // the put failed: frozen rows stay visible and are offered again
        }
        for id in frozen.rows.iter().flat_map(|(_, _, batch)| ids(batch)) {
            *self.ledger.flushed.entry(id).or_default() += 1;
        }
        self.ledger.marks_kept.extend(frozen.marks.iter().map(|(mark, _)| mark.id_sha256[0]));
        if self.bug != Bug::ForgetFlushed {
            self.site.flushed.insert((of, in_epoch), frozen.through);
        }
        if self.pick(4) != 0 || !self.site.sim.fs().is_dark() {
            buffer.settle(of, in_epoch, frozen.through);
        }
    }

    fn fault(&self) {
        let op = [SimOp::Write, SimOp::Sync, SimOp::Allocate, SimOp::Create, SimOp::SyncDir, SimOp::Remove, SimOp::SetLen, SimOp::Any];
        let kind = if self.pick(3) == 0 { ErrorKind::StorageFull } else { ErrorKind::Other };
        self.site.sim.fs().fail_nth(op[usize::try_from(self.pick(8)).unwrap()], self.pick(4), kind);
    }

    /// Starts until it works: the power may go while the log is read back, and a call may fail.
    fn start(&mut self) -> Result<Arc<Buffer>, String> {
        for attempt in 0.. {
            if attempt < 3 && self.pick(4) == 0 {
                self.site.sim.fs().power_cut_after(self.pick(8));
            }
            match self.site.start() {
                Ok((buffer, recovery)) => {
                    let marks = recovery.marks.iter().map(|(_, mark, _)| mark.id_sha256[0]).collect();
                    self.ledger.check(&buffer, true)?;
                    self.ledger.check_marks(&marks)?;
                    return Ok(buffer);
                }
                Err(BufferError::Io { .. }) if self.site.sim.fs().is_dark() => self.site.sim.fs().power_cut(),
                Err(error) => return Err(format!("the log was refused: {error}")),
            }
        }
        unreachable!("the fuse is lit three times at most")
    }

    fn life(&mut self) -> Result<(), String> {
        self.site.sim.fs().lie_about_syncs(false);
        let buffer = self.start()?;
        self.site.sim.fs().lie_about_syncs(self.bug == Bug::AckBeforeSync);
        if self.pick(4) != 0 {
            self.site.sim.fs().power_cut_after(self.pick(60));
        }
        for _ in 0..3 + self.pick(8) {
            if self.pick(8) == 0 {
                self.fault();
            }
            if self.pick(4) == 0 {
                self.flush(&buffer);
            } else {
                self.send(&buffer);
            }
            if self.pick(4) == 0 {
                self.ledger.check(&buffer, false)?;
            }
            if self.site.sim.fs().is_dark() {
                break;
            }
        }
        if self.pick(4) == 0 {
            self.site.sim.fs().heal();
            // It may fail: what was acked is safe all the same.
            drop(buffer.close());
        }
        drop(buffer);
        if self.pick(4) == 0 && !self.site.sim.fs().is_dark() {
            self.site.sim.fs().kill();
        } else {
            self.site.sim.fs().power_cut();
        }
        Ok(())
    }
}

fn story(seed: u64, bug: Bug) -> Result<(), String> {
    let mut story = Story { site: Site::new(seed), ledger: Ledger::default(), bug };
    for life in 0..4 {
        story.life().map_err(|what| format!("seed {seed}, life {life}: {what}"))?;
    }
    story.site.sim.fs().lie_about_syncs(false);
    story.start().map_err(|what| format!("seed {seed}, at the end: {what}"))?;
    let shown = story.site.sim.fs().files().iter().any(|(_, bytes)| bytes.windows(6).any(|part| part == b"canary"));
    if shown { Err(format!("seed {seed}: a row is on disk in clear")) } else { Ok(()) }
}

fn run(part: u64, parts: u64) {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let first = number("STRONGROOM_POWER_FIRST", 0);
    let seeds = number("STRONGROOM_POWER_SEEDS", SEEDS);
    let failed: Vec<String> =
        (first..first + seeds).filter(|seed| seed % parts == part).filter_map(|seed| story(seed, Bug::None).err()).collect();
    assert!(failed.is_empty(), "{} of {} seeds: {:#?}", failed.len(), seeds / parts, &failed[..failed.len().min(10)]);
}

#[test]
fn no_power_cut_loses_or_doubles_an_acked_row_first_half() {
    run(0, 2);
}

#[test]
fn no_power_cut_loses_or_doubles_an_acked_row_second_half() {
    run(1, 2);
}

/// Seeds that once failed are kept: here the prefix of a segment whose first sync failed was not written again when it
/// was read back, only its first record.
#[test]
fn a_seed_that_once_failed_stays_green() {
    story(11_823, Bug::None).unwrap();
}

#[test]
fn the_checker_finds_each_planted_bug() {
    for bug in [Bug::AckBeforeSync, Bug::ForgetFlushed, Bug::SettleBeforeCommit] {
        let found = (0..80).filter(|seed| story(*seed, bug).is_err()).count();
        assert!(found > 8, "{bug:?} was found in {found} of 80 seeds");
    }
}

#[test]
fn a_story_is_the_same_for_the_same_seed() {
    let run = || {
        let mut story = Story { site: Site::new(11), ledger: Ledger::default(), bug: Bug::None };
        for _ in 0..3 {
            story.life().unwrap();
        }
        (story.site.sim.fs().files(), story.site.sim.fs().ops(), story.ledger.acked)
    };
    assert_eq!(run(), run());
}
