//! Columns out of one text: what `parse` and `parse-kv` are made of.
//!
//! A function of one text gives a struct of all columns, so that the text is gone through once. `parse` becomes one regular
//! expression over the whole text; `parse-kv` walks from key to key. Then whole columns are converted from text to their types.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, StringViewBuilder, StructArray};
use arrow::compute::nullif;
use arrow_schema::{DataType, Field, Fields as ArrowFields};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regex::Regex;
use strongroom_model::ColumnType;

use super::args::Call;
use super::convert;
use super::regexes;
use super::spec::Make;

/// Names and types of the columns wanted.
pub(crate) type Fields = Vec<(String, ColumnType)>;

/// The column that tells whether the text fitted.
const MATCHED: &str = "\u{1}matched";

/// One part of the pattern of `parse`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Any text, of no interest.
    Skip,
    /// Text that must be there, or a regular expression for it.
    Text(String),
    /// What becomes the next column.
    Column(ColumnType),
}

/// A text is taken apart as a whole: what a pattern leaves over at either end is a misfit.
#[derive(Clone, Debug)]
pub(crate) struct ParsePattern {
    /// What it was made of; two are the same if this is.
    source: String,
    regex: Regex,
    /// The capture group of each column.
    groups: Vec<usize>,
    /// Whether one column that does not convert spoils them all.
    strict: bool,
}

/// How strict `parse` is, and whether texts in it are regular expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strictness {
    Simple,
    Regex,
    Relaxed,
}

impl ParsePattern {
    /// One regular expression of all parts; flags are those of a regular expression.
    ///
    /// # Errors
    /// A sentence, if it is none.
    pub(crate) fn new(parts: &[Part], strictness: Strictness, flags: &str) -> std::result::Result<Self, String> {
        let is_regex = strictness == Strictness::Regex;
        let mut source = match (is_regex, flags) {
            (false, _) => "(?s)\\A".to_owned(),
            (true, "") => "\\A".to_owned(),
            (true, flags) => format!("(?{flags})\\A"),
        };
        let mut count = 0;
        for part in parts {
            match part {
                Part::Skip => source.push_str(".*?"),
                Part::Text(text) if is_regex => {
                    // A group of its own: an alternative in it ends there.
                    source.push_str("(?:");
                    source.push_str(text);
                    source.push(')');
                }
                Part::Text(text) => source.push_str(&regex::escape(text)),
                Part::Column(kind) => {
                    write!(source, "(?P<kql{count}_>{})", shape(*kind, strictness)).expect("a String takes everything");
                    count += 1;
                }
            }
        }
        source.push_str("\\z");
        let Some(regex) = regexes::compile(&source) else {
            return Err(regexes::fault(&source).unwrap_or_else(|| "this is no regular expression".to_owned()));
        };
        let group = |at: usize| regex.capture_names().position(|name| name == Some(format!("kql{at}_").as_str()));
        let groups = (0..count).filter_map(group).collect();
        Ok(Self { source, regex, groups, strict: strictness != Strictness::Relaxed })
    }

    /// The columns of each text, and whether it fitted.
    fn columns(&self, texts: &Texts<'_>) -> (Vec<ArrayRef>, BooleanBufferBuilder) {
        let mut builders: Vec<_> = self.groups.iter().map(|_| StringViewBuilder::with_capacity(texts.rows)).collect();
        let mut fitted = BooleanBufferBuilder::new(texts.rows);
        let mut places = self.regex.capture_locations();
        for row in 0..texts.rows {
            let text = texts.get(row);
            let found = self.regex.captures_read(&mut places, text).is_some();
            fitted.append(found);
            for (builder, group) in builders.iter_mut().zip(&self.groups) {
                let part = if found { places.get(*group) } else { None };
                builder.append_value(part.map_or("", |(from, to)| &text[from..to]));
            }
        }
        (builders.into_iter().map(|mut builder| Arc::new(builder.finish()) as ArrayRef).collect(), fitted)
    }
}

/// What a column of a type looks like in a text.
fn shape(kind: ColumnType, strictness: Strictness) -> String {
    let any = if strictness == Strictness::Regex { ".*" } else { ".*?" };
    let own = match kind {
        ColumnType::Int | ColumnType::Long => r"[-+]?\d+",
        ColumnType::Real | ColumnType::Decimal => r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?",
        _ => return any.to_owned(),
    };
    // What is no number is no reason to give up the other columns.
    if strictness == Strictness::Relaxed { format!("{own}|{any}") } else { own.to_owned() }
}

/// How keys and values are found.
#[derive(Clone, Debug)]
pub(crate) enum KvPattern {
    /// By what is between pairs, and between a key and its value.
    Delimited { pair: String, key: String, quoting: Quoting, greedy: bool },
    /// By words: a value is the word behind its key.
    Words(Quoting),
    /// By a regular expression with two groups.
    Regex(Regex),
}

/// Pairs of quotation marks, and what takes their meaning away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Quoting {
    pub(crate) quotes: Vec<(char, char)>,
    pub(crate) escapes: Vec<char>,
}

impl Quoting {
    /// The quoted text that begins here, without its quotes, and where it ends; none: nothing is quoted here.
    fn read<'t>(&self, text: &'t str) -> Option<(std::borrow::Cow<'t, str>, usize)> {
        let first = text.chars().next()?;
        let close = self.quotes.iter().find(|(open, _)| *open == first)?.1;
        let inside = first.len_utf8();
        let mut plain = None::<String>;
        let mut chars = text[inside..].char_indices();
        while let Some((at, c)) = chars.next() {
            if self.escapes.contains(&c) && (c != close || text[inside + at + c.len_utf8()..].starts_with(close)) {
                let plain = plain.get_or_insert_with(|| text[inside..inside + at].to_owned());
                if let Some((_, escaped)) = chars.next() {
                    plain.push(escaped);
                }
            } else if c == close {
                let end = inside + at + c.len_utf8();
                let value = plain.map_or_else(|| text[inside..inside + at].into(), std::borrow::Cow::Owned);
                return Some((value, end));
            } else if let Some(plain) = &mut plain {
                plain.push(c);
            }
        }
        None
    }
}

impl KvPattern {
    /// A regular expression of key and value.
    ///
    /// # Errors
    /// A sentence, if it is none or has not two groups.
    pub(crate) fn regex(pattern: &str) -> std::result::Result<Self, String> {
        match regexes::compile(pattern) {
            Some(regex) if regex.captures_len() == 3 => Ok(Self::Regex(regex)),
            Some(_) => Err("the pattern needs two groups: one for the key, one for the value".to_owned()),
            None => Err(regexes::fault(pattern).unwrap_or_else(|| "this is no regular expression".to_owned())),
        }
    }

    /// Calls back with each key and its value, in order; false ends it.
    fn each(&self, text: &str, wanted: &[String], mut found: impl FnMut(&str, &str) -> bool) {
        match self {
            Self::Delimited { pair, key, quoting, greedy } => {
                let mut rest = text;
                while let Some((name, value, after)) = next_pair(rest, pair, key, quoting, *greedy) {
                    if !found(name.trim(), value.trim()) {
                        return;
                    }
                    rest = after;
                }
            }
            Self::Words(quoting) => {
                let mut words = Words { rest: text, quoting };
                while let Some(word) = words.next() {
                    if wanted.iter().any(|name| *name == word) {
                        let Some(value) = words.next() else { return };
                        if !found(&word, value.trim()) {
                            return;
                        }
                    }
                }
            }
            Self::Regex(regex) => {
                for captured in regex.captures_iter(text) {
                    let part = |group: usize| captured.get(group).map_or("", |part| part.as_str().trim());
                    if !found(part(1), part(2)) {
                        return;
                    }
                }
            }
        }
    }
}

type Pair<'t> = (std::borrow::Cow<'t, str>, std::borrow::Cow<'t, str>, &'t str);

/// The next key with a value, and what is behind them. Text without a delimiter of keys is passed over.
fn next_pair<'t>(text: &'t str, pair: &str, key: &str, quoting: &Quoting, greedy: bool) -> Option<Pair<'t>> {
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        while let Some(after) = rest.strip_prefix(pair) {
            rest = after.trim_start();
        }
        if rest.is_empty() {
            return None;
        }
        let (name, behind) = if let Some((name, end)) = quoting.read(rest) {
            (name, &rest[end..])
        } else {
            let end = [rest.find(key), rest.find(pair)].into_iter().flatten().min().unwrap_or(rest.len());
            (rest[..end].into(), &rest[end..])
        };
        // Blanks around the delimiter belong to nobody, even where a blank parts pairs.
        let Some(value) = behind.trim_start().strip_prefix(key) else {
            rest = match behind.find(pair) {
                Some(at) => &behind[at + pair.len()..],
                None => return None,
            };
            continue;
        };
        let value = value.trim_start();
        if let Some((plain, end)) = quoting.read(value) {
            let after = &value[end..];
            return Some((name, plain, after.find(pair).map_or("", |at| &after[at + pair.len()..])));
        }
        let end = if greedy { greedy_end(value, pair, key) } else { value.find(pair).unwrap_or(value.len()) };
        return Some((name, value[..end].into(), value[end..].strip_prefix(pair).unwrap_or("")));
    }
}

/// Where a value ends that goes on to the next key: at the last delimiter of pairs before the next delimiter of keys.
fn greedy_end(value: &str, pair: &str, key: &str) -> usize {
    let mut from = 0;
    while let Some(found) = value[from..].find(key) {
        let before = value[..from + found].trim_end();
        if let Some(at) = before.rfind(pair) {
            return at;
        }
        from += found + key.len();
    }
    value.len()
}

/// Runs of letters, digits and `_`, and quoted texts.
struct Words<'t> {
    rest: &'t str,
    quoting: &'t Quoting,
}

impl<'t> Iterator for Words<'t> {
    type Item = std::borrow::Cow<'t, str>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        loop {
            let first = self.rest.chars().next()?;
            if let Some((quoted, end)) = self.quoting.read(self.rest) {
                self.rest = &self.rest[end..];
                return Some(quoted);
            }
            if is_word(first) {
                let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(word.into());
            }
            self.rest = &self.rest[first.len_utf8()..];
        }
    }
}

/// How a text is taken apart.
#[derive(Clone, Debug)]
enum How {
    Parse(ParsePattern),
    /// And the keys wanted.
    Kv(KvPattern, Vec<String>),
}

/// A text as a struct of columns, and behind them whether it fitted.
pub(crate) fn take_apart(text: Expr, how: impl Into<TakeApart>, fields: Fields) -> Expr {
    let how: TakeApart = how.into();
    let told = match &how.0 {
        How::Parse(pattern) => pattern.source.clone(),
        How::Kv(pattern, keys) => format!("{pattern:?} {keys:?}"),
    };
    let function = TakeApartFunction { how: how.0, told, fields, signature: Signature::any(1, Volatility::Immutable) };
    ScalarUDF::new_from_impl(function).call(vec![text])
}

/// Something that takes texts apart.
#[derive(Clone, Debug)]
pub(crate) struct TakeApart(How);

impl From<ParsePattern> for TakeApart {
    fn from(pattern: ParsePattern) -> Self {
        Self(How::Parse(pattern))
    }
}

impl From<(KvPattern, Vec<String>)> for TakeApart {
    fn from((pattern, keys): (KvPattern, Vec<String>)) -> Self {
        Self(How::Kv(pattern, keys))
    }
}

#[derive(Debug)]
struct TakeApartFunction {
    how: How,
    /// Says all of `how`.
    told: String,
    fields: Fields,
    signature: Signature,
}

impl PartialEq for TakeApartFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.told == other.told && self.strict() == other.strict() && self.fields == other.fields
    }
}

impl Eq for TakeApartFunction {}

impl Hash for TakeApartFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.told.hash(state);
        self.fields.hash(state);
    }
}

impl TakeApartFunction {
    fn strict(&self) -> bool {
        matches!(&self.how, How::Parse(pattern) if pattern.strict)
    }

    fn arrow_fields(&self) -> ArrowFields {
        let columns = self.fields.iter().map(|(name, kind)| Field::new(name, kind.query_type(), true));
        columns.chain([Field::new(MATCHED, DataType::Boolean, false)]).collect()
    }

    fn columns(&self, texts: &Texts<'_>) -> Result<StructArray> {
        let (parts, mut fitted) = match &self.how {
            How::Parse(pattern) => pattern.columns(texts),
            How::Kv(pattern, keys) => kv_columns(pattern, texts, keys),
        };
        let mut columns = Vec::with_capacity(parts.len() + 1);
        for (part, (_, kind)) in parts.iter().zip(&self.fields) {
            columns.push(converted(part, *kind)?);
        }
        if self.strict() {
            for (column, _) in columns.iter().zip(&self.fields).filter(|(_, (_, kind))| *kind != ColumnType::String) {
                for row in 0..texts.rows {
                    let fits = fitted.get_bit(row) && column.is_valid(row);
                    fitted.set_bit(row, fits);
                }
            }
        }
        let fitted = BooleanArray::new(fitted.finish(), None);
        if fitted.true_count() < texts.rows && matches!(self.how, How::Parse(_)) {
            let misfits = arrow::compute::not(&fitted)?;
            for (column, (_, kind)) in columns.iter_mut().zip(&self.fields) {
                *column = if *kind == ColumnType::String { emptied(column, &fitted) } else { nullif(column, &misfits)? };
            }
        }
        columns.push(Arc::new(fitted));
        Ok(StructArray::try_new(self.arrow_fields(), columns, None)?)
    }
}

/// A column of texts, empty where they are not to be seen.
fn emptied(column: &ArrayRef, seen: &BooleanArray) -> ArrayRef {
    let texts = column.as_string_view();
    let mut builder = StringViewBuilder::with_capacity(texts.len());
    for row in 0..texts.len() {
        builder.append_value(if seen.value(row) { texts.value(row) } else { "" });
    }
    Arc::new(builder.finish())
}

fn converted(texts: &ArrayRef, kind: ColumnType) -> Result<ArrayRef> {
    match convert::spec_to(kind).make {
        _ if kind == ColumnType::String => Ok(Arc::clone(texts)),
        Make::Kernel(kernel) => {
            let args = [ColumnarValue::Array(Arc::clone(texts))];
            kernel(&Call { args: &args, kinds: &[ColumnType::String], result: kind, rows: texts.len(), full: std::cell::Cell::new(false) })
        }
        _ => exec_err!("no conversion from text to {}", kind.as_str()),
    }
}

/// The first value of each key. Every text fits.
fn kv_columns(pattern: &KvPattern, texts: &Texts<'_>, keys: &[String]) -> (Vec<ArrayRef>, BooleanBufferBuilder) {
    let mut builders: Vec<_> = keys.iter().map(|_| StringViewBuilder::with_capacity(texts.rows)).collect();
    let mut values = vec![None::<String>; keys.len()];
    for row in 0..texts.rows {
        values.fill(None);
        let mut missing = keys.len();
        pattern.each(texts.get(row), keys, |key, value| {
            for (at, _) in keys.iter().enumerate().filter(|(_, name)| *name == key) {
                if values[at].is_none() {
                    values[at] = Some(value.to_owned());
                    missing -= 1;
                }
            }
            missing > 0
        });
        for (builder, value) in builders.iter_mut().zip(&values) {
            builder.append_value(value.as_deref().unwrap_or(""));
        }
    }
    let mut fitted = BooleanBufferBuilder::new(texts.rows);
    fitted.append_n(texts.rows, true);
    (builders.into_iter().map(|mut builder| Arc::new(builder.finish()) as ArrayRef).collect(), fitted)
}

/// The texts of one call.
struct Texts<'a> {
    array: &'a arrow::array::StringViewArray,
    rows: usize,
}

impl Texts<'_> {
    fn get(&self, row: usize) -> &str {
        if self.array.is_valid(row) { self.array.value(row) } else { "" }
    }
}

impl ScalarUDFImpl for TakeApartFunction {
    fn name(&self) -> &'static str {
        match &self.how {
            How::Parse(_) => "kql_parse",
            How::Kv(..) => "kql_parse_kv",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(self.arrow_fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let array = args.args[0].to_array(args.number_rows)?;
        let Some(texts) = array.as_string_view_opt() else { return exec_err!("a text is taken apart, not {}", array.data_type()) };
        Ok(ColumnarValue::Array(Arc::new(self.columns(&Texts { array: texts, rows: texts.len() })?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pattern: &KvPattern, text: &str) -> Vec<String> {
        let wanted = ["a", "b", "c d"].map(str::to_owned);
        let mut found = Vec::new();
        pattern.each(text, &wanted, |key, value| {
            found.push(format!("{key}|{value}"));
            true
        });
        found
    }

    fn delimited(pair: &str, greedy: bool) -> KvPattern {
        let quoting = Quoting { quotes: vec![('"', '"'), ('(', ')')], escapes: vec!['\\'] };
        KvPattern::Delimited { pair: pair.to_owned(), key: "=".to_owned(), quoting, greedy }
    }

    #[test]
    fn pairs_are_found_between_their_delimiters() {
        assert_eq!(pairs(&delimited(";", false), " a = 1 ; b=;;x;b==2"), ["a|1", "b|", "b|=2"]);
        assert_eq!(pairs(&delimited(" ", false), "  a  =  1  b=2 junk \"c d\"=(x y)z b=3"), ["a|1", "b|2", "c d|x y", "b|3"]);
        assert_eq!(pairs(&delimited(" ", true), "a=x y=z b = 1 2  c=3"), ["a|x", "y|z", "b|1 2", "c|3"]);
        assert_eq!(pairs(&delimited(",", false), r#"a="x\"y\\",b="open"#), [r#"a|x"y\"#, "b|\"open"]);
    }

    #[test]
    fn words_follow_their_keys() {
        let words = KvPattern::Words(Quoting { quotes: vec![('\'', '\'')], escapes: vec![] });
        assert_eq!(pairs(&words, "10:00 [x] a:1, b -> 'two words' a"), ["a|1", "b|two words"]);
    }

    #[test]
    fn a_pattern_needs_two_groups() {
        assert!(KvPattern::regex("(a)").is_err());
        assert!(KvPattern::regex("(").is_err());
        assert_eq!(pairs(&KvPattern::regex(r"(\w+)->(\d+)").unwrap(), "a->1b->2"), ["a|1", "b|2"]);
    }
}
