//! One segment file of the sealed buffer while it is being written.

use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;

use strongroom_envelope::{BufferCipher, BufferKey, Header, ObjectKind, TAG_LEN};
use strongroom_model::{Epoch, ObjectId, TableId, WorkspaceId};
use strongroom_world::{FsFile, Rng};

use super::{Reason, SealedLog, SealedSegment, Stream};
use crate::wal::frame;

/// What the names of segments end with.
pub(super) const ENDING: &str = ".sealed";
/// What stands between header and salt: reason, seven zeros, number, the segment before, how many of its records count.
pub(super) const NOTE_LEN: usize = 40;
/// Bytes before the first record.
pub(super) const PREFIX_LEN: usize = BufferCipher::prefix_len(NOTE_LEN);
/// Before a payload: its length.
pub(super) const PAYLOAD_AT: usize = 4;

pub(super) fn file_name(segment: ObjectId) -> String {
    format!("{segment}{ENDING}")
}

/// A record with a payload in place: `len 4 | payload | zeros` behind room for its head.
pub(super) fn frame_of(payload: &[u8]) -> Vec<u8> {
    let mut frame = frame::start(PAYLOAD_AT + payload.len() + 64);
    let len = u32::try_from(payload.len()).expect("requests are limited to less than 4 GiB");
    frame.extend_from_slice(&len.to_le_bytes());
    frame.extend_from_slice(payload);
    frame::pad(&mut frame);
    frame
}

/// What a segment says beside its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) reason: Reason,
    /// Segments are read in the order of their numbers.
    pub(super) number: u64,
    pub(super) before: Option<(ObjectId, u64)>,
}

impl Note {
    fn to_bytes(self) -> [u8; NOTE_LEN] {
        let mut bytes = [0; NOTE_LEN];
        bytes[0] = match self.reason {
            Reason::Outage => 1,
            Reason::Policy => 2,
        };
        if let Some((segment, through)) = self.before {
            bytes[16..32].copy_from_slice(segment.as_bytes());
            bytes[32..].copy_from_slice(&through.to_le_bytes());
        }
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes
    }

    /// `None` for what no build has written.
    pub(super) fn parse(bytes: &[u8; NOTE_LEN]) -> Option<Self> {
        let reason = match bytes[0] {
            1 => Reason::Outage,
            2 => Reason::Policy,
            _ => return None,
        };
        let number = u64::from_le_bytes(bytes[8..16].try_into().expect("8 bytes"));
        let id = ObjectId::from_bytes(bytes[16..32].try_into().expect("16 bytes"));
        let through = u64::from_le_bytes(bytes[32..].try_into().expect("8 bytes"));
        Some(Self { reason, number, before: (id != ObjectId::NIL).then_some((id, through)) })
    }
}

/// The file that records go to.
#[derive(Debug)]
pub(super) struct Open {
    header: Header,
    reason: Reason,
    number: u64,
    file: Box<dyn FsFile>,
    cipher: BufferCipher,
    offset: u64,
    /// The last record that is durable; the next one's position is one more.
    synced: u64,
    previous: [u8; TAG_LEN],
}

impl Open {
    /// Makes a segment; it is durable, name and all, before a record goes to it.
    pub(super) fn begin(
        log: &SealedLog,
        stream: &Stream,
        retention_days: u32,
        before: Option<(ObjectId, u64)>,
    ) -> Result<Self, (ObjectId, io::Error)> {
        let (ms, random) = log.world.id_seed();
        let header = header(stream.epoch, retention_days, ObjectId::mint(ms, random));
        let number = log.numbers.fetch_add(1, Ordering::Relaxed);
        let note = Note { reason: stream.reason, number, before };
        let (cipher, prefix) = BufferCipher::create(&log.mmk, log.world.rng.as_ref(), &header, &note.to_bytes());
        let path = log.path(header.object);
        let made = (|| {
            fail::fail_point!("sealed.open", |_| Err(io::Error::other("failpoint")));
            let file = log.world.fs.create_new(&path)?;
            file.write_all_at(&[IoSlice::new(&prefix)], 0)?;
            file.sync_all()?;
            log.world.fs.sync_dir(&log.dir)?;
            Ok(file)
        })();
        let file = made.map_err(|error| {
            // If it stays it does no harm: there is nothing in it.
            if let Err(left) = log.world.fs.remove_file(&path) {
                tracing::debug!(kind = ?left.kind(), "an unused segment of the sealed buffer could not be removed");
            }
            (header.object, error)
        })?;
        let offset = prefix.len() as u64;
        Ok(Self { header, reason: stream.reason, number, file, cipher, offset, synced: 0, previous: [0; TAG_LEN] })
    }

    pub(super) fn id(&self) -> ObjectId {
        self.header.object
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    pub(super) fn retention_days(&self) -> u32 {
        days(&self.header)
    }

    pub(super) fn listed(&self) -> SealedSegment {
        SealedSegment {
            id: self.id(),
            epoch: self.header.epoch(),
            reason: self.reason,
            number: self.number,
            retention_days: self.retention_days(),
            bytes: self.offset,
            through: None,
            open: true,
        }
    }

    /// Seals a group, writes it and makes it durable; the segment's length then. After an error nothing more may be written.
    pub(super) fn write(&mut self, rng: &dyn Rng, frames: Vec<(BufferKey, Vec<u8>)>) -> io::Result<u64> {
        let (mut seq, mut previous) = (self.synced, self.previous);
        let mut sealed = Vec::with_capacity(frames.len());
        for (key, mut frame) in frames {
            seq += 1;
            previous = self
                .cipher
                .seal_record(rng, &key, seq, self.synced, &previous, &mut frame, frame::HEAD_LEN)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            frame::finish(&mut frame, 0, seq, self.synced, &previous);
            sealed.push(frame);
        }
        fail::fail_point!("sealed.pre_write", |_| Err(io::Error::other("failpoint")));
        let slices: Vec<_> = sealed.iter().map(|frame| IoSlice::new(frame)).collect();
        self.file.write_all_at(&slices, self.offset)?;
        fail::fail_point!("sealed.post_write", |_| Err(io::Error::other("failpoint")));
        self.file.sync_data()?;
        fail::fail_point!("sealed.post_fsync", |_| Err(io::Error::other("failpoint")));
        self.offset += sealed.iter().map(|frame| frame.len() as u64).sum::<u64>();
        (self.synced, self.previous) = (seq, previous);
        Ok(self.offset)
    }

    /// Takes what was not acked out of a file that failed, if that still works; the next segment says the same for good.
    pub(super) fn give_up(&self) {
        if let Err(error) = self.file.set_len(self.offset) {
            tracing::debug!(segment = %self.id(), kind = ?error.kind(), "a failed segment of the sealed buffer could not be cut");
        }
    }
}

fn header(epoch: Epoch, retention_days: u32, object: ObjectId) -> Header {
    Header {
        kind: ObjectKind::Buffered,
        double: true,
        aek: epoch.aek,
        account: epoch.account,
        workspace: WorkspaceId::NIL,
        table: TableId::NIL,
        window_start: i64::from(retention_days),
        object,
    }
}

/// The longest retention that a segment's header names, in days.
pub(super) fn days(header: &Header) -> u32 {
    u32::try_from(header.window_start).unwrap_or(u32::MAX)
}
