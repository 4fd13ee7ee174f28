//! The text's own functions: written out where they are called.

use std::sync::Arc;

use datafusion::common::Spans;
use datafusion::logical_expr::{Expr, Subquery};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, Argument, ExprKind, Name, ParameterKind, SourceKind, StatementKind};

use super::statement::Either;
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel, RelNode};
use crate::kql::env::{Binding, Function};
use crate::kql::expr::{Scope, convert, folded, kind_of};
use crate::kql::plan;
use crate::kql::problem::{Outcome, Problem};

/// How deep calls may nest. KQL has no recursion; this is against its imitations.
const INLINED_MAX: usize = 32;

impl Binder<'_> {
    /// A call where a value stands.
    pub(in crate::kql) fn scalar_call(
        &mut self,
        function: &Function,
        name: &Name,
        arguments: &[Argument],
        scope: Scope<'_>,
    ) -> Outcome<Bound> {
        match self.inline(function, name, arguments, scope, None)? {
            Either::Value(value) => Ok(value),
            Either::Rows(_) => Err(Problem::new(name.span, "NotScalar", format!("`{}` gives rows, not a value", name.text))
                .hint("`toscalar(..)` takes the first cell of a query")),
        }
    }

    /// `T | invoke f(..)`: the rows are the first argument.
    pub(super) fn invoke(&mut self, rel: Rel, call: &ast::Expr) -> Outcome<Rel> {
        let ExprKind::Call { receiver: None, function: name, arguments } = &call.kind else {
            return Err(Problem::new(call.span, "NotTabular", "`invoke` takes a call of a function"));
        };
        let Some(function) = self.function(&name.text) else { return Err(self.unknown_function(name)) };
        match self.inline(&function, name, arguments, Scope::EMPTY, Some(rel))? {
            Either::Rows(rel) => Ok(rel),
            Either::Value(_) => Err(Problem::new(name.span, "NotTabular", format!("`{}` gives a value, not rows", name.text))),
        }
    }

    pub(super) fn unknown_function(&self, name: &Name) -> Problem {
        let problem = Problem::new(name.span, "UnknownFunction", format!("there is no function `{}` that gives rows", name.text));
        let names = self.tabular_names();
        match strongroom_kql::closest(&name.text, names.iter().map(String::as_str)) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        }
    }

    /// Binds the body with its parameters standing for the arguments.
    pub(super) fn inline(
        &mut self,
        function: &Function,
        name: &Name,
        arguments: &[Argument],
        scope: Scope<'_>,
        piped: Option<Rel>,
    ) -> Outcome<Either> {
        if self.inlined >= INLINED_MAX {
            return Err(Problem::new(name.span, "TooComplex", format!("functions call each other more than {INLINED_MAX} deep")));
        }
        let env = self.bind_arguments(function, name, arguments, scope, piped)?;
        let outer = std::mem::replace(&mut self.env, env);
        let outer_text = self.text;
        if let Some(stored) = self.context.functions.get(&name.text).filter(|_| function.stored) {
            self.text = &stored.text;
        }
        self.inlined += 1;
        let result = self.body(&function.lambda.body);
        self.inlined -= 1;
        self.text = outer_text;
        self.env = outer;
        if !function.stored {
            return result;
        }
        // Places in a stored text mean nothing in this one: what is wrong there is told at the call.
        match result {
            Ok(Either::Rows(rel)) => Ok(Either::Rows(Rel { span: name.span, ..rel })),
            Ok(Either::Value(value)) => Ok(Either::Value(Bound { span: name.span, ..value })),
            Err(problem) => {
                Err(Problem { span: name.span, message: format!("in the stored function `{}`: {}", name.text, problem.message), ..problem })
            }
        }
    }

    fn bind_arguments(
        &mut self,
        function: &Function,
        name: &Name,
        arguments: &[Argument],
        scope: Scope<'_>,
        mut piped: Option<Rel>,
    ) -> Outcome<crate::kql::env::Env> {
        let mut env = function.env.clone();
        let parameters = &function.lambda.parameters;
        let mut positional = arguments.iter().filter(|argument| argument.name.is_none());
        for parameter in parameters {
            if let (Some(rel), ParameterKind::Tabular(_)) = (piped.take(), &parameter.kind) {
                env = env.with(&parameter.name.text, Binding::Rows(Arc::new(rel)));
                continue;
            }
            let named = arguments.iter().find(|argument| argument.name.as_ref().is_some_and(|given| given.text == parameter.name.text));
            let Some(value) = named.or_else(|| positional.next()).map(|argument| &argument.value).or(parameter.default.as_ref()) else {
                return Err(Problem::new(
                    name.span,
                    "WrongArguments",
                    format!("`{}` needs a value for `{}`", name.text, parameter.name.text),
                ));
            };
            let binding = match &parameter.kind {
                ParameterKind::Scalar(kind) => {
                    let value = self.value(value, scope)?;
                    let mut value = convert(value, kind_of(*kind));
                    value.expr = folded(value.expr);
                    Binding::Scalar(value)
                }
                ParameterKind::Tabular(columns) => {
                    let rel = self.rows(value)?;
                    for column in columns {
                        if !rel.columns.iter().any(|there| there.name == column.name.text) {
                            return Err(Problem::new(
                                value.span,
                                "UnknownColumn",
                                format!("`{}` needs a column `{}` in its input", name.text, column.name.text),
                            ));
                        }
                    }
                    Binding::Rows(Arc::new(rel))
                }
            };
            env = env.with(&parameter.name.text, binding);
        }
        if let Some(extra) = positional.next() {
            return Err(Problem::new(extra.value.span, "WrongArguments", format!("`{}` takes {} arguments", name.text, parameters.len())));
        }
        Ok(env)
    }

    /// A function's body: `let`s, then a value or rows.
    fn body(&mut self, body: &ast::Query) -> Outcome<Either> {
        let Some((last, before)) = body.statements.split_last() else {
            return Err(Problem::new(body.span, "EmptyFunction", "the function has no body"));
        };
        for statement in before {
            self.statement(statement)?;
        }
        match &last.kind {
            StatementKind::Pipeline(pipeline) => match (&pipeline.source.kind, pipeline.operators.is_empty()) {
                (SourceKind::Expr(expr), true) => self.either(expr, Scope::EMPTY),
                _ => self.pipeline(pipeline).map(Either::Rows),
            },
            _ => Err(Problem::new(last.span, "EmptyFunction", "a function ends with a value or rows")),
        }
    }

    /// `toscalar(q)`: the first cell; null if there is none.
    pub(in crate::kql) fn first_cell(&mut self, arguments: &[Argument], span: Span) -> Outcome<Bound> {
        let [argument] = arguments else { return Err(Problem::new(span, "WrongArguments", "`toscalar` takes one query")) };
        let rel = match self.either(&argument.value, Scope::EMPTY)? {
            Either::Value(value) => return Ok(value),
            Either::Rows(rel) => rel,
        };
        let Some(first) = rel.columns.first().cloned() else {
            return Err(Problem::new(argument.value.span, "NoColumns", "the query gives no column"));
        };
        let value = first.bound(span);
        let rel = rel.project(vec![("value".to_owned(), value)], span).take(1, span);
        // One row even of nothing: a null then (which for a string reads as "").
        let columns = vec![BoundColumn { sparse: first.kind == ColumnType::String, ..BoundColumn::new("value", first.kind) }];
        let rel = Rel::over(rel.depth, RelNode::FirstPerKey { input: Arc::new(rel), keys: vec![] }, columns, span);
        let plan = plan::logical(&rel.once(span))?;
        let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns: vec![], spans: Spans::new() };
        Ok(Bound::new(Expr::ScalarSubquery(subquery), first.kind, span))
    }
}
