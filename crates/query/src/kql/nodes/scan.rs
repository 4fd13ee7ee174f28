//! `scan`: rows in order go through steps that remember what matched them.
//!
//! Each row is tried against every step, the last one first. A step that its row enters from the step before takes over what that
//! one remembers; otherwise a row may stay in a step that is under way, or begin anew in the first. What depends on the row alone
//! is computed a batch at a time, what depends on a state row by row. A state is one row a step, so memory does not grow.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::{concat, interleave_record_batch};
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning, PlanProperties};
use futures::StreamExt;

use super::parts::Parts;
use super::{Maker, each, only};

/// What `step.column` is called in a step's expressions.
pub(in crate::kql) fn state_name(step: &str, column: &str) -> String {
    format!("\u{1}{step}.{column}")
}

/// A column that steps set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct Declared {
    pub(in crate::kql) field: FieldRef,
    /// What it is where no step set it.
    pub(in crate::kql) default: ScalarValue,
}

/// Which rows of a step are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) enum Output {
    All,
    /// The last of a series.
    Last,
    None,
}

/// One step. Its expressions are over the input's columns and [`state_name`]s.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct Step {
    pub(in crate::kql) name: String,
    pub(in crate::kql) output: Output,
    pub(in crate::kql) condition: Expr,
    /// By number of the declared column.
    pub(in crate::kql) assignments: Vec<(usize, Expr)>,
}

/// The steps and what they set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct Machine {
    pub(in crate::kql) declared: Vec<Declared>,
    pub(in crate::kql) steps: Vec<Step>,
    /// The column that numbers the matches.
    pub(in crate::kql) match_id: Option<String>,
}

/// Rows that matched: the input's columns, those declared, perhaps the match's number, and the row's number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct ScanNode {
    input: Arc<LogicalPlan>,
    keys: Vec<Sort>,
    /// How many of the keys, the first ones, part the rows: no match goes from one part to the next.
    parts: usize,
    machine: Machine,
    index: String,
    schema: DFSchemaRef,
}

impl PartialOrd for ScanNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl Machine {
    /// What comes behind the input's columns.
    fn fields(&self, index: &str) -> Vec<FieldRef> {
        let mut fields: Vec<FieldRef> = self.declared.iter().map(|declared| Arc::clone(&declared.field)).collect();
        fields.extend(self.match_id.iter().map(|name| Arc::new(Field::new(name, DataType::Int64, true))));
        fields.push(Arc::new(Field::new(index, DataType::Int64, false)));
        fields
    }

    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        self.steps.iter().flat_map(|step| std::iter::once(&step.condition).chain(step.assignments.iter().map(|(_, value)| value)))
    }

    /// Every column that a step's expressions name.
    fn used(&self) -> HashSet<String> {
        self.exprs().flat_map(|expr| expr.column_refs().into_iter().map(|column| column.name.clone())).collect()
    }
}

impl ScanNode {
    pub(in crate::kql) fn new(input: LogicalPlan, keys: Vec<Sort>, parts: usize, machine: Machine, index: String) -> Result<Self> {
        let mut fields: Vec<_> = input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        fields.extend(machine.fields(&index).into_iter().map(|field| (None, field)));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?);
        Ok(Self { input: Arc::new(input), keys, parts, machine, index, schema })
    }

    pub(super) fn physical(&self, input: Arc<dyn ExecutionPlan>, make: &Maker<'_>) -> Result<Arc<dyn ExecutionPlan>> {
        let parts = self.keys[..self.parts].iter().map(|key| make.value(&key.expr)).collect::<Result<Vec<_>>>()?;
        let used = self.machine.used();
        let width = make.schema.fields().len();
        let mut fields: Vec<_> = make.schema.iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        let mut sources: Vec<Source> = (0..width).map(Source::Input).collect();
        let mut kept = vec![Vec::new(); self.machine.steps.len()];
        for (at, step) in self.machine.steps.iter().enumerate() {
            let own = make.schema.fields().iter().enumerate().map(|(column, field)| (Cell::Input(column), field));
            let declared = self.machine.declared.iter().enumerate().map(|(column, declared)| (Cell::Declared(column), &declared.field));
            for (cell, field) in own.chain(declared) {
                let name = state_name(&step.name, field.name());
                if used.contains(&name) {
                    fields.push((None, Arc::new(field.as_ref().clone().with_name(name).with_nullable(true))));
                    sources.push(Source::State { step: at, cell: kept[at].len() });
                    kept[at].push(cell);
                }
            }
        }
        let schema = DFSchema::new_with_metadata(fields, std::collections::HashMap::new())?;
        let make = Maker { schema: &schema, ..*make };
        let known = Arc::new(schema.clone());
        let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(known).build());
        let value = |expr: &Expr| -> Result<Value> {
            let expr = make.value(&simplifier.simplify(simplifier.coerce(expr.clone(), &schema)?)?)?;
            let mut columns: Vec<usize> = collect_columns(&expr).into_iter().map(|column| column.index()).collect();
            columns.sort_unstable();
            if columns.iter().all(|column| *column < width) {
                return Ok(Value::OfBatch(expr));
            }
            let small = Arc::new(Schema::new(columns.iter().map(|column| schema.field(*column).clone()).collect::<Vec<_>>()));
            let expr = reassign_expr_columns(expr, &small)?;
            Ok(Value::OfState { expr, columns: columns.into_iter().map(|column| sources[column]).collect(), schema: small })
        };
        let mut steps = Vec::with_capacity(self.machine.steps.len());
        for (step, kept) in self.machine.steps.iter().zip(kept) {
            let assignments =
                step.assignments.iter().map(|(column, expr)| Ok((*column, value(expr)?))).collect::<Result<Vec<(usize, Value)>>>()?;
            let defaults = kept
                .iter()
                .map(|cell| match cell {
                    Cell::Input(column) => ScalarValue::try_from(make.schema.field(*column).data_type())?.to_array(),
                    Cell::Declared(column) => self.machine.declared[*column].default.to_array(),
                })
                .collect::<Result<Vec<ArrayRef>>>()?;
            steps.push(PhysicalStep { output: step.output, condition: value(&step.condition)?, assignments, kept, defaults });
        }
        let defaults = self.machine.declared.iter().map(|declared| declared.default.to_array()).collect::<Result<Vec<_>>>()?;
        let program = Program { steps, defaults, numbered: self.machine.match_id.is_some() };
        let order = make.order(&self.keys)?;
        Ok(Arc::new(ScanExec::new(input, order, parts, Arc::new(program), self.machine.fields(&self.index))))
    }
}

impl UserDefinedLogicalNodeCore for ScanNode {
    fn name(&self) -> &'static str {
        "Scan"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The order's keys and the columns that steps need. What steps compute is their own: states are no columns of the input.
    fn expressions(&self) -> Vec<Expr> {
        let used = self.machine.used();
        let needed = |name: &str| used.contains(name) || self.machine.steps.iter().any(|step| used.contains(&state_name(&step.name, name)));
        let columns = self.input.schema().columns().into_iter().filter(|column| needed(&column.name)).map(Expr::Column);
        self.keys.iter().map(|key| key.expr.clone()).chain(columns).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&str> = self.machine.steps.iter().map(|step| step.name.as_str()).collect();
        write!(f, "Scan: steps=[{}]", steps.join(", "))
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("a scan needs an input") };
        let mut keys = self.keys.clone();
        for (key, expr) in keys.iter_mut().zip(exprs) {
            key.expr = expr;
        }
        Self::new(input, keys, self.parts, self.machine.clone(), self.index.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|at| *at < width).collect()])
    }
}

/// Where a step's expression finds a column.
#[derive(Clone, Copy, Debug)]
enum Source {
    Input(usize),
    State { step: usize, cell: usize },
}

/// What a state keeps of a row.
#[derive(Clone, Copy, Debug)]
enum Cell {
    Input(usize),
    Declared(usize),
}

/// A value that steps compute.
#[derive(Debug)]
enum Value {
    /// From the row alone.
    OfBatch(Arc<dyn PhysicalExpr>),
    /// From the row and what steps remember.
    OfState { expr: Arc<dyn PhysicalExpr>, columns: Vec<Source>, schema: SchemaRef },
}

#[derive(Debug)]
struct PhysicalStep {
    output: Output,
    condition: Value,
    assignments: Vec<(usize, Value)>,
    kept: Vec<Cell>,
    /// What stands for a row that is not there.
    defaults: Vec<ArrayRef>,
}

#[derive(Debug)]
struct Program {
    steps: Vec<PhysicalStep>,
    /// Of declared columns.
    defaults: Vec<ArrayRef>,
    numbered: bool,
}

#[derive(Clone, Debug)]
struct ScanExec {
    input: Arc<dyn ExecutionPlan>,
    order: Option<LexOrdering>,
    parts: Vec<Arc<dyn PhysicalExpr>>,
    program: Arc<Program>,
    fields: Vec<FieldRef>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    fn new(
        input: Arc<dyn ExecutionPlan>,
        order: Option<LexOrdering>,
        parts: Vec<Arc<dyn PhysicalExpr>>,
        program: Arc<Program>,
        fields: Vec<FieldRef>,
    ) -> Self {
        let there = input.schema();
        let all: Vec<FieldRef> = there.fields().iter().chain(&fields).cloned().collect();
        let schema: SchemaRef = Arc::new(Schema::new_with_metadata(all, there.metadata().clone()));
        let mut equivalence = EquivalenceProperties::new(Arc::clone(&schema));
        if let Some(last) = schema.fields().last() {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(last.name(), schema.fields().len() - 1));
            let options = arrow_schema::SortOptions { descending: false, nulls_first: true };
            equivalence.add_ordering([PhysicalSortExpr::new(column, options)]);
        }
        let properties =
            PlanProperties::new(equivalence, Partitioning::UnknownPartitioning(1), EmissionType::Incremental, input.boundedness());
        Self { input, order, parts, program, fields, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScanExec: steps={}", self.program.steps.len())
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "ScanExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        let values = self.program.steps.iter().flat_map(|step| {
            std::iter::once(&step.condition).chain(step.assignments.iter().map(|(_, value)| value)).map(|value| {
                let (Value::OfBatch(expr) | Value::OfState { expr, .. }) = value;
                expr
            })
        });
        each(self.parts.iter().chain(values), f)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![self.order.clone().map(OrderingRequirements::from)]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = only(children)?;
        Ok(Arc::new(Self::new(input, self.order.clone(), self.parts.clone(), Arc::clone(&self.program), self.fields.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let steps = self.program.steps.len();
        let pass = Pass {
            input: self.input.execute(partition, context)?,
            ended: false,
            parts: Parts::new(&self.parts, &self.input.schema())?,
            program: Arc::clone(&self.program),
            states: (0..steps).map(|_| None).collect(),
            pending: (0..steps).map(|_| None).collect(),
            matches: 0,
            next: 0,
            schema: self.schema(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let stream = futures::stream::try_unfold(pass, |mut pass| async move { Ok(pass.next().await?.map(|batch| (batch, pass))) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// A match under way: the last row of each step up to this one, as far as expressions ask for it.
#[derive(Clone, Debug)]
struct State {
    rows: Vec<Option<Vec<ArrayRef>>>,
    id: i64,
}

/// A row to give.
#[derive(Debug)]
struct Given {
    row: Place,
    declared: Vec<ArrayRef>,
    id: i64,
}

#[derive(Debug)]
enum Place {
    /// In the batch at hand.
    Here(usize),
    /// One row of an earlier batch.
    Kept(RecordBatch),
}

struct Pass {
    input: SendableRecordBatchStream,
    ended: bool,
    parts: Option<Parts>,
    program: Arc<Program>,
    states: Vec<Option<State>>,
    /// By step: the last row of its series so far, if that is what it gives.
    pending: Vec<Option<Given>>,
    matches: i64,
    next: i64,
    schema: SchemaRef,
    metrics: BaselineMetrics,
}

/// One batch with what could be computed for all of its rows.
struct Sight<'s> {
    batch: &'s RecordBatch,
    /// By step: the condition, then the assignments.
    known: Vec<Vec<Option<ArrayRef>>>,
}

impl Pass {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended {
            let given = match self.input.next().await {
                Some(batch) => self.run(&batch?)?,
                None => self.end()?,
            };
            if given.is_some() {
                return Ok(given);
            }
        }
        Ok(None)
    }

    fn run(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let program = Arc::clone(&self.program);
        let know = |value: &Value| -> Result<Option<ArrayRef>> {
            Ok(match value {
                Value::OfBatch(expr) => Some(expr.evaluate(batch)?.into_array(batch.num_rows())?),
                Value::OfState { .. } => None,
            })
        };
        let mut known = Vec::with_capacity(program.steps.len());
        for step in &program.steps {
            let values = std::iter::once(&step.condition).chain(step.assignments.iter().map(|(_, value)| value));
            known.push(values.map(know).collect::<Result<Vec<_>>>()?);
        }
        let sight = Sight { batch, known };
        let mut given = Vec::new();
        let mut beginnings = match &mut self.parts {
            Some(parts) => parts.beginnings(batch)?,
            None => Vec::new(),
        }
        .into_iter()
        .peekable();
        for row in 0..batch.num_rows() {
            if beginnings.next_if_eq(&row).is_some() {
                given.extend(self.pending.iter_mut().rev().filter_map(Option::take));
                self.states.fill(None);
                self.matches = 0;
            }
            for step in (0..program.steps.len()).rev() {
                self.enter(&program, &sight, row, step, &mut given)?;
            }
        }
        let made = self.make(batch, &given)?;
        for pending in self.pending.iter_mut().flatten() {
            if let Place::Here(row) = pending.row {
                pending.row = Place::Kept(batch.slice(row, 1));
            }
        }
        Ok(made)
    }

    /// Tries one row against one step.
    fn enter(&mut self, program: &Program, sight: &Sight<'_>, row: usize, step: usize, given: &mut Vec<Given>) -> Result<()> {
        let before = step.checked_sub(1).and_then(|before| self.states[before].as_ref());
        if before.is_some() && holds(program, sight, row, step, before)? {
            for left in [step, step - 1] {
                given.extend(self.pending[left].take());
            }
            self.states[step] = self.states[step - 1].take().map(|mut state| {
                state.rows.push(None);
                state
            });
        } else {
            if (step > 0 && self.states[step].is_none()) || !holds(program, sight, row, step, self.states[step].as_ref())? {
                return Ok(());
            }
            if self.states[step].is_none() {
                self.states[step] = Some(State { rows: vec![None], id: self.matches });
                self.matches += 1;
            }
        }
        let mut declared = program.defaults.clone();
        for (at, (column, value)) in program.steps[step].assignments.iter().enumerate() {
            declared[*column] = compute(program, sight, row, step, at + 1, value, self.states[step].as_ref())?;
        }
        let Some(state) = &mut self.states[step] else { return exec_err!("a step that was entered has a state") };
        let kept = program.steps[step].kept.iter().map(|cell| match cell {
            Cell::Input(column) => sight.batch.column(*column).slice(row, 1),
            Cell::Declared(column) => Arc::clone(&declared[*column]),
        });
        state.rows[step] = Some(kept.collect());
        let found = Given { row: Place::Here(row), declared, id: state.id };
        match program.steps[step].output {
            Output::All => given.push(found),
            Output::Last => self.pending[step] = Some(found),
            Output::None => {}
        }
        Ok(())
    }

    /// What is still held back.
    fn end(&mut self) -> Result<Option<RecordBatch>> {
        self.ended = true;
        let given: Vec<Given> = self.pending.iter_mut().rev().filter_map(Option::take).collect();
        let width = self.schema.fields().len() - self.program.defaults.len() - usize::from(self.program.numbered) - 1;
        let empty = RecordBatch::new_empty(Arc::new(Schema::new(self.schema.fields()[..width].to_vec())));
        self.make(&empty, &given)
    }

    fn make(&mut self, batch: &RecordBatch, given: &[Given]) -> Result<Option<RecordBatch>> {
        if given.is_empty() {
            return Ok(None);
        }
        let mut batches = vec![batch];
        let mut places = Vec::with_capacity(given.len());
        for row in given {
            places.push(match &row.row {
                Place::Here(row) => (0, *row),
                Place::Kept(kept) => {
                    batches.push(kept);
                    (batches.len() - 1, 0)
                }
            });
        }
        // Without columns there is nothing to put together.
        let mut columns =
            if batch.num_columns() == 0 { Vec::new() } else { interleave_record_batch(&batches, &places)?.columns().to_vec() };
        for column in 0..self.program.defaults.len() {
            let cells: Vec<&dyn Array> = given.iter().map(|row| row.declared[column].as_ref()).collect();
            columns.push(concat(&cells)?);
        }
        if self.program.numbered {
            columns.push(Arc::new(given.iter().map(|row| row.id).collect::<Int64Array>()));
        }
        let from = self.next;
        self.next += i64::try_from(given.len()).unwrap_or(i64::MAX);
        columns.push(Arc::new(Int64Array::from_iter_values(from..self.next)));
        self.metrics.output_rows().add(given.len());
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

fn holds(program: &Program, sight: &Sight<'_>, row: usize, step: usize, state: Option<&State>) -> Result<bool> {
    if let Some(known) = &sight.known[step][0] {
        let flags = known.as_boolean();
        return Ok(flags.is_valid(row) && flags.value(row));
    }
    let flag = compute(program, sight, row, step, 0, &program.steps[step].condition, state)?;
    let flag = flag.as_boolean();
    Ok(flag.is_valid(0) && flag.value(0))
}

/// A step's value number `at` for one row.
fn compute(
    program: &Program,
    sight: &Sight<'_>,
    row: usize,
    step: usize,
    at: usize,
    value: &Value,
    state: Option<&State>,
) -> Result<ArrayRef> {
    if let Some(known) = &sight.known[step][at] {
        return Ok(known.slice(row, 1));
    }
    let Value::OfState { expr, columns, schema } = value else { return exec_err!("what depends on the row alone is known") };
    let columns = columns.iter().map(|source| match source {
        Source::Input(column) => sight.batch.column(*column).slice(row, 1),
        Source::State { step, cell } => {
            let there = state.and_then(|state| state.rows.get(*step)?.as_ref());
            Arc::clone(&there.unwrap_or(&program.steps[*step].defaults)[*cell])
        }
    });
    let one = RecordBatch::try_new(Arc::clone(schema), columns.collect())?;
    expr.evaluate(&one)?.into_array(1)
}
