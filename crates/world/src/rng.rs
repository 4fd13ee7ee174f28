//! Randomness.

use std::fmt;

/// A cryptographically secure source of random bytes; a seeded one in simulation.
pub trait Rng: fmt::Debug + Send + Sync {
    /// Fills `bytes`. A machine that cannot is no machine to seal data on: the real one panics.
    fn fill(&self, bytes: &mut [u8]);
}
