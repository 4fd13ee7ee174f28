//! Mathematics beyond the schoolbook: gamma, beta, the error function, Welch's test.
#![expect(clippy::many_single_char_names, reason = "the formulas' own names")]

use arrow::array::ArrayRef;
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::Call;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;

const REAL: &[W] = &[W::Real];
const REALS: &[W] = &[W::Real, W::Real, W::Real];

pub(super) static SPECS: &[ScalarSpec] = &[
    f("gamma", REAL, C::Real, |call| mapped(call, gamma)),
    f("loggamma", REAL, C::Real, |call| mapped(call, log_gamma)),
    f("erf", REAL, C::Real, |call| mapped(call, |x| 1.0 - erfc(x))),
    f("erfc", REAL, C::Real, |call| mapped(call, erfc)),
    f("beta_cdf", REALS, C::Real, |call| three(call, |x, a, b| Some(beta_cdf(x, a, b)))),
    f("beta_inv", REALS, C::Real, |call| three(call, beta_inv)),
    f("beta_pdf", REALS, C::Real, |call| three(call, |x, a, b| Some(beta_pdf(x, a, b)))),
    f("welch_test", &[W::Real, W::Real, W::Long, W::Real, W::Real, W::Long], C::Real, welch_test),
];

fn mapped(call: &Call<'_>, function: fn(f64) -> f64) -> Result<ArrayRef> {
    let values = call.real(0)?;
    Ok(call.reals(|row| values.get(row).map(function)))
}

fn three(call: &Call<'_>, function: fn(f64, f64, f64) -> Option<f64>) -> Result<ArrayRef> {
    let (a, b, c) = (call.real(0)?, call.real(1)?, call.real(2)?);
    Ok(call.reals(|row| function(a.get(row)?, b.get(row)?, c.get(row)?)))
}

/// Lanczos's coefficients for g = 7 (as in Numerical Recipes; about 15 digits).
const LANCZOS: [f64; 9] = [
    0.999_999_999_999_809_9,
    676.520_368_121_885_1,
    -1_259.139_216_722_402_8,
    771.323_428_777_653_1,
    -176.615_029_162_140_6,
    12.507_343_278_686_905,
    -0.138_571_095_265_720_12,
    9.984_369_578_019_572e-6,
    1.505_632_735_149_311_6e-7,
];

/// The logarithm of the gamma function's absolute value.
fn log_gamma(x: f64) -> f64 {
    use std::f64::consts::PI;
    if x <= 0.0 && x.fract() == 0.0 {
        return f64::INFINITY;
    }
    if x < 0.5 {
        return (PI / (PI * x).sin().abs()).ln() - log_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let base = x + 7.5;
    let sum: f64 = LANCZOS[0] + (1_u8..).zip(&LANCZOS[1..]).map(|(at, c)| c / (x + f64::from(at))).sum::<f64>();
    0.5 * (2.0 * PI).ln() + (x + 0.5) * base.ln() - base + sum.ln()
}

fn gamma(x: f64) -> f64 {
    // Whole numbers have exact factorials as far as a real can hold them.
    if x > 0.0 && x.fract() == 0.0 && x <= 23.0 {
        return (1..=23_u8).map(f64::from).take_while(|at| *at < x).product();
    }
    if x <= 0.0 && x.fract() == 0.0 {
        return f64::NAN;
    }
    let size = log_gamma(x).exp();
    // Left of 0 the sign alternates.
    if x < 0.0 && x.floor().rem_euclid(2.0) > 0.5 { -size } else { size }
}

/// The rest of the error function: the upper incomplete gamma function of 1/2 at x².
fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    let t = x * x;
    let scale = (-t).exp() * x / std::f64::consts::PI.sqrt();
    if x < 1.5 {
        // A series for the error function itself.
        let mut term = 2.0;
        let mut sum = term;
        for at in 1..200 {
            term *= t / (f64::from(at) + 0.5);
            sum += term;
            if term < sum * 1e-17 {
                break;
            }
        }
        return 1.0 - scale * sum;
    }
    // Lentz's way through the continued fraction.
    let (mut b, mut c) = (t + 0.5, f64::MAX);
    let mut d = 1.0 / b;
    let mut h = d;
    for at in 1..500 {
        let at = f64::from(at);
        let a = -at * (at - 0.5);
        b += 2.0;
        d = 1.0 / (a * d + b);
        c = b + a / c;
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    scale * h
}

/// The regularized incomplete beta function, by its continued fraction.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    let front = (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp() / a;
    let nudged = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let (mut c, mut d) = (1.0, 1.0 / nudged(1.0 - (a + b) * x / (a + 1.0)));
    let mut h = d;
    for at in 1..1_000 {
        let m = f64::from(at);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = h;
        for step in [even, odd] {
            d = 1.0 / nudged(1.0 + step * d);
            c = nudged(1.0 + step / c);
            h *= d * c;
        }
        if (h / before - 1.0).abs() < 1e-16 {
            break;
        }
    }
    front * h
}

/// Outside 0 to 1 NaN; a shape that is not positive has everything below (E).
fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if !(0.0..=1.0).contains(&x) || a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    if a <= 0.0 || b <= 0.0 {
        return 1.0;
    }
    incomplete_beta(x, a, b)
}

/// Null for what is no probability, NaN for a shape that is not positive (E).
fn beta_inv(p: f64, a: f64, b: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&p) {
        return None;
    }
    if a.is_nan() || b.is_nan() || a <= 0.0 || b <= 0.0 {
        return Some(f64::NAN);
    }
    // Halving: 60 steps leave one neighbour of a real.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if incomplete_beta(middle, a, b) < p { low = middle } else { high = middle }
    }
    Some(f64::midpoint(low, high))
}

fn beta_pdf(x: f64, a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() || a <= 0.0 || b <= 0.0 || x.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&x) {
        return 0.0;
    }
    (log_gamma(a + b) - log_gamma(a) - log_gamma(b) + (a - 1.0) * x.ln() + (b - 1.0) * (1.0 - x).ln()).exp()
}

/// `welch_test(mean, variance, count, mean, variance, count)`: how likely such samples come from populations of one mean.
fn welch_test(call: &Call<'_>) -> Result<ArrayRef> {
    let (mean1, variance1, count1) = (call.real(0)?, call.real(1)?, call.long(2)?);
    let (mean2, variance2, count2) = (call.real(3)?, call.real(4)?, call.long(5)?);
    Ok(call.reals(|row| {
        #[expect(clippy::cast_precision_loss, reason = "counts of samples")]
        let (n1, n2) = (count1.get(row)? as f64, count2.get(row)? as f64);
        let (error1, error2) = (variance1.get(row)? / n1, variance2.get(row)? / n2);
        let error = error1 + error2;
        let t = (mean1.get(row)? - mean2.get(row)?) / error.sqrt();
        let freedom = error * error / (error1 * error1 / (n1 - 1.0) + error2 * error2 / (n2 - 1.0));
        Some(incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5))
    }))
}
