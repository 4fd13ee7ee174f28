//! Scalar functions: the list of them, and the ways in.
//!
//! A function is a [`ScalarSpec`]: a *kernel* over Arrow columns, or a *macro* that makes other expressions. Kernels see a
//! constant argument as one value; a call of constants alone is computed while the query is planned.

pub(in crate::functions) mod args;
mod arithmetic;
mod arrays;
pub(in crate::functions) mod axis;
pub(in crate::functions) mod cells;
mod convert;
mod dynamics;
mod encoding;
mod geo;
pub(in crate::functions) mod json;
mod logic;
mod network;
mod numbers;
mod packed;
pub(in crate::functions) mod parse;
mod parsing;
pub(in crate::functions) mod prefixes;
mod regexes;
mod series;
mod several;
mod sketched;
mod spec;
mod special;
mod strings;
mod table;
mod text_match;
pub(in crate::functions) mod text_of;
mod times;
mod trees;
mod units;
mod xml;
mod zones;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_families;

use std::sync::LazyLock;

use datafusion::logical_expr::{Expr, ScalarUDF};
use hashbrown::{HashMap, HashSet};
use strongroom_kql::ast::{BinaryOp, SetOp};
use strongroom_model::ColumnType;

pub(super) use convert::convert;
pub(super) use encoding::bytes_of;
pub(super) use regexes::{fault as pattern_fault, pattern_at};
pub(crate) use several::Several;
pub(super) use several::several;
pub(super) use sketched::measured;
pub(crate) use spec::ScalarSpec;

use super::{PathStep, Typed};

static BY_NAME: LazyLock<HashMap<&'static str, &'static ScalarSpec>> = LazyLock::new(|| {
    let mut names = HashMap::new();
    for spec in convert::SPECS.iter().chain(&arithmetic::SPECS).chain(&logic::SPECS).chain(families()) {
        for name in std::iter::once(&spec.name).chain(spec.aliases) {
            let before = names.insert(*name, spec);
            debug_assert!(before.is_none(), "{name} is defined twice");
        }
    }
    names
});

/// The functions that are one kernel each, by family.
fn families() -> impl Iterator<Item = &'static ScalarSpec> {
    let lists: [&'static [ScalarSpec]; 11] = [
        table::SPECS,
        arrays::SPECS,
        geo::SPECS,
        packed::SPECS,
        parsing::SPECS,
        series::SPECS,
        several::SPECS,
        sketched::SPECS,
        special::SPECS,
        units::SPECS,
        zones::SPECS,
    ];
    lists.into_iter().flatten()
}

pub(super) fn by_name(name: &str) -> Option<&'static ScalarSpec> {
    BY_NAME.get(name).copied()
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BY_NAME.keys().copied()
}

pub(super) fn of_operator(op: BinaryOp) -> Option<&'static ScalarSpec> {
    use BinaryOp as B;
    let arithmetic = |index: usize| Some(&arithmetic::OPERATORS[index]);
    let text = |name: &str| table::OPERATORS.iter().find(|spec| spec.name == name);
    match op {
        B::Add => arithmetic(0),
        B::Subtract => arithmetic(1),
        B::Multiply => arithmetic(2),
        B::Divide => arithmetic(3),
        B::Modulo => arithmetic(4),
        B::Colon => text("has"),
        B::MatchesRegex => text("matches_regex"),
        B::Like => text("kql_like"),
        B::LikeCs => text("kql_like_cs"),
        op => text(op.as_str()),
    }
}

pub(super) fn of_set_operator(op: SetOp) -> Option<&'static ScalarSpec> {
    table::OPERATORS.iter().find(|spec| spec.name == op.as_str())
}

pub(super) fn dynamic_get(value: Expr, path: &[PathStep]) -> Typed {
    let mut arguments = vec![Typed::new(value, ColumnType::Dynamic)];
    arguments.extend(path.iter().map(|step| match step {
        PathStep::Key(name) => spec::text(name.clone()),
        PathStep::Index(index) => spec::long(*index),
        PathStep::Computed(step) => step.clone(),
    }));
    if arguments.len() == 1 {
        return arguments.swap_remove(0);
    }
    table::DYNAMIC_GET.call(arguments)
}

/// Values in one array.
pub(super) fn packed_array(values: Vec<Typed>) -> Typed {
    let spec = by_name("pack_array").expect("the table has it");
    spec.call(values)
}

pub(super) fn for_sql() -> Vec<ScalarUDF> {
    let plain = convert::SPECS.iter().chain(&arithmetic::KERNELS[5..]).chain(&logic::SPECS).chain(families());
    let own = plain.chain(&table::OPERATORS).chain([&table::DYNAMIC_GET]);
    // Where DataFusion has a function of that name SQL means that one.
    let native =
        datafusion::functions::all_default_functions().into_iter().chain(datafusion::functions_nested::all_default_nested_functions());
    let taken: HashSet<String> =
        native.flat_map(|function| std::iter::once(function.name().to_owned()).chain(function.aliases().to_vec())).collect();
    own.filter(|spec| spec.name.starts_with(char::is_alphabetic)).filter_map(|spec| spec.for_sql(&taken)).collect()
}
