//! Text to tokens. One pass; what begins nothing is a diagnostic and left out.

use crate::datetime::unit_ticks;
use crate::diagnostic::{Code, Diagnostic};
use crate::span::Span;

/// What a token is; its text is its span's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name or keyword.
    Word,
    /// `12`, `0x1F`
    Long,
    /// `1.5`, `1e3`
    Real,
    /// `1.5h`
    TimeSpan,
    /// Any string literal, prefix and quotes included.
    String,
    /// `datetime(2024-01-31)`: a typed literal, whole.
    Typed,
    /// A string that is not closed: the rest of its line.
    BrokenString,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    OpenBrace,
    CloseBrace,
    Comma,
    Semicolon,
    Colon,
    Dot,
    DotDot,
    Pipe,
    Assign,
    EqualEqual,
    EqualTilde,
    Bang,
    BangEqual,
    BangTilde,
    LessGreater,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Percent,
    Tilde,
    /// `&&`: not KQL, but meant as `and`.
    AndAnd,
    /// `||`: not KQL, but meant as `or`.
    OrOr,
    End,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
    /// For an opening bracket: the index of the token that closes it, if one does.
    pub(crate) close: Option<u32>,
}

/// Names that before `(` begin a literal whose inside is not an expression.
pub(crate) const TYPED: [&str; 15] = [
    "datetime", "date", "timespan", "time", "guid", "uuid", "uniqueid", "decimal", "real", "double", "float", "long", "int", "bool",
    "boolean",
];

/// Longest typed literal in bytes.
const LITERAL_MAX: usize = 1_024;

/// All tokens of a text, ended by one [`TokenKind::End`].
pub(crate) fn tokens(text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut lexer = Lexer::over(text, diagnostics);
    while lexer.next() {}
    let end = lexer.span(lexer.bytes.len());
    lexer.push(TokenKind::End, end.start as usize);
    let mut tokens = lexer.tokens;
    match_brackets(&mut tokens);
    tokens
}

/// Where the comments of a text are, without the ends of their lines.
pub(crate) fn comments(text: &str) -> Vec<Span> {
    let mut ignored = Vec::new();
    let mut lexer = Lexer::over(text, &mut ignored);
    while lexer.next() {}
    lexer.comments
}

/// Notes for each opening bracket where it is closed; what does not pair up stays unmatched.
fn match_brackets(tokens: &mut [Token]) {
    let mut open: Vec<usize> = Vec::new();
    for index in 0..tokens.len() {
        let opener = match tokens[index].kind {
            TokenKind::OpenParen | TokenKind::OpenBracket | TokenKind::OpenBrace => {
                open.push(index);
                continue;
            }
            TokenKind::CloseParen => TokenKind::OpenParen,
            TokenKind::CloseBracket => TokenKind::OpenBracket,
            TokenKind::CloseBrace => TokenKind::OpenBrace,
            _ => continue,
        };
        // A `}` also drops what was left open inside it.
        if opener == TokenKind::OpenBrace {
            while open.last().is_some_and(|&last| tokens[last].kind != TokenKind::OpenBrace) {
                open.pop();
            }
        }
        if open.last().is_some_and(|&last| tokens[last].kind == opener) {
            let last = open.pop().expect("just seen");
            tokens[last].close = u32::try_from(index).ok();
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    comments: Vec<Span>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl<'a> Lexer<'a> {
    fn over(text: &'a str, diagnostics: &'a mut Vec<Diagnostic>) -> Self {
        let tokens = Vec::with_capacity(text.len() / 4 + 1);
        Self { text, bytes: text.as_bytes(), at: 0, tokens, comments: Vec::new(), diagnostics }
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    /// From `start` to where we are.
    fn span(&self, start: usize) -> Span {
        let cut = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Span::new(cut(start), cut(self.at.max(start)))
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        let span = self.span(start);
        self.tokens.push(Token { kind, span, close: None });
    }

    fn complain(&mut self, start: usize, code: Code, message: impl Into<String>, hint: Option<String>) {
        let span = self.span(start);
        if self.diagnostics.len() < crate::MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic { span, code, message: message.into(), hint });
        }
    }

    /// Reads one token; false at the end.
    fn next(&mut self) -> bool {
        self.skip_blanks();
        let start = self.at;
        let Some(&byte) = self.bytes.get(start) else { return false };
        match byte {
            b'0'..=b'9' => self.number(),
            b'"' | b'\'' => self.quoted(start),
            b'@' if matches!(self.peek(1), b'"' | b'\'') => self.verbatim(start),
            b'h' | b'H' if matches!(self.peek(1), b'"' | b'\'') => {
                self.at += 1;
                self.quoted(start);
            }
            b'h' | b'H' if self.peek(1) == b'@' && matches!(self.peek(2), b'"' | b'\'') => {
                self.at += 1;
                self.verbatim(start);
            }
            b'`' | b'~' if self.peek(1) == byte && self.peek(2) == byte => self.fenced(start),
            b'h' | b'H' if matches!(self.peek(1), b'`' | b'~') && self.peek(2) == self.peek(1) && self.peek(3) == self.peek(1) => {
                self.at += 1;
                self.fenced(start);
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' => self.word(),
            _ => self.sign(),
        }
        true
    }

    fn skip_blanks(&mut self) {
        while let Some(&byte) = self.bytes.get(self.at) {
            if byte.is_ascii_whitespace() || byte == 0x0b {
                self.at += 1;
            } else if byte == b'/' && self.peek(1) == b'/' {
                let start = self.at;
                self.at += memchr(b'\n', &self.bytes[self.at..]).unwrap_or(self.bytes.len() - self.at);
                let span = self.span(start);
                self.comments.push(span);
            } else if byte >= 0x80 {
                match self.text[self.at..].chars().next() {
                    Some(c) if c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}' | '\u{200c}' | '\u{200d}') => {
                        self.at += c.len_utf8();
                    }
                    _ => return,
                }
            } else {
                return;
            }
        }
    }

    fn word_end(&self, from: usize) -> usize {
        let length = self.bytes[from..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        from + length
    }

    fn word(&mut self) {
        let start = self.at;
        self.at = self.word_end(start + 1);
        let word = &self.text[start..self.at];
        if TYPED.contains(&word) {
            let blanks = self.bytes[self.at..].iter().take_while(|b| **b == b' ').count();
            if self.bytes.get(self.at + blanks) == Some(&b'(') && !matches!(self.tokens.last(), Some(token) if token.kind == TokenKind::Dot)
            {
                self.typed(start, self.at + blanks);
                return;
            }
        }
        self.push(TokenKind::Word, start);
    }

    /// `datetime( .. )`; `open` is the parenthesis. Not closed soon (no literal is longer): the word alone.
    fn typed(&mut self, start: usize, open: usize) {
        let mut depth = 0;
        let mut quote = 0;
        for (offset, &byte) in self.bytes[open..].iter().take(LITERAL_MAX).enumerate() {
            match byte {
                _ if byte == quote => quote = 0,
                _ if quote != 0 => {}
                b'"' | b'\'' => quote = byte,
                b'(' => depth += 1,
                b')' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at = open + offset + 1;
                        self.push(TokenKind::Typed, start);
                        return;
                    }
                }
                b'|' | b';' => break,
                _ => {}
            }
        }
        self.push(TokenKind::Word, start);
    }

    fn number(&mut self) {
        let start = self.at;
        if self.bytes[start] == b'0' && matches!(self.peek(1), b'x' | b'X') && self.peek(2).is_ascii_hexdigit() {
            self.at += 2 + self.bytes[start + 2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
            self.push(TokenKind::Long, start);
            return;
        }
        let digits = |from: usize, bytes: &[u8]| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += digits(self.at, self.bytes);
        let mut kind = TokenKind::Long;
        if self.peek(0) == b'.' && self.peek(1) != b'.' && !(self.peek(1).is_ascii_alphabetic() || self.peek(1) == b'_') {
            kind = TokenKind::Real;
            self.at += 1;
            self.at += digits(self.at, self.bytes);
        }
        if matches!(self.peek(0), b'e' | b'E') {
            let signed = usize::from(matches!(self.peek(1), b'+' | b'-'));
            if self.peek(1 + signed).is_ascii_digit() {
                kind = TokenKind::Real;
                self.at += 1 + signed;
                self.at += digits(self.at, self.bytes);
            }
        }
        let end = self.word_end(self.at);
        let suffix = &self.text[self.at..end];
        if suffix.is_empty() {
            self.push(kind, start);
        } else if unit_ticks(suffix).is_some() {
            self.at = end;
            self.push(TokenKind::TimeSpan, start);
        } else {
            // Names may begin with digits (`2fa_events`).
            self.at = end;
            self.push(TokenKind::Word, start);
        }
    }

    /// `"..."` with backslash escapes; `self.at` is the quote, `start` where the literal began.
    fn quoted(&mut self, start: usize) {
        let quote = self.bytes[self.at];
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' if self.peek(1) != b'\n' && self.at + 1 < self.bytes.len() => self.at += 2,
                b'\n' => break,
                _ if byte == quote => {
                    self.at += 1;
                    self.push(TokenKind::String, start);
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.not_closed(start, quote);
    }

    /// `@"..."`; a doubled quote stands for one.
    fn verbatim(&mut self, start: usize) {
        let quote = self.bytes[self.at + 1];
        self.at += 2;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\n' => break,
                _ if byte == quote && self.peek(1) == quote => self.at += 2,
                _ if byte == quote => {
                    self.at += 1;
                    self.push(TokenKind::String, start);
                    return;
                }
                _ => self.at += 1,
            }
        }
        self.not_closed(start, quote);
    }

    fn not_closed(&mut self, start: usize, quote: u8) {
        let quote = quote as char;
        self.at = self.at.min(self.bytes.len());
        while !self.text.is_char_boundary(self.at) {
            self.at += 1;
        }
        self.complain(start, Code::NotClosed, "the string is not closed on its line", Some(format!("add `{quote}` where it ends")));
        self.push(TokenKind::BrokenString, start);
    }

    /// Three backticks or tildes to the next three; lines may break inside.
    fn fenced(&mut self, start: usize) {
        let fence = &self.text[self.at..self.at + 3];
        self.at += 3;
        if let Some(length) = self.text[self.at..].find(fence) {
            self.at += length + 3;
            self.push(TokenKind::String, start);
        } else {
            self.at = self.bytes.len();
            self.complain(start, Code::NotClosed, "the string is not closed", Some(format!("add `{fence}` where it ends")));
            self.push(TokenKind::BrokenString, start);
        }
    }

    fn sign(&mut self) {
        use TokenKind as K;
        let start = self.at;
        let (kind, length) = match (self.bytes[start], self.peek(1)) {
            (b'(', _) => (K::OpenParen, 1),
            (b')', _) => (K::CloseParen, 1),
            (b'[', _) => (K::OpenBracket, 1),
            (b']', _) => (K::CloseBracket, 1),
            (b'{', _) => (K::OpenBrace, 1),
            (b'}', _) => (K::CloseBrace, 1),
            (b',', _) => (K::Comma, 1),
            (b';', _) => (K::Semicolon, 1),
            (b':', _) => (K::Colon, 1),
            (b'.', b'.') => (K::DotDot, 2),
            (b'.', _) => (K::Dot, 1),
            (b'|', b'|') => (K::OrOr, 2),
            (b'|', _) => (K::Pipe, 1),
            (b'&', b'&') => (K::AndAnd, 2),
            (b'=', b'=') => (K::EqualEqual, 2),
            (b'=', b'~') => (K::EqualTilde, 2),
            (b'=', _) => (K::Assign, 1),
            (b'!', b'=') => (K::BangEqual, 2),
            (b'!', b'~') => (K::BangTilde, 2),
            (b'!', _) => (K::Bang, 1),
            (b'<', b'>') => (K::LessGreater, 2),
            (b'<', b'=') => (K::LessEqual, 2),
            (b'<', _) => (K::Less, 1),
            (b'>', b'=') => (K::GreaterEqual, 2),
            (b'>', _) => (K::Greater, 1),
            (b'+', _) => (K::Plus, 1),
            (b'-', _) => (K::Minus, 1),
            (b'*', _) => (K::Star, 1),
            (b'/', _) => (K::Slash, 1),
            (b'%', _) => (K::Percent, 1),
            (b'~', _) => (K::Tilde, 1),
            _ => return self.strange(),
        };
        self.at += length;
        self.push(kind, start);
    }

    fn strange(&mut self) {
        let start = self.at;
        let c = self.text[start..].chars().next().expect("the caller has seen a byte");
        if c.is_alphabetic() {
            // A run of foreign letters is one mistake, not one a letter.
            self.at += self.text[start..].find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(self.bytes.len() - start);
            let name = &self.text[start..self.at];
            let hint = format!("write names with other letters in brackets: ['{name}']");
            self.complain(start, Code::Character, format!("`{name}` is no name KQL reads without brackets"), Some(hint));
            self.push(TokenKind::Word, start);
            return;
        }
        self.at += c.len_utf8();
        let hint = match c {
            '“' | '”' | '„' | '‘' | '’' => Some("use straight quotes: \" or '".to_owned()),
            '–' | '—' | '−' => Some("use a plain minus: -".to_owned()),
            '&' => Some("write `and`".to_owned()),
            _ => None,
        };
        self.complain(start, Code::Character, format!("`{}` begins nothing in KQL", c.escape_debug()), hint);
    }
}

fn memchr(needle: u8, hay: &[u8]) -> Option<usize> {
    hay.iter().position(|byte| *byte == needle)
}
