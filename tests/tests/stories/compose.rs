//! `docker-compose.yml`, without Docker: what it asks for is checked, and its processes are run as they stand there, on
//! loopback and with directories for volumes. `tests/compose.sh` runs it with a real engine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use strongroom_tests::binary;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The YAML that the file keeps to: mappings by indentation, anchors merged by `<<`, and on one line JSON, quoted and plain text.
fn yaml(text: &str) -> Value {
    let lines: Vec<(usize, &str)> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|line| (line.len() - line.trim_start().len(), line.trim()))
        .collect();
    let (mut at, mut anchors) = (0, Map::new());
    let value = mapping(&lines, &mut at, 0, &mut anchors);
    assert_eq!(at, lines.len(), "line {:?} is indented in a way that is not understood here", lines.get(at));
    value
}

fn mapping(lines: &[(usize, &str)], at: &mut usize, indent: usize, anchors: &mut Map<String, Value>) -> Value {
    let mut found = Map::new();
    while let Some((_, line)) = lines.get(*at).filter(|(depth, _)| *depth == indent) {
        let (key, rest) = line.split_once(':').unwrap_or_else(|| panic!("no key: {line}"));
        let rest = rest.trim();
        *at += 1;
        let (anchor, rest) = match rest.strip_prefix('&') {
            Some(name) => (Some(name.to_owned()), ""),
            None => (None, rest),
        };
        let value = if key == "<<" {
            let Value::Object(merged) = anchors[rest.trim_start_matches('*')].clone() else { panic!("{line}") };
            found.extend(merged);
            continue;
        } else if rest.is_empty() {
            let (deeper, _) = lines[*at];
            assert!(deeper > indent, "{key} is empty");
            mapping(lines, at, deeper, anchors)
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            quoted.strip_suffix('\'').expect("a quote ends").into()
        } else if rest.starts_with(['[', '{', '"']) || rest == "true" || rest == "false" {
            serde_json::from_str(rest).unwrap_or_else(|error| panic!("{line}: {error}"))
        } else {
            rest.into()
        };
        if let Some(anchor) = anchor {
            anchors.insert(anchor, value.clone());
        }
        assert!(found.insert(key.to_owned(), value).is_none(), "{key} is there twice");
    }
    Value::Object(found)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn vault_and_server_share_a_network_and_a_certificate_and_nothing_else() {
    let file = yaml(&std::fs::read_to_string(repository().join("docker-compose.yml")).unwrap());
    let services = file["services"].as_object().unwrap();
    assert_eq!(services.keys().collect::<Vec<_>>(), ["vault", "server", "load"]);
    for (name, service) in services {
        let uid: u32 = service["user"].as_str().unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(uid > 0, "{name}");
        assert_eq!((&service["read_only"], &service["cap_drop"]), (&json!(true), &json!(["ALL"])), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        assert_eq!((&service["privileged"], &service["network_mode"], &service["env_file"]), (&Value::Null, &Value::Null, &Value::Null));
        assert!(service["environment"].as_object().unwrap().keys().all(|name| !name.contains("TOKEN")), "no token is written down");
    }
    let (vault, server) = (&services["vault"], &services["server"]);
    assert_eq!(texts(&vault["volumes"]), ["vault:/vault", "vault-ca:/vault-ca"]);
    assert_eq!(texts(&server["volumes"]), ["data:/data", "config:/config", "vault-ca:/vault-ca:ro"]);
    assert!(texts(&services["load"]["volumes"]).iter().all(|volume| volume.ends_with(":ro")));
    assert_eq!(services["load"]["profiles"], json!(["load"]), "it is not started by `up`");
    assert_eq!((texts(&vault["networks"]), &vault["ports"]), (vec!["private"], &Value::Null), "the vault is published nowhere");
    assert_eq!(file["networks"]["private"]["internal"], true);
    assert!(texts(&server["ports"]).iter().all(|port| port.starts_with("127.0.0.1:")));
    let image = std::fs::read_to_string(repository().join("Dockerfile")).unwrap();
    assert!(image.contains("\nUSER 10001:10001\n") && image.contains("AS prebuilt"));
}

/// One start of the file's processes.
struct Stack {
    dir: tempfile::TempDir,
    file: Value,
    /// What stands in the file and what it is here.
    instead: Vec<(String, String)>,
    children: Vec<Child>,
}

impl Stack {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [vault, server] = listeners.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
        let mut instead: Vec<(String, String)> = Vec::new();
        for host in ["vault", "0.0.0.0", "127.0.0.1"] {
            instead.push((format!("{host}:7701"), vault.clone()));
        }
        for host in ["server", "0.0.0.0", "127.0.0.1"] {
            instead.push((format!("{host}:7700"), server.clone()));
        }
        // Longer names first; none of the new ones holds an old one.
        for (volume, here) in [("/vault-ca", "certificate"), ("/vault", "customer"), ("/config", "settings"), ("/data", "rows")] {
            let path = dir.path().join(here);
            std::fs::create_dir(&path).unwrap();
            instead.push((volume.to_owned(), path.display().to_string()));
        }
        let file = yaml(&std::fs::read_to_string(repository().join("docker-compose.yml")).unwrap());
        Self { dir, file, instead, children: Vec::new() }
    }

    fn here(&self, text: &str) -> String {
        self.instead.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from.as_str(), to))
    }

    fn command(&self, service: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments.iter().map(|argument| self.here(argument))).current_dir(self.dir.path()).env_clear();
        for (name, value) in self.file["services"][service]["environment"].as_object().unwrap() {
            command.env(name, self.here(value.as_str().unwrap()));
        }
        // A disk with little room is no reason to fail here.
        if service == "server" {
            command.env("STRONGROOM_BUFFER__RESERVE_BYTES", "268435456").env("STRONGROOM_BUFFER__RESERVE_PERCENT", "0");
        }
        command.stdin(Stdio::null());
        command
    }

    /// Starts a service and waits until its health check is good.
    fn up(&mut self, service: &str) {
        let definition = self.file["services"][service].clone();
        let log = std::fs::File::create(self.dir.path().join(format!("{service}.log"))).unwrap();
        let mut command = self.command(service, &texts(&definition["command"]));
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.children.push(child);
        let check = texts(&definition["healthcheck"]["test"]);
        assert_eq!(check[..2], ["CMD", "strongroom"]);
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let output = self.command(service, &check[2..]).output().unwrap();
            if output.status.success() {
                return;
            }
            assert!(Instant::now() < deadline, "{service}: {}\n{}", said(&output), self.log(service));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn log(&self, service: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{service}.log"))).unwrap_or_default()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn its_processes_come_up_and_load_prints_figures_for_each_class_of_keys() {
    let mut stack = Stack::new();
    // Before it is there, the check fails.
    let check = texts(&stack.file["services"]["server"]["healthcheck"]["test"])[2..].iter().map(ToString::to_string).collect::<Vec<_>>();
    let check: Vec<&str> = check.iter().map(String::as_str).collect();
    assert_eq!(stack.command("server", &check).output().unwrap().status.code(), Some(4));
    stack.up("vault");
    stack.up("server");
    let command = stack.file["services"]["load"]["command"].clone();
    let mut command = texts(&command);
    let rows = command.iter().position(|word| *word == "--rows").unwrap() + 1;
    command[rows] = "3000";
    let output = stack.command("load", &command).output().unwrap();
    assert!(output.status.success(), "{}\n{}", said(&output), stack.log("server"));
    let told = String::from_utf8(output.stdout).unwrap();
    for class in ["MMK ", "CMK ", "CMK, double encryption "] {
        let line = told.lines().find(|line| line.starts_with(class) && line.contains(" 3000 ")).unwrap_or_else(|| panic!("{told}"));
        // Rows, rate and its unit, rows a second, two times of acks, queries and two times of theirs.
        let figures: Vec<&str> = line[class.len()..].split_whitespace().collect();
        assert_eq!(figures.len(), 9, "{told}");
        assert!(figures.iter().filter_map(|figure| figure.parse::<f64>().ok()).all(|figure| figure > 0.0), "{told}");
    }
    // The second time everything is there already.
    let again = stack.command("load", &command).output().unwrap();
    assert!(again.status.success(), "{}", said(&again));
    // What the file promises of the clusters holds.
    let blocks =
        stack.command("load", &["query", "ServiceLogs | count", "--workspace", "load-cmk-double", "--explain", "--output", "ndjson"]);
    let blocks = { blocks }.output().unwrap();
    let classes: Vec<Value> = String::from_utf8_lossy(&blocks.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|row| row["Item"] == "block")
        .map(|row| row["KeyClass"].clone())
        .collect();
    assert!(classes.len() >= 2 && classes.iter().all(|class| class == "CMK"), "{}", said(&blocks));
}
