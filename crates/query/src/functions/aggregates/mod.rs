//! Aggregate functions.

use datafusion::logical_expr::{AggregateUDF, Expr};
use strongroom_model::ColumnType;

use super::{Misfit, Typed};

/// One aggregate function: how many arguments of which types it takes, what it gives, how it is computed.
#[derive(Debug)]
pub(crate) struct AggregateSpec {
    /// As messages call it.
    pub(crate) name: &'static str,
}

/// An aggregate over the input's columns, and how to get its values out of what DataFusion computes.
#[derive(Clone, Debug)]
pub(crate) struct BoundAggregate {
    /// `Expr::AggregateFunction`; conditions (`countif`) are its FILTER. Give it an alias and find it by that in the output.
    pub(crate) call: Expr,
    /// What it gives: one column, or several (`arg_max(t, a, b)` gives t, a, b; `percentiles(x, 50, 95)` two; `take_any(a, b)` two).
    pub(crate) columns: Vec<ColumnType>,
    /// Whether its result depends on the order of its input (`make_list`).
    pub(crate) ordered: bool,
}

impl BoundAggregate {
    /// Column number `index` as a value over the aggregation's output, where `output` is the column holding [`call`](Self::call).
    /// This is where sums of nothing become 0 and the like.
    pub(crate) fn value(&self, output: Expr, index: usize) -> Typed {
        Typed::new(output, self.columns[index])
    }
}

impl AggregateSpec {
    /// The call. For `arg_max(t, *)` the binder gives the columns instead of `*`.
    ///
    /// # Errors
    /// The number or a type of the arguments does not fit.
    pub(crate) fn bind(&'static self, arguments: Vec<Typed>) -> Result<BoundAggregate, Misfit> {
        let _ = arguments;
        Err(Misfit { argument: None, message: format!("{} is not written yet", self.name) })
    }
}

pub(super) fn by_name(_name: &str) -> Option<&'static AggregateSpec> {
    None
}
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}
pub(super) fn for_sql() -> Vec<AggregateUDF> {
    Vec::new()
}
