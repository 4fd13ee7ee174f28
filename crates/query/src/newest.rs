//! Whether a plan asks for the newest (or oldest) rows only: then blocks are read in order, and no further than needed.

use arrow_schema::SortOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use strongroom_model::TIME_COLUMN;

/// The order of `TimeGenerated` that is wanted: newest first, with a limit, from rows that no filter but time thins out.
/// Through a selective filter order does not help: there a top-n over all threads with its dynamic filter is faster.
pub(crate) fn wanted(plan: &LogicalPlan) -> Option<SortOptions> {
    let (mut scans, mut found, mut others) = (0, None, false);
    let visited = plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(_) => scans += 1,
            // By a number that the binder gave the rows: they are in that order already.
            LogicalPlan::Sort(sort) if matches!(sort.expr.as_slice(), [by] if is_number(&by.expr)) => {}
            LogicalPlan::Sort(sort) => match (sort.expr.as_slice(), sort.fetch) {
                ([by], fetch) if !by.asc && is_time(&by.expr) => {
                    // The answer's order is asked for again above what was taken in it.
                    if fetch.is_some() && plain(&sort.input) {
                        found = Some(SortOptions { descending: true, nulls_first: by.nulls_first });
                    }
                }
                _ => others = true,
            },
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.ok()?;
    // Two scans would both be chained for the sake of one.
    if scans == 1 && !others { found } else { None }
}

fn is_number(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name.starts_with('\u{1}'))
}

fn is_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == TIME_COLUMN)
}

fn plain(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => scan.filters.iter().flat_map(split_conjunction).all(about_time),
        LogicalPlan::Filter(filter) => split_conjunction(&filter.predicate).into_iter().all(about_time) && plain(&filter.input),
        LogicalPlan::SubqueryAlias(alias) => plain(&alias.input),
        // Other columns may be renamed to the time column's name.
        LogicalPlan::Projection(projection) => {
            let kept = projection.expr.iter().all(|expr| match expr {
                Expr::Alias(alias) => alias.name != TIME_COLUMN || is_time(&alias.expr),
                _ => true,
            });
            kept && plain(&projection.input)
        }
        _ => false,
    }
}

fn about_time(expr: &Expr) -> bool {
    let columns = expr.column_refs();
    !columns.is_empty() && columns.iter().all(|column| column.name == TIME_COLUMN)
}
