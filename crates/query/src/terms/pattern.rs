//! The terms that any text must have which a pattern matches.
//!
//! A literal piece of a pattern tells of the terms that end within it; at its edges a term may go on.

use regex_syntax::Parser;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use strongroom_model::terms::is_letter;

use super::Ask;
use super::ask::Hay;

/// Characters of a class that are looked at one by one.
const CLASS_MAX: u32 = 64;

/// SQL's `LIKE` without an escape character of its own.
pub(super) fn like(hay: Hay<'_>, pattern: &str, any_case: bool) -> Option<Ask> {
    if pattern.contains('\\') {
        return None;
    }
    pieces(hay, pattern, |c| matches!(c, '%' | '_'), any_case)
}

/// KQL's `like`, in which `*` and `%` stand for any text.
pub(super) fn stars(hay: Hay<'_>, pattern: &str, any_case: bool) -> Option<Ask> {
    pieces(hay, pattern, |c| matches!(c, '*' | '%'), any_case)
}

fn pieces(hay: Hay<'_>, pattern: &str, is_wild: impl Fn(char) -> bool, any_case: bool) -> Option<Ask> {
    if any_case && !pattern.is_ascii() {
        return None;
    }
    let pieces: Vec<&str> = pattern.split(is_wild).collect();
    let last = pieces.len() - 1;
    let asks = pieces.iter().enumerate().filter_map(|(at, piece)| {
        let (starts, ends) = (at == 0, at == last);
        if any_case { hay.holds_in_any_case(piece, starts, ends) } else { hay.holds(piece, starts, ends) }
    });
    Ask::all(asks.collect())
}

/// A regular expression, found anywhere.
pub(super) fn regex(hay: Hay<'_>, pattern: &str) -> Option<Ask> {
    let hir = Parser::new().parse(pattern).ok()?;
    needed(hay, &hir)
}

fn needed(hay: Hay<'_>, hir: &Hir) -> Option<Ask> {
    let mut walk = Walk { hay, text: String::new(), asks: Vec::new() };
    walk.visit(hir);
    walk.gap();
    Ask::all(walk.asks)
}

struct Walk<'h> {
    hay: Hay<'h>,
    /// The literal text under way; a place where no term goes on is a space.
    text: String,
    asks: Vec<Ask>,
}

impl Walk<'_> {
    /// From here on anything may stand.
    fn gap(&mut self) {
        self.asks.extend(self.hay.holds(&self.text, false, false));
        self.text.clear();
    }

    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.text.push_str(text),
                Err(_) => self.gap(),
            },
            HirKind::Class(class) if ends_terms(class) => self.text.push(' '),
            HirKind::Look(look) if is_edge(*look) => self.text.push(' '),
            HirKind::Class(_) | HirKind::Look(_) => self.gap(),
            HirKind::Repetition(repeated) => {
                let spaces = matches!(repeated.sub.kind(), HirKind::Class(class) if ends_terms(class));
                match (repeated.min, spaces) {
                    (0, _) => self.gap(),
                    (_, true) => self.text.push(' '),
                    _ => {
                        self.gap();
                        self.asks.extend(needed(self.hay, &repeated.sub));
                    }
                }
            }
            HirKind::Capture(capture) => self.visit(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.visit(part)),
            HirKind::Alternation(parts) => {
                self.gap();
                let hay = self.hay;
                self.asks.extend(Ask::any(parts.iter().map(|part| needed(hay, part))));
            }
        }
    }
}

/// Whether a term that comes up to this place ends there. All our letters are word characters in Unicode's sense; in ASCII's they
/// are not.
fn is_edge(look: Look) -> bool {
    use Look as L;
    let lines = matches!(look, L::Start | L::End | L::StartLF | L::EndLF | L::StartCRLF | L::EndCRLF);
    let words = [L::WordUnicode, L::WordStartUnicode, L::WordEndUnicode, L::WordStartHalfUnicode, L::WordEndHalfUnicode];
    lines || words.contains(&look)
}

/// Whether no character of a class is part of a term.
fn ends_terms(class: &Class) -> bool {
    let ends = |c: char| !c.to_lowercase().any(is_letter);
    match class {
        Class::Unicode(class) => class.iter().all(|range| {
            let (start, end) = (range.start(), range.end());
            u32::from(end) - u32::from(start) < CLASS_MAX && (start..=end).all(ends)
        }),
        Class::Bytes(class) => {
            class.iter().all(|range| range.end() < 0x80 && (range.start()..=range.end()).all(|byte| ends(char::from(byte))))
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field, Schema};
    use datafusion::logical_expr::{col, lit};
    use proptest::prelude::*;
    use strongroom_model::terms::{Splitter, hash};

    use super::*;

    fn hay() -> Hay<'static> {
        Hay::of("m")
    }

    /// The words asked for, those of an alternative in brackets.
    fn shown(ask: Option<Ask>, words: &[&str]) -> String {
        fn show(ask: &Ask, words: &[&str]) -> String {
            let list = |asks: &[Ask]| asks.iter().map(|ask| show(ask, words)).collect::<Vec<_>>();
            match ask {
                Ask::Term { term, .. } => words.iter().find(|word| hash(word.as_bytes()) == *term).unwrap_or(&"?").to_string(),
                Ask::All(asks) => {
                    let mut asks = list(asks);
                    asks.sort_unstable();
                    asks.join(" ")
                }
                Ask::Any(asks) => format!("[{}]", list(asks).join("|")),
            }
        }
        ask.map_or_else(String::new, |ask| show(&ask, words))
    }

    #[test]
    fn a_regular_expression_needs_the_terms_that_end_within_its_literals() {
        let words = ["foo", "bar", "baz", "error", "code", "123"];
        for (pattern, expected) in [
            ("foo bar baz", "bar"),
            ("^foo bar$", "bar foo"),
            (r"\bfoo\b", "foo"),
            (r"(?-u:\b)foo(?-u:\b)", ""),
            (r"foo\s+bar\s+baz", "bar"),
            (r"foo\s*bar\s*baz", ""),
            (r"error code=\d+ bar ", "bar code"),
            ("(?i)error code 123 x", "123"),
            (r"(x foo |y bar )", "[foo|bar]"),
            (r" (foo|bar) ", ""),
            (r"(x foo |y)", ""),
            (r"( bar )+baz", "bar"),
            (r"( bar )?baz ", ""),
            (r"foo[^x]bar[ :]baz ", "baz"),
            (r"a.*b", ""),
            ("(", ""),
        ] {
            assert_eq!(shown(regex(hay(), pattern), &words), expected, "{pattern}");
        }
    }

    #[test]
    fn sql_patterns_tell_of_the_pieces_between_wildcards() {
        let words = ["foo", "bar", "baz", "mask"];
        for (pattern, any_case, expected) in [
            ("%foo bar baz%", false, "bar"),
            ("foo bar%", false, "foo"),
            ("%foo bar", false, "bar"),
            ("foo_bar -baz", false, "baz"),
            ("%-Bar-%", true, "bar"),
            ("%-mask-%", true, ""),
            (r"%\%bar %", false, ""),
        ] {
            assert_eq!(shown(like(hay(), pattern, any_case), &words), expected, "{pattern}");
        }
        assert_eq!(shown(stars(hay(), "* bar *", false), &words), "bar");
    }

    #[test]
    fn filters_become_a_tree_and_what_is_not_understood_asks_for_nothing() {
        let schema = Schema::new(vec![Field::new("m", DataType::Utf8View, true), Field::new("n", DataType::Int64, true)]);
        let words = ["foo", "bar"];
        let of = |filter: datafusion::logical_expr::Expr| shown(Ask::of([&filter], &schema), &words);
        let (foo, bar) = (|| col("m").eq(lit("foo")), || col("m").eq(lit("bar")));
        let number = || col("n").eq(lit(1_i64));
        assert_eq!(of(foo().and(bar())), "bar foo");
        assert_eq!(of(foo().and(number())), "foo");
        assert_eq!(of(foo().or(bar())), "[foo|bar]");
        assert_eq!(of(foo().or(number())), "");
        assert_eq!(of(datafusion::logical_expr::not(foo())), "");
        assert_eq!(of(col("m").not_eq(lit("foo"))), "");
        assert_eq!(of(col("m").in_list(vec![lit("foo"), lit("bar")], false)), "[foo|bar]");
        assert_eq!(of(col("m").in_list(vec![lit("foo")], true)), "");
        assert_eq!(of(col("m").in_list(vec![lit("foo"), lit("-")], false)), "");
        assert_eq!(of(col("m").like(lit("foo%"))), "");
        assert_eq!(of(lit("foo").eq(col("m"))), "foo");
    }

    proptest! {
        #[test]
        fn what_matches_a_pattern_has_the_terms_it_needs(
            parts in prop::collection::vec("(foo|Bar|[a-c]|\\\\s|\\\\b| |\\.|x\\*|\\\\W|é|ſ|[.]\\+|\\(a1\\|b2b \\)|\\^|_)", 0..7),
            text in "(foo|Bar|bar|[a-c]| |\n|é|ſ|xx|b2b |-|_|\u{345}){0,8}",
        ) {
            let pattern = parts.concat();
            let mut met = Vec::new();
            Splitter::default().each(&text, |term| met.push(term));
            if let Ok(compiled) = ::regex::Regex::new(&pattern)
                && compiled.is_match(&text)
                && let Some(ask) = regex(hay(), &pattern)
            {
                prop_assert!(ask.holds(&|_, term| met.contains(&term)), "{:?} in {:?}", pattern, text);
            }
        }
    }
}
