//! `make-series`: one row a group, an array a column.
//!
//! Rows are summarized by group and bin first; then the cells of each group are put in their places along the axis. Where the text
//! does not say where the axis begins or ends, the data does: it begins at the first bin of all groups and ends with the last.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, Operator, binary_expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, ExprKind, NamedExpr};
use strongroom_model::ColumnType;

use crate::functions::Axis;
use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel, RelNode, SeriesShape, column};
use crate::kql::expr::{Scope, convert, folded, is_number};
use crate::kql::names::{Namer, automatic};
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

/// The column of bins.
const BIN: &str = "\u{1}bin";

impl Binder<'_> {
    pub(super) fn make_series(&mut self, rel: Rel, series: &ast::MakeSeries, span: Span) -> Outcome<Rel> {
        let on = self.value(&series.on.value, Scope::of(&rel.columns))?;
        let step = self.value(&series.step, Scope::EMPTY)?;
        let kind = axis_kind(&on, &step)?;
        let on = convert(on, kind);
        let step = convert(step, if kind == ColumnType::DateTime { ColumnType::TimeSpan } else { kind });
        let from = self.end(series.from.as_ref(), kind)?;
        let to = self.end(series.to.as_ref(), kind)?;
        if !goes_up(&folded(step.expr.clone())) {
            return Err(Problem::new(step.span, "InvalidStep", "a series goes in steps above 0"));
        }
        let bin = match &from {
            Some(from) => registry::call("bin_at", on.span, &[on.clone(), step.clone(), from.clone()], self.now())?,
            None => registry::call("bin", on.span, &[on.clone(), step.clone()], self.now())?,
        };
        let bin = convert(bin, kind);
        // Without a place on the axis a row is in no bin.
        let mut inside = Expr::IsNotNull(Box::new(on.expr.clone()));
        let mut and = |op: Operator, end: &Bound| {
            inside = binary_expr(inside.clone(), Operator::And, binary_expr(on.expr.clone(), op, end.expr.clone()));
        };
        if let Some(from) = &from {
            and(Operator::GtEq, from);
        }
        if let Some(to) = &to {
            and(if series.to_included { Operator::LtEq } else { Operator::Lt }, to);
        }
        let rel = rel.filter(inside, span);
        let mut outputs = rel.outputs();
        outputs.push((BIN.to_owned(), bin));
        let rel = rel.project(outputs, span);
        let cells = self.cells(rel, series, span)?;
        self.along_the_axis(cells, series, &SeriesEnds { kind, from, to, step }, span)
    }

    /// Groups, the bin, then the aggregates.
    fn cells(&mut self, rel: Rel, series: &ast::MakeSeries, span: Span) -> Outcome<Rel> {
        let mut by = series.by.clone();
        by.push(NamedExpr { names: vec![], value: ast::Expr { kind: ExprKind::Name(BIN.to_owned()), span }, span });
        let aggregates = series.aggregates.iter().map(|aggregate| aggregate.value.clone()).collect();
        self.summarize(rel, &ast::Summarize { settings: vec![], aggregates, by }, span)
    }

    fn along_the_axis(&mut self, cells: Rel, series: &ast::MakeSeries, ends: &SeriesEnds, span: Span) -> Outcome<Rel> {
        let groups = series.by.len();
        let (by, values) = cells.columns.split_at(groups);
        let values = &values[1..];
        if values.len() != series.aggregates.len() {
            return Err(Problem::new(span, "WrongArguments", "an aggregate of `make-series` gives one column")
                .hint("write `percentile(x, 95)` for each point by itself"));
        }
        let mut columns = by.to_vec();
        let mut shapes = Vec::with_capacity(values.len());
        for (there, aggregate) in values.iter().zip(&series.aggregates) {
            let default = match &aggregate.default {
                Some(default) => convert(self.constant(default)?, there.kind),
                None => nothing(there.kind, span),
            };
            let default = match folded(convert(default, ColumnType::Dynamic).expr) {
                Expr::Literal(ScalarValue::Utf8View(Some(json)), _) => Some(json),
                _ => None,
            };
            shapes.push((convert(there.bound(span), ColumnType::Dynamic).expr, default));
            columns.push(BoundColumn::new(there.name.clone(), ColumnType::Dynamic));
        }
        let mut namer = Namer::taken(columns.iter().map(|there| there.name.as_str()));
        let name = match series.on.names.first() {
            Some(name) => namer.unique(&name.text),
            None => namer.automatic(automatic(&series.on.value)),
        };
        columns.push(BoundColumn::new(name, ColumnType::Dynamic));
        let is_nonempty = |setting: &ast::Setting| {
            setting.name.text == "kind" && matches!(&setting.value.kind, ExprKind::Name(word) if word == "nonempty")
        };
        let shape = SeriesShape {
            groups,
            bin: column(BIN),
            values: shapes,
            axis: Axis { kind: ends.kind, inclusive: ends.to.is_none() || series.to_included },
            from: ends.from.as_ref().map(|from| from.expr.clone()),
            to: ends.to.as_ref().map(|to| to.expr.clone()),
            step: ends.step.expr.clone(),
            nonempty: series.settings.iter().any(is_nonempty),
        };
        Ok(Rel::over(cells.depth, RelNode::Series { input: Arc::new(cells), shape: Box::new(shape) }, columns, span))
    }

    /// `from` or `to`: a value without columns, perhaps of a query.
    fn end(&mut self, end: Option<&ast::Expr>, kind: ColumnType) -> Outcome<Option<Bound>> {
        let Some(end) = end else { return Ok(None) };
        let bound = self.value(end, Scope::EMPTY)?;
        let fits = bound.kind == kind || bound.kind == ColumnType::Dynamic || (is_number(bound.kind) && is_number(kind));
        if !fits {
            return Err(Problem::mismatch(bound.span, format!("the axis is a {}, this is a {}", kind.as_str(), bound.kind.as_str())));
        }
        Ok(Some(convert(bound, kind)))
    }
}

/// Where the axis lies.
struct SeriesEnds {
    kind: ColumnType,
    from: Option<Bound>,
    to: Option<Bound>,
    step: Bound,
}

fn axis_kind(on: &Bound, step: &Bound) -> Outcome<ColumnType> {
    let real = |kind| matches!(kind, ColumnType::Real | ColumnType::Decimal);
    match (on.kind, step.kind) {
        (ColumnType::DateTime | ColumnType::TimeSpan, ColumnType::TimeSpan) => Ok(on.kind),
        (on, step) if is_number(on) && is_number(step) => Ok(if real(on) || real(step) { ColumnType::Real } else { ColumnType::Long }),
        (kind, other) => {
            Err(Problem::mismatch(step.span, format!("a series along a {} cannot go in steps of {}", kind.as_str(), other.as_str())))
        }
    }
}

/// Whether a step that is a constant is above 0.
fn goes_up(step: &Expr) -> bool {
    match step {
        Expr::Literal(ScalarValue::Int64(step) | ScalarValue::DurationNanosecond(step), _) => step.is_some_and(|step| step > 0),
        Expr::Literal(ScalarValue::Float64(step), _) => step.is_some_and(|step| step > 0.0),
        _ => true,
    }
}

/// What stands where there are no rows, if nothing is said: 0, and null where there is none.
fn nothing(kind: ColumnType, span: Span) -> Bound {
    let zero = Bound::new(lit(0_i64), ColumnType::Long, span);
    match kind {
        ColumnType::Int | ColumnType::Long | ColumnType::Real | ColumnType::Decimal | ColumnType::TimeSpan => convert(zero, kind),
        _ => Bound::null(ColumnType::Dynamic, span),
    }
}
