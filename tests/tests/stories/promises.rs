//! Every promise of the two documents has a test that is there, or a reason why not: `docs/azure.md` is held to its word.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where the second list begins.
const EXCUSED: &str = "### Not yet, and why";

/// The ids in a cell: `C7, C8`, `Z1–Z5`; words beside them say nothing here.
fn ids(cell: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in cell.split(|c: char| !(c.is_ascii_alphanumeric() || c == '–')) {
        let parts: Vec<&str> = word.split('–').collect();
        let letters = |text: &str| text.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let number = |text: &str| text.trim_start_matches(|c: char| c.is_ascii_uppercase()).parse::<u32>().ok();
        match parts.as_slice() {
            [first, last] if number(first).is_some() && letters(first) == letters(last) => {
                let range = number(first).unwrap()..=number(last).expect("a range ends in an id");
                found.extend(range.map(|n| format!("{}{n}", letters(first))));
            }
            [one] if !one.is_empty() => found.push((*one).to_owned()),
            _ => {}
        }
    }
    found
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Names of functions and modules in the source.
fn names(dir: &Path, all: &mut BTreeSet<String>, tests: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.insert(path.file_name().unwrap().to_string_lossy().into_owned());
            names(&path, all, tests);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.insert(path.file_stem().unwrap().to_string_lossy().into_owned());
            let text = std::fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                let head = line.strip_prefix("async ").unwrap_or(line);
                if let Some(name) = head.strip_prefix("fn ").and_then(|rest| rest.split(['(', '<']).next()) {
                    if marked {
                        tests.insert(name.to_owned());
                    }
                    marked = false;
                } else if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
                    marked = true;
                }
            }
        }
    }
}

#[test]
fn every_promise_is_ticked_by_a_test_that_is_there_or_excused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = std::fs::read_to_string(root.join("docs/azure.md")).unwrap();
    let wanted = std::fs::read_to_string(root.join("tests/testdata/promises.txt")).unwrap();
    let wanted: BTreeSet<&str> = wanted.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect();
    assert_eq!(wanted.iter().filter(|id| !id.starts_with('D')).count(), 224);
    let (mut all, mut tests) = (BTreeSet::new(), BTreeSet::new());
    for dir in ["crates", "tests"] {
        names(&root.join(dir), &mut all, &mut tests);
    }
    assert!(tests.len() > 1_000, "tests are found by their attribute: {}", tests.len());

    let (ticks, excuses) = page.split_once(EXCUSED).expect("the page says what is not there yet");
    let excuses = excuses.split("\n## ").next().unwrap();
    let row = |line: &str| -> Option<(String, String)> {
        let (first, rest) = line.strip_prefix('|')?.trim_end().trim_end_matches('|').split_once('|')?;
        Some((first.to_owned(), rest.to_owned()))
    };
    let mut ticked: BTreeMap<String, String> = BTreeMap::new();
    for (line, text) in ticks.lines().enumerate() {
        let Some((first, rest)) = row(text) else { continue };
        let of: Vec<String> = ids(&first).into_iter().filter(|id| wanted.contains(id.as_str())).collect();
        let paths: Vec<&str> = quoted(&rest).into_iter().filter(|path| path.contains("::") || tests.contains(*path)).collect();
        if of.is_empty() || paths.is_empty() {
            continue;
        }
        let last = |path: &str| path.rsplit("::").next().unwrap().to_owned();
        for path in &paths {
            let name = last(path);
            assert!(tests.contains(&name) || all.contains(&name), "docs/azure.md:{}: there is no {path}", line + 1);
        }
        assert!(paths.iter().any(|path| tests.contains(&last(path))), "docs/azure.md:{}: no test of {of:?}", line + 1);
        for id in of {
            ticked.insert(id, text.to_owned());
        }
    }
    let reasons: BTreeMap<String, String> = excuses
        .lines()
        .filter_map(row)
        .filter(|(_, why)| why.trim().len() > 20)
        .flat_map(|(first, why)| ids(&first).into_iter().map(move |id| (id, why.clone())))
        .filter(|(id, _)| wanted.contains(id.as_str()))
        .collect();
    let neither: Vec<_> = wanted.iter().filter(|id| !ticked.contains_key(**id) && !reasons.contains_key(**id)).collect();
    assert!(neither.is_empty(), "tick these in docs/azure.md with a test, or say why not: {neither:?}");
}

#[test]
fn ids_are_read_as_the_page_writes_them() {
    assert_eq!(ids(" C7, C8 by SDK, Z1–Z3 (2021) "), ["C7", "C8", "by", "SDK", "Z1", "Z2", "Z3", "2021"].map(str::to_owned));
    assert_eq!(quoted("stories `a::b`, `c` (x)"), ["a::b", "c"]);
}
