//! Rows out of cells, and queries within rows: `mv-expand`, `mv-apply`, `partition`.

use std::sync::Arc;

use strongroom_kql::Span;
use strongroom_kql::ast::{self, Expr, ExprKind, MvColumn, PartitionBody};
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{AppliedColumn, BoundColumn, ExpandedColumn, MvExpansion, Rel, RelNode};
use crate::kql::expr::{Scope, convert, kind_of};
use crate::kql::names::{Namer, automatic};
use crate::kql::problem::{Outcome, Problem};

/// Most rows that `mvexpand`, the old way to write it, makes of one.
const OLD_LIMIT: u64 = 128;

/// Most rows of one, if nothing is said: what Kusto says.
const LIMIT: u64 = i32::MAX as u64;

impl Binder<'_> {
    /// `old`: it was written `mvexpand`.
    pub(super) fn mv_expand(&mut self, rel: Rel, expand: &ast::MvExpand, old: bool, span: Span) -> Outcome<Rel> {
        let limit = match &expand.limit {
            Some(limit) => self.constant_count(limit)? as u64,
            None if old => OLD_LIMIT,
            None => LIMIT,
        };
        let shape = Shape { pairs: expand.bag_as_array, limit, apply: false };
        self.expanded(rel, &expand.columns, expand.item_index.as_ref().map(|name| name.text.as_str()), shape, span)
    }

    /// Columns that are expanded stay in their places; those under new names come behind.
    fn expanded(&mut self, rel: Rel, cells: &[MvColumn], item: Option<&str>, shape: Shape, span: Span) -> Outcome<Rel> {
        let Shape { pairs, limit, apply } = shape;
        let mut columns: Vec<(BoundColumn, ExpandedColumn)> =
            rel.columns.iter().map(|there| (there.clone(), ExpandedColumn::Input(there.name.clone()))).collect();
        let mut namer = Namer::taken(rel.columns.iter().map(|there| there.name.as_str()));
        let mut sources = Vec::with_capacity(cells.len());
        for (at, cell) in cells.iter().enumerate() {
            let value = self.value(&cell.value.value, Scope::of(&rel.columns))?;
            let kind = cell.to.map_or(value.kind, kind_of);
            let name = match cell.value.names.first() {
                Some(name) => Some(name.text.clone()),
                None => automatic(&cell.value.value),
            };
            let name = name.unwrap_or_else(|| namer.automatic(None));
            let own = (BoundColumn::new(name, kind), ExpandedColumn::Cell(at));
            if let Some(there) = columns.iter_mut().find(|(there, _)| there.name == own.0.name) {
                *there = own;
            } else {
                namer.take(&own.0.name);
                columns.push(own);
            }
            sources.push((convert(value, ColumnType::Dynamic).expr, kind));
        }
        if let Some(item) = item {
            columns.push((BoundColumn::new(namer.unique(item), ColumnType::Long), ExpandedColumn::Item));
        }
        let (columns, shown) = columns.into_iter().unzip();
        let expansion = MvExpansion { sources, pairs, limit, columns: shown, apply };
        let depth = rel.depth;
        Ok(Rel::over(depth, RelNode::Expand { input: Arc::new(rel), expansion }, columns, span))
    }

    /// The sub-query's columns behind those of the row that were not expanded.
    pub(super) fn mv_apply(&mut self, rel: Rel, apply: &ast::MvApply, span: Span) -> Outcome<Rel> {
        let limit = match &apply.limit {
            Some(limit) => self.constant_count(limit)? as u64,
            None => LIMIT,
        };
        let consumed: Vec<String> = apply.columns.iter().filter_map(consumed).collect();
        let outer = rel.columns.clone();
        let shape = Shape { pairs: apply.bag_as_array, limit, apply: true };
        let item = apply.item_index.as_ref().map(|name| name.text.as_str());
        let expanded = self.expanded(rel, &apply.columns, item, shape, span)?;
        let depth = expanded.depth;
        let inner = self.operators(expanded, &apply.subquery)?;
        let mut columns = Vec::new();
        for (at, there) in outer.into_iter().enumerate() {
            if !consumed.contains(&there.name) {
                columns.push((there, AppliedColumn::Outer(at)));
            }
        }
        for there in &inner.columns {
            let own = (there.clone(), AppliedColumn::Inner(there.name.clone()));
            match columns.iter_mut().find(|(outer, _)| outer.name == there.name) {
                Some(outer) => *outer = own,
                None => columns.push(own),
            }
        }
        Ok(applied(inner, depth, columns, span))
    }

    /// The sub-query over the rows of each value of the key by themselves.
    pub(super) fn partition(&mut self, rel: Rel, partition: &ast::Partition, span: Span) -> Outcome<Rel> {
        let key = self.value(&partition.by, Scope::of(&rel.columns))?;
        if key.kind == ColumnType::Dynamic {
            return Err(Problem::mismatch(key.span, "rows cannot be parted by a dynamic value").hint("cast it, e.g. `tostring(..)`"));
        }
        let PartitionBody::Operators(operators) = &partition.body else {
            return Err(Problem::unsupported(span, "`partition` with a query in braces", Some("write the operators in parentheses")));
        };
        let columns = rel.columns.clone();
        let rel = Rel::over(rel.depth, RelNode::Parts { key: key.solid(), input: Arc::new(rel) }, columns, span);
        let depth = rel.depth;
        let inner = self.operators(rel, operators)?;
        let columns = inner.columns.iter().map(|there| (there.clone(), AppliedColumn::Inner(there.name.clone()))).collect();
        Ok(applied(inner, depth, columns, span))
    }
}

/// What an expansion is like.
#[derive(Clone, Copy, Debug)]
struct Shape {
    pairs: bool,
    limit: u64,
    apply: bool,
}

/// The column that is replaced by its elements: a plain one without a new name.
fn consumed(column: &MvColumn) -> Option<String> {
    match (&column.value.value, column.value.names.as_slice()) {
        (Expr { kind: ExprKind::Name(name), .. }, []) => Some(name.clone()),
        _ => None,
    }
}

fn applied(inner: Rel, depth: usize, columns: Vec<(BoundColumn, AppliedColumn)>, span: Span) -> Rel {
    let (columns, shown) = columns.into_iter().unzip();
    Rel::over(inner.depth, RelNode::Applied { input: Arc::new(inner), depth, columns: shown }, columns, span)
}
