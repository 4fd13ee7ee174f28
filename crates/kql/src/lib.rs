//! Syntax of the Kusto Query Language: text in, a tree with spans and everything that is wrong with the text out.
//!
//! Pure on purpose: no names are resolved, no types derived, nothing is looked up; that is the binder's work in `query`.
//! What this buys: the whole crate can be fuzzed, works without a server, and an editor can ask it for a diagnosis.
//! Start at [`parse`]; the tree is in [`ast`]; [`render`] shows a diagnosis to a person, [`print`] gives a tree back as text.
//!
//! ```text
//! text ─lexer─▶ tokens ─parser─▶ Query { statements ─▶ Pipeline { source, operators ─▶ Expr } } + [Diagnostic]
//! ```

pub mod ast;
mod datetime;
mod diagnostic;
#[doc(hidden)]
pub mod fuzzing;
mod lexer;
mod parser;
mod printer;
mod span;
mod suggest;

pub use datetime::{
    DATETIME_MAX_TICKS, TICKS_PER_DAY, TICKS_PER_SECOND, UNIX_EPOCH_TICKS, parse_datetime, parse_timespan, ticks_to_unix_ns,
};
pub use diagnostic::{Code, Diagnostic, render};
pub use printer::{format, print, print_expr};
pub use span::Span;
pub use suggest::closest;

/// A text and what became of it. With diagnostics the tree still holds whatever could be read ([`ast::ExprKind::Missing`]
/// and [`ast::OperatorKind::Broken`] where nothing could); only a tree without diagnostics is fit to run.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub query: ast::Query,
    /// Everything wrong with the text, in its order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a query: all its statements, all its mistakes at once. Never panics; nesting beyond [`MAX_DEPTH`] is a diagnostic;
/// time and memory are linear in the length of `text`, which must stay under 4 GiB.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    parser::parse(text)
}

/// Most mistakes told of one text: what comes after so many is not read any more.
pub const MAX_DIAGNOSTICS: usize = 50;

/// How deep expressions, sub-queries and chains of one operator may nest. `and` and `or` chains are flat and do not count.
pub const MAX_DEPTH: u32 = 128;
