//! `mv-expand`, `mv-apply`, `partition`: rows out of cells, and queries within rows.

use super::fixture::{check, explain, run};

#[test]
fn arrays_bags_and_scalars_are_expanded_each_its_way() {
    check(
        "datatable(a:int, d:dynamic)[1, dynamic([10, \"x\"]), 2, dynamic({\"p\": 1, \"q\": [2]}), 3, dynamic(5), 4, dynamic(\"t\")] | mv-expand d",
        &["a:int, d:dynamic", "1 | 10", "1 | \"x\"", "2 | {\"p\":1}", "2 | {\"q\":[2]}", "3 | 5", "4 | \"t\""],
    );
    check("print d = dynamic({\"p\": 1, \"q\": [2]}) | mv-expand bagexpansion=array d", &["d:dynamic", "[\"p\",1]", "[\"q\",[2]]"]);
    check("print d = dynamic({\"p\": 1}) | mv-expand kind=array d", &["d:dynamic", "[\"p\",1]"]);
}

#[test]
fn null_makes_one_row_and_nothing_makes_none() {
    check(
        "datatable(a:int, d:dynamic)[1, dynamic(null), 2, dynamic([]), 3, dynamic({}), 4, dynamic([null])] | mv-expand d",
        &["a:int, d:dynamic", "1 | null", "4 | null"],
    );
}

#[test]
fn columns_side_by_side_are_filled_up_with_nulls() {
    check(
        "print a = dynamic([1, 2]), b = dynamic([3]), c = dynamic(null), e = dynamic([]) | mv-expand a, b, c, e",
        &["a:dynamic, b:dynamic, c:dynamic, e:dynamic", "1 | 3 | null | null", "2 | null | null | null"],
    );
    check("print e = dynamic([]), c = dynamic(null) | mv-expand e, c", &["e:dynamic, c:dynamic", "null | null"]);
    check("print a = dynamic([1]), b = dynamic([2, 3]) | mv-expand a to typeof(string), b", &["a:string, b:dynamic", "'1' | 2", "'' | 3"]);
}

#[test]
fn elements_are_cast_and_not_parsed() {
    check(
        "print d = dynamic([1, 2.5, \"3\", true, null, [4]]) | mv-expand l = d to typeof(long), r = d to typeof(real), b = d to typeof(bool), \
         s = d to typeof(string) | project-away d",
        &[
            "l:long, r:real, b:bool, s:string",
            "1 | 1.0 | null | '1'",
            "2 | 2.5 | null | '2.5'",
            "null | null | null | '3'",
            "null | null | true | 'true'",
            "null | null | null | ''",
            "null | null | null | '[4]'",
        ],
    );
    check(
        "print d = pack_array(datetime(2020-01-02), 1h, guid(74be27de-1e4e-49d9-b579-fe0b331d3642)) \
         | mv-expand t = d to typeof(datetime), s = d to typeof(timespan), g = d to typeof(guid) | project-away d",
        &[
            "t:datetime, s:timespan, g:guid",
            "2020-01-02T00:00:00Z | null | null",
            "null | 01:00:00 | null",
            "null | null | 74be27de-1e4e-49d9-b579-fe0b331d3642",
        ],
    );
    check("print d = dynamic([3000000000, 5]) | mv-expand d to typeof(int)", &["d:int", "null", "5"]);
}

#[test]
fn an_expanded_column_keeps_its_place_and_a_new_one_comes_last() {
    check(
        "print a = 1, d = dynamic({\"x\": [7, 8]}), z = 2 | mv-expand with_itemindex=i n = d.x, d.x limit 1",
        &["a:long, d:dynamic, z:long, n:dynamic, d_x:dynamic, i:long", "1 | {\"x\":[7,8]} | 2 | 7 | 7 | 0"],
    );
    check("print d = dynamic([1, 2]), z = 2 | mv-expand with_itemindex=z d", &["d:dynamic, z:long, z1:long", "1 | 2 | 0", "2 | 2 | 1"]);
}

#[test]
fn what_is_not_dynamic_is_one_element_of_its_own_type() {
    check("datatable(s:string, n:long)['a', 1, '', long(null)] | mv-expand s, n", &["s:string, n:long", "'a' | 1", "'' | null"]);
}

#[test]
fn the_old_keyword_makes_at_most_128_rows_of_one() {
    check("print d = range(1, 300, 1) | mvexpand d | count", &["Count:long", "128"]);
    check("print d = range(1, 300, 1) | mv-expand d | count", &["Count:long", "300"]);
    check("print d = range(1, 300, 1) | mvexpand d limit 200 | count", &["Count:long", "200"]);
    check("print d = range(1, 300, 1) | mv-expand d limit 0 | count", &["Count:long", "0"]);
}

#[test]
fn the_order_before_an_expansion_is_the_order_after_it() {
    check(
        "Logs | sort by Code asc, TimeGenerated asc | extend d = pack_array(1, 2) | mv-expand d | project Code, d | take 5",
        &["Code:long, d:dynamic", "null | 1", "null | 2", "200 | 1", "200 | 2", "200 | 1"],
    );
    check(
        "print d = dynamic([3, 1, 2]) | mv-expand d to typeof(long) | where d > 1 | extend e = d * 2 | summarize make_list(e)",
        &["list_e:dynamic", "[6,4]"],
    );
    check(
        "datatable(k:string, d:dynamic)['a', dynamic([3, 1]), 'b', dynamic([9]), 'a', dynamic([2])] | mv-expand d | summarize make_list(d) by k",
        &["k:string, list_d:dynamic", "'a' | [3,1,2]", "'b' | [9]"],
    );
}

#[test]
fn filters_on_other_columns_run_before_rows_are_multiplied() {
    let plan = explain("Logs | mv-expand d = Props | where Code == 200 and tostring(d) != '' | project Code");
    let (expand, filter) = (plan.find("Expand").unwrap(), plan.rfind("Logs.Code = Int64(200)").unwrap());
    assert!(expand < filter, "{plan}");
    // Columns that nobody asks for do not pass through.
    assert!(!plan.contains("Took"), "{plan}");
}

#[test]
fn a_sub_query_sees_each_rows_elements_by_themselves() {
    let data = "datatable(i:int, d:dynamic)[0, dynamic([5, 1, 3]), 1, dynamic([4, 10, 8, 7]), 2, dynamic([])]";
    check(
        &format!("{data} | mv-apply x = d to typeof(long) on (top 1 by x)"),
        &["i:int, d:dynamic, x:long", "0 | [5,1,3] | 5", "1 | [4,10,8,7] | 10"],
    );
    check(
        &format!("{data} | mv-apply d to typeof(long) on (top 2 by d | summarize t = make_list(d))"),
        &["i:int, t:dynamic", "0 | [5,3]", "1 | [10,8]"],
    );
    check(&format!("{data} | mv-apply d to typeof(long) on (take 1)"), &["i:int, d:long", "0 | 5", "1 | 4"]);
    check(
        &format!("{data} | mv-apply x = d to typeof(long) on (where x > 4 | count) | project i, Count"),
        &["i:int, Count:long", "0 | 1", "1 | 3"],
    );
    check(
        &format!(
            "{data} | mv-apply x = d to typeof(long) on (summarize n = count(), s = sum(x) by odd = x % 2 | sort by odd asc) | project-away d"
        ),
        &["i:int, odd:long, n:long, s:long", "0 | 1 | 3 | 9", "1 | 0 | 3 | 22", "1 | 1 | 1 | 7"],
    );
    check(&format!("{data} | mv-apply x = d to typeof(long) on (where x > 100 | summarize count())"), &["i:int, d:dynamic, count_:long"]);
    check(&format!("{data} | mv-apply x = d on (distinct i) "), &["i:int, d:dynamic", "0 | [5,1,3]", "1 | [4,10,8,7]"]);
}

#[test]
fn a_sub_query_may_use_and_change_the_rows_own_columns() {
    check(
        "print d = dynamic({\"a\": 1, \"b\": 2}), n = 5 | extend ks = bag_keys(d) \
         | mv-apply k = ks to typeof(string) on (extend v = toint(d[k]) + n, n = 6 | project k, v, n)",
        &[
            "d:dynamic, n:long, ks:dynamic, k:string, v:long",
            "{\"a\":1,\"b\":2} | 6 | [\"a\",\"b\"] | 'a' | 6",
            "{\"a\":1,\"b\":2} | 6 | [\"a\",\"b\"] | 'b' | 7",
        ],
    );
}

#[test]
fn sub_queries_nest() {
    check(
        "datatable(i:int, d:dynamic)[1, dynamic([[1, 2], [3]]), 2, dynamic([[4, 5, 6]])] \
         | mv-apply x = d on (mv-apply y = x to typeof(long) on (summarize s = sum(y)) | summarize t = make_list(s)) | project i, t",
        &["i:int, t:dynamic", "1 | [3,3]", "2 | [15]"],
    );
    check(
        "datatable(i:int, d:dynamic)[1, dynamic([[2, 1], [3]]), 2, dynamic([[6, 5]])] \
         | mv-apply x = d on (mv-expand with_itemindex=p v = x to typeof(long) | summarize l = make_list(v), max(p)) | project i, l, max_p",
        &["i:int, l:dynamic, max_p:long", "1 | [2,1,3] | 1", "2 | [6,5] | 1"],
    );
}

#[test]
fn a_sub_query_over_a_table_joins_and_keeps_its_rows_apart() {
    check(
        "Logs | sort by TimeGenerated desc | extend codes = pack_array(200, 404) \
         | mv-apply c = codes to typeof(long) on (join kind=inner (Hosts | project Code, Owner) on $left.c == $right.Code | summarize Owners = make_set(Owner)) \
         | summarize n = count(), o = take_any(array_length(Owners))",
        &["n:long, o:long", "6 | 3"],
    );
}

#[test]
fn groups_within_rows_need_no_exchange() {
    let plan = super::fixture::physical("Logs | mv-apply d = Props on (summarize n = count()) | project Code, n");
    assert!(plan.contains("mode=Single"), "{plan}");
    assert!(!plan.contains("Hash(["), "{plan}");
    assert!(!plan.contains("SortExec"), "{plan}");
}

#[test]
fn functions_over_rows_start_anew_in_each_row_and_part() {
    check(
        "datatable(i:int, d:dynamic)[0, dynamic([5, 1]), 1, dynamic([7, 2, 9])] \
         | mv-apply x = d to typeof(long) on (extend n = row_number(), p = prev(x, 1, -1), q = next(x), s = row_cumsum(x)) | project i, x, n, p, q, s",
        &[
            "i:int, x:long, n:long, p:long, q:long, s:long",
            "0 | 5 | 1 | -1 | 1 | 5",
            "0 | 1 | 2 | 5 | null | 6",
            "1 | 7 | 1 | -1 | 2 | 7",
            "1 | 2 | 2 | 7 | 9 | 9",
            "1 | 9 | 3 | 2 | null | 18",
        ],
    );
    check(
        "datatable(k:string, v:long)['a', 3, 'b', 5, 'a', 1, 'b', 4, 'a', 2] \
         | partition by k (sort by v asc | extend n = row_number(), q = next(v) | where n <= 2) | sort by k asc, v asc",
        &["k:string, v:long, n:long, q:long", "'a' | 1 | 1 | 2", "'a' | 2 | 2 | 3", "'b' | 4 | 1 | 5", "'b' | 5 | 2 | null"],
    );
}

#[test]
fn no_match_of_a_scan_goes_from_one_part_to_the_next() {
    check(
        "datatable(k:string, t:long, e:string)['a', 1, 'in', 'b', 2, 'in', 'a', 3, 'out', 'c', 4, 'out', 'b', 5, 'out'] \
         | partition by k (sort by t asc | scan declare (from:long) with (step s1 output=none: e == 'in' => from = t; \
           step s2: e == 'out' => from = s1.from;)) | project k, from, t | sort by k asc",
        &["k:string, from:long, t:long", "'a' | 1 | 3", "'b' | 2 | 5"],
    );
}

#[test]
fn a_partition_is_a_query_for_each_value() {
    let data = "datatable(k:string, v:long)['a', 10, 'a', 20, 'b', 30, 'b', 5, 'a', 15]";
    check(
        &format!("{data} | partition by k (top 2 by v desc) | sort by k asc, v asc"),
        &["k:string, v:long", "'a' | 15", "'a' | 20", "'b' | 5", "'b' | 30"],
    );
    check(&format!("{data} | partition hint.strategy=native by k (summarize s = sum(v)) | sort by s asc"), &["s:long", "35", "45"]);
    check(&format!("{data} | partition by k (count) | sort by Count asc"), &["Count:long", "2", "3"]);
    check(&format!("{data} | partition by k (sort by v asc | take 1 | project v) | sort by v asc"), &["v:long", "5", "10"]);
    assert!(run(&format!("{data} | partition by pack_array(k) (take 1)")).contains("TypeMismatch"));
}
