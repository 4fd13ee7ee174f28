//! The official clients, as they come: the Python SDKs and the command line, in the environments that `cargo xtask ci python` makes
//! below the target directory.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

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

/// The interpreter that `az` runs in: a script that calls it many times need not start it each time.
///
/// # Panics
/// If it is not there.
#[must_use]
pub fn az_python() -> PathBuf {
    let beside = az().with_file_name("python");
    assert!(beside.exists(), "{} is not there", beside.display());
    beside
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
    script_within(PATIENCE, name, arguments, environment)
}

/// The same, with a patience of its own.
///
/// # Panics
/// If it fails or takes longer.
#[must_use]
pub fn script_within(patience: Duration, name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let mut command = Command::new(python());
    command.arg(path).args(arguments).envs(environment.iter().copied());
    let output = bounded_by(patience, command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} ended with {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// `az` with a configuration of its own: it keeps tokens there.
#[derive(Debug)]
pub struct Az {
    /// Where it keeps what it knows.
    pub config: PathBuf,
    /// The certificates it trusts.
    pub ca: PathBuf,
}

impl Az {
    /// Runs one line, whose words have one space between them.
    #[must_use]
    pub fn run(&self, line: &str) -> Output {
        let mut command = Command::new(az());
        command.args(line.split(' ')).env("AZURE_CONFIG_DIR", &self.config).env("REQUESTS_CA_BUNDLE", &self.ca);
        command.env("AZURE_CORE_COLLECT_TELEMETRY", "false").env("AZURE_CORE_OUTPUT", "json");
        bounded(command)
    }

    /// What it prints: JSON, or nothing.
    ///
    /// # Panics
    /// If it fails, or prints something else.
    #[expect(clippy::must_use_candidate, reason = "that it did not fail is often all there is to know")]
    pub fn told(&self, line: &str) -> Value {
        let output = self.run(line);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "az {line}\n{out}\n{err}");
        if out.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("az {line}\n{out}\n{err}"))
    }

    /// That it fails, and says why.
    ///
    /// # Panics
    /// If it does not.
    pub fn refused(&self, line: &str, why: &str) {
        let output = self.run(line);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && err.contains(why), "az {line}: {err}");
    }
}

/// Runs a command to its end, or kills it by its process id.
///
/// # Panics
/// If it cannot be started or takes longer than it may.
#[must_use]
pub fn bounded(command: Command) -> Output {
    bounded_by(PATIENCE, command)
}

fn bounded_by(patience: Duration, mut command: Command) -> Output {
    use std::process::Stdio;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the client starts");
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || drop(done.send(child.wait_with_output())));
    let Ok(output) = ended.recv_timeout(patience) else {
        drop(Command::new("kill").args(["-KILL", &pid.to_string()]).status());
        panic!("a client (process {pid}) took longer than {patience:?}");
    };
    output.expect("its output can be read")
}
