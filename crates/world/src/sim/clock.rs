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
    sleepers: Vec<(u64, Waker)>,
}

impl SimClock {
    pub(super) fn new() -> Self {
        let wall = 1_767_225_600 * 1_000_000_000; // 2026-01-01T00:00:00Z
        Self(Arc::new(Mutex::new(Hands { wall, boot: 3_600 * 1_000_000_000, sleepers: Vec::new() })))
    }

    /// Moves both clocks on and wakes whose time has come.
    pub fn advance(&self, time: Duration) {
        let mut hands = self.0.lock();
        hands.wall = hands.wall.saturating_add(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        hands.boot = BootTime(hands.boot).after(time).0;
        let now = hands.boot;
        let (due, later) = std::mem::take(&mut hands.sleepers).into_iter().partition(|(at, _)| *at <= now);
        hands.sleepers = later;
        drop(hands);
        let due: Vec<(u64, Waker)> = due;
        for (_, waker) in due {
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
}

impl Clock for SimClock {
    fn wall(&self) -> WallTime {
        WallTime(self.0.lock().wall)
    }
    fn boot(&self) -> BootTime {
        BootTime(self.0.lock().boot)
    }
    fn sleep(&self, time: Duration) -> SleepFuture {
        Box::pin(Sleep { hands: Arc::clone(&self.0), until: self.boot().after(time).0 })
    }
}

struct Sleep {
    hands: Arc<Mutex<Hands>>,
    until: u64,
}

impl Future for Sleep {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut hands = self.hands.lock();
        if hands.boot >= self.until {
            return Poll::Ready(());
        }
        let (until, waker) = (self.until, context.waker());
        if !hands.sleepers.iter().any(|(at, other)| *at == until && other.will_wake(waker)) {
            hands.sleepers.push((until, waker.clone()));
        }
        Poll::Pending
    }
}
