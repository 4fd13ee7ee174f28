//! `strongroom doctor`.

use clap::Args;
use serde_json::json;
use strongroom_server::admin::Verdict;

use crate::Failure;
use crate::output::{self, Format};
use crate::serve::Directories;

/// Looks at what an operator should know of before trouble comes. Exit code 1 if something must be mended.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    directories: Directories,
    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    output: Format,
}

impl Doctor {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let checks =
            strongroom_server::admin::doctor(&self.directories.options()).await.map_err(|error| Failure::Failed(error.to_string()))?;
        match self.output {
            Format::Json => output::print_json(&json!({"value": checks}))?,
            Format::Table => {
                for check in &checks {
                    let verdict = match check.verdict {
                        Verdict::Ok => "ok     ",
                        Verdict::Warning => "warning",
                        Verdict::Red => "RED    ",
                    };
                    output::print(&format!("{verdict}  {}: {}", check.name, check.text))?;
                }
            }
        }
        match checks.iter().filter(|check| check.verdict == Verdict::Red).count() {
            0 => Ok(()),
            bad => Err(Failure::Failed(format!("{bad} of {} checks are red", checks.len()))),
        }
    }
}
