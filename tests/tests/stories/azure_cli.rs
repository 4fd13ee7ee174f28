//! The command lines of the documents, by the command line itself, over three subscriptions.

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use strongroom_tests::Site;
use strongroom_tests::azure::{az_python, bounded};
use strongroom_tests::lock::{VAULT_ADMIN, VaultSite};

use crate::lock::brisk;

/// What a team has before it begins: a server that speaks https, a vault that believes it about who calls, three subscriptions, and
/// a service principal that owns everything in them (workspaces are ended for good here, too) and manages keys. And what its scripts are told of that.
pub(crate) struct Ground {
    pub(crate) site: Site,
    pub(crate) vault: VaultSite,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let mut start = brisk();
        start.environment.push(("STRONGROOM_TLS__ENABLED".to_owned(), "true".to_owned()));
        let site = Site::start_with(start);
        let subscriptions = [("CLUSTER_SUB", '1'), ("VAULT_SUB", '2'), ("WORKSPACE_SUB", '3')]
            .map(|(name, digit)| (name, format!("{}-0000-4000-8000-000000000001", digit.to_string().repeat(8))));
        for (name, id) in &subscriptions {
            assert!(site.cli(&["subscription", "create", name, "--id", id]).status.success());
        }
        let made = site.cli(&["principal", "create", "team", "--role", "Owner", "--scope", "/", "--output", "json"]);
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (tenant, object) = (text(&made["tenantId"]), text(&made["id"]));
        let (gateway, ca) = (site.base().to_owned(), site.ca());
        let issuer = format!("{gateway}/{tenant}/v2.0");
        let arguments = [
            ("--issuer", issuer.as_str()),
            ("--issuer-alias", &format!("{gateway}/adfs")),
            ("--issuer-keys", &format!("{gateway}/{tenant}/discovery/v2.0/keys")),
            ("--issuer-ca", ca.to_str().unwrap()),
            ("--issuer-authority", &format!("{gateway}/{tenant}")),
        ];
        let vault = VaultSite::serving(arguments.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect());
        vault.call(Method::PATCH, "/vault", Some(json!({"enableSoftDelete": true, "enablePurgeProtection": true})));
        vault.call(Method::PUT, &format!("/vault/identities/{object}"), Some(json!({"name": "team", "issuer": issuer})));
        vault.call(Method::PUT, "/vault/grants", Some(json!({"principal": "team", "role": "Key Vault Crypto Officer"})));

        let both = site.root().join("both.pem");
        let vault_ca = vault.dir().join("ca.pem");
        std::fs::write(&both, [std::fs::read(&ca).unwrap(), std::fs::read(&vault_ca).unwrap()].concat()).unwrap();
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let mut environment = vec![
            ("BASE", gateway),
            ("VAULT", vault.base().to_owned()),
            ("PORT", vault.base().rsplit(':').next().unwrap().to_owned()),
            ("VAULT_ADMIN", VAULT_ADMIN.to_owned()),
            ("VAULT_CA", path(&vault_ca)),
            ("VAULT_TENANT", text(&vault.call(Method::GET, "/vault", None)["tenantId"])),
            ("CLIENT", text(&made["clientId"])),
            ("SECRET", text(&made["credential"]["secret"])),
            ("TENANT", tenant),
            ("REQUESTS_CA_BUNDLE", path(&both)),
        ];
        environment.extend(subscriptions);
        Self { site, vault, environment }
    }
}

/// CL1–CL6, C21, N2, X5 and the lines of workspaces and keys: repaired where their document says what az does not take, and nowhere else.
#[test]
fn the_lines_of_the_documents_run_over_three_subscriptions() {
    let ground = Ground::new();
    let mut command = Command::new(az_python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/clients/azure_lines.py")).envs(ground.environment);
    command.env("AZURE_CONFIG_DIR", ground.site.root().join("az")).env("DATA", ground.site.data_dir());
    command.env("AZURE_CORE_COLLECT_TELEMETRY", "false").env("AZURE_CORE_OUTPUT", "json");
    let output = bounded(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("every line was answered"), "{out}\n{err}");
    println!("{out}");
    drop(ground.vault);
}
