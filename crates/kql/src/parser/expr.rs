//! Expressions: precedence climbing, tight to loose: path and call, sign, string operators, `* / %`, `+ -`, order,
//! equality with `in` and `between`, `and`, `or`.

use super::Parser;
use super::words::{negated, string_operator};
use crate::MAX_DEPTH;
use crate::ast::{Argument, BinaryOp, Expr, ExprKind, Literal, Name, NamedExpr, ScalarType, SetOp, SourceKind, UnaryOp};
use crate::diagnostic::Code;
use crate::lexer::TokenKind;
use crate::span::Span;

const OR: u8 = 1;
const AND: u8 = 2;
const EQUALITY: u8 = 3;
const ORDER: u8 = 4;
const SUM: u8 = 5;
const PRODUCT: u8 = 6;
const STRING: u8 = 7;

/// What stands between two operands.
#[derive(Clone, Copy)]
enum Infix {
    And,
    Or,
    Binary(BinaryOp),
    Set(SetOp),
    Between { negated: bool },
}

/// An expression on its way into a larger one.
struct Operand {
    expr: Expr,
    height: u32,
    /// Its first token's number.
    start: usize,
}

/// A left side and its operator, waiting for the right side.
struct Waiting {
    left: Operand,
    infix: Infix,
    power: u8,
    op_span: Span,
}

impl Parser<'_> {
    /// One expression, no pipeline.
    pub(super) fn expr(&mut self) -> Expr {
        let span = Span::new(self.token().span.start, self.token().span.start);
        let expr = self.deeper(1, Self::infix, || Expr { kind: ExprKind::Missing, span });
        self.high = self.high.max(self.tall);
        expr
    }

    /// `value`, `name = value`, `(a, b) = value`.
    pub(super) fn named_expr(&mut self) -> NamedExpr {
        let start = self.at;
        let names = self.names_before_assign();
        let value = self.expr();
        NamedExpr { names, value, span: self.since(start) }
    }

    /// Named expressions separated by commas; at least one.
    pub(super) fn named_exprs(&mut self) -> Vec<NamedExpr> {
        let mut list = vec![self.named_expr()];
        while self.eat(TokenKind::Comma) {
            // A comma too many before the next bar is a slip worth its own words.
            if matches!(self.kind(), TokenKind::Pipe | TokenKind::Semicolon | TokenKind::End) {
                self.complain(Code::Unexpected, "the list ends with a comma", Some("remove the comma".to_owned()));
                break;
            }
            list.push(self.named_expr());
        }
        list
    }

    fn names_before_assign(&mut self) -> Vec<Name> {
        if let Some(length) = self.name_ahead(0) {
            if self.ahead(length).kind != TokenKind::Assign {
                return Vec::new();
            }
            let name = self.name();
            self.advance();
            return name.into_iter().collect();
        }
        if !self.is(TokenKind::OpenParen) {
            return Vec::new();
        }
        let mut count = 1;
        loop {
            let Some(length) = self.name_ahead(count) else { return Vec::new() };
            count += length;
            match self.ahead(count).kind {
                TokenKind::Comma => count += 1,
                TokenKind::CloseParen => break,
                _ => return Vec::new(),
            }
        }
        if self.ahead(count + 1).kind != TokenKind::Assign {
            return Vec::new();
        }
        self.advance();
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            self.eat(TokenKind::Comma);
        }
        self.advance();
        self.advance();
        names
    }

    /// An expression, or a pipeline where one is allowed: in parentheses and as an argument.
    /// `open` is the bracket around it: if nothing closes that, the bar more likely ends what was meant to be in it.
    pub(super) fn value_or_pipeline(&mut self, open: usize) -> Expr {
        let start = self.at;
        let source = if self.at_tabular_source() {
            None
        } else {
            let value = self.expr();
            if !self.is(TokenKind::Pipe) || self.tokens[open].close.is_none() {
                return value;
            }
            Some(SourceKind::Expr(value))
        };
        let pipeline = self.inside(|p| match source {
            Some(source) => p.pipeline_from(start, source),
            None => p.pipeline(),
        });
        self.high = self.high.max(self.tall);
        Expr { kind: ExprKind::Pipeline(Box::new(pipeline)), span: self.since(start) }
    }

    /// Operands and operators between them. What waits for its right side lies on a stack of our own, so that one level of
    /// brackets costs the thread's stack the same however many precedences meet in it.
    fn infix(&mut self) -> Expr {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut left = self.operand();
        loop {
            let here = self.infix_here();
            let power = here.map_or(0, |(_, power, _)| power);
            while waiting.last().is_some_and(|last| last.power >= power) {
                let last = waiting.pop().expect("just seen");
                left = self.combine(last, left);
            }
            let Some((infix, power, length)) = here.filter(|_| left.height <= MAX_DEPTH) else { break };
            let op_start = self.at;
            for _ in 0..length {
                self.advance();
            }
            let op_span = self.since(op_start);
            let kind = match infix {
                Infix::And | Infix::Or | Infix::Binary(_) => {
                    waiting.push(Waiting { left, infix, power, op_span });
                    left = self.operand();
                    continue;
                }
                Infix::Set(op) => {
                    let list = self.inside(Self::set_list);
                    ExprKind::Set { op, op_span, operand: Box::new(left.expr), list }
                }
                Infix::Between { negated } => {
                    let (low, high) = self.inside(Self::bounds);
                    ExprKind::Between { operand: Box::new(left.expr), low: Box::new(low), high: Box::new(high), negated }
                }
            };
            left = Operand { expr: Expr { kind, span: self.since(left.start) }, height: left.height.max(self.tall) + 1, start: left.start };
        }
        if left.height > MAX_DEPTH {
            self.too_deep();
            self.skip_operator();
            // What is too tall goes at once: the rest of the tree must stay shallow.
            left = Operand { expr: Expr { kind: ExprKind::Missing, span: left.expr.span }, height: 1, start: left.start };
        }
        self.tall = left.height;
        left.expr
    }

    fn operand(&mut self) -> Operand {
        let start = self.at;
        let expr = self.prefix();
        Operand { expr, height: self.tall, start }
    }

    fn combine(&mut self, waiting: Waiting, right: Operand) -> Operand {
        let Waiting { left, infix, op_span, .. } = waiting;
        let span = self.since(left.start);
        let (kind, height) = if let Infix::Binary(op) = infix {
            let kind = ExprKind::Binary { op, op_span, left: Box::new(left.expr), right: Box::new(right.expr) };
            (kind, left.height.max(right.height) + 1)
        } else {
            let (kind, grown) = join(infix, left.expr, right.expr);
            (kind, (left.height + u32::from(grown)).max(right.height + 1))
        };
        Operand { expr: Expr { kind, span }, height, start: left.start }
    }

    /// The operator here, how tight it binds, and how many tokens it is.
    fn infix_here(&mut self) -> Option<(Infix, u8, usize)> {
        use BinaryOp as B;
        let binary = |op, power| Some((Infix::Binary(op), power, 1));
        match self.kind() {
            TokenKind::Word => self.word_infix(),
            TokenKind::Plus => binary(B::Add, SUM),
            TokenKind::Minus => binary(B::Subtract, SUM),
            TokenKind::Star => binary(B::Multiply, PRODUCT),
            TokenKind::Slash => binary(B::Divide, PRODUCT),
            TokenKind::Percent => binary(B::Modulo, PRODUCT),
            TokenKind::EqualEqual => binary(B::Equal, EQUALITY),
            TokenKind::BangEqual | TokenKind::LessGreater => binary(B::NotEqual, EQUALITY),
            TokenKind::EqualTilde => binary(B::EqualIgnoreCase, EQUALITY),
            TokenKind::BangTilde => binary(B::NotEqualIgnoreCase, EQUALITY),
            TokenKind::Less => binary(B::Less, ORDER),
            TokenKind::LessEqual => binary(B::LessOrEqual, ORDER),
            TokenKind::Greater => binary(B::Greater, ORDER),
            TokenKind::GreaterEqual => binary(B::GreaterOrEqual, ORDER),
            TokenKind::Colon if matches!(self.ahead(1).kind, TokenKind::String | TokenKind::BrokenString | TokenKind::Long) => {
                binary(B::Colon, EQUALITY)
            }
            TokenKind::Assign if self.ahead(1).kind == TokenKind::Greater && self.touches(1) => None,
            TokenKind::Assign => {
                self.complain(Code::OtherLanguage, "`=` gives a name, it does not compare", Some("write `==`".to_owned()));
                binary(B::Equal, EQUALITY)
            }
            TokenKind::AndAnd => {
                self.complain(Code::OtherLanguage, "`&&` is not KQL", Some("write `and`".to_owned()));
                Some((Infix::And, AND, 1))
            }
            TokenKind::OrOr => {
                self.complain(Code::OtherLanguage, "`||` is not KQL", Some("write `or`".to_owned()));
                Some((Infix::Or, OR, 1))
            }
            TokenKind::Bang if self.touches(1) => self.negated_infix(),
            _ => None,
        }
    }

    fn word_infix(&mut self) -> Option<(Infix, u8, usize)> {
        let word = self.word();
        match word {
            "and" => return Some((Infix::And, AND, 1)),
            "or" => return Some((Infix::Or, OR, 1)),
            "between" if self.ahead(1).kind == TokenKind::OpenParen => return Some((Infix::Between { negated: false }, EQUALITY, 1)),
            "matches" if self.word_ahead(1) == "regex" => return Some((Infix::Binary(BinaryOp::MatchesRegex), STRING, 2)),
            "in" if self.ahead(1).kind == TokenKind::Tilde && self.touches(1) => {
                return Some((Infix::Set(SetOp::InIgnoreCase), EQUALITY, 2));
            }
            "in" => return Some((Infix::Set(SetOp::In), EQUALITY, 1)),
            "has_any" => return Some((Infix::Set(SetOp::HasAny), EQUALITY, 1)),
            "has_all" => return Some((Infix::Set(SetOp::HasAll), EQUALITY, 1)),
            _ => {}
        }
        if let Some(op) = string_operator(word) {
            return Some((Infix::Binary(op), STRING, 1));
        }
        self.foreign_infix(word)
    }

    /// Words that other languages put between operands.
    fn foreign_infix(&mut self, word: &str) -> Option<(Infix, u8, usize)> {
        let (infix, power) = match word {
            "AND" | "And" => (Infix::And, AND),
            "OR" | "Or" => (Infix::Or, OR),
            "IN" | "In" => (Infix::Set(SetOp::In), EQUALITY),
            "LIKE" => (Infix::Binary(BinaryOp::Like), STRING),
            "is" | "IS" => {
                let hint = "write isnull(x) or isnotnull(x); for strings isempty(x) or isnotempty(x)".to_owned();
                self.complain(Code::OtherLanguage, format!("`{word}` is not KQL"), Some(hint));
                return None;
            }
            _ => {
                let lower = word.to_ascii_lowercase();
                let op = if lower == word { None } else { string_operator(&lower) }?;
                (Infix::Binary(op), STRING)
            }
        };
        self.complain(
            Code::OtherLanguage,
            format!("`{word}` is not KQL: keywords are lower case"),
            Some(format!("write `{}`", word.to_lowercase())),
        );
        Some((infix, power, 1))
    }

    /// `!has`, `!in~`, ..: this token is the `!`, the next one touches it.
    fn negated_infix(&mut self) -> Option<(Infix, u8, usize)> {
        match self.word_ahead(1) {
            "in" if self.ahead(2).kind == TokenKind::Tilde && self.touches(2) => Some((Infix::Set(SetOp::NotInIgnoreCase), EQUALITY, 3)),
            "in" => Some((Infix::Set(SetOp::NotIn), EQUALITY, 2)),
            "between" => Some((Infix::Between { negated: true }, EQUALITY, 2)),
            word @ ("has_any" | "has_all" | "matches") => {
                let hint = format!("write not(x {word} ..)");
                self.complain(Code::Unexpected, format!("there is no `!{word}`"), Some(hint));
                None
            }
            word => {
                let op = string_operator(word)?;
                let negated = negated(op)?;
                Some((Infix::Binary(negated), STRING, 2))
            }
        }
    }

    /// What is in the parentheses after `in`; a single value may stand there without any.
    fn set_list(&mut self) -> Vec<Expr> {
        let open = self.at;
        if !self.eat(TokenKind::OpenParen) {
            let value = self.prefix();
            self.high = self.high.max(self.tall);
            return vec![value];
        }
        let mut list = Vec::new();
        while !matches!(self.kind(), TokenKind::CloseParen | TokenKind::End) {
            list.push(self.value_or_pipeline(open));
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.close(open, TokenKind::CloseParen);
        list
    }

    /// `(low .. high)`
    fn bounds(&mut self) -> (Expr, Expr) {
        let open = self.at;
        self.expect(TokenKind::OpenParen, "`(`");
        let low = self.expr();
        if !self.eat(TokenKind::DotDot) {
            let hint = if self.is(TokenKind::Comma) || self.is_word("and") { Some("write between (low .. high)".to_owned()) } else { None };
            let found = self.found();
            self.complain(Code::Unexpected, format!("expected `..`, found {found}"), hint);
        }
        let high = self.expr();
        self.close(open, TokenKind::CloseParen);
        (low, high)
    }

    fn prefix(&mut self) -> Expr {
        let start = self.at;
        let mut signs = Vec::new();
        while let TokenKind::Minus | TokenKind::Plus = self.kind() {
            signs.push((if self.advance().kind == TokenKind::Minus { UnaryOp::Minus } else { UnaryOp::Plus }, self.at - 1));
            if signs.len() > MAX_DEPTH as usize {
                self.too_deep();
                self.skip_operator();
                self.tall = 1;
                return Expr { kind: ExprKind::Missing, span: self.since(start) };
            }
        }
        let mut expr = self.postfix();
        for (op, at) in signs.into_iter().rev() {
            // The least long is written as a minus and a number that no long holds.
            if op == UnaryOp::Minus && matches!(expr.kind, ExprKind::Literal(Literal::Long(i64::MIN))) {
                expr.span = self.since(at);
                continue;
            }
            expr = Expr { kind: ExprKind::Unary { op, operand: Box::new(expr) }, span: self.since(at) };
            self.tall += 1;
        }
        expr
    }

    /// A primary and the paths, indexes and calls after it.
    pub(super) fn postfix(&mut self) -> Expr {
        let start = self.at;
        let mut expr = self.primary();
        let mut height = self.tall;
        loop {
            let kind = match self.kind() {
                // `split(a, "/").[1]` is `split(a, "/")[1]`.
                TokenKind::Dot if self.ahead(1).kind == TokenKind::OpenBracket && self.name_ahead(1).is_none() => {
                    self.advance();
                    continue;
                }
                TokenKind::Dot => {
                    self.advance();
                    let name = self.expect_name("a member's name");
                    if name.text.is_empty() {
                        break;
                    }
                    if self.is(TokenKind::OpenParen) {
                        let arguments = self.inside(Self::arguments);
                        height = height.max(self.tall);
                        ExprKind::Call { receiver: Some(Box::new(expr)), function: name, arguments }
                    } else {
                        ExprKind::Path { base: Box::new(expr), name }
                    }
                }
                TokenKind::OpenBracket if indexable(&expr) => {
                    let open = self.at;
                    self.advance();
                    let index = self.inside(Self::expr);
                    height = height.max(self.tall);
                    self.close(open, TokenKind::CloseBracket);
                    ExprKind::Index { base: Box::new(expr), index: Box::new(index) }
                }
                _ => break,
            };
            height += 1;
            expr = Expr { kind, span: self.since(start) };
            if height > MAX_DEPTH {
                self.too_deep();
                self.skip_operator();
                expr = Expr { kind: ExprKind::Missing, span: expr.span };
                height = 1;
                break;
            }
        }
        self.tall = height;
        expr
    }

    fn primary(&mut self) -> Expr {
        let start = self.at;
        self.tall = 1;
        if let Some(literal) = self.literal() {
            self.tall = 1;
            return Expr { kind: ExprKind::Literal(literal), span: self.since(start) };
        }
        let kind = match self.kind() {
            TokenKind::OpenParen => return self.parens(),
            TokenKind::Star => {
                self.advance();
                ExprKind::Star
            }
            TokenKind::OpenBracket if self.name_ahead(0).is_none() => ExprKind::Array(self.inside(Self::array)),
            TokenKind::Word if self.is_word("typeof") && self.ahead(1).kind == TokenKind::OpenParen => self.type_of(),
            TokenKind::Word | TokenKind::OpenBracket => self.name_or_call(),
            TokenKind::Bang => {
                self.complain(
                    Code::OtherLanguage,
                    "`!` stands only in operators such as `!=` and `!has`",
                    Some("write not(..)".to_owned()),
                );
                self.advance();
                return self.postfix();
            }
            _ => {
                self.expected("a value");
                ExprKind::Missing
            }
        };
        Expr { kind, span: self.since(start) }
    }

    fn name_or_call(&mut self) -> ExprKind {
        let word = self.word();
        if matches!(word, "not" | "NOT") && self.ahead(1).kind == TokenKind::Word {
            self.complain(Code::OtherLanguage, format!("`{word}` is a function"), Some("write not(..)".to_owned()));
        }
        // A whole argument, not the end of a product.
        let begins = self.at > 0 && matches!(self.tokens[self.at - 1].kind, TokenKind::OpenParen | TokenKind::Comma);
        let wildcard = begins && self.ahead(1).kind == TokenKind::Star && self.touches(1);
        if wildcard && !word.is_empty() && matches!(self.ahead(2).kind, TokenKind::Comma | TokenKind::CloseParen) {
            let pattern = format!("{word}*");
            self.advance();
            self.advance();
            return ExprKind::Wildcard(pattern);
        }
        let Some(function) = self.name() else { return ExprKind::Missing };
        if self.is(TokenKind::OpenParen) {
            let arguments = self.inside(Self::arguments);
            return ExprKind::Call { receiver: None, function, arguments };
        }
        ExprKind::Name(function.text)
    }

    /// `( value )`: the value itself, its span with the parentheses.
    fn parens(&mut self) -> Expr {
        let start = self.at;
        self.advance();
        let value = self.inside(|p| p.value_or_pipeline(start));
        if matches!(value.kind, ExprKind::Wildcard(_)) {
            self.complain_at(value.span, Code::Unexpected, "a pattern of names is no value", None);
        }
        self.close(start, TokenKind::CloseParen);
        Expr { kind: value.kind, span: self.since(start) }
    }

    fn arguments(&mut self) -> Vec<Argument> {
        let open = self.at;
        self.advance();
        let mut arguments = Vec::new();
        while !matches!(self.kind(), TokenKind::CloseParen | TokenKind::End) {
            let name = match self.name_ahead(0) {
                Some(length) if self.ahead(length).kind == TokenKind::Assign => {
                    let name = self.name();
                    self.advance();
                    name
                }
                _ => None,
            };
            let value = self.value_or_pipeline(open);
            arguments.push(Argument { name, value });
            if !self.eat(TokenKind::Comma) {
                break;
            }
            if self.is(TokenKind::CloseParen) {
                self.expected("a value");
            }
        }
        self.close(open, TokenKind::CloseParen);
        arguments
    }

    fn array(&mut self) -> Vec<Expr> {
        let open = self.at;
        self.advance();
        let mut items = Vec::new();
        while !matches!(self.kind(), TokenKind::CloseBracket | TokenKind::End) {
            items.push(self.expr());
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.close(open, TokenKind::CloseBracket);
        items
    }

    fn type_of(&mut self) -> ExprKind {
        self.type_in_parens().map_or(ExprKind::Missing, ExprKind::TypeOf)
    }

    /// `typeof(long)`
    pub(super) fn type_in_parens(&mut self) -> Option<ScalarType> {
        self.expect_word("typeof");
        let open = self.at;
        if !self.expect(TokenKind::OpenParen, "`(`") {
            return None;
        }
        let kind = self.scalar_type();
        self.close(open, TokenKind::CloseParen);
        kind
    }
}

/// Only names, paths, calls and parenthesised values are indexed; after a literal `[` begins something else.
fn indexable(expr: &Expr) -> bool {
    !matches!(
        expr.kind,
        ExprKind::Literal(Literal::String { .. } | Literal::Long(_) | Literal::Real(_) | Literal::TimeSpan(_))
            | ExprKind::Star
            | ExprKind::Missing
    )
}

/// Joins flat lists of one kind; tells whether the tree has grown a level.
fn join(infix: Infix, left: Expr, right: Expr) -> (ExprKind, bool) {
    match (infix, left) {
        (Infix::And, Expr { kind: ExprKind::And(mut list), .. }) => {
            list.push(right);
            (ExprKind::And(list), false)
        }
        (Infix::Or, Expr { kind: ExprKind::Or(mut list), .. }) => {
            list.push(right);
            (ExprKind::Or(list), false)
        }
        (Infix::And, left) => (ExprKind::And(vec![left, right]), true),
        (_, left) => (ExprKind::Or(vec![left, right]), true),
    }
}
