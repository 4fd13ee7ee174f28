//! `strongroom key rotation-policy` and `key backup`: what a key does by itself, and how it is kept elsewhere.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::output::{Field, Format, show};
use crate::vault::VaultClient;

/// Shows a key's rotation policy, or sets it as a whole.
#[derive(Debug, Args)]
pub(crate) struct RotationPolicy {
    /// The key's name
    name: String,
    /// Rotate that long after a version was made
    #[arg(long, value_name = "DURATION", conflicts_with = "rotate_before_expiry")]
    rotate_after: Option<String>,
    /// Rotate that long before a version expires; needs --expiry
    #[arg(long, value_name = "DURATION", requires = "expiry")]
    rotate_before_expiry: Option<String>,
    /// How long versions made by rotation are good for
    #[arg(long, value_name = "DURATION")]
    expiry: Option<String>,
    /// Put it on record that long before a version expires [default when setting: P30D]
    #[arg(long, value_name = "DURATION")]
    notify_before_expiry: Option<String>,
}

impl RotationPolicy {
    pub(crate) async fn run(self, vault: &VaultClient, format: Format) -> Result<(), Failure> {
        let path = ["keys", self.name.as_str(), "rotationpolicy"];
        let set =
            [&self.rotate_after, &self.rotate_before_expiry, &self.expiry, &self.notify_before_expiry].into_iter().any(Option::is_some);
        let answer = if set {
            let action = |trigger: &str, time: &str, kind: &str| json!({"trigger": {trigger: time}, "action": {"type": kind}});
            let after = self.rotate_after.as_deref().map(|time| action("timeAfterCreate", time, "Rotate"));
            let before = self.rotate_before_expiry.as_deref().map(|time| action("timeBeforeExpiry", time, "Rotate"));
            let notify = action("timeBeforeExpiry", self.notify_before_expiry.as_deref().unwrap_or("P30D"), "Notify");
            let actions: Vec<Value> = after.into_iter().chain(before).chain([notify]).collect();
            let body = json!({"lifetimeActions": actions, "attributes": {"expiryTime": self.expiry}});
            vault.keys(Method::PUT, &path, Some(&body)).await?
        } else {
            vault.keys(Method::GET, &path, None).await?
        };
        show(format, &answer, POLICY)
    }
}

const POLICY: &[Field] = &[
    Field("Rotates", |row| when(row, "Rotate")),
    Field("Notice", |row| when(row, "Notify")),
    Field("New versions are good for", |row| row["attributes"]["expiryTime"].clone()),
];

/// When an action of the policy is due, in words.
fn when(policy: &Value, kind: &str) -> Value {
    let actions = policy["lifetimeActions"].as_array();
    let Some(trigger) = actions.and_then(|all| all.iter().find(|one| one["action"]["type"] == kind)).map(|one| &one["trigger"]) else {
        return "no".into();
    };
    match (trigger["timeAfterCreate"].as_str(), trigger["timeBeforeExpiry"].as_str()) {
        (Some(time), _) => format!("{time} after creation").into(),
        (_, Some(time)) => format!("{time} before expiry").into(),
        _ => Value::Null,
    }
}

/// Writes a key's backup to a new file that its owner alone can read.
pub(crate) async fn back_up(vault: &VaultClient, name: &str, out: &Path) -> Result<(), Failure> {
    let answer = vault.keys(Method::POST, &["keys", name, "backup"], None).await?;
    let text = answer["value"].as_str().ok_or_else(|| Failure::Failed("the vault answered without a backup".to_owned()))?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| Failure::Failed(format!("{} cannot be written: {error}", out.display())))
}
