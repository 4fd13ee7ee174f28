//! Mathematics.

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use rand::Rng as _;
use strongroom_model::ColumnType;

use super::args::{Call, Values};

macro_rules! reals {
    ($($name:ident: $function:expr;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> Result<ArrayRef> {
            let values = call.real(0)?;
            let function: fn(f64) -> f64 = $function;
            Ok(call.reals(|row| values.get(row).map(function)))
        })*
    };
}

reals! {
    sqrt: f64::sqrt;
    exp: f64::exp;
    exp2: f64::exp2;
    exp10: |x| 10_f64.powf(x);
    log: f64::ln;
    log2: f64::log2;
    log10: f64::log10;
    sin: f64::sin;
    cos: f64::cos;
    tan: f64::tan;
    asin: f64::asin;
    acos: f64::acos;
    atan: f64::atan;
    cot: |x| 1.0 / x.tan();
    degrees: f64::to_degrees;
    radians: f64::to_radians;
}

pub(super) fn pow(call: &Call<'_>) -> Result<ArrayRef> {
    let (base, exponent) = (call.real(0)?, call.real(1)?);
    Ok(call.reals(|row| Some(base.get(row)?.powf(exponent.get(row)?))))
}

pub(super) fn atan2(call: &Call<'_>) -> Result<ArrayRef> {
    let (y, x) = (call.real(0)?, call.real(1)?);
    Ok(call.reals(|row| Some(y.get(row)?.atan2(x.get(row)?))))
}

#[expect(clippy::unnecessary_wraps, reason = "kernels have one shape")]
pub(super) fn pi(call: &Call<'_>) -> Result<ArrayRef> {
    Ok(call.reals(|_| Some(std::f64::consts::PI)))
}

/// Of a long or timespan one of that type.
pub(super) fn abs(call: &Call<'_>) -> Result<ArrayRef> {
    match call.kinds[0] {
        ColumnType::Long | ColumnType::TimeSpan => {
            let values = call.wide_argument(0)?;
            Ok(call.wide(|row| values.get(row).map(i64::wrapping_abs)))
        }
        _ => {
            let values = call.real(0)?;
            Ok(call.reals(|row| values.get(row).map(f64::abs)))
        }
    }
}

/// 1, -1, or 0 for zeros and NaN.
pub(super) fn sign(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.real(0)?;
    Ok(call.reals(|row| values.get(row).map(|v| f64::from(i8::from(v > 0.0) - i8::from(v < 0.0)))))
}

/// Of a real: a real; of a long: itself.
pub(super) fn ceiling(call: &Call<'_>) -> Result<ArrayRef> {
    if call.kinds[0] == ColumnType::Long {
        let values = call.long(0)?;
        return Ok(call.longs(|row| values.get(row)));
    }
    let values = call.real(0)?;
    Ok(call.reals(|row| values.get(row).map(f64::ceil)))
}

/// `round(value[, digits])`: halves go away from zero; negative digits round before the point.
pub(super) fn round(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.real(0)?;
    let digits = if call.has(1) { Some(call.long(1)?) } else { None };
    Ok(call.reals(|row| {
        let value = values.get(row)?;
        let digits = digits.as_ref().map_or(Some(0), |d| d.get(row))?;
        Some(round_to(value, i32::try_from(digits.clamp(-300, 300)).unwrap_or(0)))
    }))
}

fn round_to(value: f64, digits: i32) -> f64 {
    if digits == 0 {
        return value.round();
    }
    let scale = 10_f64.powi(digits.abs());
    let (scaled, back): (f64, fn(f64, f64) -> f64) = if digits > 0 { (value * scale, |v, s| v / s) } else { (value / scale, |v, s| v * s) };
    if !scaled.is_finite() || scaled.abs() >= 4.5e15 {
        return value;
    }
    back(scaled.round(), scale)
}

pub(super) fn isnan(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.real(0)?;
    Ok(call.maybe_bools(|row| values.get(row).map(f64::is_nan)))
}

pub(super) fn isinf(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.real(0)?;
    Ok(call.maybe_bools(|row| values.get(row).map(f64::is_infinite)))
}

pub(super) fn isfinite(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.real(0)?;
    Ok(call.maybe_bools(|row| values.get(row).map(f64::is_finite)))
}

macro_rules! bits {
    ($($name:ident: $function:expr;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> Result<ArrayRef> {
            let (left, right) = (call.long(0)?, call.long(1)?);
            let function: fn(i64, i64) -> Option<i64> = $function;
            Ok(call.longs(|row| function(left.get(row)?, right.get(row)?)))
        })*
    };
}

bits! {
    binary_and: |a, b| Some(a & b);
    binary_or: |a, b| Some(a | b);
    binary_xor: |a, b| Some(a ^ b);
    binary_shift_left: |a, b| u32::try_from(b).ok().map(|b| a.wrapping_shl(b & 63));
    binary_shift_right: |a, b| u32::try_from(b).ok().map(|b| a.wrapping_shr(b & 63));
}

pub(super) fn binary_not(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.long(0)?;
    Ok(call.longs(|row| values.get(row).map(|v| !v)))
}

pub(super) fn bitset_count_ones(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.long(0)?;
    Ok(call.longs(|row| values.get(row).map(|v| i64::from(v.count_ones()))))
}

/// `rand()`: a real from 0 up to 1; `rand(n)`: a whole number below n, as a real.
pub(super) fn rand(call: &Call<'_>) -> Result<ArrayRef> {
    let mut rng = rand::rng();
    let limit = if call.has(0) { Some(call.long(0)?) } else { None };
    #[expect(clippy::cast_precision_loss, reason = "a random number may miss a few of the largest")]
    Ok(call.reals(|row| match limit.as_ref().map(|limit| limit.get(row)) {
        None => Some(rng.random::<f64>()),
        Some(Some(limit)) if limit > 0 => Some(rng.random_range(0..limit) as f64),
        Some(_) => None,
    }))
}

/// `tohex(value[, digits])`: of an int the 32 bits, of a long the 64.
pub(super) fn tohex(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(0)?;
    let widths = if call.has(1) { Some(call.long(1)?) } else { None };
    Ok(call.texts(|row, out| {
        let value = match &values {
            Values::Int(v) => v.get(row).map(|v| u64::from(v.cast_unsigned())),
            Values::Long(v) => v.get(row).map(i64::cast_unsigned),
            _ => None,
        };
        let Some(value) = value else { return };
        let width = widths.as_ref().and_then(|w| w.get(row)).and_then(|w| usize::try_from(w).ok()).unwrap_or(0).min(64);
        write!(out, "{value:0width$x}").expect("a String takes everything");
    }))
}
