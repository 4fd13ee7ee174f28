//! A machine of cardboard: seeded randomness, a clock moved by hand, a disk that forgets what was not synced.
//!
//! The same seed and the same calls give the same machine, power cuts included. Start at [`SimWorld`].
//!
//! ```
//! # use std::path::Path; use std::io::IoSlice; use strongroom_world::sim::SimWorld;
//! let sim = SimWorld::new(7);
//! let fs = sim.world().fs;
//! let file = fs.create_new(Path::new("/kept")).unwrap();
//! file.write_all_at(&[IoSlice::new(b"acked")], 0).unwrap();
//! file.sync_data().unwrap();
//! fs.sync_dir(Path::new("/")).unwrap();
//! sim.fs().power_cut();
//! assert!(file.len().is_err(), "what was open before the cut is gone");
//! assert_eq!(sim.world().fs.read(Path::new("/kept"), 100).unwrap(), b"acked");
//! ```

mod clock;
mod disk;
mod fs;

use std::sync::Arc;

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Rng, World};

pub use clock::SimClock;
pub use fs::{SimFs, SimOp};

/// A simulated machine.
#[derive(Debug)]
pub struct SimWorld {
    clock: Arc<SimClock>,
    fs: SimFs,
    rng: Arc<SimRng>,
}

impl SimWorld {
    /// A machine with an empty disk of 1 TiB, on 2026-01-01 UTC, up for an hour.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let clock = Arc::new(SimClock::new());
        // The disk draws from a stream of its own: what the code under test draws does not change what is lost.
        let fs = SimFs::new(Arc::clone(&clock), ChaCha8Rng::seed_from_u64(seed ^ 0x0064_6973_6b00));
        Self { clock, fs, rng: Arc::new(SimRng(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))) }
    }

    /// The machine as the code under test sees it. After a power cut the old one's files are dead: take a new one.
    #[must_use]
    pub fn world(&self) -> World {
        World { clock: Arc::clone(&self.clock) as _, fs: self.fs.mount(), rng: Arc::clone(&self.rng) as _ }
    }
    /// The clock, to move it.
    #[must_use]
    pub fn clock(&self) -> &SimClock {
        &self.clock
    }
    /// The disk, to break it.
    #[must_use]
    pub fn fs(&self) -> &SimFs {
        &self.fs
    }
    /// A number below `bound` (at least 1) from the machine's seed, for a test's own choices.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        self.rng.0.lock().next_u64() % bound.max(1)
    }
}

#[derive(Debug)]
struct SimRng(Mutex<ChaCha8Rng>);

impl Rng for SimRng {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests;
