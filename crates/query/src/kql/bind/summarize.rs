//! `summarize`: groups first, then aggregates, in the order written.

use std::cell::RefCell;
use std::sync::Arc;

use strongroom_kql::Span;
use strongroom_kql::ast::{self, Argument, ExprKind, Name, NamedExpr};
use strongroom_model::ColumnType;

use crate::functions::{self, BoundAggregate, Typed};
use crate::kql::Binder;
use crate::kql::bound::{Aggregate, Bound, BoundColumn, Rel, RelNode, column};
use crate::kql::expr::Scope;
use crate::kql::names::{self, Namer, automatic};
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

/// The aggregates one `summarize` needs: each is computed once, however often it is written.
#[derive(Debug, Default)]
pub(in crate::kql) struct Collector {
    calls: Vec<BoundAggregate>,
    /// Columns grouped by: `*` leaves them out.
    keys: Vec<String>,
}

impl Collector {
    /// Remembers a call; its place among the aggregates.
    fn add(&mut self, call: BoundAggregate) -> usize {
        if call.columns.len() == 1
            && let Some(at) = self.calls.iter().position(|there| there.call == call.call && there.columns == call.columns)
        {
            return at;
        }
        self.calls.push(call);
        self.calls.len() - 1
    }
}

/// How those columns' names begin.
const PLACE: &str = "\u{1}aggregate";

/// The column that holds aggregate number `at` before its values are taken out of it.
fn place(at: usize) -> String {
    format!("{PLACE}{at}")
}

impl Binder<'_> {
    pub(super) fn summarize(&mut self, rel: Rel, summarize: &ast::Summarize, span: Span) -> Outcome<Rel> {
        let mut namer = Namer::default();
        let mut keys = Vec::new();
        let mut groups = Vec::with_capacity(summarize.by.len());
        for key in &summarize.by {
            let value = self.value(&key.value, Scope::of(&rel.columns))?;
            if value.kind == ColumnType::Dynamic {
                return Err(Problem::mismatch(value.span, "rows cannot be grouped by a dynamic value").hint("cast it, e.g. `tostring(..)`"));
            }
            if let ExprKind::Name(name) = &key.value.kind {
                keys.push(name.clone());
            }
            let name = match key.names.first() {
                Some(name) => namer.unique(&name.text),
                None => namer.automatic(automatic(&key.value)),
            };
            groups.push((name, value));
        }
        let collector = RefCell::new(Collector { calls: Vec::new(), keys });
        let mut outputs: Vec<(String, Bound)> =
            groups.iter().map(|(name, value)| (name.clone(), Bound::new(column(name), value.kind, value.span))).collect();
        for aggregate in &summarize.aggregates {
            self.summarized(aggregate, &rel, &collector, &mut namer, &mut outputs)?;
        }
        let collector = collector.into_inner();
        if groups.is_empty() && collector.calls.is_empty() {
            return Err(Problem::new(span, "AggregateNeeded", "`summarize` without an aggregate and without `by` gives nothing"));
        }
        let mut columns: Vec<BoundColumn> = groups.iter().map(|(name, value)| BoundColumn::new(name.clone(), value.kind)).collect();
        // The kind of a raw aggregate does not matter: its values are taken out right above it.
        columns.extend((0..collector.calls.len()).map(|at| BoundColumn::new(place(at), ColumnType::Dynamic)));
        let aggregates = collector.calls.into_iter().map(|call| Aggregate { call: call.call, ordered: call.ordered }).collect();
        let depth = rel.depth;
        let node = RelNode::Aggregate { groups: groups.iter().map(|(_, value)| value.solid()).collect(), aggregates, input: Arc::new(rel) };
        Ok(Rel::over(depth, node, columns, span).project(outputs, span))
    }

    /// One entry: an aggregate with one or several columns, or an expression over aggregates.
    fn summarized(
        &mut self,
        entry: &NamedExpr,
        rel: &Rel,
        collector: &RefCell<Collector>,
        namer: &mut Namer,
        outputs: &mut Vec<(String, Bound)>,
    ) -> Outcome<()> {
        if let ExprKind::Call { receiver: None, function, arguments } = &entry.value.kind
            && functions::aggregate(&function.text).is_some()
            && self.function(&function.text).is_none()
        {
            let (arguments, derived) = self.aggregate_arguments(function, arguments, rel, collector)?;
            let call = bind_aggregate(function, &arguments)?;
            let kinds = call.columns.clone();
            let at = collector.borrow_mut().add(call);
            let call = collector.borrow().calls[at].clone();
            for index in 0..kinds.len() {
                let value = call.value(column(&place(at)), index);
                let name = match (entry.names.get(index), derived.get(index)) {
                    (Some(name), _) => namer.unique(&name.text),
                    (None, Some(derived)) => namer.unique(derived),
                    (None, None) => namer.automatic(None),
                };
                outputs.push((name, Bound::new(value.expr, value.kind, entry.span)));
            }
            return Ok(());
        }
        let scope = Scope { columns: &rel.columns, aggregates: Some(collector) };
        let value = self.value(&entry.value, scope)?;
        let bare = value.expr.column_refs().iter().any(|there| !there.name.starts_with(PLACE));
        if bare || collector.borrow().calls.is_empty() && value.literal().is_none() {
            return Err(Problem::new(entry.value.span, "AggregateNeeded", "`summarize` takes aggregates such as `count()` here")
                .hint("wrap it, e.g. `take_any(..)`, or put it after `by`"));
        }
        let name = match entry.names.first() {
            Some(name) => namer.unique(&name.text),
            None => namer.automatic(automatic(&entry.value)),
        };
        outputs.push((name, value));
        Ok(())
    }

    /// An aggregate inside an expression: a value over the aggregation's output.
    pub(in crate::kql) fn aggregate_call(
        &mut self,
        function: &Name,
        arguments: &[Argument],
        span: Span,
        scope: Scope<'_>,
        collector: &RefCell<Collector>,
    ) -> Outcome<Bound> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(&argument.value, Scope::of(scope.columns))?);
        }
        let call = bind_aggregate(function, &values)?;
        let at = collector.borrow_mut().add(call);
        let value = collector.borrow().calls[at].value(column(&place(at)), 0);
        Ok(Bound::new(value.expr, value.kind, span))
    }

    /// Arguments with `*` and patterns written out, and the names the columns get.
    fn aggregate_arguments(
        &mut self,
        function: &Name,
        arguments: &[Argument],
        rel: &Rel,
        collector: &RefCell<Collector>,
    ) -> Outcome<(Vec<Bound>, Vec<String>)> {
        let scope = Scope::of(&rel.columns);
        let written = names::aggregate(&function.text, arguments.iter().map(|argument| &argument.value));
        let extreme = function.text.starts_with("arg") || function.text.starts_with("take_any") || function.text == "any";
        if !extreme || !arguments.iter().any(|a| matches!(a.value.kind, ExprKind::Star | ExprKind::Wildcard(_))) {
            let values = arguments.iter().map(|argument| self.value(&argument.value, scope)).collect::<Outcome<Vec<_>>>()?;
            return Ok((values, written));
        }
        let (mut values, mut derived) = (Vec::new(), Vec::new());
        for (argument, name) in arguments.iter().zip(written) {
            let pattern = match &argument.value.kind {
                ExprKind::Star => "*",
                ExprKind::Wildcard(pattern) => pattern,
                _ => {
                    values.push(self.value(&argument.value, scope)?);
                    derived.push(name);
                    continue;
                }
            };
            let pattern = crate::kql::tables::pattern(pattern, argument.value.span);
            for there in &rel.columns {
                if pattern.matches(&there.name) && !collector.borrow().keys.contains(&there.name) && !derived.contains(&there.name) {
                    values.push(there.bound(argument.value.span));
                    derived.push(there.name.clone());
                }
            }
        }
        Ok((values, derived))
    }
}

pub(super) fn bind_aggregate(function: &Name, arguments: &[Bound]) -> Outcome<BoundAggregate> {
    let Some(spec) = functions::aggregate(&function.text) else { return Err(registry::unknown(&function.text, function.span)) };
    let typed = arguments.iter().map(|argument| Typed::new(argument.expr.clone(), argument.kind)).collect();
    spec.bind(typed).map_err(|misfit| registry::complain(misfit, function.span, arguments))
}
