//! Which call a method and a path mean. By hand, because versions may be empty: `/keys/{n}/` and `/keys/{n}//wrapkey`.

use axum::http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::key::KeyOp;
use crate::refusal::Refusal;
use crate::rights::Permission;

/// A call to the vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Discovery { tenant: String },
    Login { tenant: String },
    Manage(Manage),
    Keys(Keys),
}

/// Calls of the vault's own, for the admin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Manage {
    Show,
    Update,
    Identities,
    Identity(String),
    PutIdentity(String),
    /// One whose id the vault chooses.
    AddIdentity,
    RemoveIdentity(String),
    Grants,
    Grant,
    Revoke(String),
    Log,
}

/// Calls of Key Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    List,
    Versions(String),
    Create(String),
    Import(String),
    Get(String, Option<String>),
    Update(String, Option<String>),
    Delete(String),
    Rotate(String),
    Use(KeyOp, String, Option<String>),
    DeletedList,
    DeletedGet(String),
    Recover(String),
    Purge(String),
    Policy(String),
    SetPolicy(String),
    Backup(String),
    Restore,
    Random,
}

impl Keys {
    /// What a caller other than the admin needs; random bytes are for everybody known.
    pub(crate) fn permission(&self) -> Option<Permission> {
        Some(match self {
            Self::List | Self::Versions(_) | Self::DeletedList => Permission::List,
            Self::Create(_) => Permission::Create,
            Self::Import(_) => Permission::Import,
            Self::Get(..) | Self::DeletedGet(_) => Permission::Get,
            Self::Update(..) => Permission::Update,
            Self::Delete(_) => Permission::Delete,
            Self::Rotate(_) => Permission::Rotate,
            Self::Use(op, ..) => Permission::of(*op),
            Self::Recover(_) => Permission::Recover,
            Self::Purge(_) => Permission::Purge,
            Self::Policy(_) => Permission::GetRotationPolicy,
            Self::SetPolicy(_) => Permission::SetRotationPolicy,
            Self::Backup(_) => Permission::Backup,
            Self::Restore => Permission::Restore,
            Self::Random => return None,
        })
    }

    /// The key and the version that it names.
    pub(crate) fn subject(&self) -> (Option<&str>, Option<&str>) {
        match self {
            Self::List | Self::DeletedList | Self::Restore | Self::Random => (None, None),
            Self::Get(key, version) | Self::Update(key, version) | Self::Use(_, key, version) => (Some(key), version.as_deref()),
            Self::Versions(key)
            | Self::Create(key)
            | Self::Import(key)
            | Self::Delete(key)
            | Self::Rotate(key)
            | Self::DeletedGet(key)
            | Self::Recover(key)
            | Self::Purge(key)
            | Self::Policy(key)
            | Self::SetPolicy(key)
            | Self::Backup(key) => (Some(key), None),
        }
    }
}

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Result<Self, Refusal> {
        let segments: Option<Vec<String>> = path.strip_prefix('/').and_then(|path| path.split('/').map(decode).collect());
        let segments = segments.ok_or_else(|| Refusal::bad("the path is not a path"))?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let known = match segments.as_slice() {
            ["healthz"] => Self::one(method, &[(Method::GET, Self::Health)]),
            ["vault", rest @ ..] => return manage(method, rest),
            ["keys", rest @ ..] => return keys(method, rest),
            ["deletedkeys", rest @ ..] => return deleted(method, rest),
            ["rng"] => Self::one(method, &[(Method::POST, Self::Keys(Keys::Random))]),
            [tenant, "v2.0", ".well-known", "openid-configuration"] | [tenant @ "adfs", ".well-known", "openid-configuration"] => {
                Self::one(method, &[(Method::GET, Self::Discovery { tenant: tenant_of(tenant)? })])
            }
            [tenant, "oauth2", "v2.0", "token"] | [tenant @ "adfs", "oauth2", "token"] => {
                Self::one(method, &[(Method::POST, Self::Login { tenant: tenant_of(tenant)? })])
            }
            _ => return Err(nowhere()),
        };
        known.ok_or_else(wrong_method)
    }

    /// The one of `ways` that has the method.
    fn one<T: Clone>(method: &Method, ways: &[(Method, T)]) -> Option<T> {
        ways.iter().find(|(known, _)| known == method).map(|(_, route)| route.clone())
    }

    /// What the access log calls it: Azure's names where it has one.
    pub(crate) fn operation(&self) -> &'static str {
        match self {
            Self::Health => "Health",
            Self::Discovery { .. } => "Discovery",
            Self::Login { .. } => "Authentication",
            Self::Manage(call) => match call {
                Manage::Show => "VaultGet",
                Manage::Update => "VaultPatch",
                Manage::Identities => "IdentityList",
                Manage::Identity(_) => "IdentityGet",
                Manage::PutIdentity(_) | Manage::AddIdentity => "IdentityPut",
                Manage::RemoveIdentity(_) => "IdentityDelete",
                Manage::Grants => "GrantList",
                Manage::Grant => "GrantPut",
                Manage::Revoke(_) => "GrantDelete",
                Manage::Log => "LogGet",
            },
            Self::Keys(call) => match call {
                Keys::List => "KeyList",
                Keys::Versions(_) => "KeyListVersions",
                Keys::Create(_) => "KeyCreate",
                Keys::Import(_) => "KeyImport",
                Keys::Get(..) => "KeyGet",
                Keys::Update(..) => "KeyUpdate",
                Keys::Delete(_) => "KeyDelete",
                Keys::Rotate(_) => "KeyRotate",
                Keys::Use(KeyOp::Encrypt, ..) => "KeyEncrypt",
                Keys::Use(KeyOp::Decrypt, ..) => "KeyDecrypt",
                Keys::Use(KeyOp::WrapKey, ..) => "KeyWrap",
                Keys::Use(KeyOp::Sign, ..) => "KeySign",
                Keys::Use(KeyOp::Verify, ..) => "KeyVerify",
                Keys::Use(..) => "KeyUnwrap",
                Keys::DeletedList => "KeyListDeleted",
                Keys::DeletedGet(_) => "KeyGetDeleted",
                Keys::Recover(_) => "KeyRecover",
                Keys::Purge(_) => "KeyPurge",
                Keys::Policy(_) => "KeyGetRotationPolicy",
                Keys::SetPolicy(_) => "KeyUpdateRotationPolicy",
                Keys::Backup(_) => "KeyBackup",
                Keys::Restore => "KeyRestore",
                Keys::Random => "RandomBytesGet",
            },
        }
    }
}

fn manage(method: &Method, segments: &[&str]) -> Result<Route, Refusal> {
    let named = |name: &&str| (*name).to_owned();
    let call = match segments {
        [] | [""] => Route::one(method, &[(Method::GET, Manage::Show), (Method::PATCH, Manage::Update)]),
        ["identities"] => Route::one(method, &[(Method::GET, Manage::Identities), (Method::POST, Manage::AddIdentity)]),
        ["identities", id] => Route::one(
            method,
            &[
                (Method::GET, Manage::Identity(named(id))),
                (Method::PUT, Manage::PutIdentity(named(id))),
                (Method::DELETE, Manage::RemoveIdentity(named(id))),
            ],
        ),
        ["grants"] => Route::one(method, &[(Method::GET, Manage::Grants), (Method::PUT, Manage::Grant)]),
        ["grants", principal] => Route::one(method, &[(Method::DELETE, Manage::Revoke(named(principal)))]),
        ["log"] => Route::one(method, &[(Method::GET, Manage::Log)]),
        _ => return Err(nowhere()),
    };
    call.map(Route::Manage).ok_or_else(wrong_method)
}

fn keys(method: &Method, segments: &[&str]) -> Result<Route, Refusal> {
    let version = |version: &str| Some(version.to_owned()).filter(|version| !version.is_empty());
    let call = match segments {
        [] | [""] => Route::one(method, &[(Method::GET, Keys::List)]),
        ["restore"] if method == Method::POST => Some(Keys::Restore),
        [name] => {
            let name = (*name).to_owned();
            Route::one(
                method,
                &[
                    (Method::GET, Keys::Get(name.clone(), None)),
                    (Method::PATCH, Keys::Update(name.clone(), None)),
                    (Method::PUT, Keys::Import(name.clone())),
                    (Method::DELETE, Keys::Delete(name)),
                ],
            )
        }
        [name, "versions"] => Route::one(method, &[(Method::GET, Keys::Versions((*name).to_owned()))]),
        [name, "create"] => Route::one(method, &[(Method::POST, Keys::Create((*name).to_owned()))]),
        [name, "backup"] => Route::one(method, &[(Method::POST, Keys::Backup((*name).to_owned()))]),
        [name, "rotationpolicy"] => {
            let name = (*name).to_owned();
            Route::one(method, &[(Method::GET, Keys::Policy(name.clone())), (Method::PUT, Keys::SetPolicy(name))])
        }
        [name, "rotate"] => Route::one(method, &[(Method::POST, Keys::Rotate((*name).to_owned()))]),
        [name, id] => {
            let name = (*name).to_owned();
            Route::one(method, &[(Method::GET, Keys::Get(name.clone(), version(id))), (Method::PATCH, Keys::Update(name, version(id)))])
        }
        [name, id, verb] => {
            let op = match *verb {
                "encrypt" => KeyOp::Encrypt,
                "decrypt" => KeyOp::Decrypt,
                "wrapkey" => KeyOp::WrapKey,
                "unwrapkey" => KeyOp::UnwrapKey,
                "sign" => KeyOp::Sign,
                "verify" => KeyOp::Verify,
                "release" => return Err(Refusal::bad("Keys of this vault cannot be released: none is exportable.")),
                "attestation" => return Err(Refusal::bad("Keys of this vault have no attestation: it has no HSM.")),
                _ => return Err(nowhere()),
            };
            Route::one(method, &[(Method::POST, Keys::Use(op, (*name).to_owned(), version(id)))])
        }
        _ => return Err(nowhere()),
    };
    call.map(Route::Keys).ok_or_else(wrong_method)
}

fn deleted(method: &Method, segments: &[&str]) -> Result<Route, Refusal> {
    let call = match segments {
        [] | [""] => Route::one(method, &[(Method::GET, Keys::DeletedList)]),
        [name] | [name, ""] => {
            let name = (*name).to_owned();
            Route::one(method, &[(Method::GET, Keys::DeletedGet(name.clone())), (Method::DELETE, Keys::Purge(name))])
        }
        [name, "recover"] => Route::one(method, &[(Method::POST, Keys::Recover((*name).to_owned()))]),
        _ => return Err(nowhere()),
    };
    call.map(Route::Keys).ok_or_else(wrong_method)
}

fn decode(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// A tenant goes back into URLs and headers, so only what is harmless there is one.
fn tenant_of(text: &str) -> Result<String, Refusal> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > 64 || !text.bytes().all(harmless) {
        return Err(Refusal::bad("the tenant is not one"));
    }
    Ok(text.to_owned())
}

fn nowhere() -> Refusal {
    Refusal::not_found("There is nothing at this address.")
}

fn wrong_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "This address does not take this method.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expected: Keys) {
        assert_eq!(Route::of(method, path), Ok(Route::Keys(expected)), "{method} {path}");
    }

    #[test]
    fn versions_may_be_empty() {
        let name = || "k".to_owned();
        check(&Method::GET, "/keys/k/", Keys::Get(name(), None));
        check(&Method::GET, "/keys/k", Keys::Get(name(), None));
        check(&Method::GET, "/keys/k/ab", Keys::Get(name(), Some("ab".into())));
        check(&Method::PATCH, "/keys/k/", Keys::Update(name(), None));
        check(&Method::POST, "/keys/k//wrapkey", Keys::Use(KeyOp::WrapKey, name(), None));
        check(&Method::POST, "/keys/k/ab/unwrapkey", Keys::Use(KeyOp::UnwrapKey, name(), Some("ab".into())));
        check(&Method::GET, "/keys/k/versions", Keys::Versions(name()));
        check(&Method::DELETE, "/deletedkeys/k", Keys::Purge(name()));
        check(&Method::POST, "/keys/k//sign", Keys::Use(KeyOp::Sign, name(), None));
        check(&Method::PUT, "/keys/k/rotationpolicy", Keys::SetPolicy(name()));
        check(&Method::POST, "/keys/restore", Keys::Restore);
        check(&Method::GET, "/keys/restore", Keys::Get("restore".into(), None));
        check(&Method::POST, "/rng", Keys::Random);
    }

    #[test]
    fn what_is_no_call_is_refused_by_kind() {
        let status = |method, path| Route::of(&method, path).unwrap_err().status.as_u16();
        assert_eq!(status(Method::GET, "/"), 404);
        assert_eq!(status(Method::GET, "/keys/k/v/wrapkey"), 405);
        assert_eq!(status(Method::POST, "/keys/k/v/dance"), 404);
        assert_eq!(status(Method::POST, "/keys/k/v/release"), 400);
        assert_eq!(status(Method::GET, "/keys/%ff/"), 400);
        assert_eq!(status(Method::POST, "/a\"b/oauth2/v2.0/token"), 400);
        assert_eq!(status(Method::DELETE, "/vault"), 405);
    }
}
