//! Values computed.

use super::{Literal, Name, Pipeline, ScalarType};
use crate::Span;

/// An expression; its span includes parentheses around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExprKind {
    /// A value written out.
    Literal(Literal),
    /// A column, a `let`, a table, `$left`, `$right`, `$table`; or the word of a setting.
    Name(String),
    /// `*`: every column (`distinct *`, `arg_max(t, *)`, `* has "x"`).
    Star,
    /// `a*`: columns by a pattern, where lists allow one.
    Wildcard(String),
    /// `base.name`
    Path {
        /// Whose member.
        base: Box<Expr>,
        /// The member.
        name: Name,
    },
    /// `base[index]`
    Index {
        /// Whose element.
        base: Box<Expr>,
        /// Which one.
        index: Box<Expr>,
    },
    /// `function(arguments)`, or `receiver.function(arguments)` as in `cluster("c").database("d")`.
    Call {
        /// What stands before the dot.
        receiver: Option<Box<Expr>>,
        /// The name called.
        function: Name,
        /// What is in the parentheses.
        arguments: Vec<Argument>,
    },
    /// `-x`, `+x`
    Unary {
        /// Which.
        op: UnaryOp,
        /// Of what.
        operand: Box<Expr>,
    },
    /// `left op right`
    Binary {
        /// Which.
        op: BinaryOp,
        /// Where the operator stands.
        op_span: Span,
        /// Before it.
        left: Box<Expr>,
        /// After it.
        right: Box<Expr>,
    },
    /// `a and b and ..`: two or more, flat.
    And(Vec<Expr>),
    /// `a or b or ..`: two or more, flat.
    Or(Vec<Expr>),
    /// `operand in (list)` and its like. The list may be one sub-query, one dynamic array, or values.
    Set {
        /// Which.
        op: SetOp,
        /// Where the operator stands.
        op_span: Span,
        /// What is looked for (`in`) or looked into (`has_any`, `has_all`).
        operand: Box<Expr>,
        /// What is in the parentheses.
        list: Vec<Expr>,
    },
    /// `operand between (low .. high)`
    Between {
        /// What is compared.
        operand: Box<Expr>,
        /// The lower end, included.
        low: Box<Expr>,
        /// The upper end, included; a timespan beside a datetime means `low + high`.
        high: Box<Expr>,
        /// `!between`
        negated: bool,
    },
    /// `typeof(long)`
    TypeOf(ScalarType),
    /// `dynamic(..)`-like lists `[a, b]` where a literal array is allowed without `dynamic` (plugins, series).
    Array(Vec<Expr>),
    /// A tabular expression in parentheses or as an argument.
    Pipeline(Box<Pipeline>),
    /// A dynamic or graph construct read over and not understood.
    Unread(super::Unread),
    /// Nothing could be read here; there is a diagnostic for it.
    Missing,
}

/// One argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Argument {
    /// `name =` before it.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
}

/// `value`, `name = value` or `(a, b) = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedExpr {
    /// None: a name is derived. Several: the value gives several columns.
    pub names: Vec<Name>,
    /// The value.
    pub value: Expr,
    /// From the first name to the end of the value.
    pub span: Span,
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum UnaryOp {
    Minus,
    Plus,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see `as_str` for each one's spelling")]
pub enum BinaryOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    EqualIgnoreCase,
    NotEqualIgnoreCase,
    Contains,
    NotContains,
    ContainsCs,
    NotContainsCs,
    Has,
    NotHas,
    HasCs,
    NotHasCs,
    HasPrefix,
    NotHasPrefix,
    HasPrefixCs,
    NotHasPrefixCs,
    HasSuffix,
    NotHasSuffix,
    HasSuffixCs,
    NotHasSuffixCs,
    StartsWith,
    NotStartsWith,
    StartsWithCs,
    NotStartsWithCs,
    EndsWith,
    NotEndsWith,
    EndsWithCs,
    NotEndsWithCs,
    Like,
    NotLike,
    LikeCs,
    NotLikeCs,
    MatchesRegex,
    /// `column : "text"` of `search`: has.
    Colon,
}

impl BinaryOp {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::EqualIgnoreCase => "=~",
            Self::NotEqualIgnoreCase => "!~",
            Self::Contains => "contains",
            Self::NotContains => "!contains",
            Self::ContainsCs => "contains_cs",
            Self::NotContainsCs => "!contains_cs",
            Self::Has => "has",
            Self::NotHas => "!has",
            Self::HasCs => "has_cs",
            Self::NotHasCs => "!has_cs",
            Self::HasPrefix => "hasprefix",
            Self::NotHasPrefix => "!hasprefix",
            Self::HasPrefixCs => "hasprefix_cs",
            Self::NotHasPrefixCs => "!hasprefix_cs",
            Self::HasSuffix => "hassuffix",
            Self::NotHasSuffix => "!hassuffix",
            Self::HasSuffixCs => "hassuffix_cs",
            Self::NotHasSuffixCs => "!hassuffix_cs",
            Self::StartsWith => "startswith",
            Self::NotStartsWith => "!startswith",
            Self::StartsWithCs => "startswith_cs",
            Self::NotStartsWithCs => "!startswith_cs",
            Self::EndsWith => "endswith",
            Self::NotEndsWith => "!endswith",
            Self::EndsWithCs => "endswith_cs",
            Self::NotEndsWithCs => "!endswith_cs",
            Self::Like => "like",
            Self::NotLike => "notlike",
            Self::LikeCs => "likecs",
            Self::NotLikeCs => "notlikecs",
            Self::MatchesRegex => "matches regex",
            Self::Colon => ":",
        }
    }

    /// For a negated string operator the plain one: `!has` gives `has`.
    #[must_use]
    pub const fn negates(self) -> Option<Self> {
        Some(match self {
            Self::NotEqual => Self::Equal,
            Self::NotEqualIgnoreCase => Self::EqualIgnoreCase,
            Self::NotContains => Self::Contains,
            Self::NotContainsCs => Self::ContainsCs,
            Self::NotHas => Self::Has,
            Self::NotHasCs => Self::HasCs,
            Self::NotHasPrefix => Self::HasPrefix,
            Self::NotHasPrefixCs => Self::HasPrefixCs,
            Self::NotHasSuffix => Self::HasSuffix,
            Self::NotHasSuffixCs => Self::HasSuffixCs,
            Self::NotStartsWith => Self::StartsWith,
            Self::NotStartsWithCs => Self::StartsWithCs,
            Self::NotEndsWith => Self::EndsWith,
            Self::NotEndsWithCs => Self::EndsWithCs,
            Self::NotLike => Self::Like,
            Self::NotLikeCs => Self::LikeCs,
            _ => return None,
        })
    }
}

/// An operator with a list after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "see `as_str` for each one's spelling")]
pub enum SetOp {
    In,
    NotIn,
    InIgnoreCase,
    NotInIgnoreCase,
    HasAny,
    HasAll,
}

impl SetOp {
    /// As written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NotIn => "!in",
            Self::InIgnoreCase => "in~",
            Self::NotInIgnoreCase => "!in~",
            Self::HasAny => "has_any",
            Self::HasAll => "has_all",
        }
    }
}
