//! What alert rules need of other rooms: their questions asked by the query engine, their webhooks called by the hardened client.
//!
//! A rule's text is asked with a tail of our own: its dimensions picked, and its rows made one number for each combination of their
//! values. Rows never come here.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use async_trait::async_trait;
use futures::StreamExt as _;
use strongroom_catalog::Catalog;
use strongroom_control::Said;
use strongroom_control::alerts::{
    ActionGroups, Aggregation, AlertDeps, Alerts, AskedAlert, Condition, Evaluate, Locked, Measured, Picked, Post,
};
use strongroom_control::audit::Audit;
use strongroom_control::contents::Contents;
use strongroom_ingest::Intake;
use strongroom_keys::KeyRing;
use strongroom_keys::outbound::{Body, Call, Outbound};
use strongroom_model::{ErrorKind, PrincipalId, TimeRange, WorkspaceId};
use strongroom_query::{Engine, Language, Limits, QueryError, QueryRequest};
use strongroom_world::World;
use url::Url;
use zeroize::Zeroizing;

use crate::notices::Rows;
use crate::{Config, ServeError};

/// The rooms that alerts stand on.
pub(crate) struct Rooms<'a> {
    pub(crate) keys: &'a Arc<KeyRing>,
    pub(crate) contents: &'a Arc<Contents>,
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) intake: &'a Arc<Intake>,
    pub(crate) audit: &'a Arc<Audit>,
}

/// Action groups and alerts over these rooms.
pub(crate) fn open(
    config: &Config,
    world: &World,
    catalog: &Catalog,
    rooms: &Rooms<'_>,
) -> Result<(Arc<ActionGroups>, Arc<Alerts>), ServeError> {
    let groups = Arc::new(ActionGroups::new(world.clone(), catalog.clone(), Arc::clone(rooms.keys.mmk())));
    let outbound = Outbound::open(world, &config.outbound, &[]).map_err(ServeError::start("outbound client"))?;
    let time_max = Duration::from_secs(config.alerts.query_time_max_s);
    let rows = Rows { intake: Arc::clone(rooms.intake), catalog: catalog.clone(), keys: Arc::clone(rooms.keys) };
    let deps = AlertDeps {
        world: world.clone(),
        catalog: catalog.clone(),
        groups: Arc::clone(&groups),
        safe: Arc::new(Locked { keys: Arc::clone(rooms.keys), contents: Arc::clone(rooms.contents) }),
        evaluate: Arc::new(Asker { engine: Arc::clone(rooms.engine), time_max }),
        post: Arc::new(Hooks(outbound)),
        emit: Arc::new(rows),
        audit: rooms.audit.scribe(),
    };
    Ok((groups, Alerts::new(deps, config.alerts.clone())))
}

/// Asks the engine.
#[derive(Debug)]
pub(crate) struct Asker {
    pub(crate) engine: Arc<Engine>,
    /// How long one question may take.
    pub(crate) time_max: Duration,
}

/// The columns that rows are told apart by, in order.
fn columns(condition: &Condition) -> impl Iterator<Item = &str> {
    condition.dimensions.iter().map(|dimension| dimension.name.as_str()).chain(condition.resource_column.as_deref())
}

/// The text of a literal, or of a name in brackets.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// The text of a rule without what may stand at its end and nothing follow.
fn bare(query: &str) -> &str {
    query.trim_end().trim_end_matches(';')
}

/// What is asked: the rule's text, and what makes numbers of its rows.
pub(crate) fn question(condition: &Condition, series_max: usize) -> String {
    let mut text = format!("{}\n", bare(&condition.query));
    for dimension in &condition.dimensions {
        let (not, values) = match &dimension.values {
            Picked::All => continue,
            Picked::Only(values) => ("", values),
            Picked::Except(values) => ("!", values),
        };
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        writeln!(text, "| where tostring([{}]) {not}in ({})", quoted(&dimension.name), values.join(", ")).expect("text takes everything");
    }
    let column = condition.column.as_deref().map(quoted).unwrap_or_default();
    let value = match condition.aggregation {
        Aggregation::Count => "count()".to_owned(),
        Aggregation::Average => format!("avg(todouble([{column}]))"),
        Aggregation::Minimum => format!("min(todouble([{column}]))"),
        Aggregation::Maximum => format!("max(todouble([{column}]))"),
        Aggregation::Total => format!("sum(todouble([{column}]))"),
    };
    write!(text, "| summarize AlertValue_ = {value}").expect("text takes everything");
    for (index, name) in columns(condition).enumerate() {
        let before = if index == 0 { " by" } else { "," };
        write!(text, "{before} AlertDimension{index}_ = tostring([{}])", quoted(name)).expect("text takes everything");
    }
    write!(text, "\n| take {}", series_max + 1).expect("text takes everything");
    text
}

/// Whether a rule's question means something: its own text first, then with what makes numbers of it.
///
/// # Errors
/// With the place in the rule's text; what is wrong with columns and dimensions has none.
pub(crate) async fn bind(
    engine: &Engine,
    workspace: WorkspaceId,
    principal: PrincipalId,
    condition: &Condition,
    unbound: bool,
) -> Result<(), (&'static str, QueryError)> {
    const AT: &str = "properties.criteria.allOf[0]";
    let instant = TimeRange { start: 0, end: 0 };
    for (at, text) in [("properties.criteria.allOf[0].query", bare(&condition.query).to_owned()), (AT, question(condition, 1))] {
        let planned = engine.run(request(workspace, principal, text, instant, None, true)).await;
        match planned {
            Ok(_) => {}
            Err(error) if unbound && error.code() == "SemanticError" => {}
            Err(error) => return Err((at, error)),
        }
    }
    Ok(())
}

fn request(
    workspace: WorkspaceId,
    principal: PrincipalId,
    text: String,
    span: TimeRange,
    time: Option<Duration>,
    explain: bool,
) -> QueryRequest {
    QueryRequest {
        workspace,
        principal,
        text,
        language: Language::Kql,
        timespan: Some(span),
        limits: Limits { time, ..Limits::default() },
        explain,
        parameters: serde_json::Map::new(),
        // Its own workspace and no other: whose key it is kept under.
        neighbours: None,
    }
}

/// For the rule's state: a code. Messages may quote rows.
fn said(error: &QueryError) -> Said {
    Said { kind: error.kind(), code: error.code(), message: String::new() }
}

#[async_trait]
impl Evaluate for Asker {
    async fn evaluate(&self, asked: AskedAlert) -> Result<Vec<Measured>, Said> {
        let text = question(&asked.condition, asked.series_max);
        let request = request(asked.workspace, asked.principal, text, asked.span, Some(self.time_max), false);
        let mut answer = self.engine.run(request).await.map_err(|error| said(&error))?;
        let names: Vec<&str> = columns(&asked.condition).collect();
        let mut measured = Vec::new();
        while let Some(batch) = answer.batches.next().await {
            let batch = batch.map_err(|error| said(&error))?;
            take(&batch, &names, &mut measured).ok_or_else(|| Said {
                kind: ErrorKind::Internal,
                code: "InternalError",
                message: String::new(),
            })?;
        }
        if answer.stats.partial().is_some() {
            return Err(Said { kind: ErrorKind::TooLarge, code: "PartialAnswer", message: String::new() });
        }
        if measured.len() > asked.series_max {
            return Err(Said { kind: ErrorKind::TooLarge, code: "TooManyCombinations", message: String::new() });
        }
        answer.egress.pass().await.map_err(|error| said(&error))?;
        Ok(measured)
    }
}

/// Dimensions come first, as `summarize` has them.
fn take(batch: &RecordBatch, names: &[&str], measured: &mut Vec<Measured>) -> Option<()> {
    if batch.num_columns() != names.len() + 1 {
        return None;
    }
    let values = cast(batch.column(names.len()), &DataType::Float64).ok()?;
    let values = values.as_primitive::<Float64Type>();
    let texts: Vec<_> = (0..names.len()).map(|at| cast(batch.column(at), &DataType::Utf8)).collect::<Result<_, _>>().ok()?;
    for row in 0..batch.num_rows() {
        let text = |at: usize| {
            let column = texts[at].as_string::<i32>();
            if column.is_null(row) { String::new() } else { column.value(row).to_owned() }
        };
        let dimensions = names.iter().enumerate().map(|(at, name)| ((*name).to_owned(), text(at))).collect();
        let value = (!values.is_null(row)).then(|| values.value(row)).filter(|value| value.is_finite());
        measured.push(Measured { dimensions, value });
    }
    Some(())
}

/// Calls webhooks.
pub(crate) struct Hooks(pub(crate) Outbound);

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

#[async_trait]
impl Post for Hooks {
    async fn post(&self, url: &str, body: Zeroizing<String>) -> Result<(), String> {
        let url = Url::parse(url).map_err(|_| "BadUri".to_owned())?;
        match self.0.send(Call::new(&url, Body::Json(&body))).await {
            Ok(reply) if (200..300).contains(&reply.status) => Ok(()),
            Ok(reply) => Err(format!("HTTP {}", reply.status)),
            Err(error) => Err(error.code().to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_control::alerts::{Dimension, Operator};

    use super::*;

    fn condition() -> Condition {
        Condition {
            query: "Web | where status >= 500 // not yet;\n;".to_owned(),
            aggregation: Aggregation::Average,
            column: Some("took \"ms\"".to_owned()),
            resource_column: Some("_ResourceId".to_owned()),
            dimensions: vec![
                Dimension { name: "host".to_owned(), values: Picked::All },
                Dimension { name: "path".to_owned(), values: Picked::Except(vec!["/a\\\"b\"".to_owned(), "\n".to_owned()]) },
            ],
            operator: Operator::GreaterThan,
            threshold: 1.0,
            periods: 1,
            failing: 1,
        }
    }

    #[test]
    fn a_question_is_the_rules_text_and_what_makes_numbers_of_its_rows() {
        let text = question(&condition(), 10);
        assert_eq!(
            text,
            r#"Web | where status >= 500 // not yet;

| where tostring(["path"]) !in ("/a\\\"b\"", "\n")
| summarize AlertValue_ = avg(todouble(["took \"ms\""])) by AlertDimension0_ = tostring(["host"]), AlertDimension1_ = tostring(["path"]), AlertDimension2_ = tostring(["_ResourceId"])
| take 11"#
        );
    }
}
