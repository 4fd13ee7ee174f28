//! Token filters of a day's blocks put side by side in one sealed object.
//!
//! Made in the background, once the day's windows are closed and merged, of tables with so many blocks that it pays
//! (`docs/adr/0012`). Bytes of the blocks' filters are moved; no row is read. The object names its blocks, so nothing waits for it and
//! nothing has to be written before a commit. Stopping half-way leaves a group announced and not live, which the sweep takes.

use std::ops::Range;

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use strongroom_catalog::{BlockRow, GROUP_BLOCKS_MIN, GroupCommit, LonelyDay};
use strongroom_envelope::{CHUNK_LEN, Header, KeyGuard, ObjectKind, ObjectOpener, TAG_LEN, seal};
use strongroom_keys::Purpose;
use strongroom_model::terms::{DIRECTORY_KEY, Directory, GroupBuilder};
use strongroom_model::{ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_store::{ObjectKey, Reader, StoredBlock};

use crate::decoding::blocking;
use crate::intake::Intake;
use crate::publish::{BlockPlace, commit, failpoint};
use crate::{IngestError, ShredReport};

/// Blocks of one group. A day of hours has 24.
const BLOCKS_MAX: u32 = 64;
/// Bytes of filters in one group, unless one block has more: they are in memory twice, and once more sealed.
const BYTES_MAX: usize = 32 << 20;
/// Read from a file's end at first: footers of blocks of some twenty columns fit.
const FOOTER_HINT: u64 = 64 << 10;
/// What ends a Parquet file: the length of the footer's metadata, and a mark.
const PARQUET_TRAILER: u64 = 8;
const DAY_SECS: i64 = 86_400;
/// Objects unlinked at a time.
const UNLINK_STEP: u32 = 256;

/// What was put side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grouped {
    /// Objects made.
    pub groups: u64,
    /// Blocks that they name.
    pub blocks: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

impl Intake {
    /// Puts the filters of closed days side by side, of one table or of all of a workspace, as far as it goes.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn group_filters(&self, workspace: WorkspaceId, table: Option<TableId>) -> Result<Grouped, IngestError> {
        let mut grouped = Grouped::default();
        loop {
            let before = grouped.blocks;
            for day in self.lonely_days(u32::MAX).await? {
                if day.workspace == workspace && table.is_none_or(|only| only == day.table) {
                    let made = self.group_day(&day).await?;
                    grouped.groups += made.groups;
                    grouped.blocks += made.blocks;
                    grouped.bytes += made.bytes;
                }
            }
            if grouped.blocks == before {
                return Ok(grouped);
            }
        }
    }

    /// Whether a table has so many blocks that groups are made of it.
    pub(crate) async fn is_grouped(&self, table: TableId) -> Result<bool, IngestError> {
        let from = self.config.compact.group_filters_from_blocks;
        Ok(from > 0 && self.deps.catalog.pin(table).await?.blocks >= from)
    }

    /// Closed days with blocks that no group names.
    pub(crate) async fn lonely_days(&self, limit: u32) -> Result<Vec<LonelyDay>, IngestError> {
        let config = &self.config.compact;
        if config.group_filters_from_blocks == 0 {
            return Ok(Vec::new());
        }
        let now_ms = self.deps.world.clock.wall().unix_ms();
        let before = now_ms.saturating_sub(config.grace_ms).div_euclid(1_000).saturating_sub(DAY_SECS).saturating_add(1);
        Ok(self.deps.catalog.lonely_days(config.group_filters_from_blocks, before, now_ms.div_euclid(1_000), limit).await?)
    }

    /// Makes one group of a day's blocks; nothing, if too few are left.
    pub(crate) async fn group_day(&self, day: &LonelyDay) -> Result<Grouped, IngestError> {
        // What is merged, sealed anew or shredded meanwhile would be read for nothing.
        let _turn = self.compacting.lock().await;
        let LonelyDay { table, workspace, epoch, day: start, .. } = *day;
        let blocks = self.deps.catalog.blocks_alone(table, epoch, start, BLOCKS_MAX).await?;
        if (blocks.len() as u64) < GROUP_BLOCKS_MIN {
            return Ok(Grouped::default());
        }
        let guard = self.deps.keys.guard(epoch, workspace, PrincipalId::NIL, Purpose::Maintain).await?;
        let mut builder = GroupBuilder::default();
        let (mut named, mut arrived_ms) = (Vec::new(), 0);
        for block in &blocks {
            let filters = self.filters_of(block, &guard).await?;
            let bytes = filters.as_ref().map_or(0, |(_, bytes)| bytes.len());
            if !builder.is_empty() && builder.bytes() + bytes > BYTES_MAX {
                break;
            }
            builder.add(block.object, filters);
            named.push(block.object);
            arrived_ms = arrived_ms.max(block.arrived_ms);
        }
        let (ms, random) = self.deps.world.id_seed();
        let object = ObjectId::mint(ms, random);
        let key = ObjectKey { account: epoch.account, workspace, table, window_start: start, object };
        let header = Header {
            kind: ObjectKind::Filters,
            double: guard.is_double(),
            aek: epoch.aek,
            account: epoch.account,
            workspace,
            table,
            window_start: start,
            object,
        };
        self.deps.catalog.group_pend(self.deps.writer, object, day).await?;
        let (key_guard, world) = (guard.clone(), self.deps.world.clone());
        let (sealed, plain_len) = blocking(move || {
            let plain = builder.finish().ok_or(IngestError::Internal { what: "filters side by side", source: None })?;
            let sealed = seal(&key_guard, world.clock.boot(), &*world.rng, &header, &plain)?;
            Ok::<_, IngestError>((Bytes::from(sealed), plain.len() as u64))
        })
        .await??;
        let sealed_len = sealed.len() as u64;
        failpoint("group.put")?;
        self.deps.blocks.put(&StoredBlock { key, epoch, len: sealed_len, arrived_ms }, sealed, &guard).await?;
        failpoint("group.put_unknown")?;
        let done = GroupCommit { object, sealed_len, plain_len, arrived_ms, blocks: named };
        commit(&self.deps, || self.deps.catalog.group_commit(self.deps.writer, &done)).await?;
        let made = Grouped { groups: 1, blocks: done.blocks.len() as u64, bytes: sealed_len };
        metrics::counter!("ingest_grouped_blocks_total").increment(made.blocks);
        metrics::counter!("ingest_grouped_bytes_total").increment(made.bytes);
        tracing::debug!(%table, blocks = made.blocks, bytes = made.bytes, "filters put side by side");
        Ok(made)
    }

    /// A block's directory and the bytes that a group takes of its filters; `None`: it has none, or of a kind that is not known.
    async fn filters_of(&self, row: &BlockRow, guard: &KeyGuard) -> Result<Option<(Directory, Vec<u8>)>, IngestError> {
        failpoint("group.read")?;
        let block = OpenedBlock::open(self, row, guard).await?;
        let hint = FOOTER_HINT.min(row.plain_len);
        let tail = block.read(self, row.plain_len - hint..row.plain_len).await?;
        let corrupt = IngestError::Corrupt { what: "a block's footer" };
        let Some((rest, trailer)) = tail.split_last_chunk::<8>() else { return Err(corrupt) };
        let [a, b, c, d, ..] = *trailer;
        let len = u64::from(u32::from_le_bytes([a, b, c, d]));
        let Some(start) = row.plain_len.checked_sub(PARQUET_TRAILER + len) else { return Err(corrupt) };
        let footer = if len <= rest.len() as u64 {
            rest[rest.len() - usize::try_from(len).unwrap_or(usize::MAX)..].to_vec()
        } else {
            block.read(self, start..start + len).await?
        };
        let metadata = ParquetMetaDataReader::decode_metadata(&footer).map_err(|_| corrupt)?;
        let pairs = metadata.file_metadata().key_value_metadata();
        let text = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == DIRECTORY_KEY)?.value.as_deref());
        let directory = text.and_then(Directory::parse).filter(|directory| directory.rows == row.rows);
        let Some(directory) = directory.filter(|directory| directory.group_range().end <= row.plain_len) else { return Ok(None) };
        let bytes = block.read(self, directory.group_range()).await?;
        Ok(Some((directory, bytes)))
    }

    /// Objects of groups that ended with shredded rows go now and not with the sweep.
    pub(crate) async fn unlink_groups(&self, report: &mut ShredReport) -> Result<(), IngestError> {
        loop {
            let ended = self.deps.catalog.group_tombstones(1, UNLINK_STEP).await?;
            let mut gone = Vec::with_capacity(ended.len());
            for row in &ended {
                let (account, workspace, table) = (row.epoch.account, row.workspace, row.table);
                let key = ObjectKey { account, workspace, table, window_start: row.day, object: row.object };
                match self.deps.blocks.delete(&key).await {
                    Ok(()) => gone.push(row.object),
                    Err(error) => {
                        tracing::warn!(object = %row.object, code = error.code(), "filters of shredded rows are left to the sweep");
                        report.objects_left += 1;
                    }
                }
            }
            self.deps.catalog.group_forget(&gone).await?;
            if ended.len() < UNLINK_STEP as usize || gone.len() < ended.len() {
                return Ok(());
            }
        }
    }
}

/// A block of which only parts are read: header, commitment and end are proved.
struct OpenedBlock<'a> {
    stored: StoredBlock,
    guard: &'a KeyGuard,
    opener: ObjectOpener,
}

impl<'a> OpenedBlock<'a> {
    async fn open(intake: &Intake, row: &BlockRow, guard: &'a KeyGuard) -> Result<Self, IngestError> {
        let place = BlockPlace { epoch: row.epoch, workspace: row.workspace, table: row.table, window: row.window, object: row.object };
        let stored = StoredBlock { key: place.key(), epoch: row.epoch, len: row.sealed_len, arrived_ms: row.arrived_ms };
        let header = place.header(guard.is_double());
        let prefix = 0..ObjectOpener::prefix_len(header.double).min(stored.len);
        // The final chunk is at most this long under one layer: one trip brings both.
        let tail = stored.len.saturating_sub((CHUNK_LEN + TAG_LEN) as u64)..stored.len;
        let ends = fetch(intake, &stored, guard, &[prefix, tail.clone()]).await?;
        let now = || intake.deps.world.clock.boot();
        let [prefix, end] = <[Bytes; 2]>::try_from(ends).map_err(|_| IngestError::Internal { what: "reading a block", source: None })?;
        let opener = ObjectOpener::new(guard, now(), &header, &prefix, stored.len)?;
        let last = opener.final_range();
        let sealed = if last.start >= tail.start && last.end <= tail.end {
            let at = |at: u64| usize::try_from(at - tail.start).unwrap_or(usize::MAX);
            end.slice(at(last.start)..at(last.end))
        } else {
            one(fetch(intake, &stored, guard, std::slice::from_ref(&last)).await?)?
        };
        opener.prove_end(guard, now(), &sealed)?;
        if opener.plain_len() != row.plain_len {
            return Err(IngestError::Corrupt { what: "the length of a block" });
        }
        Ok(Self { stored, guard, opener })
    }

    async fn read(&self, intake: &Intake, plain: Range<u64>) -> Result<Vec<u8>, IngestError> {
        let range = self.opener.sealed_range(plain.clone());
        let sealed = one(fetch(intake, &self.stored, self.guard, std::slice::from_ref(&range)).await?)?;
        let bytes = self.opener.open_range(self.guard, intake.deps.world.clock.boot(), plain.clone(), &sealed)?;
        let whole = bytes.len() as u64 == plain.end - plain.start;
        if whole { Ok(bytes) } else { Err(IngestError::Corrupt { what: "the length of a block" }) }
    }
}

async fn fetch(intake: &Intake, stored: &StoredBlock, guard: &KeyGuard, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, IngestError> {
    Ok(intake.deps.blocks.read(stored, guard, ranges, Reader::Maintain).await?)
}

fn one(mut parts: Vec<Bytes>) -> Result<Bytes, IngestError> {
    parts.pop().ok_or(IngestError::Internal { what: "reading a block", source: None })
}
