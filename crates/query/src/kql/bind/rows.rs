//! Functions over rows in order: `prev`, `next`, `row_number`, `row_cumsum`, `row_rank_dense`, `row_rank_min`, `row_window_session`.
//!
//! They may stand anywhere in the expressions of `extend`, `project`, `where` and `serialize`, also inside each other. While such an
//! operator is bound its [`RowCalls`] collects them; each becomes a column of a node below the operator.

use std::mem;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::{Argument, Name};
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel, column, null_of};
use crate::kql::expr::{Scope, convert, folded, is_number, truth};
use crate::kql::nodes::{Running, SerialCall};
use crate::kql::problem::{Outcome, Problem};

/// Furthest that `prev` and `next` look: rows between are held in memory.
const FAR_MAX: i64 = 10_000_000;

/// What one operator calls.
#[derive(Debug)]
pub(in crate::kql) struct RowCalls {
    serialized: bool,
    calls: Vec<Collected>,
}

#[derive(Debug)]
struct Collected {
    call: SerialCall,
    kind: ColumnType,
    /// How many calls are nested in it, itself included.
    level: usize,
}

impl RowCalls {
    /// The call's column: one for calls that are the same.
    fn add(&mut self, function: Running, arguments: Vec<Expr>, kind: ColumnType) -> Expr {
        if let Some(there) = self.calls.iter().find(|there| there.call.function == function && there.call.arguments == arguments) {
            return column(&there.call.name);
        }
        let names: Vec<String> =
            arguments.iter().flat_map(|argument| argument.column_refs().into_iter().map(|found| found.name.clone())).collect();
        let level = self.calls.iter().filter(|there| names.contains(&there.call.name)).map(|there| there.level).max().unwrap_or(0) + 1;
        let name = format!("\u{1}call{}", self.calls.len());
        self.calls.push(Collected { call: SerialCall { function, arguments, name: name.clone(), gives: kind.query_type() }, kind, level });
        column(&name)
    }

    /// The relation with the calls' columns: those that others need first.
    fn under(self, mut rel: Rel) -> Rel {
        let span = rel.span;
        for level in 1..=self.calls.iter().map(|call| call.level).max().unwrap_or(0) {
            let here = || self.calls.iter().filter(|call| call.level == level);
            let columns = here().map(|call| BoundColumn::new(call.call.name.clone(), call.kind)).collect();
            rel = rel.serial(here().map(|call| call.call.clone()).collect(), columns, span);
        }
        rel
    }
}

/// Whether a value is the result of a function over rows.
pub(in crate::kql) fn is_row_call(value: &Expr) -> bool {
    matches!(value, Expr::Column(column) if column.name.starts_with("\u{1}call"))
}

impl Rel {
    /// In the order it is in, for good.
    pub(super) fn serialize(self, calls: Vec<SerialCall>, span: Span) -> Self {
        self.serial(calls, vec![], span)
    }
}

impl Binder<'_> {
    /// Binds an operator's expressions, in which functions over rows may stand; the relation then has columns for those.
    pub(super) fn with_rows<T>(&mut self, rel: Rel, bind: impl FnOnce(&mut Self, &Rel) -> Outcome<T>) -> Outcome<(Rel, T)> {
        let outer = self.rows.replace(RowCalls { serialized: rel.is_serialized(), calls: Vec::new() });
        let bound = bind(self, &rel);
        let calls = mem::replace(&mut self.rows, outer);
        let bound = bound?;
        Ok(match calls {
            Some(calls) => (calls.under(rel), bound),
            None => (rel, bound),
        })
    }

    /// A call of a function over rows, if it is one.
    pub(in crate::kql) fn row_call(
        &mut self,
        function: &Name,
        arguments: &[Argument],
        span: Span,
        scope: Scope<'_>,
    ) -> Outcome<Option<Bound>> {
        let (least, most) = match function.text.as_str() {
            "row_number" => (0, 2),
            "prev" | "next" => (1, 3),
            "row_cumsum" | "row_rank_dense" | "row_rank_min" => (1, 2),
            "row_window_session" => (3, 4),
            _ => return Ok(None),
        };
        let name = function.text.as_str();
        let place = function.span;
        match &self.rows {
            None => {
                return Err(Problem::new(
                    place,
                    "NotSerialized",
                    format!("`{name}` can stand in `extend`, `project`, `where` and `serialize` only"),
                ));
            }
            Some(rows) if !rows.serialized => {
                return Err(Problem::new(place, "NotSerialized", format!("`{name}` needs rows in a fixed order, and these have none"))
                    .hint("put `sort by ..` before it, or `serialize` to take them as they come"));
            }
            Some(_) => {}
        }
        if !(least..=most).contains(&arguments.len()) {
            return Err(Problem::new(
                place,
                "WrongArguments",
                format!("`{name}` takes {least} to {most} arguments, here are {}", arguments.len()),
            ));
        }
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(&argument.value, scope)?);
        }
        let (running, arguments, kind) = match name {
            "row_number" => {
                let start = match values.first() {
                    Some(start) => whole(start)?,
                    None => 1,
                };
                (Running::Number { start }, restart(values.get(1))?, ColumnType::Long)
            }
            "prev" | "next" => neighbour(name == "prev", &values)?,
            "row_cumsum" => {
                let value = &values[0];
                let kind = value.kind;
                if !is_number(kind) && kind != ColumnType::TimeSpan {
                    return Err(Problem::mismatch(value.span, format!("`{name}` adds numbers, this is a {}", kind.as_str()))
                        .hint("convert it, e.g. with `tolong(..)`"));
                }
                (Running::Sum, with_restart(vec![value.expr.clone()], values.get(1))?, kind)
            }
            "row_window_session" => {
                let time = of_kind(&values[0], ColumnType::DateTime, name)?;
                let longest = of_kind(&values[1], ColumnType::TimeSpan, name)?;
                let gap = of_kind(&values[2], ColumnType::TimeSpan, name)?;
                (Running::Session, with_restart(vec![time, longest, gap], values.get(3))?, ColumnType::DateTime)
            }
            _ => {
                let running = if name == "row_rank_dense" { Running::RankDense } else { Running::RankMin };
                (running, with_restart(vec![values[0].solid()], values.get(1))?, ColumnType::Long)
            }
        };
        let Some(rows) = &mut self.rows else { return Ok(None) };
        Ok(Some(Bound::new(rows.add(running, arguments, kind), kind, span)))
    }
}

/// `prev(value, by, default)`, `next(..)`.
fn neighbour(before: bool, values: &[Bound]) -> Outcome<(Running, Vec<Expr>, ColumnType)> {
    let value = &values[0];
    let by = match values.get(1) {
        Some(by) => whole(by)?,
        None => 1,
    };
    let place = values.get(1).map_or(value.span, |by| by.span);
    let by = match by {
        0..=FAR_MAX => usize::try_from(by).unwrap_or(0),
        _ => return Err(Problem::new(place, "InvalidCount", format!("this is from 0 to {FAR_MAX} rows, not {by}"))),
    };
    let default = match values.get(2) {
        Some(default) => convert(default.clone(), value.kind).solid(),
        None => null_of(value.kind),
    };
    let running = if before { Running::Before { by } } else { Running::After { by } };
    Ok((running, vec![value.solid(), default], value.kind))
}

fn whole(value: &Bound) -> Outcome<i64> {
    match folded(convert(value.clone(), ColumnType::Long).expr) {
        Expr::Literal(ScalarValue::Int64(Some(whole)), _) if is_number(value.kind) => Ok(whole),
        _ => Err(Problem::new(value.span, "NotConstant", "a constant whole number is needed here")),
    }
}

fn of_kind(value: &Bound, kind: ColumnType, function: &str) -> Outcome<Expr> {
    if value.kind == kind || value.kind == ColumnType::Dynamic {
        return Ok(convert(value.clone(), kind).expr);
    }
    Err(Problem::mismatch(value.span, format!("`{function}` takes a {} here, this is a {}", kind.as_str(), value.kind.as_str())))
}

fn restart(condition: Option<&Bound>) -> Outcome<Vec<Expr>> {
    with_restart(vec![], condition)
}

fn with_restart(mut arguments: Vec<Expr>, condition: Option<&Bound>) -> Outcome<Vec<Expr>> {
    if let Some(condition) = condition {
        let condition = truth(condition.clone())?;
        // Never starting again is the same as not saying so.
        if condition != lit(false) {
            arguments.push(condition);
        }
    }
    Ok(arguments)
}
