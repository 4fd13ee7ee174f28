//! Back to text.
use crate::ast::{Expr, Query};
/// The tree as text, one operator a line, such that reading it again gives the same tree but for spans.
#[must_use]
pub fn print(query: &Query) -> String {
    let _ = query;
    String::new()
}
/// One expression as text.
#[must_use]
pub fn print_expr(expr: &Expr) -> String {
    let _ = expr;
    String::new()
}
