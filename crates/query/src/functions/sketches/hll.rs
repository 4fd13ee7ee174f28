//! HyperLogLog: how many different values there were, from the rarest of their hashes.
//!
//! Few values are a sorted list of registers, many are all registers. The estimate is Ertl's (arXiv 1702.01284), which needs no
//! tables and is right for few values, too.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::functions::scalars::json;

/// Registers as a power of two for Kusto's accuracies 0 to 4; the error is about 1.04 / sqrt(registers).
pub(in crate::functions) fn precision(accuracy: i64) -> Option<u8> {
    [12, 14, 16, 17, 18].get(usize::try_from(accuracy).ok()?).copied()
}

/// The state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::functions) struct Hll {
    precision: u8,
    registers: Registers,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Registers {
    /// `place << 8 | rank`, sorted, a place once.
    Few(Vec<u32>),
    All(Vec<u8>),
}

impl Hll {
    pub(in crate::functions) fn new(precision: u8) -> Self {
        Self { precision, registers: Registers::Few(Vec::new()) }
    }

    /// Adds a value by its hash of 64 bits.
    pub(in crate::functions) fn add(&mut self, hash: u64) {
        let place = usize::try_from(hash >> (64 - self.precision)).unwrap_or(0);
        // The lowest bit ends the count where all others are zero.
        let rest = hash << self.precision | 1 << (self.precision - 1);
        self.raise(place, u8::try_from(rest.leading_zeros() + 1).unwrap_or(u8::MAX));
    }

    fn raise(&mut self, place: usize, rank: u8) {
        match &mut self.registers {
            Registers::All(all) => all[place] = all[place].max(rank),
            Registers::Few(few) => {
                let entry = u32::try_from(place).unwrap_or(0) << 8 | u32::from(rank);
                match few.binary_search_by_key(&(entry >> 8), |there| there >> 8) {
                    Ok(at) => few[at] = few[at].max(entry),
                    Err(at) => few.insert(at, entry),
                }
                // An eighth of the places as a list takes half the space of all of them.
                if few.len() > 1 << (self.precision - 3) {
                    let mut all = vec![0; 1 << self.precision];
                    for entry in few.iter() {
                        all[(entry >> 8) as usize] = entry.to_le_bytes()[0];
                    }
                    self.registers = Registers::All(all);
                }
            }
        }
    }

    fn entries(&self) -> Vec<(usize, u8)> {
        match &self.registers {
            Registers::Few(few) => few.iter().map(|entry| ((entry >> 8) as usize, entry.to_le_bytes()[0])).collect(),
            Registers::All(all) => all.iter().copied().enumerate().filter(|(_, rank)| *rank > 0).collect(),
        }
    }

    /// Adds all that another has seen. The result is as precise as the less precise of the two.
    pub(in crate::functions) fn merge(&mut self, other: &Self) {
        if other.precision < self.precision {
            let mine = std::mem::replace(self, Self::new(other.precision));
            self.merge(&mine);
        }
        let surplus = other.precision - self.precision;
        for (place, rank) in other.entries() {
            let low = place & ((1 << surplus) - 1);
            // The bits that no longer choose the place are the first that count.
            let rank = if low == 0 { rank + surplus } else { surplus - u8::try_from(usize::BITS - low.leading_zeros()).unwrap_or(0) + 1 };
            self.raise(place >> surplus, rank);
        }
    }

    /// About how many different values were added.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "an estimate")]
    pub(in crate::functions) fn estimate(&self) -> u64 {
        let count = 1_usize << self.precision;
        let highest = usize::from(64 - self.precision);
        let mut ranks = vec![0_usize; highest + 2];
        let entries = self.entries();
        ranks[0] = count - entries.len();
        for (_, rank) in &entries {
            ranks[usize::from(*rank).min(highest + 1)] += 1;
        }
        let m = count as f64;
        let mut z = m * tau(1.0 - ranks[highest + 1] as f64 / m);
        for rank in (1..=highest).rev() {
            z = 0.5 * (z + ranks[rank] as f64);
        }
        z += m * sigma(ranks[0] as f64 / m);
        (m * m / (2.0 * std::f64::consts::LN_2 * z)).round() as u64
    }

    /// Its JSON: how precise, and the registers as base64.
    pub(in crate::functions) fn write(&self, out: &mut String) {
        let (form, bytes) = match &self.registers {
            Registers::Few(few) => ("few", few.iter().flat_map(|entry| entry.to_le_bytes()).collect::<Vec<u8>>()),
            Registers::All(all) => ("all", all.clone()),
        };
        write!(out, "{{\"hll\":{},\"{form}\":\"", self.precision).expect("a String takes everything");
        STANDARD_NO_PAD.encode_string(bytes, out);
        out.push_str("\"}");
    }

    /// Back from its JSON; none if it is none or does not add up.
    pub(in crate::functions) fn read(raw: &str) -> Option<Self> {
        let mut entries = json::entries(raw)?;
        let (_, precision) = entries.next().filter(|(key, _)| *key == "\"hll\"")?;
        let precision: u8 = precision.parse().ok().filter(|precision| (12..=18).contains(precision))?;
        let (form, text) = entries.next()?;
        let bytes = STANDARD_NO_PAD.decode(json::string(text)?.as_bytes()).ok()?;
        let most = 64 - precision + 1;
        let mut hll = Self::new(precision);
        match form {
            "\"few\"" if bytes.len() % 4 == 0 && bytes.len() <= 4 << precision => {
                for entry in bytes.as_chunks::<4>().0 {
                    let entry = u32::from_le_bytes(*entry);
                    let (place, rank) = ((entry >> 8) as usize, entry.to_le_bytes()[0]);
                    if place >= 1 << precision || rank > most {
                        return None;
                    }
                    hll.raise(place, rank);
                }
            }
            "\"all\"" if bytes.len() == 1 << precision && bytes.iter().all(|rank| *rank <= most) => hll.registers = Registers::All(bytes),
            _ => return None,
        }
        Some(hll)
    }

    /// Bytes it takes.
    pub(in crate::functions) fn size(&self) -> usize {
        match &self.registers {
            Registers::Few(few) => few.capacity() * 4,
            Registers::All(all) => all.capacity(),
        }
    }
}

fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: std::ops::Range<u64>, precision: u8) -> Hll {
        let mut hll = Hll::new(precision);
        range.for_each(|value| hll.add(xxhash_rust::xxh64::xxh64(&value.to_le_bytes(), 0)));
        hll
    }

    #[test]
    fn the_estimate_is_as_good_as_promised() {
        assert_eq!(of(0..0, 14).estimate(), 0);
        assert_eq!(of(0..20, 14).estimate(), 20);
        for count in [1_000, 10_000, 100_000] {
            let found = of(0..count, 14).estimate();
            assert!(found.abs_diff(count) * 50 < count, "{found} for {count}"); // 2 %: more than twice the standard error
        }
    }

    #[test]
    fn merging_is_as_if_all_had_been_added_to_one() {
        for (first, second) in [(10, 20), (500, 90_000), (90_000, 100_000)] {
            let mut merged = of(0..first, 14);
            merged.merge(&of(first / 2..second, 14));
            assert_eq!(merged.estimate(), of(0..second, 14).estimate());
            let mut mixed = of(0..first, 16);
            mixed.merge(&of(first / 2..second, 14));
            assert_eq!(mixed.entries(), of(0..second, 14).entries());
        }
    }

    #[test]
    fn its_json_is_read_back_and_nothing_else() {
        for hll in [of(0..0, 12), of(0..100, 14), of(0..100_000, 14)] {
            let mut text = String::new();
            hll.write(&mut text);
            assert_eq!(Hll::read(&text), Some(hll));
        }
        for text in ["[]", "{}", r#"{"hll":99,"few":""}"#, r#"{"hll":14,"all":"AAAA"}"#, r#"{"hll":14,"few":"/////w"}"#, r#"{"hll":14}"#] {
            assert_eq!(Hll::read(text), None, "{text}");
        }
    }
}
