//! The bound tree: every name resolved, every value typed, every operator reduced to a few kinds.
//!
//! Rows are a [`Rel`]; a value is a [`Bound`]. What KQL says about nulls, order and names is decided before this tree is made
//! (in `bind` and `expr`); `plan` turns it into DataFusion's plan and knows no KQL any more, except for one thing: where order
//! still counts.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, JoinType};
use strongroom_kql::Span;
use strongroom_model::ColumnType;

use crate::functions::Axis;

use super::nodes::{Cell, Likeness, Machine, SerialCall};

/// A value: how it is computed, and its KQL type.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    /// Over the columns of the relation it was bound against. A constant is always `Expr::Literal`.
    pub(super) expr: Expr,
    /// Its type. The Arrow type of `expr` is the engine form of it.
    pub(super) kind: ColumnType,
    /// A string straight from storage: it may be null there where KQL reads `""`.
    pub(super) sparse: bool,
    /// A real straight from storage: never NaN, as JSON has no such number (`strongroom-ingest`, `decode`).
    pub(super) finite: bool,
    /// Where it stands.
    pub(super) span: Span,
}

impl Bound {
    pub(super) fn new(expr: Expr, kind: ColumnType, span: Span) -> Self {
        Self { expr, kind, sparse: false, finite: false, span }
    }

    pub(super) fn null(kind: ColumnType, span: Span) -> Self {
        Self::new(null_of(kind), kind, span)
    }

    pub(super) fn bool(value: bool, span: Span) -> Self {
        Self::new(Expr::Literal(ScalarValue::Boolean(Some(value)), None), ColumnType::Bool, span)
    }

    pub(super) fn string(value: impl Into<String>, span: Span) -> Self {
        Self::new(text(value), ColumnType::String, span)
    }

    /// The constant it is, if it is one.
    pub(super) fn literal(&self) -> Option<&ScalarValue> {
        match &self.expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        }
    }

    /// The string constant it is, if it is one.
    pub(super) fn literal_text(&self) -> Option<&str> {
        match self.literal()? {
            ScalarValue::Utf8View(Some(value)) | ScalarValue::Utf8(Some(value)) => Some(value),
            _ => None,
        }
    }

    /// The value with KQL's promise kept: a string is never null.
    pub(super) fn solid(&self) -> Expr {
        if self.sparse { coalesce(vec![self.expr.clone(), text("")]) } else { self.expr.clone() }
    }
}

/// The null of a type; for strings `""`.
pub(super) fn null_of(kind: ColumnType) -> Expr {
    if kind == ColumnType::String {
        return text("");
    }
    let value = ScalarValue::try_from(&kind.query_type()).expect("every engine type has a null");
    Expr::Literal(value, None)
}

/// A string constant in engine form.
pub(super) fn text(value: impl Into<String>) -> Expr {
    Expr::Literal(ScalarValue::Utf8View(Some(value.into())), None)
}

/// A column by its exact name: dots, blanks and capitals are part of it.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

/// One column of a relation. Names are unique within it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundColumn {
    pub(super) name: String,
    pub(super) kind: ColumnType,
    /// See [`Bound::sparse`].
    pub(super) sparse: bool,
    /// See [`Bound::finite`].
    pub(super) finite: bool,
}

impl BoundColumn {
    pub(super) fn new(name: impl Into<String>, kind: ColumnType) -> Self {
        Self { name: name.into(), kind, sparse: false, finite: false }
    }

    /// The column that a value becomes.
    pub(super) fn of(name: String, value: &Bound) -> Self {
        Self { name, kind: value.kind, sparse: value.sparse, finite: value.finite }
    }

    /// The column as a value.
    pub(super) fn bound(&self, span: Span) -> Bound {
        Bound { expr: column(&self.name), kind: self.kind, sparse: self.sparse, finite: self.finite, span }
    }
}

/// Rows: where they come from and what they look like.
#[derive(Clone, Debug)]
pub(super) struct Rel {
    pub(super) node: RelNode,
    pub(super) columns: Vec<BoundColumn>,
    /// The source or operator that made it.
    pub(super) span: Span,
    /// What `union withsource=` calls it, if it is a table or was named by `as`.
    pub(super) name: Option<String>,
    /// How many operators lie under it, itself included.
    pub(super) depth: usize,
}

/// What a relation is made of.
#[derive(Clone, Debug)]
pub(super) enum RelNode {
    /// A table of the workspace.
    Table { name: String, provider: Arc<dyn TableProvider> },
    /// Rows written in the text.
    Values(RecordBatch),
    /// One row, no columns: what `print` starts from.
    OneRow,
    /// Rows where the predicate is true.
    Filter { input: Arc<Rel>, predicate: Expr },
    /// The relation's columns, computed in order from the input's.
    Project { input: Arc<Rel>, values: Vec<Expr> },
    /// Groups, then aggregates: columns in that order.
    Aggregate { input: Arc<Rel>, groups: Vec<Expr>, aggregates: Vec<Aggregate> },
    /// Rows in order, until something forgets it.
    Sort { input: Arc<Rel>, keys: Vec<Key> },
    /// The first rows in order, or any.
    Take { input: Arc<Rel>, count: usize },
    /// All rows of all inputs, which have the same columns.
    Union(Vec<Arc<Rel>>),
    /// Left columns, then right columns (for semi and anti joins one side's), under the relation's names by position.
    Join { left: Arc<Rel>, right: Arc<Rel>, kind: JoinType, on: Vec<(Expr, Expr)> },
    /// A row for each element of dynamic cells.
    Expand { input: Arc<Rel>, expansion: MvExpansion },
    /// The same rows, to be looked at by equal keys until [`RelNode::Applied`].
    Parts { input: Arc<Rel>, key: Expr },
    /// The end of a sub-query that worked within the rows of the relation at that depth.
    Applied { input: Arc<Rel>, depth: usize, columns: Vec<AppliedColumn> },
    /// A text taken apart into a column [`TAKEN`] and values over it; perhaps only the rows where that went well, which the field
    /// of that number says.
    Taken { input: Arc<Rel>, taken: Expr, filters: Option<usize>, values: Vec<Expr> },
    /// A row for each group of cells, with arrays along an axis.
    Series { input: Arc<Rel>, shape: Box<SeriesShape> },
    /// The rows in the order they are in, for good; with the results of functions over rows in order as further columns.
    Serial { input: Arc<Rel>, calls: Vec<SerialCall> },
    /// Rows in order through the steps of a state machine: the input's columns, those declared, perhaps the match's number.
    Scan { input: Arc<Rel>, machine: Box<Machine> },
    /// Texts gathered by likeness: pattern, count, one of them.
    Reduce { input: Arc<Rel>, text: Expr, likeness: Likeness },
    /// Rows computed once a query, whoever asks: all copies share the cell.
    Once { input: Arc<Rel>, cell: Cell },
    /// One row per group of equal keys (any one).
    FirstPerKey { input: Arc<Rel>, keys: Vec<Expr> },
}

/// The column with all that a text was taken apart into.
pub(super) const TAKEN: &str = "\u{1}taken";

/// How `mv-expand` and `mv-apply` expand.
#[derive(Clone, Debug)]
pub(super) struct MvExpansion {
    /// What is expanded (`dynamic`), and to what its elements are cast.
    pub(super) sources: Vec<(Expr, ColumnType)>,
    /// Whether entries of bags become `[key, value]`.
    pub(super) pairs: bool,
    /// Most rows for one.
    pub(super) limit: u64,
    /// The relation's columns.
    pub(super) columns: Vec<ExpandedColumn>,
    /// Whether what follows works within the elements of each row, until [`RelNode::Applied`].
    pub(super) apply: bool,
}

/// How `make-series` puts cells along an axis.
#[derive(Clone, Debug)]
pub(super) struct SeriesShape {
    /// How many columns of the input, the first ones, are groups.
    pub(super) groups: usize,
    /// The start of a cell's bin.
    pub(super) bin: Expr,
    /// The values of the cells, in JSON form, and what stands where there is no cell.
    pub(super) values: Vec<(Expr, Option<String>)>,
    pub(super) axis: Axis,
    /// None: the first bin there is.
    pub(super) from: Option<Expr>,
    /// None: the last bin there is.
    pub(super) to: Option<Expr>,
    pub(super) step: Expr,
    /// Whether nothing makes one row of it, too.
    pub(super) nonempty: bool,
}

/// A column after an expansion.
#[derive(Clone, Debug)]
pub(super) enum ExpandedColumn {
    /// The input's.
    Input(String),
    /// The elements of that source.
    Cell(usize),
    /// The element's place.
    Item,
}

/// A column after a sub-query.
#[derive(Clone, Debug)]
pub(super) enum AppliedColumn {
    /// That of the rows it worked within, by its place.
    Outer(usize),
    /// The sub-query's.
    Inner(String),
}

/// One aggregate.
#[derive(Clone, Debug)]
pub(super) struct Aggregate {
    /// `Expr::AggregateFunction` over the input's columns.
    pub(super) call: Expr,
    /// Whether its result depends on the order of its input (`make_list`).
    pub(super) ordered: bool,
}

/// One key of an order.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) value: Bound,
    pub(super) ascending: bool,
    pub(super) nulls_first: bool,
}

impl Rel {
    pub(super) fn source(node: RelNode, columns: Vec<BoundColumn>, span: Span) -> Self {
        Self { node, columns, span, name: None, depth: 1 }
    }

    /// A relation over one input.
    pub(super) fn over(depth: usize, node: RelNode, columns: Vec<BoundColumn>, span: Span) -> Self {
        Self { node, columns, span, name: None, depth: depth + 1 }
    }

    pub(super) fn filter(self, predicate: Expr, span: Span) -> Self {
        let columns = self.columns.clone();
        Self::over(self.depth, RelNode::Filter { input: Arc::new(self), predicate }, columns, span)
    }

    /// Columns named and computed anew; names must be unique.
    pub(super) fn project(self, outputs: Vec<(String, Bound)>, span: Span) -> Self {
        let (columns, values) = outputs.into_iter().map(|(name, value)| (BoundColumn::of(name, &value), value.expr)).unzip();
        Self::over(self.depth, RelNode::Project { input: Arc::new(self), values }, columns, span)
    }

    /// Every column as it is, ready for [`Rel::project`].
    pub(super) fn outputs(&self) -> Vec<(String, Bound)> {
        self.columns.iter().map(|c| (c.name.clone(), c.bound(self.span))).collect()
    }

    pub(super) fn sort(self, keys: Vec<Key>, span: Span) -> Self {
        let columns = self.columns.clone();
        Self::over(self.depth, RelNode::Sort { input: Arc::new(self), keys }, columns, span)
    }

    /// `columns` are those of the calls.
    pub(super) fn serial(self, calls: Vec<SerialCall>, columns: Vec<BoundColumn>, span: Span) -> Self {
        let columns = self.columns.iter().cloned().chain(columns).collect();
        Self::over(self.depth, RelNode::Serial { input: Arc::new(self), calls }, columns, span)
    }

    /// Computed once, however often it is asked for.
    pub(super) fn once(self, span: Span) -> Self {
        let (name, columns) = (self.name.clone(), self.columns.clone());
        let node = RelNode::Once { cell: Cell::default(), input: Arc::new(self.clone()) };
        Self { name, ..Self::over(self.depth, node, columns, span) }
    }

    /// Whether its rows are in an order that functions over rows may rely on.
    pub(super) fn is_serialized(&self) -> bool {
        match &self.node {
            RelNode::Sort { .. } | RelNode::Serial { .. } | RelNode::Scan { .. } | RelNode::Values(_) | RelNode::OneRow => true,
            // The elements of a row are in order.
            RelNode::Expand { expansion, .. } if expansion.apply => true,
            RelNode::Filter { input, .. }
            | RelNode::Project { input, .. }
            | RelNode::Take { input, .. }
            | RelNode::Once { input, .. }
            | RelNode::Expand { input, .. }
            | RelNode::Taken { input, .. } => input.is_serialized(),
            // Written in the text, one behind the other.
            RelNode::Union(inputs) => inputs.iter().all(|input| input.is_written()),
            _ => false,
        }
    }

    fn is_written(&self) -> bool {
        match &self.node {
            RelNode::Values(_) | RelNode::OneRow => true,
            RelNode::Filter { input, .. } | RelNode::Project { input, .. } | RelNode::Take { input, .. } | RelNode::Once { input, .. } => {
                input.is_written()
            }
            _ => false,
        }
    }

    pub(super) fn take(self, count: usize, span: Span) -> Self {
        let columns = self.columns.clone();
        Self::over(self.depth, RelNode::Take { input: Arc::new(self), count }, columns, span)
    }
}
