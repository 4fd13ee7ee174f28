//! Whether two answers are the same: columns by name, type and place, rows by the rules that come with the cases.

use serde_json::Value;
use strongroom_kql::{parse_datetime, parse_timespan};
use strongroom_model::ColumnType;

use super::super::fixture::Table;
use super::order;

/// A value, for comparing.
#[derive(Clone, Debug)]
enum Cell {
    Null,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    /// A datetime or timespan, in ticks.
    Ticks(i64),
    Json(Value),
}

/// Relative difference up to which reals are the same.
const TOLERANCE: f64 = 1e-9;

/// Whether the rows, or which of them, are left open by the question.
pub(super) fn is_free(case: &Value) -> bool {
    case["nondeterministic"] == true || case["row_choice_free"] == true
}

/// What is wrong with an answer, if anything.
pub(super) fn difference(text: &str, case: &Value, have: &Table) -> Option<String> {
    if let Some(why) = columns_differ(&case["columns"], &have.columns) {
        // The documentation's table may say otherwise than the official parser; either will do.
        let header = case["doc_header_differs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let other = header.iter().map(|pair| serde_json::json!({"name": pair[0], "type": pair[1]})).collect();
        if header.is_empty() || columns_differ(&Value::Array(other), &have.columns).is_some() {
            return Some(why);
        }
    }
    let wanted = case["rows"].as_array().expect("rows");
    if case["nondeterministic"] == true {
        return None;
    }
    if case["row_choice_free"] == true {
        return (wanted.len() != have.rows.len()).then(|| format!("rows: want {}, have {}", wanted.len(), have.rows.len()));
    }
    let from_text = case["trust"] == 2;
    let expected: Vec<Vec<Cell>> = wanted
        .iter()
        .map(|row| row.as_array().expect("a row").iter().zip(&have.columns).map(|(value, (_, kind))| expected(value, *kind)).collect())
        .collect();
    let given: Vec<Vec<Cell>> =
        have.rows.iter().map(|row| row.iter().zip(&have.columns).map(|(cell, (_, kind))| given(cell, *kind)).collect()).collect();
    let same_row = |want: &[Cell], have: &[Cell]| want.len() == have.len() && want.iter().zip(have).all(|(a, b)| same(a, b, from_text));
    let told = |what: &str| Some(format!("{what}:\n  want {}\n  have {}", shown(&expected), shown(&given)));
    let mut left: Vec<&Vec<Cell>> = given.iter().collect();
    for want in &expected {
        let Some(at) = left.iter().position(|have| same_row(want, have)) else { return told("rows") };
        left.remove(at);
    }
    if !left.is_empty() && case["truncated"] != true {
        return told("rows too many");
    }
    if case["ordered"] == true && left.is_empty() {
        let places: Vec<usize> =
            order::visible_keys(text).iter().map_while(|key| have.columns.iter().position(|(name, _)| name == key)).collect();
        let in_order = |(want, have): (&Vec<Cell>, &Vec<Cell>)| places.iter().all(|at| same(&want[*at], &have[*at], from_text));
        if !expected.iter().zip(&given).all(in_order) {
            return told("order");
        }
    }
    None
}

/// What is wrong with the columns, if anything.
pub(super) fn columns_differ(wanted: &Value, have: &[(String, ColumnType)]) -> Option<String> {
    let wanted: Vec<(&str, &str)> = wanted
        .as_array()
        .expect("columns")
        .iter()
        .map(|column| (column["name"].as_str().unwrap_or_default(), column["type"].as_str().unwrap_or_default()))
        .collect();
    // `int|long`: the recorder did not tell which; `unknown`: the official parser does not.
    let kind_fits =
        |wanted: &str, kind: ColumnType| wanted.is_empty() || wanted == "unknown" || wanted.split('|').any(|one| one == kind.as_str());
    let fits =
        wanted.len() == have.len() && wanted.iter().zip(have).all(|((name, wanted), (own, kind))| name == own && kind_fits(wanted, *kind));
    if fits {
        return None;
    }
    let have: Vec<(&str, &str)> = have.iter().map(|(name, kind)| (name.as_str(), kind.as_str())).collect();
    Some(format!("columns: want {wanted:?} have {have:?}"))
}

/// A recorded value, read as the type our column has.
fn expected(value: &Value, kind: ColumnType) -> Cell {
    match (value, kind) {
        (Value::Null, ColumnType::String) => Cell::Text(String::new()),
        (Value::Null, _) => Cell::Null,
        (value, ColumnType::Dynamic) => Cell::Json(value.clone()),
        // So the documentation writes it.
        (Value::String(text), kind) if text == "null" && kind != ColumnType::String => Cell::Null,
        (Value::String(text), kind) => scalar(text, kind),
        (value, ColumnType::String) => Cell::Text(value.to_string()),
        (Value::Number(number), ColumnType::Bool) => Cell::Bool(number.as_f64() != Some(0.0)),
        (value, kind) => scalar(&value.to_string(), kind),
    }
}

/// A cell of ours as the fixture writes it.
fn given(cell: &str, kind: ColumnType) -> Cell {
    match kind {
        ColumnType::String => Cell::Text(cell[1..cell.len() - 1].to_owned()),
        _ if cell == "null" => Cell::Null,
        ColumnType::Dynamic => Cell::Json(serde_json::from_str(cell).unwrap_or_else(|_| Value::from(cell))),
        kind => scalar(cell, kind),
    }
}

/// A value written out; what cannot be read stays text and equals nothing but itself.
fn scalar(text: &str, kind: ColumnType) -> Cell {
    let read = match kind {
        ColumnType::Bool => match text {
            "true" | "True" | "1" => Some(Cell::Bool(true)),
            "false" | "False" | "0" => Some(Cell::Bool(false)),
            _ => None,
        },
        ColumnType::Int | ColumnType::Long => text.parse().ok().map(Cell::Whole),
        ColumnType::Real | ColumnType::Decimal => match text {
            "Infinity" | "inf" => Some(Cell::Real(f64::INFINITY)),
            "-Infinity" | "-inf" => Some(Cell::Real(f64::NEG_INFINITY)),
            text => text.parse().ok().map(Cell::Real),
        },
        ColumnType::DateTime => parse_datetime(text).map(Cell::Ticks),
        ColumnType::TimeSpan => parse_timespan(text).map(Cell::Ticks),
        ColumnType::String | ColumnType::Guid | ColumnType::Dynamic => None,
    };
    // In a table of the documentation nothing and null look alike.
    read.unwrap_or_else(|| if text.is_empty() && kind != ColumnType::String { Cell::Null } else { Cell::Text(text.to_owned()) })
}

fn same(want: &Cell, have: &Cell, from_text: bool) -> bool {
    match (want, have) {
        (Cell::Null | Cell::Json(Value::Null), Cell::Null) | (Cell::Null, Cell::Json(Value::Null)) => true,
        (Cell::Bool(a), Cell::Bool(b)) => a == b,
        (Cell::Whole(a), Cell::Whole(b)) => a == b,
        (Cell::Real(a), Cell::Real(b)) => same_real(*a, *b),
        (Cell::Ticks(a), Cell::Ticks(b)) => a == b,
        // A line of a table cannot hold line breaks or runs of blanks.
        (Cell::Text(a), Cell::Text(b)) if from_text => a.split_whitespace().eq(b.split_whitespace()),
        (Cell::Text(a), Cell::Text(b)) => a == b,
        (Cell::Json(a), Cell::Json(b)) => same_json(a, b) || from_written(a).is_some_and(|a| same_json(&a, b)),
        // A null and an empty string of a dynamic column.
        (Cell::Json(Value::String(text)), Cell::Null) => from_text && text.is_empty(),
        _ => false,
    }
}

/// A dynamic value that was recorded as its text.
fn from_written(value: &Value) -> Option<Value> {
    serde_json::from_str(value.as_str()?).ok()
}

#[expect(clippy::float_cmp, reason = "infinities are equal to themselves")]
fn same_real(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// JSON is JSON: the order of members does not count, numbers are numbers.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| same_real(a, b) && (a.fract() != 0.0 || a.abs() < 1e15))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b))),
        (a, b) => a == b,
    }
}

fn shown(rows: &[Vec<Cell>]) -> String {
    let cell = |cell: &Cell| match cell {
        Cell::Null => "null".to_owned(),
        Cell::Bool(value) => value.to_string(),
        Cell::Whole(value) => value.to_string(),
        Cell::Real(value) => format!("{value:?}"),
        Cell::Text(text) => format!("{text:?}"),
        Cell::Ticks(ticks) => format!("{ticks} ticks"),
        Cell::Json(value) => value.to_string(),
    };
    let rows = rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join(" | "));
    rows.collect::<Vec<_>>().join("\n       ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn long_table(rows: &[[&str; 2]]) -> Table {
        Table {
            columns: vec![("a".to_owned(), ColumnType::Long), ("b".to_owned(), ColumnType::String)],
            rows: rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
        }
    }

    fn case(rows: &Value, ordered: bool) -> Value {
        json!({"columns": [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}], "rows": rows, "ordered": ordered, "trust": 1})
    }

    #[test]
    fn rows_are_a_multiset_unless_the_question_orders_them() {
        let have = long_table(&[["1", "'x'"], ["1", "'y'"], ["2", "'z'"]]);
        let swapped = json!([[2, "z"], [1, "y"], [1, "x"]]);
        assert!(difference("T", &case(&swapped, false), &have).is_none());
        assert!(difference("T | sort by a asc", &case(&swapped, true), &have).is_some());
        let tie = json!([[1, "y"], [1, "x"], [2, "z"]]);
        assert!(difference("T | sort by a asc", &case(&tie, true), &have).is_none());
        assert!(difference("T | sort by a asc, b asc", &case(&tie, true), &have).is_some());
    }

    #[test]
    fn a_row_too_many_too_few_or_of_another_value_is_a_difference() {
        let have = long_table(&[["1", "'x'"], ["1", "'x'"]]);
        assert!(difference("T", &case(&json!([[1, "x"]]), false), &have).is_some());
        assert!(difference("T", &case(&json!([[1, "x"], [1, "x"], [1, "x"]]), false), &have).is_some());
        assert!(difference("T", &case(&json!([[1, "x"], [1, "y"]]), false), &have).is_some());
        assert!(difference("T", &case(&json!([[1, "x"], [null, "x"]]), false), &have).is_some());
        assert!(difference("T", &case(&json!([[1, "x"], [1, "x"]]), false), &have).is_none());
    }

    #[test]
    fn columns_count_by_name_type_and_place() {
        let have = [("a".to_owned(), ColumnType::Long), ("b".to_owned(), ColumnType::Real)];
        let differ = |wanted: Value| columns_differ(&wanted, &have).is_some();
        assert!(!differ(json!([{"name": "a", "type": "int|long"}, {"name": "b", "type": null}])));
        assert!(differ(json!([{"name": "b", "type": "real"}, {"name": "a", "type": "long"}])));
        assert!(differ(json!([{"name": "a", "type": "int"}, {"name": "b", "type": "real"}])));
        assert!(differ(json!([{"name": "a", "type": "long"}])));
    }

    #[test]
    fn values_are_compared_as_what_they_are() {
        let equal = |want: Value, have: &str, kind| same(&expected(&want, kind), &given(have, kind), false);
        assert!(equal(json!(0.1), "0.10000000000000001", ColumnType::Real));
        assert!(!equal(json!(0.1), "0.1000001", ColumnType::Real));
        assert!(equal(json!("NaN"), "NaN", ColumnType::Real));
        assert!(equal(json!("2020-01-01T00:00:00.0000000Z"), "2020-01-01T00:00:00Z", ColumnType::DateTime));
        assert!(equal(json!("1.00:00:00"), "1.00:00:00.0000000", ColumnType::TimeSpan));
        assert!(equal(json!({"a": 1, "b": [1.0]}), r#"{"b":[1],"a":1}"#, ColumnType::Dynamic));
        assert!(!equal(json!({"a": 1}), r#"{"a":1,"b":null}"#, ColumnType::Dynamic));
        assert!(equal(json!("3"), "\"3\"", ColumnType::Dynamic));
        assert!(equal(json!(null), "''", ColumnType::String));
        assert!(!equal(json!(null), "0", ColumnType::Long));
    }
}
