//! The embedded key vault: started beside the server for convenience, and another trust domain all the same: its own listener,
//! directory, root key, authority and admin token. The server talks to it over TLS like to any other vault.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strongroom_catalog::Catalog;
use strongroom_control::{ControlError, PermissionModels, Place, Protection, VaultAsk, Vaults};
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
        vaults: Arc<Vaults>,
        stopping: watch::Receiver<bool>,
    ) -> Result<JoinHandle<()>, ServeError> {
        let oldest = catalog.workspaces().await.map_err(ServeError::start("embedded vault's registration"))?.into_iter().next();
        if let Some(home) = oldest {
            let place = Place { subscription: home.subscription, resource_group: home.resource_group, name: NAME.to_owned() };
            let told = Told { vault: Arc::clone(&self.vault), vaults, place, region: home.region, address: self.address };
            let said = told.tell().await.map_err(ServeError::start("embedded vault's registration"))?;
            tokio::spawn(told.follow(said, stopping.clone()));
        }
        if let Some(token) = &self.minted {
            announce(&self.dir, token);
        }
        tracing::info!(address = %self.address, dir = %self.dir.display(), "embedded key vault");
        Ok(tokio::spawn(self.vault.serve(self.listener, stopping)))
    }
}

/// How often the vault is looked at for what its owner switched there.
const LOOK: Duration = Duration::from_secs(1);

/// What the control plane is told of it.
struct Told {
    vault: Arc<Vault>,
    vaults: Arc<Vaults>,
    place: Place,
    region: String,
    address: SocketAddr,
}

impl Told {
    /// Registers the vault as it is now; gives what was said of its protection.
    async fn tell(&self) -> Result<strongroom_keyvault::Protection, ControlError> {
        let now = self.vault.protection();
        let ask = VaultAsk {
            provider: Provider::Azure,
            access: None,
            region: self.region.clone(),
            tenant: self.vault.tenant_id(),
            uri: format!("https://{}", self.address),
            private_link: false,
            ca_pem: Some(self.vault.ca_pem().to_owned()),
            protection: Protection {
                soft_delete: Some(now.soft_delete),
                purge_protection: Some(now.purge_protection),
                rbac: Some(now.rbac),
            },
        };
        self.vaults.put(&self.place, ask).await.map(|_| now)
    }

    /// Tells anew whatever is switched, until the server stops.
    async fn follow(self, mut said: strongroom_keyvault::Protection, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if self.vault.protection() == said {
                continue;
            }
            match self.tell().await {
                Ok(now) => said = now,
                // The next look is another try.
                Err(error) => tracing::warn!(code = error.code(), "what the embedded vault's owner switched could not be written down"),
            }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a token is shown, once")]
fn announce(dir: &std::path::Path, token: &str) {
    eprintln!("vault admin token (shown once, kept in {}): {token}", strongroom_keyvault::admin_token_path(dir).display());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use serde_json::{Value, json};
    use strongroom_control::Compat;
    use tempfile::TempDir;

    use super::*;
    use crate::wiring::Site;

    fn config(dirs: &TempDir, compat: Compat) -> Config {
        let mut config = Config::under(dirs.path());
        config.vault.dir = dirs.path().join("vault");
        config.vault.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        config.azure.compat = compat;
        config
    }

    /// D10: the year says how the vault beside the server may give rights.
    #[tokio::test]
    async fn the_year_says_how_the_embedded_vault_may_give_rights() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        for (compat, rbac) in [(Compat::Y2025, true), (Compat::Y2021, false)] {
            let dirs = TempDir::new().unwrap();
            let embedded = Embedded::open(&config(&dirs, compat), &World::real()).await.unwrap().unwrap();
            assert_eq!(embedded.vault.protection().rbac, rbac, "{compat:?}");
        }
    }

    /// X5: its reference object says how it protects its keys, and what its owner switches there.
    #[tokio::test]
    async fn what_is_switched_in_the_embedded_vault_is_shown_by_its_reference_object() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let dirs = TempDir::new().unwrap();
        let config = config(&dirs, Compat::Y2025);
        let embedded = Embedded::open(&config, &World::real()).await.unwrap().unwrap();
        let token = embedded.minted.clone().unwrap();
        let (address, ca) = (embedded.address, embedded.vault.ca_pem().to_owned());
        let claimed = Site::claim(&config).unwrap();
        let (site, _) = Site::open(config, claimed, Some("srt_a-token-for-the-embedded-vault".to_owned()), Vec::new()).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let serving = embedded.serve(&site.catalog, Arc::clone(&site.vaults), stopping).await.unwrap();
        let home = site.catalog.workspaces().await.unwrap().remove(0);
        let place = Place { subscription: home.subscription, resource_group: home.resource_group, name: NAME.to_owned() };
        let shown = async || {
            let row = site.vaults.get(&place).await.unwrap();
            (row.soft_delete, row.purge_protection, row.rbac)
        };
        assert_eq!(shown().await, (Some(false), Some(false), Some(true)));
        let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder().add_root_certificate(ca).no_proxy().build().unwrap();
        let body = json!({"enableSoftDelete": true, "enablePurgeProtection": true, "permissionModel": "accessPolicy"});
        let asked = client.patch(format!("https://{address}/vault?api-version=7.4")).bearer_auth(token).body(body.to_string());
        let answer = asked.header("content-type", "application/json").send().await.unwrap();
        let told: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(told["enablePurgeProtection"], true, "{told}");
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while shown().await != (Some(true), Some(true), Some(false)) {
            assert!(std::time::Instant::now() < deadline, "{:?}", shown().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.send(true).unwrap();
        serving.await.unwrap();
    }
}
