//! KQL syntax trees to logical plans.

use datafusion::execution::SessionState;

use crate::QueryError;
use crate::resolve::{Planned, TableResolver};

/// Plans one KQL text: parse, collect table names, resolve them, bind.
pub(crate) async fn plan(_state: &SessionState, _text: &str, _resolver: &dyn TableResolver) -> Result<Planned, QueryError> {
    Err(QueryError::invalid("NotImplemented", "KQL is not bound yet"))
}
