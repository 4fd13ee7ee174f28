//! `strongroom demo`: the lock, shown.
//!
//! A key vault and a log server are started as two processes in a directory of their own. From then on the demo does what a
//! user would do, with the user's commands, each shown before it is run; every step is checked, and the first that is not
//! as it should be ends the demo with what was expected and what was seen. What only a program can see in time (the moment
//! at which a key's data is gone) it asks for itself, over HTTP.
//!
//! ```text
//! stage   the directory, the two processes, commands run and shown
//! rows    generated service logs, some of them marked, and what a query must answer about them
//! story   the steps
//! ```

mod rows;
mod stage;
mod story;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::stage::{Stage, say};
use crate::Failure;
use crate::output;

/// Shows the lock: data under your key, gone within a minute of the key's disabling, back within a minute of its return.
///
/// Starts a key vault and a log server as two processes in a temporary directory, on free ports of 127.0.0.1, and shows
/// every command it runs. Takes less than 90 seconds and leaves nothing behind.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Leaves vault and server running, and their directory in place, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// A directory that does not exist yet [default: a new one among the temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Demo {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("signals cannot be heard: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let began = Instant::now();
        let mut stage = Stage::new(self.dir)?;
        let outcome = tokio::select! {
            outcome = story::tell(&mut stage) => outcome,
            _ = terminate.recv() => Err(Failure::Failed("stopped half-way".into())),
            _ = interrupt.recv() => Err(Failure::Failed("stopped half-way".into())),
        };
        if outcome.is_ok() {
            say(&format!("\nAll of it in {:.0} s.", began.elapsed().as_secs_f64()))?;
        } else {
            // Where nobody reads any more there is nobody to tell.
            drop(say(&stage.last_words()));
        }
        if self.keep && outcome.is_ok() {
            say(&stage.kept())?;
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            stage.keep();
        }
        let (dir, removed) = (stage.dir().to_owned(), stage.clear());
        match (outcome, removed) {
            (Ok(()), Ok(true)) => output::print(&format!("Both processes are stopped, {} is removed.", dir.display())),
            (Ok(()), Ok(false)) => output::print(&format!("Both processes are stopped, {} is left in place.", dir.display())),
            (Ok(()), Err(error)) => Err(Failure::Failed(format!("{} cannot be removed: {error}", dir.display()))),
            (outcome, _) => outcome,
        }
    }
}
