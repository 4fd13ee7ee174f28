//! Statements: what `let` names, and the one whose rows are the answer.

use std::sync::Arc;

use strongroom_kql::Span;
use strongroom_kql::ast::{Expr, ExprKind, LetValue, ParameterKind, Query, SourceKind, Statement, StatementKind};

use crate::kql::Binder;
use crate::kql::bound::{Bound, Rel};
use crate::kql::env::{Binding, Function};
use crate::kql::expr::{Scope, convert, kind_of};
use crate::kql::problem::{Outcome, Problem};

/// What an expression turned out to be.
#[derive(Debug)]
pub(super) enum Either {
    Value(Bound),
    Rows(Rel),
}

impl Binder<'_> {
    /// A whole text: its first tabular statement is the answer.
    pub(in crate::kql) fn query(&mut self, query: &Query) -> Outcome<Rel> {
        let mut answer = None;
        for statement in &query.statements {
            match &statement.kind {
                StatementKind::Pipeline(pipeline) => {
                    let rel = self.pipeline(pipeline)?;
                    answer.get_or_insert(rel);
                }
                _ => self.statement(statement)?,
            }
        }
        answer.ok_or_else(|| {
            Problem::new(query.span, "NoRows", "the query names things but asks for no rows")
                .hint("end it with a table, `print` or the like")
        })
    }

    /// Any statement but the one that gives rows.
    pub(super) fn statement(&mut self, statement: &Statement) -> Outcome<()> {
        match &statement.kind {
            StatementKind::Let { name, value } => {
                let binding = match value {
                    LetValue::Expr(expr) => match self.either(expr, Scope::EMPTY)? {
                        Either::Value(value) => Binding::Scalar(value),
                        Either::Rows(rel) => Binding::Rows(Arc::new(rel)),
                    },
                    LetValue::Pipeline(pipeline) => Binding::Rows(Arc::new(Rel { name: None, ..self.pipeline(pipeline)? })),
                    LetValue::Function(lambda) => Binding::Function(Function { lambda: Arc::new(lambda.clone()), env: self.env.clone() }),
                };
                self.env = self.env.with(&name.text, binding);
                Ok(())
            }
            // Options of Kusto's own engine; ours are the request's limits.
            StatementKind::Set { .. } => Ok(()),
            StatementKind::DeclareParameters(parameters) => {
                for parameter in parameters {
                    let ParameterKind::Scalar(kind) = &parameter.kind else {
                        return Err(Problem::new(parameter.name.span, "TypeMismatch", "a parameter of a query is a scalar"));
                    };
                    let Some(default) = &parameter.default else {
                        return Err(Problem::new(
                            parameter.name.span,
                            "MissingParameter",
                            format!("the parameter `{}` has no value", parameter.name.text),
                        )
                        .hint("give it a default: `name:type = value`"));
                    };
                    let value = convert(self.constant(default)?, kind_of(*kind));
                    self.env = self.env.with(&parameter.name.text, Binding::Scalar(value));
                }
                Ok(())
            }
            StatementKind::Alias { .. } => {
                Err(Problem::unsupported(statement.span, "`alias database`", Some("one workspace is asked at a time")))
            }
            StatementKind::Restrict(_) => Err(Problem::unsupported(statement.span, "`restrict access`", None)),
            StatementKind::Pattern(_) => Err(Problem::unsupported(statement.span, "`declare pattern`", None)),
            _ => Err(Problem::new(statement.span, "SyntaxError", "this statement could not be read")),
        }
    }

    /// `as name`: later parts of the text may refer to these rows.
    pub(super) fn name_rows(&mut self, name: &str, rel: &Rel) {
        self.env = self.env.with(name, Binding::Rows(Arc::new(rel.clone())));
    }

    /// An expression that may be a value or rows: only binding tells.
    pub(super) fn either(&mut self, expr: &Expr, scope: Scope<'_>) -> Outcome<Either> {
        let tabular = match &expr.kind {
            ExprKind::Name(name) => scope.column(name).is_none() && self.scalar_let(name).is_none(),
            ExprKind::Call { receiver: None, function, arguments } => match self.function(&function.text) {
                Some(lambda) => return self.inline(&lambda, function, arguments, scope, None),
                None => matches!(function.text.as_str(), "materialize" | "table" | "view"),
            },
            ExprKind::Path { .. } => is_foreign(expr),
            ExprKind::Pipeline(pipeline) => match (&pipeline.source.kind, pipeline.operators.is_empty()) {
                (SourceKind::Expr(inner), true) => return self.either(inner, scope),
                _ => true,
            },
            ExprKind::Call { receiver: Some(_), .. } => true,
            _ => false,
        };
        if tabular { self.rows(expr).map(Either::Rows) } else { self.value(expr, scope).map(Either::Value) }
    }

    /// Rows in a list of `in`, if it is that.
    pub(in crate::kql) fn rows_in_list(&mut self, expr: &Expr) -> Outcome<Option<Rel>> {
        let is_rows = match &expr.kind {
            ExprKind::Name(name) => self.is_tabular_name(name),
            ExprKind::Pipeline(_) => true,
            ExprKind::Call { receiver: None, function, .. } => {
                matches!(function.text.as_str(), "materialize" | "table") || self.function(&function.text).is_some()
            }
            _ => false,
        };
        if !is_rows {
            return Ok(None);
        }
        match self.either(expr, Scope::EMPTY) {
            Ok(Either::Rows(rel)) => Ok(Some(rel)),
            Ok(Either::Value(_)) => Ok(None),
            // A function of columns: a value after all.
            Err(problem) if matches!(expr.kind, ExprKind::Call { .. }) && problem.code == "UnknownColumn" => Ok(None),
            Err(problem) => Err(problem),
        }
    }
}

/// `workspace("w").T`, `database("d").T`, `cluster("c").database("d").T`
pub(super) fn is_foreign(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Path { base, .. } => is_foreign(base),
        ExprKind::Call { receiver: Some(receiver), .. } => is_foreign(receiver),
        ExprKind::Call { receiver: None, function, .. } => {
            matches!(function.text.as_str(), "workspace" | "database" | "cluster" | "app" | "resource")
        }
        _ => false,
    }
}

/// The error for all of those.
pub(super) fn foreign(span: Span) -> Problem {
    Problem::unsupported(
        span,
        "asking another workspace, database or cluster",
        Some("name the table alone: it is looked up in the workspace asked"),
    )
}
