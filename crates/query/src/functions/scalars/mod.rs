//! Scalar functions.

use datafusion::logical_expr::{Expr, ScalarUDF};
use strongroom_kql::ast::{BinaryOp, SetOp};
use strongroom_model::ColumnType;

use super::{CallContext, Misfit, PathStep, Typed};

/// One scalar function: how many arguments of which types it takes, what it gives, how it is computed.
#[derive(Debug)]
pub(crate) struct ScalarSpec {
    /// As messages call it.
    pub(crate) name: &'static str,
}

impl ScalarSpec {
    /// The call's value. Arguments are converted where KQL does so silently (int to long to real; dynamic to what is wanted).
    ///
    /// # Errors
    /// The number or a type of the arguments does not fit.
    pub(crate) fn bind(&'static self, arguments: Vec<Typed>, context: &CallContext) -> Result<Typed, Misfit> {
        let _ = (arguments, context.now);
        Err(Misfit { argument: None, message: format!("{} is not written yet", self.name) })
    }
}

pub(super) fn by_name(_name: &str) -> Option<&'static ScalarSpec> {
    None
}
pub(super) fn of_operator(_op: BinaryOp) -> Option<&'static ScalarSpec> {
    None
}
pub(super) fn of_set_operator(_op: SetOp) -> Option<&'static ScalarSpec> {
    None
}
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    std::iter::empty()
}
pub(super) fn dynamic_get(value: Expr, _path: &[PathStep]) -> Typed {
    Typed::new(value, ColumnType::Dynamic)
}
pub(super) fn convert(value: Typed, kind: ColumnType) -> Typed {
    Typed::new(value.expr, kind)
}
pub(super) fn for_sql() -> Vec<ScalarUDF> {
    Vec::new()
}
