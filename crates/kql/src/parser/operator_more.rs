//! The rarer operators.

use super::Parser;
use crate::ast::{
    ColumnDecl, Expr, ExprKind, Facet, Find, FindColumn, ForkBranch, Invoke, MakeSeries, MvApply, MvColumn, MvExpand, Name, NamedExpr,
    Operator, OperatorKind, Parse, ParseKind, ParseKv, ParsePart, Partition, PartitionBody, Pipeline, Reduce, Render, Scan, ScanStep,
    Search, SeriesColumn, Setting, SourceKind, TopHitters, TopNestedLevel,
};
use crate::diagnostic::Code;
use crate::lexer::TokenKind;

impl Parser<'_> {
    /// The operator of that keyword, which is behind us; none: no such keyword.
    pub(super) fn rarer_operator(&mut self, keyword: &str) -> Option<OperatorKind> {
        Some(match keyword {
            "parse" | "parse-where" => self.parse_operator(keyword == "parse-where"),
            "parse-kv" => self.parse_kv(),
            "mv-expand" | "mvexpand" => OperatorKind::MvExpand(self.mv_expand()),
            "mv-apply" | "mvapply" => OperatorKind::MvApply(self.mv_apply()),
            "make-series" => self.make_series(),
            "search" => OperatorKind::Search(self.search()),
            "evaluate" => OperatorKind::Evaluate(self.evaluate()),
            "render" => OperatorKind::Render(self.render()),
            "sample-distinct" => {
                let count = self.expr();
                self.expect_word("of");
                OperatorKind::SampleDistinct { count, of: self.named_expr() }
            }
            "consume" => OperatorKind::Consume(self.settings(&["decodeblocks"])),
            "assert-schema" => OperatorKind::AssertSchema(self.column_declarations()),
            "top-nested" => OperatorKind::TopNested(self.top_nested()),
            "top-hitters" => self.top_hitters(),
            "partition" | "__partitionby" => self.partition(),
            "scan" => self.scan(),
            "fork" => self.fork(),
            "facet" => self.facet(),
            "reduce" => self.reduce(),
            _ => return None,
        })
    }

    /// Just the source of a pipeline.
    pub(super) fn only_source(&mut self) -> SourceKind {
        let start = self.at;
        let pipeline = self.pipeline();
        if let Some(first) = pipeline.operators.first() {
            let span = first.span;
            self.complain_at(span, Code::Unexpected, "put the query in parentheses", None);
        }
        debug_assert!(self.at > start, "the caller has seen a keyword");
        pipeline.source.kind
    }

    /// `( | a | b )` or `( a | b )`: operators without a source.
    fn operators_in_parens(&mut self) -> Vec<Operator> {
        let open = self.at;
        if !self.expect(TokenKind::OpenParen, "`(` and operators") {
            return Vec::new();
        }
        let operators = self.inside(|p| p.deeper(4, Self::bare_operators, Vec::new));
        self.high = self.high.max(self.tall);
        self.close(open, TokenKind::CloseParen);
        operators
    }

    fn bare_operators(&mut self) -> Vec<Operator> {
        self.eat(TokenKind::Pipe);
        let mut operators = vec![self.operator()];
        while self.eat(TokenKind::Pipe) {
            operators.push(self.operator());
        }
        operators
    }

    // ---- parse ----

    fn parse_operator(&mut self, filters: bool) -> OperatorKind {
        let mut settings = self.settings(&["kind", "flags"]);
        let kinds = [("simple", ParseKind::Simple), ("regex", ParseKind::Regex), ("relaxed", ParseKind::Relaxed)];
        let mut kind = self.take_word(&mut settings, "kind", &kinds).unwrap_or_default();
        // Without `kind` the word alone is read, too: `parse regex x with`.
        if matches!(self.word(), "regex" | "relaxed" | "simple")
            && !matches!(self.word_ahead(1), "with")
            && self.ahead(1).kind == TokenKind::Word
        {
            kind = if self.is_word("regex") { ParseKind::Regex } else { kind };
            self.advance();
        }
        let flags = self.take_name(&mut settings, "flags").map(|name| name.text);
        let input = self.expr();
        self.expect_word("with");
        let parts = self.parse_parts();
        OperatorKind::Parse(Box::new(Parse { filters, kind, flags, input, parts }))
    }

    fn parse_parts(&mut self) -> Vec<ParsePart> {
        let mut parts = Vec::new();
        loop {
            let start = self.at;
            match self.kind() {
                TokenKind::Star => {
                    self.advance();
                    parts.push(ParsePart::Star(self.since(start)));
                }
                TokenKind::String | TokenKind::BrokenString => {
                    let text = self.string_literal();
                    parts.push(ParsePart::Text(text, self.since(start)));
                }
                _ => {
                    let Some(name) = self.name() else { break };
                    let kind = if self.eat(TokenKind::Colon) { self.scalar_type() } else { None };
                    parts.push(ParsePart::Column { name, kind });
                }
            }
        }
        if parts.is_empty() {
            self.expected("a pattern");
        }
        parts
    }

    fn parse_kv(&mut self) -> OperatorKind {
        let input = self.expr();
        self.expect_word("as");
        let columns = self.column_declarations();
        let settings = if self.eat_word("with") { self.settings_in_parens() } else { Vec::new() };
        OperatorKind::ParseKv(Box::new(ParseKv { input, columns, settings }))
    }

    // ---- dynamic ----

    fn mv_settings(&mut self) -> (bool, Option<Name>, Vec<Setting>) {
        let mut settings = self.settings(&["bagexpansion", "kind", "with_itemindex"]);
        let words = [("array", true), ("bag", false)];
        let as_array = self.take_word(&mut settings, "bagexpansion", &words).or_else(|| self.take_word(&mut settings, "kind", &words));
        let item_index = self.take_name(&mut settings, "with_itemindex");
        (as_array.unwrap_or(false), item_index, settings)
    }

    fn mv_columns(&mut self) -> Vec<MvColumn> {
        let mut columns = Vec::new();
        loop {
            let value = self.named_expr();
            let to = if self.eat_word("to") { self.type_in_parens() } else { None };
            columns.push(MvColumn { value, to });
            if !self.eat(TokenKind::Comma) {
                return columns;
            }
        }
    }

    fn mv_limit(&mut self) -> Option<Expr> {
        self.eat_word("limit").then(|| self.expr())
    }

    fn mv_expand(&mut self) -> MvExpand {
        let (bag_as_array, item_index, settings) = self.mv_settings();
        let columns = self.mv_columns();
        let limit = self.mv_limit();
        MvExpand { bag_as_array, item_index, settings, columns, limit }
    }

    fn mv_apply(&mut self) -> MvApply {
        let (bag_as_array, item_index, settings) = self.mv_settings();
        let columns = self.mv_columns();
        let limit = self.mv_limit();
        self.expect_word("on");
        let subquery = self.operators_in_parens();
        MvApply { bag_as_array, item_index, settings, columns, limit, subquery }
    }

    fn make_series(&mut self) -> OperatorKind {
        let settings = self.settings(&["kind"]);
        let mut aggregates = Vec::new();
        loop {
            let value = self.named_expr();
            let default = if self.is_word("default") && self.ahead(1).kind == TokenKind::Assign {
                self.advance();
                self.advance();
                Some(self.expr())
            } else {
                None
            };
            aggregates.push(SeriesColumn { value, default });
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        self.expect_word("on");
        let start = self.at;
        let on = self.axis();
        let on = NamedExpr { names: Vec::new(), value: on, span: self.since(start) };
        let mut series = MakeSeries {
            settings,
            aggregates,
            on,
            from: None,
            to: None,
            to_included: false,
            step: Expr { kind: ExprKind::Missing, span: self.since(start) },
            by: Vec::new(),
        };
        if self.is_word("in") && self.word_ahead(1) == "range" {
            self.series_range(&mut series);
        } else {
            series.from = self.eat_word("from").then(|| self.expr());
            series.to = self.eat_word("to").then(|| self.expr());
            self.expect_word("step");
            series.step = self.expr();
        }
        series.by = self.by();
        OperatorKind::MakeSeries(Box::new(series))
    }

    /// A value that ends before `in`, which is an operator elsewhere.
    fn axis(&mut self) -> Expr {
        let value = self.postfix();
        self.high = self.high.max(self.tall);
        value
    }

    /// `in range(from, to, step)`
    fn series_range(&mut self, series: &mut MakeSeries) {
        self.advance();
        self.advance();
        let open = self.at;
        if !self.expect(TokenKind::OpenParen, "`(`") {
            return;
        }
        let mut parts = self.comma_list(TokenKind::CloseParen, Self::expr).into_iter();
        self.close(open, TokenKind::CloseParen);
        series.from = parts.next();
        series.to = parts.next();
        series.to_included = true;
        match parts.next() {
            Some(step) => series.step = step,
            None => self.expected("range(from, to, step)"),
        }
    }

    // ---- search and find ----

    fn tables_in_parens(&mut self) -> Vec<Pipeline> {
        let open = self.at;
        if !self.expect(TokenKind::OpenParen, "`(` and tables") {
            return Vec::new();
        }
        let tables = self.comma_list(TokenKind::CloseParen, Self::leg);
        self.close(open, TokenKind::CloseParen);
        tables
    }

    pub(super) fn search(&mut self) -> Search {
        let mut settings = self.settings(&["kind"]);
        let kinds = [("case_sensitive", true), ("case_insensitive", false), ("default", false)];
        let case_sensitive = self.take_word(&mut settings, "kind", &kinds).unwrap_or(false);
        let tables = if self.is_word("in") && self.ahead(1).kind == TokenKind::OpenParen {
            self.advance();
            self.tables_in_parens()
        } else {
            Vec::new()
        };
        Search { case_sensitive, settings, tables, predicate: Box::new(self.expr()) }
    }

    pub(super) fn find(&mut self) -> Find {
        let mut settings = self.settings(&["withsource", "datascope"]);
        let with_source = self.take_name(&mut settings, "withsource");
        let tables = if self.eat_word("in") { self.tables_in_parens() } else { Vec::new() };
        self.eat_word("where");
        let predicate = Box::new(self.expr());
        let mut project = Vec::new();
        if self.is_word("project") {
            let smart = self.ahead(1).kind == TokenKind::Minus;
            self.advance();
            if smart {
                self.advance();
                self.advance();
            } else {
                project = self.find_columns();
            }
        }
        Find { with_source, settings, tables, predicate, project }
    }

    /// `a, b:long, pack(*)`
    fn find_columns(&mut self) -> Vec<FindColumn> {
        let mut list = Vec::new();
        loop {
            // Not a whole expression: `a : long` would be one.
            let value = self.axis();
            let kind = if self.eat(TokenKind::Colon) { self.scalar_type() } else { None };
            list.push(FindColumn { value, kind });
            if !self.eat(TokenKind::Comma) {
                return list;
            }
        }
    }

    // ---- plugins and display ----

    pub(super) fn evaluate(&mut self) -> Invoke {
        let settings = self.settings(&[]);
        let call = Box::new(self.expr());
        if !matches!(call.kind, ExprKind::Call { .. } | ExprKind::Missing) {
            self.complain_at(call.span, Code::Unexpected, "`evaluate` takes a call of a plugin", Some("e.g. `bag_unpack(d)`".to_owned()));
        }
        let schema = self.eat(TokenKind::Colon).then(|| self.plugin_schema());
        Invoke { settings, call, schema }
    }

    /// `(a:long, b:string)` or `(*, a:long)`
    fn plugin_schema(&mut self) -> (bool, Vec<ColumnDecl>) {
        if self.is(TokenKind::OpenParen) && self.ahead(1).kind == TokenKind::Star {
            let open = self.at;
            self.advance();
            self.advance();
            self.eat(TokenKind::Comma);
            let columns = self.comma_list(TokenKind::CloseParen, |p| {
                let name = p.expect_name("a column's name");
                p.expect(TokenKind::Colon, "`:` and a type");
                p.scalar_type().map(|kind| ColumnDecl { name, kind })
            });
            self.close(open, TokenKind::CloseParen);
            return (true, columns.into_iter().flatten().collect());
        }
        (false, self.column_declarations())
    }

    fn render(&mut self) -> Render {
        let kind = self.expect_name("a kind of chart");
        self.eat_word("with");
        let settings = self.settings_in_parens();
        Render { kind, settings }
    }

    // ---- tops ----

    fn top_nested(&mut self) -> Vec<TopNestedLevel> {
        let mut levels = Vec::new();
        loop {
            let count = if self.is_word("of") { None } else { Some(self.expr()) };
            self.expect_word("of");
            let of = self.named_expr();
            let others = if self.eat_word("with") {
                self.expect_word("others");
                self.expect(TokenKind::Assign, "`=`");
                Some(self.expr())
            } else {
                None
            };
            self.expect_word("by");
            levels.push(TopNestedLevel { count, of, others, by: self.sort_key() });
            if !self.eat(TokenKind::Comma) {
                return levels;
            }
            // Each level repeats the keyword.
            if self.is_word("top") && self.word_ahead(2) == "nested" {
                self.at += 3;
            }
        }
    }

    fn top_hitters(&mut self) -> OperatorKind {
        let count = self.expr();
        self.expect_word("of");
        let of = self.named_expr();
        let by = self.eat_word("by").then(|| self.named_expr());
        OperatorKind::TopHitters(Box::new(TopHitters { count, of, by }))
    }

    // ---- sub-queries ----

    fn partition(&mut self) -> OperatorKind {
        let settings = self.settings(&["id"]);
        self.expect_word("by");
        let by = self.partition_key();
        let open = self.at;
        let body = if self.eat(TokenKind::OpenBrace) {
            let pipeline = self.inside(|p| p.deeper(4, |p| Some(p.pipeline()), || None));
            self.high = self.high.max(self.tall);
            self.close(open, TokenKind::CloseBrace);
            pipeline.map_or_else(|| PartitionBody::Operators(Vec::new()), |pipeline| PartitionBody::Query(Box::new(pipeline)))
        } else {
            PartitionBody::Operators(self.operators_in_parens())
        };
        OperatorKind::Partition(Box::new(Partition { settings, by, body }))
    }

    /// The column: in `partition by k (top 1 by v)` no function `k` is called, there is only one pair of brackets.
    fn partition_key(&mut self) -> Expr {
        let length = self.name_ahead(0).unwrap_or(0);
        let open = self.ahead(length);
        let body = open.close.map(|close| self.tokens[(close as usize + 1).min(self.tokens.len() - 1)].kind);
        let call = matches!(body, Some(TokenKind::OpenParen | TokenKind::OpenBrace));
        if length > 0 && open.kind == TokenKind::OpenParen && !call {
            let name = self.expect_name("a column's name");
            return Expr { kind: ExprKind::Name(name.text), span: name.span };
        }
        let value = self.postfix();
        self.high = self.high.max(self.tall);
        value
    }

    fn fork(&mut self) -> OperatorKind {
        let mut branches = Vec::new();
        loop {
            let name = match self.name_ahead(0) {
                Some(length) if self.ahead(length).kind == TokenKind::Assign => {
                    let name = self.name();
                    self.advance();
                    name
                }
                _ => None,
            };
            if !self.is(TokenKind::OpenParen) {
                break;
            }
            branches.push(ForkBranch { name, operators: self.operators_in_parens() });
            self.eat(TokenKind::Comma);
        }
        if branches.is_empty() {
            self.expected("`(` and operators");
        }
        OperatorKind::Fork(branches)
    }

    fn facet(&mut self) -> OperatorKind {
        self.expect_word("by");
        let by = self.named_exprs();
        let with = self.eat_word("with").then(|| self.operators_in_parens());
        OperatorKind::Facet(Facet { by, with })
    }

    fn reduce(&mut self) -> OperatorKind {
        let settings = self.settings(&["kind"]);
        self.expect_word("by");
        let by = self.expr();
        let with = if self.eat_word("with") { self.settings_in_parens() } else { Vec::new() };
        OperatorKind::Reduce(Box::new(Reduce { settings, by, with }))
    }

    fn scan(&mut self) -> OperatorKind {
        let settings = self.settings(&["with_match_id", "kind"]);
        let mut scan = Scan { settings, order: Vec::new(), partition: Vec::new(), declare: Vec::new(), steps: Vec::new() };
        loop {
            match self.word() {
                "order" => {
                    self.advance();
                    self.expect_word("by");
                    scan.order = self.sort_keys();
                }
                "partition" => {
                    self.advance();
                    self.expect_word("by");
                    scan.partition = self.exprs();
                }
                "declare" => {
                    self.advance();
                    scan.declare = self.parameters();
                }
                _ => break,
            }
        }
        self.expect_word("with");
        let open = self.at;
        if self.expect(TokenKind::OpenParen, "`(` and steps") {
            while self.is_word("step") {
                let step = self.scan_step();
                scan.steps.push(step);
                if !self.eat(TokenKind::Semicolon) {
                    break;
                }
            }
            self.close(open, TokenKind::CloseParen);
        }
        OperatorKind::Scan(Box::new(scan))
    }

    /// `step name optional output=last: condition => a = b, c = d`
    fn scan_step(&mut self) -> ScanStep {
        self.advance();
        let name = self.expect_name("the step's name");
        let optional = self.eat_word("optional");
        let settings = self.settings(&["output"]);
        self.expect(TokenKind::Colon, "`:` and a condition");
        let condition = self.expr();
        let assignments = if self.is(TokenKind::Assign) && self.ahead(1).kind == TokenKind::Greater {
            self.advance();
            self.advance();
            self.named_exprs()
        } else {
            Vec::new()
        };
        ScanStep { name, optional, settings, condition, assignments }
    }
}
