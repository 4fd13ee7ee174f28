//! `strongroom cache`.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Field, Format};

/// Shows what the hot cache holds and did since the server started.
#[derive(Debug, Args)]
pub(crate) struct Cache {
    #[command(flatten)]
    target: Target,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Cache {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let answer = client.json(client.request(Method::GET, &["v1", "cache"])).await?;
        match self.output {
            Format::Json => output::print_json(&answer),
            Format::Table => {
                let mut rows = answer["workspaces"].as_array().cloned().unwrap_or_default();
                let mut all = answer;
                all["workspace"] = "all".into();
                rows.push(all);
                output::print(&output::objects(&json!({"value": rows}), FIELDS))
            }
        }
    }
}

const FIELDS: &[Field] = &[
    Field("Workspace", |row| row["workspace"].clone()),
    Field("Parts", |row| row["entries"].clone()),
    Field("On disk", |row| output::sized(&row["bytes"])),
    Field("Hits", |row| row["hits"].clone()),
    Field("Misses", |row| row["misses"].clone()),
    Field("Fetched", |row| output::sized(&row["fetchedBytes"])),
];
