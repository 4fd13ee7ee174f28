//! From the bound tree to DataFusion's plan.
//!
//! DataFusion keeps no order that nothing asks for, so `sort` is carried along here as keys in (perhaps hidden) columns and put
//! into the plan where it counts: under a `take`, inside an aggregate that needs it, and on top of the answer.

mod expand;
mod series;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::{Column, NullEquality, ScalarValue, TableReference, plan_err};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::functions_aggregate::min_max::min;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams, Sort};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Cast, Expr, ExprSchemable, Extension, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Union, UserDefinedLogicalNode,
    binary_expr, lit,
};
use strongroom_model::ColumnType;

use super::bound::{Aggregate, BoundColumn, Key, Rel, RelNode, column};
use super::gather;
use super::nodes::{FinishNode, Finished, Machine, OnceNode, ReduceNode, Running, ScanNode, SerialCall, SerialNode, without_single};
use super::problem::{Outcome, Problem};
use expand::Within;

type Planned<T> = Result<T, DataFusionError>;

/// The plan of an answer: columns in order, under their names, marked with their KQL types; rows in the order last asked for.
pub(super) fn answer(rel: &Rel) -> Outcome<LogicalPlan> {
    finished(rel, true).and_then(without_single).map_err(|error| Problem::planner(rel.span, &error))
}

/// The plan of a sub-query: the same, without marks.
pub(super) fn logical(rel: &Rel) -> Outcome<LogicalPlan> {
    finished(rel, false).map_err(|error| Problem::planner(rel.span, &error))
}

/// A plan under way.
#[derive(Clone)]
struct Partial {
    builder: LogicalPlanBuilder,
    /// The order the rows are meant to be in. Its columns are in the plan, perhaps beyond the relation's own.
    order: Vec<OrderColumn>,
    /// Whether the order leaves nothing open: no two rows are equal in it. So it is with rows written in the text and with rows
    /// that were serialized; ties of later sorts keep such an order, and groups come in the order of their first rows.
    exact: bool,
    /// How many hidden columns were made, for their names.
    hidden: usize,
    /// In a sub-query over the elements of rows: what its rows are looked at by.
    within: Option<Within>,
}

#[derive(Clone)]
struct OrderColumn {
    name: String,
    ascending: bool,
    nulls_first: bool,
}

impl OrderColumn {
    /// A number that goes up.
    fn counting(name: String) -> Self {
        Self { name, ascending: true, nulls_first: true }
    }
}

impl Partial {
    fn unordered(builder: LogicalPlanBuilder) -> Self {
        Self { builder, order: Vec::new(), exact: false, hidden: 0, within: None }
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
    let mut partial = alone(lower(rel)?)?;
    // Nulls among texts are sorted as the empty ones that they are.
    let by_sparse = partial.order.iter().any(|key| rel.columns.iter().any(|column| column.sparse && column.name == key.name));
    if marked && !by_sparse {
        let ordered = !partial.order.is_empty();
        let input = partial.sorted(None)?.builder.build()?;
        let columns = rel.columns.iter().map(|there| Finished { field: there.kind.query_field(&there.name), sparse: there.sparse });
        let node = Arc::new(FinishNode::new(input, columns.collect(), ordered)?);
        return Ok(LogicalPlan::Extension(Extension { node }));
    }
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
    let partial = Partial { builder: partial.builder.project(values)?, ..partial }.sorted(None)?;
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

/// Rows that are not looked at within others.
fn alone(partial: Partial) -> Planned<Partial> {
    if partial.within.is_some() {
        return plan_err!("this operator cannot be in a sub-query of `mv-apply` or `partition`");
    }
    Ok(partial)
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
        RelNode::Values(batch) => values(batch),
        RelNode::OneRow => Ok(Partial { exact: true, ..Partial::unordered(LogicalPlanBuilder::empty(true)) }),
        RelNode::Filter { input, predicate } => {
            let partial = lower(input)?;
            Ok(Partial { builder: partial.builder.filter(predicate.clone())?, ..partial })
        }
        RelNode::Project { input, values } => project(rel, lower(input)?, values),
        RelNode::Sort { input, keys } => sort(lower(input)?, &input.columns, keys),
        RelNode::Take { input, count } => {
            if let Some(early) = taken_early(input, *count) {
                return lower(&early);
            }
            let partial = lower(input)?;
            if partial.within.is_some() {
                return expand::first_rows(partial, *count);
            }
            let partial = partial.sorted(Some(*count))?;
            Ok(Partial { builder: partial.builder.limit(0, Some(*count))?, ..partial })
        }
        RelNode::Expand { input, expansion } => expand::expand(rel, input, lower(input)?, expansion),
        RelNode::Parts { input, key } => expand::partition(rel, lower(input)?, key),
        RelNode::Applied { input, depth, columns } => expand::applied(rel, lower(input)?, *depth, columns),
        RelNode::Taken { input, taken, filters, values } => expand::taken(rel, input, lower(input)?, taken, *filters, values),
        RelNode::Series { input, shape } => series::make_series(rel, input, lower(input)?, shape),
        RelNode::Serial { input, calls } => serial(lower(input)?, calls),
        RelNode::Scan { input, machine } => scan(lower(input)?, machine),
        RelNode::Reduce { input, text, likeness } => {
            let node = ReduceNode::new(alone(lower(input)?)?.builder.build()?, text.clone(), likeness.clone())?;
            Ok(Partial::unordered(extension(node)))
        }
        RelNode::Once { input, cell } => {
            let partial = alone(lower(input)?)?;
            let node = OnceNode::new(partial.builder.build()?, cell.clone());
            Ok(Partial { builder: extension(node), ..partial })
        }
        RelNode::Aggregate { input, groups, aggregates } => aggregate(rel, lower(input)?, groups, aggregates),
        RelNode::Union(inputs) => union(rel, inputs),
        RelNode::Join { left, right, kind, on } => join(rel, left, right, *kind, on),
        RelNode::FirstPerKey { input, keys } => first_per_key(rel, input, keys),
    }
}

/// The first rows of what goes from row to row need no more than the first rows below it, unless it looks ahead.
fn taken_early(rel: &Rel, count: usize) -> Option<Rel> {
    let node = match &rel.node {
        RelNode::Project { input, values } => RelNode::Project { input: Arc::new(taken_early(input, count)?), values: values.clone() },
        RelNode::Serial { input, calls } if calls.iter().all(|call| !matches!(call.function, Running::After { .. })) => {
            let early = taken_early(input, count).unwrap_or_else(|| Rel::clone(input).take(count, rel.span));
            RelNode::Serial { input: Arc::new(early), calls: calls.clone() }
        }
        _ => return None,
    };
    Some(Rel { node, ..rel.clone() })
}

/// Rows written in the text, in the order in which they are written.
fn values(batch: &RecordBatch) -> Planned<Partial> {
    let name = hidden_name(0);
    let mut fields = batch.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(&name, DataType::Int64, false)));
    let mut arrays = batch.columns().to_vec();
    arrays.push(Arc::new((0_i64..).take(batch.num_rows()).collect::<Int64Array>()));
    let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let table =
        MemTable::try_new(rows.schema(), vec![vec![rows.clone()]])?.with_sort_order(vec![vec![Sort::new(column(&name), true, true)]]);
    // DataFusion compares plans by their tables' names: other rows need another name, else it takes two sub-queries for one.
    let own = format!("values {:016x}", content_hash(&rows));
    let builder = LogicalPlanBuilder::scan(TableReference::bare(own), provider_as_source(Arc::new(table)), None)?;
    Ok(Partial { builder, order: vec![OrderColumn::counting(name)], exact: true, hidden: 1, within: None })
}

/// Tells batches of other rows apart.
fn content_hash(batch: &RecordBatch) -> u64 {
    let mut hasher = DefaultHasher::new();
    batch.schema().hash(&mut hasher);
    batch.num_rows().hash(&mut hasher);
    for array in batch.columns() {
        let data = array.to_data();
        data.buffers().iter().for_each(|buffer| hasher.write(buffer.as_slice()));
        if let Some(nulls) = data.nulls() {
            nulls.iter().for_each(|valid| valid.hash(&mut hasher));
        }
    }
    hasher.finish()
}

/// One input behind the other if each of them is in an order of its own; else in none.
fn union(rel: &Rel, inputs: &[Arc<Rel>]) -> Planned<Partial> {
    let partials = inputs.iter().map(|input| alone(lower(input)?)).collect::<Planned<Vec<_>>>()?;
    let exact = partials.iter().all(|partial| partial.exact && partial.order.len() <= 1 && partial.order.iter().all(|key| key.ascending));
    let order = if exact { vec![OrderColumn::counting(hidden_name(0)), OrderColumn::counting(hidden_name(1))] } else { Vec::new() };
    let mut plans = Vec::with_capacity(partials.len());
    for (leg, partial) in (0_i64..).zip(partials) {
        let mut outputs: Vec<Expr> = rel.columns.iter().map(|there| column(&there.name).alias(&there.name)).collect();
        if let [of_leg, of_row] = order.as_slice() {
            outputs.push(lit(leg).alias(&of_leg.name));
            outputs.push(partial.order.first().map_or_else(|| lit(0_i64), |key| column(&key.name)).alias(&of_row.name));
        }
        let plain = !exact && partial.builder.schema().fields().len() == rel.columns.len();
        plans.push(Arc::new(if plain { partial.builder } else { partial.builder.project(outputs)? }.build()?));
    }
    let builder = match plans.as_slice() {
        [only] => LogicalPlanBuilder::new_from_arc(Arc::clone(only)),
        _ => LogicalPlanBuilder::new(LogicalPlan::Union(Union::try_new(plans)?)),
    };
    let hidden = order.len();
    Ok(Partial { builder, order, exact, hidden, within: None })
}

/// The order becomes the number of a row in it, unless it is one already.
fn serial(partial: Partial, calls: &[SerialCall]) -> Planned<Partial> {
    let counted = partial.exact && partial.order.len() == 1;
    let index = (!counted).then(|| hidden_name(partial.hidden));
    let parts = partial.part_keys();
    let (part_count, keys) = (parts.len(), parts.into_iter().chain(partial.keys()).collect());
    let node = SerialNode::new(partial.builder.build()?, keys, part_count, calls.to_vec(), index.clone())?;
    let builder = extension(node);
    Ok(match index {
        Some(index) => {
            Partial { builder, order: vec![OrderColumn::counting(index)], exact: true, hidden: partial.hidden + 1, within: partial.within }
        }
        None => Partial { builder, ..partial },
    })
}

/// What steps give is in the order in which they give it.
fn scan(partial: Partial, machine: &Machine) -> Planned<Partial> {
    let index = hidden_name(partial.hidden);
    let parts = partial.part_keys();
    let (part_count, keys) = (parts.len(), parts.into_iter().chain(partial.keys()).collect());
    let Partial { builder, hidden, within, .. } = partial;
    let node = ScanNode::new(builder.build()?, keys, part_count, machine.clone(), index.clone())?;
    let order = vec![OrderColumn::counting(index)];
    Ok(Partial { builder: extension(node), order, exact: true, hidden: hidden + 1, within })
}

fn extension(node: impl UserDefinedLogicalNode + 'static) -> LogicalPlanBuilder {
    LogicalPlanBuilder::new(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

/// Computes columns; those of the order are carried along, hidden if the relation has none like them.
fn project(rel: &Rel, partial: Partial, values: &[Expr]) -> Planned<Partial> {
    let kept = partial.kept();
    let Partial { builder, mut order, mut hidden, exact, within } = partial;
    let mut outputs = Vec::with_capacity(values.len() + order.len() + kept.len());
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
    outputs.extend(kept);
    Ok(Partial { builder: builder.project(outputs)?, order, hidden, exact, within })
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

/// Whether filters right below let no NaN of a column through: a plain order of it prunes row groups and blocks, which one behind a
/// second key does not.
fn is_never_nan(plan: &LogicalPlan, value: &Expr) -> bool {
    let Expr::Column(value) = value else { return false };
    // NaN is above every number in DataFusion's order.
    let bounds = |part: &Expr| match part {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Lt | Operator::LtEq | Operator::Eq, right }) => {
            let same = matches!(&**left, Expr::Column(column) if column.name == value.name);
            same && matches!(&**right, Expr::Literal(ScalarValue::Float64(Some(limit)), _) if !limit.is_nan())
        }
        _ => false,
    };
    let mut plan = plan;
    while let LogicalPlan::Filter(filter) = plan {
        if split_conjunction(&filter.predicate).into_iter().any(bounds) {
            return true;
        }
        plan = &filter.input;
    }
    false
}

/// Remembers an order. Keys that are not plain columns are computed into hidden ones.
fn sort(partial: Partial, columns: &[BoundColumn], keys: &[Key]) -> Planned<Partial> {
    let within_columns = partial.kept();
    let Partial { builder, mut hidden, exact, order: before, within } = partial;
    let mut order = Vec::with_capacity(keys.len());
    let mut extra = Vec::new();
    for key in keys {
        let solid = key.value.solid();
        if key.value.kind == ColumnType::Real && !key.value.finite && !is_never_nan(builder.plan(), &solid) {
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
    // A single row has no order of its own: then this is a plain one.
    let exact = exact && !before.is_empty();
    let ties = if exact { before } else { Vec::new() };
    let builder = if extra.is_empty() {
        builder
    } else {
        let own = columns.iter().map(|there| column(&there.name).alias(&there.name));
        let kept = ties.iter().filter(|key| !columns.iter().any(|there| there.name == key.name));
        builder.project(own.chain(extra).chain(kept.map(|key| column(&key.name).alias(&key.name))).chain(within_columns))?
    };
    order.extend(ties.into_iter().filter(|tie| order.iter().all(|key| key.name != tie.name)).collect::<Vec<_>>());
    Ok(Partial { builder, order, exact, hidden, within })
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
    let firsts = if groups.is_empty() { Vec::new() } else { firsts(&partial) };
    calls.extend(firsts.iter().map(|(call, key)| call.clone().alias(&key.name)));
    let order: Vec<OrderColumn> = firsts.into_iter().map(|(_, key)| key).collect();
    // One group is one row: nothing is left open in its order.
    let single = groups.is_empty() && partial.within.is_some();
    let kept_within = partial.kept();
    let own = groups.iter().zip(group_columns).map(|(group, there)| fitted(group.clone(), there, &partial.builder));
    let groups: Vec<Expr> = partial.outer_groups().into_iter().chain(own).collect();
    let Partial { builder, within, .. } = partial;
    let mut builder = builder.aggregate(groups, calls)?;
    if finished {
        let groups = group_columns.iter().map(|there| column(&there.name).alias(&there.name));
        let kept = order.iter().map(|key| column(&key.name).alias(&key.name));
        builder = builder.project(groups.chain(outputs).chain(kept).chain(kept_within).collect::<Vec<_>>())?;
    }
    let (exact, hidden) = (single || !order.is_empty(), order.len());
    Ok(Partial { builder, order, exact, hidden, within })
}

/// The place of each group's first row, if rows are in an exact order: the groups are in that order then.
fn firsts(partial: &Partial) -> Vec<(Expr, OrderColumn)> {
    if !partial.exact {
        return Vec::new();
    }
    let first = |(at, key): (usize, &OrderColumn)| {
        let call = match partial.order.as_slice() {
            [_] if key.ascending => min(column(&key.name)),
            _ => first_in_order(&key.name, partial.keys()),
        };
        (call, OrderColumn { name: hidden_name(at), ..key.clone() })
    };
    partial.order.iter().enumerate().map(first).collect()
}

/// A column's value in the first row.
fn first_in_order(name: &str, keys: Vec<Sort>) -> Expr {
    let params = AggregateFunctionParams { args: vec![column(name)], distinct: false, filter: None, order_by: keys, null_treatment: None };
    Expr::AggregateFunction(AggregateFunction { func: first_value_udaf(), params })
}

fn join(rel: &Rel, left: &Rel, right: &Rel, kind: JoinType, on: &[(Expr, Expr)]) -> Planned<Partial> {
    let (left_keys, right_keys): (Vec<&Expr>, Vec<&Expr>) = on.iter().map(|(left, right)| (left, right)).unzip();
    let mut left_partial = lower(left)?;
    let (kept, within) = (left_partial.kept(), left_partial.within.take());
    if within.is_some() && !matches!(kind, JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti) {
        return plan_err!("a sub-query of `mv-apply` or `partition` cannot keep the rows of another table");
    }
    let (left_plan, left_names) = prepared(left, left_partial, &left_keys, &kept, "left")?;
    let (right_plan, right_names) = prepared(right, alone(lower(right)?)?, &right_keys, &[], "right")?;
    let key_columns = |side: &str| (0..on.len()).map(|at| Column::new_unqualified(format!("\u{1}{side}key{at}"))).collect::<Vec<_>>();
    let joined = left_plan.join_detailed(
        right_plan.build()?,
        kind,
        (key_columns("left"), key_columns("right")),
        None,
        NullEquality::NullEqualsNull,
    )?;
    let own = left_names.iter().chain(&right_names).zip(&rel.columns).map(|(name, there)| column(name).alias(&there.name));
    let outputs: Vec<Expr> = own.chain(kept).collect();
    Ok(Partial { within, ..Partial::unordered(joined.project(outputs)?) })
}

/// One side of a join: columns under names of their own, keys computed, and what is to be kept.
fn prepared(rel: &Rel, partial: Partial, keys: &[&Expr], kept: &[Expr], side: &str) -> Planned<(LogicalPlanBuilder, Vec<String>)> {
    let names: Vec<String> = (0..rel.columns.len()).map(|at| format!("\u{1}{side}{at}")).collect();
    let own = rel.columns.iter().zip(&names).map(|(there, name)| column(&there.name).alias(name));
    let keys = keys.iter().enumerate().map(|(at, key)| (*key).clone().alias(format!("\u{1}{side}key{at}")));
    let outputs: Vec<Expr> = own.chain(keys).chain(kept.iter().cloned()).collect();
    Ok((partial.builder.project(outputs)?, names))
}

/// One row per key: the first that comes.
fn first_per_key(rel: &Rel, input: &Rel, keys: &[Expr]) -> Planned<Partial> {
    let partial = lower(input)?;
    let (kept, outer_groups) = (partial.kept(), partial.outer_groups());
    let order = if partial.exact && !keys.is_empty() { partial.order } else { Vec::new() };
    let key_name = |at: usize| format!("\u{1}key{at}");
    let own = input.columns.iter().map(|there| column(&there.name).alias(&there.name));
    let keys_by_name = keys.iter().enumerate().map(|(at, key)| key.clone().alias(key_name(at)));
    let hidden = order.iter().filter(|key| !input.columns.iter().any(|there| there.name == key.name));
    let hidden = hidden.map(|key| column(&key.name).alias(&key.name));
    let outputs: Vec<Expr> = own.chain(keys_by_name).chain(hidden).chain(kept.iter().cloned()).collect();
    let sorts: Vec<Sort> = order.iter().map(|key| Sort::new(column(&key.name), key.ascending, key.nulls_first)).collect();
    let first = |name: &str| {
        if sorts.is_empty() { first_value_udaf().call(vec![column(name)]) } else { first_in_order(name, sorts.clone()) }
    };
    let mut calls: Vec<Expr> =
        input.columns.iter().enumerate().map(|(at, there)| first(&there.name).alias(format!("\u{1}first{at}"))).collect();
    calls.extend(order.iter().enumerate().map(|(at, key)| first(&key.name).alias(hidden_name(at))));
    let groups: Vec<Expr> = outer_groups.into_iter().chain((0..keys.len()).map(|at| column(&key_name(at)))).collect();
    let builder = partial.builder.project(outputs)?.aggregate(groups, calls)?;
    let mut outputs: Vec<Expr> =
        rel.columns.iter().enumerate().map(|(at, there)| column(&format!("\u{1}first{at}")).alias(&there.name)).collect();
    outputs.extend((0..order.len()).map(|at| column(&hidden_name(at)).alias(hidden_name(at))));
    let order: Vec<OrderColumn> = order.into_iter().enumerate().map(|(at, key)| OrderColumn { name: hidden_name(at), ..key }).collect();
    let (exact, hidden) = (!order.is_empty(), order.len());
    outputs.extend(kept);
    Ok(Partial { builder: builder.project(outputs)?, order, exact, hidden, within: partial.within })
}
