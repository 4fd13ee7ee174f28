//! `strongroom saved-search`: a workspace's saved searches and functions, out to a file and back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::arm::{Arm, Where};
use crate::client::Target;
use crate::output::{self, Field, Format};

/// Bytes of a file that is imported, at most: as many searches as a workspace holds, each as long as may be.
const FILE_MAX: u64 = 64 << 20;

/// Lists, exports and imports a workspace's saved searches and functions.
#[derive(Debug, Args)]
pub(crate) struct SavedSearch {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    place: Where,
    /// The workspace
    #[arg(long, env = "STRONGROOM_WORKSPACE", default_value = "default", value_name = "NAME", global = true)]
    workspace: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists them
    List {
        /// How to print
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// Writes all of them as one JSON document. It is in clear: keep it as you would keep your queries
    Export {
        /// The file [default: stdout]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Saves what `export` wrote, in the place of those with the same ids
    Import {
        /// The file
        file: PathBuf,
    },
}

const SEARCHES: &[Field] = &[
    Field("Id", |search| search["name"].clone()),
    Field("Category", |search| search["properties"]["category"].clone()),
    Field("Name", |search| search["properties"]["displayName"].clone()),
    Field("Function", |search| search["properties"]["functionAlias"].clone()),
];

impl SavedSearch {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let arm = Arm::new(self.target.client()?, &self.place).await?;
        let workspace = self.workspace;
        let list = || arm.client.json(arm.call(Method::GET, &["workspaces", &workspace, "savedSearches"]));
        match self.what {
            What::List { output: Format::Json } => output::print_json(&list().await?),
            What::List { output: Format::Table } => output::print(&output::objects(&list().await?, SEARCHES)),
            What::Export { out } => {
                let found = list().await?;
                let kept: Vec<Value> = found["value"].as_array().into_iter().flatten().map(exported).collect();
                let document = json!({"savedSearches": kept});
                let Some(out) = out else { return output::print_json(&document) };
                let text = serde_json::to_string_pretty(&document).map_err(|error| Failure::Failed(error.to_string()))?;
                std::fs::write(&out, text).map_err(|error| Failure::Failed(format!("--out {}: {error}", out.display())))?;
                output::print(&format!("{}: {} exported", out.display(), kept.len()))
            }
            What::Import { file } => {
                let searches = read(&file)?;
                for search in &searches {
                    let id = search["id"].as_str().unwrap_or_default();
                    let body = json!({"properties": search["properties"]});
                    arm.client.json(arm.call(Method::PUT, &["workspaces", &workspace, "savedSearches", id]).json(&body)).await?;
                }
                output::print(&format!("{} imported", searches.len()))
            }
        }
    }
}

/// What of a search is its owner's: etags are another's after each import.
fn exported(search: &Value) -> Value {
    json!({"id": search["name"], "properties": search["properties"]})
}

fn read(file: &std::path::Path) -> Result<Vec<Value>, Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?.len();
    if size > FILE_MAX {
        return Err(wrong(format!("it has more than {FILE_MAX} bytes")));
    }
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    let mut document: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let Value::Array(searches) = document["savedSearches"].take() else {
        return Err(wrong("a document with savedSearches, as `saved-search export` writes it, is expected".to_owned()));
    };
    let whole = |search: &Value| search["id"].as_str().is_some_and(|id| !id.is_empty()) && search["properties"].is_object();
    if !searches.iter().all(whole) {
        return Err(wrong("each of savedSearches has an id and properties".to_owned()));
    }
    Ok(searches)
}
