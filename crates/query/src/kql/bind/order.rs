//! Order, and operators that give fewer rows: `sort`, `count`, `distinct`, `getschema`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringViewArray};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::lit;
use strongroom_kql::Span;
use strongroom_kql::ast::{ExprKind, Name, NamedExpr, NullOrder, Order, SortKey};
use strongroom_model::ColumnType;

use super::source::values;
use crate::kql::Binder;
use crate::kql::bound::{Aggregate, BoundColumn, Key, Rel, RelNode};
use crate::kql::expr::Scope;
use crate::kql::problem::{Outcome, Problem};
use crate::output::net_name;

impl Binder<'_> {
    /// Descending unless said otherwise; nulls last if descending, first if ascending.
    pub(super) fn sort(&mut self, rel: Rel, keys: &[SortKey], span: Span) -> Outcome<Rel> {
        let mut bound = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.value(&key.value.value, Scope::of(&rel.columns))?;
            if value.kind == ColumnType::Dynamic {
                return Err(
                    Problem::mismatch(value.span, "dynamic values have no order").hint("cast it, e.g. `tostring(..)` or `tolong(..)`")
                );
            }
            let ascending = key.order == Some(Order::Asc);
            let nulls_first = match key.nulls {
                Some(nulls) => nulls == NullOrder::First,
                None => ascending,
            };
            if value.literal().is_none() {
                bound.push(Key { value, ascending, nulls_first });
            }
        }
        Ok(if bound.is_empty() { rel.serialize(vec![], span) } else { rel.sort(bound, span) })
    }

    /// One row: how many.
    pub(super) fn count(rel: Rel, name: Option<&Name>, span: Span) -> Rel {
        let name = name.map_or("Count", |name| &name.text);
        let call = Aggregate { call: count(lit(1_i64)), ordered: false };
        let columns = vec![BoundColumn::new(name, ColumnType::Long)];
        Rel::over(rel.depth, RelNode::Aggregate { input: Arc::new(rel), groups: vec![], aggregates: vec![call] }, columns, span)
    }

    /// Each combination once.
    pub(super) fn distinct(&mut self, rel: Rel, list: &[NamedExpr], span: Span) -> Outcome<Rel> {
        let everything = list.iter().any(|value| matches!(value.value.kind, ExprKind::Star));
        let outputs = if everything { rel.outputs() } else { self.named_values(&rel, list)? };
        let groups = outputs.iter().map(|(_, value)| value.solid()).collect();
        let columns = outputs.into_iter().map(|(name, value)| BoundColumn::new(name, value.kind)).collect();
        Ok(Rel::over(rel.depth, RelNode::Aggregate { input: Arc::new(rel), groups, aggregates: vec![] }, columns, span))
    }

    /// The columns as rows.
    pub(super) fn get_schema(rel: &Rel, span: Span) -> Rel {
        let names: StringViewArray = rel.columns.iter().map(|column| Some(column.name.as_str())).collect();
        let ordinals: Int32Array = (0_i32..).take(rel.columns.len()).collect();
        let net: StringViewArray = rel.columns.iter().map(|column| Some(net_name(column.kind))).collect();
        let kinds: StringViewArray = rel.columns.iter().map(|column| Some(column.kind.as_str())).collect();
        let columns = vec![
            BoundColumn::new("ColumnName", ColumnType::String),
            BoundColumn::new("ColumnOrdinal", ColumnType::Int),
            BoundColumn::new("DataType", ColumnType::String),
            BoundColumn::new("ColumnType", ColumnType::String),
        ];
        let arrays: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(ordinals), Arc::new(net), Arc::new(kinds)];
        let batch = RecordBatch::try_new(values::schema(&columns), arrays).expect("the arrays are of the types and lengths above");
        Rel::source(RelNode::Values(batch), columns, span)
    }
}
