//! Arrays moved, chosen from and sorted together.

use arrow::array::ArrayRef;
use datafusion::common::Result;
use strongroom_model::ColumnType as C;

use super::args::{Call, Text, Values};
use super::dynamics::{compare, elements, write_list};
use super::json;
use super::spec::{ScalarSpec, Want as W};
use super::table::f;

pub(super) static SPECS: &[ScalarSpec] = &[
    f("array_iff", &[W::Dynamic, W::Any, W::Any], C::Dynamic, array_iff).also(&["array_iif"]),
    f("array_rotate_left", &[W::Dynamic, W::Long], C::Dynamic, array_rotate_left),
    f("array_rotate_right", &[W::Dynamic, W::Long], C::Dynamic, array_rotate_right),
    f("array_shift_left", &[W::Dynamic, W::Long, W::Any], C::Dynamic, array_shift_left).least(2),
    f("array_shift_right", &[W::Dynamic, W::Long, W::Any], C::Dynamic, array_shift_right).least(2),
    // Behind `array_sort_asc(a, b, ..)`: the sorted arrays in an array.
    f("array_sort_asc_together", &[W::Dynamic, W::Any], C::Dynamic, sort_asc_together).more(W::Any),
    f("array_sort_desc_together", &[W::Dynamic, W::Any], C::Dynamic, sort_desc_together).more(W::Any),
];

/// `array_iff(conditions, when_true, when_false)`: arrays, or one value for all places.
fn array_iff(call: &Call<'_>) -> Result<ArrayRef> {
    let (conditions, values) = (call.text(0)?, call.values_from(1)?);
    let (mut yes, mut no) = (String::new(), String::new());
    Ok(call.dynamics(|row, out| {
        let Some(conditions) = elements(conditions.json(row)) else { return false };
        for (text, values) in [(&mut yes, &values[0]), (&mut no, &values[1])] {
            text.clear();
            values.write_json(row, text);
        }
        let (all_yes, all_no) = (elements(Some(&yes)), elements(Some(&no)));
        let chosen = conditions.iter().enumerate().map(|(at, condition)| {
            let (text, all) = match truth(condition) {
                Some(true) => (&yes, &all_yes),
                Some(false) => (&no, &all_no),
                None => return "null",
            };
            all.as_ref().map_or(text.as_str(), |all| all.get(at).copied().unwrap_or("null"))
        });
        write_list(out, chosen);
        true
    }))
}

/// Of booleans and numbers; nothing else is true or false.
fn truth(raw: &str) -> Option<bool> {
    match json::type_name(raw) {
        "bool" => Some(raw == "true"),
        "long" | "double" => raw.parse::<f64>().ok().map(|value| value != 0.0),
        _ => None,
    }
}

fn rotated(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    let (arrays, places) = (call.text(0)?, call.long(1)?);
    Ok(call.dynamics(|row, out| {
        let (Some(mut items), Some(places)) = (elements(arrays.json(row)), places.get(row)) else { return false };
        if let Ok(len @ 1..) = i64::try_from(items.len()) {
            let places = usize::try_from(places.rem_euclid(len)).unwrap_or(0);
            if left { items.rotate_left(places) } else { items.rotate_right(places) }
        }
        write_list(out, items.into_iter());
        true
    }))
}

fn array_rotate_left(call: &Call<'_>) -> Result<ArrayRef> {
    rotated(call, true)
}

fn array_rotate_right(call: &Call<'_>) -> Result<ArrayRef> {
    rotated(call, false)
}

/// `array_shift_..(array, places[, fill])`: what is pushed out is lost, what comes in is `fill` (or null).
fn shifted(call: &Call<'_>, left: bool) -> Result<ArrayRef> {
    let (arrays, places) = (call.text(0)?, call.long(1)?);
    let fills = if call.has(2) { Some(call.values(2)?) } else { None };
    let mut fill = String::new();
    Ok(call.dynamics(|row, out| {
        let (Some(items), Some(places)) = (elements(arrays.json(row)), places.get(row)) else { return false };
        fill.clear();
        match &fills {
            // A string that is missing cannot be told from an empty one.
            Some(fills) => fills.write_json(row, &mut fill),
            None => fill.push_str("null"),
        }
        let places = if left { places } else { places.saturating_neg() };
        let from = |at: usize| i64::try_from(at).ok()?.checked_add(places).and_then(|at| items.get(usize::try_from(at).ok()?));
        write_list(out, (0..items.len()).map(|at| from(at).copied().unwrap_or(&fill)));
        true
    }))
}

fn array_shift_left(call: &Call<'_>) -> Result<ArrayRef> {
    shifted(call, true)
}

fn array_shift_right(call: &Call<'_>) -> Result<ArrayRef> {
    shifted(call, false)
}

/// `array_sort_..(first, second, ..[, nulls_last])`: all in the order of the first, then of the second where that is equal, ..
/// An array of another length than the first comes out as null.
fn together(call: &Call<'_>, descending: bool) -> Result<ArrayRef> {
    let mut values = call.values_from(0)?;
    let last = match values.last() {
        Some(Values::Bool(_)) => values.pop(),
        _ => None,
    };
    let arrays: Vec<Text> =
        values.into_iter().filter_map(|values| if let Values::Dynamic(text) = values { Some(text) } else { None }).collect();
    Ok(call.dynamics(|row, out| {
        let all: Vec<Option<Vec<&str>>> = arrays.iter().map(|array| elements(array.json(row))).collect();
        let Some(first) = all.first().cloned().flatten() else { return false };
        let nulls_last = if let Some(Values::Bool(last)) = &last { last.get(row).unwrap_or(true) } else { true };
        let fitting: Vec<&Vec<&str>> = all.iter().flatten().filter(|array| array.len() == first.len()).collect();
        let mut order: Vec<usize> = (0..first.len()).collect();
        order.sort_by(|a, b| {
            let keys = fitting.iter().map(|array| compare_elements(array[*a], array[*b], descending, nulls_last));
            keys.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        out.push('[');
        for (at, array) in all.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            match array {
                Some(array) if array.len() == first.len() => write_list(out, order.iter().map(|at| array[*at])),
                _ => out.push_str("null"),
            }
        }
        out.push(']');
        true
    }))
}

fn compare_elements(a: &str, b: &str, descending: bool, nulls_last: bool) -> std::cmp::Ordering {
    let nulls = (a == "null").cmp(&(b == "null"));
    let nulls = if nulls_last { nulls } else { nulls.reverse() };
    nulls.then_with(|| compare(a, b, descending))
}

fn sort_asc_together(call: &Call<'_>) -> Result<ArrayRef> {
    together(call, false)
}

fn sort_desc_together(call: &Call<'_>) -> Result<ArrayRef> {
    together(call, true)
}
