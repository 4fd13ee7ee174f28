//! Rows that are computed once a query, however often they are asked for: `materialize(..)`, `toscalar(..)`.
//!
//! All places that ask share a cell. Whoever comes first computes the rows, the others wait for them; each polls the same future, so
//! none depends on another going on. The rows are held in memory until the query ends, and counted. A cell that only one place asks
//! for is taken out of the plan again ([`without_single`]): there the rows flow.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::{StreamExt, TryFutureExt};
use parking_lot::Mutex;

use super::only;

/// Rows, and the memory they are charged to.
struct Held {
    batches: Vec<RecordBatch>,
    _reservation: MemoryReservation,
}

type Rows = Shared<BoxFuture<'static, Result<Arc<Held>, Arc<DataFusionError>>>>;

/// What the places share. Equal to itself alone.
#[derive(Clone, Default)]
pub(in crate::kql) struct Cell(Arc<Mutex<Option<Rows>>>);

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cell")
    }
}

impl Cell {
    /// What it is known by.
    fn place(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl PartialEq for Cell {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Cell {}

impl Hash for Cell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place().hash(state);
    }
}

/// The input's rows, the same ones at every place that shares the cell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct OnceNode {
    input: Arc<LogicalPlan>,
    cell: Cell,
}

impl PartialOrd for OnceNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl OnceNode {
    pub(in crate::kql) fn new(input: LogicalPlan, cell: Cell) -> Self {
        Self { input: Arc::new(input), cell }
    }

    pub(super) fn physical(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(OnceExec::new(input, self.cell.clone()))
    }
}

/// The plan without the cells that are asked for at one place.
pub(in crate::kql) fn without_single(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut places: HashMap<usize, usize> = HashMap::new();
    plan.apply_with_subqueries(|node| {
        if let Some(node) = once(node) {
            *places.entry(node.cell.place()).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if places.values().all(|count| *count > 1) {
        return Ok(plan);
    }
    let single =
        |node: &LogicalPlan| once(node).filter(|node| places.get(&node.cell.place()) == Some(&1)).map(|node| Arc::clone(&node.input));
    let plan = plan.transform_up_with_subqueries(|node| {
        Ok(match single(&node) {
            Some(input) => Transformed::yes(Arc::unwrap_or_clone(input)),
            None => Transformed::no(node),
        })
    })?;
    Ok(plan.data)
}

fn once(node: &LogicalPlan) -> Option<&OnceNode> {
    match node {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<OnceNode>(),
        _ => None,
    }
}

impl UserDefinedLogicalNodeCore for OnceNode {
    fn name(&self) -> &'static str {
        "Once"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Once")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("what is computed once needs an input") };
        Ok(Self::new(input, self.cell.clone()))
    }
}

#[derive(Clone, Debug)]
struct OnceExec {
    input: Arc<dyn ExecutionPlan>,
    cell: Cell,
    properties: Arc<PlanProperties>,
}

impl OnceExec {
    fn new(input: Arc<dyn ExecutionPlan>, cell: Cell) -> Self {
        // Nothing is said of the order: the rows may be those that another place computed.
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self { input, cell, properties: Arc::new(properties) }
    }
}

impl DisplayAs for OnceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceExec")
    }
}

impl ExecutionPlan for OnceExec {
    fn name(&self) -> &'static str {
        "OnceExec"
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

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only(children)?;
        Ok(Arc::new(Self::new(input, self.cell.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = {
            let mut cell = self.cell.0.lock();
            if let Some(rows) = &*cell {
                rows.clone()
            } else {
                let reservation = MemoryConsumer::new("OnceExec").register(context.memory_pool());
                let input = self.input.execute(partition, context)?;
                let rows = collected(input, reservation).map(|rows| rows.map(Arc::new).map_err(Arc::new)).boxed().shared();
                *cell = Some(rows.clone());
                rows
            }
        };
        let stream = async move {
            let held = rows.await.map_err(DataFusionError::Shared)?;
            let batches: Vec<_> = held.batches.iter().cloned().map(Ok).collect();
            Ok::<_, DataFusionError>(futures::stream::iter(batches))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream.try_flatten_stream())))
    }
}

async fn collected(mut input: SendableRecordBatchStream, reservation: MemoryReservation) -> Result<Held> {
    let mut batches = Vec::new();
    while let Some(batch) = input.next().await {
        let batch = batch?;
        reservation.try_grow(super::bytes(&batch))?;
        batches.push(batch);
    }
    Ok(Held { batches, _reservation: reservation })
}
