//! Starting, being refused, stopping.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use strongroom_tests::{ADMIN, Site, Start, binary};

#[test]
fn a_second_server_on_the_same_directory_is_refused_and_told_who_is_there() {
    let site = Site::start();
    let second = Command::new(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--vault-listen", "127.0.0.1:0", "--vault-dir"])
        .arg(site.vault_dir())
        .arg("--data-dir")
        .arg(site.data_dir())
        .arg("--config-dir")
        .arg(site.config_dir())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&site.pid().to_string()) && said.contains("--data-dir"), "{said}");
    site.ingest("T", r#"{"a":1}"#);
}

#[test]
fn a_term_signal_drains_and_ends_within_ten_seconds() {
    let mut site = Site::start();
    site.ingest("T", r#"{"a":1}"#);
    let running = Arc::new(AtomicBool::new(true));
    let acked = {
        let (running, url) = (Arc::clone(&running), format!("{}/v1/workspaces/default/ingest/T", site.base()));
        std::thread::spawn(move || {
            let client = reqwest::blocking::Client::new();
            let mut acked = 0u64;
            while running.load(Ordering::Relaxed) {
                if client.post(&url).bearer_auth(ADMIN).body(r#"{"a":1}"#).send().is_ok_and(|reply| reply.status().is_success()) {
                    acked += 1;
                }
            }
            acked
        })
    };
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    let status = site.terminate();
    let took = start.elapsed();
    running.store(false, Ordering::Relaxed);
    let acked = acked.join().unwrap();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    site.restart();
    let count = site.kql("T | count")[0][0].as_u64().unwrap();
    assert!(count > acked, "{count} rows are there, {} were acked", acked + 1);
}

#[test]
fn the_admin_token_is_printed_once_and_kept_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut site = Site::start_with(Start { environment: vec![("STRONGROOM_ADMIN_TOKEN".to_owned(), String::new())], ..Start::default() });
    let path = site.config_dir().join("admin-token");
    let token = std::fs::read_to_string(&path).unwrap();
    assert_eq!(site.output().matches(token.trim()).count(), 1);
    for name in ["admin-token", "mmk.root"] {
        assert_eq!(site.config_dir().join(name).metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let client = reqwest::blocking::Client::new();
    let list = |site: &Site, token: &str| {
        client.get(format!("{}/v1/workspaces", site.base())).bearer_auth(token).send().unwrap().status().as_u16()
    };
    assert_eq!(list(&site, token.trim()), 200);
    assert_eq!(list(&site, ADMIN), 401);
    site.kill();
    site.restart();
    assert_eq!(site.output().matches(token.trim()).count(), 1, "shown again");
    assert_eq!(list(&site, token.trim()), 200);
}

#[test]
fn a_root_key_that_is_lost_or_open_to_others_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let mut site = Site::start();
    site.ingest("T", r#"{"a":1}"#);
    site.kill();
    let path = site.config_dir().join("mmk.root");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = site.try_restart().unwrap_err();
    assert!(said.contains("mmk.root"), "{said}");
    std::fs::write(&path, vec![7; 32]).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(site.try_restart().is_err(), "another root key was taken");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = site.try_restart().unwrap_err();
    assert!(said.contains("0600"), "{said}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    site.restart();
    assert_eq!(site.kql("T | count"), [[json!(1)]]);
}

#[test]
fn wrong_settings_are_named_with_their_origin() {
    let root = tempfile::tempdir().unwrap();
    let start = |arguments: &[&str], variable: Option<(&str, &str)>| {
        let mut command = Command::new(binary());
        command.arg("serve").args(arguments).env("HOME", root.path()).env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        if let Some((name, value)) = variable {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let file = root.path().join("bad.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:0\"\nspeed = \"fast\"\n").unwrap();
    let said = start(&["--config", file.to_str().unwrap()], None);
    assert!(said.contains("bad.toml") && said.contains("speed"), "{said}");
    let said = start(&["--config", "/nowhere/x.toml"], None);
    assert!(said.contains("/nowhere/x.toml"), "{said}");
    let said = start(&[], Some(("STRONGROOM_BUFFER__SPEED", "1")));
    assert!(said.contains("STRONGROOM_BUFFER__SPEED"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = start(&["--listen", &taken.local_addr().unwrap().to_string()], None);
    assert!(said.contains("--listen"), "{said}");
}

#[test]
fn health_readiness_metrics_and_unknown_paths() {
    let site = Site::start();
    let get = |path: &str| reqwest::blocking::get(format!("{}{path}", site.base())).unwrap();
    assert_eq!(get("/healthz").status(), 200);
    assert_eq!(get("/readyz").status(), 200);
    site.ingest("T", r#"{"a":1}"#);
    let text = get("/metrics").text().unwrap();
    assert!(text.contains("server_requests_total{route=\"/v1/workspaces/{workspace}/ingest/{table}\",status=\"200\"} 1"), "{text}");
    let missing = get("/v1/nope");
    assert_eq!(missing.status(), 404);
    assert_eq!(missing.json::<serde_json::Value>().unwrap()["error"]["code"], "PathNotFoundError");
    assert_eq!(site.request(reqwest::Method::DELETE, "/v1/workspaces").send().unwrap().status(), 405);
}
