//! The door of the write path: who finds no room waits before it, its body unread.
//!
//! A body that is taken in and then sent away costs nearly as much as one that is kept, and comes again. So whoever comes while much
//! is in memory already waits for a while where it costs nothing: what it sends stays in its own machine, as a full pipe keeps it.
//! They are let in one after the other. Only who has waited too long is told to come back.
//!
//! It counts what is in memory unflushed and what is on its way there. A request that was let in counts at once as what it says it
//! will bring, or a hundred would find the same room; after a moment only what has come of it counts, so nobody keeps others out by
//! promising much and sending little.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use crate::intake::Intake;
use crate::{Encoding, IngestError, Share};

/// What a body is taken for that does not say how long it is.
const UNTOLD_BYTES: u64 = 1 << 20;
/// How much a packed body is taken to grow.
const USUAL_RATIO: u64 = 8;
/// Nobody's share of memory is told apart from others' by more than this.
const SAID_MAX: u64 = 8 << 20;
/// How often it is looked again although nobody said that there is room.
const LOOK: Duration = Duration::from_millis(50);

/// Who waits before the door.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Held by the first of those who wait; tokio's lets them have it in the order they came.
    first: Mutex<()>,
    /// Room may have been made.
    pub(crate) freed: Notify,
    waiting: AtomicUsize,
    /// It is rows in memory that are in the way.
    wants_flush: AtomicBool,
}

/// One of those who wait, for as long as it does.
struct Waiting<'a>(&'a Gate);

impl<'a> Waiting<'a> {
    fn new(gate: &'a Gate) -> Self {
        gate.waiting.fetch_add(1, Ordering::AcqRel);
        Self(gate)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.wants_flush.store(false, Ordering::Release);
        }
    }
}

impl Gate {
    /// Whether anybody waits.
    pub(crate) fn is_waited_at(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// Whether somebody waits until rows in memory are flushed.
    pub(crate) fn wants_flush(&self) -> bool {
        self.wants_flush.load(Ordering::Acquire)
    }
}

impl Intake {
    /// Lets a request in whose body is still to be read, once there is room for it: its bytes are to be taken from the share as they
    /// come. `len` is how long the body says it is.
    ///
    /// # Errors
    /// [`IngestError::Overloaded`] if there was none for as long as a request may wait, or too many wait already.
    pub async fn admit(&self, len: Option<u64>, encoding: Encoding) -> Result<Share, IngestError> {
        let mut share = self.enter()?;
        let more = match (len, encoding) {
            (None, _) => UNTOLD_BYTES,
            (Some(len), Encoding::Identity) => len,
            (Some(len), _) => len.saturating_mul(USUAL_RATIO),
        };
        let more = more.min(SAID_MAX);
        // Nobody before it, and room: most never wait.
        let free = self.gate.first.try_lock();
        if free.is_ok() && self.has_room(more) {
            share.claim(more, self.deps.world.clock.boot());
            return Ok(share);
        }
        drop(free);
        let begun = self.deps.world.clock.boot();
        let waited = {
            let _waiting = Waiting::new(&self.gate);
            tokio::select! {
                biased;
                () = self.my_turn(more, &mut share) => true,
                () = self.deps.world.clock.sleep(Duration::from_millis(self.config.wait_max_ms)) => false,
            }
        };
        let took = self.deps.world.clock.boot().since(begun);
        metrics::histogram!("ingest_waited_seconds").record(took.as_secs_f64());
        if waited {
            return Ok(share);
        }
        metrics::counter!("ingest_waited_in_vain_total").increment(1);
        Err(IngestError::Overloaded { what: "memory for rows", retry_after_s: 1 })
    }

    async fn my_turn(&self, more: u64, share: &mut Share) {
        let _first = self.gate.first.lock().await;
        while !self.has_room(more) {
            tokio::select! {
                () = self.gate.freed.notified() => {}
                () = self.deps.world.clock.sleep(LOOK) => {}
            }
        }
        self.gate.wants_flush.store(false, Ordering::Release);
        share.claim(more, self.deps.world.clock.boot());
    }

    /// Whether so many bytes more may come in. One request alone always may, unless memory is full of rows.
    fn has_room(&self, more: u64) -> bool {
        let (on_the_way, held) = (self.budget.promised(self.deps.world.clock.boot()), self.deps.buffer.held_bytes());
        let rows_max = self.deps.buffer.held_bytes_max() / 100 * self.config.wait_above_percent;
        let coming = on_the_way.saturating_add(more);
        if on_the_way > 0 && coming > self.config.wait_above_bytes {
            return false;
        }
        let room = held < rows_max && (on_the_way == 0 || held.saturating_add(coming) <= rows_max) && !self.deps.buffer.is_log_full();
        if !room && self.gate.is_waited_at() {
            self.gate.wants_flush.store(true, Ordering::Release);
            self.deps.buffer.grown().notify_one();
        }
        room
    }

    /// Whether requests leave the machine time for other work.
    pub(crate) fn is_idle(&self) -> bool {
        !self.gate.is_waited_at() && self.budget.bytes() < self.config.in_flight_bytes_max / 16
    }
}
