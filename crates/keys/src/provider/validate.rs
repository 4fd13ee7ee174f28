//! Whether a key will do: asked before a cluster is given it.

use std::fmt;

use strongroom_envelope::{Aek, RecordIds};
use strongroom_model::{AccountId, AekId, ObjectId};
use strongroom_world::World;

use super::{KeyFacts, KeyVault, VaultError};

/// Bits of an RSA modulus at least.
const RSA_BITS_MIN: u32 = 2048;

/// What a cluster's identity may do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyPermission {
    /// Read its attributes.
    Get,
    /// Wrap under it.
    WrapKey,
    /// Unwrap with it.
    UnwrapKey,
}

impl fmt::Display for KeyPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::WrapKey => "wrapKey",
            Self::UnwrapKey => "unwrapKey",
        })
    }
}

/// Why a key will not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyProblem {
    /// It could be lost for good: soft delete and purge protection are not both on.
    #[error("the key vault does not have both soft delete and purge protection on (recovery level {level})")]
    NotRecoverable {
        /// What the vault says.
        level: String,
    },
    /// No such key or version.
    #[error("the key vault has no such key or version")]
    KeyNotFound,
    /// It is disabled.
    #[error("the key is disabled")]
    KeyDisabled,
    /// Its time is over.
    #[error("the key has expired")]
    KeyExpired,
    /// Its time has not come.
    #[error("the key is not yet valid")]
    KeyNotYetValid,
    /// The cluster's identity lacks a permission.
    #[error("the cluster's identity lacks the permission {0}")]
    PermissionMissing(KeyPermission),
    /// It is not an RSA key.
    #[error("the key is not RSA")]
    NotRsa,
    /// Its modulus is too short.
    #[error("the key has {bits} bits; at least 2048 are needed")]
    KeyTooSmall {
        /// Its bits.
        bits: u32,
    },
    /// Something about it that its kind of vault alone knows.
    #[error("the key will not do: {what}")]
    NotSuitable {
        /// What is wrong with it.
        what: String,
    },
    /// The vault refuses the cluster's identity or network.
    #[error("the key vault refuses the cluster's identity or network: {code}")]
    VaultRefused {
        /// Why.
        code: &'static str,
    },
    /// The vault gave no usable answer.
    #[error("the key vault did not answer: {code}")]
    VaultUnreachable {
        /// Why.
        code: &'static str,
    },
    /// What was wrapped did not come back.
    #[error("a test key that was wrapped did not unwrap to itself: {code}")]
    RoundTripFailed {
        /// Why.
        code: &'static str,
    },
}

impl KeyProblem {
    /// The detail code for a reply: `KeyNotFound`, `PermissionMissing(get)`, …
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::NotRecoverable { .. } => "NotRecoverable".to_owned(),
            Self::KeyNotFound => "KeyNotFound".to_owned(),
            Self::KeyDisabled => "KeyDisabled".to_owned(),
            Self::KeyExpired => "KeyExpired".to_owned(),
            Self::KeyNotYetValid => "KeyNotYetValid".to_owned(),
            Self::PermissionMissing(permission) => format!("PermissionMissing({permission})"),
            Self::NotRsa => "NotRsa".to_owned(),
            Self::KeyTooSmall { .. } => "KeyTooSmall".to_owned(),
            Self::NotSuitable { .. } => "KeyNotSuitable".to_owned(),
            Self::VaultRefused { .. } => "VaultRefused".to_owned(),
            Self::VaultUnreachable { .. } => "VaultUnreachable".to_owned(),
            Self::RoundTripFailed { .. } => "RoundTripFailed".to_owned(),
        }
    }

    /// What an error of a call that needs `permission` says of the key.
    fn of(error: &VaultError, permission: KeyPermission) -> Self {
        match error {
            VaultError::Denied { code: "KeyNotFound" | "VersionNotFound" } => Self::KeyNotFound,
            VaultError::Denied { code: "KeyDisabled" | "VersionTooOld" | "KeyPendingDeletion" | "KeyPendingImport" } => Self::KeyDisabled,
            VaultError::Denied { .. } => Self::PermissionMissing(permission),
            VaultError::Refused { code } => Self::VaultRefused { code },
            VaultError::Expired { code: "KeyNotYetValid" } => Self::KeyNotYetValid,
            VaultError::Expired { .. } => Self::KeyExpired,
            VaultError::Unreachable { code, .. } => Self::VaultUnreachable { code },
            VaultError::NotAuthentic { .. }
            | VaultError::OtherKey { .. }
            | VaultError::UnknownProvider { .. }
            | VaultError::Unsupported { .. } => Self::RoundTripFailed { code: error.vault_code() },
        }
    }
}

/// Whether a key will do for a cluster: reachable, readable, enabled, in its dates, of a kind that is strong enough (RSA of 2048
/// bits or more, or what its vault has instead), recoverable where the vault has the notion, and a throw-away AEK comes back
/// from a wrap and an unwrap.
///
/// # Errors
/// [`KeyProblem`] with the first thing that is wrong.
pub async fn validate(vault: &dyn KeyVault, world: &World) -> Result<KeyFacts, KeyProblem> {
    let facts = vault.facts().await.map_err(|error| KeyProblem::of(&error, KeyPermission::Get))?;
    check(&facts, world.clock.wall().unix_ms())?;
    let seed = || world.id_seed();
    let ((aek_ms, aek_random), (account_ms, account_random), (cluster_ms, cluster_random)) = (seed(), seed(), seed());
    let aek = Aek::generate(AekId::mint(aek_ms, aek_random), world.rng.as_ref());
    let ids = RecordIds {
        cluster: ObjectId::mint(cluster_ms, cluster_random),
        account: AccountId::mint(account_ms, account_random),
        aek: aek.id(),
        generation: 1,
    };
    let wrapped = vault.wrap_key(&aek, &ids).await.map_err(|error| KeyProblem::of(&error, KeyPermission::WrapKey))?;
    vault.unwrap_key(&wrapped).await.map_err(|error| KeyProblem::of(&error, KeyPermission::UnwrapKey))?;
    Ok(facts)
}

fn check(facts: &KeyFacts, now_ms: i64) -> Result<(), KeyProblem> {
    if !facts.enabled {
        return Err(KeyProblem::KeyDisabled);
    }
    if facts.expires_ms.is_some_and(|expires| expires <= now_ms) {
        return Err(KeyProblem::KeyExpired);
    }
    if facts.not_before_ms.is_some_and(|not_before| not_before > now_ms) {
        return Err(KeyProblem::KeyNotYetValid);
    }
    if let Some(what) = &facts.unfit {
        return Err(KeyProblem::NotSuitable { what: what.clone() });
    }
    if facts.rsa_bits == 0 && !facts.is_symmetric() {
        return Err(KeyProblem::NotRsa);
    }
    if facts.rsa_bits < RSA_BITS_MIN && !facts.is_symmetric() {
        return Err(KeyProblem::KeyTooSmall { bits: facts.rsa_bits });
    }
    // `Purgeable`, `Recoverable+Purgeable`, `CustomizedRecoverable+Purgeable`: somebody could destroy it for good.
    if !facts.recovery_level.contains("Recoverable") || facts.recovery_level.contains("Purgeable") {
        return Err(KeyProblem::NotRecoverable { level: facts.recovery_level.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> KeyFacts {
        KeyFacts {
            newest: "b".to_owned(),
            used: "a".to_owned(),
            key_type: "RSA".to_owned(),
            rsa_bits: 2048,
            unfit: None,
            enabled: true,
            not_before_ms: Some(1_000),
            expires_ms: Some(2_000),
            recovery_level: "Recoverable".to_owned(),
            other_enabled: Vec::new(),
            newer_enabled: Vec::new(),
            versions_listed: true,
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_detail() {
        let detail = |facts: &KeyFacts, now| check(facts, now).map_err(|problem| problem.detail());
        assert_eq!(detail(&facts(), 1_000), Ok(()));
        assert_eq!(detail(&facts(), 1_999), Ok(()));
        assert_eq!(detail(&facts(), 2_000), Err("KeyExpired".to_owned()));
        assert_eq!(detail(&facts(), 999), Err("KeyNotYetValid".to_owned()));
        assert_eq!(detail(&KeyFacts { enabled: false, ..facts() }, 1_500), Err("KeyDisabled".to_owned()));
        assert_eq!(detail(&KeyFacts { rsa_bits: 0, ..facts() }, 1_500), Err("NotRsa".to_owned()));
        assert_eq!(detail(&KeyFacts { rsa_bits: 2047, ..facts() }, 1_500), Err("KeyTooSmall".to_owned()));
        assert_eq!(detail(&KeyFacts { key_type: "RSA-HSM".to_owned(), ..facts() }, 1_500), Ok(()));
        let symmetric = KeyFacts { key_type: "aes256-gcm96".to_owned(), rsa_bits: 0, ..facts() };
        assert_eq!(detail(&symmetric, 1_500), Ok(()));
        let unfit = KeyFacts { unfit: Some("it can be exported".to_owned()), ..symmetric };
        assert_eq!(detail(&unfit, 1_500), Err("KeyNotSuitable".to_owned()));
        for level in ["Purgeable", "Recoverable+Purgeable", "CustomizedRecoverable+Purgeable", "", "Something"] {
            let facts = KeyFacts { recovery_level: level.to_owned(), ..facts() };
            assert_eq!(detail(&facts, 1_500), Err("NotRecoverable".to_owned()), "{level}");
        }
        for level in ["Recoverable+ProtectedSubscription", "CustomizedRecoverable", "CustomizedRecoverable+ProtectedSubscription"] {
            assert_eq!(detail(&KeyFacts { recovery_level: level.to_owned(), ..facts() }, 1_500), Ok(()), "{level}");
        }
    }

    #[test]
    fn an_error_tells_which_permission_it_was_about() {
        let of = |error: VaultError| KeyProblem::of(&error, KeyPermission::UnwrapKey).detail();
        assert_eq!(of(VaultError::Denied { code: "ForbiddenByRbac" }), "PermissionMissing(unwrapKey)");
        assert_eq!(of(VaultError::Denied { code: "KeyDisabled" }), "KeyDisabled");
        assert_eq!(of(VaultError::Denied { code: "KeyNotFound" }), "KeyNotFound");
        assert_eq!(of(VaultError::Refused { code: "InvalidClient" }), "VaultRefused");
        assert_eq!(of(VaultError::Expired { code: "KeyExpired" }), "KeyExpired");
        assert_eq!(of(VaultError::Expired { code: "KeyNotYetValid" }), "KeyNotYetValid");
        assert_eq!(of(VaultError::Unreachable { code: "Dns", retry_after: None }), "VaultUnreachable");
        let wrong = VaultError::NotAuthentic { aek: AekId::NIL, code: "WrongCheckValue", source: None };
        assert_eq!(of(wrong), "RoundTripFailed");
    }
}
