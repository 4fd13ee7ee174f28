//! From names in a text to tables pinned at one snapshot: the seam between the languages and the engine.
//!
//! A language parses first, collects the names it may mean, has them resolved in one go, and then plans without waiting on
//! anything; only where KQL's columns depend on the data it is looked at in between ([`crate::kql::Ask`]).

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use strongroom_model::TimeRange;

use crate::stored::Callable;
use crate::{QueryError, Render};

/// What a text may refer to, pinned: the same answer however long planning takes.
#[derive(Debug, Default)]
pub(crate) struct BoundContext {
    /// The tables found among the names asked for. A name that is missing is no table of this workspace.
    /// The provider's schema is the engine form of [`strongroom_model::TableSchema`], `dynamic` columns marked by extension name.
    /// The request's timespan is already built in: providers give rows inside it only.
    pub tables: HashMap<String, Arc<dyn TableProvider>>,
    /// Every table name of the workspace, sorted: for wildcards and did-you-mean.
    pub names: Vec<String>,
    /// The instant `now()` means in this query, nanoseconds since 1970.
    pub now: i64,
    /// The request's timespan, for a language that wants to know it.
    #[allow(dead_code, reason = "neither language asks yet")]
    pub timespan: Option<TimeRange>,
    /// The stored functions found among the names asked for.
    pub functions: HashMap<String, Callable>,
    /// Tables of other workspaces, by the workspace as the text names it. One that is missing may not be asked, or is not there.
    pub foreign: HashMap<String, BoundContext>,
    /// Of those, the workspaces whose tables are asked along with this one's.
    pub beside: Vec<String>,
    /// Values for the text's declared parameters.
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

/// Resolves table names in the caller's workspace and nowhere else.
#[async_trait]
pub(crate) trait TableResolver: Send + Sync {
    /// Every table name of the workspace, sorted.
    async fn names(&self) -> Result<Vec<String>, QueryError>;

    /// Pins the named tables (exact case). Unknown names are left out, not errors.
    /// Within one query a name resolves to the same snapshot every time.
    async fn resolve(&self, names: &[String]) -> Result<BoundContext, QueryError>;

    /// The stored functions of these names; those that are not there are left out.
    async fn functions(&self, names: &[String]) -> Result<HashMap<String, Callable>, QueryError>;

    /// The tables of another workspace: `None` if there is none of that name that may be asked.
    async fn neighbour(&self, name: &str) -> Result<Option<Box<dyn TableResolver>>, QueryError>;

    /// Workspaces whose tables are asked along with this one's.
    fn beside(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a language makes of a text.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The plan: our tables, values and plain operators only.
    pub plan: LogicalPlan,
    /// How the caller asked to see it.
    pub render: Option<Render>,
}

/// The name among `names` that `wanted` was likely meant to be.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = wanted.to_lowercase();
    let limit = (wanted.chars().count() / 3).clamp(1, 3);
    names
        .into_iter()
        .map(|name| (distance(&lower, &name.to_lowercase()), name))
        .filter(|(far, _)| *far <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein distance in characters; names are at most 128 bytes.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
