//! Leave to read a table's rows. A guard for reading is given against a warrant and nothing else, so no door can forget to ask.
//!
//! What the rule is (roles, Lockbox) is not known here: a [`Judge`] says, once for each table of a question. A warrant that hangs
//! on an approval ends with it, also in the middle of an answer: whoever holds one checks it before each use.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use strongroom_model::{ErrorKind, ObjectId, PrincipalId, TableId, WorkspaceId};
use strongroom_world::BootTime;

use crate::KeyError;

/// Says who may read what.
#[async_trait]
pub trait Judge: fmt::Debug + Send + Sync {
    /// Whether, and for how long, a principal may read the rows of a table.
    ///
    /// # Errors
    /// [`KeyError::NotAllowed`]; [`KeyError::Catalog`] if it cannot be known.
    async fn judge(&self, principal: PrincipalId, workspace: WorkspaceId, table: TableId) -> Result<Verdict, KeyError>;
}

/// What a judge says.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The principal's own right.
    Own,
    /// While somebody's approval lasts.
    Until(Arc<Approval>),
}

/// An approval that is in force: to a moment of the boot clock, or until it is ended.
#[derive(Debug)]
pub struct Approval {
    request: ObjectId,
    until: BootTime,
    ended: AtomicBool,
}

impl Approval {
    /// An approval of `request` that lasts until `until`.
    #[must_use]
    pub fn new(request: ObjectId, until: BootTime) -> Arc<Self> {
        Arc::new(Self { request, until, ended: AtomicBool::new(false) })
    }

    /// The request it answers.
    #[must_use]
    pub fn request(&self) -> ObjectId {
        self.request
    }

    /// Ends it now, for all who hold it.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it still lasts at `now`.
    #[must_use]
    pub fn lasts(&self, now: BootTime) -> bool {
        now < self.until && !self.ended.load(Ordering::Acquire)
    }
}

/// Leave for one principal to read one table. [`KeyRing::warrant`](crate::KeyRing::warrant) gives it.
#[derive(Clone, Debug)]
pub struct Warrant {
    pub(crate) principal: PrincipalId,
    pub(crate) workspace: WorkspaceId,
    pub(crate) table: TableId,
    pub(crate) approval: Option<Arc<Approval>>,
}

impl Warrant {
    /// The table it is for.
    #[must_use]
    pub fn table(&self) -> TableId {
        self.table
    }

    /// The workspace of that table.
    #[must_use]
    pub fn workspace(&self) -> WorkspaceId {
        self.workspace
    }

    /// Whether it still holds. One atomic load at most.
    ///
    /// # Errors
    /// [`KeyError::ApprovalOver`].
    pub fn check(&self, now: BootTime) -> Result<(), KeyError> {
        match &self.approval {
            Some(approval) if !approval.lasts(now) => Err(KeyError::ApprovalOver { request: approval.request }),
            _ => Ok(()),
        }
    }
}

/// Why a judge refuses: a stable code and a sentence for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The stable code.
    pub code: &'static str,
    /// The sentence.
    pub why: String,
}

impl Refused {
    /// What kind of trouble it is: always one of rights.
    pub(crate) const KIND: ErrorKind = ErrorKind::Forbidden;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warrant(approval: Option<Arc<Approval>>) -> Warrant {
        Warrant { principal: PrincipalId::NIL, workspace: WorkspaceId::NIL, table: TableId::NIL, approval }
    }

    #[test]
    fn a_warrant_ends_with_its_approval_for_all_who_hold_it() {
        let approval = Approval::new(ObjectId::NIL, BootTime(100));
        let (one, two) = (warrant(Some(Arc::clone(&approval))), warrant(Some(Arc::clone(&approval))).clone());
        assert!(one.check(BootTime(99)).is_ok());
        let over = one.check(BootTime(100)).unwrap_err();
        assert_eq!((over.kind(), over.code()), (ErrorKind::Forbidden, "LockboxApprovalOver"));
        approval.end();
        assert!(two.check(BootTime(1)).is_err(), "ended early");
        assert!(warrant(None).check(BootTime(u64::MAX)).is_ok(), "one's own right has no end");
    }
}
