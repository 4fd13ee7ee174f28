//! All that a vault knows but private keys, and the rules of changing it. Pure: no clock, no disk.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::config::VaultConfig;
use crate::key::{Changes, Deleted, Key, Version, VersionId, key_of};
use crate::refusal::Refusal;
use crate::rights::{Permission, PermissionModel, Role};
use crate::rotation::{Due, Policy};

/// Days that a deleted key can be recovered.
const RETENTION_DAYS: std::ops::RangeInclusive<u8> = 7..=90;
const DAY_S: i64 = 86_400;

/// How somebody shows who they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Login {
    /// By assertions signed with this key: EC P-256, PEM.
    Key(String),
    /// By a client secret that the vault minted; its SHA-256.
    Secret([u8; 32]),
    /// By tokens of this issuer, which the configuration trusts.
    Issuer(String),
}

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "IdentityOfAnyFormat")]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) login: Login,
    /// New with each login: a token of an earlier registration is none.
    pub(crate) registration: Uuid,
}

/// Format 1 knew keys alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityOfAnyFormat {
    name: String,
    login: Option<Login>,
    public_key_pem: Option<String>,
    registration: Uuid,
}

impl TryFrom<IdentityOfAnyFormat> for Identity {
    type Error = &'static str;
    fn try_from(read: IdentityOfAnyFormat) -> Result<Self, Self::Error> {
        let login = read.login.or(read.public_key_pem.map(Login::Key)).ok_or("an identity without a login")?;
        Ok(Self { name: read.name, login, registration: read.registration })
    }
}

/// What can be switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Properties {
    pub(crate) soft_delete: bool,
    pub(crate) purge_protection: bool,
    pub(crate) retention_days: u8,
    pub(crate) permission_model: PermissionModel,
}

/// What `PATCH /vault` asks for.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PropertyChanges {
    pub(crate) enable_soft_delete: Option<bool>,
    pub(crate) enable_purge_protection: Option<bool>,
    pub(crate) soft_delete_retention_in_days: Option<u8>,
    pub(crate) permission_model: Option<PermissionModel>,
}

impl Default for Properties {
    /// Soft delete and purge protection have to be switched on.
    fn default() -> Self {
        Self {
            soft_delete: false,
            purge_protection: false,
            retention_days: *RETENTION_DAYS.end(),
            permission_model: PermissionModel::default(),
        }
    }
}

impl Properties {
    pub(crate) fn change(&mut self, changes: PropertyChanges) -> Result<(), Refusal> {
        let soft_delete = changes.enable_soft_delete.unwrap_or(self.soft_delete);
        let purge_protection = changes.enable_purge_protection.unwrap_or(self.purge_protection);
        let retention_days = changes.soft_delete_retention_in_days.unwrap_or(self.retention_days);
        if self.soft_delete && !soft_delete {
            return Err(Refusal::bad("The property \"enableSoftDelete\" cannot be set to false: soft delete is irreversible."));
        }
        if self.purge_protection && !purge_protection {
            return Err(Refusal::bad(
                "The property \"enablePurgeProtection\" cannot be set to false. Enabling the purge protection for a vault is an \
                 irreversible action.",
            ));
        }
        if purge_protection && !soft_delete {
            return Err(Refusal::bad("Purge protection needs soft delete: switch on \"enableSoftDelete\" with it."));
        }
        if !RETENTION_DAYS.contains(&retention_days) {
            return Err(Refusal::bad("softDeleteRetentionInDays must be between 7 and 90."));
        }
        if self.soft_delete && retention_days != self.retention_days {
            return Err(Refusal::bad("softDeleteRetentionInDays cannot be changed once soft delete is on."));
        }
        *self = Self {
            soft_delete,
            purge_protection,
            retention_days,
            permission_model: changes.permission_model.unwrap_or(self.permission_model),
        };
        Ok(())
    }

    /// Azure's word for how far a key of this vault can be lost.
    pub(crate) fn recovery_level(self) -> &'static str {
        match (self.soft_delete, self.purge_protection, self.retention_days < *RETENTION_DAYS.end()) {
            (false, _, _) => "Purgeable",
            (true, false, false) => "Recoverable+Purgeable",
            (true, false, true) => "CustomizedRecoverable+Purgeable",
            (true, true, false) => "Recoverable",
            (true, true, true) => "CustomizedRecoverable",
        }
    }

    pub(crate) fn recoverable_days(self) -> u8 {
        if self.soft_delete { self.retention_days } else { 0 }
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) format: u16,
    pub(crate) tenant: Uuid,
    pub(crate) admin_sha256: [u8; 32],
    pub(crate) properties: Properties,
    pub(crate) identities: BTreeMap<Uuid, Identity>,
    #[serde(deserialize_with = "roles_of_any_format")]
    pub(crate) roles: BTreeMap<Uuid, BTreeSet<Role>>,
    /// Access policies.
    pub(crate) policies: BTreeMap<Uuid, BTreeSet<Permission>>,
    /// By [`key_of`] their names.
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) deleted: BTreeMap<String, Deleted>,
    /// Versions that are no more; their private keys are to be destroyed, or were. A backup of one may lie elsewhere.
    pub(crate) doomed: BTreeSet<VersionId>,
}

/// Format 1 knew one role, and listed who had it.
fn roles_of_any_format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Uuid, BTreeSet<Role>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Read {
        Those(BTreeSet<Uuid>),
        Each(BTreeMap<Uuid, BTreeSet<Role>>),
    }
    Ok(match Read::deserialize(deserializer)? {
        Read::Those(who) => who.into_iter().map(|id| (id, BTreeSet::from([Role::ServiceEncryptionUser]))).collect(),
        Read::Each(roles) => roles,
    })
}

impl State {
    /// What this build writes; it reads every earlier one, too.
    pub(crate) const FORMAT: u16 = 2;

    /// The state that some build wrote, as this one's.
    pub(crate) fn read(text: &[u8]) -> Result<Self, &'static str> {
        let mut state: Self = serde_json::from_slice(text).map_err(|_| "another build wrote it")?;
        if !(1..=Self::FORMAT).contains(&state.format) {
            return Err("a newer build wrote it");
        }
        state.format = Self::FORMAT;
        Ok(state)
    }

    pub(crate) fn new(tenant: Uuid, admin_sha256: [u8; 32]) -> Self {
        Self {
            format: Self::FORMAT,
            tenant,
            admin_sha256,
            properties: Properties::default(),
            identities: BTreeMap::new(),
            roles: BTreeMap::new(),
            policies: BTreeMap::new(),
            keys: BTreeMap::new(),
            deleted: BTreeMap::new(),
            doomed: BTreeSet::new(),
        }
    }

    /// The principal that an id or a registered name means.
    pub(crate) fn principal(&self, text: &str) -> Result<Uuid, Refusal> {
        let by_id = Uuid::try_parse(text).ok().filter(|id| self.identities.contains_key(id));
        let by_name = || self.identities.iter().find(|(_, identity)| identity.name == text).map(|(id, _)| *id);
        by_id.or_else(by_name).ok_or_else(|| Refusal::not_found("No identity of this id or name is registered."))
    }

    /// Whether `principal` may do what needs `permission`.
    pub(crate) fn may(&self, principal: Uuid, permission: Permission) -> Result<(), Refusal> {
        let (allowed, inner) = match self.properties.permission_model {
            PermissionModel::Rbac => {
                let roles = self.roles.get(&principal);
                (roles.is_some_and(|roles| roles.iter().any(|role| role.allows(permission))), "ForbiddenByRbac")
            }
            PermissionModel::AccessPolicy => {
                (self.policies.get(&principal).is_some_and(|policy| policy.contains(&permission)), "AccessDenied")
            }
        };
        let name = permission.name();
        allowed
            .then_some(())
            .ok_or_else(|| Refusal::forbidden(inner, format!("Caller {principal} is not authorized: it lacks keys {name} permission.")))
    }

    /// What somebody is told whom nothing was granted, as a known principal would be.
    pub(crate) fn nothing_granted(&self, principal: &str) -> Refusal {
        let inner = match self.properties.permission_model {
            PermissionModel::Rbac => "ForbiddenByRbac",
            PermissionModel::AccessPolicy => "AccessDenied",
        };
        Refusal::forbidden(inner, format!("Caller {principal} is not authorized: the vault knows no identity of this id and issuer."))
    }

    /// Registers who may log in. The same login again changes the name alone and ends no token.
    pub(crate) fn put_identity(&mut self, id: Uuid, identity: Identity, config: &VaultConfig) -> Result<bool, Refusal> {
        let name = &identity.name;
        if name.is_empty() || name.len() > 127 || name.chars().any(char::is_control) || name == "admin" || Uuid::try_parse(name).is_ok() {
            return Err(Refusal::bad("name has 1 to 127 bytes without control characters, and is neither a GUID nor admin"));
        }
        if self.identities.iter().any(|(other, known)| *other != id && known.name == *name) {
            return Err(Refusal::conflict(None, "Another identity has this name."));
        }
        let full = self.identities.len() >= config.identities_max;
        match self.identities.get_mut(&id) {
            Some(known) if known.login == identity.login => known.name = identity.name,
            Some(known) => *known = identity,
            None if full => {
                return Err(Refusal::conflict(None, format!("This vault takes {} identities.", config.identities_max)));
            }
            None => {
                self.identities.insert(id, identity);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets who may log in, and what they were granted.
    pub(crate) fn remove_identity(&mut self, id: Uuid) -> Result<(), Refusal> {
        self.identities.remove(&id).ok_or_else(|| Refusal::not_found("No such identity is registered."))?;
        self.roles.remove(&id);
        self.policies.remove(&id);
        Ok(())
    }

    pub(crate) fn revoke(&mut self, principal: Uuid) -> Result<(), Refusal> {
        let role = self.roles.remove(&principal).is_some();
        let policy = self.policies.remove(&principal).is_some();
        if role || policy { Ok(()) } else { Err(Refusal::not_found("Nothing is granted to this principal.")) }
    }

    pub(crate) fn key(&self, name: &str) -> Result<&Key, Refusal> {
        self.keys.get(&key_of(name)?).ok_or_else(|| Refusal::no_key(name, None))
    }

    pub(crate) fn deleted_key(&self, name: &str) -> Result<&Deleted, Refusal> {
        let missing = || Refusal::new(axum::http::StatusCode::NOT_FOUND, "KeyNotFound", format!("Deleted Key not found: {name}"));
        self.deleted.get(&key_of(name)?).ok_or_else(missing)
    }

    /// Whether another version of `name` fits.
    pub(crate) fn has_room(&self, name: &str, config: &VaultConfig) -> Result<(), Refusal> {
        let id = key_of(name)?;
        if self.deleted.contains_key(&id) {
            return Err(Refusal::conflict(
                Some("ObjectIsDeletedButRecoverable"),
                format!(
                    "Key {name} is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the key can only be recovered or purged."
                ),
            ));
        }
        let (versions, keys) = (self.keys.get(&id).map_or(0, |key| key.versions.len()), self.keys.len() + self.deleted.len());
        if versions >= config.versions_max || (versions == 0 && keys >= config.keys_max) {
            let bounds = format!("This vault takes {} keys of {} versions.", config.keys_max, config.versions_max);
            return Err(Refusal::conflict(None, bounds));
        }
        Ok(())
    }

    /// Adds a version, the first one too.
    pub(crate) fn add(&mut self, name: &str, version: Version, config: &VaultConfig) -> Result<&Key, Refusal> {
        self.has_room(name, config)?;
        let key = self.keys.entry(key_of(name)?).or_insert_with(|| Key { name: name.to_owned(), versions: Vec::new(), rotation: None });
        key.versions.push(version);
        Ok(key)
    }

    pub(crate) fn update(&mut self, name: &str, version: Option<&str>, now: i64, changes: &Changes) -> Result<(), Refusal> {
        let id = self.key(name)?.version(version)?.id;
        let key = self.keys.get_mut(&key_of(name)?).expect("it was just found");
        key.versions.iter_mut().find(|version| version.id == id).expect("it was just found").change(now, changes)
    }

    pub(crate) fn set_policy(&mut self, name: &str, policy: Policy) -> Result<(), Refusal> {
        self.key(name)?;
        self.keys.get_mut(&key_of(name)?).expect("it was just found").rotation = Some(policy);
        Ok(())
    }

    /// The keys whose policies want something done now.
    pub(crate) fn due(&self, now: i64) -> Vec<(String, Due)> {
        self.keys.values().filter_map(|key| Some((key.name.clone(), key.due(now)?))).collect()
    }

    /// Notes that it was told of a key that this version, its newest by then, expires soon: at that time, and not at another that
    /// somebody set meanwhile.
    pub(crate) fn told(&mut self, name: &str, version: VersionId, exp: Option<i64>) -> Result<(), Refusal> {
        self.key(name)?;
        let key = self.keys.get_mut(&key_of(name)?).expect("it was just found");
        if let Some(version) = key.versions.iter_mut().find(|known| known.id == version && known.exp == exp) {
            version.told = true;
        }
        Ok(())
    }

    /// Takes back a key that left as a backup.
    pub(crate) fn restore(&mut self, key: Key, config: &VaultConfig) -> Result<&Key, Refusal> {
        let id = key_of(&key.name)?;
        if self.keys.contains_key(&id) {
            return Err(Refusal::conflict(None, format!("The name '{}' is already in use.", key.name)));
        }
        self.has_room(&key.name, config)?;
        if key.versions.is_empty() || key.versions.len() > config.versions_max {
            return Err(Refusal::conflict(None, format!("This vault takes keys of 1 to {} versions.", config.versions_max)));
        }
        let known: BTreeSet<VersionId> = self.versions().map(|version| version.id).chain(self.doomed.iter().copied()).collect();
        if key.versions.iter().any(|version| known.contains(&version.id)) {
            return Err(Refusal::conflict(None, "A version of this key is still in the vault, or is being destroyed."));
        }
        Ok(self.keys.entry(id).or_insert(key))
    }

    /// Deletes a key: recoverable if soft delete is on, else for good.
    pub(crate) fn delete(&mut self, name: &str, now: i64) -> Result<Key, Refusal> {
        let id = key_of(name)?;
        let key = self.keys.remove(&id).ok_or_else(|| Refusal::no_key(name, None))?;
        if !self.properties.soft_delete {
            self.doom(&key);
            return Ok(key);
        }
        let purge = now + i64::from(self.properties.retention_days) * DAY_S;
        self.deleted.insert(id, Deleted { key: key.clone(), at: now, purge });
        Ok(key)
    }

    pub(crate) fn recover(&mut self, name: &str) -> Result<&Key, Refusal> {
        self.deleted_key(name)?;
        let id = key_of(name)?;
        let deleted = self.deleted.remove(&id).expect("it was just found");
        Ok(self.keys.entry(id).or_insert(deleted.key))
    }

    /// Destroys a deleted key at its owner's word.
    pub(crate) fn purge(&mut self, name: &str) -> Result<(), Refusal> {
        self.deleted_key(name)?;
        if self.properties.purge_protection {
            return Err(Refusal::forbidden(
                "ForbiddenByPolicy",
                "Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically \
                 purge it after the retention period has passed.",
            ));
        }
        let deleted = self.deleted.remove(&key_of(name)?).expect("it was just found");
        self.doom(&deleted.key);
        Ok(())
    }

    /// Destroys what was deleted long enough ago.
    pub(crate) fn purge_due(&mut self, now: i64) {
        let due: Vec<String> = self.deleted.iter().filter(|(_, deleted)| deleted.purge <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            if let Some(deleted) = self.deleted.remove(&id) {
                self.doom(&deleted.key);
            }
        }
    }

    fn doom(&mut self, key: &Key) {
        self.doomed.extend(key.versions.iter().map(|version| version.id));
    }

    /// Every version there is.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> {
        let keys = self.keys.values().chain(self.deleted.values().map(|deleted| &deleted.key));
        keys.flat_map(|key| &key.versions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the first build wrote it.
    const FORMAT_1: &str = r#"{"format":1,"tenant":"00000000-0000-0000-0000-000000000009","admin_sha256":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,
        1,1,1,1,1,1,1,1,1,1,1,1,1,1],"properties":{"soft_delete":true,"purge_protection":true,"retention_days":90,"permission_model":"rbac"},
        "identities":{"00000000-0000-0000-0000-000000000001":{"name":"cluster-1","public_key_pem":"PEM",
        "registration":"00000000-0000-0000-0000-000000000002"}},"roles":["00000000-0000-0000-0000-000000000001"],
        "policies":{"00000000-0000-0000-0000-000000000001":["get","wrapKey","unwrapKey"]},"keys":{"k":{"name":"K","versions":[{
        "id":"07070707070707070707070707070707","created":1000,"updated":1000,"enabled":true,"nbf":null,"exp":null,
        "key_ops":["encrypt","decrypt","wrapKey","unwrapKey"],"tags":{},"public":{"n":"_w","e":"AQAB"}}]}},"deleted":{},"doomed":[]}"#;

    /// A private key that the disk did not let go of is destroyed with the next change: that of a key which came back would be.
    #[test]
    fn a_key_is_not_taken_back_while_its_private_key_is_still_to_be_destroyed() {
        let mut state = State::read(FORMAT_1.as_bytes()).unwrap();
        state.properties.soft_delete = false;
        let key = state.delete("K", 0).unwrap();
        let config = VaultConfig::default();
        assert_eq!(state.restore(key.clone(), &config).unwrap_err().status, 409);
        assert!(state.keys.is_empty());
        state.doomed.clear();
        assert_eq!(state.restore(key.clone(), &config), Ok(&key));
    }

    #[test]
    fn what_earlier_builds_wrote_is_read() {
        let state = State::read(FORMAT_1.as_bytes()).unwrap();
        let id = Uuid::from_u128(1);
        assert_eq!(state.identities[&id].login, Login::Key("PEM".into()));
        assert_eq!(state.may(id, Permission::UnwrapKey), Ok(()));
        assert!(state.may(id, Permission::Sign).is_err());
        assert_eq!((state.keys["k"].rotation.is_none(), state.keys["k"].newest().told), (true, false));
        let again = serde_json::to_vec(&state).unwrap();
        assert_eq!(State::read(&again).unwrap(), state);
        assert!(State::read(FORMAT_1.replace("\"format\":1", "\"format\":3").as_bytes()).is_err());
        assert!(State::read(FORMAT_1.replace("\"doomed\"", "\"damned\"").as_bytes()).is_err());
    }
}
