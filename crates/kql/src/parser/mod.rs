//! Tokens to a tree: recursive descent, one token of lookahead almost everywhere, no backtracking.
//!
//! Mistakes never stop it. A rule that finds something else than it wants complains and gives a stand-in
//! ([`ExprKind::Missing`], [`OperatorKind::Broken`]); then the operator it belongs to skips to the next `|`, `;` or closing
//! bracket. One operator complains once: what follows a mistake is mostly its echo.

mod expr;
mod literal;
mod operator;
mod operator_more;
mod statement;
mod words;

use crate::ast::{ColumnDecl, Name, Query, ScalarType};
use crate::diagnostic::{Code, Diagnostic};
use crate::lexer::{self, Token, TokenKind};
use crate::span::Span;
use crate::{MAX_DEPTH, Parsed};

pub(crate) fn parse(text: &str) -> Parsed {
    let mut diagnostics = Vec::new();
    let tokens = lexer::tokens(text, &mut diagnostics);
    let mut parser = Parser { text, tokens, at: 0, diagnostics, depth: 0, tall: 0, high: 0, failed_at: None };
    let statements = parser.statements(TokenKind::End);
    let query = Query { statements, span: Span::new(0, parser.token().span.end) };
    let mut diagnostics = parser.diagnostics;
    diagnostics.sort_by_key(|d| d.span.start);
    diagnostics.truncate(crate::MAX_DIAGNOSTICS);
    Parsed { query, diagnostics }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    diagnostics: Vec<Diagnostic>,
    /// How deep the rules have called each other.
    depth: u32,
    /// Height of the expression last returned by a rule below [`Parser::expr`].
    tall: u32,
    /// Height of the tallest whole expression since the innermost [`Parser::inside`] began.
    high: u32,
    /// Where the last complaint was made: a second one at the same token is an echo.
    failed_at: Option<usize>,
}

impl<'a> Parser<'a> {
    fn token(&self) -> Token {
        #[cfg(test)]
        tests::STEPS.with(|steps| steps.set(steps.get() + 1));
        self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> TokenKind {
        self.token().kind
    }

    fn ahead(&self, count: usize) -> Token {
        #[cfg(test)]
        tests::STEPS.with(|steps| steps.set(steps.get() + 1));
        self.tokens[(self.at + count).min(self.tokens.len() - 1)]
    }

    fn is(&self, kind: TokenKind) -> bool {
        self.kind() == kind
    }

    fn text_of(&self, token: Token) -> &'a str {
        token.span.of(self.text)
    }

    /// The word here; `""` if there is none.
    fn word(&self) -> &'a str {
        self.word_ahead(0)
    }

    fn word_ahead(&self, count: usize) -> &'a str {
        let token = self.ahead(count);
        if token.kind == TokenKind::Word { self.text_of(token) } else { "" }
    }

    fn is_word(&self, word: &str) -> bool {
        self.word() == word
    }

    fn advance(&mut self) -> Token {
        let token = self.token();
        if token.kind != TokenKind::End {
            self.at += 1;
        }
        token
    }

    fn eat(&mut self, kind: TokenKind) -> bool {
        let hit = self.is(kind);
        if hit {
            self.advance();
        }
        hit
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let hit = self.is_word(word);
        if hit {
            self.advance();
        }
        hit
    }

    /// Whether the token `count` ahead touches the one before it.
    fn touches(&self, count: usize) -> bool {
        let index = self.at + count;
        index > 0 && index < self.tokens.len() && self.tokens[index - 1].span.end == self.tokens[index].span.start
    }

    /// The span from token number `start` to the token before this one.
    fn since(&self, start: usize) -> Span {
        let first = self.tokens[start.min(self.tokens.len() - 1)].span;
        if self.at <= start {
            return Span::new(first.start, first.start);
        }
        first.to(self.tokens[self.at - 1].span)
    }

    /// What stands here, for a message.
    fn found(&self) -> String {
        let token = self.token();
        match token.kind {
            TokenKind::End => "the end of the text".to_owned(),
            TokenKind::String | TokenKind::BrokenString => "a string".to_owned(),
            _ => {
                let text: String = self.text_of(token).chars().take(40).collect();
                format!("`{text}`")
            }
        }
    }

    fn complain_at(&mut self, span: Span, code: Code, message: impl Into<String>, hint: Option<String>) {
        if self.failed_at == Some(self.at) {
            return;
        }
        self.failed_at = Some(self.at);
        // Twice as many as are told: those of the lexer are among them, and the first by place are kept.
        if self.diagnostics.len() < 2 * crate::MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic { span, code, message: message.into(), hint });
        }
    }

    /// Complains about the token here.
    fn complain(&mut self, code: Code, message: impl Into<String>, hint: Option<String>) {
        // The lexer has complained about a broken string already.
        if self.is(TokenKind::BrokenString) {
            self.failed_at = Some(self.at);
            return;
        }
        self.complain_at(self.token().span, code, message, hint);
    }

    fn expected(&mut self, what: &str) {
        let found = self.found();
        self.complain(Code::Unexpected, format!("expected {what}, found {found}"), None);
    }

    fn expect(&mut self, kind: TokenKind, what: &str) -> bool {
        let hit = self.eat(kind);
        if !hit {
            self.expected(what);
        }
        hit
    }

    fn expect_word(&mut self, word: &str) -> bool {
        let hit = self.eat_word(word);
        if !hit {
            let meant = crate::closest(self.word(), [word]).map(|near| format!("did you mean `{near}`?"));
            let found = self.found();
            self.complain(Code::Unexpected, format!("expected `{word}`, found {found}"), meant);
        }
        hit
    }

    /// Skips to what ends an operator here: a bar, a semicolon, a closing bracket of an outer pair, or the end.
    fn skip_operator(&mut self) {
        loop {
            match self.kind() {
                TokenKind::Pipe
                | TokenKind::Semicolon
                | TokenKind::CloseParen
                | TokenKind::CloseBrace
                | TokenKind::CloseBracket
                | TokenKind::End => return,
                TokenKind::OpenParen | TokenKind::OpenBracket | TokenKind::OpenBrace => self.skip_pair(),
                _ => {
                    self.advance();
                }
            }
        }
    }

    /// Skips a bracket and all up to the one that closes it, or just the bracket.
    fn skip_pair(&mut self) {
        match self.token().close {
            Some(close) => self.at = close as usize + 1,
            None => {
                self.advance();
            }
        }
    }

    /// Closes the pair opened by the token number `open`. If something else stands here: complains, and goes past the closing
    /// bracket if there is one.
    fn close(&mut self, open: usize, kind: TokenKind) {
        if self.eat(kind) {
            return;
        }
        let sign = match kind {
            TokenKind::CloseParen => "`)`",
            TokenKind::CloseBracket => "`]`",
            _ => "`}`",
        };
        let close = self.tokens[open].close.map(|close| close as usize).filter(|close| *close >= self.at);
        if close.is_none() && (self.is(TokenKind::End) || self.is(TokenKind::Semicolon) || self.is(TokenKind::Pipe)) {
            let span = self.tokens[open].span;
            let opener = self.text_of(self.tokens[open]).to_owned();
            self.complain_at(span, Code::NotClosed, format!("`{opener}` is not closed"), Some(format!("add {sign}")));
        } else {
            self.expected(if kind == TokenKind::CloseParen { "`,` or `)`" } else { sign });
        }
        if let Some(close) = close {
            self.at = close + 1;
        }
    }

    /// Runs a rule one level deeper, or, if that is too deep, complains, skips what would have been read and gives `stand_in`.
    fn deeper<T>(&mut self, levels: u32, rule: impl FnOnce(&mut Self) -> T, stand_in: impl FnOnce() -> T) -> T {
        if self.depth + levels > MAX_DEPTH {
            self.too_deep();
            self.skip_operator();
            return stand_in();
        }
        self.depth += levels;
        let value = rule(self);
        self.depth -= levels;
        value
    }

    fn too_deep(&mut self) {
        self.complain(
            Code::TooDeep,
            format!("this is nested deeper than {MAX_DEPTH} levels"),
            Some("name a part of it with `let`".to_owned()),
        );
    }

    /// Runs a rule whose result holds expressions; afterwards [`Parser::tall`] is the result's height.
    fn inside<T>(&mut self, rule: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::take(&mut self.high);
        let value = rule(self);
        self.tall = std::mem::replace(&mut self.high, outer) + 1;
        value
    }

    // ---- names ----

    /// Whether a name stands `count` tokens ahead, and how many tokens it takes.
    fn name_ahead(&self, count: usize) -> Option<usize> {
        match self.ahead(count).kind {
            TokenKind::Word => Some(1),
            TokenKind::OpenBracket
                if self.ahead(count + 1).kind == TokenKind::String && self.ahead(count + 2).kind == TokenKind::CloseBracket =>
            {
                Some(3)
            }
            _ => None,
        }
    }

    /// A name: any word, or a string in brackets.
    fn name(&mut self) -> Option<Name> {
        let start = self.at;
        if self.name_ahead(0)? == 1 {
            let token = self.advance();
            return Some(Name { text: self.text_of(token).to_owned(), span: token.span });
        }
        self.advance();
        let string = self.advance();
        self.advance();
        let text = self.string_value(string).0;
        Some(Name { text, span: self.since(start) })
    }

    fn expect_name(&mut self, what: &str) -> Name {
        self.name().unwrap_or_else(|| {
            self.expected(what);
            let start = self.token().span.start;
            Name { text: String::new(), span: Span::new(start, start) }
        })
    }

    /// A type's name.
    fn scalar_type(&mut self) -> Option<ScalarType> {
        let word = self.word();
        let Some(kind) = ScalarType::from_name(word) else {
            const NAMES: [&str; 10] = ["bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid", "dynamic"];
            let hint = crate::closest(word, NAMES).map(|name| format!("did you mean `{name}`?"));
            let found = self.found();
            self.complain(Code::Unexpected, format!("expected a type, found {found}"), hint);
            if !word.is_empty() {
                self.advance();
            }
            return None;
        };
        self.advance();
        Some(kind)
    }

    /// `(a:long, ['b c']:string)`
    fn column_declarations(&mut self) -> Vec<ColumnDecl> {
        let open = self.at;
        let mut columns = Vec::new();
        if !self.expect(TokenKind::OpenParen, "`(` and columns") {
            return columns;
        }
        while !self.is(TokenKind::CloseParen) && !self.is(TokenKind::End) {
            let name = self.expect_name("a column's name");
            self.expect(TokenKind::Colon, "`:` and a type");
            let kind = self.scalar_type();
            if name.text.is_empty() || kind.is_none() && self.failed_at == Some(self.at) {
                break;
            }
            columns.push(ColumnDecl { name, kind: kind.unwrap_or(ScalarType::Dynamic) });
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.close(open, TokenKind::CloseParen);
        columns
    }
}

#[cfg(test)]
mod tests;
