//! The times a row may carry.
//!
//! Text is ISO 8601 as RFC 3339 and most loggers write it: `2026-03-01T10:00:00.123456789Z`, with `T`, `t` or a space,
//! up to nine digits of fraction (more are cut) after `.` or `,`, and an offset `Z`, `±hh:mm`, `±hhmm` or `±hh`; no
//! offset means UTC. Seconds, minutes and the whole time of day may be left out; second 60 is the next minute's first.
//!
//! Numbers are time since 1970, told apart by size: below 1e11 seconds (until the year 5138), below 1e14 milliseconds,
//! below 1e17 microseconds, else nanoseconds. Reals keep their fraction. Digits in a string are text, not a time.

const NS_PER_SEC: i64 = 1_000_000_000;

/// Nanoseconds since 1970 of an ISO 8601 text, saturating outside 1677–2262; `None` if it is none.
#[must_use]
pub fn parse_iso8601(text: &str) -> Option<i64> {
    let mut rest = text.trim_ascii().as_bytes();
    let year = number(&mut rest, 4)?;
    let dashed = skip(&mut rest, b"-");
    let month = number(&mut rest, 2)?;
    if dashed != skip(&mut rest, b"-") {
        return None;
    }
    let day = number(&mut rest, 2)?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let (mut seconds, mut nanos) = (days_since_1970(year, month, day) * 86_400, 0);
    if skip(&mut rest, b"Tt ") {
        let hour = number(&mut rest, 2)?;
        let coloned = skip(&mut rest, b":");
        let minute = number(&mut rest, 2)?;
        let mut second = 0;
        let has_second = if coloned { skip(&mut rest, b":") } else { rest.first().is_some_and(u8::is_ascii_digit) };
        if has_second {
            second = number(&mut rest, 2)?;
            if skip(&mut rest, b".,") {
                nanos = fraction(&mut rest)?;
            }
        }
        if hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        seconds += hour * 3_600 + minute * 60 + second - offset(&mut rest)?;
    }
    if !rest.is_empty() {
        return None;
    }
    Some(seconds.checked_mul(NS_PER_SEC).and_then(|ns| ns.checked_add(nanos)).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX }))
}

/// Nanoseconds since 1970 of a whole number, its unit told by its size.
#[must_use]
pub fn from_integer(n: i64) -> i64 {
    n.saturating_mul(unit_ns(n.unsigned_abs()))
}

/// Nanoseconds since 1970 of a real, its unit told by its size.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "casts of reals saturate")]
pub fn from_real(x: f64) -> i64 {
    let unit = unit_ns(x.abs() as u64);
    let whole = (x.trunc() as i64).saturating_mul(unit);
    whole.saturating_add((x.fract() * unit as f64).round() as i64)
}

const fn unit_ns(size: u64) -> i64 {
    match size {
        0..100_000_000_000 => NS_PER_SEC,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        _ => 1,
    }
}

fn number(rest: &mut &[u8], digits: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(digits)?;
    *rest = tail;
    head.iter().try_fold(0, |n, byte| byte.is_ascii_digit().then(|| n * 10 + i64::from(byte - b'0')))
}

fn skip(rest: &mut &[u8], any: &[u8]) -> bool {
    match rest.split_first() {
        Some((byte, tail)) if any.contains(byte) => {
            *rest = tail;
            true
        }
        _ => false,
    }
}

fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let nanos = (0..9).fold(0, |n, i| n * 10 + if i < digits { i64::from(rest[i] - b'0') } else { 0 });
    *rest = &rest[digits..];
    Some(nanos)
}

/// Seconds east of UTC.
fn offset(rest: &mut &[u8]) -> Option<i64> {
    skip(rest, b" ");
    let sign = match rest.first() {
        None => return Some(0),
        Some(b'Z' | b'z') => {
            *rest = &rest[1..];
            return Some(0);
        }
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    *rest = &rest[1..];
    let hours = number(rest, 2)?;
    skip(rest, b":");
    let minutes = if rest.is_empty() { 0 } else { number(rest, 2)? };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + is_leap(year) as i64,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_8601_is_read_in_the_forms_loggers_write() {
        let ten = 1_772_359_200 * NS_PER_SEC;
        for (text, expected) in [
            ("2026-03-01T10:00:00Z", ten),
            ("2026-03-01 10:00:00", ten),
            ("2026-03-01t10:00z", ten),
            ("20260301T100000Z", ten),
            ("2026-03-01T12:30:00+02:30", ten),
            ("2026-03-01T08:00:00-0200", ten),
            ("2026-03-01T11:00:00 +01", ten),
            ("2026-03-01T10:00:00.123456789Z", ten + 123_456_789),
            ("2026-03-01T10:00:00,5Z", ten + 500_000_000),
            ("2026-03-01T10:00:00.1234567899Z", ten + 123_456_789),
            ("2026-03-01", ten - 36_000 * NS_PER_SEC),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.5Z", -500_000_000),
            ("2016-12-31T23:59:60Z", 1_483_228_800 * NS_PER_SEC),
            ("2024-02-29", 1_709_164_800 * NS_PER_SEC),
            ("0001-01-01", i64::MIN),
            ("9999-12-31T23:59:59.9999999Z", i64::MAX),
        ] {
            assert_eq!(parse_iso8601(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_time_is_none() {
        for text in [
            "",
            "now",
            "2026",
            "2026-03",
            "2026-13-01",
            "2026-02-29",
            "2026-03-01T",
            "2026-03-01T24:00",
            "2026-03-01T10:00:61Z",
            "2026-03-01T10:00:00.Z",
            "2026-03-01T10:00:00Q",
            "2026-03-01T10:00:00Z!",
            "1772359200",
            "2026-0301",
            "２０２６-03-01",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }

    #[test]
    fn a_numbers_unit_is_told_by_its_size() {
        assert_eq!(from_integer(1_772_359_200), 1_772_359_200 * NS_PER_SEC);
        assert_eq!(from_integer(1_772_359_200_123), 1_772_359_200_123_000_000);
        assert_eq!(from_integer(1_772_359_200_123_456), 1_772_359_200_123_456_000);
        assert_eq!(from_integer(1_772_359_200_123_456_789), 1_772_359_200_123_456_789);
        assert_eq!(from_integer(-1), -NS_PER_SEC);
        assert_eq!(from_integer(i64::MIN), i64::MIN);
        assert_eq!(from_real(1.5), 1_500_000_000);
        assert_eq!(from_real(-0.25), -250_000_000);
        assert_eq!(from_real(1e300), i64::MAX);
        assert_eq!(from_real(-1e300), i64::MIN);
    }
}
