//! A tree back to text: one operator a line, literals in one spelling, only the parentheses that are needed.

mod expr;
mod operator;

use std::fmt::{self, Write as _};

use crate::ast::{
    ColumnDecl, Expr, ExprKind, Lambda, LetValue, Literal, Name, NamedExpr, Parameter, ParameterKind, Pipeline, Query, Setting, SourceKind,
    Statement, StatementKind,
};
use crate::lexer;

/// The tree as text, one operator a line, such that reading it again gives the same tree but for spans.
/// (Of a tree with diagnostics: what could be read of it.)
#[must_use]
pub fn print(query: &Query) -> String {
    let mut printer = Printer::default();
    printer.statements(&query.statements);
    printer.out.push('\n');
    printer.out
}

/// A text in its usual form: that of [`print`], with its comments, each on a line of its own before what it stands before or in.
///
/// # Errors
/// What is wrong with the text; or that its usual form would be read as something else, and so there is none.
pub fn format(text: &str) -> Result<String, Vec<crate::Diagnostic>> {
    let parsed = crate::parse(text);
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let comments = lexer::comments(text).into_iter().map(|span| (span.start, span.of(text).trim_end().to_owned())).rev().collect();
    let mut printer = Printer { comments, ..Printer::default() };
    printer.statements(&parsed.query.statements);
    if !parsed.query.statements.is_empty() {
        printer.out.push('\n');
    }
    printer.comments_before(u32::MAX);
    if reads_as(&printer.out, &parsed.query) {
        return Ok(printer.out);
    }
    Err(vec![crate::Diagnostic {
        span: parsed.query.span,
        code: crate::Code::Unprintable,
        message: "in its usual form this would be read as something else".to_owned(),
        hint: Some("leave it as it is, or put names that are words of KQL into brackets: ['in']".to_owned()),
    }])
}

/// Whether a text is read as this tree, but for spans. What nobody reads (commands) is not looked into.
pub(crate) fn reads_as(text: &str, query: &Query) -> bool {
    let again = crate::parse(text);
    let unread = |query: &Query| format!("{query:?}").contains("Unread");
    again.diagnostics.is_empty() && (unread(query) || shape(&again.query) == shape(query))
}

/// The tree in Debug form without its spans.
pub(crate) fn shape(query: &Query) -> String {
    let text = format!("{:?}", query.statements);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find("..") {
        out.push_str(rest[..at].trim_end_matches(|c: char| c.is_ascii_digit()));
        rest = rest[at + 2..].trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out + rest
}

/// One expression as text.
#[must_use]
pub fn print_expr(expr: &Expr) -> String {
    let mut printer = Printer::default();
    printer.expr(expr);
    printer.out
}

#[derive(Default)]
struct Printer {
    out: String,
    indent: usize,
    /// Comments not said yet and where they stood, the first one last.
    comments: Vec<(u32, String)>,
}

impl Printer {
    fn say(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a String takes everything");
    }

    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
    }

    /// Says the comments that stood before this place, at the beginning of a line; the line goes on where it is.
    fn comments_before(&mut self, place: u32) {
        while self.comments.last().is_some_and(|(start, _)| *start < place) {
            let (_, comment) = self.comments.pop().expect("just seen");
            self.out.push_str(&comment);
            self.line();
        }
    }

    fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        for (index, one) in items.iter().enumerate() {
            if index > 0 {
                self.say(", ");
            }
            item(self, one);
        }
    }

    fn statements(&mut self, statements: &[Statement]) {
        for (index, statement) in statements.iter().enumerate() {
            if index > 0 {
                self.say(";");
                self.line();
            }
            self.comments_before(statement.span.start);
            self.statement(&statement.kind);
        }
    }

    fn statement(&mut self, statement: &StatementKind) {
        match statement {
            StatementKind::Let { name, value } => {
                self.say("let ");
                self.name(name);
                self.say(" = ");
                match value {
                    LetValue::Expr(expr) => self.expr(expr),
                    LetValue::Pipeline(pipeline) => self.pipeline(pipeline),
                    LetValue::Function(lambda) => self.lambda(lambda),
                }
            }
            StatementKind::Pipeline(pipeline) => self.pipeline(pipeline),
            StatementKind::Set { name, value } => {
                self.say("set ");
                self.name(name);
                if let Some(value) = value {
                    self.say(" = ");
                    self.expr(value);
                }
            }
            StatementKind::DeclareParameters(parameters) => {
                self.say("declare query_parameters");
                self.parameters(parameters);
            }
            StatementKind::Alias { name, target } => {
                self.say("alias database ");
                self.name(name);
                self.say(" = ");
                self.expr(target);
            }
            StatementKind::Restrict(items) => {
                self.say("restrict access to (");
                self.list(items, Self::expr);
                self.say(")");
            }
            StatementKind::Pattern(unread) => self.write(format_args!("{} {}", unread.keyword.text, unread.text)),
            StatementKind::Broken => {}
        }
    }

    fn lambda(&mut self, lambda: &Lambda) {
        if lambda.view {
            self.say("view ");
        }
        self.parameters(&lambda.parameters);
        self.say(" {");
        self.indent += 1;
        self.line();
        self.statements(&lambda.body.statements);
        self.indent -= 1;
        self.line();
        self.say("}");
    }

    fn parameters(&mut self, parameters: &[Parameter]) {
        self.say("(");
        self.list(parameters, |p, parameter| {
            p.name(&parameter.name);
            p.say(": ");
            match &parameter.kind {
                ParameterKind::Scalar(kind) => p.say(kind.as_str()),
                ParameterKind::Tabular(columns) if columns.is_empty() => p.say("(*)"),
                ParameterKind::Tabular(columns) => p.columns(columns),
            }
            if let Some(default) = &parameter.default {
                p.say(" = ");
                p.expr(default);
            }
        });
        self.say(")");
    }

    fn columns(&mut self, columns: &[ColumnDecl]) {
        self.say("(");
        self.list(columns, |p, column| {
            p.name(&column.name);
            p.say(": ");
            p.say(column.kind.as_str());
        });
        self.say(")");
    }

    fn name(&mut self, name: &Name) {
        self.name_text(&name.text);
    }

    /// A name, in brackets where it would not be read as one word.
    fn name_text(&mut self, name: &str) {
        if is_plain_name(name) {
            self.say(name);
        } else {
            self.say("[");
            self.string(name);
            self.say("]");
        }
    }

    fn settings(&mut self, settings: &[Setting]) {
        for setting in settings {
            self.setting(setting);
            self.say(" ");
        }
    }

    fn setting(&mut self, setting: &Setting) {
        self.say(&setting.name.text);
        self.say("=");
        match &setting.value.kind {
            ExprKind::Array(items) => self.list(items, Self::expr),
            ExprKind::Literal(Literal::Long(value)) => self.write(format_args!("{value}")),
            _ => self.expr(&setting.value),
        }
    }

    fn with_settings(&mut self, settings: &[Setting]) {
        if !settings.is_empty() {
            self.say(" with (");
            self.list(settings, Self::setting);
            self.say(")");
        }
    }

    fn named(&mut self, named: &NamedExpr) {
        match named.names.as_slice() {
            [] => {}
            [name] => {
                self.name(name);
                self.say(" = ");
            }
            several => {
                self.say("(");
                self.list(several, Self::name);
                self.say(") = ");
            }
        }
        self.expr(&named.value);
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        self.source(&pipeline.source.kind);
        for operator in &pipeline.operators {
            self.line();
            self.comments_before(operator.span.start);
            self.say("| ");
            self.operator(&operator.kind);
        }
    }

    fn source(&mut self, source: &SourceKind) {
        match source {
            SourceKind::Expr(expr) => self.expr(expr),
            // A leg of a union is said without brackets, see `leg`.
            SourceKind::Wildcard(text) => self.write(format_args!("({text})")),
            SourceKind::Parens(pipeline) => self.query_in_parens(pipeline),
            SourceKind::Datatable { columns, values } => {
                self.say("datatable");
                self.columns(columns);
                self.say(" [");
                self.list(values, Self::expr);
                self.say("]");
            }
            SourceKind::ExternalData { columns, addresses, settings } => {
                self.say("externaldata");
                self.columns(columns);
                self.say(" [");
                self.list(addresses, Self::expr);
                self.say("]");
                self.with_settings(settings);
            }
            SourceKind::Print(values) => {
                self.say("print ");
                self.list(values, Self::named);
            }
            SourceKind::Range { name, from, to, step } => {
                self.say("range ");
                self.name(name);
                for (word, value) in [(" from ", from), (" to ", to), (" step ", step)] {
                    self.say(word);
                    self.expr(value);
                }
            }
            SourceKind::Union(union) => self.union(union),
            SourceKind::Search(search) => self.search(search),
            SourceKind::Find(find) => self.find(find),
            SourceKind::Evaluate(invoke) => self.evaluate(invoke),
            SourceKind::Unread(unread) => self.write(format_args!("{} {}", unread.keyword.text, unread.text)),
        }
    }

    /// A query in parentheses: on lines of its own if it takes more than one.
    fn query_in_parens(&mut self, pipeline: &Pipeline) {
        if pipeline.operators.is_empty() {
            return self.parens(|p| p.pipeline(pipeline));
        }
        self.parens(|p| {
            p.line();
            p.pipeline(pipeline);
            p.indent -= 1;
            p.line();
            p.indent += 1;
        });
    }

    /// A block in parentheses, lines of it indented.
    fn parens(&mut self, body: impl FnOnce(&mut Self)) {
        self.say("(");
        self.indent += 1;
        body(self);
        self.indent -= 1;
        self.say(")");
    }
}

/// Words that stand between operands or for values: as names they need brackets.
const WORDS: &[&str] = &[
    "and",
    "or",
    "in",
    "between",
    "matches",
    "contains",
    "contains_cs",
    "containscs",
    "notcontains",
    "notcontainscs",
    "has",
    "has_cs",
    "hascs",
    "has_any",
    "has_all",
    "hasprefix",
    "hasprefix_cs",
    "hassuffix",
    "hassuffix_cs",
    "startswith",
    "startswith_cs",
    "endswith",
    "endswith_cs",
    "like",
    "likecs",
    "notlike",
    "notlikecs",
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "asc",
    "desc",
    "nulls",
    "by",
    "on",
    "let",
    "typeof",
    "dynamic",
];

/// Whether a name is one word that the lexer gives back as it is.
fn is_plain_name(name: &str) -> bool {
    if WORDS.contains(&name) {
        return false;
    }
    let mut ignored = Vec::new();
    let tokens = lexer::tokens(name, &mut ignored);
    name.is_ascii() && tokens.len() == 2 && tokens[0].kind == lexer::TokenKind::Word && tokens[0].span.of(name) == name
}
