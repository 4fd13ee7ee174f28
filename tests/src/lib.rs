//! The whole server as a user meets it: the real binary, a directory of its own, loopback.
//!
//! [`Site`] starts it, talks to it, kills it and starts it again. What it prints is kept, for those who look for leaks.
//! Nothing here waits for a time to pass: it waits for things to happen, up to a bound.

pub mod azure;
#[path = "../../crates/keys/tests/providers/bao.rs"]
pub mod bao;
pub mod derive;
pub mod lock;
pub mod memory;

pub use strongroom_cli::scan;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The admin token of every test server.
pub const ADMIN: &str = "srt_test-admin-token-0123456789abcdefghijklmnop";

/// The binary under test: `STRONGROOM_TEST_BIN`, else the one built beside the tests.
///
/// # Panics
/// If it is not there: a missing binary is a failure, not a reason to skip.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("STRONGROOM_TEST_BIN") {
        return path.into();
    }
    let mut path = std::env::current_exe().expect("a test knows where it is");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("strongroom");
    assert!(path.exists(), "{} is not built; run `cargo build --workspace` first", path.display());
    path
}

/// How to start a server.
#[derive(Debug, Default)]
pub struct Start {
    /// Further arguments of `serve`.
    pub arguments: Vec<String>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// Whether to start the embedded key vault, too.
    pub vault: bool,
}

/// A server and the directories it owns.
#[derive(Debug)]
pub struct Site {
    root: TempDir,
    child: Option<Child>,
    base: String,
    client: Client,
    starts: usize,
    options: Start,
}

/// Must be called once before any HTTP client is made; [`Site`] does.
pub fn choose_ciphers() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}

impl Site {
    /// A new server on empty directories, ready.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Start::default())
    }

    /// Likewise, with arguments and environment.
    ///
    /// # Panics
    /// If it does not come up within a minute; its output is shown.
    #[must_use]
    pub fn start_with(options: Start) -> Self {
        choose_ciphers();
        let client = Client::builder().timeout(Duration::from_mins(2)).build().expect("a client");
        let mut site = Self { root: TempDir::new().expect("a directory"), child: None, base: String::new(), client, starts: 0, options };
        site.restart();
        site
    }

    /// The embedded key vault's own directory.
    #[must_use]
    pub fn vault_dir(&self) -> PathBuf {
        self.root.path().join("vault")
    }

    /// Changes how the next start goes.
    pub fn options(&mut self) -> &mut Start {
        &mut self.options
    }

    /// Starts the stopped or killed server again on its directories.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|output| panic!("the server did not come up:\n{output}"));
    }

    /// Likewise; gives back what it printed if it ended instead.
    ///
    /// # Errors
    /// The output of a server that ended before it served.
    ///
    /// # Panics
    /// If one is running already, or nothing happens for a minute.
    pub fn try_restart(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it is running");
        self.starts += 1;
        let log = self.root.path().join(format!("stderr-{}.log", self.starts));
        let mut child = Command::new(binary())
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            .args(if self.options.vault { &["--vault-listen", "127.0.0.1:0"][..] } else { &["--no-vault"] })
            .arg("--vault-dir")
            .arg(self.vault_dir())
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--config-dir")
            .arg(self.config_dir())
            .args(&self.options.arguments)
            .env_remove("FAILPOINTS")
            .env("STRONGROOM_ADMIN_TOKEN", ADMIN)
            .env("STRONGROOM_LOG", "debug,hyper=info,h2=info,datafusion=info,sqlx=info")
            // A machine whose disk is nearly full of builds runs the stories all the same.
            .env("STRONGROOM_BUFFER__RESERVE_BYTES", "268435456")
            .env("STRONGROOM_BUFFER__RESERVE_PERCENT", "0")
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("piped above");
        let (found, address) = mpsc::channel();
        std::thread::spawn(move || {
            let mut file = File::create(log).expect("a log file");
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                writeln!(file, "{line}").expect("room for a log");
                if let Some(at) = line.find("serving address=") {
                    let rest = &line[at + "serving address=".len()..];
                    drop(found.send(rest.split_whitespace().next().unwrap_or_default().to_owned()));
                }
            }
        });
        let Ok(address) = address.recv_timeout(Duration::from_mins(1)) else {
            drop(child.kill());
            drop(child.wait());
            return Err(self.output());
        };
        let tls = self.options.environment.iter().any(|(name, value)| name == "STRONGROOM_TLS__ENABLED" && value == "true");
        self.base = format!("{}://{address}", if tls { "https" } else { "http" });
        self.child = Some(child);
        if tls {
            let pem = std::fs::read(self.ca()).expect("the server's own authority");
            let ca = reqwest::Certificate::from_pem(&pem).expect("a certificate");
            self.client = Client::builder().timeout(Duration::from_mins(2)).add_root_certificate(ca).build().expect("a client");
        }
        let deadline = Instant::now() + Duration::from_mins(1);
        while !self.client.get(format!("{}/readyz", self.base)).send().is_ok_and(|reply| reply.status().is_success()) {
            if self.child.as_mut().expect("just set").try_wait().expect("its state").is_some() || Instant::now() > deadline {
                self.kill();
                return Err(self.output());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// If it is not running.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it is running");
        drop(child.kill());
        child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// If it does not end within twenty seconds.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it is running");
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not zero");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        wait(&mut child, Duration::from_secs(20))
    }

    /// Waits for a server that is expected to end by itself (a failpoint, a refusal).
    ///
    /// # Panics
    /// If it does not end within a minute.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child.take().expect("it is running"), Duration::from_mins(1))
    }

    /// Whether the process is still there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// Its process id.
    ///
    /// # Panics
    /// If it is not running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is running").id()
    }

    /// The directory that holds all others and the logs.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }
    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }
    /// Its config directory.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.root.path().join("config")
    }
    /// The authority that a server which speaks TLS (`STRONGROOM_TLS__ENABLED=true` in [`Start::environment`]) is under.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.config_dir().join("tls").join("ca.pem")
    }
    /// A client that trusts the server.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }
    /// `http://127.0.0.1:PORT`, or with `https`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Everything it has printed, over all starts.
    #[must_use]
    pub fn output(&self) -> String {
        (1..=self.starts).filter_map(|n| std::fs::read_to_string(self.root.path().join(format!("stderr-{n}.log"))).ok()).collect()
    }

    /// A request as the admin; `path` begins with a slash.
    pub fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base)).bearer_auth(ADMIN)
    }

    /// Sends a body to a table of the workspace `default` and gives back the answer.
    ///
    /// # Errors
    /// If no answer came (the server may have been killed under the request).
    pub fn post_rows(&self, table: &str, body: impl Into<reqwest::blocking::Body>) -> reqwest::Result<Response> {
        self.request(reqwest::Method::POST, &format!("/v1/workspaces/default/ingest/{table}")).body(body).send()
    }

    /// Sends rows that must be taken.
    ///
    /// # Panics
    /// If they are not.
    pub fn ingest(&self, table: &str, body: impl Into<reqwest::blocking::Body>) -> Value {
        let reply = self.post_rows(table, body).expect("an answer");
        let status = reply.status();
        let text = reply.text().expect("a body");
        assert!(status.is_success(), "{status}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Runs `language` text and gives back status and body.
    ///
    /// # Panics
    /// If no JSON comes back.
    #[must_use]
    pub fn try_query(&self, language: &str, text: &str) -> (u16, Value) {
        let reply = self
            .request(reqwest::Method::POST, "/v1/workspaces/default/query")
            .json(&json!({"query": text, "language": language}))
            .send()
            .expect("an answer");
        (reply.status().as_u16(), reply.json().expect("JSON"))
    }

    /// The rows of a KQL query that must succeed.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn kql(&self, text: &str) -> Vec<Vec<Value>> {
        rows(self.try_query("kql", text), text)
    }

    /// The rows of a SQL query that must succeed.
    ///
    /// # Panics
    /// If it does not.
    #[must_use]
    pub fn sql(&self, text: &str) -> Vec<Vec<Value>> {
        rows(self.try_query("sql", text), text)
    }

    /// Makes blocks of everything in memory.
    ///
    /// # Panics
    /// If that fails.
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn flush(&self) -> Value {
        self.post("/v1/workspaces/default/flush")
    }

    /// Makes fewer blocks of many.
    ///
    /// # Panics
    /// If that fails.
    #[expect(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn compact(&self) -> Value {
        self.post("/v1/workspaces/default/compact")
    }

    fn post(&self, path: &str) -> Value {
        let reply = self.request(reqwest::Method::POST, path).send().expect("an answer");
        let status = reply.status();
        let text = reply.text().expect("a body");
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// Runs the command line against this server, as the admin; `arguments` follow `strongroom`.
    ///
    /// # Panics
    /// If the binary does not start.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(binary())
            .args(arguments)
            .env("STRONGROOM_SERVER", &self.base)
            .env("STRONGROOM_TOKEN", ADMIN)
            .env("STRONGROOM_CA", self.ca())
            .env("XDG_DATA_HOME", self.root.path().join("xdg-data"))
            .env("XDG_CONFIG_HOME", self.root.path().join("xdg-config"))
            .current_dir(self.root.path())
            .output()
            .expect("the binary starts")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(40).collect();
            eprintln!("the server's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

fn rows((status, body): (u16, Value), text: &str) -> Vec<Vec<Value>> {
    assert_eq!(status, 200, "{text}: {body}");
    assert!(body.get("error").is_none(), "{text}: {body}");
    serde_json::from_value(body["tables"][0]["rows"].clone()).expect("rows")
}

fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("the server did not end within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
