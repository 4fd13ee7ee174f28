//! The Log Analytics answer: `{"tables":[{"name":"PrimaryResult","columns":[..],"rows":[[..],..]}],..}`.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use serde_json::json as value;
use strongroom_model::{Column, ColumnType};

use super::cell::{cell, quote, write_json};
use crate::answer::Partial;
use crate::{Answer, QueryError, QueryStats, Render};

/// What to put beside the rows of a JSON answer, and how long it may be.
#[derive(Clone, Copy, Debug)]
pub struct JsonOptions {
    /// `statistics`.
    pub statistics: bool,
    /// `render`.
    pub render: bool,
    /// Most bytes of rows; the answer is then cut and marked partial. Default 64,000,000 (Azure's limit).
    pub bytes_max: usize,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self { statistics: false, render: false, bytes_max: 64_000_000 }
    }
}

/// The rows of an answer, complete, as JSON arrays; and what is known once they are.
#[derive(Debug)]
pub struct Rows {
    /// Names and KQL types.
    pub columns: Vec<Column>,
    /// `[[..],[..]]`.
    pub rows: Vec<u8>,
    /// Why there are no more, if the answer was cut.
    pub cut: Option<Partial>,
    /// What it cost.
    pub stats: Arc<QueryStats>,
    /// How the text asked to be shown.
    pub render: Option<Render>,
}

/// All rows of an answer, no more than `bytes_max` bytes of them; `embed` puts `dynamic` values in as they are, else as strings.
///
/// # Errors
/// Whatever ended the query.
pub async fn rows(answer: Answer, embed: bool, bytes_max: usize) -> Result<Rows, QueryError> {
    let mut out = Vec::with_capacity(4_096);
    let (columns, cut, stats, render) = append_rows(answer, embed, bytes_max, &mut out, |_, _| {}).await?;
    Ok(Rows { columns, rows: out, cut, stats, render })
}

type Known = (Vec<Column>, Option<Partial>, Arc<QueryStats>, Option<Render>);

/// Appends `[[..],[..]]`, after what `head` writes for the columns.
async fn append_rows(
    answer: Answer,
    embed: bool,
    bytes_max: usize,
    out: &mut Vec<u8>,
    head: impl FnOnce(&[Column], &mut Vec<u8>),
) -> Result<Known, QueryError> {
    let Answer { columns, mut batches, stats, render, .. } = answer;
    head(&columns, out);
    out.push(b'[');
    let dynamic: Vec<bool> = columns.iter().map(|column| column.kind == ColumnType::Dynamic).collect();
    let (start, mut first, mut cut) = (out.len(), true, None);
    'rows: while let Some(batch) = batches.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let before = out.len();
            out.extend_from_slice(if first { b"[" } else { b",[" });
            for (i, column) in batch.columns().iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_json(&cell(column.as_ref(), row, dynamic[i]), embed, out);
            }
            out.push(b']');
            if out.len() - start > bytes_max {
                out.truncate(before);
                let message = format!(
                    "The results of this query exceed the set limit of {bytes_max} bytes (E_QUERY_RESULT_SET_TOO_LARGE, 0x80DA0003)."
                );
                cut = Some(Partial { code: "-2133196797", message });
                break 'rows;
            }
            first = false;
        }
    }
    // Dropped early, the stream cancels what still runs.
    drop(batches);
    out.push(b']');
    let cut = cut.or_else(|| stats.partial());
    Ok((columns, cut, stats, render))
}

/// The whole answer in the Log Analytics shape, complete before it is returned.
///
/// # Errors
/// Whatever ended the query.
pub async fn json(answer: Answer, options: JsonOptions) -> Result<Bytes, QueryError> {
    let mut out = Vec::with_capacity(4_096);
    let (_, cut, stats, render) = append_rows(answer, false, options.bytes_max, &mut out, head).await?;
    out.extend_from_slice(b"}]");
    let mut part = |name: &str, value: &serde_json::Value| {
        out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
    };
    if options.statistics {
        part("statistics", &stats.to_json());
    }
    if options.render {
        part("render", &render.map_or_else(|| value!({"visualization": null}), |render| value!(render)));
    }
    if let Some(why) = cut {
        part("error", &partial(&why));
    }
    out.push(b'}');
    Ok(Bytes::from(out))
}

/// Everything up to the rows.
fn head(columns: &[Column], out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"tables":[{"name":"PrimaryResult","columns":["#);
    for (i, column) in columns.iter().enumerate() {
        out.extend_from_slice(if i == 0 { br#"{"name":"# } else { br#",{"name":"# });
        quote(&column.name, out);
        out.extend_from_slice(br#","type":"#);
        quote(column.kind.as_str(), out);
        out.push(b'}');
    }
    out.extend_from_slice(br#"],"rows":"#);
}

fn partial(why: &Partial) -> serde_json::Value {
    value!({
        "code": "PartialError",
        "message": "There were some errors when processing your query.",
        "details": [{
            "code": "EngineError",
            "message": "Something went wrong processing your query on the server.",
            "innererror": {"code": why.code, "message": why.message, "severity": 2, "severityName": "Error"},
        }],
    })
}
