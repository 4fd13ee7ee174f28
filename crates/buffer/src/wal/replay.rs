//! Reading the log back: what was acked is there whole, what was not may be, and damage is told from a torn end.
//!
//! Three rules do it. A bad record ends a segment, unless something later says that it was once durable: a record
//! behind it, or the first record of a later segment. A segment's first record says how far the earlier ones count,
//! so what a failed sync left behind never comes back. And nothing is appended to a segment that was read.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::path::Path;
use std::time::Duration;

use arrow_schema::SchemaRef;
use strongroom_envelope::{Header, KeyGuard, ObjectKind, OpenError, SegmentCipher, TAG_LEN};
use strongroom_model::{Epoch, ObjectId, Position, TableId};
use strongroom_world::World;

use super::frame::HEAD_LEN;
use super::payload::{Payload, Rows, decode, decode_schema};
use super::scan::Tape;
use super::segment::{Life, file_name};
use super::trail::{Trailed, unlink};
use crate::memtable::Durable;
use crate::{BufferConfig, BufferError, Cut, Recovery};

/// The shorter prefix: where records may begin.
const PREFIX: u64 = SegmentCipher::prefix_len(false) as u64;

/// A segment whose beginning is whole.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) id: ObjectId,
    /// How long its rows are kept; `None` if its header does not say it in a way that can be meant.
    pub(crate) life: Option<Life>,
    /// Where its first record ends.
    pub(crate) rows_at: u64,
    prefix: Vec<u8>,
    /// Position of its first record: never used twice, so it orders an epoch's segments.
    first: u64,
}

/// What a replay hands on.
#[derive(Debug)]
pub(crate) struct Replayed {
    /// The highest position read.
    pub(crate) last: Position,
    pub(crate) segments: Vec<Trailed>,
}

/// What all of a replay needs.
pub(crate) struct Ground<'a> {
    pub(crate) world: &'a World,
    pub(crate) dir: &'a Path,
    pub(crate) config: &'a BufferConfig,
}

/// Finds the segments by epoch, each epoch's in the order they were written. With `sweep` (nobody writes yet), files
/// whose making was cut short are removed and damaged beginnings are refused.
pub(crate) fn inventory(ground: &Ground<'_>, sweep: bool, recovery: &mut Recovery) -> Result<BTreeMap<Epoch, Vec<Listed>>, BufferError> {
    let mut found: BTreeMap<Epoch, Vec<Listed>> = BTreeMap::new();
    let entries = ground.world.fs.read_dir(ground.dir).map_err(BufferError::io("list its directory"))?;
    for entry in entries {
        let Some(id) = entry.name.strip_suffix(".wal").and_then(|name| name.parse::<ObjectId>().ok()) else { continue };
        let file = match ground.world.fs.open_read(&ground.dir.join(&entry.name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !sweep => continue,
            other => other.map_err(BufferError::io("open a segment"))?,
        };
        let mut tape = Tape::new(file).map_err(BufferError::io("read a segment"))?;
        match beginning(&mut tape, id).map_err(BufferError::io("read a segment"))? {
            Beginning::Whole(epoch, listed) => found.entry(epoch).or_default().push(listed),
            _ if !sweep => {}
            Beginning::NeverFinished => {
                unlink(ground.world, ground.dir, id, false).map_err(BufferError::io("remove an unfinished segment"))?;
            }
            Beginning::Damaged(position) => {
                let error = BufferError::Corrupt { segment: id, offset: 0, position, why: "its beginning is damaged, records follow" };
                if !ground.config.salvage {
                    return Err(error);
                }
                tracing::error!(segment = %id, "a damaged log segment is put aside");
                recovery.salvaged.push(error.to_string());
                unlink(ground.world, ground.dir, id, true).map_err(BufferError::io("put a damaged segment aside"))?;
            }
        }
    }
    for segments in found.values_mut() {
        segments.sort_by_key(|segment| segment.first);
    }
    Ok(found)
}

enum Beginning {
    Whole(Epoch, Listed),
    NeverFinished,
    Damaged(Position),
}

/// The first record vouches for the prefix, and both are durable before a row is written: if they are not whole but
/// rows follow, that is damage and no power cut.
fn beginning(tape: &mut Tape, id: ObjectId) -> io::Result<Beginning> {
    if let Ok(header) = Header::parse(tape.bytes(0, PREFIX)?)
        && header.kind == ObjectKind::Wal
        && header.object == id
    {
        let len = SegmentCipher::prefix_len(header.double) as u64;
        let prefix = tape.bytes(0, len)?.to_vec();
        if let Some((head, _)) = tape.record(len, crc32c::crc32c(&prefix))? {
            let rows_at = len + head.record_len() as u64;
            return Ok(Beginning::Whole(header.epoch(), Listed { id, life: Life::of(&header), rows_at, prefix, first: head.seq }));
        }
    }
    let later = tape.scan(PREFIX, |_| true)?.found;
    Ok(later.map_or(Beginning::NeverFinished, |(_, head)| Beginning::Damaged(Position(head.seq.saturating_sub(1)))))
}

/// One segment being read.
struct Reading<'a> {
    ground: &'a Ground<'a>,
    guard: &'a KeyGuard,
    id: ObjectId,
    tape: Tape,
    cipher: SegmentCipher,
    /// Where the first record lies.
    first_at: u64,
    offset: u64,
    /// The position that comes next.
    expect: u64,
    /// Rows beyond this do not count: a later segment says so.
    limit: u64,
    previous: [u8; TAG_LEN],
    count: u64,
    sealed: bool,
    damaged: bool,
    life: Option<Life>,
    schemas: HashMap<u32, (TableId, SchemaRef)>,
    tables: HashMap<TableId, Position>,
    /// Records that nothing read so far says were durable.
    unsure: VecDeque<(u64, u64)>,
}

enum Step {
    Rows(Box<Rows>, Position, u64),
    Control,
    End,
}

/// Reads an epoch's segments, oldest first, and gives the rows beyond `flushed` to `sink` in the order of the log.
pub(crate) fn replay(
    ground: &Ground<'_>,
    guard: &KeyGuard,
    listed: Vec<Listed>,
    flushed: &dyn Fn(TableId) -> Position,
    sink: &mut dyn FnMut(Durable),
    recovery: &mut Recovery,
) -> Result<Replayed, BufferError> {
    let mut readings = Vec::with_capacity(listed.len());
    let mut replayed = Replayed { last: Position(0), segments: Vec::new() };
    for segment in listed {
        let id = segment.id;
        match Reading::begin(ground, guard, &segment) {
            Ok(begun) => readings.push(begun),
            Err(error @ (BufferError::Open { .. } | BufferError::Corrupt { .. })) if ground.config.salvage => {
                recovery.salvaged.push(error.to_string());
                unlink(ground.world, ground.dir, id, true).map_err(BufferError::io("put a damaged segment aside"))?;
            }
            Err(error) => return Err(error),
        }
    }
    let mut limit = u64::MAX;
    for (reading, cut) in readings.iter_mut().rev() {
        reading.limit = limit;
        limit = limit.min(*cut);
    }
    let newest = readings.len().saturating_sub(1);
    for (at, (mut reading, _)) in readings.into_iter().enumerate() {
        recovery.segments += 1;
        loop {
            let (rows, position, bytes) = match reading.step(at == newest, recovery)? {
                Step::Rows(rows, position, bytes) => (rows, position, bytes),
                Step::Control => continue,
                Step::End => break,
            };
            reading.take(*rows, position, bytes, flushed, sink, recovery)?;
        }
        // An older segment's rows beyond the newest one's first record are void: its positions are all lower.
        replayed.last = replayed.last.max(Position(reading.expect - 1));
        if at == newest && !reading.damaged {
            reading.settle(recovery).map_err(BufferError::io("cut a torn segment"))?;
        }
        let bytes = reading.offset;
        replayed.segments.push(Trailed { id: reading.id, bytes, open: false, damaged: reading.damaged, tables: reading.tables });
    }
    Ok(replayed)
}

impl<'a> Reading<'a> {
    /// Opens a segment and its first record; gives how far that says earlier segments count.
    fn begin(ground: &'a Ground<'a>, guard: &'a KeyGuard, listed: &Listed) -> Result<(Self, u64), BufferError> {
        let id = listed.id;
        let now = ground.world.clock.boot();
        let (cipher, header) = SegmentCipher::reopen(guard, now, guard.epoch(), &listed.prefix).map_err(|error| match error {
            OpenError::Guard(error) => BufferError::Guard(error),
            source => BufferError::Open { segment: id, source },
        })?;
        if header.object != id {
            return Err(BufferError::Open { segment: id, source: OpenError::WrongPlace { object: header.object } });
        }
        let file = ground.world.fs.open(&ground.dir.join(file_name(id))).map_err(BufferError::io("open a segment"))?;
        let tape = Tape::new(file).map_err(BufferError::io("read a segment"))?;
        let mut reading = Self {
            ground,
            guard,
            id,
            tape,
            cipher,
            first_at: listed.prefix.len() as u64,
            offset: listed.prefix.len() as u64,
            expect: listed.first,
            limit: u64::MAX,
            previous: [0; TAG_LEN],
            count: 0,
            sealed: false,
            damaged: false,
            life: Life::of(&header),
            schemas: HashMap::new(),
            tables: HashMap::new(),
            unsure: VecDeque::new(),
        };
        match reading.next(crc32c::crc32c(&listed.prefix))? {
            Next::Record(Payload::Open { cut }, _) => Ok((reading, cut)),
            Next::Record(..) => Err(reading.corrupt("its first record is not an opening one")),
            Next::Bad => Err(reading.corrupt("its first record is damaged")),
            Next::Wrong(why) => Err(reading.corrupt(why)),
        }
    }

    fn corrupt(&self, why: &'static str) -> BufferError {
        BufferError::Corrupt { segment: self.id, offset: self.offset, position: Position(self.expect), why }
    }

    /// Reads the record at the current offset; moves on only if it is right.
    fn next(&mut self, seed: u32) -> Result<Next, BufferError> {
        let (head, mut ciphertext, tag) = {
            let record = self.tape.record(self.offset, seed).map_err(BufferError::io("read a segment"))?;
            match record {
                Some((head, bytes)) if head.seq == self.expect => {
                    let (rest, tag) = bytes.split_last_chunk::<TAG_LEN>().expect("a record ends with a tag");
                    (head, rest[HEAD_LEN..].to_vec(), *tag)
                }
                _ => return Ok(Next::Bad),
            }
        };
        let now = self.ground.world.clock.boot();
        let opened = self.cipher.open_record(self.guard, now, head.seq, head.synced_through, &self.previous, &mut ciphertext, &tag);
        match opened {
            Ok(()) => {}
            Err(OpenError::Guard(error)) => return Err(BufferError::Guard(error)),
            Err(_) => return Ok(Next::Wrong("its checksum is right and its tag is not: somebody changed it")),
        }
        let payload = match decode(ciphertext) {
            Ok(payload) => payload,
            Err(malformed) => return Ok(Next::Wrong(malformed.0)),
        };
        if let Payload::Seal { count, chain } = &payload
            && !self.damaged
            && (*count != self.count || *chain != self.previous)
        {
            return Ok(Next::Wrong("its closing record counts other records"));
        }
        while self.unsure.front().is_some_and(|(seq, _)| *seq <= head.synced_through) {
            self.unsure.pop_front();
        }
        self.unsure.push_back((head.seq, self.offset));
        self.offset += head.record_len() as u64;
        self.expect = head.seq + 1;
        self.previous = tag;
        self.count += 1;
        Ok(Next::Record(payload, head.record_len() as u64))
    }

    fn step(&mut self, newest: bool, recovery: &mut Recovery) -> Result<Step, BufferError> {
        if self.sealed {
            // Nothing follows a closing record; a later segment that counts more knows of a segment that is gone.
            let gap = !newest && self.expect <= self.limit;
            return if gap { self.trouble("records that a later segment counts are missing", recovery) } else { Ok(Step::End) };
        }
        if self.expect > self.limit {
            return Ok(Step::End);
        }
        match self.next(0)? {
            Next::Record(Payload::Rows(rows), bytes) => Ok(Step::Rows(rows, Position(self.expect - 1), bytes)),
            Next::Record(Payload::Seal { .. }, _) => {
                self.sealed = true;
                Ok(Step::Control)
            }
            Next::Record(Payload::Open { .. }, _) => self.trouble("an opening record stands in the middle", recovery),
            Next::Wrong(why) => self.trouble(why, recovery),
            // Retention took its rows while the key was away; its first record stayed to keep the order.
            Next::Bad if self.is_cut_back() => Ok(Step::End),
            Next::Bad if !newest => self.trouble("records that a later segment counts are missing", recovery),
            Next::Bad => {
                let expect = self.expect;
                let behind = |head: &super::frame::Head| head.seq > expect && head.synced_through >= expect;
                let scanned = self.tape.scan(self.offset, behind).map_err(BufferError::io("read a segment"))?;
                if scanned.found.is_some() {
                    return self.trouble("it was durable once: records behind it say so", recovery);
                }
                if scanned.dirty && !self.damaged {
                    recovery.cut.push(Cut { segment: self.id, offset: self.offset, position: Position(self.expect) });
                }
                Ok(Step::End)
            }
        }
    }

    fn is_cut_back(&self) -> bool {
        let now_ms = self.ground.world.clock.wall().unix_ms();
        self.count == 1
            && self.tape.len == self.offset
            && self.life.is_some_and(|life| life.is_over(self.ground.config, 0, Duration::ZERO, now_ms))
    }

    /// Damage: refused, or passed over if that was asked for.
    fn trouble(&mut self, why: &'static str, recovery: &mut Recovery) -> Result<Step, BufferError> {
        let error = self.corrupt(why);
        if !self.ground.config.salvage {
            return Err(error);
        }
        tracing::error!(segment = %self.id, offset = self.offset, why, "damage in the log is passed over");
        recovery.salvaged.push(error.to_string());
        self.damaged = true;
        if self.sealed {
            return Ok(Step::End);
        }
        let (from, to) = (self.expect, self.limit);
        let wanted = |head: &super::frame::Head| (from..=to).contains(&head.seq);
        let found = self.tape.scan(self.offset + 8, wanted).map_err(BufferError::io("read a segment"))?.found;
        let Some((offset, head)) = found else { return Ok(Step::End) };
        // The chain goes on with the tag that stands before the record, if that one is unharmed.
        let tag = self.tape.bytes(offset - TAG_LEN as u64, TAG_LEN as u64).map_err(BufferError::io("read a segment"))?;
        self.previous = tag.try_into().expect("a record never stands in the first bytes");
        self.offset = offset;
        self.expect = head.seq;
        Ok(Step::Control)
    }

    /// Hands a record's rows on, if they are in no block yet.
    fn take(
        &mut self,
        mut rows: Rows,
        position: Position,
        bytes: u64,
        flushed: &dyn Fn(TableId) -> Position,
        sink: &mut dyn FnMut(Durable),
        recovery: &mut Recovery,
    ) -> Result<(), BufferError> {
        if let Some(message) = rows.schema.take() {
            match decode_schema(&message) {
                Ok(schema) => drop(self.schemas.insert(rows.schema_ref, (rows.table, schema))),
                Err(_) => return self.lost("its schema cannot be read", position, recovery),
            }
        }
        let schema = match self.schemas.get(&rows.schema_ref) {
            Some((table, schema)) if *table == rows.table => SchemaRef::clone(schema),
            _ => return self.lost("the record that held its schema is not there", position, recovery),
        };
        self.tables.insert(rows.table, position);
        if let Some(mark) = &rows.mark {
            recovery.marks.push((rows.workspace, mark.clone(), rows.arrival));
        }
        if position <= flushed(rows.table) {
            return Ok(());
        }
        let Ok(batch) = rows.batch(schema) else { return self.lost("its rows cannot be read", position, recovery) };
        recovery.records += 1;
        recovery.rows += batch.num_rows() as u64;
        let Rows { workspace, table, arrival, mark, .. } = rows;
        sink(Durable { position, workspace, table, arrival, batch, mark, bytes });
        Ok(())
    }

    fn lost(&mut self, why: &'static str, position: Position, recovery: &mut Recovery) -> Result<(), BufferError> {
        let error = BufferError::Corrupt { segment: self.id, offset: self.offset, position, why };
        if !self.ground.config.salvage {
            return Err(error);
        }
        recovery.salvaged.push(error.to_string());
        self.damaged = true;
        Ok(())
    }

    /// Makes the end of the newest segment final. Records that nobody knows to be durable are written once more: after
    /// a failed sync the system may show bytes that it will never write of itself.
    fn settle(&mut self, recovery: &Recovery) -> io::Result<()> {
        let file = &self.tape.file;
        if let Some((_, from)) = self.unsure.front() {
            // The prefix became durable together with the first record, or neither did.
            let from = if *from == self.first_at { &0 } else { from };
            let mut bytes = vec![0; usize::try_from(self.offset - from).expect("a group fits in memory")];
            let read = file.read_at(&mut bytes, *from)?;
            file.write_all_at(&[IoSlice::new(&bytes[..read])], *from)?;
        }
        if self.tape.len != self.offset {
            file.set_len(self.offset)?;
        }
        file.sync_all()?;
        if let Some(cut) = recovery.cut.last() {
            tracing::warn!(segment = %cut.segment, offset = cut.offset, position = cut.position.0, "a torn log segment was cut");
        }
        self.ground.world.fs.sync_dir(self.ground.dir)
    }
}

enum Next {
    Record(Payload, u64),
    /// Not a record, or not the one that comes next.
    Bad,
    /// The right record by its checksum, and wrong.
    Wrong(&'static str),
}
