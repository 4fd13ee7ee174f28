//! `strongroom query`.

use std::io::{Read, Write, stdin, stdout};

use clap::{Args, ValueEnum};
use http_body_util::BodyExt;
use reqwest::{Method, Response, header};
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{CallError, InWorkspace, Target, Wrong, root_cause};
use crate::output;

/// A query read from stdin is at most so long; the server takes less.
const TEXT_MAX: u64 = 1 << 20;

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// A table for people
    #[default]
    Table,
    /// The answer document, in the Log Analytics shape
    Json,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Ndjson,
}

/// Asks a question in KQL, or in SQL with --sql.
#[derive(Debug, Args)]
pub(crate) struct Query {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    within: InWorkspace,
    /// The question; `-` reads it from stdin
    #[arg(value_name = "QUERY")]
    text: String,
    /// The question is SQL
    #[arg(long)]
    sql: bool,
    /// How to print; csv and ndjson are streamed
    #[arg(long, short, value_enum, default_value_t)]
    output: Shape,
    /// Only rows of this time: a duration before now (P1D, PT30M) or START/END
    #[arg(long, value_name = "TIMESPAN")]
    timespan: Option<String>,
    /// Shows how the question would be answered
    #[arg(long)]
    explain: bool,
    /// A value for what the question declares with `declare query_parameters`; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is to be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Query {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let text = if self.text == "-" { read_stdin()? } else { self.text };
        let mut question = json!({"query": text, "language": if self.sql { "sql" } else { "kql" }});
        if let Some(timespan) = self.timespan {
            question["timespan"] = timespan.into();
        }
        if self.explain {
            question["explain"] = true.into();
        }
        if !self.parameters.is_empty() {
            question["parameters"] = self.parameters.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        }
        let accept = match self.output {
            Shape::Table | Shape::Json => "application/json",
            Shape::Csv => "text/csv",
            Shape::Ndjson => "application/x-ndjson",
        };
        let request = client
            .request(Method::POST, &["v1", "workspaces", &self.within.workspace, "query"])
            .header(header::ACCEPT, accept)
            .json(&question);
        let text = question["query"].as_str().unwrap_or_default();
        let pointed = |error: CallError| point(text, &error.wrong, &error.failure);
        match self.output {
            Shape::Table => {
                let answer = client.json(request).await.map_err(pointed)?;
                output::print(&tables(&answer))?;
                partial(&answer)
            }
            Shape::Json => {
                let response = client.send(request).await.map_err(pointed)?;
                let body = response.bytes().await.map_err(|error| Failure::Failed(format!("the answer broke off: {error}")))?;
                output::print(&String::from_utf8_lossy(&body))?;
                partial(&serde_json::from_slice(&body).unwrap_or_default())
            }
            Shape::Csv | Shape::Ndjson => copy(client.send(request.header(header::TE, "trailers")).await.map_err(pointed)?).await,
        }
    }
}

/// Puts each line of the query that is wrong below the message, a mark below its column, and, if there is more than one, what is
/// wrong there.
pub(crate) fn point(text: &str, wrong: &[Wrong], failure: &Failure) -> Failure {
    let mut told = failure.to_string();
    for place in wrong {
        let Some(line) = text.lines().nth(place.line.saturating_sub(1)) else { continue };
        let before: String = line.chars().take(place.column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        told.extend(["\n  ", line, "\n  ", &before, "^"]);
        if wrong.len() > 1 {
            told.extend([" ", &place.message]);
        }
    }
    match failure {
        _ if wrong.is_empty() => failure.clone(),
        Failure::Refused(_) => Failure::Refused(told),
        _ => Failure::Failed(told),
    }
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    stdin().take(TEXT_MAX).read_to_string(&mut text).map_err(|error| Failure::Failed(format!("the query cannot be read: {error}")))?;
    Ok(text)
}

/// Every table of an answer; the first one is the answer itself.
fn tables(answer: &Value) -> String {
    let mut text = String::new();
    for (number, table) in answer["tables"].as_array().into_iter().flatten().enumerate() {
        if number > 0 {
            text.extend(["\n", table["name"].as_str().unwrap_or_default(), "\n"]);
        }
        let headings = table["columns"].as_array().into_iter().flatten();
        let headings = headings.map(|column| column["name"].as_str().unwrap_or_default().to_owned());
        let rows = table["rows"].as_array().into_iter().flatten().map(|row| row.as_array().cloned().unwrap_or_default());
        text.push_str(&output::grid(headings, rows));
    }
    text
}

/// An answer cut off by a limit says so in itself.
fn partial(answer: &Value) -> Result<(), Failure> {
    let error = &answer["error"];
    match error["code"].as_str() {
        None => Ok(()),
        Some(code) => {
            // Azure's form: the reason stands innermost.
            let detail = &error["details"][0];
            let mut innermost = detail;
            while innermost["innererror"].is_object() {
                innermost = &innermost["innererror"];
            }
            let said = [innermost, detail, error].into_iter().find_map(|error| error["message"].as_str());
            Err(Failure::Partly(format!("{code}: {}", said.unwrap_or("the answer is not complete"))))
        }
    }
}

/// Streams a body to stdout. Where an answer cannot be completed the server says why in a trailer, or breaks the connection.
async fn copy(response: Response) -> Result<(), Failure> {
    let mut body = http::Response::<reqwest::Body>::from(response).into_body();
    let mut written = false;
    let failed = |why: String, written: bool| {
        let text = format!("{}; what was printed is not complete", why.trim_end_matches('.'));
        if written { Failure::Partly(text) } else { Failure::Failed(text) }
    };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(format!("the answer broke off: {}", root_cause(&error)), written))?;
        if let Some(chunk) = frame.data_ref() {
            let mut out = stdout().lock();
            out.write_all(chunk)?;
            out.flush()?;
            written = true;
        } else if let Some(why) = frame.trailers_ref().and_then(|trailers| trailers.get("x-error")) {
            return Err(failed(String::from_utf8_lossy(why.as_bytes()).into_owned(), written));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_query_is_shown_with_a_mark_where_it_is_wrong() {
        let wrong = |line, column, message: &str| Wrong { line, column, message: message.to_owned() };
        let refused = Failure::Refused("SyntaxError: no".into());
        let told = point("T\n| whre x", &[wrong(2, 3, "no")], &refused);
        assert_eq!(told, Failure::Refused("SyntaxError: no\n  | whre x\n    ^".into()));
        let told = point("T\n| whre x\n| tke 5", &[wrong(2, 3, "no"), wrong(3, 3, "nor this")], &refused);
        assert_eq!(told, Failure::Refused("SyntaxError: no\n  | whre x\n    ^ no\n  | tke 5\n    ^ nor this".into()));
        assert_eq!(point("T", &[wrong(9, 9, "")], &refused), refused);
        assert_eq!(point("T", &[], &Failure::Unreachable("m".into())), Failure::Unreachable("m".into()));
    }

    #[test]
    fn an_answer_is_shown_as_a_table_and_a_partial_one_is_told() {
        let answer = json!({"tables": [{"name": "PrimaryResult", "columns": [{"name": "n", "type": "long"}, {"name": "s", "type": "string"}],
            "rows": [[1, "a"], [20, null]]}]});
        assert_eq!(tables(&answer), " n  s\n 1  a\n20\n");
        assert_eq!(partial(&answer), Ok(()));
        let cut = json!({"tables": [], "error": {"code": "PartialError", "message": "m", "details": [{"message": "row limit"}]}});
        assert_eq!(partial(&cut), Err(Failure::Partly("PartialError: row limit".into())));
        let azure = json!({"error": {"code": "PartialError", "message": "m", "details": [{"message": "something went wrong",
            "innererror": {"code": "-2133196797", "message": "more than 500 records"}}]}});
        assert_eq!(partial(&azure), Err(Failure::Partly("PartialError: more than 500 records".into())));
    }
}
