//! `strongroom key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::audit::Evidence;
use crate::key_policy::{RotationPolicy, back_up};
use crate::key_status::{Release, Status};
use crate::output::{self, Field, Format, show};
use crate::vault::{VaultClient, VaultTarget};

const REVOKING: &str = "\
Revoking: strongroom key disable NAME is the recommended way of taking a cluster's data away: within a minute nothing of it
is served to anybody, and strongroom key enable NAME brings all of it back. Deleting a key does the same, but only a vault
with soft delete and purge protection gives it back.";

/// Makes, shows, rotates, disables and deletes the keys of a key vault.
#[derive(Debug, Args)]
#[command(after_help = REVOKING, after_long_help = REVOKING)]
pub(crate) struct Key {
    #[command(flatten)]
    target: VaultTarget,
    /// How to print
    #[arg(long, short, value_enum, default_value_t, global = true)]
    output: Format,
    #[command(subcommand)]
    what: What,
}

const UNPROTECTED: &str = "
No cluster takes this key yet: switch on both protections with
  strongroom vault update --soft-delete --purge-protection
";

/// What is set of a new version.
#[derive(Debug, Args)]
struct Settings {
    /// When it expires: a date, or from now like 365d; an expired key still opens what it wrapped
    #[arg(long, value_name = "WHEN", value_parser = time)]
    expires: Option<i64>,
    /// When it becomes valid: a date, or from now like 12h
    #[arg(long, value_name = "WHEN", value_parser = time)]
    not_before: Option<i64>,
    /// What it may be used for, like wrapKey,unwrapKey [default: all that a key of its type can do]
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    ops: Vec<String>,
    /// A tag; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    tag: Vec<(String, String)>,
    /// Make it disabled
    #[arg(long)]
    disabled: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Makes a key, or a new version of one
    Create {
        /// Its name
        name: String,
        /// Bits: 2048, 3072 or 4096
        #[arg(long, default_value_t = 2048, value_name = "BITS")]
        size: u32,
        /// Make a key for signing on this curve instead of an RSA key: P-256, P-384, P-521 or P-256K
        #[arg(long, value_name = "NAME", conflicts_with = "size")]
        curve: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Takes in a key made elsewhere
    Import {
        /// Its name
        name: String,
        /// A JSON Web Key with its private parts (n, e, d, p, q, dp, dq, qi)
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
    /// Makes a new version of a key; what older versions wrapped they go on opening
    Rotate {
        /// Its name
        name: String,
    },
    /// Shows or sets when a key gets a new version by itself; durations are like P90D or P1Y6M
    RotationPolicy(RotationPolicy),
    /// Changes dates, uses and tags of a key's version; what is not named stays
    #[command(group = clap::ArgGroup::new("change").multiple(true).required(true))]
    SetAttributes {
        /// Its name
        name: String,
        /// One version [default: the newest]
        #[arg(long)]
        version: Option<String>,
        /// When it expires: a date, or from now like 365d
        #[arg(long, group = "change", value_name = "WHEN", value_parser = time)]
        expires: Option<i64>,
        /// When it becomes valid: a date, or from now like 12h
        #[arg(long, group = "change", value_name = "WHEN", value_parser = time)]
        not_before: Option<i64>,
        /// What it may be used for, like wrapKey,unwrapKey
        #[arg(long, group = "change", value_delimiter = ',', value_name = "LIST")]
        ops: Vec<String>,
        /// A tag; may be repeated, and replaces all there were
        #[arg(long, group = "change", value_name = "NAME=VALUE", value_parser = tag)]
        tag: Vec<(String, String)>,
    },
    /// Writes a key with all its versions to a file, sealed under the vault's root key
    Backup {
        /// Its name
        name: String,
        /// Where to write it; not over a file that is there
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Brings a key back from a backup, into a vault with the same root key
    Restore {
        /// The backup
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Disables a key: the recommended way of revoking
    Disable {
        /// Its name
        name: String,
        /// One version [default: all of them]
        #[arg(long)]
        version: Option<String>,
    },
    /// Enables a key again
    Enable {
        /// Its name
        name: String,
        /// One version [default: all of them]
        #[arg(long)]
        version: Option<String>,
    },
    /// Shows a key, ready for `cluster set-key`
    Show {
        /// Its name
        name: String,
        /// One version [default: the newest]
        #[arg(long)]
        version: Option<String>,
    },
    /// Shows how a cluster's key stands, as the log server sees it
    Status(Status),
    /// Lets a cluster's key out of quarantine, once somebody has looked into it
    Release(Release),
    /// Shows what was taken away each time that a cluster's key went: what, when, how long each step took
    Evidence(Evidence),
    /// Lists keys
    List {
        /// The versions of this key
        #[arg(long, value_name = "NAME", conflicts_with = "deleted")]
        versions: Option<String>,
        /// Deleted keys that can be recovered
        #[arg(long)]
        deleted: bool,
    },
    /// Deletes a key; with soft delete it can be recovered
    Delete {
        /// Its name
        name: String,
        /// Also from a vault without soft delete: the key, and all data under it, is gone, unless somebody keeps a backup of the key
        #[arg(long)]
        force: bool,
    },
    /// Brings a deleted key back
    Recover {
        /// Its name
        name: String,
    },
    /// Destroys a deleted key: all data under it is gone, unless somebody keeps a backup of the key and this vault's root key. Purge
    /// protection forbids it
    Purge {
        /// Its name
        name: String,
    },
}

impl Key {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let format = self.output;
        // The log server is asked, and no vault.
        let what = match self.what {
            What::Status(status) => return status.run(format).await,
            What::Release(release) => return release.run(format).await,
            What::Evidence(evidence) => return evidence.run(format).await,
            what => what,
        };
        let vault = self.target.client()?;
        match what {
            What::Create { name, size, curve, settings } => {
                let mut body = match curve {
                    Some(curve) => json!({"kty": "EC", "crv": curve}),
                    None => json!({"kty": "RSA", "key_size": size}),
                };
                settings.fill(&mut body);
                if !settings.ops.is_empty() {
                    body["key_ops"] = json!(settings.ops);
                }
                print_key(&vault, format, &vault.keys(Method::POST, &["keys", &name, "create"], Some(&body)).await?)
            }
            What::Import { name, file, settings } => {
                let text = std::fs::read(&file).map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))?;
                // The parser's words could quote the key.
                let mut key: Value =
                    serde_json::from_slice(&text).map_err(|_| Failure::Usage(format!("{} is not a JSON Web Key", file.display())))?;
                if !settings.ops.is_empty() && key.is_object() {
                    key["key_ops"] = json!(settings.ops);
                }
                let mut body = json!({"key": key});
                settings.fill(&mut body);
                print_key(&vault, format, &vault.keys(Method::PUT, &["keys", &name], Some(&body)).await?)
            }
            What::Status(_) | What::Release(_) | What::Evidence(_) => unreachable!("it was asked above"),
            What::Rotate { name } => print_key(&vault, format, &vault.keys(Method::POST, &["keys", &name, "rotate"], None).await?),
            What::RotationPolicy(policy) => policy.run(&vault, format).await,
            What::SetAttributes { name, version, expires, not_before, ops, tag } => {
                let mut body = json!({"attributes": {}});
                for (name, time) in [("exp", expires), ("nbf", not_before)] {
                    if let Some(time) = time {
                        body["attributes"][name] = time.into();
                    }
                }
                if !ops.is_empty() {
                    body["key_ops"] = json!(ops);
                }
                if !tag.is_empty() {
                    body["tags"] = tags(&tag);
                }
                let version = version.unwrap_or_default();
                print_key(&vault, format, &vault.keys(Method::PATCH, &["keys", &name, &version], Some(&body)).await?)
            }
            What::Backup { name, out } => back_up(&vault, &name, &out).await,
            What::Restore { file } => {
                let text = std::fs::read_to_string(&file)
                    .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", file.display())))?;
                let body = json!({"value": text.trim()});
                print_key(&vault, format, &vault.keys(Method::POST, &["keys", "restore"], Some(&body)).await?)
            }
            What::Disable { name, version } => switch(&vault, format, &name, version, false).await,
            What::Enable { name, version } => switch(&vault, format, &name, version, true).await,
            What::Show { name, version } => {
                let version = version.unwrap_or_default();
                print_key(&vault, format, &vault.keys(Method::GET, &["keys", &name, &version], None).await?)
            }
            What::List { versions: Some(name), .. } => show(format, &vault.all(&["keys", &name, "versions"]).await?, VERSIONS),
            What::List { deleted: true, .. } => show(format, &vault.all(&["deletedkeys"]).await?, DELETED),
            What::List { .. } => show(format, &vault.all(&["keys"]).await?, KEYS),
            What::Delete { name, force } => {
                if !force && vault.manage(Method::GET, &[], None).await?["enableSoftDelete"] == false {
                    return Err(Failure::Usage(format!(
                        "this vault has no soft delete: {name} and all data under it would be gone, but for a backup of the key. To revoke, \
                         disable it; to be able to recover it, switch on soft delete (vault update --soft-delete); to destroy it, give --force"
                    )));
                }
                let answer = vault.keys(Method::DELETE, &["keys", &name], None).await?;
                let fields = if answer["recoveryId"].is_null() { KEYS } else { DELETED };
                // As one entry of a list: without the public numbers.
                show(format, &json!({"kid": answer["key"]["kid"]}).merged(&answer), fields)
            }
            What::Recover { name } => print_key(&vault, format, &vault.keys(Method::POST, &["deletedkeys", &name, "recover"], None).await?),
            What::Purge { name } => {
                vault.keys(Method::DELETE, &["deletedkeys", &name], None).await?;
                Ok(())
            }
        }
    }
}

impl Settings {
    fn fill(&self, body: &mut Value) {
        let mut attributes = json!({"enabled": !self.disabled});
        for (name, time) in [("exp", self.expires), ("nbf", self.not_before)] {
            if let Some(time) = time {
                attributes[name] = time.into();
            }
        }
        body["attributes"] = attributes;
        if !self.tag.is_empty() {
            body["tags"] = tags(&self.tag);
        }
    }
}

fn tags(given: &[(String, String)]) -> Value {
    given.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

/// Enables or disables one version, or each that is not so yet, the newest first. A version that somebody makes meanwhile is switched,
/// too: a key that was disabled is disabled in whole.
async fn switch(vault: &VaultClient, format: Format, name: &str, version: Option<String>, enabled: bool) -> Result<(), Failure> {
    let body = json!({"attributes": {"enabled": enabled}});
    let set = async |version: String| {
        let answer = vault.keys(Method::PATCH, &["keys", name, &version], Some(&body)).await?;
        Ok(json!({"kid": answer["key"]["kid"]}).merged(&answer))
    };
    if let Some(version) = version {
        return show(format, &json!({"value": [set(version).await?]}), VERSIONS);
    }
    let different = async || {
        let all = vault.all(&["keys", name, "versions"]).await?;
        let different = |item: &&Value| item["attributes"]["enabled"] != enabled;
        Ok(all["value"].as_array().into_iter().flatten().rev().filter(different).map(|item| version_of(&item["kid"]).to_owned()).collect())
    };
    let done = all_of(different, set).await?;
    if done.is_empty() {
        let all = vault.all(&["keys", name, "versions"]).await?;
        return show(format, &all, VERSIONS);
    }
    show(format, &json!({"value": done}), VERSIONS)
}

/// How often it is looked whether something is left.
const ROUNDS: usize = 10;

/// Does something to each of a list, until the list is empty.
async fn all_of(
    mut left: impl AsyncFnMut() -> Result<Vec<String>, Failure>,
    mut set: impl AsyncFnMut(String) -> Result<Value, Failure>,
) -> Result<Vec<Value>, Failure> {
    let mut done = Vec::new();
    let so_far = |done: &[Value]| format!("{} switched before that", output::count(done.len() as u64, "version"));
    for _ in 0..ROUNDS {
        let which = match left().await {
            Ok(which) => which,
            Err(failure) if done.is_empty() => return Err(failure),
            Err(failure) => return Err(failure.after_some(&so_far(&done))),
        };
        if which.is_empty() {
            return Ok(done);
        }
        for version in which {
            match set(version).await {
                Ok(answer) => done.push(answer),
                Err(failure) if done.is_empty() => return Err(failure),
                Err(failure) => return Err(failure.after_some(&so_far(&done))),
            }
        }
    }
    Err(Failure::Partly(format!("somebody makes new versions all the time; {}", so_far(&done))))
}

/// Adds the members of another object that are not there yet.
trait Merged {
    fn merged(self, other: &Value) -> Value;
}

impl Merged for Value {
    fn merged(mut self, other: &Value) -> Value {
        for (name, value) in other.as_object().into_iter().flatten().filter(|(name, _)| *name != "key") {
            self[name] = value.clone();
        }
        self
    }
}

/// One key, with what `cluster set-key` wants to know of it.
fn print_key(vault: &VaultClient, format: Format, bundle: &Value) -> Result<(), Failure> {
    let Format::Table = format else { return output::print_json(bundle) };
    let kid = bundle["key"]["kid"].as_str().unwrap_or_default();
    let (name, version) = (name_of(kid), version_of(&bundle["key"]["kid"]));
    let ops: Vec<&str> = bundle["key"]["key_ops"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let attributes = &bundle["attributes"];
    let text = |value: Value| value.as_str().map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned);
    let lines = [
        ("Vault URI", vault.uri.clone()),
        ("Key name", name.to_owned()),
        ("Key version", version.to_owned()),
        ("Key URI", kid.to_owned()),
        ("Enabled", if attributes["enabled"] == true { "yes".to_owned() } else { "no".to_owned() }),
        ("Expires", text(seconds(&attributes["exp"]))),
        ("Valid from", text(seconds(&attributes["nbf"]))),
        ("Created", text(seconds(&attributes["created"]))),
        ("Operations", ops.join(", ")),
        ("Recovery level", text(attributes["recoveryLevel"].clone())),
    ];
    let told = lines.iter().filter(|(_, value)| !value.is_empty());
    let facts: String = told.map(|(heading, value)| [&format!("{heading:<16}"), value.as_str(), "\n"].concat()).collect();
    let level = attributes["recoveryLevel"].as_str().unwrap_or_default();
    let unprotected = if level.contains("Purgeable") { UNPROTECTED } else { "" };
    let uri = &vault.uri;
    let page = format!(
        "{facts}{unprotected}\nFor a cluster (without --key-version it follows the newest):\n  strongroom cluster set-key CLUSTER --vault-uri {uri} \
         --key-name {name} --key-version {version}\n"
    );
    output::print(&page)
}

fn name_of(kid: &str) -> &str {
    kid.split_once("/keys/").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default())
}

/// The version that a kid ends with; none in the list of keys.
fn version_of(kid: &Value) -> &str {
    let rest = kid.as_str().and_then(|kid| kid.split_once("/keys/")).map_or("", |(_, rest)| rest);
    rest.split_once('/').map_or("", |(_, version)| version)
}

fn name_field(row: &Value) -> Value {
    name_of(row["kid"].as_str().unwrap_or_default()).into()
}

fn enabled(row: &Value) -> Value {
    if row["attributes"]["enabled"] == true { "yes".into() } else { "no".into() }
}

/// A JSON number of seconds since 1970 as a date.
fn seconds(value: &Value) -> Value {
    value.as_i64().map_or(Value::Null, |seconds| output::date(&json!(seconds.saturating_mul(1_000))))
}

const KEYS: &[Field] = &[
    Field("Name", name_field),
    Field("Enabled", enabled),
    Field("Expires", |row| seconds(&row["attributes"]["exp"])),
    Field("Created", |row| seconds(&row["attributes"]["created"])),
    Field("Recovery level", |row| row["attributes"]["recoveryLevel"].clone()),
];

const VERSIONS: &[Field] = &[
    Field("Name", name_field),
    Field("Version", |row| version_of(&row["kid"]).into()),
    Field("Enabled", enabled),
    Field("Expires", |row| seconds(&row["attributes"]["exp"])),
    Field("Created", |row| seconds(&row["attributes"]["created"])),
];

const DELETED: &[Field] = &[
    Field("Name", name_field),
    Field("Deleted", |row| seconds(&row["deletedDate"])),
    Field("Destroyed", |row| seconds(&row["scheduledPurgeDate"])),
];

/// A date (`2027-01-31`, RFC 3339) or a time from now (`365d`), as seconds since 1970.
fn time(text: &str) -> Result<i64, String> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(at.timestamp());
    }
    if let Ok(day) = text.parse::<chrono::NaiveDate>() {
        return Ok(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp());
    }
    let from_now = crate::token::duration(text).map_err(|_| format!("{text} is neither a date like 2027-01-31 nor a time like 365d"))?;
    let seconds = i64::try_from(from_now.as_secs()).unwrap_or(i64::MAX);
    Ok(chrono::Utc::now().timestamp().saturating_add(seconds))
}

fn tag(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or_else(|| format!("{text} is not a tag like team=shop"))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_version_that_is_made_meanwhile_is_switched_too() {
        let mut rounds = vec![vec!["b", "a"], vec!["c"], vec![]].into_iter();
        let listed = async || Ok(rounds.next().unwrap().into_iter().map(str::to_owned).collect());
        let done = all_of(listed, async |version| Ok(json!(version))).await.unwrap();
        assert_eq!(done, [json!("b"), json!("a"), json!("c")]);
        let refused = all_of(async || Ok(vec!["a".to_owned()]), async |_| Ok(Value::Null)).await.unwrap_err();
        assert_eq!(refused.code(), 5, "somebody makes new ones without end: {refused}");
        let mut sets = 0;
        let broken = all_of(
            async || Ok(vec!["b".to_owned(), "a".to_owned()]),
            async |_| {
                sets += 1;
                if sets == 2 { Err(Failure::Refused("no".to_owned())) } else { Ok(Value::Null) }
            },
        );
        assert!(broken.await.unwrap_err().to_string().contains("1 version switched before that"));
    }

    #[test]
    fn times_are_dates_or_from_now() {
        assert_eq!(time("2027-01-31"), Ok(1_801_353_600));
        assert_eq!(time("2027-01-31T00:00:00+01:00"), Ok(1_801_350_000));
        assert!(time("1d").unwrap() > chrono::Utc::now().timestamp() + 86_000);
        assert!(time("soon").is_err() && time("2027-02-30").is_err());
    }

    #[test]
    fn a_kid_is_taken_apart() {
        let kid = json!("https://127.0.0.1:7701/keys/kek-1/0123");
        assert_eq!((name_of(kid.as_str().unwrap()), version_of(&kid)), ("kek-1", "0123"));
        let kid = json!("https://127.0.0.1:7701/keys/kek-1");
        assert_eq!((name_of(kid.as_str().unwrap()), version_of(&kid)), ("kek-1", ""));
    }
}
