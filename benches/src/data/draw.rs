//! Skewed draws and quick text, with nothing in them whose last bit may differ between machines.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Ranks from 0 on, drawn as Zipf's law with exponent 0.9 has it: by Walker's alias method, one random word a draw.
#[derive(Clone, Debug)]
pub(super) struct Zipf {
    keep: Vec<u32>,
    alias: Vec<u32>,
}

impl Zipf {
    /// So many ranks, the most frequent first.
    pub(super) fn new(ranks: usize) -> Self {
        Self::by((1..=ranks).map(|rank| 1.0 / power(f64::from(u32::try_from(rank).expect("few ranks")))).collect())
    }

    /// Ranks with these weights.
    pub(super) fn by(weights: Vec<f64>) -> Self {
        let count = weights.len();
        let scale = f64::from(u32::try_from(count).expect("few ranks")) / weights.iter().sum::<f64>();
        let mut share: Vec<f64> = weights.into_iter().map(|weight| weight * scale).collect();
        let (mut keep, mut alias) = (vec![u32::MAX; count], vec![0; count]);
        let (mut low, mut high): (Vec<usize>, Vec<usize>) = (0..count).partition(|at| share[*at] < 1.0);
        while let (Some(small), Some(large)) = (low.pop(), high.pop()) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share below one")]
            let kept = (share[small] * 4_294_967_295.0) as u32;
            (keep[small], alias[small]) = (kept, u32::try_from(large).expect("few ranks"));
            share[large] -= 1.0 - share[small];
            if share[large] < 1.0 { low.push(large) } else { high.push(large) }
        }
        Self { keep, alias }
    }

    /// A rank.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> usize {
        let word: u64 = rng.random();
        let (place, coin) = (word >> 32, word & 0xffff_ffff);
        let at = usize::try_from((place * self.keep.len() as u64) >> 32).expect("below the count");
        if coin <= u64::from(self.keep[at]) { at } else { self.alias[at] as usize }
    }
}

/// `rank` to the power of 0.898, by square roots alone: these are exact to the last bit everywhere, `powf` is not.
fn power(rank: f64) -> f64 {
    let eighth = rank.sqrt().sqrt().sqrt();
    let thirty_second = eighth.sqrt().sqrt();
    let hundred_twenty_eighth = thirty_second.sqrt().sqrt();
    rank / eighth * thirty_second / hundred_twenty_eighth
}

/// A number that looks drawn, always the same for the same `n`.
pub(super) fn mixed(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// In decimal.
pub(super) fn decimal(mut n: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(n % 10).expect("a digit");
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// In decimal, with zeros in front up to `width`.
pub(super) fn padded(n: u64, width: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + width, b'0');
    let mut rest = n;
    for place in out[at..].iter_mut().rev() {
        *place = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
}

/// The lowest `width` hexadecimal digits.
pub(super) fn hex(n: u128, width: usize, out: &mut Vec<u8>) {
    let at = out.len();
    out.resize(at + width, b'0');
    let mut rest = n;
    for place in out[at..].iter_mut().rev() {
        *place = b"0123456789abcdef"[usize::try_from(rest & 15).expect("a digit")];
        rest >>= 4;
    }
}
