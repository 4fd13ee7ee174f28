//! Clients of customers' vaults: which kind, and how to log in, is what the vault's reference object says.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_catalog::{Catalog, VaultRefRow};
use strongroom_control::watch::Vaults;
use strongroom_control::{ControlError, Refusal};
use strongroom_envelope::Mmk;
use strongroom_keys::identity::ClusterIdentity;
use strongroom_keys::outbound::Outbound;
use strongroom_keys::provider::access::{Access, ProvidersConfig};
use strongroom_keys::provider::azure::{AzureKeyVault, AzureLogin};
use strongroom_keys::provider::kms::AwsKms;
use strongroom_keys::provider::pkcs11::Pkcs11Vault;
use strongroom_keys::provider::transit::TransitVault;
use strongroom_keys::provider::{KekRef, KeyFacts, KeyProblem, KeyVault, Provider, validate};
use strongroom_world::World;
use zeroize::Zeroizing;

use crate::Config;

/// Makes clients of registered vaults: each trusts the authorities of its own reference object.
pub(crate) struct VaultClients {
    world: World,
    catalog: Catalog,
    outbound: Outbound,
    mmk: Arc<Mmk>,
    providers: ProvidersConfig,
    call_timeout: Duration,
}

/// A grant that was just made may not have come about everywhere: for so long a KMS that does not know it is not believed.
const SETTLING: Duration = Duration::from_mins(5);

impl VaultClients {
    /// Clients that go out by `outbound`; `mmk` opens how to log in.
    pub(crate) fn new(config: &Config, world: &World, catalog: &Catalog, mmk: Arc<Mmk>, outbound: Outbound) -> Self {
        Self {
            world: world.clone(),
            catalog: catalog.clone(),
            outbound,
            mmk,
            providers: config.providers.clone(),
            call_timeout: config.keys.states().call_timeout,
        }
    }

    /// A client of a key, logged in as its reference object says; `settling` is for a vault that is eventually consistent.
    async fn make(&self, kek: &KekRef, identity: Arc<ClusterIdentity>, settling: Duration) -> Result<Arc<dyn KeyVault>, ControlError> {
        let uri = strongroom_control::vault_uri(kek);
        let unknown = || Refusal::VaultUnknown { uri: uri.clone() };
        let row = self.catalog.vault_ref_by_uri(&uri).await?.ok_or_else(unknown)?;
        let bad = |what: &'static str| ControlError::Damaged { what };
        let address = |_| bad("a key's address");
        let outbound = match &row.ca_pem {
            Some(pem) => self.outbound.with_roots(pem).map_err(|_| bad("the authorities of a key vault"))?,
            None => self.outbound.fresh(),
        };
        let (kek, world, timeout) = (kek.clone(), self.world.clone(), self.call_timeout);
        Ok(match self.access(&row)? {
            Access::Azure(access) => {
                let login = AzureLogin::of(access, &self.providers).map_err(not_lent)?;
                let vault = AzureKeyVault::new(outbound, identity, kek, world).map_err(address)?;
                Arc::new(vault.with_login(login).with_call_timeout(timeout))
            }
            Access::Transit(access) => {
                let vault = TransitVault::new(outbound, identity, kek, access, world).map_err(address)?;
                Arc::new(vault.with_call_timeout(timeout))
            }
            Access::AwsKms(access) => {
                let vault = AwsKms::new(outbound, kek, access, world).map_err(address)?;
                Arc::new(vault.with_call_timeout(timeout).with_settling(settling))
            }
            Access::Pkcs11(access) => {
                let token = kek.vault_uri.host_str().and_then(|name| self.providers.pkcs11.get(name));
                let token = token.ok_or("the operator has not set providers.pkcs11 for a token of this name").map_err(not_lent)?.clone();
                let vault = Pkcs11Vault::new(token, kek, access, world).map_err(address)?;
                Arc::new(vault.with_call_timeout(timeout))
            }
        })
    }

    /// How to log in at a vault, opened.
    fn access(&self, row: &VaultRefRow) -> Result<Access, ControlError> {
        let bad = ControlError::Damaged { what: "how to log in at a key vault" };
        let Some(provider) = Provider::of(&row.provider) else { return Err(bad) };
        let text = match &row.access {
            Some(access) => match self.mmk.open_cell(access.id, &access.cell) {
                Ok(bytes) => Some(Zeroizing::new(bytes)),
                Err(_) => return Err(bad),
            },
            None => None,
        };
        let text = text.as_ref().map(|bytes| std::str::from_utf8(bytes)).transpose();
        text.ok().and_then(|text| Access::read(provider, text).ok()).ok_or(bad)
    }
}

/// What a reference object asks of the operator, who has not set it.
fn not_lent(why: &'static str) -> ControlError {
    Refusal::KeyNotValid { problem: "ProviderNotConfigured".to_owned(), why: why.to_owned() }.into()
}

#[async_trait]
impl Vaults for VaultClients {
    async fn validate(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<KeyFacts, ControlError> {
        let vault = self.make(kek, identity, Duration::ZERO).await?;
        validate(vault.as_ref(), &self.world).await.map_err(|problem| match problem {
            KeyProblem::NotRecoverable { .. } => Refusal::KeyNotRecoverable.into(),
            other => Refusal::KeyNotValid { problem: other.detail(), why: other.to_string() }.into(),
        })
    }

    async fn client(&self, kek: &KekRef, identity: Arc<ClusterIdentity>) -> Result<Arc<dyn KeyVault>, ControlError> {
        self.make(kek, identity, SETTLING).await
    }
}

impl fmt::Debug for VaultClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultClients").finish_non_exhaustive()
    }
}
