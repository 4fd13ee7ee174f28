//! What is asked of sketches: `dcount_hll`, `percentile_tdigest` and their like.

use arrow::array::ArrayRef;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Expr;
use strongroom_model::ColumnType as C;

use super::args::{Call, Values};
use super::logic::of_scalar_type;
use super::spec::{Gives, Make, ScalarSpec, Want as W};
use super::table::f;
use super::text_of;
use crate::functions::sketches::{Digest, Hll};
use crate::functions::{CallContext, Misfit, Typed};

const SKETCH: &[W] = &[W::Dynamic];

pub(super) static SPECS: &[ScalarSpec] = &[
    f("dcount_hll", SKETCH, C::Long, dcount_hll),
    f("hll_merge", SKETCH, C::Dynamic, hll_merge).more(W::Dynamic),
    f("tdigest_merge", SKETCH, C::Dynamic, tdigest_merge).more(W::Dynamic).also(&["merge_tdigest"]),
    ScalarSpec {
        name: "percentile_tdigest",
        aliases: &[],
        takes: &[W::Dynamic, W::Real, W::Any],
        least: 2,
        more: None,
        gives: Gives::Kind(C::Dynamic),
        make: Make::Macro(percentile_tdigest),
    },
    f("percentile_tdigest_value", &[W::Dynamic, W::Real], C::Dynamic, percentile),
    f("percentiles_array_tdigest", &[W::Dynamic, W::Any], C::Dynamic, percentiles).more(W::Any).also(&["percentile_array_tdigest"]),
    f("rank_tdigest", &[W::Dynamic, W::Any], C::Real, |call| ranked(call, |digest, value| Some(digest.rank(value)))),
    f("percentrank_tdigest", &[W::Dynamic, W::Any], C::Real, |call| ranked(call, Digest::percent_rank)),
];

fn dcount_hll(call: &Call<'_>) -> Result<ArrayRef> {
    let sketches = call.text(0)?;
    Ok(call.longs(|row| i64::try_from(Hll::read(sketches.json(row)?)?.estimate()).ok()))
}

/// All arguments in one; what is no sketch counts for nothing.
fn merged<S>(call: &Call<'_>, read: fn(&str) -> Option<S>, merge: fn(&mut S, &S), write: fn(&mut S, &mut String)) -> Result<ArrayRef> {
    let sketches = (0..call.args.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.dynamics(|row, out| {
        let all = sketches.iter().filter_map(|sketch| read(sketch.json(row)?));
        let Some(mut whole) = all.reduce(|mut whole, next| {
            merge(&mut whole, &next);
            whole
        }) else {
            return false;
        };
        write(&mut whole, out);
        true
    }))
}

fn hll_merge(call: &Call<'_>) -> Result<ArrayRef> {
    merged(call, Hll::read, Hll::merge, |hll, out| hll.write(out))
}

fn tdigest_merge(call: &Call<'_>) -> Result<ArrayRef> {
    merged(call, Digest::read, Digest::merge, Digest::write)
}

/// `percentile_tdigest(digest, percent[, typeof(..)])`
fn percentile_tdigest(mut args: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
    let kind = if args.len() > 2 { args.pop() } else { None };
    let spec = super::by_name("percentile_tdigest_value").ok_or_else(|| Misfit::call("percentile_tdigest_value is missing"))?;
    let value = spec.bind(args, context)?;
    let Some(kind) = kind else { return Ok(value) };
    let named = match &kind.expr {
        Expr::Literal(ScalarValue::Utf8View(Some(name)), _) => strongroom_kql::ast::ScalarType::from_name(name),
        _ => None,
    };
    match named {
        Some(kind) => Ok(super::convert::convert(value, of_scalar_type(kind))),
        None => Err(Misfit::argument(2, "the last argument is a type: typeof(long)")),
    }
}

fn percentile(call: &Call<'_>) -> Result<ArrayRef> {
    let (digests, percents) = (call.text(0)?, call.real(1)?);
    Ok(call.dynamics(|row, out| {
        let (Some(mut digest), Some(percent)) = (digests.json(row).and_then(Digest::read), percents.get(row)) else { return false };
        let Some(value) = digest.percentile(percent) else { return false };
        digest.measure().write(value, out);
        true
    }))
}

/// Percents as numbers or arrays of numbers.
fn percentiles(call: &Call<'_>) -> Result<ArrayRef> {
    let (digests, percents) = (call.text(0)?, call.values_from(1)?);
    let mut raw = String::new();
    Ok(call.dynamics(|row, out| {
        let Some(mut digest) = digests.json(row).and_then(Digest::read).filter(|digest| !digest.is_empty()) else { return false };
        out.push('[');
        for values in &percents {
            raw.clear();
            values.write_json(row, &mut raw);
            for percent in super::dynamics::elements(Some(&raw)).unwrap_or_else(|| vec![&raw]) {
                if out.len() > 1 {
                    out.push(',');
                }
                match percent.parse().ok().and_then(|percent| digest.percentile(percent)) {
                    Some(value) => digest.measure().write(value, out),
                    None => out.push_str("null"),
                }
            }
        }
        out.push(']');
        true
    }))
}

fn ranked(call: &Call<'_>, rank: fn(&mut Digest, f64) -> Option<f64>) -> Result<ArrayRef> {
    let (digests, values) = (call.text(0)?, call.values(1)?);
    Ok(call.reals(|row| rank(&mut Digest::read(digests.json(row)?)?, measured(&values, row)?)))
}

/// A value as digests hold it; none if it is null or no measure.
#[expect(clippy::cast_precision_loss, reason = "digests are made of reals")]
pub(in crate::functions) fn measured(values: &Values, row: usize) -> Option<f64> {
    match values {
        Values::Bool(v) => v.get(row).map(|v| if v { 1.0 } else { 0.0 }),
        Values::Int(v) => v.get(row).map(f64::from),
        Values::Long(v) => v.get(row).map(|v| v as f64),
        Values::Real(v) => v.get(row),
        Values::Decimal(v) => v.get(row).map(|v| v as f64 / text_of::DECIMAL_ONE as f64),
        Values::DateTime(v) => v.get(row).map(|ns| text_of::ticks_of_ns(ns) as f64),
        Values::TimeSpan(v) => v.get(row).map(|ns| (ns / 100) as f64),
        Values::Dynamic(v) => v.json(row)?.parse().ok(),
        Values::String(_) | Values::Guid(_) => None,
    }
}
