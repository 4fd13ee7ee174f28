//! Transformations planned once: the same text over the same columns makes the same plan for every batch.
//!
//! What is kept is found by text and columns, not by rule: a rule that was changed asks with other ones from its next batch on, and of
//! one that was deleted, or whose key is away, nobody gets as far as asking. A plan spells the text, which is the customer's: it goes
//! with the key.
//!
//! Only plans that work row by row are kept. What is computed once a batch (`toscalar`, `materialize`), learnt from it (`bag_unpack`,
//! `pivot`) or told the time (`now`, `ago`) is planned for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow_schema::{Fields, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};
use parking_lot::Mutex;
use strongroom_model::{AccountId, WorkspaceId};

use crate::aged::Aged;
use crate::context::QueryContext;
use crate::{QueryError, kql};

/// Bytes of a text of which a plan is kept: longer ones are rare, and their plans large.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What a plan depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    workspace: WorkspaceId,
    text: Arc<str>,
    columns: Fields,
}

impl Asked {
    /// `None` for what is planned for each batch.
    pub(crate) fn of(workspace: WorkspaceId, text: &str, schema: &SchemaRef) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        let timeless = !lower.contains("now") && !lower.contains("ago");
        let small = text.len() <= TEXT_BYTES_MAX && schema.metadata().is_empty();
        (timeless && small).then(|| Self { workspace, text: text.into(), columns: schema.fields().clone() })
    }
}

struct Kept {
    account: AccountId,
    /// Optimized.
    plan: Arc<LogicalPlan>,
}

/// Plans of transformations, those used last; none if the limit is 0.
pub(crate) struct Prepared(Mutex<Aged<Asked, Kept>>);

impl Prepared {
    /// At most `limit` of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Mutex::new(Aged::new(limit)))
    }

    /// The plan for rows of this table, if there is one.
    pub(crate) fn get(&self, asked: &Asked, table: &Arc<dyn TableProvider>) -> Option<Result<LogicalPlan>> {
        let plan = Arc::clone(&self.0.lock().get(asked)?.plan);
        Some(over(&plan, table))
    }

    /// Keeps a plan over a table, if it works row by row.
    pub(crate) fn put(&self, asked: &Asked, plan: &LogicalPlan, table: &Arc<dyn TableProvider>, context: &QueryContext) {
        if !is_row_by_row(plan, table) {
            return;
        }
        // The batch that it was planned for is not kept along.
        let empty = datafusion::datasource::MemTable::try_new(table.schema(), vec![Vec::new()]);
        let Ok(plan) = empty.and_then(|empty| over(plan, &(Arc::new(empty) as _))) else { return };
        self.0.lock().put(asked.clone(), Kept { account: context.account(), plan: Arc::new(plan) }, 1);
        // A gate is shut before what hangs on it is forgotten: one that shut meanwhile is seen here.
        if context.check().is_err() {
            self.0.lock().remove(asked);
        }
    }

    /// Drops the plans of workspaces that are linked to an account.
    pub(crate) fn forget(&self, account: AccountId) {
        self.0.lock().retain(|kept| kept.account != account);
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

/// The same plan, over another table of the same columns.
fn over(plan: &LogicalPlan, table: &Arc<dyn TableProvider>) -> Result<LogicalPlan> {
    let done = plan.clone().transform_down(|node| {
        Ok(match node {
            LogicalPlan::TableScan(mut scan) => {
                scan.source = provider_as_source(Arc::clone(table));
                Transformed::yes(LogicalPlan::TableScan(scan))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(done.data)
}

/// Whether it does nothing but read this table, leave rows out and compute columns from each.
fn is_row_by_row(plan: &LogicalPlan, table: &Arc<dyn TableProvider>) -> bool {
    let other = plan.exists(|node| {
        let known = match node {
            LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).is_ok_and(|provider| Arc::ptr_eq(&provider, table)),
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => true,
            LogicalPlan::Extension(extension) => kql::is_finish(extension.node.as_ref()),
            _ => false,
        };
        let nested = |expr: &Expr| {
            expr.exists(|expr| {
                Ok(matches!(
                    expr,
                    Expr::ScalarSubquery(_)
                        | Expr::InSubquery(_)
                        | Expr::Exists(_)
                        | Expr::OuterReferenceColumn(..)
                        | Expr::SetComparison(_)
                ))
            })
        };
        let mut simple = known;
        for expr in node.expressions() {
            simple &= !nested(&expr)?;
        }
        Ok(!simple)
    });
    other.is_ok_and(|other| !other)
}

/// Remembers whether a text had to look at its rows to have columns.
pub(crate) struct Noticed<'a> {
    pub(crate) ask: &'a dyn kql::Ask,
    looked: AtomicBool,
}

impl<'a> Noticed<'a> {
    pub(crate) fn new(ask: &'a dyn kql::Ask) -> Self {
        Self { ask, looked: AtomicBool::new(false) }
    }

    pub(crate) fn has_looked(&self) -> bool {
        self.looked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl kql::Ask for Noticed<'_> {
    async fn ask(
        &self,
        plan: LogicalPlan,
        each: &mut (dyn for<'b> FnMut(&'b RecordBatch) -> Result<(), QueryError> + Send),
    ) -> Result<(), QueryError> {
        self.looked.store(true, Ordering::Relaxed);
        self.ask.ask(plan, each).await
    }
}
