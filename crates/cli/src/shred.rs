//! `strongroom shred`.

use clap::Args;
use reqwest::Method;
use serde_json::json;

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Format};

/// Takes rows of a table away for good: all of them, or those of a range of event times.
///
/// A table or a day has no key of its own: blocks in the range are deleted, blocks that reach across its edges are written once
/// more without its rows, and the old objects are unlinked. To destroy keys, delete the workspace (strongroom workspace
/// delete): its secrets go, and with them the meaning of every copy of its objects.
#[derive(Debug, Args)]
pub(crate) struct Shred {
    #[command(flatten)]
    target: Target,
    /// The workspace's name or id
    #[arg(long, value_name = "NAME")]
    workspace: String,
    /// The table
    #[arg(long, value_name = "TABLE")]
    table: String,
    /// From then on: a date (its first moment, UTC) or an instant [default: the beginning]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to then, and without it [default: the end]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Yes, this is meant: nothing brings the rows back
    #[arg(long)]
    yes: bool,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Shred {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if !self.yes {
            let what = format!("rows of {} in {} would be gone for good", self.table, self.workspace);
            return Err(Failure::Usage(format!("{what}: give --yes if that is meant")));
        }
        let client = self.target.client()?;
        let mut ask = json!({"confirm": self.table});
        for (name, bound) in [("from", &self.from), ("to", &self.to)] {
            if let Some(bound) = bound {
                ask[name] = bound.as_str().into();
            }
        }
        let request = client.request(Method::POST, &["v1", "workspaces", &self.workspace, "tables", &self.table, "shred"]);
        let answer = client.json(request.json(&ask)).await?;
        if self.output == Format::Json {
            return output::print_json(&answer);
        }
        let figure = |name: &str| answer[name].as_u64().unwrap_or(0);
        let (rows, deleted) = (output::count(figure("rows"), "row"), output::count(figure("deleted"), "block"));
        let rewritten = output::count(figure("rewritten"), "block");
        output::print(&format!("{rows} gone: {deleted} deleted, {rewritten} rewritten, {} unlinked", output::size(figure("bytes"))))?;
        if figure("objectsLeft") > 0 {
            output::print(&format!("{} left to the sweep", output::count(figure("objectsLeft"), "old object")))?;
        }
        if figure("segmentsLeft") > 0 {
            let segments = output::count(figure("segmentsLeft"), "segment");
            output::print(&format!(
                "{segments} of the log still hold sealed copies of rows: they go once others' rows in them are in blocks"
            ))?;
        }
        output::print(answer["notice"].as_str().unwrap_or_default())
    }
}
