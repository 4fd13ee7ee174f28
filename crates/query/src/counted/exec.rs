//! Partial counts of blocks that are not read.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float64Builder, Int32Builder, Int64Array, Int64Builder, RecordBatch,
    RecordBatchOptions, StringViewBuilder, TimestampNanosecondArray, new_null_array,
};
use arrow::compute::{filter, filter_record_batch};
use arrow_schema::{DataType, SchemaRef};
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coop::cooperative;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions, SchedulingType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use strongroom_model::StatValue;

use super::block::{CountedBlock, Wanted};
use super::{Asked, Expr};

/// The blocks of one scan, and what is asked of them.
pub(super) struct Piece {
    /// The scan's columns.
    pub(super) schema: SchemaRef,
    /// The place of the time column among them.
    pub(super) time: Option<usize>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) asked: Asked,
    /// Each with whether its minutes are told apart.
    pub(super) blocks: Vec<(Arc<CountedBlock>, bool)>,
}

/// Gives the partial counts of blocks, as a partial aggregate over their rows would.
pub(super) struct CountedExec {
    pieces: Arc<Vec<Piece>>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl CountedExec {
    /// `schema` is the partial aggregate's.
    pub(super) fn new(pieces: Vec<Piece>, schema: SchemaRef) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Self { pieces: Arc::new(pieces), schema, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for CountedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedExec").finish_non_exhaustive()
    }
}

impl DisplayAs for CountedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = || self.pieces.iter().flat_map(|piece| &piece.blocks);
        let rows: u64 = blocks().filter_map(|(block, _)| block.stats.as_ref()).map(|stats| stats.rows).sum();
        write!(f, "CountedExec: blocks={}, rows={rows}", blocks().count())
    }
}

impl ExecutionPlan for CountedExec {
    fn name(&self) -> &'static str {
        "CountedExec"
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

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (pieces, schema) = (Arc::clone(&self.pieces), Arc::clone(&self.schema));
        let size = context.session_config().batch_size().max(1);
        let (mut piece, mut block) = (0, 0);
        let next = move || -> Option<Result<RecordBatch>> {
            loop {
                let from = pieces.get(piece)?;
                if block == from.blocks.len() {
                    (piece, block) = (piece + 1, 0);
                    continue;
                }
                match from.gather(&mut block, size).and_then(|(cells, rows)| from.count(cells, rows, &schema)).transpose() {
                    None => {}
                    some => return some,
                }
            }
        };
        let stream = RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(std::iter::from_fn(next)));
        Ok(Box::pin(cooperative(stream)))
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics::new_unknown(&self.schema)))
    }
}

impl Piece {
    /// The cells of the next blocks, at least `size` if there are so many: as rows of the scan, and how many rows each stands for.
    fn gather(&self, next: &mut usize, size: usize) -> Result<(RecordBatch, Int64Array)> {
        let mut times = Vec::new();
        let mut rows = Vec::new();
        let mut columns = self.wanted.iter().map(|wanted| Filling::new(&wanted.kind)).collect::<Vec<_>>();
        while let Some((block, by_minute)) = self.blocks.get(*next).filter(|_| rows.len() < size) {
            *next += 1;
            let known = block.cells(&self.wanted, *by_minute);
            let known = known.ok_or_else(|| DataFusionError::Internal("a block's counts changed".to_owned()))?;
            for (column, values) in columns.iter_mut().zip(&known.values) {
                for cell in &known.cells {
                    // A column with one value has it in every cell.
                    column.push(values.get(cell.value).or(values.first()).and_then(Option::as_ref))?;
                }
            }
            times.extend(known.cells.iter().map(|cell| cell.time));
            rows.extend(known.cells.iter().map(|cell| cell.rows));
        }
        // Nothing looks at the others.
        let mut arrays: Vec<ArrayRef> = self.schema.fields().iter().map(|field| new_null_array(field.data_type(), rows.len())).collect();
        if let Some(at) = self.time {
            arrays[at] = Arc::new(TimestampNanosecondArray::from(times).with_data_type(self.schema.field(at).data_type().clone()));
        }
        for (wanted, column) in self.wanted.iter().zip(columns) {
            arrays[wanted.at] = column.finish();
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        Ok((RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?, Int64Array::from(rows)))
    }

    /// What the partial aggregate would give of those rows; `None`: no group.
    fn count(&self, mut cells: RecordBatch, mut rows: Int64Array, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        // One after the other: what the first leaves out the second never sees, in a scan either.
        for test in &self.asked.tests {
            if cells.num_rows() == 0 {
                break;
            }
            let passed = mask(test, &cells)?;
            rows = filter(&rows, &passed)?.as_primitive().clone();
            cells = filter_record_batch(&cells, &passed)?;
        }
        let len = cells.num_rows();
        if len == 0 {
            return Ok(None);
        }
        let mut arrays = self.asked.groups.iter().map(|group| array(group, &cells)).collect::<Result<Vec<_>>>()?;
        for counting in &self.asked.counts {
            let of = counting.of.as_ref().map(|of| array(of, &cells)).transpose()?;
            let nulls = of.as_ref().and_then(Array::logical_nulls);
            let passed = counting.filter.as_ref().map(|filter| mask(filter, &cells)).transpose()?;
            let counts = |at: usize| {
                nulls.as_ref().is_none_or(|nulls| nulls.is_valid(at))
                    && passed.as_ref().is_none_or(|passed| passed.is_valid(at) && passed.value(at))
            };
            let counted = |at: usize| if counts(at) { rows.value(at) } else { 0 };
            arrays.push(Arc::new(if self.asked.groups.is_empty() {
                Int64Array::from(vec![(0..len).map(counted).sum::<i64>()])
            } else {
                Int64Array::from_iter_values((0..len).map(counted))
            }));
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(schema), arrays)?))
    }
}

fn array(expr: &Expr, cells: &RecordBatch) -> Result<ArrayRef> {
    expr.evaluate(cells)?.into_array(cells.num_rows())
}

fn mask(expr: &Expr, cells: &RecordBatch) -> Result<BooleanArray> {
    let mask = array(expr, cells)?;
    mask.as_boolean_opt().cloned().ok_or_else(|| DataFusionError::Internal("a condition is neither true nor false".to_owned()))
}

/// A column of values being put together.
enum Filling {
    Text(StringViewBuilder),
    Long(Int64Builder),
    Int(Int32Builder),
    Real(Float64Builder),
    Bool(BooleanBuilder),
    /// No value of it was counted: there are none.
    Null(DataType, usize),
}

impl Filling {
    fn new(kind: &DataType) -> Self {
        match kind {
            DataType::Utf8View => Self::Text(StringViewBuilder::new()),
            DataType::Int64 => Self::Long(Int64Builder::new()),
            DataType::Int32 => Self::Int(Int32Builder::new()),
            DataType::Float64 => Self::Real(Float64Builder::new()),
            DataType::Boolean => Self::Bool(BooleanBuilder::new()),
            other => Self::Null(other.clone(), 0),
        }
    }

    fn push(&mut self, value: Option<&StatValue>) -> Result<()> {
        match (self, value) {
            (Self::Null(_, len), None) => *len += 1,
            (Self::Text(texts), None) => texts.append_null(),
            (Self::Long(longs), None) => longs.append_null(),
            (Self::Int(ints), None) => ints.append_null(),
            (Self::Real(reals), None) => reals.append_null(),
            (Self::Bool(bools), None) => bools.append_null(),
            (Self::Text(texts), Some(StatValue::Text(text))) => texts.append_value(text),
            (Self::Long(longs), Some(StatValue::Long(long))) => longs.append_value(*long),
            (Self::Int(ints), Some(StatValue::Long(long))) => {
                ints.append_value(i32::try_from(*long).map_err(|_| DataFusionError::Internal("an int that is none".to_owned()))?);
            }
            // As a block's longs are read where the column has become real.
            #[expect(clippy::cast_precision_loss, reason = "the same cast")]
            (Self::Real(reals), Some(StatValue::Long(long))) => reals.append_value(*long as f64),
            (Self::Bool(bools), Some(StatValue::Bool(bool))) => bools.append_value(*bool),
            _ => return Err(DataFusionError::Internal("a counted value of another type".to_owned())),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut texts) => Arc::new(texts.finish()),
            Self::Long(mut longs) => Arc::new(longs.finish()),
            Self::Int(mut ints) => Arc::new(ints.finish()),
            Self::Real(mut reals) => Arc::new(reals.finish()),
            Self::Bool(mut bools) => Arc::new(bools.finish()),
            Self::Null(kind, len) => new_null_array(&kind, len),
        }
    }
}
