//! What was kept sealed and was opened, for the audit chain.

use std::sync::Arc;

use strongroom_control::audit::{Event, Scribe, name};
use strongroom_ingest::{Opened, Witness};
use strongroom_keys::KeyRing;
use strongroom_model::Epoch;

/// Tells a scribe.
#[derive(Debug)]
pub(crate) struct Openings {
    pub(crate) scribe: Arc<dyn Scribe>,
    pub(crate) keys: Arc<KeyRing>,
}

impl Witness for Openings {
    fn opened(&self, epoch: Epoch, opened: &Opened) {
        let event = Event::new(name::BUFFER_OPENED).account(epoch.account).with("aek", epoch.aek.to_string());
        let event = event.with("requests", opened.requests).with("rows", opened.rows).with("duplicates", opened.duplicates);
        self.scribe.note(self.keys.cluster_of(epoch.account).into_iter().fold(event, Event::cluster));
    }
}
