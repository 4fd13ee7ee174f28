//! Reference objects of key vaults: what the control plane knows of a vault without asking it. A key of a vault without one
//! is refused. How to log in there is a cell under the root key, and is never shown.

use std::sync::Arc;

use strongroom_catalog::{Catalog, CatalogError, VaultAccessRow, VaultRefRow};
use strongroom_envelope::Mmk;
use strongroom_keys::provider::access::{Access, Secret};
use strongroom_keys::provider::{KekRef, Provider};
use strongroom_model::{ErrorKind, ObjectId};
use strongroom_world::World;

use crate::{ControlError, Place};

/// Bytes of a vault's own authorities.
const CA_MAX: usize = 64 << 10;
/// Vaults that may be registered.
const VAULTS_MAX: usize = 1_000;
const NAME_MAX: usize = 127;

/// What is told of a vault.
#[derive(Debug)]
pub struct VaultAsk {
    /// What kind of vault it is.
    pub provider: Provider,
    /// How to log in there, JSON. `None` leaves what was said before, if it is still the same vault.
    pub access: Option<Secret>,
    /// The region it lies in.
    pub region: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// Where it answers: `https://HOST[:PORT]`, or `pkcs11://NAME`.
    pub uri: String,
    /// Whether it is reached over a private link.
    pub private_link: bool,
    /// The authorities that its certificate may come from besides those of the system; PEM.
    pub ca_pem: Option<String>,
    /// How it protects its keys. What is not said stays as it was said before, if it is still the same vault.
    pub protection: Protection,
}

/// How a vault protects its keys, as far as it is known. Shown with the vault and decided by nothing: a cluster's key is judged by what
/// its vault says of it then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Deleted keys can be recovered.
    pub soft_delete: Option<bool>,
    /// Deleted keys cannot be destroyed before their time.
    pub purge_protection: Option<bool>,
    /// Rights are given by roles; else by access policies.
    pub rbac: Option<bool>,
}

/// The vault references of a catalog.
#[derive(Debug)]
pub struct Vaults {
    world: World,
    catalog: Catalog,
    mmk: Arc<Mmk>,
    /// Held while one is counted and made, so that no two are the last one.
    making: tokio::sync::Mutex<()>,
}

impl Vaults {
    /// The vault references of a catalog; `mmk` seals how to log in.
    #[must_use]
    pub fn new(world: World, catalog: Catalog, mmk: Arc<Mmk>) -> Self {
        Self { world, catalog, mmk, making: tokio::sync::Mutex::default() }
    }

    /// Registers a vault, or registers it anew.
    ///
    /// # Errors
    /// [`ControlError::Invalid`]; [`ControlError::Conflict`] if another reference names the same vault;
    /// [`ControlError::TooMany`].
    pub async fn put(&self, place: &Place, ask: VaultAsk) -> Result<VaultRefRow, ControlError> {
        let named =
            (1..=NAME_MAX).contains(&place.name.len()) && place.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !named {
            return Err(ControlError::Invalid { what: "name", why: "1 to 127 letters, digits and hyphens are allowed" });
        }
        place.check()?;
        let kek = KekRef::new(&ask.uri, "key", None)
            .map_err(|_| ControlError::Invalid { what: "properties.vaultUri", why: "give it as https://HOST or https://HOST:PORT" })?;
        if (kek.vault_uri.scheme() == "pkcs11") != (ask.provider == Provider::Pkcs11) {
            return Err(ControlError::Invalid {
                what: "properties.vaultUri",
                why: "give it as pkcs11://NAME, a token of the operator's configuration, if the provider is pkcs11, and as https://HOST if not",
            });
        }
        if let Some(pem) = &ask.ca_pem
            && (pem.len() > CA_MAX || !pem.contains("-----BEGIN CERTIFICATE-----"))
        {
            return Err(ControlError::Invalid { what: "properties.caPem", why: "certificates in PEM, 64 KiB in all, are allowed" });
        }
        for (what, text) in [("location", &ask.region), ("properties.tenantId", &ask.tenant)] {
            if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
                return Err(ControlError::Invalid { what, why: "1 to 128 bytes without control characters are allowed" });
            }
        }
        let _making = self.making.lock().await;
        let there = self.catalog.vault_ref_get(&place.subscription, &place.resource_group, &place.name).await?;
        if there.is_none() && self.catalog.vault_ref_list().await?.len() >= VAULTS_MAX {
            return Err(ControlError::TooMany { what: "key vaults", max: VAULTS_MAX });
        }
        let access = self.access(&kek, &ask, there.as_ref())?;
        let before = there.as_ref().filter(|row| row.uri == vault_uri(&kek));
        let row = VaultRefRow {
            name: there.as_ref().map_or_else(|| place.name.clone(), |row| row.name.clone()),
            subscription: place.subscription.clone(),
            resource_group: place.resource_group.clone(),
            uri: vault_uri(&kek),
            region: ask.region.chars().filter(|c| *c != ' ').collect::<String>().to_ascii_lowercase(),
            tenant: ask.tenant,
            private_link: ask.private_link,
            ca_pem: ask.ca_pem,
            created_ms: there.as_ref().map_or_else(|| self.world.clock.wall().unix_ms(), |row| row.created_ms),
            provider: ask.provider.as_str().to_owned(),
            access,
            soft_delete: ask.protection.soft_delete.or_else(|| before?.soft_delete),
            purge_protection: ask.protection.purge_protection.or_else(|| before?.purge_protection),
            rbac: ask.protection.rbac.or_else(|| before?.rbac),
        };
        self.catalog.vault_ref_put(&row).await.map_err(|error| match error {
            CatalogError::Conflict { .. } => ControlError::Conflict { why: "this vault is registered under another name" },
            other => other.into(),
        })?;
        tracing::info!(vault = row.name, provider = row.provider, "key vault registered");
        Ok(row)
    }

    /// How to log in, sealed: as is said now, else as was said before of the same vault. A login that was given for one address is
    /// not sent to another, nor to whoever another authority vouches for.
    fn access(&self, kek: &KekRef, ask: &VaultAsk, there: Option<&VaultRefRow>) -> Result<Option<VaultAccessRow>, ControlError> {
        let wrong =
            |error: strongroom_keys::provider::access::AccessError| ControlError::Invalid { what: "properties.access", why: error.why() };
        if let Some(text) = &ask.access {
            Access::read(ask.provider, Some(text.text())).map_err(wrong)?;
            let (ms, random) = self.world.id_seed();
            let id = ObjectId::mint(ms, random);
            let cell = self.mmk.seal_cell(self.world.rng.as_ref(), id, text.text().as_bytes());
            return Ok(Some(VaultAccessRow { id, cell }));
        }
        let same = there.filter(|row| row.uri == vault_uri(kek) && row.provider == ask.provider.as_str() && row.ca_pem == ask.ca_pem);
        let kept = same.and_then(|row| row.access.clone());
        if kept.is_none() {
            Access::read(ask.provider, None).map_err(wrong)?;
        }
        Ok(kept)
    }

    /// One vault reference.
    ///
    /// # Errors
    /// [`ControlError::NotFound`].
    pub async fn get(&self, place: &Place) -> Result<VaultRefRow, ControlError> {
        let row = self.catalog.vault_ref_get(&place.subscription, &place.resource_group, &place.name).await?;
        row.ok_or_else(|| ControlError::NotFound { what: "key vault", name: place.name.clone() })
    }

    /// The vault references of a subscription, or of one of its resource groups, by name.
    ///
    /// # Errors
    /// What the catalog says.
    pub async fn list(&self, subscription: &str, group: Option<&str>) -> Result<Vec<VaultRefRow>, ControlError> {
        let mut all = self.catalog.vault_ref_list().await?;
        all.retain(|row| {
            row.subscription.eq_ignore_ascii_case(subscription) && group.is_none_or(|name| row.resource_group.eq_ignore_ascii_case(name))
        });
        Ok(all)
    }

    /// Forgets a vault; whether it was known. The vault itself is not touched.
    ///
    /// # Errors
    /// [`ControlError::Conflict`] if a cluster's key lies in it.
    pub async fn delete(&self, place: &Place) -> Result<bool, ControlError> {
        self.catalog.vault_ref_delete(&place.subscription, &place.resource_group, &place.name).await.map_err(|error| match error.kind() {
            ErrorKind::Conflict => ControlError::Conflict { why: "a cluster's key lies in this vault" },
            _ => error.into(),
        })
    }
}

/// A key's vault as it is written down: scheme, host and port, without the closing slash.
#[must_use]
pub fn vault_uri(kek: &KekRef) -> String {
    kek.vault_uri.as_str().trim_end_matches('/').to_owned()
}
