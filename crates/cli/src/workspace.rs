//! `strongroom workspace`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::arm::Arm;
use crate::client::{Client, Target};
use crate::output::{self, Field, Format};
use crate::rewriting;

/// Makes, lists, shows and links workspaces.
#[derive(Debug, Args)]
pub(crate) struct Workspace {
    #[command(flatten)]
    target: Target,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a workspace
    Create {
        /// Its name
        name: String,
        /// Days that rows are kept
        #[arg(long, value_name = "DAYS")]
        retention_days: Option<u32>,
    },
    /// Lists the workspaces this token may see
    List {
        /// Lists the deleted ones that can still be brought back
        #[arg(long)]
        deleted: bool,
    },
    /// Shows one
    Show {
        /// Its name or id
        name: String,
    },
    /// Links a workspace to a dedicated cluster: what it gets from then on is under the cluster's key
    ///
    /// What is there stays under the key it was written with, and one query reads both. While the cluster's key is away,
    /// nothing in the workspace can be read. `strongroom doctor --cluster NAME --workspace NAME` tells beforehand what
    /// stands in the way.
    Link {
        /// Its name or id
        name: String,
        /// The cluster's name or id
        #[arg(long, value_name = "NAME")]
        cluster: String,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Deletes a workspace, unlinking it first
    ///
    /// It can be brought back for 14 days. Then its secrets are destroyed: nothing opens its objects any more, whatever copies
    /// of them there are.
    Delete {
        /// Its name or id
        name: String,
        /// Yes, this is meant
        #[arg(long)]
        yes: bool,
        /// For good and at once: nothing brings it back
        #[arg(long)]
        force: bool,
    },
    /// Brings a deleted workspace back, with its rows and without its link
    Recover {
        /// Its name or id
        name: String,
    },
    /// Says what is done with new rows while the customer's key is revoked
    ///
    /// `refuse` (unless set otherwise): nothing is taken and who sends is told so; agents keep what they have and try again.
    /// `seal`: rows are taken and sealed so that nobody can read them before the key is back. `drop`: rows are taken and thrown
    /// away, and counted. While a vault merely does not answer, rows are kept sealed whatever is set here.
    SetPolicy {
        /// Its name or id
        name: String,
        /// refuse, seal or drop
        #[arg(long, value_name = "WHAT", value_parser = ["refuse", "seal", "drop"])]
        while_revoked: String,
    },
    /// Brings the old data of a linked workspace, which is under the provider's key, under the cluster's
    ///
    /// In the background, block by block; goes on over restarts. Without a further option it begins, or goes on waiting for one that
    /// runs.
    Reencrypt {
        /// Its name or id
        name: String,
        /// MB a second that are sealed anew at most [default: as fast as it goes]
        #[arg(long, value_name = "N")]
        rate_mb_s: Option<u32>,
        /// Lets it rest
        #[arg(long, conflicts_with_all = ["resume", "status"])]
        pause: bool,
        /// Lets it go on
        #[arg(long, conflicts_with = "status")]
        resume: bool,
        /// Only shows how the last one stands
        #[arg(long, conflicts_with = "rate_mb_s")]
        status: bool,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
    /// Unlinks a workspace from its cluster: what it gets from then on is under the provider's key. Needs no key
    Unlink {
        /// Its name or id
        name: String,
        /// Does not wait until it is done
        #[arg(long)]
        no_wait: bool,
    },
}

impl Workspace {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let answer = match &self.what {
            What::Create { name, retention_days } => {
                let mut new = json!({"name": name});
                if let Some(days) = retention_days {
                    new["retentionInDays"] = json!(days);
                }
                client.json(client.request(Method::POST, &["v1", "workspaces"]).json(&new)).await?
            }
            What::List { deleted: false } => client.json(client.request(Method::GET, &["v1", "workspaces"])).await?,
            What::List { deleted: true } => {
                let answer = client.json(client.request(Method::GET, &["v1", "deleted-workspaces"])).await?;
                return match self.output {
                    Format::Json => output::print_json(&answer),
                    Format::Table => output::print(&output::objects(&answer, DELETED)),
                };
            }
            What::Delete { name, yes: false, .. } => {
                return Err(Failure::Usage(format!("workspace {name} would be deleted with all its rows: give --yes if that is meant")));
            }
            What::Delete { name, force, yes: true } => {
                let request = client.request(Method::DELETE, &["v1", "workspaces", name]).query(&[("force", force)]);
                let answer = client.json(request).await?;
                return match self.output {
                    Format::Json => output::print_json(&answer),
                    Format::Table => output::print(answer["notice"].as_str().unwrap_or_default()),
                };
            }
            What::Recover { name } => client.json(client.request(Method::POST, &["v1", "workspaces", name, "recover"])).await?,
            What::Show { name } => client.json(client.request(Method::GET, &["v1", "workspaces", name])).await?,
            What::Link { name, cluster, no_wait } => {
                let target = client.json(client.request(Method::GET, &["v1", "clusters", cluster])).await?;
                let (arm, workspace) = at(client, name).await?;
                let body = json!({"properties": {"writeAccessResourceId": target["id"]}});
                let request = arm.call(Method::PUT, &["workspaces", &workspace, "linkedServices", "cluster"]).json(&body);
                arm.run(request, &format!("link of {workspace} to {cluster}"), *no_wait).await?;
                show(&arm, name).await?
            }
            What::SetPolicy { name, while_revoked } => {
                let body = json!({"cmkIngestPolicy": while_revoked});
                client.json(client.request(Method::PATCH, &["v1", "workspaces", name]).json(&body)).await?
            }
            What::Reencrypt { name, rate_mb_s, pause, resume, status, no_wait } => {
                let mut body = json!({"rateMbS": rate_mb_s});
                if *pause || *resume {
                    body["paused"] = (*pause).into();
                }
                let path = ["v1", "workspaces", name, "reencrypt"];
                return rewriting::run(&client, &path, (!status).then_some(body), *no_wait || *pause || *status, self.output).await;
            }
            What::Unlink { name, no_wait } => {
                let (arm, workspace) = at(client, name).await?;
                let request = arm.call(Method::DELETE, &["workspaces", &workspace, "linkedServices", "cluster"]);
                arm.run(request, &format!("unlink of {workspace}"), *no_wait).await?;
                show(&arm, name).await?
            }
        };
        match self.output {
            Format::Json => output::print_json(&answer),
            Format::Table if answer["value"].is_array() => output::print(&output::objects(&answer, FIELDS)),
            Format::Table => output::print(&output::objects(&json!({"value": [answer]}), FIELDS)),
        }
    }
}

async fn show(arm: &Arm, name: &str) -> Result<Value, Failure> {
    Ok(arm.client.json(arm.client.request(Method::GET, &["v1", "workspaces", name])).await?)
}

/// Where a workspace lies, and its name there.
async fn at(client: Client, name: &str) -> Result<(Arm, String), Failure> {
    let row = client.json(client.request(Method::GET, &["v1", "workspaces", name])).await?;
    let part = |member: &str| row[member].as_str().unwrap_or_default().to_owned();
    Ok((Arm::at(client, part("subscription"), part("resourceGroup")), part("name")))
}

const DELETED: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Id", |row| row["id"].clone()),
    Field("Deleted", |row| output::date(&row["deletedMs"])),
    Field("Shredded from", |row| output::date(&row["shredMs"])),
];

const FIELDS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Id", |row| row["id"].clone()),
    Field("Group", |row| row["resourceGroup"].clone()),
    Field("Region", |row| row["region"].clone()),
    Field("Retention", |row| row["retentionInDays"].as_u64().map_or(Value::Null, |days| format!("{days} d").into())),
    Field("Cluster", |row| row["cluster"].clone()),
    Field("While revoked", |row| row["cmkIngestPolicy"].clone()),
    Field("Created", |row| output::date(&row["createdMs"])),
];
