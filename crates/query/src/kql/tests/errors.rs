//! Complaints say what, where, and what to write instead. The snapshots are read as prose.

use super::problem;

fn complaints(texts: &[&str]) -> String {
    texts.iter().map(|text| problem(text)).collect::<Vec<_>>().join("\n")
}

#[test]
fn unknown_names_have_a_near_one() {
    insta::assert_snapshot!(complaints(&[
        "Logs\n| where TimeGenerated > ago(1h)\n| where Levle == \"x\"",
        "Lgs | count",
        "Logs | extend x = tolwer(Level)",
        "Logs | project-away Level, Nope",
        "Logs | summarize coun() by Level",
        "let threshold = 5; Logs | where Code > treshold",
        "Logs | join kind=inner Hosts on Kode",
    ]));
}

#[test]
fn types_that_do_not_go_together_are_named() {
    insta::assert_snapshot!(complaints(&[
        "Logs | where Code",
        "Logs | extend x = Level + \"!\"",
        "Logs | where TimeGenerated > 5",
        "Logs | where Props.a == Props.b",
        "Logs | summarize count() by Props.a",
        "Logs | extend x = Level.y",
        "Logs | extend x = iff(Ok, 1, \"one\")",
        "Logs | extend x = TimeGenerated + 5",
        "Logs | where TimeGenerated > ago(5)",
        "Logs | sort by Props",
        "Logs | take \"five\"",
    ]));
}

#[test]
fn what_is_not_there_yet_says_so_and_names_an_alternative() {
    insta::assert_snapshot!(complaints(&[
        "Logs | evaluate autocluster()",
        "Logs | extend g = geo_info_from_ip_address(Level)",
        "workspace(\"w\").Logs | count",
        "print parse_user_agent(\"x\", \"browser\")",
        "print array_lenght(dynamic([1]))",
    ]));
}

#[test]
fn rows_and_values_are_not_mixed_up() {
    insta::assert_snapshot!(complaints(&[
        "let x = 5; x | count",
        "Logs | where Code == Hosts",
        "Logs | extend c = count()",
        "Logs | summarize Code by Level",
        "let x = 5",
        "Logs | take Code",
        "let f = (a:long) { a }; print f()",
        "Logs | join kind=inner Hosts on Code > 5",
        "Logs | project-rename Code = Level",
    ]));
}

#[test]
fn what_unfolds_without_end_is_refused() {
    let mut text = "let f0 = (x:long) { x + x };".to_owned();
    for at in 1..30 {
        let before = at - 1;
        text +=
            ["let f", &at.to_string(), " = (x:long) { f", &before.to_string(), "(x) + f", &before.to_string(), "(x) };"].concat().as_str();
    }
    text.push_str("print f29(1)");
    assert!(problem(&text).contains("error[TooComplex]"));
    assert!(problem(&format!("Logs {}", "| extend a = 1".repeat(500))).contains("error[TooComplex]"));
    assert!(problem("range x from 1 to 100000000 step 1").contains("error[TooManyRows]"));
}

#[test]
fn numbers_and_patterns_that_make_no_sense_are_pointed_at() {
    for (text, code, at) in [
        ("Logs | where Level matches regex \"(\"", "BadRegex", "\"(\""),
        ("Logs | extend x = extract(\"(\", 1, Level)", "BadRegex", "\"(\""),
        ("Logs | extend x = replace_regex(Level, \"[\", \"\")", "BadRegex", "\"[\""),
        ("Logs | extend x = countof(Level, \"(\", \"regex\")", "BadRegex", "\"(\""),
        ("Logs | take -1", "InvalidCount", "-1"),
        ("Logs | top -5 by Code", "InvalidCount", "-5"),
        ("range x from 1 to 5 step 0", "InvalidStep", "0"),
        ("range x from 1.0 to 5.0 step 0.0", "InvalidStep", "0.0"),
        ("range t from now() to now() step 0s", "InvalidStep", "0s"),
    ] {
        let told = problem(text);
        assert!(told.contains(code), "{text}: {told}");
        let column = text.rfind(at).unwrap() + 1;
        assert!(told.contains(&format!(":1:{column}")) || told.contains(&"^".repeat(at.len())), "{text}: {told}");
    }
    assert!(problem("Logs | extend x = countof(Level, \"(\")").starts_with("no complaint"), "a plain text, not a pattern");
}
