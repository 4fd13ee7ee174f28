//! Tokens to values.

use super::Parser;
use crate::ast::{DynamicValue, Literal, ScalarType};
use crate::datetime::{parse_datetime, parse_timespan, scale, unit_ticks};
use crate::diagnostic::Code;
use crate::lexer::{Token, TokenKind};

impl Parser<'_> {
    /// The literal here, if there is one. `dynamic(..)` included.
    pub(super) fn literal(&mut self) -> Option<Literal> {
        let token = self.token();
        match token.kind {
            TokenKind::String | TokenKind::BrokenString => Some(self.string_literal()),
            TokenKind::Long => {
                self.advance();
                Some(self.long(token))
            }
            TokenKind::Real => {
                self.advance();
                Some(Literal::Real(self.text_of(token).parse().unwrap_or(f64::NAN)))
            }
            TokenKind::TimeSpan => {
                self.advance();
                Some(self.timespan(token))
            }
            TokenKind::Typed => {
                self.advance();
                Some(self.typed(token))
            }
            TokenKind::Word => match self.text_of(token) {
                "true" | "True" | "TRUE" => {
                    self.advance();
                    Some(Literal::Bool(true))
                }
                "false" | "False" | "FALSE" => {
                    self.advance();
                    Some(Literal::Bool(false))
                }
                "dynamic" if self.ahead(1).kind == TokenKind::OpenParen => Some(self.dynamic()),
                _ => None,
            },
            _ => None,
        }
    }

    /// One or more strings side by side.
    pub(super) fn string_literal(&mut self) -> Literal {
        let mut value = String::new();
        let mut obfuscated = false;
        while matches!(self.kind(), TokenKind::String | TokenKind::BrokenString) {
            let token = self.advance();
            let (text, hidden) = self.string_value(token);
            if value.is_empty() {
                value = text;
            } else {
                value.push_str(&text);
            }
            obfuscated |= hidden;
        }
        Literal::String { value, obfuscated }
    }

    /// What a string token stands for, and whether it is to be hidden.
    pub(super) fn string_value(&mut self, token: Token) -> (String, bool) {
        let whole = self.text_of(token);
        let text = whole.strip_prefix(['h', 'H']).unwrap_or(whole);
        let obfuscated = text.len() < whole.len();
        let closing = usize::from(token.kind == TokenKind::String);
        if let Some(verbatim) = text.strip_prefix('@') {
            let quote = &verbatim[..1];
            let inside = &verbatim[1..verbatim.len() - closing];
            return (inside.replace(&quote.repeat(2), quote), obfuscated);
        }
        for fence in ["```", "~~~"] {
            if let Some(rest) = text.strip_prefix(fence) {
                return (rest[..rest.len() - 3 * closing].to_owned(), obfuscated);
            }
        }
        let inside = &text[1..text.len() - closing];
        (self.unescape(token, inside), obfuscated)
    }

    fn unescape(&mut self, token: Token, text: &str) -> String {
        if !text.contains('\\') {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let Some(escape) = rest.chars().next() else { break };
            rest = &rest[escape.len_utf8()..];
            let plain = match escape {
                '\\' | '"' | '\'' | '/' | '`' => escape,
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                'a' => '\u{7}',
                '0' => '\0',
                'u' | 'x' | 'U' => {
                    let digits = match escape {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    if let Some((c, used)) = code_point(rest, digits) {
                        rest = &rest[used..];
                        c
                    } else {
                        self.bad_escape(token, escape);
                        continue;
                    }
                }
                _ => {
                    self.bad_escape(token, escape);
                    out.push('\\');
                    escape
                }
            };
            out.push(plain);
        }
        out.push_str(rest);
        out
    }

    fn bad_escape(&mut self, token: Token, escape: char) {
        let hint = "double the backslash, or write the string as @\"..\", where backslashes are plain".to_owned();
        self.complain_at(token.span, Code::Literal, format!("`\\{}` is no escape", escape.escape_debug()), Some(hint));
    }

    fn long(&mut self, token: Token) -> Literal {
        let text = self.text_of(token);
        let value = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(hex) => u64::from_str_radix(hex, 16).ok().map(u64::cast_signed),
            None => text.parse().ok(),
        };
        if let Some(value) = value {
            return Literal::Long(value);
        }
        // The least long has no positive twin: `-9223372036854775808` is a minus and this.
        if text == "9223372036854775808" && self.at >= 2 && self.tokens[self.at - 2].kind == TokenKind::Minus {
            return Literal::Long(i64::MIN);
        }
        self.complain_at(
            token.span,
            Code::Literal,
            "the number is beyond what a long holds",
            Some("write it as a real: add `.0`".to_owned()),
        );
        Literal::Null(ScalarType::Long)
    }

    fn timespan(&mut self, token: Token) -> Literal {
        let text = self.text_of(token);
        let split = text.find(|c: char| c.is_ascii_alphabetic() && !(c == 'e' && exponent_follows(text))).unwrap_or(text.len());
        match unit_ticks(&text[split..]).and_then(|unit| scale(&text[..split], unit)) {
            Some(ticks) => Literal::TimeSpan(ticks),
            None => self.bad_literal(token, ScalarType::TimeSpan, "1d, 1.5h, 30m, 10s, 100ms"),
        }
    }

    fn bad_literal(&mut self, token: Token, kind: ScalarType, examples: &str) -> Literal {
        let message = format!("this is no {}", kind.as_str());
        self.complain_at(token.span, Code::Literal, message, Some(format!("a {} looks like {examples}", kind.as_str())));
        Literal::Null(kind)
    }

    /// `datetime(..)` and its like.
    fn typed(&mut self, token: Token) -> Literal {
        let text = self.text_of(token);
        let open = text.find('(').expect("the lexer saw it");
        let Some(kind) = ScalarType::from_name(text[..open].trim()) else { return Literal::Null(ScalarType::Long) };
        let inside = text[open + 1..text.len() - 1].trim();
        let bare = ['"', '\''].iter().find_map(|quote| inside.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(inside);
        if bare.is_empty() || bare == "null" {
            return Literal::Null(kind);
        }
        let value = match kind {
            ScalarType::Bool => match bare {
                "true" | "True" | "1" => Some(Literal::Bool(true)),
                "false" | "False" | "0" => Some(Literal::Bool(false)),
                _ => None,
            },
            ScalarType::Int => integer(bare).and_then(|value| i32::try_from(value).ok()).map(Literal::Int),
            ScalarType::Long => integer(bare).map(Literal::Long),
            ScalarType::Real => real(bare).map(Literal::Real),
            ScalarType::Decimal => is_decimal(bare).then(|| Literal::Decimal(bare.to_owned())),
            // `datetime(2025, 6, 14)` is read, too.
            ScalarType::DateTime => parse_datetime(bare).or_else(|| parse_datetime(&bare.replace(", ", "-"))).map(Literal::DateTime),
            ScalarType::TimeSpan => parse_timespan(bare).map(Literal::TimeSpan),
            ScalarType::Guid => guid(bare).map(Literal::Guid),
            ScalarType::String | ScalarType::Dynamic => None,
        };
        if let Some(value) = value {
            return value;
        }
        let function = format!("to{}", kind.as_str());
        let computed = bare.starts_with(|c: char| c.is_ascii_alphabetic()) && kind != ScalarType::DateTime || bare.contains('(');
        if computed {
            let message = format!("{}(..) takes a value written out, nothing computed", kind.as_str());
            self.complain_at(token.span, Code::Literal, message, Some(format!("to convert a value write {function}({bare})")));
            return Literal::Null(kind);
        }
        let examples = match kind {
            ScalarType::Bool => "bool(true)",
            ScalarType::Int => "int(-5)",
            ScalarType::Long => "long(5), long(0x1F)",
            ScalarType::Real => "real(1.5), real(nan), real(+inf)",
            ScalarType::Decimal => "decimal(1.5)",
            ScalarType::DateTime => "datetime(2024-01-31), datetime(2024-01-31T10:20:30Z)",
            ScalarType::Guid => "guid(74be27de-1e4e-49d9-b579-fe0b331d3642)",
            _ => "timespan(1.02:03:04.5), timespan(1d)",
        };
        self.bad_literal(token, kind, examples)
    }

    /// `dynamic( json )`
    fn dynamic(&mut self) -> Literal {
        self.advance();
        let open = self.at;
        self.advance();
        let value = if self.is(TokenKind::CloseParen) { DynamicValue::Null } else { self.dynamic_value() };
        self.close(open, TokenKind::CloseParen);
        match value {
            DynamicValue::Null => Literal::Null(ScalarType::Dynamic),
            value => Literal::Dynamic(value),
        }
    }

    fn dynamic_value(&mut self) -> DynamicValue {
        self.deeper(1, Self::dynamic_value_here, || DynamicValue::Null)
    }

    fn dynamic_value_here(&mut self) -> DynamicValue {
        match self.kind() {
            TokenKind::OpenBracket => self.dynamic_array(),
            TokenKind::OpenBrace => self.dynamic_bag(),
            TokenKind::Minus | TokenKind::Plus => {
                let negative = self.advance().kind == TokenKind::Minus;
                match (self.dynamic_value(), negative) {
                    (DynamicValue::Long(value), true) => DynamicValue::Long(value.wrapping_neg()),
                    (DynamicValue::Real(value), true) => DynamicValue::Real(-value),
                    (DynamicValue::TimeSpan(value), true) => DynamicValue::TimeSpan(value.wrapping_neg()),
                    (value, _) => value,
                }
            }
            TokenKind::Word if self.is_word("null") => {
                self.advance();
                DynamicValue::Null
            }
            _ => {
                if let Some(literal) = self.literal() {
                    return of_literal(literal);
                }
                self.expected("a JSON value");
                DynamicValue::Null
            }
        }
    }

    fn dynamic_array(&mut self) -> DynamicValue {
        let open = self.at;
        self.advance();
        let mut items = Vec::new();
        while !self.is(TokenKind::CloseBracket) && !self.is(TokenKind::End) {
            items.push(self.dynamic_value());
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.close(open, TokenKind::CloseBracket);
        DynamicValue::Array(items)
    }

    fn dynamic_bag(&mut self) -> DynamicValue {
        let open = self.at;
        self.advance();
        let mut entries = Vec::new();
        while !self.is(TokenKind::CloseBrace) && !self.is(TokenKind::End) {
            let key = match self.kind() {
                TokenKind::String => {
                    let token = self.advance();
                    self.string_value(token).0
                }
                TokenKind::Word | TokenKind::Long => {
                    let token = self.advance();
                    self.text_of(token).to_owned()
                }
                _ => {
                    self.expected("a key");
                    break;
                }
            };
            if !self.expect(TokenKind::Colon, "`:` and a value") {
                break;
            }
            entries.push((key, self.dynamic_value()));
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.close(open, TokenKind::CloseBrace);
        DynamicValue::Bag(entries)
    }
}

fn of_literal(literal: Literal) -> DynamicValue {
    match literal {
        Literal::Bool(value) => DynamicValue::Bool(value),
        Literal::Int(value) => DynamicValue::Long(i64::from(value)),
        Literal::Long(value) => DynamicValue::Long(value),
        Literal::Real(value) => DynamicValue::Real(value),
        Literal::Decimal(text) => text.parse().map_or(DynamicValue::Null, DynamicValue::Real),
        Literal::String { value, .. } | Literal::Guid(value) => DynamicValue::String(value),
        Literal::DateTime(ticks) => DynamicValue::DateTime(ticks),
        Literal::TimeSpan(ticks) => DynamicValue::TimeSpan(ticks),
        Literal::Dynamic(value) => value,
        Literal::Null(_) => DynamicValue::Null,
    }
}

/// `digits` hexadecimal digits (for `\u` also a pair of surrogates) and how many bytes they took.
fn code_point(text: &str, digits: usize) -> Option<(char, usize)> {
    let hex = |text: &str| {
        let hex = text.get(..digits)?;
        hex.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(hex, 16).ok())?
    };
    let first = hex(text)?;
    if (0xd800..0xdc00).contains(&first) && digits == 4 {
        let second = hex(text.get(4..)?.strip_prefix("\\u")?)?;
        if (0xdc00..0xe000).contains(&second) {
            return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).map(|c| (c, 10));
        }
    }
    char::from_u32(first).map(|c| (c, digits))
}

fn exponent_follows(text: &str) -> bool {
    text.find('e').and_then(|at| text.as_bytes().get(at + 1)).is_some_and(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-'))
}

fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => {
            return u64::from_str_radix(hex, 16).ok().map(|v| if negative { v.cast_signed().wrapping_neg() } else { v.cast_signed() });
        }
        None if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u64>().ok()?,
        None => return None,
    };
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

fn real(text: &str) -> Option<f64> {
    match text.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "+inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        number if number.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-')) => number.parse().ok(),
        _ => None,
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    real(text).is_some() && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

/// 32 hexadecimal digits, with or without dashes and braces, as 36 lower-case characters.
fn guid(text: &str) -> Option<String> {
    let inside = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let hex: String = match inside.len() {
        32 => inside.to_owned(),
        36 if [8, 13, 18, 23].iter().all(|at| inside.as_bytes()[*at] == b'-') => inside.split('-').collect(),
        _ => return None,
    };
    if hex.len() != 32 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let hex = hex.to_ascii_lowercase();
    Some(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
