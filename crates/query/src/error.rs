//! What can go wrong with a question, told to the one who asked it.

use std::fmt;
use std::ops::Range;

use arrow_schema::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::parquet::errors::ParquetError;
use datafusion::sql::sqlparser::parser::ParserError;
use serde_json::{Value, json};
use strongroom_catalog::CatalogError;
use strongroom_envelope::{GuardError, OpenError};
use strongroom_keys::KeyError;
use strongroom_model::{Epoch, ErrorKind, ObjectId};

/// Where in the text an error lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Byte range in the text.
    pub span: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The text at the place, at most 64 characters.
    pub token: String,
}

impl Place {
    /// Finds line and column of a byte range of `text`; ranges beyond the end mean the end.
    #[must_use]
    pub fn of(text: &str, span: Range<usize>) -> Self {
        let floor = |mut at: usize| {
            at = at.min(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let (start, end) = (floor(span.start), floor(span.end.max(span.start)));
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            span: start..end,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            token: text[start..end].chars().take(64).collect(),
        }
    }
}

/// Why a question got no answer. The message may quote the question and its data: it is for the caller, never for a log;
/// `Debug` therefore shows kind and code alone.
#[derive(Clone)]
pub struct QueryError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    /// `SyntaxError` or `SemanticError`, the finer code (`SYN0002`, `SEM0100`) and the place.
    detail: Option<(&'static str, String, Option<Place>)>,
    hint: Option<String>,
    block: Option<ObjectId>,
    /// What else is wrong with the text.
    more: Vec<QueryError>,
}

impl QueryError {
    /// An error of any kind.
    #[must_use]
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, code, message: message.into(), detail: None, hint: None, block: None, more: Vec::new() }))
    }

    /// The caller's mistake.
    #[must_use]
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    /// The text does not parse; `detail` is a finer code such as `SYN0002`.
    #[must_use]
    pub fn syntax(text: &str, span: Range<usize>, detail: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::invalid("SyntaxError", message);
        error.0.detail = Some(("SyntaxError", detail.into(), Some(Place::of(text, span))));
        error
    }

    /// The text parses but means nothing here; `detail` is a finer code such as `SEM0100`.
    #[must_use]
    pub fn semantic(text: &str, span: Range<usize>, detail: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::invalid("SemanticError", message);
        error.0.detail = Some(("SemanticError", detail.into(), Some(Place::of(text, span))));
        error
    }

    /// Our own mistake; the message says what, without data.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "InternalError", message)
    }

    /// Names the block that did not open.
    #[must_use]
    pub fn with_block(mut self, block: ObjectId) -> Self {
        self.0.block = Some(block);
        self
    }

    /// Adds a sentence that helps ("did you mean …?").
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what else is wrong with the same text.
    #[must_use]
    pub fn with_more(mut self, more: impl IntoIterator<Item = Self>) -> Self {
        self.0.more.extend(more);
        self
    }

    /// What sort of trouble it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// A stable code, PascalCase.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }
    /// The sentence for the caller, hint included.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.0.hint {
            Some(hint) => format!("{}; {hint}", self.0.message),
            None => self.0.message.clone(),
        }
    }
    /// Where in the text, if it is about the text.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.0.detail.as_ref().and_then(|(_, _, place)| place.as_ref())
    }
    /// The block that failed, if one did.
    #[must_use]
    pub fn block(&self) -> Option<ObjectId> {
        self.0.block
    }

    /// Everything that is wrong with the text, this first, if it is more than one thing: code, sentence, line, pos and token of each.
    #[must_use]
    pub fn details(&self) -> Vec<Value> {
        if self.0.more.is_empty() {
            return Vec::new();
        }
        std::iter::once(self).chain(&self.0.more).map(Self::inner).collect()
    }

    /// The finer code, with line, pos and token.
    fn inner(&self) -> Value {
        let code = self.0.detail.as_ref().map_or(self.0.code, |(_, code, _)| code);
        let mut inner = json!({"code": code, "message": self.message()});
        if let Some(place) = self.place() {
            inner["line"] = json!(place.line);
            inner["pos"] = json!(place.column);
            inner["token"] = json!(place.token);
        }
        inner
    }

    /// Azure's nested form: `SyntaxError`/`SemanticError` around the finer code with line, pos and token.
    #[must_use]
    pub fn innererror(&self) -> Option<Value> {
        let (outer, _, _) = self.0.detail.as_ref()?;
        let message = if *outer == "SyntaxError" { "A recognition error occurred in the query." } else { "A semantic error occurred." };
        Some(json!({"code": outer, "message": message, "innererror": self.inner()}))
    }
}

impl fmt::Debug for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryError")
            .field("kind", &self.0.kind)
            .field("code", &self.0.code)
            .field("block", &self.0.block)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for QueryError {}

/// A guard that does not give its keys any more.
pub(crate) fn guard_error(error: &GuardError) -> QueryError {
    let code = if error.kind() == ErrorKind::KeyRevoked { "QueryAbortedKeyRevoked" } else { error.code() };
    QueryError::new(error.kind(), code, error.to_string())
}

/// An object that does not open.
pub(crate) fn open_error(error: &OpenError, object: ObjectId) -> QueryError {
    match error {
        OpenError::Guard(guard) => guard_error(guard),
        error => QueryError::new(error.kind(), error.code(), format!("{error}; the query was stopped, block {object} cannot be trusted"))
            .with_block(object),
    }
}

/// A key that is not given.
pub(crate) fn key_error(error: &KeyError, epoch: Epoch) -> QueryError {
    QueryError::new(error.kind(), error.code(), format!("{error} (epoch {})", epoch.aek))
}

/// An account whose gate is shut.
pub(crate) fn shut_error(error: &KeyError) -> QueryError {
    QueryError::new(error.kind(), error.code(), error.to_string())
}

/// What a query under way is told when the gate is shut on it.
pub(crate) fn aborted(error: &KeyError) -> QueryError {
    QueryError::new(error.kind(), error.code(), format!("{error} The query was under way and was stopped."))
}

/// The catalog failed.
pub(crate) fn catalog_error(error: &CatalogError) -> QueryError {
    QueryError::new(error.kind(), error.code(), "the catalog did not answer")
}

/// What DataFusion says. The text goes to the caller, who owns the data; `text` is what was asked.
pub(crate) fn engine_error(error: DataFusionError, text: &str) -> QueryError {
    let mut error = error;
    let mut span = None;
    let mut notes = Vec::new();
    loop {
        error = match error {
            DataFusionError::Context(_, inner) => *inner,
            DataFusionError::Diagnostic(diagnostic, inner) => {
                if let Some(at) = diagnostic.span {
                    span = span.or(Some(at));
                }
                notes.extend(diagnostic.helps.iter().map(|help| help.message.clone()));
                *inner
            }
            DataFusionError::Collection(mut all) if !all.is_empty() => all.swap_remove(0),
            other => break finish(&other, text, span, notes),
        };
    }
}

fn exhausted(message: &str) -> QueryError {
    QueryError::new(ErrorKind::TooLarge, "MemoryLimitExceeded", format!("the query needs more memory than it may have: {message}"))
}

/// The error that others were wrapped around: Arrow and Parquet carry those of the expressions they evaluate.
fn deepest(error: &DataFusionError) -> &DataFusionError {
    let carried: Option<&(dyn std::error::Error + Send + Sync + 'static)> = match error {
        DataFusionError::External(inner) => Some(inner.as_ref()),
        DataFusionError::ParquetError(error) => match error.as_ref() {
            ParquetError::External(inner) => Some(inner.as_ref()),
            _ => None,
        },
        DataFusionError::ArrowError(error, _) => match error.as_ref() {
            ArrowError::ExternalError(inner) => Some(inner.as_ref()),
            _ => None,
        },
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => return deepest(inner),
        DataFusionError::Shared(inner) => return deepest(inner),
        _ => None,
    };
    carried.and_then(|inner| inner.downcast_ref::<DataFusionError>()).map_or(error, deepest)
}

/// Whether it is an expression that broke while Parquet filtered by it: of that only the `Debug` text is left.
fn broke_in_filter(error: &DataFusionError) -> bool {
    let text = error.strip_backtrace();
    text.split_once("Error evaluating filter predicate: ").is_some_and(|(_, rest)| rest.contains("Internal(\""))
}

fn finish(error: &DataFusionError, text: &str, span: Option<datafusion::common::Span>, notes: Vec<String>) -> QueryError {
    let error = deepest(error);
    let message = match error {
        // Its own `Display` is `Debug`.
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::TokenizerError(message) | ParserError::ParserError(message) => format!("SQL: {message}"),
            ParserError::RecursionLimitExceeded => "SQL: the query nests too deep".to_owned(),
        },
        error => error.strip_backtrace(),
    };
    let trimmed = message.split_once(": ").map_or(message.as_str(), |(_, rest)| rest).to_owned();
    let place = span.map(|span| byte_range(text, span.start.line, span.start.column, span.end.line, span.end.column));
    let mut found = match error {
        DataFusionError::SQL(..) => {
            let place = place.or_else(|| parser_place(&trimmed).map(|(line, column)| byte_range(text, line, column, line, column + 1)));
            QueryError::syntax(text, place.unwrap_or(0..0), "SYN0001", trimmed)
        }
        DataFusionError::Plan(_) | DataFusionError::SchemaError(..) | DataFusionError::NotImplemented(_) => match place {
            Some(place) => QueryError::semantic(text, place, "SEM0100", trimmed),
            None => QueryError::invalid("SemanticError", trimmed),
        },
        DataFusionError::ResourcesExhausted(_) => exhausted(&trimmed),
        DataFusionError::IoError(error) if error.kind() == std::io::ErrorKind::QuotaExceeded => exhausted(&trimmed),
        DataFusionError::ArrowError(error, _) if quota(error) => exhausted(&trimmed),
        DataFusionError::IoError(_) => QueryError::new(ErrorKind::Unavailable, "SpillFailed", "the spill directory failed"),
        DataFusionError::Internal(_) => QueryError::internal(trimmed),
        error if broke_in_filter(error) => QueryError::internal("an expression broke while blocks were filtered by it"),
        DataFusionError::ParquetError(_) | DataFusionError::ObjectStore(_) => {
            QueryError::new(ErrorKind::Corrupt, "IntegrityError", format!("a block could not be read: {trimmed}"))
        }
        _ => QueryError::invalid("QueryFailed", trimmed),
    };
    if let Some(note) = notes.into_iter().next() {
        found = found.with_hint(note);
    }
    found
}

/// Whether a spill file outgrew what all of them may have.
fn quota(error: &ArrowError) -> bool {
    matches!(error, ArrowError::IoError(_, error) if error.kind() == std::io::ErrorKind::QuotaExceeded)
}

/// `… at Line: 1, Column: 15` of the SQL parser's messages.
fn parser_place(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.rsplit_once("Line: ")?;
    let (line, rest) = rest.split_once(", Column: ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((line.parse().ok()?, digits.parse().ok()?))
}

/// Lines and columns from 1, columns in characters.
fn byte_range(text: &str, line: u64, column: u64, end_line: u64, end_column: u64) -> Range<usize> {
    let at = |line: u64, column: u64| {
        let mut offset = 0;
        for (number, content) in text.split_inclusive('\n').enumerate() {
            if number as u64 + 1 == line {
                let skip = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
                return offset + content.char_indices().nth(skip).map_or(content.len(), |(at, _)| at);
            }
            offset += content.len();
        }
        text.len()
    };
    let start = at(line, column);
    start..at(end_line, end_column).max(start)
}

impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        engine_error(error, "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Our own mistakes stay ours however deep Arrow and Parquet wrap them; those of the question stay the caller's.
    #[test]
    fn an_internal_error_is_one_wherever_it_comes_from() {
        let internal = || DataFusionError::Internal("lost".to_owned());
        let arrow = |error: DataFusionError| DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(error))), None);
        let parquet = |error: DataFusionError| DataFusionError::ParquetError(Box::new(ParquetError::External(Box::new(error))));
        let filter = |error: &DataFusionError| {
            let told = format!("Error evaluating filter predicate: {error:?}");
            DataFusionError::ArrowError(Box::new(ArrowError::ComputeError(told)), None)
        };
        for error in [
            internal(),
            arrow(internal()),
            parquet(internal()),
            DataFusionError::Shared(std::sync::Arc::new(parquet(arrow(internal())))),
            filter(&internal()),
            parquet(filter(&DataFusionError::Context("x".to_owned(), Box::new(internal())))),
        ] {
            let told = format!("{error:?}");
            assert_eq!(engine_error(error, "").kind(), ErrorKind::Internal, "{told}");
        }
        let by_zero = DataFusionError::ArrowError(Box::new(ArrowError::DivideByZero), None);
        assert_eq!(engine_error(filter(&by_zero), "").kind(), ErrorKind::Invalid);
        assert_eq!(engine_error(arrow(DataFusionError::ResourcesExhausted("m".to_owned())), "").code(), "MemoryLimitExceeded");
    }
}
