//! What rows pass through.

use super::{ColumnDecl, Expr, Literal, Name, NamedExpr, Parameter, Pipeline, ScalarType, Setting};
use crate::Span;

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// What it does.
    pub kind: OperatorKind,
    /// From its keyword to its last token, without the bar.
    pub span: Span,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum OperatorKind {
    /// `where p`, `filter p`
    Where(Expr),
    /// `extend a = b`
    Extend(Vec<NamedExpr>),
    /// `project a, b = c`
    Project(Vec<NamedExpr>),
    /// `project-away a, b*`
    ProjectAway(Vec<ColumnPattern>),
    /// `project-keep a, b*`
    ProjectKeep(Vec<ColumnPattern>),
    /// `project-rename new = old`: pairs of new and old.
    ProjectRename(Vec<(Name, Name)>),
    /// `project-reorder a, b* asc`
    ProjectReorder(Vec<Reorder>),
    /// `project-by-names dynamic([..])`
    ProjectByNames(Vec<Expr>),
    /// `summarize a by b`
    Summarize(Summarize),
    /// `sort by a`, `order by a`
    Sort {
        /// Hints.
        settings: Vec<Setting>,
        /// The first counts most.
        keys: Vec<SortKey>,
    },
    /// `take n`, `limit n`
    Take(Expr),
    /// `top n by a`
    Top(Box<Top>),
    /// `count`, perhaps `as name`.
    Count(Option<Name>),
    /// `distinct a, b` or `distinct *` ([`super::ExprKind::Star`]).
    Distinct(Vec<NamedExpr>),
    /// `join kind=inner (R) on a`
    Join(Box<Join>),
    /// `lookup (R) on a`
    Lookup(Box<Lookup>),
    /// `union T, U`
    Union(Union),
    /// `parse`, `parse-where`
    Parse(Box<Parse>),
    /// `parse-kv`
    ParseKv(Box<ParseKv>),
    /// `mv-expand`
    MvExpand(MvExpand),
    /// `mv-apply`
    MvApply(MvApply),
    /// `make-series`
    MakeSeries(Box<MakeSeries>),
    /// `search "x"` after a bar.
    Search(Search),
    /// `serialize a = b`
    Serialize(Vec<NamedExpr>),
    /// `evaluate plugin(..)`
    Evaluate(Invoke),
    /// `invoke f(..)`
    Invoke(Expr),
    /// `render timechart with (..)`
    Render(Render),
    /// `as name`
    As {
        /// Hints.
        settings: Vec<Setting>,
        /// What later statements call it.
        name: Name,
    },
    /// `sample n`
    Sample(Expr),
    /// `sample-distinct n of a`
    SampleDistinct {
        /// How many.
        count: Expr,
        /// Of what.
        of: NamedExpr,
    },
    /// `getschema`
    GetSchema,
    /// `consume`
    Consume(Vec<Setting>),
    /// `assert-schema (a:long)`
    AssertSchema(Vec<ColumnDecl>),
    /// `top-nested n of a by b, ..`
    TopNested(Vec<TopNestedLevel>),
    /// `top-hitters n of a by b`
    TopHitters(Box<TopHitters>),
    /// `partition by a (..)`
    Partition(Box<Partition>),
    /// `scan with (step s: c => a = b;)`
    Scan(Box<Scan>),
    /// `fork a = (..) (..)`
    Fork(Vec<ForkBranch>),
    /// `facet by a with (..)`
    Facet(Facet),
    /// `reduce by a`
    Reduce(Box<Reduce>),
    /// Graph operators and the like: read over, not understood.
    Unread(Unread),
    /// An operator that could not be read; there is a diagnostic for it.
    Broken,
}

/// A construct that is KQL, but that nobody here understands: its keyword and its raw text.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    /// The keyword, e.g. `graph-match`.
    pub keyword: Name,
    /// Everything after the keyword, as written.
    pub text: String,
}

/// A column, or several by a pattern with `*`.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnPattern {
    /// A name, or with `wildcard` a pattern in which `*` stands for any text.
    pub text: String,
    /// Whether it is a pattern.
    pub wildcard: bool,
    /// Where it stands.
    pub span: Span,
}

impl ColumnPattern {
    /// Whether a column of that name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if !self.wildcard {
            return self.text == name;
        }
        let mut pieces = self.text.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

/// One entry of `project-reorder`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reorder {
    /// Which columns.
    pub columns: ColumnPattern,
    /// How the matches of a pattern are ordered by name.
    pub order: Option<ReorderOrder>,
}

/// How `project-reorder` orders names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "granny: numbers inside names count as numbers")]
pub enum ReorderOrder {
    Asc,
    Desc,
    GrannyAsc,
    GrannyDesc,
}

/// `summarize aggregates by groups`
#[derive(Clone, Debug, PartialEq)]
pub struct Summarize {
    /// Hints.
    pub settings: Vec<Setting>,
    /// What is computed; empty: the distinct groups.
    pub aggregates: Vec<NamedExpr>,
    /// By what.
    pub by: Vec<NamedExpr>,
}

/// One key of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct SortKey {
    /// What is compared.
    pub value: NamedExpr,
    /// None: descending.
    pub order: Option<Order>,
    /// None: first if ascending, last if descending.
    pub nulls: Option<NullOrder>,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Order {
    Asc,
    Desc,
}

/// Where nulls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum NullOrder {
    First,
    Last,
}

/// `top count by keys`
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// Hints.
    pub settings: Vec<Setting>,
    /// How many.
    pub count: Expr,
    /// By what.
    pub keys: Vec<SortKey>,
}

/// How a join keeps rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are KQL's own names")]
pub enum JoinKind {
    InnerUnique,
    Inner,
    LeftOuter,
    RightOuter,
    FullOuter,
    LeftSemi,
    RightSemi,
    LeftAnti,
    RightAnti,
}

/// `join kind=.. (right) on ..`
#[derive(Clone, Debug, PartialEq)]
pub struct Join {
    /// `innerunique` if not said.
    pub kind: JoinKind,
    /// Hints and other settings, without `kind`.
    pub settings: Vec<Setting>,
    /// The other side.
    pub right: Pipeline,
    /// `a`, `$left.a == $right.b`, joined by commas or `and`.
    pub on: Vec<Expr>,
}

/// `lookup kind=.. (right) on ..`
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// `LeftOuter` (if not said) or `Inner`.
    pub kind: JoinKind,
    /// Hints and other settings, without `kind`.
    pub settings: Vec<Setting>,
    /// The other side.
    pub right: Pipeline,
    /// As in [`Join`].
    pub on: Vec<Expr>,
}

/// Which columns a union keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnionKind {
    /// All of them.
    #[default]
    Outer,
    /// Those common to all legs.
    Inner,
}

/// `union kind=.. withsource=.. isfuzzy=.. legs`
#[derive(Clone, Debug, PartialEq)]
pub struct Union {
    /// Which columns.
    pub kind: UnionKind,
    /// The column that tells a row's leg.
    pub with_source: Option<Name>,
    /// Whether legs that do not exist are skipped.
    pub is_fuzzy: bool,
    /// Hints.
    pub settings: Vec<Setting>,
    /// The legs (after a bar: without the input, which is the first leg).
    pub legs: Vec<Pipeline>,
}

/// How strict `parse` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "they are KQL's own names")]
pub enum ParseKind {
    #[default]
    Simple,
    Regex,
    Relaxed,
}

/// `parse kind=.. flags=.. input with parts`
#[derive(Clone, Debug, PartialEq)]
pub struct Parse {
    /// `parse-where`: drop rows that do not fit.
    pub filters: bool,
    /// How strict.
    pub kind: ParseKind,
    /// Flags of a regex: `i`, `s`, `m`, `U`.
    pub flags: Option<String>,
    /// What is taken apart.
    pub input: Expr,
    /// How.
    pub parts: Vec<ParsePart>,
}

/// One part of the pattern of `parse`.
#[derive(Clone, Debug, PartialEq)]
pub enum ParsePart {
    /// `*`: skip.
    Star(Span),
    /// Text that must be there (a regex if so said).
    Text(Literal, Span),
    /// A new column.
    Column {
        /// Its name.
        name: Name,
        /// `string` if not said.
        kind: Option<ScalarType>,
    },
}

/// `parse-kv input as (columns) with (settings)`
#[derive(Clone, Debug, PartialEq)]
pub struct ParseKv {
    /// What is taken apart.
    pub input: Expr,
    /// The keys wanted.
    pub columns: Vec<ColumnDecl>,
    /// Delimiters and so on.
    pub settings: Vec<Setting>,
}

/// One column of `mv-expand` or `mv-apply`.
#[derive(Clone, Debug, PartialEq)]
pub struct MvColumn {
    /// `name =` and the value.
    pub value: NamedExpr,
    /// `to typeof(..)`
    pub to: Option<ScalarType>,
}

/// `mv-expand columns limit n`
#[derive(Clone, Debug, PartialEq)]
pub struct MvExpand {
    /// `bagexpansion=array` (or `kind=array`): bags become `[key, value]` pairs.
    pub bag_as_array: bool,
    /// `with_itemindex=`
    pub item_index: Option<Name>,
    /// Other settings.
    pub settings: Vec<Setting>,
    /// Expanded side by side.
    pub columns: Vec<MvColumn>,
    /// At most so many rows for one.
    pub limit: Option<Expr>,
}

/// `mv-apply columns limit n on (subquery)`
#[derive(Clone, Debug, PartialEq)]
pub struct MvApply {
    /// `bagexpansion=array` (or `kind=array`).
    pub bag_as_array: bool,
    /// `with_itemindex=`
    pub item_index: Option<Name>,
    /// Other settings.
    pub settings: Vec<Setting>,
    /// Expanded side by side.
    pub columns: Vec<MvColumn>,
    /// At most so many elements.
    pub limit: Option<Expr>,
    /// What the elements of each row pass through.
    pub subquery: Vec<Operator>,
}

/// One aggregate of `make-series`.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesColumn {
    /// The aggregate.
    pub value: NamedExpr,
    /// What empty bins hold.
    pub default: Option<Expr>,
}

/// `make-series aggregates on axis from a to b step s by groups`
#[derive(Clone, Debug, PartialEq)]
pub struct MakeSeries {
    /// `kind=nonempty` and hints.
    pub settings: Vec<Setting>,
    /// The aggregates.
    pub aggregates: Vec<SeriesColumn>,
    /// The axis.
    pub on: NamedExpr,
    /// Where it begins.
    pub from: Option<Expr>,
    /// Where it ends.
    pub to: Option<Expr>,
    /// The old form `in range(a, b, s)`: the end is included.
    pub to_included: bool,
    /// The size of a bin.
    pub step: Expr,
    /// By what.
    pub by: Vec<NamedExpr>,
}

/// `search kind=.. in (T) predicate`
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// `kind=case_sensitive`
    pub case_sensitive: bool,
    /// Other settings.
    pub settings: Vec<Setting>,
    /// Where; empty: in everything (after a bar: in the input).
    pub tables: Vec<Pipeline>,
    /// A bare string is a term to look for in every column; `c:"x"` is [`super::BinaryOp::Colon`].
    pub predicate: Box<Expr>,
}

/// `find withsource=.. in (T) where p project ..`
#[derive(Clone, Debug, PartialEq)]
pub struct Find {
    /// The column that tells the table.
    pub with_source: Option<Name>,
    /// Other settings.
    pub settings: Vec<Setting>,
    /// Where; empty: in everything.
    pub tables: Vec<Pipeline>,
    /// What.
    pub predicate: Box<Expr>,
    /// `project a, b:long, pack_all()`; empty: `project-smart`.
    pub project: Vec<FindColumn>,
}

/// One column of `find .. project`.
#[derive(Clone, Debug, PartialEq)]
pub struct FindColumn {
    /// A column's name, or a call of `pack_all`.
    pub value: Expr,
    /// What it is converted to.
    pub kind: Option<ScalarType>,
}

/// `evaluate hint.. plugin(..) : (schema)`
#[derive(Clone, Debug, PartialEq)]
pub struct Invoke {
    /// Hints.
    pub settings: Vec<Setting>,
    /// The call.
    pub call: Box<Expr>,
    /// The columns it is said to give, and whether `*` stands before them.
    pub schema: Option<(bool, Vec<ColumnDecl>)>,
}

/// `render kind with (..)`
#[derive(Clone, Debug, PartialEq)]
pub struct Render {
    /// `timechart`, `piechart`, ..
    pub kind: Name,
    /// `title="x"`, ..
    pub settings: Vec<Setting>,
}

/// One level of `top-nested`.
#[derive(Clone, Debug, PartialEq)]
pub struct TopNestedLevel {
    /// How many; none: all.
    pub count: Option<Expr>,
    /// Of what.
    pub of: NamedExpr,
    /// `with others = value`
    pub others: Option<Expr>,
    /// By which aggregate.
    pub by: SortKey,
}

/// `top-hitters n of a by b`
#[derive(Clone, Debug, PartialEq)]
pub struct TopHitters {
    /// How many.
    pub count: Expr,
    /// Of what.
    pub of: NamedExpr,
    /// Weighed by.
    pub by: Option<NamedExpr>,
}

/// `partition hint.. by column (subquery)`
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    /// `hint.strategy` and so on.
    pub settings: Vec<Setting>,
    /// The column.
    pub by: Expr,
    /// What each part passes through.
    pub body: PartitionBody,
}

/// The sub-query of `partition`.
#[derive(Clone, Debug, PartialEq)]
pub enum PartitionBody {
    /// `( operators )`
    Operators(Vec<Operator>),
    /// `{ pipeline }`: a query of its own (legacy).
    Query(Box<Pipeline>),
}

/// One state of `scan`.
#[derive(Clone, Debug, PartialEq)]
pub struct ScanStep {
    /// Its name.
    pub name: Name,
    /// `optional`
    pub optional: bool,
    /// `output=all|last|none`
    pub settings: Vec<Setting>,
    /// When a row enters it.
    pub condition: Expr,
    /// What is then set.
    pub assignments: Vec<NamedExpr>,
}

/// `scan order by .. partition by .. declare (..) with (steps)`
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// `with_match_id=` and hints.
    pub settings: Vec<Setting>,
    /// `order by`
    pub order: Vec<SortKey>,
    /// `partition by`
    pub partition: Vec<Expr>,
    /// New columns.
    pub declare: Vec<Parameter>,
    /// The states.
    pub steps: Vec<ScanStep>,
}

/// One branch of `fork`.
#[derive(Clone, Debug, PartialEq)]
pub struct ForkBranch {
    /// Its result's name.
    pub name: Option<Name>,
    /// What rows pass through.
    pub operators: Vec<Operator>,
}

/// `facet by a, b with (..)`
#[derive(Clone, Debug, PartialEq)]
pub struct Facet {
    /// The columns.
    pub by: Vec<NamedExpr>,
    /// What the rest passes through.
    pub with: Option<Vec<Operator>>,
}

/// `reduce kind=.. by a with ..`
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// Before `by`.
    pub settings: Vec<Setting>,
    /// What is clustered.
    pub by: Expr,
    /// After `with`.
    pub with: Vec<Setting>,
}
