//! Lines and curves of least squares through a series, over its places (or over another series).

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::{Call, Operand, mean, real, series_of, variance, write_bag, write_key, write_reals};

/// Highest degree of a polynomial.
const DEGREE_MAX: i64 = 5;

/// A line, and how well it fits.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) interception: f64,
}

impl Line {
    /// Through values at the places from `first` on.
    pub(super) fn through(values: &[f64], first: usize) -> Self {
        let (middle, mean) = (real(first) + (real(values.len()) - 1.0) / 2.0, mean(values));
        let (mut top, mut bottom) = (0.0, 0.0);
        for (at, value) in values.iter().enumerate() {
            let x = real(first + at) - middle;
            top += x * (value - mean);
            bottom += x * x;
        }
        let slope = if bottom > 0.0 { top / bottom } else { 0.0 };
        Self { slope, interception: mean - slope * middle }
    }

    pub(super) fn at(&self, place: usize) -> f64 {
        self.interception + self.slope * real(place)
    }
}

/// Variance of what a fit leaves, against the variance of the data.
struct Quality {
    rsquare: f64,
    variance: f64,
    rvariance: f64,
}

impl Quality {
    fn of(values: &[f64], fit: &[f64]) -> Self {
        let variance = variance(values);
        let left: f64 = values.iter().zip(fit).map(|(value, fit)| (value - fit).powi(2)).sum();
        let rvariance = if values.len() > 1 { left / real(values.len() - 1) } else { 0.0 };
        let rsquare = if variance > 0.0 { 1.0 - rvariance / variance } else { 1.0 };
        Self { rsquare, variance, rvariance }
    }
}

/// rsquare, slope, variance, rvariance, interception, line_fit
pub(super) fn line(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some(values) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        let line = Line::through(&values, 0);
        let fit: Vec<f64> = (0..values.len()).map(|at| line.at(at)).collect();
        let quality = Quality::of(&values, &fit);
        write_bag(
            &[
                ("rsquare", quality.rsquare),
                ("slope", line.slope),
                ("variance", quality.variance),
                ("rvariance", quality.rvariance),
                ("interception", line.interception),
            ],
            out,
        );
        write_key("line_fit", out);
        write_reals(&fit, out);
        out.push('}');
        true
    }))
}

/// Running sums, from which the error of a line through any stretch follows at once.
struct Sums(Vec<[f64; 3]>);

impl Sums {
    fn of(values: &[f64]) -> Self {
        let mut sums = vec![[0.0; 3]];
        for (at, value) in values.iter().enumerate() {
            let [y, xy, yy] = sums[at];
            sums.push([y + value, xy + real(at) * value, yy + value * value]);
        }
        Self(sums)
    }

    /// The squares that the best line leaves from `from` up to `to`.
    fn left(&self, from: usize, to: usize) -> f64 {
        let count = real(to - from);
        let [y, xy, yy] = std::array::from_fn(|at| self.0[to][at] - self.0[from][at]);
        let x = (real(from) + real(to) - 1.0) * count / 2.0;
        let spread = count * (count * count - 1.0) / 12.0;
        let cross = xy - x * y / count;
        let explained = if spread > 0.0 { cross * cross / spread } else { 0.0 };
        yy - y * y / count - explained
    }
}

/// The split into two lines that leaves the least: all of `series_fit_line` for the whole, for the right and the left side.
pub(super) fn two_lines(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some(values) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        if values.len() < 4 {
            return false;
        }
        // Less about the mean, so that little is lost in the sums.
        let average = mean(&values);
        let sums = Sums::of(&values.iter().map(|value| value - average).collect::<Vec<_>>());
        let error = |split: &usize| sums.left(0, *split) + sums.left(*split, values.len());
        let Some(split) = (2..values.len() - 1).min_by(|a, b| error(a).total_cmp(&error(b))) else { return false };
        let (left, right) = (Line::through(&values[..split], 0), Line::through(&values[split..], split));
        let fit: Vec<f64> = (0..values.len()).map(|at| if at < split { left.at(at) } else { right.at(at) }).collect();
        let whole = Quality::of(&values, &fit);
        write_bag(&[("rsquare", whole.rsquare)], out);
        write_key("split_idx", out);
        out.push_str(&split.to_string());
        write_bag(&[("variance", whole.variance), ("rvariance", whole.rvariance)], out);
        write_key("line_fit", out);
        write_reals(&fit, out);
        for (side, line, from, to) in [("right", right, split, values.len()), ("left", left, 0, split)] {
            let quality = Quality::of(&values[from..to], &fit[from..to]);
            let entries = [
                ("rsquare", quality.rsquare),
                ("slope", line.slope),
                ("interception", line.interception),
                ("variance", quality.variance),
                ("rvariance", quality.rvariance),
            ];
            for (key, value) in entries {
                write_bag(&[(&format!("{side}_{key}"), value)], out);
            }
        }
        out.push('}');
        true
    }))
}

/// `series_fit_poly(y[, x[, degree]])`: rsquare, coefficients (highest power first), variance, rvariance, poly_fit
pub(super) fn polynomial(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let places = if call.has(1) { Some(call.values(1)?) } else { None };
    let degrees = if call.has(2) { Some(call.long(2)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(y) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        let x: Option<Vec<f64>> = match places.as_ref().and_then(|places| Operand::read(places, row)) {
            Some(Operand::Series(x)) => x.complete().filter(|x| x.len() == y.len()),
            _ => Some((0..y.len()).map(real).collect()),
        };
        let degree = degrees.as_ref().map_or(Some(1), |degrees| degrees.get(row)).filter(|degree| (1..=DEGREE_MAX).contains(degree));
        let (Some(x), Some(degree)) = (x, degree.and_then(|degree| usize::try_from(degree).ok())) else { return false };
        let Some(powers) = fitted(&x, &y, degree) else { return false };
        let fit: Vec<f64> = x.iter().map(|x| powers.iter().rev().fold(0.0, |sum, power| sum * x + power)).collect();
        let quality = Quality::of(&y, &fit);
        write_bag(&[("rsquare", quality.rsquare)], out);
        write_key("coefficients", out);
        write_reals(&powers.iter().rev().copied().collect::<Vec<_>>(), out);
        write_bag(&[("variance", quality.variance), ("rvariance", quality.rvariance)], out);
        write_key("poly_fit", out);
        write_reals(&fit, out);
        out.push('}');
        true
    }))
}

/// The coefficients of least squares, lowest power first. Computed about the middle of x, in units of its spread.
fn fitted(x: &[f64], y: &[f64], degree: usize) -> Option<Vec<f64>> {
    let (middle, unit) = (mean(x), variance(x).sqrt());
    let unit = if unit > 0.0 { unit } else { 1.0 };
    let size = degree + 1;
    // The normal equations, the right side last.
    let mut rows = vec![vec![0.0; size + 1]; size];
    for (x, y) in x.iter().zip(y) {
        let t = (x - middle) / unit;
        let powers: Vec<f64> = (0..2 * size).scan(1.0, |power, _| Some(std::mem::replace(power, *power * t))).collect();
        for (at, row) in rows.iter_mut().enumerate() {
            for (cell, power) in row[..size].iter_mut().zip(&powers[at..]) {
                *cell += power;
            }
            row[size] += powers[at] * y;
        }
    }
    let solved = solve(rows)?;
    // Back from t = (x - middle) / unit to x, by Horner's scheme over polynomials.
    let mut result = vec![0.0; size];
    for power in solved.iter().rev() {
        for at in (0..size).rev() {
            let carried = if at > 0 { result[at - 1] / unit } else { 0.0 };
            result[at] = carried - result[at] * middle / unit;
        }
        result[0] += power;
    }
    Some(result)
}

/// Gauss with pivots; none if the equations do not tell.
fn solve(mut rows: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let size = rows.len();
    for at in 0..size {
        let pivot = (at..size).max_by(|a, b| rows[*a][at].abs().total_cmp(&rows[*b][at].abs()))?;
        rows.swap(at, pivot);
        if rows[at][at].abs() < 1e-12 {
            return None;
        }
        let top = rows[at].clone();
        for row in rows.iter_mut().skip(at + 1) {
            let factor = row[at] / top[at];
            for (cell, above) in row.iter_mut().zip(&top) {
                *cell -= factor * above;
            }
        }
    }
    let mut solution = vec![0.0; size];
    for at in (0..size).rev() {
        let known: f64 = (at + 1..size).map(|other| rows[at][other] * solution[other]).sum();
        solution[at] = (rows[at][size] - known) / rows[at][at];
    }
    Some(solution)
}
