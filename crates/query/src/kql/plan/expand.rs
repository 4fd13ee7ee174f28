//! Rows out of cells, and operators that work within each row's elements.
//!
//! `mv-apply` runs its sub-query over all elements at once: a hidden column says which row an element came from, and while the
//! relation is [`Within`] such rows every operator that looks at more than one row at a time keeps to it: groups have it among
//! their keys, orders are orders within it, and `take` counts anew in it. `partition` is the same with a column of the text.

use std::sync::Arc;

use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, ExprFunctionExt, Extension, LogicalPlan, LogicalPlanBuilder, lit};

use super::{OrderColumn, Partial, Planned};
use crate::functions::part;
use crate::kql::bound::{AppliedColumn, BoundColumn, ExpandedColumn, MvExpansion, Rel, TAKEN, column};
use crate::kql::nodes::{CellsOf, ExpandNode, Expansion};

/// The rows are to be looked at in groups.
#[derive(Clone)]
pub(super) struct Within {
    /// Hidden columns: equal for rows of one group.
    keys: Vec<String>,
    /// Hidden columns with one value for all rows of a group, wanted afterwards.
    carried: Vec<String>,
    /// What the order was outside, and whether it was exact.
    order: Vec<OrderColumn>,
    exact: bool,
    outer: Option<Box<Within>>,
}

impl Within {
    /// Every hidden column of it.
    fn columns(&self) -> impl Iterator<Item = &String> {
        self.keys.iter().chain(&self.carried)
    }
}

impl Partial {
    /// The hidden columns that every projection must keep, besides those of the order.
    pub(super) fn kept(&self) -> Vec<Expr> {
        self.within.iter().flat_map(Within::columns).map(|name| column(name).alias(name)).collect()
    }

    /// Keys before a sub-query's own: its groups are groups within a row.
    pub(super) fn outer_groups(&self) -> Vec<Expr> {
        self.within.iter().flat_map(Within::columns).map(|name| column(name)).collect()
    }

    /// The order that brings the rows of each group together.
    pub(super) fn part_keys(&self) -> Vec<Sort> {
        self.within.iter().flat_map(|within| &within.keys).map(|name| Sort::new(column(name), true, true)).collect()
    }

    /// The relation's columns as they are, and the hidden ones.
    fn as_is(&self, visible: &[BoundColumn]) -> Vec<Expr> {
        let hidden = self.order.iter().filter(|key| !visible.iter().any(|there| there.name == key.name));
        let hidden = hidden.map(|key| column(&key.name).alias(&key.name));
        visible.iter().map(|there| column(&there.name).alias(&there.name)).chain(hidden).chain(self.kept()).collect()
    }
}

/// `mv-expand`; with `apply` what follows works within the elements of each row.
pub(super) fn expand(rel: &Rel, input: &Rel, partial: Partial, expansion: &MvExpansion) -> Planned<Partial> {
    let depth = rel.depth;
    let source = |at: usize| format!("\u{1}source{depth}_{at}");
    let cell = |at: usize| format!("\u{1}cell{depth}_{at}");
    let (row, item) = (format!("\u{1}ofrow{depth}"), format!("\u{1}item{depth}"));
    let mut outputs = partial.as_is(&input.columns);
    let Partial { builder, mut order, exact, hidden, within } = partial;
    outputs.extend(expansion.sources.iter().enumerate().map(|(at, (value, _))| value.clone().alias(source(at))));
    let mut carried = Vec::new();
    if expansion.apply {
        // Under names of their own: the sub-query may do with the columns what it likes.
        for (at, there) in input.columns.iter().enumerate() {
            let name = outer_name(depth, at);
            outputs.push(column(&there.name).alias(&name));
            carried.push(name);
        }
        for (at, key) in order.iter_mut().enumerate() {
            let name = format!("\u{1}outerorder{depth}_{at}");
            outputs.push(column(&key.name).alias(&name));
            carried.push(name.clone());
            key.name = name;
        }
    }
    let numbered = expansion.apply || (!exact && !order.is_empty());
    let cells = expansion.sources.iter().enumerate();
    let expanded = Expansion {
        cells: cells.map(|(at, (_, kind))| CellsOf { source: column(&source(at)), name: cell(at), kind: *kind }).collect(),
        pairs: expansion.pairs,
        limit: expansion.limit,
        row: numbered.then(|| row.clone()),
        item: Some(item.clone()),
    };
    let node = Arc::new(ExpandNode::new(builder.project(outputs)?.build()?, expanded)?);
    let builder = LogicalPlanBuilder::new(LogicalPlan::Extension(Extension { node }));
    let value = |shown: &ExpandedColumn| match shown {
        ExpandedColumn::Input(name) => column(name),
        ExpandedColumn::Cell(at) => column(&cell(*at)),
        ExpandedColumn::Item => column(&item),
    };
    let values: Vec<Expr> = expansion.columns.iter().map(value).collect();
    if expansion.apply {
        carried.extend(within.iter().flat_map(Within::columns).cloned());
        let within = Some(Within { keys: vec![row], carried, order, exact, outer: within.map(Box::new) });
        let order = vec![OrderColumn::counting(item)];
        return super::project(rel, Partial { builder, order, exact: true, hidden, within }, &values);
    }
    if exact {
        order.push(OrderColumn::counting(item));
    } else if !order.is_empty() {
        order.extend([OrderColumn::counting(row), OrderColumn::counting(item)]);
    }
    super::project(rel, Partial { builder, order, exact, hidden, within }, &values)
}

fn outer_name(depth: usize, at: usize) -> String {
    format!("\u{1}outer{depth}_{at}")
}

/// What follows works within the rows of each value of the key.
pub(super) fn partition(rel: &Rel, partial: Partial, key: &Expr) -> Planned<Partial> {
    let name = format!("\u{1}part{}", rel.depth);
    let mut outputs = partial.as_is(&rel.columns);
    outputs.push(key.clone().alias(&name));
    let Partial { builder, order, exact, hidden, within } = partial;
    let carried = within.iter().flat_map(Within::columns).cloned().collect();
    // The parts come in no order, whatever it was before.
    let within = Within { keys: vec![name], carried, order: Vec::new(), exact: false, outer: within.map(Box::new) };
    Ok(Partial { builder: builder.project(outputs)?, order, exact, hidden, within: Some(within) })
}

/// The end of a sub-query: its columns, and those of the rows it worked within.
pub(super) fn applied(rel: &Rel, partial: Partial, depth: usize, columns: &[AppliedColumn]) -> Planned<Partial> {
    let Partial { builder, order: inner, exact: inner_exact, hidden, within } = partial;
    let Some(Within { keys, mut order, exact, outer, .. }) = within else {
        return datafusion::common::plan_err!("a sub-query ends that did not begin");
    };
    let value = |shown: &AppliedColumn| match shown {
        AppliedColumn::Outer(at) => column(&outer_name(depth, *at)),
        AppliedColumn::Inner(name) => column(name),
    };
    let values: Vec<Expr> = columns.iter().map(value).collect();
    if exact {
        order.extend(inner);
    } else if !order.is_empty() {
        order.extend(keys.into_iter().map(OrderColumn::counting));
        order.extend(inner);
    }
    let within = outer.map(|outer| *outer);
    super::project(rel, Partial { builder, order, exact: exact && inner_exact, hidden, within }, &values)
}

/// The first rows of each group.
pub(super) fn first_rows(partial: Partial, count: usize) -> Planned<Partial> {
    let Some(within) = &partial.within else { return Ok(partial) };
    let name = format!("\u{1}number{}", partial.builder.schema().fields().len());
    let keys: Vec<Expr> = within.keys.iter().map(|key| column(key)).collect();
    let number = row_number().partition_by(keys).order_by(partial.keys()).build()?.alias(&name);
    let all: Vec<Expr> = partial.builder.schema().fields().iter().map(|field| column(field.name()).alias(field.name())).collect();
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let builder = partial.builder.window(vec![number])?.filter(column(&name).lt_eq(lit(count)))?.project(all)?;
    Ok(Partial { builder, ..partial })
}

/// Columns out of a text that is taken apart once.
pub(super) fn taken(rel: &Rel, input: &Rel, partial: Partial, taken: &Expr, filters: Option<usize>, values: &[Expr]) -> Planned<Partial> {
    let mut outputs = partial.as_is(&input.columns);
    outputs.push(taken.clone().alias(TAKEN));
    let mut builder = partial.builder.clone().project(outputs)?;
    if let Some(fields) = filters {
        // Behind the fields.
        builder = builder.filter(part(column(TAKEN), fields))?;
    }
    super::project(rel, Partial { builder, ..partial }, values)
}
