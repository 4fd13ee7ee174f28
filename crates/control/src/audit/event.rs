//! What is written down: an event's name, who, where, and what came of it. Ids, codes, counts and names that stand in clear
//! elsewhere; a query's text only as a cell under the key of its workspace.

use std::borrow::Cow;
use std::future::Future;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strongroom_model::{AccountId, AekId, ObjectId, PrincipalId, WorkspaceId};

/// The names of events.
pub mod name {
    /// The chain begins.
    pub const CHAIN_BEGUN: &str = "chain.begun";
    /// The chain goes on in another file.
    pub const CHAIN_CONTINUED: &str = "chain.continued";
    /// The chain was damaged and an operator let it begin anew.
    pub const CHAIN_MENDED: &str = "chain.mended";
    /// The catalog was older than the chain when the server started.
    pub const CATALOG_BEHIND: &str = "chain.catalog_behind";
    /// Events that found the queue full or the disk broken: how many.
    pub const LOST: &str = "chain.lost";
    /// Records that waited for a key longer than there is room for, and were not carried into a table.
    pub const NOT_CARRIED: &str = "chain.not_carried";
    /// Somebody asks for a change: before it is begun.
    pub const ASKED: &str = "change.asked";
    /// How it was answered.
    pub const ANSWERED: &str = "change.answered";
    /// A role was given: a principal and its token were made.
    pub const ROLE_ASSIGNED: &str = "role.assigned";
    /// A role was taken: a principal and its token were deleted.
    pub const ROLE_REMOVED: &str = "role.removed";
    /// A service was made that can log in.
    pub const PRINCIPAL_CREATED: &str = "principal.created";
    /// A service was given a secret or a certificate.
    pub const CREDENTIAL_ADDED: &str = "credential.added";
    /// A secret or a certificate of a service was taken away.
    pub const CREDENTIAL_REMOVED: &str = "credential.removed";
    /// A role was made or changed.
    pub const ROLE_DEFINED: &str = "role.defined";
    /// A role that somebody made was deleted.
    pub const ROLE_DELETED: &str = "role.deleted";
    /// Access tokens are signed with a new key.
    pub const SIGNING_KEY_ROTATED: &str = "signing.rotated";
    /// Tokens that nobody knows, in a minute.
    pub const TOKENS_REFUSED: &str = "tokens.refused";
    /// A cluster came under a key.
    pub const KEY_SET: &str = "key.set";
    /// A cluster did not come under a key.
    pub const KEY_REFUSED: &str = "key.refused";
    /// An AEK was wrapped.
    pub const KEY_WRAPPED: &str = "key.wrapped";
    /// Good unwraps since the last such event.
    pub const KEY_UNWRAPS: &str = "key.unwraps";
    /// The vault gave no answer, or none that counts: the first of a row, then how many.
    pub const KEY_SILENT: &str = "key.silent";
    /// The vault denied an unwrap.
    pub const KEY_DENIED: &str = "key.denied";
    /// The vault gave another key than the one that was wrapped, or a record is not what it was.
    pub const INTEGRITY: &str = "integrity.failed";
    /// An operator let a key out of quarantine; the vault had proved it.
    pub const KEY_RELEASED: &str = "key.released";
    /// AEKs follow a newer version of the key.
    pub const KEY_ROTATED: &str = "key.rotated";
    /// An AEK was destroyed for good.
    pub const KEY_DESTROYED: &str = "key.destroyed";
    /// The key's dates end soon.
    pub const KEY_EXPIRING: &str = "key.expiring";
    /// They ended.
    pub const KEY_EXPIRED: &str = "key.expired";
    /// There is a newer version than the one in use.
    pub const KEY_VERSION_AVAILABLE: &str = "key.version_available";
    /// A key's state changed.
    pub const STATE_CHANGED: &str = "state.changed";
    /// What was taken away when a key went: the evidence.
    pub const TAKEN_AWAY: &str = "key.taken_away";
    /// A workspace was linked to a cluster.
    pub const LINKED: &str = "workspace.linked";
    /// A workspace was unlinked from its cluster.
    pub const UNLINKED: &str = "workspace.unlinked";
    /// A cluster was made.
    pub const CLUSTER_CREATED: &str = "cluster.created";
    /// A cluster was deleted.
    pub const CLUSTER_DELETED: &str = "cluster.deleted";
    /// A cluster was changed in another way.
    pub const CLUSTER_CHANGED: &str = "cluster.changed";
    /// Requests with rows that were not accepted, in a minute.
    pub const NOT_ACCEPTED: &str = "ingest.not_accepted";
    /// Rows that were accepted and discarded, in a minute.
    pub const DROPPED: &str = "ingest.dropped";
    /// Requests that were kept sealed, in a minute.
    pub const BUFFER_SEALED: &str = "buffer.sealed";
    /// Requests that were kept sealed were opened and made blocks of.
    pub const BUFFER_OPENED: &str = "buffer.opened";
    /// Requests that waited sealed for longer than their rows may be kept were erased unread.
    pub const BUFFER_EXPIRED: &str = "buffer.expired";
    /// Rows of a table were past their retention.
    pub const ROWS_EXPIRED: &str = "rows.expired";
    /// Segments of the log whose key is away were past their rows' retention.
    pub const LOG_EXPIRED: &str = "log.expired";
    /// The provider's staff asks to see a workspace's rows.
    pub const LOCKBOX_REQUESTED: &str = "lockbox.requested";
    /// The customer allowed it.
    pub const LOCKBOX_APPROVED: &str = "lockbox.approved";
    /// The customer did not.
    pub const LOCKBOX_REJECTED: &str = "lockbox.rejected";
    /// It was ended before its time was over.
    pub const LOCKBOX_ENDED: &str = "lockbox.ended";
    /// Nobody answered in time, or its time is over.
    pub const LOCKBOX_EXPIRED: &str = "lockbox.expired";
    /// The provider's staff reads a table under an approval.
    pub const LOCKBOX_READ: &str = "lockbox.read";
    /// The provider's staff reads a table that Lockbox does not apply to.
    pub const LOCKBOX_READ_AUXILIARY: &str = "lockbox.read_auxiliary";
    /// The provider's staff was refused a table.
    pub const LOCKBOX_REFUSED: &str = "lockbox.refused";
    /// A workspace was deleted; until when it can be brought back.
    pub const WORKSPACE_DELETED: &str = "workspace.deleted";
    /// A deleted workspace was brought back.
    pub const WORKSPACE_RECOVERED: &str = "workspace.recovered";
    /// A workspace's secrets were destroyed.
    pub const WORKSPACE_SHREDDED: &str = "workspace.shredded";
    /// The keys of a deleted cluster were destroyed.
    pub const CLUSTER_SHREDDED: &str = "cluster.shredded";
    /// Rows of a table were taken away.
    pub const TABLE_SHREDDED: &str = "table.shredded";
    /// The alert rules of a workspace are suspended: their key is away.
    pub const ALERTS_SUSPENDED: &str = "alerts.suspended";
    /// They go on.
    pub const ALERTS_RESUMED: &str = "alerts.resumed";
    /// The question of an alert rule failed: the first of a row.
    pub const ALERT_FAILED: &str = "alerts.failed";
    /// A query was answered.
    pub const QUERY: &str = "query.run";
}

/// Events that customers are told of by a row of `StrongroomNotices` and a call.
const NOTICES: [&str; 8] = [
    name::STATE_CHANGED,
    name::KEY_EXPIRING,
    name::KEY_EXPIRED,
    name::KEY_VERSION_AVAILABLE,
    name::KEY_ROTATED,
    name::ALERTS_SUSPENDED,
    name::ALERTS_RESUMED,
    name::ALERT_FAILED,
];
/// Events that stay in the chain: too many for a table of each linked workspace.
const KEPT_BACK: [&str; 4] = [name::KEY_UNWRAPS, name::KEY_SILENT, name::KEY_DENIED, name::KEY_WRAPPED];

/// Bytes of an event's details at most; beyond, they are left out and it is said so.
const DETAILS_MAX: usize = 64 << 10;

/// One thing that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its name; see [`name`].
    pub event: Cow<'static, str>,
    /// On whose behalf, if somebody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<PrincipalId>,
    /// The cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ObjectId>,
    /// The workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountId>,
    /// The AEK.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aek: Option<AekId>,
    /// The AEK's generation: from here on a record of it below that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// The rest: ids, codes, counts.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// A notice's mark: it is told once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    /// A query's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<SealedText>,
}

/// A query's text, sealed under an epoch of its workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedText {
    /// The account of the epoch.
    pub account: AccountId,
    /// The epoch's AEK.
    pub aek: AekId,
    /// What the cell is bound to.
    pub row: ObjectId,
    /// The cell, base64.
    pub cell: String,
}

impl Event {
    /// An event of that name, on behalf of whoever is being [served](acting).
    #[must_use]
    pub fn new(event: &'static str) -> Self {
        Self { event: Cow::Borrowed(event), actor: actor(), ..Self::default() }
    }

    /// On whose behalf.
    #[must_use]
    pub fn by(mut self, actor: PrincipalId) -> Self {
        self.actor = Some(actor);
        self
    }

    /// Of which cluster.
    #[must_use]
    pub fn cluster(mut self, cluster: ObjectId) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// Of which workspace.
    #[must_use]
    pub fn workspace(mut self, workspace: WorkspaceId) -> Self {
        self.workspace = Some(workspace);
        self
    }

    /// Of which account.
    #[must_use]
    pub fn account(mut self, account: AccountId) -> Self {
        self.account = Some(account);
        self
    }

    /// Of which AEK, and which of its records.
    #[must_use]
    pub fn aek(mut self, aek: AekId, generation: u64) -> Self {
        self.aek = Some(aek);
        self.generation = Some(generation);
        self
    }

    /// Of an AEK that was destroyed: no record of it is taken any more.
    #[must_use]
    pub fn destroyed(self, aek: AekId) -> Self {
        self.aek(aek, u64::MAX)
    }

    /// What came of it.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// One more detail: an id, a code, a count, a name that stands in clear elsewhere. Never anything out of rows.
    #[must_use]
    pub fn with(mut self, detail: &'static str, value: impl Into<Value>) -> Self {
        self.details.insert(detail.to_owned(), value.into());
        self
    }

    /// Told once for its cluster: see [`Audit::told`](super::Audit::told).
    #[must_use]
    pub fn once(mut self, mark: impl Into<String>) -> Self {
        self.once = Some(mark.into());
        self
    }

    /// Whether customers are told of it.
    #[must_use]
    pub fn is_notice(&self) -> bool {
        NOTICES.contains(&self.event.as_ref())
    }

    /// Whether it goes into workspaces' tables.
    #[must_use]
    pub fn is_carried(&self) -> bool {
        !KEPT_BACK.contains(&self.event.as_ref())
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let whole = serde_json::to_vec(self).expect("an event is plain data");
        let text = self.text.as_ref().map_or(0, |text| text.cell.len());
        if whole.len() - text <= DETAILS_MAX {
            return whole;
        }
        let mut short = self.clone();
        short.details = Map::from_iter([("leftOut".to_owned(), Value::from(whole.len()))]);
        serde_json::to_vec(&short).expect("an event is plain data")
    }
}

tokio::task_local! {
    static ACTOR: Option<PrincipalId>;
}

/// On whose behalf this task works.
#[must_use]
pub fn actor() -> Option<PrincipalId> {
    ACTOR.try_with(|actor| *actor).ok().flatten()
}

/// Works on somebody's behalf: events of it name them. A task that it spawns does not, unless it is wrapped again.
pub fn acting<F: Future>(actor: Option<PrincipalId>, work: F) -> impl Future<Output = F::Output> {
    ACTOR.scope(actor, work)
}
