//! `strongroom audit`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Field, Format};
use crate::serve::Directories;

/// Shows and checks the audit chain: who did what to keys, roles and data.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Checks every seal and every link of the chain, and its end. Exit code 1 if anything is wrong
    Verify(Verify),
    /// Shows the newest records, oldest first
    Show(Show),
    /// Puts a damaged chain aside and begins a new one, so that a stopped server can start again
    Mend(Mend),
}

#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    target: Target,
    /// Look at the directories of a stopped server instead of asking a running one
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    directories: Directories,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    target: Target,
    /// Records of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Records of this workspace
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Records whose event begins so, like key. or state.changed
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// From then on: a date, or so long ago like 24h
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// The newest so many, 10000 at most
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    limit: usize,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Args)]
struct Mend {
    #[command(flatten)]
    directories: Directories,
    /// Why, in a few words: it stands in the first record of the new chain
    #[arg(long, value_name = "TEXT")]
    because: String,
}

impl Audit {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Verify(verify) => verify.run().await,
            What::Show(show) => show.run().await,
            What::Mend(mend) => {
                let aside = strongroom_server::admin::mend_audit(&mend.directories.options(), &mend.because).await;
                let aside = aside.map_err(|error| Failure::Failed(error.to_string()))?;
                output::print(&format!("the damaged chain lies in {} now; a new one is begun", aside.display()))
            }
        }
    }
}

impl Verify {
    async fn run(self) -> Result<(), Failure> {
        let report = if self.offline {
            let report = strongroom_server::admin::verify_audit(&self.directories.options()).await;
            json!(report.map_err(|error| Failure::Failed(error.to_string()))?)
        } else {
            let client = self.target.client()?;
            client.json(client.request(Method::GET, &["v1", "audit", "verify"])).await?
        };
        let problems: Vec<&str> = report["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match self.output {
            Format::Json => output::print_json(&report)?,
            Format::Table => {
                for problem in &problems {
                    output::print(problem)?;
                }
                output::print(&format!(
                    "{}, numbers {} to {}, in {}: {} with problems\nlast hash {}",
                    output::count(report["records"].as_u64().unwrap_or(0), "record"),
                    report["first"],
                    report["last"],
                    output::count(report["files"].as_u64().unwrap_or(0), "file"),
                    problems.len(),
                    report["hash"].as_str().unwrap_or_default(),
                ))?;
            }
        }
        match problems.len() {
            0 => Ok(()),
            _ => Err(Failure::Failed("the audit chain is not what was written".to_owned())),
        }
    }
}

impl Show {
    async fn run(self) -> Result<(), Failure> {
        let client = self.target.client()?;
        let mut query = vec![("limit", self.limit.to_string())];
        let given = [("cluster", self.cluster), ("workspace", self.workspace), ("event", self.event), ("since", self.since)];
        query.extend(given.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let answer = client.json(client.request(Method::GET, &["v1", "audit"]).query(&query)).await?;
        output::show(self.output, &answer, FIELDS)
    }
}

const FIELDS: &[Field] = &[
    Field("Number", |row| row["seq"].clone()),
    Field("When", |row| output::date(&row["atMs"])),
    Field("Event", |row| row["event"].clone()),
    Field("Code", |row| row["code"].clone()),
    Field("Actor", |row| row["actor"].clone()),
    Field("Details", |row| details(row).into()),
];

fn details(row: &Value) -> String {
    let ids = ["cluster", "workspace", "aek", "generation"].map(|name| (name.to_owned(), &row[name]));
    let details = row["details"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value));
    let shown = ids.into_iter().chain(details).filter(|(name, value)| !value.is_null() && name != "generations");
    let text = shown.map(|(name, value)| match value {
        Value::String(text) => format!("{name}={text}"),
        Value::Array(list) => format!("{name}=[{}]", list.len()),
        other => format!("{name}={other}"),
    });
    text.collect::<Vec<_>>().join(" ")
}

/// `strongroom key evidence`.
#[derive(Debug, Args)]
pub(crate) struct Evidence {
    #[command(flatten)]
    target: Target,
    /// The cluster
    #[arg(long, value_name = "NAME")]
    cluster: String,
}

impl Evidence {
    pub(crate) async fn run(self, format: Format) -> Result<(), Failure> {
        let client = self.target.client()?;
        let answer = client.json(client.request(Method::GET, &["v1", "clusters", &self.cluster, "evidence"])).await?;
        match format {
            Format::Json => output::print_json(&answer),
            Format::Table => output::print(&pages(&answer)),
        }
    }
}

fn pages(answer: &Value) -> String {
    let records = answer["value"].as_array().map(Vec::as_slice).unwrap_or_default();
    if records.is_empty() {
        return format!("nothing was ever taken away from cluster {}", answer["cluster"].as_str().unwrap_or_default());
    }
    records.iter().map(page).collect::<Vec<_>>().join("\n\n")
}

fn page(record: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let when = |ms: &Value| text(&output::date(ms));
    let mut lines = vec![
        format!("record          {} of the audit chain, SHA-256 {}", record["position"], text(&record["hash"])),
        format!("why             {} ({}), since {}", text(&record["why"]), text(&record["code"]), when(&record["sinceMs"])),
        format!("key             {}, version {}", text(&record["keyUri"]), text(&record["keyVersion"])),
    ];
    for answer in record["answers"].as_array().into_iter().flatten() {
        lines.push(format!("the vault said  {} at {}", text(&answer["code"]), when(&answer["atMs"])));
    }
    for step in record["steps"].as_array().into_iter().flatten() {
        lines.push(format!("taken away      {} in {} µs", text(&step["step"]), step["micros"]));
    }
    lines.push(format!(
        "erased          {} in memory, {} dropped from memory, {} of the hot cache ({})",
        output::count(record["keysWiped"].as_u64().unwrap_or(0), "key"),
        output::count(record["memoryRowsDropped"].as_u64().unwrap_or(0), "row"),
        output::count(record["cacheFilesErased"].as_u64().unwrap_or(0), "file"),
        output::size(record["cacheBytesErased"].as_u64().unwrap_or(0)),
    ));
    let others: Vec<String> = record["otherEnabledVersions"].as_array().into_iter().flatten().map(text).collect();
    lines.push(match (others.len(), &record["versionsListed"]) {
        (0, Value::Bool(true)) => "other versions  none was enabled when the vault last listed them".to_owned(),
        (0, _) => "other versions  not known: the vault did not list them".to_owned(),
        _ => format!("other versions  enabled when the vault last listed them: {}", others.join(", ")),
    });
    lines.push(if record["givenBackMs"].is_null() {
        "given back      not yet".to_owned()
    } else {
        format!("given back      {}", when(&record["givenBackMs"]))
    });
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_tells_what_was_erased_when_and_how_long_it_took() {
        let answer = json!({"cluster": "contoso", "value": [{
            "position": 12, "hash": "ab", "why": "Revoked", "code": "KeyDisabled", "sinceMs": 1_700_000_000_000_i64, "keyUri": "https://v/keys/k",
            "keyVersion": "v1", "answers": [{"atMs": 1_700_000_000_000_i64, "class": "denied", "code": "KeyDisabled"}],
            "steps": [{"step": "gate", "micros": 7}], "keysWiped": 2, "memoryRowsDropped": 3, "cacheFilesErased": 1,
            "cacheBytesErased": 5_000, "otherEnabledVersions": ["v0"], "versionsListed": true, "givenBackMs": null,
        }]});
        let page = pages(&answer);
        for part in [
            "record          12",
            "Revoked (KeyDisabled)",
            "2 keys in memory, 3 rows dropped",
            "1 file of the hot cache (5.0 kB)",
            "gate in 7 µs",
            "v0",
            "not yet",
        ] {
            assert!(page.contains(part), "{part}:\n{page}");
        }
        assert!(pages(&json!({"cluster": "contoso", "value": []})).contains("nothing was ever taken away"));
    }
}
