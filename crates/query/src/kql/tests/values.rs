//! Values: types, nulls, arithmetic, comparison, members.

use super::check;

#[test]
fn integers_wrap_around() {
    check(
        "print a = 9223372036854775807 + 1, b = -9223372036854775807 - 2",
        &["a:long, b:long", "-9223372036854775808 | 9223372036854775807"],
    );
    check("print a = 4611686018427387904 * 2", &["a:long", "-9223372036854775808"]);
}

#[test]
fn arithmetic_on_ints_gives_a_long() {
    check("print a = int(1) + int(2), b = int(7) / 2, c = 1 + 1.5", &["a:long, b:long, c:real", "3 | 3 | 2.5"]);
}

#[test]
fn integer_division_truncates_and_by_zero_it_is_null() {
    check(
        "print 7 / 2, -7 / 2, 1 / 0, 1.0 / 0, 0.0 / 0",
        &["print_0:long, print_1:long, print_2:long, print_3:real, print_4:real", "3 | -3 | null | inf | NaN"],
    );
    check("Logs | where Code == 404 | project a = 1000 / (Code - 404), b = Code / 0", &["a:long, b:long", "null | null"]);
}

#[test]
fn the_remainder_is_euclidean() {
    check("print a = -5 % 3, b = 5 % -3, c = -7.5 % 2, d = 5 % 0", &["a:long, b:long, c:real, d:long", "1 | 2 | 0.5 | null"]);
    check("Logs | where Code == 404 | project a = (Code - 409) % 3", &["a:long", "1"]);
}

#[test]
fn arithmetic_with_null_is_null() {
    check("print a = long(null) + 1, b = 1h * long(null)", &["a:long, b:timespan", "null | null"]);
}

#[test]
fn equality_with_one_null_is_false_and_with_two_is_null() {
    check(
        "print a = long(null) == 1, b = long(null) != 1, c = long(null) == long(null), d = long(null) != long(null), e = not(long(null) == 1)",
        &["a:bool, b:bool, c:bool, d:bool, e:bool", "false | true | null | null | true"],
    );
    check(
        "Logs | extend Other = iff(Ok, Code, long(null)) | project Code, a = Code == 200, b = Code != 200, c = Code == Other, d = Code != Other | sort by Code asc",
        &[
            "Code:long, a:bool, b:bool, c:bool, d:bool",
            "null | false | true | null | null",
            "200 | true | false | true | false",
            "200 | true | false | true | false",
            "404 | false | true | true | false",
            "500 | false | true | false | true",
            "500 | false | true | false | true",
        ],
    );
}

#[test]
fn unequal_keeps_rows_where_the_column_is_null() {
    check("Logs | where Code != 200 | count", &["Count:long", "4"]);
    check("Logs | where not(Code == 200) | count", &["Count:long", "4"]);
    check("Logs | where Code == 200 | count", &["Count:long", "2"]);
    check("Logs | where not(Code != 200) | count", &["Count:long", "2"]);
}

#[test]
fn in_and_not_in_are_total() {
    check("Logs | where Code in (200, 404) | count", &["Count:long", "3"]);
    check("Logs | where Code !in (200, 404) | count", &["Count:long", "3"]);
    check("Logs | where not(Code in (200, 404)) | count", &["Count:long", "3"]);
    check("Logs | where Code in (dynamic([200, 404])) | count", &["Count:long", "3"]);
    check("Logs | where Level in (\"info\", \"\") | count", &["Count:long", "4"]);
    check("Logs | where Level !in (\"info\") | count", &["Count:long", "4"]);
    check("Logs | where Level in~ (\"ERROR\") | count", &["Count:long", "2"]);
    check("Logs | where Level !in~ (\"ERROR\") | count", &["Count:long", "4"]);
    check("Logs | where Code in () | count", &["Count:long", "0"]);
}

#[test]
fn a_list_may_be_a_query_and_nulls_in_it_hide_nothing() {
    check("Logs | where Code in (Hosts | project Code) | count", &["Count:long", "3"]);
    check("Logs | where Code !in ((Hosts | project Code)) | count", &["Count:long", "3"]);
    check("let l = Logs | distinct Level; Hosts | where \"info\" in (l) | count", &["Count:long", "4"]);
}

#[test]
fn a_missing_string_is_the_empty_string() {
    check("Logs | where Level == \"\" | count", &["Count:long", "2"]);
    check("Logs | where isempty(Level) | count", &["Count:long", "2"]);
    check("Logs | where isnotempty(Level) | count", &["Count:long", "4"]);
    check("Logs | where Level != \"info\" | count", &["Count:long", "4"]);
    check("Logs | where isnull(Level) | count", &["Count:long", "0"]);
    check("Logs | where not(Level == \"info\") | count", &["Count:long", "4"]);
    check("Logs | distinct Level | sort by Level asc", &["Level:string", "''", "'Error'", "'error'", "'info'"]);
    check(
        "Logs | where Code == 404 or isnull(Code) | project Level, a = Level == \"\", b = isempty(Level), c = Level != \"x\"",
        &["Level:string, a:bool, b:bool, c:bool", "'' | true | true | true", "'' | true | true | true"],
    );
}

#[test]
fn three_valued_logic_is_that_of_sql() {
    check(
        "print a = bool(null) and false, b = bool(null) or true, c = not(bool(null)), d = bool(null) and true",
        &["a:bool, b:bool, c:bool, d:bool", "false | true | null | null"],
    );
}

#[test]
fn nan_equals_nothing_and_is_neither_above_nor_below() {
    check(
        "print a = real(nan) == real(nan), b = real(nan) != real(nan), c = real(nan) > 1.0, d = real(nan) < 1.0",
        &["a:bool, b:bool, c:bool, d:bool", "false | true | false | false"],
    );
    // What is stored is never NaN (JSON has none): it is computed.
    let rows = "Logs | extend Took = iff(Took == 9.5, real(nan), Took)";
    for (filter, count) in [("Took > 1", "2"), ("Took < 1", "2"), ("Took != 1.5", "4"), ("Took == Took", "4"), ("Took != Took", "1")] {
        check(&format!("{rows} | where {filter} | count"), &["Count:long", count]);
    }
    for (filter, count) in [("Took > 1", "3"), ("Took < 1", "2"), ("Took != 1.5", "4"), ("Took == Took", "5"), ("Took != Took", "0")] {
        check(&format!("Logs | where {filter} | count"), &["Count:long", count]);
    }
}

#[test]
fn times_are_added_and_compared() {
    check(
        "print a = datetime(2024-01-31) + 1h, b = datetime(2024-03-01) - datetime(2024-02-28), c = 2 * 1h, d = 1d / 24, e = 1d / 1h, f = 90m % 1h, g = -1h, h = 1h * 1.5",
        &[
            "a:datetime, b:timespan, c:timespan, d:timespan, e:real, f:timespan, g:timespan, h:timespan",
            "2024-01-31T01:00:00Z | 2.00:00:00 | 02:00:00 | 01:00:00 | 24.0 | 00:30:00 | -01:00:00 | 01:30:00",
        ],
    );
    check(
        "Logs | where Code == 404 | project a = TimeGenerated + 10m, b = now() - TimeGenerated",
        &["a:datetime, b:timespan", "2026-03-01T11:00:00Z | 01:10:00"],
    );
}

#[test]
fn times_beyond_the_range_saturate() {
    check(
        "print a = datetime(9999-12-31) + 1d, b = datetime(0001-01-01)",
        &["a:datetime, b:datetime", "9999-12-31T23:59:59.9999999Z | 0001-01-01T00:00:00Z"],
    );
    check("Logs | where TimeGenerated < datetime(9999-12-31) and TimeGenerated > datetime(1601-01-01) | count", &["Count:long", "6"]);
}

#[test]
fn now_is_one_instant_per_query() {
    check(
        "print a = now() - ago(1h), b = now(1d) - now(), c = now() == now()",
        &["a:timespan, b:timespan, c:bool", "01:00:00 | 1.00:00:00 | true"],
    );
    check("Logs | where TimeGenerated > ago(1h) | count", &["Count:long", "3"]);
}

#[test]
fn between_includes_both_ends_and_takes_a_timespan() {
    check(
        "print a = 5 between (5 .. 7), b = 7 between (5 .. 7), c = 8 !between (5 .. 7)",
        &["a:bool, b:bool, c:bool", "true | true | true"],
    );
    check("Logs | where TimeGenerated between (ago(80m) .. 10m) | count", &["Count:long", "2"]);
}

#[test]
fn members_of_dynamics_are_found_or_null() {
    check(
        "Logs | where Code == 200 | project x = Props.a.b[2].c, y = Props[\"n\"], z = Props.a.b[-3], w = Props.no.such[7] | sort by tostring(y) desc",
        &["x:dynamic, y:dynamic, z:dynamic, w:dynamic", "\"x\" | 5 | 1 | null", "null | null | null | null"],
    );
}

#[test]
fn a_dynamic_compared_with_a_value_is_cast_to_its_type() {
    check("Logs | where Props.n == 5 | count", &["Count:long", "1"]);
    check("Logs | where Props.n == \"5\" | count", &["Count:long", "1"]);
    check("Logs | where Props.s == \"hi\" | project Level", &["Level:string", "'info'"]);
    check("Logs | where Props.n > 4 | count", &["Count:long", "2"]);
    check("Logs | where Props.n in (5, 9) | count", &["Count:long", "1"]);
}

#[test]
fn strings_and_numbers_compare_as_numbers() {
    check("print a = \"5\" == 5, b = \"x\" == 5, c = \"5.0\" == 5.0", &["a:bool, b:bool, c:bool", "true | false | true"]);
}

#[test]
fn a_null_condition_takes_the_other_branch_and_branches_share_a_type() {
    check(
        "print a = iff(bool(null), 1, 2), b = iff(true, 1, 2.5), c = case(false, \"a\", bool(null), \"b\", \"c\")",
        &["a:long, b:real, c:string", "2 | 1.0 | 'c'"],
    );
}

#[test]
fn coalesce_skips_empty_strings() {
    check(
        "print a = coalesce(\"\", \"x\"), b = coalesce(long(null), 3), c = coalesce(\"\", \"\")",
        &["a:string, b:long, c:string", "'x' | 3 | ''"],
    );
    check("Logs | where isnull(Code) | project a = coalesce(Level, \"none\")", &["a:string", "'none'"]);
}

#[test]
fn any_column_may_be_asked() {
    check("Logs | where * == \"info\" | count", &["Count:long", "2"]);
    check("Logs | where * has \"hi\" | count", &["Count:long", "1"]);
}

#[test]
fn negated_string_operators_keep_missing_strings() {
    check("Logs | where Level has \"error\" | count", &["Count:long", "2"]);
    check("Logs | where Level !has \"error\" | count", &["Count:long", "4"]);
    check("Logs | where Level !contains \"err\" | count", &["Count:long", "4"]);
    check("Logs | where Level !~ \"error\" | count", &["Count:long", "4"]);
    check("Logs | where Level contains \"\" | count", &["Count:long", "6"]);
    check("Logs | where Level startswith \"E\" | count", &["Count:long", "2"]);
    check("Logs | where Level startswith_cs \"E\" | count", &["Count:long", "1"]);
    check("Logs | where Level has_any (\"info\", \"nothing\") | count", &["Count:long", "2"]);
    check("Logs | where Level matches regex \"^$\" | count", &["Count:long", "2"]);
}
