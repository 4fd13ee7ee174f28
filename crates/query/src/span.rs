//! The time range that filters leave, read off plain comparisons of `TimeGenerated` with literals.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};
use strongroom_model::{TIME_COLUMN, TimeRange};

/// A range that holds every row the filters let through; `None` if they say nothing of time. An empty range is `end < start`.
pub(crate) fn of_filters(filters: &[Expr], timespan: Option<TimeRange>) -> Option<TimeRange> {
    let mut span = timespan.unwrap_or(TimeRange::ALL);
    for part in filters.iter().flat_map(split_conjunction) {
        match part {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                if let (true, Some(at)) = (is_time(left), instant(right)) {
                    narrow(&mut span, *op, at);
                } else if let (Some(at), true, Some(op)) = (instant(left), is_time(right), op.swap()) {
                    narrow(&mut span, op, at);
                }
            }
            Expr::Between(Between { expr, negated: false, low, high }) if is_time(expr) => {
                if let (Some(low), Some(high)) = (instant(low), instant(high)) {
                    narrow(&mut span, Operator::GtEq, low);
                    narrow(&mut span, Operator::LtEq, high);
                }
            }
            _ => {}
        }
    }
    (span != TimeRange::ALL).then_some(span)
}

fn narrow(span: &mut TimeRange, op: Operator, at: i64) {
    match op {
        Operator::Gt => span.start = span.start.max(at.saturating_add(1)),
        Operator::GtEq => span.start = span.start.max(at),
        Operator::Lt => span.end = span.end.min(at.saturating_sub(1)),
        Operator::LtEq => span.end = span.end.min(at),
        Operator::Eq => *span = TimeRange { start: span.start.max(at), end: span.end.min(at) },
        _ => {}
    }
}

fn is_time(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(column) if column.name == TIME_COLUMN)
}

fn instant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), _), _) => Some(*ns),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::logical_expr::{col, lit};

    #[test]
    fn comparisons_with_literals_narrow_the_range_from_either_side() {
        let at = |ns| lit(ScalarValue::TimestampNanosecond(Some(ns), Some("UTC".into())));
        let time = || col(datafusion::common::Column::from_name(TIME_COLUMN));
        let filters = [time().gt(at(10)).and(at(20).gt_eq(time())), col("x").eq(lit(1))];
        assert_eq!(of_filters(&filters, None), Some(TimeRange { start: 11, end: 20 }));
        assert_eq!(of_filters(&filters, Some(TimeRange { start: 15, end: 99 })), Some(TimeRange { start: 15, end: 20 }));
        assert_eq!(of_filters(&[col("x").eq(lit(1))], None), None);
    }
}
