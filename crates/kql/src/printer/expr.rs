//! Expressions back to text.

use super::Printer;
use crate::ast::{BinaryOp, DynamicValue, Expr, ExprKind, Literal, UnaryOp};
use crate::datetime::{TICKS_PER_DAY, TICKS_PER_SECOND, format_datetime, format_timespan};
use crate::lexer::TYPED;

/// Words that with a parenthesis behind them begin rows.
const SOURCES: [&str; 6] = ["print", "search", "union", "datatable", "externaldata", "external_data"];

/// How tight an expression holds together, as in the parser: 0 loosest; 8: a sign; 9: a path, call or index; 10: nothing can split it.
fn power(kind: &ExprKind) -> u8 {
    use BinaryOp as B;
    match kind {
        // `a*` means a pattern in a list only; elsewhere in brackets.
        ExprKind::Pipeline(_) | ExprKind::Wildcard(_) => 0,
        ExprKind::Or(_) => 1,
        ExprKind::And(_) => 2,
        ExprKind::Set { .. } | ExprKind::Between { .. } => 3,
        ExprKind::Binary { op, .. } => match op {
            B::Equal | B::NotEqual | B::EqualIgnoreCase | B::NotEqualIgnoreCase | B::Colon => 3,
            B::Less | B::LessOrEqual | B::Greater | B::GreaterOrEqual => 4,
            B::Add | B::Subtract => 5,
            B::Multiply | B::Divide | B::Modulo => 6,
            _ => 7,
        },
        ExprKind::Unary { .. } => 8,
        _ => 10,
    }
}

impl Printer {
    pub(super) fn expr(&mut self, expr: &Expr) {
        self.expr_at(expr, 0);
    }

    /// With parentheses if it holds together less tight than `least`.
    pub(super) fn expr_at(&mut self, expr: &Expr, least: u8) {
        let own = power(&expr.kind);
        if own < least || own == 0 {
            self.parens(|p| p.bare_expr(&expr.kind, own));
        } else {
            self.bare_expr(&expr.kind, own);
        }
    }

    /// What stands before a dot or a bracket: not a bare number, whose dot it would become.
    fn base(&mut self, expr: &Expr) {
        match expr.kind {
            ExprKind::Literal(Literal::Long(_) | Literal::Real(_)) => self.parens(|p| p.expr(expr)),
            _ => self.expr_at(expr, 9),
        }
    }

    fn bare_expr(&mut self, kind: &ExprKind, own: u8) {
        match kind {
            ExprKind::Literal(literal) => self.literal(literal),
            ExprKind::Name(name) => self.name_text(name),
            ExprKind::Star => self.say("*"),
            ExprKind::Wildcard(text) => self.say(text),
            ExprKind::Path { base, name } => {
                self.base(base);
                self.say(".");
                self.name(name);
            }
            ExprKind::Index { base, index } => {
                self.base(base);
                self.say("[");
                self.expr(index);
                self.say("]");
            }
            ExprKind::Call { receiver, function, arguments } => {
                if let Some(receiver) = receiver {
                    self.base(receiver);
                    self.say(".");
                }
                // `long(x)` would read as a literal, `search (x)` as a source of rows.
                let name = function.text.as_str();
                if receiver.is_none() && (TYPED.contains(&name) || SOURCES.contains(&name)) {
                    self.write(format_args!("[\"{}\"]", function.text));
                } else {
                    self.name(function);
                }
                self.say("(");
                self.list(arguments, |p, argument| {
                    if let Some(name) = &argument.name {
                        p.name(name);
                        p.say(" = ");
                    }
                    p.argument(&argument.value);
                });
                self.say(")");
            }
            ExprKind::Unary { op, operand } => {
                self.say(if *op == UnaryOp::Minus { "-" } else { "+" });
                // `-9223372036854775808` would become the literal; a sign on a sign keeps its brackets.
                self.expr_at(operand, 9);
            }
            ExprKind::Binary { op, left, right, .. } => {
                self.expr_at(left, own);
                if *op != BinaryOp::Colon {
                    self.say(" ");
                }
                self.say(op.as_str());
                self.say(" ");
                self.expr_at(right, own + 1);
            }
            ExprKind::And(operands) => self.chain(operands, " and ", 3),
            ExprKind::Or(operands) => self.chain(operands, " or ", 2),
            ExprKind::Set { op, operand, list, .. } => {
                self.expr_at(operand, own);
                self.write(format_args!(" {} (", op.as_str()));
                self.list(list, Self::argument);
                self.say(")");
            }
            ExprKind::Between { operand, low, high, negated } => {
                self.expr_at(operand, own);
                self.say(if *negated { " !between (" } else { " between (" });
                self.expr(low);
                self.say(" .. ");
                self.expr(high);
                self.say(")");
            }
            ExprKind::TypeOf(kind) => self.write(format_args!("typeof({})", kind.as_str())),
            // `["x"]` would read as a name.
            ExprKind::Array(items) => match items.as_slice() {
                [Expr { kind: ExprKind::Literal(text @ Literal::String { .. }), .. }] => {
                    self.say("[(");
                    self.literal(text);
                    self.say(")]");
                }
                items => {
                    self.say("[");
                    self.list(items, Self::expr);
                    self.say("]");
                }
            },
            ExprKind::Pipeline(pipeline) => self.pipeline(pipeline),
            ExprKind::Unread(unread) => self.write(format_args!("{} {}", unread.keyword.text, unread.text)),
            ExprKind::Missing => {}
        }
    }

    /// Where parentheses stand already, a pipeline needs none of its own.
    fn argument(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Pipeline(pipeline) => {
                self.indent += 1;
                self.pipeline(pipeline);
                self.indent -= 1;
            }
            ExprKind::Wildcard(text) => self.say(text),
            _ => self.expr(expr),
        }
    }

    fn chain(&mut self, operands: &[Expr], word: &str, least: u8) {
        for (index, operand) in operands.iter().enumerate() {
            if index > 0 {
                self.say(word);
            }
            self.expr_at(operand, least);
        }
    }

    pub(super) fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::Bool(value) => self.write(format_args!("{value}")),
            Literal::Int(value) => self.write(format_args!("int({value})")),
            // `-1` would read as a minus and a 1.
            Literal::Long(value) if *value < 0 => self.write(format_args!("long({value})")),
            Literal::Long(value) => self.write(format_args!("{value}")),
            Literal::Real(value) => self.real(*value),
            Literal::Decimal(text) => self.write(format_args!("decimal({text})")),
            Literal::String { value, obfuscated } => {
                if *obfuscated {
                    self.say("h");
                }
                self.string(value);
            }
            Literal::DateTime(ticks) => self.write(format_args!("datetime({})", format_datetime(*ticks))),
            Literal::TimeSpan(ticks) => self.timespan(*ticks),
            Literal::Guid(text) => self.write(format_args!("guid({text})")),
            Literal::Dynamic(value) => {
                self.say("dynamic(");
                self.dynamic(value);
                self.say(")");
            }
            Literal::Null(kind) => self.write(format_args!("{}(null)", kind.as_str())),
        }
    }

    fn real(&mut self, value: f64) {
        if value.is_nan() {
            self.say("real(nan)");
        } else if value.is_infinite() {
            self.say(if value > 0.0 { "real(+inf)" } else { "real(-inf)" });
        } else if value.is_sign_negative() {
            self.write(format_args!("real({value:?})"));
        } else {
            self.write(format_args!("{value:?}"));
        }
    }

    /// In its largest whole unit: `90m`. What is negative or finer than a millisecond has no such form.
    fn timespan(&mut self, ticks: i64) {
        const MILLISECOND: i64 = TICKS_PER_SECOND / 1_000;
        let second = TICKS_PER_SECOND;
        let units = [(TICKS_PER_DAY, "d"), (3_600 * second, "h"), (60 * second, "m"), (second, "s"), (MILLISECOND, "ms")];
        match units.iter().find(|(unit, _)| ticks > 0 && ticks % unit == 0) {
            Some((unit, name)) => self.write(format_args!("{}{name}", ticks / unit)),
            None => self.write(format_args!("timespan({})", format_timespan(ticks))),
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        // With backslashes, a pattern mostly: plain they are easier to read.
        if text.contains('\\') && !text.chars().any(char::is_control) {
            return self.write(format_args!("@\"{}\"", text.replace('"', "\"\"")));
        }
        self.say("\"");
        for c in text.chars() {
            match c {
                '"' => self.say("\\\""),
                '\\' => self.say("\\\\"),
                '\n' => self.say("\\n"),
                '\r' => self.say("\\r"),
                '\t' => self.say("\\t"),
                '\0' => self.say("\\0"),
                c if c.is_control() => self.write(format_args!("\\u{:04x}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.say("\"");
    }

    fn dynamic(&mut self, value: &DynamicValue) {
        match value {
            DynamicValue::Null => self.say("null"),
            DynamicValue::Bool(value) => self.write(format_args!("{value}")),
            DynamicValue::Long(value) => self.write(format_args!("{value}")),
            DynamicValue::Real(value) if value.is_finite() => self.write(format_args!("{value:?}")),
            DynamicValue::Real(value) => self.real(*value),
            DynamicValue::String(value) => self.string(value),
            DynamicValue::DateTime(ticks) => self.write(format_args!("datetime({})", format_datetime(*ticks))),
            DynamicValue::TimeSpan(ticks) => self.timespan(*ticks),
            DynamicValue::Array(items) => {
                self.say("[");
                self.list(items, Self::dynamic);
                self.say("]");
            }
            DynamicValue::Bag(entries) => {
                self.say("{");
                self.list(entries, |p, (key, value)| {
                    p.string(key);
                    p.say(": ");
                    p.dynamic(value);
                });
                self.say("}");
            }
        }
    }
}
