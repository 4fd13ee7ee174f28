//! `strongroom kql`: what can be done with a KQL text without a server.

use std::io::{IsTerminal, Read, stdin};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::Failure;
use crate::output;

/// A text is at most so long.
const TEXT_MAX: u64 = 1 << 20;

/// Formats and checks texts in KQL, without a server.
#[derive(Debug, Args)]
pub(crate) struct Kql {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints a text in its usual form: one operator a line, one spelling of literals, comments kept
    Fmt(Fmt),
}

#[derive(Debug, Args)]
struct Fmt {
    /// The file; without one, or with `-`, stdin
    file: Option<PathBuf>,
    /// Changes nothing: fails unless the text is in its usual form already
    #[arg(long)]
    check: bool,
    /// Writes the file anew instead of printing
    #[arg(long, conflicts_with = "check", requires = "file")]
    write: bool,
}

impl Kql {
    #[expect(clippy::unused_async, reason = "as every command")]
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Fmt(command) => command.run(),
        }
    }
}

impl Fmt {
    fn run(self) -> Result<(), Failure> {
        let path = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let name = path.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
        let text = read(path).map_err(|error| Failure::Failed(format!("{name} cannot be read: {error}")))?;
        let formatted = formatted(&name, &text)?;
        match path {
            _ if self.check && formatted == text => Ok(()),
            _ if self.check => Err(Failure::Failed(format!("{name} is not in its usual form; `strongroom kql fmt` prints that"))),
            Some(path) if self.write => {
                if formatted == text {
                    return Ok(());
                }
                std::fs::write(path, formatted).map_err(|error| Failure::Failed(format!("{name} cannot be written: {error}")))
            }
            _ => output::print(formatted.trim_end_matches('\n')),
        }
    }
}

fn read(path: Option<&Path>) -> std::io::Result<String> {
    let mut text = String::new();
    let read = if let Some(path) = path {
        std::fs::File::open(path)?.take(TEXT_MAX + 1).read_to_string(&mut text)?
    } else {
        if stdin().is_terminal() {
            eprintln!("strongroom: reading KQL from the terminal; Ctrl-D ends it");
        }
        stdin().take(TEXT_MAX + 1).read_to_string(&mut text)?
    };
    // Half of it must not be taken for all, and written back.
    if read as u64 > TEXT_MAX {
        return Err(std::io::Error::other(format!("it is longer than {TEXT_MAX} bytes; format its queries one by one")));
    }
    Ok(text)
}

/// The text in its usual form; of a text with mistakes all of them, each with line, mark and hint.
fn formatted(name: &str, text: &str) -> Result<String, Failure> {
    strongroom_kql::format(text)
        .map_err(|mistakes| Failure::Failed(format!("{name} cannot be formatted:\n{}", strongroom_kql::render(text, &mistakes).trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_formatted_and_all_mistakes_of_a_wrong_one_are_told() {
        assert_eq!(formatted("x", "T|where a==1|take 5").unwrap(), "T\n| where a == 1\n| take 5\n");
        let Err(Failure::Failed(told)) = formatted("x", "T | wehre a == 1 | tke 5") else { panic!("it is no KQL") };
        assert!(told.contains("did you mean `where`?") && told.contains("did you mean `take`?") && told.contains('^'), "{told}");
    }

    #[test]
    fn a_file_is_checked_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.kql");
        std::fs::write(&path, "T|take 5 // five\n").unwrap();
        let fmt = |check, write| Fmt { file: Some(path.clone()), check, write }.run();
        assert!(fmt(true, false).is_err());
        fmt(false, true).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "T\n| take 5\n// five\n");
        fmt(true, false).unwrap();
        // Longer than is read: nothing of it is lost.
        let long = "T | take 5;\n".repeat(90_000);
        std::fs::write(&path, &long).unwrap();
        let Err(Failure::Failed(told)) = fmt(false, true) else { panic!("too long a text was formatted") };
        assert!(told.contains("longer than 1048576 bytes"), "{told}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), long);
    }
}
