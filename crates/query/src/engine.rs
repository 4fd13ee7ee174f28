//! The engine: one per node. Takes questions in, has them planned, and runs them on threads of its own.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use datafusion::execution::SessionState;
use datafusion::execution::cache::cache_manager::FileMetadataCache;
use parking_lot::Mutex;
use strongroom_buffer::Buffer;
use strongroom_catalog::{Catalog, Shelf};
use strongroom_keys::{KeyError, KeyRing, Pass};
use strongroom_model::{AccountId, Epoch, ErrorKind, PrincipalId, TimeRange, WorkspaceId};
use strongroom_store::BlockStore;
use strongroom_world::{BootTime, World};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blk::BlkStore;
use crate::context::QueryContext;
use crate::error::{aborted, catalog_error, engine_error, shut_error};
use crate::footers::Footers;
use crate::lineage::Lineage;
use crate::openers::Openers;
use crate::pin::Pins;
use crate::prepared::Prepared;
use crate::run::{self, Job};
use crate::sandbox::{self, OwnFunctions, Sql};
use crate::session::Sessions;
use crate::spill::{self, SpillFiles, SpillQuota};
use crate::stored::Stored;
use crate::table::Shared;
use crate::terms::Filters;
use crate::texts::Texts;
use crate::{Answer, FunctionInfo, Language, QueryConfig, QueryError, QueryRequest, StoredFunction, TableInfo, functions};

/// What the engine reads from.
#[derive(Clone)]
pub struct QueryDeps {
    /// Clock, files (spill), randomness.
    pub world: World,
    /// Which blocks exist.
    pub catalog: Catalog,
    /// Guards.
    pub keys: Arc<KeyRing>,
    /// Memtables.
    pub buffer: Arc<Buffer>,
    /// Sealed blocks.
    pub blocks: Arc<BlockStore>,
    /// Functions and saved searches.
    pub texts: Arc<dyn Texts>,
    /// Where encrypted spill goes; emptied at [`Engine::open`].
    pub spill_dir: PathBuf,
}

impl fmt::Debug for QueryDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryDeps").finish_non_exhaustive()
    }
}

/// Answers questions.
pub struct Engine {
    deps: QueryDeps,
    config: QueryConfig,
    /// Taken at drop only.
    runtime: Option<Runtime>,
    threads: Handle,
    sessions: Sessions,
    own: Arc<OwnFunctions>,
    footers: Arc<Footers>,
    openers: Arc<Openers>,
    filters: Arc<Filters>,
    prepared: Arc<Prepared>,
    lineage: Arc<Lineage>,
    stored: Arc<Stored>,
    shelf: Arc<Shelf>,
    quota: Arc<SpillQuota>,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    running: Mutex<Vec<Weak<QueryContext>>>,
    rehearsed: AtomicBool,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not be waited for inside another one.
            runtime.shutdown_background();
        }
    }
}

/// Counts who waits, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Starts the query runtime and empties the spill directory.
    ///
    /// # Errors
    /// [`QueryError`] of kind `Internal` if the runtime or the spill directory cannot be made.
    pub async fn open(deps: QueryDeps, config: QueryConfig) -> Result<Arc<Self>, QueryError> {
        let (world, dir) = (deps.world.clone(), deps.spill_dir.clone());
        tokio::task::spawn_blocking(move || spill::wipe(&world, &dir))
            .await
            .map_err(|_| QueryError::internal("emptying the spill directory was stopped"))?
            .map_err(|error| QueryError::internal(format!("the spill directory cannot be emptied: {error}")))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|error| QueryError::internal(format!("the query threads cannot be started: {error}")))?;
        let footers = Arc::new(Footers::new(Arc::clone(&deps.world.clock), config.metadata_cache_bytes));
        let cache: Arc<FileMetadataCache> = Arc::clone(&footers) as _;
        let lineage = Lineage::new(deps.world.clone(), deps.catalog.clone(), Arc::clone(&deps.keys), config.stats_cache_bytes);
        Ok(Arc::new(Self {
            sessions: Sessions::new(&config, cache),
            own: Arc::new(OwnFunctions::new(functions::sql_functions())),
            footers,
            filters: Arc::new(Filters::new(Arc::clone(&deps.world.clock), config.filter_cache_bytes)),
            // Without hot copies every query meets the stored object, and looks at both its ends.
            openers: Arc::new(Openers::new(if deps.blocks.cache().is_enabled() { config.openers_max } else { 0 })),
            prepared: Arc::new(Prepared::new(config.transforms_kept_max)),
            lineage: Arc::new(lineage),
            stored: Arc::new(Stored::new(deps.world.clone(), Arc::clone(&deps.keys), Arc::clone(&deps.texts))),
            shelf: Arc::new(Shelf::new(config.blocks_held_max)),
            quota: SpillQuota::new(config.spill_bytes),
            places: Arc::new(Semaphore::new(config.concurrent_max.max(1))),
            waiting: AtomicUsize::new(0),
            running: Mutex::default(),
            rehearsed: AtomicBool::new(false),
            threads: runtime.handle().clone(),
            runtime: Some(runtime),
            deps,
            config,
        }))
    }

    /// A place among the queries that run, waited for no longer than allowed.
    async fn place(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(permit);
        }
        let full = |why: &str| {
            metrics::counter!("query_refused_total").increment(1);
            QueryError::new(ErrorKind::Overloaded, "TooManyQueries", why)
        };
        let ahead = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if ahead >= self.config.waiting_max {
            return Err(full("too many queries wait already; try again later"));
        }
        tokio::select! {
            permit = Arc::clone(&self.places).acquire_owned() => permit.map_err(|_| QueryError::internal("the engine is closing")),
            () = self.deps.world.clock.sleep(Duration::from_millis(self.config.wait_max_ms)) => Err(full("other queries took too long; try again later")),
        }
    }

    pub(crate) fn shared(&self, context: &Arc<QueryContext>) -> Arc<Shared> {
        Arc::new(Shared {
            context: Arc::clone(context),
            lineage: Arc::clone(&self.lineage),
            blocks: Arc::clone(&self.deps.blocks),
            blk: BlkStore::new(Arc::clone(&self.deps.blocks), Arc::clone(&self.openers), Arc::clone(context)),
            footers: Arc::clone(&self.footers),
            catalog: self.deps.catalog.clone(),
            shelf: Arc::clone(&self.shelf),
            filters: Arc::clone(&self.filters),
            filter_blocks_max: self.config.filter_blocks_max,
            blocks_max: self.config.blocks_max,
            blocks_looked_at_max: self.config.blocks_looked_at_max,
            readahead_blocks: self.config.readahead_blocks,
        })
    }

    /// Leave of the account that a workspace is linked to: while its gate is shut, no table of it answers.
    pub(crate) async fn pass(&self, workspace: WorkspaceId) -> Result<Pass, QueryError> {
        let home = self.deps.catalog.workspace(workspace).await.map_err(|error| catalog_error(&error))?;
        let home = home.ok_or_else(|| QueryError::new(ErrorKind::NotFound, "WorkspaceNotFound", "there is no such workspace"))?;
        self.deps.keys.pass(home.account).await.map_err(|error| shut_error(&error))
    }

    pub(crate) fn context(
        &self,
        workspace: WorkspaceId,
        principal: PrincipalId,
        pass: Pass,
        timespan: Option<TimeRange>,
        explain: bool,
    ) -> Arc<QueryContext> {
        let context = QueryContext::new(self.deps.world.clone(), workspace, principal, pass, timespan, explain);
        let mut running = self.running.lock();
        running.retain(|known| known.strong_count() > 0);
        running.push(Arc::downgrade(&context));
        context
    }

    pub(crate) fn check_length(&self, text: &str) -> Result<(), QueryError> {
        if text.len() <= self.config.text_max_bytes {
            return Ok(());
        }
        let why = format!("the query is {} bytes long, at most {} are allowed", text.len(), self.config.text_max_bytes);
        Err(QueryError::new(ErrorKind::TooLarge, "QueryTooLong", why))
    }

    pub(crate) fn deps(&self) -> &QueryDeps {
        &self.deps
    }

    pub(crate) fn config(&self) -> &QueryConfig {
        &self.config
    }

    pub(crate) fn footers(&self) -> &Footers {
        &self.footers
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    pub(crate) fn threads(&self) -> &Handle {
        &self.threads
    }

    /// What work for a workspace holds that is no question.
    pub(crate) async fn context_of(&self, workspace: WorkspaceId, principal: PrincipalId) -> Result<Arc<QueryContext>, QueryError> {
        let pass = self.pass(workspace).await?;
        Ok(self.context(workspace, principal, pass, None, false))
    }

    pub(crate) fn session(&self, context: &Arc<QueryContext>, text: &str) -> Result<SessionState, QueryError> {
        self.session_over(&self.shared(context), text)
    }

    fn session_over(&self, shared: &Shared, text: &str) -> Result<SessionState, QueryError> {
        let spill = SpillFiles::new(self.deps.world.clone(), self.deps.spill_dir.clone(), Arc::clone(&self.quota));
        self.sessions.session(Arc::clone(&shared.blk), spill).map_err(|error| engine_error(error, text))
    }

    /// Answers one question. Errors of planning come from here, errors of running from the stream.
    ///
    /// # Errors
    /// [`QueryError`]; see [`QueryError::kind`].
    pub async fn run(&self, request: QueryRequest) -> Result<Answer, QueryError> {
        let started = self.deps.world.clock.boot();
        let parsed = self.parse(&request)?;
        // First: whoever waits while a denial is looked into takes nobody's place.
        let pass = self.pass(request.workspace).await?;
        self.answer(started, pass, parsed, request).await
    }

    /// The statement, if the text is SQL.
    fn parse(&self, request: &QueryRequest) -> Result<Option<Sql>, QueryError> {
        self.check_length(&request.text)?;
        match request.language {
            Language::Kql => Ok(None),
            Language::Sql if !request.parameters.is_empty() => {
                Err(QueryError::invalid("BadArgumentError", "parameters are for KQL; write them into the SQL"))
            }
            Language::Sql => sandbox::parse(&request.text, self.config.recursion_max).map(Some),
        }
    }

    async fn answer(&self, started: BootTime, pass: Pass, parsed: Option<Sql>, request: QueryRequest) -> Result<Answer, QueryError> {
        let QueryRequest { workspace, principal, text, language: _, timespan, limits, explain, parameters, neighbours } = request;
        let explain = explain || parsed.as_ref().is_some_and(|parsed| parsed.explain);
        let place = self.place().await?;
        let context = self.context(workspace, principal, pass, timespan, explain);
        let shared = self.shared(&context);
        let state = self.session_over(&shared, &text)?;
        let time =
            limits.time.unwrap_or(Duration::from_millis(self.config.time_max_ms)).min(Duration::from_millis(self.config.time_cap_ms));
        let job = Job {
            context,
            state,
            text,
            parsed,
            own: Arc::clone(&self.own),
            tables: Pins::new(
                self.deps.catalog.clone(),
                Arc::clone(&self.deps.buffer),
                shared,
                self.config.tables_max,
                neighbours,
                Arc::clone(&self.stored),
            ),
            parameters,
            _place: place,
            started,
            time,
            rows_max: limits.rows.unwrap_or(self.config.rows_max),
            bytes_max: limits.bytes.unwrap_or(self.config.bytes_max),
            memory_before: self.sessions.reserved(),
        };
        run::start(&self.threads, job).await
    }

    /// Runs a text that names no table, for nobody, under the leave of an account.
    pub(crate) async fn run_for_nobody(&self, pass: Pass, text: &str, language: Language) -> Result<Answer, QueryError> {
        let request = QueryRequest::new(WorkspaceId::NIL, PrincipalId::NIL, text, language);
        let parsed = self.parse(&request)?;
        self.answer(self.deps.world.clock.boot(), pass, parsed, request).await
    }

    /// Whether this is the first call.
    pub(crate) fn first_time(&self) -> bool {
        !self.rehearsed.swap(true, Ordering::Relaxed)
    }

    /// The tables of a workspace with columns and sizes: those that `principal` may see.
    ///
    /// # Errors
    /// As the catalog's and the keys'; of kind `Forbidden` if there are tables and it may see none.
    pub async fn tables(&self, workspace: WorkspaceId, principal: PrincipalId) -> Result<Vec<TableInfo>, QueryError> {
        let pass = self.pass(workspace).await?;
        let (mut found, mut refused) = (Vec::new(), None);
        for row in self.deps.catalog.tables(workspace).await.map_err(|error| catalog_error(&error))? {
            let warrant = match self.deps.keys.warrant(principal, workspace, row.id).await {
                Ok(warrant) => warrant,
                Err(error) if error.kind() == ErrorKind::Forbidden => {
                    refused.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(shut_error(&error)),
            };
            let memory = self.deps.buffer.snapshot(row.id);
            let pin = self.deps.catalog.pin(row.id).await.map_err(|error| catalog_error(&error))?;
            let unflushed: u64 = crate::pin::unflushed(memory, &pin).iter().map(|(_, batch)| batch.num_rows() as u64).sum();
            let schema = self.lineage.schema(&warrant).await?;
            found.push(TableInfo {
                name: row.name.to_string(),
                rows_live: unflushed + pin.rows,
                bytes: pin.bytes,
                blocks: pin.blocks,
                columns: schema.columns.clone(),
                retention_days: row.retention_days,
            });
        }
        if let Some(error) = refused.filter(|_| found.is_empty()) {
            return Err(shut_error(&error));
        }
        pass.check().map_err(|error| shut_error(&error))?;
        Ok(found)
    }

    pub(crate) fn prepared(&self) -> &Arc<Prepared> {
        &self.prepared
    }

    pub(crate) fn stored(&self) -> &Stored {
        &self.stored
    }

    /// The stored functions of a workspace, by name.
    ///
    /// # Errors
    /// As the keys' and the catalog's.
    pub async fn functions(&self, workspace: WorkspaceId, principal: PrincipalId) -> Result<Vec<FunctionInfo>, QueryError> {
        self.stored.list(workspace, principal).await
    }

    /// Stores a function under its name, in the place of one that has it. Whether the name is new.
    ///
    /// # Errors
    /// `SyntaxError` with all mistakes, `InvalidFunction`; as the keys' and the catalog's.
    pub async fn function_put(
        &self,
        workspace: WorkspaceId,
        principal: PrincipalId,
        function: &StoredFunction,
    ) -> Result<bool, QueryError> {
        self.stored.put(workspace, principal, function).await
    }

    /// Takes a stored function away. Whether it was there.
    ///
    /// # Errors
    /// As the keys' and the catalog's.
    pub async fn function_delete(&self, workspace: WorkspaceId, principal: PrincipalId, name: &str) -> Result<bool, QueryError> {
        self.stored.delete(workspace, principal, name).await
    }

    /// Ends queries of the workspaces that are linked to an account, and those that touched its keys; its gate is shut.
    pub fn cut(&self, account: AccountId, why: &KeyError) {
        for context in self.running.lock().iter().filter_map(Weak::upgrade) {
            if context.concerns(account) {
                context.fail(aborted(why));
                context.cancel.cancel();
            }
        }
    }

    /// Drops what is cached of rows of this epoch, and ends nothing: some of its blocks are gone for good.
    pub fn drop_caches(&self, epoch: Epoch) {
        self.footers.forget(epoch);
        self.openers.forget(epoch);
        self.filters.forget(epoch);
        self.lineage.forget(epoch);
        self.prepared.forget(epoch.account);
    }

    /// Drops everything derived from rows of this epoch, and ends queries that touched it.
    pub fn forget(&self, epoch: Epoch) {
        // Queries first: a running one would fill the caches again.
        for context in self.running.lock().iter().filter_map(Weak::upgrade) {
            if context.touches(epoch) {
                context.fail(QueryError::new(ErrorKind::KeyRevoked, "QueryAbortedKeyRevoked", format!("key {} was taken away", epoch.aek)));
                context.cancel.cancel();
            }
        }
        self.drop_caches(epoch);
    }
}

#[cfg(test)]
impl Engine {
    /// How many footers, openers, schemas, statistics and parts of filters are cached.
    pub(crate) fn cached(&self) -> [usize; 5] {
        use datafusion::execution::cache::Cache as _;
        let (schemas, stats) = self.lineage.cached();
        [self.footers.len(), self.openers.len(), schemas, stats, self.filters.len()]
    }

    /// Bytes of the filters that are cached.
    pub(crate) fn filters_bytes(&self) -> usize {
        self.filters.bytes()
    }

    /// Whether the first part of a block's filters is cached.
    pub(crate) fn has_filters(&self, object: strongroom_model::ObjectId) -> bool {
        self.filters.part(object, 0).is_some()
    }
}
