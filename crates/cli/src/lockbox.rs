//! `strongroom lockbox`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Field, Format};

/// Lets the provider's staff see a workspace's rows, or does not: asks, approves, rejects, ends.
#[derive(Debug, Args)]
pub(crate) struct Lockbox {
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
    /// Asks a customer for leave to see a workspace's rows (as an Operator)
    Request {
        /// The workspace's name or id
        #[arg(long, value_name = "NAME")]
        workspace: String,
        /// What for
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// For how many hours, from the approval on
        #[arg(long, value_name = "N", default_value_t = 1)]
        hours: u32,
    },
    /// Lists the requests about workspaces that this token sees, the newest first
    List,
    /// Shows one
    Show {
        /// Its id
        id: String,
    },
    /// Allows a request. Takes a role on the subscription: Owner or LockboxApprover
    Approve {
        /// Its id
        id: String,
    },
    /// Refuses a request. Takes a role on the subscription: Owner or LockboxApprover
    Reject {
        /// Its id
        id: String,
    },
    /// Ends an approval before its time is over: queries under way stop
    End {
        /// Its id
        id: String,
    },
}

impl Lockbox {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let step = |id: &str, step: &str| client.request(Method::POST, &["v1", "lockbox", id, step]);
        let answer = match &self.what {
            What::Request { workspace, reason, hours } => {
                let new = json!({"workspace": workspace, "reason": reason, "hours": hours});
                client.json(client.request(Method::POST, &["v1", "lockbox"]).json(&new)).await?
            }
            What::List => client.json(client.request(Method::GET, &["v1", "lockbox"])).await?,
            What::Show { id } => client.json(client.request(Method::GET, &["v1", "lockbox", id])).await?,
            What::Approve { id } => client.json(step(id, "approve")).await?,
            What::Reject { id } => client.json(step(id, "reject")).await?,
            What::End { id } => client.json(step(id, "end")).await?,
        };
        output::show(self.output, &answer, FIELDS)
    }
}

/// Until when it can be answered, or lasts.
fn until(request: &Value) -> Value {
    output::date(if request["state"] == "Pending" { &request["answerByMs"] } else { &request["untilMs"] })
}

const FIELDS: &[Field] = &[
    Field("Id", |row| row["id"].clone()),
    Field("State", |row| row["state"].clone()),
    Field("Workspace", |row| row["workspaceName"].clone()),
    Field("Who", |row| row["requester"]["name"].clone()),
    Field("Hours", |row| row["hours"].clone()),
    Field("Until", until),
    Field("Decided by", |row| row["decidedBy"]["name"].clone()),
    Field("Reason", |row| row["reason"].clone()),
];
