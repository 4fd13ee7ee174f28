//! Rows in a fixed order, with the functions that go from row to row.
//!
//! Ties in an order fall one way here and another way there, so the first node over an order numbers the rows, and from there on
//! that number is the order. One pass, one batch at a time; `next` holds back as many rows as it looks ahead.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::StreamExt;

use super::parts::Parts;
use super::running::{Memory, Running};
use super::{Maker, bytes, each, only};

/// One function, its arguments and its column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct SerialCall {
    pub(in crate::kql) function: Running,
    pub(in crate::kql) arguments: Vec<Expr>,
    pub(in crate::kql) name: String,
    /// The Arrow type of its result.
    pub(in crate::kql) gives: DataType,
}

/// The input's rows in order, with a column for each call, and perhaps one for the row's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct SerialNode {
    input: Arc<LogicalPlan>,
    /// Empty: as they come.
    keys: Vec<Sort>,
    /// How many of the keys, the first ones, part the rows: with each part the functions start anew.
    parts: usize,
    calls: Vec<SerialCall>,
    index: Option<String>,
    schema: DFSchemaRef,
}

impl PartialOrd for SerialNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl SerialNode {
    pub(in crate::kql) fn new(
        input: LogicalPlan,
        keys: Vec<Sort>,
        parts: usize,
        calls: Vec<SerialCall>,
        index: Option<String>,
    ) -> Result<Self> {
        let mut fields: Vec<_> = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for call in &calls {
            fields.push((None, Arc::new(Field::new(&call.name, call.gives.clone(), true))));
        }
        if let Some(index) = &index {
            fields.push((None, Arc::new(Field::new(index, DataType::Int64, false))));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Self { input: Arc::new(input), keys, parts, calls, index, schema })
    }

    pub(super) fn physical(&self, input: Arc<dyn ExecutionPlan>, make: &Maker<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut calls = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            calls.push(PhysicalCall {
                function: call.function.clone(),
                arguments: make.values(&call.arguments)?,
                name: call.name.clone(),
                gives: call.gives.clone(),
            });
        }
        let parts = self.keys[..self.parts].iter().map(|key| make.value(&key.expr)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(SerialExec::new(input, make.order(&self.keys)?, parts, calls, self.index.clone())?))
    }
}

impl UserDefinedLogicalNodeCore for SerialNode {
    fn name(&self) -> &'static str {
        "Serial"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let keys = self.keys.iter().map(|key| key.expr.clone());
        keys.chain(self.calls.iter().flat_map(|call| call.arguments.iter().cloned())).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial: order=[{}], calls=[{}]", listed(self.keys.iter()), listed(self.calls.iter().map(Told)))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("rows in order need an input") };
        let mut exprs = exprs.into_iter();
        let mut keys = self.keys.clone();
        for (key, expr) in keys.iter_mut().zip(exprs.by_ref()) {
            key.expr = expr;
        }
        let mut calls = self.calls.clone();
        for (argument, expr) in calls.iter_mut().flat_map(|call| call.arguments.iter_mut()).zip(exprs) {
            *argument = expr;
        }
        Self::new(input, keys, self.parts, calls, self.index.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|at| *at < width).collect()])
    }
}

/// A call in a plan's text.
struct Told<'t>(&'t SerialCall);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({})", self.0.function, listed(self.0.arguments.iter()))
    }
}

fn listed<T: fmt::Display>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[derive(Clone, Debug)]
struct PhysicalCall {
    function: Running,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    name: String,
    gives: DataType,
}

#[derive(Clone, Debug)]
struct SerialExec {
    input: Arc<dyn ExecutionPlan>,
    order: Option<LexOrdering>,
    parts: Vec<Arc<dyn PhysicalExpr>>,
    calls: Vec<PhysicalCall>,
    index: Option<String>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl SerialExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        order: Option<LexOrdering>,
        parts: Vec<Arc<dyn PhysicalExpr>>,
        calls: Vec<PhysicalCall>,
        index: Option<String>,
    ) -> Result<Self> {
        let there = input.schema();
        let mut fields: Vec<_> = there.fields().iter().cloned().collect();
        fields.extend(calls.iter().map(|call| Arc::new(Field::new(&call.name, call.gives.clone(), true))));
        fields.extend(index.iter().map(|index| Arc::new(Field::new(index, DataType::Int64, false))));
        let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, there.metadata().clone()));
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&schema)).extend(input.equivalence_properties().clone())?;
        if let Some(index) = &index {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(index, schema.fields().len() - 1));
            let options = arrow_schema::SortOptions { descending: false, nulls_first: true };
            equivalence.add_ordering([PhysicalSortExpr::new(column, options)]);
        }
        let properties =
            PlanProperties::new(equivalence, Partitioning::UnknownPartitioning(1), input.pipeline_behavior(), input.boundedness());
        Ok(Self { input, order, parts, calls, index, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() })
    }
}

impl DisplayAs for SerialExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SerialExec: calls=[{}]", listed(self.calls.iter().map(|call| format!("{:?}", call.function))))
    }
}

impl ExecutionPlan for SerialExec {
    fn name(&self) -> &'static str {
        "SerialExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        each(self.parts.iter().chain(self.calls.iter().flat_map(|call| &call.arguments)), f)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    /// It does; but with parts their order is its own, and an order wanted above must not be sorted for below in its place.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.parts.is_empty()]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only(children)?;
        Ok(Arc::new(Self::new(input, self.order.clone(), self.parts.clone(), self.calls.clone(), self.index.clone())?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("SerialExec").register(context.memory_pool());
        let pass = Pass {
            input: self.input.execute(partition, context)?,
            ended: false,
            parts: Parts::new(&self.parts, &self.input.schema())?,
            pieces: VecDeque::new(),
            part_over: false,
            calls: self.calls.iter().map(|call| (call.clone(), call.function.memory())).collect(),
            ahead: self.calls.iter().map(|call| call.function.ahead()).max().unwrap_or(0),
            waiting: VecDeque::new(),
            rows: 0,
            numbered: self.index.is_some(),
            next: 0,
            schema: self.schema(),
            reservation,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let stream = futures::stream::try_unfold(pass, |mut pass| async move { Ok(pass.next().await?.map(|batch| (batch, pass))) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}

/// A batch that waits for rows behind it.
struct Waiting {
    batch: RecordBatch,
    /// By call: its column, or what stands where there are no rows to look ahead to.
    columns: Vec<Answer>,
}

enum Answer {
    Done(ArrayRef),
    Default(ArrayRef),
}

/// One pass over the rows.
struct Pass {
    input: SendableRecordBatchStream,
    ended: bool,
    parts: Option<Parts>,
    /// Rows read and not looked at yet, each batch of one part, and whether it begins one.
    pieces: VecDeque<(RecordBatch, bool)>,
    /// No row of this part comes any more.
    part_over: bool,
    calls: Vec<(PhysicalCall, Memory)>,
    ahead: usize,
    waiting: VecDeque<Waiting>,
    /// How many rows wait.
    rows: usize,
    numbered: bool,
    next: i64,
    schema: SchemaRef,
    reservation: MemoryReservation,
    metrics: BaselineMetrics,
}

impl Pass {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let first = self.waiting.front().map_or(usize::MAX, |waiting| waiting.batch.num_rows());
            let over = self.part_over || (self.ended && self.pieces.is_empty());
            if !self.waiting.is_empty() && (over || self.rows - first >= self.ahead) {
                return self.give().map(Some);
            }
            if self.part_over {
                self.part_over = false;
                for (call, memory) in &mut self.calls {
                    *memory = call.function.memory();
                }
            }
            match self.pieces.pop_front() {
                Some((batch, true)) => {
                    self.pieces.push_front((batch, false));
                    self.part_over = true;
                }
                Some((batch, false)) => self.take(batch)?,
                None if self.ended => return Ok(None),
                None => match (self.input.next().await, &mut self.parts) {
                    (Some(batch), None) => self.take(batch?)?,
                    (Some(batch), Some(parts)) => self.pieces.extend(parts.cut(&batch?)?),
                    (None, _) => self.ended = true,
                },
            }
        }
    }

    /// A batch in.
    fn take(&mut self, batch: RecordBatch) -> Result<()> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        let mut columns = Vec::with_capacity(self.calls.len());
        for (call, memory) in &mut self.calls {
            let arguments =
                call.arguments.iter().map(|argument| argument.evaluate(&batch)?.into_array(rows)).collect::<Result<Vec<ArrayRef>>>()?;
            columns.push(match (memory.push(&arguments, rows)?, arguments.get(1)) {
                (Some(done), _) => Answer::Done(done),
                (None, Some(default)) => Answer::Default(Arc::clone(default)),
                (None, None) => return exec_err!("a function over rows to come has a default"),
            });
        }
        self.rows += rows;
        self.waiting.push_back(Waiting { batch, columns });
        self.account()
    }

    /// The oldest batch out.
    fn give(&mut self) -> Result<RecordBatch> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let Some(Waiting { batch, columns }) = self.waiting.pop_front() else { return exec_err!("no batch waits") };
        let rows = batch.num_rows();
        self.rows -= rows;
        let mut arrays = batch.columns().to_vec();
        for (column, (_, memory)) in columns.into_iter().zip(&mut self.calls) {
            arrays.push(match column {
                Answer::Done(array) => array,
                Answer::Default(default) => memory.pull(&default)?,
            });
        }
        if self.numbered {
            let from = self.next;
            self.next += i64::try_from(rows).unwrap_or(i64::MAX);
            arrays.push(Arc::new(Int64Array::from_iter_values(from..self.next)));
        }
        self.account()?;
        self.metrics.output_rows().add(rows);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?)
    }

    fn account(&mut self) -> Result<()> {
        // A single batch passing through is the plan's own.
        let waiting: usize = self.waiting.iter().skip(1).map(|waiting| bytes(&waiting.batch)).sum();
        let remembered: usize = self.calls.iter().map(|(_, memory)| memory.bytes()).sum();
        self.reservation.try_resize(waiting + remembered)
    }
}
