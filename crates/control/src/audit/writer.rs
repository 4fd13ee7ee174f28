//! The one that writes the chain: takes events in order, writes as many as wait at once, makes them durable, moves the catalog's
//! head, and only then answers.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use strongroom_catalog::{AuditErrand, Catalog};
use strongroom_envelope::Mmk;
use strongroom_world::World;
use tokio::sync::{mpsc, oneshot};

use super::chain::{Hash, Head, generations_json, raise, write_record};
use super::files::{Open, append, errand_of, path};
use super::{AuditConfig, AuditError, Event, Shared, name};

/// Events written at once at most.
const BATCH_MAX: usize = 256;
/// Errands that wait for the catalog at most; a start finds them again in the file.
const ERRANDS_MAX: usize = 100_000;

/// An event on its way, and who waits for it.
pub(super) struct Message {
    pub(super) at_ms: i64,
    pub(super) event: Event,
    pub(super) done: Option<oneshot::Sender<Result<u64, AuditError>>>,
}

pub(super) struct Writer {
    pub(super) world: World,
    pub(super) catalog: Catalog,
    pub(super) mmk: Arc<Mmk>,
    pub(super) dir: PathBuf,
    pub(super) config: AuditConfig,
    pub(super) shared: Arc<Shared>,
    pub(super) head: Head,
    pub(super) files: VecDeque<u64>,
    pub(super) open: Option<Open>,
    /// What the catalog could not be told yet.
    pub(super) errands: Vec<AuditErrand>,
}

/// What one write was to put into the chain.
struct Batch {
    bytes: Vec<u8>,
    head: Head,
    /// The first record of the file it goes to, and whether that is a new one.
    first: u64,
    fresh: bool,
    errands: Vec<AuditErrand>,
    seqs: Vec<u64>,
}

impl Writer {
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut messages, BATCH_MAX).await > 0 {
            self.write(std::mem::take(&mut messages)).await;
        }
    }

    /// Writes events and answers whoever waits for them.
    pub(super) async fn write(&mut self, messages: Vec<Message>) {
        let lost = self.shared.lost.swap(0, Ordering::AcqRel);
        let batch = self.prepare(&messages, lost);
        let (world, dir, open) = (self.world.clone(), self.dir.clone(), self.open.clone().filter(|_| !batch.fresh));
        let first = batch.first;
        let bytes = batch.bytes;
        let written = tokio::task::spawn_blocking(move || append(&world, &dir, open.as_ref(), first, &bytes)).await;
        let written = written.map_err(|_| std::io::Error::other("the write panicked")).and_then(|written| written);
        let open = match written {
            Ok(open) => open,
            Err(source) => return self.failed(messages, lost, source.kind()),
        };
        if batch.fresh {
            self.files.push_back(first);
        }
        (self.open, self.head) = (Some(open), batch.head);
        self.errands.extend(batch.errands);
        metrics::counter!("control_audit_records_total").increment(messages.len() as u64);
        self.prune().await;
        let told = self.tell().await;
        for (message, seq) in messages.into_iter().zip(batch.seqs) {
            let Some(done) = message.done else { continue };
            drop(done.send(match &told {
                Ok(()) => Ok(seq),
                Err(error) => {
                    Err(AuditError::Disk { doing: "moving its head in the catalog", source: std::io::Error::other(error.code()) })
                }
            }));
        }
        self.shared.written.send_replace(self.head.clone());
    }

    fn prepare(&self, messages: &[Message], lost: u64) -> Batch {
        let rng = self.world.rng.as_ref();
        let now_ms = self.world.clock.wall().unix_ms();
        let mut head = self.head.clone();
        let fresh = self.open.as_ref().is_none_or(|open| open.len >= self.config.file_max_bytes);
        let first = self.open.as_ref().filter(|_| !fresh).map_or(head.seq + 1, |open| open.first);
        let base = self.open.as_ref().filter(|_| !fresh).map_or(0, |open| open.len);
        let (mut bytes, mut errands, mut seqs) = (Vec::new(), Vec::new(), Vec::with_capacity(messages.len()));
        let mut put = |head: &mut Head, at_ms: i64, event: &Event| {
            let (seq, start) = (head.seq + 1, base + bytes.len() as u64);
            let hash: Hash = write_record(&self.mmk, rng, &mut bytes, seq, &head.hash, at_ms, event);
            errands.push(errand_of(first, seq, start, event));
            raise(&mut head.generations, event);
            (head.seq, head.hash) = (seq, hash);
            seq
        };
        if fresh {
            let event = if head.seq == 0 { Event::new(name::CHAIN_BEGUN) } else { Event::new(name::CHAIN_CONTINUED) };
            let generations = generations_json(&head.generations);
            put(&mut head, now_ms, &event.with("generations", generations));
        }
        if lost > 0 {
            put(&mut head, now_ms, &Event::new(name::LOST).with("events", lost));
        }
        for message in messages {
            seqs.push(put(&mut head, message.at_ms, &message.event));
        }
        head.oldest = self.files.front().copied().unwrap_or(first);
        Batch { bytes, head, first, fresh, errands, seqs }
    }

    /// Nothing of it is in the chain: whoever waits is told, the others are counted.
    fn failed(&mut self, messages: Vec<Message>, lost: u64, kind: std::io::ErrorKind) {
        tracing::error!(?kind, events = messages.len(), "the audit chain cannot be written");
        // What a file holds after a failed sync nobody knows: the chain goes on in another one.
        self.open = None;
        let mut gone = lost;
        for message in messages {
            match message.done {
                None => gone += 1,
                Some(done) => {
                    let source = std::io::Error::new(kind, "the audit file could not be written");
                    drop(done.send(Err(AuditError::Disk { doing: "writing it", source })));
                }
            }
        }
        self.shared.lose(gone);
    }

    /// Tells the catalog how far the chain goes.
    async fn tell(&mut self) -> Result<(), AuditError> {
        let row = self.head.seal(&self.mmk, self.world.rng.as_ref());
        let told = self.catalog.audit_advance(&row, &self.errands).await;
        match &told {
            Ok(()) => self.errands.clear(),
            Err(error) => {
                tracing::error!(code = error.code(), "the catalog was not told how far the audit chain goes");
                if self.errands.len() > ERRANDS_MAX {
                    self.shared.lose(self.errands.len() as u64);
                    self.errands.clear();
                }
            }
        }
        Ok(told?)
    }

    /// Lets the oldest files go, once the head says so.
    async fn prune(&mut self) {
        while self.files.len() > self.config.files_max {
            let Some(oldest) = self.files.pop_front() else { return };
            self.head.oldest = self.files.front().copied().unwrap_or(self.head.seq);
            if self.tell().await.is_err() {
                self.files.push_front(oldest);
                return;
            }
            let (world, path) = (self.world.clone(), path(&self.dir, oldest));
            let removed = tokio::task::spawn_blocking(move || world.fs.remove_file(&path)).await;
            tracing::warn!(
                first = oldest,
                removed = removed.is_ok_and(|removed| removed.is_ok()),
                "the oldest file of the audit chain was let go"
            );
        }
    }
}
