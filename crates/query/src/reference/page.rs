//! `docs/kql.md` out of the entries.

use std::fmt::Write as _;

use super::{Entry, Status, aggregates, families, operators, plugins};

const HEAD: &str = "# KQL here

What of the Kusto Query Language this build knows: every construct with one line of meaning and an example. *Supported* means as
in Kusto; what is different says how. What is missing is refused with an error that names it, its place in the query and what to use
instead: an answer is never silently another one.

This page is made from the tables in `crates/query/src/reference`; a test runs every example and compares its answer, and compares this
page (`STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-query` rewrites it). Answers show the first row.
`GET /v1/workspaces/{workspace}/metadata` gives the same to editors, with the tables of the workspace.

SQL texts may call the functions by the same names where SQL has no function of that name itself; values of type `dynamic` are JSON text
there.

";

/// A cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Code in a cell of a table: more ticks than it has itself.
fn code(text: &str) -> String {
    let text = cell(text);
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

fn table(title: &str, entries: &[Entry], page: &mut String) {
    let mut put = |line: std::fmt::Arguments<'_>| page.write_fmt(line).expect("a String takes everything");
    put(format_args!("\n## {title}\n\n| construct | meaning | example | answer | |\n|---|---|---|---|---|\n"));
    for entry in entries {
        let names = std::iter::once(code(entry.signature)).chain(entry.aliases().iter().map(|alias| code(alias)));
        let answer = if entry.answer.is_empty() { String::new() } else { code(entry.answer) };
        let status = match entry.status {
            Status::Supported => "supported".to_owned(),
            Status::Different(how) => format!("different: {}", cell(how)),
            Status::NotYet("") => "not yet".to_owned(),
            Status::NotYet(instead) => format!("not yet: {}", cell(instead)),
        };
        put(format_args!(
            "| {} | {} | {} | {answer} | {status} |\n",
            names.collect::<Vec<_>>().join(", "),
            cell(entry.meaning),
            code(&entry.query()),
        ));
    }
}

/// The page; `missing` are functions that are not here, and what to use instead.
pub(crate) fn page(missing: &[(&str, Option<&str>)]) -> String {
    let mut page = HEAD.trim_end().to_owned();
    page.push('\n');
    table("Tabular operators", operators(), &mut page);
    table("Plugins of `evaluate`", plugins(), &mut page);
    table("Aggregates", aggregates(), &mut page);
    for (title, entries) in families() {
        table(&format!("Functions: {}", title.to_lowercase()), entries, &mut page);
    }
    page.push_str("\n## Functions that are not here yet\n\n| function | instead |\n|---|---|\n");
    for (name, instead) in missing {
        writeln!(page, "| `{name}` | {} |", cell(instead.unwrap_or(""))).expect("a String takes everything");
    }
    page
}
