//! Rows of Lockbox requests, and the plans of tables.

use std::fmt;
use std::str::FromStr;

use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};

use super::words;

words! {
    /// What a table is kept for.
    TablePlan {
        /// Everything: queries, alerts, Lockbox.
        Analytics,
        /// Looked at now and then.
        Basic,
        /// Kept for the record; Lockbox does not apply to it.
        Auxiliary,
    }
}

words! {
    /// How far a Lockbox request has come.
    LockboxState {
        /// The customer has not answered.
        Pending,
        /// The customer allowed it, for a time.
        Approved,
        /// The customer did not allow it.
        Rejected,
        /// The customer, or who had asked, ended it early.
        Ended,
        /// Nobody answered in time, or its time is over.
        Expired,
    }
}

/// A request of the provider's staff to see a workspace's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockboxRow {
    /// Its id.
    pub id: ObjectId,
    /// Whose rows.
    pub workspace: WorkspaceId,
    /// The cluster that the workspace was linked to.
    pub cluster: ObjectId,
    /// Who asks.
    pub requester: PrincipalId,
    /// Their name then.
    pub requester_name: String,
    /// What for.
    pub reason: String,
    /// For how long, from the approval on.
    pub hours: u32,
    /// How far it has come.
    pub state: LockboxState,
    /// When it was asked, milliseconds since 1970.
    pub asked_ms: i64,
    /// Until when it can be answered, milliseconds since 1970.
    pub answer_by_ms: i64,
    /// Who decided, their name then, and when, milliseconds since 1970.
    pub decided: Option<(PrincipalId, String, i64)>,
    /// Until when an approval lasts, milliseconds since 1970.
    pub until_ms: Option<i64>,
    /// When it was ended early or seen to have expired, milliseconds since 1970.
    pub ended_ms: Option<i64>,
}
