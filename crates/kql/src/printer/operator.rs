//! Operators back to text.

use super::Printer;
use crate::ast::{
    ColumnPattern, Expr, Find, Invoke, Join, JoinKind, MakeSeries, MvColumn, Name, NullOrder, Operator, OperatorKind, Order, Parse,
    ParseKind, ParsePart, Partition, PartitionBody, Pipeline, ReorderOrder, Scan, Search, Setting, SortKey, SourceKind, Summarize,
    TopNestedLevel, Union, UnionKind,
};

impl Printer {
    #[expect(clippy::too_many_lines, reason = "one arm an operator")]
    pub(super) fn operator(&mut self, operator: &OperatorKind) {
        match operator {
            OperatorKind::Where(predicate) => self.word_expr("where ", predicate),
            OperatorKind::Extend(list) => self.word_list("extend ", list, Self::named),
            OperatorKind::Project(list) => self.word_list("project ", list, Self::named),
            OperatorKind::ProjectAway(list) => self.word_list("project-away ", list, Self::column_pattern),
            OperatorKind::ProjectKeep(list) => self.word_list("project-keep ", list, Self::column_pattern),
            OperatorKind::ProjectRename(list) => self.word_list("project-rename ", list, |p, (new, old)| {
                p.name(new);
                p.say(" = ");
                p.name(old);
            }),
            OperatorKind::ProjectReorder(list) => self.word_list("project-reorder ", list, |p, reorder| {
                p.column_pattern(&reorder.columns);
                p.say(match reorder.order {
                    None => "",
                    Some(ReorderOrder::Asc) => " asc",
                    Some(ReorderOrder::Desc) => " desc",
                    Some(ReorderOrder::GrannyAsc) => " granny-asc",
                    Some(ReorderOrder::GrannyDesc) => " granny-desc",
                });
            }),
            OperatorKind::ProjectByNames(list) => self.word_list("project-by-names ", list, Self::expr),
            OperatorKind::Summarize(summarize) => self.summarize(summarize),
            OperatorKind::Sort { settings, keys } => {
                self.say("sort ");
                self.settings(settings);
                self.word_list("by ", keys, Self::sort_key);
            }
            OperatorKind::Take(count) => self.word_expr("take ", count),
            OperatorKind::Top(top) => {
                self.say("top ");
                self.settings(&top.settings);
                self.expr(&top.count);
                self.word_list(" by ", &top.keys, Self::sort_key);
            }
            OperatorKind::Count(name) => {
                self.say("count");
                if let Some(name) = name {
                    self.say(" as ");
                    self.name(name);
                }
            }
            OperatorKind::Distinct(list) => self.word_list("distinct ", list, Self::named),
            OperatorKind::Join(join) => self.join(join),
            OperatorKind::Lookup(lookup) => {
                self.say("lookup ");
                if lookup.kind != JoinKind::LeftOuter {
                    self.write(format_args!("kind={} ", join_kind(lookup.kind)));
                }
                self.settings(&lookup.settings);
                self.leg(&lookup.right);
                self.word_list(" on ", &lookup.on, Self::expr);
            }
            OperatorKind::Union(union) => self.union(union),
            OperatorKind::Parse(parse) => self.parse(parse),
            OperatorKind::ParseKv(parse) => {
                self.word_expr("parse-kv ", &parse.input);
                self.say(" as ");
                self.columns(&parse.columns);
                self.with_settings(&parse.settings);
            }
            OperatorKind::MvExpand(expand) => {
                self.say("mv-expand ");
                self.mv_columns(expand.bag_as_array, expand.item_index.as_ref(), &expand.settings, &expand.columns, expand.limit.as_ref());
            }
            OperatorKind::MvApply(apply) => {
                self.say("mv-apply ");
                self.mv_columns(apply.bag_as_array, apply.item_index.as_ref(), &apply.settings, &apply.columns, apply.limit.as_ref());
                self.say(" on ");
                self.operators(&apply.subquery);
            }
            OperatorKind::MakeSeries(series) => self.make_series(series),
            OperatorKind::Search(search) => self.search(search),
            OperatorKind::Serialize(list) => self.word_list("serialize ", list, Self::named),
            OperatorKind::Evaluate(invoke) => self.evaluate(invoke),
            OperatorKind::Invoke(call) => self.word_expr("invoke ", call),
            OperatorKind::Render(render) => {
                self.say("render ");
                self.name(&render.kind);
                self.with_settings(&render.settings);
            }
            OperatorKind::As { settings, name } => {
                self.say("as ");
                self.settings(settings);
                self.name(name);
            }
            OperatorKind::Sample(count) => self.word_expr("sample ", count),
            OperatorKind::SampleDistinct { count, of } => {
                self.word_expr("sample-distinct ", count);
                self.say(" of ");
                self.named(of);
            }
            OperatorKind::GetSchema => self.say("getschema"),
            OperatorKind::Consume(settings) => {
                self.say("consume ");
                self.settings(settings);
            }
            OperatorKind::AssertSchema(columns) => {
                self.say("assert-schema ");
                self.columns(columns);
            }
            OperatorKind::TopNested(levels) => {
                self.list(levels, Self::top_nested);
            }
            OperatorKind::TopHitters(top) => {
                self.word_expr("top-hitters ", &top.count);
                self.say(" of ");
                self.named(&top.of);
                if let Some(by) = &top.by {
                    self.say(" by ");
                    self.named(by);
                }
            }
            OperatorKind::Partition(partition) => self.partition(partition),
            OperatorKind::Scan(scan) => self.scan(scan),
            OperatorKind::Fork(branches) => {
                self.say("fork");
                for branch in branches {
                    self.say(" ");
                    if let Some(name) = &branch.name {
                        self.name(name);
                        self.say(" = ");
                    }
                    self.operators(&branch.operators);
                }
            }
            OperatorKind::Facet(facet) => {
                self.word_list("facet by ", &facet.by, Self::named);
                if let Some(with) = &facet.with {
                    self.say(" with ");
                    self.operators(with);
                }
            }
            OperatorKind::Reduce(reduce) => {
                self.say("reduce ");
                self.settings(&reduce.settings);
                self.word_expr("by ", &reduce.by);
                self.with_settings(&reduce.with);
            }
            OperatorKind::Unread(unread) => self.write(format_args!("{} {}", unread.keyword.text, unread.text)),
            OperatorKind::Broken => {}
        }
    }

    fn word_expr(&mut self, word: &str, expr: &Expr) {
        self.say(word);
        self.expr(expr);
    }

    fn word_list<T>(&mut self, word: &str, items: &[T], item: impl FnMut(&mut Self, &T)) {
        self.say(word);
        self.list(items, item);
    }

    fn operators(&mut self, operators: &[Operator]) {
        self.parens(|p| {
            for (index, operator) in operators.iter().enumerate() {
                p.line();
                p.comments_before(operator.span.start);
                if index > 0 {
                    p.say("| ");
                }
                p.operator(&operator.kind);
            }
        });
    }

    fn column_pattern(&mut self, pattern: &ColumnPattern) {
        if pattern.wildcard {
            self.say(&pattern.text);
        } else {
            self.name_text(&pattern.text);
        }
    }

    fn summarize(&mut self, summarize: &Summarize) {
        self.say("summarize ");
        self.settings(&summarize.settings);
        self.list(&summarize.aggregates, Self::named);
        if !summarize.by.is_empty() {
            self.say(if summarize.aggregates.is_empty() { "by " } else { " by " });
            self.list(&summarize.by, Self::named);
        }
    }

    fn sort_key(&mut self, key: &SortKey) {
        self.named(&key.value);
        self.say(match key.order {
            None => "",
            Some(Order::Asc) => " asc",
            Some(Order::Desc) => " desc",
        });
        self.say(match key.nulls {
            None => "",
            Some(NullOrder::First) => " nulls first",
            Some(NullOrder::Last) => " nulls last",
        });
    }

    fn join(&mut self, join: &Join) {
        self.say("join ");
        if join.kind != JoinKind::InnerUnique {
            self.write(format_args!("kind={} ", join_kind(join.kind)));
        }
        self.settings(&join.settings);
        self.leg(&join.right);
        if !join.on.is_empty() {
            self.word_list(" on ", &join.on, Self::expr);
        }
    }

    /// A table by its name, anything else in parentheses.
    fn leg(&mut self, leg: &Pipeline) {
        match (&leg.source.kind, leg.operators.as_slice()) {
            (SourceKind::Expr(expr), []) => self.expr_at(expr, 9),
            (SourceKind::Wildcard(text), []) => self.say(text),
            _ => self.query_in_parens(leg),
        }
    }

    pub(super) fn union(&mut self, union: &Union) {
        self.say("union ");
        if union.kind == UnionKind::Inner {
            self.say("kind=inner ");
        }
        if let Some(name) = &union.with_source {
            self.say("withsource=");
            self.name(name);
            self.say(" ");
        }
        if union.is_fuzzy {
            self.say("isfuzzy=true ");
        }
        self.settings(&union.settings);
        self.list(&union.legs, Self::leg);
    }

    fn parse(&mut self, parse: &Parse) {
        self.say(if parse.filters { "parse-where " } else { "parse " });
        self.say(match parse.kind {
            ParseKind::Simple => "",
            ParseKind::Regex => "kind=regex ",
            ParseKind::Relaxed => "kind=relaxed ",
        });
        if let Some(flags) = &parse.flags {
            self.write(format_args!("flags={flags} "));
        }
        self.expr(&parse.input);
        self.say(" with");
        for part in &parse.parts {
            self.say(" ");
            match part {
                ParsePart::Star(_) => self.say("*"),
                ParsePart::Text(literal, _) => self.literal(literal),
                ParsePart::Column { name, kind } => {
                    self.name(name);
                    if let Some(kind) = kind {
                        self.write(format_args!(": {}", kind.as_str()));
                    }
                }
            }
        }
    }

    fn mv_columns(&mut self, bag_as_array: bool, index: Option<&Name>, settings: &[Setting], columns: &[MvColumn], limit: Option<&Expr>) {
        if bag_as_array {
            self.say("bagexpansion=array ");
        }
        if let Some(index) = index {
            self.say("with_itemindex=");
            self.name(index);
            self.say(" ");
        }
        self.settings(settings);
        self.list(columns, |p, column| {
            p.named(&column.value);
            if let Some(to) = column.to {
                p.write(format_args!(" to typeof({})", to.as_str()));
            }
        });
        if let Some(limit) = limit {
            self.word_expr(" limit ", limit);
        }
    }

    fn make_series(&mut self, series: &MakeSeries) {
        self.say("make-series ");
        self.settings(&series.settings);
        self.list(&series.aggregates, |p, column| {
            p.named(&column.value);
            if let Some(default) = &column.default {
                p.word_expr(" default = ", default);
            }
        });
        self.say(" on ");
        self.expr_at(&series.on.value, 9);
        if series.to_included {
            self.say(" in range(");
            let parts: Vec<&Expr> = series.from.iter().chain(&series.to).chain([&series.step]).collect();
            self.list(&parts, |p, part| p.expr(part));
            self.say(")");
        } else {
            if let Some(from) = &series.from {
                self.word_expr(" from ", from);
            }
            if let Some(to) = &series.to {
                self.word_expr(" to ", to);
            }
            self.word_expr(" step ", &series.step);
        }
        if !series.by.is_empty() {
            self.word_list(" by ", &series.by, Self::named);
        }
    }

    pub(super) fn search(&mut self, search: &Search) {
        self.say("search ");
        if search.case_sensitive {
            self.say("kind=case_sensitive ");
        }
        self.settings(&search.settings);
        self.tables(&search.tables);
        self.expr(&search.predicate);
    }

    fn tables(&mut self, tables: &[Pipeline]) {
        if !tables.is_empty() {
            self.word_list("in (", tables, Self::leg);
            self.say(") ");
        }
    }

    pub(super) fn find(&mut self, find: &Find) {
        self.say("find ");
        if let Some(name) = &find.with_source {
            self.say("withsource=");
            self.name(name);
            self.say(" ");
        }
        self.settings(&find.settings);
        self.tables(&find.tables);
        self.word_expr("where ", &find.predicate);
        if !find.project.is_empty() {
            self.word_list(" project ", &find.project, |p, column| {
                p.expr(&column.value);
                if let Some(kind) = column.kind {
                    p.say(":");
                    p.say(kind.as_str());
                }
            });
        }
    }

    pub(super) fn evaluate(&mut self, invoke: &Invoke) {
        self.say("evaluate ");
        self.settings(&invoke.settings);
        self.expr(&invoke.call);
        if let Some((open, columns)) = &invoke.schema {
            self.say(" : ");
            if *open {
                self.say("(*");
                for column in columns {
                    self.say(", ");
                    self.name(&column.name);
                    self.write(format_args!(": {}", column.kind.as_str()));
                }
                self.say(")");
            } else {
                self.columns(columns);
            }
        }
    }

    fn top_nested(&mut self, level: &TopNestedLevel) {
        self.say("top-nested ");
        if let Some(count) = &level.count {
            self.expr(count);
            self.say(" ");
        }
        self.say("of ");
        self.named(&level.of);
        if let Some(others) = &level.others {
            self.word_expr(" with others = ", others);
        }
        self.say(" by ");
        self.sort_key(&level.by);
    }

    fn partition(&mut self, partition: &Partition) {
        self.say("partition ");
        self.settings(&partition.settings);
        self.say("by ");
        self.expr_at(&partition.by, 9);
        self.say(" ");
        match &partition.body {
            PartitionBody::Operators(operators) => self.operators(operators),
            PartitionBody::Query(pipeline) => {
                self.say("{ ");
                self.pipeline(pipeline);
                self.say(" }");
            }
        }
    }

    fn scan(&mut self, scan: &Scan) {
        self.say("scan ");
        self.settings(&scan.settings);
        if !scan.order.is_empty() {
            self.word_list("order by ", &scan.order, Self::sort_key);
            self.say(" ");
        }
        if !scan.partition.is_empty() {
            self.word_list("partition by ", &scan.partition, Self::expr);
            self.say(" ");
        }
        if !scan.declare.is_empty() {
            self.say("declare ");
            self.parameters(&scan.declare);
            self.say(" ");
        }
        self.say("with (");
        self.indent += 1;
        for step in &scan.steps {
            self.line();
            self.say("step ");
            self.name(&step.name);
            self.say(if step.optional { " optional " } else { " " });
            self.settings(&step.settings);
            self.word_expr(": ", &step.condition);
            if !step.assignments.is_empty() {
                self.word_list(" => ", &step.assignments, Self::named);
            }
            self.say(";");
        }
        self.indent -= 1;
        self.say(")");
    }
}

const fn join_kind(kind: JoinKind) -> &'static str {
    match kind {
        JoinKind::InnerUnique => "innerunique",
        JoinKind::Inner => "inner",
        JoinKind::LeftOuter => "leftouter",
        JoinKind::RightOuter => "rightouter",
        JoinKind::FullOuter => "fullouter",
        JoinKind::LeftSemi => "leftsemi",
        JoinKind::RightSemi => "rightsemi",
        JoinKind::LeftAnti => "leftanti",
        JoinKind::RightAnti => "rightanti",
    }
}
