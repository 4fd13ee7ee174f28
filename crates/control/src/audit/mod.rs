//! The audit chain: who did what to keys, roles and data, in a file that cannot be changed without being noticed.
//!
//! Every record is sealed under the MMK and carries the hash of the one before; the catalog keeps the head, sealed as well, so
//! that a cut end shows too. A record is durable, and the head has moved, before whoever [records](Audit::record) it is answered:
//! what may not happen unseen waits for that and is refused if it cannot be written. Everything else is [noted](Audit::note):
//! written in the same order, waited for by nobody, counted if there is no room. The highest generation of each AEK's record is
//! in the chain: an older one that is put back is refused at the next start, along with a catalog that was put back whole.
//! Rows in workspaces' tables and calls to webhooks follow, by what the catalog keeps of each record ([`Carrier`]).
//!
//! ```text
//! record, note ─▶ queue ─▶ seal, chain, append, fsync ─▶ catalog: head + errands ─▶ answer
//!                                                                  └▶ tables of workspaces, webhooks
//! ```

mod carry;
mod chain;
mod config;
mod error;
mod event;
mod evidence;
mod files;
mod queries;
mod reader;
mod scribe;
mod tally;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use strongroom_catalog::Catalog;
use strongroom_envelope::{Mmk, WrappedAek};
use strongroom_keys::Ledger;
use strongroom_model::{AekId, ObjectId};
use strongroom_world::World;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

pub use carry::{AUDIT_TABLE, Caller, Carrier, Emit, NOTICES_TABLE, NotTaken};
use chain::Head;
pub use chain::Record;
pub use config::AuditConfig;
pub use error::AuditError;
pub use event::{Event, SealedText, acting, actor, name};
pub use evidence::Evidence;
pub use queries::{AskedQuery, open_text};
pub use reader::{AuditFilter, AuditReader, AuditReport, READ_MAX};
pub(crate) use scribe::Desk;
pub use scribe::Scribe;
use tally::Tally;
use writer::{Message, Writer};

/// What callers and the writer share.
#[derive(Debug)]
struct Shared {
    /// Events that could not be kept since the last that could.
    lost: AtomicU64,
    /// The chain's end, after each write.
    written: watch::Sender<Head>,
}

impl Shared {
    fn lose(&self, events: u64) {
        if events > 0 {
            self.lost.fetch_add(events, Ordering::AcqRel);
            metrics::counter!("control_audit_lost_total").increment(events);
        }
    }
}

/// The audit chain of a server.
pub struct Audit {
    reader: AuditReader,
    shared: Arc<Shared>,
    config: AuditConfig,
    tally: Tally,
    /// Texts of queries that are being sealed.
    sealing: Arc<Semaphore>,
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Message>>>,
    writer: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("seq", &self.shared.written.borrow().seq).finish_non_exhaustive()
    }
}

impl Audit {
    /// Opens the chain in `dir`, or begins it. What a crash tore off behind the last answered record is cut; a chain that is not
    /// what the catalog's head says is refused.
    ///
    /// # Errors
    /// [`AuditError::Damaged`]: changed, cut, or a part of it is missing; [`AuditError::Disk`], [`AuditError::Catalog`],
    /// [`AuditError::Setting`].
    pub async fn open(world: World, catalog: Catalog, mmk: Arc<Mmk>, dir: PathBuf, config: AuditConfig) -> Result<Arc<Self>, AuditError> {
        config.check()?;
        let head = catalog.audit_head().await?.map(|row| Head::open(&mmk, &row)).transpose()?;
        if head.is_none() && files::list(&world, &dir)?.is_empty() {
            // Before the first file: files without a head are a sign of tampering.
            catalog.audit_advance(&Head::default().seal(&mmk, world.rng.as_ref()), &[]).await?;
        }
        let (at, root, place) = (world.clone(), Arc::clone(&mmk), dir.clone());
        let recovered = tokio::task::spawn_blocking(move || files::recover(&at, &root, &place, head));
        let recovered = recovered.await.map_err(|_| AuditError::Closed)??;
        if recovered.cut > 0 {
            tracing::warn!(bytes = recovered.cut, "the torn end of the audit chain was cut off: nothing in it had been answered");
        }
        if recovered.ahead > 0 {
            catalog.audit_advance(&recovered.head.seal(&mmk, world.rng.as_ref()), &recovered.errands).await?;
        }
        let shared = Arc::new(Shared { lost: AtomicU64::new(0), written: watch::Sender::new(recovered.head.clone()) });
        let (queue, messages) = mpsc::channel(config.queue_max);
        let ahead = recovered.ahead;
        let writer = Writer {
            world: world.clone(),
            catalog: catalog.clone(),
            mmk: Arc::clone(&mmk),
            dir: dir.clone(),
            config: config.clone(),
            shared: Arc::clone(&shared),
            head: recovered.head,
            files: recovered.files.into(),
            open: recovered.open,
            errands: Vec::new(),
        };
        let audit = Self {
            reader: AuditReader::new(world, catalog, mmk, dir),
            shared,
            config,
            tally: Tally::default(),
            sealing: Arc::new(Semaphore::new(queries::AT_ONCE)),
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(tokio::spawn(writer.run(messages)))),
        };
        if ahead > AHEAD_MAX {
            tracing::error!(records = ahead, "the catalog is older than the audit chain: an old copy was put back");
            audit.note(Event::new(name::CATALOG_BEHIND).with("records", ahead));
        }
        Ok(Arc::new(audit))
    }

    /// Writes an event down. When this returns it is durable and in the chain; its number.
    ///
    /// # Errors
    /// [`AuditError::Disk`], [`AuditError::Closed`]: it is not in the chain, or nobody knows, and what it tells of must not be done.
    pub async fn record(&self, event: Event) -> Result<u64, AuditError> {
        let queue = self.queue.lock().clone().ok_or(AuditError::Closed)?;
        let (done, answer) = oneshot::channel();
        let message = Message { at_ms: self.now_ms(), event, done: Some(done) };
        queue.send(message).await.map_err(|_| AuditError::Closed)?;
        answer.await.map_err(|_| AuditError::Closed)?
    }

    /// Has an event written down, in order, without waiting. If there is no room it is counted, and the chain says how many.
    pub fn note(&self, event: Event) {
        let message = Message { at_ms: self.now_ms(), event, done: None };
        let queue = self.queue.lock();
        if queue.as_ref().is_none_or(|queue| queue.try_send(message).is_err()) {
            self.shared.lose(1);
        }
    }

    /// The highest generation of each AEK's record that the chain knows of.
    #[must_use]
    pub fn generations(&self) -> HashMap<AekId, u64> {
        self.shared.written.borrow().generations.iter().map(|(aek, generation)| (*aek, *generation)).collect()
    }

    /// Whether a notice with that mark was given before.
    ///
    /// # Errors
    /// [`AuditError::Catalog`].
    pub async fn told(&self, cluster: ObjectId, mark: &str) -> Result<bool, AuditError> {
        Ok(self.reader.catalog.audit_told(cluster, mark).await?)
    }

    /// Reads the chain.
    #[must_use]
    pub fn reader(&self) -> &AuditReader {
        &self.reader
    }

    /// Writes what waits and ends; later events are refused or counted.
    pub async fn close(&self) {
        self.tell_counts(true);
        drop(self.queue.lock().take());
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && writer.await.is_err()
        {
            tracing::error!("the task that writes the audit chain panicked");
        }
    }

    fn now_ms(&self) -> i64 {
        self.reader.world.clock.wall().unix_ms()
    }
}

impl Ledger for Audit {
    fn highest(&self) -> HashMap<AekId, u64> {
        self.generations()
    }
    fn kept(&self, record: &WrappedAek) {
        let ids = &record.ids;
        let event =
            Event::new(name::KEY_WRAPPED).account(ids.account).aek(ids.aek, ids.generation).with("provider", record.provider.as_str());
        let event = if ids.cluster == ObjectId::NIL { event } else { event.cluster(ids.cluster) };
        self.note(event.with("keyUri", record.key_uri.as_str()).with("keyVersion", record.key_version.as_str()));
    }
}

/// Records behind the head that a crash can leave: one write's. More means that an older catalog was put back.
const AHEAD_MAX: u64 = 1_000;

#[cfg(test)]
mod tests;
