//! Values: from syntax to typed expressions over the columns in scope.
//!
//! KQL's comparisons are total: `x == 5` is false where `x` is null. DataFusion's are not. Where only truth counts (under `where`,
//! through `and` and `or`) null and false are the same, so the plain comparison is emitted and pruning and pushdown see it;
//! elsewhere the exact form is. [`Want`] says which of the two is asked for.

mod arith;
mod arith_kernel;
mod by_name;
mod call;
mod coerce;
mod compare;
mod dynamic;
mod fold;
mod literal;
mod strings;

use std::cell::RefCell;

use datafusion::logical_expr::{Expr, Operator, binary_expr};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, ExprKind, UnaryOp};
use strongroom_model::ColumnType;

use super::Binder;
use super::bind::Collector;
use super::bound::{Bound, BoundColumn};
use super::problem::{Outcome, Problem};

pub(super) use coerce::{common_number, convert, is_number};
pub(super) use fold::folded;
pub(super) use literal::{kind_of, literal};

/// What a boolean is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// Its exact value: true, false or null.
    Value,
    /// Whether it is true: null may stand for false.
    Truth,
}

/// What names in an expression may mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'s> {
    pub(super) columns: &'s [BoundColumn],
    /// Inside `summarize`: where aggregates go.
    pub(super) aggregates: Option<&'s RefCell<Collector>>,
}

impl<'s> Scope<'s> {
    /// No columns: constants only.
    pub(super) const EMPTY: Scope<'static> = Scope { columns: &[], aggregates: None };

    pub(super) fn of(columns: &'s [BoundColumn]) -> Self {
        Self { columns, aggregates: None }
    }

    pub(super) fn column(&self, name: &str) -> Option<&'s BoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Binder<'_> {
    /// An expression's exact value.
    pub(super) fn value(&mut self, expr: &ast::Expr, scope: Scope<'_>) -> Outcome<Bound> {
        self.bind(expr, scope, Want::Value)
    }

    /// A condition under which rows are kept.
    pub(super) fn predicate(&mut self, expr: &ast::Expr, scope: Scope<'_>) -> Outcome<Expr> {
        let bound = self.bind(expr, scope, Want::Truth)?;
        truth(bound)
    }

    /// A constant: bound without columns and folded.
    pub(super) fn constant(&mut self, expr: &ast::Expr) -> Outcome<Bound> {
        let bound = self.value(expr, Scope::EMPTY)?;
        if bound.literal().is_none() {
            return Err(Problem::new(expr.span, "NotConstant", "a constant is needed here"));
        }
        Ok(bound)
    }

    /// A constant whole number, such as the count of `take`.
    pub(super) fn constant_count(&mut self, expr: &ast::Expr) -> Outcome<usize> {
        let bound = self.constant(expr)?;
        if !is_number(bound.kind) && bound.kind != ColumnType::Dynamic {
            return Err(Problem::mismatch(expr.span, format!("a whole number is needed here, this is a {}", bound.kind.as_str())));
        }
        let count = folded(convert(bound, ColumnType::Long).expr);
        match count {
            Expr::Literal(datafusion::common::ScalarValue::Int64(Some(count)), _) if count < 0 => {
                Err(Problem::new(expr.span, "InvalidCount", format!("a number of rows cannot be below 0, this is {count}")))
            }
            Expr::Literal(datafusion::common::ScalarValue::Int64(Some(count)), _) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
            _ => Err(Problem::mismatch(expr.span, "a whole number is needed here")),
        }
    }

    pub(super) fn bind(&mut self, expr: &ast::Expr, scope: Scope<'_>, want: Want) -> Outcome<Bound> {
        self.spend(expr.span)?;
        let mut bound = self.bind_node(expr, scope, want)?;
        bound.span = expr.span;
        if bound.literal().is_none() {
            bound.expr = folded(bound.expr);
            if bound.literal().is_some() {
                bound.sparse = false;
            }
        }
        Ok(bound)
    }

    fn bind_node(&mut self, expr: &ast::Expr, scope: Scope<'_>, want: Want) -> Outcome<Bound> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Literal(value) => Ok(literal(value, span)),
            ExprKind::Name(name) => self.name(name, span, scope),
            ExprKind::Path { .. } | ExprKind::Index { .. } => self.member_chain(expr, scope),
            ExprKind::Call { receiver: None, function, arguments } => self.call(function, arguments, span, scope),
            ExprKind::Unary { op, operand } => {
                let operand = self.value(operand, scope)?;
                match op {
                    UnaryOp::Plus => arith::plus(operand),
                    UnaryOp::Minus => arith::negate(operand),
                }
            }
            ExprKind::Binary { op, left, right, op_span } => self.binary(*op, *op_span, left, right, scope, want),
            ExprKind::And(parts) => self.chain(parts, Operator::And, scope, want, span),
            ExprKind::Or(parts) => self.chain(parts, Operator::Or, scope, want, span),
            ExprKind::Set { op, op_span, operand, list } => self.set(*op, *op_span, operand, list, scope, want),
            ExprKind::Between { operand, low, high, negated } => self.between(operand, low, high, *negated, scope),
            ExprKind::Call { receiver: Some(_), .. } | ExprKind::Pipeline(_) => {
                Err(Problem::new(span, "NotScalar", "rows cannot be used as a value; `toscalar(..)` takes the first cell"))
            }
            ExprKind::Array(_) => {
                Err(Problem::new(span, "NotScalar", "a list cannot stand here; write `dynamic([..])` or `pack_array(..)`"))
            }
            ExprKind::Star | ExprKind::Wildcard(_) => {
                Err(Problem::new(span, "UnexpectedWildcard", "a pattern of columns cannot stand here"))
            }
            ExprKind::TypeOf(_) => {
                Err(Problem::new(span, "NotScalar", "`typeof(..)` can only follow `to` or be an argument that asks for a type"))
            }
            ExprKind::Unread(unread) => Err(Problem::unsupported(span, format!("`{}`", unread.keyword.text), None)),
            ExprKind::Missing => Err(Problem::new(span, "SyntaxError", "an expression is missing here")),
            _ => Err(Problem::unsupported(span, "this expression", None)),
        }
    }

    /// `and`, `or`: built as a balanced tree, since a chain may have thousands of links.
    fn chain(&mut self, parts: &[ast::Expr], op: Operator, scope: Scope<'_>, want: Want, span: Span) -> Outcome<Bound> {
        let mut bound = Vec::with_capacity(parts.len());
        for part in parts {
            let part = self.bind(part, scope, want)?;
            bound.push(truth(part)?);
        }
        Ok(Bound::new(balanced(bound, op), ColumnType::Bool, span))
    }

    fn name(&mut self, name: &str, span: Span, scope: Scope<'_>) -> Outcome<Bound> {
        if let Some(column) = scope.column(name) {
            return Ok(column.bound(span));
        }
        if let Some(value) = self.scalar_let(name) {
            return Ok(value);
        }
        if let Some(function) = self.function(name) {
            // A function without parameters may be called by its bare name.
            return self.scalar_call(&function, &ast::Name { text: name.to_owned(), span }, &[], scope);
        }
        if self.is_tabular_name(name) {
            return Err(Problem::new(span, "NotScalar", format!("`{name}` is a table, not a value"))
                .hint("`toscalar(..)` takes the first cell of a query"));
        }
        let problem = Problem::new(span, "UnknownColumn", format!("there is no column `{name}` here"));
        if let Some(hint) = overflow_hint(scope.columns, name) {
            return Err(problem.hint(hint));
        }
        let known = scope.columns.iter().map(|c| c.name.as_str());
        let lets = self.scalar_names();
        Err(match strongroom_kql::closest(name, known.chain(lets.iter().map(String::as_str))) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None if scope.columns.is_empty() => problem,
            None => problem.hint(format!("the columns are {}", listed(scope.columns))),
        })
    }
}

/// Where fields lie that came after a table had all the columns it may have. A near name would mislead there.
pub(in crate::kql) fn overflow_hint(columns: &[BoundColumn], name: &str) -> Option<String> {
    let overflow = columns.iter().find(|column| column.name == "_Overflow" && column.kind == ColumnType::Dynamic)?;
    let plain =
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let path = if plain { format!(".{name}") } else { format!("[{name:?}]") };
    Some(format!("the table has all the columns it may have; what came later is in `{}`: try `{}{path}`", overflow.name, overflow.name))
}

/// At most ten names, for a hint.
fn listed(columns: &[BoundColumn]) -> String {
    let mut names: Vec<_> = columns.iter().take(10).map(|c| format!("`{}`", c.name)).collect();
    if columns.len() > 10 {
        names.push(format!("and {} more", columns.len() - 10));
    }
    names.join(", ")
}

/// As a condition.
pub(super) fn truth(bound: Bound) -> Outcome<Expr> {
    match bound.kind {
        ColumnType::Bool => Ok(bound.expr),
        ColumnType::Dynamic => Ok(convert(bound, ColumnType::Bool).expr),
        kind => Err(Problem::mismatch(bound.span, format!("a condition must be a bool, this is a {}", kind.as_str()))
            .hint(if is_number(kind) { "compare it, e.g. with `!= 0`, or use `tobool(..)`" } else { "compare it with something" })),
    }
}

/// Joins conditions by a binary operator in a tree of logarithmic depth.
pub(super) fn balanced(mut parts: Vec<Expr>, op: Operator) -> Expr {
    while parts.len() > 1 {
        let mut next = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(left) = rest.next() {
            next.push(match rest.next() {
                Some(right) => binary_expr(left, op, right),
                None => left,
            });
        }
        parts = next;
    }
    parts.pop().unwrap_or_else(|| datafusion::logical_expr::lit(op == Operator::And))
}
