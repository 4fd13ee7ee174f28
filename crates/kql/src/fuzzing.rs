//! Texts that are almost KQL: seeds cut up, joined and spoilt, by a seed of their own so that each can be made again.
//!
//! Behind the feature-free `doc(hidden)` door [`crate::fuzzing`]: the crate's own fuzz test and that of the planner share it.

use std::path::Path;

/// Words and signs that make texts of the right flavour.
pub const WORDS: &[&str] = &[
    "T",
    "Logs",
    "Hosts",
    "Level",
    "Code",
    "Props",
    "TimeGenerated",
    "a",
    "['x y']",
    "$left.a",
    "1",
    "-1",
    "2.5",
    "1h",
    "7d",
    "\"s\"",
    "'t'",
    "@'\\d'",
    "h'z'",
    "```m```",
    "datetime(2024-01-01)",
    "dynamic({\"k\":[1]})",
    "long(null)",
    "real(nan)",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    "|",
    ".",
    "..",
    ":",
    "=",
    "==",
    "!=",
    "=~",
    "<",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "and",
    "or",
    "not(",
    "in",
    "in~",
    "!in",
    "has",
    "!has",
    "has_any",
    "between",
    "matches regex",
    "where",
    "extend",
    "project",
    "project-away",
    "project-reorder",
    "summarize",
    "by",
    "join",
    "kind=inner",
    "kind=leftouter",
    "on",
    "union",
    "withsource=s",
    "isfuzzy=true",
    "let",
    "print",
    "range",
    "from",
    "to",
    "step",
    "datatable(",
    "parse",
    "parse-where",
    "parse-kv",
    "with",
    "mv-expand",
    "mv-apply",
    "make-series",
    "default=0",
    "scan",
    "search",
    "find",
    "evaluate",
    "bag_unpack(",
    "pivot(",
    "invoke",
    "render timechart",
    "as",
    "serialize",
    "sample",
    "getschema",
    "top",
    "top-nested",
    "of",
    "partition",
    "distinct",
    "take",
    "count",
    "count()",
    "sum(",
    "make_list(",
    "arg_max(",
    "percentile(",
    "tostring(",
    "toint(",
    "bin(",
    "ago(",
    "now()",
    "iff(",
    "case(",
    "split(",
    "strcat(",
    "extract(",
    "parse_json(",
    "array_length(",
    "row_number()",
    "prev(",
    "toscalar(",
    "materialize(",
    "workspace(\"w\").T",
    "//",
    "\n",
    "\t",
    "\"",
    "'",
    "\\",
    "é",
    "😀",
    "\0",
    "9223372036854775807",
    "1e999",
    "typeof(long)",
    "=>",
];

/// For how many seconds to go on and from which seed: `STRONGROOM_FUZZ_SECONDS` (60) and `STRONGROOM_FUZZ_SEED` (1).
#[must_use]
pub fn asked() -> (u64, u64) {
    let number = |name: &str, otherwise: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    (number("STRONGROOM_FUZZ_SECONDS", 60), number("STRONGROOM_FUZZ_SEED", 1))
}

/// Texts that once broke something, and queries of our own: what mutation begins with.
///
/// # Panics
/// If a directory or a file in it cannot be read.
#[must_use]
pub fn kept_texts(broken: &str, answered: &str) -> Vec<String> {
    let read = |directory: &str| {
        let entries = std::fs::read_dir(Path::new(directory)).expect("a directory of texts");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        // The same seed gives the same texts on every machine.
        paths.sort();
        paths.into_iter().map(|path| std::fs::read_to_string(path).expect("a text")).collect::<Vec<_>>()
    };
    let mut texts = read(broken);
    for file in read(answered) {
        let questions = file.split("query T\n").skip(1).filter_map(|record| record.split_once("\n----").map(|(text, _)| text.to_owned()));
        texts.extend(questions);
    }
    texts
}

/// A generator of texts. The same seed gives the same texts.
#[derive(Debug)]
pub struct Texts {
    seeds: Vec<String>,
    state: u64,
}

impl Texts {
    /// Texts made of these.
    #[must_use]
    pub fn new(seeds: Vec<String>, seed: u64) -> Self {
        Self { seeds, state: seed }
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014).
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    fn seed(&mut self) -> String {
        if self.seeds.is_empty() {
            return String::new();
        }
        let at = self.below(self.seeds.len());
        self.seeds[at].clone()
    }

    fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let at = self.below(text.len() + 1);
        text.floor_char_boundary(at)
    }

    /// The next text.
    #[must_use]
    pub fn next_text(&mut self) -> String {
        let mut text = if self.below(8) == 0 { String::new() } else { self.seed() };
        for _ in 0..=self.below(6) {
            self.change(&mut text);
        }
        text.truncate(text.floor_char_boundary(64 << 10));
        text
    }

    fn change(&mut self, text: &mut String) {
        let at = self.place(text);
        match self.below(12) {
            0..=2 => {
                let word = self.word();
                text.insert_str(at, &format!(" {word} "));
            }
            // A word for a word.
            3..=5 => {
                let end = text[at..].find([' ', '(', ')', ',', '|']).map_or(text.len(), |length| at + length);
                let word = self.word();
                text.replace_range(at..end, word);
            }
            6 => {
                let to = self.place(text);
                text.replace_range(at.min(to)..at.max(to), "");
            }
            7 => {
                let other = self.seed();
                let from = self.place(&other);
                text.insert_str(at, &other[from..]);
            }
            8 => {
                let piece = self.place(text);
                let piece = text[at.min(piece)..at.max(piece)].to_owned();
                let times = self.below(4) + 1;
                text.insert_str(at, &piece.repeat(times));
            }
            9 => {
                let operators: Vec<&str> = text.split('|').collect();
                let (from, to) = (self.below(operators.len()), self.below(operators.len()));
                let mut operators: Vec<String> = operators.into_iter().map(str::to_owned).collect();
                operators.swap(from, to);
                *text = operators.join("|");
            }
            10 => {
                let times = self.below(300);
                let word = self.word();
                text.insert_str(at, &word.repeat(times));
            }
            _ => {
                let random = self.random();
                let c = char::from_u32(u32::try_from(random % 0x11_0000).unwrap_or(0)).unwrap_or('\u{fffd}');
                text.insert(at, c);
            }
        }
    }
}
