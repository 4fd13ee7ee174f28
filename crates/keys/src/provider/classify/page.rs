//! The table of `docs/vaults.md`, written from [`samples`](super::samples).

use std::path::Path;

use super::{Answer, Asked, samples};

fn page() -> String {
    let mut rows: Vec<(String, Vec<&'static str>)> = Vec::new();
    for samples::Sample { provider, asked, said, answer } in samples::all() {
        if matches!(answer, Answer::Good | Answer::Transient(_)) {
            continue;
        }
        let text = |text: &str| text.replace("\n\t", " ").replace(['\n', '\r'], "").replace('|', "\\|");
        let words: Vec<String> = [said.code, said.inner].into_iter().flatten().map(text).filter(|text| !text.is_empty()).collect();
        let status = if said.status == 0 { String::new() } else { format!("{} ", said.status) };
        let said = format!("{status}{}", words.join(" · "));
        let key = format!("| {provider} | {} | {} `{}` |", said.trim(), answer.class(), answer.code());
        let asked = match asked {
            Asked::Token => "login",
            Asked::Get => "get",
            Asked::Wrap => "wrap",
            Asked::Unwrap => "unwrap",
        };
        match rows.iter_mut().find(|(found, _)| *found == key) {
            Some((_, all)) if all.contains(&asked) => {}
            Some((_, all)) => all.push(asked),
            None => rows.push((key, vec![asked])),
        }
    }
    let mut page = "| provider | says | means | to |\n|---|---|---|---|\n".to_owned();
    for (row, asked) in rows {
        page.extend([&row, " ", &asked.join(", "), " |\n"]);
    }
    page
}

/// `STRONGROOM_UPDATE_DOCS=1 cargo test -p strongroom-keys` rewrites what stands between the marks.
#[test]
fn the_page_shows_every_answer_that_is_known() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/vaults.md");
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = text.split_once("<!-- answers -->\n").expect("the mark");
    let (found, tail) = rest.split_once("<!-- /answers -->").expect("the mark");
    let expected = page();
    if std::env::var_os("STRONGROOM_UPDATE_DOCS").is_some() {
        std::fs::write(&file, format!("{head}<!-- answers -->\n{expected}<!-- /answers -->{tail}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "run the command in this test's comment");
}
