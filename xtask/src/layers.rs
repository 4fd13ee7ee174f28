//! The import law: the table in `ARCHITECTURE.md` against what `cargo metadata` says.
//!
//! Looks at normal dependencies of `crates/*` alone; tests, benches and this crate may import anything.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Libraries that one crate alone may use, and which.
const RESERVED: &[(&str, &[&str])] = &[
    ("datafusion", &["query"]),
    ("axum", &["server", "keyvault"]),
    ("aes-gcm", &["envelope"]),
    ("chacha20poly1305", &["envelope"]),
    ("hkdf", &["envelope"]),
    ("hpke", &["envelope"]),
    ("moka", &["store", "query", "server"]),
    ("sqlx", &["catalog"]),
    ("simd-json", &["ingest", "query"]),
    ("clap", &["cli"]),
    ("cryptoki", &["keys"]),
];
/// Crates that must build without an async runtime.
const WITHOUT_TOKIO: &[&str] = &["model", "kql", "envelope"];

/// Compares the table with the truth.
pub(crate) fn check() -> Result<(), String> {
    let text =
        std::fs::read_to_string("ARCHITECTURE.md").map_err(|error| format!("ARCHITECTURE.md: {error}; run from the repository's root"))?;
    let law = read_table(&text)?;
    let metadata = MetadataCommand::new().no_deps().exec().map_err(|error| error.to_string())?;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("strongroom-") else { continue };
        if !package.manifest_path.as_str().contains("/crates/") {
            continue;
        }
        seen.insert(name.to_owned());
        let Some(allowed) = law.get(name) else {
            wrong.push(format!("{name}: no row in the table of ARCHITECTURE.md"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal) {
            if let Some(import) = dependency.name.strip_prefix("strongroom-")
                && !allowed.contains(import)
            {
                wrong.push(format!("{name} imports {import}, the table does not allow it"));
            }
            for (library, owners) in RESERVED {
                if dependency.name == *library && !owners.contains(&name) {
                    wrong.push(format!("{name} uses {library}, which is for {} alone", owners.join(" and ")));
                }
            }
            if dependency.name == "tokio" && WITHOUT_TOKIO.contains(&name) {
                wrong.push(format!("{name} uses tokio; it is to stay without a runtime"));
            }
        }
    }
    for name in law.keys().filter(|name| !seen.contains(*name)) {
        wrong.push(format!("the table has a row for {name}, there is no such crate"));
    }
    if wrong.is_empty() {
        println!("layers: {} crates keep to the table", seen.len());
        Ok(())
    } else {
        Err(format!("layers:\n  {}", wrong.join("\n  ")))
    }
}

/// Rows `| \`crate\` | what | may import | … |` between the two marks; an import list is words, or `–` for none.
fn read_table(text: &str) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let start = text.find("<!-- layers -->").ok_or("ARCHITECTURE.md has no <!-- layers --> mark")?;
    let end = text.find("<!-- /layers -->").ok_or("ARCHITECTURE.md has no <!-- /layers --> mark")?;
    let mut law = BTreeMap::new();
    for line in text[start..end].lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, imports, ..] = cells.as_slice() else { return Err(format!("not a row of the layer table: {line}")) };
        let imports = imports.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "–").map(str::to_owned).collect();
        law.insert(name.trim_matches('`').to_owned(), imports);
    }
    Ok(law)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_row_by_row() {
        let law = read_table(
            "<!-- layers -->\n| crate | what | may import |\n|---|---|---|\n| `a` | x | – | y |\n| `b` | x | a, c | y |\n<!-- /layers -->",
        )
        .unwrap();
        assert!(law["a"].is_empty());
        assert_eq!(law["b"].iter().map(String::as_str).collect::<Vec<_>>(), ["a", "c"]);
    }
}
