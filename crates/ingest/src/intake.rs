//! From a request to its ack.
//!
//! One request is one log record, so it is taken whole or not at all. With [`OnError::Skip`](crate::OnError::Skip) the bad records go to the
//! table `Rejected` in a record of their own, logged *before* the one with the rows: the caller gets an answer only when
//! both are durable, the batch id's mark rides on the rows, and a crash between the two leaves at most notes about
//! records that the caller was never told were taken. So the table itself sees every batch id once; `Rejected` may see a
//! note twice.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_buffer::{BatchMark, Buffer, Record, SealedLog};
use strongroom_catalog::{Catalog, WriterEpoch};
use strongroom_envelope::{CellPlace, Header, KeyGuard, open_cell};
use strongroom_keys::{KeyRing, Purpose};
use strongroom_model::{AccountId, Column, Epoch, ObjectId, TableId, TableName, TableSchema, WorkspaceId};
use strongroom_store::BlockStore;
use strongroom_world::{BootTime, World};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, Semaphore};

use crate::away::{Away, Tallies, is_away};
use crate::decode::{Decoded, Reject};
use crate::decoding::{Decoding, INLINE_BYTES, notes};
use crate::dedup::{BatchKey, Batches, Begun, Turn};
use crate::gate::Gate;
use crate::maintain::Retries;
use crate::own::own_table;
use crate::restore::Witness;
use crate::schemas::{Evolved, Schemas};
use crate::stream::{Lines, Transform};
use crate::{Budget, IngestConfig, IngestError, IngestReply, IngestRequest, Share, Taken};

/// The table that bad records go to.
pub const REJECTED_TABLE: &str = "Rejected";

/// What the write path stands on.
#[derive(Clone)]
#[expect(missing_docs, reason = "each is named after its type")]
pub struct IngestDeps {
    pub world: World,
    pub catalog: Catalog,
    pub keys: Arc<KeyRing>,
    pub buffer: Arc<Buffer>,
    /// Where requests wait whose key is away.
    pub sealed: Arc<SealedLog>,
    pub blocks: Arc<BlockStore>,
    /// This process's turn as the one writer.
    pub writer: WriterEpoch,
}

impl fmt::Debug for IngestDeps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IngestDeps").field("writer", &self.writer).finish_non_exhaustive()
    }
}

/// The write path of one node.
pub struct Intake {
    pub(crate) deps: IngestDeps,
    pub(crate) config: IngestConfig,
    pub(crate) schemas: Schemas,
    pub(crate) batches: Batches,
    /// One flush at a time: the other core is for requests.
    pub(crate) flushing: tokio::sync::Mutex<()>,
    pub(crate) compacting: tokio::sync::Mutex<()>,
    pub(crate) retries: Retries,
    pub(crate) tallies: Tallies,
    pub(crate) witness: OnceLock<Arc<dyn Witness>>,
    pub(crate) transform: OnceLock<Arc<dyn Transform>>,
    pub(crate) budget: Budget,
    pub(crate) gate: Arc<Gate>,
    pub(crate) decoders: Arc<Semaphore>,
    places: Mutex<HashMap<(WorkspaceId, TableName), (Place, BootTime)>>,
    /// Held shared by requests from when they learn their account to their ack; alone by a barrier. As many as workspaces.
    barriers: Mutex<HashMap<WorkspaceId, Arc<RwLock<()>>>>,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("deps", &self.deps).finish_non_exhaustive()
    }
}

/// Where rows of a table go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    pub(crate) account: AccountId,
    pub(crate) retention_days: u32,
}

impl Intake {
    /// Opens the write path. `marks` are the batch ids that the log's recovery found, with their arrival (nanoseconds since 1970).
    ///
    /// # Errors
    /// [`IngestError::Catalog`].
    pub async fn open(deps: IngestDeps, config: IngestConfig, marks: Vec<(WorkspaceId, BatchMark, i64)>) -> Result<Arc<Self>, IngestError> {
        let batches = Batches::new(config.batch_id_age_max_ms, config.batch_ids_per_workspace_max);
        let mut known: Vec<_> = deps
            .catalog
            .batches(deps.world.clock.wall().unix_ms().saturating_sub(config.batch_id_age_max_ms))
            .await?
            .into_iter()
            .map(|row| (row.at_ms, row.workspace, BatchMark { id_sha256: row.id_sha256, key_sha256: row.key_sha256, reply: row.reply }))
            .chain(marks.into_iter().map(|(workspace, mark, arrival)| (arrival.div_euclid(1_000_000), workspace, mark)))
            .collect();
        known.sort_by_key(|(at_ms, ..)| *at_ms);
        for (at_ms, workspace, mark) in known {
            batches.remember(workspace, mark.id_sha256, mark.key_sha256, mark.reply, at_ms);
        }
        let threads = match config.decode_threads_max {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            set => set,
        };
        let schemas = Schemas::new(
            deps.world.clone(),
            deps.catalog.clone(),
            deps.keys.clone(),
            config.limits.columns_max,
            config.row_cache_entries_max,
        );
        let gate = Arc::<Gate>::default();
        Ok(Arc::new(Self {
            schemas,
            batches,
            flushing: tokio::sync::Mutex::default(),
            compacting: tokio::sync::Mutex::default(),
            retries: Retries::default(),
            tallies: Tallies::default(),
            witness: OnceLock::new(),
            transform: OnceLock::new(),
            budget: Budget::at(config.in_flight_bytes_max, config.in_flight_requests_max, gate.clone()),
            gate,
            decoders: Arc::new(Semaphore::new(threads)),
            places: Mutex::default(),
            barriers: Mutex::default(),
            deps,
            config,
        }))
    }

    /// Takes a request: when this returns, its rows are durable and visible to queries that start afterwards. A caller
    /// who stops waiting does not stop what was begun.
    ///
    /// # Errors
    /// [`IngestError`]; then nothing of the request is in its table, unless the log's disk failed at the last moment:
    /// send it again with the same batch id.
    pub async fn ingest(self: &Arc<Self>, request: IngestRequest) -> Result<IngestReply, IngestError> {
        self.ready(request.workspace, &request.table).await?;
        let share = self.admit(Some(request.body.len() as u64), request.encoding).await?;
        self.ingest_within(request, share).await
    }

    /// Waits while a denial of the key behind a table is looked into: outside the budget that all share.
    ///
    /// # Errors
    /// [`IngestError::Key`] if the key is away and rows that come meanwhile are not kept; [`IngestError::Buffer`] if they are and
    /// there is no room.
    pub async fn ready(&self, workspace: WorkspaceId, table: &TableName) -> Result<(), IngestError> {
        let Some(place) = self.places.lock().get(&(workspace, table.clone())).map(|(place, _)| *place) else { return Ok(()) };
        match self.away(place.account).await? {
            None => Ok(()),
            // What was known of the place may be old; what is asked here is asked again.
            Some(away) => self.admit_away(away, workspace, Some(place.table), place.account).await.map(drop),
        }
    }

    /// Lets a request in that waits for no room: its bytes are to be taken from the share as they come.
    ///
    /// # Errors
    /// [`IngestError::Overloaded`].
    pub(crate) fn enter(&self) -> Result<Share, IngestError> {
        self.budget.enter()
    }

    /// As [`Intake::ingest`], for a request let in before.
    ///
    /// # Errors
    /// As there.
    pub async fn ingest_within(self: &Arc<Self>, request: IngestRequest, share: Share) -> Result<IngestReply, IngestError> {
        if let Some(table) = own_table(&request.table) {
            // Its rows say what the server did: nobody else may say so.
            return Err(IngestError::OwnTable { table });
        }
        self.take_detached(request, share).await
    }

    /// A caller who stops waiting does not stop what was begun.
    pub(crate) async fn take_detached(self: &Arc<Self>, request: IngestRequest, share: Share) -> Result<IngestReply, IngestError> {
        let intake = self.clone();
        tokio::spawn(async move { intake.take(request, share).await })
            .await
            .map_err(|error| IngestError::internal("taking the request", error))?
    }

    async fn take(&self, mut request: IngestRequest, share: Share) -> Result<IngestReply, IngestError> {
        let arrival = self.deps.world.clock.wall().0;
        let arrival_ms = arrival.div_euclid(1_000_000);
        let turn = match &request.batch_id {
            None => None,
            Some(id) => {
                let key = self.batch_key(&request, id).await?;
                let id_sha256 = key.id_sha256;
                match self.batches.begin(key, arrival_ms).await? {
                    Begun::Answered(reply) => return self.again(&request, &id_sha256, &reply).await,
                    Begun::Turn(turn) => Some(turn),
                }
            }
        };
        let outcome = self.take_new(&mut request, share, arrival, turn.as_ref()).await;
        let kind = outcome.as_ref().map_or_else(IngestError::code, |_| "ok");
        metrics::counter!("ingest_requests_total", "outcome" => kind).increment(1);
        let (reply, bytes) = outcome?;
        metrics::counter!("ingest_rows_total").increment(reply.accepted);
        metrics::counter!("ingest_rejected_records_total").increment(reply.rejected);
        match (turn, reply.taken) {
            (None, _) => {}
            (Some(turn), Taken::Stored) => turn.answer(bytes, arrival_ms),
            (Some(turn), Taken::Buffered | Taken::Sealed) => turn.sealed(bytes, arrival_ms),
            // It may come again when the key is back.
            (Some(turn), Taken::Dropped) => drop(turn),
        }
        Ok(reply)
    }

    async fn batch_key(&self, request: &IngestRequest, id: &str) -> Result<BatchKey, IngestError> {
        let (workspace, table, id, body) = (request.workspace, request.table.clone(), id.to_owned(), request.body.clone());
        self.on_decoder(body.len() <= INLINE_BYTES, move || BatchKey::new(workspace, &table, &id, &body)).await?
    }

    async fn take_new(
        &self,
        request: &mut IngestRequest,
        share: Share,
        arrival: i64,
        turn: Option<&Turn>,
    ) -> Result<(IngestReply, Vec<u8>), IngestError> {
        let (body, share) = self.inflate(request, share).await?;
        let (time_field, on_error) = (request.time_field.clone(), request.on_error);
        let format = Decoding { format: request.format, time_field, arrival, on_error, checked: false };
        // From here on the account is settled: a barrier waits until the rows are acked.
        let _within = self.barrier_of(request.workspace).read_owned().await;
        let place = self.place(request.workspace, &request.table, false).await?;
        let account = match &place {
            Some(place) => place.account,
            None => self.home(request.workspace).await?,
        };
        let mut away = self.away(account).await?;
        if away.is_none() {
            match self.take_stored(request, place, &body, &format, turn).await {
                // The key went while it was being taken: nothing of it is in the log.
                Err(error) if is_away(&error) => match self.away(account).await? {
                    // The lease ended a moment ago and the gate does not know yet.
                    None => away = Some(Away::lease_over(error, self.deps.world.clock.wall().unix_ms())?),
                    gone => away = gone,
                },
                other => return other,
            }
        }
        let Some(away) = away else { return Err(IngestError::Stopping) };
        let taken = self.take_away(away, request, account, &body, &format, turn).await;
        drop(share);
        taken
    }

    async fn take_stored(
        &self,
        request: &IngestRequest,
        place: Option<Place>,
        body: &Bytes,
        format: &Decoding,
        turn: Option<&Turn>,
    ) -> Result<(IngestReply, Vec<u8>), IngestError> {
        let arrival = format.arrival;
        let (lines, _room) = match &request.through {
            Some(through) => self.shaped(request.workspace, &request.table, through, body, arrival).await?,
            None => (Lines::of(body.clone()), self.budget.aside()),
        };
        let place = if let Some(place) = place {
            place
        } else {
            // A refused request makes no table, so a first one is tried before there is one.
            self.decode(&lines.body, &Arc::default(), format).await?;
            self.made_place(request.workspace, &request.table).await?
        };
        let guard = self.guard(request, place.account).await?;
        let (decoded, added) = self.decode_onto_lineage(&place, &guard, &lines, format).await?;
        let reply = IngestReply {
            accepted: decoded.batch.num_rows() as u64,
            rejected: decoded.rejects.len() as u64,
            columns_added: added,
            ..IngestReply::default()
        };
        let bytes = serde_json::to_vec(&reply).map_err(|error| IngestError::internal("writing the reply", error))?;
        let mut mark =
            turn.map(|turn| BatchMark { id_sha256: turn.key().id_sha256, key_sha256: turn.key().key_sha256, reply: bytes.clone() });
        let has_rows = decoded.batch.num_rows() > 0;
        if !decoded.rejects.is_empty() {
            let notes_mark = if has_rows { None } else { mark.take() };
            self.append_rejects(request, &guard, &decoded.rejects, arrival, notes_mark).await?;
        }
        if has_rows {
            self.append(&place, &guard, decoded, arrival, mark).await?;
        }
        Ok((reply, bytes))
    }

    async fn append(
        &self,
        place: &Place,
        guard: &KeyGuard,
        decoded: Decoded,
        arrival: i64,
        mark: Option<BatchMark>,
    ) -> Result<(), IngestError> {
        let record = Record {
            workspace: place.workspace,
            table: place.table,
            batch: decoded.batch,
            arrival,
            retention_days: place.retention_days,
            mark,
        };
        let (buffer, guard) = (self.deps.buffer.clone(), guard.clone());
        let small = record.batch.get_array_memory_size() <= INLINE_BYTES;
        self.on_decoder(small, move || buffer.begin(&guard, record)).await??.durable().await?;
        Ok(())
    }

    /// Notes about bad records are rows like any others: typed by the same rules, so that any column a user gave that table stays.
    async fn append_rejects(
        &self,
        request: &IngestRequest,
        guard: &KeyGuard,
        rejects: &[Reject],
        arrival: i64,
        mark: Option<BatchMark>,
    ) -> Result<(), IngestError> {
        let body = notes(request.table.as_str(), rejects)?;
        let place = self.made_place(request.workspace, &REJECTED_TABLE.parse()?).await?;
        let (decoded, _) = self.decode_onto_lineage(&place, guard, &Lines::of(body), &Decoding::of_notes(arrival)).await?;
        self.append(&place, guard, decoded, arrival, mark).await
    }

    /// Decodes lines onto the table's columns, and again if those change meanwhile in a way that matters; on return the
    /// lineage has every column of the batch, and those that the lines were declared to need.
    pub(crate) async fn decode_onto_lineage(
        &self,
        place: &Place,
        guard: &KeyGuard,
        lines: &Lines,
        format: &Decoding,
    ) -> Result<(Decoded, Vec<Column>), IngestError> {
        for _ in 0..=self.config.schema_retries_max {
            let base = self.schemas.current(place.workspace, place.table, guard).await?;
            let decoded = match base.with(&lines.columns, self.config.limits.columns_max) {
                None => self.decode(&lines.body, &base, format).await?,
                Some((wider, mut added)) => {
                    let decoded = self.decode(&lines.body, &Arc::new(wider), format).await?;
                    added.extend(decoded.added.iter().cloned());
                    Decoded { added, changed: true, ..decoded }
                }
            };
            if !decoded.changed && base.version > 0 {
                return Ok((decoded, Vec::new()));
            }
            match self.schemas.evolve(place.workspace, place.table, guard, &base, &decoded).await? {
                Evolved::Stored(added) => return Ok((decoded, added)),
                Evolved::Redecode => metrics::counter!("ingest_schema_redecodes_total").increment(1),
            }
        }
        Err(IngestError::SchemaContended)
    }

    /// The answer that a batch got the first time: in clear while it comes from the log's memory, a cell once it was flushed.
    async fn again(&self, request: &IngestRequest, id_sha256: &[u8; 32], reply: &[u8]) -> Result<IngestReply, IngestError> {
        metrics::counter!("ingest_requests_total", "outcome" => "duplicate").increment(1);
        // An answer is data, too: it names columns.
        let account = self.home(request.workspace).await?;
        if let Some(away) = self.away(account).await? {
            return self.again_away(away, request.workspace, &request.table, reply).await;
        }
        let corrupt = || IngestError::Corrupt { what: "the answer to a batch" };
        let opened;
        let plain = if reply.first() == Some(&b'{') {
            reply
        } else {
            let header = Header::parse(reply).map_err(|_| corrupt())?;
            let place = reply_place(header.epoch(), request.workspace, header.table, id_sha256);
            let guard = self.deps.keys.guard(place.epoch, request.workspace, request.principal, Purpose::Ingest).await?;
            opened = open_cell(&guard, self.deps.world.clock.boot(), &place, reply)?;
            &opened
        };
        let reply: IngestReply = serde_json::from_slice(plain).map_err(|_| corrupt())?;
        Ok(IngestReply { duplicate: true, ..reply })
    }

    /// Waits for the requests of a workspace that know its account already, and keeps later ones waiting until it is
    /// dropped: in between, the workspace may be given another account or epoch. What was known of its place is forgotten.
    pub async fn barrier(&self, workspace: WorkspaceId) -> Barrier {
        let alone = self.barrier_of(workspace).write_owned().await;
        self.places.lock().retain(|(of, _), _| *of != workspace);
        Barrier { _alone: alone }
    }

    pub(crate) fn barrier_of(&self, workspace: WorkspaceId) -> Arc<RwLock<()>> {
        Arc::clone(self.barriers.lock().entry(workspace).or_default())
    }

    /// Waits for a flush under way; none begins until the value is dropped. While a log is read back, what is flushed must stand
    /// still.
    pub async fn no_flush(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.flushing.lock().await
    }

    /// Makes blocks of everything in memory under an account's keys.
    ///
    /// # Errors
    /// [`IngestError`]; rows that could not be written stay in memory and in the log.
    pub async fn flush_account(&self, account: AccountId) -> Result<(), IngestError> {
        for memtable in self.deps.buffer.pressure().tables.iter().filter(|memtable| memtable.epoch.account == account) {
            for _ in 0..=usize::from(memtable.frozen) {
                self.flush_memtable(memtable.table, memtable.epoch).await?;
            }
        }
        Ok(())
    }

    /// Drops the columns it knows of an epoch whose key was taken away.
    pub fn forget(&self, epoch: Epoch) {
        self.schemas.forget(epoch);
    }

    /// Takes up the batch ids that reading a log back found, with their arrival (nanoseconds since 1970).
    pub fn remember(&self, marks: Vec<(WorkspaceId, BatchMark, i64)>) {
        for (workspace, mark, arrival) in marks {
            self.batches.remember(workspace, mark.id_sha256, mark.key_sha256, mark.reply, arrival.div_euclid(1_000_000));
        }
    }

    async fn guard(&self, request: &IngestRequest, account: AccountId) -> Result<KeyGuard, IngestError> {
        self.deps.keys.pass(account).await?;
        let epoch = self.deps.keys.write_epoch(account).await?;
        Ok(self.deps.keys.guard(epoch, request.workspace, request.principal, Purpose::Ingest).await?)
    }

    /// The account that a workspace's rows go to.
    pub(crate) async fn home(&self, workspace: WorkspaceId) -> Result<AccountId, IngestError> {
        let home = self.deps.catalog.workspace(workspace).await?.ok_or(IngestError::NoWorkspace)?;
        Ok(home.account)
    }

    pub(crate) async fn made_place(&self, workspace: WorkspaceId, table: &TableName) -> Result<Place, IngestError> {
        let place = self.place(workspace, table, true).await?;
        place.ok_or_else(|| IngestError::NoTable(table.to_string()))
    }

    /// Where rows of a table go; the table is made if it is to be.
    async fn place(&self, workspace: WorkspaceId, table: &TableName, make: bool) -> Result<Option<Place>, IngestError> {
        let now = self.deps.world.clock.boot();
        let key = (workspace, table.clone());
        let age_max = std::time::Duration::from_millis(self.config.row_cache_age_max_ms);
        if let Some((place, at)) = self.places.lock().get(&key)
            && now.since(*at) < age_max
        {
            return Ok(Some(*place));
        }
        let home = self.deps.catalog.workspace(workspace).await?.ok_or(IngestError::NoWorkspace)?;
        let row = match self.deps.catalog.table_get(workspace, table).await? {
            Some(row) => row,
            None if !make => return Ok(None),
            None => {
                self.check_tables(workspace, table).await?;
                self.table_made(workspace, table).await?
            }
        };
        let retention_days = row.retention_days.unwrap_or(home.retention_days);
        let place = Place { workspace, table: row.id, account: home.account, retention_days };
        let mut places = self.places.lock();
        if places.len() >= self.config.row_cache_entries_max {
            places.clear();
        }
        places.insert(key, (place, now));
        Ok(Some(place))
    }

    /// Whether the workspace may have one table more; requests that make one at the same moment may pass together.
    pub(crate) async fn check_tables(&self, workspace: WorkspaceId, table: &TableName) -> Result<(), IngestError> {
        let limit = self.config.tables_per_workspace_max;
        // The server's own table is not the user's doing.
        if own_table(table).is_some() || self.deps.catalog.tables(workspace).await?.len() < limit {
            return Ok(());
        }
        Err(IngestError::TooManyTables { table: table.to_string(), limit })
    }

    /// The columns that new rows of a table meet; `None` if there is no such table.
    ///
    /// # Errors
    /// [`IngestError`].
    pub async fn schema(&self, workspace: WorkspaceId, table: &TableName) -> Result<Option<TableSchema>, IngestError> {
        let home = self.deps.catalog.workspace(workspace).await?.ok_or(IngestError::NoWorkspace)?;
        let Some(row) = self.deps.catalog.table_get(workspace, table).await? else { return Ok(None) };
        let epoch = self.deps.keys.write_epoch(home.account).await?;
        let guard = self.deps.keys.guard(epoch, workspace, strongroom_model::PrincipalId::NIL, Purpose::Ingest).await?;
        Ok(Some(self.schemas.current(workspace, row.id, &guard).await?.schema.clone()))
    }
}

/// A workspace kept still; see [`Intake::barrier`].
#[derive(Debug)]
pub struct Barrier {
    _alone: OwnedRwLockWriteGuard<()>,
}

/// Where the cell of a batch's answer belongs: its row is named by the id's hash.
pub(crate) fn reply_place(epoch: Epoch, workspace: WorkspaceId, table: TableId, id_sha256: &[u8; 32]) -> CellPlace {
    let row = ObjectId::from_bytes(*id_sha256.first_chunk().expect("32 bytes hold 16"));
    CellPlace { epoch, workspace, table, row }
}
