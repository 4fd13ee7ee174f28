//! `strongroom vault`.

mod serve;
mod target;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) use target::{VaultClient, VaultTarget, trusting};

use crate::Failure;
use crate::output::{Field, Format, show};

/// The role that lets a cluster use its key.
const ROLE: &str = "Key Vault Crypto Service Encryption User";
/// What a cluster needs under the legacy permission model.
const NEEDED: [&str; 3] = ["get", "wrapKey", "unwrapKey"];

const REVOKING: &str = "\
Revoking: to take a cluster's data away, disable its key (strongroom key disable NAME); that is the recommended way, and
enabling the key brings the data back. Taking the grant away (strongroom vault revoke) does the same. Do not shut the
vault down for it: a vault that does not answer looks like an outage, and leases run on.";

/// Runs the embedded key vault, and says who may use its keys.
///
/// The vault is the customer's side: another trust domain than the log server, with a directory, a root key, a certificate
/// and an admin token of its own.
#[derive(Debug, Args)]
#[command(after_help = REVOKING, after_long_help = REVOKING)]
pub(crate) struct Vault {
    #[command(flatten)]
    target: VaultTarget,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Runs the vault until SIGTERM or SIGINT
    Serve(serve::Serve),
    /// Shows the vault's properties
    Show,
    /// Switches soft delete, purge protection and the permission model; a cluster's key needs both protections on
    #[command(group = clap::ArgGroup::new("property").multiple(true).required(true))]
    Update {
        /// Deleted keys can be recovered; cannot be switched off again
        #[arg(long, group = "property", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        soft_delete: Option<bool>,
        /// Deleted keys cannot be destroyed before their time; cannot be switched off again
        #[arg(long, group = "property", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        purge_protection: Option<bool>,
        /// Days that a deleted key can be recovered, 7 to 90; fixed once soft delete is on
        #[arg(long, group = "property", value_name = "DAYS")]
        retention_days: Option<u8>,
        /// How rights are given
        #[arg(long, group = "property", value_enum)]
        permission_model: Option<Model>,
    },
    /// Registers, lists and removes those who may log in: clusters, applications, principals of a trusted issuer
    #[command(subcommand)]
    Identity(IdentityWhat),
    /// Gives a registered identity the use of keys
    Grant {
        /// The identity's principal id or name
        #[arg(long, value_name = "ID-OR-NAME")]
        principal: String,
        /// A role, like "Key Vault Crypto Officer" [default: that of a cluster, "Key Vault Crypto Service Encryption User"]
        #[arg(long, value_name = "ROLE", conflicts_with = "permissions")]
        role: Option<String>,
        /// Permissions of an access policy, like get,wrapKey,unwrapKey [default: the role under rbac, these three else]
        #[arg(long, value_delimiter = ',', value_name = "LIST")]
        permissions: Vec<String>,
    },
    /// Lists what was granted
    Grants,
    /// Takes away all that an identity was granted: its cluster's data is out of reach within a minute
    Revoke {
        /// The identity's principal id or name
        #[arg(long, value_name = "ID-OR-NAME")]
        principal: String,
    },
    /// Shows who called for what
    Log {
        /// Only calls after this number
        #[arg(long, default_value_t = 0, value_name = "SEQ")]
        after: u64,
    },
}

#[derive(Debug, Subcommand)]
enum IdentityWhat {
    /// Registers who may log in, and how: from then on it can do what it is granted
    #[command(group = clap::ArgGroup::new("login").required(true))]
    Add {
        /// What to call it
        #[arg(long)]
        name: String,
        /// Its principal id, a GUID; with --client-secret it is the client id [default with --client-secret: a new one]
        #[arg(long, value_name = "ID", required_unless_present = "client-secret")]
        principal_id: Option<String>,
        /// A cluster's public key: EC P-256, PEM
        #[arg(long, group = "login", value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Tokens of this issuer, which the vault's configuration trusts
        #[arg(long, group = "login", value_name = "URL")]
        issuer: Option<String>,
        /// A client secret, minted now and shown once
        #[arg(id = "client-secret", long = "client-secret", group = "login")]
        client_secret: bool,
    },
    /// Lists who is registered
    List,
    /// Removes an identity with its tokens and grants
    Remove {
        /// Its principal id or name
        #[arg(long, value_name = "ID-OR-NAME")]
        principal: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Model {
    /// Roles (recommended)
    Rbac,
    /// Lists of permissions
    AccessPolicy,
}

impl Vault {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let what = match self.what {
            What::Serve(serve) => return serve.run(self.target.dir()).await,
            what => what,
        };
        let vault = self.target.client()?;
        let (answer, fields) = match what {
            What::Serve(_) => unreachable!("it returned"),
            What::Show => (vault.manage(Method::GET, &[], None).await?, PROPERTIES),
            What::Update { soft_delete, purge_protection, retention_days, permission_model } => {
                let model = permission_model.map(|model| match model {
                    Model::Rbac => "rbac",
                    Model::AccessPolicy => "accessPolicy",
                });
                let asked = [
                    ("enableSoftDelete", soft_delete.map(Value::from)),
                    ("enablePurgeProtection", purge_protection.map(Value::from)),
                    ("softDeleteRetentionInDays", retention_days.map(Value::from)),
                    ("permissionModel", model.map(Value::from)),
                ];
                let changes: Value = asked.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
                (vault.manage(Method::PATCH, &[], Some(&changes)).await?, PROPERTIES)
            }
            What::Identity(IdentityWhat::Add { name, principal_id, public_key, issuer, client_secret }) => {
                let mut body = json!({"name": name});
                if let Some(file) = public_key {
                    let pem = std::fs::read_to_string(&file)
                        .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))?;
                    body["publicKeyPem"] = pem.into();
                } else if let Some(issuer) = issuer {
                    body["issuer"] = issuer.into();
                } else {
                    body["clientSecret"] = client_secret.into();
                }
                let answer = match principal_id {
                    Some(id) => vault.manage(Method::PUT, &["identities", &id], Some(&body)).await?,
                    None => vault.manage(Method::POST, &["identities"], Some(&body)).await?,
                };
                (answer, if client_secret { SECRETS } else { IDENTITIES })
            }
            What::Identity(IdentityWhat::List) => (vault.manage(Method::GET, &["identities"], None).await?, IDENTITIES),
            What::Identity(IdentityWhat::Remove { principal }) => {
                vault.manage(Method::DELETE, &["identities", &principal], None).await?;
                return Ok(());
            }
            What::Grant { principal, role, permissions } => (grant(&vault, &principal, role, permissions).await?, GRANTS),
            What::Grants => (vault.manage(Method::GET, &["grants"], None).await?, GRANTS),
            What::Revoke { principal } => {
                vault.manage(Method::DELETE, &["grants", &principal], None).await?;
                return Ok(());
            }
            What::Log { after } => (log(&vault, after).await?, LOG),
        };
        show(self.output, &answer, fields)
    }
}

async fn grant(vault: &VaultClient, principal: &str, role: Option<String>, permissions: Vec<String>) -> Result<Value, Failure> {
    let rbac = vault.manage(Method::GET, &[], None).await?["permissionModel"] == "rbac";
    let body = if !permissions.is_empty() {
        json!({"principal": principal, "permissions": permissions})
    } else if rbac || role.is_some() {
        json!({"principal": principal, "role": role.as_deref().unwrap_or(ROLE)})
    } else {
        json!({"principal": principal, "permissions": NEEDED})
    };
    let answer = vault.manage(Method::PUT, &["grants"], Some(&body)).await?;
    let effective = |grant: &Value| grant["effective"] == true;
    if !answer["value"].as_array().is_some_and(|grants| grants.iter().any(effective)) {
        let model = if rbac { "rbac" } else { "access-policy" };
        eprintln!("strongroom: warning: this vault's permission model is {model}; the grant has no effect until that is changed");
    }
    Ok(answer)
}

async fn log(vault: &VaultClient, mut after: u64) -> Result<Value, Failure> {
    let mut all = Vec::new();
    loop {
        let mut page = vault.log(after).await?;
        let last = page["last"].as_u64().unwrap_or(after);
        let entries = page["value"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if entries.is_empty() || last <= after {
            return Ok(json!({"value": all}));
        }
        // Each question adds a line to the log: what was there at the first one is enough.
        let asked_first = entries.len() < 1_000;
        (after, all) = (last, [all, entries].concat());
        if asked_first {
            return Ok(json!({"value": all}));
        }
    }
}

const PROPERTIES: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("URI", |row| row["uri"].clone()),
    Field("Soft delete", |row| on(&row["enableSoftDelete"])),
    Field("Purge protection", |row| on(&row["enablePurgeProtection"])),
    Field("Retention", |row| row["softDeleteRetentionInDays"].as_u64().map_or(Value::Null, |days| format!("{days} d").into())),
    Field("Recovery level", |row| row["recoveryLevel"].clone()),
    Field("Permissions", |row| row["permissionModel"].clone()),
];

const IDENTITIES: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Principal", |row| row["principalId"].clone()),
    Field("Logs in by", |row| match (&row["issuer"], &row["login"]) {
        (Value::String(issuer), _) => issuer.clone().into(),
        (_, Value::String(_)) => "client secret".into(),
        _ => "its key".into(),
    }),
];

const SECRETS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Client id", |row| row["principalId"].clone()),
    Field("Client secret (shown once)", |row| row["clientSecret"].clone()),
];

const GRANTS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Principal", |row| row["principalId"].clone()),
    Field("Granted", |row| match row["permissions"].as_array() {
        Some(permissions) => permissions.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ").into(),
        None => row["role"].clone(),
    }),
    Field("In effect", |row| if row["effective"] == true { "yes".into() } else { "no (other permission model)".into() }),
];

const LOG: &[Field] = &[
    Field("Seq", |row| row["seq"].clone()),
    Field("Time", |row| row["time"].clone()),
    Field("Principal", |row| row["principal"].clone()),
    Field("Operation", |row| row["operation"].clone()),
    Field("Key", |row| row["key"].clone()),
    Field("Version", |row| row["version"].clone()),
    Field("Status", |row| row["status"].clone()),
    Field("Code", |row| row["code"].clone()),
];

fn on(value: &Value) -> Value {
    if value == true { "on".into() } else { "off".into() }
}
