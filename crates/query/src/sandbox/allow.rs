//! The allow-list over plans.

use std::collections::HashSet;
use std::sync::LazyLock;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::MemTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::scalar::ScalarValue;

use crate::QueryError;
use crate::table::LogTable;

/// Most nodes in a plan: texts that name a common table expression twice at each of thirty levels are bombs.
const NODES_MAX: usize = 4_000;

/// The same for plans of our binder, which bounds itself and unfolds one operator into several nodes.
const BOUND_NODES_MAX: usize = 50_000;

/// Longest text or list that a function may be asked to make by a number.
const REPEAT_MAX: i64 = 10_000;

/// DataFusion's scalar functions that SQL texts may call. The test below makes each new one a decision.
#[rustfmt::skip]
pub(super) const SCALARS: &[&str] = &[
    // core
    "nullif", "arrow_typeof", "nvl", "nvl2", "coalesce", "greatest", "least", "named_struct", "struct", "get_field",
    // time
    "date_bin", "date_part", "date_trunc", "from_unixtime", "make_date", "make_time", "now", "current_date", "current_time", "to_char",
    "to_date", "to_time", "to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos",
    "to_unixtime", "to_local_time",
    // math
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "cos", "cosh", "cot", "degrees", "exp", "factorial",
    "floor", "gcd", "isnan", "iszero", "lcm", "ln", "log", "log10", "log2", "nanvl", "pi", "power", "radians", "random", "round", "signum", "sin",
    "sinh", "sqrt", "tan", "tanh", "trunc",
    // regular expressions: linear time
    "regexp_count", "regexp_instr", "regexp_like", "regexp_match", "regexp_replace",
    // text
    "ascii", "bit_length", "btrim", "chr", "concat", "concat_ws", "contains", "ends_with", "levenshtein", "lower", "ltrim", "octet_length",
    "repeat", "replace", "rtrim", "split_part", "starts_with", "to_hex", "upper", "uuid", "character_length", "find_in_set", "initcap", "left",
    "lpad", "reverse", "right", "rpad", "strpos", "substr", "substr_index", "translate",
    // lists
    "array_append", "array_concat", "array_dims", "array_distance", "array_distinct", "array_element", "empty", "array_except",
    "array_has", "array_has_all", "array_has_any", "array_intersect", "array_length", "array_max", "array_min", "array_ndims", "array_pop_back",
    "array_pop_front", "array_position", "array_positions", "array_prepend", "array_remove", "array_remove_all", "array_remove_n",
    "array_repeat", "array_replace", "array_replace_all", "array_replace_n", "array_reverse", "array_slice", "array_sort", "array_to_string",
    "array_union", "arrays_zip", "cardinality", "flatten", "make_array", "map", "map_entries", "map_extract", "map_keys", "map_values",
    "string_to_array", "array_add", "array_avg", "array_compact", "array_normalize", "array_product", "array_scale", "array_subtract",
    "array_sum", "cosine_distance", "inner_product", "decode", "encode",
];

/// DataFusion's scalar functions that they may not: what makes rows from numbers, tells of the server, or asserts types for tests.
#[cfg(test)]
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    "generate_series", "range", "version", "arrow_cast", "arrow_try_cast", "arrow_metadata", "arrow_field", "with_metadata",
    "union_extract", "union_tag", "overlay", "array_resize", "array_any_value", "cast_to_type", "try_cast_to_type",
    "file_row_index", "input_file_name",
];

pub(super) static DEFAULTS: LazyLock<HashSet<String>> =
    LazyLock::new(|| SessionStateDefaults::default_scalar_functions().iter().map(|function| function.name().to_owned()).collect());

/// Whether SQL may call this scalar function of DataFusion's.
pub(super) fn allowed(name: &str) -> bool {
    SCALARS.contains(&name)
}

/// Who wrote the calls in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The caller, in SQL: functions are checked.
    Caller,
    /// Our own binder, which builds on functions of DataFusion as it sees fit.
    Binder,
}

fn refuse(what: &str) -> DataFusionError {
    DataFusionError::Plan(format!("{what} is not allowed in a query"))
}

/// Refuses a plan with a node or function that is not on the list, naming it.
///
/// # Errors
/// [`QueryError`] of kind `Invalid`, code `NotAllowed` or `QueryTooComplex`.
pub(crate) fn check(plan: &LogicalPlan, trust: Trust) -> Result<(), QueryError> {
    let limit = if trust == Trust::Caller { NODES_MAX } else { BOUND_NODES_MAX };
    let mut nodes = 0;
    let mut too_large = false;
    let visited = plan.apply_with_subqueries(|node| {
        nodes += 1;
        if nodes > limit {
            too_large = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        check_node(node, trust)?;
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                check_expr(expr, trust)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    if too_large {
        return Err(QueryError::invalid("QueryTooComplex", format!("the query unfolds to more than {limit} steps")));
    }
    let bounded = visited.and_then(|_| if trust == Trust::Caller { super::growth::check(plan) } else { Ok(()) });
    match bounded {
        Ok(()) => Ok(()),
        Err(DataFusionError::Plan(message)) => Err(QueryError::invalid("NotAllowed", message)),
        Err(error) => Err(error.into()),
    }
}

fn check_node(node: &LogicalPlan, trust: Trust) -> Result<()> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => Ok(()),
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source)?;
            if provider.is::<LogTable>() || provider.is::<MemTable>() {
                return Ok(());
            }
            Err(refuse("a source other than the workspace's tables"))
        }
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => Err(refuse("EXPLAIN inside a query or with ANALYZE")),
        LogicalPlan::Ddl(ddl) => Err(refuse(ddl.name())),
        LogicalPlan::Dml(dml) => Err(refuse(dml.op.name())),
        LogicalPlan::Copy(_) => Err(refuse("COPY")),
        LogicalPlan::Statement(statement) => Err(refuse(statement.name())),
        LogicalPlan::DescribeTable(_) => Err(refuse("DESCRIBE")),
        LogicalPlan::RecursiveQuery(_) => Err(refuse("WITH RECURSIVE")),
        LogicalPlan::Repartition(_) => Err(refuse("REPARTITION")),
        LogicalPlan::Extension(extension) if trust == Trust::Binder && crate::kql::is_ours(extension.node.as_ref()) => Ok(()),
        LogicalPlan::Extension(extension) => Err(refuse(extension.node.name())),
    }
}

fn check_expr(expr: &Expr, trust: Trust) -> Result<()> {
    match expr {
        Expr::ScalarVariable(_, names) => Err(refuse(&format!("the variable {}", names.join(".")))),
        Expr::Placeholder(placeholder) => Err(refuse(&format!("the parameter {}", placeholder.id))),
        Expr::ScalarFunction(call) if trust == Trust::Caller => {
            let name = call.func.name();
            if DEFAULTS.contains(name) && !allowed(name) {
                return Err(refuse(&format!("the function {name}")));
            }
            check_size(name, &call.args)
        }
        _ => Ok(()),
    }
}

/// Functions that make much out of a number get that number as a literal, and a small one.
fn check_size(name: &str, args: &[Expr]) -> Result<()> {
    let size = match name {
        "repeat" | "lpad" | "rpad" | "array_repeat" => 1,
        _ => return Ok(()),
    };
    let Some(arg) = args.get(size) else { return Ok(()) };
    match literal(arg) {
        Some(n) if n <= REPEAT_MAX => Ok(()),
        _ => Err(DataFusionError::Plan(format!("the function {name} takes a literal number of at most {REPEAT_MAX} in a query"))),
    }
}

pub(super) fn literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&arrow_schema::DataType::Int64).ok()? {
            ScalarValue::Int64(found) => found,
            _ => None,
        },
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Negative(inner) => literal(inner).map(|n| -n),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scalar_function_of_datafusion_is_allowed_or_refused_by_name() {
        let mut undecided: Vec<_> = DEFAULTS.iter().filter(|name| !allowed(name) && !REFUSED.contains(&name.as_str())).collect();
        undecided.sort();
        assert!(undecided.is_empty(), "decide on {undecided:?}");
        let mut gone: Vec<_> = SCALARS.iter().filter(|name| !DEFAULTS.contains(**name)).collect();
        gone.dedup();
        assert!(gone.is_empty(), "no such functions: {gone:?}");
    }
}
