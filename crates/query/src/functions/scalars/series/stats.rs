//! Numbers about a series, or about two of them.

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::{Call, Series, mean, one, operands, real, series_of, variance, write_key, write_number};

pub(super) fn sum(call: &Call<'_>) -> Result<ArrayRef> {
    one(call, |series| Some(series.complete()?.iter().sum()))
}

pub(super) fn product(call: &Call<'_>) -> Result<ArrayRef> {
    one(call, |series| Some(series.complete()?.iter().product()))
}

/// The length of the vector.
pub(super) fn magnitude(call: &Call<'_>) -> Result<ArrayRef> {
    one(call, |series| Some(series.complete()?.iter().map(|v| v * v).sum::<f64>().sqrt()))
}

/// Of two series, or a series and a number.
pub(super) fn dot_product(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    Ok(call.reals(|row| {
        let (left, right, len) = operands(&values, row)?;
        (0..len).map(|at| Some(left.at(at)? * right.at(at)?)).sum()
    }))
}

type Pair = (Vec<f64>, Vec<f64>);

/// Two series of one length.
fn pair(call: &Call<'_>) -> Result<impl Fn(usize) -> Option<Pair>> {
    let (left, right) = (call.text(0)?, call.text(1)?);
    Ok(move |row| {
        let both = (series_of(&left, row)?.complete()?, series_of(&right, row)?.complete()?);
        (both.0.len() == both.1.len()).then_some(both)
    })
}

pub(super) fn pearson_correlation(call: &Call<'_>) -> Result<ArrayRef> {
    let pair = pair(call)?;
    Ok(call.reals(|row| {
        let (a, b) = pair(row)?;
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let covariance: f64 = a.iter().zip(&b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
        let spread = |values: &[f64], mean: f64| values.iter().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
        Some(covariance / (spread(&a, mean_a) * spread(&b, mean_b)))
    }))
}

/// The cosine of the angle between two vectors, their lengths computed unless given.
pub(super) fn cosine_similarity(call: &Call<'_>) -> Result<ArrayRef> {
    let pair = pair(call)?;
    let lengths = (2..call.args.len().min(4)).map(|index| call.real(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.reals(|row| {
        let (a, b) = pair(row)?;
        let length = |values: &[f64], index: usize| match lengths.get(index) {
            Some(given) => given.get(row),
            None => Some(values.iter().map(|v| v * v).sum::<f64>().sqrt()),
        };
        let dot: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        Some(dot / (length(&a, 0)? * length(&b, 1)?))
    }))
}

/// `series_stats(series[, ignore_nonfinite])`: places count from 0. Null if a value is missing, unless those are ignored.
pub(super) fn stats(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let ignore = if call.has(1) { Some(call.bool(1)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(series) = series_of(&arrays, row) else { return false };
        let ignore = ignore.as_ref().and_then(|ignore| ignore.get(row)).unwrap_or(false);
        let Some(found) = Found::of(&series, ignore) else { return false };
        for (key, value) in found.entries() {
            write_key(key, out);
            write_number(value, key.ends_with("_idx") || key == "len", out);
        }
        out.push('}');
        true
    }))
}

/// What a series' statistics are made of.
struct Found {
    least: (usize, f64),
    most: (usize, f64),
    values: Vec<f64>,
}

impl Found {
    fn of(series: &Series, ignore: bool) -> Option<Self> {
        let finite = |value: &Option<f64>| value.filter(|v| v.is_finite());
        if !ignore && series.values.iter().any(|value| finite(value).is_none()) {
            return None;
        }
        let places = || series.values.iter().enumerate().filter_map(|(at, value)| Some((at, finite(value)?)));
        let least = places().reduce(|best, next| if next.1 < best.1 { next } else { best })?;
        let most = places().reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        Some(Self { least, most, values: places().map(|(_, value)| value).collect() })
    }

    fn entries(&self) -> [(&'static str, f64); 9] {
        let variance = variance(&self.values);
        [
            ("min", self.least.1),
            ("min_idx", real(self.least.0)),
            ("max", self.most.1),
            ("max_idx", real(self.most.0)),
            ("avg", mean(&self.values)),
            ("stdev", variance.sqrt()),
            ("variance", variance),
            ("sum", self.values.iter().sum()),
            ("len", real(self.values.len())),
        ]
    }
}
