//! Time: the wall for what users see, the boot clock for how long something may be used.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Nanoseconds since 1970 UTC. May jump either way; never used for leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Milliseconds since 1970.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
    /// Seconds since 1970.
    #[must_use]
    pub const fn unix_secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }
}

/// Nanoseconds since boot, suspend included (`CLOCK_BOOTTIME`). Never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// Later than any boot: the deadline of what never ends.
    pub const NEVER: Self = Self(u64::MAX);

    /// This instant and `more` (saturating).
    #[must_use]
    pub fn after(self, more: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(more.as_nanos()).unwrap_or(u64::MAX)))
    }
    /// How long from `earlier` to this; zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What [`Clock::sleep`] gives.
pub type SleepFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What time it is, and waiting.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The wall clock.
    fn wall(&self) -> WallTime;
    /// The boot clock.
    fn boot(&self) -> BootTime;
    /// Done once the boot clock has moved on by `time`.
    fn sleep(&self, time: Duration) -> SleepFuture;
}
