//! Constants are computed while binding: `ago(1h)`, `5 * 60`, `strcat("a", "b")` are literals afterwards.

use arrow::array::RecordBatch;
use arrow::record_batch::RecordBatchOptions;
use arrow_schema::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{ColumnarValue, Expr};
use datafusion::physical_expr::create_physical_expr;

/// The literal an expression without columns amounts to; anything else comes back as it was.
pub(in crate::kql) fn folded(expr: Expr) -> Expr {
    if matches!(expr, Expr::Literal(..)) || !is_constant(&expr) {
        return expr;
    }
    match evaluate(&expr) {
        Some(value) => Expr::Literal(value, None),
        None => expr,
    }
}

/// Whether it has one value a query: no columns, sub-queries, aggregates or randomness in it.
fn is_constant(expr: &Expr) -> bool {
    let mut constant = true;
    let walked = expr.apply(|node| {
        let fixed = match node {
            Expr::Literal(..)
            | Expr::Alias(_)
            | Expr::BinaryExpr(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Case(_)
            | Expr::Cast(_)
            | Expr::TryCast(_)
            | Expr::InList(_) => true,
            Expr::ScalarFunction(call) => call.func.signature().volatility == datafusion::logical_expr::Volatility::Immutable,
            _ => false,
        };
        constant &= fixed;
        Ok(if fixed { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    walked.is_ok() && constant
}

fn evaluate(expr: &Expr) -> Option<ScalarValue> {
    let physical = create_physical_expr(expr, &DFSchema::empty(), &ExecutionProps::new(), &PhysicalPlanningContext::default()).ok()?;
    let row = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &RecordBatchOptions::new().with_row_count(Some(1))).ok()?;
    let value = match physical.evaluate(&row).ok()? {
        ColumnarValue::Scalar(value) => value,
        ColumnarValue::Array(array) => ScalarValue::try_from_array(&array, 0).ok()?,
    };
    Some(match value {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) => ScalarValue::Utf8View(text),
        other => other,
    })
}
