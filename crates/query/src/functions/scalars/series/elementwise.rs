//! One result for each place: of one series, or of two (or a series and a number).

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::{Call, Series, each, operands, write_number};

/// Reals out of numbers.
fn mapped(call: &Call<'_>, function: fn(f64) -> f64) -> Result<ArrayRef> {
    each(call, |series| Some(Series::reals(series.values.into_iter().map(|value| value.map(function)).collect())))
}

/// Whole numbers stay whole.
fn mapped_alike(call: &Call<'_>, function: fn(f64) -> f64) -> Result<ArrayRef> {
    each(call, |series| Some(Series { whole: series.whole, values: series.values.into_iter().map(|value| value.map(function)).collect() }))
}

macro_rules! functions {
    ($shape:ident: $($name:ident: $function:expr;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> Result<ArrayRef> {
            $shape(call, $function)
        })*
    };
}

functions! { mapped:
    acos: f64::acos;
    asin: f64::asin;
    atan: f64::atan;
    ceiling: f64::ceil;
    cos: f64::cos;
    exp: f64::exp;
    floor: f64::floor;
    log: f64::ln;
    sin: f64::sin;
    sqrt: f64::sqrt;
    tan: f64::tan;
}

functions! { mapped_alike:
    abs: f64::abs;
    sign: |value| if value > 0.0 { 1.0 } else if value < 0.0 { -1.0 } else { 0.0 };
}

/// Null where one of the two is missing. `whole`: of whole numbers a whole number.
fn both(call: &Call<'_>, whole: bool, function: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    Ok(call.dynamics(|row, out| {
        let Some((left, right, len)) = operands(&values, row) else { return false };
        let whole = whole && left.whole() && right.whole();
        out.push('[');
        for at in 0..len {
            if at > 0 {
                out.push(',');
            }
            match (left.at(at), right.at(at)) {
                (Some(a), Some(b)) => write_number(function(a, b), whole, out),
                _ => out.push_str("null"),
            }
        }
        out.push(']');
        true
    }))
}

fn sums(call: &Call<'_>, function: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    both(call, true, function)
}

fn quotients(call: &Call<'_>, function: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    both(call, false, function)
}

functions! { sums:
    add: |a, b| a + b;
    subtract: |a, b| a - b;
    multiply: |a, b| a * b;
}

functions! { quotients:
    divide: |a, b| a / b;
    pow: f64::powf;
}

fn compared(call: &Call<'_>, holds: fn(&f64, &f64) -> bool) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    Ok(call.dynamics(|row, out| {
        let Some((left, right, len)) = operands(&values, row) else { return false };
        out.push('[');
        for at in 0..len {
            if at > 0 {
                out.push(',');
            }
            out.push_str(match (left.at(at), right.at(at)) {
                (Some(a), Some(b)) if holds(&a, &b) => "true",
                (Some(_), Some(_)) => "false",
                _ => "null",
            });
        }
        out.push(']');
        true
    }))
}

functions! { compared:
    equals: f64::eq;
    not_equals: f64::ne;
    less: f64::lt;
    less_equals: f64::le;
    greater: f64::gt;
    greater_equals: f64::ge;
}
