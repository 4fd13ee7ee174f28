//! The operating system, as an argument: clock, filesystem, randomness.
//!
//! Below the CLI nothing asks the system directly, so a crash, a power cut, a clock set back or a full disk can be
//! simulated in milliseconds and replayed from a seed. Start at [`World`]: [`World::real`] for the product,
//! [`sim::SimWorld`] for tests.
//!
//! ```text
//! World { clock: wall + boot + sleep │ fs: files, directories, fsync │ rng: CSPRNG }
//! ```

mod clock;
mod fs;
mod real;
#[cfg(test)]
mod real_tests;
mod rng;
pub mod sim;

use std::fmt;
use std::sync::Arc;

pub use clock::{BootTime, Clock, SleepFuture, WallTime};
pub use fs::{DirEntry, Fs, FsFile, Space};
pub use rng::Rng;

/// The operating system as one cloneable handle.
#[derive(Clone)]
pub struct World {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where files lie.
    pub fs: Arc<dyn Fs>,
    /// Where randomness comes from.
    pub rng: Arc<dyn Rng>,
}

impl World {
    /// The machine we run on.
    #[must_use]
    pub fn real() -> Self {
        Self { clock: Arc::new(real::RealClock::new()), fs: Arc::new(real::RealFs), rng: Arc::new(real::RealRng) }
    }

    /// Ten random bytes and the wall clock's milliseconds: what `Id::mint` takes.
    ///
    /// ```
    /// # use strongroom_world::World; use strongroom_model::ObjectId;
    /// let world = World::real();
    /// let (ms, random) = world.id_seed();
    /// let id = ObjectId::mint(ms, random);
    /// ```
    #[must_use]
    pub fn id_seed(&self) -> (u64, [u8; 10]) {
        let mut random = [0; 10];
        self.rng.fill(&mut random);
        (u64::try_from(self.clock.wall().unix_ms()).unwrap_or(0), random)
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").finish_non_exhaustive()
    }
}
