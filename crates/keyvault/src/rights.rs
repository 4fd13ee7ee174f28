//! Who may do what: permissions, and the roles that bundle them. Azure's names throughout.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::key::KeyOp;
use crate::refusal::Refusal;

/// How rights are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PermissionModel {
    #[default]
    Rbac,
    AccessPolicy,
}

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Permission {
    Get,
    List,
    Create,
    Import,
    Update,
    Delete,
    Recover,
    Purge,
    Rotate,
    Encrypt,
    Decrypt,
    WrapKey,
    UnwrapKey,
    Sign,
    Verify,
    Backup,
    Restore,
    GetRotationPolicy,
    SetRotationPolicy,
}

impl Permission {
    pub(crate) const ALL: [(&'static str, Self); 19] = [
        ("get", Self::Get),
        ("list", Self::List),
        ("create", Self::Create),
        ("import", Self::Import),
        ("update", Self::Update),
        ("delete", Self::Delete),
        ("recover", Self::Recover),
        ("purge", Self::Purge),
        ("rotate", Self::Rotate),
        ("encrypt", Self::Encrypt),
        ("decrypt", Self::Decrypt),
        ("wrapKey", Self::WrapKey),
        ("unwrapKey", Self::UnwrapKey),
        ("sign", Self::Sign),
        ("verify", Self::Verify),
        ("backup", Self::Backup),
        ("restore", Self::Restore),
        ("getRotationPolicy", Self::GetRotationPolicy),
        ("setRotationPolicy", Self::SetRotationPolicy),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, permission)| *permission == self).expect("every permission is listed").0
    }

    pub(crate) fn parse_all(names: &[String]) -> Result<BTreeSet<Self>, Refusal> {
        let find = |name: &String| Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let known = || Self::ALL.map(|(name, _)| name).join(", ");
        if names.iter().any(|name| name.eq_ignore_ascii_case("all")) {
            return Ok(Self::ALL.iter().map(|(_, permission)| *permission).collect());
        }
        names
            .iter()
            .map(|name| find(name).map(|found| found.1).ok_or_else(|| Refusal::bad(format!("permissions are {}, or all", known()))))
            .collect()
    }

    /// What a use of a key needs.
    pub(crate) fn of(op: KeyOp) -> Self {
        match op {
            KeyOp::Encrypt => Self::Encrypt,
            KeyOp::Decrypt => Self::Decrypt,
            KeyOp::WrapKey => Self::WrapKey,
            KeyOp::Sign => Self::Sign,
            KeyOp::Verify => Self::Verify,
            _ => Self::UnwrapKey,
        }
    }
}

/// A built-in role of Azure, with its data actions on keys. Those for certificates, secrets and releases have nothing to
/// act on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Role {
    #[serde(rename = "Key Vault Administrator")]
    Administrator,
    #[serde(rename = "Key Vault Crypto Officer")]
    CryptoOfficer,
    #[serde(rename = "Key Vault Crypto User")]
    CryptoUser,
    /// Lets a cluster use its key.
    #[serde(rename = "Key Vault Crypto Service Encryption User")]
    ServiceEncryptionUser,
    #[serde(rename = "Key Vault Reader")]
    Reader,
}

impl Role {
    const ALL: [(&'static str, Self); 5] = [
        ("Key Vault Administrator", Self::Administrator),
        ("Key Vault Crypto Officer", Self::CryptoOfficer),
        ("Key Vault Crypto User", Self::CryptoUser),
        ("Key Vault Crypto Service Encryption User", Self::ServiceEncryptionUser),
        ("Key Vault Reader", Self::Reader),
    ];

    pub(crate) fn parse(name: &str) -> Result<Self, Refusal> {
        let known = || Self::ALL.map(|(name, _)| format!("\"{name}\"")).join(", ");
        let found = Self::ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, role)| *role).ok_or_else(|| Refusal::bad(format!("the roles are {}", known())))
    }

    /// Its data actions. `keys/read` is "list keys, or read properties and public material of a key".
    pub(crate) fn allows(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            // vaults/*, and vaults/keys/* with vaults/keyrotationpolicies/*.
            Self::Administrator | Self::CryptoOfficer => true,
            // keys/read, update, backup, encrypt, decrypt, wrap, unwrap, sign, verify.
            Self::CryptoUser => matches!(
                permission,
                P::Get | P::List | P::Update | P::Backup | P::Encrypt | P::Decrypt | P::WrapKey | P::UnwrapKey | P::Sign | P::Verify
            ),
            // keys/read, wrap, unwrap.
            Self::ServiceEncryptionUser => matches!(permission, P::Get | P::List | P::WrapKey | P::UnwrapKey),
            // vaults/*/read.
            Self::Reader => matches!(permission, P::Get | P::List | P::GetRotationPolicy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_hold_what_azures_hold() {
        let held = |role: Role| {
            let all = Permission::ALL.iter().filter(|(_, permission)| role.allows(*permission));
            all.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(held(Role::ServiceEncryptionUser), "get list wrapKey unwrapKey");
        assert_eq!(held(Role::CryptoUser), "get list update encrypt decrypt wrapKey unwrapKey sign verify backup");
        assert_eq!(held(Role::Reader), "get list getRotationPolicy");
        assert_eq!(held(Role::Administrator).split(' ').count(), Permission::ALL.len());
        assert_eq!(Role::parse("key vault crypto officer"), Ok(Role::CryptoOfficer));
        assert!(Role::parse("Owner").is_err());
        for (name, role) in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), name);
        }
    }
}
