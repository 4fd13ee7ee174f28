//! `a.b`, `a["b"]`, `a[0]`: into dynamic values.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use strongroom_kql::Span;
use strongroom_kql::ast::{self, ExprKind};
use strongroom_model::ColumnType;

use super::Scope;
use super::coerce::{convert, is_number};
use crate::functions::{self, PathStep, Typed};
use crate::kql::Binder;
use crate::kql::bound::Bound;
use crate::kql::nodes::state_name;
use crate::kql::problem::{Outcome, Problem};

impl Binder<'_> {
    /// A whole chain of members and indexes at once: one walk through the JSON.
    pub(super) fn member_chain(&mut self, expr: &ast::Expr, scope: Scope<'_>) -> Outcome<Bound> {
        let mut steps = Vec::new();
        let mut base = expr;
        loop {
            match &base.kind {
                ExprKind::Path { base: inner, name } => {
                    steps.push(PathStep::Key(name.text.clone()));
                    base = inner;
                }
                ExprKind::Index { base: inner, index } => {
                    steps.push(self.step(index, scope)?);
                    base = inner;
                }
                _ => break,
            }
        }
        steps.reverse();
        if let ExprKind::Name(step) = &base.kind
            && let Some(PathStep::Key(member)) = steps.first()
            && scope.column(step).is_none()
            && let Some(state) = scope.column(&state_name(step, member))
        {
            // Inside `scan`: what a step remembers.
            let state = state.bound(expr.span);
            return if steps.len() == 1 { Ok(state) } else { into(state, &steps[1..], expr.span) };
        }
        if let ExprKind::Name(side) = &base.kind
            && matches!(side.as_str(), "$left" | "$right")
        {
            return Err(Problem::new(base.span, "UnexpectedSide", format!("`{side}` has a meaning only in the `on` of a join")));
        }
        if let ExprKind::Call { receiver: None, function, .. } = &base.kind
            && matches!(function.text.as_str(), "workspace" | "cluster" | "database" | "app" | "resource")
        {
            return Err(Problem::new(expr.span, "NotScalar", "this is a table, not a value"));
        }
        let base = self.value(base, scope)?;
        into(base, &steps, expr.span)
    }

    fn step(&mut self, index: &ast::Expr, scope: Scope<'_>) -> Outcome<PathStep> {
        let index = self.value(index, scope)?;
        let span = index.span;
        let index = match index.kind {
            ColumnType::String => index,
            kind if is_number(kind) => convert(index, ColumnType::Long),
            ColumnType::Dynamic => convert(index, ColumnType::String),
            kind => return Err(Problem::mismatch(span, format!("an index is a string or a whole number, this is a {}", kind.as_str()))),
        };
        Ok(match super::folded(index.expr.clone()) {
            Expr::Literal(ScalarValue::Utf8View(Some(key)), _) => PathStep::Key(key),
            Expr::Literal(ScalarValue::Int64(Some(at)), _) => PathStep::Index(at),
            computed => PathStep::Computed(Typed::new(computed, index.kind)),
        })
    }
}

/// A member of a dynamic value.
fn into(base: Bound, steps: &[PathStep], span: Span) -> Outcome<Bound> {
    match base.kind {
        ColumnType::Dynamic => Ok(Bound::new(functions::dynamic_get(base.expr, steps).expr, ColumnType::Dynamic, span)),
        ColumnType::String => Err(Problem::mismatch(base.span, "a string has no members").hint("`parse_json(..)` makes a dynamic of it")),
        kind => Err(Problem::mismatch(base.span, format!("a {} has no members", kind.as_str()))),
    }
}
