//! Statements: what `let` names, and the one whose rows are the answer.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use strongroom_kql::Span;
use strongroom_kql::ast::{Expr, ExprKind, LetValue, Name, ParameterKind, Query, SourceKind, Statement, StatementKind};
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{Bound, Rel};
use crate::kql::env::{Binding, Function};
use crate::kql::expr::{Scope, convert, folded, kind_of};
use crate::kql::problem::{Outcome, Problem};

/// What an expression turned out to be.
#[derive(Debug)]
pub(super) enum Either {
    Value(Bound),
    Rows(Rel),
}

impl Binder<'_> {
    /// A whole text: its first tabular statement is the answer. What is wrong with each statement is told at once.
    pub(in crate::kql) fn query(&mut self, query: &Query) -> Outcome<Rel> {
        let mut answer = None;
        let mut problems: Vec<Problem> = self.check_parameters(query).err().into_iter().collect();
        // Names that mean nothing because their own statement is wrong: complaints about them are its echo.
        let mut lost: Vec<&str> = Vec::new();
        for statement in &query.statements {
            let bound = match &statement.kind {
                StatementKind::Pipeline(pipeline) => self.pipeline(pipeline).map(|rel| {
                    answer.get_or_insert(rel);
                }),
                _ => self.statement(statement),
            };
            let Err(problem) = bound else { continue };
            if self.knowledge.asks() {
                // Questions are answered in their order; and none is asked for a text that is wrong.
                if problems.is_empty() {
                    return Err(problem);
                }
                self.knowledge.withdraw();
                if let StatementKind::Let { name, .. } = &statement.kind {
                    lost.push(&name.text);
                }
                continue;
            }
            if let StatementKind::Let { name, .. } = &statement.kind {
                lost.push(&name.text);
            }
            let hopeless = problem.code == "TooComplex";
            if !(problem.code.starts_with("Unknown") && lost.contains(&problem.span.of(self.text))) {
                problems.push(problem);
            }
            if hopeless {
                break;
            }
        }
        let mut problems = problems.into_iter();
        if let Some(first) = problems.next() {
            return Err(Problem { more: problems.collect(), ..first });
        }
        answer.ok_or_else(|| {
            Problem::new(query.span, "NoRows", "the query names things but asks for no rows")
                .hint("end it with a table, `print` or the like")
        })
    }

    /// A value for a parameter that the text does not declare would change nothing: a slip.
    fn check_parameters(&self, query: &Query) -> Outcome<()> {
        let declared: Vec<&str> = query
            .statements
            .iter()
            .filter_map(|statement| match &statement.kind {
                StatementKind::DeclareParameters(parameters) => Some(parameters),
                _ => None,
            })
            .flatten()
            .map(|parameter| parameter.name.text.as_str())
            .collect();
        let Some(unknown) = self.context.parameters.keys().find(|name| !declared.contains(&name.as_str())) else { return Ok(()) };
        let problem = Problem::new(
            Span::new(query.span.start, query.span.start),
            "UnknownParameter",
            format!("the query declares no parameter `{unknown}`"),
        );
        Err(match strongroom_kql::closest(unknown, declared) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint(format!("declare it: `declare query_parameters({unknown}:string);`")),
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
                    LetValue::Function(lambda) => {
                        Binding::Function(Function { lambda: Arc::new(lambda.clone()), env: self.env.clone(), stored: false })
                    }
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
                    let kind = kind_of(*kind);
                    if let Some(given) = self.context.parameters.get(&parameter.name.text) {
                        let value = given_value(given, kind, &parameter.name)?;
                        self.env = self.env.with(&parameter.name.text, Binding::Scalar(value));
                        continue;
                    }
                    let Some(default) = &parameter.default else {
                        return Err(Problem::new(
                            parameter.name.span,
                            "MissingParameter",
                            format!("the parameter `{}` has no value", parameter.name.text),
                        )
                        .hint("send one with the query, or give it a default: `name:type = value`"));
                    };
                    let value = convert(self.constant(default)?, kind);
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

/// A parameter's value as it came with the request: JSON's own types, or a text that reads as the declared type.
fn given_value(given: &serde_json::Value, kind: ColumnType, name: &Name) -> Outcome<Bound> {
    use serde_json::Value;
    let span = name.span;
    let literal = |scalar, kind| Bound::new(datafusion::logical_expr::Expr::Literal(scalar, None), kind, span);
    if given.is_null() {
        return Ok(Bound::null(kind, span));
    }
    let written = match given {
        _ if kind == ColumnType::Dynamic => return Ok(literal(ScalarValue::Utf8View(Some(given.to_string())), kind)),
        Value::Bool(value) => Bound::bool(*value, span),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => literal(ScalarValue::Int64(Some(value)), ColumnType::Long),
            (None, value) => literal(ScalarValue::Float64(value), ColumnType::Real),
        },
        Value::String(text) => Bound::string(text.clone(), span),
        other => Bound::string(other.to_string(), span),
    };
    let mut value = convert(written, kind);
    value.expr = folded(value.expr);
    if kind != ColumnType::String && value.literal().is_none_or(ScalarValue::is_null) {
        return Err(Problem::new(span, "InvalidParameter", format!("the value given for `{}` is no {}", name.text, kind.as_str())));
    }
    Ok(value)
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
        "this way of asking another workspace, database or cluster",
        Some("a table of another workspace is `workspace(\"name\").Table`; of this one, the table's name alone"),
    )
}
