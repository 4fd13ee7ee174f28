//! `strongroom serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use strongroom_server::ServeOptions;

use crate::Failure;

/// Where a server's directories and settings are.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Directories {
    /// Where blocks, log and catalog lie [default: $XDG_DATA_HOME/strongroom]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the root key, the admin token and strongroom.toml lie [default: $XDG_CONFIG_HOME/strongroom]
    #[arg(long, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// The settings file [default: strongroom.toml in the config directory, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Directories {
    pub(crate) fn options(self) -> ServeOptions {
        ServeOptions { data_dir: self.data_dir, config_dir: self.config_dir, config: self.config, ..ServeOptions::default() }
    }
}

/// Runs the server until SIGTERM or SIGINT.
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    directories: Directories,
    /// The address to listen on [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The address of the embedded key vault [default: 127.0.0.1:7701]
    #[arg(long, value_name = "ADDRESS")]
    vault_listen: Option<SocketAddr>,
    /// The embedded key vault's own directory [default: $XDG_DATA_HOME/strongroom-vault]
    #[arg(long, value_name = "DIR", env = "STRONGROOM_VAULT_DIR")]
    vault_dir: Option<PathBuf>,
    /// The embedded key vault's root key [default: root.key in its directory]
    #[arg(long, value_name = "FILE")]
    vault_root: Option<PathBuf>,
    /// Start without the embedded key vault: the customers' vaults are elsewhere
    #[arg(long)]
    no_vault: bool,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let options = ServeOptions {
            listen: self.listen,
            vault_listen: self.vault_listen,
            vault_dir: self.vault_dir,
            vault_root: self.vault_root,
            no_vault: self.no_vault,
            ..self.directories.options()
        };
        strongroom_server::run(&options).map_err(|error| Failure::Failed(error.to_string()))
    }
}
