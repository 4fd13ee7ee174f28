//! Missing values filled: with what is before or behind them, a constant, or a line between their neighbours.

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::{Call, Series, Values, number};
use crate::functions::scalars::json;

/// What counts as missing: null, unless the call names a number (or text).
fn missing(call: &Call<'_>, index: usize) -> Result<impl Fn(usize, &str) -> bool> {
    let marks = if call.has(index) { Some(call.values(index)?) } else { None };
    Ok(move |row: usize, item: &str| match &marks {
        Some(marks) if !marks.is_null(row) => {
            let mut mark = String::new();
            marks.write_json(row, &mut mark);
            item == mark || number(item).zip(number(&mark)).is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
        }
        _ => item == "null",
    })
}

/// Elements as they are but the missing ones, which `fill` replaces: it sees all elements and which of them are missing.
fn replaced(call: &Call<'_>, mark: usize, fill: impl Fn(usize, &mut [String], &[bool])) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let is_missing = missing(call, mark)?;
    Ok(call.dynamics(|row, out| {
        let Some(items) = arrays.json(row).and_then(json::items) else { return false };
        let mut items: Vec<String> = items.map(str::to_owned).collect();
        let gaps: Vec<bool> = items.iter().map(|item| is_missing(row, item)).collect();
        fill(row, &mut items, &gaps);
        out.push('[');
        out.push_str(&items.join(","));
        out.push(']');
        true
    }))
}

/// `series_fill_forward(series[, missing])`: the last value before the gap.
pub(super) fn forward(call: &Call<'_>) -> Result<ArrayRef> {
    replaced(call, 1, |_, items, gaps| {
        for at in 1..items.len() {
            if gaps[at] {
                let (before, here) = items.split_at_mut(at);
                here[0].clone_from(&before[at - 1]);
            }
        }
    })
}

/// `series_fill_backward(series[, missing])`: the first value behind the gap.
pub(super) fn backward(call: &Call<'_>) -> Result<ArrayRef> {
    replaced(call, 1, |_, items, gaps| {
        for at in (0..items.len().saturating_sub(1)).rev() {
            if gaps[at] {
                let (here, behind) = items.split_at_mut(at + 1);
                here[at].clone_from(&behind[0]);
            }
        }
    })
}

/// `series_fill_const(series, value[, missing])`
pub(super) fn constant(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values(1)?;
    replaced(call, 2, |row, items, gaps| {
        let mut value = String::new();
        values.write_json(row, &mut value);
        for (item, _) in items.iter_mut().zip(gaps).filter(|(_, gap)| **gap) {
            item.clone_from(&value);
        }
    })
}

/// `series_fill_linear(series[, missing[, edges[, constant]]])`: on the line between the neighbours; at the edges (unless told not
/// to) the nearest value; where there is no value at all the constant.
pub(super) fn linear(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let is_missing = missing(call, 1)?;
    let edges = if call.has(2) { Some(call.bool(2)?) } else { None };
    let constants = if call.has(3) { Some(call.values(3)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(raw) = arrays.json(row) else { return false };
        let (Some(items), Some(mut series)) = (json::items(raw), Series::read(raw)) else { return false };
        for (item, value) in items.zip(&mut series.values) {
            if is_missing(row, item) {
                *value = None;
            }
        }
        let fill_edges = edges.as_ref().and_then(|edges| edges.get(row)).unwrap_or(true);
        if series.values.iter().all(Option::is_none) {
            let constant = constants.as_ref().map_or(Some(0.0), |values| real_of(values, row));
            series.whole = false;
            series.values.fill(constant);
        } else {
            between(&mut series.values);
            if fill_edges {
                at_edges(&mut series.values);
            }
        }
        series.write(out);
        true
    }))
}

fn real_of(values: &Values, row: usize) -> Option<f64> {
    let mut text = String::new();
    values.write_json(row, &mut text);
    number(&text)
}

/// Gaps between two values.
fn between(values: &mut [Option<f64>]) {
    let mut last: Option<(usize, f64)> = None;
    for at in 0..values.len() {
        let Some(here) = values[at] else { continue };
        if let Some((from, before)) = last {
            let step = (here - before) / super::real(at - from);
            for (gap, value) in values.iter_mut().enumerate().take(at).skip(from + 1) {
                *value = Some(before + step * super::real(gap - from));
            }
        }
        last = Some((at, here));
    }
}

/// Gaps before the first and behind the last value.
fn at_edges(values: &mut [Option<f64>]) {
    let first = values.iter().flatten().next().copied();
    let last = values.iter().flatten().next_back().copied();
    values.iter_mut().take_while(|value| value.is_none()).for_each(|value| *value = first);
    values.iter_mut().rev().take_while(|value| value.is_none()).for_each(|value| *value = last);
}
