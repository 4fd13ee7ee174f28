//! `search` and `find`.

use super::fixture::problem;
use super::{check, explain};

#[test]
fn a_term_is_looked_for_in_every_column_of_every_table() {
    check(
        "search \"ann\"",
        &[
            "$table:string, Code:long, Owner:string, Level:string, TimeGenerated:datetime, Took:real, Ok:bool, Props:dynamic, has space.dot:string",
            "'Hosts' | 200 | 'ann' | 'x' | null | null | null | null | ''",
        ],
    );
    check("search \"info\" | summarize n = count() by ['$table']", &["$table:string, n:long", "'Logs' | 2"]);
    check("search in (Hosts) \"nobody\" | project ['$table'], Owner", &["$table:string, Owner:string", "'Hosts' | 'nobody'"]);
    check(
        "search in (H*, (Logs | where Ok)) \"200\" | summarize n = count() by ['$table'] | sort by ['$table'] asc",
        &["$table:string, n:long", "'Hosts' | 2", "'search_arg1' | 2"],
    );
}

#[test]
fn numbers_times_and_bags_are_searched_as_text() {
    check(
        "search \"404\" | summarize n = count() by ['$table'] | sort by ['$table'] asc",
        &["$table:string, n:long", "'Hosts' | 1", "'Logs' | 1"],
    );
    check("Logs | search 404 | count", &["Count:long", "1"]);
    check("Logs | search \"hi\" | project Code", &["Code:long", "200"]);
    check("Logs | search \"2026\" | count", &["Count:long", "6"]);
    check("Logs | search \"false\" | count", &["Count:long", "2"]);
    check("print a = 1.25 | search \"25\" | count", &["Count:long", "1"]);
}

#[test]
fn stars_in_a_term_ask_for_prefixes_suffixes_and_parts() {
    let rows = "datatable(s:string)[\"alpha beta\", \"beta alphabet\", \"gamma\", \"x-alp.ha\"]";
    let check_rows = |term: &str, expected: &[&str]| check(&format!("{rows} | search {term} | project s"), expected);
    check_rows("\"alpha\"", &["s:string", "'alpha beta'"]);
    check_rows("\"alph*\"", &["s:string", "'alpha beta'", "'beta alphabet'"]);
    check_rows("\"*bet\"", &["s:string", "'beta alphabet'"]);
    check_rows("\"*amm*\"", &["s:string", "'gamma'"]);
    check_rows("\"al*bet\"", &["s:string", "'beta alphabet'"]);
    check_rows("\"alp.h*\"", &["s:string", "'x-alp.ha'"]);
    check_rows("\"*\" and \"gamma\"", &["s:string", "'gamma'"]);
    check_rows("*", &["s:string", "'alpha beta'", "'beta alphabet'", "'gamma'", "'x-alp.ha'"]);
}

#[test]
fn terms_are_joined_by_and_or_and_not() {
    let rows = "datatable(s:string, n:long)[\"error one\", 1, \"error two\", 2, \"ok\", long(null)]";
    let check_rows = |p: &str, expected: &[&str]| check(&format!("{rows} | search {p} | project s"), expected);
    check_rows("\"error\" and \"two\"", &["s:string", "'error two'"]);
    check_rows("\"one\" or \"ok\"", &["s:string", "'error one'", "'ok'"]);
    check_rows("not(\"error\")", &["s:string", "'ok'"]);
    check_rows("not(\"ok\" or \"two\")", &["s:string", "'error one'"]);
    check_rows("\"error\" and n == 2", &["s:string", "'error two'"]);
    // `==` is total: what is null is not 2.
    check_rows("not(n == 2)", &["s:string", "'error one'", "'ok'"]);
    check_rows("n between (1 .. 2) and s endswith \"ne\"", &["s:string", "'error one'"]);
    check_rows("n in (2, 3) and \"error\"", &["s:string", "'error two'"]);
    check("let t = \"ok\"; datatable(s:string)[\"ok\", \"no\"] | search t | project s", &["s:string", "'ok'"]);
}

#[test]
fn a_colon_looks_in_one_column() {
    let rows = "datatable(a:string, b:string)[\"x y\", \"z\", \"z\", \"x\"]";
    check(&format!("{rows} | search a:\"x\" | project a"), &["a:string", "'x y'"]);
    check(&format!("{rows} | search a:\"Z\" or b:\"z\" | project a"), &["a:string", "'x y'", "'z'"]);
    check(&format!("{rows} | search *:\"y\" | project a"), &["a:string", "'x y'"]);
    check("datatable(n:long)[10, 210] | search n:\"10\" | project n", &["n:long", "10"]);
    check("datatable(n:long)[10, 210] | search n:10 | project n", &["n:long", "10"]);
    check("datatable(a:string)[\"prefix\", \"fixed\"] | search a:\"pre*\" | project a", &["a:string", "'prefix'"]);
}

#[test]
fn case_counts_where_the_search_says_so() {
    let rows = "datatable(s:string)[\"Blue\", \"blue\", \"bluest\"]";
    check(&format!("{rows} | search \"blue\" | count"), &["Count:long", "2"]);
    check(&format!("{rows} | search kind=case_sensitive \"blue\" | project s"), &["s:string", "'blue'"]);
    check(&format!("{rows} | search kind=case_sensitive \"blu*\" | project s"), &["s:string", "'blue'", "'bluest'"]);
    check(&format!("{rows} | search kind=case_sensitive s has \"Blue\" | project s"), &["s:string", "'Blue'"]);
    check(&format!("{rows} | search kind=case_sensitive \"b*st\" | project s"), &["s:string", "'bluest'"]);
    check(&format!("{rows} | search \"B*E\" | project s"), &["s:string", "'Blue'", "'blue'"]);
}

#[test]
fn a_column_that_only_some_tables_have_is_null_in_the_others() {
    check("search Owner == \"ann\" | project ['$table'], Code", &["$table:string, Code:long", "'Hosts' | 200"]);
    check(
        "search \"500\" or Owner == \"bob\" | summarize n = count() by ['$table'] | sort by ['$table'] asc",
        &["$table:string, n:long", "'Hosts' | 1", "'Logs' | 2"],
    );
    check(
        "search isempty(Owner) and Code == 404 | summarize n = count() by ['$table'] | sort by ['$table'] asc",
        &["$table:string, n:long", "'Hosts' | 1", "'Logs' | 1"],
    );
    assert!(problem("search Ownr == \"x\"").contains("there is no column `Ownr`"));
}

#[test]
fn views_are_searched_and_other_functions_are_not() {
    check(
        "let A = view () { print m = \"needle one\" }; let B = () { print m = \"needle two\" }; search \"needle\" | project ['$table'], m",
        &["$table:string, m:string", "'A' | 'needle one'"],
    );
    check(
        "let A = view () { range x from 1 to 2 step 1 }; union withsource=s A* | project s, x",
        &["s:string, x:long", "'A' | 1", "'A' | 2"],
    );
}

#[test]
fn the_table_column_comes_first_and_once() {
    check("datatable(s:string)[\"a b\"] | search \"a\" | search \"b\"", &["$table:string, s:string", "'search_arg0' | 'a b'"]);
    check("Hosts | search \"ann\" | project ['$table']", &["$table:string", "'Hosts'"]);
    check("Logs | where Ok | as Good | search \"404\" | project ['$table'], Code", &["$table:string, Code:long", "'Good' | 404"]);
}

#[test]
fn a_searched_term_reaches_the_scan_as_has() {
    let plan = explain("Logs | search \"error\" | project Code");
    assert!(plan.contains("kql_has") || plan.contains("has("), "{plan}");
    // No number and no time can show it.
    assert!(!plan.contains("Logs.Took") && !plan.contains("TimeGenerated"), "{plan}");
}

#[test]
fn find_shows_what_was_asked_about_and_packs_the_rest() {
    check(
        "find in (Hosts, Logs) where Code == 404",
        &[
            "source_:string, Code:long, Level:string, pack_:dynamic",
            "'Hosts' | 404 | 'z' | {\"Owner\":\"\"}",
            "'Logs' | 404 | '' | {\"TimeGenerated\":\"2026-03-01T10:50:00.0000000Z\",\"Took\":-2.0,\"Ok\":true,\"Props\":[1,2],\"has space.dot\":\"s\"}",
        ],
    );
    check(
        "find withsource=t in (Hosts) where Owner has \"bob\" project Code, Owner",
        &["t:string, Code:long, Owner:string", "'Hosts' | 200 | 'bob'"],
    );
    check("find \"nobody\" | project source_", &["source_:string", "'Hosts'"]);
    check(
        "find in (Hosts, Logs) where Code == 404 project Owner, Took, Code:string, pack_all() | project-away pack_",
        &["source_:string, Owner:string, Took:real, Code:string", "'Hosts' | '' | null | '404'", "'Logs' | '' | -2.0 | '404'"],
    );
}

#[test]
fn find_leaves_out_tables_without_the_columns_asked_about() {
    check("find where Owner == \"ann\" project Code, Owner", &["source_:string, Code:long, Owner:string", "'Hosts' | 200 | 'ann'"]);
    check(
        "find in ((print a = 1, x = 2), (print a = \"1\")) where a == 1",
        &[
            "source_:string, a_long:long, a_string:string, pack_:dynamic",
            "'find_arg0' | 1 | '' | {\"x\":2}",
            "'find_arg1' | null | '1' | {}",
        ],
    );
    assert!(problem("find in ((print a = 1), (print a = \"1\")) where a == 1 project a").contains("say which it shall be: `a:long`"));
    assert!(problem("find in (Hosts) where Code == 1 project Nope").contains("UnknownColumn"));
}
