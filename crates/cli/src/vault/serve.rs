//! `strongroom vault serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use strongroom_keyvault::{IssuerConfig, Vault, VaultConfig, World, admin_token_path, ca_path};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::Failure;
use crate::output;

/// Runs a key vault until SIGTERM or SIGINT.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:7701", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The root key's file, 32 bytes that all keys are sealed under; made if there is none [default: root.key in the directory]
    #[arg(long, env = "STRONGROOM_VAULT_ROOT", value_name = "FILE")]
    vault_root: Option<PathBuf>,
    /// What the vault is called
    #[arg(long, default_value = "vault")]
    name: String,
    /// Writes the certificate to trust to this file, too: for a place that others can read
    #[arg(long, value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// A name (with or without port) by which clients reach it, besides localhost, 127.0.0.1 and ::1; may be repeated
    #[arg(long, value_name = "HOST")]
    host_name: Vec<String>,
    /// Rights are given by access policies alone: a new vault begins so, and none is changed to roles
    #[arg(long)]
    access_policies_only: bool,
    /// An issuer whose tokens are taken, by the `iss` in them; who of it may do what is said by `identity add` and `grant`
    #[arg(long, value_name = "URL", requires = "issuer_keys")]
    issuer: Option<String>,
    /// Another `iss` that the same issuer uses, like that of its ADFS-style endpoint; may be repeated
    #[arg(long, value_name = "URL", requires = "issuer")]
    issuer_alias: Vec<String>,
    /// Its keys: an https address of a JSON Web Key Set, a file with one, or a file with a public key in PEM
    #[arg(long, value_name = "URL|FILE", requires = "issuer")]
    issuer_keys: Option<String>,
    /// The certificates to trust at that address
    #[arg(long, value_name = "FILE", requires = "issuer")]
    issuer_ca: Option<PathBuf>,
    /// A further audience of its tokens for this vault; may be repeated
    #[arg(long, value_name = "TEXT", requires = "issuer")]
    issuer_audience: Vec<String>,
    /// Where clients without a token are told to log in, like https://login.example/TENANT [default: at the vault itself]
    #[arg(long, value_name = "URL", requires = "issuer")]
    issuer_authority: Option<String>,
}

impl Serve {
    pub(crate) async fn run(self, dir: PathBuf) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
        let level = std::env::var("STRONGROOM_LOG").unwrap_or_else(|_| "info".to_owned());
        strongroom_server::prepare_process(&level);
        let listener = TcpListener::bind(self.listen)
            .await
            .map_err(|error| Failure::Failed(format!("cannot listen on {}: {error}; give another one with --listen", self.listen)))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let issuer = self.issuer.map(|issuer| IssuerConfig {
            issuer,
            aliases: self.issuer_alias,
            keys: self.issuer_keys.unwrap_or_default(),
            ca: self.issuer_ca.unwrap_or_default(),
            audiences: self.issuer_audience,
            authority: self.issuer_authority.unwrap_or_default(),
        });
        let config = VaultConfig {
            root: self.vault_root.unwrap_or_default(),
            listen: address,
            name: self.name,
            names: self.host_name,
            issuers: issuer.into_iter().collect(),
            access_policies_only: self.access_policies_only,
            ..VaultConfig::at(&dir)
        };
        let given = std::env::var("STRONGROOM_VAULT_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
        let opened =
            tokio::task::spawn_blocking(move || Vault::open(World::real(), config, given)).await.map_err(|error| failed(&error))?;
        let (vault, minted) = opened.map_err(|error| failed(&error))?;
        if let Some(token) = minted {
            eprintln!("vault admin token (shown once, kept in {}): {token}", admin_token_path(&dir).display());
        }
        if let Some(path) = &self.ca_out {
            std::fs::write(path, vault.ca_pem()).map_err(|error| Failure::Failed(format!("--ca-out {}: {error}", path.display())))?;
        }
        let host = if address.ip().is_unspecified() { format!("127.0.0.1:{}", address.port()) } else { address.to_string() };
        output::print(&format!("vault: https://{host}\ncertificate to trust: {}", ca_path(&dir).display()))?;

        let (stop, stopping) = watch::channel(false);
        let (mut terminate, mut interrupt) = signal(SignalKind::terminate())
            .and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
            .map_err(|error| Failure::Failed(format!("signals cannot be heard: {error}")))?;
        let serving = tokio::spawn(Arc::clone(&vault).serve(listener, stopping));
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.send_replace(true);
        serving.await.map_err(|error| failed(&error))
    }
}
