//! What can go wrong with a question, told to the one who asked it.

use std::fmt;
use std::ops::Range;

use serde_json::{Value, json};
use strongroom_model::{ErrorKind, ObjectId};

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
pub struct QueryError(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    /// `SyntaxError` or `SemanticError`, the finer code (`SYN0002`, `SEM0100`) and the place.
    detail: Option<(&'static str, String, Option<Place>)>,
    hint: Option<String>,
    block: Option<ObjectId>,
}

impl QueryError {
    /// An error of any kind.
    #[must_use]
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, code, message: message.into(), detail: None, hint: None, block: None }))
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

    /// Azure's nested form: `SyntaxError`/`SemanticError` around the finer code with line, pos and token.
    #[must_use]
    pub fn innererror(&self) -> Option<Value> {
        let (outer, code, place) = self.0.detail.as_ref()?;
        let mut inner = json!({"code": code, "message": self.message()});
        if let Some(place) = place {
            inner["line"] = json!(place.line);
            inner["pos"] = json!(place.column);
            inner["token"] = json!(place.token);
        }
        let message = if *outer == "SyntaxError" { "A recognition error occurred in the query." } else { "A semantic error occurred." };
        Some(json!({"code": outer, "message": message, "innererror": inner}))
    }
}

impl fmt::Debug for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryError").field("kind", &self.0.kind).field("code", &self.0.code).field("block", &self.0.block).finish_non_exhaustive()
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for QueryError {}
