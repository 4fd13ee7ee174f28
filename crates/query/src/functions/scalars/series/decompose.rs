//! A series taken apart: what repeats, what grows, what is left, and what stands out of that.
//!
//! A period is a peak of how well the series, without its linear trend, repeats itself; its score is the height of the peak, which
//! lies between 0 and 1. (Kusto does not tell how it scores; the periods agree on plain examples, the scores differ a little.)

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::filter::autocorrelation;
use super::fit::Line;
use super::{Call, Series, mean, real, series_of, write_key, write_reals};

/// Shortest period that is looked for.
const PERIOD_MIN: usize = 4;
/// Peaks lower than this are noise.
const SCORE_MIN: f64 = 0.3;
/// The score from which a period is used, unless the call says otherwise.
const SCORE_USED: f64 = 0.6;
/// Most periods one call asks for.
const PERIODS_MAX: i64 = 16;

/// How well a series without its linear trend repeats itself after so many places: 0 to 1. Between the plain autocorrelation, which
/// falls with the places that overlap, and the one that makes up for them (their geometric mean).
fn likeness(values: &[f64]) -> Vec<f64> {
    let line = Line::through(values, 0);
    let flat: Vec<f64> = values.iter().enumerate().map(|(at, value)| value - line.at(at)).collect();
    let spread = flat.iter().map(|value| value.abs()).fold(0.0, f64::max);
    // What is left of a straight line are rounding errors.
    if spread <= 1e-9 * values.iter().map(|value| value.abs()).fold(0.0, f64::max) {
        return vec![0.0; values.len()];
    }
    let made_up = |lag: usize| (real(values.len()) / real(values.len() - lag)).sqrt();
    autocorrelation(&flat).into_iter().enumerate().map(|(lag, value)| (value.max(0.0) * made_up(lag)).min(1.0)).collect()
}

/// Periods within bounds and their scores, best first; multiples of a better one are left out.
fn periods(values: &[f64], least: usize, most: usize) -> Vec<(usize, f64)> {
    let likeness = likeness(values);
    let most = most.min(values.len() / 2);
    let is_peak = |lag: usize| {
        let around = lag - lag.div_ceil(2) + 1..(lag + lag.div_ceil(2)).min(likeness.len());
        likeness[around].iter().all(|other| *other <= likeness[lag])
    };
    let lags = least.max(PERIOD_MIN)..=most;
    let mut found: Vec<(usize, f64)> =
        lags.map(|lag| (lag, likeness[lag])).filter(|(lag, score)| *score >= SCORE_MIN && is_peak(*lag)).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<(usize, f64)> = Vec::new();
    for (lag, score) in found {
        if !kept.iter().any(|(better, _)| lag.is_multiple_of(*better)) {
            kept.push((lag, score));
        }
    }
    kept
}

/// The best period, if its score will do.
fn period(values: &[f64], threshold: f64) -> Option<usize> {
    periods(values, PERIOD_MIN, usize::MAX).first().filter(|(_, score)| *score >= threshold).map(|(lag, _)| *lag)
}

fn write_periods(periods: &[f64], scores: &[f64], out: &mut String) {
    write_key("periods", out);
    write_reals(periods, out);
    write_key("scores", out);
    write_reals(scores, out);
    out.push('}');
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and a bound beyond the length is none")]
fn place(value: f64) -> usize {
    value.max(0.0) as usize
}

/// `series_periods_detect(series, least, most, count)`: as many periods as asked for, zeros in place of those not found.
pub(super) fn periods_detect(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let bounds = (1..call.args.len().min(3)).map(|index| call.real(index)).collect::<Result<Vec<_>>>()?;
    let counts = if call.has(3) { Some(call.long(3)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(values) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        let bound = |index: usize, usual: f64| bounds.get(index).map_or(Some(usual), |bound| bound.get(row));
        let count = counts.as_ref().map_or(Some(1), |counts| counts.get(row));
        let (Some(least), Some(most), Some(count)) = (bound(0, 0.0), bound(1, f64::INFINITY), count) else { return false };
        let Ok(count) = usize::try_from(count.min(PERIODS_MAX)) else { return false };
        let mut found = periods(&values, place(least.ceil()), place(most));
        found.resize(count, (0, 0.0));
        let (periods, scores): (Vec<f64>, Vec<f64>) = found.into_iter().map(|(lag, score)| (real(lag), score)).unzip();
        write_periods(&periods, &scores, out);
        true
    }))
}

/// `series_periods_validate(series, period, ..)`: 0 for what is shorter than 4, longer than half the series or no period.
pub(super) fn periods_validate(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let asked = (1..call.args.len()).map(|index| call.real(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.dynamics(|row, out| {
        let Some(values) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        let periods: Vec<f64> = asked.iter().map(|period| period.get(row).unwrap_or(f64::NAN)).collect();
        let likeness = likeness(&values);
        let score = |period: &f64| {
            let lag = place(period.round());
            if lag < PERIOD_MIN || lag > values.len() / 2 {
                return 0.0;
            }
            let near = &likeness[lag - 1..=(lag + 1).min(values.len() - 1)];
            if near.iter().all(|other| *other <= likeness[lag]) { likeness[lag] } else { 0.0 }
        };
        let scores: Vec<f64> = periods.iter().map(score).collect();
        write_periods(&periods, &scores, out);
        true
    }))
}

/// The middle value; of an even number the mean of the two.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[half - 1], values[half]) } else { values[half] }
}

/// What repeats: for each place the median of all learned values of its phase.
fn seasons(values: &[f64], period: Option<usize>, learned: usize) -> Vec<f64> {
    let Some(period) = period.filter(|period| (1..=learned).contains(period)) else { return vec![0.0; values.len()] };
    let phases: Vec<f64> =
        (0..period).map(|phase| median(&mut values[..learned].iter().skip(phase).step_by(period).copied().collect::<Vec<_>>())).collect();
    (0..values.len()).map(|at| phases[at % period]).collect()
}

/// -1: to be found; 0: none; else the period itself.
fn asked_period(values: &[f64], asked: i64, threshold: f64) -> Option<usize> {
    match asked {
        -1 => period(values, threshold),
        asked => usize::try_from(asked).ok().filter(|period| *period > 0),
    }
}

/// `series_seasonal(series[, period])`
pub(super) fn seasonal(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let asked = if call.has(1) { Some(call.long(1)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(values) = series_of(&arrays, row).and_then(|series| series.complete()) else { return false };
        let asked = asked.as_ref().and_then(|asked| asked.get(row)).unwrap_or(-1);
        write_reals(&seasons(&values, asked_period(&values, asked, SCORE_USED), values.len()), out);
        true
    }))
}

/// Between the two values next to the rank.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the length")]
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = percent / 100.0 * real(sorted.len() - 1);
    let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
    low + (high - low) * rank.fract()
}

/// Tukey's test: how many ranges between the percentiles a value lies outside of them. What is missing scores 0.
fn scores(values: &[Option<f64>], low: f64, high: f64) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().flatten().copied().filter(|value| !value.is_nan()).collect();
    if sorted.is_empty() {
        return vec![0.0; values.len()];
    }
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (percentile(&sorted, low), percentile(&sorted, high));
    let score = |value: &Option<f64>| match value {
        Some(value) if *value > high => (value - high) / (high - low),
        Some(value) if *value < low => (value - low) / (high - low),
        _ => 0.0,
    };
    values.iter().map(score).collect()
}

/// `series_outliers(series[, kind[, ignored[, low[, high]]]])`
pub(super) fn outliers(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let kinds = if call.has(1) { Some(call.text(1)?) } else { None };
    let rest = (2..call.args.len().min(5)).map(|index| call.real(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.dynamics(|row, out| {
        let Some(mut series) = series_of(&arrays, row) else { return false };
        let given = |index: usize| rest.get(index).and_then(|value| value.get(row));
        let Some((low, high)) = fences(kinds.as_ref().map_or("ctukey", |kinds| kinds.get(row)), given(1), given(2)) else {
            return false;
        };
        if let Some(ignored) = given(0) {
            series.values.iter_mut().filter(|value| value.is_some_and(|v| v.total_cmp(&ignored).is_eq())).for_each(|value| *value = None);
        }
        write_reals(&scores(&series.values, low, high), out);
        true
    }))
}

/// The percentiles of a kind of Tukey's test.
fn fences(kind: &str, low: Option<f64>, high: Option<f64>) -> Option<(f64, f64)> {
    match kind {
        "tukey" => Some((25.0, 75.0)),
        "ctukey" => {
            let (low, high) = (low.unwrap_or(10.0), high.unwrap_or(90.0));
            ((2.0..=98.0).contains(&low) && (2.0..=98.0).contains(&high) && low < high).then_some((low, high))
        }
        _ => None,
    }
}

/// A series taken apart.
struct Parts {
    values: Vec<f64>,
    seasonal: Vec<f64>,
    trend: Vec<f64>,
}

/// How a series is to be taken apart.
struct Way<'a> {
    /// As [`asked_period`] takes it.
    seasonality: i64,
    /// `avg`, `linefit` or `none`
    trend: &'a str,
    /// How many places at the end are not learned from.
    test_points: i64,
    /// The score a period needs.
    threshold: f64,
}

impl Parts {
    fn of(series: &Series, way: &Way<'_>) -> Option<Self> {
        let learned = series.len().checked_sub(usize::try_from(way.test_points).ok()?).filter(|learned| *learned > 0)?;
        // What is not learned from need not be there.
        let known = Series::reals(series.values[..learned].to_vec()).complete()?;
        let values: Vec<f64> = series.values.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let period = asked_period(&known, way.seasonality, way.threshold);
        let seasonal = seasons(&values, period, learned);
        let rest: Vec<f64> = known.iter().zip(&seasonal).map(|(value, seasonal)| value - seasonal).collect();
        let trend = match way.trend {
            "avg" => vec![mean(&rest); values.len()],
            "linefit" => {
                let line = Line::through(&rest, 0);
                (0..values.len()).map(|at| line.at(at)).collect()
            }
            "none" => vec![0.0; values.len()],
            _ => return None,
        };
        Some(Self { values, seasonal, trend })
    }

    fn baseline(&self) -> Vec<f64> {
        self.seasonal.iter().zip(&self.trend).map(|(seasonal, trend)| seasonal + trend).collect()
    }

    fn residual(&self) -> Vec<f64> {
        self.values.iter().zip(self.baseline()).map(|(value, baseline)| value - baseline).collect()
    }
}

/// The arguments that say how, from their places in the call.
fn parted<'c>(
    call: &'c Call<'_>,
    seasonality: usize,
    trend: (usize, &'static str),
    test_points: usize,
    threshold: usize,
) -> Result<impl Fn(usize) -> Option<Parts> + 'c> {
    let arrays = call.text(0)?;
    let seasonality = if call.has(seasonality) { Some(call.long(seasonality)?) } else { None };
    let (trend_at, usual) = trend;
    let trends = if call.has(trend_at) { Some(call.text(trend_at)?) } else { None };
    let test_points = if call.has(test_points) { Some(call.long(test_points)?) } else { None };
    let thresholds = if call.has(threshold) { Some(call.real(threshold)?) } else { None };
    Ok(move |row| {
        let way = Way {
            seasonality: seasonality.as_ref().map_or(Some(-1), |asked| asked.get(row))?,
            trend: trends.as_ref().map_or(usual, |trends| trends.get(row)),
            test_points: test_points.as_ref().map_or(Some(0), |points| points.get(row))?,
            threshold: thresholds.as_ref().map_or(Some(SCORE_USED), |scores| scores.get(row))?,
        };
        Parts::of(&series_of(&arrays, row)?, &way)
    })
}

/// `series_decompose(series[, seasonality[, trend[, test_points[, threshold]]]])`: baseline, seasonal, trend, residual
pub(super) fn decompose(call: &Call<'_>) -> Result<ArrayRef> {
    let parted = parted(call, 1, (2, "avg"), 3, 4)?;
    Ok(call.dynamics(|row, out| {
        let Some(parts) = parted(row) else { return false };
        let entries = [
            ("baseline", parts.baseline()),
            ("seasonal", parts.seasonal.clone()),
            ("trend", parts.trend.clone()),
            ("residual", parts.residual()),
        ];
        for (key, values) in entries {
            write_key(key, out);
            write_reals(&values, out);
        }
        out.push('}');
        true
    }))
}

/// `series_decompose_anomalies(series[, threshold[, seasonality[, trend[, test_points[, method[, seasonality_threshold]]]]]])`:
/// ad_flag, ad_score, baseline
pub(super) fn anomalies(call: &Call<'_>) -> Result<ArrayRef> {
    let parted = parted(call, 2, (3, "avg"), 4, 6)?;
    let thresholds = if call.has(1) { Some(call.real(1)?) } else { None };
    let methods = if call.has(5) { Some(call.text(5)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(threshold) = thresholds.as_ref().map_or(Some(1.5), |threshold| threshold.get(row)) else { return false };
        let (Some(parts), Some((low, high))) =
            (parted(row), fences(methods.as_ref().map_or("ctukey", |methods| methods.get(row)), None, None))
        else {
            return false;
        };
        let residual: Vec<Option<f64>> = parts.residual().into_iter().map(|value| (!value.is_nan()).then_some(value)).collect();
        let scores = scores(&residual, low, high);
        let flags: Vec<&str> = scores
            .iter()
            .map(|score| {
                if *score > threshold {
                    "1"
                } else if *score < -threshold {
                    "-1"
                } else {
                    "0"
                }
            })
            .collect();
        write_key("ad_flag", out);
        super::super::dynamics::write_list(out, flags.into_iter());
        write_key("ad_score", out);
        write_reals(&scores, out);
        write_key("baseline", out);
        write_reals(&parts.baseline(), out);
        out.push('}');
        true
    }))
}

/// `series_decompose_forecast(series, points[, seasonality[, trend[, threshold]]])`: the baseline, learned without the last points.
pub(super) fn forecast(call: &Call<'_>) -> Result<ArrayRef> {
    let parted = parted(call, 2, (3, "linefit"), 1, 4)?;
    Ok(call.dynamics(|row, out| {
        let Some(parts) = parted(row) else { return false };
        write_reals(&parts.baseline(), out);
        true
    }))
}
