//! Token filters at the read: which slices of which blocks cannot hold the terms that a query's filters need.
//!
//! Only a predicate with a test of terms costs anything, and only for blocks that windows, times and statistics left. A filter's
//! bytes derive from rows: they are read through `blk` under the block's guard, kept by epoch, and go when its key goes.
//!
//! ```text
//! filters ─ask─▶ tree of (column, term) ─▶ groups that name blocks: one cut each ─▶ slices to read ─▶ row selection
//!                                       └▶ per block that is left: directory, the parts of those terms ──▲
//! ```

mod ask;
mod cache;
mod groups;
mod pattern;

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::ObjectMeta;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use strongroom_catalog::BlockRow;
use strongroom_envelope::KeyGuard;
use strongroom_model::BlockStats;
use strongroom_model::terms::{DIRECTORY_KEY, Directory, Part};

pub(crate) use ask::Ask;
pub(crate) use cache::Filters;
use cache::Known;
use groups::Groups;

use crate::QueryError;
use crate::table::{FOOTER_HINT_BYTES, Shared};

/// Blocks whose filters are read at once.
const AT_ONCE: usize = 8;
/// Blocks looked at first, and where the newest rows may soon be enough; four times as many each time after.
const FIRST_WAVE: usize = 64;
const FIRST_WAVE_OF_NEWEST: usize = 4;
/// If fewer than one slice in this many goes, the terms are everywhere: the other blocks are read without asking.
const WORTH: usize = 16;

/// The slices of a block that may hold wanted rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slices {
    keep: Vec<bool>,
    rows: u64,
    slice_rows: u64,
    /// Told by a group's filters: the block was not opened for it.
    grouped: bool,
}

impl Slices {
    /// How many are kept, and of how many.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.keep.iter().filter(|keep| **keep).count(), self.keep.len())
    }

    pub(crate) fn is_grouped(&self) -> bool {
        self.grouped
    }

    pub(crate) fn is_none(&self) -> bool {
        !self.keep.contains(&true)
    }

    pub(crate) fn is_part(&self) -> bool {
        self.keep.contains(&false)
    }

    /// What is read of the file; `None` for all of it.
    pub(crate) fn selection(&self) -> Option<ParquetRowSelection> {
        if !self.is_part() {
            return None;
        }
        let rows = |slice: usize| {
            let start = slice as u64 * self.slice_rows;
            usize::try_from(self.slice_rows.min(self.rows - start)).unwrap_or(usize::MAX)
        };
        let selectors = self.keep.iter().enumerate().map(|(slice, keep)| RowSelector { row_count: rows(slice), skip: !keep });
        Some(ParquetRowSelection::new(RowSelection::from(selectors.collect::<Vec<_>>())))
    }
}

/// A block that is left, newest first, with its guard.
pub(crate) struct Candidate<'a> {
    pub(crate) row: &'a BlockRow,
    pub(crate) stats: Option<Arc<BlockStats>>,
    pub(crate) guard: KeyGuard,
}

/// For each block the slices that may hold wanted rows; `None` where nothing is known, or nobody looked.
pub(crate) async fn sift(shared: &Shared, ask: &Ask, blocks: &[Candidate<'_>]) -> Result<Vec<Option<Slices>>, QueryError> {
    let mut found: Vec<Option<Slices>> = Vec::with_capacity(blocks.len());
    let mut wave = if shared.context.newest.get().is_some() { FIRST_WAVE_OF_NEWEST } else { FIRST_WAVE };
    let limit = blocks.len().min(shared.filter_blocks_max);
    let terms = ask.terms();
    let groups = Groups::around(shared, &blocks[..limit]).await?;
    while found.len() < limit {
        let next = &blocks[found.len()..limit.min(found.len() + wave)];
        let told = groups.tell(shared, ask, &terms, next).await?;
        let look = |(block, told): (_, Option<Slices>)| {
            let terms = &terms;
            async move { if told.is_some() { Ok(told) } else { look(shared, ask, terms, block).await } }.boxed()
        };
        let looks: Vec<_> = next.iter().zip(told).map(look).collect();
        let seen: Vec<Option<Slices>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        let (kept, all) = seen.iter().flatten().map(Slices::counts).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        found.extend(seen);
        if (all - kept) * WORTH < all {
            break;
        }
        wave *= 4;
    }
    found.resize(blocks.len(), None);
    Ok(found)
}

async fn look(shared: &Shared, ask: &Ask, terms: &BTreeSet<(&str, u64)>, block: &Candidate<'_>) -> Result<Option<Slices>, QueryError> {
    let Some(directory) = directory(shared, block).await? else { return Ok(None) };
    let known = Columns::of(terms, &directory.columns, block.stats.as_deref());
    let told = terms.iter().filter(|(column, _)| known.get(column) == Some(Column::Told));
    let wanted: BTreeSet<usize> = told.map(|(_, term)| directory.part_of(*term)).collect();
    let parts = parts(shared, block, &directory, &wanted).await?;
    let part_of = |term: u64| {
        let part = directory.part_of(term);
        parts.iter().find(|(at, _)| *at == part).and_then(|(_, part)| part.as_ref())
    };
    let may = |slice: usize, column: &str, term: u64| match known.get(column) {
        Some(Column::Absent) => false,
        Some(Column::Told) => part_of(term).is_none_or(|part| part.may_hold(slice, column, term)),
        Some(Column::Untold) | None => true,
    };
    let keep = (0..directory.slices()).map(|slice| ask.holds(&|column, term| may(slice, column, term))).collect();
    Ok(Some(Slices { keep, rows: directory.rows, slice_rows: directory.slice_rows, grouped: false }))
}

/// What a block says of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// It is not in the block: null in every row of it.
    Absent,
    /// The filters have its terms.
    Told,
    /// Nothing.
    Untold,
}

/// Of the columns asked for; they are few.
struct Columns<'a>(Vec<(&'a str, Column)>);

impl<'a> Columns<'a> {
    fn of(terms: &BTreeSet<(&'a str, u64)>, told_of: &[String], stats: Option<&BlockStats>) -> Self {
        let mut known: Vec<(&str, Column)> = Vec::new();
        for (name, _) in terms {
            // Terms are in the order of their columns.
            if known.last().is_none_or(|(last, _)| last != name) {
                let absent = stats.is_some_and(|stats| stats.columns.iter().all(|column| column.name != *name));
                let told = told_of.iter().any(|column| column == name);
                known.push((
                    name,
                    if absent {
                        Column::Absent
                    } else if told {
                        Column::Told
                    } else {
                        Column::Untold
                    },
                ));
            }
        }
        Self(known)
    }

    fn get(&self, name: &str) -> Option<Column> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, column)| *column)
    }
}

/// Where a block's filters lie, if it has any that this build can read.
pub(crate) async fn directory(shared: &Shared, block: &Candidate<'_>) -> Result<Option<Arc<Directory>>, QueryError> {
    let object = block.row.object;
    if let Some(known) = shared.filters.directory(object) {
        return Ok(known.0);
    }
    shared.footers.admit(&block.guard);
    let path = shared.blk.admit(block.row, &block.guard);
    let meta =
        ObjectMeta { location: path, last_modified: chrono::DateTime::UNIX_EPOCH, size: block.row.plain_len, e_tag: None, version: None };
    let footers: Arc<FileMetadataCache> = Arc::clone(&shared.footers) as _;
    let footer = DFParquetMetadata::new(shared.blk.as_ref(), &meta)
        .with_file_metadata_cache(Some(footers))
        .with_metadata_size_hint(Some(FOOTER_HINT_BYTES))
        .fetch_metadata()
        .await
        // What a block that does not open says was kept by the context.
        .map_err(|_| QueryError::internal("a block's footer cannot be read").with_block(object))?;
    let pairs = footer.file_metadata().key_value_metadata();
    let text = pairs.and_then(|pairs| pairs.iter().find(|pair| pair.key == DIRECTORY_KEY)?.value.as_deref());
    let directory = text.and_then(Directory::parse).filter(|directory| directory.rows == block.row.rows).map(Arc::new);
    shared.filters.put_directory(&block.guard, object, Known(directory.clone()));
    Ok(directory)
}

/// Reads all of a block's filters.
pub(crate) async fn whole(shared: &Shared, block: &Candidate<'_>) -> Result<(), QueryError> {
    let Some(directory) = directory(shared, block).await? else { return Ok(()) };
    parts(shared, block, &directory, &(0..directory.parts()).collect()).await.map(drop)
}

type Parts = Vec<(usize, Option<Arc<Part>>)>;

/// These parts of a block's filters. One that is no such thing prunes nothing.
async fn parts(shared: &Shared, block: &Candidate<'_>, directory: &Directory, wanted: &BTreeSet<usize>) -> Result<Parts, QueryError> {
    let object = block.row.object;
    let mut found: Parts = wanted.iter().map(|part| (*part, shared.filters.part(object, *part))).collect();
    let missing: Vec<usize> = found.iter().filter(|(_, part)| part.is_none()).map(|(at, _)| *at).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let ranges: Vec<_> = missing.iter().map(|part| directory.range(*part)).collect();
    if ranges.iter().any(|range| range.end > block.row.plain_len) {
        return Ok(found);
    }
    let path = shared.blk.admit(block.row, &block.guard);
    let read = shared.blk.read_plain(&path, &ranges).await?;
    for (at, bytes) in missing.into_iter().zip(read) {
        let Some(part) = Part::parse(&bytes, directory.slices()).map(Arc::new) else { continue };
        shared.filters.put_part(&block.guard, object, at, Arc::clone(&part));
        if let Some(slot) = found.iter_mut().find(|(part, _)| *part == at) {
            slot.1 = Some(part);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_slices_become_a_selection_of_as_many_rows_as_the_file_has() {
        let slices = |keep: &[bool]| Slices { keep: keep.to_vec(), rows: 250, slice_rows: 100, grouped: false };
        let skips = |keep: &[bool]| {
            let selection = slices(keep).selection()?.into_inner();
            Some(selection.iter().map(|selector| (selector.row_count, selector.skip)).collect::<Vec<_>>())
        };
        assert_eq!(skips(&[true, true, true]), None);
        assert_eq!(skips(&[false, true, false]), Some(vec![(100, true), (100, false), (50, true)]));
        assert_eq!(skips(&[false, false, true]), Some(vec![(200, true), (50, false)]));
        assert_eq!((slices(&[true, false, true]).counts(), slices(&[false; 3]).is_none()), ((2, 3), true));
    }
}
