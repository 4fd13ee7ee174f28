//! `strongroom workspace`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Field, Format};

/// Makes, lists and shows workspaces.
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
    List,
    /// Shows one
    Show {
        /// Its name or id
        name: String,
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
            What::List => client.json(client.request(Method::GET, &["v1", "workspaces"])).await?,
            What::Show { name } => client.json(client.request(Method::GET, &["v1", "workspaces", name])).await?,
        };
        match self.output {
            Format::Json => output::print_json(&answer),
            Format::Table if answer["value"].is_array() => output::print(&output::objects(&answer, FIELDS)),
            Format::Table => output::print(&output::objects(&json!({"value": [answer]}), FIELDS)),
        }
    }
}

const FIELDS: &[Field] = &[
    Field("Name", |row| row["name"].clone()),
    Field("Id", |row| row["id"].clone()),
    Field("Group", |row| row["resourceGroup"].clone()),
    Field("Region", |row| row["region"].clone()),
    Field("Retention", |row| row["retentionInDays"].as_u64().map_or(Value::Null, |days| format!("{days} d").into())),
    Field("Created", |row| output::date(&row["createdMs"])),
];
