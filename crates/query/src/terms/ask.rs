//! What a query's filters need of terms: a tree that is true of every slice with a row that the filters let through.
//!
//! What is not understood asks for nothing. A negation never does; a column counts as itself, as the text of a dynamic or of a
//! member of one, or in lower case.

use std::collections::BTreeSet;

use arrow_schema::{DataType, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Case, Expr, Like, Operator};
use strongroom_model::terms::terms_of;

use super::pattern;

/// More tests than this are not worth their time.
const TESTS_MAX: usize = 2_048;

/// A test of terms, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// A column has a term.
    Term { column: String, term: u64 },
    /// All of these.
    All(Vec<Ask>),
    /// One of these at least.
    Any(Vec<Ask>),
}

impl Ask {
    /// What all of these filters ask for; `None` if that is nothing.
    pub(crate) fn of<'e>(filters: impl IntoIterator<Item = &'e Expr>, schema: &Schema) -> Option<Self> {
        let ask = Self::all(filters.into_iter().filter_map(|filter| Reader { schema }.read(filter)).collect())?;
        (ask.tests() <= TESTS_MAX).then_some(ask)
    }

    pub(super) fn all(mut asks: Vec<Self>) -> Option<Self> {
        if asks.len() > 1 { Some(Self::All(asks)) } else { asks.pop() }
    }

    /// `None` among them: one of them asks for nothing, so neither do they.
    pub(super) fn any(asks: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        asks.into_iter().collect::<Option<Vec<_>>>().map(Self::Any)
    }

    fn tests(&self) -> usize {
        match self {
            Self::Term { .. } => 1,
            Self::All(asks) | Self::Any(asks) => asks.iter().map(Self::tests).sum(),
        }
    }

    /// Every term in it, with its column.
    pub(crate) fn terms(&self) -> BTreeSet<(&str, u64)> {
        match self {
            Self::Term { column, term } => BTreeSet::from([(column.as_str(), *term)]),
            Self::All(asks) | Self::Any(asks) => asks.iter().flat_map(Self::terms).collect(),
        }
    }

    /// Whether it is true where `may` tells of columns and terms.
    pub(crate) fn holds(&self, may: &impl Fn(&str, u64) -> bool) -> bool {
        match self {
            Self::Term { column, term } => may(column, *term),
            Self::All(asks) => asks.iter().all(|ask| ask.holds(may)),
            Self::Any(asks) => asks.iter().any(|ask| ask.holds(may)),
        }
    }
}

/// The text of a column as it is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hay<'e> {
    column: &'e str,
    /// Made lower case in another way than ours: what is not ASCII may be spelled otherwise.
    lowered: bool,
}

#[cfg(test)]
impl<'e> Hay<'e> {
    pub(super) fn of(column: &'e str) -> Self {
        Self { column, lowered: false }
    }
}

impl Hay<'_> {
    /// That it has the whole terms of `text`, which it holds; see [`terms_of`] for the ends.
    pub(super) fn holds(&self, text: &str, starts: bool, ends: bool) -> Option<Ask> {
        let lowered = self.lowered;
        self.terms(terms_of(text, starts, ends, |term| !lowered || term.is_ascii()))
    }

    /// Likewise, where letters may stand for others that a regular expression takes for the same: `ſ` for `s`.
    pub(super) fn holds_in_any_case(&self, text: &str, starts: bool, ends: bool) -> Option<Ask> {
        if !text.is_ascii() {
            return None;
        }
        self.terms(terms_of(text, starts, ends, |term| !term.contains(&b's') && !term.contains(&b'k')))
    }

    fn terms(&self, terms: Vec<u64>) -> Option<Ask> {
        Ask::all(terms.into_iter().map(|term| Ask::Term { column: self.column.to_owned(), term }).collect())
    }
}

struct Reader<'s> {
    schema: &'s Schema,
}

impl Reader<'_> {
    fn read(&self, filter: &Expr) -> Option<Ask> {
        match filter {
            Expr::Alias(alias) => self.read(&alias.expr),
            Expr::IsTrue(inner) => self.read(inner),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => Ask::all([left, right].into_iter().filter_map(|side| self.read(side)).collect()),
                Operator::Or => Ask::any([self.read(left), self.read(right)]),
                Operator::Eq => {
                    let (hay, text) = self.sides(left, right).or_else(|| self.sides(right, left))?;
                    hay.holds(text, true, true)
                }
                Operator::RegexMatch => self.sides(left, right).and_then(|(hay, text)| pattern::regex(hay, text)),
                _ => None,
            },
            Expr::InList(InList { expr, list, negated: false }) => {
                let hay = self.hay(expr)?;
                Ask::any(list.iter().map(|item| hay.holds(constant(item)?, true, true)))
            }
            Expr::Like(Like { negated: false, expr, pattern, escape_char: None, case_insensitive }) => {
                pattern::like(self.hay(expr)?, constant(pattern)?, *case_insensitive)
            }
            Expr::ScalarFunction(call) => self.call(call),
            _ => None,
        }
    }

    fn sides<'e>(&self, hay: &'e Expr, text: &'e Expr) -> Option<(Hay<'e>, &'e str)> {
        Some((self.hay(hay)?, constant(text)?))
    }

    fn call(&self, call: &ScalarFunction) -> Option<Ask> {
        let (first, rest) = call.args.split_first()?;
        let name = call.func.name();
        if matches!(name, "has_any" | "has_all") {
            let hay = self.hay(first)?;
            let items = rest.iter().map(|item| hay.holds(word(item)?, true, true));
            return if name == "has_any" { Ask::any(items) } else { Ask::all(items.flatten().collect()) };
        }
        let [text] = rest else { return None };
        let (hay, text) = self.sides(first, text)?;
        match name {
            "has" | "has_cs" | "=~" => hay.holds(text, true, true),
            "hasprefix" | "hasprefix_cs" | "startswith" | "startswith_cs" | "starts_with" => hay.holds(text, true, false),
            "hassuffix" | "hassuffix_cs" | "endswith" | "endswith_cs" | "ends_with" => hay.holds(text, false, true),
            "contains" | "contains_cs" => hay.holds(text, false, false),
            "matches_regex" => pattern::regex(hay, text),
            "kql_like_cs" => pattern::stars(hay, text, false),
            "kql_like" => pattern::stars(hay, text, true),
            _ => None,
        }
    }

    /// The column whose text an expression is, if it is that of one.
    fn hay<'e>(&self, expr: &'e Expr) -> Option<Hay<'e>> {
        match expr {
            Expr::Alias(alias) => self.hay(&alias.expr),
            Expr::Column(column) => {
                let field = self.schema.field_with_name(&column.name).ok()?;
                is_text(field.data_type()).then_some(Hay { column: &column.name, lowered: false })
            }
            Expr::Cast(cast) if is_text(cast.field.data_type()) => self.hay(&cast.expr),
            // What `coalesce(x, "")` becomes: a text without terms in place of a null.
            Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(otherwise) }) => match when_then_expr.as_slice() {
                [(when, then)] if **when == Expr::IsNotNull(then.clone()) && constant(otherwise)?.is_empty() => self.hay(then),
                _ => None,
            },
            Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
                ("coalesce", [text, otherwise]) if constant(otherwise)?.is_empty() => self.hay(text),
                ("tolower" | "lower", [text]) => Some(Hay { lowered: true, ..self.hay(text)? }),
                ("tostring", [text]) | ("dynamic_get", [text, ..]) => self.hay(text),
                _ => None,
            },
            _ => None,
        }
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8)
}

fn constant(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Alias(alias) => constant(&alias.expr),
        Expr::Literal(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)), _) => {
            Some(text)
        }
        _ => None,
    }
}

/// One item of a list of terms. What may be a dynamic is not looked into: it counts as its elements.
fn word(expr: &Expr) -> Option<&str> {
    constant(expr).filter(|text| !matches!(text.trim_start().as_bytes().first(), Some(b'[' | b'{' | b'"')))
}
