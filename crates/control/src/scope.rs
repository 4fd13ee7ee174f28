//! Places that rights hold at: paths of resources. Azure's paths are compared without case, so they are kept in lower case.

use std::fmt;

use strongroom_catalog::{ClusterRow, WorkspaceRow};

use crate::Place;

/// Bytes of a path at most.
const PATH_MAX: usize = 2_048;

/// A place: `/`, a subscription, a resource group, a resource or a part of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopePath(String);

impl ScopePath {
    /// Everything.
    #[must_use]
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// The place that a path of ours names, whatever its case.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let bare = path.trim_matches('/');
        Self(format!("/{}", bare.to_ascii_lowercase()))
    }

    /// Reads what somebody gave: `/`, or steps without empty ones, beginning at a subscription.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > PATH_MAX || text.chars().any(char::is_control) || !(text.is_empty() || text.starts_with('/')) {
            return None;
        }
        let found = Self::of(text);
        let steps: Vec<&str> = found.steps().collect();
        let fine = match steps.as_slice() {
            [] => true,
            [first, subscription, ..] => *first == "subscriptions" && !subscription.is_empty() && steps.iter().all(|step| !step.is_empty()),
            [_] => false,
        };
        fine.then_some(found)
    }

    /// A subscription.
    #[must_use]
    pub fn subscription(id: &str) -> Self {
        Self::of(&format!("/subscriptions/{id}"))
    }

    /// A resource group.
    #[must_use]
    pub fn group(subscription: &str, group: &str) -> Self {
        Self::of(&format!("/subscriptions/{subscription}/resourceGroups/{group}"))
    }

    /// A workspace.
    #[must_use]
    pub fn workspace(row: &WorkspaceRow) -> Self {
        Self::of(&Place::of_workspace(row).workspace_path())
    }

    /// A cluster.
    #[must_use]
    pub fn cluster(row: &ClusterRow) -> Self {
        Self::of(&Place::of_cluster(row).cluster_path())
    }

    /// A table of the workspace that this is.
    #[must_use]
    pub fn table(&self, name: &str) -> Self {
        Self::of(&format!("{}/tables/{name}", self.0))
    }

    /// The subscription that this lies in; everything, if it lies in none.
    #[must_use]
    pub fn of_subscription(&self) -> Self {
        self.steps().nth(1).map_or_else(Self::root, Self::subscription)
    }

    /// As it is written down.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is everything.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    fn steps(&self) -> impl Iterator<Item = &str> {
        self.0[1..].split('/').filter(|_| self.0.len() > 1)
    }

    /// Whether what holds here holds there: it is the same place or lies below.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.is_root() || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Whether one of the two covers the other.
    #[must_use]
    pub fn touches(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl fmt::Display for ScopePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_covers_itself_and_what_lies_below_and_no_neighbour_with_a_longer_name() {
        let group = ScopePath::read("/Subscriptions/S/resourceGroups/G/").unwrap();
        for (path, covered) in [
            ("/subscriptions/s/resourcegroups/g", true),
            ("/subscriptions/s/resourcegroups/g/providers/p/t/n", true),
            ("/subscriptions/s/resourcegroups/g2", false),
            ("/subscriptions/s", false),
            ("/", false),
        ] {
            assert_eq!(group.covers(&ScopePath::of(path)), covered, "{path}");
            assert!(ScopePath::root().covers(&ScopePath::of(path)));
        }
        assert!(group.touches(&ScopePath::root()) && !group.touches(&ScopePath::of("/subscriptions/t")));
        for bad in ["subscriptions/s", "/subscriptions", "/subscriptions//x", "/elsewhere/x", "/subscriptions/s\n", &"/x".repeat(2_000)] {
            assert_eq!(ScopePath::read(bad), None, "{bad:?}");
        }
        assert_eq!(ScopePath::read("").unwrap(), ScopePath::root());
    }
}
