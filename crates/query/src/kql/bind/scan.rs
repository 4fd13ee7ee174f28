//! `scan`: steps, what they declare and what they remember.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use strongroom_kql::Span;
use strongroom_kql::ast::{self, ExprKind, ParameterKind, Setting};
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel, RelNode, column, null_of};
use crate::kql::env::Binding;
use crate::kql::expr::{Scope, convert, folded, kind_of};
use crate::kql::nodes::{Declared, Machine, Output, Step, state_name};
use crate::kql::problem::{Outcome, Problem};

impl Binder<'_> {
    pub(super) fn scan(&mut self, rel: Rel, asked: &ast::Scan, span: Span) -> Outcome<Rel> {
        if let Some(first) = asked.partition.first() {
            return Err(Problem::unsupported(
                first.span,
                "`partition by` inside `scan`",
                Some("use `partition by c (sort by .. | scan ..)`"),
            ));
        }
        let rel = if asked.order.is_empty() { rel } else { self.sort(rel, &asked.order, span)? };
        if !rel.is_serialized() {
            return Err(Problem::new(span, "NotSerialized", "`scan` needs rows in a fixed order, and these have none")
                .hint("put `sort by ..` before it, or `serialize` to take them as they come"));
        }
        if asked.steps.is_empty() {
            return Err(Problem::new(span, "NoSteps", "`scan` needs at least one `step`"));
        }
        let outer = self.env.clone();
        let (declared, columns) = self.declared(&rel, &asked.declare)?;
        let mut visible = rel.columns.clone();
        for (at, step) in asked.steps.iter().enumerate() {
            if asked.steps[..at].iter().any(|other| other.name.text == step.name.text) {
                return Err(Problem::new(step.name.span, "DuplicateStep", format!("there is already a step `{}`", step.name.text)));
            }
            for there in rel.columns.iter().chain(&columns) {
                visible.push(BoundColumn { name: state_name(&step.name.text, &there.name), ..there.clone() });
            }
        }
        let mut steps = Vec::with_capacity(asked.steps.len());
        for step in &asked.steps {
            steps.push(self.scan_step(step, &visible, &columns)?);
        }
        self.env = outer;
        let match_id = asked.settings.iter().find(|setting| setting.name.text == "with_match_id").map(named).transpose()?;
        let rel = lift_queries(rel, &mut steps, span);
        let mut all: Vec<BoundColumn> = rel.columns.iter().cloned().chain(columns).collect();
        if let Some(name) = &match_id {
            if all.iter().any(|there| there.name == *name) {
                return Err(Problem::new(span, "DuplicateColumn", format!("there is already a column `{name}`")));
            }
            all.push(BoundColumn::new(name.clone(), ColumnType::Long));
        }
        let shown: Vec<(String, Bound)> =
            all.iter().filter(|there| !there.name.starts_with('\u{1}')).map(|there| (there.name.clone(), there.bound(span))).collect();
        let node = RelNode::Scan { machine: Box::new(Machine { declared, steps, match_id }), input: Arc::new(rel.clone()) };
        Ok(Rel::over(rel.depth, node, all, span).project(shown, span))
    }

    /// New columns with what they are by default; in expressions their bare names mean that.
    fn declared(&mut self, rel: &Rel, parameters: &[ast::Parameter]) -> Outcome<(Vec<Declared>, Vec<BoundColumn>)> {
        let (mut declared, mut columns): (Vec<Declared>, Vec<BoundColumn>) = (Vec::new(), Vec::new());
        for parameter in parameters {
            let name = &parameter.name;
            let ParameterKind::Scalar(kind) = &parameter.kind else {
                return Err(Problem::mismatch(name.span, "a column that is declared here is a scalar"));
            };
            let kind = kind_of(*kind);
            if rel.columns.iter().chain(&columns).any(|there| there.name == name.text) {
                return Err(Problem::new(name.span, "DuplicateColumn", format!("there is already a column `{}`", name.text)));
            }
            let default = match &parameter.default {
                Some(default) => convert(self.constant(default)?, kind),
                None => Bound::null(kind, name.span),
            };
            let default = if kind == ColumnType::String && default.literal().is_some_and(ScalarValue::is_null) {
                null_of(kind)
            } else {
                folded(default.expr)
            };
            let Expr::Literal(value, _) = &default else {
                return Err(Problem::mismatch(name.span, format!("the default cannot be a {}", kind.as_str())));
            };
            declared.push(Declared { field: Arc::new(kind.query_field(&name.text)), default: value.clone() });
            columns.push(BoundColumn::new(name.text.clone(), kind));
            self.env = self.env.with(&name.text, Binding::Scalar(Bound::new(default, kind, name.span)));
        }
        Ok((declared, columns))
    }

    fn scan_step(&mut self, step: &ast::ScanStep, visible: &[BoundColumn], declared: &[BoundColumn]) -> Outcome<Step> {
        if step.optional {
            return Err(Problem::unsupported(step.name.span, "an optional step", None));
        }
        let mut output = Output::All;
        for setting in step.settings.iter().filter(|setting| setting.name.text == "output") {
            output = match &setting.value.kind {
                ExprKind::Name(word) if word == "all" => Output::All,
                ExprKind::Name(word) if word == "last" => Output::Last,
                ExprKind::Name(word) if word == "none" => Output::None,
                _ => return Err(Problem::new(setting.value.span, "InvalidSetting", "`output` is all, last or none")),
            };
        }
        let scope = Scope::of(visible);
        let condition = self.predicate(&step.condition, scope)?;
        let mut assignments = Vec::with_capacity(step.assignments.len());
        for assignment in &step.assignments {
            let [name] = assignment.names.as_slice() else {
                return Err(Problem::new(assignment.span, "BadAssignment", "an assignment sets one declared column: `name = value`"));
            };
            let Some(at) = declared.iter().position(|there| there.name == name.text) else {
                let problem = Problem::new(name.span, "UnknownColumn", format!("`{}` is not declared", name.text));
                return Err(match strongroom_kql::closest(&name.text, declared.iter().map(|there| there.name.as_str())) {
                    Some(near) => problem.hint(format!("did you mean `{near}`?")),
                    None => problem.hint("put it into `declare (..)` with its type"),
                });
            };
            let value = self.value(&assignment.value, scope)?;
            assignments.push((at, convert(value, declared[at].kind).solid()));
        }
        Ok(Step { name: step.name.text.clone(), output, condition, assignments })
    }
}

/// A name as a setting's value.
fn named(setting: &Setting) -> Outcome<String> {
    match &setting.value.kind {
        ExprKind::Name(name) => Ok(name.clone()),
        _ => Err(Problem::new(setting.value.span, "InvalidSetting", "the name of a column is needed here")),
    }
}

/// Sub-queries inside the steps become columns of the input: steps compute row by row, where no query can run.
fn lift_queries(rel: Rel, steps: &mut [Step], span: Span) -> Rel {
    let mut queries: Vec<Expr> = Vec::new();
    let mut lift = |expr: &mut Expr| {
        let lifted = expr.clone().transform(|node| {
            Ok(if matches!(node, Expr::ScalarSubquery(_)) {
                let at = queries.iter().position(|there| *there == node).unwrap_or_else(|| {
                    queries.push(node.clone());
                    queries.len() - 1
                });
                Transformed::yes(column(&format!("\u{1}query{at}")))
            } else {
                Transformed::no(node)
            })
        });
        if let Ok(lifted) = lifted {
            *expr = lifted.data;
        }
    };
    for step in steps.iter_mut() {
        lift(&mut step.condition);
        step.assignments.iter_mut().for_each(|(_, value)| lift(value));
    }
    if queries.is_empty() {
        return rel;
    }
    let mut outputs = rel.outputs();
    outputs.extend(queries.into_iter().enumerate().map(|(at, query)| {
        let kind = match &query {
            Expr::ScalarSubquery(found) => ColumnType::of_field(found.subquery.schema().field(0)),
            _ => None,
        };
        (format!("\u{1}query{at}"), Bound::new(query, kind.unwrap_or(ColumnType::Dynamic), span))
    }));
    rel.project(outputs, span)
}
