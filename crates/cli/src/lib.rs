//! The command line: arguments become a server, a call to one, or a look at the directories of a stopped one.
//!
//! One file per command. Nothing here knows formats or keys: client commands speak HTTP as any other client would, and
//! the offline ones are calls to `strongroom_server::admin`. Start at [`Cli`] and [`run`].
//!
//! ```text
//! serve │ ingest query function tables workspace cluster lockbox token flush compact shred cache load ─▶ HTTP │ verify doctor ─▶ data directory
//! kql ─▶ the crate of that name, without a server
//! vault key ─▶ a key vault, over TLS by its own CA; `vault serve` is one
//! demo ─▶ starts both and runs the others
//! ```

mod arm;
mod audit;
mod cache;
mod client;
mod cluster;
mod demo;
mod doctor;
mod exit;
mod function;
mod health;
mod identity;
mod ingest;
mod key;
mod key_policy;
mod key_status;
mod kql;
pub mod load;
mod lockbox;
mod maintain;
mod output;
mod principal;
mod query;
mod rewriting;
mod saved_search;
pub mod scan;
mod serve;
mod shred;
mod storage;
mod tables;
mod token;
mod vault;
mod vault_access;
mod verify;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed (the message says why; a server's own failure is one, too)
  2  wrong usage
  3  refused by the server (4xx): changing nothing, it will be refused again
  4  the server cannot be reached or is too busy: try again later
  5  partly done: the message says what is missing";

/// A log platform in which the customer holds the key.
///
/// Without a command it serves. Client commands take the server from --server or STRONGROOM_SERVER and the token from
/// --token, STRONGROOM_TOKEN, or the admin token that the server left in its config directory.
#[derive(Debug, Parser)]
#[command(name = "strongroom", version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server (the same as no command at all)
    Serve(serve::Serve),
    /// Sends files of log records to a table
    Ingest(ingest::Ingest),
    /// Asks a question in KQL or SQL
    Query(query::Query),
    /// Formats and checks texts in KQL, without a server
    Kql(kql::Kql),
    /// Makes, lists, shows and deletes a workspace's stored functions
    Function(function::Function),
    /// Lists, exports and imports a workspace's saved searches and functions
    SavedSearch(saved_search::SavedSearch),
    /// Registers, shows and forgets storage accounts
    Storage(storage::Storage),
    /// Links a workspace's saved searches, functions and alert texts to a storage account
    LinkedStorage(storage::LinkedStorage),
    /// Lists the tables of a workspace
    Tables(tables::Tables),
    /// Makes, lists, shows and links workspaces
    Workspace(workspace::Workspace),
    /// Makes dedicated clusters and sets the key of yours that their data is under
    Cluster(cluster::Cluster),
    /// Lets the provider's staff see a workspace's rows, or does not
    Lockbox(lockbox::Lockbox),
    /// Makes, shows and deletes user-assigned identities
    Identity(identity::Identity),
    /// Makes, lists and deletes access tokens
    Token(token::Token),
    /// Makes service principals and says who may do what where
    Principal(principal::Principal),
    /// Names subscriptions
    Subscription(principal::Subscription),
    /// Makes blocks of what has arrived
    Flush(maintain::Flush),
    /// Makes fewer blocks of many
    Compact(maintain::Compact),
    /// Takes rows of a table away for good
    Shred(shred::Shred),
    /// Shows what the hot cache holds and did
    Cache(cache::Cache),
    /// Reads every block of a stopped server and checks every tag
    Verify(verify::Verify),
    /// Shows and checks the audit chain: who did what to keys, roles and data
    Audit(audit::Audit),
    /// Looks at what an operator should know of before trouble comes
    Doctor(doctor::Doctor),
    /// Asks a server or a vault whether it is well
    Health(health::Health),
    /// Runs the embedded key vault, and says who may use its keys
    Vault(vault::Vault),
    /// Makes, shows, rotates, disables and deletes the keys of a key vault
    Key(key::Key),
    /// Shows the lock in 90 seconds, in a directory of its own
    Demo(demo::Demo),
    /// Puts a server under load with generated service logs, and measures
    Load(load::Load),
}

/// Runs the command that `arguments` (the program's name first) name, and says how it went.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, errors to stderr; a closed pipe is nobody's business.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command.unwrap_or_else(|| Command::Serve(serve::Serve::default())) {
        // The server makes its own runtime.
        Command::Serve(command) => command.run(),
        command => runtime(command),
    };
    match outcome {
        Ok(()) | Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("strongroom: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn runtime(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("no threads could be started: {error}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(_) => unreachable!("it makes its own runtime"),
            Command::Ingest(command) => command.run().await,
            Command::Query(command) => command.run().await,
            Command::Kql(command) => command.run().await,
            Command::Function(command) => command.run().await,
            Command::SavedSearch(command) => command.run().await,
            Command::Storage(command) => command.run().await,
            Command::LinkedStorage(command) => command.run().await,
            Command::Tables(command) => command.run().await,
            Command::Workspace(command) => command.run().await,
            Command::Cluster(command) => command.run().await,
            Command::Lockbox(command) => command.run().await,
            Command::Identity(command) => command.run().await,
            Command::Token(command) => command.run().await,
            Command::Principal(command) => command.run().await,
            Command::Subscription(command) => command.run().await,
            Command::Flush(command) => command.run().await,
            Command::Compact(command) => command.run().await,
            Command::Shred(command) => command.run().await,
            Command::Cache(command) => command.run().await,
            Command::Verify(command) => command.run().await,
            Command::Audit(command) => command.run().await,
            Command::Doctor(command) => command.run().await,
            Command::Health(command) => command.run().await,
            Command::Vault(command) => command.run().await,
            Command::Key(command) => command.run().await,
            Command::Demo(command) => command.run().await,
            Command::Load(command) => command.run().await,
        }
    });
    // A thread that waits for stdin would be waited for.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_documents_its_exit_codes() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for code in ["0  done", "2  wrong usage", "3  refused", "4  the server cannot", "5  partly"] {
            assert!(help.contains(code), "{help}");
        }
    }

    #[test]
    fn wrong_usage_ends_with_two_and_an_absent_server_with_four() {
        let code = |arguments: &[&str]| {
            let ended = run(arguments.iter().map(OsString::from));
            (0..6_u8).find(|code| format!("{:?}", ExitCode::from(*code)) == format!("{ended:?}")).unwrap()
        };
        assert_eq!(code(&["strongroom", "ingest"]), 2);
        assert_eq!(code(&["strongroom", "nonsense"]), 2);
        assert_eq!(code(&["strongroom", "--version"]), 0);
        // Port 1 of loopback: nobody listens there.
        assert_eq!(code(&["strongroom", "tables", "--server", "http://127.0.0.1:1", "--token", "t"]), 4);
        assert_eq!(code(&["strongroom", "tables", "--server", "https://127.0.0.1:1", "--token", "t"]), 2);
    }
}
