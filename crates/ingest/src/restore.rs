//! When a key is back: what was kept sealed is opened in order, typed, and made blocks of, each request once.
//!
//! A part of a segment is one catalog transaction: its blocks, its batch ids, and how far the segment is opened. A crash before it
//! leaves objects that the sweep takes; after it, the next try goes on behind it. Queries do not wait for any of this. Rows go
//! where the request's ids say, under the epoch that it was sealed for, wherever its workspace is linked today.
//!
//! ```text
//! finish ─▶ read ─▶ decode onto the lineage ─▶ windows ─▶ announce ─▶ Parquet, seal, put ─▶ commit with the position ─▶ … ─▶ erase
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use hashbrown::{HashMap, HashSet};
use strongroom_buffer::{BufferError, SealedReader, SealedSegment};
use strongroom_catalog::{BatchRow, BufferedCommit, LiveBlock};
use strongroom_envelope::{KeyGuard, seal_cell};
use strongroom_keys::{Purpose, Standing};
use strongroom_model::{AccountId, Epoch, ErrorKind, ObjectId, Position, PrincipalId, TableId, TableName, WorkspaceId};
use tokio::sync::watch;

use crate::buffered::{Buffered, from_bytes};
use crate::decode::Reject;
use crate::decoding::{Decoding, blocking, notes};
use crate::dedup::{BatchKey, Opening, Turn};
use crate::encode::arrange;
use crate::intake::{Intake, Place, REJECTED_TABLE, reply_place};
use crate::publish::{BlockPlace, Points, commit, encoding, failpoint, publish};
use crate::stream::{Lines, NotShaped, Through};
use crate::{BadReason, BadRecord, IngestError, IngestReply, OnError};

/// Bytes of requests that are opened, typed and committed together, and one request more.
const PART_BYTES: usize = 16 << 20;
/// Requests of such a part.
const PART_REQUESTS: usize = 10_000;
/// How long a segment that failed is left alone.
const RETRY: Duration = Duration::from_secs(5);
/// How often is looked whether a key is back, and how long is waited after a failure.
const LOOK: Duration = Duration::from_millis(500);

static POINTS: Points =
    Points { encode: "restore.encode", encrypt: "restore.encrypt", put: "restore.put", put_unknown: "restore.put_unknown" };

/// What opening did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Requests made blocks of.
    pub requests: u64,
    /// Their rows.
    pub rows: u64,
    /// Requests that had been taken before, by their batch id.
    pub duplicates: u64,
    /// Segments erased.
    pub segments: u64,
}

impl Opened {
    fn since(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            rows: self.rows - before.rows,
            duplicates: self.duplicates - before.duplicates,
            segments: self.segments - before.segments,
        }
    }
}

/// Who is told that requests which were kept sealed were opened.
pub trait Witness: fmt::Debug + Send + Sync {
    /// So much of one epoch's is in blocks now.
    fn opened(&self, epoch: Epoch, opened: &Opened);
}

/// What waits sealed for an account's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Segments.
    pub segments: u64,
    /// Their bytes, as they lie on disk.
    pub bytes: u64,
    /// When the oldest was begun, milliseconds since 1970.
    pub since_ms: Option<i64>,
}

/// Rows of one table of one workspace.
struct Gathered {
    guard: KeyGuard,
    rows: Vec<(i64, RecordBatch)>,
}

/// A part of a segment, typed.
#[derive(Default)]
struct Part {
    tables: BTreeMap<(WorkspaceId, TableId), Gathered>,
    /// Batch ids, with their table and the answer they get.
    batches: Vec<(Turn, TableId, KeyGuard, IngestReply)>,
    /// Batches in this part, and their ids: their turns are this part's own.
    keys: HashSet<(WorkspaceId, [u8; 32])>,
    ids: HashSet<(WorkspaceId, [u8; 32])>,
    opened: Opened,
}

impl Intake {
    /// Has openings told; the first who asks for it stays.
    pub fn witnessed_by(&self, witness: Arc<dyn Witness>) {
        self.witness.get_or_init(|| witness);
    }

    /// What waits sealed for an account's key.
    #[must_use]
    pub fn waiting(&self, account: AccountId) -> Waiting {
        let mut waiting = Waiting::default();
        for segment in self.deps.sealed.segments().iter().filter(|segment| segment.epoch.account == account) {
            waiting.segments += 1;
            waiting.bytes += segment.bytes;
            waiting.since_ms = Some(waiting.since_ms.map_or(segment.born_ms(), |oldest| oldest.min(segment.born_ms())));
        }
        waiting
    }

    /// Opens what is sealed whenever its key is there, until `stop` turns true.
    pub(crate) async fn open_when_due(&self, mut stop: watch::Receiver<bool>) {
        loop {
            let failed = self.open_sealed().await.is_err();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.deps.world.clock.sleep(if failed { RETRY } else { LOOK }) => {}
            }
        }
    }

    /// Opens every segment of the sealed buffer whose key is there.
    ///
    /// # Errors
    /// The first [`IngestError`], after the other epochs were tried: what was not opened stays as it is.
    pub async fn open_sealed(&self) -> Result<Opened, IngestError> {
        let mut epochs: Vec<Epoch> = self.deps.sealed.segments().iter().map(|segment| segment.epoch).collect();
        epochs.sort();
        epochs.dedup();
        let (mut opened, mut failed) = (Opened::default(), None);
        for epoch in epochs {
            if !matches!(self.deps.keys.standing(epoch.account), None | Some(Standing::Open)) {
                continue;
            }
            // Not there yet, or gone again: next time.
            let Ok(guard) = self.deps.keys.epoch_guard(epoch).await else { continue };
            if let Err(error) = self.open_epoch(&guard, &mut opened).await {
                metrics::counter!("ingest_open_failures_total", "code" => error.code()).increment(1);
                tracing::warn!(aek = %epoch.aek, code = error.code(), "what was kept sealed is not opened yet");
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(opened), Err)
    }

    async fn open_epoch(&self, guard: &KeyGuard, opened: &mut Opened) -> Result<(), IngestError> {
        let (sealed, epoch) = (self.deps.sealed.clone(), guard.epoch());
        let listed = blocking(move || {
            sealed.finish(epoch);
            sealed.segments()
        })
        .await?;
        let done: HashMap<ObjectId, u64> = self.deps.catalog.buffer_opened().await?.into_iter().collect();
        let before = *opened;
        let mut outcome = Ok(());
        for segment in listed.iter().filter(|segment| segment.epoch == epoch && !segment.open) {
            outcome = self.open_segment(guard, segment, done.get(&segment.id).copied().unwrap_or(0), opened).await;
            if outcome.is_err() {
                break;
            }
        }
        if *opened != before {
            tracing::info!(aek = %epoch.aek, requests = opened.requests, rows = opened.rows, duplicates = opened.duplicates, "opened what was kept sealed");
            if let Some(witness) = self.witness.get() {
                witness.opened(epoch, &opened.since(before));
            }
        }
        outcome
    }

    async fn open_segment(
        &self,
        guard: &KeyGuard,
        segment: &SealedSegment,
        mut through: u64,
        opened: &mut Opened,
    ) -> Result<(), IngestError> {
        let (sealed, key, of) = (self.deps.sealed.clone(), guard.clone(), *segment);
        let mut damaged = false;
        match blocking(move || sealed.read(&of, &key)).await? {
            Ok(mut reader) => loop {
                let (given_back, read) = blocking(move || read_part(reader, through)).await?;
                reader = given_back;
                let (requests, last, end) = read;
                if last > through {
                    let part = self.type_part(segment.epoch, requests).await?;
                    let did = part.opened;
                    self.commit_part(segment, last, part).await?;
                    (opened.requests, opened.rows) = (opened.requests + did.requests, opened.rows + did.rows);
                    opened.duplicates += did.duplicates;
                    through = last;
                }
                match end {
                    None => {}
                    Some(Ok(())) => break,
                    Some(Err(error @ (BufferError::Corrupt { .. } | BufferError::Open { .. }))) => {
                        tracing::error!(segment = %segment.id, code = error.code(), %error, "a segment of the sealed buffer is damaged");
                        damaged = true;
                        break;
                    }
                    Some(Err(error)) => return Err(error.into()),
                }
            },
            Err(BufferError::Open { .. }) => damaged = true,
            Err(error) => return Err(error.into()),
        }
        failpoint("restore.buffer_erase")?;
        let (sealed, id) = (self.deps.sealed.clone(), segment.id);
        blocking(move || if damaged { sealed.set_aside(id) } else { sealed.erase(id) }).await??;
        self.deps.catalog.buffer_opened_forget(id).await?;
        opened.segments += 1;
        Ok(())
    }

    /// Types requests in their order. Total: whatever was acked becomes rows, in its table or in `Rejected`.
    async fn type_part(&self, epoch: Epoch, requests: Vec<Buffered>) -> Result<Part, IngestError> {
        let mut part = Part::default();
        for request in requests {
            part.opened.requests += 1;
            if self.is_gone(request.workspace).await? {
                tracing::warn!(workspace = %request.workspace, "rows of a workspace that is no longer there are not opened");
                continue;
            }
            let turn = match &request.batch {
                None => None,
                Some(batch) => match self.opening(&mut part, batch, request.arrival).await {
                    Opening::Turn(turn) => Some(turn),
                    // Two bodies under one id, both acked: both are rows.
                    Opening::Conflict => None,
                    Opening::Taken => {
                        part.opened.duplicates += 1;
                        continue;
                    }
                },
            };
            let guard = self.deps.keys.guard(epoch, request.workspace, PrincipalId::NIL, Purpose::Ingest).await?;
            let (workspace, table, account) = (request.workspace, request.table, epoch.account);
            let place = Place { workspace, table, account, retention_days: 0 };
            let format = Decoding {
                format: request.format,
                time_field: request.time_field.clone(),
                arrival: request.arrival,
                on_error: OnError::Skip,
                checked: true,
            };
            let (body, cut) = (Bytes::from(request.body), self.config.limits.rejected_bytes_max);
            let lines = self.shaped_late(&place, request.through.as_ref(), &body, request.arrival).await?;
            let decoded = match self.decode_onto_lineage(&place, &guard, &lines, &format).await {
                Ok((decoded, _)) => decoded,
                // It passed when it came. Should this build read it otherwise, it is kept where bad records are.
                Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::TooLarge) => {
                    tracing::error!(workspace = %place.workspace, code = error.code(), "a request of the sealed buffer is not read any more");
                    let raw = String::from_utf8_lossy(&body[..body.len().min(cut)]).into_owned();
                    let bad = BadRecord { line: 1, offset: 0, reason: BadReason::NotJson };
                    self.gather_rejects(&mut part, &guard, &place, &[Reject { bad, raw }], request.arrival).await?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let rows = decoded.batch.num_rows() as u64;
            let reply = IngestReply { accepted: rows, rejected: decoded.rejects.len() as u64, ..IngestReply::default() };
            part.opened.rows += rows;
            if !decoded.rejects.is_empty() {
                self.gather_rejects(&mut part, &guard, &place, &decoded.rejects, request.arrival).await?;
            }
            if rows > 0 {
                part.gather(&place, &guard, request.arrival, decoded.batch);
            }
            if let Some(turn) = turn {
                part.batches.push((turn, request.table, guard, reply));
            }
        }
        Ok(part)
    }

    /// The lines of a request that waited. A rule that is gone, or cannot be followed any more, loses nobody's rows and holds up nobody
    /// else's: they are stored as they came.
    async fn shaped_late(&self, place: &Place, through: Option<&Through>, body: &Bytes, arrival: i64) -> Result<Lines, IngestError> {
        let Some(through) = through else { return Ok(Lines::of(body.clone())) };
        let table = self.deps.catalog.tables(place.workspace).await?.into_iter().find(|row| row.id == place.table).map(|row| row.name);
        let Some(table) = table else { return Ok(Lines::of(body.clone())) };
        match self.shaped(place.workspace, &table, through, body, arrival).await {
            Err(error) if is_of_the_rule(&error) => {
                metrics::counter!("ingest_unshaped_requests_total", "code" => error.code()).increment(1);
                tracing::warn!(workspace = %place.workspace, rule = %through.rule, code = error.code(), "rows that waited are stored as they came, not as their rule has it");
                Ok(Lines::of(body.clone()))
            }
            done => done.map(|(lines, _)| lines),
        }
    }

    /// Whether a workspace is gone for good: one that was deleted and can be brought back is not.
    async fn is_gone(&self, workspace: WorkspaceId) -> Result<bool, IngestError> {
        if self.deps.catalog.workspace(workspace).await?.is_some() {
            return Ok(false);
        }
        let now_ms = self.deps.world.clock.wall().unix_ms();
        let deleted = self.deps.catalog.workspaces_deleted().await?;
        Ok(!deleted.iter().any(|row| row.workspace.id == workspace && row.shred_ms > now_ms))
    }

    /// Whether a batch was taken before: in this part, or ever.
    async fn opening(&self, part: &mut Part, batch: &BatchKey, arrival: i64) -> Opening {
        let BatchKey { workspace, id_sha256, key_sha256 } = *batch;
        if !part.keys.insert((workspace, key_sha256)) {
            return Opening::Taken;
        }
        if !part.ids.insert((workspace, id_sha256)) {
            return Opening::Conflict;
        }
        self.batches.begin_opening(*batch, arrival.div_euclid(1_000_000)).await
    }

    async fn gather_rejects(
        &self,
        part: &mut Part,
        guard: &KeyGuard,
        of: &Place,
        rejects: &[Reject],
        arrival: i64,
    ) -> Result<(), IngestError> {
        let name = self.deps.catalog.tables(of.workspace).await?.into_iter().find(|row| row.id == of.table).map(|row| row.name);
        let body = notes(name.as_ref().map_or("", TableName::as_str), rejects)?;
        let rejected = self.deps.catalog.table_ensure_own(of.workspace, &REJECTED_TABLE.parse()?).await?;
        let place = Place { table: rejected.id, ..*of };
        let (decoded, _) = self.decode_onto_lineage(&place, guard, &Lines::of(body), &Decoding::of_notes(arrival)).await?;
        part.gather(&place, guard, arrival, decoded.batch);
        Ok(())
    }

    /// Blocks of a part, and the commit that makes them count.
    async fn commit_part(&self, segment: &SealedSegment, through: u64, part: Part) -> Result<(), IngestError> {
        let _turn = self.flushing.lock().await;
        let mut tables: Vec<(TableId, Vec<LiveBlock>)> = Vec::with_capacity(part.tables.len());
        for ((workspace, table), gathered) in part.tables {
            let Gathered { guard, rows } = gathered;
            let arranged = blocking(move || arrange(&rows)).await??;
            let mint = |window| BlockPlace::mint(&self.deps.world, segment.epoch, workspace, table, window);
            let places: Vec<_> = arranged.iter().map(|block| mint(block.window)).collect();
            let pending: Vec<_> = places.iter().map(|place| place.pending(Position(0))).collect();
            self.deps.catalog.blocks_pend(self.deps.writer, &pending).await?;
            let mut blocks = Vec::with_capacity(places.len());
            for (place, block) in places.into_iter().zip(arranged) {
                let arrived_ms = block.arrival.div_euclid(1_000_000);
                blocks.push(publish(&self.deps, &guard, place, encoding(block), 0, arrived_ms, &POINTS).await?);
            }
            tables.push((table, blocks));
        }
        let (now, now_ms) = (self.deps.world.clock.boot(), self.deps.world.clock.wall().unix_ms());
        let mut batches = Vec::with_capacity(part.batches.len());
        for (turn, table, guard, reply) in &part.batches {
            let BatchKey { workspace, id_sha256, key_sha256 } = *turn.key();
            let plain = serde_json::to_vec(reply).map_err(|error| IngestError::internal("writing the reply", error))?;
            let place = reply_place(segment.epoch, workspace, *table, &id_sha256);
            let reply = seal_cell(guard, now, self.deps.world.rng.as_ref(), &place, &plain)?;
            // Remembered from now on: who sent it may send it again for a day.
            batches.push(BatchRow { workspace, id_sha256, key_sha256, reply, at_ms: now_ms });
        }
        failpoint("restore.buffer")?;
        let done = BufferedCommit { segment: segment.id, through, epoch: segment.epoch, tables, batches };
        commit(&self.deps, || self.deps.catalog.buffered_commit(self.deps.writer, &done)).await?;
        for ((turn, ..), row) in part.batches.into_iter().zip(done.batches) {
            turn.answer(row.reply, now_ms);
        }
        metrics::counter!("ingest_opened_requests_total").increment(part.opened.requests);
        metrics::counter!("ingest_opened_rows_total").increment(part.opened.rows);
        Ok(())
    }
}

/// Whether it is the rule that cannot be followed, or the body that it cannot be followed on: the next try would end the same. A key
/// that is away, a server that stops and a disk or catalog that fails are none of it.
fn is_of_the_rule(error: &IngestError) -> bool {
    match error {
        IngestError::NotShaped(error) => matches!(error, NotShaped::Rule { .. }),
        // Also work of ours that gave way on it.
        IngestError::BadRecord(_) | IngestError::BadBody { .. } | IngestError::TooSparse { .. } | IngestError::Internal { .. } => true,
        _ => false,
    }
}

impl Part {
    fn gather(&mut self, place: &Place, guard: &KeyGuard, arrival: i64, batch: RecordBatch) {
        let new = || Gathered { guard: guard.clone(), rows: Vec::new() };
        self.tables.entry((place.workspace, place.table)).or_insert_with(new).rows.push((arrival, batch));
    }
}

/// What was read, the last position, and how it ended, if it did.
type ReadPart = (Vec<Buffered>, u64, Option<Result<(), BufferError>>);

/// Reads requests behind `through` until there are enough. Blocking.
fn read_part(mut reader: SealedReader, through: u64) -> (SealedReader, ReadPart) {
    let (mut requests, mut bytes, mut last) = (Vec::new(), 0, through);
    let end = loop {
        if bytes >= PART_BYTES || requests.len() >= PART_REQUESTS {
            break None;
        }
        match reader.next() {
            Ok(None) => break Some(Ok(())),
            Ok(Some((seq, _))) if seq <= through => {}
            Ok(Some((seq, payload))) => {
                bytes += payload.len();
                match from_bytes(&payload) {
                    Ok(request) => requests.push(request),
                    // Genuine by two tags, and not ours to read: a newer build's. Nothing is guessed.
                    Err(_) => break Some(Err(reader.unknown())),
                }
                last = seq;
            }
            Err(error) => break Some(Err(error)),
        }
    };
    (reader, (requests, last, end))
}
