//! Operators that work on each row by itself: which columns there are and what is in them.

use strongroom_kql::Span;
use strongroom_kql::ast::{ColumnPattern, ExprKind, Name, NamedExpr, Reorder, ReorderOrder};
use strongroom_model::ColumnType;

use crate::functions::{self, PathStep};
use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel};
use crate::kql::expr::{Scope, overflow_hint};
use crate::kql::names::{Namer, automatic};
use crate::kql::problem::{Outcome, Problem};

impl Binder<'_> {
    /// New columns at the end, existing ones replaced in place; all values see the input.
    pub(super) fn extend(&mut self, rel: Rel, values: &[NamedExpr], span: Span) -> Outcome<Rel> {
        let (rel, outputs) = self.with_rows(rel, |binder, rel| binder.extended(rel, values))?;
        Ok(rel.project(outputs, span))
    }

    fn extended(&mut self, rel: &Rel, values: &[NamedExpr]) -> Outcome<Vec<(String, Bound)>> {
        let mut outputs = rel.outputs();
        let mut namer = Namer::taken(rel.columns.iter().map(|c| c.name.as_str()));
        for value in values {
            if let Some(columns) = self.several(value, Scope::of(&rel.columns))? {
                let given_names = value.names.len();
                for (at, (derived, bound)) in columns.into_iter().enumerate() {
                    let given = value.names.get(at).map(|name| name.text.clone());
                    // Columns beyond the names are left out.
                    if given.is_none() && given_names > 0 {
                        break;
                    }
                    let name = given.unwrap_or(derived);
                    if let Some(at) = outputs.iter().position(|(there, _)| *there == name) {
                        outputs[at].1 = bound;
                    } else {
                        namer.take(&name);
                        outputs.push((name, bound));
                    }
                }
                continue;
            }
            let bound = self.value(&value.value, Scope::of(&rel.columns))?;
            for (name, bound) in split(value, bound) {
                match name {
                    Some(name) => {
                        if let Some(at) = outputs.iter().position(|(there, _)| *there == name) {
                            outputs[at].1 = bound;
                        } else {
                            namer.take(&name);
                            outputs.push((name, bound));
                        }
                    }
                    None if matches!(value.value.kind, ExprKind::Name(_)) && is_input(rel, &value.value.kind) => {}
                    None => outputs.push((namer.automatic(automatic(&value.value)), bound)),
                }
            }
        }
        Ok(outputs)
    }

    /// These columns in this order.
    pub(super) fn project(&mut self, rel: Rel, values: &[NamedExpr], span: Span) -> Outcome<Rel> {
        let (rel, outputs) = self.with_rows(rel, |binder, rel| binder.named_values(rel, values))?;
        Ok(rel.project(outputs, span))
    }

    /// Values with their names, given or derived.
    pub(super) fn named_values(&mut self, rel: &Rel, values: &[NamedExpr]) -> Outcome<Vec<(String, Bound)>> {
        let mut outputs = Vec::with_capacity(values.len());
        let mut namer = Namer::default();
        for value in values {
            if let Some(columns) = self.several(value, Scope::of(&rel.columns))? {
                for (at, (derived, bound)) in columns.into_iter().enumerate() {
                    let name = value.names.get(at).map_or(derived, |name| name.text.clone());
                    outputs.push((namer.unique(&name), bound));
                }
                continue;
            }
            let bound = self.value(&value.value, Scope::of(&rel.columns))?;
            for (name, bound) in split(value, bound) {
                let name = match name {
                    Some(name) => namer.unique(&name),
                    None => namer.automatic(automatic(&value.value)),
                };
                outputs.push((name, bound));
            }
        }
        Ok(outputs)
    }

    pub(super) fn project_away(rel: Rel, patterns: &[ColumnPattern], span: Span) -> Outcome<Rel> {
        check_patterns(&rel, patterns)?;
        let outputs = rel.outputs().into_iter().filter(|(name, _)| !patterns.iter().any(|pattern| pattern.matches(name))).collect();
        Ok(rel.project(outputs, span))
    }

    pub(super) fn project_keep(rel: Rel, patterns: &[ColumnPattern], span: Span) -> Outcome<Rel> {
        check_patterns(&rel, patterns)?;
        let outputs = rel.outputs().into_iter().filter(|(name, _)| patterns.iter().any(|pattern| pattern.matches(name))).collect();
        Ok(rel.project(outputs, span))
    }

    pub(super) fn project_rename(rel: Rel, pairs: &[(Name, Name)], span: Span) -> Outcome<Rel> {
        let mut outputs = rel.outputs();
        for (new, old) in pairs {
            let Some(at) = rel.columns.iter().position(|column| column.name == old.text) else {
                return Err(unknown_column(&rel, &old.text, old.span));
            };
            outputs[at].0.clone_from(&new.text);
        }
        for (at, (name, _)) in outputs.iter().enumerate() {
            if outputs[..at].iter().any(|(there, _)| there == name) {
                let place = pairs.iter().find(|(new, _)| new.text == *name).map_or(span, |(new, _)| new.span);
                return Err(Problem::new(place, "DuplicateColumn", format!("there is already a column `{name}`")));
            }
        }
        Ok(rel.project(outputs, span))
    }

    /// The listed ones first, the rest as they were.
    pub(super) fn project_reorder(rel: Rel, entries: &[Reorder], span: Span) -> Outcome<Rel> {
        let mut left: Vec<(String, Bound)> = rel.outputs();
        let mut outputs = Vec::with_capacity(left.len());
        for entry in entries {
            check_patterns(&rel, std::slice::from_ref(&entry.columns))?;
            let (mut matched, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|(name, _)| entry.columns.matches(name));
            left = rest;
            match entry.order {
                Some(ReorderOrder::Asc) => matched.sort_by(|a, b| a.0.cmp(&b.0)),
                Some(ReorderOrder::Desc) => matched.sort_by(|a, b| b.0.cmp(&a.0)),
                Some(ReorderOrder::GrannyAsc) => matched.sort_by_cached_key(|(name, _)| granny(name)),
                Some(ReorderOrder::GrannyDesc) => {
                    matched.sort_by_cached_key(|(name, _)| granny(name));
                    matched.reverse();
                }
                None => {}
            }
            outputs.extend(matched);
        }
        outputs.extend(left);
        Ok(rel.project(outputs, span))
    }
}

/// `(a, b) = value`: the elements of a dynamic array; otherwise the value under its one name or none.
fn split(value: &NamedExpr, bound: Bound) -> Vec<(Option<String>, Bound)> {
    match value.names.as_slice() {
        [] => vec![(None, bound)],
        [name] => vec![(Some(name.text.clone()), bound)],
        names if bound.kind == ColumnType::Dynamic => (0_i64..)
            .zip(names)
            .map(|(at, name)| {
                let element = functions::dynamic_get(bound.expr.clone(), &[PathStep::Index(at)]);
                (Some(name.text.clone()), Bound::new(element.expr, element.kind, name.span))
            })
            .collect(),
        [first, ..] => vec![(Some(first.text.clone()), bound)],
    }
}

fn is_input(rel: &Rel, kind: &ExprKind) -> bool {
    matches!(kind, ExprKind::Name(name) if rel.columns.iter().any(|column| column.name == *name))
}

/// A column that is named and not there is a mistake; a pattern may match nothing.
fn check_patterns(rel: &Rel, patterns: &[ColumnPattern]) -> Outcome<()> {
    for pattern in patterns {
        if !pattern.wildcard && !rel.columns.iter().any(|column| column.name == pattern.text) {
            return Err(unknown_column(rel, &pattern.text, pattern.span));
        }
    }
    Ok(())
}

pub(super) fn unknown_column(rel: &Rel, name: &str, span: Span) -> Problem {
    let problem = Problem::new(span, "UnknownColumn", format!("there is no column `{name}` here"));
    if let Some(hint) = overflow_hint(&rel.columns, name) {
        return problem.hint(hint);
    }
    match strongroom_kql::closest(name, rel.columns.iter().map(|column: &BoundColumn| column.name.as_str())) {
        Some(near) => problem.hint(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// A name cut into text and numbers, so that `a2` comes before `a10`.
fn granny(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let number_end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(number_end);
        parts.push((text.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = after;
    }
    parts
}
