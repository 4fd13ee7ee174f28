//! `+ - * / %`, and `bin`. Integers wrap, `1/0` is null, `%` is Euclidean; times saturate.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, Operator, binary_expr};
use strongroom_model::ColumnType;

use super::args::Call;
use super::convert::convert;
use super::spec::{Gives, Make, ScalarSpec, Want};
use super::text_of::{DAY, EPOCH_DAYS};
use crate::functions::{CallContext, Misfit, Typed};

const fn kernel(name: &'static str, kernel: super::spec::Kernel) -> ScalarSpec {
    ScalarSpec {
        name,
        aliases: &[],
        takes: &[Want::Any, Want::Any],
        least: 2,
        more: None,
        gives: Gives::By(|kinds| result(kinds[0], kinds[1])),
        make: Make::Kernel(kernel),
    }
}

const fn operator(name: &'static str, make: super::spec::Macro) -> ScalarSpec {
    ScalarSpec { name, aliases: &[], takes: &[Want::Any, Want::Any], least: 2, more: None, gives: Gives::Same(0), make: Make::Macro(make) }
}

/// What computes the operators once the types are settled.
pub(super) static KERNELS: [ScalarSpec; 6] = [
    kernel("add", add),
    kernel("subtract", subtract),
    kernel("multiply", multiply),
    kernel("divide", divide),
    kernel("modulo", modulo),
    ScalarSpec {
        name: "bin",
        aliases: &["floor"],
        takes: &[Want::Any, Want::Any],
        least: 2,
        more: None,
        gives: Gives::By(|kinds| if kinds[0] == ColumnType::Long && kinds[1] == ColumnType::Real { ColumnType::Real } else { kinds[0] }),
        make: Make::Kernel(bin),
    },
];

/// The operators as written.
pub(super) static OPERATORS: [ScalarSpec; 5] = [
    operator("+", |args, _| arithmetic(args, 0, Some(Operator::Plus))),
    operator("-", |args, _| arithmetic(args, 1, Some(Operator::Minus))),
    operator("*", |args, _| arithmetic(args, 2, Some(Operator::Multiply))),
    operator("/", |args, _| arithmetic(args, 3, None)),
    operator("%", |args, _| arithmetic(args, 4, None)),
];

pub(super) static SPECS: [ScalarSpec; 2] = [
    ScalarSpec {
        name: "bin",
        aliases: &["floor"],
        takes: &[Want::Any, Want::Any],
        least: 2,
        more: None,
        gives: Gives::Same(0),
        make: Make::Macro(bind_bin),
    },
    ScalarSpec {
        name: "bin_at",
        aliases: &[],
        takes: &[Want::Any, Want::Any, Want::Any],
        least: 3,
        more: None,
        gives: Gives::Same(0),
        make: Make::Macro(bin_at),
    },
];

/// The type of an operation's result, operands settled: times before reals before longs.
fn result(left: ColumnType, right: ColumnType) -> ColumnType {
    use ColumnType as C;
    match (left, right) {
        (C::DateTime, C::DateTime) => C::TimeSpan,
        (C::DateTime, _) | (_, C::DateTime) => C::DateTime,
        (C::TimeSpan, _) | (_, C::TimeSpan) => C::TimeSpan,
        (C::Real, _) | (_, C::Real) => C::Real,
        _ => C::Long,
    }
}

/// Settles the operands' types and picks what computes: DataFusion's own operator where that means the same.
fn arithmetic(args: Vec<Typed>, kernel: usize, native: Option<Operator>) -> Result<Typed, Misfit> {
    use ColumnType as C;
    let spec = &KERNELS[kernel];
    let [left, right] = <[Typed; 2]>::try_from(args).map_err(|_| Misfit::call("an operator takes two operands"))?;
    for (index, side) in [&left, &right].into_iter().enumerate() {
        if matches!(side.kind, C::String | C::Guid | C::Bool) {
            let hint = if kernel == 0 { "; to join texts use strcat(..)" } else { "" };
            return Err(Misfit::argument(index, format!("cannot {} a {}{hint}", spec.name, side.kind.as_str())));
        }
    }
    let settle = |side: Typed, other: ColumnType| match (side.kind, other) {
        (C::Int, _) => convert(side, C::Long),
        (C::Dynamic, C::DateTime | C::TimeSpan) if kernel <= 1 => convert(side, C::TimeSpan),
        (C::Dynamic | C::Decimal, _) => convert(side, C::Real),
        _ => side,
    };
    let decimal = matches!(left.kind, C::Decimal) && right.kind != C::Real || matches!(right.kind, C::Decimal) && left.kind != C::Real;
    let (left_kind, right_kind) = (left.kind, right.kind);
    let (mut left, mut right) = (settle(left, right_kind), settle(right, left_kind));
    let fits = match (left.kind, right.kind) {
        (C::Long | C::Real, C::Long | C::Real) => true,
        (C::DateTime, C::DateTime) => kernel == 1,
        (C::DateTime, C::TimeSpan) => kernel <= 1,
        (C::TimeSpan, C::DateTime) => kernel == 0,
        (C::TimeSpan, C::TimeSpan) => kernel != 2,
        (C::TimeSpan, C::Long | C::Real) => kernel == 2 || kernel == 3,
        (C::Long | C::Real, C::TimeSpan) => kernel == 2,
        _ => false,
    };
    if !fits {
        let message = format!("cannot {} a {} and a {}", spec.name, left_kind.as_str(), right_kind.as_str());
        return Err(Misfit::call(message));
    }
    if matches!((left.kind, right.kind), (C::Long, C::Real) | (C::Real, C::Long)) {
        (left, right) = (convert(left, C::Real), convert(right, C::Real));
    }
    let kind = if kernel == 3 && left.kind == C::TimeSpan && right.kind == C::TimeSpan { C::Real } else { result(left.kind, right.kind) };
    let constant = matches!((&left.expr, &right.expr), (Expr::Literal(..), Expr::Literal(..)));
    let value = match native.or((kernel == 3 && kind == C::Real && left.kind == C::Real).then_some(Operator::Divide)) {
        Some(op) if !constant && left.kind == right.kind && matches!(kind, C::Long | C::Real) => {
            Typed::new(binary_expr(left.expr, op, right.expr), kind)
        }
        _ => spec.call_giving(vec![left, right], kind),
    };
    Ok(if decimal { convert(value, C::Decimal) } else { value })
}

/// Numbers by their wide bits or as reals, as the operands are.
fn compute(call: &Call<'_>, wide: impl Fn(i64, i64) -> Option<i64>, real: impl Fn(f64, f64) -> Option<f64>) -> Result<ArrayRef> {
    if call.kinds[0] == ColumnType::Real && call.kinds[1] == ColumnType::Real {
        let (left, right) = (call.real(0)?, call.real(1)?);
        return Ok(call.reals(|row| real(left.get(row)?, right.get(row)?)));
    }
    let (left, right) = (call.wide_argument(0)?, call.wide_argument(1)?);
    Ok(call.wide(|row| wide(left.get(row)?, right.get(row)?)))
}

/// Longs wrap, times saturate.
fn kind_of(call: &Call<'_>, wrapping: fn(i64, i64) -> i64, saturating: fn(i64, i64) -> i64) -> impl Fn(i64, i64) -> Option<i64> {
    let chosen = if call.result == ColumnType::Long { wrapping } else { saturating };
    move |a, b| Some(chosen(a, b))
}

fn add(call: &Call<'_>) -> Result<ArrayRef> {
    compute(call, kind_of(call, i64::wrapping_add, i64::saturating_add), |a, b| Some(a + b))
}

fn subtract(call: &Call<'_>) -> Result<ArrayRef> {
    compute(call, kind_of(call, i64::wrapping_sub, i64::saturating_sub), |a, b| Some(a - b))
}

fn multiply(call: &Call<'_>) -> Result<ArrayRef> {
    let (left, right) = (call.kinds[0], call.kinds[1]);
    if call.result == ColumnType::TimeSpan && (left == ColumnType::Real || right == ColumnType::Real) {
        let (span, factor) = if left == ColumnType::TimeSpan { (0, 1) } else { (1, 0) };
        let (span, factor) = (call.wide_argument(span)?, call.real(factor)?);
        return Ok(call.wide(|row| scaled(span.get(row)?, factor.get(row)?)));
    }
    compute(call, kind_of(call, i64::wrapping_mul, i64::saturating_mul), |a, b| Some(a * b))
}

/// A timespan times a real, to the tick; null beyond what a timespan holds.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "checked against the range first; a real has 53 bits")]
fn scaled(ns: i64, factor: f64) -> Option<i64> {
    let value = (ns as f64 / 100.0 * factor).round() * 100.0;
    (value.abs() < 9.2e18).then_some(value as i64)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of times is a real")]
fn divide(call: &Call<'_>) -> Result<ArrayRef> {
    match (call.kinds[0], call.kinds[1]) {
        (ColumnType::TimeSpan, ColumnType::TimeSpan) => {
            let (left, right) = (call.wide_argument(0)?, call.wide_argument(1)?);
            Ok(call.reals(|row| Some(left.get(row)? as f64 / right.get(row)? as f64)))
        }
        (ColumnType::TimeSpan, ColumnType::Real) => {
            let (span, divisor) = (call.wide_argument(0)?, call.real(1)?);
            Ok(call.wide(|row| scaled(span.get(row)?, 1.0 / divisor.get(row)?)))
        }
        _ => compute(call, |a, b| if b == 0 { None } else { Some(a.wrapping_div(b)) }, |a, b| Some(a / b)),
    }
}

fn modulo(call: &Call<'_>) -> Result<ArrayRef> {
    compute(call, |a, b| if b == 0 { None } else { Some(a.wrapping_rem_euclid(b)) }, |a, b| Some(a.rem_euclid(b)))
}

fn bind_bin(args: Vec<Typed>, _: &CallContext) -> Result<Typed, Misfit> {
    use ColumnType as C;
    let [value, size] = <[Typed; 2]>::try_from(args).map_err(|_| Misfit::call("bin() takes a value and a size"))?;
    let settle = |side: Typed, other: ColumnType| match side.kind {
        C::Int => convert(side, C::Long),
        C::Decimal => convert(side, C::Real),
        C::Dynamic => {
            let kind = if other == C::TimeSpan { C::DateTime } else { C::Real };
            convert(side, kind)
        }
        _ => side,
    };
    let (value_kind, size_kind) = (value.kind, size.kind);
    let (value, mut size) = (settle(value, size_kind), settle(size, value_kind));
    let fits = match (value.kind, size.kind) {
        (C::Long | C::Real, C::Long | C::Real) | (C::DateTime | C::TimeSpan, C::TimeSpan) => true,
        // `bin(t, 1)`: numbers beside times are days.
        (C::DateTime | C::TimeSpan, C::Long | C::Real) => {
            let days = Typed::new(Expr::Literal(datafusion::common::ScalarValue::DurationNanosecond(Some(DAY)), None), C::TimeSpan);
            size = arithmetic(vec![size, days], 2, None)?;
            true
        }
        _ => false,
    };
    if !fits {
        return Err(Misfit::call(format!("bin() cannot sort a {} into bins of a {}", value_kind.as_str(), size_kind.as_str())));
    }
    let value = if value.kind == C::Long && size.kind == C::Real { convert(value, C::Real) } else { value };
    let size = if value.kind == C::Real { convert(size, C::Real) } else { size };
    let kind = value.kind;
    let binned = KERNELS[5].call_giving(vec![value, size], kind);
    Ok(if value_kind == C::Int && size_kind == C::Int { convert(binned, C::Int) } else { binned })
}

/// `bin_at(value, size, edge)` = `bin(value - edge, size) + edge`.
fn bin_at(args: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
    let [value, size, edge] = <[Typed; 3]>::try_from(args).map_err(|_| Misfit::call("bin_at() takes a value, a size and an edge"))?;
    let from_edge = arithmetic(vec![value, edge.clone()], 1, Some(Operator::Minus))?;
    let binned = bind_bin(vec![from_edge, size], context)?;
    arithmetic(vec![binned, edge], 0, Some(Operator::Plus))
}

fn bin(call: &Call<'_>) -> Result<ArrayRef> {
    if call.kinds[0] == ColumnType::Real {
        let (value, size) = (call.real(0)?, call.real(1)?);
        return Ok(call.reals(|row| {
            let (value, size) = (value.get(row)?, size.get(row)?);
            (size > 0.0).then(|| (value / size).floor() * size)
        }));
    }
    // Bins of datetimes begin at 0001-01-01, which is so many nanoseconds before 1970 (modulo any size).
    let datetime = call.result == ColumnType::DateTime;
    let (value, size) = (call.wide_argument(0)?, call.wide_argument(1)?);
    let offset = |size: i64| {
        if datetime { i64::try_from((i128::from(EPOCH_DAYS) * i128::from(DAY)).rem_euclid(i128::from(size))).unwrap_or(0) } else { 0 }
    };
    let constant = size.constant().filter(|size| *size > 0).map(|size| (size, offset(size)));
    Ok(call.wide(|row| {
        let (size, offset) = if let Some(known) = constant {
            known
        } else {
            let size = size.get(row).filter(|size| *size > 0)?;
            (size, offset(size))
        };
        let value = value.get(row)?;
        // The remainder of (value + offset) by size, without overflowing.
        let remainder = (value.rem_euclid(size).wrapping_add(offset)).rem_euclid(size);
        Some(value.saturating_sub(remainder))
    }))
}
