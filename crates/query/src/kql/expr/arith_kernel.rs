//! Arithmetic that DataFusion lacks or that fails there: division by zero, Euclidean remainder, times, decimals.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::kernels::arity::binary;
use arrow::datatypes::{ArrowPrimitiveType, Decimal128Type, DurationNanosecondType, Float64Type, Int64Type, TimestampNanosecondType, i256};
use arrow_schema::{DataType, TimeUnit};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The five operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// `left op right` as a call; both sides in types the kernels below know.
pub(super) fn call(op: Arithmetic, left: Expr, right: Expr) -> Expr {
    let function = Function { op, signature: Signature::any(2, Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(function)), vec![left, right]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    op: Arithmetic,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &'static str {
        match self.op {
            Arithmetic::Add => "kql_add",
            Arithmetic::Subtract => "kql_subtract",
            Arithmetic::Multiply => "kql_multiply",
            Arithmetic::Divide => "kql_divide",
            Arithmetic::Modulo => "kql_modulo",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        use DataType::{Decimal128, Duration, Float64, Int64, Timestamp};
        let [left, right] = types else { return exec_err!("{} takes two arguments", self.name()) };
        let time = || Duration(TimeUnit::Nanosecond);
        Ok(match (self.op, left, right) {
            (_, Int64, Int64) => Int64,
            (_, Float64, Float64) | (Arithmetic::Divide, Duration(_), Duration(_)) => Float64,
            (_, Decimal128(..), Decimal128(..)) => Decimal128(34, 17),
            (Arithmetic::Add | Arithmetic::Subtract, Timestamp(..), Duration(_)) => left.clone(),
            (Arithmetic::Add, Duration(_), Timestamp(..)) => right.clone(),
            (Arithmetic::Subtract, Timestamp(..), Timestamp(..))
            | (Arithmetic::Modulo, Timestamp(..), Duration(_))
            | (Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Modulo, Duration(_), Duration(_))
            | (Arithmetic::Multiply | Arithmetic::Divide, Duration(_), Int64 | Float64)
            | (Arithmetic::Multiply, Int64 | Float64, Duration(_)) => time(),
            _ => return exec_err!("{} does not take {left} and {right}", self.name()),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [left, right] = arrays.as_slice() else { return exec_err!("{} takes two arguments", self.name()) };
        let result = compute(self.op, left, right, args.return_field.data_type())?;
        if constant {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

fn compute(op: Arithmetic, left: &ArrayRef, right: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    use DataType::{Decimal128, Duration, Float64, Int64, Timestamp};
    Ok(match (left.data_type(), right.data_type()) {
        (Int64, Int64) => maybe::<Int64Type, Int64Type, Int64Type>(left, right, to, |a, b| long(op, a, b)),
        (Float64, Float64) => plain::<Float64Type, Float64Type, Float64Type>(left, right, to, |a, b| real(op, a, b))?,
        (Decimal128(..), Decimal128(..)) => {
            maybe::<Decimal128Type, Decimal128Type, Decimal128Type>(left, right, to, |a, b| decimal(op, a, b))
        }
        (Timestamp(..), Duration(_)) if op == Arithmetic::Modulo => {
            maybe::<TimestampNanosecondType, DurationNanosecondType, DurationNanosecondType>(left, right, to, |a, b| {
                remainder_of_instant(a, b)
            })
        }
        (Timestamp(..), Duration(_)) => {
            plain::<TimestampNanosecondType, DurationNanosecondType, TimestampNanosecondType>(left, right, to, |a, b| shifted(op, a, b))?
        }
        (Duration(_), Timestamp(..)) => {
            plain::<DurationNanosecondType, TimestampNanosecondType, TimestampNanosecondType>(left, right, to, i64::saturating_add)?
        }
        (Timestamp(..), Timestamp(..)) => {
            plain::<TimestampNanosecondType, TimestampNanosecondType, DurationNanosecondType>(left, right, to, i64::saturating_sub)?
        }
        (Duration(_), Duration(_)) if op == Arithmetic::Divide => {
            plain::<DurationNanosecondType, DurationNanosecondType, Float64Type>(left, right, to, ratio)?
        }
        (Duration(_), Duration(_)) if op == Arithmetic::Modulo => {
            maybe::<DurationNanosecondType, DurationNanosecondType, DurationNanosecondType>(left, right, to, |a, b| long(op, a, b))
        }
        (Duration(_), Duration(_)) => {
            plain::<DurationNanosecondType, DurationNanosecondType, DurationNanosecondType>(left, right, to, |a, b| shifted(op, a, b))?
        }
        (Duration(_), Int64) => {
            maybe::<DurationNanosecondType, Int64Type, DurationNanosecondType>(left, right, to, |a, b| scaled(op, a, b))
        }
        (Int64, Duration(_)) => {
            maybe::<Int64Type, DurationNanosecondType, DurationNanosecondType>(left, right, to, |a, b| scaled(op, b, a))
        }
        (Duration(_), Float64) => {
            maybe::<DurationNanosecondType, Float64Type, DurationNanosecondType>(left, right, to, |a, b| stretched(op, a, b))
        }
        (Float64, Duration(_)) => {
            maybe::<Float64Type, DurationNanosecondType, DurationNanosecondType>(left, right, to, |a, b| stretched(op, b, a))
        }
        (left, right) => return exec_err!("no arithmetic on {left} and {right}"),
    })
}

/// Null where either side is.
fn plain<A, B, C>(left: &ArrayRef, right: &ArrayRef, to: &DataType, f: impl Fn(A::Native, B::Native) -> C::Native) -> Result<ArrayRef>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    C: ArrowPrimitiveType,
{
    let result: PrimitiveArray<C> = binary(left.as_primitive::<A>(), right.as_primitive::<B>(), f)?;
    Ok(Arc::new(result.with_data_type(to.clone())))
}

/// Null where either side is, and where `f` says so.
fn maybe<A, B, C>(left: &ArrayRef, right: &ArrayRef, to: &DataType, f: impl Fn(A::Native, B::Native) -> Option<C::Native>) -> ArrayRef
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    C: ArrowPrimitiveType,
{
    let pairs = left.as_primitive::<A>().iter().zip(right.as_primitive::<B>());
    let result: PrimitiveArray<C> = pairs.map(|(a, b)| f(a?, b?)).collect();
    Arc::new(result.with_data_type(to.clone()))
}

const fn long(op: Arithmetic, a: i64, b: i64) -> Option<i64> {
    match op {
        Arithmetic::Add => Some(a.wrapping_add(b)),
        Arithmetic::Subtract => Some(a.wrapping_sub(b)),
        Arithmetic::Multiply => Some(a.wrapping_mul(b)),
        Arithmetic::Divide | Arithmetic::Modulo if b == 0 => None,
        Arithmetic::Divide => Some(a.wrapping_div(b)),
        Arithmetic::Modulo => Some(a.wrapping_rem_euclid(b)),
    }
}

fn real(op: Arithmetic, a: f64, b: f64) -> f64 {
    match op {
        Arithmetic::Add => a + b,
        Arithmetic::Subtract => a - b,
        Arithmetic::Multiply => a * b,
        Arithmetic::Divide => a / b,
        Arithmetic::Modulo => a.rem_euclid(b),
    }
}

/// Fixed point with 17 places; null on overflow and for a division by zero.
fn decimal(op: Arithmetic, a: i128, b: i128) -> Option<i128> {
    const ONE: i128 = 100_000_000_000_000_000;
    match op {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Multiply => i256::from_i128(a).checked_mul(i256::from_i128(b))?.checked_div(i256::from_i128(ONE))?.to_i128(),
        Arithmetic::Divide => i256::from_i128(a).checked_mul(i256::from_i128(ONE))?.checked_div(i256::from_i128(b))?.to_i128(),
        Arithmetic::Modulo => a.checked_rem_euclid(b),
    }
}

const fn shifted(op: Arithmetic, at: i64, by: i64) -> i64 {
    match op {
        Arithmetic::Subtract => at.saturating_sub(by),
        _ => at.saturating_add(by),
    }
}

/// Remainder counted from 0001-01-01, where KQL's time begins.
fn remainder_of_instant(at: i64, by: i64) -> Option<i64> {
    const ORIGIN_NS: i128 = -62_135_596_800_000_000_000;
    let since = i128::from(at) - ORIGIN_NS;
    i64::try_from(since.checked_rem_euclid(i128::from(by))?).ok()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of times is a real")]
fn ratio(a: i64, b: i64) -> f64 {
    a as f64 / b as f64
}

/// A timespan times or divided by a whole number; in ticks, as KQL counts.
fn scaled(op: Arithmetic, span: i64, by: i64) -> Option<i64> {
    match op {
        Arithmetic::Multiply => Some(span.saturating_mul(by)),
        _ => Some((span / super::literal::NS_PER_TICK).checked_div(by)?.saturating_mul(super::literal::NS_PER_TICK)),
    }
}

/// The same with a real. A factor of NaN gives null; too long saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "saturates; times beyond 2^53 ns are inexact in a real")]
fn stretched(op: Arithmetic, span: i64, by: f64) -> Option<i64> {
    let ticks = (span / super::literal::NS_PER_TICK) as f64;
    let result = if op == Arithmetic::Multiply { ticks * by } else { ticks / by };
    (!result.is_nan()).then(|| (result as i64).saturating_mul(super::literal::NS_PER_TICK))
}
