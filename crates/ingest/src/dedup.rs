//! Batch ids: the same batch twice is answered twice and taken once.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_model::{TableName, WorkspaceId};
use tokio::sync::watch;

use crate::IngestError;

/// Longest batch id, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What a batch is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchKey {
    pub(crate) workspace: WorkspaceId,
    /// SHA-256 of the id alone: what may not come again with something else.
    pub(crate) id_sha256: [u8; 32],
    /// SHA-256 of workspace, table, id and body as on the wire: what is the same batch.
    pub(crate) key_sha256: [u8; 32],
}

impl BatchKey {
    /// Hashes a batch; about 1 ms per MiB without SHA instructions, so not on the runtime for large bodies.
    pub(crate) fn new(workspace: WorkspaceId, table: &TableName, id: &str, body: &[u8]) -> Result<Self, IngestError> {
        use sha2::{Digest, Sha256};
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(IngestError::BadBatchId { bytes: id.len() });
        }
        let mut of_id = Sha256::new();
        of_id.update(id.as_bytes());
        let mut of_all = Sha256::new();
        of_all.update(workspace.as_bytes());
        for part in [table.as_str().as_bytes(), id.as_bytes(), body] {
            of_all.update((part.len() as u64).to_le_bytes());
            of_all.update(part);
        }
        Ok(Self { workspace, id_sha256: of_id.finalize().into(), key_sha256: of_all.finalize().into() })
    }
}

/// The batch ids of the last day, and those on their way.
#[derive(Clone, Debug)]
pub(crate) struct Batches {
    age_max_ms: i64,
    per_workspace_max: usize,
    known: Arc<Mutex<HashMap<WorkspaceId, Known>>>,
}

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<[u8; 32], Entry>,
    /// Answered ids, oldest first.
    order: VecDeque<(i64, [u8; 32])>,
}

#[derive(Debug)]
enum Entry {
    Running {
        key: [u8; 32],
        ended: watch::Receiver<()>,
    },
    Answered {
        key: [u8; 32],
        reply: Vec<u8>,
        at_ms: i64,
    },
    /// Acked, and waiting sealed for its key.
    Sealed {
        key: [u8; 32],
        reply: Vec<u8>,
        at_ms: i64,
    },
}

/// Whether a batch is new.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Taken before: its reply.
    Answered(Vec<u8>),
    /// This caller is to take it.
    Turn(Turn),
}

/// Whether a batch that waited sealed is new.
#[derive(Debug)]
pub(crate) enum Opening {
    /// Its rows are there already.
    Taken,
    /// Rows of another batch are there under its id.
    Conflict,
    /// This caller is to take it.
    Turn(Turn),
}

/// The right to take a batch. Dropped without [`Turn::answer`], the next in line gets it.
#[derive(Debug)]
pub(crate) struct Turn {
    batches: Batches,
    key: BatchKey,
    answered: bool,
    /// Dropped with the turn: that wakes who waits.
    _running: watch::Sender<()>,
}

impl Batches {
    pub(crate) fn new(age_max_ms: i64, per_workspace_max: usize) -> Self {
        Self { age_max_ms, per_workspace_max, known: Arc::default() }
    }

    /// Asks for the turn to take a batch; waits while another request with the same id is being taken.
    pub(crate) async fn begin(&self, key: BatchKey, now_ms: i64) -> Result<Begun, IngestError> {
        loop {
            let mut wait = {
                let mut known = self.known.lock();
                let entries = &mut known.entry(key.workspace).or_default().entries;
                match entries.get(&key.id_sha256) {
                    Some(Entry::Running { key: other, .. } | Entry::Answered { key: other, .. } | Entry::Sealed { key: other, .. })
                        if *other != key.key_sha256 && !self.is_over(entries, &key, now_ms) =>
                    {
                        return Err(IngestError::BatchConflict);
                    }
                    Some(Entry::Running { ended, .. }) => ended.clone(),
                    Some(Entry::Answered { reply, at_ms, .. } | Entry::Sealed { reply, at_ms, .. })
                        if now_ms.saturating_sub(*at_ms) < self.age_max_ms =>
                    {
                        return Ok(Begun::Answered(reply.clone()));
                    }
                    _ => return Ok(Begun::Turn(self.turn(entries, key))),
                }
            };
            // Ends with an error once the turn is over: its sender is gone.
            let _ended = wait.changed().await;
        }
    }

    /// Asks for the turn to open a batch that waited sealed since `arrival_ms`; waits while a request with the same id is being
    /// taken.
    pub(crate) async fn begin_opening(&self, key: BatchKey, arrival_ms: i64) -> Opening {
        loop {
            let mut wait = {
                let mut known = self.known.lock();
                let entries = &mut known.entry(key.workspace).or_default().entries;
                match entries.get(&key.id_sha256) {
                    Some(Entry::Running { ended, .. }) => ended.clone(),
                    Some(Entry::Answered { key: other, at_ms, .. }) if arrival_ms.saturating_sub(*at_ms) < self.age_max_ms => {
                        return if *other == key.key_sha256 { Opening::Taken } else { Opening::Conflict };
                    }
                    Some(Entry::Answered { .. } | Entry::Sealed { .. }) | None => return Opening::Turn(self.turn(entries, key)),
                }
            };
            let _ended = wait.changed().await;
        }
    }

    fn turn(&self, entries: &mut HashMap<[u8; 32], Entry>, key: BatchKey) -> Turn {
        let (running, ended) = watch::channel(());
        entries.insert(key.id_sha256, Entry::Running { key: key.key_sha256, ended });
        Turn { batches: self.clone(), key, answered: false, _running: running }
    }

    fn is_over(&self, entries: &HashMap<[u8; 32], Entry>, key: &BatchKey, now_ms: i64) -> bool {
        matches!(entries.get(&key.id_sha256), Some(Entry::Answered { at_ms, .. } | Entry::Sealed { at_ms, .. }) if now_ms.saturating_sub(*at_ms) >= self.age_max_ms)
    }

    /// Remembers a batch that was answered before this process started.
    pub(crate) fn remember(&self, workspace: WorkspaceId, id_sha256: [u8; 32], key_sha256: [u8; 32], reply: Vec<u8>, at_ms: i64) {
        let mut known = self.known.lock();
        let known = known.entry(workspace).or_default();
        if matches!(known.entries.get(&id_sha256), Some(Entry::Answered { at_ms: other, .. }) if *other >= at_ms) {
            return;
        }
        self.keep(known, id_sha256, Entry::Answered { key: key_sha256, reply, at_ms }, at_ms);
    }

    fn keep(&self, known: &mut Known, id_sha256: [u8; 32], entry: Entry, at_ms: i64) {
        known.entries.insert(id_sha256, entry);
        known.order.push_back((at_ms, id_sha256));
        while known.order.len() > self.per_workspace_max {
            known.forget_oldest();
        }
    }

    /// Forgets what is too old.
    pub(crate) fn trim(&self, now_ms: i64) {
        self.known.lock().retain(|_, known| {
            while known.order.front().is_some_and(|(at_ms, _)| now_ms.saturating_sub(*at_ms) >= self.age_max_ms) {
                known.forget_oldest();
            }
            !known.entries.is_empty()
        });
    }

    /// How long ids are kept, in milliseconds.
    pub(crate) fn age_max_ms(&self) -> i64 {
        self.age_max_ms
    }
}

impl Known {
    fn forget_oldest(&mut self) {
        let Some((at_ms, id)) = self.order.pop_front() else { return };
        // Unless it was answered anew since.
        if matches!(self.entries.get(&id), Some(Entry::Answered { at_ms: now, .. } | Entry::Sealed { at_ms: now, .. }) if *now == at_ms) {
            self.entries.remove(&id);
        }
    }
}

impl Turn {
    pub(crate) fn key(&self) -> &BatchKey {
        &self.key
    }

    /// Ends the turn: the batch was taken, and this is its answer from now on.
    pub(crate) fn answer(mut self, reply: Vec<u8>, at_ms: i64) {
        self.answered = true;
        self.batches.known.lock().entry(self.key.workspace).or_default().entries.remove(&self.key.id_sha256);
        self.batches.remember(self.key.workspace, self.key.id_sha256, self.key.key_sha256, reply, at_ms);
    }
}

impl Turn {
    /// Ends the turn: the batch waits sealed, and this is its answer until it is opened.
    pub(crate) fn sealed(mut self, reply: Vec<u8>, at_ms: i64) {
        self.answered = true;
        let mut known = self.batches.known.lock();
        let known = known.entry(self.key.workspace).or_default();
        self.batches.keep(known, self.key.id_sha256, Entry::Sealed { key: self.key.key_sha256, reply, at_ms }, at_ms);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        if let Some(known) = self.batches.known.lock().get_mut(&self.key.workspace) {
            known.entries.remove(&self.key.id_sha256);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, body: &str) -> BatchKey {
        BatchKey::new(WorkspaceId::NIL, &"T".parse().unwrap(), id, body.as_bytes()).unwrap()
    }

    async fn turn(batches: &Batches, key: BatchKey, now_ms: i64) -> Turn {
        match batches.begin(key, now_ms).await.unwrap() {
            Begun::Turn(turn) => turn,
            Begun::Answered(_) => panic!("answered before"),
        }
    }

    async fn answered(batches: &Batches, key: BatchKey, now_ms: i64) -> bool {
        matches!(batches.begin(key, now_ms).await.unwrap(), Begun::Answered(_))
    }

    #[tokio::test]
    async fn the_same_batch_is_answered_again_and_another_under_its_id_refused() {
        let batches = Batches::new(1_000, 10);
        turn(&batches, key("a", "x"), 0).await.answer(b"first".to_vec(), 0);
        assert!(matches!(batches.begin(key("a", "x"), 999).await.unwrap(), Begun::Answered(reply) if reply == b"first"));
        assert!(matches!(batches.begin(key("a", "y"), 999).await, Err(IngestError::BatchConflict)));
        drop(turn(&batches, key("a", "y"), 1_000).await);
    }

    #[tokio::test]
    async fn who_comes_while_a_batch_is_taken_waits_for_its_answer_or_its_failure() {
        let batches = Batches::new(1_000, 10);
        let first = turn(&batches, key("a", "x"), 0).await;
        let second = batches.begin(key("a", "x"), 0);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let Begun::Turn(next) = second.await.unwrap() else { panic!("nobody answered") };
        let third = batches.begin(key("a", "x"), 0);
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        next.answer(Vec::new(), 0);
        assert!(matches!(third.await.unwrap(), Begun::Answered(_)));
    }

    #[tokio::test]
    async fn the_oldest_ids_are_forgotten_first_by_number_and_by_age() {
        let batches = Batches::new(1_000, 2);
        for (at, id) in [(0, "a"), (1, "b"), (2, "c")] {
            turn(&batches, key(id, ""), 0).await.answer(Vec::new(), at);
        }
        assert!(!answered(&batches, key("a", ""), 5).await);
        assert!(answered(&batches, key("b", ""), 5).await);
        batches.trim(1_001);
        assert!(!answered(&batches, key("b", ""), 5).await);
        assert!(answered(&batches, key("c", ""), 5).await);
    }

    #[test]
    fn an_id_is_1_to_128_bytes_long() {
        let table = "T".parse().unwrap();
        assert!(BatchKey::new(WorkspaceId::NIL, &table, "", b"").is_err());
        assert!(BatchKey::new(WorkspaceId::NIL, &table, &"x".repeat(129), b"").is_err());
        assert!(BatchKey::new(WorkspaceId::NIL, &table, &"x".repeat(128), b"").is_ok());
    }
}
