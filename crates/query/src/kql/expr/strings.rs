//! String operators and emptiness.

use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::BinaryOp;
use strongroom_model::ColumnType;

use super::coerce::convert;
use crate::kql::bound::{Bound, text};
use crate::kql::problem::Outcome;
use crate::kql::registry;

/// `has`, `contains`, `startswith`, `=~`, `matches regex`, … and their negations. Anything may stand on either side: as text.
pub(super) fn string_operator(op: BinaryOp, op_span: Span, left: Bound, right: Bound, now: i64) -> Outcome<Expr> {
    let (positive, negated) = match op.negates() {
        Some(positive) => (positive, true),
        None => (op, false),
    };
    let positive = if positive == BinaryOp::Colon { BinaryOp::Has } else { positive };
    let left = convert(left, ColumnType::String);
    let mut right = convert(right, ColumnType::String);
    right.expr = super::folded(right.expr);
    let found = registry::string_operator(positive, op_span, &left, &right, now)?;
    Ok(if negated { Expr::Not(Box::new(found)) } else { found })
}

/// `isempty(x)`, exact: null counts as empty.
pub(super) fn is_empty(value: &Bound) -> Expr {
    match value.kind {
        ColumnType::String if value.literal().is_some() => lit(value.literal_text().is_none_or(str::is_empty)),
        ColumnType::String if value.sparse => {
            binary_expr(Expr::IsNull(Box::new(value.expr.clone())), Operator::Or, binary_expr(value.expr.clone(), Operator::Eq, text("")))
        }
        ColumnType::String => binary_expr(value.expr.clone(), Operator::Eq, text("")),
        ColumnType::Dynamic => binary_expr(convert(value.clone(), ColumnType::String).expr, Operator::Eq, text("")),
        _ => Expr::IsNull(Box::new(value.expr.clone())),
    }
}

/// `isnotempty(x)`, exact.
pub(super) fn is_not_empty(value: &Bound) -> Expr {
    match value.kind {
        ColumnType::String if value.literal().is_some() => lit(value.literal_text().is_some_and(|text| !text.is_empty())),
        ColumnType::String if value.sparse => binary_expr(
            Expr::IsNotNull(Box::new(value.expr.clone())),
            Operator::And,
            binary_expr(value.expr.clone(), Operator::NotEq, text("")),
        ),
        ColumnType::String => binary_expr(value.expr.clone(), Operator::NotEq, text("")),
        ColumnType::Dynamic => binary_expr(convert(value.clone(), ColumnType::String).expr, Operator::NotEq, text("")),
        _ => Expr::IsNotNull(Box::new(value.expr.clone())),
    }
}
