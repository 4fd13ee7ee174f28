//! Memory on both sides while the command line sends a large file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use strongroom_benches::Logs;
use strongroom_benches::clock::peak_memory_of;

use crate::server::{Server, TOKEN};
use crate::{Arguments, Figure, mega};

const BYTES: u64 = 2 << 30;

pub(crate) fn take(arguments: &Arguments, dir: &Path) -> Vec<Figure> {
    let file = tempfile::NamedTempFile::new_in(dir).expect("a file");
    write(file.path(), arguments.seed);
    let server = Server::start(&arguments.binary, dir);
    let started = Instant::now();
    let mut sender = Command::new(&arguments.binary)
        .arg("ingest")
        .arg(file.path())
        .args(["--table", "logs"])
        .env("STRONGROOM_SERVER", format!("http://{}", server.address()))
        .env("STRONGROOM_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the command line starts");
    let mut sender_peak = 0;
    let status = loop {
        if let Some(peak) = peak_memory_of(sender.id()) {
            sender_peak = peak.max(sender_peak);
        }
        if let Some(status) = sender.try_wait().expect("its state") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let took = started.elapsed();
    assert!(status.success(), "strongroom ingest ended with {status}");
    let server_peak = server.peak_memory();
    vec![
        Figure::new("wall", format!("{:.0} MB/s", mega(BYTES) / took.as_secs_f64()), ""),
        Figure::new("server's peak memory", format!("{:.0} MiB", mega(server_peak) / 1.048_576), "≤ 1,024"),
        Figure::new("command line's peak memory", format!("{:.0} MiB", mega(sender_peak) / 1.048_576), "≤ 128"),
    ]
}

fn write(path: &Path, seed: u64) {
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    let (mut logs, mut written) = (Logs::new(seed), 0);
    while written < BYTES {
        let body = logs.body(1 << 20);
        out.write_all(&body).expect("room on disk");
        written += body.len() as u64;
    }
    out.flush().expect("room on disk");
}
