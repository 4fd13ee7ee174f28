//! `==`, `<`, `in`, `between`: total where KQL is total, plain where the plan gains by it.

use std::sync::Arc;

use datafusion::common::{ScalarValue, Spans};
use datafusion::logical_expr::expr::{InList, InSubquery};
use datafusion::logical_expr::{Case, Expr, Operator, Subquery, binary_expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, BinaryOp, ExprKind, SetOp};
use strongroom_model::ColumnType;

use super::coerce::{common_number, convert, is_number};
use super::{Scope, Want, balanced, strings};
use crate::kql::Binder;
use crate::kql::bind::is_row_call;
use crate::kql::bound::{Bound, Rel};
use crate::kql::problem::{Outcome, Problem};
use crate::kql::{plan, registry};

impl Binder<'_> {
    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
        scope: Scope<'_>,
        want: Want,
    ) -> Outcome<Bound> {
        if matches!(left.kind, ExprKind::Star) {
            return self.any_column(op, op_span, right, scope, want);
        }
        let left = self.value(left, scope)?;
        let right = self.value(right, scope)?;
        self.apply(op, op_span, left, right, want)
    }

    /// Any operator between two bound values.
    pub(in crate::kql) fn apply(&self, op: BinaryOp, op_span: Span, left: Bound, right: Bound, want: Want) -> Outcome<Bound> {
        let expr = match op {
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => {
                return super::arith::arithmetic(op, op_span, left, right);
            }
            BinaryOp::Equal => equal(op_span, left, right, want)?,
            BinaryOp::NotEqual => not_equal(op_span, left, right, want)?,
            BinaryOp::Less | BinaryOp::LessOrEqual | BinaryOp::Greater | BinaryOp::GreaterOrEqual => relation(op, op_span, left, right)?,
            _ => strings::string_operator(op, op_span, left, right, self.now())?,
        };
        Ok(Bound::new(expr, ColumnType::Bool, op_span))
    }

    /// `* has "x"`: true if it is so for any column.
    fn any_column(&mut self, op: BinaryOp, op_span: Span, right: &ast::Expr, scope: Scope<'_>, want: Want) -> Outcome<Bound> {
        let right = self.value(right, scope)?;
        let mut parts = Vec::with_capacity(scope.columns.len());
        for column in scope.columns {
            let left = column.bound(op_span);
            let left = if right.kind == ColumnType::String { convert(left, ColumnType::String) } else { left };
            if left.kind == right.kind || right.kind == ColumnType::String {
                parts.push(self.apply(op, op_span, left, right.clone(), want)?.expr);
            }
        }
        if parts.is_empty() {
            return Ok(Bound::bool(false, op_span));
        }
        Ok(Bound::new(balanced(parts, Operator::Or), ColumnType::Bool, op_span))
    }

    pub(super) fn between(
        &mut self,
        operand: &ast::Expr,
        low: &ast::Expr,
        high: &ast::Expr,
        negated: bool,
        scope: Scope<'_>,
    ) -> Outcome<Bound> {
        let operand = self.value(operand, scope)?;
        let span = operand.span;
        let low = self.value(low, scope)?;
        let mut high = self.value(high, scope)?;
        if high.kind == ColumnType::TimeSpan && operand.kind != ColumnType::TimeSpan {
            high = super::arith::arithmetic(BinaryOp::Add, high.span, low.clone(), high)?;
            high.expr = super::folded(high.expr);
        }
        let above = relation(BinaryOp::GreaterOrEqual, span, operand.clone(), low)?;
        let below = relation(BinaryOp::LessOrEqual, span, operand, high)?;
        let inside = binary_expr(above, Operator::And, below);
        let expr = if negated { Expr::Not(Box::new(inside)) } else { inside };
        Ok(Bound::new(expr, ColumnType::Bool, span))
    }

    pub(super) fn set(
        &mut self,
        op: SetOp,
        op_span: Span,
        operand: &ast::Expr,
        list: &[ast::Expr],
        scope: Scope<'_>,
        want: Want,
    ) -> Outcome<Bound> {
        if matches!(operand.kind, ExprKind::Star) {
            let mut parts = Vec::new();
            for column in scope.columns {
                let left = convert(column.bound(op_span), ColumnType::String);
                let items = self.list(list, matches!(op, SetOp::HasAny | SetOp::HasAll), scope)?;
                parts.push(self.member(op, op_span, left, items, want)?.expr);
            }
            return Ok(Bound::new(balanced(parts, Operator::Or), ColumnType::Bool, op_span));
        }
        let left = self.value(operand, scope)?;
        if let [only] = list
            && let Some(rel) = self.rows_in_list(only)?
        {
            return sub_query(op, op_span, left, rel, want);
        }
        let items = self.list(list, matches!(op, SetOp::HasAny | SetOp::HasAll), scope)?;
        self.member(op, op_span, left, items, want)
    }

    /// `in` and its kin over values.
    fn member(&self, op: SetOp, op_span: Span, left: Bound, items: Vec<Bound>, want: Want) -> Outcome<Bound> {
        let done = |expr| Ok(Bound::new(expr, ColumnType::Bool, op_span));
        if matches!(op, SetOp::HasAny | SetOp::HasAll) {
            let mut arguments = vec![convert(left, ColumnType::String)];
            arguments.extend(
                items.into_iter().map(|item| if item.kind == ColumnType::Dynamic { item } else { convert(item, ColumnType::String) }),
            );
            return done(registry::set_operator(op, op_span, &arguments, self.now())?);
        }
        let negated = matches!(op, SetOp::NotIn | SetOp::NotInIgnoreCase);
        if items.is_empty() {
            return done(lit(negated));
        }
        if matches!(op, SetOp::InIgnoreCase | SetOp::NotInIgnoreCase) {
            let lower = |value: Bound| registry::folded_case(&convert(value, ColumnType::String));
            return done(in_list(lower(left), items.into_iter().map(lower).collect(), negated));
        }
        let mut kind = left.kind;
        for item in &items {
            kind = match (kind, item.kind) {
                (ColumnType::Dynamic, other) => other,
                (a, b) if is_number(a) && is_number(b) => common_number(a, b),
                (a, _) => a,
            };
        }
        let left = convert(left, kind);
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let (_, item) = aligned(op_span, Bound::null(kind, left.span), item)?;
            if item.literal().is_none_or(|value| !value.is_null()) {
                values.push(item);
            }
        }
        let holds_empty = values.iter().any(|item| item.literal_text().is_none_or(str::is_empty));
        let list: Vec<Expr> = values.iter().map(Bound::solid).collect();
        if list.is_empty() {
            return done(lit(negated));
        }
        if kind == ColumnType::String {
            return done(match (left.sparse && !holds_empty, negated, want) {
                (true, false, Want::Truth) => in_list(left.expr, list, false),
                (true, true, _) => binary_expr(Expr::IsNull(Box::new(left.expr.clone())), Operator::Or, in_list(left.expr, list, true)),
                _ => in_list(left.solid(), list, negated),
            });
        }
        let listed = in_list(left.expr.clone(), list, negated);
        done(match (negated, want) {
            (false, Want::Truth) => listed,
            (false, Want::Value) => binary_expr(Expr::IsNotNull(Box::new(left.expr)), Operator::And, listed),
            (true, _) => binary_expr(Expr::IsNull(Box::new(left.expr)), Operator::Or, listed),
        })
    }

    /// The values of a list; constant dynamic arrays count as their elements. Lists of `words` may be computed arrays, too.
    fn list(&mut self, list: &[ast::Expr], words: bool, scope: Scope<'_>) -> Outcome<Vec<Bound>> {
        let mut items = Vec::with_capacity(list.len());
        for item in list {
            let item = self.value(item, scope)?;
            match (item.kind, item.literal_text()) {
                (ColumnType::Dynamic, Some(json)) => items.extend(elements(json, item.span)),
                (ColumnType::Dynamic, None) if item.literal().is_none() && words => items.push(item),
                (ColumnType::Dynamic, None) if item.literal().is_none() => {
                    return Err(Problem::unsupported(
                        item.span,
                        "a list that is computed row by row",
                        Some("use `set_has_element(list, value)`"),
                    ));
                }
                (ColumnType::Dynamic, None) => {}
                _ => items.push(item),
            }
        }
        Ok(items)
    }
}

/// The scalars in a JSON array, one level of arrays inside it included; a scalar is a list of one.
fn elements(json: &str, span: Span) -> Vec<Bound> {
    fn push(value: &serde_json::Value, span: Span, out: &mut Vec<Bound>) {
        use serde_json::Value;
        match value {
            Value::Null => {}
            Value::Bool(value) => out.push(Bound::bool(*value, span)),
            Value::Number(number) => {
                let (scalar, kind) = match number.as_i64() {
                    Some(value) => (ScalarValue::Int64(Some(value)), ColumnType::Long),
                    None => (ScalarValue::Float64(number.as_f64()), ColumnType::Real),
                };
                out.push(Bound::new(Expr::Literal(scalar, None), kind, span));
            }
            Value::String(value) => out.push(Bound::string(value.clone(), span)),
            Value::Array(items) => items.iter().for_each(|item| push(item, span, out)),
            Value::Object(_) => out.push(Bound::string(value.to_string(), span)),
        }
    }
    let mut out = Vec::new();
    if let Ok(value) = serde_json::from_str(json) {
        push(&value, span, &mut out);
    }
    out
}

/// Brings two sides of a comparison to one type.
fn aligned(op_span: Span, left: Bound, right: Bound) -> Outcome<(Bound, Bound)> {
    use ColumnType::{Bool, Dynamic, String};
    let to = match (left.kind, right.kind) {
        // A dynamic beside the one of another row: the same text or not.
        (Dynamic, Dynamic) if is_row_call(&left.expr) || is_row_call(&right.expr) => String,
        (Dynamic, Dynamic) => {
            return Err(Problem::mismatch(op_span, "two dynamic values cannot be compared")
                .hint("cast one side, e.g. `tostring(..)` or `tolong(..)`"));
        }
        (a, b) if a == b => return Ok((left, right)),
        (Dynamic | String, to) | (to, Dynamic | String) => to,
        (a, b) if is_number(a) && is_number(b) => common_number(a, b),
        (Bool, to) | (to, Bool) if is_number(to) => to,
        (a, b) => {
            return Err(
                Problem::mismatch(op_span, format!("a {} cannot be compared with a {}", a.as_str(), b.as_str())).hint("cast one side")
            );
        }
    };
    let cast = |value: Bound| {
        let mut value = convert(value, to);
        value.expr = super::folded(value.expr);
        value
    };
    Ok((cast(left), cast(right)))
}

fn equal(op_span: Span, left: Bound, right: Bound, want: Want) -> Outcome<Expr> {
    let (left, right) = aligned(op_span, left, right)?;
    if left.kind == ColumnType::String {
        return Ok(string_equal(&left, &right, want));
    }
    if is_nan(&left) || is_nan(&right) {
        return Ok(lit(false));
    }
    let constant = is_non_null_literal(&left) || is_non_null_literal(&right);
    let mut plain = binary_expr(left.expr.clone(), Operator::Eq, right.expr.clone());
    if left.kind == ColumnType::Real && !constant && !left.finite && !right.finite {
        plain = binary_expr(plain, Operator::And, is_number_not_nan(&left.expr));
    }
    Ok(match (want, constant) {
        (Want::Truth, _) => plain,
        (Want::Value, true) => binary_expr(left.expr, Operator::IsNotDistinctFrom, right.expr),
        (Want::Value, false) => {
            unless_both_null(left.expr.clone(), right.expr.clone(), datafusion::functions::core::expr_fn::coalesce(vec![plain, lit(false)]))
        }
    })
}

fn string_equal(left: &Bound, right: &Bound, want: Want) -> Expr {
    let (sparse, other) = match (left.sparse, right.sparse) {
        (false, false) => return binary_expr(left.expr.clone(), Operator::Eq, right.expr.clone()),
        (true, _) => (left, right),
        (false, true) => (right, left),
    };
    match (other.literal_text(), want) {
        (Some(""), _) => strings::is_empty(sparse),
        (Some(_), Want::Truth) => binary_expr(sparse.expr.clone(), Operator::Eq, other.expr.clone()),
        _ => binary_expr(left.solid(), Operator::Eq, right.solid()),
    }
}

fn not_equal(op_span: Span, left: Bound, right: Bound, want: Want) -> Outcome<Expr> {
    let (left, right) = aligned(op_span, left, right)?;
    if left.kind == ColumnType::String {
        return Ok(string_not_equal(&left, &right));
    }
    if is_nan(&left) || is_nan(&right) {
        return Ok(lit(true));
    }
    let constant = is_non_null_literal(&left) || is_non_null_literal(&right);
    let distinct = binary_expr(left.expr.clone(), Operator::IsDistinctFrom, right.expr.clone());
    if constant {
        return Ok(distinct);
    }
    let mut exact = distinct;
    if left.kind == ColumnType::Real && !left.finite && !right.finite {
        let nan = Expr::IsFalse(Box::new(is_number_not_nan(&left.expr)));
        exact = binary_expr(exact, Operator::Or, nan);
    }
    Ok(match want {
        Want::Truth => exact,
        Want::Value => unless_both_null(left.expr, right.expr, exact),
    })
}

fn string_not_equal(left: &Bound, right: &Bound) -> Expr {
    let (sparse, other) = match (left.sparse, right.sparse) {
        (false, false) => return binary_expr(left.expr.clone(), Operator::NotEq, right.expr.clone()),
        (true, _) => (left, right),
        (false, true) => (right, left),
    };
    match other.literal_text() {
        Some("") => strings::is_not_empty(sparse),
        Some(_) => binary_expr(sparse.expr.clone(), Operator::IsDistinctFrom, other.expr.clone()),
        None => binary_expr(left.solid(), Operator::NotEq, right.solid()),
    }
}

/// `<`, `<=`, `>`, `>=`: null with a null; false with a NaN.
fn relation(op: BinaryOp, op_span: Span, left: Bound, right: Bound) -> Outcome<Expr> {
    let (left, right) = aligned(op_span, left, right)?;
    let (operator, upward) = match op {
        BinaryOp::Less => (Operator::Lt, false),
        BinaryOp::LessOrEqual => (Operator::LtEq, false),
        BinaryOp::Greater => (Operator::Gt, true),
        _ => (Operator::GtEq, true),
    };
    if left.kind == ColumnType::Guid {
        return Err(Problem::mismatch(op_span, "guids have no order"));
    }
    let plain = binary_expr(left.solid(), operator, right.solid());
    if left.kind != ColumnType::Real {
        return Ok(plain);
    }
    // Arrow orders NaN above infinity (negative NaN below its negative): cut both off, in a form that statistics can use.
    let guard = |value: &Bound, above: bool| {
        if value.finite || value.literal().is_some() {
            return None;
        }
        let (operator, bound) = if above { (Operator::LtEq, f64::INFINITY) } else { (Operator::GtEq, f64::NEG_INFINITY) };
        Some(binary_expr(value.expr.clone(), operator, lit(bound)))
    };
    if is_nan(&left) || is_nan(&right) {
        return Ok(lit(false));
    }
    Ok([guard(&left, upward), guard(&right, !upward)].into_iter().flatten().fold(plain, |all, part| binary_expr(all, Operator::And, part)))
}

/// `in (T | project c)`.
fn sub_query(op: SetOp, op_span: Span, left: Bound, rel: Rel, want: Want) -> Outcome<Bound> {
    let span = rel.span;
    let Some(first) = rel.columns.first().cloned() else {
        return Err(Problem::new(span, "NoColumns", "the query in the list gives no column"));
    };
    let (kind, fold) = match op {
        SetOp::HasAny | SetOp::HasAll => {
            return Err(Problem::unsupported(
                op_span,
                format!("`{}` over a query", op.as_str()),
                Some("write the terms as a list or as `dynamic([..])`"),
            ));
        }
        SetOp::InIgnoreCase | SetOp::NotInIgnoreCase => (ColumnType::String, true),
        _ if left.kind == ColumnType::Dynamic && first.kind == ColumnType::Dynamic => (ColumnType::String, false),
        _ if left.kind == ColumnType::Dynamic => (first.kind, false),
        _ => (left.kind, false),
    };
    if want == Want::Value {
        return Err(Problem::unsupported(op_span, "a query in a list outside `where`", Some("filter with `where`, or join")));
    }
    let negated = matches!(op, SetOp::NotIn | SetOp::NotInIgnoreCase);
    // SQL's NOT IN is null for a null: compare as texts, of which none is null and a null's is like no other's.
    let as_text = negated && kind != ColumnType::String;
    let cast = |value: Bound| {
        let value = convert(value, kind);
        let value = if as_text { convert(value, ColumnType::String) } else { value };
        if fold { registry::folded_case(&value) } else { value.solid() }
    };
    let left = cast(left);
    let first = first.bound(span);
    let rel = if kind == ColumnType::String { rel } else { rel.filter(Expr::IsNotNull(Box::new(first.expr.clone())), span) };
    let kind = if as_text { ColumnType::String } else { kind };
    let rel = rel.project(vec![("value".to_owned(), Bound::new(cast(first), kind, span))], span);
    let plan = plan::logical(&rel)?;
    let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns: vec![], spans: Spans::new() };
    let found = Expr::InSubquery(InSubquery::new(Box::new(left), subquery, negated));
    Ok(Bound::new(found, ColumnType::Bool, op_span))
}

fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Expr {
    Expr::InList(InList::new(Box::new(expr), list, negated))
}

/// `CASE WHEN both are null THEN null ELSE otherwise END`
fn unless_both_null(left: Expr, right: Expr, otherwise: Expr) -> Expr {
    let both = binary_expr(Expr::IsNull(Box::new(left)), Operator::And, Expr::IsNull(Box::new(right)));
    let null = Expr::Literal(ScalarValue::Boolean(None), None);
    Expr::Case(Case::new(None, vec![(Box::new(both), Box::new(null))], Some(Box::new(otherwise))))
}

/// True for a real that is not NaN; null for null.
fn is_number_not_nan(value: &Expr) -> Expr {
    binary_expr(
        binary_expr(value.clone(), Operator::LtEq, lit(f64::INFINITY)),
        Operator::And,
        binary_expr(value.clone(), Operator::GtEq, lit(f64::NEG_INFINITY)),
    )
}

fn is_nan(value: &Bound) -> bool {
    matches!(value.literal(), Some(ScalarValue::Float64(Some(number))) if number.is_nan())
}

fn is_non_null_literal(value: &Bound) -> bool {
    value.literal().is_some_and(|value| !value.is_null())
}
