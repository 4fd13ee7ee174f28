//! Where a record stands in the log.

use serde::{Deserialize, Serialize};

/// The place of a record in the WAL stream of one epoch: from 1, growing over all segments; 0 is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);
