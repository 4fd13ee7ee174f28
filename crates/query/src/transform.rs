//! Rows shaped before they are stored: a KQL text over one batch, whose rows it knows as `source`.
//!
//! The same language and the same engine as questions have, over nothing else: no table of a workspace, no stored function, no other
//! workspace can be named. What comes out is lines of JSON for the write path, and the columns they need.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::StreamExt;
use strongroom_model::{Column, ColumnType, ErrorKind, PrincipalId, TableSchema, WorkspaceId};

use crate::context::QueryContext;
use crate::engine::Engine;
use crate::error::engine_error;
use crate::prepared::{Asked, Noticed, Prepared};
use crate::resolve::{BoundContext, Planned, TableResolver};
use crate::run::{Ahead, columns};
use crate::sandbox::{self, Trust};
use crate::stored::Callable;
use crate::{QueryError, kql, output};

/// What the rows are called.
const SOURCE: &str = "source";
/// The code of a text that took longer than it may.
pub const TRANSFORM_TIMEOUT: &str = "TransformTimeout";
/// How long one batch may take.
const TIME_MAX: Duration = Duration::from_secs(20);
/// Rows that are looked at at once.
const PIECE_ROWS: usize = 8_192;
/// Rows that one batch may become, for each that it has.
const GROWTH_MAX: usize = 20;

/// Rows as they are to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shaped {
    /// One JSON object a line.
    pub lines: Bytes,
    /// Their columns, of the types that tables have.
    pub columns: Vec<Column>,
}

/// The batch, and nothing else.
struct OneTable {
    table: Arc<dyn TableProvider>,
    now: i64,
}

#[async_trait]
impl TableResolver for OneTable {
    async fn names(&self) -> Result<Vec<String>, QueryError> {
        Ok(vec![SOURCE.to_owned()])
    }

    async fn resolve(&self, names: &[String]) -> Result<BoundContext, QueryError> {
        let mut tables: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
        if names.iter().any(|name| name == SOURCE) {
            tables.insert(SOURCE.to_owned(), Arc::clone(&self.table));
        }
        Ok(BoundContext { tables, names: vec![SOURCE.to_owned()], now: self.now, ..BoundContext::default() })
    }

    async fn functions(&self, _names: &[String]) -> Result<HashMap<String, Callable>, QueryError> {
        Ok(HashMap::new())
    }

    async fn neighbour(&self, _name: &str) -> Result<Option<Box<dyn TableResolver>>, QueryError> {
        Ok(None)
    }
}

/// A text, the rows it is about, and where it runs.
struct Shaping {
    context: Arc<QueryContext>,
    state: SessionState,
    text: String,
    resolver: OneTable,
    prepared: Arc<Prepared>,
    rows_max: usize,
    bytes_max: u64,
}

impl Shaping {
    async fn plan(&self) -> Result<Planned, QueryError> {
        Ok(self.plan_noticed().await?.0)
    }

    /// Likewise, and whether its columns are those of these rows alone.
    async fn plan_noticed(&self) -> Result<(Planned, bool), QueryError> {
        let ahead = Ahead { context: &self.context, state: &self.state, text: &self.text };
        let noticed = Noticed::new(&ahead);
        let planned = kql::plan(&noticed, &self.text, &self.resolver, serde_json::Map::new()).await?;
        sandbox::check(&planned.plan, Trust::Binder)?;
        Ok((planned, noticed.has_looked()))
    }

    /// The plan to run, optimized; as it was made for an earlier batch, if that is all the same.
    async fn optimized(&self) -> Result<LogicalPlan, QueryError> {
        let failed = |error| engine_error(error, &self.text);
        let table = &self.resolver.table;
        let asked = Asked::of(self.context.workspace, &self.text, &table.schema());
        if let Some(kept) = asked.as_ref().and_then(|asked| self.prepared.get(asked, table)) {
            return kept.map_err(failed);
        }
        let (planned, looked) = self.plan_noticed().await?;
        let logical = self.state.optimize(&planned.plan).map_err(failed)?;
        if let Some(asked) = asked.filter(|_| !looked) {
            self.prepared.put(&asked, &logical, table, &self.context);
        }
        Ok(logical)
    }

    async fn run(self) -> Result<Shaped, QueryError> {
        let failed = |error| engine_error(error, &self.text);
        let logical = self.optimized().await?;
        let physical = self.state.query_planner().create_physical_plan(&logical, &self.state).await.map_err(failed)?;
        let columns = columns(&physical.schema());
        let mut stream = execute_stream(physical, self.state.task_ctx()).map_err(failed)?;
        let (mut lines, mut rows) = (Vec::new(), 0);
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(failed)?;
            rows += batch.num_rows();
            if rows > self.rows_max {
                return Err(QueryError::new(ErrorKind::TooLarge, "TooManyRows", "the transformation makes too many rows of one batch"));
            }
            if !output::shaped_lines(&batch, &columns, self.bytes_max, &mut lines) {
                return Err(too_large(self.bytes_max));
            }
        }
        // Rows of a workspace whose key went meanwhile are not handed on.
        self.context.hold().await?;
        Ok(Shaped { lines: lines.into(), columns: stored(columns) })
    }
}

/// The types that the write path makes columns of.
fn stored(mut columns: Vec<Column>) -> Vec<Column> {
    for column in &mut columns {
        column.kind = match column.kind {
            ColumnType::Int => ColumnType::Long,
            ColumnType::Decimal => ColumnType::Real,
            ColumnType::TimeSpan => ColumnType::String,
            other => other,
        };
    }
    columns
}

impl Engine {
    /// Shapes a batch of a stream (columns in engine form): by a text over `source`, or as it is. `now` is what the text knows as
    /// `now()`, nanoseconds since 1970.
    ///
    /// # Errors
    /// [`QueryError`], as questions have them; none of them names rows to anybody but their sender. Of kind `TooLarge` if the rows
    /// become too many, or more than `bytes_max` bytes.
    pub async fn shape(
        &self,
        workspace: WorkspaceId,
        batch: RecordBatch,
        text: Option<&str>,
        now: i64,
        bytes_max: u64,
    ) -> Result<Shaped, QueryError> {
        let Some(text) = text.filter(|text| !says_nothing(text)) else {
            let columns = columns(&batch.schema());
            let encoded = self.threads().spawn(async move {
                let mut lines = Vec::new();
                if !output::shaped_lines(&batch, &columns, bytes_max, &mut lines) {
                    return Err(too_large(bytes_max));
                }
                Ok(Shaped { lines: lines.into(), columns: stored(columns) })
            });
            return encoded.await.map_err(|_| QueryError::internal("a batch could not be written"))?;
        };
        let rows_max = batch.num_rows().saturating_mul(GROWTH_MAX).max(1_000);
        let schema = batch.schema();
        // In pieces, as the operators expect them: each makes a whole piece at a time.
        let pieces = (0..batch.num_rows()).step_by(PIECE_ROWS).map(|at| batch.slice(at, PIECE_ROWS.min(batch.num_rows() - at)));
        let shaping = Shaping { rows_max, bytes_max, ..self.shaping(workspace, schema, pieces.collect(), text, now).await? };
        let context = Arc::clone(&shaping.context);
        // Given up, by whoever waits or by the clock, it ends at its next step.
        let off = context.cancel.clone().drop_guard();
        let running = self.threads().spawn(async move {
            let context = Arc::clone(&shaping.context);
            tokio::select! {
                biased;
                () = context.cancel.cancelled() => {
                    Err(context.fault().unwrap_or_else(|| QueryError::new(ErrorKind::Unavailable, "QueryCancelled", "it was cancelled")))
                }
                () = context.world.clock.sleep(TIME_MAX) => Err(QueryError::new(
                    ErrorKind::Unavailable,
                    TRANSFORM_TIMEOUT,
                    format!("the transformation took longer than {} s", TIME_MAX.as_secs()),
                )),
                done = shaping.run() => done,
            }
        });
        let done = running.await.map_err(|_| QueryError::internal("the transformation stopped unexpectedly"))?;
        drop(off);
        // The first failure is the true one.
        done.map_err(|error| context.fault().unwrap_or(error))
    }

    /// The columns that a text over `source` gives, without rows to look at.
    ///
    /// # Errors
    /// `SyntaxError`, `SemanticError`, with the place in the text.
    pub async fn shape_columns(&self, workspace: WorkspaceId, source: &[Column], text: &str) -> Result<Vec<Column>, QueryError> {
        if says_nothing(text) {
            return Ok(source.to_vec());
        }
        let schema = TableSchema { columns: source.to_vec() }.query_schema();
        let shaping = self.shaping(workspace, schema, Vec::new(), text, 0).await?;
        let planned = shaping.plan().await?;
        Ok(columns(planned.plan.schema().inner()))
    }

    async fn shaping(
        &self,
        workspace: WorkspaceId,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
        text: &str,
        now: i64,
    ) -> Result<Shaping, QueryError> {
        self.check_length(text)?;
        let table = MemTable::try_new(schema, vec![batches]).map_err(|error| engine_error(error, text))?;
        let context = self.context_of(workspace, PrincipalId::NIL).await?;
        let mut state = self.session(&context, text)?;
        // A batch's rows keep their order, and an ack does not wait for threads to be found.
        state.config_mut().options_mut().execution.target_partitions = 1;
        let resolver = OneTable { table: Arc::new(table), now };
        let prepared = Arc::clone(self.prepared());
        Ok(Shaping { context, state, text: text.to_owned(), resolver, prepared, rows_max: 0, bytes_max: 0 })
    }
}

fn too_large(bytes_max: u64) -> QueryError {
    let why = format!("the transformation makes more than {bytes_max} bytes of one batch; send fewer records at a time");
    QueryError::new(ErrorKind::TooLarge, "TransformTooLarge", why)
}

/// The text that hands every row on as it is.
fn says_nothing(text: &str) -> bool {
    matches!(text.trim(), "" | SOURCE)
}
