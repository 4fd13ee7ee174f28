//! Messages: 32,000 made-up lines of sixteen systems, whose variable tokens are drawn anew for each row.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::draw::{Zipf, decimal, hex, mixed, padded};
use super::words::{STEMS, WORDS};

/// Systems; each has a vocabulary, templates and lines of its own.
pub(super) const SYSTEMS: usize = 16;
/// Lines of one system: rows draw evenly among them, so what many of them share is frequent.
const LINES: usize = 2_000;
/// Templates of one system that its lines are made of.
const TEMPLATES: usize = 20;
/// Words that a system uses.
const VOCABULARY: usize = 160;
/// Names (classes, modules, files, people) that fill places of a line for good.
const NAMES: usize = 100;

/// Distinct numbers, addresses and so on.
const NUMBERS: usize = 300_000;
const ADDRESSES: usize = 10_000;
const IDS: u64 = 3_000_000;

/// A word that 1 row in 275,000 has: 20 of 5.5 million.
pub const RARE_WORD: &str = "quorumloss";
/// A word that 1 row in 32,000 has.
pub const SELDOM_WORD: &str = "splitbrain";
/// What 1 row in 257 matches: 21,400 of 5.5 million.
pub const REGEX: &str = r"connection (reset|refused) by [a-z0-9.-]+ after [0-9]+ ?ms";

#[derive(Clone, Debug)]
enum Piece {
    Text(Box<[u8]>),
    /// A count, a size, a duration: few digits mostly.
    Small,
    /// A number of any size.
    Number,
    Address,
    /// So many hexadecimal digits.
    Hex(u8),
    Uuid,
    /// A time of day, as the system writes it.
    Clock,
}

/// What a template holds: some of it is filled per line, the rest per row.
#[derive(Clone, Debug)]
enum Part {
    Text(String),
    Name,
    Drawn(Piece),
}

/// All lines, and the pools their variable tokens come from.
#[derive(Clone, Debug)]
pub(super) struct Messages {
    lines: Vec<Vec<Piece>>,
    small: Zipf,
    numbers: Zipf,
    addresses: Zipf,
}

impl Messages {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(mixed(seed));
        let lines = (0..SYSTEMS).flat_map(|_| system(&mut rng)).collect();
        Self { lines, small: Zipf::new(1_000), numbers: Zipf::new(NUMBERS), addresses: Zipf::new(ADDRESSES) }
    }

    /// A message of `system`.
    pub(super) fn write(&self, system: usize, rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
        let dice: u32 = rng.random_range(0..17_600_000);
        // Each of the three is a share of all rows whatever the system: 64, 550 and 68,480 of 17.6 million.
        if dice < 64 + 550 + 68_480 {
            return self.noted(dice, rng, out);
        }
        let line = system * LINES + rng.random_range(0..LINES);
        for piece in &self.lines[line] {
            self.piece(piece, rng, out);
        }
    }

    fn noted(&self, dice: u32, rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
        match dice {
            ..64 => {
                out.extend_from_slice(b"raft: ");
                out.extend_from_slice(RARE_WORD.as_bytes());
                out.extend_from_slice(b" seen by member ");
                self.piece(&Piece::Address, rng, out);
            }
            64..614 => {
                out.extend_from_slice(b"raft: possible ");
                out.extend_from_slice(SELDOM_WORD.as_bytes());
                out.extend_from_slice(b", term ");
                self.piece(&Piece::Number, rng, out);
            }
            _ => {
                out.extend_from_slice(b"upstream connection ");
                out.extend_from_slice(if dice.is_multiple_of(3) { b"reset" } else { b"refused" });
                out.extend_from_slice(b" by ");
                self.piece(&Piece::Address, rng, out);
                out.extend_from_slice(b" after ");
                self.piece(&Piece::Small, rng, out);
                out.extend_from_slice(b" ms, attempt ");
                decimal(u64::from(dice % 5), out);
            }
        }
    }

    fn piece(&self, piece: &Piece, rng: &mut ChaCha8Rng, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Small => decimal(self.small.draw(rng) as u64, out),
            Piece::Number => decimal(number(self.numbers.draw(rng) as u64), out),
            Piece::Address => address(self.addresses.draw(rng) as u64, out),
            Piece::Hex(width) => hex(u128::from(mixed(rng.random_range(0..IDS) + 77)), usize::from(*width), out),
            Piece::Uuid => {
                let rank = rng.random_range(0..IDS);
                let (high, low) = (mixed(rank + 5), mixed(rank + 6_000_000));
                for (at, (part, width)) in [(high >> 32, 8), (high >> 16, 4), (high, 4), (low >> 48, 4), (low, 12)].into_iter().enumerate()
                {
                    if at > 0 {
                        out.push(b'-');
                    }
                    hex(u128::from(part), width, out);
                }
            }
            Piece::Clock => {
                let second = mixed(self.numbers.draw(rng) as u64 + 3) % 86_400;
                for (at, part) in [second / 3_600, second / 60 % 60, second % 60].into_iter().enumerate() {
                    if at > 0 {
                        out.push(b':');
                    }
                    padded(part, 2, out);
                }
            }
        }
    }
}

/// The number of a rank: one to nine digits.
fn number(rank: u64) -> u64 {
    let drawn = mixed(rank + 1);
    drawn % [10, 100, 1_000, 1_000, 10_000, 10_000, 100_000, 1_000_000_000][usize::try_from(drawn >> 61).expect("three bits")]
}

/// The address of a rank: hosts of 64 networks.
pub(super) fn address(rank: u64, out: &mut Vec<u8>) {
    let drawn = mixed(rank + 9);
    out.extend_from_slice(b"10.");
    decimal(drawn >> 62, out);
    out.push(b'.');
    decimal(drawn >> 40 & 15, out);
    out.push(b'.');
    decimal(drawn & 255, out);
}

/// The lines of one system.
fn system(rng: &mut ChaCha8Rng) -> Vec<Vec<Piece>> {
    let common = Zipf::new(VOCABULARY);
    let vocabulary: Vec<&str> = (0..VOCABULARY).map(|_| WORDS[rng.random_range(0..WORDS.len())]).collect();
    let names: Vec<String> = (0..NAMES).map(|_| name(rng)).collect();
    let style = rng.random_range(0..4);
    let templates: Vec<Vec<Part>> = (0..TEMPLATES).map(|_| template(rng, &vocabulary, &common, &names, style)).collect();
    let (often, fill) = (Zipf::new(TEMPLATES), Zipf::new(NAMES));
    (0..LINES).map(|_| line(&templates[often.draw(rng)], &names, &fill, rng)).collect()
}

fn template(rng: &mut ChaCha8Rng, vocabulary: &[&str], common: &Zipf, names: &[String], style: u32) -> Vec<Part> {
    let mut parts = vec![Part::Text(format!("{}{}", names[rng.random_range(0..names.len())], [": ", " - ", "] ", "(): "][style as usize]))];
    for _ in 0..rng.random_range(7..15) {
        let word = vocabulary[common.draw(rng)];
        let drawn = match rng.random_range(0..100) {
            0..2 => Some((format!("{word}="), Part::Name)),
            2..7 => Some((format!("{word}="), Part::Drawn(Piece::Small))),
            7..12 => Some((format!("{word} ["), Part::Drawn(Piece::Number))),
            12..17 => Some((String::new(), Part::Drawn(Piece::Number))),
            17..20 => Some((String::new(), Part::Drawn(Piece::Address))),
            20..26 => Some((String::new(), Part::Drawn(Piece::Hex([8, 12, 16][rng.random_range(0..3)])))),
            26 => Some((String::new(), Part::Drawn(Piece::Uuid))),
            27 => Some((String::new(), Part::Drawn(Piece::Clock))),
            28..30 => Some((String::new(), Part::Name)),
            _ => None,
        };
        if let Some((before, drawn)) = drawn {
            let close = if before.ends_with('[') { "] " } else { " " };
            parts.extend([Part::Text(before), drawn, Part::Text(close.to_owned())]);
        } else {
            parts.push(Part::Text(format!("{word}{}", if rng.random_ratio(1, 9) { ", " } else { " " })));
        }
    }
    parts
}

fn line(template: &[Part], names: &[String], fill: &Zipf, rng: &mut ChaCha8Rng) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    for part in template {
        match part {
            Part::Text(more) => text.push_str(more),
            Part::Name => text.push_str(&names[fill.draw(rng)]),
            Part::Drawn(piece) => {
                pieces.push(Piece::Text(std::mem::take(&mut text).into_bytes().into()));
                pieces.push(piece.clone());
            }
        }
    }
    text.truncate(text.trim_end_matches([' ', ',']).len());
    pieces.push(Piece::Text(text.into_bytes().into()));
    pieces
}

/// A class, a module, a file or a user.
fn name(rng: &mut ChaCha8Rng) -> String {
    let stem = |rng: &mut ChaCha8Rng| STEMS[rng.random_range(0..STEMS.len())];
    let capital = |stem: &str| stem[..1].to_uppercase() + &stem[1..];
    match rng.random_range(0..5) {
        0 => format!("{}{}{}", capital(stem(rng)), capital(stem(rng)), capital(stem(rng))),
        1 => format!("{}.{}.{}{}", stem(rng), stem(rng), capital(stem(rng)), capital(stem(rng))),
        2 => format!(
            "/{}/{}/{}_{}.{}",
            stem(rng),
            stem(rng),
            stem(rng),
            rng.random_range(0..40),
            ["log", "dat", "conf"][rng.random_range(0..3)]
        ),
        3 => format!("{}-{}{}", stem(rng), stem(rng), rng.random_range(0..20)),
        _ => format!("{}_{}", stem(rng), stem(rng)),
    }
}
