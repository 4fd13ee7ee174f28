//! `top-hitters` and `top-nested`: the largest groups, and the largest groups within those.

use datafusion::logical_expr::{Expr, JoinType, binary_expr, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, Argument, ExprKind, Name, NamedExpr, NullOrder, Order, TopNestedLevel, UnionKind};
use strongroom_model::ColumnType;

use super::combine::joined;
use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Key, Rel, column};
use crate::kql::expr::{Scope, convert, folded};
use crate::kql::names::{Namer, automatic};
use crate::kql::nodes::{Running, SerialCall};
use crate::kql::problem::{Outcome, Problem};

/// A level's names.
struct Level {
    /// Of its group, in the answer.
    name: String,
    /// Of its aggregate, in the answer.
    total_name: String,
    kind: ColumnType,
    total_kind: ColumnType,
    ascending: bool,
    nulls_first: bool,
    count: Option<usize>,
    /// What the rest is called.
    others: Option<Bound>,
}

/// The column of a level's group while they are made.
fn group(level: usize) -> String {
    format!("\u{1}group{level}")
}

/// The column of a level's aggregate while they are made.
fn total(level: usize) -> String {
    format!("\u{1}total{level}")
}

impl Binder<'_> {
    /// `top-hitters n of e by v`: here exact.
    pub(super) fn top_hitters(&mut self, rel: Rel, hitters: &ast::TopHitters, span: Span) -> Outcome<Rel> {
        let count = self.constant_count(&hitters.count)?;
        let named =
            |value: &NamedExpr| value.names.first().map(|name| name.text.clone()).or_else(|| automatic(&value.value)).unwrap_or_default();
        let (name, value) = match &hitters.by {
            Some(by) => (format!("approximate_sum_{}", named(by)), call("sum", vec![by.value.clone()], span)),
            None => (format!("approximate_count_{}", named(&hitters.of)), call("count", vec![], span)),
        };
        let aggregate = NamedExpr { names: vec![Name { text: name, span }], value, span };
        let summarize = ast::Summarize { settings: vec![], aggregates: vec![aggregate], by: vec![hitters.of.clone()] };
        let rel = self.summarize(rel, &summarize, span)?;
        let Some(weight) = rel.columns.last().map(|there| there.bound(span)) else { return Ok(rel) };
        Ok(rel.sort(vec![Key { value: weight, ascending: false, nulls_first: false }], span).take(count, span))
    }

    /// `top-nested n of e with others=x by a, ..`
    ///
    /// Each level's groups are those of its aggregate over the rows of the groups above it; the first of each parent are kept.
    /// Rows that fall out at some level are told together, if that level or one below it has a name for them.
    pub(super) fn top_nested(&mut self, rel: Rel, levels: &[TopNestedLevel], span: Span) -> Outcome<Rel> {
        let mut outputs = rel.outputs();
        for (at, level) in levels.iter().enumerate() {
            let value = self.value(&level.of.value, Scope::of(&rel.columns))?;
            if value.kind == ColumnType::Dynamic {
                return Err(Problem::mismatch(value.span, "rows cannot be grouped by a dynamic value").hint("cast it, e.g. `tostring(..)`"));
            }
            outputs.push((group(at), Bound { expr: value.solid(), sparse: false, ..value }));
        }
        let base = rel.project(outputs, span);
        let mut known: Vec<Level> = Vec::new();
        let mut columns = Namer::default();
        // The groups kept down to each level.
        let mut kept: Vec<Rel> = Vec::new();
        for (at, level) in levels.iter().enumerate() {
            let totals = self.totals(base.clone(), levels, &[at], at + 1, span)?;
            let named = self.level(level, at, &totals, &mut columns)?;
            let below = match kept.last() {
                Some(parents) => extend_parents(parents.clone(), totals, at, at..=at, span),
                None => totals,
            };
            known.push(named);
            kept.push(first_of_each(below, &known, span));
        }
        let Some(deepest) = kept.last() else { return Err(Problem::new(span, "NoLevels", "`top-nested` needs at least one level")) };
        let mut parts = vec![(String::new(), shown(deepest.clone(), &known, levels.len(), span))];
        for depth in 0..levels.len() {
            let named: Vec<usize> = (depth..levels.len()).filter(|at| known[*at].others.is_some()).collect();
            if !named.is_empty() {
                parts.push((String::new(), self.fallen(&base, levels, &known, &kept, depth, &named, span)?));
            }
        }
        if parts.len() == 1 {
            return Ok(parts.remove(0).1);
        }
        Ok(Self::united(parts, UnionKind::Outer, None, span))
    }

    /// Aggregates of these levels by the groups down to a depth.
    fn totals(&mut self, base: Rel, levels: &[TopNestedLevel], of: &[usize], depth: usize, span: Span) -> Outcome<Rel> {
        let name = |text: String| Name { text, span };
        let aggregates = of
            .iter()
            .map(|at| NamedExpr {
                names: vec![name(total(*at))],
                value: levels[*at].by.value.value.clone(),
                span: levels[*at].by.value.span,
            })
            .collect();
        let by = (0..depth)
            .map(|at| NamedExpr { names: vec![name(group(at))], value: ast::Expr { kind: ExprKind::Name(group(at)), span }, span })
            .collect();
        self.summarize(base, &ast::Summarize { settings: vec![], aggregates, by }, span)
    }

    fn level(&mut self, level: &TopNestedLevel, at: usize, grouped: &Rel, namer: &mut Namer) -> Outcome<Level> {
        let find = |name: String| {
            let there = grouped.columns.iter().find(|there| there.name == name);
            there.map(|there| there.kind).ok_or_else(|| Problem::new(level.of.span, "NoGroup", "this level has no groups"))
        };
        let (kind, total_kind) = (find(group(at))?, find(total(at))?);
        let name = match level.of.names.first() {
            Some(name) => namer.unique(&name.text),
            None => namer.automatic(automatic(&level.of.value)),
        };
        let total_name = match level.by.value.names.first() {
            Some(name) => namer.unique(&name.text),
            None => namer.unique(&format!("aggregated_{name}")),
        };
        let others = match &level.others {
            Some(others) => {
                let value = self.constant(others)?;
                let fitting = convert(value.clone(), kind);
                let null = matches!(folded(fitting.expr.clone()), Expr::Literal(value, _) if value.is_null());
                if null && kind != ColumnType::String {
                    return Err(Problem::mismatch(value.span, format!("the others of `{name}` must be a {}", kind.as_str()))
                        .hint("or make the groups strings, e.g. `of tostring(..)`"));
                }
                Some(fitting)
            }
            None => None,
        };
        let count = level.count.as_ref().map(|count| self.constant_count(count)).transpose()?;
        let ascending = level.by.order == Some(Order::Asc);
        let nulls_first = level.by.nulls.map_or(ascending, |nulls| nulls == NullOrder::First);
        Ok(Level { name, total_name, kind, total_kind, ascending, nulls_first, count, others })
    }

    /// Rows that were kept down to `depth` and fell out below it: a row a group, with a name for them at the levels that have one.
    #[expect(clippy::too_many_arguments, reason = "all of them are of one operator")]
    fn fallen(
        &mut self,
        base: &Rel,
        levels: &[TopNestedLevel],
        known: &[Level],
        kept: &[Rel],
        depth: usize,
        named: &[usize],
        span: Span,
    ) -> Outcome<Rel> {
        let keys = |depth: usize| (0..depth).map(|at| (column(&group(at)), column(&group(at)))).collect::<Vec<_>>();
        let inside = match depth.checked_sub(1) {
            Some(parent) => joined(base.clone(), kept[parent].clone(), JoinType::LeftSemi, keys(depth), span),
            None => base.clone(),
        };
        let outside = joined(inside, kept[depth].clone(), JoinType::LeftAnti, keys(depth + 1), span);
        let (outside, counted) = if depth == 0 { (outside.clone(), Some(Self::count(outside, None, span))) } else { (outside, None) };
        let mut rel = self.totals(outside, levels, named, depth, span)?;
        if let Some(counted) = counted {
            // Without groups there is a total even of nothing.
            let one = |rel: Rel| {
                let mut outputs = rel.outputs();
                outputs.push(("\u{1}one".to_owned(), Bound::new(lit(1_i64), ColumnType::Long, span)));
                rel.project(outputs, span)
            };
            let some = binary_expr(column("Count"), datafusion::logical_expr::Operator::Gt, lit(0_i64));
            let key = vec![(column("\u{1}one"), column("\u{1}one"))];
            rel = joined(one(rel), one(counted.filter(some, span)), JoinType::LeftSemi, key, span);
        }
        if let Some(parent) = depth.checked_sub(1) {
            rel = extend_parents(kept[parent].clone(), rel, depth, named.iter().copied(), span);
        }
        Ok(shown(rel, known, depth, span))
    }
}

/// Totals below their parents: the parents' columns, then the group (if there is one below them) and the totals.
fn extend_parents(parents: Rel, below: Rel, depth: usize, totals: impl IntoIterator<Item = usize>, span: Span) -> Rel {
    let keys = (0..depth).map(|at| (column(&group(at)), column(&group(at)))).collect();
    let width = parents.columns.len();
    let below_columns = below.columns.clone();
    let rel = joined(parents, below, JoinType::Inner, keys, span);
    let wanted: Vec<String> = std::iter::once(group(depth)).chain(totals.into_iter().map(total)).collect();
    let mut outputs: Vec<(String, Bound)> = rel.columns.iter().take(width).map(|there| (there.name.clone(), there.bound(span))).collect();
    for (there, own) in rel.columns[width..].iter().zip(&below_columns) {
        if wanted.contains(&own.name) {
            outputs.push((own.name.clone(), there.bound(span)));
        }
    }
    rel.project(outputs, span)
}

/// The first groups of each parent, in the order of all levels.
fn first_of_each(rel: Rel, known: &[Level], span: Span) -> Rel {
    let depth = known.len();
    let key = |name: String, kind: ColumnType, ascending: bool, nulls_first: bool| Key {
        value: BoundColumn::new(name, kind).bound(span),
        ascending,
        nulls_first,
    };
    let mut keys = Vec::new();
    for (at, level) in known.iter().enumerate() {
        keys.push(key(total(at), level.total_kind, level.ascending, level.nulls_first));
        keys.push(key(group(at), level.kind, true, true));
    }
    let sorted = rel.sort(keys, span);
    let Some(count) = known[depth - 1].count else { return sorted };
    if depth == 1 {
        return sorted.take(count, span);
    }
    let visible = sorted.outputs();
    // A row's number within its parent: how many have gone by since the parent changed.
    let before: Vec<SerialCall> = (0..depth - 1)
        .map(|at| SerialCall {
            function: Running::Before { by: 1 },
            arguments: vec![column(&group(at)), column(&group(at))],
            name: format!("\u{1}before{at}"),
            gives: known[at].kind.query_type(),
        })
        .collect();
    let columns = before.iter().zip(known).map(|(call, level)| BoundColumn::new(call.name.clone(), level.kind)).collect();
    let changed = before
        .iter()
        .enumerate()
        .map(|(at, call)| binary_expr(column(&group(at)), datafusion::logical_expr::Operator::IsDistinctFrom, column(&call.name)));
    let changed = changed.reduce(Expr::or).unwrap_or_else(|| lit(false));
    let number = SerialCall {
        function: Running::Number { start: 1 },
        arguments: vec![changed],
        name: "\u{1}number".to_owned(),
        gives: ColumnType::Long.query_type(),
    };
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    let few = binary_expr(column(&number.name), datafusion::logical_expr::Operator::LtEq, lit(limit));
    let number_column = BoundColumn::new(number.name.clone(), ColumnType::Long);
    sorted.serial(before, columns, span).serial(vec![number], vec![number_column], span).filter(few, span).project(visible, span)
}

/// The answer's columns: groups down to `depth` as they are, below it what the others are called.
fn shown(rel: Rel, known: &[Level], depth: usize, span: Span) -> Rel {
    let mut outputs = Vec::with_capacity(known.len() * 2);
    for (at, level) in known.iter().enumerate() {
        let value = match &level.others {
            _ if at < depth => BoundColumn::new(group(at), level.kind).bound(span),
            Some(others) => others.clone(),
            None => Bound::null(level.kind, span),
        };
        let there = rel.columns.iter().find(|there| there.name == total(at));
        let total = there.map_or_else(|| Bound::null(level.total_kind, span), |there| there.bound(span));
        outputs.push((level.name.clone(), value));
        outputs.push((level.total_name.clone(), total));
    }
    rel.project(outputs, span)
}

fn call(function: &str, arguments: Vec<ast::Expr>, span: Span) -> ast::Expr {
    let arguments = arguments.into_iter().map(|value| Argument { name: None, value }).collect();
    let function = Name { text: function.to_owned(), span };
    ast::Expr { kind: ExprKind::Call { receiver: None, function, arguments }, span }
}
