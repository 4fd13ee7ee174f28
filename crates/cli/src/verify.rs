//! `strongroom verify`.

use std::io::{IsTerminal, stderr};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Failure;
use crate::output::{self, Format};
use crate::serve::Directories;

/// Reads every block of a stopped server and checks every tag. Exit code 1 if anything is wrong.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    directories: Directories,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Verify {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let bar = if stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} blocks, {eta} left").expect("a fixed template"));
        let report = strongroom_server::admin::verify(&self.directories.options(), |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })
        .await
        .map_err(|error| Failure::Failed(error.to_string()))?;
        bar.finish_and_clear();
        match self.output {
            Format::Json => output::print_json(&serde_json::to_value(&report).expect("a report is JSON"))?,
            Format::Table => {
                for problem in &report.problems {
                    output::print(problem)?;
                }
                let (blocks, rows) = (output::count(report.blocks, "block"), output::count(report.rows, "row"));
                output::print(&format!("{blocks}, {rows}, {}: {} with problems", output::size(report.bytes), report.problems.len()))?;
            }
        }
        match report.problems.len() {
            0 => Ok(()),
            bad => Err(Failure::Failed(format!("{bad} of {} blocks are not what was stored", report.blocks))),
        }
    }
}
