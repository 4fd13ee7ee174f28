//! KQL's functions as DataFusion functions.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// The functions that SQL texts may call besides DataFusion's own.
pub(crate) fn sql_functions() -> Vec<Arc<ScalarUDF>> {
    Vec::new()
}
