//! Rows to send, and what a query must answer about them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::load::Generator;

/// One row in so many is marked.
const MARKED_ONE_IN: u64 = 50;
/// Time between two rows.
const STEP_NS: i64 = 50_000_000;

/// What the demo asks. The answer is the same wherever rows lie, or it is an error.
pub(super) const QUESTION: &str = "ServiceLogs | summarize rows_ = count(), bytes_ = sum(bytes) by level | sort by level asc";

/// What was sent so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Rows and the sum of `bytes` for each level.
    levels: BTreeMap<String, (u64, u64)>,
    /// Rows that carry the marker.
    pub(super) marked: u64,
}

/// Texts that must be found nowhere outside of an answer.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// Stands in rows and in a query.
    pub(super) value: String,
    /// Names a column.
    pub(super) column: String,
}

/// The part of a row that is summed up.
#[derive(Deserialize)]
struct Line<'a> {
    level: &'a str,
    #[serde(default)]
    bytes: u64,
}

impl Marks {
    pub(super) fn new() -> Self {
        let random = || hex::encode(rand::random::<[u8; 8]>());
        Self { value: format!("canary-{}", random()), column: format!("canary_{}", random()) }
    }
}

impl Sent {
    /// As many rows as asked for, a line each; the last of them is about `before_now` old.
    pub(super) fn generate(&mut self, generator: &mut Generator, marks: &Marks, rows: u64, before_now: Duration) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(before_now);
        let end = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX);
        let mut body = Vec::new();
        for row in 0..rows {
            let begin = body.len();
            generator.row(end.saturating_sub((rows - row).cast_signed() * STEP_NS), &mut body);
            let line: Line<'_> = serde_json::from_slice(&body[begin..]).expect("the generator writes JSON");
            let (count, bytes) = self.levels.entry(line.level.to_owned()).or_default();
            (*count, *bytes) = (*count + 1, *bytes + line.bytes);
            if row % MARKED_ONE_IN == 0 {
                body.truncate(body.len() - "}\n".len());
                body.extend_from_slice(format!(",\"{}\":\"{}\"}}\n", marks.column, marks.value).as_bytes());
                self.marked += 1;
            }
        }
        body
    }

    pub(super) fn rows(&self) -> u64 {
        self.levels.values().map(|(rows, _)| rows).sum()
    }

    /// The right answer to [`QUESTION`], as CSV.
    pub(super) fn csv(&self) -> String {
        let mut text = "level,rows_,bytes_\n".to_owned();
        for (level, (rows, bytes)) in &self.levels {
            writeln!(text, "{level},{rows},{bytes}").expect("a string takes everything");
        }
        text
    }

    /// The same as the rows of a JSON answer.
    pub(super) fn json(&self) -> Value {
        self.levels.iter().map(|(level, (rows, bytes))| json!([level, rows, bytes])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_summed_up_and_one_row_in_fifty_is_marked() {
        let (mut sent, marks, mut generator) = (Sent::default(), Marks::new(), Generator::new(7, "TimeGenerated"));
        let body = sent.generate(&mut generator, &marks, 1_000, Duration::ZERO);
        let text = String::from_utf8(body).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((lines.len(), sent.rows(), sent.marked), (1_000, 1_000, 20));
        assert_eq!(lines.iter().filter(|line| line[&marks.column] == *marks.value).count(), 20);
        let errors = lines.iter().filter(|line| line["level"] == "ERROR");
        let bytes: u64 = errors.clone().filter_map(|line| line["bytes"].as_u64()).sum();
        assert!(sent.csv().contains(&format!("\nERROR,{},{bytes}\n", errors.count())), "{}", sent.csv());
        assert_eq!(sent.json().as_array().unwrap().len(), 4);
    }
}
