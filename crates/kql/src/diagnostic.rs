//! What is wrong with a text, and how to say it.

use std::fmt::Write as _;

use crate::Span;

/// What kind of mistake it is; the code is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Code {
    /// A character that begins nothing.
    Character,
    /// A string or bracket that is not closed.
    NotClosed,
    /// Something else was expected here.
    Unexpected,
    /// No operator of that name.
    UnknownOperator,
    /// A literal that says nothing its type could hold.
    Literal,
    /// A setting with a value it cannot have.
    Setting,
    /// Nested deeper than [`crate::MAX_DEPTH`].
    TooDeep,
    /// Words or signs of SQL or of other languages.
    OtherLanguage,
    /// Nothing is wrong, but its usual form would be read as something else.
    Unprintable,
}

impl Code {
    /// The stable code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Character => "SYN0001",
            Self::Unexpected => "SYN0002",
            Self::NotClosed => "SYN0003",
            Self::UnknownOperator => "SYN0004",
            Self::Literal => "SYN0005",
            Self::Setting => "SYN0006",
            Self::TooDeep => "SYN0007",
            Self::OtherLanguage => "SYN0008",
            Self::Unprintable => "SYN0009",
        }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub span: Span,
    /// What kind.
    pub code: Code,
    /// A sentence: lower case, no full stop.
    pub message: String,
    /// How to mend it, if there is a guess.
    pub hint: Option<String>,
}

/// Widest piece of a line shown, in characters.
const SHOWN_MAX: usize = 120;

/// Shows diagnostics to a person: message, line, caret and hint of each.
#[must_use]
pub fn render(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for (index, diagnostic) in diagnostics.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        render_one(&mut out, text, diagnostic);
    }
    out
}

fn render_one(out: &mut String, text: &str, diagnostic: &Diagnostic) {
    let mut start = (diagnostic.span.start as usize).min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let number = text[..start].matches('\n').count() + 1;
    let column = text[line_start..start].chars().count();
    let line = text[line_start..line_end].trim_end_matches('\r');

    let from = column.saturating_sub(SHOWN_MAX / 2);
    let shown: String = line.chars().skip(from).take(SHOWN_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if line.chars().count() > from + SHOWN_MAX { "…" } else { "" };
    let end = (diagnostic.span.end as usize).clamp(start, line_end.max(start));
    let width = text.get(start..end).map_or(1, |covered| covered.chars().count()).clamp(1, SHOWN_MAX - (column - from).min(SHOWN_MAX - 1));
    let gutter = " ".repeat(number.to_string().len());
    let indent = " ".repeat(column - from + before.chars().count());

    let mut say = |line: std::fmt::Arguments<'_>| writeln!(out, "{line}").expect("a String takes everything");
    say(format_args!("error[{}]: {}", diagnostic.code.as_str(), diagnostic.message));
    say(format_args!("{gutter}--> line {number}, column {}", column + 1));
    say(format_args!("{number} | {before}{shown}{after}"));
    say(format_args!("{gutter} | {indent}{}", "^".repeat(width)));
    if let Some(hint) = &diagnostic.hint {
        say(format_args!("{gutter} = hint: {hint}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_lie_nowhere_are_rendered_all_the_same() {
        for (text, span) in [("", Span::new(0, 0)), ("a", Span::new(7, 9)), ("é\nx", Span::new(1, 1)), ("a\r\nb", Span::new(1, 4))] {
            let diagnostic = Diagnostic { span, code: Code::Unexpected, message: "m".into(), hint: None };
            assert!(render(text, &[diagnostic]).contains('^'));
        }
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}?{}", "a".repeat(5_000), "b".repeat(5_000));
        let diagnostic = Diagnostic { span: Span::new(5_000, 5_001), code: Code::Character, message: "m".into(), hint: None };
        let shown = render(&text, &[diagnostic]);
        assert!(shown.len() < 600, "{shown}");
        assert!(shown.contains("aaa?bbb"));
    }
}
