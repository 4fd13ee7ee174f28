//! `strongroom token`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Field, Format};

/// Makes, lists and deletes access tokens.
#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

/// How a new token is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum TokenFormat {
    /// With its facts, for people
    #[default]
    Table,
    /// The server's answer as it is
    Json,
    /// The token alone
    Token,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a token; it is shown this once and kept nowhere
    Create {
        /// A role, as `principal roles` lists them: Owner, Contributor, Reader, Ingest, Operator, …
        #[arg(long)]
        role: String,
        /// The one workspace it is for [default: all]
        #[arg(long, value_name = "NAME", conflicts_with = "scope")]
        workspace: Option<String>,
        /// The place it is for, like /subscriptions/ID/resourceGroups/NAME [default: everything]
        #[arg(long, value_name = "PATH")]
        scope: Option<String>,
        /// What to call it [default: its role]
        #[arg(long)]
        name: Option<String>,
        /// How long it works, like 90d, 12h or 30m [default: until it is deleted]
        #[arg(long, value_parser = duration)]
        ttl: Option<Duration>,
        /// How to print
        #[arg(long, short, value_enum, default_value_t)]
        output: TokenFormat,
    },
    /// Lists who has a token (never the tokens)
    List {
        /// How to print
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
    /// Deletes a token: it stops working within a second
    Delete {
        /// Its id, as `token list` shows it
        id: String,
    },
}

impl Token {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        match self.what {
            What::Create { role, workspace, scope, name, ttl, output } => {
                let mut new = json!({"role": role});
                let given = [("workspace", workspace.map(Value::from)), ("scope", scope.map(Value::from)), ("name", name.map(Value::from))];
                for (member, value) in given.into_iter().chain([("ttlSeconds", ttl.map(|ttl| ttl.as_secs().into()))]) {
                    if let Some(value) = value {
                        new[member] = value;
                    }
                }
                let answer = client.json(client.request(Method::POST, &["v1", "principals"]).json(&new)).await?;
                match output {
                    TokenFormat::Json => output::print_json(&answer),
                    TokenFormat::Token => output::print(answer["token"].as_str().unwrap_or_default()),
                    TokenFormat::Table => {
                        output::print(&output::objects(&json!({"value": [answer]}), &FIELDS[..1]))?;
                        output::print(&format!("token: {}", answer["token"].as_str().unwrap_or_default()))
                    }
                }
            }
            What::List { output } => {
                let answer = client.json(client.request(Method::GET, &["v1", "principals"])).await?;
                match output {
                    Format::Json => output::print_json(&answer),
                    Format::Table => output::print(&output::objects(&answer, FIELDS)),
                }
            }
            What::Delete { id } => {
                client.json(client.request(Method::DELETE, &["v1", "principals", &id])).await?;
                Ok(())
            }
        }
    }
}

const FIELDS: &[Field] = &[
    Field("Id", |row| row["id"].clone()),
    Field("Name", |row| row["name"].clone()),
    Field("Role", |row| row["role"].clone()),
    Field("Workspace", |row| if row["workspace"].is_null() { "all".into() } else { row["workspace"].clone() }),
    Field("Created", |row| output::date(&row["createdMs"])),
    Field("Expires", |row| if row["expiresMs"].is_null() { "never".into() } else { output::date(&row["expiresMs"]) }),
];

/// `90d`, `12h`, `30m`, `45s`, `2w`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is not a duration like 90d, 12h, 30m or 45s");
    let split = text.len() - text.chars().last().map_or(0, char::len_utf8);
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|&seconds| seconds > 0).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration("90d"), Ok(Duration::from_hours(90 * 24)));
        assert_eq!(duration("30m"), Ok(Duration::from_mins(30)));
        for wrong in ["", "d", "0s", "-1h", "1", "1y", "1.5h", "99999999999999999999d", "5µ"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
