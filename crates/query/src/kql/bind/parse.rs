//! `parse`, `parse-where`, `parse-kv`: columns out of a text.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use strongroom_kql::Span;
use strongroom_kql::ast::{self, Literal, ParseKind, ParsePart};
use strongroom_model::ColumnType;

use crate::functions::{Fields, KvPattern, ParsePattern, Part, Quoting, Strictness, TakeApart, part, take_apart};
use crate::kql::Binder;
use crate::kql::bound::{Bound, BoundColumn, Rel, RelNode, TAKEN, column};
use crate::kql::expr::{Scope, convert, kind_of};
use crate::kql::problem::{Outcome, Problem};

impl Binder<'_> {
    pub(super) fn parse(&mut self, rel: Rel, parse: &ast::Parse, span: Span) -> Outcome<Rel> {
        let strictness = match parse.kind {
            ParseKind::Simple => Strictness::Simple,
            ParseKind::Regex => Strictness::Regex,
            ParseKind::Relaxed => Strictness::Relaxed,
        };
        let flags = parse.flags.as_deref().unwrap_or("");
        if let Some(odd) = flags.chars().find(|flag| !"imsUux".contains(*flag)) {
            return Err(Problem::new(span, "BadRegex", format!("there is no flag `{odd}`")).hint("the flags are `i`, `m`, `s` and `U`"));
        }
        let (mut parts, mut fields) = (Vec::with_capacity(parse.parts.len()), Fields::new());
        for part in &parse.parts {
            parts.push(match part {
                ParsePart::Star(_) => Part::Skip,
                ParsePart::Text(Literal::String { value, .. }, _) => Part::Text(value.clone()),
                ParsePart::Text(_, place) => return Err(Problem::mismatch(*place, "a text is needed here")),
                ParsePart::Column { name, kind } => {
                    let kind = kind.map_or(ColumnType::String, kind_of);
                    fields.push((name.text.clone(), kind));
                    Part::Column(kind)
                }
            });
        }
        let pattern = ParsePattern::new(&parts, strictness, flags).map_err(|why| Problem::new(span, "BadRegex", why))?;
        self.taken_apart(rel, &parse.input, pattern, fields, parse.filters, span)
    }

    pub(super) fn parse_kv(&mut self, rel: Rel, parse: &ast::ParseKv, span: Span) -> Outcome<Rel> {
        let fields: Fields = parse.columns.iter().map(|column| (column.name.text.clone(), kind_of(column.kind))).collect();
        let (mut pair, mut key, mut regex, mut greedy) = (None, None, None, false);
        let mut quoting = Quoting::default();
        for setting in &parse.settings {
            let place = setting.value.span;
            if setting.name.text == "greedy" {
                greedy = matches!(self.constant(&setting.value)?.literal(), Some(ScalarValue::Boolean(Some(true))));
                continue;
            }
            let value = self.constant(&setting.value)?;
            let Some(text) = value.literal_text().map(str::to_owned) else {
                return Err(Problem::mismatch(place, format!("`{}` is a text", setting.name.text)));
            };
            let chars: Vec<char> = text.chars().collect();
            match (setting.name.text.as_str(), chars.as_slice()) {
                ("pair_delimiter" | "kv_delimiter", []) => {
                    return Err(Problem::new(place, "InvalidSetting", "a delimiter has at least one character"));
                }
                ("pair_delimiter", _) => pair = Some(text),
                ("kv_delimiter", _) => key = Some(text),
                ("quote", [only]) => quoting.quotes.push((*only, *only)),
                ("quote", [open, close]) => quoting.quotes.push((*open, *close)),
                ("quote", _) => return Err(Problem::new(place, "InvalidSetting", "quotes are one character or two")),
                ("escape", [escape]) => quoting.escapes.push(*escape),
                ("escape", _) => return Err(Problem::new(place, "InvalidSetting", "what escapes is one character")),
                ("regex", _) => regex = Some((text, place)),
                _ => {
                    let name = &setting.name;
                    return Err(Problem::new(name.span, "InvalidSetting", format!("`parse-kv` has no setting `{}`", name.text))
                        .hint("it has `pair_delimiter`, `kv_delimiter`, `quote`, `escape`, `greedy` and `regex`"));
                }
            }
        }
        let pattern = match (regex, pair, key) {
            (Some((text, place)), ..) => KvPattern::regex(&text).map_err(|why| Problem::new(place, "BadRegex", why))?,
            (None, Some(pair), Some(key)) => KvPattern::Delimited { pair, key, quoting, greedy },
            (None, None, None) => KvPattern::Words(quoting),
            _ => return Err(Problem::new(span, "InvalidSetting", "`pair_delimiter` and `kv_delimiter` go together")),
        };
        let keys = fields.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        self.taken_apart(rel, &parse.input, (pattern, keys), fields, false, span)
    }

    /// The relation with the fields as columns: at the end, or in the place of columns of their names.
    fn taken_apart(
        &mut self,
        rel: Rel,
        input: &ast::Expr,
        how: impl Into<TakeApart>,
        fields: Fields,
        filters: bool,
        span: Span,
    ) -> Outcome<Rel> {
        let text = convert(self.value(input, Scope::of(&rel.columns))?, ColumnType::String);
        if fields.is_empty() && !filters {
            return Ok(rel);
        }
        // Of fields with one name the last counts, as with `extend`: each has a place of its own in what the text becomes.
        let places: Fields = fields.iter().enumerate().map(|(at, (_, kind))| (at.to_string(), *kind)).collect();
        let mut outputs = rel.outputs();
        for (at, (name, kind)) in fields.into_iter().enumerate() {
            let value = Bound::new(part(column(TAKEN), at), kind, span);
            match outputs.iter_mut().find(|(there, _)| *there == name) {
                Some((_, there)) => *there = value,
                None => outputs.push((name, value)),
            }
        }
        let filters = filters.then_some(places.len());
        let taken = take_apart(text.solid(), how, places);
        let (columns, values) = outputs.into_iter().map(|(name, value)| (BoundColumn::of(name, &value), value.expr)).unzip();
        Ok(Rel::over(rel.depth, RelNode::Taken { input: Arc::new(rel), taken, filters, values }, columns, span))
    }
}
