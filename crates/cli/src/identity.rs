//! `strongroom identity`, and what `strongroom cluster` does with identities.

use std::io::{BufRead, IsTerminal, Write, stdin};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::arm::{Arm, Where};
use crate::client::Target;
use crate::output::{self, Field, Format, show};

const PROVIDER: &str = "Microsoft.ManagedIdentity";
const KIND: &str = "userAssignedIdentities";

/// Makes, shows and deletes user-assigned identities: a cluster may show one to its vault instead of its own.
#[derive(Debug, Args)]
pub(crate) struct Identity {
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
    /// Makes an identity with a key pair of its own and prints its principal id: what to register and grant in the vault
    Create {
        /// Its name
        name: String,
        /// The region [default: the server's]
        #[arg(long, value_name = "REGION")]
        location: Option<String>,
        /// Writes the public key to this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Shows one
    Show {
        /// Its name
        name: String,
    },
    /// Lists those of the resource group
    List,
    /// Deletes one that no cluster shows
    Delete {
        /// Its name
        name: String,
    },
}

impl Identity {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let arm = Arm::new(self.target.client()?, &self.place).await?;
        match self.what {
            What::Create { name, location, out } => {
                let location = match location {
                    Some(location) => location,
                    None => crate::cluster::region(&arm).await?,
                };
                let made = arm.client.json(path(&arm, Method::PUT, &name).json(&json!({"location": location}))).await?;
                if let Some(out) = out {
                    let pem = made["properties"]["publicKey"].as_str().unwrap_or_default();
                    std::fs::write(&out, pem).map_err(|error| Failure::Failed(format!("--out {}: {error}", out.display())))?;
                }
                match self.output {
                    Format::Json => output::print_json(&made),
                    Format::Table => output::print(made["properties"]["principalId"].as_str().unwrap_or_default()),
                }
            }
            What::Show { name } => {
                let shown = arm.client.json(path(&arm, Method::GET, &name)).await?;
                show(self.output, &json!({"value": [shown]}), FIELDS)
            }
            What::List => show(self.output, &arm.client.json(arm.provider(Method::GET, PROVIDER, &[KIND])).await?, FIELDS),
            What::Delete { name } => {
                arm.client.send(path(&arm, Method::DELETE, &name)).await?;
                Ok(())
            }
        }
    }
}

fn path(arm: &Arm, method: Method, name: &str) -> reqwest::RequestBuilder {
    arm.provider(method, PROVIDER, &[KIND, name])
}

const FIELDS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Region", |row| row["location"].clone()),
    Field("Principal", |row| row["properties"]["principalId"].clone()),
    Field("Tenant", |row| row["properties"]["tenantId"].clone()),
];

/// Which identity a cluster is to show.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The cluster's own
    #[arg(long)]
    own: bool,
    /// A user-assigned one of the same resource group, or the path of one
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// None: revokes access to the data at once, and only the operator of the service can end that
    #[arg(long)]
    none: bool,
}

impl Which {
    /// The body of the change, once who asks for none has said that they mean it.
    pub(crate) async fn body(&self, arm: &Arm, cluster: &str, yes: bool) -> Result<Value, Failure> {
        if self.none {
            eprintln!(
                "strongroom: this revokes access to all data of cluster {cluster} at once. You can't end that: only the operator of the\n\
                 service can. To revoke access so that you can give it back yourself, disable the key in the vault instead:\n\
                 strongroom key disable NAME"
            );
            if !yes {
                confirm(cluster)?;
            }
            return Ok(json!({"identity": {"type": "None"}}));
        }
        let Some(user) = &self.user else { return Ok(json!({"identity": {"type": "SystemAssigned"}})) };
        let id = if user.contains('/') {
            user.clone()
        } else {
            let found = arm.client.json(path(arm, Method::GET, user)).await?;
            found["id"].as_str().unwrap_or_default().to_owned()
        };
        Ok(json!({"identity": {"type": "UserAssigned", "userAssignedIdentities": {id: {}}}}))
    }
}

fn confirm(cluster: &str) -> Result<(), Failure> {
    if stdin().is_terminal() {
        eprint!("Type the cluster's name to go on: ");
        std::io::stderr().flush().map_err(|_| Failure::Failed("the question could not be asked".to_owned()))?;
    }
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(|error| Failure::Failed(format!("no answer could be read: {error}")))?;
    if line.trim().eq_ignore_ascii_case(cluster) {
        return Ok(());
    }
    Err(Failure::Usage("that is not the cluster's name; nothing was changed (--yes asks nothing)".to_owned()))
}
