//! A planned query on its way: optimised and executed on the query threads, every batch through the egress gate.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use strongroom_model::{Column, ColumnType, ErrorKind};
use strongroom_world::BootTime;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::sync::DropGuard;

use crate::answer::{Egress, Partial};
use crate::context::QueryContext;
use crate::error::engine_error;
use crate::pin::Pins;
use crate::resolve::TableResolver;
use crate::sandbox::{self, OwnFunctions, Sql, Trust};
use crate::{Answer, BatchStream, QueryError, Render, explain, kql, newest};

/// Batches that may wait between the query threads and the reader.
const AHEAD: usize = 2;

/// A query ready to run.
pub(crate) struct Job {
    pub(crate) context: Arc<QueryContext>,
    pub(crate) state: SessionState,
    pub(crate) text: String,
    /// The statement, if the text is SQL; KQL otherwise.
    pub(crate) parsed: Option<Sql>,
    pub(crate) own: Arc<OwnFunctions>,
    pub(crate) tables: Pins,
    /// Values for declared parameters.
    pub(crate) parameters: serde_json::Map<String, serde_json::Value>,
    /// Given back when the query ends.
    pub(crate) _place: OwnedSemaphorePermit,
    pub(crate) started: BootTime,
    pub(crate) time: Duration,
    pub(crate) rows_max: u64,
    pub(crate) bytes_max: u64,
    pub(crate) memory_before: usize,
}

/// What is known before the first row.
struct Columns {
    schema: SchemaRef,
    render: Option<Render>,
}

/// Starts the job on the query threads; back once its columns are known.
pub(crate) async fn start(threads: &Handle, job: Job) -> Result<Answer, QueryError> {
    let context = Arc::clone(&job.context);
    let (columns_tx, columns_rx) = oneshot::channel();
    let (batches_tx, batches_rx) = mpsc::channel(AHEAD);
    // Held by the stream: dropping it anywhere cancels the query.
    let off = context.cancel.clone().drop_guard();
    threads.spawn(drive(job, columns_tx, batches_tx));
    let Columns { schema, render } = columns_rx.await.map_err(|_| QueryError::internal("the query stopped unexpectedly"))??;
    let columns = columns(&schema);
    let stats = Arc::clone(&context.stats);
    Ok(Answer { columns, schema, batches: stream(batches_rx, off), stats, render, egress: Egress(context) })
}

/// Names and KQL types of an answer.
pub(crate) fn columns(schema: &Schema) -> Vec<Column> {
    schema
        .fields()
        .iter()
        // What KQL has no scalar type for (lists, structs) is shown as dynamic.
        .map(|field| Column { name: field.name().clone(), kind: ColumnType::of_field(field).unwrap_or(ColumnType::Dynamic) })
        .collect()
}

fn stream(batches: mpsc::Receiver<Result<RecordBatch, QueryError>>, off: DropGuard) -> BatchStream {
    Box::pin(futures::stream::unfold((batches, off, false), |(mut batches, off, failed)| async move {
        if failed {
            return None;
        }
        let next = batches.recv().await?;
        let failed = next.is_err();
        Some((next, (batches, off, failed)))
    }))
}

type Batches = mpsc::Sender<Result<RecordBatch, QueryError>>;

/// Runs the job until it ends, its time is over or nobody wants it any more.
async fn drive(mut job: Job, columns: oneshot::Sender<Result<Columns, QueryError>>, batches: Batches) {
    let context = Arc::clone(&job.context);
    let clock = Arc::clone(&context.world.clock);
    let (started, time) = (job.started, job.time);
    let mut columns = Some(columns);
    let late = clock.sleep(time.saturating_sub(clock.boot().since(started)));
    let ended = tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(QueryError::new(ErrorKind::Unavailable, "QueryCancelled", "the query was cancelled")),
        () = late => Err(QueryError::new(
            ErrorKind::TimedOut,
            "QueryTimeout",
            format!("the query took longer than {} s; narrow the time range or ask for less", time.as_secs_f64()),
        )),
        ended = run(&mut job, &mut columns, &batches) => ended,
    };
    let spent = clock.boot().since(started);
    context.stats.elapsed_ns.store(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    metrics::histogram!("query_duration_seconds").record(spent.as_secs_f64());
    drop(job);
    if let Err(error) = ended {
        // The first failure is the true one; what DataFusion made of it lost kind and block.
        let error = context.fault().unwrap_or(error);
        metrics::counter!("query_failed_total", "code" => error.code()).increment(1);
        if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Internal) {
            tracing::error!(workspace = %context.workspace, code = error.code(), block = ?error.block(), "query failed");
        }
        match columns.take() {
            Some(columns) => drop(columns.send(Err(error))),
            None => drop(batches.send(Err(error)).await),
        }
    }
}

/// Plans the text against the tables it names.
async fn plan(job: &mut Job) -> Result<(LogicalPlan, Option<Render>), QueryError> {
    let (plan, render, trust) = if let Some(sql) = job.parsed.take() {
        let bound = job.tables.resolve(&sql.names()?).await?;
        (sql.plan(&job.text, &job.state, &job.own, &bound)?, None, Trust::Caller)
    } else {
        let parameters = std::mem::take(&mut job.parameters);
        let ahead = Ahead { context: &job.context, state: &job.state, text: &job.text };
        let planned = kql::plan(&ahead, &job.text, &job.tables, parameters).await?;
        (planned.plan, planned.render, Trust::Binder)
    };
    sandbox::check(&plan, trust)?;
    Ok((plan, render))
}

/// Looks at the data before the text has columns: of the same snapshot, in the same memory and time, under the same guards.
pub(crate) struct Ahead<'j> {
    pub(crate) context: &'j Arc<QueryContext>,
    pub(crate) state: &'j SessionState,
    pub(crate) text: &'j str,
}

#[async_trait]
impl kql::Ask for Ahead<'_> {
    async fn ask(
        &self,
        plan: LogicalPlan,
        each: &mut (dyn for<'b> FnMut(&'b RecordBatch) -> Result<(), QueryError> + Send),
    ) -> Result<(), QueryError> {
        sandbox::check(&plan, Trust::Binder)?;
        let failed = |error| engine_error(error, self.text);
        let logical = self.state.optimize(&plan).map_err(failed)?;
        let physical = self.state.query_planner().create_physical_plan(&logical, self.state).await.map_err(failed)?;
        self.context.check_reads()?;
        self.context.check()?;
        let mut rows = execute_stream(physical, self.state.task_ctx()).map_err(failed)?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(failed)?;
            // What is learnt of the rows is told by the answer's columns: the egress gate stands here, too.
            self.context.hold().await?;
            each(&batch)?;
        }
        // EXPLAIN tells of the query itself.
        drop(self.context.take_fates());
        self.context.hold().await
    }
}

async fn run(
    job: &mut Job,
    columns: &mut Option<oneshot::Sender<Result<Columns, QueryError>>>,
    batches: &Batches,
) -> Result<(), QueryError> {
    let (plan, render) = plan(job).await?;
    let context = &job.context;
    let failed = |error| engine_error(error, &job.text);
    let logical = job.state.optimize(&plan).map_err(failed)?;
    if let Some(options) = newest::wanted(&logical) {
        context.newest.get_or_init(|| options);
    }
    let physical = job.state.query_planner().create_physical_plan(&logical, &job.state).await.map_err(failed)?;
    context.check_reads()?;
    context.check()?;
    if context.explain {
        let told = explain::rows(&logical, &*physical, context.take_fates()).map_err(|error| failed(error.into()))?;
        tell(columns, explain::schema(), None);
        let _ = send(batches, told).await;
        return Ok(());
    }
    let schema = physical.schema();
    let rows = execute_stream(physical, job.state.task_ctx()).map_err(failed)?;
    tell(columns, schema, render);
    send_all(job, rows, batches).await
}

fn tell(columns: &mut Option<oneshot::Sender<Result<Columns, QueryError>>>, schema: SchemaRef, render: Option<Render>) {
    if let Some(columns) = columns.take() {
        // Nobody there: the query was dropped, the next send sees it.
        drop(columns.send(Ok(Columns { schema, render })));
    }
}

async fn send(batches: &Batches, batch: RecordBatch) -> bool {
    batches.send(Ok(batch)).await.is_ok()
}

async fn send_all(job: &Job, mut rows: SendableRecordBatchStream, batches: &Batches) -> Result<(), QueryError> {
    let context = &job.context;
    let failed = |error| engine_error(error, &job.text);
    let stats = &context.stats;
    let (mut rows_left, mut bytes_left) = (job.rows_max, job.bytes_max);
    while let Some(batch) = rows.next().await {
        let mut batch = batch.map_err(failed)?;
        if batch.num_rows() == 0 {
            continue;
        }
        let reserved = job.state.runtime_env().memory_pool.reserved().saturating_sub(job.memory_before);
        stats.memory_peak.fetch_max(reserved as u64, Ordering::Relaxed);
        let cut = limit(&batch, rows_left, bytes_left);
        if let Some((keep, why)) = &cut {
            batch = batch.slice(0, *keep);
            *stats.partial.lock() = Some(why.clone());
        }
        let (n, bytes) = (batch.num_rows() as u64, size(&batch));
        rows_left -= n;
        bytes_left = bytes_left.saturating_sub(bytes);
        stats.rows.fetch_add(n, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        // The egress gate: no batch leaves after a key went or a block failed.
        context.hold().await?;
        if n > 0 && !send(batches, batch).await {
            return Ok(());
        }
        if cut.is_some() {
            return Ok(());
        }
    }
    context.hold().await
}

/// How many rows of the batch still fit, and why no more, if not all do.
fn limit(batch: &RecordBatch, rows_left: u64, bytes_left: u64) -> Option<(usize, Partial)> {
    let rows = batch.num_rows();
    if rows as u64 > rows_left {
        let message = "The results of this query exceed the set limit of records (E_QUERY_RESULT_SET_TOO_LARGE, 0x80DA0003).".to_owned();
        return Some((usize::try_from(rows_left).unwrap_or(usize::MAX), Partial { code: "-2133196797", message }));
    }
    let bytes = size(batch);
    if bytes > bytes_left {
        let message = "The results of this query exceed the set limit of bytes (E_QUERY_RESULT_SET_TOO_LARGE, 0x80DA0003).".to_owned();
        let keep = u128::from(bytes_left) * rows as u128 / u128::from(bytes.max(1));
        return Some((usize::try_from(keep).unwrap_or(0), Partial { code: "-2133196797", message }));
    }
    None
}

/// Bytes of the values in a batch, not of buffers it shares with others.
pub(crate) fn size(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| array_size(&**column)).sum()
}

/// The same of one column.
pub(crate) fn array_size(column: &dyn Array) -> u64 {
    match column.data_type() {
        DataType::Utf8View => {
            let views = column.as_string_view();
            16 * views.len() as u64 + views.lengths().filter(|len| *len > 12).map(u64::from).sum::<u64>()
        }
        _ => column.to_data().get_slice_memory_size().unwrap_or_default() as u64,
    }
}
