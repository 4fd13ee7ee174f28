//! Typing rules, one by one: a body, what becomes of it.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use proptest::prelude::*;
use strongroom_model::{Column, ColumnType, TIME_COLUMN, TableSchema};

use super::*;

/// 2026-03-01T10:00:00Z.
const ARRIVAL: i64 = 1_772_359_200_000_000_000;

fn options(limits: &RequestLimits) -> DecodeOptions<'_> {
    DecodeOptions { format: Format::Json, time_field: None, arrival: ARRIVAL, on_error: OnError::Refuse, limits }
}

fn table(columns: &[(&str, ColumnType)]) -> TableSchema {
    let mut schema = TableSchema::new();
    schema.columns.extend(columns.iter().map(|&(name, kind)| Column { name: name.to_owned(), kind }));
    schema
}

fn cell(array: &dyn Array, kind: ColumnType, row: usize) -> String {
    if array.is_null(row) {
        return "-".to_owned();
    }
    match kind {
        ColumnType::Bool => array.as_boolean().value(row).to_string(),
        ColumnType::Long => array.as_primitive::<Int64Type>().value(row).to_string(),
        ColumnType::Real => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        ColumnType::DateTime => {
            let at = array.as_primitive::<TimestampNanosecondType>().value(row);
            if at == ARRIVAL { "arrival".to_owned() } else { at.to_string() }
        }
        _ => array.as_string::<i32>().value(row).to_owned(),
    }
}

/// `name:type=cell,cell,…; name:…`; a column of times that are all the arrival is left out.
fn show(decoded: &Decoded) -> String {
    let mut out = String::new();
    let schema = decoded.batch.schema();
    for (field, array) in schema.fields().iter().zip(decoded.batch.columns()) {
        let kind = ColumnType::of_field(field).unwrap();
        assert_eq!(decoded.schema.column(field.name()).map(|column| column.kind), Some(kind), "{}", field.name());
        let cells: Vec<_> = (0..array.len()).map(|row| cell(array, kind, row)).collect();
        if field.name() == TIME_COLUMN && cells.iter().all(|cell| cell == "arrival") {
            continue;
        }
        let comma = if out.is_empty() { "" } else { "; " };
        write!(out, "{comma}{}:{}={}", field.name(), kind.as_str(), cells.join(",")).unwrap();
    }
    out
}

fn outcome(body: &[u8], schema: &TableSchema, options: &DecodeOptions<'_>) -> String {
    match decode(body, schema, options) {
        Ok(decoded) => show(&decoded),
        Err(error) => error.to_string(),
    }
}

fn check(body: &str, expected: &str) {
    let limits = RequestLimits::default();
    assert_eq!(outcome(body.as_bytes(), &TableSchema::new(), &options(&limits)), expected, "{body}");
}

fn check_onto(columns: &[(&str, ColumnType)], body: &str, expected: &str) {
    let limits = RequestLimits::default();
    assert_eq!(outcome(body.as_bytes(), &table(columns), &options(&limits)), expected, "{body}");
}

#[test]
fn each_json_type_has_its_column_type() {
    check(
        r#"{"b":true,"l":-5,"r":1.5,"s":"x","o":{"k":[1, 2.0,"é\n"],"n":null},"a":[ ]}"#,
        r#"b:bool=true; l:long=-5; r:real=1.5; s:string=x; o:dynamic={"k":[1,2.0,"é\n"],"n":null}; a:dynamic=[]"#,
    );
}

#[test]
fn integers_within_64_bits_are_long_and_all_other_numbers_real() {
    check(
        r#"{"a":9223372036854775807,"b":-9223372036854775808,"c":9223372036854775808,"d":1e2,"e":1.0,"f":123456789012345678901234567890}"#,
        "a:long=9223372036854775807; b:long=-9223372036854775808; c:real=9.223372036854776e18; d:real=100.0; e:real=1.0; f:real=1.2345678901234568e29",
    );
    check(r#"{"a":1e999,"b":-1e999,"c":1e-999}"#, "a:real=1.7976931348623157e308; b:real=-1.7976931348623157e308; c:real=0.0");
}

#[test]
fn a_long_column_that_meets_a_real_widens() {
    check("{\"a\":1}\n{}\n{\"a\":2.5}\n{\"a\":3}", "a:real=1.0,-,2.5,3.0");
    check_onto(&[("a", ColumnType::Long)], "{\"a\":1}\n{\"a\":2.5}", "a:real=1.0,2.5");
    check_onto(&[("a", ColumnType::Long)], "{\"a\":1}", "a:long=1");
    check_onto(&[("a", ColumnType::Real)], "{\"a\":1}", "a:real=1.0");
}

#[test]
fn widening_changes_the_schema_and_adds_no_column() {
    let limits = RequestLimits::default();
    let decoded = decode(b"{\"a\":2.5}", &table(&[("a", ColumnType::Long)]), &options(&limits)).unwrap();
    assert!(decoded.changed && decoded.added.is_empty());
    assert_eq!(decoded.schema, table(&[("a", ColumnType::Real)]));
    let decoded = decode(b"{\"a\":2}", &decoded.schema, &options(&limits)).unwrap();
    assert!(!decoded.changed);
}

#[test]
fn strings_stay_strings() {
    check(
        r#"{"a":"1","b":"true","c":"2026-01-01","d":"{}","e":""}"#,
        "a:string=1; b:string=true; c:string=2026-01-01; d:string={}; e:string=",
    );
}

#[test]
fn null_creates_nothing() {
    check("{\"a\":null}\n{\"b\":1}", "b:long=-,1");
    check("{\"a\":1}\n{\"a\":null}", "a:long=1,-");
    let limits = RequestLimits::default();
    let decoded = decode(b"{\"a\":null}\n{}", &TableSchema::new(), &options(&limits)).unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.batch.num_columns(), decoded.changed), (2, 1, false));
}

#[test]
fn late_columns_are_filled_back_and_short_ones_to_the_end() {
    check("{\"a\":1}\n{\"b\":\"x\"}\n{\"c\":true,\"a\":3}", "a:long=1,-,3; b:string=-,x,-; c:bool=-,-,true");
}

#[test]
fn a_value_its_column_cannot_hold_goes_to_a_typed_sibling() {
    check(
        "{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":true}\n{\"a\":[1]}\n{\"a\":2}",
        "a:long=1,-,-,-,2; a_s:string=-,x,-,-,-; a_b:bool=-,-,true,-,-; a_dyn:dynamic=-,-,-,[1],-",
    );
    check("{\"a\":\"x\"}\n{\"a\":1}\n{\"a\":1.5}", "a:string=x,-,-; a_d:real=-,1.0,1.5");
    check_onto(&[("a", ColumnType::String)], r#"{"a":7}"#, "a_d:long=7");
    check_onto(&[("a", ColumnType::Bool), ("a_s", ColumnType::Long)], r#"{"a":"x"}"#, "a_s_s:string=x");
}

#[test]
fn a_dynamic_column_takes_everything_as_json() {
    check_onto(
        &[("a", ColumnType::Dynamic)],
        "{\"a\":1}\n{\"a\":\"x\\\"y\"}\n{\"a\":true}\n{\"a\":{\"k\":1.50}}\n{\"a\":2.0}",
        r#"a:dynamic=1,"x\"y",true,{"k":1.5},2.0"#,
    );
}

#[test]
fn columns_of_types_ingest_never_makes_keep_theirs() {
    check_onto(
        &[("at", ColumnType::DateTime)],
        "{\"at\":\"1970-01-01T00:00:01Z\"}\n{\"at\":\"soon\"}\n{\"at\":5}",
        "at:datetime=1000000000,-,-; at_s:string=-,soon,-; at_d:long=-,-,5",
    );
    check_onto(
        &[("g", ColumnType::Guid)],
        "{\"g\":\"a8098c1a-f86e-11da-bd1a-00112444be1e\"}\n{\"g\":\"x\"}",
        "g:guid=a8098c1a-f86e-11da-bd1a-00112444be1e,-; g_s:string=-,x",
    );
    check_onto(&[("i", ColumnType::Int), ("t", ColumnType::TimeSpan)], r#"{"i":1,"t":"1s"}"#, "i_d:long=1; t_s:string=1s");
}

#[test]
fn two_values_for_one_cell_both_stay() {
    check_onto(&[("a", ColumnType::Long)], r#"{"a":"x","a_s":"y"}"#, r#"a_s:string=x; _Overflow:dynamic={"a_s":"y"}"#);
    check_onto(&[("a", ColumnType::Long)], r#"{"a_s":"y","a":"x"}"#, r#"a_s:string=y; _Overflow:dynamic={"a":"x"}"#);
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_counts() {
    check(r#"{"a":1,"a":2}"#, "a:long=2");
    check("{\"a\":1}\n{\"a\":1,\"b\":2,\"a\":\"x\"}", "a:long=1,-; a_s:string=-,x; b:long=-,2");
    check(r#"{"a":1,"a":null}"#, "");
    check(r#"{"TimeGenerated":1,"TimeGenerated":"1970-01-01T00:00:02Z"}"#, "TimeGenerated:datetime=2000000000");
}

#[test]
fn after_the_last_column_everything_new_goes_into_the_overflow() {
    let limits = RequestLimits { columns_max: 3, ..RequestLimits::default() };
    let show = |body: &str| outcome(body.as_bytes(), &TableSchema::new(), &options(&limits));
    assert_eq!(
        show("{\"a\":1,\"b\":2,\"c\":3,\"d\":[4],\"d\":[5],\"e\":null}\n{\"b\":6}\n{\"c\":\"x\",\"a\":\"y\"}"),
        r#"a:long=1,-,-; b:long=2,6,-; _Overflow:dynamic={"c":3,"d":[5]},-,{"c":"x","a":"y"}"#
    );
    assert_eq!(show(r#"{"_Overflow":{"k":1}}"#), r#"_Overflow:dynamic={"_Overflow":{"k":1}}"#);
}

#[test]
fn a_thousand_new_names_make_no_more_slots_than_columns_allow() {
    let limits = RequestLimits::default();
    let mut body = String::new();
    for n in 0..3_000 {
        writeln!(body, "{{\"k{n}\":{n}}}").unwrap();
    }
    let decoded = decode(body.as_bytes(), &TableSchema::new(), &options(&limits)).unwrap();
    assert_eq!((decoded.batch.num_rows(), decoded.batch.num_columns()), (3_000, 501));
    assert_eq!(decoded.schema.columns.last().unwrap().name, OVERFLOW_COLUMN);
    let overflow = decoded.batch.column(500).as_string::<i32>();
    assert_eq!((overflow.value(2_999), overflow.null_count()), (r#"{"k2999":2999}"#, 499));
}

#[test]
fn a_sibling_whose_name_would_be_too_long_is_the_overflow() {
    let name = "n".repeat(127);
    check(&format!("{{\"{name}\":1}}\n{{\"{name}\":\"x\"}}"), &format!("{name}:long=1,-; _Overflow:dynamic=-,{{\"{name}\":\"x\"}}"));
}

#[test]
fn names_that_no_column_can_have_are_cleaned() {
    check(r#"{"":1,"a\nb":2,"Ä b":3}"#, "_:long=1; a_b:long=2; Ä b:long=3");
    check("{\"a\\u0000\":1}\n{\"a\\u0000\":2}", "a_:long=1,2");
    // Two names that clean to one: both values stay, the one spelt so in the column.
    check(r#"{"a\tb":1,"a_b":2}"#, r#"a_b:long=2; _Overflow:dynamic={"a_b":1}"#);
    check(r#"{"a_b":2,"a\tb":1}"#, r#"a_b:long=2; _Overflow:dynamic={"a_b":1}"#);
}

#[test]
fn the_time_comes_from_the_field_of_that_name() {
    check(r#"{"TimeGenerated":"1970-01-01T00:00:01.5Z","a":1}"#, "TimeGenerated:datetime=1500000000; a:long=1");
    check(r#"{"TimeGenerated":1700000000123}"#, "TimeGenerated:datetime=1700000000123000000");
    check(r#"{"TimeGenerated":1700000000.25}"#, "TimeGenerated:datetime=1700000000250000000");
    check(r#"{"TimeGenerated":"0001-01-01T00:00:00Z"}"#, &format!("TimeGenerated:datetime={}", i64::MIN));
    check(r#"{"TimeGenerated":null,"timegenerated":7}"#, "timegenerated:long=7");
}

#[test]
fn a_time_too_far_ahead_or_unreadable_gives_way_to_the_arrival_and_is_kept_as_text() {
    check(r#"{"TimeGenerated":"2026-03-03T10:00:00Z"}"#, &format!("TimeGenerated:datetime={}", ARRIVAL + 172_800_000_000_000));
    check(r#"{"TimeGenerated":"2026-03-03T10:00:00.1Z"}"#, "TimeGenerated_s:string=2026-03-03T10:00:00.1Z");
    check(r#"{"TimeGenerated":"9999-12-31"}"#, "TimeGenerated_s:string=9999-12-31");
    check(r#"{"TimeGenerated":9223372036854775807}"#, "TimeGenerated_s:string=9223372036854775807");
    check(
        "{\"TimeGenerated\":\"soon\"}\n{\"TimeGenerated\":{\"a\":1}}\n{\"TimeGenerated\":true}",
        r#"TimeGenerated_s:string=soon,{"a":1},true"#,
    );
}

#[test]
fn another_field_can_be_the_time_and_stays_a_column() {
    let limits = RequestLimits::default();
    let options = DecodeOptions { time_field: Some("ts"), ..options(&limits) };
    let show = |body: &str| outcome(body.as_bytes(), &TableSchema::new(), &options);
    assert_eq!(show(r#"{"ts":1}"#), "TimeGenerated:datetime=1000000000; ts:long=1");
    assert_eq!(
        show(r#"{"TimeGenerated":5,"ts":"1970-01-01T00:00:01Z"}"#),
        "TimeGenerated:datetime=1000000000; TimeGenerated_s:string=5; ts:string=1970-01-01T00:00:01Z"
    );
    assert_eq!(show(r#"{"TimeGenerated":5,"ts":"x"}"#), "TimeGenerated:datetime=5000000000; ts:string=x");
    assert_eq!(show(r#"{"ts":"2999-01-01"}"#), "ts:string=2999-01-01");
    assert_eq!(show(r#"{"ts":null}"#), "");
}

#[test]
fn an_array_body_is_read_like_lines() {
    check(r#" [ {"a":1}, {"a":"]"} ] "#, "a:long=1,-; a_s:string=-,]");
    check("[]", "");
    check("", "");
    check("[{\"a\":1}", "the body is not a JSON array or lines of JSON objects: the array has no end at byte 8");
    check("[{\"a\":1},7]", "record 2 at byte 9 was not accepted: it is JSON but not an object");
    check("[{\"a\":1},]", "record 2 at byte 9 was not accepted: it is not JSON");
}

#[test]
fn one_object_over_many_lines_is_one_record() {
    check("{\n  \"a\": 1,\n  \"b\": [\n    2\n  ]\n}\n", "a:long=1; b:dynamic=[2]");
    check("\u{feff}{\"a\":1}", "a:long=1");
}

#[test]
fn a_bad_line_is_named_with_place_and_reason() {
    check("{\"a\":1}\n\n{\"a\":}\n", "record 3 at byte 14 was not accepted: it is not JSON");
    check("{\"a\":1}\n[1]", "record 2 at byte 8 was not accepted: it is JSON but not an object");
    check("{\"a\":1}\n{\"a\":1} x", "record 2 at byte 14 was not accepted: it is not JSON");
    check("{\"a\":01}", "record 1 at byte 6 was not accepted: it is not JSON");
    check("{\"a\":NaN}", "record 1 at byte 5 was not accepted: it is not JSON");
    check(
        &format!("{{\"{}\":1}}", "n".repeat(129)),
        "record 1 at byte 0 was not accepted: a field's name is 129 bytes long, at most 128 are allowed",
    );
    let limits = RequestLimits::default();
    let bad = outcome(b"{}\n{\"a\":\"\xff\"}", &TableSchema::new(), &options(&limits));
    assert!(bad.ends_with("was not accepted: it is not UTF-8"), "{bad}");
}

#[test]
fn nesting_is_allowed_up_to_the_limit() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let limits = RequestLimits::default();
    assert!(decode(nested(64).as_bytes(), &TableSchema::new(), &options(&limits)).is_ok());
    for levels in [65, 1_000, 100_000] {
        let found = outcome(nested(levels).as_bytes(), &TableSchema::new(), &options(&limits));
        assert!(found.ends_with("it nests deeper than 64 levels"), "{levels}: {found}");
    }
}

#[test]
fn a_record_of_too_many_bytes_is_refused_without_parsing_it() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    check(&long, "record 1 at byte 0 was not accepted: it has more than 1048576 bytes");
    check(&format!("[{{}},{long}]"), "record 2 at byte 4 was not accepted: it has more than 1048576 bytes");
}

#[test]
fn few_bytes_of_many_cells_are_refused_before_they_take_memory() {
    let limits = RequestLimits { cells_max: 1_000, ..RequestLimits::default() };
    let wide = |columns: usize| format!("{{{}}}\n", (0..columns).map(|n| format!("\"c{n}\":1")).collect::<Vec<_>>().join(","));
    let (narrow, refused) = ("{}\n".repeat(99), "the body's rows times its columns are more than 1000: send fewer rows at a time");
    let taken = |body: &str| decode(body.as_bytes(), &TableSchema::new(), &options(&limits)).map(|decoded| decoded.batch.num_rows());
    assert_eq!(taken(&format!("{}{narrow}", wide(9))).unwrap(), 100, "ten columns, the time among them");
    assert_eq!(taken(&format!("{}{narrow}", wide(10))).unwrap_err().to_string(), refused, "too many rows");
    assert_eq!(taken(&format!("{narrow}{}", wide(9))).unwrap(), 100);
    assert_eq!(taken(&format!("{narrow}{}", wide(11))).unwrap_err().to_string(), refused, "columns that begin late");
    let mismatched = format!("{}{}", wide(9), "{\"c0\":\"x\"}\n".repeat(89));
    assert_eq!(taken(&mismatched).unwrap(), 90, "a value elsewhere than its column counts once");
}

#[test]
fn columns_are_as_long_in_memory_as_their_rows_need() {
    let rows: Vec<String> = (0..3_000).map(|n| format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(n % 300))).collect();
    let limits = RequestLimits::default();
    for body in [rows.join("\n"), format!("[{}]", rows.join(","))] {
        let batch = decode(body.as_bytes(), &TableSchema::new(), &options(&limits)).unwrap().batch;
        for column in batch.columns() {
            let (held, needed) = (column.get_buffer_memory_size(), column.to_data().get_slice_memory_size().unwrap());
            assert!(held * 4 <= needed * 5, "{held} bytes held for {needed}");
        }
    }
}

#[test]
fn skipped_records_are_told_one_by_one_and_the_others_stay() {
    let limits = RequestLimits { rejected_bytes_max: 5, ..RequestLimits::default() };
    let options = DecodeOptions { on_error: OnError::Skip, ..options(&limits) };
    let body = b"{\"a\":1}\nnonsense\n{\"a\":2,\"bad\":\"\xff\"}\n{\"a\":3}";
    let decoded = decode(body, &TableSchema::new(), &options).unwrap();
    assert_eq!(show(&decoded), "a:long=1,3");
    let told: Vec<_> = decoded.rejects.iter().map(|reject| (reject.bad.line, reject.bad.reason.as_str(), reject.raw.as_str())).collect();
    assert_eq!(told, [(2, "NotJson", "nonse"), (3, "InvalidUtf8", "{\"a\":")]);

    let limits = RequestLimits { rejected_records_max: 1, ..RequestLimits::default() };
    let options = DecodeOptions { limits: &limits, ..options };
    let error = decode(body, &TableSchema::new(), &options).unwrap_err();
    assert_eq!(error.to_string(), "more than 1 records were bad, the first: record 2 at byte 8 was not accepted: it is not JSON");
}

#[test]
fn a_bad_record_leaves_no_trace_in_the_next_row() {
    let limits = RequestLimits::default();
    let options = DecodeOptions { on_error: OnError::Skip, ..options(&limits) };
    let body = format!("{{\"a\":1,\"b\":2}}\n{{\"a\":9,\"{}\":1}}\n{{\"b\":3}}", "n".repeat(129));
    let decoded = decode(body.as_bytes(), &TableSchema::new(), &options).unwrap();
    assert_eq!(show(&decoded), "a:long=1,-; b:long=2,3");
}

#[test]
fn plain_lines_become_raw_data() {
    let limits = RequestLimits::default();
    let options = DecodeOptions { format: Format::Lines, ..options(&limits) };
    assert_eq!(outcome(b"one\r\n\n{\"a\":1}\n", &TableSchema::new(), &options), r#"RawData:string=one,{"a":1}"#);
    assert_eq!(outcome(b"x", &table(&[("RawData", ColumnType::Long)]), &options), "RawData_s:string=x");
    assert_eq!(outcome(b"ok\n\xff", &TableSchema::new(), &options), "record 2 at byte 3 was not accepted: it is not UTF-8");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_filter("JSON has no such number", |x| x.is_finite()).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            proptest::collection::vec((key(), inner), 0..6).prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "a_s", "a_d", "a_b", "a_dyn", "a_s_s", "TimeGenerated", "TimeGenerated_s", "t", "_Overflow", ""]).prop_map(str::to_owned),
        1 => "\\PC{1,20}",
    ]
}

fn any_record() -> impl Strategy<Value = serde_json::Value> {
    proptest::collection::vec((key(), any_json()), 0..8).prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn typing_is_total_every_object_becomes_a_row(records in proptest::collection::vec(any_record(), 0..12), columns_max in 1_usize..20) {
        let limits = RequestLimits { columns_max, ..RequestLimits::default() };
        let options = DecodeOptions { time_field: Some("t"), ..options(&limits) };
        let mut lines = String::new();
        for record in &records {
            writeln!(lines, "{record}").unwrap();
        }
        let array = serde_json::Value::Array(records.clone()).to_string();
        let one = decode(lines.as_bytes(), &TableSchema::new(), &options).unwrap();
        prop_assert_eq!(one.batch.num_rows(), records.len());
        prop_assert!(one.schema.columns.len() <= columns_max.max(1) + 1);
        let other = decode(array.as_bytes(), &TableSchema::new(), &options).unwrap();
        prop_assert_eq!(&one.batch, &other.batch);
        let onto_itself = decode(lines.as_bytes(), &one.schema, &options).unwrap();
        prop_assert!(!onto_itself.changed);
        prop_assert_eq!(onto_itself.batch.num_rows(), records.len());
        fuzz_decode(lines.as_bytes());
    }

    #[test]
    fn arbitrary_bytes_never_break_a_rule(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        fuzz_decode(&bytes);
    }

    #[test]
    fn bytes_that_look_like_json_never_break_a_rule(text in r#"[\[\]{}":,0-9eE.+\-\\uda"t\n ]{0,120}"#) {
        fuzz_decode(text.as_bytes());
    }
}
