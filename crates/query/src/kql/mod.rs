//! KQL syntax trees to logical plans: names resolved, values typed, KQL's own meaning of nulls, order and names made explicit.
//!
//! No SQL text in between. `bind` makes a bound tree ([`bound`]) of a syntax tree, `expr` does its values, `plan` turns it into
//! DataFusion's plan. Functions are not here but in [`crate::functions`].
//!
//! ```text
//! text ─parse─▶ tree ─names─▶ tables (resolved once) ─bind─▶ Rel { columns, operators over typed values } ─plan─▶ LogicalPlan
//! ```

mod bind;
mod bound;
mod env;
mod expr;
mod gather;
mod known;
mod names;
mod nodes;
mod plan;
mod problem;
mod registry;
mod tables;
#[cfg(test)]
mod tests;

use datafusion::execution::SessionState;
use strongroom_kql::Span;
use strongroom_kql::ast;

use crate::resolve::{BoundContext, Planned, TableResolver};
use crate::{QueryError, Render};

pub(crate) use nodes::{KqlPlanner, is_ours};

use bind::RowCalls;
use env::Env;
use problem::{Outcome, Problem};

/// Most nodes one text may come to once functions are inlined: each costs about a microsecond and a kilobyte.
const NODES_MAX: usize = 100_000;

/// Most operators on one path through the tree: what later passes do recursively.
const DEPTH_MAX: usize = 400;

/// Plans one KQL text: parse, collect table names, resolve them, bind.
///
/// # Errors
/// `SyntaxError` or `SemanticError` with the place in the text; whatever resolving gives.
pub(crate) async fn plan(_state: &SessionState, text: &str, resolver: &dyn TableResolver) -> Result<Planned, QueryError> {
    let parsed = strongroom_kql::parse(text);
    if let Some(first) = parsed.diagnostics.first() {
        let span = first.span.start as usize..first.span.end as usize;
        let error = QueryError::syntax(text, span, first.code.as_str(), first.message.clone());
        return Err(match &first.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        });
    }
    let wanted = tables::wanted(&parsed.query);
    let mut names = wanted.names;
    if !wanted.patterns.is_empty() {
        let all = resolver.names().await?;
        names.extend(all.into_iter().filter(|name| wanted.patterns.iter().any(|pattern| pattern.matches(name))));
    }
    names.sort_unstable();
    names.dedup();
    let context = resolver.resolve(&names).await?;
    bind(&parsed.query, text, &context).map_err(|problem| problem.into_error(text))
}

/// Binds and plans a tree without diagnostics over tables that are there.
pub(crate) fn bind(query: &ast::Query, text: &str, context: &BoundContext) -> Outcome<Planned> {
    let mut binder = Binder { context, text, env: Env::default(), nodes: 0, inlined: 0, render: None, rows: None };
    let rel = binder.query(query)?;
    let plan = plan::answer(&rel)?;
    Ok(Planned { plan, render: binder.render })
}

/// What is known while a text is bound.
pub(crate) struct Binder<'a> {
    context: &'a BoundContext,
    text: &'a str,
    /// What `let` has named so far.
    env: Env,
    /// Nodes bound so far, see [`NODES_MAX`].
    nodes: usize,
    /// How many calls of the text's own functions enclose this place.
    inlined: usize,
    /// What the last `render` of the text said.
    render: Option<Render>,
    /// Where functions over rows in order go, in operators that may have them.
    rows: Option<RowCalls>,
}

impl Binder<'_> {
    /// What `now()` means.
    fn now(&self) -> i64 {
        self.context.now
    }

    /// Accounts for one more node.
    fn spend(&mut self, span: Span) -> Outcome<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Problem::new(
                span,
                "TooComplex",
                format!("with its functions written out the query has more than {NODES_MAX} parts"),
            ));
        }
        Ok(())
    }
}
