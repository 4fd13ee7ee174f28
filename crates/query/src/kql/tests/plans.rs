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
