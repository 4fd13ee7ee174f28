//! Filters of several blocks, asked before the blocks' own: one cut of a group tells of all blocks that it names.
//!
//! A group is never needed: one that is gone, or of a kind that is not known, leaves its blocks to be asked themselves. One that does not
//! open is an error that names it, as a block's would be.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use strongroom_catalog::GroupRow;
use strongroom_envelope::KeyGuard;
use strongroom_model::Epoch;
use strongroom_model::terms::{Cut, Group};

use super::{AT_ONCE, Ask, Candidate, Column, Columns, Slices};
use crate::QueryError;
use crate::blk::GROUP_GONE;
use crate::error::catalog_error;
use crate::table::Shared;

/// For fewer blocks than this nobody looks for groups.
const BLOCKS_MIN: usize = 8;
/// A group that is not in memory is opened for so many blocks of its day.
const OF_A_DAY_MIN: usize = 3;
/// Read from a group's end at first: directories of a day's blocks fit.
const DIRECTORY_HINT_BYTES: u64 = 32 << 10;
const DAY_SECS: i64 = 86_400;

/// The groups of the days that blocks lie in.
#[derive(Default)]
pub(super) struct Groups {
    rows: Vec<GroupRow>,
    /// By epoch and day.
    of_day: HashMap<(Epoch, i64), Vec<usize>>,
}

fn day_of(block: &Candidate<'_>) -> (Epoch, i64) {
    let start = block.row.window.start;
    (block.row.epoch, start - start.rem_euclid(DAY_SECS))
}

impl Groups {
    /// Those of one table's blocks.
    pub(super) async fn around(shared: &Shared, blocks: &[Candidate<'_>]) -> Result<Self, QueryError> {
        let days = || blocks.iter().map(|block| day_of(block).1);
        let (Some(first), Some(last), Some(block)) = (days().min(), days().max(), blocks.first()) else { return Ok(Self::default()) };
        if blocks.len() < BLOCKS_MIN {
            return Ok(Self::default());
        }
        let rows = shared.catalog.groups_at(block.row.table, first, last).await.map_err(|error| catalog_error(&error))?;
        let mut of_day: HashMap<(Epoch, i64), Vec<usize>> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            of_day.entry((row.epoch, row.day)).or_default().push(at);
        }
        Ok(Self { rows, of_day })
    }

    /// For each block what its group tells of it; `None`: it is to be asked itself.
    pub(super) async fn tell(
        &self,
        shared: &Shared,
        ask: &Ask,
        terms: &BTreeSet<(&str, u64)>,
        blocks: &[Candidate<'_>],
    ) -> Result<Vec<Option<Slices>>, QueryError> {
        let mut told = vec![None; blocks.len()];
        if self.rows.is_empty() {
            return Ok(told);
        }
        let mut perhaps: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, block) in blocks.iter().enumerate() {
            for group in self.of_day.get(&day_of(block)).into_iter().flatten() {
                perhaps.entry(*group).or_default().push(at);
            }
        }
        let asked = perhaps.into_iter().map(|(group, of)| look(shared, ask, terms, &self.rows[group], blocks, of).boxed());
        let asked: Vec<_> = asked.collect();
        let answers: Vec<Vec<(usize, Slices)>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        for (at, slices) in answers.into_iter().flatten() {
            told[at] = Some(slices);
        }
        Ok(told)
    }
}

/// What one group tells of those of its day's blocks that it names.
async fn look(
    shared: &Shared,
    ask: &Ask,
    terms: &BTreeSet<(&str, u64)>,
    row: &GroupRow,
    blocks: &[Candidate<'_>],
    of: Vec<usize>,
) -> Result<Vec<(usize, Slices)>, QueryError> {
    let Some(guard) = of.first().map(|at| &blocks[*at].guard) else { return Ok(Vec::new()) };
    let group = match shared.filters.group(row.object) {
        Some(group) => group,
        None if of.len() < OF_A_DAY_MIN => return Ok(Vec::new()),
        None => match unless_gone(directory(shared, row, guard).await)?.flatten() {
            Some(group) => group,
            None => return Ok(Vec::new()),
        },
    };
    let mut named = Vec::with_capacity(of.len());
    let mut wanted = BTreeSet::new();
    for at in of {
        let block = &blocks[at];
        let Some(known) = group.find(block.row.object).filter(|named| named.rows == block.row.rows) else { continue };
        let columns = Columns::of(terms, group.columns(known), block.stats.as_deref());
        let told = terms.iter().filter(|(column, _)| columns.get(column) == Some(Column::Told));
        wanted.extend(told.map(|(_, term)| group.cut_of(known, *term)));
        named.push((at, known, columns));
    }
    let Some(cuts) = unless_gone(cuts(shared, row, guard, &group, &wanted).await)? else { return Ok(Vec::new()) };
    let mut answers = Vec::with_capacity(named.len());
    for (at, known, columns) in named {
        let may = |slice: usize, column: &str, term: u64| match columns.get(column) {
            Some(Column::Absent) => false,
            Some(Column::Told) => cuts.get(&group.cut_of(known, term)).is_none_or(|cut| cut.may_hold(known, slice, column, term)),
            Some(Column::Untold) | None => true,
        };
        let keep: Vec<bool> = (0..known.slices()).map(|slice| ask.holds(&|column, term| may(slice, column, term))).collect();
        // Of a block that is told of as one the slices are asked for once it may hold the term.
        if !known.whole || !keep.contains(&true) {
            answers.push((at, Slices { keep, rows: known.rows, slice_rows: known.slice_rows, grouped: true }));
        }
    }
    Ok(answers)
}

/// `None` in place of the error that the object is gone.
fn unless_gone<T>(read: Result<T, QueryError>) -> Result<Option<T>, QueryError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.code() == GROUP_GONE => Ok(None),
        Err(error) => Err(error),
    }
}

/// A group's directory, if this build can read it.
async fn directory(shared: &Shared, row: &GroupRow, guard: &KeyGuard) -> Result<Option<Arc<Group>>, QueryError> {
    let path = shared.blk.admit_group(row, guard);
    let hint = DIRECTORY_HINT_BYTES.min(row.plain_len);
    let read = async |from: u64| {
        let range = from..row.plain_len;
        Ok::<_, QueryError>(shared.blk.read_plain(&path, std::slice::from_ref(&range)).await?.remove(0))
    };
    let mut end = read(row.plain_len - hint).await?;
    let Some(len) = Group::directory_len(&end).filter(|len| *len <= row.plain_len) else { return Ok(None) };
    if len > hint {
        end = read(row.plain_len - len).await?;
    }
    let from = end.len() - usize::try_from(len).unwrap_or(end.len()).min(end.len());
    let group = Group::parse(&end[from..], row.plain_len).map(Arc::new);
    if let Some(group) = &group {
        shared.filters.put_group(guard, row.object, Arc::clone(group));
    }
    Ok(group)
}

/// These cuts of a group. One that is no such thing rules nothing out.
async fn cuts(
    shared: &Shared,
    row: &GroupRow,
    guard: &KeyGuard,
    group: &Group,
    wanted: &BTreeSet<usize>,
) -> Result<BTreeMap<usize, Arc<Cut>>, QueryError> {
    let mut found: BTreeMap<usize, Arc<Cut>> = wanted.iter().filter_map(|at| Some((*at, shared.filters.cut(row.object, *at)?))).collect();
    let missing: Vec<usize> = wanted.iter().copied().filter(|at| !found.contains_key(at)).collect();
    if missing.is_empty() {
        return Ok(found);
    }
    let ranges: Vec<_> = missing.iter().map(|at| group.range(*at)).collect();
    let path = shared.blk.admit_group(row, guard);
    let read = shared.blk.read_plain(&path, &ranges).await?;
    for (at, bytes) in missing.into_iter().zip(read) {
        let Some(cut) = group.cut(at, &bytes).map(Arc::new) else { continue };
        shared.filters.put_cut(guard, row.object, at, Arc::clone(&cut));
        found.insert(at, cut);
    }
    Ok(found)
}
