//! `top-nested`, `top-hitters`, `sample`, `reduce`, `project-by-names`, and rows that are computed once.

use super::fixture::{problem, table};
use super::{check, explain};

const SALES: &str = "datatable(reg:string, cat:string, v:long)[\"n\", \"a\", 10, \"n\", \"b\", 20, \"n\", \"c\", 1, \"s\", \"a\", 5, \"s\", \"c\", 6, \"w\", \"a\", 2]";

#[test]
fn the_largest_groups_and_the_largest_within_them() {
    check(
        &format!("{SALES} | top-nested 2 of reg by sum(v), top-nested 1 of cat by max(v)"),
        &["reg:string, aggregated_reg:long, cat:string, aggregated_cat:long", "'n' | 31 | 'b' | 20", "'s' | 11 | 'c' | 6"],
    );
    check(
        &format!("{SALES} | top-nested 1 of reg by sum(v) asc, top-nested of c = cat by N = count()"),
        &["reg:string, aggregated_reg:long, c:string, N:long", "'w' | 2 | 'a' | 1"],
    );
    check(&format!("{SALES} | top-nested of reg by Total = sum(v)"), &["reg:string, Total:long", "'n' | 31", "'s' | 11", "'w' | 2"]);
    check(
        "datatable(a:long, b:long, c:long)[1, 1, 1, 1, 1, 2, 1, 2, 1, 2, 1, 1] | top-nested 1 of a by count(), top-nested 1 of b by count(), top-nested 1 of c by max(c)",
        &["a:long, aggregated_a:long, b:long, aggregated_b:long, c:long, aggregated_c:long", "1 | 3 | 1 | 2 | 2 | 2"],
    );
}

#[test]
fn the_rest_of_a_level_may_have_a_name() {
    check(
        &format!("{SALES} | top-nested 1 of reg with others = \"rest\" by sum(v) | sort by aggregated_reg desc"),
        &["reg:string, aggregated_reg:long", "'n' | 31", "'rest' | 13"],
    );
    // What falls out at a level without a name is told by the level below it that has one.
    check(
        &format!(
            "{SALES} | top-nested 1 of reg by sum(v), top-nested 1 of cat with others = \"rest\" by sum(v) | sort by aggregated_reg desc, aggregated_cat desc"
        ),
        &[
            "reg:string, aggregated_reg:long, cat:string, aggregated_cat:long",
            "'n' | 31 | 'b' | 20",
            "'n' | 31 | 'rest' | 11",
            "'' | null | 'rest' | 13",
        ],
    );
    check(
        &format!(
            "{SALES} | top-nested 1 of reg with others = \"all\" by sum(v), top-nested 1 of cat with others = \"rest\" by max(v) | sort by aggregated_reg desc, aggregated_cat desc"
        ),
        &[
            "reg:string, aggregated_reg:long, cat:string, aggregated_cat:long",
            "'n' | 31 | 'b' | 20",
            "'n' | 31 | 'rest' | 10",
            "'all' | 13 | 'rest' | 6",
        ],
    );
    // Nothing is left over: there is no row for it.
    check(&format!("{SALES} | top-nested 9 of reg with others = \"rest\" by sum(v) | count"), &["Count:long", "3"]);
    assert!(problem("print a = 1 | top-nested 1 of a with others = \"x\" by count()").contains("the others of `a` must be a long"));
}

#[test]
fn nulls_are_a_group_of_their_own() {
    check(
        "datatable(k:long, v:long)[long(null), 5, long(null), 5, 1, 3] | top-nested 1 of k by sum(v), top-nested 1 of v by count()",
        &["k:long, aggregated_k:long, v:long, aggregated_v:long", "null | 10 | 5 | 2"],
    );
}

#[test]
fn top_hitters_count_or_weigh() {
    check(&format!("{SALES} | top-hitters 2 of cat"), &["cat:string, approximate_count_cat:long", "'a' | 3", "'c' | 2"]);
    check(&format!("{SALES} | top-hitters 1 of cat by v"), &["cat:string, approximate_sum_v:long", "'b' | 20"]);
    check(&format!("{SALES} | top-hitters 1 of k = strcat(cat, \"!\")"), &["k:string, approximate_count_k:long", "'a!' | 3"]);
}

#[test]
fn a_sample_is_random() {
    check("Logs | sample 2 | count", &["Count:long", "2"]);
    check("Logs | sample 100 | count", &["Count:long", "6"]);
    check("Logs | sample-distinct 2 of Code | count", &["Count:long", "2"]);
    check("Logs | sample-distinct 9 of Level | count", &["Count:long", "4"]);
    // A thousand rows leave the same one in ten draws once in 10^27.
    let draws: std::collections::HashSet<String> =
        (0..10).map(|_| table("range x from 1 to 1000 step 1 | sample 1").unwrap().rows[0][0].clone()).collect();
    assert!(draws.len() > 1, "{draws:?}");
}

#[test]
fn texts_are_gathered_by_likeness() {
    check(
        "datatable(m:string)[\"user ann logged in\", \"user bob logged in\", \"disk full\", \"disk full\", \"user eve logged in\"] | reduce by m with threshold=0.6",
        &[
            "Pattern:string, Count:long, Representative:string",
            "'user * logged in' | 3 | 'user ann logged in'",
            "'disk full' | 2 | 'disk full'",
        ],
    );
    check(
        "range x from 1 to 10 step 1 | project s = strcat(\"foo\", \"Z\", tostring(x)) | reduce by s with characters=\"Z\" | project Pattern, Count",
        &["Pattern:string, Count:long", "'foo*' | 10"],
    );
    check(
        "range x from 1 to 10 step 1 | project s = strcat(\"foo\", \"Z\", tostring(x)) | reduce by s",
        &["Pattern:string, Count:long, Representative:string", "'others' | 10 | ''"],
    );
    assert!(problem("Logs | reduce by Level with threshold=2").contains("a share from 0 to 1"));
    assert!(problem("Logs | reduce kind=source by Level").contains("not supported yet"));
}

#[test]
fn columns_by_name_come_in_the_order_of_their_names() {
    let source = "print Name = 1, Age = 2, City = 3, Country = 4";
    check(&format!("{source} | project-by-names \"City\", \"Name\", \"Nope\""), &["City:long, Name:long", "3 | 1"]);
    check(&format!("{source} | project-by-names \"C*\""), &["City:long, Country:long", "3 | 4"]);
    check(
        &format!("{source} | project-by-names dynamic([\"Country\", \"A*\"]), \"*\""),
        &["Country:long, Age:long, Name:long, City:long", "4 | 2 | 1 | 3"],
    );
    assert!(problem(&format!("{source} | project-by-names Name")).contains("UnknownColumn"));
}

#[test]
fn materialized_rows_are_the_same_wherever_they_are_asked_for() {
    let same = |text: &str| {
        for _ in 0..5 {
            let rows = table(text).unwrap().rows;
            assert_eq!(rows.len(), 2, "{text}");
            assert_eq!(rows[0], rows[1], "{text}");
        }
    };
    same("let s = materialize(range x from 1 to 1000 step 1 | sample 1); union s, s");
    same("range x from 1 to 1000 step 1 | sample 1 | as hint.materialized=true T | union T");
    same("let s = materialize(range x from 1 to 1000 step 1 | sample 1); union (print x = toscalar(s)), s");
    same("let m = toscalar(print rand()); union (print m), (print m)");
    check(
        "let s = materialize(Logs | where isnotnull(Code) | sample 3); s | join kind=inner s on TimeGenerated | where Code != Code1 | count",
        &["Count:long", "0"],
    );
}

#[test]
fn materialized_rows_keep_their_order() {
    check(
        "let s = materialize(Logs | sort by TimeGenerated asc | project Code); union (s | take 1), (s | extend n = row_number() | where n == 3 | project-away n) | sort by Code asc",
        &["Code:long", "200", "404"],
    );
}

#[test]
fn what_is_asked_for_once_is_not_held() {
    let plan = explain("let s = materialize(Logs | where Code == 1); s | project Code");
    assert!(!plan.contains("Once") && plan.contains("projection=[Code]"), "{plan}");
    let plan = explain("let s = materialize(Logs | where Code == 1); union s, s");
    assert_eq!(plan.matches("Once").count(), 2, "{plan}");
    let plan = explain("let m = toscalar(Hosts | count); Logs | where Code > m");
    assert!(!plan.contains("Once"), "{plan}");
}

#[test]
fn a_name_given_by_as_is_known_to_what_follows() {
    check(
        "Hosts | where Code == 200 | as Found | union withsource=t (Found | take 1) | summarize n = count() by t | sort by t asc",
        &["t:string, n:long", "'Found' | 2", "'union_arg1' | 1"],
    );
    check("Hosts | as A | union withsource=t A | summarize n = count() by t", &["t:string, n:long", "'A' | 8"]);
    check(
        "union withsource=t H*, (Logs | take 2) | summarize n = count() by t | sort by n desc",
        &["t:string, n:long", "'Hosts' | 4", "'union_arg1' | 2"],
    );
    check("union withsource=t L*, H* | summarize n = count() by t | sort by n desc", &["t:string, n:long", "'Logs' | 6", "'Hosts' | 4"]);
}

#[test]
fn a_filter_on_the_left_of_an_innerunique_join_comes_before_it() {
    let left = "datatable(k:long, v:string)[1, \"a\", 1, \"b\"]";
    check(
        &format!("{left} | join kind=innerunique (print k = 1, w = 5) on k | where v == \"b\""),
        &["k:long, v:string, k1:long, w:long", "1 | 'b' | 1 | 5"],
    );
    check(&format!("{left} | join (print k = 1, w = 5) on k | where w == 5 and v != \"\" | count"), &["Count:long", "1"]);
}
