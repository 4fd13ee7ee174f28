//! How values look as text (`tostring`), and the calendar behind datetimes.

use std::fmt::Write as _;

/// Digits of a decimal, and how many of them stand after the point.
pub(super) const DECIMAL_PRECISION: u8 = 34;
pub(super) const DECIMAL_SCALE: i8 = 17;
pub(super) const DECIMAL_ONE: i128 = 100_000_000_000_000_000;

pub(super) const SECOND: i64 = 1_000_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// Days from 0001-01-01 to 1970-01-01.
pub(super) const EPOCH_DAYS: i64 = 719_162;

macro_rules! put {
    ($out:expr, $($text:tt)*) => { write!($out, $($text)*).expect("a String takes everything") };
}

/// Shortest text that reads back as the number, with at least one decimal: `1.0`, `100000000000.0`, `1E+25`.
pub(crate) fn write_real(value: f64, out: &mut String) {
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "inf" } else { "-inf" });
    } else if value != 0.0 && !(1e-5..1e15).contains(&value.abs()) {
        let text = format!("{value:E}");
        let (mantissa, exponent) = text.split_once('E').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        put!(out, "{mantissa}E{sign}{digits:0>2}");
    } else {
        put!(out, "{value:?}");
    }
}

/// A decimal without trailing zeros.
pub(super) fn write_decimal(value: i128, out: &mut String) {
    let sign = if value < 0 { "-" } else { "" };
    let value = value.unsigned_abs();
    let (whole, part) = (value / DECIMAL_ONE.unsigned_abs(), value % DECIMAL_ONE.unsigned_abs());
    put!(out, "{sign}{whole}");
    if part > 0 {
        let digits = format!("{part:017}");
        put!(out, ".{}", digits.trim_end_matches('0'));
    }
}

/// `2020-01-01T00:00:00.0000000Z`; saturated values print as KQL's first and last datetime.
pub(crate) fn write_datetime(ns: i64, out: &mut String) {
    if ns == i64::MIN {
        out.push_str("0001-01-01T00:00:00.0000000Z");
        return;
    }
    if ns == i64::MAX {
        out.push_str("9999-12-31T23:59:59.9999999Z");
        return;
    }
    let (year, month, day) = civil(ns.div_euclid(DAY));
    let rest = ns.rem_euclid(DAY);
    let seconds = rest / SECOND;
    put!(
        out,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:07}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        rest % SECOND / 100
    );
}

/// `[-][d.]hh:mm:ss[.fffffff]`
pub(crate) fn write_timespan(ns: i64, out: &mut String) {
    if ns < 0 {
        out.push('-');
    }
    let ticks = ns.unsigned_abs() / 100;
    let (days, rest) = (ticks / 864_000_000_000, ticks % 864_000_000_000);
    let (seconds, fraction) = (rest / 10_000_000, rest % 10_000_000);
    if days > 0 {
        put!(out, "{days}.");
    }
    put!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        put!(out, ".{fraction:07}");
    }
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant, civil_from_days).
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let era_day = days.rem_euclid(146_097);
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let shifted = (5 * year_day + 2) / 153;
    let day = year_day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era_year + era * 400 + i64::from(month <= 2), month, day)
}

/// The day counted from 1970; months and days beyond their range carry over.
pub(super) fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let era_year = shifted.rem_euclid(400);
    let year_day = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + era_year * 365 + era_year / 4 - era_year / 100 + year_day + day - 1 - 719_468
}

/// How many days the month has.
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    day_of(year, month + 1, 1) - day_of(year, month, 1)
}

/// Kusto ticks (100 ns since 0001-01-01) as nanoseconds since 1970, and back.
pub(in crate::functions) fn ns_of_ticks(ticks: i64) -> i64 {
    strongroom_kql::ticks_to_unix_ns(ticks)
}

pub(super) fn ticks_of_ns(ns: i64) -> i64 {
    if ns == i64::MAX {
        return strongroom_kql::DATETIME_MAX_TICKS;
    }
    if ns == i64::MIN {
        return 0;
    }
    ns.div_euclid(100) + strongroom_kql::UNIX_EPOCH_TICKS
}
