//! A bounded map that lets go of what was used longest ago.
//!
//! Beside moka, which the hot cache uses: what is kept here derives from rows or keys, and has to be gone from memory when
//! [`Aged::retain`] returns, not when a cache's upkeep comes to it.

use std::collections::HashMap;
use std::hash::Hash;

struct Held<V> {
    value: V,
    weight: usize,
    used: u64,
}

/// Values by key, of which all together weigh at most so much.
pub(crate) struct Aged<K, V> {
    held: HashMap<K, Held<V>>,
    limit: usize,
    weight: usize,
    tick: u64,
}

impl<K: Clone + Eq + Hash, V> Aged<K, V> {
    /// Nothing yet, and at most `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        Self { held: HashMap::new(), limit, weight: 0, tick: 0 }
    }

    /// What is held, as used now.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        self.tick += 1;
        let held = self.held.get_mut(key)?;
        held.used = self.tick;
        Some(&held.value)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.held.contains_key(key)
    }

    /// Holds a value in the place of the one that was there. What is heavier than all may be is not held.
    pub(crate) fn put(&mut self, key: K, value: V, weight: usize) -> Option<V> {
        if weight > self.limit {
            return None;
        }
        self.tick += 1;
        self.weight += weight;
        let old = self.held.insert(key, Held { value, weight, used: self.tick });
        self.weight -= old.as_ref().map_or(0, |old| old.weight);
        self.shrink();
        old.map(|old| old.value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let held = self.held.remove(key)?;
        self.weight -= held.weight;
        Some(held.value)
    }

    /// Drops all values but those.
    pub(crate) fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.held.retain(|_, held| keep(&held.value));
        self.weight = self.held.values().map(|held| held.weight).sum();
    }

    pub(crate) fn clear(&mut self) {
        self.retain(|_| false);
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.shrink();
    }

    /// A tenth more than needed goes at once, so that a full map does not sort itself at every insert.
    fn shrink(&mut self) {
        if self.weight <= self.limit {
            return;
        }
        let goal = self.limit - self.limit / 10;
        let mut by_age: Vec<(u64, K)> = self.held.iter().map(|(key, held)| (held.used, key.clone())).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_age {
            if self.weight <= goal {
                break;
            }
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_and_what_is_too_heavy_does_not_come() {
        let mut aged = Aged::new(100);
        for n in 0..10 {
            assert_eq!(aged.put(n, n * n, 10), None);
        }
        assert_eq!(aged.get(&0), Some(&0));
        assert_eq!(aged.put(3, 7, 10), Some(9));
        aged.put(10, 100, 10);
        assert!(aged.contains(&0) && aged.contains(&3) && aged.contains(&10) && !aged.contains(&1) && !aged.contains(&2));
        assert_eq!((aged.len(), aged.weight), (9, 90));
        aged.put(11, 0, 101);
        assert!(!aged.contains(&11));
        aged.retain(|value| *value > 30);
        assert_eq!((aged.len(), aged.weight), (5, 50));
        aged.set_limit(20);
        assert_eq!((aged.len(), aged.remove(&10), aged.weight), (1, Some(100), 0));
    }
}
