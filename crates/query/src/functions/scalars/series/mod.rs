//! `series_*`: numbers in dynamic arrays, as `make-series` and `make_list` make them.
//!
//! A series is read out of its JSON text once a call, computed, and written back. What is no number counts as null; series of
//! whole numbers stay whole where the mathematics allows. A series is at most as long as a list can be (2^20).

mod decompose;
mod elementwise;
mod fill;
mod filter;
mod fit;
mod stats;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::{Call, Text, Values};
use super::json;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;

const ONE: &[W] = &[W::Dynamic];
const TWO: &[W] = &[W::Any, W::Any];

pub(super) static SPECS: &[ScalarSpec] = &[
    // element by element
    f("series_abs", ONE, C::Dynamic, elementwise::abs),
    f("series_acos", ONE, C::Dynamic, elementwise::acos),
    f("series_asin", ONE, C::Dynamic, elementwise::asin),
    f("series_atan", ONE, C::Dynamic, elementwise::atan),
    f("series_ceiling", ONE, C::Dynamic, elementwise::ceiling),
    f("series_cos", ONE, C::Dynamic, elementwise::cos),
    f("series_exp", ONE, C::Dynamic, elementwise::exp),
    f("series_floor", ONE, C::Dynamic, elementwise::floor),
    f("series_log", ONE, C::Dynamic, elementwise::log),
    f("series_sign", ONE, C::Dynamic, elementwise::sign),
    f("series_sin", ONE, C::Dynamic, elementwise::sin),
    f("series_sqrt", ONE, C::Dynamic, elementwise::sqrt),
    f("series_tan", ONE, C::Dynamic, elementwise::tan),
    f("series_add", TWO, C::Dynamic, elementwise::add),
    f("series_subtract", TWO, C::Dynamic, elementwise::subtract),
    f("series_multiply", TWO, C::Dynamic, elementwise::multiply),
    f("series_divide", TWO, C::Dynamic, elementwise::divide),
    f("series_pow", TWO, C::Dynamic, elementwise::pow),
    f("series_equals", TWO, C::Dynamic, elementwise::equals),
    f("series_not_equals", TWO, C::Dynamic, elementwise::not_equals),
    f("series_less", TWO, C::Dynamic, elementwise::less),
    f("series_less_equals", TWO, C::Dynamic, elementwise::less_equals),
    f("series_greater", TWO, C::Dynamic, elementwise::greater),
    f("series_greater_equals", TWO, C::Dynamic, elementwise::greater_equals),
    // missing values
    f("series_fill_forward", &[W::Dynamic, W::Any], C::Dynamic, fill::forward).least(1),
    f("series_fill_backward", &[W::Dynamic, W::Any], C::Dynamic, fill::backward).least(1),
    f("series_fill_const", &[W::Dynamic, W::Any, W::Any], C::Dynamic, fill::constant).least(2),
    f("series_fill_linear", &[W::Dynamic, W::Any, W::Bool, W::Any], C::Dynamic, fill::linear).least(1),
    // one number of a series, or of two
    f("series_sum", ONE, C::Real, stats::sum),
    f("series_product", ONE, C::Real, stats::product),
    f("series_magnitude", ONE, C::Real, stats::magnitude),
    f("series_dot_product", TWO, C::Real, stats::dot_product),
    f("series_pearson_correlation", &[W::Dynamic, W::Dynamic], C::Real, stats::pearson_correlation),
    f("series_cosine_similarity", &[W::Dynamic, W::Dynamic, W::Real, W::Real], C::Real, stats::cosine_similarity).least(2),
    f("series_stats_dynamic", &[W::Dynamic, W::Bool], C::Dynamic, stats::stats).least(1),
    // lines
    f("series_fit_line_dynamic", ONE, C::Dynamic, fit::line),
    f("series_fit_2lines_dynamic", ONE, C::Dynamic, fit::two_lines),
    f("series_fit_poly_parts", &[W::Dynamic, W::Any, W::Long], C::Dynamic, fit::polynomial).least(1),
    // filters
    f("series_fir", &[W::Dynamic, W::Dynamic, W::Bool, W::Bool], C::Dynamic, filter::fir).least(2),
    f("series_iir", &[W::Dynamic, W::Dynamic, W::Dynamic], C::Dynamic, filter::iir),
    f("series_fft_parts", &[W::Dynamic, W::Dynamic], C::Dynamic, filter::fft).least(1),
    f("series_ifft_parts", &[W::Dynamic, W::Dynamic], C::Dynamic, filter::ifft).least(1),
    // what repeats, what grows, what stands out
    f("series_seasonal", &[W::Dynamic, W::Long], C::Dynamic, decompose::seasonal).least(1),
    f("series_outliers", &[W::Dynamic, W::String, W::Real, W::Real, W::Real], C::Dynamic, decompose::outliers).least(1),
    f("series_periods_detect_parts", &[W::Dynamic, W::Real, W::Real, W::Long], C::Dynamic, decompose::periods_detect).least(1),
    f("series_periods_validate_parts", &[W::Dynamic, W::Real], C::Dynamic, decompose::periods_validate).more(W::Real),
    f("series_decompose_parts", &[W::Dynamic, W::Long, W::String, W::Long, W::Real], C::Dynamic, decompose::decompose).least(1),
    f(
        "series_decompose_anomalies_parts",
        &[W::Dynamic, W::Real, W::Long, W::String, W::Long, W::String, W::Real],
        C::Dynamic,
        decompose::anomalies,
    )
    .least(1),
    f("series_decompose_forecast", &[W::Dynamic, W::Long, W::Long, W::String, W::Real], C::Dynamic, decompose::forecast).least(2),
];

/// Numbers by place; none where there is no number.
#[derive(Clone, Debug)]
struct Series {
    values: Vec<Option<f64>>,
    /// Every number is a whole one that a real holds exactly.
    whole: bool,
}

impl Series {
    /// The numbers of an array; none if it is no array.
    fn read(raw: &str) -> Option<Self> {
        let mut whole = true;
        let values = json::items(raw)?.map(|item| {
            let value = number(item);
            whole &= value.is_none() || item.bytes().all(|b| b.is_ascii_digit() || b == b'-');
            value
        });
        let values: Vec<Option<f64>> = values.collect();
        whole &= values.iter().flatten().all(|v| v.abs() < 9_007_199_254_740_992.0);
        Some(Self { values, whole })
    }

    fn reals(values: Vec<Option<f64>>) -> Self {
        Self { values, whole: false }
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    /// All numbers; none if one is missing or there are none.
    fn complete(&self) -> Option<Vec<f64>> {
        let all = self.values.iter().copied().collect::<Option<Vec<f64>>>()?;
        (!all.is_empty()).then_some(all)
    }

    fn write(&self, out: &mut String) {
        out.push('[');
        for (at, value) in self.values.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            match value {
                Some(value) => write_number(*value, self.whole, out),
                None => out.push_str("null"),
            }
        }
        out.push(']');
    }
}

/// A number out of JSON, not-a-number and the infinities included, which are strings there.
fn number(item: &str) -> Option<f64> {
    match item {
        "\"NaN\"" => Some(f64::NAN),
        "\"Infinity\"" => Some(f64::INFINITY),
        "\"-Infinity\"" => Some(f64::NEG_INFINITY),
        _ if item.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => item.parse().ok(),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "whole numbers here fit in 53 bits")]
fn write_number(value: f64, whole: bool, out: &mut String) {
    if whole && value.is_finite() {
        out.push_str(&(value.trunc() as i64).to_string());
    } else {
        json::write_real(value, out);
    }
}

fn write_reals(values: &[f64], out: &mut String) {
    out.push('[');
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::write_real(*value, out);
    }
    out.push(']');
}

/// `"key":` after what is there.
fn write_key(key: &str, out: &mut String) {
    out.push(if out.is_empty() { '{' } else { ',' });
    json::write_string(key, out);
    out.push(':');
}

/// One real a key, then the brace.
fn write_bag(entries: &[(&str, f64)], out: &mut String) {
    for (key, value) in entries {
        write_key(key, out);
        json::write_real(*value, out);
    }
}

/// A series for each row.
fn each(call: &Call<'_>, compute: impl Fn(Series) -> Option<Series>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some(result) = arrays.json(row).and_then(Series::read).and_then(&compute) else { return false };
        result.write(out);
        true
    }))
}

/// A real for each row.
fn one(call: &Call<'_>, compute: impl Fn(&Series) -> Option<f64>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.reals(|row| compute(&arrays.json(row).and_then(Series::read)?)))
}

/// An argument that is a series or one number for all its places.
enum Operand {
    Series(Series),
    Number(f64, bool),
}

impl Operand {
    fn read(values: &Values, row: usize) -> Option<Self> {
        let mut text = String::new();
        values.write_json(row, &mut text);
        if let Some(series) = Series::read(&text) {
            return Some(Self::Series(series));
        }
        number(&text).map(|value| Self::Number(value, !text.contains(['.', 'e', 'E', '"'])))
    }

    fn len(&self) -> Option<usize> {
        match self {
            Self::Series(series) => Some(series.len()),
            Self::Number(..) => None,
        }
    }

    fn at(&self, place: usize) -> Option<f64> {
        match self {
            Self::Series(series) => series.values.get(place).copied().flatten(),
            Self::Number(value, _) => Some(*value),
        }
    }

    fn whole(&self) -> bool {
        match self {
            Self::Series(series) => series.whole,
            Self::Number(_, whole) => *whole,
        }
    }
}

/// Two operands; none unless one is a series. The length is that of the longer.
fn operands(values: &[Values], row: usize) -> Option<(Operand, Operand, usize)> {
    let (left, right) = (Operand::read(&values[0], row)?, Operand::read(&values[1], row)?);
    let len = left.len().max(right.len())?;
    Some((left, right, len))
}

/// The series of an argument.
fn series_of(texts: &Text, row: usize) -> Option<Series> {
    Series::read(texts.json(row)?)
}

#[expect(clippy::cast_precision_loss, reason = "series have at most 2^20 places")]
fn real(count: usize) -> f64 {
    count as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / real(values.len())
}

/// Of the sample; of one value 0.
fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / real(values.len() - 1)
}
