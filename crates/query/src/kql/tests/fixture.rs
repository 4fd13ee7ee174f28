//! Tables in memory, a session that would betray lost order, and answers as text.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringViewArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DurationNanosecondType, Float64Type, TimestampNanosecondType};
use arrow_schema::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use strongroom_model::ColumnType;

use crate::QueryError;
use crate::kql::{Ask, Attempt, KqlPlanner, attempt, problem::Problem};
use crate::output::{format_datetime, format_timespan};
use crate::resolve::{BoundContext, Planned};

/// 2026-03-01 12:00:00 UTC.
pub(super) const NOW: i64 = 1_772_366_400_000_000_000;

const MINUTE: i64 = 60_000_000_000;

fn schema(columns: &[(&str, ColumnType)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, kind)| kind.query_field(name)).collect::<Vec<_>>()))
}

fn times(minutes: &[i64]) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter_values(minutes.iter().map(|m| NOW - m * MINUTE)).with_timezone("UTC"))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(values.iter().copied().collect::<StringViewArray>())
}

/// Six rows in three partitions; strings and numbers are missing here and there, as storage leaves them.
fn logs() -> Arc<dyn TableProvider> {
    let schema = schema(&[
        ("TimeGenerated", ColumnType::DateTime),
        ("Level", ColumnType::String),
        ("Code", ColumnType::Long),
        ("Took", ColumnType::Real),
        ("Ok", ColumnType::Bool),
        ("Props", ColumnType::Dynamic),
        ("has space.dot", ColumnType::String),
    ]);
    let batch = |minutes: &[i64],
                 level: &[Option<&str>],
                 code: &[Option<i64>],
                 took: &[Option<f64>],
                 ok: &[Option<bool>],
                 props: &[Option<&str>]| {
        let arrays: Vec<ArrayRef> = vec![
            times(minutes),
            texts(level),
            Arc::new(Int64Array::from(code.to_vec())),
            Arc::new(Float64Array::from(took.to_vec())),
            Arc::new(BooleanArray::from(ok.to_vec())),
            texts(props),
            texts(&vec![Some("s"); minutes.len()]),
        ];
        RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap()
    };
    let parts = vec![
        vec![batch(
            &[10, 20],
            &[Some("info"), None],
            &[Some(200), None],
            &[Some(1.5), None],
            &[Some(true), None],
            &[Some(r#"{"a":{"b":[1,2,{"c":"x"}]},"n":5,"s":"hi"}"#), None],
        )],
        vec![batch(
            &[30, 70],
            &[Some("error"), Some("")],
            &[Some(500), Some(404)],
            &[Some(9.5), Some(-2.0)],
            &[Some(false), Some(true)],
            &[Some(r#"{"n":"7","s":""}"#), Some("[1,2]")],
        )],
        vec![batch(
            &[80, 90],
            &[Some("Error"), Some("info")],
            &[Some(500), Some(200)],
            &[Some(0.25), Some(1.5)],
            &[Some(false), Some(true)],
            &[Some("3"), Some(r#"{"a":null}"#)],
        )],
    ];
    Arc::new(MemTable::try_new(Arc::clone(&schema), parts).unwrap())
}

/// Host, Owner: a small table to join with.
fn hosts() -> Arc<dyn TableProvider> {
    let schema = schema(&[("Code", ColumnType::Long), ("Owner", ColumnType::String), ("Level", ColumnType::String)]);
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(200), Some(200), Some(404), None])),
        texts(&[Some("ann"), Some("bob"), None, Some("nobody")]),
        texts(&[Some("x"), Some("y"), Some("z"), Some("w")]),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    Arc::new(MemTable::try_new(schema, vec![vec![batch]]).unwrap())
}

pub(super) fn context() -> BoundContext {
    let tables: HashMap<String, Arc<dyn TableProvider>> = HashMap::from([("Logs".to_owned(), logs()), ("Hosts".to_owned(), hosts())]);
    BoundContext { tables, names: vec!["Hosts".to_owned(), "Logs".to_owned()], now: NOW, ..BoundContext::default() }
}

/// Many partitions and tiny batches: an order that is not in the plan does not survive.
fn session() -> SessionContext {
    // Made once: registering a thousand functions takes longer than most questions.
    static SESSION: LazyLock<SessionContext> = LazyLock::new(|| {
        let mut config = SessionConfig::new().with_target_partitions(4).with_batch_size(2).with_collect_statistics(false);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        let state = SessionStateBuilder::new_with_default_features().with_config(config).with_query_planner(Arc::new(KqlPlanner)).build();
        SessionContext::new_with_state(state)
    });
    SESSION.clone()
}

fn bound(text: &str) -> Result<Planned, Problem> {
    bound_in(text, &context())
}

fn bound_in(text: &str, context: &BoundContext) -> Result<Planned, Problem> {
    let parsed = strongroom_kql::parse(text);
    assert!(parsed.diagnostics.is_empty(), "{}", strongroom_kql::render(text, &parsed.diagnostics));
    bound_over(&parsed.query, text, context)
}

/// Binds a text, looking at its data where its columns depend on it.
pub(super) fn bound_over(query: &strongroom_kql::ast::Query, text: &str, context: &BoundContext) -> Result<Planned, Problem> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut facts = Vec::new();
    loop {
        match attempt(query, text, context, &facts)? {
            Attempt::Planned(planned) => return Ok(*planned),
            Attempt::Asks(question) => facts.push(runtime.block_on(question.answered(&Here)).unwrap()),
        }
    }
}

/// Answers questions about tables in memory.
struct Here;

#[async_trait]
impl Ask for Here {
    async fn ask(
        &self,
        plan: LogicalPlan,
        each: &mut (dyn for<'b> FnMut(&'b RecordBatch) -> Result<(), QueryError> + Send),
    ) -> Result<(), QueryError> {
        crate::sandbox::check(&plan, crate::sandbox::Trust::Binder)?;
        let plan = session().state().create_physical_plan(&plan).await?;
        for batch in datafusion::physical_plan::collect(plan, session().task_ctx()).await? {
            each(&batch)?;
        }
        Ok(())
    }
}

/// Columns (`name:type`) and cells of an answer.
pub(super) struct Table {
    pub(super) columns: Vec<(String, ColumnType)>,
    pub(super) rows: Vec<Vec<String>>,
}

pub(super) fn table(text: &str) -> Result<Table, String> {
    table_in(text, &context())
}

/// The answer in a workspace without tables.
pub(super) fn table_alone(text: &str) -> Result<Table, String> {
    table_in(text, &BoundContext { now: NOW, ..BoundContext::default() })
}

fn table_in(text: &str, context: &BoundContext) -> Result<Table, String> {
    let planned = bound_in(text, context).map_err(|problem| rendered(text, &problem))?;
    let batches = execute(&planned)?;
    let fields = planned.plan.schema().fields().clone();
    let columns: Vec<(String, ColumnType)> =
        fields.iter().map(|f| (f.name().clone(), ColumnType::of_field(f).expect("a KQL type"))).collect();
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            rows.push(batch.columns().iter().zip(&columns).map(|(array, (_, kind))| cell(array, row, *kind)).collect());
        }
    }
    Ok(Table { columns, rows })
}

/// Runs a plan as the engine would.
pub(super) fn execute(planned: &Planned) -> Result<Vec<RecordBatch>, String> {
    crate::sandbox::check(&planned.plan, crate::sandbox::Trust::Binder).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let batches = runtime.block_on(async {
        let plan = session().state().create_physical_plan(&planned.plan).await?;
        datafusion::physical_plan::collect(plan, session().task_ctx()).await
    });
    batches.map_err(|error| format!("failed: {}", error.strip_backtrace()))
}

fn cell(array: &ArrayRef, row: usize, kind: ColumnType) -> String {
    assert_eq!(*array.data_type(), kind.query_type(), "the engine form of {}", kind.as_str());
    if array.is_null(row) {
        assert_ne!(kind, ColumnType::String, "a string is never null");
        return "null".to_owned();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Float64 => format!("{:?}", array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8View if kind == ColumnType::String => format!("'{}'", array.as_string_view().value(row)),
        DataType::Timestamp(..) => format_datetime(array.as_primitive::<TimestampNanosecondType>().value(row)),
        DataType::Duration(_) => format_timespan(array.as_primitive::<DurationNanosecondType>().value(row)),
        _ => arrow::util::display::array_value_to_string(array, row).unwrap(),
    }
}

/// The answer as text: a line of columns, then a line per row; what went wrong otherwise.
pub(super) fn run(text: &str) -> String {
    match table(text) {
        Err(problem) => problem,
        Ok(table) => {
            let head = table.columns.iter().map(|(name, kind)| format!("{name}:{}", kind.as_str())).collect::<Vec<_>>().join(", ");
            let rows = table.rows.iter().map(|row| row.join(" | "));
            std::iter::once(head).chain(rows).collect::<Vec<_>>().join("\n")
        }
    }
}

/// The answer is this.
#[track_caller]
pub(super) fn check(text: &str, expected: &[&str]) {
    assert_eq!(run(text), expected.join("\n"), "{text}");
}

/// The optimized plan.
pub(super) fn explain(text: &str) -> String {
    let planned = bound(text).map_err(|problem| rendered(text, &problem)).unwrap();
    session().state().optimize(&planned.plan).unwrap().display_indent().to_string()
}

/// The plan as it would run.
pub(super) fn physical(text: &str) -> String {
    let planned = bound(text).map_err(|problem| rendered(text, &problem)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let plan = runtime.block_on(session().state().create_physical_plan(&planned.plan)).unwrap();
    datafusion::physical_plan::displayable(&*plan).indent(false).to_string()
}

/// The complaint, with line and caret.
pub(super) fn problem(text: &str) -> String {
    match bound(text) {
        Ok(planned) => format!("no complaint:\n{}", planned.plan.display_indent()),
        Err(problem) => rendered(text, &problem),
    }
}

fn rendered(text: &str, problem: &Problem) -> String {
    problem.render(text)
}
