//! Which blocks cannot hold a row that the query wants, told from windows, time ranges and sealed statistics alone.
//!
//! One vectorised pass over all blocks: their bounds become Arrow arrays, DataFusion's [`PruningPredicate`] says which to keep.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use strongroom_model::{BlockStats, StatValue, TIME_COLUMN, TimeRange};

/// Longest IN list that is turned into comparisons.
const IN_LIST_MAX: usize = 64;

/// What is known of one block while pruning.
pub(crate) struct Bounds {
    /// Where its events lie.
    pub(crate) time: TimeRange,
    /// How many rows, if that may be used yet.
    pub(crate) rows: Option<u64>,
    /// Its opened statistics.
    pub(crate) stats: Option<Arc<BlockStats>>,
}

/// The predicate in pruning form; `None` if it can prune nothing.
pub(crate) fn predicate(expr: Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Option<PruningPredicate> {
    PruningPredicateBuilder::new()
        .with_file_schema(Arc::clone(schema))
        .with_max_in_list_size(IN_LIST_MAX)
        .try_build(expr)
        .ok()
        .filter(|predicate| !predicate.always_true())
}

/// For each block whether it may hold wanted rows. Anything unclear is kept.
pub(crate) fn keep(predicate: &PruningPredicate, schema: &SchemaRef, bounds: &[Bounds]) -> Vec<bool> {
    predicate.prune(&Blocks { schema, bounds }).unwrap_or_else(|_| vec![true; bounds.len()])
}

struct Blocks<'a> {
    schema: &'a SchemaRef,
    bounds: &'a [Bounds],
}

impl Blocks<'_> {
    fn ends(&self, column: &Column, upper: bool) -> Option<ArrayRef> {
        let field = self.schema.field_with_name(&column.name).ok()?;
        let none = ScalarValue::try_from(field.data_type()).ok()?;
        let mut known = false;
        let values = self.bounds.iter().map(|block| {
            let value = if column.name == TIME_COLUMN {
                let at = if upper { block.time.end } else { block.time.start };
                Some(ScalarValue::TimestampNanosecond(Some(at), Some("UTC".into())))
            } else {
                block.stats.as_ref().and_then(|stats| {
                    let found = stats.columns.iter().find(|c| c.name == column.name)?;
                    bound(if upper { found.max.as_ref() } else { found.min.as_ref() }?, field.data_type(), upper)
                })
            };
            known |= value.is_some();
            value.unwrap_or_else(|| none.clone())
        });
        let array = ScalarValue::iter_to_array(values).ok()?;
        known.then_some(array)
    }
}

impl PruningStatistics for Blocks<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, false)
    }
    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.ends(column, true)
    }
    fn num_containers(&self) -> usize {
        self.bounds.len()
    }
    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts: UInt64Array = self
            .bounds
            .iter()
            .map(|block| {
                if column.name == TIME_COLUMN {
                    return Some(0);
                }
                let stats = block.stats.as_ref()?;
                // A column that is not in the block is null in every row of it.
                Some(stats.columns.iter().find(|c| c.name == column.name).map_or(stats.rows, |c| c.nulls))
            })
            .collect();
        Some(Arc::new(counts))
    }
    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.bounds.iter().map(|block| block.rows).collect::<UInt64Array>()))
    }
    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// A statistic as a value of the column's type in the query, which may be wider than in the block; still a bound.
fn bound(value: &StatValue, kind: &DataType, upper: bool) -> Option<ScalarValue> {
    Some(match (value, kind) {
        (StatValue::Bool(b), DataType::Boolean) => ScalarValue::Boolean(Some(*b)),
        (StatValue::Long(n), DataType::Int64) => ScalarValue::Int64(Some(*n)),
        (StatValue::Long(n), DataType::Int32) => ScalarValue::Int32(Some(i32::try_from(*n).ok()?)),
        // A long beyond 2^53 may round past itself: step outwards.
        #[expect(clippy::cast_precision_loss, reason = "stepped outwards")]
        (StatValue::Long(n), DataType::Float64) => {
            let near = *n as f64;
            ScalarValue::Float64(Some(if n.unsigned_abs() <= 1 << 53 {
                near
            } else if upper {
                near.next_up()
            } else {
                near.next_down()
            }))
        }
        (StatValue::Real(x), DataType::Float64) => ScalarValue::Float64(Some(*x)),
        (StatValue::Text(s), DataType::Utf8View) => ScalarValue::Utf8View(Some(s.clone())),
        (StatValue::Text(s), DataType::Utf8) => ScalarValue::Utf8(Some(s.clone())),
        (StatValue::Nanos(n), DataType::Timestamp(TimeUnit::Nanosecond, zone)) => ScalarValue::TimestampNanosecond(Some(*n), zone.clone()),
        (StatValue::Nanos(n), DataType::Duration(TimeUnit::Nanosecond)) => ScalarValue::DurationNanosecond(Some(*n)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_that_does_not_fit_a_real_stays_a_bound() {
        let big = (1_i64 << 53) + 1;
        let real = DataType::Float64;
        let ScalarValue::Float64(Some(low)) = bound(&StatValue::Long(big), &real, false).unwrap() else { panic!() };
        let ScalarValue::Float64(Some(high)) = bound(&StatValue::Long(big), &real, true).unwrap() else { panic!() };
        assert!(low <= 9_007_199_254_740_992.0 && high >= 9_007_199_254_740_994.0);
        assert_eq!(bound(&StatValue::Text("x".into()), &real, true), None);
    }
}
