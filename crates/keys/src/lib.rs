//! Which keys may be used, by whom, for how long.
//!
//! Everything that needs a key asks [`KeyRing`] for a [`KeyGuard`](strongroom_envelope::KeyGuard). AEKs rest only in wrapped
//! records (in the catalog and as a copy beside the data) and are unwrapped through [`provider::KeyVault`]; the provider's own
//! root key is one such vault. Guards of MMK epochs have no deadline and are never polled.
//!
//! ```text
//! warrant(principal, workspace, table) ─Judge─▶ guard_for(epoch, warrant)            to read, on somebody's behalf
//! guard(epoch, workspace, principal, purpose) ─▶ epoch guard (record ─unwrap─▶ AEK) ─▶ + workspace secret (a sealed cell)
//! ```

mod error;
mod gate;
pub mod identity;
pub mod outbound;
pub mod provider;
mod records;
mod ring;
pub mod state;
#[cfg(test)]
mod testing;
mod warrant;

pub use error::KeyError;
pub use gate::{Gate, Pass, Shut, Standing};
pub use records::{Ledger, NoLedger};
pub use ring::{KeyRing, Polled, Purpose};
pub use warrant::{Approval, Judge, Refused, Verdict, Warrant};
