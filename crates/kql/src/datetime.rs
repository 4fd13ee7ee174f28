//! Times in text: what `datetime(..)`, `timespan(..)`, `todatetime` and `totimespan` understand.
//!
//! Kusto counts ticks of 100 ns; a datetime is ticks since 0001-01-01T00:00:00Z (years 1 to 9999), which fits an `i64`.

/// Ticks in a second.
pub const TICKS_PER_SECOND: i64 = 10_000_000;
/// Ticks in a day.
pub const TICKS_PER_DAY: i64 = 86_400 * TICKS_PER_SECOND;
/// 1970-01-01 as a datetime.
pub const UNIX_EPOCH_TICKS: i64 = 719_162 * TICKS_PER_DAY;
/// 9999-12-31T23:59:59.9999999Z, the last datetime.
pub const DATETIME_MAX_TICKS: i64 = 3_652_059 * TICKS_PER_DAY - 1;

/// A datetime as nanoseconds since 1970; what does not fit (before 1677, after 2262) saturates.
#[must_use]
pub const fn ticks_to_unix_ns(ticks: i64) -> i64 {
    ticks.saturating_sub(UNIX_EPOCH_TICKS).saturating_mul(100)
}

/// Reads a datetime: ISO 8601 (`2024-01-31T10:20:30.5Z`, blanks and missing parts allowed), RFC 822 and 850
/// (`Sat, 8 Nov 2014 15:05:02 GMT`), `8 Nov 2014`, `11/8/2014 3:05 PM`. No zone means UTC. Ticks, or `None`.
#[must_use]
pub fn parse_datetime(text: &str) -> Option<i64> {
    let mut scan = Scan { rest: text.trim().as_bytes() };
    if scan.rest.is_empty() {
        return None;
    }
    let day = scan.iso_date().or_else(|| scan.american_date()).or_else(|| scan.named_date())?;
    let mut ticks = day.checked_mul(TICKS_PER_DAY)?;
    if scan.rest.is_empty() {
        return in_range(ticks);
    }
    let separated = scan.eat(b'T') || scan.eat(b't') || scan.blanks();
    if separated && scan.rest.first().is_some_and(u8::is_ascii_digit) {
        ticks += scan.time_of_day()?;
        scan.blanks();
    }
    ticks -= scan.zone()?;
    if scan.rest.is_empty() { in_range(ticks) } else { None }
}

fn in_range(ticks: i64) -> Option<i64> {
    (0..=DATETIME_MAX_TICKS).contains(&ticks).then_some(ticks)
}

/// Reads a timespan: `[-][d.]hh:mm[:ss[.fffffff]]`, `1d`, `1.5h`, `15 seconds`, or a whole number of days. Ticks, or `None`.
#[must_use]
pub fn parse_timespan(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text),
    };
    let ticks = if text.contains(':') { clock_timespan(text)? } else { unit_timespan(text)? };
    Some(if negative { -ticks } else { ticks })
}

fn clock_timespan(text: &str) -> Option<i64> {
    let (days, clock) = match text.split_once('.') {
        Some((days, clock)) if clock.contains(':') => (number(days)?, clock),
        _ => (0, text),
    };
    let mut scan = Scan { rest: clock.as_bytes() };
    let clock = scan.clock()?;
    if !scan.rest.is_empty() {
        return None;
    }
    days.checked_mul(TICKS_PER_DAY)?.checked_add(clock)
}

fn unit_timespan(text: &str) -> Option<i64> {
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (amount, unit) = (&text[..split], text[split..].trim());
    if unit.is_empty() {
        return number(amount)?.checked_mul(TICKS_PER_DAY);
    }
    scale(amount, unit_ticks(unit)?)
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) { None } else { text.parse().ok() }
}

/// `amount` (digits, perhaps with a point) times `unit` hundredths of ticks.
pub(crate) fn scale(amount: &str, unit: i64) -> Option<i64> {
    if let Some(whole) = number(amount) {
        return whole.checked_mul(unit).map(|hundredths| hundredths / 100).or_else(|| whole.checked_mul(unit / 100));
    }
    let real: f64 = amount.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "units are far below 2^53")]
    let ticks = (real * unit as f64 / 100.0).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked against the range first")]
    (ticks.abs() < 9.2e18).then_some(ticks as i64)
}

/// Hundredths of a tick (nanoseconds) in a unit of that name.
pub(crate) fn unit_ticks(unit: &str) -> Option<i64> {
    const SECOND: i64 = 1_000_000_000;
    Some(match unit {
        "d" | "day" | "days" => 86_400 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600 * SECOND,
        "m" | "min" | "minute" | "minutes" => 60 * SECOND,
        "s" | "sec" | "second" | "seconds" => SECOND,
        "ms" | "milli" | "millis" | "millisec" | "millisecond" | "milliseconds" => 1_000_000,
        "micro" | "micros" | "microsec" | "microsecond" | "microseconds" => 1_000,
        "tick" | "ticks" => 100,
        "nano" | "nanos" | "nanosec" | "nanosecond" | "nanoseconds" => 1,
        _ => return None,
    })
}

/// Days from 0001-01-01 to that day; `None` if there is no such day in years 1 to 9999.
pub(crate) fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    // Years counted from March put the leap day last (Howard Hinnant, days_from_civil).
    let shifted = if month <= 2 { year - 1 } else { year };
    let era_year = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = era_year * 365 + era_year / 4 - era_year / 100 + day_of_year;
    Some(shifted.div_euclid(400) * 146_097 + day_of_era - 306)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `2024-01-31T10:20:30.1234567Z`
pub(crate) fn format_datetime(ticks: i64) -> String {
    let days = ticks.div_euclid(TICKS_PER_DAY) + 306;
    let era_day = days.rem_euclid(146_097);
    let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
    let day_of_year = era_day - (365 * era_year + era_year / 4 - era_year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era_year + days.div_euclid(146_097) * 400 + i64::from(month <= 2);
    let rest = ticks.rem_euclid(TICKS_PER_DAY);
    let seconds = rest / TICKS_PER_SECOND;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:07}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        rest % TICKS_PER_SECOND
    )
}

/// `[-][d.]hh:mm:ss[.fffffff]`
pub(crate) fn format_timespan(ticks: i64) -> String {
    let sign = if ticks < 0 { "-" } else { "" };
    let ticks = ticks.unsigned_abs();
    let (days, rest) = (ticks / TICKS_PER_DAY.unsigned_abs(), ticks % TICKS_PER_DAY.unsigned_abs());
    let (seconds, fraction) = (rest / TICKS_PER_SECOND.unsigned_abs(), rest % TICKS_PER_SECOND.unsigned_abs());
    let days = if days > 0 { format!("{days}.") } else { String::new() };
    let fraction = if fraction > 0 { format!(".{fraction:07}") } else { String::new() };
    format!("{sign}{days}{:02}:{:02}:{:02}{fraction}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn eat(&mut self, byte: u8) -> bool {
        let hit = self.rest.first() == Some(&byte);
        if hit {
            self.rest = &self.rest[1..];
        }
        hit
    }

    fn blanks(&mut self) -> bool {
        let before = self.rest.len();
        while self.eat(b' ') {}
        self.rest.len() < before
    }

    /// A number of `least` to `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if count < least || count > most {
            return None;
        }
        let value = self.rest[..count].iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
        self.rest = &self.rest[count..];
        Some(value)
    }

    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.rest;
        let value = read(self);
        if value.is_none() {
            self.rest = before;
        }
        value
    }

    /// `2024`, `2024-01`, `2024-01-31`, `2024/01/31`, `20240131`.
    fn iso_date(&mut self) -> Option<i64> {
        self.attempt(|s| {
            if let Some(compact) = s.attempt(|s| s.digits(8, 8)) {
                return day_number(compact / 10_000, compact / 100 % 100, compact % 100);
            }
            let year = s.digits(4, 4)?;
            let separator = match s.rest.first() {
                Some(b'-') => b'-',
                Some(b'/') => b'/',
                None => return day_number(year, 1, 1),
                _ => return None,
            };
            s.eat(separator);
            let month = s.digits(1, 2)?;
            let day = if s.eat(separator) { s.digits(1, 2)? } else { 1 };
            day_number(year, month, day)
        })
    }

    /// `11/8/2014`, `11-08-2014`: the month first.
    fn american_date(&mut self) -> Option<i64> {
        self.attempt(|s| {
            let month = s.digits(1, 2)?;
            let separator = if s.eat(b'/') {
                b'/'
            } else if s.eat(b'-') {
                b'-'
            } else {
                return None;
            };
            let day = s.digits(1, 2)?;
            let year = if s.eat(separator) { s.digits(4, 4)? } else { return None };
            day_number(year, month, day)
        })
    }

    /// `Sat, 8 Nov 14`, `Saturday, 08-Nov-14`, `8 November 2014`, `Nov 8 2014`.
    fn named_date(&mut self) -> Option<i64> {
        self.attempt(|s| {
            if let Some(word) = s.attempt(Self::word) {
                if let Some(month) = month_number(&word) {
                    s.blanks();
                    let day = s.digits(1, 2)?;
                    s.eat(b',');
                    s.blanks();
                    return day_number(s.year()?, month, day);
                }
                if !["mon", "tue", "wed", "thu", "fri", "sat", "sun"].contains(&word.get(..3)?) {
                    return None;
                }
                s.eat(b',');
                s.blanks();
            }
            let day = s.digits(1, 2)?;
            let dashed = s.eat(b'-');
            s.blanks();
            let month = month_number(&s.word()?)?;
            if dashed {
                s.eat(b'-');
            }
            s.blanks();
            day_number(s.year()?, month, day)
        })
    }

    fn year(&mut self) -> Option<i64> {
        if let Some(year) = self.attempt(|s| s.digits(4, 4)) {
            return Some(year);
        }
        // RFC 822's two digits: .NET's window ends in 2049.
        let short = self.digits(2, 2)?;
        Some(if short < 50 { 2000 + short } else { 1900 + short })
    }

    fn word(&mut self) -> Option<String> {
        let count = self.rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let (word, rest) = self.rest.split_at(count);
        self.rest = rest;
        (count >= 3).then(|| word.iter().map(|b| b.to_ascii_lowercase() as char).collect())
    }

    /// `hh:mm[:ss[.f..]]`, hours below 24.
    fn clock(&mut self) -> Option<i64> {
        let hours = self.digits(1, 2)?;
        if !self.eat(b':') {
            return None;
        }
        let minutes = self.digits(1, 2)?;
        let seconds = if self.eat(b':') { self.digits(1, 2)? } else { 0 };
        let mut fraction = 0;
        if self.eat(b'.') {
            let count = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            // Beyond a tick digits are cut off.
            fraction = (0..7).fold(0, |value, at| value * 10 + self.rest[..count].get(at).map_or(0, |digit| i64::from(digit - b'0')));
            self.rest = &self.rest[count..];
        }
        (hours < 24 && minutes < 60 && seconds < 60).then(|| ((hours * 60 + minutes) * 60 + seconds) * TICKS_PER_SECOND + fraction)
    }

    /// A clock, perhaps with `AM` or `PM`.
    fn time_of_day(&mut self) -> Option<i64> {
        let ticks = self.clock()?;
        let half_day = TICKS_PER_DAY / 2;
        let noon = self.attempt(|s| {
            s.blanks();
            match s.rest.get(..2)?.to_ascii_lowercase().as_slice() {
                b"am" => Some(false),
                b"pm" => Some(true),
                _ => None,
            }
        });
        let Some(afternoon) = noon else { return Some(ticks) };
        self.rest = &self.rest[2..];
        if ticks >= half_day + TICKS_PER_DAY / 24 {
            return None;
        }
        Some(ticks % half_day + if afternoon { half_day } else { 0 })
    }

    /// `Z`, `UTC`, `GMT`, `+02:00`, `-0730`, or nothing: how far the clock is ahead of UTC.
    fn zone(&mut self) -> Option<i64> {
        self.blanks();
        if self.rest.is_empty() {
            return Some(0);
        }
        let upper = self.rest.to_ascii_uppercase();
        if matches!(upper.as_slice(), b"Z" | b"UTC" | b"GMT") {
            self.rest = &[];
            return Some(0);
        }
        let sign = if self.eat(b'+') {
            1
        } else if self.eat(b'-') {
            -1
        } else {
            return None;
        };
        let (hours, minutes) = match self.attempt(|s| s.digits(4, 4)) {
            Some(both) => (both / 100, both % 100),
            None => (self.digits(1, 2)?, if self.eat(b':') { self.digits(2, 2)? } else { 0 }),
        };
        (hours <= 14 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * TICKS_PER_SECOND)
    }
}

fn month_number(word: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
    let index = MONTHS.iter().position(|month| *month == word || month[..3] == *word)?;
    i64::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn datetime(text: &str, expected: &str) {
        assert_eq!(parse_datetime(text).map_or("none".to_owned(), format_datetime), expected, "{text}");
    }

    #[test]
    fn datetimes_in_all_their_forms_are_read() {
        datetime("2024-01-31 10:20:30.1234567", "2024-01-31T10:20:30.1234567Z");
        datetime("2024-01-31T10:20:30+02:00", "2024-01-31T08:20:30.0000000Z");
        datetime("2024-02-29", "2024-02-29T00:00:00.0000000Z");
        datetime("2023-02-29", "none");
        datetime("2014-11", "2014-11-01T00:00:00.0000000Z");
        datetime("2014", "2014-01-01T00:00:00.0000000Z");
        datetime("0001-01-01", "0001-01-01T00:00:00.0000000Z");
        datetime("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z");
        datetime("Sat, 8 Nov 2014 15:05:02 GMT", "2014-11-08T15:05:02.0000000Z");
        datetime("Saturday, 08-Nov-14 15:05:02 UTC", "2014-11-08T15:05:02.0000000Z");
        datetime("8 Nov 14 15:05", "2014-11-08T15:05:00.0000000Z");
        datetime("11/8/2014 3:05:02 PM", "2014-11-08T15:05:02.0000000Z");
        datetime("12-02-2022", "2022-12-02T00:00:00.0000000Z");
        datetime("yesterday", "none");
        datetime("2024-01-31 25:00", "none");
        datetime("", "none");
    }

    #[test]
    fn timespans_in_all_their_forms_are_read() {
        for (text, expected) in [
            ("1d", "1.00:00:00"),
            ("1.5h", "01:30:00"),
            ("01:00:00", "01:00:00"),
            ("1.02:03:04.5", "1.02:03:04.5000000"),
            ("-00:00:01", "-00:00:01"),
            ("15 seconds", "00:00:15"),
            ("2", "2.00:00:00"),
            ("10ticks", "00:00:00.0000010"),
            ("1.5", "none"),
            ("24:00:00", "none"),
            ("", "none"),
        ] {
            assert_eq!(parse_timespan(text).map_or("none".to_owned(), format_timespan), expected, "{text}");
        }
    }

    #[test]
    fn far_datetimes_saturate_as_nanoseconds() {
        assert_eq!(ticks_to_unix_ns(UNIX_EPOCH_TICKS + 1), 100);
        assert_eq!(ticks_to_unix_ns(DATETIME_MAX_TICKS), i64::MAX);
        assert_eq!(ticks_to_unix_ns(0), i64::MIN);
    }

    #[test]
    fn every_day_has_its_number() {
        assert_eq!(day_number(1, 1, 1), Some(0));
        assert_eq!(day_number(1970, 1, 1), Some(719_162));
        assert_eq!(day_number(9999, 12, 31), Some(3_652_058));
    }
}
