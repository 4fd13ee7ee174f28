//! `+ - * / %`: which types go together and what comes out.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::BinaryOp;
use strongroom_model::ColumnType;

use super::arith_kernel::{Arithmetic, call};
use super::coerce::{common_number, convert, is_number};
use super::literal::timespan_ns;
use crate::kql::bound::Bound;
use crate::kql::problem::{Outcome, Problem};

use ColumnType::{DateTime, Decimal, Dynamic, Int, Long, Real, TimeSpan};

/// `left op right`. Integers wrap, `/` of integers truncates, `%` is Euclidean, times saturate; nothing fails.
pub(super) fn arithmetic(op: BinaryOp, op_span: Span, left: Bound, right: Bound) -> Outcome<Bound> {
    let (left, right) = undynamic(op, op_span, left, right)?;
    let kind = match (op, left.kind, right.kind) {
        (_, a, b) if is_number(a) && is_number(b) => match common_number(a, b) {
            Int => Long,
            wider => wider,
        },
        (BinaryOp::Add | BinaryOp::Subtract, DateTime, TimeSpan) | (BinaryOp::Add, TimeSpan, DateTime) => DateTime,
        (BinaryOp::Subtract, DateTime, DateTime)
        | (BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Modulo, TimeSpan, TimeSpan)
        | (BinaryOp::Modulo, DateTime, TimeSpan) => TimeSpan,
        (BinaryOp::Divide, TimeSpan, TimeSpan) => Real,
        (BinaryOp::Multiply | BinaryOp::Divide, TimeSpan, number) | (BinaryOp::Multiply, number, TimeSpan) if is_number(number) => TimeSpan,
        (_, a, b) => return Err(misfit(op, op_span, a, b)),
    };
    if is_number(kind) && left.kind != TimeSpan {
        let (left, right) = (convert(left, kind), convert(right, kind));
        return Ok(Bound::new(numbers(op, left.expr, &right), kind, op_span));
    }
    // Times: a factor is a long or a real.
    let factor = |value: Bound| match value.kind {
        Int => convert(value, Long),
        Decimal => convert(value, Real),
        _ => value,
    };
    Ok(Bound::new(call(operation(op), factor(left).expr, factor(right).expr), kind, op_span))
}

fn numbers(op: BinaryOp, left: Expr, right: &Bound) -> Expr {
    let native = match (op, right.kind) {
        (BinaryOp::Add, Long | Real) => Operator::Plus,
        (BinaryOp::Subtract, Long | Real) => Operator::Minus,
        (BinaryOp::Multiply, Long | Real) => Operator::Multiply,
        (BinaryOp::Divide, Real) => Operator::Divide,
        // Arrow's own division fails for 0 and for the one overflow there is.
        (BinaryOp::Divide, Long) if matches!(right.literal(), Some(ScalarValue::Int64(Some(by))) if !matches!(by, 0 | -1)) => {
            Operator::Divide
        }
        _ => return call(operation(op), left, right.expr.clone()),
    };
    binary_expr(left, native, right.expr.clone())
}

const fn operation(op: BinaryOp) -> Arithmetic {
    match op {
        BinaryOp::Add => Arithmetic::Add,
        BinaryOp::Subtract => Arithmetic::Subtract,
        BinaryOp::Multiply => Arithmetic::Multiply,
        BinaryOp::Divide => Arithmetic::Divide,
        _ => Arithmetic::Modulo,
    }
}

/// A dynamic beside something typed is cast to that type.
fn undynamic(op: BinaryOp, op_span: Span, left: Bound, right: Bound) -> Outcome<(Bound, Bound)> {
    Ok(match (left.kind, right.kind) {
        (Dynamic, Dynamic) => return Err(misfit(op, op_span, Dynamic, Dynamic)),
        (Dynamic, Int) => (convert(left, Long), right),
        (Int, Dynamic) => (left, convert(right, Long)),
        (Dynamic, to) if is_number(to) || to == TimeSpan => (convert(left, to), right),
        (to, Dynamic) if is_number(to) || to == TimeSpan => (left, convert(right, to)),
        (DateTime, Dynamic) => (left, convert(right, DateTime)),
        (Dynamic, DateTime) => (convert(left, DateTime), right),
        _ => (left, right),
    })
}

fn misfit(op: BinaryOp, op_span: Span, a: ColumnType, b: ColumnType) -> Problem {
    let problem = Problem::mismatch(op_span, format!("`{}` does not work on {} and {}", op.as_str(), a.as_str(), b.as_str()));
    match (op, a, b) {
        (BinaryOp::Add, ColumnType::String, _) | (BinaryOp::Add, _, ColumnType::String) => problem.hint("`strcat(..)` joins strings"),
        (_, Dynamic, _) | (_, _, Dynamic) => problem.hint("cast it first, e.g. `tolong(..)` or `todouble(..)`"),
        (_, ColumnType::String, _) | (_, _, ColumnType::String) => {
            problem.hint("convert the string, e.g. with `tolong(..)` or `todouble(..)`")
        }
        (BinaryOp::Add | BinaryOp::Subtract, DateTime, other) if is_number(other) => {
            problem.hint("add a timespan such as `1h` or `5 * 1s`")
        }
        _ => problem,
    }
}

/// `-x`
pub(super) fn negate(operand: Bound) -> Outcome<Bound> {
    let span = operand.span;
    Ok(match operand.kind {
        Int => Bound::new(binary_expr(lit(0_i32), Operator::Minus, operand.expr), Int, span),
        Long => Bound::new(binary_expr(lit(0_i64), Operator::Minus, operand.expr), Long, span),
        Real => Bound::new(Expr::Negative(Box::new(operand.expr)), Real, span),
        Decimal => {
            Bound::new(call(Arithmetic::Subtract, convert(Bound::new(lit(0_i64), Long, span), Decimal).expr, operand.expr), Decimal, span)
        }
        TimeSpan => Bound::new(call(Arithmetic::Subtract, Expr::Literal(timespan_ns(0), None), operand.expr), TimeSpan, span),
        Dynamic => return negate(convert(operand, Real)),
        kind => return Err(Problem::mismatch(span, format!("`-` does not work on a {}", kind.as_str()))),
    })
}

/// `+x`
pub(super) fn plus(operand: Bound) -> Outcome<Bound> {
    match operand.kind {
        kind if is_number(kind) || kind == TimeSpan => Ok(operand),
        Dynamic => Ok(convert(operand, Real)),
        kind => Err(Problem::mismatch(operand.span, format!("`+` does not work on a {}", kind.as_str()))),
    }
}
