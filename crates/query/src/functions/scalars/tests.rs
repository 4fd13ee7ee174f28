//! Answers worked by hand; those marked E were given by Kusto's emulator.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, SessionContext};
use strongroom_kql::ast::{BinaryOp, SetOp};
use strongroom_model::ColumnType;

use super::super::{CallContext, PathStep, Typed, dynamic_get, operator, scalar, set_operator};
use super::convert;

pub(super) const CONTEXT: CallContext = CallContext { now: 1_700_000_000_000_000_000 };

pub(super) fn s(value: &str) -> Typed {
    super::spec::text(value)
}

pub(super) fn l(value: i64) -> Typed {
    super::spec::long(value)
}

pub(super) fn r(value: f64) -> Typed {
    Typed::new(lit(value), ColumnType::Real)
}

pub(super) fn d(json: &str) -> Typed {
    Typed::new(s(json).expr, ColumnType::Dynamic)
}

pub(super) fn b(value: bool) -> Typed {
    Typed::new(lit(value), ColumnType::Bool)
}

pub(super) fn null(kind: ColumnType) -> Typed {
    Typed::new(Expr::Literal(ScalarValue::try_from(&kind.query_type()).unwrap(), None), kind)
}

pub(super) fn t(text: &str) -> Typed {
    convert(s(text), ColumnType::DateTime)
}

pub(super) fn span(text: &str) -> Typed {
    convert(s(text), ColumnType::TimeSpan)
}

/// A constant as `tostring` shows it; null as `null`.
pub(super) fn show(value: Typed) -> String {
    let Expr::Literal(constant, _) = &value.expr else {
        return show_computed(&value);
    };
    if constant.is_null() {
        return "null".to_owned();
    }
    let Expr::Literal(text, _) = convert(value, ColumnType::String).expr else { panic!("constants are converted at once") };
    let ScalarValue::Utf8View(Some(text)) = text else { panic!("{text:?}") };
    text
}

/// What is no constant is run as a query of one row.
fn show_computed(value: &Typed) -> String {
    let text = convert(value.clone(), ColumnType::String).expr;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async { one_row().select(vec![text, value.expr.clone().is_null()]).unwrap().collect().await.unwrap() });
    let is_null = ScalarValue::try_from_array(batches[0].column(1), 0).unwrap();
    if is_null == ScalarValue::Boolean(Some(true)) {
        "null".to_owned()
    } else {
        ScalarValue::try_from_array(batches[0].column(0), 0).unwrap().to_string()
    }
}

/// The value of a query of one row, or what went wrong.
pub(super) fn run(value: &Typed) -> datafusion::common::Result<ScalarValue> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async { one_row().select(vec![value.expr.clone()])?.collect().await })?;
    ScalarValue::try_from_array(batches[0].column(0), 0)
}

fn one_row() -> DataFrame {
    SessionContext::new().read_empty().unwrap()
}

#[track_caller]
pub(super) fn check(name: &str, arguments: Vec<Typed>, expected: &str) {
    let spec = scalar(name).unwrap_or_else(|| panic!("{name} is missing"));
    let value = spec.bind(arguments, &CONTEXT).unwrap_or_else(|misfit| panic!("{name}: {}", misfit.message));
    assert_eq!(show(value), expected, "{name}");
}

#[track_caller]
fn op(left: Typed, operator_: BinaryOp, right: Typed) -> String {
    show(operator(operator_).unwrap().bind(vec![left, right], &CONTEXT).unwrap())
}

#[test]
fn whole_terms_are_found_and_parts_are_not() {
    for (text, term, expected) in [
        ("alpha_beta", "alpha", "True"),  // E
        ("naïve", "naive", "False"),      // E
        ("ПРИВЕТ мир", "привет", "True"), // E
        ("10.1.2.3", "1.2", "True"),
        ("10.11.2.3", "1.2", "False"),
        ("run cmd.exe now", "CMD.EXE", "True"),
        ("run xcmd.exe", "cmd.exe", "False"),
        ("anything", "", "True"), // E
        ("aa aab", "aab", "True"),
        ("aab", "ab", "False"),
        ("éa", "a", "False"),
        ("", "a", "False"),
    ] {
        assert_eq!(op(s(text), BinaryOp::Has, s(term)), expected, "{text} has {term}");
    }
    assert_eq!(op(s("Alpha"), BinaryOp::HasCs, s("alpha")), "False");
    assert_eq!(op(s("alphabet soup"), BinaryOp::HasPrefix, s("ALPHA")), "True");
    assert_eq!(op(s("alphabet soup"), BinaryOp::HasPrefix, s("bet")), "False");
    assert_eq!(op(s("alphabet soup"), BinaryOp::HasSuffix, s("bet")), "True");
}

#[test]
fn texts_are_compared_with_and_without_case() {
    assert_eq!(op(s("Straße"), BinaryOp::Contains, s("STRASSE")), "False");
    assert_eq!(op(s("ÄÖ"), BinaryOp::Contains, s("äö")), "True");
    assert_eq!(op(s("Abc"), BinaryOp::ContainsCs, s("abc")), "False");
    assert_eq!(op(s("Abc"), BinaryOp::StartsWith, s("aB")), "True");
    assert_eq!(op(s("éAbc"), BinaryOp::EndsWith, s("aBC")), "True");
    assert_eq!(op(s("Éa"), BinaryOp::StartsWith, s("éA")), "True");
    assert_eq!(op(s("Abc"), BinaryOp::StartsWithCs, s("ab")), "False");
    assert_eq!(op(s("AbC"), BinaryOp::EqualIgnoreCase, s("aBc")), "True");
    assert_eq!(op(s("a٣"), BinaryOp::MatchesRegex, s(r"^a\d$")), "True"); // E: Unicode digits
    assert_eq!(op(s("a"), BinaryOp::MatchesRegex, s("(")), "False");
    assert!(operator(BinaryOp::Equal).is_none() && operator(BinaryOp::NotHas).is_none());
}

#[test]
fn lists_of_terms_are_found_alike_few_or_many() {
    let any = |text: &str, list: Vec<Typed>| {
        let mut arguments = vec![s(text)];
        arguments.extend(list);
        show(set_operator(SetOp::HasAny).unwrap().bind(arguments, &CONTEXT).unwrap())
    };
    assert_eq!(any("the Quick fox", vec![s("slow"), s("quick")]), "True");
    assert_eq!(any("the Quick fox", vec![d(r#"["a","b","c","d","e","FOX"]"#)]), "True");
    assert_eq!(any("the Quick foxes", vec![d(r#"["a","b","c","d","e","FOX"]"#)]), "False");
    let all = |text: &str, list: &str| show(set_operator(SetOp::HasAll).unwrap().bind(vec![s(text), d(list)], &CONTEXT).unwrap());
    assert_eq!(all("a b c", r#"["C","a"]"#), "True");
    assert_eq!(all("a b c", r#"["C","x"]"#), "False");
    assert!(set_operator(SetOp::In).is_none());
}

#[test]
fn arithmetic_is_kusto_s() {
    use BinaryOp as B;
    assert_eq!(op(l(i64::MAX), B::Add, l(1)), "-9223372036854775808"); // E
    assert_eq!(op(l(7), B::Divide, l(-2)), "-3");
    assert_eq!(op(l(1), B::Divide, l(0)), "null"); // E
    assert_eq!(op(r(1.0), B::Divide, r(0.0)), "inf"); // E
    assert_eq!(op(r(0.0), B::Divide, r(0.0)), "NaN"); // E
    assert_eq!(op(l(-5), B::Modulo, l(3)), "1"); // E
    assert_eq!(op(l(5), B::Modulo, l(-3)), "2"); // E
    assert_eq!(op(r(-7.5), B::Modulo, l(2)), "0.5"); // E
    assert_eq!(op(l(1), B::Add, r(0.5)), "1.5");
    assert_eq!(op(t("2024-01-02"), B::Subtract, t("2024-01-01")), "1.00:00:00");
    assert_eq!(op(t("2024-01-02"), B::Subtract, span("1h")), "2024-01-01T23:00:00.0000000Z");
    assert_eq!(op(span("1d"), B::Divide, span("6h")), "4.0");
    assert_eq!(op(span("1h"), B::Multiply, r(1.5)), "01:30:00");
    assert_eq!(op(l(3), B::Multiply, span("1h")), "03:00:00");
    assert_eq!(op(null(ColumnType::Long), B::Add, l(1)), "null");
    assert!(operator(B::Add).unwrap().bind(vec![s("a"), s("b")], &CONTEXT).unwrap_err().message.contains("strcat"));
}

#[test]
fn conversions_give_null_rather_than_fail() {
    check("toint", vec![s("3.14")], "null"); // E
    check("toint", vec![s(" 42 ")], "42"); // E
    check("toint", vec![s("0xFF")], "255"); // E
    check("toint", vec![r(2.9)], "2"); // E
    check("toint", vec![l(2_147_483_648)], "-2147483648"); // E
    check("toint", vec![r(1e30)], "2147483647"); // E
    check("tolong", vec![r(-1e19)], "-9223372036854775808"); // E
    check("toint", vec![s("-0x10")], "null"); // E
    check("toguid", vec![s("0123456789ab-cdef-0123-456789abcdef")], "01234567-89ab-cdef-0123-456789abcdef"); // E
    check("tobool", vec![s("yes")], "null"); // E
    check("tobool", vec![s(" true")], "null"); // E
    check("tobool", vec![l(-5)], "True"); // E
    check("tolong", vec![span("1d")], "864000000000"); // E
    check("todouble", vec![s("1e3")], "1000.0");
    check("todouble", vec![s("x")], "null");
    check("todatetime", vec![s("12-02-2022")], "2022-12-02T00:00:00.0000000Z");
    check("todatetime", vec![s("nonsense")], "null");
    check("totimespan", vec![s("1.5")], "null"); // E
    check("totimespan", vec![s("1.02:03:04")], "1.02:03:04");
    check("toguid", vec![s("74BE27DE1E4E49D9B579FE0B331D3642")], "74be27de-1e4e-49d9-b579-fe0b331d3642");
    check("toguid", vec![s("74be")], "null");
    check("todecimal", vec![s("1.50")], "1.5");
    check("tolong", vec![d("\"12\"")], "12");
    check("tolong", vec![d("1.9")], "1");
    check("toreal", vec![d("{}")], "null");
    check("tobool", vec![d("true")], "True");
}

#[test]
fn every_type_has_its_text() {
    check("tostring", vec![b(true)], "True"); // E
    check("tostring", vec![r(1.0)], "1.0"); // E
    check("tostring", vec![r(100_000_000_000.0)], "100000000000.0"); // E
    check("tostring", vec![t("2020-01-01")], "2020-01-01T00:00:00.0000000Z"); // E
    check("tostring", vec![span("-1.02:03:04.5")], "-1.02:03:04.5000000");
    check("tostring", vec![null(ColumnType::Long)], ""); // E
    check("tostring", vec![d("\"a\\\"b\"")], "a\"b"); // E
    check("tostring", vec![d("{\"a\":[1]}")], "{\"a\":[1]}"); // E
    check("strcat", vec![s("a"), l(1), b(false), null(ColumnType::Real), d("[1]")], "a1False[1]");
}

#[test]
fn json_is_read_and_paths_are_followed() {
    check("parse_json", vec![s(" { \"a\" : 1 } ")], "{\"a\":1}");
    check("parse_json", vec![s("not json")], "not json");
    check("parse_json", vec![s("")], "null");
    check("parse_json", vec![d("\"{\\\"a\\\":1}\"")], "{\"a\":1}");
    let path = [PathStep::Key("a".into()), PathStep::Index(-1), PathStep::Computed(s("b"))];
    assert_eq!(show(dynamic_get(d(r#"{"a":[0,{"b":"x"}]}"#).expr, &path)), "x");
    assert_eq!(show(dynamic_get(d(r#"{"a":1}"#).expr, &path)), "null");
    check("gettype", vec![d("[1]")], "array");
    check("gettype", vec![l(1)], "long");
    check("extract_json", vec![s("$.a[0].b"), s(r#"{"a":[{"b":7}]}"#)], "7");
}

#[test]
fn strings_are_cut_and_joined() {
    check("strlen", vec![s("👨‍👩‍👧")], "5"); // E
    check("substring", vec![s("héllo"), l(1), l(3)], "éll");
    check("substring", vec![s("hello"), l(-2)], "lo");
    check("substring", vec![s("hello"), l(9)], ""); // E
    check("split", vec![s("a,b,"), s(",")], r#"["a","b",""]"#);
    check("split", vec![s(""), s(",")], r#"[""]"#); // E
    check("split", vec![s("a,b"), s(","), l(1)], r#"["b"]"#); // E
    check("split", vec![s("a,b"), s(","), l(5)], "null");
    check("split", vec![s("ab"), s("")], r#"["a","b"]"#);
    check("trim", vec![s(r"\s"), s("  x ")], " x"); // E
    check("trim_start", vec![s("https?://"), s("https://e.x")], "e.x");
    check("trim_end", vec![s("[.]"), s("a..")], "a.");
    check("replace_string", vec![s("aXbX"), s("X"), s("-")], "a-b-");
    check("replace_string", vec![s("ab"), s(""), s("-")], "ab"); // E
    check("replace_regex", vec![s("John Smith"), s(r"(\w+) (\w+)"), s(r"\2 \1")], "Smith John");
    check("replace", vec![s("[0-9]+"), s("#"), s("a1b22")], "a#b#");
    check("replace_strings", vec![s("This is"), d(r#"["This","is"]"#), d(r#"["This","was"]"#)], "This was"); // E
    check("replace_strings", vec![s("This is"), d(r#"["is","This"]"#), d(r#"["was","This"]"#)], "Thwas was"); // E
    check("replace_strings", vec![s("This is"), d(r#"["This","is"]"#), d(r#"[12345,"was"]"#)], "This was"); // E
    check("substring", vec![s("abc"), l(1), l(-1)], ""); // E
    check("substring", vec![s("x"), l(-2), l(5)], ""); // E
    check("indexof", vec![s("abc"), s("")], "null"); // E
    check("indexof", vec![s("abcdefg"), s("cde"), l(1), l(2)], "2"); // E
    check("extract", vec![s("x=([0-9]+)"), l(1), s("a x=12 b")], "12");
    check("extract", vec![s("x=([0-9]+)"), l(1), s("none")], "");
    check("extract", vec![s("x=([0-9]+)"), l(1), s("x=12"), s("long")], "12");
    check("extract_all", vec![s(r"(\w)=(\d)"), s("a=1 b=2")], r#"[["a","1"],["b","2"]]"#);
    check("extract_all", vec![s(r"(\d)"), s("a=1 b=2")], r#"["1","2"]"#);
    check("extract_all", vec![s(r"(\w)=(\d)"), d("[2]"), s("a=1 b=2")], r#"["1","2"]"#);
    check("extract_all", vec![s(r"(\d)"), s("none")], "null"); // E
    check("indexof", vec![s("abcab"), s("ab"), l(1)], "3");
    check("indexof", vec![s("abc"), s("x")], "-1");
    check("countof", vec![s("aaa"), s("aa")], "2");
    check("countof", vec![s("aaa"), s("aa"), s("regex")], "1");
    check("translate", vec![s("abc"), s("xy"), s("aabbcc")], "xxyyyy");
    check("isempty", vec![null(ColumnType::Long)], "True");
    check("isempty", vec![d("\"\"")], "True");
    check("isnull", vec![s("")], "False");
    check("strrep", vec![s("ab"), l(3), s("-")], "ab-ab-ab");
    check("format_bytes", vec![l(1_048_576)], "1 MB");
}

#[test]
fn the_calendar_is_kusto_s() {
    check("bin", vec![t("2024-05-08"), span("7d")], "2024-05-06T00:00:00.0000000Z"); // Mondays
    check("bin", vec![l(-7), l(5)], "-10");
    check("bin", vec![r(4.7), r(0.5)], "4.5");
    check("bin", vec![l(7), l(0)], "null");
    check("bin", vec![t("2024-05-08T10:37:00Z"), span("15m")], "2024-05-08T10:30:00.0000000Z");
    check("bin", vec![span("01:02:03"), span("1h")], "01:00:00");
    check("bin_at", vec![l(7), l(5), l(1)], "6");
    check("startofweek", vec![t("2024-05-08")], "2024-05-05T00:00:00.0000000Z"); // E: Sunday
    check("startofmonth", vec![t("2024-05-08"), l(-5)], "2023-12-01T00:00:00.0000000Z");
    check("endofday", vec![t("2024-05-08")], "2024-05-08T23:59:59.9999999Z");
    check("endofmonth", vec![t("2024-02-08")], "2024-02-29T23:59:59.9999999Z");
    check("dayofweek", vec![t("2024-05-06")], "1.00:00:00"); // E: Monday
    check("week_of_year", vec![t("2021-01-03")], "53");
    check("datetime_part", vec![s("Hour"), t("2024-05-08T10:37:00Z")], "10");
    check("datetime_add", vec![s("month"), l(1), t("2024-01-31")], "2024-02-29T00:00:00.0000000Z");
    check("datetime_diff", vec![s("year"), t("2024-01-01"), t("2023-12-31")], "1");
    check("datetime_diff", vec![s("hour"), t("2024-01-01T01:00:00Z"), t("2024-01-01T02:59:00Z")], "-1");
    check("format_datetime", vec![t("2024-05-08T15:07:09.1234567Z"), s("yy-MM-dd [hh:mm:ss tt] fff")], "24-05-08 [03:07:09 PM] 123");
    check("format_timespan", vec![span("-1.02:03:04"), s("d.hh:mm:ss")], "-1.02:03:04");
    check("make_datetime", vec![l(2024), l(2), l(30)], "null");
    check("make_datetime", vec![l(2024), l(2), l(29), l(1), l(2), r(3.5)], "2024-02-29T01:02:03.5000000Z");
    check("unixtime_seconds_todatetime", vec![l(1_546_300_800)], "2019-01-01T00:00:00.0000000Z");
    check("ago", vec![span("1h")], "2023-11-14T21:13:20.0000000Z");
    check("now", vec![], "2023-11-14T22:13:20.0000000Z");
}

#[test]
fn choices_take_the_right_branch() {
    check("iff", vec![null(ColumnType::Bool), s("a"), s("b")], "b"); // E
    check("iff", vec![b(true), l(1), r(2.5)], "1.0");
    check("case", vec![b(false), s("a"), b(true), s("b"), s("c")], "b");
    check("coalesce", vec![s(""), s("x")], "x");
    check("coalesce", vec![null(ColumnType::Long), l(2)], "2");
    check("max_of", vec![l(1), null(ColumnType::Long), l(3)], "3"); // E
    check("not", vec![b(false)], "True");
    check("round", vec![r(2.5)], "3.0"); // E
    check("round", vec![r(-2.345), l(2)], "-2.35");
    check("abs", vec![l(-3)], "3");
    check("abs", vec![convert(l(-3), ColumnType::Int)], "3"); // E
    check("abs", vec![span("-1h")], "01:00:00");
    check("sign", vec![r(f64::NAN)], "0.0"); // E
    check("isnan", vec![null(ColumnType::Real)], "null"); // E
    check("tohex", vec![convert(l(-256), ColumnType::Int), l(8)], "ffffff00"); // E
    check("tohex", vec![l(-256)], "ffffffffffffff00"); // E
    check("log", vec![l(0)], "-inf");
    check("sqrt", vec![l(-1)], "NaN");
    check("binary_shift_left", vec![l(1), l(4)], "16");
    let misfit = scalar("iff").unwrap().bind(vec![b(true), l(1), s("a")], &CONTEXT).unwrap_err();
    assert_eq!(misfit.message, "iff() takes values of one type, not long and string");
    let misfit = scalar("strlen").unwrap().bind(vec![], &CONTEXT).unwrap_err();
    assert_eq!(misfit.message, "strlen() takes 1 argument, not 0");
}

#[test]
fn arrays_bags_and_sets_do_what_they_say() {
    check("array_length", vec![d("{}")], "null"); // E
    check("array_length", vec![d("[1,[2,3]]")], "2");
    check("bag_keys", vec![d(r#"{"a":1,"b":{"c":2}}"#)], r#"["a","b"]"#);
    check("bag_pack", vec![s("a"), l(1), s("b"), s("x"), s("c"), null(ColumnType::Long)], r#"{"a":1,"b":"x","c":null}"#);
    check("pack_array", vec![l(1), s("x"), d("[2]"), r(1.0)], r#"[1,"x",[2],1.0]"#);
    check("bag_merge", vec![d(r#"{"a":1}"#), d(r#"{"a":2,"b":3}"#)], r#"{"a":1,"b":3}"#); // E
    check("bag_remove_keys", vec![d(r#"{"a":1,"b":2}"#), d(r#"["a"]"#)], r#"{"b":2}"#);
    check("array_concat", vec![d("[1]"), d("[2,3]")], "[1,2,3]");
    check("array_slice", vec![d("[1,2,3,4]"), l(1), l(-2)], "[2,3]"); // E
    check("array_index_of", vec![d(r#"["a","b"]"#), s("b")], "1");
    check("array_sort_asc", vec![d("[3,null,1,2]")], "[1,2,3,null]"); // E
    check("array_sort_desc", vec![d(r#"["a","c","b"]"#)], r#"["c","b","a"]"#);
    check("array_sum", vec![d("[1,2.5]")], "3.5"); // E
    check("array_sum", vec![d("[]")], "null"); // E
    check("array_sort_asc", vec![d(r#"[null,"b","a"]"#), b(false)], r#"[null,"a","b"]"#); // E
    check("array_sort_desc", vec![d(r#"[1,3,"a","c"]"#)], r#"[3,1,"c","a"]"#);
    check("dynamic_to_json", vec![d(r#"{"b":{"d":1,"c":[]},"a":1}"#)], r#"{"a":1,"b":{"c":[],"d":1}}"#); // E
    check("range", vec![span("1h"), span("3h")], r#"["01:00:00","02:00:00","03:00:00"]"#); // E
    check("range", vec![r(0.0), l(1), r(0.5)], "[0.0,0.5,1.0]");
    check("strcat_array", vec![d(r#"["a",1]"#), s("-")], "a-1");
    check("set_union", vec![d("[1,2]"), d("[2,3]")], "[1,2,3]");
    check("set_intersect", vec![d("[1,2]"), d("[2,3]")], "[2]");
    check("set_difference", vec![d("[1,2,1]"), d("[2,3]")], "[1]");
    check("set_has_element", vec![d("[1,2]"), s("2")], "False"); // E
    check("set_has_element", vec![d("[1,2]"), l(2)], "True");
    check("zip", vec![d("[1,2]"), d("[3]")], "[[1,3],[2,null]]");
    check("range", vec![l(1), l(10), l(4)], "[1,5,9]");
    check("repeat", vec![l(1), l(3)], "[1,1,1]");
    check("treepath", vec![d(r#"{"a":{"b":1}}"#)], r#"["['a']","['a']['b']"]"#); // E
}

#[test]
fn addresses_hashes_and_urls() {
    check("ipv4_is_private", vec![s("10.1.2.3")], "True");
    check("ipv4_is_private", vec![s("8.8.8.8")], "False");
    check("ipv4_is_private", vec![s("no")], "null");
    check("ipv4_is_in_range", vec![s("192.168.1.6"), s("192.168.1.0/24")], "True");
    check("ipv4_is_in_any_range", vec![s("192.168.1.6"), d(r#"["10.0.0.0/8","192.168.1.0/24"]"#)], "True");
    check("parse_ipv4", vec![s("192.1.168.1")], "3221334017"); // E
    check("format_ipv4", vec![s("192.168.1.255"), l(24)], "192.168.1.0");
    check("has_ipv4", vec![s("from 1.2.3.4:80"), s("1.2.3.4")], "True");
    check("has_ipv4_prefix", vec![s("from 127.0.0.1"), s("127.0")], "False"); // E
    check("has_ipv4_prefix", vec![s("from 127.0.0.1"), s("127.0.")], "True");
    check("parse_ipv6", vec![s("127.0.0.1")], "0000:0000:0000:0000:0000:ffff:7f00:0001");
    check("hash", vec![s("World")], "1846988464401551951"); // the documentation's example
    check("hash", vec![s("World"), l(100)], "51");
    check("hash", vec![t("2015-01-01")], "1380966698541616202");
    check("hash_sha256", vec![s("World")], "78ae647dc5544d227130a0682a51e30bc7777fbb6d8a8f17007463a3ecd1d524");
    check("base64_decode_tostring", vec![s("S3VzdG8=")], "Kusto");
    check("base64_decode_tostring", vec![s("!!")], "");
    check("url_encode", vec![s("a b/ü")], "a+b%2f%c3%bc"); // E
    check("url_decode", vec![s("a%20b")], "a b");
    check(
        "parse_url",
        vec![s("scheme://user:pw@host:1234/this/is?k1=v1&k2=v2#frag")],
        r#"{"Scheme":"scheme","Host":"host","Port":"1234","Path":"/this/is","Username":"user","Password":"pw","Query Parameters":{"k1":"v1","k2":"v2"},"Fragment":"frag"}"#,
    );
    check("parse_csv", vec![s("a,\"b,\"\"c\",\nx")], r#"["a","b,\"c",""]"#); // E
}

#[test]
fn columns_and_constants_give_the_same() {
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;
    let batch = RecordBatch::try_from_iter([
        ("a", Arc::new(StringArray::from(vec![Some("Error one"), None, Some("fine")])) as _),
        ("n", Arc::new(Int64Array::from(vec![Some(7), Some(0), None])) as _),
    ])
    .unwrap();
    let a = Typed::new(datafusion::prelude::col("a"), ColumnType::String);
    let n = Typed::new(datafusion::prelude::col("n"), ColumnType::Long);
    let has = operator(BinaryOp::Has).unwrap().bind(vec![a.clone(), s("error")], &CONTEXT).unwrap();
    let quotient = operator(BinaryOp::Divide).unwrap().bind(vec![l(14), n], &CONTEXT).unwrap();
    let length = scalar("strlen").unwrap().bind(vec![a], &CONTEXT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let rows = SessionContext::new().read_batch(batch).unwrap();
        rows.select(vec![has.expr.alias("h"), quotient.expr.alias("q"), length.expr.alias("l")]).unwrap().collect().await.unwrap()
    });
    let shown = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    insta::assert_snapshot!(shown, @r"
    +-------+---+---+
    | h     | q | l |
    +-------+---+---+
    | true  | 2 | 9 |
    | false |   | 0 |
    | false |   | 4 |
    +-------+---+---+
    ");
}

#[test]
fn every_function_stands_what_it_is_given() {
    // Constants of every type, wrong ones included, in every place: a value, null, or a misfit, never a panic.
    let values = || {
        vec![
            s(""),
            s("aé (x"),
            l(-1),
            l(i64::MAX),
            l(i64::MIN),
            r(f64::NAN),
            r(-1e300),
            d("[1,\"a\"]"),
            d("{\"a\":1}"),
            b(true),
            t("2024-01-01"),
            span("-1d"),
            null(ColumnType::Dynamic),
            null(ColumnType::Long),
            null(ColumnType::DateTime),
        ]
    };
    for name in super::names() {
        let spec = scalar(name).unwrap();
        let count = spec.takes.len().max(1);
        for first in values() {
            for other in values() {
                let mut arguments = vec![first.clone()];
                arguments.resize(count, other);
                if name == "range" || name == "repeat" || name == "strrep" {
                    continue;
                }
                drop(spec.bind(arguments, &CONTEXT));
            }
        }
    }
}

#[test]
fn sql_keeps_its_own_functions_and_gets_ours_besides() {
    use datafusion::logical_expr::ScalarUDF;
    let (scalars, aggregates) = crate::functions::sql_functions();
    let named =
        |name: &str| scalars.iter().any(|function: &ScalarUDF| function.name() == name || function.aliases().iter().any(|a| a == name));
    for name in ["has", "has_any", "tostring", "bin", "ipv4_is_private", "parse_json", "dynamic_get"] {
        assert!(named(name), "{name} is missing");
    }
    for name in ["replace", "floor", "substring", "array_length", "round", "range"] {
        assert!(!named(name), "{name} would hide SQL's own");
    }
    assert!(aggregates.iter().any(|function| function.name() == "make_set"));
    let context = SessionContext::new();
    for function in scalars {
        context.register_udf(function);
    }
    for function in aggregates {
        context.register_udaf(function);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let sql =
            "select has(a, 'B') as h, tostring(n) as t, bin(n, 5) as b, make_set(n) as s from (values ('a b', 7)) as t(a, n) group by a, n";
        context.sql(sql).await.unwrap().collect().await.unwrap()
    });
    let shown = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
    insta::assert_snapshot!(shown, @r"
    +------+---+---+-----+
    | h    | t | b | s   |
    +------+---+---+-----+
    | true | 7 | 5 | [7] |
    +------+---+---+-----+
    ");
}

#[test]
fn every_function_works_in_sql() {
    use super::spec::Want;
    use arrow::array::{DurationNanosecondArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
    use std::sync::Arc;
    let (scalars, _) = crate::functions::sql_functions();
    let context = SessionContext::new();
    let batch = RecordBatch::try_from_iter([
        ("t", Arc::new(StringArray::from(vec!["[1,2]", "a"])) as _),
        ("n", Arc::new(Int64Array::from(vec![1, 2])) as _),
        ("r", Arc::new(Float64Array::from(vec![0.5, 1.5])) as _),
        ("d", Arc::new(TimestampNanosecondArray::from(vec![1_i64, 2]).with_timezone("UTC")) as _),
        ("s", Arc::new(DurationNanosecondArray::from(vec![1_i64, 2])) as _),
    ])
    .unwrap();
    context.register_batch("rows", batch).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for function in scalars {
        let name = function.name().to_owned();
        let spec = super::by_name(&name)
            .or_else(|| super::table::OPERATORS.iter().find(|spec| spec.name == name))
            .or_else(|| super::arithmetic::KERNELS.iter().find(|spec| spec.name == name))
            .unwrap_or(&super::table::DYNAMIC_GET);
        let wanted = spec.takes.iter().chain(&spec.more);
        let columns: Vec<&str> = wanted
            .map(|want| match want {
                Want::Bool => "n > 1",
                Want::Long | Want::Number | Want::Quantity => "n",
                Want::Real => "r",
                Want::Any | Want::String | Want::Dynamic => "t",
                Want::DateTime => "d",
                Want::TimeSpan => "s",
            })
            .collect();
        context.register_udf(function);
        let columns = match name.as_str() {
            "bin" => "n, n".to_owned(),
            "bin_at" => "n, n, n".to_owned(),
            _ => columns.join(", "),
        };
        let sql = format!("select {name}({columns}) from rows");
        let answer = runtime.block_on(async { context.sql(&sql).await?.collect().await });
        let rows: usize = answer.unwrap_or_else(|error| panic!("{sql}: {error}")).iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 2, "{sql}");
    }
}
