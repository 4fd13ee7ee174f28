//! t-digest: the distribution of numbers as clusters, fine at the ends and coarse in the middle (Dunning, arXiv 1902.04023).
//!
//! Up to [`KEPT_MAX`] different places nothing is clustered, and what is asked of it is exact.

use std::fmt::Write as _;

use strongroom_model::ColumnType;

use crate::functions::scalars::json;
use crate::functions::scalars::text_of;

/// Most clusters after clustering; before it there may be four times as many.
const CLUSTERS_MAX: f64 = 512.0;
const KEPT_MAX: usize = 2_048;

/// What the numbers measure: how they read and are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::functions) enum Measure {
    Real,
    Long,
    /// Ticks.
    DateTime,
    /// Ticks.
    TimeSpan,
}

impl Measure {
    pub(in crate::functions) fn of(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Int | ColumnType::Long | ColumnType::Bool => Self::Long,
            ColumnType::DateTime => Self::DateTime,
            ColumnType::TimeSpan => Self::TimeSpan,
            _ => Self::Real,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Long => "long",
            Self::DateTime => "datetime",
            Self::TimeSpan => "timespan",
        }
    }

    /// A number as the value it stands for, in JSON.
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    pub(in crate::functions) fn write(self, value: f64, out: &mut String) {
        match self {
            Self::Real => json::write_real(value, out),
            Self::Long => write!(out, "{}", value.round() as i64).expect("a String takes everything"),
            Self::DateTime | Self::TimeSpan => {
                out.push('"');
                match self {
                    Self::DateTime => text_of::write_datetime(text_of::ns_of_ticks(value.round() as i64), out),
                    _ => text_of::write_timespan((value.round() as i64).saturating_mul(100), out),
                }
                out.push('"');
            }
        }
    }
}

/// The state.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::functions) struct Digest {
    measure: Measure,
    /// Mean and weight, sorted up to `sorted`.
    clusters: Vec<(f64, f64)>,
    sorted: usize,
}

impl Digest {
    pub(in crate::functions) fn new(measure: Measure) -> Self {
        Self { measure, clusters: Vec::new(), sorted: 0 }
    }

    pub(in crate::functions) fn measure(&self) -> Measure {
        self.measure
    }

    /// Adds a value that counts `weight` times.
    pub(in crate::functions) fn add(&mut self, value: f64, weight: f64) {
        if value.is_nan() || weight.is_nan() || weight <= 0.0 {
            return;
        }
        self.clusters.push((value, weight));
        if self.clusters.len() >= 2 * KEPT_MAX {
            self.settle();
        }
    }

    pub(in crate::functions) fn merge(&mut self, other: &Self) {
        other.clusters.iter().for_each(|(mean, weight)| self.add(*mean, *weight));
    }

    /// Sorts, adds up equals, and clusters if there are too many.
    fn settle(&mut self) {
        if self.sorted == self.clusters.len() {
            return;
        }
        self.clusters.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.clusters.dedup_by(|next, before| {
            let equal = next.0.total_cmp(&before.0).is_eq();
            if equal {
                before.1 += next.1;
            }
            equal
        });
        if self.clusters.len() > KEPT_MAX {
            let all: f64 = self.weight();
            let mut clustered: Vec<(f64, f64)> = Vec::new();
            let mut before = 0.0;
            for (mean, weight) in self.clusters.drain(..) {
                let middle = (before + weight / 2.0) / all;
                let most = 4.0 * all * middle * (1.0 - middle) / CLUSTERS_MAX;
                match clustered.last_mut() {
                    Some(last) if last.1 + weight <= most => {
                        last.1 += weight;
                        last.0 += (mean - last.0) * weight / last.1;
                    }
                    _ => clustered.push((mean, weight)),
                }
                before += weight;
            }
            self.clusters = clustered;
        }
        self.sorted = self.clusters.len();
    }

    fn weight(&self) -> f64 {
        self.clusters.iter().map(|(_, weight)| weight).sum()
    }

    /// The value at that percentile by nearest rank; none if there is none.
    pub(in crate::functions) fn percentile(&mut self, percent: f64) -> Option<f64> {
        self.settle();
        let rank = (percent / 100.0 * self.weight()).max(f64::MIN_POSITIVE);
        let mut seen = 0.0;
        for (mean, weight) in &self.clusters {
            seen += weight;
            // Percents are no exact numbers: a rank a hair above a whole one is that one.
            if seen >= rank * (1.0 - 1e-12) {
                return Some(*mean);
            }
        }
        self.clusters.last().map(|(mean, _)| *mean)
    }

    /// How many values are at most this one.
    pub(in crate::functions) fn rank(&mut self, value: f64) -> f64 {
        self.settle();
        self.clusters.iter().take_while(|(mean, _)| *mean <= value).map(|(_, weight)| weight).sum()
    }

    /// How many percent of the values are at most this one.
    pub(in crate::functions) fn percent_rank(&mut self, value: f64) -> Option<f64> {
        let all = self.weight();
        (all > 0.0).then(|| self.rank(value) / all * 100.0)
    }

    pub(in crate::functions) fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }

    /// Its JSON: what it measures, then means and weights by turns.
    pub(in crate::functions) fn write(&mut self, out: &mut String) {
        self.settle();
        write!(out, "{{\"tdigest\":\"{}\",\"clusters\":[", self.measure.name()).expect("a String takes everything");
        for (at, (mean, weight)) in self.clusters.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::write_real(*mean, out);
            out.push(',');
            json::write_real(*weight, out);
        }
        out.push_str("]}");
    }

    /// Back from its JSON; none if it is none.
    pub(in crate::functions) fn read(raw: &str) -> Option<Self> {
        let mut entries = json::entries(raw)?;
        let (_, measure) = entries.next().filter(|(key, _)| *key == "\"tdigest\"")?;
        let measures = [Measure::Real, Measure::Long, Measure::DateTime, Measure::TimeSpan];
        let measure = measures.into_iter().find(|known| json::string(measure).is_some_and(|name| name == known.name()))?;
        let numbers: Vec<f64> = json::items(entries.next()?.1)?.map(number).collect::<Option<_>>()?;
        let (pairs, []) = numbers.as_chunks::<2>() else { return None };
        let mut digest = Self::new(measure);
        for [mean, weight] in pairs {
            digest.add(*mean, *weight);
        }
        digest.settle();
        Some(digest)
    }

    /// Bytes it takes.
    pub(in crate::functions) fn size(&self) -> usize {
        self.clusters.capacity() * size_of::<(f64, f64)>()
    }
}

fn number(raw: &str) -> Option<f64> {
    match raw {
        "\"Infinity\"" => Some(f64::INFINITY),
        "\"-Infinity\"" => Some(f64::NEG_INFINITY),
        raw => raw.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl Iterator<Item = u32>) -> Digest {
        let mut digest = Digest::new(Measure::Long);
        values.for_each(|value| digest.add(f64::from(value), 1.0));
        digest
    }

    #[test]
    fn few_values_are_exact_and_many_are_close() {
        let mut few = of(1..=1_000);
        assert_eq!(few.percentile(50.0), Some(500.0));
        assert_eq!(few.percentile(99.9), Some(999.0));
        assert_eq!(few.percentile(0.0), Some(1.0));
        assert!((few.rank(685.0) - 685.0).abs() < 1e-9);
        assert_eq!(few.percent_rank(250.0), Some(25.0));
        // 17 is prime to 100,000: every value once, in no order.
        let mut many = of((0..100_000).map(|at| at * 17 % 100_000 + 1));
        assert!(many.clusters.len() <= 2 * KEPT_MAX);
        for percent in [0.1, 1.0, 25.0, 50.0, 99.0, 99.9] {
            let (found, wanted) = (many.percentile(percent).unwrap(), percent * 1_000.0);
            assert!((found - wanted).abs() < 500.0, "{percent}: {found}");
        }
        assert_eq!(Digest::new(Measure::Real).percentile(50.0), None);
    }

    #[test]
    fn its_json_is_read_back_and_nothing_else() {
        let mut digest = of(1..=10);
        digest.add(3.0, 2.0);
        let mut text = String::new();
        digest.write(&mut text);
        assert_eq!(Digest::read(&text), Some(digest));
        for text in
            ["[]", r#"{"tdigest":"x","clusters":[]}"#, r#"{"tdigest":"real","clusters":[1]}"#, r#"{"tdigest":"real","clusters":["a",1]}"#]
        {
            assert_eq!(Digest::read(text), None, "{text}");
        }
    }
}
