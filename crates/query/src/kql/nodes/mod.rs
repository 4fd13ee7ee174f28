//! Plan nodes of our own, for what KQL does and DataFusion has no operator for: to rows in order, and to the elements of cells.
//!
//! Each has a logical half, which the binder's plans are made of, and a physical one. Those about order want their whole input in
//! one partition and in the order said; none works for SQL (the sandbox refuses them there).

mod expand;
mod finish;
mod once;
mod parts;
mod reduce;
mod running;
mod scan;
mod serial;

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

pub(super) use expand::{CellsOf, ExpandNode, Expansion};
pub(super) use finish::{FinishNode, Finished};
pub(super) use once::{Cell, OnceNode, without_single};
pub(super) use reduce::{Likeness, ReduceNode};
pub(super) use running::Running;
pub(super) use scan::{Declared, Machine, Output, ScanNode, Step, state_name};
pub(super) use serial::{SerialCall, SerialNode};

/// DataFusion's planner, and ours for the nodes here.
#[derive(Debug)]
pub(crate) struct KqlPlanner;

#[async_trait]
impl QueryPlanner for KqlPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Nodes)]).create_physical_plan(plan, session).await
    }
}

/// Whether it is a node of these.
pub(crate) fn is_ours(node: &dyn UserDefinedLogicalNode) -> bool {
    let node = node.as_any();
    node.is::<SerialNode>()
        || node.is::<ScanNode>()
        || node.is::<ReduceNode>()
        || node.is::<OnceNode>()
        || node.is::<ExpandNode>()
        || node.is::<FinishNode>()
}

/// Whether it only picks the columns of an answer.
pub(crate) fn is_finish(node: &dyn UserDefinedLogicalNode) -> bool {
    node.as_any().is::<FinishNode>()
}

struct Nodes;

#[async_trait]
impl ExtensionPlanner for Nodes {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let ([logical], [input]) = (logical_inputs, physical_inputs) else { return Ok(None) };
        let make = Maker { planner, schema: logical.schema(), session, context };
        let (node, input) = (node.as_any(), Arc::clone(input));
        if let Some(node) = node.downcast_ref::<SerialNode>() {
            return node.physical(input, &make).map(Some);
        }
        if let Some(node) = node.downcast_ref::<ExpandNode>() {
            return node.physical(input, &make).map(Some);
        }
        if let Some(node) = node.downcast_ref::<ScanNode>() {
            return node.physical(input, &make).map(Some);
        }
        if let Some(node) = node.downcast_ref::<ReduceNode>() {
            return node.physical(input, &make).map(Some);
        }
        if let Some(node) = node.downcast_ref::<FinishNode>() {
            return Ok(Some(node.physical(input)));
        }
        Ok(node.downcast_ref::<OnceNode>().map(|node| node.physical(input)))
    }
}

/// What physical expressions over a node's input are made with.
struct Maker<'m> {
    planner: &'m dyn PhysicalPlanner,
    schema: &'m DFSchema,
    session: &'m dyn Session,
    context: &'m PhysicalPlanningContext,
}

impl Maker<'_> {
    fn value(&self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        self.planner.create_physical_expr(expr, self.schema, self.session, self.context)
    }

    fn values(&self, exprs: &[Expr]) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        exprs.iter().map(|expr| self.value(expr)).collect()
    }

    /// None: no order.
    fn order(&self, keys: &[Sort]) -> Result<Option<LexOrdering>> {
        let key = |key: &Sort| {
            let options = arrow_schema::SortOptions { descending: !key.asc, nulls_first: key.nulls_first };
            Ok(PhysicalSortExpr::new(self.value(&key.expr)?, options))
        };
        Ok(LexOrdering::new(keys.iter().map(key).collect::<Result<Vec<_>>>()?))
    }
}

/// The input of a node that has one.
fn only(mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
    let Some(input) = children.pop() else { return plan_err!("a node of KQL's needs an input") };
    Ok(input)
}

/// Shows a visitor a node's expressions until it has seen enough.
fn each<'e>(
    exprs: impl Iterator<Item = &'e Arc<dyn PhysicalExpr>>,
    visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
) -> Result<TreeNodeRecursion> {
    for expr in exprs {
        if visit(expr)? == TreeNodeRecursion::Stop {
            return Ok(TreeNodeRecursion::Stop);
        }
    }
    Ok(TreeNodeRecursion::Continue)
}

/// Bytes of the values in a batch: slices of one buffer count once.
fn bytes(batch: &RecordBatch) -> usize {
    usize::try_from(crate::run::size(batch)).unwrap_or(usize::MAX)
}
