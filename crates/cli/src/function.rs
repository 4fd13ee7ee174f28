//! `strongroom function`.

use std::io::{Read, stdin};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::{CallError, InWorkspace, Target};
use crate::output::{self, Field, Format, show};
use crate::query::point;

/// Makes, lists, shows and deletes a workspace's stored functions.
///
/// A stored function is KQL under a name that every question in the workspace may call. It is kept as the rows are: sealed under
/// the workspace's key, and not to be had while that is away.
#[derive(Debug, Args)]
pub(crate) struct Function {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Stores a function, in the place of one of the same name
    Put {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        within: InWorkspace,
        /// What it is called
        name: String,
        /// What stands in its braces, e.g. `AppLogs | where Level == level`
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        body: Option<String>,
        /// What stands in its parentheses, e.g. `level:string = "ERROR"`
        #[arg(long, default_value = "", value_name = "PARAMETERS")]
        parameters: String,
        /// Remarks for people
        #[arg(long, default_value = "", value_name = "TEXT")]
        description: String,
        /// Reads the body from a file; `-`: from stdin
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Lists the functions
    List {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        within: InWorkspace,
        /// How to print
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// Shows a function
    Show {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        within: InWorkspace,
        /// Which
        name: String,
        /// How to print
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// Deletes a function
    Delete {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        within: InWorkspace,
        /// Which
        name: String,
    },
}

impl Function {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Put { target, within, name, body, parameters, description, file } => {
                let client = target.client()?;
                let body = match (body, file) {
                    (Some(body), _) => body,
                    (None, file) => read(file.as_deref().unwrap_or(Path::new("-")))?,
                };
                let request = client.request(Method::PUT, &["v1", "workspaces", &within.workspace, "functions", &name]);
                let function = json!({"parameters": parameters, "body": body, "description": description});
                let pointed = |error: CallError| point(&body, &error.wrong, &error.failure);
                let answer = client.json(request.json(&function)).await.map_err(pointed)?;
                output::print(&declaration(&answer))
            }
            Command::List { target, within, output } => {
                let client = target.client()?;
                let answer = client.json(client.request(Method::GET, &["v1", "workspaces", &within.workspace, "functions"])).await?;
                show(output, &answer, FUNCTION)
            }
            Command::Show { target, within, name, output } => {
                let client = target.client()?;
                let request = client.request(Method::GET, &["v1", "workspaces", &within.workspace, "functions", &name]);
                let answer = client.json(request).await?;
                if output == Format::Json {
                    return output::print_json(&answer);
                }
                output::print(&format!("{} {{\n{}\n}}", declaration(&answer), answer["body"].as_str().unwrap_or_default()))
            }
            Command::Delete { target, within, name } => {
                let client = target.client()?;
                client.json(client.request(Method::DELETE, &["v1", "workspaces", &within.workspace, "functions", &name])).await?;
                output::print(&format!("{name}: deleted"))
            }
        }
    }
}

const FUNCTION: &[Field] = &[
    Field("Function", |function| declaration(function).into()),
    Field("Changed", |function| output::date(&function["changedMs"])),
    Field("Remarks", |function| function["description"].clone()),
];

fn declaration(function: &Value) -> String {
    let text = |member: &str| function[member].as_str().unwrap_or_default();
    format!("{}({})", text("name"), text("parameters"))
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        stdin().take(1 << 20).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_string(&mut text))
    };
    read.map(|_| text).map_err(|error| Failure::Failed(format!("{} cannot be read: {error}", path.display())))
}
