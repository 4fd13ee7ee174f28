//! A clock moved by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::{BootTime, Clock, SleepFuture, WallTime};

/// Stands still until [`SimClock::advance`].
#[derive(Debug)]
pub struct SimClock(Arc<Mutex<Hands>>);

#[derive(Debug)]
struct Hands {
    wall: i64,
    boot: u64,
    /// Until when, whose, and whom to wake.
    sleepers: Vec<(u64, u64, Waker)>,
    next_id: u64,
}

impl SimClock {
    pub(super) fn new() -> Self {
        let wall = 1_767_225_600 * 1_000_000_000; // 2026-01-01T00:00:00Z
        Self(Arc::new(Mutex::new(Hands { wall, boot: 3_600 * 1_000_000_000, sleepers: Vec::new(), next_id: 0 })))
    }

    /// Moves both clocks on and wakes whose time has come.
    pub fn advance(&self, time: Duration) {
        let mut hands = self.0.lock();
        hands.wall = hands.wall.saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        hands.boot = BootTime(hands.boot).after(time).0;
        let now = hands.boot;
        let (due, later) = std::mem::take(&mut hands.sleepers).into_iter().partition(|(at, ..)| *at <= now);
        hands.sleepers = later;
        drop(hands);
        let due: Vec<(u64, u64, Waker)> = due;
        for (.., waker) in due {
            waker.wake();
        }
    }

    /// Sets the wall clock alone, forwards or back: somebody corrected the date.
    pub fn set_wall(&self, wall: WallTime) {
        self.0.lock().wall = wall.0;
    }

    /// How many sleeps are waiting: a test that advances knows whether it is too early.
    #[must_use]
    pub fn sleeping(&self) -> usize {
        self.0.lock().sleepers.len()
    }

    /// When the first of them is over: nothing that waits for the clock happens before.
    #[must_use]
    pub fn next_wake(&self) -> Option<BootTime> {
        self.0.lock().sleepers.iter().map(|(at, ..)| BootTime(*at)).min()
    }
}

impl Clock for SimClock {
    fn wall(&self) -> WallTime {
        WallTime(self.0.lock().wall)
    }
    fn boot(&self) -> BootTime {
        BootTime(self.0.lock().boot)
    }
    fn sleep(&self, time: Duration) -> SleepFuture {
        let mut hands = self.0.lock();
        hands.next_id += 1;
        Box::pin(Sleep { hands: Arc::clone(&self.0), id: hands.next_id, until: BootTime(hands.boot).after(time).0 })
    }
}

struct Sleep {
    hands: Arc<Mutex<Hands>>,
    id: u64,
    until: u64,
}

/// Whoever no longer waits is not counted.
impl Drop for Sleep {
    fn drop(&mut self) {
        let mut hands = self.hands.lock();
        let gone = hands.sleepers.iter().position(|(_, id, _)| *id == self.id).map(|at| hands.sleepers.swap_remove(at));
        // A waker may take more with it than we know: not under the lock.
        drop(hands);
        drop(gone);
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.hands.lock();
        if hands.boot >= self.until {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        let before = if let Some((.., before)) = hands.sleepers.iter_mut().find(|(_, id, _)| *id == self.id) {
            Some(std::mem::replace(before, waker))
        } else {
            hands.sleepers.push((self.until, self.id, waker));
            None
        };
        drop(hands);
        drop(before);
        Poll::Pending
    }
}
