//! One segment file while it is being written.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use strongroom_envelope::{Header, KeyGuard, ObjectKind, SealError, SegmentCipher, TAG_LEN};
use strongroom_model::{ObjectId, TableId, WorkspaceId};
use strongroom_world::{BootTime, FsFile, WallTime, World};

use super::frame;
use super::payload::{SchemaMessage, encode_open, encode_seal, set_schema};
use crate::BufferConfig;

const DAY: Duration = Duration::from_hours(24);

/// Written bytes that stay in the page cache at most: a log is read only after a crash.
const CACHED_BYTES: u64 = 1 << 20;
const PAGE: u64 = 4_096;

/// What a segment's file is called.
pub(crate) fn file_name(segment: ObjectId) -> String {
    format!("{segment}.wal")
}

/// How long a segment's rows are kept, as it says in clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// When it was begun, milliseconds since 1970.
    pub(crate) born_ms: i64,
    /// The longest retention of its rows.
    days: u32,
}

impl Life {
    /// `None` if the header says nothing that can be meant: such a segment is kept.
    pub(crate) fn of(header: &Header) -> Option<Self> {
        let born_ms = i64::try_from(header.object.unix_ms()?).ok()?;
        Some(Self { born_ms, days: u32::try_from(header.window_start).ok()? })
    }

    /// Whether every row in it, kept for `days_min` at least and lying `ahead` of its arrival at most, is past its days.
    pub(crate) fn is_over(self, config: &BufferConfig, days_min: u32, ahead: Duration, now_ms: i64) -> bool {
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let last_row = self.born_ms.saturating_add(i64::try_from(config.segment_age_max_ms).unwrap_or(i64::MAX)).saturating_add(ms(ahead));
        last_row.saturating_add(ms(DAY).saturating_mul(i64::from(self.days.max(days_min)))) < now_ms
    }
}

/// Why a segment could not be begun.
#[derive(Debug)]
pub(crate) enum OpenFailed {
    Seal(SealError),
    Io(ObjectId, io::Error),
}

/// Where a record stands in its epoch's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    /// The highest position known to be durable.
    pub(crate) synced: u64,
}

/// The file that records go to.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: ObjectId,
    pub(crate) retention_days: u32,
    /// When it was begun, by both clocks: neither alone tells its age if the date is corrected or the machine sleeps.
    begun: (WallTime, BootTime),
    /// Where the next record goes.
    pub(crate) offset: u64,
    file: Box<dyn FsFile>,
    cipher: SegmentCipher,
    allocated: u64,
    /// Before here nothing is in the page cache that has to be.
    dropped: u64,
    previous: [u8; TAG_LEN],
    records: u64,
    next_schema: u32,
    schemas: HashMap<TableId, Vec<(u32, SchemaMessage)>>,
}

impl Segment {
    /// Makes a segment whose first record says that rows of earlier ones count up to `place.synced`. It is durable,
    /// name and all.
    pub(crate) fn begin(
        world: &World,
        dir: &Path,
        config: &BufferConfig,
        guard: &KeyGuard,
        retention_days: u32,
        place: Place,
    ) -> Result<Self, OpenFailed> {
        let epoch = guard.epoch();
        let Place { seq, synced: cut } = place;
        let (ms, random) = world.id_seed();
        let id = ObjectId::mint(ms, random);
        let header = Header {
            kind: ObjectKind::Wal,
            double: guard.is_double(),
            aek: epoch.aek,
            account: epoch.account,
            workspace: WorkspaceId::NIL,
            table: TableId::NIL,
            window_start: i64::from(retention_days),
            object: id,
        };
        let now = world.clock.boot();
        let (cipher, prefix) = SegmentCipher::create(guard, now, &*world.rng, &header).map_err(OpenFailed::Seal)?;
        let mut open = encode_open(cut);
        let tag = cipher.seal_record(guard, now, seq, cut, &[0; TAG_LEN], &mut open, frame::HEAD_LEN).map_err(OpenFailed::Seal)?;
        frame::finish(&mut open, crc32c::crc32c(&prefix), seq, cut, &tag);
        let path = dir.join(file_name(id));
        let first = config.segment_first_bytes.max((prefix.len() + open.len()) as u64);
        let file = create(world, dir, &path, first, &prefix, &open).map_err(|error| OpenFailed::Io(id, error))?;
        Ok(Self {
            id,
            retention_days,
            begun: (world.clock.wall(), now),
            offset: (prefix.len() + open.len()) as u64,
            file,
            cipher,
            allocated: first,
            dropped: 0,
            previous: tag,
            records: 1,
            next_schema: 0,
            schemas: HashMap::new(),
        })
    }

    /// Whether records of now belong into a younger one: retention counts from its birth.
    pub(crate) fn is_old(&self, world: &World, config: &BufferConfig) -> bool {
        let (wall, boot) = self.begun;
        let by_wall = world.clock.wall().unix_ms().saturating_sub(wall.unix_ms());
        let by_boot = world.clock.boot().since(boot).as_millis();
        u64::try_from(by_wall).unwrap_or(0) >= config.segment_age_max_ms || by_boot >= u128::from(config.segment_age_max_ms)
    }

    /// Reserves room for `more` bytes of records: fourfold steps up to the segment's size, then what is needed.
    pub(crate) fn reserve(&mut self, config: &BufferConfig, more: u64) -> io::Result<()> {
        let needed = self.offset.saturating_add(more);
        if needed <= self.allocated {
            return Ok(());
        }
        let step = self.allocated.saturating_mul(4).min(config.segment_bytes).max(needed);
        self.file.allocate(step)?;
        self.allocated = step;
        Ok(())
    }

    /// Seals a rows record in place and chains it to the one before; `frame` is then ready to be written.
    pub(crate) fn seal_rows(
        &mut self,
        world: &World,
        guard: &KeyGuard,
        place: Place,
        table: TableId,
        schema: &SchemaMessage,
        frame: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let known = self.schemas.get(&table).and_then(|known| {
            known.iter().rev().find(|(_, other)| Arc::ptr_eq(&other.0, &schema.0) || other.0 == schema.0).map(|(number, _)| *number)
        });
        set_schema(frame, known.unwrap_or(self.next_schema), if known.is_none() { Some(schema) } else { None });
        self.seal(world, guard, place, frame)?;
        if known.is_none() {
            self.schemas.entry(table).or_default().push((self.next_schema, schema.clone()));
            self.next_schema += 1;
        }
        Ok(())
    }

    fn seal(&mut self, world: &World, guard: &KeyGuard, place: Place, frame: &mut Vec<u8>) -> Result<(), SealError> {
        let Place { seq, synced } = place;
        let tag = self.cipher.seal_record(guard, world.clock.boot(), seq, synced, &self.previous, frame, frame::HEAD_LEN)?;
        frame::finish(frame, 0, seq, synced, &tag);
        self.previous = tag;
        self.records += 1;
        Ok(())
    }

    /// Writes sealed records and makes them durable. After an error the segment must not be written to again.
    pub(crate) fn write(&mut self, frames: &[Vec<u8>]) -> io::Result<()> {
        fail::fail_point!("wal.pre_write", |_| Err(io::Error::other("failpoint")));
        let slices: Vec<IoSlice<'_>> = frames.iter().map(|frame| IoSlice::new(frame)).collect();
        self.file.write_all_at(&slices, self.offset)?;
        fail::fail_point!("wal.post_write", |_| Err(io::Error::other("failpoint")));
        fail::fail_point!("wal.pre_fsync", |_| Err(io::Error::other("failpoint")));
        self.file.sync_data()?;
        fail::fail_point!("wal.post_fsync", |_| Err(io::Error::other("failpoint")));
        self.offset += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
        if self.offset - self.dropped >= CACHED_BYTES {
            // The page that the next record begins in stays. The pages let go are those that the next records are copied to,
            // which costs less than pages nobody used for long; and the log pushes nothing out that queries read.
            let end = self.offset / PAGE * PAGE;
            self.file.unneeded(self.dropped..end);
            self.dropped = end;
        }
        Ok(())
    }

    /// Takes what was not acked out of a file that failed, if that still works: its senders were told so. It matters
    /// only until the next segment is there, which says the same for good.
    pub(crate) fn give_up(self) {
        if let Err(error) = self.file.set_len(self.offset) {
            tracing::debug!(segment = %self.id, kind = ?error.kind(), "a failed log segment could not be cut");
        }
    }

    /// Says in the file that it is complete, and gives back what was allocated too much.
    pub(crate) fn finish(mut self, world: &World, guard: &KeyGuard, place: Place) -> Result<u64, OpenFailed> {
        let mut frame = encode_seal(self.records, &self.previous);
        self.seal(world, guard, place, &mut frame).map_err(OpenFailed::Seal)?;
        let end = self.offset + frame.len() as u64;
        let io = |error| OpenFailed::Io(self.id, error);
        self.file.set_len(self.offset).map_err(io)?;
        self.file.write_all_at(&[IoSlice::new(&frame)], self.offset).map_err(io)?;
        self.file.sync_all().map_err(io)?;
        Ok(end)
    }
}

/// The prefix is durable before any row is written: valid records behind a bad prefix are then damage for certain.
fn create(world: &World, dir: &Path, path: &Path, len: u64, prefix: &[u8], open: &[u8]) -> io::Result<Box<dyn FsFile>> {
    fail::fail_point!("wal.rotate", |_| Err(io::Error::other("failpoint")));
    let file = world.fs.create_new(path)?;
    let made = (|| {
        file.allocate(len)?;
        file.write_all_at(&[IoSlice::new(prefix), IoSlice::new(open)], 0)?;
        file.sync_data()?;
        fail::fail_point!("wal.dirsync", |_| Err(io::Error::other("failpoint")));
        world.fs.sync_dir(dir)
    })();
    match made {
        Ok(()) => Ok(file),
        Err(error) => {
            // If it stays it does no harm: its first record says that nothing in it counts.
            drop(file);
            if let Err(left) = world.fs.remove_file(path) {
                tracing::warn!(kind = ?left.kind(), "an unused log segment could not be removed");
            }
            Err(error)
        }
    }
}
