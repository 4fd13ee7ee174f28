//! Which tables a text may mean: collected before anything is resolved.

use std::collections::HashSet;

use strongroom_kql::Span;
use strongroom_kql::ast::{
    Argument, ColumnPattern, Expr, ExprKind, LetValue, Literal, NamedExpr, Operator, OperatorKind, PartitionBody, Pipeline, Query, Source,
    SourceKind, StatementKind,
};

/// Names that may be tables. Some may turn out to be `let`s or nothing.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) names: Vec<String>,
    /// Of `union T*`.
    pub(super) patterns: Vec<ColumnPattern>,
    /// Names called as functions.
    pub(super) calls: Vec<String>,
    /// Names given by `let`.
    pub(super) lets: HashSet<String>,
    /// Workspace and table of `workspace("w").T`.
    pub(super) foreign: Vec<(String, String)>,
}

impl Wanted {
    pub(super) fn extend(&mut self, more: Self) {
        self.names.extend(more.names);
        self.patterns.extend(more.patterns);
        self.calls.extend(more.calls);
        self.foreign.extend(more.foreign);
    }
}

/// Workspace and table of `workspace("w").T` and `workspace("w").table("T")`.
pub(super) fn foreign_table(expr: &Expr) -> Option<(&str, &str)> {
    let (base, table) = match &expr.kind {
        ExprKind::Path { base, name } => (base, name.text.as_str()),
        ExprKind::Call { receiver: Some(base), function, arguments } if function.text == "table" => (base, text_of(arguments.first()?)?),
        _ => return None,
    };
    match &base.kind {
        ExprKind::Call { receiver: None, function, arguments } if function.text == "workspace" && arguments.len() == 1 => {
            Some((text_of(&arguments[0])?, table))
        }
        _ => None,
    }
}

fn text_of(argument: &Argument) -> Option<&str> {
    match &argument.value.kind {
        ExprKind::Literal(Literal::String { value, .. }) => Some(value),
        _ => None,
    }
}

/// Every name in a place where rows can stand. What operators that are not supported yet refer to is left out.
pub(super) fn wanted(query: &Query) -> Wanted {
    let mut collector = Collector::default();
    collector.query(query);
    collector.wanted
}

/// A pattern for names.
pub(super) fn pattern(text: &str, span: Span) -> ColumnPattern {
    ColumnPattern { text: text.to_owned(), wildcard: true, span }
}

#[derive(Default)]
struct Collector {
    wanted: Wanted,
    seen: HashSet<String>,
}

impl Collector {
    fn name(&mut self, name: &str) {
        if self.seen.insert(name.to_owned()) {
            self.wanted.names.push(name.to_owned());
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.statements {
            match &statement.kind {
                StatementKind::Let { name, value } => {
                    self.wanted.lets.insert(name.text.clone());
                    match value {
                        LetValue::Expr(expr) => self.rows(expr),
                        LetValue::Pipeline(pipeline) => self.pipeline(pipeline),
                        LetValue::Function(lambda) => self.query(&lambda.body),
                    }
                }
                StatementKind::Pipeline(pipeline) => self.pipeline(pipeline),
                _ => {}
            }
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        self.source(&pipeline.source);
        for operator in &pipeline.operators {
            self.operator(operator);
        }
    }

    fn source(&mut self, source: &Source) {
        match &source.kind {
            SourceKind::Expr(expr) => self.rows(expr),
            SourceKind::Wildcard(text) => self.wanted.patterns.push(pattern(text, source.span)),
            SourceKind::Parens(pipeline) => self.pipeline(pipeline),
            SourceKind::Union(union) => union.legs.iter().for_each(|leg| self.pipeline(leg)),
            SourceKind::Search(search) => self.searched(&search.tables, &search.predicate, source.span),
            SourceKind::Find(find) => self.searched(&find.tables, &find.predicate, source.span),
            SourceKind::Print(values) => self.named(values),
            SourceKind::Datatable { values, .. } => values.iter().for_each(|value| self.value(value)),
            SourceKind::Range { from, to, step, .. } => [from, to, step].into_iter().for_each(|value| self.value(value)),
            _ => {}
        }
    }

    /// Tables that are searched: those listed, or all.
    fn searched(&mut self, tables: &[Pipeline], predicate: &Expr, span: Span) {
        if tables.is_empty() {
            self.wanted.patterns.push(pattern("*", span));
        }
        for table in tables {
            self.pipeline(table);
        }
        self.value(predicate);
    }

    fn operator(&mut self, operator: &Operator) {
        match &operator.kind {
            OperatorKind::Where(expr) | OperatorKind::Take(expr) | OperatorKind::Sample(expr) => self.value(expr),
            OperatorKind::Invoke(expr) => self.rows(expr),
            OperatorKind::Extend(values)
            | OperatorKind::Project(values)
            | OperatorKind::Distinct(values)
            | OperatorKind::Serialize(values) => {
                self.named(values);
            }
            OperatorKind::Summarize(summarize) => {
                self.named(&summarize.aggregates);
                self.named(&summarize.by);
            }
            OperatorKind::Sort { keys, .. } => keys.iter().for_each(|key| self.value(&key.value.value)),
            OperatorKind::Top(top) => {
                self.value(&top.count);
                top.keys.iter().for_each(|key| self.value(&key.value.value));
            }
            OperatorKind::Search(search) => self.value(&search.predicate),
            OperatorKind::Parse(parse) => self.value(&parse.input),
            OperatorKind::ParseKv(parse) => self.value(&parse.input),
            OperatorKind::MvExpand(expand) => expand.columns.iter().for_each(|cells| self.value(&cells.value.value)),
            OperatorKind::MvApply(apply) => {
                apply.columns.iter().for_each(|cells| self.value(&cells.value.value));
                apply.subquery.iter().for_each(|operator| self.operator(operator));
            }
            OperatorKind::Partition(partition) => match &partition.body {
                PartitionBody::Operators(operators) => operators.iter().for_each(|operator| self.operator(operator)),
                PartitionBody::Query(pipeline) => self.pipeline(pipeline),
            },
            OperatorKind::MakeSeries(series) => {
                series.aggregates.iter().for_each(|aggregate| self.value(&aggregate.value.value));
                [&series.from, &series.to].into_iter().flatten().for_each(|end| self.value(end));
                self.value(&series.step);
                self.value(&series.on.value);
                self.named(&series.by);
            }
            OperatorKind::Evaluate(invoke) => self.value(&invoke.call),
            OperatorKind::Scan(scan) => {
                for step in &scan.steps {
                    self.value(&step.condition);
                    self.named(&step.assignments);
                }
            }
            OperatorKind::TopNested(levels) => {
                for level in levels {
                    self.value(&level.of.value);
                    self.value(&level.by.value.value);
                }
            }
            OperatorKind::TopHitters(hitters) => self.named(std::slice::from_ref(&hitters.of)),
            OperatorKind::Reduce(reduce) => self.value(&reduce.by),
            OperatorKind::SampleDistinct { of, .. } => self.named(std::slice::from_ref(of)),
            OperatorKind::Join(join) => self.pipeline(&join.right),
            OperatorKind::Lookup(lookup) => self.pipeline(&lookup.right),
            OperatorKind::Union(union) => union.legs.iter().for_each(|leg| self.pipeline(leg)),
            _ => {}
        }
    }

    fn named(&mut self, values: &[NamedExpr]) {
        for value in values {
            self.value(&value.value);
        }
    }

    /// An expression where rows may stand.
    fn rows(&mut self, expr: &Expr) {
        if let ExprKind::Name(name) = &expr.kind {
            self.name(name);
        }
        self.value(expr);
    }

    /// An expression that may hold queries.
    fn value(&mut self, expr: &Expr) {
        if let Some((workspace, table)) = foreign_table(expr) {
            return self.wanted.foreign.push((workspace.to_owned(), table.to_owned()));
        }
        match &expr.kind {
            ExprKind::Call { receiver, function, arguments } => {
                self.wanted.calls.push(function.text.clone());
                if let Some(receiver) = receiver {
                    self.value(receiver);
                }
                for argument in arguments {
                    // `f(T)`, `toscalar(T | count)`, `materialize(T)`, `table("T")`
                    self.value(&argument.value);
                    match &argument.value.kind {
                        ExprKind::Literal(Literal::String { value, .. }) if function.text == "table" => self.name(value),
                        ExprKind::Name(name) if is_word_of_rows(&function.text) => self.name(name),
                        _ => {}
                    }
                }
            }
            ExprKind::Path { base, .. } => self.value(base),
            ExprKind::Index { base, index } => {
                self.value(base);
                self.value(index);
            }
            ExprKind::Unary { operand, .. } => self.value(operand),
            ExprKind::Binary { left, right, .. } => {
                self.value(left);
                self.value(right);
            }
            ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Array(parts) => parts.iter().for_each(|part| self.value(part)),
            ExprKind::Set { operand, list, .. } => {
                self.value(operand);
                match list.as_slice() {
                    [only] => self.rows(only),
                    list => list.iter().for_each(|item| self.value(item)),
                }
            }
            ExprKind::Between { operand, low, high, .. } => [operand, low, high].into_iter().for_each(|part| self.value(part)),
            ExprKind::Pipeline(pipeline) => self.pipeline(pipeline),
            _ => {}
        }
    }
}

/// Whether a bare name among a call's arguments may be a table: not for the functions everybody calls with columns.
fn is_word_of_rows(function: &str) -> bool {
    crate::functions::scalar(function).is_none() && crate::functions::aggregate(function).is_none()
}
