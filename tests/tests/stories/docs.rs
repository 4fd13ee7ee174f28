//! Every command that README and docs show is run here as it stands there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_tests::{ADMIN, Site, Start, binary, choose_ciphers};

/// A fenced `sh` block and the mark in the comment above it.
struct Shown {
    file: PathBuf,
    line: usize,
    mark: String,
    text: String,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn pages() -> Vec<PathBuf> {
    let root = repository();
    let mut pages: Vec<PathBuf> = strongroom_tests::scan::files(&root.join("docs"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    pages.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name)));
    pages.sort();
    pages
}

fn shown() -> Vec<Shown> {
    let mut found = Vec::new();
    for file in pages() {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while at < lines.len() {
            if matches!(lines[at].trim(), "```sh" | "```bash" | "```console") {
                let end = (at + 1..lines.len()).find(|&n| lines[n].trim() == "```").expect("a fence ends");
                let above = lines[..at].iter().rev().find(|line| !line.trim().is_empty()).unwrap_or(&"");
                let mark = above.trim().strip_prefix("<!-- run: ").and_then(|rest| rest.strip_suffix(" -->")).unwrap_or("").to_owned();
                found.push(Shown { file: file.clone(), line: at + 1, mark, text: lines[at + 1..end].join("\n") });
                at = end;
            }
            at += 1;
        }
    }
    found
}

/// Commands that are the whole set-up: the first is started below as the binary it builds, the others are what runs this test or
/// are run by hand, with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo run --release", "started below as the binary that it builds"),
    ("cargo xtask ci", "it runs this test"),
    ("docker compose up -d\ndocker compose run --rm load", "run without Docker by the story `compose`, with it by tests/compose.sh"),
];

fn path_with_binary() -> String {
    format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap_or_default())
}

/// Where the embedded vault answers.
fn vault(site: &Site) -> String {
    let output = site.output();
    let address = output.rsplit_once("embedded key vault address=").and_then(|(_, rest)| rest.split_whitespace().next());
    format!("https://{}", address.expect("the embedded vault says where it is"))
}

fn run(site: &Site, shown: &Shown) {
    let work = site.root().join("work");
    std::fs::create_dir_all(&work).unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &shown.text])
        .current_dir(&work)
        .env("PATH", path_with_binary())
        .env("STRONGROOM_SERVER", site.base())
        .env("STRONGROOM_TOKEN", ADMIN)
        .env("STRONGROOM_DATA_DIR", site.data_dir())
        .env("STRONGROOM_CONFIG_DIR", site.config_dir())
        .env("STRONGROOM_VAULT", vault(site))
        .env("STRONGROOM_VAULT_DIR", site.vault_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}:{}: {}\n{}\n{}",
        shown.file.display(),
        shown.line,
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_command_shown_works() {
    let all = shown();
    assert!(all.len() >= 5, "the pages show commands");
    let mut site = Site::start_with(Start { vault: true, ..Start::default() });
    for one in all.iter().filter(|one| one.mark == "with a server") {
        run(&site, one);
    }
    let address = vault(&site).replace("https://", "");
    site.terminate();
    // The server is stopped; the customer's vault, which came along with it, is not.
    let mut vault = Command::new(binary())
        .args(["vault", "--vault-dir"])
        .arg(site.vault_dir())
        .args(["serve", "--listen", &address])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < deadline, "the vault does not come up");
        std::thread::sleep(Duration::from_millis(50));
    }
    for one in all.iter().filter(|one| one.mark == "stopped") {
        run(&site, one);
    }
    drop(vault.kill());
    vault.wait().unwrap();
    for one in &all {
        match one.mark.as_str() {
            "with a server" | "stopped" => {}
            "by hand" => {
                // In vaults.md: commands of vaults that others make.
                let allowed =
                    one.file.ends_with("performance.md") || one.file.ends_with("vaults.md") && !one.text.starts_with("strongroom");
                assert!(allowed, "{}:{}: only benchmarks and other vaults' commands are run by hand", one.file.display(), one.line);
            }
            "" => assert!(
                ELSEWHERE.iter().any(|(text, _)| *text == one.text),
                "{}:{}: nobody runs {:?}",
                one.file.display(),
                one.line,
                one.text
            ),
            other => panic!("{}:{}: unknown mark {other:?}", one.file.display(), one.line),
        }
    }
}

/// What `cargo run --release` starts, without arguments, on a home directory where nothing is.
#[test]
fn the_bare_binary_serves_from_an_empty_home() {
    choose_ciphers();
    let home = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(binary())
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", path_with_binary())
        .env("STRONGROOM_LISTEN", format!("127.0.0.1:{port}"))
        .env("STRONGROOM_VAULT__LISTEN", "127.0.0.1:0")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let base = format!("http://127.0.0.1:{port}");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !reqwest::blocking::get(format!("{base}/readyz")).is_ok_and(|reply| reply.status().is_success()) {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it does not serve");
        std::thread::sleep(Duration::from_millis(50));
    }
    // The command line finds the server's token by itself.
    let tables =
        Command::new(binary()).arg("tables").env_clear().env("HOME", home.path()).env("STRONGROOM_SERVER", &base).output().unwrap();
    drop(child.kill());
    child.wait().unwrap();
    assert!(tables.status.success(), "{}", String::from_utf8_lossy(&tables.stderr));
    assert!(home.path().join(".local/share/strongroom/catalog.sqlite").exists());
}
