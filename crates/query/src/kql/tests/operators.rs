//! Operators: columns, names, order, groups.

use super::check;
use super::fixture::{context, table};
use crate::kql::bind;

#[test]
fn extend_replaces_in_place_and_sees_its_input() {
    check("print a = 1, b = 2 | extend b = a + 10, a = b, c = b", &["a:long, b:long, c:long", "2 | 11 | 2"]);
    check("print a = 1 | extend a + 1, a", &["a:long, Column1:long", "1 | 2"]);
}

#[test]
fn columns_nobody_named_get_kqls_names() {
    check(
        "print d = dynamic({\"x\": {\"y z\": 1}}), a = 1.5 | project a, a + 1, d.x, d[\"x\"][\"y z\"], tostring(d.x), d.x[0], todouble(a), a > 1",
        &[
            "a:real, Column1:real, d_x:dynamic, d_x_y z:dynamic, d_x1:string, d_x_0:dynamic, a1:real, Column2:bool",
            "1.5 | 2.5 | {\"y z\":1} | 1 | '{\"y z\":1}' | null | 1.5 | true",
        ],
    );
    check("print 1, x = 2, 3", &["print_0:long, x:long, print_2:long", "1 | 2 | 3"]);
    check("print a = 1 | project a, a, a", &["a:long, a1:long, a2:long", "1 | 1 | 1"]);
}

#[test]
fn names_are_taken_as_they_are() {
    check(
        "Logs | where ['has space.dot'] == \"s\" | take 1 | project ['has space.dot'], ['A.b C'] = 1",
        &["has space.dot:string, A.b C:long", "'s' | 1"],
    );
    check(
        "print ['count'] = 1, type = 2, a = 3, A = 4 | project A, a, type, ['count']",
        &["A:long, a:long, type:long, count:long", "4 | 3 | 2 | 1"],
    );
}

#[test]
fn projections_by_pattern_keep_the_input_order() {
    let source = "print ab = 1, b = 2, abc = 3, c = 4";
    check(&format!("{source} | project-away a*, c"), &["b:long", "2"]);
    check(&format!("{source} | project-keep c, a*"), &["ab:long, abc:long, c:long", "1 | 3 | 4"]);
    check(&format!("{source} | project-rename x = b, y = c"), &["ab:long, x:long, abc:long, y:long", "1 | 2 | 3 | 4"]);
    check(&format!("{source} | project-reorder c, a* desc"), &["c:long, abc:long, ab:long, b:long", "4 | 3 | 1 | 2"]);
}

#[test]
fn groups_come_before_aggregates_and_nulls_are_a_group() {
    check(
        "Logs | summarize count(), Slow = max(Took) by Code | sort by Code asc | project-away Slow",
        &["Code:long, count_:long", "null | 1", "200 | 2", "404 | 1", "500 | 2"],
    );
    check(
        "Logs | summarize n = count() by Level, X = isnull(Code) | sort by Level asc, X asc",
        &[
            "Level:string, X:bool, n:long",
            "'' | false | 1",
            "'' | true | 1",
            "'Error' | false | 1",
            "'error' | false | 1",
            "'info' | false | 2",
        ],
    );
}

#[test]
fn a_summary_of_nothing_has_one_row_unless_grouped() {
    check(
        "Logs | where Code == 1 | summarize count(), sum(Code), avg(Code), min(Code), max(TimeGenerated)",
        &["count_:long, sum_Code:long, avg_Code:real, min_Code:long, max_TimeGenerated:datetime", "0 | 0 | NaN | null | null"],
    );
    check("Logs | where Code == 1 | summarize count() by Code", &["Code:long, count_:long"]);
    check("Logs | where Code == 1 | count", &["Count:long", "0"]);
}

#[test]
fn counts_of_a_column_count_nulls_too() {
    check(
        "Logs | summarize count(Code), countif(Code == 500), a = dcount(Code), b = count_distinct(Code)",
        &["count_Code:long, countif_:long, a:long, b:long", "6 | 2 | 3 | 3"],
    );
}

#[test]
fn aggregates_may_stand_inside_expressions() {
    check(
        "Logs | summarize sum(Code) / count(), round(avg(Code), 1), x = max(Code) - min(Code), max(Code)",
        &["Column1:long, avg_Code:real, x:long, max_Code:long", "300 | 360.8 | 300 | 500"],
    );
}

#[test]
fn aggregates_get_kqls_names() {
    check(
        "datatable(a:long, t:datetime)[1, datetime(2024-01-01), 5, datetime(2024-01-02)] | summarize min(a), avg(a), percentile(a, 50), percentiles(a, 5, 99.5), make_set(a), make_list(a), arg_max(t, a)",
        &[
            "min_a:long, avg_a:real, percentile_a_50:long, percentile_a_5:long, percentile_a_99_5:long, set_a:dynamic, list_a:dynamic, t:datetime, a:long",
            "1 | 3.0 | 1 | 1 | 5 | [1,5] | [1,5] | 2024-01-02T00:00:00Z | 5",
        ],
    );
    check("print x = 1 | summarize sum(x + 1), take_any(x), n = count()", &["sum_:long, x:long, n:long", "2 | 1 | 1"]);
}

#[test]
fn arg_max_takes_one_row_and_a_star_takes_the_other_columns() {
    check(
        "datatable(k:string, v:long, w:string)[\"a\", 1, \"x\", \"a\", 3, \"y\", \"b\", 2, \"z\"] | summarize arg_max(v, *) by k | sort by k asc",
        &["k:string, v:long, w:string", "'a' | 3 | 'y'", "'b' | 2 | 'z'"],
    );
    check("datatable(k:string, v:long)[\"a\", 1, \"b\", 3] | summarize (v, who) = arg_min(v, k)", &["v:long, who:string", "1 | 'a'"]);
}

#[test]
fn lists_keep_the_order_of_a_sort() {
    check(
        "Logs | sort by TimeGenerated asc | summarize make_list(Code), arg_min(Code, Level), count() by Ok = isnull(Ok) | sort by Ok asc",
        &[
            "Ok:bool, list_Code:dynamic, Code:long, Level:string, count_:long",
            "false | [200,500,404,500,200] | 200 | 'info' | 5",
            "true | [] | null | '' | 1",
        ],
    );
    check(
        "Logs | sort by TimeGenerated desc | where Code > 300 | summarize make_list_if(Level, Code < 500), make_set(Level)",
        &["list_Level:dynamic, set_Level:dynamic", "[\"\"] | [\"error\",\"\",\"Error\"]"],
    );
}

#[test]
fn an_aggregate_may_be_written_twice() {
    check(
        "datatable(k:long, v:long)[1, 10, 2, 30] | summarize arg_max(v, k), arg_min(v, k), take_any(v), arg_max(v, k) by p = k % 1",
        &["p:long, v:long, k:long, v1:long, k1:long, v2:long, v3:long, k2:long", "0 | 30 | 2 | 10 | 1 | 10 | 30 | 2"],
    );
}

#[test]
fn rows_in_bins() {
    check(
        "Logs | summarize count() by bin(TimeGenerated, 1h) | sort by TimeGenerated asc",
        &["TimeGenerated:datetime, count_:long", "2026-03-01T10:00:00Z | 3", "2026-03-01T11:00:00Z | 3"],
    );
}

#[test]
fn sort_is_descending_with_nulls_last_unless_said_otherwise() {
    check("Logs | sort by Code, TimeGenerated asc | project Code", &["Code:long", "500", "500", "404", "200", "200", "null"]);
    check("Logs | sort by Code asc | project Code", &["Code:long", "null", "200", "200", "404", "500", "500"]);
    check("Logs | sort by Code asc nulls last | project Code", &["Code:long", "200", "200", "404", "500", "500", "null"]);
    check("Logs | order by Code desc nulls first | project Code", &["Code:long", "null", "500", "500", "404", "200", "200"]);
}

#[test]
fn nan_sits_next_to_null() {
    let rows = "Logs | extend Took = iff(Took == 9.5, real(nan), Took)";
    check(&format!("{rows} | sort by Took | project Took"), &["Took:real", "1.5", "1.5", "0.25", "-2.0", "NaN", "null"]);
    check(&format!("{rows} | sort by Took asc | project Took"), &["Took:real", "null", "NaN", "-2.0", "0.25", "1.5", "1.5"]);
    check("Logs | sort by Took | project Took", &["Took:real", "9.5", "1.5", "1.5", "0.25", "-2.0", "null"]);
}

#[test]
fn strings_sort_by_their_bytes() {
    check("Logs | sort by Level | project Level", &["Level:string", "'info'", "'info'", "'error'", "'Error'", "''", "''"]);
}

#[test]
fn order_outlives_what_works_row_by_row() {
    check(
        "Logs | sort by TimeGenerated asc | extend x = strcat(Level, \"!\") | where x != \"zzz\" | project Code, x",
        &["Code:long, x:string", "200 | 'info!'", "500 | 'Error!'", "404 | '!'", "500 | 'error!'", "null | '!'", "200 | 'info!'"],
    );
    check("Logs | sort by TimeGenerated asc | project Code | take 3 | extend Code = Code + 1", &["Code:long", "201", "501", "405"]);
    check("Logs | top 2 by TimeGenerated | project y = strcat(Level, \"?\")", &["y:string", "'info?'", "'?'"]);
    check(
        "Logs | sort by TimeGenerated asc | project TimeGenerated = 1, Code | take 2",
        &["TimeGenerated:long, Code:long", "1 | 200", "1 | 500"],
    );
}

#[test]
fn the_last_sort_counts() {
    check(
        "Logs | sort by TimeGenerated | sort by Code asc, Level asc | project Code, Level | take 3",
        &["Code:long, Level:string", "null | ''", "200 | 'info'", "200 | 'info'"],
    );
}

#[test]
fn take_takes_a_number_or_an_expression_of_lets() {
    check("let n = 2; Logs | take n * 2 | count", &["Count:long", "4"]);
    check("Logs | limit 0 | count", &["Count:long", "0"]);
}

#[test]
fn a_datatable_holds_its_cells_and_a_range_its_ends() {
    check(
        "datatable(a:int, b:string, c:dynamic, d:datetime)[1, \"x\", dynamic([1]), datetime(2024-01-01), int(null), \"\", dynamic(null), datetime(null)]",
        &["a:int, b:string, c:dynamic, d:datetime", "1 | 'x' | [1] | 2024-01-01T00:00:00Z", "null | '' | null | null"],
    );
    check("datatable(a:long)[]", &["a:long"]);
    check("range x from 1 to 5 step 2", &["x:long", "1", "3", "5"]);
    check("range x from 3 to 1 step -1", &["x:long", "3", "2", "1"]);
    check("range x from 1 to 3 step -1", &["x:long"]);
    check(
        "range t from datetime(2024-01-01) to datetime(2024-01-02) step 12h",
        &["t:datetime", "2024-01-01T00:00:00Z", "2024-01-01T12:00:00Z", "2024-01-02T00:00:00Z"],
    );
}

#[test]
fn lets_name_values_rows_and_functions() {
    check("let x = 5; let y = x * 2; print y", &["print_0:long", "10"]);
    check("let T = Logs | where Code == 500; T | count", &["Count:long", "2"]);
    check(
        "let f = (a:long, b:string = \"z\") { strcat(tostring(a), b) }; print f(1), f(2, \"y\"), f(b = \"n\", a = 3)",
        &["print_0:string, print_1:string, print_2:string", "'1z' | '2y' | '3n'"],
    );
    check("let g = (T:(Code:long), n:long) { T | where Code == n }; g(Logs, 404) | count", &["Count:long", "1"]);
    check("let g = (T:(Code:long), n:long) { T | where Code == n }; Logs | invoke g(500) | count", &["Count:long", "2"]);
    check("let v = view () { Logs | where Ok }; v | count", &["Count:long", "3"]);
    check("let Logs = Hosts; Logs | count", &["Count:long", "4"]);
    check("let x = 1; let f = () { x }; let x = 2; print f(), x", &["print_0:long, print_1:long", "1 | 2"]);
}

#[test]
fn a_function_of_columns_is_written_out() {
    check("let half = (n:long) { n / 2 }; Logs | where half(Code) == 250 | count", &["Count:long", "2"]);
}

#[test]
fn toscalar_takes_the_first_cell() {
    check("let m = toscalar(Logs | summarize max(Code)); Logs | where Code == m | count", &["Count:long", "2"]);
    check("print a = toscalar(Logs | where Code == 1 | project Level)", &["a:string", "''"]);
    check("Logs | where Code == 404 | extend n = toscalar(Hosts | count) | project n", &["n:long", "4"]);
}

#[test]
fn a_union_keeps_all_columns_and_splits_those_of_two_types() {
    check(
        "union (print a = 1, b = \"x\"), (print a = 2.5, c = true) | sort by b asc",
        &["a_long:long, b:string, a_real:real, c:bool", "null | '' | 2.5 | true", "1 | 'x' | null | null"],
    );
    check("union kind=inner (print a = 1, b = 2), (print b = 3, c = 4) | sort by b asc", &["b:long", "2", "3"]);
    check(
        "union withsource=src Hosts, (print Code = 1) | summarize n = count() by src | sort by src asc",
        &["src:string, n:long", "'Hosts' | 4", "'union_arg1' | 1"],
    );
    check("union isfuzzy=true Hosts, Nowhere | count", &["Count:long", "4"]);
    check("Hosts | union Hosts | count", &["Count:long", "8"]);
    check("union L*, H* | count", &["Count:long", "10"]);
}

#[test]
fn a_join_is_innerunique_and_shows_both_keys() {
    check(
        "Logs | project Code, Level | where Code == 200 | join Hosts on Code | sort by Owner asc",
        &[
            "Code:long, Level:string, Code1:long, Owner:string, Level1:string",
            "200 | 'info' | 200 | 'ann' | 'x'",
            "200 | 'info' | 200 | 'bob' | 'y'",
        ],
    );
    check("Logs | where Code == 200 | join kind=inner Hosts on Code | count", &["Count:long", "4"]);
}

#[test]
fn null_keys_match_each_other() {
    check("Logs | project Code | join kind=inner Hosts on Code | where isnull(Code) | project Owner", &["Owner:string", "'nobody'"]);
    check("Logs | join kind=leftanti Hosts on Code | count", &["Count:long", "2"]);
    check(
        "Logs | join kind=leftsemi Hosts on Code | summarize count() by Code | sort by Code asc",
        &["Code:long, count_:long", "null | 1", "200 | 2", "404 | 1"],
    );
}

#[test]
fn what_a_join_does_not_find_is_null_or_the_empty_string() {
    check(
        "Logs | where Code == 500 | project Code | take 1 | join kind=leftouter (Hosts | extend n = 1) on Code | project Code, Owner, n, e = isempty(Owner), Code1",
        &["Code:long, Owner:string, n:long, e:bool, Code1:long", "500 | '' | null | true | null"],
    );
    check(
        "Logs | where Code == 1 | join kind=rightouter Hosts on Code | project Level, Owner | sort by Owner asc",
        &["Level:string, Owner:string", "'' | ''", "'' | 'ann'", "'' | 'bob'", "'' | 'nobody'"],
    );
    check(
        "(print k = 1, a = \"l\") | join kind=fullouter (print k = 2, a = \"r\") on k | sort by k asc",
        &["k:long, a:string, k1:long, a1:string", "null | '' | 2 | 'r'", "1 | 'l' | null | ''"],
    );
}

#[test]
fn joins_by_sides_and_the_right_hand_kinds() {
    check(
        "(print a = 1, v = \"l\") | join kind=inner (print b = 1, v = \"r\") on $left.a == $right.b",
        &["a:long, v:string, b:long, v1:string", "1 | 'l' | 1 | 'r'"],
    );
    check("(print a = 1) | join kind=rightanti (range a from 1 to 2 step 1) on a", &["a:long", "2"]);
    check("(print a = 1) | join kind=rightsemi (range a from 1 to 2 step 1) on a", &["a:long", "1"]);
}

#[test]
fn a_lookup_drops_the_keys_of_its_right_side() {
    check(
        "Logs | where Code in (404, 500) | project Code | distinct Code | lookup Hosts on Code | sort by Code asc",
        &["Code:long, Owner:string, Level:string", "404 | '' | 'z'", "500 | '' | ''"],
    );
}

#[test]
fn render_is_told_to_the_caller() {
    let text = "Logs | count | render timechart with (title = \"x\", legend = hidden)";
    let parsed = strongroom_kql::parse(text);
    let planned = bind(&parsed.query, text, &context()).unwrap();
    let render = planned.render.unwrap();
    assert_eq!(render.visualization, "timechart");
    assert_eq!(render.properties["title"], "x");
    assert_eq!(render.properties["legend"], "hidden");
}

#[test]
fn settings_of_other_engines_are_passed_over() {
    check("set notruncation; Logs | count", &["Count:long", "6"]);
}

#[test]
fn long_chains_are_planned_without_deep_recursion() {
    let ors = (0..3_000).map(|at| format!("Code == {at}")).collect::<Vec<_>>().join(" or ");
    assert_eq!(table(&format!("Logs | where {ors} | count")).map(|t| t.rows), Ok(vec![vec!["5".to_owned()]]));
}

#[test]
fn getschema_lists_the_columns() {
    check(
        "Hosts | getschema | project ColumnName, ColumnOrdinal, ColumnType",
        &[
            "ColumnName:string, ColumnOrdinal:int, ColumnType:string",
            "'Code' | 0 | 'long'",
            "'Owner' | 1 | 'string'",
            "'Level' | 2 | 'string'",
        ],
    );
}
