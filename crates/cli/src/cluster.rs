//! `strongroom cluster`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::Failure;
use crate::arm::{Arm, Where};
use crate::client::Target;
use crate::output::{self, Field, Format};
use crate::vault_access::VaultAccess;
use crate::{identity, rewriting};

const KEY_VAULT: &str = "Microsoft.KeyVault";

const ORDER: &str = "\
Order: a key vault with soft delete and purge protection, and a key in it; a cluster (create); its identity registered in
the vault and granted get, wrapKey and unwrapKey (identity); the vault made known here (register-vault); the key set
(set-key); workspaces linked (strongroom workspace link). strongroom doctor --cluster tells what is missing.

Revoking: to revoke access to the data, disable the key in the vault (strongroom key disable NAME) or remove the identity's
permission there. To give it back, enable the key or grant the permission again.";

/// Makes, shows and deletes dedicated clusters, and sets the key that their data is under.
#[derive(Debug, Args)]
#[command(after_help = ORDER, after_long_help = ORDER)]
pub(crate) struct Cluster {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    place: Where,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a cluster with an identity of its own
    Create {
        /// Its name: 4 to 63 letters, digits and inner hyphens
        name: String,
        /// The region [default: the server's]
        #[arg(long, value_name = "REGION")]
        location: Option<String>,
        /// The commitment tier, GB a day, in steps of 100
        #[arg(long, value_name = "GB", default_value_t = 100)]
        sku_capacity: i64,
        /// Seals data once instead of twice. Can't be changed later
        #[arg(long)]
        no_double_encryption: bool,
        /// A tag, as NAME=VALUE; may be given several times
        #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
        tags: Vec<(String, String)>,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Puts a cluster under a key of yours
    ///
    /// Data that arrives afterwards is under that key; what is there stays under the key it was written with. Without
    /// --key-version the cluster follows the newest version of the key, which is advised: a rotation in the vault then
    /// needs nothing here. To revoke access later, disable the key in the vault or remove the permission there.
    SetKey {
        /// The cluster
        name: String,
        /// The vault, as https://HOST or https://HOST:PORT
        #[arg(long, value_name = "URI")]
        vault_uri: String,
        /// The key's name
        #[arg(long, value_name = "NAME")]
        key_name: String,
        /// The version to stay with [default: always the newest]
        #[arg(long, value_name = "VERSION", default_value = "", hide_default_value = true)]
        key_version: String,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Shows a cluster
    Show {
        /// Its name
        name: String,
    },
    /// Lists the clusters of the resource group
    List {
        /// Lists those of all resource groups of the subscription
        #[arg(long)]
        all_groups: bool,
    },
    /// Deletes a cluster
    ///
    /// Linked workspaces are unlinked and go on under the provider's key. Data under your key stays sealed; its keys and the
    /// cluster's name are kept for 14 days.
    Delete {
        /// Its name
        name: String,
        /// Deletes it even if data of workspaces is under its keys
        #[arg(long)]
        force: bool,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Brings a deleted cluster back with its keys and links: the operator's, and only if azure.cluster_recover is set
    Recover {
        /// Its name, or its id
        name: String,
    },
    /// Prints the identity that a cluster shows: what to register in the vault
    Identity {
        /// The cluster
        name: String,
        /// Writes the public key to this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Lets a cluster show another identity to its vault: grant that one there first
    ///
    /// Nothing is interrupted; if the vault refuses the new identity, nothing is changed.
    SetIdentity {
        /// The cluster
        name: String,
        #[command(flatten)]
        which: identity::Which,
        /// Does not ask for the cluster's name before --none
        #[arg(long)]
        yes: bool,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Brings all data of a cluster under a new account key and destroys the old one
    ///
    /// New rows are under the new key at once; the rest is sealed anew in the background and goes on over restarts. Your own key
    /// in the vault stays.
    Rekey {
        /// The cluster
        name: String,
        /// MB a second that are sealed anew at most [default: as fast as it goes]
        #[arg(long, value_name = "N")]
        rate_mb_s: Option<u32>,
        /// Only shows how the last one stands
        #[arg(long, conflicts_with = "rate_mb_s")]
        status: bool,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Gives a cluster back the identity that --none took off it: for the operator of the service
    RestoreIdentity {
        /// The cluster
        name: String,
    },
    /// Makes a key vault known to the server: a key of an unknown one is refused
    ///
    /// How to log in there is kept sealed and never shown. Without --provider it is an Azure Key Vault, or one that speaks as it
    /// does, where the cluster logs in for itself. Registering a vault again without a login keeps the one it has, as long as
    /// address, provider and authority stay the same.
    RegisterVault {
        /// What to call it here
        name: String,
        /// The vault, as https://HOST or https://HOST:PORT; a PKCS#11 token as pkcs11://NAME, by its name in the server's
        /// configuration
        #[arg(long, value_name = "URI")]
        vault_uri: String,
        #[command(flatten)]
        access: Box<VaultAccess>,
        /// The vault's own certificate authority, PEM [default: those of the system]
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// The region it lies in [default: the server's]
        #[arg(long, value_name = "REGION")]
        location: Option<String>,
        /// The tenant it belongs to
        #[arg(long, value_name = "ID", default_value = "00000000-0000-0000-0000-000000000000", hide_default_value = true)]
        tenant: String,
        /// Deleted keys can be recovered there; shown, and not relied on: a key is judged by what its vault says of it
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        soft_delete: Option<bool>,
        /// Deleted keys cannot be destroyed before their time; likewise
        #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
        purge_protection: Option<bool>,
        /// How rights are given there; likewise
        #[arg(long, value_enum)]
        permission_model: Option<crate::vault::Model>,
    },
    /// Lists the key vaults that the server knows
    ListVaults,
    /// Makes the server forget a key vault; the vault itself is not touched
    ForgetVault {
        /// What it is called here
        name: String,
    },
}

impl Cluster {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let arm = Arm::new(self.target.client()?, &self.place).await?;
        let format = self.output;
        match self.what {
            What::Create { name, location, sku_capacity, no_double_encryption, tags, no_wait } => {
                let mut body = json!({
                    "identity": {"type": "SystemAssigned"},
                    "sku": {"name": "CapacityReservation", "capacity": sku_capacity},
                    "properties": {"isDoubleEncryptionEnabled": !no_double_encryption},
                });
                if let Some(location) = location {
                    body["location"] = location.into();
                }
                if !tags.is_empty() {
                    body["tags"] = tags.into_iter().map(|(name, value)| (name, Value::from(value))).collect::<Map<_, _>>().into();
                }
                let request = arm.call(Method::PUT, &["clusters", &name]).json(&body);
                let begun = arm.run(request, &format!("cluster {name}"), no_wait).await?;
                self::show(&if no_wait { begun } else { get(&arm, &name).await? }, format)
            }
            What::SetKey { name, vault_uri, key_name, key_version, no_wait } => {
                let key = json!({"keyVaultUri": vault_uri, "keyName": key_name, "keyVersion": key_version});
                let request = arm.call(Method::PATCH, &["clusters", &name]).json(&json!({"properties": {"keyVaultProperties": key}}));
                let begun = arm.run(request, &format!("key of cluster {name}"), no_wait).await?;
                if key_version.is_empty() {
                    eprintln!("strongroom: the cluster follows the newest version of {key_name}");
                } else {
                    eprintln!(
                        "strongroom: the cluster stays with version {key_version} of {key_name}; after a rotation, set the key again"
                    );
                }
                self::show(&if no_wait { begun } else { get(&arm, &name).await? }, format)
            }
            What::Show { name } => self::show(&get(&arm, &name).await?, format),
            What::List { all_groups } => output::show(format, &arm.all("clusters", all_groups).await?, FIELDS),
            What::Delete { name, force, no_wait } => {
                let request = arm.call(Method::DELETE, &["clusters", &name]).query(&[("force", force)]);
                let gone = arm.run(request, &format!("deletion of cluster {name}"), no_wait).await?;
                match (format, gone["properties"]["notice"].as_str()) {
                    (Format::Json, _) => output::print_json(&gone),
                    (Format::Table, Some(notice)) => output::print(notice),
                    (Format::Table, None) => Ok(()),
                }
            }
            What::Recover { name } => {
                let back = arm.client.json(arm.client.request(Method::POST, &["v1", "clusters", &name, "recover"])).await?;
                self::show(&back, format)
            }
            What::Identity { name, out } => print_identity(&get(&arm, &name).await?, out.as_deref(), format),
            What::SetIdentity { name, which, yes, no_wait } => {
                let body = which.body(&arm, &name, yes).await?;
                let begun = arm.begin(arm.call(Method::PATCH, &["clusters", &name]).json(&body)).await?;
                let shown = arm.follow(begun, &format!("identity of cluster {name}"), no_wait).await?;
                if let Some(notice) = shown["properties"]["notice"].as_str() {
                    eprintln!("strongroom: {notice}");
                }
                self::show(&if no_wait { shown } else { get(&arm, &name).await? }, format)
            }
            What::Rekey { name, rate_mb_s, status, no_wait } => {
                let path = ["v1", "clusters", &name, "rekey"];
                let body = (!status).then(|| json!({"rateMbS": rate_mb_s}));
                rewriting::run(&arm.client, &path, body, no_wait || status, format).await
            }
            What::RestoreIdentity { name } => {
                let answer = arm.client.json(arm.client.request(Method::POST, &["v1", "clusters", &name, "restore-identity"])).await?;
                if answer["restored"] == false {
                    eprintln!("strongroom: cluster {name} shows an identity: nothing to restore");
                }
                self::show(&answer["cluster"], format)
            }
            What::RegisterVault { name, vault_uri, access, ca, location, tenant, soft_delete, purge_protection, permission_model } => {
                let ca = ca.as_deref().map(authority).transpose()?;
                let location = match location {
                    Some(location) => location,
                    None => region(&arm).await?,
                };
                let (provider, access) = (access.provider.as_str(), access.json()?);
                let body = json!({
                    "location": location,
                    "properties": {
                        "tenantId": tenant, "vaultUri": vault_uri, "caPem": ca, "provider": provider, "access": access,
                        "enableSoftDelete": soft_delete, "enablePurgeProtection": purge_protection,
                        "enableRbacAuthorization": permission_model.map(|model| model == crate::vault::Model::Rbac),
                    },
                });
                let request = arm.provider(Method::PUT, KEY_VAULT, &["vaults", &name]).json(&body);
                let answer = arm.client.json(request).await?;
                output::show(format, &json!({"value": [answer]}), VAULT)
            }
            What::ListVaults => output::show(format, &arm.client.json(arm.provider(Method::GET, KEY_VAULT, &["vaults"])).await?, VAULT),
            What::ForgetVault { name } => {
                arm.client.send(arm.provider(Method::DELETE, KEY_VAULT, &["vaults", &name])).await?;
                Ok(())
            }
        }
    }
}

async fn get(arm: &Arm, name: &str) -> Result<Value, Failure> {
    Ok(arm.client.json(arm.call(Method::GET, &["clusters", name])).await?)
}

/// The region of the server's own workspaces.
pub(crate) async fn region(arm: &Arm) -> Result<String, Failure> {
    let all = arm.client.json(arm.client.request(Method::GET, &["v1", "workspaces"])).await?;
    let own = all["value"][0]["region"].as_str();
    Ok(own.ok_or_else(|| Failure::Usage("this token sees no workspace to take the region from: give --location".into()))?.to_owned())
}

fn show(cluster: &Value, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return output::print_json(cluster);
    }
    output::print(&output::objects(&json!({"value": [cluster]}), FIELDS))?;
    let linked = &cluster["properties"]["associatedWorkspaces"];
    if linked.as_array().is_some_and(|linked| !linked.is_empty()) {
        output::print("")?;
        output::print(&output::objects(&json!({"value": linked}), LINKED))?;
    }
    Ok(())
}

fn print_identity(cluster: &Value, out: Option<&Path>, format: Format) -> Result<(), Failure> {
    let missing = || Failure::Failed("the cluster shows no identity: it is being made, or its type is None".into());
    let users = cluster["identity"]["userAssignedIdentities"].as_object();
    let principal = users.and_then(|users| users.values().next()).map_or(&cluster["identity"]["principalId"], |user| &user["principalId"]);
    let principal = principal.as_str().ok_or_else(missing)?;
    let public_key = cluster["properties"]["identityPublicKey"].as_str().ok_or_else(missing)?;
    if let Some(path) = out {
        std::fs::write(path, public_key).map_err(|error| Failure::Failed(format!("--out {}: {error}", path.display())))?;
    }
    match format {
        Format::Json => output::print_json(&json!({
            "principalId": principal,
            "tenantId": cluster["identity"]["tenantId"],
            "publicKey": public_key,
        })),
        Format::Table if out.is_some() => output::print(principal),
        Format::Table => output::print(&format!("{principal}\n{public_key}")),
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The key in one line.
fn key(cluster: &Value) -> Value {
    let key = &cluster["properties"]["keyVaultProperties"];
    let (Some(uri), Some(name)) = (key["keyVaultUri"].as_str(), key["keyName"].as_str()) else {
        return "the provider's".into();
    };
    let version = key["keyVersion"].as_str().filter(|version| !version.is_empty());
    version.map_or_else(|| format!("{uri}/keys/{name} (newest)"), |version| format!("{uri}/keys/{name}/{version}")).into()
}

const FIELDS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("State", |row| row["properties"]["provisioningState"].clone()),
    Field("Region", |row| row["location"].clone()),
    Field("Key", key),
    Field("Identity", |row| row["identity"]["type"].clone()),
    Field("Key state", |row| row["properties"]["keyState"].clone()),
    Field("Double", |row| if row["properties"]["isDoubleEncryptionEnabled"] == true { "yes".into() } else { "no".into() }),
    Field("Workspaces", |row| row["properties"]["associatedWorkspaces"].as_array().map_or(Value::Null, |linked| linked.len().into())),
];

const LINKED: &[Field] = &[
    Field("Linked workspace", |row| row["workspaceName"].clone()),
    Field("Id", |row| row["workspaceId"].clone()),
    Field("Since", |row| row["associateDate"].clone()),
];

/// The certificates in a file.
fn authority(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::Usage(format!("--ca {}: {error}", path.display())))
}

const VAULT: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Vault", |row| row["properties"]["vaultUri"].clone()),
    Field("Provider", |row| row["properties"]["provider"].clone()),
    Field("Region", |row| row["location"].clone()),
    Field("Tenant", |row| row["properties"]["tenantId"].clone()),
    Field("Own CA", |row| if row["properties"]["caPem"].is_string() { "yes".into() } else { "no".into() }),
];
