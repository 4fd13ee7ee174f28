//! The directory, the two processes, and commands run and shown.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::client::{Client, Target};
use crate::output;

/// A process comes up within this time, or something is wrong.
const START_MAX: Duration = Duration::from_secs(30);
/// So long a process is given to end by itself.
const STOP_MAX: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A message printed is cut after so many lines.
const LINES_MAX: usize = 12;
const TAKES: &str = "a string takes everything";

/// A process that was started here. Ends with it.
#[derive(Debug)]
struct Service {
    child: Child,
    log: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) code: Option<i32>,
}

pub(super) fn say(text: &str) -> Result<(), Failure> {
    output::print(text)
}

/// Shows text below a command.
pub(super) fn show(text: &str) -> Result<(), Failure> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in lines.iter().take(LINES_MAX) {
        say(&format!("     {line}"))?;
    }
    if lines.len() > LINES_MAX {
        say(&format!("     … {} more lines", lines.len() - LINES_MAX))?;
    }
    Ok(())
}

/// Where the demo happens.
#[derive(Debug)]
pub(super) struct Stage {
    dir: PathBuf,
    keep: bool,
    binary: PathBuf,
    /// In the order they were started.
    services: Vec<Service>,
    environment: Vec<(&'static str, String)>,
    chapter: u32,
}

impl Stage {
    pub(super) fn new(dir: Option<PathBuf>) -> Result<Self, Failure> {
        let binary = std::env::current_exe().map_err(|error| Failure::Failed(format!("this program does not find itself: {error}")))?;
        let dir = dir.unwrap_or_else(|| std::env::temp_dir().join(format!("strongroom-demo-{}", hex::encode(rand::random::<[u8; 6]>()))));
        let cannot = |error| Failure::Failed(format!("cannot make {}: {error}", dir.display()));
        // Nobody else looks in.
        DirBuilder::new().mode(0o700).create(&dir).map_err(cannot)?;
        for part in ["logs", "config", "vault"] {
            DirBuilder::new().mode(0o700).create(dir.join(part)).map_err(cannot)?;
        }
        let environment = vec![("DEMO", dir.display().to_string())];
        Ok(Self { dir, keep: false, binary, services: Vec::new(), environment, chapter: 0 })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path below the directory, as an argument.
    pub(super) fn path(&self, below: &str) -> String {
        self.dir.join(below).display().to_string()
    }

    pub(super) fn chapter(&mut self, title: &str) -> Result<(), Failure> {
        self.chapter += 1;
        say(&format!("\n{}. {title}", self.chapter))
    }

    /// One thing that was checked.
    pub(super) fn check<T: PartialEq + std::fmt::Debug>(&self, what: &str, expected: &T, seen: &T) -> Result<(), Failure> {
        self.holds(what, expected == seen, || (format!("{expected:?}"), format!("{seen:?}")))
    }

    /// Likewise, where it is more than a comparison; the second says what was expected and what was seen.
    pub(super) fn holds(&self, what: &str, good: bool, told: impl FnOnce() -> (String, String)) -> Result<(), Failure> {
        if good {
            return say(&format!("   ok  {what}"));
        }
        let (expected, seen) = told();
        Err(Failure::Failed(format!("the demo failed at step {}: {what}\n  expected: {expected}\n  seen:     {seen}", self.chapter)))
    }

    /// Sets a variable for the commands that follow, and says so.
    pub(super) fn export(&mut self, variables: &[(&'static str, String)]) -> Result<(), Failure> {
        let shown: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={}", self.shorten(value))).collect();
        self.environment.extend_from_slice(variables);
        say(&format!("   $ export {}", shown.join(" ")))
    }

    /// Says where the directory is called what.
    pub(super) fn introduce(&self) -> Result<(), Failure> {
        say(&format!("   $ export DEMO={}", self.dir.display()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env_remove("FAILPOINTS").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STRONGROOM_") {
                command.env_remove(name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts a process and waits until its output holds `sign`; gives back the word behind it.
    pub(super) async fn start(&mut self, name: &str, arguments: &[&str], sign: &str) -> Result<String, Failure> {
        say(&format!("   $ strongroom {} &", self.shown(arguments)))?;
        let log = self.dir.join("logs").join(format!("{name}.log"));
        let cannot = |error: std::io::Error| Failure::Failed(format!("the {name} cannot be started: {error}"));
        let file = File::create(&log).map_err(cannot)?;
        let mut command = self.command(arguments);
        command.stdout(file.try_clone().map_err(cannot)?).stderr(file);
        self.services.push(Service { child: command.spawn().map_err(cannot)?, log: log.clone() });
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(at) = text.find(sign)
                && let Some((word, _)) = text[at + sign.len()..].split_once(char::is_whitespace)
            {
                return Ok(word.to_owned());
            }
            let service = self.services.last_mut().expect("pushed above");
            if let Ok(Some(status)) = service.child.try_wait() {
                return Err(Failure::Failed(format!("the {name} ended at once ({status})")));
            }
            if began.elapsed() > START_MAX {
                return Err(Failure::Failed(format!("the {name} did not come up within {} s", START_MAX.as_secs())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Runs a command as a user would, with `input` on its stdin, shows both and gives back what it said.
    async fn spawn(&self, arguments: &[&str], input: Option<(&str, Vec<u8>)>) -> Result<Said, Failure> {
        let before = input.as_ref().map_or_else(String::new, |(from, _)| format!("{from} | "));
        say(&format!("   $ {before}strongroom {}", self.shown(arguments)))?;
        let mut command = self.command(arguments);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
        let bytes = input.map(|(_, bytes)| bytes);
        let run = move || -> std::io::Result<std::process::Output> {
            let mut child = command.spawn()?;
            if let (Some(mut stdin), Some(bytes)) = (child.stdin.take(), bytes) {
                // It may end without reading all: its own words say why.
                drop(stdin.write_all(&bytes));
            }
            child.wait_with_output()
        };
        let ran = tokio::task::spawn_blocking(run).await.map_err(|error| Failure::Failed(format!("a command was lost: {error}")))?;
        let output = ran.map_err(|error| Failure::Failed(format!("this program cannot be run: {error}")))?;
        // CSV ends its lines as its RFC says.
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace('\r', "");
        Ok(Said { out: text(&output.stdout), err: text(&output.stderr), code: output.status.code() })
    }

    /// Runs a command that must succeed, and shows what it prints.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let said = self.quiet(arguments).await?;
        show(&said.out)?;
        Ok(said)
    }

    /// Likewise, without showing what it prints.
    pub(super) async fn quiet(&self, arguments: &[&str]) -> Result<Said, Failure> {
        let said = self.spawn(arguments, None).await?;
        self.succeeded(said)
    }

    /// Runs a command that must succeed on `bytes`.
    pub(super) async fn feed(&self, from: &str, bytes: Vec<u8>, arguments: &[&str]) -> Result<Said, Failure> {
        let said = self.spawn(arguments, Some((from, bytes))).await?;
        let said = self.succeeded(said)?;
        show(&said.out)?;
        Ok(said)
    }

    /// Runs a command that must be refused.
    pub(super) async fn refused(&self, arguments: &[&str], code: &str) -> Result<(), Failure> {
        let said = self.spawn(arguments, None).await?;
        show(&said.err)?;
        self.holds(&format!("refused with {code}"), said.code == Some(3) && said.err.contains(code) && said.out.is_empty(), || {
            (format!("exit code 3 and {code}"), format!("exit code {:?}, {}{}", said.code, said.err.trim(), said.out))
        })
    }

    fn succeeded(&self, said: Said) -> Result<Said, Failure> {
        if said.code == Some(0) {
            return Ok(said);
        }
        let code = said.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        Err(Failure::Failed(format!(
            "the demo failed at step {}: the command above\n  expected: exit code 0\n  seen:     {code}: {}",
            self.chapter,
            said.err.trim()
        )))
    }

    /// The server, for questions whose moment counts.
    pub(super) fn client(&self, server: &str) -> Result<Client, Failure> {
        let path = strongroom_server::admin_token_path(&self.dir.join("config"));
        let token = std::fs::read_to_string(&path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        Target::at(server, token.trim()).client()
    }

    fn shorten(&self, text: &str) -> String {
        text.replace(&self.dir.display().to_string(), "$DEMO")
    }

    fn shown(&self, arguments: &[&str]) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,$@%+".contains(c);
        let words = arguments.iter().map(|word| self.shorten(word));
        words.map(|word| if word.chars().all(plain) { word } else { format!("'{word}'") }).collect::<Vec<_>>().join(" ")
    }

    /// What the processes logged last, for somebody who has to find out.
    pub(super) fn last_words(&self) -> String {
        let mut text = String::new();
        for service in &self.services {
            let log = std::fs::read_to_string(&service.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains("admin token")).collect();
            writeln!(text, "\nlast lines of {}:", service.log.display()).expect(TAKES);
            for line in &lines[lines.len().saturating_sub(8)..] {
                writeln!(text, "  {line}").expect(TAKES);
            }
        }
        text
    }

    /// Where everything is, for somebody who goes on by hand.
    pub(super) fn kept(&self) -> String {
        let mut text = "\nVault and server go on serving. In another terminal:\n".to_owned();
        for (name, value) in &self.environment {
            writeln!(text, "   export {name}={value}").expect(TAKES);
        }
        writeln!(
            text,
            "   strongroom query 'ServiceLogs | count'\n\
             The server's admin token is in {}, the vault's in {}; the commands find them there.\n\
             Ctrl-C stops both; their directory {} stays. Remove it when you are done.",
            self.path("config/admin-token"),
            self.path("vault/admin-token"),
            self.dir.display()
        )
        .expect(TAKES);
        text
    }

    /// Leaves the directory in place.
    pub(super) fn keep(&mut self) {
        self.keep = true;
    }

    /// Stops the processes, the last one first, and removes the directory unless it is kept; says whether it did.
    pub(super) fn clear(mut self) -> std::io::Result<bool> {
        self.stop();
        if self.keep {
            return Ok(false);
        }
        std::fs::remove_dir_all(&self.dir).map(|()| true)
    }

    fn stop(&mut self) {
        while let Some(service) = self.services.pop() {
            drop(service);
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop();
        if !self.keep {
            // Done already, unless something went wrong.
            drop(std::fs::remove_dir_all(&self.dir));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // Not waited for yet, so the number is still its own.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok();
        }
        let began = Instant::now();
        while began.elapsed() < STOP_MAX {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
