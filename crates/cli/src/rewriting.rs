//! Data that the server seals anew in the background: begun, watched, told.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Client;
use crate::output::{self, Field, Format};

/// Between two looks.
const POLL: Duration = Duration::from_secs(2);

/// Sends `body` to `path`, if there is one to send, and follows what it began, telling so on stderr.
pub(crate) async fn run(client: &Client, path: &[&str], body: Option<Value>, no_wait: bool, format: Format) -> Result<(), Failure> {
    let mut view = match body {
        Some(body) => client.json(client.request(Method::POST, path).json(&body)).await?,
        None => client.json(client.request(Method::GET, path)).await?,
    };
    let mut told = None;
    while !no_wait && view["status"] == "InProgress" {
        if view["paused"] == true {
            eprintln!("strongroom: paused; --resume lets it go on");
            break;
        }
        let percent = view["percentComplete"].as_u64();
        if percent != told {
            eprintln!("strongroom: {} % done", percent.unwrap_or_default());
            told = percent;
        }
        tokio::time::sleep(POLL).await;
        view = client.json(client.request(Method::GET, path)).await?;
    }
    match format {
        Format::Json => output::print_json(&view)?,
        Format::Table => output::print(&output::objects(&json!({"value": [view]}), FIELDS))?,
    }
    match view["error"].as_str() {
        Some(error) => Err(Failure::Failed(error.to_owned())),
        None => Ok(()),
    }
}

const FIELDS: &[Field] = &[
    Field("Status", |row| if row["paused"] == true { "paused".into() } else { row["status"].clone() }),
    Field("Done", |row| format!("{} %", row["percentComplete"].as_u64().unwrap_or_default()).into()),
    Field("Left", |row| output::sized(&row["remainingBytes"])),
    Field("Rate", |row| row["rateMbS"].as_u64().map_or_else(|| "no limit".into(), |rate| format!("{rate} MB/s").into())),
];
