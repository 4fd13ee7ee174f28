//! A server of its own, on an empty directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_benches::clock::{Threads, cpu_of, peak_memory_of};
use tempfile::TempDir;

use crate::http::Client;

pub(crate) const TOKEN: &str = "srt_figures-0123456789abcdefghijklmnopqrstuvw";

pub(crate) struct Server {
    child: Child,
    address: String,
    dir: TempDir,
}

impl Server {
    pub(crate) fn start(binary: &Path, below: &Path) -> Self {
        Self::start_with(Command::new(binary), binary, below)
    }

    /// With nothing filled by glibc, and the two arenas that suit two cores.
    pub(crate) fn start_as_glibc_is(binary: &Path, below: &Path) -> Self {
        let mut command = Command::new(binary);
        command.env("GLIBC_TUNABLES", "glibc.malloc.perturb=0:glibc.malloc.arena_max=2");
        Self::start_with(command, binary, below)
    }

    fn start_with(command: Command, binary: &Path, below: &Path) -> Self {
        let dir = TempDir::new_in(below).expect("a directory");
        let (child, address) = spawn(command, binary, dir.path());
        Self { child, address, dir }
    }

    /// Ends it as an operator would, and waits for that.
    pub(crate) fn stop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a server of ours");
        let begun = Instant::now();
        while self.child.try_wait().expect("its state").is_none() {
            assert!(begun.elapsed() < Duration::from_mins(2), "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts it anew over its directory, once it was stopped.
    pub(crate) fn start_again(&mut self, binary: &Path) {
        (self.child, self.address) = spawn(Command::new(binary), binary, self.dir.path());
    }

    /// What its threads have run.
    pub(crate) fn threads(&self) -> Threads {
        Threads::of(self.child.id())
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.address, TOKEN)
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    pub(crate) fn peak_memory(&self) -> u64 {
        peak_memory_of(self.child.id()).expect("a server that runs")
    }

    /// Waits until the server does nothing any more.
    pub(crate) fn settle(&self) {
        let (mut before, mut quiet) = (self.cpu(), 0);
        while quiet < 3 {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.cpu();
            quiet = if now.saturating_sub(before) <= Duration::from_millis(30) { quiet + 1 } else { 0 };
            before = now;
        }
    }
}

fn spawn(mut command: Command, binary: &Path, dir: &Path) -> (Child, String) {
    let mut child = command
        .args(["serve", "--listen", "127.0.0.1:0", "--no-vault", "--data-dir"])
        .arg(dir.join("data"))
        .arg("--config-dir")
        .arg(dir.join("config"))
        .env("STRONGROOM_ADMIN_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo build --release` first", binary.display()));
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut told = String::new();
    let address = loop {
        let Some(line) = lines.next() else { panic!("the server does not come up:\n{told}") };
        let line = line.expect("text");
        if let Some((_, rest)) = line.split_once("serving address=") {
            break rest.split_whitespace().next().expect("an address").to_owned();
        }
        told += &line;
        told.push('\n');
    };
    // Nobody stops reading: a full pipe would stop the server. What it complains about is shown.
    std::thread::spawn(move || {
        let complaints = lines.map_while(Result::ok).filter(|line| line.contains("ERROR") || line.contains("panicked"));
        complaints.for_each(|line| eprintln!("server: {line}"));
    });
    (child, address)
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(Some(status)) = self.child.try_wait()
        {
            eprintln!("the server ended by itself with {status}");
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
