//! From one type to another, and to a type in common.

use arrow_schema::DataType;
use datafusion::logical_expr::{Cast, Expr};
use strongroom_kql::Span;
use strongroom_model::ColumnType;

use crate::kql::bound::Bound;
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

/// int, long, real or decimal.
pub(in crate::kql) const fn is_number(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Int | ColumnType::Long | ColumnType::Real | ColumnType::Decimal)
}

/// The wider of two number types: int < long < real < decimal.
pub(in crate::kql) fn common_number(a: ColumnType, b: ColumnType) -> ColumnType {
    let rank = |kind| match kind {
        ColumnType::Int => 0,
        ColumnType::Long => 1,
        ColumnType::Real => 2,
        _ => 3,
    };
    if rank(a) >= rank(b) { a } else { b }
}

/// Converts as `toint(..)`, `tostring(..)` and so on do: never fails, misfits are null (`""` for a string).
pub(in crate::kql) fn convert(value: Bound, to: ColumnType) -> Bound {
    let Bound { kind, span, .. } = value;
    if kind == to {
        return value;
    }
    if value.literal().is_some_and(datafusion::common::ScalarValue::is_null) {
        return Bound::null(to, span);
    }
    let expr = match (kind, to) {
        (ColumnType::Int, ColumnType::Long) => cast(value.expr, DataType::Int64),
        (ColumnType::Int | ColumnType::Long, ColumnType::Real) => cast(value.expr, DataType::Float64),
        _ => registry::convert(value.expr, kind, to),
    };
    Bound::new(expr, to, span)
}

fn cast(expr: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to))
}

/// One type for all branches of `iff`, `case`, `coalesce`.
pub(in crate::kql) fn unify(values: Vec<Bound>, span: Span) -> Outcome<(Vec<Bound>, ColumnType)> {
    let mut kind: Option<ColumnType> = None;
    for value in &values {
        kind = Some(match (kind, value.kind) {
            (None, next) => next,
            (Some(a), b) if a == b => a,
            (Some(a), b) if is_number(a) && is_number(b) => common_number(a, b),
            (Some(ColumnType::Dynamic), _) | (_, ColumnType::Dynamic) => ColumnType::Dynamic,
            (Some(a), b) => {
                return Err(Problem::mismatch(
                    value.span,
                    format!("all branches must be of one type, here are {} and {}", a.as_str(), b.as_str()),
                )
                .hint("convert one of them, e.g. with `tostring(..)`"));
            }
        });
    }
    let Some(kind) = kind else { return Err(Problem::new(span, "WrongArity", "at least one value is needed")) };
    Ok((values.into_iter().map(|value| convert(value, kind)).collect(), kind))
}
