//! Operators: which one it is, and the everyday ones.

use super::Parser;
use super::words::{JOIN_KINDS, KEYWORDS, SQL, UNREAD};
use crate::ast::{
    ColumnPattern, Expr, ExprKind, Join, JoinKind, Literal, Lookup, Name, NamedExpr, NullOrder, Operator, OperatorKind, Order, Pipeline,
    Reorder, ReorderOrder, Setting, SortKey, Source, SourceKind, Summarize, Top, Union, UnionKind, Unread,
};
use crate::diagnostic::Code;
use crate::lexer::TokenKind;
use crate::span::Span;

impl Parser<'_> {
    /// One operator; the bar before it is behind us. Whatever happens, afterwards a bar, semicolon, closing bracket or the end stands here.
    pub(super) fn operator(&mut self) -> Operator {
        let start = self.at;
        let complaints = self.diagnostics.len();
        let kind = self.deeper(1, Self::operator_kind, || OperatorKind::Broken);
        let span = self.since(start);
        let ended = matches!(self.kind(), TokenKind::Pipe | TokenKind::Semicolon | TokenKind::End)
            || matches!(self.kind(), TokenKind::CloseParen | TokenKind::CloseBrace | TokenKind::CloseBracket) && self.depth > 4;
        let next_statement = self.is_word("let") && self.ahead(2).kind == TokenKind::Assign;
        if !ended && !next_statement {
            if self.diagnostics.len() == complaints {
                self.unexpected_after(start);
            }
            self.skip_operator();
        }
        Operator { kind, span }
    }

    /// Something stands after a whole operator.
    fn unexpected_after(&mut self, start: usize) {
        let word = self.word();
        let hint = if self.at > start && crate::closest(word, KEYWORDS) == Some(word) && !word.is_empty() {
            Some("put a `|` before it".to_owned())
        } else if matches!(self.kind(), TokenKind::String | TokenKind::Long | TokenKind::Real | TokenKind::Word) {
            Some("a comma or an operator may be missing before it".to_owned())
        } else {
            None
        };
        let found = self.found();
        self.complain(Code::Unexpected, format!("expected `|`, `;` or the end, found {found}"), hint);
    }

    /// The keyword here with its dashes (`mv-expand`), and how many tokens it takes.
    fn keyword(&self) -> (&str, usize) {
        if !self.is(TokenKind::Word) {
            return ("", 0);
        }
        let mut count = 1;
        while self.ahead(count).kind == TokenKind::Minus
            && self.ahead(count + 1).kind == TokenKind::Word
            && self.touches(count)
            && self.touches(count + 1)
        {
            count += 2;
        }
        let span = self.token().span.to(self.ahead(count - 1).span);
        (span.of(self.text), count)
    }

    fn operator_kind(&mut self) -> OperatorKind {
        let (keyword, length) = self.keyword();
        let keyword = keyword.to_owned();
        let first = self.at;
        self.at += length;
        match keyword.as_str() {
            "where" | "filter" => OperatorKind::Where(self.where_predicate()),
            "extend" => OperatorKind::Extend(self.named_exprs()),
            "project" => OperatorKind::Project(if self.at_end_of_operator() { Vec::new() } else { self.named_exprs() }),
            "project-away" => OperatorKind::ProjectAway(self.column_patterns()),
            "project-keep" => OperatorKind::ProjectKeep(self.column_patterns()),
            "project-rename" => OperatorKind::ProjectRename(self.renames()),
            "project-reorder" => OperatorKind::ProjectReorder(self.reorders()),
            "project-by-names" => OperatorKind::ProjectByNames(self.exprs()),
            "summarize" => self.summarize(),
            "sort" | "order" => self.sort(),
            "take" | "limit" => {
                self.settings(&[]);
                OperatorKind::Take(self.expr())
            }
            "top" => self.top(),
            "count" => OperatorKind::Count(if self.eat_word("as") { self.name_or_none() } else { None }),
            "distinct" => {
                self.settings(&[]);
                OperatorKind::Distinct(self.named_exprs())
            }
            "join" => self.join(),
            "lookup" => self.lookup(),
            "union" => OperatorKind::Union(self.union()),
            "serialize" => OperatorKind::Serialize(if self.at_end_of_operator() { Vec::new() } else { self.named_exprs() }),
            "as" => {
                let settings = self.settings(&[]);
                OperatorKind::As { settings, name: self.expect_name("a name") }
            }
            "sample" => OperatorKind::Sample(self.expr()),
            "getschema" => OperatorKind::GetSchema,
            "invoke" => OperatorKind::Invoke(self.expr()),
            "" => {
                self.expected("an operator");
                OperatorKind::Broken
            }
            keyword if UNREAD.contains(&keyword) => {
                self.at = first;
                OperatorKind::Unread(self.unread())
            }
            keyword => self.rarer_operator(keyword).unwrap_or_else(|| {
                self.at = first;
                self.unknown_operator(keyword);
                OperatorKind::Broken
            }),
        }
    }

    fn unknown_operator(&mut self, keyword: &str) {
        let lower = keyword.to_ascii_lowercase();
        let sql = SQL.iter().find(|(word, _)| *word == lower).map(|(_, instead)| format!("in KQL that is `{instead}`"));
        let hint = sql.or_else(|| crate::closest(keyword, KEYWORDS).map(|known| format!("did you mean `{known}`?")));
        let start = self.token().span.start;
        let span = Span::new(start, start + u32::try_from(keyword.len()).unwrap_or(0));
        self.complain_at(span, Code::UnknownOperator, format!("there is no operator `{keyword}`"), hint);
    }

    pub(super) fn at_end_of_operator(&self) -> bool {
        matches!(self.kind(), TokenKind::Pipe | TokenKind::Semicolon | TokenKind::CloseParen | TokenKind::CloseBrace | TokenKind::End)
    }

    /// An operator's keyword and everything up to its end, as written.
    pub(super) fn unread(&mut self) -> Unread {
        let (keyword, length) = self.keyword();
        let text = keyword.to_owned();
        let start = self.at;
        self.at += length.max(1);
        let keyword = Name { text, span: self.since(start) };
        let from = self.token().span.start;
        self.skip_operator();
        Unread { keyword, text: self.raw(from) }
    }

    fn where_predicate(&mut self) -> Expr {
        let first = self.expr();
        if !self.is(TokenKind::Comma) {
            return first;
        }
        self.complain(Code::Unexpected, "a comma does not join conditions", Some("write `and`".to_owned()));
        while self.eat(TokenKind::Comma) {
            self.expr();
        }
        first
    }

    pub(super) fn exprs(&mut self) -> Vec<Expr> {
        let mut list = vec![self.expr()];
        while self.eat(TokenKind::Comma) {
            list.push(self.expr());
        }
        list
    }

    /// What `print` takes: named values, among them sub-queries in parentheses.
    pub(super) fn named_values(&mut self) -> Vec<NamedExpr> {
        self.named_exprs()
    }

    // ---- settings ----

    /// Settings before an operator's own arguments: those in `known`, and all hints.
    pub(super) fn settings(&mut self, known: &[&str]) -> Vec<Setting> {
        let mut settings = Vec::new();
        while self.is(TokenKind::Word) {
            let mut count = 1;
            while self.ahead(count).kind == TokenKind::Dot && self.ahead(count + 1).kind == TokenKind::Word {
                count += 2;
            }
            if self.ahead(count).kind != TokenKind::Assign || !(self.is_word("hint") && count > 1 || known.contains(&self.word())) {
                break;
            }
            let setting = self.setting(count);
            // Hints may be said as often as one likes: nobody heeds them.
            if count == 1 && settings.iter().any(|there: &Setting| there.name.text == setting.name.text) {
                self.complain_at(setting.name.span, Code::Setting, format!("`{}` is given twice", setting.name.text), None);
            }
            settings.push(setting);
        }
        settings
    }

    /// `name = value` where the name takes `count` tokens.
    fn setting(&mut self, count: usize) -> Setting {
        let start = self.at;
        self.at += count;
        let span = self.since(start);
        let name = Name { text: span.of(self.text).to_owned(), span };
        self.advance();
        Setting { name, value: self.setting_value() }
    }

    /// A word, a literal, or a list of words.
    pub(super) fn setting_value(&mut self) -> Expr {
        let start = self.at;
        self.high = self.high.max(1);
        let negative = self.eat(TokenKind::Minus);
        if let Some(literal) = self.literal() {
            let literal = match literal {
                Literal::Long(value) if negative => Literal::Long(-value),
                Literal::Real(value) if negative => Literal::Real(-value),
                literal => literal,
            };
            return Expr { kind: ExprKind::Literal(literal), span: self.since(start) };
        }
        if let Some(name) = self.name() {
            return Expr { kind: ExprKind::Name(name.text), span: name.span };
        }
        self.expected("a value");
        Expr { kind: ExprKind::Missing, span: self.since(start) }
    }

    /// `(a=1, b=x,y)`, or the same without parentheses.
    pub(super) fn settings_in_parens(&mut self) -> Vec<Setting> {
        let open = self.at;
        let parens = self.eat(TokenKind::OpenParen);
        let mut settings: Vec<Setting> = Vec::new();
        while let Some(length) = self.name_ahead(0) {
            let mut count = length;
            while self.ahead(count).kind == TokenKind::Dot && self.ahead(count + 1).kind == TokenKind::Word {
                count += 2;
            }
            if self.ahead(count).kind == TokenKind::Assign {
                settings.push(self.setting(count));
            } else if let Some(last) = settings.last_mut() {
                // `ycolumns=a, b`: another word of the value before.
                let value = self.setting_value();
                let span = last.value.span.to(value.span);
                if let ExprKind::Array(items) = &mut last.value.kind {
                    items.push(value);
                } else {
                    let first = std::mem::replace(&mut last.value, Expr { kind: ExprKind::Missing, span });
                    last.value.kind = ExprKind::Array(vec![first, value]);
                }
                last.value.span = span;
            } else {
                break;
            }
            if !self.eat(TokenKind::Comma) && parens && self.is(TokenKind::CloseParen) {
                break;
            }
        }
        if parens {
            self.close(open, TokenKind::CloseParen);
        }
        settings
    }

    /// Takes a setting out of a list.
    pub(super) fn take_setting(settings: &mut Vec<Setting>, name: &str) -> Option<Expr> {
        let at = settings.iter().position(|setting| setting.name.text == name)?;
        Some(settings.remove(at).value)
    }

    pub(super) fn take_name(&mut self, settings: &mut Vec<Setting>, name: &str) -> Option<Name> {
        let value = Self::take_setting(settings, name)?;
        match value.kind {
            ExprKind::Name(text) | ExprKind::Literal(Literal::String { value: text, .. }) => Some(Name { text, span: value.span }),
            _ => {
                self.complain_at(value.span, Code::Setting, format!("`{name}` takes a name"), None);
                None
            }
        }
    }

    /// A setting that is one of a few words; another word is a complaint.
    pub(super) fn take_word<T: Copy>(&mut self, settings: &mut Vec<Setting>, name: &str, words: &[(&str, T)]) -> Option<T> {
        let value = Self::take_setting(settings, name)?;
        let word = match &value.kind {
            ExprKind::Name(word) | ExprKind::Literal(Literal::String { value: word, .. }) => word.as_str(),
            _ => "",
        };
        let lower = word.to_ascii_lowercase();
        if let Some((_, meant)) = words.iter().find(|(known, _)| *known == lower) {
            return Some(*meant);
        }
        let known = words.iter().map(|(known, _)| *known);
        let hint = crate::closest(word, known.clone())
            .map_or_else(|| format!("it can be {}", known.collect::<Vec<_>>().join(", ")), |near| format!("did you mean `{near}`?"));
        self.complain_at(value.span, Code::Setting, format!("`{name}` cannot be `{word}`"), Some(hint));
        None
    }

    // ---- columns ----

    /// A name or a pattern.
    fn column_pattern(&mut self) -> Option<ColumnPattern> {
        let start = self.at;
        let mut text = String::new();
        let mut wildcard = false;
        loop {
            if self.at > start && !self.touches(0) {
                break;
            }
            match self.kind() {
                TokenKind::Star => {
                    wildcard = true;
                    text.push('*');
                    self.advance();
                }
                TokenKind::Word | TokenKind::Long => {
                    let token = self.advance();
                    text.push_str(self.text_of(token));
                }
                TokenKind::OpenBracket if self.at == start => {
                    let Some(name) = self.name() else { break };
                    text.push_str(&name.text);
                    // A bracketed name holds no pattern even if it holds a star.
                    return Some(ColumnPattern { text, wildcard: false, span: name.span });
                }
                _ => break,
            }
        }
        if self.at == start {
            self.expected("a column's name or a pattern");
            return None;
        }
        Some(ColumnPattern { text, wildcard, span: self.since(start) })
    }

    fn column_patterns(&mut self) -> Vec<ColumnPattern> {
        let mut list: Vec<_> = self.column_pattern().into_iter().collect();
        while self.eat(TokenKind::Comma) {
            list.extend(self.column_pattern());
        }
        list
    }

    fn renames(&mut self) -> Vec<(Name, Name)> {
        let mut list = Vec::new();
        loop {
            let new = self.expect_name("the new name");
            self.expect(TokenKind::Assign, "`=` and the old name");
            let old = self.expect_name("the old name");
            list.push((new, old));
            if !self.eat(TokenKind::Comma) {
                return list;
            }
        }
    }

    fn reorders(&mut self) -> Vec<Reorder> {
        let mut list = Vec::new();
        loop {
            let Some(columns) = self.column_pattern() else { return list };
            let (word, length) = self.keyword();
            let order = match word {
                "asc" => Some(ReorderOrder::Asc),
                "desc" => Some(ReorderOrder::Desc),
                "granny-asc" => Some(ReorderOrder::GrannyAsc),
                "granny-desc" => Some(ReorderOrder::GrannyDesc),
                _ => None,
            };
            if order.is_some() {
                self.at += length;
            }
            list.push(Reorder { columns, order });
            if !self.eat(TokenKind::Comma) {
                return list;
            }
        }
    }

    // ---- groups and orders ----

    fn summarize(&mut self) -> OperatorKind {
        let settings = self.settings(&[]);
        let aggregates = if self.is_word("by") && self.ahead(1).kind != TokenKind::Assign || self.at_end_of_operator() {
            Vec::new()
        } else {
            self.named_exprs()
        };
        let by = self.by();
        OperatorKind::Summarize(Summarize { settings, aggregates, by })
    }

    /// `by a, b`, if it stands here.
    pub(super) fn by(&mut self) -> Vec<NamedExpr> {
        if self.eat_word("by") { self.named_exprs() } else { Vec::new() }
    }

    fn sort(&mut self) -> OperatorKind {
        let settings = self.settings(&[]);
        self.expect_word("by");
        OperatorKind::Sort { settings, keys: self.sort_keys() }
    }

    pub(super) fn sort_keys(&mut self) -> Vec<SortKey> {
        let mut keys = vec![self.sort_key()];
        while self.eat(TokenKind::Comma) {
            keys.push(self.sort_key());
        }
        keys
    }

    pub(super) fn sort_key(&mut self) -> SortKey {
        let value = self.named_expr();
        let order = match self.word() {
            "asc" => Some(Order::Asc),
            "desc" => Some(Order::Desc),
            word @ ("ASC" | "DESC" | "ascending" | "descending") => {
                let short = if word.to_ascii_lowercase().starts_with("asc") { "asc" } else { "desc" };
                self.complain(Code::OtherLanguage, format!("`{word}` is not KQL"), Some(format!("write `{short}`")));
                Some(if short == "asc" { Order::Asc } else { Order::Desc })
            }
            _ => None,
        };
        if order.is_some() {
            self.advance();
        }
        let nulls = if self.eat_word("nulls") {
            match self.word() {
                "first" => Some(NullOrder::First),
                "last" => Some(NullOrder::Last),
                _ => {
                    self.expected("`first` or `last`");
                    None
                }
            }
        } else {
            None
        };
        if nulls.is_some() {
            self.advance();
        }
        SortKey { value, order, nulls }
    }

    fn top(&mut self) -> OperatorKind {
        let settings = self.settings(&[]);
        let count = self.expr();
        self.expect_word("by");
        OperatorKind::Top(Box::new(Top { settings, count, keys: self.sort_keys() }))
    }

    // ---- several inputs ----

    fn join(&mut self) -> OperatorKind {
        let mut settings = self.settings(&["kind", "withsource", "isfuzzy"]);
        let kind = self.take_word(&mut settings, "kind", &JOIN_KINDS).unwrap_or(JoinKind::InnerUnique);
        let right = self.leg();
        let on = self.join_keys();
        OperatorKind::Join(Box::new(Join { kind, settings, right, on }))
    }

    fn lookup(&mut self) -> OperatorKind {
        let mut settings = self.settings(&["kind"]);
        let kinds = [("leftouter", JoinKind::LeftOuter), ("inner", JoinKind::Inner)];
        let kind = self.take_word(&mut settings, "kind", &kinds).unwrap_or(JoinKind::LeftOuter);
        let right = self.leg();
        let on = self.join_keys();
        OperatorKind::Lookup(Box::new(Lookup { kind, settings, right, on }))
    }

    fn join_keys(&mut self) -> Vec<Expr> {
        if self.eat_word("on") {
            return self.exprs();
        }
        if self.is_word("where") {
            // `join (..) where ..` was never documented; the grammar reads it.
            return Vec::new();
        }
        let hint = "name the key: `on Key` or `on $left.a == $right.b`".to_owned();
        let found = self.found();
        self.complain(Code::Unexpected, format!("expected `on`, found {found}"), Some(hint));
        Vec::new()
    }

    /// One input beside the main one: a table, a call, a pattern, or a pipeline in parentheses.
    pub(super) fn leg(&mut self) -> Pipeline {
        let start = self.at;
        let kind = if self.is(TokenKind::OpenParen) {
            self.parens_pipeline()
        } else if self.wildcard_here() {
            match self.column_pattern() {
                Some(pattern) => SourceKind::Wildcard(pattern.text),
                None => SourceKind::Wildcard("*".to_owned()),
            }
        } else {
            let expr = if self.at_end_of_operator() {
                self.expected("a table or `(` and a query");
                Expr { kind: ExprKind::Missing, span: self.since(start) }
            } else if self.at_tabular_source() && matches!(self.word(), "datatable" | "externaldata" | "external_data") {
                let source = self.pipeline_without_operators();
                return source;
            } else {
                let expr = self.postfix();
                self.high = self.high.max(self.tall);
                expr
            };
            SourceKind::Expr(expr)
        };
        let span = self.since(start);
        match kind {
            SourceKind::Parens(pipeline) => Pipeline { span, ..*pipeline },
            kind => Pipeline { source: Source { kind, span }, operators: Vec::new(), span },
        }
    }

    fn pipeline_without_operators(&mut self) -> Pipeline {
        let start = self.at;
        let source = self.only_source();
        let span = self.since(start);
        Pipeline { source: Source { kind: source, span }, operators: Vec::new(), span }
    }

    fn wildcard_here(&self) -> bool {
        self.is(TokenKind::Star) || self.is(TokenKind::Word) && self.ahead(1).kind == TokenKind::Star && self.touches(1)
    }

    /// `( pipeline )`
    fn parens_pipeline(&mut self) -> SourceKind {
        let open = self.at;
        self.advance();
        let pipeline = self.inside(|p| p.deeper(4, |p| Some(p.pipeline()), || None));
        self.high = self.high.max(self.tall);
        self.close(open, TokenKind::CloseParen);
        match pipeline {
            Some(pipeline) => SourceKind::Parens(Box::new(pipeline)),
            None => SourceKind::Expr(Expr { kind: ExprKind::Missing, span: self.since(open) }),
        }
    }

    pub(super) fn union(&mut self) -> Union {
        let mut settings = self.settings(&["kind", "withsource", "with_source", "isfuzzy"]);
        let kind = self.take_word(&mut settings, "kind", &[("outer", UnionKind::Outer), ("inner", UnionKind::Inner)]).unwrap_or_default();
        let with_source = self.take_name(&mut settings, "withsource").or_else(|| self.take_name(&mut settings, "with_source"));
        let is_fuzzy = Self::take_setting(&mut settings, "isfuzzy").is_some_and(|value| match value.kind {
            ExprKind::Literal(Literal::Bool(fuzzy)) => fuzzy,
            ExprKind::Literal(Literal::Long(number @ 0..=1)) => number == 1,
            _ => {
                let written = value.span.of(self.text);
                let hint = Some("it can be true, false".to_owned());
                self.complain_at(value.span, Code::Setting, format!("`isfuzzy` cannot be `{written}`"), hint);
                false
            }
        });
        let mut legs = vec![self.leg()];
        while self.eat(TokenKind::Comma) {
            legs.push(self.leg());
        }
        Union { kind, with_source, is_fuzzy, settings, legs }
    }
}
