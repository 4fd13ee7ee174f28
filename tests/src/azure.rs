//! The official clients, as they come: the Python SDKs and the command line, in the environments that `cargo xtask ci python` makes
//! below the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// The interpreter that has the SDKs: `STRONGROOM_PYTHON`, else the one below the target directory.
///
/// # Panics
/// If it is not there: what tests need is installed by `cargo xtask ci python`.
#[must_use]
pub fn python() -> PathBuf {
    below_target("STRONGROOM_PYTHON", "python/bin/python")
}

/// Azure's command line: `STRONGROOM_AZ`, else the one below the target directory.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn az() -> PathBuf {
    below_target("STRONGROOM_AZ", "azure-cli/bin/az")
}

fn below_target(variable: &str, path: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    // TARGET/PROFILE/deps/TEST
    let own = std::env::current_exe().expect("a test knows where it is");
    let found = own.ancestors().nth(3).expect("a test lies in TARGET/PROFILE/deps").join(path);
    assert!(found.exists(), "{} is not there: run `cargo xtask ci python`, or name one in {variable}", found.display());
    found
}

/// Runs a script of `tests/clients` with the SDKs; what it prints comes back.
///
/// # Panics
/// If it fails: with all that it printed.
#[expect(clippy::must_use_candidate, reason = "that it did not fail is often all there is to know")]
pub fn script(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let mut command = Command::new(python());
    command.arg(path).args(arguments).envs(environment.iter().copied());
    let output = bounded(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} ended with {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs a command to its end, or kills it by its process id.
///
/// # Panics
/// If it cannot be started or takes longer than it may.
#[must_use]
pub fn bounded(mut command: Command) -> Output {
    use std::process::Stdio;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client starts");
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(done.send(child.wait_with_output())));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
        panic!("a client (process {pid}) took longer than {PATIENCE:?}");
    };
    output.expect("its output can be read")
}
