//! Rows that repeat a text of their own batch, dropped before they are grouped by it.
//!
//! Where groups are all that is asked for (`distinct`, `count_distinct`), a row whose text came before changes nothing. Ids come in
//! bursts: the rows of one trace lie side by side, and out of a dictionary page each of them is the same view of the same bytes. So
//! equal views are looked for, not equal texts: nothing is hashed byte by byte but what is new in its batch. What slips through is
//! grouped as ever, so nothing here has to be remembered from batch to batch, or spilled.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringViewArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow_schema::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

/// Views that are remembered of a batch, a power of two: 64 KiB, which stay in the nearer cache.
const REMEMBERED: usize = 4_096;
/// No text has this view: its length would be 4 GiB.
const NO_VIEW: u128 = u128::MAX;

/// Puts [`ThinExec`] under aggregates that look at one text alone, and at each value of it once.
#[derive(Debug)]
pub(crate) struct ThinBeforeGroups;

impl PhysicalOptimizerRule for ThinBeforeGroups {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let thinned = plan.transform_up(|plan| {
            let Some(at) = plan.downcast_ref::<AggregateExec>().and_then(lone_text) else { return Ok(Transformed::no(plan)) };
            let input = Arc::clone(plan.children()[0]);
            if input.downcast_ref::<ThinExec>().is_some() {
                return Ok(Transformed::no(plan));
            }
            let thin = Arc::new(ThinExec { properties: Arc::clone(input.properties()), input, at });
            plan.replace_children(vec![thin], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute)).map(Transformed::yes)
        })?;
        Ok(thinned.data)
    }

    fn name(&self) -> &'static str {
        "thin_before_groups"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The column that is all that an aggregate over raw rows looks at, if it is a text, and if it does not matter how often it comes.
fn lone_text(aggregate: &AggregateExec) -> Option<usize> {
    let raw = matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single | AggregateMode::SinglePartitioned);
    let group = aggregate.group_expr();
    let once_each = aggregate.aggr_expr().iter().all(|call| call.is_distinct() && call.order_bys().is_empty())
        && aggregate.filter_expr().iter().all(Option::is_none);
    if !raw || !once_each || !(group.is_empty() || group.is_single()) {
        return None;
    }
    let calls = aggregate.aggr_expr().iter().flat_map(|call| call.expressions());
    let looked_at: Vec<Arc<dyn PhysicalExpr>> = group.expr().iter().map(|(expr, _)| Arc::clone(expr)).chain(calls).collect();
    if looked_at.iter().any(is_volatile) {
        return None;
    }
    let mut columns = looked_at.iter().flat_map(collect_columns);
    let first = columns.next()?.index();
    let is_text = *aggregate.input().schema().field(first).data_type() == DataType::Utf8View;
    (is_text && columns.all(|other| other.index() == first)).then_some(first)
}

/// The input without rows whose text at column `at` was seen in the same batch; not all of those.
#[derive(Debug)]
struct ThinExec {
    input: Arc<dyn ExecutionPlan>,
    at: usize,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for ThinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ThinExec: by={}", self.input.schema().field(self.at).name())
    }
}

impl ExecutionPlan for ThinExec {
    fn name(&self) -> &'static str {
        "ThinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.pop().ok_or_else(|| DataFusionError::Internal("rows are dropped from nothing".to_owned()))?;
        Ok(Arc::new(Self { properties: Arc::clone(input.properties()), input, at: self.at }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (schema, at) = (rows.schema(), self.at);
        let mut seen = vec![NO_VIEW; REMEMBERED];
        let thinned = rows.map(move |batch| thin(batch?, at, &mut seen));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, thinned)))
    }
}

fn thin(batch: RecordBatch, at: usize, seen: &mut [u128]) -> Result<RecordBatch> {
    let Some(texts) = batch.column(at).as_string_view_opt() else { return Ok(batch) };
    let fresh = first_of_each(texts, seen);
    if fresh.len() == batch.num_rows() {
        return Ok(batch);
    }
    Ok(take_record_batch(&batch, &UInt32Array::from(fresh))?)
}

/// Rows whose view is not among those remembered of the rows before; of nulls the first.
fn first_of_each(texts: &StringViewArray, seen: &mut [u128]) -> Vec<u32> {
    seen.fill(NO_VIEW);
    let mut null_seen = false;
    let mut fresh = Vec::with_capacity(texts.len());
    for (row, view) in (0_u32..).zip(texts.views().iter().copied()) {
        if texts.is_null(row as usize) {
            if !null_seen {
                fresh.push(row);
            }
            null_seen = true;
            continue;
        }
        let place = &mut seen[place(view)];
        if *place != view {
            *place = view;
            fresh.push(row);
        }
    }
    fresh
}

/// Where a view is remembered: by its bits, multiplied so that those at the top depend on all (Knuth's way).
fn place(view: u128) -> usize {
    let bytes = view.to_le_bytes();
    let half = |from: usize| u64::from_le_bytes(std::array::from_fn(|at| bytes[from + at]));
    ((half(0) ^ half(8).rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn kept(texts: &StringViewArray) -> Vec<Option<&str>> {
        let mut seen = vec![NO_VIEW; REMEMBERED];
        first_of_each(texts, &mut seen).into_iter().map(|row| texts.is_valid(row as usize).then(|| texts.value(row as usize))).collect()
    }

    #[test]
    fn every_text_stays_once_and_repeats_of_short_ones_go() {
        let texts: StringViewArray = [Some("a"), Some("b"), None, Some("a"), Some(""), None, Some("b"), Some("")].into_iter().collect();
        assert_eq!(kept(&texts), [Some("a"), Some("b"), None, Some("")]);
    }

    #[test]
    fn nothing_is_lost_where_more_differ_than_are_remembered() {
        let long = |n: usize| format!("a text of more than twelve bytes, number {}", n % 20_000);
        let texts = StringViewArray::from_iter_values((0..60_000).map(long));
        let left: BTreeSet<_> = kept(&texts).into_iter().collect();
        assert_eq!(left.len(), 20_000);
    }

    #[test]
    fn repeats_of_the_same_bytes_go_and_another_batch_begins_anew() {
        let dictionary = StringViewArray::from_iter_values((0..10).map(|n| format!("trace {n} of the ten that there are")));
        let keys = UInt32Array::from_iter_values((0..1_000).map(|n| n / 100));
        let texts = arrow::compute::take(&dictionary, &keys, None).unwrap();
        let texts = texts.as_string_view();
        assert_eq!(kept(texts).len(), 10);
        let mut seen = vec![NO_VIEW; REMEMBERED];
        assert_eq!(first_of_each(texts, &mut seen), first_of_each(texts, &mut seen));
    }

    #[test]
    fn places_lie_within_what_is_remembered() {
        let most = [0, 1, u128::MAX, u128::MAX >> 1, 1 << 127, 0xdead_beef << 40].map(place).into_iter().max();
        assert!(most.is_some_and(|most| most < REMEMBERED));
    }
}
