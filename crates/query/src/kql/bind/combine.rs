//! Several inputs: `join`, `lookup`, `union`.

use std::sync::Arc;

use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{Expr, JoinType};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, BinaryOp, ExprKind, JoinKind, UnionKind};
use strongroom_model::ColumnType;

use super::project::unknown_column;
use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel, RelNode, null_of};
use crate::kql::expr::{common_number, convert, is_number};
use crate::kql::names::Namer;
use crate::kql::problem::{Outcome, Problem};

/// A pair of columns that must be equal.
#[derive(Debug)]
struct Pair {
    left: BoundColumn,
    right: BoundColumn,
    span: Span,
}

impl Binder<'_> {
    pub(super) fn join(&mut self, left: Rel, join: &ast::Join, span: Span) -> Outcome<Rel> {
        let right = self.pipeline(&join.right)?;
        let pairs = Self::conditions(&left, &right, &join.on, span)?;
        let on = keys(&pairs)?;
        let (left, kind) = match join.kind {
            JoinKind::InnerUnique => {
                let keys = on.iter().map(|(left, _)| left.clone()).collect();
                let columns = left.columns.clone();
                (Rel::over(left.depth, RelNode::FirstPerKey { input: Arc::new(left), keys }, columns, span), JoinType::Inner)
            }
            JoinKind::Inner => (left, JoinType::Inner),
            JoinKind::LeftOuter => (left, JoinType::Left),
            JoinKind::RightOuter => (left, JoinType::Right),
            JoinKind::FullOuter => (left, JoinType::Full),
            JoinKind::LeftSemi => (left, JoinType::LeftSemi),
            JoinKind::LeftAnti => (left, JoinType::LeftAnti),
            JoinKind::RightSemi | JoinKind::RightAnti => {
                let on = on.into_iter().map(|(left, right)| (right, left)).collect();
                let kind = if join.kind == JoinKind::RightSemi { JoinType::LeftSemi } else { JoinType::LeftAnti };
                return Ok(joined(right, left, kind, on, span));
            }
        };
        Ok(joined(left, right, kind, on, span))
    }

    /// Rows for which the predicate holds. After an innerunique join what concerns the left side alone comes before the choice of
    /// one row a key, as in the original: else the rows looked for might not be among those chosen.
    pub(super) fn filtered(rel: Rel, predicate: Expr, span: Span) -> Rel {
        let RelNode::Join { left, right, kind: JoinType::Inner, on } = &rel.node else { return rel.filter(predicate, span) };
        let RelNode::FirstPerKey { input, keys } = &left.node else { return rel.filter(predicate, span) };
        let of_left = |part: &Expr| part.column_refs().iter().all(|found| left.columns.iter().any(|column| column.name == found.name));
        let (early, late): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(predicate).into_iter().partition(of_left);
        let Some(early) = early.into_iter().reduce(Expr::and) else {
            return late.into_iter().fold(rel, |rel, part| rel.filter(part, span));
        };
        let kept = Arc::new(Rel::clone(input).filter(early, span));
        let node = RelNode::FirstPerKey { input: kept, keys: keys.clone() };
        let left = Arc::new(Rel::over(left.depth, node, left.columns.clone(), left.span));
        let node = RelNode::Join { left, right: Arc::clone(right), kind: JoinType::Inner, on: on.clone() };
        let rel = Rel { node, depth: rel.depth + 1, ..rel.clone() };
        late.into_iter().fold(rel, |rel, part| rel.filter(part, span))
    }

    /// A left outer join (or inner) whose right key columns are dropped.
    pub(super) fn lookup(&mut self, left: Rel, lookup: &ast::Lookup, span: Span) -> Outcome<Rel> {
        let right = self.pipeline(&lookup.right)?;
        let pairs = Self::conditions(&left, &right, &lookup.on, span)?;
        let on = keys(&pairs)?;
        let kind = if lookup.kind == JoinKind::Inner { JoinType::Inner } else { JoinType::Left };
        let (width, right_columns) = (left.columns.len(), right.columns.clone());
        let rel = joined(left, right, kind, on, span);
        let mut namer = Namer::default();
        let mut outputs = Vec::with_capacity(rel.columns.len());
        for (at, column) in rel.columns.iter().enumerate() {
            if at < width {
                outputs.push((namer.unique(&column.name), column.bound(span)));
            } else {
                let own = &right_columns[at - width];
                if !pairs.iter().any(|pair| pair.right.name == own.name) {
                    outputs.push((namer.unique(&own.name), column.bound(span)));
                }
            }
        }
        Ok(rel.project(outputs, span))
    }

    /// `on a, $left.b == $right.c and ..`
    fn conditions(left: &Rel, right: &Rel, on: &[ast::Expr], span: Span) -> Outcome<Vec<Pair>> {
        let mut pairs = Vec::new();
        let mut todo: Vec<&ast::Expr> = on.iter().rev().collect();
        while let Some(condition) = todo.pop() {
            let place = condition.span;
            match &condition.kind {
                ExprKind::And(parts) => todo.extend(parts.iter().rev()),
                ExprKind::Name(name) => {
                    pairs.push(Pair { left: find(left, name, place)?, right: find(right, name, place)?, span: place });
                }
                ExprKind::Binary { op: BinaryOp::Equal, left: a, right: b, .. } => match (side(a), side(b)) {
                    (Some(("$left", l)), Some(("$right", r))) => {
                        pairs.push(Pair { left: find(left, l, a.span)?, right: find(right, r, b.span)?, span: place });
                    }
                    (Some(("$right", r)), Some(("$left", l))) => {
                        pairs.push(Pair { left: find(left, l, b.span)?, right: find(right, r, a.span)?, span: place });
                    }
                    _ => return Err(bad_condition(place)),
                },
                _ => return Err(bad_condition(place)),
            }
        }
        if pairs.is_empty() {
            return Err(Problem::new(span, "NoCondition", "a join needs `on` with at least one column"));
        }
        Ok(pairs)
    }

    /// `T | union U, V` or `union T, U`.
    pub(super) fn union(&mut self, input: Option<Rel>, union: &ast::Union, span: Span) -> Outcome<Rel> {
        let mut legs: Vec<(String, Rel)> = Vec::new();
        if let Some(input) = input {
            let name = input.name.clone().unwrap_or_else(|| "union_arg0".to_owned());
            legs.push((name, input));
        }
        self.legs(&union.legs, union.is_fuzzy, "union_arg", &mut legs)?;
        if legs.is_empty() {
            return Err(Problem::new(span, "UnknownTable", "none of the union's tables is there"));
        }
        Ok(Self::united(legs, union.kind, union.with_source.as_ref().map(|name| name.text.as_str()), span))
    }

    /// All rows of all legs under common columns.
    pub(super) fn united(legs: Vec<(String, Rel)>, kind: UnionKind, source: Option<&str>, span: Span) -> Rel {
        let depth = legs.iter().map(|(_, rel)| rel.depth).max().unwrap_or(0);
        let shared = match kind {
            UnionKind::Outer => all_columns(&legs),
            UnionKind::Inner => common_columns(&legs),
        };
        let mut namer = Namer::default();
        let source = source.map(|name| namer.unique(name));
        let mut columns: Vec<BoundColumn> = source.iter().map(|name| BoundColumn::new(name.clone(), ColumnType::String)).collect();
        for shared in &shared {
            let Shared { kind, sparse, finite, .. } = *shared;
            columns.push(BoundColumn { name: namer.unique(&shared.output), kind, sparse, finite });
        }
        let inputs = legs
            .into_iter()
            .map(|(leg, rel)| {
                let mut values: Vec<Bound> = source.iter().map(|_| Bound::string(leg.clone(), span)).collect();
                for shared in &shared {
                    let own = rel.columns.iter().find(|column| column.name == shared.name && column.kind == shared.kind);
                    values.push(own.map_or_else(|| Bound::new(null_of(shared.kind), shared.kind, span), |column| column.bound(span)));
                }
                Arc::new(rel.project(columns.iter().map(|column| column.name.clone()).zip(values).collect(), span))
            })
            .collect();
        Rel::over(depth + 1, RelNode::Union(inputs), columns, span)
    }
}

/// A column of a union.
#[derive(Debug)]
struct Shared {
    name: String,
    kind: ColumnType,
    /// Its name, with the type behind it if there is another of that name.
    output: String,
    sparse: bool,
    finite: bool,
}

/// Every name with every type it has; a name with several types is split.
fn all_columns(legs: &[(String, Rel)]) -> Vec<Shared> {
    let mut all: Vec<Shared> = Vec::new();
    for (_, rel) in legs {
        for column in &rel.columns {
            if let Some(there) = all.iter_mut().find(|there| there.name == column.name && there.kind == column.kind) {
                there.sparse |= column.sparse;
                there.finite &= column.finite;
            } else {
                let BoundColumn { name, kind, sparse, finite } = column.clone();
                all.push(Shared { output: name.clone(), name, kind, sparse, finite });
            }
        }
    }
    let split: Vec<bool> =
        all.iter().map(|column| all.iter().any(|other| other.name == column.name && other.kind != column.kind)).collect();
    for (column, split) in all.iter_mut().zip(split) {
        if split {
            column.output = format!("{}_{}", column.name, column.kind.as_str());
        }
    }
    all
}

/// Names that all legs have with one type.
fn common_columns(legs: &[(String, Rel)]) -> Vec<Shared> {
    let mut all = all_columns(legs);
    all.retain(|shared| {
        legs.iter().all(|(_, rel)| rel.columns.iter().any(|column| column.name == shared.name && column.kind == shared.kind))
    });
    for shared in &mut all {
        shared.output.clone_from(&shared.name);
    }
    all
}

/// Left columns, then right ones; a name taken already gets a number. Sides that may be missing lose their empty strings.
pub(super) fn joined(left: Rel, right: Rel, kind: JoinType, on: Vec<(Expr, Expr)>, span: Span) -> Rel {
    let mut namer = Namer::default();
    let absent = |column: &BoundColumn, may_be_absent: bool| column.sparse || (may_be_absent && column.kind == ColumnType::String);
    let mut columns = Vec::new();
    for column in &left.columns {
        let sparse = absent(column, matches!(kind, JoinType::Right | JoinType::Full));
        columns.push(BoundColumn { name: namer.unique(&column.name), sparse, ..column.clone() });
    }
    if !matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti) {
        for column in &right.columns {
            let sparse = absent(column, matches!(kind, JoinType::Left | JoinType::Full));
            columns.push(BoundColumn { name: namer.unique(&column.name), sparse, ..column.clone() });
        }
    }
    let depth = left.depth.max(right.depth);
    Rel::over(depth, RelNode::Join { left: Arc::new(left), right: Arc::new(right), kind, on }, columns, span)
}

/// The keys of both sides in a type in common.
fn keys(pairs: &[Pair]) -> Outcome<Vec<(Expr, Expr)>> {
    let mut keys = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let kind = match (pair.left.kind, pair.right.kind) {
            (ColumnType::Dynamic, _) | (_, ColumnType::Dynamic) => {
                return Err(Problem::mismatch(pair.span, "dynamic values cannot be keys of a join")
                    .hint("cast them before, e.g. `extend k = tostring(k)`"));
            }
            (a, b) if a == b => a,
            (a, b) if is_number(a) && is_number(b) => common_number(a, b),
            (a, b) => {
                return Err(Problem::mismatch(pair.span, format!("a {} cannot be joined with a {}", a.as_str(), b.as_str()))
                    .hint("cast one side before the join"));
            }
        };
        keys.push((convert(pair.left.bound(pair.span), kind).solid(), convert(pair.right.bound(pair.span), kind).solid()));
    }
    Ok(keys)
}

fn find(rel: &Rel, name: &str, span: Span) -> Outcome<BoundColumn> {
    rel.columns.iter().find(|column| column.name == name).cloned().ok_or_else(|| unknown_column(rel, name, span))
}

/// `$left.x` or `$right["x"]`.
fn side(expr: &ast::Expr) -> Option<(&str, &str)> {
    let (base, name) = match &expr.kind {
        ExprKind::Path { base, name } => (base, name.text.as_str()),
        ExprKind::Index { base, index } => match &index.kind {
            ExprKind::Literal(ast::Literal::String { value, .. }) => (base, value.as_str()),
            _ => return None,
        },
        _ => return None,
    };
    match &base.kind {
        ExprKind::Name(side) if side == "$left" || side == "$right" => Some((side, name)),
        _ => None,
    }
}

fn bad_condition(span: Span) -> Problem {
    Problem::new(span, "JoinCondition", "a join's `on` takes columns and equalities of `$left.a == $right.b`")
        .hint("compute the key with `extend` before the join")
}
