//! From nothing to a locked workspace by commands alone: a server and a vault of the same binary.
#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const TOKEN: &str = "srt_a-token-for-the-story-of-clusters";

/// A process of ours that ends with the story.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
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

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

struct House {
    dirs: tempfile::TempDir,
    server: String,
    vault: String,
    _running: [Running; 2],
}

impl House {
    fn start() -> Self {
        let dirs = tempfile::tempdir().unwrap();
        let at = |name: &str| dirs.path().join(name);
        let mut vault = strongroom(&["vault", "serve", "--listen", "127.0.0.1:0", "--vault-dir", path(&at("vault"))])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Both lines that it prints, or it would end at a closed pipe.
        let said: Vec<String> = BufReader::new(vault.stdout.take().unwrap()).lines().take(2).map(Result::unwrap).collect();
        let vault_url = said[0].strip_prefix("vault: ").unwrap().to_owned();
        let mut server = strongroom(&["serve", "--no-vault", "--listen", "127.0.0.1:0"])
            .args(["--data-dir", path(&at("data")), "--config-dir", path(&at("config"))])
            .env("STRONGROOM_ADMIN_TOKEN", TOKEN)
            .env("STRONGROOM_LOG", "info")
            .env("STRONGROOM_BUFFER__RESERVE_BYTES", "268435456")
            .env("STRONGROOM_BUFFER__RESERVE_PERCENT", "0")
            .env("STRONGROOM_OUTBOUND__ALLOW", r#"["127.0.0.1/32"]"#)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
        let serving = lines.by_ref().map(Result::unwrap).find(|line| line.contains("serving")).expect("the server comes up");
        let port = serving.split("127.0.0.1:").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap().to_owned();
        // Read on, or the server would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { dirs, server: format!("http://127.0.0.1:{port}"), vault: vault_url, _running: [Running(vault), Running(server)] }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        strongroom(arguments)
            .env("STRONGROOM_SERVER", &self.server)
            .env("STRONGROOM_TOKEN", TOKEN)
            .env("STRONGROOM_VAULT", &self.vault)
            .env("STRONGROOM_VAULT_DIR", self.dirs.path().join("vault"))
            .output()
            .unwrap()
    }

    /// What it printed, and what it said besides.
    fn does(&self, arguments: &[&str]) -> (String, String) {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        (String::from_utf8(output.stdout).unwrap(), said)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.does(&[arguments, &["-o", "json"]].concat()).0).unwrap()
    }

    fn fails(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let both = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(both).unwrap())
    }
}

#[test]
fn a_workspace_comes_under_a_key_of_ones_own_by_commands_alone() {
    let house = House::start();
    let vault = house.vault.as_str();
    let (said, help) = house.does(&["cluster", "--help"]);
    assert!(help.is_empty() && said.contains("to revoke access to the data, disable the key in the vault"), "{said}");

    let (shown, said) = house.does(&["cluster", "create", "contoso", "--tag", "team=shop"]);
    assert!(shown.contains("contoso") && shown.contains("Succeeded") && said.contains("cluster contoso: done"), "{shown}{said}");
    let (code, said) = house.fails(&["cluster", "create", "a_b"]);
    assert!(code == 3 && said.contains("InvalidClusterName: Cluster name is not valid."), "{said}");
    let pem = house.dirs.path().join("contoso.pem");
    let (principal, _) = house.does(&["cluster", "identity", "contoso", "--out", path(&pem)]);
    let principal = principal.trim();
    assert!(std::fs::read_to_string(&pem).unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));

    house.does(&["key", "create", "kek"]);
    let set = ["cluster", "set-key", "contoso", "--vault-uri", vault, "--key-name", "kek"];
    let (code, said) = house.fails(&set);
    assert!(code == 3 && said.contains("KeyVaultNotRegistered"), "{said}");
    house.does(&["cluster", "register-vault", "customers", "--vault-uri", vault, "--ca", path(&house.dirs.path().join("vault/ca.pem"))]);
    assert!(house.does(&["cluster", "list-vaults"]).0.contains(vault));
    let (code, said) = house.fails(&set);
    assert!(code == 3 && said.contains("KeyValidationFailed: Failed to validate key in Key Vault."), "no grant yet: {said}");
    let doctor = ["doctor", "--cluster", "contoso", "--workspace", "default", "--vault-uri", vault, "--key-name", "kek"];
    let (code, said) = house.fails(&doctor);
    assert!(code == 1 && said.contains("RED      key"), "{said}");

    house.does(&["vault", "identity", "add", "--name", "contoso", "--principal-id", principal, "--public-key", path(&pem)]);
    house.does(&["vault", "grant", "--principal", principal]);
    let (code, said) = house.fails(&set);
    assert!(code == 3 && said.contains("KeyNotRecoverable: Key isn't recoverable."), "{said}");
    let (code, said) = house.fails(&doctor);
    assert!(code == 1 && said.contains("RED      recoverable"), "{said}");
    house.does(&["vault", "update", "--soft-delete", "--purge-protection"]);
    let (said, _) = house.does(&doctor);
    assert!(!said.contains("RED"), "{said}");
    let (shown, said) = house.does(&set);
    assert!(shown.contains(&format!("{vault}/keys/kek (newest)")), "{shown}");
    assert!(said.contains("the cluster follows the newest version of kek"), "{said}");
    assert!(house.does(&set).1.contains("nothing to change"));

    let (shown, said) = house.does(&["workspace", "link", "default", "--cluster", "contoso"]);
    assert!(shown.contains("contoso") && said.contains("link of default to contoso: done"), "{shown}{said}");
    let (shown, _) = house.does(&["cluster", "show", "contoso"]);
    assert!(shown.contains("Linked workspace") && shown.contains("default"), "{shown}");
    let status = house.json(&["key", "status", "--cluster", "contoso"]);
    assert_eq!((&status["state"], &status["kek"]["keyName"]), (&"Active".into(), &"kek".into()), "{status}");
    let (page, _) = house.does(&["key", "status", "--cluster", "contoso"]);
    assert!(page.contains("follows the newest version") && page.contains("seals everything a second time"), "{page}");

    // Pinned, and told what that means.
    let version = status["kek"]["facts"]["newest"].as_str().unwrap();
    let (_, said) = house.does(&[&set[..], &["--key-version", version]].concat());
    assert!(said.contains("set the key again"), "{said}");
    let (page, _) = house.does(&["key", "status", "--cluster", "contoso"]);
    assert!(page.contains("advice: the cluster is pinned to version"), "{page}");

    let (shown, said) = house.does(&["workspace", "unlink", "default"]);
    assert!(!shown.contains("contoso") && said.contains("unlink of default: done"), "{shown}{said}");
    let (gone, _) = house.does(&["cluster", "delete", "contoso", "--force"]);
    assert!(gone.contains("Linked workspaces are unlinked"), "{gone}");
    let (code, said) = house.fails(&["cluster", "show", "contoso"]);
    assert!(code == 3 && said.contains("ResourceNotFound: Cluster not found"), "{said}");
    let (code, said) = house.fails(&["cluster", "create", "contoso"]);
    assert!(code == 3 && said.contains("ClusterNameReserved"), "{said}");
}
