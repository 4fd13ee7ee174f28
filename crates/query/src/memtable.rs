//! Memtable rows as a source of batches.
//!
//! DataFusion's own memory source hands out slices of the batches it was given, and whoever holds a slice is charged for all of
//! what it was cut from: a sort would run out of memory over rows that fit ten times. Here each batch is cut, brought into the
//! shape that is wanted and copied when it is asked for, and not before: "take 10" copies one batch.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use strongroom_buffer::conform;

/// Batches in storage form, given out in the wanted form.
#[derive(Debug, Clone)]
pub(crate) struct MemtableExec {
    parts: Arc<Vec<Vec<RecordBatch>>>,
    schema: SchemaRef,
    fetch: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl MemtableExec {
    /// One partition for each list; `schema` names the wanted columns.
    pub(crate) fn new(parts: Vec<Vec<RecordBatch>>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(parts.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self { parts: Arc::new(parts), schema, fetch: None, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }

    fn rows(&self, partition: usize) -> usize {
        let rows = self.parts[partition].iter().map(RecordBatch::num_rows).sum();
        self.fetch.map_or(rows, |fetch| fetch.min(rows))
    }
}

impl DisplayAs for MemtableExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: usize = (0..self.parts.len()).map(|part| self.rows(part)).sum();
        write!(f, "MemtableExec: partitions={}, rows={rows}", self.parts.len())?;
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", fetch={fetch}"))
    }
}

/// A slice that owns its rows alone.
fn owned(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let rows = u32::try_from(batch.num_rows()).map_err(|_| ArrowError::InvalidArgumentError("a slice has too many rows".to_owned()))?;
    let all = UInt32Array::from_iter_values(0..rows);
    let column = |column: &ArrayRef| -> Result<ArrayRef, ArrowError> {
        let copied = take(column, &all, None)?;
        // Taking views copies the views and not what they point to.
        Ok(if copied.data_type() == &DataType::Utf8View { Arc::new(copied.as_string_view().gc()) } else { copied })
    };
    let columns = batch.columns().iter().map(column).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(batch.schema(), columns, &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())))
}

/// `len` rows of a batch from `at`, in the shape of `schema`.
fn cut(batch: &RecordBatch, at: usize, len: usize, schema: &SchemaRef) -> Result<RecordBatch> {
    let whole = at == 0 && len == batch.num_rows();
    let shaped = conform(&batch.slice(at, len), schema).map_err(DataFusionError::from)?;
    if whole { Ok(shaped) } else { owned(&shaped).map_err(DataFusionError::from) }
}

impl ExecutionPlan for MemtableExec {
    fn name(&self) -> &'static str {
        "MemtableExec"
    }
    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }
    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }
    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
    fn replace_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>, _: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }
    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (parts, schema) = (Arc::clone(&self.parts), Arc::clone(&self.schema));
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let size = context.session_config().batch_size().max(1);
        let (mut batch, mut at, mut left) = (0, 0, self.rows(partition));
        let next = move || -> Option<Result<RecordBatch>> {
            let _timer = metrics.elapsed_compute().timer();
            let from = parts[partition].get(batch).filter(|_| left > 0)?;
            let len = (from.num_rows() - at).min(size).min(left);
            let found = cut(from, at, len, &schema);
            at += len;
            left -= len;
            if at == from.num_rows() {
                (batch, at) = (batch + 1, 0);
            }
            metrics.output_rows().add(len);
            Some(found)
        };
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(std::iter::from_fn(next)));
        Ok(Box::pin(cooperative(stream)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let rows = match args.partition() {
            Some(partition) => self.rows(partition),
            None => (0..self.parts.len()).map(|part| self.rows(part)).sum(),
        };
        Ok(Arc::new(Statistics { num_rows: Precision::Exact(rows), ..Statistics::new_unknown(&self.schema) }))
    }

    fn with_fetch(&self, fetch: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Self { fetch, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow_schema::Schema;
    use futures::TryStreamExt;
    use strongroom_model::ColumnType;

    use super::*;

    fn source() -> MemtableExec {
        let stored = Arc::new(Schema::new(vec![ColumnType::Long.storage_field("n"), ColumnType::String.storage_field("s")]));
        let texts: StringArray = (0..20_000).map(|n| Some(format!("a text of more than twelve bytes {n}"))).collect();
        let batch = RecordBatch::try_new(stored, vec![Arc::new(Int64Array::from_iter_values(0..20_000)), Arc::new(texts)]).unwrap();
        let wanted = Arc::new(Schema::new(vec![ColumnType::String.query_field("s"), ColumnType::Bool.query_field("late")]));
        MemtableExec::new(vec![vec![batch.slice(0, 100), batch], Vec::new()], wanted)
    }

    #[tokio::test]
    async fn batches_are_cut_shaped_and_own_no_more_than_their_rows() {
        let exec = source();
        let got: Vec<RecordBatch> = exec.execute(0, Arc::new(TaskContext::default())).unwrap().try_collect().await.unwrap();
        assert_eq!(got.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [100, 8_192, 8_192, 3_616]);
        assert_eq!(got[3].column(0).as_string_view().value(3_615), "a text of more than twelve bytes 19999");
        assert_eq!(got[0].column(1).null_count(), 100);
        assert!(got[1].get_array_memory_size() < 700_000, "{}", got[1].get_array_memory_size());
        assert_eq!((exec.rows(0), exec.rows(1)), (20_100, 0));
    }

    #[tokio::test]
    async fn a_fetch_ends_each_partition_early() {
        let exec = source().with_fetch(Some(150)).unwrap();
        let got: Vec<RecordBatch> = exec.execute(0, Arc::new(TaskContext::default())).unwrap().try_collect().await.unwrap();
        assert_eq!(got.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [100, 50]);
    }
}
