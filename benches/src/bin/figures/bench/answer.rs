//! Answers of different engines, made comparable.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use serde_json::Value;
use strongroom_benches::data::FIELDS;

/// What a column is called, and its value as text; absent ones left out.
type Row = BTreeMap<String, String>;

/// The rows of an answer, in an order of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer(Vec<Row>);

/// Columns that questions make.
const MADE: [&str; 3] = ["n", "t", "p95"];
/// Engines estimate percentiles, each in its way.
const PERCENTILES_MAY_DIFFER: f64 = 0.02;

impl Answer {
    fn of(rows: impl Iterator<Item = Vec<(String, String)>>) -> Self {
        let row = |cells: Vec<(String, String)>| -> Row {
            let known =
                |(name, text): &(String, String)| !text.is_empty() && (FIELDS.contains(&name.as_str()) || MADE.contains(&name.as_str()));
            cells
                .into_iter()
                .filter(known)
                .map(|(name, text)| {
                    let text = normal(&name, &text);
                    (name, text)
                })
                .collect()
        };
        let mut rows: Vec<Row> = rows.map(row).collect();
        // By what identifies a row: estimates differ between engines.
        rows.sort_by(|one, other| identity(one).cmp(identity(other)));
        Self(rows)
    }

    /// From a reply of our server.
    pub(crate) fn of_reply(text: &str) -> Self {
        let reply: Value = serde_json::from_str(text).expect("JSON");
        assert!(reply.get("error").is_none(), "an answer cut short is no measure: {}", reply["error"]);
        let table = &reply["tables"][0];
        let mut names: Vec<String> = table["columns"]
            .as_array()
            .expect("columns")
            .iter()
            .map(|column| column["name"].as_str().expect("a name").to_owned())
            .collect();
        if let [only] = names.as_mut_slice()
            && only == "Count"
        {
            // What `| count` calls it.
            only.replace_range(.., "n");
        }
        Self::of_lists(&names, &table["rows"])
    }

    /// From names and rows of JSON values.
    pub(crate) fn of_lists(names: &[String], rows: &Value) -> Self {
        let text = |value: &Value| match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self::of(rows.as_array().expect("rows").iter().map(|row| {
            let cells = row.as_array().expect("a row").iter();
            names.iter().cloned().zip(cells.map(text)).collect()
        }))
    }

    /// From Arrow.
    pub(crate) fn of_batches(batches: &[RecordBatch]) -> Self {
        Self::of(batches.iter().flat_map(|batch| {
            (0..batch.num_rows()).map(move |row| {
                let cell = |(field, column): (&arrow::datatypes::FieldRef, &arrow::array::ArrayRef)| {
                    let text = if column.is_null(row) { String::new() } else { array_value_to_string(column, row).expect("a value") };
                    (field.name().clone(), text)
                };
                batch.schema_ref().fields().iter().zip(batch.columns()).map(cell).collect()
            })
        }))
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.len()
    }

    /// The only number of a count.
    pub(crate) fn number(&self) -> Option<u64> {
        self.0.first()?.get("n")?.parse().ok()
    }

    /// Whether both say the same; else what is different.
    pub(crate) fn compare(&self, other: &Self) -> Result<(), String> {
        if self.0.len() != other.0.len() {
            return Err(format!("{} rows against {}", self.0.len(), other.0.len()));
        }
        let differs = self.0.iter().zip(&other.0).find(|(one, another)| !alike(one, another));
        differs.map_or(Ok(()), |(one, another)| Err(format!("{one:?} against {another:?}")))
    }
}

fn identity(row: &Row) -> impl Iterator<Item = (&String, &String)> {
    row.iter().filter(|(name, _)| *name != "p95")
}

fn alike(one: &Row, another: &Row) -> bool {
    one.len() == another.len()
        && one.iter().zip(another).all(|((name, value), (other_name, other))| {
            let near = |value: &str, other: &str| -> Option<bool> {
                let (value, other): (f64, f64) = (value.parse().ok()?, other.parse().ok()?);
                Some((value / other - 1.0).abs() <= PERCENTILES_MAY_DIFFER)
            };
            name == other_name && (value == other || name == "p95" && near(value, other) == Some(true))
        })
}

/// Reals with three decimals; times without a zone and without zeros at their end.
fn normal(name: &str, text: &str) -> String {
    match name {
        "duration_ms" | "p95" => text.parse::<f64>().map_or_else(|_| text.to_owned(), |number| format!("{number:.3}")),
        "TimeGenerated" | "t" => {
            let bare = text.replacen(' ', "T", 1);
            let bare = bare.trim_end_matches('Z').trim_end_matches("+00:00");
            if bare.contains('.') { bare.trim_end_matches('0').trim_end_matches('.').to_owned() } else { bare.to_owned() }
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(names: &[&str], rows: &str) -> Answer {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        Answer::of_lists(&names, &serde_json::from_str(rows).unwrap())
    }

    #[test]
    fn spelling_order_and_absent_values_do_not_matter_but_values_do() {
        let one = answer(&["t", "n", "Extra"], r#"[["2026-03-01T00:00:00.500Z", 3, "x"], ["2026-03-01T00:01:00Z", 4, null]]"#);
        let other = answer(&["n", "t"], r#"[["4", "2026-03-01 00:01:00"], ["3", "2026-03-01 00:00:00.5"]]"#);
        assert_eq!(one.compare(&other), Ok(()));
        let wrong = answer(&["n", "t"], r#"[["5", "2026-03-01 00:01:00"], ["3", "2026-03-01 00:00:00.5"]]"#);
        assert!(one.compare(&wrong).is_err());
        assert!(one.compare(&answer(&["n", "t"], "[]")).is_err());
    }

    #[test]
    fn percentiles_may_differ_a_little() {
        let exact = answer(&["service", "p95"], r#"[["a", 100.0], ["b", 200.0]]"#);
        assert_eq!(exact.compare(&answer(&["service", "p95"], r#"[["a", 100.9], ["b", 199.1]]"#)), Ok(()));
        assert!(exact.compare(&answer(&["service", "p95"], r#"[["a", 104.0], ["b", 199.1]]"#)).is_err());
    }
}
