//! What becomes of requests while their key is away: kept sealed, refused or dropped.
//!
//! Whether nobody answers (an outage) or the customer took the key away is for the gate to say; what is done then is the
//! workspace's to decide only in the second case, for dropping cannot be taken back. Whatever is kept has passed the decoder
//! once, against no columns: what is acked here can be typed later, whatever the table then looks like.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_buffer::{BufferError, Reason};
use strongroom_catalog::AwayRow;
use strongroom_envelope::{GuardError, OpenError, SealError};
use strongroom_keys::{KeyError, Shut, Standing};
use strongroom_model::{AccountId, TableId, TableName, WhileRevoked, WorkspaceId};

use crate::buffered::{Buffered, to_bytes};
use crate::decoding::Decoding;
use crate::dedup::Turn;
use crate::intake::Intake;
use crate::{IngestError, IngestReply, IngestRequest, Taken};

/// Tables counted apart until the counts are written down; what comes beyond is counted for its workspace.
const TALLIES_MAX: usize = 10_000;

/// A gate that is shut.
pub(crate) struct Away {
    why: Shut,
    since_ms: i64,
    error: KeyError,
}

impl Away {
    /// A lease that is over, while the gate is still open.
    ///
    /// # Errors
    /// The error itself, if it says something else.
    pub(crate) fn lease_over(error: IngestError, now_ms: i64) -> Result<Self, IngestError> {
        let guard = match &error {
            IngestError::Key(KeyError::Guard(guard))
            | IngestError::Buffer(BufferError::Guard(guard))
            | IngestError::Open(OpenError::Guard(guard))
            | IngestError::Seal(SealError::Guard(guard)) => *guard,
            _ => return Err(error),
        };
        if !matches!(guard, GuardError::Expired { .. }) {
            return Err(error);
        }
        Ok(Self { why: Shut::Unavailable, since_ms: now_ms, error: guard.into() })
    }

    /// What is done with rows that come now; `None` if they are refused.
    fn admits(&self, policy: WhileRevoked) -> Option<Admitted> {
        match self.why {
            Shut::Unavailable | Shut::AccessLost => Some(Admitted::Keep(Reason::Outage)),
            Shut::Quarantined => None,
            Shut::Revoked => match policy {
                WhileRevoked::Refuse => None,
                WhileRevoked::Seal => Some(Admitted::Keep(Reason::Policy)),
                WhileRevoked::Drop => Some(Admitted::Drop),
            },
        }
    }
}

/// What is done with a request whose key is away.
pub(crate) enum Admitted {
    Keep(Reason),
    Drop,
}

impl Intake {
    /// Waits while a denial of an account's key is looked into; says if the key then is away.
    ///
    /// # Errors
    /// [`IngestError::Key`] if nobody can say.
    pub(crate) async fn away(&self, account: AccountId) -> Result<Option<Away>, IngestError> {
        match self.deps.keys.pass(account).await {
            Ok(_) => Ok(None),
            Err(error) => match (self.deps.keys.standing(account), error) {
                (Some(Standing::Shut(why, since_ms)), error @ KeyError::Shut { .. }) => Ok(Some(Away { why, since_ms, error })),
                (_, error) => Err(error.into()),
            },
        }
    }

    /// Says no while a workspace's key is away.
    ///
    /// # Errors
    /// [`IngestError::Key`].
    pub(crate) async fn refuse_if_away(&self, workspace: WorkspaceId) -> Result<(), IngestError> {
        let account = self.home(workspace).await?;
        self.away(account).await?.map_or(Ok(()), |away| Err(away.error.into()))
    }

    /// Refuses what would be refused anyway, before its body is read.
    ///
    /// # Errors
    /// [`IngestError::Key`], [`IngestError::Buffer`].
    pub(crate) async fn admit_away(
        &self,
        away: Away,
        workspace: WorkspaceId,
        table: Option<TableId>,
        account: AccountId,
    ) -> Result<Admitted, IngestError> {
        // Asked anew each time: dropping goes on not one request longer than its owner wants.
        let policy = self.deps.catalog.ingest_policy(workspace).await?;
        let Some(admitted) = away.admits(policy) else {
            self.tally(workspace, table, |row| row.refused += 1);
            return Err(away.error.into());
        };
        if let Admitted::Keep(reason) = admitted {
            let epoch = self.deps.keys.write_epoch(account).await?;
            if reason == Reason::Outage {
                self.deps.sealed.check_outage(epoch, away.since_ms, self.deps.world.clock.wall().unix_ms())?;
            }
            self.deps.sealed.check_room(0)?;
        }
        Ok(admitted)
    }

    /// Takes, or does not take, a request whose key is away.
    pub(crate) async fn take_away(
        &self,
        away: Away,
        request: &IngestRequest,
        account: AccountId,
        body: &Bytes,
        format: &Decoding,
        turn: Option<&Turn>,
    ) -> Result<(IngestReply, Vec<u8>), IngestError> {
        let (workspace, known) = (request.workspace, self.deps.catalog.table_get(request.workspace, &request.table).await?);
        let admitted = self.admit_away(away, workspace, known.as_ref().map(|row| row.id), account).await?;
        // The shape check: what passes it can be typed later.
        let decoded = self.decode(body, &Arc::default(), format).await?;
        let mut reply =
            IngestReply { accepted: decoded.batch.num_rows() as u64, rejected: decoded.rejects.len() as u64, ..IngestReply::default() };
        drop(decoded);
        match admitted {
            Admitted::Drop => {
                reply.taken = Taken::Dropped;
                self.tally(workspace, known.map(|row| row.id), |row| row.dropped += reply.accepted + reply.rejected);
                metrics::counter!("ingest_dropped_rows_total").increment(reply.accepted + reply.rejected);
            }
            Admitted::Keep(reason) => {
                reply.taken = if reason == Reason::Outage { Taken::Buffered } else { Taken::Sealed };
                let place = self.made_place(workspace, &request.table).await?;
                let (epoch, key) = self.deps.keys.buffer_key(account).await?;
                let buffered = Buffered {
                    workspace,
                    table: place.table,
                    arrival: format.arrival,
                    format: format.format,
                    on_error: format.on_error,
                    time_field: format.time_field.clone(),
                    batch: turn.map(|turn| *turn.key()),
                    through: request.through.clone(),
                    body: Vec::new(),
                };
                let payload = to_bytes(&buffered, body);
                self.deps.sealed.append(epoch, &key, reason, place.retention_days, &payload).await?;
                self.tally(workspace, Some(place.table), |row| row.sealed += reply.accepted);
                metrics::counter!("ingest_sealed_rows_total").increment(reply.accepted);
            }
        }
        let bytes = serde_json::to_vec(&reply).map_err(|error| IngestError::internal("writing the reply", error))?;
        Ok((reply, bytes))
    }

    /// The answer to a batch that was taken before, while its key is away: nothing that comes from rows.
    pub(crate) async fn again_away(
        &self,
        away: Away,
        workspace: WorkspaceId,
        table: &TableName,
        reply: &[u8],
    ) -> Result<IngestReply, IngestError> {
        let policy = self.deps.catalog.ingest_policy(workspace).await?;
        if away.admits(policy).is_none() {
            let table = self.deps.catalog.table_get(workspace, table).await?.map(|row| row.id);
            self.tally(workspace, table, |row| row.refused += 1);
            return Err(away.error.into());
        }
        let known: IngestReply = serde_json::from_slice(reply).unwrap_or_default();
        Ok(IngestReply { duplicate: true, columns_added: Vec::new(), ..known })
    }

    fn tally(&self, workspace: WorkspaceId, table: Option<TableId>, count: impl FnOnce(&mut AwayRow)) {
        let now_ms = self.deps.world.clock.wall().unix_ms();
        self.tallies.count(workspace, table.unwrap_or(TableId::NIL), now_ms, count);
    }

    /// Writes down what became of requests whose key was away.
    pub async fn write_tallies(&self) {
        let counts = self.tallies.take();
        if counts.is_empty() {
            return;
        }
        for AwayRow { workspace, table, refused, sealed, dropped, .. } in &counts {
            tracing::warn!(%workspace, %table, refused_requests = refused, sealed_rows = sealed, dropped_rows = dropped, "came while their key was away");
        }
        if let Err(error) = self.deps.catalog.away_add(&counts).await {
            tracing::warn!(code = error.code(), "the counts of what came while a key was away were not written down");
            self.tallies.put_back(counts);
        }
    }
}

/// Whether it says that a key is away, and so that nothing was logged.
pub(crate) fn is_away(error: &IngestError) -> bool {
    matches!(
        error,
        IngestError::Key(KeyError::Shut { .. } | KeyError::Guard(_) | KeyError::NotLoaded { .. })
            | IngestError::Buffer(BufferError::Guard(_) | BufferError::NotReplayed { .. })
            | IngestError::Open(OpenError::Guard(_))
            | IngestError::Seal(SealError::Guard(_))
    )
}

/// Counts since they were last written down.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<HashMap<(WorkspaceId, TableId), AwayRow>>);

impl Tallies {
    fn count(&self, workspace: WorkspaceId, table: TableId, now_ms: i64, count: impl FnOnce(&mut AwayRow)) {
        let mut tallies = self.0.lock();
        let table = if tallies.len() >= TALLIES_MAX { TableId::NIL } else { table };
        let none = AwayRow { workspace, table, refused: 0, sealed: 0, dropped: 0, last_ms: now_ms };
        let row = tallies.entry((workspace, table)).or_insert(none);
        row.last_ms = now_ms;
        count(row);
    }

    fn take(&self) -> Vec<AwayRow> {
        std::mem::take(&mut *self.0.lock()).into_values().collect()
    }

    fn put_back(&self, counts: Vec<AwayRow>) {
        for old in counts {
            self.count(old.workspace, old.table, old.last_ms, |row| {
                row.refused += old.refused;
                row.sealed += old.sealed;
                row.dropped += old.dropped;
            });
        }
    }
}
