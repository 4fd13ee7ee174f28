//! The end of log segments whose key is away: by their clear header and the clock alone.
//!
//! A segment's id holds its birth, its header the longest retention of its rows. The oldest segment goes as a file; a
//! younger one may not leave before it (a gap in the positions would look like damage), so it is cut back to its
//! first record, which holds no row and says how far the segments before it count. Segments whose key is here need none of
//! this: their rows are in memory, become blocks within minutes, and those expire.

use std::io;
use std::time::Duration;

use strongroom_model::Epoch;

use super::Buffer;
use crate::wal::replay::{Listed, inventory};
use crate::wal::segment::file_name;
use crate::wal::trail::unlink;
use crate::{BufferError, Recovery};

/// What went with segments whose days were over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Segments whose rows are gone.
    pub segments: u64,
    /// The bytes on disk that held them, allocated room included.
    pub bytes: u64,
}

impl Buffer {
    /// Epochs whose log is not in memory.
    #[must_use]
    pub fn epochs_away(&self) -> Vec<Epoch> {
        let mut away: Vec<Epoch> = self.streams.lock().away.keys().copied().collect();
        away.sort();
        away
    }

    /// Ends the segments of epochs that are away in which every row is past its retention, without a key. `longest` says
    /// how many days such an epoch's rows are to be kept at least if their segment was born then (milliseconds since
    /// 1970): for tables that keep their rows longer now than they did. Late rather than early: counted is from the last
    /// moment in which the segment may have been written to, and rows may lie `ahead` of that. Blocking.
    ///
    /// # Errors
    /// [`BufferError::Io`]; what had gone before is gone.
    pub fn expire(&self, ahead: Duration, longest: &dyn Fn(Epoch, i64) -> u32) -> Result<Purged, BufferError> {
        // No epoch comes back meanwhile.
        let _alone = self.changing.lock();
        let mut purged = Purged::default();
        let away = self.epochs_away();
        if away.is_empty() {
            return Ok(purged);
        }
        let config = &self.shared.config;
        let now_ms = self.shared.world.clock.wall().unix_ms();
        let mut listed = inventory(&self.ground(), false, &mut Recovery::default())?;
        for epoch in away {
            let mut is_oldest = true;
            for segment in listed.remove(&epoch).unwrap_or_default() {
                let over = segment.life.is_some_and(|life| life.is_over(config, longest(epoch, life.born_ms), ahead, now_ms));
                let freed = match (over, is_oldest) {
                    (true, true) => self.remove(&segment),
                    (true, false) => self.cut_back(&segment),
                    (false, _) => Ok(0),
                };
                is_oldest &= over;
                let freed = freed.map_err(BufferError::io("remove a segment past its retention"))?;
                if freed > 0 {
                    tracing::info!(segment = %segment.id, account = %epoch.account, "log segment past its retention removed, its key is away");
                    purged.segments += 1;
                    purged.bytes += freed;
                }
            }
            if is_oldest {
                // Nothing of it is on disk any more: no question has to wait for its key.
                self.streams.lock().away.insert(epoch, Some(Vec::new()));
            }
        }
        Ok(purged)
    }

    fn remove(&self, segment: &Listed) -> io::Result<u64> {
        let shared = &self.shared;
        let len = shared.world.fs.open_read(&shared.dir.join(file_name(segment.id)))?.len()?;
        unlink(&shared.world, &shared.dir, segment.id, false)?;
        Ok(len.saturating_sub(segment.rows_at))
    }

    fn cut_back(&self, segment: &Listed) -> io::Result<u64> {
        let shared = &self.shared;
        let file = shared.world.fs.open(&shared.dir.join(file_name(segment.id)))?;
        let freed = file.len()?.saturating_sub(segment.rows_at);
        if freed > 0 {
            file.set_len(segment.rows_at)?;
            file.sync_all()?;
        }
        Ok(freed)
    }
}
