//! The vault's and the key's commands against a vault of the same binary.
#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

struct Vault {
    process: Child,
    url: String,
    dir: tempfile::TempDir,
    said: String,
}

fn strongroom(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    // Nothing of the machine's own settings.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STRONGROOM_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

impl Vault {
    fn start(dir: tempfile::TempDir) -> Self {
        let mut process = strongroom(&["vault", "serve", "--listen", "127.0.0.1:0", "--vault-dir", path(dir.path())])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (first, second) = (lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap());
        let url = first.strip_prefix("vault: ").unwrap().to_owned();
        assert!(second.ends_with("ca.pem"), "{second}");
        Self { process, url, dir, said: String::new() }
    }

    /// SIGTERM; it must end well.
    fn stop(mut self) -> (tempfile::TempDir, String) {
        let kill = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap();
        assert!(kill.success());
        assert!(self.process.wait().unwrap().success());
        self.process.stderr.take().unwrap().read_to_string(&mut self.said).unwrap();
        let said = std::mem::take(&mut self.said);
        let empty = tempfile::tempdir().unwrap();
        (std::mem::replace(&mut self.dir, empty), said)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let target = ["--vault-url", &self.url, "--vault-dir", path(self.dir.path())];
        strongroom(&[arguments, &target].concat()).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.text(&[arguments, &["-o", "json"]].concat())).unwrap()
    }

    /// The exit code and what was said of it.
    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }
}

impl Drop for Vault {
    fn drop(&mut self) {
        // Ours, and only if the test broke off before it was stopped.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_key_is_made_shown_disabled_deleted_and_recovered() {
    let vault = Vault::start(tempfile::tempdir().unwrap());
    assert_eq!(vault.json(&["vault", "show"])["enableSoftDelete"], false);
    let warned = vault.text(&["key", "create", "kek", "--expires", "365d", "--tag", "team=shop"]);
    assert!(warned.contains("vault update --soft-delete --purge-protection"), "{warned}");
    let (code, said) = vault.fails(&["key", "delete", "kek"]);
    assert!(code == 2 && said.contains("but for a backup"), "{said}");
    let (code, said) = vault.fails(&["vault", "update", "--purge-protection"]);
    assert!(code == 3 && said.contains("soft delete"), "{said}");
    assert_eq!(vault.fails(&["vault", "update"]).0, 2);
    let both = vault.json(&["vault", "update", "--soft-delete", "--purge-protection"]);
    assert_eq!((&both["enableSoftDelete"], &both["enablePurgeProtection"]), (&true.into(), &true.into()));
    let (code, said) = vault.fails(&["vault", "update", "--purge-protection=false"]);
    assert!(code == 3 && said.contains("irreversible"), "{said}");

    // Everything that `cluster set-key` wants, and it is the newest version's.
    let rotated = vault.json(&["key", "rotate", "kek"]);
    let kid = rotated["key"]["kid"].as_str().unwrap();
    let version = kid.rsplit('/').next().unwrap();
    let shown = vault.text(&["key", "show", "kek"]);
    for line in [format!("Vault URI       {}\n", vault.url), "Key name        kek\n".into(), format!("Key version     {version}\n")] {
        assert!(shown.contains(&line), "{shown}");
    }
    assert!(shown.contains(kid) && shown.contains("Recovery level  Recoverable\n"), "{shown}");
    assert!(shown.contains(&format!("set-key CLUSTER --vault-uri {} --key-name kek --key-version {version}", vault.url)), "{shown}");
    assert!(!shown.contains("vault update"), "{shown}");

    let versions = |state: bool| {
        let all = vault.json(&["key", "list", "--versions", "kek"]);
        all["value"].as_array().unwrap().iter().filter(|item| item["attributes"]["enabled"] == state).count()
    };
    assert_eq!(vault.json(&["key", "disable", "kek"])["value"].as_array().unwrap().len(), 2);
    assert_eq!((versions(false), versions(true)), (2, 0));
    vault.text(&["key", "enable", "kek", "--version", version]);
    assert_eq!((versions(false), versions(true)), (1, 1));
    vault.text(&["key", "enable", "kek"]);
    assert_eq!(versions(true), 2);

    assert!(vault.text(&["key", "delete", "kek"]).contains("kek"));
    assert!(vault.text(&["key", "list", "--deleted"]).contains("kek"));
    let (code, said) = vault.fails(&["key", "show", "kek"]);
    assert!(code == 3 && said.contains("KeyNotFound"), "{said}");
    let (code, said) = vault.fails(&["key", "purge", "kek"]);
    assert!(code == 3 && said.contains("purge protection"), "{said}");
    assert!(vault.text(&["key", "recover", "kek"]).contains(version));
    assert!(vault.text(&["key", "list"]).contains("kek"));
    assert!(vault.text(&["vault", "log"]).contains("KeyRecover"));

    let (dir, said) = vault.stop();
    let token = std::fs::read_to_string(dir.path().join("admin-token")).unwrap();
    assert_eq!(said.matches(&token).count(), 1, "the token is shown once");
    let vault = Vault::start(dir);
    assert!(vault.text(&["key", "show", "kek"]).contains(version), "a restart keeps it");
    let (_, said) = vault.stop();
    assert!(!said.contains(&token), "and not again");
}

#[test]
fn an_identity_is_granted_and_revoked_by_name_and_by_id() {
    let vault = Vault::start(tempfile::tempdir().unwrap());
    let pem = vault.dir.path().join("cluster.pem");
    // RFC 9500's test key of P-256: nobody's.
    std::fs::write(
        &pem,
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQiVI+I+3gv+17KN0RFLHKh5Vj71v\nc75eSOkyMsxFxbFsTNEMTLjVuKFxOelIgsiZJXKZNCX0FBmrfpCkKklCcg==\n-----END PUBLIC KEY-----\n",
    )
    .unwrap();
    let id = "0190b6c8-1111-7000-8000-000000000001";
    let added = vault.json(&["vault", "identity", "add", "--name", "shop", "--principal-id", id, "--public-key", path(&pem)]);
    assert_eq!((&added["name"], &added["principalId"]), (&"shop".into(), &id.into()));
    assert!(vault.text(&["vault", "identity", "list"]).contains(id));
    let (code, said) = vault.fails(&["vault", "grant", "--principal", "nobody"]);
    assert!(code == 3 && said.contains("No identity"), "{said}");
    for principal in ["shop", id] {
        assert!(vault.text(&["vault", "grant", "--principal", principal]).contains("Key Vault Crypto Service Encryption User"));
        assert!(vault.text(&["vault", "grants"]).contains("shop"));
        vault.text(&["vault", "revoke", "--principal", principal]);
        assert!(!vault.text(&["vault", "grants"]).contains("shop"));
    }
    let early = vault.run(&["vault", "grant", "--principal", "shop", "--permissions", "get"]);
    assert!(early.status.success() && String::from_utf8_lossy(&early.stderr).contains("no effect"));
    vault.text(&["vault", "update", "--permission-model", "access-policy"]);
    let granted = vault.json(&["vault", "grant", "--principal", "shop"]);
    assert_eq!(granted["value"][0]["permissions"], serde_json::json!(["get", "wrapKey", "unwrapKey"]));
    vault.text(&["vault", "identity", "remove", "--principal", "shop"]);
    assert!(!vault.text(&["vault", "identity", "list"]).contains("shop"));
    vault.stop();
}

#[test]
fn a_vault_that_is_not_there_or_not_ours_is_said_so() {
    let vault = Vault::start(tempfile::tempdir().unwrap());
    let other = tempfile::tempdir().unwrap();
    let ask = |arguments: &[&str]| {
        let output = strongroom(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = ask(&["key", "list", "--vault-url", &vault.url, "--vault-dir", path(other.path())]);
    assert!(code == 2 && said.contains("ca.pem"), "{said}");
    // Another vault's certificate is not believed.
    let wrong = Vault::start(other);
    let (code, said) = ask(&["key", "list", "--vault-url", &vault.url, "--vault-dir", path(wrong.dir.path())]);
    assert!(code == 4, "{code} {said}");
    let ca = vault.dir.path().join("ca.pem");
    let (code, said) = ask(&["key", "list", "--vault-url", &vault.url, "--vault-ca", path(&ca), "--vault-token", "wrong"]);
    assert!(code == 3 && said.contains("Unauthorized"), "{said}");
    assert_eq!(ask(&["key", "list", "--vault-url", "http://127.0.0.1:1", "--vault-dir", path(vault.dir.path())]).0, 2);
    assert_eq!(ask(&["key", "list", "--vault-url", "https://127.0.0.1:1", "--vault-dir", path(vault.dir.path())]).0, 4);
    // One directory, one vault.
    let (code, said) = ask(&["vault", "serve", "--listen", "127.0.0.1:0", "--vault-dir", path(vault.dir.path())]);
    assert!(code == 1 && said.contains("another vault"), "{said}");
    wrong.stop();
    vault.stop();
}

#[test]
fn help_says_how_to_revoke() {
    for arguments in [["vault", "--help"], ["key", "--help"]] {
        let output = strongroom(&arguments).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains("recommended way") && help.contains("key disable NAME"), "{help}");
    }
}
