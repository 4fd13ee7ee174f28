//! The reference is true: every example gives its answer, what is said to be missing is missing, nothing callable lacks a line.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::fixture::table;
use crate::functions;
use crate::kql::known;
use crate::reference::{self, Entry, Status};

/// Functions behind others, which nobody calls by these names.
const INNER: &[&str] = &[
    "array_sort_asc_together",
    "array_sort_desc_together",
    "as_dynamic",
    "bag_pack_filled",
    "extract_json_text",
    "extract_text",
    "first_not_empty",
    "percentile_tdigest_value",
    "series_decompose_anomalies_parts",
    "series_decompose_parts",
    "series_fft_parts",
    "series_fit_poly_parts",
    "series_ifft_parts",
    "series_periods_detect_parts",
    "series_periods_validate_parts",
];

fn entries() -> impl Iterator<Item = &'static Entry> {
    let functions = reference::families().iter().flat_map(|(_, entries)| entries.iter());
    reference::operators().iter().chain(reference::plugins()).chain(reference::aggregates()).chain(functions)
}

/// The first row of an answer, or the error's first line.
fn answer(query: &str) -> String {
    let parsed = strongroom_kql::parse(query);
    if let Some(first) = parsed.diagnostics.first() {
        return format!("error[{}]: {}", first.code.as_str(), first.message);
    }
    match catch_unwind(AssertUnwindSafe(|| table(query))) {
        Ok(Ok(table)) => table.rows.first().map_or_else(|| "no rows".to_owned(), |row| row.join(", ")),
        Ok(Err(error)) => error.lines().next().unwrap_or_default().to_owned(),
        Err(_) => "panic".to_owned(),
    }
}

#[test]
fn every_example_gives_its_answer() {
    let mut wrong = Vec::new();
    for entry in entries() {
        let found = answer(&entry.query());
        let right = match entry.status {
            Status::NotYet(_) => found.starts_with("error[NotSupportedYet]") || found.starts_with("error[SYN"),
            _ => found == entry.answer,
        };
        if !right {
            wrong.push(format!("{}\t{found}", entry.signature));
        }
    }
    assert!(wrong.is_empty(), "{} entries are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn everything_that_can_be_called_has_a_line_and_only_one() {
    let mut lines = HashSet::new();
    for entry in entries() {
        assert!(lines.insert((entry.kind.as_str(), entry.name())), "{} has two lines", entry.name());
    }
    let named: HashSet<&str> = entries().flat_map(|entry| std::iter::once(entry.name()).chain(entry.aliases().iter().copied())).collect();
    let inner: HashSet<&str> = INNER.iter().copied().collect();
    let mut without: Vec<&str> =
        functions::scalar_names().chain(functions::aggregate_names()).filter(|name| !named.contains(name)).collect();
    without.retain(|name| !inner.contains(name));
    without.sort_unstable();
    assert!(without.is_empty(), "no line for {without:?}");
    let named: HashSet<&str> = named.into_iter().filter(|name| reference::plugins().iter().all(|plugin| plugin.name() != *name)).collect();
    let both: Vec<&str> = known::functions().iter().map(|(name, _)| *name).filter(|name| named.contains(name)).collect();
    assert!(both.is_empty(), "here and said to be missing: {both:?}");
    assert_eq!(reference::operators().len(), 52, "the operators of the language");
}

#[test]
fn the_page_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/kql.md");
    let page = reference::page::page(known::functions());
    if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(there == page, "docs/kql.md is not what the tables say: STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-query rewrites it");
}
