//! The customer's side in tests: a real vault process, and a cluster's way under its key.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Site, binary};

/// The vault admin's token in tests.
pub const VAULT_ADMIN: &str = "sva_test-vault-admin-0123456789abcdefghijklmnop";
const API: &str = "api-version=7.4";
const ARM_API: &str = "api-version=2023-09-01";
/// The bound on revocation and return (DESIGN §4).
pub const BOUND: Duration = Duration::from_mins(1);

/// A key vault: a process of its own on a directory of its own.
#[derive(Debug)]
pub struct VaultSite {
    root: TempDir,
    child: Option<Child>,
    listen: String,
    arguments: Vec<String>,
    base: String,
    client: Client,
}

impl VaultSite {
    /// A vault with soft delete and purge protection on and no key.
    #[must_use]
    pub fn start() -> Self {
        let vault = Self::bare();
        vault.call(Method::PATCH, "/vault", Some(json!({"enableSoftDelete": true, "enablePurgeProtection": true})));
        vault
    }

    /// A new vault as it comes: both protections off.
    #[must_use]
    pub fn bare() -> Self {
        Self::serving(Vec::new())
    }

    /// The same with further arguments of `vault serve`.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn serving(arguments: Vec<String>) -> Self {
        crate::choose_ciphers();
        let mut vault = Self {
            root: TempDir::new().expect("a directory"),
            child: None,
            listen: "127.0.0.1:0".to_owned(),
            arguments,
            base: String::new(),
            client: Client::new(),
        };
        vault.restart();
        vault
    }

    /// Starts the stopped vault again, where it was.
    ///
    /// # Panics
    /// If it does not come up within a minute.
    pub fn restart(&mut self) {
        let mut child = Command::new(binary())
            .args(["vault", "--vault-dir"])
            .arg(self.dir())
            .args(["serve", "--listen", &self.listen])
            .args(&self.arguments)
            .env("STRONGROOM_VAULT_ADMIN_TOKEN", VAULT_ADMIN)
            .env_remove("FAILPOINTS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped above");
        let (found, base) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(base) = line.strip_prefix("vault: ") {
                    drop(found.send(base.trim().to_owned()));
                }
            }
        });
        self.base = base.recv_timeout(Duration::from_mins(1)).expect("the vault comes up");
        self.child = Some(child);
        self.base.trim_start_matches("https://").clone_into(&mut self.listen);
        let ca = std::fs::read(self.dir().join("ca.pem")).expect("its certificate");
        let ca = reqwest::Certificate::from_pem(&ca).expect("a certificate");
        self.client = Client::builder().add_root_certificate(ca).timeout(Duration::from_secs(30)).no_proxy().build().expect("a client");
    }

    /// `kill -9`: from now on nobody answers.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        drop(child.kill());
        child.wait().expect("a killed child can be waited for");
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A call as its admin; gives status and body.
    ///
    /// # Panics
    /// If no answer comes.
    #[must_use]
    pub fn try_call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let sep = if path.contains('?') { '&' } else { '?' };
        let mut request = self.client.request(method, format!("{}{path}{sep}{API}", self.base)).bearer_auth(VAULT_ADMIN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.send().expect("the vault answers");
        let status = reply.status().as_u16();
        (status, reply.json().unwrap_or(Value::Null))
    }

    /// A call that must work.
    ///
    /// # Panics
    /// If it does not.
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn call(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, body) = self.try_call(method, path, body);
        assert!((200..300).contains(&status), "{path}: {status} {body}");
        body
    }

    /// A new RSA key.
    pub fn create_key(&self, name: &str) {
        self.call(Method::POST, &format!("/keys/{name}/create"), Some(json!({"kty": "RSA", "key_size": 2048})));
    }

    /// Another version; gives its name.
    ///
    /// # Panics
    /// If the answer has none.
    #[must_use]
    pub fn rotate(&self, name: &str) -> String {
        version_of(&self.call(Method::POST, &format!("/keys/{name}/rotate"), None))
    }

    /// The newest version's name.
    ///
    /// # Panics
    /// If the answer has none.
    #[must_use]
    pub fn newest(&self, name: &str) -> String {
        version_of(&self.call(Method::GET, &format!("/keys/{name}/"), None))
    }

    /// Switches a key (or one version of it) on or off.
    pub fn enable(&self, name: &str, version: &str, on: bool) {
        self.call(Method::PATCH, &format!("/keys/{name}/{version}"), Some(json!({"attributes": {"enabled": on}})));
    }

    /// Registers a cluster's identity.
    pub fn register(&self, name: &str, principal: &str, public_key_pem: &str) {
        let body = json!({"name": name, "publicKeyPem": public_key_pem});
        self.call(Method::PUT, &format!("/vault/identities/{principal}"), Some(body));
    }

    /// Grants the role that a cluster needs.
    pub fn grant(&self, principal: &str) {
        let body = json!({"principal": principal, "role": "Key Vault Crypto Service Encryption User"});
        self.call(Method::PUT, "/vault/grants", Some(body));
    }

    /// Takes the grant away.
    pub fn revoke(&self, principal: &str) {
        self.call(Method::DELETE, &format!("/vault/grants/{principal}"), None);
    }

    /// What was asked of it: `(operation, principal, status, key version)` in order.
    ///
    /// # Panics
    /// If the log is not what it was.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let page = self.call(Method::GET, &format!("/vault/log?after={after}"), None);
            let entries = page["value"].as_array().expect("entries").clone();
            // Reading the log is in the log: a page that is not full is the last.
            let last = entries.len() < 1_000;
            after = page["last"].as_u64().expect("a number");
            all.extend(entries);
            if last {
                return all;
            }
        }
    }
}

impl VaultSite {
    /// What one identity asked of it from entry `from` of the log on, each kind once, sorted; and how long the log is now.
    ///
    /// # Panics
    /// If an entry says no operation.
    #[must_use]
    pub fn asked_by(&self, principal: &str, from: usize) -> (Vec<String>, usize) {
        let log = self.log();
        let own = log[from..].iter().filter(|entry| entry["principalId"] == principal);
        let mut asked: Vec<String> = own.map(|entry| entry["operation"].as_str().expect("an operation").to_owned()).collect();
        asked.sort();
        asked.dedup();
        (asked, log.len())
    }
}

impl Drop for VaultSite {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn version_of(bundle: &Value) -> String {
    bundle["key"]["kid"].as_str().and_then(|kid| kid.rsplit('/').next()).expect("a key identifier").to_owned()
}

/// A cluster as a test sees it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Its path in the control plane.
    pub path: String,
    /// Its identity's principal id.
    pub principal: String,
}

impl Site {
    /// The path of the default resource group's provider.
    ///
    /// # Panics
    /// If there is no workspace.
    #[must_use]
    pub fn provider(&self) -> String {
        let reply = self.request(Method::GET, "/v1/workspaces/default").send().expect("an answer");
        let home: Value = reply.json().expect("JSON");
        let subscription = home["subscription"].as_str().or(home["subscriptionId"].as_str()).expect("a subscription").to_owned();
        format!("/subscriptions/{subscription}/resourceGroups/default/providers")
    }

    /// A control plane call; gives status and body.
    ///
    /// # Panics
    /// If no answer comes.
    #[must_use]
    pub fn arm(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self.request(method, &format!("{path}?{ARM_API}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.send().expect("an answer");
        let status = reply.status().as_u16();
        (status, reply.json().unwrap_or(Value::Null))
    }

    /// A change that is waited for.
    ///
    /// # Errors
    /// The refusal, or the failed operation.
    ///
    /// # Panics
    /// If it takes longer than a minute.
    pub fn change(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Value> {
        let mut request = self.request(method, &format!("{path}?{ARM_API}"));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let reply = request.send().expect("an answer");
        let status = reply.status();
        let operation = reply.headers().get("azure-asyncoperation").and_then(|url| url.to_str().ok()).map(str::to_owned);
        let answer: Value = reply.json().unwrap_or(Value::Null);
        if !status.is_success() {
            return Err(answer);
        }
        let Some(operation) = operation else { return Ok(answer) };
        let deadline = Instant::now() + BOUND + Duration::from_secs(30);
        let path = operation.split_once("/subscriptions").map(|(_, rest)| format!("/subscriptions{rest}")).expect("a path");
        loop {
            let state: Value = self.request(Method::GET, &path).send().expect("an answer").json().expect("JSON");
            match state["status"].as_str() {
                Some("Succeeded") => return Ok(answer),
                Some("Failed" | "Canceled") => return Err(state),
                _ => assert!(Instant::now() < deadline, "{path} does not end: {state}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A new cluster.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create_cluster(&self, name: &str, double: bool) -> Cluster {
        let path = format!("{}/Microsoft.OperationalInsights/clusters/{name}", self.provider());
        let body = json!({
            "location": "local",
            "identity": {"type": "SystemAssigned"},
            "sku": {"name": "CapacityReservation", "capacity": 100},
            "properties": {"isDoubleEncryptionEnabled": double},
        });
        self.change(Method::PUT, &path, Some(body)).expect("a cluster");
        let (_, cluster) = self.arm(Method::GET, &path, None);
        let principal = cluster["identity"]["principalId"].as_str().expect("a principal").to_owned();
        Cluster { name: name.to_owned(), path, principal }
    }

    /// Makes a vault known to the control plane.
    ///
    /// # Panics
    /// If it is refused.
    pub fn know_vault(&self, name: &str, vault: &VaultSite) {
        let ca = std::fs::read_to_string(vault.dir().join("ca.pem")).expect("its certificate");
        let tenant = vault.call(Method::GET, "/vault", None)["tenantId"].clone();
        let body = json!({"location": "local", "properties": {"tenantId": tenant, "vaultUri": vault.base(), "caPem": ca}});
        let path = format!("{}/Microsoft.KeyVault/vaults/{name}", self.provider());
        let (status, answer) = self.arm(Method::PUT, &path, Some(body));
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    /// Registers a cluster's identity in a vault and grants it the role.
    ///
    /// # Panics
    /// If either is refused.
    pub fn admit(&self, cluster: &Cluster, vault: &VaultSite) {
        let (_, shown) = self.arm(Method::GET, &cluster.path, None);
        let pem = shown["properties"]["identityPublicKey"].as_str().expect("a public key");
        vault.register(&cluster.name, &cluster.principal, pem);
        vault.grant(&cluster.principal);
    }

    /// Puts a cluster under a key; an empty version follows the newest.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn set_key(&self, cluster: &Cluster, vault: &VaultSite, key: &str, version: &str) -> Result<Value, Value> {
        let key = json!({"keyVaultUri": vault.base(), "keyName": key, "keyVersion": version});
        self.change(Method::PATCH, &cluster.path, Some(json!({"properties": {"keyVaultProperties": key}})))
    }

    /// Links a workspace.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn link(&self, workspace: &str, cluster: &Cluster) -> Result<Value, Value> {
        let path = format!("{}/Microsoft.OperationalInsights/workspaces/{workspace}/linkedServices/cluster", self.provider());
        self.change(Method::PUT, &path, Some(json!({"properties": {"writeAccessResourceId": cluster.path}})))
    }

    /// Unlinks a workspace.
    ///
    /// # Errors
    /// What the control plane says.
    pub fn unlink(&self, workspace: &str) -> Result<Value, Value> {
        let path = format!("{}/Microsoft.OperationalInsights/workspaces/{workspace}/linkedServices/cluster", self.provider());
        self.change(Method::DELETE, &path, None)
    }

    /// A cluster under a key of `vault` that follows its newest version.
    ///
    /// # Panics
    /// If any step is refused.
    #[must_use]
    pub fn locked_cluster(&self, name: &str, vault: &VaultSite, key: &str) -> Cluster {
        let cluster = self.create_cluster(name, true);
        self.admit(&cluster, vault);
        self.set_key(&cluster, vault, key, "").expect("the key is taken");
        cluster
    }

    /// How a cluster's key stands.
    ///
    /// # Panics
    /// If no answer comes.
    #[must_use]
    pub fn key_status(&self, cluster: &Cluster) -> Value {
        let path = format!("/v1/clusters/{}/key", cluster.name);
        self.request(Method::GET, &path).send().expect("an answer").json().expect("JSON")
    }

    /// Waits until a key is in `state`; how long that took.
    ///
    /// # Panics
    /// If it takes longer than [`BOUND`].
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn until_key(&self, cluster: &Cluster, state: &str) -> Duration {
        let start = Instant::now();
        loop {
            let status = self.key_status(cluster);
            if status["state"] == state {
                return start.elapsed();
            }
            assert!(start.elapsed() < BOUND, "not {state} after {:?}: {status}", start.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Runs KQL in a workspace; status and body. Status 0: the answer had begun and was cut off, as it is when a key goes.
    ///
    /// # Panics
    /// If what comes back whole is no JSON.
    #[must_use]
    pub fn ask(&self, workspace: &str, text: &str) -> (u16, Value) {
        let reply = self
            .request(Method::POST, &format!("/v1/workspaces/{workspace}/query"))
            .json(&json!({"query": text}))
            .send()
            .expect("an answer");
        let status = reply.status().as_u16();
        match reply.bytes() {
            Ok(body) => (status, serde_json::from_slice(&body).expect("JSON")),
            Err(_) if status == 200 => (0, Value::Null),
            Err(error) => panic!("an answer with status {status} broke off: {error}"),
        }
    }

    /// What editors are told about a workspace; status and body.
    ///
    /// # Panics
    /// If no JSON comes back.
    #[must_use]
    pub fn metadata(&self, workspace: &str) -> (u16, Value) {
        let reply = self.request(Method::GET, &format!("/v1/workspaces/{workspace}/metadata")).send().expect("an answer");
        (reply.status().as_u16(), reply.json().expect("JSON"))
    }

    /// Sends NDJSON to a table of a workspace; status and body.
    ///
    /// # Panics
    /// If no JSON comes back.
    #[must_use]
    pub fn send(&self, workspace: &str, table: &str, body: String) -> (u16, Value) {
        let reply = self.request(Method::POST, &format!("/v1/workspaces/{workspace}/ingest/{table}")).body(body).send().expect("an answer");
        (reply.status().as_u16(), reply.json().expect("JSON"))
    }

    /// Makes a workspace.
    ///
    /// # Panics
    /// If it is refused.
    pub fn create_workspace(&self, name: &str) {
        let reply = self.request(Method::POST, "/v1/workspaces").json(&json!({"name": name})).send().expect("an answer");
        assert!(reply.status().is_success(), "{}", reply.text().unwrap_or_default());
    }

    /// Makes blocks of everything in a workspace.
    ///
    /// # Panics
    /// If that fails.
    pub fn flush_of(&self, workspace: &str) {
        let reply = self.request(Method::POST, &format!("/v1/workspaces/{workspace}/flush")).send().expect("an answer");
        assert!(reply.status().is_success(), "{}", reply.text().unwrap_or_default());
    }

    /// Which key class each block of a table has, newest first, as EXPLAIN tells.
    ///
    /// # Panics
    /// If EXPLAIN fails.
    #[must_use]
    pub fn explain(&self, workspace: &str, text: &str) -> Value {
        let reply = self
            .request(Method::POST, &format!("/v1/workspaces/{workspace}/query"))
            .json(&json!({"query": text, "explain": true}))
            .send()
            .expect("an answer");
        let status = reply.status();
        let body: Value = reply.json().expect("JSON");
        assert!(status.is_success(), "{status} {body}");
        body
    }
}

/// Every file below a directory with its bytes.
///
/// # Panics
/// If one cannot be read.
#[must_use]
pub fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return found };
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path, bytes));
        }
    }
    found
}
