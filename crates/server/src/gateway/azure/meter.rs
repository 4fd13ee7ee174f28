//! Two small memories of doors: how much went through a rule this minute, and which question only just took too long.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};
use strongroom_world::BootTime;

/// A minute: what limits are given for.
const MINUTE: Duration = Duration::from_mins(1);
/// Rules counted, and questions remembered, at once.
const ENTRIES_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug)]
struct Count {
    since: BootTime,
    requests: u64,
    bytes: u64,
}

/// What went through each rule in the minute that began with its first call.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<HashMap<ObjectId, Count>>);

impl Meter {
    /// Counts one call, and what it says it brings. How many seconds to wait if it is one too many; 0 as a limit is none.
    pub(crate) fn count(&self, rule: ObjectId, bytes: u64, now: BootTime, requests_max: u64, bytes_max: u64) -> Result<(), u32> {
        let mut counts = self.0.lock();
        if counts.len() >= ENTRIES_MAX {
            counts.retain(|_, count| now.since(count.since) < MINUTE);
            if counts.len() >= ENTRIES_MAX {
                counts.clear();
            }
        }
        let count = counts.entry(rule).or_insert(Count::from(now));
        count.move_on(now);
        if over(count.requests, 1, requests_max) {
            return Err(count.left(now));
        }
        count.take(bytes, now, bytes_max)?;
        count.requests += 1;
        Ok(())
    }

    /// Counts what a call brought beside what it said.
    pub(crate) fn add(&self, rule: ObjectId, bytes: u64, now: BootTime, bytes_max: u64) -> Result<(), u32> {
        if bytes == 0 {
            return Ok(());
        }
        let mut counts = self.0.lock();
        let count = counts.entry(rule).or_insert(Count::from(now));
        count.move_on(now);
        count.take(bytes, now, bytes_max)
    }
}

/// One that is too large by itself is for another limit to refuse.
const fn over(used: u64, more: u64, max: u64) -> bool {
    max > 0 && used > 0 && used.saturating_add(more) > max
}

impl Count {
    const fn from(since: BootTime) -> Self {
        Self { since, requests: 0, bytes: 0 }
    }

    fn move_on(&mut self, now: BootTime) {
        if now.since(self.since) >= MINUTE {
            *self = Self::from(now);
        }
    }

    fn take(&mut self, bytes: u64, now: BootTime, bytes_max: u64) -> Result<(), u32> {
        if over(self.bytes, bytes, bytes_max) {
            return Err(self.left(now));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Seconds until the minute is over.
    fn left(&self, now: BootTime) -> u32 {
        let left = MINUTE.saturating_sub(now.since(self.since)).as_secs() + 1;
        u32::try_from(left).unwrap_or(60)
    }
}

/// Questions that took too long. Azure's clients ask up to ten times more on a 504: the same request, by the same id, gets the same
/// answer for a while and is not run again.
#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<HashMap<RequestName, BootTime>>);

/// What names a request: the hash of all that decides its answer.
pub(crate) type RequestName = [u8; 32];

impl Late {
    /// The name of a request: who asks whom, the client's own id for it, and all that it says. `None` if the client gave no id.
    pub(crate) fn name(id: Option<&[u8]>, principal: PrincipalId, workspace: WorkspaceId, asked: &[&str]) -> Option<RequestName> {
        let mut hash = Sha256::new();
        hash.update(principal.as_bytes());
        hash.update(workspace.as_bytes());
        for part in std::iter::once(id?).chain(asked.iter().map(|part| part.as_bytes())) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Some(hash.finalize().into())
    }

    pub(crate) fn remember(&self, request: RequestName, now: BootTime) {
        let mut known = self.0.lock();
        if known.len() >= ENTRIES_MAX {
            known.clear();
        }
        known.insert(request, now);
    }

    pub(crate) fn knows(&self, request: RequestName, now: BootTime, for_: Duration) -> bool {
        let mut known = self.0.lock();
        match known.get(&request) {
            Some(at) if now.since(*at) < for_ => true,
            Some(_) => {
                known.remove(&request);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use strongroom_world::sim::SimWorld;

    use super::*;

    #[test]
    fn a_rule_has_its_minute_and_another_rule_its_own() {
        let sim = SimWorld::new(1);
        let (world, meter) = (sim.world(), Meter::default());
        let now = || world.clock.boot();
        let [a, b] = [1, 2].map(|n| ObjectId::from_bytes([n; 16]));
        assert!((0..3).all(|_| meter.count(a, 10, now(), 3, 0).is_ok()));
        assert!(matches!(meter.count(a, 10, now(), 3, 0), Err(1..=61)));
        assert!(meter.count(b, 10, now(), 3, 0).is_ok());
        assert!(meter.count(b, 100, now(), 0, 60).is_err());
        sim.clock().advance(MINUTE);
        assert!(meter.count(a, 10, now(), 3, 0).is_ok());
        // One that is too large by itself is for another limit to refuse.
        assert!(meter.count(b, 100, now(), 0, 60).is_ok());
        // One that did not say what it brings.
        sim.clock().advance(MINUTE);
        assert!(meter.count(b, 0, now(), 0, 60).is_ok() && meter.add(b, 50, now(), 60).is_ok());
        assert!(meter.count(b, 0, now(), 0, 60).is_ok() && meter.add(b, 50, now(), 60).is_err());
    }

    #[test]
    fn a_late_question_is_known_by_its_id_and_text_for_a_while() {
        let sim = SimWorld::new(1);
        let (world, late) = (sim.world(), Late::default());
        let [one, other] = [1, 2].map(|n| PrincipalId::from_bytes([n; 16]));
        let [here, there] = [3, 4].map(|n| WorkspaceId::from_bytes([n; 16]));
        let name = |id: &[u8], text| Late::name(Some(id), one, here, &[text, "P1D"]).unwrap();
        assert_eq!(Late::name(None, one, here, &["T"]), None);
        late.remember(name(b"1", "T"), world.clock.boot());
        let knows = |request| late.knows(request, world.clock.boot(), MINUTE);
        assert!(knows(name(b"1", "T")) && !knows(name(b"2", "T")) && !knows(name(b"1", "U")));
        for (who, at, asked) in
            [(other, here, ["T", "P1D"]), (one, there, ["T", "P1D"]), (one, here, ["T", "P2D"]), (one, here, ["TP", "1D"])]
        {
            assert!(!knows(Late::name(Some(b"1"), who, at, &asked).unwrap()), "{who} {at} {asked:?}");
        }
        sim.clock().advance(MINUTE);
        assert!(!knows(name(b"1", "T")));
    }
}
