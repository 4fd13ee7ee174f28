//! Plan nodes of our own, for what KQL does and DataFusion has no operator for: to rows in order, and to the elements of cells.
//!
//! Each has a logical half, which the binder's plans are made of, and a physical one. Those about order want their whole input in
//! one partition and in the order said; none works for SQL (the sandbox refuses them there).

mod expand;
mod running;
mod serial;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

pub(super) use expand::{CellsOf, ExpandNode, Expansion};
pub(super) use running::Running;
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
    node.as_any().is::<SerialNode>() || node.as_any().is::<ExpandNode>()
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
        if let Some(node) = node.as_any().downcast_ref::<SerialNode>() {
            return Ok(Some(node.physical(Arc::clone(input), &make)?));
        }
        if let Some(node) = node.as_any().downcast_ref::<ExpandNode>() {
            return Ok(Some(node.physical(Arc::clone(input), &make)?));
        }
        Ok(None)
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
