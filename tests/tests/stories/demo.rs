//! `strongroom demo`, as a newcomer runs it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use strongroom_tests::binary;

struct Demo {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(binary()).arg("demo").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
        Self { child, lines, said: Vec::new() }
    }

    /// Reads until a line holds `sign`; `false` if it ended before.
    fn until(&mut self, sign: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.said.push(line);
            if self.said.last().unwrap().contains(sign) {
                return true;
            }
        }
        false
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// The exit code.
    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(40);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it does not end:\n{}", self.said.join("\n"));
    }

    fn value(&self, before: &str) -> String {
        let line = self.said.iter().rev().find_map(|line| line.trim().strip_prefix(before).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no line {before}:\n{}", self.said.join("\n")))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It stops its own children on this one; a kill would leave them.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(rustix::process::Signal::TERM);
            drop(self.child.wait());
        }
    }
}

fn answers(url: &str) -> bool {
    let address = url.rsplit('/').next().unwrap();
    std::net::TcpStream::connect(address).is_ok()
}

/// Every step of it asserts what it says; here it is looked at whether all steps were there.
#[test]
fn the_demo_tells_the_whole_story_and_goes_on_serving_if_asked_to() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("demo");
    let mut demo = Demo::start(&["--keep", "--dir", dir.to_str().unwrap()]);
    assert!(demo.until("Ctrl-C stops both", Duration::from_mins(2)), "{}", demo.said.join("\n"));
    let told = demo.said.join("\n");
    for part in [
        "ok  all 8000 rows, the same sums as sent",
        "ok  soft delete and purge protection are on",
        "ok  double encryption is on unless one says no",
        "ok  all 16000 rows, the same sums as sent",
        "ok  8000 rows in blocks under the provider's key, 8000 under the customer's",
        "ok  the hot cache holds ",
        "ok  gone ",
        "ok  refused with CustomerKeyRevoked",
        "ok  new rows are not taken, and the answer says so",
        "ok  the hot cache's files of that epoch are gone",
        "ok  the scanner finds both markers where they were planted",
        "ok  none in the ",
        "ok  back ",
        "ok  all 17000 rows, the same sums as sent",
        "ok  9000 rows in blocks under the provider's key, 9000 under the customer's",
        "ok  all 18000 rows, the same sums as sent",
        "ok  the vault's own log: ",
    ] {
        assert!(told.contains(part), "{part}:\n{told}");
    }
    let server = demo.value("export STRONGROOM_SERVER=");
    let config = demo.value("export STRONGROOM_CONFIG_DIR=");
    let vault = demo.value("export STRONGROOM_VAULT=");
    let query = Command::new(binary())
        .args(["query", "ServiceLogs | count", "--output", "ndjson"])
        .env("STRONGROOM_SERVER", &server)
        .env("STRONGROOM_CONFIG_DIR", config)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&query.stdout).trim(), "{\"Count\":18000}", "{}", String::from_utf8_lossy(&query.stderr));
    assert!(answers(&server) && answers(&vault));
    demo.signal(rustix::process::Signal::INT);
    assert_eq!(demo.ended(), Some(0));
    assert!(!answers(&server) && !answers(&vault), "both processes have ended");
    assert!(Path::new(&dir).join("data/catalog.sqlite").exists(), "--keep leaves the directory");
}

#[test]
fn an_interrupted_demo_stops_its_processes_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("demo");
    let mut demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    assert!(demo.until("ok  the vault answers at ", Duration::from_mins(1)), "{}", demo.said.join("\n"));
    let line = demo.said.last().unwrap().clone();
    let urls: Vec<String> = line.split([' ', ',']).filter(|word| word.contains("://")).map(str::to_owned).collect();
    assert_eq!(urls.len(), 2, "{line}");
    demo.signal(rustix::process::Signal::INT);
    assert_eq!(demo.ended(), Some(1));
    assert!(!urls.iter().any(|url| answers(url)), "both processes have ended");
    assert!(!dir.exists(), "the directory is removed");
}
