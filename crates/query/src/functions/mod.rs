//! KQL's functions and operators as DataFusion expressions and functions.
//!
//! The binder asks [`scalar`], [`operator`], [`set_operator`] or [`aggregate`] for a [`ScalarSpec`] or [`AggregateSpec`] and
//! gives it typed arguments; what comes back is an expression and its KQL type. What a name in the text means beyond values
//! (`toscalar`, `materialize`, `column_ifexists`, `pack_all`, row functions) is the binder's.
//!
//! Two promises hold everywhere: a function reads a null string as `""` and never gives a null string; and no value of a row
//! makes a query fail: a conversion that makes no sense gives null.

mod aggregates;
mod scalars;
mod sketches;

use datafusion::logical_expr::{AggregateUDF, Expr, ScalarUDF};
use strongroom_kql::ast::{BinaryOp, SetOp};
use strongroom_model::ColumnType;

pub(crate) use aggregates::part::part;
pub(crate) use aggregates::{AggregateSpec, BoundAggregate};
pub(crate) use scalars::axis::{Axis, SeriesOf, series};
pub(crate) use scalars::cells::{CellColumn, Cells, slots};
pub(crate) use scalars::parse::{Fields, KvPattern, ParsePattern, Part, Quoting, Strictness, TakeApart, take_apart};
pub(crate) use scalars::prefixes::{Family, network_key, networks_of};
pub(crate) use scalars::{ScalarSpec, Several};

/// An expression and its KQL type; its Arrow type is [`ColumnType::query_type`] of that.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    /// Over columns of the input. Constants are `Expr::Literal`.
    pub(crate) expr: Expr,
    /// Its type.
    pub(crate) kind: ColumnType,
}

impl Typed {
    pub(crate) fn new(expr: Expr, kind: ColumnType) -> Self {
        Self { expr, kind }
    }
}

/// What is the same during one query.
#[derive(Clone, Debug)]
pub(crate) struct CallContext {
    /// What `now()` means, nanoseconds since 1970.
    pub(crate) now: i64,
}

/// Why arguments do not fit a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The argument at fault, from 0; none: the call as a whole (say, too few of them).
    pub(crate) argument: Option<usize>,
    /// A sentence: lower case, no full stop.
    pub(crate) message: String,
}

/// The scalar function of that name (aliases included), e.g. `tostring`.
pub(crate) fn scalar(name: &str) -> Option<&'static ScalarSpec> {
    scalars::by_name(name)
}

/// The function of that name if it gives several columns, e.g. `series_fit_line`.
pub(crate) fn several(name: &str) -> Option<&'static Several> {
    scalars::several(name)
}

/// What computes a binary operator: arithmetic and the string operators. Comparisons (`==`, `<`, `=~`, ..) are the binder's: `None`.
/// Negated string operators (`!has`) are `None`, too: bind [`BinaryOp::negates`] and negate.
pub(crate) fn operator(op: BinaryOp) -> Option<&'static ScalarSpec> {
    scalars::of_operator(op)
}

/// What computes `has_any` and `has_all`: the first argument is the text, the others are the list (strings or dynamic arrays).
/// `in` and its like are the binder's: `None`.
pub(crate) fn set_operator(op: SetOp) -> Option<&'static ScalarSpec> {
    scalars::of_set_operator(op)
}

/// The aggregate function of that name (aliases included), e.g. `arg_max`.
pub(crate) fn aggregate(name: &str) -> Option<&'static AggregateSpec> {
    aggregates::by_name(name)
}

/// Every scalar function's name, for "did you mean".
pub(crate) fn scalar_names() -> impl Iterator<Item = &'static str> {
    scalars::names()
}

/// Every aggregate's name, for "did you mean".
pub(crate) fn aggregate_names() -> impl Iterator<Item = &'static str> {
    aggregates::names()
}

/// `value.path[0].path[1]..`: a member of a `dynamic` by constant names and indexes, or null. Gives `dynamic`.
pub(crate) fn dynamic_get(value: Expr, path: &[PathStep]) -> Typed {
    scalars::dynamic_get(value, path)
}

/// One step into a `dynamic`.
#[derive(Clone, Debug)]
pub(crate) enum PathStep {
    /// `.name`, `["name"]`
    Key(String),
    /// `[0]`, `[-1]`: from the end if negative.
    Index(i64),
    /// `[expr]`: a string or a long.
    Computed(Typed),
}

/// A conversion as `to<kind>(value)` makes it: null where it makes no sense. The same kind: the value itself.
pub(crate) fn convert(value: Typed, kind: ColumnType) -> Typed {
    scalars::convert(value, kind)
}

/// The first constant argument that should be a regular expression and is none, and why. `function` is a name in KQL or in SQL,
/// `constant` gives the text of constant arguments.
pub(crate) fn bad_pattern<'a>(function: &str, constant: impl Fn(usize) -> Option<&'a str>) -> Option<(usize, String)> {
    let at = scalars::pattern_at(function, &constant)?;
    Some((at, scalars::pattern_fault(constant(at)?)?))
}

/// Functions that SQL texts may call besides DataFusion's own.
pub(crate) fn sql_functions() -> (Vec<ScalarUDF>, Vec<AggregateUDF>) {
    (scalars::for_sql(), aggregates::for_sql())
}
