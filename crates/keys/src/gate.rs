//! Whether an account's data may be used: one word per cluster account, asked at each use.
//!
//! A guard says whether one epoch's keys may be used; the gate says whether a linked workspace may be served at all, blocks from
//! before the key included. It is shut before the guards are killed and opened after everything is back, so nobody sees
//! half an answer. Accounts without a customer's key have no gate.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom_model::{AccountId, ObjectId};
use strongroom_world::World;
use tokio::sync::watch;

use crate::KeyError;

/// The longest that a request is held while a denial is being confirmed (`Suspect`); then it is told to come again.
const HELD_MAX: Duration = Duration::from_secs(8);

/// Why a gate is shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shut {
    /// The customer took the key away.
    Revoked,
    /// The vault refuses this cluster's identity or network; whether that was meant is not known.
    AccessLost,
    /// The vault has not answered for longer than the lease, or not yet since the start.
    Unavailable,
    /// The vault gives another key than the one that was wrapped.
    Quarantined,
}

/// What the gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Come in.
    Open,
    /// Wait: a denial is being confirmed.
    Held,
    /// Nobody comes in. Since when, milliseconds since 1970.
    Shut(Shut, i64),
}

/// The gate of one cluster's account.
pub struct Gate {
    account: AccountId,
    cluster: ObjectId,
    name: String,
    /// Grows with each shutting: passes of an older one are void for good.
    generation: AtomicU64,
    standing: watch::Sender<Standing>,
}

impl Gate {
    pub(crate) fn new(account: AccountId, cluster: ObjectId, name: &str, standing: Standing) -> Arc<Self> {
        Arc::new(Self { account, cluster, name: name.to_owned(), generation: AtomicU64::new(0), standing: watch::Sender::new(standing) })
    }

    /// The account behind it.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// The cluster whose key it hangs on.
    #[must_use]
    pub fn cluster(&self) -> ObjectId {
        self.cluster
    }

    /// What it says now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Opens it, or holds whoever comes. Passes that were given out stay good.
    pub fn set(&self, standing: Standing) {
        // What is said comes first: whoever still reads it open has read the old generation, which is void in a moment.
        self.standing.send_replace(standing);
        if let Standing::Shut(..) = standing {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The error of a shut gate.
    #[must_use]
    pub fn error(&self, why: Shut, since_ms: i64) -> KeyError {
        KeyError::Shut { cluster: self.name.clone(), why, since_ms }
    }

    /// Waits while it is held.
    async fn settled(&self, world: &World) -> Result<(), KeyError> {
        let mut standing = self.standing.subscribe();
        let settled = async {
            // The sender lives in `self`.
            let now = standing.wait_for(|now| *now != Standing::Held).await.map_or(Standing::Open, |now| *now);
            match now {
                Standing::Shut(why, since_ms) => Err(self.error(why, since_ms)),
                Standing::Open | Standing::Held => Ok(()),
            }
        };
        tokio::select! {
            biased;
            settled = settled => settled,
            () = world.clock.sleep(HELD_MAX) => Err(self.error(Shut::Unavailable, world.clock.wall().unix_ms())),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("cluster", &self.cluster).field("standing", &self.standing()).finish_non_exhaustive()
    }
}

/// Leave to use one account's data until its gate is shut. Cheap to clone and to check.
#[derive(Clone, Debug)]
pub struct Pass {
    account: AccountId,
    gate: Option<(Arc<Gate>, u64)>,
}

impl Pass {
    /// For an account that nobody can take the key of.
    pub(crate) fn free(account: AccountId) -> Self {
        Self { account, gate: None }
    }

    /// Through a gate, once it is no longer held.
    pub(crate) async fn through(gate: Arc<Gate>, world: &World) -> Result<Self, KeyError> {
        // Read before the standing: a shutting in between voids the pass.
        let generation = gate.generation.load(Ordering::Acquire);
        gate.settled(world).await?;
        Ok(Self { account: gate.account, gate: Some((gate, generation)) })
    }

    /// The account it is for.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Whether it is still good. One atomic load.
    ///
    /// # Errors
    /// [`KeyError::Shut`] once the gate was shut, even if it is open again.
    pub fn check(&self) -> Result<(), KeyError> {
        let Some((gate, generation)) = &self.gate else { return Ok(()) };
        if gate.generation.load(Ordering::Acquire) == *generation {
            return Ok(());
        }
        Err(match gate.standing() {
            Standing::Shut(why, since_ms) => gate.error(why, since_ms),
            Standing::Open | Standing::Held => gate.error(Shut::Revoked, 0),
        })
    }

    /// As [`check`](Self::check), after waiting while the gate is held: what stands before anything leaves.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn hold(&self, world: &World) -> Result<(), KeyError> {
        if let Some((gate, _)) = &self.gate
            && gate.standing() == Standing::Held
        {
            gate.settled(world).await?;
        }
        self.check()
    }
}
