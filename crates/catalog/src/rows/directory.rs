//! Rows of who there is, what they prove it with, and what they may do where.

use serde::{Deserialize, Serialize};
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};

/// What a new principal is to reach: a short way to name a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Scope {
    /// Everything.
    All,
    /// One workspace.
    Workspace(WorkspaceId),
}

/// Someone who holds a token, or a service that logs in for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrincipalRow {
    /// Their id.
    pub id: PrincipalId,
    /// A name for people.
    pub name: String,
    /// SHA-256 of the token; the token itself is never stored. A service has none.
    pub token_sha256: Option<[u8; 32]>,
    /// What a service calls itself when it logs in. A holder of a token has none.
    pub client_id: Option<ObjectId>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it ends, milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

/// What a service logs in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    /// Its id.
    pub id: ObjectId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// A name for people.
    pub name: String,
    /// SHA-256 of the secret, or of the certificate.
    pub sha256: [u8; 32],
    /// The certificate (DER), if it is none of the secret ones.
    pub certificate: Option<Vec<u8>>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// When it ends, milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

/// A role, given to somebody at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignmentRow {
    /// Its id.
    pub id: ObjectId,
    /// To whom.
    pub principal: PrincipalId,
    /// Which role.
    pub role: ObjectId,
    /// Where: a path in lower case, `/` for everything.
    pub scope: String,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// Who gave it; `None`: the server.
    pub created_by: Option<PrincipalId>,
}

/// A role that somebody made. Lists are JSON texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRow {
    /// Its id.
    pub id: ObjectId,
    /// Its name.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// What it allows.
    pub actions: String,
    /// What it does not allow even so.
    pub not_actions: String,
    /// Where it may be given.
    pub scopes: String,
    /// When it last changed, milliseconds since 1970.
    pub changed_ms: i64,
}

/// A key pair that access tokens are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeyRow {
    /// Its id.
    pub id: ObjectId,
    /// The key pair, sealed for this row.
    pub cell: Vec<u8>,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
    /// Since when it signs nothing more, milliseconds since 1970.
    pub retired_ms: Option<i64>,
}

impl std::fmt::Debug for SigningKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKeyRow").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A subscription that somebody named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    /// Its id, a GUID.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// The tenant it belongs to, a GUID.
    pub tenant: String,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
}

/// A resource group that somebody named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceGroupRow {
    /// Its subscription.
    pub subscription: String,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its tags, a JSON object.
    pub tags: String,
    /// Birth, milliseconds since 1970.
    pub created_ms: i64,
}
