//! How large a value a query may make out of what it is given.
//!
//! Memory pools count what operators hold, not what one expression makes: `s || s` over itself at thirty levels, or a long
//! text in the place of each character of another, would be gigabytes before anybody counted. So growth is bounded beforehand.

use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::scalar::ScalarValue;

/// Most times that a value may outgrow what it was made from.
const GROWTH_MAX: u64 = 1_000_000;

/// A literal this long counts as one value of a row.
const LITERAL_BYTES: u64 = 64;

/// What a text of unknown length may do in the place of each character of another.
const UNKNOWN: u64 = 1_000;

/// Refuses a plan whose values may grow beyond all use.
///
/// # Errors
/// A plan error that says so.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    if of_plan(plan) > GROWTH_MAX {
        return Err(DataFusionError::Plan(format!(
            "making values more than {GROWTH_MAX} times as long as what they are made from is not allowed in a query"
        )));
    }
    Ok(())
}

fn of_plan(plan: &LogicalPlan) -> u64 {
    let below = plan.inputs().into_iter().map(of_plan).max().unwrap_or(1);
    let here = plan.expressions().iter().map(of_expr).max().unwrap_or(1);
    here.saturating_mul(below)
}

fn of_expr(expr: &Expr) -> u64 {
    match expr {
        Expr::Literal(value, _) => (length(value) / LITERAL_BYTES).max(1),
        Expr::ScalarFunction(call) => of_call(call.func.name(), &call.args),
        Expr::BinaryExpr(binary) if binary.op == Operator::StringConcat => of_expr(&binary.left).saturating_add(of_expr(&binary.right)),
        Expr::ScalarSubquery(subquery) => of_plan(&subquery.subquery),
        other => {
            let mut most = 1;
            let visited = datafusion::common::tree_node::TreeNode::apply_children(other, |child| {
                most = most.max(of_expr(child));
                Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
            });
            if visited.is_ok() { most } else { u64::MAX }
        }
    }
}

fn of_call(name: &str, args: &[Expr]) -> u64 {
    let sizes: Vec<u64> = args.iter().map(of_expr).collect();
    let sum = sizes.iter().copied().fold(0, u64::saturating_add).max(1);
    let first = sizes.first().copied().unwrap_or(1);
    // How long the argument is, where each character or item of another may become it.
    let each = |at: usize| match args.get(at) {
        Some(Expr::Literal(value, _)) => length(value).max(1),
        Some(other) => of_expr(other).saturating_mul(UNKNOWN),
        None => 1,
    };
    match name {
        "replace" | "regexp_replace" | "array_replace_all" => first.saturating_mul(each(2)),
        "array_to_string" => first.saturating_mul(each(1)),
        "concat_ws" => sum.saturating_mul(each(0)),
        // The sandbox has seen to it that these are literal numbers.
        "repeat" | "array_repeat" => first.saturating_mul(count(args.get(1))),
        "lpad" | "rpad" => sum.saturating_add(count(args.get(1)) / LITERAL_BYTES),
        _ => sum,
    }
}

fn count(arg: Option<&Expr>) -> u64 {
    arg.and_then(super::allow::literal).and_then(|n| u64::try_from(n).ok()).unwrap_or(1).max(1)
}

fn length(value: &ScalarValue) -> u64 {
    match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => text.len() as u64,
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) | ScalarValue::BinaryView(Some(bytes)) => {
            bytes.len() as u64
        }
        _ => 0,
    }
}
