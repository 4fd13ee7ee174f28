//! What the optimizer is given to work with.

use super::explain;

fn filter_of(text: &str) -> String {
    explain(text).lines().find(|line| line.contains("Filter:") || line.contains("filters=")).unwrap_or_default().trim().to_owned()
}

#[test]
fn a_time_filter_is_a_plain_comparison_with_a_constant() {
    let filter = filter_of("Logs | where TimeGenerated > ago(1h)");
    assert!(filter.contains("Logs.TimeGenerated > TimestampNanosecond(1772362800000000000"), "{filter}");
    let filter = filter_of("Logs | where TimeGenerated between (ago(1h) .. now())");
    assert!(
        filter.contains("Logs.TimeGenerated >= TimestampNanosecond") && filter.contains("Logs.TimeGenerated <= TimestampNanosecond"),
        "{filter}"
    );
    let filter = filter_of("Logs | extend x = 1 | project TimeGenerated, x | where TimeGenerated > datetime(2026-01-01)");
    assert!(filter.contains("Logs.TimeGenerated > TimestampNanosecond"), "{filter}");
}

#[test]
fn equality_with_a_constant_is_plain_equality() {
    assert!(filter_of("Logs | where Level == \"error\"").contains("Logs.Level = Utf8View(\"error\")"));
    assert!(
        filter_of("Logs | where Code == 200 and Level == \"error\"")
            .contains("Logs.Code = Int64(200) AND Logs.Level = Utf8View(\"error\")")
    );
    assert!(!filter_of("Logs | where Level in (\"a\", \"b\", \"c\", \"d\")").contains("coalesce"));
    assert!(filter_of("Logs | where Code > 5").contains("Logs.Code > Int64(5)"));
    assert!(!filter_of("Logs | where Level has \"error\"").contains("coalesce"));
}

#[test]
fn a_sort_before_a_take_is_one_top_k() {
    let plan = explain("Logs | sort by TimeGenerated desc | take 5 | project Level");
    assert!(plan.contains("Sort: Logs.TimeGenerated DESC NULLS LAST, fetch=5"), "{plan}");
    let plan = explain("Logs | where Code == 1 | top 3 by TimeGenerated");
    assert!(plan.contains("fetch=3"), "{plan}");
}

#[test]
fn the_beginning_of_a_text_is_a_range_that_statistics_can_use() {
    let filter = filter_of("Logs | where Level startswith_cs \"Er\"");
    assert!(filter.contains("Logs.Level >= Utf8View(\"Er\")") && filter.contains("Logs.Level < Utf8View(\"Es\")"), "{filter}");
    let filter = filter_of("Logs | where Level startswith \"er\"");
    let range = |from: &str, end: &str| format!("Logs.Level >= Utf8View(\"{from}\") AND Logs.Level < Utf8View(\"{end}\")");
    assert!(filter.contains(&range("ER", "Es")) && filter.contains(&range("eR", "es")), "{filter}");
    let filter = filter_of("Logs | where Level =~ \"Inf\"");
    assert!(filter.contains(&range("INF", "Ing")) && filter.contains(&range("iNF", "ing")), "{filter}");
    // The Kelvin sign is a `k`, too, and sorts behind all letters; so is a long s an `s`.
    let filter = filter_of("Logs | where Level startswith \"tok\"");
    assert!(filter.contains(&range("TO", "Tp")) && filter.contains(&range("tO", "tp")), "{filter}");
    assert!(!filter_of("Logs | where Level startswith \"sat\"").contains(">="));
    assert!(!filter_of("Logs | where Level !startswith \"er\"").contains(">="));
}

#[test]
fn letters_of_three_forms_are_found_whatever_range_is_asked_for() {
    let rows = "datatable(s:string)[\"\\u212Aelvin\", \"kelvin\", \"KELVIN\", \"tok\", \"TO\\u212A\", \"t\", \"\"]";
    super::check(&format!("{rows} | where s startswith \"ke\" | count"), &["Count:long", "3"]);
    super::check(&format!("{rows} | where s startswith \"tok\" | count"), &["Count:long", "2"]);
    super::check(&format!("{rows} | where s =~ \"TOK\" | count"), &["Count:long", "2"]);
    super::check(&format!("{rows} | where s !startswith \"t\" | count"), &["Count:long", "4"]);
}

#[test]
fn the_first_rows_of_rows_in_order_need_no_more_than_the_first_below() {
    let plan = explain("Logs | sort by TimeGenerated desc | extend r = row_number(), p = prev(Code) | project r, p | take 5");
    assert!(plan.contains("Sort: Logs.TimeGenerated DESC NULLS LAST, fetch=5"), "{plan}");
    let plan = explain("Logs | sort by TimeGenerated desc | extend n = next(Code) | take 5");
    assert!(!plan.contains("Sort: Logs.TimeGenerated DESC NULLS LAST, fetch"), "{plan}");
    super::check(
        "range x from 1 to 9 step 1 | extend p = prev(x), n = next(x) | take 2",
        &["x:long, p:long, n:long", "1 | null | 2", "2 | 1 | 3"],
    );
}

#[test]
fn a_number_that_a_filter_bounds_is_sorted_by_itself_alone() {
    // NaN has its own place, behind a key of its own; where none can come that key would only hide the order from the scan.
    let sorts = |text: &str| explain(text).lines().filter(|line| line.contains("Sort:")).map(str::trim).collect::<Vec<_>>().join("; ");
    let computed = "Logs | extend Took = iff(Took == 9.5, real(nan), Took)";
    let bounded = sorts(&format!("{computed} | where Took > 1.0 | top 2 by Took"));
    assert!(bounded.contains("Took DESC NULLS LAST, fetch=2") && !bounded.contains("order0"), "{bounded}");
    for unbounded in ["top 2 by Took", "where Code > 1 | top 2 by Took", "where Took > 1.0 or Code > 1 | top 2 by Took"] {
        let sorts = sorts(&format!("{computed} | {unbounded}"));
        assert!(sorts.contains("order0"), "{unbounded}: {sorts}");
    }
    super::check(&format!("{computed} | where Took != 7.0 | top 2 by Took asc nulls last | project Took"), &["Took:real", "-2.0", "0.25"]);
    super::check(&format!("{computed} | where Took > -5.0 | sort by Took | project Took"), &["Took:real", "1.5", "1.5", "0.25", "-2.0"]);
}

#[test]
fn a_stored_number_is_compared_and_sorted_as_it_lies_until_it_meets_a_computed_one() {
    let plan = explain("Logs | where Took > 1.0 | top 2 by Took");
    assert!(plan.contains("Filter: Logs.Took > Float64(1)") && !plan.contains("inf") && !plan.contains("order0"), "{plan}");
    let plan = explain("Logs | project-rename t = Took | join kind=inner (Logs | where Took < 2.0) on Code | where t > Took");
    assert!(!plan.contains("inf"), "{plan}");
    let plan = explain("union Logs, (datatable(Took: real)[real(nan)]) | where Took > 1.0");
    assert!(plan.contains("inf"), "{plan}");
}

#[test]
fn an_answers_columns_are_one_node_above_the_order_they_are_in() {
    let plan = explain("Logs | top 3 by TimeGenerated");
    let first = plan.lines().position(|line| line.contains("Finish: ")).expect("the answer's columns");
    assert!(plan.lines().nth(first + 1).is_some_and(|line| line.contains("Sort: ")) && !plan.contains("coalesce"), "{plan}");
    // Where texts may be null and are what is sorted by, the empty ones that they are read as come first.
    let columns = "datatable(k: long, s: string)[1, \"a\", 2, \"\"] | join kind=leftouter (datatable(k: long, t: string)[1, \"b\"]) on k";
    super::check(&format!("{columns} | project k, t | sort by t asc"), &["k:long, t:string", "2 | ''", "1 | 'b'"]);
    super::check(&format!("{columns} | sort by k desc | project t"), &["t:string", "''", "'b'"]);
}
