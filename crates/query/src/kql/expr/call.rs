//! Calls: the forms that are more than functions, the user's own functions, then the registry.

use datafusion::functions::core::expr_fn::{coalesce, nullif};
use datafusion::logical_expr::{Case, Expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::{Argument, ExprKind, Name};
use strongroom_model::ColumnType;

use super::coerce::{convert, unify};
use super::literal::{datetime_ns, kind_of};
use super::{Scope, strings, truth};
use crate::functions;
use crate::kql::Binder;
use crate::kql::bound::{Bound, text};
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

impl Binder<'_> {
    pub(super) fn call(&mut self, function: &Name, arguments: &[Argument], span: Span, scope: Scope<'_>) -> Outcome<Bound> {
        let name = function.text.as_str();
        if let Some(lambda) = self.function(name) {
            return self.scalar_call(&lambda, function, arguments, scope);
        }
        if let Some(collector) = scope.aggregates
            && functions::aggregate(name).is_some()
        // `take_any`, `max_of` and the like never clash; where a name is both, `summarize` means the aggregate.
        {
            return self.aggregate_call(function, arguments, span, scope, collector);
        }
        if let Some(call) = self.row_call(function, arguments, span, scope)? {
            return Ok(call);
        }
        match name {
            "toscalar" => return self.first_cell(arguments, span),
            "materialize" | "table" | "datatable" => {
                return Err(Problem::new(span, "NotScalar", "rows cannot be used as a value; `toscalar(..)` takes the first cell"));
            }
            "extract" | "extractjson" | "extract_json" if arguments.len() == 4 || arguments.len() == 3 => {
                if let Some(last) = arguments.last()
                    && let ExprKind::TypeOf(kind) = last.value.kind
                {
                    let inner = self.call(function, &arguments[..arguments.len() - 1], span, scope)?;
                    return Ok(convert(inner, kind_of(kind)));
                }
            }
            _ => {}
        }
        if let Some(value) = self.call_by_name(function, arguments, scope)? {
            return Ok(value);
        }
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(match &argument.value.kind {
                ExprKind::TypeOf(kind) => Bound::string(kind_of(*kind).as_str(), argument.value.span),
                _ => self.value(&argument.value, scope)?,
            });
        }
        if matches!(name, "array_sort_asc" | "array_sort_desc") && values.get(1).is_some_and(|second| second.kind == ColumnType::Dynamic) {
            let mut sorted = registry::call(&format!("{name}_together"), function.span, &values, self.now())?;
            sorted.span = span;
            return Ok(sorted);
        }
        if let Some(special) = self.special(function, &values, span)? {
            return Ok(special);
        }
        let mut bound = registry::call(name, function.span, &values, self.now())?;
        bound.span = span;
        Ok(bound)
    }

    /// The forms whose arguments are unified or whose nulls matter.
    fn special(&self, function: &Name, values: &[Bound], span: Span) -> Outcome<Option<Bound>> {
        let arity = |least: usize, most: usize| {
            if (least..=most).contains(&values.len()) {
                return Ok(());
            }
            let wanted = if least == most {
                format!("{least}")
            } else if most == usize::MAX {
                format!("at least {least}")
            } else {
                format!("{least} to {most}")
            };
            Err(Problem::new(
                function.span,
                "WrongArguments",
                format!("`{}` takes {wanted} argument{}, here are {}", function.text, if most == 1 { "" } else { "s" }, values.len()),
            ))
        };
        let done = |expr: Expr, kind: ColumnType| Ok(Some(Bound::new(expr, kind, span)));
        match function.text.as_str() {
            "iff" | "iif" => {
                arity(3, 3)?;
                let condition = truth(values[0].clone())?;
                let (branches, kind) = unify(values[1..].to_vec(), span)?;
                done(when(vec![(condition, branches[0].solid())], branches[1].solid()), kind)
            }
            "case" => {
                arity(3, usize::MAX)?;
                if values.len().is_multiple_of(2) {
                    return Err(Problem::new(
                        function.span,
                        "WrongArguments",
                        "`case` takes pairs of condition and value, then a last value",
                    ));
                }
                let mut results: Vec<Bound> = values.iter().skip(1).step_by(2).cloned().collect();
                results.extend(values.last().cloned());
                let (mut results, kind) = unify(results, span)?;
                let otherwise = results.pop().expect("`case` has a last value");
                let conditions = values[..values.len() - 1].iter().step_by(2).cloned().map(truth).collect::<Outcome<Vec<_>>>()?;
                done(when(conditions.into_iter().zip(results.iter().map(Bound::solid)).collect(), otherwise.solid()), kind)
            }
            "coalesce" => {
                arity(1, usize::MAX)?;
                let (values, kind) = unify(values.to_vec(), span)?;
                if kind == ColumnType::String {
                    let mut parts: Vec<Expr> = values.into_iter().map(|value| nullif(value.expr, text(""))).collect();
                    parts.push(text(""));
                    return done(coalesce(parts), kind);
                }
                done(coalesce(values.into_iter().map(|value| value.expr).collect()), kind)
            }
            "not" => {
                arity(1, 1)?;
                done(Expr::Not(Box::new(truth(values[0].clone())?)), ColumnType::Bool)
            }
            "isnull" | "isnotnull" | "notnull" => {
                arity(1, 1)?;
                let value = &values[0];
                let negated = function.text != "isnull";
                done(
                    match (value.kind, negated) {
                        (ColumnType::String, negated) => lit(negated),
                        (_, false) => Expr::IsNull(Box::new(value.expr.clone())),
                        (_, true) => Expr::IsNotNull(Box::new(value.expr.clone())),
                    },
                    ColumnType::Bool,
                )
            }
            "isempty" => {
                arity(1, 1)?;
                done(strings::is_empty(&values[0]), ColumnType::Bool)
            }
            "isnotempty" | "notempty" => {
                arity(1, 1)?;
                done(strings::is_not_empty(&values[0]), ColumnType::Bool)
            }
            "now" | "ago" => {
                arity(usize::from(function.text == "ago"), 1)?;
                let now = Bound::new(Expr::Literal(datetime_ns(self.now()), None), ColumnType::DateTime, span);
                let Some(offset) = values.first() else { return Ok(Some(now)) };
                let offset =
                    if offset.kind == ColumnType::Dynamic { convert(offset.clone(), ColumnType::TimeSpan) } else { offset.clone() };
                if offset.kind != ColumnType::TimeSpan {
                    return Err(Problem::mismatch(
                        offset.span,
                        format!("`{}` takes a timespan such as `1h`, this is a {}", function.text, offset.kind.as_str()),
                    ));
                }
                let op = if function.text == "now" { strongroom_kql::ast::BinaryOp::Add } else { strongroom_kql::ast::BinaryOp::Subtract };
                super::arith::arithmetic(op, span, now, offset).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn when(branches: Vec<(Expr, Expr)>, otherwise: Expr) -> Expr {
    let branches = branches.into_iter().map(|(when, then)| (Box::new(when), Box::new(then))).collect();
    Expr::Case(Case::new(None, branches, Some(Box::new(otherwise))))
}
