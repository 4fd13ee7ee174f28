//! The columns of an answer, out of those its rows were computed in: picked, marked with their KQL types, texts never null.
//!
//! One node and not a projection: a projection of every column of a wide table is an expression each, which every rule of the
//! optimizer visits, and that is dearer than what is done to the hundred rows of a `top`.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringViewArray};
use arrow_schema::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, DFSchemaRef, internal_err, plan_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::distribution_requirements::InputDistributionRequirements;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::StreamExt;

use super::only;

/// A column of the answer: a column of the input, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::kql) struct Finished {
    /// Its name and marks; the type is the input's.
    pub(in crate::kql) field: Field,
    /// Whether it is a text whose null is to be read as the empty one.
    pub(in crate::kql) sparse: bool,
}

/// The answer's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kql) struct FinishNode {
    input: Arc<LogicalPlan>,
    columns: Vec<Finished>,
    /// Where each column lies in the input.
    places: Vec<usize>,
    /// Whether the input's rows are in an order that the answer is to keep.
    ordered: bool,
    schema: DFSchemaRef,
}

impl Hash for FinishNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, &self.columns, self.ordered).hash(state);
    }
}

impl PartialOrd for FinishNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl FinishNode {
    pub(in crate::kql) fn new(input: LogicalPlan, columns: Vec<Finished>, ordered: bool) -> Result<Self> {
        let below = input.schema();
        let mut places = Vec::with_capacity(columns.len());
        let mut fields = Vec::with_capacity(columns.len());
        for column in &columns {
            let name = column.field.name();
            let Some(place) = below.fields().iter().position(|field| field.name() == name) else {
                return plan_err!("column {name:?} of the answer was not computed");
            };
            places.push(place);
            fields.push(column.field.clone().with_data_type(below.field(place).data_type().clone()));
        }
        let schema = Arc::new(DFSchema::try_from(Schema::new(fields))?);
        Ok(Self { input: Arc::new(input), columns, places, ordered, schema })
    }

    pub(super) fn physical(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let columns = self.places.iter().copied().zip(self.columns.iter().map(|column| column.sparse)).collect();
        Arc::new(FinishExec::new(input, columns, self.ordered, Arc::clone(self.schema.inner())))
    }
}

impl UserDefinedLogicalNodeCore for FinishNode {
    fn name(&self) -> &'static str {
        "Finish"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // All of its own whatever is asked for: nothing lies above it.
        debug_assert!(output_columns.len() <= self.places.len());
        Some(vec![self.places.clone()])
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.columns.iter().map(|column| column.field.name().as_str()).collect();
        write!(f, "Finish: {}", names.join(", "))
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.pop() else { return plan_err!("an answer needs an input") };
        Self::new(input, self.columns.clone(), self.ordered)
    }
}

#[derive(Clone, Debug)]
struct FinishExec {
    input: Arc<dyn ExecutionPlan>,
    /// Places in the input, and whether nulls are empty texts.
    columns: Vec<(usize, bool)>,
    ordered: bool,
    properties: Arc<PlanProperties>,
}

impl FinishExec {
    fn new(input: Arc<dyn ExecutionPlan>, columns: Vec<(usize, bool)>, ordered: bool, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            input.output_partitioning().clone(),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Self { input, columns, ordered, properties: Arc::new(properties) }
    }
}

impl DisplayAs for FinishExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "FinishExec: {}", names.join(", "))
    }
}

impl ExecutionPlan for FinishExec {
    fn name(&self) -> &'static str {
        "FinishExec"
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
        let wanted = if self.ordered { Distribution::SinglePartition } else { Distribution::UnspecifiedDistribution };
        InputDistributionRequirements::new(vec![wanted])
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(only(children)?, self.columns.clone(), self.ordered, self.schema())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.input.execute(partition, context)?;
        let (schema, columns) = (self.schema(), self.columns.clone());
        let finished = {
            let schema = Arc::clone(&schema);
            rows.map(move |batch| finish(&batch?, &columns, &schema))
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, finished)))
    }
}

fn finish(batch: &RecordBatch, columns: &[(usize, bool)], schema: &SchemaRef) -> Result<RecordBatch> {
    let picked = columns.iter().map(|(place, sparse)| {
        let column = batch.column(*place);
        if *sparse { solid(column) } else { Ok(Arc::clone(column)) }
    });
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), picked.collect::<Result<_>>()?, &rows)?)
}

/// The texts, empty ones for nulls: what the view of a null holds is not defined, an empty text's is zero.
fn solid(texts: &ArrayRef) -> Result<ArrayRef> {
    let Some(nulls) = texts.nulls().filter(|nulls| nulls.null_count() > 0) else { return Ok(Arc::clone(texts)) };
    let Some(views) = texts.as_string_view_opt() else { return internal_err!("texts of an answer are {}", texts.data_type()) };
    let filled = views.views().iter().zip(nulls).map(|(view, there)| if there { *view } else { 0 }).collect();
    Ok(Arc::new(StringViewArray::try_new(filled, views.data_buffers().to_vec(), None)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_empty_texts_and_nothing_else_changes() {
        let long = "a text of more than twelve bytes";
        let texts: StringViewArray = [Some("a"), None, Some(long), None, Some("")].into_iter().collect();
        let sliced: ArrayRef = Arc::new(texts.slice(1, 4));
        let filled = solid(&sliced).unwrap();
        assert_eq!(filled.null_count(), 0);
        assert_eq!(filled.as_string_view().iter().collect::<Vec<_>>(), [Some(""), Some(long), Some(""), Some("")]);
        let whole: ArrayRef = Arc::new(texts.slice(2, 1));
        assert!(solid(&whole).unwrap().to_data().ptr_eq(&whole.to_data()));
        let numbers: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![None, Some(1)]));
        assert!(solid(&numbers).is_err());
    }
}
