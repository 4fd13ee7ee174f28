//! `strongroom flush` and `strongroom compact`.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::Failure;
use crate::client::{InWorkspace, Target};
use crate::output::{self, Format};

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    within: InWorkspace,
    /// The one table to do it for [default: all]
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Which {
    async fn post(&self, what: &str) -> Result<Value, Failure> {
        let client = self.target.client()?;
        let mut request = client.request(Method::POST, &["v1", "workspaces", &self.within.workspace, what]);
        if let Some(table) = &self.table {
            request = request.query(&[("table", table)]);
        }
        Ok(client.json(request).await?)
    }

    fn show(&self, answer: &Value, told: &str) -> Result<(), Failure> {
        match self.output {
            Format::Json => output::print_json(answer),
            Format::Table => output::print(told),
        }
    }
}

/// Makes blocks of what has arrived.
#[derive(Debug, Args)]
pub(crate) struct Flush {
    #[command(flatten)]
    which: Which,
}

impl Flush {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let answer = self.which.post("flush").await?;
        let figure = |name: &str| answer[name].as_u64().unwrap_or(0);
        let (rows, blocks) = (output::count(figure("rows"), "row"), output::count(figure("blocks"), "block"));
        self.which.show(&answer, &format!("{rows} in {blocks}, {}", output::size(figure("bytes"))))
    }
}

/// Makes fewer blocks of many.
#[derive(Debug, Args)]
pub(crate) struct Compact {
    #[command(flatten)]
    which: Which,
}

impl Compact {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let answer = self.which.post("compact").await?;
        let figure = |name: &str| answer[name].as_u64().unwrap_or(0);
        let (merged, rows) = (output::count(figure("merged"), "block"), output::count(figure("rows"), "row"));
        self.which.show(&answer, &format!("{merged} became {}: {rows}, {}", figure("blocks"), output::size(figure("bytes"))))
    }
}
