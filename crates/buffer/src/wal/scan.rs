//! Finding records in a segment's file without a key: by their checksum.

use std::io;

use strongroom_world::FsFile;

use super::frame::{ALIGN, HEAD_LEN, Head};

/// How much is read at a time.
const WINDOW: u64 = 1 << 20;

/// A file read through a window that moves forward.
#[derive(Debug)]
pub(crate) struct Tape {
    pub(crate) file: Box<dyn FsFile>,
    pub(crate) len: u64,
    window: Vec<u8>,
    start: u64,
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Scanned {
    /// The first record the search was for.
    pub(crate) found: Option<(u64, Head)>,
    /// Whether there was anything but zeros before it.
    pub(crate) dirty: bool,
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a window fits in memory")
}

impl Tape {
    pub(crate) fn new(file: Box<dyn FsFile>) -> io::Result<Self> {
        let len = file.len()?;
        Ok(Self { file, len, window: Vec::new(), start: 0 })
    }

    /// The bytes from `offset`, `len` of them or as many as there are.
    pub(crate) fn bytes(&mut self, offset: u64, len: u64) -> io::Result<&[u8]> {
        let end = offset.saturating_add(len).min(self.len);
        if offset >= end {
            return Ok(&[]);
        }
        if offset < self.start || end > self.start + self.window.len() as u64 {
            let want = (end - offset).max(WINDOW).min(self.len - offset);
            self.window.resize(index(want), 0);
            let read = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(read);
            self.start = offset;
        }
        let at = index(offset - self.start);
        let stop = index(end - self.start).min(self.window.len());
        Ok(self.window.get(at..stop).unwrap_or_default())
    }

    /// What the window holds from `offset` on: something, unless the file ends there.
    fn ahead(&mut self, offset: u64) -> io::Result<&[u8]> {
        let held = (self.start + self.window.len() as u64).saturating_sub(offset);
        self.bytes(offset, if offset >= self.start && held > 0 { held } else { WINDOW })
    }

    /// The head at `offset`, if a record of that length could lie there.
    fn head(&mut self, offset: u64) -> io::Result<Option<Head>> {
        let room = self.len.saturating_sub(offset);
        let head = self.bytes(offset, HEAD_LEN as u64)?.try_into().ok().map(Head::parse);
        Ok(head.filter(|head| head.fits(room)))
    }

    /// The record at `offset`, if its checksum holds. For `seed` see [`Head::checks`].
    pub(crate) fn record(&mut self, offset: u64, seed: u32) -> io::Result<Option<(Head, &[u8])>> {
        let Some(head) = self.head(offset)? else { return Ok(None) };
        let bytes = self.bytes(offset, head.record_len() as u64)?;
        Ok(head.checks(seed, bytes).then_some((head, bytes)))
    }

    /// Looks for a record that is `wanted`, from `offset` to the end.
    pub(crate) fn scan(&mut self, offset: u64, wanted: impl Fn(&Head) -> bool) -> io::Result<Scanned> {
        let mut at = offset.next_multiple_of(ALIGN as u64);
        let mut dirty = false;
        while at < self.len {
            let window = self.ahead(at)?;
            let Some(next) = window.iter().position(|byte| *byte != 0) else {
                at += window.len().max(1) as u64;
                continue;
            };
            dirty = true;
            // The first byte of a record's length is in its first eight bytes.
            let next = at + (next / ALIGN * ALIGN) as u64;
            if let Some(head) = self.head(next)?
                && wanted(&head)
                && self.record(next, 0)?.is_some()
            {
                return Ok(Scanned { found: Some((next, head)), dirty });
            }
            at = next + ALIGN as u64;
        }
        Ok(Scanned { found: None, dirty })
    }
}
