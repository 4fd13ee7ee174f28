//! Which blocks cannot hold a row that the query wants, told from windows, time ranges and sealed statistics alone.
//!
//! One vectorised pass over all blocks: their bounds become Arrow arrays, DataFusion's [`PruningPredicate`] says which to keep.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringViewArray, TimestampNanosecondArray, UInt64Array};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, ScalarValue};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use strongroom_model::{BlockStats, ColumnStats, StatValue, TIME_COLUMN, TimeRange};

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
        let kind = field.data_type();
        let time = column.name == TIME_COLUMN;
        let mut finder = Finder::of(&column.name);
        // Tens of thousands of blocks: the usual types without a scalar for each.
        let values: ArrayRef = match kind {
            DataType::Timestamp(TimeUnit::Nanosecond, zone) if time => {
                let ends = self.bounds.iter().map(|block| if upper { block.time.end } else { block.time.start });
                Arc::new(TimestampNanosecondArray::from_iter_values(ends).with_timezone_opt(zone.clone()))
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                let ends = self.bounds.iter().map(|block| match finder.end(block, upper) {
                    Some(StatValue::Nanos(n)) => Some(*n),
                    _ => None,
                });
                Arc::new(ends.collect::<TimestampNanosecondArray>().with_timezone_opt(zone.clone()))
            }
            DataType::Utf8View => Arc::new(
                self.bounds
                    .iter()
                    .map(|block| match finder.end(block, upper) {
                        Some(StatValue::Text(text)) => Some(text.as_str()),
                        _ => None,
                    })
                    .collect::<StringViewArray>(),
            ),
            DataType::Int64 => Arc::new(
                self.bounds
                    .iter()
                    .map(|block| match finder.end(block, upper) {
                        Some(StatValue::Long(n)) => Some(*n),
                        _ => None,
                    })
                    .collect::<Int64Array>(),
            ),
            _ => {
                let none = ScalarValue::try_from(kind).ok()?;
                let ends = self
                    .bounds
                    .iter()
                    .map(|block| finder.end(block, upper).and_then(|value| bound(value, kind, upper)).unwrap_or_else(|| none.clone()));
                ScalarValue::iter_to_array(ends).ok()?
            }
        };
        (values.null_count() < values.len()).then_some(values)
    }
}

/// Finds a column in the statistics of one block after the other: mostly where it was in the block before.
struct Finder<'n> {
    name: &'n str,
    last: usize,
}

impl<'n> Finder<'n> {
    fn of(name: &'n str) -> Self {
        Self { name, last: 0 }
    }

    fn column<'s>(&mut self, stats: &'s BlockStats) -> Option<&'s ColumnStats> {
        if let Some(column) = stats.columns.get(self.last).filter(|column| column.name == self.name) {
            return Some(column);
        }
        self.last = stats.columns.iter().position(|column| column.name == self.name)?;
        stats.columns.get(self.last)
    }

    fn end<'s>(&mut self, block: &'s Bounds, upper: bool) -> Option<&'s StatValue> {
        let found = self.column(block.stats.as_ref()?)?;
        if upper { found.max.as_ref() } else { found.min.as_ref() }
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
        let time = column.name == TIME_COLUMN;
        let mut finder = Finder::of(&column.name);
        let mut nulls = |block: &Bounds| {
            if time {
                return Some(0);
            }
            let stats = block.stats.as_ref()?;
            // A column that is not in the block is null in every row of it.
            Some(finder.column(stats).map_or(stats.rows, |column| column.nulls))
        };
        let counts: UInt64Array = self.bounds.iter().map(&mut nulls).collect();
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
    fn bounds_of_every_type_rule_out_what_lies_outside_and_nothing_else() {
        use datafusion::logical_expr::{col, lit};
        use strongroom_model::{Column as ModelColumn, ColumnType, TableSchema};
        let column = |name: &str, kind, min, max| ColumnStats { name: name.to_owned(), kind, min: Some(min), max: Some(max), nulls: 0 };
        let block = |n: i64, more: bool| {
            let mut columns = vec![
                column("n", ColumnType::Long, StatValue::Long(n), StatValue::Long(n + 9)),
                column("r", ColumnType::Real, StatValue::Real(1.5), StatValue::Real(2.5)),
                column("s", ColumnType::String, StatValue::Text(format!("a{n}")), StatValue::Text(format!("b{n}"))),
                column("at", ColumnType::DateTime, StatValue::Nanos(n), StatValue::Nanos(n + 9)),
            ];
            if more {
                // In another place than in the block before.
                columns.rotate_right(1);
            }
            Bounds {
                time: TimeRange { start: n, end: n + 9 },
                rows: Some(5),
                stats: Some(Arc::new(BlockStats { rows: 5, columns, ..BlockStats::default() })),
            }
        };
        let bare = Bounds { time: TimeRange { start: 0, end: 99 }, rows: Some(5), stats: None };
        let columns = [
            (TIME_COLUMN, ColumnType::DateTime),
            ("n", ColumnType::Long),
            ("r", ColumnType::Real),
            ("s", ColumnType::String),
            ("at", ColumnType::DateTime),
        ];
        let columns = columns.map(|(name, kind)| ModelColumn { name: name.to_owned(), kind });
        let schema = TableSchema { columns: columns.into() }.query_schema();
        let bounds = [block(0, false), block(10, true), block(20, false), bare];
        let check = |expr: datafusion::logical_expr::Expr, expected: [bool; 4]| {
            let context = datafusion::prelude::SessionContext::new();
            let known = datafusion::common::DFSchema::try_from(Arc::clone(&schema)).unwrap();
            let physical = context.create_physical_expr(expr.clone(), &known).unwrap();
            assert_eq!(keep(&predicate(physical, &schema).unwrap(), &schema, &bounds), expected, "{expr}");
        };
        let at = |ns| lit(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())));
        let time = || col(Column::from_name(TIME_COLUMN));
        check(time().gt(at(19)), [false, false, true, true]);
        check(time().lt(at(10)), [true, false, false, true]);
        check(col("at").eq(at(15)), [false, true, false, true]);
        check(col("n").eq(lit(25_i64)), [false, false, true, true]);
        check(col("r").gt(lit(2.6)), [false, false, false, true]);
        check(col("s").gt(lit("b10")), [false, false, true, true]);
    }

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
