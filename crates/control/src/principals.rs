//! Principals and their tokens: `srt_` and base64url of 32 random bytes, stored as SHA-256 alone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use strongroom_catalog::{Catalog, PrincipalRow, Scope};
use strongroom_model::{PrincipalId, WorkspaceId};
use strongroom_world::World;
use subtle::ConstantTimeEq as _;

use crate::audit::{self, Event, Scribe, name};
use crate::recent::Recent;
use crate::{ControlConfig, ControlError, Role, Roles};

/// The name of the principal that [`Principals::ensure_admin`] keeps; nobody else may take it.
pub const ADMIN: &str = "admin";

const OWNER: &str = "Owner";
const PREFIX: &str = "srt_";
/// Bytes of a token that somebody chose: enough not to be guessed, little enough to hash at each request.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
const TTL_MIN: Duration = Duration::from_mins(1);
const TTL_MAX: Duration = Duration::from_hours(10 * 366 * 24);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Their id.
    pub principal: PrincipalId,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Arc<Role>,
    /// Where they may do it.
    pub scope: Scope,
}

impl Caller {
    /// Whether this caller may know of a workspace.
    #[must_use]
    pub fn sees(&self, workspace: WorkspaceId) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::Workspace(own) => own == workspace,
        }
    }

    pub(crate) fn check(&self, action: &str) -> Result<(), ControlError> {
        if self.role.allows(action) { Ok(()) } else { Err(self.forbidden(action)) }
    }

    pub(crate) fn forbidden(&self, action: &str) -> ControlError {
        ControlError::Forbidden { role: self.role.name.clone(), action: action.to_owned() }
    }
}

/// A principal just made, with the token that is shown this once.
#[derive(Clone)]
pub struct CreatedPrincipal {
    /// The principal's id.
    pub id: PrincipalId,
    /// The token.
    pub token: String,
    /// When it ends, milliseconds since 1970; `None`: never.
    pub expires_ms: Option<i64>,
}

impl fmt::Debug for CreatedPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedPrincipal").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Who holds a token.
#[derive(Debug)]
pub struct Principals {
    world: World,
    catalog: Catalog,
    roles: Arc<Roles>,
    config: ControlConfig,
    /// By SHA-256 of the token; with the end of its life.
    recent: Recent<[u8; 32], (Caller, Option<i64>)>,
    by_id: Recent<PrincipalId, (Caller, Option<i64>)>,
    audit: audit::Desk,
}

impl Principals {
    /// The principals of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, roles: Arc<Roles>, config: ControlConfig) -> Self {
        let recent = Recent::new(Duration::from_millis(config.cache_ms.min(1_000)), config.cache_entries_max);
        let by_id = Recent::new(Duration::from_millis(config.cache_ms.min(1_000)), config.cache_entries_max);
        Self { world, catalog, roles, config, recent, by_id, audit: audit::Desk::default() }
    }

    /// Has every role that is given or taken told to a scribe.
    pub fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.audit.seat(scribe);
    }

    /// Sees to an admin who owns everything. A `token` given becomes the admin's only one; without, one is minted if there
    /// is no admin yet, and given back to be printed once.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] if the token is too short, too long or not visible ASCII; what the catalog says.
    pub async fn ensure_admin(&self, token: Option<String>) -> Result<Option<String>, ControlError> {
        let admins: Vec<PrincipalRow> = self.catalog.principals().await?.into_iter().filter(|row| row.name == ADMIN).collect();
        let (token, minted) = match token {
            None if !admins.is_empty() => return Ok(None),
            None => (self.mint(), true),
            Some(token) => (check_token(token)?, false),
        };
        let sha256 = hash(&token);
        let known = |row: &&PrincipalRow| bool::from(row.token_sha256.ct_eq(&sha256));
        if !admins.iter().any(|row| known(&row)) {
            self.catalog.principal_insert(&self.row(ADMIN.to_owned(), OWNER, Scope::All, sha256, None)).await?;
        }
        // After the new one is there: at no time is there no admin.
        for old in admins.iter().filter(|row| !known(row)) {
            self.catalog.principal_delete(old.id).await?;
        }
        self.forget();
        Ok(minted.then_some(token))
    }

    /// Makes a principal and its token.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for an unknown role, a bad name or a bad `ttl` (a minute to ten years);
    /// [`ControlError::NotFound`] if the workspace of the scope is not there; [`ControlError::TooMany`].
    pub async fn create(&self, name: String, role: &str, scope: Scope, ttl: Option<Duration>) -> Result<CreatedPrincipal, ControlError> {
        let role = self.roles.get(role).ok_or(ControlError::Invalid {
            what: "role",
            why: "not a known one: Owner, Contributor, Reader, Ingest, Operator or LockboxApprover",
        })?;
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "name", why: "1 to 128 bytes without control characters are allowed" });
        }
        if name == ADMIN {
            return Err(ControlError::Conflict { why: "the name admin is the server's own" });
        }
        if ttl.is_some_and(|ttl| !(TTL_MIN..=TTL_MAX).contains(&ttl)) {
            return Err(ControlError::Invalid { what: "ttl", why: "a minute to ten years are allowed" });
        }
        if let Scope::Workspace(id) = scope
            && self.catalog.workspace(id).await?.is_none()
        {
            return Err(ControlError::NotFound { what: "workspace", name: id.to_string() });
        }
        if self.catalog.principals().await?.len() >= self.config.principals_max {
            return Err(ControlError::TooMany { what: "principals", max: self.config.principals_max });
        }
        let token = self.mint();
        let expires_ms =
            ttl.map(|ttl| self.world.clock.wall().unix_ms().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        let row = self.row(name, &role.name, scope, hash(&token), expires_ms);
        self.catalog.principal_insert(&row).await?;
        tracing::info!(principal = %row.id, role = row.role, "principal created");
        self.audit.note(|| told(name::ROLE_ASSIGNED, &row));
        Ok(CreatedPrincipal { id: row.id, token, expires_ms })
    }

    /// All principals, oldest first.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self) -> Result<Vec<PrincipalRow>, ControlError> {
        Ok(self.catalog.principals().await?)
    }

    /// Takes a principal's token away: here at once, elsewhere within [`ControlConfig::cache_ms`].
    ///
    /// # Errors
    /// [`ControlError::NotFound`]; [`ControlError::Conflict`] for the last owner of everything, who could not be replaced.
    pub async fn delete(&self, id: PrincipalId) -> Result<(), ControlError> {
        let all = self.catalog.principals().await?;
        let now_ms = self.world.clock.wall().unix_ms();
        let rules = |row: &PrincipalRow| row.role == OWNER && row.scope == Scope::All && row.expires_ms.is_none_or(|end| now_ms < end);
        let Some(row) = all.iter().find(|row| row.id == id) else {
            return Err(ControlError::NotFound { what: "principal", name: id.to_string() });
        };
        if rules(row) && !all.iter().any(|other| other.id != id && rules(other)) {
            return Err(ControlError::Conflict { why: "the last owner of everything stays: make another one first" });
        }
        let there = self.catalog.principal_delete(id).await?;
        self.forget();
        if !there {
            return Err(ControlError::NotFound { what: "principal", name: id.to_string() });
        }
        tracing::info!(principal = %id, "principal deleted");
        self.audit.note(|| told(name::ROLE_REMOVED, row));
        Ok(())
    }

    /// Who holds this token.
    ///
    /// # Errors
    /// [`ControlError::Unauthenticated`], the same whether it is unknown, expired or malformed.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, ControlError> {
        let result = self.look_up(token).await;
        if matches!(result, Err(ControlError::Unauthenticated)) {
            metrics::counter!("control_authentication_failures_total").increment(1);
        }
        result
    }

    async fn look_up(&self, token: &str) -> Result<Caller, ControlError> {
        if !TOKEN_BYTES.contains(&token.len()) {
            return Err(ControlError::Unauthenticated);
        }
        let sha256 = hash(token);
        let now = self.world.clock.boot();
        let (caller, expires_ms) = if let Some(known) = self.recent.get(&sha256, now) {
            known
        } else {
            let found = self.read(&sha256).await?;
            self.recent.put(sha256, found.clone(), now);
            found
        };
        if expires_ms.is_some_and(|end| end <= self.world.clock.wall().unix_ms()) {
            return Err(ControlError::Unauthenticated);
        }
        Ok(caller)
    }

    /// The principal of that id, as it is now.
    ///
    /// # Errors
    /// [`ControlError::Unauthenticated`] if there is none or its token has ended.
    pub async fn by_id(&self, id: PrincipalId) -> Result<Caller, ControlError> {
        let now = self.world.clock.boot();
        let (caller, expires_ms) = if let Some(known) = self.by_id.get(&id, now) {
            known
        } else {
            let row = self.catalog.principal(id).await?.ok_or(ControlError::Unauthenticated)?;
            let found = self.caller(row);
            self.by_id.put(id, found.clone(), now);
            found
        };
        if expires_ms.is_some_and(|end| end <= self.world.clock.wall().unix_ms()) {
            return Err(ControlError::Unauthenticated);
        }
        Ok(caller)
    }

    fn forget(&self) {
        self.recent.clear();
        self.by_id.clear();
    }

    async fn read(&self, sha256: &[u8; 32]) -> Result<(Caller, Option<i64>), ControlError> {
        // Compared in constant time there.
        let row = self.catalog.principal_by_token(sha256).await?.ok_or(ControlError::Unauthenticated)?;
        Ok(self.caller(row))
    }

    fn caller(&self, row: PrincipalRow) -> (Caller, Option<i64>) {
        let role = self.roles.get(&row.role).cloned().unwrap_or_else(|| {
            tracing::warn!(principal = %row.id, "principal has a role nobody knows: it may do nothing");
            Arc::new(Role::nothing(&row.role))
        });
        (Caller { principal: row.id, name: row.name, role, scope: row.scope }, row.expires_ms)
    }

    fn mint(&self) -> String {
        let mut secret = [0; 32];
        self.world.rng.fill(&mut secret);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
    }

    fn row(&self, name: String, role: &str, scope: Scope, token_sha256: [u8; 32], expires_ms: Option<i64>) -> PrincipalRow {
        let (ms, random) = self.world.id_seed();
        let created_ms = self.world.clock.wall().unix_ms();
        PrincipalRow { id: PrincipalId::mint(ms, random), name, token_sha256, role: role.to_owned(), scope, created_ms, expires_ms }
    }
}

fn told(event: &'static str, row: &PrincipalRow) -> Event {
    let event = Event::new(event).with("principal", row.id.to_string()).with("name", row.name.as_str()).with("role", row.role.as_str());
    match row.scope {
        Scope::Workspace(workspace) => event.workspace(workspace),
        Scope::All => event.with("expiresMs", row.expires_ms),
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn check_token(token: String) -> Result<String, ControlError> {
    if TOKEN_BYTES.contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err(ControlError::Invalid { what: "the admin token", why: "16 to 256 visible ASCII characters are allowed" })
    }
}
