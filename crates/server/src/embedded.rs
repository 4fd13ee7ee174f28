//! The embedded key vault: started beside the server for convenience, and another trust domain all the same: its own listener,
//! directory, root key, authority and admin token. The server talks to it over TLS like to any other vault.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use strongroom_catalog::Catalog;
use strongroom_control::{PermissionModels, Place, VaultAsk, Vaults};
use strongroom_keys::provider::Provider;
use strongroom_keyvault::{Vault, VaultConfig};
use strongroom_world::World;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Config, ServeError};

/// The name of its reference object.
pub(crate) const NAME: &str = "embedded";

/// The embedded vault, listening and not yet serving.
pub(crate) struct Embedded {
    vault: Arc<Vault>,
    listener: TcpListener,
    address: SocketAddr,
    dir: PathBuf,
    /// To be shown once, if it was made now.
    minted: Option<String>,
}

impl Embedded {
    /// Opens it as the configuration says; `None` if that says there is to be none.
    pub(crate) async fn open(config: &Config, world: &World) -> Result<Option<Self>, ServeError> {
        if !config.vault.embedded {
            return Ok(None);
        }
        let mut settings = config.vault.settings();
        settings.access_policies_only = config.azure.rules().vault_permission_models == PermissionModels::AccessPolicy;
        for (own, what) in [(&config.data_dir, "data"), (&config.config_dir, "config")] {
            if settings.dir.starts_with(own) {
                return Err(ServeError::VaultInside { dir: settings.dir, what });
            }
        }
        let (listen, dir, world) = (settings.listen, settings.dir.clone(), world.clone());
        let listener = TcpListener::bind(listen).await.map_err(|source| ServeError::VaultListen { address: listen, source })?;
        let address = listener.local_addr().map_err(|source| ServeError::VaultListen { address: listen, source })?;
        let given = std::env::var("STRONGROOM_VAULT_ADMIN_TOKEN").ok().filter(|token| !token.is_empty());
        let opened = tokio::task::spawn_blocking(move || Vault::open(world, VaultConfig { listen: address, ..settings }, given));
        let (vault, minted) =
            opened.await.map_err(|_| ServeError::Panicked("embedded vault"))?.map_err(ServeError::start("embedded vault"))?;
        Ok(Some(Self { vault, listener, address, dir, minted }))
    }

    /// What the server may call although it is private.
    pub(crate) fn allowed(&self) -> String {
        self.address.to_string()
    }

    /// Tells the control plane of itself, as a customer would of theirs, and serves.
    pub(crate) async fn serve(
        self,
        catalog: &Catalog,
        vaults: &Vaults,
        stopping: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, ServeError> {
        let oldest = catalog.workspaces().await.map_err(ServeError::start("embedded vault's registration"))?.into_iter().next();
        if let Some(home) = oldest {
            let place = Place { subscription: home.subscription, resource_group: home.resource_group, name: NAME.to_owned() };
            let ask = VaultAsk {
                provider: Provider::Azure,
                access: None,
                region: home.region,
                tenant: self.vault.tenant_id(),
                uri: format!("https://{}", self.address),
                private_link: false,
                ca_pem: Some(self.vault.ca_pem().to_owned()),
            };
            vaults.put(&place, ask).await.map_err(ServeError::start("embedded vault's registration"))?;
        }
        if let Some(token) = &self.minted {
            announce(&self.dir, token);
        }
        tracing::info!(address = %self.address, dir = %self.dir.display(), "embedded key vault");
        Ok(tokio::spawn(self.vault.serve(self.listener, stopping)))
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a token is shown, once")]
fn announce(dir: &std::path::Path, token: &str) {
    eprintln!("vault admin token (shown once, kept in {}): {token}", strongroom_keyvault::admin_token_path(dir).display());
}
