//! What was looked up a moment ago.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use strongroom_world::BootTime;

/// Answers kept for a fixed short time, bounded in number. Only answers that were found are kept.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    kept: Mutex<HashMap<K, (BootTime, V)>>,
    time: Duration,
    entries_max: usize,
}

impl<K: Eq + Hash, V: Clone> Recent<K, V> {
    pub(crate) fn new(time: Duration, entries_max: usize) -> Self {
        Self { kept: Mutex::default(), time, entries_max }
    }

    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: BootTime) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.kept.lock().get(key).filter(|(until, _)| now < *until).map(|(_, value)| value.clone())
    }

    /// `now` is when the answer was asked for, not when it came: it was true then.
    pub(crate) fn put(&self, key: K, value: V, now: BootTime) {
        let mut kept = self.kept.lock();
        if kept.len() >= self.entries_max {
            kept.retain(|_, (until, _)| now < *until);
            if kept.len() >= self.entries_max {
                kept.clear();
            }
        }
        kept.insert(key, (now.after(self.time), value));
    }

    pub(crate) fn clear(&self) {
        self.kept.lock().clear();
    }
}
