//! `strongroom tables`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{InWorkspace, Target};
use crate::output::{self, Field, Format};

/// Lists the tables of a workspace.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Tables {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    within: InWorkspace,
    /// Shows the columns of this table
    #[arg(value_name = "TABLE")]
    table: Option<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Sets what a table is kept for
    SetPlan {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        within: InWorkspace,
        /// The table
        table: String,
        /// Analytics, or Auxiliary: Lockbox does not apply to it, the provider's staff may read it
        plan: String,
    },
}

impl Tables {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(What::SetPlan { target, within, table, plan }) = self.what {
            let client = target.client()?;
            let request = client.request(Method::PATCH, &["v1", "workspaces", &within.workspace, "tables", &table]);
            let answer = client.json(request.json(&json!({"plan": plan}))).await?;
            return output::print(&format!("{table}: {}", answer["plan"].as_str().unwrap_or_default()));
        }
        let client = self.target.client()?;
        let mut answer = client.json(client.request(Method::GET, &["v1", "workspaces", &self.within.workspace, "tables"])).await?;
        if let Some(name) = &self.table {
            let found = answer["value"].as_array().into_iter().flatten().find(|table| table["name"] == name.as_str()).cloned();
            let Some(found) = found else {
                return Err(Failure::Refused(format!("there is no table {name} in workspace {}", self.within.workspace)));
            };
            answer = if self.output == Format::Json { found } else { json!({"value": found["columns"]}) };
        }
        match (self.output, self.table) {
            (Format::Json, _) => output::print_json(&answer),
            (Format::Table, None) => output::print(&output::objects(&answer, TABLE)),
            (Format::Table, Some(_)) => output::print(&output::objects(&answer, COLUMN)),
        }
    }
}

const TABLE: &[Field] = &[
    Field("Table", |table| table["name"].clone()),
    Field("Rows", |table| table["rowsLive"].clone()),
    Field("Blocks", |table| table["blocks"].clone()),
    Field("Stored", |table| output::sized(&table["bytes"])),
    Field("Columns", |table| table["columns"].as_array().map_or(Value::Null, |columns| columns.len().into())),
    Field("Retention", |table| table["retentionDays"].as_u64().map_or(Value::Null, |days| format!("{days} d").into())),
];

const COLUMN: &[Field] = &[Field("Column", |column| column["name"].clone()), Field("Type", |column| column["type"].clone())];
