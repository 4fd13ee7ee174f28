//! Time ranges and the windows that blocks lie in.

use serde::{Deserialize, Serialize};

/// Earliest storable instant in nanoseconds since 1970 (1677-09-21): earlier ones saturate here.
pub const MIN_TIME_NS: i64 = i64::MIN;
/// Latest storable instant in nanoseconds since 1970 (2262-04-11): later ones saturate here.
pub const MAX_TIME_NS: i64 = i64::MAX;

const NS_PER_SEC: i64 = 1_000_000_000;

/// Instants from `start` to `end`, both included, in nanoseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// First instant.
    pub start: i64,
    /// Last instant.
    pub end: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: MIN_TIME_NS, end: MAX_TIME_NS };

    /// Whether the two share an instant.
    #[must_use]
    pub const fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// What both cover; `None` if nothing.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let both = Self { start: self.start.max(other.start), end: self.end.min(other.end) };
        (both.start <= both.end).then_some(both)
    }

    /// Whether nothing is excluded.
    #[must_use]
    pub const fn contains(&self, at: i64) -> bool {
        self.start <= at && at <= self.end
    }
}

/// How long a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WindowLength {
    /// For rows at most 48 h old when they arrived.
    Hour,
    /// For older rows.
    Day,
}

impl WindowLength {
    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

/// The span of event time that a block may hold; a block never crosses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// Start in seconds since 1970, a multiple of the length.
    pub start: i64,
    /// An hour or a day.
    pub length: WindowLength,
}

impl Window {
    /// The window of an event at `time_ns` in a row that arrived at `arrival_ns` (both since 1970):
    /// an hour if the event is at most 48 h older than its arrival, else a day.
    #[must_use]
    pub const fn of(time_ns: i64, arrival_ns: i64) -> Self {
        let length = if arrival_ns.saturating_sub(time_ns) <= 48 * 3_600 * NS_PER_SEC { WindowLength::Hour } else { WindowLength::Day };
        let seconds = time_ns.div_euclid(NS_PER_SEC);
        Self { start: seconds - seconds.rem_euclid(length.seconds()), length }
    }

    /// The instants in it.
    #[must_use]
    pub const fn range(&self) -> TimeRange {
        TimeRange {
            start: self.start.saturating_mul(NS_PER_SEC),
            end: match (self.start + self.length.seconds()).checked_mul(NS_PER_SEC) {
                Some(next) => next - 1,
                None => MAX_TIME_NS,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recent_row_lies_in_its_hour_and_a_late_one_in_its_day() {
        let arrival = 1_700_000_000 * NS_PER_SEC;
        assert_eq!(Window::of(arrival, arrival), Window { start: 1_699_999_200, length: WindowLength::Hour });
        let late = arrival - 49 * 3_600 * NS_PER_SEC;
        assert_eq!(Window::of(late, arrival), Window { start: 1_699_747_200, length: WindowLength::Day });
        assert_eq!(Window::of(-1, arrival).start, -86_400);
        assert_eq!(Window::of(i64::MIN, arrival).length, WindowLength::Day);
        assert!(Window::of(late, arrival).range().contains(late));
        assert!(Window::of(MAX_TIME_NS, arrival).range().contains(MAX_TIME_NS));
        assert!(Window::of(MIN_TIME_NS, arrival).range().contains(MIN_TIME_NS));
    }
}
