//! What there is in KQL here: each operator, function, aggregate and plugin with one line of meaning and an example.
//!
//! The one source of `docs/kql.md` and of what editors are told. Tests run every example and compare its answer, and see to it
//! that every function that can be called has a line and that what is said to be missing is missing.

mod aggregates;
mod operators;
#[cfg(test)]
pub(crate) mod page;
mod scalars;

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `| where ..`
    Operator,
    /// A function of values.
    Function,
    /// A function of `summarize`.
    Aggregate,
    /// A function of `evaluate`.
    Plugin,
}

impl Kind {
    /// As editors are told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Function => "function",
            Self::Aggregate => "aggregate",
            Self::Plugin => "plugin",
        }
    }
}

/// Whether it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As in Kusto.
    Supported,
    /// Here, but not in all as in Kusto: in what.
    Different(&'static str),
    /// Not here; what to use instead, if anything (else empty).
    NotYet(&'static str),
}

/// One construct of the language.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name and what it takes.
    pub signature: &'static str,
    /// One line.
    pub meaning: &'static str,
    example: &'static str,
    /// What the example gives: the first row, cells as the tests write them.
    pub answer: &'static str,
    /// Whether it is here.
    pub status: Status,
}

const fn entry(kind: Kind, signature: &'static str, meaning: &'static str, example: &'static str, answer: &'static str) -> Entry {
    Entry { kind, signature, meaning, example, answer, status: Status::Supported }
}

const fn function(signature: &'static str, meaning: &'static str, example: &'static str, answer: &'static str) -> Entry {
    entry(Kind::Function, signature, meaning, example, answer)
}

const fn aggregate(signature: &'static str, meaning: &'static str, example: &'static str, answer: &'static str) -> Entry {
    entry(Kind::Aggregate, signature, meaning, example, answer)
}

const fn operator(signature: &'static str, meaning: &'static str, example: &'static str, answer: &'static str) -> Entry {
    entry(Kind::Operator, signature, meaning, example, answer)
}

const fn plugin(signature: &'static str, meaning: &'static str, example: &'static str, answer: &'static str) -> Entry {
    entry(Kind::Plugin, signature, meaning, example, answer)
}

impl Entry {
    const fn differs(mut self, how: &'static str) -> Self {
        self.status = Status::Different(how);
        self
    }

    const fn not_yet(mut self, instead: &'static str) -> Self {
        self.status = Status::NotYet(instead);
        self
    }

    /// Its name alone.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let end = self.signature.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(self.signature.len());
        &self.signature[..end]
    }

    /// Other names for it.
    #[must_use]
    pub fn aliases(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Function => crate::functions::scalar(self.name()).map_or(&[], |spec| spec.aliases),
            Kind::Aggregate => crate::functions::aggregate(self.name()).map_or(&[], |spec| spec.aliases),
            Kind::Operator | Kind::Plugin => &[],
        }
    }

    /// A query that shows it.
    #[must_use]
    pub fn query(&self) -> String {
        if self.example.contains(" | ") {
            return self.example.to_owned();
        }
        match self.kind {
            Kind::Function => format!("print {}", self.example),
            Kind::Aggregate => format!("range x from 1 to 4 step 1 | summarize {}", self.example),
            Kind::Operator | Kind::Plugin => self.example.to_owned(),
        }
    }
}

/// Tabular operators.
#[must_use]
pub fn operators() -> &'static [Entry] {
    operators::OPERATORS
}

/// Plugins of `evaluate`.
#[must_use]
pub fn plugins() -> &'static [Entry] {
    operators::PLUGINS
}

/// Aggregates.
#[must_use]
pub fn aggregates() -> &'static [Entry] {
    aggregates::ENTRIES
}

/// Scalar functions by family: its title and its functions.
#[must_use]
pub fn families() -> &'static [(&'static str, &'static [Entry])] {
    scalars::FAMILIES
}
