//! `make-series`: arrays along an axis.

use super::fixture::{check, problem};

#[test]
fn the_end_is_left_out_and_gaps_are_filled() {
    check(
        "datatable(t:long, v:long)[1, 10, 2, 20, 2, 5, 4, 40, 5, 50] | make-series s = sum(v), count(), mx = max(v) default = long(null) on t from 1 to 5 step 1",
        &["s:dynamic, count_:dynamic, mx:dynamic, t:dynamic", "[10,25,0,40] | [1,2,0,1] | [10,20,null,40] | [1,2,3,4]"],
    );
    // The last bin may be cut.
    check(
        "datatable(t:long, v:long)[1, 10, 9, 90] | make-series s = sum(v) on t from 1 to 10 step 4",
        &["s:dynamic, t:dynamic", "[10,0,90] | [1,5,9]"],
    );
    check("range t from 1 to 5 step 1 | make-series n = count() on t in range(1, 5, 2)", &["n:dynamic, t:dynamic", "[2,2,1] | [1,3,5]"]);
}

#[test]
fn groups_come_first_and_all_series_have_one_axis() {
    check(
        "datatable(t:datetime, g:string, v:real)[datetime(2020-01-01 05:00), 'a', 1.0, datetime(2020-01-03), 'b', 2.0, datetime(2020-01-03 23:00), 'b', 4.0] \
         | make-series avg(v) on t step 1d by g | sort by g asc",
        &[
            "g:string, avg_v:dynamic, t:dynamic",
            "'a' | [1.0,0.0,0.0] | [\"2020-01-01T00:00:00.0000000Z\",\"2020-01-02T00:00:00.0000000Z\",\"2020-01-03T00:00:00.0000000Z\"]",
            "'b' | [0.0,0.0,3.0] | [\"2020-01-01T00:00:00.0000000Z\",\"2020-01-02T00:00:00.0000000Z\",\"2020-01-03T00:00:00.0000000Z\"]",
        ],
    );
}

#[test]
fn nothing_makes_no_row_unless_nonempty() {
    let nothing = "datatable(t:long, v:long)[]";
    check(&format!("{nothing} | make-series sum(v) on t from 1 to 4 step 1"), &["sum_v:dynamic, t:dynamic"]);
    check(
        &format!("{nothing} | make-series kind=nonempty sum(v) on t from 1 to 4 step 1"),
        &["sum_v:dynamic, t:dynamic", "[0,0,0] | [1,2,3]"],
    );
    check("datatable(t:long)[long(null), 7] | make-series n = count() on t from 1 to 3 step 1", &["n:dynamic, t:dynamic"]);
}

#[test]
fn ends_may_be_values_of_a_query() {
    check(
        "let T = datatable(t:long)[3, 5]; let first = toscalar(T | summarize min(t)); T | make-series n = count() on t from first to 6 step 1",
        &["n:dynamic, t:dynamic", "[1,0,1] | [3,4,5]"],
    );
    check(
        "datatable(t:timespan)[1h, 90m] | make-series n = count() on t from 0h to 2h step 1h",
        &["n:dynamic, t:dynamic", "[0,2] | [\"00:00:00\",\"01:00:00\"]"],
    );
    check(
        "datatable(t:real)[0.5, 1.25] | make-series n = count() on t from 0.5 to 2.0 step 0.5",
        &["n:dynamic, t:dynamic", "[1,1,0] | [0.5,1.0,1.5]"],
    );
}

#[test]
fn what_cannot_be_an_axis_is_told() {
    assert!(problem("Logs | make-series count() on Level step 1").contains("TypeMismatch"));
    assert!(problem("Logs | make-series count() on TimeGenerated step 5").contains("TypeMismatch"));
    assert!(problem("Logs | make-series count() on Code step 0").contains("InvalidStep"));
    assert!(problem("Logs | make-series count() on TimeGenerated from 1 to 2 step 1h").contains("TypeMismatch"));
    assert!(
        super::fixture::run("range t from 1 to 2 step 1 | make-series count() on t from 0 to 2000000 step 1")
            .contains("at most 1048576 bins")
    );
}
