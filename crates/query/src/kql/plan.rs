//! From the bound tree to DataFusion's plan.
//!
//! DataFusion keeps no order that nothing asks for, so `sort` is carried along here as keys in (perhaps hidden) columns and put
//! into the plan where it counts: under a `take`, inside an aggregate that needs it, and on top of the answer.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::Field;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, NullEquality, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Union, binary_expr, lit};
use strongroom_model::ColumnType;

use super::bound::{Aggregate, BoundColumn, Key, Rel, RelNode, column};
use super::gather;
use super::problem::{Outcome, Problem};

type Planned<T> = Result<T, DataFusionError>;

/// The plan of an answer: columns in order, under their names, marked with their KQL types; rows in the order last asked for.
pub(super) fn answer(rel: &Rel) -> Outcome<LogicalPlan> {
    finished(rel, true).map_err(|error| Problem::planner(rel.span, &error))
}

/// The plan of a sub-query: the same, without marks.
pub(super) fn logical(rel: &Rel) -> Outcome<LogicalPlan> {
    finished(rel, false).map_err(|error| Problem::planner(rel.span, &error))
}

/// A plan under way.
struct Partial {
    builder: LogicalPlanBuilder,
    /// The order the rows are meant to be in. Its columns are in the plan, perhaps beyond the relation's own.
    order: Vec<OrderColumn>,
    /// How many hidden columns were made, for their names.
    hidden: usize,
}

#[derive(Clone)]
struct OrderColumn {
    name: String,
    ascending: bool,
    nulls_first: bool,
}

impl Partial {
    fn unordered(builder: LogicalPlanBuilder) -> Self {
        Self { builder, order: Vec::new(), hidden: 0 }
    }

    fn keys(&self) -> Vec<Sort> {
        self.order.iter().map(|key| Sort::new(column(&key.name), key.ascending, key.nulls_first)).collect()
    }

    /// With the rows in order, if one was asked for.
    fn sorted(self, fetch: Option<usize>) -> Planned<Self> {
        if self.order.is_empty() {
            return Ok(self);
        }
        let keys = self.keys();
        Ok(Self { builder: self.builder.sort_with_limit(keys, fetch)?, ..self })
    }
}

fn finished(rel: &Rel, marked: bool) -> Planned<LogicalPlan> {
    let mut partial = lower(rel)?;
    let mut values: Vec<Expr> = rel.columns.iter().map(|column| finished_column(column, marked)).collect();
    let visible = values.len();
    for key in &mut partial.order {
        match rel.columns.iter().find(|column| column.name == key.name) {
            Some(_) => {}
            None => values.push(column(&key.name).alias(&key.name)),
        }
    }
    let hidden = values.len() > visible;
    // Computed below the sort: what lies above it must not be worth spreading over threads again.
    let partial = Partial { builder: partial.builder.project(values)?, order: partial.order, hidden: 0 }.sorted(None)?;
    let builder = if hidden { partial.builder.project(rel.columns.iter().map(|c| marked_column(c, marked)))? } else { partial.builder };
    builder.build()
}

/// A column of the answer: strings are never null.
fn finished_column(there: &BoundColumn, marked: bool) -> Expr {
    alias(there.bound(strongroom_kql::Span::default()).solid(), there, marked)
}

fn marked_column(there: &BoundColumn, marked: bool) -> Expr {
    alias(column(&there.name), there, marked)
}

fn alias(value: Expr, there: &BoundColumn, marked: bool) -> Expr {
    let field: Field = there.kind.query_field(&there.name);
    if marked && !field.metadata().is_empty() {
        return value.alias_with_metadata(&there.name, Some(FieldMetadata::from(field.metadata().clone())));
    }
    value.alias(&there.name)
}

/// Without order and hidden columns: what other relations are built from.
fn settled(rel: &Rel) -> Planned<LogicalPlanBuilder> {
    let partial = lower(rel)?;
    if partial.builder.schema().fields().len() == rel.columns.len() {
        return Ok(partial.builder);
    }
    partial.builder.project(rel.columns.iter().map(|there| column(&there.name).alias(&there.name)))
}

fn lower(rel: &Rel) -> Planned<Partial> {
    match &rel.node {
        RelNode::Table { name, provider } => {
            let builder = LogicalPlanBuilder::scan(TableReference::bare(name.as_str()), provider_as_source(Arc::clone(provider)), None)?;
            let schema = provider.schema();
            let engine_form = rel.columns.len() == schema.fields().len()
                && rel.columns.iter().zip(schema.fields()).all(|(column, field)| *field.data_type() == column.kind.query_type());
            if engine_form {
                return Ok(Partial::unordered(builder));
            }
            let values: Vec<Expr> = rel.columns.iter().map(|there| fitted(column(&there.name), there, &builder)).collect();
            Ok(Partial::unordered(builder.project(values)?))
        }
        RelNode::Values(batch) => {
            let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]])?;
            Ok(Partial::unordered(LogicalPlanBuilder::scan(TableReference::bare("values"), provider_as_source(Arc::new(table)), None)?))
        }
        RelNode::OneRow => Ok(Partial::unordered(LogicalPlanBuilder::empty(true))),
        RelNode::Filter { input, predicate } => {
            let partial = lower(input)?;
            Ok(Partial { builder: partial.builder.filter(predicate.clone())?, ..partial })
        }
        RelNode::Project { input, values } => project(rel, lower(input)?, values),
        RelNode::Sort { input, keys } => sort(lower(input)?, &input.columns, keys),
        RelNode::Take { input, count } => {
            let partial = lower(input)?.sorted(Some(*count))?;
            Ok(Partial { builder: partial.builder.limit(0, Some(*count))?, ..partial })
        }
        RelNode::Aggregate { input, groups, aggregates } => aggregate(rel, lower(input)?, groups, aggregates),
        RelNode::Union(inputs) => {
            let plans = inputs.iter().map(|input| Ok(Arc::new(settled(input)?.build()?))).collect::<Planned<Vec<_>>>()?;
            match plans.as_slice() {
                [only] => Ok(Partial::unordered(LogicalPlanBuilder::new_from_arc(Arc::clone(only)))),
                _ => Ok(Partial::unordered(LogicalPlanBuilder::new(LogicalPlan::Union(Union::try_new(plans)?)))),
            }
        }
        RelNode::Join { left, right, kind, on } => join(rel, left, right, *kind, on),
        RelNode::FirstPerKey { input, keys } => first_per_key(rel, input, keys),
    }
}

/// Computes columns; those of the order are carried along, hidden if the relation has none like them.
fn project(rel: &Rel, partial: Partial, values: &[Expr]) -> Planned<Partial> {
    let Partial { builder, mut order, mut hidden } = partial;
    let mut outputs = Vec::with_capacity(values.len() + order.len());
    for (there, value) in rel.columns.iter().zip(values) {
        outputs.push(fitted(value.clone(), there, &builder));
    }
    for key in &mut order {
        let kept = values.iter().position(|value| matches!(value, Expr::Column(found) if found.name == key.name));
        if let Some(at) = kept {
            key.name.clone_from(&rel.columns[at].name);
        } else {
            let name = hidden_name(hidden);
            hidden += 1;
            outputs.push(column(&key.name).alias(&name));
            key.name = name;
        }
    }
    Ok(Partial { builder: builder.project(outputs)?, order, hidden })
}

/// A value under its column's name and of exactly its Arrow type.
fn fitted(value: Expr, there: &BoundColumn, builder: &LogicalPlanBuilder) -> Expr {
    let wanted = there.kind.query_type();
    let value = match value.get_type(builder.schema()) {
        Ok(found) if found == wanted => value,
        Ok(_) => Expr::Cast(Cast::new(Box::new(value), wanted)),
        // Sub-queries and other things only the analyzer can type.
        Err(_) => value,
    };
    value.alias(&there.name)
}

fn hidden_name(at: usize) -> String {
    format!("\u{1}order{at}")
}

/// Remembers an order. Keys that are not plain columns are computed into hidden ones.
fn sort(partial: Partial, columns: &[BoundColumn], keys: &[Key]) -> Planned<Partial> {
    let Partial { builder, mut hidden, .. } = partial;
    let mut order = Vec::with_capacity(keys.len());
    let mut extra = Vec::new();
    for key in keys {
        let solid = key.value.solid();
        if key.value.kind == ColumnType::Real {
            // NaN sits next to null: before numbers if nulls are first, behind them if last.
            let is_number = binary_expr(
                binary_expr(solid.clone(), Operator::LtEq, lit(f64::INFINITY)),
                Operator::And,
                binary_expr(solid.clone(), Operator::GtEq, lit(f64::NEG_INFINITY)),
            );
            let name = hidden_name(hidden);
            hidden += 1;
            extra.push(is_number.alias(&name));
            order.push(OrderColumn { name, ascending: key.nulls_first, nulls_first: key.nulls_first });
        }
        // A null text in storage is the empty one. Both come first going up, so where nothing else decides the plain column will do.
        let alone = keys.len() == 1 && key.ascending == key.nulls_first;
        let name = match (&solid, &key.value.expr) {
            (Expr::Column(plain), _) => plain.name.clone(),
            (_, Expr::Column(plain)) if alone => plain.name.clone(),
            _ => {
                let name = hidden_name(hidden);
                hidden += 1;
                extra.push(solid.alias(&name));
                name
            }
        };
        order.push(OrderColumn { name, ascending: key.ascending, nulls_first: key.nulls_first });
    }
    let builder = if extra.is_empty() {
        builder
    } else {
        let own = columns.iter().map(|there| column(&there.name).alias(&there.name));
        builder.project(own.chain(extra))?
    };
    Ok(Partial { builder, order, hidden })
}

fn aggregate(rel: &Rel, partial: Partial, groups: &[Expr], aggregates: &[Aggregate]) -> Planned<Partial> {
    let keys = partial.keys();
    let (group_columns, result_columns) = rel.columns.split_at(groups.len());
    let mut outputs: Vec<Expr> = Vec::with_capacity(rel.columns.len());
    let mut calls = Vec::with_capacity(aggregates.len());
    let mut finished = false;
    for (aggregate, there) in aggregates.iter().zip(result_columns) {
        let split = match &aggregate.call {
            Expr::AggregateFunction(call) if aggregate.ordered && !keys.is_empty() => gather::split(call, &keys),
            _ => None,
        };
        finished |= split.is_some();
        outputs.push(match &split {
            Some((_, finish)) => gather::finish(finish, column(&there.name)).alias(&there.name),
            None => column(&there.name).alias(&there.name),
        });
        calls.push(split.map_or_else(|| aggregate.call.clone(), |(gathered, _)| gathered).alias(&there.name));
    }
    let groups: Vec<Expr> = groups.iter().zip(group_columns).map(|(group, there)| fitted(group.clone(), there, &partial.builder)).collect();
    let builder = partial.builder.aggregate(groups, calls)?;
    if !finished {
        return Ok(Partial::unordered(builder));
    }
    let groups = group_columns.iter().map(|there| column(&there.name).alias(&there.name));
    let outputs: Vec<Expr> = groups.chain(outputs).collect();
    Ok(Partial::unordered(builder.project(outputs)?))
}

fn join(rel: &Rel, left: &Rel, right: &Rel, kind: JoinType, on: &[(Expr, Expr)]) -> Planned<Partial> {
    let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) = on.iter().map(|(left, right)| (left, right)).unzip();
    let (left_plan, left_names) = prepared(left, &left_keys, "left")?;
    let (right_plan, right_names) = prepared(right, &right_keys, "right")?;
    let key_columns = |side: &str| (0..on.len()).map(|at| Column::new_unqualified(format!("\u{1}{side}key{at}"))).collect::<Vec<_>>();
    let joined = left_plan.join_detailed(
        right_plan.build()?,
        kind,
        (key_columns("left"), key_columns("right")),
        None,
        NullEquality::NullEqualsNull,
    )?;
    let outputs: Vec<Expr> =
        left_names.iter().chain(&right_names).zip(&rel.columns).map(|(name, there)| column(name).alias(&there.name)).collect();
    Ok(Partial::unordered(joined.project(outputs)?))
}

/// One side of a join: columns under names of their own, keys computed.
fn prepared(rel: &Rel, keys: &[&Expr], side: &str) -> Planned<(LogicalPlanBuilder, Vec<String>)> {
    let names: Vec<String> = (0..rel.columns.len()).map(|at| format!("\u{1}{side}{at}")).collect();
    let own = rel.columns.iter().zip(&names).map(|(there, name)| column(&there.name).alias(name));
    let keys = keys.iter().enumerate().map(|(at, key)| (*key).clone().alias(format!("\u{1}{side}key{at}")));
    let outputs: Vec<Expr> = own.chain(keys).collect();
    Ok((settled(rel)?.project(outputs)?, names))
}

/// One row per key: the first that comes.
fn first_per_key(rel: &Rel, input: &Rel, keys: &[Expr]) -> Planned<Partial> {
    let names: HashMap<usize, String> = (0..keys.len()).map(|at| (at, format!("\u{1}key{at}"))).collect();
    let own = input.columns.iter().map(|there| column(&there.name).alias(&there.name));
    let outputs: Vec<Expr> = own.chain(keys.iter().enumerate().map(|(at, key)| key.clone().alias(&names[&at]))).collect();
    let calls: Vec<Expr> = input
        .columns
        .iter()
        .enumerate()
        .map(|(at, there)| first_value_udaf().call(vec![column(&there.name)]).alias(format!("\u{1}first{at}")))
        .collect();
    let groups: Vec<Expr> = (0..keys.len()).map(|at| column(&names[&at])).collect();
    let builder = settled(input)?.project(outputs)?.aggregate(groups, calls)?;
    let outputs: Vec<Expr> =
        rel.columns.iter().enumerate().map(|(at, there)| column(&format!("\u{1}first{at}")).alias(&there.name)).collect();
    Ok(Partial::unordered(builder.project(outputs)?))
}
