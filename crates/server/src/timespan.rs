//! ISO 8601 time spans as query clients send them: a duration, or two of start, end and duration.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use strongroom_model::TimeRange;

const NS: i128 = 1_000_000_000;

/// Reads `P1D`, `PT86400.0S`, `start/end`, `start/duration` or `duration/end`; a duration alone ends at `now`
/// (nanoseconds since 1970). The range is start included, end excluded, as Azure has it.
///
/// # Errors
/// A sentence that names the part that is wrong; an end before the start is wrong, too.
pub(crate) fn parse(text: &str, now: i64) -> Result<TimeRange, String> {
    let text = text.trim();
    let (start, end) = match text.split_once('/') {
        None => (i128::from(now) - duration(text)?, i128::from(now) + 1),
        Some((left, right)) => match (left.starts_with(['P', 'p']), right.starts_with(['P', 'p'])) {
            (false, false) => (instant(left)?, instant(right)?),
            (false, true) => (instant(left)?, instant(left)? + duration(right)?),
            (true, false) => (instant(right)? - duration(left)?, instant(right)?),
            (true, true) => return Err(format!("the timespan {text:?} has two durations and no instant")),
        },
    };
    if start > end {
        return Err(format!("the timespan {text:?} ends before it starts"));
    }
    let clamp = |at: i128| i64::try_from(at.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).expect("clamped");
    Ok(TimeRange { start: clamp(start), end: clamp(end - 1) })
}

/// Reads an instant, or how long ago it was: `2026-01-31T10:20:30Z`, `24h`, `PT24H`. Milliseconds since 1970.
///
/// # Errors
/// A sentence.
pub(crate) fn since(text: &str, now: i64) -> Result<i64, String> {
    let text = text.trim();
    let unit = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 604_800)];
    let ago = unit.into_iter().find_map(|(unit, seconds)| Some(i128::from(text.strip_suffix(unit)?.parse::<u32>().ok()?) * seconds));
    let at = match ago {
        Some(seconds) => i128::from(now) - seconds * NS,
        None if text.starts_with(['P', 'p']) => i128::from(now) - duration(text)?,
        None => instant(text)?,
    };
    Ok(i64::try_from(at.div_euclid(1_000_000)).unwrap_or(i64::MIN))
}

/// Reads `[d.]hh:mm:ss[.fffffff]`, as Kusto's clients say how long a question may take.
pub(crate) fn clock(text: &str) -> Option<std::time::Duration> {
    let (days, time) = match text.trim().split_once(':')?.0.split_once('.') {
        Some((days, _)) => (days.parse::<u64>().ok()?, text.trim().split_once('.')?.1),
        None => (0, text.trim()),
    };
    let mut parts = time.split(':');
    let (hours, minutes) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
    let seconds = parts.next()?.parse::<f64>().ok().filter(|seconds| (0.0..60.0).contains(seconds))?;
    if parts.next().is_some() || hours > 23 || minutes > 59 || days > 3_650 {
        return None;
    }
    Some(std::time::Duration::from_secs(days * 86_400 + hours * 3_600 + minutes * 60) + std::time::Duration::from_secs_f64(seconds))
}

fn instant(text: &str) -> Result<i128, String> {
    let text = text.trim();
    let seconds_and_nanos = |at: DateTime<Utc>| i128::from(at.timestamp()) * NS + i128::from(at.timestamp_subsec_nanos());
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(seconds_and_nanos(at.to_utc()));
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text.trim_end_matches(['Z', 'z']), format) {
            return Ok(seconds_and_nanos(at.and_utc()));
        }
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(seconds_and_nanos(day.and_hms_opt(0, 0, 0).expect("midnight exists").and_utc()));
    }
    Err(format!("{text:?} is no ISO 8601 instant such as 2026-01-31T10:20:30Z"))
}

/// `P[nY][nM][nW][nD][T[nH][nM][n.nS]]`; a year is 365 days and a month 30, since no calendar is given.
fn duration(text: &str) -> Result<i128, String> {
    let bad = || format!("{text:?} is no ISO 8601 duration such as P1D or PT1H30M");
    let rest = text.trim().strip_prefix(['P', 'p']).ok_or_else(bad)?;
    let (mut total, mut in_time, mut number, mut any) = (0i128, false, String::new(), false);
    for c in rest.chars() {
        match c.to_ascii_uppercase() {
            'T' if !in_time && number.is_empty() => in_time = true,
            c @ ('0'..='9' | '.' | ',') => number.push(if c == ',' { '.' } else { c }),
            unit => {
                let seconds: i128 = match (unit, in_time) {
                    ('Y', false) => 365 * 86_400,
                    ('M', false) => 30 * 86_400,
                    ('W', false) => 7 * 86_400,
                    ('D', false) => 86_400,
                    ('H', true) => 3_600,
                    ('M', true) => 60,
                    ('S', true) => 1,
                    _ => return Err(bad()),
                };
                total = total.checked_add(scaled(&number).ok_or_else(bad)?.checked_mul(seconds).ok_or_else(bad)?).ok_or_else(bad)?;
                number.clear();
                any = true;
            }
        }
    }
    if any && number.is_empty() { Ok(total) } else { Err(bad()) }
}

/// A decimal number in billionths; digits past the ninth are cut.
fn scaled(number: &str) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() > 12 || (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some(whole * NS + nanos.parse::<i128>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    #[test]
    fn spans_as_the_python_client_sends_them() {
        let day = parse("PT86400.0S", NOW).unwrap();
        assert_eq!(day, TimeRange { start: NOW - 86_400_000_000_000, end: NOW });
        assert_eq!(parse("P1D", NOW).unwrap(), day);
        let range = parse("2024-01-01T00:00:00.000Z/2024-01-02T03:04:05.678901Z", NOW).unwrap();
        assert_eq!((range.start, range.end), (1_704_067_200_000_000_000, 1_704_164_645_678_900_999));
        assert_eq!(parse("2024-01-01/P1DT2H", NOW).unwrap().end, 1_704_067_200_000_000_000 + 26 * 3_600_000_000_000 - 1);
        assert_eq!(parse("PT1H/2024-01-01T01:00:00Z", NOW).unwrap().start, 1_704_067_200_000_000_000);
    }

    #[test]
    fn times_as_kusto_spells_them() {
        let seconds = |text| clock(text).map(|time| time.as_secs_f64());
        assert_eq!([seconds("0:04:00"), seconds("00:00:30.5"), seconds("1.02:00:00")], [Some(240.0), Some(30.5), Some(93_600.0)]);
        assert!(["", "5", "1:2", "x:00:00", "24:00:00", "0:0:99", "1:2:3:4"].into_iter().all(|text| clock(text).is_none()));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "P", "1D", "P1", "PT1D", "P1D/P1D", "yesterday/today", "P99999999999999999999D", "2024-01-02/2024-01-01"] {
            assert!(parse(text, NOW).is_err(), "{text}");
        }
    }
}
