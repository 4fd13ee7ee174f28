//! Where rows come from: tables, `let`s, calls, and rows written in the text.

pub(in crate::kql) mod values;

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use strongroom_kql::Span;
use strongroom_kql::ast::{Argument, Expr, ExprKind, Name, Source, SourceKind};
use strongroom_model::ColumnType;

use super::statement::{Either, foreign, is_foreign};
use crate::kql::Binder;
use crate::kql::bound::{BoundColumn, Rel, RelNode};
use crate::kql::env::{Binding, Function};
use crate::kql::expr::Scope;
use crate::kql::problem::{Outcome, Problem};
use crate::kql::{known, tables};

impl Binder<'_> {
    pub(super) fn source(&mut self, source: &Source) -> Outcome<Rel> {
        let span = source.span;
        match &source.kind {
            SourceKind::Expr(expr) => self.rows(expr),
            SourceKind::Parens(pipeline) => self.pipeline(pipeline),
            SourceKind::Wildcard(text) => self.tables_like(text, span),
            SourceKind::Datatable { columns, values } => self.datatable(columns, values, span),
            SourceKind::Print(values) => self.print(values, span),
            SourceKind::Range { name, from, to, step } => self.range(name, from, to, step, span),
            SourceKind::Union(union) => self.union(None, union, span),
            SourceKind::ExternalData { .. } => Err(unsupported(span, "externaldata")),
            SourceKind::Search(search) => self.search(None, search, span),
            SourceKind::Find(find) => self.find(find, span),
            SourceKind::Evaluate(_) => Err(unsupported(span, "evaluate")),
            SourceKind::Unread(unread) => Err(unsupported(unread.keyword.span, &unread.keyword.text)),
            _ => Err(Problem::unsupported(span, "this source of rows", None)),
        }
    }

    /// An expression in a place for rows.
    pub(in crate::kql) fn rows(&mut self, expr: &Expr) -> Outcome<Rel> {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Name(name) => self.table(name, span),
            ExprKind::Pipeline(pipeline) => self.pipeline(pipeline),
            ExprKind::Call { receiver: None, function, arguments } => self.tabular_call(function, arguments, expr),
            _ if is_foreign(expr) => self.foreign_rows(expr),
            ExprKind::Missing => Err(Problem::new(span, "SyntaxError", "rows are missing here")),
            _ => Err(Problem::new(span, "NotTabular", "rows are needed here: a table, a query or `print`")),
        }
    }

    fn tabular_call(&mut self, function: &Name, arguments: &[Argument], expr: &Expr) -> Outcome<Rel> {
        if let Some(lambda) = self.function(&function.text) {
            return match self.inline(&lambda, function, arguments, Scope::EMPTY, None)? {
                Either::Rows(rel) => Ok(rel),
                Either::Value(_) => Err(Problem::new(function.span, "NotTabular", format!("`{}` gives a value, not rows", function.text))
                    .hint("`print` shows a value")),
            };
        }
        match (function.text.as_str(), arguments) {
            ("materialize", [argument]) => Ok(Rel { name: None, ..self.rows(&argument.value)?.once(expr.span) }),
            ("view", [argument]) => self.rows(&argument.value),
            ("table", [argument, ..]) => {
                let name = self.constant(&argument.value)?;
                match name.literal_text() {
                    Some(text) => self.table(text, name.span),
                    None => Err(Problem::mismatch(name.span, "the name of a table must be a constant string")),
                }
            }
            _ if is_foreign(expr) => Err(foreign(expr.span)),
            _ => Err(self.unknown_function(function)),
        }
    }

    /// A `let` or a table by name.
    fn table(&mut self, name: &str, span: Span) -> Outcome<Rel> {
        match self.env.get(name).cloned() {
            Some(Binding::Rows(rel)) => return Ok(Rel { span, ..(*rel).clone() }),
            Some(Binding::Scalar(_)) => {
                return Err(
                    Problem::new(span, "NotTabular", format!("`{name}` is a value, not a table")).hint(format!("`print {name}` shows it"))
                );
            }
            Some(Binding::Function(function)) => {
                return self.call_rows(&function, &Name { text: name.to_owned(), span });
            }
            None => {}
        }
        if let Some(rel) = self.workspace_table(name, span) {
            return Ok(rel);
        }
        if let Some(function) = self.function(name) {
            return self.call_rows(&function, &Name { text: name.to_owned(), span });
        }
        let problem = Problem::new(span, "UnknownTable", format!("there is no table `{name}` in this workspace"));
        let names = self.tabular_names();
        Err(match strongroom_kql::closest(name, names.iter().map(String::as_str)) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        })
    }

    /// The table of that name; where several workspaces are asked, the rows of all their tables of that name.
    fn workspace_table(&self, name: &str, span: Span) -> Option<Rel> {
        let mut legs: Vec<(String, Rel)> = Vec::new();
        if let Some(provider) = self.context.tables.get(name) {
            legs.push((name.to_owned(), scan(name, provider, span)));
        }
        for workspace in &self.context.beside {
            if let Some(provider) = self.context.foreign.get(workspace).and_then(|there| there.tables.get(name)) {
                legs.push((name.to_owned(), scan_of(workspace, name, provider, span)));
            }
        }
        if legs.len() < 2 {
            return legs.pop().map(|(_, rel)| rel);
        }
        let rel = Self::united(legs, strongroom_kql::ast::UnionKind::Outer, None, span);
        Some(Rel { name: Some(name.to_owned()), ..rel })
    }

    /// A call without arguments that gives rows.
    pub(super) fn call_rows(&mut self, function: &Function, name: &Name) -> Outcome<Rel> {
        match self.inline(function, name, &[], Scope::EMPTY, None)? {
            Either::Rows(rel) => Ok(rel),
            Either::Value(_) => Err(Problem::new(name.span, "NotTabular", format!("`{}` gives a value, not rows", name.text))),
        }
    }

    /// `workspace("w").T`
    fn foreign_rows(&mut self, expr: &Expr) -> Outcome<Rel> {
        let span = expr.span;
        let Some((workspace, table)) = tables::foreign_table(expr) else { return Err(foreign(span)) };
        let Some(there) = self.context.foreign.get(workspace) else {
            // Absent and not to be asked: the same words for both.
            return Err(Problem::new(span, "UnknownWorkspace", format!("there is no workspace `{workspace}` that you may ask")));
        };
        if let Some(provider) = there.tables.get(table) {
            return Ok(scan_of(workspace, table, provider, span));
        }
        let problem = Problem::new(span, "UnknownTable", format!("there is no table `{table}` in workspace `{workspace}`"));
        Err(match strongroom_kql::closest(table, there.names.iter().map(String::as_str)) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        })
    }

    /// `T*` outside a union: all of those tables.
    fn tables_like(&mut self, text: &str, span: Span) -> Outcome<Rel> {
        let legs = self.matching_tables(text, span)?;
        Ok(Self::united(legs, strongroom_kql::ast::UnionKind::Outer, None, span))
    }

    /// The tables and rows a pattern stands for, with their names.
    pub(super) fn matching_tables(&mut self, text: &str, span: Span) -> Outcome<Vec<(String, Rel)>> {
        let pattern = tables::pattern(text, span);
        let there = self.context.beside.iter().filter_map(|workspace| self.context.foreign.get(workspace));
        let known = self.context.tables.keys().chain(there.flat_map(|there| there.tables.keys()));
        let mut names: Vec<&String> = known.filter(|name| pattern.matches(name)).collect();
        names.sort_unstable();
        names.dedup();
        let mut legs: Vec<(String, Rel)> =
            names.into_iter().filter_map(|name| Some((name.clone(), self.workspace_table(name, span)?))).collect();
        legs.extend(self.views(|name| pattern.matches(name), span)?);
        if legs.is_empty() {
            return Err(Problem::new(span, "UnknownTable", format!("no table's name matches `{text}`")));
        }
        Ok(legs)
    }
}

/// A table of another workspace.
fn scan_of(workspace: &str, table: &str, provider: &Arc<dyn TableProvider>, span: Span) -> Rel {
    // DataFusion compares plans by their tables' names: a table of this workspace may have the same.
    let name = format!("workspace({workspace:?}).{table}");
    Rel { node: RelNode::Table { name, provider: Arc::clone(provider) }, ..scan(table, provider, span) }
}

/// A table of the workspace. Columns of types KQL has no name for are not shown.
fn scan(name: &str, provider: &Arc<dyn TableProvider>, span: Span) -> Rel {
    let schema = provider.schema();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if let Some(kind) = ColumnType::of_field(field) {
            let (sparse, finite) = (kind == ColumnType::String, kind == ColumnType::Real);
            columns.push(BoundColumn { name: field.name().clone(), kind, sparse, finite });
        }
    }
    let node = RelNode::Table { name: name.to_owned(), provider: Arc::clone(provider) };
    Rel { name: Some(name.to_owned()), ..Rel::source(node, columns, span) }
}

fn unsupported(span: Span, keyword: &str) -> Problem {
    let length = u32::try_from(keyword.len()).unwrap_or(0);
    let place = Span::new(span.start, (span.start + length).min(span.end.max(span.start)));
    Problem::unsupported(place, format!("`{keyword}`"), known::tabular_alternative(keyword))
}
