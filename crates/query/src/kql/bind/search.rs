//! `search` and `find`: terms in any column of any table.
//!
//! A bare text is a term to look for everywhere; a column that some of the tables have is null in the others.

use datafusion::logical_expr::{Expr, Operator, lit};
use strongroom_kql::Span;
use strongroom_kql::ast::{self, BinaryOp, ExprKind, Literal, Pipeline, SourceKind, UnionKind};
use strongroom_model::ColumnType;

use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel};
use crate::kql::env::Binding;
use crate::kql::expr::{Scope, Want, balanced, convert, kind_of, truth};
use crate::kql::problem::{Outcome, Problem};
use crate::kql::registry;

/// The column that tells where a row was found.
const TABLE: &str = "$table";

/// The column that holds what `find` has no column for.
const PACK: &str = "pack_";

/// Tables with the names their rows go by.
pub(super) type Legs = Vec<(String, Rel)>;

impl Binder<'_> {
    /// `search .. p` over tables, or `T | search p`.
    pub(super) fn search(&mut self, input: Option<Rel>, search: &ast::Search, span: Span) -> Outcome<Rel> {
        let finder = Finder { case_sensitive: search.case_sensitive };
        if let Some(rel) = input {
            if !search.tables.is_empty() {
                return Err(Problem::new(search.tables[0].span, "TablesTwice", "rows come from the left already: leave `in (..)` out"));
            }
            let predicate = finder.predicate(self, &search.predicate, Scope::of(&rel.columns), Want::Truth)?;
            let name = rel.name.clone().unwrap_or_else(|| "search_arg0".to_owned());
            let mut outputs = rel.outputs();
            if outputs.iter().any(|(there, _)| there == TABLE) {
                return Ok(rel.filter(predicate, span));
            }
            outputs.insert(0, (TABLE.to_owned(), Bound::string(name, span)));
            return Ok(rel.filter(predicate, span).project(outputs, span));
        }
        let legs = self.searched_tables(&search.tables, "search_arg", span)?;
        let legs = self.found(legs, &search.predicate, finder)?;
        Ok(Self::united(legs, UnionKind::Outer, Some(TABLE), span))
    }

    /// `find .. where p project ..`
    pub(super) fn find(&mut self, find: &ast::Find, span: Span) -> Outcome<Rel> {
        let mut legs = self.searched_tables(&find.tables, "find_arg", span)?;
        let used = columns_used(&find.predicate, &legs);
        // Tables that have nothing of what is asked for are no part of it.
        if !used.is_empty() && !looks_everywhere(&find.predicate) {
            legs.retain(|(_, rel)| rel.columns.iter().any(|column| used.contains(&column.name)));
        }
        let own: Vec<Vec<BoundColumn>> = legs.iter().map(|(_, rel)| rel.columns.clone()).collect();
        let legs = self.found(legs, &find.predicate, Finder { case_sensitive: false })?;
        let source = find.with_source.as_ref().map_or("source_", |name| name.text.as_str());
        let shown = if find.project.is_empty() { Shown::smart(&own, &used) } else { shown_by(&find.project, &own)? };
        let mut projected = Vec::with_capacity(legs.len());
        for ((name, rel), own) in legs.into_iter().zip(&own) {
            let mut outputs = Vec::new();
            let mut left: Vec<&BoundColumn> = own.iter().collect();
            for column in &shown.columns {
                let there = own.iter().find(|own| own.name == column.name && column.from.is_none_or(|kind| kind == own.kind));
                let value = match there {
                    Some(there) => convert(there.bound(span), column.kind),
                    // `united` fills it in; with a type of its own it is a column everywhere.
                    None if column.from.is_some() => continue,
                    None => Bound::null(column.kind, span),
                };
                left.retain(|other| other.name != column.name);
                outputs.push((column.name.clone(), value));
            }
            if shown.pack {
                let values: Vec<Bound> =
                    left.iter().flat_map(|column| [Bound::string(column.name.clone(), span), column.bound(span)]).collect();
                outputs.push((PACK.to_owned(), registry::call("bag_pack", span, &values, self.now())?));
            }
            projected.push((name, rel.project(outputs, span)));
        }
        let rel = Self::united(projected, UnionKind::Outer, Some(source), span);
        let (mut outputs, pack): (Vec<_>, Vec<_>) = rel.outputs().into_iter().partition(|(name, _)| !(shown.pack && name == PACK));
        outputs.extend(pack);
        Ok(rel.project(outputs, span))
    }

    /// The tables listed, or all there are and the text's views.
    fn searched_tables(&mut self, listed: &[Pipeline], prefix: &str, span: Span) -> Outcome<Legs> {
        let mut legs = Vec::new();
        if listed.is_empty() {
            legs = self.matching_tables("*", span)?;
        } else {
            self.legs(listed, false, prefix, &mut legs)?;
        }
        Ok(legs)
    }

    /// Tables, patterns of tables and sub-queries, as `union` takes them. Fuzzy: those that are not there are left out.
    pub(super) fn legs(&mut self, listed: &[Pipeline], fuzzy: bool, prefix: &str, legs: &mut Legs) -> Outcome<()> {
        for leg in listed {
            let found = match &leg.source.kind {
                SourceKind::Wildcard(text) if leg.operators.is_empty() => self.matching_tables(text, leg.source.span),
                _ => self.pipeline(leg).map(|rel| {
                    let name = rel.name.clone().unwrap_or_else(|| format!("{prefix}{}", legs.len()));
                    vec![(name, rel)]
                }),
            };
            match found {
                Ok(found) => legs.extend(found),
                Err(problem) if fuzzy && problem.code == "UnknownTable" => {}
                Err(problem) => return Err(problem),
            }
        }
        Ok(())
    }

    /// The text's own views of names that match: functions without parameters, declared with `view`.
    pub(super) fn views(&mut self, matches: impl Fn(&str) -> bool, span: Span) -> Outcome<Legs> {
        let mut legs: Legs = Vec::new();
        for (name, function) in self.env.views() {
            if matches(&name) && !legs.iter().any(|(there, _)| *there == name) {
                let rel = self.call_rows(&function, &ast::Name { text: name.clone(), span })?;
                legs.push((name, rel));
            }
        }
        legs.reverse();
        Ok(legs)
    }

    /// The rows of each table for which the predicate holds.
    fn found(&mut self, legs: Legs, predicate: &ast::Expr, finder: Finder) -> Outcome<Legs> {
        let used = columns_used(predicate, &legs);
        let all: Vec<BoundColumn> = legs.iter().flat_map(|(_, rel)| rel.columns.iter().cloned()).collect();
        let mut found = Vec::with_capacity(legs.len());
        for (name, rel) in legs {
            let visible = rel.outputs();
            let mut outputs = visible.clone();
            for wanted in &used {
                if !visible.iter().any(|(there, _)| there == wanted)
                    && let Some(elsewhere) = all.iter().find(|column| column.name == *wanted)
                {
                    outputs.push((wanted.clone(), Bound::null(elsewhere.kind, rel.span)));
                }
            }
            let span = rel.span;
            let own = rel.columns.clone();
            let lacks = outputs.len() > visible.len();
            let rel = if lacks { rel.project(outputs, span) } else { rel };
            let scope = Scope::of(&rel.columns);
            let predicate = finder.predicate_over(self, predicate, scope, &own)?;
            let rel = rel.filter(predicate, span);
            found.push((name, if lacks { rel.project(visible, span) } else { rel }));
        }
        Ok(found)
    }
}

/// What `find` shows of each table.
#[derive(Debug)]
struct Shown {
    columns: Vec<ShownColumn>,
    /// Whether the rest follows in a bag.
    pack: bool,
}

#[derive(Debug)]
struct ShownColumn {
    name: String,
    kind: ColumnType,
    /// Taken from columns of that type alone.
    from: Option<ColumnType>,
}

impl Shown {
    /// The columns of the predicate and those that all tables have; the rest packed, if there is any.
    fn smart(own: &[Vec<BoundColumn>], used: &[String]) -> Self {
        let mut shown = Self { columns: Vec::new(), pack: false };
        for column in own.iter().flatten() {
            let everywhere = own.iter().all(|own| own.iter().any(|there| there.name == column.name && there.kind == column.kind));
            let wanted = used.contains(&column.name) || (everywhere && own.len() > 1);
            if !wanted {
                shown.pack = true;
            } else if !shown.columns.iter().any(|there| there.name == column.name && there.kind == column.kind) {
                shown.columns.push(ShownColumn { name: column.name.clone(), kind: column.kind, from: Some(column.kind) });
            }
        }
        shown
    }
}

/// Columns of any of the tables that the predicate names, in its order.
fn columns_used(predicate: &ast::Expr, legs: &Legs) -> Vec<String> {
    let mut used: Vec<String> = Vec::new();
    names(predicate, &mut |name| {
        let is_column = legs.iter().any(|(_, rel)| rel.columns.iter().any(|column| column.name == name));
        if is_column && !used.iter().any(|there| there == name) {
            used.push(name.to_owned());
        }
    });
    used
}

/// The columns that `find .. project` asks for.
fn shown_by(project: &[ast::FindColumn], own: &[Vec<BoundColumn>]) -> Outcome<Shown> {
    let mut shown = Shown { columns: Vec::new(), pack: false };
    for wanted in project {
        let span = wanted.value.span;
        let name = match &wanted.value.kind {
            ExprKind::Name(name) => name,
            ExprKind::Call { receiver: None, function, .. } if matches!(function.text.as_str(), "pack_all" | "pack") => {
                shown.pack = true;
                continue;
            }
            _ => {
                return Err(Problem::new(span, "BadColumn", "`find` shows columns by name, and the rest by `pack_all()`")
                    .hint("compute others afterwards with `extend`"));
            }
        };
        let mut kinds: Vec<ColumnType> = Vec::new();
        for column in own.iter().flatten().filter(|column| column.name == *name) {
            if !kinds.contains(&column.kind) {
                kinds.push(column.kind);
            }
        }
        let kind = match (wanted.kind, kinds.as_slice()) {
            (Some(kind), _) => kind_of(kind),
            (None, [kind]) => *kind,
            (None, []) => {
                return Err(Problem::new(span, "UnknownColumn", format!("none of the tables has a column `{name}`")));
            }
            (None, [first, second, ..]) => {
                return Err(Problem::mismatch(
                    span,
                    format!("`{name}` is a {} in one table and a {} in another", first.as_str(), second.as_str()),
                )
                .hint(format!("say which it shall be: `{name}:{}`", first.as_str())));
            }
        };
        shown.columns.push(ShownColumn { name: name.clone(), kind, from: None });
    }
    Ok(shown)
}

/// How terms are looked for.
#[derive(Clone, Copy, Debug)]
struct Finder {
    case_sensitive: bool,
}

impl Finder {
    fn predicate(self, binder: &mut Binder<'_>, predicate: &ast::Expr, scope: Scope<'_>, want: Want) -> Outcome<Expr> {
        Search { finder: self, scope, terms: scope.columns }.bind(binder, predicate, want)
    }

    /// Terms are looked for in `own` only, not in the columns that are null here.
    fn predicate_over(self, binder: &mut Binder<'_>, predicate: &ast::Expr, scope: Scope<'_>, own: &[BoundColumn]) -> Outcome<Expr> {
        Search { finder: self, scope, terms: own }.bind(binder, predicate, Want::Truth)
    }
}

/// One predicate over one table.
#[derive(Clone, Copy, Debug)]
struct Search<'s> {
    finder: Finder,
    scope: Scope<'s>,
    terms: &'s [BoundColumn],
}

impl Search<'_> {
    fn bind(&self, binder: &mut Binder<'_>, predicate: &ast::Expr, want: Want) -> Outcome<Expr> {
        let span = predicate.span;
        match &predicate.kind {
            ExprKind::And(parts) | ExprKind::Or(parts) => {
                let op = if matches!(predicate.kind, ExprKind::And(_)) { Operator::And } else { Operator::Or };
                let parts = parts.iter().map(|part| self.bind(binder, part, want)).collect::<Outcome<Vec<_>>>()?;
                Ok(balanced(parts, op))
            }
            ExprKind::Call { receiver: None, function, arguments } if function.text == "not" && arguments.len() == 1 => {
                Ok(Expr::Not(Box::new(self.bind(binder, &arguments[0].value, Want::Value)?)))
            }
            ExprKind::Star => Ok(lit(true)),
            ExprKind::Literal(Literal::Int(_) | Literal::Long(_) | Literal::Real(_)) => {
                let text = span.of(binder.text).to_owned();
                self.term(binder, &text, span)
            }
            ExprKind::Binary { op: BinaryOp::Colon, op_span, left, right } => {
                let right = binder.value(right, self.scope)?;
                if matches!(left.kind, ExprKind::Star) {
                    return match right.literal_text() {
                        Some(text) => self.term(binder, text, span),
                        None => Err(Problem::mismatch(right.span, "a constant text is needed here")),
                    };
                }
                let left = binder.value(left, self.scope)?;
                match right.literal_text().map(str::to_owned) {
                    Some(text) => self.in_column(binder, &text, left, span),
                    None => Ok(binder.apply(BinaryOp::Equal, *op_span, left, right, want)?.expr),
                }
            }
            ExprKind::Binary { op, op_span, left, right } if self.finder.case_sensitive && sensitive(*op) != *op => {
                let exact = ExprKind::Binary { op: sensitive(*op), op_span: *op_span, left: left.clone(), right: right.clone() };
                truth(binder.bind(&ast::Expr { kind: exact, span }, self.scope, want)?)
            }
            _ => {
                let bound = binder.bind(predicate, self.scope, want)?;
                match bound.literal_text().map(str::to_owned) {
                    Some(text) if bound.kind == ColumnType::String => self.term(binder, &text, span),
                    _ => truth(bound),
                }
            }
        }
    }

    /// A term in any column.
    fn term(&self, binder: &mut Binder<'_>, text: &str, span: Span) -> Outcome<Expr> {
        let mut parts = Vec::new();
        for column in self.terms {
            if may_show(column.kind, text) {
                parts.push(self.in_column(binder, text, column.bound(span), span)?);
            }
        }
        Ok(if parts.is_empty() { lit(false) } else { balanced(parts, Operator::Or) })
    }

    /// A term in one column; stars stand for any text.
    fn in_column(&self, binder: &mut Binder<'_>, text: &str, column: Bound, span: Span) -> Outcome<Expr> {
        let Some((op, needle)) = shape(text) else { return Ok(lit(true)) };
        let (op, needle) = match op {
            BinaryOp::MatchesRegex if !self.finder.case_sensitive => (op, format!("(?i){needle}")),
            _ if self.finder.case_sensitive => (sensitive(op), needle),
            _ => (op, needle),
        };
        let left = convert(column, ColumnType::String);
        Ok(binder.apply(op, span, left, Bound::string(needle, span), Want::Value)?.expr)
    }
}

/// What a term with stars asks for; none: anything at all.
fn shape(text: &str) -> Option<(BinaryOp, String)> {
    let (open, close) = (text.starts_with('*'), text.ends_with('*'));
    let core = text.trim_matches('*');
    if core.is_empty() && open {
        return None;
    }
    if core.contains('*') {
        let pieces: Vec<String> = core.split('*').map(regex::escape).collect();
        let (before, after) = (if open { "" } else { r"\b" }, if close { "" } else { r"\b" });
        return Some((BinaryOp::MatchesRegex, format!("{before}{}{after}", pieces.join(".*"))));
    }
    let op = match (open, close) {
        (false, false) => BinaryOp::Has,
        (false, true) => BinaryOp::HasPrefix,
        (true, false) => BinaryOp::HasSuffix,
        (true, true) => BinaryOp::Contains,
    };
    Some((op, core.to_owned()))
}

/// Whether a value of that type may show a term at all: no number has the term `error` in it. Saves turning it into text.
fn may_show(kind: ColumnType, text: &str) -> bool {
    let letters: &str = match kind {
        ColumnType::Int | ColumnType::Long | ColumnType::Decimal | ColumnType::TimeSpan => "",
        ColumnType::DateTime => "tz",
        ColumnType::Bool => "truefalse",
        ColumnType::Real => "naife",
        ColumnType::Guid => "abcdef",
        ColumnType::String | ColumnType::Dynamic => return true,
    };
    text.chars().flat_map(char::to_lowercase).all(|c| !c.is_alphabetic() || letters.contains(c))
}

/// The operator that minds case.
fn sensitive(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Has => BinaryOp::HasCs,
        BinaryOp::NotHas => BinaryOp::NotHasCs,
        BinaryOp::HasPrefix => BinaryOp::HasPrefixCs,
        BinaryOp::NotHasPrefix => BinaryOp::NotHasPrefixCs,
        BinaryOp::HasSuffix => BinaryOp::HasSuffixCs,
        BinaryOp::NotHasSuffix => BinaryOp::NotHasSuffixCs,
        BinaryOp::Contains => BinaryOp::ContainsCs,
        BinaryOp::NotContains => BinaryOp::NotContainsCs,
        BinaryOp::StartsWith => BinaryOp::StartsWithCs,
        BinaryOp::NotStartsWith => BinaryOp::NotStartsWithCs,
        BinaryOp::EndsWith => BinaryOp::EndsWithCs,
        BinaryOp::NotEndsWith => BinaryOp::NotEndsWithCs,
        other => other,
    }
}

/// Whether a term in it is looked for in every column.
fn looks_everywhere(predicate: &ast::Expr) -> bool {
    match &predicate.kind {
        ExprKind::And(parts) | ExprKind::Or(parts) => parts.iter().any(looks_everywhere),
        ExprKind::Call { arguments, .. } => arguments.iter().any(|argument| looks_everywhere(&argument.value)),
        ExprKind::Literal(_) | ExprKind::Star => true,
        ExprKind::Binary { left, .. } => matches!(left.kind, ExprKind::Star),
        ExprKind::Set { operand, .. } => matches!(operand.kind, ExprKind::Star),
        _ => false,
    }
}

/// Every name in an expression, in its order.
fn names(expr: &ast::Expr, seen: &mut impl FnMut(&str)) {
    match &expr.kind {
        ExprKind::Name(name) => seen(name),
        ExprKind::Path { base, .. } => names(base, seen),
        ExprKind::Index { base, index } => {
            names(base, seen);
            names(index, seen);
        }
        ExprKind::Call { arguments, .. } => arguments.iter().for_each(|argument| names(&argument.value, seen)),
        ExprKind::Unary { operand, .. } => names(operand, seen),
        ExprKind::Binary { left, right, .. } => {
            names(left, seen);
            names(right, seen);
        }
        ExprKind::And(parts) | ExprKind::Or(parts) => parts.iter().for_each(|part| names(part, seen)),
        ExprKind::Set { operand, list, .. } => {
            names(operand, seen);
            for item in list {
                names(item, seen);
            }
        }
        ExprKind::Between { operand, low, high, .. } => [operand, low, high].into_iter().for_each(|part| names(part, seen)),
        _ => {}
    }
}

/// The functions of an environment that are views, the innermost first.
impl crate::kql::env::Env {
    fn views(&self) -> Vec<(String, crate::kql::env::Function)> {
        self.bindings()
            .filter_map(|(name, binding)| match binding {
                Binding::Function(function) if function.lambda.view && function.lambda.parameters.is_empty() => {
                    Some((name.to_owned(), function.clone()))
                }
                _ => None,
            })
            .collect()
    }
}
