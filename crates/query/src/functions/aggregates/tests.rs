//! Answers worked by hand over a few rows, in one partition and in several.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampNanosecondArray};
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use strongroom_model::ColumnType;

use super::super::{Typed, aggregate};

fn rows() -> Vec<RecordBatch> {
    let batch = |group: &[&str],
                 text: &[Option<&str>],
                 number: &[Option<i64>],
                 real: &[Option<f64>],
                 time: &[Option<i64>],
                 json: &[Option<&str>]| {
        RecordBatch::try_from_iter_with_nullable([
            ("g", Arc::new(StringViewArray::from_iter_values(group)) as ArrayRef, true),
            ("s", Arc::new(text.iter().copied().collect::<StringViewArray>()), true),
            ("n", Arc::new(number.iter().copied().collect::<Int64Array>()), true),
            ("r", Arc::new(real.iter().copied().collect::<Float64Array>()), true),
            ("t", Arc::new(time.iter().copied().collect::<TimestampNanosecondArray>().with_timezone("UTC")), true),
            ("d", Arc::new(json.iter().copied().collect::<StringViewArray>()), true),
        ])
        .unwrap()
    };
    vec![
        batch(
            &["a", "a", "b"],
            &[Some("x"), None, Some("z")],
            &[Some(10), Some(20), None],
            &[Some(1.5), None, Some(-2.0)],
            &[Some(1_000), Some(3_000), None],
            &[Some("{\"k\":1}"), Some("[1,2]"), None],
        ),
        batch(
            &["a", "b"],
            &[Some("x"), Some("y")],
            &[Some(30), None],
            &[Some(4.0), Some(-1.0)],
            &[Some(2_000), None],
            &[Some("2"), Some("{\"k\":2,\"m\":3}")],
        ),
    ]
}

fn column(name: &str) -> Typed {
    let kind = match name {
        "n" => ColumnType::Long,
        "r" => ColumnType::Real,
        "t" => ColumnType::DateTime,
        "d" => ColumnType::Dynamic,
        _ => ColumnType::String,
    };
    Typed::new(col(name), kind)
}

fn number(value: i64) -> Typed {
    Typed::new(lit(value), ColumnType::Long)
}

/// The aggregate by group `g` and over everything, one line each; the same however the rows are spread.
fn answers(name: &str, arguments: &[Typed]) -> String {
    let alone = run(name, arguments, 1);
    assert_eq!(alone, run(name, arguments, 3), "{name} depends on partitions");
    alone
}

fn run(name: &str, arguments: &[Typed], partitions: usize) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(2);
        let context = SessionContext::new_with_config(config);
        let mut lines = Vec::new();
        for groups in [vec![col("g")], vec![]] {
            let bound = aggregate(name).unwrap().bind(arguments.to_vec()).unwrap_or_else(|misfit| panic!("{}", misfit.message));
            let schema = rows()[0].schema();
            // One partition a batch, so that several partial states are merged.
            let parts = if partitions == 1 { vec![rows()] } else { rows().into_iter().map(|batch| vec![batch]).collect() };
            let table = datafusion::datasource::MemTable::try_new(schema, parts).unwrap();
            let input = context.read_table(Arc::new(table)).unwrap();
            let mut shown = groups.clone();
            shown.extend((0..bound.columns.len()).map(|index| bound.value(col("out"), index).expr.alias(format!("c{index}"))));
            let output = input.aggregate(groups.clone(), vec![bound.call.clone().alias("out")]).unwrap().select(shown).unwrap();
            let output = if groups.is_empty() { output } else { output.sort(vec![col("g").sort(true, true)]).unwrap() };
            for batch in output.collect().await.unwrap() {
                for row in 0..batch.num_rows() {
                    let cells = batch.columns().iter().map(|column| {
                        arrow::util::display::array_value_to_string(column, row)
                            .map(|text| if column.is_null(row) { "null".to_owned() } else { text })
                            .unwrap()
                    });
                    lines.push(cells.collect::<Vec<_>>().join(" "));
                }
            }
        }
        lines.join(" | ")
    })
}

#[test]
fn counts_and_sums() {
    assert_eq!(answers("count", &[]), "a 3 | b 2 | 5");
    assert_eq!(answers("count", &[column("n")]), "a 3 | b 2 | 5"); // E: nulls count, too
    assert_eq!(answers("countif", &[Typed::new(col("n").gt(lit(10_i64)), ColumnType::Bool)]), "a 2 | b 0 | 2");
    assert_eq!(answers("sum", &[column("n")]), "a 60 | b 0 | 60");
    assert_eq!(answers("sumif", &[column("n"), Typed::new(col("s").eq(lit("x")), ColumnType::Bool)]), "a 40 | b 0 | 40");
    assert_eq!(answers("avg", &[column("n")]), "a 20.0 | b NaN | 20.0"); // E
    assert_eq!(answers("min", &[column("s")]), "a  | b y | "); // strings are never null
    assert_eq!(answers("max", &[column("n")]), "a 30 | b null | 30");
    assert_eq!(answers("dcount", &[column("s")]), "a 2 | b 2 | 4");
    assert_eq!(answers("count_distinct", &[column("n")]), "a 3 | b 0 | 3");
    assert_eq!(answers("stdev", &[column("n")]), "a 10.0 | b 0.0 | 10.0");
}

#[test]
fn the_row_of_the_extreme_comes_whole() {
    assert_eq!(
        answers("arg_max", &[column("t"), column("n"), column("s")]),
        "a 1970-01-01T00:00:00.000003Z 20  | b null null  | 1970-01-01T00:00:00.000003Z 20 "
    );
    assert_eq!(answers("arg_min", &[column("r"), column("n"), column("s")]), "a 1.5 10 x | b -2.0 null z | -2.0 null z");
    assert_eq!(run("arg_max", &[column("s"), column("n")], 1), "a x 10 | b z null | z null");
    assert_eq!(run("take_any", &[column("s")], 1), "a x | b z | x");
    assert_eq!(run("take_any", &[column("n")], 1).split(" | ").nth(1), Some("b null"));
}

#[test]
fn lists_sets_and_bags() {
    assert_eq!(run("make_list", &[column("n")], 1), "a [10,20,30] | b [] | [10,20,30]");
    assert_eq!(run("make_list", &[column("n"), number(2)], 1), "a [10,20] | b [] | [10,20]");
    assert_eq!(run("make_set", &[column("s")], 1), r#"a ["x",""] | b ["z","y"] | ["x","","z","y"]"#);
    assert_eq!(run("make_list", &[column("d")], 1), r#"a [{"k":1},1,2,2] | b [null,{"k":2,"m":3}] | [{"k":1},1,2,null,2,{"k":2,"m":3}]"#); // E: flattened
    assert_eq!(run("make_bag", &[column("d")], 1), r#"a {"k":1} | b {"k":2,"m":3} | {"k":1,"m":3}"#);
    assert_eq!(answers("make_set", &[Typed::new(lit("x"), ColumnType::String)]), r#"a ["x"] | b ["x"] | ["x"]"#);
    assert_eq!(run("make_list_with_nulls", &[column("n")], 1), "a [10,20,30] | b [null,null] | [10,20,null,30,null]");
}

#[test]
fn percentiles_are_elements_of_the_data() {
    assert_eq!(answers("percentile", &[column("n"), number(50)]), "a 20 | b null | 20");
    assert_eq!(
        answers("percentiles", &[column("r"), number(0), number(50), number(100)]),
        "a 1.5 1.5 4.0 | b -2.0 -2.0 -1.0 | -2.0 -1.0 4.0"
    );
    let misfit = aggregate("percentile").unwrap().bind(vec![column("n"), number(101)]).unwrap_err();
    assert_eq!(misfit.argument, Some(1));
}

#[test]
fn weights_make_values_count_several_times() {
    // Of the values 10, 20, 30 of `a` with those weights: 60 in all, the 31st lies among the 30s.
    assert_eq!(
        answers("percentilesw", &[column("n"), column("n"), number(16), number(50), number(51)]),
        "a 10 20 30 | b null null null | 10 20 30"
    );
    assert_eq!(answers("percentilew", &[column("t"), number(1), number(50)]).split(" | ").next(), Some("a 1970-01-01T00:00:00.000002Z"));
    assert_eq!(answers("percentiles_array", &[column("n"), number(0), number(100)]), "a [10,30] | b [null,null] | [10,30]");
    assert_eq!(answers("percentilesw_array", &[column("n"), number(1), number(50)]), "a [20] | b [null] | [20]");
    let misfit = aggregate("percentilew").unwrap().bind(vec![column("n"), column("s"), number(1)]).unwrap_err();
    assert_eq!(misfit.argument, Some(1));
}

#[test]
fn covariances() {
    // Of (10, 1.5) and (30, 4.0): the row in between has no real.
    assert_eq!(answers("covariance", &[column("n"), column("r")]), "a 25.0 | b 0.0 | 25.0");
    assert_eq!(answers("covariancep", &[column("n"), column("r")]), "a 12.5 | b 0.0 | 12.5");
    let condition = Typed::new(col("n").gt(lit(15_i64)), ColumnType::Bool);
    assert_eq!(answers("covarianceif", &[column("n"), column("r"), condition]), "a 0.0 | b 0.0 | 0.0");
}

#[test]
fn sketches_are_made_and_merged() {
    let summary = r#"{"tdigest":"long","clusters":[10.0,1.0,20.0,1.0,30.0,1.0]}"#;
    assert_eq!(answers("tdigest", &[column("n")]), format!("a {summary} | b null | {summary}"));
    let weighted = r#"{"tdigest":"long","clusters":[10.0,10.0,20.0,20.0,30.0,30.0]}"#;
    assert_eq!(answers("tdigest", &[column("n"), column("n")]).split(" | ").next(), Some(format!("a {weighted}").as_str()));
    let constant = Typed::new(lit(summary), ColumnType::Dynamic);
    assert_eq!(
        answers("tdigest_merge", &[constant]).split(" | ").nth(1),
        Some(r#"b {"tdigest":"long","clusters":[10.0,2.0,20.0,2.0,30.0,2.0]}"#)
    );
    let hll = answers("hll", &[column("n")]);
    assert!(hll.starts_with(r#"a {"hll":14,"few":""#) && hll.contains("b null"), "{hll}");
    assert!(answers("hll", &[column("n"), number(3)]).starts_with(r#"a {"hll":17,"#));
    assert_eq!(run("buildschema", &[column("d")], 1).split(" | ").next(), Some(r#"a ["long",{"k":"long","`indexer`":"long"}]"#));
    let misfit = aggregate("hll").unwrap().bind(vec![column("n"), number(9)]).unwrap_err();
    assert_eq!(misfit.message, "hll() takes an accuracy from 0 to 4 written out here");
}

#[test]
fn what_does_not_fit_is_said() {
    let complaint = |name: &str, arguments: Vec<Typed>| aggregate(name).unwrap().bind(arguments).unwrap_err().message;
    assert_eq!(complaint("sum", vec![]), "sum() takes 1 argument, not 0");
    assert_eq!(complaint("sum", vec![column("s")]), "sum() takes a number, not a string; convert it first: todouble(..)");
    assert_eq!(complaint("countif", vec![]), "countif() needs a condition as argument 1");
}
