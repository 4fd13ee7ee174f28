//! What a text must know of the data before it has columns: `evaluate bag_unpack(..)` and `evaluate pivot(..)`.
//!
//! The binder asks by ending with a [`Question`]: a plan whose rows are gone through, never kept, to learn a [`Fact`] of bounded
//! size. Then the text is bound anew, now knowing. Who answers ([`Ask`]) runs the plan as the query itself will run: the same
//! snapshot, memory, limits and guards.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use async_trait::async_trait;
use datafusion::logical_expr::LogicalPlan;
use strongroom_kql::Span;
use strongroom_model::ColumnType;

use super::Binder;
use super::bound::{BoundColumn, Rel};
use super::plan;
use super::problem::{Outcome, Problem};
use crate::QueryError;
use crate::functions::slots;

/// Most questions of one text.
const QUESTIONS_MAX: usize = 8;

/// Most columns that data may make.
const COLUMNS_MAX: usize = 500;

/// Runs a question's plan.
#[async_trait]
pub(crate) trait Ask: Send + Sync {
    /// Hands each batch over and forgets it.
    async fn ask(
        &self,
        plan: LogicalPlan,
        each: &mut (dyn for<'b> FnMut(&'b RecordBatch) -> Result<(), QueryError> + Send),
    ) -> Result<(), QueryError>;
}

/// What is asked of a plan's one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The keys of its bags and the types of their values.
    Slots,
    /// Its distinct texts.
    Texts,
}

/// Something to be learnt before a text can be bound.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) plan: LogicalPlan,
    asked: Asked,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// By key; values of several types are dynamic.
    Slots(BTreeMap<String, ColumnType>),
    Texts(BTreeSet<String>),
}

impl Question {
    /// Has it answered.
    pub(crate) async fn answered(self, by: &dyn Ask) -> Result<Fact, QueryError> {
        let mut fact = match self.asked {
            Asked::Slots => Fact::Slots(BTreeMap::new()),
            Asked::Texts => Fact::Texts(BTreeSet::new()),
        };
        by.ask(self.plan, &mut |batch| fact.learn(batch)).await?;
        Ok(fact)
    }
}

impl Fact {
    fn learn(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        let Some(values) = batch.column(0).as_string_view_opt() else {
            return Err(QueryError::internal("a question is about a column of texts"));
        };
        for value in values.iter().flatten() {
            match self {
                Self::Slots(known) => {
                    for (key, kind) in slots(value) {
                        let Some(kind) = kind else { continue };
                        match known.get_mut(key.as_ref()) {
                            Some(there) if *there == kind => {}
                            Some(there) => *there = ColumnType::Dynamic,
                            None => drop(known.insert(key.into_owned(), kind)),
                        }
                    }
                }
                Self::Texts(known) => {
                    if !known.contains(value) {
                        known.insert(value.to_owned());
                    }
                }
            }
            if self.len() > COLUMNS_MAX {
                return Err(QueryError::invalid(
                    "TooManyColumns",
                    format!(
                        "the data would make more than {COLUMNS_MAX} columns; say which ones you want: `evaluate ..(..) : (a:long, b:string)`"
                    ),
                ));
            }
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match self {
            Self::Slots(known) => known.len(),
            Self::Texts(known) => known.len(),
        }
    }
}

/// Questions and what is known already.
#[derive(Debug, Default)]
pub(super) struct Knowledge<'k> {
    facts: &'k [Fact],
    /// How many facts were used so far: a text asks in the same order each time.
    used: usize,
    question: Option<Question>,
}

impl<'k> Knowledge<'k> {
    pub(super) fn of(facts: &'k [Fact]) -> Self {
        Self { facts, used: 0, question: None }
    }

    /// What the text could not be bound without.
    /// Whether binding stopped at a question.
    pub(super) fn asks(&self) -> bool {
        self.question.is_some()
    }

    /// Asks nothing after all: the text is wrong elsewhere.
    pub(super) fn withdraw(&mut self) {
        self.question = None;
    }

    pub(super) fn question(self) -> Option<Question> {
        self.question
    }
}

impl Binder<'_> {
    /// A fact about a column of a relation. The first time it is not known, and binding ends here.
    pub(super) fn fact(&mut self, rel: &Rel, about: &BoundColumn, asked: Asked, span: Span) -> Outcome<Fact> {
        let at = self.knowledge.used;
        self.knowledge.used += 1;
        if let Some(fact) = self.knowledge.facts.get(at) {
            return Ok(fact.clone());
        }
        if at >= QUESTIONS_MAX {
            return Err(Problem::new(span, "TooComplex", format!("a query may look at its data at most {QUESTIONS_MAX} times beforehand")));
        }
        let value = about.bound(span);
        let rel = rel.clone().project(vec![("value".to_owned(), value)], span);
        self.knowledge.question = Some(Question { plan: plan::logical(&rel)?, asked });
        Err(Problem::new(span, "UnknownColumns", "the columns depend on the data")
            .hint("say which ones they are: `evaluate ..(..) : (a:long, b:string)`"))
    }
}
