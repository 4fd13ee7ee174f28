//! How rows leave the log for good: what a shredding waits for. A segment is sealed under a key that many workspaces share, so
//! rows in it end with the file and with nothing else.

use strongroom_model::{AccountId, Epoch, ObjectId, TableId};

use super::{Buffer, join};
use crate::wal::replay::inventory;
use crate::wal::trail::unlink;
use crate::{BufferError, Recovery};

impl Buffer {
    /// Ends an epoch's open segment and removes what nobody needs: once its rows are in blocks, a closed segment goes. Blocking.
    ///
    /// # Errors
    /// [`BufferError::SegmentFailed`] if the end could not be made durable; what was acked is safe all the same.
    pub fn rotate(&self, epoch: Epoch) -> Result<(), BufferError> {
        let stream = self.streams.lock().live.get(&epoch).map(|(stream, _)| stream.clone());
        let ended = stream.map_or(Ok(()), |stream| stream.finish());
        self.shared.trail.trim(&self.shared.world, &self.shared.dir, epoch);
        ended
    }

    /// Segments on disk that hold rows of these tables, flushed or not, as far as they were read or written since the start.
    #[must_use]
    pub fn logged(&self, tables: &[TableId]) -> Vec<(Epoch, ObjectId)> {
        self.shared.trail.holding(tables)
    }

    /// Epochs whose log is on disk and not in memory: what is in it cannot be told without their key.
    #[must_use]
    pub fn absent(&self) -> Vec<Epoch> {
        self.streams.lock().away.keys().copied().collect()
    }

    /// Tables with rows of an account's epochs that are in no block, in memory or on disk alone; and whether there is a log of it
    /// that was not read since the start, so that nobody knows whose rows are in it.
    #[must_use]
    pub fn unflushed(&self, account: AccountId) -> (Vec<TableId>, bool) {
        let mut tables: Vec<TableId> =
            self.pressure().tables.iter().filter(|memtable| memtable.epoch.account == account).map(|memtable| memtable.table).collect();
        let mut unread = false;
        for (_, dropped) in self.streams.lock().away.iter().filter(|(epoch, _)| epoch.account == account) {
            match dropped {
                Some(dropped) => tables.extend(dropped.iter().map(|(table, _)| *table)),
                None => unread = true,
            }
        }
        tables.sort_unstable();
        tables.dedup();
        (tables, unread)
    }

    /// Takes an epoch's log off the disk and its rows out of memory: its key is to be destroyed. How many segments. Blocking.
    ///
    /// # Errors
    /// [`BufferError::Io`]; what is left is found by the next try.
    pub fn destroy(&self, epoch: Epoch) -> Result<usize, BufferError> {
        let _alone = self.changing.lock();
        let live = {
            let mut streams = self.streams.lock();
            streams.starts.remove(&epoch);
            streams.away.remove(&epoch);
            streams.live.remove(&epoch)
        };
        if let Some((stream, thread)) = live {
            stream.abandon(|| BufferError::Closed);
            join(thread);
        }
        drop(self.shared.memtables.forget(epoch));
        self.shared.trail.forget(epoch);
        let listed = inventory(&self.ground(), false, &mut Recovery::default())?.remove(&epoch).unwrap_or_default();
        for segment in &listed {
            unlink(&self.shared.world, &self.shared.dir, segment.id, false).map_err(BufferError::io("remove a segment"))?;
        }
        Ok(listed.len())
    }
}
