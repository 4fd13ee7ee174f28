//! Openers of blocks whose header, commitment and end were proved once, kept for the next query.
//!
//! What stays is a derived key within the guard's reach: killing the guard, or forgetting a workspace, wipes it wherever it lies. An
//! opener serves only under the very guard it was made with, so none outlives a key that went and came back.

use parking_lot::Mutex;
use strongroom_envelope::{KeyGuard, ObjectOpener};
use strongroom_model::{Epoch, ObjectId};

use crate::aged::Aged;

struct Entry {
    opener: ObjectOpener,
    guard: KeyGuard,
}

/// A bounded cache of openers by block; of none if its limit is 0.
pub(crate) struct Openers(Mutex<Aged<ObjectId, Entry>>);

impl Openers {
    /// At most `limit` of them.
    pub(crate) fn new(limit: usize) -> Self {
        Self(Mutex::new(Aged::new(limit)))
    }

    /// The opener of a block, if one was made under this guard.
    pub(crate) fn get(&self, block: ObjectId, guard: &KeyGuard) -> Option<ObjectOpener> {
        self.0.lock().get(&block).filter(|entry| entry.guard.is_same(guard)).map(|entry| entry.opener.clone())
    }

    /// Keeps an opener whose end was proved.
    pub(crate) fn put(&self, block: ObjectId, guard: &KeyGuard, opener: ObjectOpener) {
        self.0.lock().put(block, Entry { opener, guard: guard.clone() }, 1);
    }

    /// Drops every opener of an epoch.
    pub(crate) fn forget(&self, epoch: Epoch) {
        self.0.lock().retain(|entry| entry.guard.epoch() != epoch);
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use strongroom_envelope::{Aek, Header, ObjectKind, WorkspaceSecret, seal};
    use strongroom_model::{AccountId, AekId, KeyClass, TableId, WorkspaceId};
    use strongroom_world::sim::SimWorld;
    use strongroom_world::{BootTime, World};

    use super::*;

    fn guard(world: &World, epoch: Epoch, workspace: WorkspaceId) -> KeyGuard {
        let guard = KeyGuard::new(epoch, KeyClass::Cmk, Aek::from_bytes(epoch.aek, [7; 32]), None, BootTime::NEVER);
        guard.install_workspace(workspace, WorkspaceSecret::generate(world.rng.as_ref()));
        guard
    }

    fn sealed(world: &World, guard: &KeyGuard, workspace: WorkspaceId, object: ObjectId) -> (Vec<u8>, ObjectOpener) {
        let now = world.clock.boot();
        let Epoch { account, aek } = guard.epoch();
        let kind = ObjectKind::Block;
        let header = Header { kind, double: false, aek, account, workspace, table: TableId::NIL, window_start: 0, object };
        let bytes = seal(guard, now, world.rng.as_ref(), &header, b"rows").unwrap();
        let opener = ObjectOpener::new(guard, now, &header, &bytes, bytes.len() as u64).unwrap();
        (bytes, opener)
    }

    #[test]
    fn an_opener_serves_its_own_guard_only_and_goes_with_its_epoch() {
        let world = SimWorld::new(1).world();
        let epoch = Epoch { account: AccountId::from_bytes([1; 16]), aek: AekId::from_bytes([2; 16]) };
        let (workspace, object) = (WorkspaceId::from_bytes([3; 16]), ObjectId::from_bytes([4; 16]));
        let first = guard(&world, epoch, workspace);
        let (bytes, opener) = sealed(&world, &first, workspace, object);
        let openers = Openers::new(8);
        openers.put(object, &first, opener);
        let kept = openers.get(object, &first).unwrap();
        let range = kept.sealed_range(0..4);
        let part = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(kept.open_range(&first, world.clock.boot(), 0..4, part).unwrap(), b"rows");
        // The key went, and came back: another guard, which the wiped opener would fail.
        first.kill();
        assert!(kept.open_range(&first, world.clock.boot(), 0..4, part).is_err());
        let second = guard(&world, epoch, workspace);
        assert!(openers.get(object, &second).is_none());
        openers.forget(epoch);
        assert_eq!(openers.len(), 0);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let world = SimWorld::new(1).world();
        let epoch = Epoch { account: AccountId::from_bytes([1; 16]), aek: AekId::from_bytes([2; 16]) };
        let workspace = WorkspaceId::from_bytes([3; 16]);
        let guard = guard(&world, epoch, workspace);
        let openers = Openers::new(10);
        let id = |n: u8| ObjectId::from_bytes([n; 16]);
        for n in 1..=10 {
            openers.put(id(n), &guard, sealed(&world, &guard, workspace, id(n)).1);
        }
        assert!(openers.get(id(1), &guard).is_some());
        openers.put(id(11), &guard, sealed(&world, &guard, workspace, id(11)).1);
        assert_eq!(openers.len(), 9);
        assert!(openers.get(id(1), &guard).is_some() && openers.get(id(2), &guard).is_none());
    }
}
