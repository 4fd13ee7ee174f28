//! Who has which role where: given and taken by those who may, and told.

use std::sync::Arc;

use strongroom_catalog::{AssignmentRow, Catalog, CatalogError, RoleRow};
use strongroom_model::{ObjectId, PrincipalId};
use strongroom_world::World;

use crate::audit::{Event, Scribe, name};
use crate::{Caller, ControlError, Principals, Role, Roles, ScopePath, action, audit};

/// Rights and roles that somebody made, at most.
const RIGHTS_MAX: usize = 20_000;
const ROLES_MAX: usize = 1_000;
/// Patterns of a role, and bytes of one.
const PATTERNS_MAX: usize = 200;
const PATTERN_BYTES_MAX: usize = 256;

/// What makes or changes a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleAsk {
    /// Its name.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// What it allows.
    pub actions: Vec<String>,
    /// What it does not allow even so.
    pub not_actions: Vec<String>,
    /// Where it may be given.
    pub scopes: Vec<String>,
}

/// The rights of a catalog.
#[derive(Debug)]
pub struct Rights {
    world: World,
    catalog: Catalog,
    roles: Arc<Roles>,
    principals: Arc<Principals>,
    audit: audit::Desk,
}

impl Rights {
    /// The rights of a catalog.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, roles: Arc<Roles>, principals: Arc<Principals>) -> Self {
        Self { world, catalog, roles, principals, audit: audit::Desk::default() }
    }

    /// Has every right that is given or taken told to a scribe.
    pub fn audited_by(&self, scribe: Arc<dyn Scribe>) {
        self.audit.seat(scribe);
    }

    /// The rights that hold at a place, above it and below it, as far as the caller may see them.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, caller: &Caller, at: &ScopePath) -> Result<Vec<AssignmentRow>, ControlError> {
        let mut all = self.catalog.assignments().await?;
        all.retain(|row| {
            let scope = ScopePath::of(&row.scope);
            scope.touches(at) && caller.may(action::ROLES_READ, if scope.covers(at) { at } else { &scope })
        });
        Ok(all)
    }

    /// One right of exactly that place.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::NotFound`].
    pub async fn get(&self, caller: &Caller, at: &ScopePath, id: &str) -> Result<AssignmentRow, ControlError> {
        caller.check(action::ROLES_READ, at)?;
        self.find(at, id).await?.ok_or_else(|| absent(id))
    }

    async fn find(&self, at: &ScopePath, id: &str) -> Result<Option<AssignmentRow>, ControlError> {
        let Ok(id) = id.parse::<ObjectId>() else { return Ok(None) };
        Ok(self.catalog.assignment(id).await?.filter(|row| row.scope == at.as_str()))
    }

    /// Gives a role; the same again changes nothing. Whether it is new.
    ///
    /// # Errors
    /// V8: [`ControlError::Forbidden`] for whoever may not give roles there. [`ControlError::Invalid`] for an unknown role or principal,
    /// or a role that may not be given there; [`ControlError::Conflict`] if the id says something else already.
    pub async fn put(
        &self,
        caller: &Caller,
        at: &ScopePath,
        id: &str,
        principal: PrincipalId,
        role: &str,
    ) -> Result<(AssignmentRow, bool), ControlError> {
        caller.check(action::ROLES_WRITE, at)?;
        let invalid = |what, why| ControlError::Invalid { what, why };
        let id: ObjectId = id.parse().map_err(|_| invalid("roleAssignmentName", "a GUID is needed"))?;
        let last = role.rsplit('/').next().unwrap_or_default();
        let role = self.roles.named(&self.catalog, last).await?.ok_or_else(|| invalid("roleDefinitionId", "there is no such role"))?;
        if self.catalog.principal(principal).await?.is_none() {
            return Err(invalid("principalId", "there is no such principal"));
        }
        if !role.may_lie(at) {
            return Err(invalid("roleDefinitionId", "the role may not be given at this scope: see its assignableScopes"));
        }
        let held = self.catalog.assignments().await?;
        let same = |row: &&AssignmentRow| row.principal == principal && row.role == role.id && row.scope == at.as_str();
        if let Some(row) = held.iter().find(|row| row.id == id) {
            if same(&row) {
                return Ok((row.clone(), false));
            }
            return Err(ControlError::Conflict { why: "a role assignment cannot be changed: delete it, and make another" });
        }
        if held.iter().any(|row| same(&row)) {
            return Err(ControlError::Conflict { why: "the role assignment already exists" });
        }
        if held.len() >= RIGHTS_MAX {
            return Err(ControlError::TooMany { what: "role assignments", max: RIGHTS_MAX });
        }
        let row = AssignmentRow { id, ..self.principals.right(principal, role.id, at, Some(caller.principal)) };
        self.catalog.assignment_insert(&row).await?;
        self.principals.forget();
        tracing::info!(%principal, role = role.name, scope = %at, by = %caller.principal, "role assigned");
        self.audit.note(|| told(name::ROLE_ASSIGNED, &row, &role.name, caller));
        Ok((row, true))
    }

    /// Takes a role away; what was there.
    ///
    /// # Errors
    /// V8; [`ControlError::Conflict`] for the last right that lets anybody do everything.
    pub async fn delete(&self, caller: &Caller, at: &ScopePath, id: &str) -> Result<Option<AssignmentRow>, ControlError> {
        caller.check(action::ROLES_DELETE, at)?;
        let _alone = self.principals.taking().await;
        let Some(row) = self.find(at, id).await? else { return Ok(None) };
        self.principals.somebody_rules(|right| right.id != row.id).await?;
        self.catalog.assignment_delete(row.id).await?;
        self.principals.forget();
        let role = self.roles.by_id(&self.catalog, row.role).await?;
        let role = role.map_or_else(|| row.role.to_string(), |role| role.name.clone());
        tracing::info!(principal = %row.principal, role, scope = %at, by = %caller.principal, "role removed");
        self.audit.note(|| told(name::ROLE_REMOVED, &row, &role, caller));
        Ok(Some(row))
    }

    /// The roles that may be given at a place.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`], [`ControlError::NotFound`]; what the catalog says.
    pub async fn roles(&self, caller: &Caller, at: &ScopePath) -> Result<Vec<Arc<Role>>, ControlError> {
        caller.check(action::ROLE_DEFINITIONS_READ, at)?;
        let mut all = self.roles.all(&self.catalog).await?;
        all.retain(|role| role.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| ScopePath::of(scope).touches(at))));
        Ok(all)
    }

    /// Makes a role, or changes one that somebody made.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] unless the caller may define roles wherever it may be given; [`ControlError::Invalid`];
    /// [`ControlError::Conflict`] for a built-in one, or a name that is taken.
    pub async fn role_put(&self, caller: &Caller, at: &ScopePath, id: &str, ask: RoleAsk) -> Result<Arc<Role>, ControlError> {
        caller.check(action::ROLE_DEFINITIONS_WRITE, at)?;
        let invalid = |what, why| ControlError::Invalid { what, why };
        let id: ObjectId = id.parse().map_err(|_| invalid("roleDefinitionId", "a GUID is needed"))?;
        if ask.name.is_empty() || ask.name.len() > 128 || ask.name.chars().any(char::is_control) {
            return Err(invalid("roleName", "1 to 128 bytes without control characters are allowed"));
        }
        if ask.description.len() > 1_024 {
            return Err(invalid("description", "1024 bytes are allowed"));
        }
        let patterns = ask.actions.iter().chain(&ask.not_actions);
        let fine = |text: &String| (1..=PATTERN_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if ask.actions.is_empty() || patterns.clone().count() > PATTERNS_MAX || !patterns.clone().all(fine) {
            return Err(invalid("permissions", "one action at least, and 200 of 256 visible ASCII characters in all, are allowed"));
        }
        if ask.scopes.is_empty() || ask.scopes.len() > 100 {
            return Err(invalid("assignableScopes", "1 to 100 places are needed"));
        }
        let mut scopes = Vec::with_capacity(ask.scopes.len());
        for scope in &ask.scopes {
            let scope = ScopePath::read(scope).ok_or_else(|| invalid("assignableScopes", "a scope is / or /subscriptions/…"))?;
            // Else a right to define roles somewhere would be one everywhere.
            caller.check(action::ROLE_DEFINITIONS_WRITE, &scope)?;
            scopes.push(scope.to_string());
        }
        let made = self.catalog.roles().await?;
        if self.roles.iter().any(|role| role.id == id || role.name.eq_ignore_ascii_case(&ask.name)) {
            return Err(ControlError::Conflict { why: "a built-in role cannot be changed, nor its name be taken" });
        }
        match made.iter().find(|row| row.id == id) {
            // Who may define it here may not be the one who may define it there.
            Some(old) => {
                // What cannot be read is anywhere's.
                for scope in serde_json::from_str::<Vec<String>>(&old.scopes).unwrap_or_else(|_| vec!["/".to_owned()]) {
                    let scope = ScopePath::of(&scope);
                    if !caller.sees(&scope) {
                        return Err(ControlError::Conflict { why: "the id is that of another role definition, which you may not change" });
                    }
                    caller.check(action::ROLE_DEFINITIONS_WRITE, &scope)?;
                }
            }
            None if made.len() >= ROLES_MAX => return Err(ControlError::TooMany { what: "role definitions", max: ROLES_MAX }),
            None => {}
        }
        let json = |list: &[String]| serde_json::Value::from(list.to_vec()).to_string();
        let row = RoleRow {
            id,
            name: ask.name,
            description: ask.description,
            actions: json(&ask.actions),
            not_actions: json(&ask.not_actions),
            scopes: json(&scopes),
            changed_ms: self.world.clock.wall().unix_ms(),
        };
        self.catalog.role_put(&row).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "a role of that name exists" },
            other => other.into(),
        })?;
        self.principals.forget();
        self.audit.note(|| {
            Event::new(name::ROLE_DEFINED).by(caller.principal).with("role", row.name.as_str()).with("actions", row.actions.as_str())
        });
        let role = self.roles.by_id(&self.catalog, id).await?;
        role.ok_or_else(|| absent(&id.to_string()))
    }

    /// Deletes a role that somebody made and nobody has; what it was.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`]; [`ControlError::Conflict`] while somebody has it, and for a built-in one.
    pub async fn role_delete(&self, caller: &Caller, at: &ScopePath, id: &str) -> Result<Option<Arc<Role>>, ControlError> {
        caller.check(action::ROLE_DEFINITIONS_DELETE, at)?;
        let Ok(id) = id.parse::<ObjectId>() else { return Ok(None) };
        let Some(role) = self.roles.by_id(&self.catalog, id).await? else { return Ok(None) };
        let Some(scopes) = &role.scopes else {
            return Err(ControlError::Conflict { why: "a built-in role cannot be deleted" });
        };
        // One that may be given only where the caller sees nothing is as if it were not there; no place of another's is named.
        let scopes: Vec<ScopePath> = scopes.iter().map(|scope| ScopePath::of(scope)).collect();
        if !scopes.iter().any(|scope| caller.sees(scope)) {
            return Ok(None);
        }
        if !scopes.iter().all(|scope| caller.may(action::ROLE_DEFINITIONS_DELETE, scope)) {
            return Err(caller.forbidden(action::ROLE_DEFINITIONS_DELETE, at));
        }
        self.catalog.role_delete(id).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "somebody has the role: take it from them first" },
            other => other.into(),
        })?;
        self.audit.note(|| Event::new(name::ROLE_DELETED).by(caller.principal).with("role", role.name.as_str()));
        Ok(Some(role))
    }
}

fn absent(id: &str) -> ControlError {
    ControlError::NotFound { what: "role assignment or definition", name: id.to_owned() }
}

fn told(event: &'static str, row: &AssignmentRow, role: &str, by: &Caller) -> Event {
    Event::new(event).by(by.principal).with("principal", row.principal.to_string()).with("role", role).with("scope", row.scope.as_str())
}
