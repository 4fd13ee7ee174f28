//! `make-series`: cells to arrays.

use datafusion::common::ScalarValue;
use datafusion::functions::core::expr_fn::named_struct;
use datafusion::functions_aggregate::array_agg::array_agg_udaf;
use datafusion::functions_aggregate::min_max::{max, max_udaf, min, min_udaf};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprFunctionExt, WindowFunctionDefinition};

use super::{Partial, Planned};
use crate::functions::{SeriesOf, series};
use crate::kql::bound::{Rel, SeriesShape, column};

const CELLS: &str = "\u{1}cells";
const FIRST: &str = "\u{1}first";
const LAST: &str = "\u{1}last";

/// One row a group; the input has the groups, the bin and the values.
pub(super) fn make_series(rel: &Rel, input: &Rel, partial: Partial, shape: &SeriesShape) -> Planned<Partial> {
    let by = &input.columns[..shape.groups];
    let outer = partial.outer_groups();
    // The values are put in JSON form below: a list of cells is all that a group holds.
    let mut fields = vec![Expr::Literal(ScalarValue::from("bin"), None), shape.bin.clone()];
    for (at, (value, _)) in shape.values.iter().enumerate() {
        fields.extend([Expr::Literal(ScalarValue::from(format!("v{at}")), None), value.clone()]);
    }
    let own = by.iter().map(|there| column(&there.name).alias(&there.name));
    let hidden = [named_struct(fields).alias(CELLS), shape.bin.clone().alias(FIRST)];
    let builder = partial.builder.clone().project(own.chain(partial.kept()).chain(hidden).collect::<Vec<_>>())?;
    let groups: Vec<Expr> = outer.iter().cloned().chain(by.iter().map(|there| column(&there.name))).collect();
    let calls =
        vec![array_agg_udaf().call(vec![column(CELLS)]).alias(CELLS), min(column(FIRST)).alias(FIRST), max(column(FIRST)).alias(LAST)];
    let mut builder = builder.aggregate(groups, calls)?;
    // All series of an answer have one axis.
    let over_all = |udaf, name: &str| -> Planned<Expr> {
        let call = WindowFunction::new(WindowFunctionDefinition::AggregateUDF(udaf), vec![column(name)]);
        Ok(Expr::from(call).partition_by(outer.clone()).build()?.alias(format!("{name}all")))
    };
    let mut windows = Vec::new();
    if shape.from.is_none() {
        windows.push(over_all(min_udaf(), FIRST)?);
    }
    if shape.to.is_none() {
        windows.push(over_all(max_udaf(), LAST)?);
    }
    if !windows.is_empty() {
        builder = builder.window(windows)?;
    }
    if shape.groups == 0 && outer.is_empty() && !shape.nonempty {
        builder = builder.filter(column(CELLS).is_not_null())?;
    }
    let ends = [
        shape.from.clone().unwrap_or_else(|| column(&format!("{FIRST}all"))),
        shape.to.clone().unwrap_or_else(|| column(&format!("{LAST}all"))),
        shape.step.clone(),
    ];
    let mut values: Vec<Expr> = by.iter().map(|there| column(&there.name)).collect();
    for (at, (_, default)) in shape.values.iter().enumerate() {
        let of = SeriesOf::Cells { field: at + 1, default: default.clone() };
        values.push(series(of, shape.axis.clone(), column(CELLS), ends.clone()));
    }
    values.push(series(SeriesOf::Bins, shape.axis.clone(), column(CELLS), ends));
    super::project(rel, Partial { builder, order: Vec::new(), exact: false, ..partial }, &values)
}
