//! `strongroom key status` and `key release`.

use clap::Args;
use reqwest::Method;
use serde_json::Value;

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Field, Format};

/// Shows how a cluster's key stands: its state, what wraps what, whose data is under it.
///
/// Asks the server, which asks no vault for it. To revoke access to the data, disable the key in the vault
/// (`strongroom key disable`) or remove the cluster's permission there.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    target: Target,
    /// The cluster
    #[arg(long, value_name = "NAME")]
    cluster: String,
}

/// Lets a cluster's key out of quarantine.
///
/// A key is put there when its vault gives back another key than was wrapped, or when an old key record was put back: nothing is
/// served or taken then, also after a restart, until somebody has looked into it. The vault has to prove every key of the
/// cluster now; if it does not, the quarantine stays. It takes the role Owner or Operator.
#[derive(Debug, Args)]
pub(crate) struct Release {
    #[command(flatten)]
    target: Target,
    /// The cluster
    #[arg(long, value_name = "NAME")]
    cluster: String,
}

impl Status {
    pub(crate) async fn run(self, format: Format) -> Result<(), Failure> {
        let client = self.target.client()?;
        print(&client.json(client.request(Method::GET, &["v1", "clusters", &self.cluster, "key"])).await?, format)
    }
}

impl Release {
    pub(crate) async fn run(self, format: Format) -> Result<(), Failure> {
        let client = self.target.client()?;
        print(&client.json(client.request(Method::POST, &["v1", "clusters", &self.cluster, "key", "release"])).await?, format)
    }
}

fn print(status: &Value, format: Format) -> Result<(), Failure> {
    match format {
        Format::Json => output::print_json(status),
        Format::Table => output::print(&page(status)),
    }
}

fn page(status: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("cluster          {}", text(&status["cluster"])), format!("state            {}", state(status))];
    if let Some(good) = output::date(&status["lastGoodMs"]).as_str() {
        lines.push(format!("last unwrap      {good}"));
    }
    if let Some(left) = status["leaseLeftS"].as_u64() {
        lines.push(format!("lease            {left} s left if the vault falls silent"));
    }
    let kek = &status["kek"];
    if kek.is_object() {
        let version =
            kek["pinnedVersion"].as_str().map_or_else(|| "follows the newest version".to_owned(), |pinned| format!("pinned to {pinned}"));
        lines.push(format!("your key (KEK)   {}/keys/{}, {version}", text(&kek["vaultUri"]), text(&kek["keyName"])));
        let facts = &kek["facts"];
        if facts.is_object() {
            let kind = facts["key_type"].as_str().filter(|kind| !kind.is_empty()).unwrap_or("RSA");
            let kind = facts["rsa_bits"].as_u64().filter(|bits| *bits > 0).map_or_else(|| kind.to_owned(), |bits| format!("{kind} {bits}"));
            lines.push(format!(
                "                 {kind}, version {} in use, newest {}, {}",
                text(&facts["used"]),
                text(&facts["newest"]),
                text(&facts["recovery_level"])
            ));
            let others: Vec<String> = facts["other_enabled"].as_array().into_iter().flatten().map(text).collect();
            if !others.is_empty() {
                lines.push(format!("                 other enabled versions: {}", others.join(", ")));
            }
            if let Some(end) = output::date(&facts["expires_ms"]).as_str() {
                let verb = if status["kek"]["expired"] == true { "EXPIRED" } else { "expires" };
                lines.push(format!("                 {verb} {end}: it then unwraps on, but a key update is refused"));
            }
        }
    }
    if status["sealedWaiting"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0) {
        let since = output::date(&status["sealedWaiting"]["sinceMs"]).as_str().map(|since| format!(", since {since}")).unwrap_or_default();
        lines.push(format!("waiting sealed   {} for the key to be back{since}", text(&output::sized(&status["sealedWaiting"]["bytes"]))));
    }
    if status["rekey"]["status"] == "InProgress" {
        lines.push(format!("re-key           {} % done", status["rekey"]["percentComplete"]));
    }
    lines.push(format!("block keys (DEK) {}", text(&status["blockKeys"])));
    let mut page = lines.join("\n");
    page.push_str("\n\naccount keys (AEK)\n");
    page.push_str(&output::objects(&serde_json::json!({"value": status["aeks"]}), AEKS));
    if status["holdings"].as_array().is_some_and(|held| !held.is_empty()) {
        page.push_str("\ndata under them\n");
        page.push_str(&output::objects(&serde_json::json!({"value": status["holdings"]}), HOLDINGS));
    }
    let infrastructure =
        if status["providerKeys"]["infrastructure"] == true { "seals everything a second time" } else { "none: data is sealed once" };
    let providers = [
        String::new(),
        "provider's keys".to_owned(),
        format!("root            {}", text(&status["providerKeys"]["root"])),
        format!("infrastructure  {infrastructure}"),
        format!("cache           {}", text(&status["providerKeys"]["cache"])),
    ];
    page.push_str(&providers.join("\n"));
    page.push('\n');
    let evidence = status["evidence"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !evidence.is_empty() {
        let steps: Vec<String> = evidence.iter().map(|step| format!("{} {} µs", text(&step[0]), step[1])).collect();
        page.extend(["\nlast taken away: ", &steps.join(", "), "\n"]);
    }
    for advice in status["advice"].as_array().into_iter().flatten() {
        page.extend(["\nadvice: ", &text(advice), "\n"]);
    }
    page
}

fn state(status: &Value) -> String {
    let state = status["state"].as_str().unwrap_or_default();
    let since = output::date(&status["sinceMs"]).as_str().map(|since| format!(" since {since}")).unwrap_or_default();
    let code = status["code"].as_str().map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{state}{since}{code}")
}

const AEKS: &[Field] = &[
    Field("Id", |row| row["id"].clone()),
    Field("Class", |row| row["class"].clone()),
    Field("Generation", |row| row["generation"].clone()),
    Field("Reigns", |row| if row["current"] == true { "yes".into() } else { "no".into() }),
    Field("Since", |row| output::date(&row["createdMs"])),
    Field("Wrapped by", |row| match row["wrappedBy"].as_str() {
        None | Some("") => "the provider's root".into(),
        Some(uri) => format!("{uri}/{}", row["wrappedVersion"].as_str().unwrap_or_default()).into(),
    }),
    Field("Waiting", |row| {
        let waiting: Vec<&str> = row["standby"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        waiting.join(", ").into()
    }),
];

const HOLDINGS: &[Field] = &[
    Field("Workspace", |row| if row["workspaceName"].is_string() { row["workspaceName"].clone() } else { row["workspace"].clone() }),
    Field("Linked", |row| if row["linked"] == true { "yes".into() } else { "no".into() }),
    Field("AEK", |row| row["aek"].clone()),
    Field("Blocks", |row| row["blocks"].clone()),
    Field("Rows", |row| row["rows"].clone()),
    Field("Stored", |row| output::sized(&row["bytes"])),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_tells_state_keys_data_and_advice() {
        let status = json!({
            "cluster": "contoso", "state": "Revoked", "sinceMs": 1_700_000_000_000_i64, "code": "KeyDisabled", "lastGoodMs": 1_700_000_000_000_i64,
            "leaseLeftS": null, "blockKeys": "one for each block, derived, never stored", "infrastructureKey": true,
            "kek": {"vaultUri": "https://v", "keyName": "kek", "pinnedVersion": "v1", "expired": true,
                "facts": {"newest": "v2", "used": "v1", "rsa_bits": 2048, "enabled": true, "expires_ms": 1_700_000_000_000_i64, "recovery_level": "Recoverable", "other_enabled": ["v2"]}},
            "sealedWaiting": {"segments": 1, "bytes": 7_000, "sinceMs": 1_700_000_000_000_i64},
            "aeks": [{"id": "a-1", "class": "CMK", "generation": 3, "current": true, "createdMs": 1_700_000_000_000_i64,
                "wrappedBy": "https://v/keys/kek", "wrappedVersion": "v1", "standby": ["v2"]}],
            "holdings": [{"workspace": "w", "workspaceName": "shop", "linked": true, "aek": "a-1", "blocks": 2, "rows": 9, "bytes": 5_000}],
            "providerKeys": {"root": "wraps", "infrastructure": true, "cache": "one each"}, "advice": ["pin less"], "evidence": [["guards killed", 7]],
        });
        let page = page(&status);
        for part in [
            "Revoked since 2023-11-14 22:13:20 (KeyDisabled)",
            "https://v/keys/kek, pinned to v1",
            "other enabled versions: v2",
            "https://v/keys/kek/v1",
            "EXPIRED 2023-11-14",
            "waiting sealed   7.0 kB for the key to be back, since 2023-11-14",
            "Waiting",
            "shop",
            "5.0 kB",
            "seals everything a second time",
            "advice: pin less",
            "last taken away: guards killed 7 µs",
        ] {
            assert!(page.contains(part), "{part}:\n{page}");
        }
    }

    /// E10: three kinds of key on the way to a row, those of the provider apart, on the page as in `docs/keys.md`.
    #[test]
    fn three_kinds_of_key_lead_to_a_row_and_the_providers_stand_apart() {
        let status = json!({
            "cluster": "contoso", "state": "Active", "blockKeys": "one for each block, derived, never stored",
            "kek": {"vaultUri": "https://v", "keyName": "kek"}, "aeks": [{"id": "a-1"}],
            "providerKeys": {"root": "wraps", "infrastructure": true, "cache": "one each"},
        });
        let page = page(&status);
        let (of_rows, beside) = page.split_once("provider's keys").expect("the provider's keys have a part of their own");
        let kinds = |text: &str| -> Vec<String> {
            let named = text.match_indices('(').filter_map(|(at, _)| text[at + 1..].split_once(')')).map(|(kind, _)| kind.to_owned());
            named.filter(|kind| kind.len() == 3 && kind.chars().all(char::is_uppercase)).collect()
        };
        assert_eq!(kinds(of_rows), ["KEK", "DEK", "AEK"]);
        assert!(kinds(beside).is_empty(), "{beside}");
        let beside: Vec<&str> = beside.lines().filter_map(|line| line.split("  ").next()).filter(|name| !name.is_empty()).collect();
        assert_eq!(beside, ["root", "infrastructure", "cache"]);

        let docs = include_str!("../../../docs/keys.md");
        let told = docs.split_once("Three kinds of key").and_then(|(_, rest)| rest.split_once("\n## ")).expect("the page tells of keys").0;
        let (three, others) = told.split_once("Beside them").expect("the provider's keys are told of apart");
        let bold: Vec<&str> = three.split("**").skip(1).step_by(2).collect();
        assert_eq!(bold, ["KEK", "AEK", "DEK"]);
        assert!(["root key (MMK)", "infrastructure key", "hot-cache key"].iter().all(|key| others.contains(key)), "{others}");
    }
}
