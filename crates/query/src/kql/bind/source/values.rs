//! Rows written in the text: `datatable`, `print`, `range`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DurationNanosecondArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions, TimestampNanosecondArray,
    new_empty_array,
};
use arrow_schema::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use strongroom_kql::Span;
use strongroom_kql::ast::{self, ColumnDecl, Name, NamedExpr};
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{BoundColumn, Rel, RelNode};
use crate::kql::expr::{Scope, common_number, convert, folded, is_number, kind_of};
use crate::kql::names::Namer;
use crate::kql::problem::{Outcome, Problem};

/// Most rows of one `range`: 8 MB of numbers.
const RANGE_ROWS_MAX: usize = 1_000_000;

/// The Arrow schema of columns, in engine form.
pub(in crate::kql) fn schema(columns: &[BoundColumn]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|column| column.kind.query_field(&column.name)).collect::<Vec<_>>()))
}

impl Binder<'_> {
    pub(in crate::kql) fn datatable(&mut self, declared: &[ColumnDecl], values: &[ast::Expr], span: Span) -> Outcome<Rel> {
        if declared.is_empty() {
            return Err(Problem::new(span, "NoColumns", "a `datatable` has at least one column: `datatable(a:long) [1]`"));
        }
        let mut namer = Namer::default();
        let columns: Vec<BoundColumn> =
            declared.iter().map(|column| BoundColumn::new(namer.unique(&column.name.text), kind_of(column.kind))).collect();
        let width = columns.len().max(1);
        let mut cells: Vec<Vec<ScalarValue>> = vec![Vec::with_capacity(values.len() / width); columns.len()];
        for (at, value) in values.iter().enumerate() {
            let column = at % width;
            let bound = self.constant(value)?;
            let cell = folded(convert(bound, columns[column].kind).expr);
            let Expr::Literal(cell, _) = cell else {
                return Err(Problem::mismatch(value.span, format!("this cannot be a {}", columns[column].kind.as_str())));
            };
            cells[column].push(cell);
        }
        let rows = values.len() / width;
        let arrays = columns
            .iter()
            .zip(cells)
            .map(|(column, cells)| {
                if cells.is_empty() {
                    return Ok(new_empty_array(&column.kind.query_type()));
                }
                ScalarValue::iter_to_array(cells).and_then(|array| Ok(arrow::compute::cast(&array, &column.kind.query_type())?))
            })
            .collect::<Result<Vec<ArrayRef>, _>>()
            .map_err(|error| Problem::planner(span, &error))?;
        Self::batch(columns, arrays, rows, span)
    }

    /// One row. Columns nobody named are called by their position.
    pub(in crate::kql) fn print(&mut self, values: &[NamedExpr], span: Span) -> Outcome<Rel> {
        let mut namer = Namer::default();
        let mut outputs = Vec::with_capacity(values.len());
        for (at, value) in values.iter().enumerate() {
            if let Some(columns) = self.several(value, Scope::EMPTY)? {
                for (at, (derived, bound)) in columns.into_iter().enumerate() {
                    let name = value.names.get(at).map_or(derived, |name| name.text.clone());
                    outputs.push((namer.unique(&name), bound));
                }
                continue;
            }
            let bound = self.value(&value.value, Scope::EMPTY)?;
            let name = value.names.first().map_or_else(|| format!("print_{at}"), |name| name.text.clone());
            outputs.push((namer.unique(&name), bound));
        }
        Ok(Rel::source(RelNode::OneRow, vec![], span).project(outputs, span))
    }

    /// From `from` to `to`, both included if hit. Nothing for a null or a step the wrong way; a step of zero has no end.
    pub(in crate::kql) fn range(&mut self, name: &Name, from: &ast::Expr, to: &ast::Expr, step: &ast::Expr, span: Span) -> Outcome<Rel> {
        let (from, to, step) = (self.constant(from)?, self.constant(to)?, self.constant(step)?);
        let step_span = step.span;
        let kind = match (from.kind, step.kind) {
            (ColumnType::DateTime, ColumnType::TimeSpan) => ColumnType::DateTime,
            (ColumnType::TimeSpan, ColumnType::TimeSpan) => ColumnType::TimeSpan,
            (a, b) if is_number(a) && is_number(b) => {
                match common_number(common_number(a, b), if is_number(to.kind) { to.kind } else { a }) {
                    ColumnType::Int => ColumnType::Int,
                    ColumnType::Long => ColumnType::Long,
                    _ => ColumnType::Real,
                }
            }
            (a, b) => {
                return Err(Problem::mismatch(step.span, format!("a range of {} cannot go in steps of {}", a.as_str(), b.as_str())));
            }
        };
        let step_kind = if kind == ColumnType::DateTime { ColumnType::TimeSpan } else { kind };
        let [from, to] = [from, to].map(|end| folded(convert(end, kind).expr));
        let by = folded(convert(step, step_kind).expr);
        if number(&by) == Some(0) || real(&by) == Some(0.0) {
            return Err(Problem::new(step_span, "InvalidStep", "a range cannot go in steps of 0"));
        }
        let too_long = || Problem::new(span, "TooManyRows", format!("a range has at most {RANGE_ROWS_MAX} rows"));
        let array: ArrayRef = if kind == ColumnType::Real {
            let ends = (real(&from), real(&to), real(&by));
            Arc::new(Float64Array::from(reals(ends).ok_or_else(too_long)?))
        } else {
            let whole = wholes((number(&from), number(&to), number(&by))).ok_or_else(too_long)?;
            match kind {
                ColumnType::DateTime => Arc::new(TimestampNanosecondArray::from(whole).with_timezone("UTC")),
                ColumnType::TimeSpan => Arc::new(DurationNanosecondArray::from(whole)),
                _ => {
                    let array: ArrayRef = Arc::new(Int64Array::from(whole));
                    arrow::compute::cast(&array, &kind.query_type()).map_err(|error| Problem::planner(span, &error.into()))?
                }
            }
        };
        let rows = array.len();
        Self::batch(vec![BoundColumn::new(name.text.clone(), kind)], vec![array], rows, span)
    }

    fn batch(columns: Vec<BoundColumn>, arrays: Vec<ArrayRef>, rows: usize, span: Span) -> Outcome<Rel> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(schema(&columns), arrays, &options).map_err(|error| Problem::planner(span, &error.into()))?;
        Ok(Rel::source(RelNode::Values(batch), columns, span))
    }
}

fn number(end: &Expr) -> Option<i64> {
    match end {
        Expr::Literal(
            ScalarValue::Int64(value) | ScalarValue::DurationNanosecond(value) | ScalarValue::TimestampNanosecond(value, _),
            _,
        ) => *value,
        Expr::Literal(ScalarValue::Int32(value), _) => value.map(i64::from),
        _ => None,
    }
}

fn real(end: &Expr) -> Option<f64> {
    match end {
        Expr::Literal(ScalarValue::Float64(value), _) => *value,
        _ => None,
    }
}

/// None: too many.
fn wholes(ends: (Option<i64>, Option<i64>, Option<i64>)) -> Option<Vec<i64>> {
    let (Some(from), Some(to), Some(step)) = ends else { return Some(Vec::new()) };
    let mut out = Vec::new();
    let mut at = from;
    while step != 0 && if step > 0 { at <= to } else { at >= to } {
        if out.len() == RANGE_ROWS_MAX {
            return None;
        }
        out.push(at);
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    Some(out)
}

/// The same for reals; each is computed from the start, so that errors do not pile up.
#[expect(clippy::cast_precision_loss, reason = "a row number is far below 2^53")]
fn reals(ends: (Option<f64>, Option<f64>, Option<f64>)) -> Option<Vec<f64>> {
    let (Some(from), Some(to), Some(step)) = ends else { return Some(Vec::new()) };
    let mut out = Vec::new();
    while step != 0.0 && step.is_finite() {
        let at = step.mul_add(out.len() as f64, from);
        if !(if step > 0.0 { at <= to } else { at >= to }) {
            break;
        }
        if out.len() == RANGE_ROWS_MAX {
            return None;
        }
        out.push(at);
    }
    Some(out)
}
