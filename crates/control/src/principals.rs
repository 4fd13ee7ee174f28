//! Principals and their tokens: `srt_` and base64url of 32 random bytes, stored as SHA-256 alone; or signed ones, which say who, while
//! the catalog says what.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use strongroom_catalog::{AssignmentRow, Catalog, PrincipalRow, Scope};
use strongroom_model::{ObjectId, PrincipalId, WorkspaceId};
use strongroom_world::World;
use subtle::ConstantTimeEq as _;

use crate::audit::{self, Event, Scribe, name};
use crate::recent::Recent;
use crate::roles::OWNER;
use crate::{Caller, ControlConfig, ControlError, Grant, Roles, ScopePath};

/// The name of the principal that [`Principals::ensure_admin`] keeps; nobody else may take it.
pub const ADMIN: &str = "admin";

const PREFIX: &str = "srt_";
/// Bytes of a token that somebody chose: enough not to be guessed, little enough to hash at each request.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=256;
/// Bytes of a signed token at most.
const SIGNED_BYTES_MAX: usize = 16 << 10;
const TTL_MIN: Duration = Duration::from_mins(1);
const TTL_MAX: Duration = Duration::from_hours(10 * 366 * 24);

/// Reads tokens that are more than a random text: signed here, or by an issuer that is trusted.
#[async_trait]
pub trait TokenReader: fmt::Debug + Send + Sync {
    /// Whom a token speaks for, and until when, milliseconds since 1970. `None`: it is none of its own.
    ///
    /// # Errors
    /// [`ControlError::Unauthenticated`] for one of its own that is not valid.
    async fn read(&self, token: &str) -> Result<Option<(Bearer, i64)>, ControlError>;
}

/// Whom a signed token speaks for.
#[derive(Clone, Debug)]
pub enum Bearer {
    /// A principal of the catalog.
    Known(PrincipalId),
    /// Somebody an issuer vouches for, with the rights that the configuration gives them.
    Guest(Caller),
}

/// Of whom a token was read. Whom a signed one names is looked up each time by the id, which is kept a second too: two seconds after
/// each other would be more than is promised.
#[derive(Clone, Debug)]
enum Known {
    Whole(Caller),
    Named(PrincipalId),
}

/// A principal just made, with the token that is shown this once.
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
    recent: Recent<[u8; 32], (Known, Option<i64>)>,
    by_id: Recent<PrincipalId, (Caller, Option<i64>)>,
    readers: OnceLock<Vec<Arc<dyn TokenReader>>>,
    /// Those whom issuers vouched for, until their tokens end: questions under way ask for them by id.
    guests: Mutex<HashMap<PrincipalId, (Caller, i64)>>,
    /// Held from the question whether somebody is left who may do everything until the right is taken: two who take each other's at once
    /// would leave nobody.
    taking: tokio::sync::Mutex<()>,
    audit: audit::Desk,
}

impl Principals {
    /// The principals of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, roles: Arc<Roles>, config: ControlConfig) -> Self {
        let recent = Recent::new(Duration::from_millis(config.cache_ms.min(1_000)), config.cache_entries_max);
        let by_id = Recent::new(Duration::from_millis(config.cache_ms.min(1_000)), config.cache_entries_max);
        let (readers, guests, audit) = (OnceLock::new(), Mutex::default(), audit::Desk::default());
        Self { world, catalog, roles, config, recent, by_id, readers, guests, taking: tokio::sync::Mutex::default(), audit }
    }

    /// Whose signed tokens are believed. Once; a second time changes nothing.
    pub fn believe(&self, readers: Vec<Arc<dyn TokenReader>>) {
        drop(self.readers.set(readers));
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
        let known = |row: &&PrincipalRow| row.token_sha256.is_some_and(|hash| bool::from(hash.ct_eq(&sha256)));
        if !admins.iter().any(|row| known(&row)) {
            let row = self.row(ADMIN.to_owned(), Some(sha256), None);
            self.catalog.principal_insert(&row, Some(&self.right(row.id, OWNER, &ScopePath::root(), None))).await?;
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
        match scope {
            Scope::All => self.make(name, role, &ScopePath::root(), ttl, None).await,
            Scope::Workspace(id) => {
                let row = self.catalog.workspace(id).await?;
                let row = row.ok_or_else(|| ControlError::NotFound { what: "workspace", name: id.to_string() })?;
                self.make(name, role, &ScopePath::workspace(&row), ttl, Some(id)).await
            }
        }
    }

    /// Likewise, with a role at any place.
    ///
    /// # Errors
    /// As there.
    pub async fn create_at(
        &self,
        name: String,
        role: &str,
        at: &ScopePath,
        ttl: Option<Duration>,
    ) -> Result<CreatedPrincipal, ControlError> {
        self.make(name, role, at, ttl, None).await
    }

    async fn make(
        &self,
        name: String,
        role: &str,
        at: &ScopePath,
        ttl: Option<Duration>,
        workspace: Option<WorkspaceId>,
    ) -> Result<CreatedPrincipal, ControlError> {
        let unknown = ControlError::Invalid { what: "role", why: "not a known one: see GET /v1/roles" };
        let role = self.roles.named(&self.catalog, role).await?.ok_or(unknown)?;
        if !role.may_lie(at) {
            return Err(ControlError::Invalid { what: "role", why: "it may not be given at this scope: see its assignableScopes" });
        }
        self.check_new(&name).await?;
        if ttl.is_some_and(|ttl| !(TTL_MIN..=TTL_MAX).contains(&ttl)) {
            return Err(ControlError::Invalid { what: "ttl", why: "a minute to ten years are allowed" });
        }
        let token = self.mint();
        let expires_ms =
            ttl.map(|ttl| self.world.clock.wall().unix_ms().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        let row = self.row(name, Some(hash(&token)), expires_ms);
        self.catalog.principal_insert(&row, Some(&self.right(row.id, role.id, at, None))).await?;
        tracing::info!(principal = %row.id, role = role.name, "principal created");
        self.audit.note(|| {
            let event = told(name::ROLE_ASSIGNED, &row).with("role", role.name.as_str()).with("scope", at.as_str());
            workspace.map_or(event.clone(), |workspace| event.workspace(workspace))
        });
        Ok(CreatedPrincipal { id: row.id, token, expires_ms })
    }

    /// Makes a service: a principal that logs in for its tokens.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a bad name; [`ControlError::TooMany`].
    pub(crate) async fn create_service(&self, name: String) -> Result<PrincipalRow, ControlError> {
        self.check_new(&name).await?;
        let (ms, random) = self.world.id_seed();
        let row = PrincipalRow { client_id: Some(ObjectId::mint(ms, random)), ..self.row(name, None, None) };
        self.catalog.principal_insert(&row, None).await?;
        tracing::info!(principal = %row.id, "service principal created");
        self.audit.note(|| told(name::PRINCIPAL_CREATED, &row));
        Ok(row)
    }

    async fn check_new(&self, name: &str) -> Result<(), ControlError> {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(ControlError::Invalid { what: "name", why: "1 to 128 bytes without control characters are allowed" });
        }
        if name == ADMIN {
            return Err(ControlError::Conflict { why: "the name admin is the server's own" });
        }
        if self.catalog.principals().await?.len() >= self.config.principals_max {
            return Err(ControlError::TooMany { what: "principals", max: self.config.principals_max });
        }
        Ok(())
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
        let Some(row) = self.catalog.principal(id).await? else {
            return Err(ControlError::NotFound { what: "principal", name: id.to_string() });
        };
        let _alone = self.taking().await;
        self.somebody_rules(|right| right.principal != id).await?;
        let there = self.catalog.principal_delete(id).await?;
        self.forget();
        if !there {
            return Err(ControlError::NotFound { what: "principal", name: id.to_string() });
        }
        tracing::info!(principal = %id, "principal deleted");
        self.audit.note(|| told(name::ROLE_REMOVED, &row));
        Ok(())
    }

    /// To be held while rights are taken away; see the field.
    pub(crate) async fn taking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.taking.lock().await
    }

    /// Refuses if none of the rights that `stay` leaves somebody who holds a token for good and may do everything.
    pub(crate) async fn somebody_rules(&self, stay: impl Fn(&AssignmentRow) -> bool) -> Result<(), ControlError> {
        let all = self.catalog.principals().await?;
        let rules = |right: &AssignmentRow| {
            right.role == OWNER
                && right.scope == "/"
                && all.iter().any(|row| row.id == right.principal && row.token_sha256.is_some() && row.expires_ms.is_none())
        };
        let rights = self.catalog.assignments().await?;
        if rights.iter().any(rules) && !rights.iter().any(|right| rules(right) && stay(right)) {
            return Err(ControlError::Conflict { why: "the last owner of everything stays: make another one first" });
        }
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
        let signed = token.starts_with("eyJ") && token.split('.').count() == 3;
        if !(TOKEN_BYTES.contains(&token.len()) || (signed && token.len() <= SIGNED_BYTES_MAX)) {
            return Err(ControlError::Unauthenticated);
        }
        let sha256 = hash(token);
        let now = self.world.clock.boot();
        let (known, expires_ms) = if let Some(recent) = self.recent.get(&sha256, now) {
            recent
        } else {
            let found = if signed { self.read_signed(token).await? } else { self.read(&sha256).await? };
            self.recent.put(sha256, found.clone(), now);
            found
        };
        if expires_ms.is_some_and(|end| end <= self.world.clock.wall().unix_ms()) {
            return Err(ControlError::Unauthenticated);
        }
        match known {
            Known::Whole(caller) => Ok(caller),
            Known::Named(id) => self.by_id(id).await,
        }
    }

    async fn read_signed(&self, token: &str) -> Result<(Known, Option<i64>), ControlError> {
        for reader in self.readers.get().into_iter().flatten() {
            let Some((bearer, until_ms)) = reader.read(token).await? else { continue };
            let known = match bearer {
                Bearer::Known(id) => Known::Named(id),
                Bearer::Guest(guest) => Known::Whole(self.receive(guest, until_ms)),
            };
            return Ok((known, Some(until_ms)));
        }
        Err(ControlError::Unauthenticated)
    }

    fn receive(&self, guest: Caller, until_ms: i64) -> Caller {
        let now_ms = self.world.clock.wall().unix_ms();
        let mut guests = self.guests.lock();
        if guests.len() >= self.config.cache_entries_max {
            guests.retain(|_, (_, until_ms)| now_ms < *until_ms);
            if guests.len() >= self.config.cache_entries_max {
                guests.clear();
            }
        }
        guests.insert(guest.principal, (guest.clone(), until_ms));
        guest
    }

    /// The principal of that id, as it is now.
    ///
    /// # Errors
    /// [`ControlError::Unauthenticated`] if there is none or its token has ended.
    pub async fn by_id(&self, id: PrincipalId) -> Result<Caller, ControlError> {
        let now = self.world.clock.boot();
        let (caller, expires_ms) = if let Some(known) = self.by_id.get(&id, now) {
            known
        } else if let Some(row) = self.catalog.principal(id).await? {
            let found = self.caller(row).await?;
            self.by_id.put(id, found.clone(), now);
            found
        } else {
            let guest = self.guests.lock().get(&id).cloned();
            let (caller, until_ms) = guest.ok_or(ControlError::Unauthenticated)?;
            (caller, Some(until_ms))
        };
        if expires_ms.is_some_and(|end| end <= self.world.clock.wall().unix_ms()) {
            return Err(ControlError::Unauthenticated);
        }
        Ok(caller)
    }

    /// Forgets what was remembered: somebody's rights have changed.
    pub(crate) fn forget(&self) {
        self.recent.clear();
        self.by_id.clear();
    }

    async fn read(&self, sha256: &[u8; 32]) -> Result<(Known, Option<i64>), ControlError> {
        // Compared in constant time there.
        let row = self.catalog.principal_by_token(sha256).await?.ok_or(ControlError::Unauthenticated)?;
        let (caller, expires_ms) = self.caller(row).await?;
        Ok((Known::Whole(caller), expires_ms))
    }

    async fn caller(&self, row: PrincipalRow) -> Result<(Caller, Option<i64>), ControlError> {
        let mut grants = Vec::new();
        for right in self.catalog.assignments_of(row.id).await? {
            let scope = ScopePath::of(&right.scope);
            match self.roles.by_id(&self.catalog, right.role).await? {
                Some(role) if role.may_lie(&scope) => grants.push(Grant { role, scope }),
                Some(role) => tracing::warn!(principal = %row.id, role = role.name, %scope, "a role gives no right outside of its scopes"),
                None => tracing::warn!(principal = %row.id, role = %right.role, "a role that nobody knows gives no right"),
            }
        }
        Ok((Caller::new(row.id, row.name, grants), row.expires_ms))
    }

    pub(crate) fn right(&self, principal: PrincipalId, role: ObjectId, at: &ScopePath, by: Option<PrincipalId>) -> AssignmentRow {
        let (ms, random) = self.world.id_seed();
        let created_ms = self.world.clock.wall().unix_ms();
        AssignmentRow { id: ObjectId::mint(ms, random), principal, role, scope: at.to_string(), created_ms, created_by: by }
    }

    fn mint(&self) -> String {
        let mut secret = [0; 32];
        self.world.rng.fill(&mut secret);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
    }

    fn row(&self, name: String, token_sha256: Option<[u8; 32]>, expires_ms: Option<i64>) -> PrincipalRow {
        let (ms, random) = self.world.id_seed();
        let created_ms = self.world.clock.wall().unix_ms();
        PrincipalRow { id: PrincipalId::mint(ms, random), name, token_sha256, client_id: None, created_ms, expires_ms }
    }
}

fn told(event: &'static str, row: &PrincipalRow) -> Event {
    Event::new(event).with("principal", row.id.to_string()).with("name", row.name.as_str()).with("expiresMs", row.expires_ms)
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
