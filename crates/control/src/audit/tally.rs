//! What happens too often for a record each: counted, and told once a minute.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_model::{PrincipalId, WorkspaceId};
use strongroom_world::BootTime;

use super::{Audit, Event, Scribe, name};

const EVERY: Duration = Duration::from_mins(1);
/// Kinds counted apart in a minute at most; the others go under no table.
const KINDS_MAX: usize = 10_000;

/// What a count is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    event: &'static str,
    workspace: WorkspaceId,
    table: String,
    code: &'static str,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    requests: u64,
    rows: u64,
}

/// The counts of this minute.
#[derive(Debug, Default)]
pub(super) struct Tally {
    minute: Mutex<Minute>,
}

#[derive(Debug, Default)]
struct Minute {
    since: Option<BootTime>,
    counts: HashMap<Kind, Count>,
    /// Changes asked for by each principal.
    asked: HashMap<PrincipalId, u32>,
    tokens: u64,
    queries: u32,
    queries_left_out: u64,
}

impl Minute {
    fn count(&mut self, kind: Kind, rows: u64) {
        let kind = if self.counts.len() < KINDS_MAX || self.counts.contains_key(&kind) {
            kind
        } else {
            Kind { workspace: WorkspaceId::NIL, table: String::new(), ..kind }
        };
        let count = self.counts.entry(kind).or_default();
        count.requests += 1;
        count.rows += rows;
    }
}

impl Audit {
    /// A request with rows was not accepted: its sender was told.
    pub fn not_accepted(&self, workspace: WorkspaceId, table: &str, code: &'static str) {
        let kind = Kind { event: name::NOT_ACCEPTED, workspace, table: table.to_owned(), code };
        self.tally.minute.lock().count(kind, 0);
    }

    /// Rows were accepted and discarded, as the workspace's policy says.
    pub fn dropped(&self, workspace: WorkspaceId, table: &str, code: &'static str, rows: u64) {
        let kind = Kind { event: name::DROPPED, workspace, table: table.to_owned(), code };
        self.tally.minute.lock().count(kind, rows);
    }

    /// Rows were taken and are kept sealed until their key is back.
    pub fn kept(&self, workspace: WorkspaceId, table: &str, rows: u64) {
        let kind = Kind { event: name::BUFFER_SEALED, workspace, table: table.to_owned(), code: "" };
        self.tally.minute.lock().count(kind, rows);
    }

    /// A token that nobody knows was shown.
    pub fn token_refused(&self) {
        self.tally.minute.lock().tokens += 1;
    }

    /// Whether this principal may ask for one more change in this minute: its askings must not push others' out of the chain.
    #[must_use]
    pub fn may_ask(&self, principal: PrincipalId) -> bool {
        let mut minute = self.tally.minute.lock();
        if minute.asked.len() >= KINDS_MAX && !minute.asked.contains_key(&principal) {
            return false;
        }
        let asked = minute.asked.entry(principal).or_default();
        *asked += 1;
        *asked <= self.config.changes_per_minute_max
    }

    /// Whether one more query is written down in this minute.
    pub(super) fn may_write_query(&self) -> bool {
        let mut minute = self.tally.minute.lock();
        let room = minute.queries < self.config.queries_per_minute_max;
        if room {
            minute.queries += 1;
        } else {
            minute.queries_left_out += 1;
        }
        room
    }

    /// Writes the counts down if their minute is over, or `now` if that is wished.
    pub fn tell_counts(&self, at_once: bool) {
        let now = self.reader.world.clock.boot();
        let minute = {
            let mut minute = self.tally.minute.lock();
            let since = *minute.since.get_or_insert(now);
            if !at_once && now.since(since) < EVERY {
                return;
            }
            std::mem::replace(&mut *minute, Minute { since: Some(now), ..Minute::default() })
        };
        for (kind, count) in minute.counts {
            if kind.event != name::BUFFER_SEALED {
                metrics::counter!("control_audit_not_accepted_total", "event" => kind.event, "code" => kind.code).increment(count.requests);
            }
            let event = Event::new(kind.event).with("requests", count.requests);
            let event = if kind.code.is_empty() { event } else { event.code(kind.code) };
            let event = if kind.event == name::NOT_ACCEPTED { event } else { event.with("rows", count.rows) };
            self.note(if kind.table.is_empty() { event } else { event.workspace(kind.workspace).with("table", kind.table) });
        }
        if minute.tokens > 0 {
            self.note(Event::new(name::TOKENS_REFUSED).with("requests", minute.tokens));
        }
        if minute.queries_left_out > 0 {
            self.note(Event::new(name::LOST).with("queries", minute.queries_left_out));
        }
    }
}

impl Audit {
    /// A scribe for whoever only takes down.
    #[must_use]
    pub fn scribe(self: &std::sync::Arc<Self>) -> std::sync::Arc<dyn Scribe> {
        std::sync::Arc::clone(self) as _
    }
}
