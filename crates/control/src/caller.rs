//! Whoever asks, and what they may do where.
//!
//! A right depends on the path alone, never on whether anything is there: what is absent and what is somebody else's cannot be told
//! apart, for they were never told apart here.

use std::sync::Arc;

use strongroom_model::PrincipalId;

use crate::{ControlError, Role, ScopePath};

/// A role at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it allows.
    pub role: Arc<Role>,
    /// Where.
    pub scope: ScopePath,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Their id.
    pub principal: PrincipalId,
    /// Their name.
    pub name: String,
    /// What they may do, as the catalog had it within the last second.
    pub grants: Arc<[Grant]>,
}

impl Caller {
    /// Somebody with these rights.
    #[must_use]
    pub fn new(principal: PrincipalId, name: String, grants: impl Into<Arc<[Grant]>>) -> Self {
        Self { principal, name, grants: grants.into() }
    }

    /// Whether some role allows `action` there.
    #[must_use]
    pub fn may(&self, action: &str, at: &ScopePath) -> bool {
        self.grants.iter().any(|grant| grant.scope.covers(at) && grant.role.allows(action))
    }

    /// Whether some role allows `action` there or on a part of it.
    #[must_use]
    pub fn may_within(&self, action: &str, at: &ScopePath) -> bool {
        self.grants.iter().any(|grant| grant.scope.touches(at) && grant.role.allows(action))
    }

    /// Whether this caller may know of what is there: some right of theirs holds there, above it or on a part of it.
    #[must_use]
    pub fn sees(&self, at: &ScopePath) -> bool {
        at.is_root() || self.grants.iter().any(|grant| grant.scope.touches(at))
    }

    /// Refuses unless some role allows `action` there.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] if the caller may know of what is there, else [`ControlError::NotFound`].
    pub fn check(&self, action: &str, at: &ScopePath) -> Result<(), ControlError> {
        if self.may(action, at) {
            Ok(())
        } else if self.sees(at) {
            Err(self.forbidden(action, at))
        } else {
            Err(ControlError::NotFound { what: "resource", name: at.to_string() })
        }
    }

    /// What this caller is told who may not do `action` there.
    #[must_use]
    pub fn forbidden(&self, action: &str, at: &ScopePath) -> ControlError {
        let (name, id) = (self.name.clone(), self.principal);
        ControlError::Forbidden { name, id, action: action.to_owned(), scope: at.to_string() }
    }

    /// The names of the roles that hold there, for a sentence.
    #[must_use]
    pub fn roles_at(&self, at: &ScopePath) -> String {
        let names: Vec<&str> = self.grants.iter().filter(|grant| grant.scope.touches(at)).map(|grant| grant.role.name.as_str()).collect();
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    }
}
