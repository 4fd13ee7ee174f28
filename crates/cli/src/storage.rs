//! `strongroom storage` and `strongroom linked-storage`: stores of your own, and which of a workspace's content goes there.

use std::io::{BufRead, IsTerminal, Write, stdin};

use clap::{Args, Subcommand};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::Failure;
use crate::arm::{Arm, Where};
use crate::client::Target;
use crate::output::{self, Field, Format};

const PROVIDER: &str = "Microsoft.Storage";
const KIND: &str = "storageAccounts";

/// Registers, shows and forgets storage accounts: stores of your own, under a key that you choose.
#[derive(Debug, Args)]
pub(crate) struct Storage {
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
    /// Registers a store
    Create {
        /// Its name: 3 to 24 lower-case letters and digits
        name: String,
        /// The region [default: the server's]
        #[arg(long, value_name = "REGION")]
        location: Option<String>,
        /// Where its objects lie, as file:///srv/strongroom/NAME below a directory that the server allows [default: a directory of the server's own]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        key: StorageKey,
    },
    /// Puts what lies in it under another key; it is sealed anew in the background
    SetKey {
        /// Its name
        name: String,
        #[command(flatten)]
        key: StorageKey,
    },
    /// Shows one, with its key's state and how much is still to be sealed anew
    Show {
        /// Its name
        name: String,
    },
    /// Lists those of the resource group
    List,
    /// Forgets one that nothing is linked to
    Delete {
        /// Its name
        name: String,
    },
}

/// Under whose key saved content in a storage account is.
#[derive(Debug, Args)]
struct StorageKey {
    /// The key of this cluster, a name in the resource group or a resource id
    #[arg(long, value_name = "CLUSTER", conflicts_with_all = ["key_vault_uri", "provider_key"])]
    cluster: Option<String>,
    /// The vault of a key of its own
    #[arg(long, value_name = "URL", requires_all = ["key_name", "identity"], conflicts_with = "provider_key")]
    key_vault_uri: Option<String>,
    /// The key's name
    #[arg(long, value_name = "NAME", requires = "key_vault_uri")]
    key_name: Option<String>,
    /// The version to stay with [default: always the newest]
    #[arg(long, value_name = "VERSION", requires = "key_vault_uri")]
    key_version: Option<String>,
    /// The user-assigned identity that the vault lets use the key, a name in the resource group or a resource id
    #[arg(long, value_name = "IDENTITY", requires = "key_vault_uri")]
    identity: Option<String>,
    /// The provider's key
    #[arg(long)]
    provider_key: bool,
}

impl StorageKey {
    fn encryption(self, arm: &Arm) -> Option<Value> {
        let path = |provider: &str, kind: &str, name: String| if name.starts_with('/') { name } else { arm.path(provider, kind, &name) };
        if let Some(cluster) = self.cluster {
            let cluster = path("Microsoft.OperationalInsights", "clusters", cluster);
            return Some(json!({"keySource": "Microsoft.OperationalInsights", "cluster": cluster}));
        }
        if let Some(uri) = self.key_vault_uri {
            let identity = path("Microsoft.ManagedIdentity", "userAssignedIdentities", self.identity.unwrap_or_default());
            return Some(json!({
                "keySource": "Microsoft.Keyvault",
                "keyvaultproperties": {"keyvaulturi": uri, "keyname": self.key_name, "keyversion": self.key_version.unwrap_or_default()},
                "identity": {"userAssignedIdentity": identity},
            }));
        }
        self.provider_key.then(|| json!({"keySource": "Microsoft.Storage"}))
    }
}

impl Storage {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let arm = Arm::new(self.target.client()?, &self.place).await?;
        let path = |method, name: &str| arm.provider(method, PROVIDER, &[KIND, name]);
        let answer = match self.what {
            What::Create { name, location, url, key } => {
                let location = match location {
                    Some(location) => location,
                    None => crate::cluster::region(&arm).await?,
                };
                let properties = json!({"backingUrl": url, "encryption": key.encryption(&arm)});
                let body = json!({"location": location, "kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "properties": properties});
                arm.client.json(path(Method::PUT, &name).json(&body)).await?
            }
            What::SetKey { name, key } => {
                let encryption = key.encryption(&arm);
                let encryption = encryption.ok_or_else(|| {
                    Failure::Usage("give --cluster, or --key-vault-uri with --key-name and --identity, or --provider-key".to_owned())
                })?;
                arm.client.json(path(Method::PATCH, &name).json(&json!({"properties": {"encryption": encryption}}))).await?
            }
            What::Show { name } => arm.client.json(path(Method::GET, &name)).await?,
            What::List => arm.client.json(arm.provider(Method::GET, PROVIDER, &[KIND])).await?,
            What::Delete { name } => {
                arm.client.send(path(Method::DELETE, &name)).await?;
                return output::print(&format!("{name}: forgotten"));
            }
        };
        output::show(self.output, &answer, ACCOUNTS)
    }
}

const ACCOUNTS: &[Field] = &[
    Field("Storage account", |account| account["name"].clone()),
    Field("Region", |account| account["location"].clone()),
    Field("Kind", |account| account["kind"].clone()),
    Field("Key", |account| {
        let encryption = &account["properties"]["encryption"];
        match encryption["keySource"].as_str() {
            Some("Microsoft.Storage") => "the provider's".into(),
            Some("Microsoft.OperationalInsights") => encryption["cluster"].clone(),
            _ => encryption["keyvaultproperties"]["keyname"].clone(),
        }
    }),
    Field("State", |account| account["properties"]["encryption"]["keyState"].clone()),
    Field("Entries", |account| account["properties"]["encryption"]["content"]["entries"].clone()),
    Field("To seal anew", |account| account["properties"]["encryption"]["content"]["left"].clone()),
];

/// Links a workspace's saved searches, functions and alert texts to a storage account of yours.
#[derive(Debug, Args)]
pub(crate) struct LinkedStorage {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    place: Where,
    /// The workspace
    #[arg(long, env = "STRONGROOM_WORKSPACE", default_value = "default", value_name = "NAME", global = true)]
    workspace: String,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: LinkWhat,
}

#[derive(Debug, Subcommand)]
enum LinkWhat {
    /// Links a storage account; what is to be considered before is shown, and asked for
    Create {
        /// What goes there: Query (saved searches and functions) or Alerts
        #[arg(long = "type", value_name = "TYPE")]
        source: String,
        /// The account: a name in the resource group or a resource id
        #[arg(long, value_name = "ACCOUNT")]
        storage_account: String,
        /// Shows nothing and asks nothing
        #[arg(long)]
        yes: bool,
    },
    /// Shows a link, or all
    Show {
        /// What goes there
        #[arg(long = "type", value_name = "TYPE")]
        source: Option<String>,
    },
    /// Ends a link: what is in the account comes back to the workspace
    Delete {
        /// What goes there
        #[arg(long = "type", value_name = "TYPE")]
        source: String,
    },
}

/// What is to be known before a storage account is linked.
const CONSIDERATIONS: &str = "\
Before you link a storage account:
- Saved searches and functions leave the workspace. By default they are moved into the account and come back when you unlink it; a server
  that follows the rules of 2021 removes them for good. `strongroom saved-search export` makes a copy.
- From then on new ones go to the account. While its key is away they cannot be read, called or stored.
- The account has to be of kind StorageV2 and in the workspace's region; Query and Alerts may have one account or two.
- Query history and pinning to dashboards are not supported while an account is linked.
- Query packs are not stored in the account and cannot be under your key: save what is to be protected as a saved search.
- Alerts that fire carry neither results nor the query.
- The account's costs are yours.";

const LINKS: &[Field] = &[
    Field("Type", |link| link["properties"]["dataSourceType"].clone()),
    Field("Storage account", |link| link["properties"]["storageAccountIds"][0].clone()),
    Field("Entries", |link| link["properties"]["content"]["entries"].clone()),
    Field("On their way", |link| link["properties"]["content"]["left"].clone()),
];

impl LinkedStorage {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let arm = Arm::new(self.target.client()?, &self.place).await?;
        let workspace = self.workspace;
        let links =
            |method, source: &str| -> RequestBuilder { arm.call(method, &["workspaces", &workspace, "linkedStorageAccounts", source]) };
        match self.what {
            LinkWhat::Create { source, storage_account, yes } => {
                if !yes {
                    eprintln!("{CONSIDERATIONS}");
                    confirm(&workspace)?;
                }
                let id = if storage_account.starts_with('/') { storage_account } else { arm.path(PROVIDER, KIND, &storage_account) };
                let body = json!({"properties": {"storageAccountIds": [id]}});
                output::show(self.output, &arm.client.json(links(Method::PUT, &source).json(&body)).await?, LINKS)
            }
            LinkWhat::Show { source: Some(source) } => {
                output::show(self.output, &arm.client.json(links(Method::GET, &source)).await?, LINKS)
            }
            LinkWhat::Show { source: None } => {
                let all = arm.call(Method::GET, &["workspaces", &workspace, "linkedStorageAccounts"]);
                output::show(self.output, &arm.client.json(all).await?, LINKS)
            }
            LinkWhat::Delete { source } => {
                arm.client.send(links(Method::DELETE, &source)).await?;
                output::print(&format!("{source}: unlinked"))
            }
        }
    }
}

fn confirm(workspace: &str) -> Result<(), Failure> {
    if stdin().is_terminal() {
        eprint!("Type the workspace's name to go on: ");
        std::io::stderr().flush().map_err(|_| Failure::Failed("the question could not be asked".to_owned()))?;
    }
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(|error| Failure::Failed(format!("no answer could be read: {error}")))?;
    if line.trim().eq_ignore_ascii_case(workspace) {
        return Ok(());
    }
    Err(Failure::Usage("that is not the workspace's name; nothing was changed (--yes asks nothing)".to_owned()))
}
