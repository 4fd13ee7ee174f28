//! The names KQL gives to columns nobody named, and how clashes are settled. (Derived by Microsoft's own parser.)

use std::collections::HashSet;

use strongroom_kql::ast::{Expr, ExprKind, Literal};

use crate::functions;

/// Names already used in one list of columns.
#[derive(Debug, Default)]
pub(super) struct Namer {
    taken: HashSet<String>,
    /// How many `ColumnN` were given.
    numbered: usize,
}

impl Namer {
    pub(super) fn taken<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self { taken: names.into_iter().map(str::to_owned).collect(), numbered: 0 }
    }

    /// Marks a name as used.
    pub(super) fn take(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// The name itself, or with the first free number behind it.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let name = if self.taken.contains(name) {
            let tries = 1..=self.taken.len() + 1;
            let mut candidates = tries.map(|number| format!("{name}{number}"));
            candidates.find(|candidate| !self.taken.contains(candidate)).expect("one more number than names taken")
        } else {
            name.to_owned()
        };
        self.taken.insert(name.clone());
        name
    }

    /// The derived name, or the next `ColumnN`.
    pub(super) fn automatic(&mut self, derived: Option<String>) -> String {
        match derived {
            Some(name) => self.unique(&name),
            None => loop {
                self.numbered += 1;
                let name = format!("Column{}", self.numbered);
                if self.taken.insert(name.clone()) {
                    return name;
                }
            },
        }
    }
}

/// Functions that pass their first argument's name on: bins, conversions, JSON and XML, arithmetic. Sorted.
const TRANSPARENT: &[&str] = &[
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "bin",
    "bin_at",
    "ceiling",
    "cos",
    "cot",
    "degrees",
    "exp",
    "exp10",
    "exp2",
    "floor",
    "gamma",
    "log",
    "log10",
    "log2",
    "loggamma",
    "parse_csv",
    "parse_json",
    "parse_xml",
    "parsejson",
    "pow",
    "radians",
    "round",
    "sign",
    "sin",
    "sqrt",
    "startofday",
    "tan",
    "tobool",
    "toboolean",
    "todatetime",
    "todecimal",
    "todouble",
    "todynamic",
    "toguid",
    "tohex",
    "toint",
    "tolong",
    "toobject",
    "toreal",
    "tostring",
    "totime",
    "totimespan",
];

/// The name of an expression that has none; `None` is `ColumnN`.
pub(super) fn automatic(expr: &Expr) -> Option<String> {
    match &expr.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Path { base, name } => Some(format!("{}_{}", automatic(base)?, name.text)),
        ExprKind::Index { base, index } => {
            let base = automatic(base)?;
            match &index.kind {
                ExprKind::Literal(Literal::String { value, .. }) => Some(format!("{base}_{value}")),
                ExprKind::Literal(Literal::Long(at)) => Some(format!("{base}_{at}")),
                _ => None,
            }
        }
        ExprKind::Call { receiver: None, function, arguments } => {
            let name = function.text.as_str();
            if functions::aggregate(name).is_some() {
                return aggregate(name, arguments.iter().map(|argument| &argument.value)).into_iter().next();
            }
            if matches!(name, "dcount_hll" | "percentile_tdigest") {
                return Some(format!("{name}_{}", automatic(&arguments.first()?.value).unwrap_or_default()));
            }
            if TRANSPARENT.binary_search(&name).is_ok() { automatic(&arguments.first()?.value) } else { None }
        }
        _ => None,
    }
}

/// The names an aggregate's columns get, as many as can be told from its arguments.
pub(super) fn aggregate<'e>(function: &str, mut arguments: impl Iterator<Item = &'e Expr>) -> Vec<String> {
    let first = arguments.next();
    let of = |prefix: &str| vec![format!("{prefix}_{}", first.and_then(automatic).unwrap_or_default())];
    match function {
        "count" if first.is_none() => vec!["count_".to_owned()],
        "make_set" | "make_set_if" | "makeset" => of("set"),
        "make_list" | "make_list_if" | "make_list_with_nulls" | "makelist" => of("list"),
        "make_bag" | "make_bag_if" | "make_dictionary" => of("bag"),
        "arg_max" | "argmax" => extreme("max", first, arguments),
        "arg_min" | "argmin" => extreme("min", first, arguments),
        "take_any" => first.into_iter().chain(arguments).map(|value| automatic(value).unwrap_or_else(|| "take_any_".to_owned())).collect(),
        "percentile" | "percentiles" => arguments
            .map(|point| {
                format!("{function}_{}_{}", first.and_then(automatic).unwrap_or_default(), point_name(point)).replacen(
                    "percentiles",
                    "percentile",
                    1,
                )
            })
            .collect(),
        "percentilew" | "percentilesw" => {
            let name = first.and_then(automatic).unwrap_or_default();
            arguments.skip(1).map(|point| format!("percentile_{name}_{}", point_name(point))).collect()
        }
        "percentiles_array" | "percentilesw_array" => of("percentiles"),
        "buildschema" => of("schema"),
        "covariance" | "covarianceif" | "covariancep" | "covariancepif" => {
            let (name, other) = (first.and_then(automatic).unwrap_or_default(), arguments.next().and_then(automatic).unwrap_or_default());
            vec![format!("{function}_{name}_{other}")]
        }
        _ => of(function),
    }
}

fn extreme<'e>(prefix: &str, first: Option<&Expr>, rest: impl Iterator<Item = &'e Expr>) -> Vec<String> {
    let key = first.and_then(automatic).unwrap_or_else(|| format!("{prefix}_"));
    std::iter::once(key).chain(rest.map(|value| automatic(value).unwrap_or_else(|| format!("{prefix}_")))).collect()
}

/// `99.5` as part of a name: `99_5`.
fn point_name(point: &Expr) -> String {
    match &point.kind {
        ExprKind::Literal(Literal::Long(value)) => value.to_string(),
        ExprKind::Literal(Literal::Real(value)) => value.to_string().replace('.', "_"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_are_searched_are_sorted() {
        assert!(TRANSPARENT.is_sorted());
    }

    #[test]
    fn the_first_free_number_settles_a_clash() {
        let mut namer = Namer::taken(["a", "a1", "Column1"]);
        assert_eq!(namer.unique("a"), "a2");
        assert_eq!(namer.automatic(None), "Column2");
        assert_eq!(namer.automatic(Some("a".to_owned())), "a3");
    }
}
