//! A server of its own, on an empty directory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use strongroom_benches::clock::{cpu_of, peak_memory_of};
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

    fn start_with(mut command: Command, binary: &Path, below: &Path) -> Self {
        let dir = TempDir::new_in(below).expect("a directory");
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--no-vault", "--data-dir"])
            .arg(dir.path().join("data"))
            .arg("--config-dir")
            .arg(dir.path().join("config"))
            .env("STRONGROOM_ADMIN_TOKEN", TOKEN)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo build --release` first", binary.display()));
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let address = loop {
            let line = lines.next().expect("a server that comes up").expect("text");
            if let Some((_, rest)) = line.split_once("serving address=") {
                break rest.split_whitespace().next().expect("an address").to_owned();
            }
        };
        // Nobody stops reading: a full pipe would stop the server.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { child, address, dir }
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

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
