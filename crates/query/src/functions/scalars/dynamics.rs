//! Functions over `dynamic`: arrays, bags and sets. Elements are told apart by their JSON text, so `2` is not `"2"`.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use datafusion::common::Result;
use hashbrown::HashSet;
use strongroom_model::ColumnType;

use super::args::{Call, Values};
use super::json;
use super::text_of;

/// Most elements `range` and `repeat` make.
const MADE_MAX: i64 = 1 << 20;

pub(super) fn write_list<'a>(out: &mut String, items: impl Iterator<Item = &'a str>) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(item);
    }
    out.push(']');
}

pub(super) fn elements(raw: Option<&str>) -> Option<Vec<&str>> {
    Some(json::items(raw?)?.collect())
}

pub(super) fn array_length(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.longs(|row| i64::try_from(json::items(arrays.json(row)?)?.count()).ok()))
}

/// `dynamic_get(value, step, ..)`: a string or long step into a bag or array at a time.
pub(super) fn dynamic_get(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.text(0)?;
    let steps = call.values_from(1)?;
    Ok(call.dynamic_slices(|row| {
        let mut here = values.json(row)?;
        for step in &steps {
            here = match step {
                Values::String(name) => json::member(here, name.get(row))?,
                Values::Long(index) => json::element(here, index.get(row)?)?,
                Values::Int(index) => json::element(here, i64::from(index.get(row)?))?,
                Values::Dynamic(step) => {
                    let step = step.json(row)?;
                    match json::string(step) {
                        Some(name) => json::member(here, &name)?,
                        None => json::element(here, step.parse().ok()?)?,
                    }
                }
                _ => return None,
            };
        }
        Some(here)
    }))
}

pub(super) fn bag_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let bags = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some(entries) = bags.json(row).and_then(json::entries) else { return false };
        write_list(out, entries.map(|(key, _)| key));
        true
    }))
}

pub(super) fn bag_has_key(call: &Call<'_>) -> Result<ArrayRef> {
    let (bags, keys) = (call.text(0)?, call.text(1)?);
    Ok(call.maybe_bools(|row| Some(json::entries(bags.json(row)?)?.any(|(key, _)| json::is_string(key, keys.get(row))))))
}

fn write_entry(out: &mut String, key: &str, value: &str) {
    if out.len() > 1 {
        out.push(',');
    }
    out.push_str(key);
    out.push(':');
    out.push_str(value);
}

/// `bag_merge(a, b, ..)`: of equal keys the leftmost counts.
pub(super) fn bag_merge(call: &Call<'_>) -> Result<ArrayRef> {
    let bags = (0..call.args.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.dynamics(|row, out| {
        let mut seen = HashSet::new();
        let mut any = false;
        out.push('{');
        for entries in bags.iter().filter_map(|bag| bag.json(row).and_then(json::entries)) {
            any = true;
            for (key, value) in entries {
                if seen.insert(key) {
                    write_entry(out, key, value);
                }
            }
        }
        out.push('}');
        any
    }))
}

/// `bag_pack(key, value, ..)`
pub(super) fn bag_pack(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    let mut key = String::new();
    Ok(call.dynamics(|row, out| {
        out.push('{');
        for pair in values.chunks_exact(2) {
            if out.len() > 1 {
                out.push(',');
            }
            key.clear();
            pair[0].write_text(row, &mut key);
            json::write_string(&key, out);
            out.push(':');
            pair[1].write_json(row, out);
        }
        out.push('}');
        true
    }))
}

/// `bag_pack` without nulls and empty strings: `pack_all(true)`.
pub(super) fn bag_pack_filled(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    let (mut key, mut value) = (String::new(), String::new());
    Ok(call.dynamics(|row, out| {
        out.push('{');
        for pair in values.chunks_exact(2) {
            key.clear();
            value.clear();
            pair[1].write_json(row, &mut value);
            if matches!(value.as_str(), "null" | "\"\"") {
                continue;
            }
            pair[0].write_text(row, &mut key);
            let mut written = String::with_capacity(key.len() + 2);
            json::write_string(&key, &mut written);
            write_entry(out, &written, &value);
        }
        out.push('}');
        true
    }))
}

/// `pack_array(a, ..)`
pub(super) fn pack_array(call: &Call<'_>) -> Result<ArrayRef> {
    let values = call.values_from(0)?;
    Ok(call.dynamics(|row, out| {
        out.push('[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            value.write_json(row, out);
        }
        out.push(']');
        true
    }))
}

/// `bag_remove_keys(bag, keys)`
pub(super) fn bag_remove_keys(call: &Call<'_>) -> Result<ArrayRef> {
    let (bags, keys) = (call.text(0)?, call.text(1)?);
    Ok(call.dynamics(|row, out| {
        let Some(entries) = bags.json(row).and_then(json::entries) else { return false };
        let unwanted: HashSet<&str> = elements(keys.json(row)).unwrap_or_default().into_iter().collect();
        out.push('{');
        for (key, value) in entries.filter(|(key, _)| !unwanted.contains(key)) {
            write_entry(out, key, value);
        }
        out.push('}');
        true
    }))
}

/// `bag_set_key(bag, key, value)`
pub(super) fn bag_set_key(call: &Call<'_>) -> Result<ArrayRef> {
    let (bags, keys, values) = (call.text(0)?, call.text(1)?, call.values(2)?);
    let (mut wanted, mut value) = (String::new(), String::new());
    Ok(call.dynamics(|row, out| {
        let Some(entries) = bags.json(row).and_then(json::entries) else { return false };
        wanted.clear();
        value.clear();
        json::write_string(keys.get(row), &mut wanted);
        values.write_json(row, &mut value);
        let mut set = false;
        out.push('{');
        for (key, old) in entries {
            let hit = key == wanted;
            set |= hit;
            write_entry(out, key, if hit { &value } else { old });
        }
        if !set {
            write_entry(out, &wanted, &value);
        }
        out.push('}');
        true
    }))
}

/// `bag_zip(keys, values)`
pub(super) fn bag_zip(call: &Call<'_>) -> Result<ArrayRef> {
    let (keys, values) = (call.text(0)?, call.text(1)?);
    Ok(call.dynamics(|row, out| {
        let (Some(keys), Some(values)) = (elements(keys.json(row)), elements(values.json(row))) else { return false };
        out.push('{');
        for (index, key) in keys.iter().enumerate().filter(|(_, key)| key.starts_with('"')) {
            write_entry(out, key, values.get(index).copied().unwrap_or("null"));
        }
        out.push('}');
        true
    }))
}

/// `array_concat(a, b, ..)`: what is no array is one element; nulls count for nothing.
pub(super) fn array_concat(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = (0..call.args.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    Ok(call.dynamics(|row, out| {
        let mut all = Vec::new();
        let mut any = false;
        for raw in arrays.iter().filter_map(|array| array.json(row)) {
            any = true;
            match json::items(raw) {
                Some(items) => all.extend(items),
                None => all.push(raw),
            }
        }
        write_list(out, all.into_iter());
        any
    }))
}

/// `array_slice(array, first, last)`: both included; negative from the end.
pub(super) fn array_slice(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, firsts, lasts) = (call.text(0)?, call.long(1)?, call.long(2)?);
    Ok(call.dynamics(|row, out| {
        let (Some(items), Some(first), Some(last)) = (elements(arrays.json(row)), firsts.get(row), lasts.get(row)) else { return false };
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let place = |index: i64| if index < 0 { index.saturating_add(count) } else { index };
        let from = usize::try_from(place(first).max(0)).unwrap_or(0).min(items.len());
        let to = usize::try_from((place(last).min(count - 1) + 1).max(0)).unwrap_or(0);
        write_list(out, items.get(from..to).unwrap_or_default().iter().copied());
        true
    }))
}

/// `array_split(array, place)`: two arrays, or more if places are an array.
pub(super) fn array_split(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, places) = (call.text(0)?, call.values(1)?);
    Ok(call.dynamics(|row, out| {
        let Some(items) = elements(arrays.json(row)) else { return false };
        let mut text = String::new();
        places.write_text(row, &mut text);
        let wanted: Vec<i64> = match elements(Some(text.as_str())) {
            Some(list) => list.iter().filter_map(|raw| raw.parse().ok()).collect(),
            None => text.parse().into_iter().collect(),
        };
        let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let mut start = 0;
        out.push('[');
        for place in wanted {
            let place = usize::try_from(if place < 0 { (place + count).max(0) } else { place.min(count) }).unwrap_or(0).max(start);
            write_list(out, items[start..place].iter().copied());
            out.push(',');
            start = place;
        }
        write_list(out, items[start..].iter().copied());
        out.push(']');
        true
    }))
}

pub(super) fn array_reverse(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.dynamics(|row, out| {
        let Some(items) = elements(arrays.json(row)) else { return false };
        write_list(out, items.into_iter().rev());
        true
    }))
}

/// A value as an element of an array has it.
fn element_of(values: &Values, row: usize, out: &mut String) {
    out.clear();
    values.write_json(row, out);
}

/// Whether two JSON values are equal: numbers by value, else by text.
fn equal(a: &str, b: &str) -> bool {
    a == b || number(a).zip(number(b)).is_some_and(|(a, b)| a.total_cmp(&b) == Ordering::Equal)
}

fn number(raw: &str) -> Option<f64> {
    raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()).then(|| raw.parse().ok())?
}

/// `array_index_of(array, value[, start[, length[, occurrence]]])`: -1 if it is not in that stretch.
pub(super) fn array_index_of(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, values) = (call.text(0)?, call.values(1)?);
    let options = (2..call.args.len().min(5)).map(|index| call.long(index)).collect::<Result<Vec<_>>>()?;
    let mut wanted = String::new();
    Ok(call.longs(|row| {
        let option = |index: usize, usual: i64| options.get(index).map_or(Some(usual), |numbers| numbers.get(row));
        let (start, length, occurrence) = (option(0, 0)?, option(1, -1)?, option(2, 1)?);
        if length < -1 || occurrence < 1 {
            return None;
        }
        let items = json::items(arrays.json(row)?)?;
        let start = if start < 0 { start + i64::try_from(items.clone().count()).ok()? } else { start };
        let (start, length) = (usize::try_from(start.max(0)).ok()?, usize::try_from(length).unwrap_or(usize::MAX));
        element_of(&values, row, &mut wanted);
        let mut hits = items.enumerate().skip(start).take(length).filter(|(_, item)| equal(item, &wanted));
        Some(hits.nth(usize::try_from(occurrence - 1).ok()?).map_or(-1, |(at, _)| i64::try_from(at).unwrap_or(-1)))
    }))
}

/// `set_has_element(array, value)`
pub(super) fn set_has_element(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, values) = (call.text(0)?, call.values(1)?);
    let mut wanted = String::new();
    Ok(call.maybe_bools(|row| {
        let mut items = json::items(arrays.json(row)?)?;
        element_of(&values, row, &mut wanted);
        Some(items.any(|item| equal(item, &wanted)))
    }))
}

/// How array sorts compare: numbers, then strings, then the rest, whichever the direction; nulls are the sorts' own business.
pub(super) fn compare(a: &str, b: &str, descending: bool) -> Ordering {
    let rank = |raw: &str| match json::type_name(raw) {
        "long" | "double" => 0,
        "string" => 1,
        _ => 2,
    };
    let values = match (number(a), number(b)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => match (json::string(a), json::string(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.cmp(b),
        },
    };
    rank(a).cmp(&rank(b)).then(if descending { values.reverse() } else { values })
}

/// `array_sort_..(array[, nulls_last])`
fn sorted(call: &Call<'_>, descending: bool) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    let last = if call.has(1) { Some(call.bool(1)?) } else { None };
    Ok(call.dynamics(|row, out| {
        let Some(mut items) = elements(arrays.json(row)) else { return false };
        let nulls_last = last.as_ref().and_then(|last| last.get(row)).unwrap_or(true);
        items.sort_by(|a, b| {
            let nulls = (*a == "null").cmp(&(*b == "null"));
            let nulls = if nulls_last { nulls } else { nulls.reverse() };
            nulls.then_with(|| compare(a, b, descending))
        });
        write_list(out, items.into_iter());
        true
    }))
}

pub(super) fn array_sort_asc(call: &Call<'_>) -> Result<ArrayRef> {
    sorted(call, false)
}

pub(super) fn array_sort_desc(call: &Call<'_>) -> Result<ArrayRef> {
    sorted(call, true)
}

/// The sum of an array's numbers; null if something else is among them, or nothing at all.
pub(super) fn array_sum(call: &Call<'_>) -> Result<ArrayRef> {
    let arrays = call.text(0)?;
    Ok(call.reals(|row| {
        let items = json::items(arrays.json(row)?)?;
        if items.clone().next().is_none() { None } else { items.map(number).sum() }
    }))
}

/// `strcat_array(array, delimiter)`
pub(super) fn strcat_array(call: &Call<'_>) -> Result<ArrayRef> {
    let (arrays, delimiters) = (call.text(0)?, call.text(1)?);
    Ok(call.texts(|row, out| {
        for (index, item) in arrays.json(row).and_then(json::items).into_iter().flatten().enumerate() {
            if !call.may_make(out.len()) {
                return;
            }
            if index > 0 {
                out.push_str(delimiters.get(row));
            }
            json::write_plain(item, out);
        }
    }))
}

/// Sets of all arguments of a row; none if one is no array.
fn sets(call: &Call<'_>) -> Result<impl FnMut(usize) -> Option<Vec<Vec<String>>>> {
    let arrays = (0..call.args.len()).map(|index| call.text(index)).collect::<Result<Vec<_>>>()?;
    Ok(move |row| {
        let all = arrays.iter().map(|array| elements(array.json(row)).map(|items| items.into_iter().map(str::to_owned).collect()));
        all.collect::<Option<Vec<Vec<String>>>>()
    })
}

fn write_set<'a>(out: &mut String, items: impl Iterator<Item = &'a String>) {
    let mut seen = HashSet::new();
    write_list(out, items.map(String::as_str).filter(|item| seen.insert(*item)));
}

pub(super) fn set_union(call: &Call<'_>) -> Result<ArrayRef> {
    let mut sets = sets(call)?;
    Ok(call.dynamics(|row, out| {
        let Some(sets) = sets(row) else { return false };
        write_set(out, sets.iter().flatten());
        true
    }))
}

pub(super) fn set_intersect(call: &Call<'_>) -> Result<ArrayRef> {
    let mut sets = sets(call)?;
    Ok(call.dynamics(|row, out| {
        let Some(sets) = sets(row) else { return false };
        let others: Vec<HashSet<&String>> = sets[1..].iter().map(|set| set.iter().collect()).collect();
        write_set(out, sets[0].iter().filter(|item| others.iter().all(|other| other.contains(item))));
        true
    }))
}

pub(super) fn set_difference(call: &Call<'_>) -> Result<ArrayRef> {
    let mut sets = sets(call)?;
    Ok(call.dynamics(|row, out| {
        let Some(sets) = sets(row) else { return false };
        let others: HashSet<&String> = sets[1..].iter().flatten().collect();
        write_set(out, sets[0].iter().filter(|item| !others.contains(item)));
        true
    }))
}

/// `jaccard_index(a, b)`: common elements to all elements.
#[expect(clippy::cast_precision_loss, reason = "sets have far fewer than 2^53 elements")]
pub(super) fn jaccard_index(call: &Call<'_>) -> Result<ArrayRef> {
    let mut sets = sets(call)?;
    Ok(call.reals(|row| {
        let sets = sets(row)?;
        let (a, b): (HashSet<&String>, HashSet<&String>) = (sets[0].iter().collect(), sets[1].iter().collect());
        Some(a.intersection(&b).count() as f64 / a.union(&b).count() as f64)
    }))
}

/// `zip(a, b, ..)`: arrays of the first elements, of the second ones, ..; short arrays are filled with nulls.
pub(super) fn zip(call: &Call<'_>) -> Result<ArrayRef> {
    let mut sets = sets(call)?;
    Ok(call.dynamics(|row, out| {
        let Some(arrays) = sets(row) else { return false };
        let longest = arrays.iter().map(Vec::len).max().unwrap_or(0);
        out.push('[');
        for index in 0..longest {
            if index > 0 {
                out.push(',');
            }
            write_list(out, arrays.iter().map(|array| array.get(index).map_or("null", String::as_str)));
        }
        out.push(']');
        true
    }))
}

/// `range(from, to[, step])` as an array of longs, reals, timespans or datetimes, at most 2^20 of them. Times go by hours.
pub(super) fn range(call: &Call<'_>) -> Result<ArrayRef> {
    use ColumnType as C;
    let step = if call.has(2) { Some(2) } else { None };
    let kind = call.kinds[0];
    if call.kinds.contains(&C::Real) {
        let (from, to) = (call.real(0)?, call.real(1)?);
        let step = step.map(|index| call.real(index)).transpose()?;
        return Ok(call.dynamics(|row, out| {
            let (Some(from), Some(to), Some(step)) = (from.get(row), to.get(row), step.as_ref().map_or(Some(1.0), |s| s.get(row))) else {
                return false;
            };
            let values = (0..MADE_MAX).map(|index| from + f64::from(i32::try_from(index).unwrap_or(i32::MAX)) * step);
            let values = values.take_while(|value| step > 0.0 && *value <= to || step < 0.0 && *value >= to);
            write_values(out, values, json::write_real);
            true
        }));
    }
    if !matches!(kind, C::Int | C::Long | C::TimeSpan | C::DateTime) {
        return Ok(call.dynamics(|_, _| false));
    }
    let (from, to) = (call.wide_argument(0)?, call.wide_argument(1)?);
    let usual = if matches!(kind, C::TimeSpan | C::DateTime) { text_of::HOUR } else { 1 };
    let step = step.map(|index| call.wide_argument(index)).transpose()?;
    let write = |value: i64, out: &mut String| match kind {
        C::TimeSpan => quoted(value, text_of::write_timespan, out),
        C::DateTime => quoted(value, text_of::write_datetime, out),
        _ => out.push_str(&value.to_string()),
    };
    Ok(call.dynamics(|row, out| {
        let (Some(from), Some(to), Some(step)) = (from.get(row), to.get(row), step.as_ref().map_or(Some(usual), |s| s.get(row))) else {
            return false;
        };
        let values = std::iter::successors(Some(from), |value| value.checked_add(step)).take(usize::try_from(MADE_MAX).unwrap_or(0));
        let values = values.take_while(|value| step > 0 && *value <= to || step < 0 && *value >= to);
        write_values(out, values, write);
        true
    }))
}

fn quoted(value: i64, write: fn(i64, &mut String), out: &mut String) {
    out.push('"');
    write(value, out);
    out.push('"');
}

fn write_values<T>(out: &mut String, values: impl Iterator<Item = T>, write: impl Fn(T, &mut String)) {
    out.push('[');
    for (index, value) in values.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(value, out);
    }
    out.push(']');
}

/// `repeat(value, times)`
pub(super) fn repeat(call: &Call<'_>) -> Result<ArrayRef> {
    let (values, times) = (call.values(0)?, call.long(1)?);
    let mut item = String::new();
    Ok(call.dynamics(|row, out| {
        let Some(times) = times.get(row).filter(|times| *times >= 0) else { return false };
        element_of(&values, row, &mut item);
        if !call.may_make(usize::try_from(times.min(MADE_MAX)).unwrap_or(0).saturating_mul(item.len() + 1)) {
            return false;
        }
        write_list(out, (0..times.min(MADE_MAX)).map(|_| item.as_str()));
        true
    }))
}
