//! Two small memories of doors: how much went through a rule this minute, and which question only just took too long.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use strongroom_model::ObjectId;
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
    /// Counts one call. How many seconds to wait if it is one too many; 0 as a limit is none.
    pub(crate) fn count(&self, rule: ObjectId, bytes: u64, now: BootTime, requests_max: u64, bytes_max: u64) -> Result<(), u32> {
        let mut counts = self.0.lock();
        if counts.len() >= ENTRIES_MAX {
            counts.retain(|_, count| now.since(count.since) < MINUTE);
            if counts.len() >= ENTRIES_MAX {
                counts.clear();
            }
        }
        let fresh = Count { since: now, requests: 0, bytes: 0 };
        let count = counts.entry(rule).or_insert(fresh);
        if now.since(count.since) >= MINUTE {
            *count = fresh;
        }
        let over = |used: u64, more: u64, max: u64| max > 0 && used > 0 && used.saturating_add(more) > max;
        if over(count.requests, 1, requests_max) || over(count.bytes, bytes, bytes_max) {
            let left = MINUTE.saturating_sub(now.since(count.since)).as_secs() + 1;
            return Err(u32::try_from(left).unwrap_or(60));
        }
        count.requests += 1;
        count.bytes = count.bytes.saturating_add(bytes);
        Ok(())
    }
}

/// Questions that took too long. Azure's clients ask up to ten times more on a 504: the same request, by the same id, gets the same
/// answer for a while and is not run again.
#[derive(Debug, Default)]
pub(crate) struct Late(Mutex<HashMap<u64, BootTime>>);

impl Late {
    /// What names a request: the client's own id for it and the text. `None` if the client gave none.
    pub(crate) fn name(id: Option<&[u8]>, text: &str) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        id?.hash(&mut hasher);
        text.hash(&mut hasher);
        Some(hasher.finish())
    }

    pub(crate) fn remember(&self, request: u64, now: BootTime) {
        let mut known = self.0.lock();
        if known.len() >= ENTRIES_MAX {
            known.clear();
        }
        known.insert(request, now);
    }

    pub(crate) fn knows(&self, request: u64, now: BootTime, for_: Duration) -> bool {
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
    }

    #[test]
    fn a_late_question_is_known_by_its_id_and_text_for_a_while() {
        let sim = SimWorld::new(1);
        let (world, late) = (sim.world(), Late::default());
        let name = |id: &[u8], text| Late::name(Some(id), text).unwrap();
        assert_eq!(Late::name(None, "T"), None);
        late.remember(name(b"1", "T"), world.clock.boot());
        let knows = |request| late.knows(request, world.clock.boot(), MINUTE);
        assert!(knows(name(b"1", "T")) && !knows(name(b"2", "T")) && !knows(name(b"1", "U")));
        sim.clock().advance(MINUTE);
        assert!(!knows(name(b"1", "T")));
    }
}
