//! Binary fuse filters (Graf and Lemire, 2022) of three places and 8-bit fingerprints: nine to ten bits a key, wrong once in 256.
//!
//! A key's fingerprint is the XOR of three bytes in neighbouring segments. They are found by peeling: a place that one key alone
//! has gives that key its byte last.

/// Tries before a filter is given up: peeling fails once in thousands of tries.
const TRIES: u8 = 64;
/// Tries at one size.
const TRIES_A_SIZE: u8 = 8;
const SEGMENT_BITS_MAX: u32 = 18;

/// Where a filter's keys lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Which try succeeded: it gives the seed.
    pub(super) attempt: u8,
    /// Binary logarithm of a segment's length.
    pub(super) segment_bits: u8,
    /// Segments a key may begin in; two more follow.
    pub(super) segments: u32,
}

impl Shape {
    pub(super) fn len(self) -> usize {
        ((self.segments as usize).saturating_add(2)) << self.segment_bits
    }

    fn mixed(self, key: u64) -> u64 {
        mix(key.wrapping_add(mix(u64::from(self.attempt))))
    }

    fn places(self, mixed: u64) -> [usize; 3] {
        let length = u64::from(self.segments) << self.segment_bits;
        let first = u64::try_from((u128::from(mixed) * u128::from(length)) >> 64).unwrap_or(0);
        let (step, mask) = (1_u64 << self.segment_bits, (1_u64 << self.segment_bits) - 1);
        let second = (first + step) ^ ((mixed >> 18) & mask);
        let third = (first + 2 * step) ^ (mixed & mask);
        [first, second, third].map(|place| usize::try_from(place).unwrap_or(usize::MAX))
    }

    /// Whether a key may be among those that `bytes` hold.
    pub(super) fn may_hold(self, bytes: &[u8], key: u64) -> bool {
        let mixed = self.mixed(key);
        let [a, b, c] = self.places(mixed).map(|place| bytes.get(place).copied().unwrap_or(0));
        a ^ b ^ c == fingerprint(mixed)
    }
}

/// The finalizer of MurmurHash3.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

#[expect(clippy::cast_possible_truncation, reason = "eight bits of it")]
const fn fingerprint(mixed: u64) -> u8 {
    (mixed ^ (mixed >> 32)) as u8
}

/// Segment length and number of segments for so many keys; any that a peeling succeeds with would do.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rule of thumb")]
fn shape(keys: usize) -> (u8, u32) {
    let n = keys.max(2) as f64;
    let bits = ((n.ln() / 3.33_f64.ln() + 2.25).floor() as u32).clamp(2, SEGMENT_BITS_MAX);
    let room = (n * (0.875 + 0.25 * 1e6_f64.ln() / n.ln()).max(1.125)).ceil() as u64;
    let segments = room.div_ceil(1 << bits).max(3) - 2;
    (bits as u8, u32::try_from(segments).unwrap_or(u32::MAX))
}

/// Makes filters; keeps the room it works in.
#[derive(Debug, Default)]
pub(super) struct Builder {
    /// Per place: how many keys have it, and all those keys in one.
    counts: Vec<u8>,
    held: Vec<u64>,
    alone: Vec<u32>,
    order: Vec<(u32, u64)>,
}

impl Builder {
    /// A filter of these keys, appended to `out`. `None`, and nothing appended, if none was found.
    pub(super) fn build(&mut self, keys: &mut Vec<u64>, out: &mut Vec<u8>) -> Option<Shape> {
        (0..TRIES).find_map(|attempt| {
            if attempt == 1 {
                // A key that is there twice is hardly ever why it failed, but it always fails.
                keys.sort_unstable();
                keys.dedup();
            }
            let (segment_bits, segments) = shape(keys.len());
            let shape = Shape { attempt, segment_bits, segments: segments + u32::from(attempt / TRIES_A_SIZE) };
            self.attempt(shape, keys, out).then_some(shape)
        })
    }

    fn attempt(&mut self, shape: Shape, keys: &[u64], out: &mut Vec<u8>) -> bool {
        let Self { counts, held, alone, order } = self;
        let places = shape.len();
        counts.clear();
        counts.resize(places, 0);
        held.clear();
        held.resize(places, 0);
        for key in keys {
            let mixed = shape.mixed(*key);
            for place in shape.places(mixed) {
                // So many keys at one place are no chance: the next try has other places.
                let Some(count) = counts[place].checked_add(1) else { return false };
                counts[place] = count;
                held[place] ^= mixed;
            }
        }
        alone.clear();
        alone.extend((0_u32..).zip(counts.iter()).filter(|(_, count)| **count == 1).map(|(place, _)| place));
        order.clear();
        while let Some(place) = alone.pop() {
            if counts[place as usize] != 1 {
                continue;
            }
            let mixed = held[place as usize];
            order.push((place, mixed));
            for other in shape.places(mixed) {
                counts[other] -= 1;
                held[other] ^= mixed;
                if counts[other] == 1 {
                    alone.push(u32::try_from(other).unwrap_or(u32::MAX));
                }
            }
        }
        if order.len() < keys.len() {
            return false;
        }
        let start = out.len();
        out.resize(start + places, 0);
        let bytes = &mut out[start..];
        for (place, mixed) in order.drain(..).rev() {
            let [a, b, c] = shape.places(mixed);
            bytes[place as usize] = fingerprint(mixed) ^ bytes[a] ^ bytes[b] ^ bytes[c];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_few_others_are_at_ten_bits_a_key() {
        for keys in [0, 1, 2, 3, 10, 100, 1_000, 8_000, 100_000] {
            let set: Vec<u64> = (0..keys).map(|n| mix(n + 1)).collect();
            let mut bytes = Vec::new();
            let shape = Builder::default().build(&mut set.clone(), &mut bytes).unwrap();
            assert_eq!(bytes.len(), shape.len());
            assert!(set.iter().all(|key| shape.may_hold(&bytes, *key)), "{keys}");
            if keys >= 8_000 {
                assert!(bytes.len() as u64 * 8 < keys * 103 / 10, "{} bytes for {keys}", bytes.len());
            }
            let wrong = (0..100_000).filter(|n| shape.may_hold(&bytes, mix(1 << 40 | n))).count();
            assert!(wrong < 600 || keys < 10, "{wrong} of 100,000 at {keys}");
        }
    }

    #[test]
    fn a_key_that_is_there_twice_counts_once() {
        let mut bytes = Vec::new();
        let shape = Builder::default().build(&mut vec![7, 8, 7], &mut bytes).unwrap();
        assert!([7, 8].iter().all(|key| shape.may_hold(&bytes, *key)) && shape.attempt > 0);
    }

    #[test]
    fn the_arithmetic_is_that_of_the_format() {
        let shape = Shape { attempt: 1, segment_bits: 4, segments: 7 };
        assert_eq!(mix(1), 0xb456_bcfc_34c2_cb2c);
        assert_eq!((shape.len(), shape.places(0x8000_0000_0004_0005)), (144, [56, 73, 93]));
    }
}
