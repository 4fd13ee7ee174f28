//! Some of the rows or columns: `sample`, `sample-distinct`, `project-by-names`; and `reduce`.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use serde_json::Value;
use strongroom_kql::Span;
use strongroom_kql::ast;
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Key, Rel, RelNode, column};
use crate::kql::expr::{Scope, convert, folded};
use crate::kql::nodes::Likeness;
use crate::kql::problem::{Outcome, Problem};
use crate::kql::{registry, tables};

impl Binder<'_> {
    /// Any `count` rows, each as likely as any other.
    pub(super) fn sample(&mut self, rel: Rel, count: &ast::Expr, span: Span) -> Outcome<Rel> {
        let count = self.constant_count(count)?;
        let visible = rel.outputs();
        let mut outputs = visible.clone();
        outputs.push(("\u{1}chance".to_owned(), registry::call("rand", span, &[], self.now())?));
        // Sorted as what it is not: a chance is never NaN.
        let chance = Bound::new(column("\u{1}chance"), ColumnType::Long, span);
        let key = Key { value: chance, ascending: true, nulls_first: true };
        Ok(rel.project(outputs, span).sort(vec![key], span).take(count, span).project(visible, span))
    }

    /// Any `count` of a value's different ones.
    pub(super) fn sample_distinct(&mut self, rel: Rel, count: &ast::Expr, of: &ast::NamedExpr, span: Span) -> Outcome<Rel> {
        let distinct = self.distinct(rel, std::slice::from_ref(of), span)?;
        self.sample(distinct, count, span)
    }

    /// Columns by constant texts, which may be patterns; what matches nothing is passed over.
    pub(super) fn project_by_names(&mut self, rel: Rel, names: &[ast::Expr], span: Span) -> Outcome<Rel> {
        let mut patterns: Vec<String> = Vec::new();
        for name in names {
            let value = self.constant(name)?;
            let fitting = match (value.kind, value.literal_text()) {
                (ColumnType::String, Some(text)) => Some(vec![text.to_owned()]),
                (ColumnType::Dynamic, Some(json)) => texts(json),
                _ => None,
            };
            match fitting {
                Some(fitting) => patterns.extend(fitting),
                None => return Err(Problem::mismatch(name.span, "names of columns are constant strings or an array of them")),
            }
        }
        let mut outputs: Vec<(String, Bound)> = Vec::new();
        for text in patterns {
            let pattern = tables::pattern(&text, span);
            for (name, value) in rel.outputs() {
                if pattern.matches(&name) && !outputs.iter().any(|(there, _)| *there == name) {
                    outputs.push((name, value));
                }
            }
        }
        Ok(rel.project(outputs, span))
    }

    /// `reduce by e with threshold=.., characters=..`
    pub(super) fn reduce(&mut self, rel: Rel, reduce: &ast::Reduce, span: Span) -> Outcome<Rel> {
        if let Some(kind) = reduce.settings.first() {
            return Err(Problem::unsupported(kind.name.span, "`reduce kind=source`", Some("join the patterns with the rows")));
        }
        let (mut threshold, mut separators) = (0.1, None);
        for setting in &reduce.with {
            let value = self.constant(&setting.value)?;
            match setting.name.text.as_str() {
                "threshold" => match folded(convert(value, ColumnType::Real).expr) {
                    Expr::Literal(ScalarValue::Float64(Some(share)), _) if (0.0..=1.0).contains(&share) => threshold = share,
                    _ => return Err(Problem::new(setting.value.span, "InvalidSetting", "the threshold is a share from 0 to 1")),
                },
                "characters" => match value.literal_text() {
                    Some(list) => separators = Some(list.to_owned()),
                    None => return Err(Problem::mismatch(setting.value.span, "the characters are a constant string")),
                },
                other => return Err(Problem::new(setting.name.span, "InvalidSetting", format!("`reduce` has no setting `{other}`"))),
            }
        }
        let text = convert(self.value(&reduce.by, Scope::of(&rel.columns))?, ColumnType::String).solid();
        let columns = vec![
            BoundColumn::new("Pattern", ColumnType::String),
            BoundColumn::new("Count", ColumnType::Long),
            BoundColumn::new("Representative", ColumnType::String),
        ];
        let likeness = Likeness { threshold: f64::to_bits(threshold), separators };
        let rel = Rel::over(rel.depth, RelNode::Reduce { input: Arc::new(rel), text, likeness }, columns, span);
        let count = rel.columns[1].bound(span);
        Ok(rel.sort(vec![Key { value: count, ascending: false, nulls_first: false }], span))
    }
}

/// The strings of a JSON array.
fn texts(json: &str) -> Option<Vec<String>> {
    let Ok(Value::Array(items)) = serde_json::from_str(json) else { return None };
    items.into_iter().map(|item| if let Value::String(text) = item { Some(text) } else { None }).collect()
}
