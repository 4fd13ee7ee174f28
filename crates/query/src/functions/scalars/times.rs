//! Functions over datetimes and timespans.

use std::fmt::Write as _;

use arrow::array::ArrayRef;
use datafusion::common::Result;

use super::args::Call;
use super::text_of::{DAY, HOUR, MINUTE, SECOND, civil, day_of, days_in_month};

/// A stretch of the calendar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Period {
    Year,
    Month,
    Week,
    Day,
}

/// The first instant of the period `shift` periods on.
fn start_of(ns: i64, period: Period, shift: i64) -> i64 {
    let day = ns.div_euclid(DAY);
    // No one shifts beyond what the calendar holds and means it.
    let shift = shift.clamp(-1_000_000, 1_000_000);
    let (year, month, _) = civil(day);
    let start = match period {
        Period::Day => day + shift,
        // 1970-01-01 was a Thursday; weeks begin on Sunday.
        Period::Week => day - (day + 4).rem_euclid(7) + 7 * shift,
        Period::Month => day_of(year, month + shift, 1),
        Period::Year => day_of(year + shift, 1, 1),
    };
    start.saturating_mul(DAY)
}

fn start(call: &Call<'_>, period: Period) -> Result<ArrayRef> {
    let times = call.datetime(0)?;
    let shifts = if call.has(1) { Some(call.long(1)?) } else { None };
    Ok(call.datetimes(|row| Some(start_of(times.get(row)?, period, shifts.as_ref().map_or(Some(0), |s| s.get(row))?))))
}

/// One tick before the next period.
fn end(call: &Call<'_>, period: Period) -> Result<ArrayRef> {
    let times = call.datetime(0)?;
    let shifts = if call.has(1) { Some(call.long(1)?) } else { None };
    Ok(call.datetimes(|row| {
        let shift = shifts.as_ref().map_or(Some(0), |s| s.get(row))?;
        Some(start_of(times.get(row)?, period, shift.saturating_add(1)).saturating_sub(100))
    }))
}

macro_rules! periods {
    ($($start:ident, $end:ident: $period:expr;)*) => {
        $(pub(super) fn $start(call: &Call<'_>) -> Result<ArrayRef> {
            start(call, $period)
        }
        pub(super) fn $end(call: &Call<'_>) -> Result<ArrayRef> {
            end(call, $period)
        })*
    };
}

periods! {
    startofday, endofday: Period::Day;
    startofweek, endofweek: Period::Week;
    startofmonth, endofmonth: Period::Month;
    startofyear, endofyear: Period::Year;
}

/// A number read off a datetime.
fn part_of(part: &str, ns: i64) -> Option<i64> {
    let day = ns.div_euclid(DAY);
    let rest = ns.rem_euclid(DAY);
    let (year, month, month_day) = civil(day);
    Some(match part {
        "year" => year,
        "quarter" => (month + 2) / 3,
        "month" => month,
        "week_of_year" | "weekofyear" | "week" => iso_week(day),
        "day" => month_day,
        "dayofyear" => day - day_of(year, 1, 1) + 1,
        "hour" => rest / HOUR,
        "minute" => rest / MINUTE % 60,
        "second" => rest / SECOND % 60,
        "millisecond" => rest / 1_000_000 % 1_000,
        "microsecond" => rest / 1_000 % 1_000_000,
        "nanosecond" => rest % SECOND,
        _ => return None,
    })
}

/// The ISO 8601 week of a day counted from 1970: that of its Thursday.
fn iso_week(day: i64) -> i64 {
    let thursday = day - (day + 3).rem_euclid(7) + 3;
    let (year, ..) = civil(thursday);
    (thursday - day_of(year, 1, 1)) / 7 + 1
}

fn small(value: i64) -> Option<i32> {
    i32::try_from(value).ok()
}

macro_rules! parts {
    ($($name:ident: $part:literal;)*) => {
        $(pub(super) fn $name(call: &Call<'_>) -> Result<ArrayRef> {
            let times = call.datetime(0)?;
            Ok(call.ints(|row| part_of($part, times.get(row)?).and_then(small)))
        })*
    };
}

parts! {
    getyear: "year";
    monthofyear: "month";
    dayofmonth: "day";
    dayofyear: "dayofyear";
    hourofday: "hour";
    week_of_year: "week";
}

/// A timespan: how long ago Sunday was.
pub(super) fn dayofweek(call: &Call<'_>) -> Result<ArrayRef> {
    let times = call.datetime(0)?;
    Ok(call.timespans(|row| Some((times.get(row)?.div_euclid(DAY) + 4).rem_euclid(7) * DAY)))
}

/// `datetime_part(part, datetime)`
pub(super) fn datetime_part(call: &Call<'_>) -> Result<ArrayRef> {
    let (parts, times) = (call.text(0)?, call.datetime(1)?);
    let mut last = (String::new(), String::new());
    Ok(call.ints(|row| {
        if last.0 != parts.get(row) {
            last = (parts.get(row).to_owned(), parts.get(row).to_ascii_lowercase());
        }
        part_of(&last.1, times.get(row)?).and_then(small)
    }))
}

/// `datetime_add(period, amount, datetime)`
pub(super) fn datetime_add(call: &Call<'_>) -> Result<ArrayRef> {
    let (periods, amounts, times) = (call.text(0)?, call.long(1)?, call.datetime(2)?);
    Ok(call.datetimes(|row| add(&periods.get(row).to_ascii_lowercase(), amounts.get(row)?, times.get(row)?)))
}

fn add(period: &str, amount: i64, ns: i64) -> Option<i64> {
    let months = match period {
        "year" => amount.checked_mul(12)?,
        "quarter" => amount.checked_mul(3)?,
        "month" => amount,
        _ => return ns.checked_add(amount.checked_mul(length_of(period)?)?),
    };
    let (year, month, day) = civil(ns.div_euclid(DAY));
    let month = month.checked_add(months)?;
    let (year, month) = (year.checked_add((month - 1).div_euclid(12))?, (month - 1).rem_euclid(12) + 1);
    if !(1..=9999).contains(&year) {
        return None;
    }
    let day = day.min(days_in_month(year, month));
    Some(day_of(year, month, day).saturating_mul(DAY).saturating_add(ns.rem_euclid(DAY)))
}

/// Nanoseconds in a period of fixed length.
fn length_of(period: &str) -> Option<i64> {
    Some(match period {
        "week" => 7 * DAY,
        "day" => DAY,
        "hour" => HOUR,
        "minute" => MINUTE,
        "second" => SECOND,
        "millisecond" => 1_000_000,
        "microsecond" => 1_000,
        "nanosecond" => 1,
        _ => return None,
    })
}

/// `datetime_diff(period, a, b)`: how many boundaries of periods lie between.
pub(super) fn datetime_diff(call: &Call<'_>) -> Result<ArrayRef> {
    let (periods, left, right) = (call.text(0)?, call.datetime(1)?, call.datetime(2)?);
    Ok(call.longs(|row| {
        let period = periods.get(row).to_ascii_lowercase();
        Some(ordinal(&period, left.get(row)?)? - ordinal(&period, right.get(row)?)?)
    }))
}

/// The number of the period an instant lies in.
fn ordinal(period: &str, ns: i64) -> Option<i64> {
    let (year, month, _) = civil(ns.div_euclid(DAY));
    Some(match period {
        "year" => year,
        "quarter" => year * 4 + (month - 1) / 3,
        "month" => year * 12 + month,
        "week" => (ns.div_euclid(DAY) + 4).div_euclid(7),
        _ => ns.div_euclid(length_of(period)?),
    })
}

/// `make_datetime(year, month, day[, hour, minute, second])`
pub(super) fn make_datetime(call: &Call<'_>) -> Result<ArrayRef> {
    let parts: Vec<_> = (0..call.args.len().min(5)).map(|index| call.long(index)).collect::<Result<_>>()?;
    let seconds = if call.has(5) { Some(call.real(5)?) } else { None };
    Ok(call.datetimes(|row| {
        let part = |index: usize, default| parts.get(index).map_or(Some(default), |p| p.get(row));
        let (year, month, day) = (part(0, 1)?, part(1, 1)?, part(2, 1)?);
        let (hour, minute) = (part(3, 0)?, part(4, 0)?);
        let second = seconds.as_ref().map_or(Some(0.0), |s| s.get(row))?;
        let good = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
        if !good || !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..60.0).contains(&second) {
            return None;
        }
        let clock = hour * HOUR + minute * MINUTE + ns_of_seconds(second)?;
        Some(day_of(year, month, day).saturating_mul(DAY).saturating_add(clock))
    }))
}

/// `make_timespan([days,] hours, minutes[, seconds])`
pub(super) fn make_timespan(call: &Call<'_>) -> Result<ArrayRef> {
    let count = call.args.len();
    let (days, first) = if count == 4 { (Some(call.long(0)?), 1) } else { (None, 0) };
    let (hours, minutes) = (call.long(first)?, call.long(first + 1)?);
    let seconds = if call.has(first + 2) { Some(call.real(first + 2)?) } else { None };
    Ok(call.timespans(|row| {
        let day = days.as_ref().map_or(Some(0), |d| d.get(row))?;
        let (hour, minute) = (hours.get(row)?, minutes.get(row)?);
        let second = seconds.as_ref().map_or(Some(0.0), |s| s.get(row))?;
        if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0.0..60.0).contains(&second) {
            return None;
        }
        day.checked_mul(DAY)?.checked_add(hour * HOUR + minute * MINUTE + ns_of_seconds(second)?)
    }))
}

/// To the tick.
#[expect(clippy::cast_possible_truncation, reason = "checked against the range first")]
fn ns_of_seconds(seconds: f64) -> Option<i64> {
    let ticks = (seconds * 1e7).round();
    (ticks.abs() < 9.2e16).then(|| ticks as i64 * 100)
}

fn from_unix(call: &Call<'_>, unit: f64) -> Result<ArrayRef> {
    if call.kinds[0] == strongroom_model::ColumnType::Real {
        let values = call.real(0)?;
        return Ok(call.datetimes(|row| ns_of_seconds(values.get(row)? * unit / 1e9)));
    }
    #[expect(clippy::cast_possible_truncation, reason = "units are powers of ten up to 1e9")]
    let unit = unit as i64;
    let values = call.long(0)?;
    Ok(call.datetimes(|row| values.get(row)?.checked_mul(unit)))
}

pub(super) fn unixtime_seconds(call: &Call<'_>) -> Result<ArrayRef> {
    from_unix(call, 1e9)
}

pub(super) fn unixtime_milliseconds(call: &Call<'_>) -> Result<ArrayRef> {
    from_unix(call, 1e6)
}

pub(super) fn unixtime_microseconds(call: &Call<'_>) -> Result<ArrayRef> {
    from_unix(call, 1e3)
}

pub(super) fn unixtime_nanoseconds(call: &Call<'_>) -> Result<ArrayRef> {
    from_unix(call, 1.0)
}

/// A run of one letter in a format, or text between.
fn runs(format: &str) -> impl Iterator<Item = (char, usize)> {
    let mut rest = format.chars().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let mut length = 1;
        while first.is_ascii_alphabetic() && rest.next_if_eq(&first).is_some() {
            length += 1;
        }
        Some((first, length))
    })
}

fn digits(out: &mut String, value: i64, width: usize) {
    write!(out, "{value:0width$}").expect("a String takes everything");
}

/// Fractions of a second: `f` keeps zeros, `F` drops trailing ones.
fn fraction(out: &mut String, ns: i64, length: usize, keep: bool) {
    let text = format!("{:07}", ns.rem_euclid(SECOND) / 100);
    let text = &text[..length.min(7)];
    out.push_str(if keep { text } else { text.trim_end_matches('0') });
}

/// `format_datetime(datetime, format)`
pub(super) fn format_datetime(call: &Call<'_>) -> Result<ArrayRef> {
    let (times, formats) = (call.datetime(0)?, call.text(1)?);
    Ok(call.texts(|row, out| {
        let Some(ns) = times.get(row) else { return };
        let (year, month, day) = civil(ns.div_euclid(DAY));
        let clock = ns.rem_euclid(DAY);
        let hour = clock / HOUR;
        for (letter, length) in runs(formats.get(row)) {
            match letter {
                'y' => digits(out, if length <= 2 { year % 100 } else { year }, length),
                'M' => digits(out, month, length.min(2)),
                'd' => digits(out, day, length.min(2)),
                'H' => digits(out, hour, length.min(2)),
                'h' => digits(out, (hour + 11) % 12 + 1, length.min(2)),
                'm' => digits(out, clock / MINUTE % 60, length.min(2)),
                's' => digits(out, clock / SECOND % 60, length.min(2)),
                'f' => fraction(out, clock, length, true),
                'F' => fraction(out, clock, length, false),
                't' => out.push_str(&(if hour < 12 { "AM" } else { "PM" })[..length.min(2)]),
                other => (0..length).for_each(|_| out.push(other)),
            }
        }
    }))
}

/// `format_timespan(timespan, format)`
pub(super) fn format_timespan(call: &Call<'_>) -> Result<ArrayRef> {
    let (spans, formats) = (call.timespan(0)?, call.text(1)?);
    Ok(call.texts(|row, out| {
        let Some(ns) = spans.get(row) else { return };
        if ns < 0 {
            out.push('-');
        }
        let ns = ns.checked_abs().unwrap_or(i64::MAX);
        for (letter, length) in runs(formats.get(row)) {
            match letter {
                'd' => digits(out, ns / DAY, length),
                'H' | 'h' => digits(out, ns / HOUR % 24, length.min(2)),
                'm' => digits(out, ns / MINUTE % 60, length.min(2)),
                's' => digits(out, ns / SECOND % 60, length.min(2)),
                'f' => fraction(out, ns, length, true),
                'F' => fraction(out, ns, length, false),
                other => (0..length).for_each(|_| out.push(other)),
            }
        }
    }))
}
