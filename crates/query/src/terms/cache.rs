//! Directories and parts of filters, kept in memory: they derive from rows, so they go when their epoch's key goes.

use std::sync::Arc;

use parking_lot::Mutex;
use strongroom_envelope::KeyGuard;
use strongroom_model::terms::{Cut, Directory, Group, Part};
use strongroom_model::{Epoch, ObjectId};
use strongroom_world::Clock;

use crate::aged::Aged;

/// What an entry costs beside what it holds.
const ENTRY_BYTES: usize = 128;

/// A block's directory; `None`: it has no filters, or of a kind that is not known.
#[derive(Clone)]
pub(crate) struct Known(pub(crate) Option<Arc<Directory>>);

#[derive(Clone)]
enum Value {
    Directory(Known),
    Part(Arc<Part>),
    Group(Arc<Group>),
    Cut(Arc<Cut>),
}

struct Entry {
    value: Value,
    epoch: Epoch,
}

/// A block or a group of them, and which of its parts or cuts; its directory has none.
type Key = (ObjectId, Option<usize>);

/// A bounded cache of filters by block, tagged by epoch.
pub(crate) struct Filters {
    clock: Arc<dyn Clock>,
    inner: Mutex<Aged<Key, Entry>>,
}

impl Filters {
    pub(crate) fn new(clock: Arc<dyn Clock>, limit: usize) -> Self {
        Self { clock, inner: Mutex::new(Aged::new(limit)) }
    }

    pub(crate) fn directory(&self, object: ObjectId) -> Option<Known> {
        match self.get((object, None))? {
            Value::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn part(&self, object: ObjectId, part: usize) -> Option<Arc<Part>> {
        match self.get((object, Some(part)))? {
            Value::Part(part) => Some(part),
            _ => None,
        }
    }

    pub(crate) fn group(&self, object: ObjectId) -> Option<Arc<Group>> {
        match self.get((object, None))? {
            Value::Group(group) => Some(group),
            _ => None,
        }
    }

    pub(crate) fn cut(&self, object: ObjectId, cut: usize) -> Option<Arc<Cut>> {
        match self.get((object, Some(cut)))? {
            Value::Cut(cut) => Some(cut),
            _ => None,
        }
    }

    fn get(&self, key: Key) -> Option<Value> {
        self.inner.lock().get(&key).map(|entry| entry.value.clone())
    }

    pub(crate) fn put_directory(&self, guard: &KeyGuard, object: ObjectId, directory: Known) {
        let bytes = directory.0.as_ref().map_or(0, |known| known.size());
        self.put(guard, (object, None), Value::Directory(directory), bytes);
    }

    pub(crate) fn put_part(&self, guard: &KeyGuard, object: ObjectId, at: usize, part: Arc<Part>) {
        let bytes = part.size();
        self.put(guard, (object, Some(at)), Value::Part(part), bytes);
    }

    pub(crate) fn put_group(&self, guard: &KeyGuard, object: ObjectId, group: Arc<Group>) {
        let bytes = group.size();
        self.put(guard, (object, None), Value::Group(group), bytes);
    }

    pub(crate) fn put_cut(&self, guard: &KeyGuard, object: ObjectId, at: usize, cut: Arc<Cut>) {
        let bytes = cut.size();
        self.put(guard, (object, Some(at)), Value::Cut(cut), bytes);
    }

    /// Keeps it for as long as the guard holds: what comes in after its key went is not kept.
    fn put(&self, guard: &KeyGuard, key: Key, value: Value, bytes: usize) {
        let mut inner = self.inner.lock();
        if guard.check(self.clock.boot()).is_ok() {
            inner.put(key, Entry { value, epoch: guard.epoch() }, bytes + ENTRY_BYTES);
        }
    }

    /// Whether half of what may be kept is.
    pub(crate) fn is_half_full(&self) -> bool {
        let inner = self.inner.lock();
        inner.weight() >= inner.limit() / 2
    }

    /// Drops everything of an epoch.
    pub(crate) fn forget(&self, epoch: Epoch) {
        self.inner.lock().retain(|entry| entry.epoch != epoch);
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().len()
    }

    /// What they weigh.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().weight()
    }
}

#[cfg(test)]
mod tests {
    use strongroom_envelope::Aek;
    use strongroom_model::terms::{Gathered, GroupBuilder, build};
    use strongroom_model::{AccountId, AekId, KeyClass};
    use strongroom_world::BootTime;
    use strongroom_world::sim::SimWorld;

    use super::*;

    fn guard(n: u8) -> KeyGuard {
        let epoch = Epoch { account: AccountId::from_bytes([n; 16]), aek: AekId::from_bytes([n; 16]) };
        KeyGuard::new(epoch, KeyClass::Cmk, Aek::from_bytes(epoch.aek, [n; 32]), None, BootTime::NEVER)
    }

    fn part(terms: u64) -> Arc<Part> {
        let slices = vec![(1..=terms).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()];
        let (bytes, _) = build(vec![Gathered { column: "m".to_owned(), slices }], 1, 1, 0, u64::MAX).unwrap();
        Arc::new(Part::parse(&bytes, 1).unwrap())
    }

    #[test]
    fn filters_go_with_their_epoch_and_none_comes_in_after_its_key_went() {
        let filters = Filters::new(SimWorld::new(1).world().clock, 1 << 20);
        let (first, second) = (guard(1), guard(2));
        let id = |n: u8| ObjectId::from_bytes([n; 16]);
        for (guard, n) in [(&first, 1), (&second, 2)] {
            filters.put_directory(guard, id(n), Known(None));
            filters.put_part(guard, id(n), 0, part(9));
        }
        filters.forget(first.epoch());
        assert!(filters.directory(id(1)).is_none() && filters.part(id(1), 0).is_none());
        assert!(filters.directory(id(2)).is_some() && filters.part(id(2), 0).is_some());
        second.kill();
        filters.forget(second.epoch());
        filters.put_part(&second, id(2), 0, part(9));
        assert_eq!(filters.len(), 0);
    }

    #[test]
    fn groups_and_their_cuts_go_with_their_epoch_too() {
        let filters = Filters::new(SimWorld::new(1).world().clock, 1 << 20);
        let guard = guard(1);
        let (bytes, text) = build(vec![Gathered { column: "m".to_owned(), slices: vec![vec![7, 9]] }], 1, 1, 0, u64::MAX).unwrap();
        let mut builder = GroupBuilder::default();
        builder.add(ObjectId::from_bytes([3; 16]), Directory::parse(&text).map(|directory| (directory, bytes)));
        let whole = builder.finish().unwrap();
        let from = whole.len() - usize::try_from(Group::directory_len(&whole).unwrap()).unwrap();
        let group = Arc::new(Group::parse(&whole[from..], whole.len() as u64).unwrap());
        let cut = Arc::new(group.cut(0, &whole[..from]).unwrap());
        filters.put_group(&guard, ObjectId::NIL, Arc::clone(&group));
        filters.put_cut(&guard, ObjectId::NIL, 0, Arc::clone(&cut));
        assert!(filters.group(ObjectId::NIL).is_some() && filters.cut(ObjectId::NIL, 0).is_some());
        assert!(filters.directory(ObjectId::NIL).is_none() && filters.part(ObjectId::NIL, 0).is_none());
        guard.kill();
        filters.forget(guard.epoch());
        filters.put_group(&guard, ObjectId::NIL, group);
        filters.put_cut(&guard, ObjectId::NIL, 0, cut);
        assert_eq!(filters.len(), 0);
    }

    #[test]
    fn a_full_cache_lets_go_of_what_was_used_longest_ago() {
        let filters = Filters::new(SimWorld::new(1).world().clock, 5 * (part(300).size() + ENTRY_BYTES));
        let guard = guard(1);
        for n in 0..5 {
            filters.put_part(&guard, ObjectId::NIL, n, part(300));
        }
        assert!(filters.part(ObjectId::NIL, 0).is_some());
        filters.put_part(&guard, ObjectId::NIL, 5, part(300));
        assert!(filters.len() < 6 && filters.part(ObjectId::NIL, 0).is_some() && filters.part(ObjectId::NIL, 1).is_none());
        filters.put_part(&guard, ObjectId::NIL, 6, part(2_000));
        assert!(filters.part(ObjectId::NIL, 6).is_none(), "larger than all of it");
    }
}
