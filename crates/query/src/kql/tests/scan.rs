//! `scan`: what steps match, remember and give.

use super::fixture::problem;
use super::{check, explain};

#[test]
fn a_step_remembers_what_it_set() {
    check(
        "range x from 1 to 5 step 1 | scan declare (sum:long = 0) with (step s: true => sum = x + s.sum;)",
        &["x:long, sum:long", "1 | 1", "2 | 3", "3 | 6", "4 | 10", "5 | 15"],
    );
    check(
        "datatable(e:string)[\"A\", \"\", \"B\", \"\", \"\"] | serialize | scan declare (filled:string) with (step s: true => filled = iff(isempty(e), s.filled, e);)",
        &["e:string, filled:string", "'A' | 'A'", "'' | 'A'", "'B' | 'B'", "'' | 'B'", "'' | 'B'"],
    );
}

#[test]
fn a_bare_declared_name_is_its_default() {
    check(
        "range x from 1 to 3 step 1 | scan declare (sum:long = 10) with (step s: true => sum = sum + x;)",
        &["x:long, sum:long", "1 | 11", "2 | 12", "3 | 13"],
    );
}

#[test]
fn rows_that_match_no_step_are_left_out() {
    check(
        "range x from 1 to 6 step 1 | scan declare (last:long) with (step s: x % 2 == 0 => last = s.x;)",
        &["x:long, last:long", "2 | null", "4 | 2", "6 | 4"],
    );
    check("range x from 1 to 6 step 1 | scan with (step s: x > s.x + 1;)", &["x:long"]);
}

/// The walk-through of the documentation, row by row.
#[test]
fn a_sequence_goes_from_step_to_step_and_its_number_with_it() {
    check(
        "datatable(t:long, e:string)[0, \"A\", 1, \"Start\", 2, \"B\", 3, \"D\", 4, \"Stop\", 6, \"C\", 8, \"Start\", 11, \"E\", 12, \"Stop\"] | sort by t asc \
         | scan with_match_id=m with (step s1: e == \"Start\"; step s2: e != \"Start\" and e != \"Stop\" and t - s1.t <= 5; step s3: e == \"Stop\" and t - s1.t <= 5;)",
        &[
            "t:long, e:string, m:long",
            "1 | 'Start' | 0",
            "2 | 'B' | 0",
            "3 | 'D' | 0",
            "4 | 'Stop' | 0",
            "8 | 'Start' | 1",
            "11 | 'E' | 1",
            "12 | 'Stop' | 1",
        ],
    );
}

#[test]
fn a_step_that_gives_nothing_may_end_a_session() {
    check(
        "datatable(t:long)[0, 1, 2, 32, 36, 75] | sort by t asc | scan with_match_id=id declare (start:long) with \
         (step inside: true => start = iff(isnull(inside.start), t, inside.start); step end output=none: t - inside.start > 30;)",
        &["t:long, start:long, id:long", "0 | 0 | 0", "1 | 0 | 0", "2 | 0 | 0", "32 | 32 | 1", "36 | 32 | 1", "75 | 75 | 2"],
    );
}

#[test]
fn of_a_series_the_last_row_alone_is_given() {
    check(
        "datatable(t:long, e:string)[1, \"a\", 2, \"a\", 3, \"b\", 4, \"b\", 5, \"a\", 6, \"b\"] | sort by t asc \
         | scan declare (n:long = 0) with (step s1 output=last: e == \"a\" => n = s1.n + 1; step s2 output=last: e == \"b\" => n = s1.n * 10;) | sort by t asc",
        &["t:long, e:string, n:long", "2 | 'a' | 2", "4 | 'b' | 20", "5 | 'a' | 1", "6 | 'b' | 10"],
    );
}

#[test]
fn one_row_may_match_several_steps() {
    check(
        "range x from 1 to 3 step 1 | scan declare (who:string) with (step a: true => who = \"a\"; step b: x == 2 => who = strcat(\"b after \", tostring(a.x));)",
        &["x:long, who:string", "1 | 'a'", "2 | 'b after 1'", "2 | 'a'", "3 | 'a'"],
    );
}

#[test]
fn members_of_what_a_step_remembers_and_queries_may_be_asked() {
    check(
        "datatable(d:dynamic)[dynamic({\"v\": 1}), dynamic({\"v\": 2})] | serialize | scan declare (before:long) with (step s: true => before = tolong(s.d.v);)",
        &["d:dynamic, before:long", "{\"v\":1} | null", "{\"v\":2} | 1"],
    );
    check(
        "let m = toscalar(Hosts | count); range x from 1 to 2 step 1 | scan declare (y:long) with (step s: x < m => y = m + coalesce(s.x, 0);)",
        &["x:long, y:long", "1 | 4", "2 | 5"],
    );
}

#[test]
fn scan_reads_rows_in_order_whatever_lies_below() {
    check(
        "Logs | sort by TimeGenerated asc | scan declare (sum:long = 0) with (step s: isnotnull(Code) => sum = s.sum + Code;) | project sum | extend n = row_number()",
        &["sum:long, n:long", "200 | 1", "700 | 2", "1104 | 3", "1604 | 4", "1804 | 5"],
    );
    let plan = explain(
        "Logs | sort by TimeGenerated asc | scan declare (sum:long = 0) with (step s: true => sum = s.sum + s.Code;) | project sum",
    );
    assert!(plan.contains("TableScan: Logs projection=[TimeGenerated, Code]"), "{plan}");
}

#[test]
fn what_is_wrong_with_a_scan_is_told() {
    assert!(problem("Logs | scan with (step s: true;)").contains("NotSerialized"));
    assert!(problem("range x from 1 to 2 step 1 | scan with (step s: true => y = 1;)").contains("`y` is not declared"));
    assert!(problem("range x from 1 to 2 step 1 | scan with (step s: true; step s: true;)").contains("there is already a step `s`"));
    assert!(problem("range x from 1 to 2 step 1 | scan declare (x:long) with (step s: true;)").contains("there is already a column `x`"));
    assert!(problem("range x from 1 to 2 step 1 | scan with (step s output=some: true;)").contains("`output` is all, last or none"));
    assert!(problem("range x from 1 to 2 step 1 | scan with (step s: z.x > 1;)").contains("UnknownColumn"));
}

#[test]
fn each_part_is_scanned_by_itself() {
    check(
        "datatable(k:long, t:long, e:string)[1, 1, \"in\", 2, 2, \"in\", 2, 3, \"out\", 1, 4, \"out\", 1, 5, \"out\"] \
         | partition hint.strategy=native by k (sort by t asc | scan with_match_id=m declare (start:long) with (step a output=none: e == \"in\" => start = t; step b: e == \"out\" => start = a.start;)) \
         | sort by k asc, t asc | project k, t, start, m",
        &["k:long, t:long, start:long, m:long", "1 | 4 | 1 | 0", "1 | 5 | 1 | 0", "2 | 3 | 2 | 0"],
    );
}
