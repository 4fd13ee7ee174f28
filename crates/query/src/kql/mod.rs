//! KQL syntax trees to logical plans: names resolved, values typed, KQL's own meaning of nulls, order and names made explicit.
//!
//! No SQL text in between. `bind` makes a bound tree ([`bound`]) of a syntax tree, `expr` does its values, `plan` turns it into
//! DataFusion's plan. Functions are not here but in [`crate::functions`].
//!
//! ```text
//! text ─parse─▶ tree ─names─▶ tables (resolved once) ─bind─▶ Rel { columns, operators over typed values } ─plan─▶ LogicalPlan
//! ```

mod ahead;
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
mod resolved;
mod tables;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use strongroom_kql::Span;
use strongroom_kql::ast;

use crate::resolve::{BoundContext, Planned, TableResolver};
use crate::{QueryError, Render};

pub(crate) use ahead::Ask;
pub(crate) use nodes::{KqlPlanner, is_finish, is_ours};

use ahead::{Fact, Knowledge, Question};
use bind::RowCalls;
use env::Env;
use problem::{Outcome, Problem};

/// Most nodes one text may come to once functions are inlined: each costs about a microsecond and a kilobyte.
const NODES_MAX: usize = 100_000;

/// Most operators on one path through the tree: what later passes do recursively.
const DEPTH_MAX: usize = 400;

/// Plans one KQL text: parse, fetch what it names, bind; where columns depend on the data, ask and bind again.
///
/// # Errors
/// `SyntaxError` or `SemanticError` with the place in the text; whatever resolving and asking give.
pub(crate) async fn plan(
    ask: &dyn Ask,
    text: &str,
    resolver: &dyn TableResolver,
    parameters: Map<String, Value>,
) -> Result<Planned, QueryError> {
    let parsed = strongroom_kql::parse(text);
    if !parsed.diagnostics.is_empty() {
        return Err(misread(text, &parsed.diagnostics));
    }
    let context = BoundContext { parameters, ..resolved::context(&parsed.query, resolver).await? };
    let mut facts = Vec::new();
    loop {
        match attempt(&parsed.query, text, &context, &facts).map_err(|problem| problem.into_error(text))? {
            Attempt::Planned(planned) => return Ok(*planned),
            Attempt::Asks(question) => facts.push(question.answered(ask).await?),
        }
    }
}

/// All mistakes of a text in one error.
pub(crate) fn misread(text: &str, diagnostics: &[strongroom_kql::Diagnostic]) -> QueryError {
    let mut errors = diagnostics.iter().map(|diagnostic| {
        let span = diagnostic.span.start as usize..diagnostic.span.end as usize;
        let error = QueryError::syntax(text, span, diagnostic.code.as_str(), diagnostic.message.clone());
        match &diagnostic.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    });
    let first = errors.next().unwrap_or_else(|| QueryError::internal("a text without mistakes was refused"));
    first.with_more(errors)
}

/// What came of binding a text.
#[derive(Debug)]
pub(crate) enum Attempt {
    Planned(Box<Planned>),
    /// Its columns depend on the data: to be bound anew with one fact more.
    Asks(Box<Question>),
}

/// Binds and plans a tree without diagnostics over tables that are there.
pub(crate) fn attempt(query: &ast::Query, text: &str, context: &BoundContext, facts: &[Fact]) -> Outcome<Attempt> {
    let knowledge = Knowledge::of(facts);
    let mut binder = Binder { context, text, env: Env::default(), nodes: 0, inlined: 0, render: None, rows: None, knowledge };
    match binder.query(query) {
        Ok(rel) => Ok(Attempt::Planned(Box::new(Planned { plan: plan::answer(&rel)?, render: binder.render }))),
        Err(problem) => match binder.knowledge.question() {
            Some(question) => Ok(Attempt::Asks(Box::new(question))),
            None => Err(problem),
        },
    }
}

/// Binds and plans a text that needs not look at its data.
#[cfg(test)]
pub(crate) fn bind(query: &ast::Query, text: &str, context: &BoundContext) -> Outcome<Planned> {
    match attempt(query, text, context, &[])? {
        Attempt::Planned(planned) => Ok(*planned),
        Attempt::Asks(_) => Err(Problem::new(query.span, "UnknownColumns", "the columns depend on the data")),
    }
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
    /// What is known of the data.
    knowledge: Knowledge<'a>,
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
