//! Filters over series, and Fourier's transform.

use std::f64::consts::PI;

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::{Call, Series, real, series_of, write_key, write_reals};

/// Most coefficients of a filter: the work is their number times the length.
const COEFFICIENTS_MAX: usize = 1_024;

fn coefficients(series: &Series) -> Option<Vec<f64>> {
    series.complete().filter(|all| all.len() <= COEFFICIENTS_MAX)
}

/// `series_fir(series, filter[, normalize[, center]])`: beyond the ends the series counts as 0. Normalized unless a coefficient is
/// negative.
pub(super) fn fir(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, filters) = (call.text(0)?, call.text(1)?);
    let normalize = if call.has(2) { Some(call.bool(2)?) } else { None };
    let center = if call.has(3) { Some(call.bool(3)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let (Some(series), Some(filter)) = (series_of(&arrays, row), series_of(&filters, row).as_ref().and_then(coefficients)) else {
            return false;
        };
        let negative = filter.iter().any(|coefficient| *coefficient < 0.0);
        let normalize = normalize.as_ref().and_then(|flag| flag.get(row)).unwrap_or(!negative);
        if normalize && negative {
            return false;
        }
        let scale = if normalize { filter.iter().sum() } else { 1.0 };
        let ahead = if center.as_ref().and_then(|flag| flag.get(row)).unwrap_or(false) { filter.len() / 2 } else { 0 };
        let value = |at: usize, back: usize| (at + ahead).checked_sub(back).and_then(|at| series.values.get(at).copied().flatten());
        let sums = (0..series.len()).map(|at| {
            let parts = filter.iter().enumerate().map(|(back, coefficient)| coefficient * value(at, back).unwrap_or(0.0));
            Some(parts.sum::<f64>() / scale)
        });
        let whole = series.whole && !normalize && filter.iter().all(|coefficient| coefficient.fract() == 0.0);
        Series { values: sums.collect(), whole }.write(out);
        true
    }))
}

/// `series_iir(series, numerators, denominators)`
pub(super) fn iir(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, tops, bottoms) = (call.text(0)?, call.text(1)?, call.text(2)?);
    Ok(call.dynamics(|row, out| {
        let read = |texts| series_of(texts, row).as_ref().and_then(coefficients);
        let (Some(series), Some(b), Some(a)) = (series_of(&arrays, row), read(&tops), read(&bottoms)) else { return false };
        if a[0] == 0.0 {
            return false;
        }
        let mut results: Vec<f64> = Vec::with_capacity(series.len());
        for at in 0..series.len() {
            let x = |back: usize| at.checked_sub(back).and_then(|at| series.values[at]).unwrap_or(0.0);
            let forward: f64 = b.iter().enumerate().map(|(back, b)| b * x(back)).sum();
            let fed_back: f64 = a.iter().enumerate().skip(1).filter_map(|(back, a)| Some(a * results[at.checked_sub(back)?])).sum();
            results.push((forward - fed_back) / a[0]);
        }
        write_reals(&results, out);
        true
    }))
}

/// A complex number: its real and its imaginary part.
type Complex = (f64, f64);

fn times(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

/// Fourier's transform in place; the length is a power of two. `sign` is -1 there and 1 back.
fn transform(values: &mut [Complex], sign: f64) {
    let len = values.len();
    let bits = len.trailing_zeros();
    for at in 0..len {
        let other = at.reverse_bits().checked_shr(usize::BITS - bits).unwrap_or(0);
        if at < other {
            values.swap(at, other);
        }
    }
    let mut size = 2;
    while size <= len {
        let angle = sign * 2.0 * PI / real(size);
        for chunk in values.chunks_exact_mut(size) {
            let (low, high) = chunk.split_at_mut(size / 2);
            for (at, (low, high)) in low.iter_mut().zip(high).enumerate() {
                let turn = angle * real(at);
                let turned = times(*high, (turn.cos(), turn.sin()));
                (*low, *high) = ((low.0 + turned.0, low.1 + turned.1), (low.0 - turned.0, low.1 - turned.1));
            }
        }
        size *= 2;
    }
}

/// Fourier's transform of any length (Bluestein's way where the length is no power of two).
fn fourier(values: &[Complex], sign: f64) -> Vec<Complex> {
    let len = values.len();
    if len.is_power_of_two() {
        let mut result = values.to_vec();
        transform(&mut result, sign);
        return result;
    }
    let padded = (2 * len - 1).next_power_of_two();
    // The square of the place modulo twice the length, so that the angle stays exact.
    let chirp = |at: usize| {
        let turn = sign * PI * real(at * at % (2 * len)) / real(len);
        (turn.cos(), turn.sin())
    };
    let (mut a, mut b) = (vec![(0.0, 0.0); padded], vec![(0.0, 0.0); padded]);
    for (at, value) in values.iter().enumerate() {
        let (along, across) = chirp(at);
        a[at] = times(*value, (along, across));
        b[at] = (along, -across);
        b[(padded - at) % padded] = (along, -across);
    }
    transform(&mut a, -1.0);
    transform(&mut b, -1.0);
    let mut product: Vec<Complex> = a.into_iter().zip(b).map(|(a, b)| times(a, b)).collect();
    transform(&mut product, 1.0);
    let scale = real(padded);
    (0..len).map(|at| times((product[at].0 / scale, product[at].1 / scale), chirp(at))).collect()
}

/// How alike a series is to itself so many places later, from 0 places on: 1 at 0, less the fewer places overlap.
pub(super) fn autocorrelation(values: &[f64]) -> Vec<f64> {
    let mean = super::mean(values);
    let mut padded: Vec<Complex> = values.iter().map(|value| (value - mean, 0.0)).collect();
    padded.resize((2 * values.len()).next_power_of_two(), (0.0, 0.0));
    transform(&mut padded, -1.0);
    for value in &mut padded {
        *value = (value.0 * value.0 + value.1 * value.1, 0.0);
    }
    transform(&mut padded, 1.0);
    let all = padded[0].0;
    padded[..values.len()].iter().map(|(value, _)| if all > 0.0 { value / all } else { 0.0 }).collect()
}

/// A bag of `real` and `imag`.
fn transformed(call: &Call<'_>, sign: f64) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let imaginary = if call.has(1) { Some(call.text(1)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(x) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        let y = match &imaginary {
            None => Some(vec![0.0; x.len()]),
            Some(texts) => series_of(texts, row).and_then(|series| series.complete()).filter(|y| y.len() == x.len()),
        };
        let Some(y) = y else { return false };
        let values: Vec<Complex> = x.into_iter().zip(y).collect();
        let scale = if sign > 0.0 { real(values.len()) } else { 1.0 };
        let (x, y): (Vec<f64>, Vec<f64>) = fourier(&values, sign).into_iter().map(|(x, y)| (x / scale, y / scale)).unzip();
        write_key("real", out);
        write_reals(&x, out);
        write_key("imag", out);
        write_reals(&y, out);
        out.push('}');
        true
    }))
}

pub(super) fn fft(call: &Call<'_>) -> Result<ArrayRef> {
    transformed(call, -1.0)
}

pub(super) fn ifft(call: &Call<'_>) -> Result<ArrayRef> {
    transformed(call, 1.0)
}
