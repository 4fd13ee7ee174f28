//! Taking events down without waiting: what most of the house needs of the audit chain.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{Audit, Event};

/// Takes events down, in order. Never waits, never fails: what it has no room for it counts.
pub trait Scribe: fmt::Debug + Send + Sync {
    /// Takes an event down.
    fn note(&self, event: Event);
}

impl Scribe for Audit {
    fn note(&self, event: Event) {
        Audit::note(self, event);
    }
}

/// Where a scribe sits once there is one: things that are made before it, or without it in tests.
#[derive(Debug, Default)]
pub(crate) struct Desk(OnceLock<Arc<dyn Scribe>>);

impl Desk {
    /// Gives it its scribe; the first one stays.
    pub(crate) fn seat(&self, scribe: Arc<dyn Scribe>) {
        self.0.get_or_init(|| scribe);
    }

    pub(crate) fn note(&self, event: impl FnOnce() -> Event) {
        if let Some(scribe) = self.0.get() {
            scribe.note(event());
        }
    }
}
