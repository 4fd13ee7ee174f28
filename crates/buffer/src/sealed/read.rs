//! Reading a segment of the sealed buffer: what was acked is there whole, and damage is told from a torn end.

use std::io;
use std::path::Path;
use std::sync::Arc;

use strongroom_envelope::{BufferCipher, Header, KeyGuard, Mmk, OpenError, TAG_LEN};
use strongroom_model::{ObjectId, Position};
use strongroom_world::World;

use super::segment::{NOTE_LEN, Note, PAYLOAD_AT, PREFIX_LEN, days};
use super::{SealedLog, SealedSegment};
use crate::BufferError;
use crate::wal::frame::{HEAD_LEN, Head};
use crate::wal::scan::Tape;

/// What a file turned out to be.
pub(super) enum Found {
    /// A segment, and what it says of the one before it.
    Whole(SealedSegment, Option<(ObjectId, u64)>),
    NeverFinished,
    Damaged,
}

/// Looks at a segment's beginning, which is durable before any record is: if it is not whole but records follow, that is damage
/// and no power cut.
pub(super) fn beginning(log: &SealedLog, id: ObjectId) -> io::Result<Found> {
    let file = log.world.fs.open_read(&log.path(id))?;
    let mut tape = Tape::new(file)?;
    let bytes = tape.len;
    if let Ok(prefix) = <[u8; PREFIX_LEN]>::try_from(tape.bytes(0, PREFIX_LEN as u64)?)
        && let Ok((_, header)) = BufferCipher::reopen(&log.mmk, &prefix)
        && header.object == id
        && let Some(note) = Note::parse(prefix[Header::LEN..][..NOTE_LEN].try_into().expect("as long as a note"))
    {
        let (epoch, retention_days) = (header.epoch(), days(&header));
        let segment =
            SealedSegment { id, epoch, reason: note.reason, number: note.number, retention_days, bytes, through: None, open: false };
        return Ok(Found::Whole(segment, note.before));
    }
    let records = tape.scan(0, |_| true)?.found.is_some();
    Ok(if records { Found::Damaged } else { Found::NeverFinished })
}

/// Reads one segment, record by record. Blocking.
#[derive(Debug)]
pub struct SealedReader {
    world: World,
    guard: KeyGuard,
    cipher: BufferCipher,
    segment: SealedSegment,
    tape: Tape,
    offset: u64,
    /// The position that comes next.
    expect: u64,
    previous: [u8; TAG_LEN],
}

impl SealedReader {
    pub(super) fn begin(
        world: &World,
        mmk: &Arc<Mmk>,
        path: &Path,
        segment: &SealedSegment,
        guard: &KeyGuard,
    ) -> Result<Self, BufferError> {
        let file = world.fs.open_read(path).map_err(BufferError::io("open a segment of the sealed buffer"))?;
        let mut tape = Tape::new(file).map_err(BufferError::io("read a segment of the sealed buffer"))?;
        let prefix = tape.bytes(0, PREFIX_LEN as u64).map_err(BufferError::io("read a segment of the sealed buffer"))?;
        let (cipher, header) = BufferCipher::reopen(mmk, prefix).map_err(|source| BufferError::Open { segment: segment.id, source })?;
        if header.object != segment.id || header.epoch() != segment.epoch {
            return Err(BufferError::Open { segment: segment.id, source: OpenError::WrongPlace { object: segment.id } });
        }
        Ok(Self {
            world: world.clone(),
            guard: guard.clone(),
            cipher,
            segment: *segment,
            tape,
            offset: PREFIX_LEN as u64,
            expect: 1,
            previous: [0; TAG_LEN],
        })
    }

    /// The next record's position and payload; `None` at the end.
    ///
    /// # Errors
    /// [`BufferError::Corrupt`] for damage, [`BufferError::Guard`] once the key is gone again, [`BufferError::Io`].
    #[expect(clippy::should_implement_trait, reason = "it can fail half-way and must not be gone on with")]
    pub fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, BufferError> {
        let io = BufferError::io("read a segment of the sealed buffer");
        let last = self.segment.through.is_some_and(|through| self.expect > through);
        if last {
            return Ok(None);
        }
        let expect = self.expect;
        let found = self.tape.record(self.offset, 0).map_err(io)?.filter(|(head, _)| head.seq == expect);
        let Some((head, bytes)) = found else { return self.end() };
        let Some((rest, tag)) = bytes.split_last_chunk::<TAG_LEN>() else { return self.end() };
        let (mut text, tag) = (rest.get(HEAD_LEN..).unwrap_or_default().to_vec(), *tag);
        let Head { seq, synced_through, .. } = head;
        let changed = "its checksum is right and its tag is not: somebody changed it";
        if self.cipher.prove_record(seq, synced_through, &self.previous, &mut text, &tag).is_err() {
            return Err(self.corrupt(changed));
        }
        let now = self.world.clock.boot();
        match self.cipher.open_proved(&self.guard, now, seq, synced_through, &self.previous, &mut text) {
            Ok(()) => {}
            Err(OpenError::Guard(error)) => return Err(error.into()),
            Err(_) => return Err(self.corrupt("it was sealed to another key")),
        }
        let payload = payload_of(text).ok_or_else(|| self.corrupt("its payload has no length"))?;
        self.previous = tag;
        self.offset += head.record_len() as u64;
        self.expect += 1;
        Ok(Some((seq, payload)))
    }

    /// No record where the next one should be: the end, unless something says that there was more.
    fn end(&mut self) -> Result<Option<(u64, Vec<u8>)>, BufferError> {
        if self.segment.through.is_some_and(|through| self.expect <= through) {
            return Err(self.corrupt("the segment after it counts more records"));
        }
        let expect = self.expect;
        let scanned = self.tape.scan(self.offset, |head| head.seq > expect && head.synced_through >= expect);
        if scanned.map_err(BufferError::io("read a segment of the sealed buffer"))?.found.is_some() {
            return Err(self.corrupt("it was durable once: records behind it say so"));
        }
        Ok(None)
    }

    /// The error for a payload that its reader does not know.
    #[must_use]
    pub fn unknown(&self) -> BufferError {
        self.corrupt("its payload is of no kind that this build knows")
    }

    fn corrupt(&self, why: &'static str) -> BufferError {
        BufferError::Corrupt { segment: self.segment.id, offset: self.offset, position: Position(self.expect), why }
    }
}

fn payload_of(mut text: Vec<u8>) -> Option<Vec<u8>> {
    let len = u32::from_le_bytes(*text.first_chunk::<PAYLOAD_AT>()?);
    let end = PAYLOAD_AT.checked_add(usize::try_from(len).ok()?)?;
    (end <= text.len()).then(|| {
        text.truncate(end);
        text.drain(..PAYLOAD_AT);
        text
    })
}
