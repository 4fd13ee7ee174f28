//! Rows: from statements and operators to the bound tree.

mod combine;
mod evaluate;
mod expand;
mod functions;
mod nested;
mod order;
mod parse;
mod pick;
mod project;
mod render;
mod rows;
mod scan;
mod search;
mod series;
mod several;
mod source;
mod statement;
mod summarize;

use strongroom_kql::ast::{ExprKind, Literal, Operator, OperatorKind, Pipeline, Setting};

use super::bound::Rel;
use super::expr::Scope;
use super::problem::{Outcome, Problem};
use super::{Binder, DEPTH_MAX, known};

pub(super) use rows::{RowCalls, is_row_call};
pub(super) use summarize::Collector;

impl Binder<'_> {
    /// A source and what its rows pass through.
    pub(super) fn pipeline(&mut self, pipeline: &Pipeline) -> Outcome<Rel> {
        let rel = self.source(&pipeline.source)?;
        self.operators(rel, &pipeline.operators)
    }

    pub(super) fn operators(&mut self, rel: Rel, operators: &[Operator]) -> Outcome<Rel> {
        // A sub-query's rows are not those around it.
        let outer = self.rows.take();
        let rel = self.through(rel, operators);
        self.rows = outer;
        rel
    }

    fn through(&mut self, mut rel: Rel, operators: &[Operator]) -> Outcome<Rel> {
        for operator in operators {
            self.spend(operator.span)?;
            rel = self.operator(rel, operator)?;
            if rel.depth > DEPTH_MAX {
                return Err(Problem::new(operator.span, "TooComplex", format!("the query has more than {DEPTH_MAX} operators in a row")));
            }
        }
        Ok(rel)
    }

    fn operator(&mut self, rel: Rel, operator: &Operator) -> Outcome<Rel> {
        let span = operator.span;
        match &operator.kind {
            OperatorKind::Where(predicate) => {
                let visible = rel.outputs();
                let (rel, predicate) = self.with_rows(rel, |binder, rel| binder.predicate(predicate, Scope::of(&rel.columns)))?;
                let hidden = rel.columns.len() > visible.len();
                let rel = if hidden { rel.filter(predicate, span) } else { Self::filtered(rel, predicate, span) };
                Ok(if hidden { rel.project(visible, span) } else { rel })
            }
            OperatorKind::Extend(values) => self.extend(rel, values, span),
            OperatorKind::Serialize(values) => {
                let rel = rel.serialize(vec![], span);
                if values.is_empty() { Ok(rel) } else { self.extend(rel, values, span) }
            }
            OperatorKind::Project(values) => self.project(rel, values, span),
            OperatorKind::ProjectAway(patterns) => Self::project_away(rel, patterns, span),
            OperatorKind::ProjectKeep(patterns) => Self::project_keep(rel, patterns, span),
            OperatorKind::ProjectRename(pairs) => Self::project_rename(rel, pairs, span),
            OperatorKind::ProjectReorder(entries) => Self::project_reorder(rel, entries, span),
            OperatorKind::Summarize(summarize) => self.summarize(rel, summarize, span),
            OperatorKind::Sort { keys, .. } => self.sort(rel, keys, span),
            OperatorKind::Take(count) => {
                let count = self.constant_count(count)?;
                Ok(rel.take(count, span))
            }
            OperatorKind::Top(top) => {
                let count = self.constant_count(&top.count)?;
                Ok(self.sort(rel, &top.keys, span)?.take(count, span))
            }
            OperatorKind::Count(name) => Ok(Self::count(rel, name.as_ref(), span)),
            OperatorKind::Distinct(values) => self.distinct(rel, values, span),
            OperatorKind::Sample(count) => self.sample(rel, count, span),
            OperatorKind::SampleDistinct { count, of } => self.sample_distinct(rel, count, of, span),
            OperatorKind::ProjectByNames(names) => self.project_by_names(rel, names, span),
            OperatorKind::TopHitters(hitters) => self.top_hitters(rel, hitters, span),
            OperatorKind::TopNested(levels) => self.top_nested(rel, levels, span),
            OperatorKind::Reduce(reduce) => self.reduce(rel, reduce, span),
            OperatorKind::Scan(asked) => self.scan(rel, asked, span),
            OperatorKind::Join(join) => self.join(rel, join, span),
            OperatorKind::Lookup(lookup) => self.lookup(rel, lookup, span),
            OperatorKind::Union(union) => self.union(Some(rel), union, span),
            OperatorKind::Search(search) => self.search(Some(rel), search, span),
            OperatorKind::Invoke(call) => self.invoke(rel, call),
            OperatorKind::Render(render) => {
                self.render(render)?;
                Ok(rel)
            }
            OperatorKind::As { settings, name } => {
                let rel = if is_materialized(settings) { rel.once(span) } else { rel };
                let rel = Rel { name: Some(name.text.clone()), ..rel };
                self.name_rows(&name.text, &rel);
                Ok(rel)
            }
            OperatorKind::MvExpand(expand) => self.mv_expand(rel, expand, operator.span.of(self.text).starts_with("mvexpand"), span),
            OperatorKind::MvApply(apply) => self.mv_apply(rel, apply, span),
            OperatorKind::Partition(partition) => self.partition(rel, partition, span),
            OperatorKind::Parse(parse) => self.parse(rel, parse, span),
            OperatorKind::ParseKv(parse) => self.parse_kv(rel, parse, span),
            OperatorKind::MakeSeries(series) => self.make_series(rel, series, span),
            OperatorKind::Evaluate(invoke) => self.evaluate(rel, invoke, span),
            OperatorKind::GetSchema => Ok(Self::get_schema(&rel, span)),
            OperatorKind::Broken => Err(Problem::new(span, "SyntaxError", "this operator could not be read")),
            _ => Err(self.unsupported_operator(operator)),
        }
    }

    fn unsupported_operator(&self, operator: &Operator) -> Problem {
        let text = operator.span.of(self.text);
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(text.len());
        let keyword = &text[..end];
        let span = strongroom_kql::Span::new(operator.span.start, operator.span.start + u32::try_from(end).unwrap_or(0));
        Problem::unsupported(span, format!("the operator `{keyword}`"), known::tabular_alternative(keyword))
    }
}

/// `as hint.materialized=true T`
fn is_materialized(settings: &[Setting]) -> bool {
    settings
        .iter()
        .any(|setting| setting.name.text == "hint.materialized" && matches!(setting.value.kind, ExprKind::Literal(Literal::Bool(true))))
}
