//! `strongroom tables`.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{InWorkspace, Target};
use crate::output::{self, Field, Format};

/// Lists the tables of a workspace.
#[derive(Debug, Args)]
pub(crate) struct Tables {
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

impl Tables {
    pub(crate) async fn run(self) -> Result<(), Failure> {
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
