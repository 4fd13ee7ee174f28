//! What is wrong with a text that parses: where, what, and what to write instead.

use strongroom_kql::Span;

use crate::QueryError;

/// One complaint about the meaning of a text. The binder stops at the first one of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The part of the text it is about.
    pub(super) span: Span,
    /// `UnknownColumn`, `TypeMismatch`, `NotSupportedYet`, …
    pub(super) code: &'static str,
    /// A sentence without full stop.
    pub(super) message: String,
    /// What would work.
    pub(super) hint: Option<String>,
    /// What is wrong with other statements.
    pub(super) more: Vec<Problem>,
}

/// What binding gives.
pub(super) type Outcome<T> = Result<T, Problem>;

impl Problem {
    pub(super) fn new(span: Span, code: &'static str, message: impl Into<String>) -> Self {
        Self { span, code, message: message.into(), hint: None, more: Vec::new() }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// KQL has it, this build does not.
    pub(super) fn unsupported(span: Span, what: impl AsRef<str>, instead: Option<&str>) -> Self {
        let problem = Self::new(span, "NotSupportedYet", format!("{} is not supported yet", what.as_ref()));
        match instead {
            Some(instead) => problem.hint(instead),
            None => problem,
        }
    }

    pub(super) fn mismatch(span: Span, message: impl Into<String>) -> Self {
        Self::new(span, "TypeMismatch", message)
    }

    /// DataFusion refused a plan that should have been fine: our mistake, told with its place.
    pub(super) fn planner(span: Span, error: &datafusion::error::DataFusionError) -> Self {
        Self::new(span, "PlannerError", format!("the query could not be planned: {}", error.strip_backtrace()))
    }

    /// As the caller gets it.
    pub(super) fn into_error(self, text: &str) -> QueryError {
        let error = QueryError::semantic(text, self.span.start as usize..self.span.end as usize, self.code, self.message);
        let error = match self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        };
        error.with_more(self.more.into_iter().map(|problem| problem.into_error(text)))
    }
}

#[cfg(test)]
impl Problem {
    /// As a person sees it: message, line, caret, hint.
    pub(super) fn render(&self, text: &str) -> String {
        let diagnostic = strongroom_kql::Diagnostic {
            span: self.span,
            code: strongroom_kql::Code::Unexpected,
            message: self.message.clone(),
            hint: self.hint.clone(),
        };
        let mut told = strongroom_kql::render(text, &[diagnostic]).replacen("SYN0002", self.code, 1);
        for problem in &self.more {
            told.push('\n');
            told.push_str(&problem.render(text));
        }
        told
    }
}
