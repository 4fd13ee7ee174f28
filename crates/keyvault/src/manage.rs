//! The vault's own calls: properties, identities, grants, the log. For the admin; none of them gives a private key.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth;
use crate::refusal::Refusal;
use crate::rights::{Permission, PermissionModel, Role};
use crate::route::Manage;
use crate::serve::{Answer, ok};
use crate::state::{Identity, Login, PropertyChanges, State};
use crate::vault::Vault;
use crate::wire;

/// Entries of one answer of `GET /vault/log`.
const LOG_PAGE: usize = 1_000;
/// Bytes of a public key in PEM; a P-256 key has about 180.
const PEM_BYTES_MAX: usize = 4 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IdentityIn {
    name: String,
    public_key_pem: Option<String>,
    issuer: Option<String>,
    #[serde(default)]
    client_secret: bool,
}

/// What is granted.
enum Grant {
    Role(Role),
    Permissions(BTreeSet<Permission>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantIn {
    principal: String,
    role: Option<String>,
    permissions: Option<Vec<String>>,
}

impl Vault {
    /// Answers one of the vault's own calls.
    pub(crate) async fn manage(self: &Arc<Self>, call: Manage, base: &str, query: &str, body: &[u8]) -> Answer {
        let state = self.state();
        match call {
            Manage::Show => ok(self.properties(&state, base)),
            Manage::Update => {
                let changes: PropertyChanges = wire::read(body)?;
                let to_roles = changes.permission_model == Some(PermissionModel::Rbac);
                if to_roles && self.config.access_policies_only && state.properties.permission_model != PermissionModel::Rbac {
                    return Err(Refusal::bad("This vault's operator allows access policies alone: permissionModel cannot be rbac."));
                }
                self.change(move |state, _| state.properties.change(changes)).await?;
                ok(self.properties(&self.state(), base))
            }
            Manage::Identities => {
                let all: Vec<Value> = state.identities.iter().map(|(id, one)| identity(*id, one)).collect();
                ok(json!({"value": all}))
            }
            Manage::Identity(id) => {
                let id = state.principal(&id)?;
                ok(identity(id, &state.identities[&id]))
            }
            Manage::PutIdentity(id) => {
                let id = Uuid::try_parse(&id).map_err(|_| Refusal::bad("a principal's id is a GUID"))?;
                self.register(id, wire::read(body)?).await
            }
            Manage::AddIdentity => self.register(uuid::Builder::from_random_bytes(self.random()).into_uuid(), wire::read(body)?).await,
            Manage::RemoveIdentity(id) => {
                self.change(move |state, _| {
                    let id = state.principal(&id)?;
                    state.remove_identity(id)
                })
                .await?;
                let state = self.state();
                self.logins.lock().tidy(&state, self.world.clock.boot());
                Ok((axum::http::StatusCode::NO_CONTENT, Value::Null))
            }
            Manage::Grants => {
                let who: BTreeSet<Uuid> = state.roles.keys().chain(state.policies.keys()).copied().collect();
                let all: Vec<Value> = who.into_iter().flat_map(|id| grants(&state, id)).collect();
                ok(json!({"value": all}))
            }
            Manage::Grant => {
                let new = GrantIn::check(wire::read(body)?)?;
                let granted = self.change(move |state, _| {
                    let id = state.principal(&new.0)?;
                    match new.1 {
                        Grant::Role(role) => {
                            state.roles.entry(id).or_default().insert(role);
                        }
                        Grant::Permissions(permissions) => {
                            state.policies.insert(id, permissions);
                        }
                    }
                    Ok(grants(state, id))
                });
                ok(json!({"value": granted.await?}))
            }
            Manage::Revoke(principal) => {
                self.change(move |state, _| {
                    let id = state.principal(&principal)?;
                    state.revoke(id)
                })
                .await?;
                Ok((axum::http::StatusCode::NO_CONTENT, Value::Null))
            }
            Manage::Log => {
                let after =
                    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "after").map(|(_, value)| value.into_owned());
                let after: u64 = after.map_or(Ok(0), |after| after.parse().map_err(|_| Refusal::bad("after must be a number")))?;
                let entries = self.log.lock().after(after, LOG_PAGE);
                let last = entries.last().map_or(after, |entry| entry.seq);
                ok(json!({"value": entries, "last": last}))
            }
        }
    }

    fn properties(&self, state: &State, base: &str) -> Value {
        let properties = &state.properties;
        json!({
            "name": self.config.name,
            "uri": format!("{base}/"),
            "tenantId": state.tenant,
            "enableSoftDelete": properties.soft_delete,
            "enablePurgeProtection": properties.purge_protection,
            "softDeleteRetentionInDays": properties.retention_days,
            "permissionModel": properties.permission_model,
            "recoveryLevel": properties.recovery_level(),
        })
    }
}

impl Vault {
    async fn register(self: &Arc<Self>, id: Uuid, asked: IdentityIn) -> Answer {
        let (name, login, secret) = self.login_of(asked)?;
        let new = Identity { name, login, registration: Uuid::from_bytes(self.random()) };
        self.change(move |state, vault| state.put_identity(id, new, &vault.config)).await?;
        let state = self.state();
        let known = state.identities.get(&id).ok_or_else(|| Refusal::conflict(None, "The identity was removed meanwhile."))?;
        let mut answer = identity(id, known);
        if let Some(secret) = secret {
            answer["clientSecret"] = secret.into();
        }
        ok(answer)
    }

    fn random(&self) -> [u8; 16] {
        let mut random = [0; 16];
        self.world.rng.fill(&mut random);
        random
    }

    /// How somebody is to log in, and the secret if one was minted for it: it is told now and never again.
    fn login_of(&self, asked: IdentityIn) -> Result<(String, Login, Option<String>), Refusal> {
        match (asked.public_key_pem, asked.issuer, asked.client_secret) {
            (Some(pem), None, false) => {
                if pem.len() > PEM_BYTES_MAX {
                    return Err(Refusal::bad("publicKeyPem is too long"));
                }
                let pem = pem.trim().to_owned() + "\n";
                auth::verifying_key(&pem).map_err(Refusal::bad)?;
                Ok((asked.name, Login::Key(pem), None))
            }
            (None, Some(issuer), false) if self.issuers.has(&issuer) => Ok((asked.name, Login::Issuer(issuer), None)),
            (None, Some(_), false) => Err(Refusal::bad("the vault's configuration trusts no such issuer")),
            (None, None, true) => {
                let secret = auth::mint("svc_", &*self.world.rng);
                Ok((asked.name, Login::Secret(auth::sha256(&secret)), Some(secret)))
            }
            _ => Err(Refusal::bad("give one of publicKeyPem, issuer, and clientSecret: true")),
        }
    }
}

impl GrantIn {
    /// Whom, and what.
    fn check(self) -> Result<(String, Grant), Refusal> {
        match (self.role, self.permissions) {
            (Some(role), None) => Ok((self.principal, Grant::Role(Role::parse(&role)?))),
            (None, Some(names)) if !names.is_empty() => Ok((self.principal, Grant::Permissions(Permission::parse_all(&names)?))),
            (None, Some(_)) => Err(Refusal::bad("permissions are empty; to take them away DELETE /vault/grants/{principal}")),
            _ => Err(Refusal::bad("give either role or permissions")),
        }
    }
}

fn identity(id: Uuid, identity: &Identity) -> Value {
    let mut answer = json!({"principalId": id, "name": identity.name});
    match &identity.login {
        Login::Key(pem) => answer["publicKeyPem"] = pem.as_str().into(),
        Login::Secret(_) => answer["login"] = "clientSecret".into(),
        Login::Issuer(issuer) => answer["issuer"] = issuer.as_str().into(),
    }
    answer
}

/// What a principal was granted under each permission model, and whether it counts under the present one.
fn grants(state: &State, id: Uuid) -> Vec<Value> {
    let name = state.identities.get(&id).map(|identity| identity.name.as_str());
    let model = state.properties.permission_model;
    let roles = state.roles.get(&id).into_iter().flatten();
    let roles = roles.map(|role| json!({"principalId": id, "name": name, "role": role, "effective": model == PermissionModel::Rbac}));
    let policy = state.policies.get(&id).map(|permissions| {
        json!({"principalId": id, "name": name, "permissions": permissions, "effective": model == PermissionModel::AccessPolicy})
    });
    roles.chain(policy).collect()
}
