//! `mv-expand`: a row for each element.
//!
//! One batch in, as many as its elements fill out, none larger than the session's batches: what is held is one batch and the
//! place in it, however many elements a cell has.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray, UInt32Array};
use arrow::compute::take;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::StreamExt;
use strongroom_model::ColumnType;

use super::{Maker, each, only};
use crate::functions::{CellColumn, Cells};

/// Rows of different partitions are told apart by the bits above these.
const ROW_BITS: u32 = 40;

/// A column of elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct CellsOf {
    /// What holds them: a `dynamic` column of the input.
    pub(in crate::kql) source: Expr,
    /// What they are called.
    pub(in crate::kql) name: String,
    /// What they are cast to.
    pub(in crate::kql) kind: ColumnType,
}

/// How rows are expanded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct Expansion {
    /// Side by side: the shorter ones are filled up with nulls.
    pub(in crate::kql) cells: Vec<CellsOf>,
    /// Whether entries of bags become `[key, value]`.
    pub(in crate::kql) pairs: bool,
    /// Most rows for one.
    pub(in crate::kql) limit: u64,
    /// A column that tells the rows of the input apart, if wanted.
    pub(in crate::kql) row: Option<String>,
    /// A column with the elements' places, from 0, if wanted.
    pub(in crate::kql) item: Option<String>,
}

impl Expansion {
    /// The columns it adds.
    fn fields(&self) -> Vec<Arc<Field>> {
        let cells = self.cells.iter().map(|cells| Field::new(&cells.name, cells.kind.query_type(), true));
        let numbers = self.row.iter().chain(&self.item).map(|name| Field::new(name, DataType::Int64, false));
        cells.chain(numbers).map(Arc::new).collect()
    }
}

/// The input's columns, then the expansion's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct ExpandNode {
    input: Arc<LogicalPlan>,
    expansion: Expansion,
    schema: DFSchemaRef,
}

impl PartialOrd for ExpandNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl ExpandNode {
    pub(in crate::kql) fn new(input: LogicalPlan, expansion: Expansion) -> Result<Self> {
        let mut fields: Vec<_> = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        fields.extend(expansion.fields().into_iter().map(|field| (None, field)));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Self { input: Arc::new(input), expansion, schema })
    }

    pub(super) fn physical(&self, input: Arc<dyn ExecutionPlan>, make: &Maker<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut sources = Vec::with_capacity(self.expansion.cells.len());
        for cells in &self.expansion.cells {
            sources.push(make.value(&cells.source)?);
        }
        Ok(Arc::new(ExpandExec::new(input, sources, self.expansion.clone())?))
    }
}

impl UserDefinedLogicalNodeCore for ExpandNode {
    fn name(&self) -> &'static str {
        "Expand"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.expansion.cells.iter().map(|cells| cells.source.clone()).collect()
    }

    /// What is about the input's columns alone is decided before they are multiplied.
    fn prevent_predicate_push_down_columns(&self) -> std::collections::HashSet<String> {
        self.expansion.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells: Vec<_> = self.expansion.cells.iter().map(|cells| format!("{}", cells.source)).collect();
        write!(f, "Expand: [{}]", cells.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("an expansion needs an input") };
        let mut expansion = self.expansion.clone();
        for (cells, source) in expansion.cells.iter_mut().zip(exprs) {
            cells.source = source;
        }
        Self::new(input, expansion)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|at| *at < width).collect()])
    }
}

#[derive(Clone, Debug)]
struct ExpandExec {
    input: Arc<dyn ExecutionPlan>,
    sources: Vec<Arc<dyn PhysicalExpr>>,
    expansion: Expansion,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ExpandExec {
    fn new(input: Arc<dyn ExecutionPlan>, sources: Vec<Arc<dyn PhysicalExpr>>, expansion: Expansion) -> Result<Self> {
        let there = input.schema();
        let width = there.fields().len() + expansion.cells.len();
        let fields: Vec<_> = there.fields().iter().cloned().chain(expansion.fields()).collect();
        let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, there.metadata().clone()));
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&schema)).extend(input.equivalence_properties().clone())?;
        let mut partitioning = input.output_partitioning().clone();
        if let Some(row) = &expansion.row {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(row, width));
            // One row's elements come one after the other from one partition: groups and windows by row need no exchange.
            partitioning = Partitioning::Hash(vec![Arc::clone(&column)], partitioning.partition_count());
            let mut order = vec![ascending(column)];
            order.extend(expansion.item.iter().map(|item| ascending(Arc::new(Column::new(item, width + 1)))));
            equivalence.add_ordering(order);
        }
        let properties = PlanProperties::new(equivalence, partitioning, input.pipeline_behavior(), input.boundedness());
        Ok(Self { input, sources, expansion, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() })
    }
}

fn ascending(column: Arc<dyn PhysicalExpr>) -> PhysicalSortExpr {
    PhysicalSortExpr::new(column, arrow_schema::SortOptions { descending: false, nulls_first: true })
}

impl DisplayAs for ExpandExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
        write!(f, "ExpandExec: [{}]", cells.join(", "))
    }
}

impl ExecutionPlan for ExpandExec {
    fn name(&self) -> &'static str {
        "ExpandExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        each(self.sources.iter(), f)
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only(children)?;
        Ok(Arc::new(Self::new(input, self.sources.clone(), self.expansion.clone())?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let pass = Pass {
            input: self.input.execute(partition, Arc::clone(&context))?,
            sources: self.sources.clone(),
            limit: self.expansion.limit,
            columns: self.expansion.cells.iter().map(|cells| CellColumn::new(cells.kind, self.expansion.pairs)).collect(),
            rows: self.expansion.row.is_some(),
            items: self.expansion.item.is_some(),
            size: context.session_config().batch_size().max(1),
            next_row: i64::try_from(partition << ROW_BITS).unwrap_or(i64::MAX),
            held: None,
            schema: self.schema(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let stream = futures::stream::try_unfold(pass, |mut pass| async move { Ok(pass.next().await?.map(|batch| (batch, pass))) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Unknown
    }
}

/// A batch of the input and the place in it.
struct Held {
    batch: RecordBatch,
    texts: Vec<StringViewArray>,
    row: usize,
    /// The walks through the row's values; empty: the row was not begun.
    walks: Vec<Cells>,
    /// How many elements of the row were given.
    given: u64,
}

impl Held {
    fn text(&self, source: usize) -> Option<&str> {
        let texts = &self.texts[source];
        texts.is_valid(self.row).then(|| texts.value(self.row))
    }
}

/// One pass over one partition.
struct Pass {
    input: SendableRecordBatchStream,
    sources: Vec<Arc<dyn PhysicalExpr>>,
    limit: u64,
    columns: Vec<CellColumn>,
    rows: bool,
    items: bool,
    /// Most rows of a batch.
    size: usize,
    next_row: i64,
    held: Option<Held>,
    schema: SchemaRef,
    metrics: BaselineMetrics,
}

impl Pass {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(mut held) = self.held.take() {
                let filled = self.fill(&mut held)?;
                if held.row < held.batch.num_rows() {
                    self.held = Some(held);
                }
                if filled.is_some() {
                    return Ok(filled);
                }
            } else {
                let Some(batch) = self.input.next().await else { return Ok(None) };
                self.hold(batch?)?;
            }
        }
    }

    fn hold(&mut self, batch: RecordBatch) -> Result<()> {
        let mut texts = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            let array = source.evaluate(&batch)?.into_array(batch.num_rows())?;
            match array.as_string_view_opt() {
                Some(text) => texts.push(text.clone()),
                None => return exec_err!("what is expanded is dynamic, not {}", array.data_type()),
            }
        }
        self.held = Some(Held { batch, texts, row: 0, walks: Vec::new(), given: 0 });
        Ok(())
    }

    /// The next elements, as many as a batch holds.
    fn fill(&mut self, held: &mut Held) -> Result<Option<RecordBatch>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let (mut indices, mut row_ids, mut items) = (Vec::new(), Vec::new(), Vec::new());
        while held.row < held.batch.num_rows() && indices.len() < self.size {
            if held.walks.is_empty() {
                held.walks = (0..held.texts.len()).map(|source| Cells::of(held.text(source))).collect();
                held.given = 0;
            }
            if held.given < self.limit && self.step(held) {
                indices.push(u32::try_from(held.row).unwrap_or(u32::MAX));
                if self.rows {
                    row_ids.push(self.next_row);
                }
                if self.items {
                    items.push(i64::try_from(held.given).unwrap_or(i64::MAX));
                }
                held.given += 1;
            } else {
                held.row += 1;
                held.walks.clear();
                self.next_row += 1;
            }
        }
        if indices.is_empty() {
            return Ok(None);
        }
        let count = indices.len();
        let indices = UInt32Array::from(indices);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for column in held.batch.columns() {
            arrays.push(take(column, &indices, None)?);
        }
        for column in &mut self.columns {
            arrays.push(column.finish()?);
        }
        if self.rows {
            arrays.push(Arc::new(Int64Array::from(row_ids)));
        }
        if self.items {
            arrays.push(Arc::new(Int64Array::from(items)));
        }
        self.metrics.output_rows().add(count);
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?))
    }

    /// One element of each value; false: no value has one more.
    fn step(&mut self, held: &mut Held) -> bool {
        let mut walks = std::mem::take(&mut held.walks);
        let mut any = false;
        // The first ones with nothing left are filled up once another turns out to have something.
        for (at, walk) in walks.iter_mut().enumerate() {
            let cell = walk.next(held.text(at).unwrap_or(""));
            if cell.is_some() && !any {
                any = true;
                self.columns[..at].iter_mut().for_each(|column| column.push(None));
            }
            if any {
                self.columns[at].push(cell);
            }
        }
        held.walks = walks;
        any
    }
}
