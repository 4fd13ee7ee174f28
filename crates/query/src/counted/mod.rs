//! Counts that were made when blocks were written, in the place of reading them.
//!
//! A count, in all or by minutes and a column of few values, needs no row of a block whose sealed statistics hold the numbers.
//! [`AnswerFromCounts`] takes such blocks out of the scan below a counting aggregate and puts what they would have come to beside
//! the others' partial counts. It stands before DataFusion's own rules: filters are then still where the planner left them,
//! one above each scan, and what it makes is distributed like any other input.
//!
//! ```text
//! Final ─ Partial ─ filters ─ scan of all      becomes      Final ─┬ CountedExec: blocks covered
//!                                                                  └ Partial ─ filters ─ scan of the rest
//! ```
//! A block is covered if every condition is either settled by its span of time, or a function of whole minutes and of one column,
//! as are all groups; columns with one value in the block are free. What is counted of it is then its (minute, value) cells, run
//! through the query's own conditions and group expressions. Everything else is read. Left out: sums, extremes and distinct
//! counts, and two columns at once.

mod block;
mod exec;
mod grain;

use std::sync::Arc;

use datafusion::catalog::memory::DataSourceExec;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::error::Result;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use strongroom_model::TIME_COLUMN;

use block::Wanted;
pub(crate) use block::{CountedBlock, Reads, Scan, are_counted};
use exec::{CountedExec, Piece};
use grain::{Grain, Span};

use crate::table::deal;

type Expr = Arc<dyn PhysicalExpr>;
type Plan = Arc<dyn ExecutionPlan>;

/// The rule.
#[derive(Debug)]
pub(crate) struct AnswerFromCounts;

impl PhysicalOptimizerRule for AnswerFromCounts {
    fn optimize(&self, plan: Plan, _config: &ConfigOptions) -> Result<Plan> {
        plan.transform_up(|plan| {
            let answered = answered(&plan)?;
            Ok(answered.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .map(|done| done.data)
    }

    fn name(&self) -> &'static str {
        "answer_from_counts"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What is asked of the rows of some node, in terms of its columns.
#[derive(Clone)]
struct Asked {
    /// Conditions, in the order in which they are to be tried.
    tests: Vec<Expr>,
    groups: Vec<Expr>,
    counts: Vec<Counting>,
}

/// One count.
#[derive(Clone)]
struct Counting {
    /// Rows count where this is not null; none: all do.
    of: Option<Expr>,
    /// And where this holds.
    filter: Option<Expr>,
}

impl Asked {
    /// By a partial aggregate that counts, and does nothing else.
    fn of(aggregate: &AggregateExec) -> Result<Option<Self>> {
        let by = aggregate.group_expr();
        if *aggregate.mode() != AggregateMode::Partial
            || aggregate.limit_options().is_some()
            || by.has_grouping_set()
            || !by.null_expr().is_empty()
        {
            return Ok(None);
        }
        let mut counts = Vec::with_capacity(aggregate.aggr_expr().len());
        for (call, filter) in aggregate.aggr_expr().iter().zip(aggregate.filter_expr()) {
            if call.fun().name() != "count" || call.is_distinct() || !call.order_bys().is_empty() || call.state_fields()?.len() != 1 {
                return Ok(None);
            }
            let of = match call.expressions().as_slice() {
                [] => None,
                [of] => match of.downcast_ref::<Literal>().map(Literal::value) {
                    Some(value) if value.is_null() => return Ok(None),
                    Some(_) => None,
                    None => Some(Arc::clone(of)),
                },
                _ => return Ok(None),
            };
            counts.push(Counting { of, filter: filter.clone() });
        }
        let groups = by.expr().iter().map(|(expr, _)| Arc::clone(expr)).collect();
        Ok(Some(Self { tests: Vec::new(), groups, counts }))
    }

    /// The same of what `projection` is made of.
    fn below(&self, projection: &ProjectionExprs) -> Result<Self> {
        let each = |exprs: &[Expr]| exprs.iter().map(|expr| projection.unproject_expr(expr)).collect::<Result<Vec<_>>>();
        let one = |expr: &Option<Expr>| expr.as_ref().map(|expr| projection.unproject_expr(expr)).transpose();
        let counts = self.counts.iter().map(|counting| Ok(Counting { of: one(&counting.of)?, filter: one(&counting.filter)? }));
        Ok(Self { tests: each(&self.tests)?, groups: each(&self.groups)?, counts: counts.collect::<Result<_>>()? })
    }

    /// Everything that is computed of rows that passed.
    fn values(&self) -> impl Iterator<Item = &Expr> {
        self.groups.iter().chain(self.counts.iter().flat_map(|counting| counting.of.iter().chain(&counting.filter)))
    }
}

/// The aggregate with the counts of blocks beside what is left of it; `None`: nothing is covered.
fn answered(plan: &Plan) -> Result<Option<Plan>> {
    let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else { return Ok(None) };
    let Some(asked) = Asked::of(aggregate)? else { return Ok(None) };
    let mut pieces = Vec::new();
    let rest = walk(aggregate.input(), &asked, &mut pieces)?;
    if pieces.is_empty() {
        return Ok(None);
    }
    let mut parts: Vec<Plan> = vec![Arc::new(CountedExec::new(pieces, aggregate.schema()))];
    if let Some(rest) = rest {
        parts.push(replace_children_if_necessary(Arc::clone(plan), vec![rest])?);
    }
    UnionExec::try_new(parts).map(Some)
}

/// What is left of a plan once the blocks that are covered are taken out of it and into `pieces`; `None`: nothing.
fn walk(plan: &Plan, asked: &Asked, pieces: &mut Vec<Piece>) -> Result<Option<Plan>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let rest = walk(projection.input(), &asked.below(projection.projection_expr())?, pieces)?;
        return rest.map(|rest| replace_children_if_necessary(Arc::clone(plan), vec![rest])).transpose();
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>().filter(|filter| filter.fetch().is_none()) {
        let mut below = match filter.projection() {
            Some(kept) => asked.below(&ProjectionExprs::from_indices(kept, &filter.input().schema()))?,
            None => asked.clone(),
        };
        // This one thins rows out before those above do.
        let first = split_conjunction(filter.predicate()).into_iter().map(Arc::clone);
        below.tests = first.chain(below.tests).collect();
        let rest = walk(filter.input(), &below, pieces)?;
        return rest.map(|rest| replace_children_if_necessary(Arc::clone(plan), vec![rest])).transpose();
    }
    if let Some(union) = plan.downcast_ref::<UnionExec>().filter(|union| same_names(union)) {
        let before = pieces.len();
        let rest = union.inputs().iter().map(|input| walk(input, asked, pieces)).collect::<Result<Vec<_>>>()?;
        if pieces.len() == before {
            return Ok(Some(Arc::clone(plan)));
        }
        let rest: Vec<Plan> = rest.into_iter().flatten().collect();
        return if rest.is_empty() { Ok(None) } else { UnionExec::try_new(rest).map(Some) };
    }
    let scan = plan.downcast_ref::<DataSourceExec>().and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
    match scan.filter(|scan| scan.limit.is_none()) {
        Some(scan) => take_covered(plan, scan, asked, pieces),
        None => Ok(Some(Arc::clone(plan))),
    }
}

/// Whether any of the inputs may stand alone for all.
fn same_names(union: &UnionExec) -> bool {
    let schema = union.schema();
    let same = |input: &Plan| input.schema().fields().iter().zip(schema.fields()).all(|(one, all)| one.name() == all.name());
    union.inputs().iter().all(same)
}

/// What a condition comes to for a block.
enum Test {
    /// Known from the block's span of time, if that lies on one side.
    Time { holds: Span, by_minute: bool, expr: Expr },
    /// To be tried on the block's cells.
    Cells { expr: Expr },
}

fn take_covered(plan: &Plan, scan: &FileScanConfig, asked: &Asked, pieces: &mut Vec<Piece>) -> Result<Option<Plan>> {
    let all = || Ok(Some(Arc::clone(plan)));
    let schema = plan.schema();
    let exprs: Vec<&Expr> = asked.tests.iter().chain(asked.values()).collect();
    if exprs.iter().any(|expr| is_volatile(expr)) {
        return all();
    }
    let time = schema.index_of(TIME_COLUMN).ok();
    let mut tests = Vec::with_capacity(asked.tests.len());
    for expr in &asked.tests {
        let grain = grain::of(expr, time);
        tests.push(match (grain::span(expr, time), grain) {
            (Some(holds), _) => Test::Time { holds, by_minute: grain == Grain::Minute, expr: Arc::clone(expr) },
            (None, Grain::Minute) => Test::Cells { expr: Arc::clone(expr) },
            (None, _) => return all(),
        });
    }
    if asked.values().any(|expr| grain::of(expr, time) != Grain::Minute) {
        return all();
    }
    let mut wanted = Vec::new();
    let mut values_by_minute = false;
    let evaluated = tests.iter().filter_map(|test| match test {
        Test::Cells { expr } => Some(expr),
        Test::Time { .. } => None,
    });
    for column in evaluated.chain(asked.values()).flat_map(collect_columns) {
        if Some(column.index()) == time {
            values_by_minute = true;
        } else if wanted.iter().all(|known: &Wanted| known.at != column.index()) {
            let Ok(field) = schema.fields().get(column.index()).ok_or(()) else { return all() };
            wanted.push(Wanted { at: column.index(), name: field.name().clone(), kind: field.data_type().clone() });
        }
    }

    let mut covered = Vec::new();
    let groups = scan.file_groups.iter().map(|group| {
        let kept = group.iter().filter(|file| {
            let block = file.extension::<Arc<CountedBlock>>().filter(|_| file.range.is_none());
            let Some((block, by_minute)) = block.and_then(|block| Some((block, needs_minutes(&tests, block)? || values_by_minute))) else {
                return true;
            };
            // Whether the counts are there and sound is known once they are read; they are small, and are not kept.
            let is_covered = block.cells(&wanted, by_minute).is_some();
            if is_covered {
                covered.push((Arc::clone(block), by_minute));
            }
            !is_covered
        });
        FileGroup::new(kept.cloned().collect())
    });
    let groups: Vec<FileGroup> = groups.collect();
    if covered.is_empty() {
        return all();
    }
    covered[0].0.scan.counted(covered.iter().map(|(block, _)| block.object));
    let tests = tests.into_iter().filter_map(|test| match test {
        Test::Cells { expr } => Some(expr),
        // Of a block that lies on the right side whole it holds of every cell.
        Test::Time { by_minute, expr, .. } => by_minute.then_some(expr),
    });
    let asked = Asked { tests: tests.collect(), ..asked.clone() };
    pieces.push(Piece { schema, time, wanted, asked, blocks: covered });
    let groups: Vec<FileGroup> = groups.into_iter().filter(|group| !group.is_empty()).collect();
    if groups.is_empty() { Ok(None) } else { Ok(Some(reading(scan, groups))) }
}

/// Whether the block's minutes must be told apart for the conditions; `None`: even that does not settle them.
fn needs_minutes(tests: &[Test], block: &CountedBlock) -> Option<bool> {
    let mut needs = false;
    for test in tests {
        let Test::Time { holds, by_minute, .. } = test else { continue };
        match holds.at(block.time) {
            Some(true) => {}
            None if *by_minute => needs = true,
            // Of a block with no row that passes there is nothing to count: pruning saw to it.
            Some(false) | None => return None,
        }
    }
    Some(needs)
}

/// The scan of what is left.
fn reading(scan: &FileScanConfig, mut groups: Vec<FileGroup>) -> Plan {
    let block = |file: &PartitionedFile| file.extension::<Arc<CountedBlock>>().cloned();
    let files: Option<Vec<_>> = groups.iter().flat_map(FileGroup::iter).map(|file| Some((block(file)?, file.clone()))).collect();
    // As exact as each file's: of one whose token filters leave a part out it is not.
    let rows = |file: &PartitionedFile| file.statistics.as_ref().map_or(Precision::Absent, |known| known.num_rows);
    let mut statistics = Statistics::new_unknown(scan.file_schema());
    statistics.num_rows = groups.iter().flat_map(FileGroup::iter).map(rows).reduce(|sum, one| sum.add(&one)).unwrap_or(Precision::Absent);
    if let (Some(files), true) = (&files, scan.output_ordering.is_empty()) {
        let files = files.iter().map(|(block, file)| (block.time, file.clone())).collect();
        groups = deal(files, scan.file_groups.len());
    }
    let config = FileScanConfigBuilder::from(scan.clone()).with_file_groups(groups).with_statistics(statistics).build();
    DataSourceExec::from_data_source(config)
}
