//! Latencies in buckets whose borders lie 2 % apart.

use std::time::Duration;

/// Buckets for each doubling.
const PER_DOUBLING: f64 = 35.0;
/// From 1 µs to over an hour.
const BUCKETS: usize = 35 * 32;

/// Counts durations; a quantile is right to about 2 %.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0 }
    }

    pub(super) fn add(&mut self, time: Duration) {
        let micros = (time.as_secs_f64() * 1e6).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0, at most some thousands")]
        let bucket = (micros.log2() * PER_DOUBLING) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
        self.count += 1;
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The duration that `share` (0 to 1) of all do not exceed; `None` without any.
    pub(super) fn quantile(&self, share: f64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count times a share")]
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                #[expect(clippy::cast_precision_loss, reason = "some thousands")]
                let middle = 2_f64.powf((bucket as f64 + 0.5) / PER_DOUBLING);
                return Some(Duration::from_secs_f64(middle / 1e6));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_two_per_cent() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, expected) in [(0.5, 5_000.0), (0.99, 9_900.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share).unwrap().as_secs_f64() * 1e6;
            assert!((found / expected - 1.0).abs() < 0.02, "{share}: {found}");
        }
        histogram.add(Duration::from_secs(100_000));
        assert_eq!(histogram.count(), 10_001);
    }
}
