//! Functions over rows in order.

use super::fixture::problem;
use super::{check, explain};

#[test]
fn rows_are_numbered_in_their_order() {
    check(
        "Logs | sort by TimeGenerated asc | extend n = row_number() | project n, Code",
        &["n:long, Code:long", "1 | 200", "2 | 500", "3 | 404", "4 | 500", "5 | null", "6 | 200"],
    );
    check("range x from 1 to 3 step 1 | extend n = row_number(10) | project n", &["n:long", "10", "11", "12"]);
    check(
        "datatable(g:string)[\"a\", \"a\", \"b\", \"b\", \"b\"] | serialize n = row_number(0, g != prev(g))",
        &["g:string, n:long", "'a' | 0", "'a' | 1", "'b' | 0", "'b' | 1", "'b' | 2"],
    );
}

#[test]
fn neighbours_beyond_the_ends_are_null_empty_or_the_default() {
    check(
        "Logs | sort by TimeGenerated asc | project p = prev(Code), n = next(Code), s = prev(Level), e = next(Level)",
        &[
            "p:long, n:long, s:string, e:string",
            "null | 500 | '' | 'Error'",
            "200 | 404 | 'info' | ''",
            "500 | 500 | 'Error' | 'error'",
            "404 | null | '' | ''",
            "500 | 200 | 'error' | 'info'",
            "null | null | '' | ''",
        ],
    );
    check(
        "range x from 1 to 7 step 1 | project x, a = prev(x, 2), b = next(x, 3), c = prev(x, 1, -1), d = next(x, 2, 0)",
        &[
            "x:long, a:long, b:long, c:long, d:long",
            "1 | null | 4 | -1 | 3",
            "2 | null | 5 | 1 | 4",
            "3 | 1 | 6 | 2 | 5",
            "4 | 2 | 7 | 3 | 6",
            "5 | 3 | null | 4 | 7",
            "6 | 4 | null | 5 | 0",
            "7 | 5 | null | 6 | 0",
        ],
    );
    check("print x = 1 | project p = prev(x, 5), n = next(x, 5, 9), o = prev(x, 0)", &["p:long, n:long, o:long", "null | 9 | 1"]);
}

#[test]
fn a_default_is_converted_to_the_columns_type() {
    check("print t = datetime(2024-01-01) | project p = prev(t, 1, 0) == datetime(null)", &["p:bool", "false"]);
    check("print x = 1.5 | project p = prev(x, 1, 2)", &["p:real", "2.0"]);
}

#[test]
fn sums_run_on_until_they_restart_and_pass_over_nulls() {
    check(
        "Logs | sort by TimeGenerated asc | project Code, s = row_cumsum(Code), r = row_cumsum(Code, Code == 404)",
        &[
            "Code:long, s:long, r:long",
            "200 | 200 | 200",
            "500 | 700 | 700",
            "404 | 1104 | 404",
            "500 | 1604 | 904",
            "null | 1604 | 904",
            "200 | 1804 | 1104",
        ],
    );
    check("datatable(v:int)[1, 2] | serialize s = row_cumsum(v)", &["v:int, s:int", "1 | 1", "2 | 3"]);
    check("datatable(v:real)[1.5, 2] | serialize s = row_cumsum(v)", &["v:real, s:real", "1.5 | 1.5", "2.0 | 3.5"]);
    check(
        "datatable(v:timespan)[1h, 30m] | serialize s = row_cumsum(v)",
        &["v:timespan, s:timespan", "01:00:00 | 01:00:00", "00:30:00 | 01:30:00"],
    );
}

#[test]
fn ranks_count_values_or_rows() {
    let rows = "datatable(s:long)[10, 10, 20, 20, 20, 5]";
    check(
        &format!("{rows} | sort by s desc | serialize d = row_rank_dense(s), m = row_rank_min(s)"),
        &["s:long, d:long, m:long", "20 | 1 | 1", "20 | 1 | 1", "20 | 1 | 1", "10 | 2 | 4", "10 | 2 | 4", "5 | 3 | 6"],
    );
    check(
        "datatable(g:string, s:long)[\"a\", 1, \"a\", 1, \"b\", 1, \"b\", long(null), \"b\", 3] | serialize d = row_rank_dense(s, g != prev(g)), m = row_rank_min(s, g != prev(g))",
        &[
            "g:string, s:long, d:long, m:long",
            "'a' | 1 | 1 | 1",
            "'a' | 1 | 1 | 1",
            "'b' | 1 | 1 | 1",
            "'b' | null | 2 | 2",
            "'b' | 3 | 3 | 3",
        ],
    );
}

#[test]
fn a_session_ends_by_length_by_a_gap_by_a_null_and_by_a_restart() {
    check(
        "datatable(m:long)[0, 4, 8, 13, 14, 60, 61] | serialize t = datetime(2024-01-01) + m * 1m | project m, s = (row_window_session(t, 14m, 5m) - datetime(2024-01-01)) / 1m",
        &["m:long, s:real", "0 | 0.0", "4 | 0.0", "8 | 0.0", "13 | 13.0", "14 | 13.0", "60 | 60.0", "61 | 60.0"],
    );
    check(
        "datatable(m:long)[0, 4, 8, 12, 14] | serialize t = datetime(2024-01-01) + m * 1m | project m, s = (row_window_session(t, 14m, 5m, m == 8) - datetime(2024-01-01)) / 1m",
        &["m:long, s:real", "0 | 0.0", "4 | 0.0", "8 | 8.0", "12 | 8.0", "14 | 8.0"],
    );
    check(
        "datatable(t:datetime)[datetime(2024-01-01), datetime(null), datetime(2024-01-01 00:00:01)] | serialize s = row_window_session(t, 1h, 1h)",
        &[
            "t:datetime, s:datetime",
            "2024-01-01T00:00:00Z | 2024-01-01T00:00:00Z",
            "null | null",
            "2024-01-01T00:00:01Z | 2024-01-01T00:00:01Z",
        ],
    );
    // A length or a gap that is reached is over.
    check(
        "datatable(m:long)[0, 5, 9] | serialize t = datetime(2024-01-01) + m * 1m | project s = (row_window_session(t, 9m, 5m) - datetime(2024-01-01)) / 1m",
        &["s:real", "0.0", "5.0", "5.0"],
    );
}

#[test]
fn row_functions_stand_anywhere_in_an_expression_and_in_each_other() {
    check("range x from 1 to 6 step 1 | where row_number() % 2 == 0 and prev(x) > 1", &["x:long", "4", "6"]);
    check(
        "datatable(x:long)[1, 3, 6] | serialize | extend d = iff(isnull(prev(x)), 0, x - prev(x)) | project d, dd = prev(prev(x)), q = next(prev(x))",
        &["d:long, dd:long, q:long", "0 | null | 1", "2 | null | 3", "3 | 1 | null"],
    );
    check(
        "let step = (v:long) { v - prev(v, 1, 0) }; datatable(x:long)[1, 3, 6] | serialize d = step(x)",
        &["x:long, d:long", "1 | 1", "3 | 2", "6 | 3"],
    );
    check(
        "Logs | sort by TimeGenerated asc | extend n = row_number() | where n > 2 | extend m = row_number() | where prev(Code) == 404 | project n, m",
        &["n:long, m:long", "4 | 2"],
    );
}

#[test]
fn an_order_once_used_stays_even_where_it_has_ties() {
    // Level alone leaves the order of the two `info` open; all functions must see the same.
    check(
        "Logs | sort by Level asc | extend n = row_number() | extend back = next(prev(n)) | extend p = prev(n, 1, 0) | where back != n and isnotnull(back) or p != n - 1 | count",
        &["Count:long", "0"],
    );
    check(
        "Logs | sort by Ok asc | serialize a = row_number() | sort by Ok asc | extend b = row_number() | summarize same = countif(a == b), all = count()",
        &["same:long, all:long", "6 | 6"],
    );
}

#[test]
fn later_sorts_give_new_numbers() {
    check(
        "datatable(x:long)[3, 1, 2, 5, 4] | serialize | extend n = row_number() | sort by x asc | extend m = row_number()",
        &["x:long, n:long, m:long", "1 | 2 | 1", "2 | 3 | 2", "3 | 1 | 3", "4 | 5 | 4", "5 | 4 | 5"],
    );
}

#[test]
fn rows_written_in_the_text_keep_their_order() {
    check("range x from 1 to 9 step 1 | where x % 2 == 1", &["x:long", "1", "3", "5", "7", "9"]);
    check(
        "datatable(x:long)[5, 4, 3, 2, 1] | summarize make_list(x), make_set(x)",
        &["list_x:dynamic, set_x:dynamic", "[5,4,3,2,1] | [5,4,3,2,1]"],
    );
    check("datatable(x:long)[5, 4, 3, 2, 1] | take 2", &["x:long", "5", "4"]);
    check(
        "datatable(k:string, v:long)[\"b\", 1, \"a\", 2, \"b\", 3] | summarize l = make_list(v), n = count() by k | summarize make_list(n), make_list(k)",
        &["list_n:dynamic, list_k:dynamic", "[2,1] | [\"b\",\"a\"]"],
    );
    check("datatable(k:string)[\"c\", \"a\", \"c\", \"b\"] | distinct k", &["k:string", "'c'", "'a'", "'b'"]);
    check(
        "union (datatable(v:long)[3, 1]), (print v = 9), (datatable(v:long)[2]) | project s = row_cumsum(v)",
        &["s:long", "3", "4", "13", "15"],
    );
    check("datatable(k:long, v:long)[2, 1, 1, 2, 2, 3, 1, 4] | sort by k asc", &["k:long, v:long", "1 | 2", "1 | 4", "2 | 1", "2 | 3"]);
    check(
        "datatable(k:long, v:long)[1, 10, 1, 11, 1, 12] | join (datatable(k:long, w:long)[1, 100]) on k",
        &["k:long, v:long, k1:long, w:long", "1 | 10 | 1 | 100"],
    );
}

#[test]
fn without_an_order_row_functions_are_refused_with_a_way_out() {
    let told = problem("Logs | extend n = row_number()");
    assert!(told.contains("error[NotSerialized]: `row_number` needs rows in a fixed order, and these have none"), "{told}");
    assert!(told.contains("put `sort by ..` before it, or `serialize`"), "{told}");
    assert!(problem("Logs | sort by Code | summarize count() by Code | extend p = prev(Code)").contains("NotSerialized"));
    assert!(problem("Logs | sort by Code | join Hosts on Code | extend p = prev(Code)").contains("NotSerialized"));
    assert!(problem("Logs | sort by Code | summarize max(prev(Code))").contains("can stand in `extend`"));
    assert!(problem("print x = row_number()").contains("can stand in `extend`"));
    check(
        "Logs | serialize n = row_number() | summarize max(n), min(n), dcount(n)",
        &["max_n:long, min_n:long, dcount_n:long", "6 | 1 | 6"],
    );
}

#[test]
fn the_arguments_of_row_functions_are_checked() {
    assert!(problem("range x from 1 to 2 step 1 | extend row_cumsum(\"a\")").contains("TypeMismatch"));
    assert!(problem("range x from 1 to 2 step 1 | extend prev(x, x)").contains("NotConstant"));
    assert!(problem("range x from 1 to 2 step 1 | extend prev(x, -1)").contains("InvalidCount"));
    assert!(problem("range x from 1 to 2 step 1 | extend prev()").contains("WrongArguments"));
    assert!(problem("range x from 1 to 2 step 1 | extend row_window_session(x, 1h, 1h)").contains("TypeMismatch"));
    assert!(problem("range x from 1 to 2 step 1 | extend row_number(1, x)").contains("a condition must be a bool"));
}

#[test]
fn a_sub_query_has_rows_of_its_own() {
    check(
        "range x from 1 to 2 step 1 | extend p = prev(x), m = toscalar(range y from 5 to 7 step 1 | extend q = prev(y) | summarize max(q))",
        &["x:long, p:long, m:long", "1 | null | 6", "2 | 1 | 6"],
    );
    assert!(problem("range x from 1 to 2 step 1 | extend m = toscalar(Logs | extend q = prev(Code) | count)").contains("NotSerialized"));
}

#[test]
fn one_pass_serves_all_functions_of_an_operator_and_reads_only_what_they_need() {
    let plan = explain("Logs | sort by TimeGenerated asc | extend a = prev(Code), b = next(Code), c = row_number() | project a, b, c");
    assert_eq!(plan.matches("Serial:").count(), 1, "{plan}");
    assert!(plan.contains("TableScan: Logs projection=[TimeGenerated, Code]"), "{plan}");
}

#[test]
fn within_a_partition_or_the_elements_of_a_row_functions_begin_anew() {
    check(
        "datatable(k:string, v:long)[\"a\", 1, \"b\", 10, \"a\", 2, \"b\", 20, \"a\", 3] \
         | partition hint.strategy=native by k (sort by v asc | extend n = row_number(), p = prev(v), x = next(v, 1, 0), s = row_cumsum(v)) | sort by k asc, v asc",
        &[
            "k:string, v:long, n:long, p:long, x:long, s:long",
            "'a' | 1 | 1 | null | 2 | 1",
            "'a' | 2 | 2 | 1 | 3 | 3",
            "'a' | 3 | 3 | 2 | 0 | 6",
            "'b' | 10 | 1 | null | 20 | 10",
            "'b' | 20 | 2 | 10 | 0 | 30",
        ],
    );
    check(
        "datatable(k:long, d:dynamic)[1, dynamic([5, 4, 6]), 2, dynamic([9, 8])] | mv-apply d to typeof(long) on (sort by d asc | extend n = row_number() | where n <= 2) | project k, d, n | sort by k asc, n asc",
        &["k:long, d:long, n:long", "1 | 4 | 1", "1 | 5 | 2", "2 | 8 | 1", "2 | 9 | 2"],
    );
}

#[test]
fn functions_over_rows_and_rows_out_of_cells_keep_their_columns_apart() {
    check(
        "Logs | sort by TimeGenerated asc | project Code, d = dynamic([1, 2]) | mv-expand d to typeof(long) | extend a = row_number(), b = prev(d), c = next(d), e = row_cumsum(d), f = row_rank_dense(d) | take 3 | project Code, a, b, c, e, f",
        &[
            "Code:long, a:long, b:long, c:long, e:long, f:long",
            "200 | 1 | null | 2 | 1 | 1",
            "200 | 2 | 1 | 1 | 3 | 2",
            "500 | 3 | 2 | 2 | 4 | 3",
        ],
    );
}
