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
    if negated {
        return Ok(Expr::Not(Box::new(found)));
    }
    Ok(match beginning(positive, &left, &right) {
        Some(range) => binary_expr(found, Operator::And, range),
        None => found,
    })
}

/// Between which texts a column's must lie for it to begin with a constant: what statistics can rule blocks out by.
fn beginning(op: BinaryOp, column: &Bound, constant: &Bound) -> Option<Expr> {
    if !matches!(column.expr, Expr::Column(_)) {
        return None;
    }
    let start = constant.literal_text()?;
    let ranges = match op {
        BinaryOp::StartsWithCs => vec![(start.to_owned(), start.to_owned())],
        BinaryOp::StartsWith | BinaryOp::EqualIgnoreCase => {
            // Capitals sort before small letters. `k` and `s` have a third form far beyond both, other letters who knows.
            let end = start.find(|c: char| !c.is_ascii() || matches!(c.to_ascii_lowercase(), 'k' | 's')).unwrap_or(start.len());
            let first = start[..end].chars().next()?;
            let rest = &start[1..end];
            let mut forms = vec![first.to_ascii_uppercase(), first.to_ascii_lowercase()];
            forms.dedup();
            forms
                .iter()
                .map(|first| (format!("{first}{}", rest.to_ascii_uppercase()), format!("{first}{}", rest.to_ascii_lowercase())))
                .collect()
        }
        _ => return None,
    };
    let within = |(lowest, highest): (String, String)| {
        let from = binary_expr(column.expr.clone(), Operator::GtEq, text(lowest));
        match beyond(&highest) {
            Some(end) => binary_expr(from, Operator::And, binary_expr(column.expr.clone(), Operator::Lt, text(end))),
            None => from,
        }
    };
    if start.is_empty() { None } else { ranges.into_iter().map(within).reduce(Expr::or) }
}

/// The first text behind all that begin with this one.
fn beyond(start: &str) -> Option<String> {
    let last = start.chars().next_back()?;
    let next = ((last as u32 + 1)..=u32::from(char::MAX)).find_map(char::from_u32)?;
    Some(format!("{}{next}", &start[..start.len() - last.len_utf8()]))
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
