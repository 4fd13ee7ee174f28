//! The tree of a query. Every node has a span; parentheses, comments and the spelling of literals are not kept.
//!
//! [`Query`] holds statements, a [`Pipeline`] a source and its operators ([`operator`]), an [`Expr`] values ([`expr`]).
//! Names are not resolved: whether `x` is a column, a `let` or a table is the binder's question.

mod expr;
mod literal;
mod operator;

pub use expr::{Argument, BinaryOp, Expr, ExprKind, NamedExpr, SetOp, UnaryOp};
pub use literal::{DynamicValue, Literal, ScalarType};
pub use operator::{
    ColumnPattern, Facet, Find, FindColumn, ForkBranch, Invoke, Join, JoinKind, Lookup, MakeSeries, MvApply, MvColumn, MvExpand, NullOrder,
    Operator, OperatorKind, Order, Parse, ParseKind, ParseKv, ParsePart, Partition, PartitionBody, Reduce, Render, Reorder, ReorderOrder,
    Scan, ScanStep, Search, SeriesColumn, SortKey, Summarize, Top, TopHitters, TopNestedLevel, Union, UnionKind, Unread,
};

use crate::Span;

/// A name and where it stands; brackets and quotes are gone: `['a b']` is `a b`.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The name itself.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A whole text, or the body of a function: statements in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The statements.
    pub statements: Vec<Statement>,
    /// The whole text.
    pub span: Span,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// From its first to its last token, without the semicolon.
    pub span: Span,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StatementKind {
    /// `let name = value`
    Let {
        /// What it names.
        name: Name,
        /// The value.
        value: LetValue,
    },
    /// A tabular expression: its rows are a result. (In a function's body the last one is the value; it may be a bare scalar,
    /// then it is a pipeline of no operators over [`SourceKind::Expr`].)
    Pipeline(Pipeline),
    /// `set name` or `set name = value`
    Set {
        /// The request property.
        name: Name,
        /// Its value; a word is [`ExprKind::Name`].
        value: Option<Expr>,
    },
    /// `declare query_parameters(a:long = 1, ..)`
    DeclareParameters(Vec<Parameter>),
    /// `alias database name = cluster("c").database("d")`
    Alias {
        /// The new name.
        name: Name,
        /// What it stands for.
        target: Expr,
    },
    /// `restrict access to (a, b)`
    Restrict(Vec<Expr>),
    /// `declare pattern ..`: read over, not understood.
    Pattern(Unread),
    /// A statement that could not be read; there is a diagnostic for it.
    Broken,
}

/// What a `let` gives a name to.
#[expect(clippy::large_enum_variant, reason = "there is one a statement")]
#[derive(Clone, Debug, PartialEq)]
pub enum LetValue {
    /// No `|` and no tabular keyword: a scalar, or just a name or call that may be either.
    Expr(Expr),
    /// Rows.
    Pipeline(Pipeline),
    /// A function.
    Function(Lambda),
}

/// `(parameters) { body }`, perhaps with `view` before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lambda {
    /// Given `view`: takes part in `union *` and `search`.
    pub view: bool,
    /// What it takes.
    pub parameters: Vec<Parameter>,
    /// What it gives: `let`s and a last expression.
    pub body: Query,
    /// From `view` or `(` to `}`.
    pub span: Span,
}

/// One parameter of a function or of the query.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name.
    pub name: Name,
    /// What it takes.
    pub kind: ParameterKind,
    /// `= value`
    pub default: Option<Expr>,
}

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterKind {
    /// A scalar.
    Scalar(ScalarType),
    /// Rows with at least these columns. `(*)` asks for none.
    Tabular(Vec<ColumnDecl>),
}

/// `name: type`
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDecl {
    /// The column.
    pub name: Name,
    /// Its type.
    pub kind: ScalarType,
}

/// `name = value` before or after an operator's own arguments: `kind=inner`, `hint.strategy=shuffle`, `title="x"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name; dots included.
    pub name: Name,
    /// Its value; a word is [`ExprKind::Name`].
    pub value: Expr,
}

/// A source and what its rows pass through.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Where rows come from.
    pub source: Source,
    /// What they pass through, in order.
    pub operators: Vec<Operator>,
    /// From the source to the last operator.
    pub span: Span,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// Where it stands.
    pub span: Span,
}

/// What rows come from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A table, a `let`, a call (`f(1)`, `materialize(..)`, `table("T")`, `database("d").T`), or a scalar where those are allowed.
    Expr(Expr),
    /// `T*` as a leg of `union` or in the list of `search` and `find`; `*` alone is every table.
    Wildcard(String),
    /// `( pipeline )`
    Parens(Box<Pipeline>),
    /// `datatable(a:long, ..)[1, ..]`: values row by row.
    Datatable {
        /// The columns.
        columns: Vec<ColumnDecl>,
        /// Literals (or expressions of literals) row by row; the parser has checked that rows are whole.
        values: Vec<Expr>,
    },
    /// `externaldata(a:long)[h@"url"] with (format="csv")`
    ExternalData {
        /// The columns.
        columns: Vec<ColumnDecl>,
        /// Addresses.
        addresses: Vec<Expr>,
        /// What is in `with (..)`.
        settings: Vec<Setting>,
    },
    /// `print a, b = 1`
    Print(Vec<NamedExpr>),
    /// `range x from a to b step s`
    Range {
        /// The one column.
        name: Name,
        /// The first value.
        from: Expr,
        /// The last value, included if hit.
        to: Expr,
        /// How far to the next.
        step: Expr,
    },
    /// `union T, U`
    Union(Union),
    /// `search "x"`
    Search(Search),
    /// `find in (T) where ..`
    Find(Find),
    /// `evaluate plugin(..)` with no input.
    Evaluate(Invoke),
    /// `macro-expand`, graph sources and the like: read over, not understood.
    Unread(Unread),
}
