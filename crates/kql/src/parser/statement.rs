//! Statements, functions and sources.

use super::Parser;
use crate::ast::{
    ColumnDecl, Expr, ExprKind, Lambda, LetValue, Name, Operator, Parameter, ParameterKind, Pipeline, Query, ScalarType, Source,
    SourceKind, Statement, StatementKind, Unread,
};
use crate::diagnostic::Code;
use crate::lexer::TokenKind;
use crate::span::Span;

impl Parser<'_> {
    /// Statements up to `end`, which is left standing.
    pub(super) fn statements(&mut self, end: TokenKind) -> Vec<Statement> {
        let mut statements = Vec::new();
        loop {
            while self.eat(TokenKind::Semicolon) {}
            if self.is(end) || self.is(TokenKind::End) {
                return statements;
            }
            let start = self.at;
            let before = self.diagnostics.len();
            let kind = self.statement();
            statements.push(Statement { kind, span: self.since(start) });
            if self.is(end) || self.is(TokenKind::End) || self.is(TokenKind::Semicolon) {
                continue;
            }
            self.between_statements(before, start);
        }
    }

    /// Something stands after a statement that should not: a forgotten semicolon, or rubbish.
    fn between_statements(&mut self, complaints_before: usize, start: usize) {
        let fresh = self.diagnostics.len() == complaints_before;
        if self.at > start && matches!(self.word(), "let" | "set" | "declare") {
            if fresh {
                let before = self.tokens[self.at - 1].span;
                let hint = Some("end the statement before it with `;`".to_owned());
                self.complain_at(before, Code::Unexpected, format!("expected `;` before `{}`", self.word()), hint);
            }
            return;
        }
        if fresh {
            let hint = if self.is(TokenKind::CloseParen) {
                Some("a `(` may be missing before it".to_owned())
            } else if self.at > start && self.on_new_line() && self.is(TokenKind::Word) {
                Some("if a new statement begins here, end the one before it with `;`".to_owned())
            } else {
                None
            };
            let found = self.found();
            self.complain(Code::Unexpected, format!("expected `|`, `;` or the end, found {found}"), hint);
        }
        // At least one token, else this goes round for ever.
        self.advance();
        while !matches!(self.kind(), TokenKind::Semicolon | TokenKind::End) {
            self.advance();
        }
    }

    fn on_new_line(&self) -> bool {
        let before = self.tokens[self.at - 1].span.end as usize;
        self.text.get(before..self.token().span.start as usize).is_some_and(|gap| gap.contains('\n'))
    }

    fn statement(&mut self) -> StatementKind {
        match self.word() {
            "let" if self.name_ahead(1).is_some() => self.let_statement(),
            "set" if self.ahead(1).kind == TokenKind::Word => self.set_statement(),
            "declare" if self.word_ahead(1) == "query_parameters" => {
                self.advance();
                self.advance();
                StatementKind::DeclareParameters(self.parameters())
            }
            "declare" | "pattern" if matches!(self.word_ahead(1), "pattern") || self.is_word("pattern") && self.name_ahead(1).is_some() => {
                StatementKind::Pattern(self.unread_statement())
            }
            "alias" if self.word_ahead(1) == "database" => {
                self.advance();
                self.advance();
                let name = self.expect_name("a name");
                self.expect(TokenKind::Assign, "`=`");
                StatementKind::Alias { name, target: self.expr() }
            }
            "restrict" if self.word_ahead(1) == "access" => {
                self.advance();
                self.advance();
                self.expect_word("to");
                let open = self.at;
                let mut items = Vec::new();
                if self.expect(TokenKind::OpenParen, "`(`") {
                    items = self.comma_list(TokenKind::CloseParen, Self::expr);
                    self.close(open, TokenKind::CloseParen);
                }
                StatementKind::Restrict(items)
            }
            word if self.is_sql(word) => {
                let hint = "this looks like SQL: send it with \"language\": \"sql\", or begin with a table's name".to_owned();
                self.complain(Code::OtherLanguage, format!("`{word}` does not begin a KQL query"), Some(hint));
                self.skip_statement();
                StatementKind::Broken
            }
            _ => {
                let start = self.at;
                let pipeline = self.deeper(4, |p| Some(p.pipeline()), || None);
                match pipeline {
                    Some(pipeline) if self.at > start => StatementKind::Pipeline(pipeline),
                    _ => StatementKind::Broken,
                }
            }
        }
    }

    fn is_sql(&self, word: &str) -> bool {
        let second = self.ahead(1).kind;
        match word.to_ascii_lowercase().as_str() {
            "select" => matches!(second, TokenKind::Word | TokenKind::Star | TokenKind::Long | TokenKind::OpenParen | TokenKind::String),
            "with" | "insert" | "update" | "delete" | "create" | "drop" => second == TokenKind::Word,
            _ => false,
        }
    }

    fn skip_statement(&mut self) {
        while !matches!(self.kind(), TokenKind::Semicolon | TokenKind::End | TokenKind::CloseBrace) {
            if self.is(TokenKind::OpenBrace) {
                self.skip_pair();
            } else {
                self.advance();
            }
        }
    }

    /// Elements separated by commas until `end`, which is left standing.
    pub(super) fn comma_list<T>(&mut self, end: TokenKind, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut list = Vec::new();
        while !self.is(end) && !self.is(TokenKind::End) {
            list.push(element(self));
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        list
    }

    fn unread_statement(&mut self) -> Unread {
        let keyword = self.expect_name("a keyword");
        let start = self.token().span.start;
        self.skip_statement();
        Unread { keyword, text: self.raw(start) }
    }

    /// The text from `start` to the token before this one.
    pub(super) fn raw(&self, start: u32) -> String {
        let end = if self.at == 0 { start } else { self.tokens[self.at - 1].span.end.max(start) };
        Span::new(start, end).of(self.text).to_owned()
    }

    fn set_statement(&mut self) -> StatementKind {
        self.advance();
        let name = self.expect_name("a request property");
        let value = self.eat(TokenKind::Assign).then(|| self.setting_value());
        StatementKind::Set { name, value }
    }

    fn let_statement(&mut self) -> StatementKind {
        self.advance();
        let name = self.expect_name("a name");
        if !self.expect(TokenKind::Assign, "`=`") {
            self.skip_statement();
            return StatementKind::Broken;
        }
        StatementKind::Let { name, value: self.let_value() }
    }

    fn let_value(&mut self) -> LetValue {
        let view = self.is_word("view") && self.ahead(1).kind == TokenKind::OpenParen;
        let open = self.ahead(usize::from(view));
        let body = open.close.map(|close| self.tokens[(close as usize + 1).min(self.tokens.len() - 1)].kind);
        if open.kind == TokenKind::OpenParen && body == Some(TokenKind::OpenBrace) {
            let start = self.at;
            let at = self.token().span;
            return self.deeper(4, |p| Some(p.lambda(view)), || None).map_or_else(
                || LetValue::Expr(Expr { kind: ExprKind::Missing, span: at }),
                |lambda| LetValue::Function(Lambda { span: self.since(start), ..lambda }),
            );
        }
        let at = self.token().span;
        let Some(pipeline) = self.deeper(4, |p| Some(p.pipeline()), || None) else {
            return LetValue::Expr(Expr { kind: ExprKind::Missing, span: at });
        };
        match pipeline {
            Pipeline { source: Source { kind: SourceKind::Expr(expr), .. }, operators, .. } if operators.is_empty() => LetValue::Expr(expr),
            pipeline => LetValue::Pipeline(pipeline),
        }
    }

    fn lambda(&mut self, view: bool) -> Lambda {
        let start = self.at;
        if view {
            self.advance();
        }
        let parameters = self.parameters();
        let open = self.at;
        self.expect(TokenKind::OpenBrace, "`{`");
        let body_start = self.at;
        let statements = self.statements(TokenKind::CloseBrace);
        let body = Query { statements, span: self.since(body_start) };
        self.close(open, TokenKind::CloseBrace);
        Lambda { view, parameters, body, span: self.since(start) }
    }

    /// `(a:long = 1, T:(b:string, *))`
    pub(super) fn parameters(&mut self) -> Vec<Parameter> {
        let open = self.at;
        if !self.expect(TokenKind::OpenParen, "`(` and parameters") {
            return Vec::new();
        }
        let parameters = self.comma_list(TokenKind::CloseParen, |p| {
            let name = p.expect_name("a parameter's name");
            let kind = if p.eat(TokenKind::Colon) {
                if p.is(TokenKind::OpenParen) {
                    ParameterKind::Tabular(p.tabular_type())
                } else {
                    ParameterKind::Scalar(p.scalar_type().unwrap_or(ScalarType::Dynamic))
                }
            } else {
                ParameterKind::Scalar(ScalarType::Dynamic)
            };
            let default = p.eat(TokenKind::Assign).then(|| p.expr());
            Parameter { name, kind, default }
        });
        self.close(open, TokenKind::CloseParen);
        parameters
    }

    /// `(a:long, *)` or `(*)`
    fn tabular_type(&mut self) -> Vec<ColumnDecl> {
        let open = self.at;
        self.advance();
        let columns = self.comma_list(TokenKind::CloseParen, |p| {
            if p.eat(TokenKind::Star) {
                return None;
            }
            let name = p.expect_name("a column's name");
            p.expect(TokenKind::Colon, "`:` and a type");
            let kind = p.scalar_type().unwrap_or(ScalarType::Dynamic);
            Some(ColumnDecl { name, kind })
        });
        self.close(open, TokenKind::CloseParen);
        columns.into_iter().flatten().collect()
    }

    // ---- sources ----

    /// Whether a keyword stands here that begins a pipeline and cannot be meant as a name.
    pub(super) fn at_tabular_source(&self) -> bool {
        let next = self.ahead(1);
        let value_follows = matches!(
            next.kind,
            TokenKind::Word
                | TokenKind::String
                | TokenKind::BrokenString
                | TokenKind::Long
                | TokenKind::Real
                | TokenKind::Typed
                | TokenKind::TimeSpan
        );
        let word_infix = matches!(
            self.word_ahead(1),
            "and" | "or" | "has" | "contains" | "startswith" | "endswith" | "between" | "asc" | "desc" | "by" | "on"
        ) && !self.followed_by_assign(1);
        match self.word() {
            "print" => {
                let sign_follows = next.kind == TokenKind::Plus && !self.touches(1) && self.touches(2);
                let begins = matches!(next.kind, TokenKind::Minus | TokenKind::Star | TokenKind::OpenBracket | TokenKind::OpenParen);
                (value_follows || sign_follows || begins) && !word_infix
            }
            "range" => self.name_ahead(1).is_some_and(|length| self.word_ahead(1 + length) == "from"),
            "union" => {
                // A literal is no leg, but what is told of it is the binder's.
                (value_follows && !word_infix) || matches!(next.kind, TokenKind::OpenParen | TokenKind::Star | TokenKind::OpenBracket)
            }
            "datatable" | "externaldata" | "external_data" => next.kind == TokenKind::OpenParen,
            "search" => {
                matches!(next.kind, TokenKind::String | TokenKind::BrokenString | TokenKind::Star | TokenKind::OpenParen)
                    || next.kind == TokenKind::Word && !word_infix
            }
            "find" => matches!(self.word_ahead(1), "in" | "where" | "withsource" | "datascope") || next.kind == TokenKind::String,
            "evaluate" => next.kind == TokenKind::Word && !word_infix,
            "macro" => self.word_ahead(2) == "expand" && next.kind == TokenKind::Minus,
            _ => false,
        }
    }

    fn followed_by_assign(&self, count: usize) -> bool {
        self.ahead(count + 1).kind == TokenKind::Assign
    }

    /// A source and its operators.
    pub(super) fn pipeline(&mut self) -> Pipeline {
        let start = self.at;
        let kind = self.source_kind();
        self.pipeline_from(start, kind)
    }

    /// The operators after a source that has been read.
    pub(super) fn pipeline_from(&mut self, start: usize, kind: SourceKind) -> Pipeline {
        let kind = match kind {
            SourceKind::Expr(Expr { kind: ExprKind::Pipeline(pipeline), .. }) => SourceKind::Parens(pipeline),
            SourceKind::Expr(Expr { kind: ExprKind::Wildcard(text), .. }) => SourceKind::Wildcard(text),
            SourceKind::Expr(Expr { kind: ExprKind::Star, .. }) => SourceKind::Wildcard("*".to_owned()),
            kind => kind,
        };
        let source = Source { kind, span: self.since(start) };
        if self.failed_at.is_some_and(|failed| failed >= start) && !self.is(TokenKind::Pipe) && self.at > start {
            self.skip_operator_if_stuck();
        }
        let operators = self.operators_after_bars();
        Pipeline { source, operators, span: self.since(start) }
    }

    fn skip_operator_if_stuck(&mut self) {
        if self.failed_at == Some(self.at) {
            self.skip_operator();
        }
    }

    fn operators_after_bars(&mut self) -> Vec<Operator> {
        let mut operators = Vec::new();
        while self.eat(TokenKind::Pipe) {
            operators.push(self.operator());
        }
        operators
    }

    fn source_kind(&mut self) -> SourceKind {
        if !self.at_tabular_source() {
            return SourceKind::Expr(self.expr());
        }
        match self.word() {
            "print" => {
                self.advance();
                SourceKind::Print(self.named_values())
            }
            "range" => self.range(),
            "union" => {
                self.advance();
                SourceKind::Union(self.union())
            }
            "datatable" => self.datatable(),
            "externaldata" | "external_data" => self.external_data(),
            "search" => {
                self.advance();
                SourceKind::Search(self.search())
            }
            "find" => {
                self.advance();
                SourceKind::Find(self.find())
            }
            "evaluate" => {
                self.advance();
                SourceKind::Evaluate(self.evaluate())
            }
            _ => SourceKind::Unread(self.unread()),
        }
    }

    fn range(&mut self) -> SourceKind {
        self.advance();
        let name = self.expect_name("a column's name");
        self.expect_word("from");
        let from = self.expr();
        self.expect_word("to");
        let to = self.expr();
        self.expect_word("step");
        let step = self.expr();
        SourceKind::Range { name, from, to, step }
    }

    fn datatable(&mut self) -> SourceKind {
        self.advance();
        let columns = self.column_declarations();
        let open = self.at;
        let mut values = Vec::new();
        if self.expect(TokenKind::OpenBracket, "`[` and values") {
            values = self.comma_list(TokenKind::CloseBracket, Self::expr);
            self.close(open, TokenKind::CloseBracket);
            if !columns.is_empty() && values.len() % columns.len() != 0 {
                let message = format!("{} values do not fill rows of {} columns", values.len(), columns.len());
                self.complain_at(self.tokens[open].span, Code::Unexpected, message, None);
                values.truncate(values.len() - values.len() % columns.len());
            }
        }
        SourceKind::Datatable { columns, values }
    }

    fn external_data(&mut self) -> SourceKind {
        self.advance();
        let columns = self.column_declarations();
        let open = self.at;
        let mut addresses = Vec::new();
        if self.expect(TokenKind::OpenBracket, "`[` and an address") {
            addresses = self.comma_list(TokenKind::CloseBracket, Self::expr);
            self.close(open, TokenKind::CloseBracket);
        }
        let settings = if self.eat_word("with") { self.settings_in_parens() } else { Vec::new() };
        SourceKind::ExternalData { columns, addresses, settings }
    }

    /// A name for a position that must have one, found or not.
    pub(super) fn name_or_none(&mut self) -> Option<Name> {
        let name = self.expect_name("a name");
        (!name.text.is_empty()).then_some(name)
    }
}
