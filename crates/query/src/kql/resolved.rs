//! What a text refers to, fetched: tables, stored functions and what those refer to, tables of other workspaces.
//!
//! Most texts name tables and nothing else: then one look at the catalog is all. A name that is no table, no `let` and no function
//! of KQL's own may be a stored function; what its body names is fetched in the next round, until nothing new is named.

use std::collections::{HashMap, HashSet};

use strongroom_kql::ast::Query;

use super::tables::{self, Wanted};
use crate::QueryError;
use crate::functions;
use crate::resolve::{BoundContext, TableResolver};
use crate::stored::Callable;

/// Most stored functions one text may come to.
const FUNCTIONS_MAX: usize = 100;
/// Most other workspaces one text may name.
const WORKSPACES_MAX: usize = 10;
/// Most workspaces that may be asked along with the one asked (Azure's limit, less that one).
const BESIDE_MAX: usize = 99;

/// Fetches everything a text may mean.
///
/// # Errors
/// What the catalog and the keys say; `TooComplex` for more than can be meant.
pub(super) async fn context(query: &Query, resolver: &dyn TableResolver) -> Result<BoundContext, QueryError> {
    let mut wanted = tables::wanted(query);
    let mut found: HashMap<String, Callable> = HashMap::new();
    let mut asked: HashSet<String> = HashSet::new();
    let mut context = loop {
        let context = resolver.resolve(&table_names(&wanted, resolver).await?).await?;
        let candidates = candidates(&wanted, &context, &mut asked);
        if candidates.is_empty() {
            break context;
        }
        let fresh = resolver.functions(&candidates).await?;
        if fresh.is_empty() {
            break context;
        }
        for callable in fresh.values() {
            wanted.extend(tables::wanted(&callable.lambda.body));
        }
        found.extend(fresh);
        if found.len() > FUNCTIONS_MAX {
            return Err(QueryError::invalid("TooComplex", format!("the query calls more than {FUNCTIONS_MAX} stored functions")));
        }
    };
    context.functions = found;
    context.beside = resolver.beside();
    context.foreign = foreign(&wanted, resolver).await?;
    Ok(context)
}

/// The names in places of rows, patterns written out.
async fn table_names(wanted: &Wanted, resolver: &dyn TableResolver) -> Result<Vec<String>, QueryError> {
    let mut names = wanted.names.clone();
    if !wanted.patterns.is_empty() {
        let all = resolver.names().await?;
        names.extend(all.into_iter().filter(|name| wanted.patterns.iter().any(|pattern| pattern.matches(name))));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Names that may be stored functions and were not asked for yet.
fn candidates(wanted: &Wanted, context: &BoundContext, asked: &mut HashSet<String>) -> Vec<String> {
    let own = |name: &str| functions::scalar(name).is_some() || functions::aggregate(name).is_some();
    let calls = wanted.calls.iter().filter(|name| !own(name));
    let names = wanted.names.iter().filter(|name| !context.tables.contains_key(*name));
    calls.chain(names).filter(|name| !wanted.lets.contains(*name) && asked.insert((*name).clone())).cloned().collect()
}

async fn foreign(wanted: &Wanted, resolver: &dyn TableResolver) -> Result<HashMap<String, BoundContext>, QueryError> {
    let mut by_workspace: HashMap<&str, Vec<String>> = HashMap::new();
    for (workspace, table) in &wanted.foreign {
        by_workspace.entry(workspace).or_default().push(table.clone());
    }
    if by_workspace.len() > WORKSPACES_MAX {
        return Err(QueryError::invalid("TooComplex", format!("the query names more than {WORKSPACES_MAX} other workspaces")));
    }
    let beside = resolver.beside();
    if beside.len() > BESIDE_MAX {
        return Err(QueryError::invalid("TooComplex", format!("at most {} workspaces may be asked together", BESIDE_MAX + 1)));
    }
    for workspace in &beside {
        by_workspace.entry(workspace).or_default();
    }
    let mut found = HashMap::new();
    for (workspace, mut tables) in by_workspace {
        let Some(neighbour) = resolver.neighbour(workspace).await? else { continue };
        if beside.iter().any(|name| name == workspace) {
            tables.extend(table_names(wanted, &*neighbour).await?);
        }
        found.insert(workspace.to_owned(), neighbour.resolve(&tables).await?);
    }
    Ok(found)
}
