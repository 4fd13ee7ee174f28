//! `strongroom doctor`.

use clap::Args;
use reqwest::Method;
use serde_json::json;
use strongroom_server::admin::Verdict;

use crate::Failure;
use crate::client::Target;
use crate::output::{self, Format};
use crate::serve::Directories;

/// Looks at what an operator should know of before trouble comes. Exit code 1 if something must be mended.
///
/// Without --cluster: at this machine's directories. With it: at everything that setting a key and linking a workspace
/// insist on (the vault answers, the key is enabled and recoverable, the permissions are there, regions agree), before it
/// is done; the server asks the vault with the cluster's own identity and changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    directories: Directories,
    #[command(flatten)]
    target: Target,
    /// Looks at this cluster and its key, through the server
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The workspace that is to be linked to it
    #[arg(long, value_name = "NAME", requires = "cluster")]
    workspace: Option<String>,
    /// The vault of a key that is to be set [default: the cluster's key]
    #[arg(long, value_name = "URI", requires = "cluster", requires = "key_name")]
    vault_uri: Option<String>,
    /// The name of that key
    #[arg(long, value_name = "NAME", requires = "vault_uri")]
    key_name: Option<String>,
    /// Its version [default: always the newest]
    #[arg(long, value_name = "VERSION", requires = "vault_uri")]
    key_version: Option<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        if let Some(cluster) = &self.cluster {
            return self.online(cluster).await;
        }
        let checks =
            strongroom_server::admin::doctor(&self.directories.options()).await.map_err(|error| Failure::Failed(error.to_string()))?;
        match self.output {
            Format::Json => output::print_json(&json!({"value": checks}))?,
            Format::Table => {
                for check in &checks {
                    let verdict = match check.verdict {
                        Verdict::Ok => "ok     ",
                        Verdict::Warning => "warning",
                        Verdict::Red => "RED    ",
                    };
                    output::print(&format!("{verdict}  {}: {}", check.name, check.text))?;
                }
            }
        }
        match checks.iter().filter(|check| check.verdict == Verdict::Red).count() {
            0 => Ok(()),
            bad => Err(Failure::Failed(format!("{bad} of {} checks are red", checks.len()))),
        }
    }

    async fn online(&self, cluster: &str) -> Result<(), Failure> {
        let client = self.target.client()?;
        let mut body = json!({"workspace": self.workspace});
        if let (Some(uri), Some(name)) = (&self.vault_uri, &self.key_name) {
            body["keyVaultProperties"] = json!({"keyVaultUri": uri, "keyName": name, "keyVersion": self.key_version});
        }
        let answer = client.json(client.request(Method::POST, &["v1", "clusters", cluster, "check"]).json(&body)).await?;
        let checks = answer["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
        match self.output {
            Format::Json => output::print_json(&answer)?,
            Format::Table => {
                for check in checks {
                    let verdict = if check["ok"] == true { "ok     " } else { "RED    " };
                    let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
                    output::print(&format!("{verdict}  {}: {}", text("name"), text("text")))?;
                }
            }
        }
        match checks.iter().filter(|check| check["ok"] != true).count() {
            0 => Ok(()),
            bad => Err(Failure::Failed(format!("{bad} of {} checks are red", checks.len()))),
        }
    }
}
